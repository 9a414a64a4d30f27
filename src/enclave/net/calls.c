/* System calls on sockets of the network: the program's side of net.h. Tier: enclave. */
#include "net/net.h"

#include <asm/errno.h>
#include <linux/time_types.h>
#include <linux/uio.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/pipe.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "net/address.h"
#include "net/control.h"
#include "net/message.h"
#include "net/netlink.h"
#include "net/option.h"
#include "net/rules.h"
#include "net/socket.h"
#include "signal/signal.h"
#include "sys/message.h"
#include "thread/clock.h"
#include "vfs/fd.h"
#include "vfs/trusted/chunks.h"

#define SOCK_TYPE_MASK 0xfu
#define IOV_MAX        1024u
#define SIZE_MAX_IO    0x7ffff000u
#define HANDLE_MAX     0x7fffffff

#define PROTOCOL_TCP     6u
#define PROTOCOL_UDP     17u
#define PROTOCOL_UDPLITE 136u

/* --- what the manifest allows -------------------------------------------------------------------- */

static int check_rule(enum net_rule_action action, const struct net_address *address,
                      const struct net_socket *socket)
{
    return net_rule_check(action, address->bytes, address->size, socket->type);
}

/* After the kernel was asked for any port: which one it gave. */
static void learn_port(const struct net_socket *socket)
{
    struct net_address own;
    if (net_name_of(socket, false, &own) == 0)
        net_rule_given(own.bytes, own.size, socket->type);
}

static bool any_port(const struct net_address *address)
{
    return !address->bytes[2] && !address->bytes[3];
}

/* --- making ----------------------------------------------------------------------------------- */

int net_check_kind(uint32_t type, uint32_t protocol)
{
    switch (type) {
    case NET_STREAM: return !protocol || protocol == PROTOCOL_TCP ? 0 : -EPROTONOSUPPORT;
    case NET_DATAGRAMS:
        return !protocol || protocol == PROTOCOL_UDP || protocol == PROTOCOL_UDPLITE
                   ? 0
                   : -EPROTONOSUPPORT;
    case NET_RAW: return -EPERM;
    default: return -ESOCKTNOSUPPORT;
    }
}

int64_t net_socket(const struct sysargs *args)
{
    uint32_t type = (uint32_t)args->a[1] & SOCK_TYPE_MASK,
             flags = (uint32_t)args->a[1] & ~SOCK_TYPE_MASK;
    struct net_socket kind = { .family = (uint8_t)args->a[0],
                               .type = (uint8_t)type,
                               .protocol = (uint32_t)args->a[2] };
    struct file *file;
    int status;
    if (flags & ~(ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    if ((int)args->a[0] == AF_NETLINK_FAMILY) {
        status = netlink_new(type, kind.protocol, flags, &file);
        return status < 0 ? status : anon_install(file, flags);
    }
    status = net_check_kind(type, kind.protocol);
    if (status == -EPERM)
        audit(OCALL_AUDIT_NET, EPERM, args->a[0], NULL, 0);
    if (status < 0)
        return status;
    if (!kind.protocol)
        kind.protocol = type == NET_STREAM ? PROTOCOL_TCP : PROTOCOL_UDP;
    int64_t handle = border_call3(OCALL_NET_SOCKET, HANDLE_MAX, kind.family, type, kind.protocol);
    if (handle == -EMFILE && chunk_handles_drop())
        handle = border_call3(OCALL_NET_SOCKET, HANDLE_MAX, kind.family, type, kind.protocol);
    if (handle < 0)
        return net_error(handle);
    status = net_wrap((int)handle, &kind, flags, &file);
    return status < 0 ? status : anon_install(file, flags);
}

int net_bind_to(const struct net_socket *socket, const struct net_address *address, uint32_t mode)
{
    struct {
        uint32_t address_size, control_size, flags, reserved;
        uint8_t address[OCALL_NET_ADDRESS];
    } net = { .address_size = address->size };
    memcpy(net.address, address->bytes, sizeof(net.address));
    border_put(OCALL_NET_DATA, &net, sizeof(net));
    int64_t status = border_call2(OCALL_NET_BIND, 0, (uint64_t)socket->handle, mode);
    return status < 0 ? net_error(status) : 0;
}

int64_t net_bind(struct file *file, const struct sysargs *args)
{
    struct net_socket *socket = net_of(file);
    struct net_address address;
    if (netlink_is(file))
        return netlink_bind(file, args->a[1], args->a[2]);
    int status = address_from_user(args->a[1], args->a[2], socket, &address);
    if (status == 0)
        status = check_rule(NET_LISTEN, &address, socket);
    if (status == 0)
        status = net_bind_to(socket, &address, 0);
    if (status < 0)
        return status;
    socket->bound = true;
    socket->answers =
        socket->type == NET_DATAGRAMS && net_rule_answers(address.bytes, address.size);
    if (any_port(&address))
        learn_port(socket);
    return 0;
}

/* Not bound, or by another process, whose rules are not ours. */
static int check_listen(const struct net_socket *socket)
{
    struct net_address own,
        any = { .size = socket->family == AF_INET_FAMILY ? ADDRESS_IN : ADDRESS_IN6,
                .bytes = { socket->family } };
    bool named = socket->stranger && net_name_of(socket, false, &own) == 0 && !any_port(&own);
    return check_rule(NET_LISTEN, named ? &own : &any, socket);
}

int64_t net_listen(struct file *file, const struct sysargs *args)
{
    struct net_socket *socket = net_of(file);
    if (socket->family == AF_LOCAL_FAMILY && !socket->bound)
        return -EINVAL;
    if (socket->type != NET_STREAM &&
        (socket->family != AF_LOCAL_FAMILY || socket->type == NET_DATAGRAMS))
        return -EOPNOTSUPP;
    int64_t status = socket->bound ? 0 : check_listen(socket);
    if (status < 0)
        return status;
    status =
        border_call2(OCALL_NET_LISTEN, 0, (uint64_t)socket->handle, (uint64_t)(int32_t)args->a[1]);
    if (status < 0)
        return net_error(status);
    if (!socket->bound)
        learn_port(socket);
    socket->bound = true;
    return 0;
}

int64_t net_accept(struct file *file, const struct sysargs *args, uint32_t flags)
{
    struct net_socket kind = *net_of(file);
    struct net_address peer;
    struct file *fresh;
    if (flags & ~(ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    if (kind.type != NET_STREAM && (kind.family != AF_LOCAL_FAMILY || kind.type == NET_DATAGRAMS))
        return -EOPNOTSUPP;
    /* First: a connection that is taken and has no descriptor would be lost. */
    int fd = fd_reserve();
    if (fd < 0)
        return fd;
    int64_t handle = net_accept_handle(file, &peer);
    if (handle == -EMFILE && chunk_handles_drop())
        handle = net_accept_handle(file, &peer);
    if (handle < 0) {
        fd_unreserve(fd);
        return handle;
    }
    kind.shared = false;
    kind.bound = true;
    int status = net_wrap((int)handle, &kind, flags, &fresh);
    if (status == 0 && (status = address_to_user(&peer, args->a[1], args->a[2])) < 0)
        file_unref(fresh);
    if (status < 0) {
        fd_unreserve(fd);
        return status;
    }
    fd_fill(fd, fresh, flags & ANON_CLOEXEC);
    return fd;
}

int64_t net_connect(struct file *file, const struct sysargs *args)
{
    struct net_address address;
    if (netlink_is(file))
        return netlink_connect(file, args->a[1], args->a[2]);
    int status = address_from_user(args->a[1], args->a[2], net_of(file), &address);
    if (status == 0 && address_family(&address) != AF_UNSPEC_FAMILY && !net_of(file)->answers)
        status = check_rule(NET_CONNECT, &address, net_of(file));
    return status < 0 ? status : net_connect_to(file, &address);
}

int64_t net_name(struct file *file, const struct sysargs *args, bool peer)
{
    struct net_address address;
    int status = 0;
    if (netlink_is(file))
        netlink_name(file, peer, &address);
    else
        status = net_name_of(net_of(file), peer, &address);
    if (status < 0)
        return status;
    return args->a[1] ? address_to_user(&address, args->a[1], args->a[2]) : -EFAULT;
}

int64_t net_shutdown(struct file *file, const struct sysargs *args)
{
    if (netlink_is(file))
        return -EOPNOTSUPP;
    if (args->a[1] > 2)
        return -EINVAL;
    int64_t status =
        border_call2(OCALL_NET_SHUTDOWN, 0, (uint64_t)net_of(file)->handle, args->a[1]);
    return status < 0 ? net_error(status) : 0;
}

/* --- options ------------------------------------------------------------------------------------ */

static const struct option *find_option(int level, int name, uint8_t use)
{
    static uint64_t said[2]; /* one note for each of the first numbers, per direction */
    const struct option *option = option_find(level, name);
    if (option && option->use & (use | OPTION_OURS))
        return option;
    uint64_t bit = 1ull << ((uint32_t)name % 64);
    if (!(__atomic_fetch_or(&said[use == OPTION_SET], bit, __ATOMIC_RELAXED) & bit))
        log_note("socket option %d of level %d is not supported", name, level);
    return NULL;
}

/* As the kernel's sock_set_timeout(). */
static int set_timeout(uint64_t user, uint64_t size, struct net_socket *socket, bool send)
{
    struct __kernel_old_timeval tv;
    if (size < sizeof(tv))
        return -EINVAL;
    int status = GET_USER(&tv, (const struct __kernel_old_timeval *)user_ptr(user));
    if (status < 0)
        return status;
    if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
        return -EDOM;
    uint64_t ns = 0;
    if (tv.tv_sec < 0)
        ns = 1; /* over at once */
    else if ((uint64_t)tv.tv_sec < INT64_MAX / NSEC_PER_SEC / 2)
        ns = (uint64_t)tv.tv_sec * NSEC_PER_SEC + (uint64_t)tv.tv_usec * 1000;
    return net_set_timeout(socket, send, ns);
}

/* Sizes of buffers, what answers are to have besides: taken, without effect. */
static int netlink_set_option(int level, int name)
{
    bool netlink =
        level == 270 && (name == 1 || name == 2); /* SOL_NETLINK: ADD_, DROP_MEMBERSHIP */
    return netlink ? -EPERM : level == OPTION_SOCKET || level == 270 ? 0 : -ENOPROTOOPT;
}

int64_t net_setsockopt(struct file *file, const struct sysargs *args)
{
    struct net_socket *socket = net_of(file);
    int level = (int)args->a[1], name = (int)args->a[2];
    uint64_t size = args->a[4];
    uint8_t value[OPTION_MAX];
    if ((int32_t)size < 0)
        return -EINVAL;
    size = (uint32_t)size;
    if (netlink_is(file))
        return netlink_set_option(level, name);
    const struct option *option = find_option(level, name, OPTION_SET);
    if (!option)
        return -ENOPROTOOPT;
    if (option->use & OPTION_OURS && name == SO_RCVTIMEO_NAME)
        return set_timeout(args->a[3], size, socket, false);
    if (option->use & OPTION_OURS && name == SO_SNDTIMEO_NAME)
        return set_timeout(args->a[3], size, socket, true);
    if (option->use & OPTION_OURS)
        return -ENOPROTOOPT;
    /* What is longer than any value the kernel looks at the first bytes of. */
    if (size > option->size)
        size = option->size;
    int64_t status = copy_from_user(value, user_ptr(args->a[3]), size);
    if (status < 0)
        return status;
    border_put(0, value, size);
    status = border_call4(OCALL_NET_SET_OPTION, 0, (uint64_t)socket->handle, (uint64_t)level,
                          (uint64_t)name, size);
    return status < 0 ? net_error(status) : 0;
}

static uint32_t our_option(const struct net_socket *socket, int name, uint8_t *value)
{
    int32_t word = 0;
    const int32_t nobody[3] = { 0, -1, -1 };
    uint64_t ns;
    struct __kernel_old_timeval tv;
    switch (name) {
    case SO_TYPE_NAME: word = socket->type; break;
    case SO_DOMAIN_NAME: word = socket->family; break;
    case SO_PROTOCOL_NAME: word = (int32_t)socket->protocol; break;
    case SO_PEERCRED_NAME: memcpy(value, nobody, sizeof(nobody)); return sizeof(nobody);
    default:
        ns = net_timeout(socket, name == SO_SNDTIMEO_NAME);
        tv = (struct __kernel_old_timeval){ (int64_t)(ns / NSEC_PER_SEC),
                                            (int64_t)(ns % NSEC_PER_SEC / 1000) };
        memcpy(value, &tv, sizeof(tv));
        return sizeof(tv);
    }
    memcpy(value, &word, sizeof(word));
    return sizeof(word);
}

int64_t net_getsockopt(struct file *file, const struct sysargs *args)
{
    const struct net_socket *socket = net_of(file);
    int level = (int)args->a[1], name = (int)args->a[2];
    uint8_t value[OPTION_MAX] = { 0 };
    uint32_t room;
    int64_t n = GET_USER(&room, (const uint32_t *)user_ptr(args->a[4]));
    if (n < 0)
        return n;
    if ((int32_t)room < 0)
        return -EINVAL;
    const struct option *option = find_option(level, name, OPTION_GET);
    if (!option)
        return -ENOPROTOOPT;
    uint32_t size = room < option->size ? room : option->size;
    if (option->use & OPTION_OURS) {
        uint32_t whole = our_option(socket, name, value);
        size = size < whole ? size : whole;
    } else if (level == OPTION_SOCKET && name == SO_ERROR_NAME &&
               (n = -net_late_error(net_of(file)))) {
        memcpy(value, &n, sizeof(int32_t));
    } else if (netlink_is(file)) {
        if (level != OPTION_SOCKET)
            return -ENOPROTOOPT;
    } else {
        border_put(0, value,
                   size); /* some read what is there, and none tells of what was there before */
        n = border_call4(OCALL_NET_GET_OPTION, size, (uint64_t)socket->handle, (uint64_t)level,
                         (uint64_t)name, size);
        if (n < 0)
            return net_error(n);
        size = (uint32_t)n;
        border_get(value, 0, size);
    }
    n = copy_to_user(user_ptr(args->a[3]), value, size);
    return n < 0 ? n : PUT_USER((uint32_t *)user_ptr(args->a[4]), &size);
}

/* --- sending and receiving -------------------------------------------------------------------- */

static int64_t clamp(uint64_t size)
{
    return (int64_t)(size < SIZE_MAX_IO ? size : SIZE_MAX_IO);
}

/* A signal for who writes where nobody reads. */
static int64_t send_pieces(struct file *file, const struct iovec *iov, uint64_t count,
                           uint64_t size, uint32_t flags, const struct net_extra *extra)
{
    int64_t n = net_send(file, iov, count, size, flags, extra);
    if (n == -EPIPE && !(flags & MSG_NOSIGNAL_FLAG) && net_of(file)->type == NET_STREAM)
        stream_sigpipe();
    return n;
}

static int get_destination(struct file *file, uint64_t user, uint64_t size, struct net_address *ret)
{
    const struct net_socket *socket = net_of(file);
    if (netlink_is(file))
        return netlink_destination(user, size, ret);
    int status = address_from_user(user, size, socket, ret);
    if (status == 0 && address_family(ret) == AF_UNSPEC_FAMILY && socket->type == NET_DATAGRAMS &&
        socket->family == AF_INET_FAMILY)
        status = address_as_ipv4(ret);
    if (status == 0 && address_family(ret) != AF_UNSPEC_FAMILY && !socket->answers)
        status = check_rule(NET_CONNECT, ret, socket);
    return status;
}

int64_t net_sendto(struct file *file, const struct sysargs *args)
{
    struct iovec iov = { user_ptr(args->a[1]), (uint64_t)clamp(args->a[2]) };
    struct net_extra extra;
    bool to = args->a[4] != 0;
    if (iov.iov_len && !user_range_ok(iov.iov_base, iov.iov_len))
        return -EFAULT;
    extra.control_size = 0;
    int status = to ? get_destination(file, args->a[4], args->a[5], &extra.address) : 0;
    if (status < 0)
        return status;
    return send_pieces(file, &iov, 1, iov.iov_len, (uint32_t)args->a[3], to ? &extra : NULL);
}

int64_t net_recvfrom(struct file *file, const struct sysargs *args)
{
    struct iovec iov = { user_ptr(args->a[1]), (uint64_t)clamp(args->a[2]) };
    struct net_extra extra;
    if (iov.iov_len && !user_range_ok(iov.iov_base, iov.iov_len))
        return -EFAULT;
    bool from = args->a[4] != 0;
    int64_t n =
        net_receive(file, &iov, 1, iov.iov_len, (uint32_t)args->a[3], 0, from ? &extra : NULL);
    if (n < 0 || !from)
        return n;
    int status = address_to_user(&extra.address, args->a[4], args->a[5]);
    return status < 0 ? status : n;
}

void message_done(struct message *m)
{
    if (m->iov != m->few)
        heap_free(m->iov);
}

int message_get(uint64_t user, struct message *m)
{
    m->iov = m->few;
    m->size = 0;
    int status = GET_USER(&m->head, (const struct kmsghdr *)user_ptr(user));
    if (status < 0)
        return status;
    if (m->head.iov_count > IOV_MAX)
        return -EMSGSIZE;
    if (m->head.name_size < 0)
        return -EINVAL;
    if (m->head.iov_count > IOV_STACK) {
        m->iov = heap_alloc(m->head.iov_count * sizeof(*m->iov));
        if (!m->iov) {
            m->iov = m->few;
            return -ENOMEM;
        }
    }
    status = copy_from_user(m->iov, user_ptr(m->head.iov), m->head.iov_count * sizeof(*m->iov));
    for (uint64_t i = 0; status == 0 && i < m->head.iov_count; i++) {
        struct iovec *piece = &m->iov[i];
        if ((int64_t)piece->iov_len < 0)
            return -EINVAL;
        if (piece->iov_len && !user_range_ok(piece->iov_base, piece->iov_len))
            return -EFAULT;
        if (piece->iov_len > SIZE_MAX_IO - m->size)
            piece->iov_len = SIZE_MAX_IO - m->size;
        m->size += piece->iov_len;
    }
    return status;
}

int message_out(struct file *file, uint64_t user, struct message *m, struct net_extra *extra)
{
    extra->address.size = 0;
    int status = message_get(user, m);
    if (status == 0)
        status = control_from_user(m->head.control, m->head.control_size, extra);
    uint64_t name_size = (uint64_t)m->head.name_size < OCALL_NET_ADDRESS
                             ? (uint64_t)m->head.name_size
                             : OCALL_NET_ADDRESS;
    if (status == 0 && m->head.name && name_size)
        status = get_destination(file, m->head.name, name_size, &extra->address);
    return status;
}

int64_t message_send(struct file *file, uint64_t user, uint32_t flags)
{
    struct message m;
    struct net_extra extra;
    int64_t n = message_out(file, user, &m, &extra);
    if (n == 0)
        n = send_pieces(file, m.iov, m.head.iov_count, m.size, flags, &extra);
    message_done(&m);
    return n;
}

/* What msg_flags can hold: OOB, CTRUNC, TRUNC, EOR, ERRQUEUE, CMSG_CLOEXEC. */
#define FLAGS_OUT                                                                  \
    (MSG_OOB_FLAG | MSG_CTRUNC_FLAG | MSG_TRUNC_FLAG | 0x80u | MSG_ERRQUEUE_FLAG | \
     MSG_CMSG_CLOEXEC_FLAG)

int message_put(uint64_t user, struct message *m, const struct net_extra *extra)
{
    struct kmsghdr *head = user_ptr(user);
    uint64_t used = 0;
    uint32_t flags = extra->flags & FLAGS_OUT;
    int status = 0;
    if (m->head.name) {
        uint32_t room = (uint32_t)m->head.name_size, size = extra->address.size;
        status =
            copy_to_user(user_ptr(m->head.name), extra->address.bytes, room < size ? room : size);
        m->head.name_size = (int32_t)size;
        if (status == 0)
            status = PUT_USER(&head->name_size, &m->head.name_size);
    }
    if (status == 0)
        status = control_to_user(extra, m->head.control, m->head.control ? m->head.control_size : 0,
                                 &used, &flags);
    if (status == 0)
        status = PUT_USER(&head->flags, &flags);
    return status < 0 ? status : PUT_USER(&head->control_size, &used);
}

int64_t message_receive(struct file *file, uint64_t user, uint32_t flags)
{
    struct message m;
    struct net_extra extra;
    int64_t n = message_get(user, &m);
    if (n == 0) {
        uint64_t room = m.head.control ? m.head.control_size : 0;
        extra.flags = 0;
        extra.address.size = 0;
        extra.control_size = 0;
        n = net_receive(file, m.iov, m.head.iov_count, m.size, flags, room ? OCALL_NET_CONTROL : 0,
                        &extra);
    }
    if (n >= 0) {
        int status = message_put(user, &m, &extra);
        n = status < 0 ? status : n;
    }
    message_done(&m);
    return n;
}

int64_t net_sendmsg(struct file *file, const struct sysargs *args)
{
    return message_send(file, args->a[1], (uint32_t)args->a[2]);
}

int64_t net_recvmsg(struct file *file, const struct sysargs *args)
{
    return message_receive(file, args->a[1], (uint32_t)args->a[2]);
}
