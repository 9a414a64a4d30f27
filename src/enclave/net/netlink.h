/*
 * AF_NETLINK sockets, of NETLINK_ROUTE only and to ask what interfaces and addresses there are (rtnetlink(7)): dumps of
 * RTM_GETLINK and RTM_GETADDR, and one link. The answers are made here from net/interfaces.h. Other requests are
 * answered with an error message, as the kernel does; changes with EPERM. There are no multicast groups: nothing is
 * told that was not asked for. Tier: enclave. Thread-safe.
 *
 * The file is a socket of net.h, whose calls come here for what differs.
 */
#pragma once

#include <linux/uio.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "ipc/anew.h"
#include "net/socket.h"
#include "vfs/file.h"

#define AF_NETLINK_FAMILY 16

bool netlink_is(const struct file *file);
/* -EINVAL, -ESOCKTNOSUPPORT, -EPROTONOSUPPORT, -ENOMEM. flags: ANON_NONBLOCK. */
MUST_CHECK int netlink_new(uint32_t type, uint32_t protocol, uint32_t flags, struct file **ret);
/* In another process: a new one with the same number, and nothing to receive (ipc/anew.h). */
bool netlink_describe(const struct file *file, struct anew *ret);
MUST_CHECK int netlink_anew(const struct anew *like, uint32_t flags, struct file **ret);
/* bind, connect: the address is struct sockaddr_nl of the program. */
MUST_CHECK int netlink_bind(struct file *file, uint64_t user, uint64_t size);
MUST_CHECK int netlink_connect(struct file *file, uint64_t user, uint64_t size);
/* A destination: none but the kernel. */
MUST_CHECK int netlink_destination(uint64_t user, uint64_t size, struct net_address *ret);
void netlink_name(const struct file *file, bool peer, struct net_address *ret);
/* As net_send, net_receive. */
int64_t netlink_send(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size);
int64_t netlink_receive(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size,
                        uint32_t flags, struct net_extra *extra);
