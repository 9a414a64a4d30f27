/* behave: cc -lrt */
/* POSIX semaphores between processes: sem_open by name, sem_init in shared memory; mutex and condition. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILDREN 4
#define ROUNDS   500

static int wait_all(void)
{
    int status, bad = 0;
    while (wait(&status) > 0)
        bad += status != 0;
    return bad;
}

struct shared {
    sem_t turn, done;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    volatile uint64_t counter, mutexed;
    volatile int waiting, go;
};

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    char name[64];
    snprintf(name, sizeof(name), "/sgxpy-test-%d", (int)getpid());
    sem_t *named = sem_open(name, O_CREAT | O_EXCL, 0600, 1);
    if (named == SEM_FAILED) {
        perror("sem_open");
        return 1;
    }
    printf("twice: %d", sem_open(name, O_CREAT | O_EXCL, 0600, 1) == SEM_FAILED && errno == EEXIST);
    printf(", absent: %d\n", sem_open("/sgxpy-absent", 0) == SEM_FAILED && errno == ENOENT);
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    for (int i = 0; i < CHILDREN; i++) {
        if (fork() == 0) {
            sem_t *own = i % 2 ? named : sem_open(name, 0); /* both ways to it */
            for (int n = 0; n < ROUNDS; n++) {
                sem_wait(own);
                shared->counter++;
                sem_post(own);
            }
            _exit(0);
        }
    }
    int value, bad = wait_all();
    sem_getvalue(named, &value);
    printf("named: %d, counter %d, value %d\n", bad, shared->counter == CHILDREN * ROUNDS, value);
    printf("trywait %d", sem_trywait(named));
    printf(" %d", sem_trywait(named) == -1 && errno == EAGAIN);
    struct timespec when;
    clock_gettime(CLOCK_REALTIME, &when);
    when.tv_nsec += 10000000;
    if (when.tv_nsec >= 1000000000) {
        when.tv_nsec -= 1000000000;
        when.tv_sec++;
    }
    printf(" timed %d\n", sem_timedwait(named, &when) == -1 && errno == ETIMEDOUT);
    printf("unlink %d", sem_unlink(name));
    printf(" %d", sem_open(name, 0) == SEM_FAILED && errno == ENOENT);
    printf(" close %d\n", sem_close(named));

    /* In shared anonymous memory: a ring of processes that take turns. */
    sem_init(&shared->turn, 1, 0);
    sem_init(&shared->done, 1, 0);
    for (int i = 0; i < CHILDREN; i++) {
        if (fork() == 0) {
            for (int n = 0; n < 100; n++) {
                sem_wait(&shared->turn);
                sem_post(&shared->done);
            }
            _exit(0);
        }
    }
    for (int n = 0; n < CHILDREN * 100; n++) {
        sem_post(&shared->turn);
        sem_wait(&shared->done);
    }
    printf("turns: %d\n", wait_all());

    pthread_mutexattr_t mutex_shared;
    pthread_mutexattr_init(&mutex_shared);
    pthread_mutexattr_setpshared(&mutex_shared, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&mutex_shared, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->mutex, &mutex_shared);
    pthread_condattr_t condition_shared;
    pthread_condattr_init(&condition_shared);
    pthread_condattr_setpshared(&condition_shared, PTHREAD_PROCESS_SHARED);
    pthread_cond_init(&shared->condition, &condition_shared);
    for (int i = 0; i < CHILDREN; i++) {
        if (fork() == 0) {
            pthread_mutex_lock(&shared->mutex);
            shared->waiting++;
            while (!shared->go)
                pthread_cond_wait(&shared->condition, &shared->mutex);
            pthread_mutex_unlock(&shared->mutex);
            for (int n = 0; n < ROUNDS; n++) {
                pthread_mutex_lock(&shared->mutex);
                shared->mutexed++;
                pthread_mutex_unlock(&shared->mutex);
            }
            _exit(0);
        }
    }
    for (int all = 0; !all; usleep(1000)) {
        pthread_mutex_lock(&shared->mutex);
        all = shared->waiting == CHILDREN;
        if (all) {
            shared->go = 1;
            pthread_cond_broadcast(&shared->condition);
        }
        pthread_mutex_unlock(&shared->mutex);
    }
    bad = wait_all();
    printf("mutex: %d %d\n", bad, shared->mutexed == CHILDREN * ROUNDS);

    /* One that dies with the mutex. */
    pid_t pid = fork();
    if (pid == 0) {
        pthread_mutex_lock(&shared->mutex);
        kill(getpid(), SIGKILL);
    }
    waitpid(pid, NULL, 0);
    int got = pthread_mutex_lock(&shared->mutex);
    printf("owner died: %d", got == EOWNERDEAD);
    pthread_mutex_consistent(&shared->mutex);
    pthread_mutex_unlock(&shared->mutex);
    printf(" %d\n", pthread_mutex_lock(&shared->mutex));
    return 0;
}
