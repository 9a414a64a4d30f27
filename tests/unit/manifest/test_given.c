/* What a node may be given, of hand-made traces: processes with variables, folders and arguments. */
#include <errno.h>
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
#include "manifest/table.h"
#include "manifest/tree.h"
#include "util/fs.h"

#define PYTHON        "/usr/bin/python3.11"
#define PROCESSES_MAX 8

/* A start of the child by the root; without argv: python3 /srv/c.py. */
struct start {
    const char *env[6];
    const char *argv[8];
    const char *cwd, *execfn; /* NULL: /srv, PYTHON */
    bool self;                /* by the child's program itself */
};

static const char *const root_env[] = { "PATH=/usr/bin:/bin", "HOME=/root", "PERL5LIB=/root/perl",
                                        "PYTHONKEY=x", NULL };

static const struct {
    const char *name;
    struct start starts[3];
    const char *insecure, *env_rule;
    bool any;         /* the node takes every start of this interpreter */
    const char *want; /* the rows, "; " between them */
} cases[] = {
    { "as the root",
      { { { "PATH=/usr/bin:/bin", "HOME=/root", "PERL5LIB=/root/perl" } } },
      .want = "variable HOME=/root; variable PATH=/usr/bin:/bin; options" },
    { "one without",
      { { { "PATH=/usr/bin:/bin" } }, { { NULL }, { "python3", "/srv/c.py" } } },
      .want = "variable PATH=/usr/bin:/bin; unset PATH; options" },
    { "of its own",
      { { { "PATH=/usr/bin:/bin", "PYTHONPATH=/srv/lib" } },
        { { "PATH=/bin", "PYTHONPATH=/srv/lib" } } },
      .want = "variable PATH=/bin; variable PATH=/usr/bin:/bin; variable PYTHONPATH=/srv/lib; "
              "options" },
    { "what the root drops is unset",
      { { { "PATH=/usr/bin:/bin", "PERL5LIB=/root/perl" } },
        { { "PATH=/usr/bin:/bin", "PERL5LIB=/srv/perl" } } },
      .want = "variable PATH=/usr/bin:/bin; variable PERL5LIB=/srv/perl; unset PERL5LIB; options" },
    { "of two the first",
      { { { "PATH=/usr/bin:/bin", "PYTHONPATH=/a", "PYTHONPATH=/b" } } },
      .want = "variable PATH=/usr/bin:/bin; variable PYTHONPATH=/a; options" },
    { "other variables are none",
      { { { "PATH=/usr/bin:/bin", "EDITOR=vi", "PYTHONHASHSEED=1" } } },
      .want = "variable PATH=/usr/bin:/bin; options" },
    { "no secrets",
      { { { "PATH=/usr/bin:/bin", "PYTHONKEY=y", "LD_TOKEN=z" } } },
      .want = "variable PATH=/usr/bin:/bin; options" },
    { "any name in scratch",
      { { { "PATH=/usr/bin:/bin", "PYTHONPATH=/tmp/x" } },
        { { "PATH=/usr/bin:/bin", "PYTHONPATH=/tmp/y/z" } } },
      .want = "variable PATH=/usr/bin:/bin; variable PYTHONPATH=/tmp/x; options" },
    { "folders",
      { { { "PATH=/bin" }, .cwd = "/srv" },
        { { "PATH=/bin" }, .cwd = "/tmp/a/b" },
        { { "PATH=/bin" }, .cwd = "/dev/shm/x" } },
      .want = "variable PATH=/bin; folder /dev/shm; folder /tmp; options" },
    { "trusted, but in scratch",
      { { { "PATH=/bin" }, .cwd = "/tmp/fixed" } },
      .want = "variable PATH=/bin; folder /tmp; options" },
    { "a built-in folder",
      { { { "PATH=/bin" }, .cwd = "/proc" } },
      .want = "variable PATH=/bin; folder /proc; options" },
    { "options",
      { { { "PATH=/bin" }, { "python3", "-X", "a b", "/srv/c.py", "-i" } },
        { { "PATH=/bin" }, { "python3", "-X", "a b", "/srv/c.py" } },
        { { "PATH=/bin" }, { "python3", "-I", "/srv/c.py" } } },
      .want = "variable PATH=/bin; options -I; options -X a\\ b" },
    { "options with numbers",
      { { { "PATH=/bin" }, { "python3", "-X", "n=5", "/srv/c.py" } },
        { { "PATH=/bin" }, { "python3", "-X", "n=77", "/srv/c.py" } } },
      .want = "variable PATH=/bin; options -X n=5" },
    { "names",
      { { { "PATH=/bin" }, { PYTHON, "/srv/c.py" } },
        { { "PATH=/bin" }, { "./python", "/srv/c.py" }, .execfn = "/usr/bin/python3" },
        { { "PATH=/bin" }, { "venv/bin/python", "/srv/c.py" }, .execfn = "/tmp/v/bin/python" } },
      .want = "variable PATH=/bin; options; name ./python; name /tmp/v/bin/python; name "
              "/usr/bin/python3; name venv/bin/python" },
    { "a login shell's name",
      { { { "PATH=/bin" }, { "-python3", "/srv/c.py" } },
        { { "PATH=/bin" }, { "python3", "/srv/c.py" } },
        { { "PATH=/bin" }, { "-/srv", "/srv/c.py" } } },
      .want = "variable PATH=/bin; options; name -/srv; name -python3" },
    { "its own starts do not count",
      { { { "PATH=/bin" } },
        { { "PATH=/tmp/x" }, { "python3", "-i", "/srv/c.py" }, .cwd = "/tmp", .self = true } },
      .want = "variable PATH=/bin; options" },
    { "pinned otherwise",
      { { { "PATH=/usr/bin:/bin", "BASH_ENV=/a" } } },
      .env_rule = "BASH_ENV=/b",
      .want = "variable BASH_ENV=/a; variable PATH=/usr/bin:/bin; options" },
    { "pinned, where nobody had it",
      { { { "PATH=/usr/bin:/bin" } } },
      .env_rule = "BASH_ENV=/b",
      .want = "variable BASH_ENV=/b; variable PATH=/usr/bin:/bin; unset BASH_ENV; options" },
    { "the host's",
      { { { "PATH=/usr/bin:/bin", "HOME=/srv" } }, { { "PATH=/usr/bin:/bin" } } },
      .env_rule = "HOME",
      .want = "variable PATH=/usr/bin:/bin; host HOME; options" },
    { "insecure",
      { { { "PATH=/usr/bin:/bin", "PYTHONPATH=/a" } }, { { "PATH=/usr/bin:/bin" } } },
      .insecure = "PYTHONPATH",
      .want = "variable PATH=/usr/bin:/bin; insecure PYTHONPATH; options" },
    { "all insecure",
      { { { "PATH=/bin" } } },
      .insecure = "all",
      .want = "! variable PATH=/bin; options" },
    { "merged: nothing to hold",
      { { { "PATH=/bin", "PYTHONPATH=/tmp" }, { "python3", "-c", "pass" }, .cwd = "/tmp" } },
      .any = true,
      .want = "" },
};

struct world {
    struct trace trace;
    struct trace_process processes[PROCESSES_MAX];
    struct trace_path path;
};

static void add(struct world *w, enum trace_how how, uint32_t parent, const struct start *start,
                const char *const *env, const char *const *argv)
{
    struct trace_process *p = &w->processes[w->trace.process_count++];
    *p = (struct trace_process){
        .parent = parent,
        .how = how,
        .executable = PYTHON,
        .exec_name = start && start->execfn ? start->execfn : PYTHON,
        .elf_interpreter = TRACE_NO_PATH,
        .argv = (char **)(uintptr_t)argv,
        .envp = (char **)(uintptr_t)env,
        .cwd = start && start->cwd ? start->cwd : "/srv",
    };
    while (argv[p->argc])
        p->argc++;
    while (env[p->env_count])
        p->env_count++;
}

/* The root starts the child by vfork and exec; a start of its own follows the first. */
static void make(struct world *w, const struct start *starts, size_t count)
{
    static const char *const root[] = { "python3", "a.py", NULL }, *const child[] = { "python3",
                                                                                      "/srv/c.py",
                                                                                      NULL };
    memset(w, 0, sizeof(*w));
    w->path = (struct trace_path){ .path = PYTHON, .before.mode = 0100755 };
    w->trace = (struct trace){ .processes = w->processes, .paths = &w->path, .path_count = 1 };
    add(w, TRACE_HOW_ROOT, TRACE_NO_PROCESS, NULL, root_env, root);
    for (size_t i = 0; i < count && (starts[i].env[0] || starts[i].argv[0]); i++) {
        const char *const *argv = starts[i].argv[0] ? starts[i].argv : child;
        add(w, TRACE_HOW_VFORK, starts[i].self ? 2 : 0, NULL, root_env, root);
        add(w, TRACE_HOW_EXEC, (uint32_t)w->trace.process_count - 1, &starts[i], starts[i].env,
            argv);
    }
}

static char *describe(const struct cascade_node *n)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    fputs(n->flags & MANIFEST_INSECURE_GIVEN ? "! " : "", out);
    for (size_t i = 0; i < n->given_count; i++) {
        const struct cascade_given *g = &n->given[i];
        bool word = g->name || (g->value && g->value[0]);
        fprintf(out, "%s%s%s%s%s%s", i ? "; " : "", cascade_given_word(g->what), word ? " " : "",
                g->name ? g->name : "", g->name && g->value ? "=" : "", g->value ? g->value : "");
    }
    fclose(out);
    return text;
}

static struct cascade_file g_files[] = {
    { .path = (char *)(uintptr_t) "/", .class = MANIFEST_TRUSTED, .mode = S_IFDIR },
    { .path = (char *)(uintptr_t) "/srv", .class = MANIFEST_TRUSTED, .mode = S_IFDIR },
    { .path = (char *)(uintptr_t) "/tmp",
      .class = MANIFEST_SCRATCH,
      .flags = MANIFEST_SUBTREE,
      .mode = S_IFDIR },
    { .path = (char *)(uintptr_t) "/tmp/fixed", .class = MANIFEST_TRUSTED, .mode = S_IFDIR },
    { .path = (char *)(uintptr_t) "/usr/bin/python3",
      .class = MANIFEST_TRUSTED,
      .mode = S_IFLNK,
      .target = (char *)(uintptr_t) "python3.11" },
    { .path = (char *)(uintptr_t)PYTHON, .class = MANIFEST_TRUSTED, .mode = S_IFREG },
};

static void fill_root(struct cascade_node *root, const char *rule)
{
    static char names[4][16], values[4][32];
    static struct cascade_env env[4];
    *root = (struct cascade_node){ .env = env };
    for (size_t i = 0; i < 4; i++) {
        const char *from = i < 2 ? root_env[i] : i == 2 ? rule : NULL;
        if (!from)
            continue;
        int n = (int)strcspn(from, "=");
        bool host = !from[n];
        size_t at = root->env_count;
        for (size_t k = 0; k < root->env_count; k++)
            if ((int)strlen(names[k]) == n && strncmp(names[k], from, (size_t)n) == 0)
                at = k;
        snprintf(names[at], sizeof(names[at]), "%.*s", n, from);
        snprintf(values[at], sizeof(values[at]), "%s", host ? "" : from + n + 1);
        env[at] = (struct cascade_env){ names[at], values[at],
                                        host ? MANIFEST_ENV_HOST : MANIFEST_ENV_PINNED };
        root->env_count += at == root->env_count;
    }
}

static void test_given(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        struct err err = { 0 };
        make(&w, cases[i].starts, ARRAY_SIZE(cases[i].starts));
        const struct trace *traces[] = { &w.trace };
        struct manifest_rules rules = {
            .insecure_given = &cases[i].insecure,
            .insecure_given_count = cases[i].insecure != NULL,
        };
        CLEANUP(tree_done) struct tree tree;
        if (tree_build(traces, 1, &rules, NULL, &tree, &err) < 0)
            fail_msg("%s: %s", cases[i].name, err.text);
        size_t node = tree.node_count - 1;
        assert_true(node > 0);
        struct cascade_entry entry = { .start = tree.programs[tree.nodes[node].programs[0]].start };
        if (cases[i].any)
            entry.start.kind = PROGRAM_ANY;
        struct cascade_node root;
        fill_root(&root, cases[i].env_rule);
        CLEANUP(cascade_free_p) struct cascade *c = cascade_new(1);
        assert_non_null(c);
        struct cascade_node *n = c->nodes;
        n->files = g_files;
        n->file_count = ARRAY_SIZE(g_files);
        n->entries = &entry;
        n->entry_count = 1;
        int r = given_fill(n, &root, &tree, node, traces, &rules, &err);
        if (r < 0)
            fail_msg("%s: %s", cases[i].name, err.text);
        char *got = describe(n);
        /* Not theirs to free. */
        n->files = NULL;
        n->entries = NULL;
        n->file_count = n->entry_count = 0;
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got '%s', want '%s'", cases[i].name, got, cases[i].want);
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_given) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
