#include "util/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put(struct err *err, const char *text, const char *tail)
{
    int n = snprintf(err->text, sizeof(err->text), "%s%s", text, tail);
    if (n >= (int)sizeof(err->text))
        memcpy(err->text + sizeof(err->text) - 4, "...", 4);
}

int err_set(struct err *err, int code, const char *format, ...)
{
    int saved = errno;
    if (err) {
        char text[ERR_TEXT_MAX];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        put(err, text, "");
        err->code = code;
        err->exit_code = 0;
    }
    errno = saved;
    return code;
}

int err_wrap(struct err *err, const char *format, ...)
{
    if (!err)
        return -EIO;
    int saved = errno;
    char head[ERR_TEXT_MAX];
    char tail[ERR_TEXT_MAX + 2];
    va_list args;
    va_start(args, format);
    vsnprintf(head, sizeof(head), format, args);
    va_end(args);
    snprintf(tail, sizeof(tail), ": %s", err->text);
    put(err, head, tail);
    errno = saved;
    return err->code;
}

int err_exit(struct err *err, int exit_code)
{
    if (!err)
        return -EIO;
    err->exit_code = exit_code;
    return err->code;
}
