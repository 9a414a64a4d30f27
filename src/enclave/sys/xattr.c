/*
 * Extended attributes. Scratch files have them (vfs/tmpfs/xattr.c); all others are as on a file
 * system without any: none to read, none to set. xattr(7). Tier: enclave.
 */
#include "arch/string.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "sys/files.h"
#include "sys/sys.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"

sys_fn sys_getxattr, sys_lgetxattr, sys_fgetxattr, sys_listxattr, sys_llistxattr, sys_flistxattr,
    sys_setxattr, sys_lsetxattr, sys_fsetxattr, sys_removexattr, sys_lremovexattr, sys_fremovexattr;

#define NAME_SIZE   256u   /* XATTR_NAME_MAX and the NUL */
#define VALUE_MAX   65536u /* XATTR_SIZE_MAX */
#define FLAGS_KNOWN 3u

enum call { GET, SET, LIST, REMOVE };

struct request {
    enum call call;
    uint64_t name, value, size, flags; /* the program's */
};

static int64_t put(int status, char *bytes, uint32_t have, const struct request *r)
{
    if (status < 0)
        return status;
    uint64_t user = r->call == LIST ? r->name : r->value;
    uint64_t size = r->call == LIST ? r->value : r->size;
    if (size)
        status = have > size ? -ERANGE : copy_to_user((void *)user, bytes, have);
    heap_free(bytes);
    return status < 0 ? status : (int64_t)have;
}

static int64_t set(const struct place *place, const char *name, const struct request *r)
{
    if (r->flags & ~(uint64_t)FLAGS_KNOWN)
        return -EINVAL;
    if (r->size > VALUE_MAX)
        return -E2BIG;
    if (place->fs == &g_trusted_fs)
        return place_readonly(place);
    bool remote = place->fs == &g_remote_fs;
    if (place->fs != &g_tmpfs_fs && !remote)
        return -EOPNOTSUPP;
    char *value = heap_alloc(r->size + 1);
    if (!value)
        return -ENOMEM;
    int status = copy_from_user(value, (const void *)r->value, r->size);
    if (status == 0)
        status = remote
                     ? remote_xattr_set(place, name, value, (uint32_t)r->size, (uint32_t)r->flags)
                     : tmpfs_xattr_set(place->object, name, value, (uint32_t)r->size,
                                       (uint32_t)r->flags);
    heap_free(value);
    return status;
}

static int64_t answer(const struct place *place, const struct request *r)
{
    char name[NAME_SIZE], *bytes = NULL;
    uint32_t size = 0;
    bool scratch = place->fs == &g_tmpfs_fs, remote = place->fs == &g_remote_fs;
    int status;
    if (r->call != LIST) {
        int64_t n = strncpy_from_user(name, (const char *)r->name, sizeof(name));
        if (n == 0 || n == -ENAMETOOLONG)
            return -ERANGE;
        if (n < 0)
            return n;
    }
    switch (r->call) {
    case SET: return set(place, name, r);
    case GET:
        status = scratch  ? tmpfs_xattr_get(place->object, name, &bytes, &size)
                 : remote ? remote_xattr(place, SCRATCH_XATTR_GET, name, &bytes, &size)
                          : -ENODATA;
        return put(status, bytes, size, r);
    case LIST:
        if (!scratch && !remote)
            return 0;
        status = scratch ? tmpfs_xattr_list(place->object, &bytes, &size)
                         : remote_xattr(place, SCRATCH_XATTR_LIST, "", &bytes, &size);
        return put(status, bytes, size, r);
    default:
        if (place->fs == &g_trusted_fs)
            return place_readonly(place);
        if (remote)
            return remote_xattr(place, SCRATCH_XATTR_REMOVE, name, NULL, NULL);
        return scratch ? tmpfs_xattr_remove(place->object, name) : -ENODATA;
    }
}

/* a[0]: a path. */
static int64_t by_path(const struct sysargs *args, enum call call, uint32_t walk)
{
    struct request r = { call, args->a[1], args->a[2], args->a[3], args->a[4] };
    PLACE_AT(place, AT_FDCWD, args->a[0], walk);
    return place_status < 0 ? place_status : answer(&place, &r);
}

/* a[0]: a descriptor. */
static int64_t by_fd(const struct sysargs *args, enum call call)
{
    struct request r = { call, args->a[1], args->a[2], args->a[3], args->a[4] };
    char buf[PATH_BUF];
    CLEANUP(put_place) struct place place = { .fs = NULL };
    FILE_AT(args->a[0]);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (place_of_file(file, buf, &place) < 0)
        place.fs = &g_dev_fs; /* a pipe: no attributes */
    return answer(&place, &r);
}

int64_t sys_getxattr(const struct sysargs *args)
{
    return by_path(args, GET, 0);
}

int64_t sys_lgetxattr(const struct sysargs *args)
{
    return by_path(args, GET, WALK_NOFOLLOW);
}

int64_t sys_fgetxattr(const struct sysargs *args)
{
    return by_fd(args, GET);
}

int64_t sys_listxattr(const struct sysargs *args)
{
    return by_path(args, LIST, 0);
}

int64_t sys_llistxattr(const struct sysargs *args)
{
    return by_path(args, LIST, WALK_NOFOLLOW);
}

int64_t sys_flistxattr(const struct sysargs *args)
{
    return by_fd(args, LIST);
}

int64_t sys_setxattr(const struct sysargs *args)
{
    return by_path(args, SET, 0);
}

int64_t sys_lsetxattr(const struct sysargs *args)
{
    return by_path(args, SET, WALK_NOFOLLOW);
}

int64_t sys_fsetxattr(const struct sysargs *args)
{
    return by_fd(args, SET);
}

int64_t sys_removexattr(const struct sysargs *args)
{
    return by_path(args, REMOVE, 0);
}

int64_t sys_lremovexattr(const struct sysargs *args)
{
    return by_path(args, REMOVE, WALK_NOFOLLOW);
}

int64_t sys_fremovexattr(const struct sysargs *args)
{
    return by_fd(args, REMOVE);
}
