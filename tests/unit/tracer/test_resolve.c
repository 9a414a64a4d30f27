/* Path resolution against the kernel's own: whatever resolver_walk says, open and /proc/self/fd
 * say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/resolve.h"
#include "util/fs.h"

static char g_folder[PATH_MAX]; /* the test's own, canonical */

static void make_file(const char *name)
{
    int fd = open(name, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    close(fd);
}

static int setup(void **state UNUSED)
{
    char name[] = "/tmp/sgxpy-resolve-XXXXXX";
    if (!mkdtemp(name) || !realpath(name, g_folder) || chdir(g_folder) < 0)
        return -1;
    mkdir("a", 0755);
    mkdir("a/b", 0755);
    mkdir("a/b/c", 0755);
    make_file("a/file");
    make_file("a/b/inner");
    int r = symlink("a/b", "to-b") | symlink("../file", "a/b/up") | symlink("to-b/up", "chain") |
            symlink("loop2", "loop1") | symlink("loop1", "loop2") | symlink("nothing", "dangling") |
            symlink(g_folder, "absolute") | symlink("a/b/", "slashed") | symlink(".", "dot");
    return r;
}

static int teardown(void **state UNUSED)
{
    return chdir("/") < 0 ? -1 : tree_remove(AT_FDCWD, g_folder, NULL);
}

static void collect(void *arg, const struct resolved *link)
{
    char *links = arg;
    size_t n = strlen(g_folder);
    const char *name = strncmp(link->path, g_folder, n) == 0 ? link->path + n + 1 : link->path;
    strcat(links, name);
    strcat(links, " ");
}

static const struct {
    const char *name;
    unsigned flags;
    int error;
    const char *path;  /* below the folder; absolute if it begins with '/' */
    const char *links; /* in order */
} cases[] = {
    { "a", 0, 0, "a", "" },
    { "./a//b/./c", 0, 0, "a/b/c", "" },
    { "a/b/..", 0, 0, "a", "" },
    { "a/b/../file", 0, 0, "a/file", "" },
    { "to-b/../file", 0, 0, "a/file", "to-b " },
    { "to-b", 0, 0, "a/b", "to-b " },
    { "to-b", RESOLVE_NOFOLLOW, 0, "to-b", "" },
    { "to-b/", RESOLVE_NOFOLLOW, 0, "a/b", "to-b " },
    { "chain", 0, 0, "a/file", "chain to-b a/b/up " },
    { "chain", RESOLVE_NOFOLLOW, 0, "chain", "" },
    { "chain/", 0, ENOTDIR, "a/file", "chain to-b a/b/up " },
    { "absolute/a/file", 0, 0, "a/file", "absolute " },
    { "dot/dot/dot/a", 0, 0, "a", "dot dot dot " },
    { "slashed/inner", 0, 0, "a/b/inner", "slashed " },
    { "slashed", 0, 0, "a/b", "slashed " },
    { "dangling", 0, ENOENT, "nothing", "dangling " },
    { "dangling", RESOLVE_NOFOLLOW, 0, "dangling", "" },
    { "missing", 0, ENOENT, "missing", "" },
    { "missing/below/it", 0, ENOENT, "missing/below/it", "" },
    { "missing/../a", 0, ENOENT, "missing", "" },
    { "missing/", 0, ENOENT, "missing", "" },
    { "a/file/", 0, ENOTDIR, "a/file", "" },
    { "a/file/below", 0, ENOTDIR, "a/file/below", "" },
    { "a/file/..", 0, ENOTDIR, "a/file", "" },
    { "", 0, ENOENT, "/", "" },
    { "/", 0, 0, "/", "" },
    { "/..", 0, 0, "/", "" },
    { "//tmp/../..//", 0, 0, "/", "" },
};

static void test_walk(void **state UNUSED)
{
    struct resolver *r = resolver_new();
    struct resolved *got = malloc(sizeof(*got));
    assert_non_null(r);
    assert_non_null(got);
    const struct resolve_start start = {
        .root = "/", .base = g_folder, .tgid = getpid(), .tid = getpid()
    };
    /* Twice: from the disk, and from what is remembered. */
    for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        size_t c = i % ARRAY_SIZE(cases);
        char links[1024] = "", want[PATH_MAX * 2];
        resolver_walk(r, &start, cases[c].name, cases[c].flags, collect, links, got);
        snprintf(want, sizeof(want), "%s%s%s", cases[c].path[0] == '/' ? "" : g_folder,
                 cases[c].path[0] == '/' ? "" : "/", cases[c].path);
        if (got->error != cases[c].error || strcmp(got->path, want) != 0 ||
            got->size != strlen(want) || strcmp(links, cases[c].links) != 0)
            fail_msg("%s: got %d '%s' links '%s', want %d '%s' links '%s'", cases[c].name,
                     got->error, got->path, links, cases[c].error, want, cases[c].links);

        /* The oracle. */
        int fd = open(cases[c].name, O_PATH | (cases[c].flags & RESOLVE_NOFOLLOW ? O_NOFOLLOW : 0));
        if ((fd < 0 ? errno : 0) != got->error)
            fail_msg("%s: the kernel says %s", cases[c].name, strerror(fd < 0 ? errno : 0));
        if (fd >= 0) {
            char link[64], real[PATH_MAX];
            snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
            ssize_t n = readlink(link, real, sizeof(real) - 1);
            real[n > 0 ? n : 0] = '\0';
            if (strcmp(real, got->path) != 0)
                fail_msg("%s: the kernel says '%s', got '%s'", cases[c].name, real, got->path);
            close(fd);
        }
    }
    free(got);
    resolver_free(r);
}

static void test_loop_and_length(void **state UNUSED)
{
    struct resolver *r = resolver_new();
    struct resolved *got = malloc(sizeof(*got));
    const struct resolve_start start = {
        .root = "/", .base = g_folder, .tgid = getpid(), .tid = getpid()
    };
    resolver_walk(r, &start, "loop1", 0, NULL, NULL, got);
    assert_int_equal(got->error, ELOOP);
    char name[PATH_MAX + 10];
    memset(name, 'x', sizeof(name) - 1);
    name[NAME_MAX + 1] = '\0';
    resolver_walk(r, &start, name, 0, NULL, NULL, got);
    assert_int_equal(got->error, ENAMETOOLONG);
    name[NAME_MAX + 1] = 'x';
    name[sizeof(name) - 1] = '\0';
    resolver_walk(r, &start, name, 0, NULL, NULL, got);
    assert_int_equal(got->error, ENAMETOOLONG);
    free(got);
    resolver_free(r);
}

/* Nodes remember files, links and folders until they are told to forget; absences never. */
static void test_forget(void **state UNUSED)
{
    struct resolver *r = resolver_new();
    struct resolved *got = malloc(sizeof(*got));
    const struct resolve_start start = {
        .root = "/", .base = g_folder, .tgid = getpid(), .tid = getpid()
    };
    resolver_walk(r, &start, "fresh", 0, NULL, NULL, got);
    assert_int_equal(got->error, ENOENT);
    make_file("fresh");
    resolver_walk(r, &start, "fresh", 0, NULL, NULL, got);
    assert_int_equal(got->error, 0);
    assert_true(got->stat_known);
    resolver_walk(r, &start, "fresh", 0, NULL, NULL, got);
    assert_false(got->stat_known);
    unlink("fresh");
    resolver_forget(r, got->node);
    resolver_walk(r, &start, "fresh", 0, NULL, NULL, got);
    assert_int_equal(got->error, ENOENT);

    /* A folder takes all below it along. */
    mkdir("moved", 0755);
    make_file("moved/x");
    resolver_walk(r, &start, "moved/x", 0, NULL, NULL, got);
    assert_int_equal(got->error, 0);
    resolver_walk(r, &start, "moved", 0, NULL, NULL, got);
    assert_int_equal(rename("moved", "elsewhere"), 0);
    resolver_forget(r, got->node);
    resolver_walk(r, &start, "moved/x", 0, NULL, NULL, got);
    assert_int_equal(got->error, ENOENT);

    /* A link that points elsewhere now. */
    assert_int_equal(symlink("elsewhere", "changing"), 0);
    resolver_walk(r, &start, "changing/x", 0, NULL, NULL, got);
    assert_int_equal(got->error, 0);
    resolver_walk(r, &start, "changing", RESOLVE_NOFOLLOW, NULL, NULL, got);
    unlink("changing");
    assert_int_equal(symlink("a", "changing"), 0);
    resolver_forget(r, got->node);
    resolver_walk(r, &start, "changing/file", 0, NULL, NULL, got);
    assert_int_equal(got->error, 0);
    assert_non_null(strstr(got->path, "/a/file"));
    free(got);
    resolver_free(r);
}

static void test_root(void **state UNUSED)
{
    struct resolver *r = resolver_new();
    struct resolved *got = malloc(sizeof(*got));
    char root[PATH_MAX + 2], want[PATH_MAX + 16];
    snprintf(root, sizeof(root), "%s/a", g_folder);
    const struct resolve_start start = {
        .root = root, .base = root, .tgid = getpid(), .tid = getpid()
    };
    assert_int_equal(symlink("/file", "a/to-file"), 0);
    snprintf(want, sizeof(want), "%s/file", root);
    static const char *const names[] = { "/file", "to-file", "../../file", "/b/../../../to-file" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        resolver_walk(r, &start, names[i], 0, NULL, NULL, got);
        if (got->error || strcmp(got->path, want) != 0)
            fail_msg("%s: got %d '%s'", names[i], got->error, got->path);
    }
    resolver_walk(r, &start, "/..", 0, NULL, NULL, got);
    assert_string_equal(got->path, root);
    free(got);
    resolver_free(r);
}

static void test_proc(void **state UNUSED)
{
    struct resolver *r = resolver_new();
    struct resolved *got = malloc(sizeof(*got));
    char name[64], links[1024] = "";
    const struct resolve_start start = {
        .root = "/", .base = g_folder, .tgid = getpid(), .tid = getpid()
    };
    snprintf(name, sizeof(name), "/proc/%d/status", (int)getpid());
    resolver_walk(r, &start, name, 0, NULL, NULL, got);
    assert_int_equal(got->error, 0);
    assert_string_equal(got->path, "/proc/self/status");
    assert_null(got->node);
    resolver_walk(r, &start, "/proc/self/cwd/a/../a/file", 0, collect, links, got);
    assert_int_equal(got->error, 0);
    assert_non_null(strstr(got->path, "/a/file"));
    assert_string_equal(links, "/proc/self/cwd ");
    snprintf(name, sizeof(name), "/proc/self/task/%d/stat", (int)getpid());
    resolver_walk(r, &start, "/proc/thread-self/stat", 0, NULL, NULL, got);
    assert_int_equal(got->error, 0);
    assert_string_equal(got->path, name);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", ends[0]);
    resolver_walk(r, &start, name, 0, NULL, NULL, got);
    assert_int_equal(got->error, 0);
    assert_string_equal(got->path, name);
    assert_true(S_ISFIFO(got->st.st_mode));
    resolver_walk(r, &start, "/proc/1/../self/../../etc", 0, NULL, NULL, got);
    assert_string_equal(got->path, "/etc");
    free(got);
    resolver_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),   cmocka_unit_test(test_loop_and_length),
        cmocka_unit_test(test_forget), cmocka_unit_test(test_root),
        cmocka_unit_test(test_proc),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
