#include "manifest/tree.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "core/program_key.h"
#include "manifest/table.h"
#include "util/fs.h"

#define LABEL_TEXT_MAX 40

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "building the manifest: out of memory");
}

/* ---- one start ---- */

/* The path of a script: resolved on this machine, or where that fails by its letters. */
static char *script_path(const struct trace_process *p, const char *name)
{
    char joined[PATH_MAX], *end = joined;
    char *resolved;
    int n = name[0] == '/' ? snprintf(joined, sizeof(joined), "%s", name)
                           : snprintf(joined, sizeof(joined), "%s/%s", p->cwd, name);
    if (n < 0 || (size_t)n >= sizeof(joined))
        return strdup(name);
    /* /dev/stdin would be ours. */
    if (!path_built_in(joined) && (resolved = realpath(joined, NULL)))
        return resolved;
    char *rest = strdup(joined), *walk = rest;
    if (!rest)
        return NULL;
    for (char *part; (part = strsep(&walk, "/"));) {
        if (part[0] == '\0' || strcmp(part, ".") == 0)
            continue;
        if (strcmp(part, "..") == 0) {
            while (end > joined && *--end != '/')
                ;
            continue;
        }
        size_t size = strlen(part);
        *end++ = '/';
        memmove(end, part, size);
        end += size;
    }
    if (end == joined)
        *end++ = '/';
    *end = '\0';
    free(rest);
    return strdup(joined);
}

int tree_start(const struct trace_process *p, struct cascade_start *ret)
{
    struct program_start s =
        program_start(p->executable, (uint32_t)p->argc, (const char *const *)p->argv);
    *ret = (struct cascade_start){ .executable = strdup(p->executable), .kind = s.kind };
    if (!ret->executable)
        return -ENOMEM;
    if (s.arg == 0)
        return 0;
    if (s.kind == PROGRAM_SCRIPT) {
        ret->text = script_path(p, p->argv[s.arg]);
    } else {
        size_t size = strlen(p->argv[s.arg]);
        ret->text = malloc(size + 1);
        if (ret->text)
            ret->text[program_text(s, p->argv[s.arg], size, ret->text)] = '\0';
    }
    return ret->text ? 0 : -ENOMEM;
}

char *tree_label(const struct cascade_start *start)
{
    const char *text = start->text ? start->text : "";
    const char *middle = " ";
    switch (start->kind) {
    case PROGRAM_SCRIPT: text = base_name(text); break;
    case PROGRAM_MODULE: middle = " -m "; break;
    case PROGRAM_COMMAND: middle = " -c "; break;
    default:
        middle = "";
        text = "";
        break;
    }
    /* Not into the middle of a character of UTF-8. */
    size_t size = strlen(text);
    if (size > LABEL_TEXT_MAX)
        for (size = LABEL_TEXT_MAX; size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80; size--)
            ;
    char *label;
    if (asprintf(&label, "%s%s%.*s%s", base_name(start->executable), middle, (int)size, text,
                 text[size] ? "..." : "") < 0)
        return NULL;
    for (char *c = label; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    return label;
}

/* ---- programs ---- */

struct known {
    UT_hash_handle hh;
    size_t program;
    char key[]; /* executable, NUL, kind, text */
};

struct builder {
    struct tree *tree;
    const struct trace *const *traces;
    const struct manifest_rules *rules;
    struct manifest_report *report;
    struct err *err;
    struct known *known;
    size_t capacity, edge_capacity;
    bool *merged; /* rules->merge[i] has met a program */
};

static bool is_merged(struct builder *b, const char *executable)
{
    bool found = false;
    for (size_t i = 0; i < b->rules->merge_count; i++) {
        const char *rule = b->rules->merge[i];
        char resolved[PATH_MAX];
        if (strcmp(strchr(rule, '/') ? executable : base_name(executable), rule) == 0 ||
            (strchr(rule, '/') && realpath(rule, resolved) && strcmp(resolved, executable) == 0))
            b->merged[i] = found = true;
    }
    return found;
}

/* Takes *start over. */
static int find_program(struct builder *b, struct cascade_start *start, const struct trace *trace,
                        const struct trace_process *process, size_t *ret)
{
    struct tree *t = b->tree;
    const char *text = start->text ? start->text : "";
    size_t head = strlen(start->executable) + 1, size = head + 1 + strlen(text);
    struct known *k = calloc(1, sizeof(*k) + size + 1), *there;
    if (!k)
        return no_memory(b->err);
    memcpy(k->key, start->executable, head);
    k->key[head] = (char)start->kind;
    strcpy(k->key + head + 1, text);
    HASH_FIND(hh, b->known, k->key, size, there);
    if (there) {
        free(k);
        cascade_start_done(start);
        *ret = there->program;
        return 0;
    }
    if (t->program_count == b->capacity) {
        size_t capacity = b->capacity * 2 + 16;
        struct tree_program *grown = realloc(t->programs, capacity * sizeof(*grown));
        if (!grown) {
            free(k);
            return no_memory(b->err);
        }
        t->programs = grown;
        b->capacity = capacity;
    }
    k->program = *ret = t->program_count;
    t->programs[t->program_count++] = (struct tree_program){
        .start = *start, .trace = trace, .process = process, .node = TREE_NONE
    };
    HASH_ADD_KEYPTR(hh, b->known, k->key, size, k);
    *start = (struct cascade_start){ 0 };
    return 0;
}

static int add_edge(struct builder *b, size_t from, size_t to)
{
    struct tree *t = b->tree;
    if (t->edge_count == b->edge_capacity) {
        size_t capacity = b->edge_capacity * 2 + 16;
        struct tree_edge *grown = realloc(t->edges, capacity * sizeof(*grown));
        if (!grown)
            return no_memory(b->err);
        t->edges = grown;
        b->edge_capacity = capacity;
    }
    t->edges[t->edge_count++] = (struct tree_edge){ from, to };
    return 0;
}

/* Whether the run itself made what it started: such a program cannot be measured before. */
static bool made_by_run(const struct trace *trace, const struct trace_process *p)
{
    if (p->executable_path == TRACE_NO_PATH)
        return true;
    const struct trace_path *path = &trace->paths[p->executable_path];
    return !trace_existed_before(path) && (path->bits & (TRACE_CREATED | TRACE_RENAMED_TO));
}

/* Its name is its key, and one that was made up at run time will be another next time. */
static void note_script(struct builder *b, const struct trace *trace,
                        const struct cascade_start *start)
{
    for (size_t i = 0; i < trace->path_count; i++) {
        const struct trace_path *p = &trace->paths[i];
        if (strcmp(p->path, start->text) != 0)
            continue;
        if (!trace_existed_before(p) && (p->bits & (TRACE_CREATED | TRACE_RENAMED_TO)))
            manifest_note(b->report,
                          "'%s' is a script that the run made; if its name is another each time: "
                          "'--merge %s'",
                          start->text, base_name(start->executable));
        return;
    }
}

static int take_process(struct builder *b, size_t trace, size_t index)
{
    const struct trace *t = b->traces[trace];
    const struct trace_process *p = &t->processes[index];
    size_t *program_of = b->tree->program_of[trace];
    size_t parent = p->parent < index ? program_of[p->parent] : TREE_NONE;
    program_of[index] = TREE_NONE;
    if (index > 0 && parent == TREE_NONE)
        return 0;
    if (index > 0 && p->how != TRACE_HOW_EXEC) {
        program_of[index] = parent;
        return 0;
    }
    if (index > 0 && b->rules->exec_deny)
        return 0;
    if (index > 0 && made_by_run(t, p)) {
        manifest_note(b->report,
                      "'%s' was made and started by the run: it is in no manifest, and starting it "
                      "is refused",
                      p->executable ? p->executable : "(a program without path)");
        return 0;
    }
    if (!p->executable || p->executable_path == TRACE_NO_PATH)
        return err_set(b->err, -EINVAL, "the traced program has no path");

    struct cascade_start start = { 0 };
    int r = tree_start(p, &start);
    if (r < 0) {
        cascade_start_done(&start);
        return no_memory(b->err);
    }
    if (is_merged(b, p->executable)) {
        free(start.text);
        start.text = NULL;
        start.kind = PROGRAM_ANY;
    }
    size_t known = b->tree->program_count;
    r = find_program(b, &start, t, p, &program_of[index]);
    if (r < 0) {
        cascade_start_done(&start);
        return r;
    }
    const struct cascade_start *found = &b->tree->programs[program_of[index]].start;
    if (b->tree->program_count > known && found->kind == PROGRAM_SCRIPT)
        note_script(b, t, found);
    return index > 0 ? add_edge(b, parent, program_of[index]) : 0;
}

static int take_trace(struct builder *b, size_t trace)
{
    const struct trace *t = b->traces[trace];
    if (t->process_count == 0)
        return err_set(b->err, -EINVAL, "the trace holds no program");
    b->tree->program_of[trace] = calloc(t->process_count, sizeof(size_t));
    if (!b->tree->program_of[trace])
        return no_memory(b->err);
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->process_count; i++)
        r = take_process(b, trace, i);
    if (r == 0 && b->tree->program_of[trace][0] != 0)
        return err_set(b->err, -EINVAL,
                       "the traces are of different commands ('%s' and '%s', or other arguments): "
                       "only traces of one command merge%s",
                       b->traces[0]->processes[0].executable, t->processes[0].executable,
                       b->rules->args_host ? "" : " (--args host: whatever follows the script)");
    return r;
}

/* ---- order ---- */

static int compare_programs(const void *a, const void *b, void *programs)
{
    const struct tree_program *p = programs;
    return cascade_start_compare(&p[*(const size_t *)a].start, &p[*(const size_t *)b].start);
}

static int compare_edges(const void *a, const void *b)
{
    const struct tree_edge *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* The same order whatever the traces met first: the root's program, then by start. */
static int sort_programs(struct builder *b)
{
    struct tree *t = b->tree;
    size_t count = t->program_count;
    CLEANUP(free_p) size_t *order = calloc(count, sizeof(*order));
    CLEANUP(free_p) size_t *place = calloc(count, sizeof(*place));
    struct tree_program *sorted = calloc(count, sizeof(*sorted));
    if (!order || !place || !sorted) {
        free(sorted);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    qsort_r(order + 1, count - 1, sizeof(*order), compare_programs, t->programs);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = t->programs[order[i]];
        place[order[i]] = i;
    }
    free(t->programs);
    t->programs = sorted;
    for (size_t i = 0; i < t->edge_count; i++)
        t->edges[i] = (struct tree_edge){ place[t->edges[i].from], place[t->edges[i].to] };
    for (size_t i = 0; i < t->trace_count; i++)
        for (size_t k = 0; k < b->traces[i]->process_count; k++)
            if (t->program_of[i][k] != TREE_NONE)
                t->program_of[i][k] = place[t->program_of[i][k]];
    return 0;
}

static void unite_edges(struct tree *t)
{
    if (t->edge_count == 0)
        return;
    qsort(t->edges, t->edge_count, sizeof(*t->edges), compare_edges);
    size_t kept = 1;
    for (size_t i = 1; i < t->edge_count; i++)
        if (compare_edges(&t->edges[i], &t->edges[kept - 1]) != 0)
            t->edges[kept++] = t->edges[i];
    t->edge_count = kept;
}

/* ---- circles (Tarjan: strongly connected components) ---- */

struct circles {
    struct tree *t;
    size_t *first_edge; /* of a program; [count] is the end */
    size_t *number, *low, *stack;
    bool *on_stack;
    size_t *component;
    size_t next, depth, components;
};

static void visit(struct circles *c, size_t v)
{
    c->number[v] = c->low[v] = ++c->next;
    c->stack[c->depth++] = v;
    c->on_stack[v] = true;
    for (size_t i = c->first_edge[v]; i < c->first_edge[v + 1]; i++) {
        size_t w = c->t->edges[i].to;
        if (c->number[w] == 0) {
            visit(c, w);
            c->low[v] = c->low[w] < c->low[v] ? c->low[w] : c->low[v];
        } else if (c->on_stack[w] && c->number[w] < c->low[v]) {
            c->low[v] = c->number[w];
        }
    }
    if (c->low[v] != c->number[v])
        return;
    size_t w;
    do {
        w = c->stack[--c->depth];
        c->on_stack[w] = false;
        c->component[w] = c->components;
    } while (w != v);
    c->components++;
}

static void index_edges(const struct tree *t, size_t *first)
{
    size_t edge = 0;
    for (size_t v = 0; v <= t->program_count; v++) {
        while (edge < t->edge_count && t->edges[edge].from < v)
            edge++;
        first[v] = edge;
    }
}

static int find_circles(struct tree *t, size_t *component, size_t *ret_count)
{
    size_t n = t->program_count;
    size_t *memory = calloc(4 * n + 1, sizeof(*memory));
    bool *on_stack = calloc(n, sizeof(*on_stack));
    if (!memory || !on_stack) {
        free(memory);
        free(on_stack);
        return -ENOMEM;
    }
    struct circles c = {
        .t = t,
        .number = memory,
        .low = memory + n,
        .stack = memory + 2 * n,
        .first_edge = memory + 3 * n,
        .on_stack = on_stack,
        .component = component,
    };
    index_edges(t, c.first_edge);
    for (size_t v = 0; v < n; v++)
        if (c.number[v] == 0)
            visit(&c, v);
    *ret_count = c.components;
    free(memory);
    free(on_stack);
    return 0;
}

static int add_program(struct tree_node *node, size_t program)
{
    size_t *grown = realloc(node->programs, (node->program_count + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    node->programs = grown;
    grown[node->program_count++] = program;
    return 0;
}

static int make_nodes(struct tree *t)
{
    size_t components;
    CLEANUP(free_p) size_t *component = calloc(t->program_count, sizeof(*component));
    if (!component || find_circles(t, component, &components) < 0)
        return -ENOMEM;
    CLEANUP(free_p) size_t *node_of = calloc(components, sizeof(*node_of));
    t->nodes = calloc(components, sizeof(*t->nodes));
    if (!node_of || !t->nodes)
        return -ENOMEM;
    for (size_t i = 0; i < components; i++)
        node_of[i] = TREE_NONE;
    for (size_t p = 0; p < t->program_count; p++) {
        size_t *node = &node_of[component[p]];
        if (*node == TREE_NONE)
            *node = t->node_count++;
        t->programs[p].node = *node;
        if (add_program(&t->nodes[*node], p) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* A merge widens: each of its programs may then do what any of them did. */
static void note_circles(const struct builder *b)
{
    const struct tree *t = b->tree;
    for (size_t i = 0; i < t->node_count; i++) {
        if (t->nodes[i].program_count < 2)
            continue;
        char text[600] = "";
        for (size_t k = 0; k < t->nodes[i].program_count && strlen(text) < 400; k++) {
            CLEANUP(free_p) char *label = tree_label(&t->programs[t->nodes[i].programs[k]].start);
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s'%s'", k ? ", " : "",
                     label ? label : "");
        }
        manifest_note(
            b->report,
            "%zu programs start each other and share one node, with the permissions of all: "
            "%s",
            t->nodes[i].program_count, text);
    }
}

static void find_forks(const struct builder *b)
{
    struct tree *t = b->tree;
    for (size_t i = 0; i < t->trace_count; i++)
        for (size_t k = 1; k < b->traces[i]->process_count; k++) {
            enum trace_how how = b->traces[i]->processes[k].how;
            size_t node = tree_node_of(t, i, k);
            if (node != TREE_NONE && (how == TRACE_HOW_FORK || how == TRACE_HOW_CLONE))
                t->nodes[node].forks = true;
        }
}

/* --merge PROGRAM: all its starts are one node, also those that it makes itself and no trace saw. */
static int add_self_edges(struct builder *b)
{
    for (size_t i = 0; i < b->tree->program_count; i++)
        if (b->tree->programs[i].start.kind == PROGRAM_ANY && add_edge(b, i, i) < 0)
            return -ENOMEM;
    return 0;
}

/* ---- all ---- */

static int build(struct builder *b)
{
    struct tree *t = b->tree;
    int r = 0;
    for (size_t i = 0; r == 0 && i < t->trace_count; i++)
        r = take_trace(b, i);
    if (r < 0)
        return r;
    for (size_t i = 0; i < b->rules->merge_count; i++)
        if (!b->merged[i])
            return err_set(b->err, -EINVAL,
                           "--merge '%s': no traced program is that (the executable's path, links "
                           "resolved, or its name)",
                           b->rules->merge[i]);
    if (t->program_count > CASCADE_NODES_MAX)
        return err_set(b->err, -EFBIG,
                       "%zu different programs; %u fit. '--merge PROGRAM' makes one of all starts "
                       "of an executable",
                       t->program_count, CASCADE_NODES_MAX);
    if (add_self_edges(b) < 0)
        return no_memory(b->err);
    if (sort_programs(b) < 0)
        return no_memory(b->err);
    unite_edges(t);
    if (make_nodes(t) < 0)
        return no_memory(b->err);
    find_forks(b);
    note_circles(b);
    return 0;
}

int tree_build(const struct trace *const *traces, size_t trace_count,
               const struct manifest_rules *rules, struct manifest_report *report, struct tree *ret,
               struct err *err)
{
    *ret = (struct tree){ .trace_count = trace_count };
    ret->program_of = calloc(trace_count + 1, sizeof(*ret->program_of));
    struct builder b = {
        .tree = ret, .traces = traces, .rules = rules, .report = report, .err = err
    };
    b.merged = calloc(rules->merge_count + 1, sizeof(*b.merged));
    int r = ret->program_of && b.merged ? build(&b) : no_memory(err);
    struct known *k, *next;
    HASH_ITER(hh, b.known, k, next)
    {
        HASH_DEL(b.known, k);
        free(k);
    }
    free(b.merged);
    return r;
}

void tree_done(struct tree *t)
{
    for (size_t i = 0; i < t->program_count; i++)
        cascade_start_done(&t->programs[i].start);
    for (size_t i = 0; i < t->node_count; i++)
        free(t->nodes[i].programs);
    for (size_t i = 0; t->program_of && i < t->trace_count; i++)
        free(t->program_of[i]);
    free(t->programs);
    free(t->edges);
    free(t->nodes);
    free(t->program_of);
    *t = (struct tree){ 0 };
}

size_t tree_node_of(const struct tree *t, size_t trace, size_t process)
{
    size_t program = t->program_of[trace][process];
    return program == TREE_NONE ? TREE_NONE : t->programs[program].node;
}
