#include "core/net_rule.h"

/* ---- addresses ---- */

static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

void net_map_ipv4(const uint8_t ipv4[static 4], uint8_t ret[static 16])
{
    for (unsigned i = 0; i < 16; i++)
        ret[i] = i < 12 ? mapped[i] : ipv4[i - 12];
}

static bool same_bits(const uint8_t *a, const uint8_t *b, uint32_t bits)
{
    uint32_t i = 0;
    for (; i < bits / 8; i++)
        if (a[i] != b[i])
            return false;
    uint8_t mask = (uint8_t)(0xff00u >> (bits % 8));
    return mask == 0 || ((a[i] ^ b[i]) & mask) == 0;
}

bool net_is_ipv4(const uint8_t address[static 16])
{
    return same_bits(address, mapped, NET_PREFIX_IPV4);
}

void net_endpoint_connect(struct net_endpoint *endpoint)
{
    uint8_t *a = endpoint->address;
    unsigned first = net_is_ipv4(a) ? 12 : 0;
    for (unsigned i = first; i < 16; i++)
        if (a[i])
            return;
    if (first)
        a[12] = 127;
    a[15] = 1;
}

/* ---- rules ---- */

static bool ports_cover(const struct manifest_net *rule, uint32_t action, uint16_t port)
{
    if (rule->flags & MANIFEST_NET_EPHEMERAL)
        return port >= NET_EPHEMERAL_FIRST || (port == 0 && action == MANIFEST_NET_LISTEN);
    return port >= rule->port_low && port <= rule->port_high;
}

bool net_rule_covers(const struct manifest_net *rule, uint32_t action, uint32_t type,
                     const struct net_endpoint *endpoint)
{
    return rule->action == action && (rule->type == MANIFEST_NET_ANY || rule->type == type) &&
           same_bits(rule->address, endpoint->address, rule->prefix) &&
           ports_cover(rule, action, endpoint->port);
}

bool net_rule_contains(const struct manifest_net *wide, const struct manifest_net *narrow)
{
    if (wide->action != narrow->action ||
        (wide->type != MANIFEST_NET_ANY && wide->type != narrow->type) ||
        wide->prefix > narrow->prefix || !same_bits(wide->address, narrow->address, wide->prefix))
        return false;
    if (!(narrow->flags & MANIFEST_NET_EPHEMERAL))
        return wide->flags & MANIFEST_NET_EPHEMERAL
                   ? narrow->action == MANIFEST_NET_CONNECT &&
                         narrow->port_low >= NET_EPHEMERAL_FIRST
                   : wide->port_low <= narrow->port_low && wide->port_high >= narrow->port_high;
    if (wide->flags & MANIFEST_NET_EPHEMERAL)
        return true;
    return wide->port_high == UINT16_MAX &&
           wide->port_low <= (narrow->action == MANIFEST_NET_LISTEN ? 0 : NET_EPHEMERAL_FIRST);
}

const char *net_rule_wrong(const struct manifest_net *rule)
{
    if (rule->action != MANIFEST_NET_LISTEN && rule->action != MANIFEST_NET_CONNECT)
        return "a network rule has an unknown action";
    if (rule->type > MANIFEST_NET_UDP)
        return "a network rule is for an unknown type of socket";
    if ((rule->flags & ~(uint32_t)MANIFEST_NET_EPHEMERAL) || rule->reserved)
        return "a network rule has unknown flags";
    if (rule->prefix > 128)
        return "a network rule's prefix is too long";
    for (uint32_t bit = rule->prefix; bit < 128; bit++)
        if (rule->address[bit / 8] & (0x80u >> (bit % 8)))
            return "a network rule's address is longer than its prefix";
    if (rule->port_low > rule->port_high)
        return "a network rule's ports are no range";
    if ((rule->flags & MANIFEST_NET_EPHEMERAL) && rule->port_high)
        return "a network rule for ephemeral ports names others";
    return NULL;
}

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

int net_rule_compare(const struct manifest_net *a, const struct manifest_net *b)
{
    int r = order(a->action, b->action);
    r = r ? r : order(a->type, b->type);
    for (unsigned i = 0; r == 0 && i < 16; i++)
        r = order(a->address[i], b->address[i]);
    r = r ? r : order(a->prefix, b->prefix);
    r = r ? r : order(a->port_low, b->port_low);
    r = r ? r : order(a->port_high, b->port_high);
    return r ? r : order(a->flags, b->flags);
}

/* ---- text: the longest is an IPv6 rule's, "connect tcp [" 39 "/128]:65535-65535", 72 bytes ---- */

struct text {
    char *at;
};

static void put(struct text *t, const char *s)
{
    while (*s)
        *t->at++ = *s++;
}

static void put_number(struct text *t, uint32_t n, uint32_t base)
{
    char digits[12];
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n);
    while (count)
        *t->at++ = digits[--count];
}

static size_t finish(struct text *t, const char *start)
{
    *t->at = '\0';
    return (size_t)(t->at - start);
}

static void put_ipv4(struct text *t, const uint8_t *a)
{
    for (unsigned i = 0; i < 4; i++) {
        put(t, i ? "." : "");
        put_number(t, a[i], 10);
    }
}

/* RFC 5952: the first longest run of zero groups, if it has two or more, is "::". */
static void put_ipv6(struct text *t, const uint8_t *a)
{
    unsigned best = 8, best_size = 1;
    for (unsigned i = 0; i < 8; i++) {
        unsigned size = 0;
        while (i + size < 8 && !a[2 * (i + size)] && !a[2 * (i + size) + 1])
            size++;
        if (size > best_size) {
            best = i;
            best_size = size;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i == best) {
            put(t, "::");
            i += best_size - 1;
            continue;
        }
        put(t, i && i != best + best_size ? ":" : "");
        put_number(t, (uint32_t)a[2 * i] << 8 | a[2 * i + 1], 16);
    }
}

size_t net_endpoint_text(const struct net_endpoint *endpoint, char ret[static NET_TEXT_MAX])
{
    struct text t = { ret };
    if (net_is_ipv4(endpoint->address)) {
        put_ipv4(&t, endpoint->address + 12);
    } else {
        put(&t, "[");
        put_ipv6(&t, endpoint->address);
        put(&t, "]");
    }
    put(&t, ":");
    put_number(&t, endpoint->port, 10);
    return finish(&t, ret);
}

const char *net_type_name(uint32_t type)
{
    return type == MANIFEST_NET_TCP ? "tcp" : type == MANIFEST_NET_UDP ? "udp" : "";
}

const char *net_action_name(uint32_t action)
{
    return action == MANIFEST_NET_LISTEN ? "listen" : "connect";
}

/* "*", "10.0.0.0/8", "[2001:db8::/32]"; to listen at, "0.0.0.0" is all of IPv4. */
static void put_prefix(struct text *t, const struct manifest_net *rule)
{
    bool ipv4 = rule->prefix >= NET_PREFIX_IPV4 && net_is_ipv4(rule->address);
    uint32_t prefix = ipv4 ? rule->prefix - NET_PREFIX_IPV4 : rule->prefix;
    if (rule->prefix == 0) {
        put(t, "*");
        return;
    }
    if (ipv4) {
        put_ipv4(t, rule->address + 12);
    } else {
        put(t, "[");
        put_ipv6(t, rule->address);
    }
    bool all = ipv4 && prefix == 0 && rule->action == MANIFEST_NET_LISTEN;
    if (rule->prefix != 128 && !all) {
        put(t, "/");
        put_number(t, prefix, 10);
    }
    put(t, ipv4 ? "" : "]");
}

size_t net_rule_text(const struct manifest_net *rule, char ret[static NET_TEXT_MAX])
{
    struct text t = { ret };
    put(&t, net_action_name(rule->action));
    put(&t, " ");
    if (rule->type != MANIFEST_NET_ANY) {
        put(&t, net_type_name(rule->type));
        put(&t, " ");
    }
    put_prefix(&t, rule);
    put(&t, ":");
    if (rule->flags & MANIFEST_NET_EPHEMERAL) {
        put(&t, "ephemeral");
    } else if (rule->port_low == 0 && rule->port_high == UINT16_MAX) {
        put(&t, "*");
    } else {
        put_number(&t, rule->port_low, 10);
        if (rule->port_high != rule->port_low) {
            put(&t, "-");
            put_number(&t, rule->port_high, 10);
        }
    }
    return finish(&t, ret);
}
