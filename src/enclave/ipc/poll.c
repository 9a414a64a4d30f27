/* Waiting for several files (poll.h). Tier: enclave. */
#include "ipc/poll.h"

#include <asm/errno.h>
#include <linux/eventpoll.h>

#include "border/border.h"
#include "mm/heap.h"

#define HOST_ON_STACK 16u

/* One look at everything; leaves waiters on the queues if wait. Host handles are collected, in
 * order. */
static int look(struct poll_entry *entries, uint32_t count, bool wait, struct ocall_pollfd *fds,
                uint32_t *ret_host)
{
    int ready = 0;
    uint32_t host = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct poll_entry *e = &entries[i];
        e->revents = 0;
        e->by_host = false;
        if (!e->file)
            continue;
        const struct file_ops *ops = e->file->ops;
        int handle = ops->host_handle ? ops->host_handle(e->file) : -1;
        if (handle >= 0) {
            e->by_host = true;
            fds[host++] = (struct ocall_pollfd){ .handle = handle, .events = (uint16_t)e->events };
            if (!ops->two_sources)
                continue;
        }
        uint32_t now = EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM; /* regular files */
        if (ops->poll) {
            waitq_remove(&e->waiter);
            e->waiter.thread = current();
            now = ops->poll(e->file, wait && !ready ? &e->waiter : NULL);
        }
        e->revents = now & (e->events | POLL_ALWAYS_BITS);
        ready += e->revents != 0;
    }
    *ret_host = host;
    return ready;
}

/* The handles are those of look(): a file may have got one meanwhile. */
static int take_host(struct poll_entry *entries, uint32_t count, const struct ocall_pollfd *fds)
{
    int ready = 0;
    uint32_t host = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct poll_entry *e = &entries[i];
        if (!e->by_host)
            continue;
        bool was = e->revents != 0;
        e->revents |= fds[host++].revents;
        ready += e->revents != 0 && !was;
    }
    return ready;
}

static int wait_for(struct poll_entry *entries, uint32_t count, uint64_t deadline,
                    struct ocall_pollfd *fds)
{
    for (;;) {
        uint32_t host;
        int ready = look(entries, count, deadline != 0, fds, &host);
        if (ready || deadline == 0) {
            if (host && thread_poll_now(fds, host))
                ready += take_host(entries, count, fds);
            return ready;
        }
        int ret = host ? thread_park_poll(fds, host, deadline) : thread_park(deadline);
        if (ret > 0)
            return take_host(entries, count, fds);
        if (ret == -ETIMEDOUT)
            deadline = 0; /* one more look */
        else if (ret < 0)
            return ret;
    }
}

int poll_wait(struct poll_entry *entries, uint32_t count, uint64_t deadline)
{
    struct ocall_pollfd few[HOST_ON_STACK], *fds = few;
    uint32_t host = 0;
    for (uint32_t i = 0; i < count; i++)
        host += entries[i].file && entries[i].file->ops->host_handle;
    if (host > HOST_ON_STACK) {
        fds = heap_alloc(host * sizeof(*fds));
        if (!fds)
            return -ENOMEM;
    }
    int ret = wait_for(entries, count, deadline, fds);
    for (uint32_t i = 0; i < count; i++)
        waitq_remove(&entries[i].waiter);
    if (fds != few)
        heap_free(fds);
    return ret;
}
