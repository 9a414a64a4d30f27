/*
 * The border: the only way out of the enclave. Everything that comes back is hostile: it is copied in
 * exactly once, range checked here, and only the copy is used. Tier: enclave.
 *
 * A thread's data window (OCALL_DATA_SIZE bytes outside ELRANGE) is used by whoever makes the next
 * OCALL, and taking a page fault on program memory may make one. So never touch program memory between
 * filling the window and emptying it, except through border_put_user / border_get_user, which bring
 * the program's pages in before they touch the window. For the same reason: fill the window right
 * before border_call and empty it right after.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "core/attr.h"

/* Makes an OCALL. Returns ret if it is within [min, max] or a plausible errno (-1..-4095); anything
 * else, also a success above max, is a lie of the host and reads as -EIO. */
int64_t border_call(enum ocall_nr nr, uint64_t max, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3, uint64_t a4, uint64_t a5);
#define border_call0(nr, max)             border_call(nr, max, 0, 0, 0, 0, 0, 0)
#define border_call1(nr, max, a)          border_call(nr, max, a, 0, 0, 0, 0, 0)
#define border_call2(nr, max, a, b)       border_call(nr, max, a, b, 0, 0, 0, 0)
#define border_call3(nr, max, a, b, c)    border_call(nr, max, a, b, c, 0, 0, 0)
#define border_call4(nr, max, a, b, c, d) border_call(nr, max, a, b, c, d, 0, 0)

/* out[i] of the last OCALL of this thread: host's word, one read. */
uint64_t border_out(unsigned i);
/* Library OS memory to and from the window. offset + size <= OCALL_DATA_SIZE is asserted. */
void border_put(uint64_t offset, const void *src, uint64_t size);
void border_get(void *dst, uint64_t offset, uint64_t size);
/* Program memory to and from the window; -EFAULT without having touched the window beyond size. */
MUST_CHECK int border_put_user(uint64_t offset, const void *user, uint64_t size);
/* Call user_prefault(dst, size, true) BEFORE the OCALL; this only copies. */
MUST_CHECK int border_get_user(void *user, uint64_t offset, uint64_t size);

/*
 * The same for several pieces of program memory, one after the other: size bytes of them from the skip-th on, at
 * the window's start. The first brings the pages in (write: to be written to) and may make OCALLs: call it before;
 * the others only copy. -EFAULT.
 */
struct iovec;
MUST_CHECK int border_prefault_pieces(const struct iovec *iov, uint64_t count, uint64_t skip,
                                      uint64_t size, bool write);
/* To be written to: brings in the first least bytes, and counts what is there already after them: what an answer
 * may have that is mostly shorter than the room for it. -EFAULT only if not even those are to be had. */
MUST_CHECK int64_t border_prefault_some(const struct iovec *iov, uint64_t count, uint64_t skip,
                                        uint64_t size, uint64_t least);
MUST_CHECK int border_put_pieces(const struct iovec *iov, uint64_t count, uint64_t skip,
                                 uint64_t size);
MUST_CHECK int border_get_pieces(const struct iovec *iov, uint64_t count, uint64_t skip,
                                 uint64_t size);

/* One line to the user's stderr (through the host); printf subset: %s %d %u %x %lx %lu %ld %c %zu. */
void log_error(const char *format, ...) PRINTF(1, 2);
void log_note(const char *format, ...) PRINTF(1, 2);
/* The library OS cannot go on: says why, ends the process. */
NORETURN void panic(const char *format, ...) PRINTF(1, 2);
#define ASSERT(x) ((x) ? (void)0 : panic("%s:%d: %s", __FILE__, __LINE__, #x))
/* Bounded snprintf with the same subset; returns the length written, always NUL-terminates. */
int format(char *buf, size_t size, const char *fmt, ...) PRINTF(3, 4);
int format_v(char *buf, size_t size, const char *fmt, __builtin_va_list args);

/* One audit line: event, the errno the program gets, and a path or name (may be NULL). */
void audit(enum ocall_audit_event event, int error, uint64_t value, const char *path,
           uint64_t path_size);
/* An integrity violation. With OCALL_REFUSED_ABORT there is no return. */
void refuse(const struct ocall_refusal *refusal, const char *path, uint64_t path_size);
NORETURN void refuse_abort(struct ocall_refusal *refusal, const char *path, uint64_t path_size);

/* Nanoseconds. Monotonic never goes back (host's word is clamped; TSC once calibrated). */
uint64_t clock_monotonic(void);
uint64_t clock_realtime(void);
