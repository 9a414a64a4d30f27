/*
 * The bulk of AES-256-GCM with vectors of two blocks. Built with -mvaes -mvpclmulqdq -mavx2:
 * clobbers the whole of the vector state but what AVX-512 adds above ymm15 (and what lies above
 * ymm0-ymm15 becomes zero). Same method as aes_gcm.c, sixteen blocks a turn (aes_gcm_turn.h).
 */
#include "core/aes_gcm_parts.h"

typedef long long v4l __attribute__((vector_size(32)));
typedef unsigned v8u __attribute__((vector_size(32)));
typedef char v32b __attribute__((vector_size(32)));
typedef v4l v4l_any __attribute__((aligned(1), may_alias));

/* Volatile: read once, whatever the compiler would like. */
static inline v4l load(const void *from)
{
    return *(const volatile v4l_any *)from;
}

static inline void store(void *to, v4l value)
{
    *(v4l_any *)to = value;
}

/* Two blocks at a time, as gcc and clang call them. */
#ifdef __clang__
#define AESENC_WIDE(a, k)     ((v4l)__builtin_ia32_aesenc256((a), (k)))
#define AESENCLAST_WIDE(a, k) ((v4l)__builtin_ia32_aesenclast256((a), (k)))
#define CLMUL_WIDE(a, b, n)   ((v4l)__builtin_ia32_pclmulqdq256((a), (b), (n)))
#else
#define AESENC_WIDE(a, k)     ((v4l)__builtin_ia32_vaesenc_v32qi((v32b)(a), (v32b)(k)))
#define AESENCLAST_WIDE(a, k) ((v4l)__builtin_ia32_vaesenclast_v32qi((v32b)(a), (v32b)(k)))
#define CLMUL_WIDE(a, b, n)   ((v4l)__builtin_ia32_vpclmulqdq_v4di((a), (b), (n)))
#endif

static inline v4l twice(v2l a)
{
    return __builtin_shufflevector(a, a, 0, 1, 0, 1);
}

static inline v4l swap(v4l a)
{
    const v32b order = { 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,
                         15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0 };
    return (v4l)__builtin_ia32_pshufb256((v32b)a, order);
}

static inline v4l key(const struct aes_gcm *gcm, unsigned round)
{
    return twice(*(const v2l *)gcm->round_keys[round]);
}

static inline v4l enc(v4l a, v4l k)
{
    return AESENC_WIDE(a, k);
}

static inline v4l enc_last(v4l a, v4l k)
{
    return AESENCLAST_WIDE(a, k);
}

struct sums {
    v4l low, middle, high;
};

/* Two blocks, times their powers of the hash key. */
static inline void sums_add(struct sums *p, const struct aes_gcm *gcm, v4l a, unsigned n)
{
    v4l whole = load(gcm->powers[2 * n]), folded = load(gcm->folded[2 * n]);
    v4l other = __builtin_shufflevector(a, a, 1, 0, 3, 2);
    p->low ^= CLMUL_WIDE(a, whole, 0x00);
    p->high ^= CLMUL_WIDE(a, whole, 0x11);
    p->middle ^= CLMUL_WIDE(a ^ other, folded, 0x00);
}

static inline v2l halves_sum(v4l a)
{
    return __builtin_shufflevector(a, a, 0, 1) ^ __builtin_shufflevector(a, a, 2, 3);
}

static inline v2l sums_reduce(struct sums p)
{
    return product_reduce(
        (struct product){ halves_sum(p.low), halves_sum(p.middle), halves_sum(p.high) });
}

static inline v4l first_block(v2l a)
{
    v2l zero = { 0 };
    return __builtin_shufflevector(a, zero, 0, 1, 2, 3);
}

/* --- what aes_gcm_turn.h wants besides --------------------------------------------------------- */

typedef v4l vector;
#define VECTOR_SIZE (2 * BLOCK)

static inline v4l counter_add(v4l counter, unsigned n)
{
    v8u add = { 2 * n, 0, 0, 0, 2 * n, 0, 0, 0 };
    return (v4l)((v8u)counter + add);
}

static inline v4l counter_spread(v2l first)
{
    v8u second = { 0, 0, 0, 0, 1, 0, 0, 0 };
    return (v4l)((v8u)twice(first) + second);
}

static inline v2l counter_first(v4l counter)
{
    return __builtin_shufflevector(counter, counter, 0, 1);
}

#include "core/aes_gcm_turn.h"

void aes_gcm_bulk_wide(const struct aes_gcm *gcm, v2l *counter, v2l *sum, const uint8_t *from,
                       uint8_t *to, uint64_t count, bool opening)
{
    if (opening)
        bulk(gcm, counter, sum, from, to, count, true);
    else
        bulk(gcm, counter, sum, from, to, count, false);
}
