/*
 * The bulk of AES-256-GCM, WIDE vectors a turn, for vectors of one block (aes_gcm.c) and of two
 * (aes_gcm_wide.c). The file that includes this, once, has before it
 *
 *   vector, VECTOR_SIZE            the type and its bytes
 *   load, store, swap              of vectors; swap reverses the bytes of each block
 *   key, enc, enc_last             AES: a round's key in each block, a round, the last round
 *   counter_spread, counter_first  the counter blocks of a vector whose first is given; and back
 *   counter_add                    the vector's that comes n vectors later
 *   struct sums, sums_add          products of vector n of a turn with its powers of the hash key
 *   sums_reduce, first_block       all of them as one block; a block, and behind it zeros
 *
 * Tier: core.
 */
#pragma once

#include "core/aes_gcm_parts.h"

#define EACH(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)

/*
 * One turn of the bulk. opening and hashing are constants where this is inlined. text holds the
 * ciphertext that is hashed between the AES rounds: this turn's own when opening, the turn's before
 * when sealing, which leaves its own there.
 */
static inline __attribute__((always_inline)) void turn(const struct aes_gcm *gcm, vector *counter,
                                                       v2l *sum, vector text[static WIDE],
                                                       const uint8_t *from, uint8_t *to,
                                                       bool opening, bool hashing)
{
    vector k = key(gcm, 0);
#define START(n) vector s##n = swap(counter_add(*counter, n)) ^ k;
    EACH(START)
    *counter = counter_add(*counter, WIDE);
    struct sums sums = { 0 };

#define ROUND_ONE(n) s##n = enc(s##n, k);
#define ROUND(round)         \
    do {                     \
        k = key(gcm, round); \
        EACH(ROUND_ONE)      \
    } while (0)
#define ROUND_HASH(round, n)                        \
    do {                                            \
        if (opening)                                \
            text[n] = load(from + (n)*VECTOR_SIZE); \
        ROUND(round);                               \
        if (hashing) {                              \
            vector some = swap(text[n]);            \
            if ((n) == 0)                           \
                some ^= first_block(*sum);          \
            sums_add(&sums, gcm, some, n);          \
        }                                           \
    } while (0)
    ROUND_HASH(1, 0);
    ROUND_HASH(2, 1);
    ROUND_HASH(3, 2);
    ROUND_HASH(4, 3);
    ROUND_HASH(5, 4);
    ROUND_HASH(6, 5);
    ROUND_HASH(7, 6);
    ROUND_HASH(8, 7);
    ROUND(9);
    if (hashing)
        *sum = sums_reduce(sums);
    ROUND(10);
    ROUND(11);
    ROUND(12);
    ROUND(13);
    k = key(gcm, ROUNDS);
#define FINISH(n)                                             \
    s##n = enc_last(s##n, k);                                 \
    s##n ^= opening ? text[n] : load(from + (n)*VECTOR_SIZE); \
    if (!opening)                                             \
        text[n] = s##n;                                       \
    store(to + (n)*VECTOR_SIZE, s##n);
    EACH(FINISH)
}

/* count blocks, a multiple of a turn's and not zero. */
static inline __attribute__((always_inline)) void bulk(const struct aes_gcm *gcm, v2l *counter,
                                                       v2l *sum, const uint8_t *from, uint8_t *to,
                                                       uint64_t count, bool opening)
{
    const uint64_t step = WIDE * VECTOR_SIZE;
    uint64_t size = count * BLOCK;
    vector text[WIDE], at = counter_spread(*counter);
    v2l hashed = *sum;
    if (!opening) {
        turn(gcm, &at, &hashed, text, from, to, false, false);
        from += step;
        to += step;
        size -= step;
    }
    for (; size; size -= step, from += step, to += step)
        turn(gcm, &at, &hashed, text, from, to, opening, true);
    if (!opening) {
        struct sums sums = { 0 };
        for (unsigned n = 0; n < WIDE; n++)
            sums_add(&sums, gcm, n ? swap(text[n]) : swap(text[n]) ^ first_block(hashed), n);
        hashed = sums_reduce(sums);
    }
    *counter = counter_first(at);
    *sum = hashed;
}
