/* Condition variables, barriers, rwlocks, semaphores, pipes, epoll and short-lived threads while
 * signals fly at all of them: nothing hangs, nothing is counted twice. */
/* behave: options --threads 14 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 6
#define ROUNDS  300
#define EVENTS  2000

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static sem_t semaphore;
static pthread_t workers[WORKERS];
static long turn, shared, written;
static atomic_int handled, running = 1;
static int fds[2], event_fd, epoll_fd;

static void check(int ok)
{
    if (!ok)
        abort();
}

static void handler(int number)
{
    (void)number;
    struct timespec now;
    int saved = errno;
    clock_gettime(CLOCK_MONOTONIC, &now);
    atomic_fetch_add(&handled, 1);
    errno = saved;
}

static struct timespec in_ms(long ms)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += ms * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

static void wait_turn(long id, int round)
{
    pthread_mutex_lock(&mutex);
    while (turn % WORKERS != id) {
        struct timespec soon = in_ms(1);
        if (round % 7 == 0)
            pthread_cond_timedwait(&changed, &mutex, &soon);
        else
            pthread_cond_wait(&changed, &mutex);
    }
    turn++;
    shared++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void *work(void *arg)
{
    long id = (long)arg;
    for (int i = 0; i < ROUNDS; i++) {
        wait_turn(id, i);
        if (i % 10 == 0)
            pthread_barrier_wait(&barrier);
        if (id == 0) {
            pthread_rwlock_wrlock(&rwlock);
            written++;
        } else {
            pthread_rwlock_rdlock(&rwlock);
        }
        pthread_rwlock_unlock(&rwlock);
        while (sem_wait(&semaphore) < 0)
            check(errno == EINTR);
        sem_post(&semaphore);
        char byte = (char)id;
        if (i % 5 == 0)
            check(write(fds[1], &byte, 1) == 1 && read(fds[0], &byte, 1) == 1);
        if (i % 50 == 0)
            usleep(100);
    }
    return NULL;
}

static void *nothing(void *arg)
{
    return arg;
}

static void *send_signals(void *arg)
{
    unsigned random = 1;
    while (atomic_load(&running)) {
        random = random * 1103515245 + 12345;
        pthread_kill(workers[(random >> 16) % WORKERS], random & 64 ? SIGUSR1 : SIGUSR2);
        if ((random >> 8) % 3 == 0)
            kill(getpid(), SIGUSR1);
        pthread_t thread;
        if ((random >> 9) % 8 == 0 && pthread_create(&thread, NULL, nothing, NULL) == 0)
            pthread_join(thread, NULL);
        usleep(100);
    }
    return arg;
}

static void *count_events(void *arg)
{
    unsigned long *count = arg, value;
    while (*count < EVENTS) {
        struct epoll_event event;
        int n = epoll_wait(epoll_fd, &event, 1, 60000);
        check(n > 0 || (n < 0 && errno == EINTR));
        if (n > 0 && read(event_fd, &value, sizeof(value)) == sizeof(value))
            *count += value;
    }
    return NULL;
}

int main(void)
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    struct epoll_event event = { .events = EPOLLIN };
    pthread_t counter, sender;
    unsigned long count = 0, one = 1;

    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGUSR2, &action, NULL);
    check(pipe(fds) == 0 && sem_init(&semaphore, 0, 2) == 0);
    pthread_barrier_init(&barrier, NULL, WORKERS);
    epoll_fd = epoll_create1(0);
    event_fd = eventfd(0, EFD_NONBLOCK);
    check(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event_fd, &event) == 0);
    pthread_mutex_lock(&mutex); /* nobody ends before it can be sent a signal */
    for (long i = 0; i < WORKERS; i++)
        check(pthread_create(&workers[i], NULL, work, (void *)i) == 0);
    check(pthread_create(&counter, NULL, count_events, &count) == 0);
    check(pthread_create(&sender, NULL, send_signals, NULL) == 0);
    pthread_mutex_unlock(&mutex);

    for (int i = 0; i < EVENTS; i++)
        check(write(event_fd, &one, sizeof(one)) == sizeof(one));
    pthread_join(counter, NULL);
    pthread_mutex_lock(&mutex);
    while (shared < WORKERS * ROUNDS) {
        struct timespec later = in_ms(100);
        pthread_cond_timedwait(&changed, &mutex, &later);
    }
    pthread_mutex_unlock(&mutex);
    atomic_store(&running, 0);
    pthread_join(sender, NULL);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i], NULL);
    printf("shared %ld, written %ld, events %lu, signals %s\n", shared, written, count,
           atomic_load(&handled) > 10 ? "came" : "did not come");
    return 0;
}
