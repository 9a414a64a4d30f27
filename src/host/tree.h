/*
 * This host process's part in a tree of them: the shared region (abi/tree.h), waiting and waking
 * across processes, starting further ones and learning of their end. Tier: hosted, untrusted.
 * Internal to src/host. The files: tree.c (region, waits, wakes), spawn.c (new host processes),
 * spare.c (one made in advance), reaper.c (their end), child.c (the new one's beginning), pass.c
 * (descriptors between them), ocalls_tree.c.
 *
 * Nothing here is lost, by the rule of thread.h: the sender writes and then looks whether somebody
 * sleeps; the sleeper says that it sleeps and then looks at the word. A wait on a slot is case C
 * there (THREAD_BLOCKED): this thread's event ends it with -EINTR. The hub's wait (TREE_SERVE) is
 * one of its own, THREAD_SERVING: whoever sets its event rings the bell.
 *
 * Who is whose child. All host processes are children of the root's. The root's own clones are made
 * by one thread that never ends, because PR_SET_PDEATHSIG is bound to the thread that made the
 * clone; other processes clone with CLONE_PARENT, which makes a child of that same thread.
 *
 * Signals. SIGINT, SIGQUIT, SIGHUP and SIGWINCH, which a terminal sends to all, are ignored in all
 * processes but the root: its enclave knows who is to get them. SIGTSTP and SIGCONT keep their
 * defaults everywhere: the tree stops and goes on as a whole. SIGURG is the hub's nudge: blocked
 * from before exec until the handler stands, so that none is lost.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/tree.h"
#include "core/attr.h"
#include "host/host.h"
#include "host/thread.h"
#include "util/err.h"

#define TREE_HANDLES_MAX 16384
#define TREE_CHILD_VERB  "--tree-child"
/* A child's host process that ends with this plus a code stops the tree with that exit code. */
#define TREE_EXIT_STOPS  64

struct tree {
    struct tree_region *region;
    int fd;       /* of the region */
    uint32_t pid; /* of this host process */
    bool is_root;
    int cpu_count;
    bool spins;                        /* more than one CPU */
    uint32_t quiet_waits;              /* tree_spin: so many without yields */
    int spare_out, spare_in;           /* sockets, see spare.c; -1: none */
    int pass_out, pass_in;             /* see pass.c; -1: none; pass_in is the root's */
    uint32_t spawn_slot, control_slot; /* a child's */
};

/* What a child's command line says (child.c). */
struct tree_child {
    int region_fd, log_fd, spare_out, spare_in, pass_out;
    uint32_t spawn_slot, control_slot;
    uint32_t node; /* its number in the bundle */
    int32_t *handles;
    size_t handle_count;
    bool spare; /* nobody has asked for it yet: slots and handles come later */
};

/* The region, made by the root; with its two threads. host->tree is set. Again: 0. After the
 * enclave was created: it lies outside ELRANGE. */
MUST_CHECK int tree_open(struct host *host);
/* The region of a child. -EBADMSG: it is none. */
MUST_CHECK int tree_attach(struct host *host, const struct tree_child *child, struct err *err);
/* For tests: a tree of this process alone, which becomes its root, without threads. */
MUST_CHECK int tree_make(struct host *host);

/* NULL for an index there is not. */
struct tree_slot *tree_slot_at(const struct tree *tree, uint64_t index);
struct tree_cell *tree_cell_at(const struct tree *tree, uint32_t slot, uint32_t direction,
                               uint32_t cell);
/* Slot and pids are known from here on, to the reaper too. */
void tree_slot_use(struct tree *tree, uint32_t index, uint32_t kind, uint32_t client_pid,
                   uint32_t server_pid);
void tree_slot_free(struct tree *tree, uint32_t index);

/* posted or taken += 1 and the wake. */
void tree_post(struct tree *tree, uint32_t index, uint32_t direction);
void tree_take(struct tree *tree, uint32_t index, uint32_t direction);
/* For who is about to sleep: one step of looking on for a while, instead. *step is 0 at first; false: enough. */
bool tree_spin(struct tree *tree, unsigned *step);
enum tree_count { TREE_POSTED, TREE_TAKEN };
/* Until the count != seen: 0; -EPIPE, -EINTR, -ETIMEDOUT as OCALL_TREE_WAIT. */
MUST_CHECK int tree_wait(struct host_thread *t, uint32_t index, uint32_t direction,
                         enum tree_count what, uint32_t seen, uint64_t deadline_ns);
/* OCALL_TREE_SERVE. */
MUST_CHECK int tree_serve(struct host_thread *t, uint64_t deadline_ns);
/* Async-signal-safe. */
void tree_ring(struct tree *tree);

/* Whether this process is to name the unprotected files of that node: the first one is. */
bool tree_announces(struct tree *tree, uint32_t node);

/* The slots of a process that ended: dead, and whoever waits there awake. */
void tree_mark_dead(struct tree *tree, uint32_t pid);
/* A signal for the client of a control slot; the root only. -ESRCH if it has ended. */
MUST_CHECK int tree_signal(struct tree *tree, uint32_t index, int signal);

/* spawn.c. OCALL_TREE_SPAWN, arguments checked. */
MUST_CHECK int tree_spawn(struct host *host, const uint8_t mrenclave[static 32],
                          uint32_t spawn_slot, uint32_t control_slot, const int32_t *handles,
                          size_t handle_count);
/* Starts one in advance for this node. The root only. */
MUST_CHECK int tree_spawn_spare(struct host *host, uint32_t node);
/* The root's thread that clones. */
MUST_CHECK int tree_spawner_start(struct tree *tree);

/* spare.c. The root's part, and what every process does before and after a start of node. */
MUST_CHECK int tree_spare_start(struct host *host);
/* True: the spare one was given these slots and handles. */
bool tree_spare_take(struct tree *tree, uint32_t node, uint32_t spawn_slot, uint32_t control_slot,
                     const int32_t *handles, size_t handle_count);
void tree_spare_note(struct host *host, uint32_t node);
/* The reaper's: whether it was this one, and nobody had asked for it yet. */
bool tree_spare_ended(struct tree *tree, uint32_t pid);
/* The spare one's: its own descriptors out of the way; then until it is asked for. */
MUST_CHECK int tree_spare_prepare(struct tree_child *child);
MUST_CHECK int tree_spare_wait(struct host *host, struct err *err);

/* pass.c. The OCALLs TREE_GIVE, TREE_ASK, TREE_TAKE on descriptors, and the end of a process. -ENOENT: nothing under this
 * key; -ETOOMANYREFS: the root's queue is full; -EMFILE. */
MUST_CHECK int tree_pass_start(struct tree *tree);
MUST_CHECK int tree_pass_give(struct tree *tree, int fd, uint64_t key);
MUST_CHECK int tree_pass_ask(struct tree *tree, uint64_t key);
/* A descriptor, the caller's. */
MUST_CHECK int tree_pass_take(struct tree *tree, uint64_t key);
void tree_pass_gone(struct tree *tree, uint32_t pid);

/* reaper.c. */
MUST_CHECK int tree_reaper_start(struct host *host);
/* There is a child to wait for. */
void tree_reaper_tell(void);
/* Held while a process is between "ended" and "its number is free". */
void tree_reaper_lock(void);
void tree_reaper_unlock(void);
