/* Lines for people, audit lines, refusals, the end in a panic. Tier: enclave. */
#include <stdbool.h>
#include <stdint.h>

#include "abi/manifest.h"
#include "arch/exception.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "thread/threads.h"

#define LINE_MAX 1024

struct out {
    char *buf;
    size_t size, used;
};

static void put(struct out *o, char c)
{
    if (o->used + 1 < o->size)
        o->buf[o->used++] = c;
}

static void put_padded(struct out *o, const char *s, size_t n, unsigned width, char pad)
{
    for (; width > n; width--)
        put(o, pad);
    while (n--)
        put(o, *s++);
}

static void put_number(struct out *o, uint64_t value, unsigned base, bool negative, unsigned width,
                       char pad)
{
    char digits[24];
    size_t n = sizeof(digits);
    do {
        digits[--n] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    if (negative)
        digits[--n] = '-';
    put_padded(o, digits + n, sizeof(digits) - n, width, pad);
}

int format_v(char *buf, size_t size, const char *fmt, __builtin_va_list args)
{
    struct out o = { buf, size, 0 };
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            put(&o, *fmt);
            continue;
        }
        fmt++;
        char pad = ' ';
        unsigned width = 0;
        int precision = -1;
        if (*fmt == '0') {
            pad = '0';
            fmt++;
        }
        for (; *fmt >= '0' && *fmt <= '9'; fmt++)
            width = width * 10 + (unsigned)(*fmt - '0');
        if (fmt[0] == '.' && fmt[1] == '*') {
            precision = __builtin_va_arg(args, int);
            fmt += 2;
        }
        bool wide = false;
        while (*fmt == 'l' || *fmt == 'z') {
            wide = true;
            fmt++;
        }
        switch (*fmt) {
        case 'd': {
            int64_t v = wide ? __builtin_va_arg(args, int64_t) : __builtin_va_arg(args, int);
            put_number(&o, v < 0 ? -(uint64_t)v : (uint64_t)v, 10, v < 0, width, pad);
            break;
        }
        case 'u':
        case 'x': {
            uint64_t v = wide ? __builtin_va_arg(args, uint64_t) : __builtin_va_arg(args, unsigned);
            put_number(&o, v, *fmt == 'x' ? 16 : 10, false, width, pad);
            break;
        }
        case 'p':
            put(&o, '0');
            put(&o, 'x');
            put_number(&o, (uint64_t) __builtin_va_arg(args, void *), 16, false, 0, ' ');
            break;
        case 'c': put(&o, (char)__builtin_va_arg(args, int)); break;
        case 's': {
            const char *s = __builtin_va_arg(args, const char *);
            if (!s)
                s = "(null)";
            put_padded(&o, s, precision >= 0 ? strnlen(s, (size_t)precision) : strlen(s), width,
                       ' ');
            break;
        }
        case '%': put(&o, '%'); break;
        default: put(&o, '?'); break;
        }
    }
    if (size)
        buf[o.used] = '\0';
    return (int)o.used;
}

int format(char *buf, size_t size, const char *fmt, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, fmt);
    int n = format_v(buf, size, fmt, args);
    __builtin_va_end(args);
    return n;
}

static void line(enum ocall_log_level level, const char *fmt, __builtin_va_list args)
{
    char text[LINE_MAX];
    int n = format_v(text, sizeof(text), fmt, args);
    border_put(0, text, (uint64_t)n);
    (void)border_call2(OCALL_LOG, 0, level, (uint64_t)n);
}

void log_error(const char *fmt, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, fmt);
    line(OCALL_LOG_ERROR, fmt, args);
    __builtin_va_end(args);
}

void log_note(const char *fmt, ...)
{
    __builtin_va_list args;
    __builtin_va_start(args, fmt);
    line(OCALL_LOG_NOTE, fmt, args);
    __builtin_va_end(args);
}

void panic(const char *fmt, ...)
{
    char text[LINE_MAX];
    __builtin_va_list args;
    __builtin_va_start(args, fmt);
    int n = format_v(text, sizeof(text), fmt, args);
    __builtin_va_end(args);
    for (;;) {
        border_put(0, text, (uint64_t)n);
        (void)border_call1(OCALL_PANIC, 0, (uint64_t)n);
    }
}

void audit(enum ocall_audit_event event, int error, uint64_t value, const char *path,
           uint64_t path_size)
{
    if (path_size > MANIFEST_PATH_MAX)
        path_size = MANIFEST_PATH_MAX;
    struct ocall_audit record = {
        .event = event,
        .error = (uint32_t)error,
        .value = value,
        .pid = (uint32_t)process_pid(),
        .tid = (uint32_t)current()->tid,
        .path_size = (uint32_t)path_size,
    };
    border_put(0, &record, sizeof(record));
    if (path)
        border_put(sizeof(record), path, path_size);
    (void)border_call1(OCALL_AUDIT, 0, sizeof(record) + path_size);
}

void refuse(const struct ocall_refusal *refusal, const char *path, uint64_t path_size)
{
    struct ocall_refusal record = *refusal;
    if (path_size > MANIFEST_PATH_MAX)
        path_size = MANIFEST_PATH_MAX;
    record.path_size = (uint32_t)path_size;
    border_put(0, &record, sizeof(record));
    border_put(sizeof(record), path, path_size);
    (void)border_call1(OCALL_REFUSE, 0, sizeof(record) + path_size);
}

void refuse_abort(struct ocall_refusal *refusal, const char *path, uint64_t path_size)
{
    refusal->action = OCALL_REFUSED_ABORT;
    /* A host that comes back from this is told again, for ever: the program never goes on. */
    for (;;)
        refuse(refusal, path, path_size);
}
