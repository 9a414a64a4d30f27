/*
 * The socket as an open file, and the calls that move bytes and connections (net.h). Tier: enclave.
 *
 * A call that may block is one OCALL (abi/ocall.h, OCALL_NET_*): the host tries, waits for the descriptor, and tries
 * again. Whether it may wait, and how long, is decided here: thread_wait_begin() says what else there is to do first
 * (a signal, the end of the process, the call's own timeout), and what happens later wakes the host's wait. A signal
 * ends a call only if it would have waited: what is there already is taken.
 *
 * Nothing here is under a lock: the host's kernel keeps order among calls on one socket, as it does natively.
 */
#include "net/socket.h"

#include <asm/errno.h>
#include <linux/eventpoll.h>
#include <linux/time_types.h>

#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/epoll.h"
#include "ipc/pipe.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "net/address.h"
#include "net/net.h"
#include "net/netlink.h"
#include "net/rules.h"
#include "signal/signal.h"
#include "thread/clock.h"
#include "thread/wait.h"
#include "vfs/linux.h"

#define HANDLE_MAX   0x7fffffff
#define DATAGRAM_MAX 65535     /* with MSG_TRUNC; also of several joined (UDP_GRO) */
#define LOCAL_MAX    (1 << 24) /* of AF_UNIX: SO_SNDBUF of who sends */
#define PREFAULT_MIN 4096u
#define STREAM_LEAST 16384u

#define SOL_SOCKET_LEVEL 1
#define TIMEOUT_MAX_S    (INT64_MAX / (int64_t)NSEC_PER_SEC / 2)

#define EXTRA_HEAD offsetof(struct ocall_net, address)

static const struct file_ops g_net_ops;

bool net_is(const struct file *file)
{
    return file->ops == &g_net_ops;
}

struct net_socket *net_of(const struct file *file)
{
    return file->net ? file->net : file->object;
}

struct file *net_get(uint64_t fd)
{
    struct file *file = fd_get((int)fd);
    if (file && !net_is(file) && !netlink_is(file)) {
        file_unref(file);
        return NULL;
    }
    return file;
}

bool net_family(int family)
{
    return family == AF_INET_FAMILY || family == AF_INET6_FAMILY;
}

int net_wrap(int handle, const struct net_socket *kind, uint32_t flags, struct file **ret)
{
    struct net_socket *socket = heap_alloc(sizeof(*socket));
    struct file *file = socket ? file_new(&g_net_ops, O_RDWR | (flags & O_NONBLOCK), socket) : NULL;
    if (!file) {
        heap_free(socket);
        border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
        return -ENOMEM;
    }
    *socket = *kind;
    socket->handle = handle;
    socket->ino = anon_ino();
    socket->was = NULL;
    *ret = file;
    return 0;
}

int net_become(int handle, const struct net_socket *kind, struct file *file)
{
    struct net_socket *socket = heap_alloc(sizeof(*socket));
    if (socket) {
        *socket = *kind;
        socket->handle = handle;
        socket->ino = anon_ino();
        lock_take(&file->lock);
        if (!file->net) {
            socket->was = file->ops;
            file->net = TAKE_PTR(socket);
            __atomic_store_n(&file->ops, &g_net_ops, __ATOMIC_SEQ_CST);
            handle = -1;
        }
        lock_drop(&file->lock);
    }
    heap_free(socket); /* another thread was first */
    if (handle >= 0)
        border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
    if (!file->net)
        return -ENOMEM;
    epoll_became(file);
    return 0;
}

/* --- one OCALL that may wait -------------------------------------------------------------------- */

/* What a call gives to the host and takes from it. */
struct turn {
    enum ocall_nr nr;
    uint64_t max; /* of the result */
    uint64_t handle, size, flags, more;
    const struct iovec *iov; /* to put before the OCALL, from skip on; NULL: none */
    uint64_t iov_count, skip;
    const struct net_address *address; /* to put; may be NULL */
    const struct net_extra *extra;     /* to put, with its address; may be NULL */
    const struct net_batch *batch;     /* to put; may be NULL */
    int would_wait;                    /* -EAGAIN, or what stands in its place */
    bool shared;                       /* the host knows whether it may wait (net_get_flags) */
};

static int put_batch(const struct net_batch *batch, bool heads)
{
    if (!heads)
        border_put(0, batch->bytes, batch->size);
    for (uint32_t i = 0; heads && i < batch->count; i++)
        border_put(batch->parts[i].at, batch->bytes + batch->parts[i].at,
                   offsetof(struct ocall_net_message, address));
    return 0;
}

static int put_turn(const struct turn *turn)
{
    if (turn->batch)
        return put_batch(turn->batch, turn->nr == OCALL_NET_RECV_MANY);
    struct {
        uint32_t address_size, control_size, flags, reserved;
    } head = { 0 };
    const struct net_address *address = turn->extra ? &turn->extra->address : turn->address;
    if (turn->iov && border_put_pieces(turn->iov, turn->iov_count, turn->skip, turn->size) < 0)
        return -EFAULT;
    head.address_size = address ? address->size : 0;
    head.control_size = turn->extra ? turn->extra->control_size : 0;
    border_put(OCALL_NET_DATA, &head, sizeof(head));
    if (head.address_size)
        border_put(OCALL_NET_DATA + EXTRA_HEAD, address->bytes, head.address_size);
    if (head.control_size)
        border_put(OCALL_NET_DATA + offsetof(struct ocall_net, control), turn->extra->control,
                   head.control_size);
    return 0;
}

static int64_t leave(const struct turn *turn, uint64_t deadline)
{
    return border_call(turn->nr, turn->max, turn->handle, turn->size, turn->flags, deadline,
                       turn->more, turn->shared);
}

/* deadline 0: does not wait. -ERESTARTSYS, -EINTR where a timeout was set (signal(7)). The program's pages of iov
 * have been brought in. */
static int64_t take_turn(const struct turn *turn, uint64_t deadline)
{
    if (current()->never_block)
        deadline = 0;
    for (;;) {
        uint64_t host = 0;
        int wait = deadline ? thread_wait_begin(deadline, &host) : -EAGAIN;
        if (wait > 0)
            continue; /* an old wake */
        int64_t n = put_turn(turn);
        if (n == 0)
            n = leave(turn, host);
        else
            deadline = 0;
        if (wait == 0)
            thread_wait_end();
        if (n == -OCALL_NET_NOWAIT && turn->shared)
            return turn->would_wait;
        if (n != -EINTR && n != turn->would_wait)
            return n < 0 ? net_error(n) : n;
        if (wait == -EINTR)
            return deadline == OCALL_NEVER ? -ERESTARTSYS : -EINTR;
        if (wait < 0)
            return turn->would_wait;
    }
}

static uint64_t deadline_of(const struct file *file, bool send, uint32_t flags)
{
    if (flags & MSG_DONTWAIT_FLAG || (anon_nonblock(file) && !net_of(file)->shared))
        return 0;
    uint64_t timeout = net_timeout(net_of(file), send);
    return timeout ? clock_monotonic() + timeout : OCALL_NEVER;
}

/* --- bytes ------------------------------------------------------------------------------------ */

/* Of what a program may say, what the host's kernel is to know. */
/* OOB, DONTROUTE, EOR, CONFIRM, MORE, FASTOPEN */
#define SEND_FLAGS (0x1u | 0x4u | 0x80u | 0x800u | 0x8000u | 0x20000000u)
#define RECEIVE_FLAGS \
    (MSG_OOB_FLAG | MSG_PEEK_FLAG | MSG_TRUNC_FLAG | MSG_ERRQUEUE_FLAG | MSG_CMSG_CLOEXEC_FLAG)

static uint64_t at_most(uint64_t size)
{
    return size < OCALL_NET_DATA ? size : OCALL_NET_DATA;
}

int64_t net_send(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size,
                 uint32_t flags, const struct net_extra *extra)
{
    const struct net_socket *socket = net_of(file);
    bool stream = socket->type == NET_STREAM;
    uint64_t deadline = deadline_of(file, true, flags), done = 0;
    int64_t n;
    if (netlink_is(file))
        return netlink_send(file, iov, count, size);
    if ((n = net_late_error(net_of(file))) < 0)
        return n;
    if (!stream && size > OCALL_NET_DATA)
        return -EMSGSIZE;
    do {
        struct turn turn = {
            .nr = OCALL_NET_SEND,
            .handle = (uint64_t)socket->handle,
            .shared = socket->shared,
            .size = at_most(size - done),
            .flags = flags & SEND_FLAGS,
            .more = stream,
            .iov = iov,
            .iov_count = count,
            .skip = done,
            .extra = done ? NULL : extra,
            .would_wait = -EAGAIN,
        };
        turn.max = turn.size;
        n = border_prefault_pieces(iov, count, done, turn.size, false);
        if (n == 0)
            n = take_turn(&turn, deadline);
        if (n < 0)
            break;
        done += (uint64_t)n;
        if ((uint64_t)n < turn.size && !deadline)
            break;
    } while (done < size && n > 0);
    return done ? (int64_t)done : n;
}

static void take_extra(struct net_extra *extra, uint8_t family, uint32_t control_room)
{
    struct {
        uint32_t address_size, control_size, flags, reserved;
    } head;
    uint8_t address[OCALL_NET_ADDRESS];
    border_get(&head, OCALL_NET_DATA, sizeof(head));
    extra->flags = head.flags;
    extra->address.size = 0;
    extra->control_size = 0;
    if (head.address_size && head.address_size <= sizeof(address)) {
        border_get(address, OCALL_NET_DATA + EXTRA_HEAD, sizeof(address));
        if (!address_from_host(address, head.address_size, family, &extra->address))
            extra->address.size = 0; /* none that makes sense */
    }
    if (head.control_size <= control_room) {
        extra->control_size = head.control_size;
        border_get(extra->control, OCALL_NET_DATA + offsetof(struct ocall_net, control),
                   head.control_size);
    }
}

/*
 * How much of the program's buffer is to be filled. Of a stream the first pages, and those after them that are there: a
 * buffer of 256 KiB for an answer of a hundred bytes is common, and fresh pages are dear. A datagram must have all its
 * room. A buffer longer than what is mapped is fine, as long as the data are not.
 */
static int64_t prefault_some(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size,
                             bool stream)
{
    uint64_t least = !stream || size < STREAM_LEAST ? size : STREAM_LEAST;
    int64_t n = border_prefault_some(iov, count, skip, size, least);
    while (n == -EFAULT && size > PREFAULT_MIN) {
        size /= 2;
        least = size < least ? size : least;
        n = border_prefault_some(iov, count, skip, size, least);
    }
    return n;
}

static int64_t receive_once(const struct net_socket *socket, const struct iovec *iov,
                            uint64_t count, uint64_t skip, uint64_t size, uint32_t flags,
                            uint64_t deadline, uint32_t control_room, struct net_extra *extra)
{
    bool stream = socket->type == NET_STREAM;
    if (socket->family == AF_LOCAL_FAMILY)
        control_room = 0; /* descriptors of the host would come in */
    int64_t room = prefault_some(iov, count, skip, at_most(size), stream);
    if (room < 0)
        return room;
    struct turn turn = {
        .nr = OCALL_NET_RECV,
        .max = !(flags & MSG_TRUNC_FLAG) || stream ? (uint64_t)room
               : socket->family == AF_LOCAL_FAMILY ? LOCAL_MAX
                                                   : DATAGRAM_MAX,
        .handle = (uint64_t)socket->handle,
        .shared = socket->shared,
        .size = (uint64_t)room,
        .flags = flags & RECEIVE_FLAGS,
        .more = control_room,
        .would_wait = -EAGAIN,
    };
    int64_t n = take_turn(&turn, deadline);
    if (n < 0)
        return n;
    if (extra)
        take_extra(extra, socket->family, control_room);
    /* A stream throws away what it truncates (tcp(7)). */
    if (stream && flags & MSG_TRUNC_FLAG)
        return n;
    uint64_t here = n < room ? (uint64_t)n : (uint64_t)room;
    int status = border_get_pieces(iov, count, skip, here);
    return status < 0 ? status : n;
}

int64_t net_receive(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size,
                    uint32_t flags, uint32_t control_room, struct net_extra *extra)
{
    const struct net_socket *socket = net_of(file);
    uint64_t deadline = deadline_of(file, false, flags), done = 0;
    int64_t n;
    if (netlink_is(file))
        return netlink_receive(file, iov, count, size, flags, extra);
    if (!(flags & MSG_ERRQUEUE_FLAG) && (n = net_late_error(net_of(file))) < 0)
        return n;
    /* Neither waits on Linux. */
    if (flags & (MSG_OOB_FLAG | MSG_ERRQUEUE_FLAG))
        deadline = 0;
    bool all = flags & MSG_WAITALL_FLAG && !(flags & (MSG_PEEK_FLAG | MSG_OOB_FLAG)) &&
               socket->type == NET_STREAM && deadline;
    do {
        n = receive_once(socket, iov, count, done, size - done, flags, deadline, control_room,
                         extra);
        if (n > 0)
            done += (uint64_t)n;
    } while (all && n > 0 && done < size);
    return done ? (int64_t)done : n;
}

/* --- many datagrams ------------------------------------------------------------------------------ */

int net_late_error(struct net_socket *socket)
{
    return __atomic_load_n(&socket->late, __ATOMIC_RELAXED)
               ? __atomic_exchange_n(&socket->late, 0, __ATOMIC_RELAXED)
               : 0;
}

int64_t net_many(struct file *file, bool send, const struct net_batch *batch, uint32_t flags)
{
    struct net_socket *socket = net_of(file);
    struct turn turn = {
        .nr = send ? OCALL_NET_SEND_MANY : OCALL_NET_RECV_MANY,
        .max = batch->count,
        .handle = (uint64_t)socket->handle,
        .shared = socket->shared,
        .size = batch->count,
        .flags = flags & (send ? SEND_FLAGS : RECEIVE_FLAGS),
        .more = batch->size,
        .batch = batch,
        .would_wait = -EAGAIN,
    };
    int late = net_late_error(socket);
    if (late < 0)
        return late;
    return take_turn(&turn, flags & MSG_ERRQUEUE_FLAG ? 0 : deadline_of(file, send, flags));
}

/* --- connections -------------------------------------------------------------------------------- */

int64_t net_accept_handle(struct file *file, struct net_address *ret)
{
    const struct net_socket *socket = net_of(file);
    struct turn turn = {
        .nr = OCALL_NET_ACCEPT,
        .max = HANDLE_MAX,
        .handle = (uint64_t)socket->handle,
        .shared = socket->shared,
        .would_wait = -EAGAIN,
    };
    struct net_extra extra;
    int64_t handle = take_turn(&turn, deadline_of(file, false, 0));
    if (handle < 0)
        return handle;
    take_extra(&extra, socket->family, 0);
    *ret = extra.address;
    return handle;
}

int net_connect_to(struct file *file, const struct net_address *to)
{
    const struct net_socket *socket = net_of(file);
    struct turn turn = {
        .nr = OCALL_NET_CONNECT,
        .handle = (uint64_t)socket->handle,
        .shared = socket->shared,
        .address = to,
        .would_wait = -EINPROGRESS,
    };
    return (int)take_turn(&turn, deadline_of(file, true, 0));
}

int net_name_of(const struct net_socket *socket, bool peer, struct net_address *ret)
{
    struct net_extra extra;
    int64_t status = border_call2(OCALL_NET_NAME, 0, (uint64_t)socket->handle, peer);
    if (status < 0)
        return net_error(status);
    take_extra(&extra, socket->family, 0);
    if (!extra.address.size)
        return -EIO;
    *ret = extra.address;
    return 0;
}

/* --- the file --------------------------------------------------------------------------------- */

static int64_t socket_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    struct iovec iov = { user, size };
    return size ? net_receive(file, &iov, 1, size, 0, 0, NULL) : 0;
}

static int64_t socket_write(struct file *file, const void *user, uint64_t size,
                            uint64_t *pos UNUSED)
{
    struct iovec iov = { (void *)(uintptr_t)user, size };
    int64_t n = net_send(file, &iov, 1, size, 0, NULL);
    if (n == -EPIPE)
        stream_sigpipe();
    return n;
}

static int64_t socket_vector(struct file *file, const struct iovec *iov, uint64_t count,
                             uint64_t size, bool write)
{
    if (!write)
        return size ? net_receive(file, iov, count, size, 0, 0, NULL) : 0;
    int64_t n = net_send(file, iov, count, size, 0, NULL);
    if (n == -EPIPE)
        stream_sigpipe();
    return n;
}

static int socket_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(net_of(file)->ino, S_IFSOCK | 0777, ret);
    return 0;
}

#define FIONREAD   0x541bu
#define TIOCOUTQ   0x5411u
#define SIOCATMARK 0x8905u

static int64_t socket_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    uint32_t nr = (uint32_t)request;
    int32_t value;
    if (nr != FIONREAD && nr != TIOCOUTQ && nr != SIOCATMARK)
        return -ENOTTY;
    int64_t status = border_call4(OCALL_IOCTL, 0, (uint64_t)net_of(file)->handle, nr, 0, 4);
    if (status < 0)
        return net_error(status);
    border_get(&value, 0, sizeof(value));
    if (value < 0)
        return -EIO;
    return PUT_USER((int32_t *)(uintptr_t)arg, &value);
}

static uint32_t socket_poll(struct file *file, struct waiter *waiter UNUSED)
{
    const uint32_t all = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP;
    struct ocall_pollfd fd = { .handle = net_of(file)->handle, .events = (uint16_t)all };
    return thread_poll_now(&fd, 1) > 0 ? fd.revents & all : 0;
}

static int socket_host_handle(struct file *file)
{
    return net_of(file)->handle;
}

static bool socket_alone(const struct file *file)
{
    return !net_of(file)->shared;
}

/* Again at release: the host knows a handle once. */
static void socket_leave(struct file *file)
{
    border_call1(OCALL_CLOSE, 0, (uint64_t)net_of(file)->handle);
}

/* The hub, which drops what nobody received, does not wait for one that lingers. */
static void socket_release(struct file *file)
{
    border_call2(OCALL_CLOSE, 0, (uint64_t)net_of(file)->handle, current()->never_block);
    const struct file_ops *was = net_of(file)->was;
    heap_free(net_of(file));
    file->net = NULL;
    if (was && was->release)
        was->release(file);
}

static const struct file_ops g_net_ops = {
    .name = "socket",
    .read = socket_read,
    .write = socket_write,
    .vector = socket_vector,
    .fstat = socket_fstat,
    .ioctl = socket_ioctl,
    .poll = socket_poll,
    .host_handle = socket_host_handle,
    .handle_alone = socket_alone,
    .release = socket_release,
    .leave = socket_leave,
    .travel = TRAVEL_SOCKET,
};

/* --- to other processes ------------------------------------------------------------------------- */

/*
 * O_NONBLOCK belongs to the open file, and timeouts to the socket, whichever process sets them. Once a socket is shared the
 * host keeps them, beside the socket: its word, as what comes over the socket is. A process that has a socket alone asks
 * nobody.
 */
static int64_t host_nonblock(const struct net_socket *socket, bool set, bool on)
{
    return border_call3(OCALL_NET_NONBLOCK, 1, (uint64_t)socket->handle, set, on);
}

static const uint64_t g_timeout_names[] = { 20, 21 }; /* SO_RCVTIMEO_OLD, SO_SNDTIMEO_OLD */

static int host_set_timeout(const struct net_socket *socket, bool send, uint64_t ns)
{
    const struct __kernel_old_timeval tv = { (int64_t)(ns / NSEC_PER_SEC),
                                             (int64_t)((ns % NSEC_PER_SEC + 999) / 1000) };
    border_put(0, &tv, sizeof(tv));
    int64_t status = border_call4(OCALL_NET_SET_OPTION, 0, (uint64_t)socket->handle,
                                  SOL_SOCKET_LEVEL, g_timeout_names[send], sizeof(tv));
    return status < 0 ? net_error(status) : 0;
}

uint64_t net_timeout(const struct net_socket *socket, bool send)
{
    struct __kernel_old_timeval tv;
    uint64_t own =
        __atomic_load_n(send ? &socket->send_timeout : &socket->receive_timeout, __ATOMIC_RELAXED);
    if (!socket->shared)
        return own;
    int64_t n = border_call4(OCALL_NET_GET_OPTION, sizeof(tv), (uint64_t)socket->handle,
                             SOL_SOCKET_LEVEL, g_timeout_names[send], sizeof(tv));
    if (n != (int64_t)sizeof(tv))
        return own;
    border_get(&tv, 0, sizeof(tv));
    if (tv.tv_sec < 0 || tv.tv_sec > TIMEOUT_MAX_S || tv.tv_usec < 0 || tv.tv_usec >= 1000000)
        return own;
    return (uint64_t)tv.tv_sec * NSEC_PER_SEC + (uint64_t)tv.tv_usec * 1000;
}

int net_set_timeout(struct net_socket *socket, bool send, uint64_t ns)
{
    int status = socket->shared ? host_set_timeout(socket, send, ns) : 0;
    if (status == 0)
        __atomic_store_n(send ? &socket->send_timeout : &socket->receive_timeout, ns,
                         __ATOMIC_RELAXED);
    return status;
}

uint32_t net_get_flags(struct file *file)
{
    int64_t on = net_of(file)->shared ? host_nonblock(net_of(file), false, false) : -1;
    if (on >= 0)
        file->flags = (file->flags & ~(uint32_t)O_NONBLOCK) | (on ? O_NONBLOCK : 0);
    return file->flags;
}

int net_set_flags(struct file *file, uint32_t flags)
{
    int64_t was = net_of(file)->shared ? host_nonblock(net_of(file), true, flags & O_NONBLOCK) : 0;
    if (was < 0)
        return net_error(was);
    file->flags = flags;
    return 0;
}

void net_share(struct file *file, struct net_share *ret)
{
    struct net_socket *socket = net_of(file);
    if (!socket->shared) {
        socket->shared = true;
        (void)!host_nonblock(socket, true, file->flags & O_NONBLOCK);
        if (socket->receive_timeout)
            (void)!host_set_timeout(socket, false, socket->receive_timeout);
        if (socket->send_timeout)
            (void)!host_set_timeout(socket, true, socket->send_timeout);
    }
    *ret = (struct net_share){ .handle = socket->handle,
                               .family = socket->family,
                               .type = socket->type,
                               .bound = socket->bound,
                               .answers = socket->answers,
                               .stranger = socket->stranger,
                               .protocol = socket->protocol,
                               .receive_timeout = socket->receive_timeout,
                               .send_timeout = socket->send_timeout };
}

int net_arrive(const struct net_share *from, uint32_t flags, struct file **ret)
{
    struct net_socket kind = { .family = from->family,
                               .type = from->type,
                               .bound = from->bound,
                               .answers = from->answers,
                               .shared = true,
                               .stranger = from->stranger,
                               .protocol = from->protocol,
                               .receive_timeout = from->receive_timeout,
                               .send_timeout = from->send_timeout };
    return net_wrap(from->handle, &kind, flags, ret);
}

/* As set_timeout() lets a program set them. */
static bool timeout_ok(uint64_t ns)
{
    return ns <= INT64_MAX;
}

int net_arrive_stranger(const struct net_share *from, uint32_t flags, struct file **ret)
{
    struct net_address own;
    struct net_socket kind = { .handle = from->handle,
                               .family = from->family,
                               .type = from->type,
                               .shared = true,
                               .stranger = true,
                               .protocol = from->protocol,
                               .receive_timeout = from->receive_timeout,
                               .send_timeout = from->send_timeout };
    if (!net_family(from->family) || net_check_kind(from->type, from->protocol) < 0 ||
        !timeout_ok(from->receive_timeout) || !timeout_ok(from->send_timeout)) {
        border_call1(OCALL_CLOSE, 0, (uint64_t)from->handle);
        return -EINVAL;
    }
    kind.answers = from->answers && from->type == NET_DATAGRAMS &&
                   net_name_of(&kind, false, &own) == 0 && net_rule_answers(own.bytes, own.size);
    return net_wrap(from->handle, &kind, flags, ret);
}
