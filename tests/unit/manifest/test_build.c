/*
 * manifest_build on traces that are made here by hand, over files in a fresh folder. What stands in
 * the table happens "in the traced run": before is what the file held at its start, after at its
 * end. The folder is not below /tmp, which is scratch.
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
#include "util/fs.h"

#define PATHS_MAX 128

struct world {
    char root[PATH_MAX]; /* canonical */
    char program[PATH_MAX];
    struct trace trace;
    struct trace_process process;
    struct trace_path paths[PATHS_MAX];
    struct trace_access accesses[PATHS_MAX];
    struct trace_name *names[PATHS_MAX];
    char *argv[8], *envp[24];
};

static struct trace_stat stat_of(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return (struct trace_stat){ 0 };
    return (struct trace_stat){
        .mode = st.st_mode,
        .uid = st.st_uid,
        .gid = st.st_gid,
        .size = (uint64_t)st.st_size,
        .mtime_sec = st.st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st.st_mtim.tv_nsec,
        .dev = st.st_dev,
        .ino = st.st_ino,
        .nlink = st.st_nlink,
    };
}

static char *at(const struct world *w, const char *name)
{
    static char path[4][PATH_MAX * 2];
    static int next;
    char *p = path[next++ % 4];
    if (name[0] == '/')
        snprintf(p, sizeof(path[0]), "%s", name);
    else
        snprintf(p, sizeof(path[0]), "%s%s%s", w->root, name[0] ? "/" : "", name);
    return p;
}

static void put(const struct world *w, const char *name, const char *content)
{
    char *path = at(w, name);
    for (char *slash = path + strlen(w->root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        (void)mkdir(path, 0755);
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write_full(fd, content, strlen(content)), 0);
    close(fd);
}

/* The program touches a path; its state now is "before". */
static uint32_t touch(struct world *w, const char *name, uint32_t bits)
{
    uint32_t i = (uint32_t)w->trace.path_count++;
    assert_true(i < PATHS_MAX);
    char target[PATH_MAX];
    char *path = at(w, name);
    ssize_t n = readlink(path, target, sizeof(target));
    w->paths[i] = (struct trace_path){
        .path = strdup(path),
        .bits = bits,
        .before = stat_of(path),
        .after_known = true,
        .link_target = n > 0 ? strndup(target, (size_t)n) : NULL,
    };
    w->accesses[i] = (struct trace_access){ .path = i, .bits = bits, .first = i + 1 };
    w->process.access_count = i + 1;
    return i;
}

static void run_ends(struct world *w)
{
    for (size_t i = 0; i < w->trace.path_count; i++)
        w->paths[i].after = stat_of(w->paths[i].path);
}

static void world_start(struct world *w)
{
    memset(w, 0, sizeof(*w));
    const char *folder = getenv("SGXPY_TEST_FOLDER");
    char here[PATH_MAX];
    assert_non_null(getcwd(here, sizeof(here)));
    if (!folder)
        folder = path_below(here, "/tmp") ? "/var/tmp" : here;
    char made[PATH_MAX + 32];
    snprintf(made, sizeof(made), "%s/sgxpy-build-XXXXXX", folder);
    assert_non_null(mkdtemp(made));
    assert_non_null(realpath(made, w->root));
    assert_non_null(realpath("/proc/self/exe", w->program));

    struct trace *t = &w->trace;
    struct trace_process *p = &w->process;
    *t = (struct trace){ .time = 1,
                         .hostname = "box",
                         .cwd = w->root,
                         .complete = true,
                         .processes = p,
                         .process_count = 1,
                         .paths = w->paths };
    *p = (struct trace_process){
        .pid = 1,
        .parent = TRACE_NO_PROCESS,
        .executable = w->program,
        .exec_name = w->program,
        .elf_interpreter = TRACE_NO_PATH,
        .argv = w->argv,
        .argc = 1,
        .envp = w->envp,
        .cwd = w->root,
        .uid = 12,
        .gid = 34,
        .umask = 027,
        .accesses = w->accesses,
        .vm_peak = 100u << 20,
        .thread_peak = 3,
        .ended = true,
    };
    w->argv[0] = w->program;
    p->executable_path = touch(w, w->program, TRACE_EXECUTED | TRACE_MAPPED_EXEC);
    char canonical[PATH_MAX];
    assert_non_null(realpath("/lib64/ld-linux-x86-64.so.2", canonical));
    p->elf_interpreter = touch(w, canonical, TRACE_MAPPED_EXEC);
}

static void world_end(struct world *w)
{
    assert_int_equal(tree_remove(AT_FDCWD, w->root, NULL), 0);
    for (size_t i = 0; i < w->trace.path_count; i++) {
        free((void *)(uintptr_t)w->paths[i].path);
        free((void *)(uintptr_t)w->paths[i].link_target);
        free(w->names[i]);
    }
}

static struct cascade *build(struct world *w, const struct manifest_rules *rules,
                             struct manifest_report *report, struct err *err)
{
    static const struct manifest_rules none;
    const struct trace *traces[] = { &w->trace };
    struct cascade *c = NULL;
    int r = manifest_build(traces, 1, rules ? rules : &none, &c, report, err);
    assert_int_equal(r < 0, c == NULL);
    return c;
}

static struct cascade *must_build(struct world *w, const struct manifest_rules *rules)
{
    struct err err = { 0 };
    struct cascade *c = build(w, rules, NULL, &err);
    if (!c)
        fail_msg("%s", err.text);
    return c;
}

static const struct cascade_file *find(const struct world *w, const struct cascade *c,
                                       const char *name)
{
    return cascade_find(&c->nodes[0], at(w, name));
}

static void expect(const struct world *w, const struct cascade *c, const char *name, uint32_t class,
                   uint32_t flags)
{
    const struct cascade_file *f = find(w, c, name);
    if (!f && class == 0)
        return;
    if (!f || f->class != class || f->flags != flags)
        fail_msg("%s: got %s, flags %x", name, f ? cascade_class_name(f->class) : "no record",
                 f ? f->flags : 0);
}

/* ---- what becomes of a path ---- */

#define W   TRACE_WRITTEN
#define C   (TRACE_CREATED | TRACE_WRITTEN)
#define T   (TRACE_TRUNCATED | TRACE_WRITTEN)
#define R   TRACE_READ
#define OUT MANIFEST_OUTPUT

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
            put(&w, fates[i].name, fates[i].before);
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
        w.paths[touch(&w, fates[i].name, fates[i].bits)].read_before_written = fates[i].read_first;
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++) {
        if (fates[i].after && (!fates[i].before || strcmp(fates[i].before, fates[i].after) != 0))
            put(&w, fates[i].name, fates[i].after);
        if (fates[i].before && !fates[i].after)
            assert_int_equal(unlink(at(&w, fates[i].name)), 0);
    }
    run_ends(&w);
    CLEANUP(cascade_free_p) struct cascade *c = must_build(&w, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
        expect(&w, c, fates[i].name, fates[i].class, fates[i].flags);
    expect(&w, c, "no", MANIFEST_ABSENT, 0); /* stands for all below it */
    expect(&w, c, "", MANIFEST_TRUSTED, 0);
    expect(&w, c, "/", MANIFEST_TRUSTED, 0);
    expect(&w, c, "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE);
    assert_int_equal(find(&w, c, "temporary")->nlink, 0);

    /* And all of it compiles: parents, links, leaves are consistent. */
    static const uint8_t hash[MANIFEST_HASH_SIZE];
    const struct manifest_identity identity = { hash, hash, NULL };
    void *one, *two;
    size_t one_size, two_size;
    struct err err = { 0 };
    if (manifest_compile(c, 0, &identity, &one, &one_size, &err) < 0)
        fail_msg("%s", err.text);

    /* The same inputs, the same bytes, through JSON as well. */
    CLEANUP(cascade_free_p) struct cascade *again = must_build(&w, NULL);
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
            put(&w, refused[i].name, refused[i].before);
        w.paths[touch(&w, refused[i].name, refused[i].bits)].read_before_written =
            refused[i].read_first;
        if (refused[i].after)
            put(&w, refused[i].name, refused[i].after);
        else
            assert_int_equal(unlink(at(&w, refused[i].name)), 0);
        run_ends(&w);
        struct err err = { 0 };
        struct cascade *c = build(&w, NULL, NULL, &err);
        if (c || !strstr(err.text, refused[i].want) || !strstr(err.text, at(&w, refused[i].name)))
            fail_msg("%s: got '%s'", refused[i].name, err.text);

        /* The way out that it names is one; it never is for what can be imported. */
        const char *allow[] = { at(&w, refused[i].name) };
        const struct manifest_rules rules = { .allow = allow, .allow_count = 1 };
        c = build(&w, &rules, NULL, &err);
        if (strstr(refused[i].want, "import")) {
            assert_null(c);
            assert_non_null(strstr(err.text, "imported or executed"));
        } else {
            assert_non_null(c);
            expect(&w, c, refused[i].name, MANIFEST_ALLOWED, 0);
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
        put(&w, "f", "x");
        touch(&w, "f", R);
        run_ends(&w);
        if (strcmp(cases[i].name, "longer") == 0)
            put(&w, "f", "xy");
        if (strcmp(cases[i].name, "touched") == 0) {
            const struct timespec times[2] = { { 5, 0 }, { 5, 0 } };
            assert_int_equal(utimensat(AT_FDCWD, at(&w, "f"), times, 0), 0);
        }
        if (i == 2 || i == 3)
            assert_int_equal(unlink(at(&w, "f")), 0);
        if (i == 3)
            assert_int_equal(mkdir(at(&w, "f"), 0755), 0);
        struct err err = { 0 };
        struct cascade *c = build(&w, NULL, NULL, &err);
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
    put(&w, "f", "abc");
    touch(&w, "f", R);
    run_ends(&w);
    CLEANUP(cascade_free_p) struct cascade *c = must_build(&w, NULL);
    put(&w, "f", "abd");
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
    put(&w, "f", "abc");
    touch(&w, "f", R);
    assert_int_equal(chmod(at(&w, "f"), 0), 0);
    assert_int_equal(chmod(at(&w, ""), 0755), 0);
    run_ends(&w);
    struct err err = { 0 };
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    struct cascade_file f = { .path = at(&w, "f"),
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
        put(&w, there[i], "x");
    assert_int_equal(symlink("a", at(&w, "d/l")), 0);
    assert_int_equal(link(at(&w, "d/b"), at(&w, "d/hard")), 0);
    uint32_t d = touch(&w, "d", TRACE_LISTED | TRACE_OPENED);
    touch(&w, "d/b", R);
    touch(&w, "d/hard", R);
    touch(&w, "d/out", C);
    put(&w, "d/out", "1");
    static const char *const names[] = { "a", "b", "c", "hard", "l", "out", "vanished" };
    w.names[d] = calloc(ARRAY_SIZE(names), sizeof(struct trace_name));
    assert_non_null(w.names[d]);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        w.names[d][i].name = names[i];
    w.paths[d].names = w.names[d];
    w.paths[d].name_count = ARRAY_SIZE(names);
    uint32_t top = touch(&w, "", TRACE_LISTED);
    put(&w, "x.sgx/bundle.json", "{}");
    put(&w, "old.trace", "sgxpy-trace");
    put(&w, "z.trace", "another's");
    put(&w, "c.json", "{\n \"format\": \"sgxpy-cascade\",\n");
    put(&w, "d.json", "{}");
    static struct trace_name top_names[] = {
        { ".sgxpy", 4 },  { "c.json", 8 }, { "d", 4 },     { "d.json", 8 },  { "old.trace", 8 },
        { "t.trace", 8 }, { "x.sgx", 4 },  { "y.sgx", 4 }, { "z.trace", 8 },
    };
    w.paths[top].names = top_names;
    w.paths[top].name_count = ARRAY_SIZE(top_names);
    run_ends(&w);

    const char *own[] = { at(&w, "t.trace") };
    const struct manifest_rules rules = { .own = own, .own_count = 1 };
    CLEANUP(cascade_free_p) struct cascade *c = must_build(&w, &rules);
    expect(&w, c, "d", MANIFEST_TRUSTED, MANIFEST_LISTED);
    expect(&w, c, "d/a", MANIFEST_NAMED, 0);
    expect(&w, c, "d/b", MANIFEST_TRUSTED, 0);
    expect(&w, c, "d/c", MANIFEST_NAMED, 0);
    expect(&w, c, "d/l", MANIFEST_TRUSTED, 0);
    expect(&w, c, "d/out", MANIFEST_ALLOWED, OUT);
    expect(&w, c, "d/vanished", 0, 0);
    expect(&w, c, ".sgxpy", 0, 0);
    static const char *const ours[] = { "t.trace", "old.trace", "c.json", "x.sgx" };
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        expect(&w, c, ours[i], 0, 0);
    static const char *const theirs[] = { "z.trace", "d.json", "y.sgx" };
    for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
        expect(&w, c, theirs[i], MANIFEST_NAMED, 0);
    assert_string_equal(find(&w, c, "d/hard")->link, at(&w, "d/b"));
    assert_null(find(&w, c, "d/b")->link);
    assert_string_equal(find(&w, c, "d/l")->target, "a");
    assert_int_equal(find(&w, c, "d")->size, 4096);
    assert_int_equal(find(&w, c, "d")->mtime_sec, 0);

    static const uint8_t hash[MANIFEST_HASH_SIZE];
    const struct manifest_identity identity = { hash, hash, NULL };
    void *data;
    size_t size;
    struct manifest_view v;
    assert_int_equal(manifest_compile(c, 0, &identity, &data, &size, NULL), 0);
    assert_int_equal(manifest_view_open(data, size, &v, NULL), 0);
    const char *path = at(&w, "d");
    assert_int_equal(v.files[manifest_find(&v, path, strlen(path))].dirent_count, 5);
    free(data);
    world_end(&w);
}

/* ---- closure ---- */

static void test_closure(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    put(&w, "p/a.py", "a");
    put(&w, "p/__pycache__/a.cpython-311.pyc", "a");
    put(&w, "p/__pycache__/a.cpython-39.pyc", "a");
    put(&w, "p/b.py", "b");
    put(&w, "p/__pycache__/b.cpython-311.pyc", "b");
    put(&w, "p/__pycache__/b.cpython-311.opt-1.pyc", "b");
    put(&w, "q/real.py", "c");
    put(&w, "p/__pycache__/c.cpython-311.pyc", "c");
    assert_int_equal(symlink("../q/real.py", at(&w, "p/c.py")), 0);
    put(&w, "p/d.py", "d");
    touch(&w, "p/a.py", TRACE_STAT);
    touch(&w, "p/__pycache__/a.cpython-311.pyc", R);
    touch(&w, "p/b.py", R);
    touch(&w, "p/__pycache__/c.cpython-311.pyc", R);
    touch(&w, "p/d.py", TRACE_STAT);
    run_ends(&w);
    CLEANUP(cascade_free_p) struct cascade *c = must_build(&w, NULL);
    expect(&w, c, "p/a.py", MANIFEST_TRUSTED, 0);
    expect(&w, c, "p/__pycache__/a.cpython-39.pyc", 0, 0);
    expect(&w, c, "p/__pycache__/b.cpython-311.pyc", MANIFEST_TRUSTED, 0);
    expect(&w, c, "p/__pycache__", MANIFEST_TRUSTED, 0);
    expect(&w, c, "p/c.py", MANIFEST_TRUSTED, 0);
    expect(&w, c, "q/real.py", MANIFEST_TRUSTED, 0);
    expect(&w, c, "p/d.py", MANIFEST_NAMED, 0);

    /* This program needs libc and cmocka, directly or not: found as ld.so would. */
    char libc[PATH_MAX];
    assert_non_null(realpath("/lib/x86_64-linux-gnu/libc.so.6", libc));
    expect(&w, c, libc, MANIFEST_TRUSTED, MANIFEST_EXEC);
    assert_non_null(realpath("/lib/x86_64-linux-gnu/libcmocka.so.0", libc));
    expect(&w, c, libc, MANIFEST_TRUSTED, MANIFEST_EXEC);
    expect(&w, c, w.program, MANIFEST_TRUSTED, MANIFEST_EXEC);
    assert_string_equal(c->nodes[0].entries[0].start.executable, w.program);
    assert_non_null(cascade_find(&c->nodes[0], c->nodes[0].entries[0].interpreter));
    world_end(&w);
}

/* ---- rules ---- */

static void test_rules(void **state UNUSED)
{
    struct world w;
    world_start(&w);
    put(&w, "data/in.txt", "x");
    put(&w, "data/other", "x");
    put(&w, "tree/x/y.py", "x");
    put(&w, "tree/x/__pycache__/y.cpython-311.pyc", "x");
    put(&w, "src/m.py", "x");
    put(&w, "src/sub/data", "x");
    put(&w, "site-packages/Foo_bar-1.dist-info/RECORD",
        "foo/__init__.py,sha256=x,1\nfoo/gone.py,,\n");
    put(&w, "site-packages/foo/__init__.py", "x");
    put(&w, "site-packages/foo/other.py", "x");
    touch(&w, "site-packages", TRACE_STAT);
    touch(&w, "data/in.txt", R);
    touch(&w, "src/m.py", R);
    touch(&w, "data/none", TRACE_ABSENT);
    put(&w, "user/lib/python3.11/site-packages/x", "x");
    touch(&w, "user/lib/python3.11/site-packages", TRACE_LISTED);
    touch(&w, "absent/site-packages", TRACE_ABSENT);
    put(&w, "p/a.pth", "# comment\nimport os\n../plus\n");
    put(&w, "plus/x", "x");
    put(&w, "pypath/x", "x");
    touch(&w, "p/a.pth", R);
    char pythonpath[PATH_MAX * 2];
    snprintf(pythonpath, sizeof(pythonpath), "PYTHONPATH=/nothing:%s", at(&w, "pypath"));
    w.envp[w.process.env_count++] = pythonpath;
    run_ends(&w);

    const char *trust[] = { at(&w, "tree") }, *allow[] = { at(&w, "data") };
    struct manifest_rules rules = {
        .trust = trust, .trust_count = 1, .allow = allow, .allow_count = 1
    };
    struct cascade *c = must_build(&w, &rules);
    expect(&w, c, "tree", MANIFEST_TRUSTED, MANIFEST_LISTED);
    expect(&w, c, "tree/x/y.py", MANIFEST_TRUSTED, 0);
    expect(&w, c, "tree/x/__pycache__/y.cpython-311.pyc", MANIFEST_TRUSTED, 0);
    expect(&w, c, "data", MANIFEST_ALLOWED, MANIFEST_SUBTREE);
    expect(&w, c, "data/in.txt", 0, 0);
    expect(&w, c, "data/none", 0, 0);
    cascade_free(c);

    const char *package[] = { "foo.bar" };
    rules = (struct manifest_rules){ .package = package, .package_count = 1 };
    c = must_build(&w, &rules);
    expect(&w, c, "site-packages/foo/__init__.py", MANIFEST_TRUSTED, 0);
    expect(&w, c, "site-packages/foo/other.py", 0, 0);
    cascade_free(c);

    const char *deny[] = { at(&w, "data/in.txt") };
    rules = (struct manifest_rules){ .deny = deny, .deny_count = 1 };
    c = must_build(&w, &rules);
    expect(&w, c, "data/in.txt", MANIFEST_TRUSTED, MANIFEST_DENY);
    cascade_free(c);

    /* A folder: all of it is trusted, its data denies. */
    const char *folder[] = { at(&w, "data") };
    rules = (struct manifest_rules){ .deny = folder, .deny_count = 1 };
    c = must_build(&w, &rules);
    expect(&w, c, "data/in.txt", MANIFEST_TRUSTED, MANIFEST_DENY);
    expect(&w, c, "src/m.py", MANIFEST_TRUSTED, 0);
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
                                                                     : at(&w, bad[i].name) };
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
        c = build(&w, &rules, NULL, &err);
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
    run_ends(&w);
    const char *rule[] = { "API", "AWS_SECRET=2", "NEW=a=b" };
    struct manifest_rules rules = { .env = rule, .env_count = 3 };
    CLEANUP(manifest_report_done) struct manifest_report report = { 0 };
    CLEANUP(cascade_free_p) struct cascade *c = build(&w, &rules, &report, NULL);
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

    static const char *const bad[] = { "LD_PRELOAD", "PYTHONPATH", "=x", "" };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        const char *one[] = { bad[i] };
        struct err err = { 0 };
        rules = (struct manifest_rules){ .env = one, .env_count = 1 };
        struct cascade *got = build(&w, &rules, NULL, &err);
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
    run_ends(&w);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        w.process.vm_peak = cases[i].vm_mib << 20;
        w.process.thread_peak = cases[i].threads;
        CLEANUP(cascade_free_p) struct cascade *c = must_build(&w, NULL);
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
    run_ends(&w);
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
        struct cascade *c = must_build(&w, NULL);
        assert_int_equal(c->node_count, count == 3 ? 2 : 1);
        assert_int_equal(c->nodes[0].child_count, c->node_count - 1);
        assert_false(c->nodes[0].flags & MANIFEST_FORKS);
        if (count == 3) {
            assert_int_equal(c->nodes[0].children[0].node, 1);
            assert_string_equal(c->nodes[1].label, "env");
            assert_int_equal(c->nodes[1].flags, 0);
            expect(&w, c, "/usr/bin/env", MANIFEST_NAMED, 0);
            assert_null(cascade_find(&c->nodes[1], w.program));
        }
        cascade_free(c);
        const struct manifest_rules rules = { .exec_deny = true };
        c = must_build(&w, &rules);
        assert_int_equal(c->node_count, 1);
        assert_true(c->nodes[0].flags & MANIFEST_EXEC_DENY);
        cascade_free(c);
    }
    world_end(&w);
}

/* ---- two programs ---- */

/* A parent and a child, and what each may do with a path that one or both touched. */
static const struct {
    const char *name, *before, *after;
    uint32_t parent_bits, child_bits; /* 0: not touched */
    uint32_t parent, parent_flags, child, child_flags;
} shares[] = {
    { "for both", "x", "x", R, R, MANIFEST_TRUSTED, 0, MANIFEST_TRUSTED, 0 },
    { "for the parent", "x", "x", R, 0, MANIFEST_TRUSTED, 0, 0, 0 },
    { "for the child", "x", "x", 0, R, 0, 0, MANIFEST_TRUSTED, 0 },
    { "stat in the parent", "x", "x", TRACE_STAT, R, MANIFEST_NAMED, 0, MANIFEST_TRUSTED, 0 },
    { "absent in the child", NULL, NULL, 0, TRACE_ABSENT, 0, 0, MANIFEST_ABSENT, 0 },
    { "parent makes", NULL, "new", C, R, MANIFEST_ALLOWED, OUT, MANIFEST_ALLOWED, 0 },
    { "child makes", NULL, "new", R, C, MANIFEST_ALLOWED, 0, MANIFEST_ALLOWED, OUT },
    { "child makes, parent looked before", NULL, "new", TRACE_ABSENT, C, MANIFEST_ABSENT, 0,
      MANIFEST_ALLOWED, OUT },
    { "child overwrites", "old", "new", TRACE_STAT, T, MANIFEST_ALLOWED, 0, MANIFEST_ALLOWED, OUT },
    { "parent makes, child appends", NULL, "new", C, W, MANIFEST_ALLOWED, OUT, MANIFEST_ALLOWED, 0 },
    { "parent's temporary", NULL, NULL, C | TRACE_REMOVED, R, MANIFEST_SCRATCH, 0, MANIFEST_SCRATCH,
      0 },
    { "child's temporary", NULL, NULL, 0, C | TRACE_REMOVED, 0, 0, MANIFEST_SCRATCH, 0 },
    { "made by one, removed by the other", NULL, NULL, C, TRACE_REMOVED, MANIFEST_SCRATCH, 0,
      MANIFEST_SCRATCH, 0 },
    { "temporary, only looked for", NULL, NULL, TRACE_ABSENT, C | TRACE_REMOVED, MANIFEST_ABSENT, 0,
      MANIFEST_SCRATCH, 0 },
    { "m/__pycache__/a.cpython-311.pyc", NULL, "pyc", R, C, 0, 0, 0, 0 },
    { "script", "#!/bin/sh\n", "#!/bin/sh\n", TRACE_EXECUTED, R | TRACE_EXECUTED,
      MANIFEST_NAMED, 0, MANIFEST_TRUSTED, MANIFEST_EXEC },
};

struct pair {
    struct world w;
    struct trace_process processes[3];
    struct trace_access accesses[PATHS_MAX];
};

static void pair_start(struct pair *p)
{
    world_start(&p->w);
    p->w.trace.processes = p->processes;
}

/* Processes 1 and 2 are the child, which runs /usr/bin/env. */
static void pair_ends(struct pair *p)
{
    size_t count = p->processes[2].access_count;
    p->processes[0] = p->processes[1] = p->processes[2] = p->w.process;
    p->processes[1].parent = 0;
    p->processes[1].how = TRACE_HOW_VFORK;
    p->processes[1].access_count = 0;
    p->processes[2].parent = 1;
    p->processes[2].how = TRACE_HOW_EXEC;
    p->processes[2].executable = p->processes[2].exec_name = "/usr/bin/env";
    p->processes[2].accesses = p->accesses;
    p->processes[2].access_count = count;
    p->w.trace.process_count = 3;
}

static void expect_in(const struct cascade *c, size_t node, const char *path, const char *name,
                      uint32_t class, uint32_t flags)
{
    const struct cascade_file *f = cascade_find(&c->nodes[node], path);
    if ((f ? f->class : 0) != class || (f && f->flags != flags))
        fail_msg("%s, node %zu: got %s, flags %x", name, node,
                 f ? cascade_class_name(f->class) : "no record", f ? f->flags : 0);
}

static void test_shares(void **state UNUSED)
{
    struct pair p = { 0 };
    pair_start(&p);
    struct world *w = &p.w;
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++)
        if (shares[i].before)
            put(w, shares[i].name, shares[i].before);
    /* touch() takes the root to have touched each path. */
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
        size_t kept = w->process.access_count;
        uint32_t index = touch(w, shares[i].name, shares[i].parent_bits | shares[i].child_bits);
        w->process.access_count = kept;
        if (shares[i].parent_bits)
            w->accesses[w->process.access_count++] =
                (struct trace_access){ .path = index, .bits = shares[i].parent_bits };
        if (shares[i].child_bits)
            p.accesses[p.processes[2].access_count++] =
                (struct trace_access){ .path = index, .bits = shares[i].child_bits };
    }
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
        if (shares[i].after && (!shares[i].before || strcmp(shares[i].after, shares[i].before) != 0))
            put(w, shares[i].name, shares[i].after);
        else if (!shares[i].after && shares[i].before)
            assert_int_equal(unlink(at(w, shares[i].name)), 0);
    }
    run_ends(w);
    pair_ends(&p);

    struct cascade *c = must_build(w, NULL);
    assert_int_equal(c->node_count, 2);
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s", at(w, shares[i].name));
        expect_in(c, 0, path, shares[i].name, shares[i].parent, shares[i].parent_flags);
        expect_in(c, 1, path, shares[i].name, shares[i].child, shares[i].child_flags);
    }
    /* /tmp: the root always, others that use it. */
    expect_in(c, 0, "/tmp", "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE);
    expect_in(c, 1, "/tmp", "/tmp", 0, 0);
    /* The hub's thread, and what only a root has. */
    assert_int_equal(c->nodes[0].thread_count, c->nodes[1].thread_count + 1);
    assert_int_equal(c->nodes[0].process_limit, 64);
    assert_int_equal(c->nodes[1].process_limit, 0);
    assert_int_equal(c->nodes[1].env_count, 0);
    cascade_free(c);
    world_end(w);
}

/* What a parent starts, it must find: scripts by content, programs by name, and the links on the way. */
static void test_started(void **state UNUSED)
{
    struct pair p = { 0 };
    pair_start(&p);
    struct world *w = &p.w;
    put(w, "bin/run", "#!/bin/sh -e\n");
    assert_int_equal(symlink("bin", at(w, "link")), 0);
    run_ends(w);
    pair_ends(&p);
    char name[PATH_MAX], script[PATH_MAX], dash[PATH_MAX];
    snprintf(name, sizeof(name), "%s", at(w, "link/run"));
    snprintf(script, sizeof(script), "%s", at(w, "bin/run"));
    assert_non_null(realpath("/bin/sh", dash));
    char *argv[] = { (char *)"/bin/sh", (char *)"-e", name, NULL };
    p.processes[2].executable = dash;
    p.processes[2].exec_name = "link/run";
    p.processes[2].argv = argv;
    p.processes[2].argc = 3;

    struct cascade *c = must_build(w, NULL);
    expect_in(c, 0, script, "the script", MANIFEST_TRUSTED, MANIFEST_EXEC);
    expect_in(c, 0, at(w, "link"), "the link", MANIFEST_TRUSTED, 0);
    expect_in(c, 0, dash, "the interpreter", MANIFEST_NAMED, 0);
    expect_in(c, 1, dash, "the interpreter", MANIFEST_TRUSTED, MANIFEST_EXEC);
    expect_in(c, 1, w->program, "the parent", 0, 0);
    assert_int_equal(c->nodes[0].child_count, 1);
    assert_string_equal(c->nodes[0].children[0].start.text, script);
    cascade_free(c);
    world_end(w);
}

/* Of one program too: a fork that reads what its parent has made, or the other way round. */
static void test_fork_reads(void **state UNUSED)
{
    struct pair p = { 0 };
    pair_start(&p);
    struct world *w = &p.w;
    static const struct {
        const char *name;
        uint32_t parent, fork, flags;
    } rows[] = {
        { "parent makes, fork reads", C, R, 0 },
        { "fork makes, parent reads", R, C, 0 },
        { "parent makes", C, 0, OUT },
        { "fork makes", 0, C, OUT },
        { "both make", C | R, C, OUT },
        { "fork makes, parent looked before", TRACE_ABSENT, C, OUT },
    };
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        size_t kept = w->process.access_count;
        uint32_t index = touch(w, rows[i].name, rows[i].parent | rows[i].fork);
        w->process.access_count = kept;
        if (rows[i].parent)
            w->accesses[w->process.access_count++] =
                (struct trace_access){ .path = index, .bits = rows[i].parent };
        if (rows[i].fork)
            p.accesses[count++] = (struct trace_access){ .path = index, .bits = rows[i].fork };
        put(w, rows[i].name, "x");
    }
    run_ends(w);
    p.processes[0] = p.processes[1] = w->process;
    p.processes[1].parent = 0;
    p.processes[1].how = TRACE_HOW_FORK;
    p.processes[1].accesses = p.accesses;
    p.processes[1].access_count = count;
    w->trace.process_count = 2;
    struct cascade *c = must_build(w, NULL);
    assert_int_equal(c->node_count, 1);
    assert_true(c->nodes[0].flags & MANIFEST_FORKS);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        expect(w, c, rows[i].name, MANIFEST_ALLOWED, rows[i].flags);
    cascade_free(c);
    world_end(w);
}

/* Nobody may trust what another one writes. */
static void test_written_elsewhere(void **state UNUSED)
{
    struct pair p = { 0 };
    pair_start(&p);
    struct world *w = &p.w;
    put(w, "f", "x");
    uint32_t f = touch(w, "f", R | W);
    w->paths[f].read_before_written = true;
    w->accesses[f].bits = R;
    p.accesses[p.processes[2].access_count++] = (struct trace_access){ .path = f, .bits = T };
    run_ends(w);
    pair_ends(&p);
    struct err err = { 0 };
    assert_null(build(w, NULL, NULL, &err));
    assert_non_null(strstr(err.text, "--allow"));
    const char *allow = at(w, "f");
    const struct manifest_rules rules = { .allow = &allow, .allow_count = 1 };
    struct cascade *c = must_build(w, &rules);
    expect_in(c, 0, allow, "f", MANIFEST_ALLOWED, 0);
    expect_in(c, 1, allow, "f", MANIFEST_ALLOWED, 0);
    cascade_free(c);
    world_end(w);
}

static void test_several_traces(void **state UNUSED)
{
    struct world a, b;
    world_start(&a);
    put(&a, "one", "1");
    put(&a, "both", "1");
    touch(&a, "one", R);
    touch(&a, "both", R);
    run_ends(&a);
    world_start(&b);
    char own[PATH_MAX];
    strcpy(own, b.root);
    strcpy(b.root, a.root);
    put(&b, "two", "2");
    touch(&b, "two", R);
    touch(&b, "one", TRACE_STAT);
    uint32_t both = touch(&b, "both", R);
    run_ends(&b);

    const struct trace *traces[] = { &a.trace, &b.trace };
    const struct manifest_rules rules = { 0 };
    struct cascade *c = NULL;
    struct err err = { 0 };
    if (manifest_build(traces, 2, &rules, &c, NULL, &err) < 0)
        fail_msg("%s", err.text);
    expect(&a, c, "one", MANIFEST_TRUSTED, 0);
    expect(&a, c, "two", MANIFEST_TRUSTED, 0);
    cascade_free(c);

    /* What one reads and the other writes. */
    b.paths[both].bits = b.accesses[both].bits = T;
    assert_int_equal(manifest_build(traces, 2, &rules, &c, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "read in one traced run and written in another"));
    const struct trace *swapped[] = { &b.trace, &a.trace };
    assert_int_equal(manifest_build(swapped, 2, &rules, &c, NULL, &err), -EINVAL);

    b.argv[1] = "other";
    b.process.argc = 2;
    assert_int_equal(manifest_build(traces, 2, &rules, &c, NULL, &err), -EINVAL);
    assert_non_null(strstr(err.text, "different commands"));
    world_end(&a);
    strcpy(b.root, own);
    world_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fates),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_changed_since),  cmocka_unit_test(test_changed_before_sign),
        cmocka_unit_test(test_unreadable),     cmocka_unit_test(test_listing),
        cmocka_unit_test(test_closure),        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_environment),    cmocka_unit_test(test_limits),
        cmocka_unit_test(test_script),         cmocka_unit_test(test_programs),
        cmocka_unit_test(test_shares),         cmocka_unit_test(test_started),
        cmocka_unit_test(test_fork_reads),
        cmocka_unit_test(test_written_elsewhere), cmocka_unit_test(test_several_traces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
