/*
 * Listings hold the names, also those that came after the first look.
 *
 * expect: listed full
 * name: full file-0
 * name: full file-499
 * name: full sub
 * name: full second
 * expect: listed empty
 * refuse: listed other
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int count(const char *name)
{
    DIR *d = opendir(name);
    int n = 0;
    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

int main(void)
{
    char name[64];
    mkdir("full", 0755);
    mkdir("full/sub", 0755);
    mkdir("empty", 0755);
    mkdir("other", 0755);
    close(open("other", O_RDONLY | O_DIRECTORY));
    for (int i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "full/file-%d", i);
        close(open(name, O_WRONLY | O_CREAT, 0644));
    }
    int first = count("full");
    close(open("full/second", O_WRONLY | O_CREAT, 0644));
    printf("%d %d %d\n", first, count("full"), count("empty"));
    return 0;
}
