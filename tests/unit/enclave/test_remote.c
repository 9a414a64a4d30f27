/* Pipes, eventfds, offsets and terminals that several processes share, and requests that are none (remote_world.h). */
#include "remote_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "ipc/pty.h"
#include "process/process.h"
#include "vfs/remote/remote.h"

/* --- pipes ------------------------------------------------------------------------------------- */

static void pipe_body(void)
{
    remote_start(1);
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    CHECK_EQ(WRITE(g_fds[1], "hello, world"), 12, "write");
    SAYS(READ(g_fds[0], 5), "hello");
    CHECK_EQ(g_asked, 0, "a pipe of one process asks nobody");
    remote_start_b(1, true);
    CHECK(remote_is_shared(g_fds[0]) && remote_is_shared(g_fds[1]), "moved");
    SAYS(READ(g_fds[0], 2), ", "); /* what was in it */
    remote_as(1);
    CHECK(remote_is_shared(g_fds[0]) && remote_is_shared(g_fds[1]), "moved");
    SAYS(READ(g_fds[0], 3), "wor");
    CHECK_EQ(WRITE(g_fds[1], "more"), 4, "write");
    remote_as(2);
    SAYS(READ(g_fds[0], 100), "ldmore");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    remote_as(1);
    CHECK_EQ(WRITE(g_fds[1], "last"), 4, "write");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    remote_as(2);
    SAYS(READ(g_fds[0], 100), "last");
    CHECK_EQ(READ(g_fds[0], 100), 0, "the end");
}

static void drain(void)
{
    remote_as(2);
    int64_t n = READ(g_fds[0], 300000);
    CHECK(n > 0, "drain: %lld", (long long)n);
}

static void feed(void)
{
    remote_as(1);
    CHECK_EQ(WRITE(g_fds[1], "fed"), 3, "feed");
}

static void blocking_body(void)
{
    remote_start(1);
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    remote_start_b(1, true);
    g_meanwhile = feed;
    SAYS(READ(g_fds[0], 10), "fed");
    remote_as(1);
    g_meanwhile = drain;
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), sizeof(g_much)), sizeof(g_much), "all of it");
    /* A signal: what was written counts; nothing written is to be restarted. */
    g_meanwhile = NULL;
    int64_t n = SYS(write, U(g_fds[1]), U(g_much), sizeof(g_much));
    CHECK(n > 0 && n <= 65536, "a part: %lld", (long long)n);
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), 10), -512 /* ERESTARTSYS */, "full");
    remote_as(2);
    CHECK_EQ(SYS(fcntl, U(g_fds[1]), F_SETFL, O_NONBLOCK), 0, "SETFL");
    remote_as(1);
    CHECK(SYS(fcntl, U(g_fds[1]), F_GETFL, 0) & O_NONBLOCK, "one description");
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), 10), -EAGAIN, "full");
    remote_as(2);
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    remote_as(1);
    CHECK_EQ(SYS(close, U(g_fds[0])), 0, "close");
    CHECK_EQ(SYS(write, U(g_fds[1]), U(g_much), 10), -EPIPE, "nobody reads");
}

static void end_body(void)
{
    remote_start(0);
    CHECK_EQ(SYS(pipe2, U(g_fds), O_NONBLOCK), 0, "pipe");
    remote_start_b(0, true);
    remote_as(0);
    CHECK(!remote_is_shared(g_fds[0]), "the root has its files itself");
    CHECK_EQ(SYS(close, U(g_fds[1])), 0, "close");
    CHECK_EQ(READ(g_fds[0], 10), -EAGAIN, "the other process may write");
    remote_end_b();
    CHECK_EQ(READ(g_fds[0], 10), 0, "it has ended");
}

static void cloexec_body(void)
{
    remote_start(0);
    CHECK_EQ(SYS(pipe2, U(g_fds), O_CLOEXEC), 0, "pipe");
    CHECK_EQ(SYS(dup2, U(g_fds[1]), 20), 20, "dup2");
    remote_start_b(0, false);
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
    remote_start(0);
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    remote_start_b(0, true);
    struct waiter waiter = { .notify = notified };
    struct file *file = fd_get(g_fds[0]);
    CHECK_EQ(file->ops->poll(file, &waiter), 0, "empty");
    remote_as(0);
    CHECK_EQ(WRITE(g_fds[1], "x"), 1, "write");
    CHECK_EQ(WRITE(g_fds[1], "y"), 1, "write");
    hub_files_told();
    CHECK_EQ(g_told, 1, "told once");
    CHECK_EQ(g_notified, 1, "the waiter");
    remote_as(2);
    CHECK_EQ(file->ops->poll(file, NULL), EPOLLIN | EPOLLRDNORM, "ready; armed again");
    SAYS(READ(g_fds[0], 10), "xy");
    remote_as(0);
    CHECK_EQ(WRITE(g_fds[1], "z"), 1, "write");
    hub_files_told();
    CHECK_EQ(g_notified, 2, "the waiter");
    waitq_remove(&waiter);
    remote_as(2);
    (void)file->ops->poll(file, NULL);
    remote_as(0);
    CHECK_EQ(WRITE(g_fds[1], "z"), 1, "write");
    hub_files_told();
    CHECK_EQ(g_notified, 2, "nobody waits");
    remote_as(2);
    file_unref(file);
}

/* An epoll instance that watches a pipe which moves. */
static void epoll_body(void)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = 7 }, got;
    remote_start(1);
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    int64_t ep = SYS(epoll_create1, 0);
    CHECK_EQ(SYS(epoll_ctl, U(ep), EPOLL_CTL_ADD, U(g_fds[0]), U(&event)), 0, "add");
    remote_start_b(1, true);
    CHECK_EQ(WRITE(g_fds[1], "x"), 1, "write");
    remote_as(1);
    hub_files_told();
    CHECK_EQ(SYS(epoll_wait, U(ep), U(&got), 1, 0), 1, "ready");
    CHECK_EQ(got.data.u64, 7, "data");
    SAYS(READ(g_fds[0], 10), "x");
    CHECK_EQ(SYS(epoll_wait, U(ep), U(&got), 1, 0), 0, "not ready");
    remote_as(2);
    CHECK_EQ(WRITE(g_fds[1], "y"), 1, "write");
    remote_as(1);
    hub_files_told();
    CHECK_EQ(SYS(epoll_wait, U(ep), U(&got), 1, 0), 1, "ready again");
    remote_as(2); /* an instance of its own, with the same members */
    CHECK_EQ(SYS(epoll_wait, U(ep), U(&got), 1, 0), 1, "ready here too");
    CHECK_EQ(got.data.u64, 7, "data");
}

/* --- eventfds ---------------------------------------------------------------------------------- */

static void eventfd_body(void)
{
    uint64_t value = 5;
    remote_start(1);
    int64_t fd = SYS(eventfd2, 3, O_NONBLOCK);
    remote_start_b(1, true);
    CHECK_EQ(SYS(write, U(fd), U(&value), 8), 8, "write");
    remote_as(1);
    CHECK_EQ(SYS(read, U(fd), U(&value), 8), 8, "read");
    CHECK_EQ(value, 8, "one counter");
    CHECK_EQ(SYS(read, U(fd), U(&value), 8), -EAGAIN, "read");
}

/* --- offsets ------------------------------------------------------------------------------------- */

static void position_body(int who)
{
    remote_start(who);
    int64_t fd = SYS(open, U("/lib/a"), O_RDONLY, 0);
    SAYS(READ(fd, 2), "01");
    remote_start_b(who, true);
    SAYS(READ(fd, 3), "234");
    remote_as(who);
    SAYS(READ(fd, 2), "56");
    CHECK_EQ(SYS(lseek, U(fd), U(-1ll), SEEK_END), 9, "seek");
    remote_as(2);
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

/* A hub that is the parent's, which was taken over: offsets behind the end would be read behind the content. */
static uint64_t g_lie;
static int64_t g_lie_size;

static void lie(struct hub_ask *ask, int64_t *ret)
{
    if (ask->op != HUB_FILE_FIRST + REMOTE_POSITION)
        return;
    ask->out[0] = g_lie;
    *ret = g_lie_size;
}

static void position_lies_body(void)
{
    static const struct {
        uint64_t offset;
        int64_t size, want;
    } rows[] = {
        { 4, 3, 3 },         { 4, 6, 6 },          { 4, 7, 0 },
        { 10, 1, 0 },        { 11, 1, 0 },         { 65535, 5, 0 },
        { 11, 0, 0 },        { UINT64_MAX, 1, 0 }, { UINT64_MAX - 1, 2, 0 },
        { 0, INT64_MAX, 0 }, { 0, -1, 0 },
    };
    remote_start(1);
    int64_t fd = SYS(open, U("/lib/a"), O_RDONLY, 0);
    remote_start_b(1, true);
    g_lies = lie;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_lie = rows[i].offset;
        g_lie_size = rows[i].size;
        CHECK_EQ(READ(fd, 100), rows[i].want, "row %zu", i);
    }
    g_lies = NULL;
}

/* --- terminals ---------------------------------------------------------------------------------- */

static int64_t g_master, g_program;

static void type_late(void)
{
    remote_as(1);
    CHECK_EQ(WRITE(g_master, "typed\n"), 6, "type");
}

static void read_output(void)
{
    remote_as(1);
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
    CHECK(at.st_ino == here.st_ino && at.st_dev == here.st_dev &&
              at.st_rdev == (136u << 8 | number),
          "stat");
    return number;
}

static void terminal_body(void)
{
    struct winsize size = { 24, 80, 0, 0 };
    uint8_t termios[36];
    int peer, count = 0;
    remote_start(1);
    int64_t number = open_terminal();
    CHECK(remote_is_shared((int)g_master) && remote_is_shared((int)g_program), "the hub's");
    remote_start_b(1, true);
    CHECK_EQ(WRITE(g_program, "out\n"), 4, "write");
    CHECK_EQ(SYS(ioctl, U(g_program), TIOCSWINSZ, U(&size)), 0, "size");
    remote_as(1);
    SAYS(READ(g_master, 100), "out\r\n");
    memset(&size, 0, sizeof(size));
    CHECK_EQ(SYS(ioctl, U(g_master), TIOCGWINSZ, U(&size)), 0, "size");
    CHECK_EQ(size.ws_col, 80, "size");
    remote_as(2);
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
    CHECK(peer >= 0 && remote_is_shared(peer), "peer: %d", peer);
    CHECK_EQ(SYS(fchmod, U(peer), 0600), 0, "fchmod");
    CHECK_EQ(SYS(close, U(peer)), 0, "close");
    /* The other process lets go of its ends. */
    remote_as(2);
    remote_end_b();
    remote_as(1);
    CHECK(READ(g_master, sizeof(g_buf)) > 0, "what is left");
    CHECK_EQ(SYS(close, U(g_program)), 0, "close");
    while (count >= 0)
        count = (int)READ(g_master, sizeof(g_buf));
    CHECK_EQ(count, -EIO, "nobody is there");
    char name[30];
    snprintf(name, sizeof(name), "/dev/pts/%d", (int)number);
    remote_as(0); /* the root's program finds it too */
    int64_t found = SYS(open, U(name), O_RDWR | O_NOCTTY, 0);
    CHECK(found >= 0, "the root's: %lld", (long long)found);
    remote_as(1);
    CHECK_EQ(SYS(close, U(g_master)), 0, "close");
    remote_as(0);
    CHECK_EQ(READ(found, 10), 0, "hung up");
    CHECK_EQ(WRITE(found, "x"), -EIO, "hung up");
    CHECK_EQ(SYS(open, U(name), O_RDWR | O_NOCTTY, 0), -ENOENT, "gone");
}

/* What no library OS would ask. */
static void hostile_terminal_body(void)
{
    remote_start(1);
    (void)open_terminal();
    struct file *file = fd_get((int)g_program);
    uint64_t handle = (uint64_t)remote_handle(file);
    file_unref(file);
    static const uint64_t odd[] = {
        0, 1, 255, 256, UINT32_MAX, 1ull << 32, UINT64_MAX, 1ull << 63
    };
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
            CHECK(what < TTY_STAT || ret <= (int64_t)odd[5], "%lu: %lld", (unsigned long)what,
                  (long long)ret);
        }
    }
    CHECK_EQ(SYS(pipe2, U(g_fds), 0), 0, "pipe");
    remote_start_b(1, true);
    file = fd_get(g_fds[0]);
    struct hub_ask pipe = { .op = HUB_FILE_FIRST + REMOTE_TTY,
                            .args = { (uint64_t)remote_handle(file), TTY_TAKE, 10, 0, 0 } };
    CHECK_EQ(hub_ask(&pipe), -ENOTTY, "no terminal");
    file_unref(file);
    pipe.args[0] = 4711;
    CHECK_EQ(hub_ask(&pipe), -EBADF, "no file");
}

/* --- hostile requests --------------------------------------------------------------------------- */

/* Requests that no library OS of ours would make. */
static void hostile_body(void)
{
    static const char *const paths[] = { "",         "tmp",    "/tmp/",   "/tmp/../lib/a",
                                         "/tmp/./x", "//tmp",  "/tmp//x", "/tmp/..",
                                         "/..",      "/lib/a", "/proc/1", "/" };
    remote_start(2);
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

static void sizes_body(void)
{
    remote_start(2);
    static const uint64_t sizes[] = {
        1, 4095, 4097, 8191, 12288, 1ull << 21, 1ull << 31, UINT32_MAX
    };
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        CHECK_EQ(remote_attack((struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                                 .args = { ADOPT_PIPE, sizes[i] } }),
                 -EINVAL, "a pipe of %llu bytes", (unsigned long long)sizes[i]);
    CHECK_EQ(remote_attack((struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                                             .args = { ADOPT_PAIR, 0, 0, 3 } }),
             -EINVAL, "a pair of no type");
}

/* What a request waits for goes away. */
static void close_body(void)
{
    remote_start(2);
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
                 .waiter = { .notify = remote_told } },
    };
    g_hub.links[7] = &link;
    g_serving = true;
    CHECK_EQ(hub_files(&link.job), HUB_LATER, "it waits");
    g_serving = false;
    CHECK(link.job.waiter.queue, "on the pipe's queue");
    for (int i = 0; i < 2; i++)
        CHECK_EQ(remote_attack((struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_CLOSE,
                                                 .args = { i ? (uint64_t)out : (uint64_t)in } }),
                 0, "close");
    CHECK(!link.job.waiter.queue, "it waits on a queue that is gone");
    CHECK_EQ(g_cancelled, 1, "it was answered");
}

BODY(pipe)
BODY(blocking)
BODY(end)
BODY(cloexec)
BODY(poll)
BODY(epoll)
BODY(eventfd)
BODY(terminal)
BODY(hostile_terminal)
BODY(position_root)
BODY(position_child)
BODY(position_lies)
BODY(hostile)
BODY(sizes)
BODY(close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_blocking),
        cmocka_unit_test(test_end),
        cmocka_unit_test(test_cloexec),
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_epoll),
        cmocka_unit_test(test_eventfd),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_hostile_terminal),
        cmocka_unit_test(test_position_root),
        cmocka_unit_test(test_position_child),
        cmocka_unit_test(test_position_lies),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
