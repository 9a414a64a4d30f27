/* Where the program's mappings may lie, derived from the measured parameters. Tier: enclave. */
#pragma once

#include <stdint.h>

#include "abi/layout.h"

/* The library OS's heap: the last eighth of ELRANGE. */
static inline uint64_t mm_heap_base(uint64_t enclave_size)
{
    return enclave_size - enclave_size / 8;
}
