/*
 * HKDF with HMAC-SHA-256 (RFC 5869, RFC 2104): keys from a shared secret. Tier: core: no libc, no
 * allocation. Leaves no key material behind. Uses core/sha256 and clobbers what it does.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "core/sha256.h"

/* data may be NULL if size is 0. Compare MACs with bytes_equal_ct(). */
void hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                 uint8_t ret[static SHA256_SIZE]);

/* Extract and expand. salt and info may be NULL if their size is 0 (no salt: as 32 zeros).
 * info_size is at most HKDF_INFO_MAX, size at most HKDF_SIZE_MAX: larger ones are our own bug and
 * trap. */
#define HKDF_INFO_MAX 128u
#define HKDF_SIZE_MAX (255u * SHA256_SIZE)
void hkdf_sha256(const void *salt, size_t salt_size, const void *secret, size_t secret_size,
                 const void *info, size_t info_size, void *ret, size_t size);
