/*
 * The Montgomery ladder of RFC 7748, section 5, on u coordinates modulo p = 2^255 - 19.
 *
 * A number is five limbs, least first, worth 2^51 each. Limbs grow and are carried late:
 *   tight   below 2^51 + 2^14: what multiplications leave
 *   loose   below 2^53: a sum or difference of two tight ones
 * Multiplications take loose ones: a column is at most 5 * 19 * 2^106, below 2^113.
 */
#include "core/x25519.h"

#include "core/bytes.h"

#define LIMBS     5
#define LIMB_BITS 51
#define LIMB_MASK ((UINT64_C(1) << LIMB_BITS) - 1)

typedef unsigned __int128 wide;

/* A fifth of the time is results that go through memory. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

struct number {
    uint64_t limb[LIMBS];
};

static struct number from_bytes(const uint8_t bytes[static X25519_SIZE])
{
    return (struct number){ {
        load_le64(bytes) & LIMB_MASK, load_le64(bytes + 6) >> 3 & LIMB_MASK,
        load_le64(bytes + 12) >> 6 & LIMB_MASK, load_le64(bytes + 19) >> 1 & LIMB_MASK,
        load_le64(bytes + 24) >> 12 & LIMB_MASK, /* without bit 255 */
    } };
}

/* The one below p. a is tight. */
static void to_bytes(const struct number *a, uint8_t ret[static X25519_SIZE])
{
    uint64_t t[LIMBS];
    __builtin_memcpy(t, a->limb, sizeof(t));
    for (unsigned round = 0; round < 2; round++) { /* below 2^255 then */
        for (unsigned i = 0; i < LIMBS - 1; i++) {
            t[i + 1] += t[i] >> LIMB_BITS;
            t[i] &= LIMB_MASK;
        }
        t[0] += 19 * (t[4] >> LIMB_BITS);
        t[4] &= LIMB_MASK;
    }
    /* The carry out of a + 19 tells whether a is p or more. */
    uint64_t carry = 19;
    for (unsigned i = 0; i < LIMBS; i++)
        carry = (t[i] + carry) >> LIMB_BITS;
    t[0] += 19 * carry;
    for (unsigned i = 0; i < LIMBS - 1; i++) {
        t[i + 1] += t[i] >> LIMB_BITS;
        t[i] &= LIMB_MASK;
    }
    t[4] &= LIMB_MASK;
    store_le64(ret, t[0] | t[1] << 51);
    store_le64(ret + 8, t[1] >> 13 | t[2] << 38);
    store_le64(ret + 16, t[2] >> 26 | t[3] << 25);
    store_le64(ret + 24, t[3] >> 39 | t[4] << 12);
    bytes_wipe(t, sizeof(t));
}

/* Loose; of tight ones. */
static inline struct number add(const struct number *a, const struct number *b)
{
    struct number r;
#pragma GCC unroll 5
    for (unsigned i = 0; i < LIMBS; i++)
        r.limb[i] = a->limb[i] + b->limb[i];
    return r;
}

/* 2p is added, so that no limb goes below zero. */
static inline struct number subtract(const struct number *a, const struct number *b)
{
    struct number r;
#pragma GCC unroll 5
    for (unsigned i = 0; i < LIMBS; i++)
        r.limb[i] = a->limb[i] + (2 * LIMB_MASK - (i == 0 ? 36 : 0)) - b->limb[i];
    return r;
}

/* Columns to tight limbs; 2^255 is 19. The last carry is below 2^58. */
static inline struct number carried(wide c0, wide c1, wide c2, wide c3, wide c4)
{
    struct number r;
    c1 += (uint64_t)(c0 >> LIMB_BITS);
    c2 += (uint64_t)(c1 >> LIMB_BITS);
    c3 += (uint64_t)(c2 >> LIMB_BITS);
    c4 += (uint64_t)(c3 >> LIMB_BITS);
    r.limb[0] = ((uint64_t)c0 & LIMB_MASK) + 19 * (uint64_t)(c4 >> LIMB_BITS);
    r.limb[1] = ((uint64_t)c1 & LIMB_MASK) + (r.limb[0] >> LIMB_BITS);
    r.limb[0] &= LIMB_MASK;
    r.limb[2] = (uint64_t)c2 & LIMB_MASK;
    r.limb[3] = (uint64_t)c3 & LIMB_MASK;
    r.limb[4] = (uint64_t)c4 & LIMB_MASK;
    return r;
}

static ALWAYS_INLINE struct number multiply(const struct number *x, const struct number *y)
{
    const uint64_t *a = x->limb, *b = y->limb;
    uint64_t b1 = 19 * b[1], b2 = 19 * b[2], b3 = 19 * b[3], b4 = 19 * b[4];
    return carried(
        (wide)a[0] * b[0] + (wide)a[1] * b4 + (wide)a[2] * b3 + (wide)a[3] * b2 + (wide)a[4] * b1,
        (wide)a[0] * b[1] + (wide)a[1] * b[0] + (wide)a[2] * b4 + (wide)a[3] * b3 + (wide)a[4] * b2,
        (wide)a[0] * b[2] + (wide)a[1] * b[1] + (wide)a[2] * b[0] + (wide)a[3] * b4 +
            (wide)a[4] * b3,
        (wide)a[0] * b[3] + (wide)a[1] * b[2] + (wide)a[2] * b[1] + (wide)a[3] * b[0] +
            (wide)a[4] * b4,
        (wide)a[0] * b[4] + (wide)a[1] * b[3] + (wide)a[2] * b[2] + (wide)a[3] * b[1] +
            (wide)a[4] * b[0]);
}

static ALWAYS_INLINE struct number square(const struct number *x)
{
    const uint64_t *a = x->limb;
    uint64_t d0 = 2 * a[0], d1 = 2 * a[1], a3 = 19 * a[3], a4 = 19 * a[4];
    return carried((wide)a[0] * a[0] + (wide)d1 * a4 + (wide)(2 * a[2]) * a3,
                   (wide)d0 * a[1] + (wide)(2 * a[2]) * a4 + (wide)a[3] * a3,
                   (wide)d0 * a[2] + (wide)a[1] * a[1] + (wide)(2 * a[3]) * a4,
                   (wide)d0 * a[3] + (wide)d1 * a[2] + (wide)a[4] * a4,
                   (wide)d0 * a[4] + (wide)d1 * a[3] + (wide)a[2] * a[2]);
}

static inline struct number times(const struct number *a, uint32_t n)
{
    return carried((wide)a->limb[0] * n, (wide)a->limb[1] * n, (wide)a->limb[2] * n,
                   (wide)a->limb[3] * n, (wide)a->limb[4] * n);
}

/* Where time does not matter; inlined each is 400 bytes. */
static __attribute__((noinline)) struct number product(const struct number *a,
                                                       const struct number *b)
{
    return multiply(a, b);
}

static struct number squares(const struct number *a, unsigned count)
{
    struct number r = square(a);
    for (unsigned i = 1; i < count; i++)
        r = square(&r);
    return r;
}

/* a^(p - 2), which is 1/a; of zero zero. aN: a^(2^N - 1). */
static struct number invert(const struct number *a)
{
    struct number t = squares(a, 1); /* 2 */
    struct number a9 = squares(&t, 2);
    a9 = product(&a9, a); /* 9 */
    struct number a11 = product(&a9, &t);
    t = squares(&a11, 1); /* 22 */
    struct number a5 = product(&t, &a9);
    t = squares(&a5, 5);
    struct number a10 = product(&t, &a5);
    t = squares(&a10, 10);
    struct number a20 = product(&t, &a10);
    t = squares(&a20, 20);
    t = product(&t, &a20); /* a40 */
    t = squares(&t, 10);
    struct number a50 = product(&t, &a10);
    t = squares(&a50, 50);
    struct number a100 = product(&t, &a50);
    t = squares(&a100, 100);
    t = product(&t, &a100); /* a200 */
    t = squares(&t, 50);
    t = product(&t, &a50); /* a250 */
    t = squares(&t, 5);
    return product(&t, &a11); /* 2^255 - 21 */
}

/* Exchanges a and b if swap is 1. */
static inline void exchange(struct number *a, struct number *b, uint64_t swap)
{
    uint64_t mask = 0 - swap;
    __asm__("" : "+r"(mask)); /* what it can be is not the compiler's business: it would branch */
#pragma GCC unroll 5
    for (unsigned i = 0; i < LIMBS; i++) {
        uint64_t differs = mask & (a->limb[i] ^ b->limb[i]);
        a->limb[i] ^= differs;
        b->limb[i] ^= differs;
    }
}

/* Everything secret lies in here, or in the frames that wipe_stack() covers. */
static __attribute__((noinline)) void ladder(const uint8_t scalar[static X25519_SIZE],
                                             const uint8_t point[static X25519_SIZE],
                                             uint8_t ret[static X25519_SIZE])
{
    uint8_t k[X25519_SIZE];
    __builtin_memcpy(k, scalar, sizeof(k));
    k[0] &= 248;
    k[31] = (uint8_t)((k[31] & 127) | 64);

    struct number x1 = from_bytes(point), x2 = { { 1 } }, z2 = { { 0 } }, x3 = x1, z3 = { { 1 } };
    uint64_t swap = 0;
    for (unsigned bit = 255; bit-- > 0;) {
        uint64_t one = k[bit / 8] >> bit % 8 & 1;
        exchange(&x2, &x3, swap ^ one);
        exchange(&z2, &z3, swap ^ one);
        swap = one;

        struct number a = add(&x2, &z2), b = subtract(&x2, &z2);
        struct number c = add(&x3, &z3), d = subtract(&x3, &z3);
        struct number da = multiply(&d, &a), cb = multiply(&c, &b);
        struct number aa = square(&a), bb = square(&b);
        struct number e = subtract(&aa, &bb);
        struct number sum = add(&da, &cb), difference = subtract(&da, &cb);
        x3 = square(&sum);
        difference = square(&difference);
        z3 = multiply(&x1, &difference);
        x2 = multiply(&aa, &bb);
        struct number f = times(&e, 121665);
        f = add(&aa, &f);
        z2 = multiply(&e, &f);
    }
    exchange(&x2, &x3, swap);
    exchange(&z2, &z3, swap);
    z2 = invert(&z2);
    x2 = product(&x2, &z2);
    to_bytes(&x2, ret);
}

/* What ladder() and what it calls took of the stack (-fstack-usage: some 1,500 bytes, optimised). */
#define STACK_USED 2048
static __attribute__((noinline)) void wipe_stack(void)
{
    uint8_t bytes[STACK_USED];
    bytes_wipe(bytes, sizeof(bytes));
}

int x25519(const uint8_t scalar[static X25519_SIZE], const uint8_t point[static X25519_SIZE],
           uint8_t ret[static X25519_SIZE])
{
    uint8_t shared[X25519_SIZE];
    ladder(scalar, point, shared);
    wipe_stack();
    if (bytes_zero_ct(shared, sizeof(shared)))
        return -EINVAL;
    __builtin_memcpy(ret, shared, sizeof(shared));
    bytes_wipe(shared, sizeof(shared));
    return 0;
}

void x25519_public(const uint8_t scalar[static X25519_SIZE], uint8_t ret[static X25519_SIZE])
{
    static const uint8_t base[X25519_SIZE] = { 9 };
    uint8_t key[X25519_SIZE];
    ladder(scalar, base, key);
    wipe_stack();
    __builtin_memcpy(ret, key, sizeof(key));
}
