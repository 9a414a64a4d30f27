/* The islands as they are in the enclave: FS at the thread block, vector registers put back. */
#include "arch/crypto.h"

#include <asm/prctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch/cpu.h"
#include "arch/thread.h"
#include "border/border.h"

void panic(const char *format UNUSED, ...)
{
    abort();
}

static struct {
    ALIGNED(4096) uint8_t page[4096];
} g_thread;

static void unhex(const char *text, uint8_t *ret)
{
    for (size_t i = 0; i < strlen(text) / 2; i++) {
        unsigned byte;
        assert_int_equal(sscanf(text + 2 * i, "%2x", &byte), 1);
        ret[i] = (uint8_t)byte;
    }
}

/* RFC 7748, 5.2 (two vectors) and 6.1. */
static const struct {
    const char *name, *scalar, *point, *want;
} g_vectors[] = {
    { "5.2, first", "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
      "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
      "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552" },
    { "5.2, second", "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
      "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
      "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957" },
    { "6.1, shared", "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
      "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
      "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742" },
    { "6.1, Bob's key", "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", NULL,
      "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f" },
};

static void test_x25519(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(g_vectors); i++) {
        uint8_t scalar[32], point[32], want[32], got[32];
        unhex(g_vectors[i].scalar, scalar);
        unhex(g_vectors[i].want, want);
        if (g_vectors[i].point)
            unhex(g_vectors[i].point, point);
        uint64_t fs_base = cpu_fs_base();
        island_x25519(scalar, g_vectors[i].point ? point : NULL, got);
        assert_int_equal(cpu_fs_base(), fs_base);
        if (memcmp(got, want, 32) != 0)
            fail_msg("RFC 7748, %s", g_vectors[i].name);
    }
    uint8_t scalar[32] = { 1 }, zero[32] = { 0 }, got[32];
    island_x25519(scalar, zero, got);
    assert_memory_equal(got, zero, 32);
}

/* Callers that do not touch the registers themselves: as the library OS, unlike the rest of this
 * test. */
#define GENERAL __attribute__((noinline, target("general-regs-only")))

static uint8_t g_key[32], g_bytes[400] ALIGNED(16), g_tag[16];
static struct aes_gcm g_gcm;
static uint8_t g_before[256], g_after[256];

GENERAL static void init(void)
{
    island_gcm_init(&g_gcm, g_key);
}
GENERAL static void seal(void)
{
    island_gcm_seal(&g_gcm, g_key, NULL, 0, g_bytes, 300, g_bytes, g_tag);
}
GENERAL static void open_again(void)
{
    (void)!island_gcm_open(&g_gcm, g_key, NULL, 0, g_bytes, 300, g_tag, g_bytes);
}
GENERAL static void seal_out(void)
{
    island_gcm_seal_out(&g_gcm, g_key, NULL, 0, g_bytes, 300, g_bytes, g_tag);
}
GENERAL static void open_in(void)
{
    (void)!island_gcm_open_in(&g_gcm, g_key, NULL, 0, g_bytes, 300, g_tag, g_bytes);
}
GENERAL static void hash(void)
{
    island_sha256(g_bytes, 300, g_key);
}
GENERAL static void hkdf(void)
{
    island_hkdf(NULL, 0, g_bytes, 32, NULL, 0, g_key, 32);
}
GENERAL static void cmac(void)
{
    island_cmac(g_key, g_bytes, 100, g_tag);
}
GENERAL static void x25519(void)
{
    island_x25519(g_key, NULL, g_bytes);
}

#define EACH(op)                                                                                   \
    op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) \
        op(15)
#define LOAD(n)  "movups 16*" #n "(%0), %%xmm" #n "\n"
#define STORE(n) "movups %%xmm" #n ", 16*" #n "(%0)\n"

GENERAL static void between(void (*call)(void))
{
    __asm__ volatile(EACH(LOAD) : : "r"(g_before) : "memory");
    call();
    __asm__ volatile(EACH(STORE) : : "r"(g_after) : "memory");
}

static void test_registers(void **state UNUSED)
{
    static const struct {
        const char *name;
        void (*call)(void);
    } islands[] = {
        { "gcm_init", init },       { "gcm_seal", seal },
        { "gcm_open", open_again }, { "gcm_seal_out", seal_out },
        { "gcm_open_in", open_in }, { "sha256", hash },
        { "hkdf", hkdf },           { "cmac", cmac },
        { "x25519", x25519 },
    };
    for (size_t i = 0; i < sizeof(g_before); i++)
        g_before[i] = (uint8_t)(i * 7 + 1);
    for (size_t i = 0; i < ARRAY_SIZE(islands); i++) {
        memset(g_after, 0, sizeof(g_after));
        uint64_t fs_base = cpu_fs_base();
        between(islands[i].call);
        assert_int_equal(cpu_fs_base(), fs_base);
        if (memcmp(g_after, g_before, sizeof(g_before)) != 0)
            fail_msg("%s changes vector registers", islands[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_x25519),
        cmocka_unit_test(test_registers),
    };
    struct thread *thread = (struct thread *)(void *)g_thread.page;
    thread->self = (uint64_t)thread;
    thread->canary = 0x1234567890abcdefull;
    syscall(SYS_arch_prctl, ARCH_SET_GS, thread);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
