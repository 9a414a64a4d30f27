/* Advisory locks (locks.h). Few at a time: one list. Tier: enclave. */
#include "vfs/locks.h"

#include "mm/heap.h"
#include "vfs/kstat.h"
#include "vfs/linux.h"

static struct lock g_lock;
static struct file_lock *g_locks;
static struct waitq g_queue;

struct waitq *locks_queue(void)
{
    return &g_queue;
}

static bool any(void)
{
    return __atomic_load_n(&g_locks, __ATOMIC_SEQ_CST) != NULL;
}

static bool same_owner(const struct file_lock *a, const struct file_lock *b)
{
    return a->kind == b->kind && a->owner == b->owner;
}

/* Locked: of another owner, in the way of want. */
static const struct file_lock *conflict(const struct file_lock *want)
{
    for (const struct file_lock *l = g_locks; l; l = l->next) {
        if (l->ino == want->ino && l->dev == want->dev && l->start <= want->last &&
            want->start <= l->last && !same_owner(l, want) &&
            (l->kind == LOCK_FLOCK) == (want->kind == LOCK_FLOCK) &&
            (l->type == F_WRLCK || want->type == F_WRLCK))
            return l;
    }
    return NULL;
}

/* Locked: the owner has nothing in want's range any more. *spare: used where a lock falls into two; what is not used
 * any more goes to *ret_gone. */
static void cut(const struct file_lock *want, struct file_lock **spare, struct file_lock **ret_gone)
{
    for (struct file_lock **at = &g_locks; *at;) {
        struct file_lock *l = *at;
        if (l->ino != want->ino || l->dev != want->dev || !same_owner(l, want) ||
            l->start > want->last || want->start > l->last) {
            at = &l->next;
        } else if (l->start < want->start && l->last > want->last) {
            struct file_lock *rest = *spare;
            *spare = NULL;
            *rest = *l;
            rest->start = want->last + 1;
            l->last = want->start - 1;
            l->next = rest;
            return;
        } else if (l->start < want->start) {
            l->last = want->start - 1;
            at = &l->next;
        } else if (l->last > want->last) {
            l->start = want->last + 1;
            at = &l->next;
        } else {
            *at = l->next;
            l->next = *ret_gone;
            *ret_gone = l;
        }
    }
}

static void free_all(struct file_lock *locks)
{
    while (locks) {
        struct file_lock *next = locks->next;
        heap_free(locks);
        locks = next;
    }
}

static int identify(struct file *file, struct file_lock *want)
{
    struct kstat st;
    int status = file->ops->fstat ? file->ops->fstat(file, &st) : -EINVAL;
    if (status < 0)
        return status;
    want->dev = st.dev;
    want->ino = st.ino;
    if (want->kind != LOCK_RECORD)
        want->owner = (uint64_t)(uintptr_t)file;
    return 0;
}

int locks_set(struct file *file, struct file_lock want)
{
    struct file_lock *gone = NULL;
    int status = identify(file, &want);
    if (status < 0 || (want.type == F_UNLCK && !any()))
        return status;
    struct file_lock *fresh = heap_alloc(sizeof(*fresh)), *spare = heap_alloc(sizeof(*spare));
    if (!fresh || !spare) {
        status = -ENOLCK;
    } else {
        LOCKED(&g_lock);
        if (want.type != F_UNLCK && conflict(&want)) {
            status = -EAGAIN;
        } else {
            cut(&want, &spare, &gone);
            if (want.type != F_UNLCK) {
                *fresh = want;
                fresh->next = g_locks;
                __atomic_store_n(&g_locks, TAKE_PTR(fresh), __ATOMIC_SEQ_CST);
            }
        }
    }
    heap_free(fresh);
    heap_free(spare);
    free_all(gone);
    /* Also where a write lock became a read lock. */
    if (status == 0)
        waitq_wake(&g_queue, UINT32_MAX);
    return status;
}

int locks_get(struct file *file, struct file_lock want, struct file_lock *ret)
{
    int status = identify(file, &want);
    if (status < 0)
        return status;
    LOCKED(&g_lock);
    const struct file_lock *there = conflict(&want);
    if (there) {
        *ret = *there;
    } else {
        *ret = want;
        ret->type = F_UNLCK;
    }
    return 0;
}

/* All locks of an owner, on one file or (ino 0) on all. */
static void drop(const struct file_lock *like)
{
    struct file_lock *gone = NULL;
    lock_take(&g_lock);
    for (struct file_lock **at = &g_locks; *at;) {
        struct file_lock *l = *at;
        bool it = like->kind == LOCK_RECORD ? same_owner(l, like)
                                            : l->kind != LOCK_RECORD && l->owner == like->owner;
        if (!it || (like->ino && (l->ino != like->ino || l->dev != like->dev))) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        l->next = gone;
        gone = l;
    }
    lock_drop(&g_lock);
    if (gone)
        waitq_wake(&g_queue, UINT32_MAX);
    free_all(gone);
}

void locks_closed(struct file *file, int32_t pid)
{
    struct file_lock like = { .kind = LOCK_RECORD, .owner = (uint64_t)pid };
    if (any() && identify(file, &like) == 0)
        drop(&like);
}

void locks_process_gone(int32_t pid)
{
    if (any())
        drop(&(struct file_lock){ .kind = LOCK_RECORD, .owner = (uint64_t)pid });
}

void locks_file_gone(const struct file *file)
{
    if (any())
        drop(&(struct file_lock){ .kind = LOCK_FLOCK, .owner = (uint64_t)(uintptr_t)file });
}
