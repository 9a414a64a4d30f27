/* Pipes, event descriptors, socket pairs (src/enclave/ipc/, sys/socket.c). */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "border/border.h"
#include "thr_fakes.h"
#include "thread/threads.h"
#include "vfs/file.h"

sys_fn sys_pipe2, sys_eventfd2, sys_socket, sys_socketpair, sys_sendto, sys_recvfrom, sys_sendmsg,
    sys_recvmsg, sys_shutdown, sys_getsockopt, sys_rt_sigprocmask, sys_rt_sigpending,
    sys_rt_sigaction, sys_connect, sys_listen, sys_bind, sys_accept4, sys_getpeername,
    sys_getsockname;

static int64_t do_read(int fd, void *buf, uint64_t size)
{
    struct file *file = fd_get(fd);
    int64_t ret = file ? file->ops->read(file, buf, size, NULL) : -EBADF;
    file_unref(file);
    return ret;
}

static int64_t do_write(int fd, const void *buf, uint64_t size)
{
    struct file *file = fd_get(fd);
    int64_t ret = file ? file->ops->write(file, buf, size, NULL) : -EBADF;
    file_unref(file);
    return ret;
}

static int64_t do_ioctl(int fd, uint64_t request, uint64_t arg)
{
    struct file *file = fd_get(fd);
    int64_t ret = file->ops->ioctl(file, request, arg);
    file_unref(file);
    return ret;
}

static void make_pipe(int32_t fds[2], uint64_t flags)
{
    assert_int_equal(CALL(sys_pipe2, PTR(fds), flags), 0);
}

static void close_both(const int32_t fds[2])
{
    fd_close(fds[0]);
    fd_close(fds[1]);
}

static int block_sigpipe(void **state UNUSED)
{
    uint64_t mask = 1ull << (SIGPIPE - 1);
    CALL(sys_rt_sigprocmask, NUM(SIG_SETMASK), PTR(&mask), NUM(0), NUM(8));
    return thr_fd_count() == 0 ? 0 : -1;
}

static int nothing_left(void **state UNUSED)
{
    return thr_fd_count() == 0 ? 0 : -1;
}

/* Takes the pending SIGPIPE away again. */
static bool had_sigpipe(void)
{
    uint64_t set = 0, action[4] = { 1 /* SIG_IGN */ };
    CALL(sys_rt_sigpending, PTR(&set), NUM(8));
    CALL(sys_rt_sigaction, NUM(SIGPIPE), PTR(action), NUM(0), NUM(8));
    action[0] = 0;
    CALL(sys_rt_sigaction, NUM(SIGPIPE), PTR(action), NUM(0), NUM(8));
    return set >> (SIGPIPE - 1) & 1;
}

/* --- pipes ------------------------------------------------------------------------------------ */

static void test_pipe_basics(void **state UNUSED)
{
    int32_t fds[2], left;
    char buf[16];
    assert_int_equal(CALL(sys_pipe2, PTR(fds), NUM(O_DIRECT)), -EINVAL);
    assert_int_equal(CALL(sys_pipe2, NUM(8), NUM(0)), -EFAULT);
    assert_int_equal(thr_fd_count(), 0);

    make_pipe(fds, O_NONBLOCK);
    assert_int_equal(do_read(fds[0], buf, sizeof(buf)), -EAGAIN);
    assert_int_equal(do_write(fds[1], "hello", 5), 5);
    assert_int_equal(do_ioctl(fds[0], FIONREAD, PTR(&left)), 0);
    assert_int_equal(left, 5);
    assert_int_equal(do_read(fds[0], buf, 2), 2);
    assert_int_equal(do_write(fds[1], " world", 6), 6);
    assert_int_equal(do_read(fds[0], buf, sizeof(buf)), 9);
    assert_memory_equal(buf, "llo world", 9);
    assert_int_equal(do_read(fds[0], buf, 0), 0);
    assert_int_equal(do_read(fds[1], buf, 1), -EBADF);
    assert_int_equal(do_write(fds[0], buf, 1), -EBADF);
    /* A fault loses nothing. */
    assert_int_equal(do_write(fds[1], "x", 1), 1);
    assert_int_equal(do_read(fds[0], (void *)8, 1), -EFAULT);
    assert_int_equal(do_write(fds[1], (void *)8, 1), -EFAULT);
    assert_int_equal(do_read(fds[0], buf, 9), 1);

    assert_int_equal(do_write(fds[1], "end", 3), 3);
    fd_close(fds[1]);
    assert_int_equal(do_read(fds[0], buf, 16), 3);
    assert_int_equal(do_read(fds[0], buf, 16), 0);
    fd_close(fds[0]);
}

static void test_broken_pipe(void **state UNUSED)
{
    int32_t fds[2];
    make_pipe(fds, 0);
    fd_close(fds[0]);
    assert_int_equal(do_write(fds[1], "x", 1), -EPIPE);
    assert_true(had_sigpipe());
    fd_close(fds[1]);
}

static void test_capacity_and_atomicity(void **state UNUSED)
{
    int32_t fds[2];
    static char big[70000];
    make_pipe(fds, O_NONBLOCK);
    assert_int_equal(do_ioctl(fds[0], F_GETPIPE_SZ, 0), 65536);
    assert_int_equal(do_write(fds[1], big, sizeof(big)), 65536);
    assert_int_equal(do_write(fds[1], big, 1), -EAGAIN);
    assert_int_equal(do_read(fds[0], big, 4000), 4000);
    /* 4,000 bytes of room: 4,096 in one piece do not fit, a larger write may be cut. */
    assert_int_equal(do_write(fds[1], big, 4096), -EAGAIN);
    assert_int_equal(do_write(fds[1], big, 5000), 4000);
    assert_int_equal(do_ioctl(fds[1], F_SETPIPE_SZ, 4096), -EBUSY);
    assert_int_equal(do_ioctl(fds[1], F_SETPIPE_SZ, 100000), 131072);
    assert_int_equal(do_write(fds[1], big, 4096), 4096);
    assert_int_equal(do_ioctl(fds[1], F_SETPIPE_SZ, 8 << 20), -EPERM);
    close_both(fds);
}

/* Content across the end of the ring and across a change of size. */
static void test_ring(void **state UNUSED)
{
    int32_t fds[2];
    static uint8_t out[5000], in[5000];
    uint8_t next_out = 0, next_in = 0;
    make_pipe(fds, O_NONBLOCK);
    assert_int_equal(do_ioctl(fds[0], F_SETPIPE_SZ, 8192), 8192);
    for (int round = 0; round < 60; round++) {
        size_t size = (size_t)(round * 977 % 5000 + 1);
        for (size_t i = 0; i < size; i++)
            out[i] = next_out++;
        int64_t n = do_write(fds[1], out, size);
        if (n < 0)
            n = 0;
        next_out = (uint8_t)(next_out - (size - (size_t)n));
        if (round == 30)
            assert_int_equal(do_ioctl(fds[0], F_SETPIPE_SZ, 16384), 16384);
        n = do_read(fds[0], in, (size_t)(round * 613 % 5000 + 1));
        for (int64_t i = 0; i < n; i++)
            assert_int_equal(in[i], next_in++);
    }
    close_both(fds);
}

struct copy {
    struct thr thr;
    int fd;
    uint64_t size, chunk;
    uint64_t sum;
    int64_t last;
};

static void produce(void *arg)
{
    struct copy *c = arg;
    uint8_t buf[9000];
    uint64_t sent = 0;
    while (sent < c->size) {
        uint64_t n = c->chunk < c->size - sent ? c->chunk : c->size - sent;
        for (uint64_t i = 0; i < n; i++) {
            buf[i] = (uint8_t)((sent + i) * 7);
            c->sum += buf[i];
        }
        c->last = do_write(c->fd, buf, n);
        if (c->last < 0)
            break;
        /* A short write: the rest again. */
        for (uint64_t i = (uint64_t)c->last; i < n; i++)
            c->sum -= buf[i];
        sent += (uint64_t)c->last;
    }
    fd_close(c->fd);
}

static void test_blocking_copy(void **state UNUSED)
{
    static const uint64_t chunks[][2] = { { 1, 3 }, { 4096, 4096 }, { 9000, 700 }, { 100, 9000 } };
    for (size_t k = 0; k < ARRAY_SIZE(chunks); k++) {
        int32_t fds[2];
        uint8_t buf[9000];
        uint64_t sum = 0, total = 0;
        make_pipe(fds, 0);
        struct copy c = { .fd = fds[1],
                          .size = chunks[k][0] == 1 ? 3000 : 400000,
                          .chunk = chunks[k][0] };
        thr_start(&c.thr, produce, &c);
        int64_t n;
        while ((n = do_read(fds[0], buf, chunks[k][1])) > 0) {
            for (int64_t i = 0; i < n; i++) {
                assert_int_equal(buf[i], (uint8_t)((total + (uint64_t)i) * 7));
                sum += buf[i];
            }
            total += (uint64_t)n;
        }
        thr_join(&c.thr);
        assert_int_equal(n, 0);
        assert_int_equal(total, c.size);
        assert_int_equal(sum, c.sum);
        fd_close(fds[0]);
    }
}

static void write_big(void *arg)
{
    struct copy *c = arg;
    static char big[100000];
    c->last = do_write(c->fd, big, sizeof(big));
}

static void test_reader_goes_while_writer_waits(void **state UNUSED)
{
    int32_t fds[2];
    make_pipe(fds, 0);
    struct copy c = { .fd = fds[1] };
    uint64_t mask = ~0ull;
    CALL(sys_rt_sigprocmask, NUM(SIG_SETMASK), PTR(&mask), NUM(0), NUM(8)); /* inherited */
    thr_start(&c.thr, write_big, &c);
    thr_wait_parked(c.thr.thread);
    fd_close(fds[0]);
    thr_join(&c.thr);
    assert_int_equal(c.last, 65536); /* a partial write, no error yet */
    fd_close(fds[1]);
}

/* Several writers of PIPE_BUF-sized records, several readers: no record is torn. */
struct record {
    uint32_t writer, number;
    uint8_t fill[1000];
};

static void write_records(void *arg)
{
    struct copy *c = arg;
    struct record r = { .writer = (uint32_t)c->sum };
    memset(r.fill, (int)c->sum, sizeof(r.fill));
    for (r.number = 0; r.number < c->size; r.number++) {
        if (do_write(c->fd, &r, sizeof(r)) != (int64_t)sizeof(r))
            abort();
    }
}

static void test_records_are_whole(void **state UNUSED)
{
    int32_t fds[2];
    struct copy writers[3];
    uint32_t next[4] = { 0 };
    make_pipe(fds, 0);
    for (uint32_t i = 0; i < 3; i++) {
        writers[i] = (struct copy){ .fd = fds[1], .size = 300, .sum = i + 1 };
        thr_start(&writers[i].thr, write_records, &writers[i]);
    }
    for (int i = 0; i < 900; i++) {
        struct record r;
        size_t have = 0;
        while (have < sizeof(r)) {
            int64_t n = do_read(fds[0], (uint8_t *)&r + have, sizeof(r) - have);
            assert_true(n > 0);
            have += (size_t)n;
        }
        assert_int_equal(r.number, next[r.writer]++);
        for (size_t k = 0; k < sizeof(r.fill); k++)
            assert_int_equal(r.fill[k], r.writer);
    }
    for (int i = 0; i < 3; i++)
        thr_join(&writers[i].thr);
    close_both(fds);
}

/* --- event descriptors ------------------------------------------------------------------------ */

static void test_eventfd(void **state UNUSED)
{
    uint64_t value = 0;
    int fd = (int)CALL(sys_eventfd2, NUM(3), NUM(EFD_NONBLOCK));
    assert_true(fd >= 0);
    assert_int_equal(do_read(fd, &value, 7), -EINVAL);
    assert_int_equal(do_read(fd, &value, 8), 8);
    assert_int_equal(value, 3);
    assert_int_equal(do_read(fd, &value, 8), -EAGAIN);
    value = UINT64_MAX;
    assert_int_equal(do_write(fd, &value, 8), -EINVAL);
    value = UINT64_MAX - 1;
    assert_int_equal(do_write(fd, &value, 8), 8);
    value = 1;
    assert_int_equal(do_write(fd, &value, 8), -EAGAIN);
    assert_int_equal(do_write(fd, &value, 4), -EINVAL);
    fd_close(fd);

    fd = (int)CALL(sys_eventfd2, NUM(2), NUM(EFD_SEMAPHORE | EFD_NONBLOCK));
    for (int i = 0; i < 2; i++) {
        assert_int_equal(do_read(fd, &value, 8), 8);
        assert_int_equal(value, 1);
    }
    assert_int_equal(do_read(fd, &value, 8), -EAGAIN);
    fd_close(fd);
    assert_int_equal(CALL(sys_eventfd2, NUM(0), NUM(2)), -EINVAL);
}

static void signal_event(void *arg)
{
    struct copy *c = arg;
    for (uint64_t i = 0; i < c->size; i++) {
        uint64_t one = 1;
        do_write(c->fd, &one, 8);
    }
}

static void test_eventfd_wakes(void **state UNUSED)
{
    struct copy c = { .size = 2000 };
    uint64_t value, sum = 0;
    c.fd = (int)CALL(sys_eventfd2, NUM(0), NUM(0));
    thr_start(&c.thr, signal_event, &c);
    while (sum < c.size) {
        assert_int_equal(do_read(c.fd, &value, 8), 8);
        sum += value;
    }
    thr_join(&c.thr);
    assert_int_equal(sum, 2000);
    fd_close(c.fd);
}

/* --- socket pairs ----------------------------------------------------------------------------- */

static void make_sockets(int32_t fds[2], uint64_t type)
{
    assert_int_equal(CALL(sys_socketpair, NUM(AF_UNIX), type, NUM(0), PTR(fds)), 0);
}

static void test_socketpair_refused(void **state UNUSED)
{
    int32_t fds[2];
    assert_int_equal(CALL(sys_socketpair, NUM(AF_INET), NUM(SOCK_STREAM), NUM(0), PTR(fds)),
                     -EAFNOSUPPORT);
    assert_int_equal(CALL(sys_socketpair, NUM(AF_UNIX), NUM(SOCK_RAW), NUM(0), PTR(fds)),
                     -ESOCKTNOSUPPORT);
    assert_int_equal(CALL(sys_socketpair, NUM(AF_UNIX), NUM(SOCK_STREAM), NUM(7), PTR(fds)),
                     -EPROTONOSUPPORT);
    assert_int_equal(CALL(sys_socketpair, NUM(AF_UNIX), NUM(SOCK_STREAM), NUM(0), NUM(8)), -EFAULT);
    assert_int_equal(CALL(sys_socket, NUM(99), NUM(SOCK_STREAM), NUM(0)), -EAFNOSUPPORT);
    assert_int_equal(CALL(sys_sendto, NUM(77), PTR(fds), NUM(1)), -EBADF);
    make_pipe(fds, 0);
    assert_int_equal(CALL(sys_sendto, NUM(fds[1]), PTR(fds), NUM(1)), -ENOTSOCK);
    close_both(fds);
}

static void test_socketpair(void **state UNUSED)
{
    int32_t fds[2];
    char buf[32];
    make_sockets(fds, SOCK_STREAM | SOCK_NONBLOCK);
    assert_int_equal(CALL(sys_recvfrom, NUM(fds[0]), PTR(buf), NUM(9)), -EAGAIN);
    assert_int_equal(CALL(sys_sendto, NUM(fds[0]), PTR("ping"), NUM(4)), 4);
    assert_int_equal(do_write(fds[1], "pong!", 5), 5);
    assert_int_equal(CALL(sys_recvfrom, NUM(fds[1]), PTR(buf), NUM(9), NUM(MSG_PEEK)), 4);
    assert_int_equal(do_read(fds[1], buf, 9), 4);
    assert_memory_equal(buf, "ping", 4);
    assert_int_equal(do_read(fds[0], buf, 9), 5);
    struct sockaddr_un nobody = { .sun_family = AF_UNIX, .sun_path = "\0nobody" };
    assert_int_equal(CALL(sys_connect, NUM(fds[0]), PTR(&nobody), NUM(9)), -EISCONN);
    assert_int_equal(CALL(sys_connect, NUM(fds[0]), PTR("\7\7\7"), NUM(3)), -EINVAL);

    struct iovec iov[2] = { { buf, 3 }, { buf + 10, 10 } };
    struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };
    assert_int_equal(CALL(sys_sendto, NUM(fds[0]), PTR("abcdef"), NUM(6)), 6);
    assert_int_equal(CALL(sys_recvmsg, NUM(fds[1]), PTR(&message), NUM(0)), 6);
    assert_memory_equal(buf, "abc", 3);
    assert_memory_equal(buf + 10, "def", 3);
    iov[1].iov_len = 3;
    assert_int_equal(CALL(sys_sendmsg, NUM(fds[1]), PTR(&message), NUM(0)), 6);
    assert_int_equal(CALL(sys_recvfrom, NUM(fds[0]), PTR(buf), NUM(sizeof(buf)), NUM(MSG_DONTWAIT)),
                     6);

    int32_t type = 0;
    uint32_t size = sizeof(type);
    assert_int_equal(
        CALL(sys_getsockopt, NUM(fds[0]), NUM(SOL_SOCKET), NUM(SO_TYPE), PTR(&type), PTR(&size)),
        0);
    assert_int_equal(type, SOCK_STREAM);
    close_both(fds);
}

/* Sockets that keep the borders of messages, in one process. */
static void test_packets(void **state UNUSED)
{
    static char much[300000];
    static const uint64_t types[] = { SOCK_SEQPACKET, SOCK_DGRAM };
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        int32_t fds[2], type;
        uint32_t size = sizeof(type);
        char buf[32];
        make_sockets(fds, types[i] | SOCK_NONBLOCK);
        assert_int_equal(CALL(sys_getsockopt, NUM(fds[0]), NUM(SOL_SOCKET), NUM(SO_TYPE),
                              PTR(&type), PTR(&size)),
                         0);
        assert_int_equal(type, types[i]);
        assert_int_equal(do_write(fds[0], "one", 3), 3);
        assert_int_equal(do_write(fds[0], "second", 6), 6);
        assert_int_equal(do_write(fds[0], "3", 1), 1);
        assert_int_equal(CALL(sys_recvfrom, NUM(fds[1]), PTR(buf), NUM(9), NUM(MSG_PEEK)), 3);
        assert_int_equal(do_read(fds[1], buf, 9), 3);
        assert_int_equal(do_read(fds[1], buf, 2), 2); /* the rest is lost */
        assert_int_equal(do_read(fds[1], buf, 9), 1);
        assert_int_equal(buf[0], '3');
        assert_int_equal(do_read(fds[1], buf, 9), -EAGAIN);
        assert_int_equal(do_write(fds[0], much, sizeof(much)), -EMSGSIZE);
        struct iovec iov[2] = { { "ab", 2 }, { "cde", 3 } };
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };
        assert_int_equal(CALL(sys_sendmsg, NUM(fds[0]), PTR(&message), NUM(0)), 5);
        iov[0] = (struct iovec){ buf, 4 };
        iov[1] = (struct iovec){ buf + 10, 4 };
        assert_int_equal(CALL(sys_recvmsg, NUM(fds[1]), PTR(&message), NUM(0)), 5);
        assert_memory_equal(buf, "abcd", 4);
        assert_int_equal(buf[10], 'e');
        /* Round and round the ring. */
        for (int n = 0; n < 300; n++) {
            assert_int_equal(do_write(fds[0], much, 5000), 5000);
            assert_int_equal(do_read(fds[1], much, 9000), 5000);
        }
        fd_close(fds[0]);
        assert_int_equal(do_read(fds[1], buf, 9), types[i] == SOCK_DGRAM ? -EAGAIN : 0);
        assert_int_equal(CALL(sys_sendto, NUM(fds[1]), PTR("x"), NUM(1), NUM(MSG_NOSIGNAL)),
                         types[i] == SOCK_DGRAM ? -ECONNREFUSED : -EPIPE);
        fd_close(fds[1]);
    }
}

struct sender {
    struct thr thr;
    int32_t fd;
    int64_t sent;
};

static void send_one(void *arg)
{
    struct sender *s = arg;
    s->sent = CALL(sys_sendto, NUM(s->fd), PTR("late"), NUM(4), NUM(0), NUM(0), NUM(0));
}

/* Names that are made up; a sender waits for room in a queue that is not its own. */
static void test_datagrams(void **state UNUSED)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX }, got;
    uint32_t size = sizeof(name), count = 0;
    char buf[8];
    int64_t to = CALL(sys_socket, NUM(AF_UNIX), NUM(SOCK_DGRAM | SOCK_NONBLOCK), NUM(0));
    int64_t from = CALL(sys_socket, NUM(AF_UNIX), NUM(SOCK_DGRAM), NUM(0));
    assert_true(to >= 0 && from >= 0);
    assert_int_equal(CALL(sys_bind, NUM(to), PTR(&name), NUM(2)), 0);
    assert_int_equal(CALL(sys_getsockname, NUM(to), PTR(&name), PTR(&size)), 0);
    assert_int_equal(size, 8);
    assert_int_equal(name.sun_path[0], 0);
    assert_int_equal(strspn(name.sun_path + 1, "0123456789abcdef"), 5);
    assert_int_equal(CALL(sys_bind, NUM(to), PTR(&name), NUM(2)), 0); /* it has one */
    assert_int_equal(CALL(sys_bind, NUM(to), PTR(&name), NUM(8)), -EINVAL);
    assert_int_equal(CALL(sys_connect, NUM(from), PTR(&name), NUM(8)), 0);
    while (CALL(sys_sendto, NUM(from), PTR("x"), NUM(1), NUM(MSG_DONTWAIT), NUM(0), NUM(0)) == 1)
        count++;
    assert_in_range(count, 1, 1000);
    struct sender s = { .fd = (int32_t)from };
    thr_start(&s.thr, send_one, &s);
    thr_wait_parked(s.thr.thread);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(CALL(sys_recvfrom, NUM(to), PTR(buf), NUM(8), NUM(0), NUM(0), NUM(0)), 1);
    thr_join(&s.thr);
    assert_int_equal(s.sent, 4);
    size = sizeof(got);
    assert_int_equal(CALL(sys_recvfrom, NUM(to), PTR(buf), NUM(8), NUM(0), PTR(&got), PTR(&size)),
                     4);
    assert_int_equal(size, 0); /* who sent has no name */
    /* The other way it waits for one that goes. */
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(CALL(sys_sendto, NUM(from), PTR("x"), NUM(1), NUM(0), NUM(0), NUM(0)), 1);
    thr_start(&s.thr, send_one, &s);
    thr_wait_parked(s.thr.thread);
    fd_close((int)to);
    thr_join(&s.thr);
    assert_int_equal(s.sent, -ECONNREFUSED);
    fd_close((int)from);
}

/* Descriptors travel with the first byte that was sent with them. */
static void test_rights(void **state UNUSED)
{
    int32_t fds[2], pipes[2], *sent, got;
    char buf[32], control[CMSG_SPACE(2 * sizeof(int32_t))];
    struct iovec iov = { "abc", 3 };
    struct msghdr message = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = control,
                              .msg_controllen = CMSG_SPACE(sizeof(int32_t)) };
    make_sockets(fds, SOCK_STREAM | SOCK_NONBLOCK);
    assert_int_equal(CALL(sys_pipe2, PTR(pipes), NUM(0)), 0);
    memset(control, 0, sizeof(control));
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){ CMSG_LEN(sizeof(int32_t)), SOL_SOCKET, SCM_RIGHTS };
    sent = (int32_t *)(void *)CMSG_DATA(head);
    *sent = pipes[1];
    assert_int_equal(do_write(fds[0], "12", 2), 2);
    assert_int_equal(CALL(sys_sendmsg, NUM(fds[0]), PTR(&message), NUM(0)), 3);
    *sent = 99;
    assert_int_equal(CALL(sys_sendmsg, NUM(fds[0]), PTR(&message), NUM(0)), -EBADF);
    *sent = pipes[0];
    assert_int_equal(CALL(sys_sendmsg, NUM(fds[0]), PTR(&message), NUM(0)), 3);
    fd_close(pipes[1]);

    struct iovec in = { buf, sizeof(buf) };
    message = (struct msghdr){
        .msg_iov = &in, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    assert_int_equal(CALL(sys_recvmsg, NUM(fds[1]), PTR(&message), NUM(0)), 2);
    assert_int_equal(message.msg_controllen, 0);
    message.msg_controllen = sizeof(control);
    assert_int_equal(CALL(sys_recvmsg, NUM(fds[1]), PTR(&message), NUM(0)), 3);
    assert_int_equal(head->cmsg_len, CMSG_LEN(sizeof(int32_t)));
    assert_int_equal(head->cmsg_type, SCM_RIGHTS);
    got = *(int32_t *)(void *)CMSG_DATA(head);
    assert_int_equal(do_write(got, "through", 7), 7);
    assert_int_equal(do_read(pipes[0], buf, 9), 7);
    fd_close(got);
    assert_int_equal(do_read(pipes[0], buf, 9), 0);
    fd_close(pipes[0]);
    /* Read without room for descriptors: they are closed. */
    assert_int_equal(do_read(fds[1], buf, 9), 3);
    /* Never received: they go with the socket. */
    *sent = fds[0];
    message = (struct msghdr){ .msg_iov = &iov,
                               .msg_iovlen = 1,
                               .msg_control = control,
                               .msg_controllen = CMSG_SPACE(sizeof(int32_t)) };
    head->cmsg_len = 3;
    assert_int_equal(CALL(sys_sendmsg, NUM(fds[0]), PTR(&message), NUM(0)), -EINVAL);
    close_both(fds);
}

#define CHAIN 200

static uintptr_t g_stack_at_end;

static void note_stack(struct file *file UNUSED)
{
    g_stack_at_end = (uintptr_t)__builtin_frame_address(0);
}

static const struct file_ops g_last_ops = { .name = "last", .release = note_stack };

static void send_fd(int socket, int32_t fd)
{
    char control[CMSG_SPACE(sizeof(int32_t))] = { 0 };
    struct iovec iov = { "x", 1 };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){ CMSG_LEN(sizeof(int32_t)), SOL_SOCKET, SCM_RIGHTS };
    *(int32_t *)(void *)CMSG_DATA(head) = fd;
    assert_int_equal(CALL(sys_sendmsg, NUM(socket), PTR(&message), NUM(0)), 1);
}

/* Sockets that are on their way in one another, as many as one likes: to drop them all takes no stack. */
static void test_rights_chain(void **state UNUSED)
{
    int last = fd_install(file_new(&g_last_ops, 0, NULL), 0, false);
    for (int i = 0; i < CHAIN; i++) {
        int32_t fds[2];
        make_sockets(fds, SOCK_STREAM | SOCK_NONBLOCK);
        send_fd(fds[0], last);
        fd_close(last);
        fd_close(fds[0]);
        last = fds[1];
    }
    g_stack_at_end = 0;
    fd_close(last);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    assert_true(g_stack_at_end != 0);
    if (here - g_stack_at_end > CHAIN * 16)
        fail_msg("%lu bytes of stack for %d sockets", here - g_stack_at_end, CHAIN);
}

/* Names, listening, accepting; abstract names only: there are no files here. */
static void test_listen(void **state UNUSED)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "\0name" }, got;
    uint32_t size = 7, got_size = sizeof(got);
    char buf[8];
    int64_t server = CALL(sys_socket, NUM(AF_UNIX), NUM(SOCK_STREAM | SOCK_NONBLOCK), NUM(0));
    int64_t client = CALL(sys_socket, NUM(AF_UNIX), NUM(SOCK_STREAM), NUM(0));
    assert_true(server >= 0 && client >= 0);
    assert_int_equal(CALL(sys_connect, NUM(client), PTR(&name), NUM(size)), -ECONNREFUSED);
    assert_int_equal(CALL(sys_listen, NUM(server), NUM(1)), -EINVAL);
    assert_int_equal(CALL(sys_bind, NUM(server), PTR(&name), NUM(size)), 0);
    assert_int_equal(CALL(sys_bind, NUM(client), PTR(&name), NUM(size)), -EADDRINUSE);
    assert_int_equal(CALL(sys_connect, NUM(client), PTR(&name), NUM(size)), -ECONNREFUSED);
    assert_int_equal(CALL(sys_listen, NUM(server), NUM(1)), 0);
    assert_int_equal(CALL(sys_accept4, NUM(server), NUM(0), NUM(0), NUM(0)), -EAGAIN);
    assert_int_equal(CALL(sys_sendto, NUM(client), PTR("x"), NUM(1), NUM(MSG_NOSIGNAL)), -ENOTCONN);
    assert_int_equal(CALL(sys_connect, NUM(client), PTR(&name), NUM(size)), 0);
    assert_int_equal(do_write((int)client, "hello", 5), 5);
    int64_t peer = CALL(sys_accept4, NUM(server), PTR(&got), PTR(&got_size), NUM(0));
    assert_true(peer >= 0);
    assert_int_equal(got_size, 2);
    assert_int_equal(do_read((int)peer, buf, 8), 5);
    assert_int_equal(do_write((int)peer, "back", 4), 4);
    assert_int_equal(do_read((int)client, buf, 8), 4);
    got_size = sizeof(got);
    assert_int_equal(CALL(sys_getpeername, NUM(client), PTR(&got), PTR(&got_size)), 0);
    assert_int_equal(got_size, size);
    assert_memory_equal(&got, &name, size);
    int64_t late = CALL(sys_socket, NUM(AF_UNIX), NUM(SOCK_STREAM), NUM(0));
    assert_int_equal(CALL(sys_connect, NUM(late), PTR(&name), NUM(size)), 0);
    fd_close((int)server);
    assert_int_equal(do_read((int)late, buf, 8), 0); /* never accepted */
    fd_close((int)peer);
    assert_int_equal(do_read((int)client, buf, 8), 0);
    fd_close((int)client);
    client = CALL(sys_socket, NUM(AF_UNIX), NUM(SOCK_STREAM), NUM(0));
    assert_int_equal(CALL(sys_connect, NUM(client), PTR(&name), NUM(size)), -ECONNREFUSED);
    fd_close((int)client);
    fd_close((int)late);
}

static void test_socket_shutdown(void **state UNUSED)
{
    int32_t fds[2];
    char buf[8];
    make_sockets(fds, SOCK_STREAM);
    assert_int_equal(CALL(sys_sendto, NUM(fds[0]), PTR("last"), NUM(4)), 4);
    assert_int_equal(CALL(sys_shutdown, NUM(fds[0]), NUM(SHUT_WR)), 0);
    assert_int_equal(CALL(sys_sendto, NUM(fds[0]), PTR("x"), NUM(1), NUM(MSG_NOSIGNAL)), -EPIPE);
    assert_false(had_sigpipe());
    assert_int_equal(do_write(fds[0], "x", 1), -EPIPE);
    assert_true(had_sigpipe());
    assert_int_equal(do_read(fds[1], buf, 8), 4);
    assert_int_equal(do_read(fds[1], buf, 8), 0);
    /* The other way still works. */
    assert_int_equal(do_write(fds[1], "back", 4), 4);
    assert_int_equal(do_read(fds[0], buf, 8), 4);
    assert_int_equal(CALL(sys_shutdown, NUM(fds[0]), NUM(SHUT_RD)), 0);
    assert_int_equal(do_read(fds[0], buf, 8), 0);
    assert_int_equal(CALL(sys_sendto, NUM(fds[1]), PTR("x"), NUM(1), NUM(MSG_NOSIGNAL)), -EPIPE);
    fd_close(fds[1]);
    fd_close(fds[0]);

    make_sockets(fds, SOCK_STREAM);
    fd_close(fds[1]);
    assert_int_equal(do_read(fds[0], buf, 8), 0);
    assert_int_equal(CALL(sys_sendto, NUM(fds[0]), PTR("x"), NUM(1), NUM(MSG_NOSIGNAL)), -EPIPE);
    fd_close(fds[0]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, block_sigpipe, nothing_left)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_pipe_basics),
        TEST(test_broken_pipe),
        TEST(test_capacity_and_atomicity),
        TEST(test_ring),
        TEST(test_blocking_copy),
        TEST(test_reader_goes_while_writer_waits),
        TEST(test_records_are_whole),
        TEST(test_eventfd),
        TEST(test_eventfd_wakes),
        TEST(test_socketpair_refused),
        TEST(test_socketpair),
        TEST(test_packets),
        TEST(test_datagrams),
        TEST(test_rights),
        TEST(test_rights_chain),
        TEST(test_listen),
        TEST(test_socket_shutdown),
    };
    return cmocka_run_group_tests(tests, thr_setup, NULL);
}
