/*
 * epoll(7). Tier: enclave.
 */
#pragma once

#include "vfs/file.h"

/* The last reference to file has gone: it leaves every epoll instance. Called by file_unref()
 * before the file's release; costs a load when no file is watched. */
void epoll_forget(struct file *file);
/* What file is has moved to the hub, and with it the queue to watch: who watches it looks again. */
void epoll_moved(struct file *file);
/* What file is has become a handle of the host: it is watched there from now on. */
void epoll_became(struct file *file);
