/*
 * Packets and datagrams of AF_UNIX sockets (unix_sock.h). Tier: enclave. Thread-safe.
 *
 * As Linux: a datagram waits while more than net.unix.max_dgram_qlen others stand in the receiver's queue, unless the
 * two are each other's peers, and while the sender's are more than SO_SNDBUF. Who waits for a queue that is not its own
 * is hungry: on one list, all of which is woken whenever a packet is taken.
 *
 * Nothing is copied under the mutex. A packet that could not be copied to the program is lost, as on Linux.
 */
#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/unix_sock.h"
#include "mm/heap.h"
#include "mm/uaccess.h"

#define QUEUE_MAX 10u /* net.unix.max_dgram_qlen */

static struct sock *g_hungry; /* under g_unix_lock; atomic to look whether there is one */

/* --- room ---------------------------------------------------------------------------------------- */

/* About what Linux takes of SO_SNDBUF for one (skb->truesize): a head, and memory in powers of two, then in pages. */
static uint32_t room_of(uint32_t size)
{
    const uint32_t head = 256, info = 320, most = 16384;
    uint32_t bytes = ((size + 63) & ~63u) + info, room = 512;
    if (bytes > most)
        return head + most + ((bytes - most + 4095) & ~4095u);
    while (room < bytes)
        room *= 2;
    return head + room;
}

static void make_hungry(struct sock *sock)
{
    LOCKED(&g_unix_lock);
    if (sock->hungry)
        return;
    sock->hungry = true;
    sock->hungry_next = g_hungry;
    __atomic_store_n(&g_hungry, sock, __ATOMIC_SEQ_CST);
}

/* Nobody on the list can go: that takes g_unix_lock. */
static void feed(void)
{
    if (!__atomic_load_n(&g_hungry, __ATOMIC_SEQ_CST))
        return;
    LOCKED(&g_unix_lock);
    struct sock *sock = g_hungry;
    __atomic_store_n(&g_hungry, NULL, __ATOMIC_SEQ_CST);
    while (sock) {
        struct sock *next = sock->hungry_next;
        sock->hungry = false;
        waitq_wake(&sock->queue, UINT32_MAX);
        sock = next;
    }
}

void unix_packet_sated(struct sock *sock)
{
    LOCKED(&g_unix_lock);
    struct sock **at = &g_hungry;
    while (sock->hungry && *at != sock)
        at = &(*at)->hungry_next;
    if (sock->hungry)
        __atomic_store_n(at, sock->hungry_next, __ATOMIC_SEQ_CST);
    sock->hungry = false;
}

static bool full(const struct sock *receiver, const struct sock *sender)
{
    return __atomic_load_n(&receiver->count, __ATOMIC_SEQ_CST) > QUEUE_MAX &&
           unix_peer(receiver) != sender;
}

/* --- packets ------------------------------------------------------------------------------------ */

static struct packet *packet_new(struct sock *sender, const void *user, uint64_t size,
                                 int *ret_error)
{
    struct packet *packet = heap_alloc(sizeof(*packet) + size);
    *ret_error = packet ? copy_from_user(packet->data, user, size) : -ENOMEM;
    if (*ret_error < 0) {
        heap_free(packet);
        return NULL;
    }
    packet->refs = 1;
    packet->size = (uint32_t)size;
    packet->room = 0; /* counts once it is queued */
    packet->sender = unix_sock_ref(sender);
    packet->rights = NULL;
    packet->next = NULL;
    lock_take(&g_unix_lock);
    packet->from = sender->name;
    lock_drop(&g_unix_lock);
    return packet;
}

static void packet_unref(struct packet *packet)
{
    if (__atomic_sub_fetch(&packet->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    struct sock *sender = packet->sender;
    __atomic_fetch_sub(&sender->sent, packet->room, __ATOMIC_SEQ_CST);
    waitq_wake(&sender->queue, UINT32_MAX);
    unix_sock_unref(sender);
    stream_rights_drop(packet->rights);
    heap_free(packet);
}

static void drop_all(struct packet *packet)
{
    while (packet) {
        struct packet *next = packet->next;
        packet_unref(packet);
        packet = next;
    }
}

static struct packet *take_all(struct sock *sock, bool close)
{
    mutex_take(&sock->in.mutex);
    struct packet *first = sock->first;
    sock->first = sock->last = NULL;
    if (close)
        __atomic_store_n(&sock->closed, true, __ATOMIC_SEQ_CST);
    __atomic_store_n(&sock->count, 0, __ATOMIC_SEQ_CST);
    mutex_drop(&sock->in.mutex);
    return first;
}

void unix_packet_close(struct sock *sock)
{
    drop_all(take_all(sock, true));
    feed();
}

bool unix_packet_purge(struct sock *sock)
{
    struct packet *first = take_all(sock, false);
    drop_all(first);
    feed();
    return first != NULL;
}

uint32_t unix_packet_size(struct sock *sock)
{
    mutex_take(&sock->in.mutex);
    uint32_t size = sock->first ? sock->first->size : 0;
    mutex_drop(&sock->in.mutex);
    return size;
}

static int take_error(struct sock *sock)
{
    return -__atomic_exchange_n(&sock->error, 0, __ATOMIC_SEQ_CST);
}

/* --- sending ------------------------------------------------------------------------------------ */

int unix_packet_target(struct sock *sock, const struct unix_name *to, struct sock **ret)
{
    LOCKED(&g_unix_lock);
    struct sock *other = to ? unix_find(to, sock->type) : sock->peer;
    if (!other)
        return to ? -ECONNREFUSED : -ENOTCONN;
    if (other->type != sock->type)
        return -EPROTOTYPE;
    if (other->peer && other->peer != sock)
        return -EPERM;
    *ret = unix_sock_ref(other);
    return 0;
}

/* Its peer has gone: it has none. */
static void forget(struct sock *sock, struct sock *peer)
{
    lock_take(&g_unix_lock);
    bool was = sock->type == UNIX_DATAGRAMS && sock->peer == peer;
    if (was)
        __atomic_store_n(&sock->peer, NULL, __ATOMIC_RELEASE);
    lock_drop(&g_unix_lock);
    if (was)
        unix_sock_unref(peer);
}

/* 0: it is in the queue, which has the caller's reference. */
static int put(struct sock *sock, struct sock *to, struct packet *packet)
{
    int status = 0;
    mutex_take(&to->in.mutex);
    if (to->in.moved)
        status = STREAM_MOVED;
    else if (to->closed)
        status = sock->type == UNIX_DATAGRAMS ? -ECONNREFUSED : -EPIPE;
    else if (__atomic_load_n(&sock->write_shut, __ATOMIC_SEQ_CST) ||
             __atomic_load_n(&to->read_shut, __ATOMIC_SEQ_CST))
        status = -EPIPE;
    else if (full(to, sock) || __atomic_load_n(&sock->sent, __ATOMIC_SEQ_CST) >= sock->send_size)
        status = -EAGAIN;
    if (status == 0) {
        packet->room = room_of(packet->size);
        __atomic_fetch_add(&sock->sent, packet->room, __ATOMIC_SEQ_CST);
        if (to->last)
            to->last->next = packet;
        else
            to->first = packet;
        to->last = packet;
        __atomic_fetch_add(&to->count, 1, __ATOMIC_SEQ_CST);
    }
    mutex_drop(&to->in.mutex);
    if (status == 0)
        waitq_wake(&to->queue, UINT32_MAX);
    return status;
}

struct sending {
    struct sock *sock, *to;
    struct packet *packet;
};

/* Hungry first, then the look: between the two nothing is missed. */
static bool worth_a_try(void *object)
{
    const struct sending *s = object;
    make_hungry(s->sock);
    return (!full(s->to, s->sock) &&
            __atomic_load_n(&s->sock->sent, __ATOMIC_SEQ_CST) < s->sock->send_size) ||
           __atomic_load_n(&s->to->closed, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&s->to->read_shut, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&s->sock->write_shut, __ATOMIC_SEQ_CST) || stream_moved(&s->to->in);
}

static int deliver(struct sending *s, bool nonblock)
{
    for (;;) {
        int status = put(s->sock, s->to, s->packet);
        if (status != -EAGAIN)
            return status;
        if (nonblock) {
            make_hungry(s->sock);
            return put(s->sock, s->to, s->packet);
        }
        status = anon_wait(&s->sock->queue, worth_a_try, s);
        if (status < 0)
            return status;
    }
}

int64_t unix_packet_send(struct sock *sock, const void *user, uint64_t size, bool nonblock,
                         struct unix_message *message)
{
    const struct unix_name *name =
        message && message->name.size && sock->type == UNIX_DATAGRAMS ? &message->name : NULL;
    struct sending s = { .sock = sock };
    int status = take_error(sock);
    if (status < 0)
        return status;
    if (size > sock->send_size - 32)
        return -EMSGSIZE;
    if (sock->type == UNIX_DATAGRAMS && sock->pass_cred && (status = unix_autobind(sock)) < 0)
        return status;
    status = unix_packet_target(sock, name, &s.to);
    if (status < 0)
        return status;
    s.packet = packet_new(sock, user, size, &status);
    if (s.packet) {
        s.packet->cred = message ? message->cred : unix_cred_here();
        s.packet->rights = message ? message->rights : NULL;
        status = deliver(&s, nonblock);
        if (status == 0) {
            if (message)
                message->rights = NULL;
        } else {
            s.packet->rights = NULL;
            packet_unref(s.packet);
        }
    }
    if (status == -ECONNREFUSED && !name)
        forget(sock, s.to);
    unix_sock_unref(s.to);
    return status < 0 ? status : (int64_t)size;
}

/* --- receiving ---------------------------------------------------------------------------------- */

static struct stream_rights *same_rights(const struct stream_rights *rights)
{
    struct stream_rights *copy = rights ? stream_rights_new(rights->count) : NULL;
    for (uint32_t i = 0; copy && i < rights->count; i++)
        copy->files[copy->count++] = file_ref(rights->files[i]);
    return copy;
}

/* The first packet, referenced, and what comes with it; NULL: none. */
static struct packet *take(struct sock *sock, bool peek, struct stream_rights **ret_rights,
                           bool *ret_moved)
{
    mutex_take(&sock->in.mutex);
    *ret_moved = sock->in.moved;
    struct packet *packet = sock->in.moved ? NULL : sock->first;
    *ret_rights = NULL;
    if (packet && peek) {
        __atomic_fetch_add(&packet->refs, 1, __ATOMIC_RELAXED);
        *ret_rights = same_rights(packet->rights);
    } else if (packet) {
        *ret_rights = packet->rights;
        packet->rights = NULL;
        sock->first = packet->next;
        if (!sock->first)
            sock->last = NULL;
        __atomic_fetch_sub(&sock->count, 1, __ATOMIC_SEQ_CST);
    }
    mutex_drop(&sock->in.mutex);
    return packet;
}

static bool readable(void *object)
{
    struct sock *sock = object;
    return __atomic_load_n(&sock->count, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&sock->read_shut, __ATOMIC_SEQ_CST) ||
           __atomic_load_n(&sock->error, __ATOMIC_SEQ_CST) || stream_moved(&sock->in);
}

static void describe(const struct sock *sock, const struct packet *packet,
                     struct unix_message *message)
{
    message->name = packet->from;
    message->cred = packet->cred;
    message->has_cred = sock->pass_cred;
    message->whole = packet->size;
}

int64_t unix_packet_receive(struct sock *sock, void *user, uint64_t size, uint32_t flags,
                            struct unix_message *message)
{
    struct stream_rights *rights;
    struct packet *packet;
    bool moved;
    if (sock->type == UNIX_PACKETS && !unix_peer(sock))
        return -ENOTCONN;
    while (!(packet = take(sock, flags & UNIX_PEEK, &rights, &moved))) {
        int status = moved ? STREAM_MOVED : take_error(sock);
        if (status < 0)
            return status;
        if (__atomic_load_n(&sock->read_shut, __ATOMIC_SEQ_CST)) {
            if (__atomic_load_n(&sock->count, __ATOMIC_SEQ_CST))
                continue; /* it came between the two looks */
            return flags & UNIX_NONBLOCK && sock->type == UNIX_DATAGRAMS ? -EAGAIN : 0;
        }
        if (flags & UNIX_NONBLOCK)
            return -EAGAIN;
        status = anon_wait(&sock->queue, readable, sock);
        if (status < 0)
            return status;
    }
    uint64_t n = size < packet->size ? size : packet->size;
    int status = copy_to_user(user, packet->data, n);
    if (status == 0 && message) {
        describe(sock, packet, message);
        message->rights = rights;
        rights = NULL;
    }
    stream_rights_drop(rights);
    packet_unref(packet);
    if (!(flags & UNIX_PEEK))
        feed();
    return status < 0 ? status : (int64_t)n;
}

/* --- readiness ---------------------------------------------------------------------------------- */

static struct sock *peer_ref(struct sock *sock)
{
    LOCKED(&g_unix_lock);
    return sock->peer ? unix_sock_ref(sock->peer) : NULL;
}

static bool writable(struct sock *sock)
{
    if (__atomic_load_n(&sock->sent, __ATOMIC_SEQ_CST) > sock->send_size / 4)
        return false;
    struct sock *peer = peer_ref(sock);
    bool room = !peer || !full(peer, sock);
    unix_sock_unref(peer);
    return room;
}

uint32_t unix_packet_poll(struct sock *sock)
{
    bool reads = !__atomic_load_n(&sock->read_shut, __ATOMIC_SEQ_CST);
    bool writes = !__atomic_load_n(&sock->write_shut, __ATOMIC_SEQ_CST);
    uint32_t ret = 0;
    if (__atomic_load_n(&sock->listening, __ATOMIC_SEQ_CST))
        return __atomic_load_n(&sock->pending, __ATOMIC_SEQ_CST) ? EPOLLIN | EPOLLRDNORM : 0;
    if (__atomic_load_n(&sock->error, __ATOMIC_SEQ_CST))
        ret |= EPOLLERR;
    if ((!reads && !writes) || (sock->type == UNIX_PACKETS && !unix_peer(sock)))
        ret |= EPOLLHUP;
    if (!reads)
        ret |= EPOLLRDHUP | EPOLLIN | EPOLLRDNORM;
    if (__atomic_load_n(&sock->count, __ATOMIC_SEQ_CST))
        ret |= EPOLLIN | EPOLLRDNORM;
    if (!writable(sock)) {
        make_hungry(sock);
        if (!writable(sock))
            return ret;
    }
    return ret | EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;
}
