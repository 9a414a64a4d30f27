/*
 * Scratch: files, directories, symlinks, and names of FIFOs (ipc/fifo.h) and sockets, in the enclave's own memory. One tree of
 * inodes hangs below each scratch record of the manifest, and below each directory record that lies
 * in a scratch area (an overlay: measured names win, new names come here). /dev/shm is one more.
 * Tier: enclave.
 */
#pragma once

#include <stdint.h>

#include "core/attr.h"
#include "vfs/node.h"

struct inode;

/* The overlay directory of a directory record, made when first asked for. Referenced; NULL: no
 * memory. */
MUST_CHECK struct inode *tmpfs_overlay(uint32_t record);
/* Sets *time to when a name was made or removed in a record's overlay, if any ever was. */
void tmpfs_overlay_changed(uint32_t record, int64_t *time);
/* /dev/shm. Referenced; NULL: no memory. */
MUST_CHECK struct inode *tmpfs_shm(void);
/* Fills fs, object, dir and mode of place, which holds no references yet. Takes over that to dir.
 */
int tmpfs_lookup(struct inode *dir, const char *name, uint32_t size, struct place *place);
struct inode *tmpfs_ref(struct inode *inode);
void tmpfs_unref(struct inode *inode); /* NULL is fine */
/* The names of an overlay that exists, into listing. */
MUST_CHECK int tmpfs_list_overlay(uint32_t record, struct listing *listing);
/* The names of a directory, without those that the manifest has there. */
MUST_CHECK int tmpfs_list_names(struct inode *dir, struct listing *listing);
/* An open file without a name: memfd_create, O_TMPFILE. */
MUST_CHECK int tmpfs_anonymous(uint32_t mode, uint32_t flags, bool sealable, struct file **ret);
/* The inode of an open tmpfs file (owned by the file), NULL if it is none. */
struct inode *tmpfs_inode_of(const struct file *file);
uint32_t tmpfs_mode(const struct inode *inode);
/* Full path of a directory's inode as it is now; -ENOENT if it was removed. Its size. */
MUST_CHECK int tmpfs_dir_path(struct inode *dir, char buf[static PATH_BUF]);
/* fcntl(F_ADD_SEALS), (F_GET_SEALS): -EINVAL, -EPERM. */
int tmpfs_add_seals(struct file *file, uint32_t seals);
int tmpfs_get_seals(struct file *file);
MUST_CHECK int tmpfs_fallocate(struct file *file, uint32_t mode, uint64_t offset, uint64_t size);
/* Extended attributes. *ret: heap, the caller's. -ENODATA, -EOPNOTSUPP, -EPERM, -EEXIST, -ENOSPC.
 */
MUST_CHECK int tmpfs_xattr_set(struct inode *inode, const char *name, const void *value,
                               uint32_t size, uint32_t flags);
MUST_CHECK int tmpfs_xattr_get(struct inode *inode, const char *name, char **ret,
                               uint32_t *ret_size);
MUST_CHECK int tmpfs_xattr_list(struct inode *inode, char **ret, uint32_t *ret_size);
MUST_CHECK int tmpfs_xattr_remove(struct inode *inode, const char *name);
extern const struct file_ops g_tmpfs_file_ops;
