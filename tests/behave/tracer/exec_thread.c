/*
 * exec by a thread that is not the leader: the new program has the leader's number.
 * cc: -pthread
 *
 * process: exec /usr/bin/env
 * processes: 3
 * complete: yes
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *idle(void *arg)
{
    pause();
    return arg;
}

static void *work(void *arg)
{
    usleep(20000);
    execl("/usr/bin/env", "env", "-i", "NAME=value", "/usr/bin/env", NULL);
    return arg;
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return 0;
    pthread_t thread[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, i == 1 ? work : idle, NULL);
    for (;;)
        pause();
}
