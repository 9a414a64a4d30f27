/*
 * Signals from outside: taken by the main thread, recorded in its block, and the main thread
 * interrupted. Tier: hosted, untrusted. Internal to src/host.
 */
#pragma once

#include <signal.h>

#include "host/host.h"
#include "util/err.h"

/* Installs the handlers, on the main thread. A signal that is ignored already (nohup) stays so.
 * SIGPIPE is ignored: a write then fails with EPIPE, and the library OS raises what the program is
 * to see. */
MUST_CHECK int signals_install(struct host *host, struct err *err);
/* Blocks those signals in the calling thread, for threads to be created from it. */
void signals_block(sigset_t *ret_before);
