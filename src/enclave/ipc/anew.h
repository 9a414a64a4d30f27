/*
 * Objects that another process gets as new ones, set up like here, where Linux would share them (vfs/share.c): what
 * changes later in one process does not in the other. Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

enum anew_kind { ANEW_NONE = 0, ANEW_SIGNALFD, ANEW_TIMERFD, ANEW_EPOLL, ANEW_NETLINK };

struct anew {
    uint32_t kind;
    int32_t clock;                  /* timerfd: CLOCK_*; netlink: SOCK_* */
    uint64_t set;                   /* signalfd: signals; netlink: its number */
    uint64_t left, interval, ticks; /* timerfd: ns; expirations not yet read */
};
/* What an epoll instance watches. */
struct anew_member {
    struct file *file; /* not referenced */
    int32_t fd;
    uint32_t events;
    uint64_t data;
};

/* False: it is none of these. */
bool signalfd_describe(const struct file *file, struct anew *ret);
bool timerfd_describe(struct file *file, struct anew *ret);
bool epoll_describe(const struct file *file, struct anew *ret);
/* -ENOMEM */
MUST_CHECK int signalfd_anew(const struct anew *like, uint32_t flags, struct file **ret);
MUST_CHECK int timerfd_anew(const struct anew *like, uint32_t flags, struct file **ret);
MUST_CHECK int epoll_anew(struct file **ret);
/* Up to max of them; how many there are. */
uint32_t epoll_members(const struct file *file, struct anew_member *ret, uint32_t max);
MUST_CHECK int epoll_watch(struct file *file, const struct anew_member *member);
