/*
 * Names: making, removing, renaming and listing them. Tier: enclave.
 */
#include "arch/string.h"
#include "border/border.h"
#include "core/bytes.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "sys/files.h"
#include "sys/sys.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/proc/proc.h"
#include "vfs/tmpfs/tmpfs.h"

sys_fn sys_getdents64, sys_getdents, sys_mkdir, sys_mkdirat, sys_mknod, sys_mknodat, sys_symlink,
    sys_symlinkat, sys_link, sys_linkat, sys_unlink, sys_rmdir, sys_unlinkat, sys_rename,
    sys_renameat, sys_renameat2;

/* --- listing --------------------------------------------------------------------------- */

int64_t sys_getdents64(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (!file->ops->getdents64)
        return -ENOTDIR;
    return file->ops->getdents64(file, (void *)args->a[1], (uint32_t)args->a[2]);
}

/* The old layout (ino, off, reclen, name, NUL, type at the end) needs one byte less of head and one
 * more of tail: records have the same size, so they are rearranged where they lie. */
int64_t sys_getdents(const struct sysargs *args)
{
    char one[24 + NAME_MAX_SIZE + 8];
    FILE_AT(args->a[0]);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (!file->ops->getdents64)
        return -ENOTDIR;
    int64_t n = file->ops->getdents64(file, (void *)args->a[1], (uint32_t)args->a[2]);
    for (int64_t at = 0; at < n;) {
        char *user = (char *)args->a[1] + at;
        int status = copy_from_user(one, user, 19);
        uint16_t size = load_le16(one + 16);
        if (status == 0 && (size < 24 || size > sizeof(one) || size > n - at))
            status = -EFAULT;
        if (status == 0)
            status = copy_from_user(one, user, size);
        if (status < 0)
            return status;
        char type = one[18];
        memmove(one + 18, one + 19, (size_t)size - 19);
        one[size - 1] = type;
        if ((status = copy_to_user(user, one, size)) < 0)
            return status;
        at += size;
    }
    return n;
}

/* --- making ---------------------------------------------------------------------------- */

/* The checking half of making a name. */
static int can_make(const struct place *place)
{
    if (place->mode != 0 || place->last != LAST_NAME)
        return -EEXIST;
    return place_changeable(place);
}

static int64_t mkdir_at(int dirfd, uint64_t path, uint64_t mode)
{
    PLACE_AT(place, dirfd, path, WALK_NAME | WALK_CREATE);
    if (place_status < 0)
        return place_status;
    int status = can_make(&place);
    if (status < 0)
        return status;
    if (!place.fs->mkdir)
        return place_readonly(&place);
    return place.fs->mkdir(&place, (uint32_t)mode & 01777 & ~umask_get());
}

int64_t sys_mkdir(const struct sysargs *args)
{
    return mkdir_at(AT_FDCWD, args->a[0], args->a[1]);
}

int64_t sys_mkdirat(const struct sysargs *args)
{
    return mkdir_at((int)args->a[0], args->a[1], args->a[2]);
}

/* Regular files as open(O_CREAT | O_EXCL); the names of FIFOs and sockets in scratch; no devices.
 */
static int64_t mknod_at(int dirfd, uint64_t path, uint64_t mode)
{
    PLACE_AT(place, dirfd, path, WALK_NAME | WALK_CREATE);
    if (place_status < 0)
        return place_status;
    uint32_t type = (uint32_t)mode & S_IFMT;
    int status = place.slash ? -ENOENT : can_make(&place);
    if (status < 0)
        return status;
    uint32_t permissions = (uint32_t)mode & 07777 & ~umask_get();
    if (type != 0 && type != S_IFREG) {
        if ((type == S_IFIFO || type == S_IFSOCK) && place.fs->mknod)
            return place.fs->mknod(&place, type | permissions);
        log_note("mknod '%s': not supported here", place.path);
        return -EPERM;
    }
    struct file *file;
    if (!place.fs->create)
        return place_readonly(&place);
    status = place.fs->create(&place, permissions, O_WRONLY | O_EXCL, &file);
    if (status == 0)
        file_unref(file);
    return status;
}

int64_t sys_mknod(const struct sysargs *args)
{
    return mknod_at(AT_FDCWD, args->a[0], args->a[1]);
}

int64_t sys_mknodat(const struct sysargs *args)
{
    return mknod_at((int)args->a[0], args->a[1], args->a[2]);
}

static int64_t symlink_at(uint64_t target, int dirfd, uint64_t path)
{
    char text[PATH_BUF];
    int64_t size = strncpy_from_user(text, (const char *)target, sizeof(text));
    if (size <= 0)
        return size < 0 ? size : -ENOENT;
    PLACE_AT(place, dirfd, path, WALK_NAME | WALK_CREATE);
    if (place_status < 0)
        return place_status;
    int status = place.slash && place.mode == 0 ? -ENOENT : can_make(&place);
    if (status < 0)
        return status;
    if (!place.fs->symlink)
        return place_readonly(&place);
    return place.fs->symlink(&place, text, (uint32_t)size);
}

int64_t sys_symlink(const struct sysargs *args)
{
    return symlink_at(args->a[0], AT_FDCWD, args->a[1]);
}

int64_t sys_symlinkat(const struct sysargs *args)
{
    return symlink_at(args->a[0], (int)args->a[1], args->a[2]);
}

/* linkat(AT_SYMLINK_FOLLOW) of /proc/self/fd/N gives an O_TMPFILE its name. */
static int magic_source(struct place *old, char *buf)
{
    FILE_AT(magic_fd(old));
    if (!file)
        return -ENOENT;
    place_done(old);
    return place_of_file(file, buf, old);
}

static int64_t link_at(int old_dirfd, uint64_t old_path, int new_dirfd, uint64_t new_path,
                       uint64_t flags)
{
    if (flags & ~(uint64_t)(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
        return -EINVAL;
    uint32_t walk =
        (flags & AT_SYMLINK_FOLLOW ? 0 : WALK_NOFOLLOW) | (flags & AT_EMPTY_PATH ? WALK_EMPTY : 0);
    PLACE_AT(old, old_dirfd, old_path, walk);
    if (old_status < 0)
        return old_status;
    if ((flags & AT_SYMLINK_FOLLOW) && magic_fd(&old) >= 0 &&
        (old_status = magic_source(&old, old_buf)) < 0)
        return old_status;
    PLACE_AT(new, new_dirfd, new_path, WALK_NAME | WALK_CREATE);
    if (new_status < 0)
        return new_status;
    int status = new.slash &&new.mode == 0 ? -ENOENT : can_make(&new);
    if (status < 0)
        return status;
    if (S_ISDIR(old.mode))
        return -EPERM;
    if (old.fs != new.fs)
        return -EXDEV;
    if ((status = place_changeable(&old)) < 0)
        return status;
    if (!new.fs->link)
        return place_readonly(&new);
    return new.fs->link(&old, &new);
}

int64_t sys_link(const struct sysargs *args)
{
    return link_at(AT_FDCWD, args->a[0], AT_FDCWD, args->a[1], 0);
}

int64_t sys_linkat(const struct sysargs *args)
{
    return link_at((int)args->a[0], args->a[1], (int)args->a[2], args->a[3], args->a[4]);
}

/* --- removing -------------------------------------------------------------------------- */

static int64_t unlink_at(int dirfd, uint64_t path)
{
    PLACE_AT(place, dirfd, path, WALK_NAME);
    if (place_status < 0)
        return place_status;
    if (place.last != LAST_NAME || S_ISDIR(place.mode))
        return -EISDIR;
    if (place.slash)
        return -ENOTDIR;
    int status = place_changeable(&place);
    if (status < 0)
        return status;
    return place.fs->unlink ? place.fs->unlink(&place) : place_readonly(&place);
}

static int64_t rmdir_at(int dirfd, uint64_t path)
{
    PLACE_AT(place, dirfd, path, WALK_NAME);
    if (place_status < 0)
        return place_status;
    switch (place.last) {
    case LAST_DOT: return -EINVAL;
    case LAST_DOTDOT: return -ENOTEMPTY;
    case LAST_ROOT: return -EBUSY;
    default: break;
    }
    if (!S_ISDIR(place.mode))
        return -ENOTDIR;
    int status = place_changeable(&place);
    if (status < 0)
        return status;
    return place.fs->rmdir ? place.fs->rmdir(&place) : place_readonly(&place);
}

int64_t sys_unlink(const struct sysargs *args)
{
    return unlink_at(AT_FDCWD, args->a[0]);
}

int64_t sys_rmdir(const struct sysargs *args)
{
    return rmdir_at(AT_FDCWD, args->a[0]);
}

int64_t sys_unlinkat(const struct sysargs *args)
{
    if (args->a[2] & ~(uint64_t)AT_REMOVEDIR)
        return -EINVAL;
    return args->a[2] ? rmdir_at((int)args->a[0], args->a[1])
                      : unlink_at((int)args->a[0], args->a[1]);
}

/* --- renaming -------------------------------------------------------------------------- */

/* Both paths are canonical, so this is a matter of text. */
static bool below(const struct place *place, const struct place *dir)
{
    return place->path_size > dir->path_size && place->path[dir->path_size] == '/' &&
           memcmp(place->path, dir->path, dir->path_size) == 0;
}

static int64_t rename_at(int old_dirfd, uint64_t old_path, int new_dirfd, uint64_t new_path,
                         uint64_t flags)
{
    const uint64_t both = RENAME_NOREPLACE_FLAG | RENAME_EXCHANGE_FLAG;
    if ((flags & ~both) || (flags & both) == both)
        return -EINVAL;
    PLACE_AT(old, old_dirfd, old_path, WALK_NAME | WALK_CREATE);
    if (old_status < 0)
        return old_status;
    PLACE_AT(new, new_dirfd, new_path, WALK_NAME | WALK_CREATE);
    if (new_status < 0)
        return new_status;
    if (old.last != LAST_NAME)
        return -EBUSY;
    if (new.last != LAST_NAME)
        return flags & RENAME_NOREPLACE_FLAG ? -EEXIST : -EBUSY;
    if (old.mode == 0)
        return -ENOENT;
    if (new.mode && (flags & RENAME_NOREPLACE_FLAG))
        return -EEXIST;
    if ((flags & RENAME_EXCHANGE_FLAG) && !new.mode)
        return -ENOENT;
    if ((flags & RENAME_EXCHANGE_FLAG) && new.slash && !S_ISDIR(new.mode))
        return -ENOTDIR;
    if (!S_ISDIR(old.mode) && (old.slash || (new.slash && !(flags & RENAME_EXCHANGE_FLAG))))
        return -ENOTDIR;
    if (below(&new, &old))
        return -EINVAL;
    if (below(&old, &new))
        return flags & RENAME_EXCHANGE_FLAG ? -EINVAL : -ENOTEMPTY;
    int status = place_changeable(&old);
    if (status == 0)
        status = place_changeable(&new);
    if (status < 0)
        return status;
    if (old.fs != new.fs)
        return -EXDEV;
    return old.fs->rename ? old.fs->rename(&old, &new, (uint32_t)flags) : place_readonly(&old);
}

int64_t sys_rename(const struct sysargs *args)
{
    return rename_at(AT_FDCWD, args->a[0], AT_FDCWD, args->a[1], 0);
}

int64_t sys_renameat(const struct sysargs *args)
{
    return rename_at((int)args->a[0], args->a[1], (int)args->a[2], args->a[3], 0);
}

int64_t sys_renameat2(const struct sysargs *args)
{
    return rename_at((int)args->a[0], args->a[1], (int)args->a[2], args->a[3], args->a[4]);
}
