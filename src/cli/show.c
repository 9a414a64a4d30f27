/*
 * `sgxpy show`: what a bundle, a cascade or a trace holds, for people and (--json) for machines. Of
 * a bundle the compiled manifests are shown, which are measured, never the cascade beside them.
 * Tier: hosted.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/show_tree.h"
#include "cli/show_why.h"
#include "core/manifest_view.h"
#include "core/net_rule.h"
#include "core/program_key.h"
#include "manifest/cascade.h"
#include "manifest/tree.h"
#include "signer/bundle.h"
#include "signer/sigstruct.h"
#include "tracer/log.h"
#include "tracer/trace.h"
#include "util/fs.h"

/* One file of a node, from wherever it comes. Strings are borrowed. */
struct show_file {
    const char *path, *target;
    uint32_t class, flags, mode;
    uint64_t size;
    const uint8_t *sha256; /* trusted regular files */
};

/* One node, from a compiled manifest or a cascade. */
struct show_node {
    const char *label, *executable, *interpreter, *cwd;
    uint32_t flags, thread_count, uid, gid;
    uint64_t heap_size;
    size_t file_count, arg_count;
    const struct manifest_view *view;      /* either */
    const struct cascade_node *cascade;    /* or */
    const struct sgx_sigstruct *sigstruct; /* NULL: not signed yet */
    const uint8_t *cascade_id;
    size_t manifest_size;
    uint32_t process_limit;
    size_t index;                     /* in the whole */
    const struct cascade_node *words; /* what its entry points are called; NULL: not known */
};

/* All nodes of a bundle or cascade, and what holds them. */
struct show_nodes {
    struct show_node *nodes;
    size_t count;
    struct manifest_view *views; /* of a bundle */
    struct bundle *bundle;
    struct cascade *cascade; /* of a bundle: only if it is what was signed */
};

static void show_nodes_done(struct show_nodes *s)
{
    free(s->nodes);
    free(s->views);
    bundle_free(s->bundle);
    cascade_free(s->cascade);
}

static struct show_file file_at(const struct show_node *n, size_t i)
{
    if (n->cascade) {
        const struct cascade_file *f = &n->cascade->files[i];
        return (struct show_file){ f->path,
                                   f->target,
                                   f->class,
                                   f->flags,
                                   f->mode,
                                   f->size,
                                   f->class == MANIFEST_TRUSTED && S_ISREG(f->mode) ? f->sha256
                                                                                    : NULL };
    }
    const struct manifest_file *f = &n->view->files[i];
    return (struct show_file){
        manifest_str_ptr(n->view, f->path),
        f->target.length ? manifest_str_ptr(n->view, f->target) : NULL,
        f->class,
        f->flags,
        f->mode,
        f->size,
        f->class == MANIFEST_TRUSTED && S_ISREG(f->mode) ? f->sha256 : NULL,
    };
}

static const char *argument_at(const struct show_node *n, size_t i)
{
    return n->cascade ? n->cascade->args[i] : manifest_str_ptr(n->view, n->view->args[i]);
}

static size_t given_count(const struct show_node *n)
{
    return n->cascade ? n->cascade->given_count : n->view->given_count;
}

/* Its strings are the node's. */
static struct cascade_given given_at(const struct show_node *n, size_t i)
{
    if (n->cascade)
        return n->cascade->given[i];
    const struct manifest_given *g = &n->view->given[i];
    struct cascade_given ret = { .what = g->what };
    bool named = g->what <= MANIFEST_GIVEN_INSECURE;
    if (named)
        ret.name = (char *)(uintptr_t)manifest_str_ptr(n->view, g->name);
    if (!named || g->what == MANIFEST_GIVEN_VARIABLE)
        ret.value = (char *)(uintptr_t)manifest_str_ptr(n->view, g->value);
    return ret;
}

static size_t net_count(const struct show_node *n)
{
    return n->cascade ? n->cascade->net_count : n->view->net_count;
}

/* buf: where a rule of a compiled manifest is written. */
static const char *net_at(const struct show_node *n, size_t i, char buf[static NET_TEXT_MAX])
{
    if (n->cascade)
        return n->cascade->net[i];
    net_rule_text(&n->view->net[i], buf);
    return buf;
}

/* ---- counts --------------------------------------------------------------------------------- */

enum { COUNT_FILES, COUNT_FOLDERS, COUNT_LINKS, COUNT_KINDS };

struct counts {
    size_t by_class[MANIFEST_ABSENT + 1];
    size_t trusted[COUNT_KINDS];
    uint64_t trusted_bytes;
    size_t outputs, denied, executable;
};

static struct counts count(const struct show_node *n)
{
    struct counts c = { 0 };
    for (size_t i = 0; i < n->file_count; i++) {
        struct show_file f = file_at(n, i);
        if (f.class <= MANIFEST_ABSENT)
            c.by_class[f.class]++;
        c.outputs += f.flags & MANIFEST_OUTPUT ? 1 : 0;
        c.denied += f.flags & MANIFEST_DENY ? 1 : 0;
        c.executable += f.flags & MANIFEST_EXEC ? 1 : 0;
        if (f.class != MANIFEST_TRUSTED)
            continue;
        if (S_ISREG(f.mode)) {
            c.trusted[COUNT_FILES]++;
            c.trusted_bytes += f.size;
        } else {
            c.trusted[S_ISDIR(f.mode) ? COUNT_FOLDERS : COUNT_LINKS]++;
        }
    }
    return c;
}

/* ---- text ----------------------------------------------------------------------------------- */

static void print_hex(const char *name, const void *bytes, size_t size)
{
    char hex[2 * SGX_HASH_SIZE + 1];
    cli_hex(bytes, size, hex);
    printf("  %-14s %s\n", name, hex);
}

static void print_field(const char *name, const char *text)
{
    printf("  %-14s ", name);
    show_text(text);
    putchar('\n');
}

/* What its parents may give it and decides what runs. */
static void print_given(const struct show_node *n)
{
    if (n->flags & MANIFEST_INSECURE_GIVEN)
        print_field("given", "insecure: variables, folder and options are taken as they come");
    for (size_t i = 0; i < given_count(n); i++) {
        struct cascade_given g = given_at(n, i);
        printf("  %-14s %s ", i ? "" : "given", cascade_given_word(g.what));
        show_text(g.name ? g.name : "");
        if (g.value) {
            putchar(g.name ? '=' : '\'');
            show_text(g.value);
            if (!g.name)
                putchar('\'');
        }
        putchar('\n');
    }
}

static void print_sigstruct(const struct sgx_sigstruct *s)
{
    uint8_t mrsigner[SGX_HASH_SIZE];
    sigstruct_mrsigner(s, mrsigner);
    print_hex("MRENCLAVE", s->enclave_hash, SGX_HASH_SIZE);
    print_hex("MRSIGNER", mrsigner, SGX_HASH_SIZE);
    printf("  %-14s %s%s%s%s, flags 0x%" PRIx64 ", xfrm 0x%" PRIx64 "\n", "attributes",
           s->attributes.flags & SGX_ATTR_DEBUG ? "DEBUG (insecure)" : "no DEBUG",
           s->attributes.flags & SGX_ATTR_MODE64BIT ? ", 64 bit" : "",
           s->attributes.flags & SGX_ATTR_PROVISIONKEY ? ", provision key" : "",
           s->misc_select & 1 ? ", EXINFO" : "", s->attributes.flags, s->attributes.xfrm);
    printf("  %-14s ISVPRODID %u, ISVSVN %u, date %08x\n", "version", s->isv_prod_id, s->isv_svn,
           s->date);
}

static void print_files(const struct show_node *n)
{
    for (size_t i = 0; i < n->file_count; i++) {
        struct show_file f = file_at(n, i);
        char hash[2 * MANIFEST_HASH_SIZE + 1] = "-";
        if (f.sha256)
            cli_hex(f.sha256, MANIFEST_HASH_SIZE, hash);
        printf("  %-8s%s %06o %12" PRIu64 " %-64s ", cascade_class_name(f.class),
               f.flags & MANIFEST_DENY     ? " deny  "
               : f.flags & MANIFEST_OUTPUT ? " output"
               : f.flags & MANIFEST_EXEC   ? " exec  "
                                           : "       ",
               f.mode, f.size, hash);
        show_text(f.path);
        if (f.target) {
            fputs(" -> ", stdout);
            show_text(f.target);
        }
        putchar('\n');
    }
}

/* A root's: others are told theirs by who starts them. */
static void print_arguments(const struct show_node *n)
{
    printf("  %-14s", "arguments");
    for (size_t i = 0; i < n->arg_count; i++) {
        putchar(' ');
        show_text(argument_at(n, i));
    }
    printf("%s\n", n->flags & MANIFEST_ARGS_HOST ? "  ... (more from the host)" : "");
}

/* Which starts this node is, and which it may start. */
static void print_starts(const struct show_node *n, const struct show_nodes *all)
{
    const struct cascade_node *words = n->words;
    for (size_t i = 0; words && i < words->entry_count; i++) {
        CLEANUP(free_p) char *label = tree_label(&words->entries[i].start);
        if (words->entry_count > 1)
            print_field(i ? "" : "is each of", label ? label : "");
    }
    if (n->flags & MANIFEST_FORKS)
        print_field("forks", "yes");
    for (size_t i = 0; words && i < words->child_count; i++) {
        const struct cascade_child *c = &words->children[i];
        CLEANUP(free_p) char *label = tree_label(&c->start);
        printf("  %-14s ", i ? "" : "may start");
        show_text(label ? label : "");
        if (c->node == n->index)
            puts("  ↺ itself");
        else if (strcmp(all->nodes[c->node].label, label ? label : "") != 0)
            printf("  (node %" PRIu32 ")\n", c->node);
        else
            putchar('\n');
    }
}

static void print_node(const struct show_node *n, const struct show_nodes *all, bool files)
{
    char bytes[32];
    printf("node %zu: ", n->index);
    show_text(n->label);
    putchar('\n');
    if (n->sigstruct)
        print_sigstruct(n->sigstruct);
    if (n->cascade_id)
        print_hex("cascade id", n->cascade_id, MANIFEST_HASH_SIZE);
    print_field("executable", n->executable);
    if (n->interpreter)
        print_field("interpreter", n->interpreter);
    if (n->flags & MANIFEST_ROOT)
        print_arguments(n);
    print_field("folder", n->cwd);
    printf("  %-14s %" PRIu32 " / %" PRIu32 "\n", "user / group", n->uid, n->gid);
    printf("  %-14s heap %" PRIu64 " MiB, %" PRIu32 " thread%s%s\n", "limits", n->heap_size >> 20,
           n->thread_count, n->thread_count == 1 ? "" : "s",
           n->flags & MANIFEST_EXEC_DENY ? ", exec and fork denied" : "");
    if (n->process_limit && all->count > 1)
        printf("  %-14s %" PRIu32 " processes\n", "", n->process_limit);
    print_starts(n, all);
    if (n->manifest_size)
        printf("  %-14s %s\n", "manifest", cli_size(n->manifest_size, bytes));

    struct counts c = count(n);
    printf("  %-14s %zu files (%s), %zu folders, %zu links; %zu executable, %zu deny\n", "trusted",
           c.trusted[COUNT_FILES], cli_size(c.trusted_bytes, bytes), c.trusted[COUNT_FOLDERS],
           c.trusted[COUNT_LINKS], c.executable, c.denied);
    printf("  %-14s %zu, of them outputs %zu\n", "allowed", c.by_class[MANIFEST_ALLOWED],
           c.outputs);
    printf("  %-14s %zu\n", "scratch", c.by_class[MANIFEST_SCRATCH]);
    printf("  %-14s %zu known by name, %zu absent\n", "others", c.by_class[MANIFEST_NAMED],
           c.by_class[MANIFEST_ABSENT]);
    for (size_t i = 0; i < net_count(n); i++) {
        char text[NET_TEXT_MAX];
        print_field(i ? "" : "network", net_at(n, i, text));
    }
    print_given(n);
    if (files)
        print_files(n);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void put_hex(json_t *object, const char *key, const void *bytes, size_t size)
{
    char hex[2 * SGX_HASH_SIZE + 1];
    cli_hex(bytes, size, hex);
    json_object_set_new(object, key, json_string(hex));
}

/* JSON knows UTF-8 only: other bytes stand in hex, under KEY_hex. */
static void put_text(json_t *object, const char *key, const char *text)
{
    json_t *value = json_string(text);
    if (value) {
        json_object_set_new(object, key, value);
        return;
    }
    char name[64];
    snprintf(name, sizeof(name), "%s_hex", key);
    size_t size = strlen(text);
    char *hex = malloc(2 * size + 1);
    if (!hex)
        return;
    cli_hex(text, size, hex);
    json_object_set_new(object, name, json_string(hex));
    free(hex);
}

static json_t *json_files(const struct show_node *n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n->file_count; i++) {
        struct show_file f = file_at(n, i);
        json_t *item = json_pack("{s:s, s:i, s:I}", "class", cascade_class_name(f.class), "mode",
                                 (int)f.mode, "size", (json_int_t)f.size);
        put_text(item, "path", f.path);
        if (f.target)
            put_text(item, "target", f.target);
        if (f.sha256)
            put_hex(item, "sha256", f.sha256, MANIFEST_HASH_SIZE);
        json_object_set_new(item, "deny", json_boolean(f.flags & MANIFEST_DENY));
        json_object_set_new(item, "output", json_boolean(f.flags & MANIFEST_OUTPUT));
        json_object_set_new(item, "executable", json_boolean(f.flags & MANIFEST_EXEC));
        json_array_append_new(list, item);
    }
    return list;
}

static void put_sigstruct(json_t *object, const struct sgx_sigstruct *s)
{
    uint8_t mrsigner[SGX_HASH_SIZE];
    sigstruct_mrsigner(s, mrsigner);
    put_hex(object, "mrenclave", s->enclave_hash, SGX_HASH_SIZE);
    put_hex(object, "mrsigner", mrsigner, SGX_HASH_SIZE);
    char flags[24], xfrm[24], date[16];
    snprintf(flags, sizeof(flags), "0x%" PRIx64, s->attributes.flags);
    snprintf(xfrm, sizeof(xfrm), "0x%" PRIx64, s->attributes.xfrm);
    snprintf(date, sizeof(date), "%08x", s->date);
    json_object_set_new(object, "attributes",
                        json_pack("{s:b, s:s, s:s, s:i}", "debug",
                                  (int)!!(s->attributes.flags & SGX_ATTR_DEBUG), "flags", flags,
                                  "xfrm", xfrm, "misc_select", (int)s->misc_select));
    json_object_set_new(object, "isv_prod_id", json_integer(s->isv_prod_id));
    json_object_set_new(object, "isv_svn", json_integer(s->isv_svn));
    json_object_set_new(object, "date", json_string(date));
}

/* Entry points and children, by the words of the cascade. */
static void put_tree(json_t *o, const struct show_node *n)
{
    json_object_set_new(o, "root", json_boolean(n->flags & MANIFEST_ROOT));
    json_object_set_new(o, "forks", json_boolean(n->flags & MANIFEST_FORKS));
    if (n->process_limit)
        json_object_set_new(o, "process_limit", json_integer(n->process_limit));
    if (!n->words)
        return;
    json_t *entries = json_array(), *children = json_array();
    for (size_t i = 0; i < n->words->entry_count; i++) {
        CLEANUP(free_p) char *label = tree_label(&n->words->entries[i].start);
        json_t *one = json_object();
        put_text(one, "label", label ? label : "");
        put_text(one, "executable", n->words->entries[i].start.executable);
        if (n->words->entries[i].start.text)
            put_text(one, "text", n->words->entries[i].start.text);
        json_array_append_new(entries, one);
    }
    for (size_t i = 0; i < n->words->child_count; i++) {
        CLEANUP(free_p) char *label = tree_label(&n->words->children[i].start);
        json_t *one = json_object();
        put_text(one, "label", label ? label : "");
        json_object_set_new(one, "node", json_integer(n->words->children[i].node));
        json_object_set_new(one, "self", json_boolean(n->words->children[i].node == n->index));
        json_array_append_new(children, one);
    }
    json_object_set_new(o, "entries", entries);
    json_object_set_new(o, "children", children);
}

static json_t *json_node(const struct show_node *n, bool files)
{
    json_t *o = json_object();
    put_text(o, "label", n->label);
    put_text(o, "executable", n->executable);
    if (n->interpreter)
        put_text(o, "interpreter", n->interpreter);
    put_text(o, "cwd", n->cwd);
    json_t *arguments = json_array();
    for (size_t i = 0; i < n->arg_count; i++) {
        json_t *one = json_object();
        put_text(one, "text", argument_at(n, i));
        json_array_append_new(arguments, one);
    }
    json_object_set_new(o, "arguments", arguments);
    json_object_set_new(o, "args_host", json_boolean(n->flags & MANIFEST_ARGS_HOST));
    json_object_set_new(o, "exec_deny", json_boolean(n->flags & MANIFEST_EXEC_DENY));
    json_object_set_new(o, "uid", json_integer(n->uid));
    json_object_set_new(o, "gid", json_integer(n->gid));
    json_object_set_new(o, "heap_size", json_integer((json_int_t)n->heap_size));
    json_object_set_new(o, "thread_count", json_integer(n->thread_count));
    if (n->sigstruct)
        put_sigstruct(o, n->sigstruct);
    if (n->cascade_id)
        put_hex(o, "cascade_id", n->cascade_id, MANIFEST_HASH_SIZE);
    if (n->manifest_size)
        json_object_set_new(o, "manifest_size", json_integer((json_int_t)n->manifest_size));

    put_tree(o, n);
    json_t *net = json_array();
    for (size_t i = 0; i < net_count(n); i++) {
        char text[NET_TEXT_MAX];
        json_array_append_new(net, json_string(net_at(n, i, text)));
    }
    json_object_set_new(o, "net", net);
    json_t *given = json_array();
    for (size_t i = 0; i < given_count(n); i++) {
        struct cascade_given g = given_at(n, i);
        json_t *one = json_object();
        json_object_set_new(one, "what", json_string(cascade_given_word(g.what)));
        if (g.name)
            put_text(one, "name", g.name);
        if (g.value)
            put_text(one, "value", g.value);
        json_array_append_new(given, one);
    }
    json_object_set_new(o, "given", given);
    json_object_set_new(o, "insecure_given", json_boolean(n->flags & MANIFEST_INSECURE_GIVEN));
    struct counts c = count(n);
    json_object_set_new(
        o, "counts",
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "trusted_files",
                  (json_int_t)c.trusted[COUNT_FILES], "trusted_bytes", (json_int_t)c.trusted_bytes,
                  "folders", (json_int_t)c.trusted[COUNT_FOLDERS], "links",
                  (json_int_t)c.trusted[COUNT_LINKS], "allowed",
                  (json_int_t)c.by_class[MANIFEST_ALLOWED], "outputs", (json_int_t)c.outputs,
                  "scratch", (json_int_t)c.by_class[MANIFEST_SCRATCH], "named",
                  (json_int_t)c.by_class[MANIFEST_NAMED], "absent",
                  (json_int_t)c.by_class[MANIFEST_ABSENT]));
    if (files)
        json_object_set_new(o, "files", json_files(n));
    return o;
}

/* ---- the tree ------------------------------------------------------------------------------- */

static void add_child(struct tree_row *row, size_t self, size_t child)
{
    if (child == self) {
        row->starts_itself = true;
        return;
    }
    for (size_t i = 0; i < row->child_count; i++)
        if (row->children[i] == child)
            return;
    size_t *grown = realloc(row->children, (row->child_count + 1) * sizeof(*grown));
    if (!grown)
        return;
    row->children = grown;
    grown[row->child_count++] = child;
}

static void add_signed_children(const struct show_nodes *all, size_t index, struct tree_row *row)
{
    const struct manifest_view *v = all->nodes[index].view;
    for (uint32_t i = 0; i < v->child_count; i++) {
        size_t child = v->children[i].flags & MANIFEST_CHILD_SELF ? index : 0;
        while (!(v->children[i].flags & MANIFEST_CHILD_SELF) && child < all->count &&
               memcmp(all->nodes[child].sigstruct->enclave_hash, v->children[i].mrenclave,
                      SGX_HASH_SIZE) != 0)
            child++;
        if (child < all->count)
            add_child(row, index, child);
    }
}

/* Merges widen: each program of the node may do what any of them did. */
static void print_merges(const struct show_nodes *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct cascade_node *words = all->nodes[i].words;
        if (!words || (words->entry_count == 1 && words->entries[0].start.kind != PROGRAM_ANY))
            continue;
        printf("\n'");
        show_text(words->label);
        if (words->entry_count == 1) {
            puts("' is one node whatever it is started with (--merge)");
            continue;
        }
        puts("' is one node because these start each other; each may do what any of them may:");
        for (size_t k = 0; k < words->entry_count; k++) {
            CLEANUP(free_p) char *label = tree_label(&words->entries[k].start);
            printf("  ");
            show_text(label ? label : "");
            puts(words->entries[k].start.kind == PROGRAM_ANY ? ", whatever it is started with"
                                                             : "");
        }
    }
}

static void print_tree(const struct show_nodes *all)
{
    CLEANUP(free_p) struct tree_row *rows = calloc(all->count, sizeof(*rows));
    if (!rows)
        return;
    for (size_t i = 0; i < all->count; i++) {
        const struct show_node *n = &all->nodes[i];
        struct counts c = count(n);
        rows[i].label = n->label;
        rows[i].mrenclave = n->sigstruct ? n->sigstruct->enclave_hash : NULL;
        rows[i].trusted = c.trusted[COUNT_FILES];
        rows[i].allowed = c.by_class[MANIFEST_ALLOWED];
        if (n->view)
            add_signed_children(all, i, &rows[i]);
        for (size_t k = 0; n->cascade && k < n->cascade->child_count; k++)
            add_child(&rows[i], i, n->cascade->children[k].node);
    }
    show_tree(rows, all->count);
    for (size_t i = 0; i < all->count; i++)
        free(rows[i].children);
    print_merges(all);
    const struct show_node *root = &all->nodes[0];
    putchar('\n');
    if (root->sigstruct) {
        uint8_t mrsigner[SGX_HASH_SIZE];
        sigstruct_mrsigner(root->sigstruct, mrsigner);
        print_hex("MRSIGNER", mrsigner, SGX_HASH_SIZE);
        print_hex("cascade id", root->cascade_id, MANIFEST_HASH_SIZE);
    }
    printf("  %-14s %zu, at most %" PRIu32 " processes at once\n", "nodes", all->count,
           root->process_limit);
    if (all->bundle && !all->cascade)
        puts("  cascade.json is not the one that was signed: it is not used here");
}

/* ---- the three kinds ------------------------------------------------------------------------ */

static void node_of_view(const struct manifest_view *view, const struct bundle_node *signed_node,
                         struct show_node *ret)
{
    const struct manifest_entry *entry = &view->entries[0];
    *ret = (struct show_node){
        .label = manifest_str_ptr(view, view->node->label),
        .executable = manifest_path(view, entry->executable),
        .interpreter =
            entry->interpreter == MANIFEST_NONE ? NULL : manifest_path(view, entry->interpreter),
        .cwd = manifest_str_ptr(view, view->node->cwd),
        .flags = view->node->flags,
        .thread_count = view->node->thread_count,
        .uid = view->node->uid,
        .gid = view->node->gid,
        .heap_size = view->node->heap_size,
        .process_limit = view->node->process_limit,
        .file_count = view->file_count,
        .arg_count = view->arg_count,
        .view = view,
        .sigstruct = &signed_node->sigstruct,
        .cascade_id = view->node->cascade_id,
        .manifest_size = signed_node->manifest_size,
    };
}

static void node_of_cascade(const struct cascade_node *node, struct show_node *ret)
{
    *ret = (struct show_node){
        .label = node->label,
        .executable = node->entries[0].start.executable,
        .interpreter = node->entries[0].interpreter,
        .cwd = node->cwd,
        .flags = node->flags,
        .thread_count = node->thread_count,
        .uid = node->uid,
        .gid = node->gid,
        .heap_size = node->heap_size,
        .process_limit = node->process_limit,
        .file_count = node->file_count,
        .arg_count = node->arg_count,
        .cascade = node,
        .words = node,
    };
}

/* The cascade beside the manifests, if it is the one that they measure. */
static void take_words(struct show_nodes *all)
{
    uint8_t id[MANIFEST_HASH_SIZE];
    struct err ignored;
    if (cascade_parse("cascade.json", all->bundle->cascade, all->bundle->cascade_size,
                      &all->cascade, &ignored) < 0)
        return;
    if (all->cascade->node_count != all->count || cascade_id(all->cascade, id, &ignored) < 0 ||
        memcmp(id, all->nodes[0].cascade_id, sizeof(id)) != 0) {
        cascade_free(all->cascade);
        all->cascade = NULL;
        return;
    }
    for (size_t i = 0; i < all->count; i++)
        all->nodes[i].words = &all->cascade->nodes[i];
}

static int load_bundle(const char *path, struct show_nodes *ret, struct err *err)
{
    int r = bundle_load_any(path, &ret->bundle, err);
    if (r < 0)
        return r;
    struct bundle *bundle = ret->bundle;
    ret->count = bundle->node_count;
    ret->nodes = calloc(ret->count, sizeof(*ret->nodes));
    ret->views = calloc(ret->count, sizeof(*ret->views));
    if (!ret->nodes || !ret->views)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < ret->count; i++) {
        const char *reason;
        r = manifest_view_open(bundle->nodes[i].manifest, bundle->nodes[i].manifest_size,
                               &ret->views[i], &reason);
        if (r < 0)
            return err_set(err, r, "'%s/nodes/%zu/manifest.bin': %s", path, i, reason);
        node_of_view(&ret->views[i], &bundle->nodes[i], &ret->nodes[i]);
        ret->nodes[i].index = i;
    }
    take_words(ret);
    return 0;
}

static int load_cascade(const char *path, struct show_nodes *ret, struct err *err)
{
    int r = cascade_load(path, &ret->cascade, err);
    if (r < 0)
        return r;
    ret->count = ret->cascade->node_count;
    ret->nodes = calloc(ret->count, sizeof(*ret->nodes));
    if (!ret->nodes)
        return err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < ret->count; i++) {
        node_of_cascade(&ret->cascade->nodes[i], &ret->nodes[i]);
        ret->nodes[i].index = i;
    }
    return 0;
}

/* The node that the user means: its number, its label, or a part that only one label has. */
static int find_node(const struct show_nodes *all, const char *name, size_t *ret, struct err *err)
{
    size_t found = 0, at = 0;
    char *end;
    unsigned long number = strtoul(name, &end, 10);
    if (name[0] >= '0' && name[0] <= '9' && !*end && number < all->count) {
        *ret = number;
        return 0;
    }
    for (size_t i = 0; i < all->count; i++) {
        if (strcmp(all->nodes[i].label, name) == 0) {
            *ret = i;
            return 0;
        }
        if (strstr(all->nodes[i].label, name)) {
            found++;
            at = i;
        }
    }
    if (!found && access(name, F_OK) == 0)
        return err_set(err, -EINVAL, "'%s': one bundle, cascade or trace at a time", name);
    if (found != 1)
        return err_set(err, -ENOENT, "'%s': %s; a label or a number from 0 to %zu is wanted", name,
                       found ? "several nodes are called so" : "no node is called so",
                       all->count - 1);
    *ret = at;
    return 0;
}

static int put_nodes(const char *path, const struct show_nodes *all, const struct options *options,
                     json_t *list, struct err *err)
{
    size_t only = SIZE_MAX;
    const char *name = options->rest_count > 1 ? options->rest[1] : NULL;
    int r = name ? find_node(all, name, &only, err) : 0;
    if (r < 0)
        return r;
    if (options->why) {
        if (!all->cascade)
            return err_set(err, -EBADMSG, "'%s': its cascade.json is not the one that was signed",
                           path);
        return show_why(path, all->cascade, only, options, err);
    }
    if (options->json) {
        for (size_t i = 0; i < all->count; i++)
            if (only == SIZE_MAX || only == i)
                json_array_append_new(list, json_node(&all->nodes[i], options->files));
        return 0;
    }
    if (only == SIZE_MAX && all->count > 1)
        print_tree(all);
    for (size_t i = 0; i < all->count; i++)
        if (only == i || (only == SIZE_MAX && (all->count == 1 || options->files))) {
            if (only == SIZE_MAX && all->count > 1)
                putchar('\n');
            print_node(&all->nodes[i], all, options->files);
        }
    return 0;
}

static int show_bundle(const char *path, const struct options *options, json_t *list,
                       struct err *err)
{
    CLEANUP(show_nodes_done) struct show_nodes all = { 0 };
    int r = load_bundle(path, &all, err);
    return r < 0 ? r : put_nodes(path, &all, options, list, err);
}

static int show_cascade(const char *path, const struct options *options, json_t *list,
                        struct err *err)
{
    CLEANUP(show_nodes_done) struct show_nodes all = { 0 };
    int r = load_cascade(path, &all, err);
    return r < 0 ? r : put_nodes(path, &all, options, list, err);
}

static int show_trace(const char *path, const struct options *options, struct err *err)
{
    CLEANUP(trace_free_p) struct trace *trace = NULL;
    int r = trace_load(path, &trace, err);
    if (r < 0)
        return r;
    if (options->json)
        return err_set(err, -EINVAL, "'%s' is a trace, which is shown as text only", path);
    if (options->why) {
        show_why_trace(path, trace, options->why);
        return 0;
    }
    trace_print(stdout, trace);
    return 0;
}

/* JSON text starts with a brace, a trace with its magic; trace_load() says why it cannot open. */
static int show_file(const char *path, const struct options *options, json_t *list, struct err *err)
{
    char start[sizeof(LOG_MAGIC)];
    FILE *in = fopen(path, "re");
    if (in) {
        size_t size = fread(start, 1, sizeof(start), in);
        fclose(in);
        if (size > 0 && start[0] == '{')
            return show_cascade(path, options, list, err);
        if (size < sizeof(start) || memcmp(start, LOG_MAGIC, sizeof(start)) != 0)
            return err_set(err, -EINVAL, "'%s' is no bundle, no cascade and no trace", path);
    }
    return show_trace(path, options, err);
}

static int show_any(const char *path, const struct options *options, json_t *list, struct err *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_set(err, -errno, "'%s': %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return show_file(path, options, list, err);
    CLEANUP(free_p) char *kept = NULL; /* a folder of `run`'s cache */
    if (asprintf(&kept, "%s/bundle.sgx", path) < 0) {
        kept = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    return show_bundle(access(kept, F_OK) == 0 ? kept : path, options, list, err);
}

/* A relative path as a trace has it: from the current folder, links on the way followed. */
static int make_absolute(const char **path, char **ret_owned, struct err *err)
{
    if (**path == '/')
        return 0;
    const char *slash = strrchr(*path, '/'), *name = slash ? slash + 1 : *path;
    CLEANUP(free_p) char *way = slash ? strndup(*path, (size_t)(slash - *path)) : strdup(".");
    CLEANUP(free_p) char *folder = NULL;
    if (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        *ret_owned = realpath(*path, NULL);
    } else if (way && (folder = realpath(way, NULL)) != NULL &&
               asprintf(ret_owned, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name) < 0) {
        *ret_owned = NULL;
    }
    if (!*ret_owned)
        return err_set(err, -errno, "--why '%s': %s", *path, strerror(errno));
    *path = *ret_owned;
    return 0;
}

static void json_decref_pp(json_t **json)
{
    json_decref(*json);
}

static int verb_show_run(const struct verb *verb, struct options *options)
{
    if (options->rest_count < 1 || options->rest_count > 2)
        return options->rest_count == 0
                   ? cli_usage(verb, "what to show is missing")
                   : cli_usage(verb,
                               "one bundle, cascade or trace at a time, and one NODE of it: "
                               "'%s' is too much",
                               options->rest[2]);

    struct err err = { 0 };
    CLEANUP(json_decref_pp) json_t *list = json_array();
    CLEANUP(free_p) char *why = NULL;
    if ((options->why && !show_why_is_rule(options->why) &&
         make_absolute(&options->why, &why, &err) < 0) ||
        show_any(options->rest[0], options, list, &err) < 0)
        return cli_fail(&err);
    if (options->json) {
        CLEANUP(json_decref_pp) json_t *root = json_pack("{s:O}", "nodes", list);
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
        putchar('\n');
    }
    return cli_finish_output();
}

const struct verb verb_show = {
    .name = "show",
    .arguments = "[--files] [--json] [--why PATH] BUNDLE|CASCADE|TRACE [NODE]",
    .summary = "Print what a bundle, a cascade or a trace holds",
    .details =
        "Of a bundle with several programs: their tree, and with NODE (a label or number) one of "
        "them;\n"
        "of one program: MRENCLAVE, MRSIGNER, attributes, limits, and how many files of each "
        "class.\n"
        "--why PATH: which process did what to that path, in the traces that are given with "
        "--trace or\n"
        "lie beside the bundle; or --why 'listen tcp *:80', a network rule as show prints it.\n"
        "What `sgxpy run -- COMMAND` keeps is shown by `sgxpy show .sgxpy/KEY`.",
    .groups = OPTIONS_SHOW | OPTIONS_JSON,
    .run = verb_show_run,
};
