/*
 * Descriptors and their flags: dup, fcntl, flock, ioctl. Tier: enclave.
 *
 * Locks: on scratch files between the processes of the tree (vfs/locks.h); on allowed files the host is
 * asked, since others may hold locks there; on all others, which nobody can write, they are granted.
 */
#include "arch/string.h"
#include "border/border.h"
#include "core/bytes.h"
#include "mm/uaccess.h"
#include "net/interfaces.h"
#include "net/net.h"
#include "signal/signal.h"
#include "sys/files.h"
#include "sys/sys.h"
#include "thread/threads.h"
#include "vfs/fd.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/locks.h"
#include "vfs/remote/remote.h"
#include "vfs/tmpfs/tmpfs.h"

sys_fn sys_dup, sys_dup2, sys_dup3, sys_flock, sys_fcntl, sys_ioctl;

static int64_t dup_to(uint64_t fd, int min, bool cloexec)
{
    struct file *file = fd_get((int)fd);
    if (!file)
        return -EBADF;
    int to = fd_install(file, min, cloexec);
    if (to < 0)
        file_unref(file);
    return to;
}

int64_t sys_dup(const struct sysargs *args)
{
    return dup_to(args->a[0], 0, false);
}

static int64_t dup_at(uint64_t fd, uint64_t to, bool cloexec)
{
    struct file *file = fd_get((int)fd);
    if (!file)
        return -EBADF;
    int status = fd_replace(file, (int)to, cloexec);
    if (status < 0)
        file_unref(file);
    return status;
}

int64_t sys_dup2(const struct sysargs *args)
{
    if ((int)args->a[0] == (int)args->a[1])
        return fd_cloexec((int)args->a[0]) < 0 ? -EBADF : (int64_t)(int)args->a[0];
    return dup_at(args->a[0], args->a[1], false);
}

int64_t sys_dup3(const struct sysargs *args)
{
    if ((args->a[2] & ~(uint64_t)O_CLOEXEC) || (int)args->a[0] == (int)args->a[1])
        return -EINVAL;
    return dup_at(args->a[0], args->a[1], args->a[2] & O_CLOEXEC);
}

/* --- locks ----------------------------------------------------------------------------- */

struct klock { /* struct flock of x86-64 */
    int16_t type, whence;
    uint32_t pad;
    int64_t start, size;
    int32_t pid;
    uint32_t pad2;
};
static_assert(sizeof(struct klock) == 32, "struct flock");

/* Start and end of the range in bytes; size 0: to the end of the file. */
static int lock_range(struct file *file, struct klock *l)
{
    struct kstat st = { .size = 0 };
    int64_t base = 0;
    if (l->whence == SEEK_CUR)
        base = file->ops->lseek ? file->ops->lseek(file, 0, SEEK_CUR) : 0;
    else if (l->whence == SEEK_END) {
        int status = file->ops->fstat ? file->ops->fstat(file, &st) : -EINVAL;
        if (status < 0)
            return status;
        base = st.size;
    } else if (l->whence != SEEK_SET)
        return -EINVAL;
    if (__builtin_add_overflow(l->start, base, &l->start))
        return -EOVERFLOW;
    if (l->size < 0) {
        l->start += l->size;
        l->size = -l->size;
    }
    l->whence = SEEK_SET;
    return l->start < 0 ? -EINVAL : 0;
}

static bool g_took_records; /* this process ever took a record lock on scratch */

static bool is_scratch(const struct file *file)
{
    return file->ops == &g_remote_file_ops || tmpfs_inode_of(file);
}

static int64_t scratch_lock(struct file *file, const struct file_lock *want, bool wait)
{
    if (file->ops == &g_remote_file_ops)
        return remote_lock(file, want, wait);
    for (;;) {
        int status = locks_set(file, *want);
        if (status != -EAGAIN || !wait)
            return status;
        struct waiter waiter = { .thread = current() };
        waitq_add(locks_queue(), &waiter);
        status = locks_set(file, *want);
        int parked = status == -EAGAIN ? thread_park(OCALL_NEVER) : 0;
        waitq_remove(&waiter);
        if (status != -EAGAIN)
            return status;
        if (parked == -EINTR)
            return -ERESTARTSYS;
    }
}

static int64_t get_scratch_lock(struct file *file, const struct file_lock *want, struct klock *l,
                                uint64_t user)
{
    struct file_lock found;
    int status = file->ops == &g_remote_file_ops ? remote_lock_get(file, want, &found)
                                                 : locks_get(file, *want, &found);
    if (status < 0)
        return status;
    l->type = found.type;
    if (found.type != F_UNLCK) {
        l->whence = SEEK_SET;
        l->start = (int64_t)found.start;
        l->size = found.last >= INT64_MAX ? 0 : (int64_t)(found.last - found.start + 1);
        /* Locks of descriptions have no process. */
        l->pid = (int64_t)found.owner > 0 && (int64_t)found.owner <= INT32_MAX &&
                         found.kind != LOCK_FLOCK && found.kind != LOCK_DESCRIPTION
                     ? (int32_t)found.owner
                     : -1;
    }
    return PUT_USER((struct klock *)user, l);
}

static int64_t do_lock(struct file *file, int command, uint64_t user)
{
    struct klock l;
    int status = GET_USER(&l, (const struct klock *)user);
    if (status < 0)
        return status;
    if (l.type != F_RDLCK && l.type != F_WRLCK && l.type != F_UNLCK)
        return -EINVAL;
    bool ofd = command == F_OFD_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
    bool get = command == F_GETLK || command == F_OFD_GETLK;
    if (ofd && l.pid)
        return -EINVAL;
    uint32_t mode = file->flags & O_ACCMODE;
    if (!get &&
        ((l.type == F_RDLCK && mode == O_WRONLY) || (l.type == F_WRLCK && mode == O_RDONLY)))
        return -EBADF;
    struct klock range = l;
    if ((status = lock_range(file, &range)) < 0)
        return status;
    if (is_scratch(file)) {
        struct file_lock want = {
            .kind = ofd ? LOCK_DESCRIPTION : LOCK_RECORD,
            .owner = (uint64_t)process_pid(),
            .type = l.type,
            .start = (uint64_t)range.start,
            .last = range.size ? (uint64_t)range.start + (uint64_t)range.size - 1 : INT64_MAX,
        };
        if (get)
            return get_scratch_lock(file, &want, &l, user);
        g_took_records |= !ofd;
        return scratch_lock(file, &want, command == F_SETLKW || command == F_OFD_SETLKW);
    }
    if (get) {
        l.type = F_UNLCK;
        return PUT_USER((struct klock *)user, &l);
    }
    if (file->ops != &g_host_file_ops || ofd)
        return 0;
    bool wait = command == F_SETLKW;
    for (;;) {
        int64_t n = border_call(OCALL_FCNTL_LOCK, 0, (uint64_t)host_handle_of(file), F_SETLK,
                                (uint64_t)(uint16_t)range.type, (uint64_t)range.start,
                                (uint64_t)range.size, 0);
        if (!wait || (n != -EAGAIN && n != -EACCES))
            return n;
        int parked = thread_park(clock_monotonic() + 10000000);
        if (parked == -EINTR)
            return -EINTR;
    }
}

void fd_closed(struct file *file)
{
    /* The host forgets its locks when the handle is closed. */
    if (!g_took_records || !is_scratch(file))
        return;
    if (file->ops == &g_remote_file_ops)
        remote_lock_closed(file);
    else
        locks_closed(file, process_pid());
}

int64_t sys_flock(const struct sysargs *args)
{
    uint64_t operation = args->a[1] & ~4ull;
    FILE_AT(args->a[0]);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    if (operation != 1 && operation != 2 && operation != 8)
        return -EINVAL;
    if (is_scratch(file)) {
        struct file_lock want = {
            .kind = LOCK_FLOCK,
            .type = operation == 1   ? F_RDLCK
                    : operation == 2 ? F_WRLCK
                                     : F_UNLCK,
            .last = INT64_MAX,
        };
        return scratch_lock(file, &want, !(args->a[1] & 4));
    }
    if (file->ops != &g_host_file_ops)
        return 0;
    for (;;) {
        int status = host_flock(file, (uint32_t)operation | 4);
        if (status != -EAGAIN || (args->a[1] & 4))
            return status;
        if (thread_park(clock_monotonic() + 10000000) == -EINTR)
            return -EINTR;
    }
}

/* --- SIGIO ----------------------------------------------------------------------------- */

/* On Linux these signal that they are ready (O_ASYNC), or that urgent data came: sockets, pipes, terminals. */
static bool signals_owner(struct file *file)
{
    struct kstat st;
    if (!file->ops->poll || !file->ops->fstat || file->ops->fstat(file, &st) < 0)
        return file->ops->host_handle != NULL;
    return S_ISSOCK(st.mode) || S_ISFIFO(st.mode) || S_ISCHR(st.mode);
}

/* SIGIO is not there. A program that waited for it would wait for ever: so it is told at once. */
static int64_t refuse_async(void)
{
    static bool said;
    if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        log_note("SIGIO (O_ASYNC, FIOASYNC) is not supported: EINVAL");
    return -EINVAL;
}

/* The owner itself is kept; SIGURG, which Linux sends it without O_ASYNC, does not come. */
static int64_t set_owner(struct file *file, int32_t owner)
{
    static bool said;
    if (owner == INT32_MIN)
        return -EINVAL;
    if (owner && signals_owner(file) && !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
        log_note("SIGIO and SIGURG (F_SETOWN) are not supported: poll for urgent data");
    __atomic_store_n(&file->owner, owner, __ATOMIC_RELAXED);
    return 0;
}

static int64_t get_owner(const struct file *file)
{
    return __atomic_load_n(&file->owner, __ATOMIC_RELAXED);
}

#define F_SETOWN_EX 15
#define F_GETOWN_EX 16

struct kowner {        /* struct f_owner_ex */
    int32_t type, pid; /* F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP */
};

static int64_t owner_ex(struct file *file, bool set, uint64_t arg)
{
    struct kowner *user = (struct kowner *)arg, owner;
    int64_t status, now = get_owner(file);
    if (!set) {
        owner = (struct kowner){ now < 0 ? 2 : 1, (int32_t)(now < 0 ? -now : now) };
        return PUT_USER(user, &owner);
    }
    status = GET_USER(&owner, (const struct kowner *)user);
    if (status < 0)
        return status;
    if (owner.type < 0 || owner.type > 2 || owner.pid < 0)
        return -EINVAL;
    return set_owner(file, owner.type == 2 ? -owner.pid : owner.pid);
}

/* --- flags ----------------------------------------------------------------------------- */

#define SETFL_MASK (uint32_t)(O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | FASYNC)

static int64_t set_flags(struct file *file, uint64_t flags)
{
    if (flags & FASYNC && signals_owner(file))
        return refuse_async();
    if (remote_handle(file) >= 0)
        return remote_set_flags(file, (uint32_t)flags);
    uint32_t new = (file->flags & ~SETFL_MASK) | ((uint32_t)flags & SETFL_MASK);
    if (net_is(file))
        return net_set_flags(file, new);
    int handle = file->ops == &g_host_stream_ops ? host_handle_of(file) : -1;
    if (handle >= 0 && ((new ^ file->flags) & O_NONBLOCK)) {
        int64_t status = border_call2(OCALL_SET_NONBLOCK, 0, (uint64_t)handle, !!(new &O_NONBLOCK));
        if (status < 0)
            return status;
    }
    file->flags = new;
    return 0;
}

int64_t sys_fcntl(const struct sysargs *args)
{
    int fd = (int)args->a[0], command = (int)args->a[1];
    uint64_t arg = args->a[2];
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
        if ((int)arg < 0 || (int)arg >= fd_limit())
            return fd_cloexec(fd) < 0 ? -EBADF : -EINVAL;
        return dup_to(args->a[0], (int)arg, command == F_DUPFD_CLOEXEC);
    }
    FILE_AT(fd);
    if (!file)
        return -EBADF;
    switch (command) {
    case F_GETFD: return fd_cloexec(fd);
    case F_SETFD: return fd_set_cloexec(fd, arg & FD_CLOEXEC);
    case F_GETFL:
        if (remote_handle(file) >= 0 && remote_get_flags(file) < 0)
            return -EIO;
        if (net_is(file))
            (void)net_get_flags(file);
        return file->flags | (file->flags & O_PATH || !file->path ? 0 : 0100000 /* LARGEFILE */);
    default: break;
    }
    if (file->flags & O_PATH)
        return -EBADF;
    switch (command) {
    case F_SETFL: return set_flags(file, arg);
    case F_GETLK:
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_GETLK:
    case F_OFD_SETLK:
    case F_OFD_SETLKW: return do_lock(file, command, arg);
    case F_GETOWN: return get_owner(file);
    case F_SETOWN: return set_owner(file, (int32_t)arg);
    case F_SETOWN_EX:
    case F_GETOWN_EX: return owner_ex(file, command == F_SETOWN_EX, arg);
    case F_SETSIG: return arg > 64 ? -EINVAL : arg && signals_owner(file) ? refuse_async() : 0;
    case F_GETSIG: return 0;
    case F_ADD_SEALS:
        return remote_handle(file) >= 0 ? remote_add_seals(file, (uint32_t)arg)
                                        : tmpfs_add_seals(file, (uint32_t)arg);
    case F_GET_SEALS:
        return remote_handle(file) >= 0 ? remote_get_seals(file) : tmpfs_get_seals(file);
    case F_SETPIPE_SZ:
    case F_GETPIPE_SZ:
        /* Pipes take these as ioctls with the fcntl's number. */
        return file->ops->ioctl ? file->ops->ioctl(file, (uint64_t)command, arg) : -EBADF;
    default: return -EINVAL;
    }
}

/* --- ioctl ----------------------------------------------------------------------------- */

#define TCGETS   0x5401u
#define FIONREAD 0x541bu
#define FIONBIO  0x5421u
#define FIONCLEX 0x5450u
#define FIOCLEX  0x5451u
#define FIOASYNC 0x5452u
#define FIOQSIZE 0x5460u

#define FIOSETOWN 0x8901u
#define SIOCSPGRP 0x8902u
#define FIOGETOWN 0x8903u
#define SIOCGPGRP 0x8904u

/* Bytes left in a file that has a size. */
static int64_t bytes_left(struct file *file, uint64_t arg)
{
    struct kstat st;
    if (!file->ops->lseek || !file->ops->fstat)
        return -ENOTTY;
    int status = file->ops->fstat(file, &st);
    if (status < 0)
        return status;
    if (!S_ISREG(st.mode))
        return -ENOTTY;
    int32_t left = (int32_t)(st.size - file->ops->lseek(file, 0, SEEK_CUR));
    return PUT_USER((int32_t *)arg, &left);
}

static bool is_socket(struct file *file)
{
    struct kstat st;
    return file->ops->fstat && file->ops->fstat(file, &st) == 0 && S_ISSOCK(st.mode);
}

int64_t sys_ioctl(const struct sysargs *args)
{
    uint32_t request = (uint32_t)args->a[1];
    int32_t on;
    FILE_AT(args->a[0]);
    if (!file || (file->flags & O_PATH))
        return -EBADF;
    switch (request) {
    case FIOCLEX: return fd_set_cloexec((int)args->a[0], true);
    case FIONCLEX: return fd_set_cloexec((int)args->a[0], false);
    case FIONBIO: {
        int status = GET_USER(&on, (const int32_t *)args->a[2]);
        if (status < 0)
            return status;
        if (net_is(file))
            (void)net_get_flags(file);
        return set_flags(file, on ? file->flags | O_NONBLOCK : file->flags & ~(uint32_t)O_NONBLOCK);
    }
    case FIOASYNC: {
        if (!signals_owner(file))
            return -ENOTTY;
        int status = GET_USER(&on, (const int32_t *)args->a[2]);
        return status < 0 ? status : on ? refuse_async() : 0;
    }
    default: break;
    }
    if (request >= FIOSETOWN && request <= SIOCGPGRP && is_socket(file)) {
        if (request == FIOGETOWN || request == SIOCGPGRP) {
            on = (int32_t)get_owner(file);
            return PUT_USER((int32_t *)args->a[2], &on);
        }
        int status = GET_USER(&on, (const int32_t *)args->a[2]);
        return status < 0 ? status : set_owner(file, on);
    }
    if (interfaces_request(request) && is_socket(file))
        return interfaces_ioctl(request, args->a[2]);
    int64_t status = file->ops->ioctl ? file->ops->ioctl(file, request, args->a[2]) : -ENOTTY;
    if (status == -ENOTTY && request == FIONREAD)
        return bytes_left(file, args->a[2]);
    return status;
}
