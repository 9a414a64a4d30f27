/*
 * clone(2), clone3(2), fork(2), vfork(2), execve(2), exit(2), set_tid_address(2), gettid(2). Tier:
 * enclave.
 *
 * Threads of this process are made here. A process is not: fork is ENOSYS and exec EACCES, each
 * with an audit line.
 */
#include <asm/errno.h>
#include <linux/sched.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "sys/files.h"
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

struct wish {
    uint64_t flags, stack; /* stack: the new thread's rsp */
    uint64_t parent_tid, child_tid, tls;
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

static int64_t do_clone(const struct sysargs *args, const struct wish *wish)
{
    uint64_t flags = wish->flags;
    if (!(flags & CLONE_THREAD))
        return refuse_fork();
    if ((flags & THREAD_FLAGS) != THREAD_FLAGS ||
        flags & ~(uint64_t)(THREAD_FLAGS | THREAD_OPTIONS)) {
        log_note("clone with flags %lx is not supported", flags);
        return -EINVAL;
    }
    if (!wish->stack)
        return -EINVAL;
    if (flags & CLONE_SETTLS && !user_range_ok((const void *)(uintptr_t)wish->tls, 8))
        return -EPERM;
    return make_thread(args, wish);
}

int64_t sys_clone(const struct sysargs *args)
{
    /* The low byte is the signal at exit: a thread has none. */
    return do_clone(args, &(struct wish){
                              .flags = args->a[0] & 0xffffff00u,
                              .stack = args->a[1],
                              .parent_tid = args->a[2],
                              .child_tid = args->a[3],
                              .tls = args->a[4],
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
    if (!(wanted.flags & CLONE_THREAD))
        return refuse_fork();
    if (wanted.exit_signal || wanted.set_tid_size || !wanted.stack || !wanted.stack_size ||
        !user_range_ok((const void *)(uintptr_t)wanted.stack, wanted.stack_size))
        return -EINVAL;
    return do_clone(args, &(struct wish){
                              .flags = wanted.flags,
                              .stack = wanted.stack + wanted.stack_size,
                              .parent_tid = wanted.parent_tid,
                              .child_tid = wanted.child_tid,
                              .tls = wanted.tls,
                          });
}

int64_t sys_fork(const struct sysargs *args UNUSED)
{
    return refuse_fork();
}

int64_t sys_vfork(const struct sysargs *args UNUSED)
{
    return refuse_fork();
}

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

int64_t sys_execve(const struct sysargs *args)
{
    return refuse_exec(AT_FDCWD, args->a[0], 0);
}

int64_t sys_execveat(const struct sysargs *args)
{
    return refuse_exec((int)args->a[0], args->a[1], walk_flags(args->a[4]));
}

int64_t sys_exit(const struct sysargs *args)
{
    thread_exit((int)(args->a[0] & 0xff));
}

int64_t sys_exit_group(const struct sysargs *args)
{
    process_exit((int)(args->a[0] & 0xff));
}

int64_t sys_set_tid_address(const struct sysargs *args)
{
    current()->clear_child_tid = args->a[0];
    return current()->tid;
}

int64_t sys_gettid(const struct sysargs *args UNUSED)
{
    return current()->tid;
}
