/*
 * pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2). Tier: enclave.
 */
#include "ipc/pidfd.h"

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/state.h"
#include "sys/process.h"
#include "sys/signal.h"
#include "sys/sys.h"
#include "thread/threads.h"
#include "tree/hub.h"
#include "tree/ptable.h"
#include "vfs/fd.h"
#include "vfs/kstat.h"
#include "vfs/node.h"
#include "vfs/remote/remote.h"

#define O_RDWR_FLAG 2u

sys_fn sys_pidfd_open, sys_pidfd_send_signal, sys_pidfd_getfd;

struct pidfd {
    struct pidfd_target target;
    uint64_t ino;
};

/* --- the root's file ------------------------------------------------------------------------------ */

static uint32_t pidfd_poll(struct file *file, struct waiter *waiter)
{
    const struct pidfd *pidfd = file->object;
    if (waiter)
        waitq_add(ptable_end_queue(pidfd->target.pid), waiter);
    return ptable_life(pidfd->target.pid, pidfd->target.born) == PTABLE_ALIVE
               ? 0
               : EPOLLIN | EPOLLRDNORM;
}

static int pidfd_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(((const struct pidfd *)file->object)->ino, 0600, ret);
    return 0;
}

static void pidfd_release(struct file *file)
{
    heap_free(file->object);
}

static const struct file_ops g_pidfd_ops = {
    .name = "[pidfd]",
    .fstat = pidfd_fstat,
    .poll = pidfd_poll,
    .release = pidfd_release,
    .travel = TRAVEL_HUB,
};

int pidfd_new(int32_t pid, uint32_t flags, struct file **ret)
{
    uint64_t born = ptable_born(pid);
    if (!born)
        return -ESRCH;
    struct pidfd *pidfd = heap_alloc(sizeof(*pidfd));
    if (!pidfd)
        return -ENOMEM;
    *pidfd = (struct pidfd){ .target = { pid, born }, .ino = anon_ino() };
    struct file *file = file_new(&g_pidfd_ops, (flags & ANON_NONBLOCK) | O_RDWR_FLAG, pidfd);
    if (!file) {
        heap_free(pidfd);
        return -ENOMEM;
    }
    *ret = file;
    return 0;
}

/* --- anywhere ------------------------------------------------------------------------------------- */

static int remote_pidfd(int32_t pid, uint32_t flags, struct file **ret)
{
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_ADOPT,
                           .args = { ADOPT_PIDFD, (uint64_t)(uint32_t)pid, flags } };
    int64_t handle = hub_ask(&ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    remote_info_of(&ask, handle, &info);
    return remote_file(&info, NULL, ret);
}

int pidfd_install(int32_t pid, uint32_t flags)
{
    struct file *file;
    int ret = hub_is_here() ? pidfd_new(pid, flags, &file) : remote_pidfd(pid, flags, &file);
    return ret < 0 ? ret : anon_install(file, ANON_CLOEXEC);
}

bool pidfd_target(const struct file *file, struct pidfd_target *ret)
{
    if (file->ops == &g_pidfd_ops) {
        *ret = ((const struct pidfd *)file->object)->target;
        return true;
    }
    if (remote_handle(file) < 0)
        return false;
    struct remote_info info;
    remote_info(file, &info);
    if (info.kind != REMOTE_PIDFD)
        return false;
    *ret = (struct pidfd_target){ (int32_t)info.dev, info.ino };
    return true;
}

static int target_of(int fd, struct pidfd_target *ret)
{
    struct file *file = fd_get(fd);
    int status = file && pidfd_target(file, ret) ? 0 : -EBADF;
    file_unref(file);
    return status;
}

/* An open /proc/PID will do to send signals: its pid. */
static int32_t proc_pid(const struct file *file)
{
    const struct place *place = file->ops == &g_dir_ops ? dir_place(file) : NULL;
    if (!place || place->path_size < 7 || place->path_size > 16 ||
        memcmp(place->path, "/proc/", 6) != 0)
        return 0;
    int32_t pid = 0;
    for (uint32_t i = 6; i < place->path_size; i++) {
        char c = place->path[i];
        if (c < '0' || c > '9' || pid > PTABLE_PID_LIMIT)
            return 0;
        pid = pid * 10 + (c - '0');
    }
    return pid;
}

static int signal_target(int fd, struct pidfd_target *ret)
{
    struct file *file = fd_get(fd);
    *ret = (struct pidfd_target){ .pid = file ? proc_pid(file) : 0 };
    int status = ret->pid || (file && pidfd_target(file, ret)) ? 0 : -EBADF;
    file_unref(file);
    return status;
}

int64_t sys_pidfd_open(const struct sysargs *args)
{
    int32_t pid = (int32_t)args->a[0];
    uint32_t flags = (uint32_t)args->a[1];
    if (flags & ~ANON_NONBLOCK || pid <= 0)
        return -EINVAL;
    int fd = pidfd_install(pid, flags);
    /* A thread's number, but no process's. */
    return fd == -ESRCH && thread_by_tid(pid) ? -EINVAL : fd;
}

int64_t sys_pidfd_send_signal(const struct sysargs *args)
{
    struct pidfd_target target;
    int number = (int)args->a[1];
    struct signal_info info;
    if ((uint32_t)args->a[3])
        return -EINVAL;
    int ret = signal_target((int)args->a[0], &target);
    if (ret < 0)
        return ret;
    bool self = target.pid == process_pid();
    if (args->a[2]) {
        int32_t said;
        ret = signal_info_from_user(args->a[2], &said, &info);
        if (ret < 0)
            return ret;
        if (said != number)
            return -EINVAL;
        info.number = number;
        /* Others are not told what only the kernel says. */
        if (!self && (info.code >= 0 || info.code == SI_TKILL))
            return -EPERM;
    } else {
        info = (struct signal_info){ .number = number,
                                     .code = SI_USER,
                                     .pid = process_pid(),
                                     .uid = (int32_t)process_node()->uid };
    }
    if (number < 0 || number > SIGNAL_MAX)
        return -EINVAL;
    return self ? signal_send_self(&info) : process_kill_one(&target, &info);
}

/* Another process's files are its own: it would have to hand one over while it does something else. */
int64_t sys_pidfd_getfd(const struct sysargs *args)
{
    struct pidfd_target target;
    if ((uint32_t)args->a[2])
        return -EINVAL;
    int ret = target_of((int)args->a[0], &target);
    if (ret < 0)
        return ret;
    if (target.pid != process_pid()) {
        static bool said;
        ret = process_kill_one(&target, &(struct signal_info){ .number = 0 });
        if (ret == 0 && !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
            log_note("pidfd_getfd: another process's descriptors cannot be had: EPERM");
        return ret < 0 ? ret : -EPERM;
    }
    struct file *file = fd_get((int)args->a[1]);
    return file ? anon_install(file, ANON_CLOEXEC) : -EBADF;
}
