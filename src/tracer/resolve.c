#include "tracer/resolve.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum node_type { NODE_UNKNOWN = 0, NODE_DIR, NODE_LINK, NODE_FILE };

struct resolve_node {
    struct resolve_node *parent, *next; /* next: in the bucket */
    uint32_t hash;
    uint32_t generation; /* type and target hold only if it is the resolver's */
    uint32_t tag;
    uint8_t type;
    uint16_t name_size;
    char *target; /* of a link */
    char name[];
};

struct resolver {
    struct resolve_node *root;
    struct resolve_node **buckets;
    size_t bucket_count, node_count;
    uint32_t generation;
};

/* One walk. path grows and shrinks with the node; below /proc the node is NULL. */
struct walk {
    struct resolver *r;
    const struct resolve_start *start;
    struct resolved *out;
    struct resolve_node *node;
    bool in_proc;
    unsigned links;
    char rest[2 * RESOLVE_PATH_MAX]; /* what is still to be walked */
    size_t rest_at;
};

/* ---- nodes ---- */

static uint32_t node_hash(const struct resolve_node *parent, const char *name, size_t size)
{
    uint64_t h = (uint64_t)(uintptr_t)parent * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ (uint8_t)name[i]) * 0x100000001b3u;
    return (uint32_t)(h ^ (h >> 32));
}

static void grow_buckets(struct resolver *r)
{
    size_t count = r->bucket_count * 2;
    struct resolve_node **buckets = calloc(count, sizeof(*buckets));
    if (!buckets)
        return; /* longer chains, nothing worse */
    for (size_t i = 0; i < r->bucket_count; i++) {
        for (struct resolve_node *n = r->buckets[i], *next; n; n = next) {
            next = n->next;
            n->next = buckets[n->hash & (count - 1)];
            buckets[n->hash & (count - 1)] = n;
        }
    }
    free(r->buckets);
    r->buckets = buckets;
    r->bucket_count = count;
}

/* The child of that name, made if need be; NULL without memory. */
static struct resolve_node *node_child(struct resolver *r, struct resolve_node *parent,
                                       const char *name, size_t size)
{
    uint32_t hash = node_hash(parent, name, size);
    struct resolve_node **bucket = &r->buckets[hash & (r->bucket_count - 1)];
    for (struct resolve_node *n = *bucket; n; n = n->next) {
        if (n->hash == hash && n->parent == parent && n->name_size == size &&
            memcmp(n->name, name, size) == 0)
            return n;
    }
    struct resolve_node *n = calloc(1, sizeof(*n) + size + 1);
    if (!n)
        return NULL;
    n->parent = parent;
    n->hash = hash;
    n->name_size = (uint16_t)size;
    memcpy(n->name, name, size);
    n->next = *bucket;
    *bucket = n;
    if (++r->node_count > r->bucket_count)
        grow_buckets(r);
    return n;
}

struct resolver *resolver_new(void)
{
    struct resolver *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    r->bucket_count = 4096;
    r->generation = 1;
    r->buckets = calloc(r->bucket_count, sizeof(*r->buckets));
    r->root = calloc(1, sizeof(*r->root) + 1);
    if (!r->buckets || !r->root) {
        resolver_free(r);
        return NULL;
    }
    return r;
}

void resolver_free(struct resolver *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->buckets && i < r->bucket_count; i++) {
        for (struct resolve_node *n = r->buckets[i], *next; n; n = next) {
            next = n->next;
            free(n->target);
            free(n);
        }
    }
    free(r->buckets);
    free(r->root);
    free(r);
}

void resolver_forget(struct resolver *r, struct resolve_node *node)
{
    bool leads_on = node && node->generation == r->generation &&
                    (node->type == NODE_DIR || node->type == NODE_LINK);
    if (node && !leads_on)
        node->type = NODE_UNKNOWN;
    else
        r->generation++;
}

uint32_t resolve_node_tag(const struct resolve_node *node)
{
    return node->tag;
}

void resolve_node_set_tag(struct resolve_node *node, uint32_t tag)
{
    node->tag = tag;
}

/* ---- walking ---- */

const char *resolve_real_path(const char *path, pid_t tgid, char *buf, size_t size)
{
    if (strncmp(path, "/proc/self", 10) != 0 || (path[10] != '/' && path[10] != '\0'))
        return path;
    snprintf(buf, size, "/proc/%d%s", (int)tgid, path + 10);
    return buf;
}

static void path_reset(struct walk *w)
{
    w->out->path[0] = '\0';
    w->out->size = 0;
    w->node = w->r->root;
    w->in_proc = false;
}

static bool path_push(struct walk *w, const char *name, size_t size)
{
    struct resolved *out = w->out;
    if (size + 2 > sizeof(out->path) - out->size) {
        out->error = ENAMETOOLONG;
        return false;
    }
    out->path[out->size] = '/';
    memcpy(out->path + out->size + 1, name, size);
    out->size += size + 1;
    out->path[out->size] = '\0';
    return true;
}

static void path_pop(struct walk *w)
{
    struct resolved *out = w->out;
    size_t root_size = strcmp(w->start->root, "/") == 0 ? 0 : strlen(w->start->root);
    if (out->size <= root_size)
        return;
    while (out->size && out->path[out->size - 1] != '/')
        out->size--;
    out->size -= out->size > 0;
    out->path[out->size] = '\0';
    if (w->node && w->node->parent)
        w->node = w->node->parent;
    if (w->in_proc && strncmp(out->path, "/proc", 5) != 0) {
        w->in_proc = false;
        w->node = w->r->root; /* /proc lies in the root */
    }
}

/* Puts text in front of what is left to walk. slash: it must be a directory, whatever follows. */
static bool rest_prepend(struct walk *w, const char *text, bool slash)
{
    char *tail = w->rest + w->rest_at;
    size_t left = strlen(tail);
    size_t size = strlen(text);
    size_t between = slash || left ? 1 : 0;
    if (left + size + between + 1 > sizeof(w->rest)) {
        w->out->error = ENAMETOOLONG;
        return false;
    }
    memmove(w->rest + size + between, tail, left + 1);
    memcpy(w->rest, text, size);
    if (between)
        w->rest[size] = '/';
    w->rest_at = 0;
    return true;
}

static const char *real_path(struct walk *w, char *buf, size_t size)
{
    return resolve_real_path(w->out->size ? w->out->path : "/", w->start->tgid, buf, size);
}

/* Reads the link at path; NUL-terminated. 0 or an errno. */
static int read_link(struct walk *w, char *ret_target, size_t size)
{
    char buf[RESOLVE_PATH_MAX + 32];
    ssize_t n = readlink(real_path(w, buf, sizeof(buf)), ret_target, size - 1);
    if (n < 0)
        return errno;
    ret_target[n] = '\0';
    return 0;
}

/* Finds out what stands at path. 0 or an errno; *ret_type and, if read now, out->st. */
static int look(struct walk *w, enum node_type *ret_type)
{
    struct resolved *out = w->out;
    struct resolve_node *n = w->node;
    if (n && n->type != NODE_UNKNOWN && n->generation == w->r->generation) {
        out->stat_known = false;
        *ret_type = (enum node_type)n->type;
        return 0;
    }
    char buf[RESOLVE_PATH_MAX + 32];
    if (lstat(real_path(w, buf, sizeof(buf)), &out->st) < 0)
        return errno;
    out->stat_known = true;
    *ret_type = S_ISDIR(out->st.st_mode)   ? NODE_DIR
                : S_ISLNK(out->st.st_mode) ? NODE_LINK
                                           : NODE_FILE;
    if (n && *ret_type == NODE_LINK) {
        char target[PATH_MAX];
        int e = read_link(w, target, sizeof(target));
        if (e)
            return e;
        char *copy = strdup(target);
        if (!copy)
            return ENOMEM;
        free(n->target);
        n->target = copy;
    }
    if (n) {
        n->type = (uint8_t)*ret_type;
        n->generation = w->r->generation;
    }
    return 0;
}

/* "/proc/self/..." and "/proc/PID/...": symlinks in there are the kernel's magic ones. */
static bool in_process_folder(const char *path)
{
    if (strncmp(path, "/proc/", 6) != 0)
        return false;
    return (strncmp(path + 6, "self/", 5) == 0) ||
           (isdigit((unsigned char)path[6]) && strchr(path + 6, '/'));
}

/* Steps over the link that path names. false: the walk ends here (out->error may say why). */
static bool follow(struct walk *w, bool slash, resolve_link_fn *on_link, void *arg)
{
    struct resolved *out = w->out;
    char text[PATH_MAX];
    const char *target = w->node ? w->node->target : text;
    if (!w->node) {
        int e = read_link(w, text, sizeof(text));
        if (e) {
            out->error = e;
            return false;
        }
    }
    if (++w->links > RESOLVE_LINKS_MAX) {
        out->error = ELOOP;
        return false;
    }
    if (on_link) {
        out->node = w->node;
        on_link(arg, out);
    }
    bool magic = in_process_folder(out->path);
    if (magic && target[0] != '/') {
        /* A pipe, socket or memfd: it has no other name than this. */
        char buf[RESOLVE_PATH_MAX + 32];
        if (stat(real_path(w, buf, sizeof(buf)), &out->st) < 0)
            out->error = errno;
        out->stat_known = !out->error;
        return false;
    }
    if (!rest_prepend(w, target, slash))
        return false;
    if (target[0] == '/') {
        path_reset(w);
        if (!magic && strcmp(w->start->root, "/") != 0)
            return rest_prepend(w, w->start->root, false);
    } else {
        path_pop(w);
    }
    return true;
}

/* Steps to the child `name`, in the tree and in the path. */
static bool step(struct walk *w, const char *name, size_t size)
{
    struct resolved *out = w->out;
    if (w->in_proc && strcmp(out->path, "/proc") == 0) {
        char own[16];
        int n = snprintf(own, sizeof(own), "%d", (int)w->start->tgid);
        if ((size_t)n == size && memcmp(own, name, size) == 0)
            return path_push(w, "self", 4);
        if (size == 11 && memcmp(name, "thread-self", 11) == 0) {
            char task[40];
            n = snprintf(task, sizeof(task), "self/task/%d", (int)w->start->tid);
            return path_push(w, task, (size_t)n);
        }
    }
    if (!path_push(w, name, size))
        return false;
    if (w->in_proc)
        return true;
    if (strcmp(out->path, "/proc") == 0) {
        w->in_proc = true;
        w->node = NULL;
        return true;
    }
    w->node = w->node ? node_child(w->r, w->node, name, size) : NULL;
    return true;
}

/* The component is missing: names the rest as it was asked, unless ".." makes it ambiguous. */
static void append_rest(struct walk *w)
{
    const char *rest = w->rest + w->rest_at;
    for (const char *p = rest; *p;) {
        size_t n = strcspn(p, "/");
        if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return;
        p += n;
        p += strspn(p, "/");
    }
    while (*rest) {
        rest += strspn(rest, "/");
        size_t n = strcspn(rest, "/");
        int error = w->out->error;
        if (n && path_push(w, rest, n))
            w->node = NULL;
        w->out->error = error;
        rest += n;
    }
}

/* One component; false ends the walk. */
static bool walk_one(struct walk *w, unsigned flags, resolve_link_fn *on_link, void *arg)
{
    struct resolved *out = w->out;
    const char *name = w->rest + w->rest_at;
    size_t size = strcspn(name, "/");
    size_t slashes = strspn(name + size, "/");
    bool last = name[size + slashes] == '\0';
    w->rest_at += size + slashes;

    if (size == 0 || (size == 1 && name[0] == '.'))
        return !last;
    if (size == 2 && name[0] == '.' && name[1] == '.') {
        path_pop(w);
        return !last;
    }
    if (size > NAME_MAX) {
        out->error = ENAMETOOLONG;
        return false;
    }
    if (!step(w, name, size))
        return false;

    enum node_type type = NODE_UNKNOWN;
    out->error = look(w, &type);
    if (out->error) {
        append_rest(w);
        return false;
    }
    if (type == NODE_LINK) {
        if (!last || slashes || !(flags & RESOLVE_NOFOLLOW))
            return follow(w, slashes > 0, on_link, arg);
        return false;
    }
    if (type != NODE_DIR && (!last || slashes)) {
        out->error = ENOTDIR;
        append_rest(w);
        return false;
    }
    return !last;
}

void resolver_walk(struct resolver *r, const struct resolve_start *start, const char *name,
                   unsigned flags, resolve_link_fn *on_link, void *arg, struct resolved *ret)
{
    struct walk w;
    w.r = r;
    w.start = start;
    w.out = ret;
    w.links = 0;
    w.rest_at = 0;
    w.rest[0] = '\0';
    ret->error = 0;
    ret->stat_known = false;
    path_reset(&w);

    const char *from = name[0] == '/' ? start->root : start->base;
    size_t name_size = strlen(name);
    if (name_size == 0)
        ret->error = ENOENT;
    else if (name_size >= PATH_MAX)
        ret->error = ENAMETOOLONG;
    if (!ret->error && name_size < sizeof(w.rest)) {
        memcpy(w.rest, name, name_size + 1);
        if (strcmp(from, "/") != 0)
            (void)rest_prepend(&w, from, false);
    }
    if (!ret->error) {
        while (walk_one(&w, flags, on_link, arg))
            ;
    }
    if (ret->size == 0) {
        ret->path[0] = '/';
        ret->path[1] = '\0';
        ret->size = 1;
    }
    ret->node = w.node;
}
