#include "host/thread.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/alarm.h"
#include "host/ocall.h"
#include "host/signals.h"
#include "host/tree.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static __thread struct host_thread *t_self;
static pthread_mutex_t g_pool_lock = PTHREAD_MUTEX_INITIALIZER;

static long futex_wait(void *word, uint32_t value, const struct timespec *deadline)
{
    /* FUTEX_WAIT_BITSET: the deadline is absolute, on CLOCK_MONOTONIC (futex(2)). */
    long r = syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, deadline, NULL,
                     FUTEX_BITSET_MATCH_ANY);
    return r < 0 ? -errno : r;
}

static void futex_wake(void *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

struct host_thread *thread_self(void)
{
    return t_self;
}

int thread_wake_signal(void)
{
    return SIGRTMAX - 1;
}

/* --- waking ---------------------------------------------------------------------------------- */

static void kick(struct host_thread *t)
{
    if (atomic_exchange(&t->kicked, 1))
        return;
    /* EAGAIN: the user's limit of queued signals is reached; it is ours that must not be lost. */
    while (syscall(SYS_tgkill, getpid(), t->tid, thread_wake_signal()) < 0 && errno == EAGAIN)
        sched_yield();
}

void thread_wake(struct host_thread *t, bool interrupt)
{
    int saved = errno;
    __atomic_store_n(&t->block->event, 1, __ATOMIC_SEQ_CST);
    if (interrupt)
        atomic_fetch_or(&t->interrupt, THREAD_INTERRUPT_ASKED);
    switch (atomic_load(&t->state)) {
    case THREAD_PARKED: futex_wake(&t->block->event); break;
    case THREAD_BLOCKED: kick(t); break;
    case THREAD_SERVING: tree_ring(t->host->tree); break;
    case THREAD_ENCLAVE:
        if (interrupt)
            kick(t);
        break;
    default: break;
    }
    errno = saved;
}

/* The wake signal once more, soon. Async-signal-safe. */
static void nudge(struct host_thread *t)
{
    int saved = errno;
    const struct itimerspec soon = { .it_value = { .tv_nsec = THREAD_NUDGE_NS } };
    timer_settime(t->nudge, 0, &soon, NULL);
    errno = saved;
}

bool thread_settle(struct host_thread *t, bool in_enclave)
{
    if (in_enclave)
        return t->level == 0 && atomic_load(&t->interrupt);

    uint32_t state = atomic_load(&t->state);
    bool again = (state == THREAD_BLOCKED && __atomic_load_n(&t->block->event, __ATOMIC_SEQ_CST)) ||
                 (state == THREAD_ENCLAVE && atomic_load(&t->interrupt));
    if (again)
        nudge(t);
    /* A device that can will then leave the enclave at the resume that was about to happen. */
    return again && state == THREAD_ENCLAVE;
}

/* The wake signal: from kick(), from the nudge timer, or from the alarm. */
static bool on_wake(int signal UNUSED, const siginfo_t *info, bool in_enclave, void *arg UNUSED)
{
    struct host_thread *t = t_self;
    if (!t)
        return false;
    atomic_exchange(&t->kicked, 0);
    if (info->si_code == SI_TIMER && info->si_value.sival_int == THREAD_SIGVAL_ALARM) {
        __atomic_store_n(&t->block->event, 1, __ATOMIC_SEQ_CST);
        atomic_fetch_or(&t->interrupt, THREAD_INTERRUPT_ASKED);
    }
    return thread_settle(t, in_enclave);
}

/* --- waiting --------------------------------------------------------------------------------- */

bool thread_take_event(struct host_thread *t)
{
    if (!__atomic_load_n(&t->block->event, __ATOMIC_SEQ_CST))
        return false;
    return __atomic_exchange_n(&t->block->event, 0, __ATOMIC_SEQ_CST) != 0;
}

/* Between enclaves a wake comes soon, most often: then neither side needs the kernel. */
static bool spin_for_event(struct host_thread *t, uint64_t deadline_ns)
{
    struct tree *tree = __atomic_load_n(&t->host->tree, __ATOMIC_ACQUIRE);
    if (!tree || !deadline_ns)
        return false;
    for (unsigned step = 0; tree_spin(tree, &step);)
        if (thread_take_event(t))
            return true;
    return false;
}

int thread_park(struct host_thread *t, uint64_t deadline_ns)
{
    if (thread_take_event(t) || spin_for_event(t, deadline_ns))
        return 0;

    struct timespec until = {
        .tv_sec = (time_t)(deadline_ns / 1000000000u),
        .tv_nsec = (long)(deadline_ns % 1000000000u),
    };
    int result = 0;
    atomic_store(&t->state, THREAD_PARKED);
    while (!thread_take_event(t)) {
        long r = futex_wait(&t->block->event, 0, deadline_ns == OCALL_NEVER ? NULL : &until);
        if (r == -ETIMEDOUT) {
            result = thread_take_event(t) ? 0 : -ETIMEDOUT;
            break;
        }
    }
    atomic_store_explicit(&t->state, THREAD_OUT, memory_order_release);
    return result;
}

void thread_block_begin_blind(struct host_thread *t)
{
    atomic_store(&t->state, THREAD_BLOCKED);
}

bool thread_block_begin(struct host_thread *t)
{
    atomic_store(&t->state, THREAD_BLOCKED);
    if (!thread_take_event(t))
        return true;
    thread_block_end(t);
    return false;
}

void thread_block_end(struct host_thread *t)
{
    atomic_store_explicit(&t->state, THREAD_OUT, memory_order_release);
}

/* --- the way in ------------------------------------------------------------------------------ */

static NORETURN void lost(struct host_thread *t, const struct device_run *run, int r)
{
    if (r < 0)
        host_give_up(t->host, "thread %u cannot enter the enclave: %s", t->index, strerror(-r));
    if (run->exit == DEVICE_LOST)
        host_give_up(t->host, "the enclave is gone; nothing of it can be saved");
    host_give_up(t->host,
                 "the library OS failed in its exception stage: thread %u, vector %u, error code "
                 "0x%llx, address 0x%llx",
                 t->index, run->vector, (unsigned long long)run->error_code,
                 (unsigned long long)run->address);
}

static int enter(struct host_thread *t, struct device_run *run)
{
    *run = (struct device_run){
        .tcs = LAYOUT_THREADS + t->index * LAYOUT_THREAD_STRIDE + LAYOUT_THREAD_TCS,
        .rdi = (uint64_t)(uintptr_t)t->block,
    };
    return device_enter(t->host->device, run);
}

/* From an AEX at level 0 to what ends it: the exception stage, then level 0 resumed. */
static int pass_in(struct host_thread *t, struct device_run *run)
{
    int r;
    do {
        /* Taken before the entry: an interrupt that comes while the stage runs asks for another. */
        atomic_store(&t->interrupt, 0);
        t->level = 1;
        r = enter(t, run);
        if (r < 0 || run->exit != DEVICE_EEXIT)
            lost(t, run, r);
        t->level = 0;
    } while (atomic_load(&t->interrupt));
    return device_resume(t->host->device, run);
}

/* Case A. An interrupt that only signals from outside asked for is over once the library OS has taken them,
 * as it does after each wait. */
static bool interrupt_left(struct host_thread *t)
{
    if (atomic_load(&t->interrupt) == THREAD_INTERRUPT_SIGNALS) {
        /* Taken back before the look: a signal that comes after it asks again. */
        atomic_fetch_and(&t->interrupt, ~(uint32_t)THREAD_INTERRUPT_SIGNALS);
        if (__atomic_load_n(&t->block->signals, __ATOMIC_SEQ_CST))
            atomic_fetch_or(&t->interrupt, THREAD_INTERRUPT_SIGNALS);
    }
    return atomic_load(&t->interrupt) != 0;
}

/* Enters at level 0 and serves what comes out, until OCALL_THREAD_EXIT. */
static void run_thread(struct host_thread *t)
{
    struct device_run run;
    t->ended = false;
    while (!t->ended) {
        atomic_store(&t->state, THREAD_ENCLAVE);
        if (interrupt_left(t))
            nudge(t);
        int r = enter(t, &run);
        while (r == 0 && run.exit != DEVICE_EEXIT) {
            if (run.exit == DEVICE_LOST)
                lost(t, &run, 0);
            /* The library OS has no #UD of its own: this is the program's first system call. */
            if (run.exit == DEVICE_EXCEPTION && run.vector == SGX_VECTOR_UD &&
                !atomic_load_explicit(&t->host->started, memory_order_relaxed))
                atomic_store(&t->host->started, true);
            r = pass_in(t, &run);
        }
        if (r < 0)
            lost(t, &run, r);
        /* A stale ENCLAVE costs a sender a needless signal, no more: no fence here. */
        atomic_store_explicit(&t->state, THREAD_OUT, memory_order_release);
        ocall_serve(t);
    }
}

static NORETURN void serve_starts(struct host_thread *t)
{
    for (;;) {
        while (atomic_load(&t->starts) == 0)
            futex_wait(&t->starts, 0, NULL);
        atomic_fetch_sub(&t->starts, 1);
        run_thread(t);
    }
}

/* --- the pool -------------------------------------------------------------------------------- */

int thread_init(struct host_thread *t, struct host *host, uint32_t index)
{
    /* A page before and after it that nobody may touch: an enclave that writes beside its block is
     * found out. */
    uint8_t *room = mmap(NULL, OCALL_BLOCK_SIZE + 2 * LAYOUT_PAGE, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return -ENOMEM;
    uint8_t *block = room + LAYOUT_PAGE;
    if (mprotect(block, OCALL_BLOCK_SIZE, PROT_READ | PROT_WRITE) < 0) {
        munmap(room, OCALL_BLOCK_SIZE + 2 * LAYOUT_PAGE);
        return -ENOMEM;
    }
    t->host = host;
    t->index = index;
    t->data = block + OCALL_HEAD_SIZE;
    struct ocall_block *head = (struct ocall_block *)block;
    head->magic = OCALL_MAGIC;
    head->version = OCALL_VERSION;
    __atomic_store_n(&t->block, head, __ATOMIC_RELEASE); /* thread_at() looks without the lock */
    return 0;
}

void thread_done(struct host_thread *t)
{
    if (t->block)
        munmap((uint8_t *)t->block - LAYOUT_PAGE, OCALL_BLOCK_SIZE + 2 * LAYOUT_PAGE);
    t->block = NULL;
}

int thread_pool_init(struct host *host, uint32_t thread_count, struct err *err)
{
    if (thread_count == 0 || thread_count > LAYOUT_THREADS_MAX)
        return err_set(err, -EINVAL, "%u threads; 1 to %u are possible", thread_count,
                       LAYOUT_THREADS_MAX);
    host->threads = calloc(thread_count, sizeof(*host->threads));
    if (!host->threads)
        return err_set(err, -ENOMEM, "out of memory for %u threads", thread_count);
    host->thread_count = thread_count;
    for (uint32_t i = 0; i < thread_count; i++) {
        host->threads[i].host = host;
        host->threads[i].index = i;
    }
    if (thread_init(&host->threads[0], host, 0) < 0)
        return err_set(err, -ENOMEM, "out of memory for the main thread's OCALL block");
    return device_on_signal(host->device, thread_wake_signal(), on_wake, NULL, err);
}

struct host_thread *thread_at(struct host *host, uint64_t index)
{
    if (index >= host->thread_count)
        return NULL;
    struct host_thread *t = &host->threads[index];
    return __atomic_load_n(&t->block, __ATOMIC_ACQUIRE) ? t : NULL;
}

int thread_attach(struct host_thread *t, struct err *err)
{
    t->tid = (pid_t)syscall(SYS_gettid);
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD_ID,
        .sigev_signo = thread_wake_signal(),
        .sigev_notify_thread_id = t->tid,
    };
    if (timer_create(CLOCK_MONOTONIC, &event, &t->nudge) < 0)
        return err_set(err, -errno, "making a thread's timer: %s", strerror(errno));
    int r = device_thread_begin(t->host->device, err);
    if (r < 0) {
        timer_delete(t->nudge);
        return r;
    }
    t_self = t;
    return 0;
}

void thread_detach(struct host_thread *t)
{
    t_self = NULL;
    device_thread_end(t->host->device);
    timer_delete(t->nudge);
}

int thread_run_main(struct host *host, struct err *err)
{
    struct host_thread *t = &host->threads[0];
    int r = thread_attach(t, err);
    if (r < 0)
        return r;
    r = alarm_init(host, err);
    if (r == 0)
        r = signals_install(host, err);
    if (r < 0) {
        thread_detach(t);
        return r;
    }
    t->has_host_thread = true;
    atomic_store(&t->starts, 1);
    serve_starts(t);
}

static void *thread_main(void *arg)
{
    struct host_thread *t = arg;
    struct err err = { 0 };
    if (thread_attach(t, &err) < 0)
        host_give_up(t->host, "starting thread %u: %s", t->index, err.text);
    serve_starts(t);
}

static int spawn(struct host_thread *t)
{
    pthread_attr_t attr;
    pthread_t id;
    sigset_t before;
    int r = pthread_attr_init(&attr);
    if (r)
        return -EAGAIN;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    /* Signals from outside are the main thread's. */
    signals_block(&before);
    /* The smallest possible stack holds the static TLS too: EINVAL says that it does not fit. */
    r = EINVAL;
    for (size_t size = THREAD_STACK_SIZE; r == EINVAL && size <= 16 * THREAD_STACK_SIZE;
         size *= 2) {
        r = pthread_attr_setstacksize(&attr, size);
        if (r == 0)
            r = pthread_create(&id, &attr, thread_main, t);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return r ? -EAGAIN : 0;
}

int thread_start(struct host *host, uint64_t index)
{
    if (index >= host->thread_count)
        return -EINVAL;
    struct host_thread *t = &host->threads[index];
    int r = 0;

    pthread_mutex_lock(&g_pool_lock);
    if (!t->block)
        r = thread_init(t, host, (uint32_t)index);
    if (r == 0 && !t->has_host_thread) {
        r = spawn(t);
        t->has_host_thread = r == 0;
    }
    if (r == 0) {
        /* The one that had this TCS before may still be on its way out: it takes the start up. */
        atomic_fetch_add(&t->starts, 1);
        futex_wake(&t->starts);
    }
    pthread_mutex_unlock(&g_pool_lock);
    return r < 0 ? -EAGAIN : 0;
}
