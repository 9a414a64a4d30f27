/*
 * The enclave's clocks; clock_monotonic() and clock_realtime() stand in border/border.h. Tier:
 * enclave.
 */
#pragma once

#include <linux/time_types.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

#define NSEC_PER_SEC             1000000000ull
/* As linux/time.h, whose struct timeval and friends are of no use here. */
#define CLOCK_REALTIME           0
#define CLOCK_MONOTONIC          1
#define CLOCK_PROCESS_CPUTIME_ID 2
#define CLOCK_THREAD_CPUTIME_ID  3
#define CLOCK_MONOTONIC_RAW      4
#define CLOCK_REALTIME_COARSE    5
#define CLOCK_MONOTONIC_COARSE   6
#define CLOCK_BOOTTIME           7
#define CLOCK_REALTIME_ALARM     8
#define CLOCK_BOOTTIME_ALARM     9
#define CLOCK_TAI                11

/* At boot: takes the first sample, so that calibration ends early. */
void clock_init(void);

/* The host's word for a CLOCK_* of OCALL_CLOCK, ns; 0 if it gives none. */
uint64_t clock_host(uint32_t id);

/* Nanoseconds now of one of the program's clocks (also per-process and per-thread CPU clocks of
 * this process, CLOCK_* or made by MAKE_PROCESS_CPUCLOCK). -EINVAL. */
MUST_CHECK int clock_read(int32_t id, uint64_t *ret);
/* A time of clock id (CLOCK_REALTIME or any that runs as monotonic does) as a deadline for
 * thread_park. ns from now, or absolute. Never OCALL_NEVER unless it overflows. */
uint64_t clock_deadline(int32_t id, uint64_t ns, bool absolute);

/* false: negative or nsec out of range. Saturates at INT64_MAX ns, as the kernel's ktime. */
bool timespec_valid(const struct __kernel_timespec *ts, uint64_t *ret_ns);
static inline struct __kernel_timespec timespec_of(uint64_t ns)
{
    return (struct __kernel_timespec){ .tv_sec = (int64_t)(ns / NSEC_PER_SEC),
                                       .tv_nsec = (int64_t)(ns % NSEC_PER_SEC) };
}
