/*
 * vfork(2) on the calling thread (vfork.h). Tier: enclave.
 *
 * The thread's runtime stack is not kept: the child's system calls use it anew, and the way back to the
 * parent is full_restore() with the registers of the parent's call. So vfork_return() may stand anywhere where
 * nothing is held: at the end of a call, or where a signal is being delivered.
 */
#include "process/vfork.h"

#include <asm/errno.h>
#include <linux/signal.h>

#include "arch/exception.h"
#include "arch/string.h"
#include "ipc/pidfd.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/spawn.h"
#include "signal/state.h"
#include "sys/limits.h"
#include "thread/futex.h"
#include "thread/threads.h"
#include "vfs/fd.h"
#include "vfs/node.h"

static_assert(sizeof(struct vfork) >= 2048 && sizeof(struct vfork) <= 4096, "a page: aligned");

static void vfork_free(struct vfork *vfork)
{
    fd_table_free(vfork->child.fds);
    fs_state_free(vfork->child.fs);
    signal_actions_free(vfork->child.actions);
    heap_free(vfork->private);
    heap_free(vfork->limits);
    heap_free(vfork);
}

static struct vfork *vfork_new(struct process *parent)
{
    struct vfork *vfork = heap_alloc(4096);
    if (!vfork)
        return NULL;
    vfork->child.vfork = vfork;
    vfork->parent = parent;
    vfork->child.fds = fd_table_copy(parent->fds);
    vfork->child.fs = fs_state_copy(parent->fs);
    vfork->child.actions = signal_actions_copy(parent->actions);
    vfork->private = heap_alloc(sizeof(*vfork->private));
    vfork->limits = heap_alloc(sizeof(*vfork->limits));
    if (!vfork->child.fds || !vfork->child.fs || !vfork->child.actions || !vfork->private ||
        !vfork->limits) {
        vfork_free(vfork);
        return NULL;
    }
    limits_get(vfork->limits);
    return vfork;
}

/* The child has its copy of the descriptors already: it does not get this one. */
static int put_pidfd(int32_t pid, uint64_t user)
{
    int32_t fd = pidfd_install(pid, 0);
    if (fd < 0)
        return fd;
    int r = PUT_USER((int32_t *)(uintptr_t)user, &fd);
    if (r < 0)
        (void)fd_close(fd);
    return r;
}

int vfork_begin(struct regs *regs, const struct vfork_wish *wish)
{
    struct thread *thread = current();
    struct process *parent = process_current();
    if (parent->vfork)
        return -EAGAIN;
    struct vfork *vfork = vfork_new(parent);
    if (!vfork)
        return -ENOMEM;
    int32_t pid = spawn_pid(wish->exit_signal);
    int r = pid < 0 ? pid : wish->pidfd ? put_pidfd(pid, wish->pidfd) : 0;
    if (r < 0) {
        if (pid >= 0)
            spawn_pid_forget(pid);
        vfork_free(vfork);
        return r;
    }
    vfork->child.pid = pid;
    vfork->regs = *regs;
    cpu_state_save(&vfork->state);
    vfork->clear_child_tid = thread->clear_child_tid;
    vfork->robust_list = thread->robust_list;
    memcpy(vfork->name, thread->name, sizeof(vfork->name));

    thread->clear_child_tid = wish->clear_child_tid;
    thread->robust_list = 0;
    if (wish->clear_handlers)
        for (int i = 1; i <= SIGNAL_MAX; i++)
            if (vfork->child.actions->of[i].handler != HANDLER_IGNORE)
                vfork->child.actions->of[i] = (struct signal_action){ .handler = HANDLER_DEFAULT };
    if (wish->stack)
        regs->rsp = wish->stack;
    if (wish->set_tls)
        cpu_set_fs_base(wish->tls);
    signal_vfork_begin(vfork);
    return 0;
}

/* The thread is its parent's again, but for registers. */
static void leave(struct vfork *vfork)
{
    struct thread *thread = current();
    uint64_t clear = thread->clear_child_tid;
    if (clear && user_store32((uint32_t *)(uintptr_t)clear, 0) == 0)
        futex_wake((const uint32_t *)(uintptr_t)clear, 1, FUTEX_ANY);
    thread->clear_child_tid = vfork->clear_child_tid;
    thread->robust_list = vfork->robust_list;
    memcpy(thread->name, vfork->name, sizeof(thread->name));
    signal_vfork_end(vfork);
}

void vfork_return(void)
{
    struct vfork *vfork = process_current()->vfork;
    leave(vfork);
    cpu_state_load(&vfork->state);
    struct regs ALIGNED(16) regs = vfork->regs;
    regs.rax = (uint64_t)(int64_t)vfork->child.pid;
    regs.orig_rax = UINT64_MAX;
    regs.rcx = regs.rip; /* as SYSRET leaves them */
    regs.r11 = regs.rflags;
    regs.full = 1;
    vfork_free(vfork);
    full_restore(&regs);
}

void vfork_end(int32_t status)
{
    spawn_pid_exit(process_current()->pid, status);
    vfork_return();
}

void vfork_abandon(void)
{
    struct vfork *vfork = process_current()->vfork;
    spawn_pid_exit(vfork->child.pid, SIGKILL);
    leave(vfork);
    vfork_free(vfork);
}

struct ending {
    int32_t below, pid;
};

/* The highest pid below the last one. */
static void end_child(struct thread *thread, void *arg)
{
    struct ending *e = arg;
    const struct process *process = __atomic_load_n(&thread->process, __ATOMIC_SEQ_CST);
    if (process && process->vfork && process->pid < e->below && process->pid > e->pid)
        e->pid = process->pid;
}

void vfork_end_all(void)
{
    /* One a round, none twice: the table cannot be asked under the threads' lock. */
    int32_t ended = INT32_MAX;
    for (;;) {
        struct ending e = { .below = ended };
        lock_take(&g_signal.lock);
        threads_each(end_child, &e);
        lock_drop(&g_signal.lock);
        if (!e.pid)
            return;
        spawn_pid_exit(e.pid, SIGKILL);
        ended = e.pid;
    }
}
