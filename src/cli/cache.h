/*
 * What `sgxpy run -- COMMAND` keeps between runs: a folder per command, ./.sgxpy/KEY/ (it has its
 * own .gitignore), or in the XDG cache if ./.sgxpy is not ours to write. KEY is made of executable,
 * arguments, current folder and user. Tier: hosted.
 *
 *   lock      flock(2): held while the folder is looked at or changed
 *   trace     the trace; made only by the first run and by --retrace
 *   cascade.json
 *   bundle.sgx/
 *   stamp     text; written last: what cascade and bundle were made from
 *
 * No file of the program is compared: the enclave does that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "core/attr.h"
#include "util/err.h"

struct cache {
    char key[33]; /* hex */
    char *folder; /* absolute */
    char *trace, *cascade, *bundle, *stamp;
    bool local; /* in ./.sgxpy */
    int lock;   /* -1: not held */
};

/* Zeroed by the caller or not: *ret is set in every case, and cache_done is always right after. */
MUST_CHECK int cache_open(const char *executable, char *const *argv, struct cache *ret,
                          struct err *err);
void cache_done(struct cache *cache);
/* Lets other runs of the same command go on. */
void cache_unlock(struct cache *cache);

/* Whether the trace is there; whether the stamp says that the bundle was made from text. */
bool cache_has_trace(const struct cache *cache);
bool cache_is_current(const struct cache *cache, const char *text);
/* Before the bundle is changed, and after. */
MUST_CHECK int cache_forget(const struct cache *cache, struct err *err);
MUST_CHECK int cache_remember(const struct cache *cache, const char *text, struct err *err);
