/*
 * vfork(2): the calling thread plays the child until that execs or ends; then it is the parent again, as
 * if its call had just returned. Meanwhile it has a process context of its own (descriptors, cwd, umask,
 * dispositions, signal mask and pending signals), and the parent's memory, as on Linux. The parent's other
 * threads go on, and its signals wait or go to them. Tier: enclave.
 *
 *   vfork_begin ──► child runs ──► execve: spawn_exec() = 0 ────────────────► vfork_return
 *                     │  └──────── exit, exit_group ──────┬► spawn_pid_exit ──► vfork_return
 *                     └─────────── a signal kills it ─────┘
 *
 * A child can neither vfork, fork nor make threads (EAGAIN).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/cpu.h"
#include "arch/regs.h"
#include "arch/thread.h"
#include "core/attr.h"
#include "process/process.h"
#include "signal/signal.h"

struct limits;
struct signal_private;

struct vfork {
    struct cpu_state ALIGNED(64) state; /* the parent's, at its call: what is not in regs */
    struct regs regs;
    struct process child;
    struct process *parent;         /* what the thread played before */
    struct thread_signal signal;    /* the parent's part of the thread: signal/signal.c */
    struct signal_private *private; /* the child's, until it begins */
    uint64_t clear_child_tid, robust_list;
    char name[16];
    struct limits *limits; /* the child's */
};

struct vfork_wish {
    uint64_t stack;      /* new rsp, or 0 */
    bool set_tls;        /* CLONE_SETTLS */
    bool clear_handlers; /* CLONE_CLEAR_SIGHAND */
    uint64_t tls, clear_child_tid;
    uint64_t pidfd; /* address for the child's pidfd, or 0 */
    int exit_signal;
};
/* regs: the caller's of vfork(2) or its like. 0: the calling thread is the child now. -EAGAIN, -ENOMEM, -EINVAL,
 * -EMFILE, -EFAULT. */
MUST_CHECK int vfork_begin(struct regs *regs, const struct vfork_wish *wish);

/* Only where process_current()->vfork: the child became another program; the parent goes on. */
NORETURN void vfork_return(void);
/* The child ends; status as wait4 gives it. */
NORETURN void vfork_end(int32_t status);
/* The thread itself ends: the child it plays is killed. */
void vfork_abandon(void);
/* The enclave's process ends: so do all children that threads play. */
void vfork_end_all(void);
/* A signal from elsewhere for a vfork child that lives here. false: there is none with this pid. */
bool vfork_signal(int32_t pid, const struct signal_info *info);
