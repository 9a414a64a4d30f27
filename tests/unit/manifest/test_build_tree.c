/* manifest_build on traces of more than one program, and on more than one trace. */
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
    { "parent makes, child appends", NULL, "new", C, W, MANIFEST_ALLOWED, OUT, MANIFEST_ALLOWED,
      0 },
    { "parent's temporary", NULL, NULL, C | TRACE_REMOVED, R, MANIFEST_SCRATCH, 0, MANIFEST_SCRATCH,
      0 },
    { "child's temporary", NULL, NULL, 0, C | TRACE_REMOVED, 0, 0, MANIFEST_SCRATCH, 0 },
    { "made by one, removed by the other", NULL, NULL, C, TRACE_REMOVED, MANIFEST_SCRATCH, 0,
      MANIFEST_SCRATCH, 0 },
    { "temporary, only looked for", NULL, NULL, TRACE_ABSENT, C | TRACE_REMOVED, MANIFEST_ABSENT, 0,
      MANIFEST_SCRATCH, 0 },
    { "m/__pycache__/a.cpython-311.pyc", NULL, "pyc", R, C, 0, 0, 0, 0 },
    { "script", "#!/bin/sh\n", "#!/bin/sh\n", TRACE_EXECUTED, R | TRACE_EXECUTED, MANIFEST_NAMED, 0,
      MANIFEST_TRUSTED, MANIFEST_EXEC },
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
            world_put(w, shares[i].name, shares[i].before);
    /* world_touch() takes the root to have touched each path. */
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
        size_t kept = w->process.access_count;
        uint32_t index =
            world_touch(w, shares[i].name, shares[i].parent_bits | shares[i].child_bits);
        w->process.access_count = kept;
        if (shares[i].parent_bits)
            w->accesses[w->process.access_count++] =
                (struct trace_access){ .path = index, .bits = shares[i].parent_bits };
        if (shares[i].child_bits)
            p.accesses[p.processes[2].access_count++] =
                (struct trace_access){ .path = index, .bits = shares[i].child_bits };
    }
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
        if (shares[i].after &&
            (!shares[i].before || strcmp(shares[i].after, shares[i].before) != 0))
            world_put(w, shares[i].name, shares[i].after);
        else if (!shares[i].after && shares[i].before)
            assert_int_equal(unlink(world_at(w, shares[i].name)), 0);
    }
    world_run_ends(w);
    pair_ends(&p);

    struct cascade *c = world_must_build(w, NULL);
    assert_int_equal(c->node_count, 2);
    for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s", world_at(w, shares[i].name));
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
    world_put(w, "bin/run", "#!/bin/sh -e\n");
    assert_int_equal(symlink("bin", world_at(w, "link")), 0);
    world_run_ends(w);
    pair_ends(&p);
    char name[PATH_MAX], script[PATH_MAX], dash[PATH_MAX];
    snprintf(name, sizeof(name), "%s", world_at(w, "link/run"));
    snprintf(script, sizeof(script), "%s", world_at(w, "bin/run"));
    assert_non_null(realpath("/bin/sh", dash));
    char *argv[] = { (char *)"/bin/sh", (char *)"-e", name, NULL };
    p.processes[2].executable = dash;
    p.processes[2].exec_name = "link/run";
    p.processes[2].argv = argv;
    p.processes[2].argc = 3;

    struct cascade *c = world_must_build(w, NULL);
    expect_in(c, 0, script, "the script", MANIFEST_TRUSTED, MANIFEST_EXEC);
    expect_in(c, 0, world_at(w, "link"), "the link", MANIFEST_TRUSTED, 0);
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
        uint32_t index = world_touch(w, rows[i].name, rows[i].parent | rows[i].fork);
        w->process.access_count = kept;
        if (rows[i].parent)
            w->accesses[w->process.access_count++] =
                (struct trace_access){ .path = index, .bits = rows[i].parent };
        if (rows[i].fork)
            p.accesses[count++] = (struct trace_access){ .path = index, .bits = rows[i].fork };
        world_put(w, rows[i].name, "x");
    }
    world_run_ends(w);
    p.processes[0] = p.processes[1] = w->process;
    p.processes[1].parent = 0;
    p.processes[1].how = TRACE_HOW_FORK;
    p.processes[1].accesses = p.accesses;
    p.processes[1].access_count = count;
    w->trace.process_count = 2;
    struct cascade *c = world_must_build(w, NULL);
    assert_int_equal(c->node_count, 1);
    assert_true(c->nodes[0].flags & MANIFEST_FORKS);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        world_expect(w, c, rows[i].name, MANIFEST_ALLOWED, rows[i].flags);
    cascade_free(c);
    world_end(w);
}

/* Nobody may trust what another one writes. */
static void test_written_elsewhere(void **state UNUSED)
{
    struct pair p = { 0 };
    pair_start(&p);
    struct world *w = &p.w;
    world_put(w, "f", "x");
    uint32_t f = world_touch(w, "f", R | W);
    w->paths[f].read_before_written = true;
    w->accesses[f].bits = R;
    p.accesses[p.processes[2].access_count++] = (struct trace_access){ .path = f, .bits = T };
    world_run_ends(w);
    pair_ends(&p);
    struct err err = { 0 };
    assert_null(world_build(w, NULL, NULL, &err));
    assert_non_null(strstr(err.text, "--allow"));
    const char *allow = world_at(w, "f");
    const struct manifest_rules rules = { .allow = &allow, .allow_count = 1 };
    struct cascade *c = world_must_build(w, &rules);
    expect_in(c, 0, allow, "f", MANIFEST_ALLOWED, 0);
    expect_in(c, 1, allow, "f", MANIFEST_ALLOWED, 0);
    cascade_free(c);
    world_end(w);
}

/* A rule's programs are told: the root, and what touched its path. */
static void test_trust_is_told(void **state UNUSED)
{
    static const struct {
        const char *trust, *told; /* the first %s: the rule's path; the second: the root's label */
        bool in_child;
    } rows[] = {
        { "both", "--trust '%s' is for '%s', and for what touched it: 'env'", true },
        { "", "--trust '%s' is for '%s', and for what touched it: 'env'", true },
        { "mine", "--trust '%s' is for '%s' alone: no other program touched it", false },
    };
    struct pair p = { 0 };
    pair_start(&p);
    struct world *w = &p.w;
    world_put(w, "mine", "x");
    world_put(w, "both", "x");
    world_touch(w, "mine", R);
    uint32_t both = world_touch(w, "both", R);
    p.accesses[p.processes[2].access_count++] =
        (struct trace_access){ .path = both, .bits = TRACE_STAT };
    world_run_ends(w);
    for (size_t alone = 0; alone < 2; alone++) {
        if (!alone)
            pair_ends(&p);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
            char path[PATH_MAX], want[2 * PATH_MAX];
            snprintf(path, sizeof(path), "%s", world_at(w, rows[i].trust));
            const char *trust = path;
            const struct manifest_rules rules = { .trust = &trust, .trust_count = 1 };
            struct manifest_report report = { 0 };
            struct err err = { 0 };
            struct cascade *c = world_build(w, &rules, &report, &err);
            if (!c)
                fail_msg("%s: %s", rows[i].trust, err.text);
            snprintf(want, sizeof(want), rows[i].told, path, c->nodes[0].label);
            size_t told = 0;
            for (size_t k = 0; k < report.note_count; k++)
                if (strcmp(report.notes[k], want) == 0 || strstr(report.notes[k], "--trust"))
                    told += strcmp(report.notes[k], want) == 0 ? 1 : 100;
            /* One program alone needs no telling. */
            if (told != !alone)
                fail_msg("'%s', %zu programs: the note is not '%s'", rows[i].trust, c->node_count,
                         want);
            if (!alone)
                expect_in(c, 1, world_at(w, "both"), rows[i].trust,
                          rows[i].in_child ? MANIFEST_TRUSTED : MANIFEST_NAMED, 0);
            cascade_free(c);
            manifest_report_done(&report);
        }
        w->trace.process_count = 1;
    }
    world_end(w);
}

static void test_several_traces(void **state UNUSED)
{
    struct world a, b;
    world_start(&a);
    world_put(&a, "one", "1");
    world_put(&a, "both", "1");
    world_touch(&a, "one", R);
    world_touch(&a, "both", R);
    world_run_ends(&a);
    world_start(&b);
    char own[PATH_MAX];
    strcpy(own, b.root);
    strcpy(b.root, a.root);
    world_put(&b, "two", "2");
    world_touch(&b, "two", R);
    world_touch(&b, "one", TRACE_STAT);
    uint32_t both = world_touch(&b, "both", R);
    world_run_ends(&b);

    const struct trace *traces[] = { &a.trace, &b.trace };
    const struct manifest_rules rules = { 0 };
    struct cascade *c = NULL;
    struct err err = { 0 };
    if (manifest_build(traces, 2, &rules, &c, NULL, &err) < 0)
        fail_msg("%s", err.text);
    world_expect(&a, c, "one", MANIFEST_TRUSTED, 0);
    world_expect(&a, c, "two", MANIFEST_TRUSTED, 0);
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
        cmocka_unit_test(test_shares),        cmocka_unit_test(test_started),
        cmocka_unit_test(test_fork_reads),    cmocka_unit_test(test_written_elsewhere),
        cmocka_unit_test(test_trust_is_told), cmocka_unit_test(test_several_traces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
