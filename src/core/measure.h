/*
 * MRENCLAVE: the SHA-256 the CPU keeps while an enclave is built (SDM volume 3D: ECREATE, EADD,
 * EEXTEND, EINIT). Tier: core: no libc, no allocation, no I/O, no logging. Not thread-safe per
 * object.
 *
 * Each leaf hashes one 64-byte record: its name, and what it did. EEXTEND also hashes the 256 bytes
 * it measures. The hash depends on the order of the calls.
 */
#pragma once

#include <stdint.h>

#include "abi/sgx.h"
#include "core/attr.h"
#include "core/sha256.h"

/* Caller allocates; nothing to free. Fields are private. */
struct measure {
    struct sha256 hash;
    uint64_t enclave_size;
};

/* ECREATE. -EINVAL unless enclave_size is a power of two of at least two pages and ssa_pages is not
 * zero. */
MUST_CHECK int measure_begin(struct measure *m, uint64_t enclave_size, uint32_t ssa_pages);

/* One page, whole: EADD, then 16 EEXTENDs. offset is from the enclave's base. -ERANGE, m unchanged,
 * if it is unaligned or ends past the enclave; -EINVAL likewise for reserved SECINFO flags. */
MUST_CHECK int measure_add_page(struct measure *m, uint64_t offset, uint64_t secinfo_flags,
                                const uint8_t page[static SGX_PAGE_SIZE]);
/* A page whose content is not measured: EADD alone, so that its place, type and permissions are.
 * Errors as above. */
MUST_CHECK int measure_add_unmeasured(struct measure *m, uint64_t offset, uint64_t secinfo_flags);
/* One EEXTEND: 256 bytes at offset, which is 256-byte aligned; -ERANGE as above. */
MUST_CHECK int measure_extend(struct measure *m, uint64_t offset,
                              const uint8_t data[static SGX_EXTEND_SIZE]);

/* EINIT. Ends and wipes m. */
void measure_end(struct measure *m, uint8_t ret_mrenclave[static SGX_HASH_SIZE]);
