/* Shared anonymous memory, shm_open and a file in /tmp between processes; futexes in them; private ones stay private. */
/* behave: cc -lrt */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE (1 << 20)

static long futex(_Atomic uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
    return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static int ended(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void reach(_Atomic uint32_t *word, uint32_t value)
{
    uint32_t seen;
    while ((seen = atomic_load(word)) < value)
        futex(word, FUTEX_WAIT, seen, NULL);
}

static void set(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store(word, value);
    futex(word, FUTEX_WAKE, INT32_MAX, NULL);
}

/* A ball over the net 200 times, and a megabyte both ways. */
static void play(const char *what, unsigned char *memory)
{
    _Atomic uint32_t *word = (_Atomic uint32_t *)memory;
    atomic_store(word, 0);
    memset(memory + 4096, 'p', SIZE - 4096);
    pid_t pid = fork();
    if (pid == 0) {
        int bad = memory[SIZE - 1] != 'p';
        for (uint32_t n = 0; n < 200; n += 2) {
            reach(word, n + 1);
            set(word, n + 2);
        }
        memset(memory + 4096, 'c', SIZE - 4096);
        set(word, 1000);
        _exit(bad);
    }
    for (uint32_t n = 0; n < 200; n += 2) {
        set(word, n + 1);
        reach(word, n + 2);
    }
    reach(word, 1000);
    int same = memory[4096] == 'c' && memory[SIZE - 1] == 'c';
    printf("%s: %d %d\n", what, same, ended(pid));
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    unsigned char *memory =
        mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    play("anonymous", memory);
    _Atomic uint32_t *word = (_Atomic uint32_t *)memory;
    printf("not equal: %d", futex(word, FUTEX_WAIT, 1, NULL) == -1 && errno == EAGAIN);
    struct timespec soon = { .tv_nsec = 5000000 };
    printf(", in time: %d", futex(word, FUTEX_WAIT, 1000, &soon) == -1 && errno == ETIMEDOUT);
    printf(", nobody: %ld\n", futex(word, FUTEX_WAKE, 10, NULL));

    /* Three wait; two are woken, then one. */
    for (int i = 0; i < 3; i++) {
        if (fork() == 0) {
            atomic_fetch_add(word + 1, 1);
            while (futex(word + 2, FUTEX_WAIT, 0, NULL) != 0)
                ;
            _exit(0);
        }
    }
    long woken = 0;
    while (woken < 2)
        woken += futex(word + 2, FUTEX_WAKE, 2 - (uint32_t)woken, NULL);
    printf("woken: %ld, ended:", woken);
    for (int i = 0; i < 2; i++)
        printf(" %d", wait(NULL) > 0);
    while (futex(word + 2, FUTEX_WAKE, 1, NULL) == 0)
        ;
    printf(" %d\n", wait(NULL) > 0);

    /* A grandchild sees it too; what was private before the fork is not shared. */
    unsigned char *own =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory[0] = own[0] = 1;
    pid_t pid = fork();
    if (pid == 0) {
        pid = fork();
        if (pid == 0) {
            memory[0]++;
            own[0]++;
            _exit(memory[0] * 10 + own[0]);
        }
        _exit(ended(pid));
    }
    int code = ended(pid);
    printf("grandchild: %d, memory %d, own %d\n", code, memory[0], own[0]);

    char name[64];
    snprintf(name, sizeof(name), "/sgxpy-shm-%d", (int)getpid());
    int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || ftruncate(fd, SIZE) < 0)
        return 1;
    unsigned char *by_name = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    play("shm_open", by_name);
    strcpy((char *)by_name, "by name");
    pid = fork();
    if (pid == 0) {
        int again = shm_open(name, O_RDWR, 0);
        unsigned char *mine = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0);
        int same = mine != MAP_FAILED && strcmp((char *)mine, "by name") == 0;
        if (same)
            strcpy((char *)mine, "changed");
        _exit(same ? 0 : 1);
    }
    code = ended(pid);
    printf("opened anew: %d %s %d\n", code, (char *)by_name, shm_unlink(name));

    char path[] = "/tmp/sgxpy-map-XXXXXX";
    fd = mkstemp(path);
    if (fd < 0 || ftruncate(fd, SIZE) < 0)
        return 1;
    unsigned char *mapped = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        return 1;
    play("a file", mapped);
    char end[3] = "";
    code = pread(fd, end, 2, SIZE - 2) == 2;
    printf("read: %d %s %d\n", code, end, unlink(path));
    printf("unmap %d %d\n", munmap(memory, SIZE), munmap(by_name, SIZE));
    return 0;
}
