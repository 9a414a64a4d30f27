/*
 * clone(2), clone3(2), fork(2), vfork(2), execve(2), exit(2), set_tid_address(2), gettid(2). Tier:
 * enclave.
 *
 * Three things are made here: threads; a vfork child on the calling thread (process/vfork.h); and by
 * process/spawn.h, other enclaves, for fork and exec. A node that may start nothing (MANIFEST_EXEC_DENY)
 * gets ENOSYS for fork and EACCES for exec, each with an audit line.
 */
#include <asm/errno.h>
#include <linux/sched.h>
#include <linux/signal.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "process/spawn.h"
#include "process/vfork.h"
#include "signal/state.h"
#include "sys/files.h"
#include "sys/process.h"
#include "sys/sys.h"
#include "thread/threads.h"
#include "vfs/linux.h"

#define PATH_SIZE 4096

sys_fn sys_clone, sys_clone3, sys_fork, sys_vfork, sys_execve, sys_execveat, sys_exit,
    sys_exit_group, sys_set_tid_address, sys_gettid;

/* All of these and nothing else makes a thread; the second set may be there too. */
#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)
#define THREAD_OPTIONS                                                         \
    (CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | \
     CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_IO)

/* What a process may be made with. */
#define PROCESS_OPTIONS                                                                       \
    (CLONE_VM | CLONE_VFORK | CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |            \
     CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED | CLONE_IO | CLONE_UNTRACED | \
     CLONE_CLEAR_SIGHAND | CLONE_PIDFD)

struct wish {
    uint64_t flags, stack; /* stack: the new thread's rsp */
    uint64_t parent_tid, child_tid, tls;
    uint64_t pidfd; /* where CLONE_PIDFD's goes */
    uint64_t exit_signal;
};

static int64_t refuse_fork(void)
{
    audit(OCALL_AUDIT_FORK, ENOSYS, 0, NULL, 0);
    return -ENOSYS;
}

static int put_tid(uint64_t user, int32_t tid)
{
    return user_store32((uint32_t *)(uintptr_t)user, (uint32_t)tid);
}

static int64_t make_thread(const struct sysargs *args, const struct wish *wish)
{
    struct thread *thread;
    int ret = thread_new(&thread);
    if (ret < 0)
        return ret;

    thread->start = *args->regs;
    thread->start.rax = 0;
    thread->start.orig_rax = UINT64_MAX;
    thread->start.rsp = wish->stack;
    thread->start.full = 1;
    thread->start_fp = cpu_fp_control();
    thread->fs_base = wish->flags & CLONE_SETTLS ? wish->tls : cpu_fs_base();
    if (wish->flags & CLONE_CHILD_CLEARTID)
        thread->clear_child_tid = wish->child_tid;

    int32_t tid = thread->tid;
    if (wish->flags & CLONE_PARENT_SETTID)
        ret = put_tid(wish->parent_tid, tid);
    if (ret == 0 && wish->flags & CLONE_CHILD_SETTID)
        ret = put_tid(wish->child_tid, tid);
    if (ret == 0)
        ret = thread_start(thread);
    if (ret < 0) {
        thread_drop(thread);
        return ret;
    }
    return tid;
}

/* The thread plays the child from here on: 0 is the child's result. */
static int64_t make_vfork(const struct sysargs *args, const struct wish *wish)
{
    uint64_t flags = wish->flags;
    struct vfork_wish child = {
        .stack = wish->stack,
        .set_tls = flags & CLONE_SETTLS,
        .clear_handlers = flags & CLONE_CLEAR_SIGHAND,
        .tls = wish->tls,
        .clear_child_tid = flags & CLONE_CHILD_CLEARTID ? wish->child_tid : 0,
        .pidfd = flags & CLONE_PIDFD ? wish->pidfd : 0,
        .exit_signal = (int)wish->exit_signal,
    };
    int r = vfork_begin(args->regs, &child);
    if (r < 0)
        return r;
    /* As Linux: nobody is told if these words cannot be written. */
    if (flags & CLONE_PARENT_SETTID)
        (void)!put_tid(wish->parent_tid, process_pid());
    if (flags & CLONE_CHILD_SETTID)
        (void)!put_tid(wish->child_tid, process_pid());
    return 0;
}

static int64_t make_fork(const struct sysargs *args, const struct wish *wish)
{
    uint64_t flags = wish->flags;
    struct fork_wish child = {
        .child_settid = flags & CLONE_CHILD_SETTID ? wish->child_tid : 0,
        .child_cleartid = flags & CLONE_CHILD_CLEARTID ? wish->child_tid : 0,
        .tls = flags & CLONE_SETTLS ? wish->tls : 0,
        .stack = wish->stack,
        .pidfd = flags & CLONE_PIDFD ? wish->pidfd : 0,
        .exit_signal = (int)wish->exit_signal,
    };
    int32_t pid = spawn_fork(args->regs, &child);
    if (pid > 0 && flags & CLONE_PARENT_SETTID)
        (void)!put_tid(wish->parent_tid, pid);
    return pid;
}

static int64_t make_process(const struct sysargs *args, const struct wish *wish)
{
    uint64_t flags = wish->flags;
    if (process_node()->flags & MANIFEST_EXEC_DENY)
        return refuse_fork();
    if (flags & ~(uint64_t)PROCESS_OPTIONS || (flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM ||
        wish->exit_signal > SIGNAL_MAX) {
        log_note("clone with flags %lx and signal %lu is not supported", flags, wish->exit_signal);
        return -EINVAL;
    }
    if (process_current()->vfork) {
        log_note("a child of vfork may only exec or exit");
        return -EAGAIN;
    }
    return flags & CLONE_VM ? make_vfork(args, wish) : make_fork(args, wish);
}

static int64_t do_clone(const struct sysargs *args, const struct wish *wish)
{
    uint64_t flags = wish->flags;
    if (flags & CLONE_PIDFD && flags & (CLONE_DETACHED | CLONE_THREAD))
        return -EINVAL;
    if (flags & CLONE_PIDFD && !wish->pidfd)
        return -EFAULT;
    if (flags & CLONE_SETTLS && !user_range_ok((const void *)(uintptr_t)wish->tls, 8))
        return -EPERM;
    if (!(flags & CLONE_THREAD))
        return make_process(args, wish);
    if ((flags & THREAD_FLAGS) != THREAD_FLAGS ||
        flags & ~(uint64_t)(THREAD_FLAGS | THREAD_OPTIONS)) {
        log_note("clone with flags %lx is not supported", flags);
        return -EINVAL;
    }
    if (!wish->stack)
        return -EINVAL;
    if (process_current()->vfork) {
        log_note("a child of vfork may only exec or exit");
        return -EAGAIN;
    }
    return make_thread(args, wish);
}

int64_t sys_clone(const struct sysargs *args)
{
    /* Both would go to the same place. */
    if ((args->a[0] & (CLONE_PIDFD | CLONE_PARENT_SETTID)) == (CLONE_PIDFD | CLONE_PARENT_SETTID))
        return -EINVAL;
    return do_clone(args, &(struct wish){
                              .flags = args->a[0] & 0xffffff00u,
                              .stack = args->a[1],
                              .parent_tid = args->a[2],
                              .pidfd = args->a[2],
                              .child_tid = args->a[3],
                              .tls = args->a[4],
                              .exit_signal = args->a[0] & CSIGNAL,
                          });
}

int64_t sys_clone3(const struct sysargs *args)
{
    struct clone_args wanted = { 0 };
    uint64_t size = args->a[1];
    const uint8_t *user = (const uint8_t *)(uintptr_t)args->a[0];

    if (size < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    if (size > 4096)
        return -E2BIG;
    uint64_t known = size < sizeof(wanted) ? size : sizeof(wanted);
    int ret = copy_from_user(&wanted, user, known);
    if (ret < 0)
        return ret;
    for (uint64_t i = known; i < size; i++) {
        uint8_t byte;
        ret = copy_from_user(&byte, user + i, 1);
        if (ret < 0)
            return ret;
        if (byte)
            return -E2BIG;
    }
    uint64_t stack = wanted.stack ? wanted.stack + wanted.stack_size : 0;
    if (wanted.set_tid_size || !wanted.stack != !wanted.stack_size ||
        (wanted.flags & CLONE_THREAD && wanted.exit_signal) || wanted.flags & CSIGNAL ||
        (stack && !user_range_ok((const void *)(uintptr_t)wanted.stack, wanted.stack_size)))
        return -EINVAL;
    return do_clone(args, &(struct wish){
                              .flags = wanted.flags,
                              .stack = stack,
                              .parent_tid = wanted.parent_tid,
                              .pidfd = wanted.pidfd,
                              .child_tid = wanted.child_tid,
                              .tls = wanted.tls,
                              .exit_signal = wanted.exit_signal,
                          });
}

int64_t sys_fork(const struct sysargs *args)
{
    return do_clone(args, &(struct wish){ .exit_signal = SIGCHLD });
}

int64_t sys_vfork(const struct sysargs *args)
{
    return do_clone(args,
                    &(struct wish){ .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD });
}

/* --- exec -------------------------------------------------------------------------------------- */

/* What is not there is not there; all else is refused. */
static int64_t refuse_exec(int dirfd, uint64_t user_path, uint32_t walk)
{
    char path[PATH_SIZE];
    int64_t size = strncpy_from_user(path, (const char *)(uintptr_t)user_path, sizeof(path));
    if (size < 0)
        return size;
    PLACE_AT(place, dirfd, user_path, walk);
    if (place_status < 0)
        return place_status;
    audit(OCALL_AUDIT_EXEC, EACCES, 0, path, (uint64_t)size);
    return -EACCES;
}

/* In place: no thread but this one is left when the new program takes over. If it cannot start after all, a
 * program that has lost its threads cannot go on. */
static int exec_here(const struct program *program)
{
    bool others = threads_end_others();
    int r = spawn_exec(process_current(), program, true);
    if (others) {
        log_error("'%s' could not be started: error %d", program->executable, -r);
        process_killed(SIGKILL);
    }
    return r;
}

static int64_t do_exec(int dirfd, uint64_t user_path, uint32_t walk, uint64_t argv, uint64_t envp)
{
    if (process_node()->flags & MANIFEST_EXEC_DENY)
        return refuse_exec(dirfd, user_path, walk);
    struct program program;
    int r = program_resolve(dirfd, user_path, walk, argv, envp, &program);
    if (r < 0)
        return r;
    struct process *process = process_current();
    bool played = process->vfork;
    /* What is handled now is not afterwards; what is ignored stays so. */
    if (process->nowait && process->actions->of[SIGCHLD].handler != HANDLER_IGNORE)
        process_set_nowait(false);
    r = played ? spawn_exec(process, &program, false) : exec_here(&program);
    program_done(&program);
    if (r == 0 && played)
        vfork_return();
    return r;
}

int64_t sys_execve(const struct sysargs *args)
{
    return do_exec(AT_FDCWD, args->a[0], 0, args->a[1], args->a[2]);
}

int64_t sys_execveat(const struct sysargs *args)
{
    if (args->a[4] & ~(uint64_t)(0x100 /* AT_SYMLINK_NOFOLLOW */ | 0x1000 /* AT_EMPTY_PATH */))
        return -EINVAL;
    return do_exec((int)args->a[0], args->a[1], walk_flags(args->a[4]), args->a[2], args->a[3]);
}

/* ------------------------------------------------------------------------------------------------ */

int64_t sys_exit(const struct sysargs *args)
{
    if (process_current()->vfork)
        vfork_end((int32_t)(args->a[0] & 0xff) << 8);
    thread_exit((int)(args->a[0] & 0xff));
}

int64_t sys_exit_group(const struct sysargs *args)
{
    process_exit((int)(args->a[0] & 0xff));
}

int64_t sys_set_tid_address(const struct sysargs *args)
{
    current()->clear_child_tid = args->a[0];
    return sys_gettid(args);
}

int64_t sys_gettid(const struct sysargs *args UNUSED)
{
    /* A vfork child's one thread is its main thread. */
    return process_current()->vfork ? process_pid() : current()->tid;
}
