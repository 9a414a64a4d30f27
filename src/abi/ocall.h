/*
 * The OCALL ABI: how the library OS asks the untrusted runtime for something. Types only; the one
 * header that host/ and enclave/ share besides layout, manifest and the SGX structs.
 *
 * Each thread has one block outside ELRANGE for its life: OCALL_BLOCK_SIZE bytes, page-aligned: this
 * struct, then OCALL_DATA_SIZE bytes of data window. The enclave writes nr, args and data, leaves by
 * EEXIT; the host writes ret, out and data, and enters again with EENTER (CSSA 0). The enclave copies
 * everything it uses exactly once and checks it: the host is hostile.
 *
 * Register contract. EENTER, CSSA 0: rdi = address of the thread's block (looked at on a TCS's first
 * entry only and checked to lie wholly outside ELRANGE; afterwards ignored), rsp = a host stack (the
 * enclave saves rsp and rbp and restores them before EEXIT). EENTER, CSSA 1: nothing is passed; the
 * enclave looks at SSA[0] only. EEXIT: rbx = the return target given in rcx at EENTER; all other
 * registers hold no enclave data. After an EEXIT at CSSA 1 the host does ERESUME on the same TCS.
 *
 * Results: ret is >= 0 or a negative errno. Paths in the data window are bytes without NUL, length in
 * an argument. Times are nanoseconds. Handles are host file descriptors that only this ABI sees.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define OCALL_MAGIC      0x4c4c41434f595058ull /* "XPYOCALL" */
#define OCALL_VERSION    2
#define OCALL_DATA_SIZE  (1u << 20)
#define OCALL_HEAD_SIZE  4096u
#define OCALL_BLOCK_SIZE (OCALL_HEAD_SIZE + OCALL_DATA_SIZE)

#define OCALL_NEVER UINT64_MAX /* a deadline that does not come */

enum ocall_nr {
    /* clang-format off */
    /* --- life ----------------------------------------------------------------------------- */
    OCALL_BOOT = 1,     /* out: struct ocall_boot at data[0], then its strings. First call of all */
    OCALL_EXIT,         /* (status, signal): the program ended; signal != 0: killed by it. No return */
    OCALL_REFUSE,       /* (size): struct ocall_refusal at data[0]: integrity violation.
                           If its action is OCALL_REFUSED_ABORT there is no return (exit code 3) */
    OCALL_PANIC,        /* (size): text at data[0]: the library OS cannot go on. No return (exit 4
                           before the program's first instruction, 128+SIGABRT after) */
    OCALL_LOG,          /* (level, size): text at data[0]; enum ocall_log_level */
    OCALL_AUDIT,        /* (size): struct ocall_audit at data[0] */

    /* --- threads --------------------------------------------------------------------------- */
    OCALL_THREAD_START, /* (index): a new host thread enters thread area index. -EAGAIN if it cannot */
    OCALL_THREAD_EXIT,  /* (): this host thread ends; its TCS may be started again. No return */
    OCALL_PARK,         /* (deadline_monotonic): waits until this block's event is non-zero, a host
                           signal is pending for this thread, or the deadline. Returns 0, -ETIMEDOUT */
    OCALL_UNPARK,       /* (index): sets that thread's event and wakes it, also out of OCALL_POLL and
                           of a blocking READ, WRITE (those return -EINTR) */
    OCALL_INTERRUPT,    /* (index): as UNPARK, and if that thread runs in the enclave: an AEX and an
                           entry with CSSA 1 */
    OCALL_YIELD,        /* () */
    OCALL_ALARM,        /* (deadline_monotonic, or OCALL_NEVER): one per process: when it comes, the
                           main thread (index 0) is interrupted as by OCALL_INTERRUPT */

    /* --- time and identity ----------------------------------------------------------------- */
    OCALL_CLOCK,        /* (clockid: REALTIME, MONOTONIC, BOOTTIME, PROCESS/THREAD_CPUTIME) -> ns in
                           out[0] */
    OCALL_RUSAGE,       /* (who: RUSAGE_SELF, RUSAGE_THREAD) -> out[0] user us, [1] system us, [2]
                           maxrss KiB */

    /* --- host files (allowed and trusted content, output, stdio) --------------------------- */
    OCALL_OPEN,         /* (path_size, flags, mode): absolute path at data[0]; Linux O_* flags;
                           O_CLOEXEC | O_NOCTTY are added; -> handle */
    OCALL_CLOSE,        /* (handle, aside: 1: the caller does not wait for what lingers, SO_LINGER) */
    OCALL_READ,         /* (handle, size) -> bytes at data[0]. Blocks; -EINTR when interrupted */
    OCALL_WRITE,        /* (handle, size): bytes at data[0]. Blocks; -EINTR when interrupted */
    OCALL_PREAD,        /* (handle, size, offset) -> bytes at data[0] */
    OCALL_PWRITE,       /* (handle, size, offset) */
    OCALL_LSEEK,        /* (handle, offset, whence) -> out[0] */
    OCALL_FSTAT,        /* (handle): struct ocall_stat at data[0] */
    OCALL_STAT,         /* (path_size, nofollow): struct ocall_stat at data[0] (replaces the path) */
    OCALL_READLINK,     /* (path_size) -> text at data[0], its size is ret */
    OCALL_GETDENTS,     /* (handle): packed struct ocall_dirent at data[0]; ret = bytes, 0 at the end */
    OCALL_FTRUNCATE,    /* (handle, size) */
    OCALL_FALLOCATE,    /* (handle, mode, offset, size) */
    OCALL_FSYNC,        /* (handle, data_only) */
    OCALL_FLOCK,        /* (handle, operation | LOCK_NB) */
    OCALL_FCNTL_LOCK,   /* (handle, F_SETLK/F_GETLK, type, start, size): whence SEEK_SET; out[0..3] =
                           type, start, size, pid for F_GETLK */
    OCALL_MKDIR,        /* (path_size, mode) */
    OCALL_UNLINK,       /* (path_size, is_directory) */
    OCALL_RENAME,       /* (old_size, new_size, flags): old at data[0], new right after it */
    OCALL_LINK,         /* (old_size, new_size) */
    OCALL_SYMLINK,      /* (target_size, path_size): target at data[0], path right after it */
    OCALL_CHMOD,        /* (path_size, mode) */
    OCALL_CHOWN,        /* (path_size, uid, gid, nofollow) */
    OCALL_UTIMENS,      /* (path_size, asec, ansec, msec, mnsec, nofollow): UTIME_NOW / OMIT as Linux */
    OCALL_ISATTY,       /* (handle) -> 1 or 0 */
    OCALL_IOCTL,        /* (handle, request, in_size, out_size): TCGETS, TCSETS*, TIOCGWINSZ, FIONREAD,
                           TIOCGPGRP, SIOCATMARK, TIOCOUTQ only: argument at data[0] */
    OCALL_POLL,         /* (count, deadline_monotonic): struct ocall_pollfd[count] at data[0]; also
                           wakes, with ret 0, as OCALL_PARK does. ret = ready count */
    OCALL_SET_NONBLOCK, /* (handle, on) */

    /* --- SGX2 page operations (the driver's, see device.h) --------------------------------- */
    OCALL_RESTRICT,     /* (address, page_count, secinfo permissions) -> out[0] = pages done */
    OCALL_MODIFY_TYPE,  /* (address, page_count, page type) -> out[0] = pages done */
    OCALL_REMOVE,       /* (address, page_count) -> out[0] = pages done */

    /* --- process trees (abi/tree.h). direction: enum tree_direction ------------------------- */
    OCALL_TREE_OPEN,    /* (): the root makes the region. out[0] = its address, outside ELRANGE. A child
                           gets it with OCALL_BOOT */
    OCALL_TREE_SPAWN,   /* (spawn_slot, control_slot, handle_count): starts a host process with a new
                           enclave. data[0]: 32 bytes MRENCLAVE of the node, then int32_t handles that the
                           child inherits under the same numbers. -> 0, or -EAGAIN, -ENOMEM, -ENOENT (no
                           such node in the bundle) */
    OCALL_TREE_POST,    /* (slot, direction): the cell is filled: posted += 1, wakes the receiver (the bell,
                           if the hub receives) */
    OCALL_TREE_TAKEN,   /* (slot, direction): taken += 1, wakes the sender */
    OCALL_TREE_WAIT,    /* (slot, direction, seen, deadline): until posted != seen. 0; -EPIPE: dead;
                           -EINTR as OCALL_PARK ends; -ETIMEDOUT */
    OCALL_TREE_ROOM,    /* (slot, direction, taken_seen): until taken != taken_seen; results as WAIT */
    OCALL_TREE_CALL,    /* (slot, direction, seen): POST in direction, then WAIT for posted != seen in the
                           other one, without a deadline. -EINTR: posted, but not answered yet */
    OCALL_TREE_SERVE,   /* (deadline): the hub's thread: until the bell rings, its event is set (UNPARK),
                           or the deadline; clears both. out[0..3] unused; ready[] says which slots */
    OCALL_TREE_NUDGE,   /* (control_slot): sets signal bit SIGURG in the block of the main thread of that
                           slot's client process and interrupts it (as a host signal would) */
    OCALL_TREE_KILL,    /* (control_slot): SIGKILL to that slot's client process */
    OCALL_TREE_FREE,    /* (slot): not used any more; its memory may go. All counters become 0 */
    OCALL_TREE_BYE,     /* (): a child's program has ended, its status is with the hub: this host process
                           ends silently, exit code 0. No return. Also exec in place */
    /* Handles between the host processes of a tree (SCM_RIGHTS of the programs in them), through the root's. key: a
     * random number, which the enclaves tell each other over their channels. */
    OCALL_TREE_GIVE,    /* (handle, key): a child: to the root, which TAKEs it; the root: to the child that ASKed.
                           The handle stays open here. -ENOENT: nobody asked; -ETOOMANYREFS */
    OCALL_TREE_ASK,     /* (key): a child: what the root GIVEs under key is for this process; then TAKE, always */
    OCALL_TREE_TAKE,    /* (key) -> handle. -ENOENT: nothing was given; -EMFILE */

    /* --- scratch files larger than memory ---------------------------------------------------- */
    OCALL_SPILL_OPEN,   /* (): an empty file without a name, for this process alone -> handle */

    /* --- sockets of the network -------------------------------------------------------------
     * Handles, non-blocking at the host. Bytes lie at data[0], at most OCALL_NET_DATA; address, ancillary data and
     * MSG_* flags in struct ocall_net at data[OCALL_NET_DATA], of which only as much as is named here is filled or
     * read. deadline (monotonic; 0: does not wait): first tries, then waits as OCALL_POLL does and tries again;
     * -EAGAIN at the deadline, -EINTR as OCALL_PARK ends. Where args[5] is 1, -OCALL_NET_NOWAIT instead of waiting if the
     * socket is marked by OCALL_NET_NONBLOCK. */
    OCALL_NET_SOCKET,     /* (family, type, protocol) -> handle */
    OCALL_NET_NONBLOCK,   /* (handle, set, on) -> 1 or 0 before: the programs' O_NONBLOCK of a socket that several processes
                             have. Kept with the socket, for all of them */
    OCALL_NET_BIND,       /* (handle, mode): address; mode: of an AF_UNIX socket's name */
    OCALL_NET_LISTEN,     /* (handle, backlog) */
    OCALL_NET_ACCEPT,     /* (handle, 0, 0, deadline) -> handle; address */
    OCALL_NET_CONNECT,    /* (handle, 0, 0, deadline): address. -EINPROGRESS in the place of -EAGAIN */
    OCALL_NET_NAME,       /* (handle, peer) -> address */
    OCALL_NET_GET_OPTION, /* (handle, level, name, size): size bytes in and out at data[0]; ret = bytes */
    OCALL_NET_SET_OPTION, /* (handle, level, name, size): bytes at data[0] */
    OCALL_NET_SEND,       /* (handle, size, flags, deadline, is_stream): address and control if they have a size.
                             A stream that waits goes on until all is sent, or returns how much was */
    OCALL_NET_RECV,       /* (handle, size, flags, deadline, control_room) -> address, control, flags; ret = bytes,
                             with MSG_TRUNC of a datagram perhaps more than size */
    OCALL_NET_SEND_MANY,  /* (handle, count, flags, deadline, size) -> how many were sent: count datagrams, each as struct
                             ocall_net_message, its control and its bytes, in turn from data[0] on, each 8-aligned; size
                             in all. Waits for one after the other; an error after the first is not told */
    OCALL_NET_RECV_MANY,  /* (handle, count, flags, deadline, size) -> how many came: what there is room for lies as above,
                             and what came in its place; waits for the first only */
    OCALL_NET_SHUTDOWN,   /* (handle, how) */
    OCALL_NET_INTERFACES, /* (links_max, addresses_max) -> struct ocall_net_link[ret] at data[0], by rising index, and
                             right after them struct ocall_net_ifaddr[out[0]]: as many as there are and have room */

    /* --- an epoll instance of the host, for each of the program's that watches handles ------- */
    OCALL_EPOLL_CREATE, /* () -> handle */
    OCALL_EPOLL_CHANGE, /* (handle, count): struct ocall_epoll_change[count] at data[0], all done in order; the
                           first error of those, if any */
    OCALL_EPOLL_WAIT,   /* (handle, max, deadline) -> struct ocall_epoll_event[ret] at data[0]; waits as OCALL_POLL */
    OCALL_DUP,          /* (handle) -> handle */

    OCALL_COUNT,
    /* clang-format on */
};

enum ocall_log_level {
    OCALL_LOG_ERROR = 1,
    OCALL_LOG_NOTE = 2,
    OCALL_LOG_STRACE = 3,
    OCALL_LOG_STATS = 4
};

struct ocall_block {
    uint64_t magic;    /* 0x00: OCALL_MAGIC, host */
    uint32_t version;  /* 0x08: OCALL_VERSION, host */
    uint32_t nr;       /* 0x0c: enum ocall_nr, enclave */
    uint64_t args[6];  /* 0x10: enclave */
    int64_t ret;       /* 0x40: host */
    uint64_t out[4];   /* 0x48: host */
    uint32_t event;    /* 0x68: host: set by UNPARK, INTERRUPT; cleared by PARK, POLL on return */
    uint32_t reserved; /* 0x6c: 0 */
    /* 0x70: host: bit (n - 1): host signal n came (SIGINT, SIGTERM, SIGHUP, SIGALRM,
     * SIGWINCH, SIGUSR1, SIGUSR2, SIGCONT, SIGPIPE never; SIGURG means: ask the hub,
     * OCALL_TREE_NUDGE). Set in the main thread's block only; the enclave clears bits
     * with an atomic AND */
    uint64_t signals;
};

/* What the host says at start. Nothing of it is believed: env and args are used only where the
 * manifest says so. Strings follow each other, NUL-terminated: first argc arguments after the pinned
 * ones, then envc NAME=VALUE. */
struct ocall_boot {
    uint32_t arg_count;
    uint32_t env_count;
    uint32_t strings_size; /* bytes after this struct */
    uint32_t flags;        /* enum ocall_boot_flags */
    uint64_t tsc_hz;       /* host's calibration, 0: unknown */
    uint64_t tree_region;  /* a child: address of the region, outside ELRANGE; 0: this is a root */
    uint32_t spawn_slot;   /* a child: where its parent speaks to it */
    uint32_t control_slot; /* a child: where the hub will */
};
enum ocall_boot_flags {
    OCALL_BOOT_STRACE = 1u << 0, /* honoured in a DEBUG enclave only */
    OCALL_BOOT_STATS = 1u << 1,
    OCALL_BOOT_SHA = 1u << 2,  /* this CPU has the SHA instructions */
    OCALL_BOOT_VAES = 1u << 3, /* and AVX2, VAES and VPCLMULQDQ */
};

struct ocall_stat {
    uint64_t dev, ino, nlink, mode, uid, gid, rdev, size, blksize, blocks;
    int64_t atime_sec, mtime_sec, ctime_sec;
    uint32_t atime_nsec, mtime_nsec, ctime_nsec, reserved;
};

struct ocall_dirent {
    uint64_t ino;
    uint16_t record_size; /* multiple of 8, this head included */
    uint8_t type;         /* DT_* */
    uint8_t reserved;
    uint16_t name_size; /* without NUL */
    uint16_t reserved2;
    char name[];
};

struct ocall_pollfd {
    int32_t handle;
    uint16_t events, revents;
};

enum ocall_epoll_op { OCALL_EPOLL_ADD = 1, OCALL_EPOLL_MODIFY = 2, OCALL_EPOLL_REMOVE = 3 };

struct ocall_epoll_change {
    int32_t handle;
    /* enum ocall_epoll_op; ADD and MODIFY: each does what the other would, if need be */
    uint32_t op;
    uint32_t events; /* EPOLL*, EPOLLET and the like too */
    uint32_t reserved;
    uint64_t token; /* comes back with events */
};

struct ocall_epoll_event {
    uint64_t token;
    uint32_t events, reserved;
};

#define OCALL_NET_DATA    (OCALL_DATA_SIZE - 8192u)
#define OCALL_NET_NOWAIT  15   /* ENOTBLK */
#define OCALL_NET_ADDRESS 128u /* struct sockaddr_storage */
#define OCALL_NET_CONTROL 4096u

struct ocall_net {
    uint32_t address_size, control_size;
    uint32_t flags; /* msg_flags */
    uint32_t reserved;
    uint8_t address[OCALL_NET_ADDRESS];
    uint8_t control[OCALL_NET_CONTROL];
};

#define OCALL_NET_MESSAGES 64u /* at once */

/* One of many. Sizes: of what follows; of a message to come, of the room for it. */
struct ocall_net_message {
    uint32_t size, control_size;
    uint32_t address_size;
    uint32_t flags; /* msg_flags */
    uint8_t address[OCALL_NET_ADDRESS];
};

#define OCALL_NET_MESSAGE_SIZE(size, control_size)                                        \
    (sizeof(struct ocall_net_message) + (((uint64_t)(control_size) + 7) & ~UINT64_C(7)) + \
     (((uint64_t)(size) + 7) & ~UINT64_C(7)))

/* Interfaces, numbers as in rtnetlink(7). */
#define OCALL_NET_NAME_SIZE 16u /* IFNAMSIZ */
#define OCALL_NET_HARDWARE  32u /* MAX_ADDR_LEN */

struct ocall_net_link {
    uint32_t index, flags; /* IFF_* */
    uint32_t mtu, queue;   /* IFLA_TXQLEN */
    uint16_t type;         /* ARPHRD_* */
    uint8_t state;         /* IFLA_OPERSTATE */
    uint8_t address_size;
    char name[OCALL_NET_NAME_SIZE]; /* with NUL */
    uint8_t address[OCALL_NET_HARDWARE], broadcast[OCALL_NET_HARDWARE];
    uint32_t reserved;
};

enum ocall_net_ifaddr_has { OCALL_NET_LOCAL = 1, OCALL_NET_BROADCAST = 2, OCALL_NET_LABEL = 4 };

struct ocall_net_ifaddr {
    uint32_t index, flags;              /* IFA_F_* */
    uint8_t family, prefix, scope, has; /* enum ocall_net_ifaddr_has */
    uint32_t preferred, valid;          /* IFA_CACHEINFO, seconds */
    char label[OCALL_NET_NAME_SIZE];
    uint8_t address[16], local[16], broadcast[16];
    uint32_t reserved;
};

enum ocall_refused_kind {
    OCALL_REFUSED_CONTENT = 1, /* chunk hash differs */
    OCALL_REFUSED_SHORT,       /* the host gave fewer bytes than the size in the manifest */
    OCALL_REFUSED_LONG,        /* more than the size in the manifest */
    OCALL_REFUSED_MISSING,     /* cannot be opened; error holds errno */
    OCALL_REFUSED_TYPE,        /* not a regular file any more */
};
enum ocall_refused_action { OCALL_REFUSED_ABORT = 1, OCALL_REFUSED_DENY = 2 };

struct ocall_refusal {
    uint32_t kind, action;
    uint64_t offset; /* of the chunk in the file */
    uint64_t expected_size, actual_size;
    uint8_t expected[32]; /* leaf hash, for CONTENT */
    uint8_t actual[32];
    uint32_t error;     /* errno, for MISSING */
    uint32_t path_size; /* path bytes follow the struct */
};

enum ocall_audit_event {
    /* clang-format off */
    OCALL_AUDIT_ABSENT = 1,   /* path not in the manifest: ENOENT was answered */
    OCALL_AUDIT_NOT_GRANTED,  /* known by name, not granted: EACCES */
    OCALL_AUDIT_EXEC,         /* exec refused */
    OCALL_AUDIT_FORK,         /* fork refused */
    OCALL_AUDIT_LISTING,      /* listing of a directory that was not listed in the trace */
    OCALL_AUDIT_SYSCALL,      /* unimplemented system call, number in value */
    OCALL_AUDIT_WRITE,        /* change of a trusted path: EROFS */
    OCALL_AUDIT_NET,          /* network use refused: the address, value = action | type << 8 (MANIFEST_NET_*); or no
                                 address, and a family or call that is not there in value */
    OCALL_AUDIT_CHILD,        /* a child was not admitted: what it proved is not what the manifest names */
    OCALL_AUDIT_GIVEN,        /* a child did not take what its parent gave it: the variable's name or the folder,
                                 value = enum ocall_given */
    /* clang-format on */
};

enum ocall_given {
    OCALL_GIVEN_DROPPED = 1, /* a variable's value that no trace had */
    OCALL_GIVEN_PUT_IN,      /* a variable that all traces had */
    OCALL_GIVEN_FOLDER,      /* it starts in the traced one */
};

struct ocall_audit {
    uint32_t event;
    uint32_t error; /* errno the program got */
    uint64_t value;
    uint32_t pid, tid;  /* as the program sees them */
    uint32_t path_size; /* path or name bytes follow the struct */
    uint32_t reserved;
};

static_assert(sizeof(struct ocall_block) == 0x78, "block head");
static_assert(sizeof(struct ocall_stat) == 120, "stat");
static_assert(sizeof(struct ocall_epoll_change) == 24, "epoll");
static_assert(sizeof(struct ocall_epoll_event) == 16, "epoll");
static_assert(sizeof(struct ocall_net) <= OCALL_DATA_SIZE - OCALL_NET_DATA, "net");
static_assert(sizeof(struct ocall_net_message) == 144, "message");
static_assert(sizeof(struct ocall_net_link) == 104, "link");
static_assert(sizeof(struct ocall_net_ifaddr) == 88, "ifaddr");
static_assert(sizeof(struct ocall_refusal) == 32 + 64 + 8, "refusal");
static_assert(sizeof(struct ocall_audit) == 32, "audit");
static_assert(sizeof(struct ocall_boot) == 40, "boot");
