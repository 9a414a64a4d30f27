/*
 * Traces that are made here by hand, over files in a fresh folder (not below /tmp, which is
 * scratch), for tests of manifest_build. What fails ends the test.
 */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "manifest/build.h"
#include "manifest/cascade.h"
#include "tracer/trace.h"
#include "util/err.h"

#define PATHS_MAX 128

/* Bits as tests' tables write them. */
#define W   TRACE_WRITTEN
#define C   (TRACE_CREATED | TRACE_WRITTEN)
#define T   (TRACE_TRUNCATED | TRACE_WRITTEN)
#define R   TRACE_READ
#define OUT MANIFEST_OUTPUT

struct world {
    char root[PATH_MAX]; /* canonical */
    char program[PATH_MAX];
    struct trace trace;
    struct trace_process process;
    struct trace_path paths[PATHS_MAX];
    struct trace_access accesses[PATHS_MAX];
    struct trace_name *names[PATHS_MAX];
    char *argv[8], *envp[24];
};

/* One process, which runs the test's own program; the folder is its current one. */
void world_start(struct world *w);
void world_end(struct world *w);
/* name in the folder, "" is itself; one of four static buffers. */
char *world_at(const struct world *w, const char *name);
/* Writes a file, with the folders above it. */
void world_put(const struct world *w, const char *name, const char *content);
/* The program touches a path; its state now is "before". Returns the path's index. */
uint32_t world_touch(struct world *w, const char *name, uint32_t bits);
/* The files as they are now are "after". */
void world_run_ends(struct world *w);

/* rules NULL: none. NULL: it failed. */
struct cascade *world_build(struct world *w, const struct manifest_rules *rules,
                            struct manifest_report *report, struct err *err);
struct cascade *world_must_build(struct world *w, const struct manifest_rules *rules);
/* The root's record, or NULL; and what it has to be, class 0: none. */
const struct cascade_file *world_find(const struct world *w, const struct cascade *c,
                                      const char *name);
void world_expect(const struct world *w, const struct cascade *c, const char *name, uint32_t class,
                  uint32_t flags);
