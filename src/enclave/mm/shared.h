/*
 * Shared mappings of files that may be written. Linux has one page for the file and all its mappings; an
 * enclave page has one address. So the file's content stands in the file system, a mapping's accepted
 * pages are copies, and both are brought together whenever the program could tell the difference: its
 * stores go to the file before the file is read or written by a system call, at msync, munmap and exit;
 * what system calls write goes to the pages afterwards. Two such mappings of one part of a host's file at the
 * same time would not see each other's stores: the second is refused (ENODEV, with a line). Scratch files that
 * are mapped twice, here or in another process, are mm/dsm.h's. Private and trusted mappings have no part in
 * this. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vfs/file.h"

extern uint32_t g_shared_mappings;

/* Is there any such mapping at all? The usual answer costs one load. */
static inline bool shared_any(void)
{
    return __builtin_expect(g_shared_mappings != 0, 0);
}

/* Stores of mappings of this file (NULL: of all) go to the file. Takes the address space's lock. */
void shared_flush(const struct file *file);
/* Pages of mappings of this file get its content; pages behind its end go. Takes the lock. */
void shared_refresh(const struct file *file);

/* For mm.c, with the lock held. */
void shared_flush_range(uint64_t start, uint64_t end);
/* True: a mapping of these bytes of file is there already, and one of the two is writable. */
bool shared_conflict(const struct file *file, uint64_t offset, uint64_t size, bool writable);
void shared_recount(void);
