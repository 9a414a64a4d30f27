#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "signer/keys.h"
#include "util/fs.h"

static char g_dir[] = "/tmp/sgxpy-keys-XXXXXX";

static int setup(void **state UNUSED)
{
    return mkdtemp(g_dir) ? 0 : -1;
}

static int teardown(void **state UNUSED)
{
    struct err err;
    return tree_remove(AT_FDCWD, g_dir, &err);
}

static const char *in_dir(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", g_dir, name);
    return path;
}

static void expect(const struct err *err, const char *part)
{
    if (!strstr(err->text, part))
        fail_msg("'%s' does not say '%s'", err->text, part);
}

static void test_generate_store_load(void **state UNUSED)
{
    struct err err;
    struct signing_key *key = NULL, *again = NULL;
    assert_int_equal(keys_generate(&key, &err), 0);
    assert_int_equal(keys_store(key, in_dir("new.pem"), &err), 0);

    struct stat st;
    assert_int_equal(stat(in_dir("new.pem"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);

    assert_int_equal(keys_load(in_dir("new.pem"), &again, &err), 0);
    uint8_t a[SGX_MODULUS_SIZE], b[SGX_MODULUS_SIZE];
    keys_modulus(key, a);
    keys_modulus(again, b);
    assert_memory_equal(a, b, sizeof(a));
    assert_true(a[SGX_MODULUS_SIZE - 1] & 0x80);
    assert_true(a[0] & 1);
    keys_free(again);

    assert_int_equal(keys_store(key, in_dir("new.pem"), &err), -EEXIST);
    expect(&err, "not overwritten");
    struct stat after;
    assert_int_equal(stat(in_dir("new.pem"), &after), 0);
    assert_int_equal(after.st_ino, st.st_ino);
    keys_free(key);
}

static void test_permissions(void **state UNUSED)
{
    static const mode_t modes[] = { 0640, 0604, 0660, 0602, 0644, 0610 };
    struct err err;
    struct signing_key *key = NULL;
    char *pem;
    size_t size;
    assert_int_equal(file_load(AT_FDCWD, TEST_DATA "/test_key.pem", 1 << 16, &pem, &size, &err), 0);
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        assert_int_equal(file_store(AT_FDCWD, in_dir("mode.pem"), pem, size, modes[i], 0, &err), 0);
        if (keys_load(in_dir("mode.pem"), &key, &err) != -EPERM)
            fail_msg("mode %o was accepted", (unsigned)modes[i]);
        expect(&err, "chmod 600");
    }
    assert_int_equal(file_store(AT_FDCWD, in_dir("mode.pem"), pem, size, 0400, 0, &err), 0);
    assert_int_equal(keys_load(in_dir("mode.pem"), &key, &err), 0);
    keys_free(key);
    free(pem);
}

static void store_pkey(const char *name, EVP_PKEY *pkey, const EVP_CIPHER *cipher)
{
    assert_non_null(pkey);
    FILE *file = fopen(in_dir(name), "we");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    assert_true(PEM_write_PKCS8PrivateKey(file, pkey, cipher, cipher ? "secret" : NULL,
                                          cipher ? 6 : 0, NULL, NULL));
    fclose(file);
}

static EVP_PKEY *rsa(int bits, unsigned exponent)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *e = BN_new();
    EVP_PKEY *pkey = NULL;
    BN_set_word(e, exponent);
    assert_true(EVP_PKEY_keygen_init(ctx) > 0);
    assert_true(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, bits) > 0);
    assert_true(EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) > 0);
    assert_true(EVP_PKEY_generate(ctx, &pkey) > 0);
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static void test_wrong_keys(void **state UNUSED)
{
    struct err err;
    EVP_PKEY *small = rsa(2048, 3), *other = rsa(3072, 65537), *ec = EVP_EC_gen("P-256");
    store_pkey("small.pem", small, NULL);
    store_pkey("other.pem", other, NULL);
    store_pkey("ec.pem", ec, NULL);
    store_pkey("locked.pem", other, EVP_aes_256_cbc());
    EVP_PKEY_free(small);
    EVP_PKEY_free(other);
    EVP_PKEY_free(ec);
    assert_int_equal(file_store(AT_FDCWD, in_dir("text.pem"), "hello\n", 6, 0600, 0, &err), 0);
    assert_int_equal(file_store(AT_FDCWD, in_dir("empty.pem"), "", 0, 0600, 0, &err), 0);
    char *pem;
    size_t size;
    assert_int_equal(file_load(AT_FDCWD, TEST_DATA "/test_key.pem", 1 << 16, &pem, &size, &err), 0);
    assert_int_equal(file_store(AT_FDCWD, in_dir("cut.pem"), pem, size / 2, 0600, 0, &err), 0);
    free(pem);

    static const struct {
        const char *name;
        int want;
        const char *says;
    } cases[] = {
        { "small.pem", -EBADMSG, "3072 bits, this one has 2048" },
        { "other.pem", -EBADMSG, "exponent 3" },
        { "ec.pem", -EBADMSG, "is RSA, this one is EC" },
        { "locked.pem", -EBADMSG, "encrypted" },
        { "text.pem", -EBADMSG, "no PEM private key" },
        { "empty.pem", -EBADMSG, "no PEM private key" },
        { "cut.pem", -EBADMSG, "no PEM private key" },
        { "missing.pem", -ENOENT, "missing.pem" },
        { ".", -EINVAL, "not a regular file" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct signing_key *key = NULL;
        int got = keys_load(in_dir(cases[i].name), &key, &err);
        if (got != cases[i].want || key)
            fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
        expect(&err, cases[i].says);
        expect(&err, in_dir(cases[i].name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_generate_store_load),
        cmocka_unit_test(test_permissions),
        cmocka_unit_test(test_wrong_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
