/*
 * Content of scratch files: 4 KiB blocks in a radix tree, holes included, so that a file may be as
 * large and as sparse as it likes. Program memory is never touched under the lock: a copy marks the
 * inode busy, and only shrinking, which frees blocks, waits for that to end. Tier: enclave.
 */
#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "vfs/linux.h"
#include "vfs/locks.h"
#include "vfs/tmpfs/inode.h"
#include "vfs/tmpfs/spill.h"

static void lock_quiet(struct inode *inode)
{
    for (;;) {
        lock_take(&inode->lock);
        if (!inode->busy)
            return;
        lock_drop(&inode->lock);
        border_call0(OCALL_YIELD, 0);
    }
}

static void touch(struct inode *inode)
{
    int64_t now = (int64_t)clock_realtime();
    inode->mtime = now;
    inode->ctime = now;
}

static int may_resize(const struct inode *inode, uint64_t size)
{
    bool refused = (size < inode->size && (inode->seals & F_SEAL_SHRINK)) ||
                   (size > inode->size && (inode->seals & F_SEAL_GROW));
    return refused ? -EPERM : 0;
}

int inode_resize(struct inode *inode, uint64_t size)
{
    if (size > FILE_SIZE_MAX)
        return -EFBIG;
    struct spilled *gone = NULL;
    lock_quiet(inode);
    int status = may_resize(inode, size);
    /* A chunk that stays in part has to be here; what happens while it comes in is looked at again.
     */
    while (status == 0 && size < inode->size && size % SPILL_CHUNK &&
           (status = blocks_load(inode, size / BLOCK_SIZE)) > 0) {
        lock_drop(&inode->lock);
        lock_quiet(inode);
        status = may_resize(inode, size);
    }
    if (status == 0) {
        if (size < inode->size) {
            blocks_prune(inode, (size + BLOCK_SIZE - 1) / BLOCK_SIZE, &gone);
            char *last = NULL;
            if (size % BLOCK_SIZE)
                status = block_get(inode, size / BLOCK_SIZE, false, NULL, &last);
            if (last)
                memset(last + size % BLOCK_SIZE, 0, BLOCK_SIZE - size % BLOCK_SIZE);
        }
        inode->size = size;
    }
    lock_drop(&inode->lock);
    spill_free(gone);
    if (status == 0)
        touch(inode);
    return status;
}

/* --- open files ------------------------------------------------------------------------ */

struct inode *tmpfs_inode_of(const struct file *file)
{
    return file->ops == &g_tmpfs_file_ops ? file->object : NULL;
}

/* After a copy: the block's chunk may go. */
static void unpin(struct inode *inode, const char *data, struct pin *pin)
{
    if (!data)
        return;
    LOCKED(&inode->lock);
    block_unpin(inode, pin);
}

static int64_t file_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    struct inode *inode = file->object;
    lock_take(&inode->lock);
    uint64_t end = inode->size;
    inode->busy++;
    lock_drop(&inode->lock);
    uint64_t offset;
    uint64_t want = pos_take(file, pos, size, end, &offset);
    uint64_t done = 0;
    struct pin pin;
    int status = 0;
    while (done < want) {
        uint64_t at = offset + done, skip = at % BLOCK_SIZE;
        uint64_t n = BLOCK_SIZE - skip < want - done ? BLOCK_SIZE - skip : want - done;
        char *data = NULL;
        lock_take(&inode->lock);
        status = block_get(inode, at / BLOCK_SIZE, false, &pin, &data);
        lock_drop(&inode->lock);
        if (status == 0)
            status = data ? copy_to_user((char *)user + done, data + skip, n)
                          : clear_user((char *)user + done, n);
        unpin(inode, data, &pin);
        if (status < 0)
            break;
        done += n;
    }
    lock_take(&inode->lock);
    inode->busy--;
    lock_drop(&inode->lock);
    pos_give_back(file, pos, want - done);
    return done ? (int64_t)done : status;
}

static int64_t file_pread_kernel(struct file *file, void *buf, uint64_t size, uint64_t offset)
{
    struct inode *inode = file->object;
    LOCKED(&inode->lock);
    uint64_t end = inode->size;
    uint64_t want = offset >= end ? 0 : end - offset < size ? end - offset : size;
    for (uint64_t done = 0; done < want;) {
        uint64_t at = offset + done, skip = at % BLOCK_SIZE;
        uint64_t n = BLOCK_SIZE - skip < want - done ? BLOCK_SIZE - skip : want - done;
        char *data = NULL;
        int status = block_get(inode, at / BLOCK_SIZE, false, NULL, &data);
        if (status < 0)
            return status;
        if (data)
            memcpy((char *)buf + done, data + skip, n);
        else
            memset((char *)buf + done, 0, n);
        done += n;
    }
    return (int64_t)want;
}

static int64_t file_pwrite_kernel(struct file *file, const void *buf, uint64_t size,
                                  uint64_t offset)
{
    struct inode *inode = file->object;
    LOCKED(&inode->lock);
    uint64_t end = inode->size;
    uint64_t want = offset >= end ? 0 : end - offset < size ? end - offset : size;
    int status = 0;
    inode->busy++; /* the lock may be dropped: nothing is to be written behind a new end */
    for (uint64_t done = 0; status == 0 && done < want;) {
        uint64_t at = offset + done, skip = at % BLOCK_SIZE;
        uint64_t n = BLOCK_SIZE - skip < want - done ? BLOCK_SIZE - skip : want - done;
        char *data = NULL;
        status = block_get(inode, at / BLOCK_SIZE, true, NULL, &data);
        if (status == 0)
            memcpy(data + skip, (const char *)buf + done, n);
        done += n;
    }
    inode->busy--;
    return status < 0 ? status : (int64_t)want;
}

/* Where a write goes, and how much of it; the inode is busy afterwards. */
static int64_t write_begin(struct file *file, uint64_t size, uint64_t *pos, uint64_t *ret_offset,
                           uint64_t *ret_end)
{
    struct inode *inode = file->object;
    uint64_t offset = 0, want = size;
    if (!(file->flags & O_APPEND)) {
        want = pos_take(file, pos, size, FILE_SIZE_MAX, &offset);
        if (size && !want)
            return -EFBIG;
    }
    lock_take(&inode->lock);
    if (file->flags & O_APPEND) {
        offset = inode->size;
        if (want > FILE_SIZE_MAX - offset)
            want = FILE_SIZE_MAX - offset;
    }
    int status = 0;
    if ((inode->seals & F_SEAL_WRITE) ||
        ((inode->seals & F_SEAL_GROW) && offset + want > inode->size))
        status = -EPERM;
    *ret_end = inode->size;
    if (status == 0) {
        inode->busy++;
        /* Appenders reserve, so that two of them never overlap. */
        if (file->flags & O_APPEND)
            inode->size = offset + want;
    }
    lock_drop(&inode->lock);
    if (status < 0) {
        if (!(file->flags & O_APPEND))
            pos_give_back(file, pos, want);
        return status;
    }
    *ret_offset = offset;
    return (int64_t)want;
}

static int64_t file_write(struct file *file, const void *user, uint64_t size, uint64_t *pos)
{
    struct inode *inode = file->object;
    uint64_t offset, old_end;
    if (!size)
        return 0;
    int64_t begun = write_begin(file, size, pos, &offset, &old_end);
    if (begun < 0)
        return begun;
    uint64_t want = (uint64_t)begun, done = 0;
    struct pin pin;
    int status = 0;
    while (done < want) {
        uint64_t at = offset + done, skip = at % BLOCK_SIZE;
        uint64_t n = BLOCK_SIZE - skip < want - done ? BLOCK_SIZE - skip : want - done;
        char *data = NULL;
        lock_take(&inode->lock);
        status = block_get(inode, at / BLOCK_SIZE, true, &pin, &data);
        lock_drop(&inode->lock);
        if (status == 0)
            status = copy_from_user(data + skip, (const char *)user + done, n);
        unpin(inode, data, &pin);
        if (status < 0)
            break;
        done += n;
    }
    lock_take(&inode->lock);
    inode->busy--;
    if (file->flags & O_APPEND) {
        if (done < want && inode->size == offset + want)
            inode->size = offset + done;
    } else if (done && offset + done > inode->size) {
        inode->size = offset + done;
    }
    lock_drop(&inode->lock);
    if (file->flags & O_APPEND) {
        if (pos == &file->pos)
            lock_take(&file->lock);
        *pos = offset + done;
        if (pos == &file->pos)
            lock_drop(&file->lock);
    } else {
        pos_give_back(file, pos, want - done);
    }
    if (done)
        touch(inode);
    return done ? (int64_t)done : status;
}

/* Where the block behind the one at this offset begins; if that is a hole, behind the hole. At most end. */
static uint64_t next_block(const struct inode *inode, uint64_t at, bool hole, uint64_t end)
{
    uint64_t index = at / BLOCK_SIZE, next = hole ? blocks_hole_end(inode, index) : index + 1;
    return next > end / BLOCK_SIZE ? end : next * BLOCK_SIZE;
}

static int64_t file_lseek(struct file *file, int64_t offset, int whence)
{
    struct inode *inode = file->object;
    lock_take(&inode->lock);
    uint64_t size = inode->size;
    if ((whence == SEEK_DATA || whence == SEEK_HOLE) && offset >= 0 && (uint64_t)offset < size) {
        uint64_t at = (uint64_t)offset;
        while (at < size && block_present(inode, at / BLOCK_SIZE) != (whence == SEEK_DATA))
            at = next_block(inode, at, whence == SEEK_DATA, size);
        lock_drop(&inode->lock);
        if (whence == SEEK_DATA && at == size)
            return -ENXIO;
        return file_seek(file, (int64_t)at, SEEK_SET, size);
    }
    lock_drop(&inode->lock);
    return file_seek(file, offset, whence, size);
}

static int file_ftruncate(struct file *file, uint64_t size)
{
    return inode_resize(file->object, size);
}

static int file_fsync(struct file *file UNUSED, bool data_only UNUSED)
{
    return 0;
}

static uint32_t file_poll(struct file *file UNUSED, struct waiter *waiter UNUSED)
{
    return EPOLLIN | EPOLLOUT;
}

static int file_fstat(struct file *file, struct kstat *ret)
{
    struct place place = { .fs = &g_tmpfs_fs, .object = file->object, .record = MANIFEST_NONE };
    return g_tmpfs_fs.stat(&place, ret);
}

static void file_release(struct file *file)
{
    locks_file_gone(file);
    tmpfs_unref(file->object);
}

const struct file_ops g_tmpfs_file_ops = {
    .name = "tmpfs",
    .read = file_read,
    .write = file_write,
    .pread_kernel = file_pread_kernel,
    .pwrite_kernel = file_pwrite_kernel,
    .lseek = file_lseek,
    .fstat = file_fstat,
    .ftruncate = file_ftruncate,
    .fsync = file_fsync,
    .poll = file_poll,
    .release = file_release,
    .travel = TRAVEL_HUB,
};

int tmpfs_file(struct inode *inode, uint32_t flags, struct file **ret)
{
    struct file *file = file_new(&g_tmpfs_file_ops, flags, inode);
    if (!file)
        return -ENOMEM;
    tmpfs_ref(inode);
    *ret = file;
    return 0;
}

int tmpfs_add_seals(struct file *file, uint32_t seals)
{
    struct inode *inode = tmpfs_inode_of(file);
    if (!inode || (seals & ~0x1fu))
        return -EINVAL;
    if ((file->flags & O_ACCMODE) == O_RDONLY)
        return -EPERM;
    LOCKED(&inode->lock);
    if (inode->seals & F_SEAL_SEAL)
        return -EPERM;
    inode->seals |= seals;
    return 0;
}

int tmpfs_get_seals(struct file *file)
{
    struct inode *inode = tmpfs_inode_of(file);
    return inode ? (int)inode->seals : -EINVAL;
}

int tmpfs_fallocate(struct file *file, uint32_t mode, uint64_t offset, uint64_t size)
{
    struct inode *inode = file->object;
    uint64_t end = offset + size;
    if (end < offset || end > FILE_SIZE_MAX)
        return -EFBIG;
    if (mode & ~3u) /* KEEP_SIZE, PUNCH_HOLE */
        return -EOPNOTSUPP;
    lock_quiet(inode);
    int status = 0;
    if (mode & 2) {
        if (!(mode & 1))
            status = -EOPNOTSUPP;
        else if (inode->seals & F_SEAL_WRITE)
            status = -EPERM;
        for (uint64_t at = offset; status == 0 && at < end && at < inode->size;) {
            if (!block_present(inode, at / BLOCK_SIZE)) {
                at = next_block(inode, at, true, end);
                continue;
            }
            uint64_t skip = at % BLOCK_SIZE;
            uint64_t n = BLOCK_SIZE - skip < end - at ? BLOCK_SIZE - skip : end - at;
            char *data = NULL;
            status = block_get(inode, at / BLOCK_SIZE, false, NULL, &data);
            if (data)
                memset(data + skip, 0, n);
            at += n;
        }
    } else {
        if (end > inode->size && !(mode & 1) && (inode->seals & F_SEAL_GROW))
            status = -EPERM;
        for (uint64_t at = offset / BLOCK_SIZE;
             status == 0 && at < (end + BLOCK_SIZE - 1) / BLOCK_SIZE; at++) {
            char *data;
            status = block_get(inode, at, true, NULL, &data);
        }
        if (status == 0 && !(mode & 1) && end > inode->size)
            inode->size = end;
    }
    lock_drop(&inode->lock);
    return status;
}
