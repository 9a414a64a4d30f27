/* No socket is one of netlink: for tests of the other sockets. */
#include "net/netlink.h"

#include <asm/errno.h>

bool netlink_is(const struct file *file UNUSED)
{
    return false;
}

int netlink_new(uint32_t type UNUSED, uint32_t protocol UNUSED, uint32_t flags UNUSED,
                struct file **ret UNUSED)
{
    return -EPROTONOSUPPORT;
}

int netlink_bind(struct file *file UNUSED, uint64_t user UNUSED, uint64_t size UNUSED)
{
    return -ENOTSOCK;
}

int netlink_connect(struct file *file UNUSED, uint64_t user UNUSED, uint64_t size UNUSED)
{
    return -ENOTSOCK;
}

int netlink_destination(uint64_t user UNUSED, uint64_t size UNUSED, struct net_address *ret UNUSED)
{
    return -ENOTSOCK;
}

void netlink_name(const struct file *file UNUSED, bool peer UNUSED, struct net_address *ret)
{
    ret->size = 0;
}

int64_t netlink_send(struct file *file UNUSED, const struct iovec *iov UNUSED,
                     uint64_t count UNUSED, uint64_t size UNUSED)
{
    return -ENOTSOCK;
}

int64_t netlink_receive(struct file *file UNUSED, const struct iovec *iov UNUSED,
                        uint64_t count UNUSED, uint64_t size UNUSED, uint32_t flags UNUSED,
                        struct net_extra *extra UNUSED)
{
    return -ENOTSOCK;
}
