/*
 * socketpair(2) inside the enclave; everything else about sockets is refused, aloud. Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/uio.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/pipe.h"
#include "ipc/unix.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "sys/sys.h"
#include "thread/threads.h"
#include "vfs/remote/remote.h"

#define AF_UNIX_FAMILY   1
#define SOCK_STREAM_TYPE 1u
#define SOCK_TYPE_MASK   0xfu
#define IOV_MAX          1024u

#define MSG_PEEK_FLAG     0x2u
#define MSG_DONTWAIT_FLAG 0x40u
#define MSG_WAITALL_FLAG  0x100u
#define MSG_NOSIGNAL_FLAG 0x4000u

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

struct kmsghdr { /* struct user_msghdr of x86-64 */
    uint64_t name;
    int32_t name_size, pad;
    uint64_t iov, iov_count;
    uint64_t control, control_size;
    uint32_t flags, pad2;
};
static_assert(sizeof(struct kmsghdr) == 56, "msghdr");

static void *user_ptr(uint64_t arg)
{
    return (void *)(uintptr_t)arg;
}

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

int64_t sys_socket(const struct sysargs *args)
{
    static bool said;
    int family = (int)args->a[0];
    audit(OCALL_AUDIT_NET, EACCES, args->a[0], NULL, 0);
    if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        log_note("the program asked for a socket of family %d: networking is not supported",
                 family);
    return family < 0 || family > 45 ? -EAFNOSUPPORT : -EACCES;
}

int64_t sys_socketpair(const struct sysargs *args)
{
    uint32_t type = (uint32_t)args->a[1], flags = type & ~SOCK_TYPE_MASK;
    if ((int)args->a[0] != AF_UNIX_FAMILY)
        return -EAFNOSUPPORT;
    if ((type & SOCK_TYPE_MASK) != SOCK_STREAM_TYPE) {
        log_note("socketpair of type %u is not supported", type & SOCK_TYPE_MASK);
        return -ESOCKTNOSUPPORT;
    }
    if (flags & ~(ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    if (args->a[2] && (int)args->a[2] != AF_UNIX_FAMILY)
        return -EPROTONOSUPPORT;

    struct file *a, *b;
    int ret = unix_pair(flags & ANON_NONBLOCK, flags & ANON_NONBLOCK, &a, &b);
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

/* On a pair: it is connected already, and has no name. */
static int64_t refuse_call(const struct sysargs *args, int error)
{
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    file_unref(file);
    return error;
}

int64_t sys_connect(const struct sysargs *args)
{
    return refuse_call(args, -EISCONN);
}

int64_t sys_accept(const struct sysargs *args)
{
    return refuse_call(args, -EINVAL);
}

int64_t sys_accept4(const struct sysargs *args)
{
    return refuse_call(args, -EINVAL);
}

int64_t sys_bind(const struct sysargs *args)
{
    return refuse_call(args, -EINVAL);
}

int64_t sys_listen(const struct sysargs *args)
{
    return refuse_call(args, -EINVAL);
}

/* --- sending and receiving -------------------------------------------------------------------- */

/* A socket of this process, or of the hub. */
static int64_t receive_some(struct file *file, void *user, uint64_t size, bool nonblock, bool peek)
{
    if (unix_is(file))
        return unix_receive(file, user, size, nonblock, peek);
    return size ? remote_read(file, user, size, NULL,
                              (nonblock ? REMOTE_NONBLOCK : 0) | (peek ? REMOTE_PEEK : 0))
                : 0;
}

static int64_t send_some(struct file *file, const void *user, uint64_t size, bool nonblock)
{
    return unix_is(file) ? unix_send(file, user, size, nonblock)
                         : remote_write(file, user, size, NULL, nonblock ? REMOTE_NONBLOCK : 0);
}

/* Bytes received into all of the buffers. */
static int64_t receive(struct file *file, const struct iovec *iov, uint64_t count, uint32_t flags)
{
    bool nonblock = anon_nonblock(file) || flags & MSG_DONTWAIT_FLAG;
    bool all = flags & MSG_WAITALL_FLAG, peek = flags & MSG_PEEK_FLAG;
    int64_t done = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t have = 0;
        while (have < iov[i].iov_len) {
            /* After the first bytes, only what is there already, unless all was asked for. */
            int64_t n = receive_some(file, (uint8_t *)iov[i].iov_base + have, iov[i].iov_len - have,
                                     nonblock || (done && !all), peek);
            if (n <= 0)
                return done ? done : n;
            done += n;
            have += (uint64_t)n;
            if (peek)
                return done;
        }
    }
    return done;
}

static int64_t send(struct file *file, const struct iovec *iov, uint64_t count, uint32_t flags)
{
    bool nonblock = anon_nonblock(file) || flags & MSG_DONTWAIT_FLAG;
    int64_t done = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (!iov[i].iov_len)
            continue;
        int64_t n = send_some(file, iov[i].iov_base, iov[i].iov_len, nonblock);
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
    int ret;
    struct iovec iov = { user_ptr(args->a[1]), args->a[2] };
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = args->a[4] ? -EISCONN : send(file, &iov, 1, (uint32_t)args->a[3]);
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
    int ret;
    struct iovec iov = { user_ptr(args->a[1]), args->a[2] };
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = receive(file, &iov, 1, (uint32_t)args->a[3]);
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

int64_t sys_sendmsg(const struct sysargs *args)
{
    struct kmsghdr message;
    struct iovec iov[IOV_MAX];
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = get_message(args->a[1], &message, iov);
    if (n == 0 && message.control && message.control_size) {
        log_note("ancillary data on a socket is not supported");
        n = -EOPNOTSUPP;
    } else if (n == 0) {
        n = message.name ? -EISCONN : send(file, iov, message.iov_count, (uint32_t)args->a[2]);
    }
    file_unref(file);
    return n;
}

int64_t sys_recvmsg(const struct sysargs *args)
{
    struct kmsghdr message;
    struct iovec iov[IOV_MAX];
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    int64_t n = get_message(args->a[1], &message, iov);
    if (n == 0)
        n = receive(file, iov, message.iov_count, (uint32_t)args->a[2]);
    file_unref(file);
    if (n < 0)
        return n;
    message.name_size = 0;
    message.control_size = 0;
    message.flags = 0;
    ret = PUT_USER((struct kmsghdr *)user_ptr(args->a[1]), &message);
    return ret < 0 ? ret : n;
}

int64_t sys_sendmmsg(const struct sysargs *args)
{
    return refuse_call(args, -EOPNOTSUPP);
}

int64_t sys_recvmmsg(const struct sysargs *args)
{
    return refuse_call(args, -EOPNOTSUPP);
}

int64_t sys_shutdown(const struct sysargs *args)
{
    int ret;
    if (args->a[1] > 2)
        return -EINVAL;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    ret = 0;
    if (unix_is(file))
        unix_shutdown(file, (enum unix_shut)args->a[1]);
    else
        ret = remote_shutdown(file, (uint32_t)args->a[1]);
    file_unref(file);
    return ret;
}

/* --- names and options ------------------------------------------------------------------------ */

/* sockaddr_un without a path. */
static int64_t put_name(const struct sysargs *args)
{
    uint16_t family = AF_UNIX_FAMILY;
    uint32_t size, whole = sizeof(family);
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    file_unref(file);
    ret = GET_USER(&size, (const uint32_t *)user_ptr(args->a[2]));
    if (ret < 0)
        return ret;
    if ((int32_t)size < 0)
        return -EINVAL;
    ret = copy_to_user(user_ptr(args->a[1]), &family, size < whole ? size : whole);
    return ret < 0 ? ret : PUT_USER((uint32_t *)user_ptr(args->a[2]), &whole);
}

int64_t sys_getsockname(const struct sysargs *args)
{
    return put_name(args);
}

int64_t sys_getpeername(const struct sysargs *args)
{
    return put_name(args);
}

/* Buffer sizes, timeouts and the like: taken, without effect. */
int64_t sys_setsockopt(const struct sysargs *args)
{
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

static int option(int name, int32_t ret[static 3], uint32_t *ret_size)
{
    *ret_size = sizeof(int32_t);
    switch (name) {
    case SO_TYPE_OPT: ret[0] = (int32_t)SOCK_STREAM_TYPE; return 0;
    case SO_DOMAIN_OPT: ret[0] = AF_UNIX_FAMILY; return 0;
    case SO_ERROR_OPT:
    case SO_PROTOCOL_OPT:
    case SO_ACCEPTCONN_OPT: ret[0] = 0; return 0;
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
    int32_t value[3];
    uint32_t room, size;
    int ret;
    struct file *file = get_socket(args->a[0], &ret);
    if (!file)
        return ret;
    file_unref(file);
    if ((int)args->a[1] != SOL_SOCKET_LEVEL)
        return -EOPNOTSUPP;
    ret = option((int)args->a[2], value, &size);
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
