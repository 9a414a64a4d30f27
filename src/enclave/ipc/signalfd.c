/*
 * signalfd(2), signalfd4(2). As on Linux, what can be read are the signals of the *reading* thread
 * and the process's. Tier: enclave.
 */
#include <linux/signal.h>

#include <linux/signalfd.h>

#include "arch/string.h"
#include "ipc/anew.h"
#include "ipc/anon.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "signal/state.h"
#include "sys/sys.h"
#include "vfs/kstat.h"

#define SIGSET_SIZE 8

sys_fn sys_signalfd, sys_signalfd4;

struct signal_file {
    uint64_t set; /* atomic */
    uint64_t ino;
};

static const struct file_ops g_signal_ops;

static uint64_t set_of(const struct signal_file *object)
{
    return __atomic_load_n(&object->set, __ATOMIC_SEQ_CST);
}

static bool has_signal(void *object)
{
    return (__atomic_load_n(&current()->signal.pending, __ATOMIC_SEQ_CST) |
            __atomic_load_n(&g_signal.pending, __ATOMIC_SEQ_CST)) &
           set_of(object);
}

static void fill(const struct signal_info *info, struct signalfd_siginfo *ret)
{
    *ret = (struct signalfd_siginfo){
        .ssi_signo = (uint32_t)info->number,
        .ssi_code = info->code,
        .ssi_pid = (uint32_t)info->pid,
        .ssi_uid = (uint32_t)info->uid,
        .ssi_ptr = info->value,
        .ssi_int = (int32_t)info->value,
        .ssi_addr = info->address,
    };
    if (info->code == SI_TIMER) {
        ret->ssi_pid = ret->ssi_uid = 0;
        ret->ssi_tid = (uint32_t)info->pid;
        ret->ssi_overrun = (uint32_t)info->uid;
    }
}

static int64_t signal_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    struct signal_file *object = file->object;
    struct signalfd_siginfo *out = user;
    int64_t done = 0;
    if (size < sizeof(*out))
        return -EINVAL;
    while (size >= sizeof(*out)) {
        struct signal_info info;
        (void)signal_deliverable(current()); /* what the host and timers have */
        if (signal_take(current(), set_of(object), &info)) {
            struct signalfd_siginfo one;
            fill(&info, &one);
            int ret = PUT_USER(out, &one);
            if (ret < 0)
                return done ? done : ret;
            out++;
            size -= sizeof(*out);
            done += (int64_t)sizeof(*out);
            continue;
        }
        if (done)
            break;
        if (anon_nonblock(file))
            return -EAGAIN;
        int ret = anon_wait(&g_signal.watchers, has_signal, object);
        if (ret < 0)
            return ret;
    }
    return done;
}

static uint32_t signal_poll(struct file *file, struct waiter *waiter)
{
    if (waiter)
        waitq_add(&g_signal.watchers, waiter);
    return has_signal(file->object) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int signal_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(((struct signal_file *)file->object)->ino, 0600, ret);
    return 0;
}

static void signal_release(struct file *file)
{
    heap_free(file->object);
}

static const struct file_ops g_signal_ops = {
    .name = "[signalfd]",
    .read = signal_read,
    .fstat = signal_fstat,
    .poll = signal_poll,
    .release = signal_release,
    .travel = TRAVEL_ANEW,
};

static int64_t change(int fd, uint64_t set)
{
    struct file *file = fd_get(fd);
    if (!file)
        return -EBADF;
    int64_t ret = -EINVAL;
    if (file->ops == &g_signal_ops) {
        __atomic_store_n(&((struct signal_file *)file->object)->set, set, __ATOMIC_SEQ_CST);
        waitq_wake(&g_signal.watchers, UINT32_MAX);
        ret = fd;
    }
    file_unref(file);
    return ret;
}

bool signalfd_describe(const struct file *file, struct anew *ret)
{
    if (file->ops != &g_signal_ops)
        return false;
    *ret = (struct anew){ .kind = ANEW_SIGNALFD, .set = set_of(file->object) };
    return true;
}

int signalfd_anew(const struct anew *like, uint32_t flags, struct file **ret)
{
    struct signal_file *object = heap_alloc(sizeof(*object));
    if (!object)
        return -ENOMEM;
    object->set = like->set;
    object->ino = anon_ino();
    struct file *file = file_new(&g_signal_ops, flags | 2 /* O_RDWR */, object);
    if (!file) {
        heap_free(object);
        return -ENOMEM;
    }
    *ret = file;
    return 0;
}

static int64_t make(int fd, uint64_t user_set, uint64_t size, uint32_t flags)
{
    uint64_t set;
    if (size != SIGSET_SIZE || flags & ~(ANON_NONBLOCK | ANON_CLOEXEC))
        return -EINVAL;
    int ret = GET_USER(&set, (const uint64_t *)(uintptr_t)user_set);
    if (ret < 0)
        return ret;
    set &= ~SIGNAL_UNMASKABLE;
    if (fd != -1)
        return change(fd, set);

    struct file *file;
    ret = signalfd_anew(&(struct anew){ .set = set }, flags & ANON_NONBLOCK, &file);
    return ret < 0 ? ret : anon_install(file, flags);
}

int64_t sys_signalfd(const struct sysargs *args)
{
    return make((int)args->a[0], args->a[1], args->a[2], 0);
}

int64_t sys_signalfd4(const struct sysargs *args)
{
    return make((int)args->a[0], args->a[1], args->a[2], (uint32_t)args->a[3]);
}
