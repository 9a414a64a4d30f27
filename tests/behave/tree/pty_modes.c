/* Reading by VMIN and VTIME, readiness, locks, packet mode, flow, flushing, errors, of a pseudo terminal in one process. */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "twice.h"

static int g_master, g_slave;
static char g_name[64];

static void start(void)
{
    if (openpty(&g_master, &g_slave, g_name, NULL, NULL) < 0)
        abort();
}

static void done(void)
{
    close(g_master);
    close(g_slave);
}

static void raw(int min, int ds)
{
    struct termios t;
    tcgetattr(g_slave, &t);
    cfmakeraw(&t);
    t.c_cc[VMIN] = (cc_t)min;
    t.c_cc[VTIME] = (cc_t)ds;
    tcsetattr(g_slave, TCSANOW, &t);
}

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        abort();
}

static void result(const char *name, long r)
{
    printf("%s %ld %s\n", name, r, r < 0 ? strerrorname_np(errno) : "");
}

static void wait_for(int fd, short events)
{
    struct pollfd p = { fd, events, 0 };
    poll(&p, 1, -1);
}

static unsigned ready(int fd)
{
    struct pollfd p = { fd, POLLIN | POLLOUT | POLLPRI, 0 };
    poll(&p, 1, 0);
    return (unsigned)p.revents;
}

static long ms_since(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (now.tv_sec - from->tv_sec) * 1000 + (now.tv_nsec - from->tv_nsec) / 1000000;
}

static void timed(const char *name, size_t room, long least, long most)
{
    struct timespec from;
    char buf[100];
    clock_gettime(CLOCK_MONOTONIC, &from);
    ssize_t n = read(g_slave, buf, room);
    long took = ms_since(&from);
    result(name, n);
    if (took < least || took > most)
        printf("%s took %ld ms\n", name, took);
}

static void *type_slowly(void *arg)
{
    for (const char *c = arg; *c; c++) {
        usleep(20000);
        if (write(g_master, c, 1) != 1)
            abort();
    }
    return NULL;
}

static void reads(void)
{
    pthread_t thread;
    start();
    raw(0, 0);
    timed("nothing, no wait", 10, 0, 20000);
    raw(0, 2);
    timed("nothing, timed", 10, 150, 20000);
    say(g_master, "abc");
    wait_for(g_slave, POLLIN);
    timed("something, timed", 10, 0, 20000);
    raw(3, 0);
    pthread_create(&thread, NULL, type_slowly, (void *)"abc");
    timed("three", 10, 50, 20000);
    pthread_join(thread, NULL);
    say(g_master, "d");
    timed("less room than VMIN", 1, 0, 20000);
    raw(3, 0);
    say(g_master, "ab");
    printf("two are not ready %d\n", !(ready(g_slave) & POLLIN));
    say(g_master, "c");
    wait_for(g_slave, POLLIN);
    timed("three at once", 10, 0, 20000);
    raw(5, 10);
    pthread_create(&thread, NULL, type_slowly, (void *)"xyz");
    timed("between bytes", 10, 1000, 20000);
    pthread_join(thread, NULL);
    raw(255, 1);
    say(g_master, "q");
    timed("one, then silence", 10, 100, 20000);
    fcntl(g_slave, F_SETFL, O_NONBLOCK);
    raw(1, 0);
    timed("O_NONBLOCK", 10, 0, 20000);
    raw(0, 0);
    timed("O_NONBLOCK, VMIN 0", 10, 0, 20000);
    fcntl(g_slave, F_SETFL, 0);
    done();
}

static void readiness(void)
{
    char buf[100];
    start();
    raw(1, 0);
    int epoll = epoll_create1(0);
    struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.u32 = 7 };
    epoll_ctl(epoll, EPOLL_CTL_ADD, g_master, &e);
    result("epoll, nothing", epoll_wait(epoll, &e, 1, 0));
    say(g_slave, "out");
    result("epoll", epoll_wait(epoll, &e, 1, -1));
    printf("events %x data %u\n", e.events, e.data.u32);
    result("epoll, again", epoll_wait(epoll, &e, 1, 0));
    result("read", read(g_master, buf, sizeof(buf)));
    printf("master %x slave %x\n", ready(g_master), ready(g_slave));
    say(g_master, "in");
    wait_for(g_slave, POLLIN);
    printf("master %x slave %x\n", ready(g_master), ready(g_slave));
    int n;
    ioctl(g_slave, FIONREAD, &n);
    printf("FIONREAD %d\n", n);
    ioctl(g_slave, TIOCOUTQ, &n);
    printf("TIOCOUTQ %d\n", n);
    /* Nobody reads: it is full once, and not for ever. */
    fcntl(g_slave, F_SETFL, O_NONBLOCK);
    size_t sum = 0;
    char *lot = calloc(1, 4096);
    ssize_t w;
    while ((w = write(g_slave, lot, 4096)) > 0)
        sum += (size_t)w;
    result("full", w);
    printf("between %d\n", sum > 4000 && sum < 20000);
    while (!(ready(g_slave) & POLLOUT))
        if (read(g_master, lot, 4096) <= 0)
            abort();
    printf("room again\n");
    free(lot);
    close(epoll);
    done();
}

static void names(void)
{
    char buf[100];
    struct stat a, b;
    int m = posix_openpt(O_RDWR | O_NOCTTY), locked = -1, n = -1;
    result("locked", open(ptsname(m), O_RDWR | O_NOCTTY));
    ioctl(m, TIOCGPTLCK, &locked);
    printf("TIOCGPTLCK %d\n", locked);
    result("unlock", unlockpt(m));
    int s = ioctl(m, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    printf("peer %d %d\n", s >= 0, fcntl(s, F_GETFD));
    ioctl(m, TIOCGPTN, &n);
    snprintf(buf, sizeof(buf), "/dev/pts/%d", n);
    printf("names %d %d\n", strcmp(buf, ptsname(m)), strcmp(buf, ttyname(s)));
    stat(buf, &a);
    fstat(s, &b);
    printf("stat %d major %u minor %d\n",
           a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_rdev == b.st_rdev, major(a.st_rdev),
           (int)minor(a.st_rdev) == n);
    fstat(m, &a);
    stat("/dev/ptmx", &b);
    printf("ptmx %x %x %o\n", (unsigned)a.st_rdev, (unsigned)b.st_rdev, b.st_mode);
    result("TIOCGPTN of the other end", ioctl(s, TIOCGPTN, &n));
    result("TIOCSPTLCK of the other end", ioctl(s, TIOCSPTLCK, &n));
    result("TIOCGPTPEER of the other end", ioctl(s, TIOCGPTPEER, O_RDWR));
    result("fchmod", fchmod(s, 0600));
    stat(buf, &a);
    printf("mode %o\n", a.st_mode);
    result("chmod", chmod(buf, 0620));
    result("chown", chown(buf, getuid(), getgid()));
    fstat(s, &b);
    printf("mode %o %d %d\n", b.st_mode, b.st_uid == getuid(), b.st_gid == getgid());
    result("lseek", lseek(s, 0, SEEK_CUR));
    result("pread", pread(s, buf, 1, 0));
    result("absent", open("/dev/pts/99999", O_RDWR));
    result("leading zero", open("/dev/pts/00", O_RDWR));
    close(m);
    close(s);
    result("gone", ioctl(m, TIOCGPTN, &n));
}

static void sizes_and_speeds(void)
{
    struct winsize w = { 24, 80, 0, 0 };
    struct termios t = { .c_iflag = IGNBRK, .c_cflag = CS7, .c_lflag = ICANON };
    start();
    result("TIOCSWINSZ", ioctl(g_slave, TIOCSWINSZ, &w));
    memset(&w, 0, sizeof(w));
    ioctl(g_master, TIOCGWINSZ, &w);
    printf("window %d %d\n", w.ws_row, w.ws_col);
    tcgetattr(g_slave, &t);
    printf("speed %d %d\n", cfgetispeed(&t) == B38400, cfgetospeed(&t) == B38400);
    cfsetspeed(&t, B9600);
    t.c_cflag = (t.c_cflag & ~(tcflag_t)CSIZE) | CS7 | PARENB;
    result("tcsetattr", tcsetattr(g_master, TCSADRAIN, &t));
    tcgetattr(g_slave, &t);
    printf("cflag %o\n", t.c_cflag);
    result("tcdrain", tcdrain(g_slave));
    result("tcsendbreak", tcsendbreak(g_slave, 0));
    int n = -1;
    result("TIOCGETD", ioctl(g_slave, TIOCGETD, &n));
    printf("discipline %d\n", n);
    result("TIOCMGET", ioctl(g_slave, TIOCMGET, &n));
    result("tcflush", tcflush(g_slave, 17));
    result("tcflow", tcflow(g_slave, 17));
    result("bad address", ioctl(g_slave, TIOCGWINSZ, 1L));
    done();
}

static void packets(void)
{
    int on = 1, n = -1;
    char buf[100];
    start();
    result("TIOCPKT", ioctl(g_master, TIOCPKT, &on));
    ioctl(g_master, TIOCGPKT, &n);
    printf("TIOCGPKT %d\n", n);
    say(g_slave, "data");
    wait_for(g_master, POLLIN);
    ssize_t r = read(g_master, buf, sizeof(buf));
    printf("packet %zd %d %.4s\n", r, buf[0], buf + 1);
    tcflow(g_slave, TCOOFF);
    printf("ready %x\n", ready(g_master));
    r = read(g_master, buf, sizeof(buf));
    printf("packet %zd %d\n", r, buf[0]);
    tcflow(g_slave, TCOON);
    r = read(g_master, buf, sizeof(buf));
    printf("packet %zd %d\n", r, buf[0]);
    struct termios t;
    tcgetattr(g_slave, &t);
    t.c_iflag &= ~(tcflag_t)IXON;
    tcsetattr(g_slave, TCSANOW, &t);
    r = read(g_master, buf, sizeof(buf));
    printf("packet %zd %d\n", r, buf[0]);
    t.c_iflag |= IXON;
    tcsetattr(g_slave, TCSANOW, &t);
    tcflush(g_slave, TCIFLUSH);
    r = read(g_master, buf, sizeof(buf));
    printf("packet %zd %d\n", r, buf[0]);
    on = 0;
    ioctl(g_master, TIOCPKT, &on);
    say(g_slave, "plain");
    wait_for(g_master, POLLIN);
    printf("plain %zd\n", read(g_master, buf, sizeof(buf)));
    done();
}

static void *write_it(void *arg)
{
    (void)arg;
    say(g_slave, "held");
    return NULL;
}

static void flow(void)
{
    char buf[100];
    pthread_t thread;
    struct termios t;
    start();
    tcgetattr(g_slave, &t);
    t.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(g_slave, TCSANOW, &t);
    say(g_master, "\023x\n"); /* ^S */
    result("line", read(g_slave, buf, sizeof(buf)));
    printf("stopped %d\n", !(ready(g_slave) & POLLOUT));
    fcntl(g_slave, F_SETFL, O_NONBLOCK);
    result("write", write(g_slave, "x", 1));
    fcntl(g_slave, F_SETFL, 0);
    pthread_create(&thread, NULL, write_it, NULL);
    usleep(50000);
    printf("nothing %d\n", !(ready(g_master) & POLLIN));
    say(g_master, "\021"); /* ^Q */
    pthread_join(thread, NULL);
    wait_for(g_master, POLLIN);
    result("held", read(g_master, buf, sizeof(buf)));
    result("TCOOFF", tcflow(g_slave, TCOOFF));
    printf("stopped %d\n", !(ready(g_slave) & POLLOUT));
    result("TCOON", tcflow(g_slave, TCOON));
    printf("goes on %d\n", !!(ready(g_slave) & POLLOUT));
    result("TCIOFF", tcflow(g_slave, TCIOFF));
    wait_for(g_master, POLLIN);
    ssize_t n = read(g_master, buf, sizeof(buf));
    printf("sent %zd %o\n", n, buf[0]);
    say(g_master, "typed\n");
    wait_for(g_slave, POLLIN);
    result("TCIFLUSH", tcflush(g_slave, TCIFLUSH));
    printf("flushed %d\n", !(ready(g_slave) & POLLIN));
    say(g_master, "typed\n");
    wait_for(g_slave, POLLIN);
    result("TCSAFLUSH", tcsetattr(g_slave, TCSAFLUSH, &t));
    printf("flushed %d\n", !(ready(g_slave) & POLLIN));
    done();
}

static void ends(void)
{
    char buf[100];
    int n = 1;
    start();
    struct pollfd p = { g_slave, POLLIN | POLLOUT, 0 };
    say(g_master, "unread\n");
    wait_for(g_slave, POLLIN);
    close(g_master);
    poll(&p, 1, -1);
    printf("hung up %x\n", p.revents);
    result("read", read(g_slave, buf, sizeof(buf)));
    result("write", write(g_slave, "x", 1));
    result("TIOCSPGRP", ioctl(g_slave, TIOCSPGRP, &n));
    result("FIONREAD", ioctl(g_slave, FIONREAD, &n));
    printf("isatty %d\n", isatty(g_slave));
    close(g_slave);
    start();
    say(g_slave, "last words");
    close(g_slave);
    wait_for(g_master, POLLIN);
    printf("master %x\n", ready(g_master));
    result("read", read(g_master, buf, sizeof(buf)));
    printf("master %x\n", ready(g_master));
    result("read", read(g_master, buf, sizeof(buf)));
    result("write", write(g_master, "kept\n", 5));
    g_slave = open(g_name, O_RDWR | O_NOCTTY);
    result("kept", read(g_slave, buf, sizeof(buf)));
    done();
    /* Nobody has been there yet: the master waits. */
    int m = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    result("before the first", read(m, buf, sizeof(buf)));
    printf("master %x\n", ready(m));
    close(m);
}

static void all(void)
{
    reads();
    readiness();
    names();
    sizes_and_speeds();
    packets();
    flow();
    ends();
}

int main(void)
{
    return twice(all);
}
