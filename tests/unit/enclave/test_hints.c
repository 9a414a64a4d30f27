/* Which pages forked children needed first (src/enclave/tree/hints.c), in a region that the host writes to as it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/attr.h"
#include "tree/attest.h"
#include "tree/channel.h"
#include "tree/hints.h"

static uint8_t *g_region; /* NULL: this process is in no tree */
static uint64_t g_measurement[4];

uint64_t tree_region(void)
{
    return (uint64_t)(uintptr_t)g_region;
}

const uint8_t *attest_mrenclave(void)
{
    return (const uint8_t *)g_measurement;
}

static struct tree_hints *lists(void)
{
    return (struct tree_hints *)(g_region + TREE_HINTS_AT);
}

static int region_new(void **state UNUSED)
{
    g_region = calloc(1, TREE_REGION_HEAD);
    return g_region ? 0 : -1;
}

static int region_free(void **state UNUSED)
{
    free(g_region);
    g_region = NULL;
    return 0;
}

/* The list of the process with this measurement is so. */
static void expect(uint64_t measurement, const uint64_t *want, uint32_t count)
{
    uint64_t got[TREE_HINT_PAGES];
    g_measurement[0] = measurement;
    memset(got, 0xee, sizeof(got));
    uint32_t n = hints_get(got);
    if (n != count)
        fail_msg("measurement %lu: %u pages, want %u", measurement, n, count);
    for (uint32_t i = 0; i < count; i++)
        if (got[i] != want[i])
            fail_msg("measurement %lu: page %u is %lx, want %lx", measurement, i, got[i], want[i]);
    for (uint32_t i = count; i < TREE_HINT_PAGES; i++)
        assert_true(got[i] == 0xeeeeeeeeeeeeeeee);
}

static void add(uint64_t measurement, uint64_t page)
{
    g_measurement[0] = measurement;
    hints_add(page);
}

static void test_alone(void **state UNUSED)
{
    uint8_t *region = g_region;
    g_region = NULL;
    add(3, 0x1000);
    expect(3, NULL, 0);
    g_region = region;
    expect(3, NULL, 0);
}

static void test_pages(void **state UNUSED)
{
    expect(3, NULL, 0);
    assert_true(lists()[3].key == 0); /* looking takes no place */
    add(3, 0x5000);
    add(3, 0x1000);
    add(3, 0x5000);
    add(3, 0);
    expect(3, (uint64_t[]){ 0x5000, 0x1000, 0 }, 3);
}

static void test_full_list(void **state UNUSED)
{
    uint64_t want[TREE_HINT_PAGES];
    for (uint64_t i = 0; i < TREE_HINT_PAGES; i++)
        add(3, want[i] = i << 12);
    add(3, 0xabc000);
    expect(3, want, TREE_HINT_PAGES);
    /* Nothing behind the list. */
    assert_true(lists()[4].key == 0 && lists()[4].count == 0);
}

/* Measurements that share a place take the next ones, from the last on round to the first. */
static void test_measurements(void **state UNUSED)
{
    for (uint64_t i = 0; i < TREE_HINTS; i++)
        add(TREE_HINTS - 1 + i * TREE_HINTS, (i + 1) << 12);
    for (uint64_t i = 0; i < TREE_HINTS; i++)
        expect(TREE_HINTS - 1 + i * TREE_HINTS, (uint64_t[]){ (i + 1) << 12 }, 1);
    /* One too many has none, and takes nobody's. */
    add(TREE_HINTS - 1 + TREE_HINTS * TREE_HINTS, 0xbad000);
    expect(TREE_HINTS - 1 + TREE_HINTS * TREE_HINTS, NULL, 0);
    for (uint64_t i = 0; i < TREE_HINTS; i++)
        expect(TREE_HINTS - 1 + i * TREE_HINTS, (uint64_t[]){ (i + 1) << 12 }, 1);
    const uint8_t *end = (const uint8_t *)&lists()[TREE_HINTS];
    for (; end < g_region + TREE_REGION_HEAD; end++)
        assert_int_equal(*end, 0);
}

/* A measurement whose number would be that of a free place. */
static void test_zero(void **state UNUSED)
{
    add(0, 0x7000);
    expect(0, (uint64_t[]){ 0x7000 }, 1);
    expect(2, NULL, 0);
}

/* Whatever stands there: no more than a list's pages, and nothing outside the lists. */
static void test_hostile(void **state UNUSED)
{
    static const uint64_t counts[] = { TREE_HINT_PAGES, TREE_HINT_PAGES + 1, UINT32_MAX,
                                       (uint64_t)UINT32_MAX + 1, UINT64_MAX };
    add(3, 0x1000);
    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        lists()[3].count = counts[i];
        uint64_t want[TREE_HINT_PAGES];
        memcpy(want, lists()[3].pages, sizeof(want));
        expect(3, want, TREE_HINT_PAGES);
        add(3, 0x2000);
        assert_true(lists()[3].count == counts[i]);
        assert_true(lists()[4].key == 0);
    }
    for (uint64_t i = 0; i < TREE_HINTS; i++)
        lists()[i].key = UINT64_MAX - 1; /* nobody's: all places look taken */
    expect(3, NULL, 0);
    add(3, 0x2000);
    for (uint64_t i = 0; i < TREE_HINTS; i++)
        assert_true(lists()[i].key == UINT64_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_alone, region_new, region_free),
        cmocka_unit_test_setup_teardown(test_pages, region_new, region_free),
        cmocka_unit_test_setup_teardown(test_full_list, region_new, region_free),
        cmocka_unit_test_setup_teardown(test_measurements, region_new, region_free),
        cmocka_unit_test_setup_teardown(test_zero, region_new, region_free),
        cmocka_unit_test_setup_teardown(test_hostile, region_new, region_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
