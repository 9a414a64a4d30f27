/* /dev: the devices that need no device. Tier: enclave. */
#pragma once

#include "vfs/node.h"

MUST_CHECK int dev_lookup(struct place *place);
/* fstat of /dev/ptmx and /dev/tty, which become something else when they are opened. */
void dev_terminal_stat(bool ptmx, struct kstat *ret);

/* /dev/pts and below: pts.c. The path is canonical. */
MUST_CHECK int pts_lookup(struct place *place);
extern const struct fs g_pts_fs;
/* The place of an open /dev/pts/N; false: it is none. Its path is the file's. */
bool pts_place(const struct file *file, struct place *ret);
/* Where /dev/ptmx and /dev/tty lead; -ENODEV: to the host's terminal. */
MUST_CHECK int pts_open_master(uint32_t flags, struct file **ret);
MUST_CHECK int pts_open_own(uint32_t flags, struct file **ret);
