/*
 * The hub's own view: processes (peers) and their channels (links). Internal to tree/. Tier: enclave.
 */
#pragma once

#include "abi/manifest.h"
#include "thread/mutex.h"
#include "tree/attest.h"
#include "tree/channel.h"
#include "tree/hub.h"

/* One channel of a peer, and the request that waits on it. */
struct link {
    struct channel channel;
    struct peer *peer;
    struct hub_job job;
    bool waiting;    /* job waits for its waiter to be told */
    uint64_t cancel; /* 0, or number + 1 of a message that is to be answered at once */
};

struct peer {
    struct peer *next;
    int32_t pid, parent;
    struct peer *by; /* who is starting it, unless that is the root; NULL once it is started */
    uint32_t control_slot, spawn_slot; /* TREE_NO_SLOT: none */
    uint8_t mrenclave[MANIFEST_HASH_SIZE];
    void *files; /* vfs/remote/serve.c */
    struct hub_event *events;
    uint32_t event_count, event_room;
    bool spawning; /* until HUB_SPAWN_DONE: its parent's threads may hold a pointer to it */
    bool hello;    /* it has spoken */
    bool dying;    /* SIGKILL is among its events */
    bool doomed;   /* killed, or its host process died: ended at the hub's next round */
    bool replaced; /* exec in place: another enclave is this pid now */
    bool unborn;   /* who was starting it has ended: its pid goes with it */
    int32_t doom_status;
};

struct hub {
    struct mutex mutex; /* peers, links, events */
    struct peer *peers; /* the youngest first */
    struct link *links[TREE_SLOTS];
    struct thread *thread; /* NULL: not started */
    uint32_t next_spawn_slot, next_slot, next_far_slot;
    bool told;            /* some job's waiter was told, or a peer is doomed; atomic */
    struct waitq ended;   /* woken when a peer has gone */
    struct waitq started; /* woken when one is spawning no more */
    int32_t root_status;  /* what the root's pid ended with */
    bool root_replaced;   /* the root's program went on in another enclave; atomic */
};
extern struct hub g_hub;

/* The mutex is held. */
struct peer *peer_running(int32_t pid);
struct peer *peer_spawning(
    int32_t pid); /* the youngest: a forked child may exec before its parent is done */
/* The one that this process (its parent, or itself: exec in place) is starting. */
struct peer *peer_spawned_by(int32_t pid, int32_t parent);
/* A channel for one of its threads. -EAGAIN: no slot is free. */
MUST_CHECK int link_new(struct peer *peer, uint32_t *ret_slot,
                        uint8_t ret_secret[static CHANNEL_SECRET_SIZE]);
/* spawn: for what a parent tells its child. */
MUST_CHECK int slot_new(bool spawn, uint32_t *ret);
void slot_free(uint32_t slot);
/* A peer whose program is to start: its slots, and the ticket by which it proves that it is that program. */
MUST_CHECK int peer_new(int32_t parent, int32_t pid, const uint8_t *mrenclave, struct peer **ret,
                        struct attest_ticket *ret_ticket);
/* It started (error 0), or did not and is gone. */
void peer_spawned(struct peer *peer, int error);

/* A waiting job is answered now: what it has done so far, or -EINTR. The hub's thread. */
void link_cancel(struct link *link);
/* ptable_exit, and remembers what the root's pid ended with. */
void hub_process_exit(int32_t pid, int32_t status, uint64_t user_us, uint64_t system_us);
/* The hub's thread looks again. */
void hub_wake(void);
/* hub_ops.c: everything but files and memory. */
int64_t hub_serve(struct hub_job *job);
