/* Network rules: the options, the text in a cascade, and what becomes of traced sockets. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "core/net_rule.h"
#include "manifest/net.h"
#include "util/fs.h"

#define L MANIFEST_NET_LISTEN
#define C MANIFEST_NET_CONNECT

static const struct {
    uint32_t action;
    const char *value;
    const char *want; /* the rule; or, after "!", what the message holds */
} options[] = {
    { L, "8080", "listen *:8080" },
    { L, "8080/tcp", "listen tcp *:8080" },
    { L, "8000-8010", "listen *:8000-8010" },
    { L, "*", "listen *:*" },
    { L, "*:80/udp", "listen udp *:80" },
    { L, ":80", "listen *:80" },
    { L, "127.0.0.1:8080", "listen 127.0.0.1:8080" },
    { L, "127.0.0.1", "listen 127.0.0.1:*" },
    { L, "127.0.0.1:*", "listen 127.0.0.1:*" },
    { L, "0", "listen *:ephemeral" },
    { L, "127.0.0.1:0/tcp", "listen tcp 127.0.0.1:ephemeral" },
    { L, "127.0.0.1:ephemeral", "listen 127.0.0.1:ephemeral" },
    { L, "0.0.0.0:80", "listen 0.0.0.0:80" },
    { L, "[::]:80", "listen *:80" },
    { L, "[::1]:443", "listen [::1]:443" },
    { L, "::1", "listen [::1]:*" },
    { L, "1-65535", "listen *:1-65535" },
    { C, "*", "connect *:*" },
    { C, "*:443", "connect *:443" },
    { C, "10.0.0.0/8:5432", "connect 10.0.0.0/8:5432" },
    { C, "10.1.2.3/8:5432/tcp", "connect tcp 10.0.0.0/8:5432" },
    { C, "10.0.0.1", "connect 10.0.0.1:*" },
    { C, "10.0.0.1/udp", "connect udp 10.0.0.1:*" },
    { C, "0.0.0.0/0:443", "connect 0.0.0.0/0:443" },
    { C, "0.0.0.0:80", "connect 127.0.0.1:80" },
    { C, "[::]:80", "connect [::1]:80" },
    { C, "10.0.0.1:0", "connect 10.0.0.1:0" },
    { C, "[2001:db8::/32]:53", "connect [2001:db8::/32]:53" },
    { C, "[2001:db8::]/32:53", "connect [2001:db8::/32]:53" },
    { C, "2001:db8::/32", "connect [2001:db8::/32]:*" },
    { C, "[::ffff:10.0.0.1]:53", "connect 10.0.0.1:53" },
    { C, "127.0.0.1:ephemeral", "connect 127.0.0.1:ephemeral" },
    { L, "", "!wanted" },
    { L, "/tcp", "!no address" },
    { L, "65536", "!no address" },
    { L, "80-79", "!no address" },
    { L, "80-", "!no address" },
    { L, "80-x", "!no address" },
    { L, "host:80", "!'host' is no address" },
    { L, "127.0.0.1:", "!'' is no port" },
    { L, "127.0.0.1:99999999999999999999", "!is no port" },
    { L, "[127.0.0.1]:80", "!wanted" },
    { L, "[::1:80", "!wanted" },
    { L, "[::1]80", "!wanted" },
    { C, "443", "!a port alone is '*:PORT'" },
    { C, "10.0.0.0/33:80", "!no address" },
    { C, "[::/129]:80", "!no address" },
    { C, "10.0.0/8:80", "!no address" },
    { C, "fe80::1%eth0", "!no address" },
    { C, "host:http", "!'http' is no port" },
};

static void test_options(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        struct err err = { 0 };
        CLEANUP(net_rules_done) struct net_rules rules = { 0 };
        char text[NET_TEXT_MAX] = "";
        const char *value = options[i].value, *want = options[i].want;
        int r = net_parse_option(options[i].action, value, &rules, &err);
        int checked = net_parse_option(options[i].action, value, NULL, NULL);
        if (want[0] == '!') {
            if (r != -EINVAL || checked != r || !strstr(err.text, want + 1) ||
                (value[0] && !strstr(err.text, value)))
                fail_msg("'%s': got %d, '%s'", value, r, err.text);
            continue;
        }
        if (r < 0)
            fail_msg("'%s': %s", value, err.text);
        assert_int_equal(r, 0);
        assert_int_equal(checked, 0);
        assert_int_equal(rules.count, 1);
        assert_null(net_rule_wrong(&rules.items[0]));
        net_rule_text(&rules.items[0], text);
        if (strcmp(text, want) != 0)
            fail_msg("'%s': got '%s', want '%s'", value, text, want);
        /* What is written is read, as the same. */
        struct manifest_net again;
        assert_int_equal(net_parse(text, &again), 0);
        assert_int_equal(net_rule_compare(&again, &rules.items[0]), 0);
    }
}

static void test_host(void **state UNUSED)
{
    struct err err = { 0 };
    CLEANUP(net_rules_done) struct net_rules rules = { 0 };
    assert_int_equal(net_parse_option(C, "no-such-host.invalid:80", NULL, &err), 1);
    assert_int_equal(net_parse_option(C, "no-such-host.invalid:80", &rules, &err), -ENOENT);
    assert_non_null(strstr(err.text, "'no-such-host.invalid' is no address and no host"));
    assert_int_equal(rules.count, 0);
    assert_int_equal(net_parse_option(C, "localhost:80/tcp", &rules, &err), 1);
    assert_true(rules.count >= 1);
    for (size_t i = 0; i < rules.count; i++) {
        char text[NET_TEXT_MAX];
        net_rule_text(&rules.items[i], text);
        assert_true(strcmp(text, "connect tcp 127.0.0.1:80") == 0 ||
                    strcmp(text, "connect tcp [::1]:80") == 0);
    }
}

static void test_strict_text(void **state UNUSED)
{
    static const char *const bad[] = {
        /* clang-format off */
        "", "listen", "listen ", "listen *", "listen 80", "Listen *:80", "listen  *:80", "listen *:80 ",
        "listen sctp *:80", "listen *:080", "listen *:80-80", "listen *:0", "listen *:0-65535", "listen ::1:80",
        "listen [::]:80", "connect [::/0]:80", "connect 10.0.0.1/8:80", "connect 10.0.0.1/32:80",
        "connect localhost:80", "connect *:80/tcp", "connect 0.0.0.0:80", "connect [::FFFF:1.2.3.4]:80",
        "connect [0:0::1]:80", "connect tcp udp *:80",
        /* clang-format on */
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct manifest_net rule;
        if (net_parse(bad[i], &rule) == 0)
            fail_msg("'%s' is taken", bad[i]);
    }
}

/* ---- traces ---- */

#define SOCKETS_MAX 8

/* A socket of process 0 or 1. "": no own address. */
struct given {
    uint32_t bits;
    uint32_t type;
    const char *address;
    uint16_t port;
    const char *own;
    uint16_t own_port;
    uint32_t process;
};

static size_t make_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
                                .sin6_port = htons(port),
                                .sin6_scope_id = 3 };
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(ret, &in, sizeof(in));
        return sizeof(in);
    }
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) != 1)
        return 0;
    memcpy(ret, &in6, sizeof(in6));
    return sizeof(in6);
}

struct world {
    struct trace trace;
    struct trace_process processes[2];
    struct trace_path path;
    struct trace_socket sockets[2][SOCKETS_MAX];
    struct sockaddr_storage addresses[2][SOCKETS_MAX], own[2][SOCKETS_MAX];
};

static char *root_argv[] = { "python3", "a.py", NULL };
static char *child_argv[] = { "true", NULL };

static void make(struct world *w, const struct given *given)
{
    memset(w, 0, sizeof(*w));
    w->path = (struct trace_path){ .path = "/usr/bin/x", .before.mode = 0100755 };
    w->trace = (struct trace){
        .processes = w->processes, .process_count = 2, .paths = &w->path, .path_count = 1
    };
    w->processes[0] = (struct trace_process){ .parent = TRACE_NO_PROCESS,
                                              .executable = "/usr/bin/python3.11",
                                              .elf_interpreter = TRACE_NO_PATH,
                                              .argv = root_argv,
                                              .argc = 2,
                                              .cwd = "/" };
    w->processes[1] = (struct trace_process){ .how = TRACE_HOW_EXEC,
                                              .executable = "/usr/bin/true",
                                              .elf_interpreter = TRACE_NO_PATH,
                                              .argv = child_argv,
                                              .argc = 1,
                                              .cwd = "/" };
    for (unsigned p = 0; p < 2; p++)
        w->processes[p].sockets = w->sockets[p];
    for (; given->bits; given++) {
        struct trace_process *p = &w->processes[given->process];
        size_t i = p->socket_count++;
        struct trace_socket *s = &p->sockets[i];
        *s = (struct trace_socket){ .bits = given->bits,
                                    .type = given->type,
                                    .path = TRACE_NO_PATH };
        s->address = &w->addresses[given->process][i];
        s->address_size =
            make_address(given->address, given->port, &w->addresses[given->process][i]);
        if (given->own) {
            s->local = &w->own[given->process][i];
            s->local_size = make_address(given->own, given->own_port, &w->own[given->process][i]);
        }
    }
}

/* The node's rules, joined by ", "; free(). */
static char *fill(const struct trace *const *traces, size_t count, size_t node,
                  const struct manifest_rules *rules)
{
    struct err err = { 0 };
    struct tree tree;
    assert_int_equal(tree_build(traces, count, rules, NULL, &tree, &err), 0);
    CLEANUP(cascade_free_p) struct cascade *c = cascade_new(2);
    struct cascade_entry *entry = calloc(1, sizeof(*entry));
    assert_non_null(c);
    assert_non_null(entry);
    struct cascade_node *n = &c->nodes[node];
    n->entries = entry;
    n->entry_count = 1;
    assert_true(
        cascade_start_copy(&tree.programs[tree.nodes[node].programs[0]].start, &entry->start));
    if (net_fill(n, &tree, node, traces, rules, NULL, &err) < 0)
        fail_msg("%s", err.text);
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (size_t i = 0; i < n->net_count; i++)
        fprintf(out, "%s%s", i ? ", " : "", n->net[i]);
    fclose(out);
    tree_done(&tree);
    return text;
}

#define B   TRACE_BOUND
#define TO  TRACE_CONNECTED
#define TCP SOCK_STREAM
#define UDP SOCK_DGRAM

static const struct {
    const char *name;
    struct given given[SOCKETS_MAX];
    const char *want, *child;
} traced[] = {
    /* clang-format off */
    { "nothing", { { 0 } }, "", "" },
    { "a server", { { B, TCP, "127.0.0.1", 8080, "127.0.0.1", 8080, 0 } }, "listen tcp 127.0.0.1:8080", "" },
    { "at every address", { { B, TCP, "0.0.0.0", 80, "0.0.0.0", 80, 0 } }, "listen tcp 0.0.0.0:80", "" },
    { "of both", { { B, TCP, "::", 80, "::", 80, 0 } }, "listen tcp *:80", "" },
    { "every address contains one",
      { { B, TCP, "0.0.0.0", 80, NULL, 0, 0 }, { B, TCP, "127.0.0.1", 80, NULL, 0, 0 } },
      "listen tcp 0.0.0.0:80", "" },
    { "a client", { { TO, TCP, "10.0.0.1", 5432, NULL, 0, 0 } }, "connect tcp 10.0.0.1:5432", "" },
    { "the same twice",
      { { TO, TCP, "10.0.0.1", 5432, NULL, 0, 0 }, { TO, TCP, "10.0.0.1", 5432, NULL, 0, 0 } },
      "connect tcp 10.0.0.1:5432", "" },
    { "mapped", { { TO, TCP, "::ffff:10.0.0.1", 5432, NULL, 0, 0 } }, "connect tcp 10.0.0.1:5432", "" },
    { "to this machine", { { TO, TCP, "0.0.0.0", 80, NULL, 0, 0 } }, "connect tcp 127.0.0.1:80", "" },
    { "a port of the kernel's choice",
      { { B, TCP, "127.0.0.1", 0, "127.0.0.1", 41234, 0 }, { TO, TCP, "127.0.0.1", 41234, NULL, 0, 0 } },
      "connect tcp 127.0.0.1:ephemeral, listen tcp 127.0.0.1:ephemeral", "" },
    { "even a low one",
      { { B, TCP, "127.0.0.1", 0, "127.0.0.1", 2000, 0 }, { TO, TCP, "127.0.0.1", 2000, NULL, 0, 0 } },
      "connect tcp 127.0.0.1:ephemeral, listen tcp 127.0.0.1:ephemeral", "" },
    { "bound by another process",
      { { B, TCP, "127.0.0.1", 0, "127.0.0.1", 41234, 0 }, { TO, TCP, "127.0.0.1", 41234, NULL, 0, 1 } },
      "listen tcp 127.0.0.1:ephemeral", "connect tcp 127.0.0.1:ephemeral" },
    { "found free, then bound",
      { { B, TCP, "127.0.0.1", 0, "127.0.0.1", 41234, 0 }, { B, TCP, "127.0.0.1", 41234, "127.0.0.1", 41234, 0 } },
      "listen tcp 127.0.0.1:ephemeral", "" },
    { "UDP's choice is not TCP's",
      { { B, UDP, "127.0.0.1", 0, "127.0.0.1", 41234, 0 }, { TO, TCP, "127.0.0.1", 41234, NULL, 0, 0 } },
      "connect tcp 127.0.0.1:41234, listen udp 127.0.0.1:ephemeral", "" },
    { "somebody else's server, at a high port",
      { { TO, TCP, "127.0.0.1", 41234, NULL, 0, 0 } }, "connect tcp 127.0.0.1:41234", "" },
    { "a datagram client", { { TO, UDP, "10.0.0.1", 53, "0.0.0.0", 51000, 0 } }, "connect udp 10.0.0.1:53", "" },
    { "a server's answers",
      { { B, UDP, "0.0.0.0", 53, "0.0.0.0", 53, 0 }, { TO, UDP, "10.0.0.9", 50123, "0.0.0.0", 53, 0 } },
      "listen udp 0.0.0.0:53", "" },
    { "and its questions from another socket",
      { { B, UDP, "0.0.0.0", 53, "0.0.0.0", 53, 0 }, { TO, UDP, "8.8.8.8", 53, NULL, 0, 0 } },
      "connect udp 8.8.8.8:53, listen udp 0.0.0.0:53", "" },
    { "answers from a port of the kernel's choice",
      { { B, UDP, "127.0.0.1", 0, "127.0.0.1", 40001, 0 }, { TO, UDP, "127.0.0.1", 50123, "127.0.0.1", 40001, 0 } },
      "connect udp 127.0.0.1:ephemeral, listen udp 127.0.0.1:ephemeral", "" },
    { "a question from there",
      { { B, UDP, "0.0.0.0", 0, "0.0.0.0", 40001, 0 }, { TO, UDP, "10.0.0.1", 53, "0.0.0.0", 40001, 0 } },
      "connect udp 10.0.0.1:53, listen udp 0.0.0.0:ephemeral", "" },
    { "an older trace", { { B, 0, "127.0.0.1", 80, NULL, 0, 0 } }, "listen 127.0.0.1:80", "" },
    { "raw sockets are left out", { { TO, SOCK_RAW, "10.0.0.1", 0, NULL, 0, 0 } }, "", "" },
    { "no address at all", { { TO, TCP, "x", 0, NULL, 0, 0 } }, "", "" },
    /* clang-format on */
};

static void test_traced(void **state UNUSED)
{
    static const struct manifest_rules none;
    for (size_t i = 0; i < ARRAY_SIZE(traced); i++) {
        struct world w;
        make(&w, traced[i].given);
        const struct trace *traces[] = { &w.trace };
        CLEANUP(free_p) char *root = fill(traces, 1, 0, &none);
        CLEANUP(free_p) char *child = fill(traces, 1, 1, &none);
        if (strcmp(root, traced[i].want) != 0 || strcmp(child, traced[i].child) != 0)
            fail_msg("%s: got '%s', '%s'", traced[i].name, root, child);
    }
}

/* Two runs of a program, with other numbers, give the same whichever comes first. */
static void test_merged(void **state UNUSED)
{
    static const struct manifest_rules none;
    static const struct given one[] = { { B, TCP, "127.0.0.1", 0, "127.0.0.1", 41234, 0 },
                                        { TO, TCP, "127.0.0.1", 41234, NULL, 0, 0 },
                                        { TO, TCP, "10.0.0.2", 80, NULL, 0, 0 },
                                        { 0 } };
    static const struct given two[] = { { B, TCP, "127.0.0.1", 0, "127.0.0.1", 59999, 0 },
                                        { TO, TCP, "127.0.0.1", 59999, NULL, 0, 0 },
                                        { TO, TCP, "10.0.0.1", 80, NULL, 0, 0 },
                                        { 0 } };
    struct world a, b;
    make(&a, one);
    make(&b, two);
    const struct trace *traces[] = { &a.trace, &b.trace };
    const struct trace *turned[] = { &b.trace, &a.trace };
    CLEANUP(free_p) char *first = fill(traces, 2, 0, &none);
    CLEANUP(free_p) char *second = fill(turned, 2, 0, &none);
    assert_string_equal(first, "connect tcp 10.0.0.1:80, connect tcp 10.0.0.2:80, "
                               "connect tcp 127.0.0.1:ephemeral, listen tcp 127.0.0.1:ephemeral");
    assert_string_equal(first, second);
}

/* The options are the root's; another program gets those of what it did itself. */
static void test_widened(void **state UNUSED)
{
    static const struct given given[] = { { B, TCP, "127.0.0.1", 8080, NULL, 0, 0 },
                                          { TO, TCP, "10.0.0.2", 80, NULL, 0, 1 },
                                          { 0 } };
    static const char *const listen[] = { "8000-9000/tcp" };
    static const char *const connect[] = { "10.0.0.0/8:80", "[::1]:443" };
    const struct manifest_rules rules = {
        .listen = listen, .listen_count = 1, .connect = connect, .connect_count = 2
    };
    struct world w;
    make(&w, given);
    const struct trace *traces[] = { &w.trace };
    CLEANUP(free_p) char *root = fill(traces, 1, 0, &rules);
    CLEANUP(free_p) char *child = fill(traces, 1, 1, &rules);
    assert_string_equal(root, "connect 10.0.0.0/8:80, connect [::1]:443, listen tcp *:8000-9000");
    assert_string_equal(child, "connect 10.0.0.0/8:80, connect [::1]:443");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),     cmocka_unit_test(test_host),
        cmocka_unit_test(test_strict_text), cmocka_unit_test(test_traced),
        cmocka_unit_test(test_merged),      cmocka_unit_test(test_widened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
