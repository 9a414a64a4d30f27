/*
 * Extended attributes of scratch files: user.* on files and directories, trusted.* for root. Few
 * and small, so a list does. xattr(7). Tier: enclave.
 */
#include "arch/string.h"
#include "mm/heap.h"
#include "process/process.h"
#include "vfs/linux.h"
#include "vfs/tmpfs/inode.h"

#define XATTR_CREATE  1u
#define XATTR_REPLACE 2u
#define XATTR_SUM_MAX 65536u /* names and values of one inode */

struct xattr {
    struct xattr *next;
    uint32_t name_size, size; /* without the NUL */
    char bytes[];             /* name, NUL, value */
};

static bool starts(const char *name, const char *head)
{
    return strncmp(name, head, strlen(head)) == 0;
}

/* 0: the name may stand on this inode. */
static int allowed(const struct inode *inode, const char *name, bool change)
{
    if (starts(name, "user.")) {
        if (S_ISREG(inode->mode) || S_ISDIR(inode->mode))
            return 0;
        return change ? -EPERM : -ENODATA;
    }
    if (!starts(name, "trusted."))
        return -EOPNOTSUPP;
    if (process_node()->uid == 0)
        return 0;
    return change ? -EPERM : -ENODATA;
}

/* Locked: the link that points to the attribute, or to NULL at the list's end. */
static struct xattr **find(struct inode *inode, const char *name)
{
    struct xattr **at = &inode->xattrs;
    while (*at && strcmp((*at)->bytes, name) != 0)
        at = &(*at)->next;
    return at;
}

static uint32_t sum(const struct inode *inode)
{
    uint32_t all = 0;
    for (const struct xattr *x = inode->xattrs; x; x = x->next)
        all += x->name_size + 1 + x->size;
    return all;
}

int tmpfs_xattr_set(struct inode *inode, const char *name, const void *value, uint32_t size,
                    uint32_t flags)
{
    int status = allowed(inode, name, true);
    if (status < 0)
        return status;
    uint32_t name_size = (uint32_t)strlen(name);
    struct xattr *fresh = heap_alloc(sizeof(*fresh) + name_size + 1 + size);
    if (!fresh)
        return -ENOSPC;
    *fresh = (struct xattr){ .name_size = name_size, .size = size };
    memcpy(fresh->bytes, name, name_size);
    if (size)
        memcpy(fresh->bytes + name_size + 1, value, size);
    struct xattr *gone = NULL;
    lock_take(&inode->lock);
    struct xattr **at = find(inode, name);
    uint32_t had = *at ? (*at)->name_size + 1 + (*at)->size : 0;
    if (*at && (flags & XATTR_CREATE))
        status = -EEXIST;
    else if (!*at && (flags & XATTR_REPLACE))
        status = -ENODATA;
    else if (sum(inode) - had + name_size + 1 + size > XATTR_SUM_MAX)
        status = -ENOSPC;
    if (status == 0) {
        gone = *at;
        fresh->next = gone ? gone->next : NULL;
        *at = TAKE_PTR(fresh);
    }
    lock_drop(&inode->lock);
    heap_free(gone);
    heap_free(fresh);
    return status;
}

int tmpfs_xattr_get(struct inode *inode, const char *name, char **ret, uint32_t *ret_size)
{
    int status = allowed(inode, name, false);
    if (status < 0)
        return status;
    LOCKED(&inode->lock);
    const struct xattr *x = *find(inode, name);
    if (!x)
        return -ENODATA;
    char *copy = heap_alloc((size_t)x->size + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, x->bytes + x->name_size + 1, x->size);
    *ret = copy;
    *ret_size = x->size;
    return 0;
}

int tmpfs_xattr_list(struct inode *inode, char **ret, uint32_t *ret_size)
{
    LOCKED(&inode->lock);
    char *names = heap_alloc(sum(inode) + 1);
    uint32_t size = 0;
    if (!names)
        return -ENOMEM;
    for (const struct xattr *x = inode->xattrs; x; x = x->next) {
        if (allowed(inode, x->bytes, false) < 0)
            continue;
        memcpy(names + size, x->bytes, x->name_size + 1);
        size += x->name_size + 1;
    }
    *ret = names;
    *ret_size = size;
    return 0;
}

int tmpfs_xattr_remove(struct inode *inode, const char *name)
{
    int status = allowed(inode, name, true);
    if (status < 0)
        return status;
    lock_take(&inode->lock);
    struct xattr **at = find(inode, name);
    struct xattr *gone = *at;
    if (gone)
        *at = gone->next;
    lock_drop(&inode->lock);
    heap_free(gone);
    return gone ? 0 : -ENODATA;
}

void inode_free_xattrs(struct inode *inode)
{
    while (inode->xattrs) {
        struct xattr *x = inode->xattrs;
        inode->xattrs = x->next;
        heap_free(x);
    }
}
