/* run_make.h, the whole of it: tracing, building, signing. Tier: hosted. */
#include "cli/run_make.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/steps.h"
#include "signer/keys.h"
#include "tracer/record.h"
#include "util/fs.h"

struct making {
    struct command *command;
    struct library_os library_os;
    struct signing_key *key;
    bool new_key;
};

static void making_done(struct making *m)
{
    library_os_done(&m->library_os);
    keys_free(m->key);
}

/* The key at key_path, made if it is the command's own and not there yet. */
static int load_key(struct making *m, struct err *err)
{
    const struct command *c = m->command;
    if (c->options->key || access(c->key_path, F_OK) == 0)
        return keys_load(c->key_path, &m->key, err);

    CLEANUP(free_p) char *folder = strdup(c->key_path);
    char *slash = folder ? strrchr(folder, '/') : NULL;
    if (!slash)
        return err_set(err, -ENOMEM, "out of memory");
    *slash = '\0';
    int r = dir_make(folder, 0700, err);
    if (r < 0)
        return err_wrap(err, "keeping the signing key ('--key FILE' names another)");
    if ((r = keys_generate(&m->key, err)) < 0 || (r = keys_store(m->key, c->key_path, err)) < 0)
        return r;
    m->new_key = true;
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

static void on_server(void *arg UNUSED)
{
    cli_note("tracing; Ctrl-C starts the enclave");
}

/*
 * What becomes of the trace of a run that ended so. CLI_OK: the enclave starts. A server ends by Ctrl-C, or with its
 * time; with other exit codes than 0 too, once the user was told what Ctrl-C does. SIGTERM is for whoever wants no server at
 * all: the trace stays for the next time.
 */
static int judge_end(const struct command *c, const struct tracer_end *end, int status,
                     bool *ret_keep)
{
    bool wanted = end->asked && (end->told || c->options->trace_ms);
    *ret_keep = false;
    if (end->asked && !wanted && status == 0)
        status = 128 + end->asked; /* ^C before anything was said about it ends `run` */
    if (wanted && end->killed)
        cli_note("the traced server did not end when asked to, and was killed");
    else if (wanted && status != 0 && status != 128 + end->asked && status < 128)
        cli_note("the traced server ended with exit code %d", status);
    *ret_keep = status == 0 || (wanted && (status < 128 || steps_ended_as_asked(end, status)));
    if (!*ret_keep) {
        cli_note(
            "the traced program ended with exit code %d; nothing was kept (where that is its usual "
            "end: sgxpy trace, manifest and sign take it)",
            status);
        return status;
    }
    if (end->asked == SIGTERM && !c->options->trace_ms) {
        cli_note("terminated; the trace is kept: the next run starts the enclave");
        return 128 + SIGTERM;
    }
    return CLI_OK;
}

/* Runs the program natively; CLI_OK, or what `run` ends with. */
static int trace_it(struct command *c, bool first)
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
    struct tracer_options tracer = { .output = fresh,
                                     .stdout_to_stderr = true,
                                     .milliseconds = c->options->trace_ms,
                                     .on_server = c->options->quiet ? NULL : on_server };
    struct tracer_end end = { 0 };
    int status = tracer_run(&tracer, c->options->rest, &end, &err);
    if (status < 0)
        return cli_fail(&err);
    bool keep;
    int code = judge_end(c, &end, status, &keep);
    if (!keep) {
        unlink(fresh);
        return code;
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
    return code;
}

static int build_it(struct making *m, const char *stamp, struct err *err)
{
    struct command *c = m->command;
    int r = cache_forget(&c->cache, err);
    if (r < 0)
        return r;
    CLEANUP(cascade_free_p) struct cascade *cascade = NULL;
    uint8_t mrenclave[SGX_HASH_SIZE];
    if ((r = steps_manifest(&c->cache.trace, 1, c->options, c->cache.cascade, c->cache.folder,
                            &cascade, err)) < 0 ||
        (r = steps_sign(c->cache.cascade, c->options, &m->library_os, m->key, !c->options->key,
                        c->cache.bundle, mrenclave, err)) < 0)
        return r;

    if (!c->options->quiet) {
        char hex[2 * SGX_HASH_SIZE + 1];
        cli_hex(mrenclave, sizeof(mrenclave), hex);
        CLEANUP(free_p) char *limits = steps_describe_limits(cascade);
        cli_note("%s, MRENCLAVE %s, %s %s", limits ? limits : "", hex,
                 m->new_key ? "new key" : "key", cli_pretty_path(c->key_path));
        cli_note("saved in %s; running in the enclave",
                 c->cache.local ? ".sgxpy/" : cli_pretty_path(c->cache.folder));
    }
    return cache_remember(&c->cache, stamp, err);
}

int run_make(struct command *c)
{
    struct err err = { 0 };
    CLEANUP(making_done) struct making m = { .command = c };
    bool first = !cache_has_trace(&c->cache);
    if (steps_check_options(c->options, &err) < 0)
        return cli_fail(&err);
    if (first || c->options->retrace) {
        /* Said before anything else, as it would be otherwise only when the enclave starts. */
        const char *why;
        if (device_choose(c->options->device, &why) == DEVICE_SOFT && !c->options->quiet) {
            cli_note("software SGX device: no protection against this machine");
            c->announced = true;
        }
        int r = trace_it(c, first);
        if (r != CLI_OK)
            return r;
    }

    /* The stamp before what it stands for is read: a change meanwhile makes the next run build anew. */
    CLEANUP(free_p) char *stamp = NULL;
    int r = load_key(&m, &err);
    if (r >= 0)
        r = command_stamp(c, &stamp, &err);
    if (r >= 0 && !cache_is_current(&c->cache, stamp)) {
        r = library_os_load(c->options, &m.library_os, &err);
        if (r >= 0)
            r = build_it(&m, stamp, &err);
    }
    if (r >= 0)
        return CLI_OK;
    return cli_fail(&err);
}

const char *run_child_program(void)
{
    static const char *const places[] = { "sgxpy", "../../bin/sgxpy", NULL };
    char *path = NULL;
    struct err ignored = { 0 };
    return cli_own_file("sgxpy", places, &path, &ignored) < 0 ? NULL : path;
}
