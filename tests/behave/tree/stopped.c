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

#include "children.h"

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
        printf(", %s %d %d\n", code_name(info.si_code), info.si_status,
               waitpid(pid, NULL, 0) == pid);
    }
    return (int)came;
}
