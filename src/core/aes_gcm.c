/*
 * AES-256-GCM with the CPU's AES and carry-less multiplication. Built with -maes -mpclmul -mssse3
 * and never with -mavx, as sha256_ni.c; compiler builtins instead of immintrin.h.
 *
 * GHASH (SP 800-38D, 6.4) works on byte-reversed blocks. The hash key is kept times x, so that a
 * product of two reflected numbers needs no shift, and eight products are summed before one
 * reduction (Gueron, Kounavis: "Intel Carry-Less Multiplication Instruction and its Usage for
 * Computing the GCM Mode"). The bulk does eight blocks at a time: their AES rounds and the GHASH of
 * eight blocks (when sealing, the eight before) share the loop, for neither fills the CPU alone.
 */
#include "core/aes_gcm.h"

#include "core/aes_gcm_parts.h"
#include "core/bytes.h"

static bool g_wide;

void aes_gcm_use_wide(bool use)
{
    g_wide = use;
}

bool aes_gcm_uses_wide(void)
{
    return g_wide;
}

/* Where the whole text lies and how its last, partial block may be touched. */
enum edge {
    EDGE_EXACT, /* no byte behind the end */
    EDGE_WHOLE, /* whole vectors only */
};

/* Volatile: read once, whatever the compiler would like. */
static inline v2l load(const void *from)
{
    return *(const volatile v2l_any *)from;
}

static inline void store(void *to, v2l value)
{
    *(v2l_any *)to = value;
}

static inline v2l swap(v2l a)
{
    v16b b = (v16b)a;
    return (v2l)__builtin_shufflevector(b, b, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

static inline v2l key(const struct aes_gcm *gcm, unsigned round)
{
    return *(const v2l *)gcm->round_keys[round];
}

/* FIPS 197, 5.2. */
#define EXPAND(at, constant, lane)                                                             \
    do {                                                                                       \
        v4i help = (v4i)__builtin_ia32_aeskeygenassist128(k[(at)-1], (constant));              \
        v2l spread = (v2l)__builtin_shufflevector(help, help, (lane), (lane), (lane), (lane)); \
        v2l word = k[(at)-2];                                                                  \
        word ^= (v2l)__builtin_shufflevector((v4i){ 0 }, (v4i)word, 0, 4, 5, 6);               \
        word ^= __builtin_shufflevector((v2l){ 0 }, word, 0, 2);                               \
        k[at] = word ^ spread;                                                                 \
    } while (0)

static void expand(struct aes_gcm *gcm, const uint8_t secret[static AES_GCM_KEY_SIZE])
{
    v2l *k = (v2l *)gcm->round_keys;
    k[0] = load(secret);
    k[1] = load(secret + BLOCK);
    EXPAND(2, 0x01, 3);
    EXPAND(3, 0x00, 2);
    EXPAND(4, 0x02, 3);
    EXPAND(5, 0x00, 2);
    EXPAND(6, 0x04, 3);
    EXPAND(7, 0x00, 2);
    EXPAND(8, 0x08, 3);
    EXPAND(9, 0x00, 2);
    EXPAND(10, 0x10, 3);
    EXPAND(11, 0x00, 2);
    EXPAND(12, 0x20, 3);
    EXPAND(13, 0x00, 2);
    EXPAND(14, 0x40, 3);
}

static inline v2l encrypt(const struct aes_gcm *gcm, v2l block)
{
    block ^= key(gcm, 0);
    for (unsigned round = 1; round < ROUNDS; round++)
        block = __builtin_ia32_aesenc128(block, key(gcm, round));
    return __builtin_ia32_aesenclast128(block, key(gcm, ROUNDS));
}

/* A hash key's power: itself, and the sum of its halves in the low half. */
struct power {
    v2l whole, folded;
};

static inline struct power power(const struct aes_gcm *gcm, unsigned n)
{
    return (struct power){ *(const v2l *)gcm->powers[AES_GCM_POWERS - n],
                           *(const v2l *)gcm->folded[AES_GCM_POWERS - n] };
}

static inline void product_add(struct product *p, v2l a, struct power b)
{
    p->low ^= __builtin_ia32_pclmulqdq128(a, b.whole, 0x00);
    p->high ^= __builtin_ia32_pclmulqdq128(a, b.whole, 0x11);
    p->middle ^= __builtin_ia32_pclmulqdq128(a ^ swap_halves(a), b.folded, 0x00);
}

static inline v2l multiply(v2l a, struct power b)
{
    struct product p = { 0 };
    product_add(&p, a, b);
    return product_reduce(p);
}

void aes_gcm_init(struct aes_gcm *gcm, const uint8_t secret[static AES_GCM_KEY_SIZE])
{
    expand(gcm, secret);
    v2l zero = { 0 };
    v2l h = swap(encrypt(gcm, zero));
    /* Times x. */
    uint64_t low = (uint64_t)h[0], high = (uint64_t)h[1], carry = 0 - (high >> 63);
    high = high << 1 | low >> 63;
    low = low << 1;
    v2l h1 = { (long long)(low ^ (carry & 1)),
               (long long)(high ^ (carry & 0xc200000000000000ull)) };
    struct power first = { h1, h1 ^ swap_halves(h1) };
    v2l at = h1;
    for (unsigned n = 1; n <= AES_GCM_POWERS; n++) {
        *(v2l *)gcm->powers[AES_GCM_POWERS - n] = at;
        *(v2l *)gcm->folded[AES_GCM_POWERS - n] = at ^ swap_halves(at);
        at = multiply(at, first);
    }
}

/* A partial block, 1 to 15 bytes, the rest zero. */
static inline v2l load_part(const void *from, uint64_t size, enum edge edge)
{
    uint8_t ALIGNED(16) block[BLOCK] = { 0 };
    if (edge == EDGE_WHOLE) {
        store(block, load(from));
        for (unsigned i = 0; i < BLOCK; i++)
            block[i] = i < size ? block[i] : 0;
    } else {
        const volatile uint8_t *bytes = from;
        for (unsigned i = 0; i < size; i++)
            block[i] = bytes[i];
    }
    return load(block);
}

static inline void store_part(void *to, v2l value, uint64_t size, enum edge edge)
{
    uint8_t ALIGNED(16) block[BLOCK];
    store(block, value);
    if (edge == EDGE_WHOLE) {
        for (unsigned i = 0; i < BLOCK; i++)
            block[i] = i < size ? block[i] : 0;
        store(to, load(block));
    } else {
        for (unsigned i = 0; i < size; i++)
            ((uint8_t *)to)[i] = block[i];
    }
}

static v2l hash(const struct aes_gcm *gcm, v2l sum, const void *data, uint64_t size)
{
    const uint8_t *from = data;
    for (; size >= BLOCK; size -= BLOCK, from += BLOCK)
        sum = multiply(sum ^ swap(load(from)), power(gcm, 1));
    if (size)
        sum = multiply(sum ^ swap(load_part(from, size, EDGE_EXACT)), power(gcm, 1));
    return sum;
}

/* Counter blocks are kept reversed: the 32-bit counter is lane 0. */
static inline v2l counter_add(v2l counter, unsigned n)
{
    v4u add = { n, 0, 0, 0 };
    return (v2l)((v4u)counter + add);
}

/* --- what aes_gcm_turn.h wants of vectors of one block ----------------------------------------- */

typedef v2l vector;
#define VECTOR_SIZE BLOCK

struct sums {
    struct product of;
};

static inline v2l enc(v2l a, v2l k)
{
    return __builtin_ia32_aesenc128(a, k);
}

static inline v2l enc_last(v2l a, v2l k)
{
    return __builtin_ia32_aesenclast128(a, k);
}

static inline v2l counter_spread(v2l first)
{
    return first;
}

static inline v2l counter_first(v2l counter)
{
    return counter;
}

static inline v2l first_block(v2l a)
{
    return a;
}

static inline void sums_add(struct sums *sums, const struct aes_gcm *gcm, v2l a, unsigned n)
{
    product_add(&sums->of, a, power(gcm, WIDE - n));
}

static inline v2l sums_reduce(struct sums sums)
{
    return product_reduce(sums.of);
}

#include "core/aes_gcm_turn.h"

/* The text and what it hashes to; ret_tag whole. */
static inline __attribute__((always_inline)) void crypt(
    const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE], const void *aad,
    uint64_t aad_size, const uint8_t *from, uint64_t size, uint8_t *to,
    uint8_t ret_tag[static AES_GCM_TAG_SIZE], bool opening, enum edge edge)
{
    uint8_t ALIGNED(16) first[BLOCK] = { [BLOCK - 1] = 1 };
    __builtin_memcpy(first, nonce, AES_GCM_NONCE_SIZE);
    v2l counter = swap(load(first));
    v2l mask = encrypt(gcm, swap(counter));
    counter = counter_add(counter, 1);
    v2l sum = { 0 };
    sum = hash(gcm, sum, aad, aad_size);

    uint64_t left = size;
    if (g_wide && left >= AES_GCM_WIDE_MIN) {
        uint64_t blocks = left / (AES_GCM_POWERS * BLOCK) * AES_GCM_POWERS;
        aes_gcm_bulk_wide(gcm, &counter, &sum, from, to, blocks, opening);
        from += blocks * BLOCK;
        to += blocks * BLOCK;
        left -= blocks * BLOCK;
    }
    uint64_t wide = left / (WIDE * BLOCK) * WIDE;
    if (wide) {
        bulk(gcm, &counter, &sum, from, to, wide, opening);
        from += wide * BLOCK;
        to += wide * BLOCK;
        left -= wide * BLOCK;
    }
    for (; left >= BLOCK; left -= BLOCK, from += BLOCK, to += BLOCK) {
        v2l in = load(from);
        v2l out = in ^ encrypt(gcm, swap(counter));
        counter = counter_add(counter, 1);
        store(to, out);
        sum = multiply(sum ^ swap(opening ? in : out), power(gcm, 1));
    }
    if (left) {
        v2l in = load_part(from, left, opening ? edge : EDGE_EXACT);
        uint8_t ALIGNED(16) cut[BLOCK];
        store_part(cut, in ^ encrypt(gcm, swap(counter)), left, EDGE_WHOLE);
        v2l out = load(cut);
        store_part(to, out, left, opening ? EDGE_EXACT : edge);
        sum = multiply(sum ^ swap(opening ? in : out), power(gcm, 1));
    }

    v2l sizes = { (long long)(size * 8), (long long)(aad_size * 8) };
    sum = multiply(sum ^ sizes, power(gcm, 1));
    store(ret_tag, swap(sum) ^ mask);
}

static int check(const uint8_t expected[static AES_GCM_TAG_SIZE],
                 const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain, uint64_t size)
{
    if (bytes_equal_ct(expected, tag, AES_GCM_TAG_SIZE))
        return 0;
    if (size)
        bytes_wipe(plain, size);
    return -EBADMSG;
}

void aes_gcm_seal(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                  const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                  void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE])
{
    crypt(gcm, nonce, aad, aad_size, plain, size, cipher, tag, false, EDGE_EXACT);
}

void aes_gcm_seal_out(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                      const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                      void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE])
{
    crypt(gcm, nonce, aad, aad_size, plain, size, cipher, tag, false, EDGE_WHOLE);
}

int aes_gcm_open(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                 const void *aad, uint64_t aad_size, const void *cipher, uint64_t size,
                 const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain)
{
    uint8_t expected[AES_GCM_TAG_SIZE];
    crypt(gcm, nonce, aad, aad_size, cipher, size, plain, expected, true, EDGE_EXACT);
    return check(expected, tag, plain, size);
}

int aes_gcm_open_in(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                    const void *aad, uint64_t aad_size, const void *cipher, uint64_t size,
                    const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain)
{
    uint8_t expected[AES_GCM_TAG_SIZE];
    crypt(gcm, nonce, aad, aad_size, cipher, size, plain, expected, true, EDGE_WHOLE);
    return check(expected, tag, plain, size);
}
