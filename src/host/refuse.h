/*
 * What a user reads when the enclave refuses a file (DESIGN.md, section 10). Tier: hosted,
 * untrusted. Internal to src/host.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "abi/ocall.h"
#include "core/manifest_view.h"

/*
 * The message, several lines, each with "sgxpy: " in front and a newline at its end; free with
 * free(), NULL without memory. manifest (may be NULL) gives the whole file's SHA-256, which is set
 * against the file's content as it is now, for `sha256sum`. package (may be NULL) owns the file.
 * The last line says what to do: with a bundle (bundle_given) other than with a command; nothing where the user
 * said by --deny what happens.
 */
char *refuse_text(const struct ocall_refusal *refusal, const char *path, size_t path_size,
                  const struct manifest_view *manifest, const char *package, bool bundle_given);
/* 3; 4 for a file that this user may not open. */
int refuse_exit_code(const struct ocall_refusal *refusal);
