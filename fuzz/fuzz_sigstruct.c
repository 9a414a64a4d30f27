/*
 * sigstruct_check on any bytes. Whatever it accepts must hold under OpenSSL's own verification,
 * with the modulus taken as a public key, and its Q1 and Q2 must do what EINIT does with them.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "signer/sigstruct.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition)
{
    if (!condition)
        abort();
}

static EVP_PKEY *public_key(const struct sgx_sigstruct *s)
{
    BIGNUM *n = BN_lebin2bn(s->modulus, sizeof(s->modulus), NULL);
    BIGNUM *e = BN_new();
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *key = NULL;
    must(n && e && build && ctx && BN_set_word(e, s->exponent));
    must(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n));
    must(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e));
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    must(params && EVP_PKEY_fromdata_init(ctx) > 0);
    must(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) > 0);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    EVP_PKEY_CTX_free(ctx);
    BN_free(n);
    BN_free(e);
    return key;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sgx_sigstruct s = { 0 };
    struct err err = { 0 };
    memcpy(&s, data, size < sizeof(s) ? size : sizeof(s));
    int profile = sigstruct_check_profile(&s, &err);
    must(profile == 0 || err.text[0]);
    if (sigstruct_check(&s, &err) < 0) {
        must(err.text[0]);
        return 0;
    }

    uint8_t signature[SGX_MODULUS_SIZE];
    for (size_t i = 0; i < sizeof(signature); i++)
        signature[i] = s.signature[sizeof(signature) - 1 - i];
    EVP_PKEY *key = public_key(&s);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    must(md && EVP_DigestVerifyInit(md, NULL, EVP_sha256(), NULL, key) > 0);
    must(EVP_DigestVerifyUpdate(md, &s, SGX_SIG_SIGNED1_SIZE) > 0);
    must(EVP_DigestVerifyUpdate(md, (const uint8_t *)&s + SGX_SIG_SIGNED2_AT,
                                SGX_SIG_SIGNED2_SIZE) > 0);
    must(EVP_DigestVerifyFinal(md, signature, sizeof(signature)) == 1);
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);

    /* EINIT: 0 <= s^2 - q1*n < n, and 0 <= (s^2 - q1*n)*s - q2*n < n. */
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *n = BN_lebin2bn(s.modulus, sizeof(s.modulus), NULL);
    BIGNUM *sig = BN_lebin2bn(s.signature, sizeof(s.signature), NULL);
    BIGNUM *q1 = BN_lebin2bn(s.q1, sizeof(s.q1), NULL);
    BIGNUM *q2 = BN_lebin2bn(s.q2, sizeof(s.q2), NULL);
    BIGNUM *rest = BN_new();
    must(BN_sqr(rest, sig, ctx) && BN_mul(q1, q1, n, ctx) && BN_sub(rest, rest, q1));
    must(!BN_is_negative(rest) && BN_cmp(rest, n) < 0);
    must(BN_mul(rest, rest, sig, ctx) && BN_mul(q2, q2, n, ctx) && BN_sub(rest, rest, q2));
    must(!BN_is_negative(rest) && BN_cmp(rest, n) < 0);
    BN_free(n);
    BN_free(sig);
    BN_free(q1);
    BN_free(q2);
    BN_free(rest);
    BN_CTX_free(ctx);
    return 0;
}
