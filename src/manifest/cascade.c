#include "manifest/cascade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/manifest_view.h"
#include "core/sha256.h"
#include "manifest/json_io.h"
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
    { "insecure-debug", MANIFEST_INSECURE_DEBUG },
    { "root", MANIFEST_ROOT },
    { NULL, 0 },
};
static const struct json_word policy_words[] = {
    { "pinned", MANIFEST_ENV_PINNED },
    { "host", MANIFEST_ENV_HOST },
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

static const struct json_field node_fields[] = {
    FIELD(cascade_node, "label", JSON_BYTES, label),
    FIELD(cascade_node, "cwd", JSON_BYTES, cwd),
    FIELD(cascade_node, "hostname", JSON_BYTES, hostname),
    FIELD(cascade_node, "executable", JSON_BYTES, executable),
    FIELD(cascade_node, "interpreter", JSON_BYTES, interpreter, .optional = true),
    FIELD(cascade_node, "execfn", JSON_BYTES, execfn),
    FIELD(cascade_node, "flags", JSON_BITS, flags, .optional = true, .words = node_flag_words),
    FIELD(cascade_node, "uid", JSON_U32, uid),
    FIELD(cascade_node, "gid", JSON_U32, gid),
    FIELD(cascade_node, "umask", JSON_OCTAL, umask, .max = 0777),
    FIELD(cascade_node, "threads", JSON_U32, thread_count, .max = MANIFEST_THREADS_MAX),
    FIELD(cascade_node, "cpus", JSON_U32, cpu_count, .max = MANIFEST_THREADS_MAX),
    FIELD(cascade_node, "fd_limit", JSON_U32, fd_limit, .max = 1u << 20),
    FIELD(cascade_node, "signals", JSON_BITS, async_signals, .optional = true,
          .words = signal_words),
    FIELD(cascade_node, "heap", JSON_U64, heap_size, .max = MANIFEST_HEAP_MAX),
    FIELD(cascade_node, "stack", JSON_U64, stack_size, .max = MANIFEST_HEAP_MAX),
    FIELD(cascade_node, "args", JSON_STRINGS, args,
          .count_offset = offsetof(struct cascade_node, arg_count), .max = MANIFEST_ARGS_MAX),
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
    free(n->executable);
    free(n->interpreter);
    free(n->execfn);
    strings_free(n->args, n->arg_count);
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

/* A node: its plain keys a line each, and the two long lists at their place among them. */
static void put_node(struct text *t, const struct cascade_node *n)
{
    const char *keys[ARRAY_SIZE(node_fields) + 2];
    size_t count = 0;
    json_t *object = json_pack_fields(node_fields, ARRAY_SIZE(node_fields), n);
    if (!object) {
        t->failed = true;
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) keys[count++] = key;
    keys[count++] = "env";
    keys[count++] = "files";
    qsort(keys, count, sizeof(*keys), compare_keys);

    text_put(t, "  {");
    for (size_t i = 0; i < count; i++) {
        text_put(t, i ? ",\n   \"" : "\n   \"");
        text_put(t, keys[i]);
        text_put(t, "\": ");
        if (strcmp(keys[i], "env") == 0)
            put_rows(t, env_fields, ARRAY_SIZE(env_fields), n->env, n->env_count, sizeof(*n->env));
        else if (strcmp(keys[i], "files") == 0)
            put_rows(t, file_fields, ARRAY_SIZE(file_fields), n->files, n->file_count,
                     sizeof(*n->files));
        else
            text_json(t, json_incref(json_object_get(object, keys[i])));
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

static int read_env(struct json_place *at, json_t *list, struct cascade_node *n)
{
    size_t base = strlen(at->text);
    if (!json_is_array(list))
        return json_refuse(at, "env", "must be a list");
    size_t count = json_array_size(list);
    if (count > MANIFEST_ENV_MAX)
        return json_refuse(at, "env", "has too many elements");
    n->env = calloc(count + 1, sizeof(*n->env));
    if (!n->env)
        return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
    for (size_t i = 0; i < count; i++) {
        struct cascade_env *e = &n->env[i];
        n->env_count = i + 1;
        snprintf(at->text + base, sizeof(at->text) - base, ".env[%zu]", i);
        int r = json_read_fields(at, json_array_get(list, i), env_fields, ARRAY_SIZE(env_fields),
                                 NULL, e);
        if (r < 0)
            return r;
        if (!e->value && !(e->value = strdup("")))
            return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
        if (e->name[0] == '\0' || strchr(e->name, '='))
            return json_refuse(at, "name", "is no variable's name");
        if (e->policy == MANIFEST_ENV_HOST && e->value[0])
            return json_refuse(at, "value", "a variable of the host has none");
        if (i > 0 && strcmp(e[-1].name, e->name) >= 0)
            return json_refuse(at, "name", "out of order or repeated");
    }
    at->text[base] = '\0';
    return 0;
}

static int check_file(const struct json_place *at, const struct cascade_node *n,
                      const struct cascade_file *f)
{
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

static int read_files(struct json_place *at, json_t *list, struct cascade_node *n)
{
    size_t base = strlen(at->text);
    if (!json_is_array(list))
        return json_refuse(at, "files", "must be a list");
    size_t count = json_array_size(list);
    if (count > MANIFEST_FILES_MAX)
        return json_refuse(at, "files", "has too many elements");
    n->files = calloc(count + 1, sizeof(*n->files));
    if (!n->files)
        return err_set(at->err, -ENOMEM, "'%s': out of memory", at->file);
    for (size_t i = 0; i < count; i++) {
        snprintf(at->text + base, sizeof(at->text) - base, ".files[%zu]", i);
        n->file_count = i + 1;
        int r = json_read_fields(at, json_array_get(list, i), file_fields, ARRAY_SIZE(file_fields),
                                 NULL, &n->files[i]);
        if (r == 0)
            r = check_file(at, n, &n->files[i]);
        if (r < 0)
            return r;
    }
    at->text[base] = '\0';
    return 0;
}

static int read_node(struct json_place *at, json_t *object, struct cascade_node *n)
{
    static const char *const lists[] = { "env", "files", NULL };
    int r = json_read_fields(at, object, node_fields, ARRAY_SIZE(node_fields), lists, n);
    if (r < 0)
        return r;
    for (const char *const *key = lists; *key; key++)
        if (!json_object_get(object, *key))
            return json_refuse(at, *key, "is missing");
    r = read_env(at, json_object_get(object, "env"), n);
    if (r < 0)
        return r;
    return read_files(at, json_object_get(object, "files"), n);
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
    return 0;
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
