/* What other files of system calls need of sys/signal.c. Tier: enclave. */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "signal/signal.h"

/* The program's siginfo: code, pid, uid and value are its own to say, *ret_number too. -EFAULT. */
MUST_CHECK int signal_info_from_user(uint64_t user, int32_t *ret_number, struct signal_info *ret);
/* A signal to the calling process itself; number 0: none. -EAGAIN: too many wait. */
int64_t signal_send_self(const struct signal_info *info);
