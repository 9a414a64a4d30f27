#include "mm_fakes.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "arch/cpu.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "thread/lock.h"
#include "tree/hints.h"

#define PAGE LAYOUT_PAGE

uint8_t g_epcm[MM_FAKES_SIZE / PAGE];
static __thread uint64_t g_out;

uint64_t g_hints[TREE_HINT_PAGES];
uint32_t g_hint_count;
void hints_add(uint64_t page)
{
    if (g_hint_count < TREE_HINT_PAGES)
        g_hints[g_hint_count++] = page;
}
uint32_t hints_get(uint64_t ret[static TREE_HINT_PAGES])
{
    memcpy(ret, g_hints, g_hint_count * sizeof(g_hints[0]));
    return g_hint_count;
}

NORETURN void panic(const char *text, ...)
{
    (void)fprintf(stderr, "panic: %s\n", text);
    abort();
}
void log_error(const char *text UNUSED, ...)
{
}
void log_note(const char *text UNUSED, ...)
{
}
int format(char *buf, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf, size, fmt, args);
    va_end(args);
    return n;
}
void audit(enum ocall_audit_event e UNUSED, int r UNUSED, uint64_t v UNUSED, const char *p UNUSED,
           uint64_t n UNUSED)
{
}

int64_t border_call(enum ocall_nr nr, uint64_t max UNUSED, uint64_t at, uint64_t count,
                    uint64_t what, uint64_t a3 UNUSED, uint64_t a4 UNUSED, uint64_t a5 UNUSED)
{
    bool pages = nr == OCALL_RESTRICT || nr == OCALL_REMOVE;
    for (uint64_t i = at / PAGE; pages && i < at / PAGE + count; i++) {
        if (nr == OCALL_RESTRICT)
            g_epcm[i] &= (uint8_t)(0x80 | what);
        if (nr == OCALL_REMOVE)
            g_epcm[i] = 0;
    }
    if (nr == OCALL_YIELD)
        (void)sched_yield();
    if (nr == OCALL_REMOVE)
        (void)madvise((void *)at, count * PAGE, MADV_DONTNEED);
    g_out = count;
    return 0;
}
uint64_t border_out(unsigned i UNUSED)
{
    return g_out;
}

uint64_t enclu_eaccept(const struct sgx_secinfo *info, uint64_t page)
{
    if (info->flags & SGX_SECINFO_PENDING) {
        if (g_epcm[page / PAGE])
            panic("accepted twice");
        g_epcm[page / PAGE] = 0x80 | SGX_SECINFO_R | SGX_SECINFO_W;
    }
    return 0;
}
uint64_t enclu_eacceptcopy(const struct sgx_secinfo *info, uint64_t page, const void *source)
{
    if (g_epcm[page / PAGE])
        panic("accepted twice");
    g_epcm[page / PAGE] = (uint8_t)(0x80 | (info->flags & 7));
    memcpy((void *)page, source, PAGE);
    return 0;
}
void enclu_emodpe(const struct sgx_secinfo *info, uint64_t page)
{
    g_epcm[page / PAGE] |= (uint8_t)(info->flags & 7);
}

void *heap_alloc(size_t size)
{
    void *p = aligned_alloc(4096, (size + 4095) & ~4095ull);
    return p ? memset(p, 0, size) : p;
}
void heap_free(void *p)
{
    free(p);
}
void *heap_realloc(void *p, size_t size)
{
    return realloc(p, size);
}
void *heap_pages(uint64_t count)
{
    return aligned_alloc(4096, count * 4096);
}
void heap_pages_free(void *p, uint64_t count UNUSED)
{
    free(p);
}
void lock_take(struct lock *lock)
{
    while (__atomic_exchange_n(&lock->word, 1, __ATOMIC_ACQUIRE))
        (void)sched_yield();
}
void lock_drop(struct lock *lock)
{
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
}

void mm_fakes_boot(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    uint64_t low = LAYOUT_PARAMS;
    void *p = mmap((void *)low, MM_FAKES_SIZE - low, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)low)
        panic("addresses are taken");
    struct layout_params *params = (struct layout_params *)low;
    params->enclave_size = MM_FAKES_SIZE;
    params->heap_size = 4ull << 30;
    void *app = mmap((void *)0x400000, 1u << 20, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (app != (void *)0x400000)
        panic("addresses are taken");
    mm_init();
}
