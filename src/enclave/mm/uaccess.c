#include "mm/uaccess.h"

#include <asm/errno.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "mm/mm.h"
#include "mm/pages.h"

/* entry.S: these survive faults. */
int user_copy(void *dst, const void *src, uint64_t size);
int user_clear(void *dst, uint64_t size);
int64_t user_strncpy(char *dst, const char *src, uint64_t max);
int user_load(const uint32_t *src, uint32_t *ret);
int user_store(uint32_t *dst, uint32_t value);
int user_cmpxchg(uint32_t *dst, uint32_t expected, uint32_t desired, uint32_t *ret_old);

/* The hub's thread runs file operations on buffers of the library OS. */
static bool is_ours(void)
{
    return __builtin_expect(current()->kernel_buffers, 0);
}

int user_prefault(const void *user, uint64_t size, bool write)
{
    if (size == 0 || is_ours())
        return 0;
    if (!user_range_ok(user, size))
        return -EFAULT;
    uint64_t need = write ? SGX_SECINFO_W : SGX_SECINFO_R;
    uint64_t first = (uint64_t)user & ~(LAYOUT_PAGE - 1);
    uint64_t last = ((uint64_t)user + size - 1) & ~(LAYOUT_PAGE - 1);
    for (uint64_t page = first; page <= last; page += LAYOUT_PAGE) {
        while (!(page_state(page) & need)) {
            if (mm_fault(page, write ? SGX_PFEC_W : 0) != MM_FAULT_DONE)
                return -EFAULT;
        }
    }
    return 0;
}

uint64_t user_ready(const void *user, uint64_t size)
{
    if (is_ours())
        return size;
    uint64_t at = (uint64_t)user, end = at + size;
    if (!user_range_ok(user, size))
        return 0;
    while (at < end && page_state(at & ~(LAYOUT_PAGE - 1)) & SGX_SECINFO_W)
        at = (at & ~(LAYOUT_PAGE - 1)) + LAYOUT_PAGE;
    return (at < end ? at : end) - (uint64_t)user;
}

int copy_from_user(void *dst, const void *user, uint64_t size)
{
    if (is_ours()) {
        memcpy(dst, user, size);
        return 0;
    }
    int r = user_prefault(user, size, false);
    return r < 0 ? r : user_copy(dst, user, size);
}

int copy_to_user(void *user, const void *src, uint64_t size)
{
    if (is_ours()) {
        memcpy(user, src, size);
        return 0;
    }
    int r = user_prefault(user, size, true);
    return r < 0 ? r : user_copy(user, src, size);
}

int clear_user(void *user, uint64_t size)
{
    if (is_ours()) {
        memset(user, 0, size);
        return 0;
    }
    int r = user_prefault(user, size, true);
    return r < 0 ? r : user_clear(user, size);
}

int64_t strncpy_from_user(char *dst, const char *user, uint64_t max)
{
    if (!user_range_ok(user, 1))
        return -EFAULT;
    /* The string may end right before memory that is not the program's. */
    uint64_t limit = max;
    if (!user_range_ok(user, max)) {
        uint64_t bad = max; /* limit bytes are the program's, bad are not */
        for (limit = 1; bad - limit > 1;) {
            uint64_t middle = limit + (bad - limit) / 2;
            *(user_range_ok(user, middle) ? &limit : &bad) = middle;
        }
    }
    int64_t n = user_strncpy(dst, user, limit);
    if (n < 0)
        return n;
    if ((uint64_t)n == limit)
        return limit == max ? -ENAMETOOLONG : -EFAULT;
    return n;
}

int user_load32(const uint32_t *user, uint32_t *ret)
{
    int r = user_prefault(user, sizeof(*user), false);
    return r < 0 ? r : user_load(user, ret);
}

int user_store32(uint32_t *user, uint32_t value)
{
    int r = user_prefault(user, sizeof(*user), true);
    return r < 0 ? r : user_store(user, value);
}

int user_cmpxchg32(uint32_t *user, uint32_t expected, uint32_t desired, uint32_t *ret_old)
{
    int r = user_prefault(user, sizeof(*user), true);
    return r < 0 ? r : user_cmpxchg(user, expected, desired, ret_old);
}
