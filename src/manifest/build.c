#include "manifest/build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/manifest_view.h"
#include "manifest/table.h"
#include "manifest/tree.h"
#include "util/dpkg.h"
#include "util/fs.h"

#define WRITE_BITS (TRACE_WRITTEN | TRACE_CREATED | TRACE_TRUNCATED | TRACE_RENAMED_TO)
#define GONE_BITS  (TRACE_REMOVED | TRACE_RENAMED_FROM)
#define RUN_BITS   (TRACE_MAPPED_EXEC | TRACE_EXECUTED)
#define MAKE_BITS  (TRACE_CREATED | TRACE_TRUNCATED | TRACE_RENAMED_TO)

void manifest_report_done(struct manifest_report *r)
{
    for (size_t i = 0; i < r->dropped_count; i++)
        free(r->dropped[i]);
    for (size_t i = 0; i < r->note_count; i++)
        free(r->notes[i]);
    free(r->dropped);
    free(r->notes);
    *r = (struct manifest_report){ 0 };
}

/* What building a node needs of the whole. */
struct plan {
    const struct trace *const *traces;
    const struct manifest_rules *rules;
    struct tree tree;
    uint32_t **tree_bits; /* [trace][path]: TRACE_* of all nodes */
    uint32_t **by_path;   /* [trace]: indexes of paths, sorted by path */
};

static int compare_paths(const void *a, const void *b, void *paths)
{
    const struct trace_path *p = paths;
    return strcmp(p[*(const uint32_t *)a].path, p[*(const uint32_t *)b].path);
}

/* The path in a trace, or NULL. */
static const struct trace_path *find_traced(const struct plan *plan, size_t trace, const char *path)
{
    const struct trace *t = plan->traces[trace];
    size_t low = 0, high = t->path_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct trace_path *p = &t->paths[plan->by_path[trace][mid]];
        int order = strcmp(p->path, path);
        if (order == 0)
            return p;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* ---- one traced path ---- */

static bool in_pycache(const char *path)
{
    return strstr(path, "/__pycache__/") ||
           (strlen(path) > 12 && strcmp(path + strlen(path) - 12, "/__pycache__") == 0);
}

static int refuse_rewritten(struct table *t, const char *path, const char *how)
{
    return err_set(t->err, -EINVAL,
                   "'%s' is %s by the program: what is trusted cannot change. "
                   "'--allow %s' gives the program the host's file, unprotected",
                   path, how, path);
}

/* Python's tempfile: "tmp" and eight characters. */
static bool random_name(const char *path)
{
    const char *base = strrchr(path, '/') + 1;
    return strncmp(base, "tmp", 3) == 0 &&
           strspn(base + 3, "abcdefghijklmnopqrstuvwxyz0123456789_") >= 8;
}

/* Below a folder that is temporary itself, whoever made it; that folder's record covers it. 1: so it is,
 * 0: not, -ENOMEM. */
static int below_temporary(struct table *t, const struct plan *plan, size_t trace, const char *path)
{
    if (path_below(path, "/tmp"))
        return 1;
    for (const char *p = strrchr(path, '/'); p > path; p = memrchr(path, '/', (size_t)(p - path))) {
        char folder[MANIFEST_PATH_MAX + 1];
        snprintf(folder, sizeof(folder), "%.*s", (int)(p - path), path);
        const struct trace_path *above = find_traced(plan, trace, folder);
        if (!above || !(above->bits & TRACE_CREATED) || !trace_is_temporary(above))
            continue;
        struct entry *e = table_get(t, folder, (size_t)(p - path));
        if (!e)
            return -ENOMEM;
        entry_claim(e, MANIFEST_SCRATCH, 0);
        e->folder = true;
        return 1;
    }
    return 0;
}

/* It was only asked for, in vain. */
static bool only_absent(uint32_t bits)
{
    return (bits & ~(uint32_t)TRACE_DENIED) == TRACE_ABSENT;
}

/* One trace reads what another one writes: no single class is right for both. */
static int claim(struct table *t, struct entry *e, uint32_t class, uint32_t flags)
{
    bool was_read = e->class == MANIFEST_TRUSTED && !S_ISDIR(e->now->before.mode);
    bool was_output = e->class == MANIFEST_ALLOWED && (e->flags & MANIFEST_OUTPUT);
    if ((was_read && class == MANIFEST_ALLOWED) || (was_output && class == MANIFEST_TRUSTED))
        return refuse_rewritten(t, e->path, "read in one traced run and written in another");
    entry_claim(e, class, flags);
    return 0;
}

/* It exists at the end and was made, or made anew, by the run without being read before. */
static int classify_output(struct table *t, struct entry *e)
{
    const struct trace_path *p = e->now;
    bool makes = e->bits_now & MAKE_BITS;
    if (path_below(e->path, "/tmp")) {
        if (makes && trace_exists_after(p) && S_ISREG(p->after.mode) && t->lost->count++ == 0)
            t->lost->first = strdup(e->path);
        return 0;
    }
    if (path_importable(e->path) || ((e->bits | e->tree_now) & RUN_BITS))
        return err_set(t->err, -EINVAL,
                       "'%s' is written by the program and could then be imported or loaded: "
                       "such a file is never open to the host. Make it before the traced run",
                       e->path);
    if (only_absent(e->bits_now)) {
        entry_claim(e, MANIFEST_ABSENT, 0);
        return 0;
    }
    /* An output is not there for a process before it has made it: one that looks at what another process
     * made, be it of the same program, needs the host's file as it is. */
    e->met |= e->met_now;
    return claim(t, e, MANIFEST_ALLOWED, makes ? MANIFEST_OUTPUT : 0);
}

/* The run wrote, made, moved or removed it. */
static int classify_changed(struct table *t, const struct plan *plan, size_t trace, struct entry *e)
{
    const struct trace_path *p = e->now;
    bool existed = trace_existed_before(p);
    bool exists = trace_exists_after(p);

    if (!p->after_known)
        return err_set(t->err, -EINVAL,
                       "the trace broke off before it could see what became of '%s'; trace again",
                       e->path);
    if (in_pycache(e->path)) {
        if (existed && exists)
            return claim(t, e, MANIFEST_TRUSTED, 0);
        e->dropped = true;
        return 0;
    }
    if (!existed && !exists) {
        int below = below_temporary(t, plan, trace, e->path);
        if (below)
            return below < 0 ? below : 0;
        if (only_absent(e->bits_now)) {
            entry_claim(e, MANIFEST_ABSENT, 0);
            return 0;
        }
        entry_claim(e, MANIFEST_SCRATCH, 0);
        if (random_name(e->path))
            table_note(t, "'%s' was temporary; below /tmp any name may be made, here this one only",
                       e->path);
        return 0;
    }
    if (!existed)
        return classify_output(t, e);
    if (S_ISDIR(p->before.mode) && exists && S_ISDIR(p->after.mode))
        return claim(t, e, MANIFEST_TRUSTED, 0);
    if (p->read_before_written)
        return refuse_rewritten(t, e->path, exists ? "read and rewritten" : "read and removed");
    if (!exists) {
        entry_claim(e, MANIFEST_ABSENT, 0);
        table_note(t, "'%s' was removed by the traced run: absent", e->path);
        return 0;
    }
    bool replaced = (e->tree_now & (TRACE_TRUNCATED | TRACE_RENAMED_TO)) ||
                    ((e->tree_now & TRACE_REMOVED) && (e->tree_now & TRACE_CREATED));
    if (!replaced)
        return refuse_rewritten(t, e->path, "extended or partly rewritten");
    return classify_output(t, e);
}

static bool runs_here(const struct entry *e)
{
    return (e->bits & TRACE_MAPPED_EXEC) ||
           ((e->bits & TRACE_EXECUTED) && path_starts_with(e->path, "", "#!"));
}

/* Servers on this machine that the C library asks by itself for names of users and hosts, and does without (nscd,
 * systemd's): the host would be the one that says who they are. */
static bool names_server(const char *path)
{
    return path_below(path, "/run/nscd") || path_below(path, "/var/run/nscd") ||
           (path_below(path, "/run/systemd") && !path_below(path, "/run/systemd/journal"));
}

static int classify_unchanged(struct table *t, struct entry *e)
{
    const struct trace_path *p = e->now;
    if (!trace_existed_before(p)) {
        /* Below a /tmp of its own a node may make any name. */
        if (!t->root || !path_below(e->path, "/tmp"))
            entry_claim(e, MANIFEST_ABSENT, 0);
        return 0;
    }
    switch (p->before.mode & S_IFMT) {
    case S_IFDIR:
        if (!(e->bits_now & TRACE_LISTED) || strcmp(e->path, "/tmp") == 0)
            return claim(t, e, MANIFEST_TRUSTED, 0);
        if (table_add_listed(t, p) < 0)
            return -ENOMEM;
        return claim(t, e, MANIFEST_TRUSTED, MANIFEST_LISTED);
    case S_IFLNK: return claim(t, e, MANIFEST_TRUSTED, 0);
    case S_IFREG:
        /* What it only gave to exec, another node runs: starts.c names it. */
        if (e->bits_now & (TRACE_READ | TRACE_MAPPED_EXEC))
            return claim(t, e, MANIFEST_TRUSTED, runs_here(e) ? MANIFEST_EXEC : 0);
        break;
    case S_IFSOCK:
        /* Another program's: the host's, which is what allowed says. */
        if (e->bits_now & TRACE_CONNECTED && !names_server(e->path))
            return claim(t, e, MANIFEST_ALLOWED, 0);
        break;
    default: break;
    }
    entry_claim(e, MANIFEST_NAMED, 0);
    return 0;
}

static int classify(struct table *t, const struct plan *plan, size_t trace, struct entry *e)
{
    if (e->own)
        return 0;
    const struct allow_rule *allow = table_allowed(t, e->path);
    bool writes = e->tree_now & (WRITE_BITS | GONE_BITS);
    /* /tmp is one for the tree: who meets what the run makes there has a part in it. */
    if (strcmp(e->path, "/tmp") == 0 ||
        (path_below(e->path, "/tmp") && writes && !trace_existed_before(e->now)))
        t->uses_tmp = true;
    if (allow && !allow->folder)
        return 0; /* rules.c has claimed it */
    if (allow && allow->folder) {
        /* Measured names win, but only what the program could run is measured here. */
        if (strcmp(e->path, allow->path) == 0 || writes)
            return 0;
        if (!path_importable(e->path) && !(e->bits & RUN_BITS))
            return 0;
    }
    return writes ? classify_changed(t, plan, trace, e) : classify_unchanged(t, e);
}

/* ---- traces ---- */

static int take_accesses(struct table *t, const struct trace *trace, const struct trace_process *p)
{
    for (size_t k = 0; k < p->access_count; k++) {
        const struct trace_access *a = &p->accesses[k];
        const struct trace_path *path = &trace->paths[a->path];
        if (!cascade_path_valid(path->path) || path_built_in(path->path))
            continue;
        struct entry *e = table_get(t, path->path, strlen(path->path));
        if (!e)
            return -ENOMEM;
        e->own = table_own(t, e->path);
        if (e->now != path) {
            e->bits_now = 0;
            e->met_now = false;
        }
        e->now = path;
        e->met_now |= !(a->bits & MAKE_BITS) && !only_absent(a->bits);
        e->bits_now |= a->bits;
        e->bits |= a->bits;
        /* What the last run saw is what must still be there. */
        if (!e->traced || trace->time >= e->traced_at) {
            e->traced = path;
            e->traced_at = trace->time;
        }
    }
    return 0;
}

/* What was renamed or linked to a path that stays belongs to the same class as that path. */
static void join_moves(struct table *t, const struct plan *plan, size_t index)
{
    const struct trace *trace = plan->traces[index];
    for (size_t i = trace->move_count; i-- > 0;) {
        const struct trace_move *m = &trace->moves[i];
        if (tree_node_of(&plan->tree, index, m->process) == TREE_NONE)
            continue;
        const char *from = trace->paths[m->from].path;
        const char *to = trace->paths[m->to].path;
        struct entry *a = table_find(t, from, strlen(from));
        struct entry *b = table_find(t, to, strlen(to));
        /* The other end may be in another node only. */
        bool stays = b ? b->class == MANIFEST_ALLOWED
                       : trace_exists_after(&trace->paths[m->to]) && !path_below(to, "/tmp");
        if (!a || a->class != MANIFEST_SCRATCH || !stays)
            continue;
        entry_claim(a, MANIFEST_ALLOWED, MANIFEST_OUTPUT);
        if (S_ISDIR(trace->paths[m->to].after.mode)) {
            a->folder = true; /* what was in it came along */
            if (b)
                b->folder = true;
        }
    }
}

static int take_trace(struct table *t, const struct plan *plan, size_t node, size_t index)
{
    const struct trace *trace = plan->traces[index];
    int r = 0;
    for (size_t i = 0; r == 0 && i < trace->process_count; i++)
        if (tree_node_of(&plan->tree, index, i) == node)
            r = take_accesses(t, trace, &trace->processes[i]);
    for (size_t i = 0; r == 0 && i < trace->path_count; i++) {
        const char *path = trace->paths[i].path;
        struct entry *e = table_find(t, path, strlen(path));
        if (!e || e->now != &trace->paths[i])
            continue;
        e->tree_now = plan->tree_bits[index][i];
        r = classify(t, plan, index, e);
    }
    if (r == 0)
        join_moves(t, plan, index);
    return r;
}

/* ---- what starting a program needs ---- */

static int take_starts(struct table *t, const struct plan *plan, size_t node)
{
    int r = 0;
    for (size_t i = 0; i < plan->tree.trace_count; i++)
        for (size_t k = 0; r == 0 && k < plan->traces[i]->process_count; k++) {
            const struct trace_process *p = &plan->traces[i]->processes[k];
            if (tree_node_of(&plan->tree, i, k) == node && node != 0)
                r = starts_folder(t, p);
            if (r == 0 && k > 0 && p->how == TRACE_HOW_EXEC && p->parent < k &&
                tree_node_of(&plan->tree, i, k) != TREE_NONE &&
                tree_node_of(&plan->tree, i, p->parent) == node)
                r = starts_other(t, plan->traces[i], p);
        }
    return r;
}

/* ---- all ---- */

/* What socketserver, logging and others import only when a request fails, and then in vain. */
static void note_python_server(struct table *t, const struct cascade_node *node)
{
    char path[MANIFEST_PATH_MAX + 1], owners[2][128];
    const struct entry *e = node->net_count ? t->entries : NULL;
    for (; e; e = e->hh.next)
        if (e->class == MANIFEST_NAMED && strcmp(strrchr(e->path, '/'), "/traceback.py") == 0)
            break;
    if (!e)
        return;
    int folder = (int)(strrchr(e->path, '/') - e->path);
    bool packaged = dpkg_owner(e->path, owners[0], sizeof(owners[0])) == 0;
    snprintf(path, sizeof(path), "%.*s/socketserver.py", folder, e->path);
    if (packaged && dpkg_owner(path, owners[1], sizeof(owners[1])) == 0)
        manifest_note(t->report,
                      "a server imports more when a request fails: '--package %s --package %s' "
                      "trusts Python's "
                      "library whole",
                      owners[0], owners[1]);
    else
        manifest_note(t->report,
                      "a server imports more when a request fails: '--trust %.*s' trusts Python's "
                      "library whole",
                      folder, e->path);
}

static int build_node(struct table *t, const struct plan *plan, struct cascade *c, size_t index)
{
    struct cascade_node *node = &c->nodes[index];
    const struct tree_node *from = &plan->tree.nodes[index];
    int r = process_fill(node, &plan->tree, index, plan->traces, t->rules, t->report, t->err);
    if (r < 0)
        return r;
    t->uid = node->uid;
    t->gid = node->gid;

    r = rules_prepare(t);
    for (size_t i = 0; r == 0 && i < plan->tree.trace_count; i++)
        r = take_trace(t, plan, index, i);
    if (r == 0)
        r = take_starts(t, plan, index);
    if (r == 0)
        r = rules_apply(t);
    for (size_t i = 0; r == 0 && i < from->program_count; i++)
        r = closure_add(t, plan->tree.programs[from->programs[i]].process);
    for (size_t i = 0; r == 0 && i < from->program_count; i++)
        r = rules_check_allowed(t, plan->tree.programs[from->programs[i]].process);
    if (r == 0)
        r = records_complete(t);
    if (r == 0)
        r = records_make(t, node);
    if (r == 0)
        r = given_fill(node, &c->nodes[0], &plan->tree, index, plan->traces, t->rules, t->err);
    if (r == 0)
        note_python_server(t, node);
    return r < 0 ? r : records_hash(c, index, t->err);
}

/* What one program reads as it was measured, no other may leave to the host. */
static int check_nodes(const struct cascade *c, struct err *err)
{
    for (size_t i = 0; i < c->node_count; i++)
        for (size_t k = 0; k < c->nodes[i].file_count; k++) {
            const struct cascade_file *f = &c->nodes[i].files[k];
            if (f->class != MANIFEST_ALLOWED || S_ISDIR(f->mode))
                continue;
            for (size_t other = 0; other < c->node_count; other++) {
                const struct cascade_file *o = cascade_find(&c->nodes[other], f->path);
                if (!o || o->class != MANIFEST_TRUSTED || S_ISDIR(o->mode))
                    continue;
                return err_set(
                    err, -EINVAL,
                    "'%s' is written by '%s' and trusted in '%s': what is trusted cannot "
                    "change. '--allow %s' gives both the host's file, unprotected",
                    f->path, c->nodes[i].label, c->nodes[other].label, f->path);
            }
        }
    return 0;
}

static int make_plan(struct plan *plan, size_t trace_count, struct manifest_report *report,
                     struct err *err)
{
    int r = tree_build(plan->traces, trace_count, plan->rules, report, &plan->tree, err);
    if (r == 0)
        r = node_rules_check(&plan->tree, plan->rules, err);
    if (r < 0)
        return r;
    plan->tree_bits = calloc(trace_count, sizeof(*plan->tree_bits));
    plan->by_path = calloc(trace_count, sizeof(*plan->by_path));
    if (!plan->tree_bits || !plan->by_path)
        return err_set(err, -ENOMEM, "building the manifest: out of memory");
    for (size_t i = 0; i < trace_count; i++) {
        const struct trace *trace = plan->traces[i];
        plan->tree_bits[i] = calloc(trace->path_count + 1, sizeof(**plan->tree_bits));
        plan->by_path[i] = calloc(trace->path_count + 1, sizeof(**plan->by_path));
        if (!plan->tree_bits[i] || !plan->by_path[i])
            return err_set(err, -ENOMEM, "building the manifest: out of memory");
        for (uint32_t k = 0; k < trace->path_count; k++)
            plan->by_path[i][k] = k;
        qsort_r(plan->by_path[i], trace->path_count, sizeof(uint32_t), compare_paths, trace->paths);
        for (size_t k = 0; k < trace->process_count; k++) {
            const struct trace_process *p = &trace->processes[k];
            for (size_t a = 0; tree_node_of(&plan->tree, i, k) != TREE_NONE && a < p->access_count;
                 a++)
                plan->tree_bits[i][p->accesses[a].path] |= p->accesses[a].bits;
        }
    }
    return 0;
}

static void plan_done(struct plan *plan)
{
    for (size_t i = 0; i < plan->tree.trace_count; i++) {
        if (plan->tree_bits)
            free(plan->tree_bits[i]);
        if (plan->by_path)
            free(plan->by_path[i]);
    }
    free(plan->tree_bits);
    free(plan->by_path);
    tree_done(&plan->tree);
}

static int build_nodes(const struct plan *plan, struct cascade *c, struct manifest_report *report,
                       struct err *err)
{
    struct lost lost = { 0 };
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->node_count; i++) {
        CLEANUP(node_rules_done) struct node_rules rules = { 0 };
        if (node_rules_make(&plan->tree, plan->traces, plan->rules, i, &rules) < 0)
            return err_set(err, -ENOMEM, "building the manifest: out of memory");
        struct table t = {
            .rules = &rules.rules,
            .report = report,
            .err = err,
            .lost = &lost,
            .root = i == 0,
            .uses_tmp = i == 0,
        };
        r = build_node(&t, plan, c, i);
        table_done(&t);
        if (r < 0 && i > 0)
            err_wrap(err, "'%s'", c->nodes[i].label ? c->nodes[i].label : "?");
    }
    if (r == 0 && lost.count == 1)
        manifest_note(report, "'%s' is below /tmp: private to the run, gone when it ends",
                      lost.first ? lost.first : "");
    else if (r == 0 && lost.count > 1)
        manifest_note(report,
                      "%zu files below /tmp ('%s', ...) are private to the run, gone when it ends",
                      lost.count, lost.first ? lost.first : "");
    free(lost.first);
    return r;
}

int manifest_build(const struct trace *const *traces, size_t trace_count,
                   const struct manifest_rules *rules, struct cascade **ret,
                   struct manifest_report *report, struct err *err)
{
    if (trace_count == 0 || traces[0]->process_count == 0)
        return err_set(err, -EINVAL, "the trace holds no program");
    CLEANUP(plan_done) struct plan plan = { .traces = traces, .rules = rules };
    int r = make_plan(&plan, trace_count, report, err);
    if (r < 0)
        return r;
    CLEANUP(cascade_free_p) struct cascade *c = cascade_new(plan.tree.node_count);
    if (!c)
        return err_set(err, -ENOMEM, "building the manifest: out of memory");
    node_rules_tell(&plan.tree, traces, rules, report);
    r = build_nodes(&plan, c, report, err);
    if (r == 0)
        r = check_nodes(c, err);
    if (r == 0)
        *ret = TAKE_PTR(c);
    return r;
}
