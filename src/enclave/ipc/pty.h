/*
 * Pseudo terminals: pty(7), pts(4), ioctl_tty(2). A pair of ends with a line discipline between
 * them (ipc/ldisc.h); session and foreground group are the process table's (tree/ptable.h). Nothing
 * of them reaches the host. All of a tree's are in the root's enclave from the start, as every
 * process may open /dev/pts/N by its name: other processes ask the hub (vfs/remote/tty.c), which
 * calls what is here for them. Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

#define PTY_MAX             256u
#define PTY_ARG             44u   /* the largest argument of an ioctl */
#define PTY_CHUNK           4096u /* bytes of one transfer: a line is never cut in two */
#define TIOCGPTPEER_REQUEST 0x5441u

struct kstat;

/* Who acts on a terminal. */
struct pty_caller {
    int32_t pid;
    bool ignores_input, ignores_output; /* blocks or ignores SIGTTIN, SIGTTOU */
};
/* The process that the calling thread plays. */
struct pty_caller pty_caller(void);

/* --- the pairs: in the root
 * ------------------------------------------------------------------------- */
/* flags: of open(2). -ENOSPC: too many; -ENOMEM. */
MUST_CHECK int pty_open_master(uint32_t flags, struct file **ret);
/* -ENOENT: there is no such; -EIO: it is locked, or hung up. Without O_NOCTTY it may become self's.
 */
MUST_CHECK int pty_open(uint32_t number, int32_t self, uint32_t flags, struct file **ret);
/* /dev/tty. -ENXIO: self has none; -ENODEV: it has the host's. */
MUST_CHECK int pty_open_own(int32_t self, uint32_t flags, struct file **ret);
/* TIOCGPTPEER. -EIO: no master. */
MUST_CHECK int pty_open_peer(struct file *master, int32_t self, uint32_t flags, struct file **ret);
/* /dev/pts/N. -ENOENT. */
MUST_CHECK int pty_stat(uint32_t number, struct kstat *ret);
/* chmod, chown; UINT32_MAX: as it is. */
MUST_CHECK int pty_change(uint32_t number, uint32_t mode, uint32_t uid, uint32_t gid);
/* The first number in use from this one on, -1. */
int32_t pty_next(uint32_t number);

bool pty_is(const struct file *file);
/* Of a file that pty_is(): -1 for others. */
int32_t pty_number(const struct file *file);

/* --- operations on ends
 * -------------------------------------------------------------------------------- */
/* How a terminal is read. */
struct pty_mode {
    uint8_t min, time; /* VMIN, VTIME */
    bool by_line, nonblock;
};
/* What there is, up to size bytes into library OS memory; never waits. -EAGAIN; 0: the end;
 * ret_mode is set in any case. */
int64_t pty_take(struct file *file, const struct pty_caller *caller, void *buf, uint32_t size,
                 struct pty_mode *ret_mode);
/* How much was taken; 0: nothing now. */
int64_t pty_give(struct file *file, const struct pty_caller *caller, const void *buf,
                 uint32_t size);
/* An ioctl that pty_ioctl_known(): arg is its argument, or data holds what that points to, and
 * afterwards the answer. */
int64_t pty_ioctl(struct file *file, const struct pty_caller *caller, uint32_t request,
                  uint64_t arg, uint8_t data[static PTY_ARG]);
/* Bytes that it takes and gives; both 0: its argument is a number. false (said once): unknown. */
bool pty_ioctl_known(uint32_t request, uint32_t *ret_in, uint32_t *ret_out);

/* --- shared by both sides
 * -------------------------------------------------------------------------- */
/*
 * read(2) by VMIN and VTIME, from take(), which is asked for up to PTY_CHUNK bytes. wait: it may
 * wait itself, as long as there is no time limit (not VMIN 0, a blocking description): -EINTR is a
 * signal.
 */
typedef int64_t tty_take(struct file *file, void *buf, uint32_t size, bool wait,
                         struct pty_mode *ret_mode);
int64_t tty_read(struct file *file, void *user, uint64_t size, tty_take *take);
/* ioctl(2) by run(), which gets the argument as pty_ioctl(). */
typedef int64_t tty_run(struct file *file, uint32_t request, uint64_t arg,
                        uint8_t data[static PTY_ARG]);
int64_t tty_ioctl(struct file *file, uint64_t request, uint64_t arg, tty_run *run);
/* Gives a new file its path and a descriptor; drops it on failure. */
MUST_CHECK int tty_install(struct file *file, uint32_t number, uint32_t flags);
