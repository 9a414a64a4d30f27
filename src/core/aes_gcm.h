/*
 * AES-256-GCM (NIST SP 800-38D) with AES-NI and PCLMULQDQ: the one cipher between enclaves and for
 * what the library OS keeps outside. Tier: core. Clobbers vector registers: the library OS calls it
 * through the islands of arch/cpu.h only. The CPU must have AES, PCLMULQDQ and SSE4.1 (every CPU
 * with SGX2 has).
 *
 * Input may be untrusted memory that changes while it is read: each input byte is read exactly
 * once, so that what is authenticated is what is decrypted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

#define AES_GCM_KEY_SIZE   32
#define AES_GCM_NONCE_SIZE 12
#define AES_GCM_TAG_SIZE   16
#define AES_GCM_POWERS     16
#define AES_GCM_WIDE_MIN   4096 /* bytes from which on aes_gcm_use_wide() counts */

/* An expanded key. Caller allocates; wipe it with bytes_wipe(). Fields are private. */
struct aes_gcm {
    uint8_t ALIGNED(16) round_keys[15][16];
    uint8_t ALIGNED(16) powers[AES_GCM_POWERS][16]; /* H^16..H^1, times x and reflected */
    uint8_t ALIGNED(16) folded[AES_GCM_POWERS][16]; /* the sums of their halves */
};

/* Texts of AES_GCM_WIDE_MIN bytes and more with VAES, VPCLMULQDQ and AVX2, two blocks to a vector:
 * faster, and clobbers the whole vector state, also above xmm. Off until somebody who knows the CPU
 * (and in an enclave, its XFRM) says otherwise. */
void aes_gcm_use_wide(bool use);
MUST_CHECK bool aes_gcm_uses_wide(void);

void aes_gcm_init(struct aes_gcm *gcm, const uint8_t key[static AES_GCM_KEY_SIZE]);
/* cipher may be plain. size < 2^36 - 32. aad may be NULL if aad_size is 0, plain if size is 0. */
void aes_gcm_seal(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                  const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                  void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE]);
/* 0, or -EBADMSG: then plain is wiped. tag is trusted memory (copy it in first). */
MUST_CHECK int aes_gcm_open(const struct aes_gcm *gcm,
                            const uint8_t nonce[static AES_GCM_NONCE_SIZE], const void *aad,
                            uint64_t aad_size, const void *cipher, uint64_t size,
                            const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain);

/*
 * The same where cipher is memory outside the enclave: aligned to 16 bytes, with room for size
 * rounded up to 16, so that only whole, aligned vectors are read and written there (INTEL-SA-00615,
 * -00657). What stands behind the end of the text is written as zeros, and read but not used.
 */
void aes_gcm_seal_out(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                      const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                      void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE]);
MUST_CHECK int aes_gcm_open_in(const struct aes_gcm *gcm,
                               const uint8_t nonce[static AES_GCM_NONCE_SIZE], const void *aad,
                               uint64_t aad_size, const void *cipher, uint64_t size,
                               const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain);
