/*
 * /dev/pts: the names of the tree's pseudo terminals (ipc/pty.h). Where this process is not the
 * root, the hub knows them. Tier: enclave.
 */
#include "arch/string.h"
#include "border/border.h"
#include "ipc/pty.h"
#include "process/process.h"
#include "tree/hub.h"
#include "vfs/dev/dev.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"

#define PATH      "/dev/pts"
#define PATH_SIZE 8u
#define MAGIC     0x1cd1u /* DEVPTS_SUPER_MAGIC */
#define PTMX      (-1)    /* place->number; else a terminal's */
#define FOLDER    (-2)

static int stat_terminal(int32_t number, struct kstat *ret)
{
    return hub_is_here() ? pty_stat((uint32_t)number, ret) : remote_tty_stat((uint32_t)number, ret);
}

/* As it is written, without zeros in front; -1. */
static int32_t number_of(const char *name, uint32_t size)
{
    uint32_t n = 0;
    if (size == 0 || size > 4 || (size > 1 && name[0] == '0'))
        return -1;
    for (uint32_t i = 0; i < size; i++) {
        if (name[i] < '0' || name[i] > '9')
            return -1;
        n = n * 10 + (uint32_t)(name[i] - '0');
    }
    return (int32_t)n;
}

int pts_lookup(struct place *place)
{
    const char *name = place->path + PATH_SIZE + 1;
    uint32_t size = place->path_size > PATH_SIZE ? place->path_size - PATH_SIZE - 1 : 0;
    struct kstat st;
    if (place->path_size == PATH_SIZE) {
        place->number = FOLDER;
        place->mode = S_IFDIR | 0755;
    } else if (size == 4 && memcmp(name, "ptmx", 4) == 0) {
        place->number = PTMX;
        place->mode = S_IFCHR | 0666;
    } else {
        place->number = number_of(name, size);
        if (place->number < 0 || stat_terminal(place->number, &st) < 0)
            return 0; /* absent */
        place->mode = st.mode;
    }
    place->fs = &g_pts_fs;
    return 0;
}

bool pts_place(const struct file *file, struct place *ret)
{
    int32_t number = pty_is(file) ? pty_number(file) : remote_tty_number(file);
    if (number < 0 || !file->path || strncmp(file->path, PATH "/", PATH_SIZE + 1) != 0)
        return false;
    uint32_t size = (uint32_t)strlen(file->path);
    ret->number = number_of(file->path + PATH_SIZE + 1, size - PATH_SIZE - 1);
    ret->fs = &g_pts_fs;
    ret->mode = S_IFCHR;
    return ret->number == number;
}

static int pts_stat(const struct place *place, struct kstat *ret)
{
    if (place->number >= 0)
        return stat_terminal(place->number, ret);
    dev_terminal_stat(true, ret);
    ret->dev = DEV_PTS;
    ret->ino = place->number == FOLDER ? 1 : 2;
    if (place->number == FOLDER) {
        ret->mode = place->mode;
        ret->nlink = 2;
        ret->rdev = 0;
    }
    return 0;
}

int pts_open_master(uint32_t flags, struct file **ret)
{
    return hub_is_here() ? pty_open_master(flags, ret) : remote_tty_open(TTY_MASTER, 0, flags, ret);
}

int pts_open_own(uint32_t flags, struct file **ret)
{
    return hub_is_here() ? pty_open_own(process_pid(), flags, ret)
                         : remote_tty_open(TTY_OWN, 0, flags, ret);
}

static int pts_open(const struct place *place, uint32_t flags, struct file **ret)
{
    struct file *file;
    int status = place->number == PTMX ? pts_open_master(flags, &file)
                 : hub_is_here()
                     ? pty_open((uint32_t)place->number, process_pid(), flags, &file)
                     : remote_tty_open(TTY_NUMBER, (uint32_t)place->number, flags, &file);
    if (status == 0 && (status = file_set_path(file, place->path, place->path_size)) < 0)
        file_unref(file);
    if (status == 0)
        *ret = file;
    return status;
}

static int pts_list(const struct place *dir UNUSED, struct listing *listing)
{
    int status = listing_append(listing, "ptmx", 4, 2, MODE_DT(S_IFCHR));
    bool here = hub_is_here();
    for (uint32_t n = 0; status == 0; n++) {
        int32_t next = here ? pty_next(n) : remote_tty_next(n);
        char name[12];
        if (next < 0)
            break;
        n = (uint32_t)next;
        int size = format(name, sizeof(name), "%u", n);
        status = listing_append(listing, name, (uint32_t)size, n + 3, MODE_DT(S_IFCHR));
    }
    return status;
}

static int change(const struct place *place, uint32_t mode, uint32_t uid, uint32_t gid)
{
    if (place->number < 0)
        return place_readonly(place);
    uint32_t number = (uint32_t)place->number;
    return hub_is_here() ? pty_change(number, mode, uid, gid)
                         : remote_tty_change(number, mode, uid, gid);
}

static int pts_chmod(const struct place *place, uint32_t mode)
{
    return change(place, mode & 07777, UINT32_MAX, UINT32_MAX);
}

static int pts_chown(const struct place *place, uint32_t uid, uint32_t gid)
{
    return change(place, UINT32_MAX, uid, gid);
}

const struct fs g_pts_fs = {
    .name = "devpts",
    .magic = MAGIC,
    .stat = pts_stat,
    .open = pts_open,
    .list = pts_list,
    .chmod = pts_chmod,
    .chown = pts_chown,
};
