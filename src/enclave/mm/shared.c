#include "mm/shared.h"

#include <linux/fcntl.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/pages.h"
#include "mm/vma.h"

#define PAGE LAYOUT_PAGE

uint32_t g_shared_mappings;

static bool same(const struct file *a, const struct file *b)
{
    if (a->ops != b->ops)
        return false;
    return a->ops->same ? a->ops->same(a, b) : a->object == b->object;
}

static bool writable(const struct file *file)
{
    return (file->flags & O_ACCMODE) == O_RDWR;
}

static uint64_t file_offset(const struct vma *v, uint64_t page)
{
    return v->offset + (page - v->start);
}

static void write_back(const struct vma *v, uint64_t page)
{
    uint8_t state = page_open(page, SGX_SECINFO_R);
    int64_t r =
        v->file->ops->pwrite_kernel(v->file, (const void *)page, PAGE, file_offset(v, page));
    page_close(page, state);
    if (r < 0)
        log_error("a shared mapping of '%s' could not be written back: error %ld",
                  v->file->path ? v->file->path : "?", -r);
}

static void read_again(const struct vma *v, uint64_t page, uint8_t *buf)
{
    int64_t n = v->file->ops->pread_kernel(v->file, buf, PAGE, file_offset(v, page));
    if (n <= 0) {
        pages_trim(page, 1);
        return;
    }
    uint8_t state = page_open(page, SGX_SECINFO_R | SGX_SECINFO_W);
    __builtin_memcpy((void *)page, buf, (uint64_t)n);
    __builtin_memset((uint8_t *)page + n, 0, PAGE - (uint64_t)n);
    page_close(page, state);
}

/* Distributed pages go to the hub when a range goes or all ends; and for a system call on the file the hub calls them
 * home, but leaves those of the root's own program to us. */
static bool concerned(const struct vma *v, const struct file *file)
{
    if (!(v->flags & VMA_COHERENT) || ((v->flags & VMA_DSM) && !(file && hub_is_here())))
        return false;
    return !file || same(dsm_backing(v->file), file);
}

static void flush(const struct file *file, uint64_t start, uint64_t end)
{
    for (uint32_t i = vma_lower(start); i < vma_count() && vma_at(i)->start < end; i++) {
        const struct vma *v = vma_at(i);
        if (!concerned(v, file))
            continue;
        if (!writable(v->file))
            continue;
        uint64_t from = v->start > start ? v->start : start;
        uint64_t to = v->end < end ? v->end : end;
        for (uint64_t page = from; page < to; page += PAGE)
            if (page_state(page))
                write_back(v, page);
    }
}

void shared_flush_range(uint64_t start, uint64_t end)
{
    flush(NULL, start, end);
}

void shared_flush(const struct file *file)
{
    lock_take(mm_lock());
    flush(file, 0, UINT64_MAX);
    lock_drop(mm_lock());
}

void shared_refresh(const struct file *file)
{
    uint8_t *buf = heap_pages(1);
    if (!buf)
        panic("no memory to bring a shared mapping up to date");
    lock_take(mm_lock());
    for (uint32_t i = 0; i < vma_count(); i++) {
        const struct vma *v = vma_at(i);
        if (!concerned(v, file))
            continue;
        for (uint64_t page = v->start; page < v->end; page += PAGE)
            if (page_state(page))
                read_again(v, page, buf);
    }
    lock_drop(mm_lock());
    heap_pages_free(buf, 1);
}

bool shared_conflict(const struct file *file, uint64_t offset, uint64_t size, bool may_write)
{
    for (uint32_t i = 0; i < vma_count(); i++) {
        const struct vma *v = vma_at(i);
        if (!concerned(v, file))
            continue;
        uint64_t there = v->offset, there_size = v->end - v->start;
        bool apart = offset >= there + there_size || there >= offset + size;
        if (!apart && (may_write || writable(v->file)))
            return true;
    }
    return false;
}

void shared_recount(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < vma_count(); i++)
        count += (vma_at(i)->flags & VMA_COHERENT) != 0;
    g_shared_mappings = count;
}
