#include "manifest/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/fs.h"

#define HOPS_MAX 40 /* as Linux */

void table_done(struct table *t)
{
    struct entry *e, *next;
    HASH_ITER(hh, t->entries, e, next)
    {
        HASH_DEL(t->entries, e);
        free(e->target);
        free(e);
    }
    for (size_t i = 0; i < t->allow_count; i++)
        free(t->allow[i].path);
    free(t->allow);
    for (size_t i = 0; i < t->own_count; i++)
        free(t->own[i]);
    free(t->own);
    free(t->listed);
}

struct entry *table_find(struct table *t, const char *path, size_t length)
{
    struct entry *e;
    HASH_FIND(hh, t->entries, path, length, e);
    return e;
}

struct entry *table_get(struct table *t, const char *path, size_t length)
{
    struct entry *e = table_find(t, path, length);
    if (e)
        return e;
    e = calloc(1, sizeof(*e) + length + 1);
    if (!e) {
        err_set(t->err, -ENOMEM, "building the manifest: out of memory");
        return NULL;
    }
    memcpy(e->path, path, length);
    HASH_ADD_KEYPTR(hh, t->entries, e->path, length, e);
    return e;
}

int entry_stat(struct table *t, struct entry *e)
{
    if (e->stat_done)
        return 0;
    e->exists = lstat(e->path, &e->st) == 0;
    if (e->exists && S_ISLNK(e->st.st_mode)) {
        char target[MANIFEST_PATH_MAX + 1];
        ssize_t n = readlink(e->path, target, sizeof(target) - 1);
        e->exists = n > 0;
        if (e->exists && !(e->target = strndup(target, (size_t)n)))
            return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
    }
    e->stat_done = true;
    return 0;
}

void entry_claim(struct entry *e, uint32_t class, uint32_t flags)
{
    static const uint8_t ranks[] = {
        [0] = 0,
        [MANIFEST_ABSENT] = 1,
        [MANIFEST_NAMED] = 2,
        [MANIFEST_TRUSTED] = 3,
        [MANIFEST_SCRATCH] = 4,
        [MANIFEST_ALLOWED] = 5,
    };
    if (ranks[class] < ranks[e->class])
        return;
    if (class != e->class)
        e->flags &= MANIFEST_LISTED;
    e->class = class;
    e->flags |= flags;
}

int table_add_listed(struct table *t, const struct trace_path *dir)
{
    if (t->listed_count == t->listed_capacity) {
        size_t capacity = t->listed_capacity * 2 + 16;
        const struct trace_path **grown = realloc(t->listed, capacity * sizeof(*grown));
        if (!grown)
            return err_set(t->err, -ENOMEM, "building the manifest: out of memory");
        t->listed = grown;
        t->listed_capacity = capacity;
    }
    t->listed[t->listed_count++] = dir;
    return 0;
}

/* Appends path's rest behind a symlink's target, and goes on from there. */
static int splice_path(char *todo, size_t size, const char *target, const char *rest)
{
    char joined[2 * MANIFEST_PATH_MAX + 2];
    int n = snprintf(joined, sizeof(joined), "%s%s", target, rest);
    if (n < 0 || (size_t)n >= size || (size_t)n >= sizeof(joined))
        return -ENAMETOOLONG;
    memcpy(todo, joined, (size_t)n + 1);
    return 0;
}

int table_resolve(struct table *t, const char *path, struct entry **ret)
{
    char todo[2 * MANIFEST_PATH_MAX + 2];
    char done[MANIFEST_PATH_MAX + 1] = "/";
    size_t length = 1; /* of done; "/" alone or without a trailing slash */
    int hops = 0;

    if (path[0] != '/' || strlen(path) > MANIFEST_PATH_MAX)
        return path[0] != '/' ? -EINVAL : -ENAMETOOLONG;
    strcpy(todo, path);
    char *next = todo;
    for (;;) {
        next += strspn(next, "/");
        size_t size = strcspn(next, "/");
        if (size == 0)
            break;
        if (size == 1 && next[0] == '.') {
            next += size;
            continue;
        }
        if (size == 2 && next[0] == '.' && next[1] == '.') {
            while (length > 1 && done[--length] != '/')
                ;
            done[length] = '\0';
            next += size;
            continue;
        }
        size_t before = length;
        if (length + 1 + size > MANIFEST_PATH_MAX || size > 255)
            return -ENAMETOOLONG;
        if (length > 1)
            done[length++] = '/';
        memcpy(done + length, next, size);
        length += size;
        done[length] = '\0';
        next += size;

        struct entry *e = table_get(t, done, length);
        if (!e || entry_stat(t, e) < 0)
            return -ENOMEM;
        bool last = next[strspn(next, "/")] == '\0';
        if (!e->exists && last)
            break;
        if (!e->exists)
            return -ENOENT;
        if (S_ISLNK(e->st.st_mode)) {
            entry_claim(e, MANIFEST_TRUSTED, 0);
            if (++hops > HOPS_MAX)
                return -ELOOP;
            int r = splice_path(todo, sizeof(todo), e->target, next);
            if (r < 0)
                return r;
            next = todo;
            length = todo[0] == '/' ? 1 : before;
            done[length] = '\0';
            continue;
        }
        if (!S_ISDIR(e->st.st_mode) && !last)
            return -ENOTDIR;
    }
    struct entry *e = table_get(t, done, length);
    if (!e || entry_stat(t, e) < 0)
        return -ENOMEM;
    *ret = e;
    return 0;
}

bool path_below(const char *path, const char *prefix)
{
    size_t size = strlen(prefix);
    if (size == 1)
        return true;
    return strncmp(path, prefix, size) == 0 && (path[size] == '\0' || path[size] == '/');
}

bool path_built_in(const char *path)
{
    return path_below(path, "/proc") || path_below(path, "/sys") || path_below(path, "/dev");
}

bool path_importable(const char *path)
{
    static const char *const suffixes[] = { ".py", ".pyc", ".pyo", ".pth", ".so", ".egg-link" };
    const char *base = strrchr(path, '/');
    base = base ? base + 1 : path;
    const char *dot = strrchr(base, '.');
    for (size_t i = 0; dot && i < ARRAY_SIZE(suffixes); i++)
        if (strcmp(dot, suffixes[i]) == 0)
            return true;
    /* libm.so.6, libfoo.so.1.2.3 */
    const char *so = strstr(base, ".so.");
    return (so && so[4] >= '0' && so[4] <= '9') || strcmp(base, "pyvenv.cfg") == 0;
}

bool path_starts_with(const char *path, const char *name, const char *text)
{
    char full[MANIFEST_PATH_MAX + 32], head[64];
    snprintf(full, sizeof(full), "%s%s", path, name);
    CLEANUP(close_p) int fd = open(full, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    size_t size = strlen(text);
    return fd >= 0 && read_full(fd, head, size) == (ssize_t)size && memcmp(head, text, size) == 0;
}

bool table_own(const struct table *t, const char *path)
{
    const char *base = strrchr(path, '/');
    if (strcmp(base + 1, ".sgxpy") == 0 || strstr(path, "/.sgxpy/"))
        return true;
    for (size_t i = 0; i < t->own_count; i++)
        if (path_below(path, t->own[i]))
            return true;
    return false;
}

const struct allow_rule *table_allowed(const struct table *t, const char *path)
{
    for (size_t i = 0; i < t->allow_count; i++) {
        const struct allow_rule *a = &t->allow[i];
        if (a->folder ? path_below(path, a->path) : strcmp(path, a->path) == 0)
            return a;
    }
    return NULL;
}

static void add_note(struct manifest_report *r, const char *format, va_list args)
{
    if (!r)
        return;
    char text[1024];
    vsnprintf(text, sizeof(text), format, args);
    /* Several nodes may have the same to say. */
    for (size_t i = 0; i < r->note_count; i++)
        if (strcmp(r->notes[i], text) == 0)
            return;
    char **grown = realloc(r->notes, (r->note_count + 1) * sizeof(*grown));
    if (!grown)
        return; /* a note less: the manifest does not depend on it */
    r->notes = grown;
    if ((grown[r->note_count] = strdup(text)))
        r->note_count++;
}

void manifest_note(struct manifest_report *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_note(r, format, args);
    va_end(args);
}

void table_note(struct table *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_note(t->report, format, args);
    va_end(args);
}
