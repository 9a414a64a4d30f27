/* The descriptor table beyond what vfs/file.h promises to everybody. Tier: enclave. */
#pragma once

#include "vfs/file.h"

/*
 * A process's descriptors: process_current()->fds, to which all fd_ functions refer. Those of a vfork child
 * are copies until it execs or exits. New: empty, with the manifest's limit. NULL: no memory.
 */
struct fd_table;
MUST_CHECK struct fd_table *fd_table_new(void);
/* All descriptors, with references. NULL: no memory. */
MUST_CHECK struct fd_table *fd_table_copy(struct fd_table *from);
/* NULL is fine. The files go where this was their last reference. */
void fd_table_free(struct fd_table *table);
/* Nothing is open any more; other threads may still be using the table. */
void fd_table_clear(struct fd_table *table);
void fd_table_close_on_exec(struct fd_table *table);
/* The first open descriptor >= fd; -1. */
int fd_table_next(struct fd_table *table, int fd);
/* A reference, NULL if it is not open. */
MUST_CHECK struct file *fd_table_get(struct fd_table *table, int fd, bool *ret_cloexec);

/*
 * The lowest free descriptor for a file that is still to come, so that what brings it is not in vain: nobody else gets
 * it, and dup2() to it is -EBUSY, as on Linux. Then fd_fill(), which takes over the reference, or, where no file came,
 * fd_unreserve(). -EMFILE, -ENOMEM.
 */
MUST_CHECK int fd_reserve(void);
void fd_fill(int fd, struct file *file, bool cloexec);
void fd_unreserve(int fd);
/* Puts file at exactly fd, closing what was there; takes over the reference. -EBADF, -ENOMEM. */
MUST_CHECK int fd_replace(struct file *file, int fd, bool cloexec);
/* 0, 1; -EBADF. */
int fd_cloexec(int fd);
int fd_set_cloexec(int fd, bool on);
/* The first open descriptor >= fd; -1. */
int fd_next(int fd);
int fd_limit(void);
/* RLIMIT_NOFILE's soft limit; never above the manifest's. */
void fd_limit_set(int limit);
/* Called for each descriptor that goes: POSIX record locks of the process on that file go too. Not for
 * those of a vfork child: it has taken none. */
void fd_closed(struct file *file);
