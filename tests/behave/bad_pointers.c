/* System calls with pointers and numbers that are no good: the error, and nothing else happens. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void try_call(const char *what, long r)
{
    int saved = errno;
    printf("%-28s %ld %s\n", what, r, r < 0 ? strerror(saved) : "");
}

int main(void)
{
    void *bad = (void *)0x10, *high = (void *)0x7fffffffff000, *kernel = (void *)0xffffffff80000000;
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    char *edge = page + 4096 - 4,
         *read_only = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = open("/proc/self/exe", O_RDONLY), pipes[2];
    if (pipe(pipes) < 0)
        return 1;
    memset(page, 'x', 4096);

    try_call("open null", syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY));
    try_call("open bad", syscall(SYS_openat, AT_FDCWD, bad, O_RDONLY));
    try_call("open kernel", syscall(SYS_openat, AT_FDCWD, kernel, O_RDONLY));
    try_call("open endless", syscall(SYS_openat, AT_FDCWD, page, O_RDONLY));
    try_call("stat to bad", syscall(SYS_newfstatat, AT_FDCWD, "/", bad, 0));
    try_call("stat to read-only", syscall(SYS_newfstatat, AT_FDCWD, "/", read_only, 0));
    try_call("read to bad", syscall(SYS_read, fd, bad, 100));
    try_call("read to read-only", syscall(SYS_read, fd, read_only, 100));
    try_call("read none to bad", syscall(SYS_read, fd, bad, 0));
    try_call("write from bad", syscall(SYS_write, pipes[1], bad, 100));
    try_call("write from high", syscall(SYS_write, pipes[1], high, 100));
    try_call("write fd", syscall(SYS_write, -1, page, 1));
    try_call("pipe to bad", syscall(SYS_pipe2, bad, 0));
    try_call("clock bad", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, bad));
    try_call("clock edge", syscall(SYS_clock_gettime, CLOCK_MONOTONIC, edge));
    try_call("clock no such", syscall(SYS_clock_gettime, 77, page));
    try_call("nanosleep bad", syscall(SYS_nanosleep, bad, NULL));
    struct timespec wrong = { 0, 1000000000 };
    try_call("nanosleep wrong", syscall(SYS_nanosleep, &wrong, NULL));
    try_call("sigaction bad", syscall(SYS_rt_sigaction, SIGUSR1, bad, NULL, 8));
    try_call("sigaction size", syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    try_call("sigaction KILL", syscall(SYS_rt_sigaction, SIGKILL, page, NULL, 8));
    try_call("sigprocmask bad", syscall(SYS_rt_sigprocmask, SIG_BLOCK, bad, NULL, 8));
    try_call("sigprocmask how", syscall(SYS_rt_sigprocmask, 99, page, NULL, 8));
    try_call("getcwd short", syscall(SYS_getcwd, page, 1));
    try_call("getcwd bad", syscall(SYS_getcwd, bad, 100));
    try_call("readlink to bad", syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", bad, 100));
    try_call("readlink no link", syscall(SYS_readlinkat, AT_FDCWD, "/", page, 100));
    try_call("getdents file", syscall(SYS_getdents64, fd, page, 4096));
    try_call("uname bad", syscall(SYS_uname, bad));
    try_call("getrandom bad", syscall(SYS_getrandom, bad, 16, 0));
    try_call("getrandom flags", syscall(SYS_getrandom, page, 16, 0xff));
    struct iovec vectors[2] = { { page, 10 }, { bad, 10 } };
    try_call("readv too many", syscall(SYS_readv, fd, vectors, 5000));
    try_call("readv bad list", syscall(SYS_readv, fd, bad, 2));
    try_call("readv negative", syscall(SYS_readv, fd, vectors, -1));
    try_call("poll bad", syscall(SYS_poll, bad, 1, 0));
    try_call("futex bad", syscall(SYS_futex, bad, 0, 0, NULL, NULL, 0));
    try_call("lseek whence", syscall(SYS_lseek, fd, 0, 99));
    try_call("lseek negative", syscall(SYS_lseek, fd, -1L, SEEK_SET));
    try_call("pread negative", syscall(SYS_pread64, fd, page, 10L, -1L));
    try_call("dup2 range", syscall(SYS_dup2, fd, -5));
    try_call("fcntl no such", syscall(SYS_fcntl, fd, 9999, 0));
    try_call("ioctl on a file", syscall(SYS_ioctl, fd, 0x5401, page));
    try_call("epoll_ctl no epoll", syscall(SYS_epoll_ctl, fd, 1, pipes[0], page));
    try_call("epoll_wait none", syscall(SYS_epoll_wait, fd, page, 0, 0));
    try_call("mprotect kernel", syscall(SYS_mprotect, 0xffffffff80000000ul, 4096, PROT_READ));
    try_call("set_robust_list size", syscall(SYS_set_robust_list, page, 1));
    try_call("kill signal", syscall(SYS_kill, getpid(), 99));
    try_call("kill 0", syscall(SYS_kill, getpid(), 0));
    try_call("wait no child", syscall(SYS_wait4, -1, NULL, 0, NULL));
    try_call("chdir a file", syscall(SYS_chdir, "/proc/self/exe"));
    try_call("no such call", syscall(100000));
    return 0;
}
