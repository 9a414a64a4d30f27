/* Timers on the program's clocks (clock_timer.h). Tier: enclave. */
#include "thread/clock_timer.h"

#include "border/border.h"
#include "thread/clock.h"

/* How long after a look at a CPU clock the next one comes at the soonest. */
#define CPU_LOOK_NS 1000000u

static bool is_cpu(const struct clock_timer *timer)
{
    return timer->clock < 0 || timer->clock == CLOCK_PROCESS_CPUTIME_ID ||
           timer->clock == CLOCK_THREAD_CPUTIME_ID;
}

/* Several threads may use up CPU time faster than real time passes: looks twice as often as needed.
 */
static void arm_cpu(struct clock_timer *timer, uint64_t missing)
{
    uint64_t wait = missing / 2 > CPU_LOOK_NS ? missing / 2 : CPU_LOOK_NS;
    timer_arm(&timer->timer, clock_deadline(CLOCK_MONOTONIC, wait, false), 0);
}

/* A thread's CPU clock can be asked for by that thread only; the process's stands in for it. */
static uint64_t cpu_now(void)
{
    return clock_host(CLOCK_PROCESS_CPUTIME_ID);
}

static void due(struct timer *base, uint64_t expirations)
{
    struct clock_timer *timer = (struct clock_timer *)(void *)base;
    if (!is_cpu(timer)) {
        timer->fire(timer, expirations);
        return;
    }
    uint64_t now = cpu_now(), at = timer->cpu_due;
    if (now < at) {
        arm_cpu(timer, at - now);
        return;
    }
    uint64_t count = 1;
    if (timer->interval) {
        count += (now - at) / timer->interval;
        timer->cpu_due = at + count * timer->interval;
        arm_cpu(timer, timer->cpu_due - now);
    }
    timer->fire(timer, count);
}

void clock_timer_init(struct clock_timer *timer, int32_t clock,
                      void (*fire)(struct clock_timer *timer, uint64_t expirations))
{
    *timer = (struct clock_timer){ .timer = { .fn = due }, .clock = clock, .fire = fire };
}

void clock_timer_get(struct clock_timer *timer, uint64_t *ret_left, uint64_t *ret_interval)
{
    uint64_t interval, left = timer_left(&timer->timer, &interval);
    if (left && is_cpu(timer)) {
        uint64_t now = cpu_now();
        left = timer->cpu_due > now ? timer->cpu_due - now : 1;
    }
    *ret_left = left;
    *ret_interval = left ? timer->interval : 0;
}

void clock_timer_set(struct clock_timer *timer, uint64_t value, uint64_t interval, bool absolute,
                     uint64_t *ret_left, uint64_t *ret_interval)
{
    uint64_t left, old_interval;
    clock_timer_get(timer, &left, &old_interval);
    if (ret_left)
        *ret_left = left;
    if (ret_interval)
        *ret_interval = old_interval;
    timer_cancel(&timer->timer);
    timer->interval = interval;
    if (!value)
        return;
    if (is_cpu(timer)) {
        uint64_t now = cpu_now();
        timer->cpu_due = absolute ? value : now + value;
        arm_cpu(timer, timer->cpu_due > now ? timer->cpu_due - now : 0);
    } else {
        timer_arm(&timer->timer, clock_deadline(timer->clock, value, absolute), interval);
    }
}

void clock_timer_cancel(struct clock_timer *timer)
{
    timer_cancel(&timer->timer);
}
