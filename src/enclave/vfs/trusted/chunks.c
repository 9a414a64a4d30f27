#include "vfs/trusted/chunks.h"

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "core/bytes.h"
#include "mm/heap.h"
#include "process/process.h"
#include "process/stats.h"
#include "vfs/linux.h"
#include "vfs/node.h"

struct chunk {
    struct chunk *next, *prev; /* least recently used first; only while in the table */
    void *data;
    uint32_t leaf;
    uint32_t size, pages;
    uint32_t pins;
};

struct handle {
    uint32_t record; /* MANIFEST_NONE: free slot */
    uint32_t users;
    int handle;
    uint64_t used; /* when, for eviction */
};

#define AHEAD_MAX (OCALL_DATA_SIZE / MANIFEST_CHUNK_SIZE)

static struct lock g_lock;     /* all below */
static struct chunk **g_table; /* by leaf number */
static struct chunk g_lru = { &g_lru, &g_lru, NULL, 0, 0, 0, 0 };
static uint64_t g_cached; /* bytes in the table */
static uint64_t g_keep;   /* of which may stay */
static struct handle g_handles[CHUNK_HANDLES_MAX];
static uint64_t g_tick;

int chunks_init(void)
{
    for (uint32_t i = 0; i < CHUNK_HANDLES_MAX; i++)
        g_handles[i].record = MANIFEST_NONE;
    g_keep = heap_region_size() / 4;
    g_keep = g_keep < CHUNK_CACHE_LEAST  ? CHUNK_CACHE_LEAST
             : g_keep > CHUNK_CACHE_MOST ? CHUNK_CACHE_MOST
                                         : g_keep;
    g_table = heap_alloc(((size_t)g_manifest.leaf_count + 1) * sizeof(struct chunk *));
    return g_table ? 0 : -ENOMEM;
}

/* --- refusals -------------------------------------------------------------------------- */

/* An integrity violation in a trusted file. -EIO if the manifest says deny; else no return. */
static int refused(uint32_t record, struct ocall_refusal *r)
{
    const struct manifest_file *f = &g_manifest.files[record];
    const char *path = manifest_path(&g_manifest, record);
    r->expected_size = f->size;
    if (!(f->flags & MANIFEST_DENY)) {
        r->action = OCALL_REFUSED_ABORT;
        refuse_abort(r, path, f->path.length);
    }
    r->action = OCALL_REFUSED_DENY;
    refuse(r, path, f->path.length);
    return -EIO;
}

/* --- host handles ---------------------------------------------------------------------- */

bool chunk_handles_drop(void)
{
    int handles[CHUNK_HANDLES_MAX];
    uint32_t count = 0;
    lock_take(&g_lock);
    for (uint32_t i = 0; i < CHUNK_HANDLES_MAX; i++) {
        struct handle *h = &g_handles[i];
        if (h->record == MANIFEST_NONE || h->users)
            continue;
        handles[count++] = h->handle;
        h->record = MANIFEST_NONE;
    }
    lock_drop(&g_lock);
    for (uint32_t i = 0; i < count; i++)
        border_call1(OCALL_CLOSE, 0, (uint64_t)handles[i]);
    return count > 0;
}

static int64_t host_open(uint32_t record)
{
    uint32_t size = g_manifest.files[record].path.length;
    border_put(0, manifest_path(&g_manifest, record), size);
    /* Where the host keeps the content is its own business: links are followed. */
    return border_call3(OCALL_OPEN, 0x7fffffff, size, O_RDONLY | O_NONBLOCK, 0);
}

/* A handle of the record's host file, whose type and size are as the manifest says. */
static int handle_open(uint32_t record, int *ret)
{
    const struct manifest_file *f = &g_manifest.files[record];
    struct ocall_refusal r = { 0 };
    int64_t handle = host_open(record);
    /* The program's sockets and files may have used up the host's descriptors: ours can be opened again later. */
    if ((handle == -EMFILE || handle == -ENFILE) && chunk_handles_drop())
        handle = host_open(record);
    if (handle < 0) {
        r.kind = OCALL_REFUSED_MISSING;
        r.error = (uint32_t)-handle;
        return refused(record, &r);
    }
    struct ocall_stat st;
    int64_t status = border_call1(OCALL_FSTAT, 0, (uint64_t)handle);
    if (status < 0) {
        r.kind = OCALL_REFUSED_MISSING;
        r.error = (uint32_t)-status;
    } else {
        border_get(&st, 0, sizeof(st));
        r.actual_size = st.size;
        if (!S_ISREG(st.mode))
            r.kind = OCALL_REFUSED_TYPE;
        else if (st.size < f->size)
            r.kind = OCALL_REFUSED_SHORT;
        else if (st.size > f->size)
            r.kind = OCALL_REFUSED_LONG;
    }
    if (r.kind) {
        border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
        return refused(record, &r);
    }
    *ret = (int)handle;
    return 0;
}

/* Locked: a slot for one more; the handle it held, to be closed, in *ret_old (-1: none). */
static struct handle *handle_slot(int *ret_old)
{
    struct handle *oldest = NULL;
    *ret_old = -1;
    for (uint32_t i = 0; i < CHUNK_HANDLES_MAX; i++) {
        struct handle *h = &g_handles[i];
        if (h->record == MANIFEST_NONE)
            return h;
        if (!h->users && (!oldest || h->used < oldest->used))
            oldest = h;
    }
    if (oldest)
        *ret_old = oldest->handle;
    return oldest;
}

static struct handle *handle_find(uint32_t record)
{
    for (uint32_t i = 0; i < CHUNK_HANDLES_MAX; i++)
        if (g_handles[i].record == record)
            return &g_handles[i];
    return NULL;
}

/* A handle to read with; *ret_slot is NULL if the cache is full of handles in use, then the caller
 * closes it. */
static int handle_get(uint32_t record, struct handle **ret_slot, int *ret_handle)
{
    lock_take(&g_lock);
    struct handle *h = handle_find(record);
    if (!h) {
        lock_drop(&g_lock);
        int handle = -1, old = -1;
        int status = handle_open(record, &handle);
        if (status < 0)
            return status;
        lock_take(&g_lock);
        h = handle_find(record);
        if (h) { /* another thread was faster */
            old = handle;
        } else if ((h = handle_slot(&old))) {
            *h = (struct handle){ .record = record, .handle = handle };
        } else {
            lock_drop(&g_lock);
            *ret_slot = NULL;
            *ret_handle = handle;
            return 0;
        }
        h->users++;
        lock_drop(&g_lock);
        if (old >= 0)
            border_call1(OCALL_CLOSE, 0, (uint64_t)old);
        lock_take(&g_lock);
        h->users--;
    }
    h->users++;
    h->used = ++g_tick;
    *ret_slot = h;
    *ret_handle = h->handle;
    lock_drop(&g_lock);
    return 0;
}

static void handle_put(struct handle *slot, int handle)
{
    if (!slot) {
        border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
        return;
    }
    LOCKED(&g_lock);
    slot->users--;
}

/* --- chunks ---------------------------------------------------------------------------- */

static void chunk_free(struct chunk *c)
{
    heap_pages_free(c->data, c->pages);
    heap_free(c);
}

/* Locked. */
static void lru_remove(struct chunk *c)
{
    c->prev->next = c->next;
    c->next->prev = c->prev;
}

static void lru_add(struct chunk *c)
{
    c->next = &g_lru;
    c->prev = g_lru.prev;
    c->prev->next = c;
    g_lru.prev = c;
}

/* Locked: takes the oldest unpinned chunk out of the table if it holds more than max bytes. */
static struct chunk *evict(uint64_t max)
{
    if (g_cached <= max)
        return NULL;
    struct chunk *c = g_lru.next;
    while (c != &g_lru && c->pins)
        c = c->next;
    if (c == &g_lru)
        return NULL;
    lru_remove(c);
    g_table[c->leaf] = NULL;
    g_cached -= (uint64_t)c->pages * 4096;
    return c;
}

static void shrink(uint64_t max)
{
    for (;;) {
        lock_take(&g_lock);
        struct chunk *c = evict(max);
        lock_drop(&g_lock);
        if (!c)
            return;
        chunk_free(c);
    }
}

void chunks_shrink(void)
{
    shrink(0);
}

static uint32_t size_of(const struct manifest_file *f, uint64_t index)
{
    uint64_t left = f->size - index * MANIFEST_CHUNK_SIZE;
    return left < MANIFEST_CHUNK_SIZE ? (uint32_t)left : MANIFEST_CHUNK_SIZE;
}

static struct chunk *chunk_new(uint32_t size)
{
    uint32_t pages = (size + 4095) / 4096;
    struct chunk *c = heap_alloc(sizeof(*c));
    void *data = c ? heap_pages(pages) : NULL;
    if (c && !data) {
        /* Out of memory: what is cached goes first. */
        shrink(0);
        data = heap_pages(pages);
    }
    if (!data) {
        heap_free(c);
        return NULL;
    }
    *c = (struct chunk){ .data = data, .size = size, .pages = pages };
    return c;
}

/* Copies chunk index out of the window. NULL: no memory. */
static struct chunk *take(uint32_t record, uint64_t index, uint64_t window)
{
    const struct manifest_file *f = &g_manifest.files[record];
    uint32_t size = size_of(f, index);
    struct chunk *c = chunk_new(size);
    if (!c)
        return NULL;
    border_get(c->data, window, size);
    memset((char *)c->data + size, 0, (size_t)c->pages * 4096 - size);
    c->leaf = f->first_leaf + (uint32_t)index;
    __atomic_fetch_add(&g_stats_verified, size, __ATOMIC_RELAXED);
    return c;
}

/* The chunk if its leaf is the manifest's, else it is freed and the file refused. */
static int accept(uint32_t record, struct chunk *c, const uint8_t leaf[static 32],
                  struct chunk **ret)
{
    if (bytes_equal_ct(leaf, g_manifest.leaves[c->leaf], MANIFEST_HASH_SIZE)) {
        *ret = c;
        return 0;
    }
    const struct manifest_file *f = &g_manifest.files[record];
    struct ocall_refusal r = { .kind = OCALL_REFUSED_CONTENT,
                               .offset = (uint64_t)(c->leaf - f->first_leaf) * MANIFEST_CHUNK_SIZE,
                               .actual_size = f->size };
    memcpy(r.actual, leaf, sizeof(r.actual));
    memcpy(r.expected, g_manifest.leaves[c->leaf], sizeof(r.expected));
    chunk_free(c);
    return refused(record, &r);
}

/* Verifies chunk index in the window, and with it the next one if that is wanted: *ret_next is NULL
 * if it could not be had, which is no error. */
static int verify(uint32_t record, uint64_t index, uint64_t window, bool pair, struct chunk **ret,
                  struct chunk **ret_next)
{
    uint8_t leaf[MANIFEST_HASH_SIZE], next_leaf[MANIFEST_HASH_SIZE];
    struct chunk *c = take(record, index, window);
    struct chunk *next = c && pair ? take(record, index + 1, window + MANIFEST_CHUNK_SIZE) : NULL;
    *ret_next = NULL;
    if (!c)
        return -ENOMEM;
    if (!next) {
        island_leaf(index, c->data, c->size, leaf);
        return accept(record, c, leaf, ret);
    }
    island_leaf_pair(index, c->data, next->data, leaf, next_leaf);
    int status = accept(record, c, leaf, ret);
    if (status < 0)
        chunk_free(next);
    else
        (void)accept(record, next, next_leaf, ret_next); /* refused: again when it is asked for */
    return status;
}

/* Into the table, pinned if wanted; an equal chunk that came first wins. */
static struct chunk *insert(struct chunk *c, bool pin)
{
    struct chunk *there;
    {
        LOCKED(&g_lock);
        there = g_table[c->leaf];
        if (!there) {
            g_table[c->leaf] = c;
            lru_add(c);
            g_cached += (uint64_t)c->pages * 4096;
            there = c;
        }
        if (pin)
            there->pins++;
    }
    if (there != c)
        chunk_free(c);
    return there;
}

static bool cached(uint32_t leaf)
{
    LOCKED(&g_lock);
    return g_table[leaf] != NULL;
}

/* Reads chunk index, and those after it that are wanted, and returns it pinned. */
static int load(uint32_t record, uint64_t index, uint64_t ahead, struct chunk **ret)
{
    const struct manifest_file *f = &g_manifest.files[record];
    struct handle *slot;
    int handle;
    int status = handle_get(record, &slot, &handle);
    if (status < 0)
        return status;
    uint64_t offset = index * MANIFEST_CHUNK_SIZE;
    uint64_t want = (ahead < AHEAD_MAX ? ahead : AHEAD_MAX) * MANIFEST_CHUNK_SIZE;
    if (want > f->size - offset)
        want = f->size - offset;
    int64_t got;
    do {
        got = border_call3(OCALL_PREAD, want, (uint64_t)handle, want, offset);
    } while (got == -EINTR);
    if (got < 0) {
        struct ocall_refusal r = { .kind = OCALL_REFUSED_MISSING,
                                   .offset = offset,
                                   .error = (uint32_t)-got };
        handle_put(slot, handle);
        return refused(record, &r);
    }
    /* The first chunk must be whole; a short count after it only means less readahead. */
    uint64_t have = (uint64_t)got;
    if (have < size_of(f, index)) {
        struct ocall_refusal r = { .kind = OCALL_REFUSED_SHORT,
                                   .offset = offset,
                                   .actual_size = offset + have };
        handle_put(slot, handle);
        return refused(record, &r);
    }
    struct chunk *first = NULL;
    for (uint64_t at = 0; at < have; at += MANIFEST_CHUNK_SIZE) {
        uint64_t i = index + at / MANIFEST_CHUNK_SIZE;
        if (size_of(f, i) > have - at || (first && cached(f->first_leaf + (uint32_t)i)))
            continue;
        bool pair =
            have - at >= 2 * MANIFEST_CHUNK_SIZE && !cached(f->first_leaf + (uint32_t)i + 1);
        struct chunk *c = NULL, *next = NULL;
        status = verify(record, i, at, pair, &c, &next);
        if (status < 0)
            break;
        c = insert(c, !first);
        if (!first)
            first = c;
        if (next) {
            insert(next, false);
            at += MANIFEST_CHUNK_SIZE;
        }
    }
    handle_put(slot, handle);
    if (!first)
        return status;
    shrink(g_keep);
    *ret = first;
    return 0;
}

int chunk_get_record(uint32_t record, uint64_t index, uint64_t ahead, struct chunk **ret,
                     const void **ret_data, uint32_t *ret_size)
{
    const struct manifest_file *f = &g_manifest.files[record];
    if (index >= f->leaf_count)
        return -ERANGE;
    struct chunk *c;
    lock_take(&g_lock);
    c = g_table[f->first_leaf + (uint32_t)index];
    if (c) {
        c->pins++;
        if (c->next != &g_lru) {
            lru_remove(c);
            lru_add(c);
        }
    }
    lock_drop(&g_lock);
    if (!c) {
        /* Two whole chunks are verified in little more time than one. */
        if (ahead < 2 && index + 1 < f->leaf_count && !cached(f->first_leaf + (uint32_t)index + 1))
            ahead = 2;
        int status = load(record, index, ahead, &c);
        if (status < 0)
            return status;
    }
    *ret = c;
    *ret_data = c->data;
    *ret_size = c->size;
    return 0;
}

int chunk_get(struct file *file, uint64_t index, struct chunk **ret, const void **ret_data,
              uint32_t *ret_size)
{
    return chunk_get_record((uint32_t)(file->record - g_manifest.files), index, 1, ret, ret_data,
                            ret_size);
}

void chunk_put(struct chunk *chunk)
{
    LOCKED(&g_lock);
    chunk->pins--;
}
