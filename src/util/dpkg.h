/*
 * Which Debian package owns a file: the lists in /var/lib/dpkg/info. Tier: hosted. Nothing is
 * kept between calls; one call reads the lists until it finds the path (tens of milliseconds), so
 * it is for messages only.
 */
#pragma once

#include <stddef.h>

#include "core/attr.h"

/*
 * Writes the package's name ("python3-numpy", without architecture) into ret, cut to size.
 * A path below /usr/{bin,sbin,lib*} is also looked up as dpkg may still know it, without "/usr".
 * 0, -ENOENT (no package, or no dpkg here), -ENOMEM.
 */
MUST_CHECK int dpkg_owner(const char *path, char *ret, size_t size);
/* The same below another folder than /var/lib/dpkg/info. */
MUST_CHECK int dpkg_owner_at(const char *info, const char *path, char *ret, size_t size);
/* All paths of a package, NULL-terminated, owned by the caller (each free(), then the list).
 * -ENOENT: not installed. */
MUST_CHECK int dpkg_files(const char *package, char ***ret, size_t *ret_count);
