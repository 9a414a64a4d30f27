/*
 * The untrusted runtime's one way to the user: whole lines on stderr, each by one write. It keeps a
 * descriptor of its own, so that a refusal is seen also after the program closed or redirected its
 * stderr. Tier: hosted. Internal to src/host. Any thread.
 */
#pragma once

#include <stddef.h>

#include "core/attr.h"

/* Before anything else of this file; without it messages go to descriptor 2. */
void log_init(void);
/* "sgxpy: TEXT\n". Cut after 4 KiB. */
void log_line(const char *format, ...) PRINTF(1, 2);
/* As it is: text of size bytes. */
void log_raw(const char *text, size_t size);
/* Where the lines go. */
int log_fd(void);
/* For tests, and for a process that inherits another's: lines go to this descriptor. */
void log_redirect(int fd);
