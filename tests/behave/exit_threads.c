/* behave: options --threads 4
 * exit_group while other threads are busy or asleep ends them all. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile int g_spin = 1;

static void *spin(void *unused)
{
    while (g_spin)
        ;
    return unused;
}

static void *sleep_long(void *unused)
{
    sleep(1000);
    return unused;
}

int main(void)
{
    pthread_t a, b;
    if (pthread_create(&a, NULL, spin, NULL) || pthread_create(&b, NULL, sleep_long, NULL))
        return 1;
    usleep(20000);
    puts("leaving");
    exit(5);
}
