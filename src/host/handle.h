/*
 * Which descriptors of this process the enclave may name: the standard streams and what OCALL_OPEN
 * opened, no other (not our messages, our audit file, the device). A handle is the descriptor's
 * number. Tier: hosted, untrusted. Internal to src/host. Lock-free; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"

#define HANDLE_MAX 65536

enum handle_kind {
    HANDLE_CLOSED = 0,
    HANDLE_UNKNOWN, /* open; not looked at yet */
    HANDLE_PLAIN,   /* regular file, directory, block device: never blocks for long */
    HANDLE_BLOCKS,  /* pipe, socket, terminal and other devices: may block for ever */
};

/* Takes over descriptors 0 to 2: opens /dev/null where one is closed (then no handle), so that
 * nothing opened later gets their numbers. Raises the soft limit of descriptors. */
MUST_CHECK int handle_init(void);
/* The same in a process of a tree: these descriptors, which it inherited, are its handles. */
MUST_CHECK int handle_init_inherited(const int32_t *handles, size_t count);
/* fd becomes a handle; -EMFILE, fd closed, if its number is too large. */
MUST_CHECK int handle_add(int fd);
/* Is there room for one more socket? Some numbers are kept for what a program cannot do without: its trusted files,
 * which would be missing, and the runtime's own descriptors. */
bool handle_room(void);
/* A descriptor that is no handle, but that a program made us keep, counts as a socket until it is let go. False: there
 * is no room. */
MUST_CHECK bool handle_hold(void);
void handle_let_go(void);
/* The descriptor, or -EBADF. */
MUST_CHECK int handle_fd(uint64_t handle);
/* The same, and whether it may block. */
MUST_CHECK int handle_fd_kind(uint64_t handle, bool *ret_blocks);
/* Closes it; a standard stream is replaced by /dev/null, which is no handle. close(2)'s result. */
MUST_CHECK int handle_close(uint64_t handle);
/* The same; a socket whose close may take long (SO_LINGER) is closed by a thread of its own. */
MUST_CHECK int handle_close_aside(uint64_t handle);
