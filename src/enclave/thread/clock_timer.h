/*
 * Timers on one of the program's clocks: what setitimer, timer_create and timerfd_create have in
 * common. CPU clocks are the host's word and are looked at in real time: never early, some
 * milliseconds late. Tier: enclave. Thread-safe.
 */
#pragma once

#include <linux/time_types.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "thread/timer.h"

struct clock_timer {
    struct timer timer; /* first */
    int32_t clock;      /* CLOCK_* */
    uint64_t interval;  /* ns, 0: once */
    uint64_t cpu_due;   /* CPU clocks: the clock's value to wait for */
    /* Without locks; not after clock_timer_cancel has returned. */
    void (*fire)(struct clock_timer *timer, uint64_t expirations);
};

/* clock must be one that clock_read() knows. */
void clock_timer_init(struct clock_timer *timer, int32_t clock,
                      void (*fire)(struct clock_timer *timer, uint64_t expirations));
/* value 0 disarms; ret_left, ret_interval (both may be NULL) say what was set before. */
void clock_timer_set(struct clock_timer *timer, uint64_t value, uint64_t interval, bool absolute,
                     uint64_t *ret_left, uint64_t *ret_interval);
void clock_timer_get(struct clock_timer *timer, uint64_t *ret_left, uint64_t *ret_interval);
void clock_timer_cancel(struct clock_timer *timer);
