/* Queues and mutexes as they are, for remote_world.c, whose other fakes are those of vfs_fakes.c. Nobody sleeps. */
#define thread_park waiting_park
#include "../../../src/enclave/thread/wait.c"

#include "../../../src/enclave/thread/mutex.c"

#include "ipc/anew.h"
#include "thread/clock.h"

uint64_t timer_next(void)
{
    return OCALL_NEVER;
}

void signal_collect_host(void)
{
}

void signal_pass_on(void)
{
}

uint64_t clock_deadline(int32_t id UNUSED, uint64_t ns, bool absolute UNUSED)
{
    return ns;
}

void signal_mask_swap(uint64_t mask UNUSED)
{
}

void signal_mask_restore(void)
{
}

bool timespec_valid(const struct __kernel_timespec *ts UNUSED, uint64_t *ret_ns UNUSED)
{
    return false;
}

bool signalfd_describe(const struct file *file UNUSED, struct anew *ret UNUSED)
{
    return false;
}

bool timerfd_describe(struct file *file UNUSED, struct anew *ret UNUSED)
{
    return false;
}

int signalfd_anew(const struct anew *like UNUSED, uint32_t flags UNUSED, struct file **ret UNUSED)
{
    return -ENOMEM;
}

int timerfd_anew(const struct anew *like UNUSED, uint32_t flags UNUSED, struct file **ret UNUSED)
{
    return -ENOMEM;
}
