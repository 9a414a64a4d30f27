/* What --poison throws at the enclave. Tier: hosted, untrusted. */
#include "softsgx/state.h"

uint32_t soft_random(struct soft_thread *t)
{
    uint32_t x = t->random;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return t->random = x;
}
