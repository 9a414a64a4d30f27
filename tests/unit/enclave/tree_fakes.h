/*
 * Channels hosted: a region in shared memory, the host's OCALL_TREE_* on it, islands without
 * registers to save, and what channel.c asks of threads and signals. ELRANGE's parameters are
 * mapped where the library OS looks for them; one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/tree.h"

/* How many of the region's slots are there. */
#define TREE_FAKE_SLOTS 4u
#define TREE_FAKE_SIZE  (TREE_REGION_HEAD + (uint64_t)TREE_FAKE_SLOTS * TREE_SLOT_SIZE)

/* cmocka group set-up. */
int tree_setup(void **state);
/* A new region, shared with processes forked later. */
uint8_t *tree_region_new(void);
struct tree_slot *tree_slot_of(uint8_t *region, uint32_t slot);
struct tree_cell *tree_cell_of(uint8_t *region, uint32_t slot, enum tree_direction way,
                               unsigned cell);

/* What the host does, for a test to change. */
extern bool g_tree_signal; /* a signal is deliverable */
extern int g_tree_lie;     /* not 0: what the next OCALL_TREE_* returns, having done nothing */
extern void (*g_tree_idle)(
    void); /* a wait finds nothing: called; NULL: it sleeps and looks again */
extern unsigned g_tree_posts, g_tree_takens, g_tree_waits;
extern bool g_tree_parked_badly; /* a wait was made without thread->parked */
