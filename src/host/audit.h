/*
 * The audit file: JSON, one object a line, one write a line, appended; and the count of paths that
 * the manifest does not name. Tier: hosted, untrusted (what it holds is what this host says). Any
 * thread.
 *
 *   {"time": "2026-11-22T16:15:04.123Z", "node": "python3", "pid": 1, "event": "absent",
 *    "path": "/x", ...}
 *
 * All processes of a tree write the same file. Lines are whole, pure ASCII, and stand in the order of their times. A line
 * that would make the file larger than rotate_size first moves it to NAME.1, NAME.1 to NAME.2, up to NAME.keep. What
 * cannot be written (a full disk) is said once a process, counted, and told in a line "lost" when there is room again.
 *
 * pid is the program's own; host_pid this process.
 * Events: absent, not-granted, exec, fork, listing, syscall (number in "value"), write, net ("address",
 * "action" listen or connect, "type" tcp, udp or any, "option" that would allow it; or only a "value"), child,
 * refused, lost ("count", "errno"), panic, exit ("status"; the root's only). A refusal has
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

#define AUDIT_ROTATE_SIZE (16ull << 20) /* what `run` asks for without --audit-size */
#define AUDIT_ROTATE_MIN  4096u
#define AUDIT_KEEP        5u /* and without --audit-keep */
#define AUDIT_KEEP_MAX    1000u

struct audit_options {
    const char *path;     /* NULL: only counts */
    const char *node;     /* label for every line */
    uint64_t rotate_size; /* bytes; 0: it grows without bounds */
    uint32_t keep;        /* older files, at least 1 */
};

/* Created 0600; an existing file is appended to, and must be a regular file. A relative path is looked up now, and
 * never again. Free with audit_free. */
MUST_CHECK int audit_new(const struct audit_options *options, struct audit **ret, struct err *err);
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
/* Lines of this process that could not be written. */
uint64_t audit_lost_count(struct audit *audit);
