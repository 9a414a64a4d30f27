#include "host/quote.h"

#include <stdint.h>
#include <stdio.h>

/* Length of the well-formed UTF-8 sequence at p (RFC 3629, section 4), or 0. */
static size_t sequence(const uint8_t *p, size_t size)
{
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xc2 && p[0] <= 0xdf   ? 2
                    : p[0] >= 0xe0 && p[0] <= 0xef ? 3
                    : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                                   : 0;
    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

char *quote(const char *text, size_t size, char *ret)
{
    const uint8_t *p = (const uint8_t *)text;
    char *to = ret;
    *to++ = '\'';
    for (size_t i = 0; i < size;) {
        size_t length = sequence(p + i, size - i);
        bool c1 = length == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0;
        if (p[i] == '\'' || p[i] == '\\') {
            *to++ = '\\';
            *to++ = (char)p[i++];
        } else if (p[i] == '\n' || p[i] == '\t') {
            *to++ = '\\';
            *to++ = p[i++] == '\n' ? 'n' : 't';
        } else if (length == 0 || p[i] < 0x20 || p[i] == 0x7f || c1) {
            for (size_t n = c1 ? 2 : 1; n; n--)
                to += sprintf(to, "\\x%02x", p[i++]);
        } else {
            for (; length; length--)
                *to++ = (char)p[i++];
        }
    }
    *to++ = '\'';
    *to = '\0';
    return ret;
}

bool quote_is_utf8(const char *text, size_t size)
{
    const uint8_t *p = (const uint8_t *)text;
    for (size_t i = 0; i < size;) {
        size_t length = p[i] ? sequence(p + i, size - i) : 0;
        if (length == 0)
            return false;
        i += length;
    }
    return true;
}

void quote_scrub(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
            text[i] = '?';
    }
}
