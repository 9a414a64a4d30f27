/*
 * Text from the enclave or a file system, made fit for a terminal and for logs. Tier: hosted. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Bytes that quote() may need for size bytes of text: each may become \xNN, and two quotes, a NUL.
 */
#define QUOTE_SIZE(size) (4 * (size) + 3)

/*
 * 'text' in single quotes: UTF-8 stays; control characters (C0, DEL, C1), bytes that are no UTF-8,
 * quotes and backslashes become \n, \t, \xNN, \', \\. ret holds QUOTE_SIZE(size); returns ret.
 */
char *quote(const char *text, size_t size, char *ret);
/* Whether all is well-formed UTF-8 (RFC 3629), without NUL. */
bool quote_is_utf8(const char *text, size_t size);
/* Makes text harmless in place: control characters but newline and tab become '?'. */
void quote_scrub(char *text, size_t size);
