/*
 * The untrusted runtime: loads one node's enclave and runs it. Tier: hosted, untrusted. One call
 * per process, on its main thread, before other threads exist: ELRANGE starts at 0, signals are
 * taken over, and the process ends with the program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/attr.h"
#include "host/device/device.h"
#include "host/host.h"
#include "signer/bundle.h"
#include "util/err.h"

struct host_options {
    const char *image_path;         /* the library OS, an ELF file */
    const char *node_path;          /* folder that holds manifest.bin and sigstruct.bin */
    const struct bundle_node *node; /* its content, if the caller has loaded it; may be NULL */
    const char *bundle_path;        /* where the tree's other nodes are; NULL: there are none */
    bool bundle_given; /* by the user, not made for a command: hints name no --retrace */
    /* What runs a further process of the tree: a program whose main passes the command line of
     * TREE_CHILD_VERB to tree_child_main (child.h). NULL: this one again. */
    const char *child_program;

    enum device_kind device;
    bool poison;      /* software device: scramble what hardware does not preserve */
    bool single_step; /* software device, tests */
    bool quiet;       /* without the no-protection line and notes */
    bool announced;   /* the caller printed the no-protection line already */
    bool strace;      /* the library OS honours it in a DEBUG enclave only */
    bool stats;
    const char *audit_path; /* NULL: no audit file */
    uint64_t audit_size;    /* it is rotated at this many bytes; 0: never */
    uint32_t audit_keep;    /* and this many older ones are kept */

    const char *const *args; /* what follows the pinned arguments; used if the manifest says so */
    size_t arg_count;
    const char *const *env; /* NAME=VALUE; used where the manifest says so */
    size_t env_count;
    /* NAME=VALUE that the user gave as rules of the manifest: nothing is said where they are not as in env. */
    const char *const *chosen_env;
    size_t chosen_env_count;

    host_tamper_fn *tamper; /* tests: a hostile host, see hostile.h */
    void *tamper_arg;
    const char *hostile; /* how it was asked for: processes of the tree do the same; NULL: honest */

    bool spare_always; /* tests: a process made in advance (spare.c) also on a busy machine */

    struct tree_child *child; /* child.c: a process of a tree that is not its root */
};

/*
 * Returns only if the enclave could not start: negative errno, err with message and exit code: 2
 * (broken manifest or SIGSTRUCT), 3 (library OS or manifest is not what was signed), 4 (anything
 * else: device, memory, a file). Otherwise the process ends here, without atexit handlers: with the
 * program's exit code, 128 + signal, 3 (a file was refused), 4, or 134 (DESIGN.md, section 10).
 * The caller flushes its own streams before.
 */
int host_run(const struct host_options *options, struct err *err);
