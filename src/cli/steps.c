#include "cli/steps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "manifest/build.h"
#include "manifest/compile.h"
#include "manifest/net.h"
#include "signer/bundle.h"
#include "signer/layout.h"
#include "signer/sigstruct.h"
#include "tracer/trace.h"
#include "util/fs.h"

/* A node before this one has the path as the same: it is counted and named there. */
static bool stands_before(const struct cascade *c, size_t node, const struct cascade_file *f)
{
    for (size_t i = 0; i < node; i++) {
        const struct cascade_file *same = cascade_find(&c->nodes[i], f->path);
        if (same && same->class == f->class && same->flags == f->flags)
            return true;
    }
    return false;
}

static bool is_output(const struct cascade *c, const char *path)
{
    for (size_t i = 0; i < c->node_count; i++) {
        const struct cascade_file *f = cascade_find(&c->nodes[i], path);
        if (f && (f->flags & MANIFEST_OUTPUT))
            return true;
    }
    return false;
}

/* Trusted regular files of all nodes, and their bytes, each inode once. */
static void count_trusted(const struct cascade *c, size_t *ret_count, uint64_t *ret_bytes)
{
    *ret_count = 0;
    *ret_bytes = 0;
    for (size_t n = 0; n < c->node_count; n++)
        for (size_t i = 0; i < c->nodes[n].file_count; i++) {
            const struct cascade_file *f = &c->nodes[n].files[i];
            if (f->class != MANIFEST_TRUSTED || !S_ISREG(f->mode) || stands_before(c, n, f))
                continue;
            (*ret_count)++;
            if (!f->link)
                *ret_bytes += f->size;
        }
}

/* path as the user would write it: relative to cwd if it lies below it. */
static const char *relative(const char *path, const char *cwd)
{
    size_t n = strlen(cwd);
    if (strncmp(path, cwd, n) == 0 && path[n] == '/')
        return path + n + 1;
    return path;
}

#define OUTPUTS_SHOWN 5

bool steps_ended_as_asked(const struct tracer_end *end, int status)
{
    return end->asked && (status == 0 || status == 128 + end->asked || end->killed);
}

char *steps_describe_files(const struct cascade *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    size_t count;
    uint64_t bytes;
    count_trusted(c, &count, &bytes);
    char amount[32];
    if (c->node_count > 1)
        fprintf(out, "%zu programs, ", c->node_count);
    fprintf(out, "%zu files (%s)", count, cli_size(bytes, amount));

    const char *outputs[OUTPUTS_SHOWN];
    size_t found = 0;
    for (size_t n = 0; n < c->node_count; n++)
        for (size_t i = 0; i < c->nodes[n].file_count; i++) {
            const struct cascade_file *f = &c->nodes[n].files[i];
            if (!(f->flags & MANIFEST_OUTPUT) || stands_before(c, n, f))
                continue;
            if (found < OUTPUTS_SHOWN)
                outputs[found] = f->path;
            found++;
        }
    for (size_t i = 0; i < found && i < OUTPUTS_SHOWN; i++)
        fprintf(out, "%s%s",
                i           ? ", "
                : found > 1 ? ", outputs "
                            : ", output ",
                relative(outputs[i], c->nodes[0].cwd));
    if (found > OUTPUTS_SHOWN)
        fprintf(out, " and %zu more", found - OUTPUTS_SHOWN);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

char *steps_describe_limits(const struct cascade *c)
{
    const struct cascade_node *n = &c->nodes[0];
    char *text = NULL;
    if (asprintf(&text, "heap %" PRIu64 " MiB, %" PRIu32 " thread%s", n->heap_size >> 20,
                 n->thread_count, n->thread_count == 1 ? "" : "s") < 0)
        return NULL;
    return text;
}

/* Allowed paths are a promise that we do not make: each is named. */
static void note_allowed(const struct cascade *c)
{
    for (size_t n = 0; n < c->node_count; n++)
        for (size_t i = 0; i < c->nodes[n].file_count; i++) {
            const struct cascade_file *f = &c->nodes[n].files[i];
            if (f->class != MANIFEST_ALLOWED || is_output(c, f->path) || stands_before(c, n, f))
                continue;
            cli_note("unprotected: '%s'%s is left to the host", f->path,
                     f->flags & MANIFEST_SUBTREE ? " with everything below" : "");
        }
}

/* Each rule of all nodes once, in one line. */
static void note_net(const struct cascade *c)
{
    char text[1024] = "";
    size_t size = 0, more = 0;
    for (size_t n = 0; n < c->node_count; n++)
        for (size_t i = 0; i < c->nodes[n].net_count; i++) {
            const char *rule = c->nodes[n].net[i];
            bool before = false;
            for (size_t k = 0; k < n && !before; k++)
                for (size_t j = 0; j < c->nodes[k].net_count && !before; j++)
                    before = strcmp(c->nodes[k].net[j], rule) == 0;
            if (before)
                continue;
            if (size + strlen(rule) + 3 > sizeof(text) / 2)
                more++;
            else
                size += (size_t)snprintf(text + size, sizeof(text) - size, "%s%s", size ? ", " : "",
                                         rule);
        }
    if (more)
        snprintf(text + size, sizeof(text) - size, " and %zu more", more);
    if (size)
        cli_note("network: %s", text);
}

static void tell(const struct cascade *c, const struct manifest_report *report, bool allowed)
{
    CLEANUP(free_p) char *files = steps_describe_files(c);
    if (files && report->dropped_count > 0)
        cli_note("%s; %zu variable%s dropped (--env NAME)", files, report->dropped_count,
                 report->dropped_count == 1 ? "" : "s");
    else if (files)
        cli_note("%s", files);
    for (size_t i = 0; i < report->note_count; i++)
        cli_note("%s", report->notes[i]);
    note_net(c);
    if (allowed)
        note_allowed(c);
}

int steps_check_options(const struct options *options, struct err *err)
{
    int r = 0;
    for (size_t i = 0; r >= 0 && i < options->listen.count; i++)
        r = net_parse_option(MANIFEST_NET_LISTEN, options->listen.items[i], NULL, err);
    for (size_t i = 0; r >= 0 && i < options->connect.count; i++)
        r = net_parse_option(MANIFEST_NET_CONNECT, options->connect.items[i], NULL, err);
    return r < 0 ? r : 0;
}

struct traces {
    struct trace *items[STEPS_TRACES_MAX];
    size_t count;
};

static void traces_done(struct traces *traces)
{
    for (size_t i = 0; i < traces->count; i++)
        trace_free(traces->items[i]);
}

/* What the options say, with what stands in the files of rules. */
struct extra {
    struct rules_file *files;
    size_t file_count;
    struct manifest_node_trust *trust;
    const char **listen, **connect;
    size_t trust_count, listen_count, connect_count;
};

static void extra_done(struct extra *x)
{
    for (size_t i = 0; i < x->file_count; i++)
        rules_file_done(&x->files[i]);
    free(x->files);
    free(x->trust);
    free(x->listen);
    free(x->connect);
}

static void append(const char **to, size_t *count, const char *const *from, size_t from_count)
{
    for (size_t i = 0; i < from_count; i++)
        to[(*count)++] = from[i];
}

static int extra_load(const struct options *options, struct extra *x, struct err *err)
{
    x->files = calloc(options->rules.count + 1, sizeof(*x->files));
    if (!x->files)
        return err_set(err, -ENOMEM, "out of memory");
    size_t trust = 0, listen = options->listen.count, connect = options->connect.count;
    for (; x->file_count < options->rules.count; x->file_count++) {
        struct rules_file *f = &x->files[x->file_count];
        int r = rules_file_load(options->rules.items[x->file_count], f, err);
        if (r < 0) {
            rules_file_done(f);
            return r;
        }
        trust += f->trust_count;
        listen += f->listen_count;
        connect += f->connect_count;
    }
    x->trust = calloc(trust + 1, sizeof(*x->trust));
    x->listen = calloc(listen + 1, sizeof(*x->listen));
    x->connect = calloc(connect + 1, sizeof(*x->connect));
    if (!x->trust || !x->listen || !x->connect)
        return err_set(err, -ENOMEM, "out of memory");
    append(x->listen, &x->listen_count, options->listen.items, options->listen.count);
    append(x->connect, &x->connect_count, options->connect.items, options->connect.count);
    for (size_t i = 0; i < x->file_count; i++) {
        const struct rules_file *f = &x->files[i];
        for (size_t k = 0; k < f->trust_count; k++)
            x->trust[x->trust_count++] = f->trust[k];
        append(x->listen, &x->listen_count, f->listen, f->listen_count);
        append(x->connect, &x->connect_count, f->connect, f->connect_count);
    }
    return 0;
}

int steps_manifest(char *const *paths, size_t count, const struct options *options,
                   const char *output, const char *own_folder, struct cascade **ret,
                   struct err *err)
{
    if (count > STEPS_TRACES_MAX)
        return err_set(err, -E2BIG, "%zu traces; at most %d are taken", count, STEPS_TRACES_MAX);
    CLEANUP(traces_done) struct traces traces = { 0 };
    const char *own[STEPS_TRACES_MAX + 2];
    size_t own_count = 0;
    for (size_t i = 0; i < count; i++) {
        int r = trace_load(paths[i], &traces.items[traces.count], err);
        if (r < 0)
            return r;
        const struct trace *t = traces.items[traces.count++];
        own[own_count++] = paths[i];
        if (!t->complete)
            cli_note("'%s' is not complete: %s", paths[i], t->incomplete);
    }
    own[own_count++] = output;
    if (own_folder)
        own[own_count++] = own_folder;

    CLEANUP(extra_done) struct extra extra = { 0 };
    int r = extra_load(options, &extra, err);
    if (r < 0)
        return r;
    struct manifest_rules rules = {
        .node_trust = extra.trust,
        .node_trust_count = extra.trust_count,
        .trust = options->trust.items,
        .trust_count = options->trust.count,
        .allow = options->allow.items,
        .allow_count = options->allow.count,
        .deny = options->deny.items,
        .deny_count = options->deny.count,
        .package = options->package.items,
        .package_count = options->package.count,
        .env = options->env.items,
        .env_count = options->env.count,
        .own = own,
        .own_count = own_count,
        .merge = options->merge.items,
        .merge_count = options->merge.count,
        .insecure_given = options->insecure_given.items,
        .insecure_given_count = options->insecure_given.count,
        .listen = extra.listen,
        .listen_count = extra.listen_count,
        .connect = extra.connect,
        .connect_count = extra.connect_count,
        .exec_deny = options->exec_deny,
        .debug = options->debug || options->strace,
        .args_host = options->args_host,
        .heap_size = options->heap,
        .thread_count = options->threads,
        .process_limit = options->processes,
    };
    CLEANUP(manifest_report_done) struct manifest_report report = { 0 };
    CLEANUP(cascade_free_p) struct cascade *cascade = NULL;
    r = manifest_build((const struct trace *const *)traces.items, traces.count, &rules, &cascade,
                       &report, err);
    if (r < 0)
        return r;
    r = cascade_save(cascade, output, err);
    if (r < 0)
        return r;
    if (!options->quiet)
        tell(cascade, &report, !own_folder); /* `run` says it at each start */
    *ret = TAKE_PTR(cascade);
    return 0;
}

/* One node: compiled, laid out, measured, signed. */
static int sign_node(const struct cascade *c, size_t index, const struct options *options,
                     const struct library_os *library_os, const struct signing_key *key,
                     bool automatic_key, const struct manifest_identity *id,
                     struct bundle_node *ret, struct err *err)
{
    const struct cascade_node *node = &c->nodes[index];
    int r = manifest_compile(c, index, id, &ret->manifest, &ret->manifest_size, err);
    if (r < 0)
        return r;

    struct layout_spec spec = {
        .image = library_os->image,
        .image_size = library_os->size,
        .manifest = ret->manifest,
        .manifest_size = ret->manifest_size,
        .thread_count = node->thread_count,
        .heap_size = node->heap_size,
    };
    CLEANUP(layout_free_p) struct layout *layout = NULL;
    r = layout_build(&spec, &layout, err);
    if (r < 0)
        return err_wrap(err, "laying out the enclave of '%s'", node->label);

    struct sigstruct_params params = { 0 };
    sigstruct_profile(&params, node->flags & MANIFEST_INSECURE_DEBUG);
    params.isv_prod_id = options->isv_prod_id;
    params.isv_svn = options->isv_svn;
    params.sw_defined = automatic_key ? LIBRARY_OS_AUTOMATIC_KEY : 0;
    if ((r = sigstruct_date(&params.date, err)) < 0 ||
        (r = layout_measure(layout, params.enclave_hash, err)) < 0)
        return r;
    return sigstruct_build(&params, key, &ret->sigstruct, err);
}

/* Children before their parents, which name them by MRENCLAVE, and the root last. */
static int sign_nodes(const struct cascade *c, const struct options *options,
                      const struct library_os *library_os, const struct signing_key *key,
                      bool automatic_key, struct bundle_node *nodes, struct err *err)
{
    uint8_t cascade_hash[SGX_HASH_SIZE], mrsigner[SGX_HASH_SIZE];
    CLEANUP(free_p) size_t *order = calloc(c->node_count, sizeof(*order));
    CLEANUP(free_p) uint8_t(*mrenclaves)[SGX_HASH_SIZE] = calloc(c->node_count, SGX_HASH_SIZE);
    if (!order || !mrenclaves)
        return err_set(err, -ENOMEM, "out of memory");
    int r = cascade_order(c, order);
    if (r < 0)
        return err_set(err, r, "ordering the programs: %s", strerror(-r));
    if ((r = cascade_id(c, cascade_hash, err)) < 0)
        return r;
    keys_mrsigner(key, mrsigner);
    const struct manifest_identity id = { cascade_hash, mrsigner, mrenclaves };
    for (size_t i = 0; i < c->node_count; i++) {
        size_t n = order[i];
        r = sign_node(c, n, options, library_os, key, automatic_key, &id, &nodes[n], err);
        if (r < 0)
            return r;
        memcpy(mrenclaves[n], nodes[n].sigstruct.enclave_hash, SGX_HASH_SIZE);
    }
    return 0;
}

static void bundle_done(struct bundle *bundle)
{
    for (size_t i = 0; bundle->nodes && i < bundle->node_count; i++)
        free(bundle->nodes[i].manifest);
    free(bundle->nodes);
    free(bundle->cascade);
}

int steps_sign(const char *cascade_path, const struct options *options,
               const struct library_os *library_os, const struct signing_key *key,
               bool automatic_key, const char *output, uint8_t ret_mrenclave[static SGX_HASH_SIZE],
               struct err *err)
{
    CLEANUP(bundle_done) struct bundle bundle = { 0 };
    int r = file_load(AT_FDCWD, cascade_path, BUNDLE_CASCADE_MAX, &bundle.cascade,
                      &bundle.cascade_size, err);
    if (r < 0)
        return r;
    CLEANUP(cascade_free_p) struct cascade *cascade = NULL;
    r = cascade_parse(cascade_path, bundle.cascade, bundle.cascade_size, &cascade, err);
    if (r < 0)
        return r;

    memcpy(bundle.library_os, library_os->sha256, sizeof(bundle.library_os));
    bundle.nodes = calloc(cascade->node_count, sizeof(*bundle.nodes));
    if (!bundle.nodes)
        return err_set(err, -ENOMEM, "out of memory");
    bundle.node_count = cascade->node_count;
    r = sign_nodes(cascade, options, library_os, key, automatic_key, bundle.nodes, err);
    if (r < 0)
        return r;
    r = bundle_store(output, &bundle, err);
    if (r < 0)
        return r;
    memcpy(ret_mrenclave, bundle.nodes[0].sigstruct.enclave_hash, SGX_HASH_SIZE);
    return 0;
}
