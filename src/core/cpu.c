#include "core/cpu.h"

#define OSXSAVE (1u << 27)

static void cpuid(uint32_t leaf, uint32_t ret[4])
{
    ret[0] = leaf;
    ret[2] = 0;
    __asm__ volatile("cpuid" : "+a"(ret[0]), "=b"(ret[1]), "+c"(ret[2]), "=d"(ret[3]));
}

const struct cpu_features *cpu_features(void)
{
    static struct cpu_features features;
    static bool known;
    if (__atomic_load_n(&known, __ATOMIC_ACQUIRE))
        return &features;
    uint32_t r[4];
    struct cpu_features f = { 0 };
    cpuid(1, r);
    f.basic = r[2];
    if (f.basic & OSXSAVE) {
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        f.xcr0 = (uint64_t)high << 32 | low;
        /* Who has XSAVE has leaf 0DH, and so leaf 7. */
        cpuid(7, r);
        f.seven_b = r[1];
        f.seven_c = r[2];
    }
    /* Two threads at once write the same. */
    features = f;
    __atomic_store_n(&known, true, __ATOMIC_RELEASE);
    return &features;
}
