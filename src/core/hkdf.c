#include "core/hkdf.h"

#include "core/bytes.h"

struct hmac {
    struct sha256 inner;
    uint8_t outer_key[SHA256_BLOCK_SIZE];
};

static void hmac_begin(struct hmac *h, const void *key, size_t key_size)
{
    uint8_t block[SHA256_BLOCK_SIZE] = { 0 };
    if (key_size > sizeof(block))
        sha256(key, key_size, block);
    else if (key_size)
        __builtin_memcpy(block, key, key_size);
    for (size_t i = 0; i < sizeof(block); i++) {
        h->outer_key[i] = block[i] ^ 0x5c;
        block[i] ^= 0x36;
    }
    sha256_init(&h->inner);
    sha256_update(&h->inner, block, sizeof(block));
    bytes_wipe(block, sizeof(block));
}

/* Wipes h. */
static void hmac_end(struct hmac *h, uint8_t ret[static SHA256_SIZE])
{
    uint8_t digest[SHA256_SIZE];
    sha256_final(&h->inner, digest);
    sha256_init(&h->inner);
    sha256_update(&h->inner, h->outer_key, sizeof(h->outer_key));
    sha256_update(&h->inner, digest, sizeof(digest));
    sha256_final(&h->inner, ret);
    bytes_wipe(digest, sizeof(digest));
    bytes_wipe(h, sizeof(*h));
}

void hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
                 uint8_t ret[static SHA256_SIZE])
{
    struct hmac h;
    hmac_begin(&h, key, key_size);
    sha256_update(&h.inner, data, size);
    hmac_end(&h, ret);
}

void hkdf_sha256(const void *salt, size_t salt_size, const void *secret, size_t secret_size,
                 const void *info, size_t info_size, void *ret, size_t size)
{
    if (info_size > HKDF_INFO_MAX || size > HKDF_SIZE_MAX)
        __builtin_trap();
    uint8_t key[SHA256_SIZE], block[SHA256_SIZE];
    hmac_sha256(salt, salt_size, secret, secret_size, key);

    uint8_t *to = ret;
    for (uint8_t count = 1; size; count++) {
        struct hmac h;
        hmac_begin(&h, key, sizeof(key));
        if (count > 1)
            sha256_update(&h.inner, block, sizeof(block));
        sha256_update(&h.inner, info, info_size);
        sha256_update(&h.inner, &count, 1);
        hmac_end(&h, block);
        size_t n = size < sizeof(block) ? size : sizeof(block);
        __builtin_memcpy(to, block, n);
        to += n;
        size -= n;
    }
    bytes_wipe(key, sizeof(key));
    bytes_wipe(block, sizeof(block));
}
