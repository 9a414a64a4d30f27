/* Pairs of stream sockets (unix.h). Tier: enclave. */
#include "ipc/unix.h"

#include "arch/string.h"
#include "ipc/anon.h"
#include "ipc/epoll.h"
#include "ipc/pipe.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "tree/hub.h"
#include "vfs/kstat.h"
#include "vfs/remote/remote.h"

#define MODE_SOCKET 0140777u
#define FIONREAD    0x541bu
#define SIZE        (4 * PIPE_SIZE_DEFAULT) /* about what wmem_default gives */

struct pair;

/* One end: reads its own stream, writes the peer's. */
struct end {
    struct pair *pair;
    struct stream in;
    struct waitq queue;         /* whatever changes for this end */
    bool read_shut, write_shut; /* changed under pair->lock */
    uint64_t ino;
    struct file *file; /* not referenced; NULL once released. Under pair->lock */
};

struct pair {
    struct end ends[2];
    struct lock lock;
    uint32_t refs;
};

static const struct file_ops g_unix_ops;

bool unix_is(const struct file *file)
{
    return file->ops == &g_unix_ops;
}

static struct end *end_of(struct file *file)
{
    return file->object;
}

static struct end *peer_of(struct end *end)
{
    return &end->pair->ends[end == &end->pair->ends[0]];
}

int64_t unix_receive(struct file *file, void *user, uint64_t size, bool nonblock, bool peek)
{
    int64_t ret = stream_read(&end_of(file)->in, user, size, nonblock, peek);
    if (ret != STREAM_MOVED)
        return ret;
    return remote_read(file, user, size, NULL,
                       (nonblock ? REMOTE_NONBLOCK : 0) | (peek ? REMOTE_PEEK : 0));
}

int64_t unix_send(struct file *file, const void *user, uint64_t size, bool nonblock)
{
    struct end *end = end_of(file);
    if (__atomic_load_n(&end->write_shut, __ATOMIC_SEQ_CST))
        return -EPIPE;
    int64_t ret = stream_write(&peer_of(end)->in, user, size, nonblock, false);
    return ret == STREAM_MOVED
               ? remote_write(file, user, size, NULL, nonblock ? REMOTE_NONBLOCK : 0)
               : ret;
}

/* Each stream starts with one reader and one writer, each of which goes once. */
static void shut(struct end *end, bool read, bool write)
{
    struct end *peer = peer_of(end);
    lock_take(&end->pair->lock);
    read = read && !end->read_shut;
    write = write && !end->write_shut;
    end->read_shut |= read;
    if (write)
        __atomic_store_n(&end->write_shut, true, __ATOMIC_SEQ_CST);
    lock_drop(&end->pair->lock);
    if (read)
        __atomic_sub_fetch(&end->in.readers, 1, __ATOMIC_SEQ_CST);
    if (write)
        __atomic_sub_fetch(&peer->in.writers, 1, __ATOMIC_SEQ_CST);
    waitq_wake(&peer->queue, UINT32_MAX);
    waitq_wake(&end->queue, UINT32_MAX);
}

void unix_shutdown(struct file *file, enum unix_shut how)
{
    struct end *end = end_of(file);
    if (stream_moved(&end->in)) {
        (void)!remote_shutdown(file, how);
        return;
    }
    shut(end, how != UNIX_SHUT_WRITE, how != UNIX_SHUT_READ);
    /* Who shuts its reading side reads the end of the file from then on. */
    if (how != UNIX_SHUT_WRITE)
        shut(peer_of(end), false, true);
}

static int64_t unix_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    return unix_receive(file, user, size, anon_nonblock(file), false);
}

static int64_t unix_write(struct file *file, const void *user, uint64_t size, uint64_t *pos UNUSED)
{
    int64_t ret = unix_send(file, user, size, anon_nonblock(file));
    if (ret == -EPIPE)
        stream_sigpipe();
    return ret;
}

static uint32_t unix_poll(struct file *file, struct waiter *waiter)
{
    struct end *end = end_of(file), *peer = peer_of(end);
    if (waiter)
        waitq_add(&end->queue, waiter);
    if (stream_moved(&end->in)) {
        if (waiter)
            waitq_remove(waiter);
        return file->ops->poll(file, waiter);
    }
    bool peer_wrote_last = !__atomic_load_n(&end->in.writers, __ATOMIC_SEQ_CST);
    bool peer_reads = __atomic_load_n(&peer->in.readers, __ATOMIC_SEQ_CST);
    uint32_t ret = 0;
    if (stream_used(&end->in))
        ret |= EPOLLIN | EPOLLRDNORM;
    if (peer_wrote_last)
        ret |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
    if (!peer_reads || stream_room(&peer->in) >= SIZE / 4)
        ret |= EPOLLOUT | EPOLLWRNORM;
    if (peer_wrote_last && !peer_reads)
        ret |= EPOLLHUP;
    return ret;
}

static int unix_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(end_of(file)->ino, MODE_SOCKET, ret);
    return 0;
}

static int64_t unix_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    if (request != FIONREAD)
        return -ENOTTY;
    if (stream_moved(&end_of(file)->in))
        return file->ops->ioctl(file, request, arg);
    int32_t used = (int32_t)stream_used(&end_of(file)->in);
    return PUT_USER((int32_t *)(uintptr_t)arg, &used);
}

static void unix_release(struct file *file)
{
    struct end *end = end_of(file);
    struct pair *pair = end->pair;
    lock_take(&pair->lock);
    end->file = NULL;
    lock_drop(&pair->lock);
    shut(end, true, true);
    if (__atomic_sub_fetch(&pair->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        stream_done(&pair->ends[0].in);
        stream_done(&pair->ends[1].in);
        heap_free(pair);
    }
}

/* Both streams' mutexes are held; files: referenced, NULL where an end is closed. */
static int move_ends(struct pair *pair, struct file *const files[static 2])
{
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_ADOPT, .args = { ADOPT_PAIR } };
    for (uint32_t i = 0; i < 2; i++)
        ask.args[1 + i] = files[i] ? files[i]->flags & ANON_NONBLOCK : 0;
    int64_t handle = hub_ask(&ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    struct remote *remotes[2];
    remote_info_of(&ask, handle, &info);
    remotes[0] = remote_new(&info);
    info.handle = (int32_t)ask.out[3];
    remotes[1] = remote_new(&info);
    int ret = remotes[0] && remotes[1] ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        ret = stream_move(&pair->ends[i].in, remotes[1 - i]);
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        ret = remote_shut(remotes[i], pair->ends[i].read_shut, pair->ends[i].write_shut);
    for (uint32_t i = 0; i < 2; i++) {
        if (ret == 0 && files[i])
            remote_become(files[i], TAKE_PTR(remotes[i]));
        if (remotes[i])
            remote_drop(remotes[i]);
    }
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        __atomic_store_n(&pair->ends[i].in.moved, true, __ATOMIC_SEQ_CST);
    return ret;
}

/* Threads that wait here are woken and go on at the hub. */
static int unix_move(struct file *file)
{
    struct pair *pair = end_of(file)->pair;
    struct file *files[2];
    for (uint32_t i = 0; i < 2; i++)
        mutex_take(&pair->ends[i].in.mutex);
    lock_take(&pair->lock);
    for (uint32_t i = 0; i < 2; i++)
        files[i] = pair->ends[i].file ? file_try_ref(pair->ends[i].file) : NULL;
    lock_drop(&pair->lock);
    int ret = pair->ends[0].in.moved ? 0 : move_ends(pair, files);
    for (uint32_t i = 0; i < 2; i++)
        mutex_drop(&pair->ends[i].in.mutex);
    for (uint32_t i = 0; i < 2; i++) {
        waitq_wake(&pair->ends[i].queue, UINT32_MAX);
        if (files[i])
            epoll_moved(files[i]);
        file_unref(files[i]);
    }
    return ret;
}

static const struct file_ops g_unix_ops = {
    .name = "socket",
    .read = unix_read,
    .write = unix_write,
    .fstat = unix_fstat,
    .ioctl = unix_ioctl,
    .poll = unix_poll,
    .release = unix_release,
    .travel = TRAVEL_HUB,
    .move = unix_move,
};

int unix_pair(uint32_t flags_a, uint32_t flags_b, struct file **ret_a, struct file **ret_b)
{
    struct pair *pair = heap_alloc(sizeof(*pair));
    if (!pair)
        return -ENOMEM;
    pair->refs = 2;
    for (unsigned i = 0; i < 2; i++) {
        struct end *end = &pair->ends[i];
        end->pair = pair;
        end->ino = anon_ino();
        end->in = (struct stream){ .size = SIZE, .readers = 1, .writers = 1 };
        end->in.readable = &end->queue;
        end->in.writable = &pair->ends[1 - i].queue;
    }
    struct file *a = file_new(&g_unix_ops, flags_a | 2 /* O_RDWR */, &pair->ends[0]);
    struct file *b = a ? file_new(&g_unix_ops, flags_b | 2, &pair->ends[1]) : NULL;
    if (!b) {
        pair->refs = a ? 1 : 0;
        if (a)
            file_unref(a);
        else
            heap_free(pair);
        return -ENOMEM;
    }
    pair->ends[0].file = *ret_a = a;
    pair->ends[1].file = *ret_b = b;
    return 0;
}
