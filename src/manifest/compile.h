/*
 * A process node as a compiled manifest (abi/manifest.h): the same node, signer and files give the
 * same bytes. Tier: hosted. Not thread-safe per object.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "manifest/cascade.h"
#include "util/err.h"

/* Writes the count leaves of f's content; count = manifest_leaf_count(f->size). 0 or err_set. */
typedef int manifest_leaves_fn(void *ctx, const struct cascade_file *f,
                               uint8_t (*ret)[MANIFEST_HASH_SIZE], uint64_t count, struct err *err);

/* What a manifest measures beside its node. */
struct manifest_identity {
    const uint8_t *cascade_id, *mrsigner; /* 32 bytes each */
    const uint8_t (
        *mrenclaves)[MANIFEST_HASH_SIZE]; /* of all nodes, by index; those that the node may
                                                        start, and for the root all others, are set.
                                                        NULL: there are none */
};

/*
 * Lays out c->nodes[node]; leaves come from the callback and are checked against each file's root. The
 * result has passed manifest_view_open. Free *ret with free().
 * -EBADMSG (the node contradicts itself), -EILSEQ (leaves do not give the root), -EFBIG, -ENOMEM,
 * or what the callback said.
 */
MUST_CHECK int manifest_pack(const struct cascade *c, size_t node,
                             const struct manifest_identity *id, manifest_leaves_fn *leaves,
                             void *ctx, void **ret, size_t *ret_size, struct err *err);

/*
 * manifest_pack, reading the trusted files again from this machine. What is not the content in the cascade
 * any more is refused with both hashes: -ESTALE. A file that cannot be opened: exit code 4, with file and
 * user.
 */
MUST_CHECK int manifest_compile(const struct cascade *c, size_t node,
                                const struct manifest_identity *id, void **ret, size_t *ret_size,
                                struct err *err);
