/* The way out of a thread that has ended. Tier: enclave. */
#pragma once

#include "core/attr.h"

/* OCALL_THREAD_EXIT: the host thread ends, the thread area is NEW again. */
NORETURN void thread_leave_host(void);
