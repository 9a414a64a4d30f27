#include "cli/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text;
    int want;
    uint64_t bytes;
} sizes[] = {
    { "0", 0, 0 },
    { "65536", 0, 65536 },
    { "1k", 0, 1024 },
    { "256M", 0, 256ull << 20 },
    { "4 GiB", 0, 4ull << 30 },
    { "4gb", 0, 4ull << 30 },
    { "2T", 0, 2ull << 40 },
    { "", -EINVAL, 0 },
    { "M", -EINVAL, 0 },
    { "-1", -EINVAL, 0 },
    { "+1", -EINVAL, 0 },
    { "1.5G", -EINVAL, 0 },
    { "1 X", -EINVAL, 0 },
    { "18446744073709551615", 0, UINT64_MAX },
    { "18446744073709551616", -ERANGE, 0 },
    { "99999999999T", -ERANGE, 0 },
};

static void test_sizes(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        uint64_t bytes = 0;
        int got = options_parse_size(sizes[i].text, &bytes);
        if (got != sizes[i].want || bytes != sizes[i].bytes)
            fail_msg("'%s': %d and %llu", sizes[i].text, got, (unsigned long long)bytes);
    }
}

static const struct {
    const char *text;
    int want;
    uint32_t ms;
} times[] = {
    { "500ms", 0, 500 },
    { "10s", 0, 10 * 1000 },
    { "2m", 0, 2 * 60 * 1000 },
    { "24h", 0, 24 * 3600 * 1000 },
    { "86400000ms", 0, 24 * 3600 * 1000 },
    { "", -EINVAL, 0 },
    { "10", -EINVAL, 0 },
    { "s", -EINVAL, 0 },
    { "-1s", -EINVAL, 0 },
    { "1.5s", -EINVAL, 0 },
    { "1 s", -EINVAL, 0 },
    { "1d", -EINVAL, 0 },
    { "0s", -ERANGE, 0 },
    { "25h", -ERANGE, 0 },
    { "86400001ms", -ERANGE, 0 },
    { "99999999999999999999s", -ERANGE, 0 },
};

static void test_times(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
        uint32_t ms = 0;
        int got = options_parse_time(times[i].text, &ms);
        if (got != times[i].want || ms != times[i].ms)
            fail_msg("'%s': %d and %u", times[i].text, got, ms);
    }
}

static int unused_run(const struct verb *verb UNUSED, struct options *options UNUSED)
{
    return 0;
}

/* Like `run`: options end at the first other word. Like `sign`: they stand anywhere. */
static const struct verb in_order = { .name = "in-order",
                                      .groups = OPTIONS_MANIFEST | OPTIONS_SIGN | OPTIONS_RUN,
                                      .run = unused_run };
static const struct verb anywhere = { .name = "anywhere",
                                      .groups = OPTIONS_OUTPUT | OPTIONS_SIGN,
                                      .run = unused_run };

#define ARGS_MAX 8
static const struct {
    const char *name;
    const struct verb *verb;
    const char *args[ARGS_MAX];
    int want, rest;
    bool dashes;
} lines[] = {
    { "nothing", &in_order, { NULL }, CLI_OK, 0, false },
    { "command", &in_order, { "--", "a", "-b" }, CLI_OK, 2, true },
    { "empty command", &in_order, { "--quiet", "--" }, CLI_OK, 0, true },
    { "bundle", &in_order, { "--quiet", "x.sgx", "--stats" }, CLI_OK, 2, false },
    { "dashes as a value", &in_order, { "--allow", "--", "x" }, CLI_OK, 1, false },
    { "abbreviation", &in_order, { "--thr", "5" }, CLI_OK, 0, false },
    { "after the word", &anywhere, { "x", "-o", "y" }, CLI_OK, 1, false },
    { "joined", &anywhere, { "--key=k", "-oy", "x" }, CLI_OK, 1, false },
    { "unknown", &in_order, { "--no-such" }, CLI_USAGE, 0, false },
    { "unknown short", &in_order, { "-x" }, CLI_USAGE, 0, false },
    { "another verb's", &anywhere, { "--allow", "x" }, CLI_USAGE, 0, false },
    { "value missing", &in_order, { "--key" }, CLI_USAGE, 0, false },
    { "value too much", &in_order, { "--quiet=yes" }, CLI_USAGE, 0, false },
    { "bad word", &in_order, { "--device", "hard" }, CLI_USAGE, 0, false },
    { "bad exec", &in_order, { "--exec", "allow" }, CLI_USAGE, 0, false },
    { "no threads", &in_order, { "--threads", "0" }, CLI_USAGE, 0, false },
    { "many threads", &in_order, { "--threads", "1025" }, CLI_USAGE, 0, false },
    { "threads in hex", &in_order, { "--threads", "0x5" }, CLI_USAGE, 0, false },
    { "no heap", &in_order, { "--heap", "0" }, CLI_USAGE, 0, false },
    { "small heap", &in_order, { "--heap", "15M" }, CLI_USAGE, 0, false },
    { "large heap", &in_order, { "--heap", "8193G" }, CLI_USAGE, 0, false },
    { "odd heap", &in_order, { "--heap", "much" }, CLI_USAGE, 0, false },
    { "empty path", &in_order, { "--trust", "" }, CLI_USAGE, 0, false },
    { "nameless variable", &in_order, { "--env", "=x" }, CLI_USAGE, 0, false },
    { "given",
      &in_order,
      { "--insecure_given", "PYTHONPATH", "--insecure_given=all" },
      CLI_OK,
      0,
      false },
    { "given nothing", &in_order, { "--insecure_given", "" }, CLI_USAGE, 0, false },
    { "given a value", &in_order, { "--insecure_given", "PATH=/bin" }, CLI_USAGE, 0, false },
    { "svn", &anywhere, { "--isv-svn", "65535" }, CLI_OK, 0, false },
    { "svn too large", &anywhere, { "--isv-svn", "65536" }, CLI_USAGE, 0, false },
};

static int parse(const struct verb *verb, const char *const *args, struct options *ret)
{
    static char *argv[ARGS_MAX + 2];
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t)verb->name;
    for (; args[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)args[argc - 1];
    argv[argc] = NULL;
    return options_parse(verb, argc, argv, ret);
}

static void test_lines(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        struct options o;
        int got = parse(lines[i].verb, lines[i].args, &o);
        if (got != lines[i].want)
            fail_msg("%s: got %d, want %d", lines[i].name, got, lines[i].want);
        if (got == CLI_OK && (o.rest_count != lines[i].rest || o.after_dashes != lines[i].dashes))
            fail_msg("%s: %d words, dashes %d", lines[i].name, o.rest_count, o.after_dashes);
        options_done(&o);
    }
}

static void test_values(void **state UNUSED)
{
    static const char *const args[] = { "--heap=1G", "--threads=7", "--device=soft", "--args=host",
                                        "--strace",  "--env=A=b=c", "--env=B",       NULL };
    struct options o;
    assert_int_equal(parse(&in_order, args, &o), CLI_OK);
    assert_int_equal(o.heap, 1 << 30);
    assert_int_equal(o.threads, 7);
    assert_int_equal(o.device, DEVICE_SOFT);
    assert_true(o.args_host && o.strace && !o.stats && !o.exec_deny);
    assert_int_equal(o.env.count, 2);
    assert_string_equal(o.env.items[0], "A=b=c");
    options_done(&o);
}

/* What changes the enclave changes the fingerprint; what only changes the run does not. */
static void test_fingerprint(void **state UNUSED)
{
    static const struct {
        const char *args[ARGS_MAX];
        bool differs;
    } rows[] = {
        { { "--quiet" }, false },          { { "--poison" }, false },
        { { "--audit", "x" }, false },     { { "--device", "soft" }, false },
        { { "--trust", "x" }, true },      { { "--allow", "x" }, true },
        { { "--deny", "x" }, true },       { { "--package", "x" }, true },
        { { "--exec", "deny" }, true },    { { "--heap", "1G" }, true },
        { { "--threads", "2" }, true },    { { "--env", "A" }, true },
        { { "--args", "host" }, true },    { { "--listen", "80" }, true },
        { { "--connect", "*" }, true },    { { "--insecure_given", "PATH" }, true },
        { { "--args", "pinned" }, false }, { { "--debug" }, true },
        { { "--strace" }, true },          { { "--isv-prod-id", "1" }, true },
        { { "--isv-svn", "1" }, true },
    };
    struct options none = { 0 };
    char *base = options_fingerprint(&none);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct options o;
        assert_int_equal(parse(&in_order, rows[i].args, &o), CLI_OK);
        char *text = options_fingerprint(&o);
        if ((strcmp(text, base) != 0) != rows[i].differs)
            fail_msg("%s: fingerprint %s", rows[i].args[0], text);
        free(text);
        options_done(&o);
    }
    /* A value cannot pretend to be another option. */
    static const char *const joined[] = { "--trust", "a\ntrust 1 b", NULL };
    static const char *const two[] = { "--trust", "a", "--trust", "b", NULL };
    struct options a, b;
    assert_int_equal(parse(&in_order, joined, &a), CLI_OK);
    assert_int_equal(parse(&in_order, two, &b), CLI_OK);
    char *x = options_fingerprint(&a), *y = options_fingerprint(&b);
    assert_string_not_equal(x, y);
    free(x);
    free(y);
    free(base);
    options_done(&a);
    options_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),       cmocka_unit_test(test_times),
        cmocka_unit_test(test_lines),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_fingerprint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
