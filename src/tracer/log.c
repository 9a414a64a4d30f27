#include "tracer/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracer/trace.h"
#include "util/fs.h"

/* Windows begin small, for small programs and users with a limit on file sizes. */
#define WINDOW_FIRST ((size_t)64 << 10)
#define WINDOW_MAX   ((size_t)1 << 20)

uint32_t log_checksum(const uint8_t *data, size_t size)
{
    uint64_t h = 0xcbf29ce484222325u ^ size;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    uint64_t word = 0;
    memcpy(&word, data, size);
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(h ^ (h >> 32));
}

/* Blocks on disk for [offset, offset + size). A limit on file sizes is an error, not SIGXFSZ; and no other signal
 * interrupts it (EINTR). */
static int allocate(int fd, uint64_t offset, size_t size)
{
    sigset_t limit, all, saved;
    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &saved);
    int r = posix_fallocate(fd, (off_t)offset, (off_t)size);
    const struct timespec now = { 0 };
    if (r == EFBIG && !sigismember(&saved, SIGXFSZ))
        sigtimedwait(&limit, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    return -r;
}

/* Moves the window so that `need` bytes fit behind what is used. */
static int window_move(struct log *log, size_t need)
{
    uint64_t at = log->map_offset + log->used;
    uint64_t offset = at & ~(uint64_t)4095;
    size_t size = 2 * log->map_size < WINDOW_FIRST ? WINDOW_FIRST
                  : 2 * log->map_size > WINDOW_MAX ? WINDOW_MAX
                                                   : 2 * log->map_size;
    size_t least = (size_t)(at - offset) + need;
    if (size < least)
        size = (least + WINDOW_FIRST - 1) & ~(WINDOW_FIRST - 1);

    /* Never a hole below the mapping: a full disk is an error here, not a SIGBUS later. */
    int r = allocate(log->fd, offset, size);
    if (r < 0)
        return r;
    uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, (off_t)offset);
    if (map == MAP_FAILED)
        return -errno;
    if (log->map)
        munmap(log->map, log->map_size);
    log->map = map;
    log->map_size = size;
    log->map_offset = offset;
    log->used = (size_t)(at - offset);
    return 0;
}

static void log_undo(struct log *log)
{
    if (log->temporary)
        unlink(log->temporary);
    close_p(&log->fd);
    free(log->temporary);
    free(log->path);
    *log = (struct log){ .fd = -1 };
}

static int log_create(struct log *log, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    log->path = strdup(path);
    if (!log->path || asprintf(&log->temporary, "%s.XXXXXX", path) < 0) {
        log->temporary = NULL;
        return -ENOMEM;
    }
    CLEANUP(close_p) int fd = mkostemp(log->temporary, O_CLOEXEC);
    if (fd < 0) {
        int e = -errno;
        free(log->temporary);
        log->temporary = NULL;
        return e;
    }
    if (fstat(fd, &st) < 0 || fchmod(fd, 0600) < 0)
        return -errno;
    log->dev = st.st_dev;
    log->ino = st.st_ino;
    /* Out of the way of the program's descriptors, which the child keeps as they are. */
    log->fd = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    if (log->fd < 0)
        log->fd = TAKE_FD(fd);
    return window_move(log, LOG_HEAD_SIZE);
}

int log_open(struct log *log, const char *path, struct err *err)
{
    *log = (struct log){ .fd = -1 };
    int r = log_create(log, path);
    if (r < 0) {
        log_undo(log);
        return err_set(err, r, "creating trace '%s': %s", path,
                       r == -EINVAL ? "not a regular file" : strerror(-r));
    }
    const uint32_t version = TRACE_VERSION;
    memcpy(log->map, LOG_MAGIC, sizeof(LOG_MAGIC));
    memcpy(log->map + sizeof(LOG_MAGIC), &version, sizeof(version));
    log->used = LOG_HEAD_SIZE;
    return 0;
}

void log_publish(struct log *log)
{
    if (!log->temporary)
        return;
    if (rename(log->temporary, log->path) < 0) {
        log->failed = log->failed ? log->failed : -errno;
        return;
    }
    free(log->temporary);
    log->temporary = NULL;
}

static uint8_t *record_room(struct log *log, size_t size)
{
    if (log->failed)
        return NULL;
    if (size > log->record_room - log->record_size) {
        size_t room = log->record_room ? log->record_room : 4096;
        while (room - log->record_size < size && room <= LOG_RECORD_MAX)
            room *= 2;
        uint8_t *p = room <= 2 * (size_t)LOG_RECORD_MAX ? realloc(log->record, room) : NULL;
        if (!p || room - log->record_size < size) {
            log->record = p ? p : log->record;
            log->failed = p ? -EFBIG : -ENOMEM;
            return NULL;
        }
        log->record = p;
        log->record_room = room;
    }
    return log->record + log->record_size;
}

void log_begin(struct log *log, enum log_kind kind)
{
    log->record_size = 0;
    uint8_t *p = record_room(log, 1);
    if (p) {
        *p = (uint8_t)kind;
        log->record_size = 1;
    }
}

void log_number(struct log *log, uint64_t value)
{
    uint8_t *p = record_room(log, 10);
    if (!p)
        return;
    size_t n = 0;
    while (value >= 0x80) {
        p[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    p[n++] = (uint8_t)value;
    log->record_size += n;
}

void log_bytes(struct log *log, const void *data, size_t size)
{
    log_number(log, size);
    uint8_t *p = record_room(log, size + 1);
    if (!p)
        return;
    if (size)
        memcpy(p, data, size);
    p[size] = 0;
    log->record_size += size + 1;
}

void log_string(struct log *log, const char *text)
{
    log_bytes(log, text, strlen(text));
}

void log_end(struct log *log)
{
    if (log->failed)
        return;
    size_t need = 8 + log->record_size;
    if (log->record_size > LOG_RECORD_MAX) {
        log->failed = -EFBIG;
        return;
    }
    /* Eight more: the reader finds the zero size that ends the log. */
    if (need + 8 > log->map_size - log->used) {
        log->failed = window_move(log, need + 8);
        if (log->failed)
            return;
    }
    uint8_t *at = log->map + log->used;
    uint32_t size = (uint32_t)log->record_size;
    uint32_t sum = log_checksum(log->record, log->record_size);
    memcpy(at + 8, log->record, log->record_size);
    memcpy(at + 4, &sum, sizeof(sum));
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    memcpy(at, &size, sizeof(size));
    log->used += need;
}

int log_close(struct log *log)
{
    int r = log->failed;
    if (log->map)
        munmap(log->map, log->map_size);
    if (log->fd >= 0) {
        if (ftruncate(log->fd, (off_t)(log->map_offset + log->used)) < 0 && !r)
            r = -errno;
        if (close(log->fd) < 0 && !r)
            r = -errno;
    }
    free(log->record);
    log->fd = -1;
    log_undo(log);
    log->failed = r;
    return r;
}
