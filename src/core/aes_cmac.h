/*
 * AES-128-CMAC (SP 800-38B, FIPS 197): the MAC of REPORTs and launch tokens, and the key derivation
 * of the software device; and what a REPORT can carry in secret (aes_cmac_last). Tier: core: no libc, no allocation.
 *
 * Two backends compute the same: the AES instructions, and portable C that is slow (microseconds a
 * block) but has no table and no branch that depends on a secret. A hosted program takes the
 * instructions by itself where CPUID has them. Bare code starts out portable and says
 * aes_use_ni(true); then every call clobbers xmm0-xmm15 (never the upper halves).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"

#define AES_BLOCK_SIZE 16
#define AES128_ROUNDS  10

/* An expanded key. Caller allocates; wipe it with bytes_wipe(). */
struct aes128 {
    uint8_t round_keys[AES128_ROUNDS + 1][AES_BLOCK_SIZE];
};

/* Chooses the backend for the whole program; call before threads start. The caller answers for the
 * CPU having AES. */
void aes_use_ni(bool use);
bool aes_uses_ni(void);

void aes128_init(struct aes128 *aes, const uint8_t key[static AES_BLOCK_SIZE]);
/* One block; in and ret may be the same. */
void aes128_encrypt(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                    uint8_t ret[static AES_BLOCK_SIZE]);

/* The reverse. */
void aes128_decrypt(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                    uint8_t ret[static AES_BLOCK_SIZE]);

/* data may be NULL if size is 0. Leaves no key material behind. Compare MACs with
 * bytes_equal_ct(). */
void aes_cmac(const uint8_t key[static AES_BLOCK_SIZE], const void *data, size_t size,
              uint8_t ret_mac[static AES_BLOCK_SIZE]);

/*
 * The last block of the data that has this MAC: data is what stands before it, size bytes, a multiple of 16. Who does
 * not have the key cannot tell it from the MAC, also if it may have MACs made of whatever it likes: AES is one-way then.
 * Any mac gives some block: that it is the right one has to be shown by its use.
 */
void aes_cmac_last(const uint8_t key[static AES_BLOCK_SIZE], const void *data, size_t size,
                   const uint8_t mac[static AES_BLOCK_SIZE],
                   uint8_t ret_last[static AES_BLOCK_SIZE]);

/* The backends of aes128_encrypt and aes128_decrypt: */
void aes128_encrypt_portable(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                             uint8_t ret[static AES_BLOCK_SIZE]);
void aes128_encrypt_ni(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                       uint8_t ret[static AES_BLOCK_SIZE]);
void aes128_decrypt_portable(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                             uint8_t ret[static AES_BLOCK_SIZE]);
void aes128_decrypt_ni(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                       uint8_t ret[static AES_BLOCK_SIZE]);
