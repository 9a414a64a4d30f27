/*
 * Locks (lock.h). A holder can be preempted by the host at any moment, also for ever: that costs
 * availability only. Tier: enclave.
 */
#include "thread/lock.h"

#include "abi/ocall.h"
#include "arch/cpu.h"
#include "border/border.h"

#define LOCK_SPINS 200

static bool try_take(struct lock *lock)
{
    uint32_t unlocked = 0;
    return __atomic_load_n(&lock->word, __ATOMIC_RELAXED) == 0 &&
           __atomic_compare_exchange_n(&lock->word, &unlocked, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

void lock_take(struct lock *lock)
{
    for (;;) {
        for (unsigned spin = 0; spin < LOCK_SPINS; spin++) {
            if (try_take(lock))
                return;
            cpu_pause();
        }
        border_call0(OCALL_YIELD, 0);
    }
}

void lock_drop(struct lock *lock)
{
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
}
