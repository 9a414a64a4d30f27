/* HMAC and HKDF with SHA-256: the RFCs' vectors, BearSSL as oracle. */
#include "core/hkdf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bearssl_kdf.h>
#include <cmocka.h>

static size_t unhex(const char *text, uint8_t *ret)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        ret[i] = (uint8_t)byte;
    }
    return n;
}

/* RFC 5869, appendix A, test cases 1 to 3. */
static const struct {
    const char *name, *secret, *salt, *info, *want;
} g_vectors[] = {
    { "1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
      "f0f1f2f3f4f5f6f7f8f9",
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" },
    { "2",
      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d"
      "2e2f"
      "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
      "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d"
      "8e8f"
      "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
      "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdd"
      "dedf"
      "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e59"
      "0e09"
      "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87" },
    { "3", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
      "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8" },
};

static void test_vectors(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(g_vectors); i++) {
        uint8_t secret[80], salt[80], info[80], want[82], got[82];
        size_t secret_size = unhex(g_vectors[i].secret, secret);
        size_t salt_size = unhex(g_vectors[i].salt, salt);
        size_t info_size = unhex(g_vectors[i].info, info);
        size_t size = unhex(g_vectors[i].want, want);
        hkdf_sha256(salt, salt_size, secret, secret_size, info, info_size, got, size);
        if (memcmp(got, want, size) != 0)
            fail_msg("RFC 5869, test case %s", g_vectors[i].name);
    }
}

/* RFC 4231, test cases 2 and 6 (a key longer than a block). */
static void test_hmac(void **state UNUSED)
{
    uint8_t got[32], want[32], key[131];
    unhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", want);
    hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, got);
    assert_memory_equal(got, want, 32);
    memset(key, 0xaa, sizeof(key));
    unhex("60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", want);
    hmac_sha256(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54,
                got);
    assert_memory_equal(got, want, 32);
}

static void test_oracle(void **state UNUSED)
{
    uint8_t bytes[128], got[300], want[300];
    srand(3);
    for (size_t size = 1; size <= sizeof(got); size += 7) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)rand();
        size_t n = size % sizeof(bytes);
        br_hkdf_context oracle;
        br_hkdf_init(&oracle, &br_sha256_vtable, bytes, n);
        br_hkdf_inject(&oracle, bytes, sizeof(bytes));
        br_hkdf_flip(&oracle);
        br_hkdf_produce(&oracle, bytes, n, want, size);
        hkdf_sha256(bytes, n, bytes, sizeof(bytes), bytes, n, got, size);
        if (memcmp(got, want, size) != 0)
            fail_msg("%zu bytes", size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_oracle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
