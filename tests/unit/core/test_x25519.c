/* X25519: the RFC's vectors, OpenSSL and BearSSL as oracles, points of small order, what is left on the stack. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <bearssl_ec.h>
#include <openssl/evp.h>

#include "core/bytes.h"
#include "core/x25519.h"

static void unhex(const char *text, uint8_t ret[static 32])
{
    assert_int_equal(strlen(text), 64);
    for (size_t i = 0; i < 32; i++) {
        unsigned byte;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        ret[i] = (uint8_t)byte;
    }
}

/* RFC 7748, 5.2 and 6.1. */
static void test_published(void **state UNUSED)
{
    static const struct {
        const char *name, *scalar, *point, *want; /* point NULL: public key */
    } cases[] = {
        { "5.2, first", "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
          "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
          "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552" },
        { "5.2, second", "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
          "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
          "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957" },
        { "6.1, Bob's key", "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
          NULL, "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f" },
        { "6.1, shared", "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
          "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
          "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t scalar[32], point[32], want[32], got[32];
        unhex(cases[i].scalar, scalar);
        unhex(cases[i].want, want);
        if (cases[i].point) {
            unhex(cases[i].point, point);
            assert_int_equal(x25519(scalar, point, got), 0);
        } else {
            x25519_public(scalar, got);
        }
        if (memcmp(got, want, 32) != 0)
            fail_msg("RFC 7748, %s", cases[i].name);
    }
}

/* 5.2: each result is the next scalar, and that the next point. A million takes a minute: once by hand. */
static void test_iterated(void **state UNUSED)
{
    static const struct {
        unsigned count;
        const char *want;
    } cases[] = {
        { 1, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079" },
        { 1000, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51" },
        { 1000000, "7c3911e0ab2586fd864497297e575e6f3bc601c0883c30df5f4dd2d24f665424" },
    };
    uint8_t k[32] = { 9 }, u[32] = { 9 }, r[32], want[32];
    unsigned done = 0;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (cases[i].count > 1000 && !getenv("X25519_MILLION"))
            break;
        for (; done < cases[i].count; done++) {
            assert_int_equal(x25519(k, u, r), 0);
            memcpy(u, k, 32);
            memcpy(k, r, 32);
        }
        unhex(cases[i].want, want);
        if (memcmp(k, want, 32) != 0)
            fail_msg("after %u", done);
    }
}

/* --- oracles ------------------------------------------------------------------------------------- */

/* False: it refuses, as a result of zeros is none. */
static bool openssl(const uint8_t scalar[32], const uint8_t point[32], uint8_t ret[32])
{
    EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, scalar, 32);
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, point, 32);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    size_t size = 32;
    assert_true(own && peer && ctx && EVP_PKEY_derive_init(ctx) == 1);
    bool fine = EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, ret, &size) == 1;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    return fine;
}

static void bearssl(const uint8_t scalar[32], const uint8_t point[32], uint8_t ret[32])
{
    memcpy(ret, point, 32);
    assert_true(br_ec_c25519_m31.mul(ret, 32, scalar, 32, BR_EC_curve25519));
}

static void compare(const char *name, size_t n, const uint8_t scalar[32], const uint8_t point[32])
{
    uint8_t got[32] = { 0x77 }, ssl[32] = { 0 }, bear[32];
    int r = x25519(scalar, point, got);
    bool fine = openssl(scalar, point, ssl);
    bearssl(scalar, point, bear);
    if ((r == 0) != fine || (fine ? memcmp(got, ssl, 32) != 0 || memcmp(got, bear, 32) != 0
                                  : r != -EINVAL || got[0] != 0x77 || !bytes_zero_ct(bear, 32)))
        fail_msg("%s %zu: %d", name, n, r);
}

static uint8_t next(void)
{
    static uint32_t x = 7;
    x = x * 1664525u + 1013904223u;
    return (uint8_t)(x >> 24);
}

static void fill(uint8_t ret[32])
{
    for (unsigned i = 0; i < 32; i++)
        ret[i] = next();
}

static void test_oracles(void **state UNUSED)
{
    uint8_t scalar[32], point[32], key[32], want[32], base[32] = { 9 };
    for (size_t i = 0; i < 300; i++) {
        fill(scalar);
        fill(point);
        compare("random", i, scalar, point);
        x25519_public(scalar, key);
        bearssl(scalar, base, want);
        assert_memory_equal(key, want, 32);
    }
    /* Limbs that are full, or empty but for one bit; points of p and above. */
    for (size_t i = 0; i < 256; i++) {
        fill(scalar);
        memset(point, 0, 32);
        point[i / 8] = (uint8_t)(1 << i % 8);
        compare("one bit", i, scalar, point);
        for (unsigned j = 0; j < 32; j++)
            point[j] ^= 0xff;
        compare("all but one bit", i, scalar, point);
        memset(point, 0xff, 32);
        point[0] = (uint8_t)i;
        point[31] = i % 2 ? 0xff : 0x7f;
        compare("close to p", i, scalar, point);
    }
    /* Scalars that are nothing but what clamping makes of them. */
    for (unsigned i = 0; i < 2; i++) {
        memset(scalar, i ? 0xff : 0, 32);
        for (size_t j = 0; j < 20; j++) {
            fill(point);
            compare("clamped", j, scalar, point);
        }
    }
}

static void test_small_order(void **state UNUSED)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", /* p - 1 */
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    uint8_t scalar[32], point[32], got[32];
    for (size_t i = 0; i < 2 * ARRAY_SIZE(points); i++) {
        unhex(points[i / 2], point);
        point[31] |= (uint8_t)(i % 2 << 7);
        for (unsigned j = 0; j < 10; j++) {
            fill(scalar);
            memset(got, 0x55, 32);
            if (x25519(scalar, point, got) != -EINVAL)
                fail_msg("%s", points[i / 2]);
            for (unsigned k = 0; k < 32; k++)
                assert_int_equal(got[k], 0x55); /* untouched */
            compare("small order", i, scalar, point);
        }
    }
}

/* --- the stack ----------------------------------------------------------------------------------- */

#define STACK_SIZE (256u << 10)
static uint8_t g_scalar[32], g_result[32], g_point[32] = { 9 };

static void *agree(void *as)
{
    if (as)
        x25519_public(g_scalar, g_result);
    else
        assert_int_equal(x25519(g_scalar, g_point, g_result), 0);
    return NULL;
}

/* Neither scalar, clamped or not, nor result are on the stack afterwards. */
static void test_stack(void **state UNUSED)
{
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__)
    skip(); /* other frames, of other sizes */
#endif
    uint8_t *stack =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(stack != MAP_FAILED);
    for (unsigned public = 0; public < 2; public ++) {
        pthread_attr_t attr;
        pthread_t thread;
        fill(g_scalar);
        memset(stack, 0, STACK_SIZE);
        assert_int_equal(pthread_attr_init(&attr), 0);
        assert_int_equal(pthread_attr_setstack(&attr, stack, STACK_SIZE), 0);
        assert_int_equal(pthread_create(&thread, &attr, agree, public ? &public : NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        pthread_attr_destroy(&attr);
        for (unsigned i = 4; i <= 24; i += 4) {
            if (memmem(stack, STACK_SIZE, g_scalar + i, 4))
                fail_msg("byte %u of the scalar is left", i);
            if (!public && memmem(stack, STACK_SIZE, g_result + i, 4))
                fail_msg("byte %u of the result is left", i);
        }
    }
    munmap(stack, STACK_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published), cmocka_unit_test(test_iterated),
        cmocka_unit_test(test_oracles),   cmocka_unit_test(test_small_order),
        cmocka_unit_test(test_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
