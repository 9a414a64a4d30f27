/* Signals: pending, choice of thread, delivery, frames, restart (docs/signals.md). */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ucontext.h>
#include <time.h>

#include <cmocka.h>

#include "border/border.h"
#include "signal/signal.h"
#include "thr_fakes.h"
#include "thread/threads.h"

uint64_t signal_frame_size(void); /* signal/state.h, whose kernel headers clash with libc's */

sys_fn sys_rt_sigaction, sys_rt_sigprocmask, sys_rt_sigpending, sys_rt_sigsuspend,
    sys_rt_sigtimedwait, sys_rt_sigqueueinfo, sys_rt_sigreturn, sys_sigaltstack, sys_kill,
    sys_tgkill, sys_tkill, sys_pause, sys_nanosleep, sys_futex, sys_restart_syscall, sys_gettid,
    sys_pipe2;

#define REALTIME           34
#define HANDLER            0x123456000ull
#define RESTORER           0x123457000ull
#define BIT(n)             (1ull << ((n)-1))
#define KERNEL_SA_RESTORER 0x04000000u
#define MAGIC1             0x46505853u
#define MAGIC2             0x46505845u

#define RESTART_SYS   512
#define RESTART_NOINT 513
#define RESTART_NOHND 514
#define RESTART_BLOCK 516

struct action {
    uint64_t handler, flags, restorer, mask;
};

static void set_action(int number, uint64_t handler, uint64_t flags, uint64_t mask)
{
    struct action action = { handler, flags | KERNEL_SA_RESTORER, RESTORER, mask };
    assert_int_equal(CALL(sys_rt_sigaction, NUM(number), PTR(&action), NUM(0), NUM(8)), 0);
}

static uint64_t set_mask(uint64_t mask)
{
    uint64_t old;
    assert_int_equal(CALL(sys_rt_sigprocmask, NUM(SIG_SETMASK), PTR(&mask), PTR(&old), NUM(8)), 0);
    return old;
}

static uint64_t pending(void)
{
    uint64_t set = 0;
    assert_int_equal(CALL(sys_rt_sigpending, PTR(&set), NUM(8)), 0);
    return set;
}

static int raise_self(int number)
{
    return (int)CALL(sys_tgkill, NUM(process_pid()), NUM(current()->tid), NUM(number));
}

static uint64_t g_stack[4096];

/* Registers of a program with recognisable values, its stack being g_stack. */
static struct regs program(void)
{
    return (struct regs){
        .r15 = 15,
        .r14 = 14,
        .r13 = 13,
        .r12 = 12,
        .rbp = 20,
        .rbx = 21,
        .r11 = 11,
        .r10 = 10,
        .r9 = 9,
        .r8 = 8,
        .rax = 30,
        .rcx = 31,
        .rdx = 32,
        .rsi = 33,
        .rdi = 34,
        .orig_rax = UINT64_MAX,
        .rip = 0x400123,
        .rflags = 0x246 | 1,
        .rsp = PTR(&g_stack[4000]),
    };
}

static int setup(void **state UNUSED)
{
    for (int n = 1; n <= 64; n++) {
        if (n != SIGKILL && n != SIGSTOP)
            set_action(n, 0, 0, 0);
    }
    set_mask(0);
    struct regs regs = program();
    signal_deliver(&regs);
    assert_int_equal(pending(), 0);
    stack_t off = { .ss_flags = SS_DISABLE };
    assert_int_equal(CALL(sys_sigaltstack, PTR(&off), NUM(0)), 0);
    current()->work = 0;
    return 0;
}

static bool in_handler(const struct regs *regs)
{
    return regs->rip == HANDLER;
}

static int64_t do_return(struct regs *regs)
{
    /* What the handler's `ret` does: to the restorer, which makes the call. */
    assert_int_equal(*(uint64_t *)(uintptr_t)regs->rsp, RESTORER);
    regs->rsp += 8;
    struct sysargs args = { .regs = regs };
    int64_t ret = sys_rt_sigreturn(&args);
    regs->rax = (uint64_t)ret;
    return ret;
}

/* --- default actions -------------------------------------------------------------------------- */

static void deliver_default(void *arg)
{
    struct regs regs = program();
    raise_self(*(int *)arg);
    signal_deliver(&regs);
}

static void test_default_actions(void **state UNUSED)
{
    static const int ignored[] = { SIGCHLD, SIGURG, SIGWINCH, SIGCONT };
    for (int n = 1; n <= 64; n++) {
        int want = n;
        if (n == SIGSTOP || n == SIGTSTP || n == SIGTTIN || n == SIGTTOU)
            continue; /* test_stops */
        for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
            want = ignored[i] == n ? -1 : want;
        int got = thr_dies(deliver_default, &n);
        if (got != want)
            fail_msg("signal %d: got %d, want %d", n, got, want);
    }
}

static void test_action_arguments(void **state UNUSED)
{
    struct action action = { 0 };
    static const struct {
        const char *name;
        uint64_t number, size;
        bool bad;
        int64_t want;
    } rows[] = {
        { "zero", 0, 8, false, -EINVAL },
        { "beyond", 65, 8, false, -EINVAL },
        { "kill", SIGKILL, 8, false, -EINVAL },
        { "stop", SIGSTOP, 8, false, -EINVAL },
        { "set size", SIGUSR1, 4, false, -EINVAL },
        { "pointer", SIGUSR1, 8, true, -EFAULT },
        { "last", 64, 8, false, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t got = CALL(sys_rt_sigaction, rows[i].number, rows[i].bad ? 8 : PTR(&action), NUM(0),
                           rows[i].size);
        if (got != rows[i].want)
            fail_msg("%s: got %ld", rows[i].name, got);
    }
    struct action old;
    set_action(SIGUSR1, HANDLER, SA_RESTART, ~0ull);
    assert_int_equal(CALL(sys_rt_sigaction, NUM(SIGUSR1), NUM(0), PTR(&old), NUM(8)), 0);
    assert_int_equal(old.handler, HANDLER);
    assert_int_equal(old.mask, ~(BIT(SIGKILL) | BIT(SIGSTOP)));
}

static void test_kill_arguments(void **state UNUSED)
{
    uint64_t pid = NUM(process_pid());
    assert_int_equal(CALL(sys_kill, pid, NUM(0)), 0);
    assert_int_equal(CALL(sys_kill, NUM(0), NUM(0)), 0);
    assert_int_equal(CALL(sys_kill, NUM(-process_pid()), NUM(0)), 0);
    assert_int_equal(CALL(sys_kill, NUM(1), NUM(0)), -ESRCH);
    assert_int_equal(CALL(sys_kill, pid, NUM(65)), -EINVAL);
    assert_int_equal(CALL(sys_kill, pid, NUM(-1)), -EINVAL);
    assert_int_equal(CALL(sys_tgkill, pid, NUM(1), NUM(0)), -ESRCH);
    assert_int_equal(CALL(sys_tgkill, NUM(1), NUM(current()->tid), NUM(0)), -ESRCH);
    assert_int_equal(CALL(sys_tgkill, NUM(0), NUM(current()->tid), NUM(0)), -EINVAL);
    assert_int_equal(CALL(sys_tkill, NUM(current()->tid), NUM(0)), 0);
}

/* --- the frame -------------------------------------------------------------------------------- */

static ucontext_t g_native;
static struct _libc_fpstate g_native_fp;
static uint32_t g_native_magic2, g_native_sw[6];

static void native_handler(int number UNUSED, siginfo_t *info UNUSED, void *context)
{
    g_native = *(ucontext_t *)context;
    const uint8_t *fp = (const uint8_t *)g_native.uc_mcontext.fpregs;
    memcpy(&g_native_fp, fp, sizeof(g_native_fp));
    memcpy(g_native_sw, fp + 464, sizeof(g_native_sw));
    memcpy(&g_native_magic2, fp + g_native_sw[1] - 4, 4);
}

/* The kernel's own frame on this machine is the oracle for what does not depend on the moment. */
static void test_frame_is_linux(void **state UNUSED)
{
    struct sigaction native = { .sa_sigaction = native_handler, .sa_flags = SA_SIGINFO };
    sigaction(SIGUSR2, &native, NULL);
    raise(SIGUSR2);

    set_action(SIGUSR1, HANDLER, SA_SIGINFO, 0);
    set_mask(BIT(SIGHUP));
    struct regs regs = program(), before = regs;
    raise_self(SIGUSR1);
    signal_deliver(&regs);
    assert_true(in_handler(&regs));
    assert_true(regs.full);
    assert_int_equal(current()->work & THREAD_WORK_FULL, THREAD_WORK_FULL);

    const ucontext_t *uc = (const ucontext_t *)(uintptr_t)regs.rdx;
    const siginfo_t *info = (const siginfo_t *)(uintptr_t)regs.rsi;
    assert_int_equal(regs.rdi, SIGUSR1);
    assert_int_equal(regs.rsp % 16, 8);
    assert_int_equal(regs.rdx, regs.rsp + 8);
    assert_int_equal(regs.rsi, regs.rsp + 8 + 304);
    assert_true(regs.rsp + 440 <= before.rsp - 128);
    assert_true(before.rsp - regs.rsp <= signal_frame_size());
    assert_int_equal(regs.rflags & 0x10500, 0);

    assert_int_equal(info->si_signo, SIGUSR1);
    assert_int_equal(info->si_code, SI_TKILL);
    assert_int_equal(info->si_pid, process_pid());
    assert_int_equal(uc->uc_mcontext.gregs[REG_RIP], before.rip);
    assert_int_equal(uc->uc_mcontext.gregs[REG_RSP], before.rsp);
    assert_int_equal(uc->uc_mcontext.gregs[REG_EFL], before.rflags);
    assert_int_equal(uc->uc_mcontext.gregs[REG_R15], 15);
    assert_int_equal(uc->uc_mcontext.gregs[REG_RBX], 21);
    assert_int_equal(uc->uc_mcontext.gregs[REG_RAX], 30);
    assert_int_equal(uc->uc_sigmask.__val[0], BIT(SIGHUP));
    assert_int_equal(uc->uc_flags, g_native.uc_flags);
    assert_int_equal(uc->uc_mcontext.gregs[REG_CSGSFS], g_native.uc_mcontext.gregs[REG_CSGSFS]);

    const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;
    uint32_t sw[6], magic2;
    memcpy(sw, fp + 464, sizeof(sw));
    memcpy(&magic2, fp + sw[1] - 4, 4);
    assert_int_equal(PTR(fp) % 64, 0);
    assert_int_equal(sw[0], MAGIC1);
    assert_int_equal(magic2, MAGIC2);
    assert_int_equal(g_native_sw[0], MAGIC1);
    assert_int_equal(g_native_magic2, MAGIC2);
    if ((g_native_sw[2] & ~0xe7u) == 0 && g_native_sw[4] != 2432) { /* nothing we leave out */
        assert_int_equal(sw[1], g_native_sw[1]);
        assert_int_equal(sw[2], g_native_sw[2]);
        assert_int_equal(sw[4], g_native_sw[4]);
    }
    assert_memory_equal(fp, &g_native_fp, 8 - 2); /* control and status words */

    /* In the handler: blocked is what was, and the signal. */
    assert_int_equal(current()->signal.mask, BIT(SIGHUP) | BIT(SIGUSR1));
    do_return(&regs);
    assert_int_equal(current()->signal.mask, BIT(SIGHUP));
    before.full = 1;
    assert_memory_equal(&regs, &before, sizeof(regs));
}

static void test_vectors_survive(void **state UNUSED)
{
    set_action(SIGUSR1, HANDLER, 0, 0);
    struct regs regs = program();
    raise_self(SIGUSR1);
    uint64_t in[2] = { 0x1122334455667788, 0x99aabbccddeeff00 }, out[2] = { 0, 0 };
    uint32_t rounding = 0x1f80 | 0x6000, mxcsr = 0, plain = 0x1f80;
    __asm__ volatile("ldmxcsr %0; movdqu %1, %%xmm15" : : "m"(rounding), "m"(in) : "xmm15");
    signal_deliver(&regs);
    __asm__ volatile("ldmxcsr %0; pxor %%xmm15, %%xmm15" : : "m"(plain) : "xmm15");
    do_return(&regs);
    __asm__ volatile("stmxcsr %0; movdqu %%xmm15, %1; ldmxcsr %2"
                     : "=m"(mxcsr), "=m"(out)
                     : "m"(plain));
    assert_int_equal(mxcsr, rounding);
    assert_memory_equal(in, out, sizeof(in));
}

/* What a program can write into the image before sigreturn must not make XRSTOR fault. */
static void test_hostile_image(void **state UNUSED)
{
    static const struct {
        const char *name;
        uint32_t offset, value;
    } rows[] = {
        { "reserved MXCSR bits", 24, 0xffffffff },
        { "MXCSR mask", 28, 0xffffffff },
        { "unknown features present", 512, 0xffffffff },
        { "upper features", 516, 0xffffffff },
        { "compacted", 524, 0x80000000 },
        { "XCOMP_BV", 520, 0xff },
        { "reserved header", 528, 1 },
        { "reserved header's end", 572, 1 },
        { "features named", 472, 0xffffffff },
        { "size too small", 480, 64 },
        { "size too large", 480, 0x7fffffff },
        { "extended size", 468, 1 },
        { "no magic1", 464, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        set_action(SIGUSR1, HANDLER, 0, 0);
        struct regs regs = program();
        raise_self(SIGUSR1);
        signal_deliver(&regs);
        ucontext_t *uc = (ucontext_t *)(uintptr_t)regs.rdx;
        memcpy((uint8_t *)uc->uc_mcontext.fpregs + rows[i].offset, &rows[i].value, 4);
        do_return(&regs);
        if (regs.rip != 0x400123)
            fail_msg("%s: not returned", rows[i].name);
        uint32_t plain = 0x1f80;
        __asm__ volatile("ldmxcsr %0" : : "m"(plain));
    }
}

static void return_from_bad_frame(void *arg UNUSED)
{
    struct regs regs = program();
    regs.rsp = 64;
    struct sysargs args = { .regs = &regs };
    sys_rt_sigreturn(&args);
    signal_deliver(&regs);
}

static void test_sigreturn_without_frame(void **state UNUSED)
{
    assert_int_equal(thr_dies(return_from_bad_frame, NULL), SIGSEGV);
}

static void deliver_on_bad_stack(void *arg)
{
    struct regs regs = program();
    regs.rsp = 0x1000;
    raise_self(*(int *)arg);
    signal_deliver(&regs);
}

static void test_stack_overflow_kills(void **state UNUSED)
{
    int number = SIGUSR1;
    set_action(SIGUSR1, HANDLER, 0, 0);
    assert_int_equal(thr_dies(deliver_on_bad_stack, &number), SIGSEGV);
    set_action(SIGSEGV, HANDLER, 0, 0);
    number = SIGSEGV;
    assert_int_equal(thr_dies(deliver_on_bad_stack, &number), SIGSEGV);
}

static void test_segv_on_alternate_stack(void **state UNUSED)
{
    static uint64_t alternate[2048];
    stack_t ss = { .ss_sp = alternate, .ss_size = sizeof(alternate) }, old;
    assert_int_equal(CALL(sys_sigaltstack, PTR(&ss), NUM(0)), 0);
    set_action(SIGSEGV, HANDLER, SA_ONSTACK | SA_SIGINFO, 0);
    struct regs regs = program();
    regs.rsp = 0x1000; /* a stack that overflowed */
    signal_force(current(), &(struct signal_info){ .number = SIGSEGV,
                                                   .code = SEGV_ACCERR,
                                                   .address = 0xff8,
                                                   .vector = 14,
                                                   .error_code = 6 });
    signal_deliver(&regs);
    assert_true(in_handler(&regs));
    assert_true(regs.rsp > PTR(alternate) && regs.rsp < PTR(alternate) + sizeof(alternate));
    const ucontext_t *uc = (const ucontext_t *)(uintptr_t)regs.rdx;
    const siginfo_t *info = (const siginfo_t *)(uintptr_t)regs.rsi;
    assert_ptr_equal(info->si_addr, 0xff8);
    assert_int_equal(info->si_code, SEGV_ACCERR);
    assert_int_equal(uc->uc_mcontext.gregs[REG_CR2], 0xff8);
    assert_int_equal(uc->uc_mcontext.gregs[REG_ERR], 6);
    assert_int_equal(uc->uc_mcontext.gregs[REG_TRAPNO], 14);
    assert_ptr_equal(uc->uc_stack.ss_sp, alternate);

    /* On it: it cannot be changed, and says so. */
    struct sysargs args = { .a = { PTR(&ss) }, .regs = &regs };
    assert_int_equal(sys_sigaltstack(&args), -EPERM);
    args = (struct sysargs){ .a = { 0, PTR(&old) }, .regs = &regs };
    assert_int_equal(sys_sigaltstack(&args), 0);
    assert_int_equal(old.ss_flags, SS_ONSTACK);

    /* A second signal stays on it, below the first frame. */
    set_action(SIGUSR1, HANDLER, SA_ONSTACK, 0);
    uint64_t first = regs.rsp;
    raise_self(SIGUSR1);
    signal_deliver(&regs);
    assert_true(regs.rsp < first && regs.rsp > PTR(alternate));
    do_return(&regs);
    assert_int_equal(regs.rsp, first);
    do_return(&regs);
    assert_int_equal(regs.rsp, 0x1000);
    assert_int_equal(current()->signal.stack_size, sizeof(alternate));
}

static void test_altstack_arguments(void **state UNUSED)
{
    static uint64_t memory[1024];
    static const struct {
        const char *name;
        int flags;
        size_t size;
        int64_t want;
    } rows[] = {
        { "too small", 0, 2047, -ENOMEM },           { "least", 0, 2048, 0 },
        { "onstack given", SS_ONSTACK, 2048, 0 },    { "unknown flag", 8, 2048, -EINVAL },
        { "autodisarm", (int)0x80000000u, 2048, 0 }, { "off needs no size", SS_DISABLE, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        stack_t ss = { .ss_sp = memory, .ss_size = rows[i].size, .ss_flags = rows[i].flags };
        int64_t got = CALL(sys_sigaltstack, PTR(&ss), NUM(0));
        if (got != rows[i].want)
            fail_msg("%s: got %ld", rows[i].name, got);
    }
}

/* --- restart ---------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int64_t code;
    bool handler, sa_restart;
    int64_t want_rax;
    int64_t want_rip; /* relative */
} restarts[] = {
    { "SYS, handler", -RESTART_SYS, true, false, -EINTR, 0 },
    { "SYS, SA_RESTART", -RESTART_SYS, true, true, 202, -2 },
    { "SYS, none", -RESTART_SYS, false, false, 202, -2 },
    { "NOINTR, handler", -RESTART_NOINT, true, false, 202, -2 },
    { "NOINTR, none", -RESTART_NOINT, false, false, 202, -2 },
    { "NOHAND, handler", -RESTART_NOHND, true, true, -EINTR, 0 },
    { "NOHAND, none", -RESTART_NOHND, false, false, 202, -2 },
    { "BLOCK, handler", -RESTART_BLOCK, true, true, -EINTR, 0 },
    { "BLOCK, none", -RESTART_BLOCK, false, false, 219, -2 },
    { "EINTR, handler", -EINTR, true, true, -EINTR, 0 },
    { "result, handler", 7, true, true, 7, 0 },
    { "result, none", 7, false, false, 7, 0 },
};

static void test_restart(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(restarts); i++) {
        struct regs regs = program();
        regs.orig_rax = 202;
        regs.rax = (uint64_t)restarts[i].code;
        set_action(SIGUSR1, HANDLER, restarts[i].sa_restart ? SA_RESTART : 0, 0);
        if (restarts[i].handler)
            raise_self(SIGUSR1);
        signal_deliver(&regs);
        if (restarts[i].handler) {
            assert_true(in_handler(&regs));
            do_return(&regs);
        }
        if ((int64_t)regs.rax != restarts[i].want_rax ||
            (int64_t)regs.rip != 0x400123 + restarts[i].want_rip)
            fail_msg("%s: rax %ld, rip %lx", restarts[i].name, (long)regs.rax, regs.rip);
    }
    /* Not from a system call: nothing is translated. */
    struct regs regs = program();
    regs.rax = (uint64_t)-RESTART_SYS;
    signal_deliver(&regs);
    assert_int_equal(regs.rax, (uint64_t)-RESTART_SYS);
}

/* --- order, nesting, flags -------------------------------------------------------------------- */

static int next_signal(struct regs *regs)
{
    return in_handler(regs) ? (int)regs->rdi : 0;
}

static void test_order(void **state UNUSED)
{
    static const int sent[] = { SIGTERM, SIGHUP, REALTIME, SIGSEGV };
    /* Frames nest: the last one built runs first, so handlers run in the reverse order of taking.
     */
    static const int run[] = { REALTIME, SIGTERM, SIGHUP, SIGSEGV };
    struct regs regs = program();
    for (size_t i = 0; i < ARRAY_SIZE(sent); i++) {
        set_action(sent[i], HANDLER, 0, 0);
        raise_self(sent[i]);
    }
    signal_deliver(&regs);
    for (size_t i = 0; i < ARRAY_SIZE(run); i++) {
        assert_int_equal(next_signal(&regs), run[i]);
        do_return(&regs);
    }
    assert_int_equal(regs.rip, 0x400123);
    assert_int_equal(current()->signal.mask, 0);
}

static void test_mask_in_handler(void **state UNUSED)
{
    struct regs regs = program();
    set_action(SIGUSR1, HANDLER, 0, BIT(SIGUSR2));
    set_action(SIGUSR2, HANDLER, 0, 0);
    raise_self(SIGUSR1);
    raise_self(SIGUSR2);
    signal_deliver(&regs);
    /* USR2 waits for the end of USR1's handler. */
    assert_int_equal(next_signal(&regs), SIGUSR1);
    assert_int_equal(current()->signal.mask, BIT(SIGUSR1) | BIT(SIGUSR2));
    do_return(&regs);
    assert_int_equal(current()->work & THREAD_WORK_SIGNAL, THREAD_WORK_SIGNAL);
    signal_deliver(&regs);
    assert_int_equal(next_signal(&regs), SIGUSR2);
    do_return(&regs);

    set_action(SIGUSR1, HANDLER, SA_NODEFER, 0);
    raise_self(SIGUSR1);
    signal_deliver(&regs);
    assert_int_equal(current()->signal.mask, 0);
    do_return(&regs);
}

static void raise_twice(void *arg UNUSED)
{
    struct regs regs = program();
    raise_self(SIGUSR1);
    signal_deliver(&regs);
    assert_true(in_handler(&regs));
    do_return(&regs);
    raise_self(SIGUSR1);
    signal_deliver(&regs);
}

static void test_resethand(void **state UNUSED)
{
    set_action(SIGUSR1, HANDLER, SA_RESETHAND, 0);
    assert_int_equal(thr_dies(raise_twice, NULL), SIGUSR1);
}

static void force_blocked(void *arg UNUSED)
{
    struct regs regs = program();
    signal_force(current(), &(struct signal_info){ .number = SIGFPE, .code = FPE_INTDIV });
    signal_deliver(&regs);
}

static void test_blocked_fault_kills(void **state UNUSED)
{
    set_action(SIGFPE, HANDLER, 0, 0);
    set_mask(BIT(SIGFPE));
    assert_int_equal(thr_dies(force_blocked, NULL), SIGFPE);
    set_mask(0);
    set_action(SIGFPE, 1 /* SIG_IGN */, 0, 0);
    assert_int_equal(thr_dies(force_blocked, NULL), SIGFPE);
}

static void test_ignored_is_dropped(void **state UNUSED)
{
    set_action(SIGUSR1, 1, 0, 0);
    raise_self(SIGUSR1);
    assert_int_equal(current()->signal.pending, 0);
    /* Blocked, it is kept: the action may change. Ignoring drops it then. */
    set_action(SIGUSR1, HANDLER, 0, 0);
    set_mask(BIT(SIGUSR1));
    raise_self(SIGUSR1);
    CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR1));
    assert_int_equal(pending(), BIT(SIGUSR1));
    assert_false(signal_deliverable(current()));
    set_action(SIGUSR1, 1, 0, 0);
    assert_int_equal(pending(), 0);
}

static void test_queue(void **state UNUSED)
{
    siginfo_t info = { .si_code = SI_QUEUE };
    set_mask(~0ull);
    /* A real-time signal queues, values in order; a standard one does not. */
    for (int i = 0; i < 3; i++) {
        info.si_value.sival_int = 100 + i;
        assert_int_equal(CALL(sys_rt_sigqueueinfo, NUM(process_pid()), NUM(40), PTR(&info)), 0);
        assert_int_equal(CALL(sys_rt_sigqueueinfo, NUM(process_pid()), NUM(SIGUSR1), PTR(&info)),
                         0);
    }
    uint64_t set = BIT(40) | BIT(SIGUSR1);
    struct timespec no_time = { 0, 0 };
    siginfo_t got;
    assert_int_equal(CALL(sys_rt_sigtimedwait, PTR(&set), PTR(&got), PTR(&no_time), NUM(8)),
                     SIGUSR1);
    assert_int_equal(got.si_value.sival_int, 100);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(CALL(sys_rt_sigtimedwait, PTR(&set), PTR(&got), PTR(&no_time), NUM(8)),
                         40);
        assert_int_equal(got.si_value.sival_int, 100 + i);
        assert_int_equal(got.si_code, SI_QUEUE);
    }
    assert_int_equal(CALL(sys_rt_sigtimedwait, PTR(&set), PTR(&got), PTR(&no_time), NUM(8)),
                     -EAGAIN);
}

static void test_queue_limit(void **state UNUSED)
{
    siginfo_t info = { .si_code = SI_QUEUE };
    set_mask(BIT(50));
    int64_t ret = 0;
    int count = 0;
    while (count < 10000 &&
           (ret = CALL(sys_rt_sigqueueinfo, NUM(process_pid()), NUM(50), PTR(&info))) == 0)
        count++;
    assert_int_equal(ret, -EAGAIN);
    assert_int_equal(count, 4096);
    set_action(50, 1, 0, 0);
    assert_int_equal(pending(), 0);
    set_action(50, 0, 0, 0);
    assert_int_equal(CALL(sys_rt_sigqueueinfo, NUM(process_pid()), NUM(50), PTR(&info)), 0);
    set_action(50, 1, 0, 0);
}

/* --- several threads -------------------------------------------------------------------------- */

struct waiter_arg {
    struct thr thr;
    uint64_t mask;
    uint32_t word;
    int64_t ret;
    bool stop;
};

/* Sleeps on a futex under a mask; says how that ended. */
static void sleep_on_word(void *arg)
{
    struct waiter_arg *w = arg;
    uint64_t mask = w->mask;
    CALL(sys_rt_sigprocmask, NUM(SIG_SETMASK), PTR(&mask), NUM(0), NUM(8));
    w->ret = CALL(sys_futex, PTR(&w->word), NUM(0 /* WAIT */), NUM(0));
    struct regs regs = program();
    uint64_t stack[1024];
    regs.rsp = PTR(&stack[1000]);
    signal_deliver(&regs);
    if (in_handler(&regs))
        do_return(&regs);
}

static void test_thread_that_does_not_block_takes_it(void **state UNUSED)
{
    struct waiter_arg blocks = { .mask = BIT(SIGUSR1) }, takes = { .mask = 0 };
    set_action(SIGUSR1, HANDLER, 0, 0);
    set_mask(BIT(SIGUSR1));
    thr_start(&blocks.thr, sleep_on_word, &blocks);
    thr_start(&takes.thr, sleep_on_word, &takes);
    thr_wait_parked(blocks.thr.thread);
    thr_wait_parked(takes.thr.thread);
    CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR1));
    thr_join(&takes.thr);
    assert_int_equal(takes.ret, -RESTART_SYS);
    assert_int_equal(pending(), 0);
    assert_int_equal(CALL(sys_futex, PTR(&blocks.word), NUM(1 /* WAKE */), NUM(1)), 1);
    thr_join(&blocks.thr);
    assert_int_equal(blocks.ret, 0);
}

static void test_blocking_passes_it_on(void **state UNUSED)
{
    struct waiter_arg other = { .mask = BIT(SIGUSR1) };
    set_action(SIGUSR1, HANDLER, 0, 0);
    set_mask(BIT(SIGUSR1));
    thr_start(&other.thr, sleep_on_word, &other);
    thr_wait_parked(other.thr.thread);
    CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR1)); /* nobody takes it */
    assert_int_equal(pending(), BIT(SIGUSR1));
    /* The other one unblocks it by a directed one's handler... simply: it is woken and does not
     * want it. */
    assert_int_equal(CALL(sys_futex, PTR(&other.word), NUM(1), NUM(1)), 1);
    thr_join(&other.thr);
    assert_int_equal(pending(), BIT(SIGUSR1));

    struct waiter_arg takes = { .mask = 0 };
    set_mask(0); /* it is ours now... */
    assert_int_equal(current()->work & THREAD_WORK_SIGNAL, THREAD_WORK_SIGNAL);
    struct regs regs = program();
    signal_deliver(&regs);
    assert_int_equal(next_signal(&regs), SIGUSR1);
    do_return(&regs);

    thr_start(&takes.thr, sleep_on_word, &takes);
    thr_wait_parked(takes.thr.thread);
    CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR1)); /* chosen: the main thread, us */
    set_mask(BIT(SIGUSR1));                           /* ... and then we block it */
    thr_join(&takes.thr);
    assert_int_equal(takes.ret, -RESTART_SYS);
    assert_int_equal(pending(), 0);
}

static void wait_signal(void *arg)
{
    struct waiter_arg *w = arg;
    uint64_t set = BIT(SIGUSR2);
    w->ret = CALL(sys_rt_sigtimedwait, PTR(&set), NUM(0), NUM(0), NUM(8));
}

static void test_sigtimedwait(void **state UNUSED)
{
    struct waiter_arg w = { 0 };
    set_mask(~0ull); /* inherited */
    thr_start(&w.thr, wait_signal, &w);
    thr_wait_parked(w.thr.thread);
    CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR2));
    thr_join(&w.thr);
    assert_int_equal(w.ret, SIGUSR2);

    w.ret = 0;
    thr_start(&w.thr, wait_signal, &w);
    thr_wait_parked(w.thr.thread);
    CALL(sys_tgkill, NUM(process_pid()), NUM(w.thr.tid), NUM(SIGUSR2));
    thr_join(&w.thr);
    assert_int_equal(w.ret, SIGUSR2);

    uint64_t set = BIT(SIGUSR2);
    struct timespec soon = { 0, 10000000 };
    assert_int_equal(CALL(sys_rt_sigtimedwait, PTR(&set), NUM(0), PTR(&soon), NUM(8)), -EAGAIN);
}

static void suspend(void *arg)
{
    struct waiter_arg *w = arg;
    uint64_t mask = 0;
    struct regs regs = program();
    uint64_t stack[1024];
    regs.rsp = PTR(&stack[1000]);
    regs.orig_rax = 130;
    regs.rax = (uint64_t)CALL(sys_rt_sigsuspend, PTR(&mask), NUM(8));
    signal_deliver(&regs);
    w->ret = next_signal(&regs);
    /* In the handler: the temporary mask and the signal; afterwards the old one. */
    w->word = current()->signal.mask == BIT(SIGUSR1);
    do_return(&regs);
    w->word +=
        current()->signal.mask == (BIT(SIGUSR1) | BIT(SIGHUP)) && (int64_t)regs.rax == -EINTR;
}

static void test_sigsuspend(void **state UNUSED)
{
    struct waiter_arg w = { 0 };
    set_action(SIGUSR1, HANDLER, SA_RESTART, 0);
    set_mask(BIT(SIGUSR1) | BIT(SIGHUP));
    thr_start(&w.thr, suspend, &w);
    thr_wait_parked(w.thr.thread);
    CALL(sys_tgkill, NUM(process_pid()), NUM(w.thr.tid), NUM(SIGUSR1));
    thr_join(&w.thr);
    assert_int_equal(w.ret, SIGUSR1);
    assert_int_equal(w.word, 2);
}

/* The signal that woke sigsuspend went to another thread: the old mask comes back, the call again.
 */
static void test_saved_mask_without_handler(void **state UNUSED)
{
    struct regs regs = program();
    set_mask(BIT(SIGHUP));
    current()->signal.saved_mask = BIT(SIGHUP);
    current()->signal.have_saved_mask = true;
    current()->signal.mask = 0;
    regs.orig_rax = 130;
    regs.rax = (uint64_t)-RESTART_NOHND;
    signal_deliver(&regs);
    assert_int_equal(current()->signal.mask, BIT(SIGHUP));
    assert_int_equal(regs.rax, 130);
    assert_int_equal(regs.rip, 0x400121);
}

static void sleep_long(void *arg)
{
    struct waiter_arg *w = arg;
    struct timespec ts = { 0, 150000000 };
    struct timespec left = { 0, 0 };
    w->ret = CALL(sys_nanosleep, PTR(&ts), PTR(&left));
    if (w->ret == -RESTART_BLOCK) {
        w->word = left.tv_nsec > 0 && left.tv_nsec < 150000000;
        current()->signal.mask = ~0ull;
        w->ret = CALL(sys_restart_syscall);
    }
}

static void test_nanosleep_goes_on(void **state UNUSED)
{
    struct waiter_arg w = { 0 };
    set_action(SIGUSR1, HANDLER, 0, 0);
    uint64_t before = clock_monotonic();
    thr_start(&w.thr, sleep_long, &w);
    thr_wait_parked(w.thr.thread);
    thr_sleep_ms(20);
    CALL(sys_tgkill, NUM(process_pid()), NUM(w.thr.tid), NUM(SIGUSR1));
    thr_join(&w.thr);
    assert_int_equal(w.ret, 0);
    assert_int_equal(w.word, 1);
    assert_true(clock_monotonic() - before >= 150000000);
}

static void burn(void *arg)
{
    while (!__atomic_load_n(&((struct waiter_arg *)arg)->stop, __ATOMIC_SEQ_CST))
        ;
}

static void test_running_thread_is_interrupted(void **state UNUSED)
{
    struct waiter_arg w = { 0 };
    set_action(SIGUSR1, HANDLER, 0, 0);
    thr_start(&w.thr, burn, &w);
    thr_sleep_ms(5);
    uint64_t before = g_thr_interrupts;
    CALL(sys_tgkill, NUM(process_pid()), NUM(w.thr.tid), NUM(SIGUSR1));
    assert_int_equal(g_thr_interrupts, before + 1);
    assert_int_equal(w.thr.thread->work & THREAD_WORK_SIGNAL, THREAD_WORK_SIGNAL);
    __atomic_store_n(&w.stop, true, __ATOMIC_SEQ_CST);
    thr_join(&w.thr);
}

static void let_go_on(void *arg)
{
    struct waiter_arg *w = arg;
    __atomic_store_n(&w->word, 1, __ATOMIC_SEQ_CST);
    thr_wait_parked(thread_at(0));
    thr_sleep_ms(20);
    w->ret = __atomic_load_n(&w->word, __ATOMIC_SEQ_CST);
    signal_send_process(&(struct signal_info){ .number = SIGCONT });
}

static void test_stops(void **state UNUSED)
{
    static const int numbers[] = { SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU };
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct waiter_arg w = { 0 };
        struct regs regs = program();
        thr_start(&w.thr, let_go_on, &w);
        while (!__atomic_load_n(&w.word, __ATOMIC_SEQ_CST))
            thr_sleep_ms(1);
        signal_send_process(&(struct signal_info){ .number = numbers[i] });
        signal_deliver(&regs);
        __atomic_store_n(&w.word, 2, __ATOMIC_SEQ_CST);
        thr_join(&w.thr);
        assert_int_equal(w.ret, 1); /* it did not return while it was stopped */
    }
    /* Each undoes the other, blocked or not. */
    set_mask(UINT64_MAX);
    static const struct {
        int number;
        uint64_t want;
    } rows[] = {
        { SIGTSTP, BIT(SIGTSTP) },
        { SIGCONT, BIT(SIGCONT) },
        { SIGTTIN, BIT(SIGTTIN) },
        { SIGCONT, BIT(SIGCONT) },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        signal_send_process(&(struct signal_info){ .number = rows[i].number });
        assert_int_equal(pending(), rows[i].want);
    }
}

/* --- the host --------------------------------------------------------------------------------- */

static void test_host_signals(void **state UNUSED)
{
    static const struct {
        int number;
        bool want;
    } rows[] = {
        { SIGINT, true },   { SIGTERM, true },  { SIGHUP, true },    { SIGALRM, true },
        { SIGUSR1, true },  { SIGUSR2, true },  { SIGSEGV, false },  { SIGFPE, false },
        { SIGILL, false },  { SIGBUS, false },  { SIGCHLD, false },  { SIGPIPE, false },
        { SIGKILL, false }, { SIGABRT, false }, { REALTIME, false }, { 64, false },
    };
    set_mask(~0ull);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].number != SIGKILL)
            set_action(rows[i].number, HANDLER, 0, 0);
        thr_host_signal(rows[i].number);
        signal_collect_host();
        (void)signal_deliverable(current());
        uint64_t got = pending(), want = rows[i].want ? BIT(rows[i].number) : 0;
        if (got != want)
            fail_msg("signal %d: pending %lx", rows[i].number, got);
        if (rows[i].number != SIGKILL)
            set_action(rows[i].number, 1, 0, 0);
    }
}

static void test_host_interrupts_pause(void **state UNUSED)
{
    set_action(SIGINT, HANDLER, 0, 0);
    thr_host_signal(SIGINT);
    struct regs regs = program();
    regs.orig_rax = 34;
    regs.rax = (uint64_t)CALL(sys_pause);
    assert_int_equal((int64_t)regs.rax, -RESTART_NOHND);
    signal_deliver(&regs);
    assert_int_equal(next_signal(&regs), SIGINT);
    const siginfo_t *info = (const siginfo_t *)(uintptr_t)regs.rsi;
    assert_int_equal(info->si_code, SI_KERNEL);
    do_return(&regs);
    assert_int_equal((int64_t)regs.rax, -EINTR);
}

#define TEST(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_default_actions),
        TEST(test_stops),
        TEST(test_action_arguments),
        TEST(test_kill_arguments),
        TEST(test_frame_is_linux),
        TEST(test_vectors_survive),
        TEST(test_hostile_image),
        TEST(test_sigreturn_without_frame),
        TEST(test_stack_overflow_kills),
        TEST(test_segv_on_alternate_stack),
        TEST(test_altstack_arguments),
        TEST(test_restart),
        TEST(test_order),
        TEST(test_mask_in_handler),
        TEST(test_resethand),
        TEST(test_blocked_fault_kills),
        TEST(test_ignored_is_dropped),
        TEST(test_queue),
        TEST(test_queue_limit),
        TEST(test_thread_that_does_not_block_takes_it),
        TEST(test_blocking_passes_it_on),
        TEST(test_sigtimedwait),
        TEST(test_sigsuspend),
        TEST(test_saved_mask_without_handler),
        TEST(test_nanosleep_goes_on),
        TEST(test_running_thread_is_interrupted),
        TEST(test_host_signals),
        TEST(test_host_interrupts_pause),
    };
    return cmocka_run_group_tests(tests, thr_setup, NULL);
}
