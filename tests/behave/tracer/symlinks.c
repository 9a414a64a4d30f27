/*
 * Every hop of a chain is a record of its own; the file stands under its resolved path.
 *
 * expect: link one
 * target: one two
 * expect: link two
 * target: two sub/../sub/three
 * expect: link sub/three
 * target: sub/three ../file
 * expect: read file
 * expect: stat file
 * expect: link dangling
 * expect: absent missing
 * expect: link loop
 * expect: link absolute
 * expect: stat sub/inner
 * expect: link folder
 * refuse: read one
 * refuse: any folder/inner
 * expect: created made-through
 * expect: link through
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    char here[PATH_MAX], text[PATH_MAX];
    mkdir("sub", 0755);
    close(open("file", O_WRONLY | O_CREAT, 0644));
    close(open("sub/inner", O_WRONLY | O_CREAT, 0644));
    symlink("two", "one");
    symlink("sub/../sub/three", "two");
    symlink("../file", "sub/three");
    symlink("missing", "dangling");
    symlink("loop", "loop");
    symlink("sub", "folder");
    symlink("made-through", "through");
    if (!getcwd(here, sizeof(here) - 32))
        return 1;
    strcat(here, "/sub");
    symlink(here, "absolute");

    struct stat st;
    int one = open("one", O_RDONLY);
    int followed = stat("one", &st);
    int dangling = open("dangling", O_RDONLY) < 0 ? errno : 0;
    int loop = stat("loop", &st) < 0 ? errno : 0;
    int absolute = stat("absolute/inner", &st);
    int folder = access("folder/inner", R_OK);
    int slash = lstat("folder/", &st) == 0 && S_ISDIR(st.st_mode);
    int bare = lstat("folder", &st) == 0 && S_ISLNK(st.st_mode);
    int nofollow = open("one", O_RDONLY | O_NOFOLLOW) < 0 ? errno : 0;
    ssize_t n = readlink("one", text, sizeof(text));
    int through = open("through", O_WRONLY | O_CREAT, 0644);
    printf("%d %d %d %d %d %d %d %d %d %zd %d\n", one >= 0, followed, dangling, loop, absolute,
           folder, slash, bare, nofollow, n, through >= 0);
    return 0;
}
