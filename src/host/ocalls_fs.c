/* OCALLs on paths. Paths are absolute; the data window holds them one after the other. */
#include "host/ocall.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/ocall_stat.h"

static int64_t result(int64_t r)
{
    return r < 0 ? -errno : r;
}

/* Two paths that follow each other without NUL: the first has to be copied out. The first need not
 * be absolute if it is a symlink's text. */
static int two_paths(struct host_thread *t, const uint64_t args[6], bool first_is_text,
                     char ret_first[static PATH_MAX], const char **ret_second)
{
    int error = 0;
    if (args[0] == 0 || args[0] >= PATH_MAX)
        return args[0] ? -ENAMETOOLONG : -ENOENT;
    memcpy(ret_first, t->data, args[0]);
    ret_first[args[0]] = '\0';
    if (memchr(ret_first, '\0', args[0]) || (!first_is_text && ret_first[0] != '/'))
        return -EINVAL;
    *ret_second = ocall_path(t, args[0], args[1], &error);
    return *ret_second ? 0 : error;
}

int64_t ocall_stat(struct host_thread *t, const uint64_t args[6])
{
    int error;
    const char *path = ocall_path(t, 0, args[0], &error);
    if (!path)
        return error;
    struct stat st;
    if (fstatat(AT_FDCWD, path, &st, args[1] ? AT_SYMLINK_NOFOLLOW : 0) < 0)
        return -errno;
    ocall_stat_put(t->data, &st);
    return 0;
}

int64_t ocall_readlink(struct host_thread *t, const uint64_t args[6])
{
    int error;
    const char *path = ocall_path(t, 0, args[0], &error);
    if (!path)
        return error;
    /* The text replaces the path. */
    char text[PATH_MAX];
    ssize_t n = readlink(path, text, sizeof(text));
    if (n < 0)
        return -errno;
    memcpy(t->data, text, (size_t)n);
    return n;
}

int64_t ocall_mkdir(struct host_thread *t, const uint64_t args[6])
{
    int error;
    const char *path = ocall_path(t, 0, args[0], &error);
    return path ? result(mkdir(path, (mode_t)args[1])) : error;
}

int64_t ocall_unlink(struct host_thread *t, const uint64_t args[6])
{
    int error;
    const char *path = ocall_path(t, 0, args[0], &error);
    return path ? result(unlinkat(AT_FDCWD, path, args[1] ? AT_REMOVEDIR : 0)) : error;
}

int64_t ocall_rename(struct host_thread *t, const uint64_t args[6])
{
    char from[PATH_MAX];
    const char *to;
    int r = two_paths(t, args, false, from, &to);
    return r < 0 ? r : result(renameat2(AT_FDCWD, from, AT_FDCWD, to, (unsigned)args[2]));
}

int64_t ocall_link(struct host_thread *t, const uint64_t args[6])
{
    char from[PATH_MAX];
    const char *to;
    int r = two_paths(t, args, false, from, &to);
    return r < 0 ? r : result(link(from, to));
}

int64_t ocall_symlink(struct host_thread *t, const uint64_t args[6])
{
    char text[PATH_MAX];
    const char *path;
    int r = two_paths(t, args, true, text, &path);
    return r < 0 ? r : result(symlink(text, path));
}

int64_t ocall_chmod(struct host_thread *t, const uint64_t args[6])
{
    int error;
    const char *path = ocall_path(t, 0, args[0], &error);
    return path ? result(chmod(path, (mode_t)args[1])) : error;
}

int64_t ocall_chown(struct host_thread *t, const uint64_t args[6])
{
    int error;
    const char *path = ocall_path(t, 0, args[0], &error);
    return path ? result(fchownat(AT_FDCWD, path, (uid_t)args[1], (gid_t)args[2],
                                  args[3] ? AT_SYMLINK_NOFOLLOW : 0))
                : error;
}

int64_t ocall_utimens(struct host_thread *t, const uint64_t args[6])
{
    int error;
    const char *path = ocall_path(t, 0, args[0], &error);
    if (!path)
        return error;
    const struct timespec times[2] = {
        { .tv_sec = (time_t)args[1], .tv_nsec = (long)args[2] },
        { .tv_sec = (time_t)args[3], .tv_nsec = (long)args[4] },
    };
    return result(utimensat(AT_FDCWD, path, times, args[5] ? AT_SYMLINK_NOFOLLOW : 0));
}
