/*
 * X25519 (RFC 7748): agreement on a secret between two who know each other's public keys only. Tier: core: no libc,
 * no allocation. Thread-safe.
 *
 * Constant time: no branch and no address depends on scalar or point. Five limbs of 51 bits, general registers only: nothing
 * of the program's vector registers is touched. Leaves no secrets on the stack.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"

#define X25519_SIZE 32 /* scalar, point and result: little-endian, as the RFC has them */

/* The public key of a scalar; any 32 bytes are one (they are clamped, section 5). */
void x25519_public(const uint8_t scalar[static X25519_SIZE], uint8_t ret[static X25519_SIZE]);
/* What the owners of both scalars can compute. -EINVAL, ret untouched: the point is of small order, the result would be zero
 * whatever the scalar (section 6.1): the peer contributes nothing. Points are taken modulo 2^255 - 19, bit 255 is ignored. */
MUST_CHECK int x25519(const uint8_t scalar[static X25519_SIZE],
                      const uint8_t point[static X25519_SIZE], uint8_t ret[static X25519_SIZE]);
