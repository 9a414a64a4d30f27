#include "border/border.h"

#include <asm/errno.h>
#include <linux/uio.h>
#include <stdbool.h>

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

/* --- several pieces ------------------------------------------------------------------------------ */

struct piece {
    uint8_t *user;
    uint64_t size;
};

/* The next piece of at most *size bytes; skips *skip bytes first. False: there are no more. */
static bool next_piece(const struct iovec **iov, uint64_t *count, uint64_t *skip, uint64_t *size,
                       struct piece *ret)
{
    for (; *count && *size; (*iov)++, (*count)--) {
        uint64_t have = (*iov)->iov_len;
        if (have <= *skip) {
            *skip -= have;
            continue;
        }
        uint64_t n = have - *skip < *size ? have - *skip : *size;
        *ret = (struct piece){ (uint8_t *)(*iov)->iov_base + *skip, n };
        *skip = 0;
        *size -= n;
        (*iov)++, (*count)--;
        return true;
    }
    return false;
}

int border_prefault_pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size,
                           bool write)
{
    struct piece p;
    int r = 0;
    while (r == 0 && next_piece(&iov, &count, &skip, &size, &p))
        r = user_prefault(p.user, p.size, write);
    return r;
}

int64_t border_prefault_some(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size,
                             uint64_t least)
{
    struct piece p;
    uint64_t done = 0;
    while (next_piece(&iov, &count, &skip, &size, &p)) {
        uint64_t must = done >= least ? 0 : least - done < p.size ? least - done : p.size;
        int r = user_prefault(p.user, must, true);
        if (r < 0)
            return r;
        uint64_t here = must + user_ready(p.user + must, p.size - must);
        done += here;
        if (here < p.size)
            break;
    }
    return (int64_t)done;
}

/* Whole words of the window only, as above. */
static int piece_out(uint64_t at, const uint8_t *user, uint64_t size)
{
    uint64_t odd = at % 8, few = odd && 8 - odd < size ? 8 - odd : odd ? size : 0, word = 0;
    if (few) {
        if (user_copy(&word, user, few) < 0)
            return -EFAULT;
        border_put(at, &word, few);
    }
    uint64_t whole = (size - few) & ~7ull, rest = size - few - whole;
    if (user_copy(window() + at + few, user + few, whole) < 0)
        return -EFAULT;
    word = 0;
    if (rest && user_copy(&word, user + few + whole, rest) < 0)
        return -EFAULT;
    if (rest)
        *(volatile uint64_t *)(window() + at + few + whole) = word;
    return 0;
}

static int piece_in(uint8_t *user, uint64_t at, uint64_t size)
{
    uint64_t odd = at % 8, few = odd && 8 - odd < size ? 8 - odd : odd ? size : 0, word;
    if (few) {
        border_get(&word, at, few);
        if (user_copy(user, &word, few) < 0)
            return -EFAULT;
    }
    uint64_t whole = (size - few) & ~7ull, rest = size - few - whole;
    if (user_copy(user + few, window() + at + few, whole) < 0)
        return -EFAULT;
    if (!rest)
        return 0;
    word = *(volatile uint64_t *)(window() + at + few + whole);
    return user_copy(user + few + whole, &word, rest);
}

int border_put_pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size)
{
    struct piece p;
    uint64_t at = 0;
    ASSERT(size <= OCALL_DATA_SIZE);
    for (; next_piece(&iov, &count, &skip, &size, &p); at += p.size)
        if (!user_range_ok(p.user, p.size) || piece_out(at, p.user, p.size) < 0)
            return -EFAULT;
    return 0;
}

int border_get_pieces(const struct iovec *iov, uint64_t count, uint64_t skip, uint64_t size)
{
    struct piece p;
    uint64_t at = 0;
    ASSERT(size <= OCALL_DATA_SIZE);
    for (; next_piece(&iov, &count, &skip, &size, &p); at += p.size)
        if (!user_range_ok(p.user, p.size) || piece_in(p.user, at, p.size) < 0)
            return -EFAULT;
    return 0;
}
