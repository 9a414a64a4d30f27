/*
 * Processes of the tree as open files: pidfd_open(2), CLONE_PIDFD. Tier: enclave. Thread-safe.
 *
 * The file is the root's, where the process table is: readable once the process has ended, whoever's child it is.
 * Other processes have a handle of it (vfs/remote), so that it goes through fork, exec and SCM_RIGHTS as on Linux.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

/* A process, told by its birth (0: by its pid alone) from another one that gets its pid later (tree/ptable.h). */
struct pidfd_target {
    int32_t pid;
    uint64_t born;
};

/* The root's: over its table. flags: O_NONBLOCK. -ESRCH, -ENOMEM. */
MUST_CHECK int pidfd_new(int32_t pid, uint32_t flags, struct file **ret);
/* A descriptor of the calling process, close-on-exec. flags: O_NONBLOCK. -ESRCH, -EMFILE, -ENOMEM. */
MUST_CHECK int pidfd_install(int32_t pid, uint32_t flags);
/* false: file is no pidfd. */
bool pidfd_target(const struct file *file, struct pidfd_target *ret);
