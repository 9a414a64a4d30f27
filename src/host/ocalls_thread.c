/* OCALLs on threads: thread.h says how waiting and waking work. */
#include "host/ocall.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "host/alarm.h"

int64_t ocall_thread_start(struct host_thread *t, const uint64_t args[6])
{
    return thread_start(t->host, args[0]);
}

int64_t ocall_thread_exit(struct host_thread *t, const uint64_t args[6] UNUSED)
{
    t->ended = true;
    return 0;
}

int64_t ocall_park(struct host_thread *t, const uint64_t args[6])
{
    return thread_park(t, args[0]);
}

static int64_t wake(struct host_thread *t, uint64_t index, bool interrupt)
{
    struct host_thread *target = thread_at(t->host, index);
    if (!target)
        return -EINVAL;
    thread_wake(target, interrupt);
    return 0;
}

int64_t ocall_unpark(struct host_thread *t, const uint64_t args[6])
{
    return wake(t, args[0], false);
}

int64_t ocall_interrupt(struct host_thread *t, const uint64_t args[6])
{
    return wake(t, args[0], true);
}

int64_t ocall_yield(struct host_thread *t UNUSED, const uint64_t args[6] UNUSED)
{
    sched_yield();
    return 0;
}

int64_t ocall_alarm(struct host_thread *t, const uint64_t args[6])
{
    return alarm_set(t->host, args[0]);
}
