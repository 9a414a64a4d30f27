/*
 * Files that another process opens again, on their way there over a socket (SCM_RIGHTS): trusted and allowed files,
 * directories, /proc and /dev of a process that is not the root. At the hub such a file is only what is needed for that:
 * path, flags, offset. Who receives it opens the path by its own manifest; where that does not name it, reads are EACCES
 * (vfs/share.h). Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "tree/hub.h"
#include "vfs/file.h"
#include "vfs/remote/remote.h"

/* Can it travel so? */
bool carry_can(const struct file *file);
/* Not the root: a handle that stands for file; the caller's to close. -ENOMEM, -EMFILE. */
MUST_CHECK int carry_pack(struct file *file, int32_t *ret_handle);
/* What came, as an open file; takes the handle over. -ENOMEM, -EIO. */
MUST_CHECK int carry_unpack(const struct remote_info *info, struct file **ret);

/* --- the root --- */
bool carry_is(const struct file *file);
/* Its own program has received it. -ENOMEM. */
MUST_CHECK int carry_unpack_here(const struct file *carried, struct file **ret);
/* ADOPT_CARRIED: data as carry_pack() sends it; position: NULL or referenced by the caller. -EINVAL, -ENOMEM. */
MUST_CHECK int carry_new(const void *data, uint32_t size, struct file *position, struct file **ret);
/* REMOTE_UNPACK. */
int64_t carry_serve(struct hub_job *job, struct file *carried);
