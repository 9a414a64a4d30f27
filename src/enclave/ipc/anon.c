/* Descriptors without a path (anon.h). Tier: enclave. */
#include "ipc/anon.h"

#include "arch/string.h"
#include "process/process.h"
#include "vfs/kstat.h"

uint64_t anon_ino(void)
{
    static uint64_t next = 1;
    return __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED);
}

void anon_stat(uint64_t ino, uint32_t mode, struct kstat *ret)
{
    *ret = (struct kstat){
        .dev = DEV_ANON,
        .ino = ino,
        .nlink = 1,
        .mode = mode,
        .uid = process_node()->uid,
        .gid = process_node()->gid,
        .blksize = 4096,
    };
}

int anon_install(struct file *file, uint32_t flags)
{
    int fd = fd_install(file, 0, flags & ANON_CLOEXEC);
    if (fd < 0)
        file_unref(file);
    return fd;
}

int anon_wait(struct waitq *queue, bool (*done)(void *object), void *object)
{
    struct waiter waiter = { .thread = current() };
    int ret = 0;
    if (waiter.thread->never_block)
        return -EAGAIN;
    waitq_add(queue, &waiter);
    if (!done(object))
        ret = thread_park(OCALL_NEVER);
    waitq_remove(&waiter);
    return ret < 0 ? -ERESTARTSYS : 0;
}
