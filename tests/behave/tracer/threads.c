/*
 * Threads are followed and counted; one has a current folder of its own.
 * cc: -pthread
 *
 * threads: 4
 * expect: read of-main
 * expect: read of-0
 * expect: read of-2
 * expect: read away/own
 * refuse: any own
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_barrier_t g_all;

static void make(const char *name)
{
    close(open(name, O_WRONLY | O_CREAT, 0644));
}

static void *work(void *arg)
{
    char name[32];
    int fd = -1;
    pthread_barrier_wait(&g_all);
    snprintf(name, sizeof(name), "of-%d", (int)(intptr_t)arg);
    if ((intptr_t)arg == 1) {
        unshare(CLONE_FS);
        if (chdir("away") == 0)
            fd = open("own", O_RDONLY);
    } else {
        fd = open(name, O_RDONLY);
    }
    pthread_barrier_wait(&g_all);
    return (void *)(intptr_t)(fd >= 0);
}

int main(void)
{
    pthread_t thread[3];
    int good = 0;
    mkdir("away", 0755);
    make("away/own");
    make("of-main");
    make("of-0");
    make("of-2");
    pthread_barrier_init(&g_all, NULL, 4);
    for (int i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, work, (void *)(intptr_t)i);
    pthread_barrier_wait(&g_all);
    pthread_barrier_wait(&g_all);
    for (int i = 0; i < 3; i++) {
        void *r;
        pthread_join(thread[i], &r);
        good += r != NULL;
    }
    int main_fd = open("of-main", O_RDONLY);
    printf("%d %d\n", good, main_fd >= 0);
    return 0;
}
