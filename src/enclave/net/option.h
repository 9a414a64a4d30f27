/*
 * Socket options (socket(7), tcp(7), ip(7), ipv6(7), udp(7)): a table of those that pass to the host, each with the
 * largest size its value has. All others do not exist here, which is said once for each. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

#define OPTION_MAX 256u /* bytes of a value */

enum option_use {
    OPTION_GET = 1,
    OPTION_SET = 2,
    OPTION_BOTH = 3,
    OPTION_OURS = 4, /* the library OS knows the answer */
};

struct option {
    uint16_t level, name;
    uint16_t size; /* of the largest value */
    uint8_t use;   /* enum option_use */
};

#define OPTION_SOCKET    1 /* SOL_SOCKET */
#define SO_TYPE_NAME     3
#define SO_ERROR_NAME    4
#define SO_PEERCRED_NAME 17
#define SO_RCVTIMEO_NAME 20
#define SO_SNDTIMEO_NAME 21
#define SO_PROTOCOL_NAME 38
#define SO_DOMAIN_NAME   39

/* NULL: no such option here. */
const struct option *option_find(int level, int name);
