/*
 * AF_UNIX sockets (unix.h). Tier: enclave. Thread-safe.
 *
 * A socket that is connected reads its own stream and writes its peer's. It is referenced by its file and by its
 * peer, so that each may look at the other until both are closed.
 */
#include "ipc/unix.h"

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/epoll.h"
#include "ipc/pipe.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "tree/hub.h"
#include "vfs/kstat.h"
#include "vfs/remote/carry.h"
#include "vfs/remote/remote.h"

#define MODE_SOCKET 0140777u
#define FIONREAD    0x541bu
#define SIZE        (4 * PIPE_SIZE_DEFAULT) /* about what wmem_default gives */
#define BACKLOG_MIN 128u                    /* so that nobody waits for connect() in practice */
#define BACKLOG_MAX 4096u
#define MOVES_DEEP  8u

struct sock {
    uint32_t refs, type;
    struct sock *peer; /* referenced; set once, with g_lock */
    struct stream in;
    struct waitq queue;         /* whatever changes for this end */
    struct lock lock;           /* shut flags, file */
    bool read_shut, write_shut;
    struct file *file; /* not referenced; NULL once released */
    uint64_t ino;

    /* Under g_lock. */
    struct unix_name name;
    struct sock *bound_next;                   /* all that have a name */
    bool bound, listening;
    struct sock *pending, *pending_next;       /* connected, not yet accepted; oldest first */
    uint32_t pending_count, backlog;
};

static struct lock g_lock; /* names, connections */
static struct sock *g_bound;
static const struct file_ops g_unix_ops;

bool unix_is(const struct file *file)
{
    return file->ops == &g_unix_ops;
}

static struct sock *sock_of(const struct file *file)
{
    return file->object;
}

static struct sock *peer_of(const struct sock *sock)
{
    return __atomic_load_n(&sock->peer, __ATOMIC_ACQUIRE);
}

/* --- life -------------------------------------------------------------------------------------- */

static struct sock *sock_new(uint32_t type)
{
    struct sock *sock = heap_alloc(sizeof(*sock));
    if (!sock)
        return NULL;
    sock->refs = 1;
    sock->ino = anon_ino();
    sock->type = type;
    sock->in = (struct stream){ .size = SIZE,
                                .readers = 1,
                                .writers = 1,
                                .packets = type != UNIX_STREAM,
                                .connectionless = type == UNIX_DATAGRAMS };
    return sock;
}

static void sock_unref(struct sock *sock)
{
    if (!sock || __atomic_sub_fetch(&sock->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    stream_done(&sock->in);
    heap_free(sock);
}

/* Two sockets become each other's peers. */
static void join(struct sock *a, struct sock *b)
{
    struct sock *both[2] = { a, b };
    for (int i = 0; i < 2; i++) {
        both[i]->in.readable = &both[i]->queue;
        both[i]->in.writable = &both[1 - i]->queue;
        __atomic_fetch_add(&both[i]->refs, 1, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&b->peer, a, __ATOMIC_RELEASE);
    __atomic_store_n(&a->peer, b, __ATOMIC_RELEASE);
}

static int sock_file(struct sock *sock, uint32_t flags, struct file **ret)
{
    struct file *file = file_new(&g_unix_ops, flags | 2 /* O_RDWR */, sock);
    if (!file)
        return -ENOMEM;
    sock->file = *ret = file;
    return 0;
}

uint32_t unix_type(const struct file *file)
{
    return sock_of(file)->type;
}

int unix_new(uint32_t type, uint32_t flags, struct file **ret)
{
    struct sock *sock = sock_new(type);
    int status = sock ? sock_file(sock, flags, ret) : -ENOMEM;
    if (status < 0)
        sock_unref(sock);
    return status;
}

int unix_pair(uint32_t type, uint32_t flags_a, uint32_t flags_b, struct file **ret_a,
              struct file **ret_b)
{
    struct file *a, *b;
    int status = unix_new(type, flags_a, &a);
    if (status < 0)
        return status;
    status = unix_new(type, flags_b, &b);
    if (status < 0) {
        file_unref(a);
        return status;
    }
    join(sock_of(a), sock_of(b));
    *ret_a = a;
    *ret_b = b;
    return 0;
}

/* --- reading and writing ----------------------------------------------------------------------- */

/* The root's program has received files of another process. Without memory one is lost, as on Linux. */
static void unpack(struct stream_rights *rights)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < rights->count; i++) {
        struct file *file = rights->files[i], *opened = file;
        int status = 0;
        if (carry_is(file)) {
            status = carry_unpack_here(file, &opened);
            file_unref(file);
        }
        if (status == 0)
            rights->files[kept++] = opened;
    }
    rights->count = kept;
}

int64_t unix_receive(struct file *file, void *user, uint64_t size, bool nonblock, bool peek,
                     struct stream_rights **ret_rights)
{
    struct sock *sock = sock_of(file);
    if (!peer_of(sock))
        return -EINVAL;
    int64_t ret = stream_read_rights(&sock->in, user, size, nonblock, peek, ret_rights);
    if (ret > 0 && ret_rights && *ret_rights && !current()->never_block)
        unpack(*ret_rights);
    if (ret != STREAM_MOVED)
        return ret;
    return remote_receive(file, user, size,
                          (nonblock ? REMOTE_NONBLOCK : 0) | (peek ? REMOTE_PEEK : 0), ret_rights);
}

int64_t unix_send(struct file *file, const void *user, uint64_t size, bool nonblock,
                  struct stream_rights **rights)
{
    struct sock *sock = sock_of(file), *peer = peer_of(sock);
    if (!peer)
        return -ENOTCONN;
    if (__atomic_load_n(&sock->write_shut, __ATOMIC_SEQ_CST))
        return -EPIPE;
    int64_t ret = stream_write_rights(&peer->in, user, size, nonblock, false, rights);
    return ret == STREAM_MOVED
               ? remote_send(file, user, size, nonblock ? REMOTE_NONBLOCK : 0, rights)
               : ret;
}

/* Each stream starts with one reader and one writer, each of which goes once. */
static void shut(struct sock *sock, bool read, bool write)
{
    struct sock *peer = peer_of(sock);
    lock_take(&sock->lock);
    read = read && !sock->read_shut;
    write = write && !sock->write_shut;
    sock->read_shut |= read;
    if (write)
        __atomic_store_n(&sock->write_shut, true, __ATOMIC_SEQ_CST);
    lock_drop(&sock->lock);
    if (read)
        __atomic_sub_fetch(&sock->in.readers, 1, __ATOMIC_SEQ_CST);
    if (write && peer)
        __atomic_sub_fetch(&peer->in.writers, 1, __ATOMIC_SEQ_CST);
    if (peer)
        waitq_wake(&peer->queue, UINT32_MAX);
    waitq_wake(&sock->queue, UINT32_MAX);
}

int unix_shutdown(struct file *file, enum unix_shut how)
{
    struct sock *sock = sock_of(file), *peer = peer_of(sock);
    if (!peer)
        return -ENOTCONN;
    if (stream_moved(&sock->in))
        return remote_shutdown(file, how);
    shut(sock, how != UNIX_SHUT_WRITE, how != UNIX_SHUT_READ);
    /* Who shuts its reading side reads the end of the file from then on. */
    if (how != UNIX_SHUT_WRITE)
        shut(peer, false, true);
    return 0;
}

static int64_t unix_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    return unix_receive(file, user, size, anon_nonblock(file), false, NULL);
}

static int64_t unix_write(struct file *file, const void *user, uint64_t size, uint64_t *pos UNUSED)
{
    int64_t ret = unix_send(file, user, size, anon_nonblock(file), NULL);
    if (ret == -EPIPE)
        stream_sigpipe();
    return ret;
}

static uint32_t unix_poll(struct file *file, struct waiter *waiter)
{
    struct sock *sock = sock_of(file), *peer = peer_of(sock);
    if (waiter)
        waitq_add(&sock->queue, waiter);
    if (stream_moved(&sock->in)) {
        if (waiter)
            waitq_remove(waiter);
        return file->ops->poll(file, waiter);
    }
    if (!peer) {
        if (!__atomic_load_n(&sock->listening, __ATOMIC_SEQ_CST))
            return EPOLLOUT | EPOLLHUP;
        return __atomic_load_n(&sock->pending, __ATOMIC_SEQ_CST) ? EPOLLIN | EPOLLRDNORM : 0;
    }
    bool peer_wrote_last = !__atomic_load_n(&sock->in.writers, __ATOMIC_SEQ_CST);
    bool peer_reads = __atomic_load_n(&peer->in.readers, __ATOMIC_SEQ_CST);
    uint32_t ret = 0;
    if (stream_used(&sock->in))
        ret |= EPOLLIN | EPOLLRDNORM;
    if (sock->type == UNIX_DATAGRAMS)
        peer_wrote_last = false;
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
    anon_stat(sock_of(file)->ino, MODE_SOCKET, ret);
    return 0;
}

static int64_t unix_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    if (request != FIONREAD)
        return -ENOTTY;
    if (stream_moved(&sock_of(file)->in))
        return file->ops->ioctl(file, request, arg);
    int32_t used = (int32_t)stream_used(&sock_of(file)->in);
    return PUT_USER((int32_t *)(uintptr_t)arg, &used);
}

/* The name is free again; nobody else will be accepted. */
static void unbind(struct sock *sock)
{
    lock_take(&g_lock);
    struct sock **at = &g_bound;
    while (sock->bound && *at != sock)
        at = &(*at)->bound_next;
    if (sock->bound)
        *at = sock->bound_next;
    sock->bound = sock->listening = false;
    struct sock *pending = sock->pending;
    sock->pending = NULL;
    lock_drop(&g_lock);
    while (pending) {
        struct sock *next = pending->pending_next;
        shut(pending, true, true);
        sock_unref(peer_of(pending));
        sock_unref(pending);
        pending = next;
    }
}

static void unix_release(struct file *file)
{
    struct sock *sock = sock_of(file), *peer = peer_of(sock);
    lock_take(&sock->lock);
    sock->file = NULL;
    lock_drop(&sock->lock);
    unbind(sock);
    shut(sock, true, true);
    sock_unref(peer);
    sock_unref(sock);
}

/* --- names and connections --------------------------------------------------------------------- */

/* Locked. */
static struct sock *find(const struct unix_name *name)
{
    struct sock *s = g_bound;
    for (; s; s = s->bound_next) {
        if (name->ino ? s->name.ino == name->ino && s->name.dev == name->dev
                      : !s->name.ino && s->name.size == name->size &&
                            memcmp(s->name.bytes, name->bytes, name->size) == 0)
            break;
    }
    return s;
}

int unix_bind(struct file *file, const struct unix_name *name)
{
    struct sock *sock = sock_of(file);
    LOCKED(&g_lock);
    if (sock->bound || sock->peer)
        return -EINVAL;
    /* An inode's number is used once. */
    if (!name->ino && find(name))
        return -EADDRINUSE;
    sock->name = *name;
    sock->bound_next = g_bound;
    sock->bound = true;
    g_bound = sock;
    return 0;
}

int unix_listen(struct file *file, uint32_t backlog)
{
    struct sock *sock = sock_of(file);
    LOCKED(&g_lock);
    if (!sock->bound || sock->peer)
        return -EINVAL;
    sock->backlog = backlog < BACKLOG_MIN ? BACKLOG_MIN : backlog < BACKLOG_MAX ? backlog : BACKLOG_MAX;
    __atomic_store_n(&sock->listening, true, __ATOMIC_SEQ_CST);
    return 0;
}

bool unix_listens(const struct file *file)
{
    return __atomic_load_n(&sock_of(file)->listening, __ATOMIC_SEQ_CST);
}

/* Locked. fresh: the other end, whose reference the list takes over. */
static int enqueue(struct sock *sock, struct sock *listener, struct sock *fresh)
{
    if (sock->listening)
        return -EINVAL;
    if (sock->peer)
        return -EISCONN;
    if (listener && listener->type != sock->type)
        return -EPROTOTYPE;
    if (!listener || !listener->listening)
        return -ECONNREFUSED;
    if (listener->pending_count >= listener->backlog)
        return -EAGAIN;
    fresh->name = listener->name;
    join(sock, fresh);
    struct sock **last = &listener->pending;
    while (*last)
        last = &(*last)->pending_next;
    __atomic_store_n(last, fresh, __ATOMIC_SEQ_CST);
    listener->pending_count++;
    return 0;
}

int unix_connect(struct file *file, const struct unix_name *to)
{
    struct sock *sock = sock_of(file), *fresh = sock_new(sock->type);
    if (!fresh)
        return -ENOMEM;
    lock_take(&g_lock);
    struct sock *listener = find(to);
    int status = enqueue(sock, listener, fresh);
    if (status == 0)
        __atomic_fetch_add(&listener->refs, 1, __ATOMIC_RELAXED);
    lock_drop(&g_lock);
    if (status < 0) {
        sock_unref(fresh);
        return status;
    }
    waitq_wake(&listener->queue, UINT32_MAX);
    waitq_wake(&sock->queue, UINT32_MAX);
    sock_unref(listener);
    return 0;
}

static bool acceptable(void *object)
{
    const struct sock *sock = object;
    return __atomic_load_n(&sock->pending, __ATOMIC_SEQ_CST) ||
           !__atomic_load_n(&sock->listening, __ATOMIC_SEQ_CST);
}

int unix_accept(struct file *file, bool nonblock, uint32_t flags, struct file **ret)
{
    struct sock *sock = sock_of(file);
    for (;;) {
        lock_take(&g_lock);
        bool listening = sock->listening;
        struct sock *got = sock->pending;
        if (got) {
            __atomic_store_n(&sock->pending, got->pending_next, __ATOMIC_SEQ_CST);
            got->pending_next = NULL;
            sock->pending_count--;
        }
        lock_drop(&g_lock);
        if (got) {
            int status = sock_file(got, flags, ret);
            if (status < 0) {
                shut(got, true, true);
                sock_unref(peer_of(got));
                sock_unref(got);
            }
            return status;
        }
        if (!listening)
            return -EINVAL;
        if (nonblock)
            return -EAGAIN;
        int status = anon_wait(&sock->queue, acceptable, sock);
        if (status < 0)
            return status;
    }
}

int unix_name_of(struct file *file, bool peer, struct unix_name *ret)
{
    struct sock *sock = sock_of(file);
    LOCKED(&g_lock);
    if (peer && !(sock = sock->peer))
        return -ENOTCONN;
    *ret = sock->name;
    return 0;
}

/* --- to the hub -------------------------------------------------------------------------------- */

/* Both streams' mutexes are held; files: referenced, NULL where an end is closed. */
static int move_ends(struct sock *const socks[static 2], struct file *const files[static 2])
{
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_ADOPT, .args = { ADOPT_PAIR } };
    for (uint32_t i = 0; i < 2; i++)
        ask.args[1 + i] = files[i] ? files[i]->flags & ANON_NONBLOCK : 0;
    ask.args[3] = socks[0]->type;
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
    const struct remote_pair own = { files, remotes };
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        ret = stream_move(&socks[i]->in, remotes[1 - i], &own);
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        ret = remote_shut(remotes[i], socks[i]->read_shut, socks[i]->write_shut);
    for (uint32_t i = 0; i < 2; i++) {
        if (ret == 0 && files[i])
            remote_become(files[i], TAKE_PTR(remotes[i]));
        if (remotes[i])
            remote_drop(remotes[i]);
    }
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        __atomic_store_n(&socks[i]->in.moved, true, __ATOMIC_SEQ_CST);
    return ret;
}

/* What is on its way in a socket moves first, without a lock, but for the two ends themselves; where such a file is a
 * socket, what is in that. A ring of sockets that are in one another has no first one. */
static int move_rights(struct sock *const socks[static 2])
{
    struct thread *self = current();
    int status = 0;
    if (self->moves == MOVES_DEEP) {
        log_note("sockets that are on their way (SCM_RIGHTS) in one another cannot be given to another process");
        return -EBUSY;
    }
    self->moves++;
    for (uint32_t i = 0; i < 2; i++) {
        struct file *file;
        for (uint32_t n = 0; status == 0 && (file = stream_rights_file(&socks[i]->in, n)); n++) {
            const struct sock *sock = unix_is(file) ? sock_of(file) : NULL;
            if (sock != socks[0] && sock != socks[1] && (status = file->ops->move(file)) == 0)
                n = UINT32_MAX; /* it is not found any more: from the start */
            file_unref(file);
        }
    }
    self->moves--;
    return status;
}

/* Threads that wait here are woken and go on at the hub. Only pairs are here at all. */
static int unix_move(struct file *file)
{
    struct sock *a = sock_of(file), *b = peer_of(a);
    struct sock *socks[2] = { a < b ? a : b, a < b ? b : a };
    struct stream_rights *rights[2] = { NULL, NULL };
    struct file *files[2];
    int ready = move_rights(socks);
    if (ready < 0)
        return ready;
    for (uint32_t i = 0; i < 2; i++)
        mutex_take(&socks[i]->in.mutex);
    for (uint32_t i = 0; i < 2; i++) {
        LOCKED(&socks[i]->lock);
        files[i] = socks[i]->file ? file_try_ref(socks[i]->file) : NULL;
    }
    int ret = a->in.moved ? 0 : move_ends(socks, files);
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        rights[i] = stream_rights_take(&socks[i]->in);
    for (uint32_t i = 0; i < 2; i++)
        mutex_drop(&socks[i]->in.mutex);
    for (uint32_t i = 0; i < 2; i++) {
        waitq_wake(&socks[i]->queue, UINT32_MAX);
        if (files[i])
            epoll_moved(files[i]);
        file_unref(files[i]);
        stream_rights_drop_all(rights[i]);
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
