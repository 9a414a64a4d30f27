/*
 * Files: whole reads, atomic writes, cleanups. EINTR and short counts are handled here. Tier: hosted.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/attr.h"
#include "util/err.h"

/* For CLEANUP(): keep errno; take a pointer to the variable. */
void close_p(int *fd);
void free_p(void *pointer_to_pointer);

/* Bytes read until size or end of file; negative errno. */
MUST_CHECK ssize_t read_full(int fd, void *buf, size_t size);
MUST_CHECK ssize_t pread_full(int fd, void *buf, size_t size, off_t offset);
/* 0 or negative errno. */
MUST_CHECK int write_full(int fd, const void *buf, size_t size);

/* Reads a regular file of at most max bytes (-EFBIG beyond). *ret is NUL-terminated past ret_size;
 * free it with free(). */
MUST_CHECK int file_load(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size,
                         struct err *err);
/* Writes path atomically: temporary file beside it, fsync, rename, fsync of the folder. mode is
 * applied exactly (no umask). With exclusive, refuses (-EEXIST) to replace what is there; without, a device or a pipe is
 * written to and stays what it is. */
MUST_CHECK int file_store(int dir_fd, const char *path, const void *data, size_t size, mode_t mode,
                          int exclusive, struct err *err);
/* mkdir -p; existing folders are fine. */
MUST_CHECK int dir_make(const char *path, mode_t mode, struct err *err);
/* rm -r below dir_fd/path, never following a symlink. A missing path is fine. */
MUST_CHECK int tree_remove(int dir_fd, const char *path, struct err *err);
