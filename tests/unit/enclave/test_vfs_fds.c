/* Descriptors, flags, vectors, copies, anonymous files, devices and /proc. */
#include "vfs_fakes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "core/attr.h"
#include "vfs/fd.h"
#include "vfs/proc/proc.h"

static void start(void)
{
    fake_add(&(struct fake_record){ "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE, S_IFDIR | 01777,
                                    NULL, 0, false });
    fake_add(&(struct fake_record){ "/lib/a", MANIFEST_TRUSTED, 0, S_IFREG | 0644, "0123456789", 0,
                                    false });
    fake_start("/tmp");
}

static int64_t make(const char *path, const char *text)
{
    int64_t fd = SYS(open, U(path), O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0, "%s: %lld", path, (long long)fd);
    CHECK_EQ(SYS(write, U(fd), U(text), strlen(text)), (long long)strlen(text), "%s", path);
    return fd;
}

static void dup_body(void)
{
    char buf[20];
    start();
    int64_t a = make("a", "hello");
    CHECK_EQ(a, 3, "lowest");
    int64_t b = SYS(dup, U(a));
    CHECK_EQ(b, 4, "dup");
    CHECK_EQ(SYS(lseek, U(a), 1, SEEK_SET), 1, "seek");
    CHECK_EQ(SYS(read, U(b), U(buf), 2), 2, "read");
    CHECK_EQ(SYS(lseek, U(a), 0, SEEK_CUR), 3, "one offset");
    CHECK_EQ(SYS(dup2, U(a), 10), 10, "dup2");
    CHECK_EQ(SYS(dup2, U(a), U(a)), a, "dup2 of itself");
    CHECK_EQ(SYS(dup3, U(a), U(a), 0), -EINVAL, "dup3 of itself");
    CHECK_EQ(SYS(dup3, U(a), 11, 1), -EINVAL, "dup3 flags");
    CHECK_EQ(SYS(dup3, U(a), 11, O_CLOEXEC), 11, "dup3");
    CHECK_EQ(SYS(fcntl, 11, F_GETFD, 0), FD_CLOEXEC, "GETFD");
    CHECK_EQ(SYS(fcntl, 10, F_GETFD, 0), 0, "GETFD");
    CHECK_EQ(SYS(fcntl, 10, F_SETFD, FD_CLOEXEC), 0, "SETFD");
    CHECK_EQ(SYS(fcntl, 10, F_GETFD, 0), FD_CLOEXEC, "GETFD");
    CHECK_EQ(SYS(fcntl, U(a), F_DUPFD, 10), 12, "DUPFD");
    CHECK_EQ(SYS(fcntl, U(a), F_DUPFD_CLOEXEC, 0), 5, "DUPFD_CLOEXEC");
    CHECK_EQ(SYS(fcntl, U(a), F_DUPFD, 256), -EINVAL, "DUPFD above the limit");
    CHECK_EQ(SYS(dup2, U(a), 256), -EBADF, "dup2 above the limit");
    CHECK_EQ(SYS(dup2, 99, 12), -EBADF, "dup2 of nothing");
    CHECK_EQ(SYS(fcntl, 12, F_GETFD, 0), 0, "which closed nothing");
    CHECK_EQ(SYS(dup2, 99, 99), -EBADF, "dup2 of nothing to itself");
    CHECK_EQ(SYS(ioctl, 12, FIOCLEX, 0), 0, "FIOCLEX");
    CHECK_EQ(SYS(fcntl, 12, F_GETFD, 0), FD_CLOEXEC, "GETFD");
    CHECK_EQ(SYS(close_range, 10, 11, 0), 0, "close_range");
    CHECK_EQ(SYS(fcntl, 11, F_GETFD, 0), -EBADF, "closed");
    CHECK_EQ(SYS(close_range, 3, ~0u, 4), 0, "close_range CLOEXEC");
    CHECK_EQ(SYS(fcntl, 3, F_GETFD, 0), FD_CLOEXEC, "marked");
    CHECK_EQ(SYS(close_range, 5, 4, 0), -EINVAL, "backwards");
    CHECK_EQ(SYS(close_range, 3, ~0u, 0), 0, "all");
    CHECK_EQ(SYS(open, U("a"), O_RDONLY, 0), 3, "lowest again");

    /* One that is kept for what is to come. */
    int kept = fd_reserve();
    CHECK_EQ(kept, 4, "reserve");
    CHECK_EQ(SYS(dup, 3), 5, "not the reserved one");
    CHECK_EQ(SYS(fcntl, 4, F_GETFD, 0), -EBADF, "not open");
    CHECK_EQ(SYS(close, 4), -EBADF, "not open");
    CHECK_EQ(SYS(close_range, 4, 4, 0), 0, "not open");
    CHECK_EQ(SYS(dup2, 3, 4), -EBUSY, "dup2 to it");
    fd_unreserve(kept);
    CHECK_EQ(SYS(dup, 3), 4, "free again");
    CHECK_EQ(SYS(close, 4), 0, "close");
    CHECK_EQ(fd_reserve(), 4, "reserve");
    struct file *file = fd_get(3);
    fd_fill(4, file, true);
    CHECK_EQ(SYS(fcntl, 4, F_GETFD, 0), FD_CLOEXEC, "filled");
    CHECK_EQ(SYS(close_range, 4, 5, 0), 0, "close");
    while (SYS(dup, 3) >= 0)
        ;
    CHECK_EQ(fd_reserve(), -EMFILE, "none left");
    CHECK_EQ(SYS(close, 100), 0, "close");
    CHECK_EQ(fd_reserve(), 100, "the last one");
    CHECK_EQ(fd_reserve(), -EMFILE, "none left");
    fd_unreserve(100);
    CHECK_EQ(SYS(close_range, 3, ~0u, 0), 0, "all");
    CHECK_EQ(SYS(open, U("a"), O_RDONLY, 0), 3, "lowest again");
    CHECK_EQ(SYS(close, 77), -EBADF, "close");
    CHECK_EQ(SYS(close, U(-1)), -EBADF, "close");
    int last = 0, status = 0;
    while ((status = (int)SYS(open, U("a"), O_RDONLY, 0)) >= 0)
        last = status;
    CHECK_EQ(status, -EMFILE, "full");
    CHECK_EQ(last, 255, "fd_limit");
}

static void test_dup(void **state UNUSED)
{
    vfs_child(dup_body);
}

static void vectors_body(void)
{
    char a[4] = { 0 }, b[8] = { 0 }, c[20] = { 0 };
    start();
    int64_t fd = make("v", "");
    struct iovec out[3] = { { "abc", 3 }, { NULL, 0 }, { "defgh", 5 } };
    CHECK_EQ(SYS(writev, U(fd), U(out), 3), 8, "writev");
    CHECK_EQ(SYS(lseek, U(fd), 1, SEEK_SET), 1, "seek");
    struct iovec in[3] = { { a, 3 }, { b, 2 }, { c, 20 } };
    CHECK_EQ(SYS(readv, U(fd), U(in), 3), 7, "readv");
    CHECK(memcmp(a, "bcd", 3) == 0 && memcmp(b, "ef", 2) == 0 && memcmp(c, "gh", 2) == 0,
          "scattered");
    CHECK_EQ(SYS(preadv2, U(fd), U(in), 2, 0, 0, 0), 5, "preadv2");
    CHECK_EQ(SYS(preadv2, U(fd), U(in), 2, 0, 0, 0x40000000), -EOPNOTSUPP, "preadv2 flags");
    CHECK_EQ(SYS(writev, U(fd), U(out), 1025), -EINVAL, "too many");
    CHECK_EQ(SYS(writev, U(fd), U(8), 1), -EFAULT, "a bad vector");
    struct iovec huge[2] = { { a, SIZE_MAX }, { b, 2 } };
    CHECK_EQ(SYS(writev, U(fd), U(huge), 2), -EINVAL, "sizes overflow");
    struct iovec half[2] = { { "xy", 2 }, { (void *)8, 5 } };
    CHECK_EQ(SYS(writev, U(fd), U(half), 2), 2, "up to the bad one");
    CHECK_EQ(SYS(writev, U(fd), U(half + 1), 1), -EFAULT, "the bad one");
    CHECK_EQ(SYS(write, U(fd), U(8), 5), -EFAULT, "bad buffer");
    CHECK_EQ(SYS(lseek, U(fd), 0, SEEK_CUR), 10, "the offset did not move");
}

static void test_vectors(void **state UNUSED)
{
    vfs_child(vectors_body);
}

static void copies_body(void)
{
    char buf[40];
    start();
    int64_t in = SYS(open, U("/lib/a"), O_RDONLY, 0), out = make("out", "");
    uint64_t pos = 3;
    CHECK_EQ(SYS(sendfile, U(out), U(in), U(&pos), 4), 4, "sendfile");
    CHECK_EQ(pos, 7, "offset");
    CHECK_EQ(SYS(lseek, U(in), 0, SEEK_CUR), 0, "the file's own stays");
    CHECK_EQ(SYS(sendfile, U(out), U(in), 0, 100), 10, "sendfile to the end");
    CHECK_EQ(SYS(sendfile, U(out), U(in), 0, 100), 0, "at the end");
    CHECK_EQ(SYS(pread64, U(out), U(buf), 40, 0), 14, "all");
    CHECK(memcmp(buf, "34560123456789", 14) == 0, "content");
    CHECK_EQ(SYS(sendfile, U(in), U(out), 0, 10), -EBADF, "to a read-only file");
    uint64_t from = 0, to = 20;
    CHECK_EQ(SYS(copy_file_range, U(in), U(&from), U(out), U(&to), 5, 0), 5, "copy_file_range");
    CHECK_EQ(from, 5, "from");
    CHECK_EQ(to, 25, "to");
    CHECK_EQ(SYS(copy_file_range, U(in), 0, U(out), 0, 5, 1), -EINVAL, "flags");
    CHECK_EQ(SYS(pread64, U(out), U(buf), 40, 0), 25, "all");
    CHECK(memcmp(buf + 14,
                 "\0\0\0\0\0\0"
                 "01234",
                 11) == 0,
          "a hole reads as zeros");
}

static void test_copies(void **state UNUSED)
{
    vfs_child(copies_body);
}

static void memory_body(void)
{
    char buf[100];
    struct stat st;
    start();
    int64_t fd = SYS(memfd_create, U("box"), MFD_ALLOW_SEALING | MFD_CLOEXEC);
    CHECK(fd >= 0, "memfd: %lld", (long long)fd);
    CHECK_EQ(SYS(fcntl, U(fd), F_GETFD, 0), FD_CLOEXEC, "CLOEXEC");
    CHECK_EQ(SYS(ftruncate, U(fd), 100), 0, "grow");
    CHECK_EQ(SYS(fcntl, U(fd), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0, "seal");
    CHECK_EQ(SYS(fcntl, U(fd), F_GET_SEALS, 0), F_SEAL_SHRINK | F_SEAL_GROW, "seals");
    CHECK_EQ(SYS(ftruncate, U(fd), 50), -EPERM, "sealed");
    CHECK_EQ(SYS(ftruncate, U(fd), 150), -EPERM, "sealed");
    CHECK_EQ(SYS(pwrite64, U(fd), U("xy"), 2, 99), -EPERM, "sealed");
    CHECK_EQ(SYS(pwrite64, U(fd), U("x"), 1, 99), 1, "inside");
    CHECK_EQ(SYS(fcntl, U(fd), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL), 0, "seal");
    CHECK_EQ(SYS(pwrite64, U(fd), U("x"), 1, 0), -EPERM, "sealed");
    CHECK_EQ(SYS(fcntl, U(fd), F_ADD_SEALS, F_SEAL_GROW), -EPERM, "no more seals");
    fd = SYS(memfd_create, U("plain"), 0);
    CHECK_EQ(SYS(fcntl, U(fd), F_GET_SEALS, 0), F_SEAL_SEAL, "no sealing asked for");

    /* Sparse: 8 TiB on a few pages. */
    uint64_t before = g_fake_heap_used;
    CHECK_EQ(SYS(pwrite64, U(fd), U("end"), 3, 8ull << 40), 3, "far away");
    CHECK(g_fake_heap_used - before < 100000, "%lu bytes",
          (unsigned long)(g_fake_heap_used - before));
    CHECK_EQ(SYS(pread64, U(fd), U(buf), 10, (8ull << 40) - 5), 8, "read");
    CHECK(memcmp(buf, "\0\0\0\0\0end", 8) == 0, "content");
    CHECK_EQ(SYS(lseek, U(fd), 0, SEEK_HOLE), 0, "a hole at the start");
    CHECK_EQ(SYS(ftruncate, U(fd), 0), 0, "empty");
    CHECK(g_fake_heap_used - before < 10000, "blocks are given back");
    g_fake_heap_limit = g_fake_heap_used + 20000;
    int64_t n = SYS(write, U(fd), U(buf), sizeof(buf));
    CHECK_EQ(n, 100, "a little");
    CHECK_EQ(SYS(fallocate, U(fd), 0, 0, 1 << 20), -ENOSPC, "no memory");
    g_fake_heap_limit = UINT64_MAX;

    /* O_TMPFILE, and its name by linkat. */
    fd = SYS(open, U("/tmp"), O_TMPFILE | O_RDWR, 0600);
    CHECK(fd >= 0, "O_TMPFILE: %lld", (long long)fd);
    CHECK_EQ(SYS(write, U(fd), U("named"), 5), 5, "write");
    CHECK_EQ(SYS(fstat, U(fd), U(&st)), 0, "fstat");
    CHECK_EQ(st.st_nlink, 0, "no name");
    snprintf(buf, sizeof(buf), "/proc/self/fd/%d", (int)fd);
    CHECK_EQ(SYS(linkat, FAKE_CWD, U(buf), FAKE_CWD, U("/tmp/named"), AT_SYMLINK_FOLLOW), 0,
             "linkat");
    CHECK_EQ(SYS(stat, U("/tmp/named"), U(&st)), 0, "stat");
    CHECK_EQ(st.st_nlink, 1, "a name");
    CHECK_EQ(st.st_size, 5, "size");
    CHECK_EQ(SYS(open, U("/lib"), O_TMPFILE | O_RDWR, 0600), -EOPNOTSUPP, "not there");

    CHECK_EQ(SYS(mknod, U("/tmp/fifo"), S_IFIFO | 0644, 0), 0, "mkfifo");
    CHECK_EQ(SYS(stat, U("/tmp/fifo"), U(&st)), 0, "stat");
    CHECK_EQ(st.st_mode, S_IFIFO | 0644, "a FIFO");
    CHECK_EQ(SYS(open, U("/tmp/fifo"), O_RDWR, 0), -ENXIO, "which cannot be opened");
    CHECK_EQ(SYS(mknod, U("/tmp/disk"), S_IFBLK | 0644, 0x800), -EPERM, "a device");
    CHECK_EQ(SYS(mknod, U("/tmp/reg"), S_IFREG | 0600, 0), 0, "a file");
    CHECK_EQ(SYS(mknod, U("/tmp/reg"), S_IFREG | 0600, 0), -EEXIST, "twice");

    /* Open but unlinked. */
    fd = make("gone", "still here");
    CHECK_EQ(SYS(unlink, U("gone")), 0, "unlink");
    CHECK_EQ(SYS(pread64, U(fd), U(buf), 100, 0), 10, "read");
    CHECK_EQ(SYS(fstat, U(fd), U(&st)), 0, "fstat");
    CHECK_EQ(st.st_nlink, 0, "nlink");
}

static void test_memory(void **state UNUSED)
{
    vfs_child(memory_body);
}

static void xattr_body(void)
{
    char buf[100];
    start();
    int64_t fd = make("x", "x");
    CHECK_EQ(SYS(listxattr, U("x"), U(buf), 100), 0, "none");
    CHECK_EQ(SYS(getxattr, U("x"), U("user.a"), U(buf), 100), -ENODATA, "none");
    CHECK_EQ(SYS(setxattr, U("x"), U("user.a"), U("one"), 3, 2), -ENODATA, "replace nothing");
    CHECK_EQ(SYS(setxattr, U("x"), U("user.a"), U("one"), 3, 1), 0, "create");
    CHECK_EQ(SYS(setxattr, U("x"), U("user.a"), U("one"), 3, 1), -EEXIST, "create again");
    CHECK_EQ(SYS(setxattr, U("x"), U("user.b"), U(""), 0, 0), 0, "an empty one");
    CHECK_EQ(SYS(setxattr, U("x"), U("user.a"), U("three"), 5, 2), 0, "replace");
    CHECK_EQ(SYS(fgetxattr, U(fd), U("user.a"), U(buf), 100), 5, "get");
    CHECK(memcmp(buf, "three", 5) == 0, "value");
    CHECK_EQ(SYS(getxattr, U("x"), U("user.a"), 0, 0), 5, "size");
    CHECK_EQ(SYS(getxattr, U("x"), U("user.a"), U(buf), 4), -ERANGE, "too small");
    CHECK_EQ(SYS(getxattr, U("x"), U("user.b"), U(buf), 100), 0, "the empty one");
    CHECK_EQ(SYS(listxattr, U("x"), U(buf), 100), 14, "list");
    CHECK(memcmp(buf, "user.a\0user.b", 14) == 0, "names");
    CHECK_EQ(SYS(listxattr, U("x"), U(buf), 13), -ERANGE, "too small");
    CHECK_EQ(SYS(removexattr, U("x"), U("user.a")), 0, "remove");
    CHECK_EQ(SYS(removexattr, U("x"), U("user.a")), -ENODATA, "remove again");
    CHECK_EQ(SYS(listxattr, U("x"), U(buf), 100), 7, "list");
    CHECK_EQ(SYS(setxattr, U("x"), U("other.a"), U("1"), 1, 0), -EOPNOTSUPP, "another space");
    CHECK_EQ(SYS(setxattr, U("x"), U(""), U("1"), 1, 0), -ERANGE, "no name");
    CHECK_EQ(SYS(setxattr, U("x"), U("user.c"), U(buf), 65537, 0), -E2BIG, "too large");
    CHECK_EQ(SYS(setxattr, U("x"), U("user.c"), U(8), 10, 0), -EFAULT, "a bad value");
    CHECK_EQ(SYS(setxattr, U("x"), U("user.c"), U("1"), 1, 4), -EINVAL, "flags");
    CHECK_EQ(SYS(symlink, U("x"), U("l")), 0, "symlink");
    CHECK_EQ(SYS(lsetxattr, U("l"), U("user.c"), U("1"), 1, 0), -EPERM, "on a symlink");
    CHECK_EQ(SYS(setxattr, U("l"), U("user.c"), U("1"), 1, 0), 0, "through it");
    CHECK_EQ(SYS(setxattr, U("/lib/a"), U("user.c"), U("1"), 1, 0), -EROFS, "trusted");
    CHECK_EQ(SYS(getxattr, U("/lib/a"), U("user.c"), U(buf), 100), -ENODATA, "trusted");
    CHECK_EQ(SYS(fgetxattr, 0, U("user.c"), U(buf), 100), -ENODATA, "a stream");
}

static void test_xattr(void **state UNUSED)
{
    vfs_child(xattr_body);
}

static const char *names(const char *path)
{
    static char text[4000];
    char buf[2000];
    text[0] = '\0';
    int64_t fd = SYS(open, U(path), O_RDONLY | O_DIRECTORY, 0), n;
    CHECK(fd >= 0, "open %s: %lld", path, (long long)fd);
    while ((n = SYS(getdents64, U(fd), U(buf), sizeof(buf))) > 0)
        for (int64_t at = 0; at < n;) {
            const struct dirent64 *d = (const void *)(buf + at);
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", d->d_name);
            at += d->d_reclen;
        }
    SYS(close, U(fd));
    return text;
}

static int64_t slurp(const char *path, char *buf, size_t size)
{
    memset(buf, 0, size);
    int64_t fd = SYS(open, U(path), O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int64_t n = SYS(read, U(fd), U(buf), size - 1);
    SYS(close, U(fd));
    return n;
}

/* Every built-in that a listing shows can be looked at and, if it is a file, read. */
static void visit(const char *path, int depth)
{
    static char buf[20000];
    struct stat st;
    char list[4000], child[500], *save = NULL;
    snprintf(list, sizeof(list), "%s", names(path));
    for (char *name = strtok_r(list, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        snprintf(child, sizeof(child), "%s/%s", path, name);
        if (strstr(child, "/fd") && strcmp(name, "3") == 0)
            continue; /* that was the listing's own */
        CHECK_EQ(SYS(lstat, U(child), U(&st)), 0, "%s", child);
        if (S_ISLNK(st.st_mode)) {
            CHECK(SYS(readlink, U(child), U(buf), 1000) > 0, "%s", child);
        } else if (S_ISDIR(st.st_mode)) {
            CHECK(depth < 8, "%s: too deep", child);
            if (!strstr(child, "/task/")) /* once is enough */
                visit(child, depth + 1);
        } else if (strcmp(name, "tty") != 0 && strcmp(name, "ptmx") != 0) {
            CHECK(slurp(child, buf, sizeof(buf)) >= 0, "%s", child);
        }
    }
}

static void builtin_body(void)
{
    char buf[4000];
    struct stat st;
    start();
    CHECK_EQ(proc_set_exe("/bin/prog", 9), 0, "exe");
    CHECK_EQ(proc_set_cmdline("prog\0-x", 8), 0, "cmdline");
    CHECK_EQ(proc_set_environ("A=1\0", 4), 0, "environ");
    visit("/proc", 0);
    visit("/dev", 0);
    visit("/sys", 0);
    CHECK_EQ(SYS(readlink, U("/proc/self"), U(buf), 10), 2, "self");
    CHECK(memcmp(buf, "42", 2) == 0, "pid");
    CHECK_EQ(SYS(readlink, U("/proc/self/exe"), U(buf), 100), 9, "exe");
    CHECK_EQ(slurp("/proc/self/cmdline", buf, sizeof(buf)), 8, "cmdline");
    CHECK_EQ(slurp("/proc/42/environ", buf, sizeof(buf)), 4, "environ");
    CHECK_EQ(slurp("/proc/thread-self/comm", buf, sizeof(buf)), 5, "comm: %s", buf);
    CHECK_EQ(slurp("/sys/devices/system/cpu/online", buf, sizeof(buf)), 4, "cpus");
    CHECK(strcmp(buf, "0-3\n") == 0, "%s", buf);
    char again[64];
    CHECK_EQ(slurp("/proc/sys/kernel/random/boot_id", buf, sizeof(buf)), 37, "boot_id");
    slurp("/proc/sys/kernel/random/boot_id", again, sizeof(again));
    CHECK(strcmp(buf, again) == 0, "boot_id: %s, %s", buf, again);
    CHECK_EQ(slurp("/proc/sys/kernel/random/uuid", buf, sizeof(buf)), 37, "uuid");
    slurp("/proc/sys/kernel/random/uuid", again, sizeof(again));
    CHECK(strcmp(buf, again) != 0 && buf[14] == '4', "uuid: %s, %s", buf, again);
    CHECK_EQ(SYS(stat, U("/proc/43"), U(&st)), -ENOENT, "another process");
    CHECK_EQ(SYS(stat, U("/sys/devices/system/cpu/cpu3"), U(&st)), 0, "cpu3");
    CHECK_EQ(SYS(stat, U("/sys/devices/system/cpu/cpu4"), U(&st)), -ENOENT, "cpu4");
    CHECK_EQ(SYS(open, U("/proc/cpuinfo"), O_WRONLY, 0), -EACCES, "write");
    CHECK_EQ(SYS(open, U("/proc/new"), O_CREAT | O_WRONLY, 0644), -EROFS, "create");
    CHECK_EQ(SYS(mkdir, U("/dev/x"), 0755), -EROFS, "create");
    CHECK_EQ(SYS(unlink, U("/dev/null")), -EROFS, "unlink");
    CHECK_EQ(SYS(stat, U("/dev/sda"), U(&st)), -ENOENT, "a device of the host");
    CHECK_EQ(SYS(stat, U("/dev/null"), U(&st)), 0, "null");
    CHECK_EQ(st.st_rdev, 0x103, "rdev");
    int64_t fd = SYS(open, U("/dev/zero"), O_RDWR, 0);
    memset(buf, 'x', 10);
    CHECK_EQ(SYS(read, U(fd), U(buf), 10), 10, "zero");
    CHECK_EQ(buf[9], 0, "zero");
    CHECK_EQ(SYS(write, U(fd), U(buf), 10), 10, "zero");
    fd = SYS(open, U("/dev/full"), O_RDWR, 0);
    CHECK_EQ(SYS(write, U(fd), U(buf), 10), -ENOSPC, "full");
    fd = make("/dev/shm/sem", "s");
    CHECK(strcmp(names("/dev/shm"), ". .. sem ") == 0, "%s", names("/dev/shm"));
    snprintf(buf, sizeof(buf), "/dev/fd/%d", (int)fd);
    CHECK_EQ(SYS(stat, U(buf), U(&st)), 0, "/dev/fd");
    CHECK_EQ(st.st_size, 1, "size");
    CHECK_EQ(SYS(open, U("/dev/stdin"), O_RDONLY, 0) > 0, 1, "stdin");
    struct statfs fs;
    CHECK_EQ(SYS(statfs, U("/proc"), U(&fs)), 0, "statfs");
    CHECK_EQ(fs.f_type, 0x9fa0, "proc");
    CHECK_EQ(SYS(statfs, U("/tmp"), U(&fs)), 0, "statfs");
    CHECK_EQ(fs.f_type, 0x01021994, "tmpfs");
    for (unsigned nr = OCALL_OPEN; nr < OCALL_COUNT; nr++)
        CHECK(nr == OCALL_FSTAT || nr == OCALL_IOCTL || g_fake_calls[nr] == 0, "OCALL %u", nr);
}

static void test_builtin(void **state UNUSED)
{
    vfs_child(builtin_body);
}

/* --- threads --------------------------------------------------------------------------- */

static void *pound(void *arg)
{
    uint64_t mine = (uint64_t)arg;
    char path[40], other[40], buf[5000];
    for (uint64_t i = 0; i < 3000; i++) {
        snprintf(path, sizeof(path), "/tmp/t%lu", (unsigned long)(i % 5));
        snprintf(other, sizeof(other), "/tmp/t%lu", (unsigned long)((i + mine) % 5));
        int64_t fd = SYS(open, U(path), O_RDWR | O_CREAT | (i % 7 ? O_APPEND : O_TRUNC), 0644);
        if (fd >= 0) {
            SYS(write, U(fd), U(buf), i % 5000);
            SYS(pread64, U(fd), U(buf), 4999, i % 9000);
            SYS(ftruncate, U(fd), i % 6000);
            SYS(close, U(fd));
        }
        switch (i % 4) {
        case 0: SYS(rename, U(path), U(other)); break;
        case 1: SYS(unlink, U(other)); break;
        case 2: SYS(link, U(path), U(other)); break;
        default:
            SYS(open, U("/lib/a"), O_RDONLY, 0);
            SYS(close, 5 + mine);
            break;
        }
    }
    return NULL;
}

static void threads_body(void)
{
    pthread_t threads[3];
    start();
    for (uint64_t i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, pound, (void *)i), 0, "thread");
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    SYS(close_range, 3, ~0u, 0);
    for (int i = 0; i < 5; i++) {
        char path[40];
        snprintf(path, sizeof(path), "/tmp/t%d", i);
        SYS(unlink, U(path));
    }
    CHECK(strcmp(names("/tmp"), ". .. ") == 0, "left: %s", names("/tmp"));
    CHECK_EQ(SYS(rmdir, U("/tmp/t")), -ENOENT, "alive");
}

static void test_threads(void **state UNUSED)
{
    vfs_child(threads_body);
}

/* One description read by several threads: each byte goes to exactly one of them. */
static int64_t g_shared;
static uint8_t g_seen[100000];

static void *drain(void *arg UNUSED)
{
    uint8_t buf[4 * 7];
    int64_t n;
    while ((n = SYS(read, U(g_shared), U(buf), sizeof(buf))) > 0)
        for (int64_t i = 0; i + 4 <= n; i += 4) {
            uint32_t value;
            memcpy(&value, buf + i, 4);
            __atomic_fetch_add(&g_seen[value], 1, __ATOMIC_RELAXED);
        }
    return NULL;
}

static void shared_body(void)
{
    static uint32_t numbers[70000];
    pthread_t threads[3];
    for (uint32_t i = 0; i < ARRAY_SIZE(numbers); i++)
        numbers[i] = i;
    fake_add(&(struct fake_record){ "/lib/n", MANIFEST_TRUSTED, 0, S_IFREG | 0644,
                                    (const char *)numbers, sizeof(numbers), false });
    start();
    g_shared = SYS(open, U("/lib/n"), O_RDONLY, 0);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, drain, NULL), 0, "thread");
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < ARRAY_SIZE(numbers); i++)
        CHECK_EQ(g_seen[i], 1, "number %u", i);
}

static void test_shared(void **state UNUSED)
{
    vfs_child(shared_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dup),     cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_copies),  cmocka_unit_test(test_memory),
        cmocka_unit_test(test_builtin), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_shared),  cmocka_unit_test(test_xattr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
