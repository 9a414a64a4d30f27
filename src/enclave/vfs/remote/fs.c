/*
 * Scratch files by path in a process that is not the root (remote.h): each look and each change is a request.
 * Directories are known by their path: one that is renamed while it is open is not found any more. Tier: enclave.
 */
#include "arch/string.h"
#include "core/bytes.h"
#include "mm/heap.h"
#include "process/process.h"
#include "signal/signal.h"
#include "tree/hub.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"
#include "vfs/trusted/trusted.h"

#define DIRENT_HEAD 19u /* vfs/dir.c */

/* place->object of an open file: its handle, moved so that it is not NULL. */
void *remote_place_object(const struct file *file)
{
    return (void *)(uintptr_t)(remote_handle(file) + 1);
}

static struct hub_ask request(const struct place *place, enum remote_scratch what, uint64_t a,
                              uint64_t b)
{
    uint64_t handle = (uint64_t)(uintptr_t)place->object - 1; /* none: UINT64_MAX */
    return (struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_SCRATCH,
                             .args = { what, a, b, 0, handle },
                             .data = place->path,
                             .size = place->path_size };
}

static int64_t simple(const struct place *place, enum remote_scratch what, uint64_t a, uint64_t b)
{
    struct hub_ask ask = request(place, what, a, b);
    return hub_ask(&ask);
}

/* With more behind the path, whose size is the first argument. */
static int64_t with_more(struct hub_ask *ask, const void *more, uint32_t more_size)
{
    uint32_t head = ask->size;
    if (more_size > HUB_DATA_MAX - head)
        return -E2BIG;
    uint8_t *data = heap_alloc((size_t)head + more_size + 1);
    if (!data)
        return -ENOMEM;
    memcpy(data, ask->data, head);
    memcpy(data + head, more, more_size);
    ask->data = data;
    ask->size = head + more_size;
    ask->args[1] = head;
    int64_t ret = hub_ask(ask);
    heap_free(data);
    return ret;
}

static int fs_stat(const struct place *place, struct kstat *ret)
{
    struct kstat st;
    struct hub_ask ask = request(place, SCRATCH_STAT, 0, 0);
    ask.reply = &st;
    ask.room = sizeof(st);
    int64_t status = hub_ask(&ask);
    if (status == 0 && ask.reply_size != sizeof(st))
        return -EIO;
    if (status == 0) {
        *ret = st;
    } else if (status == -ENOENT && place->record != MANIFEST_NONE) {
        /* A scratch directory of this node in which nothing was made yet. */
        record_stat(place->record, ret);
        return 0;
    }
    return (int)status;
}

int remote_lookup(struct place *p)
{
    struct kstat st;
    p->fs = &g_remote_fs;
    p->object = p->dir = NULL;
    p->mode = 0;
    int status = fs_stat(p, &st);
    if (status == 0)
        p->mode = st.mode;
    return status == -ENOENT || status == -ENOTDIR ? 0 : status;
}

static int64_t fs_readlink(const struct place *place, char *buf, uint64_t size)
{
    struct hub_ask ask = request(place, SCRATCH_READLINK, 0, 0);
    ask.reply = buf;
    ask.room = size < PATH_BUF ? (uint32_t)size : PATH_BUF;
    int64_t n = hub_ask(&ask);
    return n < 0 ? n : (int64_t)ask.reply_size;
}

/* A FIFO: until its other end is open too. */
static int opened(struct file *file)
{
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_OPENED,
                           .args = { (uint64_t)remote_handle(file) } };
    int64_t status = hub_ask_blocking(&ask);
    if (status == -EINTR) { /* it may have come meanwhile, and counts on us */
        ask.args[1] = 1;
        status = hub_ask(&ask);
    }
    if (status < 0)
        file_unref(file);
    return status == -EINTR ? -ERESTARTSYS : (int)status;
}

static int open_reply(struct hub_ask *ask, const struct place *place, struct file **ret)
{
    int64_t handle = hub_ask(ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    remote_info_of(ask, handle, &info);
    struct file *file;
    int status = remote_file(&info, place->path, &file);
    if (status == 0 && ask->out[3])
        status = opened(file);
    if (status == 0)
        *ret = file;
    return status;
}

static int fs_open(const struct place *place, uint32_t flags, struct file **ret)
{
    struct hub_ask ask = request(place, SCRATCH_OPEN, flags, 0);
    return open_reply(&ask, place, ret);
}

static int fs_create(const struct place *place, uint32_t mode, uint32_t flags, struct file **ret)
{
    struct hub_ask ask = request(place, SCRATCH_CREATE, flags, mode);
    return open_reply(&ask, place, ret);
}

/* One piece of a listing; records are whole in all of it together. */
static int list_all(const struct place *dir, char **ret, uint32_t *ret_size)
{
    char *bytes = NULL;
    uint32_t size = 0;
    for (;;) {
        char *more = heap_realloc(bytes, (size_t)size + HUB_DATA_MAX);
        if (!more) {
            heap_free(bytes);
            return -ENOMEM;
        }
        bytes = more;
        struct hub_ask ask = request(dir, SCRATCH_LIST, size, 0);
        ask.reply = bytes + size;
        ask.room = HUB_DATA_MAX;
        int64_t n = hub_ask(&ask);
        if (n < 0) {
            heap_free(bytes);
            return (int)n;
        }
        size += ask.reply_size;
        if (ask.reply_size < HUB_DATA_MAX)
            break;
    }
    *ret = bytes;
    *ret_size = size;
    return 0;
}

int remote_list(const struct place *dir, struct listing *listing)
{
    char *bytes = NULL;
    uint32_t size = 0;
    int status = list_all(dir, &bytes, &size);
    if (status < 0)
        return status == -ENOENT ? 0 : status;
    for (uint32_t at = 0; status == 0 && size - at > DIRENT_HEAD;) {
        uint16_t record = load_le16(bytes + at + 16);
        if (record <= DIRENT_HEAD || record > size - at) {
            status = -EIO;
            break;
        }
        const char *name = bytes + at + DIRENT_HEAD;
        status = listing_add(listing, name, (uint32_t)strnlen(name, record - DIRENT_HEAD),
                             load_le64(bytes + at), (uint8_t)bytes[at + 18]);
        at += record;
    }
    heap_free(bytes);
    return status;
}

static int fs_list(const struct place *dir, struct listing *listing)
{
    int status = dir->record != MANIFEST_NONE ? listing_records(listing, dir->record) : 0;
    return status < 0 ? status : remote_list(dir, listing);
}

void remote_overlay_changed(uint32_t record, int64_t *time)
{
    struct place dir = { .path = manifest_path(&g_manifest, record),
                         .path_size = g_manifest.files[record].path.length };
    struct hub_ask ask = request(&dir, SCRATCH_CHANGED, 0, 0);
    if (hub_ask(&ask) == 0)
        *time = (int64_t)ask.out[0];
}

static int fs_mkdir(const struct place *place, uint32_t mode)
{
    return (int)simple(place, SCRATCH_MKDIR, mode, 0);
}

static int fs_mknod(const struct place *place, uint32_t mode)
{
    return (int)simple(place, SCRATCH_MKNOD, mode, 0);
}

static int fs_symlink(const struct place *place, const char *target, uint32_t size)
{
    struct hub_ask ask = request(place, SCRATCH_SYMLINK, 0, 0);
    return (int)with_more(&ask, target, size);
}

static int fs_link(const struct place *old, const struct place *new)
{
    struct hub_ask ask = request(old, SCRATCH_LINK, 0, 0);
    return (int)with_more(&ask, new->path, new->path_size);
}

static int fs_rename(const struct place *old, const struct place *new, uint32_t flags)
{
    struct hub_ask ask = request(old, SCRATCH_RENAME, 0, flags);
    return (int)with_more(&ask, new->path, new->path_size);
}

static int fs_unlink(const struct place *place)
{
    return (int)simple(place, SCRATCH_UNLINK, 0, 0);
}

static int fs_rmdir(const struct place *place)
{
    return (int)simple(place, SCRATCH_RMDIR, 0, 0);
}

static int fs_chmod(const struct place *place, uint32_t mode)
{
    return (int)simple(place, SCRATCH_CHMOD, mode, 0);
}

static int fs_chown(const struct place *place, uint32_t uid, uint32_t gid)
{
    return (int)simple(place, SCRATCH_CHOWN, uid, gid);
}

static int fs_utimens(const struct place *place, int64_t atime, int64_t mtime)
{
    return (int)simple(place, SCRATCH_UTIMENS, (uint64_t)atime, (uint64_t)mtime);
}

static int fs_truncate(const struct place *place, uint64_t size)
{
    return (int)simple(place, SCRATCH_TRUNCATE, size, 0);
}

const struct fs g_remote_fs = {
    .name = "shared tmpfs",
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

/* --- extended attributes ------------------------------------------------------------------------ */

/* name NUL value, behind the path. */
static int64_t ask_xattr(struct hub_ask *ask, const char *name, const void *value, uint32_t size)
{
    size_t head = strlen(name) + 1;
    char *bytes = heap_alloc(head + size);
    if (!bytes)
        return -ENOMEM;
    memcpy(bytes, name, head);
    memcpy(bytes + head, value, size);
    int64_t ret = with_more(ask, bytes, (uint32_t)head + size);
    heap_free(bytes);
    return ret;
}

int remote_xattr_set(const struct place *place, const char *name, const void *value, uint32_t size,
                     uint32_t flags)
{
    struct hub_ask ask = request(place, SCRATCH_XATTR_SET, 0, flags);
    return (int)ask_xattr(&ask, name, value, size);
}

int remote_xattr(const struct place *place, enum remote_scratch what, const char *name, char **ret,
                 uint32_t *ret_size)
{
    struct hub_ask ask = request(place, what, 0, 0);
    char *reply = ret ? heap_alloc(HUB_DATA_MAX) : NULL;
    if (ret && !reply)
        return -ENOMEM;
    ask.reply = reply;
    ask.room = reply ? HUB_DATA_MAX : 0;
    int64_t n = ask_xattr(&ask, name, "", 0);
    if (n < 0 || !ret) {
        heap_free(reply);
        return n < 0 ? (int)n : 0;
    }
    *ret = reply;
    *ret_size = ask.reply_size;
    return 0;
}
