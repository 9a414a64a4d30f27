/*
 * The process's timers: one sorted list, one host alarm. Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Zero is a timer that is not armed. The owner keeps it alive until timer_cancel. */
struct timer {
    struct timer *next;
    uint64_t deadline; /* monotonic ns */
    uint64_t interval; /* 0: once */
    bool armed;
    uint32_t running; /* calls of fn under way */
    /* Called without locks by whoever finds it due; expirations >= 1 since the last call. */
    void (*fn)(struct timer *timer, uint64_t expirations);
};

/* Arms it anew. */
void timer_arm(struct timer *timer, uint64_t deadline, uint64_t interval);
/* After it fn is not being called any more, and will not be. Not from within fn. */
void timer_cancel(struct timer *timer);
/* Until the next expiration, 0: not armed; and the interval. */
uint64_t timer_left(struct timer *timer, uint64_t *ret_interval);

/* Is one due, or nearly? Cheap. */
bool timer_due(void);
/* The earliest deadline, OCALL_NEVER. */
uint64_t timer_next(void);
/* Runs what is due. */
void timer_run(void);
