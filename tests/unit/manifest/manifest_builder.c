#include "manifest_builder.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/manifest_leaf.h"
#include "core/program_key.h"
#include "manifest/compile.h"
#include "util/fs.h"

struct content {
    const struct built_file *files;
    size_t count;
};

static int leaves_of(void *ctx, const struct cascade_file *f, uint8_t (*ret)[MANIFEST_HASH_SIZE],
                     uint64_t count, struct err *err UNUSED)
{
    static const uint8_t zeros[MANIFEST_CHUNK_SIZE];
    const struct content *c = ctx;
    const uint8_t *data = NULL;
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->files[i].path, f->path) == 0)
            data = c->files[i].content;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t off = i * MANIFEST_CHUNK_SIZE;
        uint64_t left = f->size - off;
        uint32_t size = left < MANIFEST_CHUNK_SIZE ? (uint32_t)left : MANIFEST_CHUNK_SIZE;
        manifest_leaf(i, data ? data + off : zeros, size, ret[i]);
    }
    return 0;
}

static void hash_content(struct cascade_file *f, const struct content *all)
{
    uint64_t count = manifest_leaf_count(f->size);
    uint8_t(*leaves)[MANIFEST_HASH_SIZE] = calloc(count + 1, MANIFEST_HASH_SIZE);
    if (!leaves)
        abort();
    (void)leaves_of((void *)(uintptr_t)all, f, leaves, count, NULL);
    manifest_root(f->size, leaves, count, f->root);
    free(leaves);

    const uint8_t *data = NULL;
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->files[i].path, f->path) == 0)
            data = all->files[i].content;
    if (data || f->size == 0)
        sha256(data, f->size, f->sha256);
    else
        memcpy(f->sha256, f->root, sizeof(f->sha256)); /* for people only */
}

static struct cascade_file *add(struct cascade_node *n, const char *path, size_t length)
{
    for (size_t i = 0; i < n->file_count; i++)
        if (strncmp(n->files[i].path, path, length) == 0 && n->files[i].path[length] == '\0')
            return NULL;
    n->files = realloc(n->files, (n->file_count + 1) * sizeof(*n->files));
    if (!n->files)
        abort();
    struct cascade_file *f = &n->files[n->file_count++];
    *f = (struct cascade_file){ .path = strndup(path, length), .class = MANIFEST_TRUSTED };
    if (!f->path)
        abort();
    return f;
}

static void add_file(struct cascade_node *n, const struct content *all, const struct built_file *b)
{
    struct cascade_file *f = add(n, b->path, strlen(b->path));
    if (!f)
        return;
    f->class = b->class ? b->class : MANIFEST_TRUSTED;
    f->flags = b->flags;
    if (f->class == MANIFEST_ABSENT)
        return;
    f->mode = b->mode                      ? b->mode
              : b->target                  ? S_IFLNK | 0777
              : (b->flags & MANIFEST_EXEC) ? S_IFREG | 0755
                                           : S_IFREG | 0644;
    f->nlink = 1;
    f->dev = 1;
    if (S_ISDIR(f->mode)) {
        f->size = 4096;
        return;
    }
    f->mtime_sec = b->mtime_sec;
    f->size = b->target ? strlen(b->target) : b->size;
    f->target = b->target ? strdup(b->target) : NULL;
    f->link = b->link ? strdup(b->link) : NULL;
    if (f->class == MANIFEST_TRUSTED && S_ISREG(f->mode))
        hash_content(f, all);
}

static void add_parents(struct cascade_node *n, const char *path)
{
    for (size_t length = 1; path[length - 1]; length++) {
        if (length != 1 && path[length] != '/')
            continue;
        struct cascade_file *f = add(n, path, length);
        if (f) {
            f->mode = S_IFDIR | 0755;
            f->nlink = 1;
            f->dev = 1;
            f->size = 4096;
        }
    }
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct cascade_file *)a)->path, ((const struct cascade_file *)b)->path);
}

static void add_process(struct cascade_node *n, const struct built_node *b)
{
    const char *only[] = { n->entries[0].start.executable, NULL };
    const char *const *args = b->args ? b->args : only;
    while (args[n->arg_count])
        n->arg_count++;
    n->args = calloc(n->arg_count + 1, sizeof(*n->args));
    for (size_t i = 0; n->args && i < n->arg_count; i++)
        n->args[i] = strdup(args[i]);

    while (b->env && b->env[n->env_count])
        n->env_count++;
    n->env = calloc(n->env_count + 1, sizeof(*n->env));
    for (size_t i = 0; n->env && i < n->env_count; i++) {
        const char *equals = strchr(b->env[i], '=');
        n->env[i].policy = equals ? MANIFEST_ENV_PINNED : MANIFEST_ENV_HOST;
        n->env[i].name = strndup(b->env[i], strcspn(b->env[i], "="));
        n->env[i].value = strdup(equals ? equals + 1 : "");
    }
    while (b->net && b->net[n->net_count])
        n->net_count++;
    n->net = calloc(n->net_count + 1, sizeof(*n->net));
    for (size_t i = 0; n->net && i < n->net_count; i++)
        n->net[i] = strdup(b->net[i]);
    n->given_count = b->given_count;
    n->given = calloc(n->given_count + 1, sizeof(*n->given));
    for (size_t i = 0; n->given && i < n->given_count; i++) {
        n->given[i].what = b->given[i].what;
        n->given[i].name = b->given[i].name ? strdup(b->given[i].name) : NULL;
        n->given[i].value = b->given[i].value ? strdup(b->given[i].value) : NULL;
    }
    if (!n->args || !n->env || !n->net || !n->given)
        abort();
}

int manifest_build_cascade(const struct built_file *files, size_t count,
                           const struct built_node *node, struct cascade **ret, struct err *err)
{
    static const struct built_node nothing;
    const struct built_node *b = node ? node : &nothing;
    const struct content all = { files, count };
    struct cascade *c = calloc(1, sizeof(*c));
    struct cascade_node *n = c ? calloc(1, sizeof(*n)) : NULL;
    if (!n) {
        free(c);
        return err_set(err, -ENOMEM, "out of memory");
    }
    c->nodes = n;
    c->node_count = 1;
    struct cascade_entry *e = n->entries = calloc(1, sizeof(*e));
    if (!e)
        abort();
    n->entry_count = 1;
    e->start.executable = strdup(b->executable ? b->executable : "/bin/program");
    e->start.kind = PROGRAM_ANY;
    e->interpreter = b->interpreter ? strdup(b->interpreter) : NULL;
    e->execfn = strdup(e->start.executable);
    n->label = strdup("test");
    n->hostname = strdup("localhost");
    n->cwd = strdup(b->cwd ? b->cwd : "/");
    n->flags = b->flags ? b->flags : MANIFEST_ROOT;
    n->uid = b->uid;
    n->gid = b->gid;
    n->umask = b->umask ? b->umask : 022;
    n->thread_count = b->thread_count ? b->thread_count : 4;
    n->cpu_count = 2;
    n->fd_limit = 1024;
    n->heap_size = b->heap_size ? b->heap_size : 64 << 20;
    n->stack_size = 1 << 20;
    add_process(n, b);

    for (size_t i = 0; i < count; i++)
        add_file(n, &all, &files[i]);
    if (!b->executable) {
        const struct built_file program = { .path = "/bin/program", .flags = MANIFEST_EXEC };
        add_file(n, &all, &program);
    }
    size_t given = n->file_count;
    for (size_t i = 0; i < given; i++)
        add_parents(n, n->files[i].path);
    add_parents(n, n->cwd);
    qsort(n->files, n->file_count, sizeof(*n->files), compare);
    *ret = c;
    return 0;
}

int manifest_build_table(const struct built_file *files, size_t count,
                         const struct built_node *node, void **ret, size_t *ret_size,
                         struct err *err)
{
    static const uint8_t cascade_hash[MANIFEST_HASH_SIZE] = { 0xca };
    static const uint8_t mrsigner[MANIFEST_HASH_SIZE] = { 0x51 };
    struct content all = { files, count };
    CLEANUP(cascade_free_p) struct cascade *c = NULL;
    int r = manifest_build_cascade(files, count, node, &c, err);
    if (r < 0)
        return r;
    const struct manifest_identity id = { cascade_hash, mrsigner, NULL };
    return manifest_pack(c, 0, &id, leaves_of, &all, ret, ret_size, err);
}
