#include "arch/crypto.h"

#include "arch/cpu.h"
#include "arch/xmm.h"
#include "core/aes_cmac.h"
#include "core/hkdf.h"

/* What is around an island of this many bytes: a long text may use more than xmm0-xmm15. */
union vectors {
    struct xmm_save xmm;
    struct cpu_state all;
};

static bool wide(uint64_t size)
{
    return size >= AES_GCM_WIDE_MIN && aes_gcm_uses_wide();
}

static void vectors_save(union vectors *save, uint64_t size)
{
    if (wide(size))
        cpu_state_save(&save->all);
    else
        xmm_save(&save->xmm);
}

static void vectors_load(const union vectors *save, uint64_t size)
{
    if (wide(size))
        cpu_state_load(&save->all);
    else
        xmm_load(&save->xmm);
}

void island_gcm_init(struct aes_gcm *gcm, const uint8_t key[static AES_GCM_KEY_SIZE])
{
    struct xmm_save save;
    xmm_save(&save);
    aes_gcm_init(gcm, key);
    xmm_load(&save);
}

void island_gcm_seal(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                     const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                     void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE])
{
    union vectors save;
    vectors_save(&save, size);
    aes_gcm_seal(gcm, nonce, aad, aad_size, plain, size, cipher, tag);
    vectors_load(&save, size);
}

int island_gcm_open(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                    const void *aad, uint64_t aad_size, const void *cipher, uint64_t size,
                    const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain)
{
    union vectors save;
    vectors_save(&save, size);
    int r = aes_gcm_open(gcm, nonce, aad, aad_size, cipher, size, tag, plain);
    vectors_load(&save, size);
    return r;
}

void island_gcm_seal_out(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                         const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                         void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE])
{
    union vectors save;
    vectors_save(&save, size);
    aes_gcm_seal_out(gcm, nonce, aad, aad_size, plain, size, cipher, tag);
    vectors_load(&save, size);
}

int island_gcm_open_in(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                       const void *aad, uint64_t aad_size, const void *cipher, uint64_t size,
                       const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain)
{
    union vectors save;
    vectors_save(&save, size);
    int r = aes_gcm_open_in(gcm, nonce, aad, aad_size, cipher, size, tag, plain);
    vectors_load(&save, size);
    return r;
}

void island_sha256(const void *data, uint64_t size, uint8_t ret[static 32])
{
    struct xmm_save save;
    xmm_save(&save);
    sha256(data, size, ret);
    xmm_load(&save);
}

void island_hkdf(const void *salt, uint64_t salt_size, const void *secret, uint64_t secret_size,
                 const void *info, uint64_t info_size, void *ret, uint64_t size)
{
    struct xmm_save save;
    xmm_save(&save);
    hkdf_sha256(salt, salt_size, secret, secret_size, info, info_size, ret, size);
    xmm_load(&save);
}

void island_cmac(const uint8_t key[static 16], const void *data, uint64_t size,
                 uint8_t ret_mac[static 16])
{
    struct xmm_save save;
    xmm_save(&save);
    aes_use_ni(true); /* every CPU with SGX2 has AES */
    aes_cmac(key, data, size, ret_mac);
    xmm_load(&save);
}

void island_cmac_last(const uint8_t key[static 16], const void *data, uint64_t size,
                      const uint8_t mac[static 16], uint8_t ret_last[static 16])
{
    struct xmm_save save;
    xmm_save(&save);
    aes_use_ni(true);
    aes_cmac_last(key, data, size, mac, ret_last);
    xmm_load(&save);
}
