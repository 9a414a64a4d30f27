/*
 * The state of signals, between the files of signal/ and sys/signal.c. docs/signals.md. Tier:
 * enclave.
 */
#pragma once

#include <linux/signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "arch/regs.h"
#include "arch/thread.h"
#include "core/attr.h"
#include "signal/signal.h"
#include "thread/lock.h"
#include "thread/restart.h"
#include "thread/wait.h"

#define SIGNAL_MAX        64
#define SIGNAL_BIT(n)     (1ull << ((n)-1))
#define SIGNAL_UNMASKABLE (SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP))
#define SIGNAL_QUEUE_MAX  4096u

/* As the program gives it to rt_sigaction (struct sigaction of <asm/signal.h>, with numbers). */
struct signal_action {
    uint64_t handler;
    uint64_t flags;
    uint64_t restorer;
    uint64_t mask;
};
static_assert(sizeof(struct signal_action) == sizeof(struct sigaction), "sigaction");

#define HANDLER_DEFAULT 0u
#define HANDLER_IGNORE  1u

/* Dispositions of a process: process_current()->actions. Under g_signal.lock. */
struct signal_actions {
    struct signal_action of[SIGNAL_MAX + 1];
};

struct signal_entry {
    struct signal_entry *next;
    struct signal_info info;
};

/* A pending set: the bits are the truth, the entries say more where there was memory for them. */
struct signal_set {
    uint64_t *bits;
    struct signal_entry *first, *last;
};

/* thread->signal.private, from signal_thread_init to signal_thread_done. */
struct signal_private {
    struct signal_set set; /* bits: thread->signal.pending */
    bool forced;           /* forced_info is pending: a fault */
    struct signal_info forced_info;
    uint64_t fault_vector, fault_error, fault_address; /* of the last fault, for every ucontext */
    restart_fn *restart;
    uint64_t restart_args[RESTART_ARGS];
};

struct signal_state {
    struct lock lock;
    uint64_t pending; /* the process's */
    struct signal_set set;
    uint32_t queued;
    bool stopped; /* the process: its threads wait for SIGCONT or SIGKILL; read without the lock */
    uint64_t resumes;      /* how often one of those was sent */
    struct waitq watchers; /* signalfd */
};
extern struct signal_state g_signal;

static inline struct signal_private *signal_private(const struct thread *thread)
{
    return thread->signal.private;
}

/* A new thread: inherits the mask. -ENOMEM. */
MUST_CHECK int signal_thread_init(struct thread *thread, uint64_t mask);
/* Of a thread that never ran. */
void signal_thread_free(struct thread *thread);
/* Calling thread ends: its own signals are dropped, the process's go to others. */
void signal_thread_done(void);

/* Of the calling thread; SIGKILL and SIGSTOP stay unblocked. Signals it no longer takes go to
 * others. */
void signal_set_mask(uint64_t mask);
/* For the length of one call: mask now, the old one again at signal_mask_restore or at delivery. */
void signal_mask_swap(uint64_t mask);
/* The call ends without having been interrupted. */
void signal_mask_restore(void);

/* The calling thread begins and ends to play a vfork child; sets thread->process. */
struct vfork;
void signal_vfork_begin(struct vfork *vfork);
void signal_vfork_end(struct vfork *vfork);
/* All that is pending for this thread, blocked or not. */
uint64_t signal_pending(const struct thread *thread);
/* What is known of them, in the order in which they came, up to room; returns how many. */
uint32_t signal_pending_infos(struct signal_info *ret, uint32_t room);

/* Takes one pending signal of the set, thread's own first, faults first, lowest first. Its number,
 * 0. */
int signal_take(struct thread *thread, uint64_t set, struct signal_info *ret);
/* As the senders of signal.h, -EAGAIN when the queue is full (sigqueue). */
MUST_CHECK int signal_queue(struct thread *thread, const struct signal_info *info);
/* Drops what is pending of the set everywhere (an action became ignore). The lock is held. Returns
 * the entries to free. */
struct signal_entry *signal_flush(uint64_t set);
void signal_entries_free(struct signal_entry *entries);
bool signal_default_ignored(int number);

/* signal/frame.c: the handler's frame. false: it cannot be written. */
bool signal_frame_push(struct regs *regs, const struct signal_info *info,
                       const struct signal_action *action, uint64_t mask);
/* rt_sigreturn. -EFAULT: the frame cannot be read. */
MUST_CHECK int signal_frame_pop(struct regs *regs);
/* Bytes below the interrupted stack pointer that a frame takes at most: AT_MINSIGSTKSZ. */
uint64_t signal_frame_size(void);
/* siginfo as the program sees it. */
void signal_info_to_user(const struct signal_info *info, uint8_t ret[static 128]);

/* sigaltstack: is the address on the thread's alternate stack? */
bool signal_on_stack(const struct thread *thread, uint64_t sp);

/* signal/host_unsafe.c: what the host says came, cleared there. */
uint64_t signal_host_take(void);
bool signal_host_any(void);
