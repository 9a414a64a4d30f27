/* Sockets of the network over a host that answers what the tests say, lies most of all. */
#include "vfs_fakes.h"

#include <asm/errno.h>
#include <linux/time_types.h>
#include <linux/uio.h> /* as the library OS has it: libc's is the same under another header */
#define __iovec_defined 1
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cmocka.h>

#include "border/border.h"
#include "mm/uaccess.h"
#include "net/address.h"
#include "net/control.h"
#include "net/local.h"
#include "net/net.h"
#include "net/option.h"
#include "net/rules.h"
#include "net/socket.h"
#include "signal/signal.h"
#include "thread/wait.h"
#include "vfs/fd.h"

/* --- what lies below, as far as vfs_fakes.c does not have it ------------------------------------- */

static int g_rule; /* answer of net_rule_check */
static int g_rules_asked;
static uint16_t g_rule_port;        /* of the last question */
static bool g_answers;              /* of net_rule_answers */
static int g_wait[8], g_wait_count; /* answers of thread_wait_begin, then 0 */

int net_rule_check(enum net_rule_action action, const void *address, size_t size, int type)
{
    (void)action, (void)size, (void)type;
    g_rules_asked++;
    g_rule_port = ntohs(((const struct sockaddr_in *)address)->sin_port);
    return g_rule;
}

bool net_rule_answers(const void *local, size_t size)
{
    (void)local, (void)size;
    return g_answers;
}

void net_rule_given(const void *local, size_t size, int type)
{
    (void)local, (void)size, (void)type;
}

int thread_wait_begin(uint64_t deadline, uint64_t *ret_host)
{
    *ret_host = deadline;
    return g_wait_count ? g_wait[--g_wait_count] : 0;
}

void epoll_became(struct file *file UNUSED);
void epoll_became(struct file *file UNUSED)
{
}

void thread_wait_end(void)
{
}

int thread_poll_now(struct ocall_pollfd *fds, uint32_t count)
{
    (void)fds, (void)count;
    return 0;
}

bool timespec_valid(const struct __kernel_timespec *ts, uint64_t *ret_ns);
bool timespec_valid(const struct __kernel_timespec *ts, uint64_t *ret_ns)
{
    *ret_ns = (uint64_t)ts->tv_nsec;
    return true;
}

uint64_t clock_deadline(int32_t id, uint64_t ns, bool absolute);
uint64_t clock_deadline(int32_t id, uint64_t ns, bool absolute)
{
    (void)id, (void)absolute;
    return ns;
}

static int pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size, int way)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < count; i++) {
        for (uint64_t k = 0; k < iov[i].iov_len; k++) {
            uint8_t *p = (uint8_t *)iov[i].iov_base + k;
            if (skip) {
                skip--;
                continue;
            }
            if (at == size)
                return 0;
            int r = way == 0   ? user_prefault(p, 1, false)
                    : way == 1 ? copy_from_user(&g_fake_window[at], p, 1)
                               : copy_to_user(p, &g_fake_window[at], 1);
            if (r < 0)
                return r;
            at++;
        }
    }
    return 0;
}

int border_prefault_pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size,
                           bool write UNUSED)
{
    return pieces(iov, count, skip, size, 0);
}

int64_t border_prefault_some(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size,
                             uint64_t least UNUSED)
{
    int r = pieces(iov, count, skip, size, 0);
    return r < 0 ? r : (int64_t)size;
}

int border_put_pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size)
{
    return pieces(iov, count, skip, size, 1);
}

int border_get_pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size)
{
    return pieces(iov, count, skip, size, 2);
}

/* --- the host -------------------------------------------------------------------------------------- */

/* What it says next to the call in question; all else goes well. */
static struct {
    enum ocall_nr nr;
    int64_t ret[4]; /* in turn; the last one again and again */
    int turn;
    struct ocall_net net;
    uint8_t data[64];
    uint64_t args[6]; /* of the last call */
    int calls;
    struct ocall_net_message came[3]; /* RECV_MANY: what it says of each */
    uint8_t filled;                   /* and with what it fills all that there is room for */
} g_host;

/* What the host did with the rooms in the window. */
static void fill_rooms(uint64_t count)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < count && i < ARRAY_SIZE(g_host.came); i++) {
        struct ocall_net_message head;
        memcpy(&head, g_fake_window + at, sizeof(head));
        uint64_t whole = OCALL_NET_MESSAGE_SIZE(head.size, head.control_size);
        memset(g_fake_window + at, g_host.filled, whole);
        memcpy(g_fake_window + at, &g_host.came[i], sizeof(head));
        at += whole;
    }
}

static bool answer(enum ocall_nr nr, const uint64_t args[6], int64_t *ret)
{
    *ret = nr == OCALL_NET_SOCKET ? 7 : 0;
    if (nr != g_host.nr)
        return nr >= OCALL_NET_SOCKET || nr == OCALL_CLOSE;
    memcpy(g_host.args, args, sizeof(g_host.args));
    g_host.calls++;
    if (nr == OCALL_NET_RECV_MANY)
        fill_rooms(args[1]);
    else if (nr != OCALL_NET_SEND_MANY)
        memcpy(g_fake_window, g_host.data, sizeof(g_host.data));
    memcpy(g_fake_window + OCALL_NET_DATA, &g_host.net, sizeof(g_host.net));
    *ret = g_host.ret[g_host.turn];
    g_host.turn += g_host.turn < 3;
    return true;
}

static void host_says(enum ocall_nr nr, int64_t ret)
{
    memset(&g_host, 0, sizeof(g_host));
    g_host.nr = nr;
    for (int i = 0; i < 4; i++)
        g_host.ret[i] = ret;
}

static int make(int family, int type)
{
    if (!g_fake_hook) {
        fake_add(&(struct fake_record){
            .path = "/x", .class = MANIFEST_TRUSTED, .mode = 0100644, .content = "x" });
        fake_start("/");
        g_fake_hook = answer;
    }
    int64_t fd = net_socket(&(struct sysargs){ .a = { (uint64_t)family, (uint64_t)type, 0 } });
    CHECK(fd >= 0, "socket: %ld", (long)fd);
    return (int)fd;
}

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))
#define CALL(fn, fd, ...)                                                                  \
    ({                                                                                     \
        struct file *file_ = net_get((uint64_t)(fd));                                      \
        int64_t r_ = fn(file_, &(struct sysargs){ .a = { (uint64_t)(fd), __VA_ARGS__ } }); \
        file_unref(file_);                                                                 \
        r_;                                                                                \
    })

static int64_t call_name(struct file *file, const struct sysargs *args)
{
    return net_name(file, args, true);
}

/* --- tests ------------------------------------------------------------------------------------- */

static void kinds(void)
{
    static const struct {
        uint64_t family, type, protocol;
        int64_t want;
    } rows[] = {
        { AF_INET, SOCK_RAW, 1, -EPERM },
        { AF_INET6, SOCK_RAW, 0, -EPERM },
        { AF_INET, SOCK_STREAM, IPPROTO_UDP, -EPROTONOSUPPORT },
        { AF_INET, SOCK_DGRAM, IPPROTO_ICMP, -EPROTONOSUPPORT },
        { AF_INET, SOCK_SEQPACKET, 0, -ESOCKTNOSUPPORT },
        { AF_INET, SOCK_STREAM | 0x100, 0, -EINVAL },
    };
    make(AF_INET, SOCK_STREAM);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        CHECK_EQ(net_socket(
                     &(struct sysargs){ .a = { rows[i].family, rows[i].type, rows[i].protocol } }),
                 rows[i].want, "row %zu", i);
}

/* Addresses of the program. */
static void addresses_in(void)
{
    static const struct {
        const char *name;
        int family, type;
        uint16_t given;
        uint64_t size;
        int want;
    } rows[] = {
        { "whole", AF_INET, SOCK_STREAM, AF_INET, 16, 0 },
        { "longer", AF_INET, SOCK_STREAM, AF_INET, 128, 0 },
        { "too long", AF_INET, SOCK_STREAM, AF_INET, 129, -EINVAL },
        { "as if negative", AF_INET, SOCK_STREAM, AF_INET, UINT64_MAX, -EINVAL },
        { "short", AF_INET, SOCK_STREAM, AF_INET, 15, -EINVAL },
        { "one byte", AF_INET, SOCK_STREAM, AF_INET, 1, -EINVAL },
        { "other family", AF_INET, SOCK_STREAM, AF_INET6, 28, -EAFNOSUPPORT },
        { "IPv6", AF_INET6, SOCK_STREAM, AF_INET6, 28, 0 },
        { "IPv6 without scope", AF_INET6, SOCK_STREAM, AF_INET6, 24, 0 },
        { "IPv6 short", AF_INET6, SOCK_STREAM, AF_INET6, 23, -EINVAL },
        { "IPv4 for IPv6 stream", AF_INET6, SOCK_STREAM, AF_INET, 16, -EINVAL },
        { "IPv4 for IPv6 datagrams", AF_INET6, SOCK_DGRAM, AF_INET, 16, 0 },
        { "none", AF_INET, SOCK_STREAM, AF_UNSPEC, 2, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t bytes[128] = { 0 };
        struct net_address got;
        struct net_socket socket = { .family = (uint8_t)rows[i].family,
                                     .type = (uint8_t)rows[i].type };
        memcpy(bytes, &rows[i].given, 2);
        CHECK_EQ(address_from_user(ADDRESS(bytes), rows[i].size, &socket, &got), rows[i].want, "%s",
                 rows[i].name);
    }
    struct net_address got;
    CHECK_EQ(address_from_user(16, 16, &(struct net_socket){ .family = AF_INET }, &got), -EFAULT,
             "bad pointer");
}

/* Addresses of the host: anything that is none is none. */
static void addresses_out(void)
{
    static const struct {
        const char *name;
        uint32_t size;
        uint16_t family;
        uint32_t want;
    } rows[] = {
        { "good", 16, AF_INET, 16 },        { "short", 15, AF_INET, 0 },
        { "long", 17, AF_INET, 0 },         { "IPv6 in IPv4", 28, AF_INET6, 0 },
        { "AF_UNIX", 16, AF_UNIX, 0 },      { "beyond its field", 129, AF_INET, 0 },
        { "huge", UINT32_MAX, AF_INET, 0 }, { "none", 0, AF_INET, 0 },
    };
    int fd = make(AF_INET, SOCK_DGRAM);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t buf[8], name[128];
        uint32_t size = sizeof(name);
        memset(name, 0xee, sizeof(name));
        host_says(OCALL_NET_RECV, 3);
        memset(g_host.net.address, 0xdd, sizeof(g_host.net.address));
        g_host.net.address_size = rows[i].size;
        memcpy(g_host.net.address, &rows[i].family, 2);
        CHECK_EQ(
            CALL(net_recvfrom, fd, ADDRESS(buf), sizeof(buf), 0, ADDRESS(name), ADDRESS(&size)), 3,
            "%s", rows[i].name);
        CHECK_EQ(size, rows[i].want, "%s", rows[i].name);
        CHECK(name[rows[i].want] == 0xee, "%s: written beyond", rows[i].name);
        host_says(OCALL_NET_NAME, 0);
        g_host.net.address_size = rows[i].size;
        memcpy(g_host.net.address, &rows[i].family, 2);
        size = 4; /* and no more than there is room for */
        memset(name, 0xee, sizeof(name));
        CHECK_EQ(CALL(call_name, fd, ADDRESS(name), ADDRESS(&size), 0), rows[i].want ? 0 : -EIO,
                 "%s", rows[i].name);
    }
}

/* Sizes, errors and flags that make no sense. */
static void results(void)
{
    static const struct {
        const char *name;
        int type;
        uint64_t flags;
        int64_t ret, want;
    } rows[] = {
        { "as asked", SOCK_STREAM, 0, 8, 8 },
        { "more than asked", SOCK_STREAM, 0, 9, -EIO },
        { "the window", SOCK_STREAM, 0, OCALL_DATA_SIZE, -EIO },
        { "enormous", SOCK_STREAM, 0, INT64_MAX, -EIO },
        { "truncated datagram", SOCK_DGRAM, MSG_TRUNC, 5000, 5000 },
        { "truncated datagram, not asked", SOCK_DGRAM, 0, 5000, -EIO },
        { "no datagram is that long", SOCK_DGRAM, MSG_TRUNC, 0x80000000, -EIO },
        { "stream thrown away", SOCK_STREAM, MSG_TRUNC, 8, 8 },
        { "stream thrown away, more", SOCK_STREAM, MSG_TRUNC, 9, -EIO },
        { "the kernel's own code", SOCK_STREAM, 0, -512, -EIO },
        { "no errno", SOCK_STREAM, 0, -4096, -EIO },
        { "no socket's errno", SOCK_STREAM, 0, -134, -EIO },
        { "an errno", SOCK_STREAM, 0, -ECONNRESET, -ECONNRESET },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t buf[16];
        int fd = make(AF_INET, rows[i].type);
        memset(buf, 0xee, sizeof(buf));
        host_says(OCALL_NET_RECV, rows[i].ret);
        memset(g_host.data, 0x11, sizeof(g_host.data));
        CHECK_EQ(CALL(net_recvfrom, fd, ADDRESS(buf), 8, rows[i].flags, 0, 0), rows[i].want, "%s",
                 rows[i].name);
        CHECK(buf[8] == 0xee, "%s: written beyond", rows[i].name);
        CHECK((buf[0] == 0x11) ==
                  (rows[i].want > 0 && !(rows[i].type == SOCK_STREAM && rows[i].flags)),
              "%s: bytes", rows[i].name);
        host_says(OCALL_NET_SEND, rows[i].ret);
        int64_t want = rows[i].ret == 5000 ? -EIO : rows[i].want;
        CHECK_EQ(CALL(net_sendto, fd, ADDRESS(buf), 8, MSG_DONTWAIT, 0, 0), want, "%s",
                 rows[i].name);
    }
    int fd = make(AF_INET, SOCK_STREAM);
    struct sockaddr_in to = { .sin_family = AF_INET };
    static const int64_t good[] = { 1, INT64_MAX, -512 };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        static const enum ocall_nr calls[] = { OCALL_NET_BIND, OCALL_NET_LISTEN, OCALL_NET_CONNECT,
                                               OCALL_NET_SHUTDOWN };
        for (size_t k = 0; k < ARRAY_SIZE(calls); k++) {
            host_says(calls[k], good[i]);
            int64_t got = k == 0   ? CALL(net_bind, fd, ADDRESS(&to), sizeof(to))
                          : k == 1 ? CALL(net_listen, fd, 5)
                          : k == 2 ? CALL(net_connect, fd, ADDRESS(&to), sizeof(to))
                                   : CALL(net_shutdown, fd, 2);
            CHECK_EQ(got, -EIO, "call %zu, %ld", k, (long)good[i]);
        }
    }
    host_says(OCALL_NET_NAME, -ENOTCONN);
    CHECK_EQ(CALL(call_name, fd, ADDRESS(&to), ADDRESS(&to)), -ENOTCONN, "peer");
}

/* Who may wait, and what ends it. */
static void waiting(void)
{
    static const struct {
        const char *name;
        int wait[3], wait_count; /* from the last to the first */
        int64_t ret[4];
        uint64_t flags, timeout;
        int64_t want;
        int calls;
    } rows[] = {
        { "at once", { 0 }, 0, { 4 }, 0, 0, 4, 1 },
        { "woken for nothing", { 0 }, 0, { -EINTR, -EINTR, 4 }, 0, 0, 4, 3 },
        { "early", { 0 }, 0, { -EAGAIN, 4 }, 0, 0, 4, 2 },
        { "an old wake", { 1 }, 1, { 4 }, 0, 0, 4, 1 },
        { "a signal, but there is something", { -EINTR }, 1, { 4 }, 0, 0, 4, 1 },
        { "a signal", { -EINTR }, 1, { -EAGAIN }, 0, 0, -ERESTARTSYS, 1 },
        { "a signal with a timeout", { -EINTR }, 1, { -EAGAIN }, 0, 5, -EINTR, 1 },
        { "a signal while it waits", { -EINTR, 0 }, 2, { -EINTR, -EAGAIN }, 0, 0, -ERESTARTSYS, 2 },
        { "the timeout", { -ETIMEDOUT, 0 }, 2, { -EAGAIN, -EAGAIN }, 0, 5, -EAGAIN, 2 },
        { "does not wait", { 0 }, 0, { -EAGAIN }, MSG_DONTWAIT, 0, -EAGAIN, 1 },
        { "does not wait, says the host EINTR", { 0 }, 0, { -EINTR }, MSG_DONTWAIT, 0, -EAGAIN, 1 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t buf[8];
        int fd = make(AF_INET, SOCK_STREAM);
        struct timeval tv = { .tv_usec = (suseconds_t)rows[i].timeout };
        if (rows[i].timeout)
            CHECK_EQ(CALL(net_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, ADDRESS(&tv), sizeof(tv)), 0,
                     "timeout");
        memcpy(g_wait, rows[i].wait, sizeof(rows[i].wait));
        g_wait_count = rows[i].wait_count;
        host_says(OCALL_NET_RECV, 0);
        memcpy(g_host.ret, rows[i].ret, sizeof(g_host.ret));
        CHECK_EQ(CALL(net_recvfrom, fd, ADDRESS(buf), sizeof(buf), rows[i].flags, 0, 0),
                 rows[i].want, "%s", rows[i].name);
        CHECK_EQ(g_host.calls, rows[i].calls, "%s: exits", rows[i].name);
    }
}

static void options(void)
{
    static const struct {
        const char *name;
        int level, option;
        uint32_t room;
        int64_t ret, want; /* what the host says; result */
        uint32_t size;
    } rows[] = {
        { "whole", SOL_SOCKET, SO_SNDBUF, 4, 4, 0, 4 },
        { "a part", SOL_SOCKET, SO_SNDBUF, 2, 2, 0, 2 },
        { "larger room", SOL_SOCKET, SO_SNDBUF, 4096, 4, 0, 4 },
        { "more than asked", SOL_SOCKET, SO_SNDBUF, 2, 3, -EIO, 2 },
        { "more than there can be", SOL_SOCKET, SO_SNDBUF, 4096, 5, -EIO, 4096 },
        { "huge", SOL_SOCKET, SO_SNDBUF, 4, INT64_MAX, -EIO, 4 },
        { "negative room", SOL_SOCKET, SO_SNDBUF, 0x80000000, 4, -EINVAL, 0x80000000 },
        { "TCP_INFO", IPPROTO_TCP, TCP_INFO, 4096, 256, 0, 256 },
        { "unknown", SOL_SOCKET, 9999, 4, 4, -ENOPROTOOPT, 4 },
        { "a filter", SOL_SOCKET, SO_ATTACH_FILTER, 16, 4, -ENOPROTOOPT, 16 },
        { "unknown level", 4242, 1, 4, 4, -ENOPROTOOPT, 4 },
        { "ours", SOL_SOCKET, SO_TYPE, 100, -EIO, 0, 4 },
        { "ours, timeout", SOL_SOCKET, SO_SNDTIMEO, 100, -EIO, 0, 16 },
        { "host's error", SOL_SOCKET, SO_SNDBUF, 4, -ENOPROTOOPT, -ENOPROTOOPT, 4 },
        { "host's other error", SOL_SOCKET, SO_SNDBUF, 4, -513, -EIO, 4 },
    };
    int fd = make(AF_INET, SOCK_STREAM);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t value[4200];
        uint32_t size = rows[i].room;
        memset(value, 0xee, sizeof(value));
        host_says(OCALL_NET_GET_OPTION, rows[i].ret);
        memset(g_host.data, 0x11, sizeof(g_host.data));
        CHECK_EQ(CALL(net_getsockopt, fd, (uint64_t)rows[i].level, (uint64_t)rows[i].option,
                      ADDRESS(value), ADDRESS(&size)),
                 rows[i].want, "%s", rows[i].name);
        CHECK_EQ(size, rows[i].size, "%s", rows[i].name);
        CHECK(value[rows[i].want ? 0 : size] == 0xee, "%s: written beyond", rows[i].name);
    }
    /* Of a long value the host gets what the option has, no more. */
    uint8_t many[5000] = { 1 };
    host_says(OCALL_NET_SET_OPTION, 0);
    CHECK_EQ(CALL(net_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, ADDRESS(many), sizeof(many)), 0,
             "long");
    CHECK_EQ(g_host.args[3], 4, "long");
    CHECK_EQ(CALL(net_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, ADDRESS(many), UINT64_MAX), -EINVAL,
             "negative");
    CHECK_EQ(CALL(net_setsockopt, fd, SOL_SOCKET, SO_REUSEADDR, 8, 4), -EFAULT, "bad pointer");
    CHECK_EQ(CALL(net_setsockopt, fd, IPPROTO_IP, IP_OPTIONS, ADDRESS(many), 8), -ENOPROTOOPT,
             "source routes");
    struct timeval bad = { .tv_usec = 1000000 };
    CHECK_EQ(CALL(net_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, ADDRESS(&bad), sizeof(bad)), -EDOM,
             "microseconds");
    CHECK_EQ(CALL(net_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, ADDRESS(&bad), 15), -EINVAL,
             "short");
}

/* A control message at buf + at; the next one's place. */
static size_t add_control(uint8_t *buf, size_t at, uint64_t size, int level, int type)
{
    struct cmsghdr head = { .cmsg_len = size, .cmsg_level = level, .cmsg_type = type };
    memcpy(buf + at, &head, sizeof(head));
    return at + ((size + 7) & ~7ul);
}

static void control_out(void)
{
    static const struct {
        const char *name;
        uint64_t size; /* cmsg_len of the one message */
        int level, type;
        uint32_t claimed; /* control_size */
        uint64_t room;
        uint64_t used;
        bool cut;
    } rows[] = {
        { "good", 16 + 4, IPPROTO_IP, IP_TTL, 24, 100, 24, false },
        { "no room for the padding", 16 + 4, IPPROTO_IP, IP_TTL, 24, 20, 20, false },
        { "cut", 16 + 4, IPPROTO_IP, IP_TTL, 24, 18, 18, true },
        { "no room for the head", 16 + 4, IPPROTO_IP, IP_TTL, 24, 15, 0, true },
        { "descriptors", 16 + 4, SOL_SOCKET, SCM_RIGHTS, 24, 100, 0, true },
        { "unknown", 16 + 4, SOL_SOCKET, 4444, 24, 100, 0, true },
        { "wrong size", 16 + 5, IPPROTO_IP, IP_TTL, 24, 100, 0, true },
        { "shorter than its head", 15, IPPROTO_IP, IP_TTL, 24, 100, 0, false },
        { "zero", 0, IPPROTO_IP, IP_TTL, 24, 100, 0, false },
        { "longer than all", 25, IPPROTO_IP, IP_TTL, 24, 100, 0, false },
        { "without end", UINT64_MAX, IPPROTO_IP, IP_TTL, 24, 100, 0, false },
        { "as if negative", UINT64_MAX - 6, IPPROTO_IP, IP_TTL, 24, 100, 0, false },
        { "more than the field", 16 + 4, IPPROTO_IP, IP_TTL, OCALL_NET_CONTROL + 1, 100, 0, false },
        { "far more than the field", 16 + 4, IPPROTO_IP, IP_TTL, UINT32_MAX, 100, 0, false },
    };
    int fd = make(AF_INET, SOCK_DGRAM);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t control[128], byte;
        struct iovec iov = { &byte, 1 };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = rows[i].room,
                                  .msg_flags = -1 };
        memset(control, 0xee, sizeof(control));
        host_says(OCALL_NET_RECV, 1);
        add_control(g_host.net.control, 0, rows[i].size, rows[i].level, rows[i].type);
        g_host.net.control_size = rows[i].claimed;
        g_host.net.flags = 0xbfffdf56; /* bits that there are not */
        CHECK_EQ(CALL(net_recvmsg, fd, ADDRESS(&message), 0), 1, "%s", rows[i].name);
        CHECK_EQ(message.msg_controllen, rows[i].used, "%s", rows[i].name);
        CHECK_EQ(message.msg_flags, rows[i].cut ? MSG_CTRUNC : 0, "%s", rows[i].name);
        CHECK(control[rows[i].used] == 0xee, "%s: written beyond", rows[i].name);
    }
}

static void control_in(void)
{
    static const struct {
        const char *name;
        uint64_t size;
        int level, type;
        uint64_t given; /* msg_controllen */
        int64_t want;
    } rows[] = {
        { "good", 16 + 4, IPPROTO_IP, IP_TTL, 24, 1 },
        { "wrong size", 16 + 3, IPPROTO_IP, IP_TTL, 24, -EINVAL },
        { "unknown", 16 + 4, IPPROTO_IP, 4444, 24, -EINVAL },
        { "a source route", 16 + 8, IPPROTO_IP, IP_RETOPTS, 24, -EINVAL },
        { "descriptors: ignored", 16 + 4, SOL_SOCKET, SCM_RIGHTS, 24, 1 },
        { "longer than all", 25, IPPROTO_IP, IP_TTL, 24, -EINVAL },
        { "zero", 0, IPPROTO_IP, IP_TTL, 24, -EINVAL },
        { "without end", UINT64_MAX, IPPROTO_IP, IP_TTL, 24, -EINVAL },
        { "less than a head", 16 + 4, IPPROTO_IP, IP_TTL, 15, 1 },
        { "more than the field", 16 + 4, IPPROTO_IP, IP_TTL, OCALL_NET_CONTROL + 1, -ENOBUFS },
    };
    static uint8_t control[OCALL_NET_CONTROL + 64];
    int fd = make(AF_INET, SOCK_DGRAM);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t byte = 1;
        struct iovec iov = { &byte, 1 };
        struct msghdr message = { .msg_iov = &iov,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = rows[i].given };
        memset(control, 0, sizeof(control));
        add_control(control, 0, rows[i].size, rows[i].level, rows[i].type);
        host_says(OCALL_NET_SEND, 1);
        CHECK_EQ(CALL(net_sendmsg, fd, ADDRESS(&message), 0), rows[i].want, "%s", rows[i].name);
        CHECK_EQ(g_host.calls, rows[i].want > 0, "%s", rows[i].name);
    }
}

static void rules(void)
{
    int stream = make(AF_INET, SOCK_STREAM), datagrams = -1;
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(80) };
    uint8_t byte = 0;
    struct iovec iov = { &byte, 1 };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &to, .msg_namelen = sizeof(to)
    };
    datagrams = (int)net_socket(&(struct sysargs){ .a = { AF_INET, SOCK_DGRAM, 0 } });
    g_rule = -EACCES;
    host_says(OCALL_NET_SEND, 1);
    CHECK_EQ(CALL(net_bind, stream, ADDRESS(&to), sizeof(to)), -EACCES, "bind");
    CHECK_EQ(CALL(net_listen, stream, 5), -EACCES, "listen");
    CHECK_EQ(CALL(net_connect, stream, ADDRESS(&to), sizeof(to)), -EACCES, "connect");
    CHECK_EQ(CALL(net_sendto, datagrams, ADDRESS(&byte), 1, 0, ADDRESS(&to), sizeof(to)), -EACCES,
             "sendto");
    CHECK_EQ(CALL(net_sendmsg, datagrams, ADDRESS(&message), 0), -EACCES, "sendmsg");
    to.sin_family = AF_UNSPEC; /* a send takes it for AF_INET */
    CHECK_EQ(CALL(net_sendto, datagrams, ADDRESS(&byte), 1, 0, ADDRESS(&to), sizeof(to)), -EACCES,
             "sendto without family");
    CHECK_EQ(g_host.calls, 0, "nothing went out");
    CHECK_EQ(g_rules_asked, 6, "questions");
}

/* From another process, which may say what it likes. */
static void strangers(void)
{
    static const struct {
        const char *name;
        struct net_share net;
        int want;
    } rows[] = {
        { "IPv4", { .family = AF_INET, .type = SOCK_STREAM, .protocol = IPPROTO_TCP }, 0 },
        { "IPv6", { .family = AF_INET6, .type = SOCK_DGRAM, .protocol = IPPROTO_UDP }, 0 },
        { "AF_UNIX", { .family = AF_UNIX, .type = SOCK_STREAM }, -EINVAL },
        { "no family", { .type = SOCK_STREAM }, -EINVAL },
        { "raw", { .family = AF_INET, .type = SOCK_RAW }, -EINVAL },
        { "no type", { .family = AF_INET }, -EINVAL },
        { "another protocol", { .family = AF_INET, .type = SOCK_STREAM, .protocol = 17 }, -EINVAL },
        { "waits for ever",
          { .family = AF_INET, .type = SOCK_STREAM, .receive_timeout = UINT64_MAX },
          -EINVAL },
        { "sends for ever",
          { .family = AF_INET, .type = SOCK_STREAM, .send_timeout = UINT64_MAX },
          -EINVAL },
    };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(80) };
    uint8_t byte = 0;
    struct file *file;
    make(AF_INET, SOCK_STREAM);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct net_share net = rows[i].net;
        net.handle = 9;
        host_says(OCALL_CLOSE, 0);
        int status = net_arrive_stranger(&net, 2, &file);
        CHECK_EQ(status, rows[i].want, "%s", rows[i].name);
        CHECK_EQ(g_host.calls, status < 0, "%s: closed", rows[i].name);
        if (status == 0)
            file_unref(file);
    }
    /* Bound, it says: what rules there are here counts, for the address that it has. */
    static const struct {
        const char *name;
        uint8_t type;
        bool says, we_say; /* that it answers */
        uint16_t port;
        bool asked; /* when it sends */
    } answers[] = {
        { "bound, here not to answer", SOCK_DGRAM, true, false, 53, true },
        { "bound, here too", SOCK_DGRAM, true, true, 53, false },
        { "that does not say so", SOCK_DGRAM, false, true, 53, true },
        { "a stream that answers", SOCK_STREAM, true, true, 53, true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
        struct net_share net = { .handle = 9,
                                 .family = AF_INET,
                                 .type = answers[i].type,
                                 .bound = 1,
                                 .answers = answers[i].says };
        struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(answers[i].port) };
        g_rule = -EACCES;
        g_answers = answers[i].we_say;
        g_rules_asked = 0;
        host_says(OCALL_NET_NAME, 0);
        g_host.net.address_size = sizeof(own);
        memcpy(g_host.net.address, &own, sizeof(own));
        CHECK_EQ(net_arrive_stranger(&net, 2, &file), 0, "%s", answers[i].name);
        int fd = fd_install(file, 0, false);
        CHECK(fd >= 0, "%s", answers[i].name);
        int64_t n = CALL(net_sendto, fd, ADDRESS(&byte), 1, 0, ADDRESS(&to), sizeof(to));
        CHECK_EQ(n == -EACCES, answers[i].asked, "%s: %ld", answers[i].name, (long)n);
        CHECK_EQ(g_rules_asked, answers[i].asked, "%s", answers[i].name);
        if (answers[i].type == SOCK_STREAM) {
            CHECK_EQ(CALL(net_listen, fd, 5), -EACCES, "%s: listen", answers[i].name);
            CHECK_EQ(g_rule_port, answers[i].port, "%s: its own address", answers[i].name);
            CHECK_EQ(CALL(net_connect, fd, ADDRESS(&to), sizeof(to)), -EACCES, "%s: connect",
                     answers[i].name);
            /* A child of this process is bound by the same. */
            net_share(file, &net);
            CHECK_EQ(net_arrive(&net, 2, &file), 0, "%s: inherited", answers[i].name);
            int inherited = fd_install(file, 0, false);
            g_rule_port = 0;
            CHECK_EQ(CALL(net_listen, inherited, 5), -EACCES, "%s: inherited", answers[i].name);
            CHECK_EQ(g_rule_port, answers[i].port, "%s: inherited", answers[i].name);
        }
    }
}

/* O_NONBLOCK of a socket that others have too is the host's to say; of one that they have not, it is not. */
static void shared(void)
{
    struct net_share net = { .handle = 9, .family = AF_INET, .type = SOCK_STREAM };
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(80) };
    uint8_t byte = 0;
    struct file *file;
    int own = make(AF_INET, SOCK_STREAM);
    CHECK_EQ(net_arrive_stranger(&net, 2, &file), 0, "arrive");
    int fd = fd_install(file, 0, false);
    host_says(OCALL_NET_RECV, -OCALL_NET_NOWAIT);
    CHECK_EQ(CALL(net_recvfrom, fd, ADDRESS(&byte), 1, 0, 0, 0), -EAGAIN, "recv");
    CHECK_EQ(g_host.args[5], 1, "it is asked");
    host_says(OCALL_NET_SEND, -OCALL_NET_NOWAIT);
    CHECK_EQ(CALL(net_sendto, fd, ADDRESS(&byte), 1, 0, 0, 0), -EAGAIN, "send");
    host_says(OCALL_NET_ACCEPT, -OCALL_NET_NOWAIT);
    CHECK_EQ(net_accept(file, &(struct sysargs){ .a = { (uint64_t)fd } }, 0), -EAGAIN, "accept");
    host_says(OCALL_NET_CONNECT, -OCALL_NET_NOWAIT);
    CHECK_EQ(CALL(net_connect, fd, ADDRESS(&to), sizeof(to)), -EINPROGRESS, "connect");
    host_says(OCALL_NET_NONBLOCK, 1);
    CHECK_EQ(net_get_flags(file), 04002, "set by another process");
    host_says(OCALL_NET_NONBLOCK, -EBADF);
    CHECK_EQ(net_get_flags(file), 04002, "no answer");
    CHECK_EQ(net_set_flags(file, 2), -EBADF, "no answer");
    host_says(OCALL_NET_NONBLOCK, 0);
    CHECK_EQ(net_set_flags(file, 04002), 0, "set");
    CHECK(g_host.args[1] == 1 && g_host.args[2] == 1, "told");
    CHECK_EQ(net_get_flags(file), 2, "cleared by another process");
    /* Alone. */
    struct file *mine = net_get((uint64_t)own);
    host_says(OCALL_NET_NONBLOCK, 1);
    CHECK_EQ(net_get_flags(mine), 2, "nobody else sets it");
    CHECK_EQ(net_set_flags(mine, 04002), 0, "set");
    CHECK_EQ(g_host.calls, 0, "nobody is asked");
    CHECK_EQ(net_set_flags(mine, 2), 0, "set");
    host_says(OCALL_NET_RECV, -OCALL_NET_NOWAIT);
    CHECK_EQ(CALL(net_recvfrom, own, ADDRESS(&byte), 1, 0, 0, 0), -ENOTBLK, "an error as others");
    CHECK_EQ(g_host.args[5], 0, "it is not asked");
    /* Timeouts: what the host has, if it makes sense; of one that is ours alone, our own. */
    static const struct {
        struct timeval tv;
        int64_t ret;
        uint64_t want;
    } times[] = {
        { { 3, 500000 }, 16, 3500000000 },    { { 0, 0 }, 16, 0 },
        { { -1, 0 }, 16, 9000000000 },        { { 0, 1000000 }, 16, 9000000000 },
        { { INT64_MAX, 0 }, 16, 9000000000 }, { { 3, 0 }, 8, 9000000000 },
        { { 3, 0 }, -EBADF, 9000000000 },
    };
    CHECK_EQ(net_set_timeout(net_of(file), false, 9000000000), 0, "set");
    CHECK_EQ(net_set_timeout(net_of(mine), false, 9000000000), 0, "set");
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        host_says(OCALL_NET_GET_OPTION, times[i].ret);
        memcpy(g_host.data, &times[i].tv, sizeof(times[i].tv));
        CHECK_EQ(net_timeout(net_of(file), false), times[i].want, "row %zu", i);
        CHECK_EQ(net_timeout(net_of(mine), false), 9000000000, "row %zu, alone", i);
    }
    host_says(OCALL_NET_SET_OPTION, -EBADF);
    CHECK_EQ(net_set_timeout(net_of(file), true, 1), -EBADF, "not set");
    CHECK_EQ(net_set_timeout(net_of(mine), false, 0), 0, "alone");
    CHECK_EQ(g_host.calls, 1, "calls");
    /* When it is shared, the host learns of it. */
    CHECK_EQ(net_set_flags(mine, 04002), 0, "set");
    host_says(OCALL_NET_NONBLOCK, 0);
    net_share(mine, &net);
    CHECK(g_host.calls == 1 && g_host.args[1] == 1 && g_host.args[2] == 1, "told");
    net_share(mine, &net);
    CHECK_EQ(g_host.calls, 1, "once");
    file_unref(mine);
}

static void lots(void)
{
    static uint8_t big[3u << 20];
    int fd = make(AF_INET, SOCK_STREAM);
    host_says(OCALL_NET_SEND, OCALL_NET_DATA);
    /* The last piece is shorter: the host says more than it was given. */
    CHECK_EQ(CALL(net_sendto, fd, ADDRESS(big), sizeof(big), 0, 0, 0), 3 * (int64_t)OCALL_NET_DATA,
             "whole windows");
    fd = (int)net_socket(&(struct sysargs){ .a = { AF_INET, SOCK_DGRAM, 0 } });
    CHECK_EQ(CALL(net_sendto, fd, ADDRESS(big), sizeof(big), 0, 0, 0), -EMSGSIZE, "datagram");
    host_says(OCALL_NET_ACCEPT, INT64_MAX);
    fd = (int)net_socket(&(struct sysargs){ .a = { AF_INET, SOCK_STREAM, 0 } });
    struct file *file = net_get((uint64_t)fd);
    CHECK_EQ(net_accept(file, &(struct sysargs){ .a = { (uint64_t)fd } }, 0), -EIO, "no handle");
    file_unref(file);
}

/* recvmmsg: sizes, addresses and control messages of many at once. */
static void many_in(void)
{
    static const struct {
        const char *name;
        int64_t ret;
        uint32_t size, control_size, address_size; /* of the second */
        uint64_t flags;
        int64_t want;
        uint32_t told; /* msg_len of the second, if it counts */
    } rows[] = {
        { "good", 2, 5, 0, 16, 0, 2, 5 },
        { "all of the room", 2, 16, 0, 16, 0, 2, 16 },
        { "one", 1, 5, 0, 16, 0, 1, 0 },
        { "more messages than asked", 4, 5, 0, 16, 0, -EIO, 0 },
        { "as many as there are numbers", INT64_MAX, 5, 0, 16, 0, -EIO, 0 },
        { "more than the room", 2, 17, 0, 16, 0, 1, 0 },
        { "without end", 2, UINT32_MAX, 0, 16, 0, 1, 0 },
        { "cut", 2, 5000, 0, 16, MSG_TRUNC, 2, 5000 },
        { "cut, longer than any", 2, 65537, 0, 16, MSG_TRUNC, 1, 0 },
        { "control messages beyond their room", 2, 5, 4097, 16, 0, 1, 0 },
        { "control messages without end", 2, 5, UINT32_MAX, 16, 0, 1, 0 },
        { "an address that is none", 2, 5, 0, 200, 0, 2, 5 },
        { "no message", 0, 5, 0, 16, 0, 0, 0 },
        { "an errno", -ECONNREFUSED, 0, 0, 0, 0, -ECONNREFUSED, 0 },
        { "the kernel's own code", -512, 0, 0, 0, 0, -EIO, 0 },
    };
    int fd = make(AF_INET, SOCK_DGRAM);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t buf[3][32];
        struct sockaddr_in names[3];
        struct iovec iov[3];
        struct mmsghdr m[3];
        memset(buf, 0xee, sizeof(buf));
        memset(names, 0xee, sizeof(names));
        memset(m, 0, sizeof(m));
        host_says(OCALL_NET_RECV_MANY, rows[i].ret);
        g_host.filled = 0x11;
        for (int k = 0; k < 3; k++) {
            iov[k] = (struct iovec){ buf[k], 16 };
            m[k].msg_hdr = (struct msghdr){ .msg_iov = (void *)&iov[k],
                                            .msg_iovlen = 1,
                                            .msg_name = &names[k],
                                            .msg_namelen = sizeof(names[k]) };
            const uint16_t family = AF_INET;
            g_host.came[k] = (struct ocall_net_message){ .size = 5, .address_size = 16 };
            memcpy(g_host.came[k].address, &family, sizeof(family));
        }
        g_host.came[1].size = rows[i].size;
        g_host.came[1].control_size = rows[i].control_size;
        g_host.came[1].address_size = rows[i].address_size;
        CHECK_EQ(CALL(net_recvmmsg, fd, ADDRESS(m), 3, MSG_DONTWAIT | rows[i].flags), rows[i].want,
                 "%s", rows[i].name);
        if (rows[i].want >= 2) {
            CHECK_EQ(m[1].msg_len, rows[i].told, "%s: size", rows[i].name);
            CHECK_EQ(m[1].msg_hdr.msg_namelen, rows[i].address_size == 16 ? 16 : 0, "%s: address",
                     rows[i].name);
        }
        for (int k = 0; k < 3; k++) {
            CHECK((buf[k][0] == 0x11) == (k < rows[i].want), "%s: bytes of %d", rows[i].name, k);
            CHECK(buf[k][16] == 0xee, "%s: written beyond", rows[i].name);
        }
    }
}

/* sendmmsg: what leaves, and how many the host says it sent. */
static void many_out(void)
{
    static const struct {
        const char *name;
        int64_t ret, want;
    } rows[] = {
        { "all", 3, 3 },
        { "some", 2, 2 },
        { "none", 0, 0 },
        { "more", 4, -EIO },
        { "far more", INT64_MAX, -EIO },
        { "an errno", -ENOBUFS, -ENOBUFS },
        { "no errno", -4095, -EIO },
    };
    uint8_t byte[3] = { 1, 2, 3 };
    struct iovec iov[3];
    struct mmsghdr m[3];
    int fd = make(AF_INET, SOCK_DGRAM);
    memset(m, 0, sizeof(m));
    for (int k = 0; k < 3; k++) {
        iov[k] = (struct iovec){ &byte[k], 1 };
        m[k].msg_hdr = (struct msghdr){ .msg_iov = (void *)&iov[k], .msg_iovlen = 1 };
    }
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (int k = 0; k < 3; k++)
            m[k].msg_len = 99;
        memset(g_fake_window, 0xee, 1024);
        host_says(OCALL_NET_SEND_MANY, rows[i].ret);
        CHECK_EQ(CALL(net_sendmmsg, fd, ADDRESS(m), 3, MSG_DONTWAIT), rows[i].want, "%s",
                 rows[i].name);
        for (int k = 0; k < 3; k++)
            CHECK_EQ(m[k].msg_len, k < rows[i].want ? 1 : 99, "%s: size of %d", rows[i].name, k);
        CHECK_EQ(g_host.calls, 1, "%s: exits", rows[i].name);
        /* Head, one byte, and no more of the heap than that. */
        uint8_t *at = g_fake_window;
        for (int k = 0; k < 3; k++, at += sizeof(struct ocall_net_message) + 8) {
            static const uint8_t none[OCALL_NET_ADDRESS + 7];
            CHECK_EQ(at[0], 1, "%s: size %d", rows[i].name, k);
            CHECK(memcmp(at + 16, none, OCALL_NET_ADDRESS) == 0, "%s: address %d", rows[i].name, k);
            CHECK_EQ(at[sizeof(struct ocall_net_message)], byte[k], "%s: byte %d", rows[i].name, k);
            CHECK(memcmp(at + sizeof(struct ocall_net_message) + 1, none, 7) == 0, "%s: padding %d",
                  rows[i].name, k);
        }
        CHECK_EQ(*at, 0xee, "%s: put beyond", rows[i].name);
    }
    /* An error after the first messages that came is told by the next call, once. */
    uint8_t buf[3][16];
    host_says(OCALL_NET_RECV_MANY, 1);
    g_host.ret[1] = -ECONNREFUSED;
    for (int k = 0; k < 3; k++)
        iov[k] = (struct iovec){ buf[k], 16 };
    CHECK_EQ(CALL(net_recvmmsg, fd, ADDRESS(m), 3, 0), 1, "one came");
    CHECK_EQ(CALL(net_sendto, fd, ADDRESS(byte), 1, 0), -ECONNREFUSED, "told");
    CHECK_EQ(CALL(net_sendto, fd, ADDRESS(byte), 1, 0), 0, "once");
    g_rule = -EACCES;
    struct sockaddr_in to = { .sin_family = AF_INET };
    m[1].msg_hdr.msg_name = &to;
    m[1].msg_hdr.msg_namelen = sizeof(to);
    host_says(OCALL_NET_SEND_MANY, 1);
    CHECK_EQ(CALL(net_sendmmsg, fd, ADDRESS(m), 3, 0), 1, "a rule against the second");
    CHECK_EQ(g_host.args[1], 1, "one went out");
}

/* What would tell the program by a signal is refused, not forgotten. */
static void owners(void)
{
    static const struct {
        const char *name;
        bool ioctl;
        uint64_t nr, arg;
        int64_t want;
    } rows[] = {
        { "nobody yet", false, F_GETOWN, 0, 0 },
        { "owner", false, F_SETOWN, 100, 0 },
        { "kept", false, F_GETOWN, 0, 100 },
        { "a group", false, F_SETOWN, (uint64_t)-7, 0 },
        { "kept", false, F_GETOWN, 0, -7 },
        { "no group", false, F_SETOWN, (uint64_t)INT32_MIN, -EINVAL },
        { "O_ASYNC", false, F_SETFL, O_ASYNC | O_NONBLOCK, -EINVAL },
        { "nothing was set", false, F_GETFL, 0, O_RDWR },
        { "a signal's number", false, F_SETSIG, 34, -EINVAL },
        { "SIGIO as usual", false, F_SETSIG, 0, 0 },
        { "no signal", false, F_SETSIG, 65, -EINVAL },
        { "FIOASYNC", true, FIOASYNC, 1, -EINVAL },
        { "FIOASYNC off", true, FIOASYNC, 0, 0 },
        { "SIOCSPGRP", true, 0x8902, 5, 0 },
        { "kept", false, F_GETOWN, 0, 5 },
    };
    int fd = make(AF_INET, SOCK_STREAM);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int32_t value = (int32_t)rows[i].arg;
        struct sysargs args = { .a = { (uint64_t)fd, rows[i].nr,
                                       rows[i].ioctl ? ADDRESS(&value) : rows[i].arg } };
        CHECK_EQ(rows[i].ioctl ? sys_ioctl(&args) : sys_fcntl(&args), rows[i].want, "row %zu: %s",
                 i, rows[i].name);
    }
    struct {
        int32_t type, pid;
    } owner = { 2, 9 };
    CHECK_EQ(sys_fcntl(&(struct sysargs){ .a = { (uint64_t)fd, 15, ADDRESS(&owner) } }), 0,
             "F_SETOWN_EX");
    CHECK_EQ(sys_fcntl(&(struct sysargs){ .a = { (uint64_t)fd, F_GETOWN } }), -9, "F_SETOWN_EX");
    owner.type = owner.pid = 0;
    CHECK_EQ(sys_fcntl(&(struct sysargs){ .a = { (uint64_t)fd, 16, ADDRESS(&owner) } }), 0,
             "F_GETOWN_EX");
    CHECK(owner.type == 2 && owner.pid == 9, "F_GETOWN_EX: %d %d", owner.type, owner.pid);
    /* A file: natively nobody is ever signalled either. */
    struct file *file;
    CHECK_EQ(vfs_open_kernel("/x", 2, &file), 0, "open");
    fd = fd_install(file, 0, false);
    CHECK_EQ(sys_fcntl(&(struct sysargs){ .a = { (uint64_t)fd, F_SETFL, O_ASYNC } }), 0, "a file");
    CHECK_EQ(sys_ioctl(&(struct sysargs){ .a = { (uint64_t)fd, FIOASYNC, ADDRESS(&owner) } }),
             -ENOTTY, "a file");
}

static int g_released;

static void tree_release(struct file *file UNUSED)
{
    g_released++;
}

/* The names that a host gives its AF_UNIX sockets: size is what it says, want what the program gets. */
static void local_names(int fd)
{
    static const struct {
        const char *name;
        uint32_t size, want;
        uint16_t family;
    } rows[] = {
        { "no name", 2, 2, AF_UNIX },
        { "a path", 20, 20, AF_UNIX },
        { "the longest", 111, 111, AF_UNIX },
        { "longer", 112, 0, AF_UNIX },
        { "half a family", 1, 0, AF_UNIX },
        { "another family", 16, 0, AF_INET },
        { "beyond its field", 129, 0, AF_UNIX },
        { "huge", UINT32_MAX, 0, AF_UNIX },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint8_t buf[8], name[128];
        uint32_t size = sizeof(name);
        memset(name, 0xee, sizeof(name));
        host_says(OCALL_NET_RECV, 3);
        g_host.net.address_size = rows[i].size;
        memcpy(g_host.net.address, &rows[i].family, 2);
        CHECK_EQ(
            CALL(net_recvfrom, fd, ADDRESS(buf), sizeof(buf), 0, ADDRESS(name), ADDRESS(&size)), 3,
            "%s", rows[i].name);
        CHECK_EQ(size, rows[i].want, "%s", rows[i].name);
        CHECK(name[rows[i].want] == 0xee, "%s: written beyond", rows[i].name);
    }
}

/* A socket of the tree that becomes one of the host. */
static void local(void)
{
    static const struct file_ops tree_ops = { .name = "tree", .release = tree_release };
    char path[120], control[64];
    uint8_t buf[8];
    struct place place = { .path = path, .path_size = 108 };
    struct iovec iov = { buf, sizeof(buf) };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    make(AF_INET, SOCK_STREAM);
    memset(path, 'x', sizeof(path));
    struct file *file = file_new(&tree_ops, O_RDWR, NULL);
    static const int64_t bad[][2] = { { -EMFILE, -EMFILE }, { INT64_MAX, -EIO }, { -512, -EIO } };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        host_says(OCALL_NET_SOCKET, bad[i][0]);
        CHECK_EQ(net_local_become(file, SOCK_SEQPACKET), bad[i][1], "row %zu", i);
        CHECK(!net_is_local(file), "row %zu: it did not become one", i);
    }
    host_says(OCALL_NET_SOCKET, 7);
    CHECK_EQ(net_local_become(file, SOCK_DGRAM), 0, "become");
    CHECK(net_is_local(file) && net_local_type(file) == SOCK_DGRAM, "it is one");
    host_says(OCALL_NET_BIND, 0);
    CHECK_EQ(net_local_bind(file, &place, 0750), -EINVAL, "too long for an address");
    CHECK_EQ(g_host.calls, 0, "the host is not asked");
    place.path_size = 107;
    path[107] = '\0';
    CHECK_EQ(net_local_bind(file, &place, 0750), 0, "bind");
    CHECK_EQ(g_host.args[1], 0750, "mode");
    host_says(OCALL_NET_CONNECT, 0);
    CHECK_EQ(net_local_connect(file, &place), 0, "connect");
    CHECK_EQ(g_host.calls, 1, "asked once");
    host_says(OCALL_NET_CONNECT, -EAGAIN); /* its queue is full: it waits, here for a signal */
    CHECK_EQ(net_local_connect(file, &place), -512 /* ERESTARTSYS */, "until it has room");
    file->flags |= O_NONBLOCK;
    host_says(OCALL_NET_CONNECT, -EAGAIN);
    CHECK_EQ(net_local_connect(file, &place), -EAGAIN, "without waiting");
    int fd = fd_install(file, 0, false);
    local_names(fd);
    /* No room for descriptors: the host's would come in. */
    host_says(OCALL_NET_RECV, 3);
    g_host.net.control_size = sizeof(control);
    CHECK_EQ(CALL(net_recvmsg, fd, ADDRESS(&message)), 3, "receive");
    CHECK_EQ(g_host.args[4], 0, "room for control messages");
    CHECK_EQ(message.msg_controllen, 0, "none is told");
    fd_close(fd);
    CHECK_EQ(g_released, 1, "what it was goes too");
}

#define TEST(name)                        \
    static void test_##name(void **state) \
    {                                     \
        (void)state;                      \
        vfs_child(name);                  \
    }
TEST(kinds)
TEST(addresses_in)
TEST(addresses_out)
TEST(results)
TEST(waiting)
TEST(options)
TEST(control_out)
TEST(control_in)
TEST(rules)
TEST(strangers)
TEST(shared)
TEST(lots)
TEST(owners)
TEST(many_in)
TEST(many_out)
TEST(local)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),         cmocka_unit_test(test_addresses_in),
        cmocka_unit_test(test_addresses_out), cmocka_unit_test(test_results),
        cmocka_unit_test(test_waiting),       cmocka_unit_test(test_options),
        cmocka_unit_test(test_control_out),   cmocka_unit_test(test_control_in),
        cmocka_unit_test(test_rules),         cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_shared),        cmocka_unit_test(test_lots),
        cmocka_unit_test(test_owners),        cmocka_unit_test(test_many_in),
        cmocka_unit_test(test_many_out),      cmocka_unit_test(test_local),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
