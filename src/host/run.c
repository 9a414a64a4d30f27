#include "host/run.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "core/cpu.h"
#include "core/manifest_view.h"
#include "core/sha256.h"
#include "host/audit.h"
#include "host/handle.h"
#include "host/log.h"
#include "host/quote.h"
#include "host/sites.h"
#include "host/thread.h"
#include "host/tree.h"
#include "signer/bundle.h"
#include "signer/layout.h"
#include "util/fs.h"

/* What stays for the whole run; never freed, since the process ends with the program. */
struct loaded {
    void *image; /* mapped: most of the file is debug information that nobody reads */
    size_t image_size;
    struct bundle_node own; /* if it was not given */
    const struct bundle_node *node;
    struct manifest_view view;
    struct layout *layout;
};

static void loaded_done(struct loaded *l)
{
    layout_free(l->layout);
    if (l->image)
        munmap(l->image, l->image_size);
    bundle_node_done(&l->own);
}

/* XCR0 (XGETBV), without extended state the legacy part. */
static uint64_t host_xfrm(void)
{
    if (!(cpu_basic_features() & bit_OSXSAVE))
        return SGX_XFRM_LEGACY;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool tsc_is_steady(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
}

static int fail(struct err *err, int exit_code)
{
    return err->exit_code ? err->code : err_exit(err, exit_code);
}

static int map_image(const char *path, struct loaded *l, struct err *err)
{
    struct stat st;
    CLEANUP(close_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(err, -errno, "library OS '%s': %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || st.st_size > LAYOUT_IMAGE_FILE_MAX)
        return err_set(err, -EINVAL, "library OS '%s' is no file of 1 to %u bytes", path,
                       LAYOUT_IMAGE_FILE_MAX);
    void *image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (image == MAP_FAILED)
        return err_set(err, -errno, "library OS '%s': %s", path, strerror(errno));
    l->image = image;
    l->image_size = (size_t)st.st_size;
    return 0;
}

static int load_files(const struct host_options *o, struct loaded *l, struct err *err)
{
    if (map_image(o->image_path, l, err) < 0)
        return fail(err, HOST_EXIT_NO_START);
    if (!o->node && bundle_node_load(AT_FDCWD, o->node_path, &l->own, err) < 0)
        return fail(err, 2);
    l->node = o->node ? o->node : &l->own;
    const char *reason = "";
    int r = manifest_view_open(l->node->manifest, l->node->manifest_size, &l->view, &reason);
    if (r < 0) {
        err_set(err, r, "'%s/manifest.bin': %s", o->node_path, reason);
        return fail(err, 2);
    }
    return 0;
}

static void hex(const uint8_t *bytes, char ret[static 65])
{
    for (int i = 0; i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

/* EINIT said no. Whose fault it is, in the user's terms. */
static int explain_init(const struct host_options *o, const struct loaded *l, uint32_t sgx_error,
                        struct err *err)
{
    if (sgx_error != SGX_INVALID_MEASUREMENT)
        return fail(err,
                    sgx_error == SGX_INVALID_SIGNATURE ? HOST_EXIT_INTEGRITY : HOST_EXIT_NO_START);
    uint8_t actual[SGX_HASH_SIZE];
    char expected_text[65], actual_text[65] = "unknown";
    hex(l->node->sigstruct.enclave_hash, expected_text);
    if (layout_measure(l->layout, actual, NULL) == 0)
        hex(actual, actual_text);
    err_set(err, -EPERM,
            "refused: '%s' is not what was signed: MRENCLAVE expected %s, actual %s: manifest.bin "
            "or the library OS '%s' was changed (then sign again)",
            o->node_path, expected_text, actual_text, o->image_path);
    return err_exit(err, HOST_EXIT_INTEGRITY);
}

static int build_enclave(const struct host_options *o, struct host *host, struct loaded *l,
                         struct err *err)
{
    const struct layout_spec spec = {
        .image = l->image,
        .image_size = l->image_size,
        .manifest = l->node->manifest,
        .manifest_size = l->node->manifest_size,
        .thread_count = l->view.node->thread_count,
        .heap_size = l->view.node->heap_size,
    };
    uint64_t sites[SITES_MAX];
    size_t site_count = 0;
    if (layout_build(&spec, &l->layout, err) < 0 ||
        sites_find(l->image, l->image_size, sites, &site_count, err) < 0)
        return fail(err, HOST_EXIT_NO_START);

    bool debug = l->node->sigstruct.attributes.flags & SGX_ATTR_DEBUG;
    struct sgx_secs secs;
    layout_secs(l->layout, debug, host_xfrm(), &secs);
    host->elrange_size = secs.size;
    if (device_create(host->device, &secs, err) < 0)
        return fail(err, HOST_EXIT_NO_START);
    for (size_t i = 0; i < l->layout->run_count; i++) {
        const struct layout_run *run = &l->layout->runs[i];
        if (device_add(host->device, run->offset, run->content, run->page_count, run->secinfo_flags,
                       run->measured, err) < 0)
            return fail(err, HOST_EXIT_NO_START);
    }
    uint32_t sgx_error = 0;
    if (device_init(host->device, &l->node->sigstruct, &sgx_error, err) < 0)
        return explain_init(o, l, sgx_error, err);
    if (device_enclu_sites(host->device, sites, site_count, err) < 0)
        return fail(err, HOST_EXIT_NO_START);
    return 0;
}

static void announce_given(const struct manifest_view *view)
{
    CLEANUP(free_p) char *label = malloc(QUOTE_SIZE(view->node->label.length)), *name = NULL;
    if (!label)
        return;
    quote(manifest_str_ptr(view, view->node->label), view->node->label.length, label);
    if (view->node->flags & MANIFEST_INSECURE_GIVEN)
        log_line("insecure: %s takes variables, folder and options from its parent as they come",
                 label);
    for (uint32_t i = 0; i < view->given_count; i++) {
        const struct manifest_given *g = &view->given[i];
        if (g->what == MANIFEST_GIVEN_INSECURE && (name = malloc(QUOTE_SIZE(g->name.length)))) {
            quote(manifest_str_ptr(view, g->name), g->name.length, name);
            log_line("insecure: %s takes the variable %s from its parent with any value", label,
                     name);
            free(TAKE_PTR(name));
        }
    }
}

static const char *variable(const char *const *env, size_t count, const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < count; i++)
        if (strncmp(env[i], name, size) == 0 && env[i][size] == '=')
            return env[i] + size + 1;
    return NULL;
}

static bool is_of_the_terminal(const char *name)
{
    return strcmp(name, "TERM") == 0 || strcmp(name, "COLUMNS") == 0 || strcmp(name, "LINES") == 0;
}

static bool in_manifest(const struct manifest_view *view, const char *name)
{
    for (uint32_t i = 0; i < view->env_count; i++) {
        if (strcmp(manifest_str_ptr(view, view->env[i].name), name) == 0)
            return true;
    }
    return false;
}

struct names {
    char text[256];
    size_t used;
};

static void add_name(struct names *names, const char *name, size_t size)
{
    if (names->used + size + sizeof(", ...") > sizeof(names->text))
        name = "...", size = 3;
    if (names->used + size + sizeof(", ") > sizeof(names->text))
        return;
    names->used += (size_t)snprintf(names->text + names->used, sizeof(names->text) - names->used,
                                    "%s%.*s", names->used ? ", " : "", (int)size, name);
    for (char *c = names->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

/* A command that is run again in another environment than the traced one: another virtualenv, PYTHONPATH. */
static void announce_env(const struct host_options *o, const struct manifest_view *view)
{
    struct names names = { 0 };
    for (uint32_t i = 0; i < view->env_count; i++) {
        const struct manifest_env *e = &view->env[i];
        const char *name = manifest_str_ptr(view, e->name);
        const char *here = variable(o->env, o->env_count, name);
        if (e->policy == MANIFEST_ENV_PINNED && !is_of_the_terminal(name) &&
            !variable(o->chosen_env, o->chosen_env_count, name) &&
            !(here && strcmp(here, manifest_str_ptr(view, e->value)) == 0))
            add_name(&names, name, e->name.length);
    }
    static const char *const paths[] = { "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH" };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
        if (variable(o->env, o->env_count, paths[i]) && !in_manifest(view, paths[i]))
            add_name(&names, paths[i], strlen(paths[i]));
    if (names.used)
        log_line("not as now but as traced: %s; --retrace takes what is set now", names.text);
}

/* What the user must know before the program runs. */
static void announce(const struct host_options *o, const struct host *host, const struct loaded *l)
{
    /* Once for the tree; a node's files once for all processes of that node. */
    if (!o->announced && !o->child && device_is_soft(host->device))
        log_line("software SGX device: no protection against this machine");
    if (!o->child && (l->node->sigstruct.attributes.flags & SGX_ATTR_DEBUG))
        log_line("insecure: a DEBUG enclave, which the host may look into");
    if (o->child && !tree_announces(host->tree, o->child->node))
        return;
    announce_given(&l->view);
    if (!o->child && !o->bundle_given)
        announce_env(o, &l->view);
    for (uint32_t i = 0; i < l->view.file_count; i++) {
        const struct manifest_file *f = &l->view.files[i];
        if (f->class != MANIFEST_ALLOWED || (f->flags & MANIFEST_OUTPUT))
            continue;
        CLEANUP(free_p) char *quoted = malloc(QUOTE_SIZE(f->path.length));
        if (!quoted)
            return;
        quote(manifest_path(&l->view, i), f->path.length, quoted);
        log_line("unprotected: %s%s is left to the host", quoted,
                 f->flags & MANIFEST_SUBTREE ? " with everything below" : "");
    }
}

/* From opened device to the first EENTER. Only failure returns. */
static int start(const struct host_options *o, struct host *host, struct loaded *l, struct err *err)
{
    int r = load_files(o, l, err);
    if (r < 0)
        return r;
    const struct device_options device_options = {
        .kind = o->device,
        .poison = o->poison,
        .single_step = o->single_step,
    };
    if (device_open(&device_options, &host->device, err) < 0)
        return fail(err, HOST_EXIT_NO_START);
    r = build_enclave(o, host, l, err);
    if (r < 0)
        return r;

    host->manifest = &l->view;
    /* Behind ECREATE, so that ELRANGE cannot be where it goes. */
    if (o->child && tree_attach(host, o->child, err) < 0)
        return fail(err, HOST_EXIT_NO_START);
    const struct audit_options audit = {
        .path = o->audit_path,
        .node = manifest_str_ptr(&l->view, l->view.node->label),
        .rotate_size = o->audit_size,
        .keep = o->audit_keep,
    };
    if (audit_new(&audit, &host->audit, err) < 0)
        return fail(err, 2);
    if (thread_pool_init(host, l->view.node->thread_count, err) < 0)
        return fail(err, HOST_EXIT_NO_START);
    if (o->child && o->child->spare && tree_spare_wait(host, err) < 0)
        return fail(err, HOST_EXIT_NO_START);
    if (!o->quiet)
        announce(o, host, l);
    thread_run_main(host, err);
    return fail(err, HOST_EXIT_NO_START);
}

int host_run(const struct host_options *o, struct err *err)
{
    struct err local = { 0 };
    if (!err)
        err = &local;
    struct host host = {
        .quiet = o->quiet,
        .strace = o->strace,
        .stats = o->stats,
        .has_sha = sha256_uses_ni(),
        .has_vaes = cpu_has_vaes(),
        .args = o->args,
        .arg_count = o->arg_count,
        .env = o->env,
        .env_count = o->env_count,
        .audit_path = o->audit_path,
        .tamper = o->tamper,
        .tamper_arg = o->tamper_arg,
        .options = o,
        .child = o->child,
    };
    struct timespec now;
    if (!o->child && tsc_is_steady() && clock_gettime(CLOCK_MONOTONIC, &now) == 0) {
        host.tsc_at_start = __rdtsc();
        host.ns_at_start = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
    if ((o->child ? handle_init_inherited(o->child->handles, o->child->handle_count)
                  : handle_init()) < 0) {
        err_set(err, -EBADF, "opening /dev/null for a closed standard stream");
        return err_exit(err, HOST_EXIT_NO_START);
    }
    if (o->child)
        log_redirect(o->child->log_fd);
    else
        log_init();
    /* The enclave says which mode a file gets: the program's umask is measured, ours is not. */
    umask(0);

    struct loaded loaded = { 0 };
    int r = start(o, &host, &loaded, err);
    audit_free(host.audit);
    free(host.threads);
    device_close(host.device);
    loaded_done(&loaded);
    return r;
}
