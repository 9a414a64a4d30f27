/*
 * The program's memory on its way into a forked child: a new enclave of the same measurement. What the
 * child can make itself is not sent: pages never touched, the content of pages of zeros, and pages of trusted
 * files' mappings that were never writable (the child verifies them again; patched system calls are patched
 * again). Areas of threads (TCS, SSA, GS block, stacks of the library OS) and the library OS's heap are never
 * sent. Of pages of trusted files those are sent that earlier children needed at once (tree/hints.h): what was verified
 * here is as good there, as is all other memory. Tier: enclave.
 *
 * The stream
 *   brk: start, now
 *   files     { kind, what }*, FILE_END: each file of mappings once. By number, if vfs/share.h sent the open
 *             files before and knows it, else by path, if it is trusted; or what is shared (mm/dsm.h)
 *   mappings  count, { start, end, prot, flags, file, offset }*
 *   pages     { extent: address, count (> 0), { first page in it, count (> 0), content }*, 0, 0 }*, 0, 0
 *             An extent lies in one mapping; all of its pages are accepted here and become so there
 *   code      { address, content }*, 0: pages that trusted files' mappings would bring
 *   stubs     size, content. Last: no page holds a jump to one that is not sent
 *   child to parent, if anything is shared: a word: it has attached
 */
#pragma once

#include "core/attr.h"
#include "tree/stream.h"
#include "vfs/share.h"

/* Parent: all mappings, brk, then the pages. Other threads of the program may run and change memory meanwhile:
 * each page is as it was at one moment. Takes the lock of the address space in steps, never across a
 * channel_send(). share: what share_send() sent before; may be NULL. Errors stick in the stream. */
void mm_checkpoint_send(struct tree_stream *s, const struct share *share);
/* Child: a fresh address space becomes the parent's. After share_receive(), before share_received_done(). Errors
 * stick; -EBADMSG for what makes no sense. */
void mm_checkpoint_receive(struct tree_stream *s);
