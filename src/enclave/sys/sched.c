/*
 * sched_*(2), getcpu(2), getpriority(2), membarrier(2), rseq(2). The host schedules; what the
 * program asks for is remembered at best. Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/sched.h>
#include <linux/sched/types.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "sys/process.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/threads.h"

/* Threads that spin (OpenBLAS) call sched_yield without end: not every call asks the host. With
 * more spinning threads than CPUs, asking it too seldom costs the working ones their time. */
#define YIELDS_PER_OCALL 2u
#define AFFINITY_BYTES   (THREAD_CPU_WORDS * 8u)

sys_fn sys_sched_yield, sys_sched_getaffinity, sys_sched_setaffinity, sys_sched_getscheduler,
    sys_sched_setscheduler, sys_sched_getparam, sys_sched_setparam, sys_sched_getattr,
    sys_sched_setattr, sys_sched_get_priority_max, sys_sched_get_priority_min,
    sys_sched_rr_get_interval, sys_getcpu, sys_getpriority, sys_setpriority, sys_membarrier,
    sys_rseq, sys_ioprio_get, sys_ioprio_set;

static void *user_ptr(uint64_t arg)
{
    return (void *)(uintptr_t)arg;
}

int64_t sys_sched_yield(const struct sysargs *args UNUSED)
{
    if (current()->syscall_count % YIELDS_PER_OCALL == 0)
        border_call0(OCALL_YIELD, 0);
    else
        cpu_pause();
    return 0;
}

/* The thread a tid names, 0 being the caller; NULL. */
static struct thread *thread_of(uint64_t arg)
{
    return (int32_t)arg == 0 ? current() : thread_by_tid((int32_t)arg);
}

/* Is there such a thread, or another process? All are scheduled alike. */
static int find_thread(uint64_t arg)
{
    int32_t tid = (int32_t)arg;
    if (thread_of(arg) || tid == process_pid())
        return 0;
    if (tid == process_ppid())
        return 0; /* also the root's, who is outside */
    return tid > 0 ? process_kill(tid, &(struct signal_info){ .number = 0 }) : -ESRCH;
}

static uint32_t cpu_count(void)
{
    uint32_t count = process_node()->cpu_count;
    return count < 1 ? 1 : count > AFFINITY_BYTES * 8 ? AFFINITY_BYTES * 8 : count;
}

static uint32_t cpu_mask(uint8_t ret[static AFFINITY_BYTES])
{
    uint32_t count = cpu_count();
    memset(ret, 0, AFFINITY_BYTES);
    for (uint32_t i = 0; i < count; i++)
        ret[i / 8] = (uint8_t)(ret[i / 8] | 1u << i % 8);
    return (count + 63) / 64 * 8;
}

static uint32_t cpu_words(void)
{
    return (cpu_count() + 63) / 64;
}

int64_t sys_sched_getaffinity(const struct sysargs *args)
{
    union {
        uint8_t bytes[AFFINITY_BYTES];
        uint64_t words[THREAD_CPU_WORDS];
    } mask;
    uint64_t size = args->a[1];
    if (size * 8 < cpu_count() || size % 8)
        return -EINVAL;
    const struct thread *thread = thread_of(args->a[0]);
    int ret = thread ? 0 : find_thread(args->a[0]);
    if (ret < 0)
        return ret;
    uint32_t need = cpu_mask(mask.bytes);
    for (uint32_t i = 0; thread && i < cpu_words(); i++)
        mask.words[i] &= ~thread->cpus_off[i];
    ret = copy_to_user(user_ptr(args->a[2]), mask.bytes, need);
    return ret < 0 ? ret : (int64_t)need;
}

/* Remembered if it names a CPU there is; another process's is forgotten. The host schedules. */
int64_t sys_sched_setaffinity(const struct sysargs *args)
{
    union {
        uint8_t bytes[AFFINITY_BYTES];
        uint64_t words[THREAD_CPU_WORDS];
    } have, want = { .words = { 0 } };
    uint64_t size = args->a[1] < sizeof(want) ? args->a[1] : sizeof(want), any = 0;
    int ret = copy_from_user(want.bytes, user_ptr(args->a[2]), size);
    struct thread *thread = thread_of(args->a[0]);
    if (ret == 0 && !thread)
        ret = find_thread(args->a[0]);
    if (ret < 0)
        return ret;
    cpu_mask(have.bytes);
    for (uint32_t i = 0; i < cpu_words(); i++)
        any |= have.words[i] & want.words[i];
    if (!any)
        return -EINVAL;
    for (uint32_t i = 0; thread && i < cpu_words(); i++)
        thread->cpus_off[i] = have.words[i] & ~want.words[i];
    return 0;
}

/* --- policies: SCHED_OTHER, priority 0 -------------------------------------------------------- */

static int policy_check(int policy, int priority)
{
    switch (policy & ~SCHED_RESET_ON_FORK) {
    case SCHED_NORMAL:
    case SCHED_BATCH:
    case SCHED_IDLE: return priority == 0 ? 0 : -EINVAL;
    case SCHED_FIFO:
    case SCHED_RR: return priority >= 1 && priority <= 99 ? -EPERM : -EINVAL;
    default: return -EINVAL;
    }
}

int64_t sys_sched_getscheduler(const struct sysargs *args)
{
    if ((int32_t)args->a[0] < 0)
        return -EINVAL;
    int ret = find_thread(args->a[0]);
    return ret < 0 ? ret : SCHED_NORMAL;
}

int64_t sys_sched_setscheduler(const struct sysargs *args)
{
    int32_t priority;
    if ((int32_t)args->a[0] < 0 || (int32_t)args->a[1] < 0 || !args->a[2])
        return -EINVAL;
    int ret = GET_USER(&priority, (const int32_t *)user_ptr(args->a[2]));
    if (ret == 0)
        ret = find_thread(args->a[0]);
    return ret < 0 ? ret : policy_check((int)args->a[1], priority);
}

int64_t sys_sched_getparam(const struct sysargs *args)
{
    int32_t priority = 0;
    if ((int32_t)args->a[0] < 0 || !args->a[1])
        return -EINVAL;
    int ret = find_thread(args->a[0]);
    return ret < 0 ? ret : PUT_USER((int32_t *)user_ptr(args->a[1]), &priority);
}

int64_t sys_sched_setparam(const struct sysargs *args)
{
    int32_t priority;
    if ((int32_t)args->a[0] < 0 || !args->a[1])
        return -EINVAL;
    int ret = GET_USER(&priority, (const int32_t *)user_ptr(args->a[1]));
    if (ret == 0)
        ret = find_thread(args->a[0]);
    return ret < 0 ? ret : policy_check(SCHED_NORMAL, priority);
}

int64_t sys_sched_getattr(const struct sysargs *args)
{
    struct sched_attr attr = { .sched_policy = SCHED_NORMAL };
    uint64_t size = args->a[2];
    if (size < SCHED_ATTR_SIZE_VER0 || size > 4096 || args->a[3] || !args->a[1])
        return -EINVAL;
    int ret = find_thread(args->a[0]);
    if (ret < 0)
        return ret;
    attr.size = (uint32_t)(size < sizeof(attr) ? size : sizeof(attr));
    return copy_to_user(user_ptr(args->a[1]), &attr, attr.size);
}

int64_t sys_sched_setattr(const struct sysargs *args)
{
    struct sched_attr attr = { 0 };
    if (!args->a[1] || args->a[2])
        return -EINVAL;
    int ret = copy_from_user(&attr, user_ptr(args->a[1]), SCHED_ATTR_SIZE_VER0);
    if (ret == 0)
        ret = find_thread(args->a[0]);
    return ret < 0 ? ret : policy_check((int)attr.sched_policy, (int)attr.sched_priority);
}

static int64_t priority_limit(uint64_t policy, int64_t realtime)
{
    switch (policy) {
    case SCHED_FIFO:
    case SCHED_RR: return realtime;
    case SCHED_NORMAL:
    case SCHED_BATCH:
    case SCHED_IDLE:
    case SCHED_DEADLINE: return 0;
    default: return -EINVAL;
    }
}

int64_t sys_sched_get_priority_max(const struct sysargs *args)
{
    return priority_limit(args->a[0], 99);
}

int64_t sys_sched_get_priority_min(const struct sysargs *args)
{
    return priority_limit(args->a[0], 1);
}

int64_t sys_sched_rr_get_interval(const struct sysargs *args)
{
    struct __kernel_timespec ts = { .tv_nsec = 4000000 };
    int ret = find_thread(args->a[0]);
    return ret < 0 ? ret : PUT_USER((struct __kernel_timespec *)user_ptr(args->a[1]), &ts);
}

/* Which CPU it is, is the host's secret: threads are spread over those the program is told of. */
int64_t sys_getcpu(const struct sysargs *args)
{
    uint32_t cpu = (uint32_t)current()->index % cpu_count(), node = 0;
    int ret = args->a[0] ? PUT_USER((uint32_t *)user_ptr(args->a[0]), &cpu) : 0;
    if (ret == 0 && args->a[1])
        ret = PUT_USER((uint32_t *)user_ptr(args->a[1]), &node);
    return ret;
}

/* --- nice: kept per process, without effect --------------------------------------------------- */

static int32_t g_nice;

static int priority_target(const struct sysargs *args)
{
    uint64_t which = args->a[0];
    int32_t who = (int32_t)args->a[1];
    if (which > 2)
        return -EINVAL;
    if (which == 2) /* PRIO_USER */
        return who == 0 || (uint32_t)who == process_node()->uid ? 0 : -ESRCH;
    return who == 0 || who == process_pid() || (which == 0 && thread_by_tid(who)) ? 0 : -ESRCH;
}

int64_t sys_getpriority(const struct sysargs *args)
{
    int ret = priority_target(args);
    return ret < 0 ? ret : 20 - __atomic_load_n(&g_nice, __ATOMIC_RELAXED);
}

int64_t sys_setpriority(const struct sysargs *args)
{
    int32_t nice = (int32_t)args->a[2];
    int ret = priority_target(args);
    if (ret < 0)
        return ret;
    nice = nice < -20 ? -20 : nice > 19 ? 19 : nice;
    if (nice < g_nice)
        return -EACCES;
    __atomic_store_n(&g_nice, nice, __ATOMIC_RELAXED);
    return 0;
}

int64_t sys_ioprio_get(const struct sysargs *args UNUSED)
{
    return 0;
}

int64_t sys_ioprio_set(const struct sysargs *args UNUSED)
{
    return 0;
}

/* --- barriers --------------------------------------------------------------------------------- */

/* The host's word that all threads were interrupted would have to be believed: as a kernel without
 * it. */
int64_t sys_membarrier(const struct sysargs *args UNUSED)
{
    return -ENOSYS;
}

/* glibc does without; it registers before main, so nothing is logged. */
int64_t sys_rseq(const struct sysargs *args UNUSED)
{
    return -ENOSYS;
}
