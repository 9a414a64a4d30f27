/*
 * What the objects of ipc/ have in common: descriptors without a path. Tier: enclave.
 */
#pragma once

#include <asm/errno.h>
#include <linux/eventpoll.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "signal/signal.h"
#include "thread/wait.h"
#include "vfs/file.h"

/* Flags of open(2) that pipe2, eventfd2 and the like share. */
#define ANON_NONBLOCK 04000u
#define ANON_CLOEXEC  02000000u

/* fstat of an anonymous inode; type and permissions as st_mode. */
void anon_stat(uint64_t ino, uint32_t mode, struct kstat *ret);
uint64_t anon_ino(void);
/* Installs a new file; drops it on failure. flags: ANON_CLOEXEC counts. */
MUST_CHECK int anon_install(struct file *file, uint32_t flags);
/* Waits once on a queue unless done(object) is true: 0 look again, -ERESTARTSYS; -EAGAIN where the thread
 * must never block. Without locks. */
MUST_CHECK int anon_wait(struct waitq *queue, bool (*done)(void *object), void *object);
static inline bool anon_nonblock(const struct file *file)
{
    return file->flags & ANON_NONBLOCK;
}
