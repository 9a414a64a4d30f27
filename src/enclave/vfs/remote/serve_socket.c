/*
 * Sockets that the hub holds (remote.h). Tier: enclave. The hub's thread.
 */
#include "arch/string.h"
#include "border/border.h"
#include "ipc/pipe.h"
#include "ipc/unix.h"
#include "vfs/linux.h"
#include "vfs/remote/carry.h"
#include "vfs/remote/serve.h"

/* The name in the request's data; ret_path: what follows, in buf. */
static int get_name(struct hub_job *job, struct unix_name *ret, char buf[static PATH_BUF],
                    uint32_t *ret_size)
{
    if (job->request.size < sizeof(*ret) || job->request.size - sizeof(*ret) >= PATH_BUF)
        return -EINVAL;
    memcpy(ret, job->data, sizeof(*ret));
    ret->dev = ret->ino = 0;
    if (ret->size > sizeof(ret->bytes))
        return -EINVAL;
    *ret_size = job->request.size - (uint32_t)sizeof(*ret);
    memcpy(buf, job->data + sizeof(*ret), *ret_size);
    buf[*ret_size] = '\0';
    /* Without a path it must be an abstract one. */
    return *ret_size || (ret->size && ret->bytes[0] == '\0') ? 0 : -EINVAL;
}

/* The inode that a name's path leads to. */
static int find_inode(struct hub_job *job, const char *path, uint32_t size, struct unix_name *name)
{
    struct place place;
    struct kstat st;
    int status = serve_find(job, path, size, &place);
    if (status == 0 && place.mode == 0)
        status = -ENOENT;
    if (status == 0)
        status = place_stat(&place, &st);
    place_done(&place);
    if (status == 0 && !S_ISSOCK(st.mode))
        status = -ECONNREFUSED;
    if (status == 0) {
        name->dev = st.dev;
        name->ino = st.ino;
    }
    return status;
}

static int make(struct hub_job *job, const char *path, uint32_t size, uint32_t mode)
{
    struct place place;
    int status = serve_find(job, path, size, &place);
    if (status == 0)
        status = place.mode                ? -EADDRINUSE
                 : place.fs != &g_tmpfs_fs ? -EROFS
                                           : place.fs->mknod(&place, S_IFSOCK | (mode & 0777));
    place_done(&place);
    return status;
}

static int64_t serve_bind(struct hub_job *job, struct file *file)
{
    struct unix_name name;
    char path[PATH_BUF];
    uint32_t size;
    int status = get_name(job, &name, path, &size);
    if (status == 0 && size)
        status = make(job, path, size, (uint32_t)job->request.args[2]);
    if (status == 0 && size)
        status = find_inode(job, path, size, &name);
    return status < 0 ? status : unix_bind(file, &name);
}

static int64_t serve_connect(struct hub_job *job, struct file *file)
{
    struct unix_name name;
    char path[PATH_BUF];
    uint32_t size;
    int status = get_name(job, &name, path, &size);
    if (status == 0 && size)
        status = find_inode(job, path, size, &name);
    return status < 0 ? status : unix_connect(file, &name);
}

static bool nonblock(const struct file *file, uint64_t flags)
{
    return (file->flags & O_NONBLOCK) || (flags & REMOTE_NONBLOCK);
}

static int64_t serve_accept(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    struct file *fresh;
    int status;
    do {
        status = unix_accept(file, true, (uint32_t)args[2] & O_NONBLOCK, &fresh);
    } while (status == -EAGAIN && !nonblock(file, args[3]) && serve_enqueue(job, file));
    if (status == -EAGAIN && !nonblock(file, args[3]))
        return HUB_LATER;
    return status < 0 ? status : serve_reply(job, fresh);
}

static int get_rights(struct hub_job *job, uint32_t count, struct stream_rights **ret)
{
    struct stream_rights *rights = stream_rights_new(count);
    if (!rights)
        return -ENOMEM;
    for (; rights->count < count; rights->count++) {
        uint32_t handle;
        memcpy(&handle, job->data + rights->count * sizeof(handle), sizeof(handle));
        struct file *file = serve_file(job->peer, handle);
        if (!file) {
            stream_rights_drop(rights);
            return -EBADF;
        }
        rights->files[rights->count] = file;
    }
    *ret = rights;
    return 0;
}

/* job->progress: bytes sent; the descriptors went with the first. */
static int64_t serve_send(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    uint64_t head = args[2] * sizeof(uint32_t);
    if (args[2] > UNIX_RIGHTS_MAX || head > job->request.size)
        return -EINVAL;
    uint64_t size = job->request.size - head;
    for (;;) {
        struct stream_rights *rights = NULL;
        if (args[2] && !job->progress) {
            int status = get_rights(job, (uint32_t)args[2], &rights);
            if (status < 0)
                return status;
        }
        int64_t n = unix_send(file, job->data + head + job->progress, size - job->progress, true,
                              &rights);
        stream_rights_drop(rights);
        if (n > 0)
            job->progress += (uint64_t)n;
        if (job->progress == size)
            return (int64_t)size;
        if (nonblock(file, args[3]) || (n < 0 && n != -EAGAIN) || n == 0)
            return job->progress ? (int64_t)job->progress : n;
        if (n == -EAGAIN && !serve_enqueue(job, file))
            return HUB_LATER;
    }
}

/* The files become handles; those for which there is no room are closed. How many. */
static uint32_t put_rights(struct hub_job *job, struct stream_rights *rights, uint64_t most)
{
    uint32_t done = 0;
    for (; rights && done < rights->count && done < most; done++) {
        struct file *file = rights->files[done];
        struct remote_info info;
        if (file->ops->host_handle && !carry_on_host(file)) {
            log_note("sending a descriptor of kind '%s' (SCM_RIGHTS) to another process is not supported",
                     file->ops->name);
            break;
        }
        if (!carry_on_host(file)) /* whose reads would stop the hub */
            file_ref(file);
        else if (carry_hold(file, &file) < 0)
            break;
        int32_t handle = serve_add(job->peer, file);
        if (handle < 0) {
            file_unref(file);
            break;
        }
        serve_info(file, &info);
        info.handle = handle;
        memcpy(job->reply_data + done * sizeof(info), &info, sizeof(info));
    }
    stream_rights_drop(rights);
    return done;
}

static int64_t serve_receive(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    uint64_t most = args[4] < UNIX_RIGHTS_MAX ? args[4] : UNIX_RIGHTS_MAX;
    uint64_t head = most * sizeof(struct remote_info);
    uint64_t size = args[2] < HUB_DATA_MAX - head ? args[2] : HUB_DATA_MAX - head;
    struct stream_rights *rights = NULL;
    int64_t n;
    do {
        n = unix_receive(file, job->reply_data + head, size, true, args[3] & REMOTE_PEEK, &rights);
    } while (n == -EAGAIN && !nonblock(file, args[3]) && serve_enqueue(job, file));
    if (n == -EAGAIN && !nonblock(file, args[3]))
        return HUB_LATER;
    if (n <= 0)
        return n;
    uint32_t count = put_rights(job, rights, most);
    memmove(job->reply_data + count * sizeof(struct remote_info), job->reply_data + head, (size_t)n);
    job->reply.out[0] = count;
    job->reply.size = count * (uint32_t)sizeof(struct remote_info) + (uint32_t)n;
    return n;
}

static int64_t serve_name(struct hub_job *job, struct file *file)
{
    struct unix_name name;
    int status = unix_name_of(file, job->request.args[2] != 0, &name);
    if (status < 0)
        return status;
    memcpy(job->reply_data, &name, sizeof(name));
    job->reply.size = sizeof(name);
    return 0;
}

static int64_t on_socket(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    switch (args[1]) {
    case SOCKET_SHUTDOWN:
        return args[2] > UNIX_SHUT_BOTH ? -EINVAL : unix_shutdown(file, (enum unix_shut)args[2]);
    case SOCKET_BIND: return serve_bind(job, file);
    case SOCKET_LISTEN: return unix_listen(file, (uint32_t)args[2]);
    case SOCKET_CONNECT: return serve_connect(job, file);
    case SOCKET_ACCEPT: return serve_accept(job, file);
    case SOCKET_NAME: return serve_name(job, file);
    case SOCKET_LISTENS: return unix_listens(file);
    case SOCKET_SEND: return serve_send(job, file);
    case SOCKET_RECEIVE: return serve_receive(job, file);
    default: return -EINVAL;
    }
}

int64_t serve_socket(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    struct file *file;
    if (args[1] == SOCKET_NEW) {
        if (!unix_type_ok(args[3]))
            return -EINVAL;
        int status = unix_new((uint32_t)args[3], (uint32_t)args[2] & O_NONBLOCK, &file);
        return status < 0 ? status : serve_reply(job, file);
    }
    file = serve_file(job->peer, args[0]);
    if (!file)
        return -EBADF;
    int64_t ret = unix_is(file) ? on_socket(job, file) : -ENOTSOCK;
    file_unref(file);
    return ret;
}
