#include "signer/sigstruct.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bn.h>

#include "core/bytes.h"
#include "core/sha256.h"
#include "util/fs.h"

static const uint8_t header1[16] = SGX_SIG_HEADER1;
static const uint8_t header2[16] = SGX_SIG_HEADER2;

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

void sigstruct_profile(struct sigstruct_params *ret, bool debug)
{
    *ret = (struct sigstruct_params){
        .misc_select = PROFILE_MISC_SELECT,
        .misc_mask = UINT32_MAX,
        .attributes = { .flags = SGX_ATTR_MODE64BIT | (debug ? SGX_ATTR_DEBUG : 0),
                        .xfrm = PROFILE_XFRM },
        .attributes_mask = { .flags = UINT64_MAX, .xfrm = PROFILE_XFRM_MASK },
    };
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

/* The numbers of the RSA check; freed together. */
struct numbers {
    BN_CTX *ctx;
    BIGNUM *n, *s, *q1, *q2, *square, *cube, *want;
};

static void numbers_done(struct numbers *x)
{
    BN_free(x->n);
    BN_free(x->s);
    BN_free(x->q1);
    BN_free(x->q2);
    BN_free(x->square);
    BN_free(x->cube);
    BN_free(x->want);
    BN_CTX_free(x->ctx);
}

static int numbers_init(struct numbers *x, const struct sgx_sigstruct *s)
{
    x->ctx = BN_CTX_new();
    x->n = BN_lebin2bn(s->modulus, sizeof(s->modulus), NULL);
    x->s = BN_lebin2bn(s->signature, sizeof(s->signature), NULL);
    x->q1 = BN_new();
    x->q2 = BN_new();
    x->square = BN_new();
    x->cube = BN_new();
    x->want = BN_new();
    return x->ctx && x->n && x->s && x->q1 && x->q2 && x->square && x->cube && x->want ? 0
                                                                                       : -ENOMEM;
}

/* q1 = s^2 / n; q2 = (s^3 - q1*s*n) / n = s*(s^2 mod n) / n; cube = s^3 mod n. The modulus is not
 * zero. */
static int quotients(struct numbers *x)
{
    BIGNUM *product = BN_new();
    int done = product && BN_sqr(product, x->s, x->ctx) &&
               BN_div(x->q1, x->square, product, x->n, x->ctx) &&
               BN_mul(product, x->square, x->s, x->ctx) &&
               BN_div(x->q2, x->cube, product, x->n, x->ctx);
    BN_free(product);
    return done ? 0 : -ENOMEM;
}

/* RFC 8017, 9.2: what the signature's cube must be: 00 01 ff.. 00, DigestInfo of SHA-256, hash. */
static void padded_hash(const struct sgx_sigstruct *s, uint8_t ret[static SGX_MODULUS_SIZE])
{
    static const uint8_t info[] = { 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                    0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20 };
    uint8_t *tail = ret + (SGX_MODULUS_SIZE - SHA256_SIZE - sizeof(info));
    memset(ret, 0xff, SGX_MODULUS_SIZE);
    ret[0] = 0x00;
    ret[1] = 0x01;
    tail[-1] = 0x00;
    memcpy(tail, info, sizeof(info));
    struct message m = signed_part(s);
    sha256(m.bytes, sizeof(m.bytes), tail + sizeof(info));
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
    memcpy(s.header, header1, sizeof(s.header));
    memcpy(s.header2, header2, sizeof(s.header2));
    memcpy(s.enclave_hash, params->enclave_hash, sizeof(s.enclave_hash));
    keys_modulus(key, s.modulus);

    struct message m = signed_part(&s);
    int r = keys_sign(key, m.bytes, sizeof(m.bytes), s.signature, err);
    if (r < 0)
        return r;

    CLEANUP(numbers_done) struct numbers x = { 0 };
    if (numbers_init(&x, &s) < 0 || quotients(&x) < 0 ||
        BN_bn2lebinpad(x.q1, s.q1, sizeof(s.q1)) < 0 ||
        BN_bn2lebinpad(x.q2, s.q2, sizeof(s.q2)) < 0)
        return err_set(err, -ENOMEM, "signing: out of memory");

    /* Also proves that the private key belongs to the modulus and that nothing went wrong. */
    if (sigstruct_check(&s, err) < 0)
        return err_wrap(err, "signing");
    *ret = s;
    return 0;
}

static bool date_valid(uint32_t date)
{
    for (uint32_t rest = date; rest > 0; rest >>= 4)
        if ((rest & 0xf) > 9)
            return false;
    uint32_t month = date >> 8 & 0xff;
    uint32_t day = date & 0xff;
    return month >= 0x01 && month <= 0x12 && day >= 0x01 && day <= 0x31;
}

static int refuse(struct err *err, const char *reason)
{
    return err_set(err, -EBADMSG, "%s", reason);
}

static int check_rsa(const struct sgx_sigstruct *s, struct err *err)
{
    CLEANUP(numbers_done) struct numbers x = { 0 };
    if (numbers_init(&x, s) < 0)
        return err_set(err, -ENOMEM, "checking a signature: out of memory");
    if (BN_num_bits(x.n) != 8 * (int)SGX_MODULUS_SIZE || !BN_is_odd(x.n))
        return refuse(err, "the modulus is no odd number of 3072 bits");
    if (BN_cmp(x.s, x.n) >= 0)
        return refuse(err, "the signature is not below the modulus");
    if (quotients(&x) < 0)
        return err_set(err, -ENOMEM, "checking a signature: out of memory");

    uint8_t block[SGX_MODULUS_SIZE];
    padded_hash(s, block);
    if (!BN_bin2bn(block, sizeof(block), x.want))
        return err_set(err, -ENOMEM, "checking a signature: out of memory");
    if (BN_cmp(x.cube, x.want) != 0)
        return refuse(err, "the signature does not fit the signed fields");

    if (!BN_lebin2bn(s->q1, sizeof(s->q1), x.want))
        return err_set(err, -ENOMEM, "checking a signature: out of memory");
    if (BN_cmp(x.q1, x.want) != 0)
        return refuse(err, "Q1 is wrong");
    if (!BN_lebin2bn(s->q2, sizeof(s->q2), x.want))
        return err_set(err, -ENOMEM, "checking a signature: out of memory");
    if (BN_cmp(x.q2, x.want) != 0)
        return refuse(err, "Q2 is wrong");
    return 0;
}

int sigstruct_check(const struct sgx_sigstruct *s, struct err *err)
{
    if (memcmp(s->header, header1, sizeof(header1)) != 0)
        return refuse(err, "the first header is not a SIGSTRUCT's");
    if (memcmp(s->header2, header2, sizeof(header2)) != 0)
        return refuse(err, "the second header is not a SIGSTRUCT's");
    if (s->vendor != 0 && s->vendor != SGX_SIG_VENDOR_INTEL)
        return refuse(err, "the vendor is neither 0 nor 8086h");
    if (!date_valid(s->date))
        return refuse(err, "the date is no day");
    if (!bytes_zero_ct(s->reserved1, sizeof(s->reserved1)) ||
        !bytes_zero_ct(s->reserved2, sizeof(s->reserved2)) ||
        !bytes_zero_ct(s->reserved3, sizeof(s->reserved3)) ||
        !bytes_zero_ct(s->reserved4, sizeof(s->reserved4)))
        return refuse(err, "a reserved field is not zero");
    if (s->exponent != SGX_SIG_EXPONENT)
        return refuse(err, "the exponent is not 3");
    return check_rsa(s, err);
}

int sigstruct_check_profile(const struct sgx_sigstruct *s, struct err *err)
{
    if (s->attributes.flags & ~SGX_ATTR_DEBUG & ~SGX_ATTR_MODE64BIT)
        return refuse(err, "it asks for attributes that SGXPy does not use");
    if (!(s->attributes.flags & SGX_ATTR_MODE64BIT))
        return refuse(err, "it is not for a 64-bit enclave");
    if (s->attributes_mask.flags != UINT64_MAX)
        return refuse(err, "its mask leaves attribute flags open");
    if (s->misc_select != PROFILE_MISC_SELECT || s->misc_mask != UINT32_MAX)
        return refuse(err, "its MISCSELECT is not EXINFO alone, or its mask leaves bits open");
    if ((s->attributes_mask.xfrm & PROFILE_XFRM_MASK) != PROFILE_XFRM_MASK ||
        (s->attributes.xfrm & ~PROFILE_XFRM) ||
        (s->attributes.xfrm & SGX_XFRM_LEGACY) != SGX_XFRM_LEGACY)
        return refuse(err, "its XFRM allows other state than x87, SSE, AVX and AVX-512");
    if (s->cet_attributes || s->cet_attributes_mask ||
        !bytes_zero_ct(s->isv_family_id, sizeof(s->isv_family_id)) ||
        !bytes_zero_ct(s->isv_ext_prod_id, sizeof(s->isv_ext_prod_id)))
        return refuse(err, "it sets fields of CET or KSS, which SGXPy does not use");
    return 0;
}

int sigstruct_load(int dir_fd, const char *path, struct sgx_sigstruct *ret, struct err *err)
{
    CLEANUP(free_p) char *data = NULL;
    size_t size;
    int r = file_load(dir_fd, path, sizeof(struct sgx_sigstruct), &data, &size, err);
    if (r < 0)
        return r;
    struct sgx_sigstruct s;
    if (size != sizeof(s))
        return err_set(err, -EBADMSG, "'%s' holds %zu of %zu bytes", path, size, sizeof(s));
    memcpy(&s, data, sizeof(s));
    if (sigstruct_check(&s, err) < 0 || sigstruct_check_profile(&s, err) < 0)
        return err_wrap(err, "'%s' is no SIGSTRUCT we accept", path);
    *ret = s;
    return 0;
}

void sigstruct_mrsigner(const struct sgx_sigstruct *s, uint8_t ret[static SGX_HASH_SIZE])
{
    sha256(s->modulus, sizeof(s->modulus), ret);
}
