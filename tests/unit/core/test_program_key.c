#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/program_key.h"
#include "core/sha256.h"

#define PYTHON "/usr/bin/python3.11"
#define PERL   "/usr/bin/perl"

static const struct {
    const char *executable, *argv[7];
    enum program_kind kind;
    uint32_t arg;
} starts[] = {
    { PYTHON, { "python3", "a.py", "-c" }, PROGRAM_SCRIPT, 1 },
    { PYTHON, { "python3", "-O", "-W", "error", "a.py" }, PROGRAM_SCRIPT, 4 },
    { PYTHON, { "python3", "-Werror", "-Bs", "a.py" }, PROGRAM_SCRIPT, 3 },
    { PYTHON, { "python3", "-X", "dev", "-c", "pass" }, PROGRAM_COMMAND, 4 },
    { PYTHON, { "python3", "-Bc", "pass" }, PROGRAM_COMMAND, 2 },
    { PYTHON, { "python3", "-cpass" }, PROGRAM_COMMAND, 1 },
    { PYTHON, { "python3", "-c" }, PROGRAM_STDIN, 0 },
    { PYTHON, { "python3", "-m", "pytest", "x" }, PROGRAM_MODULE, 2 },
    { PYTHON, { "python3", "-Im", "pytest", "x" }, PROGRAM_MODULE, 2 },
    { PYTHON, { "python3", "-mpytest" }, PROGRAM_MODULE, 1 },
    { PYTHON, { "python3", "--check-hash-based-pycs", "never", "a.py" }, PROGRAM_SCRIPT, 3 },
    { PYTHON, { "python3", "-W" }, PROGRAM_STDIN, 0 },
    { PYTHON, { "python3" }, PROGRAM_STDIN, 0 },
    { PYTHON, { NULL }, PROGRAM_STDIN, 0 },
    { PYTHON, { "python3", "-", "x" }, PROGRAM_STDIN, 0 },
    { PYTHON, { "python3", "--", "-c" }, PROGRAM_SCRIPT, 2 },
    { PYTHON, { "python3", "--" }, PROGRAM_STDIN, 0 },
    { "python3", { "python3", "a.py" }, PROGRAM_SCRIPT, 1 },
    { "/usr/bin/python3", { "x", "" }, PROGRAM_SCRIPT, 1 },
    { "/usr/bin/dash", { "sh", "-c", "true" }, PROGRAM_COMMAND, 2 },
    { "/usr/bin/dash", { "sh", "-ec", "true", "name" }, PROGRAM_COMMAND, 2 },
    { "/usr/bin/dash", { "sh", "-c", "-e", "true" }, PROGRAM_COMMAND, 3 },
    { "/usr/bin/dash", { "sh", "-c", "--", "-x" }, PROGRAM_COMMAND, 3 },
    { "/usr/bin/dash", { "sh", "-c", "-", "-x" }, PROGRAM_COMMAND, 3 },
    { "/usr/bin/dash", { "sh", "-c", "+x", "true" }, PROGRAM_COMMAND, 3 },
    { "/usr/bin/dash", { "sh", "-c" }, PROGRAM_STDIN, 0 },
    { "/usr/bin/dash", { "sh", "-s", "a" }, PROGRAM_STDIN, 0 },
    { "/usr/bin/dash", { "-sh" }, PROGRAM_STDIN, 0 },
    { "/usr/bin/dash", { "sh", "x.sh", "-c", "true" }, PROGRAM_SCRIPT, 1 },
    { "/usr/bin/dash", { "sh", "-oe", "pipefail", "x.sh" }, PROGRAM_SCRIPT, 3 },
    { "/usr/bin/bash", { "bash", "-o", "pipefail", "x.sh" }, PROGRAM_SCRIPT, 3 },
    { "/usr/bin/bash", { "bash", "-euo", "pipefail", "-c", "x" }, PROGRAM_COMMAND, 4 },
    { "/usr/bin/bash", { "bash", "--norc", "--rcfile", "f", "x.sh" }, PROGRAM_SCRIPT, 4 },
    { PERL, { "perl", "-e", "1" }, PROGRAM_COMMAND, 2 },
    { PERL, { "perl", "-0777", "-ne", "1", "x" }, PROGRAM_COMMAND, 3 },
    { PERL, { "perl", "-i.ee", "-p", "x.pl" }, PROGRAM_SCRIPT, 3 },
    { PERL, { "perl", "-MList::Util", "x.pl" }, PROGRAM_SCRIPT, 2 },
    { PERL, { "perl", "-I", "lib", "x.pl" }, PROGRAM_SCRIPT, 3 },
    { "/usr/bin/node", { "node", "--eval", "1" }, PROGRAM_COMMAND, 2 },
    { "/usr/bin/node", { "node", "--require", "m", "x.js" }, PROGRAM_SCRIPT, 3 },
    { "/usr/bin/nodejs", { "node", "x.js" }, PROGRAM_SCRIPT, 1 },
    { "/usr/bin/zsh", { "zsh", "-f", "-o", "errexit", "-c", "true" }, PROGRAM_COMMAND, 5 },
    { "/usr/bin/ksh93", { "ksh", "x.sh" }, PROGRAM_SCRIPT, 1 },
    { "/usr/bin/ls", { "ls", "-c" }, PROGRAM_PLAIN, 0 },
    { "/usr/bin/shred", { "shred", "-c" }, PROGRAM_PLAIN, 0 },
    { "/usr/bin/pythonista", { "x", "a.py" }, PROGRAM_PLAIN, 0 },
    { "", { "x", "a.py" }, PROGRAM_PLAIN, 0 },
};

static void test_program_start(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
        uint32_t argc = 0;
        while (argc < ARRAY_SIZE(starts[i].argv) && starts[i].argv[argc])
            argc++;
        struct program_start got = program_start(starts[i].executable, argc, starts[i].argv);
        if (got.kind != starts[i].kind || got.arg != starts[i].arg)
            fail_msg("row %zu (%s %s): got %u at %u, want %u at %u", i, starts[i].executable,
                     argc > 1 ? starts[i].argv[1] : "", got.kind, got.arg, starts[i].kind,
                     starts[i].arg);
    }
}

/* The text that the hash is of. */
static const struct {
    const char *text, *hashed;
    enum program_kind kind;
} keys[] = {
    { "true", "true", PROGRAM_COMMAND },
    { "", "", PROGRAM_COMMAND },
    { "main(12, pipe=7)", "main(#, pipe=#)", PROGRAM_COMMAND },
    { "42", "#", PROGRAM_COMMAND },
    { "cat /tmp/tmpab1_x9zq/f", "cat /tmp/tmp*/f", PROGRAM_COMMAND },
    { "tmpabcdefgh", "tmp*", PROGRAM_COMMAND },
    { "tmpabcdefghij1", "tmp*ij#", PROGRAM_COMMAND },
    { "tmpabcdefg", "tmpabcdefg", PROGRAM_COMMAND },
    { "tmp1234567", "tmp#", PROGRAM_COMMAND },
    { "tmpABCDEFGH", "tmpABCDEFGH", PROGRAM_COMMAND },
    { "ttmp12345678", "ttmp*", PROGRAM_COMMAND },
    { "/srv/a1.py", "/srv/a1.py", PROGRAM_SCRIPT },
    { "tmpabcdefgh", "tmpabcdefgh", PROGRAM_MODULE },
};

static void test_program_key(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        struct program_start start = { .kind = keys[i].kind };
        struct program_key got;
        /* No NUL is needed. */
        char text[64];
        memset(text, '9', sizeof(text));
        memcpy(text, keys[i].text, strlen(keys[i].text));
        program_key(start, text, strlen(keys[i].text), &got);

        uint8_t bytes[65] = { (uint8_t)keys[i].kind }, want[SHA256_SIZE];
        memcpy(bytes + 1, keys[i].hashed, strlen(keys[i].hashed));
        sha256(bytes, 1 + strlen(keys[i].hashed), want);
        if (got.kind != keys[i].kind || memcmp(got.hash, want, sizeof(want)) != 0)
            fail_msg("'%s' is not hashed as '%s'", keys[i].text, keys[i].hashed);

        char plain[64], again[64];
        size_t size = program_text(start, text, strlen(keys[i].text), plain);
        if (size != strlen(keys[i].hashed) || memcmp(plain, keys[i].hashed, size) != 0 ||
            program_text(start, plain, size, again) != size || memcmp(plain, again, size) != 0)
            fail_msg("'%s' does not become '%s'", keys[i].text, keys[i].hashed);
    }
}

static void test_no_text(void **state UNUSED)
{
    static const enum program_kind kinds[] = { PROGRAM_PLAIN, PROGRAM_STDIN, PROGRAM_ANY };
    static const uint8_t zero[32];
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct program_key got;
        program_key((struct program_start){ .kind = kinds[i] }, "text", 4, &got);
        assert_int_equal(got.kind, kinds[i]);
        assert_memory_equal(got.hash, zero, sizeof(zero));
    }
}

static const struct {
    const char *a, *b;
    bool same;
} texts[] = {
    { "", "", true },
    { "a 1 b", "a 77 b", true },
    { "a 1 b", "a b", false },
    { "a 1", "a 1 b", false },
    { "rm tmpabcdefg1 2", "rm tmp________ 3", true },
    { "rm tmpabc", "rm tmpabd", false },
    { "1", "x", false },
    { "12", "tmpabcdefgh", false },
};

static void test_same_text(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (program_text_same(texts[i].a, texts[i].b) != texts[i].same ||
            program_text_same(texts[i].b, texts[i].a) != texts[i].same)
            fail_msg("'%s' and '%s'", texts[i].a, texts[i].b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_program_start),
        cmocka_unit_test(test_program_key),
        cmocka_unit_test(test_no_text),
        cmocka_unit_test(test_same_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
