/* AES-128-CMAC: FIPS 197 and SP 800-38B vectors, OpenSSL as the oracle, both backends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "core/aes_cmac.h"
#include "core/bytes.h"
#include "core/cpu.h"

static const char *g_backend;

/* FIPS 197, appendix C.1. */
static void test_cipher(void **state UNUSED)
{
    uint8_t key[16], block[16];
    for (unsigned i = 0; i < 16; i++) {
        key[i] = (uint8_t)i;
        block[i] = (uint8_t)(0x11 * i);
    }
    static const uint8_t want[16] = { 0x69, 0xc4, 0xe0, 0xd8, 0x6a, 0x7b, 0x04, 0x30,
                                      0xd8, 0xcd, 0xb7, 0x80, 0x70, 0xb4, 0xc5, 0x5a };
    struct aes128 aes;
    aes128_init(&aes, key);
    aes128_encrypt(&aes, block, block);
    assert_memory_equal(block, want, sizeof(want));
    aes128_decrypt(&aes, block, block);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(block[i], 0x11 * i);
}

/* Every byte through both S-boxes, at every place. */
static void test_reverse(void **state UNUSED)
{
    uint8_t key[16] = { 0x5a }, block[16], back[16];
    struct aes128 aes;
    for (unsigned value = 0; value < 256; value++) {
        for (unsigned i = 0; i < 16; i++)
            block[i] = (uint8_t)(value + 16 * i);
        key[1] = (uint8_t)value;
        aes128_init(&aes, key);
        aes128_encrypt(&aes, block, back);
        assert_memory_not_equal(block, back, 16);
        aes128_decrypt(&aes, back, back);
        if (memcmp(block, back, 16) != 0)
            fail_msg("%s: %u does not come back", g_backend, value);
    }
}

/* FIPS 197, appendix A.1: the last round key. */
static void test_key_expansion(void **state UNUSED)
{
    static const uint8_t key[16] = { 0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                     0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c };
    static const uint8_t want[16] = { 0xd0, 0x14, 0xf9, 0xa8, 0xc9, 0xee, 0x25, 0x89,
                                      0xe1, 0x3f, 0x0c, 0xc8, 0xb6, 0x63, 0x0c, 0xa6 };
    struct aes128 aes;
    aes128_init(&aes, key);
    assert_memory_equal(aes.round_keys[AES128_ROUNDS], want, sizeof(want));
}

/* SP 800-38B, appendix D.1. */
static void test_published(void **state UNUSED)
{
    static const uint8_t key[16] = { 0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6,
                                     0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c };
    static const uint8_t message[64] = { 0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d,
                                         0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a, 0xae, 0x2d, 0x8a, 0x57,
                                         0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf,
                                         0x8e, 0x51, 0x30, 0xc8, 0x1c, 0x46, 0xa3, 0x5c, 0xe4, 0x11,
                                         0xe5, 0xfb, 0xc1, 0x19, 0x1a, 0x0a, 0x52, 0xef, 0xf6, 0x9f,
                                         0x24, 0x45, 0xdf, 0x4f, 0x9b, 0x17, 0xad, 0x2b, 0x41, 0x7b,
                                         0xe6, 0x6c, 0x37, 0x10 };
    static const struct {
        size_t size;
        const char *want;
    } cases[] = {
        { 0, "bb1d6929e95937287fa37d129b756746" },
        { 16, "070a16b46b4d4144f79bdd9dd04a287c" },
        { 40, "dfa66747de9ae63030ca32611497c827" },
        { 64, "51f0bebf7e3b9d92fc49741779363cfe" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t mac[16];
        char got[33];
        aes_cmac(key, message, cases[i].size, mac);
        for (size_t j = 0; j < sizeof(mac); j++)
            snprintf(got + 2 * j, 3, "%02x", mac[j]);
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s, %zu bytes: got %s, want %s", g_backend, cases[i].size, got,
                     cases[i].want);
    }
}

static void test_openssl(void **state UNUSED)
{
    EVP_MAC *cmac = EVP_MAC_fetch(NULL, "CMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(cmac);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string("cipher", (char[]){ "AES-128-CBC" }, 0),
        OSSL_PARAM_construct_end(),
    };
    uint8_t key[16], data[200];
    uint32_t x = 7;
    for (size_t size = 0; size <= sizeof(data); size++) {
        for (size_t i = 0; i < sizeof(key) + size; i++) {
            x = x * 1664525u + 1013904223u;
            *(i < sizeof(key) ? &key[i] : &data[i - sizeof(key)]) = (uint8_t)(x >> 24);
        }
        uint8_t got[16], want[16];
        size_t want_size = 0;
        assert_true(EVP_MAC_init(ctx, key, sizeof(key), params));
        assert_true(EVP_MAC_update(ctx, data, size));
        assert_true(EVP_MAC_final(ctx, want, &want_size, sizeof(want)));
        assert_int_equal(want_size, sizeof(want));
        aes_cmac(key, data, size, got);
        if (memcmp(got, want, sizeof(got)) != 0)
            fail_msg("%s: %zu bytes differ from OpenSSL's", g_backend, size);
    }
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(cmac);
}

/* What the last block was, from the MAC; and that nothing but key, data and MAC make it so. */
static void test_last(void **state UNUSED)
{
    uint8_t key[16], data[400], mac[16], last[16];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 31 + 7);
    memcpy(key, data + 50, sizeof(key));
    for (size_t size = 0; size + 16 <= sizeof(data); size += 16) {
        aes_cmac(key, data, size + 16, mac);
        aes_cmac_last(key, data, size, mac, last);
        if (memcmp(last, data + size, sizeof(last)) != 0)
            fail_msg("%s: after %zu bytes", g_backend, size);
        uint8_t *const changed[] = { key, mac, data };
        for (size_t i = 0; i < (size ? 3 : 2); i++) {
            changed[i][3] ^= 4;
            aes_cmac_last(key, data, size, mac, last);
            changed[i][3] ^= 4;
            if (memcmp(last, data + size, sizeof(last)) == 0)
                fail_msg("%s: after %zu bytes, %zu does not count", g_backend, size, i);
        }
    }
}

static int use_portable(void **state UNUSED)
{
    g_backend = "portable";
    aes_use_ni(false);
    return 0;
}

static int use_ni(void **state UNUSED)
{
    g_backend = "AES-NI";
    aes_use_ni(true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cipher),    cmocka_unit_test(test_key_expansion),
        cmocka_unit_test(test_published), cmocka_unit_test(test_openssl),
        cmocka_unit_test(test_reverse),   cmocka_unit_test(test_last),
    };
    if (aes_uses_ni() != cpu_has_aes_ni()) {
        fprintf(stderr, "the backend was not chosen by CPUID\n");
        return 1;
    }
    int failed = cmocka_run_group_tests_name("portable", tests, use_portable, NULL);
    if (cpu_has_aes_ni())
        failed += cmocka_run_group_tests_name("AES-NI", tests, use_ni, NULL);
    else
        fprintf(stderr, "no AES instructions here: that backend was not tried\n");
    return failed;
}
