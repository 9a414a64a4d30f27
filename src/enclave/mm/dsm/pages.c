/*
 * Shared memory: a process's pages, those it gets and those it gives (dsm.h). Tier: enclave.
 *
 * Locks: the address space's, then g_dsm.lock. Neither is held while the hub is asked. Waiting for the hub and for
 * busy pages ends when something comes for this thread, because what comes may be a page that somebody wants who
 * has what we wait for: then the fault is taken again.
 */
#include "mm/dsm.h"

#include <asm/errno.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/dsm/futex.h"
#include "mm/dsm/maps.h"
#include "mm/heap.h"
#include "mm/pages.h"
#include "thread/futex.h"
#include "thread/mutex.h"
#include "thread/threads.h"
#include "thread/timer.h"

#define PAGE    LAYOUT_PAGE
#define HOLD_NS 100000ull
#define RECENT  64u

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

static struct {
    struct lock lock;
    struct busy *busy;
    bool closing;       /* the process ends: no page becomes wanted any more */
    struct waitq quiet; /* woken when something is busy no more */
    struct collected *collected;
    struct mutex giving;
    struct late *late;
    struct {
        uint32_t object;
        uint64_t page, since;
        struct thread *thread; /* who faulted */
        uint64_t entries;      /* how often it had come to the library OS by then */
    } recent[RECENT];
    struct timer timer;
} g_dsm;

/* --- asking ------------------------------------------------------------------------------------- */

static void ask_give(uint32_t object, uint64_t page, uint64_t count, enum dsm_given given,
                     const uint8_t *data)
{
    if (given == DSM_CONTENT && cpu_all_zero(data, count * PAGE))
        given = DSM_ZEROS;
    int64_t r;
    if (hub_is_here())
        r = dsm_serve_give(NULL, object, page, count, given, data);
    else
        r = hub_ask(
            &(struct hub_ask){ .op = (enum hub_op)DSM_GIVE,
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
        int64_t r =
            dsm_serve_get(NULL, busy->object, busy->first, busy->count, &waiter, buf, ret_zero);
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
    if (ret > 0 &&
        ((uint64_t)ret > max || (ask.reply_size && ask.reply_size != (uint64_t)ret * PAGE)))
        return -EIO;
    return ret;
}

/* --- busy pages --------------------------------------------------------------------------------- */

/* The lock is held. But: not this one. */
static struct busy *clash(uint32_t object, uint64_t first, uint64_t count, const struct busy *but)
{
    for (struct busy *b = g_dsm.busy; b; b = b->next)
        if (b != but && b->object == object && b->first < first + count &&
            first < b->first + b->count)
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
    LOCKED(&g_dsm.lock);
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
    LOCKED(&g_dsm.lock);
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

void dsm_revoke(const struct hub_event *event)
{
    if (event->c == DSM_WAKE) {
        dsm_wake_sleeper(event->b);
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
    if (!dsm_have_maps())
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
    dsm_detach_all();
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
static uint64_t absent(const struct vma *v, uint32_t object, uint64_t page, uint64_t index,
                       uint64_t max)
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
    struct busy busy = { .object = dsm_number(file),
                         .first = offset / PAGE,
                         .count = DSM_PAGES_MAX };
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
