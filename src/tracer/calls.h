/*
 * Which system calls the recorder stops at, and what their arguments mean. Tier: hosted.
 * Numbers are our own (Debian's headers end at call 450): x86-64 and i386, up to Linux 6.18, from
 * the kernel's syscall_64.tbl and syscall_32.tbl.
 */
#pragma once

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

#include "core/attr.h"

/* The last call number known here; what lies above stops as CALL_UNKNOWN and is named. */
#define CALLS_LAST_64 470
#define CALLS_LAST_32 470
#define CALLS_X32_BIT 0x40000000u

enum call_op {
    CALL_OPEN,   /* entry; the result too unless it is known beforehand */
    CALL_PROBE,  /* entry only: whether the path exists is looked up by the recorder itself */
    CALL_CHANGE, /* entry and result: `bits` if it succeeded */
    CALL_SYMLINK,
    CALL_MOVE,
    CALL_LINK,
    CALL_CHDIR,
    CALL_FCHDIR,
    CALL_CHROOT,
    CALL_GETDENTS, /* entry only: the recorder lists the folder itself */
    CALL_EXEC,
    CALL_MMAP,     /* of a file, executable: the filter looks at the arguments */
    CALL_MPROTECT, /* to executable */
    CALL_SOCKET,
    CALL_SOCKETCALL, /* i386: bind and connect behind one number */
    CALL_LISTEN,     /* the result only if the socket had no address */
    CALL_SEND,       /* entry only: a datagram to an address (x86-64 only) */
    CALL_CLONE,
    CALL_IDENTITY,  /* uid, gid or umask change: they are asked for again at the next exec */
    CALL_NAMESPACE, /* unshare, setns */
    CALL_MOUNT,
    CALL_PTRACE,
    CALL_REFUSE, /* made to fail with ENOSYS, and named */
    CALL_ESCAPE, /* goes on, and is named: the trace is not complete */
    CALL_UNKNOWN,
    CALL_X32,
};

enum {
    CALL_CREAT = 1u << 0,    /* flags are O_CREAT|O_WRONLY|O_TRUNC */
    CALL_OPENAT2 = 1u << 1,  /* argument 2 points to struct open_how */
    CALL_NOFOLLOW = 1u << 2, /* a symlink in the last component is meant itself */
    CALL_TRUNCATE = 1u << 3, /* argument 1 is the new size */
    CALL_CLONE3 = 1u << 4,   /* argument 0 points to struct clone_args */
    CALL_OLD_MMAP = 1u << 5, /* argument 0 points to the six arguments */
    CALL_MESSAGE = 1u << 6,  /* argument 1 points to struct msghdr */
    CALL_MESSAGES = 1u << 7, /* argument 1 points to struct mmsghdr, argument 2 of them */
};

#define CALL_NO_ARG 0xff

struct call {
    const char *name;
    int16_t number_64, number_32; /* -1: not there */
    uint8_t op;
    uint8_t dir_arg, path_arg, flags_arg; /* argument indexes, CALL_NO_ARG if none */
    uint32_t bits;                        /* TRACE_* */
    uint32_t flags;                       /* CALL_* */
};

/* All calls that stop. An index into it travels in the seccomp filter's RET_DATA. The last two
 * stand for unknown numbers and for x32. */
extern const struct call calls[];
extern const size_t calls_count;

#define CALLS_FILTER_MAX 2048

/* Writes the seccomp filter; returns its length in instructions (at most CALLS_FILTER_MAX). */
MUST_CHECK size_t calls_filter(struct sock_filter ret_filter[static CALLS_FILTER_MAX]);
