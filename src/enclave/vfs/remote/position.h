/*
 * Offsets that several processes share: after a fork, or where a child inherits a descriptor, both use one open
 * file description and with it one offset. The hub keeps such an offset as a file of its own kind, whose pos it
 * is; each process's struct file names it in ->position: in the root that file itself, elsewhere one over a
 * handle of the hub. Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

extern const struct file_ops g_position_ops;

/* From here on file's offset is the hub's, which starts with what it is now. Nothing if it is already.
 * -ENOMEM, -EMFILE. */
MUST_CHECK int position_share(struct file *file);

/* As pos_take, pos_give_back, file_seek (vfs/node.h), for file->position. */
uint64_t position_take(struct file *position, uint64_t size, uint64_t limit, uint64_t *ret_offset);
void position_give_back(struct file *position, uint64_t unused);
int64_t position_seek(struct file *position, int64_t offset, int whence, uint64_t size);
