/* Texts that grow, and files over them. Tier: enclave. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"

struct text {
    char *bytes; /* heap; NUL after size */
    uint64_t size, room;
    bool failed; /* no memory: nothing more is added */
};

void text_put(struct text *t, const void *bytes, uint64_t size);
/* A line of at most 511 bytes. */
void text_add(struct text *t, const char *fmt, ...) PRINTF(2, 3);
