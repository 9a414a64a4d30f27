/*
 * What a host can see of the channels between enclaves, written down: a file in which tests look
 * for nonces or keys that were used twice. It is what any host may do, so it weakens nothing. On if
 * the environment names a file in SGXPY_RECORD_CHANNELS; all processes of the tree append to it.
 * Tier: hosted, untrusted. Internal to src/host; any thread.
 *
 * A line for each message, before the receiver can know of it:
 *     post SLOT KIND DIRECTION SEQUENCE SIZE TAG TEXT
 * (enum tree_slot_kind, enum tree_direction, the posted counter before it, the cell's size,
 * hexadecimal: what should be the tag, and up to 32 bytes of ciphertext), and for each slot that is
 * given back:
 *     free SLOT
 */
#pragma once

#include <stdint.h>

struct tree;

void record_post(const struct tree *tree, uint32_t slot, uint32_t direction);
void record_free(uint32_t slot);
