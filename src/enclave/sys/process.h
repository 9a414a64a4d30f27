/* What other files of system calls and of files need of sys/process.c. Tier: enclave. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "signal/signal.h"

/* kill(2) of another process, a group or all; of this one only through those. Errors as kill(2). */
MUST_CHECK int process_kill(int32_t pid, const struct signal_info *info);
/* SIGCHLD is ignored, or has SA_NOCLDWAIT: children that end are not waited for. Hold no lock. */
void process_set_nowait(bool nowait);
MUST_CHECK int process_pdeathsig(int signal); /* 0: none */
/* Of the children waited for. */
void process_children_times(uint64_t *ret_user_us, uint64_t *ret_system_us);
