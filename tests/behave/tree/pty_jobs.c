/* Job control on a pseudo terminal: foreground and background, signals by keys, losing the terminal. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int g_report[2]; /* what a session has to say: in the order in which it says it */

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, format);
    vdprintf(g_report[1], format, args);
    __builtin_va_end(args);
}

static void result(const char *name, long r)
{
    say("%s %ld %s\n", name, r > 0 ? 1 : r, r < 0 ? strerrorname_np(errno) : "");
}

static void status_of(const char *name, pid_t pid)
{
    int status;
    if (waitpid(pid, &status, WUNTRACED) != pid)
        say("%s: no child\n", name);
    else if (WIFSTOPPED(status))
        say("%s stopped by %s\n", name, sigabbrev_np(WSTOPSIG(status)));
    else if (WIFSIGNALED(status))
        say("%s killed by %s\n", name, sigabbrev_np(WTERMSIG(status)));
    else
        say("%s exit %d\n", name, WEXITSTATUS(status));
}

/* A job: a process in a group of its own. go: it starts when that is closed. */
static pid_t job(bool foreground, void (*fn)(void))
{
    int go[2];
    char c;
    if (pipe(go) < 0)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        if (read(go[0], &c, 1) != 0)
            abort();
        close(go[0]);
        fn();
        _exit(0);
    }
    close(go[0]);
    setpgid(pid, pid);
    if (foreground)
        tcsetpgrp(0, pid);
    close(go[1]);
    return pid;
}

static void reads(void)
{
    char c;
    result("read", read(0, &c, 1));
}

static void reads_ignoring(void)
{
    signal(SIGTTIN, SIG_IGN);
    reads();
}

static void reads_blocking(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTTIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    reads();
}

static void writes(void)
{
    result("write", write(1, "x", 1));
}

static void writes_ignoring(void)
{
    signal(SIGTTOU, SIG_IGN);
    writes();
}

static void sets(void)
{
    struct termios t;
    result("tcgetattr", tcgetattr(0, &t));
    result("tcsetattr", tcsetattr(0, TCSANOW, &t));
}

static void takes_over(void)
{
    signal(SIGTTOU, SIG_IGN);
    result("tcsetpgrp", tcsetpgrp(0, getpgrp()));
    result("is mine", tcgetpgrp(0) == getpgrp());
}

static void ready_and_waits(void)
{
    say("job is there\n");
    for (;;)
        pause();
}

static volatile sig_atomic_t g_came;
static void came(int number)
{
    g_came = number;
}

static void catches(void)
{
    struct sigaction a = { .sa_handler = came };
    struct pollfd p = { 0, POLLIN, 0 };
    sigset_t set, old;
    sigaction(SIGINT, &a, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, &old);
    say("job waits\n");
    int n = ppoll(&p, 1, NULL, &old);
    say("interrupted %d %s came %s\n", n, n < 0 ? strerrorname_np(errno) : "",
        sigabbrev_np(g_came));
}

static void run(const char *name, bool foreground, void (*fn)(void))
{
    say("-- %s\n", name);
    pid_t pid = job(foreground, fn);
    status_of(name, pid);
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) == pid)
        ;
    signal(SIGTTOU, SIG_IGN);
    tcsetpgrp(0, getpgrp());
    signal(SIGTTOU, SIG_DFL);
}

static void shell(void)
{
    struct termios t;
    close(g_report[0]);
    say("leader %d %d %d\n", getsid(0) == getpid(), tcgetpgrp(0) == getpid(),
        tcgetsid(0) == getpid());
    run("reads", false, reads);
    run("reads, ignoring", false, reads_ignoring);
    run("reads, blocking", false, reads_blocking);
    run("writes", false, writes);
    run("sets", false, sets);
    run("takes over", false, takes_over);
    tcgetattr(0, &t);
    t.c_lflag |= TOSTOP;
    tcsetattr(0, TCSANOW, &t);
    run("writes, TOSTOP", false, writes);
    run("writes, TOSTOP, ignoring", false, writes_ignoring);
    t.c_lflag &= ~(tcflag_t)TOSTOP;
    tcsetattr(0, TCSANOW, &t);
    run("keys ^C", true, ready_and_waits);
    run("keys ^\\", true, ready_and_waits);
    run("keys ^Z", true, ready_and_waits);
    run("keys ^C", true, catches);
    /* None of these keys meant the leader. */
    result("no such group", tcsetpgrp(0, 30000));
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        result("another session: tcgetpgrp", tcgetpgrp(0));
        result("another session: /dev/tty", open("/dev/tty", O_RDWR));
        result("another session: TIOCSCTTY", ioctl(0, TIOCSCTTY, 0));
        result("another session: write", write(1, "y", 1));
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    int tty = open("/dev/tty", O_RDWR);
    result("/dev/tty", write(tty, "z", 1));
    say("is mine %d name %s\n", tcgetpgrp(tty) == getpid(), ttyname(tty));
    say("-- gives it up\n");
    signal(SIGHUP, came);
    g_came = 0;
    result("TIOCNOTTY", ioctl(tty, TIOCNOTTY));
    say("came %s\n", g_came ? sigabbrev_np(g_came) : "nothing");
    result("tcgetpgrp", tcgetpgrp(0));
    result("/dev/tty", open("/dev/tty", O_RDWR));
    result("TIOCSCTTY", ioctl(0, TIOCSCTTY, 0));
    result("TIOCSCTTY again", ioctl(0, TIOCSCTTY, 0));
    say("is mine %d\n", tcgetpgrp(0) == getpid());
    signal(SIGHUP, SIG_DFL);
    say("-- ends\n");
    job(true, ready_and_waits);
    pause(); /* until the main program says so */
    _exit(4);
}

/* Prints what comes until that line. */
static void until(const char *last)
{
    static char buf[4096];
    static size_t size;
    for (;;) {
        char *end = memchr(buf, '\n', size);
        if (!end) {
            ssize_t n = read(g_report[0], buf + size, sizeof(buf) - size);
            if (n <= 0) {
                printf("end\n");
                return;
            }
            size += (size_t)n;
            continue;
        }
        *end = '\0';
        bool found = strcmp(buf, last) == 0;
        printf("%s\n", buf);
        size_t used = (size_t)(end - buf) + 1;
        memmove(buf, end + 1, size - used);
        size -= used;
        if (found)
            return;
    }
}

static void type(int master, char c)
{
    if (write(master, &c, 1) != 1)
        abort();
}

int main(void)
{
    int master, status;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (pipe(g_report) < 0)
        abort();
    pid_t pid = forkpty(&master, NULL, NULL, NULL);
    if (pid == 0)
        shell();
    close(g_report[1]);
    until("job is there");
    type(master, 003);
    until("job is there");
    type(master, 034);
    until("job is there");
    type(master, 032);
    until("job waits");
    type(master, 003);
    until("job is there");
    /* The leader ends: the foreground gets SIGHUP, and dies of it. */
    kill(pid, SIGUSR1);
    until("");
    if (waitpid(pid, &status, 0) != pid)
        abort();
    printf("leader killed by %s\n",
           WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : "nothing");
    pid_t session = 0;
    printf("session of nobody %d\n", ioctl(master, TIOCGSID, &session));
    close(master);
    return 0;
}
