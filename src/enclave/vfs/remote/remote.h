/*
 * Files that the hub holds for this process: scratch files, and pipes, socket pairs and the like that
 * several processes share. Every operation is a request to the hub (tree/hub.h), which runs it on the real
 * file; the description's offset and status flags live there. In the root itself nothing is remote. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "ipc/unix.h"
#include "tree/hub.h"
#include "vfs/file.h"
#include "vfs/node.h"

/* HUB_FILE_FIRST + these. Handles are the peer's own numbers at the hub; UINT64_MAX: none. Where a handle comes
 * back it is ret, and out[0..3] say what it is: struct remote_info. Paths are canonical, without NUL. */
enum remote_op {
    /* clang-format off */
    REMOTE_READ = 0, /* blocking: (handle, size, offset or -1, enum remote_flags) -> data */
    REMOTE_WRITE,    /* blocking: (handle, 0, offset or -1, flags), data */
    REMOTE_LSEEK,    /* (handle, offset, whence) */
    REMOTE_FSTAT,    /* (handle) -> data: struct kstat */
    REMOTE_FTRUNCATE, /* (handle, size) */
    REMOTE_FALLOCATE, /* (handle, mode, offset, size) */
    REMOTE_IOCTL,    /* (handle, request, argument or -1: data) -> data; enum remote_ioctl are ours */
    REMOTE_POLL,     /* (handle, arm: 1): ready events now; armed: HUB_EVENT_READY when they may change */
    REMOTE_CLOSE,    /* (handle) */
    REMOTE_FLAGS,    /* (handle, set: 1, O_APPEND | O_NONBLOCK to set) -> all status flags */
    REMOTE_DUP_TO,   /* (handle, pid) -> handle for that process, which this one is about to start */
    REMOTE_ADOPT,    /* (enum remote_adopt, ...): the process's own object moves to the hub, see there */
    REMOTE_POSITION, /* (handle, enum remote_position, ...) */
    REMOTE_SCRATCH,  /* (enum remote_scratch, ...): scratch by path, see there */
    REMOTE_LOCK,     /* blocking: (handle, enum lock_kind, F_RDLCK..., start, last); kind with LOCK_ flags below */
    REMOTE_UNPACK,   /* (handle, key): a REMOTE_CARRIED -> its offset's handle, -ENOENT: none; data: carry.c's struct wire,
                        path. key: where what lives on a host's descriptor is given (OCALL_TREE_GIVE) */
    REMOTE_OPENED,   /* blocking: (handle, give up: 0/1): a FIFO whose open waits for the other end: until that has come.
                        1: -EINTR if it has not; the handle is good for nothing then */
    REMOTE_SOCKET,   /* blocking: (handle, enum remote_socket, ...) */
    REMOTE_TTY,      /* blocking: (handle, enum remote_tty, ...) */
    REMOTE_OPS,
    /* clang-format on */
};

enum remote_flags {
    /* clang-format off */
    REMOTE_NONBLOCK = 1, /* this time, whatever the description says */
    REMOTE_PEEK = 2,     /* sockets: it stays */
    REMOTE_WITHIN = 4,   /* write: nothing behind the end (pwrite_kernel) */
    REMOTE_HOME = 8,     /* scratch: with what processes stored in shared mappings. -EBUSY: they hold it still */
    REMOTE_PATIENT = 16, /* blocking, with REMOTE_HOME: it is waited for */
    /* clang-format on */
};
/* REMOTE_LOCK, with the kind: wait for it; who has it: out[0..3] type, start, last, pid; a descriptor was closed. */
enum remote_lock { REMOTE_LOCK_WAIT = 0x100, REMOTE_LOCK_GET = 0x200, REMOTE_LOCK_CLOSED = 0x400 };
enum remote_kind {
    /* clang-format off */
    REMOTE_STREAM = 1, /* pipes, eventfds, ...: no offset; may block */
    REMOTE_UNIX,       /* a socket */
    REMOTE_UNIX_PACKETS, REMOTE_UNIX_DATAGRAMS,
    REMOTE_REGULAR,    /* a scratch file: never blocks */
    REMOTE_OFFSET,     /* position.h */
    REMOTE_TERMINAL,   /* dev: the number in /dev/pts */
    REMOTE_CARRIED,    /* carry.h; dev: how */
    REMOTE_PIDFD,      /* ipc/pidfd.h: dev is the pid, ino its birth */
    /* clang-format on */
};
/* What a handle is. */
struct remote_info {
    int32_t handle;
    uint32_t kind;     /* enum remote_kind; out[0], with the flags above */
    uint32_t flags;    /* O_ACCMODE and status flags */
    uint64_t dev, ino; /* out[1], out[2] */
};

/* REMOTE_ADOPT: both ends come back as handles: ret, and out[3]. */
enum remote_adopt {
    /* clang-format off */
    ADOPT_PIPE = 1, /* (., size, reader's flags, writer's flags): an empty pipe of that size; ret reads, out[3] writes */
    ADOPT_PAIR,     /* (., flags a, flags b, type) */
    ADOPT_EVENTFD,  /* (., count, flags, semaphore) */
    ADOPT_CARRIED,  /* (., its offset's handle or -1, key); data: carry.c's struct wire, path: nothing moves, but what was
                       given under the key is taken */
    ADOPT_PIDFD,    /* (., pid, flags): nothing moves, it is made there */
    ADOPT_MEMORY,   /* (., mode, flags, sealable): an empty file without a name (memfd_create, O_TMPFILE) */
    /* clang-format on */
};
enum remote_position {
    POSITION_NEW = 1,   /* -> handle */
    POSITION_TAKE,      /* (.., size, limit) -> how much; out[0] offset */
    POSITION_GIVE_BACK, /* (.., unused) */
    POSITION_SEEK,      /* (.., offset, whence, size) -> offset */
};
/* Terminals (ipc/pty.h); flags: enum remote_tty_flags. */
enum remote_tty {
    /* clang-format off */
    TTY_TAKE = 1, /* (.., size, flags) -> data; out[0] struct pty_mode; never waits without TTY_WAIT */
    TTY_GIVE,     /* (.., 0, flags), data */
    TTY_IOCTL,    /* (.., request, argument, flags), data: PTY_ARG bytes -> data: the same */
    TTY_PEER,     /* (.., flags of open) -> handle */
    TTY_MASTER,   /* (-1, ., ., flags of open) -> handle */
    TTY_NUMBER,   /* (-1, ., number, flags of open) -> handle */
    TTY_OWN,      /* (-1, ., ., flags of open) -> handle. -ENXIO; -ENODEV: the host's */
    TTY_STAT,     /* (-1, ., number) -> data: struct kstat */
    TTY_CHANGE,   /* (-1, ., number, uid | mode << 32, gid) */
    TTY_NEXT,     /* (-1, ., number) -> the first in use from there on, or -1 */
    /* clang-format on */
};
enum remote_tty_flags { TTY_WAIT = 1, TTY_IGNORES_INPUT = 2, TTY_IGNORES_OUTPUT = 4 };
enum remote_ioctl { REMOTE_ADD_SEALS = 0x52530001, REMOTE_GET_SEALS };

/*
 * REMOTE_SCRATCH: (what, a, b, c, handle or -1); data: path, then what the table says. With a handle the open
 * file is meant, and the path only says where it was.
 */
enum remote_scratch {
    /* clang-format off */
    SCRATCH_STAT = 1, /* () -> data: struct kstat. -ENOENT */
    SCRATCH_READLINK, /* () -> data */
    SCRATCH_OPEN,     /* (flags) -> handle; out[3] 1: REMOTE_OPENED is to be asked first */
    SCRATCH_CREATE,   /* (flags, mode) -> handle, as SCRATCH_OPEN; with O_EXCL -EEXIST */
    SCRATCH_LIST,     /* (from: byte in the listing) -> data: packed struct linux_dirent64; ret = bytes */
    SCRATCH_MKDIR,    /* (mode) */
    SCRATCH_MKNOD,    /* (mode with type) */
    SCRATCH_SYMLINK,  /* (bytes of path); data: path, target */
    SCRATCH_LINK,     /* (bytes of old path); data: old path, new path */
    SCRATCH_UNLINK, SCRATCH_RMDIR,
    SCRATCH_RENAME,   /* (bytes of old path, flags); data: old path, new path */
    SCRATCH_CHMOD,    /* (mode) */
    SCRATCH_CHOWN,    /* (uid, gid) */
    SCRATCH_UTIMENS,  /* (atime, mtime): ns, UTIME_OMIT_NS */
    SCRATCH_TRUNCATE, /* (size) */
    SCRATCH_CHANGED,  /* () -> out[0] ns: when a name was made or removed there; -ENOENT: never */
    SCRATCH_XATTR_GET, SCRATCH_XATTR_SET, SCRATCH_XATTR_LIST, SCRATCH_XATTR_REMOVE,
                      /* (bytes of path, flags); data: path, name NUL, value */
    /* clang-format on */
};

/* Names travel as struct unix_name, then the canonical path of those that are files. */
enum remote_socket {
    /* clang-format off */
    SOCKET_SHUTDOWN = 1, /* (.., enum unix_shut) */
    SOCKET_NEW,     /* (-1, ., flags, type) -> handle */
    SOCKET_BIND,    /* (.., mode); data: name, path: made */
    SOCKET_LISTEN,  /* (.., backlog) */
    SOCKET_CONNECT, /* (..); data: name, path; without a name: to nobody */
    SOCKET_ACCEPT,  /* (.., flags, REMOTE_NONBLOCK) -> handle */
    SOCKET_NAME,    /* (.., peer) -> data: name */
    SOCKET_SEND,    /* (.., count, flags, to: 0, or 1 + bytes of path); data: name and path if to, uint32_t
                       handles[count], bytes */
    SOCKET_RECEIVE, /* (.., size, flags, at most) -> bytes; out[0] count; data: struct remote_packet, struct
                       remote_info[count], bytes */
    SOCKET_GET_OPTION, /* (.., SO_) -> words; data: they */
    SOCKET_SET_OPTION, /* (.., SO_, value) */
    /* clang-format on */
};

struct remote_packet {
    struct unix_name from;
    struct unix_cred cred;
    uint32_t has_cred, whole, reserved;
};

/* Pipes and the like; scratch files. */
extern const struct file_ops g_remote_ops, g_remote_file_ops, g_remote_tty_ops;
/* Scratch paths in a process that is not the root. Each request names its path; the hub checks it against the
 * node's grants (MANIFEST_GRANTS by MRENCLAVE; the root's own node: all). */
extern const struct fs g_remote_fs;

/* For vfs/path.c: whether p->path is there; fills fs and mode. An open file's own place: its object. */
MUST_CHECK int remote_lookup(struct place *p);
void *remote_place_object(const struct file *file);
/* The names that scratch has in a directory, measured or not. */
MUST_CHECK int remote_list(const struct place *dir, struct listing *listing);
/* As tmpfs_overlay_changed(). */
void remote_overlay_changed(uint32_t record, int64_t *time);
MUST_CHECK int remote_xattr_set(const struct place *place, const char *name, const void *value,
                                uint32_t size, uint32_t flags);
/* SCRATCH_XATTR_GET, _LIST, _REMOVE. *ret: heap, the caller's. */
MUST_CHECK int remote_xattr(const struct place *place, enum remote_scratch what, const char *name,
                            char **ret, uint32_t *ret_size);

/* A file over a handle of the hub, which it takes over, also on failure. path may be NULL; copied. -ENOMEM. */
MUST_CHECK int remote_file(const struct remote_info *info, const char *path, struct file **ret);
/* For file_ops.move: a handle's state, taking the handle over also on failure (NULL: no memory); bytes into what it
 * writes to; file->ops becomes the hub's, and what file was is released with it; or nobody has it open. */
struct remote;
MUST_CHECK struct remote *remote_new(const struct remote_info *info);
MUST_CHECK int remote_push(const struct remote *remote, const void *data, uint64_t size);
/* To a socket, in one piece, with descriptors; own: the two files that are moving just now, which have no handle yet, and
 * theirs. As send(2). */
struct stream_rights;
struct remote_pair {
    struct file *const *files; /* two; NULL where one is closed */
    struct remote *const *remotes;
};
int64_t remote_push_rights(const struct remote *remote, const void *data, uint32_t size,
                           const struct stream_rights *rights, const struct remote_pair *own);
#define REMOTE_PUSH_MAX (HUB_DATA_MAX - 1024u)
void remote_become(struct file *file, struct remote *remote);
void remote_drop(struct remote *remote);
int32_t remote_number(const struct remote *remote);
/* The hub's handle, -1 for other files. */
int32_t remote_handle(const struct file *file);
/* What the reply to ask says. */
void remote_info_of(const struct hub_ask *ask, int64_t handle, struct remote_info *ret);
/* For files that are remote: what it is. */
void remote_info(const struct file *file, struct remote_info *ret);
bool remote_is_socket(const struct file *file);
/* Sockets of the hub; as ipc/unix.h. path: canonical, of a name that is a file, or "". */
int64_t remote_receive(struct file *file, void *user, uint64_t size, uint32_t flags,
                       struct unix_message *message);
int64_t remote_send(struct file *file, const void *user, uint64_t size, uint32_t flags,
                    struct unix_message *message);
uint32_t remote_socket_type(const struct file *file);
MUST_CHECK int remote_socket_new(uint32_t type, uint32_t flags, struct file **ret);
MUST_CHECK int remote_bind(struct file *file, const struct unix_name *name, const char *path,
                           uint32_t mode);
/* name NULL: as unix_connect(). */
MUST_CHECK int remote_connect(struct file *file, const struct unix_name *name, const char *path);
MUST_CHECK int remote_listen(struct file *file, uint32_t backlog);
MUST_CHECK int remote_accept(struct file *file, bool nonblock, uint32_t flags, struct file **ret);
MUST_CHECK int remote_name_of(struct file *file, bool peer, struct unix_name *ret);
int remote_get_option(struct file *file, int name, int32_t ret[static 3]);
int remote_set_option(struct file *file, int name, int32_t value);
int remote_become_option(const struct remote *remote, int name, int32_t value); /* not a file yet */
/* As the operations, for files whose own object has moved. */
int64_t remote_read(struct file *file, void *user, uint64_t size, uint64_t *pos, uint32_t flags);
int64_t remote_write(struct file *file, const void *user, uint64_t size, uint64_t *pos,
                     uint32_t flags);
/* F_SETFL, F_GETFL: the description's. */
MUST_CHECK int remote_set_flags(struct file *file, uint32_t flags);
int64_t remote_get_flags(struct file *file);
/* shutdown(2); how: enum unix_shut. remote_shut: of what is not a file yet. */
MUST_CHECK int remote_shutdown(struct file *file, uint32_t how);
MUST_CHECK int remote_shut(const struct remote *remote, bool read, bool write);
MUST_CHECK int remote_fallocate(struct file *file, uint32_t mode, uint64_t offset, uint64_t size);
/* As vfs/locks.h. wait: -ERESTARTSYS. */
struct file_lock;
MUST_CHECK int remote_lock(struct file *file, const struct file_lock *want, bool wait);
MUST_CHECK int remote_lock_get(struct file *file, const struct file_lock *want,
                               struct file_lock *ret);
void remote_lock_closed(struct file *file);
int remote_add_seals(struct file *file, uint32_t seals);
int remote_get_seals(struct file *file);
MUST_CHECK int remote_anonymous(uint32_t mode, uint32_t flags, bool sealable, struct file **ret);
/* tty.c: as ipc/pty.h. what: TTY_MASTER, TTY_NUMBER, TTY_OWN. */
MUST_CHECK int remote_tty_open(enum remote_tty what, uint32_t number, uint32_t flags,
                               struct file **ret);
MUST_CHECK int remote_tty_stat(uint32_t number, struct kstat *ret);
MUST_CHECK int remote_tty_change(uint32_t number, uint32_t mode, uint32_t uid, uint32_t gid);
int32_t remote_tty_next(uint32_t number);
int64_t remote_tty_read(struct file *file, void *user, uint64_t size, uint64_t *pos);
int64_t remote_tty_write(struct file *file, const void *user, uint64_t size, uint64_t *pos);
int64_t remote_tty_ioctl(struct file *file, uint64_t request, uint64_t arg);
/* The number in /dev/pts of a file that is a terminal; -1. */
int32_t remote_tty_number(const struct file *file);
/* HUB_EVENT_READY. */
void remote_ready(uint32_t handle);
