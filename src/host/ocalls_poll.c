/* OCALL_POLL: poll(2) that an UNPARK, an interrupt or a host signal also ends. */
#include "host/ocall.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "host/handle.h"

static_assert(sizeof(struct ocall_pollfd) == sizeof(struct pollfd),
              "the window is polled in place");
static_assert(offsetof(struct ocall_pollfd, events) == offsetof(struct pollfd, events), "events");
static_assert(offsetof(struct ocall_pollfd, revents) == offsetof(struct pollfd, revents),
              "revents");

/* Time left until the deadline; zero if it has passed. */
static struct timespec left(uint64_t deadline_ns)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t now_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    uint64_t ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u),
                              .tv_nsec = (long)(ns % 1000000000u) };
}

int64_t ocall_wait_fds(struct host_thread *t, struct pollfd *fds, uint64_t count, uint64_t deadline)
{
    for (;;) {
        struct timespec timeout = { 0 };
        if (deadline != OCALL_NEVER && deadline != 0)
            timeout = left(deadline);
        bool waits = deadline == OCALL_NEVER || timeout.tv_sec || timeout.tv_nsec;
        bool woken = waits && !thread_block_begin(t);
        if (woken)
            timeout = (struct timespec){ 0 }; /* what is ready still counts */
        int n = ppoll(fds, count, deadline == OCALL_NEVER && !woken ? NULL : &timeout, NULL);
        int saved = errno;
        if (waits && !woken)
            thread_block_end(t);
        if (n > 0 || (n == 0 && !woken)) {
            bool event = thread_take_event(t); /* cleared on return */
            return n == 0 && event ? -EINTR : n;
        }
        if (n < 0 && saved != EINTR)
            return -saved;
        if (thread_take_event(t) || woken)
            return -EINTR;
    }
}

int64_t ocall_poll(struct host_thread *t, const uint64_t args[6])
{
    struct pollfd *fds = (struct pollfd *)t->data;
    if (args[0] > OCALL_DATA_SIZE / sizeof(*fds))
        return -EINVAL;
    for (uint64_t i = 0; i < args[0]; i++) {
        int fd = fds[i].fd < 0 ? 0 : handle_fd((uint64_t)fds[i].fd);
        if (fd < 0)
            return fd;
    }
    int64_t n = ocall_wait_fds(t, fds, args[0], args[1]);
    if (n != -EINTR)
        return n;
    for (uint64_t i = 0; i < args[0]; i++)
        fds[i].revents = 0;
    return 0;
}
