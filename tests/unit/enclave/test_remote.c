/*
 * Files that the hub holds: client and server in one process. hub_ask() runs the handler right away, as the process
 * that g_peer says; what waits gives others a turn (g_meanwhile) until it is told. Descriptors of each process are a
 * table of their own.
 */
#include "vfs_fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "arch/thread.h"
#include "ipc/pipe.h"
#include "ipc/poll.h"
#include "ipc/pty.h"
#include "net/net.h"
#include "mm/vma.h"
#include "process/process.h"
#include "tree/attest.h"
#include "tree/links.h"
#include "vfs/fd.h"
#include "vfs/host/host.h"
#include "vfs/node.h"
#include "vfs/remote/remote.h"
#include "vfs/share.h"

extern sys_fn sys_pipe2, sys_socketpair, sys_eventfd2, sys_epoll_create1, sys_epoll_ctl, sys_epoll_wait,
    sys_sendto, sys_recvfrom, sys_shutdown,
    sys_sendmsg, sys_recvmsg, sys_socket, sys_bind, sys_listen, sys_accept4, sys_connect, sys_getsockname;

static const uint8_t g_own[MANIFEST_HASH_SIZE] = "root", g_other[MANIFEST_HASH_SIZE] = "other";
static struct peer g_a = { .pid = 200, .hello = true }, g_b = { .pid = 201, .parent = 200 };
static struct peer *g_peer; /* who asks; NULL: the root's own program */
static struct fd_table *g_tables[3];
static bool g_serving;
static void (*g_meanwhile)(void);
static bool g_interrupt;
static unsigned g_asked, g_told;


/* --- the hub ----------------------------------------------------------------------------------- */

bool hub_is_here(void)
{
    return g_serving || !g_peer;
}

void hub_wake(void)
{
}

struct hub g_hub;
static unsigned g_cancelled;
void link_cancel(struct link *link)
{
    waitq_remove(&link->job.waiter);
    link->waiting = false;
    g_cancelled++;
}

void **peer_files(struct peer *peer)
{
    return &peer->files;
}

int32_t peer_pid(const struct peer *peer)
{
    return peer->pid;
}

int32_t hub_job_self(const struct hub_job *job)
{
    return job->peer->pid;
}

const uint8_t *peer_mrenclave(const struct peer *peer)
{
    return peer->mrenclave;
}

const uint8_t *attest_mrenclave(void)
{
    return g_own;
}

struct peer *peer_by_pid(int32_t pid)
{
    return pid == g_a.pid ? &g_a : pid == g_b.pid ? &g_b : NULL;
}

void hub_tell(int32_t pid UNUSED, const struct hub_event *event)
{
    CHECK_EQ(event->kind, HUB_EVENT_READY, "event");
    g_told++;
    remote_ready(event->a);
}

static void told(struct waiter *waiter)
{
    struct hub_job *job = (struct hub_job *)((uint8_t *)waiter - offsetof(struct hub_job, waiter));
    job->told = true;
}

static int64_t ask(struct hub_ask *ask, bool may_wait)
{
    static uint8_t reply[HUB_DATA_MAX];
    uint8_t *data = malloc(ask->size + 1);
    struct hub_job job = { .peer = g_peer,
                           .request = { .op = ask->op, .size = ask->size },
                           .data = data,
                           .first = true };
    int64_t ret;
    if (ask->size)
        memcpy(data, ask->data, ask->size);
    memcpy(job.request.args, ask->args, sizeof(ask->args));
    job.waiter.notify = told;
    g_asked++;
    for (;;) {
        job.reply = (struct hub_reply){ 0 };
        job.reply_data = reply;
        g_serving = true;
        ret = hub_files(&job);
        hub_files_told();
        g_serving = false;
        CHECK(!current()->never_block && !current()->kernel_buffers, "flags stay set");
        if (ret != HUB_LATER)
            break;
        CHECK(may_wait, "operation %u waits on the control channel", ask->op - HUB_FILE_FIRST);
        if (!g_meanwhile) { /* a signal comes */
            waitq_remove(&job.waiter);
            ret = job.progress ? (int64_t)job.progress : -EINTR;
            break;
        }
        struct peer *self = g_peer;
        struct fd_table *fds = g_process.fds;
        g_meanwhile();
        g_peer = self;
        g_process.fds = fds;
        CHECK(job.told, "not told");
        job.told = false;
        if (g_interrupt) { /* and a signal, before it is looked at again */
            g_interrupt = false;
            waitq_remove(&job.waiter);
            ret = -EINTR;
            break;
        }
        job.first = false;
    }
    CHECK(!job.waiter.queue, "still on a queue");
    memcpy(ask->out, job.reply.out, sizeof(ask->out));
    ask->reply_size = job.reply.size < ask->room ? job.reply.size : ask->room;
    if (ask->reply)
        memcpy(ask->reply, reply, ask->reply_size);
    free(data);
    return ret;
}

int64_t hub_ask(struct hub_ask *a)
{
    return ask(a, false);
}

int64_t hub_ask_blocking(struct hub_ask *a)
{
    return ask(a, true);
}

/* --- from one process to the next ---------------------------------------------------------------- */

static struct {
    uint8_t bytes[1 << 20];
    uint32_t sizes[64], count, taken, at, from;
} g_wire;

int channel_send(struct channel *channel UNUSED, const void *data, uint32_t size)
{
    memcpy(g_wire.bytes + g_wire.at, data, size);
    g_wire.at += size;
    g_wire.sizes[g_wire.count++] = size;
    return 0;
}

int64_t channel_receive(struct channel *channel UNUSED, void *buf, uint32_t room,
                        bool interruptible UNUSED)
{
    if (g_wire.taken == g_wire.count)
        return -EPIPE;
    uint32_t size = g_wire.sizes[g_wire.taken++];
    CHECK(size <= room, "message");
    memcpy(buf, g_wire.bytes + g_wire.from, size);
    g_wire.from += size;
    return size;
}

static struct lock g_mm_lock;
struct lock *mm_lock(void);
struct lock *mm_lock(void)
{
    return &g_mm_lock;
}

static struct vma g_mapping;
uint32_t vma_count(void)
{
    return g_mapping.file ? 1 : 0;
}

const struct vma *vma_at(uint32_t index UNUSED)
{
    return &g_mapping;
}

/* As the process: 0 the root, 1 A, 2 B. */
static void as(int who)
{
    g_peer = who == 0 ? NULL : who == 1 ? &g_a : &g_b;
    g_process.fds = g_tables[who];
}

/* who's descriptors go to B, its child. */
static void start_b(int who, bool all)
{
    struct share *share;
    struct tree_stream s;
    uint32_t count;
    g_b.parent = who == 0 ? 100 : g_a.pid;
    g_b.spawning = true;
    memset(&g_wire, 0, sizeof(g_wire));
    as(who);
    CHECK_EQ(share_prepare(g_b.pid, g_process.fds, all, &share), 0, "prepare");
    (void)!share_handles(share, &count);
    CHECK_EQ(tree_stream_open(&s, NULL), 0, "stream");
    share_send(share, &s);
    CHECK_EQ(tree_stream_done(&s), 0, "sent");
    share_done(share, true);
    g_b.spawning = false;
    g_b.hello = true;
    as(2);
    CHECK_EQ(tree_stream_open(&s, NULL), 0, "stream");
    share_receive(&s);
    CHECK_EQ(tree_stream_done(&s), 0, "received");
    share_received_done();
}

static void start(int who)
{
    fake_add(&(struct fake_record){ "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE, S_IFDIR | 01777, NULL, 0,
                                    false });
    fake_add(&(struct fake_record){ "/lib/a", MANIFEST_TRUSTED, 0, S_IFREG | 0644, "0123456789", 0,
                                    false });
    fake_start("/");
    memcpy(g_a.mrenclave, g_own, sizeof(g_own));
    memcpy(g_b.mrenclave, g_own, sizeof(g_own));
    g_tables[0] = g_process.fds;
    g_tables[1] = fd_table_new();
    g_tables[2] = fd_table_new();
    as(who);
}

static void end_b(void)
{
    g_serving = true;
    hub_files_drop(&g_b);
    hub_files_told();
    g_serving = false;
}

#define READ(fd, size)      SYS(read, U(fd), U(g_buf), size)
#define WRITE(fd, text)     SYS(write, U(fd), U(text), strlen(text))
#define SAYS(n, text)                                                       \
    do {                                                                    \
        CHECK_EQ(n, strlen(text), text);                                    \
        CHECK(memcmp(g_buf, text, strlen(text)) == 0, "%s: '%.20s'", text, g_buf); \
    } while (0)
static char g_buf[300000], g_much[300000];
static int32_t g_fds[2];

static bool is_shared(int fd)
{
    struct file *file = fd_get(fd);
    bool shared = remote_handle(file) >= 0;
    file_unref(file);
    return shared;
}

/* --- pipes ------------------------------------------------------------------------------------- */

static void pipe_body(void)
{
    start(1);
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    CHECK_EQ(WRITE(g_fds[1], "hello, world"), 12, "write");
    SAYS(READ(g_fds[0], 5), "hello");
    CHECK_EQ(g_asked, 0, "a pipe of one process asks nobody");
    start_b(1, true);
    CHECK(is_shared(g_fds[0]) && is_shared(g_fds[1]), "moved");
    SAYS(READ(g_fds[0], 2), ", "); /* what was in it */
    as(1);
    CHECK(is_shared(g_fds[0]) && is_shared(g_fds[1]), "moved");
    SAYS(READ(g_fds[0], 3), "wor");
    CHECK_EQ(WRITE(g_fds[1], "more"), 4, "write");
    as(2);
    SAYS(READ(g_fds[0], 100), "ldmore");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    as(1);
    CHECK_EQ(WRITE(g_fds[1], "last"), 4, "write");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    as(2);
    SAYS(READ(g_fds[0], 100), "last");
    CHECK_EQ(READ(g_fds[0], 100), 0, "the end");
}

static void drain(void)
{
    as(2);
    int64_t n = READ(g_fds[0], 300000);
    CHECK(n > 0, "drain: %lld", (long long)n);
}

static void feed(void)
{
    as(1);
    CHECK_EQ(WRITE(g_fds[1], "fed"), 3, "feed");
}

static void blocking_body(void)
{
    start(1);
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    start_b(1, true);
    g_meanwhile = feed;
    SAYS(READ(g_fds[0], 10), "fed");
    as(1);
    g_meanwhile = drain;
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), sizeof(g_much)), sizeof(g_much), "all of it");
    /* A signal: what was written counts; nothing written is to be restarted. */
    g_meanwhile = NULL;
    int64_t n = SYS(write, U(g_fds[1]), U(g_much), sizeof(g_much));
    CHECK(n > 0 && n <= 65536, "a part: %lld", (long long)n);
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), 10), -512 /* ERESTARTSYS */, "full");
    as(2);
    CHECK_EQ(SYS(fcntl, U(g_fds[1]), F_SETFL, O_NONBLOCK), 0, "SETFL");
    as(1);
    CHECK(SYS(fcntl, U(g_fds[1]), F_GETFL, 0) & O_NONBLOCK, "one description");
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), 10), -EAGAIN, "full");
    as(2);
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    as(1);
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), 10), -EPIPE, "nobody reads");
}

static void end_body(void)
{
    start(0);
    CHECK_EQ(SYS(pipe2, U(g_fds), O_NONBLOCK), 0, "pipe");
    start_b(0, true);
    as(0);
    CHECK(!is_shared(g_fds[0]), "the root has its files itself");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    CHECK_EQ(READ(g_fds[0], 10), -EAGAIN, "the other process may write");
    end_b();
    CHECK_EQ(READ(g_fds[0], 10), 0, "it has ended");
}

static void cloexec_body(void)
{
    start(0);
    CHECK_EQ(SYS(pipe2, U(g_fds), O_CLOEXEC), 0, "pipe");
    CHECK_EQ(SYS(dup2, U(g_fds[1]), 20), 20, "dup2");
    start_b(0, false);
    CHECK_EQ(WRITE(g_fds[1], "x"), -EBADF, "close-on-exec");
    CHECK_EQ(WRITE(20, "x"), 1, "the copy has no flag");
}

/* --- readiness ---------------------------------------------------------------------------------- */

static unsigned g_notified;
static void notified(struct waiter *waiter UNUSED)
{
    g_notified++;
}

static void poll_body(void)
{
    start(0);
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    start_b(0, true);
    struct waiter waiter = { .notify = notified };
    struct file *file = fd_get(g_fds[0]);
    CHECK_EQ(file->ops->poll(file, &waiter), 0, "empty");
    as(0);
    CHECK_EQ(WRITE(g_fds[1], "x"), 1, "write");
    CHECK_EQ(WRITE(g_fds[1], "y"), 1, "write");
    hub_files_told();
    CHECK_EQ(g_told, 1, "told once");
    CHECK_EQ(g_notified, 1, "the waiter");
    as(2);
    CHECK_EQ(file->ops->poll(file, NULL), EPOLLIN | EPOLLRDNORM, "ready; armed again");
    SAYS(READ(g_fds[0], 10), "xy");
    as(0);
    CHECK_EQ(WRITE(g_fds[1], "z"), 1, "write");
    hub_files_told();
    CHECK_EQ(g_notified, 2, "the waiter");
    waitq_remove(&waiter);
    as(2);
    (void)file->ops->poll(file, NULL);
    as(0);
    CHECK_EQ(WRITE(g_fds[1], "z"), 1, "write");
    hub_files_told();
    CHECK_EQ(g_notified, 2, "nobody waits");
    as(2);
    file_unref(file);
}

/* An epoll instance that watches a pipe which moves. */
static void epoll_body(void)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = 7 }, got;
    start(1);
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    int64_t ep = SYS(epoll_create1, 0);
    CHECK_EQ(SYS(epoll_ctl, U(ep), EPOLL_CTL_ADD, U(g_fds[0]), U(&event)), 0, "add");
    start_b(1, true);
    CHECK_EQ(WRITE(g_fds[1], "x"), 1, "write");
    as(1);
    hub_files_told();
    CHECK_EQ(SYS(epoll_wait, U(ep), U(&got), 1, 0), 1, "ready");
    CHECK_EQ(got.data.u64, 7, "data");
    SAYS(READ(g_fds[0], 10), "x");
    CHECK_EQ(SYS(epoll_wait, U(ep), U(&got), 1, 0), 0, "not ready");
    as(2);
    CHECK_EQ(WRITE(g_fds[1], "y"), 1, "write");
    as(1);
    hub_files_told();
    CHECK_EQ(SYS(epoll_wait, U(ep), U(&got), 1, 0), 1, "ready again");
    as(2); /* an instance of its own, with the same members */
    CHECK_EQ(SYS(epoll_wait, U(ep), U(&got), 1, 0), 1, "ready here too");
    CHECK_EQ(got.data.u64, 7, "data");
}

/* --- sockets, eventfds --------------------------------------------------------------------------- */

static void socket_body(void)
{
    start(1);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    CHECK_EQ(WRITE(g_fds[0], "to b"), 4, "write");
    CHECK_EQ(WRITE(g_fds[1], "to a"), 4, "write");
    CHECK_EQ(SYS(shutdown, U(g_fds[1]), SHUT_WR), 0, "shutdown");
    start_b(1, true);
    SAYS(READ(g_fds[1], 10), "to b");
    CHECK_EQ(SYS(sendto, U(g_fds[1]), U("x"), 1, MSG_NOSIGNAL, 0, 0), -EPIPE, "shut");
    as(1);
    SAYS(SYS(recvfrom, U(g_fds[0]), U(g_buf), 10, MSG_PEEK, 0, 0), "to a");
    SAYS(READ(g_fds[0], 10), "to a");
    CHECK_EQ(READ(g_fds[0], 10), 0, "the end");
    CHECK_EQ(SYS(recvfrom, U(g_fds[1]), U(g_buf), 10, MSG_DONTWAIT, 0, 0), -EAGAIN, "nothing");
    CHECK_EQ(WRITE(g_fds[0], "again"), 5, "write");
    as(2);
    SAYS(READ(g_fds[1], 10), "again");
}

/* A descriptor from one process to the other, and what both do with it. */
static void rights_body(void)
{
    int32_t pipes[2], *at;
    char control[CMSG_SPACE(sizeof(int32_t))] = { 0 };
    struct iovec iov = { "abc", 3 };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof(control) };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    at = (int32_t *)(void *)CMSG_DATA(head);
    start(1);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    start_b(1, true);
    as(1);
    CHECK_EQ(SYS(pipe2, U(pipes), 0), 0, "pipe");
    *head = (struct cmsghdr){ CMSG_LEN(sizeof(int32_t)), SOL_SOCKET, SCM_RIGHTS };
    *at = pipes[1];
    CHECK_EQ(WRITE(pipes[1], "in "), 3, "write");
    CHECK_EQ(SYS(sendmsg, U(g_fds[0]), U(&message), 0), 3, "sendmsg");
    CHECK(is_shared(pipes[0]), "moved");
    CHECK_EQ(SYS(close, U(pipes[1])), 0, "close");
    as(2);
    iov = (struct iovec){ g_buf, 100 };
    SAYS(SYS(recvmsg, U(g_fds[1]), U(&message), 0), "abc");
    CHECK_EQ(head->cmsg_len, CMSG_LEN(sizeof(int32_t)), "one");
    int32_t got = *at;
    CHECK_EQ(WRITE(got, "through"), 7, "write");
    CHECK_EQ(SYS(close, U(got)), 0, "close");
    as(1);
    SAYS(READ(pipes[0], 20), "in through");
    CHECK_EQ(READ(pipes[0], 20), 0, "the end");
    /* A scratch file of the other's. */
    as(2);
    *head = (struct cmsghdr){ CMSG_LEN(sizeof(int32_t)), SOL_SOCKET, SCM_RIGHTS };
    *at = (int32_t)SYS(open, U("/tmp/sent"), O_RDWR | O_CREAT, 0600);
    CHECK_EQ(WRITE(*at, "content"), 7, "write");
    iov = (struct iovec){ "x", 1 };
    CHECK_EQ(SYS(sendmsg, U(g_fds[1]), U(&message), 0), 1, "sendmsg");
    CHECK_EQ(SYS(unlink, U("/tmp/sent")), 0, "unlink");
    as(1);
    iov = (struct iovec){ g_buf, 100 };
    CHECK_EQ(SYS(recvmsg, U(g_fds[0]), U(&message), 0), 1, "recvmsg");
    SAYS(SYS(pread64, U(*at), U(g_buf), 20, 0), "content");
    CHECK_EQ(SYS(lseek, U(*at), 0, SEEK_CUR), 7, "one offset");
}

static int64_t send_fd(int64_t socket, const char *text, int64_t fd)
{
    char control[CMSG_SPACE(sizeof(int32_t))] = { 0 };
    struct iovec iov = { (char *)(uintptr_t)text, strlen(text) };
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof(control) };
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
    struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
                              .msg_controllen = sizeof(control) };
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    SAYS(SYS(recvmsg, U(socket), U(&message), 0), text);
    return message.msg_controllen ? *(int32_t *)(void *)CMSG_DATA(head) : -1;
}

/* What is on its way in a pair goes along to the hub, with its bytes: also the pair's own end, and a file of a trusted
 * kind, which is opened again. */
static void flight_body(int type)
{
    int32_t pipes[2];
    start(1);
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
    start_b(1, true);
    SAYS(READ(g_fds[1], type == SOCK_STREAM ? 5 : 100), "first");
    int64_t writer = receive_fd(g_fds[1], "pipe"), self = receive_fd(g_fds[1], "self"),
            file = receive_fd(g_fds[1], "file");
    CHECK(writer >= 0 && self >= 0 && file >= 0, "%lld %lld %lld", (long long)writer, (long long)self, (long long)file);
    SAYS(READ(g_fds[1], 100), "last");
    CHECK_EQ(WRITE(self, "by itself"), 9, "write");
    SAYS(READ(g_fds[1], 100), "by itself");
    CHECK_EQ(WRITE(writer, "through"), 7, "write");
    CHECK_EQ(SYS(close, U(writer)), 0, "close");
    SAYS(READ(file, 2), "34"); /* one offset */
    as(1);
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
    start(0);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    start_b(0, true);
    as(2);
    int64_t trusted = SYS(open, U("/lib/a"), O_RDONLY, 0), dir = SYS(open, U("/tmp"), O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQ(READ(trusted, 2), 2, "read");
    CHECK_EQ(send_fd(g_fds[1], "file", trusted), 4, "send");
    CHECK_EQ(send_fd(g_fds[1], "dir", dir), 3, "send");
    CHECK_EQ(SYS(fstat, U(trusted), U(&other)), 0, "fstat");
    as(0);
    int64_t file = receive_fd(g_fds[0], "file");
    CHECK(file >= 0, "file: %lld", (long long)file);
    CHECK_EQ(SYS(fstat, U(file), U(&st)), 0, "fstat");
    CHECK(st.st_ino == other.st_ino && st.st_size == other.st_size, "another file");
    SAYS(READ(file, 3), "234");
    int64_t got = receive_fd(g_fds[0], "dir");
    CHECK_EQ(SYS(fstat, U(got), U(&st)), 0, "fstat");
    CHECK(S_ISDIR(st.st_mode), "mode %o", st.st_mode);
    as(2);
    SAYS(READ(trusted, 3), "567"); /* one offset */
    /* Hostile: not an offset, no path, too much. */
    static uint8_t data[8192];
    static const struct {
        uint64_t handle;
        uint32_t size;
        int64_t want;
    } bad[] = { { 9999, 300, -EBADF }, { UINT64_MAX, 10, -EINVAL }, { UINT64_MAX, sizeof(data), -EINVAL } };
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
    int64_t carried = hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                                 .args = { ADOPT_CARRIED, UINT64_MAX },
                                                 .data = &wire,
                                                 .size = (uint32_t)(offsetof(__typeof__(wire), path) + strlen(path)) });
    CHECK(carried >= 0, "carried: %lld", (long long)carried);
    handle = (uint32_t)carried;
    uint8_t data[sizeof(handle) + 1];
    memcpy(data, &handle, sizeof(handle));
    data[sizeof(handle)] = 'x';
    struct file *file = fd_get(g_fds[1]);
    CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_SOCKET,
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
        { "/tmp/private", O_RDONLY },       { "/tmp/private", O_RDWR },      { "/tmp/link", O_RDONLY },
        { "/proc/self/cmdline", O_RDONLY }, { "/tmp/self/cmdline", O_RDONLY }, { "/dev/fd", O_RDONLY | O_DIRECTORY },
        { "/dev/ptmx", O_RDWR },            { "/dev/tty", O_RDWR },
    };
    start(0);
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    int64_t fd = SYS(open, U("/tmp/private"), O_CREAT | O_RDWR, 0600);
    CHECK_EQ(WRITE(fd, "secret"), 6, "write");
    CHECK_EQ(SYS(symlink, U("/tmp/private"), U("/tmp/link")), 0, "symlink");
    CHECK_EQ(SYS(symlink, U("/proc/self"), U("/tmp/self")), 0, "symlink");
    start_b(0, true);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        as(2);
        send_path(rows[i].path, rows[i].flags);
        as(0);
        int64_t got = receive_fd(g_fds[0], "x"), n = READ(got, 3);
        CHECK(got >= 0 && n < 0, "%s, flags %o: fd %lld, read %lld", rows[i].path, rows[i].flags, (long long)got,
              (long long)n);
        CHECK(WRITE(got, "mine") < 0, "%s: written", rows[i].path);
    }
    as(2);
    send_path("/dev/null", O_RDWR);
    as(0);
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
        { "no such kind", 3, 0, 1, -EINVAL },         { "a socket with a path", 1, 4, 1, -EINVAL },
        { "a path that is none", 0, 0, 1, -EINVAL },  { "a socket that was not given", 1, 0, 1, -EIO },
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
    start(0);
    g_fake_hook = pass_on;
    CHECK_EQ(SYS(socketpair, AF_UNIX, SOCK_STREAM, 0, U(g_fds)), 0, "pair");
    start_b(0, true);
    as(2);
    CHECK_EQ(pipe2(host, O_NONBLOCK), 0, "pipe");
    CHECK_EQ(host_stream(dup(host[1]), O_WRONLY, &file), 0, "stream");
    int64_t fd = fd_install(file, 0, false);
    CHECK_EQ(send_fd(g_fds[1], "out", fd), 3, "send");
    as(0);
    int64_t here = receive_fd(g_fds[0], "out");
    CHECK_EQ(WRITE(here, "root"), 4, "write");
    CHECK_EQ(read(host[0], g_buf, 100), 4, "read");
    CHECK_EQ(send_fd(g_fds[0], "back", here), 4, "send");
    as(2);
    int64_t again = receive_fd(g_fds[1], "back");
    CHECK_EQ(WRITE(again, "child"), 5, "write");
    CHECK_EQ(read(host[0], g_buf, 100), 5, "read");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        wire.kind = bad[i].kind;
        CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                            .args = { ADOPT_CARRIED, UINT64_MAX, bad[i].key },
                                            .data = &wire,
                                            .size = (uint32_t)offsetof(__typeof__(wire), path) + bad[i].size }),
                 bad[i].want, bad[i].name);
    }
    /* One that nobody receives; and unpacked by who did not ask the host. */
    CHECK_EQ(send_fd(g_fds[1], "lost", again), 4, "send");
    wire.kind = 2;
    *passed(0) = (struct passed){ .key = 77, .fd = dup(host[1]) };
    int64_t handle = hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                                .args = { ADOPT_CARRIED, UINT64_MAX, 77 },
                                                .data = &wire,
                                                .size = (uint32_t)offsetof(__typeof__(wire), path) });
    CHECK(handle >= 0, "adopt: %lld", (long long)handle);
    CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_UNPACK, .args = { (uint64_t)handle, 78 } }), -EIO,
             "not asked");
    CHECK(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_READ, .args = { (uint64_t)handle, 1, UINT64_MAX } }) < 0,
          "read by the hub");
    CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_CLOSE, .args = { (uint64_t)handle } }), 0, "close");
    CHECK_EQ(SYS(close, U(again)), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    as(0);
    CHECK_EQ(SYS(close, U(here)), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    close(host[1]);
    close(host_handle_of(file)); /* as a standard stream it is not closed with its file */
    CHECK_EQ(read(host[0], g_buf, 100), 0, "open somewhere still");
}

/* Two pairs, each on its way in the other: there is no first one to move. */
static void ring_body(void)
{
    int32_t other[2];
    start(1);
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
    as(2);
    int64_t fd = SYS(socket, AF_UNIX, SOCK_STREAM, 0);
    CHECK_EQ(SYS(connect, U(fd), U(&g_name), sizeof(g_name)), 0, "connect");
    CHECK_EQ(WRITE(fd, "hello"), 5, "write");
}

static void listen_body(int who)
{
    struct stat st;
    struct sockaddr_un got;
    uint32_t size = sizeof(got);
    start(who);
    g_server = SYS(socket, AF_UNIX, SOCK_STREAM | (who ? 0 : SOCK_NONBLOCK), 0);
    CHECK_EQ(SYS(bind, U(g_server), U(&g_name), sizeof(g_name)), 0, "bind");
    CHECK_EQ(SYS(bind, U(SYS(socket, AF_UNIX, SOCK_STREAM, 0)), U(&g_name), sizeof(g_name)), -EADDRINUSE,
             "bind again");
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
        as(who);
        peer = SYS(accept4, U(g_server), 0, 0, 0);
    }
    CHECK(peer >= 0, "accept: %lld", (long long)peer);
    SAYS(READ(peer, 10), "hello");
    CHECK_EQ(SYS(getsockname, U(peer), U(&got), U(&size)), 0, "name");
    CHECK(strcmp(got.sun_path, g_name.sun_path) == 0, "name '%s'", got.sun_path);
    CHECK_EQ(SYS(unlink, U(g_name.sun_path)), 0, "unlink");
    as(2);
    CHECK_EQ(SYS(connect, U(SYS(socket, AF_UNIX, SOCK_STREAM, 0)), U(&g_name), sizeof(g_name)), -ENOENT,
             "unlinked");
}

static int64_t g_datagrams;
static struct sockaddr_un g_there = { .sun_family = AF_UNIX, .sun_path = "/tmp/datagrams" };

static void take_one(void)
{
    char buf[8];
    as(0);
    CHECK_EQ(SYS(recvfrom, U(g_datagrams), U(buf), sizeof(buf), 0, 0, 0), 1, "drain");
    as(2);
}

/* The receiver is the root's, the sender another process: it waits until there is room, and says who it is. */
static void datagrams_body(void)
{
    struct sockaddr_un got, abstract = { .sun_family = AF_UNIX, .sun_path = "\0who" };
    uint32_t size = sizeof(got);
    char buf[16];
    start(0);
    start_b(0, true);
    as(0);
    g_datagrams = SYS(socket, AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK_EQ(SYS(bind, U(g_datagrams), U(&g_there), sizeof(g_there)), 0, "bind");
    as(2);
    int64_t fd = SYS(socket, AF_UNIX, SOCK_DGRAM, 0);
    CHECK_EQ(SYS(bind, U(fd), U(&abstract), 6), 0, "bind");
    CHECK_EQ(SYS(sendto, U(fd), U("hello"), 5, 0, U(&g_there), sizeof(g_there)), 5, "send");
    CHECK_EQ(SYS(sendto, U(fd), U(""), 0, 0, U(&g_there), sizeof(g_there)), 0, "send nothing");
    as(0);
    CHECK_EQ(SYS(recvfrom, U(g_datagrams), U(buf), 3, MSG_TRUNC, U(&got), U(&size)), 5, "receive");
    CHECK(size == 6 && memcmp(&got, &abstract, 6) == 0, "who: %u bytes", size);
    CHECK_EQ(SYS(recvfrom, U(g_datagrams), U(buf), 3, 0, 0, 0), 0, "an empty one");
    CHECK_EQ(SYS(recvfrom, U(g_datagrams), U(buf), 3, 0, 0, 0), -EAGAIN, "no more");
    CHECK_EQ(SYS(sendto, U(g_datagrams), U("back"), 4, 0, U(&abstract), 6), 4, "answer");
    as(2);
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
    as(0);
    CHECK_EQ(SYS(close, U(g_datagrams)), 0, "close");
    as(2);
    CHECK_EQ(SYS(sendto, U(fd), U("z"), 1, 0, 0, 0), -ECONNREFUSED, "gone");
    CHECK_EQ(SYS(sendto, U(fd), U("z"), 1, 0, 0, 0), -ENOTCONN, "nobody");
}

/* Requests of a process that was taken over. */
static void hostile_datagrams_body(void)
{
    static uint8_t data[8192];
    struct unix_name none = { .size = 0 }, bad = { .dev = UINT64_MAX }, path = { .size = 5, .bytes = "/tmp/" }, large = { .size = 109 };
    start(1);
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
        { "nothing to receive", &none, SOCKET_RECEIVE, UINT64_MAX, REMOTE_NONBLOCK, UINT64_MAX, 0, -EAGAIN },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        memset(data, 0, sizeof(data));
        memcpy(data, rows[i].to, sizeof(*rows[i].to));
        if (rows[i].want == -ENOENT)
            memcpy(data + sizeof(none), "/tmp/not", 8);
        CHECK_EQ(hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_SOCKET,
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

static void eventfd_body(void)
{
    uint64_t value = 5;
    start(1);
    int64_t fd = SYS(eventfd2, 3, O_NONBLOCK);
    start_b(1, true);
    CHECK_EQ(SYS(write, U(fd), U(&value), 8), 8, "write");
    as(1);
    CHECK_EQ(SYS(read, U(fd), U(&value), 8), 8, "read");
    CHECK_EQ(value, 8, "one counter");
    CHECK_EQ(SYS(read, U(fd), U(&value), 8), -EAGAIN, "read");
}

/* --- offsets ------------------------------------------------------------------------------------- */

static void position_body(int who)
{
    start(who);
    int64_t fd = SYS(open, U("/lib/a"), O_RDONLY, 0);
    SAYS(READ(fd, 2), "01");
    start_b(who, true);
    SAYS(READ(fd, 3), "234");
    as(who);
    SAYS(READ(fd, 2), "56");
    CHECK_EQ(SYS(lseek, U(fd), U(-1ll), SEEK_END), 9, "seek");
    as(2);
    CHECK_EQ(SYS(lseek, U(fd), 0, SEEK_CUR), 9, "one offset");
    SAYS(READ(fd, 100), "9");
    CHECK_EQ(READ(fd, 100), 0, "the end");
    SAYS(SYS(pread64, U(fd), U(g_buf), 3, 1), "123");
}

static void position_root_body(void)
{
    position_body(0);
}

static void position_child_body(void)
{
    position_body(1);
}

/* --- scratch ------------------------------------------------------------------------------------- */

static int64_t make(const char *path, const char *text)
{
    int64_t fd = SYS(open, U(path), O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(fd >= 0, "%s: %lld", path, (long long)fd);
    CHECK_EQ(WRITE(fd, text), strlen(text), path);
    return fd;
}

static unsigned names_in(const char *path, const char *wanted)
{
    int64_t fd = SYS(open, U(path), O_RDONLY | O_DIRECTORY, 0);
    unsigned count = 0;
    CHECK(fd >= 0, "%s: %lld", path, (long long)fd);
    for (;;) {
        int64_t n = SYS(getdents64, U(fd), U(g_buf), 4096);
        CHECK(n >= 0, "getdents: %lld", (long long)n);
        if (n == 0)
            break;
        for (int64_t at = 0; at < n; at += *(uint16_t *)(void *)(g_buf + at + 16))
            count += !wanted || strcmp(g_buf + at + 19, wanted) == 0;
    }
    SYS(close, U(fd));
    return count;
}

static void scratch_body(void)
{
    struct stat st, st2;
    start(1);
    int64_t fd = make("/tmp/x", "hello");
    CHECK_EQ(SYS(lseek, U(fd), 1, SEEK_SET), 1, "seek");
    SAYS(READ(fd, 10), "ello");
    CHECK_EQ(SYS(fstat, U(fd), U(&st)), 0, "fstat");
    CHECK_EQ(st.st_size, 5, "size");
    as(2);
    CHECK_EQ(SYS(stat, U("/tmp/x"), U(&st2)), 0, "stat");
    CHECK_EQ(st.st_ino, st2.st_ino, "one file");
    int64_t fd2 = SYS(open, U("/tmp/x"), O_RDONLY, 0);
    SAYS(READ(fd2, 10), "hello");
    CHECK_EQ(SYS(open, U("/tmp/x"), O_RDWR | O_CREAT | O_EXCL, 0600), -EEXIST, "O_EXCL");
    CHECK_EQ(SYS(mkdir, U("/tmp/d"), 0755), 0, "mkdir");
    CHECK_EQ(SYS(rename, U("/tmp/x"), U("/tmp/d/y")), 0, "rename");
    CHECK_EQ(SYS(symlink, U("d/y"), U("/tmp/l")), 0, "symlink");
    CHECK_EQ(SYS(link, U("/tmp/d/y"), U("/tmp/h")), 0, "link");
    as(1);
    CHECK_EQ(SYS(stat, U("/tmp/x"), U(&st)), -ENOENT, "renamed");
    CHECK_EQ(SYS(readlink, U("/tmp/l"), U(g_buf), 10), 3, "readlink");
    CHECK_EQ(SYS(stat, U("/tmp/l"), U(&st)), 0, "through the link");
    CHECK_EQ(st.st_ino, st2.st_ino, "the same");
    CHECK_EQ(st.st_nlink, 2, "links");
    CHECK_EQ(names_in("/tmp", NULL), 5, "., .., d, l, h");
    CHECK_EQ(names_in("/tmp/d", "y"), 1, "y");
    CHECK_EQ(SYS(rmdir, U("/tmp/d")), -ENOTEMPTY, "rmdir");
    CHECK_EQ(SYS(unlink, U("/tmp/d/y")), 0, "unlink");
    CHECK_EQ(SYS(rmdir, U("/tmp/d")), 0, "rmdir");
    CHECK_EQ(SYS(chmod, U("/tmp/h"), 0600), 0, "chmod");
    CHECK_EQ(SYS(truncate, U("/tmp/h"), 2), 0, "truncate");
    CHECK_EQ(SYS(setxattr, U("/tmp/h"), U("user.a"), U("value"), 5, 0), 0, "setxattr");
    as(0);
    CHECK_EQ(SYS(stat, U("/tmp/h"), U(&st)), 0, "the root's own");
    CHECK_EQ(st.st_size, 2, "size");
    CHECK_EQ(st.st_mode & 0777, 0600, "mode");
    SAYS(SYS(getxattr, U("/tmp/h"), U("user.a"), U(g_buf), 10), "value");
    as(2);
    SAYS(SYS(pread64, U(fd2), U(g_buf), 10, 0), "he");
    SAYS(SYS(getxattr, U("/tmp/h"), U("user.a"), U(g_buf), 10), "value");
    CHECK_EQ(SYS(write, U(SYS(open, U("/tmp/big"), O_WRONLY | O_CREAT, 0600)), U(g_much), 200000), 200000,
             "more than one message");
    as(1);
    CHECK_EQ(SYS(stat, U("/tmp/big"), U(&st)), 0, "stat");
    CHECK_EQ(st.st_size, 200000, "size");
    CHECK_EQ(SYS(read, U(SYS(open, U("/tmp/big"), O_RDONLY, 0)), U(g_buf), 300000), 200000, "read");
    CHECK_EQ(SYS(stat, U("/tmp/none/x"), U(&st)), -ENOENT, "absent directory");
    CHECK_EQ(SYS(stat, U("/tmp/h/x"), U(&st)), -ENOTDIR, "no directory");
}

/* What sendfile could not write was not read. */
/* FIFOs: the hub has them; an open waits there, and who gives up leaves no end behind. */
static int64_t g_end;

static int64_t open_end(uint32_t flags)
{
    return SYS(open, U("/tmp/fifo"), flags, 0);
}

static void write_late(void)
{
    as(2);
    g_end = open_end(O_WRONLY);
    CHECK(g_end >= 0, "writer: %lld", (long long)g_end);
}

static void read_late(void)
{
    as(2);
    g_end = open_end(O_RDONLY);
    CHECK(g_end >= 0, "reader: %lld", (long long)g_end);
}

static void fifo_body(void)
{
    struct stat st;
    start(1);
    CHECK_EQ(SYS(mknod, U("/tmp/fifo"), S_IFIFO | 0640, 0), 0, "mknod");
    CHECK_EQ(open_end(O_WRONLY | O_NONBLOCK), -ENXIO, "nobody reads");
    CHECK_EQ(open_end(O_RDONLY), -512 /* ERESTARTSYS */, "a signal while it waits");
    CHECK_EQ(open_end(O_WRONLY | O_NONBLOCK), -ENXIO, "still nobody");
    CHECK_EQ(open_end(O_WRONLY), -512, "a signal while it waits");

    g_meanwhile = write_late;
    int64_t in = open_end(O_RDONLY);
    g_meanwhile = NULL;
    CHECK(in >= 0 && is_shared((int)in), "reader: %lld", (long long)in);
    as(2);
    CHECK_EQ(WRITE(g_end, "hello"), 5, "write");
    CHECK_EQ(READ(g_end, 1), -EBADF, "the wrong way");
    CHECK_EQ(SYS(close, U(g_end)), 0, "close");
    as(1);
    CHECK_EQ(WRITE(in, "x"), -EBADF, "the wrong way");
    SAYS(READ(in, 100), "hello");
    CHECK_EQ(READ(in, 100), 0, "the end");
    CHECK_EQ(SYS(fstat, U(in), U(&st)), 0, "fstat");
    CHECK(S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0640, "mode %o", st.st_mode);
    CHECK_EQ(SYS(fchmod, U(in), 0600), 0, "fchmod");
    CHECK_EQ(SYS(lseek, U(in), 0, SEEK_CUR), -ESPIPE, "lseek");
    as(0); /* the root's program has the same one */
    int64_t out = open_end(O_WRONLY | O_NONBLOCK);
    CHECK(out >= 0, "the root's: %lld", (long long)out);
    CHECK_EQ(SYS(fstat, U(out), U(&st)), 0, "fstat");
    CHECK_EQ(st.st_mode & 0777, 0600, "mode");
    CHECK_EQ(WRITE(out, "again"), 5, "write");
    CHECK_EQ(SYS(close, U(out)), 0, "close");
    as(1);
    SAYS(READ(in, 100), "again");
    CHECK_EQ(SYS(close, U(in)), 0, "close");

    g_meanwhile = read_late;
    out = open_end(O_WRONLY);
    g_meanwhile = NULL;
    CHECK(out >= 0, "writer: %lld", (long long)out);
    CHECK_EQ(WRITE(out, "left"), 4, "write");
    CHECK_EQ(SYS(close, U(out)), 0, "close");
    as(2);
    CHECK_EQ(SYS(close, U(g_end)), 0, "close");
    as(1);
    in = open_end(O_RDWR | O_NONBLOCK);
    CHECK_EQ(READ(in, 100), -EAGAIN, "what was in it went with the last file");
    CHECK_EQ(WRITE(in, "own"), 3, "both ends");
    SAYS(READ(in, 100), "own");
    CHECK_EQ(SYS(close, U(in)), 0, "close");
    /* The other end comes, and then a signal: both have met. */
    g_meanwhile = write_late;
    g_interrupt = true;
    in = open_end(O_RDONLY);
    g_meanwhile = NULL;
    CHECK(in >= 0 && !g_interrupt, "interrupted: %lld", (long long)in);
    as(2);
    CHECK_EQ(WRITE(g_end, "met"), 3, "write");
    CHECK_EQ(SYS(close, U(g_end)), 0, "close");
    as(1);
    SAYS(READ(in, 100), "met");
    CHECK_EQ(SYS(close, U(in)), 0, "close");
    in = open_end(O_RDWR | O_NONBLOCK);
    /* A process that ends lets go. */
    as(2);
    g_end = open_end(O_WRONLY);
    as(1);
    CHECK_EQ(SYS(close, U(in)), 0, "close");
    in = open_end(O_RDONLY | O_NONBLOCK);
    CHECK_EQ(READ(in, 100), -EAGAIN, "there is a writer");
    end_b();
    CHECK_EQ(READ(in, 100), 0, "it has ended");
}

/* --- terminals ---------------------------------------------------------------------------------- */

static int64_t g_master, g_program;

static void type_late(void)
{
    as(1);
    CHECK_EQ(WRITE(g_master, "typed\n"), 6, "type");
}

static void read_output(void)
{
    as(1);
    CHECK(READ(g_master, sizeof(g_buf)) > 0, "output");
}

static int64_t open_terminal(void)
{
    static uint64_t actions[4096]; /* default dispositions */
    int zero = 0;
    uint32_t number = 99;
    char name[30], link[30], path[30] = "";
    struct stat at, here;
    g_process.actions = (void *)actions;
    g_master = SYS(open, U("/dev/ptmx"), O_RDWR | O_NOCTTY, 0);
    CHECK_EQ(SYS(ioctl, U(g_master), TIOCGPTN, U(&number)), 0, "number");
    snprintf(name, sizeof(name), "/dev/pts/%u", number);
    CHECK_EQ(SYS(open, U(name), O_RDWR | O_NOCTTY, 0), -EIO, "locked");
    CHECK_EQ(SYS(ioctl, U(g_master), TIOCSPTLCK, U(&zero)), 0, "unlock");
    g_program = SYS(open, U(name), O_RDWR | O_NOCTTY, 0);
    CHECK(g_program >= 0, "%s: %lld", name, (long long)g_program);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", (int)g_program);
    CHECK_EQ(SYS(readlink, U(link), U(path), sizeof(path) - 1), strlen(name), "its name");
    CHECK(strcmp(path, name) == 0, "%s", path);
    CHECK_EQ(SYS(stat, U(name), U(&at)), 0, "stat");
    CHECK_EQ(SYS(fstat, U(g_program), U(&here)), 0, "fstat");
    CHECK(at.st_ino == here.st_ino && at.st_dev == here.st_dev && at.st_rdev == (136u << 8 | number), "stat");
    return number;
}

static void terminal_body(void)
{
    struct winsize size = { 24, 80, 0, 0 };
    uint8_t termios[36];
    int peer, count = 0;
    start(1);
    int64_t number = open_terminal();
    CHECK(is_shared((int)g_master) && is_shared((int)g_program), "the hub's");
    start_b(1, true);
    CHECK_EQ(WRITE(g_program, "out\n"), 4, "write");
    CHECK_EQ(SYS(ioctl, U(g_program), TIOCSWINSZ, U(&size)), 0, "size");
    as(1);
    SAYS(READ(g_master, 100), "out\r\n");
    memset(&size, 0, sizeof(size));
    CHECK_EQ(SYS(ioctl, U(g_master), TIOCGWINSZ, U(&size)), 0, "size");
    CHECK_EQ(size.ws_col, 80, "size");
    as(2);
    CHECK_EQ(READ(g_program, 100), -512 /* ERESTARTSYS */, "a signal while it waits");
    g_meanwhile = type_late;
    SAYS(READ(g_program, 100), "typed\n");
    g_meanwhile = NULL;
    CHECK_EQ(SYS(fcntl, U(g_program), F_SETFL, O_NONBLOCK), 0, "F_SETFL");
    CHECK_EQ(READ(g_program, 100), -EAGAIN, "nothing");
    int64_t full = SYS(write, U(g_program), U(g_much), 100000);
    CHECK(full > 10000 && full < 20000, "not all: %lld", (long long)full);
    CHECK_EQ(WRITE(g_program, "x"), -EAGAIN, "full");
    CHECK_EQ(SYS(fcntl, U(g_program), F_SETFL, 0), 0, "F_SETFL");
    CHECK_EQ(WRITE(g_program, "x"), -512, "a signal while it is full");
    g_meanwhile = read_output;
    CHECK_EQ(SYS(write, U(g_program), U(g_much), 20000), 20000, "all of it");
    g_meanwhile = NULL;
    type_late();
    CHECK_EQ(SYS(ioctl, U(g_program), FIONREAD, U(&count)), 0, "FIONREAD");
    CHECK_EQ(count, 6, "FIONREAD");
    /* Not by lines, VMIN 0: what is there. */
    CHECK_EQ(SYS(ioctl, U(g_program), 0x5401 /* TCGETS */, U(termios)), 0, "TCGETS");
    memset(termios, 0, 16);
    termios[17 + 6] = 0;
    CHECK_EQ(SYS(ioctl, U(g_program), 0x5402 /* TCSETS */, U(termios)), 0, "TCSETS");
    SAYS(READ(g_program, 100), "typed\n");
    CHECK_EQ(READ(g_program, 100), 0, "nothing, without waiting");
    CHECK_EQ(SYS(ioctl, U(g_program), 0x5499, 0), -ENOTTY, "what there is not");
    CHECK_EQ(SYS(ioctl, U(g_program), TIOCGPTPEER, O_RDWR), -EIO, "no master");
    peer = (int)SYS(ioctl, U(g_master), TIOCGPTPEER, O_RDWR | O_NOCTTY);
    CHECK(peer >= 0 && is_shared(peer), "peer: %d", peer);
    CHECK_EQ(SYS(fchmod, U(peer), 0600), 0, "fchmod");
    CHECK_EQ(SYS(close, U(peer)), 0, "close");
    /* The other process lets go of its ends. */
    as(2);
    end_b();
    as(1);
    CHECK(READ(g_master, sizeof(g_buf)) > 0, "what is left");
    CHECK_EQ(SYS(close, U(g_program)), 0, "close");
    while (count >= 0)
        count = (int)READ(g_master, sizeof(g_buf));
    CHECK_EQ(count, -EIO, "nobody is there");
    char name[30];
    snprintf(name, sizeof(name), "/dev/pts/%d", (int)number);
    as(0); /* the root's program finds it too */
    int64_t found = SYS(open, U(name), O_RDWR | O_NOCTTY, 0);
    CHECK(found >= 0, "the root's: %lld", (long long)found);
    as(1);
    CHECK_EQ(SYS(close, U(g_master)), 0, "close");
    as(0);
    CHECK_EQ(READ(found, 10), 0, "hung up");
    CHECK_EQ(WRITE(found, "x"), -EIO, "hung up");
    CHECK_EQ(SYS(open, U(name), O_RDWR | O_NOCTTY, 0), -ENOENT, "gone");
}

/* What no library OS would ask. */
static void hostile_terminal_body(void)
{
    start(1);
    (void)open_terminal();
    struct file *file = fd_get((int)g_program);
    uint64_t handle = (uint64_t)remote_handle(file);
    file_unref(file);
    static const uint64_t odd[] = { 0, 1, 255, 256, UINT32_MAX, 1ull << 32, UINT64_MAX, 1ull << 63 };
    uint8_t reply[HUB_DATA_MAX];
    for (uint64_t what = 0; what < 16; what++) {
        for (size_t i = 0; i < ARRAY_SIZE(odd) * ARRAY_SIZE(odd); i++) {
            struct hub_ask a = { .op = HUB_FILE_FIRST + REMOTE_TTY,
                                 .args = { handle, what, odd[i % ARRAY_SIZE(odd)],
                                           odd[i / ARRAY_SIZE(odd)], odd[i % 3] },
                                 .data = reply,
                                 .size = (uint32_t)(i % 2 ? PTY_ARG : i),
                                 .reply = reply,
                                 .room = sizeof(reply) };
            int64_t ret = hub_ask_blocking(&a);
            CHECK(what < TTY_STAT || ret <= (int64_t)odd[5], "%lu: %lld", (unsigned long)what, (long long)ret);
        }
    }
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    start_b(1, true);
    file = fd_get(g_fds[0]);
    struct hub_ask pipe = { .op = HUB_FILE_FIRST + REMOTE_TTY,
                            .args = { (uint64_t)remote_handle(file), TTY_TAKE, 10, 0, 0 } };
    CHECK_EQ(hub_ask(&pipe), -ENOTTY, "no terminal");
    file_unref(file);
    pipe.args[0] = 4711;
    CHECK_EQ(hub_ask(&pipe), -EBADF, "no file");
}

static void sendfile_body(void)
{
    start(1);
    int64_t fd = make("/tmp/x", "0123456789");
    CHECK_EQ(SYS(lseek, U(fd), 0, SEEK_SET), 0, "seek");
    CHECK_EQ(SYS(pipe2, U(g_fds), O_NONBLOCK), 0, "pipe");
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), 65536 - 5), 65536 - 5, "nearly full");
    CHECK_EQ(SYS(sendfile, U(g_fds[1]), U(fd), 0, 3), 3, "three");
    CHECK_EQ(SYS(sendfile, U(g_fds[1]), U(fd), 0, 7), -EAGAIN, "PIPE_BUF");
    CHECK_EQ(SYS(lseek, U(fd), 0, SEEK_CUR), 3, "back");
}

static void shm_body(void)
{
    struct stat st;
    start(2);
    memcpy(g_b.mrenclave, g_other, sizeof(g_other));
    int64_t fd = make("/dev/shm/sem.x", "1");
    CHECK_EQ(SYS(stat, U("/dev/shm/sem.x"), U(&st)), 0, "stat");
    CHECK_EQ(names_in("/dev/shm", "sem.x"), 1, "list");
    as(0);
    CHECK_EQ(SYS(stat, U("/dev/shm/sem.x"), U(&st)), 0, "the root sees it");
    as(1);
    CHECK_EQ(SYS(unlink, U("/dev/shm/sem.x")), 0, "unlink");
    as(2);
    CHECK_EQ(SYS(stat, U("/dev/shm/sem.x"), U(&st)), -ENOENT, "gone");
    SAYS(SYS(pread64, U(fd), U(g_buf), 10, 0), "1");
}

static struct flock range(int type, int64_t start, int64_t size)
{
    return (struct flock){ .l_type = (short)type, .l_start = start, .l_len = size };
}

static int64_t g_lock_fds[3];

static void unlock_a(void)
{
    struct flock l = range(F_UNLCK, 0, 0);
    as(1);
    CHECK_EQ(SYS(fcntl, U(g_lock_fds[1]), F_SETLK, U(&l)), 0, "unlock");
}

/* Locks of the root's program and of two others on one file. */
static void locks_body(void)
{
    static const struct {
        int who, type;
        int64_t start, size;
        int want;
    } steps[] = {
        { 1, F_WRLCK, 0, 10, 0 },        { 2, F_RDLCK, 5, 1, -EAGAIN }, { 2, F_RDLCK, 10, 5, 0 },
        { 0, F_RDLCK, 12, 1, 0 },        { 1, F_WRLCK, 12, 1, -EAGAIN }, { 1, F_UNLCK, 3, 2, 0 },
        { 2, F_WRLCK, 3, 2, 0 },         { 2, F_WRLCK, 2, 1, -EAGAIN }, { 0, F_WRLCK, 5, 1, -EAGAIN },
        { 1, F_RDLCK, 5, 5, 0 },         { 0, F_RDLCK, 5, 5, 0 },       { 0, F_RDLCK, 0, 1, -EAGAIN },
        { 0, F_RDLCK, 100, 0, 0 },       { 2, F_WRLCK, 5000, 1, -EAGAIN },
    };
    start(0);
    make("/tmp/lock", "x");
    for (int who = 0; who < 3; who++) {
        as(who);
        g_lock_fds[who] = SYS(open, U("/tmp/lock"), O_RDWR, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct flock l = range(steps[i].type, steps[i].start, steps[i].size);
        as(steps[i].who);
        CHECK_EQ(SYS(fcntl, U(g_lock_fds[steps[i].who]), F_SETLK, U(&l)), steps[i].want, "step %zu", i);
    }
    struct flock l = range(F_WRLCK, 0, 1);
    as(2);
    CHECK_EQ(SYS(fcntl, U(g_lock_fds[2]), F_GETLK, U(&l)), 0, "who");
    CHECK_EQ(l.l_pid, 200, "A");
    CHECK_EQ(l.l_len, 3, "its range");
    l = range(F_WRLCK, 0, 1);
    g_meanwhile = unlock_a;
    CHECK_EQ(SYS(fcntl, U(g_lock_fds[2]), F_SETLKW, U(&l)), 0, "waited");
    /* Any descriptor that is closed takes the process's locks with it. */
    CHECK_EQ(SYS(close, U(SYS(open, U("/tmp/lock"), O_RDONLY, 0))), 0, "close");
    as(1);
    l = range(F_WRLCK, 0, 5);
    CHECK_EQ(SYS(fcntl, U(g_lock_fds[1]), F_SETLK, U(&l)), 0, "gone");
    /* flock belongs to the description, and is another world. */
    CHECK_EQ(SYS(flock, U(g_lock_fds[1]), 2), 0, "flock");
    as(2);
    CHECK_EQ(SYS(flock, U(g_lock_fds[2]), 1 | 4), -EAGAIN, "flock");
    as(1);
    CHECK_EQ(SYS(close, U(g_lock_fds[1])), 0, "close");
    as(2);
    CHECK_EQ(SYS(flock, U(g_lock_fds[2]), 1 | 4), 0, "flock");
    as(0);
    CHECK_EQ(SYS(flock, U(g_lock_fds[0]), 2 | 4), -EAGAIN, "flock");
    end_b();
    CHECK_EQ(SYS(flock, U(g_lock_fds[0]), 2 | 4), 0, "the process has ended");
}

/* A node reaches what it was granted and nothing else. */
static void grant_body(void)
{
    static struct manifest_grant grants[1];
    struct stat st;
    start(2);
    memcpy(g_b.mrenclave, g_other, sizeof(g_other));
    CHECK_EQ(SYS(open, U("/tmp/x"), O_WRONLY | O_CREAT, 0600), -EACCES, "no grant");
    for (uint32_t i = 0; i < g_manifest.file_count; i++)
        if (strcmp(manifest_path(&g_manifest, i), "/tmp") == 0)
            grants[0].path = g_manifest.files[i].path;
    memcpy(grants[0].mrenclave, g_other, sizeof(g_other));
    g_manifest.grants = grants;
    g_manifest.grant_count = 1;
    make("/tmp/x", "granted");
    as(1);
    CHECK_EQ(SYS(stat, U("/tmp/x"), U(&st)), 0, "one file system");
}

/* Requests that no library OS of ours would make. */
static void hostile_body(void)
{
    static const char *const paths[] = { "",       "tmp",    "/tmp/",     "/tmp/../lib/a", "/tmp/./x",
                                         "//tmp",  "/tmp//x", "/tmp/..",  "/..",           "/lib/a",
                                         "/proc/1", "/" };
    start(2);
    memcpy(g_b.mrenclave, g_other, sizeof(g_other));
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct hub_ask a = { .op = HUB_FILE_FIRST + REMOTE_SCRATCH,
                             .args = { SCRATCH_OPEN, O_RDONLY, 0, 0, UINT64_MAX },
                             .data = paths[i],
                             .size = (uint32_t)strlen(paths[i]) };
        CHECK(hub_ask(&a) < 0, "'%s' was opened", paths[i]);
    }
    for (uint32_t op = 0; op < 64; op++) {
        for (uint64_t what = 0; what < 32; what++) {
            struct hub_ask a = { .op = HUB_FILE_FIRST + op,
                                 .args = { what, 7, UINT64_MAX, UINT64_MAX, UINT64_MAX },
                                 .data = "/dev/shm/x",
                                 .size = (uint32_t)what % 12 };
            (void)!hub_ask(&a);
        }
    }
}

/* What a process with code of its own may say that the library OS never would. */
static int64_t attack(struct hub_ask a)
{
    return hub_ask(&a);
}

static void sizes_body(void)
{
    start(2);
    static const uint64_t sizes[] = { 1, 4095, 4097, 8191, 12288, 1ull << 21, 1ull << 31, UINT32_MAX };
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        CHECK_EQ(attack((struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                          .args = { ADOPT_PIPE, sizes[i] } }),
                 -EINVAL, "a pipe of %llu bytes", (unsigned long long)sizes[i]);
    CHECK_EQ(attack((struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                      .args = { ADOPT_PAIR, 0, 0, 3 } }),
             -EINVAL, "a pair of no type");
}

/* No mode makes a symlink without a target, or a device. */
static void modes_body(void)
{
    static const char path[] = "/dev/shm/x";
    start(2);
    for (uint64_t type = 0; type < 16; type++) {
        for (uint64_t what = SCRATCH_CREATE; what <= SCRATCH_MKNOD; what++) {
            struct kstat st;
            uint64_t mode = type << 12 | 0600;
            if (what == SCRATCH_LIST)
                continue;
            struct hub_ask make = { .op = HUB_FILE_FIRST + REMOTE_SCRATCH,
                                    .args = { what, mode, mode, 0, UINT64_MAX },
                                    .data = path,
                                    .size = sizeof(path) - 1 };
            if (what == SCRATCH_CREATE)
                make.args[1] = O_RDWR | O_CREAT;
            if (hub_ask(&make) < 0)
                continue;
            struct hub_ask look = make;
            look.args[0] = SCRATCH_STAT;
            look.reply = &st;
            look.room = sizeof(st);
            CHECK_EQ(hub_ask(&look), 0, "stat");
            bool fine = what == SCRATCH_CREATE  ? S_ISREG(st.mode)
                        : what == SCRATCH_MKDIR ? S_ISDIR(st.mode)
                                                : S_ISREG(st.mode) || S_ISFIFO(st.mode) || S_ISSOCK(st.mode);
            CHECK(fine, "request %llu with mode %llo made %o", (unsigned long long)what,
                  (unsigned long long)mode, st.mode);
            look = make;
            look.args[0] = S_ISDIR(st.mode) ? SCRATCH_RMDIR : SCRATCH_UNLINK;
            CHECK_EQ(hub_ask(&look), 0, "gone");
        }
    }
}

/* A handle that is only read from gives no more than that. */
static void readonly_body(void)
{
    start(1);
    int64_t fd = SYS(open, U("/tmp/f"), O_RDWR | O_CREAT, 0600);
    CHECK_EQ(WRITE(fd, "content"), 7, "write");
    CHECK_EQ(SYS(close, U(fd)), 0, "close");
    fd = SYS(open, U("/tmp/f"), O_RDONLY);
    start_b(1, true);
    memcpy(g_b.mrenclave, g_other, sizeof(g_other));
    struct file *file = fd_get((int)fd);
    uint64_t handle = (uint64_t)remote_handle(file);
    file_unref(file);
    static const struct {
        const char *name;
        uint32_t op;
        uint64_t args[4];
    } tries[] = {
        { "write", REMOTE_WRITE, { 0, 0, 0 } },
        { "write within", REMOTE_WRITE, { 0, 0, REMOTE_WITHIN } },
        { "truncate", REMOTE_FTRUNCATE, { 0 } },
        { "punch", REMOTE_FALLOCATE, { 3, 0, 7 } },
    };
    for (size_t i = 0; i < ARRAY_SIZE(tries); i++) {
        struct hub_ask a = { .op = HUB_FILE_FIRST + tries[i].op, .args = { handle }, .data = "forged", .size = 6 };
        memcpy(a.args + 1, tries[i].args, sizeof(tries[i].args));
        CHECK(hub_ask(&a) < 0, "%s", tries[i].name);
    }
    static const uint64_t scratch[][2] = { { SCRATCH_TRUNCATE, 0 },
                                           { SCRATCH_OPEN, O_RDWR },
                                           { SCRATCH_OPEN, O_WRONLY },
                                           { SCRATCH_OPEN, O_RDONLY | O_TRUNC },
                                           { SCRATCH_CREATE, O_RDWR } };
    for (size_t i = 0; i < ARRAY_SIZE(scratch); i++) {
        struct hub_ask a = { .op = HUB_FILE_FIRST + REMOTE_SCRATCH,
                             .args = { scratch[i][0], scratch[i][1], 0, 0, handle } };
        CHECK(hub_ask(&a) < 0, "scratch %zu", i);
    }
    CHECK(attack((struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_SCRATCH,
                                   .args = { SCRATCH_OPEN, O_RDONLY, 0, 0, handle } }) >= 0,
          "as it was opened");
    SAYS(READ(fd, 100), "content");
}

/* A file as large as can be: who looks through it does so for all processes. */
static void sparse_body(void)
{
    const int64_t far = 1ll << 50, size = INT64_MAX;
    start(2);
    (void)alarm(20);
    int64_t fd = SYS(open, U("/tmp/f"), O_RDWR | O_CREAT, 0600);
    CHECK_EQ(SYS(ftruncate, U(fd), U(size)), 0, "large");
    CHECK_EQ(SYS(lseek, U(fd), 0, 3 /* SEEK_DATA */), -ENXIO, "nothing there");
    CHECK_EQ(SYS(lseek, U(fd), 0, 4 /* SEEK_HOLE */), 0, "a hole");
    CHECK_EQ(SYS(pwrite64, U(fd), U("x"), 1, U(far)), 1, "write");
    CHECK_EQ(SYS(lseek, U(fd), 0, 3), far, "data");
    CHECK_EQ(SYS(lseek, U(fd), U(far), 4), far + 4096, "the hole behind");
    CHECK_EQ(SYS(lseek, U(fd), U(far + 4096), 3), -ENXIO, "nothing more");
    CHECK_EQ(SYS(fallocate, U(fd), 3, 0, U(size)), 0, "punch");
    CHECK_EQ(SYS(pread64, U(fd), U(g_buf), 1, U(far)), 1, "read");
    CHECK_EQ(g_buf[0], 0, "punched");
}

/* What a request waits for goes away. */
static void close_body(void)
{
    start(2);
    struct hub_ask a = { .op = HUB_FILE_FIRST + REMOTE_ADOPT, .args = { ADOPT_PIPE, 0 } };
    int64_t in = hub_ask(&a);
    int64_t out = (int64_t)a.out[3];
    CHECK(in >= 0, "pipe");
    static uint8_t reply[HUB_DATA_MAX];
    static struct link link;
    link = (struct link){
        .peer = &g_b,
        .waiting = true,
        .job = { .peer = &g_b,
                 .request = { .op = HUB_FILE_FIRST + REMOTE_READ,
                              .args = { (uint64_t)in, 10, UINT64_MAX } },
                 .reply_data = reply,
                 .waiter = { .notify = told } },
    };
    g_hub.links[7] = &link;
    g_serving = true;
    CHECK_EQ(hub_files(&link.job), HUB_LATER, "it waits");
    g_serving = false;
    CHECK(link.job.waiter.queue, "on the pipe's queue");
    for (int i = 0; i < 2; i++)
        CHECK_EQ(attack((struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_CLOSE,
                                          .args = { i ? (uint64_t)out : (uint64_t)in } }),
                 0, "close");
    CHECK(!link.job.waiter.queue, "it waits on a queue that is gone");
    CHECK_EQ(g_cancelled, 1, "it was answered");
}

#define BODY(name)                                \
    static void test_##name(void **state UNUSED) \
    {                                             \
        vfs_child(name##_body);                   \
    }
BODY(pipe)
BODY(blocking)
BODY(end)
BODY(cloexec)
BODY(poll)
BODY(epoll)
BODY(socket)
BODY(eventfd)
BODY(rights)
BODY(terminal)
BODY(hostile_terminal)
BODY(flight_stream)
BODY(flight_packets)
BODY(flight_datagrams)
BODY(datagrams)
BODY(hostile_datagrams)
BODY(carry)
BODY(deputy)
BODY(ring)
BODY(listen_root)
BODY(listen_child)
BODY(position_root)
BODY(position_child)
BODY(scratch)
BODY(fifo)
BODY(sendfile)
BODY(shm)
BODY(locks)
BODY(grant)
BODY(hostile)
BODY(sizes)
BODY(modes)
BODY(readonly)
BODY(close)
BODY(sparse)
BODY(passed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe),          cmocka_unit_test(test_blocking),
        cmocka_unit_test(test_end),           cmocka_unit_test(test_cloexec),
        cmocka_unit_test(test_poll),          cmocka_unit_test(test_epoll),
        cmocka_unit_test(test_socket),        cmocka_unit_test(test_eventfd),
        cmocka_unit_test(test_rights),        cmocka_unit_test(test_listen_root),
        cmocka_unit_test(test_listen_child),  cmocka_unit_test(test_flight_stream),
        cmocka_unit_test(test_flight_packets), cmocka_unit_test(test_flight_datagrams),
        cmocka_unit_test(test_datagrams), cmocka_unit_test(test_hostile_datagrams), cmocka_unit_test(test_carry), cmocka_unit_test(test_deputy), cmocka_unit_test(test_ring),
        cmocka_unit_test(test_position_root), cmocka_unit_test(test_position_child),
        cmocka_unit_test(test_fifo), cmocka_unit_test(test_terminal), cmocka_unit_test(test_hostile_terminal),
        cmocka_unit_test(test_scratch),       cmocka_unit_test(test_sendfile),     cmocka_unit_test(test_shm),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_grant),         cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_modes),
        cmocka_unit_test(test_readonly),      cmocka_unit_test(test_close),
        cmocka_unit_test(test_sparse),        cmocka_unit_test(test_passed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
