/*
 * The EPCM, and the host's page tables as its lazily filled cache (SDM "Enclave Page Cache Map",
 * "Access-control"). Tier: hosted, untrusted. Runs in signal handlers: no allocation, no libc that
 * takes locks.
 */
#include "softsgx/state.h"

#include "abi/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HUGE_PAGES 512u /* a huge page */

/* How far pages_fill looks: enough that a big heap costs few faults, little enough to be quick. */
#define FILL_BACK      (512u)
#define FILL_AHEAD     (65536u)
/* How many of them are made at once. */
#define POPULATE_AHEAD (512u)
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* <linux/mman.h> */
#endif

int elrange_reserve(struct softsgx *s, struct err *err)
{
    uint64_t size = s->secs.size;
    uint64_t pages = size >> SGX_PAGE_SHIFT;

    void *epcm = mmap(NULL, pages, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (epcm == MAP_FAILED)
        return err_set(err, -errno, "reserving the EPCM of %llu pages", (unsigned long long)pages);
    (void)madvise(epcm, pages, MADV_DONTFORK);

    void *at = (void *)SOFT_ELRANGE_START;
    size_t length = size - SOFT_ELRANGE_START;
    void *p = mmap(at, length, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != at) {
        int code = p == MAP_FAILED ? -errno : -EEXIST;
        if (p != MAP_FAILED)
            (void)munmap(p, length);
        (void)munmap(epcm, pages);
        return err_set(
            err, code,
            code == -EEXIST
                ? "reserving ELRANGE [0x%llx, 0x%llx): this process has something mapped there"
                : "reserving ELRANGE [0x%llx, 0x%llx)",
            (unsigned long long)SOFT_ELRANGE_START, (unsigned long long)size);
    }
    (void)madvise(p, length, MADV_DONTFORK);
    /* One anon_vma for all of ELRANGE before it is split: pieces with equal permissions then merge
     * again, which keeps the process below the kernel's limit of mappings. */
    *(volatile char *)p = 0;
    (void)madvise(p, 1u << 21, MADV_DONTNEED);
    /* Where programs, libraries and their data go, huge pages cost less than the faults they save.
     */
    size_t low = length < LAYOUT_FILES_END ? length : LAYOUT_FILES_END;
    (void)madvise(p, low, MADV_HUGEPAGE);
    (void)mprotect(p, length, PROT_NONE);

    s->epcm = epcm;
    s->size = size;
    return 0;
}

void elrange_release(struct softsgx *s)
{
    if (!s->size)
        return;
    (void)munmap((void *)SOFT_ELRANGE_START, s->size - SOFT_ELRANGE_START);
    (void)munmap((void *)s->epcm, s->size >> SGX_PAGE_SHIFT);
    s->epcm = NULL;
    s->size = 0;
}

_Atomic uint32_t g_soft_lock;

/* What the enclave has accepted is in place before anybody opens page tables. */
void soft_lock(struct softsgx *s)
{
    while (atomic_exchange_explicit(&g_soft_lock, 1, memory_order_acquire))
        (void)sched_yield();
    if (g_soft_stage_count)
        stage_flush(s);
}

void soft_unlock(struct softsgx *s UNUSED)
{
    atomic_store_explicit(&g_soft_lock, 0, memory_order_release);
}

void soft_lock_host(struct softsgx *s, sigset_t *ret_old)
{
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, ret_old);
    soft_lock(s);
}

void soft_unlock_host(struct softsgx *s, const sigset_t *old)
{
    soft_unlock(s);
    (void)pthread_sigmask(SIG_SETMASK, old, NULL);
}

static int host_protection(uint8_t effective)
{
    int prot = PROT_NONE;
    if (effective & (SGX_SECINFO_R | SGX_SECINFO_X)) /* the CPU has no page that is X without R */
        prot |= PROT_READ;
    if (effective & SGX_SECINFO_W)
        prot |= PROT_WRITE;
    if (effective & SGX_SECINFO_X)
        prot |= PROT_EXEC;
    return prot;
}

void pages_populate(uint64_t address, uint64_t page_count)
{
    /* Linux 5.14. Where it fails, each page comes by its own fault. */
    (void)syscall(SYS_madvise, address, page_count << SGX_PAGE_SHIFT, MADV_POPULATE_WRITE);
}

int pages_fill(struct softsgx *s, uint64_t address)
{
    uint64_t page = address >> SGX_PAGE_SHIFT;
    uint64_t low = SOFT_ELRANGE_START >> SGX_PAGE_SHIFT;
    uint64_t high = s->size >> SGX_PAGE_SHIFT;
    uint8_t want = epcm_effective(s->epcm[page]);

    if (page > low + FILL_BACK)
        low = page - FILL_BACK;
    if (high > page + FILL_AHEAD)
        high = page + FILL_AHEAD;
    uint64_t first = page, last = page + 1;
    while (first > low && epcm_effective(s->epcm[first - 1]) == want)
        first--;
    while (last < high && epcm_effective(s->epcm[last]) == want)
        last++;
    if (syscall(SYS_mprotect, first << SGX_PAGE_SHIFT, (last - first) << SGX_PAGE_SHIFT,
                host_protection(want)) < 0)
        return -errno;
    /* Further up heap gets them, in big runs. */
    uint64_t huge_first = (first + HUGE_PAGES - 1) & ~(uint64_t)(HUGE_PAGES - 1);
    uint64_t huge_last = last & ~(uint64_t)(HUGE_PAGES - 1);
    if (want == (SGX_SECINFO_R | SGX_SECINFO_W) && huge_last > huge_first)
        (void)syscall(SYS_madvise, huge_first << SGX_PAGE_SHIFT,
                      (huge_last - huge_first) << SGX_PAGE_SHIFT, MADV_HUGEPAGE);
    /* What was accepted is there, as it is in an EPC. */
    if (want == (SGX_SECINFO_R | SGX_SECINFO_W) && last - page > 1)
        pages_populate(page << SGX_PAGE_SHIFT,
                       last - page < POPULATE_AHEAD ? last - page : POPULATE_AHEAD);
    return 0;
}

int pages_narrow(struct softsgx *s, uint64_t address, uint64_t page_count)
{
    uint64_t page = address >> SGX_PAGE_SHIFT, end = page + page_count;
    if (address < s->ssa_high && address + page_count * SGX_PAGE_SIZE > s->ssa_low)
        atomic_fetch_add(&s->narrowings, 1);
    while (page < end) {
        uint8_t effective = epcm_effective(s->epcm[page]);
        uint64_t last = page + 1;
        while (last < end && epcm_effective(s->epcm[last]) == effective)
            last++;
        if (syscall(SYS_mprotect, page << SGX_PAGE_SHIFT, (last - page) << SGX_PAGE_SHIFT,
                    host_protection(effective)) < 0)
            return -errno;
        page = last;
    }
    return 0;
}

uint8_t page_demand(struct softsgx *s, uint64_t address)
{
    uint8_t absent = EPCM_ABSENT;
    if (!s->initialized || address < SOFT_ELRANGE_START)
        return EPCM_ABSENT;
    if (atomic_compare_exchange_strong(&s->epcm[address >> SGX_PAGE_SHIFT], &absent, EPCM_AUGED))
        return EPCM_AUGED;
    return absent;
}

int force_open(struct softsgx *s, bool write, uint64_t address, void *buffer, size_t size)
{
    uint64_t first = address & SGX_PAGE_MASK, last = (address + size - 1) | ~SGX_PAGE_MASK;
    int code =
        syscall(SYS_mprotect, first, last + 1 - first, PROT_READ | PROT_WRITE) < 0 ? -errno : 0;
    if (code == 0 && write)
        memcpy((void *)address, buffer, size);
    else if (code == 0)
        memcpy(buffer, (void *)address, size);
    if (code == 0)
        code = pages_narrow(s, first, (last + 1 - first) >> SGX_PAGE_SHIFT);
    return code;
}

static int force(struct softsgx *s, bool write, uint64_t address, void *buffer, size_t size)
{
    if (g_soft_stage_count) { /* so we do not hold the lock */
        soft_lock(s);
        soft_unlock(s);
    }
    long n = syscall(write ? SYS_pwrite64 : SYS_pread64, s->mem_fd, buffer, size, address);
    if (n == (long)size)
        return 0;
    if (address < SOFT_ELRANGE_START || !in_elrange(s, address, size))
        return -EFAULT;
    soft_lock(s);
    int code = force_open(s, write, address, buffer, size);
    soft_unlock(s);
    return code;
}

/* Through /proc/self/mem: whatever the page tables hold, and whoever changes
 * them meanwhile, the handler cannot fault. */
bool enclave_read(struct softsgx *s, uint64_t address, void *ret, size_t size)
{
    return (epcm_effective(epcm_get(s, address)) & SGX_SECINFO_R) &&
           force(s, false, address, ret, size) == 0;
}

bool enclave_write(struct softsgx *s, uint64_t address, const void *data, size_t size)
{
    return (epcm_effective(epcm_get(s, address)) & SGX_SECINFO_W) &&
           force(s, true, address, (void *)(uintptr_t)data, size) == 0;
}

int enclave_poke(struct softsgx *s, uint64_t address, const void *data, size_t size)
{
    return force(s, true, address, (void *)(uintptr_t)data, size);
}

int enclave_peek(struct softsgx *s, uint64_t address, void *ret, size_t size)
{
    return force(s, false, address, ret, size);
}
