/*
 * Compiled manifests for tests, from a table and without a trace: content comes from memory, parent
 * directories are made (0755, root's). For anything else in the tests that needs a manifest: depend
 * on manifest_builder_dep.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "manifest/cascade.h"
#include "util/err.h"

/* Left out members take what stands behind "0:". */
struct built_file {
    const char *path;
    uint32_t class; /* 0: MANIFEST_TRUSTED */
    uint32_t flags;
    uint32_t mode;       /* 0: S_IFLNK | 0777 with target, else S_IFREG | 0644 (0755 with EXEC);
                            absent: none */
    const void *content; /* of a regular file, size bytes; trusted ones are hashed from it */
    uint64_t size;       /* NULL content with a size: that many zeros */
    const char *target;
    const char *link;
    int64_t mtime_sec; /* directories: always 0 */
};

struct built_node {
    const char *const *args; /* NULL-terminated. 0: { executable } */
    const char *const *env; /* "NAME=VALUE" pinned, "NAME" from the host; sorted by name. 0: none */
    const char *const *net; /* NULL-terminated network rules, sorted. 0: none */
    const struct cascade_given *given; /* sorted; not of roots */
    size_t given_count;
    const char *executable;  /* 0: "/bin/program", made if the table has no such path */
    const char *interpreter; /* 0: static */
    const char *cwd;         /* 0: "/" */
    uint32_t flags;          /* 0: MANIFEST_ROOT */
    uint32_t uid, gid;
    uint32_t umask;        /* 0: 022 */
    uint32_t thread_count; /* 0: 4 */
    uint64_t heap_size;    /* 0: 64 MiB */
};

/* node may be NULL. The manifest is 8-byte aligned; free it with free(). err may be NULL. */
MUST_CHECK int manifest_build_table(const struct built_file *files, size_t count,
                                    const struct built_node *node, void **ret, size_t *ret_size,
                                    struct err *err);
/* The same as a cascade of one node; cascade_free it. */
MUST_CHECK int manifest_build_cascade(const struct built_file *files, size_t count,
                                      const struct built_node *node, struct cascade **ret,
                                      struct err *err);
