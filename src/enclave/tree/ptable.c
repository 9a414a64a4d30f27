/*
 * The process table (ptable.h). Tier: enclave.
 *
 * Entries hang in buckets by pid. A wait queue is shared by all pids of one bucket, so that a waiter may stay on
 * it however its process ends; who is woken looks again. Under the lock signals are only noted; they are
 * told when it is dropped.
 */
#include "tree/ptable.h"

#include <asm/errno.h>
#include <linux/signal.h>
#include <linux/wait.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "process/process.h"
#include "tree/ptable_entries.h"

#define INIT_PID  1
#define PID_FIRST (PTABLE_ROOT_PID + 1)

struct ptable g_ptable;

/* --- entries; the lock is held ------------------------------------------------------------------- */

static struct entry **bucket(int32_t pid)
{
    return &g_ptable.buckets[(uint32_t)pid % PTABLE_BUCKETS];
}

struct entry *ptable_find(int32_t pid)
{
    for (struct entry *e = *bucket(pid); e; e = e->next)
        if (e->pid == pid)
            return e;
    return NULL;
}

static struct entry *from(uint32_t index)
{
    for (; index < PTABLE_BUCKETS; index++)
        if (g_ptable.buckets[index])
            return g_ptable.buckets[index];
    return NULL;
}

struct entry *ptable_first(void)
{
    return from(0);
}

struct entry *ptable_after(const struct entry *e)
{
    return e->next ? e->next : from((uint32_t)e->pid % PTABLE_BUCKETS + 1);
}

static void add(struct entry *e)
{
    e->born = ++g_ptable.births;
    e->next = *bucket(e->pid);
    *bucket(e->pid) = e;
    g_ptable.count++;
    g_ptable.alive++;
}

static void end(struct entry *e)
{
    if (!e->zombie)
        g_ptable.alive--;
    e->zombie = true;
    e->stopped = 0;
}

static void drop(struct entry *e)
{
    end(e);
    for (struct entry **at = bucket(e->pid); *at; at = &(*at)->next) {
        if (*at == e) {
            *at = e->next;
            break;
        }
    }
    g_ptable.count--;
    heap_free(e->label);
    e->label = NULL;
    if (e != &g_ptable.root)
        heap_free(e);
}

static bool in_use(int32_t pid)
{
    for (struct entry *e = ptable_first(); e; e = ptable_after(e))
        if (e->pid == pid || e->pgid == pid || e->sid == pid)
            return true;
    return false;
}

static int32_t new_pid(void)
{
    do {
        if (++g_ptable.last_pid >= PTABLE_PID_LIMIT)
            g_ptable.last_pid = PID_FIRST;
    } while (in_use(g_ptable.last_pid));
    return g_ptable.last_pid;
}

void ptable_ready(void)
{
    if (g_ptable.ready)
        return;
    g_ptable.ready = true;
    g_ptable.limit = UINT32_MAX;
    g_ptable.last_pid = PTABLE_ROOT_PID;
    g_ptable.host_tty = (struct ptable_tty){
        .number = PTABLE_TTY_HOST,
        .sid = PTABLE_ROOT_PID,
        .pgrp = PTABLE_ROOT_PID,
    };
    g_ptable.root = (struct entry){
        .pid = PTABLE_ROOT_PID,
        .parent = INIT_PID,
        .pgid = PTABLE_ROOT_PID,
        .sid = PTABLE_ROOT_PID,
        .tty = &g_ptable.host_tty,
        .started = true,
    };
    add(&g_ptable.root);
}

bool ptable_group_exists(int32_t pgid, int32_t sid)
{
    for (struct entry *e = ptable_first(); e; e = ptable_after(e))
        if (e->pgid == pgid && (sid == 0 || e->sid == sid))
            return true;
    return false;
}

/* --- signals that are to be told ------------------------------------------------------------------- */

/* -ENOMEM: this one is not told. */
static int note(struct tells *tells, int32_t pid, const struct signal_info *info)
{
    uint32_t i = tells->count;
    if (i < TELLS_AT_HAND) {
        tells->at_hand[i] = (struct tell){ pid, *info };
    } else {
        if (i - TELLS_AT_HAND == tells->room) {
            uint32_t room = tells->room * 2 + 32;
            struct tell *more = heap_realloc(tells->more, room * sizeof(*more));
            if (!more)
                return -ENOMEM;
            tells->more = more;
            tells->room = room;
        }
        tells->more[i - TELLS_AT_HAND] = (struct tell){ pid, *info };
    }
    tells->count++;
    return 0;
}

/* The lock is not held. */
void ptable_tell_all(struct tells *tells)
{
    for (uint32_t i = 0; i < tells->count; i++) {
        const struct tell *tell =
            i < TELLS_AT_HAND ? &tells->at_hand[i] : &tells->more[i - TELLS_AT_HAND];
        ptable_tell(tell->pid, &tell->info);
        /* The signal first: it is there when wait returns. */
        if (tell->info.number == SIGCHLD)
            waitq_wake(ptable_queue(tell->pid), UINT32_MAX);
    }
    heap_free(tells->more);
}

int ptable_child_code(int32_t status, int32_t *ret_value)
{
    int code = status == PTABLE_CONTINUED ? CLD_CONTINUED
               : (status & 0xff) == 0x7f  ? CLD_STOPPED
               : !(status & 0x7f)         ? CLD_EXITED
               : status & 0x80            ? CLD_DUMPED
                                          : CLD_KILLED;
    *ret_value = code == CLD_CONTINUED                       ? SIGCONT
                 : code == CLD_EXITED || code == CLD_STOPPED ? status >> 8 & 0xff
                                                             : status & 0x7f;
    return code;
}

static int32_t stop_status(int signal)
{
    return signal << 8 | 0x7f;
}

/* What a child's parent is told of it. signal 0: nothing. */
static void note_child(struct tells *tells, const struct entry *e, int32_t status, int signal)
{
    int32_t value, code = ptable_child_code(status, &value);
    struct signal_info info = {
        .number = signal,
        .code = code,
        .pid = e->pid,
        .uid = (int32_t)process_node()->uid,
        .value = (uint64_t)value,
    };
    if (signal && note(tells, e->parent, &info) < 0)
        log_error("no memory to tell process %d of a child", e->parent);
}

/* --- stopping -------------------------------------------------------------------------------------- */

static void resume(struct entry *e, struct tells *tells)
{
    if (!e->stopped)
        return;
    e->stopped = 0;
    e->stop_unseen = false;
    e->cont_unseen = true;
    note_child(tells, e, PTABLE_CONTINUED, SIGCHLD);
}

void ptable_note(struct tells *tells, struct entry *e, int number)
{
    struct signal_info info = { .number = number, .code = SI_KERNEL };
    if (note(tells, e->pid, &info) < 0)
        log_error("no memory to tell process %d of signal %d", e->pid, number);
    if (number == SIGCONT)
        resume(e, tells);
}

/* Nobody of the session is left who could let it go on; the root's parent, who is outside, could. */
bool ptable_orphaned(int32_t pgid)
{
    for (struct entry *e = ptable_first(); e; e = ptable_after(e)) {
        if (e->pgid != pgid || e->zombie)
            continue;
        if (e == &g_ptable.root)
            return false;
        const struct entry *p = ptable_find(e->parent);
        if (p && p->pgid != pgid && p->sid == e->sid)
            return false;
    }
    return true;
}

/* The group has perhaps become an orphan. What of it is stopped would stay so. */
static void hang_up(int32_t pgid, struct tells *tells)
{
    bool stopped = false;
    for (struct entry *e = ptable_first(); e; e = ptable_after(e))
        stopped |= e->pgid == pgid && e->stopped;
    if (!stopped || !ptable_orphaned(pgid))
        return;
    for (struct entry *e = ptable_first(); e; e = ptable_after(e)) {
        if (e->pgid != pgid || e->zombie)
            continue;
        ptable_note(tells, e, SIGHUP);
        ptable_note(tells, e, SIGCONT);
    }
}

int ptable_stopped(int32_t pid, int signal)
{
    struct tells tells = { .count = 0 };
    lock_take(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(pid);
    int ret = !e || e->zombie ? -ESRCH : signal != SIGSTOP && ptable_orphaned(e->pgid) ? -EPERM : 0;
    if (ret == 0) {
        e->stopped = signal;
        e->stop_unseen = true;
        e->cont_unseen = false;
        note_child(&tells, e, stop_status(signal), SIGCHLD);
    }
    lock_drop(&g_ptable.lock);
    ptable_tell_all(&tells);
    return ret;
}

void ptable_continued(int32_t pid)
{
    struct tells tells = { .count = 0 };
    lock_take(&g_ptable.lock);
    struct entry *e = ptable_find(pid);
    if (e)
        resume(e, &tells);
    lock_drop(&g_ptable.lock);
    ptable_tell_all(&tells);
}

/* --- birth and end ---------------------------------------------------------------------------------- */

void ptable_init(uint32_t limit)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    g_ptable.limit = limit;
}

int32_t ptable_new(int32_t parent, int exit_signal)
{
    if (exit_signal < 0 || exit_signal > 64)
        return -EINVAL;
    struct entry *e = heap_alloc(sizeof(*e));
    if (!e)
        return -ENOMEM;
    lock_take(&g_ptable.lock);
    ptable_ready();
    const struct entry *p = ptable_find(parent);
    int32_t ret = -ESRCH;
    bool full = g_ptable.count >= g_ptable.limit, say = full && !g_ptable.full_logged;
    g_ptable.full_logged |= full;
    if (full) {
        ret = -EAGAIN;
    } else if (p && !p->zombie) {
        *e = (struct entry){
            .pid = new_pid(),
            .parent = p->pid,
            .pgid = p->pgid,
            .sid = p->sid,
            .tty = p->tty,
            .nowait = p->nowait, /* with the dispositions */
            .exit_signal = exit_signal,
        };
        ret = e->pid;
        add(TAKE_PTR(e));
    }
    lock_drop(&g_ptable.lock);
    heap_free(e);
    if (say)
        log_error("%u processes are alive or not yet waited for: --processes allows no more",
                  g_ptable.limit);
    return ret;
}

bool ptable_started(int32_t pid)
{
    struct ptable_view view;
    char *label = heap_alloc(PTABLE_LABEL_MAX);
    if (label && ptable_view(pid, &view, label, PTABLE_LABEL_MAX) == 0)
        (void)ptable_set_label(pid, label, view.label_size);
    heap_free(label);
    LOCKED(&g_ptable.lock);
    struct entry *e = ptable_find(pid);
    if (e)
        e->started = true;
    return e != NULL;
}

bool ptable_unborn(int32_t pid, int32_t parent)
{
    LOCKED(&g_ptable.lock);
    const struct entry *e = ptable_find(pid);
    return e && e->parent == parent && !e->started && !e->zombie;
}

void ptable_forget(int32_t pid)
{
    int32_t parent = 0;
    lock_take(&g_ptable.lock);
    struct entry *e = ptable_find(pid);
    if (e && e != &g_ptable.root) {
        parent = e->parent;
        drop(e);
    }
    lock_drop(&g_ptable.lock);
    if (parent) {
        waitq_wake(ptable_end_queue(pid), UINT32_MAX);
        waitq_wake(ptable_queue(parent), UINT32_MAX);
    }
}

/* Who gets the children of one that ends; NULL: init, which waits for them. */
static const struct entry *reaper_of(const struct entry *gone)
{
    const struct entry *e = ptable_find(gone->parent);
    while (e && (!e->subreaper || e->zombie))
        e = ptable_find(e->parent);
    return e;
}

static void orphan_children(const struct entry *gone, struct tells *tells)
{
    int32_t pid = gone->pid;
    const struct entry *reaper = reaper_of(gone);
    for (struct entry *e = ptable_first(), *next; e; e = next) {
        next = ptable_after(e);
        if (e->parent != pid)
            continue;
        e->parent = reaper ? reaper->pid : INIT_PID;
        e->exit_signal = SIGCHLD;
        if (e->zombie && reaper)
            note_child(tells, e, e->status, SIGCHLD);
        if (e->zombie || !e->started) {
            tells->unborn |= !e->zombie;
            if (!e->started || !reaper || reaper->nowait)
                drop(e);
            continue;
        }
        struct signal_info info = {
            .number = e->pdeathsig, .code = SI_USER, .pid = pid, .uid = (int32_t)process_node()->uid
        };
        if (info.number && note(tells, e->pid, &info) < 0)
            log_error("no memory to tell process %d that its parent has ended", e->pid);
        if (e->sid == gone->sid && e->pgid != gone->pgid)
            hang_up(e->pgid, tells);
    }
}

void ptable_exit(int32_t pid, int32_t status, uint64_t user_us, uint64_t system_us)
{
    struct tells tells = { .count = 0 };
    lock_take(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(pid);
    if (!e || e->zombie) {
        lock_drop(&g_ptable.lock);
        return;
    }
    end(e);
    e->status = status;
    e->user_us = user_us;
    e->system_us = system_us;
    ptable_tty_lost(e, true, &tells);
    orphan_children(e, &tells);
    int32_t parent = e->parent;
    const struct entry *p = ptable_find(parent);
    bool waited_for = p && !p->zombie;
    if (p && p->sid == e->sid && p->pgid != e->pgid)
        hang_up(e->pgid, &tells);
    if (waited_for) {
        note_child(&tells, e, status, e->exit_signal);
        waited_for = !p->nowait || e->exit_signal != SIGCHLD;
    }
    if (!waited_for)
        drop(e);
    lock_drop(&g_ptable.lock);
    ptable_tell_all(&tells);
    for (uint32_t i = 0; i < PTABLE_END_QUEUES; i++)
        if (tells.unborn || &g_ptable.ends[i] == ptable_end_queue(pid))
            waitq_wake(&g_ptable.ends[i], UINT32_MAX);
    waitq_wake(ptable_queue(parent), UINT32_MAX);
}

void ptable_execed(int32_t pid)
{
    LOCKED(&g_ptable.lock);
    struct entry *e = ptable_find(pid);
    if (!e)
        return;
    e->execed = true;
    e->exit_signal = SIGCHLD;
}

void ptable_set_nowait(int32_t pid, bool nowait)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(pid);
    if (e)
        e->nowait = nowait;
}

/* --- waiting --------------------------------------------------------------------------------------- */

struct waitq *ptable_queue(int32_t self)
{
    return &g_ptable.queues[(uint32_t)self % PTABLE_BUCKETS];
}

struct waitq *ptable_end_queue(int32_t pid)
{
    return &g_ptable.ends[(uint32_t)pid % PTABLE_END_QUEUES];
}

static bool wanted(const struct entry *e, int32_t self, int idtype, int32_t id, int options)
{
    if (e->parent != self)
        return false;
    /* "Clone children" are those that do not tell by SIGCHLD. */
    if (!(options & (int)__WALL) && (e->exit_signal != SIGCHLD) != ((options & (int)__WCLONE) != 0))
        return false;
    switch (idtype) {
    case P_PID: return e->pid == id;
    case P_PGID: return e->pgid == id;
    default: return true;
    }
}

/* What there is to tell of a child now. */
static bool has_news(const struct entry *e, int options)
{
    return e->zombie
               ? options & WEXITED
               : (e->stop_unseen && options & WSTOPPED) || (e->cont_unseen && options & WCONTINUED);
}

int ptable_wait(int32_t self, int idtype, int32_t id, int options, struct ptable_waited *ret)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    struct entry *found = NULL;
    bool any = false;
    for (struct entry *e = ptable_first(); e; e = ptable_after(e)) {
        if (!wanted(e, self, idtype, id, options))
            continue;
        any = true;
        if (has_news(e, options) && (!found || e->born < found->born))
            found = e;
    }
    if (!any)
        return -ECHILD;
    if (!found) {
        if (!(options & WNOHANG))
            return -EAGAIN;
        *ret = (struct ptable_waited){ .pid = 0 };
        return 0;
    }
    if (!found->zombie) {
        bool stop = found->stop_unseen && options & WSTOPPED;
        *ret = (struct ptable_waited){
            .pid = found->pid,
            .status = stop ? stop_status(found->stopped) : PTABLE_CONTINUED,
        };
        if (!(options & WNOWAIT))
            *(stop ? &found->stop_unseen : &found->cont_unseen) = false;
        return 0;
    }
    *ret = (struct ptable_waited){
        .pid = found->pid,
        .status = found->status,
        .user_us = found->user_us + found->children_user_us,
        .system_us = found->system_us + found->children_system_us,
    };
    if (options & WNOWAIT)
        return 0;
    struct entry *p = ptable_find(self);
    if (p) {
        p->children_user_us += ret->user_us;
        p->children_system_us += ret->system_us;
    }
    drop(found);
    return 0;
}

/* --- one process, told from others of its pid ------------------------------------------------------- */

uint64_t ptable_born(int32_t pid)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    const struct entry *e = ptable_find(pid);
    return e ? e->born : 0;
}

enum ptable_life ptable_life(int32_t pid, uint64_t born)
{
    LOCKED(&g_ptable.lock);
    const struct entry *e = ptable_find(pid);
    return !e || e->born != born ? PTABLE_GONE : e->zombie ? PTABLE_ENDED : PTABLE_ALIVE;
}

/* --- what others see -------------------------------------------------------------------------------- */

int ptable_set_label(int32_t pid, const char *bytes, uint32_t size)
{
    if (size > PTABLE_LABEL_MAX)
        size = PTABLE_LABEL_MAX;
    char *label = heap_alloc(size + 1u);
    if (!label)
        return -ENOMEM;
    memcpy(label, bytes, size);
    lock_take(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(pid);
    if (e) {
        char *old = e->label;
        e->label = label;
        e->label_size = size;
        label = old;
    }
    lock_drop(&g_ptable.lock);
    heap_free(label);
    return e ? 0 : -ESRCH;
}

int ptable_view(int32_t pid, struct ptable_view *ret, char *ret_label, uint32_t room)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    const struct entry *e = ptable_find(pid), *like = e;
    if (!e)
        return -ESRCH;
    /* One that has said nothing yet is a copy of its parent. */
    while (like && !like->label)
        like = ptable_find(like->parent);
    *ret = (struct ptable_view){
        .parent = e->parent,
        .pgid = e->pgid,
        .sid = e->sid,
        .state = e->zombie    ? 'Z'
                 : e->stopped ? 'T'
                              : 'S',
        .label_size = !like                     ? 0
                      : like->label_size < room ? like->label_size
                                                : room,
    };
    if (like)
        memcpy(ret_label, like->label, ret->label_size);
    return 0;
}

int32_t ptable_next(int32_t pid)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    int32_t found = 0;
    for (struct entry *e = ptable_first(); e; e = ptable_after(e))
        if (e->pid >= pid && (!found || e->pid < found))
            found = e->pid;
    return found;
}

/* --- kill ------------------------------------------------------------------------------------------ */

static bool is_target(const struct entry *e, const struct entry *self, int32_t pid)
{
    if (pid > 0)
        return e->pid == pid;
    if (pid == -1)
        return e != self;
    return e->pgid == (pid == 0 ? self->pgid : -pid);
}

int ptable_kill(int32_t self, int32_t pid, const struct signal_info *info)
{
    if (pid == INT32_MIN || (pid == 0 && self == PTABLE_OUTSIDE))
        return -ESRCH;
    struct tells tells = { .count = 0 };
    int ret = -ESRCH;
    lock_take(&g_ptable.lock);
    ptable_ready();
    const struct entry *me = ptable_find(self);
    for (struct entry *e = me || self == PTABLE_OUTSIDE ? ptable_first() : NULL; e;
         e = ptable_after(e)) {
        if (!is_target(e, me, pid))
            continue;
        if (ret == -ESRCH)
            ret = 0;
        if (info->number && !e->zombie && note(&tells, e->pid, info) < 0)
            ret = -ENOMEM;
        if (info->number == SIGCONT)
            resume(e, &tells);
    }
    lock_drop(&g_ptable.lock);
    ptable_tell_all(&tells);
    return ret;
}

/* --- groups and sessions ---------------------------------------------------------------------------- */

int ptable_setpgid(int32_t self, int32_t pid, int32_t pgid)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    if (pid == 0)
        pid = self;
    if (pgid == 0)
        pgid = pid;
    if (pgid < 0)
        return -EINVAL;
    const struct entry *me = ptable_find(self);
    struct entry *e = ptable_find(pid);
    if (!me || !e)
        return -ESRCH;
    if (e->parent == self) {
        if (e->sid != me->sid)
            return -EPERM;
        if (e->execed)
            return -EACCES;
    } else if (e != me) {
        return -ESRCH;
    }
    if (e->sid == e->pid)
        return -EPERM;
    if (pgid != pid && !ptable_group_exists(pgid, me->sid))
        return -EPERM;
    e->pgid = pgid;
    return 0;
}

int32_t ptable_getpgid(int32_t self, int32_t pid)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    const struct entry *e = ptable_find(pid ? pid : self);
    return e ? e->pgid : -ESRCH;
}

int32_t ptable_setsid(int32_t self)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(self);
    if (!e)
        return -ESRCH;
    if (ptable_group_exists(self, 0))
        return -EPERM;
    e->sid = e->pgid = self;
    e->tty = NULL;
    e->old_pgrp = 0;
    return self;
}

int32_t ptable_getsid(int32_t self, int32_t pid)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    const struct entry *e = ptable_find(pid ? pid : self);
    return e ? e->sid : -ESRCH;
}

int32_t ptable_getppid(int32_t self)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    const struct entry *e = ptable_find(self);
    return e ? e->parent : INIT_PID;
}

int ptable_pdeathsig(int32_t self, int signal)
{
    if (signal < 0 || signal > 64)
        return -EINVAL;
    LOCKED(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(self);
    if (!e)
        return -ESRCH;
    e->pdeathsig = signal;
    return 0;
}

int ptable_set_subreaper(int32_t self, bool on)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    struct entry *e = ptable_find(self);
    if (!e)
        return -ESRCH;
    e->subreaper = on;
    return 0;
}

int ptable_get_subreaper(int32_t self)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    const struct entry *e = ptable_find(self);
    return e ? e->subreaper : -ESRCH;
}

uint32_t ptable_alive(void)
{
    LOCKED(&g_ptable.lock);
    ptable_ready();
    return g_ptable.alive;
}
