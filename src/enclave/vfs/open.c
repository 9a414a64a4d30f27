/*
 * Opening, the working directory, the umask, and the start of all files. Tier: enclave.
 */
#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "process/process.h"
#include "vfs/fd.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/proc/proc.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/trusted/chunks.h"

struct fs_state {
    struct lock lock;
    struct file *cwd;
    uint32_t umask;
};

struct fs_state *fs_state_copy(struct fs_state *from)
{
    struct fs_state *fs = heap_alloc(sizeof(*fs));
    if (!fs)
        return NULL;
    LOCKED(&from->lock);
    fs->cwd = file_ref(from->cwd);
    fs->umask = from->umask;
    return fs;
}

void fs_state_free(struct fs_state *fs)
{
    if (!fs)
        return;
    file_unref(fs->cwd);
    heap_free(fs);
}

struct file *cwd_get(void)
{
    struct fs_state *fs = process_current()->fs;
    LOCKED(&fs->lock);
    return file_ref(fs->cwd);
}

void cwd_set(struct file *dir)
{
    struct fs_state *fs = process_current()->fs;
    lock_take(&fs->lock);
    struct file *old = fs->cwd;
    fs->cwd = dir;
    lock_drop(&fs->lock);
    file_unref(old);
}

uint32_t umask_get(void)
{
    return __atomic_load_n(&process_current()->fs->umask, __ATOMIC_RELAXED);
}

uint32_t umask_set(uint32_t mask)
{
    return __atomic_exchange_n(&process_current()->fs->umask, mask & 0777, __ATOMIC_RELAXED);
}

/* A directory that may be looked at from outside only. */
static bool named_only(uint32_t record)
{
    return record != MANIFEST_NONE && g_manifest.files[record].class == MANIFEST_NAMED &&
           !(g_manifest.files[record].flags & MANIFEST_LISTED);
}

int place_open(struct place *place, uint32_t flags, struct file **ret)
{
    if (flags & O_PATH) {
        if ((flags & O_DIRECTORY) && !S_ISDIR(place->mode))
            return -ENOTDIR;
        return dir_open(place, flags, ret);
    }
    if (S_ISLNK(place->mode))
        return -ELOOP;
    if (S_ISDIR(place->mode)) {
        if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT))
            return -EISDIR;
        if (named_only(place->record)) {
            audit_once(OCALL_AUDIT_NOT_GRANTED, EACCES, place->path, place->path_size);
            return -EACCES;
        }
        return dir_open(place, flags, ret);
    }
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    return place->fs->open(place, flags, ret);
}

/* /proc/self/fd/N and its like: the open file once more. Linux makes a new description; for what
 * the enclave has (streams, mostly) sharing one differs only in the offset. */
static int open_magic(int fd, uint32_t flags, struct file **ret)
{
    struct file *file = fd_get(fd);
    if (!file)
        return -ENOENT;
    uint32_t have = file->flags & O_ACCMODE, want = flags & O_ACCMODE;
    if (file->path && !(flags & O_PATH)) {
        char buf[PATH_BUF];
        struct place place;
        int status = place_at_kernel(AT_FDCWD, file->path, strlen(file->path), 0, buf, &place);
        if (status == 0) {
            status = place_open(&place, flags & ~(uint32_t)(O_CREAT | O_EXCL), ret);
            place_done(&place);
            file_unref(file);
            return status;
        }
    }
    if (have != O_RDWR && want != have) {
        file_unref(file);
        return -EACCES;
    }
    *ret = file;
    return 0;
}

static int open_tmpfile(const struct place *dir, uint32_t flags, uint32_t mode, struct file **ret)
{
    if (!S_ISDIR(dir->mode))
        return -ENOTDIR;
    if ((flags & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    if (dir->fs == &g_remote_fs)
        return remote_anonymous(mode & ~umask_get() & 07777, flags, false, ret);
    if (dir->fs != &g_tmpfs_fs)
        return -EOPNOTSUPP;
    return tmpfs_anonymous(mode & ~umask_get() & 07777, flags, false, ret);
}

static int open_place(struct place *place, uint32_t flags, uint32_t mode, struct file **ret)
{
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return open_tmpfile(place, flags, mode, ret);
    if (place->mode != 0) {
        if ((flags & O_CREAT) && (flags & O_EXCL))
            return -EEXIST;
        int fd = magic_fd(place);
        if (fd >= 0 && S_ISLNK(place->mode) && !(flags & O_NOFOLLOW))
            return open_magic(fd, flags, ret);
        return place_open(place, flags, ret);
    }
    int status = place_changeable(place);
    if (status < 0)
        return status;
    if (!place->fs->create)
        return place_readonly(place);
    return place->fs->create(place, mode & ~umask_get() & 07777, flags, ret);
}

int vfs_open_at(int dirfd, const char *user_path, uint32_t flags, uint32_t mode, struct file **ret)
{
    char buf[PATH_BUF];
    struct place place;
    uint32_t walk = 0;
    if (flags & O_PATH)
        flags &= (uint32_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if ((flags & O_NOFOLLOW) || ((flags & O_CREAT) && (flags & O_EXCL)))
        walk |= WALK_NOFOLLOW;
    if (flags & O_CREAT)
        walk |= WALK_CREATE;
    int status = place_at(dirfd, user_path, walk, buf, &place);
    if (status < 0)
        return status;
    status = open_place(&place, flags, mode, ret);
    place_done(&place);
    return status;
}

int vfs_open_kernel(const char *path, uint64_t path_size, struct file **ret)
{
    char buf[PATH_BUF];
    struct place place;
    int status = place_at_kernel(AT_FDCWD, path, path_size, 0, buf, &place);
    if (status < 0)
        return status;
    status = place_open(&place, O_RDONLY, ret);
    place_done(&place);
    return status;
}

static void open_stdio(void)
{
    static const uint32_t flags[3] = { O_RDONLY, O_WRONLY, O_WRONLY };
    for (int i = 0; i < 3; i++) {
        struct file *file;
        int status = host_stream(i, flags[i], &file);
        if (status == 0)
            status = fd_install(file, i, false);
        if (status < 0)
            panic("descriptor %d cannot be opened: error %d", i, -status);
    }
}

void vfs_init_empty(void)
{
    const struct manifest_node *node = process_node();
    g_process.fds = fd_table_new();
    g_process.fs = heap_alloc(sizeof(*g_process.fs));
    if (!g_process.fds || !g_process.fs)
        panic("no memory for the table of descriptors");
    umask_set(node->umask);
    if (chunks_init() < 0)
        panic("no memory for the table of trusted content");

    char buf[PATH_BUF];
    struct place place = { .fs = NULL };
    struct file *file = NULL;
    int status = place_at_kernel(AT_FDCWD, "/", 1, 0, buf, &place);
    if (status == 0) {
        status = dir_open(&place, O_PATH | O_DIRECTORY, &file);
        place_done(&place);
    }
    if (status < 0)
        panic("the root directory cannot be opened: error %d", -status);
    cwd_set(file);
}

int cwd_enter(const char *path, uint32_t size)
{
    char buf[PATH_BUF];
    struct place place;
    struct file *file;
    int r = place_at_kernel(AT_FDCWD, path, size, 0, buf, &place);
    if (r < 0)
        return r;
    r = S_ISDIR(place.mode) ? dir_open(&place, O_PATH | O_DIRECTORY, &file) : -ENOTDIR;
    place_done(&place);
    if (r == 0)
        cwd_set(file);
    return r;
}

void vfs_init(void)
{
    vfs_init_empty();
    const struct manifest_str *cwd = &process_node()->cwd;
    if (cwd_enter(manifest_str_ptr(&g_manifest, *cwd), cwd->length) < 0)
        log_note("the working directory '%s' is not in the manifest; starting in '/'",
                 manifest_str_ptr(&g_manifest, *cwd));
    open_stdio();
}

void vfs_exit(void)
{
    /* Writes go through to the host at once, so nothing is held back here. */
    for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
        struct file *file = fd_get(fd);
        if (file && file->ops->leave)
            file->ops->leave(file);
        file_unref(file);
    }
}
