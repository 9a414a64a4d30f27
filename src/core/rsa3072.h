/*
 * Checking an RSA-3072 signature with exponent 3 the way EINIT does: SIGSTRUCT brings the quotients
 * Q1 and Q2 along, so that S^3 mod N takes four multiplications and no division (SDM volume 3D,
 * "Enclave Signature Structure", EINIT). RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2 and 9.2).
 * Everything here is public; nothing runs in constant time. Tier: core: no libc, no allocation
 * (about 4 KiB of stack). Thread-safe.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "core/sha256.h"

#define RSA3072_SIZE 384 /* bytes of every number, little-endian as in SIGSTRUCT */

/* In the order in which they are looked for. A wrong modulus or signature with the quotients of the
 * right one shows as a wrong Q1. */
enum rsa3072_result {
    RSA3072_OK,
    RSA3072_MODULUS,   /* it is even, or has not 3072 bits */
    RSA3072_SIGNATURE, /* it is not below the modulus */
    RSA3072_Q1,        /* not floor(S^2 / N) */
    RSA3072_Q2,        /* not floor(S * (S^2 mod N) / N) */
    RSA3072_MISMATCH,  /* S^3 mod N is not the padded digest */
};

MUST_CHECK enum rsa3072_result rsa3072_verify(const uint8_t modulus[static RSA3072_SIZE],
                                              const uint8_t signature[static RSA3072_SIZE],
                                              const uint8_t q1[static RSA3072_SIZE],
                                              const uint8_t q2[static RSA3072_SIZE],
                                              const uint8_t digest[static SHA256_SIZE]);
