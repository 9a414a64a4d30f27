#include "cli/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/manifest_view.h"
#include "core/sha256.h"
#include "host/audit.h"
#include "manifest/proposal.h"
#include "util/fs.h"

#define HEAP_MIN (16ull << 20) /* as `manifest` has it, which would say so only after the trace */

enum option_id {
    ID_HELP = 256,
    ID_OUTPUT,
    ID_TRUST,
    ID_ALLOW,
    ID_DENY,
    ID_PACKAGE,
    ID_EXEC,
    ID_HEAP,
    ID_THREADS,
    ID_PROCESSES,
    ID_MERGE,
    ID_INSECURE_GIVEN,
    ID_LISTEN,
    ID_CONNECT,
    ID_RULES,
    ID_FROM_AUDIT,
    ID_DEBUG,
    ID_ENV,
    ID_ARGS,
    ID_KEY,
    ID_PROD_ID,
    ID_SVN,
    ID_DEVICE,
    ID_POISON,
    ID_AUDIT,
    ID_AUDIT_SIZE,
    ID_AUDIT_KEEP,
    ID_QUIET,
    ID_STRACE,
    ID_STATS,
    ID_RETRACE,
    ID_FOR,
    ID_FILES,
    ID_WHY,
    ID_TRACE,
    ID_JSON,
    ID_LIBOS,
    ID_HOSTILE,
};

static const struct option_spec {
    enum option_id id;
    const char *name;
    const char *argument; /* NULL: takes none */
    unsigned groups;
    const char *help;
} specs[] = {
    { ID_OUTPUT, "output", "FILE", OPTIONS_OUTPUT, "-o FILE: where the result goes" },
    { ID_TRUST, "trust", "PATH", OPTIONS_MANIFEST,
      "also trust this file, or all files below this folder, as they are now" },
    { ID_ALLOW, "allow", "PATH", OPTIONS_MANIFEST,
      "leave this file or folder to the host: unprotected, may change, may be written" },
    { ID_DENY, "deny", "PATH", OPTIONS_MANIFEST,
      "trust this data file or folder; what is tampered with gives EIO, and the program goes on" },
    { ID_PACKAGE, "package", "NAME", OPTIONS_MANIFEST,
      "also trust all files of this installed Debian package" },
    { ID_EXEC, "exec", "deny", OPTIONS_MANIFEST,
      "accept a trace that started other programs; in the enclave exec fails with EACCES" },
    { ID_HEAP, "heap", "SIZE", OPTIONS_MANIFEST,
      "memory the program may use (256M, 4G); without it, from the trace" },
    { ID_THREADS, "threads", "N", OPTIONS_MANIFEST,
      "threads at one time; without it, from the trace" },
    { ID_PROCESSES, "processes", "N", OPTIONS_MANIFEST,
      "processes of the tree at one time; without it, from the trace" },
    { ID_MERGE, "merge", "PROGRAM", OPTIONS_MANIFEST,
      "one node for all that this executable (path or name) runs, whatever its arguments" },
    { ID_LISTEN, "listen", "[ADDRESS:]PORT", OPTIONS_MANIFEST,
      "also listen here (8080, 127.0.0.1:8000-8010, [::1]:443, *; /tcp or /udp may follow)" },
    { ID_CONNECT, "connect", "ADDRESS[:PORT]", OPTIONS_MANIFEST,
      "also connect or send there (10.0.0.0/8:5432, db.example:5432, *:443, *)" },
    { ID_RULES, "rules", "FILE", OPTIONS_MANIFEST,
      "also what stands in FILE, a reviewed proposal; its files must still have the hashes there" },
    { ID_FROM_AUDIT, "from-audit", "FILE", OPTIONS_PROPOSE,
      "instead: propose rules for what was refused; with -o, written there for review and "
      "--rules" },
    { ID_ENV, "env", "NAME[=VALUE]", OPTIONS_MANIFEST,
      "pin this variable, or (without VALUE) take it from the host at run time" },
    { ID_ARGS, "args", "host|pinned", OPTIONS_MANIFEST,
      "whether more arguments may follow the script at run time (pinned)" },
    { ID_INSECURE_GIVEN, "insecure_given", "NAME|all", OPTIONS_MANIFEST,
      "insecure: programs take this variable (all: folder, options too) as their parents give it" },
    { ID_DEBUG, "debug", NULL, OPTIONS_MANIFEST,
      "insecure: an enclave that the host may look into (for --strace)" },
    { ID_KEY, "key", "FILE", OPTIONS_SIGN, "RSA-3072 key that signs, made with `sgxpy keygen`" },
    { ID_PROD_ID, "isv-prod-id", "N", OPTIONS_SIGN, "product number in the SIGSTRUCT (0)" },
    { ID_SVN, "isv-svn", "N", OPTIONS_SIGN, "security version in the SIGSTRUCT (0)" },
    { ID_DEVICE, "device", "auto|soft|kernel", OPTIONS_RUN,
      "which SGX device; auto takes the kernel's where there is one" },
    { ID_POISON, "poison", NULL, OPTIONS_RUN,
      "software device: scramble at every border what hardware does not preserve" },
    { ID_AUDIT, "audit", "FILE", OPTIONS_RUN,
      "append what was refused or not found to FILE, one JSON object a line" },
    { ID_AUDIT_SIZE, "audit-size", "SIZE", OPTIONS_RUN,
      "when it would get larger (16M), it becomes FILE.1, that FILE.2...; 0: never" },
    { ID_AUDIT_KEEP, "audit-keep", "N", OPTIONS_RUN, "how many older ones are kept (5)" },
    { ID_QUIET, "quiet", NULL, OPTIONS_RUN, "no remarks on stderr but violations and errors" },
    { ID_STRACE, "strace", NULL, OPTIONS_RUN,
      "insecure: print each system call of the program; needs an enclave made with --debug" },
    { ID_STATS, "stats", NULL, OPTIONS_RUN,
      "print counters at the end: calls, OCALLs, traps, faults, bytes verified" },
    { ID_RETRACE, "retrace", NULL, OPTIONS_RUN,
      "with a command: trace again, trusting the files as they are now" },
    { ID_FOR, "for", "TIME", OPTIONS_TRACE | OPTIONS_RUN,
      "end the traced program after TIME (500ms, 10s, 2m), as SIGTERM does, and keep the trace" },
    { ID_FILES, "files", NULL, OPTIONS_SHOW, "also list the files with their hashes" },
    { ID_WHY, "why", "PATH", OPTIONS_SHOW, "which process did what to this path, in which trace" },
    { ID_TRACE, "trace", "FILE", OPTIONS_SHOW, "for --why: a trace that the bundle was made from" },
    { ID_JSON, "json", NULL, OPTIONS_JSON, "print JSON, for machines" },
    { ID_LIBOS, "libos", "FILE", OPTIONS_LIBOS, "library OS image, instead of the installed one" },
    /* For tests of the library OS (host/hostile.h); not in the help. */
    { ID_HOSTILE, "insecure_hostile_host", "SEED", OPTIONS_RUN, NULL },
    { ID_HELP, "help", NULL, ~0u, "this text" },
};

static const struct {
    unsigned group;
    const char *title;
} sections[] = {
    { OPTIONS_OUTPUT, NULL },
    { OPTIONS_TRACE, NULL },
    { OPTIONS_SHOW | OPTIONS_JSON, NULL },
    { OPTIONS_PROPOSE, NULL },
    { OPTIONS_MANIFEST, "What the manifest grants" },
    { OPTIONS_SIGN, "Signing" },
    { OPTIONS_RUN, "Running" },
    { OPTIONS_LIBOS, "Other" },
};

static void print_spec(const struct option_spec *spec)
{
    char name[48];
    snprintf(name, sizeof(name), "--%s%s%s", spec->name, spec->argument ? " " : "",
             spec->argument ? spec->argument : "");
    printf("  %-24s %s\n", name, spec->help);
}

void options_help(const struct verb *verb)
{
    printf("usage: sgxpy %s %s\n\n%s.\n", verb->name, verb->arguments, verb->summary);
    if (verb->details)
        printf("\n%s\n", verb->details);
    for (size_t s = 0; s < ARRAY_SIZE(sections); s++) {
        bool first = true;
        for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
            if (specs[i].groups == ~0u || !specs[i].help ||
                !(specs[i].groups & sections[s].group & verb->groups))
                continue;
            if (first)
                printf("\n%s:\n", sections[s].title ? sections[s].title : "Options");
            first = false;
            print_spec(&specs[i]);
        }
    }
}

int options_parse_size(const char *text, uint64_t *ret)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {
        { "", 0 },     { "K", 10 },   { "M", 20 },   { "G", 30 },  { "T", 40 },
        { "KB", 10 },  { "MB", 20 },  { "GB", 30 },  { "TB", 40 }, { "KiB", 10 },
        { "MiB", 20 }, { "GiB", 30 }, { "TiB", 40 },
    };
    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return -ERANGE;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcasecmp(end, units[i].name) != 0)
            continue;
        if (number > (UINT64_MAX >> units[i].shift))
            return -ERANGE;
        *ret = (uint64_t)number << units[i].shift;
        return 0;
    }
    return -EINVAL;
}

int options_parse_time(const char *text, uint32_t *ret)
{
    static const struct {
        const char *name;
        uint32_t ms;
    } units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 } };
    const uint32_t day = 24u * 3600 * 1000;
    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        if (errno || number == 0 || number > day / units[i].ms)
            return -ERANGE;
        *ret = (uint32_t)number * units[i].ms;
        return 0;
    }
    return -EINVAL;
}

/* A decimal number up to max. */
static int parse_number(const char *text, uint64_t max, uint64_t *ret)
{
    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*end)
        return -EINVAL;
    if (errno || number > max)
        return -ERANGE;
    *ret = number;
    return 0;
}

static int list_add(struct option_list *list, const char *item)
{
    const char **items = reallocarray(list->items, list->count + 1, sizeof(*items));
    if (!items)
        return -ENOMEM;
    list->items = items;
    items[list->count++] = item;
    return 0;
}

/* Sets *ret to the index of value among the n words, or says what is accepted. */
static int parse_word(const struct verb *verb, const char *option, const char *value,
                      const char *const *words, size_t n, size_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(words[i], value) != 0)
            continue;
        *ret = i;
        return CLI_OK;
    }
    char accepted[64] = "";
    for (size_t i = 0; i < n; i++)
        snprintf(accepted + strlen(accepted), sizeof(accepted) - strlen(accepted), "%s%s",
                 i ? ", " : "", words[i]);
    return cli_usage(verb, "--%s '%s': accepted is %s", option, value, accepted);
}

static int take_number(const struct verb *verb, const char *option, const char *value, uint64_t min,
                       uint64_t max, uint64_t *ret)
{
    uint64_t number = 0;
    if (parse_number(value, max, &number) < 0 || number < min)
        return cli_usage(verb, "--%s '%s': a number from %" PRIu64 " to %" PRIu64 " is wanted",
                         option, value, min, max);
    *ret = number;
    return CLI_OK;
}

static int take_list(const struct verb *verb, const char *option, struct option_list *list,
                     const char *value)
{
    if (!*value)
        return cli_usage(verb, "--%s needs a value that is not empty", option);
    if (list_add(list, value) < 0)
        return cli_usage(verb, "out of memory");
    return CLI_OK;
}

static int take_words(const struct verb *verb, int id, const char *value, struct options *o)
{
    static const char *const exec_words[] = { "deny" };
    static const char *const args_words[] = { "pinned", "host" };
    static const char *const device_words[] = { "auto", "soft", "kernel" };
    static const enum device_kind device_kinds[] = { DEVICE_AUTO, DEVICE_SOFT, DEVICE_KERNEL };
    size_t index = 0;
    int r;
    switch (id) {
    case ID_EXEC:
        r = parse_word(verb, "exec", value, exec_words, ARRAY_SIZE(exec_words), &index);
        o->exec_deny = true;
        return r;
    case ID_ARGS:
        r = parse_word(verb, "args", value, args_words, ARRAY_SIZE(args_words), &index);
        o->args_host = index == 1;
        return r;
    default:
        r = parse_word(verb, "device", value, device_words, ARRAY_SIZE(device_words), &index);
        o->device = device_kinds[index];
        return r;
    }
}

static int take(const struct verb *verb, int id, const char *value, struct options *o)
{
    uint64_t number = 0;
    int r;
    switch (id) {
    case ID_HELP: o->help = true; return CLI_OK;
    case ID_OUTPUT: o->output = value; return CLI_OK;
    case ID_TRUST: return take_list(verb, "trust", &o->trust, value);
    case ID_ALLOW: return take_list(verb, "allow", &o->allow, value);
    case ID_DENY: return take_list(verb, "deny", &o->deny, value);
    case ID_PACKAGE: return take_list(verb, "package", &o->package, value);
    case ID_ENV:
        if (value[0] == '=')
            return cli_usage(verb, "--env '%s': the name is missing", value);
        return take_list(verb, "env", &o->env, value);
    case ID_EXEC:
    case ID_ARGS:
    case ID_DEVICE: return take_words(verb, id, value, o);
    case ID_HEAP:
        if (options_parse_size(value, &o->heap) < 0 || o->heap == 0)
            return cli_usage(verb, "--heap '%s': a size like 512M or 4G is wanted", value);
        if (o->heap < HEAP_MIN || o->heap > MANIFEST_HEAP_MAX)
            return cli_usage(verb, "--heap '%s': 16M to %lluG is accepted", value,
                             MANIFEST_HEAP_MAX >> 30);
        return CLI_OK;
    case ID_THREADS:
        r = take_number(verb, "threads", value, 1, 1024, &number);
        o->threads = (uint32_t)number;
        return r;
    case ID_PROCESSES:
        r = take_number(verb, "processes", value, 1, MANIFEST_PROCESSES_MAX, &number);
        o->processes = (uint32_t)number;
        return r;
    case ID_MERGE: return take_list(verb, "merge", &o->merge, value);
    case ID_INSECURE_GIVEN:
        if (!value[0] || strchr(value, '='))
            return cli_usage(verb, "--insecure_given '%s': a variable's name, or all, is wanted",
                             value);
        return take_list(verb, "insecure_given", &o->insecure_given, value);
    case ID_LISTEN: return take_list(verb, "listen", &o->listen, value);
    case ID_RULES: return take_list(verb, "rules", &o->rules, value);
    case ID_FROM_AUDIT: return take_list(verb, "from-audit", &o->from_audit, value);
    case ID_CONNECT: return take_list(verb, "connect", &o->connect, value);
    case ID_PROD_ID:
        r = take_number(verb, "isv-prod-id", value, 0, UINT16_MAX, &number);
        o->isv_prod_id = (uint16_t)number;
        return r;
    case ID_SVN:
        r = take_number(verb, "isv-svn", value, 0, UINT16_MAX, &number);
        o->isv_svn = (uint16_t)number;
        return r;
    case ID_DEBUG: o->debug = true; return CLI_OK;
    case ID_KEY: o->key = value; return CLI_OK;
    case ID_POISON: o->poison = true; return CLI_OK;
    case ID_AUDIT: o->audit = value; return CLI_OK;
    case ID_AUDIT_SIZE:
        if (options_parse_size(value, &o->audit_size) < 0 ||
            (o->audit_size && o->audit_size < AUDIT_ROTATE_MIN))
            return cli_usage(verb, "--audit-size '%s': a size from 4K, or 0, is wanted", value);
        return CLI_OK;
    case ID_AUDIT_KEEP:
        r = take_number(verb, "audit-keep", value, 1, AUDIT_KEEP_MAX, &number);
        o->audit_keep = (uint32_t)number;
        return r;
    case ID_QUIET: o->quiet = true; return CLI_OK;
    case ID_STRACE: o->strace = true; return CLI_OK;
    case ID_STATS: o->stats = true; return CLI_OK;
    case ID_RETRACE: o->retrace = true; return CLI_OK;
    case ID_FOR:
        if (options_parse_time(value, &o->trace_ms) < 0)
            return cli_usage(verb, "--for '%s': a time like 500ms, 10s or 2m is wanted", value);
        return CLI_OK;
    case ID_FILES: o->files = true; return CLI_OK;
    case ID_WHY: o->why = value; return CLI_OK;
    case ID_TRACE: return take_list(verb, "trace", &o->traces, value);
    case ID_JSON: o->json = true; return CLI_OK;
    case ID_LIBOS: o->libos = value; return CLI_OK;
    case ID_HOSTILE: o->hostile = value; return CLI_OK;
    }
    return cli_usage(verb, "option number %d is not handled", id);
}

int options_parse(const struct verb *verb, int argc, char **argv, struct options *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->device = DEVICE_AUTO;
    ret->audit_size = AUDIT_ROTATE_SIZE;
    ret->audit_keep = AUDIT_KEEP;

    struct option longs[ARRAY_SIZE(specs) + 1];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
        if (!(specs[i].groups & verb->groups) && specs[i].groups != ~0u)
            continue;
        longs[n++] =
            (struct option){ specs[i].name, specs[i].argument ? required_argument : no_argument,
                             NULL, (int)specs[i].id };
    }
    longs[n] = (struct option){ 0 };

    bool in_order = verb->groups & (OPTIONS_RUN | OPTIONS_TRACE);
    const char *shorts =
        verb->groups & OPTIONS_OUTPUT ? (in_order ? "+:ho:" : ":ho:") : (in_order ? "+:h" : ":h");
    const char *last_value = NULL;
    opterr = 0;
    optind = 0; /* glibc: start anew, also with another order */
    for (;;) {
        int id = getopt_long(argc, argv, shorts, longs, NULL);
        if (id == -1)
            break;
        last_value = optarg;
        if (id == ':')
            return cli_usage(verb, "'%s' needs a value", argv[optind - 1]);
        if (id == '?')
            return optopt && optopt < 256
                       ? cli_usage(verb, "there is no option '-%c'", optopt)
                       : cli_usage(verb, "there is no option '%s'%s", argv[optind - 1],
                                   optopt ? " with a value" : "");
        int r = take(verb, id == 'h' ? ID_HELP : id == 'o' ? ID_OUTPUT : id, optarg, ret);
        if (r != CLI_OK)
            return r;
    }
    ret->rest = argv + optind;
    ret->rest_count = argc - optind;
    ret->after_dashes =
        optind > 1 && strcmp(argv[optind - 1], "--") == 0 && argv[optind - 1] != last_value;
    return CLI_OK;
}

void options_done(struct options *options)
{
    free(options->trust.items);
    free(options->allow.items);
    free(options->deny.items);
    free(options->package.items);
    free(options->env.items);
    free(options->merge.items);
    free(options->insecure_given.items);
    free(options->listen.items);
    free(options->connect.items);
    free(options->rules.items);
    free(options->from_audit.items);
    free(options->traces.items);
    memset(options, 0, sizeof(*options));
}

/* Rules count by what stands in them. */
static void print_content(FILE *out, const char *path)
{
    CLEANUP(free_p) char *text = NULL;
    size_t size = 0;
    uint8_t hash[SHA256_SIZE] = { 0 };
    char hex[2 * SHA256_SIZE + 1];
    if (file_load(AT_FDCWD, path, PROPOSAL_FILE_MAX, &text, &size, NULL) == 0)
        sha256(text, size, hash);
    cli_hex(hash, sizeof(hash), hex);
    fprintf(out, "rules %s\n", hex);
}

char *options_fingerprint(const struct options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    const struct {
        const char *name;
        const struct option_list *list;
    } lists[] = {
        { "trust", &options->trust },
        { "allow", &options->allow },
        { "deny", &options->deny },
        { "package", &options->package },
        { "env", &options->env },
        { "merge", &options->merge },
        { "listen", &options->listen },
        { "connect", &options->connect },
        { "insecure_given", &options->insecure_given },
    };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        for (size_t k = 0; k < lists[i].list->count; k++)
            fprintf(out, "%s %zu %s\n", lists[i].name, strlen(lists[i].list->items[k]),
                    lists[i].list->items[k]);
    }
    for (size_t i = 0; i < options->rules.count; i++)
        print_content(out, options->rules.items[i]);
    fprintf(out,
            "exec_deny %d\nargs_host %d\ndebug %d\nheap %" PRIu64 "\nthreads %" PRIu32
            "\nprocesses %" PRIu32 "\n",
            options->exec_deny, options->args_host, options->debug || options->strace,
            options->heap, options->threads, options->processes);
    fprintf(out, "isv_prod_id %u\nisv_svn %u\n", options->isv_prod_id, options->isv_svn);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

int options_run(const struct verb *verb, int argc, char **argv)
{
    CLEANUP(options_done) struct options options;
    int r = options_parse(verb, argc, argv, &options);
    if (r != CLI_OK)
        return r;
    if (options.help) {
        options_help(verb);
        return cli_finish_output();
    }
    return verb->run(verb, &options);
}
