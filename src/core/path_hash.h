/*
 * The hash of MANIFEST_INDEX: fast, fixed, not keyed (the table is measured, nobody can add to it).
 * Eight bytes a step, multiply and rotate; the tail is zero-padded and the length mixed in.
 */
#pragma once

#include <stdint.h>

static inline uint64_t manifest_path_hash(const char *path, uint64_t length)
{
    const uint64_t k = 0x9e3779b97f4a7c15ull;
    uint64_t h = length * k;
    uint64_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t w;
        __builtin_memcpy(&w, path + i, 8);
        h = (h ^ w) * k;
        h ^= h >> 29;
    }
    if (i < length) {
        uint64_t w = 0;
        __builtin_memcpy(&w, path + i, length - i);
        h = (h ^ w) * k;
        h ^= h >> 29;
    }
    h *= k;
    return h ^ (h >> 32);
}
