/*
 * Program memory: every pointer a system call takes is looked at through these. They check that the
 * range is the program's (not the library OS's and not outside ELRANGE) and survive faults: a page not
 * yet there is brought in (which may make OCALLs: see border.h), anything else is -EFAULT. Hold no lock
 * that mm/ or the chunk cache takes. With current()->kernel_buffers set, copies and clears take memory of the
 * library OS instead, unchecked: file operations run for another process. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

MUST_CHECK int copy_from_user(void *dst, const void *user, uint64_t size);
MUST_CHECK int copy_to_user(void *user, const void *src, uint64_t size);
MUST_CHECK int clear_user(void *user, uint64_t size);
/* Length without NUL; -EFAULT; -ENAMETOOLONG when no NUL is in the first max bytes. */
MUST_CHECK int64_t strncpy_from_user(char *dst, const char *user, uint64_t max);
/* Brings every page of the range in, for reading or writing. */
MUST_CHECK int user_prefault(const void *user, uint64_t size, bool write);
/* How much from there on is in already, and can be written. */
uint64_t user_ready(const void *user, uint64_t size);
/* The checking half alone: is the range the program's to name? No page is touched. */
bool user_range_ok(const void *user, uint64_t size);
/* Atomic operations on an aligned 32-bit word of the program (futex): -EFAULT. */
MUST_CHECK int user_load32(const uint32_t *user, uint32_t *ret);
MUST_CHECK int user_store32(uint32_t *user, uint32_t value);
MUST_CHECK int user_cmpxchg32(uint32_t *user, uint32_t expected, uint32_t desired,
                              uint32_t *ret_old);

#define GET_USER(dst, user) copy_from_user((dst), (user), sizeof(*(dst)))
#define PUT_USER(user, src) copy_to_user((user), (src), sizeof(*(src)))
