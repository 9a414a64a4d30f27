/* poll, select, epoll over enclave objects and host handles (src/enclave/ipc/{poll,epoll}.c). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "border/border.h"
#include "thr_fakes.h"
#include "thread/threads.h"
#include "vfs/file.h"
#include "vfs/kstat.h"

sys_fn sys_pipe2, sys_eventfd2, sys_poll, sys_ppoll, sys_select, sys_pselect6, sys_epoll_create1,
    sys_epoll_ctl, sys_epoll_wait, sys_epoll_pwait, sys_tgkill, sys_rt_sigaction,
    sys_rt_sigprocmask;

static int64_t do_io(int fd, void *buf, uint64_t size, bool write)
{
    struct file *file = fd_get(fd);
    int64_t ret =
        write ? file->ops->write(file, buf, size, NULL) : file->ops->read(file, buf, size, NULL);
    file_unref(file);
    return ret;
}

static void put(int fd)
{
    char c = 'x';
    assert_int_equal(do_io(fd, &c, 1, true), 1);
}

static void get(int fd)
{
    char c;
    assert_int_equal(do_io(fd, &c, 1, false), 1);
}

/* --- a file whose readiness the host knows ---------------------------------------------------- */

static int handle_of(struct file *file)
{
    return (int)(intptr_t)file->object;
}

static uint32_t never_asked(struct file *file UNUSED, struct waiter *waiter UNUSED)
{
    fail_msg("asked the file though the host knows");
    return 0;
}

static const struct file_ops g_host_ops = { .name = "host",
                                            .host_handle = handle_of,
                                            .poll = never_asked };

static int install_host(int handle)
{
    struct file *file = file_new(&g_host_ops, 0, (void *)(intptr_t)handle);
    return fd_install(file, 0, false);
}

static int regular_stat(struct file *file UNUSED, struct kstat *ret)
{
    *ret = (struct kstat){ .mode = 0100644 };
    return 0;
}

static uint32_t always(struct file *file UNUSED, struct waiter *waiter UNUSED)
{
    return EPOLLIN | EPOLLOUT;
}

static const struct file_ops g_plain_ops = { .name = "plain" };
static const struct file_ops g_regular_ops = { .name = "regular",
                                               .fstat = regular_stat,
                                               .poll = always };

static int32_t g_pipe[2];

static int setup(void **state UNUSED)
{
    return thr_fd_count() == 0 ? (int)CALL(sys_pipe2, PTR(g_pipe), NUM(O_NONBLOCK)) : -1;
}

static int teardown(void **state UNUSED)
{
    fd_close(g_pipe[0]);
    fd_close(g_pipe[1]);
    return thr_fd_count() == 0 ? 0 : -1;
}

struct later {
    struct thr thr;
    int fd;
    unsigned ms;
    bool host, close;
};

static void act_later(void *arg)
{
    struct later *l = arg;
    thr_sleep_ms(l->ms);
    if (l->close)
        fd_close(l->fd);
    else if (l->host)
        (void)!write(l->fd, "x", 1);
    else
        put(l->fd);
}

/* --- poll ------------------------------------------------------------------------------------- */

static void test_poll(void **state UNUSED)
{
    struct pollfd fds[3] = { { g_pipe[0], POLLIN, 0 },
                             { g_pipe[1], POLLOUT, 0 },
                             { -1, POLLIN, 9 } };
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(3), NUM(0)), 1);
    assert_int_equal(fds[0].revents, 0);
    assert_int_equal(fds[1].revents, POLLOUT);
    assert_int_equal(fds[2].revents, 0);
    put(g_pipe[1]);
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(3), NUM(-1)), 2);
    assert_int_equal(fds[0].revents, POLLIN);
    get(g_pipe[0]);

    uint64_t before = clock_monotonic();
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(20)), 0);
    assert_true(clock_monotonic() - before >= 20000000);
    assert_int_equal(CALL(sys_poll, NUM(0), NUM(0), NUM(1)), 0);
    assert_int_equal(CALL(sys_poll, NUM(8), NUM(1), NUM(0)), -EFAULT);
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(100000), NUM(0)), -EINVAL);

    fds[0].fd = 99;
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(-1)), 1);
    assert_int_equal(fds[0].revents, POLLNVAL);

    int plain = fd_install(file_new(&g_plain_ops, 0, NULL), 0, false);
    fds[0] = (struct pollfd){ plain, POLLIN | POLLOUT, 0 };
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(-1)), 1);
    assert_int_equal(fds[0].revents, POLLIN | POLLOUT);
    fd_close(plain);
}

static void test_poll_hangup(void **state UNUSED)
{
    struct pollfd fds[1] = { { g_pipe[0], 0, 0 } };
    struct later l = { .fd = g_pipe[1], .ms = 10, .close = true };
    thr_start(&l.thr, act_later, &l);
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(-1)), 1);
    assert_int_equal(fds[0].revents, POLLHUP);
    thr_join(&l.thr);
}

static void test_poll_wakes(void **state UNUSED)
{
    int host[2];
    assert_int_equal(pipe(host), 0);
    int fd = install_host(host[0]);
    /* Enclave object and host handle in one wait; either one ends it. */
    for (int turn = 0; turn < 2; turn++) {
        struct pollfd fds[2] = { { g_pipe[0], POLLIN, 0 }, { fd, POLLIN, 0 } };
        struct later l = { .fd = turn ? host[1] : g_pipe[1], .ms = 10, .host = turn };
        thr_start(&l.thr, act_later, &l);
        assert_int_equal(CALL(sys_poll, PTR(fds), NUM(2), NUM(5000)), 1);
        assert_int_equal(fds[turn].revents, POLLIN);
        assert_int_equal(fds[1 - turn].revents, 0);
        thr_join(&l.thr);
        if (!turn)
            get(g_pipe[0]);
    }
    /* Both ready: both are told. */
    put(g_pipe[1]);
    struct pollfd fds[2] = { { g_pipe[0], POLLIN, 0 }, { fd, POLLIN, 0 } };
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(2), NUM(0)), 2);
    fd_close(fd);
    close(host[0]);
    close(host[1]);
}

/* Events nobody asked for, counts that cannot be, errors: nothing but what was asked for comes
 * through. */
static void test_lying_host(void **state UNUSED)
{
    static const struct {
        int64_t ret;
        short events, want;
    } rows[] = {
        { 1, POLLIN, POLLIN | POLLERR | POLLHUP },
        { 2, POLLOUT, POLLOUT | POLLERR | POLLHUP },
        { 1000000, 0, POLLERR | POLLHUP },
        { INT64_MAX, POLLPRI, POLLPRI | POLLERR | POLLHUP },
        { -EBADF, POLLIN, POLLERR },
        { -EIO, 0, POLLERR },
    };
    int fd = install_host(0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (int timeout = -1; timeout <= 0; timeout++) {
            struct pollfd fds[2] = { { fd, rows[i].events, 0 }, { g_pipe[0], POLLIN, 0 } };
            g_thr_poll_lie = rows[i].ret;
            int64_t got = CALL(sys_poll, PTR(fds), NUM(2), NUM(timeout));
            g_thr_poll_lie = 0;
            fds[0].revents &= (short)~POLLNVAL;
            if (got != 1 || fds[0].revents != rows[i].want || fds[1].revents)
                fail_msg("row %zu: got %ld, events %x", i, got, fds[0].revents);
        }
    }
    fd_close(fd);
}

static void test_many_poll(void **state UNUSED)
{
    struct pollfd fds[40];
    int32_t pipes[40][2];
    for (int i = 0; i < 40; i++) {
        assert_int_equal(CALL(sys_pipe2, PTR(pipes[i]), NUM(0)), 0);
        fds[i] = (struct pollfd){ pipes[i][0], POLLIN, 0 };
    }
    put(pipes[33][1]);
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(40), NUM(-1)), 1);
    assert_int_equal(fds[33].revents, POLLIN);
    for (int i = 0; i < 40; i++) {
        fd_close(pipes[i][0]);
        fd_close(pipes[i][1]);
    }
}

/* --- select ----------------------------------------------------------------------------------- */

static void test_select(void **state UNUSED)
{
    fd_set in, out;
    struct timeval tv = { 0, 20000 };
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(g_pipe[0], &in);
    FD_SET(g_pipe[1], &out);
    assert_int_equal(CALL(sys_select, NUM(g_pipe[1] + 1), PTR(&in), PTR(&out), NUM(0), PTR(&tv)),
                     1);
    assert_false(FD_ISSET(g_pipe[0], &in));
    assert_true(FD_ISSET(g_pipe[1], &out));
    assert_true(tv.tv_usec > 0);

    FD_SET(g_pipe[0], &in);
    assert_int_equal(CALL(sys_select, NUM(g_pipe[0] + 1), PTR(&in), NUM(0), NUM(0), PTR(&tv)), 0);
    assert_int_equal(tv.tv_usec, 0);
    assert_false(FD_ISSET(g_pipe[0], &in));

    put(g_pipe[1]);
    FD_SET(g_pipe[0], &in);
    struct timespec ts = { 5, 0 };
    uint64_t mask = ~0ull, pair[2] = { PTR(&mask), 8 };
    assert_int_equal(
        CALL(sys_pselect6, NUM(g_pipe[0] + 1), PTR(&in), NUM(0), NUM(0), PTR(&ts), PTR(pair)), 1);
    assert_int_equal(current()->signal.mask, 0);

    FD_SET(200, &in);
    assert_int_equal(CALL(sys_select, NUM(201), PTR(&in), NUM(0), NUM(0), PTR(&tv)), -EBADF);
    assert_int_equal(CALL(sys_select, NUM(-1), NUM(0), NUM(0), NUM(0), PTR(&tv)), -EINVAL);
    tv = (struct timeval){ -1, 0 };
    assert_int_equal(CALL(sys_select, NUM(0), NUM(0), NUM(0), NUM(0), PTR(&tv)), -EINVAL);
}

/* --- epoll ------------------------------------------------------------------------------------ */

static int g_ep;

static int epoll_setup(void **state)
{
    if (setup(state) != 0)
        return -1;
    g_ep = (int)CALL(sys_epoll_create1, NUM(EPOLL_CLOEXEC));
    return g_ep < 0 ? -1 : 0;
}

static int epoll_teardown(void **state)
{
    fd_close(g_ep);
    return teardown(state);
}

static int64_t control(int ep, int op, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = { .events = events, .data = { .u64 = data } };
    return CALL(sys_epoll_ctl, NUM(ep), NUM(op), NUM(fd), PTR(&event));
}

static int64_t wait_ep(int ep, struct epoll_event *events, int max, int ms)
{
    return CALL(sys_epoll_wait, NUM(ep), PTR(events), NUM(max), NUM(ms));
}

static void test_epoll_arguments(void **state UNUSED)
{
    struct epoll_event event;
    int regular = fd_install(file_new(&g_regular_ops, 0, NULL), 0, false);
    static const struct {
        const char *name;
        int op;
        int which; /* 0 the pipe, 1 itself, 2 closed, 3 regular */
        int64_t want;
    } rows[] = {
        { "mod before add", EPOLL_CTL_MOD, 0, -ENOENT },
        { "del before add", EPOLL_CTL_DEL, 0, -ENOENT },
        { "add", EPOLL_CTL_ADD, 0, 0 },
        { "add twice", EPOLL_CTL_ADD, 0, -EEXIST },
        { "mod", EPOLL_CTL_MOD, 0, 0 },
        { "del", EPOLL_CTL_DEL, 0, 0 },
        { "itself", EPOLL_CTL_ADD, 1, -EINVAL },
        { "closed", EPOLL_CTL_ADD, 2, -EBADF },
        { "regular", EPOLL_CTL_ADD, 3, -EPERM },
        { "unknown", 9, 0, -EINVAL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int fd = (int[]){ g_pipe[0], g_ep, 99, regular }[rows[i].which];
        int64_t got = control(g_ep, rows[i].op, fd, EPOLLIN, 0);
        if (got != rows[i].want)
            fail_msg("%s: got %ld", rows[i].name, got);
    }
    assert_int_equal(control(g_pipe[0], EPOLL_CTL_ADD, g_pipe[1], EPOLLIN, 0), -EINVAL);
    assert_int_equal(wait_ep(g_ep, &event, 0, 0), -EINVAL);
    assert_int_equal(wait_ep(g_pipe[0], &event, 1, 0), -EINVAL);
    assert_int_equal(wait_ep(99, &event, 1, 0), -EBADF);
    assert_int_equal(CALL(sys_epoll_wait, NUM(g_ep), NUM(8), NUM(1), NUM(0)), -EFAULT);
    fd_close(regular);
}

static void test_level(void **state UNUSED)
{
    struct epoll_event events[4];
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, g_pipe[0], EPOLLIN, 77), 0);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 0);
    put(g_pipe[1]);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wait_ep(g_ep, events, 4, -1), 1);
        assert_int_equal(events[0].events, EPOLLIN);
        assert_int_equal(events[0].data.u64, 77);
    }
    get(g_pipe[0]);
    assert_int_equal(wait_ep(g_ep, events, 4, 5), 0);
    /* What is ready when it is added counts too. */
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, g_pipe[1], EPOLLOUT, 78), 0);
    assert_int_equal(wait_ep(g_ep, events, 4, -1), 1);
    assert_int_equal(events[0].data.u64, 78);
    assert_int_equal(control(g_ep, EPOLL_CTL_MOD, g_pipe[1], 0, 78), 0);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 0);
    assert_int_equal(control(g_ep, EPOLL_CTL_DEL, g_pipe[1], 0, 0), 0);
}

static void test_edge(void **state UNUSED)
{
    struct epoll_event events[4];
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, g_pipe[0], EPOLLIN | EPOLLET, 1), 0);
    put(g_pipe[1]);
    assert_int_equal(wait_ep(g_ep, events, 4, -1), 1);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 0);
    put(g_pipe[1]); /* more of the same is a new edge */
    assert_int_equal(wait_ep(g_ep, events, 4, -1), 1);
    get(g_pipe[0]);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 0);
    assert_int_equal(control(g_ep, EPOLL_CTL_MOD, g_pipe[0], EPOLLIN | EPOLLET, 2), 0);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 1);
    assert_int_equal(events[0].data.u64, 2);
}

static void test_oneshot(void **state UNUSED)
{
    struct epoll_event events[4];
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, g_pipe[0], EPOLLIN | EPOLLONESHOT, 1), 0);
    put(g_pipe[1]);
    assert_int_equal(wait_ep(g_ep, events, 4, -1), 1);
    put(g_pipe[1]);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 0);
    assert_int_equal(control(g_ep, EPOLL_CTL_MOD, g_pipe[0], EPOLLIN | EPOLLONESHOT, 1), 0);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 1);
}

static void test_close_removes(void **state UNUSED)
{
    struct epoll_event events[4];
    int32_t other[2];
    assert_int_equal(CALL(sys_pipe2, PTR(other), NUM(0)), 0);
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, other[0], EPOLLIN, 5), 0);
    put(other[1]);
    fd_close(other[0]);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 0);
    /* The same number again is another file. */
    int32_t again[2];
    assert_int_equal(CALL(sys_pipe2, PTR(again), NUM(0)), 0);
    assert_int_equal(again[0], other[0]);
    assert_int_equal(control(g_ep, EPOLL_CTL_MOD, again[0], EPOLLIN, 5), -ENOENT);
    fd_close(other[1]);
    fd_close(again[0]);
    fd_close(again[1]);
    /* The instance goes first. */
    int ep = (int)CALL(sys_epoll_create1, NUM(0));
    assert_int_equal(control(ep, EPOLL_CTL_ADD, g_pipe[0], EPOLLIN, 5), 0);
    fd_close(ep);
    put(g_pipe[1]);
}

static void test_nested(void **state UNUSED)
{
    struct epoll_event events[4];
    int inner = (int)CALL(sys_epoll_create1, NUM(0)), chain[8];
    assert_int_equal(control(inner, EPOLL_CTL_ADD, g_pipe[0], EPOLLIN, 1), 0);
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, inner, EPOLLIN, 2), 0);
    assert_int_equal(control(inner, EPOLL_CTL_ADD, g_ep, EPOLLIN, 3), -ELOOP);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 0);
    struct later l = { .fd = g_pipe[1], .ms = 10 };
    thr_start(&l.thr, act_later, &l);
    assert_int_equal(wait_ep(g_ep, events, 4, -1), 1);
    assert_int_equal(events[0].data.u64, 2);
    thr_join(&l.thr);
    assert_int_equal(wait_ep(inner, events, 4, -1), 1);
    struct pollfd fds[1] = { { g_ep, POLLIN, 0 } };
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(0)), 1);
    get(g_pipe[0]);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 0);
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(1), NUM(0)), 0);
    fd_close(inner);

    int64_t last = 0;
    chain[0] = (int)CALL(sys_epoll_create1, NUM(0));
    for (int i = 1; i < 8; i++) {
        chain[i] = (int)CALL(sys_epoll_create1, NUM(0));
        int64_t r = control(chain[i], EPOLL_CTL_ADD, chain[i - 1], EPOLLIN, 0);
        last = r < 0 ? r : last;
    }
    assert_int_equal(last, -ELOOP);
    for (int i = 0; i < 8; i++)
        fd_close(chain[i]);
}

static void test_epoll_host(void **state UNUSED)
{
    struct epoll_event events[4];
    int host[2];
    assert_int_equal(pipe(host), 0);
    int fd = install_host(host[0]);
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, fd, EPOLLIN, 9), 0);
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, g_pipe[0], EPOLLIN, 8), 0);
    assert_int_equal(wait_ep(g_ep, events, 4, 5), 0);
    struct later l = { .fd = g_pipe[1], .ms = 10 };
    thr_start(&l.thr, act_later, &l);
    assert_int_equal(wait_ep(g_ep, events, 4, 5000), 1);
    assert_int_equal(events[0].data.u64, 8);
    thr_join(&l.thr);
    get(g_pipe[0]);
    l = (struct later){ .fd = host[1], .ms = 10, .host = true };
    thr_start(&l.thr, act_later, &l);
    assert_int_equal(wait_ep(g_ep, events, 4, 5000), 1);
    assert_int_equal(events[0].data.u64, 9);
    thr_join(&l.thr);
    put(g_pipe[1]);
    assert_int_equal(wait_ep(g_ep, events, 4, 0), 2);
    assert_int_equal(wait_ep(g_ep, events, 1, 0), 1);
    fd_close(fd);
    close(host[0]);
    close(host[1]);
}

/* One wait names what is ready once (ep_send_events()): who frees it at the first event must not meet it again. */
static void test_epoll_once(void **state UNUSED)
{
    struct epoll_event events[8];
    int host[2];
    assert_int_equal(pipe(host), 0);
    int fd = install_host(host[0]);
    assert_int_equal(write(host[1], "x", 1), 1);
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, fd, EPOLLIN, 9), 0);
    g_thr_epoll_twice = true;
    for (int timeout = 0; timeout <= 5000; timeout += 5000) {
        assert_int_equal(wait_ep(g_ep, events, 8, timeout), 1);
        assert_int_equal(events[0].events, EPOLLIN);
        assert_int_equal(events[0].data.u64, 9);
    }
    g_thr_epoll_twice = false;
    fd_close(fd);
    close(host[0]);
    close(host[1]);
}

/* An instance in an instance is ready here and at the host. */
static void test_epoll_once_nested(void **state UNUSED)
{
    struct epoll_event events[8];
    int host[2];
    assert_int_equal(pipe(host), 0);
    int fd = install_host(host[0]), inner = (int)CALL(sys_epoll_create1, NUM(0));
    assert_int_equal(control(inner, EPOLL_CTL_ADD, fd, EPOLLIN, 1), 0);
    assert_int_equal(control(inner, EPOLL_CTL_ADD, g_pipe[0], EPOLLIN, 2), 0);
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, inner, EPOLLIN, 3), 0);
    assert_int_equal(wait_ep(g_ep, events, 8, 0), 0);
    /* By the host alone, by both, here alone. */
    for (int round = 0; round < 3; round++) {
        char c;
        if (round == 0)
            assert_int_equal(write(host[1], "x", 1), 1);
        if (round == 1)
            put(g_pipe[1]);
        if (round == 2)
            assert_int_equal(read(host[0], &c, 1), 1);
        for (int timeout = 0; timeout <= 5000; timeout += 5000) {
            int64_t got = wait_ep(g_ep, events, 8, timeout);
            if (got != 1 || events[0].data.u64 != 3)
                fail_msg("round %d, timeout %d: %ld events", round, timeout, got);
        }
    }
    get(g_pipe[0]);
    assert_int_equal(wait_ep(g_ep, events, 8, 0), 0);
    fd_close(inner);
    fd_close(fd);
    close(host[0]);
    close(host[1]);
}

/* The host has no instance to give at first, and then, in the middle of a call: whose events are whose stays. */
static void test_poll_late_handle(void **state UNUSED)
{
    int host[2];
    assert_int_equal(pipe(host), 0);
    assert_int_equal(write(host[1], "x", 1), 1);
    int fd = install_host(host[0]);
    struct pollfd fds[2] = { { g_ep, POLLIN, 0 }, { fd, POLLIN, 0 } };
    g_thr_epoll_refused = 1;
    assert_int_equal(CALL(sys_poll, PTR(fds), NUM(2), NUM(0)), 1);
    g_thr_epoll_refused = 0;
    assert_int_equal(fds[0].revents, 0);
    assert_int_equal(fds[1].revents, POLLIN);
    fd_close(fd);
    close(host[0]);
    close(host[1]);
}

/* Added while somebody waits. */
static void add_later(void *arg)
{
    struct later *l = arg;
    thr_sleep_ms(10);
    put(g_pipe[1]);
    assert_int_equal(control(g_ep, EPOLL_CTL_ADD, l->fd, EPOLLIN, 4), 0);
}

static void test_add_while_waiting(void **state UNUSED)
{
    struct epoll_event events[4];
    struct later l = { .fd = g_pipe[0] };
    thr_start(&l.thr, add_later, &l);
    assert_int_equal(wait_ep(g_ep, events, 4, 5000), 1);
    thr_join(&l.thr);
}

#define PAIRS  4
#define ROUNDS 500

struct player {
    struct thr thr;
    int32_t to_us[2], from_us[2];
};

static void answer(void *arg)
{
    struct player *p = arg;
    for (int i = 0; i < ROUNDS; i++) {
        get(p->to_us[0]);
        put(p->from_us[1]);
    }
}

/* Many small messages both ways through one instance: no event is lost. */
static void run_ping_pong(uint32_t mode)
{
    struct player players[PAIRS];
    int counts[PAIRS] = { 0 }, done = 0;
    for (int i = 0; i < PAIRS; i++) {
        assert_int_equal(CALL(sys_pipe2, PTR(players[i].to_us), NUM(0)), 0);
        assert_int_equal(CALL(sys_pipe2, PTR(players[i].from_us), NUM(0)), 0);
        assert_int_equal(
            control(g_ep, EPOLL_CTL_ADD, players[i].from_us[0], EPOLLIN | mode, (uint64_t)i), 0);
        thr_start(&players[i].thr, answer, &players[i]);
        put(players[i].to_us[1]);
    }
    while (done < PAIRS) {
        struct epoll_event events[2];
        int64_t n = wait_ep(g_ep, events, 2, 10000);
        assert_true(n > 0);
        for (int64_t k = 0; k < n; k++) {
            int i = (int)events[k].data.u64;
            get(players[i].from_us[0]);
            if (++counts[i] == ROUNDS)
                done++;
            else
                put(players[i].to_us[1]);
        }
    }
    for (int i = 0; i < PAIRS; i++) {
        thr_join(&players[i].thr);
        for (int k = 0; k < 2; k++) {
            fd_close(players[i].to_us[k]);
            fd_close(players[i].from_us[k]);
        }
    }
}

static void test_ping_pong(void **state UNUSED)
{
    run_ping_pong(0);
    run_ping_pong(EPOLLET);
}

/* --- signals ---------------------------------------------------------------------------------- */

struct blocked {
    struct thr thr;
    int how;
    int64_t ret;
    bool kept_mask;
};

static void block_in(void *arg)
{
    struct blocked *b = arg;
    struct pollfd fds[1] = { { g_pipe[0], POLLIN, 0 } };
    struct epoll_event events[1];
    uint64_t none = 0, all = 1ull << (SIGUSR1 - 1), pair[2] = { PTR(&none), 8 };
    fd_set in;
    FD_ZERO(&in);
    CALL(sys_rt_sigprocmask, NUM(SIG_SETMASK), b->how >= 3 ? PTR(&all) : PTR(&none), NUM(0),
         NUM(8));
    switch (b->how) {
    case 0: b->ret = CALL(sys_poll, PTR(fds), NUM(1), NUM(-1)); break;
    case 1: b->ret = CALL(sys_select, NUM(0), NUM(0), NUM(0), NUM(0), NUM(0)); break;
    case 2: b->ret = wait_ep(g_ep, events, 1, -1); break;
    case 3: b->ret = CALL(sys_ppoll, PTR(fds), NUM(1), NUM(0), PTR(&none), NUM(8)); break;
    case 4: b->ret = CALL(sys_pselect6, NUM(0), NUM(0), NUM(0), NUM(0), NUM(0), PTR(pair)); break;
    case 5:
        b->ret = CALL(sys_epoll_pwait, NUM(g_ep), PTR(events), NUM(1), NUM(-1), PTR(&none), NUM(8));
        break;
    }
    b->kept_mask = current()->signal.have_saved_mask == (b->how >= 3);
}

static void test_signals_interrupt(void **state UNUSED)
{
    static const int64_t want[] = { -516, -514, -EINTR, -514, -514, -EINTR };
    uint64_t action[4] = { 0x1000, 0x04000000, 0x1000, 0 };
    CALL(sys_rt_sigaction, NUM(SIGUSR1), PTR(action), NUM(0), NUM(8));
    for (int how = 0; how < 6; how++) {
        struct blocked b = { .how = how };
        thr_start(&b.thr, block_in, &b);
        thr_wait_parked(b.thr.thread);
        CALL(sys_tgkill, NUM(process_pid()), NUM(b.thr.tid), NUM(SIGUSR1));
        thr_join(&b.thr);
        if (b.ret != want[how] || !b.kept_mask)
            fail_msg("call %d: got %ld", how, b.ret);
    }
}

#define TEST(fn)  cmocka_unit_test_setup_teardown(fn, setup, teardown)
#define EPOLL(fn) cmocka_unit_test_setup_teardown(fn, epoll_setup, epoll_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_poll),
        TEST(test_poll_hangup),
        TEST(test_poll_wakes),
        TEST(test_lying_host),
        TEST(test_many_poll),
        TEST(test_select),
        EPOLL(test_epoll_arguments),
        EPOLL(test_level),
        EPOLL(test_edge),
        EPOLL(test_oneshot),
        EPOLL(test_close_removes),
        EPOLL(test_nested),
        EPOLL(test_epoll_host),
        EPOLL(test_epoll_once),
        EPOLL(test_epoll_once_nested),
        EPOLL(test_poll_late_handle),
        EPOLL(test_add_while_waiting),
        EPOLL(test_ping_pong),
        EPOLL(test_signals_interrupt),
    };
    return cmocka_run_group_tests(tests, thr_setup, NULL);
}
