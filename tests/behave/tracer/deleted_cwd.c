/*
 * The current folder is removed under the program: what it asks for there is absent.
 *
 * expect: created removed gone
 * expect: absent gone/inside
 * expect: read above
 * complete: yes
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    int up = open(".", O_RDONLY | O_DIRECTORY);
    close(open("above", O_WRONLY | O_CREAT, 0644));
    mkdir("gone", 0755);
    if (chdir("gone") < 0)
        return 1;
    int removed = unlinkat(up, "gone", AT_REMOVEDIR);
    int inside = open("inside", O_RDONLY) < 0 ? errno : 0;
    int made = open("made", O_WRONLY | O_CREAT, 0644) < 0 ? errno : 0;
    int above = openat(up, "above", O_RDONLY);
    printf("%d %d %d %d\n", removed, inside, made, above >= 0);
    return 0;
}
