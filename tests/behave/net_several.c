/* sendmmsg and recvmmsg: many at once, what ends them, what they leave. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define MANY 200

static struct mmsghdr m[MANY];
static struct iovec iov[MANY][2];
static struct sockaddr_in names[MANY];
static char bytes[MANY][512], controls[MANY][64];

static int bound(struct sockaddr_in *ret)
{
    socklen_t size = sizeof(*ret);
    int fd = socket(AF_INET, SOCK_DGRAM, 0), big = 1 << 20;
    *ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, size) < 0 ||
        getsockname(fd, (struct sockaddr *)ret, &size) < 0) {
        perror("socket");
        exit(1);
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
    return fd;
}

/* Messages to send: of i % 97 bytes in two pieces. */
static void to_send(unsigned count, struct sockaddr_in *to)
{
    memset(m, 0, sizeof(m));
    for (unsigned i = 0; i < count; i++) {
        unsigned size = i % 97, first = size / 3;
        memset(bytes[i], 'a' + (int)(i % 26), sizeof(bytes[i]));
        iov[i][0] = (struct iovec){ bytes[i], first };
        iov[i][1] = (struct iovec){ bytes[i] + first, size - first };
        m[i].msg_hdr = (struct msghdr){
            .msg_name = to, .msg_namelen = to ? sizeof(*to) : 0, .msg_iov = iov[i], .msg_iovlen = 2
        };
        m[i].msg_len = 12345;
    }
}

static void to_receive(unsigned count, size_t room)
{
    memset(m, 0, sizeof(m));
    memset(bytes, 0, sizeof(bytes));
    memset(names, 0, sizeof(names));
    for (unsigned i = 0; i < count; i++) {
        iov[i][0] = (struct iovec){ bytes[i], room / 4 };
        iov[i][1] = (struct iovec){ bytes[i] + room / 4, room - room / 4 };
        m[i].msg_hdr = (struct msghdr){ .msg_name = &names[i],
                                        .msg_namelen = sizeof(names[i]),
                                        .msg_iov = iov[i],
                                        .msg_iovlen = 2,
                                        .msg_control = controls[i],
                                        .msg_controllen = sizeof(controls[i]),
                                        .msg_flags = 77 };
        m[i].msg_len = 12345;
    }
}

static void say(const char *what, int n)
{
    printf("%s: %d%s%s\n", what, n, n < 0 ? " " : "", n < 0 ? strerrorname_np(errno) : "");
}

/* All that came, in one number, and the outstanding ones in full. */
static void show(int n, const struct sockaddr_in *from)
{
    unsigned sum = 0, wrong = 0, cut = 0, controls_seen = 0;
    for (int i = 0; i < n; i++) {
        for (unsigned k = 0; k < sizeof(bytes[i]); k++)
            sum = sum * 31 + (unsigned char)bytes[i][k];
        sum = sum * 31 + m[i].msg_len;
        wrong += m[i].msg_hdr.msg_namelen != sizeof(*from) || names[i].sin_port != from->sin_port;
        cut += (m[i].msg_hdr.msg_flags & MSG_TRUNC) != 0;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m[i].msg_hdr);
        controls_seen +=
            c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL && *(int *)CMSG_DATA(c) == 9;
    }
    printf("  sum %08x, wrong sender %u, cut %u, controls %u, sizes %u %u %u\n", sum, wrong, cut,
           controls_seen, m[0].msg_len, m[n > 1 ? 1 : 0].msg_len, m[n > 0 ? n - 1 : 0].msg_len);
}

static void nothing(int signal)
{
    (void)signal;
}

int main(void)
{
    struct sockaddr_in a_name, b_name;
    int a = bound(&a_name), b = bound(&b_name), on = 1, ttl = 9, n;
    struct timespec soon = { 0, 0 }, later = { 100, 0 };
    setsockopt(a, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
    setsockopt(b, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));

    to_send(MANY, &b_name);
    say("send", n = sendmmsg(a, m, MANY, 0));
    printf("  sizes %u %u %u %u\n", m[0].msg_len, m[1].msg_len, m[96].msg_len, m[MANY - 1].msg_len);
    to_receive(MANY, 100);
    say("receive", n = recvmmsg(b, m, MANY, 0, NULL));
    show(n, &a_name);
    say("nothing there", recvmmsg(b, m, MANY, MSG_DONTWAIT, NULL));
    say("none wanted", recvmmsg(b, m, 0, 0, NULL));
    say("none sent", sendmmsg(a, m, 0, 0));

    to_send(90, &b_name);
    say("send", sendmmsg(a, m, 90, 0));
    to_receive(MANY, 40);
    say("peek", n = recvmmsg(b, m, 3, MSG_PEEK, NULL));
    show(n, &a_name);
    to_receive(MANY, 40);
    say("cut", n = recvmmsg(b, m, 70, MSG_TRUNC, NULL));
    show(n, &a_name);
    to_receive(MANY, 400);
    say("for one", n = recvmmsg(b, m, MANY, MSG_WAITFORONE, NULL));
    show(n, &a_name);

    to_send(5, &b_name);
    say("send", sendmmsg(a, m, 5, 0));
    to_receive(MANY, 100);
    say("no time", recvmmsg(b, m, 5, 0, &soon));
    say("time", recvmmsg(b, m, 2, 0, &later));
    printf("  time is left: %d\n", later.tv_sec > 50 && later.tv_sec < 100);
    later.tv_nsec = 1000000000;
    say("wrong time", recvmmsg(b, m, 2, 0, &later));
    m[1].msg_hdr.msg_iov = (void *)8;
    say("bad pointer at the second", recvmmsg(b, m, 2, MSG_DONTWAIT, NULL));
    say("bad pointer at the first", recvmmsg(b, m + 1, 2, MSG_DONTWAIT, NULL));
    to_receive(MANY, 100);
    say("the rest", recvmmsg(b, m, 5, MSG_DONTWAIT, NULL));

    /* Errors at the first, and later. */
    to_send(6, &b_name);
    struct sockaddr_in bad = b_name;
    bad.sin_family = AF_APPLETALK;
    m[3].msg_hdr.msg_name = &bad;
    say("a bad address at the fourth", sendmmsg(a, m, 6, 0));
    say("at the first", sendmmsg(a, m + 3, 3, 0));
    to_send(6, &b_name);
    iov[2][1] = (struct iovec){ (void *)8, 10 };
    say("bad pointer at the third", sendmmsg(a, m, 6, 0));
    static char huge[70000];
    to_send(6, &b_name);
    iov[1][0] = (struct iovec){ huge, sizeof(huge) };
    say("too long at the second", sendmmsg(a, m, 6, 0));
    say("too long", sendmmsg(a, m + 1, 2, 0));
    to_receive(MANY, 100);
    say("what came", n = recvmmsg(b, m, MANY, MSG_DONTWAIT, NULL));
    show(n, &a_name);

    /* Large ones: not all in one piece. */
    static char large[60000];
    to_send(12, &b_name);
    for (int i = 0; i < 12; i++) {
        large[0] = (char)('A' + i);
        iov[i][0] = (struct iovec){ large, sizeof(large) - (size_t)i };
        iov[i][1].iov_len = 0;
    }
    int sent = 0, came = 0, total = 0;
    while (sent < 12 &&
           (n = sendmmsg(a, m + sent, (unsigned)(12 - sent > 3 ? 3 : 12 - sent), 0)) > 0) {
        sent += n;
        struct mmsghdr in[3] = { 0 };
        static char rooms[3][65536];
        struct iovec v[3];
        for (int i = 0; i < 3; i++) {
            v[i] = (struct iovec){ rooms[i], sizeof(rooms[i]) };
            in[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1 };
        }
        for (int got = 0, k;
             got < n && (k = recvmmsg(b, in, (unsigned)(n - got), MSG_WAITFORONE, NULL)) > 0;
             got += k)
            for (int i = 0; i < k; i++, came++)
                total += (int)in[i].msg_len;
    }
    printf("large: %d %d %d\n", sent, came, total);

    /* Nobody there: the error is told once, by a later call. */
    struct sockaddr_in c_name;
    int c = bound(&c_name), error = -1;
    socklen_t size = sizeof(error);
    connect(a, (struct sockaddr *)&c_name, sizeof(c_name));
    close(c);
    to_send(1, NULL);
    say("to nobody", sendmmsg(a, m, 1, 0));
    struct pollfd p = { .fd = a, .events = POLLIN };
    n = poll(&p, 1, 10000);
    printf("poll %d %x\n", n, (unsigned)p.revents);
    to_receive(MANY, 100);
    say("refused", recvmmsg(a, m, 4, 0, NULL));
    say("told", recvmmsg(a, m, 4, MSG_DONTWAIT, NULL));
    getsockopt(a, SOL_SOCKET, SO_ERROR, &error, &size);
    printf("SO_ERROR %d\n", error);

    /* A wait that a signal ends, with one that came before and without. */
    struct sigaction act = { .sa_handler = nothing };
    struct itimerval timer = { { 0, 50000 }, { 0, 50000 } }, off = { 0 };
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    say("a signal", recvmmsg(b, m, 4, 0, NULL));
    setitimer(ITIMER_REAL, &off, NULL);
    struct timeval timeout = { 0, 50000 };
    setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    to_receive(MANY, 100);
    say("SO_RCVTIMEO", recvmmsg(b, m, 4, 0, NULL));

    /* Streams. */
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0),
        server = -1;
    size = sizeof(c_name);
    if (listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&c_name, &size) < 0 ||
        connect(client, (struct sockaddr *)&c_name, size) < 0 ||
        (server = accept(listener, NULL, NULL)) < 0)
        perror("stream");
    to_send(10, NULL);
    say("stream", sendmmsg(client, m, 10, 0));
    to_receive(MANY, 9);
    say("stream", n = recvmmsg(server, m, 5, 0, NULL));
    printf("  sizes %u %u %u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len, m[3].msg_len,
           m[4].msg_len);
    return 0;
}
