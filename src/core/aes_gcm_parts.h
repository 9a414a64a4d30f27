/* What core/aes_gcm.c and aes_gcm_wide.c share; each is compiled for its own CPUs. Private to them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/aes_gcm.h"

typedef long long v2l __attribute__((vector_size(16)));
typedef unsigned v4u __attribute__((vector_size(16)));
typedef int v4i __attribute__((vector_size(16)));
typedef char v16b __attribute__((vector_size(16)));
/* In memory of any alignment, and of any type. */
typedef v2l v2l_any __attribute__((aligned(1), may_alias));

#define BLOCK  16u
#define ROUNDS 14
#define WIDE   8u /* vectors that go through the bulk together */

static inline v2l swap_halves(v2l a)
{
    return __builtin_shufflevector(a, a, 1, 0);
}

/* A sum of products, not reduced (Karatsuba): middle still holds low and high too. */
struct product {
    v2l low, middle, high;
};

/* Modulo x^128 + x^7 + x^2 + x + 1, reflected: 64 bits at a time from the low end. */
static inline v2l product_reduce(struct product p)
{
    const v2l poly = { 0, (long long)0xc200000000000000ull };
    p.middle ^= p.low ^ p.high;
    p.middle ^= swap_halves(p.low) ^ __builtin_ia32_pclmulqdq128(poly, p.low, 0x01);
    p.high ^= swap_halves(p.middle);
    return p.high ^ __builtin_ia32_pclmulqdq128(poly, p.middle, 0x01);
}

/* The bulk where the CPU has VAES, VPCLMULQDQ and AVX2. count blocks, a multiple of AES_GCM_POWERS
 * and not zero; *counter is the next block's, reversed. */
void aes_gcm_bulk_wide(const struct aes_gcm *gcm, v2l *counter, v2l *sum, const uint8_t *from,
                       uint8_t *to, uint64_t count, bool opening);
