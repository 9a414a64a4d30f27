/*
 * Shared memory: a process's side (dsm.h). Tier: enclave.
 *
 * Locks: the address space's, then g_dsm.lock. Neither is held while the hub is asked. Waiting for the hub and for
 * busy pages ends when something comes for this thread, because what comes may be a page that somebody wants who
 * has what we wait for: then the fault is taken again.
 */
#include "mm/dsm.h"

#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/mman.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/pages.h"
#include "mm/shared.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "thread/futex.h"
#include "thread/mutex.h"
#include "thread/threads.h"
#include "thread/timer.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"

#define PAGE    LAYOUT_PAGE
#define HOLD_NS 100000ull
#define RECENT  64u

/* What a distributed mapping's file stands for: file->object. */
struct map {
    struct map *next;
    struct file *file;    /* no reference: it owns this */
    struct file *backing; /* a scratch file; NULL: anonymous, or not open here */
    uint32_t object;
    uint64_t key, size, attached;
};

/* Pages that are on their way; see dsm.h. */
struct busy {
    struct busy *next;
    uint32_t object;
    bool giving;
    uint64_t first, count;
    uint64_t revoked; /* wanted: bit i: of page first + i */
};

struct collected {
    struct collected *next;
    struct busy busy;
    uint8_t *data;
};

struct late {
    struct late *next;
    uint32_t object;
    uint64_t page;
};

struct sleeper {
    struct sleeper *next;
    struct thread *thread;
    uint64_t number;
    bool woken;
};

uint32_t g_dsm_mappings;

static struct {
    struct lock lock;
    struct map *maps;
    struct busy *busy;
    bool closing;       /* the process ends: no page becomes wanted any more */
    struct waitq quiet; /* woken when something is busy no more */
    struct collected *collected;
    struct mutex giving;
    struct late *late;
    struct sleeper *sleepers;
    uint64_t next_sleeper;
    struct {
        uint32_t object;
        uint64_t page, since;
        struct thread *thread; /* who faulted */
        uint64_t entries;      /* how often it had come to the library OS by then */
    } recent[RECENT];
    struct timer timer;
} g_dsm;

static const struct file_ops g_dsm_ops;

static struct map *map_of(const struct file *file)
{
    return file && file->ops == &g_dsm_ops ? file->object : NULL;
}

uint32_t dsm_number(const struct file *file)
{
    struct map *map = map_of(file);
    return map ? map->object : 0;
}

const struct file *dsm_backing(const struct file *file)
{
    struct map *map = map_of(file);
    return map && map->backing ? map->backing : file;
}

/* --- asking ------------------------------------------------------------------------------------- */

static int64_t ask_open(struct file *file, uint64_t *ret_key)
{
    if (hub_is_here())
        return dsm_serve_open(NULL, file, ret_key);
    struct hub_ask ask = { .op = (enum hub_op)DSM_OPEN, .args = { (uint64_t)remote_handle(file) } };
    int64_t ret = hub_ask(&ask);
    *ret_key = ask.out[0];
    return ret;
}

static int64_t ask_new(uint64_t size, uint64_t *ret_key)
{
    if (hub_is_here())
        return dsm_serve_new(NULL, size, ret_key);
    struct hub_ask ask = { .op = (enum hub_op)DSM_NEW, .args = { size } };
    int64_t ret = hub_ask(&ask);
    *ret_key = ask.out[0];
    return ret;
}

static int64_t ask_attach(uint32_t object, uint64_t key)
{
    if (hub_is_here())
        return dsm_serve_attach(NULL, object, key);
    return hub_ask(&(struct hub_ask){ .op = (enum hub_op)DSM_ATTACH, .args = { object, key } });
}

static void ask_detach(uint32_t object, uint64_t count)
{
    if (hub_is_here())
        dsm_serve_detach(NULL, object, count);
    else
        (void)!hub_ask(
            &(struct hub_ask){ .op = (enum hub_op)DSM_DETACH, .args = { object, count } });
}

static void ask_give(uint32_t object, uint64_t page, uint64_t count, enum dsm_given given,
                     const uint8_t *data)
{
    if (given == DSM_CONTENT && cpu_all_zero(data, count * PAGE))
        given = DSM_ZEROS;
    int64_t r;
    if (hub_is_here())
        r = dsm_serve_give(NULL, object, page, count, given, data);
    else
        r = hub_ask(&(struct hub_ask){ .op = (enum hub_op)DSM_GIVE,
                                       .args = { object, page, count, (uint64_t)given },
                                       .data = given == DSM_CONTENT ? data : NULL,
                                       .size = given == DSM_CONTENT ? (uint32_t)(count * PAGE) : 0 });
    if (r < 0 && given != DSM_NOTHING)
        log_error("a page of shared memory could not be given back: error %ld", -r);
}

/* Pages granted; -EINTR: something came first. */
static int64_t get_here(struct busy *busy, uint8_t *buf, bool *ret_zero)
{
    struct waiter waiter = { .thread = current() };
    for (;;) {
        int64_t r = dsm_serve_get(NULL, busy->object, busy->first, busy->count, &waiter, buf, ret_zero);
        if (r != HUB_LATER)
            return r;
        /* The hub's thread may want the others meanwhile (dsm_take_here), but not this one: we have it not. */
        lock_take(&g_dsm.lock);
        busy->count = 1;
        lock_drop(&g_dsm.lock);
        int parked = thread_park(OCALL_NEVER);
        waitq_remove(&waiter);
        if (parked < 0)
            return parked;
    }
}

static int64_t ask_get(struct busy *busy, uint8_t *buf, bool *ret_zero)
{
    uint64_t max = busy->count;
    if (hub_is_here())
        return get_here(busy, buf, ret_zero);
    struct hub_ask ask = { .op = (enum hub_op)DSM_GET,
                           .args = { busy->object, busy->first, max },
                           .reply = buf,
                           .room = (uint32_t)(max * PAGE) };
    int64_t ret = hub_ask_blocking(&ask);
    *ret_zero = ask.reply_size == 0;
    if (ret > 0 && ((uint64_t)ret > max || (ask.reply_size && ask.reply_size != (uint64_t)ret * PAGE)))
        return -EIO;
    return ret;
}

/* --- maps --------------------------------------------------------------------------------------- */

static bool ref_if_alive(struct file *file)
{
    uint32_t refs = __atomic_load_n(&file->refs, __ATOMIC_RELAXED);
    while (refs)
        if (__atomic_compare_exchange_n(&file->refs, &refs, refs + 1, true, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

/* The map's file for an object that was attached once for it; takes backing over, may be NULL. NULL: no memory, nothing
 * was taken. */
static struct file *map_get(uint32_t object, uint64_t key, uint64_t size, uint32_t flags,
                            struct file *backing)
{
    lock_take(&g_dsm.lock);
    struct map *map = g_dsm.maps;
    while (map && !(map->object == object &&
                    (map->file->flags & O_ACCMODE) == (flags & O_ACCMODE) && ref_if_alive(map->file)))
        map = map->next;
    if (map)
        map->attached++;
    lock_drop(&g_dsm.lock);
    if (map) {
        file_unref(backing);
        return map->file;
    }
    map = heap_alloc(sizeof(*map));
    struct file *file = map ? file_new(&g_dsm_ops, flags, map) : NULL;
    if (!file) {
        heap_free(map);
        return NULL;
    }
    *map = (struct map){ .file = file,
                         .backing = backing,
                         .object = object,
                         .key = key,
                         .size = size,
                         .attached = 1 };
    if (backing && backing->path)
        (void)!file_set_path(file, backing->path, (uint32_t)strlen(backing->path));
    lock_take(&g_dsm.lock);
    map->next = g_dsm.maps;
    g_dsm.maps = map;
    lock_drop(&g_dsm.lock);
    return file;
}

static void map_release(struct file *file)
{
    struct map *map = file->object;
    lock_take(&g_dsm.lock);
    for (struct map **at = &g_dsm.maps; *at; at = &(*at)->next) {
        if (*at == map) {
            *at = map->next;
            break;
        }
    }
    lock_drop(&g_dsm.lock);
    ask_detach(map->object, map->attached);
    file_unref(map->backing);
    heap_free(map);
}

static int64_t map_pread(struct file *file, void *buf, uint64_t size, uint64_t offset)
{
    struct file *backing = map_of(file)->backing;
    return backing ? backing->ops->pread_kernel(backing, buf, size, offset) : -ENODEV;
}

static int64_t map_pwrite(struct file *file, const void *buf, uint64_t size, uint64_t offset)
{
    struct file *backing = map_of(file)->backing;
    return backing ? backing->ops->pwrite_kernel(backing, buf, size, offset) : -ENODEV;
}

static const struct file_ops g_dsm_ops = {
    .name = "shared memory",
    .pread_kernel = map_pread,
    .pwrite_kernel = map_pwrite,
    .release = map_release,
};

int dsm_open(struct file *file, struct file **ret)
{
    uint64_t key;
    *ret = NULL;
    if (hub_is_here() ? !dsm_serve_known(file) : remote_handle(file) < 0)
        return 0;
    int64_t id = ask_open(file, &key);
    if (id < 0)
        return id == -ENOMEM ? -ENOMEM : -ENODEV;
    *ret = map_get((uint32_t)id, key, 0, file->flags, file_ref(file));
    if (*ret)
        return 0;
    file_unref(file);
    ask_detach((uint32_t)id, 1);
    return -ENOMEM;
}

void dsm_recount(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < vma_count(); i++)
        count += (vma_at(i)->flags & VMA_DSM) != 0;
    g_dsm_mappings = count;
}

/* --- becoming distributed ------------------------------------------------------------------------- */

/* Gives the mappings of the range that `wanted` says to file (a reference stays the caller's); whoever waits for
 * futexes there looks again, at the hub. How many. */
static uint32_t convert(uint64_t start, uint64_t end, struct file *file, const struct file *wanted)
{
    uint32_t count = 0;
    lock_take(mm_lock());
    for (uint32_t i = vma_lower(start); i < vma_count() && vma_at(i)->start < end; i++) {
        const struct vma *v = vma_at(i);
        bool is = wanted ? (v->flags & VMA_COHERENT) && !(v->flags & VMA_DSM) && v->file &&
                               tmpfs_inode_of(v->file) == tmpfs_inode_of(wanted)
                         : (v->flags & VMA_SHARED) && !v->file && v->start == start && v->end == end;
        if (!is)
            continue;
        if (vma_set_file(i, file_ref(file), VMA_DSM) == 0)
            count++;
        else
            file_unref(file); /* not the last one */
    }
    dsm_recount();
    lock_drop(mm_lock());
    if (count)
        futex_wake_range(start, end);
    return count;
}

bool dsm_convert_here(struct file *file, uint32_t object, uint64_t key)
{
    if (ask_attach(object, key) < 0)
        return false;
    struct file *mine = map_get(object, key, 0, file->flags, file_ref(file));
    if (!mine)
        panic("no memory to share a mapping with another process");
    bool any = convert(0, UINT64_MAX, mine, file) != 0;
    file_unref(mine);
    return any;
}

int dsm_mapped(struct file *file, bool force)
{
    if (!hub_is_here() || !tmpfs_inode_of(file))
        return -ENODEV;
    if (!force && !dsm_serve_known(file))
        return 0;
    uint64_t key;
    int64_t id = dsm_serve_open(NULL, file, &key); /* converts if it is new */
    if (id < 0)
        return (int)id;
    (void)dsm_convert_here(file, (uint32_t)id, key);
    dsm_serve_detach(NULL, (uint32_t)id, 1);
    return 0;
}

static int convert_anonymous(uint64_t start, uint64_t end)
{
    uint64_t key;
    int64_t id = ask_new(end - start, &key);
    if (id < 0)
        return (int)id;
    struct file *file = map_get((uint32_t)id, key, end - start, O_RDWR, NULL);
    if (!file) {
        ask_detach((uint32_t)id, 1);
        return -ENOMEM;
    }
    (void)convert(start, end, file, NULL);
    file_unref(file);
    return 0;
}

/* Something that is not distributed but can be: 1 and where, or which file (a reference). */
static int next_to_convert(uint64_t from, uint64_t *ret_start, uint64_t *ret_end, struct file **ret)
{
    LOCKED(mm_lock());
    for (uint32_t i = vma_lower(from); i < vma_count(); i++) {
        const struct vma *v = vma_at(i);
        if (v->flags & VMA_DSM)
            continue;
        bool anonymous = (v->flags & VMA_SHARED) && !v->file;
        bool scratch = (v->flags & VMA_COHERENT) && hub_is_here() && tmpfs_inode_of(v->file);
        static bool said;
        if ((v->flags & VMA_COHERENT) && !scratch && !said) {
            log_note("fork: parent and child do not see each other's stores to a shared mapping of "
                     "'%s' before msync",
                     v->file->path ? v->file->path : "?");
            said = true;
        }
        if (!anonymous && !scratch)
            continue;
        *ret_start = v->start;
        *ret_end = v->end;
        *ret = scratch ? file_ref(v->file) : NULL;
        return 1;
    }
    return 0;
}

int dsm_fork(void)
{
    uint64_t start, end, from = 0;
    struct file *file;
    int r = 0;
    while (r == 0 && next_to_convert(from, &start, &end, &file)) {
        r = file ? dsm_mapped(file, true) : convert_anonymous(start, end);
        file_unref(file);
        from = end;
    }
    return r;
}

bool dsm_describe(const struct file *file, struct dsm_wire *ret)
{
    struct map *map = map_of(file);
    if (map)
        *ret = (struct dsm_wire){ .key = map->key,
                                  .size = map->size,
                                  .object = map->object,
                                  .file_flags = file->flags };
    return map != NULL;
}

int dsm_adopt(const struct dsm_wire *wire, struct file *backing, struct file **ret)
{
    int64_t r = ask_attach(wire->object, wire->key);
    *ret = r < 0 ? NULL
                 : map_get(wire->object, wire->key, wire->size, wire->file_flags & O_ACCMODE, backing);
    if (*ret)
        return 0;
    file_unref(backing);
    return r < 0 ? (int)r : -ENOMEM;
}

/* --- busy pages --------------------------------------------------------------------------------- */

/* The lock is held. But: not this one. */
static struct busy *clash(uint32_t object, uint64_t first, uint64_t count, const struct busy *but)
{
    for (struct busy *b = g_dsm.busy; b; b = b->next)
        if (b != but && b->object == object && b->first < first + count && first < b->first + b->count)
            return b;
    return NULL;
}

static void busy_add(struct busy *busy)
{
    busy->next = g_dsm.busy;
    g_dsm.busy = busy;
}

static void busy_drop(struct busy *busy)
{
    lock_take(&g_dsm.lock);
    for (struct busy **at = &g_dsm.busy; *at; at = &(*at)->next) {
        if (*at == busy) {
            *at = busy->next;
            break;
        }
    }
    lock_drop(&g_dsm.lock);
    waitq_wake(&g_dsm.quiet, UINT32_MAX);
}

/* Waits until these pages (fewer, down to the first, if only that is free) are nobody else's. -EINTR. */
static int busy_take(struct busy *busy)
{
    struct waiter waiter = { .thread = current() };
    for (;;) {
        waitq_add(&g_dsm.quiet, &waiter);
        lock_take(&g_dsm.lock);
        while (busy->count > 1 && clash(busy->object, busy->first, busy->count, NULL))
            busy->count--;
        bool closing = g_dsm.closing;
        bool free = !closing && !clash(busy->object, busy->first, busy->count, NULL);
        if (free)
            busy_add(busy);
        lock_drop(&g_dsm.lock);
        int r = free ? 0 : closing ? -EINTR : thread_park(OCALL_NEVER);
        waitq_remove(&waiter);
        if (free || r < 0)
            return r;
    }
}

/* --- pages of this process; the address space's lock is held ------------------------------------------ */

static bool holds(const struct vma *v, uint32_t object, uint64_t page, uint64_t *ret_address)
{
    uint64_t offset = page * PAGE;
    if (!(v->flags & VMA_DSM) || dsm_number(v->file) != object || offset < v->offset ||
        offset - v->offset >= v->end - v->start)
        return false;
    *ret_address = v->start + (offset - v->offset);
    return page_state(*ret_address) != 0;
}

/* Where the page is accepted; 0: nowhere. */
static uint64_t where(uint32_t object, uint64_t page)
{
    uint64_t address;
    for (uint32_t i = 0; i < vma_count(); i++)
        if (holds(vma_at(i), object, page, &address))
            return address;
    return 0;
}

/* Nobody stores any more from here on; then content goes. */
static void take_away(uint64_t address, uint64_t count, uint8_t *buf)
{
    pages_set_perms(address, count, SGX_SECINFO_R);
    memcpy(buf, (const void *)address, count * PAGE);
    pages_trim(address, count);
}

/* BY_OTHER: dsm_collect() was faster, its content is on the way to the hub. */
enum taken { TAKEN_NOTHING, TAKEN, TAKEN_BY_OTHER };

static enum taken take_page(const struct busy *busy, uint8_t *buf)
{
    LOCKED(mm_lock());
    uint64_t address = where(busy->object, busy->first);
    if (address) {
        take_away(address, 1, buf);
        return TAKEN;
    }
    LOCKED(&g_dsm.lock);
    return clash(busy->object, busy->first, 1, busy) ? TAKEN_BY_OTHER : TAKEN_NOTHING;
}

/* --- giving ------------------------------------------------------------------------------------- */

static uint64_t entries(const struct thread *thread)
{
    return __atomic_load_n(&thread->syscall_count, __ATOMIC_RELAXED) +
           __atomic_load_n(&thread->fault_count, __ATOMIC_RELAXED);
}

static void note_recent(uint32_t object, uint64_t page)
{
    uint32_t i = (uint32_t)(page ^ object) % RECENT;
    g_dsm.recent[i].object = object;
    g_dsm.recent[i].page = page;
    g_dsm.recent[i].since = clock_monotonic();
    g_dsm.recent[i].thread = current();
    g_dsm.recent[i].entries = entries(current());
}

/* May the page go? Who faulted for it has come to us again since, so it has run its instruction; or had time to. */
static bool had_its_time(uint32_t object, uint64_t page)
{
    uint32_t i = (uint32_t)(page ^ object) % RECENT;
    if (g_dsm.recent[i].object != object || g_dsm.recent[i].page != page)
        return true;
    if (g_dsm.recent[i].entries != entries(g_dsm.recent[i].thread))
        return true;
    return clock_monotonic() >= g_dsm.recent[i].since + HOLD_NS;
}

static void late_add(uint32_t object, uint64_t page)
{
    struct late *late = heap_alloc(sizeof(*late));
    if (!late)
        panic("no memory for shared memory");
    late->object = object;
    late->page = page;
    lock_take(&g_dsm.lock);
    late->next = g_dsm.late;
    g_dsm.late = late;
    lock_drop(&g_dsm.lock);
}

static void give(uint32_t object, uint64_t page)
{
    struct busy busy = { .object = object, .first = page, .count = 1, .giving = true };
    lock_take(&g_dsm.lock);
    struct busy *other = clash(object, page, 1, NULL);
    if (other)
        other->revoked |= 1ull << (page - other->first); /* giving: it goes as it is */
    else
        busy_add(&busy);
    lock_drop(&g_dsm.lock);
    if (other)
        return;
    uint8_t *buf = heap_pages(1);
    if (!buf)
        panic("no memory for shared memory");
    enum taken taken = take_page(&busy, buf);
    if (taken != TAKEN_BY_OTHER)
        ask_give(object, page, 1, taken == TAKEN ? DSM_CONTENT : DSM_NOTHING, buf);
    busy_drop(&busy);
    heap_pages_free(buf, 1);
}

static void late_run(struct timer *timer UNUSED, uint64_t expirations UNUSED)
{
    lock_take(&g_dsm.lock);
    struct late *late = g_dsm.late;
    g_dsm.late = NULL;
    lock_drop(&g_dsm.lock);
    for (struct late *next; late; late = next) {
        next = late->next;
        give(late->object, late->page);
        heap_free(late);
    }
}

static void late_soon(void)
{
    uint64_t interval;
    g_dsm.timer.fn = late_run;
    if (!timer_left(&g_dsm.timer, &interval))
        timer_arm(&g_dsm.timer, clock_monotonic() + HOLD_NS, 0);
}

static void wake_sleeper(uint64_t number)
{
    lock_take(&g_dsm.lock);
    for (struct sleeper *s = g_dsm.sleepers; s; s = s->next) {
        if (s->number == number) {
            __atomic_store_n(&s->woken, true, __ATOMIC_RELEASE);
            thread_unpark(s->thread);
        }
    }
    lock_drop(&g_dsm.lock);
}

void dsm_revoke(const struct hub_event *event)
{
    if (event->c == DSM_WAKE) {
        wake_sleeper(event->b);
    } else if (!had_its_time(event->a, event->b)) {
        late_add(event->a, event->b);
        late_soon();
    } else {
        give(event->a, event->b);
    }
}

/* The hub's thread alone. */
static struct busy g_taking;

bool dsm_take_here(uint32_t object, uint64_t page, uint8_t *buf)
{
    g_taking = (struct busy){ .object = object, .first = page, .count = 1, .giving = true };
    for (;;) {
        bool old = had_its_time(object, page);
        lock_take(&g_dsm.lock);
        bool free = old && !clash(object, page, 1, NULL);
        if (free)
            busy_add(&g_taking);
        lock_drop(&g_dsm.lock);
        if (free) {
            enum taken taken = take_page(&g_taking, buf);
            if (taken != TAKEN_BY_OTHER)
                return taken == TAKEN;
            busy_drop(&g_taking);
        }
        border_call0(OCALL_YIELD, 0);
    }
}

void dsm_taken_here(void)
{
    busy_drop(&g_taking);
}

void dsm_collect(const struct vma *v, uint64_t start, uint64_t end)
{
    uint64_t from = v->start > start ? v->start : start, to = v->end < end ? v->end : end;
    for (uint64_t at = pages_next(from, to); at < to; at = pages_next(at, to)) {
        uint64_t count = 1;
        while (count < DSM_PAGES_MAX && at + count * PAGE < to && page_state(at + count * PAGE))
            count++;
        struct collected *c = heap_alloc(sizeof(*c));
        uint8_t *data = heap_pages(DSM_PAGES_MAX);
        if (!c || !data)
            panic("no memory to give shared memory back");
        *c = (struct collected){ .busy = { .object = dsm_number(v->file),
                                           .first = (v->offset + (at - v->start)) / PAGE,
                                           .count = count,
                                           .giving = true },
                                 .data = data };
        lock_take(&g_dsm.lock);
        busy_add(&c->busy);
        c->next = g_dsm.collected;
        g_dsm.collected = c;
        lock_drop(&g_dsm.lock);
        take_away(at, count, data);
        at += count * PAGE;
    }
}

void dsm_give_collected(void)
{
    if (!__atomic_load_n(&g_dsm.maps, __ATOMIC_ACQUIRE))
        return;
    /* Whoever returns from here may detach: what others are giving has arrived by then. */
    mutex_take(&g_dsm.giving);
    for (;;) {
        lock_take(&g_dsm.lock);
        struct collected *c = g_dsm.collected;
        if (c)
            g_dsm.collected = c->next;
        lock_drop(&g_dsm.lock);
        if (!c)
            break;
        ask_give(c->busy.object, c->busy.first, c->busy.count, DSM_CONTENT, c->data);
        busy_drop(&c->busy);
        heap_pages_free(c->data, DSM_PAGES_MAX);
        heap_free(c);
    }
    mutex_drop(&g_dsm.giving);
}

/* What the threads' robust lists say that they hold: other processes wait for it (set_robust_list(2)). */
struct robust {
    uint32_t count, room;
    struct {
        uint64_t list;
        uint32_t tid;
    } of[];
};

static void robust_add(struct thread *thread, void *arg)
{
    struct robust *robust = arg;
    if (!thread->robust_list || robust->count == robust->room)
        return;
    robust->of[robust->count].list = thread->robust_list;
    robust->of[robust->count++].tid = (uint32_t)thread->tid;
}

static void robust_exit(void)
{
    uint32_t room = PARAMS->thread_count;
    struct robust *robust = heap_alloc(sizeof(*robust) + room * sizeof(robust->of[0]));
    if (!robust)
        return;
    robust->room = room;
    threads_each(robust_add, robust);
    for (uint32_t i = 0; i < robust->count; i++)
        futex_robust_exit(robust->of[i].list, robust->of[i].tid);
    heap_free(robust);
}

static void poke(struct thread *thread, void *arg UNUSED)
{
    if (thread != current())
        thread_interrupt(thread);
}

/* Other threads still run: what they are giving arrives, and pages that they asked for are not left with us. */
static void close_down(void)
{
    lock_take(&g_dsm.lock);
    g_dsm.closing = true;
    lock_drop(&g_dsm.lock);
    for (;;) {
        dsm_give_collected();
        lock_take(&g_dsm.lock);
        bool any = g_dsm.busy != NULL;
        lock_drop(&g_dsm.lock);
        if (!any)
            return;
        threads_each(poke, NULL);
        border_call0(OCALL_YIELD, 0);
    }
}

void dsm_exit(void)
{
    robust_exit();
    close_down();
    lock_take(mm_lock());
    for (uint32_t i = 0; i < vma_count(); i++)
        if (vma_at(i)->flags & VMA_DSM)
            dsm_collect(vma_at(i), 0, UINT64_MAX);
    lock_drop(mm_lock());
    dsm_give_collected();
    for (struct map *map = g_dsm.maps; map; map = map->next)
        ask_detach(map->object, map->attached);
}

/* --- faults ------------------------------------------------------------------------------------- */

/* The mapping at page is file's still, and the page is not there. The lock is held. */
static const struct vma *wants(const struct file *file, uint64_t page, uint64_t offset)
{
    const struct vma *v = vma_find(page);
    bool same = v && v->file == file && v->offset + (page - v->start) == offset;
    return same && !page_state(page) ? v : NULL;
}

/* From another mapping of this process. */
static enum mm_fault move_here(const struct vma *v, uint64_t page, uint64_t from)
{
    pages_set_perms(from, 1, SGX_SECINFO_R);
    if (page_accept_copy(page, (const void *)from, mm_perms(v->prot)) < 0)
        return MM_FAULT_NOMEM;
    pages_trim(from, 1);
    return MM_FAULT_DONE;
}

/* The lock is held. How many pages from this one on, at most, are nowhere in this process. */
static uint64_t absent(const struct vma *v, uint32_t object, uint64_t page, uint64_t index, uint64_t max)
{
    uint64_t count = 1;
    while (count < max && page + count * PAGE < v->end && !page_state(page + count * PAGE) &&
           !where(object, index + count))
        count++;
    return count;
}

/* Accepts what was granted; how many. The lock is held. */
static uint64_t put_in_place(const struct vma *v, uint64_t page, uint64_t count, const uint8_t *buf,
                             bool zero)
{
    uint64_t perms = mm_perms(v->prot);
    if (zero) {
        if (pages_try_accept(page, count, SGX_SECINFO_R | SGX_SECINFO_W) < 0)
            return 0;
        pages_set_perms(page, count, perms);
        return count;
    }
    uint64_t done = 0;
    while (done < count && page_accept_copy(page + done * PAGE, buf + done * PAGE, perms) == 0)
        done++;
    return done;
}

static enum mm_fault failed(int64_t error)
{
    static bool said;
    switch (error) {
    case -EINTR: return MM_FAULT_DONE;
    case -ENOMEM: return MM_FAULT_NOMEM;
    case -EIO:
        if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
            log_error("a page of shared memory is lost with the process that had it");
        return MM_FAULT_BUS;
    default: return MM_FAULT_BUS;
    }
}

static enum mm_fault fetch(struct file *file, uint64_t page, uint64_t offset, struct busy *busy,
                           uint8_t *buf)
{
    lock_take(mm_lock());
    const struct vma *v = wants(file, page, offset);
    uint64_t from = v ? where(busy->object, busy->first) : 0;
    enum mm_fault result = from ? move_here(v, page, from) : MM_FAULT_DONE;
    if (v && !from) { /* shrinking what is busy harms nobody */
        uint64_t count = absent(v, busy->object, page, busy->first, busy->count);
        lock_take(&g_dsm.lock);
        busy->count = count;
        lock_drop(&g_dsm.lock);
    }
    lock_drop(mm_lock());
    if (!v || from)
        return result;

    bool zero = false;
    int64_t got = ask_get(busy, buf, &zero);
    if (got <= 0)
        return failed(got);
    uint64_t granted = (uint64_t)got, placed = 0;
    if (zero)
        memset(buf, 0, granted * PAGE);
    lock_take(mm_lock());
    v = wants(file, page, offset);
    if (v) {
        uint64_t fits = (v->end - page) / PAGE;
        placed = put_in_place(v, page, granted < fits ? granted : fits, buf, zero);
        result = placed ? MM_FAULT_DONE : MM_FAULT_NOMEM;
    }
    note_recent(busy->object, busy->first);
    lock_drop(mm_lock());
    if (placed < granted) /* the mapping changed meanwhile */
        ask_give(busy->object, busy->first + placed, granted - placed, DSM_CONTENT,
                 buf + placed * PAGE);
    return result;
}

enum mm_fault dsm_fault(struct file *file, uint64_t page, uint64_t offset)
{
    if (current()->holds_stream)
        return MM_FAULT_BUS;
    struct busy busy = { .object = dsm_number(file), .first = offset / PAGE, .count = DSM_PAGES_MAX };
    if (busy_take(&busy) < 0)
        return MM_FAULT_DONE;
    uint8_t *buf = heap_pages(DSM_PAGES_MAX);
    enum mm_fault result = MM_FAULT_NOMEM;
    if (buf) {
        result = fetch(file, page, offset, &busy, buf);
        heap_pages_free(buf, DSM_PAGES_MAX);
    }
    busy_drop(&busy);
    if (busy.revoked) {
        for (uint64_t i = 0; i < DSM_PAGES_MAX; i++)
            if (busy.revoked & 1ull << i)
                late_add(busy.object, busy.first + i);
        late_soon();
    }
    return result;
}

/* --- futexes ------------------------------------------------------------------------------------ */

bool dsm_word(const uint32_t *user, struct dsm_word *ret)
{
    LOCKED(mm_lock());
    const struct vma *v = vma_find((uint64_t)user);
    if (!v || !(v->flags & VMA_DSM))
        return false;
    *ret = (struct dsm_word){ .object = dsm_number(v->file),
                              .offset = v->offset + ((uint64_t)user - v->start) };
    return true;
}

static int64_t ask_prepare(const struct dsm_word *word, uint32_t bitset, uint64_t number)
{
    if (hub_is_here())
        return dsm_serve_prepare(NULL, word->object, word->offset, bitset, number);
    return hub_ask(&(struct hub_ask){ .op = (enum hub_op)DSM_PREPARE,
                                      .args = { word->object, word->offset, bitset, number } });
}

static int64_t ask_cancel(const struct dsm_word *word, uint64_t number)
{
    if (hub_is_here())
        return dsm_serve_cancel(NULL, word->object, number);
    return hub_ask(
        &(struct hub_ask){ .op = (enum hub_op)DSM_CANCEL, .args = { word->object, number } });
}

uint32_t dsm_futex_wake(const struct dsm_word *word, uint32_t max, uint32_t bitset)
{
    int64_t woken;
    if (hub_is_here())
        woken = dsm_serve_wake(NULL, word->object, word->offset, max, bitset);
    else
        woken = hub_ask(&(struct hub_ask){ .op = (enum hub_op)DSM_WAKE_UP,
                                           .args = { word->object, word->offset, max, bitset } });
    return woken > 0 ? (uint32_t)woken : 0;
}

static bool is_woken(const struct sleeper *sleeper)
{
    return __atomic_load_n(&sleeper->woken, __ATOMIC_ACQUIRE);
}

int dsm_futex_wait(const struct dsm_word *word, const uint32_t *user, uint32_t value, uint32_t bitset,
                   uint64_t deadline)
{
    uint32_t seen;
    int ret = user_load32(user, &seen);
    if (ret < 0)
        return ret;
    if (seen != value)
        return -EAGAIN;

    struct sleeper self = { .thread = current() };
    lock_take(&g_dsm.lock);
    self.number = ++g_dsm.next_sleeper;
    self.next = g_dsm.sleepers;
    g_dsm.sleepers = &self;
    lock_drop(&g_dsm.lock);

    int64_t r = ask_prepare(word, bitset, self.number);
    bool prepared = r == 0, left = false;
    ret = (int)r;
    if (prepared) {
        ret = user_load32(user, &seen);
        left = ret < 0 || seen != value;
        if (ret == 0 && seen != value)
            ret = -EAGAIN;
    }
    while (ret == 0 && !is_woken(&self))
        ret = thread_park(deadline);
    bool woken = prepared && (is_woken(&self) || ask_cancel(word, self.number) == 1);

    lock_take(&g_dsm.lock);
    for (struct sleeper **at = &g_dsm.sleepers; *at; at = &(*at)->next) {
        if (*at == &self) {
            *at = self.next;
            break;
        }
    }
    lock_drop(&g_dsm.lock);
    if (woken && left) { /* meant for somebody who waits in earnest */
        (void)dsm_futex_wake(word, 1, bitset);
        return ret;
    }
    return woken ? 0 : ret;
}
