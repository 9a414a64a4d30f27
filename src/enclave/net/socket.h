/* What the files of net/ share. Tier: enclave. */
#pragma once

#include <asm/errno.h>
#include <linux/uio.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "core/attr.h"
#include "vfs/file.h"

#define AF_UNSPEC_FAMILY 0
#define AF_LOCAL_FAMILY  1 /* AF_UNIX of the host: local.h */
#define AF_INET_FAMILY   2
#define AF_INET6_FAMILY  10

#define NET_STREAM    1u
#define NET_DATAGRAMS 2u
#define NET_RAW       3u

#define MSG_OOB_FLAG          0x1u
#define MSG_PEEK_FLAG         0x2u
#define MSG_CTRUNC_FLAG       0x8u
#define MSG_TRUNC_FLAG        0x20u
#define MSG_DONTWAIT_FLAG     0x40u
#define MSG_WAITALL_FLAG      0x100u
#define MSG_ERRQUEUE_FLAG     0x2000u
#define MSG_NOSIGNAL_FLAG     0x4000u
#define MSG_CMSG_CLOEXEC_FLAG 0x40000000u

struct net_socket {
    int handle;
    uint8_t family, type;
    bool bound;   /* bind() went well */
    bool answers; /* a datagram socket that may send to anyone (net_rule_answers) */
    bool
        shared; /* another process has it too: O_NONBLOCK (net_get_flags) and timeouts are the host's to say */
    bool
        stranger; /* it, or the parent's, came from one that is not a parent; bound and answers are our own */
    uint32_t protocol;
    uint64_t receive_timeout, send_timeout; /* ns; 0: none; use net_timeout() */
    uint64_t ino;
    int late;                   /* errno that the next call tells; atomic */
    const struct file_ops *was; /* net_become(): what the file was, which goes with it */
};

/* A socket's name; size 0: none. Checked: family and size fit each other. */
struct net_address {
    uint32_t size;
    uint8_t bytes[OCALL_NET_ADDRESS];
};

/* What goes along with bytes. control: as it is to be seen by the other side, already checked. */
struct net_extra {
    struct net_address address;
    uint32_t control_size;
    uint32_t flags; /* received: msg_flags */
    uint8_t control[OCALL_NET_CONTROL];
};

struct net_socket *net_of(const struct file *file);
/* A new file around a handle, which it takes over also on failure. -ENOMEM. like: timeouts are its; or NULL. */
MUST_CHECK int net_wrap(int handle, const struct net_socket *kind, uint32_t flags,
                        struct file **ret);
/* SO_RCVTIMEO, SO_SNDTIMEO: ns; 0: none. Uses the window. */
uint64_t net_timeout(const struct net_socket *socket, bool send);
MUST_CHECK int net_set_timeout(struct net_socket *socket, bool send, uint64_t ns);
/* An open file becomes that socket; takes the handle over also on failure. -ENOMEM. */
MUST_CHECK int net_become(int handle, const struct net_socket *kind, struct file *file);
/* bind(2), without a look at rules. mode: of an AF_UNIX socket's name. */
MUST_CHECK int net_bind_to(const struct net_socket *socket, const struct net_address *address,
                           uint32_t mode);
/* An errno that the host gave, if a program may see it; else -EIO: the kernel's own codes (ERESTART*) and what no
 * socket call has must not get in here. */
static inline int net_error(int64_t status)
{
    const int64_t last = 133; /* EHWPOISON */
    return status < 0 && status >= -last ? (int)status : -EIO;
}

/* size bytes of the pieces; extra may be NULL. As sendmsg(2), without the signal. */
int64_t net_send(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size,
                 uint32_t flags, const struct net_extra *extra);
/* As recvmsg(2). extra may be NULL; else control_room bytes of control messages are wanted. */
int64_t net_receive(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size,
                    uint32_t flags, uint32_t control_room, struct net_extra *extra);
/*
 * Datagrams, one exit for many of them (several.c). bytes: what the window is to hold, as OCALL_NET_SEND_MANY has it; of
 * what is to be received the heads alone are put. Returns how many were sent or came: what came is in the window, not
 * looked at. Errors as net_send and net_receive.
 */
struct net_part {
    uint32_t at;                 /* of the head in the window, as in bytes */
    uint32_t size, control_size; /* or room for them */
};
struct net_batch {
    uint32_t count, size;
    uint8_t *bytes;
    struct net_part parts[OCALL_NET_MESSAGES];
};
int64_t net_many(struct file *file, bool send, const struct net_batch *batch, uint32_t flags);
/* A datagram socket's error for the next call, whichever it is: as if it came only now. 0: none. */
int net_late_error(struct net_socket *socket);
/* The handle of a connection and its peer. */
int64_t net_accept_handle(struct file *file, struct net_address *ret);
int net_connect_to(struct file *file, const struct net_address *to);
/* getsockname, getpeername. */
MUST_CHECK int net_name_of(const struct net_socket *socket, bool peer, struct net_address *ret);
