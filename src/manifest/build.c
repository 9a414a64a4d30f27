#include "manifest/build.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/manifest_view.h"
#include "manifest/hash.h"
#include "manifest/table.h"
#include "manifest/tree.h"
#include "util/dpkg.h"
#include "util/fs.h"

#define WRITE_BITS   (TRACE_WRITTEN | TRACE_CREATED | TRACE_TRUNCATED | TRACE_RENAMED_TO)
#define GONE_BITS    (TRACE_REMOVED | TRACE_RENAMED_FROM)
#define RUN_BITS     (TRACE_MAPPED_EXEC | TRACE_EXECUTED)
#define MAKE_BITS    (TRACE_CREATED | TRACE_TRUNCATED | TRACE_RENAMED_TO)
#define HASH_THREADS 2

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

static bool is_own(const struct table *t, const char *path)
{
    const char *base = strrchr(path, '/');
    if (strcmp(base + 1, ".sgxpy") == 0 || strstr(path, "/.sgxpy/"))
        return true;
    for (size_t i = 0; i < t->own_count; i++)
        if (path_below(path, t->own[i]))
            return true;
    return false;
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
static int classify_changed(struct table *t, const struct plan *plan, size_t trace,
                            struct entry *e)
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

static bool starts_with(const char *path, const char *name, const char *text)
{
    char full[MANIFEST_PATH_MAX + 32], head[64];
    snprintf(full, sizeof(full), "%s%s", path, name);
    CLEANUP(close_p) int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    size_t size = strlen(text);
    return fd >= 0 && read_full(fd, head, size) == (ssize_t)size && memcmp(head, text, size) == 0;
}

/* Mapped executable by this node, or a script that was started. */
static bool runs_here(const struct entry *e)
{
    return (e->bits & TRACE_MAPPED_EXEC) ||
           ((e->bits & TRACE_EXECUTED) && starts_with(e->path, "", "#!"));
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
        e->own = is_own(t, e->path);
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

/* ---- listings and ancestors ---- */

/* A trace, cascade or bundle of an earlier round: a listing with them would never measure the same
 * twice. */
static bool made_by_us(const struct entry *e)
{
    const char *dot = strrchr(strrchr(e->path, '/'), '.');
    if (!dot)
        return false;
    if (strcmp(dot, ".sgx") == 0)
        return S_ISDIR(e->st.st_mode) && starts_with(e->path, "/bundle.json", "{");
    if (strcmp(dot, ".trace") == 0)
        return S_ISREG(e->st.st_mode) && starts_with(e->path, "", "sgxpy-trace");
    if (strcmp(dot, ".json") == 0)
        return S_ISREG(e->st.st_mode) &&
               starts_with(e->path, "", "{\n \"format\": \"" CASCADE_FORMAT "\"");
    return false;
}

/* Every name that a traced listing showed gets at least a NAMED record. */
static int name_listed(struct table *t, const struct trace_path *dir)
{
    const char *head = strcmp(dir->path, "/") == 0 ? "" : dir->path;
    for (size_t i = 0; i < dir->name_count; i++) {
        char path[MANIFEST_PATH_MAX + 1];
        int n = snprintf(path, sizeof(path), "%s/%s", head, dir->names[i].name);
        if (n < 0 || (size_t)n >= sizeof(path) || !cascade_path_valid(path) || is_own(t, path))
            continue;
        struct entry *e = table_get(t, path, (size_t)n);
        if (!e || entry_stat(t, e) < 0)
            return -ENOMEM;
        /* Without a record: what is gone by now, what an allowed folder holds, what we made. */
        if (e->class || e->dropped || !e->exists || table_allowed(t, e->path) || made_by_us(e))
            continue;
        entry_claim(e, S_ISLNK(e->st.st_mode) ? MANIFEST_TRUSTED : MANIFEST_NAMED, 0);
    }
    return 0;
}

/* Gives every ancestor of e a record. An absent path below nothing: the first absent ancestor
 * stands for it. */
static int add_ancestors(struct table *t, struct entry *e)
{
    for (size_t length = 1; e->path[length - 1]; length++) {
        if (length > 1 && e->path[length] != '/')
            continue;
        if (e->path[1] == '\0' || e->path[length] == '\0')
            break;
        struct entry *up = table_get(t, e->path, length);
        if (!up || entry_stat(t, up) < 0)
            return -ENOMEM;
        if (up->class == MANIFEST_ABSENT || up->dropped) {
            e->class = e->class == MANIFEST_ABSENT ? 0 : e->class;
            if (e->class)
                return err_set(t->err, -ESTALE, "'%s' was not there when its folder was traced",
                               e->path);
            return 0;
        }
        if (up->class == MANIFEST_ALLOWED || up->class == MANIFEST_SCRATCH)
            continue;
        if (!up->exists && e->class == MANIFEST_ABSENT) {
            entry_claim(up, MANIFEST_ABSENT, 0);
            e->class = 0;
            return 0;
        }
        if (!up->exists || !S_ISDIR(up->st.st_mode)) {
            if (e->class != MANIFEST_ABSENT)
                return err_set(t->err, -ESTALE,
                               "'%s' changed since it was traced: '%s' is no "
                               "folder any more; trace it again (run: --retrace)",
                               e->path, up->path);
            e->class = 0;
            return 0;
        }
        entry_claim(up, MANIFEST_TRUSTED, 0);
    }
    return 0;
}

static int complete_records(struct table *t)
{
    int r = 0;
    for (struct entry *e = t->entries; t->uses_tmp && e; e = e->hh.next)
        if (e->class == MANIFEST_ABSENT && path_below(e->path, "/tmp"))
            e->class = 0;
    for (size_t i = 0; r == 0 && i < t->listed_count; i++)
        r = name_listed(t, t->listed[i]);
    /* Ancestors that this adds are appended, and complete already or reached. */
    for (struct entry *e = t->entries; r == 0 && e; e = e->hh.next)
        r = e->class && !e->dropped ? add_ancestors(t, e) : 0;
    if (r < 0)
        return r;
    if (t->uses_tmp) {
        struct entry *tmp = table_get(t, "/tmp", 4);
        if (!tmp)
            return -ENOMEM;
        tmp->class = 0;
        tmp->flags = 0;
        entry_claim(tmp, MANIFEST_SCRATCH, MANIFEST_SUBTREE);
        tmp->dropped = tmp->own = false;
    }
    struct entry *root = table_get(t, "/", 1);
    if (!root || entry_stat(t, root) < 0)
        return -ENOMEM;
    entry_claim(root, MANIFEST_TRUSTED, 0);
    return 0;
}

/* ---- records ---- */

static int compare_entries(const void *a, const void *b)
{
    return strcmp((*(struct entry *const *)a)->path, (*(struct entry *const *)b)->path);
}

static int changed(struct table *t, const struct entry *e, const char *what)
{
    return err_set(t->err, -ESTALE, "'%s' changed since it was traced: %s; trace it again (run: --retrace)", e->path,
                   what);
}

/* The machine now, against what the trace saw at its end. */
static int check_unchanged(struct table *t, const struct entry *e)
{
    const struct trace_path *p = e->traced;
    if (!e->exists)
        return changed(t, e, "it is gone");
    if (!p || !p->after_known || p->after.mode == 0)
        return 0;
    const struct trace_stat *was = &p->after;
    if ((was->mode & S_IFMT) != (e->st.st_mode & S_IFMT))
        return changed(t, e, "it is of another type");
    if (S_ISLNK(was->mode) && p->link_target && strcmp(p->link_target, e->target) != 0)
        return changed(t, e, "it points elsewhere");
    if (!S_ISREG(was->mode) || e->class != MANIFEST_TRUSTED)
        return 0;
    if (was->size != (uint64_t)e->st.st_size) {
        char text[80];
        snprintf(text, sizeof(text), "%llu bytes then, %lld now", (unsigned long long)was->size,
                 (long long)e->st.st_size);
        return changed(t, e, text);
    }
    if (was->mtime_sec != e->st.st_mtim.tv_sec || was->mtime_nsec != e->st.st_mtim.tv_nsec)
        return changed(t, e, "its modification time is another");
    return 0;
}

/* Made-up metadata: nothing of the host is measured for what the host may change. */
static void fill_unmeasured(struct table *t, const struct entry *e, struct cascade_file *f)
{
    bool folder = e->folder || (e->flags & MANIFEST_SUBTREE) || (e->bits & TRACE_LISTED) ||
                  (e->traced && S_ISDIR(e->traced->after.mode));
    if (e->folder && e->class == MANIFEST_ALLOWED)
        f->flags |= MANIFEST_SUBTREE;
    f->mode = folder ? S_IFDIR | 0755 : S_IFREG | 0644;
    f->size = folder ? 4096 : 0;
    f->uid = t->uid;
    f->gid = t->gid;
    if (strcmp(e->path, "/tmp") == 0) {
        f->mode = S_IFDIR | 01777;
        f->uid = f->gid = 0;
    }
    /* Temporary: not there until the program creates it. */
    f->nlink = e->class == MANIFEST_SCRATCH && !(e->flags & MANIFEST_SUBTREE) ? 0 : 1;
    f->dev = 1;
}

static int fill_record(struct table *t, struct entry *e, struct cascade_file *f)
{
    f->path = strdup(e->path);
    f->class = e->class;
    f->flags = e->flags;
    if (!f->path)
        return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
    if (e->class == MANIFEST_ABSENT)
        return 0;
    if (e->class == MANIFEST_ALLOWED || e->class == MANIFEST_SCRATCH) {
        if (e->met)
            f->flags &= ~(uint32_t)MANIFEST_OUTPUT;
        fill_unmeasured(t, e, f);
        return 0;
    }
    if (entry_stat(t, e) < 0)
        return -ENOMEM;
    int r = check_unchanged(t, e);
    if (r < 0)
        return r;
    f->mode = e->st.st_mode;
    f->uid = e->st.st_uid;
    f->gid = e->st.st_gid;
    f->dev = 1;
    f->nlink = 1;
    if (S_ISDIR(e->st.st_mode)) {
        /* Constant: an output in it must not change what is measured. 1: "count them yourself". */
        f->size = 4096;
        return 0;
    }
    f->nlink = (uint32_t)e->st.st_nlink;
    f->size = (uint64_t)e->st.st_size;
    f->mtime_sec = e->st.st_mtim.tv_sec;
    f->mtime_nsec = (uint32_t)e->st.st_mtim.tv_nsec;
    if (S_ISLNK(e->st.st_mode) && !(f->target = strdup(e->target)))
        return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
    f->size = f->target ? strlen(f->target) : f->size;
    return 0;
}

struct device {
    UT_hash_handle hh;
    dev_t dev;
    uint32_t number;
};
struct inode {
    UT_hash_handle hh;
    struct {
        uint64_t dev, ino;
    } key;
    const char *path;
};

/* Small numbers for file systems, in the order of paths, and hard links by the first path. */
static int number_files(struct table *t, struct entry **order, struct cascade_file *files,
                        size_t count)
{
    struct device *devices = NULL, *d, *next_d;
    struct inode *inodes = NULL, *n, *next_n;
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        if (!order[i]->exists ||
            (files[i].class != MANIFEST_TRUSTED && files[i].class != MANIFEST_NAMED))
            continue;
        const struct stat *st = &order[i]->st;
        HASH_FIND(hh, devices, &st->st_dev, sizeof(st->st_dev), d);
        if (!d && (d = calloc(1, sizeof(*d)))) {
            d->dev = st->st_dev;
            d->number = HASH_COUNT(devices) + 1;
            HASH_ADD(hh, devices, dev, sizeof(d->dev), d);
        }
        if (!d) {
            r = -ENOMEM;
            break;
        }
        files[i].dev = d->number;
        if (!S_ISREG(st->st_mode) || st->st_nlink < 2)
            continue;
        struct inode key = { .key = { st->st_dev, st->st_ino } };
        HASH_FIND(hh, inodes, &key.key, sizeof(key.key), n);
        if (n) {
            files[i].link = strdup(n->path);
            r = files[i].link ? 0 : -ENOMEM;
        } else if ((n = calloc(1, sizeof(*n)))) {
            n->key = key.key;
            n->path = files[i].path;
            HASH_ADD(hh, inodes, key, sizeof(n->key), n);
        } else {
            r = -ENOMEM;
        }
    }
    HASH_ITER(hh, devices, d, next_d)
    {
        HASH_DEL(devices, d);
        free(d);
    }
    HASH_ITER(hh, inodes, n, next_n)
    {
        HASH_DEL(inodes, n);
        free(n);
    }
    return r < 0 ? err_set(t->err, r, "building the manifest: out of memory") : 0;
}

static int make_records(struct table *t, struct cascade_node *node)
{
    size_t room = HASH_COUNT(t->entries);
    if (room > MANIFEST_FILES_MAX)
        return err_set(t->err, -EFBIG, "%zu paths: a manifest holds %u", room, MANIFEST_FILES_MAX);
    CLEANUP(free_p) struct entry **order = calloc(room + 1, sizeof(*order));
    node->files = calloc(room + 1, sizeof(*node->files));
    if (!order || !node->files)
        return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
    size_t count = 0;
    for (struct entry *e = t->entries; e; e = e->hh.next) {
        if (e->class == 0 || e->dropped || e->own)
            continue;
        if (path_built_in(e->path) && strrchr(e->path, '/') != e->path)
            continue;
        order[count++] = e;
    }
    qsort(order, count, sizeof(*order), compare_entries);
    for (size_t i = 0; i < count; i++) {
        node->file_count = i + 1;
        int r = fill_record(t, order[i], &node->files[i]);
        if (r < 0)
            return r;
    }
    return number_files(t, order, node->files, count);
}

/* ---- hashing ---- */

struct hashing {
    struct cascade_file *files;
    size_t count;
    const struct cascade_node *done; /* nodes before this one */
    size_t done_count;
    size_t next; /* atomic */
    pthread_mutex_t lock;
    size_t failed; /* lowest index that failed; guarded by lock */
    struct err err;
};

/* A file that a node before this one trusts as well is hashed already. */
static bool take_known(const struct hashing *h, struct cascade_file *f)
{
    for (size_t i = 0; i < h->done_count; i++) {
        const struct cascade_file *same = cascade_find(&h->done[i], f->path);
        if (!same || same->class != MANIFEST_TRUSTED || same->mode != f->mode ||
            same->size != f->size || same->mtime_sec != f->mtime_sec ||
            same->mtime_nsec != f->mtime_nsec)
            continue;
        memcpy(f->sha256, same->sha256, sizeof(f->sha256));
        memcpy(f->root, same->root, sizeof(f->root));
        return true;
    }
    return false;
}

static void *hash_some(void *arg)
{
    struct hashing *h = arg;
    for (;;) {
        size_t i = __atomic_fetch_add(&h->next, 1, __ATOMIC_RELAXED);
        if (i >= h->count)
            return NULL;
        struct cascade_file *f = &h->files[i];
        if (f->class != MANIFEST_TRUSTED || !S_ISREG(f->mode) || take_known(h, f))
            continue;
        struct err err = { 0 };
        if (manifest_hash_file(f, &err) == 0)
            continue;
        /* Which error is told must not depend on the threads: the first path's. */
        pthread_mutex_lock(&h->lock);
        if (i < h->failed) {
            h->failed = i;
            h->err = err;
        }
        pthread_mutex_unlock(&h->lock);
        return NULL;
    }
}

static int hash_files(struct cascade *c, size_t index, struct err *err)
{
    struct cascade_node *node = &c->nodes[index];
    struct hashing h = {
        .files = node->files,
        .count = node->file_count,
        .done = c->nodes,
        .done_count = index,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .failed = SIZE_MAX,
    };
    pthread_t others[HASH_THREADS - 1];
    int started = 0;
    while (started < HASH_THREADS - 1 && pthread_create(&others[started], NULL, hash_some, &h) == 0)
        started++;
    hash_some(&h);
    while (started)
        pthread_join(others[--started], NULL);
    if (h.failed == SIZE_MAX)
        return 0;
    if (err)
        *err = h.err;
    return h.err.code;
}

/* ---- the rules of one node ---- */

/* Whether a process of the node touched the path or something below it. */
static bool touches(const struct plan *plan, size_t node, const char *path)
{
    char canonical[PATH_MAX], cwd[PATH_MAX];
    if (!realpath(path, canonical)) {
        /* "x/": a folder that is not there yet. */
        if (!getcwd(cwd, sizeof(cwd)))
            return false;
        int n = path[0] == '/' ? snprintf(canonical, sizeof(canonical), "%s", path)
                               : snprintf(canonical, sizeof(canonical), "%s/%s", cwd, path);
        if (n < 0 || (size_t)n >= sizeof(canonical))
            return false;
        for (size_t size = (size_t)n; size > 1 && canonical[size - 1] == '/'; size--)
            canonical[size - 1] = '\0';
    }
    for (size_t i = 0; i < plan->tree.trace_count; i++)
        for (size_t k = 0; k < plan->traces[i]->process_count; k++) {
            const struct trace_process *p = &plan->traces[i]->processes[k];
            if (tree_node_of(&plan->tree, i, k) != node)
                continue;
            for (size_t a = 0; a < p->access_count; a++)
                if (path_below(plan->traces[i]->paths[p->accesses[a].path].path, canonical))
                    return true;
        }
    return false;
}

struct node_rules {
    struct manifest_rules rules;
    const char **memory, **trust;
};

static void node_rules_done(struct node_rules *r)
{
    free(r->memory);
    free(r->trust);
}

/* Adds what is trusted in this node alone. */
static int add_node_trust(const struct plan *plan, size_t node, struct node_rules *r)
{
    const struct manifest_rules *all = plan->rules;
    if (all->node_trust_count == 0)
        return 0;
    CLEANUP(free_p) char *label = process_label(&plan->tree, node);
    r->trust = calloc(r->rules.trust_count + all->node_trust_count, sizeof(*r->trust));
    if (!label || !r->trust)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < r->rules.trust_count; i++)
        r->trust[count++] = r->rules.trust[i];
    for (size_t i = 0; i < all->node_trust_count; i++)
        if (strcmp(all->node_trust[i].node, label) == 0)
            r->trust[count++] = all->node_trust[i].path;
    r->rules.trust = r->trust;
    r->rules.trust_count = count;
    return 0;
}

/* A rule for a program that is not in the traces would be lost without a word. */
static int check_node_trust(const struct plan *plan, struct err *err)
{
    const struct manifest_rules *all = plan->rules;
    for (size_t i = 0; i < all->node_trust_count; i++) {
        bool found = false;
        for (size_t n = 0; n < plan->tree.node_count && !found; n++) {
            CLEANUP(free_p) char *label = process_label(&plan->tree, n);
            if (!label)
                return err_set(err, -ENOMEM, "building the manifest: out of memory");
            found = strcmp(label, all->node_trust[i].node) == 0;
        }
        if (!found)
            return err_set(err, -EINVAL, "'%s' is to be trusted in '%s', and no program of the traces is called so",
                           all->node_trust[i].path, all->node_trust[i].node);
    }
    return 0;
}

/* The root has all rules. Another node has those about paths that it touched, and the packages if it runs
 * the root's executable: a worker. */
static int make_rules(const struct plan *plan, size_t node, struct node_rules *ret)
{
    const struct manifest_rules *all = plan->rules;
    ret->rules = *all;
    if (node == 0)
        return add_node_trust(plan, node, ret);
    struct {
        const char *const **items;
        size_t *count;
    } lists[] = {
        { &ret->rules.trust, &ret->rules.trust_count },
        { &ret->rules.allow, &ret->rules.allow_count },
        { &ret->rules.deny, &ret->rules.deny_count },
    };
    const char **next = calloc(all->trust_count + all->allow_count + all->deny_count + 1,
                               sizeof(*next));
    if (!(ret->memory = next))
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        const char *const *from = *lists[i].items;
        size_t count = *lists[i].count;
        *lists[i].items = next;
        *lists[i].count = 0;
        for (size_t k = 0; k < count; k++)
            if (touches(plan, node, from[k])) {
                *next++ = from[k];
                ++*lists[i].count;
            }
    }
    const struct tree_program *programs = plan->tree.programs;
    if (strcmp(programs[plan->tree.nodes[node].programs[0]].start.executable,
               programs[0].start.executable) != 0)
        ret->rules.package_count = 0;
    return add_node_trust(plan, node, ret);
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
                      "a server imports more when a request fails: '--package %s --package %s' trusts Python's "
                      "library whole",
                      owners[0], owners[1]);
    else
        manifest_note(t->report,
                      "a server imports more when a request fails: '--trust %.*s' trusts Python's library whole",
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
        r = complete_records(t);
    if (r == 0)
        r = make_records(t, node);
    if (r == 0)
        r = given_fill(node, &c->nodes[0], &plan->tree, index, plan->traces, t->rules, t->err);
    if (r == 0)
        note_python_server(t, node);
    return r < 0 ? r : hash_files(c, index, t->err);
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
                return err_set(err, -EINVAL,
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
        r = check_node_trust(plan, err);
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
        qsort_r(plan->by_path[i], trace->path_count, sizeof(uint32_t), compare_paths,
                trace->paths);
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
        if (make_rules(plan, i, &rules) < 0)
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
    r = build_nodes(&plan, c, report, err);
    if (r == 0)
        r = check_nodes(c, err);
    if (r == 0)
        *ret = TAKE_PTR(c);
    return r;
}
