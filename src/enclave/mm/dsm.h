/* Shared memory between the enclaves of a tree. Tier: enclave. */
#pragma once

#include "tree/hub.h"

/* HUB_EVENT_REVOKE: a page that this process holds is wanted elsewhere. */
void dsm_revoke(const struct hub_event *event);
