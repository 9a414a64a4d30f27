/*
 * The library OS's own memory: outside the program's reach by convention, accepted before it is handed
 * out, so touching it never faults. Thread-safe. Tier: enclave.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"

/* Boot: before anything else of mm. */
void heap_init(uint64_t enclave_size);
/* Zeroed; NULL when the enclave has no more memory. 16-byte aligned; from 4096 bytes on page-aligned. */
MUST_CHECK void *heap_alloc(size_t size);
/* NULL is fine. */
void heap_free(void *p);
/* Keeps the content; what is new is not zeroed. NULL leaves p as it was. */
MUST_CHECK void *heap_realloc(void *p, size_t size);
/* Whole pages, not zeroed. */
MUST_CHECK void *heap_pages(uint64_t count);
void heap_pages_free(void *pages, uint64_t count);
/* Bytes that there are at most. */
uint64_t heap_region_size(void);
