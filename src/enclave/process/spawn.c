/*
 * The parent's side of starting processes (spawn.h, wire.h).
 */
#include "process/spawn.h"

#include <asm/errno.h>
#include <linux/signal.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "ipc/pidfd.h"
#include "mm/checkpoint.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/wire.h"
#include "signal/state.h"
#include "tree/attest.h"
#include "tree/hub.h"
#include "tree/links.h"
#include "tree/ptable.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/proc/proc.h"
#include "vfs/share.h"

/* --- asking for pids and slots: of the table here, or of the hub ---------------------------------- */

int32_t spawn_pid(int exit_signal)
{
    if (!hub_is_here())
        return (int32_t)hub_ask(
            &(struct hub_ask){ .op = HUB_NEW_PID, .args = { (uint64_t)exit_signal } });
    int r = hub_start();
    return r < 0 ? r : ptable_new(process_current()->pid, exit_signal);
}

void spawn_pid_forget(int32_t pid)
{
    if (hub_is_here())
        ptable_forget(pid);
    else
        (void)!hub_ask(
            &(struct hub_ask){ .op = HUB_FORGET_PID, .args = { (uint64_t)(uint32_t)pid } });
}

void spawn_pid_exit(int32_t pid, int32_t status)
{
    if (hub_is_here())
        ptable_exit(pid, status, 0, 0);
    else
        (void)!hub_ask(&(struct hub_ask){
            .op = HUB_CHILD_EXIT, .args = { (uint64_t)(uint32_t)pid, (uint64_t)(int64_t)status } });
}

struct spawn {
    int32_t pid;
    uint32_t control_slot, spawn_slot;
    struct peer *peer; /* in the root */
    struct attest_edge edge;
    struct wire_head head;
    struct channel channel;
    struct tree_stream stream;
    struct share *share;
    char *label; /* exec: of the program (tree/ptable.h); NULL: no memory for it */
    uint32_t label_size;
};

static int slots_get(struct spawn *s)
{
    if (hub_is_here()) {
        int r = hub_start();
        if (r == 0)
            r = peer_new(g_process.pid, s->pid, s->edge.mrenclave, &s->peer, &s->head.ticket);
        if (r < 0)
            return r;
        s->control_slot = s->peer->control_slot;
        s->spawn_slot = s->peer->spawn_slot;
        return 0;
    }
    struct hub_ask ask = { .op = HUB_SPAWN,
                           .args = { (uint64_t)(uint32_t)s->pid },
                           .data = s->edge.mrenclave,
                           .size = sizeof(s->edge.mrenclave),
                           .reply = &s->head.ticket,
                           .room = sizeof(s->head.ticket) };
    int64_t r = hub_ask(&ask);
    if (r < 0)
        return (int)r;
    if (ask.reply_size != sizeof(s->head.ticket))
        return -EIO;
    s->control_slot = (uint32_t)ask.out[0];
    s->spawn_slot = (uint32_t)ask.out[1];
    return 0;
}

/* What others see of a program in /proc. */
static uint32_t label_of(const struct program *p, char *buf)
{
    const char *slash = strrchr(p->execfn, '/');
    char comm[16];
    format(comm, sizeof(comm), "%s", slash ? slash + 1 : p->execfn);
    uint32_t size = 0;
    for (uint32_t i = 0; i < p->argc + 2 && size < PTABLE_LABEL_MAX; i++) {
        const char *text = i == 0 ? p->executable : i == 1 ? comm : p->argv[i - 2];
        uint64_t n = strlen(text) + 1, room = PTABLE_LABEL_MAX - size;
        memcpy(buf + size, text, n < room ? n : room);
        size += (uint32_t)(n < room ? n : room);
    }
    return size;
}

static void slots_done(struct spawn *s, int error)
{
    bool execed = !error && s->head.kind == WIRE_EXEC;
    if (!hub_is_here()) {
        struct hub_ask ask = { .op = HUB_SPAWN_DONE,
                               .args = { (uint64_t)(uint32_t)s->pid, (uint64_t)(error != 0),
                                         execed },
                               .data = s->label,
                               .size = s->label_size };
        if (execed && s->pid == g_process.pid) /* another enclave is this process now */
            hub_say_last(&ask);
        else
            (void)!hub_ask(&ask);
        return;
    }
    if (execed && s->label)
        (void)ptable_set_label(s->pid, s->label, s->label_size);
    peer_spawned(s->peer, error);
    if (execed)
        ptable_execed(s->pid);
}

/* --- the common way -------------------------------------------------------------------------------- */

/* Another enclave of this measurement in a new host process, up to an attested channel. */
static int start(struct spawn *s, struct process *process, bool all)
{
    int r = slots_get(s);
    if (r < 0)
        return r;
    r = share_prepare(s->pid, process->fds, all, &s->share);
    if (r < 0)
        return r;
    uint32_t count;
    const int32_t *handles = share_handles(s->share, &count);
    border_put(0, s->edge.mrenclave, sizeof(s->edge.mrenclave));
    border_put(sizeof(s->edge.mrenclave), handles, count * sizeof(*handles));
    int64_t ret = border_call3(OCALL_TREE_SPAWN, 0, s->spawn_slot, s->control_slot, count);
    if (ret < 0) {
        if (ret == -ENOENT)
            log_error(
                "a program of this tree is not in the bundle: it is incomplete, sign it again");
        return ret == -ENOMEM ? -ENOMEM : -EAGAIN;
    }
    r = attest_child(s->spawn_slot, &s->edge, &s->channel);
    return r < 0 ? r : tree_stream_open(&s->stream, &s->channel);
}

/* Without memory for them, only their numbers travel. */
static void send_infos(struct spawn *s)
{
    struct signal_info *infos = heap_alloc(WIRE_INFOS_MAX * sizeof(*infos));
    uint32_t count = infos ? signal_pending_infos(infos, WIRE_INFOS_MAX) : 0;
    tree_put_u32(&s->stream, count);
    tree_put_bytes(&s->stream, infos, count * sizeof(*infos));
    heap_free(infos);
}

static void send_head(struct spawn *s, struct process *process, uint32_t kind)
{
    s->head.kind = kind;
    s->head.pid = s->pid;
    s->head.umask = umask_get();
    s->head.fd_limit = (uint32_t)fd_limit();
    s->head.mask = current()->signal.mask;
    limits_get(&s->head.limits);
    memcpy(s->head.cpus_off, current()->cpus_off, sizeof(s->head.cpus_off));
    if (kind == WIRE_EXEC)
        s->head.pending = signal_pending(current());
    for (int i = 1; i <= SIGNAL_MAX; i++)
        if (process->actions->of[i].handler == HANDLER_IGNORE)
            s->head.ignored |= SIGNAL_BIT(i);
    tree_put_bytes(&s->stream, &s->head, sizeof(s->head));
    struct file *cwd = cwd_get();
    const struct place *place = dir_place(cwd);
    tree_put_string(&s->stream, place->path, place->path_size);
    file_unref(cwd);
    if (kind == WIRE_EXEC)
        send_infos(s);
}

/* Sends what is left; then what the child says. */
static int finish_stream(struct spawn *s)
{
    int r = tree_stream_done(&s->stream);
    int32_t answer = -EIO;
    if (r == 0 && channel_receive(&s->channel, &answer, sizeof(answer), false) != sizeof(answer))
        r = -EIO;
    if (r == 0)
        r = answer <= 0 && answer >= -4095 ? answer : -EIO;
    return r;
}

static void done(struct spawn *s, int error)
{
    share_done(s->share, error == 0);
    if (s->control_slot != TREE_NO_SLOT)
        slots_done(s, error);
    channel_wipe(&s->channel);
    memset(&s->head, 0, sizeof(s->head));
    heap_free(s->label);
    heap_free(s);
}

static struct spawn *spawn_new(int32_t pid)
{
    static uint64_t number;
    struct spawn *s = heap_alloc(sizeof(*s));
    if (!s)
        return NULL;
    s->pid = pid;
    s->control_slot = s->spawn_slot = TREE_NO_SLOT;
    s->edge.spawn_number = __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED);
    return s;
}

int spawn_exec(struct process *process, const struct program *program, bool replace)
{
    struct spawn *s = spawn_new(process->pid);
    if (!s)
        return -ENOMEM;
    const uint8_t *mrenclave = program->child->flags & MANIFEST_CHILD_SELF
                                   ? attest_mrenclave()
                                   : program->child->mrenclave;
    memcpy(s->edge.mrenclave, mrenclave, sizeof(s->edge.mrenclave));
    s->label = heap_alloc(PTABLE_LABEL_MAX);
    s->label_size = s->label ? label_of(program, s->label) : 0;
    int r = start(s, process, false);
    if (r == 0) {
        struct tree_stream *out = &s->stream;
        send_head(s, process, WIRE_EXEC);
        tree_put_string(out, program->executable, (uint32_t)strlen(program->executable));
        tree_put_string(out, program->execfn, (uint32_t)strlen(program->execfn));
        tree_put_u32(out, program->argc);
        for (uint32_t i = 0; i < program->argc; i++)
            tree_put_string(out, program->argv[i], (uint32_t)strlen(program->argv[i]));
        tree_put_u32(out, program->envc);
        for (uint32_t i = 0; i < program->envc; i++)
            tree_put_string(out, program->envp[i], (uint32_t)strlen(program->envp[i]));
        share_send(s->share, out);
        r = finish_stream(s);
    }
    if (r == 0 && replace)
        process_leaves(); /* while the hub still listens */
    done(s, r);
    if (r == -EPIPE)
        r = -EAGAIN; /* its host process did not come up */
    if (r == 0 && replace)
        process_replaced();
    return r;
}

/* The child has its copy of the descriptors already: it does not get this one. */
static int put_pidfd(int32_t pid, uint64_t user, int *ret_fd)
{
    int32_t fd = pidfd_install(pid, 0);
    if (fd < 0)
        return fd;
    *ret_fd = fd;
    return PUT_USER((int32_t *)(uintptr_t)user, &fd);
}

int32_t spawn_fork(const struct regs *regs, const struct fork_wish *wish)
{
    struct cpu_state ALIGNED(64) state;
    cpu_state_save(&state);
    struct thread *thread = current();
    struct process *process = process_current();
    int pidfd = -1;
    int32_t pid = spawn_pid(wish->exit_signal);
    if (pid < 0)
        return pid;
    struct spawn *s = spawn_new(pid);
    if (!s) {
        spawn_pid_forget(pid);
        return -ENOMEM;
    }
    memcpy(s->edge.mrenclave, attest_mrenclave(), sizeof(s->edge.mrenclave));
    int r = start(s, process, true);
    if (r == 0 && wish->pidfd)
        r = put_pidfd(pid, wish->pidfd, &pidfd);
    if (r == 0) {
        struct tree_stream *out = &s->stream;
        struct wire_fork fork = {
            .regs = *regs,
            .child_settid = wish->child_settid,
            .child_cleartid = wish->child_cleartid,
            .tls = wish->tls,
            .stack_base = thread->signal.stack_base,
            .stack_size = thread->signal.stack_size,
            .stack_flags = thread->signal.stack_flags,
        };
        memcpy(fork.name, thread->name, sizeof(fork.name));
        fork.regs.rax = 0;
        fork.regs.orig_rax = UINT64_MAX;
        fork.regs.full = 1;
        if (wish->stack)
            fork.regs.rsp = wish->stack;
        send_head(s, process, WIRE_FORK);
        tree_put_bytes(out, &fork, sizeof(fork));
        tree_put_bytes(out, &state, sizeof(state));
        tree_put_bytes(out, process->actions, sizeof(*process->actions));
        proc_send(out);
        share_send(s->share, out);
        mm_checkpoint_send(out, s->share);
        r = finish_stream(s);
    }
    done(s, r);
    if (r < 0)
        spawn_pid_forget(pid);
    if (r < 0 && pidfd >= 0)
        (void)fd_close(pidfd);
    if (r == -EPIPE)
        r = -EAGAIN;
    return r < 0 ? r : pid;
}
