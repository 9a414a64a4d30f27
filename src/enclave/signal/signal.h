/*
 * Signals of one process. docs/signals.md draws the state machine. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/regs.h"
#include "arch/thread.h"
#include "core/attr.h"

/* Dispositions of a process, signal/state.h. NULL: no memory. New: all default. */
struct signal_actions;
MUST_CHECK struct signal_actions *signal_actions_new(void);
MUST_CHECK struct signal_actions *signal_actions_copy(const struct signal_actions *from);
void signal_actions_free(struct signal_actions *actions); /* NULL is fine */

/* What siginfo carries besides number and code. */
struct signal_info {
    int32_t number, code;
    uint64_t address;            /* faults */
    int32_t pid, uid;            /* kill, tgkill, sigqueue */
    uint64_t value;              /* sigqueue, timers */
    uint64_t error_code, vector; /* for the ucontext of faults */
};

/* A synchronous fault of the program: delivered now even if blocked (then the process is killed).
 */
void signal_force(struct thread *thread, const struct signal_info *info);
/* To one thread (tgkill, pthread_kill) or to the process (kill, host, timers). */
void signal_send_thread(struct thread *thread, const struct signal_info *info);
void signal_send_process(const struct signal_info *info);
/* Notes in thread->work that the host's word or a timer wants attention. Takes no lock: may be
 * called anywhere, at interrupts and after OCALLs. signal_deliverable() and signal_deliver() do the
 * rest, keeping of block->signals of the main thread only what the manifest's async_signals allows.
 */
void signal_collect_host(void);
/* This enclave's program has ended: what the host has goes to the tree. Call it without locks, in any thread. */
void signal_pass_on(void);
/* Anything unblocked pending for this thread? Asked by the thread itself, without locks, it first
 * takes over what the host and due timers have. */
bool signal_deliverable(const struct thread *thread);
/* On the way back to the program, when THREAD_WORK_SIGNAL is set: builds the handler's frame and
 * changes regs (setting regs->full), applies the default action, or restarts the system call
 * (regs-> orig_rax, regs->rax == -ERESTART*). */
void signal_deliver(struct regs *regs);
/* While the process is stopped (and the calling thread plays no child): waits, taking what the host has. */
void signal_park_stopped(void);
/* For /proc/PID/status, of the process that the calling thread plays. */
struct signal_sets {
    uint64_t thread_pending, process_pending, blocked, ignored, caught;
};
void signal_sets_get(struct signal_sets *ret);
/* thread->work |= THREAD_WORK_SIGNAL where needed, after mask or pending changed. */
void signal_update(struct thread *thread);

/* Library-OS internal results, never seen by the program (Linux include/linux/errno.h). */
#define ERESTARTSYS           512
#define ERESTARTNOINTR        513
#define ERESTARTNOHAND        514
#define ERESTART_RESTARTBLOCK 516
