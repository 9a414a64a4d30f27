/*
 * SHA-256 (FIPS 180-4). Tier: core: no libc, no allocation. Not thread-safe per object.
 *
 * Two backends compute the same: portable C (about 0.2 GB/s) and the CPU's SHA instructions
 * (as fast as OpenSSL: 1.5 to 1.8 GB/s). A hosted program takes the instructions by itself where
 * CPUID has them. Bare code starts out portable and says sha256_use_ni(true) once it knows its CPU;
 * there, every call that may hash (update, final, sha256) clobbers xmm0-xmm15, which the caller
 * saves if they are not its own. The upper halves of ymm and zmm are not touched (legacy SSE
 * encodings only), nor x87.
 *
 * Everything fits messages below 2^61 bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"

#define SHA256_SIZE       32
#define SHA256_BLOCK_SIZE 64

/* Caller allocates; nothing to free. Fields are private. Copy it to fork a hash. */
struct sha256 {
    uint32_t state[8];
    uint64_t size;                    /* bytes taken in so far */
    uint8_t block[SHA256_BLOCK_SIZE]; /* the first size % 64 bytes wait here */
};

/* Chooses the backend for all objects of the program; call before threads start. The caller
 * answers for the CPU having SHA, SSSE3 and SSE4.1. */
void sha256_use_ni(bool use);
bool sha256_uses_ni(void);

void sha256_init(struct sha256 *h);
/* data may be NULL if size is 0. */
void sha256_update(struct sha256 *h, const void *data, size_t size);
/* Ends the hash and wipes h; init it anew to use it again. */
/* size bytes into each of two objects. Where both have taken in equally many bytes so far, the CPU's SHA
 * instructions work on both at a time: 1.9 times as fast as one after the other. */
void sha256_update2(struct sha256 *a, const void *data_a, struct sha256 *b, const void *data_b,
                    size_t size);
void sha256_final(struct sha256 *h, uint8_t ret[static SHA256_SIZE]);

/* All in one. */
void sha256(const void *data, size_t size, uint8_t ret[static SHA256_SIZE]);

/* The compression function over count whole blocks; data needs no alignment. The backends: */
void sha256_blocks_portable(uint32_t state[static 8], const uint8_t *data, size_t count);
void sha256_blocks_ni(uint32_t state[static 8], const uint8_t *data, size_t count);
void sha256_blocks2_ni(uint32_t state_a[static 8], const uint8_t *data_a,
                       uint32_t state_b[static 8], const uint8_t *data_b, size_t count);

/* FIPS 180-4, 4.2.2: 64 constants. */
extern const uint32_t g_sha256_k[64];
