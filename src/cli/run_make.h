/*
 * `sgxpy run -- COMMAND` when the cache has nothing to run: traces, builds, signs. Two programs
 * implement it: sgxpy-full does it (run_make.c), the small sgxpy, which only runs what is there,
 * becomes sgxpy-full (run_become.c). Tier: hosted.
 */
#pragma once

#include <stdbool.h>

#include "cli/cache.h"
#include "cli/options.h"
#include "core/attr.h"
#include "util/err.h"

/* A command on its way into the enclave. */
struct command {
    const struct options *options;
    char *library_os; /* path */
    char *key_path;   /* of --key, or the one kept for this command, which may not be there yet */
    char *executable;
    struct cache cache;
    bool announced; /* the no-protection line was printed */
};

/* What the bundle depends on beside the trace, as text: version, options, and library OS and key by
 * path and identity of their inodes, so that a start reads neither. -ENOENT without a message if one
 * of them is not there. Free *ret with free(). */
MUST_CHECK int command_stamp(const struct command *c, char **ret, struct err *err);

/* With the cache locked. CLI_OK: the bundle is current; else the exit code, the message printed. */
MUST_CHECK int run_make(struct command *c);
/* What runs further processes of the tree (host/run.h): the small sgxpy, which loads in less time;
 * NULL: this program again. Stays allocated. */
const char *run_child_program(void);
