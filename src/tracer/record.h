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
    /* 0: no limit; then SIGTERM, TRACER_GRACE_SECONDS later SIGKILL to all of it */
    unsigned milliseconds;
    /* Called once, from tracer_run's own thread, when the program turns out to be a server: it has gone on for
     * TRACER_SERVER_SECONDS and serves (struct tracer_end). NULL: nobody asks. */
    void (*on_server)(void *arg);
    void *arg;
};
#define TRACER_GRACE_SECONDS  5
#define TRACER_SERVER_SECONDS 2

/* How the run came to its end. */
struct tracer_end {
    /* One of its processes bound an internet address (port 0: and listened); or its first process bound a Unix address
     * and listened. */
    bool serves;
    bool told; /* on_server was called */
    /* SIGINT or SIGTERM: what this process was sent while the program served, or SIGTERM because the time was over; 0:
     * the program ended by itself. */
    int asked;
    bool killed; /* by SIGKILL, because it did not end when asked to */
};

/*
 * Runs argv (argv[0] searched in PATH if it has no slash) and returns its exit status: 0 to 255,
 * 128 + N if signal N ended it. Returns when the last process of the tree has ended. A program that
 * cannot be started or a trace that cannot be written is a negative errno with err set; in the
 * first case whatever stood at the output is untouched.
 *
 * While it runs, signals sent to this process that would end it go on to the program (to the whole
 * tree once the first process has ended). What the terminal or the program sends to the process
 * group, a Ctrl-C say, the program has got itself: it ends the program and not the trace. SIGINT goes to all
 * processes of the tree that are in this process's group, as a terminal would send it. If this
 * process dies, the tree is killed.
 *
 * A program that serves is ended by SIGINT or SIGTERM to this process; should it not end, a second one (half a
 * second later or more) kills all of it, and what is left TRACER_GRACE_SECONDS after its first process ended is killed
 * too. ret_end, which may be NULL, is set whenever the program was started.
 */
MUST_CHECK int tracer_run(const struct tracer_options *options, char *const argv[],
                          struct tracer_end *ret_end, struct err *err);
