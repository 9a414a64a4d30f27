/* src/enclave/net/rules.c: what sockaddr a rule covers, and what is told of a refusal. The manifest, the audit line
 * and the remark are faked here. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "border/border.h"
#include "core/attr.h"
#include "core/manifest_view.h"
#include "core/net_rule.h"
#include "net/rules.h"
#include "process/process.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- what rules.c needs ---- */

struct manifest_view g_manifest;
static const struct manifest_node node = { .label = { 0, 4 } };

const struct manifest_node *process_node(void)
{
    return &node;
}

static struct {
    unsigned count, notes;
    int error;
    uint64_t value;
    char text[NET_TEXT_MAX], note[256];
} g_told;

void audit(enum ocall_audit_event event, int error, uint64_t value, const char *path,
           uint64_t path_size)
{
    assert_int_equal(event, OCALL_AUDIT_NET);
    assert_true(path_size < sizeof(g_told.text));
    g_told.count++;
    g_told.error = error;
    g_told.value = value;
    memcpy(g_told.text, path, path_size);
    g_told.text[path_size] = '\0';
}

void log_note(const char *format, ...)
{
    va_list args;
    g_told.notes++;
    va_start(args, format);
    vsnprintf(g_told.note, sizeof(g_told.note), format, args);
    va_end(args);
}

/* ---- addresses ---- */

static size_t make_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
                                .sin6_port = htons(port),
                                .sin6_flowinfo = 7 };
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(ret, &in, sizeof(in));
        return sizeof(in);
    }
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    memcpy(ret, &in6, sizeof(in6));
    return sizeof(in6);
}

static int check(enum net_rule_action action, const char *text, uint16_t port, int type)
{
    struct sockaddr_storage address;
    size_t size = make_address(text, port, &address);
    return net_rule_check(action, &address, size, type);
}

#define MAPPED(a, b, c, d)                                           \
    {                                                                \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, (a), (b), (c), (d) \
    }

static const struct manifest_net rules[] = {
    /* clang-format off */
    { MAPPED(0, 0, 0, 0), MANIFEST_NET_LISTEN, MANIFEST_NET_UDP, 96, 53, 53, 0, 0 },
    { MAPPED(127, 0, 0, 1), MANIFEST_NET_LISTEN, MANIFEST_NET_UDP, 128, 0, 0, MANIFEST_NET_EPHEMERAL, 0 },
    { MAPPED(127, 0, 0, 1), MANIFEST_NET_LISTEN, MANIFEST_NET_TCP, 128, 8080, 8080, 0, 0 },
    { MAPPED(127, 0, 0, 1), MANIFEST_NET_LISTEN, MANIFEST_NET_TCP, 128, 0, 0, MANIFEST_NET_EPHEMERAL, 0 },
    { MAPPED(10, 0, 0, 0), MANIFEST_NET_CONNECT, MANIFEST_NET_ANY, 104, 443, 443, 0, 0 },
    { MAPPED(127, 0, 0, 1), MANIFEST_NET_CONNECT, MANIFEST_NET_TCP, 128, 0, 0, MANIFEST_NET_EPHEMERAL, 0 },
    { { 0xfe, 0x80 }, MANIFEST_NET_CONNECT, MANIFEST_NET_UDP, 10, 1, 65535, 0, 0 },
    /* clang-format on */
};

static int setup(void **state UNUSED)
{
    g_manifest = (struct manifest_view){
        .strings = "node", .node = &node, .net = rules, .net_count = ARRAY_SIZE(rules)
    };
    memset(&g_told, 0, sizeof(g_told));
    return 0;
}

static const struct {
    const char *name;
    enum net_rule_action action;
    const char *address;
    uint16_t port;
    int type;
    int want;
    uint64_t value; /* of the audit line */
    const char *text;
} cases[] = {
    /* clang-format off */
    { "to listen", NET_LISTEN, "127.0.0.1", 8080, SOCK_STREAM, 0, 0, NULL },
    { "mapped", NET_LISTEN, "::ffff:127.0.0.1", 8080, SOCK_STREAM, 0, 0, NULL },
    { "flags of socket()", NET_LISTEN, "127.0.0.1", 8080, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, 0, NULL },
    { "another port", NET_LISTEN, "127.0.0.1", 8081, SOCK_STREAM, -EACCES, 0x101, "127.0.0.1:8081" },
    { "UDP", NET_LISTEN, "127.0.0.1", 8080, SOCK_DGRAM, -EACCES, 0x201, "127.0.0.1:8080" },
    { "everywhere", NET_LISTEN, "0.0.0.0", 8080, SOCK_STREAM, -EACCES, 0x101, "0.0.0.0:8080" },
    { "mapped is told as IPv4", NET_LISTEN, "::ffff:127.0.0.1", 8081, SOCK_STREAM, -EACCES, 0x101,
      "127.0.0.1:8081" },
    { "any port", NET_LISTEN, "127.0.0.1", 0, SOCK_STREAM, 0, 0, NULL },
    { "any port elsewhere", NET_LISTEN, "0.0.0.0", 0, SOCK_STREAM, -EACCES, 0x101, "0.0.0.0:0" },
    { "any port of IPv6", NET_LISTEN, "::1", 0, SOCK_STREAM, -EACCES, 0x101, "[::1]:0" },
    { "a free port, found before", NET_LISTEN, "127.0.0.1", 40000, SOCK_STREAM, 0, 0, NULL },
    { "a prefix", NET_CONNECT, "10.9.9.9", 443, SOCK_STREAM, 0, 0, NULL },
    { "of either type", NET_CONNECT, "10.9.9.9", 443, SOCK_DGRAM, 0, 0, NULL },
    { "of no type", NET_CONNECT, "10.9.9.9", 443, SOCK_RAW, 0, 0, NULL },
    { "of no type, told so", NET_CONNECT, "11.9.9.9", 443, SOCK_RAW, -EACCES, 2, "11.9.9.9:443" },
    { "beside the prefix", NET_CONNECT, "11.9.9.9", 443, SOCK_STREAM, -EACCES, 0x102, "11.9.9.9:443" },
    { "itself", NET_CONNECT, "127.0.0.1", 50000, SOCK_STREAM, 0, 0, NULL },
    { "itself, by the empty address", NET_CONNECT, "0.0.0.0", 50000, SOCK_STREAM, 0, 0, NULL },
    { "told as what it reaches", NET_CONNECT, "0.0.0.0", 80, SOCK_STREAM, -EACCES, 0x102, "127.0.0.1:80" },
    { "the class is not all", NET_CONNECT, "127.0.0.1", 6379, SOCK_STREAM, -EACCES, 0x102, "127.0.0.1:6379" },
    { "IPv6", NET_CONNECT, "febf::1", 5, SOCK_DGRAM, 0, 0, NULL },
    { "IPv6, beside", NET_CONNECT, "fec0::1", 5, SOCK_DGRAM, -EACCES, 0x202, "[fec0::1]:5" },
    /* clang-format on */
};

static void test_cases(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        unsigned before = g_told.count;
        int got = check(cases[i].action, cases[i].address, cases[i].port, cases[i].type);
        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
        if (g_told.count != before + (got != 0))
            fail_msg("%s: %u audit lines", cases[i].name, g_told.count - before);
        if (got && (g_told.error != EACCES || g_told.value != cases[i].value ||
                    strcmp(g_told.text, cases[i].text) != 0))
            fail_msg("%s: told %#lx '%s'", cases[i].name, (unsigned long)g_told.value, g_told.text);
    }
}

static void test_no_rules(void **state UNUSED)
{
    g_manifest.net_count = 0;
    assert_int_equal(check(NET_LISTEN, "127.0.0.1", 0, SOCK_STREAM), -EACCES);
    assert_int_equal(check(NET_CONNECT, "127.0.0.1", 50000, SOCK_STREAM), -EACCES);
}

/* What is no address of these families, or cut off: never allowed by a rule that would fit its bytes. */
static void test_odd_addresses(void **state UNUSED)
{
    struct sockaddr_storage a;
    size_t size = make_address("10.0.0.1", 443, &a);
    for (size_t n = 0; n < size; n++)
        assert_int_equal(net_rule_check(NET_CONNECT, &a, n, SOCK_STREAM), -EINVAL);
    size = make_address("fe80::1", 5, &a);
    for (size_t n = 0; n < 24; n++)
        assert_int_equal(net_rule_check(NET_CONNECT, &a, n, SOCK_DGRAM), -EINVAL);
    assert_int_equal(net_rule_check(NET_CONNECT, &a, 24, SOCK_DGRAM),
                     0); /* without the scope, as Linux */
    assert_int_equal(net_rule_check(NET_CONNECT, &a, size, SOCK_DGRAM), 0);
    a.ss_family = AF_NETLINK;
    assert_int_equal(net_rule_check(NET_CONNECT, &a, size, SOCK_DGRAM), -EAFNOSUPPORT);
    a.ss_family = AF_UNIX;
    assert_int_equal(net_rule_check(NET_LISTEN, &a, size, SOCK_STREAM), -EAFNOSUPPORT);
    assert_int_equal(g_told.count, 0);

    size = make_address("127.0.0.1", 8081, &a);
    a.ss_family = AF_UNSPEC;
    assert_int_equal(net_rule_check(NET_CONNECT, &a, size, SOCK_DGRAM), 0);
    assert_int_equal(net_rule_check(NET_CONNECT, &a, 2, SOCK_DGRAM), 0);
    assert_int_equal(net_rule_check(NET_LISTEN, &a, size, SOCK_STREAM), -EACCES);
    assert_int_equal(net_rule_check(NET_LISTEN, &a, 2, SOCK_STREAM), -EINVAL);
    assert_string_equal(g_told.text, "127.0.0.1:8081");
}

static void test_answers(void **state UNUSED)
{
    static const struct {
        const char *address;
        uint16_t port;
        bool want;
    } locals[] = {
        { "0.0.0.0", 53, true },   { "192.168.0.1", 53, true }, { "127.0.0.1", 40000, false },
        { "127.0.0.1", 0, false }, { "::", 53, false },         { "127.0.0.1", 8080, false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(locals); i++) {
        struct sockaddr_storage a;
        size_t size = make_address(locals[i].address, locals[i].port, &a);
        if (net_rule_answers(&a, size) != locals[i].want)
            fail_msg("%s:%u: want %d", locals[i].address, locals[i].port, locals[i].want);
        assert_false(net_rule_answers(&a, 4));
    }
    /* All ports have numbers, but who asks for any is a client. */
    static const struct manifest_net all = { .action = MANIFEST_NET_LISTEN,
                                             .port_high = UINT16_MAX };
    struct sockaddr_storage a;
    g_manifest.net = &all;
    g_manifest.net_count = 1;
    size_t size = make_address("::1", 0, &a);
    assert_int_equal(net_rule_check(NET_LISTEN, &a, size, SOCK_DGRAM), 0);
    assert_false(net_rule_answers(&a, size));
    size = make_address("::1", 9, &a);
    assert_true(net_rule_answers(&a, size));
    assert_int_equal(g_told.count, 0);
}

/* A kernel that gives ports from 1024 on: the one that it gave is of the class, of that type only. */
static void test_given(void **state UNUSED)
{
    struct sockaddr_storage a;
    size_t size = make_address("127.0.0.1", 2000, &a);
    assert_int_equal(check(NET_CONNECT, "127.0.0.1", 2000, SOCK_STREAM), -EACCES);
    net_rule_given(&a, size, SOCK_DGRAM);
    assert_int_equal(check(NET_CONNECT, "127.0.0.1", 2000, SOCK_STREAM), -EACCES);
    net_rule_given(&a, 4, SOCK_STREAM);
    assert_int_equal(check(NET_CONNECT, "127.0.0.1", 2000, SOCK_STREAM), -EACCES);
    net_rule_given(&a, size, SOCK_STREAM | SOCK_NONBLOCK);
    assert_int_equal(check(NET_CONNECT, "127.0.0.1", 2000, SOCK_STREAM), 0);
    assert_int_equal(check(NET_CONNECT, "127.0.0.1", 2001, SOCK_STREAM), -EACCES);
    assert_int_equal(check(NET_CONNECT, "127.0.0.2", 2000, SOCK_STREAM), -EACCES);
    /* Rules with numbers are not for it. */
    assert_int_equal(check(NET_CONNECT, "fe80::1", 2000, SOCK_STREAM), -EACCES);
}

/* Every refusal is in the audit file; stderr has the first ones, with what helps. */
static void test_remarks(void **state UNUSED)
{
    for (uint16_t i = 0; i < 200; i++)
        assert_int_equal(check(NET_CONNECT, "11.0.0.1", (uint16_t)(1 + i), SOCK_STREAM), -EACCES);
    assert_int_equal(g_told.count, 200);
    assert_true(g_told.notes <= 16);
}

static void test_remark(void **state UNUSED)
{
    assert_int_equal(check(NET_CONNECT, "11.0.0.1", 80, SOCK_STREAM), -EACCES);
    assert_string_equal(g_told.note, "no rule lets 'node' connect to 11.0.0.1:80: EACCES. "
                                     "'--connect 11.0.0.1:80/tcp' lets it");
    assert_int_equal(check(NET_LISTEN, "::1", 80, SOCK_DGRAM), -EACCES);
    assert_string_equal(g_told.note, "no rule lets 'node' listen at [::1]:80: EACCES. "
                                     "'--listen [::1]:80/udp' lets it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_remark, setup), /* first: remarks are counted */
        cmocka_unit_test_setup(test_cases, setup),
        cmocka_unit_test_setup(test_no_rules, setup),
        cmocka_unit_test_setup(test_odd_addresses, setup),
        cmocka_unit_test_setup(test_answers, setup),
        cmocka_unit_test_setup(test_given, setup),
        cmocka_unit_test_setup(test_remarks, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
