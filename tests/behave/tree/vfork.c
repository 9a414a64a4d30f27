/* vfork: the parent waits; the child shares memory, and its descriptors, cwd and dispositions are its own. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int shared;
extern char **environ;

static int ended(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void in_child(void)
{
    shared = 42;
    if (chdir("/usr") < 0)
        _exit(1);
    close(0);
    dup2(1, 77);
    signal(SIGUSR1, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    umask(077);
    _exit(6);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    char cwd[200], again[200];
    if (!getcwd(cwd, sizeof(cwd)))
        return 1;
    mode_t mask = umask(022);
    umask(mask);
    pid_t pid = vfork();
    if (pid == 0)
        in_child();
    sigset_t now;
    sigprocmask(SIG_BLOCK, NULL, &now);
    mode_t mask_after = umask(mask);
    printf("shared %d, ended %d, ", shared, ended(pid));
    printf("cwd %d, stdin %d, fd 77 %d, ", getcwd(again, sizeof(again)) && strcmp(cwd, again) == 0,
           fcntl(0, F_GETFD) >= 0, fcntl(77, F_GETFD));
    printf("handler %d, mask %d, umask %d\n", signal(SIGUSR1, SIG_DFL) == SIG_DFL,
           sigismember(&now, SIGUSR1), mask_after == mask);

    static pid_t self, parent;
    pid = vfork();
    if (pid == 0) {
        self = getpid();
        parent = getppid();
        _exit(0);
    }
    printf("pids %d %d, ended %d\n", self == pid, parent == getpid(), ended(pid));

    static int failed;
    pid = vfork();
    if (pid == 0) {
        execl("/nonexistent/program", "x", (char *)NULL);
        failed = errno;
        _exit(127);
    }
    printf("exec failed: %s, ended %d\n", strerror(failed), ended(pid));

    fflush(stdout);
    pid = vfork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "echo from the program; exit 3", (char *)NULL);
        _exit(127);
    }
    printf("ended %d\n", ended(pid));

    /* A signal for the parent while it waits comes after. */
    pid = vfork();
    if (pid == 0) {
        kill(getppid(), SIGCONT);
        raise(SIGKILL);
    }
    printf("killed %d\n", ended(pid));

    /* One after the other, with a program each; posix_spawn, system and popen are made of it. */
    int sum = 0;
    for (int i = 0; i < 20; i++) {
        pid = vfork();
        if (pid == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        sum += ended(pid);
    }
    char *argv[] = { "sh", "-c", "exit 9", NULL };
    posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ);
    printf("sum %d, posix_spawn %d, system %d\n", sum, ended(pid), WEXITSTATUS(system("exit 4")));
    FILE *p = popen("echo piped", "r");
    char line[100] = "";
    if (!p || !fgets(line, sizeof(line), p))
        return 1;
    printf("popen %s", line);
    printf("pclose %d\n", pclose(p));
    printf("none left: %d\n", waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    return 0;
}
