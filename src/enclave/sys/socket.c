/*
 * System calls on sockets. AF_UNIX here: streams, packets and datagrams, in pairs or with names in scratch or abstract
 * ones, between the processes of the tree; with a name at an allowed path they become the host's (net/local.h). Those of
 * the network are net/. Everything else about sockets is refused, aloud.
 * Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/time_types.h>
#include <linux/uio.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/pipe.h"
#include "ipc/unix.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "net/local.h"
#include "net/net.h"
#include "process/process.h"
#include "sys/files.h"
#include "sys/message.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/threads.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"

#define AF_UNSPEC_FAMILY  0
#define AF_UNIX_FAMILY    1
#define AF_NETLINK_FAMILY 16
#define SOCK_TYPE_MASK    0xfu
#define IOV_MAX           1024u
#define PACKET_MAX        (1u << 20)
#define MMSG_MAX          1024u
#define GATHER_MAX        32768u

#define MSG_PEEK_FLAG     0x2u
#define MSG_CTRUNC_FLAG   0x8u
#define MSG_TRUNC_FLAG    0x20u
#define MSG_DONTWAIT_FLAG 0x40u
#define MSG_WAITALL_FLAG  0x100u
#define MSG_NOSIGNAL_FLAG 0x4000u
#define MSG_CLOEXEC_FLAG  0x40000000u

#define MSG_WAITFORONE_FLAG 0x10000u

#define SCM_RIGHTS_TYPE      1
#define SCM_CREDENTIALS_TYPE 2

#define SOL_SOCKET_LEVEL 1
#define SO_TYPE_OPT      3
#define SO_RCVTIMEO_OPT  20
#define SO_SNDTIMEO_OPT  21
#define SO_PROTOCOL_OPT  38
#define SO_DOMAIN_OPT    39

sys_fn sys_socket, sys_socketpair, sys_connect, sys_accept, sys_accept4, sys_bind, sys_listen,
    sys_sendto, sys_recvfrom, sys_sendmsg, sys_recvmsg, sys_sendmmsg, sys_recvmmsg, sys_shutdown,
    sys_getsockname, sys_getpeername, sys_setsockopt, sys_getsockopt;

/* A reference to a socket of ours; *ret_error says why there is none. */
static struct file *get_socket(uint64_t fd, int *ret_error)
{
    struct file *file = fd_get((int)fd);
    *ret_error = -EBADF;
    if (file && !unix_is(file) && !remote_is_socket(file) && !net_is_local(file)) {
        file_unref(file);
        file = NULL;
        *ret_error = -ENOTSOCK;
    }
    return file;
}

/* --- making ----------------------------------------------------------------------------------- */

/* 0, or why there is no such socket. */
static int check_kind(int family, uint32_t type, int protocol)
{
    if (family != AF_UNIX_FAMILY)
        return -EAFNOSUPPORT;
    if (!unix_type_ok(type & SOCK_TYPE_MASK)) {
        log_note("AF_UNIX sockets of type %u are not supported", type & SOCK_TYPE_MASK);
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
        int ret = check_kind(family, type, (int)args->a[2]);
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
    int ret = check_kind((int)args->a[0], (uint32_t)args->a[1], (int)args->a[2]);
    if (ret < 0)
        return ret;
    struct file *a, *b;
    const struct unix_cred cred = unix_cred_here();
    ret = unix_pair((uint32_t)args->a[1] & SOCK_TYPE_MASK, flags & ANON_NONBLOCK,
                    flags & ANON_NONBLOCK, &cred, &a, &b);
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

static uint32_t type_of(const struct file *file)
{
    return unix_is(file)        ? unix_type(file)
           : net_is_local(file) ? net_local_type(file)
                                : remote_socket_type(file);
}

/* sockaddr_un of the program; *ret_family: as it says, the name is filled in for AF_UNIX only. */
static int get_address(uint64_t user, uint64_t size, struct unix_name *ret, uint16_t *ret_family)
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
    *ret_family = address.family;
    if (address.family != AF_UNIX_FAMILY)
        return 0;
    ret->size = (uint32_t)(size - sizeof(address.family));
    memcpy(ret->bytes, address.path, ret->size);
    if (ret->size && ret->bytes[0])
        ret->size = (uint32_t)strnlen(ret->bytes, ret->size);
    return 0;
}

static bool is_abstract(const struct unix_name *name)
{
    return name->bytes[0] == '\0'; /* or none, to be made up */
}

/* The place that a name's path leads to, in scratch or on the host. bind: it is to be made. */
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
    if (ret->fs == &g_tmpfs_fs || ret->fs == &g_remote_fs || ret->fs == &g_host_fs)
        return 0;
    log_note(
        "'%s': sockets can be in scratch folders and at allowed paths only: '--allow %s' lets it",
        ret->path, ret->path);
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

/* Only the hub has names: a pair that gets one moves there. */
static int to_hub(struct file *file)
{
    return unix_is(file) && !hub_is_here() ? file->ops->move(file) : 0;
}

/* A socket of the tree, without name and peer, becomes one of the host, for good. */
static int to_host(struct file *file)
{
    struct unix_name name = { .size = 0 };
    bool remote = remote_is_socket(file);
    if (net_is_local(file))
        return 0;
    if ((remote ? remote_name_of(file, true, &name) : unix_name_of(file, true, &name)) == 0)
        return -EISCONN;
    int status = remote ? remote_name_of(file, false, &name) : unix_name_of(file, false, &name);
    if (status == 0 && name.size) {
        log_note("a socket with a name inside the enclaves cannot get one of the host's, or "
                 "connect to it");
        return -EINVAL;
    }
    return status < 0 ? status : net_local_become(file, type_of(file));
}

/* The way back is not there. */
static int stays_on_host(void)
{
    log_note("a socket of the host cannot be bound or connected to a name inside the enclaves");
    return -ECONNREFUSED;
}

static int do_bind(struct file *file, struct unix_name *name)
{
    char buf[PATH_BUF];
    CLEANUP(put_place) struct place place = { .fs = NULL, .path = "" };
    uint32_t mode = 0777 & ~umask_get();
    int status = is_abstract(name) ? 0 : find_name(name, true, buf, &place);
    if (status == 0 && place.fs == &g_host_fs) {
        status = to_host(file);
        return status < 0 ? status : net_local_bind(file, &place, mode);
    }
    if (status == 0)
        status = net_is_local(file) ? -EINVAL : to_hub(file);
    if (status < 0)
        return status;
    if (remote_is_socket(file))
        return remote_bind(file, name, place.path, mode);
    if (name->size && unix_bound(file))
        return -EINVAL;
    if (!is_abstract(name))
        status = take_inode(&place, true, mode, name);
    return status < 0 ? status : unix_bind(file, name);
}

/* name NULL: to nobody. */
static int do_connect(struct file *file, struct unix_name *name)
{
    char buf[PATH_BUF];
    CLEANUP(put_place) struct place place = { .fs = NULL, .path = "" };
    const struct unix_cred cred = unix_cred_here();
    bool path = name && !is_abstract(name);
    int status = path ? find_name(name, false, buf, &place) : 0;
    if (status == 0 && place.fs == &g_host_fs) {
        status = to_host(file);
        return status < 0 ? status : net_local_connect(file, &place);
    }
    if (status == 0)
        status = net_is_local(file) ? stays_on_host() : to_hub(file);
    if (status < 0)
        return status;
    if (remote_is_socket(file))
        return remote_connect(file, name, place.path);
    if (path)
        status = take_inode(&place, false, 0, name);
    return status < 0 ? status : unix_connect(file, name, &cred);
}

static int64_t bind_or_connect(const struct sysargs *args, bool bind)
{
    struct unix_name name;
    uint16_t family;
    int status;
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &status);
    if (!file)
        return status;
    status = get_address(args->a[1], args->a[2], &name, &family);
    if (status < 0)
        return status;
    if (!bind && family == AF_UNSPEC_FAMILY && type_of(file) == UNIX_DATAGRAMS)
        return net_is_local(file) ? net_connect(file, args) : do_connect(file, NULL);
    if (family != AF_UNIX_FAMILY || (!bind && !name.size))
        return -EINVAL;
    return bind ? do_bind(file, &name) : do_connect(file, &name);
}

int64_t sys_bind(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net && !net_is_local(net))
        return net_bind(net, args);
    return bind_or_connect(args, true);
}

int64_t sys_connect(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net && !net_is_local(net))
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
    const struct unix_cred cred = unix_cred_here();
    return remote_is_socket(file) ? remote_listen(file, backlog)
                                  : unix_listen(file, backlog, &cred);
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
static int64_t receive_some(struct file *file, void *user, uint64_t size, uint32_t flags,
                            struct unix_message *message)
{
    return unix_is(file) ? unix_receive(file, user, size, flags, message)
                         : remote_receive(file, user, size, flags, message);
}

static int64_t send_some(struct file *file, const void *user, uint64_t size, bool nonblock,
                         struct unix_message *message)
{
    return unix_is(file) ? unix_send(file, user, size, nonblock, message)
                         : remote_send(file, user, size, nonblock ? REMOTE_NONBLOCK : 0, message);
}

/* One packet, or a piece of a stream, from or to several buffers of the program: through one of ours. */
static int64_t whole_packet(struct file *file, const struct iovec *iov, uint64_t count,
                            uint32_t flags, struct unix_message *message, bool out)
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
        n = out ? send_some(file, buf, size, flags & UNIX_NONBLOCK, message)
                : receive_some(file, buf, size, flags, message);
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

/* As recvmsg. message: its rights are the caller's; NULL for a stream whose descriptors nobody wants. */
static int64_t receive(struct file *file, const struct iovec *iov, uint64_t count, uint32_t flags,
                       struct unix_message *message)
{
    bool all = flags & MSG_WAITALL_FLAG, peek = flags & MSG_PEEK_FLAG;
    uint32_t how = (anon_nonblock(file) || flags & MSG_DONTWAIT_FLAG ? UNIX_NONBLOCK : 0) |
                   (peek ? UNIX_PEEK : 0);
    int64_t done = 0;
    if (type_of(file) != UNIX_STREAM) {
        done = count == 1 ? receive_some(file, iov->iov_base, iov->iov_len, how, message)
                          : whole_packet(file, iov, count, how, message, false);
        return done >= 0 && flags & MSG_TRUNC_FLAG && message->whole > done
                   ? (int64_t)message->whole
                   : done;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t have = 0;
        while (have < iov[i].iov_len) {
            /* After the first bytes, only what is there already, unless all was asked for. */
            int64_t n = receive_some(file, (uint8_t *)iov[i].iov_base + have, iov[i].iov_len - have,
                                     how | (done && !all ? UNIX_NONBLOCK : 0), message);
            if (n <= 0)
                return done ? done : n;
            done += n;
            have += (uint64_t)n;
            if (peek || (message && message->rights))
                return done;
            /* What follows may bring descriptors: they would be lost among these bytes. */
            if (message && !all)
                return done;
        }
    }
    return done;
}

/* Several buffers that together are small; one after the other a reader would see them apart. */
static bool goes_at_once(const struct iovec *iov, uint64_t count)
{
    uint64_t size = 0;
    for (uint64_t i = 0; i < count && size <= GATHER_MAX; i++)
        size = iov[i].iov_len > GATHER_MAX ? GATHER_MAX + 1 : size + iov[i].iov_len;
    return count > 1 && size && size <= GATHER_MAX;
}

static int64_t send(struct file *file, const struct iovec *iov, uint64_t count, uint32_t flags,
                    struct unix_message *message)
{
    bool nonblock = anon_nonblock(file) || flags & MSG_DONTWAIT_FLAG;
    int64_t done = 0;
    if (type_of(file) != UNIX_STREAM)
        return count == 1
                   ? send_some(file, iov->iov_base, iov->iov_len, nonblock, message)
                   : whole_packet(file, iov, count, nonblock ? UNIX_NONBLOCK : 0, message, true);
    if (goes_at_once(iov, count)) {
        done = whole_packet(file, iov, count, nonblock ? UNIX_NONBLOCK : 0, message, true);
        if (done == -EPIPE && !(flags & MSG_NOSIGNAL_FLAG))
            stream_sigpipe();
        return done;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (!iov[i].iov_len)
            continue;
        int64_t n = send_some(file, iov[i].iov_base, iov[i].iov_len, nonblock, message);
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

/* To whom a datagram goes; place: to be kept until it is sent. */
static int get_target(struct file *file, uint64_t user, uint64_t size, char buf[static PATH_BUF],
                      struct place *place, struct unix_message *message)
{
    struct unix_name peer;
    uint16_t family;
    if (type_of(file) == UNIX_PACKETS)
        return 0; /* as Linux: no matter */
    if (type_of(file) == UNIX_STREAM) {
        int status = net_is_local(file)       ? 0
                     : remote_is_socket(file) ? remote_name_of(file, true, &peer)
                                              : unix_name_of(file, true, &peer);
        return status == 0 ? -EISCONN : -EOPNOTSUPP;
    }
    int status = get_address(user, size, &message->name, &family);
    if (status == 0 && (family != AF_UNIX_FAMILY || !message->name.size))
        status = -EINVAL;
    if (status == 0 && !is_abstract(&message->name))
        status = find_name(&message->name, false, buf, place);
    if (status == 0 && place->fs == &g_host_fs)
        return to_host(file);
    if (status == 0)
        status = net_is_local(file) ? stays_on_host() : to_hub(file);
    if (status < 0 || is_abstract(&message->name))
        return status;
    if (remote_is_socket(file))
        message->path = place->path;
    else
        status = take_inode(place, false, 0, &message->name);
    return status;
}

static int64_t send_to(struct file *file, const struct iovec *iov, uint64_t count, uint32_t flags,
                       uint64_t name, uint64_t name_size, struct unix_message *message)
{
    char buf[PATH_BUF];
    CLEANUP(put_place) struct place place = { .fs = NULL, .path = "" };
    int status = name && name_size ? get_target(file, name, name_size, buf, &place, message) : 0;
    message->cred = unix_cred_here();
    if (status < 0 || !net_is_local(file))
        return status < 0 ? status : send(file, iov, count, flags, message);
    if (message->rights) {
        log_note("descriptors (SCM_RIGHTS) do not go over a socket of the host");
        return -EOPNOTSUPP;
    }
    return net_local_send(file, place.fs ? &place : NULL, iov, count, flags);
}

int64_t sys_sendto(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net && !net_is_local(net))
        return net_sendto(net, args);
    int ret;
    struct iovec iov = { user_ptr(args->a[1]), args->a[2] };
    struct unix_message message = { .rights = NULL };
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    return send_to(file, &iov, 1, (uint32_t)args->a[3], args->a[4], (uint32_t)args->a[5], &message);
}

/* Who sent: of a stream its other end. Without a name there is no address at all. */
static int put_sender(struct file *file, const struct unix_message *message, uint64_t user,
                      uint64_t user_size)
{
    const uint32_t none = 0;
    struct unix_name name = message->name;
    if (type_of(file) == UNIX_STREAM) {
        int status = remote_is_socket(file) ? remote_name_of(file, true, &name)
                                            : unix_name_of(file, true, &name);
        if (status < 0)
            name.size = 0;
    }
    return name.size ? put_name(user, user_size, &name)
                     : PUT_USER((uint32_t *)user_ptr(user_size), &none);
}

int64_t sys_recvfrom(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_recvfrom(net, args);
    int ret;
    struct iovec iov = { user_ptr(args->a[1]), args->a[2] };
    struct unix_message message = { .rights = NULL };
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = receive(file, &iov, 1, (uint32_t)args->a[3],
                        type_of(file) == UNIX_STREAM ? NULL : &message);
    stream_rights_drop(message.rights);
    if (n >= 0 && args->a[4] && args->a[5]) {
        ret = put_sender(file, &message, args->a[4], args->a[5]);
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

#define CONTROL_MAX 4096u

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

/* SCM_CREDENTIALS: nobody may speak for another. */
static int check_cred(const uint8_t *data, uint64_t size)
{
    struct unix_cred said, own = unix_cred_here();
    if (size != sizeof(said))
        return -EINVAL;
    memcpy(&said, data, sizeof(said));
    return said.pid == own.pid && said.uid == own.uid && said.gid == own.gid ? 0 : -EPERM;
}

/* What sendmsg brings besides bytes: SCM_RIGHTS, SCM_CREDENTIALS. */
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
        else if (head.type == SCM_CREDENTIALS_TYPE)
            status = check_cred(buf + at + sizeof(head), head.size - sizeof(head));
        else
            return -EINVAL;
        at += CMSG_ALIGNED(head.size);
        if (at > size)
            break;
    }
    return status;
}

/* A control message behind those that are there already (*used), cut to the room. */
static int put_cmsg(struct kmsghdr *message, uint64_t *used, int32_t type, const void *data,
                    uint64_t size)
{
    uint64_t room = message->control_size - *used;
    struct kcmsg head = { sizeof(head) + size, SOL_SOCKET_LEVEL, type };
    if (room < sizeof(head)) {
        message->flags |= MSG_CTRUNC_FLAG;
        return 0;
    }
    if (head.size > room) {
        message->flags |= MSG_CTRUNC_FLAG;
        head.size = room;
    }
    uint8_t *to = user_ptr(message->control + *used);
    int status = copy_to_user(to, &head, sizeof(head));
    if (status == 0)
        status = copy_to_user(to + sizeof(head), data, head.size - sizeof(head));
    *used += CMSG_ALIGNED(head.size) < room ? CMSG_ALIGNED(head.size) : room;
    return status;
}

/* Installs what came, as far as there is room, and says so in the program's buffer. Takes rights over. */
static int put_rights(struct kmsghdr *message, uint64_t *used, struct stream_rights *rights,
                      uint32_t flags)
{
    uint64_t room = message->control_size - *used, head = sizeof(struct kcmsg);
    int32_t fds[UNIX_RIGHTS_MAX];
    uint32_t count = 0;
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
    return count ? put_cmsg(message, used, SCM_RIGHTS_TYPE, fds, count * sizeof(fds[0])) : 0;
}

/* What came besides bytes. Takes rights over. */
static int put_control(struct kmsghdr *message, const struct unix_message *from, uint32_t flags)
{
    uint64_t used = 0;
    int status = 0;
    if (!message->control)
        message->control_size = 0;
    if (from->has_cred)
        status = put_cmsg(message, &used, SCM_CREDENTIALS_TYPE, &from->cred, sizeof(from->cred));
    if (from->rights && status == 0)
        status = put_rights(message, &used, from->rights, flags);
    else
        stream_rights_drop(from->rights);
    message->control_size = used;
    return status;
}

static int64_t send_message(struct file *file, uint64_t user, uint32_t flags)
{
    struct kmsghdr head;
    struct iovec iov[IOV_MAX];
    struct unix_message message = { .rights = NULL };
    int64_t n = get_message(user, &head, iov);
    if (n == 0)
        n = get_control(&head, &message.rights);
    if (n == 0)
        n = send_to(file, iov, head.iov_count, flags, head.name, (uint32_t)head.name_size,
                    &message);
    stream_rights_drop(message.rights);
    return n;
}

/* recvmsg(2) writes back flags and sizes only. */
static int64_t receive_message(struct file *file, uint64_t user, uint32_t flags)
{
    struct kmsghdr head, *to = user_ptr(user);
    struct iovec iov[IOV_MAX];
    struct unix_message message = { .rights = NULL };
    bool stream = type_of(file) == UNIX_STREAM;
    if (net_is_local(file))
        return net_recvmsg(file, &(struct sysargs){ .a = { 0, user, flags } });
    int64_t n = get_message(user, &head, iov);
    if (n == 0)
        n = receive(file, iov, head.iov_count, flags & ~MSG_TRUNC_FLAG,
                    !stream || (head.control && head.control_size) ? &message : NULL);
    if (n < 0)
        return n;
    head.flags = !stream && message.whole > n ? MSG_TRUNC_FLAG : 0;
    if (flags & MSG_TRUNC_FLAG && head.flags)
        n = message.whole;
    int status = put_control(&head, &message, flags);
    if (status == 0 && head.name)
        status = put_sender(file, &message, head.name, user + offsetof(struct kmsghdr, name_size));
    if (status == 0)
        status = PUT_USER(&to->flags, &head.flags);
    if (status == 0)
        status = PUT_USER(&to->control_size, &head.control_size);
    return status < 0 ? status : n;
}

int64_t sys_sendmsg(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net && !net_is_local(net))
        return net_sendmsg(net, args);
    int ret;
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &ret);
    return file ? send_message(file, args->a[1], (uint32_t)args->a[2]) : ret;
}

int64_t sys_recvmsg(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_recvmsg(net, args);
    int ret;
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &ret);
    return file ? receive_message(file, args->a[1], (uint32_t)args->a[2]) : ret;
}

/* --- several messages ----------------------------------------------------------------------------- */

struct kmmsghdr {
    struct kmsghdr head;
    uint32_t size, pad;
};
static_assert(sizeof(struct kmmsghdr) == 64, "mmsghdr");

/* When recvmmsg ends; its timeout is looked at between messages only (recvmmsg(2), BUGS). */
static int get_deadline(uint64_t user, uint64_t *ret)
{
    struct __kernel_timespec ts;
    uint64_t ns;
    *ret = OCALL_NEVER;
    if (!user)
        return 0;
    int status = GET_USER(&ts, (const struct __kernel_timespec *)user_ptr(user));
    if (status < 0)
        return status;
    if (!timespec_valid(&ts, &ns))
        return -EINVAL;
    *ret = clock_deadline(CLOCK_MONOTONIC, ns, false);
    return 0;
}

static int64_t many_messages(const struct sysargs *args, bool out)
{
    uint64_t deadline;
    uint32_t count = (uint32_t)args->a[2] < MMSG_MAX ? (uint32_t)args->a[2] : MMSG_MAX, done = 0;
    uint32_t flags = (uint32_t)args->a[3] & ~MSG_WAITFORONE_FLAG;
    int ret;
    int64_t n = get_deadline(out ? 0 : args->a[4], &deadline);
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &ret);
    if (!file || n < 0)
        return file ? n : ret;
    for (; done < count; done++) {
        struct kmmsghdr *at = (struct kmmsghdr *)user_ptr(args->a[1]) + done;
        n = out ? send_message(file, (uint64_t)(uintptr_t)at, flags)
                : receive_message(file, (uint64_t)(uintptr_t)at, flags);
        uint32_t size = (uint32_t)n;
        if (n >= 0)
            n = PUT_USER(&at->size, &size);
        if (n < 0)
            break;
        if (!out && args->a[3] & MSG_WAITFORONE_FLAG)
            flags |= MSG_DONTWAIT_FLAG;
        if (deadline != OCALL_NEVER && clock_monotonic() >= deadline) {
            done++;
            break;
        }
    }
    return done ? (int64_t)done : n;
}

int64_t sys_sendmmsg(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net && !net_is_local(net))
        return net_sendmmsg(net, args);
    return many_messages(args, true);
}

int64_t sys_recvmmsg(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net && !net_is_local(net)) /* one by one: no descriptors may come in (net/socket.c) */
        return net_recvmmsg(net, args);
    return many_messages(args, false);
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

/* What is not known here is taken, without effect. */
int64_t sys_setsockopt(const struct sysargs *args)
{
    CLEANUP(put_file) struct file *net = net_get(args->a[0]);
    if (net)
        return net_setsockopt(net, args);
    static bool said;
    int32_t value;
    int ret, name = (int)args->a[2];
    CLEANUP(put_file) struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    if ((int)args->a[1] != SOL_SOCKET_LEVEL)
        return -EOPNOTSUPP;
    if (args->a[4] < sizeof(value))
        return -EINVAL;
    ret = GET_USER(&value, (const int32_t *)user_ptr(args->a[3]));
    if (ret < 0)
        return ret;
    if (name == UNIX_SO_SNDBUF || name == UNIX_SO_PASSCRED)
        return unix_is(file) ? unix_set_option(file, name, value)
                             : remote_set_option(file, name, value);
    if ((name == SO_RCVTIMEO_OPT || name == SO_SNDTIMEO_OPT) &&
        !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        log_note("timeouts of AF_UNIX sockets (SO_RCVTIMEO, SO_SNDTIMEO) have no effect");
    return 0;
}

static int option(struct file *file, int name, int32_t ret[static 3], uint32_t *ret_size)
{
    *ret_size = sizeof(int32_t);
    switch (name) {
    case SO_TYPE_OPT: ret[0] = (int32_t)type_of(file); return 0;
    case SO_DOMAIN_OPT: ret[0] = AF_UNIX_FAMILY; return 0;
    case SO_PROTOCOL_OPT: ret[0] = 0; return 0;
    case UNIX_SO_RCVBUF: ret[0] = 212992; return 0;
    default: break;
    }
    int words =
        unix_is(file) ? unix_get_option(file, name, ret) : remote_get_option(file, name, ret);
    *ret_size = words < 0 ? 0 : (uint32_t)words * (uint32_t)sizeof(int32_t);
    return words < 0 ? words : 0;
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
