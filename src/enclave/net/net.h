/*
 * Sockets of the network: AF_INET and AF_INET6, stream and datagram. The socket itself is the host's, non-blocking
 * there; what blocks, times out and is interrupted is decided here (socket.c). What the program names and what the
 * host answers is checked by address.c, option.c and control.c. README.md says what there is and what not.
 * Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "sys/sys.h"
#include "vfs/file.h"

bool net_is(const struct file *file);
/* A reference to the socket behind fd; NULL: it is none of ours. */
MUST_CHECK struct file *net_get(uint64_t fd);
/* Is this a family of ours to make sockets of? */
bool net_family(int family);

/* The system calls of these names, for a socket of ours; arguments as they came. */
int64_t net_socket(const struct sysargs *args);
int64_t net_bind(struct file *file, const struct sysargs *args);
int64_t net_listen(struct file *file, const struct sysargs *args);
int64_t net_accept(struct file *file, const struct sysargs *args, uint32_t flags);
int64_t net_connect(struct file *file, const struct sysargs *args);
int64_t net_name(struct file *file, const struct sysargs *args, bool peer);
int64_t net_getsockopt(struct file *file, const struct sysargs *args);
int64_t net_setsockopt(struct file *file, const struct sysargs *args);
int64_t net_sendto(struct file *file, const struct sysargs *args);
int64_t net_recvfrom(struct file *file, const struct sysargs *args);
int64_t net_sendmsg(struct file *file, const struct sysargs *args);
int64_t net_recvmsg(struct file *file, const struct sysargs *args);
int64_t net_sendmmsg(struct file *file, const struct sysargs *args);
int64_t net_recvmmsg(struct file *file, const struct sysargs *args);
int64_t net_shutdown(struct file *file, const struct sysargs *args);

/* A socket on its way to another process of the tree, which inherits the handle (vfs/share.c). */
struct net_share {
    int32_t handle;
    uint8_t family, type, bound, answers;
    uint32_t protocol;
    uint64_t receive_timeout, send_timeout;
};
void net_share(struct file *file, struct net_share *ret);
/* -ENOMEM */
MUST_CHECK int net_arrive(const struct net_share *from, uint32_t flags, struct file **ret);
