/*
 * What was asked for and not there.
 *
 * expect: absent no-stat
 * expect: absent no-access
 * expect: absent no-open
 * expect: absent no-folder/below/it
 * expect: absent file/below
 * expect: absent no-exec
 * expect: absent no-connect
 * expect: absent later
 * expect: created later
 * expect: absent no-readlink
 * expect: absent folder/up
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
    struct stat st;
    char text[8];
    struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "no-connect" };
    mkdir("folder", 0755);
    close(open("file", O_WRONLY | O_CREAT, 0644));
    int a = stat("no-stat", &st) < 0 ? errno : 0;
    int b = access("no-access", F_OK) < 0 ? errno : 0;
    int c = open("no-open", O_RDONLY) < 0 ? errno : 0;
    int d = stat("no-folder/below/it", &st) < 0 ? errno : 0;
    int e = stat("file/below", &st) < 0 ? errno : 0;
    char *argv[] = { "no-exec", NULL };
    int f = execv("./no-exec", argv) < 0 ? errno : 0;
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    int g = connect(s, (struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
    int h = access("later", F_OK) < 0 ? errno : 0;
    close(open("later", O_WRONLY | O_CREAT, 0644));
    int i = access("later", F_OK) < 0 ? errno : 0;
    int j = readlink("no-readlink", text, sizeof(text)) < 0 ? errno : 0;
    int k = stat("folder/../folder/up", &st) < 0 ? errno : 0;
    printf("%d %d %d %d %d %d %d %d %d %d %d\n", a, b, c, d, e, f, g, h, i, j, k);
    return 0;
}
