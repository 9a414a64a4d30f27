/* The ENCLU sites of a library OS image, from its section ".enclu_sites". Tier: hosted. Pure. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "util/err.h"

#define SITES_MAX 64

/* The section is an array of 64-bit addresses. No such section: *ret_count is 0. -EBADMSG for an
 * ELF file whose sections leave it, or more than SITES_MAX sites. */
MUST_CHECK int sites_find(const void *image, size_t image_size, uint64_t ret[static SITES_MAX],
                          size_t *ret_count, struct err *err);
