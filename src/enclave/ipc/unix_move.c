/*
 * Pairs of AF_UNIX sockets on their way to the hub (unix_sock.h). Tier: enclave.
 */
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/epoll.h"
#include "ipc/unix_sock.h"
#include "tree/hub.h"
#include "vfs/remote/remote.h"

#define MOVES_DEEP 8u

/* What came, with its borders. */
static int push_packets(const struct sock *sock, const struct remote *to,
                        const struct remote_pair *own)
{
    static const struct stream_rights none;
    for (const struct packet *p = sock->first; p; p = p->next) {
        int64_t n =
            p->size > REMOTE_PUSH_MAX
                ? -EMSGSIZE
                : remote_push_rights(to, p->data, p->size, p->rights ? p->rights : &none, own);
        if (n != p->size)
            return n < 0 ? (int)n : -EIO;
    }
    return 0;
}

static int move_content(struct sock *const socks[static 2], struct remote *const remotes[static 2],
                        const struct remote_pair *own)
{
    int ret = 0;
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        ret = socks[i]->type == UNIX_STREAM ? stream_move(&socks[i]->in, remotes[1 - i], own)
                                            : push_packets(socks[i], remotes[1 - i], own);
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        ret = remote_shut(remotes[i], socks[i]->read_shut, socks[i]->write_shut);
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        ret = remote_become_option(remotes[i], UNIX_SO_SNDBUF, (int32_t)socks[i]->send_size / 2);
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        if (socks[i]->pass_cred)
            ret = remote_become_option(remotes[i], UNIX_SO_PASSCRED, 1);
    return ret;
}

/* Both mutexes are held; files: referenced, NULL where an end is closed. */
static int move_ends(struct sock *const socks[static 2], struct file *const files[static 2])
{
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_ADOPT, .args = { ADOPT_PAIR } };
    for (uint32_t i = 0; i < 2; i++)
        ask.args[1 + i] = files[i] ? files[i]->flags & ANON_NONBLOCK : 0;
    ask.args[3] = socks[0]->type;
    int64_t handle = hub_ask(&ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    struct remote *remotes[2];
    remote_info_of(&ask, handle, &info);
    remotes[0] = remote_new(&info);
    info.handle = (int32_t)ask.out[3];
    remotes[1] = remote_new(&info);
    int ret = remotes[0] && remotes[1] ? 0 : -ENOMEM;
    const struct remote_pair own = { files, remotes };
    if (ret == 0)
        ret = move_content(socks, remotes, &own);
    for (uint32_t i = 0; i < 2; i++) {
        if (ret == 0 && files[i])
            remote_become(files[i], TAKE_PTR(remotes[i]));
        if (remotes[i])
            remote_drop(remotes[i]);
    }
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        __atomic_store_n(&socks[i]->in.moved, true, __ATOMIC_SEQ_CST);
    return ret;
}

/* The n-th file on its way in it that is this process's own still; NULL: none. Referenced. */
static struct file *file_in(struct sock *sock, uint32_t n)
{
    if (sock->type == UNIX_STREAM)
        return stream_rights_file(&sock->in, n);
    struct file *found = NULL;
    mutex_take(&sock->in.mutex);
    for (const struct packet *p = sock->in.moved ? NULL : sock->first; p && !found; p = p->next)
        for (uint32_t i = 0; p->rights && i < p->rights->count && !found; i++)
            if (p->rights->files[i]->ops->travel == TRAVEL_HUB && p->rights->files[i]->ops->move &&
                n-- == 0)
                found = file_ref(p->rights->files[i]);
    mutex_drop(&sock->in.mutex);
    return found;
}

/* What is on its way in a socket moves first, without a lock, but for the two ends themselves; where such a file is a
 * socket, what is in that. A ring of sockets that are in one another has no first one. */
static int move_rights(struct sock *const socks[static 2])
{
    struct thread *self = current();
    int status = 0;
    if (self->moves == MOVES_DEEP) {
        log_note("sockets that are on their way (SCM_RIGHTS) in one another cannot be given to "
                 "another process");
        return -EBUSY;
    }
    self->moves++;
    for (uint32_t i = 0; i < 2; i++) {
        struct file *file;
        for (uint32_t n = 0; status == 0 && (file = file_in(socks[i], n)); n++) {
            const struct sock *sock = unix_is(file) ? unix_sock_of(file) : NULL;
            if (sock != socks[0] && sock != socks[1] && (status = file->ops->move(file)) == 0)
                n = UINT32_MAX; /* it is not found any more: from the start */
            file_unref(file);
        }
    }
    self->moves--;
    return status;
}

/* The other end; of datagrams it may be gone: one that is closed. Referenced. */
static struct sock *other_end(struct sock *sock)
{
    lock_take(&g_unix_lock);
    struct sock *peer = sock->peer ? unix_sock_ref(sock->peer) : NULL;
    lock_drop(&g_unix_lock);
    return peer ? peer : unix_sock_new(sock->type);
}

/* Threads that wait here are woken and go on at the hub. Only pairs are here at all. */
int unix_move(struct file *file)
{
    struct sock *a = unix_sock_of(file), *b = other_end(a);
    if (!b)
        return -ENOMEM;
    struct sock *socks[2] = { a < b ? a : b, a < b ? b : a };
    struct stream_rights *rights[2] = { NULL, NULL };
    struct file *files[2];
    int ret = move_rights(socks);
    if (ret < 0) {
        unix_sock_unref(b);
        return ret;
    }
    for (uint32_t i = 0; i < 2; i++)
        mutex_take(&socks[i]->in.mutex);
    for (uint32_t i = 0; i < 2; i++) {
        LOCKED(&socks[i]->lock);
        files[i] = socks[i]->file ? file_try_ref(socks[i]->file) : NULL;
    }
    ret = a->in.moved ? 0 : move_ends(socks, files);
    for (uint32_t i = 0; i < 2 && ret == 0; i++)
        rights[i] = stream_rights_take(&socks[i]->in);
    for (uint32_t i = 0; i < 2; i++)
        mutex_drop(&socks[i]->in.mutex);
    for (uint32_t i = 0; i < 2; i++) {
        waitq_wake(&socks[i]->queue, UINT32_MAX);
        if (files[i])
            epoll_moved(files[i]);
        file_unref(files[i]);
        stream_rights_drop_all(rights[i]);
        if (ret == 0)
            (void)unix_packet_purge(socks[i]);
    }
    unix_sock_unref(b);
    return ret;
}
