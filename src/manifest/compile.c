#include "manifest/compile.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <uthash.h>

#include "core/manifest_leaf.h"
#include "core/manifest_view.h"
#include "core/net_rule.h"
#include "core/path_hash.h"
#include "manifest/hash.h"
#include "manifest/net.h"
#include "util/fs.h"

/* The string pool: equal strings stand once. A dirent's name is the tail of its record's path. */
struct pooled {
    UT_hash_handle hh;
    struct manifest_str str;
    char text[];
};

struct image {
    const struct cascade *cascade;
    size_t number; /* of node in it */
    const struct cascade_node *node;
    const struct manifest_identity *id;
    struct err *err;
    char *strings;
    size_t string_size, string_capacity;
    struct pooled *pool;
    struct manifest_file *files;
    uint32_t *index;
    uint32_t index_count;
    uint8_t (*leaves)[MANIFEST_HASH_SIZE];
    size_t leaf_count;
    struct manifest_dirent *dirents;
    size_t dirent_count;
    struct manifest_str *args;
    struct manifest_env *env;
    struct manifest_entry *entries;
    struct manifest_child *children;
    struct manifest_grant *grants;
    size_t grant_count;
    struct manifest_net *net;
    struct manifest_given *given;
    struct manifest_node fixed;
};

static void image_done(struct image *m)
{
    struct pooled *s, *next;
    HASH_ITER(hh, m->pool, s, next)
    {
        HASH_DEL(m->pool, s);
        free(s);
    }
    free(m->strings);
    free(m->files);
    free(m->index);
    free(m->leaves);
    free(m->dirents);
    free(m->args);
    free(m->env);
    free(m->entries);
    free(m->children);
    free(m->grants);
    free(m->net);
    free(m->given);
}

static int no_memory(const struct image *m)
{
    return err_set(m->err, -ENOMEM, "compiling '%s': out of memory", m->node->label);
}

static int add_string(struct image *m, const char *text, struct manifest_str *ret)
{
    struct pooled *s;
    size_t size = strlen(text);
    HASH_FIND(hh, m->pool, text, size, s);
    if (s) {
        *ret = s->str;
        return 0;
    }
    if (size + 1 > MANIFEST_SIZE_MAX - m->string_size)
        return err_set(m->err, -EFBIG, "compiling '%s': the paths exceed %u MiB", m->node->label,
                       MANIFEST_SIZE_MAX >> 20);
    if (m->string_capacity - m->string_size < size + 1) {
        size_t capacity = (m->string_capacity + size + 1) * 2;
        char *grown = realloc(m->strings, capacity);
        if (!grown)
            return no_memory(m);
        m->strings = grown;
        m->string_capacity = capacity;
    }
    s = malloc(sizeof(*s) + size + 1);
    if (!s)
        return no_memory(m);
    memcpy(s->text, text, size + 1);
    s->str = (struct manifest_str){ (uint32_t)m->string_size, (uint32_t)size };
    memcpy(m->strings + m->string_size, text, size + 1);
    m->string_size += size + 1;
    HASH_ADD_KEYPTR(hh, m->pool, s->text, size, s);
    *ret = s->str;
    return 0;
}

static uint32_t find_slot(const struct image *m, const char *path, size_t size)
{
    uint32_t mask = m->index_count - 1;
    uint32_t slot = (uint32_t)manifest_path_hash(path, size) & mask;
    for (; m->index[slot] != MANIFEST_NONE; slot = (slot + 1) & mask) {
        const char *there = m->node->files[m->index[slot]].path;
        if (strncmp(there, path, size) == 0 && there[size] == '\0')
            break;
    }
    return slot;
}

static uint32_t find_file(const struct image *m, const char *path, size_t size)
{
    return m->index[find_slot(m, path, size)];
}

static int make_index(struct image *m)
{
    m->index_count = 2;
    while (m->index_count < 2 * m->node->file_count)
        m->index_count *= 2;
    m->index = malloc(m->index_count * sizeof(*m->index));
    if (!m->index)
        return no_memory(m);
    memset(m->index, 0xff, m->index_count * sizeof(*m->index));
    for (uint32_t i = 0; i < m->node->file_count; i++) {
        const char *path = m->node->files[i].path;
        uint32_t slot = find_slot(m, path, strlen(path));
        if (m->index[slot] != MANIFEST_NONE)
            return err_set(m->err, -EBADMSG, "compiling '%s': '%s' stands twice", m->node->label,
                           path);
        m->index[slot] = i;
    }
    return 0;
}

static int add_file(struct image *m, uint32_t i)
{
    const struct cascade_file *from = &m->node->files[i];
    struct manifest_file *to = &m->files[i];

    *to = (struct manifest_file){
        .class = from->class,
        .flags = from->flags,
        .mode = from->mode,
        .nlink = from->nlink,
        .size = from->size,
        .mtime_sec = from->mtime_sec,
        .mtime_nsec = from->mtime_nsec,
        .uid = from->uid,
        .gid = from->gid,
        .dev = from->dev,
        .ino = from->class == MANIFEST_ABSENT ? 0 : i + 1ull,
    };
    memcpy(to->sha256, from->sha256, sizeof(to->sha256));

    int r = add_string(m, from->path, &to->path);
    if (r == 0)
        r = add_string(m, from->target ? from->target : "", &to->target);
    if (r < 0)
        return r;

    const char *slash = strrchr(from->path, '/');
    size_t head = slash == from->path ? 1 : (size_t)(slash - from->path);
    to->parent = find_file(m, from->path, head);
    if (to->parent == MANIFEST_NONE)
        return err_set(m->err, -EBADMSG, "compiling '%s': the folder of '%s' has no record",
                       m->node->label, from->path);
    if (from->link) {
        uint32_t first = find_file(m, from->link, strlen(from->link));
        if (first == MANIFEST_NONE || first >= i)
            return err_set(m->err, -EBADMSG, "compiling '%s': '%s' is a link to no record",
                           m->node->label, from->path);
        to->ino = m->files[first].ino;
    }
    if (from->class == MANIFEST_TRUSTED && S_ISREG(from->mode)) {
        uint64_t count = manifest_leaf_count(from->size);
        if (count > MANIFEST_SIZE_MAX / MANIFEST_HASH_SIZE - m->leaf_count)
            return err_set(m->err, -EFBIG,
                           "compiling '%s': '%s' and the files before are too large",
                           m->node->label, from->path);
        to->leaf_count = (uint32_t)count;
        to->first_leaf = count ? (uint32_t)m->leaf_count : 0;
        m->leaf_count += count;
    }
    return 0;
}

static bool is_listed(const struct manifest_file *f)
{
    return f->class != MANIFEST_ABSENT && !(f->flags & MANIFEST_OUTPUT) &&
           !(f->class == MANIFEST_SCRATCH && f->nlink == 0);
}

/* A listing is the records that stand directly below, in their order, which is that of the names.
 */
static int make_listings(struct image *m)
{
    uint32_t count = (uint32_t)m->node->file_count;
    size_t total = 0;
    for (uint32_t i = 1; i < count; i++) {
        struct manifest_file *parent = &m->files[m->files[i].parent];
        if ((parent->flags & MANIFEST_LISTED) && is_listed(&m->files[i])) {
            parent->dirent_count++;
            total++;
        }
    }
    m->dirent_count = total;
    m->dirents = calloc(total + 1, sizeof(*m->dirents));
    if (!m->dirents)
        return no_memory(m);

    uint32_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (m->files[i].flags & MANIFEST_LISTED)
            m->files[i].first_dirent = next;
        next += m->files[i].dirent_count;
        m->files[i].dirent_count = 0;
    }
    for (uint32_t i = 1; i < count; i++) {
        struct manifest_file *f = &m->files[i];
        struct manifest_file *parent = &m->files[f->parent];
        if (!(parent->flags & MANIFEST_LISTED) || !is_listed(f))
            continue;
        uint32_t skip = f->parent == 0 ? 1 : parent->path.length + 1;
        m->dirents[parent->first_dirent + parent->dirent_count++] = (struct manifest_dirent){
            .name = { f->path.offset + skip, f->path.length - skip },
            .file = i,
        };
    }
    return 0;
}

static int make_leaves(struct image *m, manifest_leaves_fn *get, void *ctx)
{
    m->leaves = calloc(m->leaf_count + 1, sizeof(*m->leaves));
    if (!m->leaves)
        return no_memory(m);
    for (size_t i = 0; i < m->node->file_count; i++) {
        const struct cascade_file *f = &m->node->files[i];
        if (f->class != MANIFEST_TRUSTED || !S_ISREG(f->mode))
            continue;
        uint8_t(*leaves)[MANIFEST_HASH_SIZE] = m->leaves + m->files[i].first_leaf;
        int r = get(ctx, f, leaves, m->files[i].leaf_count, m->err);
        if (r < 0)
            return r;
        uint8_t root[MANIFEST_HASH_SIZE];
        manifest_root(f->size, leaves, m->files[i].leaf_count, root);
        if (memcmp(root, f->root, sizeof(root)) != 0)
            return err_set(m->err, -EILSEQ,
                           "compiling '%s': the chunks of '%s' do not give its root",
                           m->node->label, f->path);
    }
    return 0;
}

static int make_files(struct image *m)
{
    m->files = calloc(m->node->file_count + 1, sizeof(*m->files));
    if (!m->files)
        return no_memory(m);
    int r = make_index(m);
    for (uint32_t i = 0; r == 0 && i < m->node->file_count; i++)
        r = add_file(m, i);
    return r < 0 ? r : make_listings(m);
}

static int make_process(struct image *m)
{
    const struct cascade_node *n = m->node;
    m->args = calloc(n->arg_count + 1, sizeof(*m->args));
    m->env = calloc(n->env_count + 1, sizeof(*m->env));
    if (!m->args || !m->env)
        return no_memory(m);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n->arg_count; i++)
        r = add_string(m, n->args[i], &m->args[i]);
    for (size_t i = 0; r == 0 && i < n->env_count; i++) {
        m->env[i].policy = n->env[i].policy;
        r = add_string(m, n->env[i].name, &m->env[i].name);
        if (r == 0)
            r = add_string(m, n->env[i].value, &m->env[i].value);
    }
    if (r < 0)
        return r;

    struct manifest_node *f = &m->fixed;
    f->flags = n->flags;
    f->uid = n->uid;
    f->gid = n->gid;
    f->umask = n->umask;
    f->thread_count = n->thread_count;
    f->cpu_count = n->cpu_count;
    f->heap_size = n->heap_size;
    f->stack_size = n->stack_size;
    f->fd_limit = n->fd_limit;
    f->async_signals = n->async_signals;
    f->process_limit = n->process_limit;
    if ((r = add_string(m, n->label, &f->label)) < 0 || (r = add_string(m, n->cwd, &f->cwd)) < 0 ||
        (r = add_string(m, n->hostname, &f->hostname)) < 0)
        return r;
    return 0;
}

/* ---- the tree ---- */

static int make_entries(struct image *m)
{
    const struct cascade_node *n = m->node;
    m->entries = calloc(n->entry_count + 1, sizeof(*m->entries));
    if (!m->entries)
        return no_memory(m);
    for (size_t i = 0; i < n->entry_count; i++) {
        const struct cascade_entry *from = &n->entries[i];
        struct manifest_entry *to = &m->entries[i];
        const char *executable = from->start.executable;
        to->executable = find_file(m, executable, strlen(executable));
        to->interpreter = from->interpreter
                              ? find_file(m, from->interpreter, strlen(from->interpreter))
                              : MANIFEST_NONE;
        to->kind = from->start.kind;
        cascade_start_key(&from->start, to->key);
        if (to->executable == MANIFEST_NONE ||
            (from->interpreter && to->interpreter == MANIFEST_NONE))
            return err_set(m->err, -EBADMSG, "compiling '%s': '%s' has no record", n->label,
                           to->executable == MANIFEST_NONE ? executable : from->interpreter);
        int r = add_string(m, from->execfn, &to->execfn);
        if (r < 0)
            return r;
    }
    return 0;
}

/* As the library OS looks for them: by path, kind, key. */
static int compare_children(const void *a, const void *b, void *strings)
{
    const struct manifest_child *x = a, *y = b;
    int r = strcmp((char *)strings + x->executable.offset, (char *)strings + y->executable.offset);
    if (r == 0)
        r = x->kind < y->kind ? -1 : x->kind > y->kind;
    return r ? r : memcmp(x->key, y->key, sizeof(x->key));
}

static int make_children(struct image *m)
{
    const struct cascade_node *n = m->node;
    m->children = calloc(n->child_count + 1, sizeof(*m->children));
    if (!m->children)
        return no_memory(m);
    for (size_t i = 0; i < n->child_count; i++) {
        const struct cascade_child *from = &n->children[i];
        struct manifest_child *to = &m->children[i];
        to->kind = from->start.kind;
        cascade_start_key(&from->start, to->key);
        if (from->node == m->number)
            to->flags = MANIFEST_CHILD_SELF;
        else if (m->id->mrenclaves)
            memcpy(to->mrenclave, m->id->mrenclaves[from->node], sizeof(to->mrenclave));
        int r = add_string(m, from->start.executable, &to->executable);
        if (r == 0)
            r = add_string(m, m->cascade->nodes[from->node].label, &to->label);
        if (r < 0)
            return r;
    }
    qsort_r(m->children, n->child_count, sizeof(*m->children), compare_children, m->strings);
    return 0;
}

static int compare_grants(const void *a, const void *b, void *strings)
{
    const struct manifest_grant *x = a, *y = b;
    int r = memcmp(x->mrenclave, y->mrenclave, sizeof(x->mrenclave));
    return r ? r : strcmp((char *)strings + x->path.offset, (char *)strings + y->path.offset);
}

/* The scratch paths of one other node; what lies below one of them goes with it. */
static int grant_node(struct image *m, size_t node)
{
    const struct cascade_node *n = &m->cascade->nodes[node];
    const char *last = NULL;
    for (size_t i = 0; i < n->file_count; i++) {
        const struct cascade_file *f = &n->files[i];
        size_t size = last ? strlen(last) : 0;
        if (f->class != MANIFEST_SCRATCH ||
            (last && strncmp(f->path, last, size) == 0 && f->path[size] == '/'))
            continue;
        struct manifest_grant *grown = realloc(m->grants, (m->grant_count + 1) * sizeof(*grown));
        if (!grown)
            return no_memory(m);
        m->grants = grown;
        struct manifest_grant *to = &grown[m->grant_count];
        *to = (struct manifest_grant){ 0 };
        memcpy(to->mrenclave, m->id->mrenclaves[node], sizeof(to->mrenclave));
        int r = add_string(m, f->path, &to->path);
        if (r < 0)
            return r;
        m->grant_count++;
        last = f->path;
    }
    return 0;
}

static int make_grants(struct image *m)
{
    int r = 0;
    if (!(m->node->flags & MANIFEST_ROOT) || !m->id->mrenclaves)
        return 0;
    for (size_t i = 0; r == 0 && i < m->cascade->node_count; i++)
        r = i == m->number ? 0 : grant_node(m, i);
    if (r == 0 && m->grant_count)
        qsort_r(m->grants, m->grant_count, sizeof(*m->grants), compare_grants, m->strings);
    return r;
}

/* ---- network ---- */

static int compare_net(const void *a, const void *b)
{
    return net_rule_compare(a, b);
}

static int make_net(struct image *m)
{
    const struct cascade_node *n = m->node;
    m->net = calloc(n->net_count + 1, sizeof(*m->net));
    if (!m->net)
        return no_memory(m);
    for (size_t i = 0; i < n->net_count; i++)
        if (net_parse(n->net[i], &m->net[i]) < 0)
            return err_set(m->err, -EBADMSG, "compiling '%s': '%s' is no network rule", n->label,
                           n->net[i]);
    qsort(m->net, n->net_count, sizeof(*m->net), compare_net);
    return 0;
}

/* ---- what it may be given ---- */

static int make_given(struct image *m)
{
    const struct cascade_node *n = m->node;
    m->given = calloc(n->given_count + 1, sizeof(*m->given));
    if (!m->given)
        return no_memory(m);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n->given_count; i++) {
        m->given[i].what = n->given[i].what;
        r = add_string(m, n->given[i].name ? n->given[i].name : "", &m->given[i].name);
        if (r == 0)
            r = add_string(m, n->given[i].value ? n->given[i].value : "", &m->given[i].value);
    }
    return r;
}

static int write_out(const struct image *m, void **ret, size_t *ret_size)
{
    const struct {
        const void *data;
        uint32_t entry_size;
        size_t count;
    } parts[MANIFEST_SECTION_TYPES] = {
        [MANIFEST_STRINGS - 1] = { m->strings, 1, m->string_size },
        [MANIFEST_NODE - 1] = { &m->fixed, sizeof(m->fixed), 1 },
        [MANIFEST_FILES - 1] = { m->files, sizeof(*m->files), m->node->file_count },
        [MANIFEST_INDEX - 1] = { m->index, sizeof(*m->index), m->index_count },
        [MANIFEST_LEAVES - 1] = { m->leaves, sizeof(*m->leaves), m->leaf_count },
        [MANIFEST_DIRENTS - 1] = { m->dirents, sizeof(*m->dirents), m->dirent_count },
        [MANIFEST_ARGS - 1] = { m->args, sizeof(*m->args), m->node->arg_count },
        [MANIFEST_ENV - 1] = { m->env, sizeof(*m->env), m->node->env_count },
        [MANIFEST_ENTRIES - 1] = { m->entries, sizeof(*m->entries), m->node->entry_count },
        [MANIFEST_CHILDREN - 1] = { m->children, sizeof(*m->children), m->node->child_count },
        [MANIFEST_GRANTS - 1] = { m->grants, sizeof(*m->grants), m->grant_count },
        [MANIFEST_NET - 1] = { m->net, sizeof(*m->net), m->node->net_count },
        [MANIFEST_GIVEN - 1] = { m->given, sizeof(*m->given), m->node->given_count },
    };

    struct manifest_header h = {
        .magic = MANIFEST_MAGIC,
        .version = MANIFEST_VERSION,
        .section_count = MANIFEST_SECTION_TYPES,
    };
    uint64_t end = sizeof(h);
    for (uint32_t i = 0; i < MANIFEST_SECTION_TYPES; i++) {
        end = (end + 7) & ~7ull;
        h.sections[i] =
            (struct manifest_section){ i + 1, parts[i].entry_size, end, parts[i].count };
        end += parts[i].count * parts[i].entry_size;
    }
    h.size = (end + 7) & ~7ull;
    if (h.size > MANIFEST_SIZE_MAX)
        return err_set(m->err, -EFBIG, "compiling '%s': the manifest has %llu MiB; at most %u fit",
                       m->node->label, (unsigned long long)h.size >> 20, MANIFEST_SIZE_MAX >> 20);

    CLEANUP(free_p) char *out = calloc(1, h.size);
    if (!out)
        return no_memory(m);
    memcpy(out, &h, sizeof(h));
    for (uint32_t i = 0; i < MANIFEST_SECTION_TYPES; i++)
        if (parts[i].count)
            memcpy(out + h.sections[i].offset, parts[i].data, parts[i].count * parts[i].entry_size);

    /* What a hand-edited cascade got wrong ends here, never in the enclave. */
    struct manifest_view view;
    const char *reason;
    int r = manifest_view_open(out, h.size, &view, &reason);
    if (r < 0)
        return err_set(m->err, r, "compiling '%s': %s", m->node->label, reason);
    *ret_size = h.size;
    *ret = TAKE_PTR(out);
    return 0;
}

int manifest_pack(const struct cascade *c, size_t node, const struct manifest_identity *id,
                  manifest_leaves_fn *leaves, void *ctx, void **ret, size_t *ret_size,
                  struct err *err)
{
    const struct cascade_node *n = &c->nodes[node];
    if (n->file_count == 0 || n->file_count > MANIFEST_FILES_MAX)
        return err_set(err, -EFBIG, "compiling '%s': %zu files; 1 to %u fit", n->label,
                       n->file_count, MANIFEST_FILES_MAX);
    CLEANUP(image_done)
    struct image m = { .cascade = c, .number = node, .node = n, .id = id, .err = err };
    memcpy(m.fixed.cascade_id, id->cascade_id, MANIFEST_HASH_SIZE);
    memcpy(m.fixed.mrsigner, id->mrsigner, MANIFEST_HASH_SIZE);
    int r = make_files(&m);
    if (r == 0)
        r = make_leaves(&m, leaves, ctx);
    if (r == 0)
        r = make_process(&m);
    if (r == 0)
        r = make_entries(&m);
    if (r == 0)
        r = make_children(&m);
    if (r == 0)
        r = make_grants(&m);
    if (r == 0)
        r = make_net(&m);
    if (r == 0)
        r = make_given(&m);
    return r < 0 ? r : write_out(&m, ret, ret_size);
}

static int leaves_from_disk(void *ctx UNUSED, const struct cascade_file *f,
                            uint8_t (*ret)[MANIFEST_HASH_SIZE], uint64_t count, struct err *err)
{
    return manifest_hash_again(f, ret, count, err);
}

int manifest_compile(const struct cascade *c, size_t node, const struct manifest_identity *id,
                     void **ret, size_t *ret_size, struct err *err)
{
    return manifest_pack(c, node, id, leaves_from_disk, NULL, ret, ret_size, err);
}
