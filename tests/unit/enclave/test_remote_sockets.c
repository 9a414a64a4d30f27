/* Sockets that several processes share, and descriptors that go through them (remote_world.h). */
#include "remote_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "net/net.h"
#include "vfs/host/host.h"
#include "vfs/remote/remote.h"

static void socket_body(void)
{
    remote_start(1);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    CHECK_EQ(WRITE(g_fds[0], "to b"), 4, "write");
    CHECK_EQ(WRITE(g_fds[1], "to a"), 4, "write");
    CHECK_EQ(SYS(shutdown, U(g_fds[1]), SHUT_WR), 0, "shutdown");
    remote_start_b(1, true);
    SAYS(READ(g_fds[1], 10), "to b");
    CHECK_EQ(SYS(sendto, U(g_fds[1]), U("x"), 1, MSG_NOSIGNAL, 0, 0), -EPIPE, "shut");
    remote_as(1);
    SAYS(SYS(recvfrom, U(g_fds[0]), U(g_buf), 10, MSG_PEEK, 0, 0), "to a");
    SAYS(READ(g_fds[0], 10), "to a");
    CHECK_EQ(READ(g_fds[0], 10), 0, "the end");
    CHECK_EQ(SYS(recvfrom, U(g_fds[1]), U(g_buf), 10, MSG_DONTWAIT, 0, 0), -EAGAIN, "nothing");
    CHECK_EQ(WRITE(g_fds[0], "again"), 5, "write");
    remote_as(2);
    SAYS(READ(g_fds[1], 10), "again");
}

/* A descriptor from one process to the other, and what both do with it. */
static void rights_body(void)
{
    int32_t pipes[2], *at;
    char control[CMSG_SPACE(sizeof(int32_t))] = { 0 };
    struct iovec iov = { "abc", 3 };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    at = (int32_t *)(void *)CMSG_DATA(head);
    remote_start(1);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    remote_start_b(1, true);
    remote_as(1);
    CHECK_EQ(SYS(pipe2, U(pipes), 0), 0, "pipe");
    *head = (struct cmsghdr){ CMSG_LEN(sizeof(int32_t)), SOL_SOCKET, SCM_RIGHTS };
    *at = pipes[1];
    CHECK_EQ(WRITE(pipes[1], "in "), 3, "write");
    CHECK_EQ(SYS(sendmsg, U(g_fds[0]), U(&message), 0), 3, "sendmsg");
    CHECK(remote_is_shared(pipes[0]), "moved");
    CHECK_EQ(SYS(close, U(pipes[1])), 0, "close");
    remote_as(2);
    iov = (struct iovec){ g_buf, 100 };
    SAYS(SYS(recvmsg, U(g_fds[1]), U(&message), 0), "abc");
    CHECK_EQ(head->cmsg_len, CMSG_LEN(sizeof(int32_t)), "one");
    int32_t got = *at;
    CHECK_EQ(WRITE(got, "through"), 7, "write");
    CHECK_EQ(SYS(close, U(got)), 0, "close");
    remote_as(1);
    SAYS(READ(pipes[0], 20), "in through");
    CHECK_EQ(READ(pipes[0], 20), 0, "the end");
    /* A scratch file of the other's. */
    remote_as(2);
    *head = (struct cmsghdr){ CMSG_LEN(sizeof(int32_t)), SOL_SOCKET, SCM_RIGHTS };
    *at = (int32_t)SYS(open, U("/tmp/sent"), O_RDWR | O_CREAT, 0600);
    CHECK_EQ(WRITE(*at, "content"), 7, "write");
    iov = (struct iovec){ "x", 1 };
    CHECK_EQ(SYS(sendmsg, U(g_fds[1]), U(&message), 0), 1, "sendmsg");
    CHECK_EQ(SYS(unlink, U("/tmp/sent")), 0, "unlink");
    remote_as(1);
    iov = (struct iovec){ g_buf, 100 };
    CHECK_EQ(SYS(recvmsg, U(g_fds[0]), U(&message), 0), 1, "recvmsg");
    SAYS(SYS(pread64, U(*at), U(g_buf), 20, 0), "content");
    CHECK_EQ(SYS(lseek, U(*at), 0, SEEK_CUR), 7, "one offset");
}

static int64_t send_fd(int64_t socket, const char *text, int64_t fd)
{
    char control[CMSG_SPACE(sizeof(int32_t))] = { 0 };
    struct iovec iov = { (char *)(uintptr_t)text, strlen(text) };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    *head = (struct cmsghdr){ CMSG_LEN(sizeof(int32_t)), SOL_SOCKET, SCM_RIGHTS };
    *(int32_t *)(void *)CMSG_DATA(head) = (int32_t)fd;
    return SYS(sendmsg, U(socket), U(&message), 0);
}

/* The bytes into g_buf; the descriptor, -1. */
static int64_t receive_fd(int64_t socket, const char *text)
{
    char control[CMSG_SPACE(sizeof(int32_t))] = { 0 };
    struct iovec iov = { g_buf, 100 };
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    SAYS(SYS(recvmsg, U(socket), U(&message), 0), text);
    return message.msg_controllen ? *(int32_t *)(void *)CMSG_DATA(head) : -1;
}

/* What is on its way in a pair goes along to the hub, with its bytes: also the pair's own end, and a file of a trusted
 * kind, which is opened again. */
static void flight_body(int type)
{
    int32_t pipes[2];
    remote_start(1);
    CHECK_EQ(SYS(socketpair, AF_UNIX, U(type), 0, U(g_fds)), 0, "pair");
    CHECK_EQ(SYS(pipe2, U(pipes), 0), 0, "pipe");
    int64_t trusted = SYS(open, U("/lib/a"), O_RDONLY, 0);
    CHECK_EQ(READ(trusted, 3), 3, "read");
    CHECK_EQ(WRITE(g_fds[0], "first"), 5, "write");
    CHECK_EQ(send_fd(g_fds[0], "pipe", pipes[1]), 4, "send");
    CHECK_EQ(send_fd(g_fds[0], "self", g_fds[0]), 4, "send");
    CHECK_EQ(send_fd(g_fds[0], "file", trusted), 4, "send");
    CHECK_EQ(WRITE(g_fds[0], "last"), 4, "write");
    CHECK_EQ(SYS(close, U(pipes[1])), 0, "close");
    remote_start_b(1, true);
    SAYS(READ(g_fds[1], type == SOCK_STREAM ? 5 : 100), "first");
    int64_t writer = receive_fd(g_fds[1], "pipe"), self = receive_fd(g_fds[1], "self"),
            file = receive_fd(g_fds[1], "file");
    CHECK(writer >= 0 && self >= 0 && file >= 0, "%lld %lld %lld", (long long)writer,
          (long long)self, (long long)file);
    SAYS(READ(g_fds[1], 100), "last");
    CHECK_EQ(WRITE(self, "by itself"), 9, "write");
    SAYS(READ(g_fds[1], 100), "by itself");
    CHECK_EQ(WRITE(writer, "through"), 7, "write");
    CHECK_EQ(SYS(close, U(writer)), 0, "close");
    SAYS(READ(file, 2), "34"); /* one offset */
    remote_as(1);
    SAYS(READ(trusted, 100), "56789");
    SAYS(READ(pipes[0], 100), "through");
    CHECK_EQ(READ(pipes[0], 100), 0, "no end is left here");
}

static void flight_stream_body(void)
{
    flight_body(SOCK_STREAM);
}

static void flight_packets_body(void)
{
    flight_body(SOCK_SEQPACKET);
}

static void flight_datagrams_body(void)
{
    flight_body(SOCK_DGRAM);
}

/* Files that are opened again: to another process, to the root's program, and where they are not in the manifest. */
static void carry_body(void)
{
    struct stat st, other;
    remote_start(0);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    remote_start_b(0, true);
    remote_as(2);
    int64_t trusted = SYS(open, U("/lib/a"), O_RDONLY, 0),
            dir = SYS(open, U("/tmp"), O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQ(READ(trusted, 2), 2, "read");
    CHECK_EQ(send_fd(g_fds[1], "file", trusted), 4, "send");
    CHECK_EQ(send_fd(g_fds[1], "dir", dir), 3, "send");
    CHECK_EQ(SYS(fstat, U(trusted), U(&other)), 0, "fstat");
    remote_as(0);
    int64_t file = receive_fd(g_fds[0], "file");
    CHECK(file >= 0, "file: %lld", (long long)file);
    CHECK_EQ(SYS(fstat, U(file), U(&st)), 0, "fstat");
    CHECK(st.st_ino == other.st_ino && st.st_size == other.st_size, "another file");
    SAYS(READ(file, 3), "234");
    int64_t got = receive_fd(g_fds[0], "dir");
    CHECK_EQ(SYS(fstat, U(got), U(&st)), 0, "fstat");
    CHECK(S_ISDIR(st.st_mode), "mode %o", st.st_mode);
    remote_as(2);
    SAYS(READ(trusted, 3), "567"); /* one offset */
    /* Hostile: not an offset, no path, too much. */
    static uint8_t data[8192];
    static const struct {
        uint64_t handle;
        uint32_t size;
        int64_t want;
    } bad[] = { { 9999, 300, -EBADF },
                { UINT64_MAX, 10, -EINVAL },
                { UINT64_MAX, sizeof(data), -EINVAL } };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                            .args = { ADOPT_CARRIED, bad[i].handle },
                                            .data = data,
                                            .size = bad[i].size }),
                 bad[i].want, "row");
    CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_UNPACK,
                                        .args = { (uint64_t)(int64_t)g_fds[1] } }) < 0,
             1, "no such file");
}

/* As a process that was taken over: a descriptor that is no more than a path. */
static void send_path(const char *path, uint32_t flags)
{
    struct {
        uint64_t pos;
        struct kstat st;
        uint32_t flags, kind;
        struct net_share net;
        char path[64];
    } wire = { .flags = flags };
    uint32_t handle;
    strcpy(wire.path, path);
    int64_t carried = hub_ask(
        &(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                           .args = { ADOPT_CARRIED, UINT64_MAX },
                           .data = &wire,
                           .size = (uint32_t)(offsetof(__typeof__(wire), path) + strlen(path)) });
    CHECK(carried >= 0, "carried: %lld", (long long)carried);
    handle = (uint32_t)carried;
    uint8_t data[sizeof(handle) + 1];
    memcpy(data, &handle, sizeof(handle));
    data[sizeof(handle)] = 'x';
    struct file *file = fd_get(g_fds[1]);
    CHECK_EQ(hub_ask(&(struct hub_ask){
                 .op = HUB_FILE_FIRST + REMOTE_SOCKET,
                 .args = { (uint64_t)(int64_t)remote_handle(file), SOCKET_SEND, 1 },
                 .data = data,
                 .size = sizeof(data) }),
             1, "send");
    file_unref(file);
}

/* Who receives it is not to open what is its own for somebody else: files that only the hub gives out, what /proc and
 * /dev are for each process. */
static void deputy_body(void)
{
    static const struct {
        const char *path;
        uint32_t flags;
    } rows[] = {
        { "/tmp/private", O_RDONLY },      { "/tmp/private", O_RDWR },
        { "/tmp/link", O_RDONLY },         { "/proc/self/cmdline", O_RDONLY },
        { "/tmp/self/cmdline", O_RDONLY }, { "/dev/fd", O_RDONLY | O_DIRECTORY },
        { "/dev/ptmx", O_RDWR },           { "/dev/tty", O_RDWR },
    };
    remote_start(0);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    int64_t fd = SYS(open, U("/tmp/private"), O_CREAT | O_RDWR, 0600);
    CHECK_EQ(WRITE(fd, "secret"), 6, "write");
    CHECK_EQ(SYS(symlink, U("/tmp/private"), U("/tmp/link")), 0, "symlink");
    CHECK_EQ(SYS(symlink, U("/proc/self"), U("/tmp/self")), 0, "symlink");
    remote_start_b(0, true);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        remote_as(2);
        send_path(rows[i].path, rows[i].flags);
        remote_as(0);
        int64_t got = receive_fd(g_fds[0], "x"), n = READ(got, 3);
        CHECK(got >= 0 && n < 0, "%s, flags %o: fd %lld, read %lld", rows[i].path, rows[i].flags,
              (long long)got, (long long)n);
        CHECK(WRITE(got, "mine") < 0, "%s: written", rows[i].path);
    }
    remote_as(2);
    send_path("/dev/null", O_RDWR);
    remote_as(0);
    CHECK_EQ(WRITE(receive_fd(g_fds[0], "x"), "four"), 4, "/dev/null is the same everywhere");
    CHECK_EQ(SYS(lseek, U(fd), 0, SEEK_SET), 0, "lseek");
    SAYS(READ(fd, 100), "secret");
}

/* The host, as far as it passes descriptors on: both processes are this one. */
static struct passed {
    uint64_t key;
    int fd;
    bool asked;
} g_passed[8];

static struct passed *passed(uint64_t key)
{
    for (size_t i = 0; i < sizeof(g_passed) / sizeof(g_passed[0]); i++)
        if (g_passed[i].key == key)
            return &g_passed[i];
    return NULL;
}

static bool pass_on(enum ocall_nr nr, const uint64_t args[6], int64_t *ret)
{
    struct passed *p = passed(nr == OCALL_TREE_GIVE ? args[1] : args[0]);
    switch ((int)nr) {
    case OCALL_TREE_ASK:
        CHECK(!p && !hub_is_here(), "asked twice, or by the root");
        *passed(0) = (struct passed){ .key = args[0], .fd = -1, .asked = true };
        *ret = 0;
        return true;
    case OCALL_TREE_GIVE:
        *ret = hub_is_here() && (!p || !p->asked) ? -ENOENT : 0;
        if (*ret == 0) {
            p = p ? p : passed(0);
            *p = (struct passed){ .key = args[1], .fd = dup((int)args[0]), .asked = p->asked };
        }
        return true;
    case OCALL_TREE_TAKE:
        *ret = p && p->fd >= 0 ? p->fd : -ENOENT;
        if (p)
            *p = (struct passed){ 0 };
        return true;
    default: return false;
    }
}

/* What is a host's descriptor: there, back, and gone when all have closed it. */
static void passed_body(void)
{
    static const struct {
        const char *name;
        uint32_t kind, size; /* size: more than the struct */
        uint64_t key;
        int64_t want;
    } bad[] = {
        { "no such kind", 3, 0, 1, -EINVAL },
        { "a socket with a path", 1, 4, 1, -EINVAL },
        { "a path that is none", 0, 0, 1, -EINVAL },
        { "a socket that was not given", 1, 0, 1, -EIO },
        { "a stream that was not given", 2, 0, 1, -EIO },
    };
    struct {
        uint64_t pos;
        struct kstat st;
        uint32_t flags, kind;
        struct net_share net;
        char path[4];
    } wire = { .flags = O_RDWR, .path = "/tmp" };
    int host[2];
    struct file *file;
    remote_start(0);
    g_fake_hook = pass_on;
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    remote_start_b(0, true);
    remote_as(2);
    CHECK_EQ(pipe2(host, O_NONBLOCK), 0, "pipe");
    CHECK_EQ(host_stream(dup(host[1]), O_WRONLY, &file), 0, "stream");
    int64_t fd = fd_install(file, 0, false);
    CHECK_EQ(send_fd(g_fds[1], "out", fd), 3, "send");
    remote_as(0);
    int64_t here = receive_fd(g_fds[0], "out");
    CHECK_EQ(WRITE(here, "root"), 4, "write");
    CHECK_EQ(read(host[0], g_buf, 100), 4, "read");
    CHECK_EQ(send_fd(g_fds[0], "back", here), 4, "send");
    remote_as(2);
    int64_t again = receive_fd(g_fds[1], "back");
    CHECK_EQ(WRITE(again, "child"), 5, "write");
    CHECK_EQ(read(host[0], g_buf, 100), 5, "read");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        wire.kind = bad[i].kind;
        CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                            .args = { ADOPT_CARRIED, UINT64_MAX, bad[i].key },
                                            .data = &wire,
                                            .size = (uint32_t)offsetof(__typeof__(wire), path) +
                                                    bad[i].size }),
                 bad[i].want, bad[i].name);
    }
    /* One that nobody receives; and unpacked by who did not ask the host. */
    CHECK_EQ(send_fd(g_fds[1], "lost", again), 4, "send");
    wire.kind = 2;
    *passed(0) = (struct passed){ .key = 77, .fd = dup(host[1]) };
    int64_t handle =
        hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                   .args = { ADOPT_CARRIED, UINT64_MAX, 77 },
                                   .data = &wire,
                                   .size = (uint32_t)offsetof(__typeof__(wire), path) });
    CHECK(handle >= 0, "adopt: %lld", (long long)handle);
    CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_UNPACK,
                                        .args = { (uint64_t)handle, 78 } }),
             -EIO, "not asked");
    CHECK(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_READ,
                                     .args = { (uint64_t)handle, 1, UINT64_MAX } }) < 0,
          "read by the hub");
    CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_CLOSE,
                                        .args = { (uint64_t)handle } }),
             0, "close");
    CHECK_EQ(SYS(close, U(again)), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    remote_as(0);
    CHECK_EQ(SYS(close, U(here)), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    close(host[1]);
    close(host_handle_of(file)); /* as a standard stream it is not closed with its file */
    CHECK_EQ(read(host[0], g_buf, 100), 0, "open somewhere still");
}

/* What is made anew in a child stays, as a signalfd: the hub would read the root's signals for another process. */
static void anew_body(void)
{
    static const struct file_ops ops = { .name = "[signalfd]", .travel = TRAVEL_ANEW };
    remote_start(0);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    remote_start_b(0, true);
    remote_as(0);
    struct file *file = file_new(&ops, O_RDONLY, NULL);
    CHECK(file, "file");
    int64_t signals = fd_install(file, 0, false);
    CHECK_EQ(send_fd(g_fds[0], "signals", signals), 7, "send");
    remote_as(2);
    CHECK_EQ(receive_fd(g_fds[1], "signals"), -1, "received");
}

/* Two pairs, each on its way in the other: there is no first one to move. */
static void ring_body(void)
{
    int32_t other[2];
    remote_start(1);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(other)), 0, "pair");
    CHECK_EQ(send_fd(g_fds[0], "a", other[0]), 1, "send");
    CHECK_EQ(send_fd(other[0], "b", g_fds[0]), 1, "send");
    struct file *file = fd_get(g_fds[0]);
    CHECK_EQ(file->ops->move(file), -EBUSY, "a ring");
    CHECK(remote_handle(file) < 0, "moved");
    file_unref(file);
    int64_t got = receive_fd(g_fds[1], "a");
    CHECK(got >= 0, "still there: %lld", (long long)got);
}

static int64_t g_server;
static struct sockaddr_un g_name = { .sun_family = AF_UNIX, .sun_path = "/tmp/listener" };

static void connect_late(void)
{
    remote_as(2);
    int64_t fd = SYS(socket, AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(SYS(connect, U(fd), U(&g_name), sizeof(g_name)), 0, "connect");
    CHECK_EQ(WRITE(fd, "hello"), 5, "write");
}

static void listen_body(int who)
{
    struct stat st;
    struct sockaddr_un got;
    uint32_t size = sizeof(got);
    remote_start(who);
    g_server = SYS(socket, AF_UNIX, SOCK_STREAM | (who ? 0 : SOCK_NONBLOCK), 0);
    CHECK_EQ(SYS(bind, U(g_server), U(&g_name), sizeof(g_name)), 0, "bind");
    CHECK_EQ(SYS(bind, U(SYS(socket, AF_UNIX, SOCK_STREAM, 0)), U(&g_name), sizeof(g_name)),
             -EADDRINUSE, "bind again");
    CHECK_EQ(SYS(stat, U(g_name.sun_path), U(&st)), 0, "stat");
    CHECK(S_ISSOCK(st.st_mode), "mode");
    CHECK_EQ(SYS(listen, U(g_server), 1), 0, "listen");
    int64_t peer;
    if (who) {
        g_meanwhile = connect_late;
        peer = SYS(accept4, U(g_server), 0, 0, 0);
    } else {
        CHECK_EQ(SYS(accept4, U(g_server), 0, 0, 0), -EAGAIN, "nobody");
        connect_late();
        remote_as(who);
        peer = SYS(accept4, U(g_server), 0, 0, 0);
    }
    CHECK(peer >= 0, "accept: %lld", (long long)peer);
    SAYS(READ(peer, 10), "hello");
    CHECK_EQ(SYS(getsockname, U(peer), U(&got), U(&size)), 0, "name");
    CHECK(strcmp(got.sun_path, g_name.sun_path) == 0, "name '%s'", got.sun_path);
    CHECK_EQ(SYS(unlink, U(g_name.sun_path)), 0, "unlink");
    remote_as(2);
    CHECK_EQ(SYS(connect, U(SYS(socket, AF_UNIX, SOCK_STREAM, 0)), U(&g_name), sizeof(g_name)),
             -ENOENT, "unlinked");
}

static int64_t g_datagrams;
static struct sockaddr_un g_there = { .sun_family = AF_UNIX, .sun_path = "/tmp/datagrams" };

static void take_one(void)
{
    char buf[8];
    remote_as(0);
    CHECK_EQ(SYS(recvfrom, U(g_datagrams), U(buf), sizeof(buf), 0, 0, 0), 1, "drain");
    remote_as(2);
}

/* The receiver is the root's, the sender another process: it waits until there is room, and says who it is. */
static void datagrams_body(void)
{
    struct sockaddr_un got, abstract = { .sun_family = AF_UNIX, .sun_path = "\0who" };
    uint32_t size = sizeof(got);
    char buf[16];
    remote_start(0);
    remote_start_b(0, true);
    remote_as(0);
    g_datagrams = SYS(socket, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK_EQ(SYS(bind, U(g_datagrams), U(&g_there), sizeof(g_there)), 0, "bind");
    remote_as(2);
    int64_t fd = SYS(socket, AF_UNIX, SOCK_DGRAM, 0);
    CHECK_EQ(SYS(bind, U(fd), U(&abstract), 6), 0, "bind");
    CHECK_EQ(SYS(sendto, U(fd), U("hello"), 5, 0, U(&g_there), sizeof(g_there)), 5, "send");
    CHECK_EQ(SYS(sendto, U(fd), U(""), 0, 0, U(&g_there), sizeof(g_there)), 0, "send nothing");
    remote_as(0);
    CHECK_EQ(SYS(recvfrom, U(g_datagrams), U(buf), 3, MSG_TRUNC, U(&got), U(&size)), 5, "receive");
    CHECK(size == 6 && memcmp(&got, &abstract, 6) == 0, "who: %u bytes", size);
    CHECK_EQ(SYS(recvfrom, U(g_datagrams), U(buf), 3, 0, 0, 0), 0, "an empty one");
    CHECK_EQ(SYS(recvfrom, U(g_datagrams), U(buf), 3, 0, 0, 0), -EAGAIN, "no more");
    CHECK_EQ(SYS(sendto, U(g_datagrams), U("back"), 4, 0, U(&abstract), 6), 4, "answer");
    remote_as(2);
    size = sizeof(got);
    CHECK_EQ(SYS(recvfrom, U(fd), U(buf), 16, 0, U(&got), U(&size)), 4, "answer");
    CHECK(strcmp(got.sun_path, g_there.sun_path) == 0, "who: '%s'", got.sun_path);
    CHECK_EQ(SYS(connect, U(fd), U(&g_there), sizeof(g_there)), 0, "connect");
    uint32_t count = 0;
    while (SYS(sendto, U(fd), U("x"), 1, MSG_DONTWAIT, 0, 0) == 1 && count < 1000)
        count++;
    CHECK(count > 0 && count < 1000, "%u fit", count);
    struct file *file = fd_get((int)fd);
    CHECK_EQ(file->ops->poll(file, NULL), 0, "no room");
    file_unref(file);
    g_meanwhile = take_one;
    CHECK_EQ(SYS(sendto, U(fd), U("y"), 1, 0, 0, 0), 1, "it waits");
    remote_as(0);
    CHECK_EQ(SYS(close, U(g_datagrams)), 0, "close");
    remote_as(2);
    CHECK_EQ(SYS(sendto, U(fd), U("z"), 1, 0, 0, 0), -ECONNREFUSED, "gone");
    CHECK_EQ(SYS(sendto, U(fd), U("z"), 1, 0, 0, 0), -ENOTCONN, "nobody");
}

/* Requests of a process that was taken over. */
static void hostile_datagrams_body(void)
{
    static uint8_t data[8192];
    struct unix_name none = { .size = 0 }, bad = { .dev = UINT64_MAX },
                     path = { .size = 5, .bytes = "/tmp/" }, large = { .size = 109 };
    remote_start(1);
    int64_t fd = SYS(socket, AF_UNIX, SOCK_DGRAM, 0);
    struct file *file = fd_get((int)fd);
    uint64_t handle = (uint64_t)remote_handle(file);
    file_unref(file);
    const struct {
        const char *name;
        const struct unix_name *to;
        uint64_t what, a, b, c;
        uint32_t size;
        int64_t want;
    } rows[] = {
        { "a name that is cut", &none, SOCKET_SEND, 0, 0, 1, 100, -EINVAL },
        { "a path longer than the data", &path, SOCKET_SEND, 0, 0, 3000, 200, -EINVAL },
        { "a path without end", &path, SOCKET_SEND, 0, 0, UINT64_MAX, 8192, -EINVAL },
        { "handles behind the data", &none, SOCKET_SEND, 200, 0, 1, sizeof(none), -EINVAL },
        { "too many handles", &none, SOCKET_SEND, UINT64_MAX, 0, 1, 8192, -EINVAL },
        { "a name longer than one", &large, SOCKET_SEND, 0, 0, 1, 200, -EINVAL },
        { "a path that is none", &path, SOCKET_SEND, 0, 0, 1, 200, -EINVAL },
        { "a path that is not there", &path, SOCKET_SEND, 0, 0, 9, 200, -ENOENT },
        { "a handle that is not there", &bad, SOCKET_SEND, 1, 0, 0, 4, -EBADF },
        { "no peer", &none, SOCKET_SEND, 0, REMOTE_NONBLOCK, 0, 4, -ENOTCONN },
        { "listen", &none, SOCKET_LISTEN, 1, 0, 0, 0, -EOPNOTSUPP },
        { "accept", &none, SOCKET_ACCEPT, 0, REMOTE_NONBLOCK, 0, 0, -EOPNOTSUPP },
        { "an option that is none", &none, SOCKET_SET_OPTION, 4711, 0, 0, 0, -ENOPROTOOPT },
        { "an option to read that is none", &none, SOCKET_GET_OPTION, 4711, 0, 0, 0, -ENOPROTOOPT },
        { "nothing to receive", &none, SOCKET_RECEIVE, UINT64_MAX, REMOTE_NONBLOCK, UINT64_MAX, 0,
          -EAGAIN },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        memset(data, 0, sizeof(data));
        memcpy(data, rows[i].to, sizeof(*rows[i].to));
        if (rows[i].want == -ENOENT)
            memcpy(data + sizeof(none), "/tmp/not", 8);
        CHECK_EQ(hub_ask(&(struct hub_ask){
                     .op = HUB_FILE_FIRST + REMOTE_SOCKET,
                     .args = { handle, rows[i].what, rows[i].a, rows[i].b, rows[i].c },
                     .data = data,
                     .size = rows[i].size }),
                 rows[i].want, rows[i].name);
    }
}

static void listen_root_body(void)
{
    listen_body(0);
}

static void listen_child_body(void)
{
    listen_body(1);
}

BODY(socket)
BODY(rights)
BODY(flight_stream)
BODY(flight_packets)
BODY(flight_datagrams)
BODY(datagrams)
BODY(hostile_datagrams)
BODY(carry)
BODY(deputy)
BODY(ring)
BODY(anew)
BODY(listen_root)
BODY(listen_child)
BODY(passed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_socket),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_flight_stream),
        cmocka_unit_test(test_flight_packets),
        cmocka_unit_test(test_flight_datagrams),
        cmocka_unit_test(test_datagrams),
        cmocka_unit_test(test_hostile_datagrams),
        cmocka_unit_test(test_carry),
        cmocka_unit_test(test_deputy),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_anew),
        cmocka_unit_test(test_listen_root),
        cmocka_unit_test(test_listen_child),
        cmocka_unit_test(test_passed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
