/*
 * Files that the hub holds for this process: scratch files, and pipes, socket pairs and the like that
 * several processes share. Every operation is a request to the hub (tree/hub.h), which runs it on the real
 * file; the description's offset and status flags live there. In the root itself nothing is remote. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"
#include "vfs/node.h"

/* HUB_FILE_FIRST + these. Handles are the peer's own numbers at the hub. */
enum remote_op {
    REMOTE_READ = 0, /* blocking: (handle, size, offset or -1) -> data */
    REMOTE_WRITE,    /* blocking: (handle, offset or -1), data */
    REMOTE_LSEEK, REMOTE_FSTAT, REMOTE_GETDENTS, REMOTE_FTRUNCATE, REMOTE_FSYNC, REMOTE_IOCTL,
    REMOTE_POLL,     /* (handle, arm: 1): ready events now; armed: HUB_EVENT_READY when they may change */
    REMOTE_CLOSE,
    REMOTE_FLAGS,    /* (handle, O_APPEND | O_NONBLOCK to set) */
    REMOTE_DUP_TO,   /* (handle, pid) -> handle for that process: at spawn and fork */
    REMOTE_DROP,     /* (handle, pid): undo DUP_TO */
    REMOTE_ADOPT,    /* the process's own pipe or socket pair moves to the hub: serve.c says how */
    REMOTE_POSITION, /* a shared offset, see position.c */
    REMOTE_OPEN, REMOTE_CREATE, REMOTE_STAT, REMOTE_READLINK, REMOTE_LIST, REMOTE_MKDIR, REMOTE_MKNOD,
    REMOTE_SYMLINK, REMOTE_LINK, REMOTE_UNLINK, REMOTE_RMDIR, REMOTE_RENAME, REMOTE_CHMOD, REMOTE_CHOWN,
    REMOTE_UTIMENS, REMOTE_TRUNCATE, REMOTE_XATTR, REMOTE_LOCK, REMOTE_SOCKET,
    REMOTE_OPS,
};

extern const struct file_ops g_remote_ops;
/* Scratch paths in a process that is not the root. Each request names its path; the hub checks it against the
 * node's grants (MANIFEST_GRANTS by MRENCLAVE; the root's own node: all). */
extern const struct fs g_remote_fs;
/* A file over a handle of the hub; takes the handle over. */
MUST_CHECK int remote_file(int32_t handle, uint32_t flags, const char *path, struct file **ret);
/* The hub's handle, -1 for other files. */
int32_t remote_handle(const struct file *file);
/* HUB_EVENT_READY. */
void remote_ready(uint32_t handle);
