/*
 * Files that the hub holds: client and server in one process. hub_ask() runs the handler right away, as the process
 * that g_peer says; what waits gives others a turn (g_meanwhile) until it is told. Descriptors of each process are a
 * table of their own.
 */
#pragma once

#include "vfs_fakes.h"

#include <string.h>

#include "mm/vma.h"
#include "tree/hub.h"
#include "tree/links.h"
#include "vfs/fd.h"

extern sys_fn sys_pipe2, sys_socketpair, sys_eventfd2, sys_epoll_create1, sys_epoll_ctl,
    sys_epoll_wait, sys_sendto, sys_recvfrom, sys_shutdown, sys_sendmsg, sys_recvmsg, sys_socket,
    sys_bind, sys_listen, sys_accept4, sys_connect, sys_getsockname;

extern const uint8_t g_own[MANIFEST_HASH_SIZE], g_other[MANIFEST_HASH_SIZE];
extern struct peer g_a, g_b;
extern struct peer *g_peer; /* who asks; NULL: the root's own program */
extern bool g_serving;      /* a handler of the hub runs */
extern void (*g_meanwhile)(void);
extern bool g_interrupt; /* a signal comes after that */
extern void (*g_lies)(struct hub_ask *ask, int64_t *ret); /* what the hub says is this, after all */
extern unsigned g_asked, g_told, g_cancelled;
extern struct vma g_mapping; /* the one there is, if it has a file */
extern char g_buf[300000], g_much[300000];
extern int32_t g_fds[2];

/* A manifest and the three processes; what follows is who's. */
void remote_start(int who);
/* As the process: 0 the root, 1 A, 2 B. */
void remote_as(int who);
/* who's descriptors go to B, its child; all, or those without FD_CLOEXEC. What follows is B's. */
void remote_start_b(int who, bool all);
void remote_end_b(void);
/* This descriptor's file is the hub's. */
bool remote_is_shared(int fd);
/* Of a struct hub_job's waiter: notes that it was told. */
void remote_told(struct waiter *waiter);

/* What a process with code of its own may say that the library OS never would. */
static inline int64_t remote_attack(struct hub_ask a)
{
    return hub_ask(&a);
}

#define READ(fd, size)  SYS(read, U(fd), U(g_buf), size)
#define WRITE(fd, text) SYS(write, U(fd), U(text), strlen(text))
#define SAYS(n, text)                                                              \
    do {                                                                           \
        CHECK_EQ(n, strlen(text), text);                                           \
        CHECK(memcmp(g_buf, text, strlen(text)) == 0, "%s: '%.20s'", text, g_buf); \
    } while (0)
#define BODY(name)                               \
    static void test_##name(void **state UNUSED) \
    {                                            \
        vfs_child(name##_body);                  \
    }
