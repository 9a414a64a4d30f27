/*
 * Sockets bound and connected, in the file system, abstract, and on the loopback; ports that the kernel chose;
 * datagrams sent to an address by each of the three calls.
 *
 * expect: bound created sock
 * expect: connected sock
 * socket: bound unix:@sgxpy-trace-test
 * expect: connected box
 * expect: absent nobody
 * socket: connected 127.0.0.1:9, udp
 * socket: bound 127.0.0.1:0, tcp, as 127.0.0.1:N
 * socket: bound 127.0.0.1:0, udp, as 127.0.0.1:N
 * socket: bound [::1]:0, tcp, as [::1]:N
 * socket: bound 0.0.0.0:0, tcp, as 0.0.0.0:N
 * socket: connected 127.0.0.1:11, udp
 * socket: connected 127.0.0.1:12, udp, as 0.0.0.0:N
 * socket: connected 127.0.0.1:13, udp, as 0.0.0.0:N
 * socket: connected 127.0.0.1:14, udp, as 0.0.0.0:N
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

/* Ports of the kernel's choice, asked for by bind and by listen alone; taken is how many of the calls went well. */
static int ephemeral(void)
{
    struct sockaddr_in any = loopback(0);
    struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
    int tcp6 = socket(AF_INET6, SOCK_STREAM, 0), bare = socket(AF_INET, SOCK_STREAM, 0);
    return (bind(tcp, (struct sockaddr *)&any, sizeof(any)) == 0) +
           (bind(udp, (struct sockaddr *)&any, sizeof(any)) == 0) +
           (bind(tcp6, (struct sockaddr *)&any6, sizeof(any6)) == 0) + (listen(bare, 1) == 0);
}

/* The first without an address of its own; a write without an address is nobody's. */
static int datagrams(void)
{
    struct sockaddr_in to[4] = { loopback(11), loopback(12), loopback(13), loopback(14) };
    struct sockaddr_un box = { .sun_family = AF_UNIX, .sun_path = "box" };
    struct sockaddr_un nobody = { .sun_family = AF_UNIX, .sun_path = "nobody" };
    struct iovec iov = { .iov_base = "x", .iov_len = 1 };
    struct mmsghdr many[2] = { 0 };
    struct msghdr one = {
        .msg_name = &to[1], .msg_namelen = sizeof(to[1]), .msg_iov = &iov, .msg_iovlen = 1
    };
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    int receiver = socket(AF_UNIX, SOCK_DGRAM, 0), sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    for (int i = 0; i < 2; i++)
        many[i].msg_hdr = (struct msghdr){
            .msg_name = &to[2 + i], .msg_namelen = sizeof(to[0]), .msg_iov = &iov, .msg_iovlen = 1
        };
    bind(receiver, (struct sockaddr *)&box, sizeof(box));
    return (sendto(udp, "x", 1, 0, (struct sockaddr *)&to[0], sizeof(to[0])) == 1) +
           (sendmsg(udp, &one, 0) == 1) + (sendmmsg(udp, many, 2, 0) == 2) +
           (sendto(sender, "x", 1, 0, (struct sockaddr *)&box, sizeof(box)) == 1) +
           (sendto(sender, "x", 1, 0, (struct sockaddr *)&nobody, sizeof(nobody)) == -1);
}

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
    printf("%d %d\n", ephemeral(), datagrams());
    return 0;
}
