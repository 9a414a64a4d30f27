/*
 * Blocks of scratch files (blocks.h). Tier: enclave.
 *
 * Slots of the lowest level hold tagged pointers: the first of a chunk may point at its struct
 * spilled, then the others are NULL; USED is set by every use and cleared by the sweep that looks
 * for chunks to spill (second chance). A file of one block has no such level and is never spilled.
 *
 * Locks: an inode's, then the ring's. Neither is held while a chunk is written or read.
 */
#include "vfs/tmpfs/blocks.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "process/process.h"
#include "vfs/tmpfs/inode.h"
#include "vfs/tmpfs/spill.h"
#include "vfs/trusted/chunks.h"

#define NODE_SLOTS  512u /* pointers in one page */
#define TAG_SPILLED 1ul
#define TAG_USED    2ul
#define TAGS        3ul
#define LIMIT_MIN   (256u << 10)

static_assert(CHUNK_BLOCKS * BLOCK_SIZE == SPILL_CHUNK && NODE_SLOTS % CHUNK_BLOCKS == 0, "chunks");

static uint64_t g_resident; /* atomic: blocks in memory */
/* Files with chunks; the hand goes round. */
static struct lock g_ring_lock;
static struct inode *g_hand;
static uint32_t g_ring_count;

static int evict_one(void);

static void *bare(void *tagged)
{
    return (void *)((uintptr_t)tagged & ~TAGS);
}

static bool has(const void *tagged, uintptr_t tag)
{
    return ((uintptr_t)tagged & tag) != 0;
}

static bool over_limit(void)
{
    uint64_t limit = process_node()->heap_size / 2;
    if (limit < LIMIT_MIN)
        limit = LIMIT_MIN;
    return __atomic_load_n(&g_resident, __ATOMIC_RELAXED) >= limit / BLOCK_SIZE;
}

static void resident(int64_t more)
{
    __atomic_fetch_add(&g_resident, (uint64_t)more, __ATOMIC_RELAXED);
}

static void *page_new(void)
{
    void *page = heap_pages(1);
    if (!page) {
        chunks_shrink();
        page = heap_pages(1);
    }
    if (page)
        memset(page, 0, BLOCK_SIZE);
    return page;
}

static void say_full(void)
{
    static bool said;
    if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        log_note("out of enclave memory for scratch files: ENOSPC; --heap raises the limit");
}

/* --- the ring of files ------------------------------------------------------------------ */

static void ring_add(struct inode *inode)
{
    LOCKED(&g_ring_lock);
    if (inode->ring_next)
        return;
    if (!g_hand)
        g_hand = inode->ring_next = inode->ring_prev = inode;
    inode->ring_next = g_hand;
    inode->ring_prev = g_hand->ring_prev;
    inode->ring_prev->ring_next = inode;
    g_hand->ring_prev = inode;
    g_ring_count++;
}

static void ring_remove(struct inode *inode)
{
    LOCKED(&g_ring_lock);
    if (!inode->ring_next)
        return;
    if (g_hand == inode)
        g_hand = inode->ring_next == inode ? NULL : inode->ring_next;
    inode->ring_prev->ring_next = inode->ring_next;
    inode->ring_next->ring_prev = inode->ring_prev;
    inode->ring_next = inode->ring_prev = NULL;
    g_ring_count--;
}

/* --- the tree --------------------------------------------------------------------------- */

static uint64_t covered(uint32_t height)
{
    return 1ull << (9 * height);
}

/* The slot of a block; NULL: there are no nodes down to it, or with make: no memory. */
static void **slot_of(struct inode *inode, uint64_t index, bool make)
{
    while (index >= covered(inode->height)) {
        if (!make)
            return NULL;
        if (inode->root) {
            void **node = page_new();
            if (!node)
                return NULL;
            node[0] = inode->root;
            inode->root = node;
        }
        inode->height++;
    }
    void **at = &inode->root;
    for (uint32_t h = inode->height; h > 0; h--) {
        if (!*at && (!make || !(*at = page_new())))
            return NULL;
        at = (void **)*at + (index >> (9 * (h - 1)) & (NODE_SLOTS - 1));
    }
    if (make && inode->height && !inode->ring_next)
        ring_add(inode);
    return at;
}

/* The first slot of a block's chunk. */
static void **group_of(const struct inode *inode, void **slot, uint64_t index)
{
    return inode->height ? slot - index % CHUNK_BLOCKS : slot;
}

/* Frees the blocks from index first on below *at. */
static void prune(struct inode *inode, void **at, uint32_t height, uint64_t first,
                  struct spilled **gone)
{
    if (!*at)
        return;
    if (height > 0) {
        void **node = *at;
        uint64_t each = covered(height - 1);
        for (uint64_t i = first / each; i < NODE_SLOTS; i++)
            prune(inode, &node[i], height - 1, i == first / each ? first % each : 0, gone);
        if (first)
            return;
    } else if (has(*at, TAG_SPILLED)) {
        struct spilled *s = bare(*at);
        inode->blocks -= s->size / BLOCK_SIZE;
        s->next = *gone;
        *gone = s;
        *at = NULL;
        return;
    } else {
        inode->blocks--;
        resident(-1);
    }
    heap_pages_free(bare(*at), 1);
    *at = NULL;
}

void blocks_prune(struct inode *inode, uint64_t first, struct spilled **gone)
{
    if (first < covered(inode->height))
        prune(inode, &inode->root, inode->height, first, gone);
    if (!inode->root)
        inode->height = 0;
}

void blocks_free(struct inode *inode)
{
    struct spilled *gone = NULL;
    ring_remove(inode);
    blocks_prune(inode, 0, &gone);
    spill_free(gone);
}

/* --- pins ------------------------------------------------------------------------------- */

static void pin_add(struct inode *inode, struct pin *pin, uint64_t chunk, bool moving)
{
    *pin = (struct pin){ .next = inode->pins, .chunk = chunk, .moving = moving };
    inode->pins = pin;
    inode->busy += moving;
}

void block_unpin(struct inode *inode, struct pin *pin)
{
    struct pin **at = &inode->pins;
    while (*at != pin)
        at = &(*at)->next;
    *at = pin->next;
    inode->busy -= pin->moving;
}

static const struct pin *pinned(const struct inode *inode, uint64_t chunk)
{
    const struct pin *pin = inode->pins;
    while (pin && pin->chunk != chunk)
        pin = pin->next;
    return pin;
}

/* True: the chunk was moving, and the lock was dropped. */
static bool wait_moving(struct inode *inode, uint64_t chunk)
{
    const struct pin *pin = pinned(inode, chunk);
    if (!pin || !pin->moving)
        return false;
    lock_drop(&inode->lock);
    border_call0(OCALL_YIELD, 0);
    lock_take(&inode->lock);
    return true;
}

/* --- out -------------------------------------------------------------------------------- */

/* The chunk's blocks: 0 if it is spilled. */
static uint16_t in_memory(void *const *group)
{
    uint16_t present = 0;
    if (has(group[0], TAG_SPILLED))
        return 0;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        present |= (uint16_t)((group[i] != NULL) << i);
    return present;
}

/* Was it used since the last look? */
static bool used(void **group)
{
    bool ret = false;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        ret |= has(group[i], TAG_USED);
        group[i] = bare(group[i]);
    }
    return ret;
}

/* Locked. The group of the next chunk to spill from inode->sweep on; NULL: none up to the end. */
static void **find_cold(struct inode *inode, uint64_t *ret_chunk)
{
    uint64_t end = inode->height ? covered(inode->height) : 0, at = inode->sweep;
    while (at < end) {
        void **node = inode->root;
        uint32_t h = inode->height;
        while (node && h > 1)
            node = node[at >> (9 * --h) & (NODE_SLOTS - 1)];
        if (!node) {
            at = (at / covered(h) + 1) * covered(h);
            continue;
        }
        do {
            void **group = node + at % NODE_SLOTS;
            uint64_t chunk = at / CHUNK_BLOCKS;
            at += CHUNK_BLOCKS;
            if (in_memory(group) && !pinned(inode, chunk) && !used(group)) {
                inode->sweep = at;
                *ret_chunk = chunk;
                return group;
            }
        } while (at % NODE_SLOTS);
    }
    inode->sweep = 0;
    return NULL;
}

static bool try_ref(struct inode *inode)
{
    uint32_t refs = __atomic_load_n(&inode->refs, __ATOMIC_RELAXED);
    while (refs && !__atomic_compare_exchange_n(&inode->refs, &refs, refs + 1, true,
                                                __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    }
    return refs != 0;
}

/* A chunk to be spilled, moving, its inode referenced and locked. NULL: there is none. */
static struct inode *choose(struct pin *pin, void ***ret_group)
{
    lock_take(&g_ring_lock);
    /* Twice round, as the first look only makes used chunks unused. */
    for (uint64_t turns = 2ull * g_ring_count + 2; turns && g_hand; turns--) {
        struct inode *inode = g_hand;
        if (!try_ref(inode)) {
            g_hand = inode->ring_next;
            continue;
        }
        lock_drop(&g_ring_lock);
        uint64_t chunk;
        lock_take(&inode->lock);
        void **group = find_cold(inode, &chunk);
        if (group) {
            pin_add(inode, pin, chunk, true);
            *ret_group = group;
            return inode;
        }
        lock_drop(&inode->lock);
        lock_take(&g_ring_lock);
        if (g_hand == inode)
            g_hand = inode->ring_next;
        lock_drop(&g_ring_lock);
        tmpfs_unref(inode);
        lock_take(&g_ring_lock);
    }
    lock_drop(&g_ring_lock);
    return NULL;
}

static uint32_t gather(void *const blocks[static CHUNK_BLOCKS], uint8_t *buf)
{
    uint32_t size = 0;
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        if (!blocks[i])
            continue;
        memcpy(buf + size, bare(blocks[i]), BLOCK_SIZE);
        size += BLOCK_SIZE;
    }
    return size;
}

/* No inode's lock is held. 1: a chunk was spilled; 0: there is none that could be; -ENOSPC, -EIO,
 * -ENOMEM. */
static int evict_one(void)
{
    struct pin pin;
    void **group, *blocks[CHUNK_BLOCKS];
    uint8_t *buf = heap_pages(CHUNK_BLOCKS);
    if (!buf)
        return -ENOMEM;
    struct inode *inode = choose(&pin, &group);
    if (!inode) {
        heap_pages_free(buf, CHUNK_BLOCKS);
        return 0;
    }
    memcpy(blocks, group, sizeof(blocks));
    uint16_t present = in_memory(group);
    lock_drop(&inode->lock);

    struct spilled *s = NULL;
    uint32_t size = gather(blocks, buf);
    int status = spill_write(inode->ino, pin.chunk, buf, size, &s);
    heap_pages_free(buf, CHUNK_BLOCKS);

    lock_take(&inode->lock);
    if (status == 0) { /* the slots are where they were: nobody prunes a busy inode */
        s->present = present;
        memset(group, 0, sizeof(blocks));
        group[0] = (void *)((uintptr_t)s | TAG_SPILLED);
    }
    block_unpin(inode, &pin);
    lock_drop(&inode->lock);
    if (status == 0) {
        for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
            if (blocks[i])
                heap_pages_free(bare(blocks[i]), 1);
        resident(-(int64_t)(size / BLOCK_SIZE));
        status = 1;
    }
    tmpfs_unref(inode);
    return status;
}

/* --- in --------------------------------------------------------------------------------- */

static void free_blocks(void *const blocks[static CHUNK_BLOCKS])
{
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
        if (blocks[i])
            heap_pages_free(blocks[i], 1);
}

/* As many new blocks as present says, with what buf holds. */
static int scatter(const uint8_t *buf, uint16_t present, void *blocks[static CHUNK_BLOCKS])
{
    memset(blocks, 0, CHUNK_BLOCKS * sizeof(blocks[0]));
    for (unsigned i = 0; i < CHUNK_BLOCKS; i++) {
        if (!(present & 1u << i))
            continue;
        blocks[i] = page_new();
        if (!blocks[i]) {
            free_blocks(blocks);
            return -ENOMEM;
        }
        memcpy(blocks[i], buf, BLOCK_SIZE);
        buf += BLOCK_SIZE;
    }
    return 0;
}

static int fetch(const struct inode *inode, const struct spilled *s, uint64_t chunk,
                 void *blocks[static CHUNK_BLOCKS])
{
    uint8_t *buf = heap_pages(CHUNK_BLOCKS);
    if (!buf)
        return -ENOMEM;
    int status = spill_read(s, inode->ino, chunk, buf);
    if (status == 0)
        status = scatter(buf, s->present, blocks);
    heap_pages_free(buf, CHUNK_BLOCKS);
    return status;
}

/* Locked; drops the lock meanwhile. Brings the chunk of this group in. -EIO, -ENOMEM. */
static int load(struct inode *inode, void **group, uint64_t chunk)
{
    void *blocks[CHUNK_BLOCKS];
    struct pin pin;
    struct spilled *s = bare(group[0]);
    pin_add(inode, &pin, chunk, true);
    lock_drop(&inode->lock);
    int status = fetch(inode, s, chunk, blocks);
    if (status == 0) {
        /* Its place first: so there is one for what has to make room, even on a full disk. Being
         * over the limit by a chunk is better than not to give what was written. */
        spill_release(s);
        resident(s->size / BLOCK_SIZE);
        while (over_limit() && evict_one() > 0) {
        }
    }
    lock_take(&inode->lock);
    if (status == 0) {
        for (unsigned i = 0; i < CHUNK_BLOCKS; i++)
            group[i] = blocks[i] ? (void *)((uintptr_t)blocks[i] | TAG_USED) : NULL;
        heap_free(s);
    }
    block_unpin(inode, &pin);
    return status;
}

/* Locked; drops the lock. 0: the block may be made now, or one must look again. */
static int make_room(struct inode *inode)
{
    lock_drop(&inode->lock);
    int status = evict_one();
    lock_take(&inode->lock);
    return status;
}

int block_get(struct inode *inode, uint64_t index, bool make, struct pin *pin, char **ret)
{
    uint64_t chunk = index / CHUNK_BLOCKS;
    bool roomy = false;
    for (;;) {
        if (wait_moving(inode, chunk))
            continue;
        void **slot = slot_of(inode, index, false);
        void **group = slot ? group_of(inode, slot, index) : NULL;
        if (group && has(*group, TAG_SPILLED)) {
            const struct spilled *s = bare(*group);
            if (!make && !(s->present & 1u << index % CHUNK_BLOCKS)) {
                *ret = NULL;
                return 0;
            }
            int status = load(inode, group, chunk);
            if (status < 0)
                return status;
            continue;
        }
        if ((!slot || !*slot) && !make) {
            *ret = NULL;
            return 0;
        }
        if (!slot || !*slot) {
            if (!roomy && over_limit()) {
                int status = make_room(inode);
                if (status < 0)
                    return status == -EIO ? -EIO : -ENOSPC;
                roomy = status == 0; /* nothing to spill: then it must fit */
                continue;
            }
            slot = slot_of(inode, index, true);
            if (slot)
                *slot = page_new();
            if (!slot || !*slot) {
                if (make_room(inode) > 0)
                    continue;
                say_full();
                return -ENOSPC;
            }
            inode->blocks++;
            resident(1);
        }
        *ret = bare(*slot);
        if (inode->height)
            *slot = (void *)((uintptr_t)*ret | TAG_USED);
        if (pin)
            pin_add(inode, pin, chunk, false);
        return 0;
    }
}

int blocks_load(struct inode *inode, uint64_t index)
{
    if (wait_moving(inode, index / CHUNK_BLOCKS))
        return 1;
    void **slot = slot_of(inode, index, false);
    void **group = slot ? group_of(inode, slot, index) : NULL;
    if (!group || !has(*group, TAG_SPILLED))
        return 0;
    int status = load(inode, group, index / CHUNK_BLOCKS);
    return status < 0 ? status : 1;
}

uint64_t blocks_hole_end(const struct inode *inode, uint64_t index)
{
    if (index >= covered(inode->height))
        return UINT64_MAX;
    const void *at = inode->root;
    for (uint32_t h = inode->height; h > 0; h--) {
        if (!at)
            return ((index >> (9 * h)) + 1) << (9 * h);
        at = ((void *const *)at)[index >> (9 * (h - 1)) & (NODE_SLOTS - 1)];
    }
    return index + 1;
}

bool block_present(struct inode *inode, uint64_t index)
{
    while (wait_moving(inode, index / CHUNK_BLOCKS)) {
    }
    void **slot = slot_of(inode, index, false);
    if (!slot)
        return false;
    void **group = group_of(inode, slot, index);
    if (has(*group, TAG_SPILLED))
        return ((const struct spilled *)bare(*group))->present & 1u << index % CHUNK_BLOCKS;
    return *slot != NULL;
}
