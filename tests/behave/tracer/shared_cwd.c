/*
 * A child process that shares its current folder (CLONE_FS): chdir of one moves both.
 *
 * expect: read folder/file
 * refuse: any file
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int child(void *arg)
{
    (void)arg;
    return chdir("folder");
}

int main(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    struct stat st;
    int status;
    mkdir("folder", 0755);
    close(open("folder/file", O_WRONLY | O_CREAT, 0644));
    stat("folder", &st); /* the recorder knows the current folder now */
    pid_t pid = clone(child, stack + sizeof(stack), CLONE_FS | SIGCHLD, NULL);
    waitpid(pid, &status, 0);
    printf("%d\n", open("file", O_RDONLY) >= 0);
    return 0;
}
