/*
 * alarm(2), setitimer(2), timer_create(2) and their kin. Tier: enclave.
 *
 * ITIMER_VIRTUAL and ITIMER_PROF both run on the process's CPU clock: the host does not tell user
 * and system time apart for the enclave.
 */
#include <asm/errno.h>
#include <linux/signal.h>
#include <linux/time.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/state.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/clock_timer.h"
#include "thread/mutex.h"
#include "thread/threads.h"

#define TIMERS_MAX 1024

sys_fn sys_alarm, sys_setitimer, sys_getitimer, sys_timer_create, sys_timer_settime,
    sys_timer_gettime, sys_timer_getoverrun, sys_timer_delete;

static void *user_ptr(uint64_t arg)
{
    return (void *)(uintptr_t)arg;
}

/* --- interval timers -------------------------------------------------------------------------- */

struct itimer {
    struct clock_timer timer; /* first */
    int number;
};

static void itimer_fire(struct clock_timer *timer, uint64_t expirations UNUSED)
{
    const struct itimer *itimer = (const struct itimer *)(const void *)timer;
    signal_send_process(&(struct signal_info){ .number = itimer->number, .code = SI_KERNEL });
}

#define ITIMER(id, signal)                             \
    {                                                  \
        .timer = { .clock = (id) }, .number = (signal) \
    }
static struct itimer g_itimers[] = {
    [ITIMER_REAL] = ITIMER(CLOCK_MONOTONIC, SIGALRM),
    [ITIMER_VIRTUAL] = ITIMER(CLOCK_PROCESS_CPUTIME_ID, SIGVTALRM),
    [ITIMER_PROF] = ITIMER(CLOCK_PROCESS_CPUTIME_ID, SIGPROF),
};
/* Setting and reading back are one step. Firing never takes it. */
static struct mutex g_lock;

/* The lock is held. */
static struct clock_timer *itimer_at(uint64_t which)
{
    struct clock_timer *timer = &g_itimers[which].timer;
    if (!timer->fire)
        clock_timer_init(timer, timer->clock, itimer_fire);
    return timer;
}

static struct __kernel_old_timeval timeval_of(uint64_t ns)
{
    uint64_t us = (ns + 999) / 1000; /* what runs is never 0 */
    return (struct __kernel_old_timeval){ (int64_t)(us / 1000000), (int64_t)(us % 1000000) };
}

static bool timeval_valid(const struct __kernel_old_timeval *tv, uint64_t *ret_ns)
{
    struct __kernel_timespec ts = { tv->tv_sec, tv->tv_usec * 1000 };
    return tv->tv_usec >= 0 && tv->tv_usec < 1000000 && timespec_valid(&ts, ret_ns);
}

int64_t sys_getitimer(const struct sysargs *args)
{
    uint64_t left, interval;
    if (args->a[0] >= ARRAY_SIZE(g_itimers))
        return -EINVAL;
    mutex_take(&g_lock);
    clock_timer_get(itimer_at(args->a[0]), &left, &interval);
    mutex_drop(&g_lock);
    struct __kernel_old_itimerval value = { timeval_of(interval), timeval_of(left) };
    return PUT_USER((struct __kernel_old_itimerval *)user_ptr(args->a[1]), &value);
}

int64_t sys_setitimer(const struct sysargs *args)
{
    struct __kernel_old_itimerval new = { 0 };
    uint64_t value = 0, interval = 0, left, old_interval;
    if (args->a[0] >= ARRAY_SIZE(g_itimers))
        return -EINVAL;
    if (args->a[1]) { /* NULL: as zeros, an old habit of Linux */
        int ret = GET_USER(&new, (const struct __kernel_old_itimerval *)user_ptr(args->a[1]));
        if (ret < 0)
            return ret;
    }
    if (!timeval_valid(&new.it_value, &value) || !timeval_valid(&new.it_interval, &interval))
        return -EINVAL;
    mutex_take(&g_lock);
    clock_timer_set(itimer_at(args->a[0]), value, interval, false, &left, &old_interval);
    mutex_drop(&g_lock);
    if (!args->a[2])
        return 0;
    struct __kernel_old_itimerval old = { timeval_of(old_interval), timeval_of(left) };
    return PUT_USER((struct __kernel_old_itimerval *)user_ptr(args->a[2]), &old);
}

int64_t sys_alarm(const struct sysargs *args)
{
    uint64_t left, interval;
    mutex_take(&g_lock);
    clock_timer_set(itimer_at(ITIMER_REAL), (uint32_t)args->a[0] * NSEC_PER_SEC, 0, false, &left,
                    &interval);
    mutex_drop(&g_lock);
    /* Rounded, but never to 0 while one runs (kernel, alarm_setitimer). */
    uint64_t sec = (left + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
    return (int64_t)(left && !sec ? 1 : sec);
}

/* --- POSIX timers ----------------------------------------------------------------------------- */

struct posix_timer {
    struct clock_timer timer; /* first */
    int32_t id;
    int notify, number;
    int32_t tid; /* SIGEV_THREAD_ID */
    uint64_t value;
    uint32_t overrun; /* of the signal sent last; atomic */
};

static struct posix_timer *g_timers[TIMERS_MAX]; /* under g_lock */

static bool is_pending(const struct thread *thread, int number)
{
    const uint64_t *set = thread ? &thread->signal.pending : &g_signal.pending;
    return __atomic_load_n(set, __ATOMIC_SEQ_CST) & SIGNAL_BIT(number);
}

static void posix_fire(struct clock_timer *base, uint64_t expirations)
{
    struct posix_timer *timer = (struct posix_timer *)(void *)base;
    struct thread *thread = NULL;
    if (timer->notify == SIGEV_NONE)
        return;
    if (timer->notify == SIGEV_THREAD_ID && !(thread = thread_by_tid(timer->tid)))
        return;
    /* One signal per timer is under way at a time; what it misses is its overrun. */
    if (is_pending(thread, timer->number)) {
        __atomic_fetch_add(&timer->overrun, (uint32_t)expirations, __ATOMIC_RELAXED);
        return;
    }
    uint32_t overrun = (uint32_t)(expirations - 1);
    __atomic_store_n(&timer->overrun, overrun, __ATOMIC_RELAXED);
    struct signal_info info = { .number = timer->number,
                                .code = SI_TIMER,
                                .pid = timer->id,
                                .uid = (int32_t)overrun,
                                .value = timer->value };
    if (thread)
        signal_send_thread(thread, &info);
    else
        signal_send_process(&info);
}

/* The lock is held. */
static struct posix_timer *timer_at(uint64_t id)
{
    return id < TIMERS_MAX ? g_timers[id] : NULL;
}

static int check_event(const struct sigevent *event)
{
    switch (event->sigev_notify) {
    case SIGEV_NONE: return 0;
    case SIGEV_SIGNAL | SIGEV_THREAD_ID:
        if (!thread_by_tid(event->_sigev_un._tid))
            return -EINVAL;
        break;
    case SIGEV_SIGNAL: break;
    default: return -EINVAL; /* SIGEV_THREAD is libc's */
    }
    return event->sigev_signo >= 1 && event->sigev_signo <= SIGNAL_MAX ? 0 : -EINVAL;
}

int64_t sys_timer_create(const struct sysargs *args)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
    int32_t clock = (int32_t)args->a[0];
    uint64_t now;
    int ret = clock_read(clock, &now);
    if (ret == 0 && args->a[1])
        ret = GET_USER(&event, (const struct sigevent *)user_ptr(args->a[1]));
    if (ret == 0)
        ret = check_event(&event);
    if (ret < 0)
        return ret;

    struct posix_timer *timer = heap_alloc(sizeof(*timer));
    if (!timer)
        return -EAGAIN;
    clock_timer_init(&timer->timer, clock, posix_fire);
    timer->notify = event.sigev_notify;
    timer->number = event.sigev_signo;
    timer->tid = event._sigev_un._tid;
    timer->value = (uint64_t)(uintptr_t)event.sigev_value.sival_ptr;

    mutex_take(&g_lock);
    timer->id = 0;
    while (timer->id < TIMERS_MAX && g_timers[timer->id])
        timer->id++;
    if (timer->id < TIMERS_MAX)
        g_timers[timer->id] = timer;
    mutex_drop(&g_lock);
    int32_t id = timer->id;
    if (id == TIMERS_MAX) {
        heap_free(timer);
        return -EAGAIN;
    }
    if (!args->a[1])
        timer->value = (uint32_t)id;
    ret = PUT_USER((int32_t *)user_ptr(args->a[2]), &id);
    if (ret < 0) {
        mutex_take(&g_lock);
        g_timers[id] = NULL;
        mutex_drop(&g_lock);
        heap_free(timer);
    }
    return ret;
}

static struct __kernel_itimerspec itimerspec_of(uint64_t left, uint64_t interval)
{
    return (struct __kernel_itimerspec){ timespec_of(interval), timespec_of(left) };
}

int64_t sys_timer_settime(const struct sysargs *args)
{
    struct __kernel_itimerspec new, old;
    uint64_t value, interval, left, old_interval;
    int ret = GET_USER(&new, (const struct __kernel_itimerspec *)user_ptr(args->a[2]));
    if (ret < 0)
        return ret;
    if (!timespec_valid(&new.it_value, &value) || !timespec_valid(&new.it_interval, &interval))
        return -EINVAL;
    mutex_take(&g_lock);
    struct posix_timer *timer = timer_at(args->a[0]);
    if (timer)
        clock_timer_set(&timer->timer, value, interval, args->a[1] & TIMER_ABSTIME, &left,
                        &old_interval);
    mutex_drop(&g_lock);
    if (!timer)
        return -EINVAL;
    if (!args->a[3])
        return 0;
    old = itimerspec_of(left, old_interval);
    return PUT_USER((struct __kernel_itimerspec *)user_ptr(args->a[3]), &old);
}

int64_t sys_timer_gettime(const struct sysargs *args)
{
    uint64_t left = 0, interval = 0;
    mutex_take(&g_lock);
    struct posix_timer *timer = timer_at(args->a[0]);
    if (timer)
        clock_timer_get(&timer->timer, &left, &interval);
    mutex_drop(&g_lock);
    if (!timer)
        return -EINVAL;
    struct __kernel_itimerspec now = itimerspec_of(left, interval);
    return PUT_USER((struct __kernel_itimerspec *)user_ptr(args->a[1]), &now);
}

int64_t sys_timer_getoverrun(const struct sysargs *args)
{
    mutex_take(&g_lock);
    struct posix_timer *timer = timer_at(args->a[0]);
    int64_t ret = timer ? (int64_t)__atomic_load_n(&timer->overrun, __ATOMIC_RELAXED) : -EINVAL;
    mutex_drop(&g_lock);
    return ret > INT32_MAX ? INT32_MAX : ret;
}

int64_t sys_timer_delete(const struct sysargs *args)
{
    mutex_take(&g_lock);
    struct posix_timer *timer = timer_at(args->a[0]);
    if (timer)
        g_timers[args->a[0]] = NULL;
    mutex_drop(&g_lock);
    if (!timer)
        return -EINVAL;
    clock_timer_cancel(&timer->timer);
    heap_free(timer);
    return 0;
}
