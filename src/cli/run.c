/*
 * `sgxpy run`: a bundle, or a command, which is traced and built first and then kept in the cache
 * (cache.h). Tier: hosted, untrusted.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/library_os.h"
#include "cli/options.h"
#include "cli/run_make.h"
#include "core/manifest_view.h"
#include "host/hostile.h"
#include "host/run.h"
#include "signer/bundle.h"
#include "util/fs.h"

/* ---- a bundle ------------------------------------------------------------------------------ */

/* What the root node of the bundle at path must be for these options. */
static int check_node(const char *path, const struct bundle_node *root,
                      const struct options *options, size_t argument_count, struct err *err)
{
    bool debug = root->sigstruct.attributes.flags & SGX_ATTR_DEBUG;
    if (options->strace && !debug)
        return err_set(err, -EPERM,
                       "--strace: '%s' is no debug enclave (`sgxpy manifest --debug` makes one)",
                       path);

    if (device_choose(options->device, NULL) == DEVICE_KERNEL &&
        root->sigstruct.sw_defined == LIBRARY_OS_AUTOMATIC_KEY) {
        err_set(
            err, -EPERM,
            "'%s' was signed with a key made by itself, which SGX hardware is not given: sign it "
            "with your own (--key FILE)",
            path);
        return err_exit(err, CLI_START);
    }

    struct manifest_view view;
    const char *reason;
    int r = manifest_view_open(root->manifest, root->manifest_size, &view, &reason);
    if (r < 0)
        return err_set(err, r, "'%s/nodes/0/manifest.bin': %s", path, reason);
    if (argument_count > 0 && !(view.node->flags & MANIFEST_ARGS_HOST))
        return err_set(err, -EPERM,
                       "'%s' has pinned arguments: none may follow (`sgxpy manifest --args host` "
                       "opens them; options stand before the bundle)",
                       path);
    return 0;
}

/* Starts the root node; returns only if that fails, with the exit code. */
static int start(const char *bundle_path, const struct bundle_node *root,
                 const struct options *options, bool announced, const char *library_os,
                 char *const *arguments, size_t argument_count)
{
    struct err err = { 0 };
    char node[PATH_MAX];
    if (snprintf(node, sizeof(node), "%s/nodes/0", bundle_path) >= (int)sizeof(node)) {
        cli_note("'%s': the path is too long", bundle_path);
        return CLI_USAGE;
    }
    size_t env_count = 0;
    while (environ && environ[env_count])
        env_count++;
    struct host_options host = {
        .image_path = library_os,
        .node_path = node,
        .node = root,
        .bundle_path = bundle_path,
        .bundle_given = bundle_path == options->rest[0],
        .child_program = run_child_program(),
        .device = options->device,
        .poison = options->poison,
        .quiet = options->quiet,
        .announced = announced,
        .strace = options->strace,
        .stats = options->stats,
        .audit_path = options->audit,
        .audit_size = options->audit_size,
        .audit_keep = options->audit_keep,
        .args = (const char *const *)arguments,
        .arg_count = argument_count,
        .env = (const char *const *)environ,
        .env_count = env_count,
        .chosen_env = (const char *const *)options->env.items,
        .chosen_env_count = options->env.count,
    };
    if (options->hostile) {
        struct hostile_options hostile;
        if (hostile_parse(options->hostile, &hostile) < 0) {
            cli_note("--insecure_hostile_host '%s': SEED[,rate=N][,after=N][,scribble][,spare] is "
                     "wanted",
                     options->hostile);
            return CLI_USAGE;
        }
        host.hostile = options->hostile;
        host.tamper = hostile_tamper;
        host.tamper_arg = hostile_new(&hostile);
        if (!host.tamper_arg) {
            cli_note("out of memory");
            return CLI_START;
        }
        cli_note("insecure: a hostile host, %s", options->hostile);
    }
    fflush(NULL);
    if (host_run(&host, &err) < 0)
        return cli_fail(&err);
    cli_note("the enclave came back without an exit code");
    return CLI_START;
}

/* Options that shape the enclave make no sense with a bundle, which has its shape. */
static bool shapes_enclave(const struct options *options)
{
    struct options none = { 0 };
    struct options given = *options;
    given.strace = false;
    CLEANUP(free_p) char *a = options_fingerprint(&none);
    CLEANUP(free_p) char *b = options_fingerprint(&given);
    return !a || !b || strcmp(a, b) != 0 || options->key || options->retrace || options->trace_ms;
}

static int run_bundle(const struct verb *verb, const struct options *options)
{
    const char *path = options->rest[0];
    if (shapes_enclave(options))
        return cli_usage(
            verb,
            "'%s' is a bundle: options of manifest and sign, --retrace and --for go with a "
            "command",
            path);
    char **arguments = options->rest + 1;
    size_t argument_count = (size_t)options->rest_count - 1;
    if (argument_count > 0 && strcmp(arguments[0], "--") == 0) {
        arguments++;
        argument_count--;
    }

    struct err err = { 0 };
    CLEANUP(library_os_done) struct library_os library_os = { 0 };
    CLEANUP(bundle_node_done) struct bundle_node node = { 0 };
    if (library_os_load(options, &library_os, &err) < 0 ||
        bundle_load_root(path, library_os.sha256, &node, &err) < 0 ||
        check_node(path, &node, options, argument_count, &err) < 0)
        return cli_fail(&err);
    return start(path, &node, options, false, library_os.path, arguments, argument_count);
}

/* ---- a command ----------------------------------------------------------------------------- */

static void command_done(struct command *c)
{
    cache_done(&c->cache);
    free(c->library_os);
    free(c->key_path);
    free(c->executable);
}

static int key_path(const struct options *options, const char *key, char **ret, struct err *err)
{
    CLEANUP(free_p) char *data = NULL;
    char *path = NULL;
    int r = options->key ? 0 : cli_xdg_path("XDG_DATA_HOME", ".local/share", &data, err);
    if (r < 0)
        return r;
    if (options->key)
        path = strdup(options->key);
    else if (asprintf(&path, "%s/keys/%s.pem", data, key) < 0)
        path = NULL;
    if (!path)
        return err_set(err, -ENOMEM, "out of memory");
    *ret = path;
    return 0;
}

/* A file by path and everything that tells whether its bytes may have changed. */
static int print_identity(FILE *out, const char *name, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return -errno;
    fprintf(out, "%s %s %ju %ju %jd %jd.%09ld %jd.%09ld\n", name, path, (uintmax_t)st.st_dev,
            (uintmax_t)st.st_ino, (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec,
            st.st_mtim.tv_nsec, (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
    return 0;
}

int command_stamp(const struct command *c, char **ret, struct err *err)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CLEANUP(free_p) char *options = options_fingerprint(c->options);
    int r = out && options ? 0 : -ENOMEM;
    if (r == 0) {
        fprintf(out, "sgxpy-stamp 2\nversion %s\n", SGXPY_VERSION);
        const char *missing = c->library_os;
        r = print_identity(out, "library_os", c->library_os);
        if (r == 0) {
            missing = c->key_path;
            r = print_identity(out, "key", c->key_path);
        }
        if (r < 0)
            err_set(err, r, "'%s': %s", missing, strerror(-r));
        fputs(options, out);
    } else {
        err_set(err, r, "out of memory");
    }
    if (out && fclose(out) != 0 && r == 0)
        r = err_set(err, -ENOMEM, "out of memory");
    if (r < 0) {
        free(text);
        return r;
    }
    *ret = text;
    return 0;
}

/* Whether the cache has the bundle that these options ask for. */
static bool is_cached(const struct command *c)
{
    struct err ignored = { 0 };
    CLEANUP(free_p) char *stamp = NULL;
    return !c->options->retrace && cache_has_trace(&c->cache) &&
           command_stamp(c, &stamp, &ignored) == 0 && cache_is_current(&c->cache, stamp);
}

/*
 * Where the command's arguments after the script begin, which `--args host` leaves unpinned; the
 * command's end if they are pinned. The script is the last pinned argument; a command that is one
 * itself (#!) stands in the trace as the kernel named it.
 */
static int host_arguments(const struct command *c, const struct bundle_node *root)
{
    const struct options *options = c->options;
    struct manifest_view view;
    const char *reason;
    if (!options->args_host ||
        manifest_view_open(root->manifest, root->manifest_size, &view, &reason) < 0 ||
        view.arg_count == 0)
        return options->rest_count;
    const char *script = manifest_str_ptr(&view, view.args[view.arg_count - 1]);
    for (int i = 0; i < options->rest_count; i++)
        if (strcmp(i == 0 ? c->executable : options->rest[i], script) == 0 ||
            strcmp(options->rest[i], script) == 0)
            return i + 1;
    return options->rest_count;
}

static int run_command(const struct options *options)
{
    struct err err = { 0 };
    CLEANUP(command_done) struct command c = { .options = options, .cache = { .lock = -1 } };
    if (cli_find_program(options->rest[0], &c.executable, &err) < 0 ||
        library_os_path(options, &c.library_os, &err) < 0 ||
        cache_open(c.executable, options->rest, &c.cache, &err) < 0 ||
        key_path(options, c.cache.key, &c.key_path, &err) < 0)
        return cli_fail(&err);
    if (!is_cached(&c)) {
        int r = run_make(&c);
        if (r != CLI_OK)
            return r;
    }

    CLEANUP(bundle_node_done) struct bundle_node node = { 0 };
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s/nodes/0", c.cache.bundle);
    if (bundle_node_load(AT_FDCWD, folder, &node, &err) < 0 ||
        check_node(c.cache.bundle, &node, options, 0, &err) < 0)
        return cli_fail(&err);
    /* Not held during the run, so that a second one can start. */
    cache_unlock(&c.cache);
    int first = host_arguments(&c, &node);
    return start(c.cache.bundle, &node, options, c.announced, c.library_os, options->rest + first,
                 (size_t)(options->rest_count - first));
}

/* ---- the verb ------------------------------------------------------------------------------ */

static int verb_run_run(const struct verb *verb, struct options *options)
{
    if (options->rest_count == 0)
        return cli_usage(verb, options->after_dashes ? "the command is missing"
                                                     : "a bundle, or -- and a command, is missing");
    if (options->after_dashes)
        return run_command(options);

    struct stat st;
    if (stat(options->rest[0], &st) == 0 && S_ISDIR(st.st_mode))
        return run_bundle(verb, options);
    return cli_usage(verb, "'%s' is no bundle%s; a command follows \"--\"", options->rest[0],
                     access(options->rest[0], F_OK) == 0 ? "" : ", and there is no such file");
}

const struct verb verb_run = {
    .name = "run",
    .arguments = "[OPTION...] -- COMMAND [ARGUMENT...]\n"
                 "       sgxpy run [OPTION...] BUNDLE [ARGUMENT...]",
    .summary = "Run a command, or a signed bundle, in the enclave",
    .details = "With a command, the first run traces it natively (so the program runs twice), "
               "builds and signs\n"
               "its enclave and keeps all that in .sgxpy/; later runs start at once, and refuse "
               "changed files.\n"
               "Changed options build anew from the same trace. With a bundle, arguments need "
               "--args host.",
    .groups = OPTIONS_MANIFEST | OPTIONS_SIGN | OPTIONS_RUN | OPTIONS_LIBOS,
    .run = verb_run_run,
};
