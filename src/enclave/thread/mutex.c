/* Mutexes (mutex.h). Tier: enclave. */
#include "thread/mutex.h"

#include "arch/cpu.h"

#define MUTEX_SPINS 100

void mutex_take(struct mutex *mutex)
{
    for (unsigned spin = 0; spin < MUTEX_SPINS; spin++) {
        uint32_t unlocked = 0;
        if (__atomic_compare_exchange_n(&mutex->word, &unlocked, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return;
        cpu_pause();
    }
    struct waiter waiter = { .thread = current() };
    for (;;) {
        waitq_add(&mutex->queue, &waiter);
        if (__atomic_exchange_n(&mutex->word, 2, __ATOMIC_SEQ_CST) == 0)
            break;
        thread_park_hard();
        waitq_remove(&waiter);
    }
    waitq_remove(&waiter);
    /* A wake that was meant for what the caller waits for may have been used up here: the caller's
     * next park returns once for nothing. */
    __atomic_store_n(&current()->wake, 1, __ATOMIC_SEQ_CST);
}

void mutex_drop(struct mutex *mutex)
{
    if (__atomic_exchange_n(&mutex->word, 0, __ATOMIC_SEQ_CST) == 2)
        waitq_wake(&mutex->queue, 1);
}
