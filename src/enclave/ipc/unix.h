/*
 * Connected pairs of AF_UNIX stream sockets (socketpair(2)): two streams, one each way. Tier:
 * enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/file.h"

enum unix_shut { UNIX_SHUT_READ = 0, UNIX_SHUT_WRITE = 1, UNIX_SHUT_BOTH = 2 };

/* Two files, each the other's peer. flags: O_NONBLOCK. -ENOMEM. */
MUST_CHECK int unix_pair(uint32_t flags_a, uint32_t flags_b, struct file **ret_a,
                         struct file **ret_b);
/* A socket of this process; those of the hub: remote_is_socket(). */
bool unix_is(const struct file *file);
/* As recv and send; -EPIPE comes without SIGPIPE. file must be one of ours. */
int64_t unix_receive(struct file *file, void *user, uint64_t size, bool nonblock, bool peek);
int64_t unix_send(struct file *file, const void *user, uint64_t size, bool nonblock);
void unix_shutdown(struct file *file, enum unix_shut how);
