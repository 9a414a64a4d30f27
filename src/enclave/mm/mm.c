#include "mm/mm.h"

#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "abi/manifest.h"
#include "abi/sgx.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "mm/layout.h"
#include "mm/pages.h"
#include "mm/shared.h"
#include "mm/uaccess.h"
#include "mm/vma.h"
#include "process/process.h"
#include "thread/lock.h"
#include "tree/hints.h"

#define PAGE             LAYOUT_PAGE
#define BATCH_SMALL      16  /* pages accepted at a fault in a small mapping */
#define BATCH_LARGE      512 /* and in one of BATCH_LARGE_FROM bytes: what a huge page holds */
#define BATCH_LARGE_FROM (8ull << 20)
/* Pages that come one by one in a forked child: most end or exec before they have run much. */
#define SPARSE_FORKED    128

static struct lock g_lock;
static uint64_t g_anonymous_end; /* program memory ends here, the library OS's heap begins */
static uint64_t g_files_end;
static uint64_t g_brk_start, g_brk;
static uint64_t g_writable; /* bytes of writable mappings: what --heap limits */
static uint32_t g_sparse;   /* so many more pages of trusted files come one by one */

static uint64_t round_up(uint64_t value)
{
    return (value + PAGE - 1) & ~(PAGE - 1);
}

static uint64_t min64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t mm_perms(uint32_t prot)
{
    uint64_t perms = 0;
    if (prot & (PROT_READ | PROT_WRITE | PROT_EXEC))
        perms |= SGX_SECINFO_R;
    if (prot & PROT_WRITE)
        perms |= SGX_SECINFO_W;
    if (prot & PROT_EXEC)
        perms |= SGX_SECINFO_X;
    return perms;
}

void mm_init(void)
{
    uint64_t size = PARAMS->enclave_size;
    pages_init(size);
    g_anonymous_end = mm_heap_base(size);
    g_files_end = min64(LAYOUT_FILES_END, g_anonymous_end);
}

struct lock *mm_lock(void)
{
    return &g_lock;
}

/* May the program have mappings there? */
static bool range_ok(uint64_t start, uint64_t size)
{
    uint64_t end;
    if (__builtin_add_overflow(start, size, &end) || size == 0)
        return false;
    return (start >= LAYOUT_APP_START && end <= LAYOUT_PARAMS) ||
           (start >= LAYOUT_FILES && end <= g_anonymous_end);
}

bool user_range_ok(const void *user, uint64_t size)
{
    uint64_t start = (uint64_t)user;
    return range_ok(start, size ? size : 1);
}

/* Writable bytes in [start, end). */
static uint64_t writable_in(uint64_t start, uint64_t end)
{
    uint64_t sum = 0;
    for (uint32_t i = vma_lower(start); i < vma_count() && vma_at(i)->start < end; i++) {
        const struct vma *v = vma_at(i);
        uint64_t from = v->start > start ? v->start : start;
        if (v->prot & PROT_WRITE)
            sum += min64(v->end, end) - from;
    }
    return sum;
}

/* -ENOMEM if `more` writable bytes in place of `less` are over the limit. Changes nothing. */
static int afford(uint64_t more, uint64_t less)
{
    if (more > less && g_writable - less + more > PARAMS->heap_size) {
        static bool said;
        if (!said) {
            said = true;
            log_error("out of enclave memory: the program wants %lu MiB more, %lu of %lu MiB are "
                      "taken; --heap raises the limit",
                      (more + 0xfffff) >> 20, g_writable >> 20, PARAMS->heap_size >> 20);
        }
        return -ENOMEM;
    }
    return 0;
}

/* Lets go of the files of mappings that are no more. The lock is not held. */
static void drop_gone(void)
{
    dsm_give_collected();
    for (;;) {
        lock_take(&g_lock);
        struct file *file = vma_gone();
        lock_drop(&g_lock);
        if (!file)
            return;
        file_unref(file);
    }
}

/* Takes out whatever is mapped in the range, pages and all. The lock is held. */
static int unmap_locked(uint64_t start, uint64_t end)
{
    uint64_t less = writable_in(start, end);
    if (shared_any())
        shared_flush_range(start, end);
    bool dsm = dsm_any();
    for (uint32_t i = vma_lower(start); dsm && i < vma_count() && vma_at(i)->start < end; i++)
        if (vma_at(i)->flags & VMA_DSM)
            dsm_collect(vma_at(i), start, end);
    int r = vma_cut(start, end);
    if (r < 0)
        return r;
    g_writable -= less;
    if (shared_any())
        shared_recount();
    if (dsm)
        dsm_recount();
    pages_trim(start, (end - start) / PAGE);
    return 0;
}

static uint64_t choose(uint64_t size, bool near_stubs)
{
    uint64_t at = 0;
    if (near_stubs) {
        /* Chunks of the file lie on their own boundaries then, which suits the host. */
        uint64_t align = MANIFEST_CHUNK_SIZE;
        at = vma_hole(LAYOUT_FILES, g_files_end, size + align - PAGE, false);
        at = (at + align - 1) & ~(align - 1);
    }
    if (!at && g_anonymous_end > g_files_end)
        at = vma_hole(g_files_end, g_anonymous_end, size, true);
    if (!at)
        at = vma_hole(LAYOUT_FILES, g_files_end, size, !near_stubs);
    return at;
}

/* A shared mapping that must show what is written to the file, and the reverse: mm/shared.h. */
static bool shared_coherent(const struct file *file, int flags)
{
    bool trusted = file->record && file->record->class == MANIFEST_TRUSTED;
    return (flags & MAP_TYPE) != MAP_PRIVATE && !trusted;
}

/* What a mapping of this file must not be. */
static int map_refused(const struct file *file, int prot, int flags)
{
    uint32_t access = file->flags & O_ACCMODE;
    bool trusted = file->record && file->record->class == MANIFEST_TRUSTED;
    if (!file->ops->pread_kernel && !trusted)
        return -ENODEV;
    if (access == O_WRONLY)
        return -EACCES;
    if ((flags & MAP_TYPE) != MAP_PRIVATE && (prot & PROT_WRITE) && access != O_RDWR)
        return -EACCES;
    if ((prot & PROT_EXEC) && (!trusted || !(file->record->flags & MANIFEST_EXEC))) {
        audit(OCALL_AUDIT_NOT_GRANTED, EACCES, 0, file->path, file->path ? strlen(file->path) : 0);
        return -EACCES;
    }
    if (shared_coherent(file, flags) && access == O_RDWR && !file->ops->pwrite_kernel)
        return -ENODEV;
    return 0;
}

static int64_t map_locked(uint64_t address, uint64_t size, int prot, int flags, struct file *file,
                          uint64_t offset)
{
    uint64_t at = address;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if (!range_ok(at, size))
            return -ENOMEM;
        if ((flags & MAP_FIXED_NOREPLACE) && vma_lower(at) < vma_count() &&
            vma_at(vma_lower(at))->start < at + size)
            return -EEXIST;
    } else if (!at || !range_ok(at, size) || vma_hole(at, at + size, size, false) != at) {
        at = choose(size, file != NULL || (prot & PROT_EXEC));
        if (!at)
            return -ENOMEM;
    }
    bool coherent = file && shared_coherent(file, flags), dsm = dsm_number(file) != 0;
    if (coherent && !dsm &&
        shared_conflict(file, offset, size, (file->flags & O_ACCMODE) == O_RDWR))
        return -EBUSY;
    uint64_t more = (prot & PROT_WRITE) ? size : 0;
    int r = afford(more, writable_in(at, at + size));
    if (r < 0)
        return r;
    r = unmap_locked(at, at + size);
    if (r < 0)
        return r;
    struct vma vma = {
        .start = at,
        .end = at + size,
        .prot = (uint32_t)prot & (PROT_READ | PROT_WRITE | PROT_EXEC),
        .flags = ((flags & MAP_TYPE) != MAP_PRIVATE ? VMA_SHARED : 0u) |
                 ((flags & MAP_STACK) ? VMA_STACK : 0u) | (coherent ? VMA_COHERENT : 0u) |
                 (dsm ? VMA_DSM : 0u),
        .file = file,
        .offset = offset,
    };
    r = vma_add(&vma);
    if (r < 0)
        return r;
    if (file)
        file_ref(file);
    if (coherent)
        shared_recount();
    if (dsm)
        dsm_recount();
    g_writable += more;
    return (int64_t)at;
}

/* A shared mapping of a file: of itself, or of what it stands for between processes. */
static int64_t map_file(uint64_t address, uint64_t size, int prot, int flags, struct file *file,
                        uint64_t offset)
{
    for (bool again = false;; again = true) {
        struct file *between;
        int r = dsm_open(file, &between);
        if (r < 0)
            return r;
        lock_take(&g_lock);
        int64_t at = map_locked(address, size, prot, flags, between ? between : file, offset);
        lock_drop(&g_lock);
        file_unref(between);
        if (at == -EBUSY && !again && dsm_mapped(file, true) == 0)
            continue;
        if (at >= 0 && !between)
            (void)!dsm_mapped(file, false);
        if (at == -EBUSY) {
            log_note(
                "a second shared mapping of '%s' was refused (ENODEV): in an enclave two mappings "
                "do not see each other's changes",
                file->path ? file->path : "?");
            at = -ENODEV;
        }
        return at;
    }
}

int64_t mm_map(uint64_t address, uint64_t size, int prot, int flags, struct file *file,
               uint64_t offset)
{
    int type = flags & MAP_TYPE;
    if (size == 0 || (offset & (PAGE - 1)))
        return -EINVAL;
    if (type != MAP_PRIVATE && type != MAP_SHARED && type != MAP_SHARED_VALIDATE)
        return -EINVAL;
    if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM))
        return -EINVAL;
    if (type == MAP_SHARED_VALIDATE && (flags & MAP_SYNC))
        return -EOPNOTSUPP;
    if (flags & MAP_HUGETLB)
        return -ENOMEM;
    if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && (address & (PAGE - 1)))
        return -EINVAL;
    if (size > PARAMS->enclave_size)
        return -ENOMEM;
    size = round_up(size);
    /* Offsets of a mapping's pages never wrap, nor do they when mremap lets it grow. */
    if (file && (offset > INT64_MAX || size > INT64_MAX - offset))
        return -EOVERFLOW;
    if (file) {
        int r = map_refused(file, prot, flags);
        if (r < 0)
            return r;
    }
    int64_t r;
    address &= ~(PAGE - 1);
    if (file && shared_coherent(file, flags)) {
        r = map_file(address, size, prot, flags, file, offset);
    } else {
        lock_take(&g_lock);
        r = map_locked(address, size, prot, flags, file, offset);
        lock_drop(&g_lock);
    }
    drop_gone();
    return r;
}

int mm_unmap(uint64_t address, uint64_t size)
{
    if (size == 0 || (address & (PAGE - 1)))
        return -EINVAL;
    size = round_up(size);
    if (!range_ok(address, size))
        return -EINVAL;
    lock_take(&g_lock);
    int r = unmap_locked(address, address + size);
    lock_drop(&g_lock);
    drop_gone();
    return r;
}

static int protect_locked(uint64_t start, uint64_t end, uint32_t prot)
{
    if (!vma_covers(start, end))
        return -ENOMEM;
    for (uint32_t i = vma_lower(start); i < vma_count() && vma_at(i)->start < end; i++) {
        const struct vma *v = vma_at(i);
        if (!v->file || !(prot & PROT_EXEC) || (v->prot & PROT_EXEC))
            continue;
        if (!v->file->record || !(v->file->record->flags & MANIFEST_EXEC))
            return -EACCES;
    }
    uint64_t more = (prot & PROT_WRITE) ? end - start : 0;
    uint64_t less = writable_in(start, end);
    int r = afford(more, less);
    if (r < 0)
        return r;
    r = vma_protect(start, end, prot);
    if (r < 0)
        return r;
    g_writable = g_writable - less + more;
    pages_set_perms(start, (end - start) / PAGE, mm_perms(prot));
    return 0;
}

/* Rounds a range's size up to pages; 0 stays. -ENOMEM: it is not all the program's. */
static int whole_pages(uint64_t address, uint64_t *size)
{
    if (*size > PARAMS->enclave_size)
        return -ENOMEM;
    *size = round_up(*size);
    return *size == 0 || range_ok(address, *size) ? 0 : -ENOMEM;
}

int mm_protect(uint64_t address, uint64_t size, int prot)
{
    if (address & (PAGE - 1))
        return -EINVAL;
    if (prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM))
        return -EINVAL;
    int r = whole_pages(address, &size);
    if (r < 0 || size == 0)
        return r;
    LOCKED(&g_lock);
    return protect_locked(address, address + size,
                          (uint32_t)prot & (PROT_READ | PROT_WRITE | PROT_EXEC));
}

void mm_set_brk(uint64_t start)
{
    g_brk_start = g_brk = start;
}

int64_t mm_brk(uint64_t address)
{
    LOCKED(&g_lock);
    if (address < g_brk_start || address > LAYOUT_PARAMS)
        return (int64_t)g_brk;
    uint64_t now = round_up(g_brk), want = round_up(address);
    if (want > now) {
        if (vma_hole(now, want, want - now, false) != now || afford(want - now, 0) < 0)
            return (int64_t)g_brk;
        struct vma vma = {
            .start = now, .end = want, .prot = PROT_READ | PROT_WRITE, .flags = VMA_HEAP
        };
        if (vma_add(&vma) < 0)
            return (int64_t)g_brk;
        g_writable += want - now;
    } else if (want < now) {
        if (unmap_locked(want, now) < 0)
            return (int64_t)g_brk;
    }
    g_brk = address;
    return (int64_t)address;
}

/* --- faults -------------------------------------------------------------------------------------- */

static bool allows(uint32_t prot, uint64_t error_code)
{
    if (error_code & SGX_PFEC_W)
        return (prot & PROT_WRITE) != 0;
    if (error_code & SGX_PFEC_I)
        return (prot & PROT_EXEC) != 0;
    return prot != PROT_NONE;
}

static enum mm_fault fault_anonymous(const struct vma *v, uint64_t page)
{
    uint64_t batch = BATCH_SMALL;
    if (v->end - v->start >= BATCH_LARGE_FROM && !(v->flags & (VMA_STACK | VMA_MAIN_STACK)))
        batch = BATCH_LARGE;
    uint64_t start = page & ~(batch * PAGE - 1);
    uint64_t end = min64(start + batch * PAGE, v->end);
    if (start < v->start)
        start = v->start;
    /* Just the run of absent pages around this one. */
    uint64_t low = page, high = page + PAGE;
    while (low > start && !page_state(low - PAGE))
        low -= PAGE;
    while (high < end && !page_state(high))
        high += PAGE;
    if (pages_try_accept(low, (high - low) / PAGE, SGX_SECINFO_R | SGX_SECINFO_W) < 0)
        return MM_FAULT_NOMEM;
    if (mm_perms(v->prot) != (SGX_SECINFO_R | SGX_SECINFO_W))
        pages_set_perms(low, (high - low) / PAGE, mm_perms(v->prot));
    return MM_FAULT_DONE;
}

/* Brings a verified chunk into every absent page that maps it around page; in a forked child that has just begun,
 * into page alone. The lock is held, the mapping is still the one that wanted the chunk. */
static enum mm_fault place(const struct vma *v, uint64_t page, uint64_t chunk_start,
                           const uint8_t *data, uint64_t data_size)
{
    uint64_t from = v->offset > chunk_start ? v->offset : chunk_start;
    uint64_t start = v->start + (from - v->offset);
    uint64_t end = min64(v->start + (chunk_start + round_up(data_size) - v->offset), v->end);
    if (page < start || page >= end)
        return MM_FAULT_BUS;
    if (g_sparse) {
        g_sparse--;
        hints_add(page);
        start = page;
        end = page + PAGE;
    }
    for (uint64_t at = start; at < end; at += PAGE) {
        if (page_state(at))
            continue;
        uint64_t in_chunk = v->offset + (at - v->start) - chunk_start;
        if (page_accept_copy(at, data + in_chunk, mm_perms(v->prot)) < 0)
            return at > page ? MM_FAULT_DONE : MM_FAULT_NOMEM;
    }
    return MM_FAULT_DONE;
}

static enum mm_fault fault_trusted(struct file *file, uint64_t page, uint64_t file_offset)
{
    struct chunk *chunk;
    const void *data;
    uint32_t size;
    uint64_t index = file_offset / MANIFEST_CHUNK_SIZE;
    int r = chunk_get(file, index, &chunk, &data, &size);
    if (r < 0)
        return r == -ENOMEM ? MM_FAULT_NOMEM : MM_FAULT_BUS;
    lock_take(&g_lock);
    const struct vma *v = vma_find(page);
    enum mm_fault result = MM_FAULT_DONE; /* changed meanwhile: the access faults again */
    if (v && v->file == file && v->offset + (page - v->start) == file_offset)
        result = place(v, page, index * MANIFEST_CHUNK_SIZE, data, size);
    lock_drop(&g_lock);
    chunk_put(chunk);
    return result;
}

static enum mm_fault fault_other(struct file *file, uint64_t page, uint64_t file_offset)
{
    uint8_t *buf = heap_pages(1);
    if (!buf)
        return MM_FAULT_NOMEM;
    int64_t n = file->ops->pread_kernel(file, buf, PAGE, file_offset);
    enum mm_fault result = MM_FAULT_BUS;
    if (n > 0) {
        memset(buf + n, 0, PAGE - (uint64_t)n);
        lock_take(&g_lock);
        const struct vma *v = vma_find(page);
        result = MM_FAULT_DONE;
        if (v && v->file == file && v->offset + (page - v->start) == file_offset &&
            !page_state(page) && page_accept_copy(page, buf, mm_perms(v->prot)) < 0)
            result = MM_FAULT_NOMEM;
        lock_drop(&g_lock);
    }
    heap_pages_free(buf, 1);
    return result;
}

enum mm_fault mm_fault(uint64_t address, uint64_t error_code)
{
    uint64_t page = address & ~(PAGE - 1);
    lock_take(&g_lock);
    const struct vma *v = vma_find(page);
    enum mm_fault result = MM_FAULT_DONE;
    struct file *file = NULL;
    uint64_t file_offset = 0;
    if (!v) {
        result = MM_FAULT_SEGV_MAPERR;
    } else if (!allows(v->prot, error_code)) {
        result = MM_FAULT_SEGV_ACCERR;
    } else if (page_state(page)) {
        /* There already: another thread was faster, or the host made the fault up. */
    } else if (!v->file) {
        result = fault_anonymous(v, page);
    } else {
        file = file_ref(v->file);
        file_offset = v->offset + (page - v->start);
    }
    lock_drop(&g_lock);
    if (!file)
        return result;
    if (dsm_number(file))
        result = dsm_fault(file, page, file_offset);
    else if (file->record && file->record->class == MANIFEST_TRUSTED)
        result = fault_trusted(file, page, file_offset);
    else
        result = fault_other(file, page, file_offset);
    file_unref(file);
    return result;
}

bool pages_patch_begin(uint64_t address)
{
    uint64_t page = address & ~(PAGE - 1);
    lock_take(&g_lock);
    const struct vma *v = vma_find(address);
    uint8_t state = page_state(page);
    if (!v || !(v->prot & PROT_EXEC) || v->start > address - 1 || v->end < address + 16 ||
        !(state & SGX_SECINFO_X)) {
        lock_drop(&g_lock);
        return false;
    }
    if (!(state & SGX_SECINFO_W))
        pages_set_perms(page, 1, (state & PAGE_PERMS) | SGX_SECINFO_W);
    return true;
}

void pages_patch_end(uint64_t address)
{
    uint64_t page = address & ~(PAGE - 1);
    pages_set_perms(page, 1, mm_perms(vma_find(address)->prot));
    lock_drop(&g_lock);
}

/* --- what system calls need beyond map, unmap and protect ------------------------------------------- */

int mm_discard(uint64_t address, uint64_t size)
{
    if (address & (PAGE - 1))
        return -EINVAL;
    int r = whole_pages(address, &size);
    if (r < 0 || size == 0)
        return r;
    LOCKED(&g_lock);
    if (!vma_covers(address, address + size))
        return -ENOMEM;
    /* What is shared stays with the object (madvise(2)). */
    for (uint32_t i = vma_lower(address); i < vma_count() && vma_at(i)->start < address + size;
         i++) {
        const struct vma *v = vma_at(i);
        uint64_t from = v->start > address ? v->start : address;
        if ((v->flags & VMA_DSM) || ((v->flags & VMA_SHARED) && !v->file))
            continue;
        if (v->flags & VMA_COHERENT)
            shared_flush_range(from, min64(v->end, address + size));
        pages_trim(from, (min64(v->end, address + size) - from) / PAGE);
    }
    return 0;
}

int mm_sync(uint64_t address, uint64_t size)
{
    uint64_t end = round_up(address + size);
    LOCKED(&g_lock);
    if (!vma_covers(address, end))
        return -ENOMEM;
    if (shared_any())
        shared_flush_range(address, end);
    return 0;
}

bool mm_mapped(uint64_t address, uint64_t size)
{
    LOCKED(&g_lock);
    return vma_covers(address & ~(PAGE - 1), round_up(address + size));
}

/* Moves accepted pages by copying; what is absent stays absent. */
static int move_pages(uint64_t from, uint64_t to, uint64_t count, uint32_t prot)
{
    for (uint64_t i = 0; i < count; i++) {
        uint8_t state = page_state(from + i * PAGE);
        if (!state)
            continue;
        if (!(state & SGX_SECINFO_R))
            pages_set_perms(from + i * PAGE, 1, SGX_SECINFO_R);
        int r = page_accept_copy(to + i * PAGE, (const void *)(from + i * PAGE), mm_perms(prot));
        if (r < 0)
            return r;
    }
    return 0;
}

static int64_t remap_locked(uint64_t old, uint64_t old_size, uint64_t size, int flags,
                            uint64_t fixed)
{
    const struct vma *v = vma_find(old);
    if (!v || v->end < old + old_size)
        return -EFAULT;
    struct vma moved = *v;
    if (!(flags & MREMAP_FIXED)) {
        if (size <= old_size) {
            int r = size < old_size ? unmap_locked(old + size, old + old_size) : 0;
            return r < 0 ? r : (int64_t)old;
        }
        uint64_t more = size - old_size;
        if (v->end == old + old_size && range_ok(old, size) &&
            vma_hole(v->end, v->end + more, more, false) == v->end) {
            bool writable = (v->prot & PROT_WRITE) != 0;
            if (writable && afford(more, 0) < 0)
                return -ENOMEM;
            moved.offset += old + old_size - moved.start;
            moved.start = old + old_size;
            moved.end = old + size;
            if (vma_add(&moved) < 0)
                return -ENOMEM;
            if (moved.file)
                file_ref(moved.file);
            g_writable += writable ? more : 0;
            return (int64_t)old;
        }
        if (!(flags & MREMAP_MAYMOVE))
            return -ENOMEM;
    }
    uint64_t to = fixed;
    if (flags & MREMAP_FIXED) {
        if (!range_ok(to, size) || (to < old + old_size && old < to + size))
            return -EINVAL;
        int r = unmap_locked(to, to + size);
        if (r < 0)
            return r;
    } else {
        to = choose(size, moved.file != NULL);
        if (!to)
            return -ENOMEM;
    }
    bool writable = (moved.prot & PROT_WRITE) != 0;
    if (writable && afford(size, old_size) < 0)
        return -ENOMEM;
    moved.offset += old - moved.start;
    moved.start = to;
    moved.end = to + size;
    if (vma_add(&moved) < 0)
        return -ENOMEM;
    g_writable += writable ? size : 0;
    if (moved.file)
        file_ref(moved.file);
    /* Pages shared with other processes go home and come back. */
    int r =
        (moved.flags & VMA_DSM) ? 0 : move_pages(old, to, min64(size, old_size) / PAGE, moved.prot);
    if (r < 0)
        return r;
    r = unmap_locked(old, old + old_size);
    return r < 0 ? r : (int64_t)to;
}

int64_t mm_remap(uint64_t old, uint64_t old_size, uint64_t size, int flags, uint64_t fixed)
{
    if ((old & (PAGE - 1)) || size == 0 || old_size == 0 ||
        (flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)))
        return -EINVAL;
    if ((flags & MREMAP_FIXED) && (!(flags & MREMAP_MAYMOVE) || (fixed & (PAGE - 1))))
        return -EINVAL;
    old_size = round_up(old_size);
    size = round_up(size);
    if (!range_ok(old, old_size) || size > PARAMS->enclave_size)
        return -EINVAL;
    lock_take(&g_lock);
    int64_t r = remap_locked(old, old_size, size, flags, fixed);
    lock_drop(&g_lock);
    drop_gone();
    return r;
}

void mm_mark_stack(uint64_t address)
{
    LOCKED(&g_lock);
    const struct vma *v = vma_find(address);
    if (v)
        ((struct vma *)(uintptr_t)v)->flags |= VMA_MAIN_STACK;
}

int mm_maps_text(char **ret, uint64_t *ret_size)
{
    uint64_t room = 0, used = 0;
    char *text = NULL;
    LOCKED(&g_lock);
    for (uint32_t i = 0; i < vma_count(); i++) {
        const struct vma *v = vma_at(i);
        const char *name = "";
        if (v->file)
            name = v->file->path ? v->file->path : "";
        else if (v->flags & VMA_HEAP)
            name = "[heap]";
        else if (v->flags & VMA_MAIN_STACK)
            name = "[stack]";
        uint64_t need = 100 + strlen(name);
        if (used + need > room) {
            room = (room + need) * 2;
            char *bigger = heap_realloc(text, room);
            if (!bigger) {
                heap_free(text);
                return -ENOMEM;
            }
            text = bigger;
        }
        int n = format(text + used, room - used, "%08lx-%08lx %c%c%c%c %08lx %s %lu", v->start,
                       v->end, v->prot & PROT_READ ? 'r' : '-', v->prot & PROT_WRITE ? 'w' : '-',
                       v->prot & PROT_EXEC ? 'x' : '-', v->flags & VMA_SHARED ? 's' : 'p',
                       v->offset, v->file ? "00:01" : "00:00",
                       v->file && v->file->record ? v->file->record->ino : 0);
        used += (uint64_t)n;
        if (*name) {
            while (n++ < 72)
                text[used++] = ' ';
            text[used++] = ' ';
            used += (uint64_t)format(text + used, room - used, "%s", name);
        }
        text[used++] = '\n';
    }
    *ret = text;
    *ret_size = used;
    return 0;
}

/* --- for a forked child ------------------------------------------------------------------------------ */

int mm_snapshot(struct vma **ret, uint32_t *ret_count)
{
    LOCKED(&g_lock);
    uint32_t count = vma_count();
    struct vma *copy = heap_alloc((count + 1ull) * sizeof(*copy));
    if (!copy)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = *vma_at(i);
        if (copy[i].file)
            file_ref(copy[i].file);
    }
    *ret = copy;
    *ret_count = count;
    return 0;
}

void mm_snapshot_done(struct vma *vmas, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        file_unref(vmas[i].file);
    heap_free(vmas);
}

int mm_adopt(const struct vma *vma)
{
    if (vma->end <= vma->start || ((vma->start | vma->end | vma->offset) & (PAGE - 1)) ||
        !range_ok(vma->start, vma->end - vma->start) || (vma->flags & ~(uint32_t)VMA_FLAGS) ||
        (vma->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC)) || vma->offset > INT64_MAX)
        return -EBADMSG;
    LOCKED(&g_lock);
    uint32_t next = vma_lower(vma->start);
    if (next < vma_count() && vma_at(next)->start < vma->end)
        return -EBADMSG;
    uint64_t more = (vma->prot & PROT_WRITE) ? vma->end - vma->start : 0;
    int r = afford(more, 0);
    if (r == 0)
        r = vma_add(vma);
    if (r < 0)
        return r;
    g_writable += more;
    if (vma->flags & VMA_COHERENT)
        shared_recount();
    if (vma->flags & VMA_DSM)
        dsm_recount();
    return 0;
}

void mm_brk_get(uint64_t *ret_start, uint64_t *ret_now)
{
    LOCKED(&g_lock);
    *ret_start = g_brk_start;
    *ret_now = g_brk;
}

int mm_brk_adopt(uint64_t start, uint64_t now)
{
    if (now < start || now > LAYOUT_PARAMS)
        return -EBADMSG;
    LOCKED(&g_lock);
    g_brk_start = start;
    g_brk = now;
    return 0;
}

void mm_forked(void)
{
    LOCKED(&g_lock);
    g_sparse = SPARSE_FORKED;
}

void mm_usage(uint64_t *ret_mapped, uint64_t *ret_accepted, uint64_t *ret_limit)
{
    LOCKED(&g_lock);
    uint64_t mapped = 0;
    for (uint32_t i = 0; i < vma_count(); i++)
        mapped += vma_at(i)->end - vma_at(i)->start;
    *ret_mapped = mapped;
    *ret_accepted = pages_accepted() * PAGE;
    *ret_limit = PARAMS->heap_size;
}
