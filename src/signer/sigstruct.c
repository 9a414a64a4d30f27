#include "signer/sigstruct.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/rsa3072.h"
#include "core/sha256.h"
#include "util/fs.h"

static const uint8_t header1[16] = SGX_SIG_HEADER1;
static const uint8_t header2[16] = SGX_SIG_HEADER2;

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
    static const char *const reasons[] = {
        [RSA3072_MODULUS] = "the modulus is no odd number of 3072 bits",
        [RSA3072_SIGNATURE] = "the signature is not below the modulus",
        [RSA3072_Q1] = "the signature does not fit the modulus, or Q1 is wrong",
        [RSA3072_Q2] = "the signature does not fit the modulus, or Q2 is wrong",
        [RSA3072_MISMATCH] = "the signature does not fit the signed fields",
    };
    uint8_t digest[SHA256_SIZE];
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, s, SGX_SIG_SIGNED1_SIZE);
    sha256_update(&hash, (const uint8_t *)s + SGX_SIG_SIGNED2_AT, SGX_SIG_SIGNED2_SIZE);
    sha256_final(&hash, digest);
    enum rsa3072_result result = rsa3072_verify(s->modulus, s->signature, s->q1, s->q2, digest);
    return result == RSA3072_OK ? 0 : refuse(err, reasons[result]);
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
