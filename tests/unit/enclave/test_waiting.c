/*
 * wait4(2), waitid(2), kill(2) of other processes, setpgid(2) and the like as the tree's root makes them: over
 * the process table itself (src/enclave/sys/process.c, sys/signal.c).
 */
#include <asm/siginfo.h>
#include <errno.h>
#include <linux/resource.h>
#include <linux/signal.h>
#include <linux/wait.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "signal/state.h"
#include "thr_fakes.h"
#include "thread/threads.h"
#include "tree/ptable.h"

sys_fn sys_wait4, sys_waitid, sys_kill, sys_tkill, sys_tgkill, sys_rt_sigqueueinfo,
    sys_rt_sigaction, sys_getppid, sys_getpgrp, sys_getpgid, sys_setpgid, sys_getsid, sys_setsid,
    sys_vfork, sys_exit, sys_getrusage;

#define ROOT PTABLE_ROOT_PID
#define ANY  ((uint64_t)-1)

static int32_t born(void)
{
    int32_t pid = ptable_new(ROOT, SIGCHLD);
    assert_true(pid > ROOT);
    return pid;
}

/* --- wait ------------------------------------------------------------------------------------------ */

static void test_wait4(void **state UNUSED)
{
    int32_t status = -1;
    struct rusage usage;
    assert_int_equal(CALL(sys_wait4, ANY, NUM(0), NUM(0), NUM(0)), -ECHILD);
    int32_t a = born(), b = born();
    assert_int_equal(CALL(sys_wait4, ANY, PTR(&status), NUM(WNOHANG), NUM(0)), 0);
    assert_int_equal(status, -1);
    ptable_exit(b, 7 << 8, 2500000, 30);
    assert_int_equal(CALL(sys_wait4, NUM(a), PTR(&status), NUM(WNOHANG), NUM(0)), 0);
    assert_int_equal(CALL(sys_wait4, NUM(0), PTR(&status), NUM(0), PTR(&usage)), b);
    assert_int_equal(status, 7 << 8);
    assert_int_equal(usage.ru_utime.tv_sec, 2);
    assert_int_equal(usage.ru_utime.tv_usec, 500000);
    assert_int_equal(usage.ru_stime.tv_usec, 30);
    ptable_exit(a, SIGKILL, 1000000, 0);
    assert_int_equal(CALL(sys_wait4, NUM(-ROOT), PTR(&status), NUM(0), NUM(0)), a);
    assert_int_equal(status, SIGKILL);
    assert_int_equal(CALL(sys_getrusage, (uint64_t)RUSAGE_CHILDREN, PTR(&usage)), 0);
    assert_int_equal(usage.ru_utime.tv_sec, 3);

    assert_int_equal(CALL(sys_wait4, ANY, NUM(0), NUM(WEXITED), NUM(0)), -EINVAL);
    assert_int_equal(CALL(sys_wait4, (uint64_t)INT32_MIN, NUM(0), NUM(0), NUM(0)), -ESRCH);
    a = born();
    ptable_exit(a, 0, 0, 0);
    assert_int_equal(CALL(sys_wait4, NUM(a), NUM(8), NUM(0), NUM(0)), -EFAULT);
    assert_int_equal(CALL(sys_wait4, NUM(a), NUM(0), NUM(0), NUM(0)), -ECHILD);
}

static const struct {
    const char *name;
    int32_t status;
    int code, value;
} ends[] = {
    { "exit", 3 << 8, CLD_EXITED, 3 },
    { "killed", SIGTERM, CLD_KILLED, SIGTERM },
    { "core", SIGABRT | 0x80, CLD_DUMPED, SIGABRT },
};

static void test_waitid(void **state UNUSED)
{
    siginfo_t info;
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        int32_t pid = born();
        ptable_exit(pid, ends[i].status, 0, 0);
        for (int round = 0; round < 2; round++) { /* a look, then for good */
            memset(&info, 0x55, sizeof(info));
            int64_t r = CALL(sys_waitid, NUM(P_PID), NUM(pid), PTR(&info),
                             NUM(WEXITED | (round ? 0 : WNOWAIT)), NUM(0));
            if (r != 0 || info.si_signo != SIGCHLD || info.si_code != ends[i].code ||
                info.si_pid != pid || info.si_status != ends[i].value || info.si_errno != 0)
                fail_msg("%s: got %ld, code %d, status %d", ends[i].name, r, info.si_code,
                         info.si_status);
        }
    }
    const struct {
        const char *name;
        uint64_t idtype, id, options;
        int64_t want;
    } rows[] = {
        { "nothing asked for", P_ALL, 0, WNOHANG, -EINVAL },
        { "unknown option", P_ALL, 0, WEXITED | 0x100, -EINVAL },
        { "unknown type", 9, 0, WEXITED, -EINVAL },
        { "pid 0", P_PID, 0, WEXITED, -EINVAL },
        { "negative group", P_PGID, (uint64_t)-1, WEXITED, -EINVAL },
        { "pidfd", P_PIDFD, 3, WEXITED, -EBADF },
        { "no child", P_ALL, 0, WEXITED, -ECHILD },
        { "no child of the own group", P_PGID, 0, WEXITED, -ECHILD },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t r = CALL(sys_waitid, rows[i].idtype, rows[i].id, NUM(0), rows[i].options, NUM(0));
        if (r != rows[i].want)
            fail_msg("%s: got %ld", rows[i].name, r);
    }
    /* None has ended: zeros. */
    int32_t pid = born();
    memset(&info, 0x55, sizeof(info));
    assert_int_equal(
        CALL(sys_waitid, NUM(P_ALL), NUM(0), PTR(&info), NUM(WEXITED | WNOHANG), NUM(0)), 0);
    assert_int_equal(info.si_signo, 0);
    assert_int_equal(info.si_pid, 0);
    ptable_forget(pid);
}

static void ends_soon(void *arg)
{
    thr_wait_parked(thread_at(0));
    ptable_exit(*(int32_t *)arg, 9 << 8, 0, 0);
}

static void signals_soon(void *arg UNUSED)
{
    thr_wait_parked(thread_at(0));
    CALL(sys_kill, NUM(ROOT), NUM(SIGUSR1));
}

static void test_wait_blocks(void **state UNUSED)
{
    struct thr thr;
    int32_t status, pid = born();
    thr_start(&thr, ends_soon, &pid);
    assert_int_equal(CALL(sys_wait4, ANY, PTR(&status), NUM(0), NUM(0)), pid);
    assert_int_equal(status, 9 << 8);
    thr_join(&thr);

    pid = born();
    struct signal_action action = { .handler = 0x7777 };
    CALL(sys_rt_sigaction, NUM(SIGUSR1), PTR(&action), NUM(0), NUM(8));
    thr_start(&thr, signals_soon, NULL);
    assert_int_equal(CALL(sys_wait4, ANY, PTR(&status), NUM(0), NUM(0)), -ERESTARTSYS);
    thr_join(&thr);
    struct signal_info info;
    assert_int_equal(signal_take(current(), UINT64_MAX, &info), SIGUSR1);
    ptable_forget(pid);
}

static void test_sigchld(void **state UNUSED)
{
    struct signal_action action = { .handler = 0x7777 }, ignore = { .handler = HANDLER_IGNORE };
    int32_t pid = born();
    CALL(sys_rt_sigaction, NUM(SIGCHLD), PTR(&action), NUM(0), NUM(8));
    ptable_exit(pid, 5 << 8, 0, 0);
    struct signal_info info;
    assert_int_equal(signal_take(current(), UINT64_MAX, &info), SIGCHLD);
    uint8_t raw[128];
    signal_info_to_user(&info, raw);
    siginfo_t user;
    memcpy(&user, raw, sizeof(user));
    assert_int_equal(user.si_code, CLD_EXITED);
    assert_int_equal(user.si_pid, pid);
    assert_int_equal(user.si_uid, 1000);
    assert_int_equal(user.si_status, 5);
    assert_int_equal(CALL(sys_wait4, ANY, NUM(0), NUM(0), NUM(0)), pid);

    /* Ignored: waits until all are gone, then ECHILD. */
    CALL(sys_rt_sigaction, NUM(SIGCHLD), PTR(&ignore), NUM(0), NUM(8));
    pid = born();
    struct thr thr;
    thr_start(&thr, ends_soon, &pid);
    assert_int_equal(CALL(sys_wait4, ANY, NUM(0), NUM(0), NUM(0)), -ECHILD);
    thr_join(&thr);
    action = (struct signal_action){ .handler = 0x7777, .flags = SA_NOCLDWAIT };
    CALL(sys_rt_sigaction, NUM(SIGCHLD), PTR(&action), NUM(0), NUM(8));
    pid = born();
    ptable_exit(pid, 0, 0, 0);
    assert_int_equal(signal_take(current(), UINT64_MAX, &info), SIGCHLD);
    assert_int_equal(CALL(sys_wait4, ANY, NUM(0), NUM(0), NUM(0)), -ECHILD);
    action = (struct signal_action){ .handler = HANDLER_DEFAULT };
    CALL(sys_rt_sigaction, NUM(SIGCHLD), PTR(&action), NUM(0), NUM(8));
    pid = born();
    ptable_exit(pid, 0, 0, 0);
    assert_int_equal(CALL(sys_wait4, ANY, NUM(0), NUM(0), NUM(0)), pid);
}

/* --- kill ------------------------------------------------------------------------------------------- */

static void test_kill(void **state UNUSED)
{
    int32_t pid = born();
    siginfo_t info = { .si_code = SI_QUEUE };
    const struct {
        const char *name;
        sys_fn *fn;
        uint64_t a, b, c;
        int64_t want;
        int told;
    } rows[] = {
        { "another one", sys_kill, NUM(pid), SIGTERM, 0, 0, SIGTERM },
        { "a look", sys_kill, NUM(pid), 0, 0, 0, 0 },
        { "its group is ours", sys_kill, NUM(-pid), SIGTERM, 0, -ESRCH, 0 },
        { "all others", sys_kill, ANY, SIGHUP, 0, 0, SIGHUP },
        { "nobody", sys_kill, 30000, SIGTERM, 0, -ESRCH, 0 },
        { "no signal", sys_kill, NUM(pid), 65, 0, -EINVAL, 0 },
        { "a thread elsewhere", sys_tkill, NUM(pid), SIGTERM, 0, -ESRCH, 0 },
        { "a thread of another one", sys_tgkill, NUM(pid), NUM(pid), SIGTERM, -ESRCH, 0 },
        { "queued", sys_rt_sigqueueinfo, NUM(pid), SIGUSR2, PTR(&info), 0, SIGUSR2 },
        { "queued to a group", sys_rt_sigqueueinfo, NUM(-pid), SIGUSR2, PTR(&info), -ESRCH, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_thr_spawns.told = 0;
        int64_t r = CALL(rows[i].fn, rows[i].a, rows[i].b, rows[i].c);
        if (r != rows[i].want || g_thr_spawns.told != rows[i].told)
            fail_msg("%s: got %ld, told %d", rows[i].name, r, g_thr_spawns.told);
    }
    info.si_code = SI_USER; /* only the kernel says so */
    assert_int_equal(CALL(sys_rt_sigqueueinfo, NUM(pid), NUM(SIGUSR2), PTR(&info)), -EPERM);

    /* The own group: us too, before the call returns. */
    struct signal_action action = { .handler = 0x7777 };
    CALL(sys_rt_sigaction, NUM(SIGUSR1), PTR(&action), NUM(0), NUM(8));
    assert_int_equal(CALL(sys_kill, NUM(0), NUM(SIGUSR1)), 0);
    struct signal_info got;
    assert_int_equal(signal_take(current(), UINT64_MAX, &got), SIGUSR1);
    assert_int_equal(got.pid, ROOT);
    assert_int_equal(g_thr_spawns.told_pid, pid);
    ptable_forget(pid);
}

static void test_groups(void **state UNUSED)
{
    int32_t pid = born();
    assert_int_equal(CALL(sys_getppid), 1);
    assert_int_equal(CALL(sys_getpgrp), ROOT);
    assert_int_equal(CALL(sys_getpgid, NUM(pid)), ROOT);
    assert_int_equal(CALL(sys_getsid, NUM(0)), ROOT);
    assert_int_equal(CALL(sys_setpgid, NUM(pid), NUM(0)), 0);
    assert_int_equal(CALL(sys_getpgid, NUM(pid)), pid);
    assert_int_equal(CALL(sys_setsid), -EPERM);
    assert_int_equal(CALL(sys_wait4, NUM(0), NUM(0), NUM(0), NUM(0)), -ECHILD);
    ptable_forget(pid);
}

/* A vfork child asks as itself. The fakes' pids: the table is told of it here. */
static void test_vfork_child(void **state UNUSED)
{
    int32_t pid = born();
    g_thr_spawns.last_pid = pid - 201;
    if (setjmp(g_thr_spawns.back) == 0) {
        struct regs regs = { 0 };
        assert_int_equal(sys_vfork(&(struct sysargs){ .regs = &regs }), 0);
        assert_int_equal(process_pid(), pid);
        assert_int_equal(CALL(sys_getppid), ROOT);
        assert_int_equal(CALL(sys_wait4, ANY, NUM(0), NUM(0), NUM(0)), -ECHILD);
        assert_int_equal(CALL(sys_setsid), pid);
        CALL(sys_exit, NUM(0));
    }
    assert_int_equal(CALL(sys_getsid, NUM(pid)), pid);
    ptable_forget(pid);
}

static int setup(void **state)
{
    g_thr_node.flags = 0;
    return thr_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait4),       cmocka_unit_test(test_waitid),
        cmocka_unit_test(test_wait_blocks), cmocka_unit_test(test_sigchld),
        cmocka_unit_test(test_kill),        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_vfork_child),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
