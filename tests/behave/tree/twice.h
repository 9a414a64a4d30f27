/* The same in the first process of a tree, and in a child, whose terminals are another process's to the library OS. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int twice(void (*all)(void))
{
    int status;
    setvbuf(stdout, NULL, _IOLBF, 0);
    all();
    pid_t pid = fork();
    if (pid == 0) {
        all();
        exit(0);
    }
    return waitpid(pid, &status, 0) == pid ? status : 1;
}
