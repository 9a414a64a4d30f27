/*
 * The interfaces of the machine and their addresses: the host's word, as every packet is, but only in forms that can
 * be (netdevice(7), rtnetlink(7)). Nothing is kept: each question asks the host. Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "core/attr.h"

#define INTERFACES_MAX          1024u /* more than these the program does not see */
#define INTERFACE_ADDRESSES_MAX 2048u

/*
 * Links: by rising index, each with an index of its own from 1 to INT32_MAX and a name of its own that Linux would take
 * (dev_valid_name()), NUL-terminated, zero behind; at most OCALL_NET_HARDWARE bytes of address. Addresses: of IPv4 or
 * IPv6, of one of these links, with a prefix that the family can have, and a label, where they have one, that is
 * NUL-terminated; zero behind their family's size.
 */
struct interfaces {
    uint32_t link_count, address_count;
    struct ocall_net_link *links;
    struct ocall_net_ifaddr *addresses;
};

/* Followed by interfaces_done() if it went well. What the host says that cannot be is left out. -ENOMEM, -EIO, or the
 * host's error. */
MUST_CHECK int interfaces_get(struct interfaces *ret);
void interfaces_done(struct interfaces *list);
/* NULL: none. */
const struct ocall_net_link *interfaces_by_index(const struct interfaces *list, uint32_t index);
const struct ocall_net_link *interfaces_by_name(const struct interfaces *list,
                                                const char name[static OCALL_NET_NAME_SIZE]);

/* Is this an ioctl() about interfaces, which any socket takes? */
bool interfaces_request(uint32_t request);
/* It. What reads works (SIOCGIFCONF, -NAME, -INDEX, -FLAGS, -ADDR, ...); what changes is -EPERM, and all else -ENOTTY. */
int64_t interfaces_ioctl(uint32_t request, uint64_t arg);
