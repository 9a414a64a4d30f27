/*
 * Program threads on thread areas (threads.h): allotting an area, starting, ending. Tier: enclave.
 *
 * Life of an area
 *   free        !used, state NEW          thread_start() allots it: used
 *   filled      used, state FILLED        the host's entries are sent back
 *   starting    used, state NEW           OCALL_THREAD_START; the host enters; entry.S: RUNNING
 *   running     used, state RUNNING/OCALL
 *   leaving     !used, state RUNNING      thread_exit(): still runs on the area's stack
 *   free        thread_leave sets NEW as its last act; the CPU refuses an entry until EEXIT is
 * done, and the host tries again An area's fields are overwritten only while it is free, i.e. when
 * nobody runs on it.
 */
#include "thread/threads.h"

#include <asm/errno.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "process/vfork.h"
#include "signal/state.h"
#include "thread/futex.h"
#include "thread/leave_unsafe.h"
#include "thread/lock.h"
#include "thread/wait.h"
#include "tree/hub.h"
#include "tree/ptable.h"

/* Tids of other threads than the main one: the pid's number, then theirs. So no two threads of a tree
 * have the same (a robust mutex holds its owner's tid, of 30 bits), and none is a pid. */
#define TID_BITS 14
static_assert((uint64_t)PTABLE_PID_LIMIT << TID_BITS <= 1u << 30, "tids fit FUTEX_TID_MASK");
/* How often to look again for an area whose thread is about to leave it. */
#define LEAVING_TRIES 2000

static struct {
    struct lock lock;
    int32_t last_tid; /* number in the process, of TID_BITS */
    uint32_t used;    /* threads alive, the ended main thread not counted */
    uint32_t highest; /* areas below were used once */
    int32_t main_status;
    bool main_ended, ending_others; /* the latter atomic */
    bool full_logged;
} g_threads;

static uint32_t area_count(void)
{
    return PARAMS->thread_count;
}

uint32_t threads_used(void)
{
    return __atomic_load_n(&g_threads.used, __ATOMIC_RELAXED);
}

/* --- the table; the lock is held -------------------------------------------------------------- */

static struct thread *find(int32_t tid)
{
    for (uint32_t i = 0; i < g_threads.highest; i++) {
        struct thread *thread = thread_at(i);
        if (thread->used && !thread->service && thread->tid == tid)
            return thread;
    }
    return NULL;
}

static int32_t new_tid(void)
{
    int32_t tid;
    do {
        if (++g_threads.last_tid >= 1 << TID_BITS)
            g_threads.last_tid = 1;
        tid = g_process.pid << TID_BITS | g_threads.last_tid;
    } while (find(tid));
    return tid;
}

void threads_init(void)
{
    struct thread *thread = thread_at(0);
    thread->tid = g_process.pid;
    thread->used = true;
    g_threads.used = g_threads.highest = 1;
    g_process.actions = signal_actions_new();
    if (!g_process.actions || signal_thread_init(thread, 0) < 0)
        panic("no memory for the first thread");
}

struct thread *thread_by_tid(int32_t tid)
{
    LOCKED(&g_threads.lock);
    return find(tid);
}

void threads_each(void (*fn)(struct thread *thread, void *arg), void *arg)
{
    LOCKED(&g_threads.lock);
    for (uint32_t i = 0; i < g_threads.highest; i++) {
        if (thread_at(i)->used && !thread_at(i)->service)
            fn(thread_at(i), arg);
    }
}

/* --- starting --------------------------------------------------------------------------------- */

/* A free area, marked used; NULL. *ret_leaving: one is about to become free. */
static struct thread *allot(bool *ret_leaving)
{
    LOCKED(&g_threads.lock);
    *ret_leaving = false;
    for (uint32_t i = 0; i < area_count(); i++) {
        struct thread *thread = thread_at(i);
        if (thread->used)
            continue;
        /* The host may be entering it this moment: one of us wins. */
        uint64_t state = THREAD_STATE_NEW;
        if (!__atomic_compare_exchange_n(&thread->state, &state, THREAD_STATE_FILLED, false,
                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            *ret_leaving = true;
            continue;
        }
        /* Everything but where and which it is, and the state. */
        size_t keep = offsetof(struct thread, host_rsp);
        memset((uint8_t *)thread + keep, 0, sizeof(*thread) - keep);
        thread->used = true;
        thread->tid = new_tid();
        g_threads.used++;
        if (i >= g_threads.highest)
            g_threads.highest = i + 1;
        return thread;
    }
    return NULL;
}

static void give_back(struct thread *thread)
{
    LOCKED(&g_threads.lock);
    thread->used = false;
    g_threads.used--;
    uint64_t state = THREAD_STATE_FILLED; /* it was never started */
    __atomic_compare_exchange_n(&thread->state, &state, THREAD_STATE_NEW, false, __ATOMIC_RELEASE,
                                __ATOMIC_RELAXED);
}

int thread_new(struct thread **ret)
{
    struct thread *thread;
    bool leaving;
    for (unsigned i = 0; !(thread = allot(&leaving)); i++) {
        if (!leaving || i >= LEAVING_TRIES) {
            if (!__atomic_exchange_n(&g_threads.full_logged, true, __ATOMIC_RELAXED))
                log_error("all %u threads are in use: --threads gives more", area_count());
            return -EAGAIN;
        }
        border_call0(OCALL_YIELD, 0);
    }
    int r = signal_thread_init(thread, current()->signal.mask);
    if (r < 0) {
        give_back(thread);
        return r;
    }
    memcpy(thread->name, current()->name, sizeof(thread->name));
    memcpy(thread->cpus_off, current()->cpus_off, sizeof(thread->cpus_off));
    *ret = thread;
    return 0;
}

int thread_start_service(void (*main)(void), struct thread **ret)
{
    struct thread *thread;
    int r = thread_new(&thread);
    if (r < 0)
        return r;
    thread->signal.mask = UINT64_MAX;
    lock_take(&g_threads.lock);
    thread->service = main;
    thread->tid = 0;
    g_threads.used--;
    lock_drop(&g_threads.lock);
    *ret = thread;
    r = thread_start(thread);
    if (r < 0) {
        lock_take(&g_threads.lock);
        g_threads.used++;
        lock_drop(&g_threads.lock);
        thread_drop(thread);
        *ret = NULL;
    }
    return r;
}

void thread_drop(struct thread *thread)
{
    signal_thread_free(thread);
    give_back(thread);
}

int thread_start(struct thread *thread)
{
    __atomic_store_n(&thread->start_wanted, true, __ATOMIC_RELEASE);
    __atomic_store_n(&thread->state, THREAD_STATE_NEW, __ATOMIC_RELEASE);
    int64_t r = border_call1(OCALL_THREAD_START, 0, thread->index);
    /* A host that says no and enters it all the same: who takes start_wanted away, wins. If the
     * thread did, it runs, and what belongs to it must not be freed. */
    if (r < 0 && __atomic_exchange_n(&thread->start_wanted, false, __ATOMIC_ACQ_REL))
        return -EAGAIN;
    return 0;
}

/* --- ending ----------------------------------------------------------------------------------- */

/* The main thread's host thread is where signals and the alarm arrive: it stays. */
static NORETURN void main_stays(void)
{
    __atomic_and_fetch(&current()->work, ~(uint64_t)THREAD_WORK_EXIT, __ATOMIC_SEQ_CST);
    for (;;) {
        while (process_ending())
            thread_park_ended();
        signal_park_stopped();
        (void)!thread_park(OCALL_NEVER);
    }
}

static void tell_to_end(struct thread *thread, void *arg UNUSED)
{
    if (thread == current() || (thread->index == 0 && g_threads.main_ended))
        return;
    __atomic_or_fetch(&thread->work, THREAD_WORK_EXIT, __ATOMIC_SEQ_CST);
    thread_interrupt(thread);
}

bool threads_end_others(void)
{
    bool any = false;
    if (__atomic_exchange_n(&g_threads.ending_others, true, __ATOMIC_ACQ_REL))
        thread_exit(0); /* another one was first */
    for (; threads_used() > 1; any = true) {
        threads_each(tell_to_end, NULL);
        for (int i = 0; i < 100 && threads_used() > 1; i++)
            border_call0(OCALL_YIELD, 0);
    }
    __atomic_store_n(&g_threads.ending_others, false, __ATOMIC_RELEASE);
    return any;
}

void thread_exit(int status)
{
    struct thread *thread = current();

    if (process_current()->vfork)
        vfork_abandon();

    hub_thread_done();
    if (thread->robust_list)
        futex_robust_exit(thread->robust_list, (uint32_t)thread->tid);

    lock_take(&g_threads.lock);
    if (thread->index == 0) {
        g_threads.main_status = status;
        g_threads.main_ended = true;
    }
    bool last = --g_threads.used == 0;
    int main_status = g_threads.main_status;
    lock_drop(&g_threads.lock);
    if (last)
        process_exit(main_status);

    uint64_t clear = thread->clear_child_tid;
    if (thread->index == 0) {
        signal_set_mask(UINT64_MAX);
        thread->signal.mask = UINT64_MAX; /* others take also those that cannot be blocked */
        if (clear && user_store32((uint32_t *)(uintptr_t)clear, 0) == 0)
            futex_wake((const uint32_t *)(uintptr_t)clear, 1, FUTEX_ANY);
        main_stays();
    }

    signal_thread_done();
    lock_take(&g_threads.lock);
    thread->used = false;
    lock_drop(&g_threads.lock);
    /* From here on the area is leaving. pthread_join waits for the word, then may clone at once. */
    if (clear && user_store32((uint32_t *)(uintptr_t)clear, 0) == 0)
        futex_wake((const uint32_t *)(uintptr_t)clear, 1, FUTEX_ANY);
    thread_leave_host();
}
