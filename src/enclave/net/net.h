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
/* A reference to the socket behind fd, of the network or AF_NETLINK (netlink.h); NULL: it is none of ours. */
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

/* F_GETFL and F_SETFL; flags: all of them. */
uint32_t net_get_flags(struct file *file);
MUST_CHECK int net_set_flags(struct file *file, uint32_t flags);

/* A socket on its way to another process of the tree, which inherits the handle (vfs/share.c). */
struct net_share {
    int32_t handle;
    uint8_t family, type, bound, answers;
    uint8_t stranger, reserved[3];
    uint32_t protocol;
    uint64_t receive_timeout, send_timeout;
};
void net_share(struct file *file, struct net_share *ret);
/* -ENOMEM */
MUST_CHECK int net_arrive(const struct net_share *from, uint32_t flags, struct file **ret);
/* The same from any process of the tree (SCM_RIGHTS): the rules of this one bind what it does with it from now on, and
 * what cannot be is -EINVAL. Takes the handle over also on failure. */
MUST_CHECK int net_arrive_stranger(const struct net_share *from, uint32_t flags, struct file **ret);
/* The kinds of sockets that there are: -EPERM (raw), -EPROTONOSUPPORT, -ESOCKTNOSUPPORT. protocol 0: any. */
MUST_CHECK int net_check_kind(uint32_t type, uint32_t protocol);
