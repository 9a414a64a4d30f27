/* No socket is one of the network: for tests of files that ask. */
#include "net/local.h"
#include "net/net.h"
#include "net/netlink.h"

#include <asm/errno.h>

struct file *net_get(uint64_t fd UNUSED)
{
    return NULL;
}

bool net_is(const struct file *file UNUSED)
{
    return false;
}

bool net_family(int family UNUSED)
{
    return false;
}

int64_t net_socket(const struct sysargs *args UNUSED)
{
    return -EAFNOSUPPORT;
}

int64_t net_accept(struct file *file UNUSED, const struct sysargs *args UNUSED,
                   uint32_t flags UNUSED)
{
    return -ENOTSOCK;
}

int64_t net_name(struct file *file UNUSED, const struct sysargs *args UNUSED, bool peer UNUSED)
{
    return -ENOTSOCK;
}

#define NONE(name)                                                            \
    int64_t name(struct file *file UNUSED, const struct sysargs *args UNUSED) \
    {                                                                         \
        return -ENOTSOCK;                                                     \
    }
NONE(net_bind)
NONE(net_listen)
NONE(net_connect)
NONE(net_getsockopt)
NONE(net_setsockopt)
NONE(net_sendto)
NONE(net_recvfrom)
NONE(net_sendmsg)
NONE(net_recvmsg)
NONE(net_sendmmsg)
NONE(net_recvmmsg)
NONE(net_shutdown)

bool net_is_local(const struct file *file UNUSED)
{
    return false;
}

uint32_t net_local_type(const struct file *file UNUSED)
{
    return 0;
}

int net_local_become(struct file *file UNUSED, uint32_t type UNUSED)
{
    return -EIO;
}

int net_local_bind(struct file *file UNUSED, const struct place *place UNUSED, uint32_t mode UNUSED)
{
    return -EIO;
}

int net_local_connect(struct file *file UNUSED, const struct place *place UNUSED)
{
    return -EIO;
}

int64_t net_local_send(struct file *file UNUSED, const struct place *place UNUSED,
                       const struct iovec *iov UNUSED, uint64_t count UNUSED, uint32_t flags UNUSED)
{
    return -EIO;
}

bool netlink_describe(const struct file *file UNUSED, struct anew *ret UNUSED)
{
    return false;
}

int netlink_anew(const struct anew *like UNUSED, uint32_t flags UNUSED, struct file **ret UNUSED)
{
    return -ENOMEM;
}

void net_share(struct file *file UNUSED, struct net_share *ret)
{
    *ret = (struct net_share){ .handle = -1 };
}

uint32_t net_get_flags(struct file *file)
{
    return file->flags;
}

int net_set_flags(struct file *file UNUSED, uint32_t flags UNUSED)
{
    return -ENOTSOCK;
}

int net_arrive_stranger(const struct net_share *from UNUSED, uint32_t flags UNUSED,
                        struct file **ret UNUSED)
{
    return -ENOMEM;
}

int net_arrive(const struct net_share *from UNUSED, uint32_t flags UNUSED, struct file **ret UNUSED)
{
    return -ENOMEM;
}
