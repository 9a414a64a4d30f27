/* A message of sendmsg(2) and its kin on its way between the program and socket.c: what calls.c and several.c share. Tier:
 * enclave. */
#pragma once

#include <linux/uio.h>
#include <stdint.h>

#include "core/attr.h"
#include "net/socket.h"
#include "sys/message.h"

#define IOV_STACK 16u

struct message {
    struct kmsghdr head;
    struct iovec few[IOV_STACK];
    struct iovec *iov; /* few, or the heap's */
    uint64_t size;     /* of all pieces */
};

/* The program's, checked: pieces are the program's memory. Followed by message_done(), however it ends. */
MUST_CHECK int message_get(uint64_t user, struct message *m);
void message_done(struct message *m);
/* The same of one to send, with control messages and destination, for which the rules were asked. */
MUST_CHECK int message_out(struct file *file, uint64_t user, struct message *m,
                           struct net_extra *extra);
/* What came with one: recvmsg(2) writes back flags and sizes only; the name's size is a field of the head. */
MUST_CHECK int message_put(uint64_t user, struct message *m, const struct net_extra *extra);

/* sendmsg, recvmsg. */
int64_t message_send(struct file *file, uint64_t user, uint32_t flags);
int64_t message_receive(struct file *file, uint64_t user, uint32_t flags);
