/*
 * Allowed files: plain files of the host, unprotected, and what the program was started with on
 * 0-2. The host's word is taken for content, size and times, after a check that it is sane. Tier:
 * enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/node.h"

/* Fills fs and mode of place from the host, or from the run's own record of outputs. */
MUST_CHECK int host_lookup(struct place *place);
/* Before and after a name is made there by another call than these files': an output's name may be taken by what an earlier
 * run left. */
MUST_CHECK int host_clear_stale(const struct place *place);
MUST_CHECK int host_made(const struct place *place);
/* A file over a host handle that is only read and written in order, at the host's own offset. */
MUST_CHECK int host_stream(int handle, uint32_t flags, struct file **ret);
/* For an open directory or O_PATH: a handle that stays with the file whatever becomes of its name.
 */
MUST_CHECK int host_path_handle(const struct place *place);
MUST_CHECK int host_stat_handle(int handle, uint32_t record, struct kstat *ret);
void host_close(int handle);
/* Host handle of a host file, -1 if it is none. */
int host_handle_of(const struct file *file);
MUST_CHECK int host_fallocate(struct file *file, uint32_t mode, uint64_t offset, uint64_t size);
MUST_CHECK int host_flock(struct file *file, uint32_t operation);
/* What of a host file another process needs, which inherits the handles. */
struct host_share {
    int32_t handle, append; /* -1: none */
    bool stdio, stream;
};
void host_share(const struct file *file, struct host_share *ret);
/* There: over inherited handles. path: may be NULL. -ENOMEM. */
MUST_CHECK int host_arrive(const struct host_share *from, uint32_t flags, const char *path,
                           uint32_t path_size, struct file **ret);
extern const struct file_ops g_host_file_ops, g_host_stream_ops;
