/*
 * What the CPU offers, by CPUID. For hosted code: in an enclave CPUID is #UD, and its answers would
 * be the host's word anyway. Tier: core. Source: Intel SDM volume 2A, CPUID.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* False, outputs zero, if the CPU does not have the leaf. */
static inline bool cpu_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t ret[4])
{
    uint32_t top;
    uint32_t b, c, d;
    __asm__ volatile("cpuid"
                     : "=a"(top), "=b"(b), "=c"(c), "=d"(d)
                     : "a"(leaf & 0x80000000u), "c"(0));
    ret[0] = ret[1] = ret[2] = ret[3] = 0;
    if (leaf > top)
        return false;
    __asm__ volatile("cpuid"
                     : "=a"(ret[0]), "=b"(ret[1]), "=c"(ret[2]), "=d"(ret[3])
                     : "a"(leaf), "c"(subleaf));
    return true;
}

/* SHA, and the SSSE3 and SSE4.1 that go with it in our code. */
static inline bool cpu_has_sha_ni(void)
{
    uint32_t basic[4], more[4];
    return cpu_cpuid(1, 0, basic) && cpu_cpuid(7, 0, more) && (basic[2] & 1u << 9) &&
           (basic[2] & 1u << 19) && (more[1] & 1u << 29);
}

static inline bool cpu_has_aes_ni(void)
{
    uint32_t basic[4];
    return cpu_cpuid(1, 0, basic) && (basic[2] & 1u << 25);
}
