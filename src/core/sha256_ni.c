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

/* The instructions keep the state as (F,E,B,A) and (H,G,D,C), lowest lane first. */
static void state_in(const uint32_t state[static 8], v4i *ret_abef, v4i *ret_cdgh)
{
    v4i abcd = load(state);
    v4i efgh = load(state + 4);
    *ret_abef = __builtin_shufflevector(abcd, efgh, 5, 4, 1, 0);
    *ret_cdgh = __builtin_shufflevector(abcd, efgh, 7, 6, 3, 2);
}

static void state_out(uint32_t state[static 8], v4i abef, v4i cdgh)
{
    v4i abcd = __builtin_shufflevector(abef, cdgh, 3, 2, 7, 6);
    v4i efgh = __builtin_shufflevector(abef, cdgh, 1, 0, 5, 4);
    __builtin_memcpy(state, &abcd, sizeof(abcd));
    __builtin_memcpy(state + 4, &efgh, sizeof(efgh));
}

void sha256_blocks_ni(uint32_t state[static 8], const uint8_t *data, size_t count)
{
    v4i abef, cdgh;
    state_in(state, &abef, &cdgh);

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

    state_out(state, abef, cdgh);
}

/* The same rounds of two messages: each instruction of one chain fills the other's latency. */
#define ROUNDS2(i, v, w)                                         \
    do {                                                         \
        v4i k = load(&g_sha256_k[4 * (i)]);                      \
        v4i vk = ADD((v), k);                                    \
        v4i wk = ADD((w), k);                                    \
        cdgh_a = __builtin_ia32_sha256rnds2(cdgh_a, abef_a, vk); \
        cdgh_b = __builtin_ia32_sha256rnds2(cdgh_b, abef_b, wk); \
        vk = __builtin_shufflevector(vk, vk, 2, 3, 2, 3);        \
        wk = __builtin_shufflevector(wk, wk, 2, 3, 2, 3);        \
        abef_a = __builtin_ia32_sha256rnds2(abef_a, cdgh_a, vk); \
        abef_b = __builtin_ia32_sha256rnds2(abef_b, cdgh_b, wk); \
    } while (0)

void sha256_blocks2_ni(uint32_t state_a[static 8], const uint8_t *data_a,
                       uint32_t state_b[static 8], const uint8_t *data_b, size_t count)
{
    v4i abef_a, cdgh_a, abef_b, cdgh_b;
    state_in(state_a, &abef_a, &cdgh_a);
    state_in(state_b, &abef_b, &cdgh_b);

    for (; count > 0; count--, data_a += SHA256_BLOCK_SIZE, data_b += SHA256_BLOCK_SIZE) {
        v4i abef_a_before = abef_a, cdgh_a_before = cdgh_a;
        v4i abef_b_before = abef_b, cdgh_b_before = cdgh_b;
        v4i v0 = load_words(data_a), w0 = load_words(data_b);
        v4i v1 = load_words(data_a + 16), w1 = load_words(data_b + 16);
        v4i v2 = load_words(data_a + 32), w2 = load_words(data_b + 32);
        v4i v3 = load_words(data_a + 48), w3 = load_words(data_b + 48);

        ROUNDS2(0, v0, w0);
        ROUNDS2(1, v1, w1);
        ROUNDS2(2, v2, w2);
        ROUNDS2(3, v3, w3);
        SCHEDULE(v0, v1, v2, v3);
        SCHEDULE(w0, w1, w2, w3);
        ROUNDS2(4, v0, w0);
        SCHEDULE(v1, v2, v3, v0);
        SCHEDULE(w1, w2, w3, w0);
        ROUNDS2(5, v1, w1);
        SCHEDULE(v2, v3, v0, v1);
        SCHEDULE(w2, w3, w0, w1);
        ROUNDS2(6, v2, w2);
        SCHEDULE(v3, v0, v1, v2);
        SCHEDULE(w3, w0, w1, w2);
        ROUNDS2(7, v3, w3);
        SCHEDULE(v0, v1, v2, v3);
        SCHEDULE(w0, w1, w2, w3);
        ROUNDS2(8, v0, w0);
        SCHEDULE(v1, v2, v3, v0);
        SCHEDULE(w1, w2, w3, w0);
        ROUNDS2(9, v1, w1);
        SCHEDULE(v2, v3, v0, v1);
        SCHEDULE(w2, w3, w0, w1);
        ROUNDS2(10, v2, w2);
        SCHEDULE(v3, v0, v1, v2);
        SCHEDULE(w3, w0, w1, w2);
        ROUNDS2(11, v3, w3);
        SCHEDULE(v0, v1, v2, v3);
        SCHEDULE(w0, w1, w2, w3);
        ROUNDS2(12, v0, w0);
        SCHEDULE(v1, v2, v3, v0);
        SCHEDULE(w1, w2, w3, w0);
        ROUNDS2(13, v1, w1);
        SCHEDULE(v2, v3, v0, v1);
        SCHEDULE(w2, w3, w0, w1);
        ROUNDS2(14, v2, w2);
        SCHEDULE(v3, v0, v1, v2);
        SCHEDULE(w3, w0, w1, w2);
        ROUNDS2(15, v3, w3);

        abef_a = ADD(abef_a, abef_a_before);
        cdgh_a = ADD(cdgh_a, cdgh_a_before);
        abef_b = ADD(abef_b, abef_b_before);
        cdgh_b = ADD(cdgh_b, cdgh_b_before);
    }
    state_out(state_a, abef_a, cdgh_a);
    state_out(state_b, abef_b, cdgh_b);
}
