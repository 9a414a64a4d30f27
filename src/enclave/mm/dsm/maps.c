/*
 * Shared memory: what a mapping's file stands for, and how memory becomes distributed (dsm.h). Tier: enclave.
 *
 * Locks: the address space's, then this file's. Neither is held while the hub is asked.
 */
#include "mm/dsm/maps.h"

#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "thread/futex.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"

/* What a distributed mapping's file stands for: file->object. */
struct map {
    struct map *next;
    struct file *file;    /* no reference: it owns this */
    struct file *backing; /* a scratch file; NULL: anonymous, or not open here */
    uint32_t object;
    uint64_t key, size, attached;
};

uint32_t g_dsm_mappings;

static struct {
    struct lock lock;
    struct map *first;
} g_maps;

static const struct file_ops g_dsm_ops;

static struct map *map_of(const struct file *file)
{
    return file && file->ops == &g_dsm_ops ? file->object : NULL;
}

uint32_t dsm_number(const struct file *file)
{
    struct map *map = map_of(file);
    return map ? map->object : 0;
}

const struct file *dsm_backing(const struct file *file)
{
    struct map *map = map_of(file);
    return map && map->backing ? map->backing : file;
}

/* --- asking ------------------------------------------------------------------------------------- */

static int64_t ask_open(struct file *file, uint64_t *ret_key)
{
    if (hub_is_here())
        return dsm_serve_open(NULL, file, ret_key);
    struct hub_ask ask = { .op = (enum hub_op)DSM_OPEN, .args = { (uint64_t)remote_handle(file) } };
    int64_t ret = hub_ask(&ask);
    *ret_key = ask.out[0];
    return ret;
}

static int64_t ask_new(uint64_t size, uint64_t *ret_key)
{
    if (hub_is_here())
        return dsm_serve_new(NULL, size, ret_key);
    struct hub_ask ask = { .op = (enum hub_op)DSM_NEW, .args = { size } };
    int64_t ret = hub_ask(&ask);
    *ret_key = ask.out[0];
    return ret;
}

static int64_t ask_attach(uint32_t object, uint64_t key)
{
    if (hub_is_here())
        return dsm_serve_attach(NULL, object, key);
    return hub_ask(&(struct hub_ask){ .op = (enum hub_op)DSM_ATTACH, .args = { object, key } });
}

static void ask_detach(uint32_t object, uint64_t count)
{
    if (hub_is_here())
        dsm_serve_detach(NULL, object, count);
    else
        (void)!hub_ask(
            &(struct hub_ask){ .op = (enum hub_op)DSM_DETACH, .args = { object, count } });
}

/* --- maps --------------------------------------------------------------------------------------- */

static bool ref_if_alive(struct file *file)
{
    uint32_t refs = __atomic_load_n(&file->refs, __ATOMIC_RELAXED);
    while (refs)
        if (__atomic_compare_exchange_n(&file->refs, &refs, refs + 1, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

/* The map's file for an object that was attached once for it; takes backing over, may be NULL. NULL: no memory, nothing
 * was taken. */
static struct file *map_get(uint32_t object, uint64_t key, uint64_t size, uint32_t flags,
                            struct file *backing)
{
    lock_take(&g_maps.lock);
    struct map *map = g_maps.first;
    while (map &&
           !(map->object == object && (map->file->flags & O_ACCMODE) == (flags & O_ACCMODE) &&
             ref_if_alive(map->file)))
        map = map->next;
    if (map)
        map->attached++;
    lock_drop(&g_maps.lock);
    if (map) {
        file_unref(backing);
        return map->file;
    }
    map = heap_alloc(sizeof(*map));
    struct file *file = map ? file_new(&g_dsm_ops, flags, map) : NULL;
    if (!file) {
        heap_free(map);
        return NULL;
    }
    *map = (struct map){
        .file = file, .backing = backing, .object = object, .key = key, .size = size, .attached = 1
    };
    if (backing && backing->path)
        (void)!file_set_path(file, backing->path, (uint32_t)strlen(backing->path));
    lock_take(&g_maps.lock);
    map->next = g_maps.first;
    g_maps.first = map;
    lock_drop(&g_maps.lock);
    return file;
}

static void map_release(struct file *file)
{
    struct map *map = file->object;
    lock_take(&g_maps.lock);
    for (struct map **at = &g_maps.first; *at; at = &(*at)->next) {
        if (*at == map) {
            *at = map->next;
            break;
        }
    }
    lock_drop(&g_maps.lock);
    ask_detach(map->object, map->attached);
    file_unref(map->backing);
    heap_free(map);
}

static int64_t map_pread(struct file *file, void *buf, uint64_t size, uint64_t offset)
{
    struct file *backing = map_of(file)->backing;
    return backing ? backing->ops->pread_kernel(backing, buf, size, offset) : -ENODEV;
}

static int64_t map_pwrite(struct file *file, const void *buf, uint64_t size, uint64_t offset)
{
    struct file *backing = map_of(file)->backing;
    return backing ? backing->ops->pwrite_kernel(backing, buf, size, offset) : -ENODEV;
}

static const struct file_ops g_dsm_ops = {
    .name = "shared memory",
    .pread_kernel = map_pread,
    .pwrite_kernel = map_pwrite,
    .release = map_release,
};

int dsm_open(struct file *file, struct file **ret)
{
    uint64_t key;
    *ret = NULL;
    if (hub_is_here() ? !dsm_serve_known(file) : remote_handle(file) < 0)
        return 0;
    int64_t id = ask_open(file, &key);
    if (id < 0)
        return id == -ENOMEM ? -ENOMEM : -ENODEV;
    *ret = map_get((uint32_t)id, key, 0, file->flags, file_ref(file));
    if (*ret)
        return 0;
    file_unref(file);
    ask_detach((uint32_t)id, 1);
    return -ENOMEM;
}

void dsm_recount(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < vma_count(); i++)
        count += (vma_at(i)->flags & VMA_DSM) != 0;
    g_dsm_mappings = count;
}

/* --- becoming distributed ------------------------------------------------------------------------- */

/* Gives the mappings of the range that `wanted` says to file (a reference stays the caller's); whoever waits for
 * futexes there looks again, at the hub. How many. */
static uint32_t convert(uint64_t start, uint64_t end, struct file *file, const struct file *wanted)
{
    uint32_t count = 0;
    lock_take(mm_lock());
    for (uint32_t i = vma_lower(start); i < vma_count() && vma_at(i)->start < end; i++) {
        const struct vma *v = vma_at(i);
        bool is = wanted
                      ? (v->flags & VMA_COHERENT) && !(v->flags & VMA_DSM) && v->file &&
                            tmpfs_inode_of(v->file) == tmpfs_inode_of(wanted)
                      : (v->flags & VMA_SHARED) && !v->file && v->start == start && v->end == end;
        if (!is)
            continue;
        if (vma_set_file(i, file_ref(file), VMA_DSM) == 0)
            count++;
        else
            file_unref(file); /* not the last one */
    }
    dsm_recount();
    lock_drop(mm_lock());
    if (count)
        futex_wake_range(start, end);
    return count;
}

bool dsm_convert_here(struct file *file, uint32_t object, uint64_t key)
{
    if (ask_attach(object, key) < 0)
        return false;
    struct file *mine = map_get(object, key, 0, file->flags, file_ref(file));
    if (!mine)
        panic("no memory to share a mapping with another process");
    bool any = convert(0, UINT64_MAX, mine, file) != 0;
    file_unref(mine);
    return any;
}

int dsm_mapped(struct file *file, bool force)
{
    if (!hub_is_here() || !tmpfs_inode_of(file))
        return -ENODEV;
    if (!force && !dsm_serve_known(file))
        return 0;
    uint64_t key;
    int64_t id = dsm_serve_open(NULL, file, &key); /* converts if it is new */
    if (id < 0)
        return (int)id;
    (void)dsm_convert_here(file, (uint32_t)id, key);
    dsm_serve_detach(NULL, (uint32_t)id, 1);
    return 0;
}

static int convert_anonymous(uint64_t start, uint64_t end)
{
    uint64_t key;
    int64_t id = ask_new(end - start, &key);
    if (id < 0)
        return (int)id;
    struct file *file = map_get((uint32_t)id, key, end - start, O_RDWR, NULL);
    if (!file) {
        ask_detach((uint32_t)id, 1);
        return -ENOMEM;
    }
    (void)convert(start, end, file, NULL);
    file_unref(file);
    return 0;
}

/* Something that is not distributed but can be: 1 and where, or which file (a reference). */
static int next_to_convert(uint64_t from, uint64_t *ret_start, uint64_t *ret_end, struct file **ret)
{
    LOCKED(mm_lock());
    for (uint32_t i = vma_lower(from); i < vma_count(); i++) {
        const struct vma *v = vma_at(i);
        if (v->flags & VMA_DSM)
            continue;
        bool anonymous = (v->flags & VMA_SHARED) && !v->file;
        bool scratch = (v->flags & VMA_COHERENT) && hub_is_here() && tmpfs_inode_of(v->file);
        static bool said;
        if ((v->flags & VMA_COHERENT) && !scratch && !said) {
            log_note("fork: parent and child do not see each other's stores to a shared mapping of "
                     "'%s' before msync",
                     v->file->path ? v->file->path : "?");
            said = true;
        }
        if (!anonymous && !scratch)
            continue;
        *ret_start = v->start;
        *ret_end = v->end;
        *ret = scratch ? file_ref(v->file) : NULL;
        return 1;
    }
    return 0;
}

int dsm_fork(void)
{
    uint64_t start, end, from = 0;
    struct file *file;
    int r = 0;
    while (r == 0 && next_to_convert(from, &start, &end, &file)) {
        r = file ? dsm_mapped(file, true) : convert_anonymous(start, end);
        file_unref(file);
        from = end;
    }
    return r;
}

bool dsm_describe(const struct file *file, struct dsm_wire *ret)
{
    struct map *map = map_of(file);
    if (map)
        *ret = (struct dsm_wire){
            .key = map->key, .size = map->size, .object = map->object, .file_flags = file->flags
        };
    return map != NULL;
}

int dsm_adopt(const struct dsm_wire *wire, struct file *backing, struct file **ret)
{
    int64_t r = ask_attach(wire->object, wire->key);
    *ret =
        r < 0 ? NULL
              : map_get(wire->object, wire->key, wire->size, wire->file_flags & O_ACCMODE, backing);
    if (*ret)
        return 0;
    file_unref(backing);
    return r < 0 ? (int)r : -ENOMEM;
}

bool dsm_have_maps(void)
{
    return __atomic_load_n(&g_maps.first, __ATOMIC_ACQUIRE) != NULL;
}

void dsm_detach_all(void)
{
    for (struct map *map = g_maps.first; map; map = map->next)
        ask_detach(map->object, map->attached);
}
