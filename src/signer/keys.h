/*
 * Enclave signing keys: RSA-3072 with exponent 3, the only kind EINIT takes (SDM volume 3D,
 * "Enclave Signature Structure"). Tier: hosted. A key is immutable once made; not thread-safe per
 * object.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "core/attr.h"
#include "util/err.h"

struct signing_key;

/* A fresh key from the operating system's randomness. Free *ret with keys_free(). */
MUST_CHECK int keys_generate(struct signing_key **ret, struct err *err);

/* Writes PEM (PKCS#8, not encrypted) with mode 0600. -EEXIST if path is there: a key is never
 * overwritten. */
MUST_CHECK int keys_store(const struct signing_key *key, const char *path, struct err *err);

/* Refuses: no unencrypted PEM private key; not RSA, not 3072 bits, exponent other than 3
 * (-EBADMSG); a file that group or others may read or write (-EPERM). */
MUST_CHECK int keys_load(const char *path, struct signing_key **ret, struct err *err);

/* keys_load's work on bytes already read. name is for messages. */
MUST_CHECK int keys_parse(const void *pem, size_t size, const char *name, struct signing_key **ret,
                          struct err *err);

void keys_free(struct signing_key *key);
/* For CLEANUP(). */
void keys_free_p(struct signing_key **key);

/* The modulus, little-endian as in SIGSTRUCT. */
void keys_modulus(const struct signing_key *key, uint8_t ret[static SGX_MODULUS_SIZE]);
/* MRSIGNER: SHA-256 of that modulus. */
void keys_mrsigner(const struct signing_key *key, uint8_t ret[static SGX_HASH_SIZE]);

/* RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2), little-endian as in SIGSTRUCT. */
MUST_CHECK int keys_sign(const struct signing_key *key, const void *message, size_t size,
                         uint8_t ret_signature[static SGX_MODULUS_SIZE], struct err *err);
