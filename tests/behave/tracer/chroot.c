/*
 * After chroot, names are recorded as they are outside. Without rights there is nothing to see.
 *
 * needs: root
 * expect: read jail/inside
 * expect: absent jail/outside
 * expect: link jail/to-root
 * expect: stat jail
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    struct stat st;
    mkdir("jail", 0755);
    close(open("jail/inside", O_WRONLY | O_CREAT, 0644));
    close(open("outside", O_WRONLY | O_CREAT, 0644));
    symlink("/inside", "jail/to-root");
    int r = chroot("jail");
    int moved = chdir("/");
    int a = open("/to-root", O_RDONLY);
    int b = open("../outside", O_RDONLY);
    int c = stat("/../..", &st);
    printf("%d %d %d %d %d\n", r, moved, a >= 0, b >= 0, c);
    return 0;
}
