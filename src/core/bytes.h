/*
 * Bytes: little-endian loads and stores at any alignment, ranges, comparison and erasure of
 * secrets. Tier: core: no libc, no allocation. Everything is inline and thread-safe.
 */
#pragma once

#include <errno.h> /* the numbers only */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "loads and stores below copy as is");

static inline uint16_t load_le16(const void *from)
{
    uint16_t value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
}

static inline uint32_t load_le32(const void *from)
{
    uint32_t value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
}

static inline uint64_t load_le64(const void *from)
{
    uint64_t value;
    __builtin_memcpy(&value, from, sizeof(value));
    return value;
}

static inline void store_le16(void *to, uint16_t value)
{
    __builtin_memcpy(to, &value, sizeof(value));
}

static inline void store_le32(void *to, uint32_t value)
{
    __builtin_memcpy(to, &value, sizeof(value));
}

static inline void store_le64(void *to, uint64_t value)
{
    __builtin_memcpy(to, &value, sizeof(value));
}

static inline uint32_t load_be32(const void *from)
{
    return __builtin_bswap32(load_le32(from));
}

static inline uint64_t load_be64(const void *from)
{
    return __builtin_bswap64(load_le64(from));
}

static inline void store_be32(void *to, uint32_t value)
{
    store_le32(to, __builtin_bswap32(value));
}

static inline void store_be64(void *to, uint64_t value)
{
    store_le64(to, __builtin_bswap64(value));
}

/* 0 if the size bytes from off lie below limit; -ERANGE otherwise, also where off + size wraps. An
 * empty span may stand at the limit itself. */
MUST_CHECK static inline int span_check(uint64_t off, uint64_t size, uint64_t limit)
{
    return off <= limit && size <= limit - off ? 0 : -ERANGE;
}

/* Compares in a time that depends on size alone. Nothing is equal to nothing. */
MUST_CHECK static inline bool bytes_equal_ct(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *x = a;
    const volatile uint8_t *y = b;
    uint8_t differs = 0;
    for (size_t i = 0; i < size; i++)
        differs = (uint8_t)(differs | (x[i] ^ y[i]));
    return differs == 0;
}

/* Whether all bytes are zero, in a time that depends on size alone. */
MUST_CHECK static inline bool bytes_zero_ct(const void *a, size_t size)
{
    const volatile uint8_t *x = a;
    uint8_t seen = 0;
    for (size_t i = 0; i < size; i++)
        seen = (uint8_t)(seen | x[i]);
    return seen == 0;
}

/* Overwrites with zeros in a way the compiler may not leave out. */
static inline void bytes_wipe(void *data, size_t size)
{
    __builtin_memset(data, 0, size);
    __asm__ volatile("" : : "r"(data) : "memory");
}
