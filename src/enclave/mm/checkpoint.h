/*
 * The program's memory on its way into a forked child: a new enclave of the same measurement. What the
 * child can make itself is not sent: pages never touched, pages of zeros, and pages of private file
 * mappings that were never writable (the child verifies them again; patched system calls are patched
 * again). Areas of threads (TCS, SSA, GS block, stacks of the library OS), stubs and the library OS's heap
 * are never sent. Tier: enclave.
 *
 * Files of mappings go by number: vfs/share.h sent the open files before.
 */
#pragma once

#include "core/attr.h"
#include "tree/stream.h"

/* Parent: all VMAs, brk, then the pages. Other threads of the program may run and change memory meanwhile
 * (as they may during fork(2) on Linux, where each page is as it was at one moment). Takes the lock of the
 * address space in steps, never across a channel_send(). Errors stick in the stream. */
void mm_checkpoint_send(struct tree_stream *s);
/* Child: a fresh address space becomes the parent's. Errors stick; -EBADMSG for what makes no sense. */
void mm_checkpoint_receive(struct tree_stream *s);
