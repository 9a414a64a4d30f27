/*
 * Where the bytes of scratch files are: 4 KiB blocks in a radix tree per inode, holes included, so
 * that a file may be as large and as sparse as it likes. Sixteen blocks are a chunk. When all files
 * together hold more than half of the enclave's heap size in memory, chunks that were not touched
 * for a while are spilled (spill.h), and come back when they are touched. Tier: enclave.
 *
 * A chunk is in memory, or spilled, or moving between both: then it is on the inode's list of pins,
 * and who wants it waits. A pinned chunk stays in memory. All functions but blocks_free are called
 * with the inode's lock held; block_get and blocks_load may drop it meanwhile, since they may make
 * OCALLs and memory.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

struct inode;
struct spilled;

#define BLOCK_SIZE   4096u
#define CHUNK_BLOCKS 16u

struct pin {
    struct pin *next;
    uint64_t chunk;
    bool moving;
};

/*
 * The block, in *ret; NULL for a hole unless make says that there shall be none. pin: may be NULL;
 * else the chunk is pinned until block_unpin() if *ret is not NULL; it is not if an error is
 * returned. Without a pin, *ret is good until the lock is dropped. -EIO: the host does not give it
 * back; -ENOSPC, -ENOMEM.
 */
MUST_CHECK int block_get(struct inode *inode, uint64_t index, bool make, struct pin *pin,
                         char **ret);
void block_unpin(struct inode *inode, struct pin *pin);
/* Brings this block's chunk into memory. 1: the lock was dropped for that; -EIO, -ENOMEM. */
MUST_CHECK int blocks_load(struct inode *inode, uint64_t index);
/* No hole? */
bool block_present(struct inode *inode, uint64_t index);
/* This block is a hole: the next one that may be none, UINT64_MAX: there is none. Files are as large as one says:
 * who looks at all blocks may never come back. */
uint64_t blocks_hole_end(const struct inode *inode, uint64_t index);
/* Frees all blocks from first on. Nobody else is busy with the inode (inode.h), and the chunk of
 * first - 1, if it is first's too, is in memory: blocks_load. What was spilled is added to *gone,
 * for spill_free(). */
void blocks_prune(struct inode *inode, uint64_t first, struct spilled **gone);
/* The inode goes: all of it. */
void blocks_free(struct inode *inode);
