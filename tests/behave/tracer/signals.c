/*
 * Signals, stops and continues pass through as ever; the last one ends the program.
 *
 * expect: created in-handler
 * exit: 138
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t g_users, g_traps;

static void on_user(int n)
{
    (void)n;
    g_users = g_users + 1;
    close(open("in-handler", O_WRONLY | O_CREAT, 0644));
}

static void on_trap(int n)
{
    (void)n;
    g_traps = g_traps + 1;
}

int main(void)
{
    int status, stops = 0;
    signal(SIGUSR1, on_user);
    signal(SIGTRAP, on_trap);
    raise(SIGUSR1);
    raise(SIGUSR1);
    raise(SIGTRAP);
    __asm__ volatile("int3");
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        raise(SIGTSTP);
        _exit(7);
    }
    for (;;) {
        waitpid(pid, &status, WUNTRACED);
        if (WIFSTOPPED(status)) {
            stops++;
            kill(pid, SIGCONT);
        } else {
            break;
        }
    }
    printf("%d %d %d %d\n", g_users, g_traps, stops, WEXITSTATUS(status));
    fflush(stdout);
    pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    printf("%d\n", WTERMSIG(status));
    fflush(stdout);
    signal(SIGUSR1, SIG_DFL);
    raise(SIGUSR1);
    return 0;
}
