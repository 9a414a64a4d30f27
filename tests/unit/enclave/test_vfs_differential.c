/*
 * The same calls, in random order, on scratch files, on allowed files and on this machine's:
 * results, errors, metadata and listings must agree. The kernel is the oracle.
 */
#include "vfs_fakes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "core/attr.h"

#define ROUNDS         6000
#define OPEN_MAX_FILES 6

static char g_native[300]; /* the oracle's folder */
static const char *g_mine; /* ours, in the program's world */
static char g_log[8][600]; /* the last calls */
static unsigned g_log_at;
static unsigned g_seed;
static bool g_dir_links; /* does this machine count a directory's links? */

static uint32_t next(uint32_t below)
{
    g_seed = g_seed * 1103515245u + 12345u;
    return (g_seed >> 8) % below;
}

static void history(void)
{
    for (unsigned i = 0; i < 8; i++)
        fprintf(stderr, "  %s\n", g_log[(g_log_at + i) % 8]);
}

#define SAME(mine, native, ...)                                             \
    do {                                                                    \
        long long mine_ = (long long)(mine), native_ = (long long)(native); \
        if (mine_ != native_) {                                             \
            history();                                                      \
            CHECK_EQ(mine_, native_, __VA_ARGS__);                          \
        }                                                                   \
    } while (0)

static int64_t native(int64_t r)
{
    return r < 0 ? -errno : r;
}

/* A path of a few names below the folder; *ret_mine and *ret_native live until the next but three.
 */
static void pick(const char **ret_mine, const char **ret_native)
{
    static char paths[8][2][400];
    static unsigned turn;
    static const char *const names[] = { "a", "b", "c", "d", "..", ".", "a", "b", "" };
    char rel[200] = "";
    uint32_t depth = 1 + next(3);
    for (uint32_t i = 0; i < depth; i++) {
        const char *name = names[next(i == 0 ? 4 : ARRAY_SIZE(names))];
        snprintf(rel + strlen(rel), sizeof(rel) - strlen(rel), "/%s", name);
    }
    /* ".." must not leave the folder: at most as many as names before it. */
    int level = 0;
    for (const char *p = rel; *p; p++)
        if (*p == '/' && p[1] && p[1] != '/')
            level += p[1] == '.' ? (p[2] == '.' ? -1 : 0) : 1;
    if (level < 0)
        snprintf(rel, sizeof(rel), "/a");
    char(*pair)[400] = paths[turn++ % 8];
    snprintf(pair[0], sizeof(pair[0]), "%s%s", g_mine, rel);
    snprintf(pair[1], sizeof(pair[1]), "%s%s", g_native, rel);
    *ret_mine = pair[0];
    *ret_native = pair[1];
}

static void same_stat(const struct stat *m, const struct stat *n, const char *path)
{
    SAME(m->st_mode, n->st_mode, "mode of %s", path);
    SAME(m->st_uid, n->st_uid, "uid of %s", path);
    if (!S_ISDIR(n->st_mode)) {
        SAME(m->st_nlink, n->st_nlink, "nlink of %s", path);
        if (!S_ISLNK(n->st_mode))
            SAME(m->st_size, n->st_size, "size of %s", path);
    } else if (g_dir_links) {
        SAME(m->st_nlink, n->st_nlink, "nlink of %s", path);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static unsigned names_of(bool mine, int64_t fd, char names[64][40])
{
    static char buf[700];
    unsigned count = 0;
    for (;;) {
        uint32_t size = 40 + next(600);
        int64_t n = mine ? SYS(getdents64, U(fd), U(buf), size)
                         : native(syscall(SYS_getdents64, (int)fd, buf, size));
        if (n == -EINVAL)
            continue; /* too small for one */
        if (n <= 0)
            break;
        for (int64_t at = 0; at < n;) {
            const struct dirent64 *d = (const void *)(buf + at);
            snprintf(names[count++], 40, "%.30s/%u", d->d_name, d->d_type);
            at += d->d_reclen;
        }
    }
    qsort(names, count, 40, by_name);
    return count;
}

static void same_listing(const char *mine, const char *nat)
{
    static char m[64][40], n[64][40];
    int64_t mfd = SYS(open, U(mine), O_RDONLY | O_DIRECTORY, 0);
    int64_t nfd = native(open(nat, O_RDONLY | O_DIRECTORY));
    SAME(mfd < 0 ? mfd : 0, nfd < 0 ? nfd : 0, "open folder %s", mine);
    if (nfd < 0)
        return;
    unsigned mc = names_of(true, mfd, m), nc = names_of(false, nfd, n);
    SAME(mc, nc, "names in %s", mine);
    for (unsigned i = 0; i < mc; i++)
        if (strcmp(m[i], n[i]) != 0) {
            history();
            CHECK(false, "%s holds %s, not %s", mine, m[i], n[i]);
        }
    SYS(close, U(mfd));
    close((int)nfd);
}

static struct {
    int64_t mine, native;
} g_open[OPEN_MAX_FILES];

static void do_open(const char *mp, const char *np)
{
    static const int flags[] = { O_RDONLY,
                                 O_WRONLY,
                                 O_RDWR,
                                 O_RDWR | O_CREAT,
                                 O_WRONLY | O_CREAT | O_EXCL,
                                 O_RDWR | O_CREAT | O_TRUNC,
                                 O_WRONLY | O_APPEND | O_CREAT,
                                 O_RDWR | O_TRUNC,
                                 O_RDONLY | O_NOFOLLOW,
                                 O_RDONLY | O_DIRECTORY,
                                 O_RDWR | O_CREAT | O_NOFOLLOW,
                                 O_PATH,
                                 O_PATH | O_NOFOLLOW,
                                 O_CREAT | O_RDONLY };
    int f = flags[next(ARRAY_SIZE(flags))];
    unsigned slot = next(OPEN_MAX_FILES);
    if (g_open[slot].native > 0) {
        SAME(SYS(close, U(g_open[slot].mine)), native(close((int)g_open[slot].native)), "close");
        g_open[slot].native = 0;
    }
    int64_t m = SYS(open, U(mp), U(f), 0640), n = native(open(np, f, 0640));
    SAME(m < 0 ? m : 0, n < 0 ? n : 0, "open %s, flags 0%o", mp, f);
    g_open[slot].mine = m;
    g_open[slot].native = n < 0 ? 0 : n;
}

/* Reads, writes and the like on an open pair. */
static void do_io(void)
{
    static char data[20000], mb[20000], nb[20000];
    unsigned slot = next(OPEN_MAX_FILES);
    int64_t mf = g_open[slot].mine, m, n;
    int nf = (int)g_open[slot].native;
    if (nf <= 0)
        return;
    uint32_t size = next(4) ? next(300) : next(20000), kind = next(10);
    off_t at = next(3) ? next(5000) : next(40000);
    memset(data, (int)('a' + next(26)), sizeof(data));
    snprintf(g_log[g_log_at++ % 8], 600, "io %u on pair %u, %u at %ld", kind, slot, size, (long)at);
    struct stat ms, ns;
    switch (kind) {
    case 0:
    case 1:
        m = SYS(read, U(mf), U(mb), size);
        n = native(read(nf, nb, size));
        SAME(m, n, "read");
        if (n > 0)
            CHECK(memcmp(mb, nb, (size_t)n) == 0, "read bytes");
        break;
    case 2:
    case 3: SAME(SYS(write, U(mf), U(data), size), native(write(nf, data, size)), "write"); break;
    case 4:
        m = SYS(pread64, U(mf), U(mb), size, U(at));
        n = native(pread(nf, nb, size, at));
        SAME(m, n, "pread");
        if (n > 0)
            CHECK(memcmp(mb, nb, (size_t)n) == 0, "pread bytes");
        break;
    case 5:
        SAME(SYS(pwrite64, U(mf), U(data), size, U(at)), native(pwrite(nf, data, size, at)),
             "pwrite");
        break;
    case 6: {
        int whence = (int)next(3);
        off_t off = (off_t)next(9000) - 3000;
        struct stat st;
        if (fstat(nf, &st) == 0 && S_ISDIR(st.st_mode))
            break; /* directory offsets are the file system's own */
        SAME(SYS(lseek, U(mf), U(off), U(whence)), native(lseek(nf, off, whence)), "lseek");
        break;
    }
    case 7: SAME(SYS(ftruncate, U(mf), U(at)), native(ftruncate(nf, at)), "ftruncate"); break;
    case 8:
        m = SYS(fstat, U(mf), U(&ms));
        n = native(fstat(nf, &ns));
        SAME(m, n, "fstat");
        if (n == 0)
            same_stat(&ms, &ns, "an open file");
        break;
    default: {
        int command = next(2) ? F_GETFL : next(2) ? F_SETFL : F_GETFD;
        int flags = command == F_SETFL && next(2) ? O_APPEND : 0;
        SAME(SYS(fcntl, U(mf), U(command), U(flags)), native(fcntl(nf, command, flags)), "fcntl %d",
             command);
        break;
    }
    }
}

static void do_link(const char *mp, const char *np)
{
    static const char *const targets[] = {
        "a", "b", "../a", "./c/d", "nowhere", "d/", "/", "a/../b"
    };
    const char *target = targets[next(ARRAY_SIZE(targets))];
    char full[2][400];
    if (strcmp(target, "/") == 0) { /* an absolute one */
        snprintf(full[0], sizeof(full[0]), "%s/b", g_mine);
        snprintf(full[1], sizeof(full[1]), "%s/b", g_native);
        SAME(SYS(symlink, U(full[0]), U(mp)), native(symlink(full[1], np)), "symlink %s", mp);
    } else {
        SAME(SYS(symlink, U(target), U(mp)), native(symlink(target, np)), "symlink %s -> %s", mp,
             target);
    }
}

static void do_readlink(const char *mp, const char *np)
{
    char mb[400] = "", nb[400] = "";
    int64_t m = SYS(readlink, U(mp), U(mb), 399), n = native(readlink(np, nb, 399));
    SAME(m < 0 ? m : 0, n < 0 ? n : 0, "readlink %s", mp);
    if (n < 0)
        return;
    const char *mt = mb[0] == '/' ? mb + strlen(g_mine) : mb;
    const char *nt = nb[0] == '/' ? nb + strlen(g_native) : nb;
    CHECK(strcmp(mt, nt) == 0, "readlink %s: %s, not %s", mp, mb, nb);
}

static void do_times(const char *mp, const char *np)
{
    struct stat ms, ns;
    struct timespec times[2] = { { next(1000000), next(1000000000) },
                                 { next(1000000), UTIME_OMIT } };
    if (next(2))
        times[1].tv_nsec = next(1000000000);
    SAME(SYS(utimensat, FAKE_CWD, U(mp), U(times), 0), native(utimensat(AT_FDCWD, np, times, 0)),
         "utimensat %s", mp);
    if (times[1].tv_nsec != UTIME_OMIT && stat(np, &ns) == 0) {
        SAME(SYS(stat, U(mp), U(&ms)), 0, "stat %s", mp);
        SAME(ms.st_mtim.tv_sec, ns.st_mtim.tv_sec, "mtime of %s", mp);
        SAME(ms.st_mtim.tv_nsec, ns.st_mtim.tv_nsec, "mtime of %s", mp);
    }
}

static void one(void)
{
    const char *mp, *np, *mq, *nq;
    struct stat ms, ns;
    pick(&mp, &np);
    pick(&mq, &nq);
    uint32_t kind = next(24);
    snprintf(g_log[g_log_at++ % 8], 600, "op %u: %.250s, %.250s", kind, mp, mq);
    switch (kind) {
    case 0:
    case 1: SAME(SYS(mkdir, U(mp), 0755), native(mkdir(np, 0755)), "mkdir %s", mp); break;
    case 2: SAME(SYS(rmdir, U(mp)), native(rmdir(np)), "rmdir %s", mp); break;
    case 3: SAME(SYS(unlink, U(mp)), native(unlink(np)), "unlink %s", mp); break;
    case 4:
    case 5:
    case 6: SAME(SYS(rename, U(mp), U(mq)), native(rename(np, nq)), "rename %s %s", mp, mq); break;
    case 7: {
        unsigned flags = next(4);
        SAME(SYS(renameat2, FAKE_CWD, U(mp), FAKE_CWD, U(mq), flags),
             native(renameat2(AT_FDCWD, np, AT_FDCWD, nq, flags)), "renameat2 %s %s %u", mp, mq,
             flags);
        break;
    }
    case 8: SAME(SYS(link, U(mp), U(mq)), native(link(np, nq)), "link %s %s", mp, mq); break;
    case 9: do_link(mp, np); break;
    case 10: do_readlink(mp, np); break;
    case 11:
    case 12: {
        int64_t m = kind == 11 ? SYS(stat, U(mp), U(&ms)) : SYS(lstat, U(mp), U(&ms));
        int64_t n = native(kind == 11 ? stat(np, &ns) : lstat(np, &ns));
        SAME(m, n, "stat %s", mp);
        if (n == 0)
            same_stat(&ms, &ns, mp);
        break;
    }
    case 13: same_listing(mp, np); break;
    case 14: {
        off_t size = next(9000);
        SAME(SYS(truncate, U(mp), U(size)), native(truncate(np, size)), "truncate %s", mp);
        break;
    }
    case 15: {
        mode_t mode = next(2) ? 0644 : 0750;
        SAME(SYS(chmod, U(mp), mode), native(chmod(np, mode)), "chmod %s", mp);
        break;
    }
    case 16: do_times(mp, np); break;
    case 17: {
        int mode = (int)next(8);
        SAME(SYS(access, U(mp), U(mode)), native(access(np, mode)), "access %s %d", mp, mode);
        break;
    }
    case 18:
        SAME(SYS(linkat, FAKE_CWD, U(mp), FAKE_CWD, U(mq), AT_SYMLINK_FOLLOW),
             native(linkat(AT_FDCWD, np, AT_FDCWD, nq, AT_SYMLINK_FOLLOW)), "linkat %s %s", mp, mq);
        break;
    case 19:
    case 20:
    case 21: do_open(mp, np); break;
    default: do_io();
    }
}

static void run(void)
{
    char path[600];
    struct stat st;
    snprintf(g_native, sizeof(g_native), "%s/native", g_fake_root);
    mkdir(g_native, 0755);
    snprintf(path, sizeof(path), "%s/data", g_fake_root);
    mkdir(path, 0755);
    snprintf(path, sizeof(path), "%s/probe", g_fake_root);
    mkdir(path, 0755);
    stat(path, &st);
    g_dir_links = st.st_nlink == 2;
    rmdir(path);
    fake_add(&(struct fake_record){ "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE, S_IFDIR | 0755,
                                    NULL, 0, false });
    fake_add(&(struct fake_record){ "/data", MANIFEST_ALLOWED, MANIFEST_SUBTREE, S_IFDIR | 0755,
                                    NULL, 0, false });
    fake_start("/");
    /* One level down, so that "../a" stays in the same world. */
    static char mine[100];
    snprintf(mine, sizeof(mine), "%s/base", g_mine);
    g_mine = mine;
    snprintf(path, sizeof(path), "%s/base", g_native);
    memcpy(g_native, path, sizeof(g_native));
    SAME(SYS(mkdir, U(g_mine), 0755), native(mkdir(g_native, 0755)), "base");
    for (unsigned i = 0; i < ROUNDS; i++)
        one();
}

static void scratch_body(void)
{
    g_mine = "/tmp";
    run();
}

static void shm_body(void)
{
    g_mine = "/dev/shm";
    run();
}

static void allowed_body(void)
{
    g_mine = "/data";
    run();
}

static void test_scratch(void **state UNUSED)
{
    for (g_seed = 1; g_seed < 8; g_seed++) {
        unsigned seed = g_seed;
        vfs_child(scratch_body);
        g_seed = seed;
    }
}

static void test_shm(void **state UNUSED)
{
    g_seed = 77;
    vfs_child(shm_body);
}

static void test_allowed(void **state UNUSED)
{
    for (g_seed = 100; g_seed < 104; g_seed++) {
        unsigned seed = g_seed;
        vfs_child(allowed_body);
        g_seed = seed;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scratch),
        cmocka_unit_test(test_shm),
        cmocka_unit_test(test_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
