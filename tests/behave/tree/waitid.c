/* waitid and wait4 as the kernel gives them: every field, EINTR and SA_RESTART, SA_NOCLDWAIT. */
#include <errno.h>
#include <signal.h>
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
    look("no child", 1, WEXITED);
    pid_t pid = child();
    look("running", pid, WEXITED | WNOHANG);
    look("not stopped", pid, WSTOPPED | WCONTINUED | WNOHANG);
    kill(pid, SIGTERM);
    look("left there", pid, WEXITED | WNOWAIT);
    look("still there", pid, WEXITED | WNOWAIT | WNOHANG);
    int status;
    struct rusage usage;
    memset(&usage, 0x55, sizeof(usage));
    printf("wait4: %d, ", wait4(pid, &status, 0, &usage) == pid);
    printf("%d %d, usage %d\n", WIFSIGNALED(status), WTERMSIG(status), usage.ru_utime.tv_sec < 100);
    look("gone", pid, WEXITED);
    printf("invalid: %d\n", waitid(P_ALL, 0, NULL, 0) == -1 && errno == EINVAL);

    /* Without a place for the answer. */
    pid = fork();
    if (pid == 0)
        _exit(0x1ff);
    printf("no info: %d", waitid(P_PID, (id_t)pid, NULL, WEXITED | WNOWAIT));
    printf(", then %d", waitpid(pid, NULL, 0) == pid);
    printf(", then %d\n", waitpid(pid, NULL, 0) == -1 && errno == ECHILD);

    /* A handler without SA_RESTART ends the wait; with it the wait goes on. */
    struct sigaction action = { .sa_sigaction = note, .sa_flags = SA_SIGINFO };
    sigaction(SIGALRM, &action, NULL);
    pid = child();
    /* Again and again: one may come before the wait. */
    struct itimerval soon = { .it_value.tv_usec = 10000, .it_interval.tv_usec = 10000 },
                     never = { 0 };
    setitimer(ITIMER_REAL, &soon, NULL);
    int interrupted = waitpid(pid, &status, 0) == -1 && errno == EINTR;
    setitimer(ITIMER_REAL, &never, NULL);
    printf("interrupted: %d, came %d\n", interrupted, came > 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    action.sa_flags |= SA_RESTART;
    sigaction(SIGALRM, &action, NULL);
    int gate[2];
    if (pipe(gate) < 0)
        return 1;
    pid = fork();
    if (pid == 0) {
        close(gate[1]);
        char c;
        _exit(read(gate[0], &c, 1) == 0 ? 3 : 4);
    }
    close(gate[0]);
    /* Closed by a second child some time after the alarm. */
    pid_t closer = fork();
    if (closer == 0) {
        usleep(50000);
        _exit(0);
    }
    close(gate[1]);
    came = 0;
    setitimer(ITIMER_REAL, &soon, NULL);
    int restarted = waitpid(pid, &status, 0) == pid;
    setitimer(ITIMER_REAL, &never, NULL);
    printf("restarted: %d %d, came %d", restarted, WEXITSTATUS(status), came > 0);
    printf(" %d\n", waitpid(closer, NULL, 0) == closer);

    /* SA_NOCLDWAIT leaves no zombie but tells. */
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGCHLD);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    action.sa_flags = SA_SIGINFO | SA_NOCLDWAIT;
    sigaction(SIGCHLD, &action, NULL);
    pid = fork();
    if (pid == 0)
        _exit(1);
    siginfo_t info;
    sigwaitinfo(&blocked, &info);
    printf("told %d, no zombie: %d\n", info.si_pid == pid,
           waitpid(pid, NULL, 0) == -1 && errno == ECHILD);
    return 0;
}
