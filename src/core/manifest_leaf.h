/*
 * How file content is hashed in a manifest: a leaf per chunk, and a root over the leaves that
 * stands for them all in the cascade. The first byte keeps leaves and roots apart. Tier: core.
 */
#pragma once

#include <stdint.h>

#include "abi/manifest.h"
#include "core/sha256.h"

static inline void manifest_le64(uint8_t *p, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(n >> (8 * i));
}

#define MANIFEST_LEAF_HEAD 13

static inline void manifest_leaf_head(uint64_t index, uint32_t length,
                                      uint8_t ret[static MANIFEST_LEAF_HEAD])
{
    ret[0] = 0;
    manifest_le64(ret + 1, index);
    for (int i = 0; i < 4; i++)
        ret[9 + i] = (uint8_t)(length >> (8 * i));
}

/* SHA-256(0x00, u64le index of the chunk, u32le length, bytes); length <= MANIFEST_CHUNK_SIZE. */
static inline void manifest_leaf(uint64_t index, const void *data, uint32_t length,
                                 uint8_t ret[static MANIFEST_HASH_SIZE])
{
    uint8_t head[MANIFEST_LEAF_HEAD];
    manifest_leaf_head(index, length, head);
    struct sha256 h;
    sha256_init(&h);
    sha256_update(&h, head, sizeof(head));
    sha256_update(&h, data, length);
    sha256_final(&h, ret);
}

/* Leaves of the whole chunks index and index + 1, in little more time than one. */
static inline void manifest_leaf_pair(uint64_t index, const void *data, const void *next_data,
                                      uint8_t ret[static MANIFEST_HASH_SIZE],
                                      uint8_t ret_next[static MANIFEST_HASH_SIZE])
{
    uint8_t head[2][MANIFEST_LEAF_HEAD];
    struct sha256 h[2];
    for (unsigned i = 0; i < 2; i++) {
        manifest_leaf_head(index + i, MANIFEST_CHUNK_SIZE, head[i]);
        sha256_init(&h[i]);
    }
    sha256_update2(&h[0], head[0], &h[1], head[1], MANIFEST_LEAF_HEAD);
    sha256_update2(&h[0], data, &h[1], next_data, MANIFEST_CHUNK_SIZE);
    sha256_final(&h[0], ret);
    sha256_final(&h[1], ret_next);
}

/* SHA-256(0x01, u64le size of the file, leaves). */
static inline void manifest_root(uint64_t size, const uint8_t (*leaves)[MANIFEST_HASH_SIZE],
                                 uint64_t count, uint8_t ret[static MANIFEST_HASH_SIZE])
{
    uint8_t head[9] = { 1 };
    manifest_le64(head + 1, size);
    struct sha256 h;
    sha256_init(&h);
    sha256_update(&h, head, sizeof(head));
    sha256_update(&h, leaves, count * MANIFEST_HASH_SIZE);
    sha256_final(&h, ret);
}

static inline uint64_t manifest_leaf_count(uint64_t size)
{
    return size / MANIFEST_CHUNK_SIZE + (size % MANIFEST_CHUNK_SIZE != 0);
}
