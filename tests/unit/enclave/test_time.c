/* Clocks, sleeping, timers, timerfd, signalfd, scheduling
 * (src/enclave/thread/{clock,timer,clock_timer}.c). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

#include <cmocka.h>

#include "border/border.h"
#include "signal/signal.h"
#include "thr_fakes.h"
#include "thread/clock.h"
#include "thread/threads.h"
#include "thread/timer.h"
#include "vfs/file.h"

sys_fn sys_clock_gettime, sys_clock_getres, sys_clock_settime, sys_gettimeofday, sys_time,
    sys_nanosleep, sys_clock_nanosleep, sys_getrusage, sys_times, sys_alarm, sys_setitimer,
    sys_getitimer, sys_timer_create, sys_timer_settime, sys_timer_gettime, sys_timer_getoverrun,
    sys_timer_delete, sys_timerfd_create, sys_timerfd_settime, sys_timerfd_gettime, sys_signalfd4,
    sys_rt_sigprocmask, sys_rt_sigpending, sys_rt_sigtimedwait, sys_rt_sigaction, sys_kill,
    sys_poll, sys_sched_getaffinity, sys_sched_setaffinity, sys_sched_yield, sys_getcpu,
    sys_getpriority, sys_setpriority, sys_sched_get_priority_max, sys_membarrier, sys_rseq;

#define MS     1000000ull
#define BIT(n) (1ull << ((n)-1))

static uint64_t host_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000 * MS + (uint64_t)ts.tv_nsec;
}

static int64_t do_read(int fd, void *buf, uint64_t size)
{
    struct file *file = fd_get(fd);
    int64_t ret = file->ops->read(file, buf, size, NULL);
    file_unref(file);
    return ret;
}

/* --- the clock -------------------------------------------------------------------------------- */

static void spin_ms(unsigned ms)
{
    uint64_t until = host_ns(CLOCK_MONOTONIC) + ms * MS;
    while (host_ns(CLOCK_MONOTONIC) < until)
        (void)clock_monotonic();
}

static void test_clock_agrees(void **state UNUSED)
{
    spin_ms(30);
    for (int i = 0; i < 50; i++) {
        uint64_t before = host_ns(CLOCK_MONOTONIC), ours = clock_monotonic(),
                 after = host_ns(CLOCK_MONOTONIC);
        if (ours + 50000 < before || ours > after + 50000)
            fail_msg("monotonic off: %ld", (long)(ours - before));
        before = host_ns(CLOCK_REALTIME);
        ours = clock_realtime();
        after = host_ns(CLOCK_REALTIME);
        if (ours + 100000 < before || ours > after + 100000)
            fail_msg("realtime off: %ld", (long)(ours - before));
    }
}

static void test_clock_is_cheap(void **state UNUSED)
{
    spin_ms(30);
    uint64_t calls = g_thr_clock_calls, before = host_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < 200000; i++)
        (void)clock_monotonic();
    uint64_t each = (host_ns(CLOCK_MONOTONIC) - before) * 100 / 200000;
    print_message("clock_monotonic: %lu.%02lu ns, %lu host calls of 200000\n", each / 100,
                  each % 100, g_thr_clock_calls - calls);
    assert_true(g_thr_clock_calls - calls < 100);
}

struct reader {
    struct thr thr;
    uint64_t *shared; /* the highest time any thread has seen */
    bool went_back;
};

static void read_clock_many(void *arg)
{
    struct reader *r = arg;
    for (int i = 0; i < 20000 && !r->went_back; i++) {
        uint64_t seen = __atomic_load_n(r->shared, __ATOMIC_SEQ_CST), now = clock_monotonic();
        r->went_back = now < seen;
        while (now > seen && !__atomic_compare_exchange_n(r->shared, &seen, now, false,
                                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            ;
    }
}

/* Also while the host's clock jumps back and forth. */
static void test_never_back(void **state UNUSED)
{
    uint64_t shared = 0;
    struct reader readers[3];
    for (int i = 0; i < 3; i++) {
        readers[i] = (struct reader){ .shared = &shared };
        thr_start(&readers[i].thr, read_clock_many, &readers[i]);
    }
    for (int i = 0; i < 20; i++) {
        g_thr_clock_skew = i % 2 ? (int64_t)(20 * MS) : -(int64_t)(20 * MS);
        thr_sleep_ms(1);
    }
    g_thr_clock_skew = 0;
    for (int i = 0; i < 3; i++) {
        thr_join(&readers[i].thr);
        assert_false(readers[i].went_back);
    }
}

/* Whatever the host says the time is: it never goes back, and calls that use it end. Last of all.
 */
static void test_lying_clock(void **state UNUSED)
{
    uint64_t last = 0;
    struct timespec ts = { 0, 1 };
    struct itimerspec value = { { 0, 1000 }, { 0, 1000 } };
    int fd = (int)CALL(sys_timerfd_create, NUM(CLOCK_REALTIME), NUM(TFD_NONBLOCK));
    g_thr_clock_lies = true;
    for (int i = 0; i < 20000; i++) {
        uint64_t now = clock_monotonic(), ticks;
        assert_true(now >= last && now <= INT64_MAX);
        last = now;
        assert_true(clock_host(CLOCK_MONOTONIC) < 1ull << 62);
        (void)clock_realtime();
        CALL(sys_clock_gettime, NUM(i % 12), PTR(&ts));
        if (i % 100 == 0)
            CALL(sys_timerfd_settime, NUM(fd), NUM(i / 100 % 2), PTR(&value), NUM(0));
        (void)do_read(fd, &ticks, 8);
    }
    fd_close(fd);
    g_thr_clock_lies = false;
}

static void test_clock_calls(void **state UNUSED)
{
    struct timespec ts;
    struct timeval tv;
    static const struct {
        const char *name;
        int64_t id, want;
    } rows[] = {
        { "realtime", CLOCK_REALTIME, 0 },          { "monotonic", CLOCK_MONOTONIC, 0 },
        { "raw", CLOCK_MONOTONIC_RAW, 0 },          { "coarse", CLOCK_REALTIME_COARSE, 0 },
        { "boottime", CLOCK_BOOTTIME, 0 },          { "process", CLOCK_PROCESS_CPUTIME_ID, 0 },
        { "thread", CLOCK_THREAD_CPUTIME_ID, 0 },   { "tai", CLOCK_TAI, 0 },
        { "own by number", -1 * 8 + 6, 0 },         { "unknown", 12, -EINVAL },
        { "another process", ~1 * 8 + 2, -EINVAL }, { "descriptor clock", 3 - 8, -EINVAL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t got = CALL(sys_clock_gettime, NUM(rows[i].id), PTR(&ts));
        if (got != rows[i].want)
            fail_msg("%s: got %ld", rows[i].name, got);
    }
    assert_int_equal(CALL(sys_clock_gettime, NUM(0), NUM(8)), -EFAULT);
    assert_int_equal(CALL(sys_clock_getres, NUM(CLOCK_MONOTONIC), PTR(&ts)), 0);
    assert_int_equal(ts.tv_nsec, 1);
    assert_int_equal(CALL(sys_clock_settime, NUM(CLOCK_REALTIME), PTR(&ts)), -EPERM);
    assert_int_equal(CALL(sys_gettimeofday, PTR(&tv), NUM(0)), 0);
    assert_true(labs(tv.tv_sec - time(NULL)) <= 1);
    assert_true(labs(CALL(sys_time, NUM(0)) - time(NULL)) <= 1);
    struct rusage usage;
    assert_int_equal(CALL(sys_getrusage, NUM(RUSAGE_SELF), PTR(&usage)), 0);
    assert_int_equal(usage.ru_utime.tv_sec, 1);
    assert_int_equal(usage.ru_utime.tv_usec, 500000);
    assert_int_equal(usage.ru_maxrss, 4321);
    assert_int_equal(CALL(sys_getrusage, NUM(5), PTR(&usage)), -EINVAL);
    assert_true(CALL(sys_times, NUM(0)) > 0);
}

static void test_sleep(void **state UNUSED)
{
    struct timespec ts = { 0, 15 * (long)MS };
    uint64_t before = host_ns(CLOCK_MONOTONIC);
    assert_int_equal(CALL(sys_nanosleep, PTR(&ts), NUM(0)), 0);
    assert_true(host_ns(CLOCK_MONOTONIC) - before >= 14 * MS);

    static const struct {
        const char *name;
        clockid_t id;
    } rows[] = { { "monotonic", CLOCK_MONOTONIC }, { "realtime", CLOCK_REALTIME } };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        before = host_ns(rows[i].id);
        uint64_t until = before + 15 * MS;
        ts = (struct timespec){ (time_t)(until / 1000 / MS), (long)(until % (1000 * MS)) };
        assert_int_equal(
            CALL(sys_clock_nanosleep, NUM(rows[i].id), NUM(TIMER_ABSTIME), PTR(&ts), NUM(0)), 0);
        if (host_ns(rows[i].id) + MS < until)
            fail_msg("%s: too early", rows[i].name);
        assert_int_equal(
            CALL(sys_clock_nanosleep, NUM(rows[i].id), NUM(TIMER_ABSTIME), PTR(&ts), NUM(0)), 0);
    }
    ts = (struct timespec){ -1, 0 };
    assert_int_equal(CALL(sys_nanosleep, PTR(&ts), NUM(0)), -EINVAL);
    assert_int_equal(CALL(sys_clock_nanosleep, NUM(77), NUM(0), PTR(&ts), NUM(0)), -EINVAL);
}

/* --- timers ----------------------------------------------------------------------------------- */

static int block_all(void **state UNUSED)
{
    uint64_t mask = ~0ull;
    CALL(sys_rt_sigprocmask, NUM(SIG_SETMASK), PTR(&mask), NUM(0), NUM(8));
    return 0;
}

/* The next signal of the set, 0 if there is none for long. */
static int64_t next(uint64_t set, siginfo_t *info)
{
    struct timespec limit = { 20, 0 };
    int64_t ret = CALL(sys_rt_sigtimedwait, PTR(&set), PTR(info), PTR(&limit), NUM(8));
    return ret == -EAGAIN ? 0 : ret;
}

static void test_itimer(void **state UNUSED)
{
    siginfo_t info;
    struct itimerval value = { { 0, 10000 }, { 100, 0 } }, old;
    assert_int_equal(CALL(sys_setitimer, NUM(ITIMER_REAL), PTR(&value), NUM(0)), 0);
    assert_int_equal(CALL(sys_getitimer, NUM(ITIMER_REAL), PTR(&old)), 0);
    assert_in_range(old.it_value.tv_sec, 10, 100);
    assert_int_equal(old.it_interval.tv_usec, 10000);
    value.it_value = (struct timeval){ 0, 20000 };
    uint64_t before = host_ns(CLOCK_MONOTONIC);
    assert_int_equal(CALL(sys_setitimer, NUM(ITIMER_REAL), PTR(&value), PTR(&old)), 0);
    assert_in_range(old.it_value.tv_sec, 10, 100);
    assert_int_equal(next(BIT(SIGALRM), &info), SIGALRM);
    assert_true(host_ns(CLOCK_MONOTONIC) - before >= 20 * MS - MS);
    for (int i = 0; i < 3; i++)
        assert_int_equal(next(BIT(SIGALRM), &info), SIGALRM);
    assert_true(host_ns(CLOCK_MONOTONIC) - before >= 50 * MS - MS);
    value = (struct itimerval){ 0 };
    assert_int_equal(CALL(sys_setitimer, NUM(ITIMER_REAL), PTR(&value), NUM(0)), 0);
    assert_int_equal(CALL(sys_setitimer, NUM(9), PTR(&value), NUM(0)), -EINVAL);
    value.it_value.tv_usec = 1000000;
    assert_int_equal(CALL(sys_setitimer, NUM(ITIMER_REAL), PTR(&value), NUM(0)), -EINVAL);
    uint64_t set = BIT(SIGALRM);
    struct timespec none = { 0, 0 };
    CALL(sys_rt_sigtimedwait, PTR(&set), PTR(&info), PTR(&none), NUM(8));
}

static void test_alarm(void **state UNUSED)
{
    assert_int_equal(CALL(sys_alarm, NUM(10)), 0);
    assert_int_equal(CALL(sys_alarm, NUM(3)), 10);
    assert_int_equal(CALL(sys_alarm, NUM(0)), 3);
    assert_int_equal(CALL(sys_alarm, NUM(0)), 0);
}

static void test_cpu_timer(void **state UNUSED)
{
    siginfo_t info;
    struct itimerval value = { { 0, 0 }, { 0, 30000 } };
    uint64_t cpu = host_ns(CLOCK_PROCESS_CPUTIME_ID);
    assert_int_equal(CALL(sys_setitimer, NUM(ITIMER_PROF), PTR(&value), NUM(0)), 0);
    uint64_t set = 0;
    while (!(set & BIT(SIGPROF))) {
        (void)signal_deliverable(current());
        CALL(sys_rt_sigpending, PTR(&set), NUM(8));
        if (host_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu > 2000 * MS)
            fail_msg("did not come");
    }
    assert_true(host_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu >= 30 * MS);
    assert_int_equal(next(BIT(SIGPROF), &info), SIGPROF);
}

static void test_posix_timer(void **state UNUSED)
{
    siginfo_t info;
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL,
                              .sigev_signo = 40,
                              .sigev_value.sival_int = 4711 };
    int32_t id = -1;
    assert_int_equal(CALL(sys_timer_create, NUM(CLOCK_MONOTONIC), PTR(&event), PTR(&id)), 0);
    struct itimerspec value = { { 0, 5 * (long)MS }, { 0, 10 * (long)MS } }, now;
    assert_int_equal(CALL(sys_timer_settime, NUM(id), NUM(0), PTR(&value), NUM(0)), 0);
    assert_int_equal(CALL(sys_timer_gettime, NUM(id), PTR(&now)), 0);
    assert_true(now.it_value.tv_nsec > 0 && now.it_interval.tv_nsec == 5 * (long)MS);
    assert_int_equal(next(BIT(40), &info), 40);
    assert_int_equal(info.si_code, SI_TIMER);
    assert_int_equal(info.si_value.sival_int, 4711);
    assert_int_equal(info.si_timerid, id);
    /* Not looked at for a while: one signal, the others are its overrun. */
    thr_sleep_ms(40);
    assert_int_equal(next(BIT(40), &info), 40);
    assert_int_equal(next(BIT(40), &info), 40);
    assert_true(info.si_overrun + CALL(sys_timer_getoverrun, NUM(id)) >= 0);
    assert_int_equal(CALL(sys_timer_delete, NUM(id)), 0);
    assert_int_equal(CALL(sys_timer_delete, NUM(id)), -EINVAL);
    assert_int_equal(CALL(sys_timer_settime, NUM(id), NUM(0), PTR(&value), NUM(0)), -EINVAL);
    event.sigev_signo = 65;
    assert_int_equal(CALL(sys_timer_create, NUM(CLOCK_MONOTONIC), PTR(&event), PTR(&id)), -EINVAL);
    event.sigev_notify = 77;
    assert_int_equal(CALL(sys_timer_create, NUM(CLOCK_MONOTONIC), PTR(&event), PTR(&id)), -EINVAL);
    struct timespec none = { 0, 0 };
    uint64_t set = BIT(40);
    while (CALL(sys_rt_sigtimedwait, PTR(&set), PTR(&info), PTR(&none), NUM(8)) > 0)
        ;
}

static void test_timerfd(void **state UNUSED)
{
    uint64_t ticks;
    struct itimerspec value = { .it_value.tv_sec = 100 }, old;
    int fd = (int)CALL(sys_timerfd_create, NUM(CLOCK_MONOTONIC), NUM(TFD_NONBLOCK));
    assert_true(fd >= 0);
    assert_int_equal(do_read(fd, &ticks, 8), -EAGAIN);
    assert_int_equal(CALL(sys_timerfd_settime, NUM(fd), NUM(0), PTR(&value), NUM(0)), 0);
    assert_int_equal(do_read(fd, &ticks, 8), -EAGAIN);
    assert_int_equal(do_read(fd, &ticks, 4), -EINVAL);
    value = (struct itimerspec){ { 0, 5 * (long)MS }, { 0, 10 * (long)MS } };
    assert_int_equal(CALL(sys_timerfd_settime, NUM(fd), NUM(0), PTR(&value), NUM(0)), 0);
    struct pollfd fds[1] = { { fd, POLLIN, 0 } };
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(60000)), 1);
    thr_sleep_ms(22);
    assert_int_equal(do_read(fd, &ticks, 8), 8);
    assert_true(ticks >= 4);
    value = (struct itimerspec){ 0 };
    assert_int_equal(CALL(sys_timerfd_settime, NUM(fd), NUM(0), PTR(&value), PTR(&old)), 0);
    assert_int_equal(old.it_interval.tv_nsec, 5 * MS);
    assert_int_equal(CALL(sys_timerfd_gettime, NUM(fd), PTR(&old)), 0);
    assert_int_equal(old.it_value.tv_nsec, 0);
    assert_int_equal(CALL(sys_timerfd_gettime, NUM(99), PTR(&old)), -EBADF);
    /* Absolute, in the past: at once. */
    value.it_value.tv_nsec = 1;
    assert_int_equal(
        CALL(sys_timerfd_settime, NUM(fd), NUM(TFD_TIMER_ABSTIME), PTR(&value), NUM(0)), 0);
    assert_int_equal(do_read(fd, &ticks, 8), 8);
    assert_int_equal(ticks, 1);
    assert_int_equal(do_read(fd, &ticks, 8), -EAGAIN);
    fd_close(fd);
    assert_int_equal(CALL(sys_timerfd_create, NUM(CLOCK_PROCESS_CPUTIME_ID), NUM(0)), -EINVAL);
}

static void test_signalfd(void **state UNUSED)
{
    uint64_t set = BIT(SIGUSR1) | BIT(50);
    struct signalfd_siginfo info[3];
    int fd = (int)CALL(sys_signalfd4, NUM(-1), PTR(&set), NUM(8), NUM(SFD_NONBLOCK));
    assert_true(fd >= 0);
    struct pollfd fds[1] = { { fd, POLLIN, 0 } };
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(0)), 0);
    assert_int_equal(do_read(fd, info, sizeof(info)), -EAGAIN);
    assert_int_equal(do_read(fd, info, 10), -EINVAL);
    CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR1));
    CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR2));
    CALL(sys_kill, NUM(process_pid()), NUM(50));
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(-1)), 1);
    assert_int_equal(do_read(fd, info, sizeof(info)), 2 * sizeof(info[0]));
    assert_int_equal(info[0].ssi_signo, SIGUSR1);
    assert_int_equal(info[0].ssi_pid, process_pid());
    assert_int_equal(info[1].ssi_signo, 50);
    set = BIT(SIGUSR2);
    assert_int_equal(CALL(sys_signalfd4, NUM(fd), PTR(&set), NUM(8), NUM(0)), fd);
    assert_int_equal(do_read(fd, info, sizeof(info)), sizeof(info[0]));
    assert_int_equal(info[0].ssi_signo, SIGUSR2);
    fd_close(fd);
}

static void kill_later(void *arg)
{
    struct thr *thr UNUSED = arg;
    thr_sleep_ms(10);
    CALL(sys_kill, NUM(process_pid()), NUM(SIGUSR1));
}

static void test_signalfd_wakes(void **state UNUSED)
{
    uint64_t set = BIT(SIGUSR1);
    struct signalfd_siginfo info;
    struct thr thr;
    int fd = (int)CALL(sys_signalfd4, NUM(-1), PTR(&set), NUM(8), NUM(0));
    thr_start(&thr, kill_later, &thr);
    assert_int_equal(do_read(fd, &info, sizeof(info)), sizeof(info));
    thr_join(&thr);
    thr_start(&thr, kill_later, &thr);
    struct pollfd fds[1] = { { fd, POLLIN, 0 } };
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(5000)), 1);
    thr_join(&thr);
    assert_int_equal(do_read(fd, &info, sizeof(info)), sizeof(info));
    fd_close(fd);
}

/* --- scheduling ------------------------------------------------------------------------------- */

static void test_sched(void **state UNUSED)
{
    uint64_t mask[16] = { 0 };
    assert_int_equal(CALL(sys_sched_getaffinity, NUM(0), NUM(sizeof(mask)), PTR(mask)), 8);
    assert_int_equal(mask[0], 7);
    assert_int_equal(CALL(sys_sched_getaffinity, NUM(0), NUM(7), PTR(mask)), -EINVAL);
    assert_int_equal(CALL(sys_sched_getaffinity, NUM(31000), NUM(8), PTR(mask)), -ESRCH);
    assert_int_equal(CALL(sys_sched_setaffinity, NUM(0), NUM(8), PTR(mask)), 0);
    mask[0] = 8;
    assert_int_equal(CALL(sys_sched_setaffinity, NUM(0), NUM(8), PTR(mask)), -EINVAL);
    uint32_t cpu = 99;
    assert_int_equal(CALL(sys_getcpu, PTR(&cpu), NUM(0)), 0);
    assert_true(cpu < 3);
    assert_int_equal(CALL(sys_sched_yield), 0);
    assert_int_equal(CALL(sys_sched_get_priority_max, NUM(SCHED_FIFO)), 99);
    assert_int_equal(CALL(sys_getpriority, NUM(0), NUM(0)), 20);
    assert_int_equal(CALL(sys_setpriority, NUM(0), NUM(0), NUM(5)), 0);
    assert_int_equal(CALL(sys_getpriority, NUM(0), NUM(0)), 15);
    assert_int_equal(CALL(sys_setpriority, NUM(0), NUM(0), NUM(0)), -EACCES);
    assert_int_equal(CALL(sys_rseq), -ENOSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_agrees),
        cmocka_unit_test(test_clock_is_cheap),
        cmocka_unit_test(test_clock_calls),
        cmocka_unit_test(test_sleep),
        cmocka_unit_test_setup(test_itimer, block_all),
        cmocka_unit_test_setup(test_alarm, block_all),
        cmocka_unit_test_setup(test_cpu_timer, block_all),
        cmocka_unit_test_setup(test_posix_timer, block_all),
        cmocka_unit_test_setup(test_timerfd, block_all),
        cmocka_unit_test_setup(test_signalfd, block_all),
        cmocka_unit_test_setup(test_signalfd_wakes, block_all),
        cmocka_unit_test(test_sched),
        cmocka_unit_test(test_never_back),
        cmocka_unit_test(test_lying_clock),
    };
    return cmocka_run_group_tests(tests, thr_setup, NULL);
}
