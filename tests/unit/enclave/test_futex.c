/* futex(2), threads and robust lists (src/enclave/thread/futex.c, threads.c, sys/futex.c). */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "border/border.h"
#include "mm/dsm.h"
#include "signal/signal.h"
#include "thr_fakes.h"
#include "thread/mutex.h"
#include "thread/threads.h"

sys_fn sys_futex, sys_set_robust_list, sys_tgkill, sys_gettid;

#define FUTEX(...) CALL(sys_futex, __VA_ARGS__)

static const struct {
    const char *name;
    uint64_t op, value, timeout, second, value3;
    bool misaligned, bad;
    int64_t want;
} refused[] = {
    { "other value", FUTEX_WAIT, 1, 0, 0, 0, false, false, -EAGAIN },
    { "other value, private", FUTEX_WAIT | FUTEX_PRIVATE_FLAG, 1, 0, 0, 0, false, false, -EAGAIN },
    { "misaligned", FUTEX_WAIT, 0, 0, 0, 0, true, false, -EINVAL },
    { "bad address", FUTEX_WAIT, 0, 0, 0, 0, false, true, -EFAULT },
    { "bad address of a wake", FUTEX_WAKE, 1, 0, 0, 0, false, true, -EFAULT },
    { "empty bitset wait", FUTEX_WAIT_BITSET, 0, 0, 0, 0, false, false, -EINVAL },
    { "empty bitset wake", FUTEX_WAKE_BITSET, 1, 0, 0, 0, false, false, -EINVAL },
    { "no waiters", FUTEX_WAKE, 5, 0, 0, 0, false, false, 0 },
    { "unknown", 77, 0, 0, 0, 0, false, false, -ENOSYS },
    { "realtime wake", FUTEX_WAKE | FUTEX_CLOCK_REALTIME, 1, 0, 0, 0, false, false, -ENOSYS },
    { "bad timeout address", FUTEX_WAIT, 0, 8, 0, 0, false, false, -EFAULT },
    { "unlock what is not ours", FUTEX_UNLOCK_PI, 0, 0, 0, 0, false, false, -EPERM },
};

static void test_refused(void **state UNUSED)
{
    uint32_t word[2] = { 0, 0 };
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        uint64_t at = refused[i].bad ? 4096 : PTR(word) + refused[i].misaligned;
        int64_t got = FUTEX(at, refused[i].op, refused[i].value, refused[i].timeout,
                            refused[i].second, refused[i].value3);
        if (got != refused[i].want)
            fail_msg("%s: got %ld, want %ld", refused[i].name, got, refused[i].want);
    }
}

static void test_timeouts(void **state UNUSED)
{
    uint32_t word = 0;
    struct timespec relative = { 0, 20000000 }, invalid = { 0, 1000000000 }, until;

    uint64_t before = clock_monotonic();
    assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAIT), NUM(0), PTR(&relative)), -ETIMEDOUT);
    assert_true(clock_monotonic() - before >= 20000000);

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec -= 1; /* in the past */
    assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME), NUM(0),
                           PTR(&until), NUM(0), NUM(FUTEX_BITSET_MATCH_ANY)),
                     -ETIMEDOUT);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 10000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAIT_BITSET), NUM(0), PTR(&until), NUM(0), NUM(1)),
                     -ETIMEDOUT);
    assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAIT), NUM(0), PTR(&invalid)), -EINVAL);
}

/* Another process opens what the word lies on, between our look at that and our wait. */
static void test_becomes_distributed(void **state UNUSED)
{
    uint32_t word = 0;
    struct timespec limit = { 0, 200000000 };
    g_thr_distributes = true;
    int64_t got = FUTEX(PTR(&word), NUM(FUTEX_WAIT), NUM(0), PTR(&limit));
    g_thr_distributes = false;
    g_dsm_mappings = 0;
    assert_int_equal(
        got,
        -ENOSYS); /* dsm_futex_wait() of thr_fakes.c; -ETIMEDOUT: it waited where nobody wakes it */
}

/* --- wake order, bitsets, requeue ------------------------------------------------------------- */

struct sleeper {
    struct thr thr;
    uint32_t *word;
    uint32_t bitset;
    uint32_t *order; /* shared counter */
    uint32_t turn;   /* when it woke, from 1 */
    int64_t ret;
};

static void sleep_once(void *arg)
{
    struct sleeper *s = arg;
    s->ret = FUTEX(PTR(s->word), NUM(FUTEX_WAIT_BITSET), NUM(0), NUM(0), NUM(0), NUM(s->bitset));
    s->turn = __atomic_add_fetch(s->order, 1, __ATOMIC_SEQ_CST);
}

static void start_sleepers(struct sleeper *s, size_t count, uint32_t *word, uint32_t *order)
{
    *order = 0;
    for (size_t i = 0; i < count; i++) {
        s[i] = (struct sleeper){ .word = word, .bitset = 1u << i, .order = order };
        thr_start(&s[i].thr, sleep_once, &s[i]);
        thr_wait_parked(s[i].thr.thread);
    }
}

static void test_wakes_in_order(void **state UNUSED)
{
    uint32_t word = 0, order;
    struct sleeper s[5];
    start_sleepers(s, 5, &word, &order);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAKE), NUM(1)), 1);
        thr_join(&s[i].thr);
        assert_int_equal(s[i].turn, i + 1);
        assert_int_equal(s[i].ret, 0);
    }
    assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAKE), NUM(9)), 0);
}

static void test_bitset(void **state UNUSED)
{
    uint32_t word = 0, order;
    struct sleeper s[3];
    start_sleepers(s, 3, &word, &order);
    assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAKE_BITSET), NUM(9), NUM(0), NUM(0), NUM(8)), 0);
    assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAKE_BITSET), NUM(9), NUM(0), NUM(0), NUM(5)), 2);
    thr_join(&s[0].thr);
    thr_join(&s[2].thr);
    assert_int_equal(s[1].turn, 0);
    assert_int_equal(FUTEX(PTR(&word), NUM(FUTEX_WAKE), NUM(9)), 1);
    thr_join(&s[1].thr);
}

static void test_requeue(void **state UNUSED)
{
    uint32_t words[64] = { 0 }, order;
    struct sleeper s[4];
    start_sleepers(s, 4, &words[0], &order);
    assert_int_equal(
        FUTEX(PTR(&words[0]), NUM(FUTEX_CMP_REQUEUE), NUM(1), NUM(2), PTR(&words[40]), NUM(7)),
        -EAGAIN);
    /* One wakes, two move, one stays. */
    assert_int_equal(
        FUTEX(PTR(&words[0]), NUM(FUTEX_CMP_REQUEUE), NUM(1), NUM(2), PTR(&words[40]), NUM(0)), 3);
    thr_join(&s[0].thr);
    assert_int_equal(FUTEX(PTR(&words[40]), NUM(FUTEX_WAKE), NUM(9)), 2);
    thr_join(&s[1].thr);
    thr_join(&s[2].thr);
    assert_int_equal(s[3].turn, 0);
    /* To itself, and back from the old address. */
    assert_int_equal(FUTEX(PTR(&words[0]), NUM(FUTEX_REQUEUE), NUM(0), NUM(9), PTR(&words[0])), 1);
    assert_int_equal(FUTEX(PTR(&words[0]), NUM(FUTEX_WAKE), NUM(9)), 1);
    thr_join(&s[3].thr);
}

/* Who is moved to a word that other processes have too would not hear of their wakes: it looks again. */
static void test_requeue_to_a_distributed_word(void **state UNUSED)
{
    uint32_t words[2] = { 0 }, order;
    struct sleeper s[1];
    start_sleepers(s, 1, &words[0], &order);
    g_thr_distributed = &words[1];
    g_dsm_mappings = 1;
    assert_int_equal(FUTEX(PTR(&words[0]), NUM(FUTEX_REQUEUE), NUM(0), NUM(1), PTR(&words[1])), 1);
    thr_join(&s[0].thr); /* without the look it sleeps for ever */
    g_dsm_mappings = 0;
    g_thr_distributed = NULL;
}

static const struct {
    const char *name;
    uint32_t op, operand, compare, against, before, after;
    bool wakes;
} wake_ops[] = {
    { "set, equal", FUTEX_OP_SET, 5, FUTEX_OP_CMP_EQ, 3, 3, 5, true },
    { "set, not equal", FUTEX_OP_SET, 5, FUTEX_OP_CMP_EQ, 4, 3, 5, false },
    { "add, greater", FUTEX_OP_ADD, 2, FUTEX_OP_CMP_GT, 2, 3, 5, true },
    { "add minus one, less", FUTEX_OP_ADD, 0xfff, FUTEX_OP_CMP_LT, 3, 3, 2, false },
    { "or", FUTEX_OP_OR, 4, FUTEX_OP_CMP_GE, 3, 3, 7, true },
    { "andn", FUTEX_OP_ANDN, 1, FUTEX_OP_CMP_LE, 3, 3, 2, true },
    { "xor, shifted", FUTEX_OP_XOR | FUTEX_OP_OPARG_SHIFT, 4, FUTEX_OP_CMP_NE, 3, 3, 19, false },
    { "against -1", FUTEX_OP_SET, 0, FUTEX_OP_CMP_EQ, 0xfff, 0xffffffffu, 0, true },
};

static void test_wake_op(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(wake_ops); i++) {
        uint32_t first = 0, second = 0, order;
        struct sleeper s[1];
        start_sleepers(s, 1, &second, &order);
        second = wake_ops[i].before;
        uint32_t code = wake_ops[i].op << 28 | wake_ops[i].compare << 24 |
                        wake_ops[i].operand << 12 | wake_ops[i].against;
        int64_t got =
            FUTEX(PTR(&first), NUM(FUTEX_WAKE_OP), NUM(1), NUM(1), PTR(&second), NUM(code));
        if (got != wake_ops[i].wakes || second != wake_ops[i].after)
            fail_msg("%s: woke %ld, word %u", wake_ops[i].name, got, second);
        FUTEX(PTR(&second), NUM(FUTEX_WAKE), NUM(1));
        thr_join(&s[0].thr);
    }
}

/* --- no lost wake-up -------------------------------------------------------------------------- */

/* A lock as glibc's lll_lock: 0 free, 1 taken, 2 contended. */
static void futex_lock(uint32_t *word)
{
    uint32_t seen = 0;
    if (__atomic_compare_exchange_n(word, &seen, 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        return;
    while (__atomic_exchange_n(word, 2, __ATOMIC_SEQ_CST) != 0)
        FUTEX(PTR(word), NUM(FUTEX_WAIT | FUTEX_PRIVATE_FLAG), NUM(2));
}

static void futex_unlock(uint32_t *word)
{
    if (__atomic_exchange_n(word, 0, __ATOMIC_SEQ_CST) == 2)
        FUTEX(PTR(word), NUM(FUTEX_WAKE | FUTEX_PRIVATE_FLAG), NUM(1));
}

struct stress {
    uint32_t word, turns;
    uint64_t shared;
    struct mutex mutex;
    bool use_mutex, pi;
};

static void pi_lock(uint32_t *word)
{
    uint32_t seen = 0, tid = (uint32_t)current()->tid;
    if (!__atomic_compare_exchange_n(word, &seen, tid, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        assert_int_equal(FUTEX(PTR(word), NUM(FUTEX_LOCK_PI)), 0);
    assert_int_equal(*word & FUTEX_TID_MASK, tid);
}

static void pi_unlock(uint32_t *word)
{
    uint32_t tid = (uint32_t)current()->tid, seen = tid;
    if (!__atomic_compare_exchange_n(word, &seen, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        assert_int_equal(FUTEX(PTR(word), NUM(FUTEX_UNLOCK_PI)), 0);
}

static void add_many(void *arg)
{
    struct stress *s = arg;
    for (uint32_t i = 0; i < s->turns; i++) {
        if (s->use_mutex)
            mutex_take(&s->mutex);
        else if (s->pi)
            pi_lock(&s->word);
        else
            futex_lock(&s->word);
        uint64_t value = *(volatile uint64_t *)&s->shared;
        if (i % 64 == 0)
            sched_yield();
        *(volatile uint64_t *)&s->shared = value + 1;
        if (s->use_mutex)
            mutex_drop(&s->mutex);
        else if (s->pi)
            pi_unlock(&s->word);
        else
            futex_unlock(&s->word);
    }
}

static void run_stress(bool use_mutex, bool pi)
{
    struct stress s = { .turns = 3000, .use_mutex = use_mutex, .pi = pi };
    struct thr thr[4];
    for (int i = 0; i < 4; i++)
        thr_start(&thr[i], add_many, &s);
    for (int i = 0; i < 4; i++)
        thr_join(&thr[i]);
    assert_int_equal(s.shared, 4 * 3000);
}

static void test_stress(void **state UNUSED)
{
    run_stress(false, false);
}

static void test_mutex_stress(void **state UNUSED)
{
    run_stress(true, false);
}

static void test_pi_stress(void **state UNUSED)
{
    run_stress(false, true);
}

/* A host whose OCALL_PARK never sleeps costs time and nothing else. */
static void test_host_does_not_park(void **state UNUSED)
{
    uint32_t word = 0, order;
    struct sleeper s = { .word = &word, .bitset = 1, .order = &order };
    order = 0;
    g_thr_park_returns_at_once = true;
    thr_start(&s.thr, sleep_once, &s);
    thr_sleep_ms(20);
    assert_int_equal(s.turn, 0);
    while (FUTEX(PTR(&word), NUM(FUTEX_WAKE), NUM(1)) == 0)
        ;
    thr_join(&s.thr);
    g_thr_park_returns_at_once = false;
    assert_int_equal(s.ret, 0);
}

/* Start and end many threads: areas are reused, tids are not. */
static void nothing(void *arg)
{
    *(int32_t *)arg = (int32_t)CALL(sys_gettid);
}

static void test_areas_are_reused(void **state UNUSED)
{
    int32_t last = 0;
    for (int i = 0; i < 200; i++) {
        struct thr thr[3];
        int32_t tids[3];
        for (int k = 0; k < 3; k++)
            thr_start(&thr[k], nothing, &tids[k]);
        for (int k = 0; k < 3; k++) {
            thr_join(&thr[k]);
            assert_int_equal(tids[k], thr[k].tid);
            assert_true(tids[k] > last || k > 0);
        }
        last = tids[2];
    }
    assert_int_equal(threads_used(), 1);
    assert_null(thread_by_tid(last));
    assert_ptr_equal(thread_by_tid(process_pid()), current());
}

static void wait_for_word(void *arg)
{
    while (*(volatile uint32_t *)arg == 0)
        FUTEX(PTR(arg), NUM(FUTEX_WAIT), NUM(0));
}

static void test_no_more_areas(void **state UNUSED)
{
    uint32_t word = 0;
    struct thr thr[THR_AREAS - 1];
    struct thread *extra;
    for (int i = 0; i < THR_AREAS - 1; i++)
        thr_start(&thr[i], wait_for_word, &word);
    assert_int_equal(thread_new(&extra), -EAGAIN);
    __atomic_store_n(&word, 1, __ATOMIC_SEQ_CST);
    FUTEX(PTR(&word), NUM(FUTEX_WAKE), NUM(INT32_MAX));
    thr_join(&thr[0]);
    /* Joined, perhaps not quite gone: the next clone waits for it. */
    struct thr again;
    thr_start(&again, wait_for_word, &word);
    thr_join(&again);
    for (int i = 1; i < THR_AREAS - 1; i++)
        thr_join(&thr[i]);
}

/* The host's entries find the area closed for as long as it is filled. */
static void test_area_states(void **state UNUSED)
{
    struct thread *thread;
    assert_int_equal(thread_new(&thread), 0);
    assert_int_equal(thread->state, THREAD_STATE_FILLED);
    thread_drop(thread);
    assert_int_equal(thread->state, THREAD_STATE_NEW);
}

/* --- robust lists ----------------------------------------------------------------------------- */

struct robust {
    struct robust_list_head head;
    struct {
        struct robust_list list;
        uint32_t word;
    } lock[3];
};

static void die_holding(void *arg)
{
    struct robust *r = arg;
    uint32_t tid = (uint32_t)current()->tid;
    long offset = (long)((char *)&r->lock[0].word - (char *)&r->lock[0].list);
    r->head = (struct robust_list_head){ .list = { &r->lock[0].list }, .futex_offset = offset };
    r->lock[0].list.next = &r->lock[1].list;
    r->lock[1].list.next = &r->head.list;
    r->head.list_op_pending = &r->lock[2].list;
    r->lock[0].word = tid | FUTEX_WAITERS;
    r->lock[1].word = 12345; /* somebody else's */
    r->lock[2].word = tid;
    CALL(sys_set_robust_list, PTR(&r->head), NUM(sizeof(r->head)));
}

static void wait_owner(void *arg)
{
    struct robust *r = arg;
    uint32_t word;
    while (!((word = __atomic_load_n(&r->lock[0].word, __ATOMIC_SEQ_CST)) & FUTEX_OWNER_DIED))
        FUTEX(PTR(&r->lock[0].word), NUM(FUTEX_WAIT), NUM(word));
}

static void test_robust(void **state UNUSED)
{
    struct robust r = { 0 };
    struct thr waiter, owner;
    thr_start(&waiter, wait_owner, &r);
    thr_wait_parked(waiter.thread);
    r.lock[0].word = 1;
    thr_start(&owner, die_holding, &r);
    thr_join(&owner);
    FUTEX(PTR(&r.lock[0].word), NUM(FUTEX_WAKE), NUM(1)); /* it slept on the old value */
    thr_join(&waiter);
    assert_int_equal(r.lock[0].word, FUTEX_WAITERS | FUTEX_OWNER_DIED);
    assert_int_equal(r.lock[1].word, 12345);
    assert_int_equal(r.lock[2].word, FUTEX_OWNER_DIED);
    assert_int_equal(CALL(sys_set_robust_list, PTR(&r.head), NUM(7)), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_becomes_distributed),
        cmocka_unit_test(test_wakes_in_order),
        cmocka_unit_test(test_bitset),
        cmocka_unit_test(test_requeue),
        cmocka_unit_test(test_requeue_to_a_distributed_word),
        cmocka_unit_test(test_wake_op),
        cmocka_unit_test(test_stress),
        cmocka_unit_test(test_mutex_stress),
        cmocka_unit_test(test_pi_stress),
        cmocka_unit_test(test_host_does_not_park),
        cmocka_unit_test(test_areas_are_reused),
        cmocka_unit_test(test_no_more_areas),
        cmocka_unit_test(test_area_states),
        cmocka_unit_test(test_robust),
    };
    return cmocka_run_group_tests(tests, thr_setup, NULL);
}
