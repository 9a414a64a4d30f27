#include "signer/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "core/bytes.h"
#include "core/sha256.h"
#include "util/fs.h"

#define KEY_FILE_MAX (64u << 10)

struct signing_key {
    EVP_PKEY *pkey;
    uint8_t modulus[SGX_MODULUS_SIZE]; /* little-endian */
};

static void pkey_free_p(EVP_PKEY **p)
{
    EVP_PKEY_free(*p);
}

static void pkey_ctx_free_p(EVP_PKEY_CTX **p)
{
    EVP_PKEY_CTX_free(*p);
}

static void md_ctx_free_p(EVP_MD_CTX **p)
{
    EVP_MD_CTX_free(*p);
}

static void bn_free_p(BIGNUM **p)
{
    BN_free(*p);
}

static void bio_free_p(BIO **p)
{
    BIO_free(*p);
}

/* The reason OpenSSL gave last, for a message; empties its queue. */
static const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return reason ? reason : "unknown reason";
}

void keys_free(struct signing_key *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

void keys_free_p(struct signing_key **key)
{
    int saved = errno;
    keys_free(*key);
    errno = saved;
}

/* Checks what EINIT asks of a key and takes pkey over, also on failure. */
static int wrap(EVP_PKEY *owned, const char *name, struct signing_key **ret, struct err *err)
{
    CLEANUP(pkey_free_p) EVP_PKEY *pkey = owned;
    if (!EVP_PKEY_is_a(pkey, "RSA"))
        return err_set(err, -EBADMSG, "'%s': an enclave key is RSA, this one is %s", name,
                       EVP_PKEY_get0_type_name(pkey));
    if (EVP_PKEY_get_bits(pkey) != 8 * (int)SGX_MODULUS_SIZE)
        return err_set(err, -EBADMSG, "'%s': an enclave key has 3072 bits, this one has %d", name,
                       EVP_PKEY_get_bits(pkey));

    CLEANUP(bn_free_p) BIGNUM *n = NULL;
    CLEANUP(bn_free_p) BIGNUM *e = NULL;
    if (!EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) ||
        !EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e))
        return err_set(err, -EBADMSG, "'%s': %s", name, openssl_reason());
    if (!BN_is_word(e, SGX_SIG_EXPONENT))
        return err_set(err, -EBADMSG,
                       "'%s': an enclave key has the exponent 3, this one another "
                       "(make one with `sgxpy keygen`)",
                       name);

    struct signing_key *key = calloc(1, sizeof(*key));
    if (!key)
        return err_set(err, -ENOMEM, "'%s': out of memory", name);
    if (BN_bn2lebinpad(n, key->modulus, sizeof(key->modulus)) < 0) {
        free(key);
        return err_set(err, -EBADMSG, "'%s': the modulus does not fit", name);
    }
    key->pkey = TAKE_PTR(pkey);
    *ret = key;
    return 0;
}

int keys_generate(struct signing_key **ret, struct err *err)
{
    CLEANUP(pkey_ctx_free_p) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    CLEANUP(bn_free_p) BIGNUM *e = BN_new();
    EVP_PKEY *pkey = NULL;
    if (!ctx || !e || !BN_set_word(e, SGX_SIG_EXPONENT) || EVP_PKEY_keygen_init(ctx) <= 0 ||
        EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 8 * (int)SGX_MODULUS_SIZE) <= 0 ||
        EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) <= 0 || EVP_PKEY_generate(ctx, &pkey) <= 0)
        return err_set(err, -EIO, "making a key: %s", openssl_reason());
    return wrap(pkey, "new key", ret, err);
}

int keys_store(const struct signing_key *key, const char *path, struct err *err)
{
    CLEANUP(bio_free_p) BIO *bio = BIO_new(BIO_s_secmem());
    char *pem = NULL;
    long size;
    if (!bio || !PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) ||
        (size = BIO_get_mem_data(bio, &pem)) <= 0)
        return err_set(err, -EIO, "writing '%s': %s", path, openssl_reason());
    return file_store(AT_FDCWD, path, pem, (size_t)size, 0600, 1, err);
}

/* Instead of OpenSSL's default, which would ask on the terminal. */
static int no_passphrase(char *buf UNUSED, int size UNUSED, int writing UNUSED, void *asked)
{
    *(int *)asked = 1;
    return -1;
}

int keys_parse(const void *pem, size_t size, const char *name, struct signing_key **ret,
               struct err *err)
{
    if (size > KEY_FILE_MAX)
        return err_set(err, -EFBIG, "'%s': too large for a key", name);
    CLEANUP(bio_free_p) BIO *bio = BIO_new_mem_buf(pem, (int)size);
    if (!bio)
        return err_set(err, -ENOMEM, "'%s': out of memory", name);
    int asked = 0;
    EVP_PKEY *pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked);
    if (!pkey) {
        ERR_clear_error();
        return err_set(err, -EBADMSG, "'%s': %s", name,
                       asked ? "an encrypted key, which is not supported"
                             : "holds no PEM private key");
    }
    return wrap(pkey, name, ret, err);
}

int keys_load(const char *path, struct signing_key **ret, struct err *err)
{
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set(err, -errno, "opening key '%s': %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set(err, -errno, "reading key '%s': %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "key '%s' is not a regular file", path);
    if (st.st_mode & 077)
        return err_set(err, -EPERM,
                       "key '%s' has mode %04o: others may get at it; `chmod 600` it, and make a "
                       "new one if they may have read it",
                       path, (unsigned)st.st_mode & 07777);
    if (st.st_size > (off_t)KEY_FILE_MAX)
        return err_set(err, -EFBIG, "'%s' is too large for a key", path);

    size_t size = (size_t)st.st_size;
    CLEANUP(free_p) uint8_t *pem = malloc(size + 1);
    if (!pem)
        return err_set(err, -ENOMEM, "reading key '%s': out of memory", path);
    ssize_t n = read_full(fd, pem, size);
    int r = n < 0 ? err_set(err, (int)n, "reading key '%s': %s", path, strerror((int)-n))
                  : keys_parse(pem, (size_t)n, path, ret, err);
    bytes_wipe(pem, size);
    return r;
}

void keys_modulus(const struct signing_key *key, uint8_t ret[static SGX_MODULUS_SIZE])
{
    memcpy(ret, key->modulus, sizeof(key->modulus));
}

void keys_mrsigner(const struct signing_key *key, uint8_t ret[static SGX_HASH_SIZE])
{
    sha256(key->modulus, sizeof(key->modulus), ret);
}

int keys_sign(const struct signing_key *key, const void *message, size_t size,
              uint8_t ret_signature[static SGX_MODULUS_SIZE], struct err *err)
{
    CLEANUP(md_ctx_free_p) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t big_endian[SGX_MODULUS_SIZE];
    size_t got = sizeof(big_endian);
    if (!ctx || EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) <= 0 ||
        EVP_DigestSign(ctx, big_endian, &got, message, size) <= 0 || got != sizeof(big_endian))
        return err_set(err, -EIO, "signing: %s", openssl_reason());
    for (size_t i = 0; i < sizeof(big_endian); i++)
        ret_signature[i] = big_endian[sizeof(big_endian) - 1 - i];
    return 0;
}
