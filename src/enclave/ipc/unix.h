/*
 * AF_UNIX sockets inside the enclave: pairs (socketpair(2)), and sockets with names that listen and are
 * connected to (unix(7)). Names are those of scratch files, known by device and inode, and abstract ones. Only the
 * root has sockets that are not pairs: those of other processes are the hub's from the start. Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

#define UNIX_PATH_MAX  108u
#define UNIX_RIGHTS_MAX 253u /* SCM_MAX_FD */

enum unix_shut { UNIX_SHUT_READ = 0, UNIX_SHUT_WRITE = 1, UNIX_SHUT_BOTH = 2 };

struct stream_rights; /* ipc/pipe.h */

/* A socket's name. size 0: none. bytes as in sockaddr_un; an abstract one starts with NUL and has no inode. */
struct unix_name {
    uint64_t dev, ino;
    uint32_t size;
    char bytes[UNIX_PATH_MAX];
};

/* Two files, each the other's peer. type: SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM; flags: O_NONBLOCK. -ENOMEM. */
#define UNIX_STREAM    1u
#define UNIX_DATAGRAMS 2u
#define UNIX_PACKETS   5u
static inline bool unix_type_ok(uint64_t type)
{
    return type == UNIX_STREAM || type == UNIX_DATAGRAMS || type == UNIX_PACKETS;
}
MUST_CHECK int unix_pair(uint32_t type, uint32_t flags_a, uint32_t flags_b, struct file **ret_a,
                         struct file **ret_b);
/* A socket of this process; those of the hub: remote_is_socket(). */
bool unix_is(const struct file *file);
/* No datagrams: they would have no peer. */
MUST_CHECK int unix_new(uint32_t type, uint32_t flags, struct file **ret);
/* As bind(2) and so on; file must be one of ours. -EADDRINUSE: abstract names; those of files are the caller's. */
MUST_CHECK int unix_bind(struct file *file, const struct unix_name *name);
MUST_CHECK int unix_listen(struct file *file, uint32_t backlog);
MUST_CHECK int unix_connect(struct file *file, const struct unix_name *to);
/* flags: the new file's. */
MUST_CHECK int unix_accept(struct file *file, bool nonblock, uint32_t flags, struct file **ret);
/* -ENOTCONN. */
MUST_CHECK int unix_name_of(struct file *file, bool peer, struct unix_name *ret);
/* SO_TYPE */
uint32_t unix_type(const struct file *file);
/* SO_ACCEPTCONN */
bool unix_listens(const struct file *file);
/* As recv and send; -EPIPE comes without SIGPIPE. file must be one of ours. rights as stream_read_rights(); may
 * be NULL. */
int64_t unix_receive(struct file *file, void *user, uint64_t size, bool nonblock, bool peek,
                     struct stream_rights **ret_rights);
int64_t unix_send(struct file *file, const void *user, uint64_t size, bool nonblock,
                  struct stream_rights **rights);
int unix_shutdown(struct file *file, enum unix_shut how);
