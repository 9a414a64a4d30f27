/*
 * Shared memory: futexes on it (dsm.h). Tier: enclave.
 *
 * A waiter is known at the hub before it looks at the word. The lock is not held while the hub is asked.
 */
#include "mm/dsm/futex.h"

#include <asm/errno.h>

#include "mm/dsm.h"
#include "mm/uaccess.h"
#include "thread/lock.h"
#include "thread/threads.h"

struct sleeper {
    struct sleeper *next;
    struct thread *thread;
    uint64_t number;
    bool woken;
};

static struct {
    struct lock lock;
    struct sleeper *first;
    uint64_t next_number;
} g_sleepers;

void dsm_wake_sleeper(uint64_t number)
{
    lock_take(&g_sleepers.lock);
    for (struct sleeper *s = g_sleepers.first; s; s = s->next) {
        if (s->number == number) {
            __atomic_store_n(&s->woken, true, __ATOMIC_RELEASE);
            thread_unpark(s->thread);
        }
    }
    lock_drop(&g_sleepers.lock);
}

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

int dsm_futex_wait(const struct dsm_word *word, const uint32_t *user, uint32_t value,
                   uint32_t bitset, uint64_t deadline)
{
    uint32_t seen;
    int ret = user_load32(user, &seen);
    if (ret < 0)
        return ret;
    if (seen != value)
        return -EAGAIN;

    struct sleeper self = { .thread = current() };
    lock_take(&g_sleepers.lock);
    self.number = ++g_sleepers.next_number;
    self.next = g_sleepers.first;
    g_sleepers.first = &self;
    lock_drop(&g_sleepers.lock);

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

    lock_take(&g_sleepers.lock);
    for (struct sleeper **at = &g_sleepers.first; *at; at = &(*at)->next) {
        if (*at == &self) {
            *at = self.next;
            break;
        }
    }
    lock_drop(&g_sleepers.lock);
    if (woken && left) { /* meant for somebody who waits in earnest */
        (void)dsm_futex_wake(word, 1, bitset);
        return ret;
    }
    return woken ? 0 : ret;
}
