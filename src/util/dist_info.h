/*
 * The files of an installed Python distribution: NAME-VERSION.dist-info/RECORD (PEP 376, PEP 627).
 * Tier: hosted. Nothing is kept between calls.
 */
#pragma once

#include <stddef.h>

#include "core/attr.h"

/*
 * Looks in folder (a site-packages) for the distribution called name; names compare as PEP 503 says
 * ("Foo.bar" is "foo-bar"). *ret: its files, each "FOLDER/FIELD" as RECORD spells it (".." is not
 * resolved), NULL-terminated; the caller frees each and the list. -ENOENT: none here, or without
 * RECORD; -EBADMSG: RECORD is broken; -ENOMEM.
 */
MUST_CHECK int dist_info_files(const char *folder, const char *name, char ***ret,
                               size_t *ret_count);
