/*
 * Socket addresses of the program and of the host (ip(7), ipv6(7)). Tier: enclave.
 */
#pragma once

#define ADDRESS_LOCAL 110u /* struct sockaddr_un */

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "net/socket.h"

#define ADDRESS_IN  16u /* struct sockaddr_in */
#define ADDRESS_IN6 28u

/* From the program; as the socket calls of that family take it. -EINVAL, -EAFNOSUPPORT, -EFAULT. */
MUST_CHECK int address_from_user(uint64_t user, uint64_t size, const struct net_socket *socket,
                                 struct net_address *ret);
/* From the host, bytes as they came: false if they are none of that family. What does not belong to it is zero. */
MUST_CHECK bool address_from_host(const uint8_t *bytes, uint32_t size, uint8_t family,
                                  struct net_address *ret);
/* To the program: as much as there is room for, then the whole size (accept(2)). user 0: nothing. -EINVAL, -EFAULT. */
MUST_CHECK int address_to_user(const struct net_address *address, uint64_t user,
                               uint64_t user_size);
/* Of a datagram's destination: to IPv4, AF_UNSPEC is AF_INET (udp_sendmsg()). -EINVAL. */
MUST_CHECK int address_as_ipv4(struct net_address *address);
uint16_t address_family(const struct net_address *address);
