/*
 * Timers (timer.h). The list is short: a program has a handful. Tier: enclave.
 */
#include "thread/timer.h"

#include "border/border.h"
#include "thread/lock.h"

/* The host's clock and ours differ a little: it shall rather be late. If it is early nevertheless,
 * but by less than EARLY_NS, it is told again; beyond that the next OCALL or park finds the timer
 * due. */
#define SLACK_NS 5000
#define EARLY_NS 100000

static struct {
    struct lock lock;
    struct timer *first;
    uint64_t next; /* first's deadline or OCALL_NEVER */
    uint64_t told; /* what the host's alarm was set to last */
} g_timers = { .next = OCALL_NEVER, .told = OCALL_NEVER };

static void insert(struct timer *timer)
{
    struct timer **at = &g_timers.first;
    while (*at && (*at)->deadline <= timer->deadline)
        at = &(*at)->next;
    timer->next = *at;
    *at = timer;
    timer->armed = true;
}

static void take_out(struct timer *timer)
{
    for (struct timer **at = &g_timers.first; *at; at = &(*at)->next) {
        if (*at == timer) {
            *at = timer->next;
            break;
        }
    }
    timer->armed = false;
}

/* Tells the host when to interrupt; it does not block. The lock is held, so that calls keep their
 * order. again: also if it has been told before, because it may have come too early. */
static void tell_host(bool again)
{
    uint64_t next = g_timers.first ? g_timers.first->deadline : OCALL_NEVER;
    __atomic_store_n(&g_timers.next, next, __ATOMIC_RELEASE);
    if (next == g_timers.told && !again)
        return;
    g_timers.told = next;
    border_call1(OCALL_ALARM, 0, next < OCALL_NEVER - SLACK_NS ? next + SLACK_NS : next);
}

void timer_arm(struct timer *timer, uint64_t deadline, uint64_t interval)
{
    LOCKED(&g_timers.lock);
    if (timer->armed)
        take_out(timer);
    timer->deadline = deadline;
    timer->interval = interval;
    insert(timer);
    tell_host(false);
}

void timer_cancel(struct timer *timer)
{
    for (;;) {
        lock_take(&g_timers.lock);
        if (timer->armed) {
            take_out(timer);
            tell_host(false);
        }
        timer->interval = 0;
        uint32_t running = timer->running;
        lock_drop(&g_timers.lock);
        if (!running)
            return;
        border_call0(OCALL_YIELD, 0);
    }
}

uint64_t timer_left(struct timer *timer, uint64_t *ret_interval)
{
    uint64_t now = clock_monotonic();
    LOCKED(&g_timers.lock);
    *ret_interval = timer->interval;
    if (!timer->armed)
        return 0;
    return timer->deadline > now ? timer->deadline - now : 1;
}

bool timer_due(void)
{
    uint64_t next = __atomic_load_n(&g_timers.next, __ATOMIC_ACQUIRE);
    return next != OCALL_NEVER && clock_monotonic() + EARLY_NS >= next;
}

uint64_t timer_next(void)
{
    return __atomic_load_n(&g_timers.next, __ATOMIC_ACQUIRE);
}

void timer_run(void)
{
    for (;;) {
        uint64_t now = clock_monotonic();
        lock_take(&g_timers.lock);
        struct timer *timer = g_timers.first;
        if (!timer || timer->deadline > now) {
            tell_host(timer && timer->deadline - now < EARLY_NS);
            lock_drop(&g_timers.lock);
            return;
        }
        take_out(timer);
        uint64_t count = 1;
        if (timer->interval) {
            count += (now - timer->deadline) / timer->interval;
            timer->deadline += count * timer->interval;
            insert(timer);
        }
        timer->running++;
        lock_drop(&g_timers.lock);

        timer->fn(timer, count);
        lock_take(&g_timers.lock);
        timer->running--;
        lock_drop(&g_timers.lock);
    }
}
