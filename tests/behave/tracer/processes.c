/*
 * All ways to make a process; each child leaves a mark of its own. A grandchild outlives its
 * parent.
 *
 * process: fork
 * process: vfork
 * process: exec /usr/bin/true
 * process: clone
 * expect: created by-fork
 * expect: created by-clone3
 * expect: created by-clone
 * expect: created by-untraced
 * expect: created by-untraced3
 * expect: created by-grandchild
 * expect: executed /usr/bin/true
 * processes: 14
 * complete: yes
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void mark(const char *name)
{
    close(open(name, O_WRONLY | O_CREAT, 0644));
}

static int wait_for(pid_t pid)
{
    int status = -1;
    waitpid(pid, &status, __WALL);
    return status;
}

static int in_clone(void *arg)
{
    mark(arg);
    _exit(5);
}

static pid_t raw_clone3(uint64_t flags)
{
    struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

int main(void)
{
    extern char **environ;
    static char stack[65536] __attribute__((aligned(16)));
    char *argv[] = { "true", NULL };
    int status[8];

    pid_t pid = fork();
    if (pid == 0) {
        mark("by-fork");
        _exit(3);
    }
    status[0] = wait_for(pid);
    pid = vfork();
    if (pid == 0) {
        execv("/bin/true", argv);
        _exit(127);
    }
    status[1] = wait_for(pid);
    posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ);
    status[2] = wait_for(pid);
    pid = raw_clone3(0);
    if (pid == 0) {
        mark("by-clone3");
        _exit(4);
    }
    status[3] = wait_for(pid);
    pid = clone(in_clone, stack + sizeof(stack), CLONE_VM | SIGCHLD, "by-clone");
    status[4] = wait_for(pid);
    pid =
        clone(in_clone, stack + sizeof(stack), CLONE_VM | CLONE_UNTRACED | SIGCHLD, "by-untraced");
    status[5] = wait_for(pid);
    pid = raw_clone3(CLONE_UNTRACED);
    if (pid == 0) {
        mark("by-untraced3");
        _exit(6);
    }
    status[6] = wait_for(pid);
    int gate[2];
    if (pipe(gate) < 0)
        return 1;
    pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            char c;
            close(gate[1]);
            if (read(gate[0], &c, 1) == 0)
                mark("by-grandchild");
            _exit(0);
        }
        _exit(0);
    }
    status[7] = wait_for(pid);
    for (int i = 0; i < 8; i++)
        printf("%x ", (unsigned)status[i]);
    printf("\n");
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        execl("/bin/true", "true", NULL);
        _exit(127);
    }
    return wait_for(pid) != 0;
}
