/* `sgxpy show --why PATH`: the evidence behind a record, from the traces. Tier: hosted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "cli/options.h"
#include "core/attr.h"
#include "manifest/cascade.h"
#include "tracer/trace.h"
#include "util/err.h"

/* options->why: a path, or a network rule. For one node, or for each that has it or whose processes touched it (node SIZE_MAX). path: of the
 * bundle or cascade; beside it the trace is looked for where options->traces names none. */
MUST_CHECK int show_why(const char *path, const struct cascade *c, size_t node,
                        const struct options *options, struct err *err);
/* Whether --why asks about a network rule, as `show` prints it ("connect tcp 10.0.0.1:80"), and not a path. */
bool show_why_is_rule(const char *text);
/* What each process of one trace did to the path. */
void show_why_trace(const char *name, const struct trace *trace, const char *path);
