/*
 * The names of scratch files: directories, links, renames. One lock guards all directories; it is
 * held for a few memory accesses. Tier: enclave.
 */
#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "core/path_hash.h"
#include "ipc/fifo.h"
#include "mm/heap.h"
#include "process/process.h"
#include "vfs/linux.h"
#include "vfs/tmpfs/inode.h"

#define OVERLAY_BUCKETS 256u

struct overlay {
    struct overlay *next;
    uint32_t record;
    struct inode *inode;
};

static struct lock g_lock; /* all directories, nlink, overlays */
static struct overlay *g_overlays[OVERLAY_BUCKETS];
static uint32_t g_overlay_count;
static struct inode *g_shm;
/* Above what the manifest numbers its records with in practice, so that ino and dev stay unique. */
static uint64_t g_next_ino = 1ull << 40;

struct inode *inode_new(uint32_t mode, uint32_t dev)
{
    struct inode *inode = heap_alloc(sizeof(*inode));
    if (!inode)
        return NULL;
    int64_t now = (int64_t)clock_realtime();
    *inode = (struct inode){
        .refs = 1,
        .mode = mode,
        .uid = process_node()->uid,
        .gid = process_node()->gid,
        .nlink = S_ISDIR(mode) ? 2 : 1,
        .dev = dev,
        .ino = __atomic_fetch_add(&g_next_ino, 1, __ATOMIC_RELAXED),
        .atime = now,
        .mtime = now,
        .ctime = now,
        .record = MANIFEST_NONE,
        .seals = F_SEAL_SEAL,
    };
    return inode;
}

struct inode *tmpfs_ref(struct inode *inode)
{
    __atomic_fetch_add(&inode->refs, 1, __ATOMIC_RELAXED);
    return inode;
}

void tmpfs_unref(struct inode *inode)
{
    if (!inode || __atomic_sub_fetch(&inode->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    blocks_free(inode);
    inode_free_xattrs(inode);
    fifo_free(inode->fifo);
    heap_free(inode->target);
    heap_free(inode->slots);
    heap_free(inode->buckets);
    heap_free(inode);
}

uint32_t tmpfs_mode(const struct inode *inode)
{
    return inode->mode;
}

/* --- roots ----------------------------------------------------------------------------- */

static struct inode *overlay_find(uint32_t record)
{
    for (struct overlay *o = g_overlays[record % OVERLAY_BUCKETS]; o; o = o->next)
        if (o->record == record)
            return o->inode;
    return NULL;
}

struct inode *tmpfs_overlay(uint32_t record)
{
    {
        LOCKED(&g_lock);
        struct inode *inode = overlay_find(record);
        if (inode)
            return tmpfs_ref(inode);
    }
    const struct manifest_file *f = &g_manifest.files[record];
    struct overlay *fresh = heap_alloc(sizeof(*fresh));
    struct inode *inode = fresh ? inode_new(f->mode, f->dev) : NULL;
    if (!inode) {
        heap_free(fresh);
        return NULL;
    }
    inode->is_root = true;
    inode->record = record;
    inode->ino = f->ino;
    inode->uid = f->uid;
    inode->gid = f->gid;
    inode->nlink = f->nlink ? f->nlink : 2;
    *fresh = (struct overlay){ .record = record, .inode = inode };
    lock_take(&g_lock);
    struct inode *there = overlay_find(record);
    if (!there) {
        fresh->next = g_overlays[record % OVERLAY_BUCKETS];
        g_overlays[record % OVERLAY_BUCKETS] = TAKE_PTR(fresh);
        __atomic_fetch_add(&g_overlay_count, 1, __ATOMIC_RELAXED);
        there = TAKE_PTR(inode);
    }
    tmpfs_ref(there);
    lock_drop(&g_lock);
    heap_free(fresh);
    tmpfs_unref(inode);
    return there;
}

void tmpfs_overlay_changed(uint32_t record, int64_t *time)
{
    if (!__atomic_load_n(&g_overlay_count, __ATOMIC_RELAXED))
        return;
    LOCKED(&g_lock);
    const struct inode *inode = overlay_find(record);
    if (inode && inode->changed)
        *time = inode->mtime;
}

struct inode *tmpfs_shm(void)
{
    {
        LOCKED(&g_lock);
        if (g_shm)
            return tmpfs_ref(g_shm);
    }
    struct inode *inode = inode_new(S_IFDIR | 01777, DEV_TMPFS);
    if (!inode)
        return NULL;
    inode->is_root = true;
    lock_take(&g_lock);
    if (!g_shm)
        g_shm = TAKE_PTR(inode);
    struct inode *shm = tmpfs_ref(g_shm);
    lock_drop(&g_lock);
    tmpfs_unref(inode);
    return shm;
}

int tmpfs_dir_path(struct inode *dir, char buf[static PATH_BUF])
{
    LOCKED(&g_lock);
    uint32_t at = PATH_BUF - 1;
    buf[at] = '\0';
    if (dir->removed)
        return -ENOENT;
    while (!dir->is_root) {
        const struct entry *e = dir->entry;
        if (e->size + 1 > at)
            return -ENAMETOOLONG;
        at -= e->size;
        memcpy(buf + at, e->name, e->size);
        buf[--at] = '/';
        dir = e->dir;
    }
    const char *head = "/dev/shm";
    uint32_t head_size = 8;
    if (dir->record != MANIFEST_NONE) {
        head = manifest_path(&g_manifest, dir->record);
        head_size = g_manifest.files[dir->record].path.length;
    }
    if (head_size > at)
        return -ENAMETOOLONG;
    at -= head_size;
    memcpy(buf + at, head, head_size);
    uint32_t size = PATH_BUF - 1 - at;
    memmove(buf, buf + at, size + 1);
    return (int)size;
}

/* --- entries; all locked --------------------------------------------------------------- */

static struct entry **bucket(const struct inode *dir, const char *name, uint32_t size)
{
    return &dir->buckets[manifest_path_hash(name, size) & (dir->bucket_count - 1)];
}

static struct entry *find(const struct inode *dir, const char *name, uint32_t size)
{
    if (!dir->bucket_count)
        return NULL;
    for (struct entry *e = *bucket(dir, name, size); e; e = e->next)
        if (e->size == size && memcmp(e->name, name, size) == 0)
            return e;
    return NULL;
}

static int grow_buckets(struct inode *dir)
{
    if (dir->entry_count < dir->bucket_count)
        return 0;
    uint32_t count = dir->bucket_count ? dir->bucket_count * 2 : 16;
    struct entry **buckets = heap_alloc(count * sizeof(struct entry *));
    if (!buckets)
        return -ENOMEM;
    heap_free(dir->buckets);
    dir->buckets = buckets;
    dir->bucket_count = count;
    for (uint32_t i = 0; i < dir->slot_end; i++) {
        struct entry *e = dir->slots[i];
        if (!e)
            continue;
        struct entry **b = bucket(dir, e->name, e->size);
        e->next = *b;
        *b = e;
    }
    return 0;
}

static int grow_slots(struct inode *dir)
{
    if (dir->slot_end < dir->slot_room)
        return 0;
    /* Half of the slots are free: close ranks. */
    if (dir->entry_count < dir->slot_end / 2) {
        uint32_t to = 0;
        for (uint32_t i = 0; i < dir->slot_end; i++) {
            struct entry *e = dir->slots[i];
            if (!e)
                continue;
            dir->slots[to] = e;
            e->slot = to++;
        }
        dir->slot_end = to;
        return 0;
    }
    uint32_t room = dir->slot_room ? dir->slot_room * 2 : 16;
    struct entry **slots = heap_realloc(dir->slots, room * sizeof(struct entry *));
    if (!slots)
        return -ENOMEM;
    dir->slots = slots;
    dir->slot_room = room;
    return 0;
}

static void touched(struct inode *dir)
{
    dir->mtime = dir->ctime = (int64_t)clock_realtime();
    dir->changed = true;
}

/* Adds a name for inode, whose reference it takes over on success. */
static int add(struct inode *dir, const char *name, uint32_t size, struct inode *inode)
{
    if (dir->removed)
        return -ENOENT;
    int status = grow_buckets(dir);
    if (status == 0)
        status = grow_slots(dir);
    struct entry *e = status == 0 ? heap_alloc(sizeof(*e) + size) : NULL;
    if (!e)
        return -ENOSPC;
    struct entry **b = bucket(dir, name, size);
    *e = (struct entry){
        .next = *b, .inode = inode, .dir = dir, .slot = dir->slot_end, .size = size
    };
    memcpy(e->name, name, size);
    *b = e;
    dir->slots[dir->slot_end++] = e;
    dir->entry_count++;
    if (S_ISDIR(inode->mode)) {
        dir->nlink++;
        inode->entry = e;
    }
    touched(dir);
    return 0;
}

/* Takes the name away and returns its inode with the name's reference. */
static struct inode *drop(struct entry *e)
{
    struct inode *dir = e->dir, *inode = e->inode;
    struct entry **b = bucket(dir, e->name, e->size);
    while (*b != e)
        b = &(*b)->next;
    *b = e->next;
    dir->slots[e->slot] = NULL;
    dir->entry_count--;
    if (S_ISDIR(inode->mode)) {
        dir->nlink--;
        inode->entry = NULL;
    }
    touched(dir);
    heap_free(e);
    return inode;
}

/* --- places ---------------------------------------------------------------------------- */

static const char *base_name(const struct place *place, uint32_t *ret_size)
{
    uint32_t at = place->path_size;
    while (at > 0 && place->path[at - 1] != '/')
        at--;
    *ret_size = place->path_size - at;
    return place->path + at;
}

static struct entry *entry_of(const struct place *place)
{
    uint32_t size;
    const char *name = base_name(place, &size);
    return place->dir ? find(place->dir, name, size) : NULL;
}

int tmpfs_lookup(struct inode *dir, const char *name, uint32_t size, struct place *place)
{
    place->fs = &g_tmpfs_fs;
    place->object = NULL;
    place->dir = dir;
    place->mode = 0;
    LOCKED(&g_lock);
    struct entry *e = find(dir, name, size);
    if (e) {
        place->object = tmpfs_ref(e->inode);
        place->mode = e->inode->mode;
    }
    return 0;
}

static void inode_stat(const struct inode *inode, struct kstat *ret)
{
    *ret = (struct kstat){
        .dev = inode->dev,
        .ino = inode->ino,
        .nlink = inode->nlink,
        .mode = inode->mode,
        .uid = inode->uid,
        .gid = inode->gid,
        .size = S_ISDIR(inode->mode) ? 4096 : (int64_t)inode->size,
        .blksize = BLOCK_SIZE,
        .blocks = (int64_t)inode->blocks * (BLOCK_SIZE / 512),
    };
    const int64_t times[3] = { inode->atime, inode->mtime, inode->ctime };
    int64_t *out = &ret->atime_sec;
    for (int i = 0; i < 3; i++) {
        int64_t nsec = times[i] % (int64_t)NS_PER_S, sec = times[i] / (int64_t)NS_PER_S;
        if (nsec < 0) {
            nsec += (int64_t)NS_PER_S;
            sec--;
        }
        *out++ = sec;
        *out++ = nsec;
    }
}

static int fs_stat(const struct place *place, struct kstat *ret)
{
    inode_stat(place->object, ret);
    return 0;
}

static int64_t fs_readlink(const struct place *place, char *buf, uint64_t size)
{
    const struct inode *inode = place->object;
    uint64_t n = inode->size < size ? inode->size : size;
    memcpy(buf, inode->target, n);
    return (int64_t)n;
}

static bool permitted(const struct inode *inode, uint32_t want)
{
    struct kstat st = { .mode = inode->mode, .uid = inode->uid, .gid = inode->gid };
    return may_access(&st, want);
}

static int with_path(int status, const struct place *place, struct file **ret, struct file *file)
{
    if (status < 0)
        return status;
    status = file_set_path(file, place->path, place->path_size);
    if (status < 0) {
        file_unref(file);
        return status;
    }
    *ret = file;
    return 0;
}

static struct fifo *fifo_of(struct inode *inode)
{
    struct fifo *fresh = fifo_new();
    lock_take(&inode->lock);
    if (!inode->fifo)
        inode->fifo = TAKE_PTR(fresh);
    struct fifo *fifo = inode->fifo;
    lock_drop(&inode->lock);
    fifo_free(fresh);
    return fifo;
}

/* For other processes the hub opens it, and they wait (vfs/remote/fs.c). */
static int open_fifo(const struct place *place, uint32_t flags, struct file **ret)
{
    struct fifo *fifo = fifo_of(place->object);
    struct file *file = NULL;
    int status = fifo ? fifo_open(fifo, place->object, flags, &file) : -ENOMEM;
    status = with_path(status, place, ret, file);
    if (status < 0 || current()->never_block)
        return status;
    status = fifo_wait(file);
    if (status < 0)
        file_unref(file);
    return status;
}

static int fs_open(const struct place *place, uint32_t flags, struct file **ret)
{
    struct inode *inode = place->object;
    uint32_t mode = flags & O_ACCMODE;
    uint32_t want = (mode != O_WRONLY ? 4u : 0) | (mode != O_RDONLY || (flags & O_TRUNC) ? 2u : 0);
    if (S_ISSOCK(inode->mode))
        return -ENXIO;
    if (!permitted(inode, want))
        return -EACCES;
    if (S_ISFIFO(inode->mode))
        return open_fifo(place, flags, ret);
    int status = flags & O_TRUNC ? inode_resize(inode, 0) : 0;
    if (status < 0)
        return status;
    struct file *file = NULL;
    status = tmpfs_file(inode, flags, &file);
    return with_path(status, place, ret, file);
}

/* A new name for a new inode; both references stay the caller's. */
static int add_new(const struct place *place, struct inode *inode)
{
    uint32_t size;
    const char *name = base_name(place, &size);
    struct inode *dir = place->dir;
    if (!dir)
        return -ENOENT;
    if (!permitted(dir, 3))
        return -EACCES;
    if (dir->mode & S_ISGID)
        inode->gid = dir->gid;
    LOCKED(&g_lock);
    if (find(dir, name, size))
        return -EEXIST;
    int status = add(dir, name, size, inode);
    if (status == 0)
        tmpfs_ref(inode);
    return status;
}

static uint32_t dev_of(const struct place *place)
{
    const struct inode *dir = place->dir;
    return dir ? dir->dev : DEV_TMPFS;
}

static int fs_create(const struct place *place, uint32_t mode, uint32_t flags, struct file **ret)
{
    struct inode *inode = inode_new(S_IFREG | (mode & 07777), dev_of(place));
    if (!inode)
        return -ENOSPC;
    int status = add_new(place, inode);
    struct file *file = NULL;
    if (status == 0)
        status = tmpfs_file(inode, flags, &file);
    status = with_path(status, place, ret, file);
    tmpfs_unref(inode);
    return status;
}

static int make(const struct place *place, uint32_t mode)
{
    struct inode *inode = inode_new(mode, dev_of(place));
    if (!inode)
        return -ENOSPC;
    int status = add_new(place, inode);
    tmpfs_unref(inode);
    return status;
}

/* Symlinks and directories have more to them than a mode; devices there are none. */
static int fs_mknod(const struct place *place, uint32_t mode)
{
    if (!S_ISREG(mode) && !S_ISFIFO(mode) && !S_ISSOCK(mode))
        return -EPERM;
    return make(place, (mode & S_IFMT) | (mode & 07777));
}

static int fs_mkdir(const struct place *place, uint32_t mode)
{
    return make(place, S_IFDIR | (mode & 07777));
}

static int fs_symlink(const struct place *place, const char *target, uint32_t size)
{
    struct inode *inode = inode_new(S_IFLNK | 0777, dev_of(place));
    char *copy = heap_alloc((size_t)size + 1);
    int status = -ENOSPC;
    if (inode && copy) {
        memcpy(copy, target, size);
        inode->target = TAKE_PTR(copy);
        inode->size = size;
        status = add_new(place, inode);
    }
    heap_free(copy);
    tmpfs_unref(inode);
    return status;
}

static int fs_link(const struct place *old, const struct place *new)
{
    struct inode *inode = old->object;
    if (S_ISDIR(inode->mode))
        return -EPERM;
    int status = add_new(new, inode);
    if (status < 0)
        return status;
    LOCKED(&g_lock);
    /* An O_TMPFILE inode has no name and a count of 0. */
    inode->nlink++;
    inode->ctime = (int64_t)clock_realtime();
    return 0;
}

static int fs_unlink(const struct place *place)
{
    if (place->dir && !permitted(place->dir, 3))
        return -EACCES;
    struct inode *gone = NULL;
    {
        LOCKED(&g_lock);
        struct entry *e = entry_of(place);
        if (!e)
            return -ENOENT;
        if (S_ISDIR(e->inode->mode))
            return -EISDIR;
        gone = drop(e);
        gone->nlink--;
        gone->ctime = (int64_t)clock_realtime();
    }
    tmpfs_unref(gone);
    return 0;
}

static int fs_rmdir(const struct place *place)
{
    if (place->dir && !permitted(place->dir, 3))
        return -EACCES;
    struct inode *gone = NULL;
    {
        LOCKED(&g_lock);
        struct entry *e = entry_of(place);
        if (!e)
            return place->object ? -EBUSY : -ENOENT;
        if (!S_ISDIR(e->inode->mode))
            return -ENOTDIR;
        if (e->inode->entry_count)
            return -ENOTEMPTY;
        gone = drop(e);
        gone->removed = true;
        gone->nlink = 0;
    }
    tmpfs_unref(gone);
    return 0;
}

/* Locked: is dir inode, or below it? */
static bool below(const struct inode *dir, const struct inode *inode)
{
    for (;; dir = dir->entry->dir) {
        if (dir == inode)
            return true;
        if (!dir->entry)
            return false;
    }
}

static int exchange(struct entry *a, struct entry *b)
{
    if ((S_ISDIR(a->inode->mode) && below(b->dir, a->inode)) ||
        (S_ISDIR(b->inode->mode) && below(a->dir, b->inode)))
        return -EINVAL;
    struct inode *inode = a->inode;
    a->inode = b->inode;
    b->inode = inode;
    struct entry *both[2] = { a, b };
    for (int i = 0; i < 2; i++)
        if (S_ISDIR(both[i]->inode->mode))
            both[i]->inode->entry = both[i];
    if (S_ISDIR(a->inode->mode) != S_ISDIR(b->inode->mode)) {
        struct inode *gains = S_ISDIR(a->inode->mode) ? a->dir : b->dir;
        struct inode *loses = S_ISDIR(a->inode->mode) ? b->dir : a->dir;
        gains->nlink++;
        loses->nlink--;
    }
    return 0;
}

/* Locked. *ret_gone: what the new name meant before, to be unreferenced. */
static int rename_locked(const struct place *old, const struct place *new, uint32_t flags,
                         struct inode **ret_gone)
{
    struct entry *from = entry_of(old), *to = entry_of(new);
    if (!from)
        return old->object ? -EBUSY : -ENOENT;
    if (flags & RENAME_EXCHANGE_FLAG)
        return to ? exchange(from, to) : -ENOENT;
    if (to && (flags & RENAME_NOREPLACE_FLAG))
        return -EEXIST;
    struct inode *inode = from->inode;
    if (to && to->inode == inode)
        return 0;
    if (S_ISDIR(inode->mode)) {
        if (below(new->dir, inode))
            return -EINVAL;
        if (to && !S_ISDIR(to->inode->mode))
            return -ENOTDIR;
        if (to && to->inode->entry_count)
            return -ENOTEMPTY;
    } else if (to && S_ISDIR(to->inode->mode)) {
        return -EISDIR;
    }
    /* The new name first: nothing fails after it. If the name exists, its entry changes hands. */
    if (!to) {
        uint32_t size;
        const char *name = base_name(new, &size);
        int status = add(new->dir, name, size, inode);
        if (status < 0)
            return status;
        struct entry *mine = inode->entry;
        drop(from);
        inode->entry = mine;
    } else {
        struct inode *gone = to->inode;
        to->inode = inode;
        drop(from);
        if (S_ISDIR(inode->mode)) {
            /* The new parent has had a directory there already. */
            inode->entry = to;
            gone->entry = NULL;
            gone->removed = true;
            gone->nlink = 0;
        } else {
            gone->nlink--;
        }
        touched(to->dir);
        *ret_gone = gone;
    }
    inode->ctime = (int64_t)clock_realtime();
    return 0;
}

static int fs_rename(const struct place *old, const struct place *new, uint32_t flags)
{
    if (!old->dir || !new->dir)
        return -EBUSY;
    if (!permitted(old->dir, 3) || !permitted(new->dir, 3))
        return -EACCES;
    struct inode *gone = NULL;
    lock_take(&g_lock);
    int status = rename_locked(old, new, flags, &gone);
    lock_drop(&g_lock);
    tmpfs_unref(gone);
    return status;
}

static bool owner(const struct inode *inode)
{
    uint32_t uid = process_node()->uid;
    return uid == 0 || uid == inode->uid;
}

static int fs_chmod(const struct place *place, uint32_t mode)
{
    struct inode *inode = place->object;
    if (!owner(inode))
        return -EPERM;
    LOCKED(&g_lock);
    inode->mode = (inode->mode & S_IFMT) | (mode & 07777);
    inode->ctime = (int64_t)clock_realtime();
    return 0;
}

static int fs_chown(const struct place *place, uint32_t uid, uint32_t gid)
{
    struct inode *inode = place->object;
    const struct manifest_node *node = process_node();
    if (node->uid != 0 &&
        ((uid != UINT32_MAX && uid != inode->uid) ||
         (gid != UINT32_MAX && gid != inode->gid && gid != node->gid) || node->uid != inode->uid))
        return -EPERM;
    LOCKED(&g_lock);
    if (uid != UINT32_MAX)
        inode->uid = uid;
    if (gid != UINT32_MAX)
        inode->gid = gid;
    if (!S_ISDIR(inode->mode) && (uid != UINT32_MAX || gid != UINT32_MAX))
        inode->mode &= ~(uint32_t)(S_ISUID | (inode->mode & 010 ? S_ISGID : 0));
    inode->ctime = (int64_t)clock_realtime();
    return 0;
}

static int fs_utimens(const struct place *place, int64_t atime, int64_t mtime)
{
    struct inode *inode = place->object;
    if (!owner(inode))
        return -EPERM;
    if (atime != UTIME_OMIT_NS)
        inode->atime = atime;
    if (mtime != UTIME_OMIT_NS)
        inode->mtime = mtime;
    inode->ctime = (int64_t)clock_realtime();
    return 0;
}

static int fs_truncate(const struct place *place, uint64_t size)
{
    struct inode *inode = place->object;
    if (!permitted(inode, 2))
        return -EACCES;
    return inode_resize(inode, size);
}

/* --- listings -------------------------------------------------------------------------- */

/* Locked. */
static int list_names(const struct inode *dir, struct listing *listing)
{
    for (uint32_t i = 0; i < dir->slot_end; i++) {
        const struct entry *e = dir->slots[i];
        if (!e)
            continue;
        int status =
            listing_append(listing, e->name, e->size, e->inode->ino, MODE_DT(e->inode->mode));
        if (status < 0)
            return status;
    }
    return 0;
}

int tmpfs_list_overlay(uint32_t record, struct listing *listing)
{
    LOCKED(&g_lock);
    const struct inode *inode = overlay_find(record);
    return inode ? list_names(inode, listing) : 0;
}

int tmpfs_list_names(struct inode *dir, struct listing *listing)
{
    if (!permitted(dir, 4))
        return -EACCES;
    LOCKED(&g_lock);
    return list_names(dir, listing);
}

static int fs_list(const struct place *dir, struct listing *listing)
{
    const struct inode *inode = dir->object;
    if (inode->record != MANIFEST_NONE) {
        int status = listing_records(listing, inode->record);
        if (status < 0)
            return status;
    }
    if (!permitted(inode, 4))
        return -EACCES;
    LOCKED(&g_lock);
    return list_names(inode, listing);
}

const struct fs g_tmpfs_fs = {
    .name = "tmpfs",
    .magic = 0x01021994,
    .stat = fs_stat,
    .readlink = fs_readlink,
    .open = fs_open,
    .list = fs_list,
    .create = fs_create,
    .mkdir = fs_mkdir,
    .mknod = fs_mknod,
    .symlink = fs_symlink,
    .link = fs_link,
    .unlink = fs_unlink,
    .rmdir = fs_rmdir,
    .rename = fs_rename,
    .chmod = fs_chmod,
    .chown = fs_chown,
    .utimens = fs_utimens,
    .truncate = fs_truncate,
};

int tmpfs_anonymous(uint32_t mode, uint32_t flags, bool sealable, struct file **ret)
{
    struct inode *inode = inode_new(S_IFREG | (mode & 07777), DEV_TMPFS);
    if (!inode)
        return -ENOMEM;
    inode->nlink = 0;
    if (sealable)
        inode->seals = 0;
    int status = tmpfs_file(inode, flags, ret);
    tmpfs_unref(inode);
    return status;
}
