/* The islands as they are in the enclave: vector registers are put back. */
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
#include "core/cpu.h"

void panic(const char *format UNUSED, ...)
{
    abort();
}

static struct {
    ALIGNED(4096) uint8_t page[4096];
} g_thread;

/* Callers that do not touch the registers themselves: as the library OS, unlike the rest of this
 * test. */
#define GENERAL __attribute__((noinline, target("general-regs-only")))

#define LONG (AES_GCM_WIDE_MIN + 100)
static uint8_t g_key[32], g_bytes[LONG + 16] ALIGNED(16), g_tag[16];
static struct aes_gcm g_gcm;
static uint8_t g_before[512], g_after[512]; /* ymm0-ymm15, or xmm0-xmm15 */
static bool g_ymm;
static size_t g_size = 300;

GENERAL static void init(void)
{
    island_gcm_init(&g_gcm, g_key);
}
GENERAL static void seal(void)
{
    island_gcm_seal(&g_gcm, g_key, NULL, 0, g_bytes, g_size, g_bytes, g_tag);
}
GENERAL static void open_again(void)
{
    (void)!island_gcm_open(&g_gcm, g_key, NULL, 0, g_bytes, g_size, g_tag, g_bytes);
}
GENERAL static void seal_out(void)
{
    island_gcm_seal_out(&g_gcm, g_key, NULL, 0, g_bytes, g_size, g_bytes, g_tag);
}
GENERAL static void open_in(void)
{
    (void)!island_gcm_open_in(&g_gcm, g_key, NULL, 0, g_bytes, g_size, g_tag, g_bytes);
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
GENERAL static void cmac_last(void)
{
    island_cmac_last(g_key, g_bytes, 96, g_tag, g_tag);
}

#define EACH(op)                                                                                   \
    op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) \
        op(15)
#define LOAD(n)       "movups 16*" #n "(%0), %%xmm" #n "\n"
#define STORE(n)      "movups %%xmm" #n ", 16*" #n "(%0)\n"
#define LOAD_WIDE(n)  "vmovups 32*" #n "(%0), %%ymm" #n "\n"
#define STORE_WIDE(n) "vmovups %%ymm" #n ", 32*" #n "(%0)\n"

GENERAL static void between(void (*call)(void))
{
    if (g_ymm) {
        __asm__ volatile(EACH(LOAD_WIDE) : : "r"(g_before) : "memory");
        call();
        __asm__ volatile(EACH(STORE_WIDE) "vzeroupper" : : "r"(g_after) : "memory");
        return;
    }
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
        /* first those that long texts come to; the C library under the others here has AVX of its
           own */
        { "gcm_init", init },       { "gcm_seal", seal },
        { "gcm_open", open_again }, { "gcm_seal_out", seal_out },
        { "gcm_open_in", open_in }, { "sha256", hash },
        { "hkdf", hkdf },           { "cmac", cmac },
        { "cmac_last", cmac_last },
    };
    for (size_t i = 0; i < sizeof(g_before); i++)
        g_before[i] = (uint8_t)(i * 7 + 1);
    for (size_t i = 0; i < (g_ymm ? 5 : ARRAY_SIZE(islands)); i++) {
        memset(g_after, 0, sizeof(g_after));
        uint64_t fs_base = cpu_fs_base();
        between(islands[i].call);
        assert_int_equal(cpu_fs_base(), fs_base);
        if (memcmp(g_after, g_before, g_ymm ? 512 : 256) != 0)
            fail_msg("%s changes vector registers", islands[i].name);
    }
}

/* Long texts too, with wide AES and without. */
static void test_whole_registers(void **state UNUSED)
{
    if (!cpu_has_vaes()) {
        fprintf(stderr, "no VAES here: not tried\n");
        return;
    }
    static const size_t sizes[] = { 300, LONG };
    g_ymm = true;
    for (int wide = 0; wide < 2; wide++) {
        aes_gcm_use_wide(wide);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
            g_size = sizes[i];
            test_registers(NULL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers),
        cmocka_unit_test(test_whole_registers),
    };
    struct thread *thread = (struct thread *)(void *)g_thread.page;
    thread->self = (uint64_t)thread;
    thread->canary = 0x1234567890abcdefull;
    syscall(SYS_arch_prctl, ARCH_SET_GS, thread);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
