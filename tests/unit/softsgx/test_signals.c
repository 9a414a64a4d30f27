/* Host signals at any instruction: nothing of the enclave's or the host's state is lost, no
 * interrupt is lost, no page is accepted twice. Several threads at once. */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define R    SGX_SECINFO_R
#define W    SGX_SECINFO_W
#define X    SGX_SECINFO_X
#define REG  SGX_SECINFO_REG
#define PEND SGX_SECINFO_PENDING

static _Atomic uint32_t g_seen, g_inside;
static _Atomic uint32_t g_interrupt; /* every n-th signal interrupts; 0: never */
static __thread uint64_t t_canary = 0x1122334455667788;

static bool on_signal(int signal UNUSED, const siginfo_t *info UNUSED, bool in_enclave,
                      void *arg UNUSED)
{
    uint32_t n = atomic_fetch_add(&g_seen, 1), every = atomic_load(&g_interrupt);
    if (t_canary != 0x1122334455667788)
        abort(); /* FS is not the host's */
    if (in_enclave)
        atomic_fetch_add(&g_inside, 1);
    return every && n % every == 0;
}

static void storm(struct fixture *f, uint32_t interval_us, uint32_t interrupt_every)
{
    struct itimerval timer = { { 0, interval_us }, { 0, interval_us } };
    atomic_store(&g_seen, 0);
    atomic_store(&g_inside, 0);
    atomic_store(&g_interrupt, interrupt_every);
    assert_int_equal(softsgx_on_signal(f->s, SIGALRM, on_signal, NULL, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void calm(void)
{
    struct itimerval off = { 0 };
    assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Enters and sees it through whatever interrupts: EEXIT at last. The number of interrupts. */
static uint32_t through(struct fixture *f, struct softsgx_run *run)
{
    uint32_t interrupts = 0;
    te_enter(f, run);
    while (run->exit != SOFTSGX_EEXIT) {
        assert_int_equal(run->exit, SOFTSGX_INTERRUPT);
        interrupts++;
        struct softsgx_run nested = *run;
        nested.rdi = C_NOP;
        assert_int_equal(softsgx_enter(f->s, &nested), 0);
        while (nested.exit == SOFTSGX_INTERRUPT) /* CSSA is NSSA now: only back */
            assert_int_equal(softsgx_resume(f->s, &nested), 0);
        assert_int_equal(nested.exit, SOFTSGX_EEXIT);
        te_resume(f, run);
    }
    return interrupts;
}

static void storm_at_borders(uint32_t interrupt_every, bool jumps)
{
    struct fixture f;
    fixture_up(&f, 1, jumps);
    storm(&f, 60, interrupt_every);
    double start = now();
    uint64_t rounds = 0, interrupts = 0;
    /* Long enough; longer where other work leaves it no time. */
    while (now() < start + 0.3 ||
           ((rounds <= 50 || atomic_load(&g_seen) <= 20) && now() < start + 20)) {
        for (int i = 0; i < 20; i++, rounds++) {
            struct softsgx_run run = te_run(0, C_FSGS, 0, 0, 0, 0);
            interrupts += through(&f, &run);
        }
    }
    calm();
    assert_int_equal(te_result(&f, 0, 0), te_thread(0) + TE_BLOCK);
    assert_int_equal(te_result(&f, 0, 1), te_thread(0) + TE_BLOCK);
    assert_true(rounds > 50 && atomic_load(&g_seen) > 20);
    if (interrupt_every == 0)
        assert_int_equal(interrupts, 0);
    fixture_down(&f);
}

static void test_borders(void **state UNUSED)
{
    storm_at_borders(0, true);
    storm_at_borders(1, true);
    storm_at_borders(3, false);
}

/* A loop that checks each of its registers, ymm included, while interrupts come; ended from
 * outside. */
static void *end_spin(void *arg)
{
    struct fixture *f = arg;
    usleep(250000);
    for (int i = 0; i < 200 && atomic_load(&g_inside) <= 20; i++)
        usleep(100000);
    te_poke(f, TE_DATA, 1);
    return NULL;
}

static void test_spin(void **state UNUSED)
{
    for (uint32_t every = 0; every < 3; every++) {
        struct fixture f;
        pthread_t thread;
        sigset_t alarm, old;
        fixture_up(&f, 1, true);
        sigemptyset(&alarm);
        sigaddset(&alarm, SIGALRM);
        pthread_sigmask(SIG_BLOCK, &alarm, &old);
        pthread_create(&thread, NULL, end_spin, &f);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        storm(&f, 100, every);
        struct softsgx_run run = te_run(0, C_SPIN, TE_DATA, 0, 0, 0);
        uint32_t interrupts = through(&f, &run);
        calm();
        pthread_join(thread, NULL);
        assert_int_equal(te_result(&f, 0, 0), 0); /* mismatches */
        assert_true(te_result(&f, 0, 1) > 1000);
        assert_true(atomic_load(&g_inside) > 20);
        assert_true(every == 0 ? interrupts == 0 : interrupts > 10 || f.s->options.poison);
        fixture_down(&f);
    }
}

/* Interrupts while leaves run, by trap and by thunk. */
static void leaves(bool jumps)
{
    struct fixture f;
    fixture_up(&f, 1, jumps);
    te_poke(&f, TE_DATA + 0x1000, 0xabcdef);
    storm(&f, 60, 2);
    uint64_t page = 0x10000000, count = jumps ? 2000 : 200;
    for (double end = now() + 0.3; now() < end && page < 0x38000000;) {
        te_secinfo(&f, REG | R | W | PEND);
        struct softsgx_run run = te_run(0, C_MANY, 0, page, TE_DATA, count);
        (void)through(&f, &run);
        if (te_peek(&f, te_thread(0) + TE_BLOCK + B_RESULT) != 0)
            fail_msg("EACCEPT: %llu pages refused", (unsigned long long)te_result(&f, 0, 0));
        for (uint64_t i = 0; i < count; i++)
            assert_int_equal(epcm_get(f.s, page + i * 4096), EPCM_REG | 3);
        page += count * 4096;

        te_secinfo(&f, REG | R | X);
        run = te_run(0, C_COPIES, TE_DATA + 0x1000, page, TE_DATA, count / 10);
        (void)through(&f, &run);
        if (te_peek(&f, te_thread(0) + TE_BLOCK + B_RESULT) != 0)
            fail_msg("EACCEPTCOPY: %llu pages refused", (unsigned long long)te_result(&f, 0, 0));
        for (uint64_t i = 0; i < count / 10; i++) {
            assert_int_equal(epcm_get(f.s, page + i * 4096), EPCM_REG | 5);
            assert_int_equal(te_peek(&f, page + i * 4096), 0xabcdef);
        }
        page += count / 10 * 4096;
    }
    calm();
    fixture_down(&f);
}

static void test_leaves(void **state UNUSED)
{
    leaves(true);
    leaves(false);
}

/* An interrupt outside, before ERESUME, is not lost; before EENTER at CSSA 0 it is void. */
static void test_pending(void **state UNUSED)
{
    struct fixture f;
    fixture_up(&f, 1, true);
    atomic_store(&g_interrupt, 1);
    assert_int_equal(softsgx_on_signal(f.s, SIGUSR1, on_signal, NULL, NULL), 0);
    raise(SIGUSR1);
    te_do(&f, 0, C_NOP, 0, 0, 0, 0);

    struct softsgx_run run = te_run(0, C_READ, 0xdead000000, 0, 0, 0);
    te_enter(&f, &run);
    assert_int_equal(run.exit, SOFTSGX_EXCEPTION);
    te_do(&f, 0, C_SSA_RIP, 3, 0, 0, 0);
    raise(SIGUSR1);
    assert_int_equal(softsgx_resume(f.s, &run), 0);
    assert_int_equal(run.exit, SOFTSGX_INTERRUPT);
    te_resume(&f, &run);
    assert_int_equal(run.exit, SOFTSGX_EEXIT);
    assert_int_equal(softsgx_on_signal(f.s, SIGSEGV, on_signal, NULL, NULL), -EINVAL);
    fixture_down(&f);
}

/* A signal to a thread that never began. */
static void *outsider(void *arg UNUSED)
{
    uint32_t before = atomic_load(&g_seen);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1);
    return (void *)(uintptr_t)(atomic_load(&g_seen) - before);
}

static void test_outsider(void **state UNUSED)
{
    struct fixture f;
    pthread_t thread;
    void *seen;
    fixture_up(&f, 1, true);
    assert_int_equal(softsgx_on_signal(f.s, SIGUSR1, on_signal, NULL, NULL), 0);
    pthread_create(&thread, NULL, outsider, NULL);
    pthread_join(thread, &seen);
    assert_int_equal((uintptr_t)seen, 1);
    fixture_down(&f);
}

/* ---- threads -------------------------------------------------------------------------------- */

#define THREADS 6

struct worker {
    struct fixture *f;
    uint32_t index;
    uint64_t rounds;
    pthread_t thread;
};

/* Each accepts, copies, touches, and takes pages away again, next to the others'. */
static void *work(void *arg)
{
    struct worker *w = arg;
    struct fixture *f = w->f;
    uint64_t base = 0x10000000 + w->index * 0x11000ull, done;
    uint64_t secinfo = TE_DATA + 0x8000 + w->index * 64;
    assert_int_equal(softsgx_thread_begin(f->s, NULL), 0);
    for (double end = now() + 0.4; w->rounds == 0 || now() < end; w->rounds++) {
        struct softsgx_run run;
        te_poke(f, secinfo, REG | R | W | PEND);
        run = te_run(w->index, C_MANY, 0, base, secinfo, 16);
        (void)through(f, &run);
        run = te_run(w->index, C_TOUCH, base, 16, 0, 0);
        (void)through(f, &run);
        for (uint64_t i = 0; i < 16; i++)
            if (te_peek(f, base + i * 4096) != 0x5a)
                abort();
        if (softsgx_modify_type(f->s, base, 16, SGX_PT_TRIM, &done) != 0 || done != 16)
            abort();
        te_poke(f, secinfo, SGX_SECINFO_TRIM | SGX_SECINFO_MODIFIED);
        run = te_run(w->index, C_MANY, 0, base, secinfo, 16);
        (void)through(f, &run);
        if (softsgx_remove(f->s, base, 16, &done) != 0 || done != 16)
            abort();
        run = te_run(w->index, C_FSGS, 0, 0, 0, 0);
        (void)through(f, &run);
        if (te_result(f, w->index, 0) != te_thread(w->index) + TE_BLOCK)
            abort();
    }
    softsgx_thread_end(f->s);
    return NULL;
}

static void test_threads(void **state UNUSED)
{
    for (int jumps = 0; jumps < 2; jumps++) {
        struct fixture f;
        struct worker workers[THREADS] = { 0 };
        fixture_up(&f, THREADS, jumps);
        storm(&f, 300, 2);
        for (uint32_t i = 0; i < THREADS; i++) {
            workers[i].f = &f;
            workers[i].index = i;
            assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        }
        for (uint32_t i = 0; i < THREADS; i++)
            pthread_join(workers[i].thread, NULL);
        calm();
        for (uint32_t i = 0; i < THREADS; i++)
            assert_true(workers[i].rounds > 0);
        fixture_down(&f);
    }
}

/* Two threads copy to the same pages: each page has one winner. */
struct racer {
    struct fixture *f;
    uint32_t index;
    uint64_t refused;
    pthread_t thread;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    assert_int_equal(softsgx_thread_begin(r->f->s, NULL), 0);
    struct softsgx_run run = te_run(r->index, C_COPIES, TE_DATA + 0x1000 + r->index * 0x1000ull,
                                    0x20000000, TE_DATA, 1000);
    (void)through(r->f, &run);
    r->refused = te_result(r->f, r->index, 0);
    softsgx_thread_end(r->f->s);
    return NULL;
}

static void test_copy_race(void **state UNUSED)
{
    for (int jumps = 0; jumps < 2; jumps++) {
        struct fixture f;
        struct racer racers[2] = { { &f, 0, 0, 0 }, { &f, 1, 0, 0 } };
        fixture_up(&f, 2, jumps);
        te_secinfo(&f, REG | R);
        te_poke(&f, TE_DATA + 0x1000, 1);
        te_poke(&f, TE_DATA + 0x1ff8, 1);
        te_poke(&f, TE_DATA + 0x2000, 2);
        te_poke(&f, TE_DATA + 0x2ff8, 2);
        storm(&f, 100, 2);
        for (int i = 0; i < 2; i++)
            pthread_create(&racers[i].thread, NULL, race, &racers[i]);
        for (int i = 0; i < 2; i++)
            pthread_join(racers[i].thread, NULL);
        calm();
        assert_int_equal(racers[0].refused + racers[1].refused, 1000);
        for (uint64_t i = 0; i < 1000; i++) {
            uint64_t first = te_peek(&f, 0x20000000 + i * 4096);
            assert_true(first == 1 || first == 2);
            assert_int_equal(te_peek(&f, 0x20000ff8 + i * 4096), first);
        }
        fixture_down(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_borders),   cmocka_unit_test(test_spin),
        cmocka_unit_test(test_leaves),    cmocka_unit_test(test_pending),
        cmocka_unit_test(test_outsider),  cmocka_unit_test(test_threads),
        cmocka_unit_test(test_copy_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
