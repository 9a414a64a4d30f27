/*
 * Files on their way to another process over a socket (SCM_RIGHTS) that the hub does not work on. Tier: enclave.
 *
 * - What is opened again there: trusted and allowed files, directories, /proc and /dev of a process that is not the root.
 *   At the hub such a file is path, flags, offset. Who receives it opens the path by its own manifest; where that does not
 *   name it, reads are EACCES (vfs/share.h).
 * - What is a host's descriptor: sockets of the network, standard streams. The descriptor goes through the root's host
 *   process (OCALL_TREE_GIVE), and the root holds it as long as it is on its way. Who receives it is bound by its own
 *   rules (net_arrive_stranger).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "tree/hub.h"
#include "vfs/file.h"
#include "vfs/remote/remote.h"

/* Can it travel so? */
bool carry_can(const struct file *file);
/* Not the root: a handle that stands for file; the caller's to close. -ENOMEM, -EMFILE, -ETOOMANYREFS. */
MUST_CHECK int carry_pack(struct file *file, int32_t *ret_handle);
/* What came, as an open file; takes the handle over. -ENOMEM, -EMFILE, -EIO. */
MUST_CHECK int carry_unpack(const struct remote_info *info, struct file **ret);

/* --- the root --- */
bool carry_is(const struct file *file);
/* A file of the root's own over a host's descriptor, for a handle of another process. -ENOMEM. */
bool carry_on_host(const struct file *file);
MUST_CHECK int carry_hold(struct file *file, struct file **ret);
/* How: remote_info.dev. */
uint32_t carry_kind(const struct file *carried);
/* Its own program has received it. -ENOMEM. */
MUST_CHECK int carry_unpack_here(const struct file *carried, struct file **ret);
/* ADOPT_CARRIED: data as carry_pack() sends it; key: of a descriptor on its way; position: NULL or referenced by the
 * caller. -EINVAL, -ENOMEM, -EMFILE. */
MUST_CHECK int carry_new(const void *data, uint32_t size, uint64_t key, struct file *position,
                         struct file **ret);
/* REMOTE_UNPACK: (handle, key). */
int64_t carry_serve(struct hub_job *job, struct file *carried);
