/*
 * vfork(2): the calling thread plays the child until that execs or ends; then it is the parent again, as
 * if its call had just returned. Meanwhile it has a process context of its own (descriptors, cwd, umask,
 * dispositions, signal mask and pending signals), and the parent's memory, as on Linux. The parent's other threads
 * go on. Tier: enclave.
 *
 *   vfork_begin ──► child runs ──► execve: spawn_exec() ok ──────────────► vfork_return(pid)
 *                     │  └──────── exit, exit_group ──────┬► spawn_pid_exit ──► vfork_return(pid)
 *                     └─────────── a signal kills it ─────┘
 *
 * A child may vfork again: contexts nest. It can neither fork nor make threads (EAGAIN).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/cpu.h"
#include "arch/regs.h"
#include "arch/thread.h"
#include "core/attr.h"
#include "process/process.h"

struct vfork {
    struct process child;
    struct process *parent;      /* what the thread played before */
    struct thread_signal signal; /* the parent's part of the thread, signal/signal.c */
    struct regs regs;            /* the parent's, at its call */
    struct cpu_state *state;     /* and what is not in regs */
    uint64_t clear_child_tid, robust_list;
    char name[16];
    void *memory; /* what this struct lies in */
};

/* From a clone that means vfork, regs being the caller's. 0: the calling thread is the child now, its
 * registers as they were but for rsp (stack: new rsp, or 0) and FS (tls, if set_tls). -EAGAIN, -ENOMEM. */
struct vfork_wish {
    uint64_t stack;
    bool set_tls, clear_handlers; /* CLONE_SETTLS, CLONE_CLEAR_SIGHAND */
    uint64_t tls;
};
MUST_CHECK int vfork_begin(struct regs *regs, const struct vfork_wish *wish);
/* The child became another program, or could not be made after all (ret < 0): the parent goes on with
 * this result. Only where process_current()->vfork. */
NORETURN void vfork_return(int32_t ret);
/* The child ends; status as wait4 gives it. */
NORETURN void vfork_end(int32_t status);
/* The thread that plays the child ends altogether: its child is killed. */
void vfork_abandon(void);
/* A signal from elsewhere for a vfork child of this enclave. false: there is none with this pid. */
bool vfork_signal(int32_t pid, const struct signal_info *info);
