/* Making a SIGSTRUCT. Apart from sigstruct.c, which checks them, because this half needs OpenSSL:
 * what only runs enclaves is linked without it. */
#include "signer/sigstruct.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bn.h>

/* The signed message: two parts of the structure, one after the other. */
struct message {
    uint8_t bytes[SGX_SIG_SIGNED1_SIZE + SGX_SIG_SIGNED2_SIZE];
};

static struct message signed_part(const struct sgx_sigstruct *s)
{
    struct message m;
    memcpy(m.bytes, s, SGX_SIG_SIGNED1_SIZE);
    memcpy(m.bytes + SGX_SIG_SIGNED1_SIZE, (const uint8_t *)s + SGX_SIG_SIGNED2_AT,
           SGX_SIG_SIGNED2_SIZE);
    return m;
}

static uint32_t bcd(unsigned value)
{
    uint32_t result = 0;
    for (unsigned shift = 0; value > 0; value /= 10, shift += 4)
        result |= (value % 10) << shift;
    return result;
}

int sigstruct_date(uint32_t *ret_bcd, struct err *err)
{
    time_t now = time(NULL);
    const char *text = getenv("SOURCE_DATE_EPOCH");
    if (text) {
        char *end;
        errno = 0;
        long long value = strtoll(text, &end, 10);
        if (*text < '0' || *text > '9' || *end || errno || value > 253402300799LL)
            return err_set(err, -EINVAL, "SOURCE_DATE_EPOCH='%s': seconds since 1970 are wanted",
                           text);
        now = (time_t)value;
    }
    struct tm tm;
    if (!gmtime_r(&now, &tm))
        return err_set(err, -EINVAL, "no calendar day for the time %lld", (long long)now);
    *ret_bcd = bcd((unsigned)(tm.tm_year + 1900) * 10000 + (unsigned)(tm.tm_mon + 1) * 100 +
                   (unsigned)tm.tm_mday);
    return 0;
}

/* Q1 = S^2 / N, Q2 = S * (S^2 mod N) / N (rounded down), from S and N that are there. */
static int add_quotients(struct sgx_sigstruct *s)
{
    BN_CTX *ctx = BN_CTX_new();
    if (!ctx)
        return -ENOMEM;
    BN_CTX_start(ctx);
    BIGNUM *n = BN_CTX_get(ctx), *signature = BN_CTX_get(ctx), *product = BN_CTX_get(ctx);
    BIGNUM *rest = BN_CTX_get(ctx), *q1 = BN_CTX_get(ctx), *q2 = BN_CTX_get(ctx);
    bool done = q2 && BN_lebin2bn(s->modulus, sizeof(s->modulus), n) &&
                BN_lebin2bn(s->signature, sizeof(s->signature), signature) &&
                BN_sqr(product, signature, ctx) && BN_div(q1, rest, product, n, ctx) &&
                BN_mul(product, rest, signature, ctx) && BN_div(q2, NULL, product, n, ctx) &&
                BN_bn2lebinpad(q1, s->q1, sizeof(s->q1)) >= 0 &&
                BN_bn2lebinpad(q2, s->q2, sizeof(s->q2)) >= 0;
    BN_CTX_end(ctx);
    BN_CTX_free(ctx);
    return done ? 0 : -ENOMEM;
}

int sigstruct_build(const struct sigstruct_params *params, const struct signing_key *key,
                    struct sgx_sigstruct *ret, struct err *err)
{
    struct sgx_sigstruct s = {
        .date = params->date,
        .sw_defined = params->sw_defined,
        .exponent = SGX_SIG_EXPONENT,
        .misc_select = params->misc_select,
        .misc_mask = params->misc_mask,
        .attributes = params->attributes,
        .attributes_mask = params->attributes_mask,
        .isv_prod_id = params->isv_prod_id,
        .isv_svn = params->isv_svn,
    };
    static const uint8_t header1[16] = SGX_SIG_HEADER1, header2[16] = SGX_SIG_HEADER2;
    memcpy(s.header, header1, sizeof(s.header));
    memcpy(s.header2, header2, sizeof(s.header2));
    memcpy(s.enclave_hash, params->enclave_hash, sizeof(s.enclave_hash));
    keys_modulus(key, s.modulus);

    struct message m = signed_part(&s);
    int r = keys_sign(key, m.bytes, sizeof(m.bytes), s.signature, err);
    if (r < 0)
        return r;

    if (add_quotients(&s) < 0)
        return err_set(err, -ENOMEM, "signing: out of memory");

    /* Also proves that the private key belongs to the modulus and that nothing went wrong. */
    if (sigstruct_check(&s, err) < 0)
        return err_wrap(err, "signing");
    *ret = s;
    return 0;
}
