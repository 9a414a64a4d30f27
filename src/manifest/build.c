#include "manifest/build.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/manifest_view.h"
#include "manifest/hash.h"
#include "manifest/table.h"
#include "util/fs.h"

#define WRITE_BITS   (TRACE_WRITTEN | TRACE_CREATED | TRACE_TRUNCATED | TRACE_RENAMED_TO)
#define GONE_BITS    (TRACE_REMOVED | TRACE_RENAMED_FROM)
#define RUN_BITS     (TRACE_MAPPED_EXEC | TRACE_EXECUTED)
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

/* Below a folder that is temporary itself; that folder's record covers it. */
static bool below_temporary(struct table *t, const char *path)
{
    if (path_below(path, "/tmp"))
        return true;
    for (const char *p = strrchr(path, '/'); p > path; p = memrchr(path, '/', (size_t)(p - path))) {
        struct entry *e = table_find(t, path, (size_t)(p - path));
        if (e && e->now && (e->bits_now & TRACE_CREATED) && trace_is_temporary(e->now)) {
            e->folder = true;
            return true;
        }
    }
    return false;
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
    if (path_below(e->path, "/tmp")) {
        if (trace_exists_after(p) && S_ISREG(p->after.mode) && t->lost_count++ == 0)
            t->lost = e->path;
        return 0;
    }
    if (path_importable(e->path) || (e->bits & RUN_BITS))
        return err_set(t->err, -EINVAL,
                       "'%s' is written by the program and could then be imported or loaded: "
                       "such a file is never open to the host. Make it before the traced run",
                       e->path);
    return claim(t, e, MANIFEST_ALLOWED, MANIFEST_OUTPUT);
}

/* The run wrote, made, moved or removed it. */
static int classify_changed(struct table *t, struct entry *e)
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
        if (below_temporary(t, e->path))
            return 0;
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
    bool replaced = (e->bits_now & (TRACE_TRUNCATED | TRACE_RENAMED_TO)) ||
                    ((e->bits_now & TRACE_REMOVED) && (e->bits_now & TRACE_CREATED));
    if (!replaced)
        return refuse_rewritten(t, e->path, "extended or partly rewritten");
    return classify_output(t, e);
}

static int classify_unchanged(struct table *t, struct entry *e)
{
    const struct trace_path *p = e->now;
    if (!trace_existed_before(p)) {
        if (!path_below(e->path, "/tmp"))
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
        /* What only exec was to start, and may not. The program itself is claimed by the closure.
         */
        if (t->rules->exec_deny && !(e->bits_now & (TRACE_READ | TRACE_MAPPED_EXEC)))
            break;
        if (e->bits_now & (TRACE_READ | RUN_BITS))
            return claim(t, e, MANIFEST_TRUSTED, (e->bits & RUN_BITS) ? MANIFEST_EXEC : 0);
        break;
    default: break;
    }
    entry_claim(e, MANIFEST_NAMED, 0);
    return 0;
}

static int classify(struct table *t, struct entry *e)
{
    if (e->own)
        return 0;
    const struct allow_rule *allow = table_allowed(t, e->path);
    bool writes = e->bits_now & (WRITE_BITS | GONE_BITS);
    if (allow && !allow->folder)
        return 0; /* rules.c has claimed it */
    if (allow && allow->folder) {
        /* Measured names win, but only what the program could run is measured here. */
        if (strcmp(e->path, allow->path) == 0 || writes)
            return 0;
        if (!path_importable(e->path) && !(e->bits & RUN_BITS))
            return 0;
    }
    return writes ? classify_changed(t, e) : classify_unchanged(t, e);
}

/* ---- traces ---- */

static int refuse_programs(const struct trace *trace, const bool *members, struct err *err)
{
    for (size_t i = 1; i < trace->process_count; i++) {
        const struct trace_process *p = &trace->processes[i];
        if (p->how != TRACE_HOW_EXEC || p->parent >= i || !members[p->parent])
            continue;
        err_set(err, -EINVAL,
                "'%s' starts another program, '%s': several programs cannot run yet. "
                "'--exec deny' refuses it at run time",
                trace->processes[0].executable, p->executable);
        return err ? err_exit(err, 2) : -EINVAL;
    }
    for (size_t i = 1; i < trace->process_count; i++) {
        if (!members[i] || trace->processes[i].how == TRACE_HOW_EXEC)
            continue;
        err_set(err, -EINVAL,
                "'%s' starts another process of itself ('%s'): several processes cannot run yet. "
                "'--exec deny' refuses it at run time",
                trace->processes[0].executable, trace->processes[i].executable);
        return err ? err_exit(err, 2) : -EINVAL;
    }
    return 0;
}

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
        if (e->now != path)
            e->bits_now = 0;
        e->now = path;
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
static void join_moves(struct table *t, const struct trace *trace, const bool *members)
{
    for (size_t i = trace->move_count; i-- > 0;) {
        const struct trace_move *m = &trace->moves[i];
        if (!members[m->process])
            continue;
        const char *from = trace->paths[m->from].path;
        const char *to = trace->paths[m->to].path;
        struct entry *a = table_find(t, from, strlen(from));
        struct entry *b = table_find(t, to, strlen(to));
        if (!a || !b || a->class != MANIFEST_SCRATCH || b->class != MANIFEST_ALLOWED)
            continue;
        entry_claim(a, MANIFEST_ALLOWED, MANIFEST_OUTPUT);
        if (S_ISDIR(trace->paths[m->to].after.mode))
            a->folder = b->folder = true; /* what was in it came along */
    }
}

static int take_trace(struct table *t, const struct trace *trace)
{
    if (trace->process_count == 0)
        return err_set(t->err, -EINVAL, "the trace holds no program");
    CLEANUP(free_p) bool *members = process_members(trace);
    if (!members)
        return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
    int r = t->rules->exec_deny ? 0 : refuse_programs(trace, members, t->err);
    for (size_t i = 0; r == 0 && i < trace->process_count; i++)
        if (members[i])
            r = take_accesses(t, trace, &trace->processes[i]);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < trace->path_count; i++) {
        const char *path = trace->paths[i].path;
        struct entry *e = table_find(t, path, strlen(path));
        if (e && e->now == &trace->paths[i])
            r = classify(t, e);
    }
    if (r == 0)
        join_moves(t, trace, members);
    return r;
}

/* ---- listings and ancestors ---- */

static bool starts_with(const char *path, const char *name, const char *text)
{
    char full[MANIFEST_PATH_MAX + 32], head[64];
    snprintf(full, sizeof(full), "%s%s", path, name);
    CLEANUP(close_p) int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    size_t size = strlen(text);
    return fd >= 0 && read_full(fd, head, size) == (ssize_t)size && memcmp(head, text, size) == 0;
}

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
    for (size_t i = 0; r == 0 && i < t->listed_count; i++)
        r = name_listed(t, t->listed[i]);
    /* Ancestors that this adds are appended, and complete already or reached. */
    for (struct entry *e = t->entries; r == 0 && e; e = e->hh.next)
        r = e->class && !e->dropped ? add_ancestors(t, e) : 0;
    if (r < 0)
        return r;
    struct entry *tmp = table_get(t, "/tmp", 4);
    if (!tmp)
        return -ENOMEM;
    tmp->class = 0;
    tmp->flags = 0;
    entry_claim(tmp, MANIFEST_SCRATCH, MANIFEST_SUBTREE);
    tmp->dropped = tmp->own = false;
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
    size_t next; /* atomic */
    pthread_mutex_t lock;
    size_t failed; /* lowest index that failed; guarded by lock */
    struct err err;
};

static void *hash_some(void *arg)
{
    struct hashing *h = arg;
    for (;;) {
        size_t i = __atomic_fetch_add(&h->next, 1, __ATOMIC_RELAXED);
        if (i >= h->count)
            return NULL;
        struct cascade_file *f = &h->files[i];
        if (f->class != MANIFEST_TRUSTED || !S_ISREG(f->mode))
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

static int hash_files(struct cascade_node *node, struct err *err)
{
    struct hashing h = {
        .files = node->files,
        .count = node->file_count,
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

/* ---- all ---- */

static int build_node(struct table *t, const struct trace *const *traces, size_t trace_count,
                      struct cascade_node *node)
{
    int r = process_fill(node, traces, trace_count, t->rules, t->report, t->err);
    if (r < 0)
        return r;
    const struct trace_process *p = &traces[0]->processes[0];
    t->uid = node->uid;
    t->gid = node->gid;

    r = rules_prepare(t);
    for (size_t i = 0; r == 0 && i < trace_count; i++)
        r = take_trace(t, traces[i]);
    if (t->lost_count == 1)
        table_note(t, "'%s' is below /tmp: private to the run, gone when it ends", t->lost);
    else if (t->lost_count > 1)
        table_note(t, "%zu files below /tmp ('%s', ...) are private to the run, gone when it ends",
                   t->lost_count, t->lost);
    if (r == 0)
        r = rules_apply(t);
    if (r == 0)
        r = closure_add(t, p);
    if (r == 0)
        r = rules_check_allowed(t, p);
    if (r == 0)
        r = complete_records(t);
    if (r == 0)
        r = make_records(t, node);
    return r < 0 ? r : hash_files(node, t->err);
}

int manifest_build(const struct trace *const *traces, size_t trace_count,
                   const struct manifest_rules *rules, struct cascade **ret,
                   struct manifest_report *report, struct err *err)
{
    if (trace_count == 0 || traces[0]->process_count == 0)
        return err_set(err, -EINVAL, "the trace holds no program");
    CLEANUP(cascade_free_p) struct cascade *c = cascade_new(1);
    if (!c)
        return err_set(err, -ENOMEM, "building the manifest: out of memory");

    struct table t = { .rules = rules, .report = report, .err = err };
    int r = build_node(&t, traces, trace_count, &c->nodes[0]);
    table_done(&t);
    if (r == 0)
        *ret = TAKE_PTR(c);
    return r;
}
