#include "border/border.h"

#include <stdbool.h>
#include <asm/errno.h>

#include "abi/layout.h"
#include "arch/cpu.h"
#include "arch/exception.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "mm/uaccess.h"
#include "process/process.h"

static volatile struct ocall_block *block(void)
{
    return current()->block;
}

static uint8_t *window(void)
{
    return (uint8_t *)current()->block + OCALL_HEAD_SIZE;
}

/*
 * To and from untrusted memory in aligned, sized words only (INTEL-SA-00615): the window is aligned and
 * the offsets below are rounded so that whole words are read and written; bytes beyond the end of what
 * is asked for are the window's own padding or zero.
 */
static void words_out(volatile uint64_t *dst, const uint8_t *src, uint64_t size)
{
    uint64_t whole = size / 8;
    const uint8_t *from = src;
    volatile uint64_t *to = dst;
    uint64_t n = whole;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    if (size % 8) {
        uint64_t last = 0;
        memcpy(&last, src + whole * 8, size % 8);
        dst[whole] = last;
    }
}

static void words_in(uint8_t *dst, const volatile uint64_t *src, uint64_t size)
{
    uint64_t whole = size / 8;
    uint8_t *to = dst;
    const volatile uint64_t *from = src;
    uint64_t n = whole;
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    if (size % 8) {
        uint64_t last = src[whole];
        memcpy(dst + whole * 8, &last, size % 8);
    }
}

int64_t border_call(enum ocall_nr nr, uint64_t max, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3, uint64_t a4, uint64_t a5)
{
    struct thread *thread = current();
    volatile struct ocall_block *b = thread->block;
    volatile uint64_t *words = (volatile uint64_t *)b; /* whole ones only, see above */
    words[offsetof(struct ocall_block, nr) / 8] = OCALL_VERSION | (uint64_t)nr << 32;
    b->args[0] = a0;
    b->args[1] = a1;
    b->args[2] = a2;
    b->args[3] = a3;
    b->args[4] = a4;
    b->args[5] = a5;
    thread->ocall_count++;
    ocall_leave();
    int64_t ret = b->ret;
    if (ret < 0)
        return ret >= -4095 ? ret : -EIO;
    return (uint64_t)ret <= max ? ret : -EIO;
}

uint64_t border_out(unsigned i)
{
    ASSERT(i < 4);
    return block()->out[i];
}

void border_put(uint64_t offset, const void *src, uint64_t size)
{
    ASSERT(offset <= OCALL_DATA_SIZE && size <= OCALL_DATA_SIZE - offset);
    uint8_t *dst = window() + offset;
    uint64_t odd = offset % 8;
    if (odd) { /* join with what stands before it in the same word */
        volatile uint64_t *word = (volatile uint64_t *)(dst - odd);
        uint64_t n = 8 - odd < size ? 8 - odd : size;
        uint64_t value = *word;
        memcpy((uint8_t *)&value + odd, src, n);
        *word = value;
        dst += n;
        src = (const uint8_t *)src + n;
        size -= n;
    }
    words_out((volatile uint64_t *)dst, src, size);
}

void border_get(void *dst, uint64_t offset, uint64_t size)
{
    ASSERT(offset <= OCALL_DATA_SIZE && size <= OCALL_DATA_SIZE - offset);
    const uint8_t *src = window() + offset;
    uint64_t odd = offset % 8;
    if (odd) {
        uint64_t n = 8 - odd < size ? 8 - odd : size;
        uint64_t value = *(const volatile uint64_t *)(src - odd);
        memcpy(dst, (uint8_t *)&value + odd, n);
        src += n;
        dst = (uint8_t *)dst + n;
        size -= n;
    }
    words_in(dst, (const volatile uint64_t *)src, size);
}

int user_copy(void *dst, const void *src, uint64_t size);

int border_put_user(uint64_t offset, const void *user, uint64_t size)
{
    ASSERT(offset % 8 == 0 && offset <= OCALL_DATA_SIZE && size <= OCALL_DATA_SIZE - offset);
    int r = user_prefault(user, size, false);
    if (r < 0)
        return r;
    /* Whole words first; the program's memory may vanish under us (another of its threads unmaps it),
     * which reads as EFAULT. */
    uint64_t whole = size & ~7ull;
    uint64_t last = 0;
    if (user_copy(window() + offset, user, whole) < 0 ||
        user_copy(&last, (const uint8_t *)user + whole, size - whole) < 0)
        return -EFAULT;
    if (size != whole)
        *(volatile uint64_t *)(window() + offset + whole) = last;
    return 0;
}

int border_get_user(void *user, uint64_t offset, uint64_t size)
{
    ASSERT(offset % 8 == 0 && offset <= OCALL_DATA_SIZE && size <= OCALL_DATA_SIZE - offset);
    if (!user_range_ok(user, size))
        return -EFAULT;
    uint64_t whole = size & ~7ull;
    if (user_copy(user, window() + offset, whole) < 0)
        return -EFAULT;
    if (size == whole)
        return 0;
    uint64_t last = *(volatile uint64_t *)(window() + offset + whole);
    return user_copy((uint8_t *)user + whole, &last, size - whole);
}
