/*
 * manifest_build on traces that are made here by hand, over files in a fresh folder. What stands in
 * the table happens "in the traced run": before is what the file held at its start, after at its
 * end. test_build_tree.c has the traces of more than one program.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/manifest_view.h"
#include "manifest/build.h"
#include "manifest/compile.h"
#include "manifest/hash.h"
#include "manifest/table.h"
#include "trace_world.h"
#include "util/fs.h"

/* ---- what becomes of a path ---- */

static const struct {
    const char *name, *before, *after; /* content; NULL: not there */
    uint32_t bits;
    bool read_first;
    uint32_t class, flags; /* 0: no record */
} fates[] = {
    { "read", "x", "x", R, true, MANIFEST_TRUSTED, 0 },
    { "mapped", "x", "x", TRACE_MAPPED_EXEC, true, MANIFEST_TRUSTED, MANIFEST_EXEC },
    { "stated", "x", "x", TRACE_STAT, false, MANIFEST_NAMED, 0 },
    { "refused", "x", "x", TRACE_DENIED | TRACE_STAT, false, MANIFEST_NAMED, 0 },
    { "probed", NULL, NULL, TRACE_ABSENT, false, MANIFEST_ABSENT, 0 },
    { "no/folder/either", NULL, NULL, TRACE_ABSENT, false, 0, 0 },
    { "read/below", NULL, NULL, TRACE_ABSENT, false, 0, 0 },
    { "made", NULL, "new", C, false, MANIFEST_ALLOWED, OUT },
    { "probed then made", NULL, "new", C | TRACE_ABSENT | TRACE_STAT, false, MANIFEST_ALLOWED,
      OUT },
    { "made and read back", NULL, "new", C | R, false, MANIFEST_ALLOWED, OUT },
    { "overwritten", "old", "new", T, false, MANIFEST_ALLOWED, OUT },
    { "replaced", "old", "new", TRACE_RENAMED_TO, false, MANIFEST_ALLOWED, OUT },
    { "unlinked, made", "old", "new", C | TRACE_REMOVED, false, MANIFEST_ALLOWED, OUT },
    { "temporary", NULL, NULL, C | TRACE_REMOVED, false, MANIFEST_SCRATCH, 0 },
    { "removed", "old", NULL, TRACE_REMOVED, false, MANIFEST_ABSENT, 0 },
    { "chmoded", "x", "x", TRACE_CHANGED | R, true, MANIFEST_TRUSTED, 0 },
    { "new\nline", "x", "x", R, true, MANIFEST_TRUSTED, 0 },
    { "no utf-8 \xff", "x", "x", R, true, MANIFEST_TRUSTED, 0 },
    { " space ", "x", "x", R, true, MANIFEST_TRUSTED, 0 },
    { "/proc/cpuinfo", NULL, NULL, R, true, 0, 0 },
    { "/dev/urandom", NULL, NULL, R, true, 0, 0 },
    { "/sys/devices/system/cpu/online", NULL, NULL, R, true, 0, 0 },
    { ".sgxpy/key/trace", "x", "x", R, true, 0, 0 },
    { "m/__pycache__/a.cpython-311.pyc.123", NULL, NULL, C | TRACE_RENAMED_FROM, false, 0, 0 },
    { "m/__pycache__/a.cpython-311.pyc", NULL, "pyc", TRACE_RENAMED_TO | TRACE_ABSENT, false, 0,
      0 },
    { "m/__pycache__/b.cpython-311.pyc", "stale", "pyc", TRACE_RENAMED_TO | R, true,
      MANIFEST_TRUSTED, 0 },
};

static void test_fates(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
        if (fates[i].before)
            world_put(&w, fates[i].name, fates[i].before);
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
        w.paths[world_touch(&w, fates[i].name, fates[i].bits)].read_before_written =
            fates[i].read_first;
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++) {
        if (fates[i].after && (!fates[i].before || strcmp(fates[i].before, fates[i].after) != 0))
            world_put(&w, fates[i].name, fates[i].after);
        if (fates[i].before && !fates[i].after)
            assert_int_equal(unlink(world_at(&w, fates[i].name)), 0);
    }
    world_run_ends(&w);
    CLEANUP(cascade_free_p) struct cascade *c = world_must_build(&w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
        world_expect(&w, c, fates[i].name, fates[i].class, fates[i].flags);
    world_expect(&w, c, "no", MANIFEST_ABSENT, 0); /* stands for all below it */
    world_expect(&w, c, "", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "/", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE);
    assert_int_equal(world_find(&w, c, "temporary")->nlink, 0);

    /* And all of it compiles: parents, links, leaves are consistent. */
    static const uint8_t hash[MANIFEST_HASH_SIZE];
    const struct manifest_identity identity = { hash, hash, NULL };
    void *one, *two;
    size_t one_size, two_size;
    struct err err = { 0 };
    if (manifest_compile(c, 0, &identity, &one, &one_size, &err) < 0)
        fail_msg("%s", err.text);

    /* The same inputs, the same bytes, through JSON as well. */
    CLEANUP(cascade_free_p) struct cascade *again = world_must_build(&w, NULL);
    CLEANUP(free_p) char *text = NULL;
    size_t size;
    assert_int_equal(cascade_print(again, &text, &size, NULL), 0);
    CLEANUP(cascade_free_p) struct cascade *read = NULL;
    assert_int_equal(cascade_parse("x", text, size, &read, NULL), 0);
    assert_int_equal(manifest_compile(read, 0, &identity, &two, &two_size, NULL), 0);
    assert_int_equal(one_size, two_size);
    assert_memory_equal(one, two, one_size);
    free(one);
    free(two);
    world_end(&w);
}

/* ---- what is refused ---- */

static const struct {
    const char *name, *before, *after;
    uint32_t bits;
    bool read_first;
    const char *want;
} refused[] = {
    { "cfg", "x", "yy", R | T, true, "is read and rewritten by the program" },
    { "log", "x", "xy", W, false, "is extended or partly rewritten" },
    { "gone", "x", NULL, R | TRACE_REMOVED, true, "is read and removed" },
    { "plug.py", NULL, "x", C, false, "could then be imported or loaded" },
    { "lib.so", "old", "x", T, false, "could then be imported or loaded" },
};

static void test_refused(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct world w;
        world_start(&w);
        if (refused[i].before)
            world_put(&w, refused[i].name, refused[i].before);
        w.paths[world_touch(&w, refused[i].name, refused[i].bits)].read_before_written =
            refused[i].read_first;
        if (refused[i].after)
            world_put(&w, refused[i].name, refused[i].after);
        else
            assert_int_equal(unlink(world_at(&w, refused[i].name)), 0);
        world_run_ends(&w);
        struct err err = { 0 };
        struct cascade *c = world_build(&w, NULL, NULL, &err);
        if (c || !strstr(err.text, refused[i].want) ||
            !strstr(err.text, world_at(&w, refused[i].name)))
            fail_msg("%s: got '%s'", refused[i].name, err.text);

        /* The way out that it names is one; it never is for what can be imported. */
        const char *allow[] = { world_at(&w, refused[i].name) };
        const struct manifest_rules rules = { .allow = allow, .allow_count = 1 };
        c = world_build(&w, &rules, NULL, &err);
        if (strstr(refused[i].want, "import")) {
            assert_null(c);
            assert_non_null(strstr(err.text, "imported or executed"));
        } else {
            assert_non_null(c);
            world_expect(&w, c, refused[i].name, MANIFEST_ALLOWED, 0);
        }
        cascade_free(c);
        world_end(&w);
    }
}

/* ---- changes since the trace ---- */

static void test_changed_since(void **state UNUSED)
{
    static const struct {
        const char *name, *want;
    } cases[] = {
        { "longer", "1 bytes then, 2 now" },
        { "touched", "modification time" },
        { "gone", "it is gone" },
        { "folder", "of another type" },
        { "same", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        world_start(&w);
        world_put(&w, "f", "x");
        world_touch(&w, "f", R);
        world_run_ends(&w);
        if (strcmp(cases[i].name, "longer") == 0)
            world_put(&w, "f", "xy");
        if (strcmp(cases[i].name, "touched") == 0) {
            const struct timespec times[2] = { { 5, 0 }, { 5, 0 } };
            assert_int_equal(utimensat(AT_FDCWD, world_at(&w, "f"), times, 0), 0);
        }
        if (i == 2 || i == 3)
            assert_int_equal(unlink(world_at(&w, "f")), 0);
        if (i == 3)
            assert_int_equal(mkdir(world_at(&w, "f"), 0755), 0);
        struct err err = { 0 };
        struct cascade *c = world_build(&w, NULL, NULL, &err);
        if ((c != NULL) != (cases[i].want == NULL) || (!c && !strstr(err.text, cases[i].want)))
            fail_msg("%s: got '%s'", cases[i].name, err.text);
        if (!c)
            assert_int_equal(err.code, -ESTALE);
        cascade_free(c);
        world_end(&w);
    }
}

/* Content changed under the same size and time, between manifest and sign. */
static void test_changed_before_sign(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    world_put(&w, "f", "abc");
    world_touch(&w, "f", R);
    world_run_ends(&w);
    CLEANUP(cascade_free_p) struct cascade *c = world_must_build(&w, NULL);
    world_put(&w, "f", "abd");
    static const uint8_t hash[MANIFEST_HASH_SIZE];
    const struct manifest_identity identity = { hash, hash, NULL };
    void *data;
    size_t size;
    struct err err = { 0 };
    assert_int_equal(manifest_compile(c, 0, &identity, &data, &size, &err), -ESTALE);
    /* sha256sum of "abc" and "abd" */
    assert_non_null(strstr(err.text, "expected sha256 ba7816bf8f01cfea414140de5dae2223b00361a3961"
                                     "77a9cb410ff61f20015ad"));
    assert_non_null(strstr(err.text, "found a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe"
                                     "86298449c9"));
    world_end(&w);
}

static void test_unreadable(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    world_put(&w, "f", "abc");
    world_touch(&w, "f", R);
    assert_int_equal(chmod(world_at(&w, "f"), 0), 0);
    assert_int_equal(chmod(world_at(&w, ""), 0755), 0);
    world_run_ends(&w);
    struct err err = { 0 };
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    struct cascade_file f = { .path = world_at(&w, "f"),
                              .size = 3,
                              .mtime_sec = w.paths[2].after.mtime_sec,
                              .mtime_nsec = w.paths[2].after.mtime_nsec };
    int r = manifest_hash_file(&f, &err);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(r, -EACCES);
    assert_int_equal(err.exit_code, 4);
    assert_non_null(strstr(err.text, f.path));
    assert_non_null(strstr(err.text, getuid() == 0 ? "'nobody'" : "user"));
    world_end(&w);
}

/* ---- listings, links ---- */

static void test_listing(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    static const char *const there[] = {
        "d/a", "d/b", "d/c", ".sgxpy/x", "t.trace", "x.sgx/bundle.json", "y.sgx/other",
    };
    for (size_t i = 0; i < ARRAY_SIZE(there); i++)
        world_put(&w, there[i], "x");
    assert_int_equal(symlink("a", world_at(&w, "d/l")), 0);
    assert_int_equal(link(world_at(&w, "d/b"), world_at(&w, "d/hard")), 0);
    uint32_t d = world_touch(&w, "d", TRACE_LISTED | TRACE_OPENED);
    world_touch(&w, "d/b", R);
    world_touch(&w, "d/hard", R);
    world_touch(&w, "d/out", C);
    world_put(&w, "d/out", "1");
    static const char *const names[] = { "a", "b", "c", "hard", "l", "out", "vanished" };
    w.names[d] = calloc(ARRAY_SIZE(names), sizeof(struct trace_name));
    assert_non_null(w.names[d]);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        w.names[d][i].name = names[i];
    w.paths[d].names = w.names[d];
    w.paths[d].name_count = ARRAY_SIZE(names);
    uint32_t top = world_touch(&w, "", TRACE_LISTED);
    world_put(&w, "x.sgx/bundle.json", "{}");
    world_put(&w, "old.trace", "sgxpy-trace");
    world_put(&w, "z.trace", "another's");
    world_put(&w, "c.json", "{\n \"format\": \"sgxpy-cascade\",\n");
    world_put(&w, "d.json", "{}");
    static struct trace_name top_names[] = {
        { ".sgxpy", 4 },  { "c.json", 8 }, { "d", 4 },     { "d.json", 8 },  { "old.trace", 8 },
        { "t.trace", 8 }, { "x.sgx", 4 },  { "y.sgx", 4 }, { "z.trace", 8 },
    };
    w.paths[top].names = top_names;
    w.paths[top].name_count = ARRAY_SIZE(top_names);
    world_run_ends(&w);

    const char *own[] = { world_at(&w, "t.trace") };
    const struct manifest_rules rules = { .own = own, .own_count = 1 };
    CLEANUP(cascade_free_p) struct cascade *c = world_must_build(&w, &rules);
    world_expect(&w, c, "d", MANIFEST_TRUSTED, MANIFEST_LISTED);
    world_expect(&w, c, "d/a", MANIFEST_NAMED, 0);
    world_expect(&w, c, "d/b", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "d/c", MANIFEST_NAMED, 0);
    world_expect(&w, c, "d/l", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "d/out", MANIFEST_ALLOWED, OUT);
    world_expect(&w, c, "d/vanished", 0, 0);
    world_expect(&w, c, ".sgxpy", 0, 0);
    static const char *const ours[] = { "t.trace", "old.trace", "c.json", "x.sgx" };
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        world_expect(&w, c, ours[i], 0, 0);
    static const char *const theirs[] = { "z.trace", "d.json", "y.sgx" };
    for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
        world_expect(&w, c, theirs[i], MANIFEST_NAMED, 0);
    assert_string_equal(world_find(&w, c, "d/hard")->link, world_at(&w, "d/b"));
    assert_null(world_find(&w, c, "d/b")->link);
    assert_string_equal(world_find(&w, c, "d/l")->target, "a");
    assert_int_equal(world_find(&w, c, "d")->size, 4096);
    assert_int_equal(world_find(&w, c, "d")->mtime_sec, 0);

    static const uint8_t hash[MANIFEST_HASH_SIZE];
    const struct manifest_identity identity = { hash, hash, NULL };
    void *data;
    size_t size;
    struct manifest_view v;
    assert_int_equal(manifest_compile(c, 0, &identity, &data, &size, NULL), 0);
    assert_int_equal(manifest_view_open(data, size, &v, NULL), 0);
    const char *path = world_at(&w, "d");
    assert_int_equal(v.files[manifest_find(&v, path, strlen(path))].dirent_count, 5);
    free(data);
    world_end(&w);
}

/* ---- closure ---- */

static void test_closure(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    world_put(&w, "p/a.py", "a");
    world_put(&w, "p/__pycache__/a.cpython-311.pyc", "a");
    world_put(&w, "p/__pycache__/a.cpython-39.pyc", "a");
    world_put(&w, "p/b.py", "b");
    world_put(&w, "p/__pycache__/b.cpython-311.pyc", "b");
    world_put(&w, "p/__pycache__/b.cpython-311.opt-1.pyc", "b");
    world_put(&w, "q/real.py", "c");
    world_put(&w, "p/__pycache__/c.cpython-311.pyc", "c");
    assert_int_equal(symlink("../q/real.py", world_at(&w, "p/c.py")), 0);
    world_put(&w, "p/d.py", "d");
    world_touch(&w, "p/a.py", TRACE_STAT);
    world_touch(&w, "p/__pycache__/a.cpython-311.pyc", R);
    world_touch(&w, "p/b.py", R);
    world_touch(&w, "p/__pycache__/c.cpython-311.pyc", R);
    world_touch(&w, "p/d.py", TRACE_STAT);
    world_run_ends(&w);
    CLEANUP(cascade_free_p) struct cascade *c = world_must_build(&w, NULL);
    world_expect(&w, c, "p/a.py", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "p/__pycache__/a.cpython-39.pyc", 0, 0);
    world_expect(&w, c, "p/__pycache__/b.cpython-311.pyc", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "p/__pycache__", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "p/c.py", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "q/real.py", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "p/d.py", MANIFEST_NAMED, 0);

    /* This program needs libc and cmocka, directly or not: found as ld.so would. */
    char libc[PATH_MAX];
    assert_non_null(realpath("/lib/x86_64-linux-gnu/libc.so.6", libc));
    world_expect(&w, c, libc, MANIFEST_TRUSTED, MANIFEST_EXEC);
    assert_non_null(realpath("/lib/x86_64-linux-gnu/libcmocka.so.0", libc));
    world_expect(&w, c, libc, MANIFEST_TRUSTED, MANIFEST_EXEC);
    world_expect(&w, c, w.program, MANIFEST_TRUSTED, MANIFEST_EXEC);
    assert_string_equal(c->nodes[0].entries[0].start.executable, w.program);
    assert_non_null(cascade_find(&c->nodes[0], c->nodes[0].entries[0].interpreter));
    world_end(&w);
}

/* ---- rules ---- */

static void test_rules(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    world_put(&w, "data/in.txt", "x");
    world_put(&w, "data/other", "x");
    world_put(&w, "tree/x/y.py", "x");
    world_put(&w, "tree/x/__pycache__/y.cpython-311.pyc", "x");
    world_put(&w, "src/m.py", "x");
    world_put(&w, "src/sub/data", "x");
    world_put(&w, "site-packages/Foo_bar-1.dist-info/RECORD",
              "foo/__init__.py,sha256=x,1\nfoo/gone.py,,\n");
    world_put(&w, "site-packages/foo/__init__.py", "x");
    world_put(&w, "site-packages/foo/other.py", "x");
    world_touch(&w, "site-packages", TRACE_STAT);
    world_touch(&w, "data/in.txt", R);
    world_touch(&w, "src/m.py", R);
    world_touch(&w, "data/none", TRACE_ABSENT);
    world_put(&w, "user/lib/python3.11/site-packages/x", "x");
    world_touch(&w, "user/lib/python3.11/site-packages", TRACE_LISTED);
    world_touch(&w, "absent/site-packages", TRACE_ABSENT);
    world_put(&w, "p/a.pth", "# comment\nimport os\n../plus\n");
    world_put(&w, "plus/x", "x");
    world_put(&w, "pypath/x", "x");
    world_touch(&w, "p/a.pth", R);
    char pythonpath[PATH_MAX * 2];
    snprintf(pythonpath, sizeof(pythonpath), "PYTHONPATH=/nothing:%s", world_at(&w, "pypath"));
    w.envp[w.process.env_count++] = pythonpath;
    world_run_ends(&w);

    const char *trust[] = { world_at(&w, "tree") }, *allow[] = { world_at(&w, "data") };
    struct manifest_rules rules = {
        .trust = trust, .trust_count = 1, .allow = allow, .allow_count = 1
    };
    struct cascade *c = world_must_build(&w, &rules);
    world_expect(&w, c, "tree", MANIFEST_TRUSTED, MANIFEST_LISTED);
    world_expect(&w, c, "tree/x/y.py", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "tree/x/__pycache__/y.cpython-311.pyc", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "data", MANIFEST_ALLOWED, MANIFEST_SUBTREE);
    world_expect(&w, c, "data/in.txt", 0, 0);
    world_expect(&w, c, "data/none", 0, 0);
    cascade_free(c);

    const char *package[] = { "foo.bar" };
    rules = (struct manifest_rules){ .package = package, .package_count = 1 };
    c = world_must_build(&w, &rules);
    world_expect(&w, c, "site-packages/foo/__init__.py", MANIFEST_TRUSTED, 0);
    world_expect(&w, c, "site-packages/foo/other.py", 0, 0);
    cascade_free(c);

    const char *deny[] = { world_at(&w, "data/in.txt") };
    rules = (struct manifest_rules){ .deny = deny, .deny_count = 1 };
    c = world_must_build(&w, &rules);
    world_expect(&w, c, "data/in.txt", MANIFEST_TRUSTED, MANIFEST_DENY);
    cascade_free(c);

    /* A folder: all of it is trusted, its data denies. */
    const char *folder[] = { world_at(&w, "data") };
    rules = (struct manifest_rules){ .deny = folder, .deny_count = 1 };
    c = world_must_build(&w, &rules);
    world_expect(&w, c, "data/in.txt", MANIFEST_TRUSTED, MANIFEST_DENY);
    world_expect(&w, c, "src/m.py", MANIFEST_TRUSTED, 0);
    cascade_free(c);

    static const struct {
        const char *option, *name, *want;
    } bad[] = {
        { "allow", "src", "where the program loaded modules" },
        { "allow", "", "so the host could add code" },
        { "allow", "/", "would open everything" },
        { "allow", "src/m.py", "imported or executed" },
        { "allow", "/proc/self", "the library OS answers it" },
        { "allow", "/usr/lib", "loaded programs or libraries" },
        { "allow", "new.py", "imported or executed" },
        { "allow", "user", "where Python looks for modules" },
        { "allow", "absent/", "where Python looks for modules" },
        { "allow", "plus", "on sys.path by a .pth file" },
        { "allow", "pypath", "on PYTHONPATH" },
        { "trust", "nothing", "no such file" },
        { "trust", "/dev/null", "the library OS answers it" },
        { "deny", "src/m.py", "imported or executed" },
        { "deny", "nothing", "no regular file or folder" },
        { "package", "no-such-package", "neither a Debian package" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *list[] = { strcmp(bad[i].option, "package") == 0 ? bad[i].name
                                                                     : world_at(&w, bad[i].name) };
        rules = (struct manifest_rules){ 0 };
        if (strcmp(bad[i].option, "allow") == 0)
            rules = (struct manifest_rules){ .allow = list, .allow_count = 1 };
        else if (strcmp(bad[i].option, "trust") == 0)
            rules = (struct manifest_rules){ .trust = list, .trust_count = 1 };
        else if (strcmp(bad[i].option, "deny") == 0)
            rules = (struct manifest_rules){ .deny = list, .deny_count = 1 };
        else
            rules = (struct manifest_rules){ .package = list, .package_count = 1 };
        struct err err = { 0 };
        c = world_build(&w, &rules, NULL, &err);
        if (c || !strstr(err.text, bad[i].want) || !strstr(err.text, bad[i].option))
            fail_msg("--%s %s: got '%s'", bad[i].option, bad[i].name, err.text);
    }
    world_end(&w);
}

/* ---- the process ---- */

static void test_environment(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    static char *const env[] = {
        "HOME=/h",       "PATH=/bin",
        "LC_ALL=C",      "OMP_NUM_THREADS=2",
        "PYTHONPATH=/x", "SHELL=/bin/sh",
        "PYTHON_KEY=1",  "AWS_SECRET=1",
        "NPY_X=3",       "API=1",
        "broken",        "=x",
        "TZ=",           "PYTHONDONTWRITEBYTECODE=",
        "HOME=/later",   "SHELL=/later",
    };
    for (size_t i = 0; i < ARRAY_SIZE(env); i++)
        w.envp[w.process.env_count++] = env[i];
    world_run_ends(&w);
    const char *rule[] = { "API", "AWS_SECRET=2", "NEW=a=b" };
    struct manifest_rules rules = { .env = rule, .env_count = 3 };
    CLEANUP(manifest_report_done) struct manifest_report report = { 0 };
    CLEANUP(cascade_free_p) struct cascade *c = world_build(&w, &rules, &report, NULL);
    assert_non_null(c);

    static const struct {
        const char *name, *value; /* NULL: the host's */
    } want[] = {
        { "API", NULL },
        { "AWS_SECRET", "2" },
        { "HOME", "/h" },
        { "LC_ALL", "C" },
        { "NEW", "a=b" },
        { "NPY_X", "3" },
        { "OMP_NUM_THREADS", "2" },
        { "PATH", "/bin" },
        { "PYTHONDONTWRITEBYTECODE", "1" },
        { "PYTHONPATH", "/x" },
        { "TZ", "" },
    };
    const struct cascade_node *n = &c->nodes[0];
    assert_int_equal(n->env_count, ARRAY_SIZE(want));
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        assert_string_equal(n->env[i].name, want[i].name);
        assert_string_equal(n->env[i].value, want[i].value ? want[i].value : "");
        assert_int_equal(n->env[i].policy, want[i].value ? MANIFEST_ENV_PINNED : MANIFEST_ENV_HOST);
    }
    assert_int_equal(report.dropped_count, 2);
    assert_string_equal(report.dropped[0], "PYTHON_KEY");
    assert_string_equal(report.dropped[1], "SHELL");

    static const char *const bad[] = { "LD_PRELOAD", "PYTHONPATH", "PYTHONUNBUFFERED",
                                       "BASH_ENV",   "=x",         "" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *one[] = { bad[i] };
        struct err err = { 0 };
        rules = (struct manifest_rules){ .env = one, .env_count = 1 };
        struct cascade *got = world_build(&w, &rules, NULL, &err);
        if (got || !strstr(err.text, "--env"))
            fail_msg("--env '%s': got '%s'", bad[i], err.text);
    }
    world_end(&w);
}

static void test_limits(void **state UNUSED)
{
    static const struct {
        uint64_t vm_mib, heap_mib;
        uint32_t threads, want_threads;
    } cases[] = {
        { 0, 256, 1, 4 },     { 200, 256, 2, 4 },    { 205, 512, 3, 5 },
        { 800, 1024, 8, 10 }, { 900, 1536, 40, 50 }, { 4096, 5120, 1000, 1024 },
    };
    struct world w;
    world_start(&w);
    world_run_ends(&w);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        w.process.vm_peak = cases[i].vm_mib << 20;
        w.process.thread_peak = cases[i].threads;
        CLEANUP(cascade_free_p) struct cascade *c = world_must_build(&w, NULL);
        const struct cascade_node *n = &c->nodes[0];
        if (n->heap_size != cases[i].heap_mib << 20 || n->thread_count != cases[i].want_threads)
            fail_msg("row %zu: heap %llu MiB, %u threads", i,
                     (unsigned long long)n->heap_size >> 20, n->thread_count);
        assert_int_equal(n->uid, 12);
        assert_int_equal(n->gid, 34);
        assert_int_equal(n->umask, 027);
        assert_string_equal(n->hostname, "box");
    }
    world_end(&w);
}

static void test_script(void **state UNUSED)
{
    static const struct {
        const char *executable, *argv[6];
        int want;
    } cases[] = {
        { "/usr/bin/python3.11", { "python3", "a.py", "-c" }, 1 },
        { "/usr/bin/python3.11", { "python3", "-O", "-W", "error", "a.py" }, 4 },
        { "/usr/bin/python3.11", { "python3", "-Werror", "-Bs", "a.py" }, 3 },
        { "/usr/bin/python3.11", { "python3", "-X", "dev", "-c", "pass" }, -1 },
        { "/usr/bin/python3.11", { "python3", "-Bc", "pass" }, -1 },
        { "/usr/bin/python3.11", { "python3", "-m", "pytest", "x" }, -1 },
        { "/usr/bin/python3.11", { "python3" }, -1 },
        { "/usr/bin/python3.11", { "python3", "-" }, -1 },
        { "/usr/bin/python3.11", { "python3", "--", "-c" }, 2 },
        { "/usr/bin/dash", { "sh", "-c", "true" }, -1 },
        { "/usr/bin/bash", { "bash", "-o", "pipefail", "x.sh" }, 3 },
        { "/usr/bin/perl", { "perl", "-e", "1" }, -1 },
        { "/usr/bin/perl", { "perl", "-I", "lib", "x.pl" }, 3 },
        { "/usr/bin/ls", { "ls", "-c" }, 0 },
        { "/usr/bin/shred", { "shred", "-c" }, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct trace_process p = { .executable = cases[i].executable,
                                   .argv = (char **)(uintptr_t)cases[i].argv };
        while (p.argc < 6 && p.argv[p.argc])
            p.argc++;
        int got = process_script(&p);
        if (got != cases[i].want)
            fail_msg("row %zu: got %d, want %d", i, got, cases[i].want);
    }
}

static void test_programs(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    world_run_ends(&w);
    struct trace_process three[3] = { w.process, w.process, w.process };
    three[1].parent = 0;
    three[1].how = TRACE_HOW_VFORK;
    three[1].access_count = 0;
    three[2].parent = 1;
    three[2].how = TRACE_HOW_EXEC;
    three[2].executable = "/usr/bin/env";
    three[2].access_count = 0;
    w.trace.processes = three;
    for (size_t count = 1; count <= 3; count++) {
        w.trace.process_count = count;
        struct cascade *c = world_must_build(&w, NULL);
        assert_int_equal(c->node_count, count == 3 ? 2 : 1);
        assert_int_equal(c->nodes[0].child_count, c->node_count - 1);
        assert_false(c->nodes[0].flags & MANIFEST_FORKS);
        if (count == 3) {
            assert_int_equal(c->nodes[0].children[0].node, 1);
            assert_string_equal(c->nodes[1].label, "env");
            assert_int_equal(c->nodes[1].flags, 0);
            world_expect(&w, c, "/usr/bin/env", MANIFEST_NAMED, 0);
            assert_null(cascade_find(&c->nodes[1], w.program));
        }
        cascade_free(c);
        const struct manifest_rules rules = { .exec_deny = true };
        c = world_must_build(&w, &rules);
        assert_int_equal(c->node_count, 1);
        assert_true(c->nodes[0].flags & MANIFEST_EXEC_DENY);
        cascade_free(c);
    }
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fates),         cmocka_unit_test(test_refused),
        cmocka_unit_test(test_changed_since), cmocka_unit_test(test_changed_before_sign),
        cmocka_unit_test(test_unreadable),    cmocka_unit_test(test_listing),
        cmocka_unit_test(test_closure),       cmocka_unit_test(test_rules),
        cmocka_unit_test(test_environment),   cmocka_unit_test(test_limits),
        cmocka_unit_test(test_script),        cmocka_unit_test(test_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
