/* Allowed files, outputs, scratch records and overlays: whose word counts where; a lying host. */
#include "vfs_fakes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "core/attr.h"

#define REG      (S_IFREG | 0644)
#define DIR_MODE (S_IFDIR | 0755)

static void add(const char *path, uint32_t class, uint32_t flags, uint32_t mode,
                const char *content)
{
    fake_add(&(struct fake_record){ path, class, flags, mode, content, 0, false });
}

static void temporary(const char *path, uint32_t mode)
{
    fake_add(&(struct fake_record){ path, MANIFEST_SCRATCH, 0, mode, NULL, 0, true });
}

static char *host(const char *path)
{
    static char full[4][600];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(full[turn], sizeof(full[turn]), "%s%s", g_fake_root, path);
    return full[turn];
}

static void host_write(const char *path, const char *text)
{
    char *full = host(path);
    for (char *p = full + strlen(g_fake_root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(full, 0755);
        *p = '/';
    }
    int fd = open(full, O_CREAT | O_WRONLY | O_TRUNC, 0644);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", path);
    close(fd);
}

static void host_holds(const char *path, const char *text)
{
    char got[300] = "";
    int fd = open(host(path), O_RDONLY);
    CHECK(fd >= 0, "%s is not on the host", path);
    CHECK(read(fd, got, sizeof(got) - 1) >= 0 && strcmp(got, text) == 0, "%s holds '%s'", path,
          got);
    close(fd);
}

static int64_t file_write(const char *path, int flags, const char *text)
{
    int64_t fd = SYS(open, U(path), U(flags), 0644);
    if (fd < 0)
        return fd;
    int64_t n = SYS(write, U(fd), U(text), strlen(text));
    SYS(close, U(fd));
    return n;
}

static int64_t file_read(const char *path, char *buf, size_t size)
{
    memset(buf, 0, size);
    int64_t fd = SYS(open, U(path), O_RDONLY, 0);
    if (fd < 0)
        return fd;
    int64_t n = SYS(read, U(fd), U(buf), size - 1);
    SYS(close, U(fd));
    return n;
}

/* The names of a folder, sorted, one blank after each. */
static const char *names(const char *path)
{
    static char text[4000];
    char buf[2000], *list[200];
    unsigned count = 0;
    text[0] = '\0';
    int64_t fd = SYS(open, U(path), O_RDONLY | O_DIRECTORY, 0), n;
    CHECK(fd >= 0, "open %s: %lld", path, (long long)fd);
    while ((n = SYS(getdents64, U(fd), U(buf), sizeof(buf))) > 0)
        for (int64_t at = 0; at < n;) {
            const struct dirent64 *d = (const void *)(buf + at);
            if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
                list[count++] = strdup(d->d_name);
            at += d->d_reclen;
        }
    SYS(close, U(fd));
    if (n < 0) {
        snprintf(text, sizeof(text), "%lld", (long long)n);
        return text;
    }
    for (unsigned i = 0; i < count; i++)
        for (unsigned k = i + 1; k < count; k++)
            if (strcmp(list[i], list[k]) > 0) {
                char *t = list[i];
                list[i] = list[k];
                list[k] = t;
            }
    for (unsigned i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s ", list[i]);
    return text;
}

#define NAMES(path, want)                                                                \
    do {                                                                                 \
        const char *names_ = names(path);                                                \
        CHECK(strcmp(names_, want) == 0, "%s holds '%s', not '%s'", path, names_, want); \
    } while (0)

static void outputs_body(void)
{
    char buf[100];
    struct stat st;
    add("/w/in.csv", MANIFEST_TRUSTED, 0, REG, "1,2\n");
    add("/w/out.csv", MANIFEST_ALLOWED, MANIFEST_OUTPUT, REG, NULL);
    add("/w/dir", MANIFEST_ALLOWED, MANIFEST_OUTPUT | MANIFEST_SUBTREE, DIR_MODE, NULL);
    add("/w", MANIFEST_TRUSTED, MANIFEST_LISTED, DIR_MODE, NULL);
    fake_start("/w");
    host_write("/w/out.csv", "of an earlier run");
    host_write("/w/dir/stale", "left behind");
    host_write("/w/dir/old/deep", "left behind");
    CHECK_EQ(SYS(stat, U("out.csv"), U(&st)), -ENOENT, "an output is absent first");
    CHECK_EQ(g_fake_audits, 0, "and that is no news");
    CHECK_EQ(SYS(open, U("out.csv"), O_RDWR, 0), -ENOENT, "also for open");
    CHECK_EQ(SYS(unlink, U("out.csv")), -ENOENT, "and unlink");
    NAMES("/w", "in.csv ");
    int64_t fd = SYS(open, U("out.csv"), O_RDWR | O_CREAT | O_EXCL, 0644);
    CHECK(fd >= 0, "created: %lld", (long long)fd);
    CHECK_EQ(SYS(read, U(fd), U(buf), 100), 0, "nothing of the earlier run is read");
    CHECK_EQ(SYS(write, U(fd), U("new"), 3), 3, "write");
    CHECK_EQ(SYS(pread64, U(fd), U(buf), 100, 1), 2, "our own is");
    SYS(close, U(fd));
    host_holds("/w/out.csv", "new");
    CHECK_EQ(SYS(stat, U("out.csv"), U(&st)), 0, "there now");
    CHECK_EQ(st.st_size, 3, "size");
    NAMES("/w", "in.csv out.csv ");
    CHECK_EQ(SYS(rename, U("out.csv"), U("in.csv")), -EROFS, "over a trusted file");
    CHECK_EQ(SYS(open, U("/w/out.csv"), O_CREAT | O_EXCL | O_RDWR, 0644), -EEXIST, "twice");
    CHECK_EQ(file_write("out.csv", O_WRONLY | O_APPEND, "+"), 1, "append");
    host_holds("/w/out.csv", "new+");
    CHECK_EQ(SYS(unlink, U("out.csv")), 0, "unlink");
    CHECK_EQ(SYS(stat, U("out.csv"), U(&st)), -ENOENT, "gone");
    CHECK_EQ(SYS(stat, U("dir"), U(&st)), -ENOENT, "an output folder is absent too");
    CHECK_EQ(SYS(open, U("dir/x"), O_CREAT | O_WRONLY, 0644), -ENOENT, "nothing is made in it");
    CHECK_EQ(SYS(mkdir, U("dir"), 0755), 0, "made");
    CHECK_EQ(file_write("dir/x", O_WRONLY | O_CREAT, "deep"), 4, "in it");
    host_holds("/w/dir/x", "deep");
    NAMES("/w/dir", "x ");
    CHECK_EQ(file_read("dir/stale", buf, sizeof(buf)), -ENOENT, "what an earlier run left in it");
    CHECK_EQ(file_read("dir/old/deep", buf, sizeof(buf)), -ENOENT, "and below");
    CHECK_EQ(SYS(mkdir, U("dir/old"), 0755), 0, "made again");
    NAMES("/w/dir/old", "");
    CHECK_EQ(file_write("dir/stale", O_WRONLY | O_CREAT | O_EXCL, "new"), 3, "made again");
    host_holds("/w/dir/stale", "new");
    CHECK_EQ(SYS(rename, U("dir/x"), U("dir/old/deep")), 0, "over what an earlier run left");
    NAMES("/w/dir/old", "deep ");
    CHECK_EQ(SYS(rename, U("dir/old"), U("dir/moved")), 0, "a folder");
    NAMES("/w/dir", "moved stale ");
    NAMES("/w/dir/moved", "deep ");
    CHECK_EQ(SYS(stat, U("dir/old/deep"), U(&st)), -ENOENT, "moved away");
    CHECK_EQ(SYS(unlink, U("dir/moved/deep")), 0, "unlink");
    CHECK_EQ(SYS(rmdir, U("dir/moved")), 0, "rmdir");
    NAMES("/w/dir", "stale ");
    CHECK_EQ(file_write("other", O_WRONLY | O_CREAT, "x"), -EROFS,
             "what the manifest does not name");
}

static void test_outputs(void **state UNUSED)
{
    vfs_child(outputs_body);
}

static void allowed_body(void)
{
    char buf[100];
    struct stat st;
    add("/data", MANIFEST_ALLOWED, MANIFEST_SUBTREE, DIR_MODE, NULL);
    add("/data/pinned.py", MANIFEST_TRUSTED, 0, REG, "measured");
    add("/data/shadow.py", MANIFEST_ABSENT, 0, 0, NULL);
    add("/data/named", MANIFEST_NAMED, 0, REG, NULL);
    add("/one", MANIFEST_ALLOWED, 0, REG, NULL);
    add("/safe/secret", MANIFEST_TRUSTED, 0, REG, "s");
    fake_start("/");
    host_write("/data/free", "host's");
    host_write("/data/pinned.py", "measured");
    host_write("/data/shadow.py", "planted");
    host_write("/data/sub/deep", "d");
    CHECK(symlink("/safe/secret", host("/data/link")) == 0 &&
              symlink("free", host("/data/rel")) == 0 &&
              symlink("/etc/passwd", host("/data/out")) == 0 &&
              symlink("..", host("/data/sub/up")) == 0,
          "symlinks");
    CHECK_EQ(file_read("/data/free", buf, sizeof(buf)), 6, "the host's word");
    CHECK_EQ(file_read("/data/sub/deep", buf, sizeof(buf)), 1, "below");
    CHECK_EQ(file_read("/data/sub/up/free", buf, sizeof(buf)), 6, "up a link");
    CHECK_EQ(file_read("/data/pinned.py", buf, sizeof(buf)), 8, "measured");
    CHECK_EQ(SYS(stat, U("/data/shadow.py"), U(&st)), -ENOENT, "a measured absence wins");
    CHECK_EQ(file_write("/data/shadow.py", O_CREAT | O_WRONLY, "x"), -EROFS, "and stays");
    CHECK_EQ(file_write("/data/pinned.py", O_WRONLY, "x"), -EROFS, "trusted inside allowed");
    CHECK_EQ(SYS(rename, U("/data/free"), U("/data/pinned.py")), -EROFS, "over a trusted file");
    CHECK_EQ(SYS(unlink, U("/data/pinned.py")), -EROFS, "unlink");
    /* Links lead where the enclave says: to measured names, and to nothing outside the manifest. */
    CHECK_EQ(file_read("/data/link", buf, sizeof(buf)), 1, "a link to a trusted file");
    CHECK_EQ(buf[0], 's', "its measured content");
    CHECK_EQ(file_read("/data/rel", buf, sizeof(buf)), 6, "a relative link");
    CHECK_EQ(file_read("/data/out", buf, sizeof(buf)), -ENOENT, "a link out of the world");
    NAMES("/data", "free link named out pinned.py rel sub ");
    CHECK_EQ(file_write("/data/new", O_CREAT | O_WRONLY | O_EXCL, "n"), 1, "create");
    host_holds("/data/new", "n");
    CHECK_EQ(SYS(mkdir, U("/data/d"), 0755), 0, "mkdir");
    CHECK_EQ(SYS(rename, U("/data/new"), U("/data/d/new")), 0, "rename");
    host_holds("/data/d/new", "n");
    CHECK_EQ(file_read("/one", buf, sizeof(buf)), -ENOENT, "an allowed file that is not there");
    CHECK_EQ(file_write("/one", O_CREAT | O_WRONLY, "1"), 1, "is made");
    host_holds("/one", "1");
    CHECK_EQ(SYS(rename, U("/one"), U("/safe/one")), -EROFS, "into the measured world");
}

static void test_allowed(void **state UNUSED)
{
    vfs_child(allowed_body);
}

static void scratch_body(void)
{
    char buf[100];
    struct stat st;
    fake_add(&(struct fake_record){ "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE, S_IFDIR | 01777,
                                    NULL, 0, false });
    add("/tmp/proj/main.py", MANIFEST_TRUSTED, 0, REG, "code");
    add("/tmp/proj/mod.py", MANIFEST_ABSENT, 0, 0, NULL);
    temporary("/w/work", DIR_MODE);
    temporary("/w/work/part", REG);
    temporary("/w/plain", REG);
    add("/w/keep", MANIFEST_TRUSTED, 0, REG, "k");
    add("/data", MANIFEST_ALLOWED, MANIFEST_SUBTREE, DIR_MODE, NULL);
    fake_start("/w");
    mkdir(host("/data"), 0755);
    /* An overlay: measured names win, the program's own lie beside them. */
    CHECK_EQ(file_read("/tmp/proj/main.py", buf, sizeof(buf)), 4, "measured");
    CHECK_EQ(SYS(stat, U("/tmp/proj/mod.py"), U(&st)), -ENOENT, "absent");
    CHECK_EQ(g_fake_audits, 0, "quietly");
    CHECK_EQ(file_write("/tmp/proj/out", O_CREAT | O_WRONLY, "mine"), 4, "beside it");
    CHECK_EQ(file_write("/tmp/proj/mod.py", O_CREAT | O_WRONLY, "own"), 3,
             "the program's own module");
    CHECK_EQ(file_write("/tmp/proj/main.py", O_WRONLY, "x"), -EROFS, "measured stays");
    CHECK_EQ(SYS(unlink, U("/tmp/proj/main.py")), -EROFS, "measured stays");
    CHECK_EQ(SYS(rename, U("/tmp/proj/out"), U("/tmp/proj/main.py")), -EROFS, "measured stays");
    NAMES("/tmp/proj", "main.py mod.py out ");
    CHECK_EQ(SYS(stat, U("/tmp/proj"), U(&st)), 0, "stat");
    CHECK(st.st_mtim.tv_sec > 1500000000, "a new name changes a directory's time");
    CHECK_EQ(SYS(stat, U("/w"), U(&st)), 0, "stat");
    CHECK_EQ(st.st_mtim.tv_sec, 315619200, "measured directories have a constant one");
    NAMES("/tmp", "proj ");
    CHECK_EQ(SYS(rmdir, U("/tmp/proj")), -EROFS, "an ancestor of a trusted file");
    CHECK_EQ(SYS(rename, U("/tmp/proj"), U("/tmp/p2")), -EROFS, "an ancestor of a trusted file");
    CHECK_EQ(SYS(rename, U("/tmp/proj/out"), U("/tmp/out")), 0, "within scratch");
    NAMES("/tmp", "out proj ");
    CHECK_EQ(SYS(rmdir, U("/tmp")), -EROFS, "the scratch folder itself");
    /* Single records, there once the program makes them. */
    CHECK_EQ(SYS(stat, U("work"), U(&st)), -ENOENT, "not yet");
    CHECK_EQ(SYS(stat, U("work/part"), U(&st)), -ENOENT, "nor below");
    CHECK_EQ(file_write("work/part", O_CREAT | O_WRONLY, "x"), -ENOENT, "no folder");
    CHECK_EQ(SYS(mkdir, U("work"), 0755), 0, "mkdir");
    CHECK_EQ(file_write("work/part", O_CREAT | O_WRONLY, "part"), 4, "a named one");
    CHECK_EQ(file_write("/w/work/any", O_CREAT | O_WRONLY, "any"), 3, "any other");
    CHECK_EQ(file_read("work/../work/part", buf, sizeof(buf)), 4, "read back");
    CHECK_EQ(SYS(chdir, U("/w/work")), 0, "chdir");
    CHECK_EQ(file_read("part", buf, sizeof(buf)), 4, "relative");
    CHECK_EQ(file_read("../keep", buf, sizeof(buf)), 1, "up again");
    CHECK_EQ(SYS(chdir, U("..")), 0, "chdir");
    NAMES("/w/work", "any part ");
    CHECK_EQ(file_write("plain", O_CREAT | O_WRONLY, "p"), 1, "a single file");
    CHECK_EQ(SYS(unlink, U("plain")), 0, "unlink");
    CHECK_EQ(SYS(rename, U("/tmp/out"), U("plain")), 0, "scratch to scratch");
    CHECK_EQ(file_read("plain", buf, sizeof(buf)), 4, "there");
    CHECK_EQ(SYS(link, U("plain"), U("/data/l")), -EXDEV, "link across classes");
    CHECK_EQ(SYS(rename, U("plain"), U("/data/l")), -EXDEV, "rename across classes");
    CHECK_EQ(SYS(link, U("keep"), U("/tmp/l")), -EXDEV, "link of a trusted file");
    CHECK_EQ(SYS(unlink, U("work/part")) | SYS(unlink, U("work/any")) | SYS(rmdir, U("work")), 0,
             "clean");
    CHECK_EQ(SYS(symlink, U("/tmp"), U("work")), 0, "a link in the folder's place");
    CHECK_EQ(SYS(stat, U("/w/work/part"), U(&st)), -ENOENT, "leads elsewhere");
    CHECK_EQ(file_write("/w/work/part", O_CREAT | O_WRONLY, "x"), 1, "where it can be made");
    NAMES("/tmp", "part proj ");
    CHECK_EQ(g_fake_calls[OCALL_WRITE] + g_fake_calls[OCALL_PWRITE], 0, "the host saw a write");
}

static void test_scratch(void **state UNUSED)
{
    vfs_child(scratch_body);
}

static void listing_body(void)
{
    struct stat st;
    add("/lib/a", MANIFEST_TRUSTED, 0, REG, "a");
    add("/lib/l", MANIFEST_TRUSTED, 0, S_IFLNK | 0777, "a");
    add("/lib/n", MANIFEST_NAMED, 0, REG, NULL);
    add("/lib/gone", MANIFEST_ABSENT, 0, 0, NULL);
    add("/lib", MANIFEST_TRUSTED, MANIFEST_LISTED, DIR_MODE, NULL);
    add("/unlisted/x", MANIFEST_TRUSTED, 0, REG, "x");
    add("/lib/dir", MANIFEST_NAMED, 0, DIR_MODE, NULL);
    fake_start("/");
    host_write("/lib/planted.py", "evil");
    NAMES("/lib", "a dir l n ");
    CHECK_EQ(SYS(open, U("/lib/dir"), O_RDONLY, 0), -EACCES, "a named folder");
    CHECK_EQ(g_fake_audit_event, OCALL_AUDIT_NOT_GRANTED, "audit");
    CHECK_EQ(SYS(stat, U("/lib/dir"), U(&st)), 0, "can be looked at");
    NAMES("/unlisted", "-13");
    CHECK_EQ(g_fake_audit_event, OCALL_AUDIT_LISTING, "audit");
    CHECK_EQ(SYS(stat, U("/lib/planted.py"), U(&st)), -ENOENT, "planted");
    CHECK_EQ(g_fake_calls[OCALL_STAT] + g_fake_calls[OCALL_GETDENTS], 0, "the host was asked");
    /* Offsets are stable: seek back to each of them. */
    char buf[400];
    int64_t fd = SYS(open, U("/lib"), O_RDONLY, 0);
    CHECK_EQ(SYS(getdents64, U(fd), U(buf), 10), -EINVAL, "too small for one");
    uint64_t at[10];
    char name[10][20];
    int count = 0;
    while (SYS(getdents64, U(fd), U(buf), 32) > 0) {
        const struct dirent64 *d = (const void *)buf;
        snprintf(name[count], 20, "%.10s", d->d_name);
        at[count++] = (uint64_t)d->d_off;
    }
    CHECK_EQ(count, 6, "names");
    for (int i = 0; i + 1 < count; i++) {
        CHECK_EQ(SYS(lseek, U(fd), at[i], SEEK_SET), (long long)at[i], "seek");
        CHECK_EQ(SYS(getdents64, U(fd), U(buf), 32) > 0, 1, "read on");
        CHECK(strcmp(((const struct dirent64 *)(const void *)buf)->d_name, name[i + 1]) == 0,
              "order");
    }
    CHECK_EQ(SYS(getdents64, U(fd), U(8), 200), 0, "the end needs no buffer");
    CHECK_EQ(SYS(lseek, U(fd), 0, SEEK_SET), 0, "rewind");
    CHECK_EQ(SYS(getdents64, U(fd), U(8), 200), -EFAULT, "a bad buffer");
    CHECK_EQ(SYS(read, U(fd), U(buf), 10), -EISDIR, "read");
    CHECK_EQ(SYS(open, U("/lib"), O_WRONLY, 0), -EISDIR, "open for writing");
}

static void test_listing(void **state UNUSED)
{
    vfs_child(listing_body);
}

/* --- a host that lies ------------------------------------------------------------------ */

static unsigned g_noise = 9;

static uint32_t next(uint32_t below)
{
    g_noise = g_noise * 1103515245u + 12345u;
    return (g_noise >> 8) % below;
}

/* Anything for a result, anything in the window. */
static bool noise(enum ocall_nr nr, const uint64_t args[6], int64_t *ret)
{
    if (nr == OCALL_CLOSE || nr == OCALL_YIELD || next(3))
        return false;
    switch (next(6)) {
    case 0: *ret = -(int64_t)next(5000); break;
    case 1: *ret = INT64_MIN; break;
    case 2: *ret = INT64_MAX; break;
    case 3: *ret = (int64_t)args[1] + (int64_t)next(3) - 1; break;
    case 4: *ret = OCALL_DATA_SIZE - (int64_t)next(2); break;
    default: *ret = next(300); break;
    }
    /* A true EINTR is retried for as long as it is said. */
    if (*ret == -EINTR)
        *ret = -EIO;
    for (uint32_t i = 0; i < sizeof(struct ocall_stat) * 4; i++)
        g_fake_window[i] = next(4) ? (uint8_t)next(256) : 0;
    for (int i = 0; i < 4; i++)
        g_fake_out[i] = ((uint64_t)next(1u << 24) << 40) | next(1u << 24);
    if (nr == OCALL_OPEN && *ret >= 0)
        *ret = next(2) ? 1000000 + *ret % 1000 : -ENOENT; /* a handle that is none */
    return true;
}

static void noise_body(void)
{
    static char buf[70000];
    char path[64];
    struct stat st;
    add("/data", MANIFEST_ALLOWED, MANIFEST_SUBTREE, DIR_MODE, NULL);
    add("/data/out", MANIFEST_ALLOWED, MANIFEST_OUTPUT, REG, NULL);
    add("/lib/t", MANIFEST_TRUSTED, MANIFEST_DENY, REG, "trusted content");
    fake_start("/data");
    mkdir(host("/data/d"), 0755);
    host_write("/data/f", "0123456789");
    (void)!symlink("f", host("/data/l"));
    g_fake_hook = noise;
    for (int i = 0; i < 20000; i++) {
        static const char *const rel[] = {
            "f", "d", "l", "out", "x", "d/y", "../lib/t", "l/z", "."
        };
        snprintf(path, sizeof(path), "%s", rel[next(ARRAY_SIZE(rel))]);
        uint64_t n = next(1000);
        int64_t fd = SYS(open, U(path),
                         (uint64_t[]){ O_RDONLY, O_RDWR, O_RDWR | O_CREAT, O_RDONLY | O_DIRECTORY,
                                       O_PATH, O_WRONLY | O_APPEND }[next(6)],
                         0644);
        if (fd >= 0) {
            memset(buf, 'z', sizeof(buf));
            int64_t got = SYS(read, U(fd), U(buf), n);
            CHECK(got <= (int64_t)n, "read %lld of %lu", (long long)got, (unsigned long)n);
            for (uint64_t k = n; k < n + 100; k++)
                CHECK_EQ(buf[k], 'z', "a byte beyond the buffer was written");
            if (strcmp(path, "../lib/t") == 0 && got > 0)
                CHECK(memcmp(buf, "trusted content", (size_t)got) == 0, "unverified bytes");
            got = SYS(write, U(fd), U(buf), n);
            CHECK(got <= (int64_t)n, "wrote %lld of %lu", (long long)got, (unsigned long)n);
            SYS(fstat, U(fd), U(&st));
            got = SYS(getdents64, U(fd), U(buf), 600);
            CHECK(got <= 600, "getdents64 gave %lld", (long long)got);
            SYS(lseek, U(fd), U(next(100)), next(3));
            SYS(ftruncate, U(fd), next(100));
            SYS(close, U(fd));
        }
        SYS(stat, U(path), U(&st));
        SYS(readlink, U(path), U(buf), 100);
        SYS(rename, U(path), U("x"));
        SYS(unlink, U("x"));
    }
    CHECK_EQ(SYS(open, U("/lib/t"), O_RDONLY, 0), 3, "no descriptor was lost");
}

static void test_noise(void **state UNUSED)
{
    vfs_child(noise_body);
}

static uint8_t g_dirents[8192];
static int64_t g_dirents_size;

static bool say_dirents(enum ocall_nr nr, const uint64_t args[6] UNUSED, int64_t *ret)
{
    if (nr != OCALL_GETDENTS)
        return false;
    memcpy(g_fake_window, g_dirents, sizeof(g_dirents));
    *ret = g_dirents_size;
    g_dirents_size = g_dirents_size > 0 ? 0 : g_dirents_size;
    return true;
}

static void one_dirent(uint16_t record, uint16_t name_size, const char *name, int64_t size)
{
    struct ocall_dirent *d = (void *)g_dirents;
    *d = (struct ocall_dirent){
        .ino = 5, .record_size = record, .type = 255, .name_size = name_size
    };
    memcpy(d->name, name, strlen(name));
    g_dirents_size = size;
}

static void dirents_body(void)
{
    static const struct {
        const char *what;
        uint16_t record, name_size;
        const char *name;
        int64_t size;
        const char *want;
    } dirents[] = {
        { "honest", 24, 3, "abc", 24, "abc " },
        { "a slash", 24, 3, "a/b", 24, "" },
        { "dots", 24, 2, "..", 24, "" },
        { "an empty name", 24, 0, "", 24, "" },
        { "a NUL in it", 24, 5, "abc", 24, "" },
        { "record of 0", 0, 3, "abc", 24, "-5" },
        { "record beyond the end", 32, 3, "abc", 24, "-5" },
        { "unaligned record", 25, 3, "abc", 40, "-5" },
        { "name beyond the record", 24, 100, "abc", 24, "-5" },
        { "name of 300", 400, 300, "abc", 400, "" },
        { "size beyond the window", 24, 3, "abc", OCALL_DATA_SIZE + 1, "-5" },
        { "half a head", 24, 3, "abc", 28, "-5" },
    };
    add("/data", MANIFEST_ALLOWED, MANIFEST_SUBTREE, DIR_MODE, NULL);
    fake_start("/");
    mkdir(host("/data"), 0755);
    g_fake_hook = say_dirents;
    for (size_t i = 0; i < ARRAY_SIZE(dirents); i++) {
        memset(g_dirents, 0, sizeof(g_dirents));
        one_dirent(dirents[i].record, dirents[i].name_size, dirents[i].name, dirents[i].size);
        const char *got = names("/data");
        CHECK(strcmp(got, dirents[i].want) == 0, "%s: '%s'", dirents[i].what, got);
    }
}

static void test_dirents(void **state UNUSED)
{
    vfs_child(dirents_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outputs), cmocka_unit_test(test_allowed),
        cmocka_unit_test(test_scratch), cmocka_unit_test(test_listing),
        cmocka_unit_test(test_noise),   cmocka_unit_test(test_dirents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
