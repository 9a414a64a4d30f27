/* What exec starts: files, scripts, arguments, the manifest's edge (src/enclave/process/program.c). */
#include "vfs_fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "arch/cpu.h"
#include "core/attr.h"
#include "core/manifest_view.h"
#include "core/program_key.h"
#include "process/spawn.h"
#include "vfs/node.h"

#define ELF "\177ELF and so on"

void cpu_state_save(struct cpu_state *ret)
{
    memset(ret, 1, sizeof(*ret));
}

void cpu_state_load(const struct cpu_state *state)
{
    CHECK_EQ(state->xsave[9], 1, "what was saved");
}

#define REGULAR(path_, mode_, content_)                                                            \
    {                                                                                              \
        .path = path_, .class = MANIFEST_TRUSTED, .flags = MANIFEST_EXEC, .mode = S_IFREG | mode_, \
        .content = content_                                                                        \
    }
#define LINK(path_, to)                                                                 \
    {                                                                                   \
        .path = path_, .class = MANIFEST_TRUSTED, .mode = S_IFLNK | 0777, .content = to \
    }

static const struct fake_record g_records[] = {
    /* clang-format off */
    REGULAR("/bin/true", 0755, ELF),
    REGULAR("/bin/other", 0755, ELF),
    REGULAR("/bin/sh", 0755, ELF),
    REGULAR("/bin/python3.11", 0755, ELF),
    LINK("/bin/python3", "python3.11"),
    { .path = "/bin/named", .class = MANIFEST_NAMED, .mode = S_IFREG | 0755 },
    { .path = "/bin/unknown", .class = MANIFEST_NAMED, .mode = S_IFREG | 0755 },
    { .path = "/s/absent", .class = MANIFEST_ABSENT },
    REGULAR("/s/plain", 0644, ELF),
    REGULAR("/s/text", 0755, "echo hello\n"),
    REGULAR("/s/empty", 0755, ""),
    REGULAR("/s/one.sh", 0755, "#!/bin/sh\necho\n"),
    REGULAR("/s/args.sh", 0755, "#! \t/bin/sh  -e  -x \t\n"),
    REGULAR("/s/two", 0755, "#!/s/py.sh -q"),
    REGULAR("/s/py.sh", 0755, "#!/bin/python3\n"),
    REGULAR("/s/nothing", 0755, "#!  \n"),
    REGULAR("/s/missing", 0755, "#!/bin/gone\n"),
    REGULAR("/s/noexec", 0755, "#!/s/plain\n"),
    REGULAR("/s/dir", 0755, "#!/bin\n"),
    REGULAR("/s/self", 0755, "#!/s/self\n"),
    REGULAR("/s/unsure.sh", 0755, "#!/bin/sh\n"),
    LINK("/s/link.sh", "one.sh"),
    LINK("/s/loop", "loop"),
    { .path = "/out", .class = MANIFEST_ALLOWED, .flags = MANIFEST_SUBTREE, .mode = S_IFDIR | 0755 },
    { .path = "/tmp", .class = MANIFEST_SCRATCH, .flags = MANIFEST_SUBTREE, .mode = S_IFDIR | 01777 },
    /* clang-format on */
};

static const struct {
    const char *executable;
    enum program_kind kind;
    const char *text;
} g_edges[] = {
    /* Sorted below. */
    { "/bin/named", PROGRAM_PLAIN, NULL },
    { "/bin/python3.11", PROGRAM_ANY, NULL },
    { "/bin/sh", PROGRAM_SCRIPT, "/s/one.sh" },
    { "/bin/sh", PROGRAM_SCRIPT, "/s/args.sh" },
    { "/bin/sh", PROGRAM_SCRIPT, "/tmp/made.sh" },
    { "/bin/sh", PROGRAM_COMMAND, "sleep 1; echo $$" },
    { "/bin/sh", PROGRAM_STDIN, NULL },
    { "/bin/true", PROGRAM_PLAIN, NULL },
};
static struct manifest_child g_children[ARRAY_SIZE(g_edges)];

static int by_edge(const void *a, const void *b)
{
    const struct manifest_child *x = a, *y = b;
    int r = strcmp(manifest_str_ptr(&g_manifest, x->executable),
                   manifest_str_ptr(&g_manifest, y->executable));
    if (r == 0)
        r = (int)x->kind - (int)y->kind;
    return r ? r : memcmp(x->key, y->key, sizeof(x->key));
}

static void start(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(g_records); i++)
        fake_add(&g_records[i]);
    fake_start("/s");
    for (size_t i = 0; i < ARRAY_SIZE(g_edges); i++) {
        const char *path = g_edges[i].executable, *text = g_edges[i].text;
        struct program_key key;
        program_key((struct program_start){ .kind = g_edges[i].kind }, text,
                    text ? strlen(text) : 0, &key);
        g_children[i].executable =
            g_manifest.files[manifest_find(&g_manifest, path, strlen(path))].path;
        g_children[i].kind = g_edges[i].kind;
        memcpy(g_children[i].key, key.hash, sizeof(key.hash));
    }
    qsort(g_children, ARRAY_SIZE(g_edges), sizeof(g_children[0]), by_edge);
    g_manifest.children = g_children;
    g_manifest.child_count = ARRAY_SIZE(g_edges);
}

/* Arguments joined by spaces; want: the executable and its arguments, or an error. */
static const struct row {
    const char *path, *argv;
    int want;
    const char *executable, *want_argv;
    bool audited;
} g_rows[] = {
    { "/bin/true", "true", 0, "/bin/true", "true", false },
    { "/bin/true", "other name -x", 0, "/bin/true", "other name -x", false },
    { "../bin/true", "x", 0, "/bin/true", "x", false },
    { "/bin/named", "named", 0, "/bin/named", "named", false }, /* it need not be looked into */
    { "/bin/python3", "python3 -c pass", 0, "/bin/python3.11", "python3 -c pass", false },
    { "/bin/sh", "sh -c sleep|77;|echo|$$", 0, "/bin/sh", "sh -c sleep|77;|echo|$$", false },
    { "/bin/sh", "sh", 0, "/bin/sh", "sh", false },
    { "/bin/sh", "sh one.sh", 0, "/bin/sh", "sh one.sh", false },
    { "/bin/sh", "sh link.sh", 0, "/bin/sh", "sh link.sh", false },
    { "/bin/sh", "sh -c reboot", -EACCES, NULL, NULL, true },
    { "/bin/sh", "sh unsure.sh", -EACCES, NULL, NULL, true },
    { "/bin/other", "other", -EACCES, NULL, NULL, true },
    { "/bin/unknown", "unknown", -EACCES, NULL, NULL, true },
    /* scripts */
    { "/s/one.sh", "1 2", 0, "/bin/sh", "/bin/sh /s/one.sh 2", false },
    { "one.sh", "1", 0, "/bin/sh", "/bin/sh one.sh", false },
    { "link.sh", "1", 0, "/bin/sh", "/bin/sh link.sh", false },
    { "/s/args.sh", "1 2 3", 0, "/bin/sh", "/bin/sh -e||-x /s/args.sh 2 3", false },
    { "/s/two", "1 2", 0, "/bin/python3.11", "/bin/python3 /s/py.sh -q /s/two 2", false },
    { "/s/unsure.sh", "1", -EACCES, NULL, NULL, true },
    { "/s/nothing", "1", -ENOEXEC, NULL, NULL, false },
    { "/s/missing", "1", -ENOENT, NULL, NULL, true },
    { "/s/noexec", "1", -EACCES, NULL, NULL, false },
    { "/s/dir", "1", -EACCES, NULL, NULL, false },
    { "/s/self", "1", -ELOOP, NULL, NULL, false },
    { "/s/text", "1", -ENOEXEC, NULL, NULL, false },
    { "/s/empty", "1", -ENOEXEC, NULL, NULL, false },
    /* as PATH searches need it */
    { "/s/absent", "1", -ENOENT, NULL, NULL, false },
    { "/s/gone", "1", -ENOENT, NULL, NULL, true },
    { "/gone/too", "1", -ENOENT, NULL, NULL, true },
    { "/bin/true/x", "1", -ENOTDIR, NULL, NULL, false },
    { "/bin/true/", "1", -ENOTDIR, NULL, NULL, false },
    { "/s", "1", -EACCES, NULL, NULL, false },
    { "/s/plain", "1", -EACCES, NULL, NULL, false },
    { "/s/loop", "1", -ELOOP, NULL, NULL, false },
    { "/dev/null", "1", -EACCES, NULL, NULL, false },
    { "", "1", -ENOENT, NULL, NULL, false },
};

static char **split(const char *text, char *copy)
{
    static char *list[16];
    int n = 0;
    strcpy(copy, text);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        for (char *c = word; *c; c++) /* "|" stands for a space in an argument */
            if (*c == '|')
                *c = ' ';
        list[n++] = word;
    }
    list[n] = NULL;
    return list;
}

static int resolve(const char *path, char *const *argv, struct program *ret)
{
    static const char *env[] = { "A=1", "B=", NULL };
    return program_resolve((int)FAKE_CWD, U(path), 0, U(argv), U(env), ret);
}

static void body_rows(void)
{
    start();
    for (size_t i = 0; i < ARRAY_SIZE(g_rows); i++) {
        const struct row *row = &g_rows[i];
        char copy[256], joined[256] = "";
        unsigned audits = g_fake_audits;
        struct program p;
        int r = resolve(row->path, split(row->argv, copy), &p);
        CHECK_EQ(r, row->want, "%s (%s)", row->path, row->argv);
        if (r < 0) {
            if (row->audited)
                CHECK(g_fake_audits > audits, "%s (%s): audit", row->path, row->argv);
            continue;
        }
        for (uint32_t k = 0; k < p.argc; k++) {
            for (char *c = p.argv[k]; *c; c++)
                if (*c == ' ')
                    *c = '|';
            snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s%s", k ? " " : "",
                     p.argv[k]);
        }
        CHECK(strcmp(p.executable, row->executable) == 0, "%s: %s", row->path, p.executable);
        CHECK(strcmp(joined, row->want_argv) == 0, "%s: '%s'", row->path, joined);
        CHECK(strcmp(p.execfn, row->path) == 0, "%s: execfn %s", row->path, p.execfn);
        CHECK_EQ(p.envc, 2, "%s: environment", row->path);
        CHECK(p.child &&
                  strcmp(manifest_str_ptr(&g_manifest, p.child->executable), row->executable) == 0,
              "%s: edge", row->path);
        program_done(&p);
    }
    uint64_t used = g_fake_heap_used;
    for (size_t i = 0; i < ARRAY_SIZE(g_rows); i++) { /* nothing is left behind */
        char copy[256];
        struct program p;
        if (resolve(g_rows[i].path, split(g_rows[i].argv, copy), &p) == 0)
            program_done(&p);
    }
    CHECK_EQ(g_fake_heap_used, used, "memory");
}

static void body_arguments(void)
{
    struct program p;
    start();
    static char big[131073], *argv[70] = { big, NULL };
    memset(big, 'x', sizeof(big) - 1);
    CHECK_EQ(resolve("/bin/true", argv, &p), -E2BIG, "one string of 128 KiB and its NUL");
    big[sizeof(big) - 2] = '\0';
    CHECK_EQ(resolve("/bin/true", argv, &p), 0, "one string of 128 KiB with its NUL");
    program_done(&p);
    for (int i = 0; i < 16; i++)
        argv[i] = big;
    CHECK_EQ(resolve("/bin/true", argv, &p), -E2BIG, "a quarter of the stack, and pointers");
    argv[15] = NULL;
    CHECK_EQ(resolve("/bin/true", argv, &p), 0, "a little less");
    CHECK_EQ(p.argc, 15, "argc");
    program_done(&p);
    argv[0] = NULL;
    CHECK_EQ(resolve("/bin/true", argv, &p), 0, "none");
    CHECK_EQ(p.argc, 1, "an empty one");
    CHECK(p.argv[0][0] == '\0', "argv[0]");
    program_done(&p);
    CHECK_EQ(program_resolve((int)FAKE_CWD, U("/bin/true"), 0, 0, 0, &p), 0, "NULL lists");
    CHECK_EQ(p.argc + p.envc, 1, "NULL lists");
    program_done(&p);
    CHECK_EQ(program_resolve((int)FAKE_CWD, U("/bin/true"), 0, 8, 0, &p), -EFAULT, "argv");
    CHECK_EQ(program_resolve((int)FAKE_CWD, 8, 0, 0, 0, &p), -EFAULT, "path");
    argv[0] = (char *)16;
    argv[1] = NULL;
    CHECK_EQ(resolve("/bin/true", argv, &p), -EFAULT, "a string");
    CHECK_EQ(resolve("/s/gone", argv, &p), -EFAULT, "arguments come first");
}

/* What the program wrote itself: a script in scratch is data for its interpreter, a program there is none of
 * ours. What the host may change does not even say its interpreter. */
static void put(const char *path, const char *text, uint32_t mode)
{
    int64_t fd = SYS(openat, FAKE_CWD, U(path), O_CREAT | O_WRONLY, mode);
    CHECK(fd >= 0, "%s: %ld", path, (long)fd);
    CHECK_EQ(SYS(write, U(fd), U(text), strlen(text)), (int64_t)strlen(text), "%s", path);
    CHECK_EQ(SYS(close, U(fd)), 0, "%s", path);
}

static void body_written(void)
{
    struct program p;
    static char *argv[] = { "x", NULL };
    char host[300];
    start();
    snprintf(host, sizeof(host), "%s/out", g_fake_root);
    mkdir(host, 0755);
    put("/tmp/made.sh", "#!/bin/sh\n", 0700);
    put("/tmp/elf", ELF, 0700);
    put("/out/made.sh", "#!/bin/sh\n", 0700);
    put("/out/elf", ELF, 0700);
    put("/out/text", "echo\n", 0700);
    CHECK_EQ(resolve("/tmp/made.sh", argv, &p), 0, "script in scratch");
    program_done(&p);
    CHECK_EQ(resolve("/tmp/elf", argv, &p), -EACCES, "program in scratch");
    unsigned audits = g_fake_audits;
    CHECK_EQ(resolve("/out/text", argv, &p), -ENOEXEC, "text of the host");
    CHECK_EQ(resolve("/out/elf", argv, &p), -EACCES, "program of the host");
    CHECK_EQ(resolve("/out/made.sh", argv, &p), -EACCES, "script of the host");
    CHECK(g_fake_audits > audits && g_fake_audit_event == OCALL_AUDIT_EXEC, "audit");
}

/* execveat(2) by descriptor, and /proc/self/fd. */
static void body_by_descriptor(void)
{
    struct program p;
    static char *argv[] = { "x", NULL };
    char path[64];
    start();
    int64_t fd = SYS(openat, FAKE_CWD, U("/bin/true"), O_PATH);
    int64_t dir = SYS(openat, FAKE_CWD, U("/s"), O_PATH | O_DIRECTORY);
    CHECK(fd >= 0 && dir >= 0, "open");
    CHECK_EQ(program_resolve((int)fd, U(""), WALK_EMPTY, U(argv), 0, &p), 0, "fexecve");
    snprintf(path, sizeof(path), "/dev/fd/%d", (int)fd);
    CHECK(strcmp(p.execfn, path) == 0 && strcmp(p.executable, "/bin/true") == 0, "%s", p.execfn);
    program_done(&p);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", (int)fd);
    CHECK_EQ(resolve(path, argv, &p), 0, "/proc/self/fd");
    CHECK(strcmp(p.executable, "/bin/true") == 0, "%s", p.executable);
    program_done(&p);
    CHECK_EQ(program_resolve((int)dir, U("link.sh"), WALK_NOFOLLOW, U(argv), 0, &p), -ELOOP,
             "AT_SYMLINK_NOFOLLOW");
    CHECK_EQ(program_resolve((int)dir, U("../bin/true"), 0, U(argv), 0, &p), 0, "below a folder");
    snprintf(path, sizeof(path), "/dev/fd/%d/../bin/true", (int)dir);
    CHECK(strcmp(p.execfn, path) == 0, "%s", p.execfn);
    program_done(&p);
    CHECK_EQ(program_resolve(77, U("x"), 0, U(argv), 0, &p), -EBADF, "no such descriptor");
}

static void test_rows(void **state UNUSED)
{
    vfs_child(body_rows);
}

static void test_arguments(void **state UNUSED)
{
    vfs_child(body_arguments);
}

static void test_written(void **state UNUSED)
{
    vfs_child(body_written);
}

static void test_by_descriptor(void **state UNUSED)
{
    vfs_child(body_by_descriptor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_by_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
