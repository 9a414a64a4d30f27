#include "core/sha256.h"

#include "core/bytes.h"
#include "core/cpu.h"

const uint32_t g_sha256_k[64] ALIGNED(16) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static bool g_use_ni;

void sha256_use_ni(bool use)
{
    g_use_ni = use;
}

bool sha256_uses_ni(void)
{
    return g_use_ni;
}

#if __STDC_HOSTED__
/* Before main, and so before threads. */
__attribute__((constructor)) static void detect(void)
{
    g_use_ni = cpu_has_sha_ni();
}
#endif

static uint32_t ror(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

void sha256_blocks_portable(uint32_t state[static 8], const uint8_t *data, size_t count)
{
    for (; count > 0; count--, data += SHA256_BLOCK_SIZE) {
        uint32_t w[16];
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];

        for (unsigned t = 0; t < 64; t++) {
            if (t < 16) {
                w[t] = load_be32(data + 4 * t);
            } else {
                uint32_t x = w[(t - 15) % 16];
                uint32_t y = w[(t - 2) % 16];
                w[t % 16] += w[(t - 7) % 16] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) +
                             (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
            }
            uint32_t t1 = h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) +
                          g_sha256_k[t] + w[t % 16];
            uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            h = g;
            g = f;
            f = e;
            e = d + t1;
            d = c;
            c = b;
            b = a;
            a = t1 + t2;
        }

        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

static void blocks(struct sha256 *h, const uint8_t *data, size_t count)
{
    if (g_use_ni)
        sha256_blocks_ni(h->state, data, count);
    else
        sha256_blocks_portable(h->state, data, count);
}

void sha256_init(struct sha256 *h)
{
    *h = (struct sha256){ .state = { 0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                     0x9b05688c, 0x1f83d9ab, 0x5be0cd19 } };
}

void sha256_update(struct sha256 *h, const void *data, size_t size)
{
    const uint8_t *from = data;
    size_t held = h->size % SHA256_BLOCK_SIZE;
    h->size += size;

    if (held > 0) {
        size_t n = SHA256_BLOCK_SIZE - held;
        if (n > size)
            n = size;
        if (n > 0)
            __builtin_memcpy(h->block + held, from, n);
        if (held + n < SHA256_BLOCK_SIZE)
            return;
        blocks(h, h->block, 1);
        from += n;
        size -= n;
    }
    size_t whole = size / SHA256_BLOCK_SIZE;
    if (whole > 0)
        blocks(h, from, whole);
    size_t rest = size % SHA256_BLOCK_SIZE;
    if (rest > 0)
        __builtin_memcpy(h->block, from + whole * SHA256_BLOCK_SIZE, rest);
}

void sha256_update2(struct sha256 *a, const void *data_a, struct sha256 *b, const void *data_b,
                    size_t size)
{
    if (!g_use_ni || a->size != b->size) {
        sha256_update(a, data_a, size);
        sha256_update(b, data_b, size);
        return;
    }
    const uint8_t *from_a = data_a, *from_b = data_b;
    size_t held = a->size % SHA256_BLOCK_SIZE;
    size_t first = held ? SHA256_BLOCK_SIZE - held : 0;
    if (first > size)
        first = size;
    if (first) {
        sha256_update(a, from_a, first);
        sha256_update(b, from_b, first);
    }
    size_t whole = (size - first) / SHA256_BLOCK_SIZE;
    size_t done = first + whole * SHA256_BLOCK_SIZE;
    if (whole) {
        sha256_blocks2_ni(a->state, from_a + first, b->state, from_b + first, whole);
        a->size += whole * SHA256_BLOCK_SIZE;
        b->size += whole * SHA256_BLOCK_SIZE;
    }
    if (done < size) {
        sha256_update(a, from_a + done, size - done);
        sha256_update(b, from_b + done, size - done);
    }
}

void sha256_final(struct sha256 *h, uint8_t ret[static SHA256_SIZE])
{
    size_t held = h->size % SHA256_BLOCK_SIZE;
    h->block[held++] = 0x80;
    if (held > SHA256_BLOCK_SIZE - 8) {
        __builtin_memset(h->block + held, 0, SHA256_BLOCK_SIZE - held);
        blocks(h, h->block, 1);
        held = 0;
    }
    __builtin_memset(h->block + held, 0, SHA256_BLOCK_SIZE - 8 - held);
    store_be64(h->block + SHA256_BLOCK_SIZE - 8, h->size * 8);
    blocks(h, h->block, 1);

    for (size_t i = 0; i < 8; i++)
        store_be32(ret + 4 * i, h->state[i]);
    bytes_wipe(h, sizeof(*h));
}

void sha256(const void *data, size_t size, uint8_t ret[static SHA256_SIZE])
{
    struct sha256 h;
    sha256_init(&h);
    sha256_update(&h, data, size);
    sha256_final(&h, ret);
}
