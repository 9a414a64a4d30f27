/*
 * The hub: the root enclave's service to the other enclaves of its tree, and their way to ask it. It holds
 * what several processes share: the process table, shared open files, scratch files, semaphores' waiters.
 * docs/process-tree.md. Tier: enclave.
 *
 * In the root one thread of the library OS (no program thread) serves all channels. Handlers run on it and
 * must not block: what cannot be answered yet is kept as a job and tried again when its waiter is told. The
 * root's own program threads do not ask: they call the same functions (ptable.h, files) directly.
 *
 * In every other process: a control channel, shared by its threads under a mutex, for what is answered at
 * once; and for each thread that ever asks something that may block, a channel of its own.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "thread/wait.h"
#include "tree/attest.h"
#include "tree/channel.h"

#define HUB_DATA_MAX (64u << 10) /* bytes of data beside a request or reply */

enum hub_op {
    /* clang-format off */
    HUB_HELLO = 1,   /* control channel, first: () */
    HUB_OPEN,        /* (): a channel for a thread -> out[0] slot; data: secret */
    HUB_CANCEL,      /* (slot, number of the message): that request is to be answered now (-EINTR) */
    HUB_EVENTS,      /* (at most, started: 0/1): data: struct hub_event[]; ret = count. Asked after a nudge. With 1:
                        answered once this process's start is done (HUB_SPAWN_DONE) */
    HUB_EXIT,        /* (status as wait4 gives it): this process ended. Not answered */

    /* Process table, see ptable.h; arguments as the system calls. */
    HUB_NEW_PID,     /* (exit signal): a child of this process that does not run yet -> pid */
    HUB_FORGET_PID,  /* (pid): it never will */
    HUB_CHILD_EXIT,  /* (pid, status): one that never got an enclave of its own (vfork) has ended */
    HUB_SPAWN,       /* (pid: of a child that does not run yet, or the own: exec in place); data: MRENCLAVE
                        -> out[0] control slot, out[1] spawn slot; data: struct attest_ticket */
    HUB_SPAWN_DONE,  /* (pid, error, by exec: 0/1): it runs (0); or it does not: the slots are free again.
                        With the own pid and 0: the new enclave is this process now, this one must leave.
                        -EPROTO: it cannot run, it has not said hello; as with an error. data: of another
                        program the label (ptable.h) */
    HUB_WAIT,        /* blocking: (idtype, id, options, birth of a P_PID or 0) -> ret pid; out[0] status; out[1] uid; out[2..3]
                        user, system us */
    HUB_KILL,        /* (pid as kill(2), signal, code, value, its birth or 0) */
    HUB_SETPGID, HUB_GETPGID, HUB_SETSID, HUB_GETSID, HUB_GETPPID,
    HUB_PDEATHSIG,   /* (signal) */
    HUB_SUBREAPER,   /* (set: 0/1, on: 0/1) -> 0/1 */
    HUB_TTY_PGRP,    /* (set: 0/1, pgrp): the terminal's foreground group */
    HUB_STOPPED,     /* (signal): every thread of this process waits for SIGCONT. -EPERM: it is not to */
    HUB_CONTINUED,   /* (): it goes on */
    HUB_NOWAIT,      /* (0/1): SIGCHLD is ignored or has SA_NOCLDWAIT */
    HUB_VIEW,        /* (pid) -> data: struct ptable_view, label */
    HUB_NEXT_PID,    /* (pid) -> ptable_next() */

    /* Files the hub holds, vfs/remote/remote.h. */
    HUB_FILE_FIRST = 64,
    HUB_FILE_LAST = 127,
    /* Shared memory and futexes on it, mm/dsm.h. */
    HUB_MEM_FIRST = 128,
    HUB_MEM_LAST = 159,
    /* clang-format on */
};

struct hub_request {
    uint32_t op;
    uint32_t size; /* bytes of data that follow */
    uint64_t args[5];
    int32_t self; /* who asks: the process, or its child that does not run yet (vfork); checked */
    uint32_t reserved;
};

struct hub_reply {
    int64_t ret;
    uint64_t out[4];
    uint32_t size; /* bytes of data that follow */
    uint32_t reserved;
};

enum hub_event_kind {
    /* clang-format off */
    HUB_EVENT_SIGNAL = 1, /* a: number, b: code, c: pid, d: value; e: uid, and above bit 32 for whom: 0 this process,
                             else its child that has no enclave yet */
    HUB_EVENT_READY,      /* a: file handle whose readiness may have changed: wake its waiters */
    HUB_EVENT_REVOKE,     /* a: shared memory object, b: page, c: 1: keep it readable, 0: give it up */
    /* clang-format on */
};
struct hub_event {
    uint32_t kind, a;
    uint64_t b, c, d, e;
};

/* --- asking (processes that are not the root) ---------------------------------------------------- */
/* Is this process the tree's root, i.e. the hub itself? Then nobody asks. */
bool hub_is_here(void);
struct hub_ask {
    enum hub_op op;
    uint64_t args[5];
    const void *data; /* library OS memory */
    uint32_t size;    /* <= HUB_DATA_MAX */
    void *reply;      /* room for the reply's data; may be NULL */
    uint32_t room;
    uint32_t reply_size; /* what came */
    uint64_t out[4];
};
/* Answered at once: over the control channel. ret of the reply. If the hub is lost there is no return:
 * the process ends as killed. */
int64_t hub_ask(struct hub_ask *ask);
/* May take long: over the thread's own channel; -EINTR if a signal is to be delivered first (the request
 * was taken back then, unless it was answered meanwhile: then that answer counts). */
int64_t hub_ask_blocking(struct hub_ask *ask);
/* The calling thread ends. */
void hub_thread_done(void);
/* The last word of this process: not answered, as the hub gives its channels' memory back at once; nobody can
 * ask any more. */
void hub_say_last(const struct hub_ask *ask);
/* After a nudge, on the way to look at signals: fetches and applies events. */
void hub_events_fetch(void);
/* The same at a process's start, once its parent has seen to the end that it starts. Before, nothing of the program may
 * run: what did would have been done by a process that was never there, if the parent is told that it failed. */
void hub_started(void);
/* A new process: its control channel, by the ticket that came from its parent, which is wiped; then says hello. */
void hub_client_init(uint32_t control_slot, int32_t pid, struct attest_ticket *ticket);
/* This process ends: the status as wait4 gives it. No return. */
NORETURN void hub_leave(int32_t status);

/* --- serving (the root) --------------------------------------------------------------------------- */
struct peer; /* one process as the hub knows it: links.h */

struct hub_job;
/* Who the request speaks for: the process, or its child that has no enclave yet; 0: neither. */
int32_t hub_job_self(const struct hub_job *job);

struct hub_job {
    struct hub_job *next;
    struct peer *peer;
    uint32_t slot;
    struct hub_request request;
    uint8_t *data; /* the request's, request.size bytes */
    struct hub_reply reply;
    uint8_t *reply_data; /* HUB_DATA_MAX bytes to fill; reply.size says how many */
    /* For handlers that wait: notify is set; put it on a queue, return HUB_LATER. */
    struct waiter waiter;
    bool told;         /* the waiter was told: try again */
    bool first;        /* the handler runs for the first time */
    uint64_t progress; /* kept between tries: what a cancelled job answers instead of -EINTR */
};
/* ret of the reply, or HUB_LATER: the job's waiter was put on a queue; the handler is called again, from
 * the start, once it is told. */
#define HUB_LATER INT64_MIN
typedef int64_t hub_handler(struct hub_job *job);
hub_handler hub_files;  /* vfs/remote/serve.c: HUB_FILE_FIRST..LAST */
hub_handler hub_memory; /* mm/dsm/serve.c */
void hub_memory_drop(struct peer *peer);
/* Does this process have shared memory, i.e. perhaps pages that nobody else has? Call it without the hub's mutex. */
bool hub_memory_has(int32_t pid);

/* Tells a process: appended to its events, then a nudge. Any thread of the root. The root itself (pid of
 * the root): applied at once. */
void hub_tell(int32_t pid, const struct hub_event *event);
/* A signal from outside, to the root's host process: the terminal's go to its foreground group, others to the
 * root's pid, wherever that is now, or if it has ended to all that are left. false: there is no tree, the program
 * takes it as ever. */
bool hub_host_signal(int number);
/* The root's program has ended (or gone on elsewhere, with process_replaced): gives up what it holds, waits
 * for the processes that are left, then ends the host process with what its pid ended with. No return. */
NORETURN void hub_end(int32_t status, bool replaced);
/* Makes the region and starts the hub's thread, when the first process is about to be started. */
MUST_CHECK int hub_start(void);
/* The peer's handles, for serve.c: freed with the peer by hub_files_drop(). */
void **peer_files(struct peer *peer);
int32_t peer_pid(const struct peer *peer);
struct peer *peer_by_pid(int32_t pid);
const uint8_t *peer_mrenclave(const struct peer *peer);
void hub_files_drop(struct peer *peer); /* none of its jobs waits on a file any more */
/* The hub's thread, when hub_wake() was called: tells what files have become ready. */
void hub_files_told(void);
