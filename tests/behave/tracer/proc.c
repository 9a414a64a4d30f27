/*
 * The program's own /proc is spelled /proc/self; magic links lead on.
 *
 * expect: read /proc/self/maps
 * expect: read /proc/self/status
 * expect: link /proc/self/exe
 * expect: link /proc/self/cwd
 * expect: stat via-cwd
 * expect: read via-fd
 * expect: listed /proc/self/fd
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    struct stat st;
    char name[64];
    int good = 0;
    close(open("via-cwd", O_WRONLY | O_CREAT, 0644));
    int fd = open("via-fd", O_RDWR | O_CREAT, 0644);
    int a = open("/proc/self/maps", O_RDONLY);
    snprintf(name, sizeof(name), "/proc/%d/status", getpid());
    int b = open(name, O_RDONLY);
    int c = stat("/proc/self/cwd/via-cwd", &st);
    snprintf(name, sizeof(name), "/dev/fd/%d", fd);
    int d = open(name, O_RDONLY);
    char target[64];
    ssize_t n = readlink("/proc/self/exe", target, sizeof(target));
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        good++;
    printf("%d %d %d %d %d %d\n", a >= 0, b >= 0, c, d >= 0, n > 0, good > 3);
    return 0;
}
