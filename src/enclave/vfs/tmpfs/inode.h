/* What the files of vfs/tmpfs share. Tier: enclave. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "thread/lock.h"
#include "vfs/tmpfs/blocks.h"
#include "vfs/tmpfs/tmpfs.h"

struct entry {
    struct entry *next; /* same hash bucket */
    struct inode *inode;
    struct inode *dir;
    uint32_t slot, size;
    char name[];
};

struct inode {
    uint32_t refs; /* atomic: one per name, open file and place */
    uint32_t mode, uid, gid, nlink, dev;
    uint64_t ino;
    int64_t atime, mtime, ctime; /* ns; 64-bit stores, no lock */
    uint64_t size;

    /* Regular (blocks.c): a radix tree of pages; height 0: root is the only block. NULL is a hole */
    struct lock lock; /* root, height, blocks, size, busy, pins, sweep */
    void *root;
    uint32_t height;
    uint32_t busy; /* copies under way, chunks that move: blocks_prune() must wait */
    uint64_t blocks;
    uint32_t seals;
    struct pin *pins;
    uint64_t sweep;                      /* from where to look for what can be spilled */
    struct inode *ring_next, *ring_prev; /* files with chunks; blocks.c's lock */

    char *target;         /* symlink */
    struct xattr *xattrs; /* under lock */
    struct fifo *fifo;    /* once it has been opened; set under lock */

    /* Directory; under the namespace lock. Slots keep the order names came in. */
    struct entry *entry;            /* its own name; NULL: a root, or removed */
    uint32_t record;                /* overlay: of which record */
    bool is_root, removed, changed; /* changed: a name was made or removed */
    struct entry **slots, **buckets;
    uint32_t slot_room, slot_end, bucket_count, entry_count;
};

struct inode *inode_new(uint32_t mode, uint32_t dev);
/* Frees the blocks from offset size on; waits for copies under way. Grows by a hole. */
int inode_resize(struct inode *inode, uint64_t size);
void inode_free_xattrs(struct inode *inode);
int tmpfs_file(struct inode *inode, uint32_t flags, struct file **ret);
