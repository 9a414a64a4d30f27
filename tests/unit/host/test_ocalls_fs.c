/* OCALLs on paths. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
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
    umask(022);
    if (!mkdtemp(g_dir) || handle_init() < 0 || thread_pool_init(&g_host, 1, &err) < 0)
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

static uint64_t put_path(uint64_t at, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", g_dir, name);
    return put_text(t, at, path);
}

static int64_t on_path(uint32_t nr, const char *name, uint64_t a, uint64_t b)
{
    return SERVE(t, nr, put_path(0, name), a, b);
}

static int64_t on_two(uint32_t nr, const char *from, const char *to, uint64_t flags)
{
    uint64_t first = put_path(0, from);
    uint64_t second = put_path(first, to);
    return SERVE(t, nr, first, second, flags);
}

static struct ocall_stat stat_of(const char *name, uint64_t nofollow)
{
    struct ocall_stat st;
    assert_int_equal(on_path(OCALL_STAT, name, nofollow, 0), 0);
    memcpy(&st, t->data, sizeof(st));
    return st;
}

static void test_paths(void **state UNUSED)
{
    int64_t h = on_path(OCALL_OPEN, "a", O_CREAT | O_EXCL | O_WRONLY, 0644);
    assert_true(h >= 0);
    put_text(t, 0, "hello");
    assert_int_equal(SERVE(t, OCALL_WRITE, (uint64_t)h, 5), 5);
    assert_int_equal(SERVE(t, OCALL_CLOSE, (uint64_t)h), 0);
    assert_int_equal(on_path(OCALL_OPEN, "a", O_CREAT | O_EXCL | O_WRONLY, 0644), -EEXIST);
    assert_int_equal(stat_of("a", 0).size, 5);

    assert_int_equal(on_path(OCALL_CHMOD, "a", 0600, 0), 0);
    assert_int_equal(stat_of("a", 0).mode, S_IFREG | 0600);
    assert_int_equal(SERVE(t, OCALL_CHOWN, put_path(0, "a"), (uint64_t)-1, (uint64_t)-1, 0), 0);
    assert_int_equal(SERVE(t, OCALL_UTIMENS, put_path(0, "a"), 1, 2, 3, 4, 0), 0);
    struct ocall_stat st = stat_of("a", 0);
    assert_int_equal(st.atime_sec, 1);
    assert_int_equal(st.mtime_sec, 3);
    assert_int_equal(st.mtime_nsec, 4);
    assert_int_equal(SERVE(t, OCALL_UTIMENS, put_path(0, "a"), 0, UTIME_OMIT, 9, 0, 0), 0);
    assert_int_equal(stat_of("a", 0).atime_sec, 1);

    assert_int_equal(on_two(OCALL_LINK, "a", "b", 0), 0);
    assert_int_equal(stat_of("b", 0).nlink, 2);
    assert_int_equal(on_two(OCALL_RENAME, "b", "a2", 0), 0);
    assert_int_equal(on_two(OCALL_RENAME, "a2", "a", RENAME_NOREPLACE), -EEXIST);

    uint64_t text = put_text(t, 0, "nosuch");
    uint64_t path = put_path(text, "link");
    assert_int_equal(SERVE(t, OCALL_SYMLINK, text, path), 0);
    assert_int_equal(on_path(OCALL_READLINK, "link", 0, 0), 6);
    assert_memory_equal(t->data, "nosuch", 6);
    assert_true(S_ISLNK(stat_of("link", 1).mode));
    assert_int_equal(on_path(OCALL_STAT, "link", 0, 0), -ENOENT);
    assert_int_equal(on_path(OCALL_READLINK, "a", 0, 0), -EINVAL);

    assert_int_equal(on_path(OCALL_MKDIR, "d", 0750, 0), 0);
    assert_int_equal(stat_of("d", 0).mode, S_IFDIR | 0750);
    assert_int_equal(on_path(OCALL_UNLINK, "d", 0, 0), -EISDIR);
    assert_int_equal(on_path(OCALL_UNLINK, "d", 1, 0), 0);
    assert_int_equal(on_path(OCALL_UNLINK, "a", 1, 0), -ENOTDIR);
    assert_int_equal(on_path(OCALL_UNLINK, "a2", 0, 0), 0);
    assert_int_equal(on_path(OCALL_STAT, "a2", 0, 0), -ENOENT);
}

static void test_bad_paths(void **state UNUSED)
{
    static const uint32_t calls[] = {
        OCALL_OPEN,   OCALL_STAT,  OCALL_READLINK, OCALL_MKDIR,
        OCALL_UNLINK, OCALL_CHMOD, OCALL_CHOWN,    OCALL_UTIMENS,
    };
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        const char *name = ocall_name(calls[i]);
        static const struct {
            const char *text;
            uint64_t size;
            int64_t want;
        } rows[] = {
            { "relative", 8, -EINVAL },
            { "/x\0y", 4, -EINVAL },
            { "", 0, -EINVAL },
            { "/x", PATH_MAX, -ENAMETOOLONG },
            { "/x", UINT64_MAX, -ENAMETOOLONG },
            { "/x", OCALL_DATA_SIZE, -ENAMETOOLONG },
        };
        for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
            memset(t->data, 'y', 16);
            memcpy(t->data, rows[k].text, strlen(rows[k].text) + (rows[k].size == 4 ? 2 : 0));
            int64_t got = SERVE(t, calls[i], rows[k].size, O_RDONLY, 0);
            if (got != rows[k].want)
                fail_msg("%s, row %zu: got %ld, want %ld", name, k, got, rows[k].want);
        }
    }
    static const uint32_t pairs[] = { OCALL_RENAME, OCALL_LINK, OCALL_SYMLINK };
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        const char *name = ocall_name(pairs[i]);
        memset(t->data, '/', 2 * PATH_MAX);
        static const struct {
            uint64_t first, second;
            int64_t want;
        } rows[] = {
            { 0, 1, -ENOENT }, { PATH_MAX, 1, -ENAMETOOLONG }, { UINT64_MAX, 1, -ENAMETOOLONG },
            { 1, 0, -EINVAL }, { 1, PATH_MAX, -ENAMETOOLONG }, { 1, UINT64_MAX, -ENAMETOOLONG },
        };
        for (size_t k = 0; k < ARRAY_SIZE(rows); k++) {
            int64_t got = SERVE(t, pairs[i], rows[k].first, rows[k].second, 0);
            if (got != rows[k].want)
                fail_msg("%s, row %zu: got %ld, want %ld", name, k, got, rows[k].want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_bad_paths),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
