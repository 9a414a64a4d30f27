#include "core/aes_cmac.h"

#include "core/bytes.h"
#include "core/cpu.h"

static bool g_use_ni;

void aes_use_ni(bool use)
{
    g_use_ni = use;
}

bool aes_uses_ni(void)
{
    return g_use_ni;
}

#if __STDC_HOSTED__
__attribute__((constructor)) static void detect(void)
{
    g_use_ni = cpu_has_aes_ni();
}
#endif

/*
 * The portable cipher computes the S-box instead of looking it up, on eight bytes at a time that
 * sit side by side in 64 bits: no memory address ever depends on the key.
 */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Each byte times x in GF(2^8), FIPS 197, 4.2.1. */
static uint64_t times_x(uint64_t a)
{
    uint64_t carry = (a >> 7) & EACH(1);
    return ((a & EACH(0x7f)) << 1) ^ carry * 0x1b;
}

static uint64_t multiply(uint64_t a, uint64_t b)
{
    uint64_t product = 0;
    for (unsigned bit = 0; bit < 8; bit++) {
        uint64_t mask = ((b >> bit) & EACH(1)) * 0xff;
        product ^= a & mask;
        a = times_x(a);
    }
    return product;
}

static uint64_t rotate_each(uint64_t a, unsigned n)
{
    uint64_t low = EACH(0xff) & EACH(0xff >> (8 - n));
    return ((a & ~(low << (8 - n))) << n) | ((a >> (8 - n)) & low);
}

/* In GF(2^8): the 254th power; of zero zero. */
static uint64_t invert(uint64_t a)
{
    uint64_t a2 = multiply(a, a);
    uint64_t a3 = multiply(a2, a);
    uint64_t a6 = multiply(a3, a3);
    uint64_t a12 = multiply(a6, a6);
    uint64_t a15 = multiply(a12, a3);
    uint64_t a30 = multiply(a15, a15);
    uint64_t a60 = multiply(a30, a30);
    uint64_t a63 = multiply(a60, a3);
    uint64_t a126 = multiply(a63, a63);
    uint64_t a127 = multiply(a126, a);
    return multiply(a127, a127);
}

/* FIPS 197, 5.1.1: the inverse, then the affine map. */
static uint64_t sub_bytes(uint64_t a)
{
    uint64_t inverse = invert(a);
    return inverse ^ rotate_each(inverse, 1) ^ rotate_each(inverse, 2) ^ rotate_each(inverse, 3) ^
           rotate_each(inverse, 4) ^ EACH(0x63);
}

/* FIPS 197, 5.3.2. */
static uint64_t unsub_bytes(uint64_t a)
{
    return invert(rotate_each(a, 1) ^ rotate_each(a, 3) ^ rotate_each(a, 6) ^ EACH(0x05));
}

static void unsub_block(uint8_t block[static AES_BLOCK_SIZE])
{
    store_le64(block, unsub_bytes(load_le64(block)));
    store_le64(block + 8, unsub_bytes(load_le64(block + 8)));
}

static void sub_block(uint8_t block[static AES_BLOCK_SIZE])
{
    store_le64(block, sub_bytes(load_le64(block)));
    store_le64(block + 8, sub_bytes(load_le64(block + 8)));
}

static void shift_rows(uint8_t s[static AES_BLOCK_SIZE])
{
    uint8_t t[AES_BLOCK_SIZE];
    for (unsigned i = 0; i < AES_BLOCK_SIZE; i++)
        t[i] = s[(i + 4 * (i % 4)) % AES_BLOCK_SIZE];
    __builtin_memcpy(s, t, sizeof(t));
}

static void unshift_rows(uint8_t s[static AES_BLOCK_SIZE])
{
    uint8_t t[AES_BLOCK_SIZE];
    for (unsigned i = 0; i < AES_BLOCK_SIZE; i++)
        t[(i + 4 * (i % 4)) % AES_BLOCK_SIZE] = s[i];
    __builtin_memcpy(s, t, sizeof(t));
}

static uint32_t rotate_column(uint32_t column, unsigned bits)
{
    return column >> bits | column << (32 - bits);
}

static void mix_columns(uint8_t s[static AES_BLOCK_SIZE])
{
    for (unsigned i = 0; i < AES_BLOCK_SIZE; i += 4) {
        uint32_t a = load_le32(s + i);
        uint32_t doubled = (uint32_t)times_x(a);
        uint32_t tripled = doubled ^ a;
        store_le32(s + i, doubled ^ rotate_column(tripled, 8) ^ rotate_column(a, 16) ^
                              rotate_column(a, 24));
    }
}

/* The fourth power of the map is the identity. */
static void unmix_columns(uint8_t s[static AES_BLOCK_SIZE])
{
    for (unsigned i = 0; i < 3; i++)
        mix_columns(s);
}

static void add_key(uint8_t s[static AES_BLOCK_SIZE], const uint8_t key[static AES_BLOCK_SIZE])
{
    store_le64(s, load_le64(s) ^ load_le64(key));
    store_le64(s + 8, load_le64(s + 8) ^ load_le64(key + 8));
}

void aes128_init(struct aes128 *aes, const uint8_t key[static AES_BLOCK_SIZE])
{
    __builtin_memcpy(aes->round_keys[0], key, AES_BLOCK_SIZE);
    uint64_t constant = 1;
    for (unsigned round = 1; round <= AES128_ROUNDS; round++) {
        const uint8_t *before = aes->round_keys[round - 1];
        uint8_t *now = aes->round_keys[round];
        uint32_t word = (uint32_t)sub_bytes(rotate_column(load_le32(before + 12), 8));
        word ^= (uint32_t)constant;
        for (unsigned i = 0; i < AES_BLOCK_SIZE; i += 4) {
            word ^= load_le32(before + i);
            store_le32(now + i, word);
        }
        constant = times_x(constant);
    }
}

void aes128_encrypt_portable(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                             uint8_t ret[static AES_BLOCK_SIZE])
{
    uint8_t s[AES_BLOCK_SIZE];
    __builtin_memcpy(s, in, sizeof(s));
    add_key(s, aes->round_keys[0]);
    for (unsigned round = 1; round <= AES128_ROUNDS; round++) {
        sub_block(s);
        shift_rows(s);
        if (round < AES128_ROUNDS)
            mix_columns(s);
        add_key(s, aes->round_keys[round]);
    }
    __builtin_memcpy(ret, s, sizeof(s));
    bytes_wipe(s, sizeof(s));
}

void aes128_decrypt_portable(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                             uint8_t ret[static AES_BLOCK_SIZE])
{
    uint8_t s[AES_BLOCK_SIZE];
    __builtin_memcpy(s, in, sizeof(s));
    for (unsigned round = AES128_ROUNDS; round > 0; round--) {
        add_key(s, aes->round_keys[round]);
        if (round < AES128_ROUNDS)
            unmix_columns(s);
        unshift_rows(s);
        unsub_block(s);
    }
    add_key(s, aes->round_keys[0]);
    __builtin_memcpy(ret, s, sizeof(s));
    bytes_wipe(s, sizeof(s));
}

void aes128_decrypt(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                    uint8_t ret[static AES_BLOCK_SIZE])
{
    if (g_use_ni)
        aes128_decrypt_ni(aes, in, ret);
    else
        aes128_decrypt_portable(aes, in, ret);
}

void aes128_encrypt(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                    uint8_t ret[static AES_BLOCK_SIZE])
{
    if (g_use_ni)
        aes128_encrypt_ni(aes, in, ret);
    else
        aes128_encrypt_portable(aes, in, ret);
}

/* SP 800-38B, 6.1: the block, as a big-endian number, times x in GF(2^128). */
static void double_block(uint8_t block[static AES_BLOCK_SIZE])
{
    uint64_t high = load_be64(block);
    uint64_t low = load_be64(block + 8);
    uint64_t carry = high >> 63;
    store_be64(block, high << 1 | low >> 63);
    store_be64(block + 8, low << 1 ^ carry * 0x87);
}

/* What whole blocks leave before the last one, and K1. */
static void before_last(const struct aes128 *aes, const uint8_t *data, size_t size,
                        uint8_t ret_state[static AES_BLOCK_SIZE],
                        uint8_t ret_subkey[static AES_BLOCK_SIZE])
{
    __builtin_memset(ret_state, 0, AES_BLOCK_SIZE);
    for (size_t i = 0; i < size; i += AES_BLOCK_SIZE) {
        add_key(ret_state, data + i);
        aes128_encrypt(aes, ret_state, ret_state);
    }
    __builtin_memset(ret_subkey, 0, AES_BLOCK_SIZE);
    aes128_encrypt(aes, ret_subkey, ret_subkey);
    double_block(ret_subkey);
}

void aes_cmac_last(const uint8_t key[static AES_BLOCK_SIZE], const void *data, size_t size,
                   const uint8_t mac[static AES_BLOCK_SIZE],
                   uint8_t ret_last[static AES_BLOCK_SIZE])
{
    struct aes128 aes;
    uint8_t state[AES_BLOCK_SIZE], subkey[AES_BLOCK_SIZE];
    aes128_init(&aes, key);
    before_last(&aes, data, size, state, subkey);
    aes128_decrypt(&aes, mac, ret_last);
    add_key(ret_last, state);
    add_key(ret_last, subkey);
    bytes_wipe(&aes, sizeof(aes));
    bytes_wipe(subkey, sizeof(subkey));
    bytes_wipe(state, sizeof(state));
}

void aes_cmac(const uint8_t key[static AES_BLOCK_SIZE], const void *data, size_t size,
              uint8_t ret_mac[static AES_BLOCK_SIZE])
{
    struct aes128 aes;
    aes128_init(&aes, key);

    uint8_t state[AES_BLOCK_SIZE], subkey[AES_BLOCK_SIZE];
    size_t whole = size > 0 ? (size - 1) / AES_BLOCK_SIZE * AES_BLOCK_SIZE : 0;
    before_last(&aes, data, whole, state, subkey);
    size -= whole;

    /* The last block is whole and takes K1, or is padded with 10* and takes K2. */
    uint8_t last[AES_BLOCK_SIZE] = { 0 };
    if (size > 0)
        __builtin_memcpy(last, (const uint8_t *)data + whole, size);
    if (size < AES_BLOCK_SIZE) {
        last[size] = 0x80;
        double_block(subkey);
    }
    add_key(state, last);
    add_key(state, subkey);
    aes128_encrypt(&aes, state, ret_mac);

    bytes_wipe(&aes, sizeof(aes));
    bytes_wipe(subkey, sizeof(subkey));
    bytes_wipe(state, sizeof(state));
    bytes_wipe(last, sizeof(last));
}
