#include "manifest/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/manifest_view.h"
#include "core/net_rule.h"
#include "util/fs.h"

#define HOST_MAX       256
#define EPHEMERAL_WORD "ephemeral"

void net_rules_done(struct net_rules *rules)
{
    free(rules->items);
    *rules = (struct net_rules){ 0 };
}

static int add(struct net_rules *rules, const struct manifest_net *rule)
{
    if ((rules->count & (rules->count - 1)) == 0) {
        size_t room = rules->count ? 2 * rules->count : 1;
        struct manifest_net *grown = realloc(rules->items, room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        rules->items = grown;
    }
    rules->items[rules->count++] = *rule;
    return 0;
}

/* ---- text to rules ---- */

static bool starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

/* All of text, up to max. */
static bool parse_number(const char *text, uint32_t max, uint32_t *ret)
{
    uint32_t n = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        n = 10 * n + (uint32_t)(*text - '0');
        if (n > max)
            return false;
    }
    *ret = n;
    return true;
}

static bool parse_ports(const char *text, struct manifest_net *rule)
{
    char low[8];
    uint32_t from, to;
    rule->port_low = 0;
    rule->port_high = UINT16_MAX;
    if (strcmp(text, "*") == 0)
        return true;
    if (strcmp(text, EPHEMERAL_WORD) == 0 ||
        (rule->action == MANIFEST_NET_LISTEN && strcmp(text, "0") == 0)) {
        rule->port_high = 0;
        rule->flags = MANIFEST_NET_EPHEMERAL;
        return true;
    }
    size_t size = strcspn(text, "-");
    if (size >= sizeof(low))
        return false;
    memcpy(low, text, size);
    low[size] = '\0';
    if (!parse_number(low, UINT16_MAX, &from))
        return false;
    to = from;
    if (text[size] && !parse_number(text + size + 1, UINT16_MAX, &to))
        return false;
    rule->port_low = (uint16_t)from;
    rule->port_high = (uint16_t)to;
    return from <= to;
}

static void cut_to_prefix(struct manifest_net *rule)
{
    for (uint32_t bit = rule->prefix; bit < 128; bit++)
        rule->address[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
}

/* A whole address, as traced or written without a prefix: see net_rule.h for the special ones. */
static void set_whole(struct manifest_net *rule, const struct net_endpoint *at)
{
    static const uint8_t zero[16];
    struct net_endpoint end = *at;
    rule->prefix = 128;
    if (rule->action == MANIFEST_NET_CONNECT) {
        net_endpoint_connect(&end);
    } else if (memcmp(end.address, zero, 16) == 0) {
        rule->prefix = 0;
    } else if (net_is_ipv4(end.address) && memcmp(end.address + 12, zero, 4) == 0) {
        rule->prefix = NET_PREFIX_IPV4;
    }
    memcpy(rule->address, end.address, sizeof(rule->address));
    cut_to_prefix(rule);
}

/* "10.0.0.0/8", "fe80::1", "*", "". */
static bool parse_address(const char *text, struct manifest_net *rule)
{
    char address[INET6_ADDRSTRLEN + 8];
    struct net_endpoint at = { .port = 0 };
    uint8_t ipv4[4];
    size_t size = strcspn(text, "/");
    rule->prefix = 0;
    memset(rule->address, 0, sizeof(rule->address));
    if (strcmp(text, "*") == 0 || !*text)
        return true;
    if (size >= sizeof(address))
        return false;
    memcpy(address, text, size);
    address[size] = '\0';
    uint32_t shortest = 0, prefix;
    if (inet_pton(AF_INET, address, ipv4) == 1) {
        net_map_ipv4(ipv4, at.address);
        shortest = NET_PREFIX_IPV4;
    } else if (inet_pton(AF_INET6, address, at.address) != 1) {
        return false;
    }
    if (!text[size]) {
        set_whole(rule, &at);
        return true;
    }
    if (!parse_number(text + size + 1, 128 - shortest, &prefix))
        return false;
    memcpy(rule->address, at.address, sizeof(rule->address));
    rule->prefix = shortest + prefix;
    cut_to_prefix(rule);
    return true;
}

/* A value in its parts, copied; ports NULL: none are named. */
struct parts {
    char text[HOST_MAX];
    char *host, *ports;
};

static bool split(const char *value, struct parts *p)
{
    if (strlen(value) >= sizeof(p->text))
        return false;
    strcpy(p->text, value);
    p->host = p->text;
    p->ports = NULL;
    char *colon = strrchr(p->text, ':');
    if (p->text[0] == '[') {
        char *end = strchr(p->text, ']');
        if (!end || !strchr(p->text, ':') || strchr(p->text, ':') > end)
            return false; /* what stands in brackets is IPv6 */
        p->host++;
        char *rest = end + 1;
        if (*rest == '/') {
            /* "[fe80::]/10:80" as well */
            size_t size = strcspn(rest, ":");
            memmove(end, rest, size);
            end += size;
            rest += size;
        }
        if (*rest && *rest != ':')
            return false;
        p->ports = *rest ? rest + 1 : NULL;
        *end = '\0';
    } else if (colon && colon == strchr(p->text, ':')) {
        *colon = '\0';
        p->ports = colon + 1;
    }
    return true;
}

static int resolve(const char *option, const char *value, const char *host,
                   struct manifest_net rule, struct net_rules *rules, struct err *err)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list;
    int r = getaddrinfo(host, NULL, &hints, &list);
    if (r != 0)
        return err_set(err, -ENOENT,
                       "%s '%s': '%s' is no address and no host that this machine knows: %s",
                       option, value, host, gai_strerror(r));
    r = 0;
    for (const struct addrinfo *a = list; r == 0 && a; a = a->ai_next) {
        struct net_endpoint at = { .port = 0 };
        if (a->ai_family == AF_INET) {
            struct sockaddr_in in;
            memcpy(&in, a->ai_addr, sizeof(in));
            net_map_ipv4((const uint8_t *)&in.sin_addr, at.address);
        } else if (a->ai_family == AF_INET6) {
            struct sockaddr_in6 in;
            memcpy(&in, a->ai_addr, sizeof(in));
            memcpy(at.address, &in.sin6_addr, sizeof(at.address));
        } else {
            continue;
        }
        set_whole(&rule, &at);
        r = add(rules, &rule);
    }
    freeaddrinfo(list);
    return r < 0 ? err_set(err, r, "%s '%s': out of memory", option, value) : 1;
}

static bool host_name(const char *text)
{
    return strspn(text, "0123456789./") != strlen(text) && !strpbrk(text, "/:[]* ");
}

int net_parse_option(uint32_t action, const char *value, struct net_rules *rules, struct err *err)
{
    const char *option = action == MANIFEST_NET_LISTEN ? "--listen" : "--connect";
    struct manifest_net rule = { .action = action };
    struct parts p;
    char text[HOST_MAX];
    size_t size = strlen(value);
    if (size > 4 &&
        (strcmp(value + size - 4, "/tcp") == 0 || strcmp(value + size - 4, "/udp") == 0)) {
        rule.type = value[size - 3] == 't' ? MANIFEST_NET_TCP : MANIFEST_NET_UDP;
        size -= 4;
    }
    bool fits = size > 0 && size < sizeof(text);
    if (fits) {
        memcpy(text, value, size);
        text[size] = '\0';
    }
    if (!fits || !split(text, &p))
        return err_set(err, -EINVAL,
                       "%s '%s': [ADDRESS:]PORT is wanted (8080, 127.0.0.1:8000-8010, [::1]:443, "
                       "10.0.0.0/8:53/udp)",
                       option, value);
    if (!p.ports && action == MANIFEST_NET_LISTEN && parse_ports(p.host, &rule)) {
        p.host = p.text + strlen(p.text);
    } else if (!parse_ports(p.ports ? p.ports : "*", &rule)) {
        return err_set(
            err, -EINVAL,
            "%s '%s': '%s' is no port: a number up to 65535, FIRST-LAST, '*' or '" EPHEMERAL_WORD
            "'",
            option, value, p.ports);
    }
    if (parse_address(p.host, &rule)) {
        if (rules && add(rules, &rule) < 0)
            return err_set(err, -ENOMEM, "%s '%s': out of memory", option, value);
        return 0;
    }
    if (action == MANIFEST_NET_CONNECT && host_name(p.host))
        return !rules ? 1 : resolve(option, value, p.host, rule, rules, err);
    return err_set(err, -EINVAL, "%s '%s': '%s' is no address%s", option, value, p.host,
                   action == MANIFEST_NET_CONNECT && !p.ports ? " (a port alone is '*:PORT')" : "");
}

int net_parse(const char *text, struct manifest_net *ret)
{
    struct manifest_net rule = { .action = MANIFEST_NET_LISTEN };
    struct parts p;
    char again[NET_TEXT_MAX];
    const char *rest = text;
    if (starts_with(rest, "connect "))
        rule.action = MANIFEST_NET_CONNECT;
    else if (!starts_with(rest, "listen "))
        return -EINVAL;
    rest = strchr(rest, ' ') + 1;
    if (starts_with(rest, "tcp ") || starts_with(rest, "udp ")) {
        rule.type = rest[0] == 't' ? MANIFEST_NET_TCP : MANIFEST_NET_UDP;
        rest += 4;
    }
    if (!split(rest, &p) || !p.ports || !parse_ports(p.ports, &rule) ||
        !parse_address(p.host, &rule))
        return -EINVAL;
    net_rule_text(&rule, again);
    if (strcmp(again, text) != 0)
        return -EINVAL;
    *ret = rule;
    return 0;
}

/* ---- sockets of traces to rules ---- */

/* The ports that a kernel chose in one trace, of TCP and of UDP. */
struct given {
    uint8_t ports[2][65536 / 8];
};

static uint32_t type_of(const struct trace_socket *s)
{
    return s->type == SOCK_STREAM  ? MANIFEST_NET_TCP
           : s->type == SOCK_DGRAM ? MANIFEST_NET_UDP
                                   : MANIFEST_NET_ANY;
}

static bool get_endpoint(const void *address, size_t size, struct net_endpoint *ret)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } a = { .any = { 0 } };
    memcpy(&a, address, size < sizeof(a) ? size : sizeof(a));
    if (a.any.sa_family == AF_INET && size >= sizeof(a.in)) {
        net_map_ipv4((const uint8_t *)&a.in.sin_addr, ret->address);
        ret->port = ntohs(a.in.sin_port);
        return true;
    }
    if (a.any.sa_family != AF_INET6 || size < offsetof(struct sockaddr_in6, sin6_scope_id))
        return false;
    memcpy(ret->address, &a.in6.sin6_addr, sizeof(ret->address));
    ret->port = ntohs(a.in6.sin6_port);
    return true;
}

static void give(struct given *g, uint32_t type, uint16_t port)
{
    if (type != MANIFEST_NET_UDP)
        g->ports[0][port / 8] |= (uint8_t)(1u << (port % 8));
    if (type != MANIFEST_NET_TCP)
        g->ports[1][port / 8] |= (uint8_t)(1u << (port % 8));
}

static bool was_given(const struct given *g, uint32_t type, uint16_t port)
{
    unsigned bits = 0;
    if (type != MANIFEST_NET_UDP)
        bits |= g->ports[0][port / 8];
    if (type != MANIFEST_NET_TCP)
        bits |= g->ports[1][port / 8];
    return bits >> (port % 8) & 1;
}

static bool local_of(const struct trace_socket *s, struct net_endpoint *ret)
{
    return s->local_size && get_endpoint(s->local, s->local_size, ret) && ret->port;
}

/* Ports that were asked for as 0, and those that were asked for by number (*ret_named). */
static void find_given(const struct trace *t, struct given *ret, struct given *ret_named)
{
    memset(ret, 0, sizeof(*ret));
    memset(ret_named, 0, sizeof(*ret_named));
    for (size_t i = 0; i < t->process_count; i++)
        for (size_t k = 0; k < t->processes[i].socket_count; k++) {
            const struct trace_socket *s = &t->processes[i].sockets[k];
            struct net_endpoint asked, local;
            if (!(s->bits & TRACE_BOUND) || !get_endpoint(s->address, s->address_size, &asked))
                continue;
            if (asked.port)
                give(ret_named, type_of(s), asked.port);
            else if (local_of(s, &local))
                give(ret, type_of(s), local.port);
        }
}

static int take_socket(const struct trace_socket *s, const struct given *given,
                       const struct given *named, struct net_rules *rules)
{
    struct manifest_net rule = { .type = type_of(s) };
    struct net_endpoint at, local;
    if (!get_endpoint(s->address, s->address_size, &at) ||
        (s->type && rule.type == MANIFEST_NET_ANY))
        return 0; /* raw sockets and the like do not exist in the enclave */
    rule.action = s->bits & TRACE_BOUND ? MANIFEST_NET_LISTEN : MANIFEST_NET_CONNECT;
    bool ephemeral = was_given(given, rule.type, at.port) ||
                     (rule.action == MANIFEST_NET_LISTEN && at.port == 0);
    if (rule.action == MANIFEST_NET_CONNECT && s->type == SOCK_DGRAM && local_of(s, &local)) {
        bool by_kernel = was_given(given, rule.type, local.port);
        /* A server's answer: the rule that lets it listen covers it (net_rule_answers). */
        if (!by_kernel && was_given(named, rule.type, local.port))
            return 0;
        ephemeral |= by_kernel && at.port >= NET_EPHEMERAL_FIRST;
    }
    set_whole(&rule, &at);
    if (ephemeral)
        rule.flags = MANIFEST_NET_EPHEMERAL;
    else
        rule.port_low = rule.port_high = at.port;
    return add(rules, &rule);
}

bool net_covers_socket(const struct manifest_net *rule, const struct trace_socket *socket)
{
    struct net_endpoint at;
    uint32_t action = socket->bits & TRACE_BOUND ? MANIFEST_NET_LISTEN : MANIFEST_NET_CONNECT;
    uint32_t type = type_of(socket);
    if (!get_endpoint(socket->address, socket->address_size, &at))
        return false;
    if (action == MANIFEST_NET_CONNECT)
        net_endpoint_connect(&at);
    /* An older trace does not say which type it was. */
    return net_rule_covers(rule, action, socket->type ? type : rule->type, &at);
}

static int take_trace(const struct trace *t, const struct tree *tree, size_t trace, size_t node,
                      struct net_rules *rules)
{
    struct given given, named;
    int r = 0;
    find_given(t, &given, &named);
    for (size_t i = 0; i < t->process_count; i++) {
        const struct trace_process *p = &t->processes[i];
        for (size_t k = 0; r == 0 && k < p->socket_count && tree_node_of(tree, trace, i) == node;
             k++)
            r = take_socket(&p->sockets[k], &given, &named, rules);
    }
    return r;
}

/* ---- all of a node ---- */

/* The user speaks of the program that was named, of its workers, and of who did likewise when traced. */
static bool is_asked(const struct cascade_node *n, const struct tree *tree,
                     const struct net_rules *traced, uint32_t action)
{
    if (strcmp(n->entries[0].start.executable, tree->programs[0].start.executable) == 0)
        return true;
    for (size_t i = 0; i < traced->count; i++)
        if (traced->items[i].action == action)
            return true;
    return false;
}

static int take_options(const struct manifest_rules *from, const bool asked[static 3],
                        struct net_rules *rules, struct manifest_report *report, struct err *err)
{
    const struct {
        uint32_t action;
        const char *const *values;
        size_t count;
    } options[] = {
        { MANIFEST_NET_LISTEN, from->listen, from->listen_count },
        { MANIFEST_NET_CONNECT, from->connect, from->connect_count },
    };
    for (size_t i = 0; i < ARRAY_SIZE(options); i++)
        for (size_t k = 0; asked[options[i].action] && k < options[i].count; k++) {
            const char *value = options[i].values[k];
            size_t before = rules->count;
            int r = net_parse_option(options[i].action, value, rules, err);
            if (r < 0)
                return r;
            for (size_t n = before; r == 1 && n < rules->count; n++) {
                char text[NET_TEXT_MAX];
                net_rule_text(&rules->items[n], text);
                manifest_note(report, "--connect '%s': '%s', as this machine resolves it now",
                              value, text);
            }
        }
    return 0;
}

static int compare_rules(const void *a, const void *b)
{
    return net_rule_compare(a, b);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Without what another rule contains; of equal ones the first stays. */
static void reduce(struct net_rules *rules)
{
    if (rules->count == 0)
        return;
    qsort(rules->items, rules->count, sizeof(*rules->items), compare_rules);
    size_t kept = 1;
    for (size_t i = 1; i < rules->count; i++)
        if (net_rule_compare(&rules->items[kept - 1], &rules->items[i]) != 0)
            rules->items[kept++] = rules->items[i];
    size_t count = kept;
    kept = 0;
    for (size_t i = 0; i < count; i++) {
        /* A rule that went out is contained in one that stays, so it need not be asked. */
        const struct manifest_net rule = rules->items[i];
        bool contained = false;
        for (size_t k = 0; k < count && !contained; k++) {
            if (k == kept)
                k = i + 1;
            contained = k < count && net_rule_contains(&rules->items[k], &rule) &&
                        !(k > i && net_rule_contains(&rule, &rules->items[k]));
        }
        if (!contained)
            rules->items[kept++] = rule;
    }
    rules->count = kept;
}

static int write_rules(const struct net_rules *rules, struct cascade_node *n)
{
    n->net = calloc(rules->count + 1, sizeof(*n->net));
    if (!n->net)
        return -ENOMEM;
    for (; n->net_count < rules->count; n->net_count++) {
        char text[NET_TEXT_MAX];
        net_rule_text(&rules->items[n->net_count], text);
        if (!(n->net[n->net_count] = strdup(text)))
            return -ENOMEM;
    }
    qsort(n->net, n->net_count, sizeof(*n->net), compare_strings);
    return 0;
}

int net_fill(struct cascade_node *n, const struct tree *tree, size_t node,
             const struct trace *const *traces, const struct manifest_rules *rules,
             struct manifest_report *report, struct err *err)
{
    CLEANUP(net_rules_done) struct net_rules all = { 0 };
    int r = 0;
    for (size_t i = 0; r == 0 && i < tree->trace_count; i++)
        r = take_trace(traces[i], tree, i, node, &all);
    if (r < 0)
        return err_set(err, r, "building the manifest: out of memory");
    bool asked[3] = { false };
    for (uint32_t action = MANIFEST_NET_LISTEN; action <= MANIFEST_NET_CONNECT; action++)
        asked[action] = is_asked(n, tree, &all, action);
    r = take_options(rules, asked, &all, report, err);
    if (r < 0)
        return r;
    reduce(&all);
    if (all.count > MANIFEST_NET_MAX)
        return err_set(
            err, -E2BIG,
            "%zu network rules; %u fit. Wider ones contain others: '--connect 10.0.0.0/8:443', "
            "'--connect *'",
            all.count, MANIFEST_NET_MAX);
    if (all.count && write_rules(&all, n) < 0)
        return err_set(err, -ENOMEM, "building the manifest: out of memory");
    return 0;
}
