/* Children that are stopped and go on: waitid, waitpid, SIGCHLD with and without SA_NOCLDSTOP. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t came;
static siginfo_t last;
static void note(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    last = *info;
    came++;
}

static const char *code_name(int code)
{
    switch (code) {
    case CLD_EXITED: return "exited";
    case CLD_KILLED: return "killed";
    case CLD_DUMPED: return "dumped";
    case CLD_STOPPED: return "stopped";
    case CLD_CONTINUED: return "continued";
    }
    return "?";
}

static void look(const char *what, pid_t pid, int options)
{
    siginfo_t info;
    memset(&info, 0x55, sizeof(info));
    int got = waitid(P_PID, (id_t)pid, &info, options);
    if (got < 0)
        printf("%s: %s\n", what, strerror(errno));
    else if (info.si_pid == 0)
        printf("%s: nothing, signo %d\n", what, info.si_signo);
    else
        printf("%s: pid %d, signo %d, errno %d, uid %d, %s %d\n", what, info.si_pid == pid, info.si_signo == SIGCHLD,
               info.si_errno, info.si_uid == getuid(), code_name(info.si_code), info.si_status);
}

static pid_t child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    pid_t pid = child();
    kill(pid, SIGSTOP);
    look("stop", pid, WSTOPPED);
    look("told once", pid, WSTOPPED | WNOHANG);
    kill(pid, SIGCONT);
    look("continue", pid, WCONTINUED);
    kill(pid, SIGTERM);
    look("end", pid, WEXITED);

    /* SIGCHLD tells of it, unless SA_NOCLDSTOP. */
    int status;
    struct sigaction action = { .sa_sigaction = note };
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    for (int flags = 0; flags < 2; flags++) {
        action.sa_flags = SA_SIGINFO | (flags ? SA_NOCLDSTOP : 0);
        sigaction(SIGCHLD, &action, NULL);
        pid = child();
        kill(pid, SIGSTOP);
        waitpid(pid, &status, WUNTRACED);
        printf("stopped %d %d", WIFSTOPPED(status), WSTOPSIG(status) == SIGSTOP);
        /* A stopped child can be waited for a moment before the signal is there. */
        siginfo_t info = { 0 };
        struct timespec limit = { .tv_sec = flags ? 0 : 60 };
        bool told = sigtimedwait(&blocked, &info, &limit) == SIGCHLD;
        printf(", told %d", told);
        if (told)
            printf(" %s %d", code_name(info.si_code), info.si_status);
        kill(pid, SIGKILL);
        sigwaitinfo(&blocked, &info);
        printf(", %s %d %d\n", code_name(info.si_code), info.si_status, waitpid(pid, NULL, 0) == pid);
    }
    return (int)came;
}
