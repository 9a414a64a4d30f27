/*
 * Where things lie in the enclave. ELRANGE starts at 0 (Debian's python3.11 is not PIE and loads at
 * 0x400000); its size is a power of two in the SECS. Shared by signer, loader and library OS; every
 * constant here is part of what is measured. Types only.
 *
 *   0x00010000  the program: ET_EXEC images, brk                          (EAUG on demand)
 *   0x20000000  params page                                               (R,  measured)
 *   0x20001000  library OS image, linked to run here                      (R / RX / RW, measured)
 *   0x21000000  compiled manifest                                         (R,  measured)
 *   0x25000000  thread areas, one per TCS, LAYOUT_THREAD_STRIDE apart     (see below)
 *   0x2d000000  stubs of patched system calls                             (EAUG on demand)
 *   0x30000000  mappings of files, so that rel32 jumps reach the stubs    (EAUG on demand)
 *   0x98000000  anonymous memory; the last eighth is the library OS's own   (EAUG on demand)
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define LAYOUT_PAGE         0x1000ull
#define LAYOUT_APP_START    0x10000ull
#define LAYOUT_PARAMS       0x20000000ull
#define LAYOUT_IMAGE        0x20001000ull
#define LAYOUT_IMAGE_END    0x21000000ull
#define LAYOUT_MANIFEST     0x21000000ull
#define LAYOUT_MANIFEST_END 0x25000000ull
#define LAYOUT_THREADS      0x25000000ull
#define LAYOUT_THREADS_END  0x2d000000ull
#define LAYOUT_STUBS        0x2d000000ull
#define LAYOUT_STUBS_END    0x30000000ull
#define LAYOUT_FILES        0x30000000ull
#define LAYOUT_FILES_END    0x98000000ull
#define LAYOUT_ENCLAVE_MIN  0x40000000ull     /* 1 GiB: what ASan leaves free */
#define LAYOUT_ENCLAVE_MAX  0x100000000000ull /* 16 TiB */

/*
 * One thread area, by page:
 *   0       nothing (guard)
 *   1       TCS                       PT_TCS, measured, permissions zero
 *   2-9     SSA, 2 frames of 4 pages  RW, not measured (the CPU writes before anything reads)
 *   10      thread block (GS, FS)     RW, measured: struct layout_thread_block, then zeros
 *   11      nothing (guard)
 *   12-13   exception stack           RW, not measured (written before read)
 *   14-15   nothing (guard)
 *   16-31   runtime stack             RW, not measured (written before read)
 */
#define LAYOUT_THREAD_STRIDE      (32 * LAYOUT_PAGE)
#define LAYOUT_THREAD_TCS         (1 * LAYOUT_PAGE)
#define LAYOUT_THREAD_SSA         (2 * LAYOUT_PAGE)
#define LAYOUT_THREAD_BLOCK       (10 * LAYOUT_PAGE)
#define LAYOUT_THREAD_EXC_STACK   (12 * LAYOUT_PAGE)
#define LAYOUT_THREAD_EXC_PAGES   2
#define LAYOUT_THREAD_STACK       (16 * LAYOUT_PAGE)
#define LAYOUT_THREAD_STACK_PAGES 16
#define LAYOUT_THREADS_MAX        1024

/* First bytes of the thread block page; the layout writes them, the rest of the page is zero. */
struct layout_thread_block {
    uint64_t self;  /* 0x00: address of this page */
    uint64_t index; /* 0x08: which thread area */
};

#define LAYOUT_PARAMS_MAGIC   0x4d41524150595058ull /* "XPYPARAM" */
#define LAYOUT_PARAMS_VERSION 1

/* The params page. Written by the layout, measured; the rest of the page is zero. */
struct layout_params {
    uint64_t magic;         /* 0x00 */
    uint32_t version;       /* 0x08 */
    uint32_t thread_count;  /* 0x0c: TCS pages there are, 1..LAYOUT_THREADS_MAX */
    uint64_t enclave_size;  /* 0x10: bytes, a power of two */
    uint64_t image_end;     /* 0x18: page-aligned end of the library OS image */
    uint64_t manifest_size; /* 0x20: bytes of the compiled manifest at LAYOUT_MANIFEST */
    uint64_t heap_size;     /* 0x28: bytes the program may have accepted at once */
};

static_assert(sizeof(struct layout_thread_block) == 16, "thread block head");
static_assert(sizeof(struct layout_params) == 0x30, "params");
static_assert(LAYOUT_THREADS + LAYOUT_THREADS_MAX * LAYOUT_THREAD_STRIDE == LAYOUT_THREADS_END,
              "thread areas");
