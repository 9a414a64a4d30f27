#include "vfs/trusted/trusted.h"

#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "vfs/host/outputs.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"
#include "vfs/trusted/chunks.h"

/* Measured directories have no time of their own; zip files know none before 1980. */
#define DIR_TIME 315619200 /* 1980-01-02 00:00 UTC */

/* When the names in a directory last changed: Python looks for new modules by it. */
static void dir_time(uint32_t record, struct kstat *ret)
{
    int64_t changed = DIR_TIME * (int64_t)NS_PER_S;
    if (hub_is_here())
        tmpfs_overlay_changed(record, &changed);
    else if (domain_of(record) == DOMAIN_SCRATCH)
        remote_overlay_changed(record, &changed);
    ret->mtime_sec = ret->ctime_sec = ret->atime_sec = changed / (int64_t)NS_PER_S;
    ret->mtime_nsec = ret->ctime_nsec = ret->atime_nsec = changed % (int64_t)NS_PER_S;
}

void record_stat(uint32_t record, struct kstat *ret)
{
    const struct manifest_file *f = &g_manifest.files[record];
    *ret = (struct kstat){
        .dev = f->dev,
        .ino = f->ino,
        .nlink = f->nlink,
        .mode = f->mode,
        .uid = f->uid,
        .gid = f->gid,
        .size = (int64_t)f->size,
        .blksize = 4096,
        .blocks = S_ISLNK(f->mode) ? 0 : (int64_t)((f->size + 4095) / 4096 * 8),
        .atime_sec = f->mtime_sec,
        .atime_nsec = f->mtime_nsec,
        .mtime_sec = f->mtime_sec,
        .mtime_nsec = f->mtime_nsec,
        .ctime_sec = f->mtime_sec,
        .ctime_nsec = f->mtime_nsec,
    };
    if (S_ISDIR(f->mode) && f->mtime_sec == 0)
        dir_time(record, ret);
}

static int fs_stat(const struct place *place, struct kstat *ret)
{
    record_stat(place->record, ret);
    return 0;
}

static int64_t fs_readlink(const struct place *place, char *buf, uint64_t size)
{
    struct manifest_str target = g_manifest.files[place->record].target;
    uint64_t n = target.length < size ? target.length : size;
    memcpy(buf, manifest_str_ptr(&g_manifest, target), n);
    return (int64_t)n;
}

/* --- open files ------------------------------------------------------------------------ */

static uint32_t index_of(const struct file *file)
{
    return (uint32_t)(file->record - g_manifest.files);
}

static int64_t file_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    uint64_t offset;
    uint64_t want = pos_take(file, pos, size, file->record->size, &offset);
    uint64_t done = 0;
    int status = 0;
    while (done < want) {
        uint64_t at = offset + done, index = at / MANIFEST_CHUNK_SIZE;
        struct chunk *chunk;
        const void *data;
        uint32_t have;
        uint64_t ahead = (offset + want - 1) / MANIFEST_CHUNK_SIZE - index + 1;
        status = chunk_get_record(index_of(file), index, ahead, &chunk, &data, &have);
        if (status < 0)
            break;
        uint64_t skip = at % MANIFEST_CHUNK_SIZE;
        uint64_t n = have - skip < want - done ? have - skip : want - done;
        status = copy_to_user((char *)user + done, (const char *)data + skip, n);
        chunk_put(chunk);
        if (status < 0)
            break;
        done += n;
    }
    pos_give_back(file, pos, want - done);
    return done ? (int64_t)done : status;
}

static int64_t file_pread_kernel(struct file *file, void *buf, uint64_t size, uint64_t offset)
{
    uint64_t end = file->record->size;
    uint64_t want = offset >= end ? 0 : end - offset < size ? end - offset : size;
    for (uint64_t done = 0; done < want;) {
        uint64_t at = offset + done, skip = at % MANIFEST_CHUNK_SIZE;
        struct chunk *chunk;
        const void *data;
        uint32_t have;
        int status =
            chunk_get_record(index_of(file), at / MANIFEST_CHUNK_SIZE, 1, &chunk, &data, &have);
        if (status < 0)
            return status;
        uint64_t n = have - skip < want - done ? have - skip : want - done;
        memcpy((char *)buf + done, (const char *)data + skip, n);
        chunk_put(chunk);
        done += n;
    }
    return (int64_t)want;
}

static int64_t file_lseek(struct file *file, int64_t offset, int whence)
{
    return file_seek(file, offset, whence, file->record->size);
}

static int file_fstat(struct file *file, struct kstat *ret)
{
    record_stat(index_of(file), ret);
    return 0;
}

static int file_fsync(struct file *file UNUSED, bool data_only UNUSED)
{
    return 0;
}

const struct file_ops g_trusted_file_ops = {
    .name = "trusted",
    .read = file_read,
    .pread_kernel = file_pread_kernel,
    .lseek = file_lseek,
    .fstat = file_fstat,
    .fsync = file_fsync,
};

static int fs_open(const struct place *place, uint32_t flags, struct file **ret)
{
    const struct manifest_file *f = &g_manifest.files[place->record];
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
        return place_readonly(place);
    if (f->class == MANIFEST_NAMED) {
        audit_once(OCALL_AUDIT_NOT_GRANTED, EACCES, place->path, place->path_size);
        return -EACCES;
    }
    if (!S_ISREG(f->mode))
        return -ENXIO;
    struct file *file = file_new(&g_trusted_file_ops, flags, NULL);
    if (!file)
        return -ENOMEM;
    file->record = f;
    file->path = (char *)(uintptr_t)manifest_path(&g_manifest, place->record);
    *ret = file;
    return 0;
}

/* Outputs of this directory that the run has created. */
static int list_outputs(uint32_t dir, struct listing *listing)
{
    const struct manifest_file *d = &g_manifest.files[dir];
    for (uint32_t i = dir + 1; i < g_manifest.file_count; i++) {
        const struct manifest_file *f = &g_manifest.files[i];
        if (f->path.length < d->path.length ||
            memcmp(manifest_path(&g_manifest, i), manifest_path(&g_manifest, dir), d->path.length))
            break;
        if (f->parent != dir || !(f->flags & MANIFEST_OUTPUT) ||
            output_hidden(manifest_path(&g_manifest, i), f->path.length, i))
            continue;
        uint32_t size;
        const char *name = manifest_base_name(&g_manifest, i, &size);
        int status = listing_add(listing, name, size, f->ino, MODE_DT(f->mode));
        if (status < 0)
            return status;
    }
    return 0;
}

static int fs_list(const struct place *dir, struct listing *listing)
{
    const struct manifest_file *d = &g_manifest.files[dir->record];
    int status;
    if (d->flags & MANIFEST_LISTED) {
        for (uint32_t i = 0; i < d->dirent_count; i++) {
            const struct manifest_dirent *e = &g_manifest.dirents[d->first_dirent + i];
            const struct manifest_file *f = &g_manifest.files[e->file];
            status = listing_append(listing, manifest_str_ptr(&g_manifest, e->name), e->name.length,
                                    f->ino, MODE_DT(f->mode));
            if (status < 0)
                return status;
        }
    } else if (domain_of(dir->record) == DOMAIN_SCRATCH) {
        if ((status = listing_records(listing, dir->record)) < 0)
            return status;
    } else if (domain_of(dir->record) == DOMAIN_ALLOWED) {
        return g_host_fs.list(dir, listing);
    } else {
        audit_once(OCALL_AUDIT_LISTING, EACCES, dir->path, dir->path_size);
        return -EACCES;
    }
    if (hub_is_here())
        status = tmpfs_list_overlay(dir->record, listing);
    else
        status = domain_of(dir->record) == DOMAIN_SCRATCH ? remote_list(dir, listing) : 0;
    if (status < 0)
        return status;
    return list_outputs(dir->record, listing);
}

const struct fs g_trusted_fs = {
    .name = "trusted",
    .magic = 0xef53, /* ext4's, what programs know */
    .stat = fs_stat,
    .readlink = fs_readlink,
    .open = fs_open,
    .list = fs_list,
};
