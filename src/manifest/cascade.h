/*
 * The cascade: the process nodes of one command with their files, in memory and as JSON (format
 * "sgxpy-cascade", version 4; docs/manifest.md). Tier: hosted. Not thread-safe per object.
 *
 * The JSON is meant to be read in review and kept in git: keys sorted, one file a line, the same
 * bytes for the same cascade. Strings are bytes; those that are no UTF-8 stand under KEY_hex. It
 * holds no environment value that was not pinned on purpose. Loading is strict: an unknown key, a
 * missing one, a wrong type or range is refused with file, place ("nodes[0].files[3].mode") and
 * reason.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/manifest.h"
#include "core/attr.h"
#include "util/err.h"

#define CASCADE_FORMAT     "sgxpy-cascade"
#define CASCADE_VERSION    4
#define CASCADE_SIZE_MAX   (512ul << 20)
#define CASCADE_NODES_MAX  4096u
#define CASCADE_STARTS_MAX 65536u /* entry points, or children, of one node */

/* Strings are owned, NUL-terminated, never NULL unless the comment says so. */
struct cascade_file {
    char *path;     /* absolute, canonical; parents are records too, "/" included */
    char *target;   /* symlink text; NULL for all else */
    char *link;     /* hard link: the first path, in order, of the same inode; NULL: the first, or
                       the only one */
    uint32_t class; /* enum manifest_class */
    uint32_t flags; /* enum manifest_file_flags */
    uint32_t mode;  /* 0: absent */
    uint32_t nlink, uid, gid;
    uint32_t dev; /* small number per file system, from 1; 0: absent */
    uint64_t size;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint8_t sha256[MANIFEST_HASH_SIZE]; /* trusted regular files: whole content */
    uint8_t root[MANIFEST_HASH_SIZE];   /* and core/manifest_leaf.h's hash over its chunks */
};

struct cascade_env {
    char *name;
    char *value;     /* empty for MANIFEST_ENV_HOST */
    uint32_t policy; /* enum manifest_env_policy */
};

/* Which start of a program: what its key (core/program_key.h) is made of, in words. */
struct cascade_start {
    char *executable; /* path of the ELF file that starts */
    uint32_t kind;    /* enum program_kind */
    char *text;       /* script, module or command (normalized); NULL for all else */
};

struct cascade_entry {
    struct cascade_start start;
    char *interpreter; /* PT_INTERP, resolved; NULL: static */
    char *execfn;      /* AT_EXECFN */
};

struct cascade_given {
    uint32_t what; /* enum manifest_given_what */
    char *name;    /* of a variable; NULL for all else */
    char *value;   /* NULL: UNSET, HOST, INSECURE */
};

struct cascade_child {
    struct cascade_start start; /* an entry of the node */
    uint32_t node;              /* index; the own one: it starts itself */
};

struct cascade_node {
    char *label; /* "python3.11 train.py" */
    char *cwd, *hostname;
    uint32_t flags; /* enum manifest_node_flags */
    uint32_t uid, gid, umask;
    uint32_t thread_count, cpu_count, fd_limit, async_signals;
    uint32_t process_limit; /* root: processes alive at once; others 0 */
    uint64_t heap_size, stack_size;
    struct cascade_entry *entries; /* at least one; the root's own start first, others sorted */
    size_t entry_count;
    struct cascade_child *children; /* sorted by start */
    size_t child_count;
    struct cascade_given *given; /* sorted by what, name, value */
    size_t given_count;
    char **args;
    size_t arg_count;
    struct cascade_env *env; /* sorted by name */
    size_t env_count;
    struct cascade_file *files; /* sorted by path bytes */
    size_t file_count;
    char **net; /* network rules, as net_rule_text (core/net_rule.h) writes them, sorted */
    size_t net_count;
    char **sockets; /* for review: named AF_UNIX sockets that the traced program used, sorted */
    size_t socket_count;
};

struct cascade {
    struct cascade_node *nodes; /* nodes[0] is the root */
    size_t node_count;
};

/* All zero; NULL: out of memory. */
struct cascade *cascade_new(size_t node_count);
void cascade_free(struct cascade *c);
void cascade_free_p(struct cascade **c); /* for CLEANUP() */
void cascade_file_done(struct cascade_file *f);

/* By what, name, value. */
int cascade_given_compare(const struct cascade_given *a, const struct cascade_given *b);
/* By executable, kind, text: memcmp's order. */
int cascade_start_compare(const struct cascade_start *a, const struct cascade_start *b);
/* Its key; zero where the kind has none. */
void cascade_start_key(const struct cascade_start *s, uint8_t ret[static MANIFEST_HASH_SIZE]);
/* Copies; false without memory (what was copied is in *ret). */
bool cascade_start_copy(const struct cascade_start *from, struct cascade_start *ret);
void cascade_start_done(struct cascade_start *s);

/* All nodes, each after those that it may start and the root last, into ret[node_count]. -ELOOP: nodes that start each other,
 * which cannot be measured. -ENOMEM. */
MUST_CHECK int cascade_order(const struct cascade *c, size_t *ret);

/* The record of path, or NULL. */
const struct cascade_file *cascade_find(const struct cascade_node *n, const char *path);

/* Bytes of the JSON, with a newline at the end; free with free(). -ENOMEM, -EINVAL (not sorted). */
MUST_CHECK int cascade_print(const struct cascade *c, char **ret, size_t *ret_size,
                             struct err *err);
/* name stands for the file in messages. On failure *ret is untouched. Free with cascade_free.
 * -EBADMSG, -EPROTO for another version. */
MUST_CHECK int cascade_parse(const char *name, const char *text, size_t size, struct cascade **ret,
                             struct err *err);
MUST_CHECK int cascade_load(const char *path, struct cascade **ret, struct err *err);
/* Writes atomically, mode 0644. */
MUST_CHECK int cascade_save(const struct cascade *c, const char *path, struct err *err);

/* The cascade id: SHA-256 of the JSON, which holds no enclave's measurement. */
MUST_CHECK int cascade_id(const struct cascade *c, uint8_t ret[static MANIFEST_HASH_SIZE],
                          struct err *err);

/* Absolute, no "//", ".", "..", no "/" at the end, at most MANIFEST_PATH_MAX bytes. */
bool cascade_path_valid(const char *path);
/* "trusted", ...; "?" for none. */
const char *cascade_class_name(uint32_t class);
/* "variable", ...; "?" for none. */
const char *cascade_given_word(uint32_t what);
