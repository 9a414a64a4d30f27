/*
 * The program's mappings: a sorted array of non-overlapping ranges. Pure bookkeeping, no page is
 * touched here; mm.c holds the lock. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

enum vma_flags {
    VMA_SHARED = 1u << 0,
    VMA_STACK = 1u << 1,
    VMA_HEAP = 1u << 2,
    VMA_MAIN_STACK = 1u << 3,
    VMA_COHERENT = 1u << 4, /* shared mapping of a file that may be written: see mm/shared.h */
    /* A file's, now or once: its pages may differ from the file for ever. */
    VMA_WAS_WRITABLE = 1u << 5,
    VMA_DSM = 1u << 6, /* shared with other processes: file is one of mm/dsm.h */
    VMA_FLAGS = (1u << 7) - 1,
};

struct vma {
    uint64_t start, end; /* page-aligned */
    uint32_t prot;       /* PROT_* */
    uint32_t flags;
    struct file *file; /* NULL: anonymous; a reference */
    uint64_t offset;   /* in the file, of start */
};

/* The mapping that holds address, or NULL. */
const struct vma *vma_find(uint64_t address);
/* Index of the first mapping that ends above address; g count if none. */
uint32_t vma_lower(uint64_t address);
uint32_t vma_count(void);
const struct vma *vma_at(uint32_t index);

/* Takes every mapping out of [start, end), splitting at the borders; file references of what goes are
 * put into a list for vma_gone(). -ENOMEM changes nothing. */
MUST_CHECK int vma_cut(uint64_t start, uint64_t end);
/* Adds a mapping to an empty range, joining equal anonymous neighbours. Sets VMA_WAS_WRITABLE. Takes over the file reference
 * on success. -ENOMEM. */
MUST_CHECK int vma_add(const struct vma *vma);
/* Changes prot of [start, end), which is wholly mapped. */
MUST_CHECK int vma_protect(uint64_t start, uint64_t end, uint32_t prot);
/* The mapping at index becomes one of file (a reference, taken over on success), with these flags besides; the old
 * file goes to vma_gone(). An anonymous one begins at offset 0. -ENOMEM. */
MUST_CHECK int vma_set_file(uint32_t index, struct file *file, uint32_t flags);
/* Is every page of the range mapped? */
bool vma_covers(uint64_t start, uint64_t end);
/* A hole of size bytes in [low, high), from the top or the bottom; 0 if there is none. */
uint64_t vma_hole(uint64_t low, uint64_t high, uint64_t size, bool from_top);
/* One of the files whose mapping vma_cut took out, to be unref'ed without the lock (that may make
 * OCALLs); NULL: no more. */
struct file *vma_gone(void);
