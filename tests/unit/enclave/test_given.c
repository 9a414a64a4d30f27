/* What a program takes from its parent (src/enclave/process/given.c). Each refusal has a row that shows the same with the check
 * off: the node takes what it is given. */
#include "vfs_fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "core/attr.h"
#include "core/program_key.h"
#include "process/given.h"
#include "process/process.h"
#include "vfs/node.h"

#define REGULAR(path_)                                                                            \
    {                                                                                             \
        .path = path_, .class = MANIFEST_TRUSTED, .flags = MANIFEST_EXEC, .mode = S_IFREG | 0755, \
        .content = "x"                                                                            \
    }

static const struct fake_record g_records[] = {
    REGULAR("/bin/python3.11"),
    { .path = "/bin/python3",
      .class = MANIFEST_TRUSTED,
      .mode = S_IFLNK | 0777,
      .content = "python3.11" },
    { .path = "/app/over",
      .class = MANIFEST_TRUSTED,
      .mode = S_IFLNK | 0777,
      .content = "/tmp/link" },
    REGULAR("/app/child.py"),
    REGULAR("/tmp/fixed/child.py"),
    { .path = "/out",
      .class = MANIFEST_ALLOWED,
      .flags = MANIFEST_SUBTREE,
      .mode = S_IFDIR | 0755 },
    { .path = "/tmp",
      .class = MANIFEST_SCRATCH,
      .flags = MANIFEST_SUBTREE,
      .mode = S_IFDIR | 01777 },
    { .path = "/work",
      .class = MANIFEST_SCRATCH,
      .flags = MANIFEST_SUBTREE,
      .mode = S_IFDIR | 0755 },
};

static struct manifest_given g_rows[32];
static uint32_t g_row_count;
static char *g_pool;
static uint32_t g_used;

static struct manifest_str text(const char *from)
{
    struct manifest_str s = { g_used, (uint32_t)strlen(from) };
    memcpy(g_pool + g_used, from, s.length + 1u);
    g_used += s.length + 1;
    return s;
}

/* "NAME=VALUE" for variables, "NAME" for what may be missing or anything; else the value. */
static void row(enum manifest_given_what what, const char *from)
{
    bool named = what <= MANIFEST_GIVEN_INSECURE;
    const char *equals = named ? strchr(from, '=') : NULL;
    char name[64] = "";
    if (named)
        snprintf(name, sizeof(name), "%.*s", (int)(equals ? (size_t)(equals - from) : strlen(from)),
                 from);
    g_rows[g_row_count++] = (struct manifest_given){ .what = what,
                                                     .name = text(name),
                                                     .value = text(equals  ? equals + 1
                                                                   : named ? ""
                                                                           : from) };
    g_manifest.given_count = g_row_count;
}

static struct manifest_node g_node;
static struct manifest_entry g_entry;

static void start(const char *cwd)
{
    for (size_t i = 0; i < ARRAY_SIZE(g_records); i++)
        fake_add(&g_records[i]);
    fake_start(cwd);
    (void)!cwd_get(); /* its path stands in the strings as they were: it is never freed */
    g_pool = calloc(1, 1u << 20);
    memcpy(g_pool, g_manifest.strings, g_manifest.string_size);
    g_used = (uint32_t)g_manifest.string_size;
    g_manifest.strings = g_pool;
    g_node = *g_manifest.node;
    g_manifest.node = &g_node;
    g_entry =
        (struct manifest_entry){ .kind = PROGRAM_SCRIPT,
                                 .executable = manifest_find(&g_manifest, "/bin/python3.11", 15) };
    g_manifest.entries = &g_entry;
    g_manifest.entry_count = 1;
    g_manifest.given = g_rows;
}

static struct boot_strings strings(char **args, char **env)
{
    struct boot_strings s = { .args = args, .env = env, .execfn = "/bin/python3" };
    while (args[s.arg_count])
        s.arg_count++;
    while (env && env[s.env_count])
        s.env_count++;
    return s;
}

static char **split(const char *from, char separator, char *copy)
{
    static char *lists[2][16];
    static int turn;
    char **list = lists[turn ^= 1], with[2] = { separator };
    int n = 0;
    strcpy(copy, from);
    for (char *word = strtok(copy, with); word; word = strtok(NULL, with))
        list[n++] = word;
    list[n] = NULL;
    return list;
}

/* ---- environment ---- */

static const struct {
    const char *given, *want; /* "," between variables */
    unsigned audits;
} g_environments[] = {
    { "PATH=/bin,HOME=/root", "PATH=/bin,HOME=/root", 0 },
    { "PATH=/usr/bin,HOME=/root", "PATH=/usr/bin,HOME=/root", 0 },
    { "HOME=/root,PATH=/bin,X=1", "HOME=/root,PATH=/bin,X=1", 0 },
    /* another value, of what has always one */
    { "PATH=/dev/shm,HOME=/root", "HOME=/root,PATH=/bin", 2 },
    { "HOME=/root", "HOME=/root,PATH=/bin", 1 },
    /* of what no trace had */
    { "PYTHONPATH=/dev/shm,PATH=/bin", "PATH=/bin", 1 },
    { "LD_PRELOAD=/tmp/x.so,BASH_ENV=/tmp/x,PATH=/bin", "PATH=/bin", 2 },
    { "BASH_FUNC_ls%%=() { x; },PATH=/bin", "PATH=/bin", 1 },
    { "PYTHONHASHSEED=7,PATH=/bin", "PYTHONHASHSEED=7,PATH=/bin", 0 },
    /* sometimes there */
    { "PYTHONHOME=/srv,PATH=/bin", "PYTHONHOME=/srv,PATH=/bin", 0 },
    { "PYTHONHOME=/dev/shm,PATH=/bin", "PATH=/bin", 1 },
    { "PYTHONHOME=/tmp/any/name,PATH=/bin", "PYTHONHOME=/tmp/any/name,PATH=/bin", 0 },
    { "PYTHONHOME=/tmp/../dev/shm,PATH=/bin", "PATH=/bin", 1 },
    /* a line of the manifest holds others too */
    { "MINE=a,PATH=/bin", "MINE=a,PATH=/bin", 0 },
    { "MINE=b,PATH=/bin", "PATH=/bin", 1 },
    /* any value */
    { "HOME=/dev/shm,PATH=/bin", "HOME=/dev/shm,PATH=/bin", 0 },
    { "PERL5OPT=-d,PATH=/bin", "PERL5OPT=-d,PATH=/bin", 0 },
    /* twice: programs differ in which one counts */
    { "PATH=/bin,PATH=/usr/bin", "PATH=/bin", 1 },
    { "PATH=/dev/shm,PATH=/bin", "PATH=/bin", 1 },
    { "X=1,X=2,PATH=/bin", "X=1,X=2,PATH=/bin", 0 },
    { "PYTHONPATH,PATH=/bin", "PYTHONPATH,PATH=/bin", 0 }, /* no variable for anybody */
};

static void check_environment(const char *given, const char *want, unsigned audits)
{
    char copy[400], joined[400] = "", arguments[] = "/bin/python3";
    char *args[] = { arguments, NULL };
    struct boot_strings s = strings(args, split(given, ',', copy));
    unsigned before = g_fake_audits;
    CHECK_EQ(given_start("/bin/python3.11", &s), 0, "%s", given);
    for (uint32_t i = 0; i < s.env_count; i++)
        snprintf(joined + strlen(joined), sizeof(joined) - strlen(joined), "%s%s", i ? "," : "",
                 s.env[i]);
    CHECK(strcmp(joined, want) == 0, "%s: got '%s', want '%s'", given, joined, want);
    CHECK(!s.env[s.env_count], "%s: the end", given);
    CHECK_EQ(g_fake_audits - before, audits, "%s: audit lines", given);
}

static void body_environment(void)
{
    start("/app");
    row(MANIFEST_GIVEN_VARIABLE, "MINE=a");
    row(MANIFEST_GIVEN_VARIABLE, "PATH=/bin");
    row(MANIFEST_GIVEN_VARIABLE, "PATH=/usr/bin");
    row(MANIFEST_GIVEN_VARIABLE, "PYTHONHOME=/srv");
    row(MANIFEST_GIVEN_VARIABLE, "PYTHONHOME=/tmp/x");
    row(MANIFEST_GIVEN_UNSET, "MINE");
    row(MANIFEST_GIVEN_UNSET, "PYTHONHOME");
    row(MANIFEST_GIVEN_HOST, "HOME");
    row(MANIFEST_GIVEN_INSECURE, "PERL5OPT");
    for (size_t i = 0; i < ARRAY_SIZE(g_environments); i++)
        check_environment(g_environments[i].given, g_environments[i].want,
                          g_environments[i].audits);
    CHECK_EQ(g_fake_audit_event, OCALL_AUDIT_GIVEN, "the audit line");
    g_node.flags |= MANIFEST_INSECURE_GIVEN;
    for (size_t i = 0; i < ARRAY_SIZE(g_environments); i++)
        check_environment(g_environments[i].given, g_environments[i].given, 0);
    g_node.flags &= ~(uint32_t)MANIFEST_INSECURE_GIVEN;
    g_entry.kind = PROGRAM_ANY;
    check_environment("PYTHONPATH=/dev/shm", "PYTHONPATH=/dev/shm", 0);
    g_entry.executable =
        manifest_find(&g_manifest, "/app/child.py", 13); /* no interpreter: its code is its own */
    check_environment("PYTHONPATH=/dev/shm,PATH=/bin", "PATH=/bin", 1);
}

/* ---- arguments ---- */

static const struct {
    const char *args, *execfn;
    int want;
} g_arguments[] = {
    { "python3 /app/child.py -i", "/bin/python3", 0 },
    { "python3 child.py", "/bin/python3", 0 },
    { "python3 -I -X n=1 child.py", "/bin/python3", 0 },
    { "python3 -I -X n=22 child.py", "/bin/python3", 0 },
    { "python3 -i child.py", "/bin/python3", -EACCES },
    { "python3 -I child.py", "/bin/python3", -EACCES },
    { "python3 -X pycache_prefix=/tmp child.py", "/bin/python3", -EACCES },
    { "python3 -I -X n=1 -- child.py", "/bin/python3", -EACCES },
    { "python3", "/bin/python3", 0 }, /* its program is its input */
    /* the way to the script */
    { "python3 /tmp/link", "/bin/python3", -EACCES },
    { "python3 /tmp/../app/child.py", "/bin/python3", -EACCES },
    { "python3 /app/over", "/bin/python3", -EACCES },
    { "python3 /tmp/made.py", "/bin/python3", 0 },        /* it is in scratch: so its key was */
    { "python3 /tmp/fixed/child.py", "/bin/python3", 0 }, /* measured, wherever it stands */
    /* names */
    { "/bin/python3 child.py", "/bin/python3", 0 },
    { "../bin/python3 child.py", "/bin/python3", 0 },
    { "/nowhere/python3 child.py", "/bin/python3", 0 },
    { "-anything child.py", "/bin/python3", -EACCES }, /* a login shell */
    { "-/bin/python3 child.py", "/bin/python3", -EACCES },
    { "-traced child.py", "/bin/python3", 0 },
    { "python3 child.py", "-traced", 0 },
    { "python3 child.py", "-sh", -EACCES },
    { "/tmp/bin/python3 child.py", "/bin/python3", -EACCES },
    { "/tmp/../bin/python3 child.py", "/bin/python3", -EACCES },
    { "/dev/shm/x child.py", "/bin/python3", -EACCES },
    { "/proc/self/cwd/x child.py", "/bin/python3", -EACCES },
    { "/work/venv/python child.py", "/bin/python3", 0 },
    { "/work/other/python child.py", "/bin/python3", 0 },
    { "/out/python child.py", "/bin/python3", -EACCES },
    { "python3 child.py", "/tmp/x", -EACCES },
    { "python3 child.py", "x", 0 },
};

static void body_arguments(void)
{
    start("/app");
    row(MANIFEST_GIVEN_OPTIONS, "");
    row(MANIFEST_GIVEN_OPTIONS, "-I -X n=5");
    row(MANIFEST_GIVEN_NAME, "-traced");
    row(MANIFEST_GIVEN_NAME, "/work/venv/python");
    CHECK_EQ(SYS(symlink, U("/app/child.py"), U("/tmp/link")), 0, "symlink");
    int64_t fd = SYS(openat, FAKE_CWD, U("/tmp/made.py"), O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0, "made.py: %ld", (long)fd);
    for (int insecure = 0; insecure < 2; insecure++) {
        g_node.flags |= insecure ? (uint32_t)MANIFEST_INSECURE_GIVEN : 0;
        for (size_t i = 0; i < ARRAY_SIZE(g_arguments); i++) {
            char copy[256];
            char *none[] = { NULL };
            struct boot_strings s = strings(split(g_arguments[i].args, ' ', copy), none);
            s.execfn = g_arguments[i].execfn;
            unsigned before = g_fake_audits;
            int want = insecure ? 0 : g_arguments[i].want;
            CHECK_EQ(given_start("/bin/python3.11", &s), want, "%s as %s", g_arguments[i].args,
                     g_arguments[i].execfn);
            CHECK_EQ(g_fake_audits - before, want != 0, "%s: audit lines", g_arguments[i].args);
        }
    }
}

/* ---- folder ---- */

static const struct {
    const char *path;
    bool want;
} g_folders[] = {
    { "/app", true },        { "/", true },     { "/tmp", false },      { "/tmp/fixed", false },
    { "/tmp/made", false },  { "/work", true }, { "/work/made", true }, { "/dev/shm", false },
    { "/proc/self", false }, { "/out", false },
};

static void body_folder(void)
{
    start("/app");
    row(MANIFEST_GIVEN_FOLDER, "/work");
    char host[300];
    snprintf(host, sizeof(host), "%s/out", g_fake_root);
    CHECK_EQ(mkdir(host, 0755), 0, "out");
    CHECK_EQ(SYS(mkdir, U("/tmp/made"), 0755), 0, "made");
    CHECK_EQ(SYS(mkdir, U("/work/made"), 0755), 0, "made");
    for (int insecure = 0; insecure < 2; insecure++) {
        g_node.flags |= insecure ? (uint32_t)MANIFEST_INSECURE_GIVEN : 0;
        for (size_t i = 0; i < ARRAY_SIZE(g_folders); i++) {
            CHECK_EQ(cwd_enter(g_folders[i].path, (uint32_t)strlen(g_folders[i].path)), 0, "%s",
                     g_folders[i].path);
            unsigned before = g_fake_audits;
            bool want = insecure || g_folders[i].want;
            CHECK_EQ(given_folder(), want, "%s", g_folders[i].path);
            CHECK_EQ(g_fake_audits - before, !want, "%s: audit lines", g_folders[i].path);
        }
    }
}

static void test_environment(void **state UNUSED)
{
    vfs_child(body_environment);
}

static void test_arguments(void **state UNUSED)
{
    vfs_child(body_arguments);
}

static void test_folder(void **state UNUSED)
{
    vfs_child(body_folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
