/* Trusted and named files: metadata from the manifest alone, content verified chunk by chunk. */
#include "vfs_fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "core/attr.h"
#include "core/manifest_view.h"
#include "process/process.h"
#include "process/stats.h"
#include "vfs/file.h"
#include "vfs/trusted/chunks.h"

#define REG (S_IFREG | 0644)

static void add(const char *path, uint32_t flags, const void *content, uint64_t size)
{
    fake_add(&(struct fake_record){ path, MANIFEST_TRUSTED, flags, REG, content, size, false });
}

static int open_ro(const char *path)
{
    return (int)SYS(open, U(path), O_RDONLY, 0);
}

static void metadata_body(void)
{
    struct stat st;
    add("/lib/a.py", 0, "print(1)\n", 0);
    fake_add(&(struct fake_record){ "/lib/named", MANIFEST_NAMED, 0, REG, NULL, 0, false });
    fake_add(&(struct fake_record){ "/lib/gone", MANIFEST_ABSENT, 0, 0, NULL, 0, false });
    fake_add_link_of("/lib/b.py", "/lib/a.py");
    fake_start("/lib");
    CHECK_EQ(SYS(stat, U("/lib/a.py"), U(&st)), 0, "stat");
    CHECK_EQ(st.st_size, 9, "size");
    CHECK_EQ(st.st_nlink, 2, "nlink");
    ino_t ino = st.st_ino;
    CHECK_EQ(SYS(stat, U("b.py"), U(&st)), 0, "relative");
    CHECK_EQ(st.st_ino, ino, "hard link");
    CHECK_EQ(SYS(stat, U("/lib/a.py/"), U(&st)), -ENOTDIR, "trailing slash");
    CHECK_EQ(SYS(stat, U("/lib/named"), U(&st)), 0, "named");
    CHECK_EQ(open_ro("/lib/named"), -EACCES, "named is not granted");
    CHECK_EQ(g_fake_audit_event, OCALL_AUDIT_NOT_GRANTED, "audit");
    unsigned audits = g_fake_audits;
    CHECK_EQ(SYS(stat, U("/lib/gone"), U(&st)), -ENOENT, "absent");
    CHECK_EQ(g_fake_audits, audits, "an expected absence is quiet");
    CHECK_EQ(SYS(stat, U("/lib/nobody/x"), U(&st)), -ENOENT, "unknown");
    CHECK_EQ(g_fake_audits, audits + 1, "one line");
    CHECK(strcmp(g_fake_audit_path, "/lib/nobody/x") == 0, "%s", g_fake_audit_path);
    CHECK_EQ(SYS(stat, U("/lib/nobody/x"), U(&st)), -ENOENT, "again");
    CHECK_EQ(g_fake_audits, audits + 1, "once per path");
    CHECK_EQ(SYS(stat, U(NULL), U(&st)), -EFAULT, "no path");
    CHECK_EQ(SYS(stat, U("/lib/a.py"), U(8)), -EFAULT, "no buffer");
    for (unsigned i = 0; i < OCALL_COUNT; i++)
        CHECK_EQ(g_fake_calls[i], 0, "OCALL %u for metadata", i);
}

static void test_metadata(void **state UNUSED)
{
    vfs_child(metadata_body);
}

static void changes_body(void)
{
    add("/lib/a.py", 0, "x", 0);
    fake_add(&(struct fake_record){ "/lib/gone", MANIFEST_ABSENT, 0, 0, NULL, 0, false });
    fake_start("/lib");
    static const struct {
        const char *name;
        uint32_t flags;
        const char *path;
    } opens[] = {
        { "write", O_WRONLY, "/lib/a.py" },
        { "truncate", O_RDONLY | O_TRUNC, "/lib/a.py" },
        { "append", O_RDWR | O_APPEND, "/lib/a.py" },
        { "create", O_WRONLY | O_CREAT, "/lib/new" },
        { "create an absent name", O_WRONLY | O_CREAT, "/lib/gone" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(opens); i++)
        CHECK_EQ(SYS(open, U(opens[i].path), opens[i].flags, 0644), -EROFS, "%s", opens[i].name);
    CHECK_EQ(g_fake_audit_event, OCALL_AUDIT_WRITE, "audit");
    CHECK_EQ(SYS(unlink, U("/lib/a.py")), -EROFS, "unlink");
    CHECK_EQ(SYS(rename, U("/lib/a.py"), U("/lib/b.py")), -EROFS, "rename");
    CHECK_EQ(SYS(rename, U("/lib"), U("/lob")), -EROFS, "rename an ancestor");
    CHECK_EQ(SYS(rmdir, U("/lib")), -EROFS, "rmdir");
    CHECK_EQ(SYS(mkdir, U("/lib/d"), 0755), -EROFS, "mkdir");
    CHECK_EQ(SYS(mkdir, U("/lib"), 0755), -EEXIST, "mkdir of what is there");
    CHECK_EQ(SYS(symlink, U("x"), U("/lib/s")), -EROFS, "symlink");
    CHECK_EQ(SYS(chmod, U("/lib/a.py"), 0600), -EROFS, "chmod");
    CHECK_EQ(SYS(truncate, U("/lib/a.py"), 0), -EROFS, "truncate");
    CHECK_EQ(SYS(access, U("/lib/a.py"), W_OK), -EROFS, "access W");
    CHECK_EQ(SYS(access, U("/lib/a.py"), R_OK), 0, "access R");
    CHECK_EQ(SYS(access, U("/lib/a.py"), X_OK), -EACCES, "access X");
    CHECK_EQ(SYS(open, U("/lib/nodir/x"), O_WRONLY | O_CREAT, 0644), -ENOENT, "no folder");
    CHECK_EQ(SYS(open, U("/lib/a.py"), O_CREAT | O_EXCL | O_RDWR, 0644), -EEXIST, "O_EXCL");
    CHECK_EQ(g_fake_calls[OCALL_OPEN], 0, "the host was asked");
}

static void test_changes(void **state UNUSED)
{
    vfs_child(changes_body);
}

#define BIG_SIZE (3 * 65536 + 1234)
static char g_big[BIG_SIZE], g_got[BIG_SIZE + 10];

static void fill(void)
{
    for (size_t i = 0; i < BIG_SIZE; i++)
        g_big[i] = (char)(i * 7 + i / 65536);
}

static void content_body(void)
{
    fill();
    add("/d/big", 0, g_big, BIG_SIZE);
    add("/d/empty", 0, "", 0);
    fake_start("/d");
    int fd = open_ro("big");
    CHECK_EQ(fd, 3, "open");
    CHECK_EQ(g_fake_calls[OCALL_OPEN], 0, "opening costs nothing");
    CHECK_EQ(SYS(pread64, U(fd), U(g_got), 100, 65500), 100, "pread across chunks");
    CHECK(memcmp(g_got, g_big + 65500, 100) == 0, "content");
    CHECK_EQ(SYS(read, U(fd), U(g_got), BIG_SIZE + 10), BIG_SIZE, "read all");
    CHECK(memcmp(g_got, g_big, BIG_SIZE) == 0, "content");
    CHECK_EQ(SYS(read, U(fd), U(g_got), 10), 0, "end");
    CHECK_EQ(SYS(lseek, U(fd), U(-4), SEEK_END), BIG_SIZE - 4, "seek");
    CHECK_EQ(SYS(read, U(fd), U(g_got), 10), 4, "tail");
    CHECK_EQ(SYS(lseek, U(fd), U(-1), SEEK_SET), -EINVAL, "negative");
    CHECK_EQ(SYS(pread64, U(fd), U(g_got), 10, BIG_SIZE + 5), 0, "past the end");
    CHECK_EQ(SYS(pread64, U(fd), U(g_got), 10, U(-1)), -EINVAL, "negative offset");
    CHECK_EQ(SYS(write, U(fd), U(g_got), 10), -EBADF, "write");
    CHECK_EQ(SYS(read, U(fd), U(16), 10), 0, "nothing to read does not touch the buffer");
    CHECK_EQ(SYS(pread64, U(fd), U(16), 10, 0), -EFAULT, "bad buffer");
    CHECK_EQ(g_fake_calls[OCALL_OPEN], 1, "one open");
    uint64_t reads = g_fake_calls[OCALL_PREAD];
    CHECK_EQ(SYS(close, U(fd)), 0, "close");
    fd = open_ro("big");
    CHECK_EQ(SYS(read, U(fd), U(g_got), 4096), 4096, "again");
    CHECK_EQ(g_fake_calls[OCALL_PREAD], reads, "cached");
    CHECK_EQ(g_stats_verified, BIG_SIZE, "each byte verified once");
    struct chunk *chunk;
    const void *data;
    uint32_t size;
    struct file *file = fd_get(fd);
    CHECK_EQ(chunk_get(file, 3, &chunk, &data, &size), 0, "chunk");
    CHECK_EQ(size, 1234, "size");
    CHECK(((uintptr_t)data & 4095) == 0, "aligned");
    CHECK(memcmp(data, g_big + 3 * 65536, 1234) == 0, "content");
    for (uint32_t i = 1234; i < 4096; i++)
        CHECK_EQ(((const char *)data)[i], 0, "tail byte %u", i);
    chunk_put(chunk);
    CHECK_EQ(chunk_get(file, 4, &chunk, &data, &size), -ERANGE, "past the end");
    file_unref(file);
    int empty = open_ro("empty");
    CHECK_EQ(SYS(read, U(empty), U(g_got), 10), 0, "empty");
}

static void test_content(void **state UNUSED)
{
    vfs_child(content_body);
}

/* --- what the host does to a file that is read ----------------------------------------- */

static const struct {
    const char *name;
    int (*spoil)(const char *path);
    uint32_t kind;
    uint64_t offset;
} * g_row;

static int flip(const char *path)
{
    int fd = open(path, O_RDWR);
    char c;
    if (pread(fd, &c, 1, 65536 + 17) != 1)
        return -1;
    c ^= 1;
    return pwrite(fd, &c, 1, 65536 + 17) == 1 ? close(fd) : -1;
}

static int shorten(const char *path)
{
    return truncate(path, BIG_SIZE - 1);
}

static int lengthen(const char *path)
{
    return truncate(path, BIG_SIZE + 1);
}

static int to_dir(const char *path)
{
    return unlink(path) || mkdir(path, 0755);
}

static int to_link(const char *path)
{
    char other[4600];
    snprintf(other, sizeof(other), "%s.moved", path);
    return rename(path, other) || symlink(other, path);
}

static int to_fifo(const char *path)
{
    return unlink(path) || mkfifo(path, 0644);
}

static int touched(const char *path)
{
    struct timespec times[2] = { { 1, 0 }, { 1, 0 } };
    return utimensat(AT_FDCWD, path, times, 0) || chmod(path, 0600);
}

static const __typeof__(*g_row) rows[] = {
    { "one bit", flip, OCALL_REFUSED_CONTENT, 65536 },
    { "truncated", shorten, OCALL_REFUSED_SHORT, 0 },
    { "longer", lengthen, OCALL_REFUSED_LONG, 0 },
    { "deleted", unlink, OCALL_REFUSED_MISSING, 0 },
    { "a folder", to_dir, OCALL_REFUSED_TYPE, 0 },
    { "a symlink to equal content", to_link, 0, 0 },
    { "a FIFO", to_fifo, OCALL_REFUSED_TYPE, 0 },
    { "other times and mode", touched, 0, 0 },
};

static char *host_path(const char *path)
{
    static char full[4600];
    snprintf(full, sizeof(full), "%s%s", g_fake_root, path);
    return full;
}

static void tamper(uint32_t flags)
{
    fill();
    add("/d/data.bin", flags, g_big, BIG_SIZE);
    fake_start("/d");
    CHECK_EQ(g_row->spoil(host_path("/d/data.bin")), 0, "%s", g_row->name);
    int fd = open_ro("/d/data.bin");
    CHECK(fd >= 0, "%s: open %d", g_row->name, fd);
    int64_t n = -1;
    if (!(flags & MANIFEST_DENY) && setjmp(g_fake_abort) != 0) {
        CHECK_EQ(g_fake_refusal.action, OCALL_REFUSED_ABORT, "%s", g_row->name);
    } else {
        g_fake_abort_armed = !(flags & MANIFEST_DENY);
        n = SYS(pread64, U(fd), U(g_got), 10, 65536);
        CHECK(n < 0 ? (flags & MANIFEST_DENY) && n == -EIO : !g_row->kind, "%s: %lld", g_row->name,
              (long long)n);
        if (g_row->kind)
            CHECK_EQ(g_fake_refusal.action, OCALL_REFUSED_DENY, "%s", g_row->name);
    }
    CHECK_EQ(g_fake_refusals, g_row->kind ? 1 : 0, "%s", g_row->name);
    CHECK_EQ(g_fake_refusal.kind, g_row->kind, "%s", g_row->name);
    CHECK_EQ(g_fake_refusal.offset, g_row->offset, "%s", g_row->name);
    if (g_row->kind)
        CHECK(strcmp(g_fake_refused_path, "/d/data.bin") == 0, "%s", g_fake_refused_path);
    if (g_row->kind == OCALL_REFUSED_CONTENT) {
        CHECK(
            memcmp(
                g_fake_refusal.expected,
                g_manifest
                    .leaves[g_manifest.files[fd_get(fd)->record - g_manifest.files].first_leaf + 1],
                32) == 0,
            "expected hash");
        CHECK(memcmp(g_fake_refusal.expected, g_fake_refusal.actual, 32) != 0, "actual hash");
    }
}

static void tamper_abort(void)
{
    tamper(0);
}

static void tamper_deny(void)
{
    tamper(MANIFEST_DENY);
}

static void test_tamper(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_row = &rows[i];
        vfs_child(tamper_abort);
        vfs_child(tamper_deny);
    }
}

/* Changed between open and read, and again when an evicted chunk comes back. */
static void evicted_body(void)
{
    const uint64_t size = CHUNK_CACHE_LEAST + (4 << 20);
    char *content = calloc(1, size);
    for (uint64_t i = 0; i < size; i += 4096)
        memcpy(content + i, &i, 8);
    add("/d/large", MANIFEST_DENY, content, size);
    fake_start("/d");
    int fd = open_ro("/d/large");
    char *got = malloc(1 << 20);
    struct chunk *pinned;
    const void *data;
    uint32_t chunk_size;
    struct file *file = fd_get(fd);
    CHECK_EQ(chunk_get(file, 1, &pinned, &data, &chunk_size), 0, "pin");
    uint64_t before = g_fake_heap_used;
    for (uint64_t at = 0; at < size; at += 1 << 20) {
        CHECK_EQ(SYS(read, U(fd), U(got), 1 << 20), 1 << 20, "at %lu", (unsigned long)at);
        CHECK(memcmp(got, content + at, 1 << 20) == 0, "at %lu", (unsigned long)at);
    }
    CHECK(g_fake_heap_used - before < CHUNK_CACHE_LEAST + (2 << 20), "%lu bytes are kept",
          (unsigned long)(g_fake_heap_used - before));
    CHECK(g_fake_calls[OCALL_PREAD] < size / 65536 / 4, "%lu reads: no readahead",
          (unsigned long)g_fake_calls[OCALL_PREAD]);
    CHECK(memcmp(data, content + 65536, 65536) == 0, "a pinned chunk stays");
    chunk_put(pinned);
    file_unref(file);

    int host = open(host_path("/d/large"), O_RDWR);
    CHECK_EQ(pwrite(host, "!", 1, 10), 1, "spoil");
    CHECK_EQ(SYS(pread64, U(fd), U(got), 100, 0), -EIO, "verified again");
    CHECK_EQ(g_fake_refusal.kind, OCALL_REFUSED_CONTENT, "kind");
    CHECK_EQ(SYS(pread64, U(fd), U(got), 100, 65536), 100, "the next chunk is fine");
}

static void test_evicted(void **state UNUSED)
{
    vfs_child(evicted_body);
}

static bool short_reads(enum ocall_nr nr, const uint64_t args[6], int64_t *ret)
{
    if (nr != OCALL_PREAD)
        return false;
    *ret = args[1] > 1000 ? 1000 : (int64_t)args[1];
    return true;
}

static bool long_reads(enum ocall_nr nr, const uint64_t args[6], int64_t *ret)
{
    if (nr != OCALL_PREAD)
        return false;
    *ret = (int64_t)args[1] + 1;
    return true;
}

/* Opens only while nothing of ours is open. */
static bool one_handle(enum ocall_nr nr, const uint64_t args[6], int64_t *ret)
{
    static int open_count = 1;
    (void)args;
    open_count -= nr == OCALL_CLOSE;
    if (nr != OCALL_OPEN || open_count == 0) {
        open_count += nr == OCALL_OPEN;
        return false;
    }
    *ret = -EMFILE;
    return true;
}

static void full_body(void)
{
    fill();
    add("/d/a", 0, g_big, BIG_SIZE);
    add("/d/b", MANIFEST_DENY, g_big, BIG_SIZE);
    fake_start("/d");
    int a = open_ro("/d/a"), b = open_ro("/d/b");
    CHECK_EQ(SYS(pread64, U(a), U(g_got), 100, 0), 100, "the first");
    g_fake_hook = one_handle;
    for (uint64_t at = 0; at < 3 * 65536; at += 65536) {
        CHECK_EQ(SYS(pread64, U(b), U(g_got), 100, at), 100, "another, for which one must go");
        CHECK_EQ(SYS(pread64, U(a), U(g_got), 100, at), 100, "and back");
    }
}

static void test_full(void **state UNUSED)
{
    vfs_child(full_body);
}

static void lies_body(void)
{
    fill();
    add("/d/a", MANIFEST_DENY, g_big, BIG_SIZE);
    fake_start("/d");
    int fd = open_ro("/d/a");
    g_fake_hook = short_reads;
    CHECK_EQ(SYS(read, U(fd), U(g_got), 100), -EIO, "a short read");
    CHECK_EQ(g_fake_refusal.kind, OCALL_REFUSED_SHORT, "kind");
    g_fake_hook = long_reads;
    CHECK_EQ(SYS(read, U(fd), U(g_got), 100), -EIO, "more than asked for");
    g_fake_hook = NULL;
    CHECK_EQ(SYS(read, U(fd), U(g_got), 100), 100, "an honest host");
}

static void test_lies(void **state UNUSED)
{
    vfs_child(lies_body);
}

/* More files than handles are kept. */
static void handles_body(void)
{
    static char names[600][16];
    for (int i = 0; i < 600; i++) {
        snprintf(names[i], sizeof(names[i]), "/d/%d", i);
        add(names[i], 0, names[i], 0);
    }
    fake_start("/d");
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 600; i++) {
            int fd = open_ro(names[i]);
            CHECK_EQ(SYS(read, U(fd), U(g_got), 100), (long)strlen(names[i]), "%s", names[i]);
            CHECK(memcmp(g_got, names[i], strlen(names[i])) == 0, "%s", names[i]);
            CHECK_EQ(SYS(close, U(fd)), 0, "close");
        }
    CHECK_EQ(g_fake_calls[OCALL_OPEN], 600, "each once");
    CHECK_EQ(g_fake_calls[OCALL_CLOSE], 600 - CHUNK_HANDLES_MAX, "the rest stays open");
}

static void test_handles(void **state UNUSED)
{
    vfs_child(handles_body);
}

/* Out of memory: what is cached goes first. */
static void memory_body(void)
{
    fill();
    add("/d/a", 0, g_big, BIG_SIZE);
    add("/d/b", 0, g_big + 1, BIG_SIZE - 1);
    fake_start("/d");
    int a = open_ro("/d/a"), b = open_ro("/d/b");
    g_fake_heap_limit = g_fake_heap_used + 70000;
    for (uint64_t at = 0; at < BIG_SIZE - 1000; at += 65536) {
        CHECK_EQ(SYS(pread64, U(a), U(g_got), 1000, at), 1000, "a");
        CHECK(memcmp(g_got, g_big + at, 1000) == 0, "content");
        CHECK_EQ(SYS(pread64, U(b), U(g_got), 1000, at), 1000, "b");
        CHECK(memcmp(g_got, g_big + 1 + at, 1000) == 0, "content");
    }
    g_fake_heap_limit = 0;
    CHECK_EQ(SYS(pread64, U(a), U(g_got), 1000, 0), -ENOMEM, "no memory at all");
}

static void test_memory(void **state UNUSED)
{
    vfs_child(memory_body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metadata), cmocka_unit_test(test_changes),
        cmocka_unit_test(test_content),  cmocka_unit_test(test_tamper),
        cmocka_unit_test(test_evicted),  cmocka_unit_test(test_full),
        cmocka_unit_test(test_lies),     cmocka_unit_test(test_handles),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
