/* behave: cc -lm */
/* Chains and trees of forks; each with memory, stack, registers and thread-local storage of its own. */
#include <errno.h>
#include <fenv.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static __thread int local = 5;
static int global = 7;

static int ended(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int chain(int depth)
{
    volatile char stack[3000];
    memset((char *)stack, depth, sizeof(stack));
    if (depth == 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        global += depth;
        _exit(chain(depth - 1) + 1);
    }
    int code = ended(pid);
    for (size_t i = 0; i < sizeof(stack); i++)
        if (stack[i] != depth)
            return 200;
    return code;
}

/* Every process forks two: 15 in all. */
static int tree(int depth)
{
    if (depth == 0)
        return 1;
    pid_t a = fork();
    if (a == 0)
        _exit(tree(depth - 1));
    pid_t b = fork();
    if (b == 0)
        _exit(tree(depth - 1));
    return 1 + ended(a) + ended(b);
}

static int handled;
static char *alternate_at, here_byte;
static void handler(int number)
{
    char here;
    handled = number;
    here_byte = &here >= alternate_at && &here < alternate_at + SIGSTKSZ;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("chain %d\n", chain(10));
    printf("tree %d\n", tree(3));
    printf("global %d\n", global);

    local = 6;
    fesetround(FE_UPWARD);
    register double x asm("xmm8") = 1.5;
    asm volatile("" : "+x"(x));
    alternate_at = malloc(SIGSTKSZ);
    sigaltstack(&(stack_t){ .ss_sp = alternate_at, .ss_size = SIGSTKSZ }, NULL);
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
    sigaction(SIGUSR1, &action, NULL);
    char *memory = malloc(5 << 20);
    memset(memory, 'm', 5 << 20);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        asm volatile("" : "+x"(x));
        raise(SIGUSR1);
        printf(
            "child: local %d, rounding %d, register %d, memory %d, handler %d, on its stack %d\n",
            local, fegetround() == FE_UPWARD, x == 1.5, memory[(5 << 20) - 1] == 'm',
            handled == SIGUSR1, here_byte);
        local = 8;
        memset(memory, 'c', 5 << 20);
        fflush(stdout);
        _exit(0);
    }
    printf("ended %d; local %d, memory %d, handled %d\n", ended(pid), local, memory[0] == 'm',
           handled);

    /* clone as fork and vfork are made of it; with a stack of its own; the child's tid in its memory. */
    static pid_t tid;
    pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        _exit(11);
    printf("clone %d\n", ended(pid));
    pid = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_CHILD_SETTID, NULL, NULL, &tid, NULL);
    if (pid == 0)
        _exit(tid == getpid() ? 12 : 0);
    printf("clone with tid %d, here %d\n", ended(pid), tid);
    pid_t parent_tid = 0;
    pid = (pid_t)syscall(SYS_clone, SIGCHLD | CLONE_PARENT_SETTID, NULL, &parent_tid, NULL, NULL);
    if (pid == 0)
        _exit(13);
    printf("clone for the parent %d %d\n", parent_tid == pid, ended(pid));
    printf("none left: %d\n", waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    return 0;
}
