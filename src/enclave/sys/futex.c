/*
 * futex(2), set_robust_list(2), get_robust_list(2). Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/futex.h>
#include <linux/time_types.h>

#include "arch/thread.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "signal/signal.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/futex.h"
#include "thread/restart.h"
#include "thread/threads.h"

sys_fn sys_futex, sys_set_robust_list, sys_get_robust_list;

static uint32_t *word_of(uint64_t arg)
{
    return (uint32_t *)(uintptr_t)arg;
}

/* How many waiters an int argument of the program admits: negative is no limit (as the kernel's
 * int). */
static uint32_t count_of(uint64_t arg)
{
    int32_t count = (int32_t)arg;
    return count < 0 ? INT32_MAX : (uint32_t)count;
}

/* -ERESTARTSYS without a timeout; with one, the deadline stays and the call goes on from there. */
static int64_t wait_from(uint64_t user, uint32_t value, uint32_t bitset, uint64_t deadline);

static int64_t wait_again(const uint64_t args[static RESTART_ARGS])
{
    return wait_from(args[0], (uint32_t)args[1], (uint32_t)args[2], args[3]);
}

static int64_t wait_from(uint64_t user, uint32_t value, uint32_t bitset, uint64_t deadline)
{
    int64_t ret = futex_wait(word_of(user), value, bitset, deadline);
    if (ret != -EINTR)
        return ret;
    if (deadline == OCALL_NEVER)
        return -ERESTARTSYS;
    restart_set(wait_again, (const uint64_t[]){ user, value, bitset, deadline });
    return -ERESTART_RESTARTBLOCK;
}

/* Linux: the operation is in bits 28-30, the comparison in 24-27; the operands are signed 12 bits.
 */
static int wake_op(uint32_t *user, uint32_t code, bool *ret_matches)
{
    uint32_t op = code >> 28 & 7, compare = code >> 24 & 15;
    uint32_t operand = (uint32_t)((int32_t)(code << 8) >> 20);
    int32_t against = (int32_t)(code << 20) >> 20;
    if (code >> 31)
        operand = 1u << (operand & 31);

    uint32_t old;
    int ret = user_load32(user, &old);
    while (ret == 0) {
        uint32_t want, seen;
        switch (op) {
        case FUTEX_OP_SET: want = operand; break;
        case FUTEX_OP_ADD: want = old + operand; break;
        case FUTEX_OP_OR: want = old | operand; break;
        case FUTEX_OP_ANDN: want = old & ~operand; break;
        case FUTEX_OP_XOR: want = old ^ operand; break;
        default: return -ENOSYS;
        }
        ret = user_cmpxchg32(user, old, want, &seen);
        if (ret == 0 && seen == old)
            break;
        old = seen;
    }
    if (ret < 0)
        return ret;

    int32_t value = (int32_t)old;
    switch (compare) {
    case FUTEX_OP_CMP_EQ: *ret_matches = value == against; break;
    case FUTEX_OP_CMP_NE: *ret_matches = value != against; break;
    case FUTEX_OP_CMP_LT: *ret_matches = value < against; break;
    case FUTEX_OP_CMP_LE: *ret_matches = value <= against; break;
    case FUTEX_OP_CMP_GT: *ret_matches = value > against; break;
    case FUTEX_OP_CMP_GE: *ret_matches = value >= against; break;
    default: return -ENOSYS;
    }
    return 0;
}

/* Deadline of an operation that waits: NULL is never; WAIT counts from now, the others are
 * absolute. */
static int deadline_of(uint32_t op, bool realtime, uint64_t arg, uint64_t *ret)
{
    *ret = OCALL_NEVER;
    if (!arg)
        return 0;
    struct __kernel_timespec ts;
    int r = GET_USER(&ts, (const void *)(uintptr_t)arg);
    if (r < 0)
        return r;
    uint64_t ns;
    if (!timespec_valid(&ts, &ns))
        return -EINVAL;
    bool relative = op == FUTEX_WAIT;
    *ret = clock_deadline(realtime ? CLOCK_REALTIME : CLOCK_MONOTONIC, ns, !relative);
    return 0;
}

int64_t sys_futex(const struct sysargs *args)
{
    uint32_t *user = word_of(args->a[0]), *second = word_of(args->a[4]);
    uint32_t op = (uint32_t)args->a[1] & (uint32_t)FUTEX_CMD_MASK;
    bool realtime = args->a[1] & FUTEX_CLOCK_REALTIME;
    uint32_t value = (uint32_t)args->a[2], value3 = (uint32_t)args->a[5];
    uint64_t deadline;
    int ret;

    if (args->a[0] % sizeof(uint32_t))
        return -EINVAL;
    if (!user_range_ok(user, sizeof(*user)))
        return -EFAULT;
    if (realtime && op != FUTEX_WAIT_BITSET && op != FUTEX_WAIT && op != FUTEX_LOCK_PI2)
        return -ENOSYS;

    switch (op) {
    case FUTEX_WAIT:
        value3 = FUTEX_ANY;
        /* fall through */
    case FUTEX_WAIT_BITSET:
        if (!value3)
            return -EINVAL;
        ret = deadline_of(op, realtime, args->a[3], &deadline);
        return ret < 0 ? ret : wait_from(args->a[0], value, value3, deadline);
    case FUTEX_WAKE:
        value3 = FUTEX_ANY;
        /* fall through */
    case FUTEX_WAKE_BITSET:
        if (!value3)
            return -EINVAL;
        /* Linux wakes one for a count of 0. */
        return futex_wake(user, count_of(value) ? count_of(value) : 1, value3);
    case FUTEX_REQUEUE:
    case FUTEX_CMP_REQUEUE: {
        uint32_t seen, moved;
        if (args->a[4] % sizeof(uint32_t) || (int32_t)value < 0 || (int32_t)args->a[3] < 0)
            return -EINVAL;
        if (!user_range_ok(second, sizeof(*second)))
            return -EFAULT;
        if (op == FUTEX_CMP_REQUEUE) {
            ret = user_load32(user, &seen);
            if (ret < 0)
                return ret;
            if (seen != value3)
                return -EAGAIN;
        }
        uint32_t woken = futex_requeue(user, second, value, count_of(args->a[3]), &moved);
        return woken + moved; /* of both, whatever futex(2) says */
    }
    case FUTEX_WAKE_OP: {
        bool matches;
        if (args->a[4] % sizeof(uint32_t))
            return -EINVAL;
        ret = wake_op(second, value3, &matches);
        if (ret < 0)
            return ret;
        uint32_t woken = futex_wake(user, count_of(value), FUTEX_ANY);
        if (matches)
            woken += futex_wake(second, count_of(args->a[3]), FUTEX_ANY);
        return woken;
    }
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        /* LOCK_PI's timeout is always absolute realtime. */
        ret = deadline_of(op, realtime || op == FUTEX_LOCK_PI, args->a[3], &deadline);
        if (ret < 0)
            return ret;
        ret = futex_lock_pi(user, deadline, false);
        return ret == -EINTR ? -ERESTARTNOINTR : ret;
    case FUTEX_TRYLOCK_PI: return futex_lock_pi(user, OCALL_NEVER, true);
    case FUTEX_UNLOCK_PI: return futex_unlock_pi(user);
    default: log_note("futex operation %u is not supported", op); return -ENOSYS;
    }
}

int64_t sys_set_robust_list(const struct sysargs *args)
{
    if (args->a[1] != sizeof(struct robust_list_head))
        return -EINVAL;
    current()->robust_list = args->a[0];
    return 0;
}

int64_t sys_get_robust_list(const struct sysargs *args)
{
    int32_t tid = (int32_t)args->a[0];
    struct thread *thread = tid ? thread_by_tid(tid) : current();
    if (!thread)
        return -ESRCH;
    uint64_t size = sizeof(struct robust_list_head);
    int ret = PUT_USER((void *)(uintptr_t)args->a[2], &size);
    if (ret < 0)
        return ret;
    return PUT_USER((void *)(uintptr_t)args->a[1], &thread->robust_list);
}
