/*
 * OCALL_ALARM: the process's one alarm. A POSIX timer that sends the wake signal to the main
 * thread, whose handler then does to itself what OCALL_INTERRUPT does (thread.c). So an alarm is as
 * sure to arrive as any wake. Tier: hosted, untrusted. Internal to src/host. Any thread.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "host/host.h"
#include "util/err.h"

/* Makes the timer; the calling thread is the main thread and attached already. */
MUST_CHECK int alarm_init(struct host *host, struct err *err);
/* Sets it to this moment of CLOCK_MONOTONIC (passed: at once); OCALL_NEVER takes it off. */
MUST_CHECK int alarm_set(struct host *host, uint64_t deadline_ns);
