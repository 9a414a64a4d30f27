/*
 * epoll_create(2), epoll_ctl(2), epoll_wait(2). Tier: enclave.
 *
 * An item is a waiter on the watched file's queue that is never taken off: waitq_wake() calls
 * item_notify(), which puts the item on its instance's ready list and wakes who waits there.
 * epoll_wait takes items off that list, asks the file what it has now, and puts level-triggered
 * ones that had something back.
 *
 * Files whose readiness the host knows have no queue. For them the instance has one at the host, which
 * keeps their modes too (edge, one-shot, exclusive): its word on when a descriptor is ready is as good as
 * any other that the host could give. What is added and changed waits on a list, and goes out in one OCALL
 * before the next wait, or at once while somebody waits; what is closed goes without one. An event names
 * its item by a token (slot and generation), so that one of an item that has gone is known.
 *
 * An instance that is itself watched or polled has both: its queue, and its instance at the host, a
 * handle like any other.
 *
 * Locks: g_epoll.mutex (who watches what, for close and ctl) -> instance's mutex (its items; held
 * while files are asked, and while the host is told of changes) -> queue locks from the inside out ->
 * ready_lock. Instances in instances have no cycle, so their mutexes and queues have an order.
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

#define BUCKETS         64u
#define NEST_MAX        5
#define SLOTS_MAX       (1u << 20)
#define CHANGES_AT_ONCE 64u
#define HANDLE_MAX      0x7fffffff
#define EVENTS_MAX      4096u /* events given at once */
#define HOST_EVENTS     256u  /* events of the host taken at once */
#define SIGSET_SIZE     8
#define MODE_TYPE       0170000u
#define MODE_REGULAR    0100000u
#define MODE_DIRECTORY  0040000u
#define MODE_BITS       (EPOLLONESHOT | EPOLLET | EPOLLWAKEUP | EPOLLEXCLUSIVE)

sys_fn sys_epoll_create, sys_epoll_create1, sys_epoll_ctl, sys_epoll_wait, sys_epoll_pwait,
    sys_epoll_pwait2;

struct epoll;

struct item {
    struct waiter waiter; /* on the file's queue; first: notify() gets it */
    struct epoll *epoll;
    struct file *file; /* not referenced: epoll_forget() comes before it goes */
    int32_t fd;
    uint32_t events; /* wanted, without the mode bits */
    bool rests;      /* after EPOLLONESHOT */
    uint32_t mode;   /* of MODE_BITS */
    uint64_t data;
    bool queued;     /* the file has a queue, and the waiter is on it */
    bool host;       /* the host knows when it is ready */
    bool registered; /* the host's instance watches it */
    bool changed;    /* on the list of what the host is to be told */
    int handle;      /* of the file; own_handle: a copy, since it is watched twice */
    bool own_handle;
    uint32_t slot, generation;
    uint64_t answer; /* the last one of the host's that named it, */
    uint32_t place;  /* and where in it it was given */
    struct item *changed_next;
    struct item *next, *watch_next; /* in the instance's bucket; in g_epoll's */
    bool ready;                     /* on the ready list; with ready_lock */
    struct item *ready_next;
};

struct epoll {
    struct mutex mutex;
    struct item *items[BUCKETS];
    int handle; /* of the host's instance; -1: none yet. Set once; atomic */
    uint32_t host_count, host_waiters;
    bool watched; /* the host's instance is itself waited for: changes go there at once */
    struct item *changed;
    struct item **slots;
    uint32_t slot_count, slot_hint, generation; /* no slot below the hint is free */
    uint64_t answers;                           /* of the host so far */
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

/* --- the host's instance; the mutex is held ------------------------------------------------------- */

static int need_handle(struct epoll *epoll)
{
    if (epoll->handle >= 0)
        return 0;
    int64_t handle = border_call0(OCALL_EPOLL_CREATE, HANDLE_MAX);
    if (handle < 0)
        return (int)handle;
    __atomic_store_n(&epoll->handle, (int)handle, __ATOMIC_RELEASE);
    return 0;
}

static int take_slot(struct epoll *epoll, struct item *item)
{
    uint32_t slot = epoll->slot_hint;
    while (slot < epoll->slot_count && epoll->slots[slot])
        slot++;
    if (slot == epoll->slot_count) {
        uint32_t count = slot ? slot * 2 : 16;
        struct item **more =
            count > SLOTS_MAX ? NULL : heap_realloc(epoll->slots, count * sizeof(*more));
        if (!more)
            return -ENOMEM;
        for (uint32_t i = slot; i < count; i++)
            more[i] = NULL;
        epoll->slots = more;
        epoll->slot_count = count;
    }
    epoll->slots[slot] = item;
    epoll->slot_hint = slot + 1;
    item->slot = slot;
    item->generation = ++epoll->generation;
    return 0;
}

static void note_change(struct item *item)
{
    if (item->changed)
        return;
    item->changed = true;
    item->changed_next = item->epoll->changed;
    item->epoll->changed = item;
}

static void drop_change(struct item *item)
{
    struct item **at = &item->epoll->changed;
    if (!item->changed)
        return;
    while (*at != item)
        at = &(*at)->changed_next;
    *at = item->changed_next;
    item->changed = false;
}

static struct ocall_epoll_change change_of(const struct item *item, enum ocall_epoll_op op)
{
    return (struct ocall_epoll_change){
        .handle = item->handle,
        .op = op,
        .events = item->rests ? EPOLLET : item->events | item->mode,
        .token = item->slot | (uint64_t)item->generation << 32,
    };
}

static int send_changes(const struct epoll *epoll, const struct ocall_epoll_change *changes,
                        uint64_t count)
{
    border_put(0, changes, count * sizeof(*changes));
    return (int)border_call2(OCALL_EPOLL_CHANGE, 0, (uint64_t)epoll->handle, count);
}

/* Tells the host what has changed. The first error of it. */
static int flush(struct epoll *epoll)
{
    struct ocall_epoll_change changes[CHANGES_AT_ONCE];
    int ret = 0;
    while (epoll->changed) {
        uint64_t count = 0;
        struct item *item;
        while (count < CHANGES_AT_ONCE && (item = epoll->changed)) {
            changes[count++] =
                change_of(item, item->registered ? OCALL_EPOLL_MODIFY : OCALL_EPOLL_ADD);
            epoll->changed = item->changed_next;
            item->changed = false;
            item->registered = true;
        }
        int r = send_changes(epoll, changes, count);
        if (r < 0 && ret == 0)
            ret = r;
    }
    return ret;
}

/* What is changed while somebody waits is to count at once: who does not wait at the host is to look again. */
static void flush_soon(struct epoll *epoll)
{
    static bool said;
    if (!epoll->host_waiters)
        waitq_wake(&epoll->queue, UINT32_MAX);
    if (!epoll->host_waiters && !epoll->watched)
        return;
    int ret = flush(epoll);
    if (ret < 0 && !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        log_note("the host does not watch a descriptor: error %d", -ret);
}

/* --- items ------------------------------------------------------------------------------------- */

/* What the file has of what is wanted. */
static uint32_t ask(const struct item *item)
{
    uint32_t now = item->file->ops->poll(item->file, NULL);
    return item->rests ? 0 : now & (item->events | POLL_ALWAYS_BITS);
}

/* g_epoll.mutex is held too. closes: the file is going, and with its handle the host forgets it. Frees the item. */
static void drop_item(struct item *item, bool closes)
{
    struct epoll *epoll = item->epoll;
    const struct file_ops *ops = item->file->ops;
    waitq_remove(&item->waiter); /* from here on it is not notified */
    ready_remove(item);
    drop_change(item);
    if (item->registered && !item->own_handle &&
        !(closes && ops->handle_alone && ops->handle_alone(item->file))) {
        struct ocall_epoll_change change = change_of(item, OCALL_EPOLL_REMOVE);
        (void)!send_changes(epoll, &change, 1);
    }
    if (item->own_handle)
        border_call1(OCALL_CLOSE, 0, (uint64_t)item->handle);
    if (item->host) {
        epoll->slots[item->slot] = NULL;
        epoll->slot_hint = item->slot < epoll->slot_hint ? item->slot : epoll->slot_hint;
        epoll->host_count--;
    }

    struct item **at = &epoll->items[hash_fd(item->fd)];
    while (*at != item)
        at = &(*at)->next;
    *at = item->next;
    at = &g_epoll.watched[hash_file(item->file)];
    while (*at != item)
        at = &(*at)->watch_next;
    *at = item->watch_next;
    __atomic_sub_fetch(&g_epoll.count, 1, __ATOMIC_SEQ_CST);
    heap_free(item);
}

static int rearm(struct item *item, const struct epoll_event *event)
{
    int ret = 0;
    item->events = event->events & ~MODE_BITS;
    item->mode = event->events & MODE_BITS & ~EPOLLWAKEUP;
    item->data = event->data;
    item->rests = false;
    if (item->host) {
        note_change(item);
        /* Only a socket is sure to be one that can be watched. */
        if (!item->registered && !item->file->ops->handle_alone)
            ret = flush(item->epoll);
        else
            flush_soon(item->epoll);
    }
    if (ret == 0 && item->queued && ask(item)) {
        ready_push(item);
        waitq_wake(&item->epoll->queue, UINT32_MAX);
    }
    return ret;
}

static bool watched_here(const struct epoll *epoll, const struct file *file)
{
    for (const struct item *i = g_epoll.watched[hash_file(file)]; i; i = i->watch_next)
        if (i->file == file && i->epoll == epoll && !i->own_handle)
            return true;
    return false;
}

/* The file's handle, for this item; and its slot. */
static int begin_host(struct item *item)
{
    struct epoll *epoll = item->epoll;
    int ret = need_handle(epoll);
    if (ret == 0)
        ret = take_slot(epoll, item);
    if (ret < 0)
        return ret;
    item->handle = item->file->ops->host_handle(item->file);
    if (watched_here(epoll, item->file)) {
        int64_t copy = border_call1(OCALL_DUP, HANDLE_MAX, (uint64_t)item->handle);
        if (copy < 0) {
            epoll->slots[item->slot] = NULL;
            return (int)copy;
        }
        item->handle = (int)copy;
        item->own_handle = true;
    }
    epoll->host_count++;
    return 0;
}

static struct item *new_item(struct epoll *epoll, struct file *file, int32_t fd, int *ret_error)
{
    struct item *item = heap_alloc(sizeof(*item));
    *ret_error = -ENOMEM;
    if (!item)
        return NULL;
    const struct file_ops *ops = file->ops;
    *item = (struct item){
        .waiter = { .notify = item_notify },
        .epoll = epoll,
        .file = file,
        .fd = fd,
        .host = ops->host_handle && ops->host_handle(file) >= 0,
    };
    item->queued = !item->host || ops->two_sources;
    if (item->host && (*ret_error = begin_host(item)) < 0) {
        heap_free(item);
        return NULL;
    }
    item->watch_next = g_epoll.watched[hash_file(file)];
    g_epoll.watched[hash_file(file)] = item;
    __atomic_add_fetch(&g_epoll.count, 1, __ATOMIC_SEQ_CST);
    return item;
}

static int add_item(struct epoll *epoll, struct file *file, int32_t fd,
                    const struct epoll_event *event)
{
    int ret = 0;
    struct item *item = new_item(epoll, file, fd, &ret);
    if (!item)
        return ret;
    item->next = epoll->items[hash_fd(fd)];
    epoll->items[hash_fd(fd)] = item;
    if (item->queued)
        (void)file->ops->poll(file, &item->waiter);
    ret = rearm(item, event);
    if (ret < 0) {
        item->registered = false;
        drop_item(item, false);
    }
    return ret;
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
        drop_item(item, false);
    } else if (item->mode & EPOLLEXCLUSIVE || event->events & EPOLLEXCLUSIVE) {
        ret = -EINVAL;
    } else {
        ret = rearm(item, event);
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
        drop_item(item, true);
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
        if (item->file != file || !item->queued)
            continue;
        mutex_take(&item->epoll->mutex);
        waitq_remove(&item->waiter);
        (void)file->ops->poll(file, &item->waiter);
        mutex_drop(&item->epoll->mutex);
        item_notify(&item->waiter);
    }
    mutex_drop(&g_epoll.mutex);
}

/* One that is watched by its queue; NULL: none. g_epoll.mutex is held. */
static struct item *queued_item(const struct file *file)
{
    struct item *item = g_epoll.watched[hash_file(file)];
    while (item && (item->file != file || item->host))
        item = item->watch_next;
    return item;
}

void epoll_became(struct file *file)
{
    struct item *item;
    if (!__atomic_load_n(&g_epoll.count, __ATOMIC_SEQ_CST))
        return;
    mutex_take(&g_epoll.mutex);
    while ((item = queued_item(file))) {
        struct epoll *epoll = item->epoll;
        int32_t fd = item->fd;
        const struct epoll_event event = { .events = item->events | item->mode,
                                           .data = item->data };
        mutex_take(&epoll->mutex);
        drop_item(item, false);
        if (add_item(epoll, file, fd, &event) < 0)
            log_note("descriptor %d is not watched any more: no memory", fd);
        mutex_drop(&epoll->mutex);
    }
    mutex_drop(&g_epoll.mutex);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void give(struct item *item, uint32_t events, struct epoll_event *ret)
{
    *ret = (struct epoll_event){ .events = events, .data = item->data };
    if (!(item->mode & EPOLLONESHOT))
        return;
    item->rests = true;
    if (item->host && item->queued)
        note_change(item); /* it came from one side: the other rests too */
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

/* The host's word: of an item that is still there, what it is watched for; of each once, as programs rely on. One that
 * has a queue too goes on the ready list, which *ret_ready says: it may have been found there already. The mutex is
 * held. */
static uint32_t host_harvest(struct epoll *epoll, const struct ocall_epoll_event *events,
                             uint32_t count, struct epoll_event *out, uint32_t max, bool *ret_ready)
{
    uint32_t found = 0;
    epoll->answers++;
    for (uint32_t k = 0; k < count && found < max; k++) {
        uint32_t slot = (uint32_t)events[k].token, generation = (uint32_t)(events[k].token >> 32);
        struct item *item = slot < epoll->slot_count ? epoll->slots[slot] : NULL;
        if (!item || item->generation != generation || item->rests)
            continue;
        uint32_t now = events[k].events & (item->events | POLL_ALWAYS_BITS);
        if (!now)
            continue;
        if (item->queued) {
            ready_push(item);
            *ret_ready = true;
        } else if (item->answer == epoll->answers) {
            out[item->place].events |= now;
        } else {
            item->answer = epoll->answers;
            item->place = found;
            give(item, now, &out[found++]);
        }
    }
    return found;
}

/* Asks the host's instance, or waits there: how many events; errno as thread_park. Nothing is held. */
static int host_wait(struct epoll *epoll, struct ocall_epoll_event *events, uint32_t max,
                     uint64_t deadline)
{
    uint64_t host = 0;
    if (max > HOST_EVENTS)
        max = HOST_EVENTS;
    int wait = deadline ? thread_wait_begin(deadline, &host) : 0;
    if (wait > 0 || wait == -ETIMEDOUT)
        return wait > 0 ? 0 : wait;
    /* A signal: what is there already comes first. */
    int64_t n = border_call3(OCALL_EPOLL_WAIT, max, (uint64_t)epoll->handle, max, host);
    if (n > 0)
        border_get(events, 0, (uint64_t)n * sizeof(*events));
    if (wait == 0 && deadline)
        thread_wait_end();
    return n > 0 ? (int)n : wait;
}

/* One turn: 1 with *ret_found set, 0 to look again, or errno. */
static int wait_once(struct epoll *epoll, struct epoll_event *out, uint32_t max, uint64_t *deadline,
                     uint32_t *ret_found)
{
    struct ocall_epoll_event events[HOST_EVENTS];
    struct waiter waiter = { .thread = current() };
    int ret = 0;

    waitq_add(&epoll->queue, &waiter);
    mutex_take(&epoll->mutex);
    uint32_t found = harvest(epoll, out, max);
    bool host = epoll->host_count || epoll->changed;
    if (host) {
        (void)!flush(epoll);
        epoll->host_waiters++;
    }
    mutex_drop(&epoll->mutex);

    if (found || *deadline == 0) {
        if (host && found < max)
            ret = host_wait(epoll, events, max - found, 0);
    } else if (!ready_any(epoll)) {
        ret = host ? host_wait(epoll, events, max, *deadline) : thread_park(*deadline);
    }
    waitq_remove(&waiter);
    if (host) {
        mutex_take(&epoll->mutex);
        epoll->host_waiters--;
        bool first = !found, ready = false;
        if (ret > 0)
            found += host_harvest(epoll, events, (uint32_t)ret, out + found, max - found, &ready);
        if (ready && first)
            found += harvest(epoll, out + found, max - found);
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
    uint32_t found = 0;
    int ret;
    do {
        ret = wait_once(epoll, out, max, &deadline, &found);
    } while (ret == 0);
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
        struct ocall_pollfd fd = { .handle = epoll->handle, .events = EPOLLIN };
        (void)!flush(epoll);
        if (thread_poll_now(&fd, 1) > 0)
            ret = EPOLLIN | EPOLLRDNORM;
    }
    mutex_drop(&epoll->mutex);
    return ret;
}

/* Somebody is about to wait for it: from now on what is watched is at the host in time. */
static int epoll_host_handle(struct file *file)
{
    struct epoll *epoll = epoll_of(file);
    if (epoll->watched)
        return epoll->handle;
    mutex_take(&epoll->mutex);
    if (need_handle(epoll) == 0) {
        epoll->watched = true;
        flush_soon(epoll);
    }
    mutex_drop(&epoll->mutex);
    return epoll->handle;
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
        while (epoll->items[b]) {
            epoll->items[b]->registered = false; /* its instance goes as a whole */
            drop_item(epoll->items[b], false);
        }
    }
    mutex_drop(&epoll->mutex);
    mutex_drop(&g_epoll.mutex);
    if (epoll->handle >= 0)
        border_call1(OCALL_CLOSE, 0, (uint64_t)epoll->handle);
    heap_free(epoll->slots);
    heap_free(epoll);
}

static const struct file_ops g_epoll_ops = {
    .name = "[eventpoll]",
    .fstat = epoll_fstat,
    .poll = epoll_poll,
    .host_handle = epoll_host_handle,
    .two_sources = true,
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
    epoll->handle = -1;
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
