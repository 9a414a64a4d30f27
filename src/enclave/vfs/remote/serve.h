/* What the files of the hub's file service share. Tier: enclave. The hub's thread, but for what says otherwise. */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "tree/hub.h"
#include "vfs/file.h"
#include "vfs/remote/remote.h"

/* A new handle of this process for file, whose reference it takes over on success. -ENOMEM, -EMFILE. Any
 * thread. */
MUST_CHECK int32_t serve_add(struct peer *peer, struct file *file);
/* Any thread. */
void serve_close(struct peer *peer, int32_t handle);
/* A reference; NULL: it has no such handle. */
MUST_CHECK struct file *serve_file(struct peer *peer, uint64_t handle);
/* The same as the reply: serve_add and what it is; drops file on failure. */
int64_t serve_reply(struct hub_job *job, struct file *file);
void serve_info(struct file *file, struct remote_info *ret);
/* A path of scratch, checked against the peer's grants: its place, which must be dropped in any case. -ENOENT: an
 * ancestor is not there. path has a NUL. */
MUST_CHECK int serve_find(struct hub_job *job, const char *path, uint32_t size, struct place *ret);
/* Waiting: true if what said -EAGAIN is to be tried once more, now that the job is on the file's queue. */
bool serve_enqueue(struct hub_job *job, struct file *file);
/* REMOTE_SOCKET: serve_socket.c. */
int64_t serve_socket(struct hub_job *job);
/* REMOTE_TTY: serve_tty.c. */
int64_t serve_tty(struct hub_job *job);
/* REMOTE_SCRATCH: serve_scratch.c. */
int64_t serve_scratch(struct hub_job *job);
