/* ECREATE, EADD, EEXTEND, EINIT: every refusal, and what stands afterwards. */
#include "fixture.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* ---- ECREATE -------------------------------------------------------------------------------- */

static void secs_misc(struct sgx_secs *s)
{
    s->misc_select = SGX_MISC_CPINFO;
}
static void secs_init(struct sgx_secs *s)
{
    s->attributes.flags |= SGX_ATTR_INIT;
}
static void secs_flags(struct sgx_secs *s)
{
    s->attributes.flags |= UINT64_C(1) << 40;
}
static void secs_32bit(struct sgx_secs *s)
{
    s->attributes.flags &= ~SGX_ATTR_MODE64BIT;
}
static void secs_no_sse(struct sgx_secs *s)
{
    s->attributes.xfrm = SGX_XFRM_X87;
}
static void secs_amx(struct sgx_secs *s)
{
    s->attributes.xfrm |= SGX_XFRM_AMX;
}
static void secs_half_avx512(struct sgx_secs *s)
{
    s->attributes.xfrm |= SGX_XFRM_OPMASK;
}
static void secs_no_frame(struct sgx_secs *s)
{
    s->ssa_frame_size = 0;
}
static void secs_odd_size(struct sgx_secs *s)
{
    s->size = 0x30000000;
}
static void secs_one_page(struct sgx_secs *s)
{
    s->size = 4096;
}
static void secs_base(struct sgx_secs *s)
{
    s->base = 0x1000;
}
static void secs_far_base(struct sgx_secs *s)
{
    s->base = s->size;
}
static void secs_reserved(struct sgx_secs *s)
{
    s->reserved4[3000] = 1;
}
static void secs_config(struct sgx_secs *s)
{
    s->config_svn = 1;
}
static void secs_huge(struct sgx_secs *s)
{
    s->size = UINT64_C(1) << 47;
}
static void secs_small(struct sgx_secs *s)
{
    s->size = 0x10000;
}

static const struct {
    const char *name;
    void (*spoil)(struct sgx_secs *secs);
} create_rows[] = {
    { "MISCSELECT unknown", secs_misc },
    { "INIT set", secs_init },
    { "reserved attribute", secs_flags },
    { "32 bit", secs_32bit },
    { "XFRM without SSE", secs_no_sse },
    { "XFRM with AMX", secs_amx },
    { "XFRM half AVX-512", secs_half_avx512 },
    { "SSAFRAMESIZE 0", secs_no_frame },
    { "SIZE no power of two", secs_odd_size },
    { "SIZE one page", secs_one_page },
    { "BASEADDR unaligned", secs_base },
    { "BASEADDR not 0", secs_far_base },
    { "reserved bytes", secs_reserved },
    { "CONFIGSVN without KSS", secs_config },
    { "SIZE too big", secs_huge },
    { "nothing above 64 KiB", secs_small },
};

static void test_create_refusals(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(create_rows); i++) {
        struct softsgx_options options = fixture_options();
        struct softsgx *s;
        struct err err = { 0 };
        struct sgx_secs secs;
        fixture_secs(&secs);
        create_rows[i].spoil(&secs);
        assert_int_equal(softsgx_open(&options, &s, &err), 0);
        int got = softsgx_create(s, &secs, &err);
        if (got != -EINVAL || !strstr(err.text, "ECREATE"))
            fail_msg("%s: got %d '%s'", create_rows[i].name, got, err.text);
        fixture_secs(&secs);
        if (softsgx_create(s, &secs, &err) != 0) /* a refusal leaves nothing behind */
            fail_msg("%s: afterwards: %s", create_rows[i].name, err.text);
        softsgx_close(s);
    }
}

static void test_elrange_occupied(void **state UNUSED)
{
    struct softsgx_options options = fixture_options();
    struct softsgx *s;
    struct err err = { 0 };
    struct sgx_secs secs;
    void *at = mmap((void *)0x20000000, 4096, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_ptr_equal(at, 0x20000000);
    fixture_secs(&secs);
    assert_int_equal(softsgx_open(&options, &s, &err), 0);
    assert_int_equal(softsgx_create(s, &secs, &err), -EEXIST);
    assert_non_null(strstr(err.text, "ELRANGE [0x10000, 0x40000000)"));
    munmap(at, 4096);
    softsgx_close(s);
}

static void test_one_device(void **state UNUSED)
{
    struct fixture f;
    struct softsgx *other;
    struct softsgx_options options = { 0 };
    struct sgx_secs secs;
    fixture_create(&f);
    assert_int_equal(softsgx_open(&options, &other, NULL), -EBUSY);
    fixture_secs(&secs);
    assert_int_equal(softsgx_create(f.s, &secs, NULL), -EEXIST);
    softsgx_close(f.s);
}

/* ---- EADD ----------------------------------------------------------------------------------- */

#define REG SGX_SECINFO_REG
#define R   SGX_SECINFO_R
#define W   SGX_SECINFO_W
#define X   SGX_SECINFO_X

static void tcs_flags(struct sgx_tcs *t)
{
    t->flags = 4;
}
static void tcs_notify(struct sgx_tcs *t)
{
    t->flags = SGX_TCS_AEXNOTIFY;
}
static void tcs_ossa(struct sgx_tcs *t)
{
    t->ossa = 0x1001;
}
static void tcs_fs(struct sgx_tcs *t)
{
    t->ofs_base = 8;
}
static void tcs_gs(struct sgx_tcs *t)
{
    t->ogs_base = 8;
}
static void tcs_reserved(struct sgx_tcs *t)
{
    t->reserved[4007] = 1;
}

static const struct {
    const char *name;
    uint64_t offset, flags;
    void (*spoil)(struct sgx_tcs *tcs);
} add_rows[] = {
    { "reserved SECINFO bit", 0x300000, REG | R | 1 << 6, NULL },
    { "PENDING", 0x300000, REG | R | SGX_SECINFO_PENDING, NULL },
    { "MODIFIED", 0x300000, REG | R | SGX_SECINFO_MODIFIED, NULL },
    { "PT_SECS", 0x300000, R, NULL },
    { "PT_VA", 0x300000, 3 << 8, NULL },
    { "PT_TRIM", 0x300000, SGX_SECINFO_TRIM, NULL },
    { "W without R", 0x300000, REG | W, NULL },
    { "unaligned", 0x300800, REG | R, NULL },
    { "outside", TE_SIZE, REG | R, NULL },
    { "far outside", UINT64_MAX - 4095, REG | R, NULL },
    { "below 64 KiB", 0xf000, REG | R, NULL },
    { "twice", TE_CODE, REG | R, NULL },
    { "TCS.FLAGS reserved", 0x300000, SGX_SECINFO_TCS, tcs_flags },
    { "TCS.FLAGS.AEXNOTIFY", 0x300000, SGX_SECINFO_TCS, tcs_notify },
    { "TCS.OSSA", 0x300000, SGX_SECINFO_TCS, tcs_ossa },
    { "TCS.OFSBASE", 0x300000, SGX_SECINFO_TCS, tcs_fs },
    { "TCS.OGSBASE", 0x300000, SGX_SECINFO_TCS, tcs_gs },
    { "TCS reserved bytes", 0x300000, SGX_SECINFO_TCS, tcs_reserved },
};

static void test_add_refusals(void **state UNUSED)
{
    struct fixture f;
    struct err err = { 0 };
    fixture_create(&f);
    fixture_add(&f, 1);
    for (size_t i = 0; i < ARRAY_SIZE(add_rows); i++) {
        struct sgx_tcs tcs = { .nssa = 2 };
        if (add_rows[i].spoil)
            add_rows[i].spoil(&tcs);
        int got = softsgx_add(f.s, add_rows[i].offset, &tcs, 1, add_rows[i].flags, true, &err);
        if (got != -EINVAL || !strstr(err.text, "EADD"))
            fail_msg("%s: got %d '%s'", add_rows[i].name, got, err.text);
    }
    fixture_sign(&f);
    assert_int_equal(softsgx_init(f.s, &f.sigstruct, NULL, &err), 0);
    assert_int_equal(softsgx_add(f.s, 0x300000, NULL, 1, REG | R, true, &err), -EINVAL);
    softsgx_close(f.s);
}

/* DBGOPTIN, CSSA, AEP and STATE are not refused but cleared, before they are measured. */
static void test_add_clears(void **state UNUSED)
{
    uint8_t hashes[2][SGX_HASH_SIZE];
    for (int i = 0; i < 2; i++) {
        struct fixture f;
        struct sgx_tcs tcs = { .nssa = 2 };
        if (i == 1) {
            tcs.flags = SGX_TCS_DBGOPTIN;
            tcs.cssa = 1;
            tcs.aep = 0x1000;
            tcs.stage = 1;
        }
        fixture_create(&f);
        assert_int_equal(softsgx_add(f.s, 0x300000, &tcs, 1, SGX_SECINFO_TCS, true, NULL), 0);
        assert_int_equal(tcs_find(f.s, 0x300000)->flags, 0);
        assert_int_equal(tcs_find(f.s, 0x300000)->cssa, 0);
        measure_end(&f.s->measure, hashes[i]);
        softsgx_close(f.s);
    }
    assert_memory_equal(hashes[0], hashes[1], SGX_HASH_SIZE);
}

/* ---- EINIT ---------------------------------------------------------------------------------- */

static void sig_header(struct sgx_sigstruct *s)
{
    s->header[0] ^= 1;
}
static void sig_vendor(struct sgx_sigstruct *s)
{
    s->vendor = 1;
}
static void sig_header2(struct sgx_sigstruct *s)
{
    s->header2[15] ^= 1;
}
static void sig_exponent(struct sgx_sigstruct *s)
{
    s->exponent = 65537;
}
static void sig_reserved1(struct sgx_sigstruct *s)
{
    s->reserved1[83] = 1;
}
static void sig_reserved2(struct sgx_sigstruct *s)
{
    s->reserved2[1] = 1;
}
static void sig_reserved3(struct sgx_sigstruct *s)
{
    s->reserved3[15] = 1;
}
static void sig_reserved4(struct sgx_sigstruct *s)
{
    s->reserved4[0] = 1;
}
static void sig_family(struct sgx_sigstruct *s)
{
    s->isv_family_id[0] = 1;
}
static void sig_signature(struct sgx_sigstruct *s)
{
    s->signature[100] ^= 1;
}
static void sig_big(struct sgx_sigstruct *s)
{
    memset(s->signature, 0xff, sizeof(s->signature));
}
static void sig_modulus(struct sgx_sigstruct *s)
{
    s->modulus[5] ^= 1;
}
static void sig_no_modulus(struct sgx_sigstruct *s)
{
    memset(s->modulus, 0, sizeof(s->modulus));
}
static void sig_q1(struct sgx_sigstruct *s)
{
    s->q1[0] ^= 1;
}
static void sig_q2(struct sgx_sigstruct *s)
{
    s->q2[383] ^= 1;
}
static void sig_date(struct sgx_sigstruct *s)
{
    s->date++;
}
static void sig_svn(struct sgx_sigstruct *s)
{
    s->isv_svn++;
}
static void sig_hash(struct sgx_sigstruct *s)
{
    s->enclave_hash[31] ^= 1;
}
static void sig_debug(struct sgx_sigstruct *s)
{
    s->attributes.flags |= SGX_ATTR_DEBUG;
}
static void sig_bits(struct sgx_sigstruct *s)
{
    s->attributes.flags |= UINT64_C(1) << 50;
}
static void sig_xfrm(struct sgx_sigstruct *s)
{
    s->attributes.xfrm |= SGX_XFRM_PKRU;
}
static void sig_misc(struct sgx_sigstruct *s)
{
    s->misc_select = 0;
}
static void sig_cet(struct sgx_sigstruct *s)
{
    s->cet_attributes_mask = s->cet_attributes = 1;
}

static const struct {
    const char *name;
    void (*spoil)(struct sgx_sigstruct *sig);
    bool resign;
    uint32_t want;
} init_rows[] = {
    { "HEADER", sig_header, true, SGX_INVALID_SIG_STRUCT },
    { "VENDOR", sig_vendor, true, SGX_INVALID_SIG_STRUCT },
    { "HEADER2", sig_header2, true, SGX_INVALID_SIG_STRUCT },
    { "EXPONENT", sig_exponent, true, SGX_INVALID_SIG_STRUCT },
    { "reserved 44", sig_reserved1, true, SGX_INVALID_SIG_STRUCT },
    { "reserved 910", sig_reserved2, true, SGX_INVALID_SIG_STRUCT },
    { "reserved 992", sig_reserved3, true, SGX_INVALID_SIG_STRUCT },
    { "reserved 1028", sig_reserved4, true, SGX_INVALID_SIG_STRUCT },
    { "ISVFAMILYID", sig_family, true, SGX_INVALID_SIG_STRUCT },
    { "SIGNATURE", sig_signature, false, SGX_INVALID_SIGNATURE },
    { "SIGNATURE above MODULUS", sig_big, false, SGX_INVALID_SIGNATURE },
    { "MODULUS", sig_modulus, false, SGX_INVALID_SIGNATURE },
    { "MODULUS zero", sig_no_modulus, false, SGX_INVALID_SIGNATURE },
    { "Q1", sig_q1, false, SGX_INVALID_SIGNATURE },
    { "Q2", sig_q2, false, SGX_INVALID_SIGNATURE },
    { "DATE not signed", sig_date, false, SGX_INVALID_SIGNATURE },
    { "ISVSVN not signed", sig_svn, false, SGX_INVALID_SIGNATURE },
    { "ENCLAVEHASH not signed", sig_hash, false, SGX_INVALID_SIGNATURE },
    { "ENCLAVEHASH", sig_hash, true, SGX_INVALID_MEASUREMENT },
    { "ATTRIBUTES.DEBUG", sig_debug, true, SGX_INVALID_ATTRIBUTE },
    { "ATTRIBUTES reserved", sig_bits, true, SGX_INVALID_ATTRIBUTE },
    { "XFRM", sig_xfrm, true, SGX_INVALID_ATTRIBUTE },
    { "MISCSELECT", sig_misc, true, SGX_INVALID_ATTRIBUTE },
    { "CET_ATTRIBUTES", sig_cet, true, SGX_INVALID_ATTRIBUTE },
};

static void test_init_refusals(void **state UNUSED)
{
    struct fixture f;
    fixture_create(&f);
    fixture_add(&f, 1);
    fixture_sign(&f);
    for (size_t i = 0; i < ARRAY_SIZE(init_rows); i++) {
        struct sgx_sigstruct sig = f.sigstruct;
        struct err err = { 0 };
        uint32_t error = 0;
        init_rows[i].spoil(&sig);
        if (init_rows[i].resign)
            fixture_resign(&sig);
        int got = softsgx_init(f.s, &sig, &error, &err);
        if (got != -EPERM || error != init_rows[i].want || !strstr(err.text, "EINIT: SGX_"))
            fail_msg("%s: got %d, SGX error %u, '%s'", init_rows[i].name, got, error, err.text);
    }
    uint32_t error = 99;
    assert_int_equal(softsgx_init(f.s, &f.sigstruct, &error, NULL), 0); /* refusals left no trace */
    assert_int_equal(error, SGX_SUCCESS);
    assert_int_equal(f.s->secs.isv_prod_id, 7);
    assert_int_equal(f.s->secs.isv_svn, 3);
    assert_true(f.s->secs.attributes.flags & SGX_ATTR_INIT);
    assert_memory_equal(f.s->secs.mrenclave, f.sigstruct.enclave_hash, SGX_HASH_SIZE);
    assert_int_equal(softsgx_init(f.s, &f.sigstruct, NULL, NULL), -EINVAL);
    softsgx_close(f.s);
}

/* One bit of content, permissions or place anywhere changes MRENCLAVE; unmeasured content does not.
 */
static void measure_of(uint64_t offset, uint8_t byte, uint64_t flags, bool measured, uint8_t *ret)
{
    struct fixture f;
    uint8_t page[SGX_PAGE_SIZE] = { 0 };
    page[4095] = byte;
    fixture_create(&f);
    assert_int_equal(softsgx_add(f.s, offset, page, 1, flags, measured, NULL), 0);
    measure_end(&f.s->measure, ret);
    softsgx_close(f.s);
}

static void test_measurement(void **state UNUSED)
{
    uint8_t base[SGX_HASH_SIZE], other[SGX_HASH_SIZE];
    measure_of(0x300000, 1, REG | R, true, base);
    measure_of(0x300000, 1, REG | R, true, other);
    assert_memory_equal(base, other, sizeof(base));
    measure_of(0x300000, 2, REG | R, true, other);
    assert_memory_not_equal(base, other, sizeof(base));
    measure_of(0x301000, 1, REG | R, true, other);
    assert_memory_not_equal(base, other, sizeof(base));
    measure_of(0x300000, 1, REG | R | W, true, other);
    assert_memory_not_equal(base, other, sizeof(base));
    measure_of(0x300000, 1, REG | R, false, base);
    measure_of(0x300000, 2, REG | R, false, other);
    assert_memory_equal(base, other, sizeof(base));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_refusals), cmocka_unit_test(test_elrange_occupied),
        cmocka_unit_test(test_one_device),      cmocka_unit_test(test_add_refusals),
        cmocka_unit_test(test_init_refusals),   cmocka_unit_test(test_measurement),
        cmocka_unit_test(test_add_clears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
