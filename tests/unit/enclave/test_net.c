/*
 * Sockets of the network (src/enclave/net) under a host that lies and a program that wants past the manifest's rules.
 * The host is a script: what it answers is set by the test, what it is asked is recorded. Everything else that net/
 * needs is faked here.
 */
#include <asm/prctl.h>
#include <errno.h>
#include <linux/uio.h> /* as the library OS has it: libc's is the same under another header */
#define __iovec_defined 1
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "arch/thread.h"
#include "border/border.h"
#include "core/attr.h"
#include "core/manifest_view.h"
#include "ipc/anon.h"
#include "ipc/pipe.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "net/net.h"
#include "net/socket.h"
#include "process/process.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/wait.h"

#define HANDLE 77

/* --- the host ------------------------------------------------------------------------------------ */

static ALIGNED(4096) uint8_t g_window[OCALL_DATA_SIZE];
static struct ocall_net *const g_net = (struct ocall_net *)(void *)(g_window + OCALL_NET_DATA);
static struct {
    int64_t ret;
    void (*fill)(void);
    unsigned calls;
    enum ocall_nr nr;
    uint64_t args[6];
} g_host;

int64_t border_call(enum ocall_nr nr, uint64_t max, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3, uint64_t a4, uint64_t a5)
{
    if (nr == OCALL_CLOSE)
        return 0;
    g_host.calls++;
    g_host.nr = nr;
    memcpy(g_host.args, (uint64_t[]){ a0, a1, a2, a3, a4, a5 }, sizeof(g_host.args));
    if (nr == OCALL_NET_SOCKET)
        return HANDLE;
    if (g_host.fill)
        g_host.fill();
    /* As the real one. */
    if (g_host.ret < 0)
        return g_host.ret >= -4095 ? g_host.ret : -EIO;
    return (uint64_t)g_host.ret <= max ? g_host.ret : -EIO;
}

void border_put(uint64_t offset, const void *src, uint64_t size)
{
    assert_true(offset <= sizeof(g_window) && size <= sizeof(g_window) - offset);
    memcpy(g_window + offset, src, size);
}

void border_get(void *dst, uint64_t offset, uint64_t size)
{
    assert_true(offset <= sizeof(g_window) && size <= sizeof(g_window) - offset);
    memcpy(dst, g_window + offset, size);
}

int border_prefault_pieces(const struct iovec *iov UNUSED, uint64_t count UNUSED,
                           uint64_t skip UNUSED, uint64_t size UNUSED, bool write UNUSED)
{
    return 0;
}

int64_t border_prefault_some(const struct iovec *iov UNUSED, uint64_t count UNUSED,
                             uint64_t skip UNUSED, uint64_t size, uint64_t least UNUSED)
{
    return (int64_t)size;
}

/* One piece, or none. */
int border_put_pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size)
{
    assert_true(count == 1 && iov->iov_len >= skip && size <= iov->iov_len - skip);
    border_put(0, (const uint8_t *)iov->iov_base + skip, size);
    return 0;
}

int border_get_pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size)
{
    assert_true(count == 1 && iov->iov_len >= skip && size <= iov->iov_len - skip);
    border_get((uint8_t *)iov->iov_base + skip, 0, size);
    return 0;
}

/* --- the rest of the library OS -------------------------------------------------------------------- */

static struct manifest_node g_node;
static struct manifest_net g_rules[4];
struct manifest_view g_manifest = { .net = g_rules, .strings = "" };
static struct file *g_installed;
static unsigned g_audits;

void panic(const char *format, ...)
{
    fail_msg("%s", format);
    abort();
}

void log_note(const char *format UNUSED, ...)
{
}

void audit(enum ocall_audit_event event UNUSED, int error UNUSED, uint64_t value UNUSED,
           const char *path UNUSED, uint64_t path_size UNUSED)
{
    g_audits++;
}

const struct manifest_node *process_node(void)
{
    return &g_node;
}

void *heap_alloc(size_t size)
{
    return calloc(1, size);
}

void heap_free(void *p)
{
    free(p);
}

struct file *file_new(const struct file_ops *ops, uint32_t flags, void *object)
{
    struct file *file = calloc(1, sizeof(*file));
    *file = (struct file){ .ops = ops, .refs = 1, .flags = flags, .object = object };
    return file;
}

void file_unref(struct file *file)
{
    file->ops->release(file);
    free(file);
}

void lock_take(struct lock *lock UNUSED)
{
}

void lock_drop(struct lock *lock UNUSED)
{
}

void epoll_became(struct file *file UNUSED)
{
}

struct file *fd_get(int fd UNUSED)
{
    return g_installed;
}

bool chunk_handles_drop(void)
{
    return false;
}

int fd_reserve(void)
{
    return 3;
}

void fd_fill(int fd UNUSED, struct file *file, bool cloexec UNUSED)
{
    g_installed = file;
}

void fd_unreserve(int fd UNUSED)
{
}

int anon_install(struct file *file, uint32_t flags UNUSED)
{
    g_installed = file;
    return 3;
}

uint64_t anon_ino(void)
{
    return 1;
}

void anon_stat(uint64_t ino UNUSED, uint32_t mode UNUSED, struct kstat *ret UNUSED)
{
}

bool user_range_ok(const void *user, uint64_t size UNUSED)
{
    return user != NULL;
}

int copy_from_user(void *dst, const void *user, uint64_t size)
{
    memcpy(dst, user, size);
    return 0;
}

int copy_to_user(void *user, const void *src, uint64_t size)
{
    memcpy(user, src, size);
    return 0;
}

uint64_t clock_monotonic(void)
{
    return 1;
}

uint64_t clock_deadline(int32_t clockid UNUSED, uint64_t ns, bool absolute UNUSED)
{
    return ns;
}

bool timespec_valid(const struct __kernel_timespec *ts UNUSED, uint64_t *ret)
{
    *ret = 0;
    return true;
}

int thread_wait_begin(uint64_t deadline, uint64_t *ret_host)
{
    *ret_host = deadline;
    return 0;
}

void thread_wait_end(void)
{
}

int thread_poll_now(struct ocall_pollfd *fds UNUSED, uint32_t count UNUSED)
{
    return 0;
}

void stream_sigpipe(void)
{
}

/* --- the program ----------------------------------------------------------------------------------- */

typedef int64_t call_fn(struct file *file, const struct sysargs *args);
#define PTR(p)        ((uint64_t)(uintptr_t)(p))
#define NUM(n)        ((uint64_t)(int64_t)(n))
#define CALL(fn, ...) fn(g_installed, &(struct sysargs){ .a = { 3, __VA_ARGS__ } })

static int make_socket(int family, int type)
{
    g_host.calls = 0;
    g_host.fill = NULL;
    g_host.ret = 0;
    memset(g_window, 0xee, sizeof(g_window));
    return (int)net_socket(&(struct sysargs){ .a = { NUM(family), NUM(type) } });
}

static int drop_socket(void **state UNUSED)
{
    if (g_installed)
        file_unref(g_installed);
    g_installed = NULL;
    memset(&g_host, 0, sizeof(g_host));
    g_manifest.net_count = 0;
    g_audits = 0;
    return 0;
}

/* One rule: 127.0.0.1:53, UDP. */
static void let_dns(void)
{
    g_rules[0] = (struct manifest_net){ .action = MANIFEST_NET_CONNECT,
                                        .type = MANIFEST_NET_UDP,
                                        .prefix = 128,
                                        .port_low = 53,
                                        .port_high = 53 };
    g_rules[0].address[10] = g_rules[0].address[11] = 0xff;
    memcpy(g_rules[0].address + 12, (uint8_t[]){ 127, 0, 0, 1 }, 4);
    g_manifest.net_count = 1;
}

static struct sockaddr_in ipv4(uint16_t family, uint32_t address, uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = family,
                                 .sin_port = htons(port),
                                 .sin_addr.s_addr = htonl(address) };
}

#define HERE  0x7f000001u
#define THERE 0xc6336401u /* 198.51.100.1 */

/* udp_sendmsg() takes AF_UNSPEC for AF_INET: as a destination it needs a rule like any other. */
static void test_destinations(void **state UNUSED)
{
    static const struct {
        const char *name;
        uint16_t family;
        uint32_t address, size;
        int64_t want;
    } cases[] = {
        { "covered", AF_INET, HERE, 16, 4 },
        { "not covered", AF_INET, THERE, 16, -EACCES },
        { "covered, AF_UNSPEC", AF_UNSPEC, HERE, 16, 4 },
        { "not covered, AF_UNSPEC", AF_UNSPEC, THERE, 16, -EACCES },
        { "AF_UNSPEC, short", AF_UNSPEC, HERE, 8, -EINVAL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct sockaddr_in to = ipv4(cases[i].family, cases[i].address, 53);
        assert_int_equal(make_socket(AF_INET, SOCK_DGRAM), 3);
        let_dns();
        g_host.calls = 0;
        g_host.ret = 4;
        for (int message = 0; message < 2; message++) {
            struct iovec iov = { (void *)(uintptr_t) "data", 4 };
            struct msghdr head = {
                .msg_name = &to, .msg_namelen = cases[i].size, .msg_iov = &iov, .msg_iovlen = 1
            };
            int64_t got = message ? CALL(net_sendmsg, PTR(&head), 0)
                                  : CALL(net_sendto, PTR("data"), 4, 0, PTR(&to), cases[i].size);
            if (got != cases[i].want)
                fail_msg("%s: got %ld, want %ld", cases[i].name, (long)got, (long)cases[i].want);
            if ((g_host.calls != 0) != (cases[i].want > 0))
                fail_msg("%s: the host was asked %u times", cases[i].name, g_host.calls);
            uint16_t sent;
            memcpy(&sent, g_net->address, sizeof(sent));
            if (cases[i].want > 0 && sent != AF_INET)
                fail_msg("%s: the host was told family %u", cases[i].name, sent);
        }
        drop_socket(NULL);
    }
}

static int64_t send_control(int level, int type, const void *data, size_t size,
                            const struct sockaddr_in *to)
{
    ALIGNED(8) uint8_t control[CMSG_SPACE(64)] = { 0 };
    struct iovec iov = { (void *)(uintptr_t) "data", 4 };
    struct msghdr head = { .msg_name = (void *)(uintptr_t)to,
                           .msg_namelen = sizeof(*to),
                           .msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = CMSG_SPACE(size) };
    struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;
    *cmsg = (struct cmsghdr){ .cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type };
    memcpy(CMSG_DATA(cmsg), data, size);
    return CALL(net_sendmsg, PTR(&head), 0);
}

/* A source route leads packets to its first hop first: past the rule for their destination. */
static void test_source_routes(void **state UNUSED)
{
    static const uint8_t lsrr[8] = { 131, 7, 4, 198, 51, 100, 1, 0 };
    static const uint8_t route[24] = { 0, 2, 2, 1 }; /* IPV6_RTHDR, type 2 */
    const struct sockaddr_in to = ipv4(AF_INET, HERE, 53);
    const int32_t ttl = 3;
    assert_int_equal(make_socket(AF_INET, SOCK_DGRAM), 3);
    let_dns();
    g_host.calls = 0;
    assert_int_equal(CALL(net_setsockopt, IPPROTO_IP, IP_OPTIONS, PTR(lsrr), sizeof(lsrr)),
                     -ENOPROTOOPT);
    assert_int_equal(send_control(IPPROTO_IP, IP_RETOPTS, lsrr, sizeof(lsrr), &to), -EINVAL);
    assert_int_equal(send_control(IPPROTO_IPV6, IPV6_RTHDR, route, sizeof(route), &to), -EINVAL);
    assert_int_equal(g_host.calls, 0);
    g_host.ret = 4;
    assert_int_equal(send_control(IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl), &to), 4);
}

/* --- a host that lies about what it received --------------------------------------------------------- */

static struct {
    uint32_t address_size, control_size, flags;
    uint16_t family;
    uint64_t cmsg_size;
    int cmsg_level, cmsg_type;
} g_lie;

static void fill_lie(void)
{
    memset(g_window, 'x', OCALL_NET_DATA);
    memset(g_net, 'y', sizeof(*g_net));
    g_net->address_size = g_lie.address_size;
    g_net->control_size = g_lie.control_size;
    g_net->flags = g_lie.flags;
    memcpy(g_net->address, &g_lie.family, sizeof(g_lie.family));
    struct cmsghdr cmsg = { .cmsg_len = g_lie.cmsg_size,
                            .cmsg_level = g_lie.cmsg_level,
                            .cmsg_type = g_lie.cmsg_type };
    memcpy(g_net->control, &cmsg, sizeof(cmsg));
}

#define GUARD 64

static void test_lies(void **state UNUSED)
{
    static const struct {
        const char *name;
        int64_t ret, want;
        uint32_t address_size, control_size;
        uint16_t family;
        uint64_t cmsg_size;
        int level, type;
        uint32_t want_name, want_control;
    } cases[] = {
        { "truth", 8, 8, 16, 24, AF_INET, 20, 0, 2, 16, 24 },
        { "more than was asked for", 17, -EIO, 16, 24, AF_INET, 20, 0, 2, 0, 0 },
        { "no errno", -512, -EIO, 16, 0, AF_INET, 0, 0, 0, 0, 0 },
        { "far from an errno", INT64_MIN, -EIO, 16, 0, AF_INET, 0, 0, 0, 0, 0 },
        { "long address", 8, 8, UINT32_MAX, 0, AF_INET, 0, 0, 0, 0, 0 },
        { "whole address of nobody", 8, 8, 128, 0, AF_INET, 0, 0, 0, 0, 0 },
        { "address of another family", 8, 8, 28, 0, AF_INET6, 0, 0, 0, 0, 0 },
        { "path as an address", 8, 8, 110, 0, AF_UNIX, 0, 0, 0, 0, 0 },
        { "much control", 8, 8, 0, UINT32_MAX, 0, 20, 0, 2, 0, 0 },
        { "one byte too much control", 8, 8, 0, OCALL_NET_CONTROL + 1, 0, 20, 0, 2, 0, 0 },
        { "message longer than control", 8, 8, 0, 24, 0, 25, 0, 2, 0, 0 },
        { "message of size 0", 8, 8, 0, 24, 0, 0, 0, 2, 0, 0 },
        { "message whose size wraps", 8, 8, 0, 24, 0, UINT64_MAX, 0, 2, 0, 0 },
        { "message without data", 8, 8, 0, 24, 0, 16, 0, 2, 0, 0 },
        { "descriptors", 8, 8, 0, 24, 0, 20, SOL_SOCKET, SCM_RIGHTS, 0, 0 },
        { "a message that is only sent", 8, 8, 0, 24, 0, 18, 17, 103, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t bytes[16 + GUARD], name[128 + GUARD], control[256 + GUARD];
        memset(bytes, 0xaa, sizeof(bytes));
        memset(name, 0xaa, sizeof(name));
        memset(control, 0xaa, sizeof(control));
        struct iovec iov = { bytes, 16 };
        struct msghdr head = { .msg_name = name,
                               .msg_namelen = 128,
                               .msg_iov = &iov,
                               .msg_iovlen = 1,
                               .msg_control = control,
                               .msg_controllen = 256 };
        assert_int_equal(make_socket(AF_INET, SOCK_DGRAM), 3);
        g_lie.address_size = cases[i].address_size;
        g_lie.control_size = cases[i].control_size;
        g_lie.family = cases[i].family;
        g_lie.cmsg_size = cases[i].cmsg_size;
        g_lie.cmsg_level = cases[i].level;
        g_lie.cmsg_type = cases[i].type;
        g_host.fill = fill_lie;
        g_host.ret = cases[i].ret;
        int64_t got = CALL(net_recvmsg, PTR(&head), 0);
        if (got != cases[i].want)
            fail_msg("%s: got %ld, want %ld", cases[i].name, (long)got, (long)cases[i].want);
        uint8_t guard[GUARD];
        memset(guard, 0xaa, sizeof(guard));
        if (memcmp(bytes + 16, guard, GUARD) != 0 || memcmp(name + 128, guard, GUARD) != 0 ||
            memcmp(control + 256, guard, GUARD) != 0)
            fail_msg("%s: written behind a buffer", cases[i].name);
        if (got >= 0 && (head.msg_namelen != cases[i].want_name ||
                         head.msg_controllen != cases[i].want_control))
            fail_msg("%s: name of %u, control of %zu bytes", cases[i].name, head.msg_namelen,
                     head.msg_controllen);
        if (got < 0 && bytes[0] != 0xaa)
            fail_msg("%s: bytes of a call that failed", cases[i].name);
        drop_socket(NULL);
    }
}

/* The longest datagram has 65,535 bytes with its heads: a longer "real size" (MSG_TRUNC) is a lie that a program
 * would make room for, or count on. */
static void test_longest_datagram(void **state UNUSED)
{
    uint8_t bytes[16];
    assert_int_equal(make_socket(AF_INET, SOCK_DGRAM), 3);
    g_host.ret = 65507;
    assert_int_equal(CALL(net_recvfrom, PTR(bytes), sizeof(bytes), MSG_TRUNC, 0, 0), 65507);
    g_host.ret = 65536;
    assert_int_equal(CALL(net_recvfrom, PTR(bytes), sizeof(bytes), MSG_TRUNC, 0, 0), -EIO);
}

static void test_options(void **state UNUSED)
{
    uint8_t value[16];
    uint32_t size = 4;
    memset(value, 0xaa, sizeof(value));
    assert_int_equal(make_socket(AF_INET, SOCK_STREAM), 3);
    g_host.ret = 5;
    assert_int_equal(CALL(net_getsockopt, SOL_SOCKET, SO_RCVBUF, PTR(value), PTR(&size)), -EIO);
    assert_int_equal(value[0], 0xaa);
    /* What the host leaves unwritten is zero, and nothing of an earlier call. */
    g_host.ret = 4;
    assert_int_equal(CALL(net_getsockopt, SOL_SOCKET, SO_RCVBUF, PTR(value), PTR(&size)), 0);
    assert_memory_equal(value, "\0\0\0\0\xaa", 5);
}

int main(void)
{
    static struct thread thread;
    thread.self = PTR(&thread);
    (void)syscall(SYS_arch_prctl, ARCH_SET_GS, &thread);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_destinations, drop_socket),
        cmocka_unit_test_teardown(test_source_routes, drop_socket),
        cmocka_unit_test_teardown(test_lies, drop_socket),
        cmocka_unit_test_teardown(test_longest_datagram, drop_socket),
        cmocka_unit_test_teardown(test_options, drop_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
