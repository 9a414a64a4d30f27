/*
 * Error objects of the hosted tiers: a negative errno and one line for the user that names file,
 * place and reason. Each layer adds its context once, in front: "loading 'x.sgx': 'node 0': ...".
 * Not thread-safe per object.
 */
#pragma once

#include "core/attr.h"

#define ERR_TEXT_MAX 2048

struct err {
    int code;                /* negative errno; 0: no error */
    int exit_code;           /* what the CLI exits with; 0: the verb's default (2) */
    char text[ERR_TEXT_MAX]; /* UTF-8, no newline, cut at the end with "..." */
};

/* Sets code and text and returns code. Keeps errno. err may be NULL (only the code matters). */
int err_set(struct err *err, int code, const char *format, ...) PRINTF(3, 4);
/* Puts "format: " in front of the text there is, returns err->code. Keeps errno. */
int err_wrap(struct err *err, const char *format, ...) PRINTF(2, 3);
/* Says which documented exit code this error ends the CLI with; returns err->code. */
int err_exit(struct err *err, int exit_code);
