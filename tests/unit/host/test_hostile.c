/* The hostile host: its option, that it repeats itself, and that it reaches what it should. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "abi/tree.h"
#include "host/hostile.h"

static void test_parse(void **state UNUSED)
{
    static const struct {
        const char *text;
        int want;
        struct hostile_options options;
    } cases[] = {
        { "7", 0, { .seed = 7, .rate = 16 } },
        { "0x10,rate=3", 0, { .seed = 16, .rate = 3 } },
        { "1,after=100,scribble",
          0,
          { .seed = 1, .rate = 16, .quiet_calls = 100, .scribble = true } },
        { "", -EINVAL, { 0 } },
        { "x", -EINVAL, { 0 } },
        { "1,rate=0", -EINVAL, { 0 } },
        { "1,rate=", -EINVAL, { 0 } },
        { "1,what=3", -EINVAL, { 0 } },
        { "1 ", -EINVAL, { 0 } },
        { "99999999999999999999999", -EINVAL, { 0 } },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct hostile_options got = { 0 };
        int r = hostile_parse(cases[i].text, &got);
        if (r != cases[i].want || got.seed != cases[i].options.seed ||
            got.rate != cases[i].options.rate || got.scribble != cases[i].options.scribble ||
            got.quiet_calls != cases[i].options.quiet_calls)
            fail_msg("'%s': got %d", cases[i].text, r);
    }
}

static void test_repeats(void **state UNUSED)
{
    struct ocall_block *a = calloc(1, OCALL_BLOCK_SIZE), *b = calloc(1, OCALL_BLOCK_SIZE);
    const struct hostile_options options = { .seed = 5, .rate = 2, .quiet_calls = 10 };
    struct hostile *one = hostile_new(&options), *two = hostile_new(&options);
    int changed = 0, bad_ret = 0;
    for (int i = 0; i < 2000; i++) {
        memset(a, 0, sizeof(*a));
        memset(b, 0, sizeof(*b));
        hostile_tamper(one, 3, a);
        hostile_tamper(two, 3, b);
        assert_memory_equal(a, b, OCALL_HEAD_SIZE + 4096);
        static const struct ocall_block zero;
        int differs = memcmp(a, &zero, sizeof(zero)) != 0;
        if (i < 10)
            assert_false(differs);
        changed += differs;
        bad_ret += a->ret < -4095;
    }
    assert_in_range(changed, 400, 1200);
    assert_true(bad_ret > 10);
    free(a);
    free(b);
    free(one);
    free(two);
}

/* What it does to a tree's region: everything, or with `spare` what a channel survives. */
static void test_tree(void **state UNUSED)
{
    for (int spare = 0; spare <= 1; spare++) {
        const struct hostile_options options = { .seed = 9, .rate = 2, .spare = spare };
        struct hostile *h = hostile_new(&options);
        struct ocall_block *block = calloc(1, OCALL_BLOCK_SIZE);
        struct tree_region *region = mmap(NULL, TREE_REGION_SIZE, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_ptr_not_equal(region, MAP_FAILED);
        struct tree_slot *slot =
            (void *)((uint8_t *)region + TREE_REGION_HEAD + 3 * TREE_SLOT_SIZE);
        struct tree_cell *cell = (void *)((uint8_t *)slot + TREE_SLOT_HEAD);
        static const struct tree_slot idle = { .kind = TREE_SLOT_CONTROL };
        region->used[0] = 1u << 3;
        block->nr = OCALL_TREE_OPEN;
        block->out[0] = (uint64_t)(uintptr_t)region;
        hostile_tamper(h, 0, block);

        int cells = 0, heads = 0, rings = 0, ends = 0;
        for (int i = 0; i < 1000; i++) {
            *slot = idle;
            cell->size = 16;
            memset(cell->bytes, 0x55, 64);
            region->bell = 0;
            *block = (struct ocall_block){ .nr = OCALL_TREE_WAIT, .args[0] = 3, .ret = 0 };
            hostile_tamper(h, 0, block);
            uint8_t as_was[64];
            memset(as_was, 0x55, sizeof(as_was));
            cells += cell->size != 16 || memcmp(cell->bytes, as_was, sizeof(as_was)) != 0;
            heads += memcmp(slot, &idle, sizeof(idle)) != 0;
            rings += region->bell != 0;
            ends += block->ret == -EINTR;
        }
        assert_true(rings > 10 && ends > 10);
        if (spare)
            assert_true(cells == 0 && heads == 0);
        else
            assert_true(cells > 10 && heads > 10);
        munmap(region, TREE_REGION_SIZE);
        free(block);
        free(h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse),
                                        cmocka_unit_test(test_repeats),
                                        cmocka_unit_test(test_tree) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
