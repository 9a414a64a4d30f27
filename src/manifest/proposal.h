/*
 * From audit files (host/audit.h) to a proposal: which rules would let the program have what was refused. Tier:
 * hosted. Not thread-safe per object.
 *
 * An audit file is the word of the machine that ran the program, which is not trusted: it only says what to look at.
 * Every hash, size and kind comes from the files of this machine, now; what is not here is only named; what is below
 * /proc, /sys, /dev and /tmp, folders, and refusals that no file mends never become a rule. Nothing is granted by a
 * proposal: a person reads it, strikes out lines, and gives what is left to `--rules`, which takes a file only as
 * long as it has the content that the person was shown.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/attr.h"
#include "util/err.h"

#define PROPOSAL_FORMAT    "sgxpy-rules"
#define PROPOSAL_VERSION   1
#define PROPOSAL_ITEMS_MAX 10000u       /* different refusals; more are counted */
#define PROPOSAL_LINE_MAX  (64u << 10)  /* longer lines are no audit lines */
#define PROPOSAL_FILE_MAX  (64ul << 20) /* of rules */

struct proposal;

/* NULL: out of memory. */
struct proposal *proposal_new(void);
void proposal_free(struct proposal *p);
void proposal_free_p(struct proposal **p); /* for CLEANUP() */

/* Adds what an audit file holds; lines that are none are counted. Negative errno: it cannot be read. */
MUST_CHECK int proposal_read(struct proposal *p, const char *path, struct err *err);
/* Looks at this machine for each path; once, after the last proposal_read. -ENOMEM. */
MUST_CHECK int proposal_look(struct proposal *p, struct err *err);

/* For people: "+" lines are rules, "?" lines are not. ASCII, whatever the file held. */
void proposal_print(const struct proposal *p, FILE *out);
size_t proposal_rule_count(const struct proposal *p);
/* The rules as JSON, one a line, at path (replaced atomically). */
MUST_CHECK int proposal_store(const struct proposal *p, const char *path, struct err *err);

/* A trusted file of one node, by the node's label. */
struct manifest_node_trust {
    const char *node, *path;
};

/* A stored proposal, as it was reviewed. Free with rules_file_done. */
struct rules_file {
    void *memory;
    struct manifest_node_trust *trust;
    size_t trust_count;
    const char **listen, **connect; /* values of --listen, --connect */
    size_t listen_count, connect_count;
};

/* -EBADMSG: no rules of ours; -ESTALE: a file has not the hash that stands there. zero *ret before. */
MUST_CHECK int rules_file_load(const char *path, struct rules_file *ret, struct err *err);
void rules_file_done(struct rules_file *f);
