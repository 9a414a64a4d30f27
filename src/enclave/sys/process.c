/*
 * Other processes of the tree: wait4(2), waitid(2), kill's targets, groups, sessions, the parent, what children
 * have used. The root asks its table (tree/ptable.h), everybody else the hub. What a process needs to know of
 * itself alone costs no question. Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/resource.h>
#include <linux/signal.h>
#include <linux/wait.h>

#include "arch/string.h"
#include "ipc/pidfd.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "process/vfork.h"
#include "signal/state.h"
#include "sys/process.h"
#include "sys/sys.h"
#include "thread/wait.h"
#include "tree/hub.h"
#include "tree/ptable.h"
#include "vfs/fd.h"
#include "vfs/linux.h"

sys_fn sys_getppid, sys_getpgrp, sys_getpgid, sys_setpgid, sys_getsid, sys_setsid, sys_wait4,
    sys_waitid;

/* As struct process's pid: a vfork child's questions are its own. */
static int32_t self(void)
{
    return process_current()->pid;
}

static int64_t ask(enum hub_op op, int64_t a, int64_t b)
{
    return hub_ask(&(struct hub_ask){ .op = op, .args = { (uint64_t)a, (uint64_t)b } });
}

/* --- who is who ------------------------------------------------------------------------------------ */

int32_t process_ppid(void)
{
    const struct process *process = process_current();
    if (process->vfork)
        return process->vfork->parent->pid;
    /* The root's parent is outside. */
    return hub_is_here() ? 1 : (int32_t)ask(HUB_GETPPID, 0, 0);
}

int32_t process_pgid(int32_t pid)
{
    return hub_is_here() ? ptable_getpgid(self(), pid) : (int32_t)ask(HUB_GETPGID, pid, 0);
}

int32_t process_sid(int32_t pid)
{
    return hub_is_here() ? ptable_getsid(self(), pid) : (int32_t)ask(HUB_GETSID, pid, 0);
}

int64_t sys_getppid(const struct sysargs *args UNUSED)
{
    return process_ppid();
}

int64_t sys_getpgrp(const struct sysargs *args UNUSED)
{
    return process_pgid(0);
}

int64_t sys_getpgid(const struct sysargs *args)
{
    return process_pgid((int32_t)args->a[0]);
}

int64_t sys_getsid(const struct sysargs *args)
{
    return process_sid((int32_t)args->a[0]);
}

int64_t sys_setpgid(const struct sysargs *args)
{
    int32_t pid = (int32_t)args->a[0], pgid = (int32_t)args->a[1];
    return hub_is_here() ? ptable_setpgid(self(), pid, pgid) : ask(HUB_SETPGID, pid, pgid);
}

int64_t sys_setsid(const struct sysargs *args UNUSED)
{
    return hub_is_here() ? ptable_setsid(self()) : ask(HUB_SETSID, 0, 0);
}

int process_pdeathsig(int signal)
{
    int64_t r = hub_is_here() ? ptable_pdeathsig(self(), signal) : ask(HUB_PDEATHSIG, signal, 0);
    if (r == 0)
        process_current()->pdeathsig = signal;
    return (int)r;
}

int process_set_subreaper(bool on)
{
    return hub_is_here() ? ptable_set_subreaper(self(), on) : (int)ask(HUB_SUBREAPER, 1, on);
}

int process_get_subreaper(void)
{
    return hub_is_here() ? ptable_get_subreaper(self()) : (int)ask(HUB_SUBREAPER, 0, 0);
}

int32_t process_tty_pgrp(void)
{
    return hub_is_here() ? ptable_tty_pgrp() : (int32_t)ask(HUB_TTY_PGRP, 0, 0);
}

int process_set_tty_pgrp(int32_t pgid)
{
    return hub_is_here() ? ptable_set_tty_pgrp(self(), pgid) : (int)ask(HUB_TTY_PGRP, 1, pgid);
}

/* --- kill ------------------------------------------------------------------------------------------- */

/* born: 0, or the birth of the one process meant. */
static int kill_born(int32_t pid, uint64_t born, const struct signal_info *info)
{
    /* A thread of this process may be playing it. */
    if (pid > 0 && info->number && vfork_signal(pid, info))
        return 0;
    if (hub_is_here() && born && ptable_life(pid, born) == PTABLE_GONE)
        return -ESRCH;
    if (hub_is_here())
        return ptable_kill(self(), pid, info);
    int64_t r = hub_ask(
        &(struct hub_ask){ .op = HUB_KILL,
                           .args = { (uint64_t)(int64_t)pid, (uint64_t)(int64_t)info->number,
                                     (uint64_t)(int64_t)info->code, info->value, born } });
    /* What is meant for this process too is there before kill returns (kill(2)). */
    if (r == 0 && pid <= 0)
        hub_events_fetch();
    return (int)r;
}

int process_kill(int32_t pid, const struct signal_info *info)
{
    return kill_born(pid, 0, info);
}

int process_kill_one(const struct pidfd_target *target, const struct signal_info *info)
{
    return kill_born(target->pid, target->born, info);
}

int process_stopped(int signal)
{
    return hub_is_here() ? ptable_stopped(g_process.pid, signal) : (int)ask(HUB_STOPPED, signal, 0);
}

void process_continued(void)
{
    if (hub_is_here())
        ptable_continued(g_process.pid);
    else
        (void)!ask(HUB_CONTINUED, 0, 0);
}

/* --- what /proc shows --------------------------------------------------------------------------------- */

struct view_reply {
    struct ptable_view view;
    char label[PTABLE_LABEL_MAX];
};

int process_view(int32_t pid, struct ptable_view *ret, char *ret_label)
{
    if (hub_is_here())
        return ptable_view(pid, ret, ret_label, PTABLE_LABEL_MAX);
    struct view_reply *reply = heap_alloc(sizeof(*reply));
    if (!reply)
        return -ENOMEM;
    struct hub_ask ask = {
        .op = HUB_VIEW, .args = { (uint64_t)(uint32_t)pid }, .reply = reply, .room = sizeof(*reply)
    };
    int r = (int)hub_ask(&ask);
    if (r == 0 && (ask.reply_size < sizeof(reply->view) ||
                   reply->view.label_size > ask.reply_size - sizeof(reply->view)))
        r = -EIO;
    if (r == 0) {
        *ret = reply->view;
        memcpy(ret_label, reply->label, ret->label_size);
    }
    heap_free(reply);
    return r;
}

int32_t process_next(int32_t pid)
{
    return hub_is_here() ? ptable_next(pid) : (int32_t)ask(HUB_NEXT_PID, pid, 0);
}

bool process_exists(int32_t pid)
{
    return process_next(pid) == pid;
}

/* --- children's ends --------------------------------------------------------------------------------- */

static uint64_t g_children_user_us, g_children_system_us;

void process_children_times(uint64_t *ret_user_us, uint64_t *ret_system_us)
{
    bool child = process_current()->vfork;
    *ret_user_us = child ? 0 : __atomic_load_n(&g_children_user_us, __ATOMIC_RELAXED);
    *ret_system_us = child ? 0 : __atomic_load_n(&g_children_system_us, __ATOMIC_RELAXED);
}

void process_set_nowait(bool nowait)
{
    struct process *process = process_current();
    if (__atomic_exchange_n(&process->nowait, nowait, __ATOMIC_RELAXED) == nowait)
        return;
    if (hub_is_here())
        ptable_set_nowait(process->pid, nowait);
    else
        (void)!ask(HUB_NOWAIT, nowait, 0);
}

/* Whom waitid(2) and its like wait for. */
struct whom {
    int idtype, options;
    int32_t id;
    uint64_t born; /* 0, or of P_PID: its birth */
};

static int wait_here(const struct whom *whom, struct ptable_waited *ret)
{
    for (;;) {
        if (whom->born && ptable_life(whom->id, whom->born) == PTABLE_GONE)
            return -ECHILD;
        struct waiter waiter = { .thread = current() };
        waitq_add(ptable_queue(self()), &waiter);
        int r = ptable_wait(self(), whom->idtype, whom->id, whom->options, ret), parked = 0;
        if (r == -EAGAIN)
            parked = thread_park(OCALL_NEVER);
        waitq_remove(&waiter);
        if (r != -EAGAIN)
            return r;
        if (parked < 0)
            return -ERESTARTSYS;
    }
}

static int wait_at_hub(const struct whom *whom, struct ptable_waited *ret)
{
    struct hub_ask ask = { .op = HUB_WAIT,
                           .args = { (uint64_t)(int64_t)whom->idtype, (uint64_t)(int64_t)whom->id,
                                     (uint64_t)(int64_t)whom->options, whom->born } };
    int64_t pid = whom->options & WNOHANG ? hub_ask(&ask) : hub_ask_blocking(&ask);
    if (pid == -EINTR)
        return -ERESTARTSYS;
    if (pid < 0)
        return (int)pid;
    *ret = (struct ptable_waited){
        .pid = (int32_t)pid,
        .status = (int32_t)ask.out[0],
        .user_us = ask.out[2],
        .system_us = ask.out[3],
    };
    return 0;
}

static bool minds_sigchld(void)
{
    return process_current()->actions->of[SIGCHLD].handler > HANDLER_IGNORE ||
           current()->signal.mask & SIGNAL_BIT(SIGCHLD);
}

/* 0: *ret is a child that has ended; pid 0: none has, and WNOHANG. -ECHILD, -ERESTARTSYS. */
static int wait_for(struct whom whom, struct ptable_waited *ret)
{
    if (process_current()->vfork) /* it has made none */
        return -ECHILD;
    if (whom.idtype == P_PGID && whom.id == 0) {
        whom.id = process_pgid(0);
        if (whom.id < 0)
            return whom.id;
    }
    bool here = hub_is_here();
    int r = here ? wait_here(&whom, ret) : wait_at_hub(&whom, ret);
    /* SIGCHLD was sent before: it is there when wait returns. */
    if (r == 0 && ret->pid && !here && minds_sigchld())
        hub_events_fetch();
    if (r == 0 && ret->pid && !(whom.options & WNOWAIT)) {
        __atomic_fetch_add(&g_children_user_us, ret->user_us, __ATOMIC_RELAXED);
        __atomic_fetch_add(&g_children_system_us, ret->system_us, __ATOMIC_RELAXED);
    }
    return r;
}

static int put_usage(uint64_t user, const struct ptable_waited *waited)
{
    struct rusage usage = {
        .ru_utime = { (int64_t)(waited->user_us / 1000000), (int64_t)(waited->user_us % 1000000) },
        .ru_stime = { (int64_t)(waited->system_us / 1000000),
                      (int64_t)(waited->system_us % 1000000) },
    };
    return PUT_USER((struct rusage *)(uintptr_t)user, &usage);
}

int64_t sys_wait4(const struct sysargs *args)
{
    int32_t pid = (int32_t)args->a[0];
    uint32_t options = (uint32_t)args->a[2];
    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | (uint32_t)__WNOTHREAD | __WCLONE | __WALL))
        return -EINVAL;
    if (pid == INT32_MIN)
        return -ESRCH;
    struct whom whom = { .idtype = pid == -1 ? P_ALL
                                   : pid > 0 ? P_PID
                                             : P_PGID,
                         .options = (int)(options | WEXITED),
                         .id = pid == -1 ? 0
                               : pid < 0 ? -pid
                                         : pid };
    struct ptable_waited waited = { 0 };
    int r = wait_for(whom, &waited);
    if (r < 0 || !waited.pid)
        return r;
    if (args->a[1] && PUT_USER((int32_t *)(uintptr_t)args->a[1], &waited.status) < 0)
        return -EFAULT;
    if (args->a[3] && put_usage(args->a[3], &waited) < 0)
        return -EFAULT;
    return waited.pid;
}

/* The parts of siginfo that waitid writes: number, error, code at 0; pid, uid, status at 16. */
static int put_info(uint64_t user, const struct ptable_waited *waited)
{
    int32_t head[3] = { 0 }, rest[3] = { 0 };
    if (waited->pid) {
        head[0] = SIGCHLD;
        head[2] = ptable_child_code(waited->status, &rest[2]);
        rest[0] = waited->pid;
        rest[1] = (int32_t)process_node()->uid;
    }
    uint8_t *info = (uint8_t *)(uintptr_t)user;
    int r = copy_to_user(info, head, sizeof(head));
    return r < 0 ? r : copy_to_user(info + 16, rest, sizeof(rest));
}

/* The child that a pidfd names; one with PIDFD_NONBLOCK is not waited for: *ret_nonblock. */
static int whom_of_pidfd(int fd, struct whom *ret, bool *ret_nonblock)
{
    struct file *file = fd >= 0 ? fd_get(fd) : NULL;
    struct pidfd_target target;
    if (!file)
        return fd < 0 ? -EINVAL : -EBADF;
    bool is = pidfd_target(file, &target);
    *ret_nonblock = (file->flags & O_NONBLOCK) && !(ret->options & WNOHANG);
    file_unref(file);
    if (!is)
        return -EBADF;
    ret->idtype = P_PID;
    ret->id = target.pid;
    ret->born = target.born;
    ret->options |= *ret_nonblock ? WNOHANG : 0;
    return 0;
}

int64_t sys_waitid(const struct sysargs *args)
{
    int idtype = (int)args->a[0];
    int32_t id = (int32_t)args->a[1];
    uint32_t options = (uint32_t)args->a[3];
    if (options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | (uint32_t)__WNOTHREAD |
                    __WCLONE | __WALL) ||
        !(options & (WEXITED | WSTOPPED | WCONTINUED)))
        return -EINVAL;
    struct whom whom = { .idtype = idtype, .id = id, .options = (int)options };
    bool nonblock = false;
    int r = 0;
    switch (idtype) {
    case P_ALL: break;
    case P_PID:
        if (id <= 0)
            return -EINVAL;
        break;
    case P_PGID:
        if (id < 0)
            return -EINVAL;
        break;
    case P_PIDFD:
        r = whom_of_pidfd(id, &whom, &nonblock);
        if (r < 0)
            return r;
        break;
    default: return -EINVAL;
    }
    struct ptable_waited waited = { 0 };
    r = wait_for(whom, &waited);
    if (r == 0 && !waited.pid && nonblock)
        r = -EAGAIN;
    if (r == 0 && waited.pid && args->a[4] && put_usage(args->a[4], &waited) < 0)
        return -EFAULT;
    /* As Linux: written also where there was none. */
    if (args->a[2] && put_info(args->a[2], &waited) < 0)
        return -EFAULT;
    return r;
}
