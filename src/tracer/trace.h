/*
 * A trace: what one run of a program touched, as the recorder (record.h) wrote it. Tier: hosted.
 * Not thread-safe per object.
 *
 * In memory: a table of processes, a table of paths, and per process the accesses that join them.
 * A struct trace_process is one *program in one process*: a fork makes a new entry, and so does
 * an exec in place (same pid and start time; its parent is the entry it replaced). So an
 * ordinary spawn is three entries: the parent, the forked child (how FORK or VFORK), the program it
 * became (how EXEC).
 *
 * Strings are bytes, never checked to be UTF-8, and NUL-terminated; Linux paths, arguments and
 * variables hold no NUL. Paths are absolute, resolved component by component (no symlink in any
 * component but the last, and there only where the link itself was meant). The process's own
 * /proc/PID is spelled /proc/self. Everything a struct trace points to lives until trace_free.
 *
 * On disk (format "sgxpy-trace", version 1, mode 0600: it holds environment values): 12 bytes of
 * magic, a 32-bit version, then records, only ever appended:
 *     u32 payload size, u32 checksum of the payload, payload (kind byte, then fields)
 * Integers are little-endian; fields are LEB128 numbers and byte strings with their size in front
 * (log.h). What a crash left (a torn record, zeros) ends the log: everything before it counts,
 * and the trace is not complete. The log holds a record that says "complete" at its very end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/attr.h"
#include "util/err.h"

#define TRACE_VERSION    1u
#define TRACE_FILE_MAX   (1024ul << 20) /* larger files are refused */
#define TRACE_NO_PROCESS UINT32_MAX
#define TRACE_NO_PATH    UINT32_MAX

/* What was done to a path. ABSENT: asked for and not there (ENOENT or ENOTDIR). */
enum {
    TRACE_READ = 1u << 0,         /* opened for reading (a file; directories: LISTED, OPENED) */
    TRACE_WRITTEN = 1u << 1,      /* opened for writing */
    TRACE_CREATED = 1u << 2,      /* came to be by this access: open, mkdir, symlink, mknod, link */
    TRACE_TRUNCATED = 1u << 3,    /* its old content was dropped: O_TRUNC, truncate */
    TRACE_MAPPED_EXEC = 1u << 4,  /* mapped executable; also the program itself and PT_INTERP */
    TRACE_EXECUTED = 1u << 5,     /* given to exec, or a shebang interpreter of such a file */
    TRACE_STAT = 1u << 6,         /* metadata asked for: stat, access, statfs, getxattr, O_PATH */
    TRACE_LISTED = 1u << 7,       /* a directory whose entries were read: names[] */
    TRACE_LINK = 1u << 8,         /* a symlink that was followed or read: link_target */
    TRACE_RENAMED_FROM = 1u << 9, /* moved away */
    TRACE_RENAMED_TO = 1u << 10,  /* came to be by rename, or was replaced by one */
    TRACE_REMOVED = 1u << 11,     /* unlink, rmdir */
    TRACE_ABSENT = 1u << 12,
    TRACE_CHANGED = 1u << 13,   /* metadata changed: chmod, chown, utimens, setxattr */
    TRACE_OPENED = 1u << 14,    /* a directory or special file opened, or made the cwd */
    TRACE_DENIED = 1u << 15,    /* a call on it failed with EACCES or EPERM */
    TRACE_BOUND = 1u << 16,     /* AF_UNIX socket bound to it; see struct trace_socket */
    TRACE_CONNECTED = 1u << 17, /* AF_UNIX socket connected to it, or a datagram sent */
};
#define TRACE_ALL_BITS ((1u << 18) - 1)

enum trace_how {
    TRACE_HOW_ROOT = 0,  /* the command that was traced */
    TRACE_HOW_FORK = 1,  /* fork, or clone without shared memory */
    TRACE_HOW_VFORK = 2, /* vfork, or clone with CLONE_VFORK: posix_spawn, subprocess */
    TRACE_HOW_CLONE = 3, /* another process that shares memory with its parent */
    TRACE_HOW_EXEC = 4,  /* exec in place */
};

/* Metadata of one path at one time. mode 0: there was nothing. */
struct trace_stat {
    uint32_t mode; /* type and permissions, as st_mode */
    uint32_t uid, gid;
    uint64_t size;
    int64_t mtime_sec;
    uint32_t mtime_nsec;
    uint64_t dev, ino, nlink, rdev;
};

struct trace_name {
    const char *name;
    uint8_t type; /* DT_*, as the directory said */
};

struct trace_path {
    const char *path;
    /* At the first access, before it took effect; mode 0: absent, also what came with a renamed folder. */
    struct trace_stat before;
    struct trace_stat after; /* when the traced program had ended; mode 0: absent */
    bool after_known;        /* false: the trace broke off before */
    const char *link_target; /* text of the symlink, else NULL */
    uint32_t bits;           /* of all processes together */
    /* A process read what was there before the run changed it. Opening an existing file for
     * reading and writing counts; one that the run created or truncated does not. */
    bool read_before_written;
    /* Of all LISTED together, sorted by name: all entries there were at each listing, even if the
     * program stopped reading early; without ".", ".." and the trace itself. */
    struct trace_name *names;
    size_t name_count;
};

/* One process's doings on one path. Order numbers grow over the whole trace; 0: never. */
struct trace_access {
    uint32_t path; /* index into trace.paths */
    uint32_t bits;
    uint64_t first;       /* any access */
    uint64_t first_read;  /* READ or MAPPED_EXEC */
    uint64_t first_write; /* WRITTEN, CREATED, TRUNCATED or RENAMED_TO */
};

/* A rename or hard link that succeeded. After EXCHANGE both paths stand. */
enum trace_move_kind { TRACE_MOVE_RENAME = 0, TRACE_MOVE_LINK = 1, TRACE_MOVE_EXCHANGE = 2 };
struct trace_move {
    enum trace_move_kind kind;
    uint32_t process, from, to; /* process and path indexes */
    uint64_t order;
};

struct trace_socket {
    /* TRACE_BOUND (bind; listen without it), or TRACE_CONNECTED (connect; a datagram sent) */
    uint32_t bits;
    uint32_t type; /* SOCK_STREAM, SOCK_DGRAM...; 0: not known */
    const void *
        address; /* struct sockaddr, raw, as the program gave it; listen without bind: any, port 0 */
    size_t address_size; /* at most 128 */
    /* Its own address: after a bind what the kernel made of it, before a datagram is sent what it was then.
     * NULL, 0: none, or not known. */
    const void *local;
    size_t local_size;
    uint32_t path;       /* AF_UNIX with a path: index, else TRACE_NO_PATH */
    char text[160];      /* for people: "127.0.0.1:80", "unix:@name" */
    char local_text[64]; /* of local; "" */
};

/* A program in a process. Identity of the process: (pid, start_time). */
struct trace_process {
    uint32_t pid;
    uint64_t start_time; /* clock ticks since boot, /proc/PID/stat field 22 */
    uint32_t parent;     /* index, TRACE_NO_PROCESS for the root */
    enum trace_how how;
    uint64_t clone_flags; /* as far as seen; 0 for fork, vfork, exec */

    /* As given at the last exec; entries made by fork share their parent's. */
    const char *executable;   /* resolved: what /proc/PID/exe names */
    uint32_t executable_path; /* index; TRACE_NO_PATH if it has no path (memfd) */
    /* What exec was given, then each shebang interpreter, resolved; the last one is the
     * executable (unless binfmt_misc came in between). One entry for an ordinary ELF program. */
    uint32_t *chain;
    size_t chain_count;
    const char *exec_name;    /* the path as exec was given it, unresolved */
    uint32_t elf_interpreter; /* PT_INTERP (ld.so), resolved; TRACE_NO_PATH: static */
    char **argv;              /* argv[argc] is NULL; as the program sees it, after shebang */
    size_t argc;
    char **envp; /* "NAME=VALUE" as the program got it; envp[env_count] is NULL */
    size_t env_count;

    const char *cwd; /* at exec or fork */
    uint32_t uid, gid, umask;

    struct trace_access *accesses; /* sorted by path index */
    size_t access_count;
    struct trace_socket *sockets;
    size_t socket_count;

    bool ended;           /* exit or exec in place was seen */
    bool replaced;        /* ended by exec in place */
    int wait_status;      /* as waitpid(2) gives it; meaningful if ended and not replaced */
    uint64_t vm_peak;     /* bytes, VmPeak; 0: unknown (killed; vfork child) */
    uint32_t thread_peak; /* at least 1 */
};

/* A remark of the recorder. incomplete: something the program did may be missing in the trace. */
struct trace_note {
    uint32_t process; /* or TRACE_NO_PROCESS */
    bool incomplete;
    const char *text;
};

struct trace {
    uint64_t time;        /* of the start, seconds since 1970 */
    const char *hostname; /* uname -n */
    const char *kernel;   /* uname -r */
    const char *cwd;      /* where the command was started */
    char **argv;          /* the command as the user gave it */
    size_t argc;

    bool complete;          /* false: see why */
    const char *incomplete; /* first reason in words, NULL if complete */

    struct trace_process *processes; /* in order of creation; [0] is the root */
    size_t process_count;
    struct trace_path *paths; /* in order of first access */
    size_t path_count;
    struct trace_move *moves;
    size_t move_count;
    struct trace_note *notes;
    size_t note_count;
};

/*
 * Reads the trace at path. A torn tail is no error (complete is false); another magic or version,
 * a record that contradicts itself or those before it, or a file above TRACE_FILE_MAX is:
 * -EBADMSG, -EPROTO (version), -EFBIG, -ENOENT... with one line for the user.
 * On failure *ret is untouched. Free with trace_free.
 */
MUST_CHECK int trace_load(const char *path, struct trace **ret, struct err *err);
/* The same from memory; name stands for the file in messages. data is copied. */
MUST_CHECK int trace_parse(const char *name, const void *data, size_t size, struct trace **ret,
                           struct err *err);
void trace_free(struct trace *t);
void trace_free_p(struct trace **t); /* for CLEANUP() */

/* What the program p did to the path, or NULL. */
const struct trace_access *trace_access_find(const struct trace_process *p, uint32_t path);
/* The path's index, or TRACE_NO_PATH. path is canonical bytes, as in the table. */
uint32_t trace_path_find(const struct trace *t, const char *path);
/* The value of NAME in envp, or NULL. */
const char *trace_getenv(const struct trace_process *p, const char *name);

static inline bool trace_existed_before(const struct trace_path *p)
{
    return p->before.mode != 0;
}
static inline bool trace_exists_after(const struct trace_path *p)
{
    return p->after_known && p->after.mode != 0;
}
/* Created by the run and gone when it ended. */
static inline bool trace_is_temporary(const struct trace_path *p)
{
    return p->before.mode == 0 && p->after_known && p->after.mode == 0 &&
           (p->bits & (TRACE_CREATED | TRACE_RENAMED_TO));
}

/* Names of the bits, "read written", into buf (cut if too small); returns buf. */
const char *trace_bits_text(uint32_t bits, char *buf, size_t size);
/* The whole trace as text for people; bytes that do not print are written \xNN. */
void trace_print(FILE *out, const struct trace *t);
