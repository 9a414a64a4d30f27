#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tracer/recorder.h"
#include "util/fs.h"

#define PAGE 4096u

/* What cannot be read may be a bad address of the program's, or memory that is closed to us. */
static size_t read_memory(pid_t tid, uint64_t address, void *buf, size_t size, bool *ret_denied)
{
    size_t done = 0;
    while (done < size) {
        /* One element never crosses a page: a transfer is whole elements or nothing. */
        struct iovec remote[16];
        size_t count = 0, sum = 0;
        while (count < ARRAY_SIZE(remote) && done + sum < size) {
            uint64_t at = address + done + sum;
            size_t n = PAGE - (size_t)(at % PAGE);
            if (n > size - done - sum)
                n = size - done - sum;
            remote[count++] = (struct iovec){ .iov_base = (void *)(uintptr_t)at, .iov_len = n };
            sum += n;
        }
        struct iovec local = { .iov_base = (char *)buf + done, .iov_len = sum };
        ssize_t n = process_vm_readv(tid, &local, 1, remote, count, 0);
        if (n < 0 && errno == EPERM)
            *ret_denied = true;
        if (n <= 0)
            break;
        done += (size_t)n;
        if ((size_t)n != sum)
            break;
    }
    return done;
}

size_t tracee_read(pid_t tid, uint64_t address, void *buf, size_t size)
{
    bool denied = false;
    return read_memory(tid, address, buf, size, &denied);
}

bool tracee_write(pid_t tid, uint64_t address, const void *data, size_t size)
{
    struct iovec local = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
    struct iovec remote = { .iov_base = (void *)(uintptr_t)address, .iov_len = size };
    return process_vm_writev(tid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

int tracee_string(pid_t tid, uint64_t address, char *buf, size_t size)
{
    size_t done = 0;
    while (done < size) {
        /* Most names are short: first a little, but never over a page's edge. */
        size_t n = done ? PAGE : 256;
        size_t page_left = PAGE - (size_t)((address + done) % PAGE);
        if (n > page_left)
            n = page_left;
        if (n > size - done)
            n = size - done;
        bool denied = false;
        size_t got = read_memory(tid, address + done, buf + done, n, &denied);
        if (memchr(buf + done, '\0', got))
            return 0;
        if (got != n)
            return denied ? -EPERM : -EFAULT;
        done += got;
    }
    return -ENAMETOOLONG;
}

int tracee_link(pid_t tid, const char *name, char *buf, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
    ssize_t n = readlink(path, buf, size - 1);
    if (n < 0)
        return -errno;
    buf[n] = '\0';
    return 0;
}

/* Whether a link text of /proc ends with the mark of a file that is gone. */
static bool cut_deleted(char *text)
{
    static const char mark[] = " (deleted)";
    size_t n = strlen(text), m = sizeof(mark) - 1;
    if (n < m || memcmp(text + n - m, mark, m) != 0)
        return false;
    struct stat st;
    if (lstat(text, &st) == 0)
        return false; /* a file that is really called so */
    text[n - m] = '\0';
    return true;
}

int tracee_fd(pid_t tid, int fd, char *buf, size_t size)
{
    char name[32];
    snprintf(name, sizeof(name), "fd/%d", fd);
    int e = tracee_link(tid, name, buf, size);
    if (e < 0)
        return e;
    return buf[0] == '/' && !cut_deleted(buf) ? 0 : -ENOENT;
}

int tracee_take_fd(pid_t tgid, int fd)
{
    CLEANUP(close_p) int process = (int)syscall(SYS_pidfd_open, tgid, 0);
    int copy = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);
    return copy < 0 ? -errno : copy;
}

int tracee_cwd(pid_t tid, char *buf, size_t size)
{
    int e = tracee_link(tid, "cwd", buf, size);
    if (e < 0)
        return e;
    if (buf[0] != '/')
        return -ENOENT; /* "(unreachable)..." */
    cut_deleted(buf);
    return 0;
}

char *tracee_file(pid_t tid, const char *name, size_t *ret_size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t room = 8192, size = 0;
    CLEANUP(free_p) char *data = malloc(room);
    while (data) {
        ssize_t n = read_full(fd, data + size, room - size - 1);
        if (n < 0)
            return NULL;
        size += (size_t)n;
        if (size < room - 1)
            break;
        char *more = realloc(data, room *= 2);
        if (!more)
            return NULL;
        data = more;
    }
    if (!data)
        return NULL;
    data[size] = '\0';
    *ret_size = size;
    return TAKE_PTR(data);
}

uint64_t tracee_start_time(pid_t tid)
{
    size_t size;
    CLEANUP(free_p) char *text = tracee_file(tid, "stat", &size);
    /* The second field is a name in parentheses that may hold anything. */
    const char *p = text ? strrchr(text, ')') : NULL;
    for (unsigned field = 2; p && field < 22; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    return p ? strtoull(p, NULL, 10) : 0;
}

static const char *status_field(const char *text, const char *label)
{
    const char *p = strstr(text, label);
    return p ? p + strlen(label) : NULL;
}

void tracee_status(struct process *p, pid_t tid)
{
    size_t size;
    CLEANUP(free_p) char *text = tracee_file(tid, "status", &size);
    if (!text)
        return;
    const char *umask_at = status_field(text, "\nUmask:\t");
    const char *uid_at = status_field(text, "\nUid:\t");
    const char *gid_at = status_field(text, "\nGid:\t");
    const char *peak_at = status_field(text, "\nVmPeak:\t");
    p->identity_known = umask_at && uid_at && gid_at;
    if (umask_at)
        p->umask = (uint32_t)strtoul(umask_at, NULL, 8);
    if (uid_at)
        p->uid = (uint32_t)strtoul(uid_at, NULL, 10);
    if (gid_at)
        p->gid = (uint32_t)strtoul(gid_at, NULL, 10);
    uint64_t peak = peak_at ? strtoull(peak_at, NULL, 10) * 1024 : 0;
    if (peak > p->vm_peak)
        p->vm_peak = peak;
}
