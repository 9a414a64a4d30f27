/*
 * The hub's side of files (remote.h): each process's handles, and the operations run on what they are. Tier:
 * enclave.
 *
 * Everything here runs on the hub's thread, which must never wait for anybody: current()->never_block turns
 * waiting into -EAGAIN, and if the description is a blocking one, the job goes on the file's own queue and comes
 * back when that is woken. current()->kernel_buffers makes the job's data "program memory". The root's program
 * threads use the same files directly; they only add handles (vfs/share.c).
 *
 * Readiness: an armed handle's waiter stays on the file's queue. Woken, with the queue locked, it only leaves a
 * note; hub_files_told() tells the processes.
 */
#include "vfs/remote/serve.h"

#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "ipc/eventfd.h"
#include "ipc/fifo.h"
#include "ipc/pidfd.h"
#include "ipc/pipe.h"
#include "ipc/pty.h"
#include "ipc/unix.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "process/process.h"
#include "tree/links.h"
#include "vfs/linux.h"
#include "vfs/locks.h"
#include "vfs/remote/carry.h"
#include "vfs/remote/give.h"
#include "vfs/remote/position.h"
#include "vfs/tmpfs/tmpfs.h"

#define HANDLES_MAX 65536u
#define FIONREAD    0x541bu

struct handle {
    struct waiter waiter; /* first: notify() gets it */
    struct file *file;
    uint32_t number;
    bool armed, told; /* atomic */
};

struct table {
    struct table *next;
    struct peer *peer;
    struct lock lock;
    struct handle **handles;
    uint32_t room, free_min;
    bool told; /* atomic: one of the handles was */
};

static struct lock g_lock; /* the list */
static struct table *g_tables;

/* --- handles ----------------------------------------------------------------------------------- */

static struct table *table_of(struct peer *peer)
{
    LOCKED(&g_lock);
    struct table *table = *peer_files(peer);
    if (!table && (table = heap_alloc(sizeof(*table)))) {
        table->peer = peer;
        table->next = g_tables;
        g_tables = table;
        *peer_files(peer) = table;
    }
    return table;
}

/* With a queue locked: a note, no more. */
static void ready(struct waiter *waiter)
{
    struct handle *handle = (struct handle *)(void *)waiter;
    if (!__atomic_exchange_n(&handle->armed, false, __ATOMIC_SEQ_CST))
        return;
    __atomic_store_n(&handle->told, true, __ATOMIC_SEQ_CST);
    struct table *table = (struct table *)(uintptr_t)waiter->key;
    __atomic_store_n(&table->told, true, __ATOMIC_SEQ_CST);
    hub_wake();
}

static int grow(struct table *table)
{
    uint32_t room = table->room ? table->room * 2 : 32;
    if (room > HANDLES_MAX)
        return -EMFILE;
    struct handle **handles = heap_realloc(table->handles, room * sizeof(*handles));
    if (!handles)
        return -ENOMEM;
    memset(handles + table->room, 0, (room - table->room) * sizeof(*handles));
    table->handles = handles;
    table->room = room;
    return 0;
}

int32_t serve_add(struct peer *peer, struct file *file)
{
    struct table *table = table_of(peer);
    struct handle *handle = table ? heap_alloc(sizeof(*handle)) : NULL;
    if (!handle)
        return -ENOMEM;
    *handle =
        (struct handle){ .waiter = { .notify = ready, .key = (uintptr_t)table }, .file = file };
    lock_take(&table->lock);
    uint32_t n = table->free_min;
    while (n < table->room && table->handles[n])
        n++;
    int status = n < table->room ? 0 : grow(table);
    if (status == 0) {
        handle->number = n;
        table->handles[n] = handle;
        table->free_min = n + 1;
    }
    lock_drop(&table->lock);
    if (status < 0) {
        heap_free(handle);
        return status;
    }
    return (int32_t)n;
}

static void handle_free(struct handle *handle)
{
    waitq_remove(&handle->waiter); /* from here on it is not notified */
    file_unref(handle->file);
    heap_free(handle);
}

void serve_close(struct peer *peer, int32_t number)
{
    struct table *table = table_of(peer);
    struct handle *handle = NULL;
    if (!table || number < 0)
        return;
    lock_take(&table->lock);
    if ((uint32_t)number < table->room && (handle = table->handles[number])) {
        table->handles[number] = NULL;
        if ((uint32_t)number < table->free_min)
            table->free_min = (uint32_t)number;
    }
    lock_drop(&table->lock);
    if (handle)
        handle_free(handle);
}

/* The hub's thread. A request of that process that waits for the handle's file is answered first: nothing but the
 * handle may keep the file, whose queue the request stands on. (The library OS never closes what is in use.) */
static void close_handle(struct peer *peer, uint64_t number)
{
    for (uint32_t slot = 0; slot < TREE_SLOTS; slot++) {
        struct link *link = g_hub.links[slot];
        if (link && link->peer == peer && link->waiting && link->job.request.args[0] == number)
            link_cancel(link);
    }
    serve_close(peer, number < HANDLES_MAX ? (int32_t)number : -1);
}

/* Only the hub's thread takes handles away. */
static struct handle *handle_at(struct peer *peer, uint64_t number)
{
    struct table *table = table_of(peer);
    if (!table)
        return NULL;
    LOCKED(&table->lock);
    return number < table->room ? table->handles[number] : NULL;
}

struct file *serve_file(struct peer *peer, uint64_t number)
{
    struct handle *handle = handle_at(peer, number);
    return handle ? file_ref(handle->file) : NULL;
}

void hub_files_drop(struct peer *peer)
{
    struct thread *self = current();
    bool blocks = self->never_block;
    lock_take(&g_lock);
    struct table *table = *peer_files(peer);
    *peer_files(peer) = NULL;
    for (struct table **at = &g_tables; *at; at = &(*at)->next) {
        if (*at == table) {
            *at = table->next;
            break;
        }
    }
    lock_drop(&g_lock);
    if (!table)
        return;
    self->never_block = true;
    locks_process_gone(peer_pid(peer));
    for (uint32_t n = 0; n < table->room; n++)
        if (table->handles[n])
            handle_free(table->handles[n]);
    self->never_block = blocks;
    heap_free(table->handles);
    heap_free(table);
}

/* Tells what ready() noted of one table. */
static void tell(struct table *table)
{
    for (uint32_t n = 0;; n++) {
        lock_take(&table->lock);
        bool end = n >= table->room;
        struct handle *handle = end ? NULL : table->handles[n];
        bool told = handle && __atomic_exchange_n(&handle->told, false, __ATOMIC_SEQ_CST);
        lock_drop(&table->lock);
        if (end)
            return;
        if (told)
            hub_tell(peer_pid(table->peer), &(struct hub_event){ .kind = HUB_EVENT_READY, .a = n });
    }
}

/* Tables go on this thread only, so the list's lock need not be held. */
void hub_files_told(void)
{
    lock_take(&g_lock);
    struct table *table = g_tables;
    lock_drop(&g_lock);
    for (; table; table = table->next)
        if (__atomic_exchange_n(&table->told, false, __ATOMIC_SEQ_CST))
            tell(table);
}

void serve_info(struct file *file, struct remote_info *ret)
{
    struct kstat st;
    struct pidfd_target target;
    *ret = (struct remote_info){ .handle = -1, .kind = REMOTE_STREAM, .flags = file->flags };
    if (file->ops == &g_position_ops) {
        ret->kind = REMOTE_OFFSET;
    } else if (unix_is(file)) {
        ret->kind = unix_type(file) == UNIX_STREAM    ? REMOTE_UNIX
                    : unix_type(file) == UNIX_PACKETS ? REMOTE_UNIX_PACKETS
                                                      : REMOTE_UNIX_DATAGRAMS;
    } else if (carry_is(file)) {
        ret->kind = REMOTE_CARRIED;
        ret->dev = carry_kind(file);
    } else if (pidfd_target(file, &target)) {
        ret->kind = REMOTE_PIDFD;
        ret->dev = (uint32_t)target.pid;
        ret->ino = target.born;
    } else if (pty_is(file)) {
        ret->kind = REMOTE_TERMINAL;
        ret->dev = (uint32_t)pty_number(file);
    } else if (file->ops->lseek && file->ops->fstat(file, &st) == 0) {
        ret->kind = REMOTE_REGULAR;
        ret->dev = st.dev;
        ret->ino = st.ino;
    }
}

int64_t serve_reply(struct hub_job *job, struct file *file)
{
    struct remote_info info;
    int32_t handle = serve_add(job->peer, file);
    if (handle < 0) {
        file_unref(file);
        return handle;
    }
    serve_info(file, &info);
    job->reply.out[0] = info.kind | (uint64_t)info.flags << 32;
    job->reply.out[1] = info.dev;
    job->reply.out[2] = info.ino;
    return handle;
}

/* --- waiting ----------------------------------------------------------------------------------- */

/*
 * An operation said -EAGAIN: true if it is to be tried once more, now that the job stands on the file's queue.
 * The next time the job waits.
 */
bool serve_enqueue(struct hub_job *job, struct file *file)
{
    if (job->waiter.queue || !file->ops->poll)
        return false;
    (void)file->ops->poll(file, &job->waiter);
    return job->waiter.queue != NULL;
}

/* The caller's kernel has looked already; but the caller may be hostile. */
static bool writable(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_RDONLY;
}

static bool blocks(const struct file *file, uint64_t flags)
{
    return !(file->flags & O_NONBLOCK) && !(flags & REMOTE_NONBLOCK);
}

/* --- reading and writing ----------------------------------------------------------------------- */

static uint64_t *position_of(struct file *file, const uint64_t *args, uint64_t *own)
{
    if (!file->ops->lseek)
        return NULL;
    if (args[2] == UINT64_MAX)
        return &file->pos;
    *own = args[2];
    return own;
}

/* With REMOTE_HOME: as dsm_serve_recall(). */
static int64_t come_home(struct hub_job *job, struct file *file, struct dsm_io *io)
{
    const uint64_t *args = job->request.args;
    uint64_t own, *pos = position_of(file, args, &own);
    if (!(args[3] & REMOTE_HOME) || !pos || !dsm_any_object() || !tmpfs_inode_of(file))
        return 0;
    io->offset = *pos;
    int64_t ret = dsm_serve_recall(file, io, &job->waiter);
    if (ret != HUB_LATER || args[3] & REMOTE_PATIENT)
        return ret;
    waitq_remove(&job->waiter);
    return -EBUSY;
}

static int64_t read_file(struct file *file, void *buf, uint64_t size, const uint64_t *args)
{
    uint64_t own;
    if (unix_is(file))
        return unix_receive(file, buf, size,
                            UNIX_NONBLOCK | (args[3] & REMOTE_PEEK ? UNIX_PEEK : 0), NULL);
    return file->ops->read(file, buf, size, position_of(file, args, &own));
}

static int64_t serve_read(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    uint64_t size = args[1] < HUB_DATA_MAX ? args[1] : HUB_DATA_MAX;
    int64_t n;
    if ((file->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    if (!file->ops->read)
        return -EINVAL;
    struct dsm_io io = { .size = size };
    int64_t object = come_home(job, file, &io);
    if (object < 0)
        return object;
    do {
        n = read_file(file, job->reply_data, size, args);
    } while (n == -EAGAIN && blocks(file, args[3]) && serve_enqueue(job, file));
    if (object)
        dsm_serve_recalled((uint32_t)object, &io);
    if (n == -EAGAIN && blocks(file, args[3]))
        return HUB_LATER;
    if (n > 0)
        job->reply.size = (uint32_t)n;
    return n;
}

static int64_t write_file(struct file *file, const void *buf, uint64_t size, const uint64_t *args)
{
    uint64_t own;
    if (args[3] & REMOTE_WITHIN) {
        if (tmpfs_inode_of(file) && tmpfs_get_seals(file) & F_SEAL_WRITE)
            return -EPERM;
        return file->ops->pwrite_kernel ? file->ops->pwrite_kernel(file, buf, size, args[2])
                                        : -EINVAL;
    }
    if (unix_is(file))
        return unix_send(file, buf, size, true, NULL);
    return file->ops->write(file, buf, size, position_of(file, args, &own));
}

/* A blocking write goes on until all is written; job->progress is what is. */
static int64_t write_all(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    uint64_t size = job->request.size;
    for (;;) {
        int64_t n = write_file(file, job->data + job->progress, size - job->progress, args);
        if (n > 0)
            job->progress += (uint64_t)n;
        if (job->progress == size)
            return (int64_t)size;
        if (!blocks(file, args[3]) || (n < 0 && n != -EAGAIN) || n == 0)
            return job->progress ? (int64_t)job->progress : n;
        if (n == -EAGAIN && !serve_enqueue(job, file))
            return HUB_LATER;
    }
}

static int64_t serve_write(struct hub_job *job, struct file *file)
{
    if (!writable(file))
        return -EBADF;
    if (!file->ops->write)
        return -EINVAL;
    struct dsm_io io = { .append = (file->flags & O_APPEND) != 0, .size = job->request.size };
    int64_t object = come_home(job, file, &io);
    if (object < 0)
        return object;
    int64_t n = write_all(job, file);
    if (object)
        dsm_serve_recalled((uint32_t)object, &io);
    return n;
}

/* --- the rest ---------------------------------------------------------------------------------- */

static int64_t serve_fstat(struct hub_job *job, struct file *file)
{
    struct kstat st;
    int status = file->ops->fstat ? file->ops->fstat(file, &st) : -EINVAL;
    if (status < 0)
        return status;
    memcpy(job->reply_data, &st, sizeof(st));
    job->reply.size = sizeof(st);
    return 0;
}

static int64_t serve_ioctl(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    switch (args[1]) {
    case REMOTE_ADD_SEALS: return tmpfs_add_seals(file, (uint32_t)args[2]);
    case REMOTE_GET_SEALS: return tmpfs_get_seals(file);
    case F_GETPIPE_SZ:
    case F_SETPIPE_SZ: return file->ops->ioctl ? file->ops->ioctl(file, args[1], args[2]) : -EBADF;
    case FIONREAD: {
        int32_t value = 0;
        int64_t status =
            file->ops->ioctl ? file->ops->ioctl(file, FIONREAD, (uintptr_t)&value) : -ENOTTY;
        memcpy(job->reply_data, &value, sizeof(value));
        job->reply.size = sizeof(value);
        return status;
    }
    default: return -ENOTTY;
    }
}

static int64_t serve_poll(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    struct handle *handle = handle_at(job->peer, args[0]);
    if (!file->ops->poll)
        return EPOLLIN | EPOLLOUT;
    if (args[1]) {
        __atomic_store_n(&handle->armed, true, __ATOMIC_SEQ_CST);
        if (!handle->waiter.queue)
            (void)file->ops->poll(file, &handle->waiter);
    }
    return file->ops->poll(file, NULL);
}

static int64_t serve_flags(struct hub_job *job, struct file *file)
{
    const uint32_t mine = O_APPEND | O_NONBLOCK;
    if (job->request.args[1])
        file->flags = (file->flags & ~mine) | ((uint32_t)job->request.args[2] & mine);
    return file->flags;
}

/* The process that this one is about to start. */
static struct peer *unborn(struct hub_job *job, uint64_t pid)
{
    struct peer *child = peer_by_pid((int32_t)pid);
    return child && child->spawning && child->parent == peer_pid(job->peer) ? child : NULL;
}

static int64_t serve_dup_to(struct hub_job *job, struct file *file)
{
    struct peer *child = unborn(job, job->request.args[1]);
    if (!child)
        return -ESRCH;
    int32_t handle = serve_add(child, file_ref(file));
    if (handle < 0)
        file_unref(file);
    return handle;
}

static int64_t serve_position(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    if (args[1] == POSITION_NEW) {
        struct file *fresh = file_new(&g_position_ops, O_RDWR, NULL);
        return fresh ? serve_reply(job, fresh) : -ENOMEM;
    }
    struct file *file = serve_file(job->peer, args[0]);
    int64_t ret = -EBADF;
    if (file && file->ops == &g_position_ops) {
        switch (args[1]) {
        case POSITION_TAKE:
            ret = (int64_t)position_take(file, args[2], args[3], &job->reply.out[0]);
            break;
        case POSITION_GIVE_BACK:
            position_give_back(file, args[2]);
            ret = 0;
            break;
        case POSITION_SEEK:
            ret = position_seek(file, (int64_t)args[2], (int)args[3], args[4]);
            break;
        default: ret = -EINVAL; break;
        }
    }
    file_unref(file);
    return ret;
}

/* Both files as handles: ret and out[3]. */
static int64_t reply_two(struct hub_job *job, struct file *a, struct file *b)
{
    int64_t second = serve_add(job->peer, b);
    if (second < 0) {
        file_unref(a);
        file_unref(b);
        return second;
    }
    int64_t first = serve_reply(job, a);
    if (first < 0)
        serve_close(job->peer, (int32_t)second);
    job->reply.out[3] = (uint64_t)second;
    return first;
}

static int adopt_carried(struct hub_job *job, struct file **ret)
{
    uint64_t handle = job->request.args[1];
    struct file *position = handle == UINT64_MAX ? NULL : serve_file(job->peer, handle);
    if (handle != UINT64_MAX && !position)
        return -EBADF;
    int status = carry_new(job->data, job->request.size, job->request.args[2], position, ret);
    file_unref(position);
    return status;
}

static int64_t serve_adopt(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    struct file *a, *b;
    struct unix_cred cred;
    int status;
    switch (args[0]) {
    case ADOPT_PIPE:
        status = pipe_new((uint32_t)args[1], (uint32_t)args[2], (uint32_t)args[3], &a, &b);
        return status < 0 ? status : reply_two(job, a, b);
    case ADOPT_PAIR:
        if (!unix_type_ok(args[3]))
            return -EINVAL;
        cred = unix_cred_here();
        cred.pid = hub_job_self(job);
        status = unix_pair((uint32_t)args[3], (uint32_t)args[1], (uint32_t)args[2], &cred, &a, &b);
        return status < 0 ? status : reply_two(job, a, b);
    case ADOPT_EVENTFD: status = eventfd_new(args[1], (uint32_t)args[2], args[3] != 0, &a); break;
    case ADOPT_CARRIED: status = adopt_carried(job, &a); break;
    case ADOPT_PIDFD: status = pidfd_new((int32_t)args[1], (uint32_t)args[2], &a); break;
    case ADOPT_MEMORY:
        status = tmpfs_anonymous((uint32_t)args[1], (uint32_t)args[2], args[3] != 0, &a);
        break;
    default: return -EINVAL;
    }
    return status < 0 ? status : serve_reply(job, a);
}

static int64_t serve_fallocate(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    if (!writable(file))
        return -EBADF;
    if (!tmpfs_inode_of(file))
        return file->ops->lseek ? -ENODEV : -ESPIPE;
    return tmpfs_fallocate(file, (uint32_t)args[1], args[2], args[3]);
}

static int64_t serve_lock(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    struct file_lock found, want = { .kind = args[1] & 0xff,
                                     .type = (int16_t)args[2],
                                     .start = args[3],
                                     .last = args[4],
                                     .owner = (uint64_t)peer_pid(job->peer) };
    if (!tmpfs_inode_of(file) || want.kind < LOCK_RECORD || want.kind > LOCK_FLOCK ||
        want.start > want.last ||
        (want.type != F_RDLCK && want.type != F_WRLCK && want.type != F_UNLCK))
        return -EINVAL;
    if (args[1] & REMOTE_LOCK_CLOSED) {
        locks_closed(file, peer_pid(job->peer));
        return 0;
    }
    if (args[1] & REMOTE_LOCK_GET) {
        int status = locks_get(file, want, &found);
        job->reply.out[0] = (uint64_t)found.type;
        job->reply.out[1] = found.start;
        job->reply.out[2] = found.last;
        job->reply.out[3] = found.kind == LOCK_RECORD ? found.owner : UINT64_MAX;
        return status;
    }
    int status = locks_set(file, want);
    if (status != -EAGAIN || !(args[1] & REMOTE_LOCK_WAIT))
        return status;
    waitq_add(locks_queue(), &job->waiter);
    status = locks_set(file, want); /* it may have been given up meanwhile */
    return status == -EAGAIN ? HUB_LATER : status;
}

static int64_t serve_opened(struct hub_job *job, struct file *file)
{
    if (job->request.args[1])
        return fifo_give_up(file) < 0 ? -EINTR : 0;
    while (fifo_waits(file))
        if (!serve_enqueue(job, file))
            return HUB_LATER;
    return 0;
}

/* Operations on a handle. */
static int64_t on_file(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    const struct file_ops *ops = file->ops;
    switch (job->request.op - HUB_FILE_FIRST) {
    case REMOTE_READ: return serve_read(job, file);
    case REMOTE_WRITE: return serve_write(job, file);
    case REMOTE_LSEEK:
        return ops->lseek ? ops->lseek(file, (int64_t)args[1], (int)args[2]) : -ESPIPE;
    case REMOTE_FSTAT: return serve_fstat(job, file);
    case REMOTE_FTRUNCATE:
        return ops->ftruncate && writable(file) ? ops->ftruncate(file, args[1]) : -EINVAL;
    case REMOTE_FALLOCATE: return serve_fallocate(job, file);
    case REMOTE_IOCTL: return serve_ioctl(job, file);
    case REMOTE_POLL: return serve_poll(job, file);
    case REMOTE_FLAGS: return serve_flags(job, file);
    case REMOTE_DUP_TO: return serve_dup_to(job, file);
    case REMOTE_LOCK: return serve_lock(job, file);
    case REMOTE_OPENED: return serve_opened(job, file);
    case REMOTE_UNPACK: return carry_serve(job, file);
    default: return -ENOSYS;
    }
}

static int64_t dispatch(struct hub_job *job)
{
    switch (job->request.op - HUB_FILE_FIRST) {
    case REMOTE_CLOSE: close_handle(job->peer, job->request.args[0]); return 0;
    case REMOTE_ADOPT: return serve_adopt(job);
    case REMOTE_POSITION: return serve_position(job);
    case REMOTE_SCRATCH: return serve_scratch(job);
    case REMOTE_SOCKET: return serve_socket(job);
    case REMOTE_TTY: return serve_tty(job);
    default: break;
    }
    struct file *file = serve_file(job->peer, job->request.args[0]);
    if (!file)
        return -EBADF;
    int64_t ret = on_file(job, file);
    file_unref(file);
    return ret;
}

int64_t hub_files(struct hub_job *job)
{
    struct thread *self = current();
    bool buffers = self->kernel_buffers, block = self->never_block;
    self->kernel_buffers = self->never_block = true;
    waitq_remove(&job->waiter);
    int64_t ret = dispatch(job);
    if (ret != HUB_LATER)
        waitq_remove(&job->waiter);
    self->kernel_buffers = buffers;
    self->never_block = block;
    return ret;
}

/* --- the root's own program -------------------------------------------------------------------- */

static int give_here(int32_t pid, struct file *file, struct remote_info *ret)
{
    struct peer *child = peer_by_pid(pid);
    if (!child)
        return -ESRCH;
    int32_t handle = serve_add(child, file_ref(file));
    if (handle < 0) {
        file_unref(file);
        return handle;
    }
    serve_info(file, ret);
    ret->handle = handle;
    return 0;
}

int remote_give(int32_t pid, struct file *file, struct remote_info *ret)
{
    if (hub_is_here())
        return give_here(pid, file, ret);
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_DUP_TO,
                           .args = { (uint64_t)remote_handle(file), (uint64_t)pid } };
    int64_t handle = hub_ask(&ask);
    if (handle < 0)
        return (int)handle;
    remote_info(file, ret);
    ret->handle = (int32_t)handle;
    return 0;
}
