/*
 * An open that blocks, and one that a signal interrupts: nothing is lost or doubled.
 *
 * expect: created read written opened pipe
 * expect: created after
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_alarm(int n)
{
    (void)n;
}

int main(void)
{
    struct sigaction action = { .sa_handler = on_alarm };
    char c = 0;
    sigaction(SIGALRM, &action, NULL);
    mkfifo("pipe", 0644);
    alarm(1);
    int interrupted = open("pipe", O_RDONLY) < 0 ? errno : 0;
    pid_t pid = fork();
    if (pid == 0) {
        usleep(50000);
        int out = open("pipe", O_WRONLY);
        _exit(write(out, "x", 1) != 1);
    }
    int fd = open("pipe", O_RDONLY);
    ssize_t n = read(fd, &c, 1);
    waitpid(pid, NULL, 0);
    close(open("after", O_WRONLY | O_CREAT, 0644));
    printf("%d %zd %c\n", interrupted, n, c);
    return 0;
}
