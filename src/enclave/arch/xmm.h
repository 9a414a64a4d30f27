/* xmm0-xmm15 around an island: code built with legacy SSE encodings, which touches nothing else of
 * the extended state. Tier: enclave. */
#pragma once

#include <stdint.h>

struct xmm_save {
    uint8_t bytes[256];
};

#define XMM_EACH(op)                                                                               \
    op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) \
        op(15)
#define XMM_SAVE_ONE(n) "movups %%xmm" #n ", 16*" #n "(%0)\n"
#define XMM_LOAD_ONE(n) "movups 16*" #n "(%0), %%xmm" #n "\n"

static inline void xmm_save(struct xmm_save *save)
{
    __asm__ volatile(XMM_EACH(XMM_SAVE_ONE) : : "r"(save) : "memory");
}

static inline void xmm_load(const struct xmm_save *save)
{
    __asm__ volatile(XMM_EACH(XMM_LOAD_ONE) : : "r"(save) : "memory");
}
