#include "net/address.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "mm/uaccess.h"

/* sockaddr_in6 without its scope (RFC 2133), which Linux takes too. */
#define ADDRESS_IN6_SHORT 24u

uint16_t address_family(const struct net_address *address)
{
    uint16_t family = 0;
    if (address->size >= sizeof(family))
        memcpy(&family, address->bytes, sizeof(family));
    return family;
}

/* Linux looks at the size before the family, and takes AF_UNSPEC for an end of a connection and, in bind(2), for
 * AF_INET: the host's kernel decides that. */
int address_from_user(uint64_t user, uint64_t size, const struct net_socket *socket,
                      struct net_address *ret)
{
    *ret = (struct net_address){ .size = 0 };
    if (size > sizeof(ret->bytes) || size < sizeof(uint16_t))
        return -EINVAL;
    int status = copy_from_user(ret->bytes, (const void *)(uintptr_t)user, size);
    if (status < 0)
        return status;
    ret->size = (uint32_t)size;
    uint16_t family = address_family(ret);
    if (family == AF_UNSPEC_FAMILY)
        return 0;
    uint32_t least = socket->family == AF_INET_FAMILY ? ADDRESS_IN : ADDRESS_IN6_SHORT;
    /* A datagram socket of IPv6 takes addresses of IPv4 too. */
    if (family == AF_INET_FAMILY && socket->family == AF_INET6_FAMILY &&
        socket->type == NET_DATAGRAMS)
        least = ADDRESS_IN;
    else if (family != socket->family)
        return size < least ? -EINVAL : -EAFNOSUPPORT;
    return size < least ? -EINVAL : 0;
}

int address_as_ipv4(struct net_address *address)
{
    const uint16_t family = AF_INET_FAMILY;
    if (address->size < ADDRESS_IN)
        return -EINVAL;
    memcpy(address->bytes, &family, sizeof(family));
    return 0;
}

bool address_from_host(const uint8_t *bytes, uint32_t size, uint8_t family, struct net_address *ret)
{
    uint32_t whole = family == AF_INET_FAMILY ? ADDRESS_IN : ADDRESS_IN6;
    uint16_t got;
    /* Any bytes make a name; how long it is says the size, and of a path the NUL. */
    if (family == AF_LOCAL_FAMILY)
        whole = size >= sizeof(got) && size <= ADDRESS_LOCAL + 1 ? size : 0;
    if (size != whole)
        return false;
    memcpy(&got, bytes, sizeof(got));
    if (got != family)
        return false;
    *ret = (struct net_address){ .size = whole };
    memcpy(ret->bytes, bytes, whole);
    if (family == AF_INET_FAMILY)
        memset(ret->bytes + 8, 0, 8); /* sin_zero */
    return true;
}

int address_to_user(const struct net_address *address, uint64_t user, uint64_t user_size)
{
    uint32_t room;
    if (!user)
        return 0;
    int status = GET_USER(&room, (const uint32_t *)(uintptr_t)user_size);
    if (status < 0)
        return status;
    if ((int32_t)room < 0)
        return -EINVAL;
    status = copy_to_user((void *)(uintptr_t)user, address->bytes,
                          room < address->size ? room : address->size);
    return status < 0 ? status : PUT_USER((uint32_t *)(uintptr_t)user_size, &address->size);
}
