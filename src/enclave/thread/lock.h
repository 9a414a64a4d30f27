/*
 * Locks of the library OS: spin a little, then let the host run somebody else. Held only for short,
 * bounded work; never across an OCALL that blocks, a park or a copy from or to program memory. Zero
 * is unlocked. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

struct lock {
    uint32_t word;
};

void lock_take(struct lock *lock);
void lock_drop(struct lock *lock);
static inline void lock_drop_p(struct lock **lock)
{
    lock_drop(*lock);
}
/* Takes the lock until the end of the scope. */
#define LOCKED_CAT2(a, b) a##b
#define LOCKED_CAT(a, b)  LOCKED_CAT2(a, b)
#define LOCKED(l) \
    CLEANUP(lock_drop_p) UNUSED struct lock *LOCKED_CAT(locked_, __LINE__) = (lock_take(l), (l))
