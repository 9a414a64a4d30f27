/* What other files of system calls and of files need of sys/process.c. Tier: enclave. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "signal/signal.h"
#include "tree/ptable.h"

/* kill(2) of another process, a group or all; of this one only through those. Errors as kill(2). */
MUST_CHECK int process_kill(int32_t pid, const struct signal_info *info);
/* Of exactly this process (not the calling one). -ESRCH: it is gone. */
struct pidfd_target;
MUST_CHECK int process_kill_one(const struct pidfd_target *target, const struct signal_info *info);
/* A signal stops the process; -EPERM: it is not to, as nobody could let it go on. It goes on. */
MUST_CHECK int process_stopped(int signal);
void process_continued(void);
/* SIGCHLD is ignored, or has SA_NOCLDWAIT: children that end are not waited for. Hold no lock. */
void process_set_nowait(bool nowait);
MUST_CHECK int process_pdeathsig(int signal); /* 0: none */
MUST_CHECK int process_set_subreaper(bool on);
MUST_CHECK int process_get_subreaper(void);
/* For /proc: as ptable_view() with a label of up to PTABLE_LABEL_MAX bytes, ptable_next(); is there such a process? */
MUST_CHECK int process_view(int32_t pid, struct ptable_view *ret, char *ret_label);
int32_t process_next(int32_t pid);
bool process_exists(int32_t pid);
/* Of the children waited for. */
void process_children_times(uint64_t *ret_user_us, uint64_t *ret_system_us);
