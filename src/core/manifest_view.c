#include "core/manifest_view.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/net_rule.h"
#include "core/path_hash.h"
#include "core/program_key.h"

/* st_mode's type bits; sys/stat.h is libc's. */
#define MODE_TYPE 0170000u
#define MODE_DIR  0040000u
#define MODE_REG  0100000u
#define MODE_LNK  0120000u

#define FILE_FLAGS \
    (MANIFEST_DENY | MANIFEST_SUBTREE | MANIFEST_OUTPUT | MANIFEST_EXEC | MANIFEST_LISTED)
#define NODE_FLAGS                                                                       \
    (MANIFEST_ROOT | MANIFEST_EXEC_DENY | MANIFEST_ARGS_HOST | MANIFEST_INSECURE_DEBUG | \
     MANIFEST_FORKS | MANIFEST_INSECURE_GIVEN)

static const struct {
    uint32_t entry_size;
    uint32_t min, max; /* entries */
} shapes[MANIFEST_SECTION_TYPES] = {
    [MANIFEST_STRINGS - 1] = { 1, 1, MANIFEST_SIZE_MAX },
    [MANIFEST_NODE - 1] = { sizeof(struct manifest_node), 1, 1 },
    [MANIFEST_FILES - 1] = { sizeof(struct manifest_file), 1, MANIFEST_FILES_MAX },
    [MANIFEST_INDEX - 1] = { sizeof(uint32_t), 2, MANIFEST_SIZE_MAX / sizeof(uint32_t) },
    [MANIFEST_LEAVES - 1] = { MANIFEST_HASH_SIZE, 0, MANIFEST_SIZE_MAX / MANIFEST_HASH_SIZE },
    [MANIFEST_DIRENTS - 1] = { sizeof(struct manifest_dirent), 0, MANIFEST_FILES_MAX },
    [MANIFEST_ARGS - 1] = { sizeof(struct manifest_str), 1, MANIFEST_ARGS_MAX },
    [MANIFEST_ENV - 1] = { sizeof(struct manifest_env), 0, MANIFEST_ENV_MAX },
    [MANIFEST_ENTRIES - 1] = { sizeof(struct manifest_entry), 1, MANIFEST_FILES_MAX },
    [MANIFEST_CHILDREN - 1] = { sizeof(struct manifest_child), 0, MANIFEST_FILES_MAX },
    [MANIFEST_GRANTS - 1] = { sizeof(struct manifest_grant), 0, MANIFEST_FILES_MAX },
    [MANIFEST_NET - 1] = { sizeof(struct manifest_net), 0, MANIFEST_NET_MAX },
    [MANIFEST_GIVEN - 1] = { sizeof(struct manifest_given), 0, MANIFEST_GIVEN_MAX },
};

/* memcmp would be the library OS's plain byte loop; paths are compared a few times each. */
static bool same_bytes(const char *a, const char *b, uint64_t size)
{
    for (; size >= 8; size -= 8, a += 8, b += 8) {
        uint64_t x, y;
        __builtin_memcpy(&x, a, 8);
        __builtin_memcpy(&y, b, 8);
        if (x != y)
            return false;
    }
    for (; size; size--)
        if (*a++ != *b++)
            return false;
    return true;
}

static int compare_bytes(const char *a, uint64_t a_size, const char *b, uint64_t b_size)
{
    uint64_t size = a_size < b_size ? a_size : b_size;
    for (; size >= 8; size -= 8, a += 8, b += 8) {
        uint64_t x, y;
        __builtin_memcpy(&x, a, 8);
        __builtin_memcpy(&y, b, 8);
        if (x != y) {
            x = __builtin_bswap64(x);
            y = __builtin_bswap64(y);
            return x < y ? -1 : 1;
        }
    }
    for (; size; size--, a++, b++)
        if (*a != *b)
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
    return a_size < b_size ? -1 : a_size > b_size;
}

static bool all_zero(const void *data, uint64_t size)
{
    const uint8_t *p = data;
    for (uint64_t i = 0; i < size; i++)
        if (p[i])
            return false;
    return true;
}

/* The string lies in the pool, a NUL follows it. */
static bool str_inside(const struct manifest_view *v, struct manifest_str s)
{
    return s.offset < v->string_size && s.length < v->string_size - s.offset &&
           v->strings[(uint64_t)s.offset + s.length] == '\0';
}

static bool holds_nul(const char *p, uint64_t size)
{
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t w;
        __builtin_memcpy(&w, p, 8);
        if ((w - 0x0101010101010101ull) & ~w & 0x8080808080808080ull)
            return true;
    }
    for (; size; size--)
        if (!*p++)
            return true;
    return false;
}

/* str_inside and, because callers see C strings, no NUL in it. */
static bool str_valid(const struct manifest_view *v, struct manifest_str s)
{
    return str_inside(v, s) && !holds_nul(manifest_str_ptr(v, s), s.length);
}

/* One component: not empty, not "." or "..", no "/" and no NUL. */
static bool name_valid(const char *name, uint64_t length)
{
    if (length == 0 || length > 255)
        return false;
    if (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')))
        return false;
    for (uint64_t i = 0; i < length; i++)
        if (name[i] == '/' || name[i] == '\0')
            return false;
    return true;
}

/* Absolute and canonical. */
static bool path_valid(const char *path, uint64_t length)
{
    if (length == 0 || length > MANIFEST_PATH_MAX || path[0] != '/')
        return false;
    if (length == 1)
        return true;
    uint64_t start = 1;
    for (uint64_t i = 1; i <= length; i++) {
        if (i < length && path[i] != '/')
            continue;
        if (!name_valid(path + start, i - start))
            return false;
        start = i + 1;
    }
    return true;
}

static const char *check_header(const uint8_t *base, uint64_t size, struct manifest_view *v)
{
    const struct manifest_header *h = (const void *)base;
    if (h->section_count != MANIFEST_SECTION_TYPES)
        return "the number of sections is not this version's";
    if (h->size != size || size % 8)
        return "the size in the header is not the manifest's";

    uint64_t end = sizeof(*h);
    for (uint32_t i = 0; i < MANIFEST_SECTION_TYPES; i++) {
        const struct manifest_section *s = &h->sections[i];
        if (s->type != i + 1)
            return "an unknown, repeated or missing section";
        if (s->entry_size != shapes[i].entry_size)
            return "a section has entries of another size";
        if (s->count < shapes[i].min || s->count > shapes[i].max)
            return "a section has too few or too many entries";
        /* No overflow: counts are limited above, and so is end by size. */
        uint64_t bytes = s->count * s->entry_size;
        uint64_t want = (end + 7) & ~7ull;
        if (s->offset != want || s->offset > size || bytes > size - s->offset)
            return "a section lies outside the manifest or out of order";
        if (!all_zero(base + end, want - end))
            return "a gap between sections is not zero";
        end = s->offset + bytes;
    }
    if (((end + 7) & ~7ull) != size || !all_zero(base + end, size - end))
        return "bytes after the last section";

#define SECTION(type) ((const void *)(base + h->sections[(type)-1].offset))
#define COUNT(type)   ((uint32_t)h->sections[(type)-1].count)
    v->header = h;
    v->size = size;
    v->strings = SECTION(MANIFEST_STRINGS);
    v->string_size = COUNT(MANIFEST_STRINGS);
    v->node = SECTION(MANIFEST_NODE);
    v->files = SECTION(MANIFEST_FILES);
    v->file_count = COUNT(MANIFEST_FILES);
    v->index = SECTION(MANIFEST_INDEX);
    v->index_count = COUNT(MANIFEST_INDEX);
    v->leaves = SECTION(MANIFEST_LEAVES);
    v->leaf_count = COUNT(MANIFEST_LEAVES);
    v->dirents = SECTION(MANIFEST_DIRENTS);
    v->dirent_count = COUNT(MANIFEST_DIRENTS);
    v->args = SECTION(MANIFEST_ARGS);
    v->arg_count = COUNT(MANIFEST_ARGS);
    v->env = SECTION(MANIFEST_ENV);
    v->env_count = COUNT(MANIFEST_ENV);
    v->entries = SECTION(MANIFEST_ENTRIES);
    v->entry_count = COUNT(MANIFEST_ENTRIES);
    v->children = SECTION(MANIFEST_CHILDREN);
    v->child_count = COUNT(MANIFEST_CHILDREN);
    v->grants = SECTION(MANIFEST_GRANTS);
    v->grant_count = COUNT(MANIFEST_GRANTS);
    v->net = SECTION(MANIFEST_NET);
    v->net_count = COUNT(MANIFEST_NET);
    v->given = SECTION(MANIFEST_GIVEN);
    v->given_count = COUNT(MANIFEST_GIVEN);
#undef SECTION
#undef COUNT
    return NULL;
}

static const char *check_node(const struct manifest_view *v)
{
    const struct manifest_node *n = v->node;
    if (!str_valid(v, n->label) || !str_valid(v, n->cwd) || !str_valid(v, n->hostname))
        return "the node has a bad string";
    if (!path_valid(manifest_str_ptr(v, n->cwd), n->cwd.length))
        return "the working directory is no canonical absolute path";
    if (n->hostname.length > 64)
        return "the host name is too long";
    if (n->flags & ~(uint32_t)NODE_FLAGS)
        return "the node has unknown flags";
    if (n->umask > 0777)
        return "the umask has unknown bits";
    if (n->thread_count == 0 || n->thread_count > MANIFEST_THREADS_MAX)
        return "the number of threads is out of range";
    if (n->cpu_count == 0 || n->cpu_count > MANIFEST_THREADS_MAX)
        return "the number of CPUs is out of range";
    if (n->heap_size == 0 || n->heap_size > MANIFEST_HEAP_MAX || n->heap_size % 4096)
        return "the heap size is out of range";
    if (n->stack_size == 0 || n->stack_size > n->heap_size || n->stack_size % 4096)
        return "the stack size is out of range";
    if (n->fd_limit < 3 || n->fd_limit > 1u << 20)
        return "the number of descriptors is out of range";
    if (n->process_limit > MANIFEST_PROCESSES_MAX ||
        (n->process_limit && !(n->flags & MANIFEST_ROOT)))
        return "the number of processes is out of range";
    if (n->reserved != 0)
        return "the node has unknown fields";
    return NULL;
}

/* Path and parent: canonical by induction, since the parent stands before and was checked. */
static const char *check_place(const struct manifest_view *v, uint32_t i)
{
    const struct manifest_file *f = &v->files[i];
    if (!str_inside(v, f->path) || f->path.length == 0 || f->path.length > MANIFEST_PATH_MAX)
        return "a path lies outside the strings or is too long";
    const char *path = manifest_str_ptr(v, f->path);
    if (i == 0) {
        if (f->path.length != 1 || path[0] != '/' || f->parent != 0 ||
            (f->mode & MODE_TYPE) != MODE_DIR)
            return "the first record is not the root directory";
        return NULL;
    }

    const struct manifest_file *before = &v->files[i - 1];
    if (compare_bytes(manifest_str_ptr(v, before->path), before->path.length, path,
                      f->path.length) >= 0)
        return "paths are out of order or repeated";
    if (f->parent >= i)
        return "a record's parent does not stand before it";

    const struct manifest_file *parent = &v->files[f->parent];
    uint32_t head = f->parent == 0 ? 0 : parent->path.length;
    if (f->path.length <= head || path[head] != '/' ||
        !same_bytes(path, manifest_str_ptr(v, parent->path), head) ||
        !name_valid(path + head + 1, f->path.length - head - 1))
        return "a record's path is not its parent's and one name";
    if ((parent->mode & MODE_TYPE) != MODE_DIR)
        return "a record's parent is no directory";
    return NULL;
}

/* Which flags and modes go with which class. */
static const char *check_class(const struct manifest_file *f)
{
    uint32_t type = f->mode & MODE_TYPE;
    uint32_t may;
    switch (f->class) {
    case MANIFEST_TRUSTED:
        if (type != MODE_REG && type != MODE_DIR && type != MODE_LNK)
            return "a trusted record is no file, directory or symlink";
        may = type == MODE_REG   ? MANIFEST_DENY | MANIFEST_EXEC
              : type == MODE_DIR ? MANIFEST_LISTED
                                 : 0;
        if ((f->flags & MANIFEST_DENY) && (f->flags & MANIFEST_EXEC))
            return "an executable file may not be DENY";
        break;
    case MANIFEST_ALLOWED:
        may = type == MODE_DIR ? MANIFEST_SUBTREE | MANIFEST_OUTPUT : MANIFEST_OUTPUT;
        break;
    case MANIFEST_SCRATCH:
        may = type == MODE_DIR && f->nlink ? MANIFEST_SUBTREE | MANIFEST_LISTED : 0;
        break;
    case MANIFEST_NAMED: may = type == MODE_DIR ? MANIFEST_LISTED : 0; break;
    case MANIFEST_ABSENT:
        if (f->mode || f->size || f->nlink || f->mtime_sec || f->mtime_nsec || f->uid || f->gid)
            return "an absent record has metadata";
        may = 0;
        break;
    default: return "a record has an unknown class";
    }
    if (f->flags & ~may)
        return "a record has flags that do not go with its class and type";
    if ((f->class != MANIFEST_ABSENT && type == 0) || f->mode > 0177777)
        return "a record's mode is none";
    return NULL;
}

static const char *check_content(const struct manifest_view *v, const struct manifest_file *f)
{
    uint32_t type = f->mode & MODE_TYPE;
    if (!str_valid(v, f->target) || f->target.length > MANIFEST_PATH_MAX)
        return "a symlink's target lies outside the strings or is too long";
    if ((type == MODE_LNK) != (f->target.length != 0))
        return "a symlink without target, or a target without symlink";
    if (type == MODE_LNK && f->size != f->target.length)
        return "a symlink's size is not its target's";

    uint64_t leaves = 0;
    if (f->class == MANIFEST_TRUSTED && type == MODE_REG)
        leaves = f->size / MANIFEST_CHUNK_SIZE + (f->size % MANIFEST_CHUNK_SIZE != 0);
    if (f->leaf_count != leaves || f->first_leaf > v->leaf_count ||
        leaves > v->leaf_count - f->first_leaf || (leaves == 0 && f->first_leaf != 0))
        return "a record's leaves do not fit its size";
    if (!(f->flags & MANIFEST_LISTED) && (f->first_dirent != 0 || f->dirent_count != 0))
        return "a record without listing has directory entries";
    if (f->first_dirent > v->dirent_count || f->dirent_count > v->dirent_count - f->first_dirent)
        return "a listing lies outside its section";
    if (f->mtime_nsec >= 1000000000u)
        return "a time has too many nanoseconds";
    if (f->class != MANIFEST_ABSENT && (f->dev == 0 || f->ino == 0))
        return "a record has no device or inode number";
    if (f->rdev != 0)
        return "a reserved field is not zero";
    return NULL;
}

static const char *check_listing(const struct manifest_view *v, uint32_t dir)
{
    const struct manifest_file *d = &v->files[dir];
    uint32_t head = dir == 0 ? 1 : d->path.length + 1;
    for (uint32_t i = 0; i < d->dirent_count; i++) {
        const struct manifest_dirent *e = &v->dirents[d->first_dirent + i];
        if (e->file >= v->file_count || e->file == 0 || e->reserved != 0)
            return "a directory entry names no record";
        const struct manifest_file *f = &v->files[e->file];
        if (f->parent != dir)
            return "a directory entry names a record elsewhere";
        if (!str_inside(v, e->name) || e->name.length != f->path.length - head ||
            !same_bytes(manifest_str_ptr(v, e->name), manifest_str_ptr(v, f->path) + head,
                        e->name.length))
            return "a directory entry's name is not its record's";
        if (f->class == MANIFEST_ABSENT || (f->flags & MANIFEST_OUTPUT) ||
            (f->class == MANIFEST_SCRATCH && f->nlink == 0))
            return "a directory entry names an absent file, an output or a temporary one";
        /* Siblings stand in the order of their names, so this is the names' order as well. */
        if (i > 0 && e[-1].file >= e->file)
            return "directory entries are out of order or repeated";
    }
    return NULL;
}

static const char *check_files(const struct manifest_view *v)
{
    const char *reason;
    for (uint32_t i = 0; i < v->file_count; i++) {
        if ((reason = check_place(v, i)) || (reason = check_class(&v->files[i])) ||
            (reason = check_content(v, &v->files[i])))
            return reason;
    }
    for (uint32_t i = 0; i < v->file_count; i++)
        if ((reason = check_listing(v, i)))
            return reason;
    return NULL;
}

static const char *check_index(const struct manifest_view *v)
{
    uint32_t count = v->index_count;
    if ((count & (count - 1)) != 0 || count < 2ull * v->file_count)
        return "the path index has a bad size";
    uint32_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (v->index[i] == MANIFEST_NONE)
            continue;
        if (v->index[i] >= v->file_count)
            return "the path index names no record";
        used++;
    }
    if (used != v->file_count)
        return "the path index does not hold each record once";
    for (uint32_t i = 0; i < v->file_count; i++)
        if (manifest_find(v, manifest_path(v, i), v->files[i].path.length) != i)
            return "the path index does not lead to a record";
    return NULL;
}

static bool holds_equals(const struct manifest_view *v, struct manifest_str name)
{
    for (uint32_t k = 0; k < name.length; k++)
        if (manifest_str_ptr(v, name)[k] == '=')
            return true;
    return false;
}

static const char *check_env(const struct manifest_view *v)
{
    for (uint32_t i = 0; i < v->env_count; i++) {
        const struct manifest_env *e = &v->env[i];
        if (!str_valid(v, e->name) || !str_valid(v, e->value) || e->name.length == 0 ||
            e->reserved != 0)
            return "a variable has a bad string";
        const char *name = manifest_str_ptr(v, e->name);
        if (holds_equals(v, e->name))
            return "a variable's name holds '='";
        if (e->policy != MANIFEST_ENV_PINNED && e->policy != MANIFEST_ENV_HOST)
            return "a variable has an unknown policy";
        if (e->policy == MANIFEST_ENV_HOST && e->value.length != 0)
            return "a variable of the host has a value";
        if (i > 0 && compare_bytes(manifest_str_ptr(v, e[-1].name), e[-1].name.length, name,
                                   e->name.length) >= 0)
            return "variables are out of order or repeated";
    }
    return NULL;
}

static bool starts(const struct manifest_view *v, uint32_t file)
{
    return file < v->file_count && v->files[file].class == MANIFEST_TRUSTED &&
           (v->files[file].flags & MANIFEST_EXEC);
}

static bool zero_hash(const uint8_t hash[static MANIFEST_HASH_SIZE])
{
    uint8_t any = 0;
    for (uint32_t i = 0; i < MANIFEST_HASH_SIZE; i++)
        any |= hash[i];
    return !any;
}

/* Whether this kind of start has a key beside the executable. */
static bool has_key(uint32_t kind)
{
    return kind == PROGRAM_SCRIPT || kind == PROGRAM_MODULE || kind == PROGRAM_COMMAND;
}

static const char *check_key(uint32_t kind, const uint8_t key[static MANIFEST_HASH_SIZE])
{
    if (kind < PROGRAM_PLAIN || kind > PROGRAM_ANY)
        return "a program starts in an unknown way";
    if (!has_key(kind) && !zero_hash(key))
        return "a program has a key that it must not have";
    return NULL;
}

static const char *check_start(const struct manifest_view *v)
{
    for (uint32_t i = 0; i < v->arg_count; i++)
        if (!str_valid(v, v->args[i]))
            return "an argument lies outside the strings";
    for (uint32_t i = 0; i < v->entry_count; i++) {
        const struct manifest_entry *e = &v->entries[i];
        if (!starts(v, e->executable))
            return "the program that starts is no executable record";
        if (e->interpreter != MANIFEST_NONE && !starts(v, e->interpreter))
            return "the program's interpreter is no executable record";
        if (!str_valid(v, e->execfn) || e->execfn.length == 0)
            return "the program's name is a bad string";
        if (e->reserved != 0)
            return "an entry point has unknown fields";
        const char *reason = check_key(e->kind, e->key);
        if (reason)
            return reason;
    }
    return NULL;
}

static const char *check_child(const struct manifest_view *v, const struct manifest_child *c)
{
    if (!str_valid(v, c->executable) || c->executable.length == 0 ||
        v->strings[c->executable.offset] != '/')
        return "a child's program is no path";
    if (!str_valid(v, c->label))
        return "a child's label is a bad string";
    if (c->flags & ~(uint32_t)MANIFEST_CHILD_SELF)
        return "a child has an unknown flag";
    if (!(c->flags & MANIFEST_CHILD_SELF) == zero_hash(c->mrenclave))
        return "a child's measurement contradicts its flags";
    return check_key(c->kind, c->key);
}

static int compare_children(const struct manifest_view *v, const struct manifest_child *a,
                            const struct manifest_child *b)
{
    int r = compare_bytes(v->strings + a->executable.offset, a->executable.length,
                          v->strings + b->executable.offset, b->executable.length);
    if (r == 0)
        r = a->kind < b->kind ? -1 : a->kind > b->kind;
    return r ? r
             : compare_bytes((const char *)a->key, sizeof(a->key), (const char *)b->key,
                             sizeof(b->key));
}

static const char *check_tree(const struct manifest_view *v)
{
    for (uint32_t i = 0; i < v->child_count; i++) {
        const char *reason = check_child(v, &v->children[i]);
        if (reason)
            return reason;
        if (i && compare_children(v, &v->children[i - 1], &v->children[i]) >= 0)
            return "children are out of order or repeated";
    }
    if (v->grant_count && !(v->node->flags & MANIFEST_ROOT))
        return "only a root grants scratch files";
    for (uint32_t i = 0; i < v->grant_count; i++) {
        const struct manifest_str path = v->grants[i].path;
        if (!str_valid(v, path) || path.length == 0 || v->strings[path.offset] != '/')
            return "a grant's path is a bad string";
    }
    return NULL;
}

static const char *check_net(const struct manifest_view *v)
{
    for (uint32_t i = 0; i < v->net_count; i++) {
        const char *reason = net_rule_wrong(&v->net[i]);
        if (reason)
            return reason;
        if (i && net_rule_compare(&v->net[i - 1], &v->net[i]) >= 0)
            return "network rules are out of order or repeated";
    }
    return NULL;
}

static int compare_given(const struct manifest_view *v, const struct manifest_given *a,
                         const struct manifest_given *b)
{
    if (a->what != b->what)
        return a->what < b->what ? -1 : 1;
    int r = compare_bytes(manifest_str_ptr(v, a->name), a->name.length,
                          manifest_str_ptr(v, b->name), b->name.length);
    return r ? r
             : compare_bytes(manifest_str_ptr(v, a->value), a->value.length,
                             manifest_str_ptr(v, b->value), b->value.length);
}

static const char *check_given(const struct manifest_view *v)
{
    if (v->given_count && (v->node->flags & MANIFEST_ROOT))
        return "a root is given nothing";
    for (uint32_t i = 0; i < v->given_count; i++) {
        const struct manifest_given *g = &v->given[i];
        if (g->what < MANIFEST_GIVEN_VARIABLE || g->what > MANIFEST_GIVEN_NAME || g->reserved != 0)
            return "what a node is given is of an unknown kind";
        if (!str_valid(v, g->name) || !str_valid(v, g->value))
            return "what a node is given has a bad string";
        bool named = g->what <= MANIFEST_GIVEN_INSECURE;
        if (named != (g->name.length != 0) || holds_equals(v, g->name))
            return "a variable that a node is given has no name, or what is none has one";
        if (g->value.length && named && g->what != MANIFEST_GIVEN_VARIABLE)
            return "a variable that a node is given has a value that nobody reads";
        if (g->what == MANIFEST_GIVEN_FOLDER &&
            !path_valid(manifest_str_ptr(v, g->value), g->value.length))
            return "a folder that a node starts in is no canonical absolute path";
        if (i && compare_given(v, g - 1, g) >= 0)
            return "what a node is given is out of order or repeated";
    }
    return NULL;
}

static int refuse(const char **ret_reason, const char *reason, int code)
{
    if (ret_reason)
        *ret_reason = reason;
    return code;
}

int manifest_view_open(const void *data, uint64_t size, struct manifest_view *ret,
                       const char **ret_reason)
{
    const struct manifest_header *h = data;
    if ((uintptr_t)data % 8 != 0)
        return refuse(ret_reason, "the manifest is not aligned", -EBADMSG);
    if (size < sizeof(*h))
        return refuse(ret_reason, "shorter than a manifest's header", -EBADMSG);
    if (size > MANIFEST_SIZE_MAX)
        return refuse(ret_reason, "larger than a manifest may be", -EBADMSG);
    if (h->magic != MANIFEST_MAGIC)
        return refuse(ret_reason, "no manifest: the magic number is missing", -EBADMSG);
    if (h->version != MANIFEST_VERSION)
        return refuse(ret_reason, "a manifest of another version", -EPROTO);

    struct manifest_view v;
    const char *reason;
    if ((reason = check_header(data, size, &v)) || (reason = check_node(&v)) ||
        (reason = check_files(&v)) || (reason = check_index(&v)) || (reason = check_env(&v)) ||
        (reason = check_start(&v)) || (reason = check_tree(&v)) || (reason = check_net(&v)) ||
        (reason = check_given(&v)))
        return refuse(ret_reason, reason, -EBADMSG);
    *ret = v;
    return 0;
}

uint32_t manifest_find(const struct manifest_view *v, const char *path, uint64_t length)
{
    if (length > MANIFEST_PATH_MAX)
        return MANIFEST_NONE;
    uint32_t mask = v->index_count - 1;
    uint32_t slot = (uint32_t)manifest_path_hash(path, length) & mask;
    /* The bound is for manifest_view_open, before it knows that an empty slot ends every probe. */
    for (uint32_t n = 0; n <= mask; n++, slot = (slot + 1) & mask) {
        uint32_t file = v->index[slot];
        if (file == MANIFEST_NONE)
            break;
        const struct manifest_str *p = &v->files[file].path;
        if (p->length == length && same_bytes(v->strings + p->offset, path, length))
            return file;
    }
    return MANIFEST_NONE;
}

uint32_t manifest_find_above(const struct manifest_view *v, const char *path, uint64_t length)
{
    if (length < 2 || path[0] != '/')
        return MANIFEST_NONE;
    for (;;) {
        while (path[length - 1] != '/')
            length--;
        if (length == 1)
            return 0;
        length--;
        uint32_t file = manifest_find(v, path, length);
        if (file != MANIFEST_NONE)
            return file;
    }
}

uint32_t manifest_find_in(const struct manifest_view *v, uint32_t dir, const char *name,
                          uint64_t length)
{
    struct manifest_str head = v->files[dir].path;
    uint64_t head_length = dir == 0 ? 0 : head.length;
    if (length == 0 || length > 255 || head_length + 1 + length > MANIFEST_PATH_MAX)
        return MANIFEST_NONE;
    char path[MANIFEST_PATH_MAX];
    __builtin_memcpy(path, v->strings + head.offset, head_length);
    path[head_length] = '/';
    __builtin_memcpy(path + head_length + 1, name, length);
    return manifest_find(v, path, head_length + 1 + length);
}

const char *manifest_base_name(const struct manifest_view *v, uint32_t file, uint32_t *ret_length)
{
    struct manifest_str s = v->files[file].path;
    const char *path = v->strings + s.offset;
    if (file == 0) {
        *ret_length = s.length;
        return path;
    }
    struct manifest_str parent = v->files[v->files[file].parent].path;
    uint32_t skip = v->files[file].parent == 0 ? 1 : parent.length + 1;
    *ret_length = s.length - skip;
    return path + skip;
}
