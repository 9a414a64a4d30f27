/*
 * Mutexes: unlike thread/lock.h they may be held across copies from and to program memory and other
 * OCALLs that end soon, and the waiting thread sleeps. Never held while waiting for another thread
 * of the program. Taken before locks. Zero is unlocked. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "thread/wait.h"

struct mutex {
    uint32_t word; /* 0 free, 1 taken, 2 taken and somebody may wait */
    struct waitq queue;
};

void mutex_take(struct mutex *mutex);
void mutex_drop(struct mutex *mutex);
