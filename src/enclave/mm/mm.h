/*
 * The program's address space: VMAs and which of their pages are accepted (EPCM), in this order of
 * truth: VMA table, page states, EPCM. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/regs.h"
#include "core/attr.h"
#include "vfs/file.h"

void mm_init(void);
/* The address space's lock, for mm/shared.c. */
struct lock *mm_lock(void);
/* Linux semantics; addresses or negative errno. file may be NULL (anonymous); takes its own reference. */
int64_t mm_map(uint64_t address, uint64_t size, int prot, int flags, struct file *file,
               uint64_t offset);
int mm_unmap(uint64_t address, uint64_t size);
int mm_protect(uint64_t address, uint64_t size, int prot);
int64_t mm_brk(uint64_t address);
void mm_set_brk(uint64_t start);
int64_t mm_remap(uint64_t old, uint64_t old_size, uint64_t size, int flags, uint64_t fixed);
/* madvise(MADV_DONTNEED): zeros, or the file's content again, at the next touch. */
int mm_discard(uint64_t address, uint64_t size);
/* msync: stores of shared mappings in the range go to their files. -ENOMEM if not all is mapped. */
int mm_sync(uint64_t address, uint64_t size);
bool mm_mapped(uint64_t address, uint64_t size);
/* Flags for a mapping made by the library OS itself (the main stack). */
void mm_mark_stack(uint64_t address);

enum mm_fault {
    MM_FAULT_DONE,
    MM_FAULT_SEGV_MAPERR,
    MM_FAULT_SEGV_ACCERR,
    MM_FAULT_BUS,
    MM_FAULT_NOMEM
};
/* A page fault at address: accepts, verifies and copies what belongs there. error_code as in #PF. */
enum mm_fault mm_fault(uint64_t address, uint64_t error_code);
/* Text of /proc/self/maps into library OS memory; returns a heap buffer and its size. */
MUST_CHECK int mm_maps_text(char **ret, uint64_t *ret_size);
/* Page permissions (SGX_SECINFO_*) of a mapping with these PROT_*. */
uint64_t mm_perms(uint32_t prot);
/* A heap array of the address space's mappings as they are, each with a reference to its file: mm_snapshot_done. */
struct vma;
MUST_CHECK int mm_snapshot(struct vma **ret, uint32_t *ret_count);
void mm_snapshot_done(struct vma *vmas, uint32_t count);
/* mm/checkpoint.c: one mapping of another process's, where nothing is yet; takes over the file reference.
 * -EBADMSG: it cannot be one; -ENOMEM. */
MUST_CHECK int mm_adopt(const struct vma *vma);
void mm_brk_get(uint64_t *ret_start, uint64_t *ret_now);
MUST_CHECK int mm_brk_adopt(uint64_t start, uint64_t now);
/* In a forked child: the next pages of trusted files come one by one, for most children end or exec before they have
 * run much of them. Which, the next child's parent learns (tree/hints.h). */
void mm_forked(void);
/* bytes: total mapped, accepted now, limit: /proc/self/status, statm, sysinfo. */
void mm_usage(uint64_t *ret_mapped, uint64_t *ret_accepted, uint64_t *ret_limit);
