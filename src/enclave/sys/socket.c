/*
 * System calls on sockets. AF_UNIX here: pairs, and those with names in scratch or abstract ones, between the processes
 * of the tree. Those of the network are net/. Everything else about sockets is refused, aloud. Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/uio.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/pipe.h"
#include "ipc/unix.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "net/net.h"
#include "process/process.h"
#include "sys/sys.h"
#include "sys/files.h"
#include "sys/message.h"
#include "thread/threads.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"

#define AF_UNIX_FAMILY    1
#define AF_NETLINK_FAMILY 16
#define SOCK_TYPE_MASK   0xfu
#define IOV_MAX          1024u
#define PACKET_MAX       (1u << 20)

#define MSG_PEEK_FLAG     0x2u
#define MSG_CTRUNC_FLAG   0x8u
#define MSG_DONTWAIT_FLAG 0x40u
#define MSG_WAITALL_FLAG  0x100u
#define MSG_NOSIGNAL_FLAG 0x4000u
#define MSG_CLOEXEC_FLAG  0x40000000u

#define SCM_RIGHTS_TYPE 1

#define SOL_SOCKET_LEVEL  1
#define SO_TYPE_OPT       3
#define SO_ERROR_OPT      4
#define SO_SNDBUF_OPT     7
#define SO_RCVBUF_OPT     8
#define SO_PEERCRED_OPT   17
#define SO_ACCEPTCONN_OPT 30
#define SO_PROTOCOL_OPT   38
#define SO_DOMAIN_OPT     39

sys_fn sys_socket, sys_socketpair, sys_connect, sys_accept, sys_accept4, sys_bind, sys_listen,
    sys_sendto, sys_recvfrom, sys_sendmsg, sys_recvmsg, sys_sendmmsg, sys_recvmmsg, sys_shutdown,
    sys_getsockname, sys_getpeername, sys_setsockopt, sys_getsockopt;

/* A reference to a socket of ours; *ret_error says why there is none. */
static struct file *get_socket(uint64_t fd, int *ret_error)
{
    struct file *file = fd_get((int)fd);
    *ret_error = -EBADF;
    if (file && !unix_is(file) && !remote_is_socket(file)) {
        file_unref(file);
        file = NULL;
        *ret_error = -ENOTSOCK;
    }
    return file;
}

/* --- making ----------------------------------------------------------------------------------- */

/* 0, or why there is no such socket. */
static int check_kind(int family, uint32_t type, int protocol, bool pair)
{
    if (family != AF_UNIX_FAMILY)
        return -EAFNOSUPPORT;
    uint32_t plain = type & SOCK_TYPE_MASK;
    if (plain != UNIX_STREAM && plain != UNIX_PACKETS && (plain != UNIX_DATAGRAMS || !pair)) {
        log_note("AF_UNIX sockets of type %u are not supported%s", plain,
                 plain == UNIX_DATAGRAMS ? " but in pairs" : "");
        return -ESOCKTNOSUPPORT;
    }
    if (type & ~(SOCK_TYPE_MASK | ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    return protocol && protocol != AF_UNIX_FAMILY ? -EPROTONOSUPPORT : 0;
}

int64_t sys_socket(const struct sysargs *args)
{
    static bool said;
    int family = (int)args->a[0];
    uint32_t type = (uint32_t)args->a[1];
    if (family == AF_UNIX_FAMILY) {
        struct file *file;
        int ret = check_kind(family, type, (int)args->a[2], false);
        if (ret == 0)
            ret = hub_is_here()
                      ? unix_new(type & SOCK_TYPE_MASK, type & ANON_NONBLOCK, &file)
                      : remote_socket_new(type & SOCK_TYPE_MASK, type & ANON_NONBLOCK, &file);
        return ret < 0 ? ret : anon_install(file, type);
    }
    if (net_family(family) || family == AF_NETLINK_FAMILY)
        return net_socket(args);
    audit(OCALL_AUDIT_NET, EAFNOSUPPORT, args->a[0], NULL, 0);
    if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        log_note("the program asked for a socket of family %d: there are none", family);
    return -EAFNOSUPPORT;
}

int64_t sys_socketpair(const struct sysargs *args)
{
    uint32_t flags = (uint32_t)args->a[1] & ~SOCK_TYPE_MASK;
    int ret = check_kind((int)args->a[0], (uint32_t)args->a[1], (int)args->a[2], true);
    if (ret < 0)
        return ret;
    struct file *a, *b;
    ret = unix_pair((uint32_t)args->a[1] & SOCK_TYPE_MASK, flags & ANON_NONBLOCK, flags & ANON_NONBLOCK, &a, &b);
    if (ret < 0)
        return ret;
    int32_t fds[2] = { anon_install(a, flags), -1 };
    if (fds[0] < 0) {
        file_unref(b);
        return fds[0];
    }
    fds[1] = anon_install(b, flags);
    ret = fds[1] < 0 ? fds[1] : PUT_USER((int32_t(*)[2])user_ptr(args->a[3]), &fds);
    if (ret < 0) {
        (void)!fd_close(fds[0]);
        if (fds[1] >= 0)
            (void)!fd_close(fds[1]);
    }
    return ret;
}

/* --- names ------------------------------------------------------------------------------------ */

/* sockaddr_un of the program. */
static int get_address(uint64_t user, uint64_t size, struct unix_name *ret)
{
    struct {
        uint16_t family;
        char path[UNIX_PATH_MAX];
    } address;
    *ret = (struct unix_name){ .size = 0 };
    if (size < sizeof(address.family) || size > sizeof(address))
        return -EINVAL;
    int status = copy_from_user(&address, user_ptr(user), size);
    if (status < 0)
        return status;
    if (address.family != AF_UNIX_FAMILY)
        return -EINVAL;
    ret->size = (uint32_t)(size - sizeof(address.family));
    memcpy(ret->bytes, address.path, ret->size);
    if (ret->size && ret->bytes[0])
        ret->size = (uint32_t)strnlen(ret->bytes, ret->size);
    return ret->size ? 0 : -EINVAL; /* autobind is not there */
}

static bool is_abstract(const struct unix_name *name)
{
    return name->bytes[0] == '\0';
}

/* The place that a name's path leads to, in scratch. bind: it is to be made. */
static int find_name(const struct unix_name *name, bool bind, char buf[static PATH_BUF],
                     struct place *ret)
{
    int status = place_at_kernel(AT_FDCWD, name->bytes, name->size,
                                 bind ? WALK_NAME | WALK_CREATE : 0, buf, ret);
    if (status < 0)
        return status;
    if (bind && (ret->mode || ret->last != LAST_NAME))
        return -EADDRINUSE;
    if (bind && (status = place_changeable(ret)) < 0)
        return status;
    if (!bind && !S_ISSOCK(ret->mode))
        return -ECONNREFUSED;
    if (ret->fs == &g_tmpfs_fs || ret->fs == &g_remote_fs)
        return 0;
    log_note("'%s': sockets can be in scratch folders only", ret->path);
    return bind ? -EROFS : -ECONNREFUSED;
}

/* The root's own: makes the name's inode where it is to be bound; what it is. */
static int take_inode(struct place *place, bool bind, uint32_t mode, struct unix_name *name)
{
    struct kstat st;
    char buf[PATH_BUF];
    struct place made;
    int status = bind ? place->fs->mknod(place, S_IFSOCK | mode) : 0;
    if (status < 0)
        return status == -EEXIST ? -EADDRINUSE : status;
    status = place_at_kernel(AT_FDCWD, place->path, place->path_size, WALK_NOFOLLOW, buf, &made);
    if (status < 0)
        return status;
    status = place_stat(&made, &st);
    place_done(&made);
    name->dev = st.dev;
    name->ino = st.ino;
    return status;
}

static int64_t bind_or_connect(const struct sysargs *args, bool bind)
{
    struct unix_name name;
    char buf[PATH_BUF];
    CLEANUP(put_place) struct place place = { .fs = NULL, .path = "" };
    int status;
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &status);
    if (!file)
        return status;
    status = get_address(args->a[1], args->a[2], &name);
    if (status == 0 && !is_abstract(&name))
        status = find_name(&name, bind, buf, &place);
    if (status < 0)
        return status;
    uint32_t mode = 0777 & ~umask_get();
    if (remote_is_socket(file))
        return bind ? remote_bind(file, &name, place.path, mode)
                    : remote_connect(file, &name, place.path);
    if (!is_abstract(&name))
        status = take_inode(&place, bind, mode, &name);
    if (status < 0)
        return status;
    return bind ? unix_bind(file, &name) : unix_connect(file, &name);
}

int64_t sys_bind(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_bind(net, args);
    return bind_or_connect(args, true);
}

int64_t sys_connect(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_connect(net, args);
    return bind_or_connect(args, false);
}

int64_t sys_listen(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_listen(net, args);
    int status;
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &status);
    if (!file)
        return status;
    uint32_t backlog = (int32_t)args->a[1] < 0 ? 0 : (uint32_t)args->a[1];
    return remote_is_socket(file) ? remote_listen(file, backlog) : unix_listen(file, backlog);
}

static int put_name(uint64_t user, uint64_t user_size, const struct unix_name *name);

static int64_t do_accept(const struct sysargs *args, uint32_t flags)
{
    int status;
    struct file *fresh;
    struct unix_name name;
    if (flags & ~(ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &status);
    if (!file)
        return status;
    if (remote_is_socket(file))
        status = remote_accept(file, anon_nonblock(file), flags & ANON_NONBLOCK, &fresh);
    else
        status = unix_accept(file, anon_nonblock(file), flags & ANON_NONBLOCK, &fresh);
    if (status < 0)
        return status;
    if (args->a[1]) {
        status = remote_is_socket(fresh) ? remote_name_of(fresh, true, &name)
                                         : unix_name_of(fresh, true, &name);
        if (status == 0)
            status = put_name(args->a[1], args->a[2], &name);
        if (status < 0) {
            file_unref(fresh);
            return status;
        }
    }
    return anon_install(fresh, flags);
}

int64_t sys_accept(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_accept(net, args, 0);
    return do_accept(args, 0);
}

int64_t sys_accept4(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_accept(net, args, (uint32_t)args->a[3]);
    return do_accept(args, (uint32_t)args->a[3]);
}

/* --- sending and receiving -------------------------------------------------------------------- */

/* A socket of this process, or of the hub. */
static int64_t receive_some(struct file *file, void *user, uint64_t size, bool nonblock, bool peek,
                            struct stream_rights **ret_rights)
{
    if (unix_is(file))
        return unix_receive(file, user, size, nonblock, peek, ret_rights);
    return remote_receive(file, user, size,
                          (nonblock ? REMOTE_NONBLOCK : 0) | (peek ? REMOTE_PEEK : 0), ret_rights);
}

static int64_t send_some(struct file *file, const void *user, uint64_t size, bool nonblock,
                         struct stream_rights **rights)
{
    return unix_is(file) ? unix_send(file, user, size, nonblock, rights)
                         : remote_send(file, user, size, nonblock ? REMOTE_NONBLOCK : 0, rights);
}

static uint32_t type_of(const struct file *file)
{
    return unix_is(file) ? unix_type(file) : remote_socket_type(file);
}

/* One packet from or to several buffers of the program: through one of ours. */
static int64_t whole_packet(struct file *file, const struct iovec *iov, uint64_t count, bool nonblock,
                            bool peek, struct stream_rights **rights, bool out)
{
    uint64_t size = 0, at = 0;
    for (uint64_t i = 0; i < count; i++)
        if (iov[i].iov_len > PACKET_MAX - size)
            size = PACKET_MAX;
        else
            size += iov[i].iov_len;
    uint8_t *buf = heap_alloc(size + 1);
    int64_t n = buf ? 0 : -ENOMEM;
    for (uint64_t i = 0; out && n == 0 && i < count; at += iov[i++].iov_len)
        n = iov[i].iov_len > size - at ? -EMSGSIZE
                                       : copy_from_user(buf + at, iov[i].iov_base, iov[i].iov_len);
    if (n == 0) {
        current()->kernel_buffers = true;
        n = out ? send_some(file, buf, size, nonblock, rights)
                : receive_some(file, buf, size, nonblock, peek, rights);
        current()->kernel_buffers = false;
    }
    int status = 0;
    for (uint64_t i = 0; !out && status == 0 && n > 0 && i < count && at < (uint64_t)n; i++) {
        uint64_t part = iov[i].iov_len < (uint64_t)n - at ? iov[i].iov_len : (uint64_t)n - at;
        status = copy_to_user(iov[i].iov_base, buf + at, part);
        at += part;
    }
    heap_free(buf);
    return status < 0 ? status : n;
}

/* Bytes received into all of the buffers; at most one set of descriptors, with which it ends. */
static int64_t receive(struct file *file, const struct iovec *iov, uint64_t count, uint32_t flags,
                       struct stream_rights **ret_rights)
{
    bool nonblock = anon_nonblock(file) || flags & MSG_DONTWAIT_FLAG;
    bool all = flags & MSG_WAITALL_FLAG, peek = flags & MSG_PEEK_FLAG;
    int64_t done = 0;
    if (type_of(file) != UNIX_STREAM && count != 1)
        return whole_packet(file, iov, count, nonblock, peek, ret_rights, false);
    if (type_of(file) != UNIX_STREAM)
        return receive_some(file, iov->iov_base, iov->iov_len, nonblock, peek, ret_rights);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t have = 0;
        while (have < iov[i].iov_len) {
            /* After the first bytes, only what is there already, unless all was asked for. */
            int64_t n = receive_some(file, (uint8_t *)iov[i].iov_base + have, iov[i].iov_len - have,
                                     nonblock || (done && !all), peek, ret_rights);
            if (n <= 0)
                return done ? done : n;
            done += n;
            have += (uint64_t)n;
            if (peek || (ret_rights && *ret_rights))
                return done;
            /* What follows may bring descriptors: they would be lost among these bytes. */
            if (ret_rights && !all)
                return done;
        }
    }
    return done;
}

static int64_t send(struct file *file, const struct iovec *iov, uint64_t count, uint32_t flags,
                    struct stream_rights **rights)
{
    bool nonblock = anon_nonblock(file) || flags & MSG_DONTWAIT_FLAG;
    int64_t done = 0;
    if (type_of(file) != UNIX_STREAM && count != 1) {
        done = whole_packet(file, iov, count, nonblock, false, rights, true);
        if (done == -EPIPE && !(flags & MSG_NOSIGNAL_FLAG))
            stream_sigpipe();
        return done;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!iov[i].iov_len)
            continue;
        int64_t n = send_some(file, iov[i].iov_base, iov[i].iov_len, nonblock, rights);
        if (n == -EPIPE && !done && !(flags & MSG_NOSIGNAL_FLAG))
            stream_sigpipe();
        if (n < 0)
            return done ? done : n;
        done += n;
        if ((uint64_t)n < iov[i].iov_len)
            break;
    }
    return done;
}

int64_t sys_sendto(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_sendto(net, args);
    int ret;
    struct iovec iov = { user_ptr(args->a[1]), args->a[2] };
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = args->a[4] ? -EISCONN : send(file, &iov, 1, (uint32_t)args->a[3], NULL);
    file_unref(file);
    return n;
}

/* No address: a pair has none. */
static int put_no_name(uint64_t user_size)
{
    uint32_t size = 0;
    return user_size ? PUT_USER((uint32_t *)user_ptr(user_size), &size) : 0;
}

int64_t sys_recvfrom(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_recvfrom(net, args);
    int ret;
    struct iovec iov = { user_ptr(args->a[1]), args->a[2] };
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = receive(file, &iov, 1, (uint32_t)args->a[3], NULL);
    file_unref(file);
    if (n >= 0 && args->a[4]) {
        ret = put_no_name(args->a[5]);
        n = ret < 0 ? ret : n;
    }
    return n;
}

static int get_message(uint64_t user, struct kmsghdr *ret, struct iovec iov[static IOV_MAX])
{
    int r = GET_USER(ret, (const struct kmsghdr *)user_ptr(user));
    if (r < 0)
        return r;
    if (ret->iov_count > IOV_MAX)
        return -EMSGSIZE;
    return copy_from_user(iov, user_ptr(ret->iov), ret->iov_count * sizeof(*iov));
}

/* --- control messages -------------------------------------------------------------------------- */

#define CONTROL_MAX        4096u

/* Several messages are as one with all descriptors (__scm_send); on failure *ret is what there is so far. */
static int add_rights(const uint8_t *data, uint64_t size, struct stream_rights **ret)
{
    uint32_t have = *ret ? (*ret)->count : 0, count = (uint32_t)(size / sizeof(int32_t));
    if (count > UNIX_RIGHTS_MAX - have)
        return -EINVAL;
    struct stream_rights *rights = stream_rights_new(have + count);
    if (!rights)
        return -ENOMEM;
    if (have) {
        memcpy(rights->files, (*ret)->files, have * sizeof(rights->files[0]));
        rights->count = have;
        (*ret)->count = 0;
    }
    stream_rights_drop(*ret);
    *ret = rights;
    for (uint32_t i = 0; i < count; i++) {
        int32_t fd;
        memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
        struct file *file = fd_get(fd);
        if (!file)
            return -EBADF;
        rights->files[rights->count++] = file;
    }
    return 0;
}

/* What sendmsg brings besides bytes: SCM_RIGHTS; SCM_CREDENTIALS says what is known anyway. */
static int get_control(const struct kmsghdr *message, struct stream_rights **ret)
{
    uint8_t buf[CONTROL_MAX];
    uint64_t size = message->control_size;
    if (!message->control || !size)
        return 0;
    if (size > sizeof(buf))
        return -ENOBUFS;
    int status = copy_from_user(buf, user_ptr(message->control), size);
    for (uint64_t at = 0; status == 0 && size - at >= sizeof(struct kcmsg);) {
        struct kcmsg head;
        memcpy(&head, buf + at, sizeof(head));
        if (head.size < sizeof(head) || head.size > size - at)
            return -EINVAL;
        if (head.level != SOL_SOCKET_LEVEL)
            return -EINVAL;
        if (head.type == SCM_RIGHTS_TYPE)
            status = add_rights(buf + at + sizeof(head), head.size - sizeof(head), ret);
        else if (head.type != 2 /* SCM_CREDENTIALS */)
            return -EINVAL;
        at += CMSG_ALIGNED(head.size);
        if (at > size)
            break;
    }
    return status;
}

/* Installs what came, as far as there is room, and says so in the program's buffer. */
static int put_control(struct kmsghdr *message, struct stream_rights *rights, uint32_t flags)
{
    uint64_t room = message->control ? message->control_size : 0, head = sizeof(struct kcmsg);
    int32_t fds[UNIX_RIGHTS_MAX];
    uint32_t count = 0;
    message->control_size = 0;
    message->flags = 0;
    if (!rights)
        return 0;
    uint64_t most = room > head ? (room - head) / sizeof(int32_t) : 0;
    while (count < rights->count && count < most) {
        int fd = fd_install(file_ref(rights->files[count]), 0, flags & MSG_CLOEXEC_FLAG);
        if (fd < 0) {
            file_unref(rights->files[count]);
            break;
        }
        fds[count++] = fd;
    }
    if (count < rights->count)
        message->flags |= MSG_CTRUNC_FLAG;
    stream_rights_drop(rights);
    if (!count)
        return 0;
    struct kcmsg cmsg = { head + count * sizeof(fds[0]), SOL_SOCKET_LEVEL, SCM_RIGHTS_TYPE };
    int status = copy_to_user(user_ptr(message->control), &cmsg, sizeof(cmsg));
    if (status == 0)
        status = copy_to_user(user_ptr(message->control + head), fds, count * sizeof(fds[0]));
    uint64_t whole = CMSG_ALIGNED(cmsg.size);
    message->control_size = whole < room ? whole : room;
    return status;
}

int64_t sys_sendmsg(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_sendmsg(net, args);
    struct kmsghdr message;
    struct iovec iov[IOV_MAX];
    struct stream_rights *rights = NULL;
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = get_message(args->a[1], &message, iov);
    if (n == 0)
        n = get_control(&message, &rights);
    if (n == 0)
        n = message.name ? -EISCONN
                         : send(file, iov, message.iov_count, (uint32_t)args->a[2], &rights);
    stream_rights_drop(rights);
    file_unref(file);
    return n;
}

int64_t sys_recvmsg(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_recvmsg(net, args);
    struct kmsghdr message;
    struct iovec iov[IOV_MAX];
    struct stream_rights *rights = NULL;
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = get_message(args->a[1], &message, iov);
    if (n == 0)
        n = receive(file, iov, message.iov_count, (uint32_t)args->a[2],
                    message.control && message.control_size ? &rights : NULL);
    file_unref(file);
    if (n < 0)
        return n;
    message.name_size = 0;
    ret = put_control(&message, rights, (uint32_t)args->a[2]);
    if (ret == 0)
        ret = PUT_USER((struct kmsghdr *)user_ptr(args->a[1]), &message);
    return ret < 0 ? ret : n;
}

/* Several at once: programs fall back to one by one. */
static int64_t refuse_call(const struct sysargs *args, int error)
{
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    file_unref(file);
    return error;
}

int64_t sys_sendmmsg(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_sendmmsg(net, args);
    return refuse_call(args, -EOPNOTSUPP);
}

int64_t sys_recvmmsg(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_recvmmsg(net, args);
    return refuse_call(args, -EOPNOTSUPP);
}

int64_t sys_shutdown(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_shutdown(net, args);
    int ret;
    if (args->a[1] > 2)
        return -EINVAL;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    if (unix_is(file))
        ret = unix_shutdown(file, (enum unix_shut)args->a[1]);
    else
        ret = remote_shutdown(file, (uint32_t)args->a[1]);
    file_unref(file);
    return ret;
}

/* --- names and options ------------------------------------------------------------------------ */

/* A sockaddr_un, as much of it as there is room for. */
static int put_name(uint64_t user, uint64_t user_size, const struct unix_name *name)
{
    struct {
        uint16_t family;
        char path[UNIX_PATH_MAX + 1];
    } address = { .family = AF_UNIX_FAMILY };
    uint32_t size, whole = (uint32_t)sizeof(address.family) + name->size;
    int ret = GET_USER(&size, (const uint32_t *)user_ptr(user_size));
    if (ret < 0)
        return ret;
    if ((int32_t)size < 0)
        return -EINVAL;
    memcpy(address.path, name->bytes, name->size);
    whole += name->size && name->bytes[0] ? 1 : 0; /* the NUL */
    ret = copy_to_user(user_ptr(user), &address, size < whole ? size : whole);
    return ret < 0 ? ret : PUT_USER((uint32_t *)user_ptr(user_size), &whole);
}

static int64_t get_name(const struct sysargs *args, bool peer)
{
    struct unix_name name;
    int status;
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &status);
    if (!file)
        return status;
    status = remote_is_socket(file) ? remote_name_of(file, peer, &name)
                                    : unix_name_of(file, peer, &name);
    return status < 0 ? status : put_name(args->a[1], args->a[2], &name);
}

int64_t sys_getsockname(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_name(net, args, false);
    return get_name(args, false);
}

int64_t sys_getpeername(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_name(net, args, true);
    return get_name(args, true);
}

/* Buffer sizes, timeouts and the like: taken, without effect. */
int64_t sys_setsockopt(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_setsockopt(net, args);
    int32_t value;
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    file_unref(file);
    if ((int)args->a[1] != SOL_SOCKET_LEVEL)
        return -EOPNOTSUPP;
    if (args->a[4] < sizeof(value))
        return -EINVAL;
    return GET_USER(&value, (const int32_t *)user_ptr(args->a[3]));
}

static int option(struct file *file, int name, int32_t ret[static 3], uint32_t *ret_size)
{
    *ret_size = sizeof(int32_t);
    switch (name) {
    case SO_TYPE_OPT: ret[0] = (int32_t)type_of(file); return 0;
    case SO_DOMAIN_OPT: ret[0] = AF_UNIX_FAMILY; return 0;
    case SO_ACCEPTCONN_OPT:
        ret[0] = remote_is_socket(file) ? remote_listens(file) : unix_listens(file);
        return 0;
    case SO_ERROR_OPT:
    case SO_PROTOCOL_OPT: ret[0] = 0; return 0;
    case SO_SNDBUF_OPT:
    case SO_RCVBUF_OPT: ret[0] = 212992; return 0;
    case SO_PEERCRED_OPT:
        ret[0] = process_pid();
        ret[1] = (int32_t)process_node()->uid;
        ret[2] = (int32_t)process_node()->gid;
        *ret_size = 3 * sizeof(int32_t);
        return 0;
    default: return -ENOPROTOOPT;
    }
}

int64_t sys_getsockopt(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_getsockopt(net, args);
    int32_t value[3];
    uint32_t room, size;
    int ret;
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    if ((int)args->a[1] != SOL_SOCKET_LEVEL)
        return -EOPNOTSUPP;
    ret = option(file, (int)args->a[2], value, &size);
    if (ret == 0)
        ret = GET_USER(&room, (const uint32_t *)user_ptr(args->a[4]));
    if (ret < 0)
        return ret;
    if ((int32_t)room < 0)
        return -EINVAL;
    size = room < size ? room : size;
    ret = copy_to_user(user_ptr(args->a[3]), value, size);
    return ret < 0 ? ret : PUT_USER((uint32_t *)user_ptr(args->a[4]), &size);
}
