/* The extended state on its way between enclaves, and the scan for zeros. */
#include "arch/cpu.h"

#include <immintrin.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

NORETURN void panic(const char *format, ...);
NORETURN void panic(const char *format, ...)
{
    (void)fprintf(stderr, "%s\n", format);
    abort();
}

static struct cpu_state g_saved, g_again;

static void test_state_comes_back(void **state UNUSED)
{
    struct cpu_fp_control before = cpu_fp_control();
    __m128i mark = _mm_set1_epi32(0x5a17c0de), seen;
    __asm__ volatile("movdqa %0, %%xmm7" : : "m"(mark) : "xmm7");
    cpu_state_save(&g_saved);
    struct cpu_fp_control other = { .mxcsr = 0x9fc0, .fcw = 0x27f };
    cpu_set_fp_control(other);
    __asm__ volatile("pxor %%xmm7, %%xmm7" : : : "xmm7");
    cpu_state_load(&g_saved);
    __asm__ volatile("movdqa %%xmm7, %0" : "=m"(seen));
    assert_memory_equal(&seen, &mark, sizeof(mark));
    assert_int_equal(cpu_fp_control().mxcsr, before.mxcsr);
    assert_int_equal(cpu_fp_control().fcw, before.fcw);
    assert_int_equal(g_saved.fs_base, cpu_fs_base());
}

/* Whatever a peer sends can be loaded: unsanitized, most of these end the test by #GP. */
static void test_sanitized_state_loads(void **state UNUSED)
{
    uint64_t fs = cpu_fs_base();
    cpu_state_save(&g_saved);
    srand(3);
    for (int round = 0; round < 2000; round++) {
        uint8_t *bytes = (uint8_t *)&g_again;
        for (size_t i = 0; i < sizeof(g_again); i++)
            bytes[i] = (uint8_t)rand();
        cpu_state_sanitize(&g_again);
        assert_true(g_again.fs_base < 1ull << 47);
        g_again.fs_base = fs; /* the test's own thread pointer */
        cpu_state_load(&g_again);
        cpu_state_load(&g_saved);
    }
}

static void test_sanitize_keeps_what_is_good(void **state UNUSED)
{
    cpu_state_save(&g_saved);
    g_again = g_saved;
    cpu_state_sanitize(&g_again);
    assert_memory_equal(&g_again, &g_saved, sizeof(g_saved));
    g_again.fs_base = 1ull << 63;
    cpu_state_sanitize(&g_again);
    assert_int_equal(g_again.fs_base, 0);
}

static void test_all_zero(void **state UNUSED)
{
    static uint8_t ALIGNED(64) page[4096];
    assert_true(cpu_all_zero(page, sizeof(page)));
    for (size_t i = 0; i < sizeof(page); i++) {
        page[i] = 1;
        assert_false(cpu_all_zero(page, sizeof(page)));
        page[i] = 0;
    }
    struct timespec from, to;
    bool zero = true;
    (void)clock_gettime(CLOCK_MONOTONIC, &from);
    for (int i = 0; i < 100000; i++) {
        zero &= cpu_all_zero(page, sizeof(page));
        __asm__ volatile("" : : : "memory");
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &to);
    assert_true(zero);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    print_message("zero scan: %.1f GB/s\n", 100000.0 * sizeof(page) / ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_comes_back),
        cmocka_unit_test(test_sanitized_state_loads),
        cmocka_unit_test(test_sanitize_keeps_what_is_good),
        cmocka_unit_test(test_all_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
