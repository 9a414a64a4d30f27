/* Children to wait for, and what waitid and SIGCHLD say of them. */
#pragma once

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A handler: how often it ran, and what for. */
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
        printf("%s: pid %d, signo %d, errno %d, uid %d, %s %d\n", what, info.si_pid == pid,
               info.si_signo == SIGCHLD, info.si_errno, info.si_uid == getuid(),
               code_name(info.si_code), info.si_status);
}

static pid_t child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    return pid;
}
