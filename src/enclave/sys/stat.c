/*
 * Asking about files: stat, access, readlink, statfs. Tier: enclave.
 */
#include "arch/string.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "sys/files.h"
#include "sys/sys.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/proc/proc.h"
#include "vfs/remote/remote.h"

sys_fn sys_stat, sys_lstat, sys_fstat, sys_newfstatat, sys_statx, sys_access, sys_faccessat,
    sys_faccessat2, sys_readlink, sys_readlinkat, sys_statfs, sys_fstatfs, sys_name_to_handle_at,
    sys_open_by_handle_at, sys_inotify_init, sys_inotify_init1;

/* A /proc/self/fd link at the path's end means the open file itself. */
static int stat_magic(int fd, struct kstat *ret)
{
    FILE_AT(fd);
    if (!file)
        return -ENOENT;
    return file->ops->fstat ? file->ops->fstat(file, ret) : -EINVAL;
}

static int stat_fd(int fd, struct kstat *ret)
{
    FILE_AT(fd);
    if (!file)
        return -EBADF;
    return file->ops->fstat ? file->ops->fstat(file, ret) : -EINVAL;
}

/* Is the path empty (or NULL, as newer kernels allow)? Then with AT_EMPTY_PATH dirfd is meant. */
static bool names_fd(uint64_t path, uint64_t flags)
{
    char first;
    return (flags & AT_EMPTY_PATH) &&
           (!path || (GET_USER(&first, (const char *)path) == 0 && !first));
}

static int stat_at(int dirfd, uint64_t path, uint64_t flags, struct kstat *ret)
{
    if (names_fd(path, flags) && dirfd != AT_FDCWD)
        return stat_fd(dirfd, ret);
    PLACE_AT(place, dirfd, path, walk_flags(flags));
    if (place_status < 0)
        return place_status;
    int fd = flags & AT_SYMLINK_NOFOLLOW ? -1 : magic_fd(&place);
    return fd >= 0 ? stat_magic(fd, ret) : place_stat(&place, ret);
}

static int64_t put_stat(int status, const struct kstat *st, uint64_t user)
{
    return status < 0 ? status : copy_to_user((void *)user, st, sizeof(*st));
}

int64_t sys_stat(const struct sysargs *args)
{
    struct kstat st;
    int status = stat_at(AT_FDCWD, args->a[0], 0, &st);
    return put_stat(status, &st, args->a[1]);
}

int64_t sys_lstat(const struct sysargs *args)
{
    struct kstat st;
    int status = stat_at(AT_FDCWD, args->a[0], AT_SYMLINK_NOFOLLOW, &st);
    return put_stat(status, &st, args->a[1]);
}

int64_t sys_fstat(const struct sysargs *args)
{
    struct kstat st;
    int status = stat_fd((int)args->a[0], &st);
    return put_stat(status, &st, args->a[1]);
}

int64_t sys_newfstatat(const struct sysargs *args)
{
    struct kstat st;
    if (args->a[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
        return -EINVAL;
    int status = stat_at((int)args->a[0], args->a[1], args->a[3], &st);
    return put_stat(status, &st, args->a[2]);
}

int64_t sys_statx(const struct sysargs *args)
{
    struct kstat st;
    uint64_t flags = args->a[2];
    if ((flags &
         ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) ||
        (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE || (args->a[3] & STATX__RESERVED))
        return -EINVAL;
    int status = stat_at((int)args->a[0], args->a[1], flags, &st);
    if (status < 0)
        return status;
    struct statx out = {
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = (uint32_t)st.blksize,
        .stx_nlink = (uint32_t)st.nlink,
        .stx_uid = st.uid,
        .stx_gid = st.gid,
        .stx_mode = (uint16_t)st.mode,
        .stx_ino = st.ino,
        .stx_size = (uint64_t)st.size,
        .stx_blocks = (uint64_t)st.blocks,
        .stx_atime = { .tv_sec = st.atime_sec, .tv_nsec = (uint32_t)st.atime_nsec },
        .stx_mtime = { .tv_sec = st.mtime_sec, .tv_nsec = (uint32_t)st.mtime_nsec },
        .stx_ctime = { .tv_sec = st.ctime_sec, .tv_nsec = (uint32_t)st.ctime_nsec },
        .stx_rdev_major = (uint32_t)(st.rdev >> 8 & 0xfff),
        .stx_rdev_minor = (uint32_t)((st.rdev & 0xff) | (st.rdev >> 12 & 0xfff00)),
        .stx_dev_major = (uint32_t)(st.dev >> 8 & 0xfff),
        .stx_dev_minor = (uint32_t)((st.dev & 0xff) | (st.dev >> 12 & 0xfff00)),
    };
    return PUT_USER((struct statx *)args->a[4], &out);
}

/* --- access ---------------------------------------------------------------------------- */

static int64_t access_at(int dirfd, uint64_t path, uint64_t mode, uint64_t flags)
{
    struct kstat st;
    if ((mode & ~7ull) || (flags & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_EACCESS)))
        return -EINVAL;
    PLACE_AT(place, dirfd, path, walk_flags(flags));
    if (place_status < 0)
        return place_status;
    int fd = flags & AT_SYMLINK_NOFOLLOW ? -1 : magic_fd(&place);
    int status = fd >= 0 ? stat_magic(fd, &st) : place_stat(&place, &st);
    if (status < 0)
        return status;
    if ((mode & 2) && place.fs == &g_trusted_fs)
        return -EROFS;
    return may_access(&st, (uint32_t)mode) ? 0 : -EACCES;
}

int64_t sys_access(const struct sysargs *args)
{
    return access_at(AT_FDCWD, args->a[0], args->a[1], 0);
}

int64_t sys_faccessat(const struct sysargs *args)
{
    return access_at((int)args->a[0], args->a[1], args->a[2], 0);
}

int64_t sys_faccessat2(const struct sysargs *args)
{
    return access_at((int)args->a[0], args->a[1], args->a[2], args->a[3]);
}

/* --- readlink -------------------------------------------------------------------------- */

static int64_t readlink_at(int dirfd, uint64_t path, uint64_t user, uint64_t size)
{
    char text[PATH_BUF];
    if (size == 0 || size > INT32_MAX)
        return -EINVAL;
    PLACE_AT(place, dirfd, path, WALK_NOFOLLOW | WALK_EMPTY);
    if (place_status < 0)
        return place_status;
    if (!S_ISLNK(place.mode))
        return -EINVAL;
    int64_t n = place.fs->readlink(&place, text, sizeof(text));
    if (n < 0)
        return n;
    if ((uint64_t)n > size)
        n = (int64_t)size;
    int status = copy_to_user((void *)user, text, (uint64_t)n);
    return status < 0 ? status : n;
}

int64_t sys_readlink(const struct sysargs *args)
{
    return readlink_at(AT_FDCWD, args->a[0], args->a[1], args->a[2]);
}

int64_t sys_readlinkat(const struct sysargs *args)
{
    return readlink_at((int)args->a[0], args->a[1], args->a[2], args->a[3]);
}

/* --- statfs ---------------------------------------------------------------------------- */

struct kstatfs { /* struct statfs of x86-64 */
    int64_t type, bsize;
    uint64_t blocks, bfree, bavail, files, ffree;
    uint32_t fsid[2];
    int64_t namelen, frsize, flags, spare[4];
};
static_assert(sizeof(struct kstatfs) == 120, "struct statfs");

#define ST_RDONLY 1
#define ST_VALID  0x20

/* Sizes are the enclave's memory for scratch, and nothing free elsewhere: the host is not asked. */
static int64_t put_statfs(const struct fs *fs, uint64_t user)
{
    uint64_t mapped, accepted, limit;
    struct kstatfs out = {
        .type = fs ? (int64_t)fs->magic : 0x50495045 /* pipefs */,
        .bsize = 4096,
        .frsize = 4096,
        .namelen = 255,
        .flags = ST_VALID | (fs == &g_trusted_fs ? ST_RDONLY : 0),
    };
    mm_usage(&mapped, &accepted, &limit);
    if (fs == &g_tmpfs_fs || fs == &g_remote_fs || fs == &g_host_fs || fs == &g_trusted_fs) {
        out.blocks = limit / 4096;
        out.bfree = out.bavail = limit > accepted ? (limit - accepted) / 4096 : 0;
        out.files = out.ffree = limit / 4096;
    }
    return PUT_USER((struct kstatfs *)user, &out);
}

int64_t sys_statfs(const struct sysargs *args)
{
    PLACE_AT(place, AT_FDCWD, args->a[0], 0);
    return place_status < 0 ? place_status : put_statfs(place.fs, args->a[1]);
}

int64_t sys_fstatfs(const struct sysargs *args)
{
    char buf[PATH_BUF];
    struct place place = { .fs = NULL };
    FILE_AT(args->a[0]);
    if (!file)
        return -EBADF;
    const struct fs *fs = NULL;
    if (place_of_file(file, buf, &place) == 0) {
        fs = place.fs;
        place_done(&place);
    }
    return put_statfs(fs, args->a[1]);
}

/* --- what there is not ----------------------------------------------------------------- */

int64_t sys_name_to_handle_at(const struct sysargs *args UNUSED)
{
    return -EOPNOTSUPP;
}

int64_t sys_open_by_handle_at(const struct sysargs *args UNUSED)
{
    return -EPERM;
}

/* Nothing changes behind the program's back here, and watchers have a fallback: polling. */
int64_t sys_inotify_init(const struct sysargs *args UNUSED)
{
    return -ENOSYS;
}

int64_t sys_inotify_init1(const struct sysargs *args UNUSED)
{
    return -ENOSYS;
}
