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

/* The name in size bytes of the request's data; ret_path: what follows, in buf. */
static int get_name_in(const struct hub_job *job, uint64_t size, struct unix_name *ret,
                       char buf[static PATH_BUF], uint32_t *ret_size)
{
    if (size > job->request.size || size < sizeof(*ret) || size - sizeof(*ret) >= PATH_BUF)
        return -EINVAL;
    memcpy(ret, job->data, sizeof(*ret));
    ret->dev = ret->ino = 0;
    if (ret->size > sizeof(ret->bytes))
        return -EINVAL;
    *ret_size = (uint32_t)(size - sizeof(*ret));
    memcpy(buf, job->data + sizeof(*ret), *ret_size);
    buf[*ret_size] = '\0';
    /* Without a path it must be an abstract one, or none. */
    return *ret_size ? (ret->size ? 0 : -EINVAL) : ret->size && ret->bytes[0] ? -EINVAL : 0;
}

static int get_name(const struct hub_job *job, struct unix_name *ret, char buf[static PATH_BUF],
                    uint32_t *ret_size)
{
    return get_name_in(job, job->request.size, ret, buf, ret_size);
}

/* Who asks, as others see it. */
static struct unix_cred cred_of(const struct hub_job *job)
{
    struct unix_cred cred = unix_cred_here(); /* one identity in the tree */
    cred.pid = hub_job_self(job);
    return cred;
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
    if (status == 0 && name.size && unix_bound(file))
        status = -EINVAL;
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
    const struct unix_cred cred = cred_of(job);
    return status < 0 ? status : unix_connect(file, name.size ? &name : NULL, &cred);
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

static int get_rights(struct hub_job *job, uint64_t at, uint32_t count, struct stream_rights **ret)
{
    struct stream_rights *rights = stream_rights_new(count);
    if (!rights)
        return -ENOMEM;
    for (; rights->count < count; rights->count++) {
        uint32_t handle;
        memcpy(&handle, job->data + at + rights->count * sizeof(handle), sizeof(handle));
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

/* The name in front of what is sent; *ret_size: its bytes. */
static int get_target(struct hub_job *job, struct unix_name *ret, uint64_t *ret_size)
{
    const uint64_t *args = job->request.args;
    char path[PATH_BUF];
    uint32_t size;
    ret->size = 0;
    *ret_size = 0;
    if (!args[4])
        return 0;
    if (args[4] > PATH_BUF)
        return -EINVAL;
    *ret_size = sizeof(*ret) + args[4] - 1;
    int status = get_name_in(job, *ret_size, ret, path, &size);
    return status == 0 && size ? find_inode(job, path, size, ret) : status;
}

/* One try. */
static int64_t send_once(struct hub_job *job, struct file *file, uint64_t from, uint64_t size)
{
    const uint64_t *args = job->request.args;
    uint64_t count = job->progress ? 0 : args[2]; /* the descriptors go with the first byte */
    struct unix_message message = { .cred = cred_of(job) };
    uint64_t head;
    int status = get_target(job, &message.name, &head);
    if (status == 0 && count)
        status = get_rights(job, head, (uint32_t)count, &message.rights);
    if (status < 0)
        return status;
    int64_t n =
        unix_send(file, job->data + from + job->progress, size - job->progress, true, &message);
    stream_rights_drop(message.rights);
    return n;
}

/* job->progress: bytes sent. */
static int64_t serve_send(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    uint64_t head =
        (args[4] ? sizeof(struct unix_name) + args[4] - 1 : 0) + args[2] * sizeof(uint32_t);
    if (args[2] > UNIX_RIGHTS_MAX || args[4] > PATH_BUF || head > job->request.size)
        return -EINVAL;
    uint64_t size = job->request.size - head;
    for (;;) {
        int64_t n = send_once(job, file, head, size);
        if (n > 0)
            job->progress += (uint64_t)n;
        if (n >= 0 && job->progress == size)
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
        /* What is the root's own alone: its signals, what only it watches. */
        bool stays = file->ops->travel == TRAVEL_ANEW || file->ops->host_handle != NULL;
        if (stays && !carry_on_host(file)) {
            log_note("sending a descriptor of kind '%s' (SCM_RIGHTS) to another process is not "
                     "supported",
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
        memcpy(job->reply_data + sizeof(struct remote_packet) + done * sizeof(info), &info,
               sizeof(info));
    }
    stream_rights_drop(rights);
    return done;
}

static int64_t serve_receive(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    uint64_t most = args[4] < UNIX_RIGHTS_MAX ? args[4] : UNIX_RIGHTS_MAX;
    uint64_t head = sizeof(struct remote_packet) + UNIX_RIGHTS_MAX * sizeof(struct remote_info);
    uint64_t size = args[2] < HUB_DATA_MAX - head ? args[2] : HUB_DATA_MAX - head;
    uint32_t flags = UNIX_NONBLOCK | (args[3] & REMOTE_PEEK ? UNIX_PEEK : 0);
    struct unix_message message = { .whole = UINT32_MAX };
    int64_t n;
    do {
        if (size < args[2] && unix_next_size(file) > size) {
            log_note("a packet of %u bytes cannot be received by process %d: more than %lu are not "
                     "supported",
                     unix_next_size(file), peer_pid(job->peer), size);
            return -EMSGSIZE;
        }
        n = unix_receive(file, job->reply_data + head, size, flags, &message);
    } while (n == -EAGAIN && !nonblock(file, args[3]) && serve_enqueue(job, file));
    if (n == -EAGAIN && !nonblock(file, args[3]))
        return HUB_LATER;
    /* The end, unless it is an empty packet. */
    if (n < 0 || (n == 0 && message.whole == UINT32_MAX))
        return n;
    struct remote_packet packet = { .from = message.name,
                                    .cred = message.cred,
                                    .has_cred = message.has_cred,
                                    .whole = message.whole };
    uint32_t count = put_rights(job, message.rights, most);
    uint8_t *to = job->reply_data;
    memcpy(to, &packet, sizeof(packet));
    to += sizeof(packet) + count * sizeof(struct remote_info);
    memmove(to, job->reply_data + head, (size_t)n);
    job->reply.out[0] = count;
    job->reply.size = (uint32_t)(to - job->reply_data) + (uint32_t)n;
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

static int64_t serve_get_option(struct hub_job *job, struct file *file)
{
    int32_t words[3];
    int count = unix_get_option(file, (int)job->request.args[2], words);
    if (count < 0)
        return count;
    job->reply.size = (uint32_t)count * (uint32_t)sizeof(words[0]);
    memcpy(job->reply_data, words, job->reply.size);
    return count;
}

static int64_t serve_listen(struct hub_job *job, struct file *file)
{
    const struct unix_cred cred = cred_of(job);
    return unix_listen(file, (uint32_t)job->request.args[2], &cred);
}

static int64_t on_socket(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    switch (args[1]) {
    case SOCKET_SHUTDOWN:
        return args[2] > UNIX_SHUT_BOTH ? -EINVAL : unix_shutdown(file, (enum unix_shut)args[2]);
    case SOCKET_BIND: return serve_bind(job, file);
    case SOCKET_LISTEN: return serve_listen(job, file);
    case SOCKET_CONNECT: return serve_connect(job, file);
    case SOCKET_ACCEPT: return serve_accept(job, file);
    case SOCKET_NAME: return serve_name(job, file);
    case SOCKET_SEND: return serve_send(job, file);
    case SOCKET_RECEIVE: return serve_receive(job, file);
    case SOCKET_GET_OPTION: return serve_get_option(job, file);
    case SOCKET_SET_OPTION: return unix_set_option(file, (int)args[2], (int32_t)args[3]);
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
