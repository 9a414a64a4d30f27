/*
 * Waiting for several files at once, enclave objects and host handles mixed. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "thread/wait.h"
#include "vfs/file.h"

#define POLL_ALWAYS_BITS 0x18u /* EPOLLERR | EPOLLHUP: reported without being asked for */

struct poll_entry {
    struct file *file; /* referenced by the caller; NULL: skipped */
    uint32_t events;   /* EPOLL* wanted */
    uint32_t revents;  /* out */
    bool by_host;      /* its host handle is among those asked */
    struct waiter waiter;
};

/* How many entries are ready; 0 at the deadline (monotonic ns; 0: no waiting); -EINTR, -ENOMEM. */
MUST_CHECK int poll_wait(struct poll_entry *entries, uint32_t count, uint64_t deadline);
