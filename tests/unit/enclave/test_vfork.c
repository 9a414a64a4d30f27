/*
 * vfork(2) on the calling thread: what is the child's and what stays the parent's (process/vfork.c,
 * signal/signal.c, sys/thread.c).
 */
#include <errno.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "border/border.h"
#include "process/vfork.h"
#include "signal/state.h"
#include "thr_fakes.h"
#include "thread/threads.h"

sys_fn sys_clone, sys_clone3, sys_fork, sys_vfork, sys_execve, sys_exit, sys_exit_group, sys_gettid,
    sys_kill, sys_tgkill, sys_rt_sigaction, sys_rt_sigprocmask, sys_rt_sigpending, sys_sigaltstack;

#define SPAWN (CLONE_VM | CLONE_VFORK | SIGCHLD)

/* A child that is to do something, then to end or exec. */
struct child {
    const char *name;
    void (*run)(void);
    int32_t status; /* what it ends with; -1: it does not */
    uint32_t ended;
};

static struct regs g_call;

static int64_t tid(void)
{
    return CALL(sys_gettid);
}

/* vfork, run in the child, until the parent goes on. */
static int32_t play(sys_fn *fn, const uint64_t a[5], void (*run)(void))
{
    for (unsigned i = 0; i < sizeof(g_call) / 8; i++)
        ((uint64_t *)&g_call)[i] = 0x1000 + i;
    struct sysargs args = { .regs = &g_call };
    memcpy(args.a, a, 5 * sizeof(*a));
    if (setjmp(g_thr_spawns.back))
        return (int32_t)g_thr_spawns.regs.rax;
    int64_t r = fn(&args);
    if (r < 0)
        return (int32_t)r;
    assert_int_equal(r, 0);
    assert_non_null(process_current()->vfork);
    run();
    fail_msg("the child came to its end");
    return 0;
}

static int32_t play_vfork(void (*run)(void))
{
    return play(sys_vfork, (uint64_t[5]){ 0 }, run);
}

/* --- ends ---------------------------------------------------------------------------------------- */

static void child_exit(void)
{
    CALL(sys_exit, NUM(3));
}

static void child_exit_group(void)
{
    CALL(sys_exit_group, NUM(0x104));
}

static void deliver(void)
{
    struct regs regs = { .orig_rax = UINT64_MAX };
    signal_deliver(&regs);
}

static void child_raises(void)
{
    assert_int_equal(CALL(sys_tgkill, NUM(process_pid()), NUM(tid()), NUM(SIGABRT)), 0);
    deliver();
}

static void child_kills_itself(void)
{
    CALL(sys_kill, NUM(process_pid()), NUM(SIGKILL));
}

static void child_terminates_itself(void)
{
    assert_int_equal(CALL(sys_kill, NUM(process_pid()), NUM(SIGTERM)), 0);
    deliver();
}

static void child_faults(void)
{
    signal_force(current(), &(struct signal_info){ .number = SIGSEGV, .code = SEGV_MAPERR });
    deliver();
}

static void child_execs(void)
{
    g_thr_spawns.exec_result = -ENOMEM;
    assert_int_equal(CALL(sys_execve, PTR("/bin/true"), NUM(0), NUM(0)), -ENOMEM);
    assert_non_null(process_current()->vfork);
    g_thr_spawns.exec_result = 0;
    CALL(sys_execve, PTR("/bin/true"), NUM(0), NUM(0));
}

static const struct child children[] = {
    { "exit", child_exit, 3 << 8, 1 },
    { "exit_group", child_exit_group, 4 << 8, 1 },
    { "abort", child_raises, SIGABRT, 1 },
    { "SIGKILL", child_kills_itself, SIGKILL, 1 },
    { "SIGTERM", child_terminates_itself, SIGTERM, 1 },
    { "fault", child_faults, SIGSEGV, 1 },
    { "exec", child_execs, 0, 0 },
};

static void test_ends(void **state UNUSED)
{
    int32_t parent = process_pid();
    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        g_thr_spawns.ended = 0;
        g_thr_spawns.state_loads = 0;
        int32_t pid = play_vfork(children[i].run);
        if (pid != 200 + g_thr_spawns.last_pid || g_thr_spawns.ended != children[i].ended)
            fail_msg("%s: pid %d, ended %u", children[i].name, pid, g_thr_spawns.ended);
        if (children[i].ended &&
            (g_thr_spawns.ended_pid != pid || g_thr_spawns.status != children[i].status))
            fail_msg("%s: status %x", children[i].name, (unsigned)g_thr_spawns.status);
        if (!children[i].ended && (g_thr_spawns.exec_pid != pid || g_thr_spawns.exec_replaced))
            fail_msg("%s: exec as %d", children[i].name, g_thr_spawns.exec_pid);
        if (process_pid() != parent || process_current() != &g_process || g_thr_spawns.copies ||
            g_thr_spawns.state_loads != 1)
            fail_msg("%s: the parent is not what it was", children[i].name);
        struct regs want = g_call;
        want.rax = (uint64_t)pid;
        want.orig_rax = UINT64_MAX;
        want.rcx = want.rip;
        want.r11 = want.rflags;
        want.full = 1;
        if (memcmp(&want, &g_thr_spawns.regs, sizeof(want)) != 0)
            fail_msg("%s: registers differ", children[i].name);
    }
}

/* --- what is the child's ------------------------------------------------------------------------- */

static void handler_of(int number, struct signal_action *ret)
{
    assert_int_equal(CALL(sys_rt_sigaction, NUM(number), NUM(0), PTR(ret), NUM(8)), 0);
}

static void set_handler(int number, uint64_t handler)
{
    struct signal_action action = { .handler = handler };
    assert_int_equal(CALL(sys_rt_sigaction, NUM(number), PTR(&action), NUM(0), NUM(8)), 0);
}

static void block(uint64_t set)
{
    assert_int_equal(CALL(sys_rt_sigprocmask, NUM(SIG_SETMASK), PTR(&set), NUM(0), NUM(8)), 0);
}

static uint64_t pending(void)
{
    uint64_t set;
    assert_int_equal(CALL(sys_rt_sigpending, PTR(&set), NUM(8)), 0);
    return set;
}

static uint8_t g_alt[16384];

static void child_changes(void)
{
    assert_int_equal(CALL(sys_gettid), process_pid());
    assert_int_equal(current()->signal.mask, SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2));
    assert_int_equal(pending(), 0); /* Linux: a child's are empty */
    struct signal_action action;
    handler_of(SIGUSR1, &action);
    assert_int_equal(action.handler, 0x7777);
    set_handler(SIGUSR1, HANDLER_DEFAULT);
    set_handler(SIGUSR2, HANDLER_IGNORE); /* does not drop the parent's pending one */
    stack_t stack = { .ss_sp = g_alt, .ss_size = sizeof(g_alt) };
    assert_int_equal(CALL(sys_sigaltstack, PTR(&stack), NUM(0)), 0);
    block(0);
    current()->clear_child_tid = 0;
    CALL(sys_exit, NUM(0));
}

static void test_own_state(void **state UNUSED)
{
    uint32_t word = 7;
    current()->clear_child_tid = PTR(&word);
    set_handler(SIGUSR1, 0x7777);
    block(SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2));
    assert_int_equal(CALL(sys_tgkill, NUM(process_pid()), NUM(tid()), NUM(SIGUSR1)), 0);
    assert_int_equal(CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR2)), 0);
    assert_true(play_vfork(child_changes) > 0);

    assert_int_equal(current()->signal.mask, SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2));
    assert_int_equal(pending(), SIGNAL_BIT(SIGUSR1) | SIGNAL_BIT(SIGUSR2));
    assert_int_equal(current()->signal.stack_size, 0);
    assert_int_equal(current()->clear_child_tid, PTR(&word));
    assert_int_equal(word, 7);
    struct signal_action action;
    handler_of(SIGUSR1, &action);
    assert_int_equal(action.handler, 0x7777);
    /* What is pending is still to be had: with its entries, not only its bits. */
    struct signal_info info;
    assert_int_equal(signal_take(current(), UINT64_MAX, &info), SIGUSR1);
    assert_int_equal(info.pid, process_pid());
    assert_int_equal(signal_take(current(), UINT64_MAX, &info), SIGUSR2);
    assert_int_equal(pending(), 0);
    set_handler(SIGUSR1, HANDLER_DEFAULT);
    block(0);
    current()->clear_child_tid = 0;
}

/* --- signals from elsewhere ------------------------------------------------------------------------ */

static volatile bool g_go, g_got;
static int32_t g_main_tid;

static void other_thread(void *arg UNUSED)
{
    while (!g_go)
        thr_sleep_ms(1);
    /* To the parent's thread, and to the parent. */
    g_got = CALL(sys_tgkill, NUM(process_pid()), NUM(g_main_tid), NUM(SIGUSR1)) == 0 &&
            CALL(sys_kill, NUM(process_pid()), NUM(SIGTERM)) == 0;
    struct signal_info info;
    while (!signal_take(current(), SIGNAL_BIT(SIGTERM), &info))
        thr_sleep_ms(1);
    g_go = false;
}

static void child_waits(void)
{
    g_go = true;
    while (g_go)
        thr_sleep_ms(1);
    assert_false(signal_deliverable(current()));
    /* A signal that is the child's. */
    assert_false(vfork_signal(199, &(struct signal_info){ .number = SIGINT }));
    assert_true(vfork_signal(process_pid(), &(struct signal_info){ .number = SIGINT }));
    assert_true(signal_deliverable(current()));
    deliver();
}

static void test_others_signals(void **state UNUSED)
{
    struct thr thr;
    g_main_tid = (int32_t)CALL(sys_gettid);
    set_handler(SIGUSR1, 0x7777);
    set_handler(SIGTERM, 0x7777);
    block(SIGNAL_BIT(SIGUSR1)); /* so that it is seen pending below */
    thr_start(&thr, other_thread, NULL);
    int32_t pid = play_vfork(child_waits);
    assert_int_equal(g_thr_spawns.ended_pid, pid);
    assert_int_equal(g_thr_spawns.status, SIGINT);
    thr_join(&thr);
    assert_true(g_got);
    assert_int_equal(pending(), SIGNAL_BIT(SIGUSR1));
    assert_false(vfork_signal(pid, &(struct signal_info){ .number = SIGINT }));
    set_handler(SIGUSR1, HANDLER_IGNORE);
    set_handler(SIGUSR1, HANDLER_DEFAULT);
    set_handler(SIGTERM, HANDLER_DEFAULT);
    block(0);
}

/* What nobody else can take waits, and makes the parent look at it. */
static void child_host_signal(void)
{
    thr_host_signal(SIGTERM);
    assert_false(signal_deliverable(current()));
    CALL(sys_exit, NUM(0));
}

static void test_waits_for_parent(void **state UNUSED)
{
    assert_true(play_vfork(child_host_signal) > 0);
    assert_true(current()->work & THREAD_WORK_SIGNAL);
    struct signal_info info;
    assert_true(signal_deliverable(current()));
    assert_int_equal(signal_take(current(), UINT64_MAX, &info), SIGTERM);
}

/* --- clone ---------------------------------------------------------------------------------------- */

static uint32_t g_tid, g_parent_tid;
static uint64_t g_stack[64];

static void child_of_clone(void)
{
    assert_int_equal(g_call.rsp, PTR(&g_stack[64]));
    assert_int_equal(g_tid, process_pid());
    assert_int_equal(g_parent_tid, process_pid());
    struct signal_action action;
    handler_of(SIGUSR1, &action);
    assert_int_equal(action.handler, HANDLER_DEFAULT);
    handler_of(SIGUSR2, &action);
    assert_int_equal(action.handler, HANDLER_IGNORE);
    CALL(sys_exit, NUM(0));
}

static void test_clone3(void **state UNUSED)
{
    set_handler(SIGUSR1, 0x7777);
    set_handler(SIGUSR2, HANDLER_IGNORE);
    struct clone_args wanted = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_CLEAR_SIGHAND | CLONE_CHILD_SETTID |
                 CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID,
        .exit_signal = SIGCHLD,
        .stack = PTR(g_stack),
        .stack_size = sizeof(g_stack),
        .child_tid = PTR(&g_tid),
        .parent_tid = PTR(&g_parent_tid),
    };
    int32_t pid = play(sys_clone3, (uint64_t[5]){ PTR(&wanted), sizeof(wanted) }, child_of_clone);
    assert_int_equal(pid, 200 + g_thr_spawns.last_pid);
    assert_int_equal(g_tid, 0);
    assert_int_equal(g_parent_tid, pid);
    set_handler(SIGUSR1, HANDLER_DEFAULT);
    set_handler(SIGUSR2, HANDLER_DEFAULT);
}

#define PTHREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static void child_makes_more(void)
{
    assert_int_equal(CALL(sys_vfork), -EAGAIN);
    assert_int_equal(CALL(sys_fork), -EAGAIN);
    assert_int_equal(CALL(sys_clone, NUM(SPAWN), PTR(&g_stack[64])), -EAGAIN);
    assert_int_equal(CALL(sys_clone, NUM(PTHREAD), PTR(&g_stack[64])), -EAGAIN);
    CALL(sys_exit, NUM(0));
}

static const struct {
    const char *name;
    uint64_t flags;
    int64_t want;
} refused[] = {
    { "shared memory, running on", CLONE_VM | SIGCHLD, -EINVAL },
    { "shared descriptors", SPAWN | CLONE_FILES, -EINVAL },
    { "sibling", CLONE_PARENT | SIGCHLD, -EINVAL },
    { "no signal at exit", CLONE_VM | CLONE_VFORK | 65, -EINVAL },
    { "pidfd for nobody", SPAWN | CLONE_PIDFD, -EFAULT },
    { "pidfd and tid at one place", SPAWN | CLONE_PIDFD | CLONE_PARENT_SETTID, -EINVAL },
    { "pidfd of old", SPAWN | CLONE_PIDFD | CLONE_DETACHED, -EINVAL },
    { "namespace", CLONE_NEWNS | SIGCHLD, -EINVAL },
};

static void test_refused(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        int64_t r = CALL(sys_clone, NUM(refused[i].flags), NUM(0));
        if (r != refused[i].want)
            fail_msg("%s: got %ld", refused[i].name, r);
    }
    assert_true(play_vfork(child_makes_more) > 0);
    g_thr_spawns.pid_error = -EAGAIN;
    assert_int_equal(CALL(sys_vfork), -EAGAIN);
    g_thr_spawns.pid_error = 0;
    assert_null(process_current()->vfork);
    assert_int_equal(g_thr_spawns.copies, 0);
}

static void expect_wish(const struct fork_wish *want)
{
    const struct fork_wish *got = &g_thr_spawns.fork_wish;
    assert_int_equal(got->child_settid, want->child_settid);
    assert_int_equal(got->child_cleartid, want->child_cleartid);
    assert_int_equal(got->tls, want->tls);
    assert_int_equal(got->stack, want->stack);
    assert_int_equal(got->pidfd, want->pidfd);
    assert_int_equal(got->exit_signal, want->exit_signal);
}

static void test_fork(void **state UNUSED)
{
    struct fork_wish want = { .child_settid = 0x5000,
                              .child_cleartid = 0x5000,
                              .exit_signal = SIGCHLD };
    assert_int_equal(CALL(sys_clone, NUM(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD),
                          NUM(0), NUM(0), NUM(0x5000), NUM(0)),
                     300);
    expect_wish(&want);
    want = (struct fork_wish){ .pidfd = 0x6000, .exit_signal = SIGUSR1 };
    assert_int_equal(
        CALL(sys_clone, NUM(CLONE_PIDFD | SIGUSR1), NUM(0), NUM(0x6000), NUM(0), NUM(0)), 300);
    expect_wish(&want);
    assert_int_equal(CALL(sys_clone, NUM(0), NUM(0), NUM(0), NUM(0), NUM(0)), 300);
    assert_int_equal(g_thr_spawns.fork_wish.exit_signal, 0);
    g_thr_node.flags = MANIFEST_EXEC_DENY;
    assert_int_equal(CALL(sys_fork), -ENOSYS);
    assert_int_equal(CALL(sys_vfork), -ENOSYS);
    g_thr_node.flags = 0;
}

static void other_idle(void *arg UNUSED)
{
    for (;;) {
        if (thread_park(OCALL_NEVER) == -EINTR)
            return; /* as return_work() does with THREAD_WORK_EXIT */
    }
}

static void test_exec_in_place(void **state UNUSED)
{
    g_thr_spawns.exec_result = -EAGAIN;
    assert_int_equal(CALL(sys_execve, PTR("/bin/true"), NUM(0), NUM(0)), -EAGAIN);
    assert_true(g_thr_spawns.exec_replaced);
    assert_int_equal(g_thr_spawns.exec_pid, process_pid());
    struct thr thr;
    thr_start(&thr, other_idle, NULL);
    thr_wait_parked(thr.thread);
    assert_true(threads_end_others());
    assert_int_equal(threads_used(), 1);
    assert_false(threads_end_others());
}

static int setup(void **state)
{
    g_thr_node.flags = 0;
    return thr_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),           cmocka_unit_test(test_own_state),
        cmocka_unit_test(test_others_signals), cmocka_unit_test(test_waits_for_parent),
        cmocka_unit_test(test_clone3),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_fork),           cmocka_unit_test(test_exec_in_place),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
