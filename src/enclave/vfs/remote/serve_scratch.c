/*
 * Scratch by path, for other processes (remote.h): the root's tmpfs. Tier: enclave. The hub's thread.
 *
 * Whose path: a process reaches what its node is granted (MANIFEST_GRANTS; a fork of the root: all that the root
 * has), and every process /dev/shm, as POSIX semaphores and shared memory of libraries live there under names that no
 * trace can know. Paths are canonical: the process has walked them by its own manifest, so no symlink is
 * followed here. A scratch directory that the root's own manifest does not know has a tree of its own, below the
 * directory that holds the granted one.
 */
#include "vfs/remote/serve.h"

#include "arch/string.h"
#include "border/border.h"
#include "ipc/fifo.h"
#include "mm/heap.h"
#include "process/process.h"
#include "tree/attest.h"
#include "vfs/linux.h"
#include "vfs/tmpfs/inode.h"

#define SHM "/dev/shm"

struct extra {
    struct extra *next;
    struct inode *root;
    uint32_t size;
    char path[]; /* the directory that the granted path is in */
};
static struct extra *g_extras;

/* --- grants ------------------------------------------------------------------------------------ */

static bool below(const char *path, uint32_t size, const char *top, uint32_t top_size)
{
    return size >= top_size && memcmp(path, top, top_size) == 0 &&
           (size == top_size || path[top_size] == '/');
}

/* *ret_grant: the granted path; for the root's own node and /dev/shm "". */
static bool granted(const struct peer *peer, const char *path, uint32_t size,
                    struct manifest_str *ret_grant)
{
    *ret_grant = (struct manifest_str){ 0, 0 };
    if (below(path, size, SHM, sizeof(SHM) - 1))
        return true;
    for (uint32_t i = 0; i < g_manifest.grant_count; i++) {
        const struct manifest_grant *g = &g_manifest.grants[i];
        if (memcmp(g->mrenclave, peer_mrenclave(peer), sizeof(g->mrenclave)) == 0 &&
            below(path, size, manifest_str_ptr(&g_manifest, g->path), g->path.length)) {
            *ret_grant = g->path;
            return true;
        }
    }
    return memcmp(peer_mrenclave(peer), attest_mrenclave(), MANIFEST_HASH_SIZE) == 0;
}

/* --- places ------------------------------------------------------------------------------------ */

static struct inode *extra_root(const char *path, uint32_t size)
{
    for (struct extra *e = g_extras; e; e = e->next)
        if (e->size == size && memcmp(e->path, path, size) == 0)
            return tmpfs_ref(e->root);
    struct extra *fresh = heap_alloc(sizeof(*fresh) + size);
    struct inode *root = fresh ? inode_new(S_IFDIR | 0755, DEV_TMPFS) : NULL;
    if (!root) {
        heap_free(fresh);
        return NULL;
    }
    root->is_root = true;
    *fresh = (struct extra){ .next = g_extras, .root = root, .size = size };
    memcpy(fresh->path, path, size);
    g_extras = fresh;
    return tmpfs_ref(root);
}

/* A path that the root's manifest does not hold as scratch. */
static int extra_place(const char *path, uint32_t size, struct manifest_str grant,
                       struct place *ret)
{
    uint32_t head = grant.length;
    const char *top = manifest_str_ptr(&g_manifest, grant);
    while (head > 0 && top[head - 1] != '/')
        head--;
    uint32_t end = head > 1 ? head - 1 : head; /* without the slash, but for "/" */
    struct inode *dir = extra_root(top, end);
    if (!dir)
        return -ENOMEM;
    *ret = (struct place){ .path = path, .record = MANIFEST_NONE };
    for (uint32_t at = head; at < size;) {
        uint32_t start = at;
        while (at < size && path[at] != '/')
            at++;
        ret->path_size = at;
        tmpfs_unref(ret->dir);
        int status = tmpfs_lookup(dir, path + start, at - start, ret);
        /* The granted directory itself is there for who was granted it. */
        if (status == 0 && ret->mode == 0 && at == grant.length && at < size) {
            status = g_tmpfs_fs.mkdir(ret, 01777);
            tmpfs_unref(ret->dir);
            ret->dir = NULL;
            if (status == 0)
                status = tmpfs_lookup(tmpfs_ref(dir), path + start, at - start, ret);
        }
        if (status < 0)
            return status;
        if (at == size)
            return 0;
        if (!S_ISDIR(ret->mode))
            return ret->mode ? -ENOTDIR : -ENOENT;
        dir = ret->object;
        ret->object = NULL;
        at++;
    }
    return -EINVAL;
}

static bool canonical(const char *path, uint32_t size)
{
    if (size == 0 || size >= PATH_BUF || path[0] != '/' || memchr(path, '\0', size))
        return false;
    for (uint32_t i = 0; i < size; i++) {
        if (path[i] != '/')
            continue;
        uint32_t left = size - i - 1;
        const char *name = path + i + 1;
        if ((left == 0 && size > 1) || (left && name[0] == '/') ||
            (left && name[0] == '.' && (left == 1 || name[1] == '/')) ||
            (left > 1 && name[0] == '.' && name[1] == '.' && (left == 2 || name[2] == '/')))
            return false;
        if (left > NAME_MAX_SIZE && !memchr(name, '/', NAME_MAX_SIZE + 1))
            return false;
    }
    return true;
}

/* -ENOENT: an ancestor is not there. The caller drops it in any case. */
int serve_find(struct hub_job *job, const char *path, uint32_t size, struct place *ret)
{
    struct manifest_str grant;
    *ret = (struct place){ .fs = NULL };
    if (!canonical(path, size))
        return -EINVAL;
    if (!granted(job->peer, path, size, &grant)) {
        audit_once(OCALL_AUDIT_NOT_GRANTED, EACCES, path, size);
        return -EACCES;
    }
    int status = place_scratch(path, size, ret);
    if (status == 0 && !ret->fs && grant.length) {
        place_done(ret);
        status = extra_place(path, size, grant, ret);
    }
    if (status == 0 && !ret->fs)
        return -ENOENT;
    return status;
}

/* An open file may be read and changed as it was opened; in other ways only by who may open its path. */
static bool handle_grants(struct hub_job *job, const struct file *file, const struct place *place)
{
    const uint64_t *args = job->request.args;
    uint32_t mode = (uint32_t)args[1] & O_ACCMODE, has = file->flags & O_ACCMODE;
    bool opens = args[0] == SCRATCH_OPEN || args[0] == SCRATCH_CREATE;
    bool reads = opens && mode != O_WRONLY;
    bool writes = args[0] == SCRATCH_TRUNCATE || (opens && (mode != O_RDONLY || args[1] & O_TRUNC));
    struct manifest_str grant;
    if ((!reads || has != O_WRONLY) && (!writes || has != O_RDONLY))
        return true;
    return granted(job->peer, place->path, place->path_size, &grant);
}

/* The place of a request: an open file, or data's first bytes. path: a copy with a NUL. */
static int find_one(struct hub_job *job, uint32_t size, char path[static PATH_BUF],
                    struct place *ret)
{
    uint64_t handle = job->request.args[4];
    *ret = (struct place){ .fs = NULL };
    if (handle != UINT64_MAX) {
        struct file *file = serve_file(job->peer, handle);
        int status = file && tmpfs_inode_of(file) ? place_of_file(file, path, ret) : -EBADF;
        if (status == 0 && !handle_grants(job, file, ret))
            status = -EACCES;
        file_unref(file);
        return status;
    }
    if (size > job->request.size || size >= PATH_BUF)
        return -EINVAL;
    memcpy(path, job->data, size);
    path[size] = '\0';
    return serve_find(job, path, size, ret);
}

/* --- requests ---------------------------------------------------------------------------------- */

static int64_t stat_place(struct hub_job *job, const struct place *place)
{
    struct kstat st;
    int status = place_stat(place, &st);
    if (status == 0) {
        memcpy(job->reply_data, &st, sizeof(st));
        job->reply.size = sizeof(st);
    }
    return status;
}

static int64_t changed(struct hub_job *job, const struct place *place)
{
    int64_t time = -1;
    if (place->record != MANIFEST_NONE)
        tmpfs_overlay_changed(place->record, &time);
    job->reply.out[0] = (uint64_t)time;
    return time == -1 ? -ENOENT : 0;
}

static int64_t list(struct hub_job *job, const struct place *place)
{
    struct listing listing = { 0 };
    int status = place->fs == &g_tmpfs_fs ? tmpfs_list_names(place->object, &listing)
                                          : tmpfs_list_overlay(place->record, &listing);
    uint64_t from = job->request.args[1], n = 0;
    if (status == 0 && from < listing.size) {
        n = listing.size - from < HUB_DATA_MAX ? listing.size - from : HUB_DATA_MAX;
        memcpy(job->reply_data, listing.bytes + from, n);
        job->reply.size = (uint32_t)n;
    }
    heap_free(listing.bytes);
    return status < 0 ? status : (int64_t)n;
}

static int64_t open_file(struct hub_job *job, struct place *place, uint32_t flags)
{
    struct file *file;
    if (S_ISDIR(place->mode))
        return -EISDIR;
    int status = place_open(place, flags & ~(uint32_t)(O_CREAT | O_EXCL), &file);
    if (status < 0)
        return status;
    bool waits = fifo_waits(file);
    int64_t handle = serve_reply(job, file);
    job->reply.out[3] = handle >= 0 && waits;
    return handle;
}

static int64_t create(struct hub_job *job, struct place *place)
{
    uint32_t flags = (uint32_t)job->request.args[1], mode = (uint32_t)job->request.args[2];
    struct file *file;
    if (place->mode) /* another process was faster */
        return flags & O_EXCL ? -EEXIST : open_file(job, place, flags);
    int status = place->fs->create(place, mode, flags, &file);
    return status < 0 ? status : serve_reply(job, file);
}

static int64_t xattr(struct hub_job *job, const struct place *place)
{
    const uint64_t *args = job->request.args;
    char name[NAME_MAX_SIZE + 1];
    const char *rest = (const char *)job->data + args[1];
    uint32_t left = job->request.size - (uint32_t)args[1], size = 0;
    size_t n = strnlen(rest, left < sizeof(name) ? left : sizeof(name));
    char *bytes = NULL;
    if (n == left || n == sizeof(name))
        return -EINVAL;
    memcpy(name, rest, n + 1);
    int status;
    switch (args[0]) {
    case SCRATCH_XATTR_SET:
        return tmpfs_xattr_set(place->object, name, rest + n + 1, left - (uint32_t)n - 1,
                               (uint32_t)args[2]);
    case SCRATCH_XATTR_REMOVE: return tmpfs_xattr_remove(place->object, name);
    case SCRATCH_XATTR_GET: status = tmpfs_xattr_get(place->object, name, &bytes, &size); break;
    default: status = tmpfs_xattr_list(place->object, &bytes, &size); break;
    }
    if (status == 0 && size > HUB_DATA_MAX)
        status = -E2BIG;
    if (status == 0) {
        memcpy(job->reply_data, bytes, size);
        job->reply.size = size;
    }
    heap_free(bytes);
    return status < 0 ? status : (int64_t)size;
}

/* Requests about something that is there. */
static int64_t on_place(struct hub_job *job, struct place *place)
{
    const uint64_t *args = job->request.args;
    const struct fs *fs = place->fs;
    int64_t n;
    switch (args[0]) {
    case SCRATCH_STAT: return stat_place(job, place);
    case SCRATCH_LIST: return S_ISDIR(place->mode) ? list(job, place) : -ENOTDIR;
    case SCRATCH_CHANGED: return changed(job, place);
    default: break;
    }
    if (fs != &g_tmpfs_fs)
        return -EROFS;
    switch (args[0]) {
    case SCRATCH_READLINK:
        n = S_ISLNK(place->mode) ? fs->readlink(place, (char *)job->reply_data, PATH_BUF) : -EINVAL;
        job->reply.size = n > 0 ? (uint32_t)n : 0;
        return n;
    case SCRATCH_OPEN: return open_file(job, place, (uint32_t)args[1]);
    case SCRATCH_UNLINK: return fs->unlink(place);
    case SCRATCH_RMDIR: return fs->rmdir(place);
    case SCRATCH_CHMOD: return fs->chmod(place, (uint32_t)args[1]);
    case SCRATCH_CHOWN: return fs->chown(place, (uint32_t)args[1], (uint32_t)args[2]);
    case SCRATCH_UTIMENS: return fs->utimens(place, (int64_t)args[1], (int64_t)args[2]);
    case SCRATCH_TRUNCATE: return S_ISREG(place->mode) ? fs->truncate(place, args[1]) : -EINVAL;
    case SCRATCH_XATTR_GET:
    case SCRATCH_XATTR_SET:
    case SCRATCH_XATTR_LIST:
    case SCRATCH_XATTR_REMOVE: return xattr(job, place);
    default: return -ENOSYS;
    }
}

/* Requests that make something. */
static int64_t on_absent(struct hub_job *job, struct place *place)
{
    const uint64_t *args = job->request.args;
    if (place->fs != &g_tmpfs_fs)
        return -EROFS;
    if (args[0] == SCRATCH_CREATE)
        return create(job, place);
    if (place->mode)
        return -EEXIST;
    switch (args[0]) {
    case SCRATCH_MKDIR: return place->fs->mkdir(place, (uint32_t)args[1]);
    case SCRATCH_MKNOD: return place->fs->mknod(place, (uint32_t)args[1]);
    case SCRATCH_SYMLINK:
        if (args[1] == job->request.size || job->request.size - args[1] >= PATH_BUF)
            return -EINVAL;
        return place->fs->symlink(place, (const char *)job->data + args[1],
                                  job->request.size - (uint32_t)args[1]);
    default: return -ENOSYS;
    }
}

static int64_t on_two(struct hub_job *job, struct place *old)
{
    const uint64_t *args = job->request.args;
    char path[PATH_BUF];
    uint32_t size = job->request.size - (uint32_t)args[1];
    struct place new;
    if (size >= PATH_BUF)
        return -ENAMETOOLONG;
    memcpy(path, job->data + args[1], size);
    path[size] = '\0';
    int64_t status = serve_find(job, path, size, &new);
    if (status == 0 && (old->fs != &g_tmpfs_fs || new.fs != &g_tmpfs_fs))
        status = -EXDEV;
    if (status == 0 && args[0] == SCRATCH_LINK)
        status = new.mode ? -EEXIST : old->fs->link(old, &new);
    else if (status == 0)
        status = old->fs->rename(old, &new, (uint32_t)args[2]);
    place_done(&new);
    return status;
}

int64_t serve_scratch(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    char path[PATH_BUF];
    struct place place;
    bool two = args[0] == SCRATCH_LINK || args[0] == SCRATCH_RENAME,
         makes = args[0] >= SCRATCH_CREATE && args[0] <= SCRATCH_SYMLINK && args[0] != SCRATCH_LIST,
         parts = two || args[0] == SCRATCH_SYMLINK || args[0] >= SCRATCH_XATTR_GET;
    if (parts && args[1] > job->request.size)
        return -EINVAL;
    int64_t status = find_one(job, parts ? (uint32_t)args[1] : job->request.size, path, &place);
    if (status == 0 && !makes && place.mode == 0)
        status = -ENOENT;
    if (status == 0)
        status = makes ? on_absent(job, &place) : two ? on_two(job, &place) : on_place(job, &place);
    place_done(&place);
    return status;
}
