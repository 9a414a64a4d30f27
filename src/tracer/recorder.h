/*
 * The recorder's own state; private to src/tracer. record.c runs the ptrace loop, handle.c knows
 * the calls, socket.c those on sockets, exec.c how programs start, known.c the tables of paths and what was said already,
 * tracee.c how to look into another process.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <uthash.h>

#include "tracer/calls.h"
#include "tracer/log.h"
#include "tracer/resolve.h"
#include "tracer/trace.h"

/* A growing set of 64-bit hashes: "was this said already". Zeroed is empty. */
struct seen {
    uint64_t *slots;
    size_t room, count;
};
/* true if it was not there before. Without memory: true. */
bool seen_add(struct seen *s, uint64_t hash);
uint64_t seen_hash(uint64_t start, const void *data, size_t size);

struct known_path {
    char *path;
    uint32_t index;
    struct trace_stat before;
    struct seen names;               /* listed */
    int64_t listed_sec, listed_nsec; /* the folder's mtime then */
    bool opened; /* at the last look the kernel opened exactly this path for it */
    UT_hash_handle hh;
};

/* A program in a process, as in the trace; one per thread group, changed by exec. */
struct process {
    pid_t tgid;
    uint32_t index; /* in the trace; TRACE_NO_PROCESS: our own child before its first exec */
    uint64_t start_time;
    enum trace_how how;
    bool own_memory;      /* not a vfork child that still runs in its parent's */
    bool own_cwd_unknown; /* a thread may have a cwd of its own (CLONE_FS) */
    char *cwd;            /* NULL: not known, ask /proc */
    char *root;           /* "/" */
    bool identity_known;  /* uid, gid, umask; false: a call has changed them since */
    uint32_t uid, gid, umask;
    uint64_t vm_peak;
    unsigned threads, thread_peak;
    uint32_t *done; /* bits per path that the trace has already */
    size_t done_room;
    struct seen sockets;
    bool bound;      /* an internet address, or (the first process) a Unix one */
    uint64_t mapped; /* sum over the hashes of files mapped executable */
    UT_hash_handle hh;
};

/* A socket as it was at the entry of a call. */
struct socket_state {
    uint32_t type; /* SOCK_STREAM...; 0: not known */
    uint32_t size; /* of local; 0: it has no address, or it is not known */
    uint8_t local[sizeof(struct sockaddr_storage)];
};

/* The call a task is in, from its entry stop to its result. */
struct pending {
    const struct call *call; /* NULL: none */
    bool is_32;
    uint64_t number;
    uint64_t args[6];
    uint32_t path, path_to;
    struct resolve_node *node, *node_to;
    bool existed, existed_to;
    uint64_t flags;    /* open or rename flags */
    char *text;        /* resolved cwd or root; exec name. Owned. */
    char *interpreter; /* exec: PT_INTERP of path_to, the end of the shebang chain. Owned. */
    struct socket_state socket;
    char **exec_names; /* the name and its shebang interpreters, NULL at the end. Owned. */
};

struct task {
    pid_t tid;
    struct process *process; /* NULL: stopped before its parent told of it */
    bool waiting;            /* process NULL, and it stands in its first stop */
    uint64_t clone_flags;    /* of its last clone3 */
    struct pending pending;
    UT_hash_handle hh;
};

struct recorder {
    struct log log;
    struct resolver *resolver;
    struct known_path *paths; /* hash by path */
    struct known_path **path_list;
    size_t path_count, path_room;
    struct process *processes; /* hash by tgid */
    struct task *tasks;        /* hash by tid */
    uint32_t process_count;    /* in the trace */
    struct seen notes;
    struct seen mapped; /* sets of executable mappings that were compared with /proc/PID/maps */
    pid_t root_pid;
    bool root_started;
    bool serves; /* record.h: struct tracer_end */
    int root_status;
    size_t waiting;         /* tasks whose parent has not told of them */
    struct resolved r1, r2; /* scratch of the handlers */
};

/* ---- known.c ---- */

/* The path's index, told to the trace at the first time. resolved says what stood there; the
 * node (or NULL) remembers the index. TRACE_NO_PATH without memory. */
uint32_t known_path(struct recorder *r, pid_t tgid, const struct resolved *at);
/* The same for a canonical path that is only known by its name. */
uint32_t known_name(struct recorder *r, pid_t tgid, const char *path);
/* Says that p did this, unless the trace has it already. */
void known_touch(struct recorder *r, struct process *p, uint32_t path, uint32_t bits);
/* Remarks are made once per text. */
void known_note(struct recorder *r, const struct process *p, bool incomplete, const char *format,
                ...) PRINTF(4, 5);
void known_free(struct recorder *r);
/* LOG_AFTER for all that differs now, then LOG_END. */
void known_finish(struct recorder *r);

/* ---- tracee.c ---- */

/* Bytes read, up to the first page that is not there; 0 if none. */
size_t tracee_read(pid_t tid, uint64_t address, void *buf, size_t size);
/* false if not all of it could be written. */
MUST_CHECK bool tracee_write(pid_t tid, uint64_t address, const void *data, size_t size);
/* A string with its NUL; -EFAULT, -ENAMETOOLONG (no NUL within size), -EPERM (a process that is
 * not dumpable, and no privilege to look into it all the same). */
MUST_CHECK int tracee_string(pid_t tid, uint64_t address, char *buf, size_t size);
/* readlink of /proc/TID/NAME, NUL-terminated; negative errno. */
MUST_CHECK int tracee_link(pid_t tid, const char *name, char *buf, size_t size);
/* The path behind a descriptor; -ENOENT if it has none (pipe, socket, memfd, deleted file). */
MUST_CHECK int tracee_fd(pid_t tid, int fd, char *buf, size_t size);
/* A copy of a descriptor of the process (pidfd_getfd(2): Linux 5.6, and whoever may ptrace it); -errno. */
MUST_CHECK int tracee_take_fd(pid_t tgid, int fd);
static inline void closedir_p(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}
/* The whole of /proc/TID/NAME, NUL-terminated past ret_size; NULL on failure. free() it. */
char *tracee_file(pid_t tid, const char *name, size_t *ret_size);
uint64_t tracee_start_time(pid_t tid);
/* uid, gid, umask, VmPeak from /proc/TID/status. */
void tracee_status(struct process *p, pid_t tid);
/* cwd into buf; a deleted one is given under its old name. */
MUST_CHECK int tracee_cwd(pid_t tid, char *buf, size_t size);

/* ---- handle.c ---- */

/* At the entry of a call the filter stopped. true: stop at its result too. */
bool handle_entry(struct recorder *r, struct task *t);
void handle_result(struct recorder *r, struct task *t, int64_t result);
void pending_done(struct pending *p);
/* Resolves name for the task; links on the way are recorded. dir_fd as in openat(2). false: there
 * is nothing to resolve (a descriptor without path). */
bool handle_resolve(struct recorder *r, struct task *t, int dir_fd, const char *name,
                    unsigned flags, struct resolved *ret);

/* The TRACE bits of a call on a path that ended so: bits, or that it was absent or denied, or 0. */
uint32_t handle_asked_bits(int error, uint32_t bits);

/* ---- socket.c ---- */

/* bind and connect. */
bool socket_entry(struct recorder *r, struct task *t);
void socket_result(struct recorder *r, struct task *t, int64_t result);
/* listen; true: the kernel gives the socket an address, which its result shows. */
bool socket_listen(struct recorder *r, struct task *t);
void socket_listened(struct recorder *r, struct task *t, int64_t result);
void socket_send(struct recorder *r, struct task *t);

/* ---- exec.c ---- */

bool exec_entry(struct recorder *r, struct task *t);
void exec_result(struct recorder *r, struct task *t, int64_t result);
/* At PTRACE_EVENT_EXEC: the process is another program now. */
void exec_done(struct recorder *r, struct task *t);
/* A child came to be that runs its parent's program. */
void exec_forked(struct recorder *r, struct process *child, const struct process *parent,
                 enum trace_how how, uint64_t clone_flags);
/* The process is gone; status as waitpid gives it. */
void exec_ended(struct recorder *r, const struct process *p, int status);
/* Before the memory goes: peak size, and executable mappings that no call showed. */
void exec_sample(struct recorder *r, struct process *p, pid_t tid);
/* Records the files mapped in [address, address + size), executable or not; with size 0, those
 * mapped executable anywhere. */
void exec_mappings(struct recorder *r, struct process *p, pid_t tid, uint64_t address,
                   uint64_t size);

/* ---- record.c ---- */

/* Makes the call fail with error (a positive errno) instead of running. */
void record_skip_call(struct task *t, int error);
/* At an exec stop: the stack pointer, and the size of a word there. */
MUST_CHECK bool record_stack(pid_t tid, uint64_t *ret_address, size_t *ret_word);
/* Clears bits in the call's first argument. */
void record_clear_arg0(struct task *t, uint64_t mask);
