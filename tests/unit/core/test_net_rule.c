/* What network rules cover and contain, and how they are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "core/net_rule.h"
#include "util/fs.h"

#define L MANIFEST_NET_LISTEN
#define C MANIFEST_NET_CONNECT
#define T MANIFEST_NET_TCP
#define U MANIFEST_NET_UDP

static void address(const char *text, uint8_t ret[static 16])
{
    uint8_t ipv4[4];
    if (inet_pton(AF_INET, text, ipv4) == 1)
        net_map_ipv4(ipv4, ret);
    else
        assert_int_equal(inet_pton(AF_INET6, text, ret), 1);
}

/* A rule in short; ports -1: ephemeral. */
struct given {
    uint32_t action, type;
    const char *address;
    uint32_t prefix; /* of all 128 bits */
    int low, high;
};

static struct manifest_net rule(const struct given *g)
{
    struct manifest_net r = { .action = g->action, .type = g->type, .prefix = g->prefix };
    address(g->address, r.address);
    r.flags = g->low < 0 ? (uint32_t)MANIFEST_NET_EPHEMERAL : 0;
    r.port_low = g->low < 0 ? 0 : (uint16_t)g->low;
    r.port_high = g->low < 0 ? 0 : (uint16_t)g->high;
    return r;
}

static const struct {
    const char *name;
    struct given rule;
    uint32_t action, type;
    const char *address;
    uint16_t port;
    bool want;
} covered[] = {
    /* clang-format off */
    { "the same", { L, T, "127.0.0.1", 128, 80, 80 }, L, T, "127.0.0.1", 80, true },
    { "another action", { L, T, "127.0.0.1", 128, 80, 80 }, C, T, "127.0.0.1", 80, false },
    { "another type", { L, T, "127.0.0.1", 128, 80, 80 }, L, U, "127.0.0.1", 80, false },
    { "any type", { L, 0, "127.0.0.1", 128, 80, 80 }, L, U, "127.0.0.1", 80, true },
    { "no type, a rule for one", { L, T, "127.0.0.1", 128, 80, 80 }, L, 0, "127.0.0.1", 80, false },
    { "another address", { L, T, "127.0.0.1", 128, 80, 80 }, L, T, "127.0.0.2", 80, false },
    { "a port below", { L, T, "127.0.0.1", 128, 80, 90 }, L, T, "127.0.0.1", 79, false },
    { "the first port", { L, T, "127.0.0.1", 128, 80, 90 }, L, T, "127.0.0.1", 80, true },
    { "the last port", { L, T, "127.0.0.1", 128, 80, 90 }, L, T, "127.0.0.1", 90, true },
    { "a port above", { L, T, "127.0.0.1", 128, 80, 90 }, L, T, "127.0.0.1", 91, false },
    { "mapped is IPv4", { C, T, "127.0.0.1", 128, 80, 80 }, C, T, "::ffff:127.0.0.1", 80, true },
    { "::1 is not 127.0.0.1", { C, T, "::1", 128, 80, 80 }, C, T, "127.0.0.1", 80, false },
    { "prefix, first", { C, T, "10.0.0.0", 104, 0, 65535 }, C, T, "10.0.0.0", 5, true },
    { "prefix, last", { C, T, "10.0.0.0", 104, 0, 65535 }, C, T, "10.255.255.255", 5, true },
    { "prefix, behind", { C, T, "10.0.0.0", 104, 0, 65535 }, C, T, "11.0.0.0", 5, false },
    { "prefix inside a byte", { C, T, "172.16.0.0", 108, 0, 65535 }, C, T, "172.31.1.1", 5, true },
    { "prefix inside a byte, behind", { C, T, "172.16.0.0", 108, 0, 9 }, C, T, "172.32.0.0", 5, false },
    { "IPv6 prefix", { C, U, "2001:db8::", 32, 53, 53 }, C, U, "2001:db8:1::7", 53, true },
    { "IPv6 prefix, beside", { C, U, "2001:db8::", 32, 53, 53 }, C, U, "2001:db9::", 53, false },
    { "all of IPv4", { L, T, "0.0.0.0", 96, 80, 80 }, L, T, "192.168.1.1", 80, true },
    { "all of IPv4 is no IPv6", { L, T, "0.0.0.0", 96, 80, 80 }, L, T, "::", 80, false },
    { "everything, IPv6", { C, 0, "::", 0, 0, 65535 }, C, U, "fe80::1", 1, true },
    { "everything, IPv4", { C, 0, "::", 0, 0, 65535 }, C, T, "8.8.8.8", 65535, true },
    { "ephemeral, any to listen", { L, T, "127.0.0.1", 128, -1, 0 }, L, T, "127.0.0.1", 0, true },
    { "ephemeral, one to listen", { L, T, "127.0.0.1", 128, -1, 0 }, L, T, "127.0.0.1", 32768, true },
    { "ephemeral, not low", { L, T, "127.0.0.1", 128, -1, 0 }, L, T, "127.0.0.1", 32767, false },
    { "ephemeral, to connect", { C, T, "127.0.0.1", 128, -1, 0 }, C, T, "127.0.0.1", 65535, true },
    { "ephemeral, to port 0", { C, T, "127.0.0.1", 128, -1, 0 }, C, T, "127.0.0.1", 0, false },
    { "ephemeral elsewhere", { C, T, "127.0.0.1", 128, -1, 0 }, C, T, "127.0.0.2", 50000, false },
    { "a number is not port 0", { L, T, "127.0.0.1", 128, 1, 65535 }, L, T, "127.0.0.1", 0, false },
    /* clang-format on */
};

static void test_covers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(covered); i++) {
        struct manifest_net r = rule(&covered[i].rule);
        struct net_endpoint at = { .port = covered[i].port };
        address(covered[i].address, at.address);
        if (net_rule_wrong(&r))
            fail_msg("%s: the rule itself: %s", covered[i].name, net_rule_wrong(&r));
        if (net_rule_covers(&r, covered[i].action, covered[i].type, &at) != covered[i].want)
            fail_msg("%s: want %d", covered[i].name, covered[i].want);
    }
}

static const struct {
    const char *name;
    struct given wide, narrow;
    bool want;
} contained[] = {
    /* clang-format off */
    { "itself", { L, T, "::1", 128, 80, 80 }, { L, T, "::1", 128, 80, 80 }, true },
    { "any type", { L, 0, "::1", 128, 80, 80 }, { L, T, "::1", 128, 80, 80 }, true },
    { "one of two types", { L, T, "::1", 128, 80, 80 }, { L, 0, "::1", 128, 80, 80 }, false },
    { "another action", { L, T, "::1", 128, 80, 80 }, { C, T, "::1", 128, 80, 80 }, false },
    { "a wider prefix", { C, T, "10.0.0.0", 104, 80, 80 }, { C, T, "10.1.0.0", 112, 80, 80 }, true },
    { "a longer prefix", { C, T, "10.1.0.0", 112, 80, 80 }, { C, T, "10.0.0.0", 104, 80, 80 }, false },
    { "other ports", { C, T, "::1", 128, 80, 90 }, { C, T, "::1", 128, 85, 91 }, false },
    { "a port of the class", { C, T, "::1", 128, -1, 0 }, { C, T, "::1", 128, 40000, 40000 }, true },
    { "to listen, a number", { L, T, "::1", 128, -1, 0 }, { L, T, "::1", 128, 40000, 40000 }, false },
    { "a port below the class", { C, T, "::1", 128, -1, 0 }, { C, T, "::1", 128, 80, 80 }, false },
    { "the class in the class", { L, T, "::", 0, -1, 0 }, { L, T, "::1", 128, -1, 0 }, true },
    { "the class in all ports", { L, T, "::1", 128, 0, 65535 }, { L, T, "::1", 128, -1, 0 }, true },
    { "to listen, without 0", { L, T, "::1", 128, 1, 65535 }, { L, T, "::1", 128, -1, 0 }, false },
    { "to connect, without 0", { C, T, "::1", 128, 1024, 65535 }, { C, T, "::1", 128, -1, 0 }, true },
    { "not up to the end", { C, T, "::1", 128, 0, 60999 }, { C, T, "::1", 128, -1, 0 }, false },
    /* clang-format on */
};

static void test_contains(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(contained); i++) {
        struct manifest_net wide = rule(&contained[i].wide), narrow = rule(&contained[i].narrow);
        if (net_rule_contains(&wide, &narrow) != contained[i].want)
            fail_msg("%s: want %d", contained[i].name, contained[i].want);
    }
}

static const struct {
    struct given rule;
    const char *want;
} texts[] = {
    { { L, T, "127.0.0.1", 128, 80, 80 }, "listen tcp 127.0.0.1:80" },
    { { C, U, "10.0.0.0", 104, 53, 53 }, "connect udp 10.0.0.0/8:53" },
    { { L, 0, "::", 0, 0, 65535 }, "listen *:*" },
    { { L, T, "0.0.0.0", 96, 80, 80 }, "listen tcp 0.0.0.0:80" },
    { { C, T, "0.0.0.0", 96, 80, 80 }, "connect tcp 0.0.0.0/0:80" },
    { { C, T, "::1", 128, 1, 65535 }, "connect tcp [::1]:1-65535" },
    { { C, T, "fe80::", 10, -1, 0 }, "connect tcp [fe80::/10]:ephemeral" },
    { { C, T, "2001:db8:0:1:0:0:0:1", 128, 0, 0 }, "connect tcp [2001:db8:0:1::1]:0" },
    { { C, T, "1:0:0:2:0:0:3:4", 128, 7, 7 }, "connect tcp [1::2:0:0:3:4]:7" },
    { { C, T, "1:2:3:4:5:6:0:8", 128, 7, 7 }, "connect tcp [1:2:3:4:5:6:0:8]:7" },
    { { C, T, "1:2:3:4:5:6::", 128, 7, 7 }, "connect tcp [1:2:3:4:5:6::]:7" },
    { { C, T, "abcd:abcd:abcd:abcd:abcd:abcd:abcd:abc0", 124, 10000, 65535 },
      "connect tcp [abcd:abcd:abcd:abcd:abcd:abcd:abcd:abc0/124]:10000-65535" },
};

static void test_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct manifest_net r = rule(&texts[i].rule);
        char text[NET_TEXT_MAX];
        memset(text, 'x', sizeof(text));
        assert_int_equal(net_rule_text(&r, text), strlen(texts[i].want));
        assert_string_equal(text, texts[i].want);
    }
    struct net_endpoint at = { .port = 65535 };
    char text[NET_TEXT_MAX];
    address("::ffff:1.2.3.4", at.address);
    assert_int_equal(net_endpoint_text(&at, text), 13);
    assert_string_equal(text, "1.2.3.4:65535");
    address("1::", at.address);
    net_endpoint_text(&at, text);
    assert_string_equal(text, "[1::]:65535");
}

/* Longest run of zeros, and every other address, as the C library has them (RFC 5952). */
static void test_ipv6_text(void **state)
{
    (void)state;
    for (unsigned mask = 0; mask < 256; mask++) {
        struct net_endpoint at = { .port = 1 };
        char text[NET_TEXT_MAX], plain[INET6_ADDRSTRLEN], want[NET_TEXT_MAX];
        for (unsigned i = 0; i < 8; i++)
            if (mask >> i & 1)
                at.address[2 * i + (i & 1)] = (uint8_t)(0x10 + i);
        if (net_is_ipv4(at.address))
            continue;
        inet_ntop(AF_INET6, at.address, plain, sizeof(plain));
        if (strchr(plain, '.'))
            continue; /* glibc writes ::a.b.c.d, an address that is out of use */
        snprintf(want, sizeof(want), "[%s]:1", plain);
        net_endpoint_text(&at, text);
        assert_string_equal(text, want);
    }
}

static void test_connect(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { "0.0.0.0", "127.0.0.1" }, { "::", "::1" },          { "::ffff:0.0.0.0", "127.0.0.1" },
        { "10.0.0.0", "10.0.0.0" }, { "fe80::1", "fe80::1" }, { "127.0.0.2", "127.0.0.2" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        struct net_endpoint at = { .port = 9 };
        uint8_t want[16];
        address(pairs[i][0], at.address);
        address(pairs[i][1], want);
        net_endpoint_connect(&at);
        assert_memory_equal(at.address, want, 16);
        assert_int_equal(at.port, 9);
    }
}

static void test_wrong(void **state)
{
    (void)state;
    const struct given good = { C, T, "10.0.0.0", 104, 80, 90 };
    for (int n = 0; n < 11; n++) {
        struct manifest_net r = rule(&good);
        switch (n) {
        case 0: r.action = 0; break;
        case 1: r.action = 3; break;
        case 2: r.type = 3; break;
        case 3: r.prefix = 129; break;
        case 4: r.prefix = 102; break; /* 10 has bits behind it */
        case 5: r.address[15] = 1; break;
        case 6: r.port_low = 91; break;
        case 7: r.flags = 2; break;
        case 8: r.flags = MANIFEST_NET_EPHEMERAL; break;
        case 9: r.reserved = 1; break;
        case 10: assert_null(net_rule_wrong(&r)); continue;
        }
        if (!net_rule_wrong(&r))
            fail_msg("case %d: nothing wrong", n);
    }
}

static void test_order(void **state)
{
    (void)state;
    static const struct given sorted[] = {
        { L, 0, "::1", 128, 80, 80 },     { L, T, "::", 0, 80, 80 },
        { L, T, "::", 0, 80, 81 },        { L, T, "::", 0, 81, 81 },
        { L, T, "::", 1, 80, 80 },        { L, T, "0.0.0.0", 96, -1, 0 },
        { L, T, "127.0.0.1", 128, 0, 0 }, { L, T, "127.0.0.1", 128, -1, 0 },
        { L, U, "::", 0, 1, 1 },          { C, 0, "::", 0, 1, 1 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(sorted); i++)
        for (size_t k = 0; k < ARRAY_SIZE(sorted); k++) {
            struct manifest_net a = rule(&sorted[i]), b = rule(&sorted[k]);
            int got = net_rule_compare(&a, &b);
            if ((got < 0) != (i < k) || (got > 0) != (i > k))
                fail_msg("%zu and %zu: %d", i, k, got);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_covers),  cmocka_unit_test(test_contains),
        cmocka_unit_test(test_text),    cmocka_unit_test(test_ipv6_text),
        cmocka_unit_test(test_connect), cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
