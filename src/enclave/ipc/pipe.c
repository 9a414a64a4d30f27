/*
 * pipe(2), pipe2(2). Tier: enclave.
 *
 * Linux keeps page-sized slots, we a ring of bytes: capacity, PIPE_BUF atomicity, end of file and
 * EPIPE are the same; a pipe of many one-byte writes holds more here. O_DIRECT (packets) is EINVAL.
 */
#include "ipc/pipe.h"

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/epoll.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/state.h"
#include "sys/sys.h"
#include "thread/threads.h"
#include "tree/hub.h"
#include "vfs/kstat.h"
#include "vfs/remote/remote.h"

#define FETCH_TRIES   1000u
#define O_WRONLY_FLAG 1u
#define PAGE          4096u
#define MODE_FIFO     0010600u
#define FIONREAD      0x541bu

sys_fn sys_pipe, sys_pipe2;

struct pipe {
    struct stream stream;
    struct waitq readable, writable;
    uint32_t refs;
    uint64_t ino;
    struct file *reader, *writer; /* not referenced; NULL once released. Under the stream's mutex */
};

/* --- streams ---------------------------------------------------------------------------------- */

uint32_t stream_size(const struct stream *stream)
{
    return stream->size ? stream->size : PIPE_SIZE_DEFAULT;
}

uint32_t stream_used(const struct stream *stream)
{
    uint64_t head = __atomic_load_n(&stream->head, __ATOMIC_SEQ_CST);
    return (uint32_t)(__atomic_load_n(&stream->tail, __ATOMIC_SEQ_CST) - head);
}

uint32_t stream_room(const struct stream *stream)
{
    /* head may move between the two loads of stream_used(): never more than there is. */
    uint32_t used = stream_used(stream), all = stream_size(stream);
    return used < all ? all - used : 0;
}

static uint32_t readers(const struct stream *stream)
{
    return __atomic_load_n(&stream->readers, __ATOMIC_SEQ_CST);
}

static uint32_t writers(const struct stream *stream)
{
    return __atomic_load_n(&stream->writers, __ATOMIC_SEQ_CST);
}

bool stream_moved(const struct stream *stream)
{
    return __atomic_load_n(&stream->moved, __ATOMIC_SEQ_CST);
}

void stream_done(struct stream *stream)
{
    stream_rights_drop_all(stream_rights_take(stream));
    if (stream->ring)
        heap_pages_free(stream->ring, stream->size / PAGE);
}

/* Copies n bytes of the ring from position at, in one or two pieces. The mutex is held. */
/*
 * Copies from and to the program, with the mutex. The memory may be a page that another process holds just now
 * (mm/dsm.h): only the hub's thread can get it, and that may be waiting for this very mutex. So such a page
 * is -EFAULT here; fetch() brings it in without the mutex, and the caller tries again.
 */
static int copy_out(const struct stream *stream, uint64_t at, uint8_t *user, uint32_t n)
{
    uint32_t start = (uint32_t)at & (stream->size - 1);
    uint32_t first = n < stream->size - start ? n : stream->size - start;
    current()->holds_stream = true;
    int ret = copy_to_user(user, stream->ring + start, first);
    if (ret == 0 && first < n)
        ret = copy_to_user(user + first, stream->ring, n - first);
    current()->holds_stream = false;
    return ret;
}

static int copy_in(struct stream *stream, uint64_t at, const uint8_t *user, uint32_t n)
{
    uint32_t start = (uint32_t)at & (stream->size - 1);
    uint32_t first = n < stream->size - start ? n : stream->size - start;
    current()->holds_stream = true;
    int ret = copy_from_user(stream->ring + start, user, first);
    if (ret == 0 && first < n)
        ret = copy_from_user(stream->ring, user + first, n - first);
    current()->holds_stream = false;
    return ret;
}

/* After -EFAULT, without the mutex: true if it is worth another try. */
static bool fetch(const void *user, uint64_t n, bool write, uint32_t *tries)
{
    return !current()->kernel_buffers && (*tries)++ < FETCH_TRIES &&
           user_prefault(user, n, write) == 0;
}

static bool at_end(const struct stream *stream)
{
    return !writers(stream);
}

static bool read_ready(void *object)
{
    struct stream *stream = object;
    return stream_used(stream) || at_end(stream) || stream_moved(stream);
}

/* The same for memory of ours: on its way to the hub. */
static void ring_out(const struct stream *stream, uint64_t at, void *buf, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        ((uint8_t *)buf)[i] = stream->ring[(at + i) & (stream->size - 1)];
}

struct stream_rights *stream_rights_new(uint32_t count)
{
    struct stream_rights *rights = heap_alloc(sizeof(*rights) + count * sizeof(struct file *));
    return rights;
}

/* A file may be a socket, on its way in which is another, and so on without end: the last reference to one drops the
 * next, which therefore waits on a list of this thread's instead of being dropped from in here. */
void stream_rights_drop(struct stream_rights *rights)
{
    struct thread *self = current();
    if (!rights)
        return;
    rights->next = self->dropped;
    self->dropped = rights;
    if (self->drops)
        return;
    self->drops = true;
    while ((rights = self->dropped)) {
        self->dropped = rights->next;
        for (uint32_t i = 0; i < rights->count; i++)
            file_unref(rights->files[i]);
        heap_free(rights);
    }
    self->drops = false;
}

/* How much of size may be read in one go; what comes with the first byte. The mutex is held. */
static uint64_t up_to_rights(const struct stream *stream, uint64_t size, struct stream_rights **ret)
{
    struct stream_rights *first = stream->rights;
    *ret = first && first->at == stream->head ? first : NULL;
    const struct stream_rights *next = *ret ? first->next : first;
    if (*ret && first->size < size)
        size = first->size;
    return next && next->at - stream->head < size ? next->at - stream->head : size;
}

int64_t stream_read(struct stream *stream, void *user, uint64_t size, bool nonblock, bool peek)
{
    return stream_read_rights(stream, user, size, nonblock, peek, NULL);
}

int64_t stream_read_rights(struct stream *stream, void *user, uint64_t size, bool nonblock,
                           bool peek, struct stream_rights **ret_rights)
{
    uint32_t tries = 0;
    if (!size)
        return 0;
    for (;;) {
        struct stream_rights *rights = NULL;
        mutex_take(&stream->mutex);
        if (stream->moved) {
            mutex_drop(&stream->mutex);
            return STREAM_MOVED;
        }
        uint32_t used = stream_used(stream);
        if (used) {
            uint64_t limit = up_to_rights(stream, size, &rights);
            uint32_t n = limit < used ? (uint32_t)limit : used;
            int ret = copy_out(stream, stream->head, user, n);
            if (ret < 0 || peek)
                rights = NULL;
            if (rights)
                stream->rights = rights->next;
            if (ret == 0 && !peek)
                __atomic_store_n(&stream->head, stream->head + n, __ATOMIC_SEQ_CST);
            mutex_drop(&stream->mutex);
            if (ret == -EFAULT && fetch(user, n, true, &tries))
                continue;
            if (ret < 0)
                return ret;
            if (ret_rights)
                *ret_rights = rights;
            else
                stream_rights_drop(rights);
            if (!peek)
                waitq_wake(stream->writable, UINT32_MAX);
            return n;
        }
        bool end = at_end(stream);
        /* A writer may have written and gone between the two looks. */
        bool again = stream_used(stream) != 0;
        mutex_drop(&stream->mutex);
        if (again)
            continue;
        if (end)
            return 0;
        if (nonblock)
            return -EAGAIN;
        int ret = anon_wait(stream->readable, read_ready, stream);
        if (ret < 0)
            return ret;
    }
}

struct write_wait {
    struct stream *stream;
    uint32_t need;
};

static bool write_ready(void *object)
{
    struct write_wait *wait = object;
    return stream_room(wait->stream) >= wait->need || !readers(wait->stream) ||
           stream_moved(wait->stream);
}

static int make_ring(struct stream *stream)
{
    if (stream->ring)
        return 0;
    stream->ring = heap_pages(stream_size(stream) / PAGE);
    if (!stream->ring)
        return -ENOMEM;
    stream->size = stream_size(stream);
    return 0;
}

/* The mutex is held. */
static void rights_add(struct stream *stream, struct stream_rights *rights, uint32_t size)
{
    struct stream_rights **last = &stream->rights;
    while (*last)
        last = &(*last)->next;
    rights->at = stream->tail;
    rights->size = size;
    rights->next = NULL;
    *last = rights;
}

int64_t stream_write(struct stream *stream, const void *user, uint64_t size, bool nonblock,
                     bool atomic)
{
    return stream_write_rights(stream, user, size, nonblock, atomic, NULL);
}

int64_t stream_write_rights(struct stream *stream, const void *user, uint64_t size, bool nonblock,
                            bool atomic, struct stream_rights **rights)
{
    const uint8_t *from = user;
    uint64_t done = 0, want = 0;
    uint32_t tries = 0;
    int64_t ret = 0;

    while (done < size) {
        uint64_t left = size - done;
        /* What must go at once: all of a small write, else anything. */
        uint32_t need = atomic && size <= PIPE_ATOMIC ? (uint32_t)size : 1;
        mutex_take(&stream->mutex);
        if (stream->moved) {
            ret = STREAM_MOVED;
        } else if (!readers(stream)) {
            ret = -EPIPE;
        } else if ((ret = make_ring(stream)) == 0) {
            uint32_t room = stream_room(stream);
            if (room >= need) {
                uint32_t n = left < room ? (uint32_t)left : room;
                want = n;
                ret = copy_in(stream, stream->tail, from + done, n);
                if (ret == 0 && rights && *rights)
                    rights_add(stream, TAKE_PTR(*rights), n);
                if (ret == 0) {
                    __atomic_store_n(&stream->tail, stream->tail + n, __ATOMIC_SEQ_CST);
                    done += n;
                }
            } else {
                ret = -EAGAIN;
            }
        }
        mutex_drop(&stream->mutex);
        if (ret == 0) {
            waitq_wake(stream->readable, UINT32_MAX);
            continue;
        }
        if (ret == -EFAULT && fetch(from + done, want, false, &tries))
            continue;
        if (ret != -EAGAIN || nonblock)
            break;
        struct write_wait wait = { stream, need };
        ret = anon_wait(stream->writable, write_ready, &wait);
        if (ret < 0)
            break;
    }
    return done ? (int64_t)done : ret;
}

/* Descriptors whose first byte is at this position. */
static const struct stream_rights *rights_at(const struct stream *stream, uint64_t at)
{
    for (const struct stream_rights *r = stream->rights; r; r = r->next)
        if (r->at == at)
            return r;
    return NULL;
}

/* How many bytes from here on come with the same descriptors, or none. */
static uint64_t rights_until(const struct stream *stream, uint64_t at)
{
    uint64_t until = stream->tail;
    for (const struct stream_rights *r = stream->rights; r && r->at <= at; r = r->next)
        if (r->at == at)
            return r->size;
    for (const struct stream_rights *r = stream->rights; r; r = r->next)
        if (r->at > at && r->at < until)
            until = r->at;
    return until - at;
}

/* A piece; buf has room for the ring. Bytes, or an error. */
static int64_t push_one(const struct stream *stream, uint64_t at, const struct remote *to,
                        const struct remote_pair *own, uint8_t *buf)
{
    const struct stream_rights *rights = rights_at(stream, at);
    uint64_t left = rights_until(stream, at);
    uint32_t n = left < REMOTE_PUSH_MAX ? (uint32_t)left : REMOTE_PUSH_MAX;
    ring_out(stream, at, buf, n);
    if (!rights) {
        int ret = remote_push(to, buf, n);
        return ret < 0 ? ret : (int64_t)n;
    }
    int64_t sent = remote_push_rights(to, buf, n, rights, own);
    return sent == 0 ? -EIO : sent;
}

int stream_move(struct stream *stream, const struct remote *to, const struct remote_pair *own)
{
    if (!stream_used(stream))
        return 0;
    uint8_t *buf = heap_pages(stream->size / PAGE);
    int64_t n = buf ? 0 : -ENOMEM;
    for (uint64_t at = stream->head; n >= 0 && at != stream->tail; at += (uint64_t)n)
        n = push_one(stream, at, to, own, buf);
    if (buf)
        heap_pages_free(buf, stream->size / PAGE);
    return n < 0 ? (int)n : 0;
}

struct stream_rights *stream_rights_take(struct stream *stream)
{
    return TAKE_PTR(stream->rights);
}

void stream_rights_drop_all(struct stream_rights *list)
{
    while (list) {
        struct stream_rights *rights = list;
        list = rights->next;
        stream_rights_drop(rights);
    }
}

struct file *stream_rights_file(struct stream *stream, uint32_t n)
{
    struct file *found = NULL;
    mutex_take(&stream->mutex);
    for (const struct stream_rights *r = stream->moved ? NULL : stream->rights; r && !found;
         r = r->next)
        for (uint32_t i = 0; i < r->count && !found; i++)
            if (r->files[i]->ops->travel == TRAVEL_HUB && r->files[i]->ops->move && n-- == 0)
                found = file_ref(r->files[i]);
    mutex_drop(&stream->mutex);
    return found;
}

void stream_sigpipe(void)
{
    if (current()->never_block)
        return; /* for another process, which sees EPIPE */
    signal_send_thread(current(), &(struct signal_info){
                                      .number = SIGPIPE,
                                      .code = SI_USER,
                                      .pid = process_pid(),
                                      .uid = (int32_t)process_node()->uid,
                                  });
}

/* --- the file --------------------------------------------------------------------------------- */

static struct pipe *pipe_of(struct file *file)
{
    return file->object;
}

static bool is_writer(const struct file *file)
{
    return file->flags & O_WRONLY_FLAG;
}

static int64_t pipe_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    if (is_writer(file))
        return -EBADF;
    int64_t ret = stream_read(&pipe_of(file)->stream, user, size, anon_nonblock(file), false);
    return ret == STREAM_MOVED ? file->ops->read(file, user, size, pos) : ret;
}

static int64_t pipe_write(struct file *file, const void *user, uint64_t size, uint64_t *pos)
{
    if (!is_writer(file))
        return -EBADF;
    int64_t ret = stream_write(&pipe_of(file)->stream, user, size, anon_nonblock(file), true);
    if (ret == STREAM_MOVED)
        return file->ops->write(file, user, size, pos);
    if (ret == -EPIPE)
        stream_sigpipe();
    return ret;
}

static uint32_t pipe_poll(struct file *file, struct waiter *waiter)
{
    struct pipe *pipe = pipe_of(file);
    struct stream *stream = &pipe->stream;
    if (waiter)
        waitq_add(is_writer(file) ? &pipe->writable : &pipe->readable, waiter);
    if (stream_moved(stream)) {
        if (waiter)
            waitq_remove(waiter);
        return file->ops->poll(file, waiter);
    }
    if (is_writer(file))
        return (stream_room(stream) >= PIPE_ATOMIC ? EPOLLOUT | EPOLLWRNORM : 0) |
               (readers(stream) ? 0 : EPOLLERR);
    return (stream_used(stream) ? EPOLLIN | EPOLLRDNORM : 0) | (writers(stream) ? 0 : EPOLLHUP);
}

static int pipe_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(pipe_of(file)->ino, MODE_FIFO, ret);
    return 0;
}

int64_t stream_set_size(struct stream *stream, uint64_t size)
{
    uint32_t want = PAGE;
    if (size > PIPE_SIZE_MAX)
        return size > 1u << 31 ? -EINVAL : -EPERM;
    while (want < size)
        want *= 2;

    int64_t ret = want;
    mutex_take(&stream->mutex);
    uint32_t used = stream_used(stream);
    if (stream->moved) {
        ret = STREAM_MOVED;
    } else if (want < used) {
        ret = -EBUSY;
    } else if (!stream->ring) {
        stream->size = want;
    } else if (want != stream->size) {
        uint8_t *ring = heap_pages(want / PAGE);
        if (!ring) {
            ret = -ENOMEM;
        } else {
            /* Positions keep their meaning: position p lies at p modulo the size. */
            for (uint64_t at = stream->head; at != stream->tail; at++)
                ring[at & (want - 1)] = stream->ring[at & (stream->size - 1)];
            heap_pages_free(stream->ring, stream->size / PAGE);
            stream->ring = ring;
            stream->size = want;
        }
    }
    mutex_drop(&stream->mutex);
    if (ret > 0)
        waitq_wake(stream->writable, UINT32_MAX);
    return ret;
}

static int64_t set_size(struct file *file, uint64_t size)
{
    int64_t ret = stream_set_size(&pipe_of(file)->stream, size);
    return ret == STREAM_MOVED ? file->ops->ioctl(file, F_SETPIPE_SZ, size) : ret;
}

/* vfs/ hands fcntl's pipe sizes on as requests. */
static int64_t pipe_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    if (stream_moved(&pipe_of(file)->stream))
        return file->ops->ioctl(file, request, arg);
    if (request == F_GETPIPE_SZ)
        return stream_size(&pipe_of(file)->stream);
    if (request == F_SETPIPE_SZ)
        return set_size(file, arg);
    if (request != FIONREAD)
        return -ENOTTY;
    int32_t used = (int32_t)stream_used(&pipe_of(file)->stream);
    return PUT_USER((int32_t *)(uintptr_t)arg, &used);
}

static void pipe_release(struct file *file)
{
    struct pipe *pipe = pipe_of(file);
    mutex_take(&pipe->stream.mutex);
    *(is_writer(file) ? &pipe->writer : &pipe->reader) = NULL;
    mutex_drop(&pipe->stream.mutex);
    if (is_writer(file)) {
        __atomic_sub_fetch(&pipe->stream.writers, 1, __ATOMIC_SEQ_CST);
        waitq_wake(&pipe->readable, UINT32_MAX);
    } else {
        __atomic_sub_fetch(&pipe->stream.readers, 1, __ATOMIC_SEQ_CST);
        waitq_wake(&pipe->writable, UINT32_MAX);
    }
    if (__atomic_sub_fetch(&pipe->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        stream_done(&pipe->stream);
        heap_free(pipe);
    }
}

/* Both handles, or none. */
static int move_ends(struct pipe *pipe, struct file *reader, struct file *writer)
{
    struct stream *stream = &pipe->stream;
    struct hub_ask ask = {
        .op = HUB_FILE_FIRST + REMOTE_ADOPT,
        .args = { ADOPT_PIPE, stream_size(stream), reader ? reader->flags & ANON_NONBLOCK : 0,
                  writer ? writer->flags & ANON_NONBLOCK : 0 },
    };
    int64_t handle = hub_ask(&ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    remote_info_of(&ask, handle, &info);
    struct remote *in = remote_new(&info);
    info.handle = (int32_t)ask.out[3];
    info.flags |= O_WRONLY_FLAG;
    struct remote *out = remote_new(&info);
    int ret = in && out ? stream_move(stream, out, NULL) : -ENOMEM;
    if (ret == 0 && reader)
        remote_become(reader, TAKE_PTR(in));
    if (ret == 0 && writer)
        remote_become(writer, TAKE_PTR(out));
    if (ret == 0)
        __atomic_store_n(&stream->moved, true, __ATOMIC_SEQ_CST);
    if (in)
        remote_drop(in);
    if (out)
        remote_drop(out);
    return ret;
}

/* Threads that wait here are woken and go on at the hub. */
static int pipe_move(struct file *file)
{
    struct pipe *pipe = pipe_of(file);
    mutex_take(&pipe->stream.mutex);
    struct file *reader = pipe->reader ? file_try_ref(pipe->reader) : NULL;
    struct file *writer = pipe->writer ? file_try_ref(pipe->writer) : NULL;
    int ret = pipe->stream.moved ? 0 : move_ends(pipe, reader, writer);
    mutex_drop(&pipe->stream.mutex);
    waitq_wake(&pipe->readable, UINT32_MAX);
    waitq_wake(&pipe->writable, UINT32_MAX);
    if (reader)
        epoll_moved(reader);
    if (writer)
        epoll_moved(writer);
    file_unref(reader);
    file_unref(writer);
    return ret;
}

static const struct file_ops g_pipe_ops = {
    .name = "pipe",
    .read = pipe_read,
    .write = pipe_write,
    .fstat = pipe_fstat,
    .ioctl = pipe_ioctl,
    .poll = pipe_poll,
    .release = pipe_release,
    .travel = TRAVEL_HUB,
    .move = pipe_move,
};

/* --- calls ------------------------------------------------------------------------------------ */

int pipe_new(uint32_t size, uint32_t reader_flags, uint32_t writer_flags, struct file **ret_reader,
             struct file **ret_writer)
{
    /* The ring is used by mask, and another process may have said this. */
    if (size && (size < PAGE || size > PIPE_SIZE_MAX || size & (size - 1)))
        return -EINVAL;
    struct pipe *pipe = heap_alloc(sizeof(*pipe));
    if (!pipe)
        return -ENOMEM;
    *pipe = (struct pipe){
        .stream = { .readers = 1, .writers = 1, .size = size },
        .refs = 2,
        .ino = anon_ino(),
    };
    pipe->stream.readable = &pipe->readable;
    pipe->stream.writable = &pipe->writable;

    struct file *reader = file_new(&g_pipe_ops, reader_flags & ANON_NONBLOCK, pipe);
    if (!reader) {
        heap_free(pipe);
        return -ENOMEM;
    }
    struct file *writer =
        file_new(&g_pipe_ops, (writer_flags & ANON_NONBLOCK) | O_WRONLY_FLAG, pipe);
    if (!writer) {
        pipe->refs = 1;
        file_unref(reader);
        return -ENOMEM;
    }
    pipe->reader = *ret_reader = reader;
    pipe->writer = *ret_writer = writer;
    return 0;
}

static int64_t make_pipe(uint64_t user, uint32_t flags)
{
    struct file *reader, *writer;
    if (flags & ~(ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    int ret = pipe_new(0, flags, flags, &reader, &writer);
    if (ret < 0)
        return ret;
    int32_t fds[2] = { anon_install(reader, flags), -1 };
    if (fds[0] < 0) {
        file_unref(writer);
        return fds[0];
    }
    fds[1] = anon_install(writer, flags);
    ret = fds[1] < 0 ? fds[1] : PUT_USER((int32_t(*)[2])(uintptr_t)user, &fds);
    if (ret < 0) {
        (void)!fd_close(fds[0]);
        if (fds[1] >= 0)
            (void)!fd_close(fds[1]);
    }
    return ret;
}

int64_t sys_pipe(const struct sysargs *args)
{
    return make_pipe(args->a[0], 0);
}

int64_t sys_pipe2(const struct sysargs *args)
{
    return make_pipe(args->a[0], (uint32_t)args->a[1]);
}
