/* Programs, edges and circles of hand-made traces: only processes, no files. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/program_key.h"
#include "manifest/tree.h"
#include "util/fs.h"

#define PROCESSES_MAX 16
#define PYTHON        "/usr/bin/python3.11"
#define SH            "/usr/bin/dash"

/* A process: what "exec" lists is the argument vector after the executable; NULL: no exec. */
struct given {
    enum trace_how how;
    uint32_t parent;
    const char *executable;
    const char *argv[5];
};

struct world {
    struct trace trace;
    struct trace_process processes[PROCESSES_MAX];
    struct trace_path paths[2]; /* [0]: what was there before; [1]: what the run made */
};

static void make(struct world *w, const struct given *given, size_t count)
{
    memset(w, 0, sizeof(*w));
    w->paths[0] = (struct trace_path){ .path = "/usr/bin/x", .before.mode = 0100755 };
    w->paths[1] = (struct trace_path){ .path = "/srv/made", .bits = TRACE_CREATED };
    w->trace = (struct trace){
        .processes = w->processes, .process_count = count, .paths = w->paths, .path_count = 2
    };
    for (size_t i = 0; i < count; i++) {
        struct trace_process *p = &w->processes[i];
        *p = (struct trace_process){
            .parent = i ? given[i].parent : TRACE_NO_PROCESS,
            .how = given[i].how,
            .executable = given[i].executable,
            .elf_interpreter = TRACE_NO_PATH,
            .argv = (char **)(uintptr_t)given[i].argv,
            .cwd = "/no/such/folder",
        };
        if (given[i].how == TRACE_HOW_EXEC || i == 0)
            p->executable_path = strncmp(given[i].executable, "/srv/", 5) == 0;
        while (p->argc < ARRAY_SIZE(given[i].argv) && given[i].argv[p->argc])
            p->argc++;
    }
}

/* "label>label,label; ..." by node, entry points of one node joined by "+", "*": forks. */
static char *describe(const struct tree *t)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (size_t n = 0; n < t->node_count; n++) {
        fputs(n ? "; " : "", out);
        for (size_t k = 0; k < t->nodes[n].program_count; k++) {
            char *label = tree_label(&t->programs[t->nodes[n].programs[k]].start);
            fprintf(out, "%s%s", k ? "+" : "", label);
            free(label);
        }
        fputs(t->nodes[n].forks ? "*" : "", out);
        const char *before = ">";
        for (size_t e = 0; e < t->edge_count; e++) {
            if (t->programs[t->edges[e].from].node != n)
                continue;
            char *label = tree_label(&t->programs[t->edges[e].to].start);
            fprintf(out, "%s%s", before, label);
            free(label);
            before = ",";
        }
    }
    fclose(out);
    return text;
}

#define ROOT(e, ...)          \
    {                         \
        TRACE_HOW_ROOT, 0, e, \
        {                     \
            __VA_ARGS__       \
        }                     \
    }
#define FORK(p)                  \
    {                            \
        TRACE_HOW_FORK, p, NULL, \
        {                        \
            NULL                 \
        }                        \
    }
#define VFORK(p)                  \
    {                             \
        TRACE_HOW_VFORK, p, NULL, \
        {                         \
            NULL                  \
        }                         \
    }
#define EXEC(p, e, ...)       \
    {                         \
        TRACE_HOW_EXEC, p, e, \
        {                     \
            __VA_ARGS__       \
        }                     \
    }

static const struct {
    const char *name;
    struct given given[PROCESSES_MAX];
    const char *merge;
    bool exec_deny;
    const char *want;
    const char *note; /* NULL: none */
} cases[] = {
    { "alone", { ROOT(PYTHON, "python3", "a.py") }, .want = "python3.11 a.py" },
    { "fork only",
      { ROOT(PYTHON, "python3", "a.py"), FORK(0), FORK(1) },
      .want = "python3.11 a.py*" },
    { "vfork and exec",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, "/usr/bin/true", "true") },
      .want = "python3.11 a.py>true; true" },
    { "the same twice",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, "/usr/bin/true", "true"), VFORK(0),
        EXEC(3, "/usr/bin/true", "true", "x") },
      .want = "python3.11 a.py>true; true" },
    { "two scripts under one interpreter",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, PYTHON, "python3", "b.py") },
      .want = "python3.11 a.py>python3.11 b.py; python3.11 b.py" },
    { "exec in place",
      { ROOT(SH, "sh", "x.sh"), EXEC(0, PYTHON, "python3", "a.py") },
      .want = "dash x.sh>python3.11 a.py; python3.11 a.py" },
    { "sh -c a | b | c",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, SH, "sh", "-c", "a|b|c"), FORK(2),
        EXEC(3, "/usr/bin/a", "a"), FORK(2), EXEC(5, "/usr/bin/b", "b"), FORK(2),
        EXEC(7, "/usr/bin/c", "c") },
      .want = "python3.11 a.py>dash -c a|b|c; a; b; c; dash -c a|b|c*>a,b,c" },
    { "itself",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, PYTHON, "python3", "a.py", "x") },
      .want = "python3.11 a.py>python3.11 a.py" },
    { "a child itself",
      { ROOT(SH, "sh", "x.sh"), FORK(0), EXEC(1, PYTHON, "python3", "w.py"), VFORK(2),
        EXEC(3, PYTHON, "python3", "w.py") },
      .want = "dash x.sh*>python3.11 w.py; python3.11 w.py>python3.11 w.py" },
    { "a circle",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, SH, "sh", "-c", "x"), FORK(2),
        EXEC(3, PYTHON, "python3", "a.py"), VFORK(0), EXEC(5, "/usr/bin/true", "true") },
      .want = "python3.11 a.py+dash -c x*>dash -c x,true,python3.11 a.py; true",
      .note = "2 programs start each other" },
    { "a circle below the root",
      { ROOT("/usr/bin/make", "make"), VFORK(0), EXEC(1, SH, "sh", "-c", "x"), VFORK(2),
        EXEC(3, PYTHON, "python3", "a.py"), VFORK(4), EXEC(5, SH, "sh", "-c", "x") },
      .want = "make>dash -c x; dash -c x+python3.11 a.py>python3.11 a.py,dash -c x",
      .note = "'dash -c x', 'python3.11 a.py'" },
    { "numbers and temporary names are no difference",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0),
        EXEC(1, PYTHON, "python3", "-c", "main(12, '/tmp/tmpabc12_de')"), VFORK(0),
        EXEC(3, PYTHON, "python3", "-c", "main(7, '/tmp/tmpxyz12_de')") },
      .want = "python3.11 a.py>python3.11 -c main(#, '/tmp/tmp*'); "
              "python3.11 -c main(#, '/tmp/tmp*')" },
    { "--merge by name",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, SH, "sh", "-c", "x"), VFORK(0),
        EXEC(3, SH, "sh", "-c", "y") },
      .merge = "dash",
      .want = "python3.11 a.py>dash; dash>dash" },
    { "--merge by path, of the root",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, PYTHON, "python3", "b.py") },
      .merge = PYTHON,
      .want = "python3.11>python3.11" },
    { "--merge of none", { ROOT(PYTHON, "python3", "a.py") }, .merge = "python3", .want = NULL },
    { "--exec deny",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, SH, "sh", "-c", "x"), FORK(2), FORK(0) },
      .exec_deny = true,
      .want = "python3.11 a.py*" },
    { "a script that the run made",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, SH, "sh", "/srv/made") },
      .want = "python3.11 a.py>dash made; dash made",
      .note = "'--merge dash'" },
    { "what the run made is not started",
      { ROOT(PYTHON, "python3", "a.py"), VFORK(0), EXEC(1, "/srv/made", "made"), VFORK(2),
        EXEC(3, "/usr/bin/true", "true") },
      .want = "python3.11 a.py",
      .note = "'/srv/made' was made and started by the run" },
};

static size_t count_of(const struct given *given)
{
    size_t n = 1;
    while (n < PROCESSES_MAX && given[n].how != TRACE_HOW_ROOT)
        n++;
    return n;
}

static void test_shapes(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct world w;
        make(&w, cases[i].given, count_of(cases[i].given));
        const struct trace *traces[] = { &w.trace };
        const struct manifest_rules rules = { .merge = &cases[i].merge,
                                              .merge_count = cases[i].merge != NULL,
                                              .exec_deny = cases[i].exec_deny };
        struct manifest_report report = { 0 };
        struct err err = { 0 };
        struct tree t;
        int r = tree_build(traces, 1, &rules, &report, &t, &err);
        if ((r == 0) != (cases[i].want != NULL))
            fail_msg("%s: got %d '%s'", cases[i].name, r, err.text);
        char *got = r == 0 ? describe(&t) : NULL;
        if (got && strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got '%s', want '%s'", cases[i].name, got, cases[i].want);
        if ((report.note_count != 0) != (cases[i].note != NULL) ||
            (cases[i].note && !strstr(report.notes[0], cases[i].note)))
            fail_msg("%s: noted '%s'", cases[i].name,
                     report.note_count ? report.notes[0] : "nothing");
        free(got);
        manifest_report_done(&report);
        tree_done(&t);
    }
}

static const struct given first[] = { ROOT(PYTHON, "python3", "a.py"), VFORK(0),
                                      EXEC(1, "/usr/bin/true", "true") };
static const struct given second[] = { ROOT(PYTHON, "python3", "a.py"), VFORK(0),
                                       EXEC(1, "/usr/bin/false", "false"), FORK(0) };
static const struct given other[] = { ROOT(PYTHON, "python3", "b.py") };

/* The union, in the same order whichever trace comes first. */
static void test_two_traces(void **state UNUSED)
{
    struct world a, b, c;
    make(&a, first, ARRAY_SIZE(first));
    make(&b, second, ARRAY_SIZE(second));
    make(&c, other, ARRAY_SIZE(other));
    const struct trace *orders[][2] = { { &a.trace, &b.trace }, { &b.trace, &a.trace } };
    const struct manifest_rules rules = { 0 };
    struct err err = { 0 };
    for (size_t i = 0; i < 2; i++) {
        struct tree t;
        assert_int_equal(tree_build(orders[i], 2, &rules, NULL, &t, &err), 0);
        char *got = describe(&t);
        assert_string_equal(got, "python3.11 a.py*>false,true; false; true");
        assert_int_equal(tree_node_of(&t, i, 2), 2);
        assert_int_equal(tree_node_of(&t, 1 - i, 2), 1);
        assert_int_equal(tree_node_of(&t, 1 - i, 3), 0);
        free(got);
        tree_done(&t);
    }
    const struct trace *different[] = { &a.trace, &c.trace };
    struct tree t;
    assert_int_equal(tree_build(different, 2, &rules, NULL, &t, &err), -EINVAL);
    assert_non_null(strstr(err.text, "different commands"));
    tree_done(&t);
}

static const struct {
    struct cascade_start start;
    const char *want;
} labels[] = {
    { { (char *)"/usr/bin/true", PROGRAM_PLAIN, NULL }, "true" },
    { { (char *)PYTHON, PROGRAM_STDIN, NULL }, "python3.11" },
    { { (char *)PYTHON, PROGRAM_SCRIPT, (char *)"/srv/a.py" }, "python3.11 a.py" },
    { { (char *)PYTHON, PROGRAM_MODULE, (char *)"pytest" }, "python3.11 -m pytest" },
    { { (char *)SH, PROGRAM_COMMAND, (char *)"a\nb\tc" }, "dash -c a b c" },
    { { (char *)SH, PROGRAM_COMMAND, (char *)"" }, "dash -c " },
    { { (char *)SH, PROGRAM_COMMAND, (char *)"0123456789012345678901234567890123456789" },
      "dash -c 0123456789012345678901234567890123456789" },
    { { (char *)SH, PROGRAM_COMMAND, (char *)"01234567890123456789012345678901234567890" },
      "dash -c 0123456789012345678901234567890123456789..." },
    /* Not through the middle of a character. */
    { { (char *)SH, PROGRAM_COMMAND, (char *)"012345678901234567890123456789012345678\xc3\xa4" },
      "dash -c 012345678901234567890123456789012345678..." },
};

static void test_labels(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
        char *got = tree_label(&labels[i].start);
        if (strcmp(got, labels[i].want) != 0)
            fail_msg("row %zu: got '%s', want '%s'", i, got, labels[i].want);
        free(got);
    }
}

/* A script that is not there is what its letters say. */
static void test_script_path(void **state UNUSED)
{
    static const struct {
        const char *cwd, *name, *want;
    } rows[] = {
        { "/no/such", "a.py", "/no/such/a.py" },
        { "/no/such", "./x/../a.py", "/no/such/a.py" },
        { "/no/such", "../../../a.py", "/a.py" },
        { "/no", "/no//such/./a.py", "/no/such/a.py" },
        { "/usr", "/usr/bin/../bin/env", "/usr/bin/env" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *argv[] = { "python3", rows[i].name, NULL };
        const struct trace_process p = {
            .executable = PYTHON, .argv = (char **)(uintptr_t)argv, .argc = 2, .cwd = rows[i].cwd
        };
        struct cascade_start start;
        assert_int_equal(tree_start(&p, &start), 0);
        if (start.kind != PROGRAM_SCRIPT || strcmp(start.text, rows[i].want) != 0)
            fail_msg("row %zu: got '%s'", i, start.text);
        cascade_start_done(&start);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_two_traces),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_script_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
