/* MRENCLAVE against tests/data/vectors.txt, which a script of its own made from the SDM. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/measure.h"

#define REG_R (SGX_SECINFO_REG | SGX_SECINFO_R)

static void page_fill(uint8_t page[static SGX_PAGE_SIZE], unsigned seed)
{
    for (unsigned i = 0; i < SGX_PAGE_SIZE; i++)
        page[i] = seed ? (uint8_t)(seed + 7 * i + (i >> 8)) : 0;
}

static void to_hex(const uint8_t hash[static SGX_HASH_SIZE], char ret[static 65])
{
    for (size_t i = 0; i < SGX_HASH_SIZE; i++)
        snprintf(ret + 2 * i, 3, "%02x", hash[i]);
}

static void test_vectors(void **state UNUSED)
{
    FILE *file = fopen(TEST_DATA "/vectors.txt", "re");
    assert_non_null(file);
    static char line[8192];
    char name[64] = "", kind[16], want[65];
    struct measure m;
    unsigned count = 0;
    while (fgets(line, sizeof(line), file)) {
        unsigned long long size, offset, flags;
        unsigned ssa, seed;
        if (sscanf(line, "enclave %63s %llx %u", name, &size, &ssa) == 3) {
            assert_int_equal(measure_begin(&m, size, ssa), 0);
        } else if (sscanf(line, "page %llx %llx %15s %u", &offset, &flags, kind, &seed) == 4) {
            uint8_t page[SGX_PAGE_SIZE];
            page_fill(page, seed);
            if (strcmp(kind, "measured") == 0)
                assert_int_equal(measure_add_page(&m, offset, flags, page), 0);
            else
                assert_int_equal(measure_add_unmeasured(&m, offset, flags), 0);
        } else if (name[0] && sscanf(line, "mrenclave %64s", want) == 1) {
            uint8_t hash[SGX_HASH_SIZE];
            char got[65];
            measure_end(&m, hash);
            to_hex(hash, got);
            if (strcmp(got, want) != 0)
                fail_msg("%s: got %s, want %s", name, got, want);
            name[0] = '\0';
            count++;
        }
    }
    fclose(file);
    assert_true(count >= 9);
}

static void test_begin_refuses(void **state UNUSED)
{
    static const struct {
        const char *name;
        uint64_t size;
        uint32_t ssa;
        int want;
    } cases[] = {
        { "two pages", 0x2000, 1, 0 },
        { "largest", UINT64_C(1) << 63, 4, 0 },
        { "one page", 0x1000, 1, -EINVAL },
        { "nothing", 0, 1, -EINVAL },
        { "no power of two", 0x3000, 1, -EINVAL },
        { "no SSA", 0x2000, 0, -EINVAL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct measure m;
        int got = measure_begin(&m, cases[i].size, cases[i].ssa);
        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
    }
}

static void test_add_refuses(void **state UNUSED)
{
    static const struct {
        const char *name;
        uint64_t offset, flags;
        int want;
    } cases[] = {
        { "last page", 0x3000, REG_R, 0 },
        { "past the end", 0x4000, REG_R, -ERANGE },
        { "unaligned", 0x800, REG_R, -ERANGE },
        { "wraps", UINT64_MAX - 0xfff, REG_R, -ERANGE },
        { "reserved flag", 0, REG_R | 1u << 6, -EINVAL },
        { "reserved high flag", 0, REG_R | 1u << 16, -EINVAL },
    };
    static const uint8_t page[SGX_PAGE_SIZE];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct measure m;
        assert_int_equal(measure_begin(&m, 0x4000, 4), 0);
        struct measure before = m;
        int got = measure_add_page(&m, cases[i].offset, cases[i].flags, page);
        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
        if (got < 0 && memcmp(&m, &before, sizeof(m)) != 0)
            fail_msg("%s: a refusal changed the measurement", cases[i].name);
    }
}

static void test_extend_is_the_rest_of_add(void **state UNUSED)
{
    uint8_t page[SGX_PAGE_SIZE], want[SGX_HASH_SIZE], got[SGX_HASH_SIZE];
    page_fill(page, 9);
    struct measure m;
    assert_int_equal(measure_begin(&m, 0x4000, 4), 0);
    assert_int_equal(measure_add_page(&m, 0x1000, REG_R, page), 0);
    measure_end(&m, want);

    assert_int_equal(measure_begin(&m, 0x4000, 4), 0);
    assert_int_equal(measure_add_unmeasured(&m, 0x1000, REG_R), 0);
    for (unsigned i = 0; i < SGX_EXTEND_COUNT; i++)
        assert_int_equal(measure_extend(&m, 0x1000 + i * 256, page + i * 256), 0);
    assert_int_equal(measure_extend(&m, 0x1010, page), -ERANGE);
    assert_int_equal(measure_extend(&m, 0x4000, page), -ERANGE);
    measure_end(&m, got);
    assert_memory_equal(got, want, sizeof(got));
}

/* The script must still give the recorded file: neither may drift alone. */
static void test_script(void **state UNUSED)
{
    if (system("command -v /usr/bin/python3 >/dev/null") != 0) {
        print_message("no /usr/bin/python3: the vectors were not made again\n");
        skip();
    }
    assert_int_equal(system("/usr/bin/python3 -B '" TEST_DATA "/vectors.py' | cmp - '" TEST_DATA
                            "/vectors.txt'"),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),     cmocka_unit_test(test_begin_refuses),
        cmocka_unit_test(test_add_refuses), cmocka_unit_test(test_extend_is_the_rest_of_add),
        cmocka_unit_test(test_script),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
