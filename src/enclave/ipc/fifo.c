/*
 * FIFOs (fifo.h). Tier: enclave.
 *
 * A stream as a pipe's, with any number of files at each end, and one queue for all who wait, since one file may be
 * both ends. How often each end was opened is counted: an open waits for the other end's count to change, so that it is
 * not missed if that is closed again at once. What is in the stream goes with the last file, as on Linux.
 */
#include "ipc/fifo.h"

#include "arch/string.h"
#include "ipc/anon.h"
#include "ipc/pipe.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "vfs/kstat.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/tmpfs/tmpfs.h"

#define FIONREAD 0x541bu

struct fifo {
    struct stream stream; /* readers, writers: open ends */
    struct waitq queue;
    struct lock lock;
    uint64_t read_opens, write_opens; /* ever; atomic */
};

struct end {
    struct fifo *fifo;
    struct inode *inode; /* referenced */
    uint64_t seen;       /* the other end's opens when this one was opened */
    bool waits;          /* its open is for another one */
    bool gone;           /* it is counted no more */
    bool quiet; /* a reader before any writer: no end of file to tell (EPOLLHUP) until then */
};

static struct end *end_of(const struct file *file)
{
    return file->object;
}

static bool reads(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_WRONLY;
}

static bool writes(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_RDONLY;
}

/* Of the end that this one talks to. */
static uint64_t other_opens(const struct file *file)
{
    const struct fifo *fifo = end_of(file)->fifo;
    return __atomic_load_n(reads(file) ? &fifo->write_opens : &fifo->read_opens, __ATOMIC_SEQ_CST);
}

struct fifo *fifo_new(void)
{
    struct fifo *fifo = heap_alloc(sizeof(*fifo));
    if (fifo)
        fifo->stream.readable = fifo->stream.writable = &fifo->queue;
    return fifo;
}

void fifo_free(struct fifo *fifo)
{
    if (fifo)
        stream_done(&fifo->stream);
    heap_free(fifo);
}

/* --- the file ------------------------------------------------------------------------------------- */

static int64_t fifo_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    return reads(file)
               ? stream_read(&end_of(file)->fifo->stream, user, size, anon_nonblock(file), false)
               : -EBADF;
}

static int64_t fifo_write(struct file *file, const void *user, uint64_t size, uint64_t *pos UNUSED)
{
    if (!writes(file))
        return -EBADF;
    int64_t ret = stream_write(&end_of(file)->fifo->stream, user, size, anon_nonblock(file), true);
    if (ret == -EPIPE)
        stream_sigpipe();
    return ret;
}

static uint32_t fifo_poll(struct file *file, struct waiter *waiter)
{
    const struct end *end = end_of(file);
    const struct stream *stream = &end->fifo->stream;
    uint32_t events = 0;
    if (waiter)
        waitq_add(&end->fifo->queue, waiter);
    if (reads(file)) {
        bool over = !__atomic_load_n(&stream->writers, __ATOMIC_SEQ_CST) &&
                    !(end->quiet && end->seen == other_opens(file));
        events |= (stream_used(stream) ? EPOLLIN | EPOLLRDNORM : 0) | (over ? EPOLLHUP : 0);
    }
    if (writes(file))
        events |= (stream_room(stream) >= PIPE_ATOMIC ? EPOLLOUT | EPOLLWRNORM : 0) |
                  (__atomic_load_n(&stream->readers, __ATOMIC_SEQ_CST) ? 0 : EPOLLERR);
    return events;
}

static int fifo_fstat(struct file *file, struct kstat *ret)
{
    return g_tmpfs_fs.stat(&(struct place){ .fs = &g_tmpfs_fs, .object = end_of(file)->inode },
                           ret);
}

static int64_t fifo_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    struct stream *stream = &end_of(file)->fifo->stream;
    if (request == F_GETPIPE_SZ)
        return stream_size(stream);
    if (request == F_SETPIPE_SZ)
        return stream_set_size(stream, arg);
    if (request != FIONREAD)
        return -ENOTTY;
    int32_t used = (int32_t)stream_used(stream);
    return PUT_USER((int32_t *)(uintptr_t)arg, &used);
}

/* Locked: nobody has it open, so that nobody is at it. */
static void empty(struct fifo *fifo)
{
    struct stream *stream = &fifo->stream;
    stream_done(stream);
    stream->ring = NULL;
    stream->size = 0;
    __atomic_store_n(&stream->head, stream->tail, __ATOMIC_SEQ_CST);
}

/* Locked. */
static void uncount(struct file *file)
{
    struct end *end = end_of(file);
    struct fifo *fifo = end->fifo;
    if (end->gone)
        return;
    end->gone = true;
    if (reads(file))
        __atomic_sub_fetch(&fifo->stream.readers, 1, __ATOMIC_SEQ_CST);
    if (writes(file))
        __atomic_sub_fetch(&fifo->stream.writers, 1, __ATOMIC_SEQ_CST);
    if (!fifo->stream.readers && !fifo->stream.writers)
        empty(fifo);
}

static void fifo_release(struct file *file)
{
    struct end *end = end_of(file);
    struct fifo *fifo = end->fifo;
    lock_take(&fifo->lock);
    uncount(file);
    lock_drop(&fifo->lock);
    waitq_wake(&fifo->queue, UINT32_MAX);
    tmpfs_unref(end->inode);
    heap_free(end);
}

static const struct file_ops g_fifo_ops = {
    .name = "fifo",
    .read = fifo_read,
    .write = fifo_write,
    .fstat = fifo_fstat,
    .ioctl = fifo_ioctl,
    .poll = fifo_poll,
    .release = fifo_release,
    .travel = TRAVEL_HUB,
};

/* --- opening -------------------------------------------------------------------------------------- */

/* Locked. */
static int count(struct fifo *fifo, struct file *file, struct end *end)
{
    bool in = reads(file), out = writes(file), both = in && out, nonblock = anon_nonblock(file);
    if (!in && nonblock && !fifo->stream.readers)
        return -ENXIO;
    bool alone = in ? !fifo->stream.writers : !fifo->stream.readers;
    end->waits = alone && !both && !nonblock;
    end->quiet = alone && in && !both;
    end->seen = in ? fifo->write_opens : fifo->read_opens;
    if (in) {
        __atomic_add_fetch(&fifo->stream.readers, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&fifo->read_opens, 1, __ATOMIC_SEQ_CST);
    }
    if (out) {
        __atomic_add_fetch(&fifo->stream.writers, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&fifo->write_opens, 1, __ATOMIC_SEQ_CST);
    }
    return 0;
}

int fifo_open(struct fifo *fifo, struct inode *inode, uint32_t flags, struct file **ret)
{
    struct end *end = heap_alloc(sizeof(*end));
    if (!end)
        return -ENOMEM;
    end->fifo = fifo;
    struct file *file = file_new(&g_fifo_ops, flags, end);
    if (!file) {
        heap_free(end);
        return -ENOMEM;
    }
    lock_take(&fifo->lock);
    int status = count(fifo, file, end);
    lock_drop(&fifo->lock);
    if (status < 0) {
        heap_free(end);
        heap_free(file);
        return status;
    }
    end->inode = tmpfs_ref(inode);
    waitq_wake(&fifo->queue, UINT32_MAX);
    *ret = file;
    return 0;
}

static bool has_come(void *object)
{
    const struct file *file = object;
    return !end_of(file)->waits || other_opens(file) != end_of(file)->seen;
}

bool fifo_waits(const struct file *file)
{
    return file->ops == &g_fifo_ops && !has_come((void *)(uintptr_t)file);
}

int fifo_wait(struct file *file)
{
    int status = 0;
    while (status == 0 && !has_come(file))
        status = anon_wait(&end_of(file)->fifo->queue, has_come, file);
    return status < 0 ? fifo_give_up(file) : 0;
}

int fifo_give_up(struct file *file)
{
    if (file->ops != &g_fifo_ops)
        return 0;
    LOCKED(&end_of(file)->fifo->lock);
    if (has_come(file))
        return 0;
    uncount(file);
    return -ERESTARTSYS;
}
