/* What the files of AF_UNIX sockets share (unix.h): the socket itself. Tier: enclave. */
#pragma once

#include "ipc/pipe.h"
#include "ipc/unix.h"
#include "thread/lock.h"

struct sock;

/* A message with its borders, on its way: it stands in the receiver's queue and counts for the sender's SO_SNDBUF. */
struct packet {
    struct packet *next;
    uint32_t refs;       /* atomic: the queue, and who looks at it (MSG_PEEK) */
    uint32_t size, room; /* bytes; what it takes of the sender's SO_SNDBUF */
    struct unix_cred cred;
    struct sock *sender;          /* referenced */
    struct stream_rights *rights; /* under the receiver's mutex */
    struct unix_name from;
    uint8_t data[];
};

/*
 * Streams and packets (SOCK_SEQPACKET) are connected: each is referenced by its file and by its peer, so that each may
 * look at the other until both are closed. A datagram socket references the one that it is connected to, and every
 * packet its sender. What is queued goes when the file does, so that no circle is left.
 */
struct sock {
    uint32_t refs, type;
    /* referenced. Set once, with g_unix_lock; of datagram sockets it changes under that */
    struct sock *peer;
    struct stream in;           /* what came, of a stream. Of the others mutex and moved */
    struct waitq queue;         /* whatever changes for this end */
    struct lock lock;           /* shut flags, file */
    bool read_shut, write_shut; /* atomic */
    bool pass_cred;             /* SO_PASSCRED */
    int32_t error;              /* SO_ERROR; atomic */
    struct file *file;          /* not referenced; NULL once released */
    uint64_t ino;

    struct packet *first, *last; /* what came; under in.mutex */
    uint32_t count;              /* of packets; atomic */
    bool closed;                 /* none comes any more; written under in.mutex, atomic */
    uint32_t send_size;          /* SO_SNDBUF */
    uint32_t sent;               /* of that, in others' queues; atomic */

    /* Under g_unix_lock. */
    struct unix_name name;
    struct unix_cred cred, peer_cred; /* who made it listen, or connected; the other end's */
    struct sock *bound_next;          /* all that have a name */
    bool bound, listening;
    struct sock *pending, *pending_next; /* connected, not yet accepted; oldest first */
    uint32_t pending_count, backlog;
    struct sock *hungry_next; /* woken when any queue of datagrams has room */
    bool hungry;
};

extern struct lock g_unix_lock; /* names, connections */
extern const struct file_ops g_unix_ops;

static inline struct sock *unix_sock_of(const struct file *file)
{
    return file->object;
}

static inline struct sock *unix_peer(const struct sock *sock)
{
    return __atomic_load_n(&sock->peer, __ATOMIC_ACQUIRE);
}

/* --- unix.c --- */
MUST_CHECK struct sock *unix_sock_new(uint32_t type);
struct sock *unix_sock_ref(struct sock *sock);
void unix_sock_unref(struct sock *sock); /* NULL is fine; not with g_unix_lock */
/* A file around it, whose reference it takes over on success. */
MUST_CHECK int unix_sock_file(struct sock *sock, uint32_t flags, struct file **ret);
/* Two sockets become each other's peers. With g_unix_lock, or nobody knows them yet. */
void unix_sock_join(struct sock *a, struct sock *b);
/* Nobody has it any more: what is in it goes, its peer learns of it; drops both references. */
void unix_sock_end(struct sock *sock);

/* --- unix_names.c --- */
/* With g_unix_lock; not referenced. */
struct sock *unix_find(const struct unix_name *name, uint32_t type);
void unix_unbind(struct sock *sock);
/* A name that nobody has, unless it has one. -ENOSPC: there is none left. */
MUST_CHECK int unix_autobind(struct sock *sock);

/* --- unix_packets.c --- */
int64_t unix_packet_receive(struct sock *sock, void *user, uint64_t size, uint32_t flags,
                            struct unix_message *message);
int64_t unix_packet_send(struct sock *sock, const void *user, uint64_t size, bool nonblock,
                         struct unix_message *message);
uint32_t unix_packet_poll(struct sock *sock);
/* FIONREAD: of the first packet; 0: none. */
uint32_t unix_packet_size(struct sock *sock);
void unix_packet_close(struct sock *sock);
/* What was queued goes (a datagram socket is connected to another one); true: there was something. */
bool unix_packet_purge(struct sock *sock);
/* A datagram socket's target: by name, or NULL: its peer. Referenced. -ECONNREFUSED, -ENOTCONN, -EPROTOTYPE, -EPERM. */
MUST_CHECK int unix_packet_target(struct sock *sock, const struct unix_name *to, struct sock **ret);
/* Not hungry any more: it goes. */
void unix_packet_sated(struct sock *sock);
