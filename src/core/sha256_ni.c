/*
 * SHA-256 with the CPU's SHA instructions. Built with -msha -msse4.1 and never with -mavx: legacy
 * SSE encodings leave the upper halves of the vector registers alone. Compiler builtins instead of
 * immintrin.h, which pulls in libc's headers.
 */
#include "core/bytes.h"
#include "core/sha256.h"

typedef int v4i __attribute__((vector_size(16)));
typedef unsigned v4u __attribute__((vector_size(16)));
typedef char v16b __attribute__((vector_size(16)));

static v4i load(const void *from)
{
    v4i value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
}

/* Four message words, big-endian in memory. */
static v4i load_words(const uint8_t *from)
{
    v16b bytes = (v16b)load(from);
    return (v4i)__builtin_shufflevector(bytes, bytes, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14,
                                        13, 12);
}

/* Modulo 2^32: signed lanes, which the builtins take, must not overflow in C. */
#define ADD(a, b) ((v4i)((v4u)(a) + (v4u)(b)))

/* Rounds 4*i to 4*i+3 on the words w. The instruction does two rounds with the low two of wk. */
#define ROUNDS(i, w)                                       \
    do {                                                   \
        v4i wk = ADD((w), load(&g_sha256_k[4 * (i)]));     \
        cdgh = __builtin_ia32_sha256rnds2(cdgh, abef, wk); \
        wk = __builtin_shufflevector(wk, wk, 2, 3, 2, 3);  \
        abef = __builtin_ia32_sha256rnds2(abef, cdgh, wk); \
    } while (0)

/* Words 16 and up: w0 becomes the four words that follow w0 to w3. */
#define SCHEDULE(w0, w1, w2, w3)                                                            \
    ((w0) = __builtin_ia32_sha256msg2(ADD(__builtin_ia32_sha256msg1((w0), (w1)),            \
                                          __builtin_shufflevector((w2), (w3), 1, 2, 3, 4)), \
                                      (w3)))

void sha256_blocks_ni(uint32_t state[static 8], const uint8_t *data, size_t count)
{
    /* The instructions keep the state as (F,E,B,A) and (H,G,D,C), lowest lane first. */
    v4i abcd = load(state);
    v4i efgh = load(state + 4);
    v4i abef = __builtin_shufflevector(abcd, efgh, 5, 4, 1, 0);
    v4i cdgh = __builtin_shufflevector(abcd, efgh, 7, 6, 3, 2);

    for (; count > 0; count--, data += SHA256_BLOCK_SIZE) {
        v4i abef_before = abef;
        v4i cdgh_before = cdgh;
        v4i w0 = load_words(data);
        v4i w1 = load_words(data + 16);
        v4i w2 = load_words(data + 32);
        v4i w3 = load_words(data + 48);

        ROUNDS(0, w0);
        ROUNDS(1, w1);
        ROUNDS(2, w2);
        ROUNDS(3, w3);
        SCHEDULE(w0, w1, w2, w3);
        ROUNDS(4, w0);
        SCHEDULE(w1, w2, w3, w0);
        ROUNDS(5, w1);
        SCHEDULE(w2, w3, w0, w1);
        ROUNDS(6, w2);
        SCHEDULE(w3, w0, w1, w2);
        ROUNDS(7, w3);
        SCHEDULE(w0, w1, w2, w3);
        ROUNDS(8, w0);
        SCHEDULE(w1, w2, w3, w0);
        ROUNDS(9, w1);
        SCHEDULE(w2, w3, w0, w1);
        ROUNDS(10, w2);
        SCHEDULE(w3, w0, w1, w2);
        ROUNDS(11, w3);
        SCHEDULE(w0, w1, w2, w3);
        ROUNDS(12, w0);
        SCHEDULE(w1, w2, w3, w0);
        ROUNDS(13, w1);
        SCHEDULE(w2, w3, w0, w1);
        ROUNDS(14, w2);
        SCHEDULE(w3, w0, w1, w2);
        ROUNDS(15, w3);

        abef = ADD(abef, abef_before);
        cdgh = ADD(cdgh, cdgh_before);
    }

    abcd = __builtin_shufflevector(abef, cdgh, 3, 2, 7, 6);
    efgh = __builtin_shufflevector(abef, cdgh, 1, 0, 5, 4);
    __builtin_memcpy(state, &abcd, sizeof(abcd));
    __builtin_memcpy(state + 4, &efgh, sizeof(efgh));
}
