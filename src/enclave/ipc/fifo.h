/*
 * FIFOs, fifo(7): pipes with a name, which is a scratch file (vfs/tmpfs). They live where the scratch files do, in the
 * tree's root; other processes have handles (vfs/remote). Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

struct fifo;
struct inode;

/* What a FIFO's inode has once it has been opened. NULL: no memory. */
MUST_CHECK struct fifo *fifo_new(void);
void fifo_free(struct fifo *fifo); /* nobody has it open; NULL is fine */
/* An end of the inode's FIFO; flags as open(2). It does not wait for the other end: fifo_wait(). -ENXIO: to be written
 * without waiting, and nobody reads. -ENOMEM. */
MUST_CHECK int fifo_open(struct fifo *fifo, struct inode *inode, uint32_t flags, struct file **ret);
/* A file that fifo_open() made, whose open has to wait for the other end still. */
bool fifo_waits(const struct file *file);
/* Until that has come: 0; -ERESTARTSYS: it has not, and the file is no end any more, to be closed. */
MUST_CHECK int fifo_wait(struct file *file);
/* A signal ends the wait: the same. Whoever opens the other end has either met this one, or waits on. */
MUST_CHECK int fifo_give_up(struct file *file);
