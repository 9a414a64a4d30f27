/* pidfds in the tree's root (src/enclave/ipc/pidfd.c, sys/process.c), over the process table itself. */
#include <asm/siginfo.h>
#include <errno.h>
#include <linux/eventpoll.h>
#include <linux/signal.h>
#include <linux/wait.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/pidfd.h"
#include "ipc/poll.h"
#include "process/process.h"
#include "signal/state.h"
#include "sys/process.h"
#include "thr_fakes.h"
#include "tree/ptable.h"
#include "vfs/fd.h"
#include "vfs/node.h"

#define ROOT     PTABLE_ROOT_PID
#define NONBLOCK 04000

sys_fn sys_pidfd_open, sys_pidfd_send_signal, sys_pidfd_getfd, sys_waitid, sys_read, sys_pipe;

static int32_t born(void)
{
    int32_t pid = ptable_new(ROOT, SIGCHLD);
    assert_true(pid > ROOT);
    return pid;
}

static int open_of(int32_t pid, uint32_t flags)
{
    int64_t fd = CALL(sys_pidfd_open, NUM(pid), NUM(flags));
    assert_true(fd >= 0);
    return (int)fd;
}

static uint32_t ready(int fd, uint64_t deadline)
{
    struct poll_entry entry = { .file = fd_get(fd), .events = EPOLLIN };
    assert_non_null(entry.file);
    assert_true(poll_wait(&entry, 1, deadline) >= 0);
    file_unref(entry.file);
    return entry.revents;
}

static int64_t wait_fd(int fd, int options, siginfo_t *info)
{
    return CALL(sys_waitid, NUM(P_PIDFD), NUM(fd), PTR(info), NUM(options), NUM(0));
}

static void test_open(void **state UNUSED)
{
    assert_int_equal(CALL(sys_pidfd_open, NUM(0), NUM(0)), -EINVAL);
    assert_int_equal(CALL(sys_pidfd_open, NUM(-1), NUM(0)), -EINVAL);
    assert_int_equal(CALL(sys_pidfd_open, NUM(ROOT), NUM(1)), -EINVAL);
    assert_int_equal(CALL(sys_pidfd_open, NUM(30000), NUM(0)), -ESRCH);
    int fd = open_of(ROOT, 0);
    assert_int_equal(ready(fd, 0), 0);
    siginfo_t info;
    assert_int_equal(wait_fd(fd, WEXITED, &info), -ECHILD);
    assert_int_equal(fd_close(fd), 0);
}

static void end_it(void *arg)
{
    ptable_exit(*(int32_t *)arg, 4 << 8, 0, 0);
}

static void test_ready(void **state UNUSED)
{
    int32_t pid = born();
    int fd = open_of(pid, 0), late;
    struct thr thr;
    siginfo_t info;
    assert_int_equal(wait_fd(fd, WEXITED | WNOHANG, &info), 0);
    assert_int_equal(info.si_pid, 0);
    thr_start(&thr, end_it, &pid);
    assert_int_equal(ready(fd, OCALL_NEVER), EPOLLIN);
    thr_join(&thr);
    late = open_of(pid, 0);
    assert_int_equal(ready(late, 0), EPOLLIN);
    assert_int_equal(CALL(sys_pidfd_send_signal, NUM(fd), NUM(SIGTERM), NUM(0), NUM(0)), 0);
    assert_int_equal(wait_fd(fd, WEXITED | WNOWAIT, &info), 0);
    assert_int_equal(info.si_pid, pid);
    assert_int_equal(wait_fd(fd, WEXITED, &info), 0);
    assert_int_equal(info.si_status, 4);
    assert_int_equal(wait_fd(fd, WEXITED, &info), -ECHILD);
    assert_int_equal(CALL(sys_pidfd_send_signal, NUM(fd), NUM(0), NUM(0), NUM(0)), -ESRCH);
    assert_int_equal(ready(fd, 0), EPOLLIN);
    assert_int_equal(CALL(sys_pidfd_open, NUM(pid), NUM(0)), -ESRCH);
    fd_close(fd);
    fd_close(late);
}

static void test_nonblock(void **state UNUSED)
{
    int32_t pid = born();
    int fd = open_of(pid, NONBLOCK);
    siginfo_t info;
    assert_int_equal(wait_fd(fd, WEXITED, &info), -EAGAIN);
    assert_int_equal(wait_fd(fd, WEXITED | WNOHANG, &info), 0);
    ptable_exit(pid, 0, 0, 0);
    assert_int_equal(wait_fd(fd, WEXITED, &info), 0);
    assert_int_equal(info.si_pid, pid);
    fd_close(fd);
}

/* Another process has got the pid: it is not meant. */
static void test_same_pid(void **state UNUSED)
{
    int32_t pid = born();
    int fd = open_of(pid, 0);
    siginfo_t info;
    ptable_forget(pid);
    assert_int_equal(ready(fd, 0), EPOLLIN);
    int32_t again;
    while ((again = born()) != pid)
        ptable_forget(again);
    assert_int_equal(wait_fd(fd, WEXITED | WNOHANG, &info), -ECHILD);
    g_thr_spawns.told_pid = 0;
    assert_int_equal(CALL(sys_pidfd_send_signal, NUM(fd), NUM(SIGTERM), NUM(0), NUM(0)), -ESRCH);
    assert_int_equal(g_thr_spawns.told_pid, 0);
    int fresh = open_of(pid, 0);
    assert_int_equal(CALL(sys_pidfd_send_signal, NUM(fresh), NUM(SIGTERM), NUM(0), NUM(0)), 0);
    assert_int_equal(g_thr_spawns.told_pid, pid);
    assert_int_equal(g_thr_spawns.told, SIGTERM);
    fd_close(fd);
    fd_close(fresh);
    ptable_forget(pid);
}

static void test_signal(void **state UNUSED)
{
    int32_t pid = born(), pipes[2];
    int fd = open_of(pid, 0), own = open_of(ROOT, 0);
    uint8_t info[128] = { SIGUSR1 };
    int32_t code = -1 /* SI_QUEUE */;
    assert_int_equal(CALL(sys_pipe, PTR(pipes)), 0);
    memcpy(info + 8, &code, sizeof(code));
    const struct {
        const char *name;
        int fd, number;
        void *info;
        uint64_t flags;
        int64_t want;
    } rows[] = {
        { "a pipe", pipes[0], 0, NULL, 0, -EBADF },
        { "nothing", 77, 0, NULL, 0, -EBADF },
        { "flags", fd, 0, NULL, 1, -EINVAL },
        { "no signal", fd, 65, NULL, 0, -EINVAL },
        { "the siginfo says so", fd, SIGUSR1, info, 0, 0 },
        { "the siginfo says another", fd, SIGUSR2, info, 0, -EINVAL },
        { "no siginfo", fd, SIGUSR2, (void *)8, 0, -EFAULT },
        { "a look at ourselves", own, 0, NULL, 0, 0 },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t got = CALL(sys_pidfd_send_signal, NUM(rows[i].fd), NUM(rows[i].number),
                           PTR(rows[i].info), NUM(rows[i].flags));
        if (got != rows[i].want)
            fail_msg("%s: got %ld", rows[i].name, got);
    }
    code = 0; /* SI_USER: the kernel's to say, of others */
    memcpy(info + 8, &code, sizeof(code));
    assert_int_equal(CALL(sys_pidfd_send_signal, NUM(fd), NUM(SIGUSR1), PTR(info), NUM(0)), -EPERM);

    int64_t copy = CALL(sys_pidfd_getfd, NUM(own), NUM(pipes[0]), NUM(0));
    assert_true(copy > pipes[1]);
    assert_int_equal(CALL(sys_pidfd_getfd, NUM(own), NUM(77), NUM(0)), -EBADF);
    assert_int_equal(CALL(sys_pidfd_getfd, NUM(own), NUM(0), NUM(1)), -EINVAL);
    assert_int_equal(CALL(sys_pidfd_getfd, NUM(pipes[0]), NUM(0), NUM(0)), -EBADF);
    assert_int_equal(CALL(sys_pidfd_getfd, NUM(fd), NUM(0), NUM(0)), -EPERM);
    ptable_forget(pid);
    assert_int_equal(CALL(sys_pidfd_getfd, NUM(fd), NUM(0), NUM(0)), -ESRCH);
    fd_close((int)copy);
    fd_close(pipes[0]);
    fd_close(pipes[1]);
    fd_close(fd);
    fd_close(own);
}

/* An open /proc/PID stands for the process too, where a signal is sent. */
static void test_proc(void **state UNUSED)
{
    int32_t pid = born();
    char path[32];
    const struct {
        const char *format;
        int64_t want;
    } rows[] = { { "/proc/%d", 0 },        { "/proc/%d/fd", -EBADF },
                 { "/proc", -EBADF },      { "/proc/x", -EBADF },
                 { "/prox/%d", -EBADF },   { "/proc/999999999999", -EBADF },
                 { "/proc/30001", -ESRCH } };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int size = snprintf(path, sizeof(path), rows[i].format, pid);
        struct place place = { .path = path, .path_size = (uint32_t)size };
        int fd = fd_install(file_new(&g_dir_ops, 0, &place), 0, false);
        assert_true(fd >= 0);
        int64_t got = CALL(sys_pidfd_send_signal, NUM(fd), NUM(SIGTERM), NUM(0), NUM(0));
        if (got != rows[i].want)
            fail_msg("%s: got %ld", path, got);
        siginfo_t info;
        assert_int_equal(wait_fd(fd, WEXITED | WNOHANG, &info), -EBADF);
        fd_close(fd);
    }
    assert_int_equal(g_thr_spawns.told_pid, pid);
    ptable_forget(pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),     cmocka_unit_test(test_ready),
        cmocka_unit_test(test_nonblock), cmocka_unit_test(test_same_pid),
        cmocka_unit_test(test_signal),   cmocka_unit_test(test_proc),
    };
    return cmocka_run_group_tests(tests, thr_setup, NULL);
}
