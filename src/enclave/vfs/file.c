/*
 * Open file descriptions. Freed ones wait in a short list, so that open and close need no heap.
 * Tier: enclave.
 */
#include "vfs/file.h"

#include "arch/string.h"
#include "mm/heap.h"
#include "process/process.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/remote/position.h"

#define SPARE_MAX 64u

static struct lock g_lock;
static struct file *g_spare[SPARE_MAX];
static uint32_t g_spare_count;

struct file *file_new(const struct file_ops *ops, uint32_t flags, void *object)
{
    struct file *file = NULL;
    lock_take(&g_lock);
    if (g_spare_count)
        file = g_spare[--g_spare_count];
    lock_drop(&g_lock);
    if (!file)
        file = heap_alloc(sizeof(*file));
    if (!file)
        return NULL;
    *file = (struct file){ .ops = ops,
                           .refs = 1,
                           .flags = flags &
                                    ~(uint32_t)(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC),
                           .object = object };
    return file;
}

struct file *file_ref(struct file *file)
{
    __atomic_fetch_add(&file->refs, 1, __ATOMIC_RELAXED);
    return file;
}

struct file *file_try_ref(struct file *file)
{
    uint32_t refs = __atomic_load_n(&file->refs, __ATOMIC_RELAXED);
    while (refs && !__atomic_compare_exchange_n(&file->refs, &refs, refs + 1, true,
                                                __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        ;
    return refs ? file : NULL;
}

/* The manifest's strings live for ever and belong to nobody. */
static bool in_manifest(const char *p)
{
    return p >= g_manifest.strings && p < g_manifest.strings + g_manifest.string_size;
}

/* ipc/epoll.h; not there in tests of this file alone. */
__attribute__((weak)) void epoll_forget(struct file *file);

void file_unref(struct file *file)
{
    if (!file || __atomic_sub_fetch(&file->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (epoll_forget)
        epoll_forget(file);
    if (file->ops->release)
        file->ops->release(file);
    if (file->path && !in_manifest(file->path))
        heap_free(file->path);
    file_unref(file->position);
    lock_take(&g_lock);
    if (g_spare_count < SPARE_MAX) {
        g_spare[g_spare_count++] = file;
        file = NULL;
    }
    lock_drop(&g_lock);
    heap_free(file);
}

int file_set_path(struct file *file, const char *path, uint32_t size)
{
    char *copy = (char *)(uintptr_t)path;
    if (!in_manifest(path)) {
        copy = heap_alloc((size_t)size + 1);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, path, size);
    }
    file->path = copy;
    return 0;
}

/* Where the offset is if it is not in file->pos. */
static struct file *shared_position(const struct file *file)
{
    return __atomic_load_n(&file->position, __ATOMIC_ACQUIRE);
}

int64_t seek_to(int64_t pos, int64_t offset, int whence, uint64_t size)
{
    int64_t base;
    switch (whence) {
    case SEEK_SET: base = 0; break;
    case SEEK_CUR: base = pos; break;
    case SEEK_END: base = (int64_t)size; break;
    case SEEK_DATA:
    case SEEK_HOLE:
        if (offset < 0 || (uint64_t)offset >= size)
            return -ENXIO;
        base = whence == SEEK_DATA ? 0 : (int64_t)size - offset;
        break;
    default: return -EINVAL;
    }
    int64_t to;
    if (__builtin_add_overflow(base, offset, &to))
        return -EOVERFLOW;
    return to < 0 ? -EINVAL : to;
}

int64_t file_seek(struct file *file, int64_t offset, int whence, uint64_t size)
{
    lock_take(&file->lock);
    struct file *position = shared_position(file);
    int64_t to = 0;
    if (!position) {
        to = seek_to((int64_t)file->pos, offset, whence, size);
        if (to >= 0)
            file->pos = (uint64_t)to;
    }
    lock_drop(&file->lock);
    return position ? position_seek(position, offset, whence, size) : to;
}

uint64_t pos_take(struct file *file, uint64_t *pos, uint64_t size, uint64_t limit,
                  uint64_t *ret_offset)
{
    bool own = pos == &file->pos;
    if (own)
        lock_take(&file->lock);
    struct file *position = own ? shared_position(file) : NULL;
    uint64_t offset = *pos;
    uint64_t n = offset >= limit ? 0 : limit - offset;
    if (n > size)
        n = size;
    if (!position)
        *pos = offset + n;
    if (own)
        lock_drop(&file->lock);
    if (position)
        return position_take(position, size, limit, ret_offset);
    *ret_offset = offset;
    return n;
}

void pos_give_back(struct file *file, uint64_t *pos, uint64_t unused)
{
    if (!unused)
        return;
    bool own = pos == &file->pos;
    if (own)
        lock_take(&file->lock);
    struct file *position = own ? shared_position(file) : NULL;
    /* Less, if another thread has moved the offset meanwhile. */
    if (!position)
        *pos -= unused < *pos ? unused : *pos;
    if (own)
        lock_drop(&file->lock);
    if (position)
        position_give_back(position, unused);
}

void pos_set(struct file *file, uint64_t value)
{
    (void)!file_seek(file, (int64_t)value, SEEK_SET, 0);
}

uint64_t pos_get(struct file *file)
{
    int64_t at = file_seek(file, 0, SEEK_CUR, 0);
    return at < 0 ? 0 : (uint64_t)at;
}

bool may_access(const struct kstat *stat, uint32_t want)
{
    const struct manifest_node *node = process_node();
    uint32_t mode = stat->mode;
    if (node->uid == 0)
        return !(want & 1) || S_ISDIR(mode) || (mode & 0111);
    uint32_t bits = node->uid == stat->uid ? mode >> 6 : node->gid == stat->gid ? mode >> 3 : mode;
    return (want & ~bits & 7) == 0;
}
