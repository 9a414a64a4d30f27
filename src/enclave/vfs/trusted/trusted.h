/*
 * Files whose metadata is measured: trusted ones, whose content is too (chunks.h), and named ones,
 * which have none. Tier: enclave.
 */
#pragma once

#include "vfs/node.h"

extern const struct file_ops g_trusted_file_ops;
/* What the record says. */
void record_stat(uint32_t record, struct kstat *ret);
