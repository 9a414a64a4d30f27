/*
 * The paths of one node while it is being built: what each is to become, and where it stands on
 * this machine. Tier: hosted; internal to src/manifest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <uthash.h>

#include "core/attr.h"
#include "manifest/build.h"
#include "manifest/cascade.h"
#include "tracer/trace.h"
#include "util/err.h"

struct entry {
    UT_hash_handle hh;
    const struct trace_path *traced; /* in the youngest trace that has it; NULL: added by a rule */
    uint64_t traced_at;              /* when that was */
    const struct trace_path *now;    /* in the trace that is being looked at */
    uint32_t bits;                   /* TRACE_*, of this node in all traces */
    uint32_t bits_now;               /* in the trace that is being looked at */
    uint32_t tree_now; /* TRACE_*, of all nodes, in the trace that is being looked at */
    uint32_t class;    /* 0: undecided; enum manifest_class */
    uint32_t flags;    /* enum manifest_file_flags */
    bool met_now;      /* in this trace a process met it that had not made it itself */
    bool met;          /* so it was for an output, in some trace */
    bool dropped;      /* a __pycache__ write of the traced run: not there in the enclave */
    bool own;          /* SGXPy's */
    bool folder;       /* scratch, output: a directory, and what it holds goes with it */
    bool by_rule;      /* --trust, --package: as good as mapped executable */
    bool closed;       /* closure.c has looked at it */
    bool stat_done;    /* st, exists and target are valid */
    bool exists;
    struct stat st; /* lstat, now */
    char *target;   /* symlinks */
    char path[];
};

struct allow_rule {
    char *path; /* canonical */
    bool folder;
};

/* Files that the run left below /tmp, of all nodes. */
struct lost {
    char *first;
    size_t count;
};

struct table {
    struct entry *entries;
    const struct manifest_rules *rules;
    struct manifest_report *report; /* may be NULL */
    struct err *err;
    struct allow_rule *allow;
    size_t allow_count;
    const struct trace_path **listed; /* directories whose names were read, by trace */
    size_t listed_count, listed_capacity;
    char **own; /* SGXPy's files, canonical */
    size_t own_count;
    struct lost *lost;
    uint32_t uid, gid;
    bool root;
    /* The node used /tmp or something in it that the run makes; always for the root. */
    bool uses_tmp;
};

void table_done(struct table *t);

/* NULL: none. */
struct entry *table_find(struct table *t, const char *path, size_t length);
/* Finds or adds. path must be canonical (cascade_path_valid). NULL: out of memory, err is set. */
struct entry *table_get(struct table *t, const char *path, size_t length);
/* lstat once. -ENOMEM only; a path that is not there is exists = false. */
MUST_CHECK int entry_stat(struct table *t, struct entry *e);
/* Raises the entry to a class (and adds flags); weaker claims than what stands are ignored:
 * absent < named < trusted < scratch < allowed. */
void entry_claim(struct entry *e, uint32_t class, uint32_t flags);

/* Remembers a listing. -ENOMEM. */
MUST_CHECK int table_add_listed(struct table *t, const struct trace_path *dir);

/*
 * Resolves an absolute path on this machine component by component; every symlink on the way gets
 * its record. *ret: the entry at the end, claimed by nobody yet; it may not exist. -ELOOP, -ENOENT
 * (a folder is missing), -ENOTDIR, -ENAMETOOLONG: without err. -ENOMEM with err.
 */
MUST_CHECK int table_resolve(struct table *t, const char *path, struct entry **ret);

/* Below or equal to prefix, by components. */
bool path_below(const char *path, const char *prefix);
/* /proc, /sys, /dev: the library OS answers those itself. */
bool path_built_in(const char *path);
/* Python or the loader may run it: .py, .pyc, .pth, .so... */
bool path_importable(const char *path);
/* The content of the file path + name starts with text, of up to 64 bytes. */
bool path_starts_with(const char *path, const char *name, const char *text);
/* SGXPy's own: its cache, and what rules->own names. */
bool table_own(const struct table *t, const char *path);
/* The --allow rule that covers path, or NULL. */
const struct allow_rule *table_allowed(const struct table *t, const char *path);

void table_note(struct table *t, const char *format, ...) PRINTF(2, 3);

/* ---- rules.c ---- */
/* Resolves --allow, before the traces are looked at. */
MUST_CHECK int rules_prepare(struct table *t);
/* --trust, --package, --deny and the allowed paths, after. */
MUST_CHECK int rules_apply(struct table *t);
/* What --allow must not open; after the closure. p: the root process. */
MUST_CHECK int rules_check_allowed(struct table *t, const struct trace_process *p);

/* ---- node_rules.c ---- */
struct tree;
/* What one node gets of the user's rules. */
struct node_rules {
    struct manifest_rules rules;
    const char **memory, **trust; /* what rules points to */
};
/* The root has all rules. Another node has those about paths that it touched, and the packages if
 * it runs the root's executable: a worker. -ENOMEM; *ret is to be zero before, and done after. */
MUST_CHECK int node_rules_make(const struct tree *tree, const struct trace *const *traces,
                               const struct manifest_rules *all, size_t node,
                               struct node_rules *ret);
void node_rules_done(struct node_rules *r);
/* A rule for a program that is not in the traces would be lost without a word: -EINVAL. */
MUST_CHECK int node_rules_check(const struct tree *tree, const struct manifest_rules *all,
                                struct err *err);
/* Notes which programs of a tree each --trust is for. */
void node_rules_tell(const struct tree *tree, const struct trace *const *traces,
                     const struct manifest_rules *all, struct manifest_report *report);

/* ---- records.c ---- */
/* The listed names and the ancestors of all that has a record. */
MUST_CHECK int records_complete(struct table *t);
/* node's files, without hashes. */
MUST_CHECK int records_make(struct table *t, struct cascade_node *node);
/* Hashes what node index trusts; what a node before it trusts is taken from there. */
MUST_CHECK int records_hash(struct cascade *c, size_t index, struct err *err);

/* ---- closure.c ---- */
/* .py with .pyc, libraries with the libraries they need, and their interpreter. */
MUST_CHECK int closure_add(struct table *t, const struct trace_process *p);

/* ---- starts.c ---- */
/* What a node needs to see of process p, which it started: the program's name, scripts and their
 * interpreters, and the symlinks on the way. */
MUST_CHECK int starts_other(struct table *t, const struct trace *trace,
                            const struct trace_process *p);
/* The folder that a process of the node starts in. */
MUST_CHECK int starts_folder(struct table *t, const struct trace_process *p);

/* ---- process.c ---- */
/* Everything of node but its files. */
MUST_CHECK int process_fill(struct cascade_node *n, const struct tree *tree, size_t node,
                            const struct trace *const *traces, const struct manifest_rules *rules,
                            struct manifest_report *report, struct err *err);
/* Index in argv of a script given to an interpreter; -1: -c, -m or standard input; 0: no
 * interpreter (or none that we know). */
int process_script(const struct trace_process *p);
/* What people call the node; NULL: out of memory. free() it. */
char *process_label(const struct tree *tree, size_t node);
/* A variable whose value may be a secret, by its name: it is in a cascade only if the user says so. */
bool process_secret(const char *name);

/* ---- given.c ---- */
/* What node's parents may give it at a start: after its files. root: the first node, filled. */
MUST_CHECK int given_fill(struct cascade_node *n, const struct cascade_node *root,
                          const struct tree *tree, size_t node, const struct trace *const *traces,
                          const struct manifest_rules *rules, struct err *err);
