/*
 * Futexes (futex.h). Waiters hang in a hash of queues by the word's address; private and shared
 * futexes are alike, there being one address space. Tier: enclave.
 *
 * FUTEX_WAIT looks at the word *after* it has queued itself, without a lock (program memory may
 * fault). A waiter that then finds another value leaves; if a wake reached it in between, that wake
 * was meant for somebody who waits in earnest, so it passes it on.
 */
#include "thread/futex.h"

#include <asm/errno.h>
#include <linux/futex.h>

#include "arch/thread.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/uaccess.h"
#include "thread/threads.h"
#include "thread/wait.h"

#define BUCKETS 256u

/* waiter.key is the address; one struct, on the waiting thread's stack. */
struct futex_waiter {
    struct waiter waiter; /* first: a waiter of a bucket is a futex_waiter */
    uint32_t bitset;
    bool pi;
};

static struct waitq g_buckets[BUCKETS];

static struct waitq *bucket_of(uint64_t address)
{
    uint64_t hash = (address >> 2) * 0x9e3779b97f4a7c15ull;
    return &g_buckets[hash >> 56];
}

static struct futex_waiter *futex_waiter(struct waiter *waiter)
{
    return (struct futex_waiter *)(void *)waiter;
}

/* --- queues, bucket locked ------------------------------------------------------------------- */

static void push(struct waitq *bucket, struct waiter *waiter)
{
    waiter->next = NULL;
    waiter->prev = bucket->last;
    *(bucket->last ? &bucket->last->next : &bucket->first) = waiter;
    bucket->last = waiter;
    __atomic_store_n(&waiter->queue, bucket, __ATOMIC_SEQ_CST);
}

static void take_off(struct waitq *bucket, struct waiter *waiter)
{
    *(waiter->prev ? &waiter->prev->next : &bucket->first) = waiter->next;
    *(waiter->next ? &waiter->next->prev : &bucket->last) = waiter->prev;
    waiter->next = waiter->prev = NULL;
}

/* Off its queue and awake. The waiter may be gone when this returns. */
static void release(struct waitq *bucket, struct waiter *waiter)
{
    struct thread *thread = waiter->thread;
    take_off(bucket, waiter);
    __atomic_store_n(&waiter->woken, true, __ATOMIC_RELEASE);
    __atomic_store_n(&waiter->queue, NULL, __ATOMIC_RELEASE);
    thread_unpark(thread);
}

static void take_two(struct waitq *a, struct waitq *b)
{
    lock_take(a < b ? &a->lock : &b->lock);
    if (a != b)
        lock_take(a < b ? &b->lock : &a->lock);
}

static void drop_two(struct waitq *a, struct waitq *b)
{
    lock_drop(&a->lock);
    if (a != b)
        lock_drop(&b->lock);
}

/* --- wait and wake ---------------------------------------------------------------------------- */

static bool is_woken(const struct futex_waiter *self)
{
    return __atomic_load_n(&self->waiter.woken, __ATOMIC_ACQUIRE);
}

int futex_wait(const uint32_t *user, uint32_t value, uint32_t bitset, uint64_t deadline)
{
    struct dsm_word word;
    if (dsm_any() && dsm_word(user, &word))
        return dsm_futex_wait(&word, user, value, bitset, deadline);
    uint32_t seen;
    int ret = user_load32(user, &seen);
    if (ret < 0)
        return ret;
    if (seen != value)
        return -EAGAIN;

    struct futex_waiter self = {
        .waiter = { .thread = current(), .key = (uint64_t)(uintptr_t)user },
        .bitset = bitset,
    };
    waitq_add(bucket_of(self.waiter.key), &self.waiter);
    ret = user_load32(user, &seen);
    if (ret == 0 && seen != value)
        ret = -EAGAIN;
    /* Became distributed since we looked: futex_wake_range() may have been before us. */
    bool elsewhere = ret == 0 && dsm_any() && dsm_word(user, &word);
    if (ret < 0 || elsewhere) {
        waitq_remove(&self.waiter);
        if (is_woken(&self))
            futex_wake(user, 1, bitset);
        return elsewhere ? dsm_futex_wait(&word, user, value, bitset, deadline) : ret;
    }

    while (ret == 0 && !is_woken(&self))
        ret = thread_park(deadline);
    waitq_remove(&self.waiter);
    return is_woken(&self) ? 0 : ret;
}

uint32_t futex_wake(const uint32_t *user, uint32_t max, uint32_t bitset)
{
    struct dsm_word word;
    if (dsm_any() && dsm_word(user, &word))
        return dsm_futex_wake(&word, max, bitset);
    uint64_t address = (uint64_t)(uintptr_t)user;
    struct waitq *bucket = bucket_of(address);
    uint32_t woken = 0;

    /* The caller has changed the word; a waiter that is not yet queued will see that. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&bucket->first, __ATOMIC_RELAXED))
        return 0;

    LOCKED(&bucket->lock);
    struct waiter *next;
    for (struct waiter *w = bucket->first; w && woken < max; w = next) {
        next = w->next;
        if (w->key == address && !futex_waiter(w)->pi && futex_waiter(w)->bitset & bitset) {
            release(bucket, w);
            woken++;
        }
    }
    return woken;
}

void futex_wake_range(uint64_t start, uint64_t end)
{
    for (uint32_t i = 0; i < BUCKETS; i++) {
        struct waitq *bucket = &g_buckets[i];
        LOCKED(&bucket->lock);
        struct waiter *next;
        for (struct waiter *w = bucket->first; w; w = next) {
            next = w->next;
            if (w->key >= start && w->key < end)
                release(bucket, w);
        }
    }
}

uint32_t futex_requeue(const uint32_t *user, const uint32_t *target, uint32_t wake_max,
                       uint32_t move_max, uint32_t *ret_moved)
{
    uint64_t from_key = (uint64_t)(uintptr_t)user, to_key = (uint64_t)(uintptr_t)target;
    struct waitq *from = bucket_of(from_key), *to = bucket_of(to_key);
    uint32_t woken = 0, moved = 0;
    struct dsm_word word;

    *ret_moved = 0;
    if (dsm_any() && dsm_word(user, &word)) /* who was to be moved looks again by itself */
        return dsm_futex_wake(
            &word, wake_max + move_max < wake_max ? UINT32_MAX : wake_max + move_max, FUTEX_ANY);

    take_two(from, to);
    struct waiter *next;
    struct waiter *end = from == to ? from->last : NULL; /* not beyond what is moved here */
    for (struct waiter *w = from->first; w; w = next) {
        next = w == end ? NULL : w->next;
        if (w->key != from_key || futex_waiter(w)->pi)
            continue;
        if (woken < wake_max) {
            release(from, w);
            woken++;
        } else if (moved < move_max) {
            take_off(from, w);
            w->key = to_key;
            push(to, w);
            moved++;
        } else {
            break;
        }
    }
    drop_two(from, to);
    if (moved && dsm_any() &&
        dsm_word(target, &word)) /* is or became distributed: they look again at the hub */
        futex_wake_range(to_key, to_key + sizeof(*target));
    *ret_moved = moved;
    return woken;
}

/* --- priority inheritance --------------------------------------------------------------------- */

/* Takes the word if it is free, else marks it contended. 1: ours, 0: somebody else's, or errno. */
static int pi_try(uint32_t *user, uint32_t tid, bool mark)
{
    uint32_t word;
    int ret = user_load32(user, &word);
    while (ret == 0) {
        uint32_t owner = word & FUTEX_TID_MASK;
        if (owner == tid)
            return -EDEADLK;
        uint32_t want =
            owner ? word | FUTEX_WAITERS : tid | (word & (FUTEX_WAITERS | FUTEX_OWNER_DIED));
        if (owner && (!mark || word == want))
            return 0;
        uint32_t seen;
        ret = user_cmpxchg32(user, word, want, &seen);
        if (ret == 0 && seen == word)
            return owner == 0;
        word = seen;
    }
    return ret;
}

/* All who wait for the lock look again. They stay queued; who does not get it marks it contended.
 */
static void pi_wake(const uint32_t *user)
{
    uint64_t address = (uint64_t)(uintptr_t)user;
    struct waitq *bucket = bucket_of(address);
    LOCKED(&bucket->lock);
    for (struct waiter *w = bucket->first; w; w = w->next) {
        if (w->key == address && futex_waiter(w)->pi)
            thread_unpark(w->thread);
    }
}

int futex_lock_pi(uint32_t *user, uint64_t deadline, bool only_try)
{
    uint32_t tid = (uint32_t)current()->tid;
    struct dsm_word word;
    if (dsm_any() && dsm_word(user, &word)) {
        log_note("PI futexes on memory shared with other processes are not supported");
        return -ENOSYS;
    }
    int ret = pi_try(user, tid, !only_try);
    if (ret != 0 || only_try)
        return ret > 0 ? 0 : ret < 0 ? ret : -EAGAIN;

    struct futex_waiter self = {
        .waiter = { .thread = current(), .key = (uint64_t)(uintptr_t)user },
        .bitset = FUTEX_ANY,
        .pi = true,
    };
    waitq_add(bucket_of(self.waiter.key), &self.waiter);
    while ((ret = pi_try(user, tid, true)) == 0) {
        ret = thread_park(deadline);
        if (ret < 0)
            break;
    }
    waitq_remove(&self.waiter);
    return ret < 0 ? ret : 0;
}

int futex_unlock_pi(uint32_t *user)
{
    uint32_t word;
    int ret = user_load32(user, &word);
    while (ret == 0) {
        if ((word & FUTEX_TID_MASK) != (uint32_t)current()->tid)
            return -EPERM;
        uint32_t seen;
        ret = user_cmpxchg32(user, word, 0, &seen);
        if (ret == 0 && seen == word) {
            pi_wake(user);
            return 0;
        }
        word = seen;
    }
    return ret;
}

/* --- robust lists ----------------------------------------------------------------------------- */

/* One lock word of a dead thread: marks it and wakes one who waits for it. */
static void owner_died(uint32_t *user, uint32_t tid, bool pi, bool pending)
{
    uint32_t word;
    if ((uintptr_t)user % sizeof(*user) || user_load32(user, &word) < 0)
        return;
    for (;;) {
        /* Died between unlocking and waking: the wake is owed (kernel/futex/core.c). */
        if (pending && !pi && word == 0) {
            futex_wake(user, 1, FUTEX_ANY);
            return;
        }
        if ((word & FUTEX_TID_MASK) != tid)
            return;
        uint32_t seen;
        if (user_cmpxchg32(user, word, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED, &seen) < 0)
            return;
        if (seen == word)
            break;
        word = seen;
    }
    if (!(word & FUTEX_WAITERS))
        return;
    if (pi)
        pi_wake(user);
    else
        futex_wake(user, 1, FUTEX_ANY);
}

void futex_robust_exit(uint64_t list, uint32_t tid)
{
    struct {
        uint64_t next;
        int64_t offset;
        uint64_t pending;
    } head;
    static_assert(sizeof(head) == sizeof(struct robust_list_head), "robust list");

    if (!list || GET_USER(&head, (const void *)(uintptr_t)list) < 0)
        return;
    /* Bit 0 of an entry's address says that it is a PI lock. */
    uint64_t entry = head.next;
    for (unsigned i = 0; (entry & ~1ull) != list && i < ROBUST_LIST_LIMIT; i++) {
        uint64_t next = 0;
        int fault = GET_USER(&next, (const void *)(uintptr_t)(entry & ~1ull));
        if ((entry & ~1ull) != (head.pending & ~1ull))
            owner_died((uint32_t *)(uintptr_t)((entry & ~1ull) + (uint64_t)head.offset), tid,
                       entry & 1, false);
        if (fault < 0)
            break;
        entry = next;
    }
    if (head.pending & ~1ull)
        owner_died((uint32_t *)(uintptr_t)((head.pending & ~1ull) + (uint64_t)head.offset), tid,
                   head.pending & 1, true);
}
