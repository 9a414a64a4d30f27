/*
 * AF_UNIX sockets inside the enclave: pairs (socketpair(2)), and sockets with names (unix(7)): streams, packets,
 * datagrams. Names are those of scratch files, known by device and inode, and abstract ones. Only the root has sockets
 * that are not pairs: those of other processes are the hub's from the start. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

#define UNIX_PATH_MAX   108u
#define UNIX_RIGHTS_MAX 253u /* SCM_MAX_FD */

enum unix_shut { UNIX_SHUT_READ = 0, UNIX_SHUT_WRITE = 1, UNIX_SHUT_BOTH = 2 };

struct stream_rights; /* ipc/pipe.h */

/* A socket's name. size 0: none. bytes as in sockaddr_un; an abstract one starts with NUL and has no inode. */
struct unix_name {
    uint64_t dev, ino;
    uint32_t size;
    char bytes[UNIX_PATH_MAX];
};

struct unix_cred { /* struct ucred */
    int32_t pid;
    uint32_t uid, gid;
};

/* What goes along with bytes. */
struct unix_message {
    struct stream_rights *rights; /* sent: taken over, and NULL then; received: the caller's */
    /* received: the sender's. Sent by a datagram socket: to whom; size 0: to its peer */
    struct unix_name name;
    const char *path; /* sent, not by the root: the name's canonical path; NULL: an abstract one */
    struct unix_cred cred; /* the sender's; received: of a stream's other end */
    bool has_cred;         /* received: SO_PASSCRED is set, they are to be told */
    uint32_t whole;        /* received: bytes that the packet had */
};
enum unix_flags { UNIX_NONBLOCK = 1, UNIX_PEEK = 2 }; /* as enum remote_flags */

/* type: SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM; flags: O_NONBLOCK. -ENOMEM. */
#define UNIX_STREAM    1u
#define UNIX_DATAGRAMS 2u
#define UNIX_PACKETS   5u
static inline bool unix_type_ok(uint64_t type)
{
    return type == UNIX_STREAM || type == UNIX_DATAGRAMS || type == UNIX_PACKETS;
}
/* Two files, each the other's peer, made by a process. */
MUST_CHECK int unix_pair(uint32_t type, uint32_t flags_a, uint32_t flags_b,
                         const struct unix_cred *cred, struct file **ret_a, struct file **ret_b);
/* A socket of this process; those of the hub: remote_is_socket(). */
bool unix_is(const struct file *file);
MUST_CHECK int unix_new(uint32_t type, uint32_t flags, struct file **ret);
/* The calling process. */
struct unix_cred unix_cred_here(void);
/* As bind(2) and so on; file must be one of ours. Without a name (size 0) bind makes one up. -EADDRINUSE: abstract names;
 * those of files are the caller's. cred: who calls. */
MUST_CHECK int unix_bind(struct file *file, const struct unix_name *name);
bool unix_bound(const struct file *file);
MUST_CHECK int unix_listen(struct file *file, uint32_t backlog, const struct unix_cred *cred);
/* to NULL: a datagram socket is to have no peer. */
MUST_CHECK int unix_connect(struct file *file, const struct unix_name *to,
                            const struct unix_cred *cred);
/* flags: the new file's. */
MUST_CHECK int unix_accept(struct file *file, bool nonblock, uint32_t flags, struct file **ret);
/* -ENOTCONN. */
MUST_CHECK int unix_name_of(struct file *file, bool peer, struct unix_name *ret);
/* SO_TYPE */
uint32_t unix_type(const struct file *file);
/* SO_ numbers of SOL_SOCKET: SNDBUF, PASSCRED, ERROR, ACCEPTCONN, PEERCRED. How many words; -ENOPROTOOPT. */
int unix_get_option(struct file *file, int name, int32_t ret[static 3]);
int unix_set_option(struct file *file, int name, int32_t value);
/* As recvmsg and sendmsg; -EPIPE comes without SIGPIPE. file must be one of ours. message: may be NULL (from this
 * process). flags: enum unix_flags. */
int64_t unix_receive(struct file *file, void *user, uint64_t size, uint32_t flags,
                     struct unix_message *message);
int64_t unix_send(struct file *file, const void *user, uint64_t size, bool nonblock,
                  struct unix_message *message);
/* Bytes of the first packet that waits; 0: none, or a stream. */
uint32_t unix_next_size(const struct file *file);
int unix_shutdown(struct file *file, enum unix_shut how);
/* For file_ops.move: a pair of a process that is not the root. */
MUST_CHECK int unix_move(struct file *file);

#define UNIX_SO_ERROR      4
#define UNIX_SO_SNDBUF     7
#define UNIX_SO_RCVBUF     8
#define UNIX_SO_PASSCRED   16
#define UNIX_SO_PEERCRED   17
#define UNIX_SO_ACCEPTCONN 30
