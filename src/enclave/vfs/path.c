/*
 * From a program's path to a place (see node.h). Tier: enclave. Thread-safe; no lock is held.
 *
 * First the whole path is looked up in the manifest: a hit needs no walk. Otherwise component by
 * component; after each symlink the whole rest is tried again, so that /lib/x costs one step.
 */
#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "vfs/dev/dev.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/proc/proc.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/trusted/trusted.h"

enum domain domain_of(uint32_t record)
{
    for (;;) {
        const struct manifest_file *f = &g_manifest.files[record];
        if (f->class == MANIFEST_SCRATCH)
            return DOMAIN_SCRATCH;
        if (f->flags & MANIFEST_SUBTREE)
            return DOMAIN_ALLOWED;
        if (record == 0)
            return DOMAIN_NONE;
        record = f->parent;
    }
}

void place_done(struct place *place)
{
    if (place->fs == &g_tmpfs_fs) {
        tmpfs_unref(place->object);
        tmpfs_unref(place->dir);
    }
    place->fs = NULL;
    place->object = NULL;
    place->dir = NULL;
}

/* A scratch record that is not there until the program creates it, and then lies in its parent's
 * overlay like any other name. */
static bool temporary(uint32_t record)
{
    const struct manifest_file *f = &g_manifest.files[record];
    return f->class == MANIFEST_SCRATCH && (f->nlink == 0 || !S_ISDIR(f->mode));
}

/* The scratch directory of a directory record; *ret NULL: a temporary one that is not there. */
static int overlay_dir(uint32_t record, struct inode **ret)
{
    uint32_t top = record;
    while (temporary(top))
        top = g_manifest.files[top].parent;
    struct inode *inode = tmpfs_overlay(top);
    if (!inode)
        return -ENOMEM;
    const char *path = manifest_path(&g_manifest, record);
    uint32_t end = g_manifest.files[record].path.length;
    for (uint32_t at = g_manifest.files[top].path.length; at < end && inode;) {
        uint32_t start = top == 0 && at == 1 ? 1 : at + 1;
        for (at = start; at < end && path[at] != '/';)
            at++;
        struct place p = { .fs = NULL };
        int status = tmpfs_lookup(inode, path + start, at - start, &p);
        if (status < 0)
            return status;
        inode = S_ISDIR(p.mode) ? tmpfs_ref(p.object) : NULL;
        place_done(&p);
    }
    *ret = inode;
    return 0;
}

/* p lies in the scratch directory of the record dir. */
static int in_overlay(uint32_t dir, struct place *p)
{
    struct inode *overlay;
    if (!hub_is_here())
        return remote_lookup(p);
    int status = overlay_dir(dir, &overlay);
    if (status < 0)
        return status;
    p->fs = &g_tmpfs_fs;
    p->mode = 0;
    if (!overlay)
        return 0;
    uint32_t skip = dir == 0 ? 1 : g_manifest.files[dir].path.length + 1;
    return tmpfs_lookup(overlay, p->path + skip, p->path_size - skip, p);
}

/* Nothing there, and nobody would hold it. */
static int nowhere(struct place *p, bool quiet)
{
    p->fs = NULL;
    p->mode = 0;
    p->quiet = quiet;
    return 0;
}

/* A path with a record of its own. */
static int of_record(struct place *p, uint32_t record)
{
    const struct manifest_file *f = &g_manifest.files[record];
    p->record = record;
    switch (f->class) {
    case MANIFEST_TRUSTED:
    case MANIFEST_NAMED:
        p->fs = &g_trusted_fs;
        p->mode = f->mode;
        return 0;
    case MANIFEST_ALLOWED: return host_lookup(p);
    case MANIFEST_SCRATCH:
        if (temporary(record)) {
            /* From here on it is one more tmpfs name: what is below it is in it, not in an overlay.
             */
            p->record = MANIFEST_NONE;
            return in_overlay(f->parent, p);
        }
        if (!hub_is_here()) {
            p->fs = &g_remote_fs;
            p->mode = f->mode;
            return 0;
        }
        p->object = tmpfs_overlay(record);
        if (!p->object)
            return -ENOMEM;
        p->fs = &g_tmpfs_fs;
        p->mode = f->mode;
        return 0;
    default:
        if (domain_of(f->parent) == DOMAIN_SCRATCH)
            return in_overlay(f->parent, p);
        return nowhere(p, true);
    }
}

/* p->path names a child of the directory p was; its name are the last size bytes. */
static int child(struct place *p, uint32_t size)
{
    uint32_t dir = p->record;
    p->record = MANIFEST_NONE;
    if (dir == MANIFEST_NONE && p->fs == &g_tmpfs_fs) {
        struct inode *inode = p->object;
        p->object = NULL;
        place_done(p);
        return tmpfs_lookup(inode, p->path + p->path_size - size, size, p);
    }
    if (dir == MANIFEST_NONE && p->fs == &g_remote_fs)
        return remote_lookup(p);
    place_done(p);
    if (builtin_path(p->path, p->path_size))
        return builtin_lookup(p);
    if (dir == MANIFEST_NONE)
        return host_lookup(p);
    uint32_t record = manifest_find(&g_manifest, p->path, p->path_size);
    if (record != MANIFEST_NONE)
        return of_record(p, record);
    switch (domain_of(dir)) {
    case DOMAIN_SCRATCH: return in_overlay(dir, p);
    case DOMAIN_ALLOWED: return host_lookup(p);
    default: return nowhere(p, false);
    }
}

static int root(struct place *p, char *buf)
{
    place_done(p);
    memcpy(buf, "/", 2);
    *p = (struct place){ .path = buf, .path_size = 1 };
    return of_record(p, 0);
}

/* Makes p, a directory, its own parent. */
static int up(struct place *p, char *buf)
{
    uint32_t n = p->path_size;
    while (n > 1 && buf[n - 1] != '/')
        n--;
    if (n > 1)
        n--;
    if (n == 1)
        return root(p, buf);
    place_done(p);
    buf[n] = '\0';
    *p = (struct place){ .path = buf, .path_size = n, .record = MANIFEST_NONE };
    if (builtin_path(buf, n))
        return builtin_lookup(p);
    uint32_t record = manifest_find(&g_manifest, buf, n);
    if (record != MANIFEST_NONE)
        return of_record(p, record);
    /* No record: in a tmpfs or on the host. Down again from the nearest record. */
    uint32_t dir = manifest_find_above(&g_manifest, buf, n);
    uint32_t end = g_manifest.files[dir].path.length;
    p->path_size = end;
    int status = of_record(p, dir);
    while (status == 0 && end < n) {
        uint32_t start = end = p->path_size == 1 ? 1 : end + 1;
        while (end < n && buf[end] != '/')
            end++;
        p->path_size = end;
        /* The path is taken with its size; the NUL is wanted by nobody before the last round. */
        status = child(p, end - start);
    }
    return status;
}

int place_scratch(const char *path, uint32_t size, struct place *ret)
{
    *ret = (struct place){ .path = path, .path_size = size, .record = MANIFEST_NONE };
    if (builtin_path(path, size)) {
        int status = builtin_lookup(ret);
        if (ret->fs != &g_tmpfs_fs)
            ret->fs = NULL;
        return status;
    }
    uint32_t record = manifest_find(&g_manifest, path, size);
    if (record == MANIFEST_NONE)
        record = manifest_find_above(&g_manifest, path, size);
    if (record == MANIFEST_NONE || domain_of(record) != DOMAIN_SCRATCH)
        return 0;
    /* A temporary one is a name in the directory that its parents are, or will be. */
    while (temporary(record))
        record = g_manifest.files[record].parent;
    uint32_t end = ret->path_size = g_manifest.files[record].path.length;
    int status = of_record(ret, record);
    while (status == 0 && end < size) {
        if (!S_ISDIR(ret->mode))
            return ret->mode ? -ENOTDIR : -ENOENT;
        uint32_t start = end = end == 1 ? 1 : end + 1;
        while (end < size && path[end] != '/')
            end++;
        ret->path_size = end;
        status = child(ret, end - start);
    }
    if (status == 0 && ret->fs != &g_tmpfs_fs && ret->fs != &g_trusted_fs)
        ret->fs = NULL;
    return status;
}

struct walk {
    struct place *p;
    char *buf;  /* canonical so far; p->path */
    char *rest; /* PATH_BUF bytes */
    uint32_t pos, size;
    uint32_t flags;
    int links;
    bool silent;  /* no audit lines */
    bool foreign; /* it met what is not measured: others can change what the path means */
};

static void look(struct walk *w)
{
    w->foreign |= w->p->fs && w->p->fs != &g_trusted_fs;
}

/* Puts a symlink's target before what is left; p becomes the directory it starts from. */
static int follow(struct walk *w)
{
    if (++w->links > SYMLINKS_MAX)
        return -ELOOP;
    char target[PATH_BUF];
    int64_t n = w->p->fs->readlink(w->p, target, sizeof(target));
    if (n < 0)
        return (int)n;
    if (n == 0)
        return -ENOENT;
    uint32_t left = w->size - w->pos;
    if ((uint64_t)n + left >= PATH_BUF)
        return -ENAMETOOLONG;
    memmove(w->rest + n, w->rest + w->pos, left);
    memcpy(w->rest, target, (size_t)n);
    w->pos = 0;
    w->size = (uint32_t)n + left;
    w->rest[w->size] = '\0';
    int status = w->rest[0] == '/' ? root(w->p, w->buf) : up(w->p, w->buf);
    look(w);
    return status;
}

/* Do all components of a record's path mean in this run what they meant in the trace? Directories
 * that the program or the host can replace need a walk. */
static bool settled(uint32_t record)
{
    const struct manifest_file *f = &g_manifest.files[record];
    if (f->class == MANIFEST_TRUSTED || f->class == MANIFEST_NAMED)
        return true;
    uint32_t class = g_manifest.files[f->parent].class;
    return class == MANIFEST_TRUSTED || class == MANIFEST_NAMED;
}

/* The whole rest at once: true if the manifest has it, p is it, and no symlink is to be followed.
 */
static bool direct(struct walk *w, int *ret_status)
{
    struct place *p = w->p;
    uint32_t start = w->pos, left = w->size - w->pos;
    while (left && w->rest[start] == '/')
        start++, left--;
    if (!left || p->record == MANIFEST_NONE || p->path_size + 1 + left >= PATH_BUF)
        return false;
    uint32_t head = p->path_size == 1 ? 0 : p->path_size;
    uint32_t size = head + 1 + left;
    w->buf[head] = '/';
    memcpy(w->buf + head + 1, w->rest + start, left);
    uint32_t record =
        builtin_path(w->buf, size) ? MANIFEST_NONE : manifest_find(&g_manifest, w->buf, size);
    if (record == MANIFEST_NONE || !settled(record) ||
        (S_ISLNK(g_manifest.files[record].mode) && !(w->flags & (WALK_NOFOLLOW | WALK_NAME)))) {
        w->buf[p->path_size] = '\0';
        return false;
    }
    w->buf[size] = '\0';
    place_done(p);
    p->path_size = size;
    *ret_status = of_record(p, record);
    look(w);
    return true;
}

/* An intermediate or final name is not there: what the program gets, and the audit line. */
static int absent(struct walk *w)
{
    if (!w->p->fs && !w->p->quiet && !w->silent) {
        uint32_t left = w->size - w->pos;
        if (w->p->path_size + 1 + left < PATH_BUF) {
            memcpy(w->buf + w->p->path_size, w->rest + w->pos, left);
            audit_once(OCALL_AUDIT_ABSENT, ENOENT, w->buf, w->p->path_size + left);
        }
    }
    return -ENOENT;
}

static int step(struct walk *w, const char *name, uint32_t size)
{
    struct place *p = w->p;
    if (size > NAME_MAX_SIZE)
        return -ENAMETOOLONG;
    uint32_t head = p->path_size == 1 ? 0 : p->path_size;
    if (head + 1 + size >= PATH_BUF)
        return -ENAMETOOLONG;
    w->buf[head] = '/';
    memcpy(w->buf + head + 1, name, size);
    p->path_size = head + 1 + size;
    w->buf[p->path_size] = '\0';
    int status = child(p, size);
    look(w);
    return status;
}

static int walk(struct walk *w)
{
    struct place *p = w->p;
    int status;
    if (direct(w, &status))
        return status;
    uint32_t at = w->pos;
    while (at < w->size && w->rest[at] == '/')
        at++;
    if (at == w->size && (w->flags & WALK_NAME))
        p->last = LAST_ROOT;
    while (w->pos < w->size) {
        if (w->rest[w->pos] == '/') {
            w->pos++;
            continue;
        }
        if (!S_ISDIR(p->mode))
            return -ENOTDIR;
        uint32_t start = w->pos;
        while (w->pos < w->size && w->rest[w->pos] != '/')
            w->pos++;
        const char *name = w->rest + start;
        uint32_t size = w->pos - start;
        p->slash = w->pos < w->size;
        uint32_t next = w->pos;
        while (next < w->size && w->rest[next] == '/')
            next++;
        bool last = next == w->size;

        bool dot = size == 1 && name[0] == '.';
        bool dotdot = size == 2 && name[0] == '.' && name[1] == '.';
        if (last && (dot || dotdot) && (w->flags & WALK_NAME)) {
            p->last = dot ? LAST_DOT : LAST_DOTDOT;
            return 0;
        }
        if (dot)
            continue;
        if (dotdot) {
            status = up(p, w->buf);
            look(w);
            if (status < 0)
                return status;
            continue;
        }
        bool slash = p->slash;
        /* open(O_CREAT) of "name/": nothing but a directory could be meant. */
        if (last && slash && (w->flags & (WALK_CREATE | WALK_NAME)) == WALK_CREATE)
            return -EISDIR;
        if ((status = step(w, name, size)) < 0)
            return status;
        p->slash = last && slash;
        if (p->mode == 0) {
            if (last && (w->flags & WALK_CREATE))
                return 0;
            return absent(w);
        }
        if (last && (w->flags & WALK_NAME))
            return 0;
        if (!S_ISLNK(p->mode) || (last && (w->flags & WALK_NOFOLLOW) && !slash))
            continue;
        if (last && magic_fd(p) >= 0)
            return 0;
        if ((status = follow(w)) < 0)
            return status;
        if (direct(w, &status))
            return status;
    }
    if (p->slash && !S_ISDIR(p->mode))
        return -ENOTDIR;
    return 0;
}

/* p becomes the directory that relative paths start from. */
static int start(int dirfd, char *buf, struct place *p)
{
    struct file *dir = dirfd == AT_FDCWD ? cwd_get() : fd_get(dirfd);
    if (!dir)
        return -EBADF;
    int status = place_of_file(dir, buf, p);
    if (status == -EBADF)
        status = -ENOTDIR;
    else if (status == 0 && !S_ISDIR(p->mode)) {
        place_done(p);
        status = -ENOTDIR;
    }
    file_unref(dir);
    return status;
}

static int walk_from(int dirfd, char *rest, uint32_t size, uint32_t flags, char *buf,
                     struct place *ret)
{
    struct place p = { .record = MANIFEST_NONE };
    int status = rest[0] == '/' ? root(&p, buf) : start(dirfd, buf, &p);
    if (status == 0) {
        struct walk w = { .p = &p, .buf = buf, .rest = rest, .size = size, .flags = flags };
        status = walk(&w);
        /* direct() does not look at the end result. */
        if (status == 0 && p.mode == 0 && !(flags & WALK_CREATE))
            status = absent(&w);
    }
    if (status < 0)
        place_done(&p);
    else
        *ret = p;
    return status;
}

/* The file a dirfd names itself: AT_EMPTY_PATH. */
static int itself(int dirfd, char *buf, struct place *ret)
{
    struct file *file = dirfd == AT_FDCWD ? cwd_get() : fd_get(dirfd);
    if (!file)
        return -EBADF;
    int status = place_of_file(file, buf, ret);
    file_unref(file);
    return status;
}

/* The common case: an absolute path that the manifest's index holds as it is. */
static bool fast(const char *path, uint64_t size, uint32_t flags, struct place *ret)
{
    uint32_t record = manifest_find(&g_manifest, path, size);
    if (record == MANIFEST_NONE)
        return false;
    const struct manifest_file *f = &g_manifest.files[record];
    if ((f->class != MANIFEST_TRUSTED && f->class != MANIFEST_NAMED) ||
        (S_ISLNK(f->mode) && !(flags & (WALK_NOFOLLOW | WALK_NAME))) || builtin_path(path, size))
        return false;
    *ret = (struct place){
        .fs = &g_trusted_fs,
        .record = record,
        .mode = f->mode,
        .path_size = (uint32_t)size,
        .path = manifest_path(&g_manifest, record),
    };
    return true;
}

int place_at(int dirfd, const char *user_path, uint32_t flags, char buf[static PATH_BUF],
             struct place *ret)
{
    char rest[PATH_BUF];
    int64_t size = strncpy_from_user(rest, user_path, sizeof(rest));
    if (size < 0)
        return (int)size;
    if (size == 0)
        return flags & WALK_EMPTY ? itself(dirfd, buf, ret) : -ENOENT;
    if (rest[0] == '/' && fast(rest, (uint64_t)size, flags, ret))
        return 0;
    return walk_from(dirfd, rest, (uint32_t)size, flags, buf, ret);
}

int place_at_kernel(int dirfd, const char *path, uint64_t size, uint32_t flags,
                    char buf[static PATH_BUF], struct place *ret)
{
    char rest[PATH_BUF];
    if (size >= sizeof(rest))
        return -ENAMETOOLONG;
    if (size == 0)
        return -ENOENT;
    if (path[0] == '/' && fast(path, size, flags, ret))
        return 0;
    memcpy(rest, path, size);
    rest[size] = '\0';
    return walk_from(dirfd, rest, (uint32_t)size, flags, buf, ret);
}

bool path_is_measured(const char *path, uint64_t size)
{
    char rest[PATH_BUF], buf[PATH_BUF];
    struct place p = { .record = MANIFEST_NONE };
    if (size >= sizeof(rest))
        return false;
    memcpy(rest, path, size);
    rest[size] = '\0';
    struct walk w = { .p = &p, .buf = buf, .rest = rest, .size = (uint32_t)size, .silent = true };
    int status = rest[0] == '/' ? root(&p, buf) : start(AT_FDCWD, buf, &p);
    look(&w);
    if (status == 0)
        status = walk(&w);
    place_done(&p);
    return !w.foreign && (status == 0 || status == -ENOENT || status == -ENOTDIR);
}

int place_of_file(struct file *file, char buf[static PATH_BUF], struct place *ret)
{
    const struct place *held = dir_place(file);
    struct place p = { .record = MANIFEST_NONE };
    if (held) {
        p = *held;
    } else if (file->ops == &g_trusted_file_ops) {
        p.fs = &g_trusted_fs;
        p.record = (uint32_t)(file->record - g_manifest.files);
        p.mode = file->record->mode;
    } else if (tmpfs_inode_of(file)) {
        p.fs = &g_tmpfs_fs;
        p.object = tmpfs_inode_of(file);
        p.mode = tmpfs_mode(p.object);
    } else if (file->ops == &g_remote_ops && file->path) {
        p.fs = &g_remote_fs; /* a FIFO: by its name */
        p.mode = S_IFIFO;
    } else if (file->ops == &g_remote_file_ops) {
        p.fs = &g_remote_fs;
        p.object = remote_place_object(file);
        p.mode = S_IFREG;
    } else if (file->ops == &g_host_file_ops) {
        p.fs = &g_host_fs;
        p.mode = S_IFREG;
        if (file->record)
            p.record = (uint32_t)(file->record - g_manifest.files);
    } else if (!pts_place(file, &p)) {
        return -EBADF;
    }
    int size = 0;
    if (p.fs == &g_tmpfs_fs && S_ISDIR(p.mode)) {
        size = tmpfs_dir_path(p.object, buf);
        if (size < 0) {
            /* Removed but open: it can be looked at, and nothing can be found in it. */
            size = 1;
            memcpy(buf, "/", 2);
        }
    } else if (file->path) {
        size = (int)strlen(file->path);
        memcpy(buf, file->path, (size_t)size + 1);
    }
    buf[size] = '\0';
    p.path = buf;
    p.path_size = (uint32_t)size;
    p.dir = NULL;
    if (p.fs == &g_tmpfs_fs)
        tmpfs_ref(p.object);
    *ret = p;
    return 0;
}

int place_stat(const struct place *place, struct kstat *ret)
{
    return place->fs->stat(place, ret);
}

int place_readonly(const struct place *place)
{
    audit_once(OCALL_AUDIT_WRITE, EROFS, place->path, place->path_size);
    return -EROFS;
}

/* Does a record that is not the program's to change lie here? */
static bool pinned(uint32_t record)
{
    const struct manifest_file *f = &g_manifest.files[record];
    if (f->class == MANIFEST_SCRATCH)
        return !temporary(record);
    if (f->class == MANIFEST_ABSENT)
        return domain_of(f->parent) != DOMAIN_SCRATCH;
    return f->class != MANIFEST_ALLOWED;
}

int place_changeable(const struct place *place)
{
    if (!place->fs || (place->record != MANIFEST_NONE && pinned(place->record)) ||
        place->fs == &g_proc_fs || place->fs == &g_dev_fs)
        return place_readonly(place);
    return 0;
}
