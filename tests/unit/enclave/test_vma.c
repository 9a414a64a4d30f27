/* The table of mappings against a plain page-by-page model, and its corner cases by name. */
#include "mm/vma.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/attr.h"
#include "mm/heap.h"

#define PAGE  ((uint64_t)4096)
#define BASE  ((uint64_t)0x30000000)
#define PAGES 64u

/* --- what vma.c needs of the library OS ---------------------------------------------------------- */

void *heap_realloc(void *p, size_t size)
{
    return realloc(p, size);
}

struct file *file_ref(struct file *file)
{
    file->refs++;
    return file;
}

/* --- the model -------------------------------------------------------------------------------- */

struct page {
    bool mapped;
    uint32_t prot;
    struct file *file;
    uint64_t offset;
};

static struct page g_model[PAGES];
static struct file g_files[2];

static void empty(void)
{
    assert_int_equal(vma_cut(0, UINT64_MAX & ~(PAGE - 1)), 0);
    while (vma_gone())
        ;
    memset(g_model, 0, sizeof(g_model));
}

static void map(uint32_t first, uint32_t count, uint32_t prot, struct file *file, uint64_t offset)
{
    uint64_t start = BASE + first * PAGE;
    assert_int_equal(vma_cut(start, start + count * PAGE), 0);
    struct vma vma = {
        .start = start, .end = start + count * PAGE, .prot = prot, .file = file, .offset = offset
    };
    assert_int_equal(vma_add(&vma), 0);
    for (uint32_t i = 0; i < count; i++)
        g_model[first + i] = (struct page){ true, prot, file, offset + i * PAGE };
}

static void unmap(uint32_t first, uint32_t count)
{
    assert_int_equal(vma_cut(BASE + first * PAGE, BASE + (first + count) * PAGE), 0);
    for (uint32_t i = 0; i < count; i++)
        g_model[first + i] = (struct page){ 0 };
}

static bool model_covers(uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!g_model[first + i].mapped)
            return false;
    return true;
}

static void check(void)
{
    for (uint32_t i = 0; i < PAGES; i++) {
        const struct vma *v = vma_find(BASE + i * PAGE + 17);
        assert_int_equal(v != NULL, g_model[i].mapped);
        if (!v)
            continue;
        assert_int_equal(v->prot, g_model[i].prot);
        assert_ptr_equal(v->file, g_model[i].file);
        if (v->file)
            assert_int_equal(v->offset + (BASE + i * PAGE - v->start), g_model[i].offset);
    }
    for (uint32_t i = 1; i < vma_count(); i++)
        assert_true(vma_at(i - 1)->end <= vma_at(i)->start);
}

static void test_against_model(void **state UNUSED)
{
    empty();
    srand(7);
    for (int step = 0; step < 20000; step++) {
        uint32_t first = (uint32_t)rand() % PAGES;
        uint32_t count = 1 + (uint32_t)rand() % (PAGES - first);
        uint32_t prot = (uint32_t)rand() % 4;
        switch (rand() % 4) {
        case 0: map(first, count, prot, NULL, 0); break;
        case 1: map(first, count, prot, &g_files[rand() % 2], (uint32_t)(rand() % 9) * PAGE); break;
        case 2: unmap(first, count); break;
        default:
            assert_int_equal(vma_covers(BASE + first * PAGE, BASE + (first + count) * PAGE),
                             model_covers(first, count));
            if (!model_covers(first, count))
                break;
            assert_int_equal(vma_protect(BASE + first * PAGE, BASE + (first + count) * PAGE, prot),
                             0);
            for (uint32_t i = 0; i < count; i++)
                g_model[first + i].prot = prot;
        }
        while (vma_gone())
            ;
        check();
    }
}

static void test_equal_neighbours_join(void **state UNUSED)
{
    empty();
    map(0, 4, 3, NULL, 0);
    map(8, 4, 3, NULL, 0);
    assert_int_equal(vma_count(), 2);
    map(4, 4, 3, NULL, 0);
    assert_int_equal(vma_count(), 1);
    assert_int_equal(vma_protect(BASE + 2 * PAGE, BASE + 3 * PAGE, 1), 0);
    assert_int_equal(vma_count(), 3);
    assert_int_equal(vma_protect(BASE + 2 * PAGE, BASE + 3 * PAGE, 3), 0);
    assert_int_equal(vma_count(), 1);
}

/* A file's mapping never forgets that it could be written; anonymous ones have no need to. */
static void test_was_writable_sticks(void **state UNUSED)
{
    empty();
    map(0, 8, 1, &g_files[0], 0);
    assert_int_equal(vma_at(0)->flags & VMA_WAS_WRITABLE, 0);
    assert_int_equal(vma_protect(BASE + 2 * PAGE, BASE + 4 * PAGE, 3), 0);
    assert_int_equal(vma_protect(BASE + 2 * PAGE, BASE + 4 * PAGE, 1), 0);
    static const struct {
        uint32_t page, flags;
    } want[] = { { 0, 0 }, { 1, 0 }, { 2, VMA_WAS_WRITABLE }, { 3, VMA_WAS_WRITABLE }, { 4, 0 } };
    for (size_t i = 0; i < ARRAY_SIZE(want); i++)
        assert_int_equal(vma_find(BASE + want[i].page * PAGE)->flags, want[i].flags);
    unmap(3, 2); /* splits keep it */
    assert_int_equal(vma_find(BASE + 2 * PAGE)->flags, VMA_WAS_WRITABLE);
    map(20, 2, 3, &g_files[0], 0);
    assert_int_equal(vma_find(BASE + 20 * PAGE)->flags, VMA_WAS_WRITABLE);
    map(30, 2, 3, NULL, 0);
    assert_int_equal(vma_find(BASE + 30 * PAGE)->flags, 0);
}

static void test_holes(void **state UNUSED)
{
    empty();
    uint64_t low = BASE, high = BASE + PAGES * PAGE;
    assert_int_equal(vma_hole(low, high, PAGE, true), high - PAGE);
    assert_int_equal(vma_hole(low, high, PAGE, false), low);
    assert_int_equal(vma_hole(low, high, high - low, true), low);
    assert_int_equal(vma_hole(low, high, high - low + PAGE, true), 0);
    map(PAGES - 1, 1, 1, NULL, 0);
    map(0, 2, 1, NULL, 0);
    map(4, 1, 1, NULL, 0);
    assert_int_equal(vma_hole(low, high, PAGE, true), high - 2 * PAGE);
    assert_int_equal(vma_hole(low, high, 2 * PAGE, false), BASE + 2 * PAGE);
    assert_int_equal(vma_hole(low, high, 3 * PAGE, false), BASE + 5 * PAGE);
    assert_int_equal(vma_hole(low, high, (PAGES - 6) * PAGE, true), BASE + 5 * PAGE);
    assert_int_equal(vma_hole(low, high, (PAGES - 5) * PAGE, true), 0);
}

static void test_cut_counts_references(void **state UNUSED)
{
    empty();
    g_files[0].refs = 1;
    map(0, 6, 1, &g_files[0], 0);
    unmap(2, 2); /* two pieces are left: one more reference taken, one handed out */
    assert_int_equal(vma_count(), 2);
    int gone = 0;
    while (vma_gone())
        gone++;
    assert_int_equal(g_files[0].refs - (uint32_t)gone, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_model),         cmocka_unit_test(test_equal_neighbours_join),
        cmocka_unit_test(test_was_writable_sticks),   cmocka_unit_test(test_holes),
        cmocka_unit_test(test_cut_counts_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
