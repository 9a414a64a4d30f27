/*
 * Hashing of trusted files on the host: leaves, root (core/manifest_leaf.h) and the plain SHA-256
 * for people. Tier: hosted. Thread-safe.
 */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#include "core/attr.h"
#include "manifest/cascade.h"
#include "util/err.h"

/*
 * Opens path (no symlink in its last component), refuses what is no regular file, and hashes it
 * into f->sha256 and f->root. -ESTALE if size or modification time are not f's, or it changed while
 * it was read; a file that cannot be opened: its errno, exit code 4, one line with file and user.
 */
MUST_CHECK int manifest_hash_file(struct cascade_file *f, struct err *err);
/* The leaves of a file that stands in a cascade already; count = manifest_leaf_count(f->size).
 * Content that does not give f->root: -ESTALE with both SHA-256s. */
MUST_CHECK int manifest_hash_again(const struct cascade_file *f, uint8_t (*ret)[MANIFEST_HASH_SIZE],
                                   uint64_t count, struct err *err);
/* err_set for a file that the user may not open: exit code 4. code: negative errno. */
int manifest_unreadable(const char *path, int code, struct err *err);
/* 64 hex digits and a NUL. */
void manifest_hex(const uint8_t hash[static MANIFEST_HASH_SIZE], char ret[static 65]);
