/*
 * Outputs: paths that are absent until this run creates them, whatever the host holds: records with
 * MANIFEST_OUTPUT, and everything below a folder that is one. Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

/* Would it be an output that this run has not made (yet)? record: the path's own or MANIFEST_NONE.
 */
bool output_hidden(const char *path, uint32_t size, uint32_t record);
/* The run has made it; whole: with all that is below (a folder that was renamed to here). Nothing
 * happens if it is no output. -ENOMEM. */
MUST_CHECK int output_made(const char *path, uint32_t size, uint32_t record, bool whole);
/* It is gone; whole: and what was below. */
void output_gone(const char *path, uint32_t size, bool whole);
