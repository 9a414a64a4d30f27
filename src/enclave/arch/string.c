/* Tier: enclave. Long copies use the CPU's fast string instructions; short ones stay in registers. */
#include "arch/string.h"

#include <stdint.h>

#undef memcpy
#undef memset

void *memcpy(void *restrict dst, const void *restrict src, size_t size)
{
    void *d = dst;
    if (size <= 16) {
        const uint8_t *s = src;
        uint8_t *p = dst;
        if (size >= 8) {
            uint64_t a, b;
            __builtin_memcpy(&a, s, 8);
            __builtin_memcpy(&b, s + size - 8, 8);
            __builtin_memcpy(p, &a, 8);
            __builtin_memcpy(p + size - 8, &b, 8);
        } else if (size >= 4) {
            uint32_t a, b;
            __builtin_memcpy(&a, s, 4);
            __builtin_memcpy(&b, s + size - 4, 4);
            __builtin_memcpy(p, &a, 4);
            __builtin_memcpy(p + size - 4, &b, 4);
        } else if (size) {
            uint8_t a = s[0], b = s[size / 2], c = s[size - 1];
            p[0] = a;
            p[size / 2] = b;
            p[size - 1] = c;
        }
        return dst;
    }
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(size) : : "memory");
    return dst;
}

void *memmove(void *dst, const void *src, size_t size)
{
    uintptr_t d = (uintptr_t)dst, s = (uintptr_t)src;
    if (d - s >= size)
        return memcpy(dst, src, size);
    /* Overlapping with dst above src: backwards, by words where there are any. */
    uint8_t *p = (uint8_t *)dst + size;
    const uint8_t *q = (const uint8_t *)src + size;
    if (d - s >= 8) {
        while (size >= 8) {
            uint64_t word;
            p -= 8;
            q -= 8;
            size -= 8;
            __builtin_memcpy(&word, q, 8);
            __builtin_memcpy(p, &word, 8);
        }
    }
    while (size--)
        *--p = *--q;
    return dst;
}

void *memset(void *dst, int byte, size_t size)
{
    void *d = dst;
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(size) : "a"(byte) : "memory");
    return dst;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *p = a, *q = b;
    while (size >= 8) {
        uint64_t x, y;
        __builtin_memcpy(&x, p, 8);
        __builtin_memcpy(&y, q, 8);
        if (x != y) {
            x = __builtin_bswap64(x);
            y = __builtin_bswap64(y);
            return x < y ? -1 : 1;
        }
        p += 8;
        q += 8;
        size -= 8;
    }
    for (; size; size--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

size_t strlen(const char *s)
{
    const char *p = s;
    while (*p)
        p++;
    return (size_t)(p - s);
}

size_t strnlen(const char *s, size_t max)
{
    size_t n = 0;
    while (n < max && s[n])
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return (unsigned char)*a - (unsigned char)*b;
}

int strncmp(const char *a, const char *b, size_t max)
{
    for (; max; max--, a++, b++)
        if (*a != *b || !*a)
            return (unsigned char)*a - (unsigned char)*b;
    return 0;
}

void *memchr(const void *s, int byte, size_t size)
{
    const uint8_t *p = s;
    for (; size; size--, p++)
        if (*p == (uint8_t)byte)
            return (void *)(uintptr_t)p;
    return NULL;
}

void *memrchr(const void *s, int byte, size_t size)
{
    const uint8_t *p = s;
    while (size--)
        if (p[size] == (uint8_t)byte)
            return (void *)(uintptr_t)(p + size);
    return NULL;
}

char *strchr(const char *s, int byte)
{
    for (;; s++) {
        if (*s == (char)byte)
            return (char *)(uintptr_t)s;
        if (!*s)
            return NULL;
    }
}

char *strrchr(const char *s, int byte)
{
    const char *found = NULL;
    for (;; s++) {
        if (*s == (char)byte)
            found = s;
        if (!*s)
            return (char *)(uintptr_t)found;
    }
}
