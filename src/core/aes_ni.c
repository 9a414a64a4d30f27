/* AES-128 with the CPU's AES instructions. Built with -maes and never with -mavx, as sha256_ni.c.
 */
#include "core/aes_cmac.h"
#include "core/bytes.h"

typedef long long v2l __attribute__((vector_size(16)));

static v2l load(const uint8_t *from)
{
    v2l value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
}

void aes128_encrypt_ni(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                       uint8_t ret[static AES_BLOCK_SIZE])
{
    v2l s = load(in) ^ load(aes->round_keys[0]);
    for (unsigned round = 1; round < AES128_ROUNDS; round++)
        s = __builtin_ia32_aesenc128(s, load(aes->round_keys[round]));
    s = __builtin_ia32_aesenclast128(s, load(aes->round_keys[AES128_ROUNDS]));
    __builtin_memcpy(ret, &s, sizeof(s));
}

void aes128_decrypt_ni(const struct aes128 *aes, const uint8_t in[static AES_BLOCK_SIZE],
                       uint8_t ret[static AES_BLOCK_SIZE])
{
    v2l s = load(in) ^ load(aes->round_keys[AES128_ROUNDS]);
    for (unsigned round = AES128_ROUNDS - 1; round > 0; round--)
        s = __builtin_ia32_aesdec128(s, __builtin_ia32_aesimc128(load(aes->round_keys[round])));
    s = __builtin_ia32_aesdeclast128(s, load(aes->round_keys[0]));
    __builtin_memcpy(ret, &s, sizeof(s));
}
