/* Handles for a process that this one is about to start (vfs/share.c). Tier: enclave. */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/remote/remote.h"

/* What pid will find under ret->handle: file, which is the hub's, or a file of the root, if this is the root. They go
 * with pid if it is never started. -ENOMEM, -EMFILE, -ESRCH. */
MUST_CHECK int remote_give(int32_t pid, struct file *file, struct remote_info *ret);
