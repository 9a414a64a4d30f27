/* The limits that the program has set with setrlimit(2), and root's supplementary groups, setgroups(2): children inherit
 * both (sys/identity.c). Those of a vfork child are its own (process/vfork.h). Tier: enclave. */
#pragma once

#include <linux/resource.h>
#include <stdbool.h>
#include <stdint.h>

#define GROUPS_MAX 64u /* Linux: 65536 */

/* Of one that was never set each node has its own. */
struct limits {
    uint64_t set; /* bit RLIMIT_x: of[RLIMIT_x] counts */
    struct rlimit64 of[RLIM_NLIMITS];
    uint32_t group_count;
    bool groups_set;             /* else the node's one */
    uint32_t groups[GROUPS_MAX]; /* sorted */
};
/* Those of the process that the calling thread plays: how many; up to room of them. */
uint32_t groups_get(uint32_t *ret, uint32_t room);
/* Of the process that the calling thread plays. */
void limits_get(struct limits *ret);
/* A child's first: from its parent. */
void limits_inherit(const struct limits *limits);
