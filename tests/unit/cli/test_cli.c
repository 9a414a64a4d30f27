#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/fs.h"

static const struct {
    uint64_t bytes;
    const char *want;
} sizes[] = {
    { 0, "0 bytes" },     { 999, "999 bytes" },     { 1000, "1.0 kB" },
    { 1949, "1.9 kB" },   { 61000000, "61 MB" },    { 999400, "999 kB" },
    { 999600, "1.0 MB" }, { 2147483648, "2.1 GB" }, { UINT64_MAX, "18 EB" },
};

static void test_size(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char text[32];
        if (strcmp(cli_size(sizes[i].bytes, text), sizes[i].want) != 0)
            fail_msg("%llu: '%s', want '%s'", (unsigned long long)sizes[i].bytes, text,
                     sizes[i].want);
    }
}

static void test_hex(void **state UNUSED)
{
    char text[9];
    cli_hex("\x00\x0f\xa5\xff", 4, text);
    assert_string_equal(text, "000fa5ff");
}

static void test_pretty(void **state UNUSED)
{
    setenv("HOME", "/home/me", 1);
    assert_string_equal(cli_pretty_path("/home/me/x"), "~/x");
    assert_string_equal(cli_pretty_path("/home/metoo/x"), "/home/metoo/x");
    assert_string_equal(cli_pretty_path("/home/me"), "/home/me");
    setenv("HOME", "/", 1);
    assert_string_equal(cli_pretty_path("/x"), "/x");
}

static void test_xdg(void **state UNUSED)
{
    static const struct {
        const char *xdg, *want;
    } rows[] = { { "/data", "/data/sgxpy" },
                 { "relative", "/home/me/.local/share/sgxpy" },
                 { "", "/home/me/.local/share/sgxpy" },
                 { NULL, "/home/me/.local/share/sgxpy" } };
    setenv("HOME", "/home/me", 1);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].xdg)
            setenv("XDG_DATA_HOME", rows[i].xdg, 1);
        else
            unsetenv("XDG_DATA_HOME");
        struct err err = { 0 };
        CLEANUP(free_p) char *path = NULL;
        assert_int_equal(cli_xdg_path("XDG_DATA_HOME", ".local/share", &path, &err), 0);
        assert_string_equal(path, rows[i].want);
    }
}

/* Without HOME: the folder that /etc/passwd names. */
static void test_home_of_user(void **state UNUSED)
{
    const struct passwd *user = NULL;
    FILE *file = fopen("/etc/passwd", "re");
    assert_non_null(file);
    while ((user = fgetpwent(file)) != NULL && user->pw_uid != getuid())
        continue;
    fclose(file);
    char want[PATH_MAX] = "";
    if (user)
        snprintf(want, sizeof(want), "%s/.local/share/sgxpy", user->pw_dir);
    static const char *const homes[] = { NULL, "", "relative" };
    unsetenv("XDG_DATA_HOME");
    for (size_t i = 0; i < ARRAY_SIZE(homes); i++) {
        if (homes[i])
            setenv("HOME", homes[i], 1);
        else
            unsetenv("HOME");
        struct err err = { 0 };
        CLEANUP(free_p) char *path = NULL;
        int r = cli_xdg_path("XDG_DATA_HOME", ".local/share", &path, &err);
        if (!user) {
            assert_int_equal(r, -ENOENT);
        } else {
            assert_int_equal(r, 0);
            assert_string_equal(path, want);
        }
    }
}

/* Programs a/tool (not executable), b/tool, and a folder c/tool. */
static void test_find_program(void **state UNUSED)
{
    char folder[] = "/tmp/test-cli-XXXXXX", before[PATH_MAX], real[PATH_MAX], want[PATH_MAX + 16];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    assert_non_null(realpath(".", real));
    assert_true(mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0 && mkdir("c", 0755) == 0 &&
                mkdir("c/tool", 0755) == 0);
    close(open("a/tool", O_CREAT | O_CLOEXEC, 0644));
    close(open("b/tool", O_CREAT | O_CLOEXEC, 0755));
    assert_int_equal(symlink("b/tool", "link"), 0);
    snprintf(want, sizeof(want), "%s/b/tool", real);

    static const struct {
        const char *path, *command;
        int want;
    } rows[] = {
        { "a:c:b", "tool", 0 },     { "a:c", "tool", -EACCES }, { "nowhere", "tool", -ENOENT },
        { "", "link", 0 },          { "a:", "link", 0 },        { "a", "b/tool", 0 },
        { "a", "./link", 0 },       { "b", "a/tool", -EACCES }, { "b", "c/tool", -EACCES },
        { "b", "x/tool", -ENOENT }, { "b", "", -ENOENT },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        setenv("PATH", rows[i].path, 1);
        struct err err = { 0 };
        CLEANUP(free_p) char *found = NULL;
        int got = cli_find_program(rows[i].command, &found, &err);
        if (got != rows[i].want || (got == 0 && strcmp(found, want) != 0))
            fail_msg("'%s' on '%s': %d, %s", rows[i].command, rows[i].path, got,
                     found ? found : err.text);
    }
    struct err err = { 0 };
    assert_int_equal(chdir(before), 0);
    assert_int_equal(tree_remove(AT_FDCWD, folder, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),         cmocka_unit_test(test_hex),
        cmocka_unit_test(test_pretty),       cmocka_unit_test(test_xdg),
        cmocka_unit_test(test_home_of_user), cmocka_unit_test(test_find_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
