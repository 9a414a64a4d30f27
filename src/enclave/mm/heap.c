/*
 * The library OS's heap: the last eighth of ELRANGE. Pages are accepted as the heap grows and stay.
 *
 * Page runs have boundary tags in g_info, one word a page: a free run's first and last word hold its
 * size. Free runs hang in bins by size (exact up to BIN_COUNT - 1 pages, then one for the rest). Below
 * half a page, blocks come from slabs: single pages of one power of two, whose free blocks hang in a
 * list per size.
 */
#include "mm/heap.h"

#include <stdbool.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/layout.h"
#include "thread/lock.h"

#define BIN_COUNT  64
#define GROW_PAGES 512 /* a huge page of the host: one fault instead of 512 */
#define CLASS_MIN  4   /* 16 bytes */
#define CLASS_MAX  11  /* 2048 bytes */

/* g_info[page]: kind in the low two bits, then pages of the run or the slab's class. */
enum { INFO_INSIDE = 0, INFO_FREE = 1, INFO_USED = 2, INFO_SLAB = 3 };
#define INFO(kind, value) (((uint32_t)(value) << 2) | (kind))
#define INFO_KIND(word)   ((word)&3u)
#define INFO_VALUE(word)  ((word) >> 2)

struct run {
    struct run *next, *prev;
};

static struct lock g_lock;
static uint64_t g_base, g_limit;     /* of the whole region */
static uint32_t *g_info;             /* at g_base */
static uint64_t g_info_end;          /* accepted up to here */
static uint64_t g_pages_base, g_top; /* pages handed out from g_pages_base, accepted up to g_top */
static struct run *g_bins[BIN_COUNT];
static struct run *g_blocks[CLASS_MAX + 1];

static void accept(uint64_t address, uint64_t count)
{
    struct sgx_secinfo ALIGNED(64)
        info = { .flags = SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_PENDING };
    for (uint64_t i = 0; i < count; i++) {
        uint64_t error = enclu_eaccept(&info, address + i * LAYOUT_PAGE);
        if (error)
            panic("EACCEPT for the heap at %lx: SGX error %lu", address, error);
    }
}

void heap_init(uint64_t enclave_size)
{
    g_base = mm_heap_base(enclave_size);
    g_limit = enclave_size;
    uint64_t pages = (g_limit - g_base) / LAYOUT_PAGE;
    uint64_t info_size = (pages * sizeof(uint32_t) + LAYOUT_PAGE - 1) & ~(LAYOUT_PAGE - 1);
    g_info = (uint32_t *)g_base;
    g_info_end = g_base;
    uint64_t grow = GROW_PAGES * LAYOUT_PAGE;
    g_pages_base = g_top = (g_base + info_size + grow - 1) / grow * grow;
}

static uint64_t page_index(uint64_t address)
{
    return (address - g_pages_base) / LAYOUT_PAGE;
}

static struct run **bin_of(uint64_t pages)
{
    return &g_bins[pages < BIN_COUNT ? pages : 0];
}

static void bin_remove(struct run *run, uint64_t pages)
{
    if (run->prev)
        run->prev->next = run->next;
    else
        *bin_of(pages) = run->next;
    if (run->next)
        run->next->prev = run->prev;
}

static void bin_add(uint64_t address, uint64_t pages)
{
    struct run *run = (struct run *)address;
    struct run **bin = bin_of(pages);
    run->prev = NULL;
    run->next = *bin;
    if (*bin)
        (*bin)->prev = run;
    *bin = run;
    uint64_t first = page_index(address);
    g_info[first] = INFO(INFO_FREE, pages);
    g_info[first + pages - 1] = INFO(INFO_FREE, pages);
}

/* Adds a run to the free ones, joined with its free neighbours. */
static void run_free(uint64_t address, uint64_t pages)
{
    uint64_t first = page_index(address);
    if (address + pages * LAYOUT_PAGE < g_top) {
        uint32_t after = g_info[first + pages];
        if (INFO_KIND(after) == INFO_FREE) {
            bin_remove((struct run *)(address + pages * LAYOUT_PAGE), INFO_VALUE(after));
            pages += INFO_VALUE(after);
        }
    }
    if (first > 0) {
        uint32_t before = g_info[first - 1];
        if (INFO_KIND(before) == INFO_FREE) {
            address -= INFO_VALUE(before) * LAYOUT_PAGE;
            bin_remove((struct run *)address, INFO_VALUE(before));
            pages += INFO_VALUE(before);
        }
    }
    bin_add(address, pages);
}

static bool grow(uint64_t pages)
{
    pages = (pages + GROW_PAGES - 1) / GROW_PAGES * GROW_PAGES;
    if (pages > (g_limit - g_top) / LAYOUT_PAGE)
        return false;
    uint64_t words_end = g_base + (page_index(g_top) + pages) * sizeof(uint32_t);
    uint64_t info_end = (words_end + LAYOUT_PAGE - 1) & ~(LAYOUT_PAGE - 1);
    if (info_end > g_info_end) {
        accept(g_info_end, (info_end - g_info_end) / LAYOUT_PAGE);
        g_info_end = info_end;
    }
    accept(g_top, pages);
    uint64_t at = g_top;
    g_top += pages * LAYOUT_PAGE;
    run_free(at, pages);
    return true;
}

static uint64_t run_take(uint64_t pages)
{
    for (int tries = 0; tries < 2; tries++) {
        for (uint64_t bin = pages < BIN_COUNT ? pages : 0;; bin++) {
            if (bin == BIN_COUNT)
                bin = 0;
            for (struct run *run = g_bins[bin]; run; run = run->next) {
                uint64_t have = INFO_VALUE(g_info[page_index((uint64_t)run)]);
                if (have < pages)
                    continue;
                bin_remove(run, have);
                if (have > pages)
                    bin_add((uint64_t)run + pages * LAYOUT_PAGE, have - pages);
                uint64_t first = page_index((uint64_t)run);
                g_info[first] = INFO(INFO_USED, pages);
                if (pages > 1)
                    g_info[first + pages - 1] = INFO(INFO_INSIDE, 0);
                return (uint64_t)run;
            }
            if (bin == 0)
                break;
        }
        if (!grow(pages))
            return 0;
    }
    return 0;
}

static unsigned class_of(size_t size)
{
    unsigned class = CLASS_MIN;
    while (((size_t)1 << class) < size)
        class ++;
    return class;
}

static void *block_take(unsigned class)
{
    if (!g_blocks[class]) {
        uint64_t page = run_take(1);
        if (!page)
            return NULL;
        g_info[page_index(page)] = INFO(INFO_SLAB, class);
        for (uint64_t at = page; at < page + LAYOUT_PAGE; at += 1ull << class) {
            struct run *block = (struct run *)at;
            block->next = g_blocks[class];
            g_blocks[class] = block;
        }
    }
    struct run *block = g_blocks[class];
    g_blocks[class] = block->next;
    return block;
}

/* vfs/trusted/chunks.h; not there in tests of this file alone. It takes its own lock, under which nothing is
 * allocated, and gives memory back here. */
__attribute__((weak)) void chunks_shrink(void);

static void *small_alloc(size_t size)
{
    LOCKED(&g_lock);
    return block_take(class_of(size));
}

void *heap_alloc(size_t size)
{
    if (size == 0)
        size = 1;
    void *p;
    if (size <= 1u << CLASS_MAX) {
        p = small_alloc(size);
        if (!p && chunks_shrink) {
            chunks_shrink();
            p = small_alloc(size);
        }
    } else {
        if (size > (1ull << 46))
            return NULL;
        p = heap_pages((size + LAYOUT_PAGE - 1) / LAYOUT_PAGE);
    }
    if (p)
        memset(p, 0, size);
    return p;
}

/* Bytes that p may hold. */
static size_t capacity(const void *p)
{
    uint64_t page = (uint64_t)p & ~(LAYOUT_PAGE - 1);
    ASSERT(page >= g_pages_base && page < g_top);
    uint32_t info = g_info[page_index(page)];
    if (INFO_KIND(info) == INFO_SLAB)
        return (size_t)1 << INFO_VALUE(info);
    ASSERT(INFO_KIND(info) == INFO_USED && page == (uint64_t)p);
    return (size_t)INFO_VALUE(info) * LAYOUT_PAGE;
}

void heap_free(void *p)
{
    if (!p)
        return;
    size_t size = capacity(p);
    if (size > 1u << CLASS_MAX) {
        heap_pages_free(p, size / LAYOUT_PAGE);
        return;
    }
    unsigned class = class_of(size);
    LOCKED(&g_lock);
    struct run *block = p;
    block->next = g_blocks[class];
    g_blocks[class] = block;
}

void *heap_realloc(void *p, size_t size)
{
    if (!p)
        return heap_alloc(size);
    size_t have = capacity(p);
    if (size <= have && size > have / 4)
        return p;
    void *q = heap_alloc(size);
    if (!q)
        return NULL;
    memcpy(q, p, size < have ? size : have);
    heap_free(p);
    return q;
}

static void *pages_alloc(uint64_t count)
{
    LOCKED(&g_lock);
    return (void *)run_take(count);
}

void *heap_pages(uint64_t count)
{
    void *pages = pages_alloc(count);
    if (pages || !chunks_shrink)
        return pages;
    chunks_shrink();
    return pages_alloc(count);
}

uint64_t heap_region_size(void)
{
    return g_limit - g_base;
}

void heap_pages_free(void *pages, uint64_t count)
{
    if (!pages)
        return;
    LOCKED(&g_lock);
    ASSERT(g_info[page_index((uint64_t)pages)] == INFO(INFO_USED, count));
    run_free((uint64_t)pages, count);
}
