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
GENERAL static void cmac_last(void)
{
    island_cmac_last(g_key, g_bytes, 96, g_tag, g_tag);
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
        { "cmac_last", cmac_last },
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
        cmocka_unit_test(test_registers),
    };
    struct thread *thread = (struct thread *)(void *)g_thread.page;
    thread->self = (uint64_t)thread;
    thread->canary = 0x1234567890abcdefull;
    syscall(SYS_arch_prctl, ARCH_SET_GS, thread);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
