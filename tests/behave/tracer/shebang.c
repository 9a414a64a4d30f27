/*
 * A script, whose interpreter is a script, whose interpreter is reached by a symlink; a script
 * whose interpreter is missing; a script without a first line, which execvp gives to sh.
 *
 * expect: executed read outer
 * expect: executed read inner
 * expect: link shell-link
 * target: shell-link /bin/sh
 * chain: outer inner
 * expect: absent no-interpreter
 * expect: stat broken
 * expect: read plain
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void script(const char *name, const char *interpreter, const char *text)
{
    char here[PATH_MAX];
    FILE *f = fopen(name, "w");
    if (interpreter && getcwd(here, sizeof(here)))
        fprintf(f, "#! %s/%s\n", here, interpreter);
    fputs(text, f);
    fclose(f);
    chmod(name, 0755);
}

static int run(const char *name)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execlp(name, name, "argument", NULL);
        _exit(errno == ENOENT ? 44 : 45);
    }
    waitpid(pid, &status, 0);
    return WEXITSTATUS(status);
}

int main(void)
{
    symlink("/bin/sh", "shell-link");
    script("outer", "inner", "exit 9\n");
    script("inner", "shell-link", "exit 8\n");
    script("broken", "no-interpreter", "exit 7\n");
    script("plain", NULL, "exit 6\n");
    int outer = run("./outer");
    int broken = run("./broken");
    int plain = run("./plain");
    printf("%d %d %d\n", outer, broken, plain);
    return 0;
}
