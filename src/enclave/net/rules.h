/*
 * The manifest's network rules (MANIFEST_NET, core/net_rule.h), asked before a socket of IPv4 or IPv6 is
 * bound, connected or sent from. What no rule covers is EACCES with an audit line (OCALL_AUDIT_NET) each
 * time, and a remark on stderr the first times. Tier: enclave. Thread-safe; takes no lock; the audit line is
 * an OCALL.
 *
 * The host carries every packet, so a rule keeps no secret from it and does not say who is at the other end:
 * it bounds what the *program* may be talked into, and shows a reviewer what it needs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "abi/manifest.h"
#include "core/attr.h"

enum net_rule_action {
    /* bind; listen on a socket without address: the family's any, port 0 */
    NET_LISTEN = MANIFEST_NET_LISTEN,
    NET_CONNECT = MANIFEST_NET_CONNECT, /* connect; sendto, sendmsg, sendmmsg with an address */
};

/*
 * address: struct sockaddr_in or sockaddr_in6 of size bytes, in memory of the library OS (copied from the
 * program before: what is checked is what is used). type: SOCK_STREAM, SOCK_DGRAM...; its flags are ignored.
 * 0, or
 *  -EACCES        no rule covers it
 *  -EINVAL        shorter than its family's address
 *  -EAFNOSUPPORT  another family: not a matter of rules, nothing is written
 * AF_UNSPEC: to connect 0 (it dissolves an association, connect(2)), to listen as AF_INET (bind(2) of Linux).
 */
MUST_CHECK int net_rule_check(enum net_rule_action action, const void *address, size_t size,
                              int type);

/*
 * A datagram socket that the program itself bound to this address answers whoever wrote to it: true if a
 * rule lets it listen there at a port with a number, and then no destination of that socket is checked. At an
 * ephemeral port (port 0: it asked for any) it is a client as well, so false: sendto asks net_rule_check.
 */
MUST_CHECK bool net_rule_answers(const void *local, size_t size);

/*
 * What the kernel gave for port 0 (getsockname after such a bind or listen). Where net.ipv4.ip_local_port_range
 * goes below NET_EPHEMERAL_FIRST, rules for ephemeral ports cover this one as well, in this process.
 */
void net_rule_given(const void *local, size_t size, int type);
