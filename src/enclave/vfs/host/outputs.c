#include "vfs/host/outputs.h"

#include "arch/string.h"
#include "core/path_hash.h"
#include "mm/heap.h"
#include "process/process.h"
#include "thread/lock.h"
#include "vfs/linux.h"

#define BUCKETS 256u

struct made {
    struct made *next;
    bool whole;
    uint32_t size;
    char path[];
};

static struct lock g_lock;
static struct made *g_made[BUCKETS];
static uint32_t g_whole_count;

static bool is_output(const char *path, uint32_t size, uint32_t record)
{
    if (record != MANIFEST_NONE)
        return g_manifest.files[record].flags & MANIFEST_OUTPUT;
    record = manifest_find_above(&g_manifest, path, size);
    while (!(g_manifest.files[record].flags & MANIFEST_SUBTREE)) {
        if (record == 0)
            return false;
        record = g_manifest.files[record].parent;
    }
    return g_manifest.files[record].flags & MANIFEST_OUTPUT;
}

static struct made **bucket(const char *path, uint32_t size)
{
    return &g_made[manifest_path_hash(path, size) % BUCKETS];
}

/* Locked. */
static struct made *find(const char *path, uint32_t size)
{
    struct made *m = *bucket(path, size);
    while (m && (m->size != size || memcmp(m->path, path, size) != 0))
        m = m->next;
    return m;
}

bool output_hidden(const char *path, uint32_t size, uint32_t record)
{
    if (!is_output(path, size, record))
        return false;
    LOCKED(&g_lock);
    if (find(path, size))
        return false;
    for (uint32_t n = size; g_whole_count && n > 1;) {
        while (path[--n] != '/')
            ;
        const struct made *above = find(path, n);
        if (above && above->whole)
            return false;
    }
    return true;
}

int output_made(const char *path, uint32_t size, uint32_t record, bool whole)
{
    if (!is_output(path, size, record))
        return 0;
    struct made *fresh = heap_alloc(sizeof(*fresh) + size);
    if (!fresh)
        return -ENOMEM;
    *fresh = (struct made){ .whole = whole, .size = size };
    memcpy(fresh->path, path, size);
    lock_take(&g_lock);
    struct made *there = find(path, size);
    if (whole && !(there && there->whole))
        g_whole_count++;
    if (there) {
        there->whole |= whole;
    } else {
        struct made **b = bucket(path, size);
        fresh->next = *b;
        *b = TAKE_PTR(fresh);
    }
    lock_drop(&g_lock);
    heap_free(fresh);
    return 0;
}

static bool covers(const char *path, uint32_t size, bool whole, const struct made *m)
{
    if (m->size < size || memcmp(m->path, path, size) != 0)
        return false;
    return m->size == size || (whole && m->path[size] == '/');
}

void output_gone(const char *path, uint32_t size, bool whole)
{
    struct made *gone = NULL;
    lock_take(&g_lock);
    struct made **from = whole ? g_made : bucket(path, size);
    for (struct made **b = from; b < (whole ? g_made + BUCKETS : from + 1); b++)
        for (struct made **at = b; *at;) {
            struct made *m = *at;
            if (!covers(path, size, whole, m)) {
                at = &m->next;
                continue;
            }
            *at = m->next;
            m->next = gone;
            gone = m;
            g_whole_count -= m->whole;
        }
    lock_drop(&g_lock);
    while (gone) {
        struct made *m = gone;
        gone = m->next;
        heap_free(m);
    }
}
