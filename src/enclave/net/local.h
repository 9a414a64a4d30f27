/*
 * AF_UNIX sockets of the host, at allowed paths: a database's, a container engine's, a server of the program's own that
 * others on this machine connect to. A socket of the tree (ipc/unix.h) becomes one when it is bound or connected to such
 * a path, or sends there; then it is a handle like those of the network. Whoever is at the other end is the host, as far
 * as the program can know: descriptors and credentials do not pass. Tier: enclave.
 */
#pragma once

#include <linux/uio.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"
#include "vfs/node.h"

/* Is it one already? */
bool net_is_local(const struct file *file);
uint32_t net_local_type(const struct file *file);
/* What file is becomes one of the host, for good; what it was stays until its release. -EMFILE, -ENOMEM... */
MUST_CHECK int net_local_become(struct file *file, uint32_t type);
/* As bind(2), connect(2) and sendmsg(2), without the signal. place: of g_host_fs. mode: of the name, without its type.
 * -EINVAL: the path is too long for an address. */
MUST_CHECK int net_local_bind(struct file *file, const struct place *place, uint32_t mode);
MUST_CHECK int net_local_connect(struct file *file, const struct place *place);
/* place NULL: to the peer. */
int64_t net_local_send(struct file *file, const struct place *place, const struct iovec *iov,
                       uint64_t count, uint32_t flags);
