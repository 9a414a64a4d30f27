/*
 * The pages of one enclave, in the order in which they are added and measured: parameters, library
 * OS image, compiled manifest, thread areas (abi/layout.h says where). The signer measures this
 * list and the loader adds it, so both see the same. Tier: hosted. Immutable once built;
 * thread-safe then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "core/attr.h"
#include "util/err.h"

#define LAYOUT_IMAGE_FILE_MAX \
    (64u << 20) /* bytes of a library OS file; debug information is most */

/* Pages next to each other that are alike. */
struct layout_run {
    uint64_t offset; /* from the enclave's base, page-aligned */
    uint64_t page_count;
    uint64_t secinfo_flags;
    bool measured;          /* content too; place and flags always are */
    const uint8_t *content; /* page_count pages, page-aligned as the driver wants; NULL: zeros */
};

/* What the enclave is made of. The bytes must stay there, unchanged, as long as the layout: pages of an
 * image that is mapped (its segments lie at pages in memory) are used where they are. */
struct layout_spec {
    const void *image; /* the library OS, an ELF file */
    size_t image_size;
    const void *manifest; /* compiled; not looked into */
    size_t manifest_size;
    uint32_t thread_count; /* 1..LAYOUT_THREADS_MAX */
    uint64_t heap_size;    /* bytes, page-aligned */
    uint64_t enclave_size; /* bytes; 0: layout_enclave_size(heap_size) */
};

/* Fields may be read. */
struct layout {
    uint64_t enclave_size;
    uint64_t image_end; /* page-aligned */
    uint64_t entry;
    uint32_t thread_count;
    size_t run_count;
    struct layout_run *runs; /* ascending, disjoint */
    void **owned;            /* private: content of the runs */
    size_t owned_count;
};

/* The power of two that leaves room for heap_size beside the fixed places. At least 64 GiB: address
 * space costs nothing where pages come on demand, and every SGX CPU in 64-bit mode has that much. 0
 * for a heap that cannot be served. */
uint64_t layout_enclave_size(uint64_t heap_size);

/*
 * -EBADMSG for an image that is not a static ELF program for x86-64 at its fixed place: other type
 * or machine; an interpreter, TLS, dynamic section, relocation or undefined symbol; a segment
 * writable and executable, unaligned, overlapping, or outside LAYOUT_IMAGE to LAYOUT_IMAGE_END; an
 * entry point that is not in executable bytes. -EINVAL for counts and sizes out of range. Free *ret
 * with layout_free().
 */
MUST_CHECK int layout_build(const struct layout_spec *spec, struct layout **ret, struct err *err);
void layout_free(struct layout *layout);
/* For CLEANUP(). */
void layout_free_p(struct layout **layout);

/* MRENCLAVE of ECREATE and all runs. */
MUST_CHECK int layout_measure(const struct layout *layout,
                              uint8_t ret_mrenclave[static SGX_HASH_SIZE], struct err *err);

/* The SECS to create the enclave with. host_xfrm is what the machine has (XCR0), of which the
 * profile's part is taken. */
void layout_secs(const struct layout *layout, bool debug, uint64_t host_xfrm, struct sgx_secs *ret);
