/*
 * Which pages of trusted files forked children needed first: the next child gets them with its
 * memory, instead of reading and verifying a whole chunk for each. Kept in the tree's region, one
 * list for all processes of a measurement. The host may write there what it likes (it sees the
 * faults anyway): all that follows is which pages are sent. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "abi/tree.h"

/* A page that such a child just brought in. */
void hints_add(uint64_t page);
/* Up to TREE_HINT_PAGES addresses, of anything; how many. */
uint32_t hints_get(uint64_t ret[static TREE_HINT_PAGES]);
