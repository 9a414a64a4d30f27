/*
 * Shared memory: where each page is (dsm.h draws it). Tier: enclave, the root only; any of its threads.
 *
 * One mutex guards all; it is never held while the address space's lock is waited for by somebody who holds
 * this one, because nothing here takes that: pages of the root's own program are taken without the mutex.
 */
#include <asm/errno.h>
#include <linux/fcntl.h>

#include "abi/layout.h"
#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "thread/mutex.h"
#include "tree/ptable.h"
#include "vfs/remote/serve.h"
#include "vfs/tmpfs/tmpfs.h"

#define PAGE       LAYOUT_PAGE
#define OBJECT_MAX (1ull << 44)

/* Holders besides peers. The root is a peer here as any other. */
static char g_at_hub, g_root, g_lost;
#define AT_HUB ((struct peer *)(void *)&g_at_hub)
#define ROOT   ((struct peer *)(void *)&g_root)
#define LOST   ((struct peer *)(void *)&g_lost)

struct page {
    struct page *next;
    uint64_t index;
    struct peer *holder;
    bool revoked;       /* the holder was told */
    struct waitq queue; /* who waits for it to come to the hub */
};

struct attached {
    struct attached *next;
    struct peer *who;
    uint64_t count;
    bool writes; /* what it gives counts */
};

/* A futex waiter. */
struct ticket {
    struct ticket *next;
    struct peer *who;
    uint64_t offset, number;
    uint32_t bitset;
};

struct object {
    struct object *next;
    uint32_t id;
    uint64_t keys[2]; /* who says one of them has the object: to read; to write too */
    struct file *store;
    struct peer *by_default; /* holder of pages that stand nowhere */
    struct attached *attached;
    struct page **buckets;
    uint32_t bucket_count, page_count; /* a power of two */
    struct ticket *first, **last;
    uint32_t reading
        [2]; /* system calls on the file under way: on the hub's thread, in the root's program */
};

uint32_t g_dsm_objects;

static struct mutex g_mutex;
static struct waitq
    g_moved; /* who waits for pages to come home for a system call, or for its end */
static struct object *g_objects;
static uint32_t g_next = 1;

static struct peer *peer_of(struct peer *who)
{
    return who ? who : ROOT;
}

static struct object *find(uint32_t id)
{
    for (struct object *o = g_objects; o; o = o->next)
        if (o->id == id)
            return o;
    return NULL;
}

static struct attached *attached_to(struct object *object, struct peer *who)
{
    for (struct attached *a = object->attached; a; a = a->next)
        if (a->who == who)
            return a;
    return NULL;
}

/* --- objects ------------------------------------------------------------------------------------ */

static int attach(struct object *object, struct peer *who, bool writes)
{
    struct attached *a = attached_to(object, who);
    if (!a) {
        a = heap_alloc(sizeof(*a));
        if (!a)
            return -ENOMEM;
        a->who = who;
        a->next = object->attached;
        object->attached = a;
    }
    a->count++;
    a->writes |= writes;
    return 0;
}

static void object_free(struct object *object)
{
    for (struct object **at = &g_objects; *at; at = &(*at)->next) {
        if (*at == object) {
            *at = object->next;
            __atomic_sub_fetch(&g_dsm_objects, 1, __ATOMIC_RELEASE);
            break;
        }
    }
    for (uint32_t i = 0; i < object->bucket_count; i++) {
        for (struct page *p = object->buckets[i], *next; p; p = next) {
            next = p->next;
            /* Requests of who has left the object meanwhile; they were told, and will not find it. */
            while (p->queue.first)
                waitq_remove(p->queue.first);
            heap_free(p);
        }
    }
    for (struct ticket *t = object->first, *next; t; t = next) {
        next = t->next;
        heap_free(t);
    }
    heap_free(object->buckets);
    file_unref(object->store);
    heap_free(object);
}

/* Takes over the file reference on success. The mutex is held. */
static struct object *object_new(struct file *store)
{
    struct object *object = heap_alloc(sizeof(*object));
    struct page **buckets = heap_alloc(64 * sizeof(struct page *));
    if (!object || !buckets || g_next == UINT32_MAX) {
        heap_free(object);
        heap_free(buckets);
        return NULL;
    }
    *object = (struct object){ .next = g_objects,
                               .id = g_next++,
                               .store = store,
                               .by_default = AT_HUB,
                               .buckets = buckets,
                               .bucket_count = 64 };
    object->last = &object->first;
    cpu_random(object->keys, sizeof(object->keys));
    g_objects = object;
    __atomic_add_fetch(&g_dsm_objects, 1, __ATOMIC_RELEASE);
    return object;
}

int64_t dsm_serve_new(struct peer *who, uint64_t size, uint64_t *ret_key)
{
    struct file *file;
    if (!size || size > OBJECT_MAX || size % PAGE)
        return -EINVAL;
    int r = tmpfs_anonymous(0600, O_RDWR, false, &file);
    if (r < 0)
        return r;
    r = file->ops->ftruncate(file, size);
    mutex_take(&g_mutex);
    struct object *object = r < 0 ? NULL : object_new(file);
    int64_t ret = r < 0 ? r : -ENOMEM;
    if (object) {
        ret = attach(object, peer_of(who), true);
        if (ret < 0) {
            object_free(object);
            file = NULL;
        } else {
            object->by_default = peer_of(who);
            *ret_key = object->keys[1];
            ret = object->id;
        }
    }
    mutex_drop(&g_mutex);
    if (ret < 0)
        file_unref(file);
    return ret;
}

static struct object *of_file(const struct file *file)
{
    struct inode *inode = tmpfs_inode_of(file);
    for (struct object *o = g_objects; o; o = o->next)
        if (inode && tmpfs_inode_of(o->store) == inode)
            return o;
    return NULL;
}

uint32_t dsm_serve_known(const struct file *file)
{
    mutex_take(&g_mutex);
    struct object *object = of_file(file);
    uint32_t id = object ? object->id : 0;
    mutex_drop(&g_mutex);
    return id;
}

int64_t dsm_serve_open(struct peer *who, struct file *file, uint64_t *ret_key)
{
    if (!tmpfs_inode_of(file))
        return -ENODEV;
    bool writes = (file->flags & O_ACCMODE) == O_RDWR && !(tmpfs_get_seals(file) & F_SEAL_WRITE);
    if ((file->flags & O_ACCMODE) == O_WRONLY)
        return -EACCES;
    mutex_take(&g_mutex);
    struct object *object = of_file(file);
    bool made = false;
    if (!object) {
        object = object_new(file_ref(file));
        if (!object)
            file_unref(file);
        made = object != NULL;
    }
    int64_t ret = object ? attach(object, peer_of(who), writes) : -ENOMEM;
    uint32_t id = 0;
    if (ret == 0) {
        id = object->id;
        *ret_key = object->keys[writes];
        ret = id;
        if (made) /* until it is known whether the root's program has mapped it */
            object->by_default = ROOT;
    } else if (made) {
        object_free(object);
    }
    uint64_t key = ret < 0 ? 0 : object->keys[1];
    mutex_drop(&g_mutex);
    if (made && ret >= 0 && !dsm_convert_here(file, id, key)) {
        mutex_take(&g_mutex);
        object = find(id);
        if (object && object->by_default == ROOT)
            object->by_default = AT_HUB;
        mutex_drop(&g_mutex);
    }
    return ret;
}

int64_t dsm_serve_attach(struct peer *who, uint32_t id, uint64_t key)
{
    mutex_take(&g_mutex);
    struct object *object = find(id);
    int64_t ret = -EACCES;
    if (object && (key == object->keys[0] || key == object->keys[1]))
        ret = attach(object, peer_of(who), key == object->keys[1]);
    mutex_drop(&g_mutex);
    return ret;
}

static void drop_tickets(struct object *object, struct peer *who)
{
    struct ticket **at = &object->first;
    while (*at) {
        struct ticket *t = *at;
        if (t->who != who) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        heap_free(t);
    }
    object->last = at;
}

/* The process has the object no more. What it holds still is lost; what it never touched is not. True: nobody has
 * the object. */
static bool leave(struct object *object, struct peer *who, uint32_t *lost)
{
    for (uint32_t i = 0; i < object->bucket_count; i++) {
        for (struct page *p = object->buckets[i]; p; p = p->next) {
            if (p->holder != who)
                continue;
            p->holder = LOST;
            p->revoked = false;
            (*lost)++;
            waitq_wake(&p->queue, UINT32_MAX);
            waitq_wake(&g_moved, UINT32_MAX);
        }
    }
    drop_tickets(object, who);
    for (struct attached **at = &object->attached; *at; at = &(*at)->next) {
        if ((*at)->who != who)
            continue;
        struct attached *a = *at;
        *at = a->next;
        heap_free(a);
        break;
    }
    return !object->attached;
}

void dsm_serve_detach(struct peer *who, uint32_t id, uint64_t count)
{
    uint32_t lost = 0;
    mutex_take(&g_mutex);
    struct object *object = find(id);
    struct attached *a = object ? attached_to(object, peer_of(who)) : NULL;
    if (a) {
        a->count -= count < a->count ? count : a->count;
        if (!a->count) {
            /* It gave all that it had: what it never touched is the file's. */
            if (object->by_default == a->who)
                object->by_default = AT_HUB;
            if (leave(object, a->who, &lost))
                object_free(object);
        }
    }
    mutex_drop(&g_mutex);
}

bool hub_memory_has(int32_t pid)
{
    bool has = false;
    mutex_take(&g_mutex);
    for (struct object *o = g_objects; o && !has; o = o->next)
        for (struct attached *a = o->attached; a && !has; a = a->next)
            has = a->who != ROOT && peer_pid(a->who) == pid;
    mutex_drop(&g_mutex);
    return has;
}

void hub_memory_drop(struct peer *peer)
{
    uint32_t lost = 0;
    mutex_take(&g_mutex);
    for (struct object *o = g_objects, *next; o; o = next) {
        next = o->next;
        if (!attached_to(o, peer))
            continue;
        if (o->by_default == peer) {
            o->by_default = LOST;
            lost++;
        }
        if (leave(o, peer, &lost))
            object_free(o);
    }
    mutex_drop(&g_mutex);
    if (lost)
        log_error("process %d ended with pages of shared memory: who touches them gets SIGBUS",
                  peer_pid(peer));
}

/* --- pages -------------------------------------------------------------------------------------- */

static struct page **bucket(struct object *object, uint64_t index)
{
    return &object->buckets[(index * 0x9e3779b97f4a7c15ull) >> 32 & (object->bucket_count - 1)];
}

static struct page *known(struct object *object, uint64_t index)
{
    struct page *page = *bucket(object, index);
    while (page && page->index != index)
        page = page->next;
    return page;
}

static void grow(struct object *object)
{
    uint32_t count = object->bucket_count * 4;
    struct page **old = object->buckets, **buckets = heap_alloc(count * sizeof(struct page *));
    uint32_t old_count = object->bucket_count;
    if (!buckets)
        return;
    object->buckets = buckets;
    object->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        for (struct page *p = old[i], *next; p; p = next) {
            next = p->next;
            p->next = *bucket(object, p->index);
            *bucket(object, p->index) = p;
        }
    }
    heap_free(old);
}

static struct page *page_at(struct object *object, uint64_t index)
{
    struct page *page = known(object, index);
    if (page)
        return page;
    page = heap_alloc(sizeof(*page));
    if (!page)
        return NULL;
    if (object->page_count++ > 2 * object->bucket_count)
        grow(object);
    page->index = index;
    page->holder = object->by_default;
    page->next = *bucket(object, index);
    *bucket(object, index) = page;
    return page;
}

static bool waited_for(const struct page *page)
{
    return __atomic_load_n(&page->queue.first, __ATOMIC_RELAXED) != NULL;
}

static void came_home(struct page *page)
{
    page->holder = AT_HUB;
    page->revoked = false;
    waitq_wake(&page->queue, UINT32_MAX);
    waitq_wake(&g_moved, UINT32_MAX);
}

static void store(struct object *object, uint64_t index, const uint8_t *data)
{
    if (object->store->ops->pwrite_kernel(object->store, data, PAGE, index * PAGE) < 0) {
        log_error("shared memory: no memory for what a process gave back");
        struct page *page = known(object, index);
        if (page)
            page->holder = LOST;
    }
}

/* From the root's own program. The mutex is held and let go meanwhile; 0, or why not. */
static int take_here(struct object **object, uint64_t index)
{
    uint32_t id = (*object)->id;
    uint8_t *buf = heap_pages(1);
    if (!buf)
        return -ENOMEM;
    mutex_drop(&g_mutex);
    bool has = dsm_take_here(id, index, buf);
    mutex_take(&g_mutex);
    *object = find(id);
    struct page *page = *object ? known(*object, index) : NULL;
    if (page && page->holder == ROOT) {
        page->holder = AT_HUB;
        if (has)
            store(*object, index, buf);
        if (page->holder == AT_HUB)
            came_home(page);
    }
    dsm_taken_here();
    heap_pages_free(buf, 1);
    return page ? 0 : -EACCES;
}

/* Grants pages from this one on that are at the hub, as far as nobody else waits for them. */
static int64_t grant(struct object *object, struct peer *who, uint64_t index, uint64_t max,
                     uint8_t *buf, bool *ret_zero)
{
    int64_t count = 0;
    *ret_zero = true;
    while ((uint64_t)count < max) {
        struct page *page = count ? page_at(object, index + (uint64_t)count) : known(object, index);
        if (!page || (page->holder != AT_HUB && page->holder != who) ||
            (count && (page->holder == who || waited_for(page))))
            break;
        uint8_t *to = buf + count * (int64_t)PAGE;
        int64_t n = object->store->ops->pread_kernel(object->store, to, PAGE, page->index * PAGE);
        if (n <= 0)
            break;
        memset(to + n, 0, PAGE - (uint64_t)n);
        if (*ret_zero && !cpu_all_zero(to, PAGE))
            *ret_zero = false;
        page->holder = who;
        page->revoked = false;
        count++;
    }
    return count ? count : -EFAULT;
}

int64_t dsm_serve_get(struct peer *asks, uint32_t id, uint64_t index, uint64_t max,
                      struct waiter *waiter, uint8_t *buf, bool *ret_zero)
{
    struct peer *who = peer_of(asks), *tell = NULL;
    if (!max || max > DSM_PAGES_MAX || index > OBJECT_MAX / PAGE)
        return -EINVAL;
    mutex_take(&g_mutex);
    waitq_remove(waiter);
    struct object *object = find(id);
    struct page *page = NULL;
    int64_t ret = -EACCES;
    if (object && attached_to(object, who)) {
        page = page_at(object, index);
        ret = page ? 0 : -ENOMEM;
    }
    if (ret == 0 && (object->reading[0] || (object->reading[1] && who != ROOT))) {
        waitq_add(&g_moved, waiter);
        mutex_drop(&g_mutex);
        return HUB_LATER;
    }
    if (ret == 0 && page->holder == ROOT && who != ROOT) {
        ret = take_here(&object, index);
        page = ret == 0 ? known(object, index) : NULL;
        if (page && !attached_to(object, who))
            ret = -EACCES;
    }
    if (ret < 0) {
    } else if (page->holder == LOST) {
        ret = -EIO;
    } else if (page->holder == AT_HUB || page->holder == who) {
        ret = grant(object, who, index, max, buf, ret_zero);
    } else {
        waitq_add(&page->queue, waiter);
        ret = HUB_LATER;
        if (!page->revoked)
            tell = page->holder;
        page->revoked = true;
    }
    int32_t pid = tell && tell != ROOT ? peer_pid(tell) : 0;
    mutex_drop(&g_mutex);
    if (pid)
        hub_tell(pid, &(struct hub_event){
                          .kind = HUB_EVENT_REVOKE, .a = id, .b = index, .c = DSM_GIVE_UP });
    return ret;
}

int64_t dsm_serve_give(struct peer *gives, uint32_t id, uint64_t index, uint64_t count,
                       enum dsm_given given, const uint8_t *data)
{
    static const uint8_t ALIGNED(64) zeros[PAGE];
    struct peer *who = peer_of(gives);
    if (count > DSM_PAGES_MAX || index > OBJECT_MAX / PAGE)
        return -EINVAL;
    mutex_take(&g_mutex);
    struct object *object = find(id);
    struct attached *a = object ? attached_to(object, who) : NULL;
    int64_t ret = a ? 0 : -EACCES;
    for (uint64_t i = 0; i < count && ret == 0; i++) {
        struct page *page = page_at(object, index + i);
        if (!page) {
            ret = -ENOMEM;
            break;
        }
        if (page->holder != who)
            continue;
        page->holder = AT_HUB;
        if (a->writes && given != DSM_NOTHING)
            store(object, index + i, given == DSM_ZEROS ? zeros : data + i * PAGE);
        if (page->holder == AT_HUB)
            came_home(page);
        else
            waitq_wake(&page->queue, UINT32_MAX);
    }
    mutex_drop(&g_mutex);
    return ret;
}

/* --- system calls on the file -------------------------------------------------------------------- */

/* The range's pages that are away and must not be: who holds them is told, the root's are taken. How many are still
 * away; -EAGAIN: the mutex was let go, look again. */
static int64_t call_home(struct object *object, const struct dsm_io *io, uint64_t first,
                         uint64_t end)
{
    int64_t away = 0;
    for (uint64_t i = first; i < end; i++) {
        struct page *page = object->by_default == AT_HUB ? known(object, i) : page_at(object, i);
        if (!page || page->holder == AT_HUB || page->holder == LOST)
            continue;
        if (page->holder == ROOT) {
            if (io->here)
                continue;
            int r = take_here(&object, i);
            return r < 0 ? r : -EAGAIN;
        }
        if (!page->revoked)
            hub_tell(peer_pid(page->holder),
                     &(struct hub_event){
                         .kind = HUB_EVENT_REVOKE, .a = object->id, .b = i, .c = DSM_GIVE_UP });
        page->revoked = true;
        away++;
    }
    return away;
}

/* The pages of the range; none behind the file's end is anywhere. */
static void pages_of_range(struct file *file, const struct dsm_io *io, uint64_t *ret_first,
                           uint64_t *ret_end)
{
    struct kstat st;
    uint64_t size = file->ops->fstat(file, &st) < 0 ? 0 : (uint64_t)st.size;
    uint64_t offset = io->append ? size : io->offset;
    *ret_first = *ret_end = 0;
    if (offset >= size && size % PAGE == 0)
        return;
    uint64_t pages = (size + PAGE - 1) / PAGE;
    uint64_t last = io->size > OBJECT_MAX || offset > OBJECT_MAX
                        ? pages
                        : (offset + io->size + PAGE - 1) / PAGE;
    *ret_first = offset / PAGE;
    *ret_end = last < pages ? last : pages;
}

int64_t dsm_serve_recall(struct file *file, const struct dsm_io *io, struct waiter *waiter)
{
    uint64_t first, end;
    int64_t away = -EAGAIN, ret = 0;
    pages_of_range(file, io, &first, &end);
    mutex_take(&g_mutex);
    waitq_remove(waiter);
    struct object *object = NULL;
    while (away == -EAGAIN) {
        object = of_file(file);
        away = object ? call_home(object, io, first, end) : 0;
    }
    if (object && away == 0) {
        object->reading[io->here]++;
        ret = object->id;
    } else if (away > 0) {
        waitq_add(&g_moved, waiter);
        ret = HUB_LATER;
    } else {
        ret = away;
    }
    mutex_drop(&g_mutex);
    return ret;
}

void dsm_serve_recalled(uint32_t id, const struct dsm_io *io)
{
    mutex_take(&g_mutex);
    struct object *object = find(id);
    if (object && object->reading[io->here] && !--object->reading[io->here])
        waitq_wake(&g_moved, UINT32_MAX);
    mutex_drop(&g_mutex);
}

int64_t dsm_recall_here(struct file *file, const struct dsm_io *io)
{
    struct waiter waiter = { .thread = current() };
    if (!tmpfs_inode_of(file))
        return 0;
    for (;;) {
        int64_t ret = dsm_serve_recall(file, io, &waiter);
        if (ret != HUB_LATER)
            return ret;
        int parked = thread_park(OCALL_NEVER);
        waitq_remove(&waiter);
        if (parked < 0)
            return -ERESTARTSYS;
    }
}

/* --- futexes ------------------------------------------------------------------------------------ */

int64_t dsm_serve_prepare(struct peer *asks, uint32_t id, uint64_t offset, uint32_t bitset,
                          uint64_t number)
{
    mutex_take(&g_mutex);
    struct object *object = find(id);
    int64_t ret = object && attached_to(object, peer_of(asks)) ? 0 : -EACCES;
    struct ticket *t = ret == 0 ? heap_alloc(sizeof(*t)) : NULL;
    if (t) {
        *t = (struct ticket){
            .who = peer_of(asks), .offset = offset, .number = number, .bitset = bitset
        };
        *object->last = t;
        object->last = &t->next;
    } else if (ret == 0) {
        ret = -ENOMEM;
    }
    mutex_drop(&g_mutex);
    return ret;
}

/* Takes a ticket off; t->next stays. */
static void take_off(struct object *object, struct ticket **at)
{
    struct ticket *t = *at;
    *at = t->next;
    if (object->last == &t->next)
        object->last = at;
}

int64_t dsm_serve_cancel(struct peer *asks, uint32_t id, uint64_t number)
{
    mutex_take(&g_mutex);
    struct object *object = find(id);
    int64_t ret = 1;
    if (object) {
        for (struct ticket **at = &object->first; *at; at = &(*at)->next) {
            struct ticket *t = *at;
            if (t->number != number || t->who != peer_of(asks))
                continue;
            take_off(object, at);
            heap_free(t);
            ret = 0;
            break;
        }
    }
    mutex_drop(&g_mutex);
    return ret;
}

static void tell_woken(struct peer *who, uint64_t number)
{
    struct hub_event event = { .kind = HUB_EVENT_REVOKE, .b = number, .c = DSM_WAKE };
    if (who == ROOT)
        dsm_revoke(&event);
    else
        hub_tell(peer_pid(who), &event);
}

int64_t dsm_serve_wake(struct peer *asks, uint32_t id, uint64_t offset, uint32_t max,
                       uint32_t bitset)
{
    int64_t woken = 0;
    mutex_take(&g_mutex);
    struct object *object = find(id);
    if (object && attached_to(object, peer_of(asks))) {
        struct ticket **at = &object->first;
        while (*at && woken < max) {
            struct ticket *t = *at;
            if (t->offset != offset || !(t->bitset & bitset)) {
                at = &t->next;
                continue;
            }
            take_off(object, at);
            tell_woken(t->who, t->number);
            heap_free(t);
            woken++;
        }
    }
    mutex_drop(&g_mutex);
    return woken;
}

/* --- the hub's requests ------------------------------------------------------------------------- */

static int64_t serve_open(struct hub_job *job)
{
    struct file *file = serve_file(job->peer, job->request.args[0]);
    if (!file)
        return -EBADF;
    int64_t ret = dsm_serve_open(job->peer, file, &job->reply.out[0]);
    file_unref(file);
    return ret;
}

static int64_t serve_get(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    bool zero = false;
    int64_t ret = dsm_serve_get(job->peer, (uint32_t)args[0], args[1], args[2], &job->waiter,
                                job->reply_data, &zero);
    if (ret > 0 && !zero)
        job->reply.size = (uint32_t)ret * (uint32_t)PAGE;
    return ret;
}

static int64_t serve_give(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    if (args[3] > DSM_NOTHING || args[2] > DSM_PAGES_MAX ||
        (args[3] == DSM_CONTENT && job->request.size != args[2] * PAGE))
        return -EINVAL;
    return dsm_serve_give(job->peer, (uint32_t)args[0], args[1], args[2], (enum dsm_given)args[3],
                          job->data);
}

int64_t hub_memory(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    uint32_t id = (uint32_t)args[0];
    switch ((enum dsm_op)job->request.op) {
    case DSM_NEW: return dsm_serve_new(job->peer, args[0], &job->reply.out[0]);
    case DSM_OPEN: return serve_open(job);
    case DSM_ATTACH: return dsm_serve_attach(job->peer, id, args[1]);
    case DSM_DETACH: dsm_serve_detach(job->peer, id, args[1]); return 0;
    case DSM_GET: return serve_get(job);
    case DSM_GIVE: return serve_give(job);
    case DSM_PREPARE: return dsm_serve_prepare(job->peer, id, args[1], (uint32_t)args[2], args[3]);
    case DSM_CANCEL: return dsm_serve_cancel(job->peer, id, args[1]);
    case DSM_WAKE_UP:
        return dsm_serve_wake(job->peer, id, args[1], (uint32_t)args[2], (uint32_t)args[3]);
    default: return -ENOSYS;
    }
}
