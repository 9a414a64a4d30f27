/* behave: options --threads 6
 * Robust mutexes, thread-local storage, detached threads, cancellation, cleanup, stack attributes,
 * pthread_exit of the main thread. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t g_robust;
static __thread int t_value = 42;
static pthread_key_t g_key;
static int g_destroyed;
static sem_t g_pushed;

static void destroy(void *value)
{
    g_destroyed += *(int *)value;
}

static void *dies_with_lock(void *unused)
{
    pthread_mutex_lock(&g_robust);
    return unused;
}

static void *uses_storage(void *arg)
{
    t_value += *(int *)arg;
    pthread_setspecific(g_key, arg);
    *(int *)arg = t_value;
    return NULL;
}

static void cleanup(void *text)
{
    printf("cleanup %s\n", (char *)text);
}

static void *cancelled(void *unused)
{
    pthread_cleanup_push(cleanup, "ran");
    sem_post(&g_pushed);
    for (;;)
        sleep(100);
    pthread_cleanup_pop(0);
    return unused;
}

static void *big_frame(void *unused)
{
    volatile char big[6 << 20];
    for (size_t i = 0; i < sizeof(big); i += 4096)
        big[i] = (char)i;
    pthread_attr_t attributes;
    void *start;
    size_t size, guard;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &start, &size);
    pthread_attr_getguardsize(&attributes, &guard);
    printf("stack %zu guard %zu inside %d\n", size, guard,
           (char *)big > (char *)start && (char *)big < (char *)start + size);
    pthread_attr_destroy(&attributes);
    return unused;
}

static void *last_one(void *unused)
{
    usleep(20000);
    puts("the last thread ends the process");
    return unused;
}

int main(void)
{
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&g_robust, &kind);
    pthread_t t;
    pthread_create(&t, NULL, dies_with_lock, NULL);
    pthread_join(t, NULL);
    int r = pthread_mutex_lock(&g_robust);
    printf("owner died: %s\n", strerror(r));
    pthread_mutex_consistent(&g_robust);
    pthread_mutex_unlock(&g_robust);
    printf("usable: %d\n", pthread_mutex_lock(&g_robust));

    pthread_key_create(&g_key, destroy);
    int value = 1;
    pthread_create(&t, NULL, uses_storage, &value);
    pthread_join(t, NULL);
    printf("%d %d %d\n", value, t_value, g_destroyed);

    sem_init(&g_pushed, 0, 0);
    pthread_create(&t, NULL, cancelled, NULL);
    sem_wait(&g_pushed);
    pthread_cancel(t);
    void *result;
    pthread_join(t, &result);
    printf("cancelled %d\n", result == PTHREAD_CANCELED);

    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 8 << 20);
    pthread_create(&t, &attributes, big_frame, NULL);
    pthread_join(t, NULL);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_create(&t, &attributes, last_one, NULL);
    fflush(stdout);
    pthread_exit(NULL);
}
