#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/bytes.h"

static const struct {
    const char *name;
    uint64_t off, size, limit;
    int want;
} cases[] = {
    { "whole", 0, 4096, 4096, 0 },
    { "empty at the end", 4096, 0, 4096, 0 },
    { "empty of nothing", 0, 0, 0, 0 },
    { "last byte", 4095, 1, 4096, 0 },
    { "one byte past", 1, 4096, 4096, -ERANGE },
    { "empty past the end", 4097, 0, 4096, -ERANGE },
    { "off + size wraps", UINT64_MAX, 2, 4096, -ERANGE },
    { "size wraps to inside", 16, UINT64_MAX - 8, 4096, -ERANGE },
    { "all there is", 0, UINT64_MAX, UINT64_MAX, 0 },
};

static void test_span_check(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int got = span_check(cases[i].off, cases[i].size, cases[i].limit);
        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
    }
}

static void test_loads_and_stores(void **state UNUSED)
{
    static const uint8_t bytes[] = { 0xff, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0xff };
    assert_int_equal(load_le16(bytes + 1), 0x0201);
    assert_int_equal(load_le32(bytes + 1), 0x04030201);
    assert_true(load_le64(bytes + 1) == UINT64_C(0x0807060504030201));
    assert_int_equal(load_be32(bytes + 1), 0x01020304);
    assert_true(load_be64(bytes + 1) == UINT64_C(0x0102030405060708));

    uint8_t got[sizeof(bytes)];
    memset(got, 0xff, sizeof(got));
    store_le64(got + 1, UINT64_C(0x0807060504030201));
    assert_memory_equal(got, bytes, sizeof(got));
    store_be64(got + 1, UINT64_C(0x0102030405060708));
    assert_memory_equal(got, bytes, sizeof(got));
    store_be32(got + 1, 0x01020304);
    store_le32(got + 5, 0x08070605);
    assert_memory_equal(got, bytes, sizeof(got));
    store_le16(got + 1, 0x0201);
    assert_memory_equal(got, bytes, sizeof(got));
}

static void test_comparison(void **state UNUSED)
{
    uint8_t a[67], b[67];
    memset(a, 0x5a, sizeof(a));
    memset(b, 0x5a, sizeof(b));
    assert_true(bytes_equal_ct(a, b, sizeof(a)));
    assert_true(bytes_equal_ct(NULL, NULL, 0));
    for (size_t i = 0; i < 8 * sizeof(a); i++) {
        b[i / 8] = (uint8_t)(b[i / 8] ^ 1u << i % 8);
        if (bytes_equal_ct(a, b, sizeof(a)))
            fail_msg("bit %zu made no difference", i);
        b[i / 8] = a[i / 8];
    }
}

static void test_wipe_and_zero(void **state UNUSED)
{
    uint8_t a[33];
    memset(a, 0xa5, sizeof(a));
    assert_false(bytes_zero_ct(a, sizeof(a)));
    bytes_wipe(a, sizeof(a) - 1);
    assert_true(bytes_zero_ct(a, sizeof(a) - 1));
    assert_int_equal(a[sizeof(a) - 1], 0xa5);
    assert_true(bytes_zero_ct(a, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_span_check),
        cmocka_unit_test(test_loads_and_stores),
        cmocka_unit_test(test_comparison),
        cmocka_unit_test(test_wipe_and_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
