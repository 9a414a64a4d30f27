/*
 * Waiting. A thread that waits puts a waiter on every queue it waits for, looks at its condition,
 * then parks; whoever changes the condition wakes the queue. A wake between the look and the park
 * is not lost. Parks return for nothing now and then (a mutex leaves a wake behind): look again.
 * Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "arch/thread.h"
#include "core/attr.h"
#include "thread/lock.h"

struct waiter {
    struct waiter *next, *prev;
    struct waitq *queue; /* NULL: on none */
    struct thread *thread;
    uint64_t key; /* for the queue's owner (futex bitset, poll entry) */
    bool woken;
    /* Not NULL: called instead of waking thread, which may be NULL then, with the queue locked. It
     * may take nothing but the locks of other queues further out (epoll in epoll), and the waiter
     * stays on its queue until waitq_remove. */
    void (*notify)(struct waiter *waiter);
};

/* Zero is an empty queue. */
struct waitq {
    struct lock lock;
    struct waiter *first, *last;
};

void waitq_add(struct waitq *queue, struct waiter *waiter);
/* Fine if it is on no queue any more. */
void waitq_remove(struct waiter *waiter);
/* Wakes up to max waiters, oldest first, taking them off; returns how many. */
uint32_t waitq_wake(struct waitq *queue, uint32_t max);

/* Waits for thread_unpark. Call it without locks. deadline: monotonic ns, OCALL_NEVER. 0 woken
 * (also spuriously), -ETIMEDOUT, -EINTR when a signal is to be delivered or the process ends. */
MUST_CHECK int thread_park(uint64_t deadline);
/* The same, waiting for host handles too (OCALL_POLL); fds is updated; > 0: some are ready. */
MUST_CHECK int thread_park_poll(struct ocall_pollfd *fds, uint32_t count, uint64_t deadline);
/* Asks the host without waiting; how many are ready. */
int thread_poll_now(struct ocall_pollfd *fds, uint32_t count);
/* Around another OCALL that waits as OCALL_POLL does. 0: make it, with *ret_host as its deadline, then call
 * thread_wait_end(), and if it brought nothing, begin again. 1: woken meanwhile; look again. -ETIMEDOUT, -EINTR as
 * thread_park: do not wait. Nothing in between may park or touch program memory that is not there. */
MUST_CHECK int thread_wait_begin(uint64_t deadline, uint64_t *ret_host);
void thread_wait_end(void);
/* Waits for thread_unpark whatever signals come: only for what will come soon (thread/mutex.h). */
void thread_park_hard(void);
/* Waits until anything at all happens; look again. Of signals only the end of the process matters. */
void thread_park_once(void);
/* A thread of a program that has ended, or is another enclave's now: waits until anything at all happens. The
 * host's signals, which still arrive here, go on to the tree. */
void thread_park_ended(void);
/* The hub's thread: as thread_park_hard, and the host's bell ends it too (OCALL_TREE_SERVE). */
void thread_park_serve(void);
void thread_unpark(struct thread *thread);
/* As thread_unpark, and takes it out of program code, so that it looks at thread->work. */
void thread_interrupt(struct thread *thread);
