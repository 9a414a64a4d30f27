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

/* ECX of leaf 1, which every x86-64 CPU has. One CPUID takes 5 us in a virtual machine. */
static inline uint32_t cpu_basic_features(void)
{
    uint32_t a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return c;
}

/* SHA, and the SSSE3 and SSE4.1 that go with it in our code. */
static inline bool cpu_has_sha_ni(void)
{
    uint32_t basic = cpu_basic_features(), more[4];
    return (basic & 1u << 9) && (basic & 1u << 19) && cpu_cpuid(7, 0, more) &&
           (more[1] & 1u << 29);
}

/* AVX2, VAES and VPCLMULQDQ, and an operating system that keeps ymm. */
static inline bool cpu_has_vaes(void)
{
    if (!(cpu_basic_features() & 1u << 27))
        return false;
    uint32_t low, high, a = 7, b, c = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 6) != 6)
        return false;
    /* Who has OSXSAVE has leaf 0DH, and so leaf 7. */
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(high));
    return (b & 1u << 5) && (c & 1u << 9) && (c & 1u << 10);
}

static inline bool cpu_has_aes_ni(void)
{
    return cpu_basic_features() & 1u << 25;
}
