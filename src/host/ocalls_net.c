/*
 * OCALLs on sockets of the network. Every descriptor is non-blocking; who waits does so in ocall_wait_fds(), which
 * what wakes a thread ends. Hot: ACCEPT, SEND, RECV: one exit of the enclave each, waiting included.
 */
#include "host/ocall.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "host/handle.h"

static_assert(OCALL_NET_NOWAIT == ENOTBLK, "no error of sockets");
static_assert(OCALL_NET_ADDRESS == sizeof(struct sockaddr_storage), "address");

static struct ocall_net *net_of(struct host_thread *t)
{
    return (struct ocall_net *)(t->data + OCALL_NET_DATA);
}

static int64_t result(int64_t r)
{
    return r < 0 ? -errno : r;
}

/*
 * What processes share of a socket beside the socket: a flag of the open file that means nothing to sockets. O_NONBLOCK
 * itself is always set.
 */
#define MARK O_APPEND

static bool marked(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & MARK);
}

int64_t ocall_net_nonblock(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]), flags = fd < 0 ? fd : fcntl(fd, F_GETFL);
    if (fd < 0)
        return fd;
    if (flags < 0)
        return -errno;
    if (args[1] && fcntl(fd, F_SETFL, args[2] ? flags | MARK : flags & ~MARK) < 0)
        return -errno;
    return !!(flags & MARK);
}

/* Until the descriptor has one of these events: 0 to try again, or why not. shared: args[5]. */
static int wait_for(struct host_thread *t, int fd, short events, uint64_t deadline, uint64_t shared)
{
    if (shared && marked(fd))
        return -OCALL_NET_NOWAIT;
    struct pollfd one = { .fd = fd, .events = events };
    int64_t n = deadline ? ocall_wait_fds(t, &one, 1, deadline) : 0;
    return n > 0 ? 0 : n < 0 ? (int)n : -EAGAIN;
}

static bool no_address(const struct ocall_net *net)
{
    return net->address_size > sizeof(net->address);
}

int64_t ocall_net_socket(struct host_thread *t UNUSED, const uint64_t args[6])
{
    if (!handle_room())
        return -EMFILE;
    int fd = socket((int)args[0], (int)args[1] | SOCK_NONBLOCK | SOCK_CLOEXEC, (int)args[2]);
    return fd < 0 ? -errno : handle_add(fd);
}

int64_t ocall_net_bind(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    struct ocall_net *net = net_of(t);
    if (fd < 0)
        return fd;
    if (no_address(net))
        return -EINVAL;
    /* The name gets the socket's own mode, without our umask (unix(7)). */
    if (((struct sockaddr *)net->address)->sa_family == AF_UNIX &&
        fchmod(fd, (mode_t)args[1] & 0777) < 0)
        return -errno;
    return result(bind(fd, (struct sockaddr *)net->address, net->address_size));
}

int64_t ocall_net_listen(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    return fd < 0 ? fd : result(listen(fd, (int)args[1]));
}

int64_t ocall_net_accept(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    struct ocall_net *net = net_of(t);
    if (fd < 0)
        return fd;
    if (!handle_room())
        return -EMFILE; /* before a connection is taken that would be lost */
    for (;;) {
        net->address_size = sizeof(net->address);
        int got = accept4(fd, (struct sockaddr *)net->address, &net->address_size,
                          SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (got >= 0)
            return handle_add(got);
        if (errno != EAGAIN)
            return -errno;
        int r = wait_for(t, fd, POLLIN, args[3], args[5]);
        if (r < 0)
            return r;
    }
}

/* The second connect() says how the first went (connect(2), EINPROGRESS; inet_stream_connect). */
int64_t ocall_net_connect(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    struct ocall_net *net = net_of(t);
    if (fd < 0)
        return fd;
    if (no_address(net))
        return -EINVAL;
    for (;;) {
        if (connect(fd, (struct sockaddr *)net->address, net->address_size) == 0)
            return 0;
        if ((errno != EINPROGRESS && errno != EALREADY) || !args[3] ||
            (errno == EALREADY && args[5] && marked(fd)))
            return -errno;
        int r = wait_for(t, fd, POLLOUT, args[3], args[5]);
        if (r < 0)
            return r == -EAGAIN ? -EINPROGRESS : r;
    }
}

int64_t ocall_net_name(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    struct ocall_net *net = net_of(t);
    if (fd < 0)
        return fd;
    net->address_size = sizeof(net->address);
    struct sockaddr *address = (struct sockaddr *)net->address;
    return result(args[1] ? getpeername(fd, address, &net->address_size)
                          : getsockname(fd, address, &net->address_size));
}

int64_t ocall_net_get_option(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    socklen_t size = (socklen_t)args[3];
    if (fd < 0)
        return fd;
    if (args[3] > OCALL_NET_DATA)
        return -EINVAL;
    int r = getsockopt(fd, (int)args[1], (int)args[2], t->data, &size);
    return r < 0 ? -errno : (int64_t)size;
}

int64_t ocall_net_set_option(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    if (args[3] > OCALL_NET_DATA)
        return -EINVAL;
    return result(setsockopt(fd, (int)args[1], (int)args[2], t->data, (socklen_t)args[3]));
}

int64_t ocall_net_send(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    struct ocall_net *net = net_of(t);
    uint64_t size = args[1], done = 0;
    if (fd < 0)
        return fd;
    if (size > OCALL_NET_DATA || no_address(net) || net->control_size > sizeof(net->control))
        return -EINVAL;
    struct iovec iov;
    struct msghdr message = {
        .msg_name = net->address_size ? net->address : NULL,
        .msg_namelen = net->address_size,
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = net->control_size ? net->control : NULL,
        .msg_controllen = net->control_size,
    };
    for (;;) {
        iov = (struct iovec){ t->data + done, size - done };
        ssize_t n = sendmsg(fd, &message, (int)args[2] | MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return done ? (int64_t)done : -errno;
        done += n < 0 ? 0 : (uint64_t)n;
        if (n >= 0 && (done >= size || !args[4] || !args[3]))
            return (int64_t)done;
        int r = wait_for(t, fd, POLLOUT, args[3], args[5]);
        if (r < 0)
            return done ? (int64_t)done : r;
    }
}

int64_t ocall_net_recv(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    struct ocall_net *net = net_of(t);
    if (fd < 0)
        return fd;
    if (args[1] > OCALL_NET_DATA || args[4] > sizeof(net->control))
        return -EINVAL;
    for (;;) {
        struct iovec iov = { t->data, args[1] };
        struct msghdr message = {
            .msg_name = net->address,
            .msg_namelen = sizeof(net->address),
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = args[4] ? net->control : NULL,
            .msg_controllen = args[4],
        };
        ssize_t n = recvmsg(fd, &message, (int)args[2] | MSG_DONTWAIT);
        if (n >= 0) {
            net->address_size = message.msg_namelen;
            net->control_size = (uint32_t)message.msg_controllen;
            net->flags = (uint32_t)message.msg_flags;
            return n;
        }
        if (errno != EAGAIN)
            return -errno;
        int r = wait_for(t, fd, args[2] & MSG_OOB ? POLLPRI : POLLIN, args[3], args[5]);
        if (r < 0)
            return r;
    }
}

/* --- many messages at once ----------------------------------------------------------------------- */

struct many {
    struct mmsghdr messages[OCALL_NET_MESSAGES];
    struct iovec iov[OCALL_NET_MESSAGES];
    struct ocall_net_message *heads[OCALL_NET_MESSAGES];
};

/* What lies in the window; 0, -EINVAL. */
static int lay_out(struct host_thread *t, const uint64_t args[6], bool send, struct many *ret)
{
    uint64_t at = 0, size = args[4];
    if (args[1] > OCALL_NET_MESSAGES || size > OCALL_DATA_SIZE)
        return -EINVAL;
    for (uint64_t i = 0; i < args[1]; i++) {
        struct ocall_net_message *head = (struct ocall_net_message *)(t->data + at);
        if (size - at < sizeof(*head) || head->control_size > size || head->size > size ||
            (send && head->address_size > sizeof(head->address)))
            return -EINVAL;
        uint64_t whole = OCALL_NET_MESSAGE_SIZE(head->size, head->control_size);
        if (whole > size - at)
            return -EINVAL;
        uint8_t *control = (uint8_t *)(head + 1),
                *bytes = t->data + at + whole - ((head->size + 7ull) & ~7ull);
        ret->heads[i] = head;
        ret->iov[i] = (struct iovec){ bytes, head->size };
        ret->messages[i].msg_hdr = (struct msghdr){
            .msg_name = send && !head->address_size ? NULL : head->address,
            .msg_namelen = send ? head->address_size : sizeof(head->address),
            .msg_iov = &ret->iov[i],
            .msg_iovlen = 1,
            .msg_control = head->control_size ? control : NULL,
            .msg_controllen = head->control_size,
        };
        at += whole;
    }
    return 0;
}

int64_t ocall_net_send_many(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    struct many many;
    int r = fd < 0 ? fd : lay_out(t, args, true, &many);
    uint32_t count = (uint32_t)args[1], done = 0;
    while (r == 0) {
        int n = sendmmsg(fd, many.messages + done, count - done,
                         (int)args[2] | MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return done ? (int64_t)done : -errno;
        done += n < 0 ? 0 : (uint32_t)n;
        if (done == count)
            return done;
        /* Short: the next one would wait, or has an error, which the next try tells. */
        if (n < 0)
            r = wait_for(t, fd, POLLOUT, args[3], args[5]);
    }
    return done ? (int64_t)done : r;
}

int64_t ocall_net_recv_many(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    struct many many;
    int r = fd < 0 ? fd : lay_out(t, args, false, &many);
    while (r == 0) {
        int n = recvmmsg(fd, many.messages, (unsigned)args[1], (int)args[2] | MSG_DONTWAIT, NULL);
        for (int i = 0; i < n; i++) {
            const struct msghdr *message = &many.messages[i].msg_hdr;
            many.heads[i]->size = many.messages[i].msg_len;
            many.heads[i]->address_size = message->msg_namelen;
            many.heads[i]->control_size = (uint32_t)message->msg_controllen;
            many.heads[i]->flags = (uint32_t)message->msg_flags;
        }
        if (n >= 0)
            return n;
        r = errno == EAGAIN ? wait_for(t, fd, POLLIN, args[3], args[5]) : -errno;
    }
    return r;
}

int64_t ocall_net_shutdown(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    return fd < 0 ? fd : result(shutdown(fd, (int)args[1]));
}
