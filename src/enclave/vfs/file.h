/*
 * Files as the program sees them: descriptor -> open file description (struct file) -> object. Tier:
 * enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "core/attr.h"
#include "thread/lock.h"
#include "thread/wait.h"

struct file;
struct iovec;
struct kstat; /* struct stat of the x86-64 ABI, <asm/stat.h> */
struct manifest_file;

/* How an open file gets into another process (vfs/share.h). */
enum file_travel {
    TRAVEL_PATH = 0, /* opened again there, by its path */
    TRAVEL_HOST,     /* over the host's handle, which the other process inherits */
    TRAVEL_HUB,      /* held by the hub from then on */
    TRAVEL_ANEW,     /* made again there, as it was set up here */
    TRAVEL_SOCKET,   /* of the network: over the host's handle */
};

/* buf is PROGRAM memory (uaccess) in read, write; LIBRARY OS memory in pread_kernel, map. Offsets are
 * the file's own business: pos is NULL for streams, else points at the offset to use and advance. A
 * NULL function answers what Linux would: EINVAL, ESPIPE, ENOTTY, ... */
struct file_ops {
    const char *name;
    int64_t (*read)(struct file *file, void *user, uint64_t size, uint64_t *pos);
    int64_t (*write)(struct file *file, const void *user, uint64_t size, uint64_t *pos);
    /* readv, writev in one piece, size bytes in all; NULL: one read or write after the other. */
    int64_t (*vector)(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size,
                      bool write);
    /* Into library OS memory, from any offset (ELF loading, mmap of non-trusted files). */
    int64_t (*pread_kernel)(struct file *file, void *buf, uint64_t size, uint64_t offset);
    /* From library OS memory, within the size the file has: shared mappings write back. NULL: the file
     * cannot be mapped shared and writable. */
    int64_t (*pwrite_kernel)(struct file *file, const void *buf, uint64_t size, uint64_t offset);
    /* Two open files of these operations: the same content? NULL: if they have the same object. */
    bool (*same)(const struct file *a, const struct file *b);
    int64_t (*lseek)(struct file *file, int64_t offset, int whence);
    int (*fstat)(struct file *file, struct kstat *ret);
    int64_t (*getdents64)(struct file *file, void *user, uint64_t size);
    int (*ftruncate)(struct file *file, uint64_t size);
    int (*fsync)(struct file *file, bool data_only);
    int64_t (*ioctl)(struct file *file, uint64_t request, uint64_t arg);
    /* Ready events now (EPOLL*); registers waiter (may be NULL) on the queue that would change that. */
    uint32_t (*poll)(struct file *file, struct waiter *waiter);
    /* The host handle to wait on for files whose readiness the host knows; -1. */
    int (*host_handle)(struct file *file);
    /* With a host handle: readiness comes from there and from poll's queue as well; ready is what poll says. */
    bool two_sources;
    /* With a host handle: closing the last reference here closes it for good, no other process has it. */
    bool (*handle_alone)(const struct file *file);
    void (*release)(struct file *file); /* last reference gone: frees object */
    /* The process ends, and its parent is told next: what others could still find open goes. Threads may be in the
     * middle of calls. */
    void (*leave)(struct file *file);
    uint8_t travel; /* enum file_travel */
    /* TRAVEL_HUB, in a process that is not the root: what file is goes to the hub with all its ends; file->ops
     * are those of vfs/remote afterwards. -ENOMEM, -EMFILE. */
    int (*move)(struct file *file);
};

struct file {
    const struct file_ops *ops;
    uint32_t refs;    /* atomic */
    uint32_t flags;   /* O_ACCMODE, O_APPEND, O_NONBLOCK, ...; F_SETFL changes some */
    int32_t owner;    /* F_SETOWN, for F_GETOWN: nobody is signalled */
    struct lock lock; /* guards pos against concurrent read/write of one description */
    uint64_t pos;
    void *object;                       /* the file system's */
    const struct manifest_file *record; /* manifest record, if it has one */
    char *path;                         /* absolute canonical path (heap), NULL for pipes etc. */
    struct file
        *position; /* in place of pos, where other processes share it (vfs/remote/position.h); set
                              once, under lock */
    struct remote *remote; /* what the hub holds of it (vfs/remote/client.c); set once */
    /* What was a socket of the tree and has become one of the host (net/local.h); set once. */
    struct net_socket *net;
};

/* refs 1; flags without what only matters at open. NULL: no memory. */
MUST_CHECK struct file *file_new(const struct file_ops *ops, uint32_t flags, void *object);
struct file *file_ref(struct file *file);
/* A reference unless the last one is just going: NULL. For who knows a file without having a reference. */
MUST_CHECK struct file *file_try_ref(struct file *file);
void file_unref(struct file *file); /* NULL is fine */

/* --- descriptor table (vfs/fd.c) ----------------------------------------------------------------- */
/* A reference to fd's file, NULL if not open. */
MUST_CHECK struct file *fd_get(int fd);
/* Lowest free descriptor >= min; takes over the reference on success. -EMFILE, -ENOMEM. */
MUST_CHECK int fd_install(struct file *file, int min, bool cloexec);
int fd_close(int fd); /* -EBADF */

/* --- for mm/ and process/ (vfs/open.c) ----------------------------------------------------------- */
/* Opens for the library OS itself (ELF start): absolute path, flags O_RDONLY. */
MUST_CHECK int vfs_open_kernel(const char *path, uint64_t path_size, struct file **ret);
/*
 * Trusted regular file only (file->record->class == MANIFEST_TRUSTED): a verified chunk, pinned until
 * chunk_put. *ret_data is page-aligned library OS memory of *ret_size bytes, the rest of its last page
 * zero. On mismatch: no return (abort), or -EIO for deny. -ERANGE past the end.
 */
struct chunk;
MUST_CHECK int chunk_get(struct file *file, uint64_t index, struct chunk **ret,
                         const void **ret_data, uint32_t *ret_size);
void chunk_put(struct chunk *chunk);

/* Boot: manifest view is open, heap works: root, cwd, tmpfs, stdio on 0-2. */
void vfs_init(void);
/* The same without descriptors, in "/": a child's come from its parent, and its cwd may be a scratch
 * directory, which the hub has. */
void vfs_init_empty(void);
/* At exit: flush outputs; closes nothing that needs the host to be nice. */
void vfs_exit(void);
