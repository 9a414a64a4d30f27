#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/given.h"

static const struct {
    const char *name;
    enum given_variable want;
} variables[] = {
    { "LD_PRELOAD", GIVEN_CODE },
    { "LD_", GIVEN_CODE },
    { "LD", GIVEN_FREE },
    { "XLD_PRELOAD", GIVEN_FREE },
    { "PYTHONPATH", GIVEN_CODE },
    { "PYTHONSTARTUP", GIVEN_CODE },
    { "PYTHONHASHSEED", GIVEN_FREE },
    { "PYTHONHASHSEEDX", GIVEN_CODE },
    { "PYTHON_NEW", GIVEN_CODE },
    { "PYTHO", GIVEN_FREE },
    { "BASH_ENV", GIVEN_CODE },
    { "BASH_FUNC_ls%%", GIVEN_CODE },
    { "BASH_VERSION", GIVEN_FREE },
    { "ENV", GIVEN_CODE },
    { "ENVIRONMENT", GIVEN_FREE },
    { "PERL5OPT", GIVEN_CODE },
    { "RUBYLIB", GIVEN_CODE },
    { "NODE_OPTIONS", GIVEN_CODE },
    { "NODE_ENV", GIVEN_FREE },
    { "GLIBC_TUNABLES", GIVEN_CODE },
    { "PATH", GIVEN_PLACE },
    { "PATHS", GIVEN_FREE },
    { "HOME", GIVEN_PLACE },
    { "path", GIVEN_FREE },
    { "", GIVEN_FREE },
    { "EDITOR", GIVEN_FREE },
    { "FLASK_ENV_FILE", GIVEN_CODE },
    { "FLASK_SECRET_KEY", GIVEN_FREE },
    { "UVICORN_LOG_CONFIG", GIVEN_CODE },
    { "UVICORN_PORT", GIVEN_FREE },
};

static void test_variable(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
        char text[64];
        int n = snprintf(text, sizeof(text), "%s=PATH", variables[i].name);
        assert_true(n > 0 && (size_t)n < sizeof(text));
        enum given_variable got = given_variable(text, strlen(variables[i].name));
        if (got != variables[i].want)
            fail_msg("%s: got %d, want %d", variables[i].name, (int)got, (int)variables[i].want);
    }
}

static size_t scratch(const void *ctx UNUSED, const char *path, size_t size)
{
    return given_temporary(path, size);
}

static const struct {
    const char *given, *traced;
    bool want;
} values[] = {
    { "", "", true },
    { "x", "x", true },
    { "x", "y", false },
    { "x", "", false },
    { "", "x", false },
    { "/usr/bin:/bin", "/usr/bin:/bin", true },
    { "/usr/bin:/bin:", "/usr/bin:/bin", false },
    { "/usr/bin", "/usr/bin:/bin", false },
    { "/bin:/usr/bin", "/usr/bin:/bin", false },
    { "/usr/bin:/tmp/x1", "/usr/bin:/tmp/abc/lib", true },
    { "/tmp/x1:/usr/bin", "/tmp/y:/usr/bin", true },
    { "/tmp/x1", "/dev/shm/x1", false },
    { "/tmp/x1", "/usr/lib", false },
    { "/usr/lib", "/tmp/x1", false },
    { "/tmp", "/tmp/x", false },
    { "/tmp/x", "/tmp", false },
    { "/tmp", "/tmp", true },
    { "/tmp/../dev/shm/x", "/tmp/x", false },
    { "/tmp/x/..", "/tmp/x", false },
    { "/tmp/./x", "/tmp/x", false },
    { "/tmp/..x", "/tmp/x", true },
    { "tmp/x", "/tmp/x", false },
    { "/tmpx/x", "/tmp/x", false },
    { "/tmp/x:/dev/shm/x", "/tmp/x", false },
};

static void test_value(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(values); i++)
        if (given_value_same(values[i].given, values[i].traced, scratch, NULL) != values[i].want)
            fail_msg("'%s' where '%s' was traced", values[i].given, values[i].traced);
}

static const struct {
    const char *executable, *argv[8], *want;
} options[] = {
    { "/bin/python3.11", { "python3", "a.py", "-c" }, "" },
    { "/bin/python3.11", { "python3", "-I", "-X", "dev", "a.py", "-i" }, "-I -X dev" },
    { "/bin/python3.11", { "python3", "-X", "a b\\c", "", "x" }, "-X a\\ b\\\\c" },
    { "/bin/python3.11", { "python3", "-X", "", "-c", "pass", "-i" }, "-X '' -c" },
    { "/bin/python3.11", { "python3", "-cpass" }, "" }, /* it is the text, too */
    { "/bin/python3.11", { "python3", "-i" }, "" },     /* the program is its input */
    { "/bin/python3.11", { NULL }, "" },
    { "/bin/dash", { "sh", "-e", "-c", "true", "-x" }, "-e -c" },
    { "/bin/bash", { "bash", "-rcfile", "true", "x.sh" }, "-rcfile" },
    { "/bin/perl", { "perl", "-e", "1", "x", "-e", "2" }, "-e" },
    { "/bin/perl", { "perl", "-e", "1", "-e", "2" }, "-e -e 2" },
    { "/bin/perl", { "perl", "-e", "1", "--", "-e", "2" }, "-e" },
    { "/bin/perl", { "perl", "-e", "1", "-I", "lib", "-e", "2" }, "-e -I lib -e 2" },
    { "/bin/perl", { "perl", "x.pl", "-e", "2" }, "" },
    { "/bin/node", { "node", "-e", "1", "-r", "x.js" }, "-e -r x.js" },
    { "/bin/true", { "true", "-e", "1" }, "" },
};

static void test_options(void **state UNUSED)
{
    char *text = malloc(GIVEN_OPTIONS_BUF);
    assert_non_null(text);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        uint32_t argc = 0;
        size_t size;
        while (options[i].argv[argc])
            argc++;
        struct program_start start = program_start(options[i].executable, argc, options[i].argv);
        assert_true(
            given_options(options[i].executable, start, argc, options[i].argv, text, &size));
        assert_int_equal(size, strlen(text));
        if (strcmp(text, options[i].want) != 0)
            fail_msg("row %zu: got '%s', want '%s'", i, text, options[i].want);
    }
    free(text);
}

/* As many backslashes as double their size, and one word after the other up to the limit. */
static void test_long_options(void **state UNUSED)
{
    char *text = malloc(GIVEN_OPTIONS_BUF), *word = malloc(GIVEN_OPTIONS_MAX + 1);
    assert_true(text && word);
    size_t size;
    for (size_t n = GIVEN_OPTIONS_MAX / 2 - 20; n < GIVEN_OPTIONS_MAX / 2 + 20; n++) {
        memset(word, '\\', n);
        word[n] = '\0';
        const char *argv[] = { "python3", "-X", word, "a.py" };
        bool fits =
            given_options("python3", program_start("python3", 4, argv), 4, argv, text, &size);
        if (fits != (3 + 2 * n < GIVEN_OPTIONS_MAX))
            fail_msg("%zu backslashes: %d", n, fits);
    }
    free(text);
    free(word);
}

static void test_freely(void **state UNUSED)
{
    assert_true(given_freely("/usr/bin/python3.11"));
    assert_true(given_freely("/usr/bin/dash"));
    assert_false(given_freely("/usr/bin/true"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variable), cmocka_unit_test(test_value),
        cmocka_unit_test(test_options),  cmocka_unit_test(test_long_options),
        cmocka_unit_test(test_freely),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
