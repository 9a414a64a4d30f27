/*
 * Waiting (wait.h). Tier: enclave.
 *
 * No wake-up is lost. The sleeper S and the waker W, all accesses sequentially consistent:
 *
 *      S                                         W
 *      waitq_add, look at the condition          change the condition
 *                                                waitq_wake: S.wake := 1
 *      S.parked := 1                             is S.parked 1? then OCALL_UNPARK(S)
 *      is S.wake or S.work set? then no sleep
 *      OCALL_PARK
 *
 *   A. W changes the condition before S looks: S does not sleep.
 *   B. W sets wake before S's second look: S does not sleep.
 *   C. W sets wake after it: then W sees parked = 1 and calls the host, whose event word is sticky:
 *      OCALL_PARK returns whether it began before or after.
 *   D. S is woken by something else meanwhile and leaves: wake or the event stays set, and the next
 * park returns early once. Every caller of thread_park looks at its condition again. Signals are
 * the same with work (THREAD_WORK_SIGNAL, _EXIT) in the place of wake.
 *
 * The host may return from OCALL_PARK at any time: S looks again and goes back to sleep; it
 * believes in a deadline only by the enclave's own clock. A host that never returns has stopped the
 * thread.
 */
#include "thread/wait.h"

#include <asm/errno.h>
#include <asm/poll.h>

#include "arch/string.h"
#include "border/border.h"
#include "process/process.h"
#include "signal/signal.h"
#include "thread/timer.h"

/* How many threads are unparked per turn of the queue's lock. */
#define WAKE_BATCH 16

/* Poll results that the host may report without being asked for them. */
#define POLL_ALWAYS (POLLERR | POLLHUP | POLLNVAL)

/* The queue is locked. */
static void unlink_waiter(struct waitq *queue, struct waiter *waiter)
{
    *(waiter->prev ? &waiter->prev->next : &queue->first) = waiter->next;
    *(waiter->next ? &waiter->next->prev : &queue->last) = waiter->prev;
    waiter->next = waiter->prev = NULL;
    __atomic_store_n(&waiter->queue, NULL, __ATOMIC_RELEASE);
}

void waitq_add(struct waitq *queue, struct waiter *waiter)
{
    LOCKED(&queue->lock);
    waiter->woken = false;
    waiter->next = NULL;
    waiter->prev = queue->last;
    *(queue->last ? &queue->last->next : &queue->first) = waiter;
    queue->last = waiter;
    __atomic_store_n(&waiter->queue, queue, __ATOMIC_SEQ_CST);
}

void waitq_remove(struct waiter *waiter)
{
    for (;;) {
        struct waitq *queue = __atomic_load_n(&waiter->queue, __ATOMIC_ACQUIRE);
        if (!queue)
            return;
        LOCKED(&queue->lock);
        /* It may have been woken or moved to another queue until we had the lock. */
        if (__atomic_load_n(&waiter->queue, __ATOMIC_RELAXED) == queue) {
            unlink_waiter(queue, waiter);
            return;
        }
    }
}

uint32_t waitq_wake(struct waitq *queue, uint32_t max)
{
    uint32_t woken = 0;

    /* Whoever adds itself looks at its condition afterwards: an empty queue needs no lock. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&queue->first, __ATOMIC_RELAXED))
        return 0;

    bool again = true;
    while (again) {
        struct thread *batch[WAKE_BATCH];
        uint32_t batch_count = 0;
        lock_take(&queue->lock);
        struct waiter *waiter = queue->first;
        while (waiter && woken < max && batch_count < WAKE_BATCH) {
            struct waiter *next = waiter->next;
            if (waiter->notify) {
                /* Told in the first turn only; later turns would tell it again for one event. */
                if (woken == batch_count)
                    waiter->notify(waiter);
            } else {
                /* Once off the queue the waiter, on its thread's stack, may be gone. */
                struct thread *thread = waiter->thread;
                waiter->woken = true;
                unlink_waiter(queue, waiter);
                batch[batch_count++] = thread;
                woken++;
            }
            waiter = next;
        }
        again = waiter && woken < max;
        lock_drop(&queue->lock);
        for (uint32_t i = 0; i < batch_count; i++)
            thread_unpark(batch[i]);
    }
    return woken;
}

/* One way round of a park: 1: leave with *ret, 0: sleep (parked is set, take it back afterwards).
 */
static bool before_sleep(struct thread *thread, uint64_t deadline, int *ret)
{
    if (__atomic_exchange_n(&thread->wake, 0, __ATOMIC_SEQ_CST)) {
        *ret = 0;
        return true;
    }
    /* Cleared before the look, so that what comes in after it sets it again. */
    __atomic_fetch_and(&thread->work, ~(uint64_t)THREAD_WORK_SIGNAL, __ATOMIC_SEQ_CST);
    if (signal_deliverable(thread) || process_ending() ||
        __atomic_load_n(&thread->work, __ATOMIC_SEQ_CST) & THREAD_WORK_EXIT) {
        /* Also where another thread will take the signal: somebody must translate ERESTART*. */
        __atomic_fetch_or(&thread->work, THREAD_WORK_SIGNAL, __ATOMIC_SEQ_CST);
        *ret = -EINTR;
        return true;
    }
    if (deadline != OCALL_NEVER && clock_monotonic() >= deadline) {
        *ret = -ETIMEDOUT;
        return true;
    }
    return false;
}

/* What the host is told: the main thread also wakes for timers, should the alarm not come. */
static uint64_t host_deadline(const struct thread *thread, uint64_t deadline)
{
    uint64_t timer = thread->index == 0 ? timer_next() : OCALL_NEVER;
    return timer < deadline ? timer : deadline;
}

/* Announces the sleep; false if there is a reason not to sleep. */
static bool begin_sleep(struct thread *thread)
{
    __atomic_store_n(&thread->parked, 1, __ATOMIC_SEQ_CST);
    return !__atomic_load_n(&thread->wake, __ATOMIC_SEQ_CST) &&
           !(__atomic_load_n(&thread->work, __ATOMIC_SEQ_CST) &
             (THREAD_WORK_SIGNAL | THREAD_WORK_EXIT));
}

static void end_sleep(struct thread *thread)
{
    __atomic_store_n(&thread->parked, 0, __ATOMIC_SEQ_CST);
}

int thread_park(uint64_t deadline)
{
    struct thread *thread = current();
    int ret;

    while (!before_sleep(thread, deadline, &ret)) {
        if (begin_sleep(thread))
            border_call1(OCALL_PARK, 0, host_deadline(thread, deadline));
        end_sleep(thread);
        signal_collect_host();
    }
    return ret;
}

/* Of what came back only the events are looked at, and of those only what was asked for. */
static int take_answers(struct ocall_pollfd *fds, uint32_t count, int64_t ready)
{
    int found = 0;
    if (ready == 0 || ready == -EINTR)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        struct ocall_pollfd answer = { .revents = POLLERR };
        if (ready > 0)
            border_get(&answer, i * sizeof(answer), sizeof(answer));
        /* A host that cannot poll: an error on each, so that nobody waits in vain. */
        fds[i].revents = (uint16_t)(answer.revents & (fds[i].events | POLL_ALWAYS));
        found += fds[i].revents != 0;
    }
    return found;
}

int thread_park_poll(struct ocall_pollfd *fds, uint32_t count, uint64_t deadline)
{
    struct thread *thread = current();
    uint64_t size = (uint64_t)count * sizeof(*fds);
    int ret;

    ASSERT(size <= OCALL_DATA_SIZE);
    while (!before_sleep(thread, deadline, &ret)) {
        int64_t ready = 0;
        if (begin_sleep(thread)) {
            border_put(0, fds, size);
            ready = border_call2(OCALL_POLL, count, count, host_deadline(thread, deadline));
        }
        end_sleep(thread);
        signal_collect_host();
        int found = take_answers(fds, count, ready);
        if (found)
            return found;
    }
    return ret;
}

int thread_wait_begin(uint64_t deadline, uint64_t *ret_host)
{
    struct thread *thread = current();
    int ret;

    while (!before_sleep(thread, deadline, &ret)) {
        if (begin_sleep(thread)) {
            *ret_host = host_deadline(thread, deadline);
            return 0;
        }
        thread_wait_end();
    }
    return ret < 0 ? ret : 1;
}

void thread_wait_end(void)
{
    end_sleep(current());
    signal_collect_host();
}

int thread_poll_now(struct ocall_pollfd *fds, uint32_t count)
{
    uint64_t size = (uint64_t)count * sizeof(*fds);
    ASSERT(size <= OCALL_DATA_SIZE);
    border_put(0, fds, size);
    return take_answers(fds, count, border_call2(OCALL_POLL, count, count, 0));
}

void thread_park_hard(void)
{
    struct thread *thread = current();

    while (!__atomic_exchange_n(&thread->wake, 0, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&thread->parked, 1, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&thread->wake, __ATOMIC_SEQ_CST))
            border_call1(OCALL_PARK, 0, OCALL_NEVER);
        end_sleep(thread);
    }
}

void thread_park_once(void)
{
    struct thread *thread = current();

    __atomic_store_n(&thread->parked, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&thread->wake, __ATOMIC_SEQ_CST) &&
        !(__atomic_load_n(&thread->work, __ATOMIC_SEQ_CST) & THREAD_WORK_EXIT))
        border_call1(OCALL_PARK, 0, host_deadline(thread, OCALL_NEVER));
    end_sleep(thread);
    __atomic_store_n(&thread->wake, 0, __ATOMIC_SEQ_CST);
    signal_collect_host();
}

void thread_park_ended(void)
{
    struct thread *thread = current();

    __atomic_store_n(&thread->parked, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&thread->wake, __ATOMIC_SEQ_CST))
        border_call1(OCALL_PARK, 0, OCALL_NEVER);
    end_sleep(thread);
    __atomic_store_n(&thread->wake, 0, __ATOMIC_SEQ_CST);
    signal_pass_on();
}

void thread_park_serve(void)
{
    struct thread *thread = current();

    __atomic_store_n(&thread->parked, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&thread->wake, __ATOMIC_SEQ_CST))
        border_call1(OCALL_TREE_SERVE, 0, OCALL_NEVER);
    end_sleep(thread);
    /* Whoever woke us has written what there is to see before. */
    __atomic_store_n(&thread->wake, 0, __ATOMIC_SEQ_CST);
}

void thread_unpark(struct thread *thread)
{
    if (__atomic_exchange_n(&thread->wake, 1, __ATOMIC_SEQ_CST))
        return; /* whoever set it has told the host if there was need */
    if (thread != current() && __atomic_load_n(&thread->parked, __ATOMIC_SEQ_CST))
        border_call1(OCALL_UNPARK, 0, thread->index);
}

void thread_interrupt(struct thread *thread)
{
    if (thread == current())
        return; /* looks at its work on its way back to the program */
    if (__atomic_load_n(&thread->parked, __ATOMIC_SEQ_CST))
        border_call1(OCALL_UNPARK, 0, thread->index);
    else
        border_call1(OCALL_INTERRUPT, 0, thread->index);
}
