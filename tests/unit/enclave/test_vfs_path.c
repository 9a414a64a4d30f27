/* Paths through measured trees: random spellings against this machine's own resolution. */
#include "vfs_fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "core/attr.h"
#include "sys/process.h"
#include "tree/ptable.h"

#define ROUNDS 30000

static unsigned g_seed = 5;

static uint32_t next(uint32_t below)
{
    g_seed = g_seed * 1103515245u + 12345u;
    return (g_seed >> 8) % below;
}

static int64_t native(int64_t r)
{
    return r < 0 ? -errno : r;
}

static void make_tree(const char *top)
{
    static const struct {
        const char *path, *target; /* target: symlink; "": file; NULL: folder */
    } tree[] = {
        { "usr", NULL },
        { "usr/lib", NULL },
        { "usr/lib/x", NULL },
        { "usr/lib/x/a.py", "" },
        { "usr/lib/b.py", "" },
        { "usr/bin", NULL },
        { "usr/bin/p3", "" },
        { "lib", "usr/lib" },
        { "bin", "usr/bin/" },
        { "usr/bin/p", "p3" },
        { "usr/bin/up", "../lib/x" },
        { "loop", "loop" },
        { "l1", "l2" },
        { "l2", "l1" },
        { "dangling", "no/where" },
        { "usr/lib/x/back", "../../bin" },
        { "usr/lib/file", "b.py" },
        { "usr/lib/fileslash", "b.py/" },
        { "usr/lib/dot", "." },
        { "usr/lib/dots", "./../lib/./x/.." },
        { "f", "" },
        { "chain0", "f" },
        { "chain1", "chain0" },
        { "chain2", "chain1" },
    };
    char path[600];
    for (size_t i = 0; i < ARRAY_SIZE(tree); i++) {
        snprintf(path, sizeof(path), "%s/%s", top, tree[i].path);
        if (!tree[i].target)
            CHECK(mkdir(path, 0755) == 0, "mkdir %s", path);
        else if (!tree[i].target[0])
            close(open(path, O_CREAT | O_WRONLY, 0644));
        else
            CHECK(symlink(tree[i].target, path) == 0, "symlink %s", path);
    }
    /* 41 hops: one too many. */
    for (int i = 0; i < 42; i++) {
        char target[20];
        snprintf(path, sizeof(path), "%s/hop%d", top, i);
        snprintf(target, sizeof(target), i ? "hop%d" : "f", i - 1);
        CHECK(symlink(target, path) == 0, "symlink %s", path);
    }
}

static char g_top[300];

static void random_path(char *rel, size_t size)
{
    static const char *const names[] = { "usr",      "lib",  "bin",  "x",    "a.py",   "b.py",
                                         "p",        "p3",   "up",   "back", "file",   "fileslash",
                                         "dot",      "dots", "..",   ".",    "loop",   "l1",
                                         "dangling", "t",    "none", "f",    "chain2", "hop39",
                                         "hop40",    "hop38" };
    uint32_t depth = 1 + next(6);
    rel[0] = '\0';
    for (uint32_t i = 0; i < depth; i++) {
        const char *name = names[next(ARRAY_SIZE(names))];
        snprintf(rel + strlen(rel), size - strlen(rel), "%s%s%s", i ? "/" : "",
                 i && next(6) == 0 ? "/" : "", name);
    }
    if (next(5) == 0)
        strcat(rel, "/");
}

static void compare(const char *rel, int mfd, int nfd, uint64_t cwd_mode)
{
    char mp[700], np[700], mb[300], nb[300];
    struct stat ms, ns;
    bool relative = cwd_mode != 0;
    snprintf(mp, sizeof(mp), "%s%s", relative ? "" : "/t/t/t/t/t/t/", rel);
    snprintf(np, sizeof(np), "%s%s%s", relative ? "" : g_top, relative ? "" : "/", rel);
    uint64_t md = relative ? U(mfd) : FAKE_CWD;
    int nd = relative ? nfd : AT_FDCWD;
    for (int nofollow = 0; nofollow < 2; nofollow++) {
        int flags = nofollow ? AT_SYMLINK_NOFOLLOW : 0;
        int64_t m = SYS(newfstatat, md, U(mp), U(&ms), U(flags)),
                n = native(fstatat(nd, np, &ns, flags));
        CHECK_EQ(m, n, "stat %s, flags %d", mp, flags);
        if (n == 0) {
            CHECK_EQ(ms.st_mode, ns.st_mode, "mode of %s", mp);
            if (!S_ISDIR(ns.st_mode))
                CHECK_EQ(ms.st_size, ns.st_size, "size of %s", mp);
        }
    }
    int64_t m = SYS(readlinkat, md, U(mp), U(mb), 299), n = native(readlinkat(nd, np, nb, 299));
    CHECK_EQ(m, n, "readlink %s", mp);
    CHECK(n < 0 || memcmp(mb, nb, (size_t)n) == 0, "readlink %s", mp);
    CHECK_EQ(SYS(faccessat2, md, U(mp), R_OK, 0), native(faccessat(nd, np, R_OK, 0)), "access %s",
             mp);
    static const int opens[] = { O_RDONLY,
                                 O_RDONLY | O_DIRECTORY,
                                 O_RDONLY | O_NOFOLLOW,
                                 O_PATH,
                                 O_PATH | O_NOFOLLOW,
                                 O_CREAT | O_EXCL | O_RDWR,
                                 O_PATH | O_DIRECTORY };
    int how = opens[next(ARRAY_SIZE(opens))];
    m = SYS(openat, md, U(mp), U(how), 0644);
    n = native(openat(nd, np, how, 0644));
    if (how & O_CREAT && n >= 0) { /* it can be made here, not there */
        unlinkat(nd, np, 0);
        CHECK_EQ(m, -EROFS, "create %s", mp);
    } else {
        CHECK_EQ(m < 0 ? m : 0, n < 0 ? n : 0, "open %s, flags 0%o", mp, how);
    }
    if (m >= 0)
        SYS(close, U(m));
    if (n >= 0)
        close((int)n);
}

static void random_body(void)
{
    snprintf(g_top, sizeof(g_top), "%s/native", g_fake_root);
    /* Six folders down: a path has at most six "..", and above there are other worlds. */
    mkdir(g_top, 0755);
    for (int i = 0; i < 6; i++) {
        strcat(g_top, "/t");
        mkdir(g_top, 0755);
    }
    make_tree(g_top);
    fake_add_tree(g_top, "/t/t/t/t/t/t");
    fake_start("/t/t/t/t/t/t");
    int mfd = (int)SYS(open, U("/t/t/t/t/t/t/usr/lib"), O_RDONLY | O_DIRECTORY, 0);
    char lib[400], rel[500];
    snprintf(lib, sizeof(lib), "%s/usr/lib", g_top);
    int nfd = open(lib, O_RDONLY | O_DIRECTORY);
    int tfd = open(g_top, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < ROUNDS; i++) {
        random_path(rel, sizeof(rel));
        uint32_t from = next(3);
        if (from == 2)
            compare(rel, mfd, nfd, 1);
        else if (from == 1)
            compare(rel, (int)(int64_t)FAKE_CWD, tfd, 1);
        else
            compare(rel, 0, 0, 0);
    }
    SYS(close, U(mfd));
}

static void test_random(void **state UNUSED)
{
    vfs_child(random_body);
}

static void lengths_body(void)
{
    char path[5000];
    struct stat st;
    fake_add(&(struct fake_record){ "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE, S_IFDIR | 0777,
                                    NULL, 0, false });
    fake_start("/tmp");
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[256] = '\0';
    CHECK_EQ(SYS(stat, U(path), U(&st)), -ENOENT, "255 bytes of a name");
    path[256] = 'a';
    path[257] = '\0';
    CHECK_EQ(SYS(stat, U(path), U(&st)), -ENAMETOOLONG, "256 bytes of a name");
    for (int i = 0; i < 5000; i += 2)
        memcpy(path + i, "/.", 2);
    path[4095] = '\0';
    CHECK_EQ(SYS(stat, U(path), U(&st)), 0, "4095 bytes of a path");
    path[4095] = '/';
    path[4096] = '\0';
    CHECK_EQ(SYS(stat, U(path), U(&st)), -ENAMETOOLONG, "4096 bytes of a path");
    /* Deeper than a path can say: relative steps only. */
    memset(path, 'd', 200);
    path[200] = '\0';
    int depth = 0;
    while (SYS(mkdir, U(path), 0755) == 0 && SYS(chdir, U(path)) == 0)
        depth++;
    CHECK(depth >= 18, "%d levels", depth);
    CHECK_EQ(SYS(stat, U(""), U(&st)), -ENOENT, "the empty path");
    CHECK_EQ(SYS(newfstatat, FAKE_CWD, U(""), U(&st), AT_EMPTY_PATH), 0,
             "AT_EMPTY_PATH of the cwd");
    CHECK_EQ(SYS(newfstatat, 77, U("x"), U(&st), 0), -EBADF, "a bad dirfd");
    CHECK_EQ(SYS(newfstatat, 77, U("/tmp"), U(&st), 0), 0, "which an absolute path ignores");
    CHECK_EQ(SYS(newfstatat, FAKE_CWD, U("/tmp"), U(&st), 0x8000000), -EINVAL, "unknown flags");
}

static void test_lengths(void **state UNUSED)
{
    vfs_child(lengths_body);
}

static void cwd_body(void)
{
    char buf[200];
    fake_add(&(struct fake_record){ "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE, S_IFDIR | 0777,
                                    NULL, 0, false });
    fake_start("/opt/app");
    CHECK_EQ(SYS(getcwd, U(buf), sizeof(buf)), 9, "getcwd");
    CHECK(strcmp(buf, "/opt/app") == 0, "%s", buf);
    CHECK_EQ(SYS(getcwd, U(buf), 8), -ERANGE, "too small");
    CHECK_EQ(SYS(chdir, U("..")), 0, "up");
    CHECK_EQ(SYS(getcwd, U(buf), sizeof(buf)), 5, "getcwd");
    CHECK_EQ(SYS(chdir, U("../../../..")), 0, "above the root");
    CHECK_EQ(SYS(getcwd, U(buf), sizeof(buf)), 2, "getcwd");
    CHECK_EQ(SYS(chdir, U("/bin/prog")), -ENOTDIR, "a file");
    CHECK_EQ(SYS(chdir, U("/nope")), -ENOENT, "nothing");
    CHECK_EQ(SYS(mkdir, U("/tmp/d"), 0755), 0, "mkdir");
    CHECK_EQ(SYS(chdir, U("/tmp/d")), 0, "chdir");
    CHECK_EQ(SYS(rename, U("/tmp/d"), U("/tmp/e")), 0, "rename under our feet");
    CHECK_EQ(SYS(getcwd, U(buf), sizeof(buf)), 7, "getcwd");
    CHECK(strcmp(buf, "/tmp/e") == 0, "%s", buf);
    CHECK_EQ(SYS(rmdir, U("/tmp/e")), 0, "removed under our feet");
    CHECK_EQ(SYS(getcwd, U(buf), sizeof(buf)), -ENOENT, "getcwd");
    CHECK_EQ(SYS(open, U("x"), O_CREAT | O_WRONLY, 0644), -ENOENT, "nothing is made there");
    CHECK_EQ(SYS(chdir, U(".")), 0, "as Linux has it");
    CHECK_EQ(SYS(chdir, U("x")), -ENOENT, "nor found");
    CHECK_EQ(SYS(chdir, U("/")), 0, "away");
    int fd = (int)SYS(open, U("/tmp"), O_RDONLY | O_DIRECTORY, 0);
    CHECK_EQ(SYS(fchdir, U(fd)), 0, "fchdir");
    CHECK_EQ(SYS(getcwd, U(buf), sizeof(buf)), 5, "getcwd");
    CHECK_EQ(SYS(fchdir, 99), -EBADF, "fchdir");
    CHECK_EQ(SYS(fchdir, 0), -ENOTDIR, "fchdir of a stream");
}

static void test_cwd(void **state UNUSED)
{
    vfs_child(cwd_body);
}

/* --- what another process says of itself ---------------------------------------------------------- */

#define OTHER 4711

int process_view(int32_t pid, struct ptable_view *ret, char *ret_label)
{
    static const char label[] =
        "/bin/evil\0x) R 1\nUid:\t0\t0 and much more than a name may be\0evil\0-f";
    if (pid != OTHER)
        return -ESRCH;
    *ret = (struct ptable_view){
        .parent = 1, .pgid = OTHER, .sid = OTHER, .label_size = sizeof(label), .state = 'S'
    };
    memcpy(ret_label, label, sizeof(label));
    return 0;
}

bool process_exists(int32_t pid)
{
    return pid == OTHER;
}

/* A name has 15 bytes and is on one line of status, so readers have room for that (proc_pid_status(5)). */
static void other_body(void)
{
    static const struct {
        const char *path, *start;
    } rows[] = {
        { "/proc/4711/comm", "x) R 1\nUid:\t0\t0\n" },
        { "/proc/4711/status", "Name:\tx) R 1\\nUid:\t0\t0\nState:" },
        { "/proc/4711/stat", "4711 (x) R 1\nUid:\t0\t0) S 1 4711 4711 " },
        { "/proc/4711/cmdline", "evil\0-f" },
    };
    char buf[1024];
    fake_start("/");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int64_t fd = SYS(open, U(rows[i].path), O_RDONLY, 0);
        int64_t n = SYS(read, U(fd), U(buf), sizeof(buf) - 1);
        CHECK(n > 0, "%s: %lld", rows[i].path, (long long)n);
        buf[n] = '\0';
        CHECK(strncmp(buf, rows[i].start, strlen(rows[i].start)) == 0, "%s: '%s'", rows[i].path,
              buf);
    }
}

static void test_other(void **state UNUSED)
{
    vfs_child(other_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_cwd),
        cmocka_unit_test(test_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
