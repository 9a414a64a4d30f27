/*
 * Clocks (border.h: clock_monotonic, clock_realtime). Tier: enclave.
 *
 * The host's clock and the time stamp counter are both the host's to lie about; what the enclave
 * itself promises is that monotonic time never goes back, in no thread. A read costs a host call
 * until two of them, CALIBRATE_NS apart, have told the counter's rate; from then on it costs none,
 * but for one synchronisation per interval, which corrects rate and offset. A counter that jumps
 * against the host's clock too often is given up.
 */
#include "thread/clock.h"

#include <asm/errno.h>

#include "arch/cpu.h"
#include "border/border.h"
#include "thread/lock.h"
#include "thread/threads.h"

/* Synchronisations come after 1 ms (and CALIBRATE_TICKS: 42 ms at most), 10 ms, 80 ms, 640 ms, then
 * every second; the rate is taken over at most 16 s. */
#define CALIBRATE_NS    1000000ull
#define CALIBRATE_TICKS (1ull << 21)
#define SYNC_FIRST_NS   10000000ull
#define SYNC_MAX_NS     1000000000ull
#define WINDOW_MAX_NS   16000000000ull
/* A deviation beyond this, and beyond 1/1024 of the time since the last one, is a jump. */
#define JUMP_NS         1000000ull
#define JUMPS_MAX       16
/* Samples per synchronisation: the first that took no longer than GOOD_TICKS, or the shortest of so
 * many tries; none beyond BAD_TICKS once the rate is known, but another after BAD_WAIT_TICKS. */
#define TRIES           4
#define GOOD_TICKS      30000ull
#define BAD_TICKS       300000ull
#define BAD_WAIT_TICKS  30000000ull
#define TSC_MAX         (1ull << 56) /* at 50 MHz the ns still fit: line_at() stays below 2^63 */
#define HOST_MAX        (1ull << 62) /* 146 years: a deadline, i.e. time and interval, does not wrap */

/* What a reader needs, under a sequence counter. */
struct clock_line {
    uint64_t tsc, ns;  /* a point on the line */
    uint64_t rate;     /* ns per tick, 32.32; 0: not calibrated */
    uint64_t next;     /* ticks after tsc from which a synchronisation is due */
    uint64_t realtime; /* realtime - monotonic, modulo 2^64 */
};

static struct {
    uint32_t sequence; /* odd: line is being changed */
    struct clock_line line;
    uint64_t last; /* the highest monotonic time ever answered */

    struct lock lock;             /* what follows, and writing */
    uint64_t first_tsc, first_ns; /* begin of the rate's window */
    uint64_t interval_ns;
    uint32_t jumps;
    bool host_only;
} g_clock;

uint64_t clock_host(uint32_t id)
{
    if (border_call1(OCALL_CLOCK, 0, id) < 0)
        return 0;
    uint64_t ns = border_out(0);
    return ns < HOST_MAX ? ns : 0;
}

static uint64_t line_at(const struct clock_line *line, uint64_t ticks)
{
    return line->ns + (uint64_t)(((unsigned __int128)ticks * line->rate) >> 32);
}

/* ns per tick, 32.32; 0 if it is no plausible one. */
static uint64_t rate_of(uint64_t ns, uint64_t ticks)
{
    while (ns >> 32) {
        ns >>= 1;
        ticks >>= 1;
    }
    if (!ticks)
        return 0;
    uint64_t rate = (ns << 32) / ticks;
    /* 50 MHz to 50 GHz */
    return rate > (1ull << 32) / 50 && rate < 20ull << 32 ? rate : 0;
}

/* The host's clocks and the counter at one moment. */
struct sample {
    uint64_t tsc, ns;
    uint64_t realtime; /* realtime - monotonic */
    uint64_t noise;    /* ns that it may be off by */
    uint64_t took;     /* ticks: a long one was interrupted, and is little worth */
};

static struct sample take_sample(void)
{
    struct sample best = { .took = UINT64_MAX };
    for (unsigned i = 0; i < TRIES && best.took > GOOD_TICKS; i++) {
        uint64_t start = cpu_tsc();
        uint64_t before = clock_host(CLOCK_MONOTONIC);
        uint64_t middle = cpu_tsc();
        uint64_t realtime = clock_host(CLOCK_REALTIME);
        uint64_t after = clock_host(CLOCK_MONOTONIC);
        uint64_t took = cpu_tsc() - start;
        if (took >= best.took)
            continue;
        best = (struct sample){
            .tsc = start + (middle - start) / 2,
            .ns = before,
            .realtime = realtime - (before + (after - before) / 2),
            .noise = after - before,
            .took = took,
        };
    }
    return best;
}

static void publish(const struct clock_line *line)
{
    __atomic_store_n(&g_clock.sequence, g_clock.sequence + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    g_clock.line = *line;
    __atomic_store_n(&g_clock.sequence, g_clock.sequence + 1, __ATOMIC_RELEASE);
}

static struct clock_line snapshot(void)
{
    for (;;) {
        uint32_t before = __atomic_load_n(&g_clock.sequence, __ATOMIC_ACQUIRE);
        struct clock_line line = *(const volatile struct clock_line *)&g_clock.line;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && before == __atomic_load_n(&g_clock.sequence, __ATOMIC_RELAXED))
            return line;
        cpu_pause();
    }
}

/* Rate or offset anew. The lock is held; one thread at a time. */
static void synchronise(void)
{
    struct clock_line line = g_clock.line;
    struct sample now = take_sample();
    uint64_t tsc = now.tsc, ns = now.ns;

    if (line.rate && now.took > BAD_TICKS) { /* a busy machine: rather the old line for a while */
        line.next = tsc - line.tsc + BAD_WAIT_TICKS;
        publish(&line);
        return;
    }
    if (line.rate) {
        uint64_t predicted = line_at(&line, tsc - line.tsc);
        uint64_t off = ns > predicted ? ns - predicted : predicted - ns;
        uint64_t elapsed = ns > line.ns ? ns - line.ns : 0;
        if (tsc < line.tsc || off > JUMP_NS + elapsed / 1024) {
            /* A jump (suspend, migration, a lie): start again from here. */
            g_clock.first_tsc = tsc;
            g_clock.first_ns = ns;
            g_clock.interval_ns = SYNC_FIRST_NS;
            line.rate = 0;
            if (++g_clock.jumps >= JUMPS_MAX)
                g_clock.host_only = true;
        }
    }
    if (!g_clock.first_tsc) {
        g_clock.first_tsc = tsc;
        g_clock.first_ns = ns;
        g_clock.interval_ns = SYNC_FIRST_NS;
    }

    uint64_t window_ns = ns - g_clock.first_ns;
    line.tsc = tsc;
    line.ns = ns;
    /* It changes only when somebody sets the host's clock; noise must not make it jitter. */
    if (now.realtime - line.realtime + now.noise > 2 * now.noise)
        line.realtime = now.realtime;
    if (!g_clock.host_only && ns > g_clock.first_ns && tsc > g_clock.first_tsc &&
        window_ns >= CALIBRATE_NS)
        line.rate = rate_of(window_ns, tsc - g_clock.first_tsc);
    if (line.rate) {
        line.next = ((g_clock.interval_ns << 24) / line.rate) << 8;
        g_clock.interval_ns =
            g_clock.interval_ns * 8 < SYNC_MAX_NS ? g_clock.interval_ns * 8 : SYNC_MAX_NS;
        if (window_ns > WINDOW_MAX_NS) {
            g_clock.first_tsc = tsc - (tsc - g_clock.first_tsc) / 2;
            g_clock.first_ns = ns - window_ns / 2;
        }
    }
    publish(&line);
}

static bool try_lock(struct lock *lock)
{
    uint32_t unlocked = 0;
    return __atomic_compare_exchange_n(&lock->word, &unlocked, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

/* Never answers less than was answered before, to anybody. This is also why RDTSC needs no fence:
 * who has seen the effect of something that happened after another thread's answer sees that answer
 * too. */
static uint64_t clamp(uint64_t ns)
{
    uint64_t last = __atomic_load_n(&g_clock.last, __ATOMIC_RELAXED);
    while (ns > last) {
        if (__atomic_compare_exchange_n(&g_clock.last, &last, ns, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            return ns;
    }
    return last;
}

/* ret_realtime: the offset to add, may be NULL. */
static uint64_t read_clock(uint64_t *ret_offset)
{
    struct clock_line line = snapshot();
    uint64_t ticks = cpu_tsc() - line.tsc;

    /* Until it is calibrated, line.tsc is the last sample. */
    if (line.rate ? ticks >= line.next : ticks >= CALIBRATE_TICKS) {
        if (try_lock(&g_clock.lock)) {
            if (!g_clock.host_only)
                synchronise();
            lock_drop(&g_clock.lock);
            line = snapshot();
            ticks = cpu_tsc() - line.tsc;
        }
    }
    if (ret_offset)
        *ret_offset = line.realtime;
    if (!line.rate || ticks > TSC_MAX) {
        uint64_t ns = clock_host(CLOCK_MONOTONIC);
        if (ret_offset)
            *ret_offset = clock_host(CLOCK_REALTIME) - ns;
        return clamp(ns);
    }
    return clamp(line_at(&line, ticks));
}

void clock_init(void)
{
    (void)clock_monotonic();
}

uint64_t clock_monotonic(void)
{
    return read_clock(NULL);
}

uint64_t clock_realtime(void)
{
    uint64_t offset;
    uint64_t ns = read_clock(&offset);
    return ns + offset;
}

int clock_read(int32_t id, uint64_t *ret)
{
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_TAI: /* the host's TAI offset is not asked for: 0, as on most machines */
        *ret = clock_realtime();
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME: /* time suspended is not counted */
    case CLOCK_BOOTTIME_ALARM: *ret = clock_monotonic(); return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
    case CLOCK_THREAD_CPUTIME_ID: *ret = clock_host((uint32_t)id); return 0;
    default: break;
    }
    /* CPU clocks by number: ~pid in the upper bits, bit 2 set for a thread, 0-2 of the rest the
     * kind. */
    if (id < 0 && (id & 3) < 3) {
        int32_t pid = ~id >> 3;
        bool thread = id & 4;
        if (thread && (pid == 0 || pid == current()->tid)) {
            *ret = clock_host(CLOCK_THREAD_CPUTIME_ID);
            return 0;
        }
        if (!thread && (pid == 0 || pid == process_pid())) {
            *ret = clock_host(CLOCK_PROCESS_CPUTIME_ID);
            return 0;
        }
    }
    return -EINVAL;
}

uint64_t clock_deadline(int32_t id, uint64_t ns, bool absolute)
{
    uint64_t now = clock_monotonic(), deadline;
    if (absolute) {
        if (id != CLOCK_REALTIME && id != CLOCK_TAI && id != CLOCK_REALTIME_ALARM)
            return ns;
        uint64_t realtime = clock_realtime();
        ns = ns > realtime ? ns - realtime : 0;
    }
    return __builtin_add_overflow(now, ns, &deadline) ? OCALL_NEVER : deadline;
}

bool timespec_valid(const struct __kernel_timespec *ts, uint64_t *ret_ns)
{
    if (ts->tv_sec < 0 || ts->tv_nsec < 0 || (uint64_t)ts->tv_nsec >= NSEC_PER_SEC)
        return false;
    uint64_t sec = (uint64_t)ts->tv_sec;
    *ret_ns = sec >= INT64_MAX / NSEC_PER_SEC ? (uint64_t)INT64_MAX
                                              : sec * NSEC_PER_SEC + (uint64_t)ts->tv_nsec;
    return true;
}
