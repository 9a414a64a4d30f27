/* SIGSTRUCT against tests/data/vectors.txt, which a script of its own made from the SDM; and every
 * way in which one can be wrong. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "signer/sigstruct.h"
#include "util/fs.h"

static struct signing_key *g_key;

static int setup(void **state UNUSED)
{
    struct err err;
    char *pem;
    size_t size;
    if (file_load(AT_FDCWD, TEST_DATA "/test_key.pem", 1 << 16, &pem, &size, &err) < 0)
        return -1;
    int r = keys_parse(pem, size, "test_key.pem", &g_key, &err);
    free(pem);
    return r;
}

static int teardown(void **state UNUSED)
{
    keys_free(g_key);
    return 0;
}

static void from_hex(const char *hex, uint8_t *ret, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        ret[i] = (uint8_t)byte;
    }
}

/* One "FIELD VALUE" line of the vectors. */
static void take(struct sigstruct_params *p, const char *field, const char *value)
{
    unsigned long long number = strtoull(value, NULL, 16);
    unsigned year, month, day;
    if (strcmp(field, "date") == 0 && sscanf(value, "%4x-%2x-%2x", &year, &month, &day) == 3)
        p->date = year << 16 | month << 8 | day;
    else if (strcmp(field, "sw_defined") == 0)
        p->sw_defined = (uint32_t)number;
    else if (strcmp(field, "misc_select") == 0)
        p->misc_select = (uint32_t)number;
    else if (strcmp(field, "misc_mask") == 0)
        p->misc_mask = (uint32_t)number;
    else if (strcmp(field, "flags") == 0)
        p->attributes.flags = number;
    else if (strcmp(field, "flags_mask") == 0)
        p->attributes_mask.flags = number;
    else if (strcmp(field, "xfrm") == 0)
        p->attributes.xfrm = number;
    else if (strcmp(field, "xfrm_mask") == 0)
        p->attributes_mask.xfrm = number;
    else if (strcmp(field, "enclave_hash") == 0)
        from_hex(value, p->enclave_hash, sizeof(p->enclave_hash));
    else if (strcmp(field, "isv_prod_id") == 0)
        p->isv_prod_id = (uint16_t)number;
    else if (strcmp(field, "isv_svn") == 0)
        p->isv_svn = (uint16_t)number;
    else
        fail_msg("unknown field '%s'", field);
}

static void test_vectors(void **state UNUSED)
{
    FILE *file = fopen(TEST_DATA "/vectors.txt", "re");
    assert_non_null(file);
    static char line[8192], value[8192];
    char field[64], name[64] = "";
    struct sigstruct_params params;
    struct sgx_sigstruct want;
    uint8_t want_signer[SGX_HASH_SIZE];
    unsigned count = 0;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "sigstruct %63s", name) == 1) {
            params = (struct sigstruct_params){ 0 };
        } else if (name[0] && strcmp(line, "end\n") == 0) {
            struct err err;
            struct sgx_sigstruct got;
            uint8_t signer[SGX_HASH_SIZE];
            assert_int_equal(sigstruct_build(&params, g_key, &got, &err), 0);
            for (size_t i = 0; i < sizeof(got); i++)
                if (((uint8_t *)&got)[i] != ((uint8_t *)&want)[i])
                    fail_msg("%s: byte %zu differs", name, i);
            sigstruct_mrsigner(&got, signer);
            assert_memory_equal(signer, want_signer, sizeof(signer));
            keys_mrsigner(g_key, signer);
            assert_memory_equal(signer, want_signer, sizeof(signer));
            assert_int_equal(sigstruct_check(&want, &err), 0);
            assert_int_equal(sigstruct_check_profile(&want, &err), 0);
            name[0] = '\0';
            count++;
        } else if (name[0] && sscanf(line, "%63s %8191s", field, value) == 2) {
            if (strcmp(field, "mrsigner") == 0)
                from_hex(value, want_signer, sizeof(want_signer));
            else if (strcmp(field, "bytes") == 0)
                from_hex(value, (uint8_t *)&want, sizeof(want));
            else
                take(&params, field, value);
        }
    }
    fclose(file);
    assert_true(count >= 2);
}

static void build(struct sgx_sigstruct *ret)
{
    struct err err;
    struct sigstruct_params params;
    sigstruct_profile(&params, false);
    params.date = 0x20261122;
    memset(params.enclave_hash, 0x77, sizeof(params.enclave_hash));
    assert_int_equal(sigstruct_build(&params, g_key, ret, &err), 0);
}

#define AT(field) offsetof(struct sgx_sigstruct, field)

static void test_check_refuses(void **state UNUSED)
{
    static const struct {
        const char *name;
        size_t at;
        uint8_t flip;
        const char *says;
    } cases[] = {
        { "header", 4, 0x01, "first header" },
        { "header's last byte", 15, 0x80, "first header" },
        { "vendor", AT(vendor), 0x01, "vendor" },
        { "a month 91", AT(date) + 1, 0x80, "date" },
        { "a digit above 9", AT(date), 0x08, "date" },
        { "second header", AT(header2), 0x02, "second header" },
        { "reserved after SWDEFINED", AT(reserved1), 0x01, "reserved" },
        { "reserved before the modulus", AT(modulus) - 1, 0x01, "reserved" },
        { "reserved after the CET fields", AT(reserved2), 0x01, "reserved" },
        { "reserved after the hash", AT(reserved3) + 15, 0x40, "reserved" },
        { "reserved after ISVSVN", AT(reserved4) + 11, 0x01, "reserved" },
        { "exponent", AT(exponent), 0x01, "exponent" },
        { "an even modulus", AT(modulus), 0x01, "odd number of 3072 bits" },
        { "a short modulus", AT(modulus) + 383, 0x80, "odd number of 3072 bits" },
        { "other modulus", AT(modulus) + 100, 0x10, "does not fit" },
        { "other signature", AT(signature) + 10, 0x01, "does not fit" },
        { "a day later", AT(date), 0x01, "does not fit" },
        { "other SWDEFINED", AT(sw_defined), 0x01, "does not fit" },
        { "MISCSELECT", AT(misc_select), 0x01, "does not fit" },
        { "MISCMASK", AT(misc_mask) + 3, 0x80, "does not fit" },
        { "DEBUG", AT(attributes), 0x02, "does not fit" },
        { "attribute mask", AT(attributes_mask), 0x02, "does not fit" },
        { "MRENCLAVE", AT(enclave_hash), 0x01, "does not fit" },
        { "MRENCLAVE's end", AT(enclave_hash) + 31, 0x80, "does not fit" },
        { "ISVPRODID", AT(isv_prod_id), 0x01, "does not fit" },
        { "ISVSVN", AT(isv_svn) + 1, 0x01, "does not fit" },
        { "Q1", AT(q1), 0x01, "Q1" },
        { "Q1's end", AT(q1) + 383, 0x80, "Q1" },
        { "Q2", AT(q2) + 7, 0x20, "Q2" },
    };
    struct sgx_sigstruct good;
    build(&good);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err = { 0 };
        struct sgx_sigstruct bad = good;
        ((uint8_t *)&bad)[cases[i].at] ^= cases[i].flip;
        int got = sigstruct_check(&bad, &err);
        if (got != -EBADMSG || !strstr(err.text, cases[i].says))
            fail_msg("%s: got %d and '%s', want '%s'", cases[i].name, got, err.text, cases[i].says);
    }
}

/* Not one bit of the 14,464 may change. */
static void test_no_bit_is_free(void **state UNUSED)
{
    struct sgx_sigstruct s;
    struct err err;
    build(&s);
    for (size_t byte = 0; byte < sizeof(s); byte++) {
        uint8_t flip = (uint8_t)(1u << byte % 8);
        ((uint8_t *)&s)[byte] ^= flip;
        if (sigstruct_check(&s, &err) == 0)
            fail_msg("byte %zu may change", byte);
        ((uint8_t *)&s)[byte] ^= flip;
    }
    assert_int_equal(sigstruct_check(&s, &err), 0);
}

static void test_signature_not_below_modulus(void **state UNUSED)
{
    struct sgx_sigstruct s;
    struct err err;
    build(&s);
    memcpy(s.signature, s.modulus, sizeof(s.signature));
    assert_int_equal(sigstruct_check(&s, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "not below the modulus"));
}

/* Well signed, but not by our rules. */
static void test_profile_refuses(void **state UNUSED)
{
    struct sigstruct_params base, p;
    struct sgx_sigstruct s;
    struct err err;
    sigstruct_profile(&base, true);
    base.date = 0x20261122;
    assert_int_equal(sigstruct_build(&base, g_key, &s, &err), 0);
    assert_int_equal(sigstruct_check_profile(&s, &err), 0);

    for (int i = 0; i < 8; i++) {
        p = base;
        switch (i) {
        case 0: p.attributes.flags |= SGX_ATTR_PROVISIONKEY; break;
        case 1: p.attributes.flags &= ~SGX_ATTR_MODE64BIT; break;
        case 2: p.attributes_mask.flags &= ~SGX_ATTR_DEBUG; break;
        case 3: p.misc_select = 0; break;
        case 4: p.misc_mask = 1; break;
        case 5: p.attributes.xfrm |= SGX_XFRM_AMX; break;
        case 6: p.attributes_mask.xfrm &= ~SGX_XFRM_PKRU; break;
        case 7: p.attributes.xfrm &= ~SGX_XFRM_SSE; break;
        }
        assert_int_equal(sigstruct_build(&p, g_key, &s, &err), 0);
        if (sigstruct_check_profile(&s, &err) != -EBADMSG)
            fail_msg("case %d was accepted", i);
    }
}

static void test_date(void **state UNUSED)
{
    static const struct {
        const char *value;
        uint32_t want; /* 0: refused */
    } cases[] = {
        { "0", 0x19700101 },
        { "86399", 0x19700101 },
        { "951782400", 0x20000229 },
        { "1795305600", 0x20261122 },
        { "253402300799", 0x99991231 },
        { "253402300800", 0 },
        { "", 0 },
        { "-1", 0 },
        { " 1", 0 },
        { "1x", 0 },
        { "99999999999999999999", 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct err err;
        uint32_t got = 0;
        setenv("SOURCE_DATE_EPOCH", cases[i].value, 1);
        int r = sigstruct_date(&got, &err);
        if (got != cases[i].want || (r < 0) != (cases[i].want == 0))
            fail_msg("'%s': got %x, want %x", cases[i].value, got, cases[i].want);
    }
    unsetenv("SOURCE_DATE_EPOCH");
    struct err err;
    uint32_t today = 0;
    assert_int_equal(sigstruct_date(&today, &err), 0);
    assert_true(today > 0x20260000);
}

static void test_load(void **state UNUSED)
{
    char dir[] = "/tmp/sgxpy-sigstruct-XXXXXX";
    assert_non_null(mkdtemp(dir));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct sgx_sigstruct s, got;
    struct err err;
    build(&s);
    assert_int_equal(file_store(fd, "good", &s, sizeof(s), 0644, 0, &err), 0);
    assert_int_equal(file_store(fd, "cut", &s, sizeof(s) - 1, 0644, 0, &err), 0);
    assert_int_equal(file_store(fd, "empty", &s, 0, 0644, 0, &err), 0);
    uint8_t longer[sizeof(s) + 1] = { 0 };
    memcpy(longer, &s, sizeof(s));
    assert_int_equal(file_store(fd, "long", longer, sizeof(longer), 0644, 0, &err), 0);
    s.isv_svn++;
    assert_int_equal(file_store(fd, "changed", &s, sizeof(s), 0644, 0, &err), 0);
    s.isv_svn--;

    assert_int_equal(sigstruct_load(fd, "good", &got, &err), 0);
    assert_memory_equal(&got, &s, sizeof(s));
    assert_int_equal(sigstruct_load(fd, "cut", &got, &err), -EBADMSG);
    assert_int_equal(sigstruct_load(fd, "empty", &got, &err), -EBADMSG);
    assert_int_equal(sigstruct_load(fd, "long", &got, &err), -EFBIG);
    assert_int_equal(sigstruct_load(fd, "changed", &got, &err), -EBADMSG);
    assert_non_null(strstr(err.text, "'changed' is no SIGSTRUCT we accept: the signature"));
    assert_int_equal(sigstruct_load(fd, "none", &got, &err), -ENOENT);
    close(fd);
    assert_int_equal(tree_remove(AT_FDCWD, dir, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_check_refuses),
        cmocka_unit_test(test_no_bit_is_free),
        cmocka_unit_test(test_signature_not_below_modulus),
        cmocka_unit_test(test_profile_refuses),
        cmocka_unit_test(test_date),
        cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
