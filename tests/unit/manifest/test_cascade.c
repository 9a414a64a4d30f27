#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/program_key.h"
#include "manifest/cascade.h"
#include "manifest_builder.h"
#include "util/fs.h"

static const struct built_file table[] = {
    { "/bin/program", .flags = MANIFEST_EXEC, .content = "ELF", .size = 3 },
    { "/data", .mode = S_IFDIR | 0700, .flags = MANIFEST_LISTED },
    { "/data/new\nline", .content = "n", .size = 1 },
    { "/data/not utf-8 \xff\xfe", .content = "x", .size = 1, .mtime_sec = -5 },
    { "/data/quote\"back\\slash", .class = MANIFEST_NAMED, .size = 9 },
    { "/data/umlaut \xc3\xa4", .content = "x", .size = 1 },
    { "/data/link", .target = "\xff" },
    { "/data/z", .content = "n", .size = 1, .link = "/data/new\nline" },
    { "/data/big", .size = 5ull << 30, .class = MANIFEST_NAMED },
    { "/data/out", .class = MANIFEST_ALLOWED, .flags = MANIFEST_OUTPUT },
    { "/data/none", .class = MANIFEST_ABSENT },
    { "/tmp", .class = MANIFEST_SCRATCH, .flags = MANIFEST_SUBTREE, .mode = S_IFDIR | 01777 },
};
static const char *const args[] = { "program", "a b", "\xff", "", NULL };
static const char *const env[] = { "A=1", "B", "C=\xff", "D=", NULL };
static const char *const net[] = { "connect 10.0.0.0/8:443", "listen tcp *:80", NULL };
static const struct built_node node = {
    .args = args, .env = env, .net = net, .cwd = "/data", .uid = 1000
};

static struct cascade *build(void)
{
    struct cascade *c;
    assert_int_equal(manifest_build_cascade(table, ARRAY_SIZE(table), &node, &c, NULL), 0);
    return c;
}

static char *print(const struct cascade *c, size_t *ret_size)
{
    char *text;
    assert_int_equal(cascade_print(c, &text, ret_size, NULL), 0);
    assert_int_equal(strlen(text), *ret_size);
    return text;
}

static void test_round_trip(void **state UNUSED)
{
    CLEANUP(cascade_free_p) struct cascade *a = build();
    size_t size, again_size;
    CLEANUP(free_p) char *text = print(a, &size);
    CLEANUP(cascade_free_p) struct cascade *b = NULL;
    struct err err = { 0 };
    if (cascade_parse("x", text, size, &b, &err) < 0)
        fail_msg("%s", err.text);
    CLEANUP(free_p) char *again = print(b, &again_size);
    assert_string_equal(text, again);

    const struct cascade_node *n = &b->nodes[0];
    assert_int_equal(n->arg_count, 4);
    assert_string_equal(n->args[2], "\xff");
    assert_string_equal(n->env[2].value, "\xff");
    assert_int_equal(n->env[1].policy, MANIFEST_ENV_HOST);
    assert_int_equal(n->net_count, 2);
    assert_string_equal(n->net[1], "listen tcp *:80");
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        const struct cascade_file *f = cascade_find(n, table[i].path);
        const struct cascade_file *was = cascade_find(&a->nodes[0], table[i].path);
        if (!f || f->class != was->class || f->flags != was->flags || f->mode != was->mode ||
            f->size != was->size || f->mtime_sec != was->mtime_sec ||
            memcmp(f->sha256, was->sha256, sizeof(f->sha256)) != 0 ||
            memcmp(f->root, was->root, sizeof(f->root)) != 0)
            fail_msg("'%s' did not survive", table[i].path);
    }
    assert_string_equal(cascade_find(n, "/data/link")->target, "\xff");
    assert_string_equal(cascade_find(n, "/data/z")->link, "/data/new\nline");
}

static void test_id(void **state UNUSED)
{
    CLEANUP(cascade_free_p) struct cascade *a = build();
    CLEANUP(cascade_free_p) struct cascade *b = build();
    uint8_t one[MANIFEST_HASH_SIZE], two[MANIFEST_HASH_SIZE];
    assert_int_equal(cascade_id(a, one, NULL), 0);
    assert_int_equal(cascade_id(b, two, NULL), 0);
    assert_memory_equal(one, two, sizeof(one));
    b->nodes[0].uid++;
    assert_int_equal(cascade_id(b, two, NULL), 0);
    assert_memory_not_equal(one, two, sizeof(one));
}

/* One replacement in the text of a good cascade, and what the message must say. */
static const struct {
    const char *name, *from, *to;
    const char *want;
    int code;
} bad[] = {
    { "no JSON", "{", "", "line 2", -EBADMSG },
    { "other format", "sgxpy-cascade", "sgxpy-trace", "format", -EBADMSG },
    { "newer version", "\"version\": 4", "\"version\": 5", "version 5 is unknown", -EPROTO },
    { "version is text", "\"version\": 4", "\"version\": \"4\"", "version", -EBADMSG },
    { "unknown key on top", "\"version\"", "\"x\": 1, \"version\"", "unknown key 'x'", -EBADMSG },
    { "unknown key in node", "\"cwd\"", "\"cwdx\": 1, \"cwd\"", "nodes[0]: unknown key 'cwdx'",
      -EBADMSG },
    { "unknown key in file", "\"class\": \"absent\"", "\"class\": \"absent\", \"why\": 1",
      "files[7]: unknown key 'why'", -EBADMSG },
    { "key twice", "\"uid\": 1000", "\"uid\": 1000, \"uid\": 1000", "duplicate", -EBADMSG },
    { "missing key", "\"uid\": 1000,", "", "nodes[0].uid: is missing", -EBADMSG },
    { "negative number", "\"uid\": 1000", "\"uid\": -1", "nodes[0].uid: -1 is out of range",
      -EBADMSG },
    { "too large", "\"uid\": 1000", "\"uid\": 4294967296", "uid: 4294967296", -EBADMSG },
    { "float", "\"uid\": 1000", "\"uid\": 1000.0", "uid: must be a whole number", -EBADMSG },
    { "bool", "\"uid\": 1000", "\"uid\": true", "uid: must be a whole number", -EBADMSG },
    { "no nodes", "\"nodes\"", "\"nodes\": [], \"nodesx\"", "'nodesx'", -EBADMSG },
    { "bad class", "\"class\": \"absent\"", "\"class\": \"gone\"", "'gone' is no known word",
      -EBADMSG },
    { "bad flag", "[\"output\"]", "[\"outputs\"]", "'outputs' is no known word", -EBADMSG },
    { "flag twice", "[\"output\"]", "[\"output\", \"output\"]", "repeats", -EBADMSG },
    { "flag is no list", "[\"output\"]", "\"output\"", "must be a list", -EBADMSG },
    { "bad mode", "\"mode\": \"41777\"", "\"mode\": \"41778\"", "octal", -EBADMSG },
    { "mode with zero", "\"mode\": \"41777\"", "\"mode\": \"041777\"", "range", -EBADMSG },
    { "relative path", "\"path\": \"/tmp\"", "\"path\": \"tmp\"", "files[13].path", -EBADMSG },
    { "path with ..", "\"path\": \"/tmp\"", "\"path\": \"/tmp/..\"", "files[13].path", -EBADMSG },
    { "path with NUL", "\"path\": \"/tmp\"", "\"path\": \"/t\\u0000mp\"", "line", -EBADMSG },
    { "order", "\"path\": \"/tmp\"", "\"path\": \"/a\"", "out of order", -EBADMSG },
    { "same twice", "\"path\": \"/tmp\"", "\"path\": \"/data/z\"", "out of order or repeated",
      -EBADMSG },
    { "upper-case hex", "20fffe\"", "20FFFE\"", "hex digits", -EBADMSG },
    { "odd hex", "20fffe\"", "20ffe\"", "hex digits", -EBADMSG },
    { "hex of UTF-8", "20fffe\"", "20\"", "that is no UTF-8", -EBADMSG },
    { "hex of NUL", "20fffe\"", "20ff00\"", "hex digits", -EBADMSG },
    { "hash too long", "\"sha256\": \"", "\"sha256\": \"a", "64 hex digits", -EBADMSG },
    { "link to nothing", "\"link\": \"/data/new\\nline\"", "\"link\": \"/data/new\"",
      "link: names no file before", -EBADMSG },
    { "absent with mode", "\"class\": \"absent\"", "\"class\": \"absent\", \"mode\": \"100644\"",
      "absent file has no metadata", -EBADMSG },
    { "trusted without hash", "\"class\": \"named\"", "\"class\": \"trusted\"", "sha256",
      -EBADMSG },
    { "env order", "\"name\": \"B\"", "\"name\": \"Z\"", "env[2].name: out of order", -EBADMSG },
    { "env name", "\"name\": \"B\"", "\"name\": \"A=\"", "env[1].name: is no variable", -EBADMSG },
    { "host variable with value", "\"policy\": \"host\", \"value\": \"\"",
      "\"policy\": \"host\", \"value\": \"x\"", "env[1].value", -EBADMSG },
    { "argument is a number", "\"a b\"", "3", "args: must be a string", -EBADMSG },
    { "argument object", "{\"hex\": \"ff\"}", "{\"hex\": \"ff\", \"a\": 1}", "element 2",
      -EBADMSG },
    { "too many threads", "\"threads\": 4", "\"threads\": 1025", "threads: 1025", -EBADMSG },
    { "net rule of nothing", "listen tcp *:80", "listen sctp *:80",
      "nodes[0].net: 'listen sctp *:80' is no network rule", -EBADMSG },
    { "net rule otherwise", "listen tcp *:80", "listen tcp *:080",
      "'listen tcp *:080' is no network", -EBADMSG },
    { "net rules' order", "listen tcp *:80", "connect *:1", "'connect *:1' is out of order",
      -EBADMSG },
    { "net rule twice", "listen tcp *:80", "connect 10.0.0.0/8:443", "repeated", -EBADMSG },
    { "bytes behind", "\"version\": 4\n}", "\"version\": 4\n}x", "line", -EBADMSG },
    { "mtime_nsec", "\"mtime\": -5", "\"mtime\": -5, \"mtime_nsec\": 1000000000", "mtime_nsec",
      -EBADMSG },
};

static void test_strict(void **state UNUSED)
{
    CLEANUP(cascade_free_p) struct cascade *c = build();
    size_t size;
    CLEANUP(free_p) char *text = print(c, &size);
    int failed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *at = strstr(text, bad[i].from);
        if (!at) {
            print_error("%s: the text has no '%s'\n", bad[i].name, bad[i].from);
            failed++;
            continue;
        }
        CLEANUP(free_p) char *changed = NULL;
        int n = asprintf(&changed, "%.*s%s%s", (int)(at - text), text, bad[i].to,
                         at + strlen(bad[i].from));
        assert_true(n > 0);
        struct cascade *got = NULL;
        struct err err = { 0 };
        int r = cascade_parse("the-file", changed, (size_t)n, &got, &err);
        if (r != bad[i].code || !strstr(err.text, bad[i].want) || !strstr(err.text, "the-file") ||
            got) {
            print_error("%s: got %d '%s', want '%s'\n", bad[i].name, r, err.text, bad[i].want);
            failed++;
        }
        cascade_free(got);
    }
    assert_int_equal(failed, 0);
}

/* Cut anywhere: refused, never a crash. */
static void test_torn(void **state UNUSED)
{
    CLEANUP(cascade_free_p) struct cascade *c = build();
    size_t size;
    CLEANUP(free_p) char *text = print(c, &size);
    for (size_t n = 0; n + 2 < size; n += 7) {
        struct cascade *got = NULL;
        CLEANUP(free_p) char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, text, n);
        if (cascade_parse("x", copy, n, &got, NULL) == 0)
            fail_msg("%zu of %zu bytes: accepted", n, size);
    }
}

static void test_path_valid(void **state UNUSED)
{
    char longest[MANIFEST_PATH_MAX + 2] = "";
    for (size_t i = 0; i < MANIFEST_PATH_MAX; i += 2)
        strcat(longest, "/a");
    const struct {
        const char *path;
        bool want;
    } cases[] = {
        { "/", true },     { "/a", true },       { "/a/b", true },   { "/...", true },
        { "/a\n", true },  { "/\xff", true },    { "", false },      { "a", false },
        { "//", false },   { "/a/", false },     { "/a//b", false }, { "/.", false },
        { "/a/.", false }, { "/a/../b", false }, { longest, true },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (cascade_path_valid(cases[i].path) != cases[i].want)
            fail_msg("'%s'", cases[i].path);
    strcat(longest, "a");
    assert_false(cascade_path_valid(longest));
}

/* ---- several nodes ---- */

static char *golden(size_t *ret_size)
{
    char *text;
    struct err err = { 0 };
    if (file_load(AT_FDCWD, TEST_TREE, 1 << 20, &text, ret_size, &err) < 0)
        fail_msg("%s", err.text);
    return text;
}

static void test_tree(void **state UNUSED)
{
    size_t size, again_size;
    CLEANUP(free_p) char *text = golden(&size);
    CLEANUP(cascade_free_p) struct cascade *c = NULL;
    struct err err = { 0 };
    if (cascade_parse("tree.json", text, size, &c, &err) < 0)
        fail_msg("%s", err.text);
    CLEANUP(free_p) char *again = print(c, &again_size);
    assert_string_equal(again, text);

    assert_int_equal(c->node_count, 3);
    assert_int_equal(c->nodes[0].process_limit, 64);
    assert_int_equal(c->nodes[0].child_count, 2);
    assert_string_equal(c->nodes[0].children[0].start.text, "x #");
    assert_int_equal(c->nodes[0].children[0].start.kind, PROGRAM_COMMAND);
    assert_int_equal(c->nodes[1].entry_count, 2);
    assert_null(c->nodes[1].entries[1].start.text);
    assert_int_equal(c->nodes[2].given_count, 7);
    assert_string_equal(c->nodes[2].given[0].name, "PATH");
    assert_string_equal(c->nodes[2].given[5].value, "");
    assert_null(c->nodes[2].given[5].name);
    assert_null(c->nodes[2].given[2].value);
    size_t order[3];
    assert_int_equal(cascade_order(c, order), 0);
    assert_int_equal(order[0], 2);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 0);
}

static const struct {
    const char *name, *from, *to;
    const char *want;
} bad_trees[] = {
    /* clang-format off */
    { "no such node", "\"node\": 2, \"text\": \"/srv/w.py\"",
      "\"node\": 3, \"text\": \"/srv/w.py\"", "nodes[0].children[1].node: has no such entry" },
    { "no such entry", "\"node\": 2, \"text\": \"/srv/w.py\"",
      "\"node\": 2, \"text\": \"/srv/x.py\"", "nodes[0].children[1].node: has no such entry" },
    { "the root is nobody's child", "\"kind\": \"plain\", \"node\": 1",
      "\"kind\": \"plain\", \"node\": 0", "the root is started by nobody else" },
    { "a loop", "\"label\": \"python w.py\"",
      "\"children\": [{\"executable\": \"/bin/true\", \"kind\": \"plain\", \"node\": 1}], "
      "\"label\": \"python w.py\"",
      "nodes: programs that start each other" },
    { "children out of order", "{\"executable\": \"/bin/true\", \"kind\": \"plain\", \"node\": 1}",
      "{\"executable\": \"/bin/a\", \"kind\": \"plain\", \"node\": 1}", "children[2].executable" },
    { "entry twice", "\"executable\": \"/bin/true\", \"kind\": \"plain\"}",
      "\"executable\": \"/bin/dash\", \"kind\": \"command\", \"text\": \"x #\"}",
      "entries[1].executable: repeats" },
    { "text of none", "\"kind\": \"plain\"}", "\"kind\": \"plain\", \"text\": \"x\"}",
      "entries[1].text" },
    { "unknown kind", "\"kind\": \"plain\"", "\"kind\": \"plane\"", "'plane' is no known word" },
    { "two roots", "\"flags\": [\"forks\"]", "\"flags\": [\"root\"]", "nodes[1].flags" },
    { "limit elsewhere", "\"label\": \"python w.py\"",
      "\"label\": \"python w.py\", \"processes\": 5", "nodes[2].processes" },
    { "limit too high", "\"processes\": 64", "\"processes\": 2049", "processes: 2049" },
    { "empty list of children", "\"label\": \"python w.py\"",
      "\"children\": [], \"label\": \"python w.py\"", "left out where it is empty" },
    { "the root is given something", "\"heap\": 67108864",
      "\"given\": [{\"value\": \"/srv\", \"what\": \"folder\"}], \"heap\": 67108864", "nodes[0].given: the root" },
    { "given twice", "\"value\": \"/usr/bin\"", "\"value\": \"/bin\"", "given[1].what: out of order" },
    { "given in an unknown way", "\"what\": \"unset\"", "\"what\": \"gone\"", "'gone' is no known word" },
    { "no variable", "{\"name\": \"PATH\", \"what\": \"unset\"}", "{\"what\": \"unset\"}", "given[2].name" },
    { "a variable's name", "{\"name\": \"PATH\", \"what\": \"unset\"}", "{\"name\": \"PA=\", \"what\": \"unset\"}",
      "given[2].name" },
    { "a value too much", "{\"name\": \"PATH\", \"what\": \"unset\"}",
      "{\"name\": \"PATH\", \"value\": \"\", \"what\": \"unset\"}", "given[2].value" },
    { "no value", "{\"value\": \"\", \"what\": \"options\"}", "{\"what\": \"options\"}", "given[5].value" },
    { "a name too much", "{\"value\": \"\", \"what\": \"options\"}",
      "{\"name\": \"x\", \"value\": \"\", \"what\": \"options\"}", "given[5].name" },
    { "no folder", "\"value\": \"/tmp\"", "\"value\": \"/tmp/../x\"", "given[4].value" },
    { "entry without path", "\"executable\": \"/bin/true\", \"kind\": \"plain\"}",
      "\"executable\": \"true\", \"kind\": \"plain\"}", "entries[1].executable" },
    /* clang-format on */
};

static void test_strict_trees(void **state UNUSED)
{
    size_t size;
    CLEANUP(free_p) char *text = golden(&size);
    for (size_t i = 0; i < ARRAY_SIZE(bad_trees); i++) {
        const char *from = strstr(text, bad_trees[i].from);
        if (!from)
            fail_msg("%s: the text has no '%s'", bad_trees[i].name, bad_trees[i].from);
        CLEANUP(free_p) char *changed = NULL;
        int n = asprintf(&changed, "%.*s%s%s", (int)(from - text), text, bad_trees[i].to,
                         from + strlen(bad_trees[i].from));
        struct cascade *got = NULL;
        struct err err = { 0 };
        int r = cascade_parse("the-file", changed, (size_t)n, &got, &err);
        if (r != -EBADMSG || !strstr(err.text, bad_trees[i].want))
            fail_msg("%s: got %d '%s', want '%s'", bad_trees[i].name, r, err.text,
                     bad_trees[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),   cmocka_unit_test(test_id),
        cmocka_unit_test(test_strict),       cmocka_unit_test(test_torn),
        cmocka_unit_test(test_path_valid),   cmocka_unit_test(test_tree),
        cmocka_unit_test(test_strict_trees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
