#include "manifest/cascade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/manifest_view.h"
#include "core/program_key.h"
#include "core/sha256.h"
#include "manifest/json_io.h"
#include "manifest/net.h"
#include "util/fs.h"

/* ---- the tables that say what stands in the JSON ---- */

static const struct json_word class_words[] = {
    { "trusted", MANIFEST_TRUSTED }, { "allowed", MANIFEST_ALLOWED },
    { "scratch", MANIFEST_SCRATCH }, { "named", MANIFEST_NAMED },
    { "absent", MANIFEST_ABSENT },   { NULL, 0 },
};
static const struct json_word file_flag_words[] = {
    { "deny", MANIFEST_DENY },     { "exec", MANIFEST_EXEC },       { "listed", MANIFEST_LISTED },
    { "output", MANIFEST_OUTPUT }, { "subtree", MANIFEST_SUBTREE }, { NULL, 0 },
};
static const struct json_word node_flag_words[] = {
    { "args-host", MANIFEST_ARGS_HOST },
    { "exec-deny", MANIFEST_EXEC_DENY },
    { "forks", MANIFEST_FORKS },
    { "insecure-debug", MANIFEST_INSECURE_DEBUG },
    { "insecure-given", MANIFEST_INSECURE_GIVEN },
    { "root", MANIFEST_ROOT },
    { NULL, 0 },
};
static const struct json_word policy_words[] = {
    { "pinned", MANIFEST_ENV_PINNED },
    { "host", MANIFEST_ENV_HOST },
    { NULL, 0 },
};
static const struct json_word given_words[] = {
    { "folder", MANIFEST_GIVEN_FOLDER },     { "host", MANIFEST_GIVEN_HOST },
    { "insecure", MANIFEST_GIVEN_INSECURE }, { "name", MANIFEST_GIVEN_NAME },
    { "options", MANIFEST_GIVEN_OPTIONS },   { "unset", MANIFEST_GIVEN_UNSET },
    { "variable", MANIFEST_GIVEN_VARIABLE }, { NULL, 0 },
};
static const struct json_word kind_words[] = {
    { "any", PROGRAM_ANY },
    { "command", PROGRAM_COMMAND },
    { "module", PROGRAM_MODULE },
    { "plain", PROGRAM_PLAIN },
    { "script", PROGRAM_SCRIPT },
    { "stdin", PROGRAM_STDIN },
    { NULL, 0 },
};
#define SIGNAL_BIT(n) (1u << ((n)-1))
static const struct json_word signal_words[] = {
    { "ALRM", SIGNAL_BIT(SIGALRM) },   { "HUP", SIGNAL_BIT(SIGHUP) },
    { "INT", SIGNAL_BIT(SIGINT) },     { "TERM", SIGNAL_BIT(SIGTERM) },
    { "USR1", SIGNAL_BIT(SIGUSR1) },   { "USR2", SIGNAL_BIT(SIGUSR2) },
    { "WINCH", SIGNAL_BIT(SIGWINCH) }, { NULL, 0 },
};

#define FIELD(s, k, kind_, member, ...)                                                  \
    {                                                                                    \
        .key = (k), .kind = (kind_), .offset = offsetof(struct s, member), ##__VA_ARGS__ \
    }

static const struct json_field file_fields[] = {
    FIELD(cascade_file, "path", JSON_BYTES, path),
    FIELD(cascade_file, "class", JSON_WORD, class, .words = class_words),
    FIELD(cascade_file, "flags", JSON_BITS, flags, .optional = true, .words = file_flag_words),
    FIELD(cascade_file, "mode", JSON_OCTAL, mode, .optional = true, .max = 0177777),
    FIELD(cascade_file, "nlink", JSON_U32, nlink, .optional = true),
    FIELD(cascade_file, "uid", JSON_U32, uid, .optional = true),
    FIELD(cascade_file, "gid", JSON_U32, gid, .optional = true),
    FIELD(cascade_file, "dev", JSON_U32, dev, .optional = true),
    FIELD(cascade_file, "size", JSON_U64, size, .optional = true),
    FIELD(cascade_file, "mtime", JSON_I64, mtime_sec, .optional = true),
    FIELD(cascade_file, "mtime_nsec", JSON_U32, mtime_nsec, .optional = true, .max = 999999999),
    FIELD(cascade_file, "target", JSON_BYTES, target, .optional = true),
    FIELD(cascade_file, "link", JSON_BYTES, link, .optional = true),
    FIELD(cascade_file, "sha256", JSON_HASH, sha256, .optional = true),
    FIELD(cascade_file, "root", JSON_HASH, root, .optional = true),
};

static const struct json_field env_fields[] = {
    FIELD(cascade_env, "name", JSON_BYTES, name),
    FIELD(cascade_env, "policy", JSON_WORD, policy, .words = policy_words),
    FIELD(cascade_env, "value", JSON_BYTES, value, .optional = true),
};

static const struct json_field entry_fields[] = {
    FIELD(cascade_entry, "executable", JSON_BYTES, start.executable),
    FIELD(cascade_entry, "kind", JSON_WORD, start.kind, .words = kind_words),
    FIELD(cascade_entry, "text", JSON_BYTES, start.text, .optional = true),
    FIELD(cascade_entry, "interpreter", JSON_BYTES, interpreter, .optional = true),
    FIELD(cascade_entry, "execfn", JSON_BYTES, execfn),
};

static const struct json_field child_fields[] = {
    FIELD(cascade_child, "executable", JSON_BYTES, start.executable),
    FIELD(cascade_child, "kind", JSON_WORD, start.kind, .words = kind_words),
    FIELD(cascade_child, "text", JSON_BYTES, start.text, .optional = true),
    FIELD(cascade_child, "node", JSON_U32, node, .max = CASCADE_NODES_MAX - 1),
};

static const struct json_field given_fields[] = {
    FIELD(cascade_given, "what", JSON_WORD, what, .words = given_words),
    FIELD(cascade_given, "name", JSON_BYTES, name, .optional = true),
    FIELD(cascade_given, "value", JSON_BYTES, value, .optional = true),
};

static const struct json_field node_fields[] = {
    FIELD(cascade_node, "label", JSON_BYTES, label),
    FIELD(cascade_node, "cwd", JSON_BYTES, cwd),
    FIELD(cascade_node, "hostname", JSON_BYTES, hostname),
    FIELD(cascade_node, "flags", JSON_BITS, flags, .optional = true, .words = node_flag_words),
    FIELD(cascade_node, "uid", JSON_U32, uid),
    FIELD(cascade_node, "gid", JSON_U32, gid),
    FIELD(cascade_node, "umask", JSON_OCTAL, umask, .max = 0777),
    FIELD(cascade_node, "threads", JSON_U32, thread_count, .max = MANIFEST_THREADS_MAX),
    FIELD(cascade_node, "cpus", JSON_U32, cpu_count, .max = MANIFEST_THREADS_MAX),
    FIELD(cascade_node, "fd_limit", JSON_U32, fd_limit, .max = 1u << 20),
    FIELD(cascade_node, "processes", JSON_U32, process_limit, .optional = true,
          .max = MANIFEST_PROCESSES_MAX),
    FIELD(cascade_node, "signals", JSON_BITS, async_signals, .optional = true,
          .words = signal_words),
    FIELD(cascade_node, "heap", JSON_U64, heap_size, .max = MANIFEST_HEAP_MAX),
    FIELD(cascade_node, "stack", JSON_U64, stack_size, .max = MANIFEST_HEAP_MAX),
    FIELD(cascade_node, "args", JSON_STRINGS, args,
          .count_offset = offsetof(struct cascade_node, arg_count), .max = MANIFEST_ARGS_MAX),
    FIELD(cascade_node, "net", JSON_STRINGS, net, .optional = true,
          .count_offset = offsetof(struct cascade_node, net_count), .max = MANIFEST_NET_MAX),
    FIELD(cascade_node, "sockets", JSON_STRINGS, sockets, .optional = true,
          .count_offset = offsetof(struct cascade_node, socket_count)),
};

/* ---- memory ---- */

void cascade_file_done(struct cascade_file *f)
{
    free(f->path);
    free(f->target);
    free(f->link);
}

void cascade_start_done(struct cascade_start *s)
{
    free(s->executable);
    free(s->text);
}

static void strings_free(char **strings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(strings[i]);
    free(strings);
}

static void node_done(struct cascade_node *n)
{
    free(n->label);
    free(n->cwd);
    free(n->hostname);
    for (size_t i = 0; i < n->entry_count; i++) {
        cascade_start_done(&n->entries[i].start);
        free(n->entries[i].interpreter);
        free(n->entries[i].execfn);
    }
    free(n->entries);
    for (size_t i = 0; i < n->child_count; i++)
        cascade_start_done(&n->children[i].start);
    free(n->children);
    for (size_t i = 0; i < n->given_count; i++) {
        free(n->given[i].name);
        free(n->given[i].value);
    }
    free(n->given);
    strings_free(n->args, n->arg_count);
    strings_free(n->net, n->net_count);
    strings_free(n->sockets, n->socket_count);
    for (size_t i = 0; i < n->env_count; i++) {
        free(n->env[i].name);
        free(n->env[i].value);
    }
    free(n->env);
    for (size_t i = 0; i < n->file_count; i++)
        cascade_file_done(&n->files[i]);
    free(n->files);
}

struct cascade *cascade_new(size_t node_count)
{
    struct cascade *c = calloc(1, sizeof(*c));
    struct cascade_node *nodes = calloc(node_count, sizeof(*nodes));
    if (!c || !nodes) {
        free(c);
        free(nodes);
        return NULL;
    }
    c->nodes = nodes;
    c->node_count = node_count;
    return c;
}

void cascade_free(struct cascade *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->node_count; i++)
        node_done(&c->nodes[i]);
    free(c->nodes);
    free(c);
}

void cascade_free_p(struct cascade **c)
{
    int saved = errno;
    cascade_free(*c);
    errno = saved;
}

/* ---- starts ---- */

int cascade_given_compare(const struct cascade_given *a, const struct cascade_given *b)
{
    if (a->what != b->what)
        return a->what < b->what ? -1 : 1;
    int r = strcmp(a->name ? a->name : "", b->name ? b->name : "");
    return r ? r : strcmp(a->value ? a->value : "", b->value ? b->value : "");
}

int cascade_start_compare(const struct cascade_start *a, const struct cascade_start *b)
{
    int r = strcmp(a->executable, b->executable);
    if (r == 0)
        r = a->kind < b->kind ? -1 : a->kind > b->kind;
    return r ? r : strcmp(a->text ? a->text : "", b->text ? b->text : "");
}

void cascade_start_key(const struct cascade_start *s, uint8_t ret[static MANIFEST_HASH_SIZE])
{
    const char *text = s->text ? s->text : "";
    struct program_key key;
    program_key((struct program_start){ .kind = (enum program_kind)s->kind }, text, strlen(text),
                &key);
    memcpy(ret, key.hash, MANIFEST_HASH_SIZE);
}

bool cascade_start_copy(const struct cascade_start *from, struct cascade_start *ret)
{
    *ret = (struct cascade_start){ .executable = strdup(from->executable), .kind = from->kind };
    if (from->text)
        ret->text = strdup(from->text);
    return ret->executable && (ret->text || !from->text);
}

/* Depth first; a node that is met again before it is done closes a loop. */
struct ordering {
    const struct cascade *c;
    size_t *out, count;
    uint8_t *state; /* 0: not seen, 1: begun, 2: done */
};

static int order_node(struct ordering *o, size_t node)
{
    const struct cascade_node *n = &o->c->nodes[node];
    o->state[node] = 1;
    for (size_t i = 0; i < n->child_count; i++) {
        size_t child = n->children[i].node;
        if (child == node || o->state[child] == 2)
            continue;
        int r = o->state[child] == 1 ? -ELOOP : order_node(o, child);
        if (r < 0)
            return r;
    }
    o->state[node] = 2;
    o->out[o->count++] = node;
    return 0;
}

int cascade_order(const struct cascade *c, size_t *ret)
{
    struct ordering o = { .c = c, .out = ret, .state = calloc(c->node_count + 1, 1) };
    int r = o.state ? 0 : -ENOMEM;
    /* The root last of all. */
    for (size_t i = c->node_count; r == 0 && i-- > 0;)
        if (o.state[i] == 0)
            r = order_node(&o, i);
    free(o.state);
    return r;
}

/* ---- files ---- */

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct cascade_file *)a)->path, ((const struct cascade_file *)b)->path);
}

const struct cascade_file *cascade_find(const struct cascade_node *n, const char *path)
{
    struct cascade_file key = { .path = (char *)(uintptr_t)path };
    if (n->file_count == 0)
        return NULL;
    return bsearch(&key, n->files, n->file_count, sizeof(key), compare_files);
}

bool cascade_path_valid(const char *path)
{
    if (path[0] != '/' || strlen(path) > MANIFEST_PATH_MAX)
        return false;
    if (path[1] == '\0')
        return true;
    for (const char *p = path + 1;; p++) {
        size_t size = strcspn(p, "/");
        if (size == 0 || size > 255 || (size == 1 && p[0] == '.') ||
            (size == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += size;
        if (*p == '\0')
            return true;
    }
}

const char *cascade_class_name(uint32_t class)
{
    for (const struct json_word *w = class_words; w->word; w++)
        if (w->value == class)
            return w->word;
    return "?";
}

const char *cascade_given_word(uint32_t what)
{
    for (const struct json_word *w = given_words; w->word; w++)
        if (w->value == what)
            return w->word;
    return "?";
}

/* ---- writing ---- */

struct text {
    char *data;
    size_t size, capacity;
    bool failed;
};

static int text_add(const char *data, size_t size, void *to)
{
    struct text *t = to;
    if (t->capacity - t->size < size) {
        size_t capacity = (t->capacity + size) * 2;
        char *grown = realloc(t->data, capacity);
        if (!grown) {
            t->failed = true;
            return -1;
        }
        t->data = grown;
        t->capacity = capacity;
    }
    memcpy(t->data + t->size, data, size);
    t->size += size;
    return 0;
}

static void text_put(struct text *t, const char *s)
{
    text_add(s, strlen(s), t);
}

/* Takes value; NULL is a failure that the text remembers. */
static void text_json(struct text *t, json_t *value)
{
    if (!value || json_dump_callback(value, text_add, t, JSON_SORT_KEYS | JSON_ENCODE_ANY) < 0)
        t->failed = true;
    json_decref(value);
}

static void put_rows(struct text *t, const struct json_field *fields, size_t field_count,
                     const void *rows, size_t count, size_t row_size)
{
    text_put(t, "[");
    for (size_t i = 0; i < count && !t->failed; i++) {
        text_put(t, i ? ",\n    " : "\n    ");
        text_json(t, json_pack_fields(fields, field_count, (const char *)rows + i * row_size));
    }
    text_put(t, count ? "\n   ]" : "]");
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The lists of a node, a row each. */
enum { LIST_CHILDREN, LIST_ENTRIES, LIST_ENV, LIST_FILES, LIST_GIVEN, LISTS };
static const struct list {
    const char *key;
    const struct json_field *fields;
    size_t field_count, offset, count_offset, row_size;
    bool optional; /* left out if empty */
} lists[LISTS] = {
#define LIST(key_, fields_, member, count_, ...)                                \
    {                                                                           \
        .key = (key_), .fields = (fields_), .field_count = ARRAY_SIZE(fields_), \
        .offset = offsetof(struct cascade_node, member),                        \
        .count_offset = offsetof(struct cascade_node, count_),                  \
        .row_size = sizeof(*((struct cascade_node *)0)->member), ##__VA_ARGS__  \
    }
    [LIST_CHILDREN] = LIST("children", child_fields, children, child_count, .optional = true),
    [LIST_ENTRIES] = LIST("entries", entry_fields, entries, entry_count),
    [LIST_ENV] = LIST("env", env_fields, env, env_count),
    [LIST_FILES] = LIST("files", file_fields, files, file_count),
    [LIST_GIVEN] = LIST("given", given_fields, given, given_count, .optional = true),
};

static const void *list_rows(const struct list *l, const struct cascade_node *n, size_t *ret_count)
{
    const void *rows;
    memcpy(&rows, (const char *)n + l->offset, sizeof(rows));
    memcpy(ret_count, (const char *)n + l->count_offset, sizeof(*ret_count));
    return rows;
}

static const struct list *find_list(const char *key)
{
    for (size_t i = 0; i < LISTS; i++)
        if (strcmp(lists[i].key, key) == 0)
            return &lists[i];
    return NULL;
}

/* A node: its plain keys a line each, and the long lists at their place among them. */
static void put_node(struct text *t, const struct cascade_node *n)
{
    const char *keys[ARRAY_SIZE(node_fields) + LISTS];
    size_t count = 0;
    json_t *object = json_pack_fields(node_fields, ARRAY_SIZE(node_fields), n);
    if (!object) {
        t->failed = true;
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) keys[count++] = key;
    for (size_t i = 0; i < LISTS; i++) {
        size_t rows;
        list_rows(&lists[i], n, &rows);
        if (rows || !lists[i].optional)
            keys[count++] = lists[i].key;
    }
    qsort(keys, count, sizeof(*keys), compare_keys);

    text_put(t, "  {");
    for (size_t i = 0; i < count; i++) {
        text_put(t, i ? ",\n   \"" : "\n   \"");
        text_put(t, keys[i]);
        text_put(t, "\": ");
        const struct list *l = find_list(keys[i]);
        if (l) {
            size_t row_count;
            const void *rows = list_rows(l, n, &row_count);
            put_rows(t, l->fields, l->field_count, rows, row_count, l->row_size);
        } else {
            text_json(t, json_incref(json_object_get(object, keys[i])));
        }
    }
    text_put(t, "\n  }");
    json_decref(object);
}

int cascade_print(const struct cascade *c, char **ret, size_t *ret_size, struct err *err)
{
    struct text t = { 0 };
    text_put(&t, "{\n \"format\": \"" CASCADE_FORMAT "\",\n \"nodes\": [");
    for (size_t i = 0; i < c->node_count; i++) {
        text_put(&t, i ? ",\n" : "\n");
        put_node(&t, &c->nodes[i]);
    }
    char version[40];
    snprintf(version, sizeof(version), "\n ],\n \"version\": %d\n}\n", CASCADE_VERSION);
    text_add(version, strlen(version) + 1, &t);
    if (t.failed) {
        free(t.data);
        return err_set(err, -ENOMEM, "writing the cascade: out of memory");
    }
    *ret = t.data;
    *ret_size = t.size - 1;
    return 0;
}

int cascade_save(const struct cascade *c, const char *path, struct err *err)
{
    CLEANUP(free_p) char *text = NULL;
    size_t size;
    int r = cascade_print(c, &text, &size, err);
    if (r < 0)
        return r;
    return file_store(AT_FDCWD, path, text, size, 0644, 0, err);
}

int cascade_id(const struct cascade *c, uint8_t ret[static MANIFEST_HASH_SIZE], struct err *err)
{
    CLEANUP(free_p) char *text = NULL;
    size_t size;
    int r = cascade_print(c, &text, &size, err);
    if (r < 0)
        return r;
    sha256(text, size, ret);
    return 0;
}

/* ---- reading ---- */

static int check_env(const struct json_place *at, struct cascade_node *n, size_t i)
{
    struct cascade_env *e = &n->env[i];
    if (!e->value && !(e->value = strdup("")))
        return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
    if (e->name[0] == '\0' || strchr(e->name, '='))
        return json_refuse(at, "name", "is no variable's name");
    if (e->policy == MANIFEST_ENV_HOST && e->value[0])
        return json_refuse(at, "value", "a variable of the host has none");
    if (i > 0 && strcmp(e[-1].name, e->name) >= 0)
        return json_refuse(at, "name", "out of order or repeated");
    return 0;
}

static int check_start(const struct json_place *at, const struct cascade_start *s)
{
    if (!cascade_path_valid(s->executable))
        return json_refuse(at, "executable", "must be absolute, without '.', '..' or '//'");
    if (s->text && s->kind != PROGRAM_SCRIPT && s->kind != PROGRAM_MODULE &&
        s->kind != PROGRAM_COMMAND)
        return json_refuse(at, "text", "goes with a script, a module or a command only");
    return 0;
}

static int check_entry(const struct json_place *at, struct cascade_node *n, size_t i)
{
    const struct cascade_entry *e = &n->entries[i];
    /* The first is how a root starts, whatever it is called. */
    if (i > 1 && cascade_start_compare(&e[-1].start, &e->start) >= 0)
        return json_refuse(at, "executable", "entry points are out of order or repeated");
    if (i > 0 && cascade_start_compare(&n->entries[0].start, &e->start) == 0)
        return json_refuse(at, "executable", "repeats the first entry point");
    return check_start(at, &e->start);
}

static int check_child(const struct json_place *at, struct cascade_node *n, size_t i)
{
    const struct cascade_child *c = &n->children[i];
    if (i > 0 && cascade_start_compare(&c[-1].start, &c->start) >= 0)
        return json_refuse(at, "executable", "children are out of order or repeated");
    return check_start(at, &c->start);
}

static int check_given(const struct json_place *at, struct cascade_node *n, size_t i)
{
    const struct cascade_given *g = &n->given[i];
    bool named = g->what <= MANIFEST_GIVEN_INSECURE;
    if (named != (g->name != NULL) || (g->name && (!g->name[0] || strchr(g->name, '='))))
        return json_refuse(at, "name", "goes with variables, and is a variable's");
    if ((g->value != NULL) == (named && g->what != MANIFEST_GIVEN_VARIABLE))
        return json_refuse(at, "value",
                           g->value
                               ? "a variable that may be missing, or have any value, has none here"
                               : "is missing");
    if (g->what == MANIFEST_GIVEN_FOLDER && !cascade_path_valid(g->value))
        return json_refuse(at, "value", "must be absolute, without '.', '..' or '//'");
    if (i > 0 && cascade_given_compare(g - 1, g) >= 0)
        return json_refuse(at, "what", "out of order or repeated");
    return 0;
}

static int check_file(const struct json_place *at, struct cascade_node *n, size_t i)
{
    const struct cascade_file *f = &n->files[i];
    bool absent = f->class == MANIFEST_ABSENT;
    bool content = f->class == MANIFEST_TRUSTED && S_ISREG(f->mode);
    static const uint8_t zero[MANIFEST_HASH_SIZE];

    if (!cascade_path_valid(f->path))
        return json_refuse(at, "path", "must be absolute, without '.', '..' or '//'");
    if (f != n->files && strcmp(f[-1].path, f->path) >= 0)
        return json_refuse(at, "path", "'%.200s' is out of order or repeated", f->path);
    if (absent != (f->mode == 0) || absent != (f->dev == 0))
        return json_refuse(at, "mode", absent ? "an absent file has no metadata" : "is missing");
    if (S_ISLNK(f->mode) != (f->target && f->target[0]))
        return json_refuse(at, "target", "symlinks have a target, others none");
    if (content != (memcmp(f->sha256, zero, sizeof(zero)) != 0) ||
        content != (memcmp(f->root, zero, sizeof(zero)) != 0))
        return json_refuse(at, "sha256", "trusted regular files have hashes, others none");
    if (f->link && !(strcmp(f->link, f->path) < 0 && cascade_find(n, f->link)))
        return json_refuse(at, "link", "names no file before this one");
    return 0;
}

static int read_list(struct json_place *at, json_t *object, const struct list *l, size_t max,
                     int (*check)(const struct json_place *, struct cascade_node *, size_t),
                     struct cascade_node *n)
{
    size_t base = strlen(at->text);
    json_t *list = json_object_get(object, l->key);
    if (!list)
        return l->optional ? 0 : json_refuse(at, l->key, "is missing");
    if (!json_is_array(list))
        return json_refuse(at, l->key, "must be a list");
    size_t count = json_array_size(list);
    if (count > max)
        return json_refuse(at, l->key, "has too many elements");
    if (count == 0 && l->optional)
        return json_refuse(at, l->key, "is left out where it is empty");
    char *rows = calloc(count + 1, l->row_size);
    if (!rows)
        return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
    memcpy((char *)n + l->offset, &rows, sizeof(rows));
    for (size_t i = 0; i < count; i++) {
        size_t so_far = i + 1;
        memcpy((char *)n + l->count_offset, &so_far, sizeof(so_far));
        snprintf(at->text + base, sizeof(at->text) - base, ".%s[%zu]", l->key, i);
        int r = json_read_fields(at, json_array_get(list, i), l->fields, l->field_count, NULL,
                                 rows + i * l->row_size);
        if (r == 0)
            r = check(at, n, i);
        if (r < 0)
            return r;
    }
    at->text[base] = '\0';
    return 0;
}

static int check_net(const struct json_place *at, const struct cascade_node *n)
{
    for (size_t i = 0; i < n->net_count; i++) {
        struct manifest_net rule;
        if (net_parse(n->net[i], &rule) < 0)
            return json_refuse(
                at, "net",
                "'%.100s' is no network rule, or written otherwise than 'sgxpy manifest' does",
                n->net[i]);
        if (i > 0 && strcmp(n->net[i - 1], n->net[i]) >= 0)
            return json_refuse(at, "net", "'%.100s' is out of order or repeated", n->net[i]);
    }
    return 0;
}

static int read_node(struct json_place *at, json_t *object, struct cascade_node *n)
{
    const char *keys[LISTS + 1] = { NULL };
    for (size_t i = 0; i < LISTS; i++)
        keys[i] = lists[i].key;
    int r = json_read_fields(at, object, node_fields, ARRAY_SIZE(node_fields), keys, n);
    if (r == 0)
        r = check_net(at, n);
    if (r == 0)
        r = read_list(at, object, &lists[LIST_ENTRIES], CASCADE_STARTS_MAX, check_entry, n);
    if (r == 0 && n->entry_count == 0)
        r = json_refuse(at, "entries", "must name a program");
    if (r == 0)
        r = read_list(at, object, &lists[LIST_CHILDREN], CASCADE_STARTS_MAX, check_child, n);
    if (r == 0)
        r = read_list(at, object, &lists[LIST_ENV], MANIFEST_ENV_MAX, check_env, n);
    if (r == 0)
        r = read_list(at, object, &lists[LIST_FILES], MANIFEST_FILES_MAX, check_file, n);
    if (r == 0)
        r = read_list(at, object, &lists[LIST_GIVEN], MANIFEST_GIVEN_MAX, check_given, n);
    return r;
}

static bool has_entry(const struct cascade_node *n, const struct cascade_start *s)
{
    for (size_t i = 0; i < n->entry_count; i++)
        if (cascade_start_compare(&n->entries[i].start, s) == 0)
            return true;
    return false;
}

/* What joins the nodes. */
static int check_tree(struct json_place *at, const struct cascade *c)
{
    for (size_t i = 0; i < c->node_count; i++) {
        const struct cascade_node *n = &c->nodes[i];
        snprintf(at->text, sizeof(at->text), "nodes[%zu]", i);
        if (i > 0 && (n->flags & MANIFEST_ROOT))
            return json_refuse(at, "flags", "the first node is the root, no other");
        if (i == 0 && n->given_count)
            return json_refuse(at, "given", "the root is given nothing");
        if (i > 0 && n->process_limit)
            return json_refuse(at, "processes", "is the root's");
        for (size_t k = 0; k < n->child_count; k++) {
            snprintf(at->text, sizeof(at->text), "nodes[%zu].children[%zu]", i, k);
            if (i > 0 && n->children[k].node == 0)
                return json_refuse(at, "node", "the root is started by nobody else");
            if (n->children[k].node >= c->node_count ||
                !has_entry(&c->nodes[n->children[k].node], &n->children[k].start))
                return json_refuse(at, "node", "has no such entry point");
        }
    }
    CLEANUP(free_p) size_t *order = calloc(c->node_count, sizeof(*order));
    int r = order ? cascade_order(c, order) : -ENOMEM;
    snprintf(at->text, sizeof(at->text), "nodes");
    if (r == -ELOOP)
        return json_refuse(at, NULL, "programs that start each other must be one node");
    return r < 0 ? err_set(at->err, r, "'%s': out of memory", at->file) : 0;
}

static int read_cascade(struct json_place *at, json_t *top, struct cascade *c)
{
    if (!json_is_object(top))
        return json_refuse(at, NULL, "no cascade: must be an object");
    const char *format = json_string_value(json_object_get(top, "format"));
    if (!format || strcmp(format, CASCADE_FORMAT) != 0)
        return json_refuse(at, "format", "no cascade: must be \"" CASCADE_FORMAT "\"");
    json_t *version = json_object_get(top, "version");
    if (!json_is_integer(version))
        return json_refuse(at, "version", "must be a whole number");
    if (json_integer_value(version) != CASCADE_VERSION)
        return err_set(at->err, -EPROTO,
                       "'%s': cascade version %lld is unknown; this sgxpy knows version %d",
                       at->file, (long long)json_integer_value(version), CASCADE_VERSION);

    const char *key;
    json_t *value;
    json_object_foreach(top, key, value)
    {
        if (strcmp(key, "format") != 0 && strcmp(key, "version") != 0 && strcmp(key, "nodes") != 0)
            return json_refuse(at, NULL, "unknown key '%.100s'", key);
    }
    json_t *nodes = json_object_get(top, "nodes");
    size_t count = json_array_size(nodes);
    if (count == 0 || count > CASCADE_NODES_MAX)
        return json_refuse(at, "nodes", "must be a list of 1 to %u nodes", CASCADE_NODES_MAX);
    c->nodes = calloc(count, sizeof(*c->nodes));
    if (!c->nodes)
        return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
    for (size_t i = 0; i < count; i++) {
        snprintf(at->text, sizeof(at->text), "nodes[%zu]", i);
        c->node_count = i + 1;
        int r = read_node(at, json_array_get(nodes, i), &c->nodes[i]);
        if (r < 0)
            return r;
    }
    return check_tree(at, c);
}

int cascade_parse(const char *name, const char *text, size_t size, struct cascade **ret,
                  struct err *err)
{
    json_error_t where;
    json_t *top = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    if (!top)
        return err_set(err, -EBADMSG, "'%s': line %d, column %d: %s", name, where.line,
                       where.column, where.text);
    CLEANUP(cascade_free_p) struct cascade *c = calloc(1, sizeof(*c));
    struct json_place at = { .file = name, .err = err };
    int r = c ? read_cascade(&at, top, c) : err_set(err, -ENOMEM, "'%s': out of memory", name);
    json_decref(top);
    if (r == 0)
        *ret = TAKE_PTR(c);
    return r;
}

int cascade_load(const char *path, struct cascade **ret, struct err *err)
{
    CLEANUP(free_p) char *text = NULL;
    size_t size;
    int r = file_load(AT_FDCWD, path, CASCADE_SIZE_MAX, &text, &size, err);
    if (r < 0)
        return r;
    return cascade_parse(path, text, size, ret, err);
}
