/*
 * Names relative to a descriptor, to the current folder, and through openat2.
 *
 * expect: created written d/made
 * expect: read d/made
 * expect: absent d/nothing
 * expect: created d
 * expect: read d/e/below
 * expect: stat d/e/below
 * expect: opened d/e
 * expect: opened d
 * refuse: read d
 * expect: absent d/e/gone
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    mkdir("d", 0755);
    int d = open("d", O_RDONLY | O_DIRECTORY);
    int f = openat(d, "made", O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (write(f, "text\n", 5) != 5)
        return 1;
    close(f);
    mkdirat(d, "e", 0700);
    close(openat(d, "e/below", O_WRONLY | O_CREAT, 0600));
    char buf[8] = "";
    f = openat(d, "./e/../made", O_RDONLY);
    ssize_t n = read(f, buf, sizeof(buf));
    close(f);
    struct stat st;
    int absent = openat(d, "nothing", O_RDONLY);
    fchdir(d);
    int r = chdir("e");
    int below = fstatat(AT_FDCWD, "below", &st, 0);
    struct open_how how = { .flags = O_RDONLY };
    int opened = (int)syscall(SYS_openat2, AT_FDCWD, "below", &how, sizeof(how));
    int gone = access("gone", F_OK);
    printf("%zd %.4s %d %d %d %d %d\n", n, buf, absent, r, below, opened >= 0, gone);
    return 0;
}
