/* RSA-3072 with quotients against OpenSSL: random keys and messages, and each way to be wrong. */
#include "core/rsa3072.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#define KEYS     2
#define MESSAGES 20

/* One signature with its quotients, all little-endian. */
struct sample {
    uint8_t n[RSA3072_SIZE], s[RSA3072_SIZE], q1[RSA3072_SIZE], q2[RSA3072_SIZE];
    uint8_t digest[SHA256_SIZE];
};

static EVP_PKEY *new_key(void)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *e = BN_new();
    assert_true(BN_set_word(e, 3));
    assert_true(EVP_PKEY_keygen_init(ctx) > 0);
    assert_true(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 3072) > 0);
    assert_true(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) > 0);
    assert_true(EVP_PKEY_generate(ctx, &key) > 0);
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* q1 and q2 of x->s and x->n by OpenSSL's division. */
static void divide(struct sample *x)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *n = BN_lebin2bn(x->n, RSA3072_SIZE, NULL), *s = BN_lebin2bn(x->s, RSA3072_SIZE, NULL);
    BIGNUM *q = BN_new(), *rest = BN_new(), *product = BN_new();
    assert_true(BN_sqr(product, s, ctx) && BN_div(q, rest, product, n, ctx));
    assert_int_equal(BN_bn2lebinpad(q, x->q1, RSA3072_SIZE), RSA3072_SIZE);
    assert_true(BN_mul(product, rest, s, ctx) && BN_div(q, rest, product, n, ctx));
    assert_int_equal(BN_bn2lebinpad(q, x->q2, RSA3072_SIZE), RSA3072_SIZE);
    BN_free(n);
    BN_free(s);
    BN_free(q);
    BN_free(rest);
    BN_free(product);
    BN_CTX_free(ctx);
}

/* A signature over message with this digest algorithm (of which only SHA-256 is right). */
static void sign(EVP_PKEY *key, const EVP_MD *md, const void *message, size_t size,
                 struct sample *ret)
{
    uint8_t big[RSA3072_SIZE];
    size_t got = sizeof(big);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_true(EVP_DigestSignInit(ctx, NULL, md, NULL, key) > 0);
    assert_true(EVP_DigestSign(ctx, big, &got, message, size) > 0);
    EVP_MD_CTX_free(ctx);
    for (size_t i = 0; i < RSA3072_SIZE; i++)
        ret->s[i] = big[RSA3072_SIZE - 1 - i];
    BIGNUM *n = NULL;
    assert_true(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n));
    assert_int_equal(BN_bn2lebinpad(n, ret->n, RSA3072_SIZE), RSA3072_SIZE);
    BN_free(n);
    sha256(message, size, ret->digest);
    divide(ret);
}

static enum rsa3072_result verify(const struct sample *x)
{
    return rsa3072_verify(x->n, x->s, x->q1, x->q2, x->digest);
}

static void test_openssl_agrees(void **state UNUSED)
{
    for (int k = 0; k < KEYS; k++) {
        EVP_PKEY *key = new_key();
        for (int i = 0; i < MESSAGES; i++) {
            uint8_t message[64];
            struct sample x;
            for (size_t b = 0; b < sizeof(message); b++)
                message[b] = (uint8_t)(rand() >> 7);
            sign(key, EVP_sha256(), message, (size_t)i, &x);
            assert_int_equal(verify(&x), RSA3072_OK);

            /* No single bit may be another, wherever it stands. */
            struct sample y = x;
            unsigned bit = (unsigned)rand() % (8 * RSA3072_SIZE);
            y.s[bit / 8] = (uint8_t)(y.s[bit / 8] ^ 1u << bit % 8);
            assert_int_not_equal(verify(&y), RSA3072_OK);
            y = x;
            y.n[bit / 8] = (uint8_t)(y.n[bit / 8] ^ 1u << bit % 8);
            assert_int_not_equal(verify(&y), RSA3072_OK);
            y = x;
            y.q1[bit / 8] = (uint8_t)(y.q1[bit / 8] ^ 1u << bit % 8);
            assert_int_equal(verify(&y), RSA3072_Q1);
            y = x;
            y.q2[bit / 8] = (uint8_t)(y.q2[bit / 8] ^ 1u << bit % 8);
            assert_int_equal(verify(&y), RSA3072_Q2);
            y = x;
            y.digest[bit / 8 % SHA256_SIZE] ^= 1;
            assert_int_equal(verify(&y), RSA3072_MISMATCH);
        }
        EVP_PKEY_free(key);
    }
}

static void add_one(uint8_t number[RSA3072_SIZE])
{
    for (size_t i = 0; i < RSA3072_SIZE && ++number[i] == 0; i++)
        ;
}

static void subtract_one(uint8_t number[RSA3072_SIZE])
{
    for (size_t i = 0; i < RSA3072_SIZE && number[i]-- == 0; i++)
        ;
}

static void q1_more(struct sample *x)
{
    add_one(x->q1);
}
static void q1_less(struct sample *x)
{
    subtract_one(x->q1);
}
static void q2_more(struct sample *x)
{
    add_one(x->q2);
}
static void q2_less(struct sample *x)
{
    subtract_one(x->q2);
}
static void q1_max(struct sample *x)
{
    memset(x->q1, 0xff, RSA3072_SIZE);
}
static void q2_zero(struct sample *x)
{
    memset(x->q2, 0, RSA3072_SIZE);
}
static void even(struct sample *x)
{
    x->n[0] = (uint8_t)(x->n[0] & ~1u);
}
static void short_modulus(struct sample *x)
{
    x->n[RSA3072_SIZE - 1] &= 0x7f;
}
static void no_modulus(struct sample *x)
{
    memset(x->n, 0, RSA3072_SIZE);
}
static void signature_is_modulus(struct sample *x)
{
    memcpy(x->s, x->n, RSA3072_SIZE);
}
static void signature_max(struct sample *x)
{
    memset(x->s, 0xff, RSA3072_SIZE);
}

/* Powers of 0 and 1, and of n-1, with right quotients: numbers, but no signatures. */
static void signature_zero(struct sample *x)
{
    memset(x->s, 0, RSA3072_SIZE);
    divide(x);
}

static void signature_one(struct sample *x)
{
    signature_zero(x);
    x->s[0] = 1;
    divide(x);
}

static void signature_minus_one(struct sample *x)
{
    memcpy(x->s, x->n, RSA3072_SIZE);
    subtract_one(x->s);
    divide(x);
}

static void other_signature(struct sample *x)
{
    subtract_one(x->s);
    divide(x);
}

static const struct {
    const char *name;
    void (*change)(struct sample *x);
    enum rsa3072_result want;
} cases[] = {
    { "Q1 + 1", q1_more, RSA3072_Q1 },
    { "Q1 - 1", q1_less, RSA3072_Q1 },
    { "Q1 all ones", q1_max, RSA3072_Q1 },
    { "Q2 + 1", q2_more, RSA3072_Q2 },
    { "Q2 - 1", q2_less, RSA3072_Q2 },
    { "Q2 zero", q2_zero, RSA3072_Q2 },
    { "even modulus", even, RSA3072_MODULUS },
    { "modulus of 3071 bits", short_modulus, RSA3072_MODULUS },
    { "modulus zero", no_modulus, RSA3072_MODULUS },
    { "signature = modulus", signature_is_modulus, RSA3072_SIGNATURE },
    { "signature all ones", signature_max, RSA3072_SIGNATURE },
    { "signature 0", signature_zero, RSA3072_MISMATCH },
    { "signature 1", signature_one, RSA3072_MISMATCH },
    { "signature n - 1", signature_minus_one, RSA3072_MISMATCH },
    { "signature - 1, right quotients", other_signature, RSA3072_MISMATCH },
};

static void test_refuses(void **state UNUSED)
{
    EVP_PKEY *key = new_key();
    struct sample good;
    sign(key, EVP_sha256(), "message", 7, &good);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sample x = good;
        cases[i].change(&x);
        enum rsa3072_result got = verify(&x);
        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].name, (int)got, (int)cases[i].want);
    }

    /* Right padding, another algorithm's DigestInfo. */
    struct sample x;
    sign(key, EVP_sha512(), "message", 7, &x);
    assert_int_equal(verify(&x), RSA3072_MISMATCH);
    EVP_PKEY_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openssl_agrees),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
