/* A vfork child is killed by its grandparent, which is another process than the one that lends it its memory. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int ends[2];
    if (pipe(ends) < 0)
        return 1;
    for (int i = 0; i < 2; i++) {
        pid_t parent = fork();
        if (parent == 0) {
            pid_t child = vfork();
            if (child == 0) {
                pid_t self = getpid();
                (void)!write(ends[1], &self, sizeof(self));
                for (;;)
                    pause();
            }
            int status;
            _exit(waitpid(child, &status, 0) == child && WIFSIGNALED(status) ? WTERMSIG(status)
                                                                             : 99);
        }
        pid_t child;
        if (read(ends[0], &child, sizeof(child)) != sizeof(child))
            return 2;
        int status, sent = kill(child, i ? SIGKILL : SIGTERM);
        waitpid(parent, &status, 0);
        printf("%d %d\n", sent, WEXITSTATUS(status));
    }
    return 0;
}
