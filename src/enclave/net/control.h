/*
 * Ancillary data (cmsg(3)) of sockets of the network, in both directions: a table of what passes. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "net/socket.h"

/* What sendmsg() is to send, from the program's buffer. -EINVAL, -ENOBUFS, -EFAULT. */
MUST_CHECK int control_from_user(uint64_t user, uint64_t size, struct net_extra *extra);
/*
 * What the host gave with a message (extra->control, control_size bytes) into the program's buffer of room bytes:
 * messages of the table whose sizes make sense; others are left out, and MSG_CTRUNC set in *flags, as if there had
 * been no room. *ret_size: bytes of the program's buffer that were used. -EFAULT.
 */
MUST_CHECK int control_to_user(const struct net_extra *extra, uint64_t user, uint64_t room,
                               uint64_t *ret_size, uint32_t *flags);
