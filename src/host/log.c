#include "host/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/fs.h"

static int g_fd = 2;

void log_init(void)
{
    int fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0)
        g_fd = fd;
}

int log_fd(void)
{
    return g_fd;
}

void log_redirect(int fd)
{
    g_fd = fd;
}

void log_raw(const char *text, size_t size)
{
    int saved = errno;
    if (write_full(g_fd, text, size) < 0) {
        /* Nowhere left to say it. */
    }
    errno = saved;
}

void log_line(const char *format, ...)
{
    char line[4096] = "sgxpy: ";
    size_t head = strlen(line);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line + head, sizeof(line) - head - 1, format, args);
    va_end(args);
    size_t size = n < 0 ? head : head + (size_t)n;
    if (size > sizeof(line) - 2)
        size = sizeof(line) - 2;
    line[size++] = '\n';
    log_raw(line, size);
}
