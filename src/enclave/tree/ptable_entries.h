/*
 * The process table's entries, between ptable.c and ptable_tty.c. Tier: enclave. Everything but
 * ptable_tell_all() is called with the table's lock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tree/ptable.h"

#define PTABLE_BUCKETS    256u
#define PTABLE_END_QUEUES 32u

struct entry {
    struct entry *next;
    uint64_t born; /* the order of births */
    int32_t pid, parent, pgid, sid;
    struct ptable_tty *tty; /* its controlling terminal */
    int32_t old_pgrp;       /* a session's leader: the foreground group of one that hung up */
    int32_t status;
    int stopped;                                   /* by this signal; 0: it runs */
    bool stop_unseen, cont_unseen;                 /* wait has not told of it yet */
    uint64_t user_us, system_us;                   /* once it has ended */
    uint64_t children_user_us, children_system_us; /* of those it has waited for */
    int pdeathsig, exit_signal;
    bool zombie, nowait, execed, started, subreaper;
    char *label;
    uint32_t label_size;
};

struct ptable {
    struct lock lock;
    struct entry *buckets[PTABLE_BUCKETS];
    struct entry root;
    bool ready, full_logged;
    uint32_t limit, count, alive;
    int32_t last_pid;
    struct ptable_tty host_tty;
    uint64_t births;
    struct waitq queues[PTABLE_BUCKETS];
    struct waitq ends[PTABLE_END_QUEUES]; /* also shared by pids */
};
extern struct ptable g_ptable;

/* Makes the root's entry, once. */
void ptable_ready(void);
/* NULL: there is no such pid. */
struct entry *ptable_find(int32_t pid);
/* All entries: for (e = ptable_first(); e; e = ptable_after(e)). The one at hand may not be removed
 * before ptable_after(). */
struct entry *ptable_first(void);
struct entry *ptable_after(const struct entry *e);
/* sid 0: of any session. */
bool ptable_group_exists(int32_t pgid, int32_t sid);
/* Nobody of the session is left who could let the group go on; the root's parent, who is outside,
 * could. */
bool ptable_orphaned(int32_t pgid);

/* Signals that are to be told once the lock is dropped. */
struct tell {
    int32_t pid;
    struct signal_info info;
};

#define TELLS_AT_HAND 8

struct tells {
    uint32_t count, room;
    bool unborn;       /* one that never ran has gone: who waits for its end is to look */
    struct tell *more; /* room of them, beyond those at hand */
    struct tell at_hand[TELLS_AT_HAND];
};

/* A signal of the kernel's. */
void ptable_note(struct tells *tells, struct entry *e, int number);
/* Without the lock; always called where something may have been noted. */
void ptable_tell_all(struct tells *tells);

/* ptable_tty.c: a session's leader ends, or gives its terminal up: who was in the foreground is
 * told. The host's terminal tells by itself. */
void ptable_tty_lost(struct entry *leader, bool ends, struct tells *tells);
