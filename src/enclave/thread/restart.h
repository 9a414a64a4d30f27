/*
 * Restart blocks: how a call that returned -ERESTART_RESTARTBLOCK goes on when no handler ran
 * (restart_syscall(2)). One per thread. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#define RESTART_ARGS 4

typedef int64_t restart_fn(const uint64_t args[static RESTART_ARGS]);

/* For the calling thread; args are copied. */
void restart_set(restart_fn *fn, const uint64_t args[static RESTART_ARGS]);
