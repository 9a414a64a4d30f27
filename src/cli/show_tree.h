/* The drawing of a process tree for `sgxpy show`. Tier: hosted. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One node; strings and arrays are borrowed. */
struct tree_row {
    const char *label;
    const uint8_t *mrenclave; /* NULL: not signed yet */
    size_t trusted, allowed;  /* files */
    size_t *children;         /* nodes, each once; not the node itself */
    size_t child_count;
    bool starts_itself;
};

/* rows[0] is the root. A node that several start is drawn where it comes first; elsewhere its name only. */
void show_tree(const struct tree_row *rows, size_t count);
/* Bytes that do not print, and backslashes, become \xNN: names come from the traced program. */
void show_text(const char *text);
