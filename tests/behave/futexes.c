/* behave: options --threads 12
 * Contention on mutexes, condition variables, barriers, rwlocks, semaphores, once, spin, and the raw
 * futex calls: WAIT_BITSET, REQUEUE, WAKE_OP, timeouts. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 8, ROUNDS = 3000 };
static pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_cond = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t g_rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t g_barrier;
static pthread_once_t g_once = PTHREAD_ONCE_INIT;
static sem_t g_sem;
static long g_count, g_turn, g_rw_count, g_once_count;
static uint32_t g_word, g_word2, g_gate;
static int g_woken;

static void once(void)
{
    g_once_count++;
}

static void *worker(void *arg)
{
    long me = (long)arg;
    pthread_once(&g_once, once);
    for (int i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&g_mutex);
        g_count++;
        pthread_mutex_unlock(&g_mutex);
    }
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&g_mutex);
        while (g_turn % WORKERS != me)
            pthread_cond_wait(&g_cond, &g_mutex);
        g_turn++;
        pthread_cond_broadcast(&g_cond);
        pthread_mutex_unlock(&g_mutex);
    }
    pthread_barrier_wait(&g_barrier);
    for (int i = 0; i < 200; i++) {
        pthread_rwlock_wrlock(&g_rw);
        g_rw_count++;
        pthread_rwlock_unlock(&g_rw);
        pthread_rwlock_rdlock(&g_rw);
        pthread_rwlock_unlock(&g_rw);
    }
    sem_post(&g_sem);
    return NULL;
}

static long futex(uint32_t *word, int op, uint32_t value, const void *timeout, uint32_t *word2,
                  uint32_t value3)
{
    return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

static void *sleeper(void *arg)
{
    uint32_t mask = (uint32_t)(uintptr_t)arg;
    while (futex(&g_word, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, mask) != 0)
        ;
    __atomic_add_fetch(&g_woken, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* How many it woke; until there is one, for who is to be woken may not sleep yet. */
static long wake(int op, uint32_t mask)
{
    long r;
    while ((r = futex(&g_word, op, 9, NULL, NULL, mask)) == 0)
        usleep(1000);
    return r;
}

static void *requeued(void *arg)
{
    long r = futex(&g_gate, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    if (r == 0)
        __atomic_add_fetch(&g_woken, 1, __ATOMIC_SEQ_CST);
    return arg;
}

int main(void)
{
    pthread_t threads[WORKERS];
    pthread_barrier_init(&g_barrier, NULL, WORKERS);
    sem_init(&g_sem, 0, 0);
    for (long i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, worker, (void *)i);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    int posted;
    sem_getvalue(&g_sem, &posted);
    printf("%ld %ld %ld %ld %d\n", g_count, g_turn, g_rw_count, g_once_count, posted);

    struct timespec short_time = { .tv_nsec = 5000000 };
    long r = futex(&g_word, FUTEX_WAIT_PRIVATE, 0, &short_time, NULL, 0);
    printf("timeout: %ld %s\n", r, strerror(errno));
    r = futex(&g_word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    printf("other value: %ld %s\n", r, strerror(errno));
    r = futex((uint32_t *)((char *)&g_word + 1), FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    printf("unaligned: %ld %s\n", r, strerror(errno));
    struct timespec past = { 0 };
    r = futex(&g_word, FUTEX_WAIT_BITSET_PRIVATE, 0, &past, NULL, FUTEX_BITSET_MATCH_ANY);
    printf("deadline in the past: %ld %s\n", r, strerror(errno));
    printf("nobody to wake: %ld\n", futex(&g_word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));

    pthread_create(&threads[0], NULL, sleeper, (void *)1);
    pthread_create(&threads[1], NULL, sleeper, (void *)2);
    usleep(30000);
    printf("bitset 4: %ld\n", futex(&g_word, FUTEX_WAKE_BITSET_PRIVATE, 9, NULL, NULL, 4));
    printf("bitset 2: %ld\n", wake(FUTEX_WAKE_BITSET_PRIVATE, 2));
    printf("bitset any: %ld\n", wake(FUTEX_WAKE_PRIVATE, 0));
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);

    g_woken = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, requeued, NULL);
    for (long asleep = 0; asleep < 4; usleep(1000)) { /* then all of them wait for g_word */
        r = futex(&g_gate, FUTEX_REQUEUE_PRIVATE, 0, (void *)4, &g_word, 0);
        if (r < 0)
            return 1;
        asleep += r;
    }
    r = futex(&g_word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)3, &g_word2, 0);
    printf("requeue: %ld\n", r);
    r = futex(&g_word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)3, &g_word2, 5);
    printf("requeue, other value: %ld %s\n", r, strerror(errno));
    printf("left behind: %ld\n", futex(&g_word, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
    printf("moved: %ld\n", futex(&g_word2, FUTEX_WAKE_PRIVATE, 9, NULL, NULL, 0));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("woken %d\n", g_woken);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 10000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&g_mutex);
    printf("timed lock: %s\n", strerror(pthread_mutex_timedlock(&g_mutex, &until)));
    printf("timed wait: %s\n", strerror(pthread_cond_timedwait(&g_cond, &g_mutex, &until)));
    return 0;
}
