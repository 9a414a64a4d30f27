#include "cli/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/fs.h"

static char g_folder[PATH_MAX], g_before[PATH_MAX];

static int enter(void **state UNUSED)
{
    strcpy(g_folder, "/tmp/test-cache-XXXXXX");
    if (!getcwd(g_before, sizeof(g_before)) || !mkdtemp(g_folder) || chdir(g_folder) < 0)
        return -1;
    if (mkdir("work", 0755) < 0 || mkdir("xdg", 0700) < 0 || chdir("work") < 0)
        return -1;
    char xdg[PATH_MAX + 8];
    snprintf(xdg, sizeof(xdg), "%s/xdg", g_folder);
    return setenv("XDG_CACHE_HOME", xdg, 1);
}

static int leave(void **state UNUSED)
{
    struct err err = { 0 };
    if (chdir(g_before) < 0)
        return -1;
    return tree_remove(AT_FDCWD, g_folder, &err);
}

static char *const command_a[] = { "python3", "a.py", NULL };

static void must_open(char *const *argv, const char *executable, struct cache *ret)
{
    struct err err = { 0 };
    if (cache_open(executable, argv, ret, &err) < 0)
        fail_msg("%s", err.text);
}

static void test_key(void **state UNUSED)
{
    static char *const commands[][4] = {
        { "python3", "a.py", NULL },     { "python3", "b.py", NULL },
        { "python3", "a.py", "", NULL }, { "python3", "a.", "py", NULL },
        { "python3a.py", NULL },
    };
    char keys[ARRAY_SIZE(commands)][33];
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        struct cache c;
        must_open(commands[i], "/usr/bin/python3.11", &c);
        strcpy(keys[i], c.key);
        cache_done(&c);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(keys[i], keys[k]) == 0)
                fail_msg("commands %zu and %zu share a key", i, k);
        }
    }
    struct cache same, other;
    must_open(commands[0], "/usr/bin/python3.11", &same);
    assert_string_equal(same.key, keys[0]);
    must_open(commands[0], "/usr/bin/python3.12", &other);
    assert_string_not_equal(other.key, keys[0]);
    cache_done(&same);
    cache_done(&other);
}

static void test_folder(void **state UNUSED)
{
    struct cache c;
    must_open(command_a, "/x", &c);
    assert_true(c.local);
    struct err err = { 0 };
    char *text = NULL;
    size_t size;
    assert_int_equal(file_load(AT_FDCWD, ".sgxpy/.gitignore", 100, &text, &size, &err), 0);
    assert_string_equal(text, "*\n");
    free(text);
    struct stat st;
    assert_int_equal(stat(".sgxpy", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    cache_done(&c);
}

/* A folder that others can write may hold a planted trace: the user's own cache is taken. */
static void test_not_ours(void **state UNUSED)
{
    static const struct {
        const char *name;
        int kind;
    } rows[] = { { "writable by others", 0 }, { "a link", 1 }, { "a file", 2 } };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct err err = { 0 };
        assert_int_equal(tree_remove(AT_FDCWD, ".sgxpy", &err), 0);
        int r = 0;
        if (rows[i].kind == 0)
            r = mkdir(".sgxpy", 0700) || chmod(".sgxpy", 0777);
        else if (rows[i].kind == 1)
            r = symlink("../xdg", ".sgxpy");
        else
            r = close(open(".sgxpy", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        assert_int_equal(r, 0);
        struct cache c;
        must_open(command_a, "/x", &c);
        if (c.local || strncmp(c.folder, g_folder, strlen(g_folder)) != 0 ||
            !strstr(c.folder, "/xdg/"))
            fail_msg("%s: took '%s'", rows[i].name, c.folder);
        cache_done(&c);
    }
    struct err err = { 0 };
    assert_int_equal(tree_remove(AT_FDCWD, ".sgxpy", &err), 0);
}

static void test_stamp(void **state UNUSED)
{
    struct cache c;
    struct err err = { 0 };
    must_open(command_a, "/x", &c);
    assert_false(cache_has_trace(&c));
    assert_false(cache_is_current(&c, "one"));
    assert_int_equal(cache_remember(&c, "one", &err), 0);
    assert_true(cache_is_current(&c, "one"));
    assert_false(cache_is_current(&c, "on"));
    assert_false(cache_is_current(&c, "one more"));
    assert_int_equal(cache_forget(&c, &err), 0);
    assert_false(cache_is_current(&c, "one"));
    assert_int_equal(cache_forget(&c, &err), 0);
    cache_done(&c);
}

static void test_lock(void **state UNUSED)
{
    struct cache c;
    must_open(command_a, "/x", &c);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/lock", c.folder);
    CLEANUP(close_p) int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), -1);
    cache_unlock(&c);
    assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
    cache_done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),      cmocka_unit_test(test_folder),
        cmocka_unit_test(test_not_ours), cmocka_unit_test(test_stamp),
        cmocka_unit_test(test_lock),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
