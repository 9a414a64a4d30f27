/* The library OS image that the options name, or the installed one. Tier: hosted. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "cli/options.h"
#include "core/attr.h"
#include "util/err.h"

/* Marks, in SIGSTRUCT.SWDEFINED, an enclave signed with a key that `run` made by itself. */
#define LIBRARY_OS_AUTOMATIC_KEY 0x4f545541u /* "AUTO" */

struct library_os {
    char *path;        /* owned */
    const void *image; /* mapped */
    size_t size;
    uint8_t sha256[SGX_HASH_SIZE];
};

/* Free *ret with free(). */
MUST_CHECK int library_os_path(const struct options *options, char **ret, struct err *err);
/* library_os_done() also after a failure. */
MUST_CHECK int library_os_load(const struct options *options, struct library_os *ret,
                               struct err *err);
void library_os_done(struct library_os *l);
