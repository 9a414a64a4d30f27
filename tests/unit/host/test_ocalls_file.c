/* OCALLs on open files, handles and terminals: each served as the enclave would call it. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "fake_device.h"
#include "host/handle.h"
#include "util/fs.h"

static struct host g_host;
static struct host_thread *t;
static char g_dir[64];

static int setup(void **state UNUSED)
{
    struct err err = { 0 };
    g_host.device = fake_device_new(NULL);
    strcpy(g_dir, "/tmp/sgxpy-host-XXXXXX");
    if (!mkdtemp(g_dir) || handle_init() < 0 || thread_pool_init(&g_host, 2, &err) < 0)
        return -1;
    t = &g_host.threads[0];
    return thread_attach(t, &err);
}

static int teardown(void **state UNUSED)
{
    thread_detach(t);
    thread_done(t);
    free(g_host.threads);
    return tree_remove(AT_FDCWD, g_dir, NULL);
}

/* Opens DIR/name; the handle or negative errno. */
static int64_t open_at(const char *name, int flags)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", g_dir, name);
    return SERVE(t, OCALL_OPEN, put_text(t, 0, path), (uint64_t)flags, 0640);
}

static void test_read_write(void **state UNUSED)
{
    int64_t h = open_at("f", O_RDWR | O_CREAT | O_TRUNC);
    assert_true(h >= 3);
    assert_int_equal(fcntl((int)h, F_GETFD), FD_CLOEXEC);
    put_text(t, 0, "0123456789");
    assert_int_equal(SERVE(t, OCALL_WRITE, (uint64_t)h, 10), 10);
    put_text(t, 0, "ab");
    assert_int_equal(SERVE(t, OCALL_PWRITE, (uint64_t)h, 2, 4), 2);
    assert_int_equal(SERVE(t, OCALL_LSEEK, (uint64_t)h, 0, SEEK_CUR), 0);
    assert_int_equal(t->block->out[0], 10);
    assert_int_equal(SERVE(t, OCALL_LSEEK, (uint64_t)h, 0, SEEK_SET), 0);
    assert_int_equal(SERVE(t, OCALL_READ, (uint64_t)h, 6), 6);
    assert_memory_equal(t->data, "0123ab", 6);
    /* A short count at the end of the file, then nothing. */
    assert_int_equal(SERVE(t, OCALL_READ, (uint64_t)h, 4096), 4);
    assert_memory_equal(t->data, "6789", 4);
    assert_int_equal(SERVE(t, OCALL_READ, (uint64_t)h, 4096), 0);
    assert_int_equal(SERVE(t, OCALL_PREAD, (uint64_t)h, 100, 8), 2);
    assert_int_equal(SERVE(t, OCALL_PREAD, (uint64_t)h, 100, 11), 0);

    assert_int_equal(SERVE(t, OCALL_FTRUNCATE, (uint64_t)h, 3), 0);
    assert_int_equal(SERVE(t, OCALL_FALLOCATE, (uint64_t)h, 0, 0, 8192), 0);
    assert_int_equal(SERVE(t, OCALL_FSYNC, (uint64_t)h, 1), 0);
    assert_int_equal(SERVE(t, OCALL_FSTAT, (uint64_t)h), 0);
    struct ocall_stat st;
    memcpy(&st, t->data, sizeof(st));
    assert_int_equal(st.size, 8192);
    assert_true(S_ISREG(st.mode));
    struct stat native;
    assert_int_equal(fstat((int)h, &native), 0);
    assert_int_equal(st.ino, native.st_ino);
    assert_int_equal(st.mtime_nsec, native.st_mtim.tv_nsec);

    /* A stale event has nothing to say to a regular file. */
    t->block->event = 1;
    assert_int_equal(SERVE(t, OCALL_LSEEK, (uint64_t)h, 0, SEEK_SET), 0);
    assert_int_equal(SERVE(t, OCALL_READ, (uint64_t)h, 1), 1);
    assert_int_equal(t->block->event, 1);
    t->block->event = 0;
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)h), 0);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)h), -EBADF);
}

/* Where $TMPDIR says; nowhere to be found; elsewhere if that does not go. */
static void test_spill_open(void **state UNUSED)
{
    struct stat st, dir;
    assert_int_equal(setenv("TMPDIR", g_dir, 1), 0);
    int64_t a = SERVE(t, OCALL_SPILL_OPEN), b = SERVE(t, OCALL_SPILL_OPEN);
    assert_true(a >= 3 && b >= 3 && a != b);
    assert_int_equal(fstat((int)a, &st), 0);
    assert_int_equal(stat(g_dir, &dir), 0);
    assert_int_equal(st.st_dev, dir.st_dev);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(fcntl((int)a, F_GETFD), FD_CLOEXEC);
    put_text(t, 0, "0123456789");
    assert_int_equal(SERVE(t, OCALL_PWRITE, (uint64_t)a, 10, 65536), 10);
    assert_int_equal(SERVE(t, OCALL_PREAD, (uint64_t)b, 10, 65536), 0);
    assert_int_equal(SERVE(t, OCALL_PREAD, (uint64_t)a, 100, 65540), 6);
    assert_memory_equal(t->data, "456789", 6);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)a), 0);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)b), 0);

    static const char *const useless[] = { "/proc/self", "relative", "" };
    for (size_t i = 0; i < ARRAY_SIZE(useless); i++) {
        assert_int_equal(setenv("TMPDIR", useless[i], 1), 0);
        a = SERVE(t, OCALL_SPILL_OPEN);
        assert_true(a >= 3);
        assert_int_equal(fstat((int)a, &st), 0);
        assert_int_equal(st.st_nlink, 0);
        assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)a), 0);
    }
    unsetenv("TMPDIR");
}

static void test_bad_arguments(void **state UNUSED)
{
    int64_t h = open_at("f", O_RDWR | O_CREAT);
    int foreign = dup((int)h); /* ours, not the enclave's */
    static const struct {
        const char *name;
        uint32_t nr;
        uint64_t handle, a, b;
        int64_t want;
    } cases[] = {
        { "read more than the window", OCALL_READ, 1, OCALL_DATA_SIZE + 1ull, 0, -EINVAL },
        { "write more than the window", OCALL_WRITE, 1, UINT64_MAX, 0, -EINVAL },
        { "pread more than the window", OCALL_PREAD, 1, OCALL_DATA_SIZE + 1ull, 0, -EINVAL },
        { "pwrite more than the window", OCALL_PWRITE, 1, OCALL_DATA_SIZE + 1ull, 0, -EINVAL },
        { "pread before the start", OCALL_PREAD, 1, 1, UINT64_MAX, -EINVAL },
        { "negative seek", OCALL_LSEEK, 1, UINT64_MAX, SEEK_SET, -EINVAL },
        { "bad whence", OCALL_LSEEK, 1, 0, 77, -EINVAL },
        { "foreign read", OCALL_READ, 0, 1, 0, -EBADF },
        { "foreign write", OCALL_WRITE, 0, 1, 0, -EBADF },
        { "foreign pread", OCALL_PREAD, 0, 1, 0, -EBADF },
        { "foreign pwrite", OCALL_PWRITE, 0, 1, 0, -EBADF },
        { "foreign fstat", OCALL_FSTAT, 0, 0, 0, -EBADF },
        { "foreign close", OCALL_CLOSE, 0, 0, 0, -EBADF },
        { "foreign getdents", OCALL_GETDENTS, 0, 0, 0, -EBADF },
        { "foreign ioctl", OCALL_IOCTL, 0, TCGETS, 0, -EBADF },
        { "foreign flock", OCALL_FLOCK, 0, LOCK_SH, 0, -EBADF },
        { "foreign truncate", OCALL_FTRUNCATE, 0, 0, 0, -EBADF },
        { "foreign nonblock", OCALL_SET_NONBLOCK, 0, 1, 0, -EBADF },
        { "foreign tty", OCALL_ISATTY, 0, 0, 0, -EBADF },
        { "getdents of a file", OCALL_GETDENTS, 1, 0, 0, -ENOTDIR },
        { "blocking lock command", OCALL_FCNTL_LOCK, 1, F_SETLKW, F_WRLCK, -EINVAL },
        { "other ioctl", OCALL_IOCTL, 1, TIOCSTI, 64, -ENOTTY },
        { "unknown number", OCALL_COUNT, 1, 0, 0, -ENOSYS },
        { "number zero", 0, 1, 0, 0, -ENOSYS },
        { "huge number", UINT32_MAX, 1, 0, 0, -ENOSYS },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t handle = cases[i].handle ? (uint64_t)h : (uint64_t)foreign;
        int64_t got = SERVE(t, cases[i].nr, handle, cases[i].a, cases[i].b, 64);
        if (got != cases[i].want)
            fail_msg("%s: got %ld, want %ld", cases[i].name, got, cases[i].want);
    }
    assert_int_equal(SERVE(t, OCALL_READ, UINT64_MAX, 1), -EBADF);
    assert_int_equal(SERVE(t, OCALL_READ, HANDLE_MAX, 1), -EBADF);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)h), 0);
    close(foreign);
}

static void test_pipes(void **state UNUSED)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(handle_add(p[0]), p[0]);
    assert_int_equal(handle_add(p[1]), p[1]);
    uint64_t r = (uint64_t)p[0], w = (uint64_t)p[1];

    put_text(t, 0, "xyz");
    assert_int_equal(SERVE(t, OCALL_WRITE, w, 3), 3);
    assert_int_equal(SERVE(t, OCALL_READ, r, 100), 3); /* short: what there is */
    /* An event ends what would block, once. */
    t->block->event = 1;
    assert_int_equal(SERVE(t, OCALL_READ, r, 1), -EINTR);
    assert_int_equal(t->block->event, 0);
    assert_int_equal(SERVE(t, OCALL_SET_NONBLOCK, r, 1), 0);
    assert_int_equal(SERVE(t, OCALL_READ, r, 1), -EAGAIN);
    /* A full pipe takes what fits. */
    assert_int_equal(SERVE(t, OCALL_SET_NONBLOCK, w, 1), 0);
    int64_t n = SERVE(t, OCALL_WRITE, w, OCALL_DATA_SIZE);
    assert_true(n > 0 && n < (int64_t)OCALL_DATA_SIZE);
    assert_int_equal(SERVE(t, OCALL_WRITE, w, 1), -EAGAIN);
    assert_int_equal(SERVE(t, OCALL_IOCTL, r, FIONREAD, 0, 4), 0);
    int ready;
    memcpy(&ready, t->data, sizeof(ready));
    assert_int_equal(ready, n);
    assert_int_equal(SERVE(t, OCALL_PREAD, r, 1, 0), -ESPIPE);

    signal(SIGPIPE, SIG_IGN); /* as signals_install does */
    assert_int_equal(SERVE(t, OCALL_CLOSE, r), 0);
    assert_int_equal(SERVE(t, OCALL_WRITE, w, 1), -EPIPE);
    assert_int_equal(SERVE(t, OCALL_CLOSE, w), 0);
}

static void test_poll(void **state UNUSED)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    assert_int_equal(handle_add(p[0]), p[0]);
    assert_int_equal(handle_add(p[1]), p[1]);
    struct ocall_pollfd fds[3] = {
        { .handle = p[0], .events = 1, .revents = 0xffff },
        { .handle = p[1], .events = 4 },
        { .handle = -1, .events = 1, .revents = 0xffff },
    };
    memcpy(t->data, fds, sizeof(fds));
    assert_int_equal(SERVE(t, OCALL_POLL, 3, OCALL_NEVER), 1);
    memcpy(fds, t->data, sizeof(fds));
    assert_int_equal(fds[0].revents, 0);
    assert_int_equal(fds[1].revents, 4);
    assert_int_equal(fds[2].revents, 0);

    assert_int_equal(SERVE(t, OCALL_POLL, 1, 1), 0); /* deadline passed */
    t->block->event = 1;
    assert_int_equal(SERVE(t, OCALL_POLL, 1, OCALL_NEVER), 0); /* woken */
    assert_int_equal(t->block->event, 0);
    SERVE(t, OCALL_CLOCK, CLOCK_MONOTONIC);
    uint64_t began = t->block->out[0];
    assert_int_equal(SERVE(t, OCALL_POLL, 1, began + 3000000), 0);
    SERVE(t, OCALL_CLOCK, CLOCK_MONOTONIC);
    assert_true(t->block->out[0] - began >= 3000000);

    assert_int_equal(SERVE(t, OCALL_POLL, OCALL_DATA_SIZE / 8 + 1, 0), -EINVAL);
    fds[0].handle = 999;
    memcpy(t->data, fds, sizeof(fds));
    assert_int_equal(SERVE(t, OCALL_POLL, 1, 0), -EBADF);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)p[0]), 0);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)p[1]), 0);
}

static void test_getdents(void **state UNUSED)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/many", g_dir);
    assert_int_equal(mkdir(path, 0755), 0);
    for (int i = 0; i < 500; i++) {
        char name[300];
        memset(name, 'n', sizeof(name));
        int length = 1 + i % 200;
        snprintf(name + length, sizeof(name) - (size_t)length, "-%d", i);
        int dir = open(path, O_RDONLY | O_DIRECTORY);
        int fd = openat(dir, name, O_CREAT | O_WRONLY, 0600);
        assert_true(fd >= 0);
        close(fd);
        close(dir);
    }
    int64_t h = open_at("many", O_RDONLY | O_DIRECTORY);
    assert_true(h >= 0);
    int64_t n = SERVE(t, OCALL_GETDENTS, (uint64_t)h);
    assert_true(n > 0);
    int found = 0, dots = 0;
    for (int64_t at = 0; at < n;) {
        struct ocall_dirent head;
        memcpy(&head, t->data + at, sizeof(head));
        const char *name = (const char *)t->data + at + sizeof(head);
        assert_int_equal(head.record_size % 8, 0);
        assert_true(head.record_size >= sizeof(head) + head.name_size &&
                    head.record_size <= n - at);
        assert_null(memchr(name, '\0', head.name_size));
        if (name[0] == '.') {
            dots++;
            assert_int_equal(head.type, DT_DIR);
        } else {
            /* The name ends as it was written: "-NUMBER", after as many n as that says. */
            char copy[300] = { 0 };
            memcpy(copy, name, head.name_size);
            int number = atoi(strrchr(copy, '-') + 1);
            assert_int_equal(strrchr(copy, '-') - copy, 1 + number % 200);
            assert_int_equal(head.type, DT_REG);
            found++;
        }
        at += head.record_size;
    }
    assert_int_equal(found, 500);
    assert_int_equal(dots, 2);
    assert_int_equal(SERVE(t, OCALL_GETDENTS, (uint64_t)h), 0);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)h), 0);
}

static void test_locks(void **state UNUSED)
{
    int64_t h = open_at("lock", O_RDWR | O_CREAT);
    int64_t other = open_at("lock", O_RDWR);
    assert_int_equal(SERVE(t, OCALL_FLOCK, (uint64_t)h, LOCK_EX), 0);
    assert_int_equal(SERVE(t, OCALL_FLOCK, (uint64_t)other, LOCK_EX), -EAGAIN);
    assert_int_equal(SERVE(t, OCALL_FCNTL_LOCK, (uint64_t)h, F_SETLK, F_WRLCK, 5, 10), 0);
    assert_int_equal(SERVE(t, OCALL_FCNTL_LOCK, (uint64_t)h, F_GETLK, F_WRLCK, 0, 100), 0);
    assert_int_equal(t->block->out[0], F_UNLCK);
    pid_t pid = fork();
    if (pid == 0) {
        if (SERVE(t, OCALL_FCNTL_LOCK, (uint64_t)h, F_SETLK, F_WRLCK, 7, 1) != -EAGAIN)
            _exit(1);
        if (SERVE(t, OCALL_FCNTL_LOCK, (uint64_t)h, F_GETLK, F_WRLCK, 0, 100) != 0)
            _exit(2);
        _exit(t->block->out[0] == F_WRLCK && t->block->out[1] == 5 && t->block->out[2] == 10 &&
                      t->block->out[3] == (uint64_t)getppid()
                  ? 0
                  : 3);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)h), 0);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)other), 0);
}

static void test_terminal(void **state UNUSED)
{
    int master, slave;
    const struct winsize size = { .ws_row = 11, .ws_col = 47 };
    if (openpty(&master, &slave, NULL, NULL, &size) < 0) {
        skip();
        return;
    }
    assert_int_equal(handle_add(slave), slave);
    uint64_t h = (uint64_t)slave;
    assert_int_equal(SERVE(t, OCALL_ISATTY, h), 1);
    assert_int_equal(SERVE(t, OCALL_IOCTL, h, TIOCGWINSZ, 0, 8), 0);
    struct winsize got;
    memcpy(&got, t->data, sizeof(got));
    assert_int_equal(got.ws_row, 11);
    assert_int_equal(got.ws_col, 47);
    memset(t->data, 0xee, 64);
    assert_int_equal(SERVE(t, OCALL_IOCTL, h, TCGETS, 0, 36), 0);
    assert_int_equal(t->data[36], 0xee); /* the kernel's struct, not glibc's longer one */
    assert_int_equal(SERVE(t, OCALL_IOCTL, h, TCSETS, 36, 0), 0);
    assert_int_equal(SERVE(t, OCALL_IOCTL, h, TCGETS, 0, 35), -EINVAL);
    assert_int_equal(SERVE(t, OCALL_IOCTL, h, TCSETS, 35, 0), -EINVAL);
    assert_int_equal(SERVE(t, OCALL_IOCTL, h, TIOCSTI, 1, 1), -ENOTTY);
    assert_int_equal(SERVE(t, OCALL_CLOSE, h), 0);
    close(master);
    int64_t file = open_at("f", O_RDWR | O_CREAT);
    assert_int_equal(SERVE(t, OCALL_ISATTY, (uint64_t)file), 0);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)file), 0);
}

/* A closed standard stream keeps its number: nothing opened later may get it. */
static void test_standard_streams(void **state UNUSED)
{
    pid_t pid = fork();
    if (pid == 0) {
        close(0);
        if (handle_init() < 0)
            _exit(1);
        if (SERVE(t, OCALL_READ, 0, 1) != -EBADF) /* it was closed when we started */
            _exit(2);
        if (SERVE(t, OCALL_CLOSE, 2) != 0 || SERVE(t, OCALL_WRITE, 2, 1) != -EBADF)
            _exit(3);
        int64_t h = open_at("f", O_RDWR | O_CREAT);
        if (h <= 2)
            _exit(4);
        if (write(2, "x", 1) != 1) /* /dev/null stands there */
            _exit(5);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
}

static void test_pages(void **state UNUSED)
{
    assert_int_equal(SERVE(t, OCALL_RESTRICT, 0x1000, 10, SGX_SECINFO_R), 0);
    assert_int_equal(t->block->out[0], 5);
    assert_int_equal(SERVE(t, OCALL_MODIFY_TYPE, 0x1000, 3, 4), 0);
    assert_int_equal(t->block->out[0], 3);
    assert_int_equal(SERVE(t, OCALL_REMOVE, 0x1000, 3), -EPERM);
    assert_int_equal(t->block->out[0], 0);
}

static void test_clocks(void **state UNUSED)
{
    static const uint64_t good[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME,
                                     CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        struct timespec before, after;
        clock_gettime((clockid_t)good[i], &before);
        assert_int_equal(SERVE(t, OCALL_CLOCK, good[i]), 0);
        clock_gettime((clockid_t)good[i], &after);
        uint64_t got = t->block->out[0];
        assert_true(got >= (uint64_t)before.tv_sec * 1000000000u + (uint64_t)before.tv_nsec);
        assert_true(got <= (uint64_t)after.tv_sec * 1000000000u + (uint64_t)after.tv_nsec);
    }
    assert_int_equal(SERVE(t, OCALL_CLOCK, 99), -EINVAL);
    assert_int_equal(SERVE(t, OCALL_RUSAGE, 0), 0);
    assert_true(t->block->out[2] > 0);
    assert_int_equal(SERVE(t, OCALL_RUSAGE, 1), 0);
    assert_int_equal(SERVE(t, OCALL_RUSAGE, (uint64_t)-1), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_write),
        cmocka_unit_test(test_spill_open),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_pipes),
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_getdents),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_standard_streams),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
