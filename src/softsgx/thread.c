/*
 * Host threads of the software SGX device: each has a size-aligned slot that holds its block and
 * its signal stack, so that a handler finds the block by masking RSP. Tier: hosted, untrusted.
 */
#include "softsgx/state.h"

#include <asm/prctl.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF          0
#define PR_SYS_DISPATCH_ON           1
#endif
#define DISPATCH_BLOCK 1
#define USER_END       (1ull << 47)

static __thread struct soft_thread *t_self __attribute__((tls_model("initial-exec")));

struct soft_thread *soft_self(void)
{
    return t_self;
}

static uint64_t read_fs(void)
{
    uint64_t base;
    __asm__ volatile("rdfsbase %0" : "=r"(base));
    return base;
}

static uint64_t read_gs(void)
{
    uint64_t base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

static int slot_take(struct softsgx *s, uint32_t *ret)
{
    for (uint32_t i = 0; i < SOFT_SLOT_COUNT; i++) {
        uint8_t unused = 0;
        if (atomic_compare_exchange_strong(&s->slot_used[i], &unused, 1)) {
            *ret = i;
            return 0;
        }
    }
    return -EAGAIN;
}

int softsgx_thread_begin(struct softsgx *s, struct err *err)
{
    if (t_self)
        return err_set(err, -EALREADY, "this thread has begun already");
    if (!s->size)
        return err_set(err, -EINVAL, "a thread begins before the enclave is created");

    uint32_t slot;
    if (slot_take(s, &slot) < 0)
        return err_set(err, -EAGAIN, "more than %d threads in the enclave", SOFT_SLOT_COUNT);
    uint8_t *base = s->arena + ((size_t)slot << SOFT_SLOT_SHIFT);
    struct soft_thread *t = (struct soft_thread *)base;
    if (mprotect(base, SOFT_SLOT_SIZE, PROT_READ | PROT_WRITE) < 0 ||
        mprotect(base + SGX_PAGE_SIZE, SGX_PAGE_SIZE, PROT_NONE) < 0) {
        int code = -errno;
        atomic_store(&s->slot_used[slot], 0);
        return err_set(err, code, "making a thread's signal stack");
    }
    memset(t, 0, sizeof(*t));
    t->slot = slot;
    t->host_fs = read_fs();
    t->host_gs = read_gs();
    t->xfrm = s->secs.attributes.xfrm;
    t->return_address = (uint64_t)soft_exit_table + ((uint64_t)slot << SOFT_EXIT_SHIFT);
    t->step_next = 1;
    t->random = slot * 2654435761u + 12345;
    t->selector = DISPATCH_BLOCK;

    /* The block must not lie inside the stack that the kernel knows: entry.S runs with RSP there.
     */
    stack_t stack = { .ss_sp = base + 2 * SGX_PAGE_SIZE,
                      .ss_size = SOFT_SLOT_SIZE - 2 * SGX_PAGE_SIZE };
    int code = 0;
    if (sigaltstack(&stack, &t->old_stack) < 0) {
        code = err_set(err, -errno, "setting a thread's signal stack");
    } else if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, s->size, USER_END - s->size,
                     &t->selector) < 0) {
        code = err_set(err, -errno, "switching on Syscall User Dispatch");
        (void)sigaltstack(&t->old_stack, NULL);
    }
    if (code < 0) {
        atomic_store(&s->slot_used[slot], 0);
        return code;
    }
    t_self = t;
    /* Where the CPU and the kernel have it; elsewhere CPUID in the enclave tells the host's
     * answers. */
    t->cpuid_faults = syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) == 0;
    return 0;
}

void softsgx_thread_end(struct softsgx *s)
{
    struct soft_thread *t = t_self;
    if (!t)
        return;
    if (t->cpuid_faults)
        (void)syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    (void)prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
    (void)sigaltstack(&t->old_stack, NULL);
    t_self = NULL;

    sigset_t old;
    soft_lock_host(s, &old);
    uint64_t *sum = (uint64_t *)&s->stats;
    const uint64_t *mine = (const uint64_t *)&t->stats;
    for (size_t i = 0; i < sizeof(s->stats) / sizeof(*sum); i++)
        sum[i] += mine[i];
    memset(&t->stats, 0, sizeof(t->stats));
    soft_unlock_host(s, &old);
    atomic_store(&s->slot_used[t->slot], 0);
}

void softsgx_stats(const struct softsgx *s, struct softsgx_stats *ret)
{
    *ret = s->stats;
    uint64_t *sum = (uint64_t *)ret;
    for (uint32_t slot = 0; slot < SOFT_SLOT_COUNT; slot++) {
        if (!atomic_load(&s->slot_used[slot]))
            continue;
        const struct soft_thread *t = (const void *)(s->arena + ((size_t)slot << SOFT_SLOT_SHIFT));
        const uint64_t *mine = (const uint64_t *)&t->stats;
        for (size_t i = 0; i < sizeof(*ret) / sizeof(*sum); i++)
            sum[i] += mine[i];
    }
}
