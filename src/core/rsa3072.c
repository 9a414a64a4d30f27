#include "core/rsa3072.h"

#include <stdbool.h>
#include <stddef.h>

#include "core/bytes.h"

#define LIMBS (RSA3072_SIZE / 8)

typedef unsigned __int128 u128;

/* Little-endian limbs. */
struct number {
    uint64_t limb[LIMBS];
};

struct product {
    uint64_t limb[2 * LIMBS];
};

static void load(const uint8_t bytes[static RSA3072_SIZE], struct number *ret)
{
    for (size_t i = 0; i < LIMBS; i++)
        ret->limb[i] = load_le64(bytes + 8 * i);
}

/* a < b */
static bool below(const uint64_t *a, const uint64_t *b)
{
    for (size_t i = LIMBS; i-- > 0;)
        if (a[i] != b[i])
            return a[i] < b[i];
    return false;
}

static void multiply(const struct number *a, const struct number *b, struct product *ret)
{
    *ret = (struct product){ 0 };
    for (size_t i = 0; i < LIMBS; i++) {
        uint64_t carry = 0;
        for (size_t k = 0; k < LIMBS; k++) {
            /* At most (2^64-1)^2 + 2 (2^64-1) = 2^128-1. */
            u128 sum = (u128)a->limb[i] * b->limb[k] + ret->limb[i + k] + carry;
            ret->limb[i + k] = (uint64_t)sum;
            carry = (uint64_t)(sum >> 64);
        }
        ret->limb[i + LIMBS] = carry;
    }
}

/* *ret = a*b - q*n; false unless that is a remainder of the division by n: 0 <= *ret < n, which
 * holds for one q alone. */
static bool remainder_by(const struct number *a, const struct number *b, const struct number *q,
                         const struct number *n, struct number *ret)
{
    struct product whole, part;
    multiply(a, b, &whole);
    multiply(q, n, &part);
    unsigned char borrow = 0;
    uint64_t above = 0;
    for (size_t i = 0; i < 2 * LIMBS; i++) {
        u128 difference = (u128)whole.limb[i] - part.limb[i] - borrow;
        borrow = (unsigned char)(difference >> 64 & 1);
        if (i < LIMBS)
            ret->limb[i] = (uint64_t)difference;
        else
            above |= (uint64_t)difference;
    }
    return borrow == 0 && above == 0 && below(ret->limb, n->limb);
}

/* RFC 8017, 9.2: 00 01 ff.. 00, DigestInfo of SHA-256, digest: big-endian, here backwards. */
static void pad(const uint8_t digest[static SHA256_SIZE], struct number *ret)
{
    static const uint8_t info[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                    0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
    uint8_t bytes[RSA3072_SIZE];
    uint8_t *at = bytes;
    for (size_t i = SHA256_SIZE; i-- > 0;)
        *at++ = digest[i];
    for (size_t i = sizeof(info); i-- > 0;)
        *at++ = info[i];
    *at++ = 0x00;
    while (at < bytes + RSA3072_SIZE - 2)
        *at++ = 0xff;
    *at++ = 0x01;
    *at = 0x00;
    load(bytes, ret);
}

enum rsa3072_result rsa3072_verify(const uint8_t modulus[static RSA3072_SIZE],
                                   const uint8_t signature[static RSA3072_SIZE],
                                   const uint8_t q1[static RSA3072_SIZE],
                                   const uint8_t q2[static RSA3072_SIZE],
                                   const uint8_t digest[static SHA256_SIZE])
{
    struct number n, s, q, square, cube;
    load(modulus, &n);
    load(signature, &s);
    if (!(n.limb[0] & 1) || !(n.limb[LIMBS - 1] >> 63))
        return RSA3072_MODULUS;
    if (!below(s.limb, n.limb))
        return RSA3072_SIGNATURE;
    load(q1, &q);
    if (!remainder_by(&s, &s, &q, &n, &square))
        return RSA3072_Q1;
    load(q2, &q);
    if (!remainder_by(&square, &s, &q, &n, &cube))
        return RSA3072_Q2;
    pad(digest, &s);
    return below(s.limb, cube.limb) || below(cube.limb, s.limb) ? RSA3072_MISMATCH : RSA3072_OK;
}
