/*
 * What the CPU offers, by CPUID. For hosted code: in an enclave CPUID is #UD, and its answers would
 * be the host's word anyway. Tier: core. Source: Intel SDM volume 2A, CPUID.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* One CPUID takes 5 to 9 us in a virtual machine: each is asked once a process (core/cpu.c). */
struct cpu_features {
    uint32_t basic;            /* ECX of leaf 1 */
    uint32_t seven_b, seven_c; /* of leaf 7, 0 */
    uint64_t xcr0;             /* 0: no XSAVE */
};
const struct cpu_features *cpu_features(void);

static inline uint32_t cpu_basic_features(void)
{
    return cpu_features()->basic;
}

/* SHA, and the SSSE3 and SSE4.1 that go with it in our code. */
static inline bool cpu_has_sha_ni(void)
{
    const struct cpu_features *f = cpu_features();
    return (f->basic & 1u << 9) && (f->basic & 1u << 19) && (f->seven_b & 1u << 29);
}

/* AVX2, VAES and VPCLMULQDQ, and an operating system that keeps ymm. */
static inline bool cpu_has_vaes(void)
{
    const struct cpu_features *f = cpu_features();
    return (f->xcr0 & 6) == 6 && (f->seven_b & 1u << 5) && (f->seven_c & 1u << 9) &&
           (f->seven_c & 1u << 10);
}

static inline bool cpu_has_aes_ni(void)
{
    return cpu_features()->basic & 1u << 25;
}
