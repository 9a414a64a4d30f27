/*
 * ECREATE, EADD, EEXTEND, EINIT (SDM volume 3D, "ECREATE—Create an SECS page in the Enclave Page
 * Cache", "EADD—Add a Page to an Uninitialized Enclave", "EEXTEND—Extend Uninitialized Enclave
 * Measurement by 256 Bytes", "EINIT—Initialize an Enclave for Execution"), each with the checks of
 * its pseudo-code in their order. Tier: hosted, untrusted.
 */
#include "softsgx/state.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "core/rsa3072.h"
#include "core/sha256.h"

/* What this device's "CPUID leaf 12H" allows. */
#define SUPPORTED_FLAGS                                                                     \
    (SGX_ATTR_DEBUG | SGX_ATTR_MODE64BIT | SGX_ATTR_PROVISIONKEY | SGX_ATTR_EINITTOKENKEY | \
     SGX_ATTR_KSS)
#define SUPPORTED_XFRM SOFT_XFRM
#define SUPPORTED_MISC SGX_MISC_EXINFO

#define XSAVE_MIN 576u

static bool is_zero(const void *data, size_t size)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

/* ---- ECREATE -------------------------------------------------------------------------------- */

/* Every #GP(0) of ECREATE, with the field that causes it. */
static const char *ecreate_refuses(const struct softsgx *s, const struct sgx_secs *secs,
                                   uint32_t *ret_xsave_size)
{
    uint64_t flags = secs->attributes.flags, xfrm = secs->attributes.xfrm;

    if ((secs->misc_select & ~SUPPORTED_MISC) != 0)
        return "MISCSELECT has bits this device does not have";
    if (flags & ~SUPPORTED_FLAGS)
        return flags & SGX_ATTR_INIT ? "ATTRIBUTES.INIT is set"
                                     : "ATTRIBUTES has bits this device does not have";
    if (!(flags & SGX_ATTR_MODE64BIT))
        return "ATTRIBUTES.MODE64BIT is clear";
    if ((xfrm & SGX_XFRM_LEGACY) != SGX_XFRM_LEGACY)
        return "ATTRIBUTES.XFRM lacks x87 or SSE";
    if (xfrm & ~(SUPPORTED_XFRM & s->host_xcr0))
        return "ATTRIBUTES.XFRM has states this machine does not have";
    if ((xfrm & SGX_XFRM_AVX512) &&
        (xfrm & (SGX_XFRM_AVX512 | SGX_XFRM_AVX)) != (SGX_XFRM_AVX512 | SGX_XFRM_AVX))
        return "ATTRIBUTES.XFRM is no value XCR0 can have";

    uint32_t xsave = XSAVE_MIN;
    for (uint64_t rest = xfrm & ~SGX_XFRM_LEGACY; rest; rest &= rest - 1) {
        int i = __builtin_ctzll(rest);
        if (s->xcomp[i].offset + s->xcomp[i].size > xsave)
            xsave = s->xcomp[i].offset + s->xcomp[i].size;
    }
    uint64_t misc = secs->misc_select & SGX_MISC_EXINFO ? sizeof(struct sgx_exinfo) : 0;
    if (secs->ssa_frame_size == 0 || secs->ssa_frame_size > 1024 ||
        (uint64_t)secs->ssa_frame_size * SGX_PAGE_SIZE < xsave + misc + sizeof(struct sgx_gprsgx))
        return "SSAFRAMESIZE does not hold XSAVE, MISC and GPR areas";

    if (secs->size < 2 * SGX_PAGE_SIZE || (secs->size & (secs->size - 1)))
        return "SIZE is no power of two of at least two pages";
    if (secs->base & (secs->size - 1))
        return "BASEADDR is not aligned to SIZE";
    if (!is_zero(secs->reserved1, sizeof(secs->reserved1)) ||
        !is_zero(secs->reserved2, sizeof(secs->reserved2)) ||
        !is_zero(secs->reserved3, sizeof(secs->reserved3)) ||
        !is_zero(secs->reserved4, sizeof(secs->reserved4)) || secs->cet_leg_bitmap_offset ||
        secs->cet_attributes)
        return "reserved bytes are set";
    if (!(flags & SGX_ATTR_KSS) &&
        (secs->config_svn || !is_zero(secs->config_id, sizeof(secs->config_id))))
        return "CONFIGID or CONFIGSVN without KSS";
    *ret_xsave_size = xsave;
    return NULL;
}

int softsgx_create(struct softsgx *s, const struct sgx_secs *secs, struct err *err)
{
    uint32_t xsave_size;
    if (s->created)
        return err_set(err, -EEXIST, "ECREATE: this process has an enclave already");
    const char *why = ecreate_refuses(s, secs, &xsave_size);
    if (why)
        return err_set(err, -EINVAL, "ECREATE: %s", why);
    if (secs->base != 0 || secs->size > SOFT_ELRANGE_MAX || secs->size <= SOFT_ELRANGE_START)
        return err_set(err, -EINVAL,
                       "ECREATE: the software device wants BASEADDR 0 and more than 64 "
                       "KiB, up to 64 TiB");

    s->secs = *secs;
    int code = elrange_reserve(s, err);
    if (code < 0)
        return code;
    memset(s->secs.mrenclave, 0, sizeof(s->secs.mrenclave));
    memset(s->secs.mrsigner, 0, sizeof(s->secs.mrsigner));
    s->secs.isv_prod_id = 0;
    s->secs.isv_svn = 0;
    s->xsave_size = xsave_size;
    s->frame_bytes = (uint64_t)secs->ssa_frame_size * SGX_PAGE_SIZE;
    s->gpr_at = s->frame_bytes - sizeof(struct sgx_gprsgx);
    s->exinfo_at = s->gpr_at - sizeof(struct sgx_exinfo);
    code = measure_begin(&s->measure, secs->size, secs->ssa_frame_size);
    if (code < 0) {
        elrange_release(s);
        return err_set(err, code, "ECREATE");
    }
    s->created = true;
    return 0;
}

/* ---- EADD, EEXTEND -------------------------------------------------------------------------- */

static const char *eadd_refuses_tcs(const struct softsgx *s, const struct sgx_tcs *tcs)
{
    if (!is_zero(tcs->reserved, sizeof(tcs->reserved)) || tcs->ocet_ssa || tcs->prev_ssp)
        return "TCS has reserved bytes set";
    if (tcs->flags & ~(SGX_TCS_AEXNOTIFY | SGX_TCS_DBGOPTIN))
        return "TCS.FLAGS has reserved bits set";
    if ((tcs->flags & SGX_TCS_AEXNOTIFY) && !(s->secs.attributes.flags & SGX_ATTR_AEXNOTIFY))
        return "TCS.FLAGS.AEXNOTIFY without the attribute";
    if ((tcs->ossa | tcs->ofs_base | tcs->ogs_base) & ~SGX_PAGE_MASK)
        return "TCS.OSSA, OFSBASE or OGSBASE is not page-aligned";
    return NULL;
}

/* The #GP(0)s of EADD for one page; content may be NULL (zeros). */
static const char *eadd_refuses(const struct softsgx *s, uint64_t offset, const uint8_t *content,
                                uint64_t flags)
{
    uint64_t type = (flags & SGX_SECINFO_PT_MASK) >> SGX_SECINFO_PT_SHIFT;
    if (flags &
        (SGX_SECINFO_RESERVED | SGX_SECINFO_PENDING | SGX_SECINFO_MODIFIED | SGX_SECINFO_PR))
        return "SECINFO has reserved bits set";
    if (type != SGX_PT_REG && type != SGX_PT_TCS)
        return "the page type is neither PT_REG nor PT_TCS";
    if (type == SGX_PT_REG && !(flags & SGX_SECINFO_R) && (flags & SGX_SECINFO_W))
        return "SECINFO has W without R";
    if ((offset & ~SGX_PAGE_MASK) || !in_elrange(s, offset, SGX_PAGE_SIZE))
        return "the page is not in ELRANGE";
    if (offset < SOFT_ELRANGE_START)
        return "the first 64 KiB of ELRANGE stay unmapped";
    if (epcm_get(s, offset) != EPCM_ABSENT)
        return "there is a page already";
    if (type == SGX_PT_TCS)
        return content ? eadd_refuses_tcs(s, (const struct sgx_tcs *)content) : NULL;
    return NULL;
}

/* One page's EPCM entry and measurement; its bytes are in place. */
static int eadd_page(struct softsgx *s, uint64_t offset, uint64_t flags, bool measured)
{
    bool is_tcs = (flags & SGX_SECINFO_PT_MASK) == SGX_SECINFO_TCS;
    uint8_t *page = (uint8_t *)offset;
    int code;
    if (is_tcs) {
        /* EPCM permissions of a TCS are 0; DBGOPTIN, CSSA, AEP and STATE are cleared by EADD (SDM
         * "Thread Control Structure"), so what is measured has them clear. */
        struct sgx_tcs *tcs = (struct sgx_tcs *)page;
        flags &= ~SGX_SECINFO_RWX;
        tcs->flags &= ~SGX_TCS_DBGOPTIN;
        tcs->cssa = 0;
        tcs->aep = 0;
        tcs->stage = 0;
        code = tcs_insert(s, offset, tcs);
        if (code < 0)
            return code;
    }
    code = measured ? measure_add_page(&s->measure, offset, flags, page)
                    : measure_add_unmeasured(&s->measure, offset, flags);
    if (code < 0)
        return code;
    atomic_store(&s->epcm[offset >> SGX_PAGE_SHIFT],
                 (uint8_t)((is_tcs ? EPCM_TCS : EPCM_REG) | (flags & SGX_SECINFO_RWX)));
    return 0;
}

int softsgx_add(struct softsgx *s, uint64_t offset, const void *content, uint64_t page_count,
                uint64_t secinfo_flags, bool measured, struct err *err)
{
    if (!s->created || s->initialized)
        return err_set(err, -EINVAL, "EADD: the enclave is %s",
                       s->initialized ? "initialized already" : "not created");
    if (page_count == 0)
        return 0;
    if (page_count > s->size / SGX_PAGE_SIZE || !in_elrange(s, offset, page_count * SGX_PAGE_SIZE))
        return err_set(err, -EINVAL, "EADD: 0x%llx: the page is not in ELRANGE",
                       (unsigned long long)offset);
    const uint8_t *from = content;
    for (uint64_t i = 0; i < page_count; i++) {
        const char *why = eadd_refuses(s, offset + i * SGX_PAGE_SIZE,
                                       from ? from + i * SGX_PAGE_SIZE : NULL, secinfo_flags);
        if (why)
            return err_set(err, -EINVAL, "EADD: 0x%llx: %s",
                           (unsigned long long)(offset + i * SGX_PAGE_SIZE), why);
    }
    uint64_t size = page_count * SGX_PAGE_SIZE;
    /* What has no bytes of its own is zero already, and stays shut until it is touched. */
    bool shut = !from && !measured && (secinfo_flags & SGX_SECINFO_PT_MASK) != SGX_SECINFO_TCS;
    if (!shut && mprotect((void *)offset, size, PROT_READ | PROT_WRITE) < 0)
        return err_set(err, -errno, "EADD: 0x%llx", (unsigned long long)offset);
    if (!shut)
        pages_populate(offset, page_count);
    if (from)
        memcpy((void *)offset, from, size);
    for (uint64_t i = 0; i < page_count; i++) {
        int code = eadd_page(s, offset + i * SGX_PAGE_SIZE, secinfo_flags, measured);
        if (code < 0)
            return err_set(err, code, "EADD: 0x%llx",
                           (unsigned long long)(offset + i * SGX_PAGE_SIZE));
    }
    bool open = (secinfo_flags & (SGX_SECINFO_PT_MASK | SGX_SECINFO_RWX)) ==
                (SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W);
    int code = shut || open ? 0 : pages_narrow(s, offset, page_count);
    return code < 0 ? err_set(err, code, "EADD: 0x%llx", (unsigned long long)offset) : 0;
}

/* ---- EINIT ---------------------------------------------------------------------------------- */

/* "Verify signature using supplied public key": SIGNATURE^3 mod MODULUS, computed as the CPU does
 * from Q1 and Q2, is the PKCS #1 v1.5 encoding of the SHA-256 over the signed bytes. */
static bool signature_holds(const struct sgx_sigstruct *sig)
{
    uint8_t digest[SHA256_SIZE];
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, sig, SGX_SIG_SIGNED1_SIZE);
    sha256_update(&hash, (const uint8_t *)sig + SGX_SIG_SIGNED2_AT, SGX_SIG_SIGNED2_SIZE);
    sha256_final(&hash, digest);
    return rsa3072_verify(sig->modulus, sig->signature, sig->q1, sig->q2, digest) == RSA3072_OK;
}

struct refusal {
    uint32_t code;
    const char *why;
};
#define REFUSE(error, text) \
    return (struct refusal) \
    {                       \
        error, text         \
    }

static struct refusal check_format(const struct sgx_sigstruct *sig)
{
    static const uint8_t header1[16] = SGX_SIG_HEADER1, header2[16] = SGX_SIG_HEADER2;
    if (memcmp(sig->header, header1, sizeof(header1)) != 0)
        REFUSE(SGX_INVALID_SIG_STRUCT, "HEADER");
    if (sig->vendor != 0 && sig->vendor != SGX_SIG_VENDOR_INTEL)
        REFUSE(SGX_INVALID_SIG_STRUCT, "VENDOR");
    if (memcmp(sig->header2, header2, sizeof(header2)) != 0)
        REFUSE(SGX_INVALID_SIG_STRUCT, "HEADER2");
    if (sig->exponent != SGX_SIG_EXPONENT)
        REFUSE(SGX_INVALID_SIG_STRUCT, "EXPONENT is not 3");
    if (!is_zero(sig->reserved1, sizeof(sig->reserved1)) ||
        !is_zero(sig->reserved2, sizeof(sig->reserved2)) ||
        !is_zero(sig->reserved3, sizeof(sig->reserved3)) ||
        !is_zero(sig->reserved4, sizeof(sig->reserved4)))
        REFUSE(SGX_INVALID_SIG_STRUCT, "reserved bytes are set");
    if (!(sig->attributes.flags & SGX_ATTR_KSS) &&
        (!is_zero(sig->isv_family_id, sizeof(sig->isv_family_id)) ||
         !is_zero(sig->isv_ext_prod_id, sizeof(sig->isv_ext_prod_id))))
        REFUSE(SGX_INVALID_SIG_STRUCT, "ISVFAMILYID or ISVEXTPRODID without KSS");
    return (struct refusal){ 0, NULL };
}

/* In the pseudo-code's order. mrsigner was accepted as IA32_SGXLEPUBKEYHASH: under flexible launch
 * control the driver writes those MSRs before each EINIT, so an absent EINITTOKEN is always right.
 */
static struct refusal einit_refuses(const struct softsgx *s, const struct sgx_sigstruct *sig,
                                    const uint8_t *mrenclave)
{
    struct refusal format = check_format(sig);
    if (format.code)
        return format;
    if (!signature_holds(sig))
        REFUSE(SGX_INVALID_SIGNATURE, "the signature, Q1 or Q2 is wrong");
    if (memcmp(sig->enclave_hash, mrenclave, SGX_HASH_SIZE) != 0)
        REFUSE(SGX_INVALID_MEASUREMENT, "ENCLAVEHASH is not this enclave's MRENCLAVE");
    const struct sgx_attributes *have = &s->secs.attributes, *want = &sig->attributes;
    const struct sgx_attributes *mask = &sig->attributes_mask;
    if ((want->flags & SGX_ATTR_RESERVED) || (want->flags & ~SUPPORTED_FLAGS))
        REFUSE(SGX_INVALID_ATTRIBUTE, "ATTRIBUTES has reserved bits set");
    if ((have->flags & mask->flags) != (want->flags & mask->flags))
        REFUSE(SGX_INVALID_ATTRIBUTE, "the SECS's ATTRIBUTES are not the signed ones");
    if ((have->xfrm & mask->xfrm) != (want->xfrm & mask->xfrm))
        REFUSE(SGX_INVALID_ATTRIBUTE, "the SECS's XFRM is not the signed one");
    if ((s->secs.misc_select & sig->misc_mask) != (sig->misc_select & sig->misc_mask))
        REFUSE(SGX_INVALID_ATTRIBUTE, "the SECS's MISCSELECT is not the signed one");
    if ((s->secs.cet_attributes & sig->cet_attributes_mask) !=
        (sig->cet_attributes & sig->cet_attributes_mask))
        REFUSE(SGX_INVALID_ATTRIBUTE, "the SECS's CET_ATTRIBUTES are not the signed ones");
    return (struct refusal){ 0, NULL };
}

static const char *error_name(uint32_t code)
{
    switch (code) {
    case SGX_INVALID_SIG_STRUCT: return "SGX_INVALID_SIG_STRUCT";
    case SGX_INVALID_ATTRIBUTE: return "SGX_INVALID_ATTRIBUTE";
    case SGX_INVALID_MEASUREMENT: return "SGX_INVALID_MEASUREMENT";
    case SGX_INVALID_SIGNATURE: return "SGX_INVALID_SIGNATURE";
    default: return "SGX error";
    }
}

int softsgx_init(struct softsgx *s, const struct sgx_sigstruct *sigstruct, uint32_t *ret_sgx_error,
                 struct err *err)
{
    if (!s->created || s->initialized)
        return err_set(err, -EINVAL, "EINIT: the enclave is %s",
                       s->initialized ? "initialized already" : "not created");
    int code = soft_keys_load(s, err);
    if (code < 0)
        return code;

    uint8_t mrenclave[SGX_HASH_SIZE];
    struct measure copy = s->measure; /* a refused EINIT leaves the enclave as it is */
    measure_end(&copy, mrenclave);
    struct refusal refusal = einit_refuses(s, sigstruct, mrenclave);
    if (refusal.code) {
        if (ret_sgx_error)
            *ret_sgx_error = refusal.code;
        return err_set(err, -EPERM, "EINIT: %s (%u): %s", error_name(refusal.code), refusal.code,
                       refusal.why);
    }
    memcpy(s->secs.mrenclave, mrenclave, sizeof(mrenclave));
    sha256(sigstruct->modulus, SGX_MODULUS_SIZE, s->secs.mrsigner);
    s->secs.isv_prod_id = sigstruct->isv_prod_id;
    s->secs.isv_svn = sigstruct->isv_svn;
    memcpy(s->isv_family_id, sigstruct->isv_family_id, sizeof(s->isv_family_id));
    memcpy(s->isv_ext_prod_id, sigstruct->isv_ext_prod_id, sizeof(s->isv_ext_prod_id));
    s->secs.attributes.flags |= SGX_ATTR_INIT;
    s->initialized = true;
    if (ret_sgx_error)
        *ret_sgx_error = SGX_SUCCESS;
    return 0;
}
