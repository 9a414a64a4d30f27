/*
 * Names are bytes: no UTF-8, a newline, a backslash, what /proc says of deleted files.
 *
 * expect: read created bad\xff\xfe
 * expect: read created new\x0aline
 * expect: read created back\x5cslash
 * expect: read created mapped-exec odd\x0a (deleted)
 * expect: absent \xc3(
 * expect: listed dir\xe9
 * name: dir\xe9 in\xe9
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    static const char *const names[] = { "bad\xff\xfe", "new\nline", "back\\slash",
                                         "odd\n (deleted)" };
    int good = 0;
    for (unsigned i = 0; i < 4; i++) {
        int fd = open(names[i], O_RDWR | O_CREAT, 0644);
        if (ftruncate(fd, 4096) < 0)
            return 1;
        if (i == 3)
            good += mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED;
        close(fd);
        fd = open(names[i], O_RDONLY);
        good += fd >= 0;
    }
    mkdir("dir\xe9", 0755);
    close(open("dir\xe9/in\xe9", O_WRONLY | O_CREAT, 0644));
    DIR *d = opendir("dir\xe9");
    while (readdir(d))
        good++;
    printf("%d %d\n", good, access("\xc3\x28", F_OK));
    return 0;
}
