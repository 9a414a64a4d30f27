/* Scratch files, FIFOs, locks and grants, which the hub holds for all processes (remote_world.h). */
#include "remote_world.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "process/process.h"
#include "vfs/remote/remote.h"

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
    remote_start(1);
    int64_t fd = make("/tmp/x", "hello");
    CHECK_EQ(SYS(lseek, U(fd), 1, SEEK_SET), 1, "seek");
    SAYS(READ(fd, 10), "ello");
    CHECK_EQ(SYS(fstat, U(fd), U(&st)), 0, "fstat");
    CHECK_EQ(st.st_size, 5, "size");
    remote_as(2);
    CHECK_EQ(SYS(stat, U("/tmp/x"), U(&st2)), 0, "stat");
    CHECK_EQ(st.st_ino, st2.st_ino, "one file");
    int64_t fd2 = SYS(open, U("/tmp/x"), O_RDONLY, 0);
    SAYS(READ(fd2, 10), "hello");
    CHECK_EQ(SYS(open, U("/tmp/x"), O_RDWR | O_CREAT | O_EXCL, 0600), -EEXIST, "O_EXCL");
    CHECK_EQ(SYS(mkdir, U("/tmp/d"), 0755), 0, "mkdir");
    CHECK_EQ(SYS(rename, U("/tmp/x"), U("/tmp/d/y")), 0, "rename");
    CHECK_EQ(SYS(symlink, U("d/y"), U("/tmp/l")), 0, "symlink");
    CHECK_EQ(SYS(link, U("/tmp/d/y"), U("/tmp/h")), 0, "link");
    remote_as(1);
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
    remote_as(0);
    CHECK_EQ(SYS(stat, U("/tmp/h"), U(&st)), 0, "the root's own");
    CHECK_EQ(st.st_size, 2, "size");
    CHECK_EQ(st.st_mode & 0777, 0600, "mode");
    SAYS(SYS(getxattr, U("/tmp/h"), U("user.a"), U(g_buf), 10), "value");
    remote_as(2);
    SAYS(SYS(pread64, U(fd2), U(g_buf), 10, 0), "he");
    SAYS(SYS(getxattr, U("/tmp/h"), U("user.a"), U(g_buf), 10), "value");
    CHECK_EQ(SYS(write, U(SYS(open, U("/tmp/big"), O_WRONLY | O_CREAT, 0600)), U(g_much), 200000),
             200000, "more than one message");
    remote_as(1);
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
    remote_as(2);
    g_end = open_end(O_WRONLY);
    CHECK(g_end >= 0, "writer: %lld", (long long)g_end);
}

static void read_late(void)
{
    remote_as(2);
    g_end = open_end(O_RDONLY);
    CHECK(g_end >= 0, "reader: %lld", (long long)g_end);
}

static void fifo_body(void)
{
    struct stat st;
    remote_start(1);
    CHECK_EQ(SYS(mknod, U("/tmp/fifo"), S_IFIFO | 0640, 0), 0, "mknod");
    CHECK_EQ(open_end(O_WRONLY | O_NONBLOCK), -ENXIO, "nobody reads");
    CHECK_EQ(open_end(O_RDONLY), -512 /* ERESTARTSYS */, "a signal while it waits");
    CHECK_EQ(open_end(O_WRONLY | O_NONBLOCK), -ENXIO, "still nobody");
    CHECK_EQ(open_end(O_WRONLY), -512, "a signal while it waits");

    g_meanwhile = write_late;
    int64_t in = open_end(O_RDONLY);
    g_meanwhile = NULL;
    CHECK(in >= 0 && remote_is_shared((int)in), "reader: %lld", (long long)in);
    remote_as(2);
    CHECK_EQ(WRITE(g_end, "hello"), 5, "write");
    CHECK_EQ(READ(g_end, 1), -EBADF, "the wrong way");
    CHECK_EQ(SYS(close, U(g_end)), 0, "close");
    remote_as(1);
    CHECK_EQ(WRITE(in, "x"), -EBADF, "the wrong way");
    SAYS(READ(in, 100), "hello");
    CHECK_EQ(READ(in, 100), 0, "the end");
    CHECK_EQ(SYS(fstat, U(in), U(&st)), 0, "fstat");
    CHECK(S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0640, "mode %o", st.st_mode);
    CHECK_EQ(SYS(fchmod, U(in), 0600), 0, "fchmod");
    CHECK_EQ(SYS(lseek, U(in), 0, SEEK_CUR), -ESPIPE, "lseek");
    remote_as(0); /* the root's program has the same one */
    int64_t out = open_end(O_WRONLY | O_NONBLOCK);
    CHECK(out >= 0, "the root's: %lld", (long long)out);
    CHECK_EQ(SYS(fstat, U(out), U(&st)), 0, "fstat");
    CHECK_EQ(st.st_mode & 0777, 0600, "mode");
    CHECK_EQ(WRITE(out, "again"), 5, "write");
    CHECK_EQ(SYS(close, U(out)), 0, "close");
    remote_as(1);
    SAYS(READ(in, 100), "again");
    CHECK_EQ(SYS(close, U(in)), 0, "close");

    g_meanwhile = read_late;
    out = open_end(O_WRONLY);
    g_meanwhile = NULL;
    CHECK(out >= 0, "writer: %lld", (long long)out);
    CHECK_EQ(WRITE(out, "left"), 4, "write");
    CHECK_EQ(SYS(close, U(out)), 0, "close");
    remote_as(2);
    CHECK_EQ(SYS(close, U(g_end)), 0, "close");
    remote_as(1);
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
    remote_as(2);
    CHECK_EQ(WRITE(g_end, "met"), 3, "write");
    CHECK_EQ(SYS(close, U(g_end)), 0, "close");
    remote_as(1);
    SAYS(READ(in, 100), "met");
    CHECK_EQ(SYS(close, U(in)), 0, "close");
    in = open_end(O_RDWR | O_NONBLOCK);
    /* A process that ends lets go. */
    remote_as(2);
    g_end = open_end(O_WRONLY);
    remote_as(1);
    CHECK_EQ(SYS(close, U(in)), 0, "close");
    in = open_end(O_RDONLY | O_NONBLOCK);
    CHECK_EQ(READ(in, 100), -EAGAIN, "there is a writer");
    remote_end_b();
    CHECK_EQ(READ(in, 100), 0, "it has ended");
}

static void sendfile_body(void)
{
    remote_start(1);
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
    remote_start(2);
    memcpy(g_b.mrenclave, g_other, sizeof(g_other));
    int64_t fd = make("/dev/shm/sem.x", "1");
    CHECK_EQ(SYS(stat, U("/dev/shm/sem.x"), U(&st)), 0, "stat");
    CHECK_EQ(names_in("/dev/shm", "sem.x"), 1, "list");
    remote_as(0);
    CHECK_EQ(SYS(stat, U("/dev/shm/sem.x"), U(&st)), 0, "the root sees it");
    remote_as(1);
    CHECK_EQ(SYS(unlink, U("/dev/shm/sem.x")), 0, "unlink");
    remote_as(2);
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
    remote_as(1);
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
        { 1, F_WRLCK, 0, 10, 0 },  { 2, F_RDLCK, 5, 1, -EAGAIN },    { 2, F_RDLCK, 10, 5, 0 },
        { 0, F_RDLCK, 12, 1, 0 },  { 1, F_WRLCK, 12, 1, -EAGAIN },   { 1, F_UNLCK, 3, 2, 0 },
        { 2, F_WRLCK, 3, 2, 0 },   { 2, F_WRLCK, 2, 1, -EAGAIN },    { 0, F_WRLCK, 5, 1, -EAGAIN },
        { 1, F_RDLCK, 5, 5, 0 },   { 0, F_RDLCK, 5, 5, 0 },          { 0, F_RDLCK, 0, 1, -EAGAIN },
        { 0, F_RDLCK, 100, 0, 0 }, { 2, F_WRLCK, 5000, 1, -EAGAIN },
    };
    remote_start(0);
    make("/tmp/lock", "x");
    for (int who = 0; who < 3; who++) {
        remote_as(who);
        g_lock_fds[who] = SYS(open, U("/tmp/lock"), O_RDWR, 0);
    }
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct flock l = range(steps[i].type, steps[i].start, steps[i].size);
        remote_as(steps[i].who);
        CHECK_EQ(SYS(fcntl, U(g_lock_fds[steps[i].who]), F_SETLK, U(&l)), steps[i].want, "step %zu",
                 i);
    }
    struct flock l = range(F_WRLCK, 0, 1);
    remote_as(2);
    CHECK_EQ(SYS(fcntl, U(g_lock_fds[2]), F_GETLK, U(&l)), 0, "who");
    CHECK_EQ(l.l_pid, 200, "A");
    CHECK_EQ(l.l_len, 3, "its range");
    l = range(F_WRLCK, 0, 1);
    g_meanwhile = unlock_a;
    CHECK_EQ(SYS(fcntl, U(g_lock_fds[2]), F_SETLKW, U(&l)), 0, "waited");
    /* Any descriptor that is closed takes the process's locks with it. */
    CHECK_EQ(SYS(close, U(SYS(open, U("/tmp/lock"), O_RDONLY, 0))), 0, "close");
    remote_as(1);
    l = range(F_WRLCK, 0, 5);
    CHECK_EQ(SYS(fcntl, U(g_lock_fds[1]), F_SETLK, U(&l)), 0, "gone");
    /* flock belongs to the description, and is another world. */
    CHECK_EQ(SYS(flock, U(g_lock_fds[1]), 2), 0, "flock");
    remote_as(2);
    CHECK_EQ(SYS(flock, U(g_lock_fds[2]), 1 | 4), -EAGAIN, "flock");
    remote_as(1);
    CHECK_EQ(SYS(close, U(g_lock_fds[1])), 0, "close");
    remote_as(2);
    CHECK_EQ(SYS(flock, U(g_lock_fds[2]), 1 | 4), 0, "flock");
    remote_as(0);
    CHECK_EQ(SYS(flock, U(g_lock_fds[0]), 2 | 4), -EAGAIN, "flock");
    remote_end_b();
    CHECK_EQ(SYS(flock, U(g_lock_fds[0]), 2 | 4), 0, "the process has ended");
}

/* A node reaches what it was granted and nothing else. */
static void grant_body(void)
{
    static struct manifest_grant grants[1];
    struct stat st;
    remote_start(2);
    memcpy(g_b.mrenclave, g_other, sizeof(g_other));
    CHECK_EQ(SYS(open, U("/tmp/x"), O_WRONLY | O_CREAT, 0600), -EACCES, "no grant");
    for (uint32_t i = 0; i < g_manifest.file_count; i++)
        if (strcmp(manifest_path(&g_manifest, i), "/tmp") == 0)
            grants[0].path = g_manifest.files[i].path;
    memcpy(grants[0].mrenclave, g_other, sizeof(g_other));
    g_manifest.grants = grants;
    g_manifest.grant_count = 1;
    make("/tmp/x", "granted");
    remote_as(1);
    CHECK_EQ(SYS(stat, U("/tmp/x"), U(&st)), 0, "one file system");
}

/* No mode makes a symlink without a target, or a device. */
static void modes_body(void)
{
    static const char path[] = "/dev/shm/x";
    remote_start(2);
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
            bool fine = what == SCRATCH_CREATE ? S_ISREG(st.mode)
                        : what == SCRATCH_MKDIR
                            ? S_ISDIR(st.mode)
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
    remote_start(1);
    int64_t fd = SYS(open, U("/tmp/f"), O_RDWR | O_CREAT, 0600);
    CHECK_EQ(WRITE(fd, "content"), 7, "write");
    CHECK_EQ(SYS(close, U(fd)), 0, "close");
    fd = SYS(open, U("/tmp/f"), O_RDONLY);
    remote_start_b(1, true);
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
        struct hub_ask a = {
            .op = HUB_FILE_FIRST + tries[i].op, .args = { handle }, .data = "forged", .size = 6
        };
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
    CHECK(remote_attack((struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_SCRATCH,
                                          .args = { SCRATCH_OPEN, O_RDONLY, 0, 0, handle } }) >= 0,
          "as it was opened");
    SAYS(READ(fd, 100), "content");
}

/* A file as large as can be: who looks through it does so for all processes. */
static void sparse_body(void)
{
    const int64_t far = 1ll << 50, size = INT64_MAX;
    remote_start(2);
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

BODY(scratch)
BODY(fifo)
BODY(sendfile)
BODY(shm)
BODY(locks)
BODY(grant)
BODY(modes)
BODY(readonly)
BODY(sparse)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scratch),  cmocka_unit_test(test_fifo),
        cmocka_unit_test(test_sendfile), cmocka_unit_test(test_shm),
        cmocka_unit_test(test_locks),    cmocka_unit_test(test_grant),
        cmocka_unit_test(test_modes),    cmocka_unit_test(test_readonly),
        cmocka_unit_test(test_sparse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
