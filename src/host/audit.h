/*
 * The audit file: JSON, one object a line, one write a line, appended; and the count of paths that
 * the manifest does not name. Tier: hosted, untrusted (what it holds is what this host says). Any
 * thread.
 *
 *   {"time": "2026-11-22T16:15:04.123Z", "node": "python3", "pid": 1, "event": "absent",
 *    "path": "/x", ...}
 *
 * pid is the program's own; host_pid this process; each process of a tree writes its own lines.
 * Events: absent, not-granted, exec, fork, listing, syscall (number in "value"), write, net, child,
 * refused, panic, exit ("status"; the root's only). A refusal has
 * "kind", "action", "offset", "expected", "actual" (hex of leaf hashes), "expected_size",
 * "actual_size". A path that is no UTF-8 is "path_hex".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "core/attr.h"
#include "util/err.h"

struct audit;

/* path NULL: only counts. node: label for every line. Created 0600; an existing file is appended
 * to, and must be a regular file. Free with audit_free. */
MUST_CHECK int audit_new(const char *path, const char *node, struct audit **ret, struct err *err);
void audit_free(struct audit *audit);

/* path_size bytes of path or name; may be none. */
void audit_event(struct audit *audit, const struct ocall_audit *event, const char *path,
                 size_t path_size);
void audit_refusal(struct audit *audit, const struct ocall_refusal *refusal, const char *path,
                   size_t path_size);
void audit_panic(struct audit *audit, const char *text, size_t size);
void audit_exit(struct audit *audit, int status);

/* Different paths that were answered with ENOENT because the manifest does not name them. */
uint64_t audit_absent_count(struct audit *audit);
