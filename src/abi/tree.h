/*
 * What the host processes of one tree share: a region of untrusted memory (a memfd, inherited by every
 * host process of the tree) through which their enclaves talk. Types only. Nothing in it is believed: all
 * that matters is sealed (enclave/tree/channel.h), and these counters only say when to look.
 *
 * The region: struct tree_region, then TREE_SLOTS slots of TREE_SLOT_SIZE bytes. A slot is one channel
 * between two enclaves: two directions of TREE_CELLS cells each; the sender of a direction fills the cell
 * of its next sequence number, seq % TREE_CELLS, and posts. A channel that is only asked and answered (one
 * message under way) uses cell 0 of both directions, so that it touches little memory.
 *
 * Who is who. The tree's root enclave is the hub. Each process has a control slot to the hub; its threads
 * open more. A spawn slot joins a parent and the child it starts, for as long as that takes. The hub's
 * enclave allots slots; the host only serves them. It keeps the memory of the first TREE_SLOTS_KEPT and gives back
 * that of others: so the hub prefers these, and of them a few for spawning, which fills all cells.
 *
 * Host processes. The root's host process makes the region and a reaper thread. Each further one is
 * started by the host process that asked (OCALL_TREE_SPAWN), so that it inherits open host files, but with
 * CLONE_PARENT or as a child of the root's spawner thread: all are direct children of the root's host
 * process, die with it (PR_SET_PDEATHSIG), and it alone learns that one has died: then it sets `dead` in
 * all slots of that process, wakes whoever waits there, and rings the bell.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

#define TREE_MAGIC       0x4545525459505853ull /* "SXPYTREE" */
#define TREE_VERSION     1
#define TREE_SLOTS       4096u
#define TREE_SLOTS_KEPT  32u
#define TREE_SLOTS_SPAWN 4u
#define TREE_CELLS       8u
#define TREE_MESSAGE_MAX (65536u + 512u) /* plain bytes of one message: 64 KiB and what they are */
#define TREE_CELL_SIZE   (65536u + 4096u)
#define TREE_SLOT_HEAD   4096u
#define TREE_SLOT_SIZE   (TREE_SLOT_HEAD + 2u * TREE_CELLS * TREE_CELL_SIZE)
#define TREE_REGION_HEAD 65536u
#define TREE_REGION_SIZE (TREE_REGION_HEAD + (uint64_t)TREE_SLOTS * TREE_SLOT_SIZE)
#define TREE_NO_SLOT     UINT32_MAX

/* Which of a slot's directions: the client is the process (on a spawn slot: the parent), the server the
 * hub (on a spawn slot: the child). */
enum tree_direction { TREE_TO_SERVER = 0, TREE_TO_CLIENT = 1 };

struct tree_slot_direction {
    uint32_t posted; /* messages posted, modulo 2^32 */
    uint32_t taken;  /* messages taken, modulo 2^32 (streams: the sender waits for room) */
    /* The hosts' own: futexes that change with posted and taken and when a peer dies, and how many
     * sleep on each. */
    uint32_t posted_turn, taken_turn;
    uint32_t posted_sleepers, taken_sleepers;
    uint32_t reserved[10]; /* a cache line of its own */
};

struct tree_slot {
    struct tree_slot_direction way[2]; /* enum tree_direction */
    uint32_t dead;                     /* the peer's process is gone; wakes go to way[] */
    uint32_t client_pid,
        server_pid; /* host processes, 0: none yet; server 0 on hub slots: the hub */
    uint32_t kind;  /* enum tree_slot_kind */
};

enum tree_slot_kind {
    TREE_SLOT_FREE = 0,
    TREE_SLOT_CONTROL, /* a process's first to the hub */
    TREE_SLOT_THREAD,  /* another one, of one thread */
    TREE_SLOT_SPAWN,   /* parent and child */
};

struct tree_region {
    uint64_t magic;
    uint32_t version;
    uint32_t root_pid;               /* host process of the hub */
    uint32_t bell;                   /* futex: something for the hub: set to 1, then woken */
    uint32_t hub_sleeps;             /* the hosts' own: the hub sleeps on the bell */
    uint64_t ready[TREE_SLOTS / 64]; /* bit: a hub slot with a new message, or dead */

    /* The hosts' own. */
    uint64_t used[TREE_SLOTS / 64]; /* bit: a slot with a process in it */
    uint64_t
        announced[TREE_SLOTS / 64]; /* bit: node of the bundle whose unprotected files were named */
    uint64_t absent_count;          /* paths not in the manifest, of processes that ended */
    uint64_t tsc_hz;                /* the root's calibration; 0: unknown */
    uint32_t last_node;             /* of the bundle, + 1: the last one started */
    uint32_t spare_turn;            /* futex: the root is to look at spare_state */
    uint32_t spare_state;           /* a host process made in advance: host/spare.c */
    uint32_t spare_pid, spare_node;
    uint32_t reserved;
};

/* The enclaves' own, at TREE_HINTS_AT of the region, and nothing to rely on (enclave/tree/hints.h): pages of trusted files
 * that forked processes of one measurement needed first. */
#define TREE_HINTS_AT   32768u
#define TREE_HINTS      16u
#define TREE_HINT_PAGES 126u
struct tree_hints {
    uint64_t key;   /* of the measurement; 0: free */
    uint64_t count; /* of pages */
    uint64_t pages[TREE_HINT_PAGES];
};

static_assert(TREE_HINTS_AT + TREE_HINTS * sizeof(struct tree_hints) <= TREE_REGION_HEAD, "hints");
static_assert(sizeof(struct tree_slot_direction) == 64, "slot direction");
static_assert(sizeof(struct tree_slot) <= TREE_SLOT_HEAD, "slot head");
static_assert(sizeof(struct tree_region) <= TREE_HINTS_AT, "region head");

/* A cell: what the receiver reads. */
struct tree_cell {
    uint32_t size; /* bytes that follow */
    uint32_t reserved[3];
    uint8_t bytes[];
};
