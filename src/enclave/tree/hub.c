/*
 * The hub's thread: takes requests from the channels of all peers, runs their handlers, keeps what must
 * wait. What the host says about slots is a hint only: a message counts if its seal is good, and a peer
 * that is said to be dead is killed, which is the worst that the host can do anyway.
 *
 * Life of a peer
 *   peer_new        spawning: its parent builds it; it may say hello already
 *   peer_spawned    0: running
 *   doomed          killed, or its channel broke, or its process died: from then on nothing that it says counts
 *   peer_end        by the hub's thread alone, once it is not spawning any more: files, links and slots go
 */
#include "tree/hub.h"

#include <asm/errno.h>
#include <linux/signal.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "core/bytes.h"
#include "mm/heap.h"
#include "process/process.h"
#include "process/vfork.h"
#include "signal/signal.h"
#include "thread/threads.h"
#include "tree/links.h"
#include "tree/ptable.h"
#include "vfs/fd.h"
#include "vfs/proc/proc.h"

#define EVENTS_MAX 65536u

struct hub g_hub;
/* The request being served and its reply; from the heap, as they would be measured in the image. */
struct in {
    struct hub_request request;
    uint8_t data[HUB_DATA_MAX];
};
struct out {
    struct hub_reply reply;
    uint8_t data[HUB_DATA_MAX];
};
static struct in *g_in;
static struct out *g_out;

bool hub_is_here(void)
{
    return process_is_root();
}

void hub_wake(void)
{
    __atomic_store_n(&g_hub.told, true, __ATOMIC_SEQ_CST);
    if (g_hub.thread)
        thread_unpark(g_hub.thread);
}

/* --- peers ------------------------------------------------------------------------------------- */

struct peer *peer_running(int32_t pid)
{
    for (struct peer *peer = g_hub.peers; peer; peer = peer->next)
        if (peer->pid == pid && !peer->spawning && !peer->replaced)
            return peer;
    return NULL;
}

struct peer *peer_spawning(int32_t pid)
{
    for (struct peer *peer = g_hub.peers; peer; peer = peer->next)
        if (peer->pid == pid && peer->spawning)
            return peer;
    return NULL;
}

struct peer *peer_spawned_by(int32_t pid, int32_t parent)
{
    for (struct peer *peer = g_hub.peers; peer; peer = peer->next)
        if (peer->pid == pid && peer->parent == parent && peer->spawning)
            return peer;
    return NULL;
}

struct peer *peer_by_pid(int32_t pid)
{
    mutex_take(&g_hub.mutex);
    struct peer *peer = peer_spawning(pid);
    if (!peer)
        peer = peer_running(pid);
    mutex_drop(&g_hub.mutex);
    return peer;
}

void **peer_files(struct peer *peer)
{
    return &peer->files;
}

int32_t peer_pid(const struct peer *peer)
{
    return peer->pid;
}

const uint8_t *peer_mrenclave(const struct peer *peer)
{
    return peer->mrenclave;
}

/* --- slots and links ----------------------------------------------------------------------------- */

/* A slot that is in use without a link: a spawn slot. */
static struct link g_spawn_mark;

/* Takes turns: what a process that ends still does with its slot it does long before the next one has it. */
static bool slot_among(uint32_t first, uint32_t count, uint32_t *next, uint32_t *ret)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = first + (*next + i) % count;
        if (g_hub.links[slot])
            continue;
        g_hub.links[slot] = &g_spawn_mark;
        *next = slot - first + 1;
        *ret = slot;
        return true;
    }
    return false;
}

int slot_new(bool spawn, uint32_t *ret)
{
    if ((spawn && slot_among(0, TREE_SLOTS_SPAWN, &g_hub.next_spawn_slot, ret)) ||
        slot_among(TREE_SLOTS_SPAWN, TREE_SLOTS_KEPT - TREE_SLOTS_SPAWN, &g_hub.next_slot, ret) ||
        slot_among(0, TREE_SLOTS, &g_hub.next_far_slot, ret))
        return 0;
    log_error("the tree has no channel left for another process or thread (%u are in use)",
              TREE_SLOTS);
    return -EAGAIN;
}

void slot_free(uint32_t slot)
{
    if (slot >= TREE_SLOTS || !g_hub.links[slot])
        return;
    struct link *link = g_hub.links[slot];
    g_hub.links[slot] = NULL;
    if (link != &g_spawn_mark) {
        waitq_remove(&link->job.waiter);
        if (link->waiting)
            heap_free(link->job.data);
        channel_wipe(&link->channel);
        heap_free(link);
    }
    (void)!border_call1(OCALL_TREE_FREE, 0, slot);
}

static void told(struct waiter *waiter)
{
    struct hub_job *job = (struct hub_job *)((uint8_t *)waiter - offsetof(struct hub_job, waiter));
    __atomic_store_n(&job->told, true, __ATOMIC_SEQ_CST);
    hub_wake();
}

/* ret_ticket: its control channel's; NULL: a thread's, whose secret it gets itself. */
static int link_make(struct peer *peer, uint32_t *ret_slot, struct attest_ticket *ret_ticket,
                     uint8_t ret_secret[static CHANNEL_SECRET_SIZE])
{
    struct link *link = heap_alloc(sizeof(*link));
    if (!link)
        return -ENOMEM;
    uint32_t slot;
    int r = slot_new(false, &slot);
    if (r < 0) {
        heap_free(link);
        return r;
    }
    /* Before the hub's thread sees the link. */
    if (ret_ticket) {
        attest_ticket_new(peer->mrenclave, slot, peer->pid, ret_ticket, ret_secret);
        channel_init_greeted(&link->channel, slot, true, ret_secret, NULL);
    } else {
        cpu_random(ret_secret, CHANNEL_SECRET_SIZE);
        channel_init(&link->channel, slot, false, true, ret_secret);
    }
    link->peer = peer;
    link->job.peer = peer;
    link->job.slot = slot;
    link->job.waiter.notify = told;
    g_hub.links[slot] = link;
    *ret_slot = slot;
    return 0;
}

int link_new(struct peer *peer, uint32_t *ret_slot, uint8_t ret_secret[static CHANNEL_SECRET_SIZE])
{
    return link_make(peer, ret_slot, NULL, ret_secret);
}

int peer_new(int32_t parent, int32_t pid, const uint8_t *mrenclave, struct peer **ret,
             struct attest_ticket *ret_ticket)
{
    uint8_t secret[CHANNEL_SECRET_SIZE];
    struct peer *peer = heap_alloc(sizeof(*peer));
    if (!peer)
        return -ENOMEM;
    *peer = (struct peer){ .pid = pid,
                           .parent = parent,
                           .control_slot = TREE_NO_SLOT,
                           .spawn_slot = TREE_NO_SLOT,
                           .spawning = true };
    memcpy(peer->mrenclave, mrenclave, sizeof(peer->mrenclave));
    mutex_take(&g_hub.mutex);
    int r = peer_spawned_by(pid, parent) ? -EBUSY : slot_new(true, &peer->spawn_slot);
    if (r == 0) {
        r = link_make(peer, &peer->control_slot, ret_ticket, secret);
        bytes_wipe(secret, sizeof(secret));
        if (r < 0)
            slot_free(peer->spawn_slot);
    }
    if (r == 0) {
        peer->next = g_hub.peers;
        g_hub.peers = peer;
    }
    mutex_drop(&g_hub.mutex);
    if (r < 0) {
        heap_free(peer);
        return r;
    }
    *ret = peer;
    return 0;
}

/* Takes everything away from a peer. The hub's thread, without the mutex. */
static void peer_end(struct peer *peer)
{
    mutex_take(&g_hub.mutex);
    for (struct peer **at = &g_hub.peers; *at; at = &(*at)->next) {
        if (*at == peer) {
            *at = peer->next;
            break;
        }
    }
    for (uint32_t slot = 0; slot < TREE_SLOTS; slot++) {
        struct link *link = g_hub.links[slot];
        if (link && link->peer == peer)
            slot_free(slot);
    }
    slot_free(peer->spawn_slot);
    /* Children that it was about to start will not be: nobody can answer for them any more. */
    for (struct peer *child = g_hub.peers; child; child = child->next) {
        if (child->spawning && child->by == peer) {
            child->spawning = false;
            child->by = NULL;
            child->doomed = true;
            child->unborn = child->replaced = true;
            __atomic_store_n(&g_hub.told, true, __ATOMIC_SEQ_CST);
            (void)!border_call1(OCALL_TREE_KILL, 0, child->control_slot);
        }
    }
    mutex_drop(&g_hub.mutex);
    hub_files_drop(peer);
    hub_memory_drop(peer);
    if (!peer->replaced)
        hub_process_exit(peer->pid, peer->doom_status, 0, 0);
    if (peer->unborn && peer->pid != peer->parent)
        ptable_forget(peer->pid);
    heap_free(peer->events);
    heap_free(peer);
    waitq_wake(&g_hub.ended, UINT32_MAX);
}

static void doom(struct peer *peer, int32_t status)
{
    if (peer->doomed)
        return;
    peer->doomed = true;
    peer->doom_status = status;
    if (peer->control_slot != TREE_NO_SLOT)
        (void)!border_call1(OCALL_TREE_KILL, 0, peer->control_slot);
    hub_wake();
}

void peer_spawned(struct peer *peer, int error)
{
    mutex_take(&g_hub.mutex);
    peer->spawning = false;
    peer->by = NULL;
    slot_free(peer->spawn_slot);
    peer->spawn_slot = TREE_NO_SLOT;
    if (error) {
        peer->replaced = true; /* the pid is its parent's to deal with */
        doom(peer, SIGKILL);
    } else {
        for (struct peer *old = peer->next; old; old = old->next) {
            if (old->pid != peer->pid)
                continue;
            old->replaced = true;
            old->doomed = true; /* its host process leaves by itself */
            peer->events = old->events;
            peer->event_count = old->event_count;
            peer->event_room = old->event_room;
            old->events = NULL;
            old->event_count = 0;
        }
        if (peer->pid == PTABLE_ROOT_PID)
            __atomic_store_n(&g_hub.root_replaced, true, __ATOMIC_SEQ_CST);
        if (peer->event_count)
            (void)!border_call1(OCALL_TREE_NUDGE, 0, peer->control_slot);
        if (!ptable_started(peer->pid)) { /* who started it has ended meanwhile */
            peer->replaced = true;
            doom(peer, SIGKILL);
        }
    }
    mutex_drop(&g_hub.mutex);
    waitq_wake(&g_hub.started, UINT32_MAX);
    hub_wake();
}

void hub_process_exit(int32_t pid, int32_t status, uint64_t user_us, uint64_t system_us)
{
    if (pid == PTABLE_ROOT_PID)
        g_hub.root_status = status;
    ptable_exit(pid, status, user_us, system_us);
}

/* --- telling ------------------------------------------------------------------------------------- */

static bool event_add(struct peer *peer, const struct hub_event *event)
{
    if (event->kind == HUB_EVENT_READY) {
        for (uint32_t i = 0; i < peer->event_count; i++)
            if (peer->events[i].kind == HUB_EVENT_READY && peer->events[i].a == event->a)
                return true;
    }
    if (peer->event_count == peer->event_room) {
        uint32_t room = peer->event_room ? peer->event_room * 2 : 16;
        struct hub_event *events =
            room > EVENTS_MAX ? NULL : heap_realloc(peer->events, room * sizeof(*events));
        if (!events)
            return false;
        peer->events = events;
        peer->event_room = room;
    }
    peer->events[peer->event_count++] = *event;
    return true;
}

static void apply_here(const struct hub_event *event)
{
    if (event->kind == HUB_EVENT_SIGNAL)
        signal_send_process(&(struct signal_info){ .number = (int32_t)event->a,
                                                   .code = (int32_t)event->b,
                                                   .pid = (int32_t)event->c,
                                                   .uid = (int32_t)event->e,
                                                   .value = event->d });
}

void hub_tell(int32_t pid, const struct hub_event *event)
{
    mutex_take(&g_hub.mutex);
    struct peer *peer = peer_running(pid);
    if (!peer &&
        (pid != PTABLE_ROOT_PID || __atomic_load_n(&g_hub.root_replaced, __ATOMIC_SEQ_CST)))
        peer = peer_spawning(pid);
    struct hub_event childs = *event;
    if (!peer && pid != PTABLE_ROOT_PID && event->kind == HUB_EVENT_SIGNAL) {
        /* A thread of its parent plays it. */
        peer = peer_running(ptable_getppid(pid));
        childs.e = (uint32_t)event->e | (uint64_t)(uint32_t)pid << 32;
        event = &childs;
    }
    if (peer && !peer->doomed) {
        bool first = peer->event_count == 0;
        if (!event_add(peer, event))
            doom(peer, SIGKILL);
        else if (first && peer->hello)
            (void)!border_call1(OCALL_TREE_NUDGE, 0, peer->control_slot);
    }
    mutex_drop(&g_hub.mutex);
    if (!peer && pid == PTABLE_ROOT_PID)
        apply_here(event);
}

void ptable_tell(int32_t pid, const struct signal_info *info)
{
    if (vfork_signal(pid, info)) /* a child that a thread of the root plays */
        return;
    if (info->number == SIGKILL) {
        /* Who may hold pages that others wait for ends by itself, so that they come home; at once at the second
         * time. */
        bool gently = hub_memory_has(pid);
        mutex_take(&g_hub.mutex);
        struct peer *peer = peer_running(pid);
        gently = gently && peer && !peer->dying;
        if (gently)
            peer->dying = true;
        else if (peer)
            doom(peer, SIGKILL);
        mutex_drop(&g_hub.mutex);
        if (peer && !gently)
            return;
    }
    hub_tell(pid, &(struct hub_event){ .kind = HUB_EVENT_SIGNAL,
                                       .a = (uint32_t)info->number,
                                       .b = (uint64_t)(int64_t)info->code,
                                       .c = (uint64_t)(int64_t)info->pid,
                                       .d = info->value,
                                       .e = (uint32_t)info->uid });
}

/* --- serving ------------------------------------------------------------------------------------- */

static volatile struct tree_slot *slot_at(uint32_t slot)
{
    return (volatile struct tree_slot *)(tree_region() + TREE_REGION_HEAD +
                                         (uint64_t)slot * TREE_SLOT_SIZE);
}

static void answer(struct link *link, int64_t ret)
{
    struct hub_job *job = &link->job;
    g_out->reply = job->reply;
    g_out->reply.ret = ret;
    uint32_t size = job->reply.size <= HUB_DATA_MAX ? job->reply.size : 0;
    g_out->reply.size = size;
    if (channel_send(&link->channel, g_out, (uint32_t)sizeof(g_out->reply) + size) < 0)
        doom(link->peer, SIGKILL);
}

static int64_t dispatch(struct hub_job *job)
{
    uint32_t op = job->request.op;
    job->reply = (struct hub_reply){ 0 };
    job->reply_data = g_out->data;
    if (op >= HUB_FILE_FIRST && op <= HUB_FILE_LAST)
        return hub_files(job);
    if (op >= HUB_MEM_FIRST && op <= HUB_MEM_LAST)
        return hub_memory(job);
    return hub_serve(job);
}

/* Keeps the job for later: its data leaves the common buffer. */
static bool keep(struct link *link)
{
    struct hub_job *job = &link->job;
    if (link->waiting)
        return true;
    uint8_t *data = heap_alloc(job->request.size + 1ull);
    if (!data)
        return false;
    memcpy(data, job->data, job->request.size);
    job->data = data;
    link->waiting = true;
    return true;
}

static void unkeep(struct link *link)
{
    if (link->waiting)
        heap_free(link->job.data);
    link->waiting = false;
}

void link_cancel(struct link *link)
{
    struct hub_job *job = &link->job;
    waitq_remove(&job->waiter);
    unkeep(link);
    job->reply = (struct hub_reply){ 0 };
    answer(link, job->progress ? (int64_t)job->progress : -EINTR);
}

static void run(struct link *link)
{
    struct hub_job *job = &link->job;
    struct peer *peer = link->peer;
    int64_t ret = dispatch(job);
    job->first = false;
    if (ret == HUB_LATER) {
        if (keep(link)) {
            if (link->cancel == link->channel.received)
                link_cancel(link);
            return;
        }
        waitq_remove(&job->waiter);
        ret = -ENOMEM;
    }
    unkeep(link);
    if (!peer->doomed)
        answer(link, ret);
}

static void take(struct link *link)
{
    struct hub_job *job = &link->job;
    int64_t size = channel_try_receive(&link->channel, g_in, sizeof(*g_in));
    if (size == -EAGAIN)
        return;
    if (size < (int64_t)sizeof(g_in->request) ||
        g_in->request.size != (uint64_t)size - sizeof(g_in->request)) {
        if (!link->peer->hello)
            log_error("process %d ends: what it said first was not said by the program that it was "
                      "to be, or "
                      "was changed on the way",
                      link->peer->pid);
        doom(link->peer, SIGKILL);
        return;
    }
    job->request = g_in->request;
    job->data = g_in->data;
    job->told = false;
    job->first = true;
    job->progress = 0;
    run(link);
}

static void look_at(uint32_t slot)
{
    struct link *link = g_hub.links[slot];
    if (!link || link == &g_spawn_mark || link->peer->doomed)
        return;
    /* Looked at first: what a process that is dead has posted is there. Its last word, HUB_EXIT, lies in its
     * control channel, and counts. */
    bool dead = __atomic_load_n(&slot_at(slot)->dead, __ATOMIC_ACQUIRE);
    struct link *control = NULL;
    if (dead && link->peer->control_slot < TREE_SLOTS)
        control = g_hub.links[link->peer->control_slot];
    if (control && control != link && control->peer == link->peer && !control->waiting)
        take(control);
    if (g_hub.links[slot] != link || link->peer->doomed)
        return;
    if (!link->waiting)
        take(link);
    if (dead && g_hub.links[slot] == link && !link->peer->doomed)
        doom(link->peer, SIGKILL);
}

static bool look_at_ready(void)
{
    volatile uint64_t *ready = ((volatile struct tree_region *)tree_region())->ready;
    bool any = false;
    for (uint32_t i = 0; i < TREE_SLOTS / 64; i++) {
        if (!ready[i])
            continue;
        uint64_t bits = __atomic_exchange_n(&ready[i], 0, __ATOMIC_ACQ_REL);
        for (; bits; bits &= bits - 1) {
            any = true;
            look_at(i * 64 + (uint32_t)__builtin_ctzll(bits));
        }
    }
    return any;
}

static void run_told(void)
{
    for (uint32_t slot = 0; slot < TREE_SLOTS; slot++) {
        struct link *link = g_hub.links[slot];
        if (!link || link == &g_spawn_mark || !link->waiting)
            continue;
        if (!__atomic_exchange_n(&link->job.told, false, __ATOMIC_SEQ_CST))
            continue;
        waitq_remove(&link->job.waiter);
        if (!link->peer->doomed)
            run(link);
    }
}

static void end_doomed(void)
{
    for (;;) {
        mutex_take(&g_hub.mutex);
        struct peer *peer = g_hub.peers;
        while (peer && (!peer->doomed || peer->spawning))
            peer = peer->next;
        mutex_drop(&g_hub.mutex);
        if (!peer)
            return;
        peer_end(peer);
    }
}

static NORETURN void hub_main(void)
{
    for (;;) {
        bool any = look_at_ready();
        if (__atomic_exchange_n(&g_hub.told, false, __ATOMIC_SEQ_CST)) {
            run_told();
            hub_files_told();
            end_doomed();
            any = true;
        }
        if (!any)
            thread_park_serve();
    }
}

bool hub_host_signal(int number)
{
    if (!g_hub.thread)
        return false;
    struct signal_info info = { .number = number, .code = SI_KERNEL };
    bool terminal = number == SIGINT || number == SIGQUIT || number == SIGHUP || number == SIGWINCH;
    if (terminal)
        (void)!ptable_kill(PTABLE_OUTSIDE, -ptable_tty_pgrp(), &info);
    else if (ptable_kill(PTABLE_OUTSIDE, PTABLE_ROOT_PID, &info) < 0)
        (void)!ptable_kill(PTABLE_OUTSIDE, -1, &info);
    return true;
}

static bool peers_left(void)
{
    mutex_take(&g_hub.mutex);
    bool left = g_hub.peers != NULL;
    mutex_drop(&g_hub.mutex);
    return left;
}

void hub_end(int32_t status, bool replaced)
{
    struct thread *self = current();
    fd_table_clear(g_process.fds); /* other threads may be in the middle of a call */
    if (!replaced)
        hub_process_exit(PTABLE_ROOT_PID, status, 0, 0);
    for (;;) {
        struct waiter waiter = { .thread = self };
        waitq_add(&g_hub.ended, &waiter);
        bool left = peers_left();
        if (left)
            thread_park_ended();
        waitq_remove(&waiter);
        if (!left)
            break;
    }
    int32_t final = g_hub.root_status;
    for (;;)
        (void)!border_call2(OCALL_EXIT, 0, (uint64_t)(final >> 8 & 0xff), (uint64_t)(final & 0x7f));
}

/* What others see of the root in /proc. */
static int label_root(void)
{
    char *label = heap_alloc(PTABLE_LABEL_MAX);
    if (!label)
        return -ENOMEM;
    int r = ptable_set_label(PTABLE_ROOT_PID, label, proc_label(label, PTABLE_LABEL_MAX));
    heap_free(label);
    return r;
}

int hub_start(void)
{
    static struct mutex once;
    int r = 0;
    mutex_take(&once);
    if (!g_hub.thread) {
        if (border_call0(OCALL_TREE_OPEN, 0) < 0)
            r = -EAGAIN;
        else
            r = tree_region_set(border_out(0));
        if (r == 0) {
            uint32_t limit = process_node()->process_limit;
            ptable_init(limit ? limit : 64);
            r = label_root();
        }
        if (r == 0) {
            g_in = heap_alloc(sizeof(*g_in));
            g_out = heap_alloc(sizeof(*g_out));
            r = g_in && g_out ? 0 : -ENOMEM;
        }
        if (r == 0) {
            r = thread_start_service(hub_main, &g_hub.thread);
        }
    }
    mutex_drop(&once);
    return r;
}
