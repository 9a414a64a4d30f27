#include "arch/crypto.h"

#include <bearssl_ec.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "arch/xmm.h"
#include "border/border.h"
#include "core/aes_cmac.h"
#include "core/bytes.h"
#include "core/hkdf.h"

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
    struct xmm_save save;
    xmm_save(&save);
    aes_gcm_seal(gcm, nonce, aad, aad_size, plain, size, cipher, tag);
    xmm_load(&save);
}

int island_gcm_open(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                    const void *aad, uint64_t aad_size, const void *cipher, uint64_t size,
                    const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain)
{
    struct xmm_save save;
    xmm_save(&save);
    int r = aes_gcm_open(gcm, nonce, aad, aad_size, cipher, size, tag, plain);
    xmm_load(&save);
    return r;
}

void island_gcm_seal_out(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                         const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                         void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE])
{
    struct xmm_save save;
    xmm_save(&save);
    aes_gcm_seal_out(gcm, nonce, aad, aad_size, plain, size, cipher, tag);
    xmm_load(&save);
}

int island_gcm_open_in(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                       const void *aad, uint64_t aad_size, const void *cipher, uint64_t size,
                       const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain)
{
    struct xmm_save save;
    xmm_save(&save);
    int r = aes_gcm_open_in(gcm, nonce, aad, aad_size, cipher, size, tag, plain);
    xmm_load(&save);
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

void island_cmac_last(const uint8_t key[static 16], const void *data, uint64_t size, const uint8_t mac[static 16],
                      uint8_t ret_last[static 16])
{
    struct xmm_save save;
    xmm_save(&save);
    aes_use_ni(true);
    aes_cmac_last(key, data, size, mac, ret_last);
    xmm_load(&save);
}

/* --- BearSSL
 * ---------------------------------------------------------------------------------------- */

/*
 * Debian builds it for ordinary programs: it uses SSE registers (legacy encodings:
 * check_islands.py) and compares a canary at %fs:0x28. So FS points at the thread block meanwhile,
 * whose canary stands at just that offset. What comes in between does no harm: stage 1 leaves
 * library OS code where it is, an AEX saves FS and ERESUME puts it back, and there is no OCALL in
 * here.
 */
static_assert(THREAD_CANARY == 0x28, "the canary of foreign objects");

/* What _FORTIFY_SOURCE makes of memcpy in it. */
void *__memcpy_chk(void *restrict dst, const void *restrict src, size_t size, size_t room);
void *__memcpy_chk(void *restrict dst, const void *restrict src, size_t size, size_t room)
{
    ASSERT(size <= room);
    return memcpy(dst, src, size);
}

static __attribute__((noinline)) void x25519(uint8_t point[static X25519_SIZE],
                                             const uint8_t scalar[static X25519_SIZE])
{
    (void)br_ec_c25519_m31.mul(point, X25519_SIZE, scalar, X25519_SIZE, BR_EC_curve25519);
}

/* What x25519() and what it calls took of the stack: its locals, spilled words. */
#define STACK_USED 3072
static __attribute__((noinline)) void wipe_stack(void)
{
    uint8_t bytes[STACK_USED];
    bytes_wipe(bytes, sizeof(bytes));
}

void island_x25519(const uint8_t scalar[static X25519_SIZE], const uint8_t *point,
                   uint8_t ret[static X25519_SIZE])
{
    uint8_t at[X25519_SIZE] = { 9 };
    if (point)
        memcpy(at, point, sizeof(at));

    struct xmm_save save;
    uint64_t fs_base = cpu_fs_base();
    xmm_save(&save);
    cpu_set_fs_base(current()->self);
    x25519(at, scalar);
    wipe_stack();
    cpu_set_fs_base(fs_base);
    xmm_load(&save);

    memcpy(ret, at, sizeof(at));
    bytes_wipe(at, sizeof(at));
}
