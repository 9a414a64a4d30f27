/* mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), mincore(2), mlock(2), msync(2). */
#include <asm/errno.h>
#include <linux/mman.h>

#include "mm/mm.h"
#include "mm/pages.h"
#include "mm/uaccess.h"
#include "sys/sys.h"
#include "vfs/file.h"

#include "abi/layout.h"

sys_fn sys_mmap, sys_munmap, sys_mprotect, sys_mremap, sys_brk, sys_madvise, sys_mincore, sys_mlock,
    sys_mlock2, sys_munlock, sys_mlockall, sys_munlockall, sys_msync, sys_pkey_mprotect, sys_mbind,
    sys_set_mempolicy, sys_get_mempolicy;

int64_t sys_mmap(const struct sysargs *args)
{
    int flags = (int)args->a[3];
    struct file *file = NULL;
    if (!(flags & MAP_ANONYMOUS)) {
        file = fd_get((int)args->a[4]);
        if (!file)
            return -EBADF;
    }
    int64_t r = mm_map(args->a[0], args->a[1], (int)args->a[2], flags, file, file ? args->a[5] : 0);
    file_unref(file);
    return r;
}

int64_t sys_munmap(const struct sysargs *args)
{
    return mm_unmap(args->a[0], args->a[1]);
}

int64_t sys_mprotect(const struct sysargs *args)
{
    return mm_protect(args->a[0], args->a[1], (int)args->a[2]);
}

int64_t sys_pkey_mprotect(const struct sysargs *args)
{
    if ((int)args->a[3] != -1)
        return -EINVAL;
    return mm_protect(args->a[0], args->a[1], (int)args->a[2]);
}

int64_t sys_mremap(const struct sysargs *args)
{
    return mm_remap(args->a[0], args->a[1], args->a[2], (int)args->a[3], args->a[4]);
}

int64_t sys_brk(const struct sysargs *args)
{
    return mm_brk(args->a[0]);
}

int64_t sys_madvise(const struct sysargs *args)
{
    uint64_t address = args->a[0], size = args->a[1];
    if (address & (LAYOUT_PAGE - 1))
        return -EINVAL;
    switch ((int)args->a[2]) {
    case MADV_DONTNEED: return mm_discard(address, size);
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_FREE:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_DONTFORK:
    case MADV_DOFORK: return size == 0 || mm_mapped(address, size) ? 0 : -ENOMEM;
    default: return -EINVAL;
    }
}

int64_t sys_mincore(const struct sysargs *args)
{
    uint64_t address = args->a[0], size = args->a[1];
    uint8_t *user = (uint8_t *)args->a[2];
    if (address & (LAYOUT_PAGE - 1))
        return -EINVAL;
    if (size && !mm_mapped(address, size))
        return -ENOMEM;
    for (uint64_t i = 0; i < (size + LAYOUT_PAGE - 1) / LAYOUT_PAGE; i++) {
        uint8_t there = page_state(address + i * LAYOUT_PAGE) != 0;
        int r = copy_to_user(user + i, &there, 1);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Enclave memory may be paged out by the host's kernel, encrypted; locking it cannot be promised to the
 * program, but nothing it can observe differs. */
static int64_t locked(const struct sysargs *args)
{
    return args->a[1] == 0 || mm_mapped(args->a[0], args->a[1]) ? 0 : -ENOMEM;
}

int64_t sys_mlock(const struct sysargs *args)
{
    return locked(args);
}

int64_t sys_mlock2(const struct sysargs *args)
{
    return locked(args);
}

int64_t sys_munlock(const struct sysargs *args)
{
    return locked(args);
}

int64_t sys_mlockall(const struct sysargs *args)
{
    return args->a[0] ? 0 : -EINVAL;
}

int64_t sys_munlockall(const struct sysargs *args)
{
    (void)args;
    return 0;
}

int64_t sys_msync(const struct sysargs *args)
{
    uint64_t flags = args->a[2];
    if ((args->a[0] & (LAYOUT_PAGE - 1)) ||
        (flags & ~(uint64_t)(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) ||
        ((flags & MS_ASYNC) && (flags & MS_SYNC)))
        return -EINVAL;
    return args->a[1] == 0 ? 0 : mm_sync(args->a[0], args->a[1]);
}

/* Memory policy is a hint about nodes of a machine that the enclave does not see. */
int64_t sys_mbind(const struct sysargs *args)
{
    (void)args;
    return 0;
}

int64_t sys_set_mempolicy(const struct sysargs *args)
{
    (void)args;
    return 0;
}

/* As a kernel without NUMA, not worth a line: libnuma (ps) asks at each start, and then leaves it. */
int64_t sys_get_mempolicy(const struct sysargs *args)
{
    (void)args;
    return -ENOSYS;
}
