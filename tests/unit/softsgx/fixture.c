#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "core/sha256.h"

#define MUST(call)                               \
    do {                                         \
        struct err err = { 0 };                  \
        if ((call) < 0)                          \
            fail_msg("%s: %s", #call, err.text); \
    } while (0)

bool g_fixture_single_step;

struct softsgx_options fixture_options(void)
{
    return (struct softsgx_options){ .poison = getenv("SOFTSGX_POISON") != NULL,
                                     .single_step = g_fixture_single_step };
}

void fixture_secs(struct sgx_secs *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->size = TE_SIZE;
    ret->ssa_frame_size = TE_FRAME / SGX_PAGE_SIZE;
    ret->misc_select = SGX_MISC_EXINFO;
    ret->attributes.flags = SGX_ATTR_MODE64BIT;
    ret->attributes.xfrm = SGX_XFRM_LEGACY | SGX_XFRM_AVX;
}

void fixture_create(struct fixture *f)
{
    struct softsgx_options options = fixture_options();
    struct sgx_secs secs;
    fixture_secs(&secs);
    memset(f, 0, sizeof(*f));
    softsgx_close(g_soft); /* of a test that failed */
    MUST(softsgx_open(&options, &f->s, &err));
    MUST(softsgx_create(f->s, &secs, &err));
}

uint64_t te_thread(uint32_t index)
{
    return TE_THREADS + (uint64_t)index * TE_STRIDE;
}

void fixture_add(struct fixture *f, uint32_t threads)
{
    static uint8_t code[4 * SGX_PAGE_SIZE];
    size_t size = (size_t)(test_enclave_end - test_enclave_begin);
    assert_true(size <= sizeof(code));
    memcpy(code, test_enclave_begin, size);
    uint64_t rw = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W;
    MUST(softsgx_add(f->s, TE_CODE, code, 4, SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_X, true,
                     &err));
    MUST(softsgx_add(f->s, TE_DATA, NULL, TE_DATA_PAGES, rw, false, &err));
    for (uint32_t i = 0; i < threads; i++) {
        uint64_t at = te_thread(i);
        union {
            struct sgx_tcs tcs;
            uint64_t words[SGX_PAGE_SIZE / 8];
        } page = { 0 };
        page.tcs = (struct sgx_tcs){ .ossa = at + TE_SSA,
                                     .nssa = TE_NSSA,
                                     .oentry = TE_CODE,
                                     .ofs_base = at + TE_BLOCK,
                                     .ogs_base = at + TE_BLOCK };
        MUST(softsgx_add(f->s, at + TE_TCS, &page, 1, SGX_SECINFO_TCS, true, &err));
        MUST(softsgx_add(f->s, at + TE_SSA, NULL, 8, rw, false, &err));
        memset(&page, 0, sizeof(page));
        page.words[0] = at + TE_BLOCK;
        MUST(softsgx_add(f->s, at + TE_BLOCK, &page, 1, rw, true, &err));
        MUST(softsgx_add(f->s, at + TE_STACK, NULL, 8, rw, false, &err));
    }
    f->threads = threads;
}

/* A key for all tests of a program: 3072 bits and exponent 3, in big numbers of its own. */
static EVP_PKEY *test_key(void)
{
    static EVP_PKEY *key;
    if (key)
        return key;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    BIGNUM *e = BN_new();
    BN_set_word(e, 3);
    assert_true(EVP_PKEY_keygen_init(ctx) > 0 && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 3072) > 0 &&
                EVP_PKEY_CTX_set1_rsa_keygen_pubexp(ctx, e) > 0 && EVP_PKEY_keygen(ctx, &key) > 0);
    BN_free(e);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

void fixture_resign(struct sgx_sigstruct *sig)
{
    uint8_t bytes[256], big[SGX_MODULUS_SIZE];
    size_t size = sizeof(big);
    EVP_PKEY *key = test_key();
    BIGNUM *n = NULL;
    BN_CTX *ctx = BN_CTX_new();
    assert_true(EVP_PKEY_get_bn_param(key, "n", &n));
    BN_bn2lebinpad(n, sig->modulus, SGX_MODULUS_SIZE);
    memcpy(bytes, sig, 128);
    memcpy(bytes + 128, (uint8_t *)sig + 900, 128);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    assert_true(EVP_DigestSignInit(md, NULL, EVP_sha256(), NULL, key) > 0 &&
                EVP_DigestSign(md, big, &size, bytes, sizeof(bytes)) > 0);
    EVP_MD_CTX_free(md);
    BIGNUM *x = BN_bin2bn(big, (int)size, NULL), *a = BN_new(), *q = BN_new(), *r = BN_new();
    BN_bn2lebinpad(x, sig->signature, SGX_MODULUS_SIZE);
    BN_sqr(a, x, ctx);
    BN_div(q, r, a, n, ctx);
    BN_bn2lebinpad(q, sig->q1, SGX_MODULUS_SIZE);
    BN_mul(a, r, x, ctx);
    BN_div(q, NULL, a, n, ctx);
    BN_bn2lebinpad(q, sig->q2, SGX_MODULUS_SIZE);
    BN_free(x);
    BN_free(a);
    BN_free(q);
    BN_free(r);
    BN_free(n);
    BN_CTX_free(ctx);
}

void fixture_sign(struct fixture *f)
{
    struct sgx_sigstruct *sig = &f->sigstruct;
    static const uint8_t header1[] = SGX_SIG_HEADER1, header2[] = SGX_SIG_HEADER2;
    memset(sig, 0, sizeof(*sig));
    memcpy(sig->header, header1, sizeof(header1));
    memcpy(sig->header2, header2, sizeof(header2));
    sig->date = 0x20260101;
    sig->exponent = 3;
    sig->misc_select = f->s->secs.misc_select;
    sig->misc_mask = UINT32_MAX;
    sig->attributes = f->s->secs.attributes;
    sig->attributes_mask.flags = UINT64_MAX;
    sig->attributes_mask.xfrm = ~(uint64_t)SGX_XFRM_AVX;
    sig->isv_prod_id = 7;
    sig->isv_svn = 3;
    struct measure copy = f->s->measure;
    measure_end(&copy, sig->enclave_hash);
    fixture_resign(sig);
}

void fixture_up(struct fixture *f, uint32_t threads, bool jumps)
{
    fixture_create(f);
    fixture_add(f, threads);
    fixture_sign(f);
    MUST(softsgx_init(f->s, &f->sigstruct, NULL, &err));
    if (jumps) {
        const char *sites[] = { test_site_exit, test_site_leaf, test_site_many, test_site_copies };
        uint64_t addresses[4];
        for (size_t i = 0; i < 4; i++)
            addresses[i] = TE_CODE + (uint64_t)(sites[i] - test_enclave_begin);
        MUST(softsgx_enclu_sites(f->s, addresses, 4, &err));
    }
    MUST(softsgx_thread_begin(f->s, &err));
}

void fixture_down(struct fixture *f)
{
    softsgx_thread_end(f->s);
    softsgx_close(f->s);
    f->s = NULL;
}

struct softsgx_run te_run(uint32_t thread, uint64_t command, uint64_t rsi, uint64_t rdx,
                          uint64_t r8, uint64_t r9)
{
    return (struct softsgx_run){ .tcs = te_thread(thread) + TE_TCS,
                                 .rdi = command,
                                 .rsi = rsi,
                                 .rdx = rdx,
                                 .r8 = r8,
                                 .r9 = r9 };
}

static bool is_noise(const struct fixture *f, const struct softsgx_run *run)
{
    if (!f->s->options.poison)
        return false;
    return run->exit == SOFTSGX_INTERRUPT ||
           (run->exit == SOFTSGX_EXCEPTION && run->vector == SGX_VECTOR_PF &&
            !(run->error_code & SGX_PFEC_SGX) && run->address >= SOFT_ELRANGE_START &&
            run->address < TE_SIZE);
}

static void settle(struct fixture *f, struct softsgx_run *run)
{
    while (is_noise(f, run)) {
        if (atomic_load(&tcs_find(f->s, run->tcs)->cssa) < TE_NSSA) {
            struct softsgx_run nested = *run;
            nested.rdi = C_NOP;
            assert_int_equal(softsgx_enter(f->s, &nested), 0);
            while (nested.exit == SOFTSGX_INTERRUPT) /* CSSA is NSSA now: only back */
                assert_int_equal(softsgx_resume(f->s, &nested), 0);
            assert_int_equal(nested.exit, SOFTSGX_EEXIT);
        }
        assert_int_equal(softsgx_resume(f->s, run), 0);
    }
}

void te_enter(struct fixture *f, struct softsgx_run *run)
{
    assert_int_equal(softsgx_enter(f->s, run), 0);
    settle(f, run);
}

void te_resume(struct fixture *f, struct softsgx_run *run)
{
    assert_int_equal(softsgx_resume(f->s, run), 0);
    settle(f, run);
}

void te_do(struct fixture *f, uint32_t thread, uint64_t command, uint64_t rsi, uint64_t rdx,
           uint64_t r8, uint64_t r9)
{
    struct softsgx_run run = te_run(thread, command, rsi, rdx, r8, r9);
    te_enter(f, &run);
    if (run.exit != SOFTSGX_EEXIT)
        fail_msg("command %llu: exit %d, vector %u, address 0x%llx", (unsigned long long)command,
                 run.exit, run.vector, (unsigned long long)run.address);
}

uint64_t te_peek(struct fixture *f, uint64_t address)
{
    uint64_t value = 0;
    assert_int_equal(enclave_peek(f->s, address, &value, sizeof(value)), 0);
    return value;
}

void te_poke(struct fixture *f, uint64_t address, uint64_t value)
{
    assert_int_equal(enclave_poke(f->s, address, &value, sizeof(value)), 0);
}

uint64_t te_result(struct fixture *f, uint32_t thread, uint32_t index)
{
    return te_peek(f, te_thread(thread) + TE_BLOCK + B_RESULT + 8ull * index);
}

void te_secinfo(struct fixture *f, uint64_t flags)
{
    te_poke(f, TE_DATA, flags);
}

uint64_t te_enclu(struct fixture *f, uint32_t leaf, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
    te_do(f, 0, C_ENCLU, leaf, rbx, rcx, rdx);
    assert_int_equal(te_result(f, 0, 2), 0); /* registers that the leaf must leave alone */
    return te_result(f, 0, 0);
}

uint64_t te_accept(struct fixture *f, uint64_t address, uint64_t secinfo_flags)
{
    te_secinfo(f, secinfo_flags);
    return te_enclu(f, SGX_EACCEPT, TE_DATA, address, 0);
}
