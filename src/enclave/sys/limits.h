/* The limits that the program has set with setrlimit(2), which its children inherit (sys/identity.c). Those of a vfork
 * child are its own (process/vfork.h). Tier: enclave. */
#pragma once

#include <linux/resource.h>
#include <stdint.h>

/* Of one that was never set each node has its own. */
struct limits {
    uint64_t set; /* bit RLIMIT_x: of[RLIMIT_x] counts */
    struct rlimit64 of[RLIM_NLIMITS];
};
/* Of the process that the calling thread plays. */
void limits_get(struct limits *ret);
/* A child's first: from its parent. */
void limits_inherit(const struct limits *limits);
