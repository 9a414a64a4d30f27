/* OCALL_POLL, OCALL_EPOLL_*: waits that an UNPARK, an interrupt or a host signal also ends. */
#include "host/ocall.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

/* What waits, until the deadline or for ever (NULL); as ppoll(2), errno. */
typedef int wait_fn(void *what, const struct timespec *timeout);

static int64_t wait_until(struct host_thread *t, uint64_t deadline, wait_fn *wait, void *what)
{
    for (;;) {
        struct timespec timeout = { 0 };
        if (deadline != OCALL_NEVER && deadline != 0)
            timeout = left(deadline);
        bool waits = deadline == OCALL_NEVER || timeout.tv_sec || timeout.tv_nsec;
        bool woken = waits && !thread_block_begin(t);
        if (woken)
            timeout = (struct timespec){ 0 }; /* what is ready still counts */
        int n = wait(what, deadline == OCALL_NEVER && !woken ? NULL : &timeout);
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

struct poll_set {
    struct pollfd *fds;
    nfds_t count;
};

static int wait_poll(void *what, const struct timespec *timeout)
{
    const struct poll_set *set = what;
    return ppoll(set->fds, set->count, timeout, NULL);
}

int64_t ocall_wait_fds(struct host_thread *t, struct pollfd *fds, uint64_t count, uint64_t deadline)
{
    struct poll_set set = { fds, count };
    return wait_until(t, deadline, wait_poll, &set);
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

/* --- epoll ------------------------------------------------------------------------------------ */

#define EVENTS_MAX 256

int64_t ocall_epoll_create(struct host_thread *t UNUSED, const uint64_t args[6] UNUSED)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : handle_add(fd);
}

int64_t ocall_dup(struct host_thread *t UNUSED, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (fd < 0)
        return fd;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? -errno : handle_add(copy);
}

static int change(int epoll, const struct ocall_epoll_change *c)
{
    int fd = c->handle < 0 ? -EBADF : handle_fd((uint64_t)c->handle);
    if (fd < 0)
        return fd;
    struct epoll_event event = { .events = c->events, .data.u64 = c->token };
    if (c->op == OCALL_EPOLL_REMOVE)
        return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
    int first = c->op == OCALL_EPOLL_ADD ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    int other = first == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(epoll, first, fd, &event) == 0)
        return 0;
    if ((errno == EEXIST || errno == ENOENT) && epoll_ctl(epoll, other, fd, &event) == 0)
        return 0;
    return -errno;
}

int64_t ocall_epoll_change(struct host_thread *t, const uint64_t args[6])
{
    const struct ocall_epoll_change *changes = (const struct ocall_epoll_change *)t->data;
    int epoll = handle_fd(args[0]), first = 0;
    if (epoll < 0)
        return epoll;
    if (args[1] > OCALL_DATA_SIZE / sizeof(*changes))
        return -EINVAL;
    for (uint64_t i = 0; i < args[1]; i++) {
        int r = change(epoll, &changes[i]);
        if (r < 0 && first == 0)
            first = r;
    }
    return first;
}

struct epoll_set {
    int fd, max;
    struct epoll_event events[EVENTS_MAX];
};

/* epoll_pwait2: nanoseconds, since Linux 5.11. */
static int wait_epoll(void *what, const struct timespec *timeout)
{
    struct epoll_set *set = what;
#ifdef SYS_epoll_pwait2
    int n = (int)syscall(SYS_epoll_pwait2, set->fd, set->events, set->max, timeout, NULL, 0);
    if (n >= 0 || errno != ENOSYS)
        return n;
#endif
    int64_t ms = timeout ? timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000 : -1;
    return epoll_wait(set->fd, set->events, set->max, ms < INT32_MAX ? (int)ms : INT32_MAX);
}

int64_t ocall_epoll_wait(struct host_thread *t, const uint64_t args[6])
{
    struct epoll_set set = { .fd = handle_fd(args[0]),
                             .max = args[1] < EVENTS_MAX ? (int)args[1] : EVENTS_MAX };
    struct ocall_epoll_event *out = (struct ocall_epoll_event *)t->data;
    if (set.fd < 0)
        return set.fd;
    int64_t n = wait_until(t, args[2], wait_epoll, &set);
    for (int64_t i = 0; i < n; i++)
        out[i] = (struct ocall_epoll_event){ .token = set.events[i].data.u64,
                                             .events = set.events[i].events };
    return n == -EINTR ? 0 : n;
}
