/*
 * Reading and writing open files. Tier: enclave.
 */
#include "arch/string.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/shared.h"
#include "mm/uaccess.h"
#include "sys/files.h"
#include "sys/sys.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/node.h"

sys_fn sys_read, sys_write, sys_pread64, sys_pwrite64, sys_readv, sys_writev, sys_preadv,
    sys_pwritev, sys_preadv2, sys_pwritev2, sys_lseek, sys_ftruncate, sys_fsync, sys_fdatasync,
    sys_sync, sys_syncfs, sys_sync_file_range, sys_fadvise64, sys_readahead, sys_sendfile,
    sys_copy_file_range, sys_splice;

static bool readable(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_WRONLY && !(file->flags & O_PATH);
}

static bool writable(const struct file *file)
{
    return (file->flags & O_ACCMODE) != O_RDONLY && !(file->flags & O_PATH);
}

static uint64_t clamp(uint64_t size)
{
    return size < IO_SIZE_MAX ? size : IO_SIZE_MAX;
}

/* What was stored in shared mappings of the file, here and (in the root) by other processes, is to be in it: what
 * shared_end() wants, or -ERESTARTSYS. */
static int64_t shared_begin(struct file *file, uint64_t size, const uint64_t *pos, bool writes)
{
    int64_t object = 0;
    if (dsm_any_object() && pos)
        object = dsm_recall_here(file, &(struct dsm_io){ .here = true,
                                                         .append = writes && file->flags & O_APPEND,
                                                         .offset = *pos,
                                                         .size = size });
    if (object >= 0 && shared_any())
        shared_flush(file);
    return object;
}

static void shared_end(int64_t object)
{
    if (object)
        dsm_serve_recalled((uint32_t)object, &(struct dsm_io){ .here = true });
}

static int64_t do_read(struct file *file, void *user, uint64_t size, uint64_t *pos)
{
    if (!readable(file))
        return -EBADF;
    if (!file->ops->read)
        return -EINVAL;
    if (size && !user_range_ok(user, size))
        return -EFAULT;
    int64_t shared = shared_begin(file, size, pos, false);
    if (shared < 0)
        return shared;
    int64_t n = file->ops->read(file, user, clamp(size), pos);
    shared_end(shared);
    return n;
}

static int64_t do_write(struct file *file, const void *user, uint64_t size, uint64_t *pos)
{
    if (!writable(file))
        return -EBADF;
    if (!file->ops->write)
        return -EINVAL;
    if (size && !user_range_ok(user, size))
        return -EFAULT;
    int64_t shared = shared_begin(file, size, pos, true);
    if (shared < 0)
        return shared;
    int64_t n = file->ops->write(file, user, clamp(size), pos);
    if (shared_any())
        shared_refresh(file);
    shared_end(shared);
    return n;
}

/* Streams take no offset. */
static uint64_t *pos_of(struct file *file)
{
    return file->ops->lseek ? &file->pos : NULL;
}

int64_t sys_read(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    if (!file)
        return -EBADF;
    return do_read(file, (void *)args->a[1], args->a[2], pos_of(file));
}

int64_t sys_write(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    if (!file)
        return -EBADF;
    return do_write(file, (const void *)args->a[1], args->a[2], pos_of(file));
}

int64_t sys_pread64(const struct sysargs *args)
{
    uint64_t pos = args->a[3];
    FILE_AT(args->a[0]);
    if ((int64_t)pos < 0)
        return -EINVAL;
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (!file->ops->lseek)
        return -ESPIPE;
    return do_read(file, (void *)args->a[1], args->a[2], &pos);
}

int64_t sys_pwrite64(const struct sysargs *args)
{
    uint64_t pos = args->a[3];
    FILE_AT(args->a[0]);
    if ((int64_t)pos < 0)
        return -EINVAL;
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (!file->ops->lseek)
        return -ESPIPE;
    return do_write(file, (const void *)args->a[1], args->a[2], &pos);
}

/* --- vectors --------------------------------------------------------------------------- */

struct iovec64 {
    uint64_t base, size;
};

#define IOV_MAX   1024u
#define IOV_STACK 16u

/* One transfer per element, ending at the first short one. */
static int64_t vector_io(struct file *file, const struct iovec64 *iov, uint32_t count,
                         uint64_t *pos, bool write)
{
    uint64_t done = 0;
    if (count == 0)
        return write ? do_write(file, NULL, 0, pos) : do_read(file, NULL, 0, pos);
    for (uint32_t i = 0; i < count; i++) {
        if (iov[i].size == 0)
            continue;
        void *base = (void *)iov[i].base;
        int64_t n =
            write ? do_write(file, base, iov[i].size, pos) : do_read(file, base, iov[i].size, pos);
        if (n < 0)
            return done ? (int64_t)done : n;
        done += (uint64_t)n;
        if ((uint64_t)n < iov[i].size)
            break;
    }
    return (int64_t)done;
}

static int64_t vector_call(const struct sysargs *args, bool write, uint64_t *pos, bool use_pos)
{
    uint64_t count = args->a[2];
    struct iovec64 few[IOV_STACK], *iov = few;
    FILE_AT(args->a[0]);
    if (!file)
        return -EBADF;
    if (write ? !writable(file) : !readable(file))
        return -EBADF;
    if (use_pos && !file->ops->lseek)
        return -ESPIPE;
    if (count > IOV_MAX)
        return -EINVAL;
    if (count > IOV_STACK && !(iov = heap_alloc(count * sizeof(*iov))))
        return -ENOMEM;
    int64_t n = copy_from_user(iov, (const void *)args->a[1], count * sizeof(*iov));
    uint64_t sum = 0;
    for (uint64_t i = 0; n == 0 && i < count; i++)
        if (__builtin_add_overflow(sum, iov[i].size, &sum) || sum > FILE_SIZE_MAX)
            n = -EINVAL;
    if (n == 0 && file->ops->vector)
        n = file->ops->vector(file, (const struct iovec *)(const void *)iov, count, clamp(sum),
                              write);
    else if (n == 0)
        n = vector_io(file, iov, (uint32_t)count, use_pos ? pos : pos_of(file), write);
    if (iov != few)
        heap_free(iov);
    return n;
}

int64_t sys_readv(const struct sysargs *args)
{
    return vector_call(args, false, NULL, false);
}

int64_t sys_writev(const struct sysargs *args)
{
    return vector_call(args, true, NULL, false);
}

int64_t sys_preadv(const struct sysargs *args)
{
    uint64_t pos = args->a[3];
    return (int64_t)pos < 0 ? -EINVAL : vector_call(args, false, &pos, true);
}

int64_t sys_pwritev(const struct sysargs *args)
{
    uint64_t pos = args->a[3];
    return (int64_t)pos < 0 ? -EINVAL : vector_call(args, true, &pos, true);
}

#define RWF_KNOWN  0x1fu /* HIPRI, DSYNC, SYNC, NOWAIT, APPEND */
#define RWF_NOWAIT 0x08u
#define RWF_APPEND 0x10u

/* Offset -1: the file's own. Hints are taken; what would change the result is refused. */
static int64_t vector_call2(const struct sysargs *args, bool write)
{
    uint64_t pos = args->a[3], flags = args->a[5];
    if ((flags & ~(uint64_t)RWF_KNOWN) || (flags & (RWF_NOWAIT | RWF_APPEND)))
        return -EOPNOTSUPP;
    if (pos == UINT64_MAX)
        return vector_call(args, write, NULL, false);
    return (int64_t)pos < 0 ? -EINVAL : vector_call(args, write, &pos, true);
}

int64_t sys_preadv2(const struct sysargs *args)
{
    return vector_call2(args, false);
}

int64_t sys_pwritev2(const struct sysargs *args)
{
    return vector_call2(args, true);
}

/* --- offsets --------------------------------------------------------------------------- */

int64_t sys_lseek(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (!file->ops->lseek)
        return -ESPIPE;
    return file->ops->lseek(file, (int64_t)args->a[1], (int)args->a[2]);
}

/* --- sizes and stable storage ---------------------------------------------------------- */

int64_t sys_ftruncate(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    if ((int64_t)args->a[1] < 0)
        return -EINVAL;
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (!writable(file) || !file->ops->ftruncate)
        return -EINVAL;
    if (!shared_any())
        return file->ops->ftruncate(file, args->a[1]);
    shared_flush(file);
    int64_t status = file->ops->ftruncate(file, args->a[1]);
    shared_refresh(file);
    return status;
}

static int64_t sync_fd(uint64_t fd, bool data_only)
{
    FILE_AT(fd);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    return file->ops->fsync ? file->ops->fsync(file, data_only) : -EINVAL;
}

int64_t sys_fsync(const struct sysargs *args)
{
    return sync_fd(args->a[0], false);
}

int64_t sys_fdatasync(const struct sysargs *args)
{
    return sync_fd(args->a[0], true);
}

/* Writes have gone to the host already; whole-system syncs are not ours to ask for. */
int64_t sys_sync(const struct sysargs *args UNUSED)
{
    return 0;
}

int64_t sys_syncfs(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    return file ? 0 : -EBADF;
}

int64_t sys_sync_file_range(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    if (!file)
        return -EBADF;
    return file->ops->lseek ? 0 : -ESPIPE;
}

int64_t sys_fadvise64(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (!file->ops->lseek)
        return -ESPIPE;
    return args->a[3] > 5 || (int64_t)args->a[2] < 0 ? -EINVAL : 0;
}

int64_t sys_readahead(const struct sysargs *args)
{
    FILE_AT(args->a[0]);
    if (!file || !readable(file))
        return -EBADF;
    return file->ops->pread_kernel ? 0 : -EINVAL;
}

/* --- from file to file ----------------------------------------------------------------- */

#define COPY_STEP 65536u

/*
 * Both files' operations know program memory only, so the bytes cross through pages that are mapped
 * into the program for the time of the call.
 */
static int64_t copy_files(struct file *in, uint64_t *in_pos, struct file *out, uint64_t *out_pos,
                          uint64_t size)
{
    if (!readable(in) || !writable(out))
        return -EBADF;
    int64_t map = mm_map(0, COPY_STEP, 3 /* R, W */, 0x22 /* PRIVATE, ANONYMOUS */, NULL, 0);
    if (map < 0)
        return map;
    void *lent = (void *)map;
    uint64_t done = 0;
    int64_t n = 0;
    while (done < size) {
        uint64_t want = size - done < COPY_STEP ? size - done : COPY_STEP;
        n = do_read(in, lent, want, in_pos);
        if (n <= 0)
            break;
        int64_t got = n;
        n = do_write(out, lent, (uint64_t)got, out_pos);
        if (n < got && in_pos) {
            /* What was not written was not read. */
            uint64_t back = (uint64_t)(got - (n < 0 ? 0 : n));
            if (in_pos == &in->pos) /* wherever the description's offset is kept */
                (void)!in->ops->lseek(in, -(int64_t)back, SEEK_CUR);
            else
                pos_give_back(in, in_pos, back);
        }
        if (n <= 0)
            break;
        done += (uint64_t)n;
        if ((uint64_t)n < want)
            break;
    }
    (void)mm_unmap((uint64_t)map, COPY_STEP);
    return done ? (int64_t)done : n;
}

static int get_offset(uint64_t user, uint64_t *ret)
{
    int status = GET_USER(ret, (const uint64_t *)user);
    return status < 0 ? status : (int64_t)*ret < 0 ? -EINVAL : 0;
}

int64_t sys_sendfile(const struct sysargs *args)
{
    uint64_t pos = 0;
    FILE_AT(args->a[0]);
    CLEANUP(put_file) struct file *in = fd_get((int)args->a[1]);
    if (!file || !in)
        return -EBADF;
    if (!in->ops->pread_kernel)
        return in->ops->lseek ? -EINVAL : -ESPIPE;
    if (file->flags & O_APPEND)
        return -EINVAL;
    if (args->a[2]) {
        int status = get_offset(args->a[2], &pos);
        if (status < 0)
            return status;
    }
    int64_t n =
        copy_files(in, args->a[2] ? &pos : pos_of(in), file, pos_of(file), clamp(args->a[3]));
    if (n >= 0 && args->a[2]) {
        int status = PUT_USER((uint64_t *)args->a[2], &pos);
        if (status < 0)
            return status;
    }
    return n;
}

int64_t sys_copy_file_range(const struct sysargs *args)
{
    uint64_t in_pos = 0, out_pos = 0;
    CLEANUP(put_file) struct file *in = fd_get((int)args->a[0]);
    CLEANUP(put_file) struct file *out = fd_get((int)args->a[2]);
    if (!in || !out)
        return -EBADF;
    if (args->a[5])
        return -EINVAL;
    if (!in->ops->pread_kernel || !out->ops->ftruncate)
        return -EINVAL;
    if (out->flags & O_APPEND)
        return -EBADF;
    int status = args->a[1] ? get_offset(args->a[1], &in_pos) : 0;
    if (status == 0 && args->a[3])
        status = get_offset(args->a[3], &out_pos);
    if (status < 0)
        return status;
    int64_t n = copy_files(in, args->a[1] ? &in_pos : &in->pos, out,
                           args->a[3] ? &out_pos : &out->pos, clamp(args->a[4]));
    if (n >= 0 && args->a[1])
        status = PUT_USER((uint64_t *)args->a[1], &in_pos);
    if (n >= 0 && args->a[3] && status == 0)
        status = PUT_USER((uint64_t *)args->a[3], &out_pos);
    return status < 0 ? status : n;
}

static bool is_pipe(struct file *file)
{
    struct kstat st;
    return !file->ops->lseek && file->ops->fstat && file->ops->fstat(file, &st) == 0 &&
           S_ISFIFO(st.mode);
}

/* One step at most: a pipe gives what it has, and what its sink does not take would be lost. */
int64_t sys_splice(const struct sysargs *args)
{
    uint64_t in_pos = 0, out_pos = 0, size = args->a[4] < COPY_STEP ? args->a[4] : COPY_STEP;
    CLEANUP(put_file) struct file *in = fd_get((int)args->a[0]);
    CLEANUP(put_file) struct file *out = fd_get((int)args->a[2]);
    if (!in || !out)
        return -EBADF;
    if (args->a[5] & ~15ull)
        return -EINVAL;
    bool from_pipe = is_pipe(in), to_pipe = is_pipe(out);
    if (!from_pipe && !to_pipe)
        return -EINVAL;
    if ((from_pipe && args->a[1]) || (to_pipe && args->a[3]))
        return -ESPIPE;
    if (!to_pipe && (out->flags & O_APPEND))
        return -EINVAL;
    if (from_pipe && to_pipe && size > 4096)
        size = 4096; /* PIPE_BUF: all or nothing */
    int status = args->a[1] ? get_offset(args->a[1], &in_pos) : 0;
    if (status == 0 && args->a[3])
        status = get_offset(args->a[3], &out_pos);
    if (status < 0)
        return status;
    int64_t n = copy_files(in, args->a[1] ? &in_pos : pos_of(in), out,
                           args->a[3] ? &out_pos : pos_of(out), size);
    if (n >= 0 && args->a[1])
        status = PUT_USER((uint64_t *)args->a[1], &in_pos);
    if (n >= 0 && args->a[3] && status == 0)
        status = PUT_USER((uint64_t *)args->a[3], &out_pos);
    return status < 0 ? status : n;
}
