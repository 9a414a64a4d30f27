/*
 * What the verbs share: the verb table's entry, exit codes, messages. One file per verb; a verb
 * parses its options (options.h), calls the hosted parts and returns the exit code. Tier: hosted.
 * Only the CLI writes to the user's streams; results go to stdout, everything else to stderr.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "util/err.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_USAGE = 2,     /* usage or input */
    CLI_INTEGRITY = 3, /* what runs or is read is not what was signed */
    CLI_START = 4,     /* the enclave could not start */
};

struct options;
struct verb {
    const char *name;
    const char *arguments; /* "[OPTION...] -- COMMAND [ARGUMENT...]" */
    const char *summary;   /* one line of `sgxpy --help` */
    const char *details;   /* paragraphs of `sgxpy VERB --help`, before the options; may be NULL */
    unsigned groups;       /* enum option_group: which options it takes */
    int (*run)(const struct verb *verb, struct options *options); /* by options_run() */
};

extern const struct verb verb_run, verb_trace, verb_manifest, verb_sign, verb_show, verb_keygen,
    verb_doctor;

/* "sgxpy: TEXT\n" on stderr. */
void cli_note(const char *format, ...) PRINTF(1, 2);
/* Prints err as one line and returns the exit code it asks for, CLI_USAGE if it asks for none. */
int cli_fail(const struct err *err);
/* A mistake in the command line: "sgxpy VERB: TEXT" and where help is; returns CLI_USAGE. */
int cli_usage(const struct verb *verb, const char *format, ...) PRINTF(2, 3);

/* -EEXIST if an output named by mistake would cost a file: path is a regular file that is not empty, and its first 4 KiB
 * do not hold mark, as a `what` does. */
MUST_CHECK int cli_may_replace(const char *path, const char *mark, const char *what,
                               struct err *err);

/* Flushes stdout; CLI_OK, or CLI_USAGE with a message where the output did not get through. */
int cli_finish_output(void);

/* Lower-case hex of size bytes into ret, which holds 2 * size + 1. */
void cli_hex(const void *bytes, size_t size, char *ret);
/* "61 MB", "1.2 kB", "12 bytes" into ret (at least 32 bytes); returns ret. */
char *cli_size(uint64_t bytes, char *ret);

/* The first of these places (relative to this program's folder; NULL ends them) where there is a
 * file: absolute path, free with free(). name is for the message. */
MUST_CHECK int cli_own_file(const char *name, const char *const *places, char **ret,
                            struct err *err);
/* The installed or built library OS image: absolute path, free with free(). */
MUST_CHECK int cli_libos_path(char **ret, struct err *err);
/* $XDG_DATA_HOME/sgxpy or ~/.local/share/sgxpy (variable "XDG_DATA_HOME", fallback ".local/share");
 * likewise the cache. Without HOME: the home that /etc/passwd names. Not created. Free with free(). */
MUST_CHECK int cli_xdg_path(const char *variable, const char *fallback, char **ret,
                            struct err *err);
/* path with the user's home written "~"; in a static buffer. */
const char *cli_pretty_path(const char *path);

/* Finds command as execvp(3) does and resolves it to an absolute path without symlinks... of its
 * folders and itself. -ENOENT, -EACCES. Free with free(). */
MUST_CHECK int cli_find_program(const char *command, char **ret, struct err *err);
