/* eventfd(2) for others than the system call. Tier: enclave. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

/* flags: O_NONBLOCK. -ENOMEM. */
MUST_CHECK int eventfd_new(uint64_t count, uint32_t flags, bool semaphore, struct file **ret);
