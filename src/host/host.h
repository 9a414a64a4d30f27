/*
 * The untrusted runtime's one context: what all its parts share while an enclave runs, and the way
 * a run ends. Internal to src/host. Tier: hosted, untrusted. There is one per process.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "core/attr.h"
#include "host/device/device.h"

struct audit;
struct host_thread;
struct host_options;
struct manifest_view;
struct tree;
struct tree_child;

/* Exit codes that are ours and not the program's (README, "exit codes"). */
#define HOST_EXIT_INTEGRITY 3
#define HOST_EXIT_NO_START  4
#define HOST_EXIT_ABORTED   134 /* 128 + SIGABRT: the library OS gave up */

/*
 * Called after an OCALL was served and before the enclave is entered again; may change everything
 * in the block. Called by every host thread, at the same time. For tests of the library OS only.
 */
typedef void host_tamper_fn(void *arg, uint32_t thread_index, struct ocall_block *block);

struct host {
    struct device *device;
    struct host_thread *threads; /* thread_count of them, see thread.h */
    uint32_t thread_count;
    bool quiet; /* drops notes; errors, refusals and asked-for output stay */
    bool strace;
    bool stats;
    bool has_sha;  /* this CPU has the SHA instructions; found out before CPUID may fault */
    bool has_vaes; /* cpu_has_vaes(); likewise */
    const char *const *args; /* after the pinned ones */
    size_t arg_count;
    const char *const *env; /* NAME=VALUE */
    size_t env_count;
    const char *audit_path;               /* for the closing hint; NULL without --audit */
    struct audit *audit;                  /* never NULL */
    const struct manifest_view *manifest; /* for messages only; may be NULL */
    host_tamper_fn *tamper;               /* NULL: an honest host */
    void *tamper_arg;
    const struct host_options *options;
    struct tree_child *child; /* a process that another one of its tree started; else NULL */
    struct tree *tree;        /* tree.h; NULL: none (yet) */
    uint64_t elrange_size;    /* ELRANGE is [0, elrange_size) */
    uint64_t tsc_at_start;    /* 0: this machine's counter is not to be used */
    uint64_t ns_at_start;     /* CLOCK_MONOTONIC at the same moment */
    atomic_bool started;      /* the program has made its first system call */
    atomic_bool finished;
    atomic_bool start_refused; /* said once a process */
    int last_code;             /* what the closing lines saw; for tests */
};

/* Counter ticks a second, from the time that has passed since the start; 0: unknown, or that was too
 * short. A child: what its root found. */
uint64_t host_tsc_hz(const struct host *host);

/*
 * Ends the process with this exit code: closing lines, statistics, audit line, then _exit: no other
 * thread is waited for and nothing of the enclave outlives it. The first caller wins, any other
 * waits for the end. In a tree's root all its processes end with it; another process of the tree ends
 * without closing lines.
 */
NORETURN void host_finish(struct host *host, int code);
/* The same of the whole tree, from whichever process: an integrity violation stops the program. */
NORETURN void host_finish_tree(struct host *host, int code);
/* One line on stderr, then host_finish: 4 before the program's first system call, 134 after. */
NORETURN void host_give_up(struct host *host, const char *format, ...) PRINTF(2, 3);
