/*
 * Changing what files say about themselves: modes, owners, times, sizes. Tier: enclave.
 */
#include "arch/string.h"
#include "border/border.h"
#include "mm/shared.h"
#include "mm/uaccess.h"
#include "sys/files.h"
#include "sys/sys.h"
#include "vfs/fd.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"

sys_fn sys_chmod, sys_fchmodat, sys_fchmod, sys_chown, sys_lchown, sys_fchownat, sys_fchown,
    sys_utimensat, sys_futimesat, sys_utimes, sys_utime, sys_truncate, sys_fallocate,
    sys_memfd_create;

/* What fd refers to, as a place in buf. */
static int place_of_fd(uint64_t fd, char *buf, struct place *ret)
{
    FILE_AT(fd);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    /* Pipes and devices have no place; Linux would take the change, nobody would see it. */
    return place_of_file(file, buf, ret);
}

/* --- mode ------------------------------------------------------------------------------ */

static int64_t chmod_place(const struct place *place, uint64_t mode)
{
    if (place->fs == &g_proc_fs || place->fs == &g_dev_fs)
        return -EPERM;
    if (!place->fs->chmod)
        return place_readonly(place);
    return place->fs->chmod(place, (uint32_t)mode & 07777);
}

static int64_t chmod_at(int dirfd, uint64_t path, uint64_t mode)
{
    PLACE_AT(place, dirfd, path, 0);
    return place_status < 0 ? place_status : chmod_place(&place, mode);
}

int64_t sys_chmod(const struct sysargs *args)
{
    return chmod_at(AT_FDCWD, args->a[0], args->a[1]);
}

int64_t sys_fchmodat(const struct sysargs *args)
{
    return chmod_at((int)args->a[0], args->a[1], args->a[2]);
}

int64_t sys_fchmod(const struct sysargs *args)
{
    char buf[PATH_BUF];
    CLEANUP(put_place) struct place place = { .fs = NULL };
    int status = place_of_fd(args->a[0], buf, &place);
    return status < 0 ? status : chmod_place(&place, args->a[1]);
}

/* --- owner ----------------------------------------------------------------------------- */

static int64_t chown_place(const struct place *place, uint64_t uid, uint64_t gid)
{
    if (place->fs->chown)
        return place->fs->chown(place, (uint32_t)uid, (uint32_t)gid);
    if (place->fs == &g_proc_fs || place->fs == &g_dev_fs)
        return -EPERM;
    return place_readonly(place);
}

static int64_t chown_at(int dirfd, uint64_t path, uint64_t uid, uint64_t gid, uint64_t flags)
{
    if (flags & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    PLACE_AT(place, dirfd, path, walk_flags(flags));
    return place_status < 0 ? place_status : chown_place(&place, uid, gid);
}

int64_t sys_chown(const struct sysargs *args)
{
    return chown_at(AT_FDCWD, args->a[0], args->a[1], args->a[2], 0);
}

int64_t sys_lchown(const struct sysargs *args)
{
    return chown_at(AT_FDCWD, args->a[0], args->a[1], args->a[2], AT_SYMLINK_NOFOLLOW);
}

int64_t sys_fchownat(const struct sysargs *args)
{
    return chown_at((int)args->a[0], args->a[1], args->a[2], args->a[3], args->a[4]);
}

int64_t sys_fchown(const struct sysargs *args)
{
    char buf[PATH_BUF];
    CLEANUP(put_place) struct place place = { .fs = NULL };
    int status = place_of_fd(args->a[0], buf, &place);
    return status < 0 ? status : chown_place(&place, args->a[1], args->a[2]);
}

/* --- times ----------------------------------------------------------------------------- */

struct ktime {
    int64_t sec, part; /* part: nanoseconds or microseconds */
};

static int64_t set_times(const struct place *place, const int64_t times[2])
{
    if (place->fs == &g_proc_fs || place->fs == &g_dev_fs)
        return -EPERM;
    if (!place->fs->utimens)
        return place_readonly(place);
    if (times[0] == UTIME_OMIT_NS && times[1] == UTIME_OMIT_NS)
        return 0;
    return place->fs->utimens(place, times[0], times[1]);
}

/* Nanoseconds since 1970 in 64 bits end in 2262. */
static int to_ns(const struct ktime *t, int64_t unit, int64_t *ret)
{
    int64_t ns, part;
    if (t->part < 0 || t->part >= (int64_t)NS_PER_S / unit)
        return -EINVAL;
    part = t->part * unit;
    if (__builtin_mul_overflow(t->sec, (int64_t)NS_PER_S, &ns) ||
        __builtin_add_overflow(ns, part, &ns))
        ns = t->sec < 0 ? INT64_MIN + 1 : INT64_MAX;
    *ret = ns;
    return 0;
}

/* user: two times or NULL for now; unit: nanoseconds in one of their second halves. */
static int get_times(uint64_t user, int64_t unit, int64_t ret[2])
{
    struct ktime t[2];
    ret[0] = ret[1] = (int64_t)clock_realtime();
    if (!user)
        return 0;
    int status = copy_from_user(t, (const void *)user, sizeof(t));
    for (int i = 0; i < 2 && status == 0; i++) {
        if (unit == 1 && t[i].part == UTIME_NOW)
            continue;
        if (unit == 1 && t[i].part == UTIME_OMIT)
            ret[i] = UTIME_OMIT_NS;
        else
            status = to_ns(&t[i], unit, &ret[i]);
    }
    return status;
}

static int64_t utimes_at(uint64_t dirfd, uint64_t path, uint64_t user, int64_t unit, uint64_t flags)
{
    int64_t times[2];
    int status = get_times(user, unit, times);
    if (status < 0)
        return status;
    if (!path) {
        char buf[PATH_BUF];
        CLEANUP(put_place) struct place place = { .fs = NULL };
        if (flags)
            return -EINVAL;
        if ((int)dirfd == AT_FDCWD)
            return -EFAULT;
        status = place_of_fd(dirfd, buf, &place);
        return status < 0 ? status : set_times(&place, times);
    }
    PLACE_AT(place, dirfd, path, walk_flags(flags));
    return place_status < 0 ? place_status : set_times(&place, times);
}

int64_t sys_utimensat(const struct sysargs *args)
{
    if (args->a[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    return utimes_at(args->a[0], args->a[1], args->a[2], 1, args->a[3]);
}

int64_t sys_futimesat(const struct sysargs *args)
{
    return utimes_at(args->a[0], args->a[1], args->a[2], 1000, 0);
}

int64_t sys_utimes(const struct sysargs *args)
{
    if (!args->a[0])
        return -EFAULT;
    return utimes_at((uint64_t)(int64_t)AT_FDCWD, args->a[0], args->a[1], 1000, 0);
}

int64_t sys_utime(const struct sysargs *args)
{
    int64_t seconds[2], times[2];
    times[0] = times[1] = (int64_t)clock_realtime();
    if (args->a[1]) {
        int status = copy_from_user(seconds, (const void *)args->a[1], sizeof(seconds));
        for (int i = 0; i < 2 && status == 0; i++)
            status = to_ns(&(struct ktime){ seconds[i], 0 }, 1, &times[i]);
        if (status < 0)
            return status;
    }
    PLACE_AT(place, AT_FDCWD, args->a[0], 0);
    return place_status < 0 ? place_status : set_times(&place, times);
}

/* --- size ------------------------------------------------------------------------------ */

int64_t sys_truncate(const struct sysargs *args)
{
    if ((int64_t)args->a[1] < 0)
        return -EINVAL;
    PLACE_AT(place, AT_FDCWD, args->a[0], 0);
    if (place_status < 0)
        return place_status;
    if (S_ISDIR(place.mode))
        return -EISDIR;
    int status = place_changeable(&place);
    if (status < 0)
        return status;
    if (!S_ISREG(place.mode))
        return -EINVAL;
    if (!place.fs->truncate)
        return place_readonly(&place);
    int64_t done = place.fs->truncate(&place, args->a[1]);
    if (shared_any())
        shared_refresh(NULL);
    return done;
}

int64_t sys_fallocate(const struct sysargs *args)
{
    int64_t offset = (int64_t)args->a[2], size = (int64_t)args->a[3], end;
    FILE_AT(args->a[0]);
    if (offset < 0 || size <= 0)
        return -EINVAL;
    if (!file || (file->flags & O_PATH) || (file->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    if (__builtin_add_overflow(offset, size, &end))
        return -EFBIG;
    if (tmpfs_inode_of(file))
        return tmpfs_fallocate(file, (uint32_t)args->a[1], args->a[2], args->a[3]);
    if (remote_handle(file) >= 0)
        return remote_fallocate(file, (uint32_t)args->a[1], args->a[2], args->a[3]);
    if (file->ops == &g_host_file_ops)
        return host_fallocate(file, (uint32_t)args->a[1], args->a[2], args->a[3]);
    return file->ops->lseek ? -ENODEV : -ESPIPE;
}

/* --- files in memory ------------------------------------------------------------------- */

#define MFD_CLOEXEC       1u
#define MFD_ALLOW_SEALING 2u
#define MFD_NOEXEC_SEAL   8u
#define MFD_EXEC          16u

int64_t sys_memfd_create(const struct sysargs *args)
{
    char name[250];
    int64_t size = strncpy_from_user(name, (const char *)args->a[0], sizeof(name));
    if (size < 0)
        return size == -ENAMETOOLONG ? -EINVAL : size;
    if (args->a[1] & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC))
        return -EINVAL;
    struct file *file;
    bool sealable = args->a[1] & MFD_ALLOW_SEALING;
    /* Elsewhere than in the root it is the hub's from the start: it may be shared any time. */
    int status = hub_is_here() ? tmpfs_anonymous(0777, O_RDWR | O_LARGEFILE, sealable, &file)
                               : remote_anonymous(0777, O_RDWR | O_LARGEFILE, sealable, &file);
    if (status < 0)
        return status;
    int fd = fd_install(file, 0, args->a[1] & MFD_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}
