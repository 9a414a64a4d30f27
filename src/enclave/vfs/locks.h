/*
 * Advisory locks on scratch files, in the root, for all processes: flock(2), and record locks of processes and of open
 * file descriptions (fcntl(2)). Elsewhere they are requests to the hub; on allowed files the host's kernel has
 * them. No deadlock is detected. Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "thread/wait.h"
#include "vfs/file.h"

enum lock_kind { LOCK_RECORD = 1, LOCK_DESCRIPTION, LOCK_FLOCK };

struct file_lock {
    struct file_lock *next;
    uint64_t dev, ino;
    uint64_t start, last; /* bytes, both included */
    uint64_t owner;       /* LOCK_RECORD: pid; else the struct file */
    int16_t type;         /* F_RDLCK, F_WRLCK, F_UNLCK */
    uint8_t kind;         /* enum lock_kind */
};

/* want: type, range, kind; owner too for LOCK_RECORD. -EAGAIN: somebody else has it: wait on locks_queue().
 * -ENOLCK: no memory. */
MUST_CHECK int locks_set(struct file *file, struct file_lock want);
/* The first lock that stands in the way; type F_UNLCK: none. */
MUST_CHECK int locks_get(struct file *file, struct file_lock want, struct file_lock *ret);
struct waitq *locks_queue(void);
/* A process closed a descriptor of this file; a process ended; the last descriptor of a description went. */
void locks_closed(struct file *file, int32_t pid);
void locks_process_gone(int32_t pid);
void locks_file_gone(const struct file *file);
