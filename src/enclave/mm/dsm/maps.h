/*
 * Shared memory: objects that this process has (dsm.h). Tier: enclave.
 */
#pragma once

#include <stdbool.h>

/* Has the process any object? One load. */
bool dsm_have_maps(void);
/* The process ends; all pages were given. */
void dsm_detach_all(void);
