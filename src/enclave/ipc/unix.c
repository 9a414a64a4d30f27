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
#include "ipc/unix_sock.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "vfs/kstat.h"
#include "vfs/remote/carry.h"
#include "vfs/remote/remote.h"

#define MODE_SOCKET   0140777u
#define FIONREAD      0x541bu
#define SIZE          (4 * PIPE_SIZE_DEFAULT) /* about what wmem_default gives */
#define SEND_SIZE_MIN 4608u
#define SEND_SIZE     212992 /* net.core.wmem_default, rmem_default, and the most that may be set */

struct lock g_unix_lock;

bool unix_is(const struct file *file)
{
    return file->ops == &g_unix_ops;
}

/* --- life -------------------------------------------------------------------------------------- */

struct sock *unix_sock_new(uint32_t type)
{
    struct sock *sock = heap_alloc(sizeof(*sock));
    if (!sock)
        return NULL;
    sock->refs = 1;
    sock->ino = anon_ino();
    sock->type = type;
    sock->send_size = SEND_SIZE;
    sock->in = (struct stream){ .size = SIZE, .readers = 1, .writers = 1 };
    return sock;
}

struct sock *unix_sock_ref(struct sock *sock)
{
    __atomic_fetch_add(&sock->refs, 1, __ATOMIC_RELAXED);
    return sock;
}

void unix_sock_unref(struct sock *sock)
{
    if (!sock || __atomic_sub_fetch(&sock->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    unix_packet_sated(sock);
    stream_done(&sock->in);
    heap_free(sock);
}

void unix_sock_join(struct sock *a, struct sock *b)
{
    struct sock *both[2] = { a, b };
    for (int i = 0; i < 2; i++) {
        both[i]->in.readable = &both[i]->queue;
        both[i]->in.writable = &both[1 - i]->queue;
        (void)unix_sock_ref(both[i]);
    }
    __atomic_store_n(&b->peer, a, __ATOMIC_RELEASE);
    __atomic_store_n(&a->peer, b, __ATOMIC_RELEASE);
}

int unix_sock_file(struct sock *sock, uint32_t flags, struct file **ret)
{
    struct file *file = file_new(&g_unix_ops, flags | 2 /* O_RDWR */, sock);
    if (!file)
        return -ENOMEM;
    sock->file = *ret = file;
    return 0;
}

uint32_t unix_type(const struct file *file)
{
    return unix_sock_of(file)->type;
}

int unix_new(uint32_t type, uint32_t flags, struct file **ret)
{
    struct sock *sock = unix_sock_new(type);
    int status = sock ? unix_sock_file(sock, flags, ret) : -ENOMEM;
    if (status < 0)
        unix_sock_unref(sock);
    return status;
}

int unix_pair(uint32_t type, uint32_t flags_a, uint32_t flags_b, const struct unix_cred *cred,
              struct file **ret_a, struct file **ret_b)
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
    unix_sock_join(unix_sock_of(a), unix_sock_of(b));
    unix_sock_of(a)->peer_cred = unix_sock_of(b)->peer_cred = *cred;
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

static int64_t stream_receive(struct sock *sock, void *user, uint64_t size, uint32_t flags,
                              struct unix_message *message)
{
    struct sock *peer = unix_peer(sock);
    if (!peer)
        return -EINVAL;
    int64_t n = stream_read_rights(&sock->in, user, size, flags & UNIX_NONBLOCK, flags & UNIX_PEEK,
                                   message ? &message->rights : NULL);
    if (n <= 0 || !message)
        return n;
    message->cred = sock->peer_cred;
    message->has_cred = sock->pass_cred;
    message->whole = (uint32_t)n;
    LOCKED(&g_unix_lock);
    message->name = peer->name;
    return n;
}

int64_t unix_receive(struct file *file, void *user, uint64_t size, uint32_t flags,
                     struct unix_message *message)
{
    struct sock *sock = unix_sock_of(file);
    int64_t n = sock->type == UNIX_STREAM ? stream_receive(sock, user, size, flags, message)
                                          : unix_packet_receive(sock, user, size, flags, message);
    if (n >= 0 && message && message->rights && !current()->never_block)
        unpack(message->rights);
    return n == STREAM_MOVED ? remote_receive(file, user, size, flags, message) : n;
}

static int64_t stream_send(struct sock *sock, const void *user, uint64_t size, bool nonblock,
                           struct unix_message *message)
{
    struct sock *peer = unix_peer(sock);
    if (!peer)
        return -ENOTCONN;
    if (__atomic_load_n(&sock->write_shut, __ATOMIC_SEQ_CST))
        return -EPIPE;
    return stream_write_rights(&peer->in, user, size, nonblock, false,
                               message ? &message->rights : NULL);
}

int64_t unix_send(struct file *file, const void *user, uint64_t size, bool nonblock,
                  struct unix_message *message)
{
    struct sock *sock = unix_sock_of(file);
    int64_t n = sock->type == UNIX_STREAM ? stream_send(sock, user, size, nonblock, message)
                                          : unix_packet_send(sock, user, size, nonblock, message);
    return n == STREAM_MOVED ? remote_send(file, user, size, nonblock ? UNIX_NONBLOCK : 0, message)
                             : n;
}

/* Each stream starts with one reader and one writer, each of which goes once. Who shuts its reading side of a
 * connection reads the end of the file from then on, and its peer cannot write. */
static void shut(struct sock *sock, bool read, bool write)
{
    struct sock *peer = sock->type == UNIX_DATAGRAMS ? NULL : unix_peer(sock);
    lock_take(&sock->lock);
    read = read && !sock->read_shut;
    write = write && !sock->write_shut;
    if (read)
        __atomic_store_n(&sock->read_shut, true, __ATOMIC_SEQ_CST);
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

static void shut_both_ends(struct sock *sock, bool read, bool write)
{
    struct sock *peer = unix_peer(sock);
    shut(sock, read, write);
    if (sock->type == UNIX_STREAM && read && peer)
        shut(peer, false, true);
    if (sock->type == UNIX_PACKETS && peer)
        shut(peer, write, read);
}

int unix_shutdown(struct file *file, enum unix_shut how)
{
    struct sock *sock = unix_sock_of(file);
    if (!unix_peer(sock) && sock->type != UNIX_DATAGRAMS)
        return -ENOTCONN;
    if (stream_moved(&sock->in))
        return remote_shutdown(file, how);
    shut_both_ends(sock, how != UNIX_SHUT_WRITE, how != UNIX_SHUT_READ);
    return 0;
}

static int64_t unix_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    return unix_receive(file, user, size, anon_nonblock(file) ? UNIX_NONBLOCK : 0, NULL);
}

static int64_t unix_write(struct file *file, const void *user, uint64_t size, uint64_t *pos UNUSED)
{
    int64_t ret = unix_send(file, user, size, anon_nonblock(file), NULL);
    if (ret == -EPIPE && unix_type(file) == UNIX_STREAM)
        stream_sigpipe();
    return ret;
}

static uint32_t unix_poll(struct file *file, struct waiter *waiter)
{
    struct sock *sock = unix_sock_of(file), *peer = unix_peer(sock);
    if (waiter)
        waitq_add(&sock->queue, waiter);
    if (stream_moved(&sock->in)) {
        if (waiter)
            waitq_remove(waiter);
        return file->ops->poll(file, waiter);
    }
    if (sock->type != UNIX_STREAM)
        return unix_packet_poll(sock);
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
    anon_stat(unix_sock_of(file)->ino, MODE_SOCKET, ret);
    return 0;
}

static int64_t unix_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    if (request != FIONREAD)
        return -ENOTTY;
    if (stream_moved(&unix_sock_of(file)->in))
        return file->ops->ioctl(file, request, arg);
    struct sock *sock = unix_sock_of(file);
    int32_t used =
        (int32_t)(sock->type == UNIX_STREAM ? stream_used(&sock->in) : unix_packet_size(sock));
    return PUT_USER((int32_t *)(uintptr_t)arg, &used);
}

void unix_sock_end(struct sock *sock)
{
    if (sock->type == UNIX_STREAM)
        shut(sock, true, true);
    else if (sock->type == UNIX_PACKETS)
        shut_both_ends(sock, true, true);
    unix_packet_close(sock);
    lock_take(&g_unix_lock);
    struct sock *peer = sock->peer;
    if (sock->type ==
        UNIX_DATAGRAMS) /* the others' stays, to be looked at by who is connected to it */
        __atomic_store_n(&sock->peer, NULL, __ATOMIC_RELEASE);
    lock_drop(&g_unix_lock);
    unix_sock_unref(peer);
    unix_sock_unref(sock);
}

static void unix_release(struct file *file)
{
    struct sock *sock = unix_sock_of(file);
    lock_take(&sock->lock);
    sock->file = NULL;
    lock_drop(&sock->lock);
    unix_unbind(sock);
    unix_sock_end(sock);
}

/* --- options ------------------------------------------------------------------------------------ */

struct unix_cred unix_cred_here(void)
{
    return (struct unix_cred){ process_pid(), process_node()->uid, process_node()->gid };
}

int unix_get_option(struct file *file, int name, int32_t ret[static 3])
{
    struct sock *sock = unix_sock_of(file);
    ret[0] = 0;
    switch (name) {
    case UNIX_SO_ERROR: ret[0] = __atomic_exchange_n(&sock->error, 0, __ATOMIC_SEQ_CST); return 1;
    case UNIX_SO_SNDBUF: ret[0] = (int32_t)sock->send_size; return 1;
    case UNIX_SO_PASSCRED: ret[0] = sock->pass_cred; return 1;
    case UNIX_SO_ACCEPTCONN: ret[0] = __atomic_load_n(&sock->listening, __ATOMIC_SEQ_CST); return 1;
    case UNIX_SO_PEERCRED: break;
    default: return -ENOPROTOOPT;
    }
    LOCKED(&g_unix_lock);
    /* Nobody's: as Linux says it. */
    const struct unix_cred cred =
        sock->peer_cred.pid ? sock->peer_cred : (struct unix_cred){ 0, UINT32_MAX, UINT32_MAX };
    memcpy(ret, &cred, sizeof(cred));
    return 3;
}

int unix_set_option(struct file *file, int name, int32_t value)
{
    struct sock *sock = unix_sock_of(file);
    switch (name) {
    case UNIX_SO_PASSCRED: sock->pass_cred = value != 0; return 0;
    case UNIX_SO_SNDBUF: /* sock_setsockopt(): doubled, for what packets cost beside their bytes */
        value = value < SEND_SIZE && value >= 0 ? value : SEND_SIZE;
        sock->send_size = (uint32_t)value * 2 < SEND_SIZE_MIN ? SEND_SIZE_MIN : (uint32_t)value * 2;
        waitq_wake(&sock->queue, UINT32_MAX);
        return 0;
    default: return -ENOPROTOOPT;
    }
}

uint32_t unix_next_size(const struct file *file)
{
    struct sock *sock = unix_sock_of(file);
    return sock->type == UNIX_STREAM ? 0 : unix_packet_size(sock);
}

const struct file_ops g_unix_ops = {
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
