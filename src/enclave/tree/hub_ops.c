/*
 * What the hub does about processes: one handler per request, over the process table. Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/signal.h>

#include "abi/layout.h"
#include "arch/string.h"
#include "border/border.h"
#include "core/bytes.h"
#include "process/process.h"
#include "tree/hub.h"
#include "tree/links.h"
#include "tree/ptable.h"

int32_t hub_job_self(const struct hub_job *job)
{
    int32_t pid = peer_pid(job->peer), self = job->request.self;
    if (self == pid || self == 0)
        return pid;
    mutex_take(&g_hub.mutex);
    bool has_enclave = peer_running(self) != NULL;
    mutex_drop(&g_hub.mutex);
    return !has_enclave && ptable_getppid(self) == pid ? self : 0;
}

/* A child of the peer that has no enclave yet, and none is on its way. */
static bool unborn(const struct hub_job *job, int32_t child)
{
    mutex_take(&g_hub.mutex);
    bool has_enclave = peer_running(child) || peer_spawning(child);
    mutex_drop(&g_hub.mutex);
    return !has_enclave && ptable_unborn(child, peer_pid(job->peer));
}

static int64_t serve_open(struct hub_job *job)
{
    uint32_t slot, count = 0;
    mutex_take(&g_hub.mutex);
    for (uint32_t i = 0; i < TREE_SLOTS; i++)
        count += g_hub.links[i] && g_hub.links[i]->peer == job->peer;
    /* One for each of its threads, and the control channel. */
    int r = count > LAYOUT_THREADS_MAX ? -EAGAIN : link_new(job->peer, &slot, job->reply_data);
    mutex_drop(&g_hub.mutex);
    if (r < 0)
        return r;
    job->reply.out[0] = slot;
    job->reply.size = CHANNEL_SECRET_SIZE;
    return 0;
}

static int64_t serve_cancel(struct hub_job *job)
{
    uint64_t slot = job->request.args[0];
    struct link *link = slot < TREE_SLOTS ? g_hub.links[slot] : NULL;
    if (!link || link->peer != job->peer)
        return -EINVAL;
    /* The channels are looked at in no order: perhaps that message is still to be taken. */
    if (link->channel.received <= job->request.args[1])
        link->cancel = job->request.args[1] + 1;
    else if (link->waiting)
        link_cancel(link);
    return 0;
}

static int64_t serve_events(struct hub_job *job)
{
    struct peer *peer = job->peer;
    if (job->request.args[1] && __atomic_load_n(&peer->spawning, __ATOMIC_SEQ_CST)) {
        waitq_add(&g_hub.started, &job->waiter);
        if (__atomic_load_n(&peer->spawning, __ATOMIC_SEQ_CST))
            return HUB_LATER;
        waitq_remove(&job->waiter);
    }
    mutex_take(&g_hub.mutex);
    uint64_t max = HUB_DATA_MAX / sizeof(struct hub_event);
    if (max > job->request.args[0])
        max = job->request.args[0];
    uint32_t count = peer->event_count < max ? peer->event_count : (uint32_t)max;
    if (count) {
        memcpy(job->reply_data, peer->events, count * sizeof(struct hub_event));
        memmove(peer->events, peer->events + count,
                (peer->event_count - count) * sizeof(struct hub_event));
        peer->event_count -= count;
    }
    mutex_drop(&g_hub.mutex);
    job->reply.size = (uint32_t)(count * sizeof(struct hub_event));
    return count;
}

static int64_t serve_hello(struct hub_job *job)
{
    mutex_take(&g_hub.mutex);
    job->peer->hello = true;
    mutex_drop(&g_hub.mutex);
    return 0;
}

static int64_t serve_exit(struct hub_job *job)
{
    struct peer *peer = job->peer;
    const uint64_t *args = job->request.args;
    mutex_take(&g_hub.mutex);
    peer->replaced = true; /* its end is not a second one */
    peer->doomed = true;
    /* Other threads' requests wait on files that go now. */
    for (uint32_t slot = 0; slot < TREE_SLOTS; slot++)
        if (g_hub.links[slot] && g_hub.links[slot]->peer == peer)
            waitq_remove(&g_hub.links[slot]->job.waiter);
    mutex_drop(&g_hub.mutex);
    hub_files_drop(peer);
    hub_process_exit(peer->pid, (int32_t)args[0], args[1], args[2]);
    hub_wake();
    return 0;
}

static int64_t serve_spawn(struct hub_job *job)
{
    struct peer *peer;
    int32_t pid = (int32_t)job->request.args[0];
    if (job->request.size != MANIFEST_HASH_SIZE ||
        (pid != peer_pid(job->peer) && !unborn(job, pid)))
        return -EINVAL;
    struct attest_ticket ticket;
    int r = peer_new(peer_pid(job->peer), pid, job->data, &peer, &ticket);
    if (r < 0)
        return r;
    peer->by = job->peer;
    memcpy(job->reply_data, &ticket, sizeof(ticket));
    bytes_wipe(&ticket, sizeof(ticket));
    job->reply.size = sizeof(ticket);
    job->reply.out[0] = peer->control_slot;
    job->reply.out[1] = peer->spawn_slot;
    return 0;
}

static int64_t serve_spawn_done(struct hub_job *job)
{
    mutex_take(&g_hub.mutex);
    struct peer *peer = peer_spawned_by((int32_t)job->request.args[0], peer_pid(job->peer));
    mutex_drop(&g_hub.mutex);
    if (!peer || peer->by != job->peer)
        return -EINVAL;
    bool failed = job->request.args[1] != 0;
    /* What it is it has proved with its first word. */
    bool proved = peer->hello;
    if (!failed && proved && job->request.size)
        (void)ptable_set_label(peer->pid, (const char *)job->data, job->request.size);
    peer_spawned(peer, failed || !proved ? -EAGAIN : 0);
    if (!failed && !proved)
        return -EPROTO;
    if (job->request.args[2])
        ptable_execed((int32_t)job->request.args[0]);
    return 0;
}

static int64_t serve_wait(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    int32_t self = peer_pid(job->peer);
    struct ptable_waited waited = { 0 };
    struct waitq *queue = ptable_queue(self);
    if (!queue || (args[3] && ptable_life((int32_t)args[1], args[3]) == PTABLE_GONE))
        return -ECHILD;
    for (int round = 0; round < 2; round++) {
        int r = ptable_wait(self, (int)args[0], (int32_t)args[1], (int)args[2], &waited);
        if (r == 0) {
            waitq_remove(&job->waiter);
            job->reply.out[0] = (uint64_t)(int64_t)waited.status;
            job->reply.out[2] = waited.user_us;
            job->reply.out[3] = waited.system_us;
            return waited.pid;
        }
        if (r != -EAGAIN) {
            waitq_remove(&job->waiter);
            return r;
        }
        if (round == 0)
            waitq_add(queue, &job->waiter);
    }
    return HUB_LATER;
}

static int64_t serve_kill(struct hub_job *job, int32_t self)
{
    const uint64_t *args = job->request.args;
    /* As the system calls allow it. */
    if (args[1] > 64)
        return -EINVAL;
    if ((int32_t)args[2] > 0)
        return -EPERM;
    if (args[4] && ptable_life((int32_t)args[0], args[4]) == PTABLE_GONE)
        return -ESRCH;
    struct signal_info info = {
        .number = (int32_t)args[1],
        .code = (int32_t)args[2],
        .pid = self,
        .uid = (int32_t)process_node()->uid,
        .value = args[3],
    };
    return ptable_kill(self, (int32_t)args[0], &info);
}

static int64_t serve_stopped(struct hub_job *job)
{
    /* It becomes part of a status: no other may look like another end. */
    switch (job->request.args[0]) {
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU: return ptable_stopped(peer_pid(job->peer), (int)job->request.args[0]);
    default: return -EINVAL;
    }
}

static int64_t serve_view(struct hub_job *job)
{
    struct ptable_view view;
    int r = ptable_view((int32_t)job->request.args[0], &view,
                        (char *)job->reply_data + sizeof(view), PTABLE_LABEL_MAX);
    if (r < 0)
        return r;
    memcpy(job->reply_data, &view, sizeof(view));
    job->reply.size = (uint32_t)sizeof(view) + view.label_size;
    return 0;
}

int64_t hub_serve(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    int32_t self = hub_job_self(job);
    if (!self)
        return -ESRCH;
    switch (job->request.op) {
    case HUB_HELLO: return serve_hello(job);
    case HUB_OPEN: return serve_open(job);
    case HUB_CANCEL: return serve_cancel(job);
    case HUB_EVENTS: return serve_events(job);
    case HUB_EXIT: return serve_exit(job);
    case HUB_NEW_PID: return ptable_new(self, (int)args[0]);
    case HUB_FORGET_PID:
        if (!unborn(job, (int32_t)args[0]))
            return -ESRCH;
        ptable_forget((int32_t)args[0]);
        return 0;
    case HUB_CHILD_EXIT:
        if (!unborn(job, (int32_t)args[0]))
            return -ESRCH;
        ptable_exit((int32_t)args[0], (int32_t)args[1], 0, 0);
        return 0;
    case HUB_SPAWN: return serve_spawn(job);
    case HUB_SPAWN_DONE: return serve_spawn_done(job);
    case HUB_WAIT: return serve_wait(job);
    case HUB_KILL: return serve_kill(job, self);
    case HUB_SETPGID: return ptable_setpgid(self, (int32_t)args[0], (int32_t)args[1]);
    case HUB_GETPGID: return ptable_getpgid(self, (int32_t)args[0]);
    case HUB_SETSID: return ptable_setsid(self);
    case HUB_GETSID: return ptable_getsid(self, (int32_t)args[0]);
    case HUB_GETPPID: return ptable_getppid(self);
    case HUB_PDEATHSIG: return ptable_pdeathsig(self, (int)args[0]);
    case HUB_SUBREAPER:
        return args[0] ? ptable_set_subreaper(self, args[1] != 0) : ptable_get_subreaper(self);
    case HUB_STOPPED: return serve_stopped(job);
    case HUB_CONTINUED: ptable_continued(peer_pid(job->peer)); return 0;
    case HUB_VIEW: return serve_view(job);
    case HUB_NEXT_PID: return ptable_next((int32_t)args[0]);
    case HUB_NOWAIT: ptable_set_nowait(self, args[0]); return 0;
    case HUB_TTY_PGRP:
        return args[0] ? ptable_set_tty_pgrp(self, (int32_t)args[1]) : ptable_tty_pgrp();
    default: return -ENOSYS;
    }
}
