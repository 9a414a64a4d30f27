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

#include "cli/cache.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/steps.h"
#include "core/manifest_view.h"
#include "host/hostile.h"
#include "host/run.h"
#include "signer/bundle.h"
#include "signer/keys.h"
#include "tracer/record.h"
#include "util/fs.h"

/* ---- a bundle ------------------------------------------------------------------------------ */

/* What the bundle's root node must be for these options. */
static int check_bundle(const char *path, const struct bundle *bundle,
                        const struct options *options, size_t argument_count, struct err *err)
{
    const struct bundle_node *root = &bundle->nodes[0];
    bool debug = root->sigstruct.attributes.flags & SGX_ATTR_DEBUG;
    if (options->strace && !debug)
        return err_set(err, -EPERM,
                       "--strace: '%s' is no debug enclave (`sgxpy manifest --debug` makes one)",
                       path);

    const char *why;
    if (device_choose(options->device, &why) == DEVICE_KERNEL &&
        root->sigstruct.sw_defined == STEPS_AUTOMATIC_KEY) {
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
static int start(const char *bundle_path, const struct options *options, bool announced,
                 const struct steps_library_os *library_os, char *const *arguments,
                 size_t argument_count)
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
        .image_path = library_os->path,
        .node_path = node,
        .device = options->device,
        .poison = options->poison,
        .quiet = options->quiet,
        .announced = announced,
        .strace = options->strace,
        .stats = options->stats,
        .audit_path = options->audit,
        .args = (const char *const *)arguments,
        .arg_count = argument_count,
        .env = (const char *const *)environ,
        .env_count = env_count,
    };
    if (options->hostile) {
        struct hostile_options hostile;
        if (hostile_parse(options->hostile, &hostile) < 0) {
            cli_note("--insecure_hostile_host '%s': SEED[,rate=N][,after=N][,scribble][,spare] is "
                     "wanted",
                     options->hostile);
            return CLI_USAGE;
        }
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
    return !a || !b || strcmp(a, b) != 0 || options->key || options->retrace;
}

static int run_bundle(const struct verb *verb, const struct options *options)
{
    const char *path = options->rest[0];
    if (shapes_enclave(options))
        return cli_usage(verb,
                         "'%s' is a bundle: options of manifest and sign, and --retrace, go with a "
                         "command",
                         path);
    char **arguments = options->rest + 1;
    size_t argument_count = (size_t)options->rest_count - 1;
    if (argument_count > 0 && strcmp(arguments[0], "--") == 0) {
        arguments++;
        argument_count--;
    }

    struct err err = { 0 };
    CLEANUP(steps_library_os_done) struct steps_library_os library_os = { 0 };
    CLEANUP(bundle_free_p) struct bundle *bundle = NULL;
    if (steps_library_os(options, &library_os, &err) < 0 ||
        bundle_load(path, library_os.sha256, &bundle, &err) < 0 ||
        check_bundle(path, bundle, options, argument_count, &err) < 0)
        return cli_fail(&err);
    return start(path, options, false, &library_os, arguments, argument_count);
}

/* ---- a command ----------------------------------------------------------------------------- */

struct command {
    const struct options *options;
    struct steps_library_os library_os;
    struct cache cache;
    struct signing_key *key;
    char *key_path; /* NULL: --key */
    bool new_key;
    char *executable;
    char *stamp; /* what the bundle is made from, as text */
};

static void command_done(struct command *c)
{
    steps_library_os_done(&c->library_os);
    cache_done(&c->cache);
    keys_free(c->key);
    free(c->key_path);
    free(c->executable);
    free(c->stamp);
}

/* The key that --key names, or the one kept for this command, made at its first run. */
static int command_key(struct command *c, struct err *err)
{
    if (c->options->key)
        return keys_load(c->options->key, &c->key, err);

    CLEANUP(free_p) char *data = NULL;
    CLEANUP(free_p) char *folder = NULL;
    int r = cli_xdg_path("XDG_DATA_HOME", ".local/share", &data, err);
    if (r < 0)
        return r;
    if (asprintf(&folder, "%s/keys", data) < 0)
        folder = NULL;
    if (!folder || asprintf(&c->key_path, "%s/%s.pem", folder, c->cache.key) < 0) {
        c->key_path = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (access(c->key_path, F_OK) == 0)
        return keys_load(c->key_path, &c->key, err);
    r = dir_make(folder, 0700, err);
    if (r < 0)
        return err_wrap(err, "keeping the signing key");
    if ((r = keys_generate(&c->key, err)) < 0 || (r = keys_store(c->key, c->key_path, err)) < 0)
        return r;
    c->new_key = true;
    return 0;
}

/* Everything that the bundle depends on beside the trace. */
static int command_stamp(struct command *c, struct err *err)
{
    char library_os[2 * SGX_HASH_SIZE + 1], signer[2 * SGX_HASH_SIZE + 1];
    uint8_t mrsigner[SGX_HASH_SIZE];
    cli_hex(c->library_os.sha256, SGX_HASH_SIZE, library_os);
    keys_mrsigner(c->key, mrsigner);
    cli_hex(mrsigner, SGX_HASH_SIZE, signer);
    CLEANUP(free_p) char *options = options_fingerprint(c->options);
    if (!options || asprintf(&c->stamp, "sgxpy-stamp 1\nversion %s\nlibrary_os %s\nsigner %s\n%s",
                             SGXPY_VERSION, library_os, signer, options) < 0) {
        c->stamp = NULL;
        return err_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

/* word as a shell takes it back, on stream. */
static void print_word(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-+=./:,@%";
    if (*word && strspn(word, plain) == strlen(word)) {
        fputs(word, out);
        return;
    }
    putc('\'', out);
    for (; *word; word++) {
        if (*word == '\'')
            fputs("'\\''", out);
        else
            putc(*word, out);
    }
    putc('\'', out);
}

/* Standard input goes to the program twice. *ret_offset: where to set it back to; -1: no need. */
static int check_stdin(const struct options *options, off_t *ret_offset)
{
    *ret_offset = lseek(STDIN_FILENO, 0, SEEK_CUR);
    struct stat st;
    if (*ret_offset >= 0 || fstat(STDIN_FILENO, &st) < 0 || S_ISCHR(st.st_mode))
        return CLI_OK;

    char *command = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&command, &size);
    if (out) {
        for (int i = 0; i < options->rest_count; i++) {
            putc(' ', out);
            print_word(out, options->rest[i]);
        }
        fclose(out);
    }
    cli_note("standard input is a pipe, and the first run needs it twice; instead:");
    cli_note("  sgxpy trace -o run.trace --%s < SAMPLE", command ? command : " COMMAND");
    cli_note("  sgxpy manifest run.trace -o run.cascade.json");
    cli_note("  sgxpy sign run.cascade.json --key KEY -o run.sgx");
    cli_note("and then, with the pipe: sgxpy run run.sgx");
    free(command);
    return CLI_USAGE;
}

/* Runs the program natively; CLI_OK, or what `run` ends with. */
static int command_trace(struct command *c, bool first)
{
    off_t stdin_offset;
    int r = check_stdin(c->options, &stdin_offset);
    if (r != CLI_OK)
        return r;
    if (!c->options->quiet)
        cli_note("%s: traced natively, unprotected; the program runs twice",
                 first ? "first run of this command" : "tracing again");

    struct err err = { 0 };
    CLEANUP(free_p) char *fresh = NULL;
    if (asprintf(&fresh, "%s.new", c->cache.trace) < 0) {
        fresh = NULL;
        err_set(&err, -ENOMEM, "out of memory");
        return cli_fail(&err);
    }
    struct tracer_options tracer = { .output = fresh, .stdout_to_stderr = true };
    int status = tracer_run(&tracer, c->options->rest, &err);
    if (status < 0)
        return cli_fail(&err);
    if (status != 0) {
        unlink(fresh);
        cli_note("the traced program ended with exit code %d; nothing was kept", status);
        return status;
    }
    if (stdin_offset >= 0 && lseek(STDIN_FILENO, stdin_offset, SEEK_SET) < 0) {
        cli_note("rewinding standard input: %s", strerror(errno));
        return CLI_USAGE;
    }
    /* From here the old bundle is no more what the trace says. */
    if (cache_forget(&c->cache, &err) < 0)
        return cli_fail(&err);
    if (rename(fresh, c->cache.trace) < 0) {
        cli_note("keeping the trace '%s': %s", c->cache.trace, strerror(errno));
        return CLI_USAGE;
    }
    return CLI_OK;
}

static int command_build(struct command *c, struct err *err)
{
    int r = cache_forget(&c->cache, err);
    if (r < 0)
        return r;
    CLEANUP(cascade_free_p) struct cascade *cascade = NULL;
    uint8_t mrenclave[SGX_HASH_SIZE];
    if ((r = steps_manifest(&c->cache.trace, 1, c->options, c->cache.cascade, c->cache.folder,
                            &cascade, err)) < 0 ||
        (r = steps_sign(c->cache.cascade, c->options, &c->library_os, c->key, c->key_path != NULL,
                        c->cache.bundle, mrenclave, err)) < 0)
        return r;

    if (!c->options->quiet) {
        char hex[2 * SGX_HASH_SIZE + 1];
        cli_hex(mrenclave, sizeof(mrenclave), hex);
        CLEANUP(free_p) char *limits = steps_describe_limits(cascade);
        cli_note("%s, MRENCLAVE %s, %s %s", limits ? limits : "", hex,
                 c->new_key ? "new key" : "key",
                 cli_pretty_path(c->key_path ? c->key_path : c->options->key));
        cli_note("saved in %s; running in the enclave",
                 c->cache.local ? ".sgxpy/" : cli_pretty_path(c->cache.folder));
    }
    return cache_remember(&c->cache, c->stamp, err);
}

static int run_command(const struct options *options)
{
    struct err err = { 0 };
    CLEANUP(command_done) struct command c = { .options = options, .cache = { .lock = -1 } };
    if (cli_find_program(options->rest[0], &c.executable, &err) < 0 ||
        steps_library_os(options, &c.library_os, &err) < 0 ||
        cache_open(c.executable, options->rest, &c.cache, &err) < 0)
        return cli_fail(&err);

    /* Said before anything else, as it would be otherwise only when the enclave starts. */
    bool first = !cache_has_trace(&c.cache);
    bool announced = false;
    if (first || options->retrace) {
        const char *why;
        if (device_choose(options->device, &why) == DEVICE_SOFT && !options->quiet) {
            cli_note("software SGX device: no protection against this machine");
            announced = true;
        }
        int r = command_trace(&c, first);
        if (r != CLI_OK)
            return r;
    }
    if (command_key(&c, &err) < 0 || command_stamp(&c, &err) < 0)
        return cli_fail(&err);
    if (!cache_is_current(&c.cache, c.stamp) && command_build(&c, &err) < 0)
        return cli_fail(&err);

    CLEANUP(bundle_free_p) struct bundle *bundle = NULL;
    if (bundle_load(c.cache.bundle, c.library_os.sha256, &bundle, &err) < 0 ||
        check_bundle(c.cache.bundle, bundle, options, 0, &err) < 0)
        return cli_fail(&err);
    /* Not held during the run, so that a second one can start. Who replaces the bundle just now
     * makes this start fail (EINIT), never run anything else. */
    cache_unlock(&c.cache);
    return start(c.cache.bundle, options, announced, &c.library_os, NULL, 0);
}

/* ---- the verb ------------------------------------------------------------------------------ */

static int verb_run_run(const struct verb *verb, int argc, char **argv)
{
    CLEANUP(options_done) struct options options;
    int r = options_parse(verb, argc, argv, &options);
    if (r != CLI_OK)
        return r;
    if (options.help) {
        options_help(verb);
        return cli_finish_output();
    }
    if (options.rest_count == 0)
        return cli_usage(verb, options.after_dashes ? "the command is missing"
                                                    : "a bundle, or -- and a command, is missing");
    if (options.after_dashes)
        return run_command(&options);

    struct stat st;
    if (stat(options.rest[0], &st) == 0 && S_ISDIR(st.st_mode))
        return run_bundle(verb, &options);
    return cli_usage(verb, "'%s' is no bundle; a command follows \"--\"", options.rest[0]);
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
