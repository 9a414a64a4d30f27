/*
 * The one process: manifest, parameters, end. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/layout.h"
#include "abi/manifest.h"
#include "core/attr.h"
#include "core/manifest_view.h"

/* Measured parameters and the opened manifest, valid after boot. */
#define PARAMS ((const struct layout_params *)LAYOUT_PARAMS)
extern struct manifest_view g_manifest;
const struct manifest_node *process_node(void);
extern bool g_strace; /* only ever true in a DEBUG enclave */
extern bool g_stats;

/* Ends the process with a status, or as killed by a signal; other threads are stopped by the host. */
NORETURN void process_exit(int status);
NORETURN void process_killed(int signal);
/* exit_group is under way: blocking loops give up with -EINTR. */
bool process_ending(void);
