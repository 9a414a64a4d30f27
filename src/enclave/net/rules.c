#include "net/rules.h"

#include <asm/errno.h>
#include <stdint.h>

#include "arch/string.h"
#include "border/border.h"
#include "core/net_rule.h"
#include "process/process.h"

#define FAMILY_UNSPEC 0
#define FAMILY_INET   2
#define FAMILY_INET6  10
#define TYPE_MASK     0xf /* SOCK_NONBLOCK, SOCK_CLOEXEC */
#define TYPE_STREAM   1
#define TYPE_DGRAM    2
#define INET_SIZE     16u
#define INET6_SIZE    24u /* without sin6_scope_id, as Linux takes it (SIN6_LEN_RFC2133) */
#define REMARKS_MAX   16u

/* One bit a port and type: kernels of 1024 to 65535 exist. */
static uint64_t g_given[2][65536 / 64];
static uint32_t g_remarks;

static uint32_t rule_type(int type)
{
    switch (type & TYPE_MASK) {
    case TYPE_STREAM: return MANIFEST_NET_TCP;
    case TYPE_DGRAM: return MANIFEST_NET_UDP;
    default: return MANIFEST_NET_ANY;
    }
}

/* 0, or as net_rule_check. */
static int get_endpoint(const void *address, size_t size, bool unspec, struct net_endpoint *ret)
{
    const uint8_t *p = address;
    uint16_t family;
    if (size < sizeof(family))
        return -EINVAL;
    memcpy(&family, p, sizeof(family));
    if (family == FAMILY_INET || (unspec && family == FAMILY_UNSPEC)) {
        if (size < INET_SIZE)
            return -EINVAL;
        net_map_ipv4(p + 4, ret->address);
    } else if (family == FAMILY_INET6) {
        if (size < INET6_SIZE)
            return -EINVAL;
        memcpy(ret->address, p + 8, sizeof(ret->address));
    } else {
        return -EAFNOSUPPORT;
    }
    ret->port = (uint16_t)(p[2] << 8 | p[3]);
    return 0;
}

static uint64_t *given_word(uint32_t type, uint16_t port)
{
    return &g_given[type == MANIFEST_NET_UDP][port / 64];
}

static bool was_given(uint32_t type, uint16_t port)
{
    return port && (__atomic_load_n(given_word(type, port), __ATOMIC_RELAXED) >> (port % 64) & 1);
}

static bool covered(enum net_rule_action action, uint32_t type, const struct net_endpoint *at)
{
    struct net_endpoint as_given = *at;
    if (was_given(type, at->port))
        as_given.port = UINT16_MAX;
    for (uint32_t i = 0; i < g_manifest.net_count; i++) {
        const struct manifest_net *rule = &g_manifest.net[i];
        bool ephemeral = rule->flags & MANIFEST_NET_EPHEMERAL;
        if (net_rule_covers(rule, (uint32_t)action, type, ephemeral ? &as_given : at))
            return true;
    }
    return false;
}

static void tell(enum net_rule_action action, uint32_t type, const struct net_endpoint *at)
{
    char text[NET_TEXT_MAX];
    size_t size = net_endpoint_text(at, text);
    audit(OCALL_AUDIT_NET, EACCES, (uint64_t)action | (uint64_t)type << 8, text, size);
    if (__atomic_load_n(&g_remarks, __ATOMIC_RELAXED) >= REMARKS_MAX ||
        __atomic_fetch_add(&g_remarks, 1, __ATOMIC_RELAXED) >= REMARKS_MAX)
        return;
    const char *name = net_action_name((uint32_t)action), *kind = net_type_name(type);
    log_note("no rule lets '%s' %s %s %s: EACCES. '--%s %s%s%s' lets it",
             manifest_str_ptr(&g_manifest, process_node()->label), name,
             action == NET_LISTEN ? "at" : "to", text, name, text, kind[0] ? "/" : "", kind);
}

int net_rule_check(enum net_rule_action action, const void *address, size_t size, int type)
{
    struct net_endpoint at;
    uint16_t family;
    if (size < sizeof(family))
        return -EINVAL;
    memcpy(&family, address, sizeof(family));
    if (family == FAMILY_UNSPEC && action == NET_CONNECT)
        return 0;
    int r = get_endpoint(address, size, action == NET_LISTEN, &at);
    if (r < 0)
        return r;
    if (action == NET_CONNECT)
        net_endpoint_connect(&at);
    if (covered(action, rule_type(type), &at))
        return 0;
    tell(action, rule_type(type), &at);
    return -EACCES;
}

bool net_rule_answers(const void *local, size_t size)
{
    struct net_endpoint at;
    if (get_endpoint(local, size, false, &at) < 0 || at.port == 0)
        return false;
    for (uint32_t i = 0; i < g_manifest.net_count; i++) {
        const struct manifest_net *rule = &g_manifest.net[i];
        if (!(rule->flags & MANIFEST_NET_EPHEMERAL) &&
            net_rule_covers(rule, MANIFEST_NET_LISTEN, MANIFEST_NET_UDP, &at))
            return true;
    }
    return false;
}

void net_rule_given(const void *local, size_t size, int type)
{
    struct net_endpoint at;
    uint32_t kind = rule_type(type);
    if (get_endpoint(local, size, false, &at) < 0 || kind == MANIFEST_NET_ANY)
        return;
    __atomic_fetch_or(given_word(kind, at.port), 1ull << (at.port % 64), __ATOMIC_RELAXED);
}
