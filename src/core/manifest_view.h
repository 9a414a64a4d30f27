/*
 * A compiled manifest (abi/manifest.h) as a checked, typed view: the one reader of that format,
 * used by the library OS in the enclave, by the signer and by the tests. Tier: core: no libc, no
 * allocation, no I/O. A view points into the manifest's bytes, which must stay and must not change;
 * it is read-only after manifest_view_open, so threads may share it.
 *
 * manifest_view_open checks *everything* once: every index, range, string, order, hash slot and
 * flag. So a reader may index files[], dirents[], leaves[] with what a record says without looking
 * again, and may rely on:
 *  - every string is followed by a NUL and holds none (MANIFEST_ARGS and environment values too);
 *  - files[0] is "/", a record's parent stands before it, is a directory (or an allowed or scratch
 *    folder), and its path is the record's without the last component;
 *  - files are sorted, and so are one directory's dirents; manifest_find finds each;
 *  - a trusted regular file has exactly ceil(size / MANIFEST_CHUNK_SIZE) leaves, others none;
 *  - symlinks, and only they, have a target; ABSENT records have mode 0;
 *  - a dirent's record has that directory as parent, and is neither ABSENT nor an OUTPUT nor
 *    temporary (scratch with nlink 0: not there until the program creates it in its tmpfs);
 *  - net rules are sorted and none stands twice; what net_rule_wrong (core/net_rule.h) finds wrong is not there;
 *  - given is sorted and none stands twice; names and values are there where `what` has them, folders are canonical;
 *  - entries[0].executable is trusted, regular and MANIFEST_EXEC, and so is its interpreter.
 * The limits below hold as well.
 */
#pragma once

#include <stdint.h>

#include "abi/manifest.h"
#include "core/attr.h"

#define MANIFEST_FILES_MAX     (1u << 20)
#define MANIFEST_THREADS_MAX   1024u
#define MANIFEST_ARGS_MAX      65536u
#define MANIFEST_ENV_MAX       65536u
#define MANIFEST_HEAP_MAX      (1ull << 43)
#define MANIFEST_NET_MAX       16384u
#define MANIFEST_GIVEN_MAX     65536u
/* Half of TREE_SLOTS: a process has one, its threads need others. */
#define MANIFEST_PROCESSES_MAX 2048u

/* Caller allocates; nothing to free. Read the fields as you like, never write them. */
struct manifest_view {
    const struct manifest_header *header;
    const struct manifest_node *node;
    const char *strings;
    const struct manifest_file *files;
    const uint32_t *index;
    const uint8_t (*leaves)[MANIFEST_HASH_SIZE];
    const struct manifest_dirent *dirents;
    const struct manifest_str *args;
    const struct manifest_env *env;
    const struct manifest_entry *entries;
    const struct manifest_child *children;
    const struct manifest_grant *grants;
    const struct manifest_net *net;
    const struct manifest_given *given;
    uint64_t size; /* bytes of the whole manifest */
    uint64_t string_size;
    uint32_t file_count, index_count, leaf_count, dirent_count;
    uint32_t arg_count, env_count, entry_count, child_count, grant_count, net_count, given_count;
};

/*
 * data: 8-byte aligned; size must be the header's. O(size). -EBADMSG if anything is wrong, and
 * -EPROTO for another version; then *ret is untouched and *ret_reason (may be NULL) is a constant
 * text that says what. *ret_reason is untouched on success.
 */
MUST_CHECK int manifest_view_open(const void *data, uint64_t size, struct manifest_view *ret,
                                  const char **ret_reason);

/* Index of the record with exactly this path (canonical bytes, no NUL needed), or MANIFEST_NONE. */
uint32_t manifest_find(const struct manifest_view *v, const char *path, uint64_t length);
/* For a path without record: index of the nearest ancestor that has one, or MANIFEST_NONE if path
 * does not start with "/". An own record does not count: "/a/b" gives that of "/a". "/" gives NONE.
 */
uint32_t manifest_find_above(const struct manifest_view *v, const char *path, uint64_t length);
/* The record of name in the directory record dir, or MANIFEST_NONE. Needs no joined path. */
uint32_t manifest_find_in(const struct manifest_view *v, uint32_t dir, const char *name,
                          uint64_t length);

/* NUL-terminated; s must come from this view's records. */
static inline const char *manifest_str_ptr(const struct manifest_view *v, struct manifest_str s)
{
    return v->strings + s.offset;
}
static inline const char *manifest_path(const struct manifest_view *v, uint32_t file)
{
    return v->strings + v->files[file].path.offset;
}
/* Last component of the record's path; *ret_length without the NUL. "/" for the root. */
const char *manifest_base_name(const struct manifest_view *v, uint32_t file, uint32_t *ret_length);
