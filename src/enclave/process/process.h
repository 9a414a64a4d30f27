/*
 * Processes as the library OS sees them: the one that lives in this enclave, and for a moment the child
 * that vfork(2) has made of one of its threads. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/layout.h"
#include "abi/manifest.h"
#include "core/attr.h"
#include "core/manifest_view.h"

struct fd_table;
struct fs_state;
struct signal_actions;

/*
 * What is a process's own and not its memory. A thread's is current()->process: the enclave's, or that of
 * the vfork child that the thread plays until it execs or exits. Other threads are not disturbed: they go on in
 * the parent, as on Linux.
 */
struct process {
    int32_t pid;
    struct fd_table *fds;           /* vfs/fd.c */
    struct fs_state *fs;            /* vfs/open.c: cwd, umask */
    struct signal_actions *actions; /* signal/: dispositions */
    struct vfork *vfork;            /* NULL: an ordinary process */
    int pdeathsig;                  /* prctl(PR_SET_PDEATHSIG) */
    bool nowait; /* SIGCHLD: children reap themselves; as the table has been told */
};
extern struct process g_process;
/* current()->process; the enclave's own where that is not set yet. */
struct process *process_current(void);
/* Of the process that the calling thread plays. */
int32_t process_pid(void);
/* These ask the tree (sys/process.c), and so may make an OCALL where this is not the root. pid 0: the own one.
 * -ESRCH. */
int32_t process_ppid(void);
int32_t process_pgid(int32_t pid);
int32_t process_sid(int32_t pid);
/* The terminal's foreground group. set: -ENOTTY, -EINVAL, -EPERM, -ESRCH. */
int32_t process_tty_pgrp(void);
MUST_CHECK int process_set_tty_pgrp(int32_t pgid);
/* The enclave's own pid is known (the root's is, from the start; a child is told): before the program runs.
 * The main thread's tid is the same. */
void process_set_pid(int32_t pid);

/* The tree's root, the hub; false: a parent started this enclave. */
bool process_is_root(void);

/* Measured parameters and the opened manifest, valid after boot. */
#define PARAMS ((const struct layout_params *)LAYOUT_PARAMS)
extern struct manifest_view g_manifest;
const struct manifest_node *process_node(void);
extern bool g_strace; /* only ever true in a DEBUG enclave */
extern bool g_stats;

/* Ends the process with a status, or as killed by a signal; other threads are stopped by the host. */
NORETURN void process_exit(int status);
NORETURN void process_killed(int signal);
/* Exec in place is about to succeed: gives up what others may want of this enclave; the hub listens still. */
void process_leaves(void);
/* Exec in place has succeeded: another enclave is this process now. The root stays as the hub. */
NORETURN void process_replaced(void);
/* exit_group is under way: blocking loops give up with -EINTR. */
bool process_ending(void);
