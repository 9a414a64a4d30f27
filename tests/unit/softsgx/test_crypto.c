/* EREPORT and EGETKEY: the right enclave gets the key, nobody else, and every field is covered. */
#include "fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/aes_cmac.h"
#include "util/fs.h"

#define SECRETS \
    (TE_DATA + 0x4000) /* TARGETINFO, REPORTDATA, KEYREQUEST, REPORT, key: a page each */
#define TARGET  SECRETS
#define DATA    (SECRETS + 0x1000)
#define REQUEST (SECRETS + 0x2000)
#define REPORT  (SECRETS + 0x3000)
#define KEY     (SECRETS + 0x4000)
#define GP      0x100000
#define PF      0x200000

static void put(struct fixture *f, uint64_t at, const void *data, size_t size)
{
    assert_int_equal(enclave_poke(f->s, at, data, size), 0);
}

static uint64_t leaf(struct fixture *f, uint32_t number, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
    struct softsgx_run run = te_run(0, C_ENCLU, number, rbx, rcx, rdx);
    te_enter(f, &run);
    if (run.exit == SOFTSGX_EEXIT) {
        assert_int_equal(te_result(f, 0, 2), 0);
        return number == SGX_EREPORT ? 0 : te_result(f, 0, 0);
    }
    te_do(f, 0, C_SSA_RIP, 16, 0, 0, 0);
    uint32_t vector = run.vector;
    te_resume(f, &run);
    return vector == SGX_VECTOR_GP ? GP : PF;
}

static void targetinfo_self(struct fixture *f, struct sgx_targetinfo *ret)
{
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->mrenclave, f->s->secs.mrenclave, sizeof(ret->mrenclave));
    ret->attributes = f->s->secs.attributes;
    ret->misc_select = f->s->secs.misc_select;
}

static void make_report(struct fixture *f, const struct sgx_targetinfo *target,
                        struct sgx_report *ret)
{
    uint8_t data[SGX_REPORTDATA_SIZE];
    memset(data, 0x77, sizeof(data));
    put(f, TARGET, target, sizeof(*target));
    put(f, DATA, data, sizeof(data));
    assert_int_equal(leaf(f, SGX_EREPORT, TARGET, DATA, REPORT), 0);
    assert_int_equal(enclave_peek(f->s, REPORT, ret, sizeof(*ret)), 0);
}

static uint64_t get_key(struct fixture *f, const struct sgx_keyrequest *request, uint8_t *ret)
{
    put(f, REQUEST, request, sizeof(*request));
    uint64_t code = leaf(f, SGX_EGETKEY, REQUEST, KEY, 0);
    assert_int_equal(enclave_peek(f->s, KEY, ret, SGX_KEY_SIZE), 0);
    return code;
}

static bool verifies(struct fixture *f, const struct sgx_report *report)
{
    struct sgx_keyrequest request = { .key_name = SGX_KEY_REPORT };
    uint8_t key[SGX_KEY_SIZE], mac[SGX_MAC_SIZE];
    memcpy(request.key_id, report->key_id, sizeof(request.key_id));
    assert_int_equal(get_key(f, &request, key), 0);
    aes_cmac(key, report, SGX_REPORT_MAC_COVERS, mac);
    return memcmp(mac, report->mac, sizeof(mac)) == 0;
}

static void test_report(void **state UNUSED)
{
    struct fixture f;
    struct sgx_report report;
    struct sgx_targetinfo target;
    fixture_up(&f, 1, true);
    targetinfo_self(&f, &target);
    make_report(&f, &target, &report);
    assert_memory_equal(report.mrenclave, f.sigstruct.enclave_hash, SGX_HASH_SIZE);
    assert_memory_equal(report.mrsigner, f.s->secs.mrsigner, SGX_HASH_SIZE);
    assert_int_equal(report.isv_prod_id, 7);
    assert_int_equal(report.isv_svn, 3);
    assert_int_equal(report.attributes.flags, SGX_ATTR_MODE64BIT | SGX_ATTR_INIT);
    assert_int_equal(report.report_data[63], 0x77);
    assert_true(verifies(&f, &report));

    /* Every byte the MAC covers. */
    for (size_t i = 0; i < SGX_REPORT_MAC_COVERS; i += 7) {
        struct sgx_report other = report;
        ((uint8_t *)&other)[i] ^= 1;
        if (verifies(&f, &other))
            fail_msg("byte %zu is not covered", i);
    }
    struct sgx_report other = report;
    other.key_id[3] ^= 1;
    assert_false(verifies(&f, &other));

    /* For another target we get another key. */
    static const size_t places[] = { offsetof(struct sgx_targetinfo, mrenclave),
                                     offsetof(struct sgx_targetinfo, attributes),
                                     offsetof(struct sgx_targetinfo, attributes) + 8,
                                     offsetof(struct sgx_targetinfo, misc_select),
                                     offsetof(struct sgx_targetinfo, config_id) + 63,
                                     offsetof(struct sgx_targetinfo, config_svn),
                                     offsetof(struct sgx_targetinfo, cet_attributes) };
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        struct sgx_targetinfo wrong = target;
        ((uint8_t *)&wrong)[places[i]] ^= 1;
        make_report(&f, &wrong, &other);
        if (verifies(&f, &other))
            fail_msg("a report for TARGETINFO changed at %zu verifies", places[i]);
    }
    fixture_down(&f);
}

static void test_report_across(void **state UNUSED)
{
    struct fixture f;
    struct sgx_report report;
    struct sgx_targetinfo target;
    fixture_up(&f, 1, true);
    targetinfo_self(&f, &target);
    make_report(&f, &target, &report);
    fixture_down(&f);
    fixture_up(&f, 1, true); /* another process of this user: the same key file */
    assert_true(verifies(&f, &report));
    fixture_down(&f);
    fixture_up(&f, 2, true); /* another enclave */
    assert_false(verifies(&f, &report));
    fixture_down(&f);
}

static void test_operands(void **state UNUSED)
{
    struct fixture f;
    struct sgx_keyrequest q = { .key_name = SGX_KEY_REPORT };
    fixture_up(&f, 1, true);
    put(&f, REQUEST, &q, sizeof(q));
    assert_int_equal(leaf(&f, SGX_EREPORT, TARGET + 8, DATA, REPORT), GP);
    assert_int_equal(leaf(&f, SGX_EREPORT, TARGET, DATA + 64, REPORT), GP);
    assert_int_equal(leaf(&f, SGX_EREPORT, TARGET, DATA, REPORT + 256), GP);
    assert_int_equal(leaf(&f, SGX_EREPORT, TE_SIZE, DATA, REPORT), GP);
    assert_int_equal(leaf(&f, SGX_EREPORT, 0x10000000, DATA, REPORT), PF);
    assert_int_equal(leaf(&f, SGX_EREPORT, TARGET, DATA, TE_CODE), PF);
    assert_int_equal(leaf(&f, SGX_EGETKEY, REQUEST + 16, KEY, 0), GP);
    assert_int_equal(leaf(&f, SGX_EGETKEY, REQUEST, KEY + 8, 0), GP);
    assert_int_equal(leaf(&f, SGX_EGETKEY, REQUEST, TE_SIZE, 0), GP);
    assert_int_equal(leaf(&f, SGX_EGETKEY, REQUEST, TE_CODE, 0), PF);
    assert_int_equal(leaf(&f, SGX_EENTER, REQUEST, TE_CODE, 0), GP);
    assert_int_equal(leaf(&f, SGX_ERESUME, REQUEST, TE_CODE, 0), GP);
    assert_int_equal(leaf(&f, 0x99, REQUEST, TE_CODE, 0), GP);
    fixture_down(&f);
}

static const struct {
    const char *name;
    struct sgx_keyrequest request;
    uint64_t want;
} key_rows[] = {
    { "no such key", { .key_name = 9 }, SGX_INVALID_KEYNAME },
    { "reserved policy", { .key_name = SGX_KEY_SEAL, .key_policy = 0x40 }, GP },
    { "KSS policy", { .key_name = SGX_KEY_SEAL, .key_policy = SGX_KEYPOLICY_CONFIGID }, GP },
    { "reserved byte", { .key_name = SGX_KEY_SEAL, .reserved1 = { 1 } }, GP },
    { "reserved bytes", { .key_name = SGX_KEY_SEAL, .reserved2 = { [433] = 1 } }, GP },
    { "ISVSVN in the future", { .key_name = SGX_KEY_SEAL, .isv_svn = 4 }, SGX_INVALID_ISVSVN },
    { "CPUSVN in the future", { .key_name = SGX_KEY_SEAL, .cpu_svn = { 2 } }, SGX_INVALID_CPUSVN },
    { "launch key", { .key_name = SGX_KEY_EINITTOKEN }, SGX_INVALID_ATTRIBUTE },
    { "provisioning key", { .key_name = SGX_KEY_PROVISION }, SGX_INVALID_ATTRIBUTE },
    { "provisioning seal key", { .key_name = SGX_KEY_PROVISION_SEAL }, SGX_INVALID_ATTRIBUTE },
    { "seal key", { .key_name = SGX_KEY_SEAL, .isv_svn = 3 }, SGX_SUCCESS },
};

static void test_keys(void **state UNUSED)
{
    struct fixture f;
    uint8_t key[SGX_KEY_SIZE], other[SGX_KEY_SIZE];
    fixture_up(&f, 1, true);
    for (size_t i = 0; i < ARRAY_SIZE(key_rows); i++) {
        uint64_t got = get_key(&f, &key_rows[i].request, key);
        if (got != key_rows[i].want)
            fail_msg("%s: got 0x%llx", key_rows[i].name, (unsigned long long)got);
    }
    /* Seal keys: stable, and different by policy, SVN, KEYID. */
    struct sgx_keyrequest q = { .key_name = SGX_KEY_SEAL, .key_policy = SGX_KEYPOLICY_MRSIGNER };
    assert_int_equal(get_key(&f, &q, key), 0);
    assert_int_equal(get_key(&f, &q, other), 0);
    assert_memory_equal(key, other, sizeof(key));
    q.key_policy = SGX_KEYPOLICY_MRENCLAVE;
    assert_int_equal(get_key(&f, &q, other), 0);
    assert_memory_not_equal(key, other, sizeof(key));
    q.key_policy = SGX_KEYPOLICY_MRSIGNER;
    q.isv_svn = 1;
    assert_int_equal(get_key(&f, &q, other), 0);
    assert_memory_not_equal(key, other, sizeof(key));
    fixture_down(&f);
}

/* Host processes of one tree, or of one user, that are the first to need the secret, all at once: they
 * agree on it, or no enclave could attest another. */
#define FIRST  8
#define ROUNDS 20
static void test_first_key(void **state UNUSED)
{
    for (int round = 0; round < ROUNDS; round++) {
        char folder[] = "/tmp/sgxpy-key-XXXXXX";
        int go[2], keys[2];
        assert_non_null(mkdtemp(folder));
        assert_int_equal(pipe(go) | pipe(keys), 0);
        for (int i = 0; i < FIRST; i++) {
            if (fork() != 0)
                continue;
            static struct softsgx s;
            struct err err = { 0 };
            char byte;
            close(go[1]);
            if (setenv("XDG_DATA_HOME", folder, 1) < 0 || read(go[0], &byte, 1) != 0)
                _exit(1);
            if (soft_keys_load(&s, &err) < 0)
                memset(s.root_key, i, sizeof(s.root_key));
            _exit(write(keys[1], s.root_key, sizeof(s.root_key)) < 0);
        }
        close(go[0]);
        close(go[1]); /* all go on */
        uint8_t first[sizeof(((struct softsgx *)0)->root_key)], key[sizeof(first)];
        for (int i = 0; i < FIRST; i++) {
            int status;
            assert_int_equal(read(keys[0], i == 0 ? first : key, sizeof(key)), sizeof(key));
            if (i > 0)
                assert_memory_equal(key, first, sizeof(key));
            assert_true(wait(&status) > 0 && status == 0);
        }
        close(keys[0]);
        close(keys[1]);
        assert_int_equal(tree_remove(AT_FDCWD, folder, NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report),    cmocka_unit_test(test_report_across),
        cmocka_unit_test(test_operands),  cmocka_unit_test(test_keys),
        cmocka_unit_test(test_first_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
