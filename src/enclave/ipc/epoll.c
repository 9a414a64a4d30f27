/*
 * epoll_create(2), epoll_ctl(2), epoll_wait(2). Tier: enclave.
 *
 * An item is a waiter on the watched file's queue that is never taken off: waitq_wake() calls
 * item_notify(), which puts the item on its instance's ready list and wakes who waits there.
 * epoll_wait takes items off that list, asks the file what it has now, and puts level-triggered
 * ones that had something back. Files whose readiness the host knows have no queue: they are asked
 * about at every wait, and are level-triggered whatever EPOLLET says.
 *
 * Locks: g_epoll.mutex (who watches what, for close and ctl) -> instance's mutex (its items; held
 * while files are asked) -> queue locks from the inside out -> ready_lock. Instances in instances
 * have no cycle, so their mutexes and queues have an order.
 */
#include "ipc/epoll.h"

#include "border/border.h"
#include "ipc/anew.h"
#include "ipc/anon.h"
#include "ipc/poll.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/state.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/mutex.h"
#include "vfs/kstat.h"

#define BUCKETS        64u
#define NEST_MAX       5
#define HOST_MAX       1024u /* host handles asked about at once */
#define EVENTS_MAX     4096u /* events given at once */
#define SIGSET_SIZE    8
#define MODE_TYPE      0170000u
#define MODE_REGULAR   0100000u
#define MODE_DIRECTORY 0040000u
#define MODE_BITS      (EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE)

sys_fn sys_epoll_create, sys_epoll_create1, sys_epoll_ctl, sys_epoll_wait, sys_epoll_pwait,
    sys_epoll_pwait2;

struct epoll;

struct item {
    struct waiter waiter; /* on the file's queue; first: notify() gets it */
    struct epoll *epoll;
    struct file *file; /* not referenced: epoll_forget() comes before it goes */
    int32_t fd;
    uint32_t events; /* wanted, without the mode bits; 0 after EPOLLONESHOT */
    uint32_t mode;   /* of MODE_BITS */
    uint64_t data;
    bool host;                      /* no queue: asked about at every wait */
    struct item *next, *watch_next; /* in the instance's bucket; in g_epoll's */
    bool ready;                     /* on the ready list; with ready_lock */
    struct item *ready_next;
};

struct epoll {
    struct mutex mutex;
    struct item *items[BUCKETS];
    uint32_t host_count;
    struct lock ready_lock;
    struct item *ready_first, *ready_last;
    struct waitq queue; /* waiting threads and outer instances */
    uint64_t ino;
};

static struct {
    struct mutex mutex;
    struct item *watched[BUCKETS]; /* by file */
    uint32_t count;
} g_epoll;

static const struct file_ops g_epoll_ops;

static uint32_t hash_fd(int32_t fd)
{
    return (uint32_t)fd % BUCKETS;
}

static uint32_t hash_file(const struct file *file)
{
    return (uint32_t)((uintptr_t)file / 64 * 0x9e3779b97f4a7c15ull >> 58) % BUCKETS;
}

/* --- the ready list --------------------------------------------------------------------------- */

static void ready_push(struct item *item)
{
    struct epoll *epoll = item->epoll;
    LOCKED(&epoll->ready_lock);
    if (item->ready)
        return;
    item->ready = true;
    item->ready_next = NULL;
    __atomic_store_n(epoll->ready_first ? &epoll->ready_last->ready_next : &epoll->ready_first,
                     item, __ATOMIC_SEQ_CST);
    epoll->ready_last = item;
}

static struct item *ready_pop(struct epoll *epoll)
{
    LOCKED(&epoll->ready_lock);
    struct item *item = epoll->ready_first;
    if (item) {
        epoll->ready_first = item->ready_next;
        item->ready = false;
    }
    return item;
}

static void ready_remove(struct item *item)
{
    struct epoll *epoll = item->epoll;
    LOCKED(&epoll->ready_lock);
    if (!item->ready)
        return;
    struct item *before = NULL, *i = epoll->ready_first;
    for (; i != item; before = i, i = i->ready_next)
        ;
    *(before ? &before->ready_next : &epoll->ready_first) = item->ready_next;
    if (epoll->ready_last == item)
        epoll->ready_last = before;
    item->ready = false;
}

static bool ready_any(const struct epoll *epoll)
{
    return __atomic_load_n(&epoll->ready_first, __ATOMIC_SEQ_CST) != NULL;
}

static void item_notify(struct waiter *waiter)
{
    struct item *item = (struct item *)(void *)waiter;
    ready_push(item);
    waitq_wake(&item->epoll->queue, UINT32_MAX);
}

/* --- items; the instance's mutex is held ------------------------------------------------------ */

static struct epoll *epoll_of(const struct file *file)
{
    return file->object;
}

static struct item *find(const struct epoll *epoll, const struct file *file, int32_t fd)
{
    struct item *item = epoll->items[hash_fd(fd)];
    while (item && (item->fd != fd || item->file != file))
        item = item->next;
    return item;
}

/* What the file has of what is wanted. */
static uint32_t ask(const struct item *item)
{
    uint32_t now = item->file->ops->poll(item->file, NULL);
    return item->events ? now & (item->events | POLL_ALWAYS_BITS) : 0;
}

/* g_epoll.mutex is held too. Frees the item. */
static void drop_item(struct item *item)
{
    struct epoll *epoll = item->epoll;
    waitq_remove(&item->waiter); /* from here on it is not notified */
    ready_remove(item);

    struct item **at = &epoll->items[hash_fd(item->fd)];
    while (*at != item)
        at = &(*at)->next;
    *at = item->next;
    at = &g_epoll.watched[hash_file(item->file)];
    while (*at != item)
        at = &(*at)->watch_next;
    *at = item->watch_next;
    epoll->host_count -= item->host;
    __atomic_sub_fetch(&g_epoll.count, 1, __ATOMIC_SEQ_CST);
    heap_free(item);
}

static void rearm(struct item *item, const struct epoll_event *event)
{
    item->events = event->events & ~MODE_BITS;
    item->mode = event->events & MODE_BITS;
    item->data = event->data;
    if (!item->host && ask(item))
        ready_push(item);
    else if (!item->host)
        return;
    /* Also for the host's: who waits asks about what was wanted before. */
    waitq_wake(&item->epoll->queue, UINT32_MAX);
}

static int add_item(struct epoll *epoll, struct file *file, int32_t fd,
                    const struct epoll_event *event)
{
    struct item *item = heap_alloc(sizeof(*item));
    if (!item)
        return -ENOMEM;
    *item = (struct item){
        .waiter = { .notify = item_notify },
        .epoll = epoll,
        .file = file,
        .fd = fd,
        .host = file->ops->host_handle && file->ops->host_handle(file) >= 0,
        .next = epoll->items[hash_fd(fd)],
        .watch_next = g_epoll.watched[hash_file(file)],
    };
    epoll->items[hash_fd(fd)] = item;
    g_epoll.watched[hash_file(file)] = item;
    epoll->host_count += item->host;
    __atomic_add_fetch(&g_epoll.count, 1, __ATOMIC_SEQ_CST);
    if (!item->host)
        (void)file->ops->poll(file, &item->waiter);
    rearm(item, event);
    return 0;
}

/* How deep instances watch instances below this one; NEST_MAX + 1 also where target is among them.
 */
static int depth(const struct epoll *epoll, const struct epoll *target)
{
    int deepest = 0;
    if (epoll == target)
        return NEST_MAX + 1;
    for (uint32_t b = 0; b < BUCKETS; b++) {
        for (const struct item *i = epoll->items[b]; i; i = i->next) {
            if (i->file->ops != &g_epoll_ops)
                continue;
            int below = 1 + depth(epoll_of(i->file), target);
            deepest = below > deepest ? below : deepest;
            if (deepest > NEST_MAX)
                return deepest;
        }
    }
    return deepest;
}

static int control(struct epoll *epoll, int op, struct file *file, int32_t fd,
                   const struct epoll_event *event)
{
    int ret = 0;
    mutex_take(&g_epoll.mutex);
    /* Items change only under g_epoll.mutex, so the walk below needs no instance's own. */
    if (op == EPOLL_CTL_ADD && file->ops == &g_epoll_ops &&
        depth(epoll_of(file), epoll) >= NEST_MAX)
        ret = -ELOOP;
    mutex_take(&epoll->mutex);
    struct item *item = find(epoll, file, fd);
    if (ret < 0) {
        /* refused */
    } else if (op == EPOLL_CTL_ADD) {
        ret = item ? -EEXIST : add_item(epoll, file, fd, event);
    } else if (!item) {
        ret = -ENOENT;
    } else if (op == EPOLL_CTL_DEL) {
        drop_item(item);
    } else if (item->mode & EPOLLEXCLUSIVE || event->events & EPOLLEXCLUSIVE) {
        ret = -EINVAL;
    } else {
        rearm(item, event);
    }
    mutex_drop(&epoll->mutex);
    mutex_drop(&g_epoll.mutex);
    return ret;
}

void epoll_forget(struct file *file)
{
    if (!__atomic_load_n(&g_epoll.count, __ATOMIC_SEQ_CST))
        return;
    mutex_take(&g_epoll.mutex);
    struct item *next;
    for (struct item *item = g_epoll.watched[hash_file(file)]; item; item = next) {
        next = item->watch_next;
        if (item->file != file)
            continue;
        struct epoll *epoll = item->epoll;
        mutex_take(&epoll->mutex);
        drop_item(item);
        mutex_drop(&epoll->mutex);
    }
    mutex_drop(&g_epoll.mutex);
}

void epoll_moved(struct file *file)
{
    if (!__atomic_load_n(&g_epoll.count, __ATOMIC_SEQ_CST))
        return;
    mutex_take(&g_epoll.mutex);
    for (struct item *item = g_epoll.watched[hash_file(file)]; item; item = item->watch_next) {
        if (item->file != file || item->host)
            continue;
        mutex_take(&item->epoll->mutex);
        waitq_remove(&item->waiter);
        (void)file->ops->poll(file, &item->waiter);
        mutex_drop(&item->epoll->mutex);
        item_notify(&item->waiter);
    }
    mutex_drop(&g_epoll.mutex);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void give(struct item *item, uint32_t events, struct epoll_event *ret)
{
    *ret = (struct epoll_event){ .events = events, .data = item->data };
    if (item->mode & EPOLLONESHOT)
        item->events = 0;
}

/* Takes up to max events of the ready list. The mutex is held. */
static uint32_t harvest(struct epoll *epoll, struct epoll_event *out, uint32_t max)
{
    struct item *again = NULL, **end = &again, *item;
    uint32_t found = 0;
    while (found < max && (item = ready_pop(epoll))) {
        uint32_t events = ask(item);
        if (!events)
            continue;
        give(item, events, &out[found++]);
        /* Level-triggered: looked at again by the next wait. Chained through ready_next meanwhile;
         * a notification may have put it on the list again, which is as good. */
        if (!(item->mode & (EPOLLET | EPOLLONESHOT))) {
            LOCKED(&epoll->ready_lock);
            if (!item->ready) {
                item->ready = true;
                item->ready_next = NULL;
                *end = item;
                end = &item->ready_next;
            }
        }
    }
    while (again) {
        struct item *next = again->ready_next;
        lock_take(&epoll->ready_lock);
        again->ready = false;
        lock_drop(&epoll->ready_lock);
        ready_push(again);
        again = next;
    }
    return found;
}

/* The handles to ask the host about, and whose they are: HOST_MAX at most. The mutex is held. */
static uint32_t host_list(const struct epoll *epoll, struct ocall_pollfd *fds)
{
    uint32_t count = 0;
    for (uint32_t b = 0; b < BUCKETS && count < HOST_MAX; b++) {
        for (struct item *i = epoll->items[b]; i && count < HOST_MAX; i = i->next) {
            if (i->host && i->events)
                fds[count++] = (struct ocall_pollfd){
                    .handle = i->file->ops->host_handle(i->file),
                    .events = (uint16_t)i->events,
                };
        }
    }
    return count;
}

/* Which items the answers belong to is found again by handle: the list may have changed. */
static uint32_t host_harvest(struct epoll *epoll, const struct ocall_pollfd *fds, uint32_t count,
                             struct epoll_event *out, uint32_t max)
{
    uint32_t found = 0;
    for (uint32_t k = 0; k < count && found < max; k++) {
        if (!fds[k].revents)
            continue;
        for (uint32_t b = 0; b < BUCKETS && found < max; b++) {
            for (struct item *i = epoll->items[b]; i && found < max; i = i->next) {
                if (!i->host || i->file->ops->host_handle(i->file) != fds[k].handle)
                    continue;
                uint32_t events = i->events ? fds[k].revents & (i->events | POLL_ALWAYS_BITS) : 0;
                if (events && i->events == fds[k].events)
                    give(i, events, &out[found++]);
            }
        }
    }
    return found;
}

/* One turn: 1 with *ret_found set, 0 to look again, or errno. */
static int wait_once(struct epoll *epoll, struct epoll_event *out, uint32_t max, uint64_t *deadline,
                     struct ocall_pollfd **fds_buffer, uint32_t *ret_found)
{
    struct waiter waiter = { .thread = current() };
    int ret = 0;

    if (!*fds_buffer && __atomic_load_n(&epoll->host_count, __ATOMIC_RELAXED)) {
        *fds_buffer = heap_alloc(HOST_MAX * sizeof(**fds_buffer));
        if (!*fds_buffer)
            return -ENOMEM;
    }
    struct ocall_pollfd *fds = *fds_buffer;

    waitq_add(&epoll->queue, &waiter);
    mutex_take(&epoll->mutex);
    uint32_t found = harvest(epoll, out, max);
    uint32_t host = fds ? host_list(epoll, fds) : 0;
    mutex_drop(&epoll->mutex);

    if (found || *deadline == 0) {
        if (host && found < max)
            ret = thread_poll_now(fds, host);
    } else if (!ready_any(epoll)) {
        ret = host ? thread_park_poll(fds, host, *deadline) : thread_park(*deadline);
    }
    waitq_remove(&waiter);
    if (ret > 0) {
        mutex_take(&epoll->mutex);
        found += host_harvest(epoll, fds, host, out + found, max - found);
        mutex_drop(&epoll->mutex);
    }
    *ret_found = found;
    if (found || *deadline == 0)
        return 1;
    if (ret == -ETIMEDOUT) {
        *deadline = 0; /* one more look */
        return 0;
    }
    return ret < 0 ? ret : 0;
}

static int64_t wait_events(struct epoll *epoll, void *user, uint32_t max, uint64_t deadline,
                           struct epoll_event *out)
{
    struct ocall_pollfd *fds = NULL; /* once there are host handles */
    uint32_t found = 0;
    int ret;
    do {
        ret = wait_once(epoll, out, max, &deadline, &fds, &found);
    } while (ret == 0);
    heap_free(fds);
    if (ret < 0)
        return ret;
    ret = copy_to_user(user, out, found * sizeof(*out));
    return ret < 0 ? ret : (int64_t)found;
}

/* deadline 0: no waiting. */
static int64_t do_wait(int32_t fd, void *user, int32_t max, uint64_t deadline)
{
    if (max <= 0 || (uint64_t)max > INT32_MAX / sizeof(struct epoll_event))
        return -EINVAL;
    if (!user_range_ok(user, (uint64_t)max * sizeof(struct epoll_event)))
        return -EFAULT;
    struct file *file = fd_get(fd);
    if (!file)
        return -EBADF;
    int64_t ret = -EINVAL;
    if (file->ops == &g_epoll_ops) {
        struct epoll *epoll = epoll_of(file);
        uint32_t count = (uint32_t)max < EVENTS_MAX ? (uint32_t)max : EVENTS_MAX;
        struct epoll_event few[16], *out = few;
        if (count > 16)
            out = heap_alloc(count * sizeof(*out));
        ret = out ? wait_events(epoll, user, count, deadline, out) : -ENOMEM;
        if (out != few)
            heap_free(out);
    }
    file_unref(file);
    return ret;
}

/* --- the file --------------------------------------------------------------------------------- */

/* Ready if a wait would find something. Asks level by level: an instance's mutex, then those of the
 * instances in it. */
static uint32_t epoll_poll(struct file *file, struct waiter *waiter)
{
    struct epoll *epoll = epoll_of(file);
    if (waiter)
        waitq_add(&epoll->queue, waiter);
    uint32_t ret = 0;
    mutex_take(&epoll->mutex);
    for (struct item *i; !ret && (i = ready_pop(epoll));) {
        if (ask(i)) {
            ready_push(i);
            ret = EPOLLIN | EPOLLRDNORM;
        }
    }
    if (!ret && epoll->host_count) {
        struct ocall_pollfd *fds = heap_alloc(HOST_MAX * sizeof(*fds));
        if (fds && thread_poll_now(fds, host_list(epoll, fds)) > 0)
            ret = EPOLLIN | EPOLLRDNORM;
        heap_free(fds);
    }
    mutex_drop(&epoll->mutex);
    return ret;
}

static int epoll_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(epoll_of(file)->ino, 0600, ret);
    return 0;
}

static void epoll_release(struct file *file)
{
    struct epoll *epoll = epoll_of(file);
    mutex_take(&g_epoll.mutex);
    mutex_take(&epoll->mutex);
    for (uint32_t b = 0; b < BUCKETS; b++) {
        while (epoll->items[b])
            drop_item(epoll->items[b]);
    }
    mutex_drop(&epoll->mutex);
    mutex_drop(&g_epoll.mutex);
    heap_free(epoll);
}

static const struct file_ops g_epoll_ops = {
    .name = "[eventpoll]",
    .fstat = epoll_fstat,
    .poll = epoll_poll,
    .release = epoll_release,
    .travel = TRAVEL_ANEW,
};

/* --- calls ------------------------------------------------------------------------------------ */

int epoll_anew(struct file **ret)
{
    struct epoll *epoll = heap_alloc(sizeof(*epoll));
    if (!epoll)
        return -ENOMEM;
    epoll->ino = anon_ino();
    struct file *file = file_new(&g_epoll_ops, 2 /* O_RDWR */, epoll);
    if (!file) {
        heap_free(epoll);
        return -ENOMEM;
    }
    *ret = file;
    return 0;
}

bool epoll_describe(const struct file *file, struct anew *ret)
{
    if (file->ops != &g_epoll_ops)
        return false;
    *ret = (struct anew){ .kind = ANEW_EPOLL };
    return true;
}

uint32_t epoll_members(const struct file *file, struct anew_member *ret, uint32_t max)
{
    struct epoll *epoll = epoll_of(file);
    uint32_t count = 0;
    mutex_take(&epoll->mutex);
    for (uint32_t b = 0; b < BUCKETS; b++) {
        for (const struct item *i = epoll->items[b]; i; i = i->next, count++)
            if (count < max)
                ret[count] = (struct anew_member){ i->file, i->fd, i->events | i->mode, i->data };
    }
    mutex_drop(&epoll->mutex);
    return count;
}

int epoll_watch(struct file *file, const struct anew_member *member)
{
    struct epoll_event event = { .events = member->events, .data = member->data };
    return control(epoll_of(file), EPOLL_CTL_ADD, member->file, member->fd, &event);
}

static int64_t create(uint32_t flags)
{
    struct file *file;
    if (flags & ~ANON_CLOEXEC)
        return -EINVAL;
    int ret = epoll_anew(&file);
    return ret < 0 ? ret : anon_install(file, flags);
}

int64_t sys_epoll_create(const struct sysargs *args)
{
    return (int32_t)args->a[0] <= 0 ? -EINVAL : create(0);
}

int64_t sys_epoll_create1(const struct sysargs *args)
{
    return create((uint32_t)args->a[0]);
}

/* Regular files and directories are not. */
static bool pollable(struct file *file)
{
    struct kstat stat;
    if (!file->ops->poll)
        return false;
    if (!file->ops->fstat || file->ops->fstat(file, &stat) < 0)
        return true;
    uint32_t type = stat.mode & MODE_TYPE;
    return type != MODE_REGULAR && type != MODE_DIRECTORY;
}

int64_t sys_epoll_ctl(const struct sysargs *args)
{
    int op = (int)args->a[1];
    int32_t fd = (int32_t)args->a[2];
    struct epoll_event event = { 0 };

    if (op == EPOLL_CTL_ADD || op == EPOLL_CTL_MOD) {
        int r = GET_USER(&event, (const struct epoll_event *)(uintptr_t)args->a[3]);
        if (r < 0)
            return r;
    } else if (op != EPOLL_CTL_DEL) {
        return -EINVAL;
    }
    struct file *instance = fd_get((int)args->a[0]), *file = fd_get(fd);
    int ret = -EBADF;
    if (!instance || !file)
        ;
    else if (!pollable(file))
        ret = -EPERM;
    else if (instance == file || instance->ops != &g_epoll_ops)
        ret = -EINVAL;
    else
        ret = control(epoll_of(instance), op, file, fd, &event);
    file_unref(file);
    file_unref(instance);
    return ret;
}

static uint64_t deadline_ms(int32_t ms)
{
    if (ms <= 0)
        return ms < 0 ? OCALL_NEVER : 0;
    return clock_deadline(CLOCK_MONOTONIC, (uint64_t)ms * 1000000, false);
}

int64_t sys_epoll_wait(const struct sysargs *args)
{
    return do_wait((int32_t)args->a[0], (void *)(uintptr_t)args->a[1], (int32_t)args->a[2],
                   deadline_ms((int32_t)args->a[3]));
}

static int64_t wait_masked(const struct sysargs *args, uint64_t deadline)
{
    if (args->a[4]) {
        uint64_t mask;
        if (args->a[5] != SIGSET_SIZE)
            return -EINVAL;
        int r = GET_USER(&mask, (const uint64_t *)(uintptr_t)args->a[4]);
        if (r < 0)
            return r;
        signal_mask_swap(mask);
    }
    int64_t ret =
        do_wait((int32_t)args->a[0], (void *)(uintptr_t)args->a[1], (int32_t)args->a[2], deadline);
    /* Interrupted: the signal's delivery puts the mask back. */
    if (ret != -EINTR)
        signal_mask_restore();
    return ret;
}

int64_t sys_epoll_pwait(const struct sysargs *args)
{
    return wait_masked(args, deadline_ms((int32_t)args->a[3]));
}

int64_t sys_epoll_pwait2(const struct sysargs *args)
{
    uint64_t deadline = OCALL_NEVER, ns;
    struct __kernel_timespec ts;
    if (args->a[3]) {
        int r = GET_USER(&ts, (const struct __kernel_timespec *)(uintptr_t)args->a[3]);
        if (r < 0)
            return r;
        if (!timespec_valid(&ts, &ns))
            return -EINVAL;
        deadline = ns ? clock_deadline(CLOCK_MONOTONIC, ns, false) : 0;
    }
    return wait_masked(args, deadline);
}
