/* OCALLs for clocks and resource use. CLOCK is hot: the vDSO, no system call for most clocks. */
#include "host/ocall.h"

#include <errno.h>
#include <sys/resource.h>
#include <time.h>

int64_t ocall_clock(struct host_thread *t, const uint64_t args[6])
{
    struct timespec now;
    switch (args[0]) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_BOOTTIME:
    case CLOCK_PROCESS_CPUTIME_ID:
    case CLOCK_THREAD_CPUTIME_ID: break;
    default: return -EINVAL;
    }
    if (clock_gettime((clockid_t)args[0], &now) < 0)
        return -errno;
    t->block->out[0] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    return 0;
}

static uint64_t microseconds(struct timeval tv)
{
    return (uint64_t)tv.tv_sec * 1000000u + (uint64_t)tv.tv_usec;
}

int64_t ocall_rusage(struct host_thread *t, const uint64_t args[6])
{
    struct rusage use;
    if (args[0] != (uint64_t)RUSAGE_SELF && args[0] != (uint64_t)RUSAGE_THREAD)
        return -EINVAL;
    if (getrusage((int)args[0], &use) < 0)
        return -errno;
    t->block->out[0] = microseconds(use.ru_utime);
    t->block->out[1] = microseconds(use.ru_stime);
    t->block->out[2] = (uint64_t)use.ru_maxrss;
    return 0;
}
