#include "cli/show_why.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/show_tree.h"
#include "core/program_key.h"
#include "manifest/net.h"
#include "manifest/tree.h"
#include "util/fs.h"

#define TRACES_MAX 256

/* One trace, and the node of each of its processes. */
struct evidence {
    const char *name;
    struct trace *trace;
    size_t *node_of; /* TREE_NONE: none */
};

struct why {
    struct evidence items[TRACES_MAX];
    size_t count;
    char *found; /* a name that was not given */
};

static void why_done(struct why *w)
{
    for (size_t i = 0; i < w->count; i++) {
        trace_free(w->items[i].trace);
        free(w->items[i].node_of);
    }
    free(w->found);
}

static bool is_entry(const struct cascade_entry *e, const struct cascade_start *s)
{
    if (e->start.kind == PROGRAM_ANY)
        return strcmp(e->start.executable, s->executable) == 0;
    return cascade_start_compare(&e->start, s) == 0;
}

static size_t find_node(const struct cascade *c, const struct trace_process *p)
{
    struct cascade_start start = { 0 };
    size_t found = TREE_NONE;
    if (p->executable && tree_start(p, &start) == 0)
        for (size_t i = 0; i < c->node_count && found == TREE_NONE; i++)
            for (size_t k = 0; k < c->nodes[i].entry_count; k++)
                if (is_entry(&c->nodes[i].entries[k], &start))
                    found = i;
    cascade_start_done(&start);
    return found;
}

static int add_trace(struct why *w, const struct cascade *c, const char *name, struct err *err)
{
    if (w->count == TRACES_MAX)
        return err_set(err, -E2BIG, "more than %d traces", TRACES_MAX);
    struct evidence *e = &w->items[w->count];
    *e = (struct evidence){ .name = name };
    int r = trace_load(name, &e->trace, err);
    if (r < 0)
        return r;
    w->count++;
    const struct trace *t = e->trace;
    e->node_of = calloc(t->process_count + 1, sizeof(*e->node_of));
    if (!e->node_of)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < t->process_count; i++) {
        const struct trace_process *p = &t->processes[i];
        bool forked = i > 0 && p->how != TRACE_HOW_EXEC && p->parent < i;
        e->node_of[i] = forked ? e->node_of[p->parent] : find_node(c, p);
    }
    return 0;
}

/* As the cache of `run` has it: FOLDER/{trace,cascade.json,bundle.sgx}. */
static int add_beside(struct why *w, const struct cascade *c, const char *path, struct err *err)
{
    CLEANUP(free_p) char *resolved = realpath(path, NULL);
    char *slash = resolved ? strrchr(resolved, '/') : NULL;
    if (!slash)
        return 0;
    if (asprintf(&w->found, "%.*s/trace", (int)(slash - resolved), resolved) < 0) {
        w->found = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    return access(w->found, F_OK) == 0 ? add_trace(w, c, w->found, err) : 0;
}

/* ---- what is printed ---- */

static void print_process(const struct trace *t, size_t index, const char *verb)
{
    const struct trace_process *p = &t->processes[index];
    struct cascade_start start = { 0 };
    CLEANUP(free_p) char *label = NULL;
    if (p->executable && tree_start(p, &start) == 0)
        label = tree_label(&start);
    cascade_start_done(&start);
    printf("    process %zu (pid %" PRIu32 ", ", index, p->pid);
    show_text(label ? label : "?");
    printf("%s): %s\n", p->how == TRACE_HOW_EXEC || index == 0 ? "" : ", forked", verb);
}

/* Of process i on the path, on the folder that lists it, and as the program that it started. How many
 * lines. */
static size_t print_evidence(const struct trace *t, size_t i, const char *path, uint32_t path_index,
                             uint32_t folder_index)
{
    const struct trace_process *p = &t->processes[i];
    const struct trace_access *a =
        path_index == TRACE_NO_PATH ? NULL : trace_access_find(p, path_index);
    char bits[256];
    size_t lines = 0;
    if (a) {
        print_process(t, i, trace_bits_text(a->bits, bits, sizeof(bits)));
        lines++;
    }
    a = folder_index == TRACE_NO_PATH ? NULL : trace_access_find(p, folder_index);
    if (a && (a->bits & TRACE_LISTED)) {
        print_process(t, i, "listed the folder that holds it");
        lines++;
    }
    for (size_t k = i + 1; k < t->process_count; k++) {
        const struct trace_process *child = &t->processes[k];
        if (child->how != TRACE_HOW_EXEC || child->parent != i || !child->executable ||
            strcmp(child->executable, path) != 0)
            continue;
        snprintf(bits, sizeof(bits), "started it, as process %zu", k);
        print_process(t, i, bits);
        lines++;
    }
    return lines;
}

static uint32_t folder_of(const struct trace *t, const char *path)
{
    const char *slash = strrchr(path, '/');
    char folder[PATH_MAX];
    if (!slash || slash[1] == '\0')
        return TRACE_NO_PATH;
    snprintf(folder, sizeof(folder), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return trace_path_find(t, folder);
}

static size_t print_trace(const struct evidence *e, size_t node, const char *path)
{
    uint32_t index = trace_path_find(e->trace, path);
    uint32_t folder = folder_of(e->trace, path);
    size_t lines = 0;
    for (size_t i = 0; i < e->trace->process_count; i++)
        if (node == SIZE_MAX || e->node_of[i] == node)
            lines += print_evidence(e->trace, i, path, index, folder);
    return lines;
}

static bool touched(const struct evidence *e, size_t node, const char *path)
{
    uint32_t index = trace_path_find(e->trace, path);
    for (size_t i = 0; index != TRACE_NO_PATH && i < e->trace->process_count; i++)
        if (e->node_of[i] == node && trace_access_find(&e->trace->processes[i], index))
            return true;
    return false;
}

static void print_node(const struct why *w, const struct cascade *c, size_t node, const char *path)
{
    const struct cascade_file *f = cascade_find(&c->nodes[node], path);
    printf("node %zu: ", node);
    show_text(c->nodes[node].label);
    if (f)
        printf(": %s%s%s\n", cascade_class_name(f->class),
               f->flags & MANIFEST_OUTPUT ? ", an output" : "",
               f->flags & MANIFEST_EXEC ? ", may be executed" : "");
    else
        puts(": no record; what is below a folder that is allowed or scratch goes with it");
    size_t lines = 0;
    for (size_t i = 0; i < w->count; i++) {
        printf("  %s\n", w->items[i].name);
        size_t here = print_trace(&w->items[i], node, path);
        if (here == 0)
            puts("    no process of this node touched it");
        lines += here;
    }
    if (f && w->count && lines == 0)
        puts("  it is there by a rule (--trust, --package), as a folder on the way to others, or "
             "because "
             "something else needs it: a library's libraries, a .py with its .pyc");
}

/* ---- a network rule ---- */

bool show_why_is_rule(const char *text)
{
    struct manifest_net rule;
    return net_parse(text, &rule) == 0;
}

/* What processes of the node asked for that the rule covers. How many lines. */
static size_t print_sockets(const struct evidence *e, size_t node, const struct manifest_net *rule)
{
    size_t lines = 0;
    for (size_t i = 0; i < e->trace->process_count; i++) {
        const struct trace_process *p = &e->trace->processes[i];
        for (size_t k = 0; k < p->socket_count; k++) {
            const struct trace_socket *s = &p->sockets[k];
            char verb[320];
            if ((node != SIZE_MAX && e->node_of[i] != node) || !net_covers_socket(rule, s))
                continue;
            snprintf(verb, sizeof(verb), "%s %s%s%s%s",
                     s->bits & TRACE_BOUND ? "bound" : "connected or sent to", s->text,
                     s->local_text[0] ? " (as " : "", s->local_text, s->local_text[0] ? ")" : "");
            print_process(e->trace, i, verb);
            lines++;
        }
    }
    return lines;
}

static bool has_rule(const struct cascade_node *n, const char *rule)
{
    for (size_t i = 0; i < n->net_count; i++)
        if (strcmp(n->net[i], rule) == 0)
            return true;
    return false;
}

static void why_rule(const struct why *w, const struct cascade *c, size_t only, const char *text)
{
    struct manifest_net rule;
    size_t shown = 0;
    if (net_parse(text, &rule) < 0)
        return;
    for (size_t i = 0; i < c->node_count; i++) {
        if ((only != SIZE_MAX && only != i) || !has_rule(&c->nodes[i], text))
            continue;
        printf("node %zu: ", i);
        show_text(c->nodes[i].label);
        printf(": %s\n", text);
        size_t lines = 0;
        for (size_t k = 0; k < w->count; k++) {
            printf("  %s\n", w->items[k].name);
            lines += print_sockets(&w->items[k], i, &rule);
        }
        if (w->count && lines == 0)
            puts("  no process of this node asked for it: it is there by --listen or --connect");
        shown++;
    }
    if (shown == 0)
        puts("no node has this rule");
}

int show_why(const char *path, const struct cascade *c, size_t node, const struct options *options,
             struct err *err)
{
    CLEANUP(why_done) struct why w = { .count = 0 };
    int r = 0;
    for (size_t i = 0; r == 0 && i < options->traces.count; i++)
        r = add_trace(&w, c, options->traces.items[i], err);
    if (r == 0 && options->traces.count == 0)
        r = add_beside(&w, c, path, err);
    if (r < 0)
        return r;
    size_t shown = 0;
    bool rule = show_why_is_rule(options->why);
    if (rule)
        why_rule(&w, c, node, options->why);
    for (size_t i = 0; i < c->node_count && !rule; i++) {
        bool wanted = node == i;
        if (node == SIZE_MAX) {
            wanted = cascade_find(&c->nodes[i], options->why) != NULL;
            for (size_t k = 0; k < w.count && !wanted; k++)
                wanted = touched(&w.items[k], i, options->why);
        }
        if (!wanted)
            continue;
        print_node(&w, c, i, options->why);
        shown++;
    }
    if (shown == 0 && !rule)
        printf("no node has a record of it%s\n",
               w.count ? ", and no traced process touched it" : "");
    if (w.count == 0)
        cli_note("--trace FILE shows which process did what");
    return 0;
}

void show_why_trace(const char *name, const struct trace *trace, const char *path)
{
    struct evidence e = { .name = name, .trace = (struct trace *)(uintptr_t)trace };
    struct manifest_net rule;
    if (net_parse(path, &rule) == 0) {
        if (print_sockets(&e, SIZE_MAX, &rule) == 0)
            puts("    no process asked for it");
    } else if (print_trace(&e, SIZE_MAX, path) == 0)
        puts("    no process touched it");
}
