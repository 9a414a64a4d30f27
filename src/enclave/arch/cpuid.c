#include "arch/cpuid.h"

#include <stdbool.h>
#include <stddef.h>

#include "core/attr.h"
#include "process/process.h"

struct cpuid_row {
    uint32_t leaf, subleaf;
    uint32_t a, b, c, d;
};

#define ANY UINT32_MAX

/* Intel SDM vol. 2A, CPUID. Family 6, model 0x6a (Ice Lake server), but for what AVX-512 would add. */
static const struct cpuid_row rows[] = {
    { 0x00, ANY, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69 },
    /* SSE3 PCLMUL SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE OSXSAVE AVX F16C RDRAND */
    { 0x01, ANY, 0x000606a6, 0x00010800, 0x7ed83203, 0x078bfbff },
    /* FSGSBASE BMI1 AVX2 BMI2 ERMS RDSEED ADX SHA; FSRM */
    { 0x07, 0, 0x00000000, 0x200c0329, 0x00000000, 0x00000010 },
    { 0x0d, 0, 0x00000007, 0x00000340, 0x00000340, 0x00000000 },
    { 0x0d, 1, 0x00000001, 0x00000000, 0x00000000, 0x00000000 },
    { 0x0d, 2, 0x00000100, 0x00000240, 0x00000000, 0x00000000 },
    /* L1d 48 KiB, L1i 32 KiB, L2 1280 KiB, L3 24 MiB: what libraries size their blocks by. */
    { 0x04, 0, 0x00004121, 0x02c0003f, 0x0000003f, 0x00000000 },
    { 0x04, 1, 0x00004122, 0x01c0003f, 0x0000003f, 0x00000000 },
    { 0x04, 2, 0x00004143, 0x04c0003f, 0x000003ff, 0x00000000 },
    { 0x04, 3, 0x0007c163, 0x02c0003f, 0x00007fff, 0x00000000 },
    { 0x80000000, ANY, 0x80000008, 0, 0, 0 },
    /* LAHF LZCNT; SYSCALL NX RDTSCP LM */
    { 0x80000001, ANY, 0, 0, 0x00000021, 0x28100800 },
    { 0x80000006, ANY, 0, 0, 0x05007040, 0 },
    { 0x80000007, ANY, 0, 0, 0, 0x00000100 },
    { 0x80000008, ANY, 0x00003030, 0, 0, 0 },
};

uint64_t cpu_xfrm(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return ((uint64_t)hi << 32) | lo;
}

void cpuid_answer(struct sgx_gprsgx *gpr)
{
    uint32_t leaf = (uint32_t)gpr->rax, subleaf = (uint32_t)gpr->rcx;
    struct cpuid_row found = { 0 };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].leaf == leaf && (rows[i].subleaf == ANY || rows[i].subleaf == subleaf)) {
            found = rows[i];
            break;
        }
    }
    bool avx = (cpu_xfrm() & SGX_XFRM_AVX) != 0;
    if (leaf == 0x01 && !avx)
        found.c &= ~((1u << 28) | (1u << 12) | (1u << 29)); /* AVX, FMA, F16C */
    if (leaf == 0x07 && !avx)
        found.b &= ~(1u << 5); /* AVX2 */
    if (leaf == 0x0d && subleaf == 0 && !avx)
        found.a &= ~4u;
    gpr->rax = found.a;
    gpr->rbx = found.b;
    gpr->rcx = found.c;
    gpr->rdx = found.d;
}
