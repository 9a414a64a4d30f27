/*
 * Content of scratch files that memory has no room for: chunks in one host file without a name,
 * sealed with AES-256-GCM under a key made at first use, which never leaves this enclave (the
 * tree's root, since scratch is there). Tier: enclave.
 *
 * What opens a chunk stays here: nonce and tag of its current version; the inode's and the chunk's
 * number are authenticated with it. So what the host flips, swaps, cuts or serves in an older
 * version does not open. The nonce counts writes, hence no (key, nonce) repeats. The host sees how
 * much is spilled, and when.
 */
#pragma once

#include <stdint.h>

#include "core/aes_gcm.h"
#include "core/attr.h"

#define SPILL_CHUNK      65536u
#define SPILL_PLACES_MAX (1u << 26) /* 4 TiB */

struct spilled {
    struct spilled *next; /* the caller's */
    uint64_t nonce;
    uint8_t tag[AES_GCM_TAG_SIZE];
    uint32_t place;
    uint32_t size;
    uint16_t present; /* the caller's: which blocks it holds */
};

/*
 * Neither keeps a lock across OCALLs; both use the data window.
 *
 * Seals size bytes of data in place and writes them. *ret is the caller's, for spill_free().
 * -ENOMEM; -ENOSPC: the host has no room, or no such file; -EIO: the host's other errors.
 */
MUST_CHECK int spill_write(uint64_t ino, uint64_t chunk, void *data, uint32_t size,
                           struct spilled **ret);
/* s->size bytes, or -EIO with a line in the log: then nothing of the host's is in data. */
MUST_CHECK int spill_read(const struct spilled *s, uint64_t ino, uint64_t chunk, void *data);
/* Its place in the host's file is free for others; s stays. At most once. */
void spill_release(struct spilled *s);
/* Frees a list; the host gets the room back. */
void spill_free(struct spilled *list);
