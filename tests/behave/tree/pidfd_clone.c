/* CLONE_PIDFD with clone, clone3 and vfork; children that end without SIGCHLD; pidfd_getfd. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int g_chld, g_usr;

static void on_signal(int number)
{
    if (number == SIGCHLD)
        g_chld++;
    else
        g_usr++;
}

/* Inline: a vfork child that returned from a function would take the parent's way back with it. */
static inline __attribute__((always_inline)) long raw(long nr, long a, long b, long c)
{
    long ret;
    register long d asm("r10") = 0, e asm("r8") = 0;
    asm volatile("syscall"
                 : "=a"(ret)
                 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(d), "r"(e)
                 : "rcx", "r11", "memory");
    if (ret < 0) {
        errno = (int)-ret;
        return -1;
    }
    return ret;
}

static inline __attribute__((always_inline)) long raw_clone(unsigned long flags, void *stack,
                                                            int *parent_tid)
{
    return raw(SYS_clone, (long)flags, (long)stack, (long)parent_tid);
}

static inline __attribute__((always_inline)) long raw_clone3(uint64_t flags, int *pidfd, int *tid,
                                                             int signal)
{
    struct clone_args args = {
        .flags = flags,
        .pidfd = (uintptr_t)pidfd,
        .parent_tid = (uintptr_t)tid,
        .exit_signal = (uint64_t)signal,
    };
    return raw(SYS_clone3, (long)&args, sizeof(args), 0);
}

static const char *error(long ret)
{
    return ret < 0 ? strerrorname_np(errno) : "fine";
}

static int watch(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    return poll(&p, 1, -1) == 1 && p.revents & POLLIN;
}

static void with_pidfd(void)
{
    int fd = -1, tid = -1, status;
    long pid = raw_clone(CLONE_PIDFD | SIGCHLD, NULL, &fd);
    if (pid == 0)
        _exit(fcntl(fd, F_GETFD) < 0 ? 3 : 4); /* it is the parent's alone */
    siginfo_t info;
    printf("clone: %d %d %d", fd >= 0, fcntl(fd, F_GETFD) == FD_CLOEXEC, watch(fd));
    printf(" %d", waitid((idtype_t)3 /* P_PIDFD */, (id_t)fd, &info, WEXITED));
    printf(" %d\n", info.si_status);
    close(fd);

    pid = raw_clone3(CLONE_PIDFD | CLONE_PARENT_SETTID, &fd, &tid, SIGCHLD);
    if (pid == 0)
        _exit(5);
    printf("clone3: %d %d", tid == pid, watch(fd));
    waitpid((pid_t)pid, &status, 0);
    printf(" %d\n", WEXITSTATUS(status));
    close(fd);

    pid = raw_clone3(CLONE_PIDFD | CLONE_VFORK | CLONE_VM, &fd, NULL, SIGCHLD);
    if (pid == 0)
        _exit(6);
    printf("vfork: %d", watch(fd));
    waitpid((pid_t)pid, &status, 0);
    printf(" %d\n", WEXITSTATUS(status));
    close(fd);

    printf("bad: %s", error(raw_clone(CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, NULL, &fd)));
    printf(" %s", error(raw_clone3(CLONE_PIDFD | CLONE_DETACHED, &fd, NULL, SIGCHLD)));
    printf(" %s\n", error(raw_clone3(CLONE_PIDFD, (int *)8, NULL, SIGCHLD)));
    printf("and no child: %s\n", error(waitpid(-1, NULL, 0)));
}

static void without_sigchld(void)
{
    int status;
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigaction(SIGCHLD, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    long pid = raw_clone(0, NULL, NULL);
    if (pid == 0)
        _exit(9);
    printf("no signal: %s", error(waitpid((pid_t)pid, &status, 0)));
    printf(" %d", waitpid((pid_t)pid, &status, __WCLONE) == pid);
    printf(" %d, told %d\n", WEXITSTATUS(status), g_chld);
    pid = raw_clone(SIGUSR2, NULL, NULL);
    if (pid == 0)
        _exit(10);
    printf("another: %d", waitpid(-1, &status, __WALL) == pid);
    printf(" %d, told %d %d\n", WEXITSTATUS(status), g_chld, g_usr);
    pid = raw_clone(CLONE_VM | CLONE_VFORK, NULL, NULL);
    if (pid == 0)
        _exit(11);
    printf("vfork: %d", waitpid(-1, &status, __WALL) == pid);
    printf(" %d, told %d %d\n", WEXITSTATUS(status), g_chld, g_usr);
    pid = fork();
    if (pid == 0)
        _exit(12);
    printf("fork: %s", error(waitpid(-1, &status, __WCLONE)));
    printf(" %d", waitpid((pid_t)pid, &status, 0) == pid);
    printf(" %d, told %d %d\n", WEXITSTATUS(status), g_chld, g_usr);
    signal(SIGCHLD, SIG_DFL);
}

static void limits_of_vfork(void)
{
    struct rlimit before, after, mine = { .rlim_cur = 17, .rlim_max = 17 };
    getrlimit(RLIMIT_NOFILE, &before);
    pid_t pid = vfork();
    if (pid == 0) {
        setrlimit(RLIMIT_NOFILE, &mine);
        getrlimit(RLIMIT_NOFILE, &after);
        _exit((int)after.rlim_cur);
    }
    int status;
    waitpid(pid, &status, 0);
    getrlimit(RLIMIT_NOFILE, &after);
    printf("limits: %d %d\n", WEXITSTATUS(status),
           before.rlim_cur == after.rlim_cur && before.rlim_max == after.rlim_max);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    with_pidfd();
    without_sigchld();
    limits_of_vfork();
    int self = (int)syscall(SYS_pidfd_open, getpid(), 0),
        fd = (int)syscall(SYS_pidfd_getfd, self, 1, 0);
    printf("getfd: %d", fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && write(fd, "\n", 1) == 1);
    printf(" %s", error(syscall(SYS_pidfd_getfd, self, 77, 0)));
    printf(" %s", error(syscall(SYS_pidfd_getfd, 1, 1, 0)));
    printf(" %s\n", error(syscall(SYS_pidfd_getfd, self, 1, 1)));
    return 0;
}
