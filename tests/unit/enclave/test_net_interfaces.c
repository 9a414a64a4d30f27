/* Interfaces as a host tells of them that lies, and the netlink socket over them. */
#include "vfs_fakes.h"

#include <asm/errno.h>
#include <linux/uio.h> /* as the library OS has it: libc's is the same under another header */
#define __iovec_defined 1
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "border/border.h"
#include "ipc/anon.h"
#include "net/interfaces.h"
#include "net/net.h"
#include "net/netlink.h"
#include "vfs/file.h"

/* --- what lies below ------------------------------------------------------------------------------- */

bool net_is(const struct file *file)
{
    (void)file;
    return false;
}

uint32_t net_get_flags(struct file *file)
{
    return file->flags;
}

int net_set_flags(struct file *file, uint32_t flags)
{
    file->flags = flags;
    return 0;
}

/* --- the host -------------------------------------------------------------------------------------- */

static struct {
    int64_t ret;
    uint64_t addresses; /* out[0] */
    struct ocall_net_link links[8];
    struct ocall_net_ifaddr ifaddrs[8];
} g_host;

static bool answer(enum ocall_nr nr, const uint64_t args[6], int64_t *ret)
{
    (void)args;
    if (nr != OCALL_NET_INTERFACES)
        return false;
    uint64_t links = g_host.ret > 0 && g_host.ret <= 8 ? (uint64_t)g_host.ret : 0;
    memcpy(g_fake_window, g_host.links, links * sizeof(g_host.links[0]));
    memcpy(g_fake_window + links * sizeof(g_host.links[0]), g_host.ifaddrs, sizeof(g_host.ifaddrs));
    g_fake_out[0] = g_host.addresses;
    *ret = g_host.ret;
    return true;
}

/* As much as fits, without a NUL if it fills the field. */
static void put_name(char field[static 16], const char *name)
{
    memcpy(field, name, strnlen(name, 16));
}

static struct ocall_net_link link_of(uint32_t index, const char *name)
{
    struct ocall_net_link link = { .index = index,
                                   .flags = 0x49,
                                   .mtu = 1500,
                                   .queue = 10,
                                   .type = 1,
                                   .state = 6,
                                   .address_size = 6,
                                   .address = { 2, 0, 0, 0, 0, 1 } };
    put_name(link.name, name);
    return link;
}

static struct ocall_net_ifaddr address_of(uint32_t index, uint8_t family, uint8_t prefix)
{
    return (struct ocall_net_ifaddr){ .index = index,
                                      .family = family,
                                      .prefix = prefix,
                                      .has = OCALL_NET_LOCAL,
                                      .address = { 10, 0, 0, 1 },
                                      .local = { 10, 0, 0, 2 } };
}

static void start(void)
{
    fake_add(&(struct fake_record){
        .path = "/x", .class = MANIFEST_TRUSTED, .mode = 0100644, .content = "x" });
    fake_start("/");
    g_fake_hook = answer;
    g_host.links[0] = link_of(1, "lo");
    g_host.links[1] = link_of(4, "eth0");
    g_host.ifaddrs[0] = address_of(1, AF_INET, 8);
    g_host.ifaddrs[1] = address_of(4, AF_INET6, 64);
    g_host.ret = 2;
    g_host.addresses = 2;
}

#define ADDRESS(p) ((uint64_t)(uintptr_t)(p))

/* --- what cannot be is left out ------------------------------------------------------------------- */

static void links(void)
{
    static const struct {
        const char *name, *text;
        uint32_t index;
        uint8_t address_size;
        bool taken;
    } rows[] = {
        { "good", "wlan0", 7, 6, true },
        { "number zero", "wlan0", 0, 6, false },
        { "negative number", "wlan0", 0x80000000, 6, false },
        { "the number of another", "wlan0", 4, 6, false },
        { "not rising", "wlan0", 3, 6, false },
        { "no name", "", 7, 6, false },
        { "the name of another", "eth0", 7, 6, false },
        { "the longest name", "123456789012345", 7, 6, true },
        { "name without an end", "1234567890123456", 7, 6, false },
        { "name with a slash", "../../etc", 7, 6, false },
        { "a dot", ".", 7, 6, false },
        { "two dots", "..", 7, 6, false },
        { "three dots", "...", 7, 6, true },
        { "name with a colon", "eth0:1", 7, 6, false },
        { "name with a space", "a b", 7, 6, false },
        { "name with a newline", "a\nb", 7, 6, false },
        { "the longest hardware address", "ib0", 7, 32, true },
        { "longer than its field", "ib0", 7, 33, false },
    };
    start();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct interfaces list;
        g_host.links[2] = link_of(rows[i].index, rows[i].text);
        g_host.links[2].address_size = rows[i].address_size;
        g_host.links[2].flags = UINT32_MAX;
        memset(g_host.links[2].broadcast, 0xff, sizeof(g_host.links[2].broadcast));
        g_host.ret = 3;
        CHECK_EQ(interfaces_get(&list), 0, "%s", rows[i].name);
        CHECK_EQ(list.link_count, rows[i].taken ? 3 : 2, "%s", rows[i].name);
        CHECK_EQ(list.address_count, 2, "%s", rows[i].name);
        if (rows[i].taken) {
            CHECK_EQ(list.links[2].flags, 0x7ffff, "%s: flags", rows[i].name);
            for (uint32_t k = rows[i].address_size; k < OCALL_NET_HARDWARE; k++)
                CHECK_EQ(list.links[2].broadcast[k], 0, "%s: behind the address", rows[i].name);
        }
        interfaces_done(&list);
    }
}

static void addresses(void)
{
    static const struct {
        const char *name;
        uint32_t index;
        uint8_t family, prefix, has;
        const char *label;
        bool taken, labelled;
    } rows[] = {
        { "good", 4, AF_INET, 32, OCALL_NET_LABEL, "eth0:1", true, true },
        { "IPv6", 4, AF_INET6, 128, 0, "", true, false },
        { "of no link", 5, AF_INET, 8, 0, "", false, false },
        { "of link zero", 0, AF_INET, 8, 0, "", false, false },
        { "prefix too long", 4, AF_INET, 33, 0, "", false, false },
        { "IPv6 prefix too long", 4, AF_INET6, 129, 0, "", false, false },
        { "another family", 4, AF_UNIX, 8, 0, "", false, false },
        { "label without an end", 4, AF_INET, 8, OCALL_NET_LABEL, "1234567890123456", true, false },
        { "label that is not announced", 4, AF_INET, 8, 0, "eth0:1", true, false },
        { "bits that there are not", 4, AF_INET, 8, 0xf8, "", true, false },
    };
    start();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct interfaces list;
        g_host.ifaddrs[2] = address_of(rows[i].index, rows[i].family, rows[i].prefix);
        g_host.ifaddrs[2].has = rows[i].has;
        memset(g_host.ifaddrs[2].broadcast, 0xff, 16);
        put_name(g_host.ifaddrs[2].label, rows[i].label);
        g_host.addresses = 3;
        CHECK_EQ(interfaces_get(&list), 0, "%s", rows[i].name);
        CHECK_EQ(list.address_count, rows[i].taken ? 3 : 2, "%s", rows[i].name);
        if (rows[i].taken) {
            const struct ocall_net_ifaddr *a = &list.addresses[2];
            CHECK_EQ(a->label[0] != 0, rows[i].labelled, "%s: label", rows[i].name);
            CHECK_EQ(a->has & ~7, 0, "%s: bits", rows[i].name);
            CHECK_EQ(a->broadcast[4], rows[i].family == AF_INET ? 0 : 0xff,
                     "%s: behind the address", rows[i].name);
        }
        interfaces_done(&list);
    }
}

static void results(void)
{
    static const struct {
        const char *name;
        int64_t ret;
        uint64_t addresses;
        int want;
    } rows[] = {
        { "good", 2, 2, 0 },
        { "no links: no addresses either", 0, 2, 0 },
        { "more links than asked", INTERFACES_MAX + 1, 0, -EIO },
        { "links as if there were no end", INT64_MAX, 0, -EIO },
        { "more addresses than asked", 2, INTERFACE_ADDRESSES_MAX + 1, -EIO },
        { "addresses as if there were no end", 2, UINT64_MAX, -EIO },
        { "addresses that would wrap", 2, UINT64_MAX / 88 + 1, -EIO },
        { "an errno", -EMFILE, 0, -EMFILE },
        { "the kernel's own code", -512, 0, -EIO },
    };
    start();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct interfaces list;
        g_host.ret = rows[i].ret;
        g_host.addresses = rows[i].addresses;
        CHECK_EQ(interfaces_get(&list), rows[i].want, "%s", rows[i].name);
        if (rows[i].want == 0) {
            CHECK_EQ(list.link_count, (uint32_t)rows[i].ret, "%s", rows[i].name);
            CHECK_EQ(list.address_count, rows[i].ret ? 2 : 0, "%s", rows[i].name);
            interfaces_done(&list);
        }
    }
}

/* --- ioctl() --------------------------------------------------------------------------------------- */

struct request {
    char name[16];
    uint8_t value[24];
};

static void ioctls(void)
{
    static const struct {
        const char *name;
        uint32_t nr;
        const char *interface;
        int64_t want;
        uint8_t at, byte; /* of value */
    } rows[] = {
        { "number", 0x8933, "eth0", 0, 0, 4 },
        { "no such", 0x8933, "eth1", -ENODEV, 0, 0 },
        { "name without an end", 0x8933, "1234567890123456", -ENODEV, 0, 0 },
        { "empty name", 0x8933, "", -ENODEV, 0, 0 },
        { "alias", 0x8933, "eth0:7", 0, 0, 4 },
        { "flags", 0x8913, "lo", 0, 0, 0x49 },
        { "own address", 0x8915, "lo", 0, 7, 2 },
        { "the other end's", 0x8917, "lo", 0, 7, 1 },
        { "mask", 0x891b, "lo", 0, 4, 0xff },
        { "mask's end", 0x891b, "lo", 0, 5, 0 },
        { "no IPv4", 0x8915, "eth0", -EADDRNOTAVAIL, 0, 0 },
        { "alias that there is not", 0x8915, "lo:7", -EADDRNOTAVAIL, 0, 0 },
        { "MTU", 0x8921, "lo", 0, 1, 5 },
        { "hardware", 0x8927, "lo", 0, 7, 1 },
        { "queue", 0x8942, "lo", 0, 0, 10 },
        { "set flags", 0x8914, "lo", -EPERM, 0, 0 },
        { "set address", 0x8916, "lo", -EPERM, 0, 0 },
        { "unknown", 0x8950, "lo", -ENOTTY, 0, 0 },
    };
    start();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct request r;
        memset(&r, 0, sizeof(r));
        put_name(r.name, rows[i].interface);
        CHECK_EQ(interfaces_ioctl(rows[i].nr, ADDRESS(&r)), rows[i].want, "%s", rows[i].name);
        if (rows[i].want == 0)
            CHECK_EQ(r.value[rows[i].at], rows[i].byte, "%s", rows[i].name);
    }
    struct request r = { .value = { 4 } };
    CHECK_EQ(interfaces_ioctl(0x8910, ADDRESS(&r)), 0, "name");
    CHECK(strcmp(r.name, "eth0") == 0, "name: '%s'", r.name);
    CHECK_EQ(interfaces_ioctl(0x8910, 8), -EFAULT, "bad pointer");

    /* Room for one of two, none, and as many as there are. */
    g_host.ifaddrs[1] = address_of(4, AF_INET, 24);
    static const int32_t rooms[][2] = { { 39, 0 }, { 40, 40 }, { 79, 40 }, { 200, 80 }, { -1, 0 } };
    for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
        struct request got[3];
        memset(got, 0xee, sizeof(got));
        struct {
            int32_t size, pad;
            uint64_t at;
        } conf = { rooms[i][0], 0, ADDRESS(got) };
        CHECK_EQ(interfaces_ioctl(0x8912, ADDRESS(&conf)), 0, "list");
        CHECK_EQ(conf.size, rooms[i][1], "list, room for %d", rooms[i][0]);
        CHECK_EQ(((uint8_t *)got)[rooms[i][1]], 0xee, "list: written beyond");
        conf.at = 0;
        CHECK_EQ(interfaces_ioctl(0x8912, ADDRESS(&conf)), 0, "size");
        CHECK_EQ(conf.size, 80, "size");
    }
}

/* --- netlink --------------------------------------------------------------------------------------- */

static struct file *socket_new(void)
{
    struct file *file;
    CHECK_EQ(netlink_new(SOCK_RAW, NETLINK_ROUTE, ANON_NONBLOCK, &file), 0, "socket");
    return file;
}

static int64_t ask(struct file *file, uint32_t claimed, uint16_t type, uint16_t flags,
                   const void *body, uint32_t size)
{
    uint8_t bytes[512];
    struct nlmsghdr head = { claimed, type, flags, 5, 0 };
    memcpy(bytes, &head, sizeof(head));
    memcpy(bytes + sizeof(head), body, size);
    struct iovec iov = { bytes, sizeof(head) + size };
    return netlink_send(file, &iov, 1, iov.iov_len);
}

static int64_t hear(struct file *file, uint8_t *buf, uint64_t size, uint32_t flags)
{
    struct iovec iov = { buf, size };
    return netlink_receive(file, &iov, 1, size, flags, NULL);
}

static void kinds(void)
{
    struct file *file;
    start();
    CHECK_EQ(netlink_new(SOCK_STREAM, NETLINK_ROUTE, 0, &file), -ESOCKTNOSUPPORT, "stream");
    CHECK_EQ(netlink_new(SOCK_RAW, NETLINK_AUDIT, 0, &file), -EPROTONOSUPPORT, "protocol");
    file = socket_new();
    struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
    CHECK_EQ(netlink_bind(file, ADDRESS(&address), sizeof(address)), -EPERM, "groups");
    address.nl_groups = 0;
    CHECK_EQ(netlink_bind(file, ADDRESS(&address), sizeof(address) - 1), -EINVAL, "short");
    CHECK_EQ(netlink_bind(file, ADDRESS(&address), sizeof(address)), 0, "bind");
    CHECK_EQ(netlink_bind(file, 8, sizeof(address)), -EFAULT, "bad pointer");
    struct net_address name;
    netlink_name(file, false, &name);
    memcpy(&address, name.bytes, sizeof(address));
    CHECK(address.nl_pid != 0, "no number");
    address.nl_pid++;
    CHECK_EQ(netlink_bind(file, ADDRESS(&address), sizeof(address)), -EINVAL, "bound already");
    CHECK_EQ(netlink_destination(ADDRESS(&address), sizeof(address), &name), -EPERM,
             "to another process");
    address.nl_family = AF_INET;
    CHECK_EQ(netlink_connect(file, ADDRESS(&address), sizeof(address)), -EINVAL, "family");
    file_unref(file);
}

static void requests(void)
{
    static const struct {
        const char *name;
        uint32_t claimed; /* 0: as it is */
        uint16_t type, flags;
        uint32_t size; /* of the body */
        int32_t index;
        int want; /* type of the first answer, or an errno; 0: none */
    } rows[] = {
        { "all links", 0, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, RTM_NEWLINK },
        { "all addresses", 0, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0, RTM_NEWADDR },
        { "one link", 0, RTM_GETLINK, NLM_F_REQUEST, 16, 4, RTM_NEWLINK },
        { "no such link", 0, RTM_GETLINK, NLM_F_REQUEST, 16, 3, -ENODEV },
        { "which link?", 0, RTM_GETLINK, NLM_F_REQUEST, 16, 0, -EINVAL },
        { "short", 0, RTM_GETLINK, NLM_F_REQUEST, 15, 0, -EINVAL },
        { "without a body", 0, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 0, 0, -EINVAL },
        { "change a link", 0, RTM_NEWLINK, NLM_F_REQUEST, 16, 4, -EPERM },
        { "remove an address", 0, RTM_DELADDR, NLM_F_REQUEST, 16, 4, -EPERM },
        { "routes", 0, RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, 16, 0, -EOPNOTSUPP },
        { "none of these", 0, 200, NLM_F_REQUEST, 16, 0, -EOPNOTSUPP },
        { "no request", 0, RTM_GETLINK, 0, 16, 4, 0 },
        { "longer than what was sent", 33, RTM_GETLINK, NLM_F_REQUEST, 16, 4, 0 },
        { "without end", UINT32_MAX, RTM_GETLINK, NLM_F_REQUEST, 16, 4, 0 },
        { "shorter than its head", 15, RTM_GETLINK, NLM_F_REQUEST, 16, 4, 0 },
        { "of no length", 0x80000000, RTM_GETLINK, NLM_F_REQUEST, 16, 4, 0 },
    };
    start();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct file *file = socket_new();
        struct ifinfomsg body = { .ifi_index = rows[i].index };
        uint8_t buf[8192];
        uint32_t size = (uint32_t)sizeof(struct nlmsghdr) + rows[i].size;
        CHECK_EQ(ask(file, rows[i].claimed ? rows[i].claimed : size, rows[i].type, rows[i].flags,
                     &body, rows[i].size),
                 size, "%s", rows[i].name);
        int64_t n = hear(file, buf, sizeof(buf), 0);
        if (!rows[i].want) {
            CHECK_EQ(n, -EAGAIN, "%s", rows[i].name);
        } else {
            struct nlmsghdr head;
            struct nlmsgerr error;
            memcpy(&head, buf, sizeof(head));
            memcpy(&error, buf + sizeof(head), sizeof(error));
            CHECK(n >= (int64_t)sizeof(head) && head.nlmsg_len <= n, "%s: %ld bytes", rows[i].name,
                  (long)n);
            CHECK_EQ(head.nlmsg_seq, 5, "%s", rows[i].name);
            CHECK_EQ(rows[i].want < 0 ? error.error : head.nlmsg_type, rows[i].want, "%s",
                     rows[i].name);
            CHECK_EQ(hear(file, buf, sizeof(buf), 0), -EAGAIN, "%s: that was all", rows[i].name);
        }
        file_unref(file);
    }
}

/* By name, among attributes whose lengths are the program's word. */
static void names(void)
{
    static const struct {
        const char *name;
        uint16_t first_size, first_type, name_size;
        int want;
    } rows[] = {
        { "good", 0, 0, 9, RTM_NEWLINK },
        { "behind another", 8, 99, 9, RTM_NEWLINK },
        { "behind one of an odd size", 7, 99, 9, RTM_NEWLINK },
        { "behind one without size", 3, 99, 9, -EINVAL },
        { "behind one that has no end", 0xffff, 99, 9, -EINVAL },
        { "longer than the message", 0, 0, 0xffff, -EINVAL },
        { "empty", 0, 0, 4, -ENODEV },
    };
    start();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct file *file = socket_new();
        uint8_t body[64] = { 0 }, buf[4096];
        uint32_t at = sizeof(struct ifinfomsg);
        if (rows[i].first_size) {
            struct rtattr a = { rows[i].first_size, rows[i].first_type };
            memcpy(body + at, &a, sizeof(a));
            at += 8;
        }
        struct rtattr a = { rows[i].name_size, IFLA_IFNAME };
        memcpy(body + at, &a, sizeof(a));
        memcpy(body + at + 4, "eth0", rows[i].name_size > 4 ? 5 : 0);
        at += 12;
        (void)ask(file, (uint32_t)sizeof(struct nlmsghdr) + at, RTM_GETLINK, NLM_F_REQUEST, body,
                  at);
        int64_t n = hear(file, buf, sizeof(buf), 0);
        struct nlmsghdr head;
        int32_t error;
        memcpy(&head, buf, sizeof(head));
        memcpy(&error, buf + sizeof(head), sizeof(error));
        CHECK(n > 0, "%s", rows[i].name);
        CHECK_EQ(rows[i].want < 0 ? error : head.nlmsg_type, rows[i].want, "%s", rows[i].name);
        file_unref(file);
    }
}

/* What there is room for, looking first, and a socket that nobody reads from. */
static void receiving(void)
{
    start();
    struct file *file = socket_new();
    uint8_t buf[8192], body[16] = { 0 };
    struct net_extra extra;
    struct iovec iov = { buf, 20 };
    uint32_t size = sizeof(struct nlmsghdr) + sizeof(body);
    CHECK_EQ(hear(file, buf, sizeof(buf), 0), -EAGAIN, "nothing");
    CHECK_EQ(ask(file, size, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, body, sizeof(body)), size,
             "ask");
    int64_t whole = hear(file, buf, 1, MSG_PEEK | MSG_TRUNC);
    CHECK(whole > 100, "whole size: %ld", (long)whole);
    CHECK_EQ(hear(file, buf, 10, MSG_PEEK), 10, "a part");
    memset(buf, 0xee, sizeof(buf));
    CHECK_EQ(netlink_receive(file, &iov, 1, 20, 0, &extra), 20, "cut");
    CHECK_EQ(extra.flags, MSG_TRUNC, "cut");
    CHECK_EQ(extra.address.size, sizeof(struct sockaddr_nl), "sender");
    CHECK_EQ(buf[20], 0xee, "written beyond");
    CHECK_EQ(hear(file, buf, sizeof(buf), 0), -EAGAIN, "the rest is gone");
    int64_t n;
    int asked = 0;
    do
        n = ask(file, size, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, body, sizeof(body));
    while (n > 0 && asked++ < 100000);
    CHECK_EQ(n, -ENOBUFS, "full after %d", asked);
    while ((n = hear(file, buf, sizeof(buf), 0)) > 0)
        asked--;
    CHECK_EQ(n, -EAGAIN, "empty");
    CHECK_EQ(asked, 0, "all were there");
    file_unref(file);
}

#define TEST(name)                        \
    static void test_##name(void **state) \
    {                                     \
        (void)state;                      \
        vfs_child(name);                  \
    }
TEST(links)
TEST(addresses)
TEST(results)
TEST(ioctls)
TEST(kinds)
TEST(requests)
TEST(names)
TEST(receiving)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),   cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_results), cmocka_unit_test(test_ioctls),
        cmocka_unit_test(test_kinds),   cmocka_unit_test(test_requests),
        cmocka_unit_test(test_names),   cmocka_unit_test(test_receiving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
