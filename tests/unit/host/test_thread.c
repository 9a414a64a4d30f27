/*
 * Threads, waits and wakes, on a scripted device. Each case runs in a process of its own, because a
 * run ends with the process; the case's result is the exit code.
 */
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fake_device.h"
#include "host/audit.h"
#include "host/handle.h"
#include "host/log.h"

#define ROUNDS     3000
#define INTERRUPTS 300 /* each needs both threads to run: slow on a busy machine */

static int g_pipe[2];
static volatile int g_stop;
static _Atomic int g_count, g_phase;
static int g_messages = -1;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static NORETURN void child(fake_body *body)
{
    struct host host = { .device = fake_device_new(body) };
    struct err err = { 0 };
    /* A wake that is lost must fail the test, not hang it; SIGALRM is taken by the runtime. */
    struct sigevent kill_me = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
    const struct itimerspec limit = { .it_value = { .tv_sec = 100 } };
    timer_t timer;
    if (timer_create(CLOCK_MONOTONIC, &kill_me, &timer) < 0 ||
        timer_settime(timer, 0, &limit, NULL) < 0)
        _exit(97);
    if (g_messages >= 0)
        log_redirect(g_messages);
    if (pipe(g_pipe) < 0 || handle_init() < 0 || handle_add(g_pipe[0]) < 0 ||
        handle_add(g_pipe[1]) < 0 ||
        audit_new(&(const struct audit_options){ .node = "node" }, &host.audit, &err) < 0 ||
        thread_pool_init(&host, 4, &err) < 0 || thread_run_main(&host, &err) < 0)
        fprintf(stderr, "%s\n", err.text);
    _exit(99);
}

static int run_status(fake_body *body)
{
    pid_t pid = fork();
    if (pid == 0)
        child(body);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* --- bodies ---------------------------------------------------------------------------------- */

#define EXIT(block, code) fake_call(block, OCALL_EXIT, code, 0, 0)

static enum device_exit exit_7(uint32_t index UNUSED, enum fake_way way UNUSED,
                               struct ocall_block *block)
{
    if (block->magic != OCALL_MAGIC || block->version != OCALL_VERSION)
        return EXIT(block, 98);
    return EXIT(block, 7);
}

static enum device_exit exit_by_signal(uint32_t index UNUSED, enum fake_way way UNUSED,
                                       struct ocall_block *block)
{
    return fake_call(block, OCALL_EXIT, 0, SIGTERM, 0);
}

static enum device_exit panic(uint32_t index UNUSED, enum fake_way way UNUSED,
                              struct ocall_block *block)
{
    strcpy((char *)block + OCALL_HEAD_SIZE, "it \x1b broke");
    return fake_call(block, OCALL_PANIC, 10, 0, 0);
}

/* A #UD first: the program ran. */
static enum device_exit panic_later(uint32_t index, enum fake_way way, struct ocall_block *block)
{
    switch (way) {
    case FAKE_ENTER: return DEVICE_EXCEPTION;
    case FAKE_ENTER_EXCEPTION: return DEVICE_EEXIT;
    default: return panic(index, way, block);
    }
}

static enum device_exit fault_in_stage(uint32_t index UNUSED, enum fake_way way UNUSED,
                                       struct ocall_block *block UNUSED)
{
    return DEVICE_EXCEPTION;
}

static enum device_exit lost(uint32_t index UNUSED, enum fake_way way UNUSED,
                             struct ocall_block *block UNUSED)
{
    return DEVICE_LOST;
}

/* PARK with the event set, with a deadline passed, with one to come. */
static enum device_exit park(uint32_t index UNUSED, enum fake_way way UNUSED,
                             struct ocall_block *block)
{
    static uint64_t began;
    switch (g_count++) {
    case 0: block->event = 1; return fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
    case 1:
        if (block->ret != 0 || block->event != 0)
            return EXIT(block, 1);
        return fake_call(block, OCALL_PARK, 1, 0, 0);
    case 2:
        if (block->ret != -ETIMEDOUT)
            return EXIT(block, 2);
        began = now_ns();
        return fake_call(block, OCALL_PARK, began + 5000000, 0, 0);
    default: return EXIT(block, block->ret == -ETIMEDOUT && now_ns() - began >= 5000000 ? 0 : 3);
    }
}

/*
 * Two threads wake each other in turn, ROUNDS times, through `waits`: every wake must arrive.
 * Thread 1 waits by PARK, READ of an empty pipe, or POLL of it; thread 0 unparks it, and parks
 * itself.
 */
static uint32_t g_wait_nr;

static enum device_exit wait_once(struct ocall_block *block)
{
    if (g_wait_nr == OCALL_READ)
        return fake_call(block, OCALL_READ, (uint64_t)g_pipe[0], 1, 0);
    if (g_wait_nr == OCALL_POLL) {
        struct ocall_pollfd fd = { .handle = g_pipe[0], .events = 1 };
        memcpy((char *)block + OCALL_HEAD_SIZE, &fd, sizeof(fd));
        return fake_call(block, OCALL_POLL, 1, OCALL_NEVER, 0);
    }
    return fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
}

static enum device_exit ping_pong(uint32_t index, enum fake_way way UNUSED,
                                  struct ocall_block *block)
{
    static _Atomic int turn; /* whose turn it is */
    static int started;
    if (index == 0 && !started) {
        started = 1;
        return fake_call(block, OCALL_THREAD_START, 1, 0, 0);
    }
    /* READ gives -EINTR for a wake, the others 0. */
    if (index == 1 && block->nr == g_wait_nr &&
        block->ret != (g_wait_nr == OCALL_READ ? -EINTR : 0))
        return EXIT(block, 4);
    if (turn != (int)index)
        return index == 1 ? wait_once(block) : fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
    if (++g_count >= ROUNDS)
        return EXIT(block, 0);
    turn = !turn;
    return fake_call(block, OCALL_UNPARK, !index, 0, 0);
}

/*
 * Thread 1 runs in the enclave; thread 0 interrupts it INTERRUPTS times, each time waiting until
 * the exception stage has seen it. Pauses outside open the window before entry and resume.
 */
static enum device_exit interrupts(uint32_t index, enum fake_way way, struct ocall_block *block)
{
    static int started;
    if (index == 1) {
        if (way == FAKE_ENTER_EXCEPTION) {
            g_phase = 0; /* seen */
            return DEVICE_EEXIT;
        }
        if (g_count % 8 == 0)
            fake_outside_pause(20000);
        if (fake_spin(&g_stop))
            return DEVICE_INTERRUPT;
        return fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
    }
    if (!started) {
        started = 1;
        return fake_call(block, OCALL_THREAD_START, 1, 0, 0);
    }
    while (g_phase)
        sched_yield();
    if (g_count++ >= INTERRUPTS)
        return EXIT(block, 0);
    g_phase = 1;
    return fake_call(block, OCALL_INTERRUPT, 1, 0, 0);
}

/* The main thread in the enclave, in PARK, in READ: a signal from outside must reach it each time.
 */
static enum device_exit outside_signals(uint32_t index UNUSED, enum fake_way way,
                                        struct ocall_block *block)
{
    static pid_t sender;
    static const int zero;
    uint64_t bit = UINT64_C(1) << (SIGUSR1 - 1);
    if (!sender) {
        pid_t target = getpid();
        sender = fork();
        if (sender == 0) {
            for (;;) {
                if (kill(target, SIGUSR1) < 0 || getppid() != target)
                    _exit(0);
                fake_outside_pause(200000);
            }
        }
    }
    if (way == FAKE_ENTER_EXCEPTION) {
        if (__atomic_fetch_and(&block->signals, ~bit, __ATOMIC_SEQ_CST) & bit)
            g_count++;
        return DEVICE_EEXIT;
    }
    if (__atomic_fetch_and(&block->signals, ~bit, __ATOMIC_SEQ_CST) & bit)
        g_count++;
    if (g_count >= 300) {
        kill(sender, SIGKILL);
        return EXIT(block, 0);
    }
    switch (g_phase++ % 4) {
    case 0: return fake_spin(&zero) ? DEVICE_INTERRUPT : EXIT(block, 5);
    case 1: return fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
    case 2: g_wait_nr = OCALL_READ; return wait_once(block);
    default: g_wait_nr = OCALL_POLL; return wait_once(block);
    }
}

/* What the library OS took of the signals when its wait was over interrupts nothing afterwards; what it left does. */
static enum device_exit taken_signals(uint32_t index UNUSED, enum fake_way way,
                                      struct ocall_block *block)
{
    const uint64_t bit = UINT64_C(1) << (SIGUSR1 - 1);
    const struct itimerspec soon = { .it_value = { .tv_nsec = 2000000 } };
    static const int zero;
    static timer_t timer;
    if (way == FAKE_ENTER_EXCEPTION) {
        block->signals = 0;
        return DEVICE_EEXIT;
    }
    switch (g_count++) {
    case 0:
        if (timer_create(CLOCK_MONOTONIC,
                         &(struct sigevent){ .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 },
                         &timer) < 0)
            return EXIT(block, 1);
        timer_settime(timer, 0, &soon, NULL);
        return fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
    case 1:
        if (__atomic_exchange_n(&block->signals, 0, __ATOMIC_SEQ_CST) != bit)
            return EXIT(block, 2);
        return fake_call(block, OCALL_YIELD, 0, 0, 0);
    case 2:
        if (fake_spin_until(now_ns() + 5000000)) /* 50 times what it takes otherwise */
            return EXIT(block, 3);
        timer_settime(timer, 0, &soon, NULL);
        return fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
    case 3: return fake_call(block, OCALL_YIELD, 0, 0, 0);
    case 4: return block->signals == bit && fake_spin(&zero) ? DEVICE_INTERRUPT : EXIT(block, 4);
    default: return EXIT(block, block->signals ? 5 : 0);
    }
}

/* The alarm takes the main thread out of the enclave, then out of PARK; then it is taken off. */
static enum device_exit alarms(uint32_t index UNUSED, enum fake_way way, struct ocall_block *block)
{
    static const int zero;
    static uint64_t began;
    if (way == FAKE_ENTER_EXCEPTION)
        return DEVICE_EEXIT;
    switch (g_count++) {
    case 0: began = now_ns(); return fake_call(block, OCALL_ALARM, began + 3000000, 0, 0);
    case 1: return fake_spin(&zero) ? DEVICE_INTERRUPT : EXIT(block, 1);
    case 2:
        if (now_ns() - began < 3000000 || block->event != 1)
            return EXIT(block, 2);
        block->event = 0;
        return fake_call(block, OCALL_ALARM, now_ns() + 3000000, 0, 0);
    case 3: return fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
    case 4: return fake_call(block, OCALL_ALARM, 0, 0, 0); /* passed: at once */
    case 5: return fake_call(block, OCALL_PARK, OCALL_NEVER, 0, 0);
    case 6: return fake_call(block, OCALL_ALARM, now_ns() + 3000000, 0, 0);
    case 7: return fake_call(block, OCALL_ALARM, OCALL_NEVER, 0, 0);
    case 8: return fake_call(block, OCALL_PARK, now_ns() + 9000000, 0, 0);
    default: return EXIT(block, block->ret == -ETIMEDOUT ? 0 : 3);
    }
}

/* A TCS is started again and again, each time right as its thread says that it ends. */
static enum device_exit restarts(uint32_t index, enum fake_way way UNUSED,
                                 struct ocall_block *block)
{
    static _Atomic int runs;
    if (index == 2) {
        runs++;
        return fake_call(block, OCALL_THREAD_EXIT, 0, 0, 0);
    }
    if (g_count > 0 && block->ret != 0)
        return EXIT(block, 1);
    while (runs < g_count)
        ;
    if (g_count++ >= 200)
        return EXIT(block, runs == 200 ? 0 : 2);
    return fake_call(block, OCALL_THREAD_START, 2, 0, 0);
}

static enum device_exit bad_indices(uint32_t index UNUSED, enum fake_way way UNUSED,
                                    struct ocall_block *block)
{
    static const struct {
        uint32_t nr;
        uint64_t index;
    } calls[] = {
        { OCALL_THREAD_START, 4 },
        { OCALL_THREAD_START, UINT64_MAX },
        { OCALL_UNPARK, 4 },
        { OCALL_UNPARK, 1u << 31 },
        { OCALL_UNPARK, 3 /* never ran */ },
        { OCALL_INTERRUPT, UINT64_MAX },
    };
    if (g_count > 0 && block->ret != -EINVAL)
        return EXIT(block, (uint64_t)g_count);
    if (g_count == (int)ARRAY_SIZE(calls))
        return EXIT(block, 0);
    g_count++;
    return fake_call(block, calls[g_count - 1].nr, calls[g_count - 1].index, 0, 0);
}

/* Whichever thread says EXIT ends the process, also while the main thread is in the enclave. */
static enum device_exit other_exits(uint32_t index, enum fake_way way UNUSED,
                                    struct ocall_block *block)
{
    static int started;
    if (index == 1)
        return EXIT(block, 42);
    if (!started) {
        started = 1;
        return fake_call(block, OCALL_THREAD_START, 1, 0, 0);
    }
    fake_spin(&g_stop);
    return EXIT(block, 1);
}

/* --- cases ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    fake_body *body;
    uint32_t wait_nr;
    int want;
} cases[] = {
    { "exit code", exit_7, 0, 7 },
    { "killed by a signal", exit_by_signal, 0, 128 + SIGTERM },
    { "panic before the program", panic, 0, 4 },
    { "panic after its first system call", panic_later, 0, 134 },
    { "fault in the exception stage", fault_in_stage, 0, 134 },
    { "enclave lost", lost, 0, 4 },
    { "park", park, 0, 0 },
    { "wakes out of PARK", ping_pong, OCALL_PARK, 0 },
    { "wakes out of READ", ping_pong, OCALL_READ, 0 },
    { "wakes out of POLL", ping_pong, OCALL_POLL, 0 },
    { "interrupts", interrupts, 0, 0 },
    { "signals from outside", outside_signals, 0, 0 },
    { "signals that were taken", taken_signals, 0, 0 },
    { "alarm", alarms, 0, 0 },
    { "one TCS, many threads", restarts, 0, 0 },
    { "bad thread indices", bad_indices, 0, 0 },
    { "another thread exits", other_exits, 0, 42 },
};

static void test_runs(void **state UNUSED)
{
    FILE *sink = tmpfile();
    g_messages = fileno(sink);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_wait_nr = cases[i].wait_nr;
        uint64_t began = now_ns();
        int got = run_status(cases[i].body);
        print_message("%-40s %6.1f ms\n", cases[i].name, (double)(now_ns() - began) / 1e6);
        if (got != cases[i].want)
            fail_msg("%s: got %d, want %d", cases[i].name, got, cases[i].want);
    }
    char text[4096] = "";
    rewind(sink);
    size_t n = fread(text, 1, sizeof(text) - 1, sink);
    text[n] = '\0';
    assert_non_null(strstr(text, "sgxpy: it ? broke\n"));
    assert_non_null(strstr(text, "in its exception stage: thread 0, vector 6"));
    fclose(sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_runs) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
