/* OCALLs on open files. Hot: OPEN, READ, WRITE, PREAD. */
#include "host/ocall.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/handle.h"
#include "host/ocall_stat.h"

static int64_t result(int64_t r)
{
    return r < 0 ? -errno : r;
}

int64_t ocall_open(struct host_thread *t, const uint64_t args[6])
{
    int error;
    const char *path = ocall_path(t, 0, args[0], &error);
    if (!path)
        return error;
    /* A FIFO may keep us waiting. */
    thread_block_begin_blind(t);
    int fd = open(path, (int)args[1] | O_CLOEXEC | O_NOCTTY, (mode_t)args[2]);
    int saved = errno;
    thread_block_end(t);
    return fd < 0 ? -saved : handle_add(fd);
}

/* Where the file system has no O_TMPFILE: a name for a moment. */
static int open_and_unlink(const char *folder)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof(path), "%s/sgxpy-spill-XXXXXX", folder) >= sizeof(path))
        return -1;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

int64_t ocall_spill_open(struct host_thread *t UNUSED, const uint64_t args[6] UNUSED)
{
    const char *folders[] = { secure_getenv("TMPDIR"), "/var/tmp", "/tmp" };
    int error = ENOENT;
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        if (!folders[i] || folders[i][0] != '/')
            continue;
        int fd = open(folders[i], O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
            fd = open_and_unlink(folders[i]);
        if (fd >= 0)
            return handle_add(fd);
        error = errno;
    }
    return -error;
}

int64_t ocall_close(struct host_thread *t UNUSED, const uint64_t args[6])
{
    return args[1] ? handle_close_aside(args[0]) : handle_close(args[0]);
}

/* READ and WRITE: short counts go back as they are; EINTR only when the event was set. */
static int64_t transfer(struct host_thread *t, const uint64_t args[6], bool out)
{
    bool blocks;
    int fd = handle_fd_kind(args[0], &blocks);
    if (fd < 0)
        return fd;
    if (args[1] > OCALL_DATA_SIZE)
        return -EINVAL;
    for (;;) {
        if (blocks && !thread_block_begin(t))
            return -EINTR;
        ssize_t n = out ? write(fd, t->data, args[1]) : read(fd, t->data, args[1]);
        int saved = errno;
        if (blocks)
            thread_block_end(t);
        if (n >= 0)
            return n;
        if (saved != EINTR)
            return -saved;
        if (thread_take_event(t))
            return -EINTR;
    }
}

int64_t ocall_read(struct host_thread *t, const uint64_t args[6])
{
    return transfer(t, args, false);
}

int64_t ocall_write(struct host_thread *t, const uint64_t args[6])
{
    return transfer(t, args, true);
}

int64_t ocall_pread(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    if (args[1] > OCALL_DATA_SIZE)
        return -EINVAL;
    return result(pread(fd, t->data, args[1], (off_t)args[2]));
}

int64_t ocall_pwrite(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    if (args[1] > OCALL_DATA_SIZE)
        return -EINVAL;
    return result(pwrite(fd, t->data, args[1], (off_t)args[2]));
}

int64_t ocall_lseek(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    off_t at = lseek(fd, (off_t)args[1], (int)args[2]);
    if (at < 0)
        return -errno;
    t->block->out[0] = (uint64_t)at;
    return 0;
}

int64_t ocall_fstat(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    ocall_stat_put(t->data, &st);
    return 0;
}

/* What getdents64(2) gives; glibc has no raw wrapper's struct for it that says "kernel". */
struct kernel_dirent {
    uint64_t ino;
    int64_t offset;
    uint16_t record_size;
    uint8_t type;
    char name[];
} PACKED;

/* Turns the kernel's records into ours, in place: ours are never longer (16 bytes of head, not 19,
 * and no NUL), so what is written never overtakes what is read. */
static size_t pack_dirents(uint8_t *data, size_t size)
{
    size_t from = 0, to = 0;
    while (from < size) {
        struct kernel_dirent in;
        memcpy(&in, data + from, sizeof(in));
        const char *name = (const char *)data + from + offsetof(struct kernel_dirent, name);
        size_t name_size = strlen(name);
        size_t record = (sizeof(struct ocall_dirent) + name_size + 7) & ~(size_t)7;
        struct ocall_dirent out = {
            .ino = in.ino,
            .record_size = (uint16_t)record,
            .type = in.type,
            .name_size = (uint16_t)name_size,
        };
        memmove(data + to + sizeof(out), name, name_size);
        memcpy(data + to, &out, sizeof(out));
        memset(data + to + sizeof(out) + name_size, 0, record - sizeof(out) - name_size);
        from += in.record_size;
        to += record;
    }
    return to;
}

int64_t ocall_getdents(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    long n = syscall(SYS_getdents64, fd, t->data, (size_t)OCALL_DATA_SIZE);
    return n < 0 ? -errno : (int64_t)pack_dirents(t->data, (size_t)n);
}

int64_t ocall_ftruncate(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    return fd < 0 ? fd : result(ftruncate(fd, (off_t)args[1]));
}

int64_t ocall_fallocate(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    return fd < 0 ? fd : result(fallocate(fd, (int)args[1], (off_t)args[2], (off_t)args[3]));
}

int64_t ocall_fsync(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    return fd < 0 ? fd : result(args[1] ? fdatasync(fd) : fsync(fd));
}

int64_t ocall_flock(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    return fd < 0 ? fd : result(flock(fd, (int)args[1] | LOCK_NB));
}

int64_t ocall_fcntl_lock(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    if (args[1] != F_SETLK && args[1] != F_GETLK)
        return -EINVAL;
    struct flock lock = {
        .l_type = (short)args[2],
        .l_whence = SEEK_SET,
        .l_start = (off_t)args[3],
        .l_len = (off_t)args[4],
    };
    if (fcntl(fd, (int)args[1], &lock) < 0)
        return -errno;
    t->block->out[0] = (uint64_t)(uint16_t)lock.l_type;
    t->block->out[1] = (uint64_t)lock.l_start;
    t->block->out[2] = (uint64_t)lock.l_len;
    t->block->out[3] = (uint64_t)(uint32_t)lock.l_pid;
    return 0;
}

int64_t ocall_set_nonblock(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    flags = args[1] ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return result(fcntl(fd, F_SETFL, flags));
}
