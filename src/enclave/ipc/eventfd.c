/*
 * eventfd(2), eventfd2(2). Tier: enclave.
 */
#include "ipc/eventfd.h"

#include "arch/string.h"
#include "ipc/anon.h"
#include "ipc/epoll.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "sys/sys.h"
#include "tree/hub.h"
#include "vfs/kstat.h"
#include "vfs/remote/remote.h"

#define EFD_SEMAPHORE 1u
#define COUNT_MAX     (UINT64_MAX - 1)

sys_fn sys_eventfd, sys_eventfd2;

struct event {
    struct lock lock;
    uint64_t count;
    bool semaphore;
    bool moved;         /* the hub has it: file->ops do. Under lock; atomic */
    struct waitq queue; /* readers and writers */
    uint64_t ino;
};

static struct event *event_of(struct file *file)
{
    return file->object;
}

static uint64_t count_of(const struct event *event)
{
    return __atomic_load_n(&event->count, __ATOMIC_SEQ_CST);
}

static bool moved(const struct event *event)
{
    return __atomic_load_n(&event->moved, __ATOMIC_SEQ_CST);
}

static bool readable(void *object)
{
    return count_of(object) > 0 || moved(object);
}

static int64_t event_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    struct event *event = event_of(file);
    if (size < sizeof(uint64_t))
        return -EINVAL;
    for (;;) {
        lock_take(&event->lock);
        uint64_t value = event->semaphore && event->count ? 1 : event->count;
        __atomic_store_n(&event->count, event->count - value, __ATOMIC_SEQ_CST);
        bool gone = event->moved;
        lock_drop(&event->lock);
        if (gone)
            return file->ops->read(file, user, size, pos);
        if (value) {
            waitq_wake(&event->queue, UINT32_MAX);
            int ret = PUT_USER((uint64_t *)user, &value);
            return ret < 0 ? ret : (int64_t)sizeof(value);
        }
        if (anon_nonblock(file))
            return -EAGAIN;
        int ret = anon_wait(&event->queue, readable, event);
        if (ret < 0)
            return ret;
    }
}

struct write_wait {
    struct event *event;
    uint64_t value;
};

static bool writable(void *object)
{
    struct write_wait *wait = object;
    return count_of(wait->event) <= COUNT_MAX - wait->value || moved(wait->event);
}

static int64_t event_write(struct file *file, const void *user, uint64_t size, uint64_t *pos)
{
    struct event *event = event_of(file);
    uint64_t value;
    if (size < sizeof(value))
        return -EINVAL;
    int ret = GET_USER(&value, (const uint64_t *)user);
    if (ret < 0)
        return ret;
    if (value == UINT64_MAX)
        return -EINVAL;
    for (;;) {
        lock_take(&event->lock);
        bool gone = event->moved, fits = !gone && event->count <= COUNT_MAX - value;
        if (fits)
            __atomic_store_n(&event->count, event->count + value, __ATOMIC_SEQ_CST);
        lock_drop(&event->lock);
        if (gone)
            return file->ops->write(file, user, size, pos);
        if (fits) {
            waitq_wake(&event->queue, UINT32_MAX);
            return sizeof(value);
        }
        if (anon_nonblock(file))
            return -EAGAIN;
        struct write_wait wait = { event, value };
        ret = anon_wait(&event->queue, writable, &wait);
        if (ret < 0)
            return ret;
    }
}

static uint32_t event_poll(struct file *file, struct waiter *waiter)
{
    struct event *event = event_of(file);
    if (waiter)
        waitq_add(&event->queue, waiter);
    if (moved(event)) {
        if (waiter)
            waitq_remove(waiter);
        return file->ops->poll(file, waiter);
    }
    uint64_t count = count_of(event);
    return (count ? EPOLLIN | EPOLLRDNORM : 0) | (count < COUNT_MAX ? EPOLLOUT | EPOLLWRNORM : 0);
}

static int event_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(event_of(file)->ino, 0600, ret);
    return 0;
}

static void event_release(struct file *file)
{
    heap_free(file->object);
}

/* An eventfd has one open file. Asking the hub ends soon, and who waits for the lock yields. */
static int event_move(struct file *file)
{
    struct event *event = event_of(file);
    int64_t ret = 0;
    lock_take(&event->lock);
    if (!event->moved) {
        struct hub_ask ask = {
            .op = HUB_FILE_FIRST + REMOTE_ADOPT,
            .args = { ADOPT_EVENTFD, event->count, file->flags & ANON_NONBLOCK, event->semaphore },
        };
        ret = hub_ask(&ask);
        struct remote_info info;
        struct remote *remote = NULL;
        if (ret >= 0) {
            remote_info_of(&ask, ret, &info);
            remote = remote_new(&info);
            ret = remote ? 0 : -ENOMEM;
        }
        if (remote) {
            remote_become(file, remote);
            event->count = 0;
            __atomic_store_n(&event->moved, true, __ATOMIC_SEQ_CST);
        }
    }
    lock_drop(&event->lock);
    waitq_wake(&event->queue, UINT32_MAX);
    epoll_moved(file);
    return (int)ret;
}

static const struct file_ops g_event_ops = {
    .name = "[eventfd]",
    .read = event_read,
    .write = event_write,
    .fstat = event_fstat,
    .poll = event_poll,
    .release = event_release,
    .travel = TRAVEL_HUB,
    .move = event_move,
};

int eventfd_new(uint64_t count, uint32_t flags, bool semaphore, struct file **ret)
{
    struct event *event = heap_alloc(sizeof(*event));
    if (!event)
        return -ENOMEM;
    event->count = count;
    event->semaphore = semaphore;
    event->ino = anon_ino();
    struct file *file = file_new(&g_event_ops, (flags & ANON_NONBLOCK) | 2 /* O_RDWR */, event);
    if (!file) {
        heap_free(event);
        return -ENOMEM;
    }
    *ret = file;
    return 0;
}

static int64_t make_event(uint32_t count, uint32_t flags)
{
    struct file *file;
    if (flags & ~(EFD_SEMAPHORE | ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    int ret = eventfd_new(count, flags, flags & EFD_SEMAPHORE, &file);
    return ret < 0 ? ret : anon_install(file, flags);
}

int64_t sys_eventfd(const struct sysargs *args)
{
    return make_event((uint32_t)args->a[0], 0);
}

int64_t sys_eventfd2(const struct sysargs *args)
{
    return make_event((uint32_t)args->a[0], (uint32_t)args->a[1]);
}
