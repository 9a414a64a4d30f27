/* clone(2), clone3(2), fork and exec refused, tids (src/enclave/sys/thread.c, thread/threads.c). */
#include <errno.h>
#include <linux/sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "arch/cpu.h"
#include "border/border.h"
#include "thr_fakes.h"
#include "thread/threads.h"

sys_fn sys_clone, sys_clone3, sys_fork, sys_vfork, sys_execve, sys_execveat, sys_exit, sys_gettid,
    sys_set_tid_address, sys_futex;

/* What pthread_create asks for. */
#define PTHREAD                                                                         \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM | CLONE_SIGHAND | CLONE_THREAD | \
     CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

static uint64_t g_stack[512];

/* --- refused -------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint64_t flags, stack, tls;
    int64_t want;
    int audited;
} clones[] = {
    { "fork", 17, 0, 0, -ENOSYS, OCALL_AUDIT_FORK },
    { "posix_spawn", CLONE_VM | CLONE_VFORK | 17, 1, 0, -ENOSYS, OCALL_AUDIT_FORK },
    { "new namespace", CLONE_NEWNS | 17, 0, 0, -ENOSYS, OCALL_AUDIT_FORK },
    { "own memory", PTHREAD & ~CLONE_VM, 1, 0x20000, -EINVAL, 0 },
    { "own descriptors", PTHREAD & ~CLONE_FILES, 1, 0x20000, -EINVAL, 0 },
    { "ptrace", PTHREAD | CLONE_PTRACE, 1, 0x20000, -EINVAL, 0 },
    { "no stack", PTHREAD, 0, 0x20000, -EINVAL, 0 },
    { "TLS out of range", PTHREAD, 1, 1ull << 47, -EPERM, 0 },
};

static void test_clone_refused(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(clones); i++) {
        g_thr_audit_event = 0;
        int64_t got = CALL(sys_clone, clones[i].flags, clones[i].stack ? PTR(&g_stack[500]) : 0,
                           NUM(0), NUM(0), clones[i].tls);
        if (got != clones[i].want || g_thr_audit_event != clones[i].audited)
            fail_msg("%s: got %ld, audit %d", clones[i].name, got, g_thr_audit_event);

        struct clone_args args = { .flags = clones[i].flags & ~17ull, .tls = clones[i].tls };
        if (clones[i].stack) {
            args.stack = PTR(g_stack);
            args.stack_size = sizeof(g_stack);
        }
        got = CALL(sys_clone3, PTR(&args), NUM(sizeof(args)));
        if (got != clones[i].want)
            fail_msg("%s, clone3: got %ld", clones[i].name, got);
    }
    assert_int_equal(threads_used(), 1);
}

static void test_clone3_arguments(void **state UNUSED)
{
    struct {
        struct clone_args known;
        uint64_t more;
    } args = { .known = { .flags = PTHREAD,
                          .stack = PTR(g_stack),
                          .stack_size = 4096,
                          .tls = 65536,
                          .exit_signal = 17 } };
    assert_int_equal(CALL(sys_clone3, PTR(&args), NUM(63)), -EINVAL);
    assert_int_equal(CALL(sys_clone3, PTR(&args), NUM(5000)), -E2BIG);
    assert_int_equal(CALL(sys_clone3, NUM(8), NUM(88)), -EFAULT);
    assert_int_equal(CALL(sys_clone3, PTR(&args), NUM(88)),
                     -EINVAL); /* a thread has no exit signal */
    args.more = 1;
    assert_int_equal(CALL(sys_clone3, PTR(&args), NUM(96)), -E2BIG);
}

static void test_processes_refused(void **state UNUSED)
{
    g_thr_audit_event = 0;
    assert_int_equal(CALL(sys_fork), -ENOSYS);
    assert_int_equal(g_thr_audit_event, OCALL_AUDIT_FORK);
    g_thr_audit_event = 0;
    assert_int_equal(CALL(sys_vfork), -ENOSYS);
    assert_int_equal(g_thr_audit_event, OCALL_AUDIT_FORK);
    assert_int_equal(CALL(sys_execve, PTR("/bin/true"), NUM(0), NUM(0)), -EACCES);
    assert_int_equal(g_thr_audit_event, OCALL_AUDIT_EXEC);
    assert_string_equal(g_thr_audit_path, "/bin/true");
    assert_int_equal(CALL(sys_execveat, NUM(-100), PTR("x"), NUM(0), NUM(0), NUM(0)), -EACCES);
    assert_string_equal(g_thr_audit_path, "x");
    assert_int_equal(CALL(sys_execve, NUM(8), NUM(0), NUM(0)), -EFAULT);
}

/* --- made ----------------------------------------------------------------------------------- */

static struct seen {
    uint32_t tid_word, parent_word;
    int32_t tid;
    uint64_t mask, fs_base;
    struct regs start;
    uint32_t mxcsr;
    char name[16];
} g_seen;

static void child(void *arg)
{
    struct seen *seen = arg;
    struct thread *thread = current();
    seen->tid = (int32_t)CALL(sys_gettid);
    seen->mask = thread->signal.mask;
    seen->fs_base = thread->fs_base;
    seen->start = thread->start;
    seen->mxcsr = thread->start_fp.mxcsr;
    memcpy(seen->name, thread->name, sizeof(seen->name));
    CALL(sys_exit, NUM(0));
}

static void wait_gone(void)
{
    uint32_t tid;
    while ((tid = __atomic_load_n(&g_seen.tid_word, __ATOMIC_SEQ_CST)))
        CALL(sys_futex, PTR(&g_seen.tid_word), NUM(0), NUM(tid));
}

/* The way both calls must come out. */
static void check_child(int64_t tid)
{
    assert_true(tid > 0);
    wait_gone();
    assert_int_equal(g_seen.tid, tid);
    assert_int_equal(g_seen.parent_word, tid);
    assert_int_equal(g_seen.mask, 0x200);
    assert_int_equal(g_seen.fs_base, PTR(&g_stack[100]));
    assert_int_equal(g_seen.start.rax, 0);
    assert_int_equal(g_seen.start.rsp, PTR(&g_stack[512]));
    assert_int_equal(g_seen.start.rbx, 4711);
    assert_int_equal(g_seen.start.orig_rax, UINT64_MAX);
    assert_int_equal(g_seen.mxcsr & 0x6000, 0x4000);
    assert_string_equal(g_seen.name, "parent");
    assert_null(thread_by_tid((int32_t)tid));
}

static void test_clone(void **state UNUSED)
{
    struct regs regs = { .rip = PTR(child), .rdi = PTR(&g_seen), .rbx = 4711, .rax = 56 };
    uint32_t upward = 0x1f80 | 0x4000, plain = 0x1f80;
    current()->signal.mask = 0x200;
    memcpy(current()->name, "parent", 7);
    for (int way = 0; way < 2; way++) {
        struct clone_args wanted = {
            .flags = PTHREAD | CLONE_CHILD_SETTID,
            .stack = PTR(g_stack),
            .stack_size = sizeof(g_stack),
            .parent_tid = PTR(&g_seen.parent_word),
            .child_tid = PTR(&g_seen.tid_word),
            .tls = PTR(&g_stack[100]),
        };
        struct sysargs old = { .a = { wanted.flags, PTR(&g_stack[512]), wanted.parent_tid,
                                      wanted.child_tid, wanted.tls },
                               .regs = &regs };
        struct sysargs new = { .a = { PTR(&wanted), sizeof(wanted) }, .regs = &regs };
        memset(&g_seen, 0, sizeof(g_seen));
        __asm__ volatile("ldmxcsr %0" : : "m"(upward));
        int64_t tid = way ? sys_clone3(&new) : sys_clone(&old);
        __asm__ volatile("ldmxcsr %0" : : "m"(plain));
        check_child(tid);
    }
    current()->signal.mask = 0;
}

/* A bad address for the tid: nothing is started, nothing is left. */
static void test_clone_faults(void **state UNUSED)
{
    for (int i = 0; i < 3 * THR_AREAS; i++)
        assert_int_equal(
            CALL(sys_clone, NUM(PTHREAD), PTR(&g_stack[500]), NUM(8), NUM(0), PTR(&g_stack[100])),
            -EFAULT);
    assert_int_equal(threads_used(), 1);
}

static void test_set_tid_address(void **state UNUSED)
{
    uint32_t word = 1;
    assert_int_equal(CALL(sys_set_tid_address, PTR(&word)), process_pid());
    assert_int_equal(current()->clear_child_tid, PTR(&word));
    current()->clear_child_tid = 0;
}

/* --- the end -------------------------------------------------------------------------------- */

static void end_main(void *arg UNUSED)
{
    CALL(sys_exit, NUM(0x1234));
}

/* The last thread ends the process, with the main thread's status. */
static void test_last_thread_ends_the_process(void **state UNUSED)
{
    assert_int_equal(thr_dies(end_main, NULL), 1000 + 0x34);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clone_refused),
        cmocka_unit_test(test_clone3_arguments),
        cmocka_unit_test(test_processes_refused),
        cmocka_unit_test(test_clone),
        cmocka_unit_test(test_clone_faults),
        cmocka_unit_test(test_set_tid_address),
        cmocka_unit_test(test_last_thread_ends_the_process),
    };
    return cmocka_run_group_tests(tests, thr_setup, NULL);
}
