/*
 * rt_sigaction(2) and all that follows from it; kill(2), pause(2), sigaltstack(2). docs/signals.md.
 * Tier: enclave.
 */
#include "signal/signal.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/state.h"
#include "sys/process.h"
#include "sys/signal.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/threads.h"

#define SIGSET_SIZE 8
#define INFO_SIZE   128

sys_fn sys_rt_sigaction, sys_rt_sigprocmask, sys_rt_sigpending, sys_rt_sigsuspend,
    sys_rt_sigtimedwait, sys_rt_sigqueueinfo, sys_rt_tgsigqueueinfo, sys_rt_sigreturn,
    sys_sigaltstack, sys_kill, sys_tgkill, sys_tkill, sys_pause, sys_restart_syscall;

static void *user_ptr(uint64_t arg)
{
    return (void *)(uintptr_t)arg;
}

static bool number_ok(int number)
{
    return number >= 1 && number <= SIGNAL_MAX;
}

/* --- actions and masks ------------------------------------------------------------------------ */

int64_t sys_rt_sigaction(const struct sysargs *args)
{
    int number = (int)args->a[0];
    struct signal_action new = { 0 }, old;

    if (args->a[3] != SIGSET_SIZE || !number_ok(number))
        return -EINVAL;
    if (args->a[1]) {
        if (SIGNAL_BIT(number) & SIGNAL_UNMASKABLE)
            return -EINVAL;
        int ret = GET_USER(&new, (const struct signal_action *)user_ptr(args->a[1]));
        if (ret < 0)
            return ret;
        new.mask &= ~SIGNAL_UNMASKABLE;
    }

    struct signal_entry *dropped = NULL;
    lock_take(&g_signal.lock);
    struct signal_action *action = &process_current()->actions->of[number];
    old = *action;
    if (args->a[1]) {
        *action = new;
        /* POSIX 3.3.1.3: setting an action to ignore drops what is pending, blocked or not. */
        if (new.handler == HANDLER_IGNORE ||
            (new.handler == HANDLER_DEFAULT &&signal_default_ignored(number)))
            dropped = signal_flush(SIGNAL_BIT(number));
    }
    lock_drop(&g_signal.lock);
    signal_entries_free(dropped);
    if (args->a[1] && number == SIGCHLD)
        process_set_nowait(new.handler == HANDLER_IGNORE || new.flags &SA_NOCLDWAIT);
    return args->a[2] ? PUT_USER((struct signal_action *)user_ptr(args->a[2]), &old) : 0;
}

int64_t sys_rt_sigprocmask(const struct sysargs *args)
{
    uint64_t old = current()->signal.mask, set;

    if (args->a[3] != SIGSET_SIZE)
        return -EINVAL;
    if (args->a[1]) {
        int ret = GET_USER(&set, (const uint64_t *)user_ptr(args->a[1]));
        if (ret < 0)
            return ret;
        switch ((int)args->a[0]) {
        case SIG_BLOCK: set = old | set; break;
        case SIG_UNBLOCK: set = old & ~set; break;
        case SIG_SETMASK: break;
        default: return -EINVAL;
        }
        signal_set_mask(set);
    }
    return args->a[2] ? PUT_USER((uint64_t *)user_ptr(args->a[2]), &old) : 0;
}

int64_t sys_rt_sigpending(const struct sysargs *args)
{
    if (args->a[1] > SIGSET_SIZE)
        return -EINVAL;
    struct thread *thread = current();
    uint64_t set = signal_pending(thread) & thread->signal.mask;
    return copy_to_user(user_ptr(args->a[0]), &set, args->a[1]);
}

static int64_t wait_for_signal(void)
{
    int ret;
    do {
        ret = thread_park(OCALL_NEVER);
    } while (ret == 0);
    return -ERESTARTNOHAND;
}

int64_t sys_pause(const struct sysargs *args UNUSED)
{
    return wait_for_signal();
}

int64_t sys_rt_sigsuspend(const struct sysargs *args)
{
    uint64_t mask;
    if (args->a[1] != SIGSET_SIZE)
        return -EINVAL;
    int ret = GET_USER(&mask, (const uint64_t *)user_ptr(args->a[0]));
    if (ret < 0)
        return ret;
    signal_mask_swap(mask);
    return wait_for_signal();
}

static void set_wait(uint64_t set)
{
    __atomic_store_n(&current()->signal.wait_set, set, __ATOMIC_SEQ_CST);
}

int64_t sys_rt_sigtimedwait(const struct sysargs *args)
{
    uint64_t set, deadline = OCALL_NEVER;
    struct signal_info info;

    if (args->a[3] != SIGSET_SIZE)
        return -EINVAL;
    int ret = GET_USER(&set, (const uint64_t *)user_ptr(args->a[0]));
    if (ret < 0)
        return ret;
    set &= ~SIGNAL_UNMASKABLE;
    if (args->a[2]) {
        struct __kernel_timespec ts;
        uint64_t ns;
        ret = GET_USER(&ts, (const struct __kernel_timespec *)user_ptr(args->a[2]));
        if (ret < 0)
            return ret;
        if (!timespec_valid(&ts, &ns))
            return -EINVAL;
        deadline = clock_deadline(CLOCK_MONOTONIC, ns, false);
    }

    int number;
    set_wait(set); /* from here on senders wake this thread for them, blocked or not */
    for (;;) {
        (void)signal_deliverable(current()); /* what the host and timers have */
        number = signal_take(current(), set, &info);
        if (number)
            break;
        ret = thread_park(deadline);
        if (ret < 0)
            break;
    }
    set_wait(0);
    if (!number) /* it may have come while the park ended */
        number = signal_take(current(), set, &info);
    if (!number)
        return ret == -ETIMEDOUT ? -EAGAIN : -EINTR;
    if (args->a[1]) {
        uint8_t user[INFO_SIZE];
        signal_info_to_user(&info, user);
        ret = copy_to_user(user_ptr(args->a[1]), user, sizeof(user));
        if (ret < 0)
            return ret;
    }
    return number;
}

/* --- sending ---------------------------------------------------------------------------------- */

static struct signal_info own_info(int number, int code)
{
    return (struct signal_info){
        .number = number, .code = code, .pid = process_pid(), .uid = (int32_t)process_node()->uid
    };
}

/* To the calling process itself. */
int64_t signal_send_self(const struct signal_info *info)
{
    if (info->number == SIGKILL)
        process_killed(SIGKILL);
    if (!info->number)
        return 0;
    /* A vfork child is this thread. */
    return signal_queue(process_current()->vfork ? current() : NULL, info);
}

int64_t sys_kill(const struct sysargs *args)
{
    int32_t pid = (int32_t)args->a[0];
    struct signal_info info = own_info((int)args->a[1], SI_USER);
    if (info.number && !number_ok(info.number))
        return -EINVAL;
    if (pid != process_pid())
        return process_kill(pid, &info);
    (void)!signal_send_self(&info);
    return 0;
}

/* A vfork child has one thread. */
static struct thread *thread_for(int32_t tid)
{
    if (!process_current()->vfork)
        return thread_by_tid(tid);
    return tid == process_pid() ? current() : NULL;
}

static int64_t send_to(int32_t tid, int number, const struct signal_info *info)
{
    if (tid <= 0 || (number && !number_ok(number)))
        return -EINVAL;
    struct thread *thread = thread_for(tid);
    if (!thread)
        return -ESRCH;
    if (number == SIGKILL)
        process_killed(SIGKILL);
    return number ? signal_queue(thread, info) : 0;
}

int64_t sys_tgkill(const struct sysargs *args)
{
    int32_t tgid = (int32_t)args->a[0];
    struct signal_info info = own_info((int)args->a[2], SI_TKILL);
    if (tgid <= 0)
        return -EINVAL;
    if (tgid != process_pid())
        return -ESRCH;
    return send_to((int32_t)args->a[1], info.number, &info);
}

int64_t sys_tkill(const struct sysargs *args)
{
    struct signal_info info = own_info((int)args->a[1], SI_TKILL);
    return send_to((int32_t)args->a[0], info.number, &info);
}

int signal_info_from_user(uint64_t user, int32_t *ret_number, struct signal_info *ret)
{
    uint8_t raw[INFO_SIZE];
    int r = copy_from_user(raw, user_ptr(user), sizeof(raw));
    if (r < 0)
        return r;
    *ret = (struct signal_info){ .number = 0 };
    memcpy(ret_number, raw, sizeof(*ret_number));
    memcpy(&ret->code, raw + 8, sizeof(ret->code));
    memcpy(&ret->address, raw + 16, sizeof(ret->address));
    memcpy(&ret->pid, raw + 16, sizeof(ret->pid));
    memcpy(&ret->uid, raw + 20, sizeof(ret->uid));
    memcpy(&ret->value, raw + 24, sizeof(ret->value));
    return 0;
}

static int get_info(uint64_t user, int number, struct signal_info *ret)
{
    int32_t said;
    int r = signal_info_from_user(user, &said, ret);
    ret->number = number;
    return r;
}

int64_t sys_rt_sigqueueinfo(const struct sysargs *args)
{
    int number = (int)args->a[1];
    struct signal_info info;
    int ret = get_info(args->a[2], number, &info);
    if (ret < 0)
        return ret;
    if (number && !number_ok(number))
        return -EINVAL;
    int32_t pid = (int32_t)args->a[0];
    if (pid == process_pid())
        return signal_send_self(&info);
    /* Others are not told what only the kernel says. */
    if (info.code >= 0 || info.code == SI_TKILL)
        return -EPERM;
    return pid > 0 ? process_kill(pid, &info) : -ESRCH;
}

int64_t sys_rt_tgsigqueueinfo(const struct sysargs *args)
{
    int number = (int)args->a[2];
    struct signal_info info;
    int ret = get_info(args->a[3], number, &info);
    if (ret < 0)
        return ret;
    if ((int32_t)args->a[0] <= 0)
        return -EINVAL;
    if ((int32_t)args->a[0] != process_pid())
        return -ESRCH;
    return send_to((int32_t)args->a[1], number, &info);
}

/* --- frames ----------------------------------------------------------------------------------- */

int64_t sys_rt_sigreturn(const struct sysargs *args)
{
    struct regs *regs = args->regs;
    if (signal_frame_pop(regs) < 0) {
        signal_force(current(), &(struct signal_info){ .number = SIGSEGV, .code = SI_KERNEL });
        regs->orig_rax = UINT64_MAX;
        return 0;
    }
    return (int64_t)regs->rax;
}

int64_t sys_sigaltstack(const struct sysargs *args)
{
    struct thread *thread = current();
    struct thread_signal *signal = &thread->signal;
    bool on_stack = signal_on_stack(thread, args->regs->rsp);
    stack_t new, old = {
        .ss_sp = user_ptr(signal->stack_base),
        .ss_size = signal->stack_size,
        .ss_flags = (int)((signal->stack_flags & SS_AUTODISARM) |
                          (!signal->stack_size ? (uint32_t)SS_DISABLE
                           : on_stack          ? (uint32_t)SS_ONSTACK
                                               : 0)),
    };

    if (args->a[0]) {
        int ret = GET_USER(&new, (const stack_t *)user_ptr(args->a[0]));
        if (ret < 0)
            return ret;
        if (on_stack && !(signal->stack_flags & SS_AUTODISARM))
            return -EPERM;
        uint32_t flags = (uint32_t) new.ss_flags, mode = flags & ~SS_AUTODISARM;
        if (mode != SS_DISABLE && mode != SS_ONSTACK && mode != 0)
            return -EINVAL;
        if (mode == SS_DISABLE) {
            signal->stack_base = signal->stack_size = 0;
        } else {
            if (new.ss_size < MINSIGSTKSZ)
                return -ENOMEM;
            signal->stack_base = (uint64_t)(uintptr_t) new.ss_sp;
            signal->stack_size = new.ss_size;
        }
        signal->stack_flags = flags;
    }
    return args->a[1] ? PUT_USER((stack_t *)user_ptr(args->a[1]), &old) : 0;
}

int64_t sys_restart_syscall(const struct sysargs *args UNUSED)
{
    struct signal_private *private = signal_private(current());
    restart_fn *fn = private->restart;
    private->restart = NULL;
    return fn ? fn(private->restart_args) : -EINTR;
}
