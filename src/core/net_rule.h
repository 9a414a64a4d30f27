/*
 * What a network rule of a manifest (struct manifest_net) covers, and how rules and addresses are written
 * for people. The manifest builder, `sgxpy show`, the audit lines and the library OS all ask here.
 * Tier: core: no libc, no allocation, no I/O. Thread-safe.
 *
 * A rule covers an address by prefix and a port by range:
 *  - IPv4 addresses are IPv6's ::ffff:a.b.c.d, so a rule for 127.0.0.1 holds for a mapped socket as well.
 *    The empty prefix (written "*") is every address of both.
 *  - An address to listen at covers what it contains: "0.0.0.0" is prefix 96, every IPv4 address; "::" takes
 *    IPv4 too and is "*".
 *  - To connect to 0.0.0.0 or :: is, on Linux, to connect to this machine: net_endpoint_connect makes it
 *    127.0.0.1 or ::1, for rules and for what is checked against them.
 *  - EPHEMERAL is the class of ports that a kernel gives to who asks for port 0, because their numbers are
 *    other ones in each run: to listen, port 0 and NET_EPHEMERAL_FIRST and above; to connect, the latter.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/manifest.h"
#include "core/attr.h"

/* Linux gives 32768 to 60999 (net.ipv4.ip_local_port_range); RFC 6335 keeps 49152 to 65535 for it. */
#define NET_EPHEMERAL_FIRST 32768u
#define NET_PREFIX_IPV4     96u
#define NET_TEXT_MAX        96u /* bytes, with the NUL, of every text here */

struct net_endpoint {
    uint8_t address[16]; /* IPv4 mapped */
    uint16_t port;       /* host order */
};

/* a.b.c.d in network order, as ::ffff:a.b.c.d. */
void net_map_ipv4(const uint8_t ipv4[static 4], uint8_t ret[static 16]);
bool net_is_ipv4(const uint8_t address[static 16]);
/* What connecting to this endpoint reaches: see above. */
void net_endpoint_connect(struct net_endpoint *endpoint);

/* type: of the socket; ANY for one that is neither TCP nor UDP, which only rules for any type cover. */
bool net_rule_covers(const struct manifest_net *rule, uint32_t action, uint32_t type,
                     const struct net_endpoint *endpoint);
/* Whether all that `narrow` covers, `wide` covers as well. A number to listen at is more than the class that has
 * it: a datagram socket there answers everybody (enclave/net/rules.h). */
bool net_rule_contains(const struct manifest_net *wide, const struct manifest_net *narrow);
/* NULL: well-formed; else a constant text that says what is wrong. */
const char *net_rule_wrong(const struct manifest_net *rule);
/* The order in a manifest: action, type, address, prefix, ports, flags; <0, 0, >0. */
int net_rule_compare(const struct manifest_net *a, const struct manifest_net *b);

/* "127.0.0.1:80", "[2001:db8::1]:443"; NUL-terminated; its length. */
size_t net_endpoint_text(const struct net_endpoint *endpoint, char ret[static NET_TEXT_MAX]);
/* "listen tcp 127.0.0.1:8000-8010", "connect *:443", "connect udp [fe80::/10]:ephemeral"; its length. */
size_t net_rule_text(const struct manifest_net *rule, char ret[static NET_TEXT_MAX]);
/* "tcp", "udp"; "" for ANY. */
const char *net_type_name(uint32_t type);
/* "listen", "connect". */
const char *net_action_name(uint32_t action);
