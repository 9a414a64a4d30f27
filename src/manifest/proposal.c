#include "manifest/proposal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "core/manifest_view.h"
#include "manifest/hash.h"
#include "manifest/net.h"
#include "manifest/table.h"
#include "util/dpkg.h"
#include "util/fs.h"

#define LINES_NAMED 5 /* of those that are no audit lines */
#define NODE_MAX    1024u

enum kind {
    KIND_TRUST, /* a path; after proposal_look: a regular file of this machine */
    KIND_LISTEN,
    KIND_CONNECT,
    KIND_ONLY_SAID, /* from here on no rules */
    KIND_LISTING,
    KIND_WRITE,
    KIND_EXEC,
};

struct item {
    UT_hash_handle hh;
    char *key; /* kind, node, text */
    size_t key_size;
    enum kind kind;
    char *node, *text; /* path, or value of the option */
    uint64_t times;
    const char *said;       /* KIND_ONLY_SAID: why it is no rule */
    struct cascade_file at; /* KIND_TRUST: size, hash; path is where text leads to */
    char package[128];
};

struct other {
    UT_hash_handle hh;
    uint64_t times;
    char event[];
};

struct proposal {
    struct item *items;
    struct other *others; /* events that no rule mends */
    char **files;
    size_t file_count;
    uint64_t lines, ignored, left_out;
    uint64_t ignored_at[LINES_NAMED];
};

/* ---- memory ---- */

struct proposal *proposal_new(void)
{
    return calloc(1, sizeof(struct proposal));
}

static void item_free(struct item *i)
{
    free(i->key);
    free(i->node);
    free(i->text);
    free(i->at.path);
    free(i);
}

void proposal_free(struct proposal *p)
{
    if (!p)
        return;
    struct item *i, *next;
    HASH_ITER(hh, p->items, i, next)
    {
        HASH_DEL(p->items, i);
        item_free(i);
    }
    struct other *o, *next_other;
    HASH_ITER(hh, p->others, o, next_other)
    {
        HASH_DEL(p->others, o);
        free(o);
    }
    for (size_t k = 0; k < p->file_count; k++)
        free(p->files[k]);
    free(p->files);
    free(p);
}

void proposal_free_p(struct proposal **p)
{
    int saved = errno;
    proposal_free(*p);
    errno = saved;
}

static int no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "making a proposal: out of memory");
}

/* ---- reading lines: everything in them may be a lie ---- */

/* Absolute, and as the library OS writes paths: no empty component, no "." and "..". */
static bool is_canonical(const char *path, size_t size)
{
    if (size < 2 || size > MANIFEST_PATH_MAX || path[0] != '/' || memchr(path, '\0', size))
        return false;
    for (size_t i = 0; i < size;) {
        size_t start = i + 1;
        const char *slash = start < size ? memchr(path + start, '/', size - start) : NULL;
        size_t end = slash ? (size_t)(slash - path) : size;
        size_t n = end - start;
        if (n == 0 || n > NAME_MAX || (n == 1 && path[start] == '.') ||
            (n == 2 && path[start] == '.' && path[start + 1] == '.'))
            return false;
        i = end;
    }
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The path of a line, NUL-terminated; NULL: none that could be one. free() it. */
static char *take_path(const json_t *line)
{
    const json_t *plain = json_object_get(line, "path"), *hex = json_object_get(line, "path_hex");
    if (json_is_string(plain) && !hex &&
        is_canonical(json_string_value(plain), json_string_length(plain)))
        return strdup(json_string_value(plain));
    size_t size = json_is_string(hex) && !plain ? json_string_length(hex) / 2 : 0;
    if (size == 0 || size > MANIFEST_PATH_MAX || json_string_length(hex) % 2)
        return NULL;
    const char *digits = json_string_value(hex);
    char *path = malloc(size + 1);
    for (size_t i = 0; path && i < size; i++) {
        int high = hex_digit(digits[2 * i]), low = hex_digit(digits[2 * i + 1]);
        if (high < 0 || low < 0) {
            free(path);
            return NULL;
        }
        path[i] = (char)(high << 4 | low);
    }
    if (path)
        path[size] = '\0';
    if (path && !is_canonical(path, size)) {
        free(path);
        return NULL;
    }
    return path;
}

/* "127.0.0.1:80" or "[::1]:80", and nothing that would be resolved. */
static bool is_endpoint(const char *text)
{
    char host[INET6_ADDRSTRLEN + 2];
    unsigned char address[sizeof(struct in6_addr)];
    const char *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0, digits = colon ? strlen(colon + 1) : 0;
    if (n == 0 || n >= sizeof(host) || digits == 0 || digits > 5 ||
        strspn(colon + 1, "0123456789") != digits || atoi(colon + 1) > UINT16_MAX)
        return false;
    bool six = text[0] == '[' && text[n - 1] == ']';
    memcpy(host, text + six, n - 2u * six);
    host[n - 2u * six] = '\0';
    return inet_pton(six ? AF_INET6 : AF_INET, host, address) == 1;
}

/* The option's value that a refused socket call asks for; NULL: none. free() it. */
static char *take_address(const json_t *line, enum kind *ret_kind)
{
    const char *address = json_string_value(json_object_get(line, "address"));
    const char *action = json_string_value(json_object_get(line, "action"));
    const char *type = json_string_value(json_object_get(line, "type"));
    if (!address || !action || !type || !is_endpoint(address))
        return NULL;
    if (strcmp(action, "listen") == 0)
        *ret_kind = KIND_LISTEN;
    else if (strcmp(action, "connect") == 0)
        *ret_kind = KIND_CONNECT;
    else
        return NULL;
    bool any = strcmp(type, "any") == 0;
    if (!any && strcmp(type, "tcp") != 0 && strcmp(type, "udp") != 0)
        return NULL;
    char *value;
    if (asprintf(&value, "%s%s%s", address, any ? "" : "/", any ? "" : type) < 0)
        return NULL;
    if (net_parse_option(*ret_kind == KIND_LISTEN ? MANIFEST_NET_LISTEN : MANIFEST_NET_CONNECT,
                         value, NULL, NULL) < 0) {
        free(value);
        return NULL;
    }
    return value;
}

/* Takes text. */
static int add_item(struct proposal *p, enum kind kind, const char *node, char *text,
                    struct err *err)
{
    CLEANUP(free_p) char *owned = text;
    CLEANUP(free_p) char *key = NULL;
    int size = asprintf(&key, "%d%s%c%s", (int)kind, node, '\0', text);
    if (size < 0) {
        key = NULL;
        return no_memory(err);
    }
    struct item *i;
    HASH_FIND(hh, p->items, key, (size_t)size, i);
    if (i) {
        i->times++;
        return 0;
    }
    if (HASH_COUNT(p->items) >= PROPOSAL_ITEMS_MAX) {
        p->left_out++;
        return 0;
    }
    i = calloc(1, sizeof(*i));
    char *label = strdup(node);
    if (!i || !label) {
        free(i);
        free(label);
        return no_memory(err);
    }
    *i = (struct item){ .key = TAKE_PTR(key),
                        .key_size = (size_t)size,
                        .kind = kind,
                        .node = label,
                        .text = TAKE_PTR(owned),
                        .times = 1 };
    HASH_ADD_KEYPTR(hh, p->items, i->key, i->key_size, i);
    return 0;
}

static int add_other(struct proposal *p, const char *event, struct err *err)
{
    struct other *o;
    HASH_FIND_STR(p->others, event, o);
    if (!o) {
        o = calloc(1, sizeof(*o) + strlen(event) + 1);
        if (!o)
            return no_memory(err);
        strcpy(o->event, event);
        HASH_ADD_KEYPTR(hh, p->others, o->event, strlen(o->event), o);
    }
    o->times++;
    return 0;
}

static const struct {
    const char *event;
    enum kind kind;
} path_events[] = {
    { "absent", KIND_TRUST }, { "not-granted", KIND_TRUST }, { "listing", KIND_LISTING },
    { "write", KIND_WRITE },  { "exec", KIND_EXEC },
};
static const char *const other_events[] = { "fork",    "syscall", "net",   "child", "given",
                                            "refused", "lost",    "panic", "exit",  "unknown" };

/* 0: taken; 1: that is no audit line. */
static int take_line(struct proposal *p, const char *text, size_t size, struct err *err)
{
    json_t *line = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const char *node = json_string_value(json_object_get(line, "node"));
    const char *event = json_string_value(json_object_get(line, "event"));
    int r = 1;
    if (!node || !event || strlen(node) > NODE_MAX) {
        json_decref(line);
        return r;
    }
    for (size_t i = 0; i < ARRAY_SIZE(path_events); i++) {
        char *path = strcmp(event, path_events[i].event) == 0 ? take_path(line) : NULL;
        if (path)
            r = add_item(p, path_events[i].kind, node, path, err);
    }
    enum kind kind = KIND_LISTEN;
    char *address = strcmp(event, "net") == 0 ? take_address(line, &kind) : NULL;
    if (address)
        r = add_item(p, kind, node, address, err);
    bool named = json_object_get(line, "address") != NULL;
    for (size_t i = 0; r == 1 && !named && i < ARRAY_SIZE(other_events); i++)
        if (strcmp(event, other_events[i]) == 0)
            r = add_other(p, other_events[i], err);
    json_decref(line);
    return r;
}

static void count_ignored(struct proposal *p)
{
    if (p->ignored < LINES_NAMED)
        p->ignored_at[p->ignored] = p->lines;
    p->ignored++;
}

int proposal_read(struct proposal *p, const char *path, struct err *err)
{
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(err, -errno, "audit file '%s': %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(err, -EINVAL, "audit file '%s': not a regular file", path);
    char **files = reallocarray(p->files, p->file_count + 1, sizeof(*files));
    if (!files)
        return no_memory(err);
    p->files = files;
    files[p->file_count] = strdup(path);
    CLEANUP(free_p) char *line = malloc(PROPOSAL_LINE_MAX + 1);
    FILE *in = fdopen(fd, "r");
    if (!files[p->file_count] || !line || !in) {
        if (in) {
            fd = -1;
            fclose(in);
        }
        return no_memory(err);
    }
    p->file_count++;
    fd = -1;

    int r = 0;
    size_t size = 0;
    bool too_long = false;
    for (int c = getc(in); r >= 0; c = getc(in)) {
        if (c != '\n' && c != EOF) {
            if (size < PROPOSAL_LINE_MAX)
                line[size++] = (char)c;
            else
                too_long = true;
            continue;
        }
        if (size > 0) {
            p->lines++;
            r = too_long ? 1 : take_line(p, line, size, err);
            if (r > 0)
                count_ignored(p);
        }
        size = 0;
        too_long = false;
        if (c == EOF)
            break;
    }
    if (r >= 0 && ferror(in))
        r = err_set(err, -EIO, "audit file '%s': reading it failed", path);
    fclose(in);
    return r < 0 ? r : 0;
}

/* ---- this machine ---- */

static void only_said(struct item *i, const char *why)
{
    i->kind = KIND_ONLY_SAID;
    i->said = why;
}

static int look_at(struct item *i)
{
    char real[PATH_MAX];
    struct stat st;
    if (path_built_in(i->text)) {
        only_said(i, "answered by the library OS, never by the host");
        return 0;
    }
    if (path_below(i->text, "/tmp")) {
        only_said(i, "below /tmp: private to the run");
        return 0;
    }
    if (!realpath(i->text, real)) {
        only_said(i, errno == ENOENT || errno == ENOTDIR ? "not on this machine: nothing to trust"
                                                         : "cannot be looked at on this machine");
        return 0;
    }
    if (path_built_in(real) || lstat(real, &st) < 0 ||
        !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
        only_said(i, "no regular file on this machine");
        return 0;
    }
    if (S_ISDIR(st.st_mode)) {
        only_said(i, "a folder: trust files in it, or all of it with --trust");
        return 0;
    }
    i->at = (struct cascade_file){ .path = strdup(real),
                                   .size = (uint64_t)st.st_size,
                                   .mode = st.st_mode,
                                   .mtime_sec = st.st_mtim.tv_sec,
                                   .mtime_nsec = (uint32_t)st.st_mtim.tv_nsec };
    if (!i->at.path)
        return -ENOMEM;
    int r = manifest_hash_file(&i->at, NULL);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        only_said(i, "cannot be read on this machine");
    if (r == 0 && dpkg_owner(real, i->package, sizeof(i->package)) < 0)
        i->package[0] = '\0';
    return 0;
}

static int compare_items(const struct item *a, const struct item *b)
{
    int order = strcmp(a->node, b->node);
    bool a_rule = a->kind < KIND_ONLY_SAID, b_rule = b->kind < KIND_ONLY_SAID;
    if (order == 0 && a_rule != b_rule)
        return a_rule ? -1 : 1;
    if (order == 0 && a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    return order ? order : strcmp(a->text, b->text);
}

int proposal_look(struct proposal *p, struct err *err)
{
    for (struct item *i = p->items; i; i = i->hh.next) {
        switch (i->kind) {
        case KIND_TRUST:
            if (look_at(i) < 0)
                return no_memory(err);
            break;
        case KIND_LISTING:
            only_said(i, "listed: trace a run that lists it, or --trust all of it");
            break;
        case KIND_WRITE: only_said(i, "written: --allow leaves it to the host, unprotected"); break;
        case KIND_EXEC: only_said(i, "started: trace a run that starts it"); break;
        default: break;
        }
    }
    HASH_SORT(p->items, compare_items);
    return 0;
}

/* ---- for people ---- */

/* Text of a log on a terminal: plain ASCII as it is, anything else quoted and escaped. */
static void put_text(FILE *out, const char *text)
{
    bool plain = *text != '\0';
    for (const char *c = text; *c; c++)
        plain &= *c > ' ' && *c <= '~' && *c != '\'' && *c != '\\';
    if (plain) {
        fputs(text, out);
        return;
    }
    putc('\'', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '\\' || *c == '\'')
            fprintf(out, "\\%c", *c);
        else if (*c >= ' ' && *c <= '~')
            putc(*c, out);
        else
            fprintf(out, "\\x%02x", *c);
    }
    putc('\'', out);
}

static void put_marks(FILE *out, const struct item *i)
{
    if (strcmp(i->at.path, i->text) != 0) {
        fputs(", which is ", out);
        put_text(out, i->at.path);
    }
    if (i->package[0])
        fprintf(out, ", package %s", i->package);
    if (path_importable(i->at.path))
        fputs(", CODE: can be imported", out);
    else if (i->at.mode & 0111)
        fputs(", CODE: can be executed", out);
    if (!(i->at.mode & 0004))
        fputs(", NOT READABLE BY ALL: a secret?", out);
    if (i->at.mode & 0022)
        fputs(", WRITABLE BY OTHERS", out);
}

static void put_item(FILE *out, const struct item *i)
{
    static const char *const options[] = { "--trust", "--listen", "--connect" };
    bool rule = i->kind < KIND_ONLY_SAID;
    fprintf(out, "  %c %s%s", rule ? '+' : '?', rule ? options[i->kind] : "", rule ? " " : "");
    put_text(out, i->text);
    fprintf(out, "  (%llu time%s", (unsigned long long)i->times, i->times == 1 ? "" : "s");
    if (i->kind == KIND_TRUST) {
        char hex[65];
        manifest_hex(i->at.sha256, hex);
        put_marks(out, i);
        fprintf(out, ")\n      %llu bytes, sha256 %s\n", (unsigned long long)i->at.size, hex);
    } else if (rule) {
        fputs(")\n", out);
    } else {
        fprintf(out, "; %s)\n", i->said);
    }
}

size_t proposal_rule_count(const struct proposal *p)
{
    size_t count = 0;
    for (const struct item *i = p->items; i; i = i->hh.next)
        count += i->kind < KIND_ONLY_SAID;
    return count;
}

static void put_ignored(const struct proposal *p, FILE *out)
{
    fprintf(out, "%llu line%s no audit line%s:", (unsigned long long)p->ignored,
            p->ignored == 1 ? " is" : "s are", p->ignored == 1 ? "" : "s");
    for (uint64_t i = 0; i < p->ignored && i < LINES_NAMED; i++)
        fprintf(out, " %llu", (unsigned long long)p->ignored_at[i]);
    fputs(p->ignored > LINES_NAMED ? " ...\n" : "\n", out);
}

void proposal_print(const struct proposal *p, FILE *out)
{
    fprintf(out, "# What the program asked for and did not get, as the machine that ran it says: "
                 "that is not trusted.\n"
                 "# Sizes and hashes are of the files of this machine, now. Nothing is granted by "
                 "this: read each line.\n");
    const char *node = NULL;
    for (const struct item *i = p->items; i; i = i->hh.next) {
        if (!node || strcmp(node, i->node) != 0) {
            fputs("node ", out);
            put_text(out, i->node);
            putc('\n', out);
        }
        node = i->node;
        put_item(out, i);
    }
    if (!p->items)
        fprintf(out, "nothing to propose\n");
    for (const struct other *o = p->others; o; o = o->hh.next)
        if (strcmp(o->event, "exit") != 0)
            fprintf(out, "not for rules: %llu x %s%s\n", (unsigned long long)o->times, o->event,
                    strcmp(o->event, "refused") == 0 ? ": A FILE WAS NOT WHAT WAS SIGNED" : "");
    if (p->left_out)
        fprintf(out, "%llu refusals more than fit were left out\n",
                (unsigned long long)p->left_out);
    if (p->ignored)
        put_ignored(p, out);
}

/* ---- the file of rules ---- */

static json_t *pack_bytes(json_t *o, const char *key, const char *text)
{
    json_t *string = json_string(text);
    if (string) {
        json_object_set_new(o, key, string);
        return o;
    }
    /* No UTF-8. */
    size_t size = strlen(text);
    char name[32];
    CLEANUP(free_p) char *hex = malloc(2 * size + 1);
    if (!hex)
        return NULL;
    for (size_t i = 0; i < size; i++)
        sprintf(hex + 2 * i, "%02x", (unsigned char)text[i]);
    snprintf(name, sizeof(name), "%s_hex", key);
    return json_object_set_new(o, name, json_string(hex)) < 0 ? NULL : o;
}

static int put_rule(FILE *out, const struct item *i)
{
    static const char *const keys[] = { "trust", "listen", "connect" };
    json_t *o = json_object();
    bool packed = o && pack_bytes(o, "node", i->node) && pack_bytes(o, keys[i->kind], i->text);
    if (packed && i->kind == KIND_TRUST) {
        char hex[65];
        manifest_hex(i->at.sha256, hex);
        packed = json_object_set_new(o, "sha256", json_string(hex)) == 0;
    }
    CLEANUP(free_p) char *text = packed ? json_dumps(o, JSON_ENSURE_ASCII) : NULL;
    json_decref(o);
    if (!text)
        return -ENOMEM;
    fputs(text, out);
    return 0;
}

int proposal_store(const struct proposal *p, const char *path, struct err *err)
{
    CLEANUP(free_p) char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return no_memory(err);
    fprintf(out, "{\"format\": \"%s\", \"version\": %d, \"rules\": [", PROPOSAL_FORMAT,
            PROPOSAL_VERSION);
    bool first = true;
    int r = 0;
    for (const struct item *i = p->items; r == 0 && i; i = i->hh.next) {
        if (i->kind >= KIND_ONLY_SAID)
            continue;
        fputs(first ? "\n" : ",\n", out);
        first = false;
        r = put_rule(out, i);
    }
    fputs("\n]}\n", out);
    if (fclose(out) != 0 || r < 0)
        return no_memory(err);
    return file_store(AT_FDCWD, path, text, size, 0644, 0, err);
}

/* ---- and back ---- */

struct rule_reader {
    const char *file;
    size_t index;
    struct err *err;
};

static int wrong(const struct rule_reader *at, const char *what)
{
    return err_set(at->err, -EBADMSG, "rules '%s': rule %zu: %s", at->file, at->index + 1, what);
}

/* A copy of "KEY" or "KEY_hex"; *ret NULL: neither is there. */
static int unpack_bytes(const struct rule_reader *at, const json_t *o, const char *key, char **ret,
                        size_t *seen)
{
    char name[32];
    snprintf(name, sizeof(name), "%s_hex", key);
    const json_t *plain = json_object_get(o, key), *hex = json_object_get(o, name);
    *ret = NULL;
    if (!plain && !hex)
        return 0;
    ++*seen;
    if (plain && !hex && json_is_string(plain))
        *ret = strdup(json_string_value(plain));
    if (hex && !plain && json_is_string(hex) && json_string_length(hex) % 2 == 0) {
        size_t size = json_string_length(hex) / 2;
        CLEANUP(free_p) char *bytes = calloc(1, size + 1);
        for (size_t i = 0; bytes && i < size; i++) {
            int high = hex_digit(json_string_value(hex)[2 * i]);
            int low = hex_digit(json_string_value(hex)[2 * i + 1]);
            if (high < 0 || low < 0 || high + low == 0)
                return wrong(at, "broken hex");
            bytes[i] = (char)(high << 4 | low);
        }
        *ret = TAKE_PTR(bytes);
    }
    return *ret ? 0 : wrong(at, "a string is wanted");
}

/* The file has the content that was reviewed. */
static int check_hash(const struct rule_reader *at, const char *path, const char *sha256)
{
    char real[PATH_MAX], hex[65];
    struct stat st;
    if (!realpath(path, real) || lstat(real, &st) < 0)
        return err_set(at->err, -ESTALE, "rules '%s': '%s': %s", at->file, path, strerror(errno));
    struct cascade_file f = { .path = real,
                              .size = (uint64_t)st.st_size,
                              .mtime_sec = st.st_mtim.tv_sec,
                              .mtime_nsec = (uint32_t)st.st_mtim.tv_nsec };
    int r = manifest_hash_file(&f, at->err);
    if (r < 0)
        return r;
    manifest_hex(f.sha256, hex);
    if (strcmp(hex, sha256) != 0)
        return err_set(
            at->err, -ESTALE,
            "rules '%s': '%s' is not what was reviewed: it has sha256 %s, and %s stands there",
            at->file, path, hex, sha256);
    return 0;
}

/* Strings that the result points to, so that they are freed together. */
struct strings {
    char **items;
    size_t count;
};

static int keep(struct strings *s, char *text)
{
    char **items = reallocarray(s->items, s->count + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    s->items = items;
    items[s->count++] = text;
    return 0;
}

static int take_rule(const struct rule_reader *at, const json_t *o, struct rules_file *f)
{
    CLEANUP(free_p) char *node = NULL;
    CLEANUP(free_p) char *trust = NULL;
    CLEANUP(free_p) char *listen = NULL;
    CLEANUP(free_p) char *connect = NULL;
    CLEANUP(free_p) char *sha256 = NULL;
    size_t seen = 0;
    int r = json_is_object(o) ? 0 : wrong(at, "an object is wanted");
    if (r < 0 || (r = unpack_bytes(at, o, "node", &node, &seen)) < 0 ||
        (r = unpack_bytes(at, o, "trust", &trust, &seen)) < 0 ||
        (r = unpack_bytes(at, o, "listen", &listen, &seen)) < 0 ||
        (r = unpack_bytes(at, o, "connect", &connect, &seen)) < 0 ||
        (r = unpack_bytes(at, o, "sha256", &sha256, &seen)) < 0)
        return r;
    if (seen != json_object_size(o))
        return wrong(at, "an unknown key");
    if (!trust + !listen + !connect != 2 || !node)
        return wrong(at, "a node and one of trust, listen and connect are wanted");
    if (!trust != !sha256)
        return wrong(at, "sha256 goes with trust, and trust with sha256");
    struct strings *strings = f->memory;
    if (trust) {
        if (!is_canonical(trust, strlen(trust)) || strlen(sha256) != 64)
            return wrong(at, "that is no path, or no hash");
        if ((r = check_hash(at, trust, sha256)) < 0)
            return r;
        if (keep(strings, node) < 0)
            return no_memory(at->err);
        f->trust[f->trust_count].node = TAKE_PTR(node);
        if (keep(strings, trust) < 0)
            return no_memory(at->err);
        f->trust[f->trust_count++].path = TAKE_PTR(trust);
        return 0;
    }
    char **value = listen ? &listen : &connect;
    r = net_parse_option(listen ? MANIFEST_NET_LISTEN : MANIFEST_NET_CONNECT, *value, NULL,
                         at->err);
    if (r < 0)
        return err_wrap(at->err, "rules '%s': rule %zu", at->file, at->index + 1);
    if (keep(strings, *value) < 0)
        return no_memory(at->err);
    if (listen)
        f->listen[f->listen_count++] = listen;
    else
        f->connect[f->connect_count++] = connect;
    *value = NULL;
    return 0;
}

int rules_file_load(const char *path, struct rules_file *ret, struct err *err)
{
    CLEANUP(free_p) char *text = NULL;
    size_t size;
    int r = file_load(AT_FDCWD, path, PROPOSAL_FILE_MAX, &text, &size, err);
    if (r < 0)
        return r;
    json_error_t error;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return err_set(err, -EBADMSG, "rules '%s': line %d: %s", path, error.line, error.text);
    const json_t *rules = json_object_get(root, "rules");
    const char *format = json_string_value(json_object_get(root, "format"));
    size_t count = json_array_size(rules);
    if (!format || strcmp(format, PROPOSAL_FORMAT) != 0 || !json_is_array(rules) ||
        json_integer_value(json_object_get(root, "version")) != PROPOSAL_VERSION)
        r = err_set(err, -EBADMSG, "'%s' holds no rules of version %d", path, PROPOSAL_VERSION);
    if (r >= 0 && count > 3 * PROPOSAL_ITEMS_MAX)
        r = err_set(err, -E2BIG, "rules '%s': %zu are too many", path, count);
    if (r >= 0) {
        ret->memory = calloc(1, sizeof(struct strings));
        ret->trust = calloc(count + 1, sizeof(*ret->trust));
        ret->listen = calloc(count + 1, sizeof(*ret->listen));
        ret->connect = calloc(count + 1, sizeof(*ret->connect));
        if (!ret->memory || !ret->trust || !ret->listen || !ret->connect)
            r = no_memory(err);
    }
    struct rule_reader at = { .file = path, .err = err };
    for (; r >= 0 && at.index < count; at.index++)
        r = take_rule(&at, json_array_get(rules, at.index), ret);
    json_decref(root);
    return r < 0 ? r : 0;
}

void rules_file_done(struct rules_file *f)
{
    struct strings *strings = f->memory;
    for (size_t i = 0; strings && i < strings->count; i++)
        free(strings->items[i]);
    if (strings)
        free(strings->items);
    free(strings);
    free(f->trust);
    free(f->listen);
    free(f->connect);
    *f = (struct rules_file){ 0 };
}
