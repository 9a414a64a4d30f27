/* AES-256-GCM: published vectors, BearSSL as oracle, damage, and how often memory outside is
 * touched. */
#include "core/aes_gcm.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <bearssl_aead.h>
#include <cmocka.h>

#include "core/bytes.h"
#include "core/cpu.h"

#define BIG 70000u

static uint8_t g_plain[BIG + 64] ALIGNED(16), g_cipher[BIG + 64] ALIGNED(16),
    g_opened[BIG + 64] ALIGNED(16), g_oracle[BIG + 64] ALIGNED(16);

static size_t unhex(const char *text, uint8_t *ret)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        ret[i] = (uint8_t)byte;
    }
    return n;
}

/* McGrew, Viega: "The Galois/Counter Mode of Operation (GCM)", appendix B, test cases 13 to 16. */
#define KEY_15  "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define ZERO_16 "00000000000000000000000000000000"
#define PLAIN_16                                                       \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" \
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define CIPHER_16                                                      \
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" \
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
static const struct {
    const char *name, *key, *nonce, *aad, *plain, *cipher, *tag;
} g_vectors[] = {
    { "13", ZERO_16 ZERO_16, "000000000000000000000000", "", "", "",
      "530f8afbc74536b9a963b4f1c4cb738b" },
    { "14", ZERO_16 ZERO_16, "000000000000000000000000", "", ZERO_16,
      "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919" },
    { "15", KEY_15, "cafebabefacedbaddecaf888", "", PLAIN_16 "1aafd255", CIPHER_16 "898015ad",
      "b094dac5d93471bdec1a502270e3cc6c" },
    { "16", KEY_15, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
      PLAIN_16, CIPHER_16, "76fc6ece0f4e1768cddf8853bb2d551b" },
};

static void test_vectors(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(g_vectors); i++) {
        uint8_t key[32], nonce[12], aad[32], plain[64], cipher[64], tag[16];
        uint8_t got[64], got_tag[16];
        assert_int_equal(unhex(g_vectors[i].key, key), 32);
        assert_int_equal(unhex(g_vectors[i].nonce, nonce), 12);
        size_t aad_size = unhex(g_vectors[i].aad, aad);
        size_t size = unhex(g_vectors[i].plain, plain);
        assert_int_equal(unhex(g_vectors[i].cipher, cipher), size);
        unhex(g_vectors[i].tag, tag);

        struct aes_gcm gcm;
        aes_gcm_init(&gcm, key);
        aes_gcm_seal(&gcm, nonce, aad, aad_size, plain, size, got, got_tag);
        if (memcmp(got, cipher, size) != 0 || memcmp(got_tag, tag, 16) != 0)
            fail_msg("test case %s: sealed wrongly", g_vectors[i].name);
        if (aes_gcm_open(&gcm, nonce, aad, aad_size, cipher, size, tag, got) != 0 ||
            memcmp(got, plain, size) != 0)
            fail_msg("test case %s: opened wrongly", g_vectors[i].name);
    }
}

static void fill(void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)data)[i] = (uint8_t)rand();
}

/* One size both ways against BearSSL, at a given misalignment. */
static void against_oracle(size_t size, size_t aad_size, size_t skew)
{
    uint8_t key[32], nonce[12], aad[64], tag[16], want[16];
    uint8_t *plain = g_plain + skew, *cipher = g_cipher + skew, *opened = g_opened + skew;
    fill(key, sizeof(key));
    fill(nonce, sizeof(nonce));
    fill(aad, sizeof(aad));
    fill(g_plain, size + skew);

    br_aes_ct64_ctr_keys keys;
    br_gcm_context oracle;
    br_aes_ct64_ctr_init(&keys, key, sizeof(key));
    br_gcm_init(&oracle, &keys.vtable, br_ghash_ctmul64);
    br_gcm_reset(&oracle, nonce, sizeof(nonce));
    br_gcm_aad_inject(&oracle, aad, aad_size);
    br_gcm_flip(&oracle);
    memcpy(g_oracle, plain, size);
    br_gcm_run(&oracle, 1, g_oracle, size);
    br_gcm_get_tag(&oracle, want);

    struct aes_gcm gcm;
    aes_gcm_init(&gcm, key);
    memset(g_cipher, 0xcc, size + skew + 32);
    aes_gcm_seal(&gcm, nonce, aad, aad_size, plain, size, cipher, tag);
    if (memcmp(cipher, g_oracle, size) != 0 || memcmp(tag, want, 16) != 0 || cipher[size] != 0xcc)
        fail_msg("sealing %zu bytes, %zu associated, skew %zu", size, aad_size, skew);
    memset(g_opened, 0xdd, size + skew + 32);
    if (aes_gcm_open(&gcm, nonce, aad, aad_size, cipher, size, tag, opened) != 0 ||
        memcmp(opened, plain, size) != 0 || opened[size] != 0xdd)
        fail_msg("opening %zu bytes, %zu associated, skew %zu", size, aad_size, skew);

    /* In place. */
    memcpy(g_opened, plain, size);
    aes_gcm_seal(&gcm, nonce, aad, aad_size, g_opened, size, g_opened, tag);
    if (memcmp(g_opened, g_oracle, size) != 0 || memcmp(tag, want, 16) != 0)
        fail_msg("sealing %zu bytes in place", size);
    if (aes_gcm_open(&gcm, nonce, aad, aad_size, g_opened, size, tag, g_opened) != 0 ||
        memcmp(g_opened, plain, size) != 0)
        fail_msg("opening %zu bytes in place", size);

    if (skew)
        return;
    /* Outside: whole vectors, zeros behind the end, which do not matter to the reader. */
    size_t whole = (size + 15) / 16 * 16;
    memset(g_cipher, 0xcc, whole + 16);
    aes_gcm_seal_out(&gcm, nonce, aad, aad_size, plain, size, g_cipher, tag);
    if (memcmp(g_cipher, g_oracle, size) != 0 || memcmp(tag, want, 16) != 0 ||
        !bytes_zero_ct(g_cipher + size, whole - size) || g_cipher[whole] != 0xcc)
        fail_msg("sealing %zu bytes out", size);
    memset(g_cipher + size, 0x5a, whole - size);
    memset(g_opened, 0xdd, size + 32);
    if (aes_gcm_open_in(&gcm, nonce, aad, aad_size, g_cipher, size, tag, g_opened) != 0 ||
        memcmp(g_opened, plain, size) != 0 || g_opened[size] != 0xdd)
        fail_msg("opening %zu bytes in", size);
}

static void test_oracle(void **state UNUSED)
{
    srand(7);
    for (size_t size = 0; size <= 300; size++)
        for (size_t aad_size = 0; aad_size < 64; aad_size += size % 7 + 5)
            against_oracle(size, aad_size, (size + aad_size) % 17);
    for (size_t i = 0; i < 60; i++)
        against_oracle((size_t)rand() % (BIG - 32), 16, i % 16);
    against_oracle(65536, 16, 0);
    for (size_t size = AES_GCM_WIDE_MIN - 20; size <= AES_GCM_WIDE_MIN + 300; size++)
        against_oracle(size, size % 40, size % 3);
}

/* Every bit of tag, text and associated data counts, and nothing of a damaged text remains. */
static void test_damage(void **state UNUSED)
{
    static const size_t sizes[] = { 1, 16, 40, 129, 257, AES_GCM_WIDE_MIN + 17 };
    uint8_t key[32] = { 1 }, nonce[12] = { 2 };
    struct aes_gcm gcm;
    aes_gcm_init(&gcm, key);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint8_t aad[20] = { 3 }, tag[16];
        size_t size = sizes[i];
        fill(g_plain, size);
        aes_gcm_seal(&gcm, nonce, aad, sizeof(aad), g_plain, size, g_cipher, tag);
        struct {
            const char *name;
            uint8_t *at;
            size_t size;
        } parts[] = { { "tag", tag, 16 },
                      { "text", g_cipher, size },
                      { "associated data", aad, sizeof(aad) },
                      { "nonce", nonce, sizeof(nonce) } };
        for (size_t p = 0; p < ARRAY_SIZE(parts); p++)
            for (size_t bit = 0; bit<parts[p].size * 8; bit += parts[p].size> 1000 ? 61 : 1) {
                parts[p].at[bit / 8] ^= (uint8_t)(1u << bit % 8);
                memset(g_opened, 0xee, size);
                int r = aes_gcm_open(&gcm, nonce, aad, sizeof(aad), g_cipher, size, tag, g_opened);
                if (r != -EBADMSG || !bytes_zero_ct(g_opened, size))
                    fail_msg("%zu bytes, %s, bit %zu: %d", size, parts[p].name, bit, r);
                parts[p].at[bit / 8] ^= (uint8_t)(1u << bit % 8);
            }
        assert_int_equal(aes_gcm_open(&gcm, nonce, aad, sizeof(aad), g_cipher, size, tag, g_opened),
                         0);
        /* Cut, longer, and bytes that moved from the associated data to the text. */
        assert_int_equal(
            aes_gcm_open(&gcm, nonce, aad, sizeof(aad), g_cipher, size - 1, tag, g_opened),
            -EBADMSG);
        assert_int_equal(
            aes_gcm_open(&gcm, nonce, aad, sizeof(aad), g_cipher, size + 1, tag, g_opened),
            -EBADMSG);
        assert_int_equal(
            aes_gcm_open(&gcm, nonce, aad, sizeof(aad) - 1, g_cipher, size, tag, g_opened),
            -EBADMSG);
    }
}

/* --- how memory outside is touched
 * -------------------------------------------------------------------- */

/* Every access to a guarded range faults, is noted, and is then stepped over. */
#define GUARDED 8192u
#define TRAP    0x100
static uint8_t *g_guarded;
static uint8_t g_touched[GUARDED];
static unsigned g_unaligned;

static void on_fault(int signal UNUSED, siginfo_t *info, void *context)
{
    size_t at = (size_t)((uint8_t *)info->si_addr - g_guarded);
    if (at >= GUARDED)
        abort();
    g_touched[at]++;
    g_unaligned += at % 16 != 0;
    mprotect(g_guarded, GUARDED, PROT_READ | PROT_WRITE);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP;
}

static void on_step(int signal UNUSED, siginfo_t *info UNUSED, void *context)
{
    mprotect(g_guarded, GUARDED, PROT_NONE);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP;
}

static void test_outside_is_touched_once(void **state UNUSED)
{
    static const size_t sizes[] = { 5, 16, 40, 128, 200, 1024, 1500, AES_GCM_WIDE_MIN + 500 };
    uint8_t key[32] = { 1 }, nonce[12] = { 2 }, aad[16] = { 3 }, tag[16];
    struct aes_gcm gcm;
    aes_gcm_init(&gcm, key);
    g_guarded = mmap(NULL, GUARDED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g_guarded != MAP_FAILED);
    struct sigaction fault = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, fault_before;
    struct sigaction step = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO }, step_before;
    sigaction(SIGSEGV, &fault, &fault_before);
    sigaction(SIGTRAP, &step, &step_before);

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        for (int opening = 0; opening < 2; opening++) {
            memset(g_touched, 0, sizeof(g_touched));
            g_unaligned = 0;
            int r = 0;
            mprotect(g_guarded, GUARDED, PROT_NONE);
            if (opening)
                r = aes_gcm_open_in(&gcm, nonce, aad, sizeof(aad), g_guarded, sizes[i], tag,
                                    g_opened);
            else
                aes_gcm_seal_out(&gcm, nonce, aad, sizeof(aad), g_plain, sizes[i], g_guarded, tag);
            mprotect(g_guarded, GUARDED, PROT_READ | PROT_WRITE);
            assert_int_equal(r, 0);
            if (g_unaligned)
                fail_msg("%zu bytes, opening %d: %u unaligned accesses", sizes[i], opening,
                         g_unaligned);
            /* Of a long text what sixteen blocks divide, by vectors of two. */
            size_t wide =
                aes_gcm_uses_wide() && sizes[i] >= AES_GCM_WIDE_MIN ? sizes[i] / 256 * 256 : 0;
            for (size_t at = 0; at < GUARDED; at += 16)
                if (g_touched[at] != (at < sizes[i] && !(at < wide && at % 32)))
                    fail_msg("%zu bytes, opening %d: %u accesses at %zu", sizes[i], opening,
                             g_touched[at], at);
        }
    }
    sigaction(SIGSEGV, &fault_before, NULL);
    sigaction(SIGTRAP, &step_before, NULL);
}

static int use_wide(void **state UNUSED)
{
    aes_gcm_use_wide(true);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_oracle),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_outside_is_touched_once),
    };
    int failed = cmocka_run_group_tests_name("AES-NI", tests, NULL, NULL);
    if (cpu_has_vaes())
        failed += cmocka_run_group_tests_name("VAES", tests, use_wide, NULL);
    else
        fprintf(stderr, "no VAES here: that was not tried\n");
    return failed;
}
