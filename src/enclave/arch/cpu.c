#include "arch/cpu.h"

#include "arch/string.h"
#include "arch/xmm.h"
#include "border/border.h"
#include "core/manifest_leaf.h"
#include "core/sha256.h"

/* The islands: core/sha256 clobbers xmm0-xmm15 and nothing else of the extended state. */
void island_sha256_update(struct sha256 *hash, const void *data, uint64_t size)
{
    struct xmm_save save;
    xmm_save(&save);
    sha256_update(hash, data, size);
    xmm_load(&save);
}

void island_leaf(uint64_t index, const void *data, uint32_t size, uint8_t ret[static 32])
{
    struct xmm_save save;
    xmm_save(&save);
    manifest_leaf(index, data, size, ret);
    xmm_load(&save);
}

void island_leaf_pair(uint64_t index, const void *data, const void *next_data,
                      uint8_t ret[static 32], uint8_t ret_next[static 32])
{
    struct xmm_save save;
    xmm_save(&save);
    manifest_leaf_pair(index, data, next_data, ret, ret_next);
    xmm_load(&save);
}

/* --- the program's extended state ------------------------------------------------------------------ */

#define XSAVE_MASK   0xe7u /* x87, SSE, AVX, AVX-512: XFRM holds no more */
#define HEADER_AT    512u
#define HEADER_SIZE  64u
#define MXCSR_AT     24u
#define MXCSR_MASK   0xffffu /* of every CPU with SGX */
#define ADDRESS_BITS 47

static uint64_t components(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo & XSAVE_MASK;
}

void cpu_state_save(struct cpu_state *ret)
{
    memset(ret, 0, sizeof(*ret));
    __asm__ volatile("xsave64 %0" : "+m"(*ret) : "a"(XSAVE_MASK), "d"(0) : "memory");
    ret->fs_base = cpu_fs_base();
}

/* SDM vol. 1, 13.8.1: what makes XRSTOR fault. */
void cpu_state_sanitize(struct cpu_state *state)
{
    uint64_t header[HEADER_SIZE / 8] = { 0 };
    memcpy(header, state->xsave + HEADER_AT, sizeof(header[0]));
    header[0] &= components();
    memcpy(state->xsave + HEADER_AT, header, sizeof(header));
    uint32_t mxcsr;
    memcpy(&mxcsr, state->xsave + MXCSR_AT, sizeof(mxcsr));
    mxcsr &= MXCSR_MASK;
    memcpy(state->xsave + MXCSR_AT, &mxcsr, sizeof(mxcsr));
    if (state->fs_base >> ADDRESS_BITS)
        state->fs_base = 0;
}

void cpu_state_load(const struct cpu_state *state)
{
    __asm__ volatile("xrstor64 %0" : : "m"(*state), "a"(XSAVE_MASK), "d"(0) : "memory");
    cpu_set_fs_base(state->fs_base);
}

bool cpu_all_zero(const void *page, uint64_t size)
{
    /* Two loads a cycle: vectors would not be faster than memory is. */
    const uint64_t *p = page;
    for (const uint64_t *end = p + size / 8; p < end; p += 8)
        if (p[0] | p[1] | p[2] | p[3] | p[4] | p[5] | p[6] | p[7])
            return false;
    return true;
}

static uint64_t random_word(void)
{
    for (int tries = 0; tries < 100; tries++) {
        uint64_t word;
        uint8_t ok;
        __asm__ volatile("rdrand %0; setc %1" : "=r"(word), "=qm"(ok) : : "cc");
        if (ok)
            return word;
        cpu_pause();
    }
    panic("the CPU gives no random numbers (RDRAND)");
}

void cpu_random(void *buf, size_t size)
{
    uint8_t *p = buf;
    while (size) {
        uint64_t word = random_word();
        size_t n = size < 8 ? size : 8;
        memcpy(p, &word, n);
        p += n;
        size -= n;
    }
}
