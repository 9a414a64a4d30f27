/* Masks during handlers, SA_NODEFER, SA_RESETHAND, SA_RESTART, nested handlers, siginfo of tgkill. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int g_depth, g_deepest, g_calls;

static void nested(int number)
{
    g_calls++;
    if (++g_depth > g_deepest)
        g_deepest = g_depth;
    if (g_calls < 3)
        raise(number);
    sigset_t now;
    sigprocmask(SIG_SETMASK, NULL, &now);
    if (g_calls == 1 && sigismember(&now, number) != 1)
        _exit(7);
    g_depth--;
}

static void report(int number, siginfo_t *info, void *context)
{
    (void)context;
    char text[64];
    int n = snprintf(text, sizeof(text), "got %d code %d own %d\n", number, info->si_code,
                     info->si_pid == getpid());
    if (write(1, text, (size_t)n) < 0)
        _exit(9);
}

static void set(int number, void (*fn)(int), int flags)
{
    struct sigaction action = { .sa_handler = fn, .sa_flags = flags };
    sigaction(number, &action, NULL);
}

static void count(int number)
{
    (void)number;
    g_calls++;
}

static volatile sig_atomic_t g_returned;
struct target {
    pthread_t thread;
    int fd, restart;
};

/* Signals until the read has returned, for one alone may come before it; or several, which do not end it. */
static void *poke(void *arg)
{
    const struct target *target = arg;
    while (target->restart ? g_calls < 20 : !g_returned) {
        pthread_kill(target->thread, SIGUSR1);
        usleep(3000);
    }
    if (write(target->fd, "x", 1) < 0)
        _exit(9);
    return NULL;
}

int main(void)
{
    set(SIGUSR1, nested, 0);
    raise(SIGUSR1);
    printf("masked: calls %d deepest %d\n", g_calls, g_deepest);
    g_calls = g_deepest = 0;
    set(SIGUSR1, nested, SA_NODEFER);
    raise(SIGUSR1);
    printf("nodefer: calls %d deepest %d\n", g_calls, g_deepest);

    g_calls = 0;
    set(SIGUSR2, count, (int)SA_RESETHAND);
    raise(SIGUSR2);
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    printf("reset: %d %d\n", g_calls, now.sa_handler == SIG_DFL);
    fflush(stdout);

    struct sigaction action = { .sa_sigaction = report, .sa_flags = SA_SIGINFO };
    sigaction(SIGUSR2, &action, NULL);
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2);
    kill(getpid(), SIGUSR2);
    union sigval value = { .sival_int = 42 };
    sigqueue(getpid(), SIGUSR2, value);
    sigaction(SIGRTMIN + 2, &action, NULL);
    raise(SIGRTMIN + 2);

    struct target target = { .thread = pthread_self() };
    int pipes[2];
    if (pipe(pipes) < 0)
        return 8;
    target.fd = pipes[1];
    for (int restart = 0; restart < 2; restart++) {
        set(SIGUSR1, count, restart ? SA_RESTART : 0);
        pthread_t helper;
        g_calls = g_returned = 0;
        target.restart = restart;
        pthread_create(&helper, NULL, poke, &target);
        char byte;
        ssize_t n = read(pipes[0], &byte, 1);
        int error = errno;
        g_returned = 1;
        pthread_join(helper, NULL);
        printf("restart %d: read %zd %s, called %d\n", restart, n, n < 0 ? strerror(error) : "-",
               g_calls > 0);
        if (n < 0)
            n = read(pipes[0], &byte, 1);
    }
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    g_calls = 0;
    raise(SIGUSR1);
    sigset_t empty;
    sigemptyset(&empty);
    int r = sigsuspend(&empty);
    printf("sigsuspend: %d %d calls %d\n", r, errno == EINTR, g_calls);
    return 0;
}
