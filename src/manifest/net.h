/*
 * Network rules: from the sockets of traces and the options --listen, --connect to what stands in a cascade
 * ("listen tcp 127.0.0.1:8080", as net_rule_text writes them). Tier: hosted; internal to src/manifest but for
 * net_parse and net_parse_option. Not thread-safe per object.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/manifest.h"
#include "core/attr.h"
#include "manifest/build.h"
#include "manifest/cascade.h"
#include "manifest/tree.h"
#include "util/err.h"

/* Free with net_rules_done. */
struct net_rules {
    struct manifest_net *items;
    size_t count;
};
void net_rules_done(struct net_rules *rules);

/* A rule as net_rule_text writes it, and not otherwise: -EINVAL. */
MUST_CHECK int net_parse(const char *text, struct manifest_net *ret);

/*
 * The value of --listen or --connect; adds its rules to *rules.
 *     [ADDRESS[/PREFIX]:]PORTS, ADDRESS[/PREFIX][:PORTS], HOST[:PORTS], *
 * and "/tcp" or "/udp" behind that. IPv6 stands in brackets if ports follow. PORTS: N, N-M, "*", "ephemeral".
 * rules NULL: only says whether the value is one, and resolves nothing.
 * Only to connect: HOST is resolved, now, on this machine, and each of its addresses gives a rule.
 * 0; 1 if a HOST was resolved; -EINVAL or -ENOENT (no such host), with a line that names option, value and reason.
 */
MUST_CHECK int net_parse_option(uint32_t action, const char *value, struct net_rules *rules,
                                struct err *err);

/* Whether the rule is what a traced socket asked for, or wider. */
bool net_covers_socket(const struct manifest_net *rule, const struct trace_socket *socket);

/*
 * n->net of a node: what its processes bound and connected to in all traces, and the user's rules if they are
 * for this node; sorted, without what another rule contains. Ports that a kernel chose are "ephemeral", so two
 * traces of one program give the same. -EINVAL, -ENOENT (the options), -E2BIG, -ENOMEM.
 */
MUST_CHECK int net_fill(struct cascade_node *n, const struct tree *tree, size_t node,
                        const struct trace *const *traces, const struct manifest_rules *rules,
                        struct manifest_report *report, struct err *err);
