/*
 * Files that are made whole (src/util/fs.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/attr.h"
#include "util/err.h"
#include "util/fs.h"

static char g_dir[] = "/tmp/sgxpy-fs-XXXXXX";
static int g_folder;

static int start(void **state UNUSED)
{
    if (!mkdtemp(g_dir))
        return -1;
    g_folder = open(g_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return g_folder < 0 ? -1 : 0;
}

static int finish(void **state UNUSED)
{
    struct err err = { 0 };
    close(g_folder);
    return tree_remove(AT_FDCWD, g_dir, &err);
}

static mode_t kind(const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(g_folder, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode;
}

static void test_store(void **state UNUSED)
{
    struct err err = { 0 };
    char *text;
    size_t size;
    assert_int_equal(file_store(g_folder, "file", "one", 3, 0640, 1, &err), 0);
    assert_int_equal(file_store(g_folder, "file", "two", 3, 0640, 1, &err), -EEXIST);
    assert_int_equal(file_store(g_folder, "file", "three", 5, 0600, 0, &err), 0);
    assert_int_equal(file_load(g_folder, "file", 100, &text, &size, &err), 0);
    assert_string_equal(text, "three");
    free(text);
    assert_int_equal(kind("file"), S_IFREG | 0600);
    assert_int_equal(file_store(g_folder, "no/file", "", 0, 0600, 0, &err), -ENOENT);
}

/* What is no file is not replaced by one: -o /dev/null as root once left a file there. */
static void test_streams(void **state UNUSED)
{
    struct err err = { 0 };
    assert_int_equal(symlinkat("/dev/null", g_folder, "null"), 0);
    assert_int_equal(file_store(g_folder, "null", "text", 4, 0600, 0, &err), 0);
    assert_true(S_ISLNK(kind("null")));
    assert_int_equal(file_store(g_folder, "null", "text", 4, 0600, 1, &err), -EEXIST);

    assert_int_equal(mkfifoat(g_folder, "fifo", 0600), 0);
    int reader = openat(g_folder, "fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_int_equal(file_store(g_folder, "fifo", "text", 4, 0644, 0, &err), 0);
    char buf[8];
    assert_int_equal(read(reader, buf, sizeof(buf)), 4);
    assert_int_equal(kind("fifo"), S_IFIFO | 0600);
    close(reader);

    assert_int_equal(mkdirat(g_folder, "folder", 0700), 0);
    assert_int_equal(file_store(g_folder, "folder", "text", 4, 0600, 0, &err), -EISDIR);
    assert_true(S_ISDIR(kind("folder")));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_store),
                                        cmocka_unit_test(test_streams) };
    return cmocka_run_group_tests(tests, start, finish);
}
