/*
 * Opening and closing, the working directory and the umask. Tier: enclave.
 */
#include "arch/string.h"
#include "mm/shared.h"
#include "mm/uaccess.h"
#include "sys/sys.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/node.h"

sys_fn sys_open, sys_openat, sys_creat, sys_openat2, sys_close, sys_close_range, sys_umask,
    sys_getcwd, sys_chdir, sys_fchdir;

static int64_t open_at(int dirfd, const char *path, uint32_t flags, uint32_t mode)
{
    const uint32_t known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND |
                           O_NONBLOCK | O_SYNC | FASYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY |
                           O_NOFOLLOW | O_NOATIME | O_CLOEXEC | O_PATH | __O_TMPFILE;
    flags &= known;
    struct file *file;
    int status = vfs_open_at(dirfd, path, flags, mode, &file);
    if (status < 0)
        return status;
    if ((flags & O_TRUNC) && shared_any())
        shared_refresh(file);
    int fd = fd_install(file, 0, flags & O_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}

int64_t sys_open(const struct sysargs *args)
{
    return open_at(AT_FDCWD, (const char *)args->a[0], (uint32_t)args->a[1], (uint32_t)args->a[2]);
}

int64_t sys_openat(const struct sysargs *args)
{
    return open_at((int)args->a[0], (const char *)args->a[1], (uint32_t)args->a[2],
                   (uint32_t)args->a[3]);
}

int64_t sys_creat(const struct sysargs *args)
{
    return open_at(AT_FDCWD, (const char *)args->a[0], O_CREAT | O_WRONLY | O_TRUNC,
                   (uint32_t)args->a[1]);
}

/* glibc does without; nobody else asks. */
int64_t sys_openat2(const struct sysargs *args UNUSED)
{
    return -ENOSYS;
}

int64_t sys_close(const struct sysargs *args)
{
    return fd_close((int)args->a[0]);
}

#define CLOSE_RANGE_UNSHARE 2u
#define CLOSE_RANGE_CLOEXEC 4u

int64_t sys_close_range(const struct sysargs *args)
{
    uint32_t first = (uint32_t)args->a[0], last = (uint32_t)args->a[1],
             flags = (uint32_t)args->a[2];
    if (first > last || (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)))
        return -EINVAL;
    if (first > INT32_MAX)
        return 0;
    for (int fd = fd_next((int)first); fd >= 0 && (uint32_t)fd <= last; fd = fd_next(fd + 1)) {
        /* Another thread may close it first: that is as good. */
        if (flags & CLOSE_RANGE_CLOEXEC)
            (void)fd_set_cloexec(fd, true);
        else
            (void)fd_close(fd);
    }
    return 0;
}

int64_t sys_umask(const struct sysargs *args)
{
    return umask_set((uint32_t)args->a[0]);
}

/* --- working directory ----------------------------------------------------------------- */

int64_t sys_getcwd(const struct sysargs *args)
{
    char buf[PATH_BUF];
    struct place place;
    struct file *cwd = cwd_get();
    int status = place_of_file(cwd, buf, &place);
    file_unref(cwd);
    if (status < 0)
        return status;
    uint64_t size = place.path_size + 1;
    struct kstat st;
    if (place_stat(&place, &st) < 0 || st.nlink == 0)
        status = -ENOENT;
    else if (size > args->a[1])
        status = -ERANGE;
    else
        status = copy_to_user((void *)args->a[0], place.path, size);
    place_done(&place);
    return status < 0 ? status : (int64_t)size;
}

static int enter(const struct place *place)
{
    struct kstat st;
    if (!S_ISDIR(place->mode))
        return -ENOTDIR;
    int status = place_stat(place, &st);
    if (status < 0)
        return status;
    if (!may_access(&st, 1))
        return -EACCES;
    struct file *dir;
    status = dir_open(place, O_PATH | O_DIRECTORY, &dir);
    if (status == 0)
        cwd_set(dir);
    return status;
}

int64_t sys_chdir(const struct sysargs *args)
{
    char buf[PATH_BUF];
    struct place place;
    int status = place_at(AT_FDCWD, (const char *)args->a[0], 0, buf, &place);
    if (status < 0)
        return status;
    status = enter(&place);
    place_done(&place);
    return status;
}

int64_t sys_fchdir(const struct sysargs *args)
{
    char buf[PATH_BUF];
    struct place place;
    struct file *file = fd_get((int)args->a[0]);
    if (!file)
        return -EBADF;
    int status = place_of_file(file, buf, &place);
    file_unref(file);
    if (status < 0)
        return -ENOTDIR;
    status = enter(&place);
    place_done(&place);
    return status;
}
