#include "vfs/host/host.h"

#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/signal.h"
#include "thread/threads.h"
#include "tree/ptable.h"
#include "vfs/host/outputs.h"
#include "vfs/linux.h"

#define HANDLE_MAX   0x7fffffff
#define PREFAULT_MIN 4096u

static bool hidden(const struct place *place)
{
    return output_hidden(place->path, place->path_size, place->record);
}

int host_made(const struct place *place)
{
    return output_made(place->path, place->path_size, place->record, false);
}

/* --- metadata -------------------------------------------------------------------------- */

static int64_t sane_ns(uint32_t ns)
{
    return ns < NS_PER_S ? (int64_t)ns : 0;
}

/* The host's word as a struct stat of ours. -EIO if it makes no sense. */
static int from_host(const struct ocall_stat *h, uint32_t record, struct kstat *ret)
{
    uint32_t type = (uint32_t)h->mode & S_IFMT;
    if (h->mode > 0177777 || h->size > FILE_SIZE_MAX ||
        (type != S_IFREG && type != S_IFDIR && type != S_IFLNK && type != S_IFCHR &&
         type != S_IFBLK && type != S_IFIFO && type != S_IFSOCK))
        return -EIO;
    *ret = (struct kstat){
        .dev = DEV_HOST | (h->dev & 0xffff),
        .ino = h->ino,
        .nlink = h->nlink,
        .mode = (uint32_t)h->mode,
        .uid = (uint32_t)h->uid,
        .gid = (uint32_t)h->gid,
        .rdev = h->rdev,
        .size = (int64_t)h->size,
        .blksize = 4096,
        .blocks = (int64_t)(h->blocks & FILE_SIZE_MAX),
        .atime_sec = h->atime_sec,
        .atime_nsec = sane_ns(h->atime_nsec),
        .mtime_sec = h->mtime_sec,
        .mtime_nsec = sane_ns(h->mtime_nsec),
        .ctime_sec = h->ctime_sec,
        .ctime_nsec = sane_ns(h->ctime_nsec),
    };
    if (record != MANIFEST_NONE) {
        ret->dev = g_manifest.files[record].dev;
        ret->ino = g_manifest.files[record].ino;
    }
    return 0;
}

static int stat_path(const struct place *place, struct kstat *ret)
{
    struct ocall_stat st;
    border_put(0, place->path, place->path_size);
    int64_t status = border_call2(OCALL_STAT, 0, place->path_size, 1);
    if (status < 0)
        return (int)status;
    border_get(&st, 0, sizeof(st));
    return from_host(&st, place->record, ret);
}

int host_stat_handle(int handle, uint32_t record, struct kstat *ret)
{
    struct ocall_stat st;
    int64_t status = border_call1(OCALL_FSTAT, 0, (uint64_t)handle);
    if (status < 0)
        return (int)status;
    border_get(&st, 0, sizeof(st));
    return from_host(&st, record, ret);
}

int host_lookup(struct place *place)
{
    struct kstat st;
    place->fs = &g_host_fs;
    place->mode = 0;
    if (hidden(place))
        return 0;
    int status = stat_path(place, &st);
    if (status == -ENOENT || status == -ENOTDIR)
        return 0;
    if (status < 0)
        return status;
    place->mode = st.mode;
    return 0;
}

static int fs_stat(const struct place *place, struct kstat *ret)
{
    return stat_path(place, ret);
}

static int64_t fs_readlink(const struct place *place, char *buf, uint64_t size)
{
    border_put(0, place->path, place->path_size);
    int64_t n = border_call1(OCALL_READLINK, PATH_BUF - 1, place->path_size);
    if (n < 0)
        return n;
    if ((uint64_t)n > size)
        n = (int64_t)size;
    border_get(buf, 0, (uint64_t)n);
    /* No file system has it; our paths end at a NUL. */
    return memchr(buf, '\0', (size_t)n) ? -EIO : n;
}

/* --- open files ------------------------------------------------------------------------ */

struct host_file {
    int handle;      /* never O_APPEND: with it, pwrite(2) appends too */
    int append;      /* a second one, with O_APPEND; -1: none */
    bool stdio;      /* not ours to close */
    uint32_t record; /* or MANIFEST_NONE */
};

static struct host_file *host_of(const struct file *file)
{
    return file->object;
}

int host_handle_of(const struct file *file)
{
    if (file->ops != &g_host_file_ops && file->ops != &g_host_stream_ops)
        return -1;
    return host_of(file)->handle;
}

/* A blocking OCALL came back with -EINTR: 0 to try again. */
static int interrupted(void)
{
    if (process_ending())
        return -EINTR;
    return signal_deliverable(current()) ? -ERESTARTSYS : 0;
}

/* One transfer through the window: at most OCALL_DATA_SIZE bytes. offset NULL: the host's own. */
static int64_t read_once(int handle, void *user, uint64_t size, const uint64_t *offset)
{
    if (size > OCALL_DATA_SIZE)
        size = OCALL_DATA_SIZE;
    for (;;) {
        int status = user_prefault(user, size, true);
        /* The buffer may be longer than what is mapped, as long as the data are not. */
        while (status == -EFAULT && size > PREFAULT_MIN) {
            size /= 2;
            status = user_prefault(user, size, true);
        }
        if (status < 0)
            return status;
        int64_t n = offset ? border_call3(OCALL_PREAD, size, (uint64_t)handle, size, *offset)
                           : border_call2(OCALL_READ, size, (uint64_t)handle, size);
        if (n == -EINTR && (status = interrupted()) == 0)
            continue;
        if (n == -EINTR)
            return status;
        if (n <= 0)
            return n;
        status = border_get_user(user, 0, (uint64_t)n);
        return status < 0 ? status : n;
    }
}

static int64_t write_once(int handle, const void *user, uint64_t size, const uint64_t *offset)
{
    if (size > OCALL_DATA_SIZE)
        size = OCALL_DATA_SIZE;
    for (;;) {
        int status = border_put_user(0, user, size);
        if (status < 0)
            return status;
        int64_t n = offset ? border_call3(OCALL_PWRITE, size, (uint64_t)handle, size, *offset)
                           : border_call2(OCALL_WRITE, size, (uint64_t)handle, size);
        if (n == -EINTR && (status = interrupted()) == 0)
            continue;
        if (n == -EINTR)
            return status;
        return n;
    }
}

/* Regular files: the offset is ours. */
static int64_t file_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    uint64_t offset;
    uint64_t want = pos_take(file, pos, size, FILE_SIZE_MAX, &offset);
    uint64_t done = 0;
    int64_t n = 0;
    while (done < want) {
        uint64_t at = offset + done;
        n = read_once(host_of(file)->handle, (char *)user + done, want - done, &at);
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    pos_give_back(file, pos, want - done);
    return done ? (int64_t)done : n;
}

/* O_APPEND: the host kernel finds the end, which others may move too; without a handle for that
 * (the flag was set later) we look where it is. The offset follows. */
static int64_t file_append(struct file *file, const void *user, uint64_t size, uint64_t *pos)
{
    const struct host_file *h = host_of(file);
    uint64_t done = 0;
    int64_t n = 0;
    struct kstat st;
    while (done < size) {
        uint64_t end = 0;
        if (h->append < 0) {
            n = host_stat_handle(h->handle, MANIFEST_NONE, &st);
            if (n < 0)
                break;
            end = (uint64_t)st.size;
        }
        n = write_once(h->append < 0 ? h->handle : h->append, (const char *)user + done,
                       size - done, h->append < 0 ? &end : NULL);
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    if (done && pos == &file->pos && host_stat_handle(h->handle, MANIFEST_NONE, &st) == 0)
        pos_set(file, (uint64_t)st.size);
    return done ? (int64_t)done : n;
}

static int64_t file_write(struct file *file, const void *user, uint64_t size, uint64_t *pos)
{
    if (file->flags & O_APPEND)
        return file_append(file, user, size, pos);
    uint64_t offset;
    uint64_t want = pos_take(file, pos, size, FILE_SIZE_MAX, &offset);
    uint64_t done = 0;
    int64_t n = want || !size ? 0 : -EFBIG;
    while (done < want) {
        uint64_t at = offset + done;
        n = write_once(host_of(file)->handle, (const char *)user + done, want - done, &at);
        if (n <= 0)
            break;
        done += (uint64_t)n;
    }
    pos_give_back(file, pos, want - done);
    return done ? (int64_t)done : n;
}

static int64_t file_pread_kernel(struct file *file, void *buf, uint64_t size, uint64_t offset)
{
    uint64_t done = 0;
    while (done < size) {
        uint64_t want = size - done < OCALL_DATA_SIZE ? size - done : OCALL_DATA_SIZE;
        int64_t n =
            border_call3(OCALL_PREAD, want, (uint64_t)host_of(file)->handle, want, offset + done);
        if (n == -EINTR && !process_ending())
            continue;
        if (n < 0)
            return done ? (int64_t)done : n;
        if (n == 0)
            break;
        border_get((char *)buf + done, 0, (uint64_t)n);
        done += (uint64_t)n;
    }
    return (int64_t)done;
}

static int64_t file_pwrite_kernel(struct file *file, const void *buf, uint64_t size,
                                  uint64_t offset)
{
    struct kstat st;
    int status = host_stat_handle(host_of(file)->handle, MANIFEST_NONE, &st);
    if (status < 0)
        return status;
    uint64_t end = (uint64_t)st.size;
    uint64_t want = offset >= end ? 0 : end - offset < size ? end - offset : size;
    uint64_t done = 0;
    while (done < want) {
        uint64_t n = want - done < OCALL_DATA_SIZE ? want - done : OCALL_DATA_SIZE;
        border_put(0, (const char *)buf + done, n);
        int64_t wrote =
            border_call3(OCALL_PWRITE, n, (uint64_t)host_of(file)->handle, n, offset + done);
        if (wrote == -EINTR && !process_ending())
            continue;
        if (wrote <= 0)
            return wrote < 0 ? wrote : -EIO;
        done += (uint64_t)wrote;
    }
    return (int64_t)done;
}

/* Open files of one path: what the manifest can tell of them is the same. */
static bool file_same(const struct file *a, const struct file *b)
{
    return a->object == b->object || (a->path && b->path && strcmp(a->path, b->path) == 0);
}

static int64_t file_lseek(struct file *file, int64_t offset, int whence)
{
    struct kstat st = { .size = 0 };
    if (whence == SEEK_END || whence == SEEK_DATA || whence == SEEK_HOLE) {
        int status = host_stat_handle(host_of(file)->handle, MANIFEST_NONE, &st);
        if (status < 0)
            return status;
    }
    return file_seek(file, offset, whence, (uint64_t)st.size);
}

static int file_fstat(struct file *file, struct kstat *ret)
{
    return host_stat_handle(host_of(file)->handle, host_of(file)->record, ret);
}

static int file_ftruncate(struct file *file, uint64_t size)
{
    return (int)border_call2(OCALL_FTRUNCATE, 0, (uint64_t)host_of(file)->handle, size);
}

static int file_fsync(struct file *file, bool data_only)
{
    return (int)border_call2(OCALL_FSYNC, 0, (uint64_t)host_of(file)->handle, data_only);
}

static uint32_t file_poll(struct file *file UNUSED, struct waiter *waiter UNUSED)
{
    return EPOLLIN | EPOLLOUT;
}

static void file_release(struct file *file)
{
    struct host_file *h = host_of(file);
    if (!h->stdio)
        border_call1(OCALL_CLOSE, 0, (uint64_t)h->handle);
    if (h->append >= 0)
        border_call1(OCALL_CLOSE, 0, (uint64_t)h->append);
    heap_free(h);
}

const struct file_ops g_host_file_ops = {
    .name = "host",
    .read = file_read,
    .write = file_write,
    .pread_kernel = file_pread_kernel,
    .pwrite_kernel = file_pwrite_kernel,
    .same = file_same,
    .lseek = file_lseek,
    .fstat = file_fstat,
    .ftruncate = file_ftruncate,
    .fsync = file_fsync,
    .poll = file_poll,
    .release = file_release,
    .travel = TRAVEL_HOST,
};

/* Streams: terminals, pipes, and whatever stands on 0-2: the offset is the host's, which others
 * share. */
static int64_t stream_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    const uint64_t *offset = pos && pos != &file->pos ? pos : NULL;
    int64_t n = read_once(host_of(file)->handle, user, size, offset);
    if (n > 0 && offset)
        *pos += (uint64_t)n;
    return n;
}

static int64_t stream_write(struct file *file, const void *user, uint64_t size, uint64_t *pos)
{
    const uint64_t *offset = pos && pos != &file->pos ? pos : NULL;
    uint64_t done = 0;
    int64_t n = 0;
    do {
        n = write_once(host_of(file)->handle, (const char *)user + done, size - done, offset);
        if (n <= 0)
            break;
        done += (uint64_t)n;
        if (offset)
            *pos += (uint64_t)n;
    } while (done < size);
    if (n == -EPIPE)
        signal_send_thread(current(), &(struct signal_info){ .number = 13 });
    return done ? (int64_t)done : n;
}

static int64_t stream_lseek(struct file *file, int64_t offset, int whence)
{
    if (whence < SEEK_SET || whence > SEEK_HOLE)
        return -EINVAL;
    int64_t status = border_call3(OCALL_LSEEK, 0, (uint64_t)host_of(file)->handle, (uint64_t)offset,
                                  (uint64_t)whence);
    if (status < 0)
        return status;
    uint64_t at = border_out(0);
    return at > FILE_SIZE_MAX ? -EIO : (int64_t)at;
}

#define TIOCGPGRP 0x540fu
#define TIOCSPGRP 0x5410u
#define TIOCGSID  0x5429u

/* Groups and sessions are the tree's; of the host we only ask whether this is a terminal. */
static int64_t stream_job_control(struct file *file, uint64_t request, uint64_t arg)
{
    int64_t status = border_call4(OCALL_IOCTL, 0, (uint64_t)host_of(file)->handle, TIOCGPGRP, 0, 4);
    if (status < 0)
        return status;
    int32_t id = 0;
    if (request == TIOCSPGRP) {
        status = GET_USER(&id, (const int32_t *)arg);
        return status < 0 ? status : process_set_tty_pgrp(id);
    }
    /* The terminal is the first session's. */
    int32_t session = process_sid(0);
    if (session != PTABLE_ROOT_PID)
        return -ENOTTY;
    id = request == TIOCGSID ? session : process_tty_pgrp();
    return PUT_USER((int32_t *)arg, &id);
}

static int64_t stream_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    if (request == TIOCGPGRP || request == TIOCSPGRP || request == TIOCGSID)
        return stream_job_control(file, request, arg);
    static const struct {
        uint32_t request;
        uint8_t in, out;
    } known[] = {
        { 0x5401, 0, 36 },                                       /* TCGETS */
        { 0x5402, 36, 0 }, { 0x5403, 36, 0 }, { 0x5404, 36, 0 }, /* TCSETS, W, F */
        { 0x5413, 0, 8 },                                        /* TIOCGWINSZ */
        { 0x541b, 0, 4 },                                        /* FIONREAD */
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (known[i].request != (uint32_t)request)
            continue;
        uint8_t data[36] = { 0 };
        if (known[i].in) {
            int status = copy_from_user(data, (const void *)arg, known[i].in);
            if (status < 0)
                return status;
            border_put(0, data, known[i].in);
        }
        int64_t status = border_call4(OCALL_IOCTL, 0, (uint64_t)host_of(file)->handle,
                                      known[i].request, known[i].in, known[i].out);
        if (status < 0)
            return status;
        if (!known[i].out)
            return 0;
        border_get(data, 0, known[i].out);
        return copy_to_user((void *)arg, data, known[i].out);
    }
    return -ENOTTY;
}

static uint32_t stream_poll(struct file *file, struct waiter *waiter UNUSED)
{
    struct ocall_pollfd fd = { .handle = host_of(file)->handle,
                               .events = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP };
    border_put(0, &fd, sizeof(fd));
    if (border_call2(OCALL_POLL, 1, 1, 0) <= 0)
        return 0;
    border_get(&fd, 0, sizeof(fd));
    return fd.revents & (EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP);
}

static int stream_host_handle(struct file *file)
{
    return host_of(file)->handle;
}

static int stream_fsync(struct file *file, bool data_only)
{
    return file_fsync(file, data_only);
}

const struct file_ops g_host_stream_ops = {
    .name = "stream",
    .read = stream_read,
    .write = stream_write,
    .lseek = stream_lseek,
    .fstat = file_fstat,
    .ftruncate = file_ftruncate,
    .fsync = stream_fsync,
    .ioctl = stream_ioctl,
    .poll = stream_poll,
    .host_handle = stream_host_handle,
    .release = file_release,
    .travel = TRAVEL_HOST,
};

/* Takes over the handle on success. */
static int wrap(int handle, bool stdio, const struct file_ops *ops, uint32_t flags, uint32_t record,
                struct file **ret)
{
    struct host_file *h = heap_alloc(sizeof(*h));
    struct file *file = h ? file_new(ops, flags, h) : NULL;
    if (!file) {
        heap_free(h);
        return -ENOMEM;
    }
    *h = (struct host_file){ .handle = handle, .append = -1, .stdio = stdio, .record = record };
    if (record != MANIFEST_NONE)
        file->record = &g_manifest.files[record];
    *ret = file;
    return 0;
}

int host_stream(int handle, uint32_t flags, struct file **ret)
{
    return wrap(handle, true, &g_host_stream_ops, flags, MANIFEST_NONE, ret);
}

void host_share(const struct file *file, struct host_share *ret)
{
    const struct host_file *h = host_of(file);
    *ret = (struct host_share){ .handle = h->handle,
                                .append = h->append,
                                .stdio = h->stdio,
                                .stream = file->ops == &g_host_stream_ops };
}

int host_arrive(const struct host_share *from, uint32_t flags, const char *path, uint32_t path_size,
                struct file **ret)
{
    struct file *file;
    uint32_t record = path ? manifest_find(&g_manifest, path, path_size) : MANIFEST_NONE;
    int status = wrap(from->handle, from->stdio,
                      from->stream ? &g_host_stream_ops : &g_host_file_ops, flags, record, &file);
    if (status < 0)
        return status;
    host_of(file)->append = from->append;
    if (path && (status = file_set_path(file, path, path_size)) < 0) {
        file_unref(file);
        return status;
    }
    *ret = file;
    return 0;
}

static int open_host(const struct place *place, uint32_t flags, uint32_t mode, struct file **ret)
{
    const uint32_t passed = O_ACCMODE | O_TRUNC | O_CREAT | O_EXCL | O_NONBLOCK | O_DSYNC | O_SYNC;
    border_put(0, place->path, place->path_size);
    int64_t handle =
        border_call3(OCALL_OPEN, HANDLE_MAX, place->path_size, (flags & passed) | O_NOFOLLOW, mode);
    if (handle < 0)
        return (int)handle;
    struct kstat st;
    struct file *file = NULL;
    int status = host_stat_handle((int)handle, MANIFEST_NONE, &st);
    if (status == 0 && S_ISDIR(st.mode))
        status = -EISDIR;
    if (status == 0)
        status = wrap((int)handle, false, S_ISREG(st.mode) ? &g_host_file_ops : &g_host_stream_ops,
                      flags, place->record, &file);
    if (status < 0) {
        border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
        return status;
    }
    if ((status = file_set_path(file, place->path, place->path_size)) < 0) {
        file_unref(file);
        return status;
    }
    if (S_ISREG(st.mode) && (flags & O_APPEND) && (flags & O_ACCMODE) != O_RDONLY) {
        border_put(0, place->path, place->path_size);
        host_of(file)->append = (int)border_call3(OCALL_OPEN, HANDLE_MAX, place->path_size,
                                                  O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK, 0);
    }
    *ret = file;
    return 0;
}

static int fs_open(const struct place *place, uint32_t flags, struct file **ret)
{
    return open_host(place, flags & ~(uint32_t)O_CREAT, 0, ret);
}

/* An output that the host has already is emptied: nothing of it is ever read. */
static int fs_create(const struct place *place, uint32_t mode, uint32_t flags, struct file **ret)
{
    bool output = hidden(place);
    if (output)
        flags = (flags & ~(uint32_t)O_EXCL) | O_TRUNC;
    struct file *file;
    int status = open_host(place, flags | O_CREAT, mode, &file);
    if (status < 0)
        return status;
    if ((status = host_made(place)) < 0) {
        file_unref(file);
        return status;
    }
    *ret = file;
    return 0;
}

/* --- names ----------------------------------------------------------------------------- */

static int path_call(enum ocall_nr nr, const struct place *place, uint64_t arg)
{
    border_put(0, place->path, place->path_size);
    return (int)border_call2(nr, 0, place->path_size, arg);
}

static int fs_mkdir(const struct place *place, uint32_t mode)
{
    bool output = hidden(place);
    int status = path_call(OCALL_MKDIR, place, mode);
    if (status == -EEXIST && output)
        status = 0;
    return status < 0 ? status : host_made(place);
}

static int gone(const struct place *place, int status)
{
    if (status == 0)
        output_gone(place->path, place->path_size, false);
    return status;
}

static int fs_unlink(const struct place *place)
{
    return gone(place, path_call(OCALL_UNLINK, place, 0));
}

static int fs_rmdir(const struct place *place)
{
    return gone(place, path_call(OCALL_UNLINK, place, 1));
}

/* An output's name on the host may be taken by what an earlier run left: that goes first. */
int host_clear_stale(const struct place *place)
{
    if (!hidden(place))
        return 0;
    int status = path_call(OCALL_UNLINK, place, 0);
    return status == -ENOENT ? 0 : status;
}

static int two_paths(enum ocall_nr nr, const char *a, uint32_t a_size, const char *b,
                     uint32_t b_size, uint64_t flags)
{
    border_put(0, a, a_size);
    border_put(a_size, b, b_size);
    return (int)border_call3(nr, 0, a_size, b_size, flags);
}

static int fs_symlink(const struct place *place, const char *target, uint32_t size)
{
    int status = host_clear_stale(place);
    if (status == 0)
        status = two_paths(OCALL_SYMLINK, target, size, place->path, place->path_size, 0);
    return status < 0 ? status : host_made(place);
}

static int fs_link(const struct place *old, const struct place *new)
{
    int status = host_clear_stale(new);
    if (status == 0)
        status = two_paths(OCALL_LINK, old->path, old->path_size, new->path, new->path_size, 0);
    return status < 0 ? status : host_made(new);
}

static int fs_rename(const struct place *old, const struct place *new, uint32_t flags)
{
    int status = host_clear_stale(new);
    if (status == 0)
        status =
            two_paths(OCALL_RENAME, old->path, old->path_size, new->path, new->path_size, flags);
    if (status < 0)
        return status;
    bool whole = S_ISDIR(old->mode) || S_ISDIR(new->mode);
    if (!(flags & RENAME_EXCHANGE_FLAG))
        output_gone(old->path, old->path_size, whole);
    return output_made(new->path, new->path_size, new->record, whole);
}

static int fs_chmod(const struct place *place, uint32_t mode)
{
    return path_call(OCALL_CHMOD, place, mode);
}

static int fs_chown(const struct place *place, uint32_t uid, uint32_t gid)
{
    border_put(0, place->path, place->path_size);
    return (int)border_call4(OCALL_CHOWN, 0, place->path_size, uid, gid, 1);
}

static void split_ns(int64_t ns, uint64_t *ret_sec, uint64_t *ret_nsec)
{
    int64_t nsec = ns % (int64_t)NS_PER_S;
    int64_t sec = ns / (int64_t)NS_PER_S;
    if (nsec < 0) {
        nsec += (int64_t)NS_PER_S;
        sec--;
    }
    *ret_sec = ns == UTIME_OMIT_NS ? 0 : (uint64_t)sec;
    *ret_nsec = ns == UTIME_OMIT_NS ? UTIME_OMIT : (uint64_t)nsec;
}

static int fs_utimens(const struct place *place, int64_t atime, int64_t mtime)
{
    uint64_t asec, ansec, msec, mnsec;
    split_ns(atime, &asec, &ansec);
    split_ns(mtime, &msec, &mnsec);
    border_put(0, place->path, place->path_size);
    return (int)border_call(OCALL_UTIMENS, 0, place->path_size, asec, ansec, msec, mnsec, 1);
}

static int fs_truncate(const struct place *place, uint64_t size)
{
    border_put(0, place->path, place->path_size);
    int64_t handle = border_call3(OCALL_OPEN, HANDLE_MAX, place->path_size,
                                  O_WRONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (handle < 0)
        return (int)handle;
    int status = (int)border_call2(OCALL_FTRUNCATE, 0, (uint64_t)handle, size);
    border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
    return status;
}

/* --- listings -------------------------------------------------------------------------- */

static bool name_ok(const char *name, uint32_t size)
{
    if (size == 0 || size > NAME_MAX_SIZE || (name[0] == '.' && size == 1) ||
        (size == 2 && name[0] == '.' && name[1] == '.'))
        return false;
    return !memchr(name, '/', size) && !memchr(name, '\0', size);
}

/* A name that the host has in dir: shown if it belongs to the program's world and is the host's
 * there. path holds dir's path and room for a name. */
static int add_name(const struct place *dir, char *path, struct listing *listing,
                    const struct ocall_dirent *e, const char *name)
{
    uint64_t ino = e->ino;
    uint8_t type = e->type <= 14 ? e->type : DT_UNKNOWN;
    uint32_t head = dir->path_size == 1 ? 0 : dir->path_size;
    uint32_t size = head + 1 + e->name_size;
    if (size >= PATH_BUF)
        return 0; /* no call could name it */
    path[head] = '/';
    memcpy(path + head + 1, name, e->name_size);
    uint32_t record = MANIFEST_NONE;
    if (dir->record != MANIFEST_NONE) {
        record = manifest_find(&g_manifest, path, size);
        if (record == MANIFEST_NONE && domain_of(dir->record) != DOMAIN_ALLOWED)
            return 0;
        if (record != MANIFEST_NONE) {
            if (g_manifest.files[record].class != MANIFEST_ALLOWED)
                return 0;
            ino = g_manifest.files[record].ino;
        }
    }
    if (output_hidden(path, size, record))
        return 0;
    return listing_append(listing, name, e->name_size, ino, type);
}

#define LIST_ROUNDS_MAX 100000u /* a host that never comes to an end */

static int list_handle(uint64_t handle, const struct place *dir, struct listing *listing)
{
    char path[PATH_BUF];
    memcpy(path, dir->path, dir->path_size);
    for (uint32_t round = 0; round < LIST_ROUNDS_MAX; round++) {
        int64_t got = border_call1(OCALL_GETDENTS, OCALL_DATA_SIZE, handle);
        if (got <= 0)
            return (int)got;
        for (uint64_t at = 0; at < (uint64_t)got;) {
            struct ocall_dirent e;
            char name[NAME_MAX_SIZE + 1];
            uint64_t left = (uint64_t)got - at;
            if (left < sizeof(e))
                return -EIO;
            border_get(&e, at, sizeof(e));
            if (e.record_size > left || e.record_size % 8 || e.record_size < sizeof(e) ||
                e.name_size > e.record_size - sizeof(e))
                return -EIO;
            if (e.name_size <= NAME_MAX_SIZE) {
                border_get(name, at + sizeof(e), e.name_size);
                name[e.name_size] = '\0';
                if (name_ok(name, e.name_size)) {
                    int status = add_name(dir, path, listing, &e, name);
                    if (status < 0)
                        return status;
                }
            }
            at += e.record_size;
        }
    }
    return -EIO;
}

static int fs_list(const struct place *dir, struct listing *listing)
{
    border_put(0, dir->path, dir->path_size);
    int64_t handle = border_call3(OCALL_OPEN, HANDLE_MAX, dir->path_size,
                                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (handle < 0)
        return (int)handle;
    int status = list_handle((uint64_t)handle, dir, listing);
    border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
    if (status == 0 && dir->record != MANIFEST_NONE)
        status = listing_records(listing, dir->record);
    return status;
}

const struct fs g_host_fs = {
    .name = "host",
    .magic = 0xef53,
    .stat = fs_stat,
    .readlink = fs_readlink,
    .open = fs_open,
    .list = fs_list,
    .create = fs_create,
    .mkdir = fs_mkdir,
    .symlink = fs_symlink,
    .link = fs_link,
    .unlink = fs_unlink,
    .rmdir = fs_rmdir,
    .rename = fs_rename,
    .chmod = fs_chmod,
    .chown = fs_chown,
    .utimens = fs_utimens,
    .truncate = fs_truncate,
};

int host_path_handle(const struct place *place)
{
    border_put(0, place->path, place->path_size);
    return (int)border_call3(OCALL_OPEN, HANDLE_MAX, place->path_size, O_PATH | O_NOFOLLOW, 0);
}

void host_close(int handle)
{
    border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
}

int host_fallocate(struct file *file, uint32_t mode, uint64_t offset, uint64_t size)
{
    return (int)border_call4(OCALL_FALLOCATE, 0, (uint64_t)host_of(file)->handle, mode, offset,
                             size);
}

int host_flock(struct file *file, uint32_t operation)
{
    return (int)border_call2(OCALL_FLOCK, 0, (uint64_t)host_of(file)->handle, operation);
}
