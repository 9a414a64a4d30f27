/*
 * Shared memory: sleepers on its futexes (dsm.h). Tier: enclave.
 */
#pragma once

#include <stdint.h>

/* The hub says that the waiter of this number was woken (HUB_EVENT_REVOKE, DSM_WAKE); one that left is passed over. */
void dsm_wake_sleeper(uint64_t number);
