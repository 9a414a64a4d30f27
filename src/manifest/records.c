/*
 * The records of one node's files, from the table of its paths: listings and ancestors completed,
 * numbered, hashed. Tier: hosted.
 */
#include "manifest/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/manifest_view.h"
#include "manifest/hash.h"
#include "util/fs.h"

#define HASH_THREADS 2

/* ---- listings and ancestors ---- */

/* A trace, cascade or bundle of an earlier round: a listing with them would never measure the same
 * twice. */
static bool made_by_us(const struct entry *e)
{
    const char *dot = strrchr(strrchr(e->path, '/'), '.');
    if (!dot)
        return false;
    if (strcmp(dot, ".sgx") == 0)
        return S_ISDIR(e->st.st_mode) && path_starts_with(e->path, "/bundle.json", "{");
    if (strcmp(dot, ".trace") == 0)
        return S_ISREG(e->st.st_mode) && path_starts_with(e->path, "", "sgxpy-trace");
    if (strcmp(dot, ".json") == 0)
        return S_ISREG(e->st.st_mode) &&
               path_starts_with(e->path, "", "{\n \"format\": \"" CASCADE_FORMAT "\"");
    return false;
}

/* Every name that a traced listing showed gets at least a NAMED record. */
static int name_listed(struct table *t, const struct trace_path *dir)
{
    const char *head = strcmp(dir->path, "/") == 0 ? "" : dir->path;
    for (size_t i = 0; i < dir->name_count; i++) {
        char path[MANIFEST_PATH_MAX + 1];
        int n = snprintf(path, sizeof(path), "%s/%s", head, dir->names[i].name);
        if (n < 0 || (size_t)n >= sizeof(path) || !cascade_path_valid(path) || table_own(t, path))
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

int records_complete(struct table *t)
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
    return err_set(t->err, -ESTALE,
                   "'%s' changed since it was traced: %s; trace it again (run: --retrace)", e->path,
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

int records_make(struct table *t, struct cascade_node *node)
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

int records_hash(struct cascade *c, size_t index, struct err *err)
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
