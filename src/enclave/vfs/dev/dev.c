#include "vfs/dev/dev.h"

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "vfs/fd.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"

static int64_t null_read(struct file *file UNUSED, void *user UNUSED, uint64_t size UNUSED,
                         uint64_t *pos UNUSED)
{
    return 0;
}

static int64_t null_write(struct file *file UNUSED, const void *user UNUSED, uint64_t size,
                          uint64_t *pos UNUSED)
{
    return (int64_t)size;
}

static int64_t full_write(struct file *file UNUSED, const void *user UNUSED, uint64_t size UNUSED,
                          uint64_t *pos UNUSED)
{
    return -ENOSPC;
}

static int64_t zero_read(struct file *file UNUSED, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    int status = clear_user(user, size);
    return status < 0 ? status : (int64_t)size;
}

static int64_t zero_pread_kernel(struct file *file UNUSED, void *buf, uint64_t size,
                                 uint64_t offset UNUSED)
{
    memset(buf, 0, size);
    return (int64_t)size;
}

static int64_t random_read(struct file *file UNUSED, void *user, uint64_t size,
                           uint64_t *pos UNUSED)
{
    uint64_t done = 0;
    while (done < size) {
        uint8_t bytes[256];
        uint64_t n = size - done < sizeof(bytes) ? size - done : sizeof(bytes);
        cpu_random(bytes, n);
        int status = copy_to_user((char *)user + done, bytes, n);
        memset(bytes, 0, sizeof(bytes));
        if (status < 0)
            return done ? (int64_t)done : status;
        done += n;
    }
    return (int64_t)done;
}

static int64_t dev_lseek(struct file *file UNUSED, int64_t offset UNUSED, int whence UNUSED)
{
    return 0;
}

static uint32_t dev_poll(struct file *file UNUSED, struct waiter *waiter UNUSED)
{
    return EPOLLIN | EPOLLOUT;
}

static int dev_fstat(struct file *file, struct kstat *ret);

#define OPS(NAME, READ, WRITE, PREAD)                                                          \
    {                                                                                          \
        .name = NAME, .read = READ, .write = WRITE, .pread_kernel = PREAD, .lseek = dev_lseek, \
        .fstat = dev_fstat, .poll = dev_poll,                                                  \
    }

static const struct file_ops null_ops = OPS("null", null_read, null_write, NULL);
static const struct file_ops zero_ops = OPS("zero", zero_read, null_write, zero_pread_kernel);
static const struct file_ops full_ops = OPS("full", zero_read, full_write, NULL);
static const struct file_ops random_ops = OPS("random", random_read, null_write, NULL);

#define MINOR_PTMX 2u

struct device {
    const char *name;
    uint32_t mode;
    uint32_t minor;
    const struct file_ops *ops;
    const char *target; /* symlink */
};

static const struct device devices[] = {
    { "", S_IFDIR | 0755, 0, NULL, NULL },
    { "fd", S_IFLNK | 0777, 0, NULL, "/proc/self/fd" },
    { "full", S_IFCHR | 0666, 7, &full_ops, NULL },
    { "null", S_IFCHR | 0666, 3, &null_ops, NULL },
    { "ptmx", S_IFCHR | 0666, MINOR_PTMX, NULL, NULL },
    { "pts", S_IFDIR | 0755, 0, NULL, NULL },
    { "random", S_IFCHR | 0666, 8, &random_ops, NULL },
    { "shm", S_IFDIR | 01777, 0, NULL, NULL },
    { "stderr", S_IFLNK | 0777, 0, NULL, "/proc/self/fd/2" },
    { "stdin", S_IFLNK | 0777, 0, NULL, "/proc/self/fd/0" },
    { "stdout", S_IFLNK | 0777, 0, NULL, "/proc/self/fd/1" },
    { "tty", S_IFCHR | 0666, 0, NULL, NULL },
    { "urandom", S_IFCHR | 0666, 9, &random_ops, NULL },
    { "zero", S_IFCHR | 0666, 5, &zero_ops, NULL },
};

/* Down from /dev/shm; the path is canonical. */
static int shm_lookup(struct place *place)
{
    if (!hub_is_here()) {
        if (place->path_size > 8)
            return remote_lookup(place);
        place->fs = &g_remote_fs;
        place->mode = S_IFDIR | 01777;
        return 0;
    }
    struct inode *root = tmpfs_shm();
    if (!root)
        return -ENOMEM;
    place->fs = &g_tmpfs_fs;
    place->object = root;
    place->dir = NULL;
    place->mode = tmpfs_mode(root);
    uint32_t at = 8;
    while (at < place->path_size) {
        if (!place->object)
            return 0; /* an ancestor is gone: absent */
        uint32_t start = ++at;
        while (at < place->path_size && place->path[at] != '/')
            at++;
        struct inode *dir = place->object;
        tmpfs_unref(place->dir);
        int status = tmpfs_lookup(dir, place->path + start, at - start, place);
        if (status < 0)
            return status;
    }
    return 0;
}

int dev_lookup(struct place *place)
{
    const char *name = place->path_size > 5 ? place->path + 5 : "";
    uint32_t size = place->path_size > 5 ? place->path_size - 5 : 0;
    if (size >= 3 && memcmp(name, "shm", 3) == 0 && (size == 3 || name[3] == '/'))
        return shm_lookup(place);
    if (size >= 3 && memcmp(name, "pts", 3) == 0 && (size == 3 || name[3] == '/'))
        return pts_lookup(place);
    for (uint32_t i = 0; i < ARRAY_SIZE(devices); i++) {
        if (strlen(devices[i].name) != size || memcmp(devices[i].name, name, size) != 0)
            continue;
        place->fs = &g_dev_fs;
        place->object = (void *)(uintptr_t)&devices[i];
        place->mode = devices[i].mode;
        break;
    }
    return 0;
}

static void device_stat(const struct device *d, struct kstat *ret)
{
    *ret = (struct kstat){
        .dev = DEV_DEV,
        .ino = (uint64_t)(d - devices) + 1,
        .nlink = S_ISDIR(d->mode) ? 2 : 1,
        .mode = d->mode,
        .rdev = d->ops             ? MAKEDEV(1, d->minor)
                : S_ISCHR(d->mode) ? MAKEDEV(5, d->minor)
                                   : 0,
        .size = d->target ? (int64_t)strlen(d->target) : 0,
        .blksize = 4096,
    };
}

void dev_terminal_stat(bool ptmx, struct kstat *ret)
{
    for (uint32_t i = 0; i < ARRAY_SIZE(devices); i++)
        if (strcmp(devices[i].name, ptmx ? "ptmx" : "tty") == 0)
            device_stat(&devices[i], ret);
}

static int dev_fstat(struct file *file, struct kstat *ret)
{
    device_stat(file->object, ret);
    return 0;
}

static int fs_stat(const struct place *place, struct kstat *ret)
{
    device_stat(place->object, ret);
    return 0;
}

static int64_t fs_readlink(const struct place *place, char *buf, uint64_t size)
{
    const struct device *d = place->object;
    uint64_t n = strlen(d->target) < size ? strlen(d->target) : size;
    memcpy(buf, d->target, n);
    return (int64_t)n;
}

/* The host's terminal: whichever of 0-2 is one. */
static int open_host_tty(struct file **ret)
{
    for (int fd = 0; fd < 3; fd++) {
        struct file *file = fd_get(fd);
        int handle = file ? host_handle_of(file) : -1;
        if (handle >= 0 && border_call1(OCALL_ISATTY, 1, (uint64_t)handle) == 1) {
            *ret = file;
            return 0;
        }
        file_unref(file);
    }
    return -ENXIO;
}

static int open_terminal(const struct device *d, uint32_t flags, struct file **ret)
{
    if (d->minor == MINOR_PTMX)
        return pts_open_master(flags, ret);
    int status = pts_open_own(flags, ret);
    return status == -ENODEV ? open_host_tty(ret) : status;
}

static int fs_open(const struct place *place, uint32_t flags, struct file **ret)
{
    const struct device *d = place->object;
    struct file *file = NULL;
    int status = 0;
    if (!d->ops)
        status = open_terminal(d, flags, &file);
    else if (!(file = file_new(d->ops, flags, place->object)))
        status = -ENOMEM;
    if (status < 0)
        return status;
    /* The host's terminal is the program's own standard stream. */
    if (!file->path && !file->ops->host_handle)
        status = file_set_path(file, place->path, place->path_size);
    if (status < 0) {
        file_unref(file);
        return status;
    }
    *ret = file;
    return 0;
}

static int fs_list(const struct place *dir UNUSED, struct listing *listing)
{
    for (uint32_t i = 1; i < ARRAY_SIZE(devices); i++) {
        int status = listing_append(listing, devices[i].name, (uint32_t)strlen(devices[i].name),
                                    i + 1, MODE_DT(devices[i].mode));
        if (status < 0)
            return status;
    }
    return 0;
}

const struct fs g_dev_fs = {
    .name = "dev",
    .magic = 0x01021994,
    .stat = fs_stat,
    .readlink = fs_readlink,
    .open = fs_open,
    .list = fs_list,
};
