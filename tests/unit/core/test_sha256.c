/* SHA-256: published vectors and OpenSSL as the oracle, both backends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/sha.h>

#include "core/bytes.h"
#include "core/cpu.h"
#include "core/sha256.h"

static const char *g_backend;

static void check(const char *name, const uint8_t got[static SHA256_SIZE], const char *want)
{
    char text[2 * SHA256_SIZE + 1];
    for (size_t i = 0; i < SHA256_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", got[i]);
    if (strcmp(text, want) != 0)
        fail_msg("%s, %s: got %s, want %s", g_backend, name, text, want);
}

/* FIPS 180-4 examples; NIST CAVP SHA256ShortMsg. */
static const struct {
    const char *name;
    const char *message;
    size_t size;
    const char *want;
} vectors[] = {
    { "empty", "", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
    { "abc", "abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
    { "two blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    { "896 bits",
      "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmno"
      "pqr"
      "smnopqrstnopqrstu",
      112, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1" },
    { "CAVP 8 bits", "\xd3", 1,
      "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1" },
    { "CAVP 16 bits", "\x11\xaf", 2,
      "5ca7133fa735326081558ac312c620eeca9970d1e70a4b95533d956f072d1f98" },
};

static void test_published(void **state UNUSED)
{
    uint8_t got[SHA256_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
        sha256(vectors[i].message, vectors[i].size, got);
        check(vectors[i].name, got, vectors[i].want);
    }
}

static void test_million_a(void **state UNUSED)
{
    uint8_t piece[1000], got[SHA256_SIZE];
    memset(piece, 'a', sizeof(piece));
    struct sha256 h;
    sha256_init(&h);
    for (int i = 0; i < 1000; i++)
        sha256_update(&h, piece, sizeof(piece));
    sha256_final(&h, got);
    check("million a", got, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void fill(uint8_t *data, size_t size)
{
    uint32_t x = 1;
    for (size_t i = 0; i < size; i++) {
        x = x * 1664525u + 1013904223u;
        data[i] = (uint8_t)(x >> 24);
    }
}

static void test_all_lengths(void **state UNUSED)
{
    uint8_t data[302], got[SHA256_SIZE], want[SHA256_SIZE];
    fill(data, sizeof(data));
    for (size_t size = 0; size <= 300; size++) {
        /* data + 1: no alignment is asked for. */
        sha256(data + 1, size, got);
        SHA256(data + 1, size, want);
        if (memcmp(got, want, sizeof(got)) != 0)
            fail_msg("%s: %zu bytes differ from OpenSSL's", g_backend, size);
    }
}

static void test_long(void **state UNUSED)
{
    static const size_t sizes[] = { 4096, 65535, 65536, 65537, 1000003 };
    uint8_t *data = malloc(1000003);
    assert_non_null(data);
    fill(data, 1000003);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint8_t got[SHA256_SIZE], want[SHA256_SIZE];
        sha256(data, sizes[i], got);
        SHA256(data, sizes[i], want);
        if (memcmp(got, want, sizeof(got)) != 0)
            fail_msg("%s: %zu bytes differ from OpenSSL's", g_backend, sizes[i]);
    }
    free(data);
}

/* Every cut of a message in two, and a byte at a time. */
static void test_pieces(void **state UNUSED)
{
    uint8_t data[200], got[SHA256_SIZE], want[SHA256_SIZE];
    fill(data, sizeof(data));
    SHA256(data, sizeof(data), want);
    struct sha256 h;
    for (size_t cut = 0; cut <= sizeof(data); cut++) {
        sha256_init(&h);
        sha256_update(&h, data, cut);
        sha256_update(&h, data + cut, sizeof(data) - cut);
        sha256_final(&h, got);
        if (memcmp(got, want, sizeof(got)) != 0)
            fail_msg("%s: cut at %zu", g_backend, cut);
    }
    sha256_init(&h);
    for (size_t i = 0; i < sizeof(data); i++)
        sha256_update(&h, data + i, 1);
    sha256_update(&h, NULL, 0);
    sha256_final(&h, got);
    assert_memory_equal(got, want, sizeof(got));
    assert_true(bytes_zero_ct(&h, sizeof(h)));
}

/* Two at a time, at every offset in a block and also where the two are not in step. */
static void test_two(void **state UNUSED)
{
    static uint8_t data[2][700];
    for (size_t i = 0; i < sizeof(data[0]); i++) {
        data[0][i] = (uint8_t)(i * 7);
        data[1][i] = (uint8_t)(i * 13 + 1);
    }
    for (size_t before = 0; before < 130; before++) {
        for (size_t ahead = 0; ahead < 2; ahead++) {
            struct sha256 h[2];
            uint8_t got[2][SHA256_SIZE], want[2][SHA256_SIZE];
            size_t size = sizeof(data[0]) - before - ahead;
            for (size_t i = 0; i < 2; i++) {
                sha256_init(&h[i]);
                sha256_update(&h[i], data[i], before + (i ? ahead : 0));
            }
            sha256_update2(&h[0], data[0] + before, &h[1], data[1] + before + ahead, size);
            sha256_final(&h[0], got[0]);
            sha256_final(&h[1], got[1]);
            sha256(data[0], before + size, want[0]);
            sha256(data[1], before + ahead + size, want[1]);
            assert_memory_equal(got, want, sizeof(got));
        }
    }
}

static void test_fork(void **state UNUSED)
{
    uint8_t data[100], got[SHA256_SIZE], want[SHA256_SIZE];
    fill(data, sizeof(data));
    struct sha256 h, copy;
    sha256_init(&h);
    sha256_update(&h, data, 70);
    copy = h;
    sha256_update(&h, "other", 5);
    sha256_update(&copy, data + 70, 30);
    sha256_final(&copy, got);
    SHA256(data, sizeof(data), want);
    assert_memory_equal(got, want, sizeof(got));
}

static int use_portable(void **state UNUSED)
{
    g_backend = "portable";
    sha256_use_ni(false);
    return 0;
}

static int use_ni(void **state UNUSED)
{
    g_backend = "SHA-NI";
    sha256_use_ni(true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),   cmocka_unit_test(test_million_a),
        cmocka_unit_test(test_all_lengths), cmocka_unit_test(test_long),
        cmocka_unit_test(test_pieces),      cmocka_unit_test(test_two),
        cmocka_unit_test(test_fork),
    };
    if (sha256_uses_ni() != cpu_has_sha_ni()) {
        fprintf(stderr, "the backend was not chosen by CPUID\n");
        return 1;
    }
    int failed = cmocka_run_group_tests_name("portable", tests, use_portable, NULL);
    if (cpu_has_sha_ni())
        failed += cmocka_run_group_tests_name("SHA-NI", tests, use_ni, NULL);
    else
        fprintf(stderr, "no SHA instructions here: that backend was not tried\n");
    return failed;
}
