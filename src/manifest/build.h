/*
 * From traces and the user's rules to a cascade: classifies every path (trusted, allowed, scratch,
 * named, absent), closes over what Python and ld.so may need, hashes what is trusted, and decides
 * environment, arguments and limits. docs/manifest.md has the rules. Tier: hosted; reads the files
 * of this machine, writes nothing. Not thread-safe; uses two threads itself.
 *
 * The same traces, rules and files give the same cascade.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "manifest/cascade.h"
#include "manifest/proposal.h"
#include "tracer/trace.h"
#include "util/err.h"

/* All zero: nothing but what was traced. Relative paths are relative to the working directory. */
struct manifest_rules {
    const char *const *trust; /* files, or folders with everything below */
    size_t trust_count;
    const char *const
        *allow; /* files, or folders with all below; "x/" is a folder even if absent */
    size_t allow_count;
    /* Trusted data files that answer EIO instead of aborting; folders: as trust, and the data files below so. */
    const char *const *deny;
    size_t deny_count;
    /* Files trusted in one node, by its label; a label that no node has is refused. */
    const struct manifest_node_trust *node_trust;
    size_t node_trust_count;
    const char *const *package; /* Debian packages, trusted whole */
    size_t package_count;
    const char *const *env; /* "NAME=VALUE" pins, "NAME" takes the host's value at run time */
    size_t env_count;
    const char *const *own; /* SGXPy's own files (trace, cascade, cache): in no listing */
    size_t own_count;
    const char *const *merge; /* executables (path or name), all starts of which are one node */
    size_t merge_count;
    const char *const
        *listen; /* network addresses and ports, as net_parse_option (manifest/net.h) takes them */
    size_t listen_count;
    const char *const *connect;
    size_t connect_count;
    /* Variables that a node takes from its parent with any value; "all": folder and options too. */
    const char *const *insecure_given;
    size_t insecure_given_count;
    bool exec_deny;
    bool debug;
    bool args_host; /* arguments after the script come from whoever runs it */
    /* Of the root, and of what else runs its executable; 0 and other programs: proposed from the traces. */
    uint64_t heap_size; /* bytes */
    uint32_t thread_count;
    uint32_t process_limit; /* processes alive at once; 0: proposed */
};

/* What people should be told. Strings are owned. */
struct manifest_report {
    char **dropped; /* names of environment variables that were left out, sorted */
    size_t dropped_count;
    char **notes; /* one line each: what the manifest does otherwise than the traced run */
    size_t note_count;
};
void manifest_report_done(struct manifest_report *r);

/* Adds a note; the same twice stands once. NULL: none is wanted. */
void manifest_note(struct manifest_report *r, const char *format, ...) PRINTF(2, 3);

/*
 * Traces of one program (same executable and arguments). One node for each program of the tree
 * (manifest/tree.h); c->nodes[0] is the root. On failure *ret is untouched; *report is
 * always valid (zero it before, manifest_report_done it after) and may be NULL.
 * Exit code 2 with one line: a file is read and rewritten (proposing --allow); a rule is refused; a file changed since it was traced.
 * Exit code 4: a file that this user cannot open.
 */
MUST_CHECK int manifest_build(const struct trace *const *traces, size_t trace_count,
                              const struct manifest_rules *rules, struct cascade **ret,
                              struct manifest_report *report, struct err *err);
