/* The descriptor table beyond what vfs/file.h promises to everybody. Tier: enclave. */
#pragma once

#include "vfs/file.h"

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
/* Called for each descriptor that goes: POSIX record locks of the process on that file go too. */
void fd_closed(struct file *file);
