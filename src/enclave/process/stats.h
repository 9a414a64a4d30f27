/* Counters for --stats. Tier: enclave. */
#pragma once

#include <stdint.h>

/* Bytes of trusted files verified, by vfs/trusted. Atomic add. */
extern uint64_t g_stats_verified;
void stats_print(void);
