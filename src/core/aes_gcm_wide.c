/*
 * The bulk of AES-256-GCM with vectors of two blocks. Built with -mvaes -mvpclmulqdq -mavx2:
 * clobbers the whole of the vector state but what AVX-512 adds above ymm15 (and what lies above
 * ymm0-ymm15 becomes zero). Same method as aes_gcm.c, sixteen blocks a turn.
 */
#include "core/aes_gcm_parts.h"

typedef long long v4l __attribute__((vector_size(32)));
typedef unsigned v8u __attribute__((vector_size(32)));
typedef char v32b __attribute__((vector_size(32)));
typedef v4l v4l_any __attribute__((aligned(1), may_alias));

#define WIDE 8u /* vectors */

/* Volatile: read once, whatever the compiler would like. */
static inline v4l load(const void *from)
{
    return *(const volatile v4l_any *)from;
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

struct product2 {
    v4l low, middle, high;
};

/* Two blocks, times their powers of the hash key: n is the first of them in its turn. */
static inline void product2_add(struct product2 *p, const struct aes_gcm *gcm, v4l a, unsigned n)
{
    v4l whole = load(gcm->powers[n]), folded = load(gcm->folded[n]);
    v4l other = __builtin_shufflevector(a, a, 1, 0, 3, 2);
    p->low ^= CLMUL_WIDE(a, whole, 0x00);
    p->high ^= CLMUL_WIDE(a, whole, 0x11);
    p->middle ^= CLMUL_WIDE(a ^ other, folded, 0x00);
}

static inline v2l halves_sum(v4l a)
{
    return __builtin_shufflevector(a, a, 0, 1) ^ __builtin_shufflevector(a, a, 2, 3);
}

static inline v2l reduce2(struct product2 p)
{
    return product_reduce(
        (struct product){ halves_sum(p.low), halves_sum(p.middle), halves_sum(p.high) });
}

static inline v4l first_block(v2l a)
{
    v2l zero = { 0 };
    return __builtin_shufflevector(a, zero, 0, 1, 2, 3);
}

#define EACH(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)

/* As turn() in aes_gcm.c. */
static inline __attribute__((always_inline)) void turn(const struct aes_gcm *gcm, v4l *counter,
                                                       v2l *sum, v4l text[static WIDE],
                                                       const uint8_t *from, uint8_t *to,
                                                       bool opening, bool hashing)
{
    v4l k = key(gcm, 0);
#define START(n)                                         \
    v8u add##n = { 2 * (n), 0, 0, 0, 2 * (n), 0, 0, 0 }; \
    v4l s##n = swap((v4l)((v8u)*counter + add##n)) ^ k;
    EACH(START)
    const v8u next = { 2 * WIDE, 0, 0, 0, 2 * WIDE, 0, 0, 0 };
    *counter = (v4l)((v8u)*counter + next);
    struct product2 p = { 0 };

#define ROUND_ONE(n) s##n = enc(s##n, k);
#define ROUND(round)         \
    do {                     \
        k = key(gcm, round); \
        EACH(ROUND_ONE)      \
    } while (0)
#define ROUND_HASH(round, n)                      \
    do {                                          \
        if (opening)                              \
            text[n] = load(from + (n)*2 * BLOCK); \
        ROUND(round);                             \
        if (hashing) {                            \
            v4l two = swap(text[n]);              \
            if ((n) == 0)                         \
                two ^= first_block(*sum);         \
            product2_add(&p, gcm, two, 2 * (n));  \
        }                                         \
    } while (0)
    ROUND_HASH(1, 0);
    ROUND_HASH(2, 1);
    ROUND_HASH(3, 2);
    ROUND_HASH(4, 3);
    ROUND_HASH(5, 4);
    ROUND_HASH(6, 5);
    ROUND_HASH(7, 6);
    ROUND_HASH(8, 7);
    ROUND(9);
    if (hashing)
        *sum = reduce2(p);
    ROUND(10);
    ROUND(11);
    ROUND(12);
    ROUND(13);
    k = key(gcm, ROUNDS);
#define FINISH(n)                                                      \
    s##n = AESENCLAST_WIDE(s##n, k); \
    s##n ^= opening ? text[n] : load(from + (n)*2 * BLOCK);            \
    if (!opening)                                                      \
        text[n] = s##n;                                                \
    *(v4l_any *)(to + (n)*2 * BLOCK) = s##n;
    EACH(FINISH)
}

static inline __attribute__((always_inline)) void bulk(const struct aes_gcm *gcm, v2l *counter,
                                                       v2l *sum, const uint8_t *from, uint8_t *to,
                                                       uint64_t count, bool opening)
{
    const uint64_t step = 2 * WIDE;
    v4l text[WIDE];
    v8u second = { 0, 0, 0, 0, 1, 0, 0, 0 };
    v4l at = (v4l)((v8u)twice(*counter) + second);
    v2l hashed = *sum;
    if (!opening) {
        turn(gcm, &at, &hashed, text, from, to, false, false);
        from += step * BLOCK;
        to += step * BLOCK;
        count -= step;
    }
    for (; count; count -= step, from += step * BLOCK, to += step * BLOCK)
        turn(gcm, &at, &hashed, text, from, to, opening, true);
    if (!opening) {
        struct product2 p = { 0 };
        for (unsigned n = 0; n < WIDE; n++)
            product2_add(&p, gcm, n ? swap(text[n]) : swap(text[n]) ^ first_block(hashed), 2 * n);
        hashed = reduce2(p);
    }
    *counter = __builtin_shufflevector(at, at, 0, 1);
    *sum = hashed;
}

void aes_gcm_bulk_wide(const struct aes_gcm *gcm, v2l *counter, v2l *sum, const uint8_t *from,
                       uint8_t *to, uint64_t count, bool opening)
{
    if (opening)
        bulk(gcm, counter, sum, from, to, count, true);
    else
        bulk(gcm, counter, sum, from, to, count, false);
}
