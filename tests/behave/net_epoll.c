/* behave: cc -pthread */
/*
 * epoll, poll and select over sockets of the network mixed with pipes, eventfds and timers: level, edge, one-shot,
 * nested, changed by another thread meanwhile, watched twice, closed while watched.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
    if (!ok) {
        printf("%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

/* A connected pair over loopback. */
static void pair(int fds[2])
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(a);
    int l = socket(AF_INET, SOCK_STREAM, 0);
    check(l >= 0, "socket");
    check(bind(l, (struct sockaddr *)&a, sizeof(a)) == 0, "bind");
    check(listen(l, 1) == 0, "listen");
    check(getsockname(l, (struct sockaddr *)&a, &size) == 0, "name");
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    check(connect(fds[0], (struct sockaddr *)&a, sizeof(a)) == 0, "connect");
    fds[1] = accept(l, NULL, NULL);
    check(fds[1] >= 0, "accept");
    close(l);
}

static void ctl(int ep, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event e = { .events = events, .data.u64 = data };
    if (epoll_ctl(ep, op, fd, &e) < 0)
        printf("ctl %d %d: %s\n", op, (int)data, strerror(errno));
}

/* What a wait finds, in the order of data. */
static void show(const char *what, int ep, int timeout)
{
    struct epoll_event e[16];
    int n = epoll_wait(ep, e, 16, timeout);
    printf("%s: %d", what, n);
    for (uint64_t data = 0; data < 32; data++)
        for (int i = 0; i < n; i++)
            if (e[i].data.u64 == data)
                printf(" %d=%x", (int)data, e[i].events);
    printf("\n");
}

static void levels_and_edges(void)
{
    int ep = epoll_create1(EPOLL_CLOEXEC), s[2], ev = eventfd(0, EFD_NONBLOCK);
    char buf[64];
    pair(s);
    ctl(ep, EPOLL_CTL_ADD, s[1], EPOLLIN, 1);
    ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN, 2);
    ctl(ep, EPOLL_CTL_ADD, s[1], EPOLLIN, 1);
    ctl(ep, EPOLL_CTL_MOD, s[0], EPOLLIN, 3);
    show("nothing", ep, 0);
    show("nothing in time", ep, 20);
    check(write(s[0], "abc", 3) == 3, "write");
    show("level", ep, 1000);
    show("level again", ep, 1000);
    check(eventfd_write(ev, 1) == 0, "event");
    show("both", ep, 1000);
    ctl(ep, EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLET, 4);
    eventfd_t v;
    eventfd_read(ev, &v);
    show("edge", ep, 1000);
    show("edge once", ep, 20);
    check(write(s[0], "d", 1) == 1, "write");
    show("edge anew", ep, 1000);
    check(read(s[1], buf, 2) == 2, "read");
    show("edge, a part was read", ep, 20);
    check(read(s[1], buf, sizeof(buf)) == 2, "read");
    ctl(ep, EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLOUT | EPOLLET, 5);
    show("edge out", ep, 1000);
    show("edge out once", ep, 20);
    ctl(ep, EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLONESHOT, 6);
    check(write(s[0], "e", 1) == 1, "write");
    show("one-shot", ep, 1000);
    check(write(s[0], "f", 1) == 1, "write");
    show("one-shot rests", ep, 20);
    ctl(ep, EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLONESHOT, 7);
    show("one-shot armed", ep, 1000);
    ctl(ep, EPOLL_CTL_MOD, s[1], EPOLLIN | EPOLLRDHUP, 8);
    check(read(s[1], buf, sizeof(buf)) == 2, "read");
    shutdown(s[0], SHUT_WR);
    show("read half closed", ep, 1000);
    shutdown(s[1], SHUT_WR);
    show("closed", ep, 1000);
    ctl(ep, EPOLL_CTL_DEL, s[1], 0, 0);
    show("taken out", ep, 20);
    ctl(ep, EPOLL_CTL_DEL, s[1], 0, 9);
    ctl(ep, EPOLL_CTL_ADD, s[1], EPOLLIN, 10);
    show("in again", ep, 1000);
    close(s[1]);
    show("its file closed", ep, 20);
    close(s[0]);
    close(ev);
    close(ep);
}

static void twice(void)
{
    int ep = epoll_create1(0), s[2];
    pair(s);
    int copy = dup(s[1]);
    ctl(ep, EPOLL_CTL_ADD, s[1], EPOLLIN, 1);
    ctl(ep, EPOLL_CTL_ADD, copy, EPOLLIN | EPOLLOUT, 2);
    show("a copy", ep, 1000);
    check(write(s[0], "x", 1) == 1, "write");
    show("both", ep, 1000);
    close(s[1]);
    show("one descriptor closed", ep, 1000);
    ctl(ep, EPOLL_CTL_DEL, copy, 0, 0);
    close(copy);
    show("all closed", ep, 20);
    close(s[0]);
    close(ep);
}

static void nested(void)
{
    int inner = epoll_create1(0), outer = epoll_create1(0), s[2], p[2];
    pair(s);
    check(pipe(p) == 0, "pipe");
    ctl(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 1);
    ctl(inner, EPOLL_CTL_ADD, s[1], EPOLLIN, 2);
    ctl(inner, EPOLL_CTL_ADD, p[0], EPOLLIN, 3);
    show("nested", outer, 20);
    check(write(s[0], "x", 1) == 1, "write");
    show("nested socket", outer, 1000);
    show("inner", inner, 1000);
    char c;
    check(read(s[1], &c, 1) == 1, "read");
    show("nested read", outer, 20);
    check(write(p[1], "x", 1) == 1, "write");
    show("nested pipe", outer, 1000);
    struct pollfd fd = { inner, POLLIN, 0 };
    int n = poll(&fd, 1, 1000);
    printf("poll of an instance: %d %x\n", n, fd.revents);
    check(read(p[0], &c, 1) == 1, "read");
    n = poll(&fd, 1, 20);
    printf("poll of an instance: %d %x\n", n, fd.revents);
    check(write(s[0], "x", 1) == 1, "write");
    n = poll(&fd, 1, 1000);
    printf("poll of an instance: %d %x\n", n, fd.revents);
    close(s[0]);
    close(s[1]);
    close(p[0]);
    close(p[1]);
    close(inner);
    close(outer);
}

struct later {
    int ep, fd, how;
};

static void *change(void *arg)
{
    struct later *l = arg;
    usleep(20000); /* the other is waiting by now, or will look after it: both are right */
    if (l->how == 0)
        ctl(l->ep, EPOLL_CTL_ADD, l->fd, EPOLLOUT, 1);
    else if (l->how == 1)
        ctl(l->ep, EPOLL_CTL_MOD, l->fd, EPOLLOUT | EPOLLET, 2);
    else if (l->how == 2)
        eventfd_write(l->fd, 1);
    else
        check(write(l->fd, "x", 1) == 1, "write");
    return NULL;
}

static void meanwhile(void)
{
    int ep = epoll_create1(0), s[2], ev = eventfd(0, 0);
    pthread_t t;
    pair(s);
    for (int how = 0; how < 4; how++) {
        struct later l = { ep, how == 2 ? ev : how == 3 ? s[0] : s[1], how };
        if (how == 1)
            ctl(ep, EPOLL_CTL_MOD, s[1], EPOLLIN, 1);
        if (how == 2)
            ctl(ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLET, 3);
        if (how == 3)
            ctl(ep, EPOLL_CTL_MOD, s[1], EPOLLIN, 4);
        pthread_create(&t, NULL, change, &l);
        show("meanwhile", ep, -1);
        pthread_join(t, NULL);
    }
    close(s[0]);
    close(s[1]);
    close(ev);
    close(ep);
}

static void others(void)
{
    int s[2], p[2], tfd = timerfd_create(CLOCK_MONOTONIC, 0);
    pair(s);
    check(pipe(p) == 0, "pipe");
    struct itimerspec soon = { .it_value.tv_nsec = 30000000 };
    timerfd_settime(tfd, 0, &soon, NULL);
    struct pollfd fds[4] = {
        { s[1], POLLIN, 0 }, { p[0], POLLIN, 0 }, { tfd, POLLIN, 0 }, { -1, POLLIN, 0 }
    };
    int n = poll(fds, 4, 10000);
    printf("poll: %d %x %x %x\n", n, fds[0].revents, fds[1].revents, fds[2].revents);
    check(write(s[0], "x", 1) == 1, "write");
    check(write(p[1], "x", 1) == 1, "write");
    uint64_t ticks;
    check(read(tfd, &ticks, 8) == 8, "ticks");
    poll(fds, 1, -1); /* loopback delivers at once, but says nobody so */
    n = poll(fds, 4, 10000);
    printf("poll: %d %x %x %x\n", n, fds[0].revents, fds[1].revents, fds[2].revents);
    fd_set in, out;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(s[1], &in);
    FD_SET(p[0], &in);
    FD_SET(s[0], &out);
    FD_SET(tfd, &in);
    n = select(64, &in, &out, NULL, NULL);
    printf("select: %d %d %d %d %d\n", n, !!FD_ISSET(s[1], &in), !!FD_ISSET(p[0], &in),
           !!FD_ISSET(s[0], &out), !!FD_ISSET(tfd, &in));
    close(s[0]);
    fds[0].events = POLLRDHUP;
    poll(fds, 1, -1);
    fds[0].events = POLLIN | POLLRDHUP;
    n = poll(fds, 1, 10000);
    printf("poll of what the peer closed: %d %x\n", n, fds[0].revents);
    close(s[1]);
    close(p[0]);
    close(p[1]);
    close(tfd);
}

/* A child has the connection too: closing it here does not take it out of the child, nor keep it in here. */
static void forked(void)
{
    int ep = epoll_create1(0), s[2], p[2];
    pair(s);
    check(pipe(p) == 0, "pipe");
    ctl(ep, EPOLL_CTL_ADD, s[1], EPOLLIN, 1);
    show("before fork", ep, 20);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        close(p[1]);
        check(read(p[0], &c, 1) == 0, "pipe");
        check(read(s[1], &c, 1) == 1, "child");
        printf("child read %c\n", c);
        fflush(stdout);
        _exit(0);
    }
    ctl(ep, EPOLL_CTL_DEL, s[1], 0, 1);
    close(s[1]);
    check(write(s[0], "y", 1) == 1, "write");
    show("closed here", ep, 50);
    close(p[1]);
    int status;
    check(waitpid(pid, &status, 0) == pid, "wait");
    printf("status %d\n", status);
    close(s[0]);
    close(p[0]);
    close(ep);
}

int main(void)
{
    setlinebuf(stdout);
    levels_and_edges();
    twice();
    nested();
    meanwhile();
    others();
    forked();
    return 0;
}
