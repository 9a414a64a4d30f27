/*
 * Verified content of trusted files: chunks of MANIFEST_CHUNK_SIZE bytes, read from the host when
 * first needed, compared with their leaf in the manifest, and kept while memory lasts. Tier:
 * enclave.
 *
 * A chunk is known by its leaf's number, which only one file has (files with equal content may
 * share it; then the content is the same by definition). Nothing is verified in place: the bytes
 * are copied in, then hashed, then used.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

/* Bytes kept beyond what is pinned (mappings have copies): a quarter of the library OS's heap, within these. Whoever
 * finds that heap empty takes them back. */
#define CHUNK_CACHE_LEAST (8ull << 20)
#define CHUNK_CACHE_MOST  (256ull << 20)
#define CHUNK_HANDLES_MAX 256u /* host files kept open */

MUST_CHECK int chunks_init(void);
/* As chunk_get, by record index. ahead: how many chunks from index on the caller is about to ask
 * for; they may be brought in together. Nothing is read on a guess: verifying costs more than an
 * OCALL. */
MUST_CHECK int chunk_get_record(uint32_t record, uint64_t index, uint64_t ahead, struct chunk **ret,
                                const void **ret_data, uint32_t *ret_size);
/* Frees what is not pinned: called when the enclave runs out of memory. */
void chunks_shrink(void);

/* For who has no room for a handle: closes the host's files that are not being read, to be opened again when they are.
 * False: there was none. Without locks. */
bool chunk_handles_drop(void);
