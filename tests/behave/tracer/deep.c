/*
 * A current folder deeper than PATH_MAX cannot be named: the trace says that it is not whole, and
 * the program does not notice.
 *
 * complete: no
 * expect: created shallow
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    char name[256];
    int made = 0;
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    close(open("shallow", O_WRONLY | O_CREAT, 0644));
    for (int i = 0; i < 20; i++)
        made += mkdir(name, 0755) == 0 && chdir(name) == 0;
    int fd = open("deep", O_WRONLY | O_CREAT, 0644);
    printf("%d %d\n", made, fd >= 0);
    return 0;
}
