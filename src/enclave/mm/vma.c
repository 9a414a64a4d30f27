#include "mm/vma.h"

#include <asm/errno.h>
#include <linux/mman.h>

#include "arch/string.h"
#include "mm/heap.h"

#define VMA_MAX 65530 /* as Linux' vm.max_map_count */

static struct vma *g_vmas;
static uint32_t g_count, g_room;

/* Files of mappings that went, until vma_gone. */
static struct file **g_gone;
static uint32_t g_gone_count, g_gone_room;

uint32_t vma_count(void)
{
    return g_count;
}

const struct vma *vma_at(uint32_t index)
{
    return &g_vmas[index];
}

uint32_t vma_lower(uint64_t address)
{
    uint32_t low = 0, high = g_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (g_vmas[middle].end > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const struct vma *vma_find(uint64_t address)
{
    uint32_t i = vma_lower(address);
    return i < g_count && g_vmas[i].start <= address ? &g_vmas[i] : NULL;
}

static int room(uint32_t more)
{
    if (g_count + more > VMA_MAX)
        return -ENOMEM;
    if (g_count + more <= g_room)
        return 0;
    uint32_t want = g_room ? g_room * 2 : 256;
    struct vma *bigger = heap_realloc(g_vmas, want * sizeof(*bigger));
    if (!bigger)
        return -ENOMEM;
    g_vmas = bigger;
    g_room = want;
    return 0;
}

static void insert(uint32_t at, const struct vma *vma)
{
    memmove(&g_vmas[at + 1], &g_vmas[at], (g_count - at) * sizeof(*g_vmas));
    g_vmas[at] = *vma;
    g_count++;
}

/* Splits the mapping at index so that one begins at address; room for one more is there. */
static void split(uint32_t index, uint64_t address)
{
    struct vma upper = g_vmas[index];
    upper.offset += address - upper.start;
    upper.start = address;
    if (upper.file)
        file_ref(upper.file);
    g_vmas[index].end = address;
    insert(index + 1, &upper);
}

/* Makes borders at start and end, so that whole mappings lie between. */
static void make_borders(uint64_t start, uint64_t end)
{
    uint32_t i = vma_lower(start);
    if (i < g_count && g_vmas[i].start < start)
        split(i, start);
    i = vma_lower(end - 1);
    if (i < g_count && g_vmas[i].start < end && g_vmas[i].end > end)
        split(i, end);
}

static int gone_room(uint32_t more)
{
    if (g_gone_count + more <= g_gone_room)
        return 0;
    uint32_t want = (g_gone_count + more) * 2;
    struct file **bigger = heap_realloc(g_gone, want * sizeof(struct file *));
    if (!bigger)
        return -ENOMEM;
    g_gone = bigger;
    g_gone_room = want;
    return 0;
}

int vma_set_file(uint32_t index, struct file *file, uint32_t flags)
{
    struct vma *v = &g_vmas[index];
    if (gone_room(1) < 0)
        return -ENOMEM;
    if (v->file)
        g_gone[g_gone_count++] = v->file;
    else
        v->offset = 0;
    v->file = file;
    v->flags |= flags;
    return 0;
}

int vma_cut(uint64_t start, uint64_t end)
{
    if (room(2) < 0)
        return -ENOMEM;
    uint32_t first = vma_lower(start);
    uint32_t last = first;
    while (last < g_count && g_vmas[last].start < end)
        last++;
    if (first == last)
        return 0;
    uint32_t gone = last - first + 2;
    if (gone_room(gone) < 0)
        return -ENOMEM;
    make_borders(start, end);
    first = vma_lower(start);
    last = first;
    while (last < g_count && g_vmas[last].start < end) {
        if (g_vmas[last].file)
            g_gone[g_gone_count++] = g_vmas[last].file;
        last++;
    }
    memmove(&g_vmas[first], &g_vmas[last], (g_count - last) * sizeof(*g_vmas));
    g_count -= last - first;
    return 0;
}

static bool joinable(const struct vma *a, const struct vma *b)
{
    return a->end == b->start && a->prot == b->prot && a->flags == b->flags && !a->file && !b->file;
}

/* Joins the anonymous mappings that meet at index - 1 and index. */
static bool join(uint32_t index)
{
    if (index == 0 || index >= g_count || !joinable(&g_vmas[index - 1], &g_vmas[index]))
        return false;
    g_vmas[index - 1].end = g_vmas[index].end;
    memmove(&g_vmas[index], &g_vmas[index + 1], (g_count - index - 1) * sizeof(*g_vmas));
    g_count--;
    return true;
}

static void note_writable(struct vma *vma)
{
    if (vma->file && (vma->prot & PROT_WRITE))
        vma->flags |= VMA_WAS_WRITABLE;
}

int vma_add(const struct vma *vma)
{
    if (room(1) < 0)
        return -ENOMEM;
    uint32_t at = vma_lower(vma->start);
    insert(at, vma);
    note_writable(&g_vmas[at]);
    join(at + 1);
    join(at);
    return 0;
}

int vma_protect(uint64_t start, uint64_t end, uint32_t prot)
{
    if (room(2) < 0)
        return -ENOMEM;
    make_borders(start, end);
    uint32_t i = vma_lower(start);
    for (; i < g_count && g_vmas[i].start < end; i++) {
        g_vmas[i].prot = prot;
        note_writable(&g_vmas[i]);
    }
    for (i = vma_lower(start); i < g_count && g_vmas[i].start <= end;) {
        if (!join(i))
            i++;
    }
    return 0;
}

bool vma_covers(uint64_t start, uint64_t end)
{
    for (uint32_t i = vma_lower(start); i < g_count && g_vmas[i].start <= start; i++) {
        start = g_vmas[i].end;
        if (start >= end)
            return true;
    }
    return false;
}

uint64_t vma_hole(uint64_t low, uint64_t high, uint64_t size, bool from_top)
{
    if (high <= low || size > high - low)
        return 0;
    if (from_top) {
        uint64_t top = high;
        uint32_t i = vma_lower(high - 1);
        if (i < g_count && g_vmas[i].start < high)
            top = g_vmas[i].start;
        while (i > 0 && top >= low + size) {
            uint64_t below = g_vmas[i - 1].end;
            if (below <= top - size)
                break;
            top = g_vmas[--i].start;
        }
        return top >= low + size ? top - size : 0;
    }
    uint64_t at = low;
    for (uint32_t i = vma_lower(low); i < g_count && g_vmas[i].start < at + size; i++)
        if (g_vmas[i].end > at)
            at = g_vmas[i].end;
    return at <= high - size ? at : 0;
}

struct file *vma_gone(void)
{
    return g_gone_count ? g_gone[--g_gone_count] : NULL;
}
