/*
 * What the traces gave to the programs of a node: variables, folders and options that decide which code runs
 * (core/given.h). Internal to src/manifest. The root's own are pinned; what a node gives to itself is not held
 * against anything, as it has its rights already.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/given.h"
#include "core/manifest_view.h"
#include "manifest/table.h"
#include "manifest/tree.h"
#include "util/fs.h"

struct given {
    struct cascade_node *node;
    const struct cascade_node *root;
    const struct trace_process *first; /* the root's program in the trace that is looked at */
    const char **names;                /* variables, each once */
    size_t name_count, capacity;
    struct err *err;
};

static int no_memory(const struct given *g)
{
    return err_set(g->err, -ENOMEM, "building the manifest: out of memory");
}

/* The scratch folder with all below it that path lies in. */
static size_t scratch_folder(const void *ctx, const char *path, size_t size)
{
    const struct cascade_node *n = ctx;
    char text[MANIFEST_PATH_MAX + 1];
    if (size > MANIFEST_PATH_MAX)
        return 0;
    memcpy(text, path, size);
    text[size] = '\0';
    size_t temporary = given_temporary(path, size);
    if (temporary)
        return temporary;
    for (; size > 1; size = (size_t)(strrchr(text, '/') - text)) {
        text[size] = '\0';
        const struct cascade_file *f = cascade_find(n, text);
        if (f && f->class == MANIFEST_SCRATCH && (f->flags & MANIFEST_SUBTREE))
            return size;
    }
    return 0;
}

static bool same(const struct given *g, const struct cascade_given *have, uint32_t what,
                 const char *name, const char *value)
{
    if (have->what != what || strcmp(have->name ? have->name : "", name ? name : "") != 0)
        return false;
    switch (what) {
    case MANIFEST_GIVEN_VARIABLE:
        return given_value_same(value, have->value, scratch_folder, g->node);
    case MANIFEST_GIVEN_FOLDER: return strcmp(value, have->value) == 0;
    case MANIFEST_GIVEN_OPTIONS: return program_text_same(value, have->value);
    case MANIFEST_GIVEN_NAME:
        return program_text_same(value, have->value) ||
               given_value_same(value, have->value, scratch_folder, g->node);
    default: return true;
    }
}

static int add(struct given *g, uint32_t what, const char *name, const char *value)
{
    struct cascade_node *n = g->node;
    for (size_t i = 0; i < n->given_count; i++)
        if (same(g, &n->given[i], what, name, value))
            return 0;
    if (n->given_count == MANIFEST_GIVEN_MAX)
        return err_set(g->err, -EFBIG,
                       "'%s' was started with more than %u different folders, variables and "
                       "options; '--merge' makes one "
                       "program of all its starts, '--insecure_given all' takes what comes",
                       n->label, MANIFEST_GIVEN_MAX);
    if ((n->given_count & (n->given_count - 1)) == 0) {
        size_t capacity = n->given_count ? 2 * n->given_count : 1;
        struct cascade_given *grown = realloc(n->given, capacity * sizeof(*grown));
        if (!grown)
            return no_memory(g);
        n->given = grown;
    }
    struct cascade_given row = { .what = what };
    if ((name && !(row.name = strdup(name))) || (value && !(row.value = strdup(value)))) {
        free(row.name);
        return no_memory(g);
    }
    n->given[n->given_count++] = row;
    return 0;
}

/* ---- variables ---- */

static int add_name(struct given *g, const char *text, size_t size)
{
    for (size_t i = 0; i < g->name_count; i++)
        if (strncmp(g->names[i], text, size) == 0 && strcspn(g->names[i], "=") == size)
            return 0;
    if (g->name_count == g->capacity) {
        size_t capacity = 2 * g->capacity + 8;
        const char **grown = realloc(g->names, capacity * sizeof(*grown));
        if (!grown)
            return no_memory(g);
        g->names = grown;
        g->capacity = capacity;
    }
    g->names[g->name_count++] = text;
    return 0;
}

static int find_names(struct given *g, const struct trace_process *p)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->env_count; i++) {
        size_t size = strcspn(p->envp[i], "=");
        if (size && p->envp[i][size] && given_variable(p->envp[i], size) != GIVEN_FREE)
            r = add_name(g, p->envp[i], size);
    }
    return r;
}

static const struct cascade_env *root_env(const struct given *g, const char *name)
{
    for (size_t i = 0; i < g->root->env_count; i++)
        if (strcmp(g->root->env[i].name, name) == 0)
            return &g->root->env[i];
    return NULL;
}

/* What the variable will be in the enclave, where the root has only some of what it was traced with. */
static int take_variable(struct given *g, const struct trace_process *p, const char *name)
{
    const struct cascade_env *env = root_env(g, name);
    const char *value = trace_getenv(p, name), *at_root = trace_getenv(g->first, name);
    int r = 0;
    if (env && env->policy == MANIFEST_ENV_HOST)
        return add(g, MANIFEST_GIVEN_HOST, name, NULL);
    bool inherited = value ? at_root && strcmp(value, at_root) == 0 : !at_root;
    if (inherited && env)
        r = add(g, MANIFEST_GIVEN_VARIABLE, name, env->value);
    if (r == 0 && (!value || (inherited && !env)))
        return add(g, MANIFEST_GIVEN_UNSET, name, NULL);
    /* What must not stand in a cascade does not reach the program either. */
    if (r == 0 && !inherited && !process_secret(name))
        r = add(g, MANIFEST_GIVEN_VARIABLE, name, value);
    return r;
}

static int take_variables(struct given *g, const struct trace_process *p)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < g->name_count; i++) {
        CLEANUP(free_p) char *name = strndup(g->names[i], strcspn(g->names[i], "="));
        r = name ? take_variable(g, p, name) : no_memory(g);
    }
    return r;
}

/* ---- folder, options, names ---- */

static int take_folder(struct given *g, const struct trace_process *p)
{
    char path[MANIFEST_PATH_MAX + 1];
    if (!cascade_path_valid(p->cwd))
        return 0;
    if (path_built_in(p->cwd))
        return add(g, MANIFEST_GIVEN_FOLDER, NULL,
                   path_below(p->cwd, "/dev/shm") ? "/dev/shm" : p->cwd);
    /* Names can be made in it where it, or a folder above it, is no trusted one. */
    for (size_t size = strlen(p->cwd); size > 1; size = (size_t)(strrchr(path, '/') - path)) {
        snprintf(path, sizeof(path), "%.*s", (int)size, p->cwd);
        const struct cascade_file *f = cascade_find(g->node, path);
        if (f && (f->class == MANIFEST_SCRATCH ||
                  (f->class == MANIFEST_ALLOWED && (f->flags & MANIFEST_SUBTREE))))
            return add(g, MANIFEST_GIVEN_FOLDER, NULL, path);
    }
    return 0;
}

static int take_options(struct given *g, const struct trace_process *p)
{
    struct program_start start =
        program_start(p->executable, (uint32_t)p->argc, (const char *const *)p->argv);
    size_t size;
    if (start.arg == 0)
        return 0;
    CLEANUP(free_p) char *text = malloc(GIVEN_OPTIONS_BUF);
    if (!text)
        return no_memory(g);
    return given_options(p->executable, start, (uint32_t)p->argc, (const char *const *)p->argv,
                         text, &size)
               ? add(g, MANIFEST_GIVEN_OPTIONS, NULL, text)
               : 0;
}

static int take_name(struct given *g, const struct trace_process *p, const char *name)
{
    char path[MANIFEST_PATH_MAX + 1];
    if (name && name[0] == '-') /* a login shell's */
        return add(g, MANIFEST_GIVEN_NAME, NULL, name);
    if (!name || !strchr(name, '/'))
        return 0;
    int n = snprintf(path, sizeof(path), "%s%s%s", name[0] == '/' ? "" : p->cwd,
                     name[0] == '/' ? "" : "/", name);
    const struct cascade_file *f =
        n > 0 && (size_t)n < sizeof(path) ? cascade_find(g->node, path) : NULL;
    if (f && (f->class == MANIFEST_TRUSTED || f->class == MANIFEST_NAMED) && !f->target)
        return 0;
    return add(g, MANIFEST_GIVEN_NAME, NULL, name);
}

/* ---- all ---- */

/* A start by another node. */
static bool is_start(const struct tree *tree, size_t node, const struct trace *trace, size_t index,
                     size_t process)
{
    const struct trace_process *p = &trace->processes[process];
    return p->how == TRACE_HOW_EXEC && tree_node_of(tree, index, process) == node &&
           p->parent < process && tree_node_of(tree, index, p->parent) != node;
}

static bool any_value(const struct cascade_node *n, const char *name)
{
    for (size_t i = 0; i < n->given_count; i++)
        if ((n->given[i].what == MANIFEST_GIVEN_HOST ||
             n->given[i].what == MANIFEST_GIVEN_INSECURE) &&
            strcmp(n->given[i].name, name) == 0)
            return true;
    return false;
}

static bool has_value(const struct cascade_node *n, const char *name)
{
    for (size_t i = 0; i < n->given_count; i++)
        if (n->given[i].what == MANIFEST_GIVEN_VARIABLE && strcmp(n->given[i].name, name) == 0)
            return true;
    return false;
}

static int compare_given(const void *a, const void *b)
{
    return cascade_given_compare(a, b);
}

/* Without what says nothing: values of a variable that may have any, and that one may be missing which never has a value. */
static int tidy(struct cascade_node *n)
{
    CLEANUP(free_p) bool *drop = calloc(n->given_count + 1, sizeof(*drop));
    if (!drop)
        return -ENOMEM;
    for (size_t i = 0; i < n->given_count; i++) {
        const struct cascade_given *g = &n->given[i];
        if (g->what == MANIFEST_GIVEN_VARIABLE || g->what == MANIFEST_GIVEN_UNSET)
            drop[i] = any_value(n, g->name) ||
                      (g->what == MANIFEST_GIVEN_UNSET && !has_value(n, g->name));
    }
    size_t kept = 0;
    for (size_t i = 0; i < n->given_count; i++) {
        if (!drop[i]) {
            n->given[kept++] = n->given[i];
            continue;
        }
        free(n->given[i].name);
        free(n->given[i].value);
    }
    n->given_count = kept;
    if (kept)
        qsort(n->given, kept, sizeof(*n->given), compare_given);
    return 0;
}

static int take_all(struct given *g, const struct tree *tree, size_t node,
                    const struct trace *const *traces,
                    int (*take)(struct given *, const struct trace_process *))
{
    int r = 0;
    for (size_t i = 0; i < tree->trace_count; i++) {
        g->first = &traces[i]->processes[0];
        for (size_t k = 0; r == 0 && k < traces[i]->process_count; k++)
            if (is_start(tree, node, traces[i], i, k))
                r = take(g, &traces[i]->processes[k]);
    }
    return r;
}

static int take_start(struct given *g, const struct trace_process *p)
{
    int r = take_variables(g, p);
    if (r == 0)
        r = take_folder(g, p);
    if (r == 0)
        r = take_options(g, p);
    if (r == 0)
        r = take_name(g, p, p->argc ? p->argv[0] : NULL);
    return r < 0 ? r : take_name(g, p, p->exec_name);
}

int given_fill(struct cascade_node *n, const struct cascade_node *root, const struct tree *tree,
               size_t node, const struct trace *const *traces, const struct manifest_rules *rules,
               struct err *err)
{
    if (node == 0)
        return 0;
    for (size_t i = 0; i < n->entry_count; i++)
        if (n->entries[i].start.kind == PROGRAM_ANY && given_freely(n->entries[i].start.executable))
            return 0;
    struct given g = { .node = n, .root = root, .err = err };
    int r = 0;
    for (size_t i = 0; r == 0 && i < rules->insecure_given_count; i++) {
        const char *name = rules->insecure_given[i];
        if (strcmp(name, "all") == 0)
            n->flags |= MANIFEST_INSECURE_GIVEN;
        else
            r = add(&g, MANIFEST_GIVEN_INSECURE, name, NULL);
    }
    for (size_t i = 0; r == 0 && i < root->env_count; i++)
        if (given_variable(root->env[i].name, strlen(root->env[i].name)) != GIVEN_FREE)
            r = add_name(&g, root->env[i].name, strlen(root->env[i].name));
    if (r == 0)
        r = take_all(&g, tree, node, traces, find_names);
    if (r == 0)
        r = take_all(&g, tree, node, traces, take_start);
    free(g.names);
    return r == 0 && tidy(n) < 0 ? no_memory(&g) : r;
}
