/* Opening and closing the software SGX device. Tier: hosted, untrusted. */
#include "softsgx/softsgx.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/cpu.h"
#include "softsgx/state.h"

#ifndef HWCAP2_FSGSBASE
#define HWCAP2_FSGSBASE (1 << 1)
#endif
#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif
#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF          0
#endif
#define HANDLER_STACK 24576 /* what our handlers need besides the kernel's frame */

struct softsgx *g_soft;
uint64_t g_soft_arena, g_soft_arena_end, g_soft_size;
_Atomic uint8_t *g_soft_epcm;

const char *softsgx_missing(void)
{
    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE))
        return "no FSGSBASE (CPU since 2012, Linux 5.9)";
    if (!(cpu_basic_features() & bit_OSXSAVE))
        return "no XSAVE";
    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0) < 0)
        return "no Syscall User Dispatch (Linux 5.11)";
    if (getauxval(AT_MINSIGSTKSZ) + HANDLER_STACK > SOFT_SLOT_SIZE - 2 * SGX_PAGE_SIZE)
        return "signal frames of this CPU are too big";
    return NULL;
}

/* CPUID leaf 0DH, which a CPU with XSAVE has: where each state component that XFRM may hold stands in
 * the standard format. One CPUID takes up to 15 us in a virtual machine: no needless ones. */
static void learn_xsave(struct softsgx *s)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    s->host_xcr0 = (uint64_t)high << 32 | low;
    for (uint64_t rest = s->host_xcr0 & SOFT_XFRM & ~SGX_XFRM_LEGACY; rest; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctzll(rest), size, offset, c, d;
        __cpuid_count(0xd, i, size, offset, c, d);
        s->xcomp[i].offset = offset;
        s->xcomp[i].size = size;
    }
}

static int make_arena(struct softsgx *s, struct err *err)
{
    size_t size = (size_t)SOFT_SLOT_COUNT << SOFT_SLOT_SHIFT;
    uint8_t *p = mmap(NULL, size + SOFT_SLOT_SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return err_set(err, -errno, "reserving the threads' signal stacks");
    size_t before = -(uintptr_t)p & (SOFT_SLOT_SIZE - 1);
    if (before)
        (void)munmap(p, before);
    (void)munmap(p + before + size, SOFT_SLOT_SIZE - before);
    s->arena = p + before;
    g_soft_arena = (uint64_t)s->arena;
    g_soft_arena_end = (uint64_t)s->arena + size;
    return 0;
}

int softsgx_open(const struct softsgx_options *options, struct softsgx **ret, struct err *err)
{
    const char *missing = softsgx_missing();
    if (missing)
        return err_set(err, -ENODEV, "software SGX device: this machine has %s", missing);
    if (g_soft)
        return err_set(err, -EBUSY, "software SGX device: a process holds one enclave");

    struct softsgx *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(err, -ENOMEM, "software SGX device");
    s->mem_fd = s->uffd = -1;
    if (options)
        s->options = *options;
    learn_xsave(s);

    int code = 0;
    void *alive =
        mmap(NULL, SGX_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    s->tcs = mmap(NULL, sizeof(*s->tcs) * SOFT_TCS_MAX, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    s->mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    if (alive == MAP_FAILED || (void *)s->tcs == MAP_FAILED)
        code = err_set(err, -ENOMEM, "software SGX device");
    else if (s->mem_fd < 0)
        code = err_set(err, -errno, "opening '/proc/self/mem'");
    else
        code = make_arena(s, err);
    if (alive != MAP_FAILED) {
        (void)madvise(alive, SGX_PAGE_SIZE, MADV_WIPEONFORK);
        s->alive = alive;
        atomic_store(s->alive, 1);
    }
    if ((void *)s->tcs == MAP_FAILED)
        s->tcs = NULL;
    if (code == 0) {
        g_soft = s;
        code = soft_trap_install(s, err);
    }
    if (code < 0) {
        softsgx_close(s);
        return code;
    }
    *ret = s;
    return 0;
}

void softsgx_close(struct softsgx *s)
{
    if (!s)
        return;
    softsgx_thread_end(s);
    soft_trap_restore(s);
    stage_close(s);
    elrange_release(s);
    if (s->arena)
        (void)munmap(s->arena, (size_t)SOFT_SLOT_COUNT << SOFT_SLOT_SHIFT);
    if (s->tcs)
        (void)munmap(s->tcs, sizeof(*s->tcs) * SOFT_TCS_MAX);
    if (s->alive)
        (void)munmap((void *)s->alive, SGX_PAGE_SIZE);
    if (s->mem_fd >= 0)
        (void)close(s->mem_fd);
    explicit_bzero(s->root_key, sizeof(s->root_key));
    g_soft = NULL;
    g_soft_arena = g_soft_arena_end = g_soft_size = 0;
    free(s);
}
