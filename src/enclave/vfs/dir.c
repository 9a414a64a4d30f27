/*
 * Open directories of every file system, and O_PATH descriptors. A directory's names are taken when
 * it is first read and kept as getdents64 gives them, so that telldir and seekdir are stable while
 * the program changes the directory; rewinding takes them again. Tier: enclave.
 */
#include "arch/string.h"
#include "border/border.h"
#include "core/bytes.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/tmpfs/tmpfs.h"

struct dir {
    struct place place;
    int handle;       /* host directories: the host's, -1: none */
    struct lock lock; /* listing */
    struct listing listing;
};

#define DIRENT_HEAD 19u /* ino 8, off 8, reclen 2, type 1 */

/* A record: ino, d_off (where the next one starts), size, type, name, NUL; 8-byte aligned. */
int listing_append(struct listing *l, const char *name, uint32_t size, uint64_t ino, uint8_t type)
{
    uint32_t record = (DIRENT_HEAD + size + 1 + 7) & ~7u;
    if (size > NAME_MAX_SIZE)
        return -ENAMETOOLONG;
    if (l->size + record > l->room) {
        uint32_t room = l->room ? l->room * 2 : 1024;
        char *bytes = room > l->room ? heap_realloc(l->bytes, room) : NULL;
        if (!bytes)
            return -ENOMEM;
        l->bytes = bytes;
        l->room = room;
    }
    char *p = l->bytes + l->size;
    memset(p, 0, record);
    store_le64(p, ino);
    store_le64(p + 8, (uint64_t)l->size + record);
    store_le16(p + 16, (uint16_t)record);
    p[18] = (char)type;
    memcpy(p + DIRENT_HEAD, name, size);
    l->size += record;
    l->count++;
    return 0;
}

int listing_add(struct listing *l, const char *name, uint32_t size, uint64_t ino, uint8_t type)
{
    for (uint32_t at = 0; at < l->size; at += load_le16(l->bytes + at + 16)) {
        const char *have = l->bytes + at + DIRENT_HEAD;
        if (memcmp(have, name, size) == 0 && have[size] == '\0')
            return 0;
    }
    return listing_append(l, name, size, ino, type);
}

/* The records that lie in a directory and are there, listed in the trace or not. */
int listing_records(struct listing *listing, uint32_t dir)
{
    const char *path = manifest_path(&g_manifest, dir);
    uint32_t size = g_manifest.files[dir].path.length;
    for (uint32_t i = dir + 1; i < g_manifest.file_count; i++) {
        const struct manifest_file *f = &g_manifest.files[i];
        if (f->path.length < size || memcmp(manifest_path(&g_manifest, i), path, size) != 0)
            break;
        if (f->parent != dir || (f->class != MANIFEST_TRUSTED && f->class != MANIFEST_NAMED &&
                                 !(f->class == MANIFEST_SCRATCH && S_ISDIR(f->mode) && f->nlink)))
            continue;
        uint32_t name_size;
        const char *name = manifest_base_name(&g_manifest, i, &name_size);
        int status = listing_add(listing, name, name_size, f->ino, MODE_DT(f->mode));
        if (status < 0)
            return status;
    }
    return 0;
}

static void dir_free(struct dir *dir)
{
    if (dir->handle >= 0)
        host_close(dir->handle);
    place_done(&dir->place);
    heap_free(dir->listing.bytes);
    heap_free(dir);
}

static void dir_release(struct file *file)
{
    dir_free(file->object);
}

/* Locked by the caller's listing lock not being needed yet: builds into a listing of its own. */
static int build(struct file *file, struct listing *l)
{
    struct dir *dir = file->object;
    struct kstat st;
    int status = place_stat(&dir->place, &st);
    if (status < 0)
        return status;
    if ((status = listing_append(l, ".", 1, st.ino, DT_DIR_TYPE)) < 0 ||
        (status = listing_append(l, "..", 2, st.ino, DT_DIR_TYPE)) < 0)
        return status;
    struct place place = dir->place;
    char buf[PATH_BUF];
    if (place.fs == &g_tmpfs_fs) {
        int size = tmpfs_dir_path(place.object, buf);
        if (size < 0)
            return size;
        place.path = buf;
        place.path_size = (uint32_t)size;
    }
    return place.fs->list(&place, l);
}

/* The listing exists, fresh if the file stands at its start. */
static int ensure(struct file *file, uint64_t pos)
{
    struct dir *dir = file->object;
    lock_take(&dir->lock);
    bool built = dir->listing.built && pos != 0;
    lock_drop(&dir->lock);
    if (built)
        return 0;
    struct listing l = { 0 };
    int status = build(file, &l);
    if (status < 0) {
        heap_free(l.bytes);
        return status;
    }
    l.built = true;
    lock_take(&dir->lock);
    struct listing old = dir->listing;
    dir->listing = l;
    lock_drop(&dir->lock);
    heap_free(old.bytes);
    return 0;
}

/* Whole records from pos that fit into size, to the program through a copy of ours. */
static int64_t dir_getdents64(struct file *file, void *user, uint64_t size)
{
    struct dir *dir = file->object;
    uint64_t pos = file->pos;
    int status = ensure(file, pos);
    if (status < 0)
        return status;
    if (size > 1u << 20)
        size = 1u << 20;
    lock_take(&dir->lock);
    const struct listing *l = &dir->listing;
    uint64_t at = 0, end;
    while (at < l->size && at < pos)
        at += load_le16(l->bytes + at + 16);
    for (end = at; end < l->size;) {
        uint16_t record = load_le16(l->bytes + end + 16);
        if (record > size - (end - at))
            break;
        end += record;
    }
    bool more = at < l->size;
    char *copy = end > at ? heap_alloc(end - at) : NULL;
    if (copy)
        memcpy(copy, l->bytes + at, end - at);
    lock_drop(&dir->lock);
    if (!copy)
        return !more ? 0 : end > at ? -ENOMEM : -EINVAL;
    status = copy_to_user(user, copy, end - at);
    heap_free(copy);
    if (status < 0)
        return status;
    lock_take(&file->lock);
    file->pos = end;
    lock_drop(&file->lock);
    return (int64_t)(end - at);
}

static int64_t dir_lseek(struct file *file, int64_t offset, int whence)
{
    if (whence != SEEK_SET && whence != SEEK_CUR)
        return -EINVAL;
    return file_seek(file, offset, whence, 0);
}

static int dir_fstat(struct file *file, struct kstat *ret)
{
    struct dir *dir = file->object;
    if (dir->handle >= 0)
        return host_stat_handle(dir->handle, dir->place.record, ret);
    return place_stat(&dir->place, ret);
}

static int64_t dir_read(struct file *file UNUSED, void *user UNUSED, uint64_t size UNUSED,
                        uint64_t *pos UNUSED)
{
    return -EISDIR;
}

static int dir_fsync(struct file *file UNUSED, bool data_only UNUSED)
{
    return 0;
}

const struct file_ops g_dir_ops = {
    .name = "dir",
    .read = dir_read,
    .lseek = dir_lseek,
    .fstat = dir_fstat,
    .getdents64 = dir_getdents64,
    .fsync = dir_fsync,
    .release = dir_release,
};

/* O_PATH: a place and nothing else. */
const struct file_ops g_path_ops = {
    .name = "path",
    .fstat = dir_fstat,
    .release = dir_release,
};

int dir_open(const struct place *place, uint32_t flags, struct file **ret)
{
    struct dir *dir = heap_alloc(sizeof(*dir));
    if (!dir)
        return -ENOMEM;
    dir->place = *place;
    dir->place.dir = NULL;
    dir->handle = place->fs == &g_host_fs ? host_path_handle(place) : -1;
    if (place->fs == &g_tmpfs_fs)
        tmpfs_ref(place->object);
    struct file *file = file_new(flags & O_PATH ? &g_path_ops : &g_dir_ops, flags, dir);
    if (!file) {
        dir_free(dir);
        return -ENOMEM;
    }
    int status = file_set_path(file, place->path, place->path_size);
    if (status < 0) {
        file_unref(file);
        return status;
    }
    dir->place.path = file->path;
    if (place->record != MANIFEST_NONE)
        file->record = &g_manifest.files[place->record];
    *ret = file;
    return 0;
}

const struct place *dir_place(const struct file *file)
{
    if (file->ops != &g_dir_ops && file->ops != &g_path_ops)
        return NULL;
    return &((const struct dir *)file->object)->place;
}
