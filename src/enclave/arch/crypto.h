/*
 * Cryptography as library OS code may call it: islands around core/ that save and restore the vector
 * registers, which are the program's (all of the extended state around long texts, where the CPU has wide AES). Contracts as in core/aes_gcm.h, core/hkdf.h, core/aes_cmac.h. (core/x25519.h
 * needs none.) Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "core/aes_gcm.h"
#include "core/attr.h"

void island_gcm_init(struct aes_gcm *gcm, const uint8_t key[static AES_GCM_KEY_SIZE]);
void island_gcm_seal(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                     const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                     void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE]);
MUST_CHECK int island_gcm_open(const struct aes_gcm *gcm,
                               const uint8_t nonce[static AES_GCM_NONCE_SIZE], const void *aad,
                               uint64_t aad_size, const void *cipher, uint64_t size,
                               const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain);
/* cipher outside the enclave, 16-byte aligned, room for size rounded up to 16. */
void island_gcm_seal_out(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                         const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                         void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE]);
MUST_CHECK int island_gcm_open_in(const struct aes_gcm *gcm,
                                  const uint8_t nonce[static AES_GCM_NONCE_SIZE], const void *aad,
                                  uint64_t aad_size, const void *cipher, uint64_t size,
                                  const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain);
void island_sha256(const void *data, uint64_t size, uint8_t ret[static 32]);
void island_hkdf(const void *salt, uint64_t salt_size, const void *secret, uint64_t secret_size,
                 const void *info, uint64_t info_size, void *ret, uint64_t size);
void island_cmac(const uint8_t key[static 16], const void *data, uint64_t size,
                 uint8_t ret_mac[static 16]);
void island_cmac_last(const uint8_t key[static 16], const void *data, uint64_t size,
                      const uint8_t mac[static 16], uint8_t ret_last[static 16]);
