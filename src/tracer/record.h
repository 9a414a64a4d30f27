/*
 * The recorder: runs a program under ptrace and writes what it touches into a trace (trace.h).
 * Tier: hosted. Linux x86-64 (programs: x86-64 and i386). Not reentrant: one run at a time in a
 * process, which must have no other children.
 *
 * A seccomp filter (calls.h) stops the program only at calls that carry a dependency; all others
 * run at their own speed. Threads and children are followed to the last one. The program never
 * notices but by asking: calls, results, signals, job control and exit status are its own. Known
 * differences: io_uring_setup gives ENOSYS, it cannot ptrace itself, without root privileges
 * set-user-ID programs gain none, clone's CLONE_UNTRACED is dropped. Where what it did may be
 * missing in the trace, the trace says that it is not complete, and why. One gap is accepted for
 * speed: fstatat(fd, "name", st, AT_EMPTY_PATH), which differs from a plain fstat only by its name.
 */
#pragma once

#include <stdbool.h>

#include "core/attr.h"
#include "util/err.h"

struct tracer_options {
    const char *output; /* path of the trace; created or replaced when the program starts, 0600 */
    bool stdout_to_stderr; /* the program's standard output is this process's standard error */
    unsigned seconds;      /* 0: no limit; then SIGTERM, 5 seconds later SIGKILL to all of it */
};

/*
 * Runs argv (argv[0] searched in PATH if it has no slash) and returns its exit status: 0 to 255,
 * 128 + N if signal N ended it. Returns when the last process of the tree has ended. A program that
 * cannot be started or a trace that cannot be written is a negative errno with err set; in the
 * first case whatever stood at the output is untouched.
 *
 * While it runs, signals sent to this process that would end it go on to the program (to the whole
 * tree once the first process has ended). What the terminal or the program sends to the process
 * group, a Ctrl-C say, the program has got itself: it ends the program and not the trace. If this
 * process dies, the tree is killed.
 */
MUST_CHECK int tracer_run(const struct tracer_options *options, char *const argv[],
                          struct err *err);
