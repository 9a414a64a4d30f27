/*
 * The trace's log: writing records so that a crash loses nothing. Tier: hosted. Format: trace.h.
 * Single-threaded.
 *
 * The file is written through a shared mapping: what was put is in the page cache at once, so the
 * death of the recorder, even by SIGKILL, cannot tear it out again. A record's size field is
 * stored last; until then the reader finds size 0, the end.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"
#include "util/err.h"

#define LOG_MAGIC      "sgxpy-trace" /* with its NUL: 12 bytes */
#define LOG_HEAD_SIZE  16u           /* magic and version */
#define LOG_RECORD_MAX (64u << 20)   /* payload bytes */

/* What a record says; its fields in order. [x]: LEB128 number, "x": bytes with NUL, size first. */
enum log_kind {
    LOG_RUN = 1,     /* [time] "hostname" "kernel" "cwd" [argc] "arg"... */
    LOG_PROCESS = 2, /* [pid] [start] [parent + 1] [how] [clone flags] [uid] [gid] [umask] "cwd";
                        how ROOT, EXEC: "exec name" "executable" [its path + 1]
                        [PT_INTERP path + 1] [n] [chain path]... [n] "arg"... [n] "NAME=VALUE"... */
    LOG_PATH = 3,    /* "path" STAT */
    LOG_TARGET = 4,  /* [path] "link target" */
    LOG_ACCESS = 5,  /* [process] [path] [bits] */
    LOG_LIST = 6,    /* [path] [n] ([type] "name")... */
    LOG_MOVE = 7,    /* [kind] [process] [from] [to] */
    LOG_SOCKET = 8,  /* [process] [bits] [path + 1] "raw sockaddr" (its size excludes the NUL) */
    LOG_EXIT = 9,    /* [process] [replaced] [wait status] [VmPeak bytes] [peak threads] */
    LOG_NOTE = 10,   /* [process + 1] [incomplete] "text" */
    LOG_AFTER = 11,  /* [path] STAT: differs at the end of the run */
    LOG_END = 12,    /* [processes] [paths]: nothing follows */
    /* [process] [bits] [socket type] "raw sockaddr" "its own sockaddr, or nothing": IPv4, IPv6 */
    LOG_NET = 13,
};
/* STAT: [mode], and unless 0: [uid] [gid] [size] [zigzag mtime seconds] [nanoseconds] [dev] [ino]
 * [nlink] [rdev] */

struct log {
    int fd;
    char *path;      /* where it is to stand */
    char *temporary; /* where it stands, until log_publish */
    uint64_t dev, ino;
    uint8_t *map; /* window of the file */
    size_t map_size;
    uint64_t map_offset;
    size_t used; /* bytes of the window that hold records */
    uint8_t *record;
    size_t record_size, record_room;
    int failed; /* negative errno of the first failure: later records are dropped */
};

/*
 * Creates a log, mode 0600, under a name beside path, and writes the head. What stands at path
 * stays until log_publish puts the log there: a run that does not come about destroys nothing. log
 * is undefined on failure.
 */
MUST_CHECK int log_open(struct log *log, const char *path, struct err *err);
/* Renames it to its path; a failure sticks in log->failed. */
void log_publish(struct log *log);

/* One record at a time: begin, fields, end. Failures stick in log->failed. */
void log_begin(struct log *log, enum log_kind kind);
void log_number(struct log *log, uint64_t value);
void log_string(struct log *log, const char *text);
void log_bytes(struct log *log, const void *data, size_t size);
void log_end(struct log *log);

/* Cuts the file to its length and closes it; one that was not published is removed. Returns
 * log->failed or the failure of closing. */
MUST_CHECK int log_close(struct log *log);

uint32_t log_checksum(const uint8_t *data, size_t size);
