/*
 * Open files on their way to another process of the tree, at spawn, exec and fork (and SCM_RIGHTS): each
 * open file description is sent once, then the descriptors that name it. Afterwards both processes have the
 * same description, as on Linux: one offset, one set of status flags, one pipe.
 *
 *   trusted files               reopened in the child by path; the offset is kept by the hub from here on
 *                               (vfs/remote/position.h), in both processes. The root's, at exec: held by the hub,
 *                               so that who inherits one may read it even if its own manifest does not name it
 *   directories, /proc, /dev    reopened by path, at the same offset; then each has its own
 *   host files, stdio           the host handle is inherited; offset as above
 *   scratch files, pipes,       held by the hub: the child gets a handle (vfs/remote/remote.h). Where the
 *   sockets, eventfds           parent is not the root and the object is its own still, it moves to the hub
 *   signalfd, timerfd, epoll    made anew, set up the same (ipc/anew.h): Linux shares the last two
 *
 * A file whose path the child's manifest does not grant still arrives where Linux would pass it: pipes,
 * scratch, host files and standard streams do; a trusted file of a process that is not the root, and that the
 * child's manifest does not name, arrives as one whose reads are EACCES (with an audit line): its content cannot be
 * verified there. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "tree/stream.h"
#include "vfs/file.h"

struct fd_table;

/*
 * Before the child's host process starts: gets ready what will be sent for pid: moves the parent's own pipes
 * to the hub, gives the child its handles there, and says which host handles it must inherit. all: fork (close-on-exec
 * descriptors too); else those with close-on-exec stay behind. -ENOMEM, -EMFILE, -EIO. Always followed by
 * share_send and share_done, or share_done alone.
 */
struct share;
MUST_CHECK int share_prepare(int32_t pid, struct fd_table *table, bool all, struct share **ret);
const int32_t *share_handles(const struct share *share, uint32_t *ret_count);
/* Descriptions, descriptors, and for fork the files of mappings. Number of a file for mm/checkpoint: its index. */
void share_send(struct share *share, struct tree_stream *s);
int32_t share_number(const struct share *share, const struct file *file); /* -1: not in it */
/* sent: the child took over; else its handles at the hub are dropped again. */
void share_done(struct share *share, bool sent);

/* The child: fills its (empty) descriptor table. */
void share_receive(struct tree_stream *s);
/* The file with this number in what was received: for mm/checkpoint, until share_received_done(). */
struct file *share_file(uint32_t number);
void share_received_done(void);
/* What the two above and vfs/remote/carry.h do with a path from another process: an open file by this one's manifest, or
 * one whose reads are EACCES, and that says of itself what st says. stranger: not this process's parent, to whom it owes
 * nothing: trusted and host files, directories, /dev/null and its like only. -ENOMEM. */
struct kstat;
MUST_CHECK int share_open(const char *path, uint32_t flags, bool stranger, const struct kstat *st,
                          struct file **ret);
