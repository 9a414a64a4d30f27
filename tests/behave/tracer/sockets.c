/*
 * Sockets bound and connected, in the file system, abstract, and on the loopback.
 *
 * expect: bound created sock
 * expect: connected sock
 * socket: bound unix:@sgxpy-trace-test
 * socket: connected 127.0.0.1:9
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(void)
{
    struct sockaddr_un path = { .sun_family = AF_UNIX, .sun_path = "sock" };
    struct sockaddr_un abstract = { .sun_family = AF_UNIX };
    struct sockaddr_in discard = { .sin_family = AF_INET, .sin_port = htons(9) };
    const char *name = "sgxpy-trace-test";
    memcpy(abstract.sun_path + 1, name, strlen(name));
    discard.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int a = socket(AF_UNIX, SOCK_STREAM, 0), b = socket(AF_UNIX, SOCK_STREAM, 0);
    int c = socket(AF_UNIX, SOCK_DGRAM, 0), d = socket(AF_INET, SOCK_DGRAM, 0);
    int r1 = bind(a, (struct sockaddr *)&path, sizeof(path));
    listen(a, 1);
    int r2 = connect(b, (struct sockaddr *)&path, sizeof(path));
    int r3 = bind(c, (struct sockaddr *)&abstract,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
    int r4 = connect(d, (struct sockaddr *)&discard, sizeof(discard));
    printf("%d %d %d %d\n", r1, r2, r3, r4);
    return 0;
}
