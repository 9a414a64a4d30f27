/*
 * clock_gettime(2), gettimeofday(2), nanosleep(2), times(2), getrusage(2). Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/resource.h>
#include <linux/times.h>

#include "border/border.h"
#include "mm/uaccess.h"
#include "signal/signal.h"
#include "sys/process.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/restart.h"
#include "thread/wait.h"

#define TICKS_PER_SEC 100u /* AT_CLKTCK */

sys_fn sys_clock_gettime, sys_clock_getres, sys_clock_settime, sys_clock_adjtime, sys_gettimeofday,
    sys_settimeofday, sys_adjtimex, sys_time, sys_nanosleep, sys_clock_nanosleep, sys_times,
    sys_getrusage;

static void *user_ptr(uint64_t arg)
{
    return (void *)(uintptr_t)arg;
}

int64_t sys_clock_gettime(const struct sysargs *args)
{
    uint64_t ns;
    int ret = clock_read((int32_t)args->a[0], &ns);
    if (ret < 0)
        return ret;
    struct __kernel_timespec ts = timespec_of(ns);
    return PUT_USER((struct __kernel_timespec *)user_ptr(args->a[1]), &ts);
}

int64_t sys_clock_getres(const struct sysargs *args)
{
    int32_t id = (int32_t)args->a[0];
    uint64_t now;
    int ret = clock_read(id, &now);
    if (ret < 0)
        return ret;
    bool coarse = id == CLOCK_REALTIME_COARSE || id == CLOCK_MONOTONIC_COARSE;
    struct __kernel_timespec ts = { .tv_nsec = coarse ? 4000000 : 1 };
    return args->a[1] ? PUT_USER((struct __kernel_timespec *)user_ptr(args->a[1]), &ts) : 0;
}

int64_t sys_clock_settime(const struct sysargs *args)
{
    uint64_t now;
    int ret = clock_read((int32_t)args->a[0], &now);
    return ret < 0 ? ret : (int32_t)args->a[0] == CLOCK_REALTIME ? -EPERM : -EINVAL;
}

int64_t sys_clock_adjtime(const struct sysargs *args UNUSED)
{
    return -EPERM;
}

int64_t sys_adjtimex(const struct sysargs *args UNUSED)
{
    return -EPERM;
}

int64_t sys_settimeofday(const struct sysargs *args UNUSED)
{
    return -EPERM;
}

int64_t sys_gettimeofday(const struct sysargs *args)
{
    uint64_t ns = clock_realtime();
    struct __kernel_old_timeval tv = {
        .tv_sec = (int64_t)(ns / NSEC_PER_SEC),
        .tv_usec = (int64_t)(ns % NSEC_PER_SEC / 1000),
    };
    int ret = args->a[0] ? PUT_USER((struct __kernel_old_timeval *)user_ptr(args->a[0]), &tv) : 0;
    if (ret == 0 && args->a[1]) {
        int32_t timezone[2] = { 0, 0 };
        ret = PUT_USER((int32_t(*)[2])user_ptr(args->a[1]), &timezone);
    }
    return ret;
}

int64_t sys_time(const struct sysargs *args)
{
    int64_t now = (int64_t)(clock_realtime() / NSEC_PER_SEC);
    int ret = args->a[0] ? PUT_USER((int64_t *)user_ptr(args->a[0]), &now) : 0;
    return ret < 0 ? ret : now;
}

/* --- sleeping --------------------------------------------------------------------------------- */

static int sleep_until(uint64_t deadline)
{
    int ret;
    do {
        ret = thread_park(deadline);
    } while (ret == 0);
    return ret == -ETIMEDOUT ? 0 : ret;
}

/* args: deadline, where the rest goes (0: nowhere). */
static int64_t sleep_relative(const uint64_t args[static RESTART_ARGS])
{
    if (sleep_until(args[0]) == 0)
        return 0;
    if (args[1]) {
        uint64_t now = clock_monotonic();
        struct __kernel_timespec left = timespec_of(args[0] > now ? args[0] - now : 0);
        int ret = PUT_USER((struct __kernel_timespec *)user_ptr(args[1]), &left);
        if (ret < 0)
            return ret;
    }
    restart_set(sleep_relative, args);
    return -ERESTART_RESTARTBLOCK;
}

static int get_time(uint64_t user, uint64_t *ret_ns)
{
    struct __kernel_timespec ts;
    int ret = GET_USER(&ts, (const struct __kernel_timespec *)user_ptr(user));
    if (ret < 0)
        return ret;
    return timespec_valid(&ts, ret_ns) ? 0 : -EINVAL;
}

int64_t sys_nanosleep(const struct sysargs *args)
{
    uint64_t ns;
    int ret = get_time(args->a[0], &ns);
    if (ret < 0)
        return ret;
    return sleep_relative(
        (const uint64_t[RESTART_ARGS]){ clock_deadline(CLOCK_MONOTONIC, ns, false), args->a[1] });
}

/* On a CPU clock: sleeps in real time for what is missing, until nothing is. */
static int64_t sleep_cpu(int32_t id, uint64_t until)
{
    for (;;) {
        uint64_t now;
        int ret = clock_read(id, &now);
        if (ret < 0)
            return ret;
        if (now >= until)
            return 0;
        ret = sleep_until(clock_deadline(CLOCK_MONOTONIC, until - now, false));
        if (ret < 0)
            return -EINTR;
    }
}

int64_t sys_clock_nanosleep(const struct sysargs *args)
{
    int32_t id = (int32_t)args->a[0];
    bool absolute = args->a[1] & TIMER_ABSTIME;
    uint64_t ns, now;
    int ret = clock_read(id, &now);
    if (ret < 0)
        return ret;
    if (id == CLOCK_THREAD_CPUTIME_ID)
        return -EINVAL;
    ret = get_time(args->a[2], &ns);
    if (ret < 0)
        return ret;
    if (id == CLOCK_PROCESS_CPUTIME_ID || id < 0)
        return sleep_cpu(id, absolute ? ns : now + ns);
    uint64_t deadline = clock_deadline(id, ns, absolute);
    if (absolute)
        return sleep_until(deadline) == 0 ? 0 : -ERESTARTNOHAND;
    return sleep_relative((const uint64_t[RESTART_ARGS]){ deadline, args->a[3] });
}

/* --- what was used ---------------------------------------------------------------------------- */

static void put_times(struct rusage *usage, uint64_t user_us, uint64_t system_us)
{
    usage->ru_utime.tv_sec = (int64_t)(user_us / 1000000);
    usage->ru_utime.tv_usec = (int64_t)(user_us % 1000000);
    usage->ru_stime.tv_sec = (int64_t)(system_us / 1000000);
    usage->ru_stime.tv_usec = (int64_t)(system_us % 1000000);
}

int64_t sys_getrusage(const struct sysargs *args)
{
    int who = (int)args->a[0];
    struct rusage usage = { 0 };
    if (who != RUSAGE_SELF && who != RUSAGE_THREAD && who != RUSAGE_CHILDREN)
        return -EINVAL;
    if (who != RUSAGE_CHILDREN && border_call1(OCALL_RUSAGE, 0, (uint64_t)(uint32_t)who) >= 0) {
        put_times(&usage, border_out(0), border_out(1));
        usage.ru_maxrss = (int64_t)(border_out(2) & INT64_MAX);
    }
    if (who == RUSAGE_CHILDREN) {
        uint64_t user, system;
        process_children_times(&user, &system);
        put_times(&usage, user, system);
    }
    return PUT_USER((struct rusage *)user_ptr(args->a[1]), &usage);
}

int64_t sys_times(const struct sysargs *args)
{
    if (args->a[0]) {
        struct tms tms = { 0 };
        if (border_call1(OCALL_RUSAGE, 0, RUSAGE_SELF) >= 0) {
            tms.tms_utime = (int64_t)(border_out(0) / (1000000 / TICKS_PER_SEC));
            tms.tms_stime = (int64_t)(border_out(1) / (1000000 / TICKS_PER_SEC));
        }
        uint64_t user, system;
        process_children_times(&user, &system);
        tms.tms_cutime = (int64_t)(user / (1000000 / TICKS_PER_SEC));
        tms.tms_cstime = (int64_t)(system / (1000000 / TICKS_PER_SEC));
        int ret = PUT_USER((struct tms *)user_ptr(args->a[0]), &tms);
        if (ret < 0)
            return ret;
    }
    return (int64_t)(clock_monotonic() / (NSEC_PER_SEC / TICKS_PER_SEC));
}
