/* /dev: the devices that need no device. Tier: enclave. */
#pragma once

#include "vfs/node.h"

MUST_CHECK int dev_lookup(struct place *place);
