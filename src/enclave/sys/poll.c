/*
 * poll(2), ppoll(2), select(2), pselect6(2). epoll is ipc/epoll.c. Tier: enclave.
 */
#include <asm/errno.h>
#include <linux/eventpoll.h>
#include <linux/poll.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/poll.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/state.h"
#include "sys/sys.h"
#include "thread/clock.h"
#include "thread/restart.h"

#define ON_STACK    8u
#define SIGSET_SIZE 8
#define BITS        64u

#define SELECT_IN  (EPOLLIN | EPOLLRDNORM | EPOLLRDBAND | EPOLLHUP | EPOLLERR)
#define SELECT_OUT (EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND | EPOLLERR)
#define SELECT_EX  EPOLLPRI

sys_fn sys_poll, sys_ppoll, sys_select, sys_pselect6;

static void *user_ptr(uint64_t arg)
{
    return (void *)(uintptr_t)arg;
}

static void drop_entries(struct poll_entry *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        file_unref(entries[i].file);
}

/* Half open: 0 is "do not wait", so a deadline that has passed already must not be it. */
static uint64_t deadline_in(uint64_t ns)
{
    return ns == 0 ? 0 : clock_deadline(CLOCK_MONOTONIC, ns, false);
}

/* --- poll ------------------------------------------------------------------------------------- */

static int64_t poll_fds(const struct pollfd *user, struct pollfd *fds, struct poll_entry *entries,
                        uint32_t count, uint64_t deadline)
{
    int ret = copy_from_user(fds, user, count * sizeof(*fds));
    if (ret < 0)
        return ret;
    int invalid = 0;
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = (struct poll_entry){ .events = (uint16_t)fds[i].events };
        fds[i].revents = 0;
        if (fds[i].fd < 0)
            continue;
        entries[i].file = fd_get(fds[i].fd);
        if (!entries[i].file) {
            fds[i].revents = POLLNVAL;
            invalid++;
        }
    }
    ret = poll_wait(entries, count, invalid ? 0 : deadline);
    drop_entries(entries, count);
    if (ret < 0)
        return ret;
    for (uint32_t i = 0; i < count; i++) {
        fds[i].revents = (short)((uint16_t)fds[i].revents | entries[i].revents);
        int r = PUT_USER((short *)user_ptr((uint64_t)(uintptr_t)&user[i].revents), &fds[i].revents);
        if (r < 0)
            return r;
    }
    return ret + invalid;
}

/* -EINTR as it is: the callers differ. */
static int64_t do_poll(uint64_t user, uint64_t count, uint64_t deadline)
{
    struct {
        struct pollfd fds[ON_STACK];
        struct poll_entry entries[ON_STACK];
    } few;
    if (count > process_node()->fd_limit)
        return -EINVAL;
    if (count <= ON_STACK)
        return poll_fds(user_ptr(user), few.fds, few.entries, (uint32_t)count, deadline);

    struct pollfd *fds = heap_alloc(count * sizeof(*fds));
    struct poll_entry *entries = heap_alloc(count * sizeof(*entries));
    int64_t ret = -ENOMEM;
    if (fds && entries)
        ret = poll_fds(user_ptr(user), fds, entries, (uint32_t)count, deadline);
    heap_free(entries);
    heap_free(fds);
    return ret;
}

static int64_t poll_until(const uint64_t args[static RESTART_ARGS])
{
    int64_t ret = do_poll(args[0], args[1], args[2]);
    if (ret != -EINTR)
        return ret;
    restart_set(poll_until, args);
    return -ERESTART_RESTARTBLOCK;
}

int64_t sys_poll(const struct sysargs *args)
{
    int32_t ms = (int32_t)args->a[2];
    uint64_t deadline = ms < 0 ? OCALL_NEVER : deadline_in((uint64_t)ms * 1000000);
    return poll_until((const uint64_t[RESTART_ARGS]){ args->a[0], (uint32_t)args->a[1], deadline });
}

/* --- timeouts and masks ----------------------------------------------------------------------- */

static int get_timespec(uint64_t user, uint64_t *ret_deadline)
{
    struct __kernel_timespec ts;
    uint64_t ns;
    *ret_deadline = OCALL_NEVER;
    if (!user)
        return 0;
    int ret = GET_USER(&ts, (const struct __kernel_timespec *)user_ptr(user));
    if (ret < 0)
        return ret;
    if (!timespec_valid(&ts, &ns))
        return -EINVAL;
    *ret_deadline = deadline_in(ns);
    return 0;
}

static uint64_t left_until(uint64_t deadline)
{
    uint64_t now = clock_monotonic();
    return deadline > now ? deadline - now : 0;
}

/* Linux writes what is left of the time; a fault there is nobody's error. */
static void put_timespec(uint64_t user, uint64_t deadline)
{
    struct __kernel_timespec ts = timespec_of(left_until(deadline));
    if (user)
        (void)!PUT_USER((struct __kernel_timespec *)user_ptr(user), &ts);
}

static int swap_mask(uint64_t user, uint64_t size)
{
    uint64_t mask;
    if (!user)
        return 0;
    if (size != SIGSET_SIZE)
        return -EINVAL;
    int ret = GET_USER(&mask, (const uint64_t *)user_ptr(user));
    if (ret == 0)
        signal_mask_swap(mask);
    return ret;
}

/* The mask stays swapped if a signal ended the call: its delivery puts the old one back. */
static int64_t end_masked(int64_t ret)
{
    if (ret == -EINTR)
        return -ERESTARTNOHAND;
    signal_mask_restore();
    return ret;
}

int64_t sys_ppoll(const struct sysargs *args)
{
    uint64_t deadline;
    int ret = get_timespec(args->a[2], &deadline);
    if (ret == 0)
        ret = swap_mask(args->a[3], args->a[4]);
    if (ret < 0)
        return ret;
    int64_t result = do_poll(args->a[0], (uint32_t)args->a[1], deadline);
    put_timespec(args->a[2], deadline);
    return end_masked(result);
}

/* --- select ----------------------------------------------------------------------------------- */

struct sets {
    uint64_t *in, *out, *ex; /* words long each; in one allocation with what follows */
    struct poll_entry *entries;
    int32_t *fds;
};

static int get_set(uint64_t user, uint64_t *set, uint32_t words)
{
    return user ? copy_from_user(set, user_ptr(user), words * sizeof(*set)) : 0;
}

static bool has(const uint64_t *set, uint32_t fd)
{
    return set[fd / BITS] >> fd % BITS & 1;
}

static int put_set(uint64_t user, const uint64_t *set, uint32_t words)
{
    return user ? copy_to_user(user_ptr(user), set, words * sizeof(*set)) : 0;
}

static int64_t select_sets(uint32_t n, const uint64_t user[static 3], uint64_t deadline,
                           const struct sets *s)
{
    uint32_t words = (n + BITS - 1) / BITS, count = 0;
    int ret = get_set(user[0], s->in, words);
    if (ret == 0)
        ret = get_set(user[1], s->out, words);
    if (ret == 0)
        ret = get_set(user[2], s->ex, words);
    if (ret < 0)
        return ret;

    for (uint32_t fd = 0; fd < n && ret == 0; fd++) {
        uint32_t events = (has(s->in, fd) ? SELECT_IN : 0) | (has(s->out, fd) ? SELECT_OUT : 0) |
                          (has(s->ex, fd) ? SELECT_EX : 0);
        if (!events)
            continue;
        s->entries[count] = (struct poll_entry){ .file = fd_get((int)fd), .events = events };
        s->fds[count] = (int32_t)fd;
        if (!s->entries[count].file)
            ret = -EBADF;
        else
            count++;
    }
    if (ret == 0)
        ret = poll_wait(s->entries, count, deadline);
    drop_entries(s->entries, count);
    if (ret < 0)
        return ret;

    int64_t found = 0;
    uint64_t *all[3] = { s->in, s->out, s->ex };
    const uint32_t wanted[3] = { SELECT_IN, SELECT_OUT, SELECT_EX };
    for (uint32_t set = 0; set < 3; set++) {
        for (uint32_t i = 0; i < count; i++) {
            uint32_t fd = (uint32_t)s->fds[i];
            if (!has(all[set], fd))
                continue;
            if (s->entries[i].revents & wanted[set])
                found++;
            else
                all[set][fd / BITS] &= ~(1ull << fd % BITS);
        }
        ret = put_set(user[set], all[set], words);
        if (ret < 0)
            return ret;
    }
    return found;
}

static int64_t do_select(int32_t n, const uint64_t user[static 3], uint64_t deadline)
{
    if (n < 0)
        return -EINVAL;
    /* More descriptors than there can be are not looked at, as on Linux. */
    uint32_t limit = process_node()->fd_limit, fds = (uint32_t)n < limit ? (uint32_t)n : limit;
    uint64_t words = (fds + BITS - 1) / BITS;
    uint8_t *memory = heap_alloc(words * 3 * sizeof(uint64_t) +
                                 fds * (sizeof(struct poll_entry) + sizeof(int32_t)) + 1);
    if (!memory)
        return -ENOMEM;
    struct sets s = { .in = (uint64_t *)(void *)memory };
    s.out = s.in + words;
    s.ex = s.out + words;
    s.entries = (struct poll_entry *)(void *)(s.ex + words);
    s.fds = (int32_t *)(void *)(s.entries + fds);
    int64_t ret = select_sets(fds, user, deadline, &s);
    heap_free(memory);
    return ret;
}

int64_t sys_select(const struct sysargs *args)
{
    uint64_t deadline = OCALL_NEVER;
    struct __kernel_old_timeval tv;
    if (args->a[4]) {
        int ret = GET_USER(&tv, (const struct __kernel_old_timeval *)user_ptr(args->a[4]));
        if (ret < 0)
            return ret;
        uint64_t ns;
        /* Microseconds beyond a second are carried over (kernel, core_sys_select). */
        struct __kernel_timespec ts = { .tv_sec = tv.tv_sec + tv.tv_usec / 1000000,
                                        .tv_nsec = tv.tv_usec % 1000000 * 1000 };
        if (tv.tv_sec < 0 || tv.tv_usec < 0 || !timespec_valid(&ts, &ns))
            return -EINVAL;
        deadline = deadline_in(ns);
    }
    int64_t ret = do_select((int32_t)args->a[0], &args->a[1], deadline);
    if (args->a[4]) {
        uint64_t left = left_until(deadline);
        tv.tv_sec = (int64_t)(left / NSEC_PER_SEC);
        tv.tv_usec = (int64_t)(left % NSEC_PER_SEC / 1000);
        (void)!PUT_USER((struct __kernel_old_timeval *)user_ptr(args->a[4]), &tv);
    }
    return ret == -EINTR ? -ERESTARTNOHAND : ret;
}

int64_t sys_pselect6(const struct sysargs *args)
{
    struct {
        uint64_t mask, size;
    } sigset = { 0, 0 };
    uint64_t deadline;
    int ret = get_timespec(args->a[4], &deadline);
    if (ret == 0 && args->a[5])
        ret = copy_from_user(&sigset, user_ptr(args->a[5]), sizeof(sigset));
    if (ret == 0)
        ret = swap_mask(sigset.mask, sigset.size);
    if (ret < 0)
        return ret;
    int64_t result = do_select((int32_t)args->a[0], &args->a[1], deadline);
    put_timespec(args->a[4], deadline);
    return end_masked(result);
}
