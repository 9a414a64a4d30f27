/*
 * The command line's options: one table for parsing and for `VERB --help`. A verb names the groups
 * it takes (`run` takes those of trace, manifest and sign too). Tier: hosted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "core/attr.h"
#include "host/device/device.h"

enum option_group {
    OPTIONS_TRACE = 1u << 0,
    OPTIONS_MANIFEST = 1u << 1,
    OPTIONS_SIGN = 1u << 2,
    OPTIONS_RUN = 1u << 3,
    OPTIONS_SHOW = 1u << 4,
    OPTIONS_OUTPUT = 1u << 5, /* -o FILE */
    OPTIONS_LIBOS = 1u << 6,
    OPTIONS_JSON = 1u << 7,
    OPTIONS_PROPOSE = 1u << 8, /* --from-audit */
};

/* A repeatable option's arguments, in order; they point into argv. */
struct option_list {
    const char **items;
    size_t count;
};

struct options {
    bool help;
    const char *output;

    /* manifest */
    struct option_list trust, allow, deny, package, env, merge, listen, connect, rules,
        insecure_given;
    struct option_list from_audit;
    bool exec_deny, args_host, debug;
    uint64_t heap;      /* bytes; 0: proposed from the trace */
    uint32_t threads;   /* 0: proposed from the trace */
    uint32_t processes; /* 0: proposed from the trace */

    /* sign */
    const char *key;
    uint16_t isv_prod_id, isv_svn;

    /* run */
    enum device_kind device;
    bool poison, quiet, strace, stats, retrace;
    uint32_t trace_ms; /* --for; 0: until the program ends */
    const char *audit;
    uint64_t audit_size; /* bytes; 0: never rotated */
    uint32_t audit_keep;
    const char *hostile; /* tests: see host/hostile.h */

    bool json, files;
    const char *why; /* show: a path */
    struct option_list traces;
    const char *libos;

    /* What stands after the options. after_dashes: a "--" was in front of it. */
    char **rest;
    int rest_count;
    bool after_dashes;
};

/* Zeroes *ret and parses argv (argv[0] is the verb). Options end at the first other word if the
 * verb runs programs (OPTIONS_RUN, OPTIONS_TRACE), else they may stand anywhere. CLI_OK, or
 * CLI_USAGE with the message printed. options_done also after a failure. */
MUST_CHECK int options_parse(const struct verb *verb, int argc, char **argv, struct options *ret);
void options_done(struct options *options);

/* `sgxpy VERB --help` on stdout. */
void options_help(const struct verb *verb);

/* Parses the verb's command line as options_parse, and runs it, or prints its help; the exit code. */
int options_run(const struct verb *verb, int argc, char **argv);

/* "256M", "4 GiB", "65536": bytes, into *ret; -EINVAL (syntax) or -ERANGE. */
MUST_CHECK int options_parse_size(const char *text, uint64_t *ret);
/* "500ms", "10s", "2m", "1h": milliseconds, 1 to a day, into *ret; -EINVAL (syntax, no unit) or -ERANGE. */
MUST_CHECK int options_parse_time(const char *text, uint32_t *ret);

/* Everything that shapes cascade and enclave, as one line per option in a fixed order: two runs
 * with the same text may share what was built. Free with free(). NULL: out of memory. */
char *options_fingerprint(const struct options *options);
