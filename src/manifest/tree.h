/*
 * The process tree of one or more traces: which programs there were, who started whom, and which
 * programs share a node. Tier: hosted; internal to src/manifest, and for `show --why`.
 *
 * A program is an executable and, for interpreters, what it interprets (core/program_key.h). A fork
 * without exec is still its parent's program; the same program started again, or in another trace, is
 * one. Programs that start each other in a circle share a node, because their measurements would
 * otherwise need each other; --merge puts all starts of an executable into one program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "manifest/build.h"
#include "manifest/cascade.h"
#include "tracer/trace.h"
#include "util/err.h"

#define TREE_NONE SIZE_MAX

struct tree_program {
    struct cascade_start start;
    const struct trace *trace; /* its first process: of the first trace that has it */
    const struct trace_process *process;
    size_t node; /* TREE_NONE: not in the cascade */
};

struct tree_edge {
    size_t from, to; /* programs */
};

struct tree_node {
    size_t *programs; /* sorted; the root's begins with the root's program */
    size_t program_count;
    bool forks;
};

struct tree {
    struct tree_program *programs; /* [0]: the root's; the others sorted by start */
    size_t program_count;
    struct tree_edge *edges; /* sorted, each once; both ends are in the cascade */
    size_t edge_count;
    struct tree_node *nodes; /* [0]: the root; the others by their first program */
    size_t node_count;
    size_t **program_of; /* [trace][process]: program, TREE_NONE: not in the cascade */
    size_t trace_count;
};

/*
 * rules: exec_deny, merge. report may be NULL. -EINVAL and a message: a program without path, another
 * --merge than the traces have, other commands in the traces. Free with tree_done, also after failure.
 */
MUST_CHECK int tree_build(const struct trace *const *traces, size_t trace_count,
                          const struct manifest_rules *rules, struct manifest_report *report,
                          struct tree *ret, struct err *err);
void tree_done(struct tree *t);

/* The node of process p of trace i; TREE_NONE: none. */
size_t tree_node_of(const struct tree *t, size_t trace, size_t process);

/* What starts in process p: kind, executable and normalized text, owned by *ret. -ENOMEM. */
MUST_CHECK int tree_start(const struct trace_process *p, struct cascade_start *ret);
/* "sh -c uname", "python3.11 train.py". NULL: out of memory. Free with free(). */
char *tree_label(const struct cascade_start *start);
