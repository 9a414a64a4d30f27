/*
 * Host threads: one for each TCS in use, with the block through which its enclave thread calls out.
 * Enters the enclave, passes exceptions and interrupts in, serves OCALLs. Tier: hosted, untrusted.
 * Internal to src/host.
 *
 * Entry levels. At level 0 the thread is in the enclave's ordinary code (CSSA 0). An exception or
 * an interrupt leaves it at CSSA 1: the thread enters once more (level 1, the exception stage),
 * which ends with an EEXIT, and then resumes level 0. Level 1 is never interrupted again: two SSA
 * frames are all there are.
 *
 * Waking, and why nothing is lost. A sender writes (event, or event and interrupt) and then reads
 * the target's state; the target writes its state and then reads event or interrupt; both in
 * sequentially consistent order, so at least one of the two sees the other:
 *
 * A. Target in OUT: nothing is sent. It looks at event before it blocks, and at interrupt
 *    before it enters again: then it arms its own nudge timer (below), so that the entry at
 *    level 1 comes soon after, whatever the library OS looked at. Only signals from outside that it
 *    has taken by then (ocall_block.signals is 0) need none.
 *
 * B. Target in PARKED: a futex on the event word itself: FUTEX_WAKE, or the wait does not begin.
 *
 * C. Target in BLOCKED (POLL; READ, WRITE, OPEN of what may block; a futex of the tree): the wake
 *    signal breaks the system call with EINTR.
 *
 * D. Target in ENCLAVE: only for an interrupt: the wake signal causes an AEX, device_enter
 *    returns DEVICE_INTERRUPT, the thread enters at level 1.
 *
 * E. Target in SERVING (the hub of a process tree, tree.h): it sleeps on the tree's bell, and the bell
 *    is rung.
 *
 * C and D have a window: the signal may come after the target's look at event or interrupt and
 * before its `syscall` or ENCLU instruction. No handler can close it on hardware (the ENCLU is the
 * vDSO's). So the handler, when it finds the thread outside the enclave but in BLOCKED or ENCLAVE
 * with its word still set, arms this thread's nudge timer: the same signal comes again after
 * THREAD_NUDGE_NS, and so on until the system call was broken, the enclave left, or the word taken.
 *
 *   target   state=BLOCKED  event? 0 .  .  .  .  read() ......................... EINTR, event=0
 *   sender                  event=1  tgkill
 *   handler                             | outside, BLOCKED, event: arm    | timer: EINTR
 *
 * At most one wake signal is under way for each thread (kicked), however many senders there are.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "abi/layout.h"
#include "abi/ocall.h"
#include "host/host.h"
#include "util/err.h"

#define THREAD_STACK_SIZE   (64u << 10)
#define THREAD_NUDGE_NS     100000
#define THREAD_SIGVAL_ALARM 1 /* sival_int of the alarm's wake signal */

enum thread_state {
    THREAD_OUT = 0, /* outside, not waiting for anything */
    THREAD_ENCLAVE, /* inside, or about to enter or resume */
    THREAD_BLOCKED, /* in, or about to make, a system call that may block */
    THREAD_PARKED,  /* on the futex of its event word */
    THREAD_SERVING, /* on the tree's bell */
};

/* Why an entry at level 1 is asked for: bits. */
enum {
    THREAD_INTERRUPT_ASKED = 1,   /* OCALL_INTERRUPT, the alarm */
    THREAD_INTERRUPT_SIGNALS = 2, /* bits of ocall_block.signals */
};

struct host_thread {
    struct host *host;
    struct ocall_block *block; /* NULL until first started; never freed or moved afterwards */
    uint8_t *data;             /* the block's data window, OCALL_DATA_SIZE */
    uint32_t index;
    _Atomic uint32_t state;     /* enum thread_state, written by the thread itself */
    _Atomic uint32_t interrupt; /* asks for an entry at level 1: THREAD_INTERRUPT_* */
    _Atomic uint32_t kicked;    /* a wake signal is under way */
    _Atomic uint32_t starts;    /* THREAD_STARTs not yet taken up */
    volatile uint32_t level;    /* 0 or 1, written by the thread itself, read by its handlers */
    bool ended;                 /* the OCALL just served was THREAD_EXIT */
    bool has_host_thread;       /* under the pool's lock */
    pid_t tid;
    timer_t nudge;
    uint64_t counts[OCALL_COUNT]; /* OCALLs served, by number */
};

/* Makes host->threads with thread_count idle entries and the wake signal's handler. */
MUST_CHECK int thread_pool_init(struct host *host, uint32_t thread_count, struct err *err);
/* For tests that serve OCALLs without a pool: an entry with its block. Free with thread_done. */
MUST_CHECK int thread_init(struct host_thread *thread, struct host *host, uint32_t index);
void thread_done(struct host_thread *thread);
/* The calling thread's own part: its id, timer, device state. thread_detach undoes it. */
MUST_CHECK int thread_attach(struct host_thread *thread, struct err *err);
void thread_detach(struct host_thread *thread);

/* Enters thread area 0 on the calling thread. Returns only if the first entry cannot be made. */
int thread_run_main(struct host *host, struct err *err);
/* OCALL_THREAD_START. -EINVAL for an index there is not, -EAGAIN where the host has no thread left.
 */
MUST_CHECK int thread_start(struct host *host, uint64_t index);

/* The entry of this index if it was ever started, else NULL. */
struct host_thread *thread_at(struct host *host, uint64_t index);
/* Sets the event and ends the wait there may be; with interrupt also an entry at level 1 if the
 * thread is in the enclave. Any thread; async-signal-safe. */
void thread_wake(struct host_thread *thread, bool interrupt);

/* OCALL_PARK. 0 or -ETIMEDOUT; the event is cleared. */
int thread_park(struct host_thread *thread, uint64_t deadline_ns);
/* Around a system call that may block. begin: false if the event was set: it is cleared, and the
 * call must not be made (-EINTR). The pair must be closed on every path after true. */
MUST_CHECK bool thread_block_begin(struct host_thread *thread);
/* The same without looking at the event, for calls that must not fail for a stale one. */
void thread_block_begin_blind(struct host_thread *thread);
void thread_block_end(struct host_thread *thread);
/* Takes the event: true if it was set. */
bool thread_take_event(struct host_thread *thread);

/* For signals.c: what a handler on this thread has to do after it set event and interrupt.
 * Async-signal-safe. The result is the device callback's. */
bool thread_settle(struct host_thread *thread, bool in_enclave);
/* The host thread's own entry; NULL on threads that are none of ours. */
struct host_thread *thread_self(void);
int thread_wake_signal(void);
