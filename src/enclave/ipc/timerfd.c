/*
 * timerfd_create(2). Tier: enclave.
 */
#include <linux/timerfd.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anew.h"
#include "ipc/anon.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/clock_timer.h"
#include "thread/mutex.h"
#include "vfs/kstat.h"

sys_fn sys_timerfd_create, sys_timerfd_settime, sys_timerfd_gettime;

struct timer_file {
    struct clock_timer timer; /* first */
    struct mutex mutex;       /* setting */
    uint64_t ticks;           /* expirations not yet read; atomic */
    struct waitq queue;
    uint64_t ino;
};

static const struct file_ops g_timer_ops;

static struct timer_file *timer_of(struct file *file)
{
    return file->object;
}

static void fire(struct clock_timer *base, uint64_t expirations)
{
    struct timer_file *timer = (struct timer_file *)(void *)base;
    __atomic_fetch_add(&timer->ticks, expirations, __ATOMIC_SEQ_CST);
    waitq_wake(&timer->queue, UINT32_MAX);
}

static bool has_ticks(void *object)
{
    const struct timer_file *timer = object;
    return __atomic_load_n(&timer->ticks, __ATOMIC_SEQ_CST);
}

/* What is due by our clock has expired, whether or not the host's alarm has come. */
static void catch_up(void)
{
    if (timer_due())
        timer_run();
}

static int64_t timer_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    struct timer_file *timer = timer_of(file);
    if (size < sizeof(uint64_t))
        return -EINVAL;
    for (;;) {
        catch_up();
        uint64_t ticks = __atomic_exchange_n(&timer->ticks, 0, __ATOMIC_SEQ_CST);
        if (ticks) {
            int ret = PUT_USER((uint64_t *)user, &ticks);
            return ret < 0 ? ret : (int64_t)sizeof(ticks);
        }
        if (anon_nonblock(file))
            return -EAGAIN;
        int ret = anon_wait(&timer->queue, has_ticks, timer);
        if (ret < 0)
            return ret;
    }
}

static uint32_t timer_poll(struct file *file, struct waiter *waiter)
{
    struct timer_file *timer = timer_of(file);
    if (waiter)
        waitq_add(&timer->queue, waiter);
    catch_up();
    return has_ticks(timer) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int timer_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(timer_of(file)->ino, 0600, ret);
    return 0;
}

static void timer_release(struct file *file)
{
    clock_timer_cancel(&timer_of(file)->timer);
    heap_free(file->object);
}

static const struct file_ops g_timer_ops = {
    .name = "[timerfd]",
    .read = timer_read,
    .fstat = timer_fstat,
    .poll = timer_poll,
    .release = timer_release,
    .travel = TRAVEL_ANEW,
};

bool timerfd_describe(struct file *file, struct anew *ret)
{
    if (file->ops != &g_timer_ops)
        return false;
    struct timer_file *timer = timer_of(file);
    *ret = (struct anew){ .kind = ANEW_TIMERFD, .clock = timer->timer.clock };
    clock_timer_get(&timer->timer, &ret->left, &ret->interval);
    ret->ticks = __atomic_load_n(&timer->ticks, __ATOMIC_SEQ_CST);
    return true;
}

int timerfd_anew(const struct anew *like, uint32_t flags, struct file **ret)
{
    struct timer_file *timer = heap_alloc(sizeof(*timer));
    if (!timer)
        return -ENOMEM;
    clock_timer_init(&timer->timer, like->clock, fire);
    timer->ino = anon_ino();
    timer->ticks = like->ticks;
    struct file *file = file_new(&g_timer_ops, flags | 2 /* O_RDWR */, timer);
    if (!file) {
        heap_free(timer);
        return -ENOMEM;
    }
    if (like->left)
        clock_timer_set(&timer->timer, like->left, like->interval, false, NULL, NULL);
    *ret = file;
    return 0;
}

int64_t sys_timerfd_create(const struct sysargs *args)
{
    int32_t clock = (int32_t)args->a[0];
    uint32_t flags = (uint32_t)args->a[1];
    if (flags & ~(ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME &&
        clock != CLOCK_REALTIME_ALARM && clock != CLOCK_BOOTTIME_ALARM)
        return -EINVAL;
    struct file *file;
    int ret = timerfd_anew(&(struct anew){ .clock = clock }, flags & ANON_NONBLOCK, &file);
    return ret < 0 ? ret : anon_install(file, flags);
}

/* A reference; *ret_error says why there is none. */
static struct file *get_timer(uint64_t fd, int *ret_error)
{
    struct file *file = fd_get((int)fd);
    *ret_error = -EBADF;
    if (file && file->ops != &g_timer_ops) {
        file_unref(file);
        file = NULL;
        *ret_error = -EINVAL;
    }
    return file;
}

static int put_spec(uint64_t user, uint64_t left, uint64_t interval)
{
    struct __kernel_itimerspec spec = { timespec_of(interval), timespec_of(left) };
    return PUT_USER((struct __kernel_itimerspec *)(uintptr_t)user, &spec);
}

int64_t sys_timerfd_settime(const struct sysargs *args)
{
    struct __kernel_itimerspec spec;
    uint64_t value, interval, left, old_interval;
    if (args->a[1] & ~(uint64_t)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET))
        return -EINVAL;
    int ret = GET_USER(&spec, (const struct __kernel_itimerspec *)(uintptr_t)args->a[2]);
    if (ret < 0)
        return ret;
    if (!timespec_valid(&spec.it_value, &value) || !timespec_valid(&spec.it_interval, &interval))
        return -EINVAL;
    struct file *file = get_timer(args->a[0], &ret);
    if (!file)
        return ret;
    struct timer_file *timer = timer_of(file);
    mutex_take(&timer->mutex);
    clock_timer_get(&timer->timer, &left, &old_interval);
    clock_timer_cancel(&timer->timer);
    __atomic_store_n(&timer->ticks, 0, __ATOMIC_SEQ_CST);
    clock_timer_set(&timer->timer, value, interval, args->a[1] & TFD_TIMER_ABSTIME, NULL, NULL);
    mutex_drop(&timer->mutex);
    file_unref(file);
    return args->a[3] ? put_spec(args->a[3], left, old_interval) : 0;
}

int64_t sys_timerfd_gettime(const struct sysargs *args)
{
    uint64_t left, interval;
    int ret;
    struct file *file = get_timer(args->a[0], &ret);
    if (!file)
        return ret;
    clock_timer_get(&timer_of(file)->timer, &left, &interval);
    file_unref(file);
    return put_spec(args->a[1], left, interval);
}
