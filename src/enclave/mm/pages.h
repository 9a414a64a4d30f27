/*
 * Page states: which program pages are accepted and with what permissions, i.e. what the EPCM says of
 * them, and the instructions that change both together. Tier: enclave.
 *
 * Locking: everything that changes a state is called with the address space's lock held (mm.c), but
 * for the stub pages, which stub.c guards. Reading a state needs no lock: one byte.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "core/attr.h"

#define PAGE_ACCEPTED 0x80
/* Low bits: SGX_SECINFO_R | W | X as the EPCM has them. */
#define PAGE_PERMS    0x07

void pages_init(uint64_t enclave_size);
/* 0: not accepted. Any address below the end of ELRANGE. */
uint8_t page_state(uint64_t address);

/* The first accepted page in [address, end), end if there is none. */
uint64_t pages_next(uint64_t address, uint64_t end);

/* Zeroed pages with perms (at least R | W). All must be absent. -ENOMEM: no room for the states. */
MUST_CHECK int pages_try_accept(uint64_t address, uint64_t count, uint64_t perms);
/* The same for the library OS's own needs: panics. */
void pages_accept(uint64_t address, uint64_t count, uint64_t perms);
/* One absent page, with content and permissions at once, atomically for the program's threads. source:
 * library OS memory, page-aligned. -ENOMEM. */
MUST_CHECK int page_accept_copy(uint64_t address, const void *source, uint64_t perms);
/* Brings every accepted page of the range to exactly perms. */
void pages_set_perms(uint64_t address, uint64_t count, uint64_t perms);
/* Every accepted page of the range becomes absent; its content is gone. */
void pages_trim(uint64_t address, uint64_t count);
/* Makes an accepted page accessible for the library OS in its own place, whatever the program may do with it; the
 * state to give to page_close. need: SGX_SECINFO_R, W. */
MUST_CHECK uint8_t page_open(uint64_t page, uint64_t need);
void page_close(uint64_t page, uint8_t state);
/* Accepted now, in pages. */
uint64_t pages_accepted(void);

/* For stub.c: makes the page writable for one store, if address is in a private executable mapping.
 * True: the address space is locked until pages_patch_end(address). */
bool pages_patch_begin(uint64_t address);
void pages_patch_end(uint64_t address);
