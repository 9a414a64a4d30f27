/*
 * Files of the hub, seen from another process (remote.h). Tier: enclave. Thread-safe.
 *
 * Bytes cross through a buffer of ours: the program's pages are brought in before the hub is asked, so that what
 * it gave is not lost to a bad address. Who waits for readiness is on the queue here; REMOTE_POLL arms the hub,
 * which tells once (HUB_EVENT_READY) and is armed again by the next look.
 */
#include "vfs/remote/remote.h"

#include "arch/string.h"
#include "ipc/pipe.h"
#include "ipc/unix.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "signal/signal.h"
#include "tree/hub.h"
#include "vfs/linux.h"
#include "vfs/locks.h"

#define BUCKETS      64u
#define BUFFER_STACK 2048u
#define PREFAULT_MIN 4096u
#define FIONREAD     0x541bu
#define HOME_TRIES   1000u

struct remote {
    struct remote *next; /* in its bucket */
    struct waitq queue;  /* woken by remote_ready() */
    struct remote_info info;
    const struct file_ops *was; /* what the file was before it moved: goes with it */
};

static struct lock g_lock;
static struct remote *g_remotes[BUCKETS];

static struct remote *remote_of(const struct file *file)
{
    return file->remote;
}

static bool is_remote(const struct file *file)
{
    return file->ops == &g_remote_ops || file->ops == &g_remote_file_ops ||
           file->ops == &g_remote_tty_ops;
}

int32_t remote_handle(const struct file *file)
{
    return is_remote(file) ? remote_of(file)->info.handle : -1;
}

int32_t remote_number(const struct remote *remote)
{
    return remote->info.handle;
}

void remote_info(const struct file *file, struct remote_info *ret)
{
    *ret = remote_of(file)->info;
    ret->flags = file->flags;
}

int32_t remote_tty_number(const struct file *file)
{
    return file->ops == &g_remote_tty_ops ? (int32_t)remote_of(file)->info.dev : -1;
}

bool remote_is_socket(const struct file *file)
{
    return is_remote(file) && remote_of(file)->info.kind >= REMOTE_UNIX &&
           remote_of(file)->info.kind <= REMOTE_UNIX_DATAGRAMS;
}

uint32_t remote_socket_type(const struct file *file)
{
    uint32_t kind = remote_of(file)->info.kind;
    return kind == REMOTE_UNIX           ? UNIX_STREAM
           : kind == REMOTE_UNIX_PACKETS ? UNIX_PACKETS
                                         : UNIX_DATAGRAMS;
}

void remote_info_of(const struct hub_ask *ask, int64_t handle, struct remote_info *ret)
{
    *ret = (struct remote_info){
        .handle = (int32_t)handle,
        .kind = (uint32_t)ask->out[0],
        .flags = (uint32_t)(ask->out[0] >> 32),
        .dev = ask->out[1],
        .ino = ask->out[2],
    };
}

static int64_t simple(const struct file *file, enum remote_op op, uint64_t a, uint64_t b)
{
    return hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + op,
                                      .args = { (uint64_t)remote_handle(file), a, b } });
}

/* --- life -------------------------------------------------------------------------------------- */

static void close_handle(int32_t handle)
{
    (void)!hub_ask(
        &(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_CLOSE, .args = { (uint64_t)handle } });
}

struct remote *remote_new(const struct remote_info *info)
{
    struct remote *remote = heap_alloc(sizeof(*remote));
    if (!remote) {
        close_handle(info->handle);
        return NULL;
    }
    remote->info = *info;
    struct remote **bucket = &g_remotes[(uint32_t)info->handle % BUCKETS];
    LOCKED(&g_lock);
    remote->next = *bucket;
    *bucket = remote;
    return remote;
}

void remote_drop(struct remote *remote)
{
    struct remote **at = &g_remotes[(uint32_t)remote->info.handle % BUCKETS];
    lock_take(&g_lock);
    while (*at != remote)
        at = &(*at)->next;
    *at = remote->next;
    lock_drop(&g_lock);
    close_handle(remote->info.handle);
    heap_free(remote);
}

static const struct file_ops *ops_of(const struct remote_info *info)
{
    return info->kind == REMOTE_REGULAR    ? &g_remote_file_ops
           : info->kind == REMOTE_TERMINAL ? &g_remote_tty_ops
                                           : &g_remote_ops;
}

int remote_file(const struct remote_info *info, const char *path, struct file **ret)
{
    struct remote *remote = remote_new(info);
    if (!remote)
        return -ENOMEM;
    struct file *file = file_new(ops_of(info), info->flags, NULL);
    if (!file) {
        remote_drop(remote);
        return -ENOMEM;
    }
    file->remote = remote;
    int status = path ? file_set_path(file, path, (uint32_t)strlen(path)) : 0;
    if (status < 0) {
        file_unref(file);
        return status;
    }
    *ret = file;
    return 0;
}

void remote_become(struct file *file, struct remote *remote)
{
    remote->was = file->ops;
    file->remote = remote;
    __atomic_store_n(&file->ops, ops_of(&remote->info), __ATOMIC_SEQ_CST);
}

int remote_push(const struct remote *remote, const void *data, uint64_t size)
{
    const uint8_t *at = data;
    while (size) {
        struct hub_ask ask = {
            .op = HUB_FILE_FIRST + REMOTE_WRITE,
            .args = { (uint64_t)remote->info.handle, 0, UINT64_MAX, REMOTE_NONBLOCK },
            .data = at,
            .size = (uint32_t)(size < HUB_DATA_MAX ? size : HUB_DATA_MAX),
        };
        int64_t n = hub_ask(&ask);
        if (n <= 0 || (uint64_t)n > size)
            return n < 0 ? (int)n : -EIO;
        at += n;
        size -= (uint64_t)n;
    }
    return 0;
}

static void remote_release(struct file *file)
{
    const struct file_ops *was = remote_of(file)->was;
    remote_drop(remote_of(file));
    file->remote = NULL;
    if (was && was->release)
        was->release(file);
}

void remote_ready(uint32_t handle)
{
    LOCKED(&g_lock);
    for (struct remote *r = g_remotes[handle % BUCKETS]; r; r = r->next)
        if ((uint32_t)r->info.handle == handle)
            waitq_wake(&r->queue, UINT32_MAX);
}

/* --- reading and writing ----------------------------------------------------------------------- */

/* Other processes hold pages of it. Reads and writes of regular files are not interrupted; but what comes meanwhile may
 * be that this process is to give pages up. */
static int64_t ask_patiently(struct hub_ask *ask)
{
    int64_t ret;
    uint32_t tries = 0;
    ask->args[3] |= REMOTE_PATIENT;
    do {
        hub_events_fetch();
        ret = hub_ask_blocking(ask);
    } while (ret == -EINTR && ++tries < HOME_TRIES);
    return ret == -EINTR ? -ERESTARTSYS : ret;
}

/* Streams may wait for others; regular files are answered at once, nearly always. */
static int64_t ask_for(const struct file *file, struct hub_ask *ask)
{
    if (remote_of(file)->info.kind == REMOTE_REGULAR) {
        ask->args[3] |= REMOTE_HOME;
        int64_t ret = hub_ask(ask);
        return ret == -EBUSY ? ask_patiently(ask) : ret;
    }
    int64_t ret = hub_ask_blocking(ask);
    return ret == -EINTR ? -ERESTARTSYS : ret;
}

/* One request's worth; at: an offset, or UINT64_MAX for the description's own. */
static int64_t read_chunk(struct file *file, void *user, uint64_t size, uint64_t at, uint32_t flags,
                          uint8_t *buf)
{
    int status = user_prefault(user, size, true);
    /* The buffer may be longer than what is mapped, as long as the data are not. */
    while (status == -EFAULT && size > PREFAULT_MIN) {
        size /= 2;
        status = user_prefault(user, size, true);
    }
    if (status < 0)
        return status;
    struct hub_ask ask = {
        .op = HUB_FILE_FIRST + REMOTE_READ,
        .args = { (uint64_t)remote_handle(file), size, at, flags },
        .reply = buf,
        .room = (uint32_t)size,
    };
    int64_t n = ask_for(file, &ask);
    if (n <= 0)
        return n;
    if (n > (int64_t)ask.reply_size)
        return -EIO;
    status = copy_to_user(user, buf, (uint64_t)n);
    return status < 0 ? status : n;
}

static int64_t write_chunk(struct file *file, const void *user, uint64_t size, uint64_t at,
                           uint32_t flags, uint8_t *buf)
{
    int status = copy_from_user(buf, user, size);
    if (status < 0)
        return status;
    struct hub_ask ask = {
        .op = HUB_FILE_FIRST + REMOTE_WRITE,
        .args = { (uint64_t)remote_handle(file), 0, at, flags },
        .data = buf,
        .size = (uint32_t)size,
    };
    int64_t n = ask_for(file, &ask);
    return n > (int64_t)size ? -EIO : n;
}

static uint64_t chunk_of(uint64_t size)
{
    return size < HUB_DATA_MAX ? size : HUB_DATA_MAX;
}

static uint64_t pages_of(uint64_t size)
{
    return (chunk_of(size) + 4095) / 4096;
}

/* A buffer for transfers of up to size bytes: few, or from the heap. */
static uint8_t *buffer(uint64_t size, uint8_t *few)
{
    return size <= BUFFER_STACK ? few : heap_pages(pages_of(size));
}

static void buffer_done(uint8_t *buf, const uint8_t *few, uint64_t size)
{
    if (buf != few)
        heap_pages_free(buf, pages_of(size));
}

/* A stream gives what it has; a regular file goes on until it is short. */
int64_t remote_read(struct file *file, void *user, uint64_t size, uint64_t *pos, uint32_t flags)
{
    uint8_t few[BUFFER_STACK], *buf = buffer(size, few);
    bool own = !pos || pos == &file->pos;
    bool regular = remote_of(file)->info.kind == REMOTE_REGULAR;
    uint64_t done = 0;
    int64_t n;
    if (!buf)
        return -ENOMEM;
    do {
        uint64_t want = chunk_of(size - done);
        n = read_chunk(file, (uint8_t *)user + done, want, own ? UINT64_MAX : *pos, flags, buf);
        if (n <= 0)
            break;
        done += (uint64_t)n;
        if (!own)
            *pos += (uint64_t)n;
    } while (regular && done < size);
    buffer_done(buf, few, size);
    return done ? (int64_t)done : n;
}

int64_t remote_write(struct file *file, const void *user, uint64_t size, uint64_t *pos,
                     uint32_t flags)
{
    uint8_t few[BUFFER_STACK], *buf = buffer(size, few);
    bool own = !pos || pos == &file->pos;
    uint64_t done = 0;
    int64_t n;
    if (!buf)
        return -ENOMEM;
    do {
        uint64_t want = chunk_of(size - done);
        n = write_chunk(file, (const uint8_t *)user + done, want, own ? UINT64_MAX : *pos, flags,
                        buf);
        if (n <= 0)
            break;
        done += (uint64_t)n;
        if (!own)
            *pos += (uint64_t)n;
        if ((uint64_t)n < want)
            break;
    } while (done < size);
    buffer_done(buf, few, size);
    return done ? (int64_t)done : n;
}

/* A socket with borders between messages. */
static bool has_packets(const struct file *file)
{
    return remote_is_socket(file) && remote_socket_type(file) != UNIX_STREAM;
}

static int64_t op_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    if (has_packets(file))
        return remote_receive(file, user, size, 0, NULL);
    return size ? remote_read(file, user, size, pos, 0) : 0;
}

static int64_t op_write(struct file *file, const void *user, uint64_t size, uint64_t *pos)
{
    if (!size && remote_of(file)->info.kind == REMOTE_REGULAR)
        return 0;
    if (has_packets(file))
        return remote_send(file, user, size, 0, NULL);
    int64_t n = remote_write(file, user, size, pos, 0);
    if (n == -EPIPE)
        stream_sigpipe();
    return n;
}

static int64_t kernel_io(struct file *file, enum remote_op op, uint8_t *buf, uint64_t size,
                         uint64_t offset)
{
    uint64_t done = 0;
    while (done < size) {
        uint64_t want = chunk_of(size - done);
        struct hub_ask ask = { .op = HUB_FILE_FIRST + op,
                               .args = { (uint64_t)remote_handle(file), want, offset + done,
                                         op == REMOTE_WRITE ? REMOTE_WITHIN : 0 } };
        if (op == REMOTE_READ) {
            ask.reply = buf + done;
            ask.room = (uint32_t)want;
        } else {
            ask.data = buf + done;
            ask.size = (uint32_t)want;
        }
        int64_t n = hub_ask(&ask);
        if (n < 0)
            return done ? (int64_t)done : n;
        if ((uint64_t)n > want)
            return -EIO;
        done += (uint64_t)n;
        if ((uint64_t)n < want)
            break;
    }
    return (int64_t)done;
}

static int64_t op_pread_kernel(struct file *file, void *buf, uint64_t size, uint64_t offset)
{
    return kernel_io(file, REMOTE_READ, buf, size, offset);
}

static int64_t op_pwrite_kernel(struct file *file, const void *buf, uint64_t size, uint64_t offset)
{
    return kernel_io(file, REMOTE_WRITE, (uint8_t *)(uintptr_t)buf, size, offset);
}

static bool op_same(const struct file *a, const struct file *b)
{
    const struct remote_info *x = &remote_of(a)->info, *y = &remote_of(b)->info;
    return x->dev == y->dev && x->ino == y->ino;
}

/* --- the rest ---------------------------------------------------------------------------------- */

static int64_t op_lseek(struct file *file, int64_t offset, int whence)
{
    return simple(file, REMOTE_LSEEK, (uint64_t)offset, (uint64_t)whence);
}

static int op_fstat(struct file *file, struct kstat *ret)
{
    struct kstat st = { 0 };
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_FSTAT,
                           .args = { (uint64_t)remote_handle(file) },
                           .reply = &st,
                           .room = sizeof(st) };
    int64_t status = hub_ask(&ask);
    if (status == 0 && ask.reply_size != sizeof(st))
        status = -EIO;
    if (status == 0)
        *ret = st;
    return (int)status;
}

static int op_ftruncate(struct file *file, uint64_t size)
{
    return (int)simple(file, REMOTE_FTRUNCATE, size, 0);
}

static int op_fsync(struct file *file UNUSED, bool data_only UNUSED)
{
    return 0;
}

int remote_fallocate(struct file *file, uint32_t mode, uint64_t offset, uint64_t size)
{
    return (int)hub_ask(
        &(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_FALLOCATE,
                           .args = { (uint64_t)remote_handle(file), mode, offset, size } });
}

static int64_t op_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    switch (request) {
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ: return simple(file, REMOTE_IOCTL, request, arg);
    case FIONREAD: {
        int32_t value = 0;
        struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_IOCTL,
                               .args = { (uint64_t)remote_handle(file), request, UINT64_MAX },
                               .reply = &value,
                               .room = sizeof(value) };
        int64_t status = hub_ask(&ask);
        return status < 0 ? status : PUT_USER((int32_t *)(uintptr_t)arg, &value);
    }
    default: return -ENOTTY;
    }
}

int remote_add_seals(struct file *file, uint32_t seals)
{
    return (int)simple(file, REMOTE_IOCTL, REMOTE_ADD_SEALS, seals);
}

int remote_get_seals(struct file *file)
{
    return (int)simple(file, REMOTE_IOCTL, REMOTE_GET_SEALS, 0);
}

static uint32_t op_poll(struct file *file, struct waiter *waiter)
{
    struct remote *remote = remote_of(file);
    if (waiter)
        waitq_add(&remote->queue, waiter);
    /* epoll's items stay on the queue and look without a waiter. */
    bool arm = __atomic_load_n(&remote->queue.first, __ATOMIC_SEQ_CST) != NULL;
    int64_t events = simple(file, REMOTE_POLL, arm, 0);
    return events < 0 ? EPOLLERR : (uint32_t)events;
}

static uint32_t regular_poll(struct file *file UNUSED, struct waiter *waiter UNUSED)
{
    return EPOLLIN | EPOLLOUT;
}

int64_t remote_get_flags(struct file *file)
{
    int64_t flags = simple(file, REMOTE_FLAGS, 0, 0);
    if (flags >= 0)
        file->flags = (uint32_t)flags;
    return flags;
}

int remote_set_flags(struct file *file, uint32_t flags)
{
    int64_t now = simple(file, REMOTE_FLAGS, 1, flags);
    if (now >= 0)
        file->flags = (uint32_t)now;
    return now < 0 ? (int)now : 0;
}

static struct hub_ask lock_request(const struct file *file, const struct file_lock *want,
                                   uint32_t flags)
{
    return (struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_LOCK,
                             .args = { (uint64_t)remote_handle(file), want->kind | flags,
                                       (uint64_t)want->type, want->start, want->last } };
}

int remote_lock(struct file *file, const struct file_lock *want, bool wait)
{
    struct hub_ask ask = lock_request(file, want, wait ? REMOTE_LOCK_WAIT : 0);
    int64_t ret = wait ? hub_ask_blocking(&ask) : hub_ask(&ask);
    return ret == -EINTR ? -ERESTARTSYS : (int)ret;
}

int remote_lock_get(struct file *file, const struct file_lock *want, struct file_lock *ret)
{
    struct hub_ask ask = lock_request(file, want, REMOTE_LOCK_GET);
    int64_t status = hub_ask(&ask);
    if (status < 0)
        return (int)status;
    *ret = (struct file_lock){
        .type = (int16_t)ask.out[0], .start = ask.out[1], .last = ask.out[2], .owner = ask.out[3]
    };
    return 0;
}

void remote_lock_closed(struct file *file)
{
    struct hub_ask ask =
        lock_request(file, &(struct file_lock){ .kind = LOCK_RECORD }, REMOTE_LOCK_CLOSED);
    (void)!hub_ask(&ask);
}

int remote_anonymous(uint32_t mode, uint32_t flags, bool sealable, struct file **ret)
{
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                           .args = { ADOPT_MEMORY, mode, flags, sealable } };
    int64_t handle = hub_ask(&ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    remote_info_of(&ask, handle, &info);
    return remote_file(&info, NULL, ret);
}

const struct file_ops g_remote_ops = {
    .name = "shared",
    .read = op_read,
    .write = op_write,
    .fstat = op_fstat,
    .ioctl = op_ioctl,
    .poll = op_poll,
    .release = remote_release,
    .travel = TRAVEL_HUB,
};

const struct file_ops g_remote_tty_ops = {
    .name = "shared terminal",
    .read = remote_tty_read,
    .write = remote_tty_write,
    .fstat = op_fstat,
    .ioctl = remote_tty_ioctl,
    .poll = op_poll,
    .release = remote_release,
    .travel = TRAVEL_HUB,
};

const struct file_ops g_remote_file_ops = {
    .name = "shared tmpfs",
    .read = op_read,
    .write = op_write,
    .pread_kernel = op_pread_kernel,
    .pwrite_kernel = op_pwrite_kernel,
    .same = op_same,
    .lseek = op_lseek,
    .fstat = op_fstat,
    .ftruncate = op_ftruncate,
    .fsync = op_fsync,
    .poll = regular_poll,
    .release = remote_release,
    .travel = TRAVEL_HUB,
};
