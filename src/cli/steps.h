/*
 * The steps from trace to bundle, as `manifest`, `sign` and `run` share them: what the user is told
 * stands here once. Tier: hosted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "cli/library_os.h"
#include "cli/options.h"
#include "core/attr.h"
#include "manifest/cascade.h"
#include "signer/keys.h"
#include "tracer/record.h"
#include "util/err.h"

/* What is wrong with an option's value and only building a manifest would say, after the program was traced. */
MUST_CHECK int steps_check_options(const struct options *options, struct err *err);

/*
 * Traces (at most STEPS_TRACES_MAX paths) and rules to a cascade at `output`. own_folder: a folder of
 * ours that no listing shows, beside the traces and the output; NULL: none. Remarks go to stderr
 * unless quiet. Free *ret with cascade_free.
 */
#define STEPS_TRACES_MAX 256
MUST_CHECK int steps_manifest(char *const *traces, size_t trace_count,
                              const struct options *options, const char *output, const char *own,
                              struct cascade **ret, struct err *err);

/* Compiles, measures and signs every node of the cascade file; writes the bundle. *ret_mrenclave:
 * of the root. */
MUST_CHECK int steps_sign(const char *cascade_path, const struct options *options,
                          const struct library_os *library_os, const struct signing_key *key,
                          bool automatic_key, const char *output,
                          uint8_t ret_mrenclave[static SGX_HASH_SIZE], struct err *err);

/* Whether a server (or with --for any program) that was asked to end did so with this exit status: 0, or by the signal
 * that asked it, or killed because it did not. */
bool steps_ended_as_asked(const struct tracer_end *end, int status);

/* "3 programs, 412 files (61 MB), output out.csv" of all, and "heap 256 MiB, 4 threads" of the root node, as
 * remarks.
 * Free with free(); NULL: out of memory. */
char *steps_describe_files(const struct cascade *c);
char *steps_describe_limits(const struct cascade *c);
