/*
 * Names and connections of AF_UNIX sockets (unix_sock.h). Tier: enclave. Thread-safe.
 */
#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/unix_sock.h"

#define BACKLOG_MIN 128u /* so that nobody waits for connect() in practice */
#define BACKLOG_MAX 4096u
#define AUTO_NAMES  0x100000u /* five digits */

static struct sock *g_bound;

/* --- names -------------------------------------------------------------------------------------- */

/* An abstract name belongs to sockets of one type. */
struct sock *unix_find(const struct unix_name *name, uint32_t type)
{
    struct sock *s = g_bound;
    for (; s; s = s->bound_next) {
        if (name->ino ? s->name.ino == name->ino && s->name.dev == name->dev
                      : !s->name.ino && s->type == type && s->name.size == name->size &&
                            memcmp(s->name.bytes, name->bytes, name->size) == 0)
            break;
    }
    return s;
}

/* With the lock. */
static void bind_to(struct sock *sock, const struct unix_name *name)
{
    sock->name = *name;
    sock->bound_next = g_bound;
    sock->bound = true;
    g_bound = sock;
}

/* unix(7): a NUL and five hexadecimal digits. */
int unix_autobind(struct sock *sock)
{
    static uint32_t next;
    LOCKED(&g_unix_lock);
    if (sock->bound)
        return 0;
    for (uint32_t tries = 0; tries < AUTO_NAMES; tries++) {
        struct unix_name name = { .size = 6 };
        uint32_t number = ++next;
        for (uint32_t i = 5; i > 0; i--, number /= 16)
            name.bytes[i] = "0123456789abcdef"[number % 16];
        if (unix_find(&name, sock->type))
            continue;
        bind_to(sock, &name);
        return 0;
    }
    return -ENOSPC;
}

int unix_bind(struct file *file, const struct unix_name *name)
{
    struct sock *sock = unix_sock_of(file);
    if (!name->size)
        return unix_autobind(sock);
    LOCKED(&g_unix_lock);
    if (sock->bound)
        return -EINVAL;
    /* An inode's number is used once. */
    if (!name->ino && unix_find(name, sock->type))
        return -EADDRINUSE;
    bind_to(sock, name);
    return 0;
}

bool unix_bound(const struct file *file)
{
    LOCKED(&g_unix_lock);
    return unix_sock_of(file)->bound;
}

/* The name is free again; nobody else will be accepted. */
void unix_unbind(struct sock *sock)
{
    lock_take(&g_unix_lock);
    struct sock **at = &g_bound;
    while (sock->bound && *at != sock)
        at = &(*at)->bound_next;
    if (sock->bound)
        *at = sock->bound_next;
    sock->bound = sock->listening = false;
    struct sock *pending = sock->pending;
    sock->pending = NULL;
    lock_drop(&g_unix_lock);
    while (pending) {
        struct sock *next = pending->pending_next;
        unix_sock_end(pending);
        pending = next;
    }
}

int unix_name_of(struct file *file, bool peer, struct unix_name *ret)
{
    struct sock *sock = unix_sock_of(file);
    LOCKED(&g_unix_lock);
    if (peer && !(sock = sock->peer))
        return -ENOTCONN;
    *ret = sock->name;
    return 0;
}

/* --- connections -------------------------------------------------------------------------------- */

int unix_listen(struct file *file, uint32_t backlog, const struct unix_cred *cred)
{
    struct sock *sock = unix_sock_of(file);
    if (sock->type == UNIX_DATAGRAMS)
        return -EOPNOTSUPP;
    LOCKED(&g_unix_lock);
    if (!sock->bound || sock->peer)
        return -EINVAL;
    sock->backlog = backlog < BACKLOG_MIN   ? BACKLOG_MIN
                    : backlog < BACKLOG_MAX ? backlog
                                            : BACKLOG_MAX;
    sock->cred = *cred;
    __atomic_store_n(&sock->listening, true, __ATOMIC_SEQ_CST);
    return 0;
}

/* Locked. fresh: the other end, whose reference the list takes over. */
static int enqueue(struct sock *sock, struct sock *listener, struct sock *fresh,
                   const struct unix_cred *cred)
{
    if (sock->listening)
        return -EINVAL;
    if (sock->peer)
        return -EISCONN;
    if (listener && listener->type != sock->type)
        return -EPROTOTYPE;
    if (!listener || !listener->listening)
        return -ECONNREFUSED;
    if (listener->pending_count >= listener->backlog)
        return -EAGAIN;
    fresh->name = listener->name;
    fresh->pass_cred = listener->pass_cred;
    fresh->peer_cred = *cred;
    sock->peer_cred = listener->cred;
    unix_sock_join(sock, fresh);
    struct sock **last = &listener->pending;
    while (*last)
        last = &(*last)->pending_next;
    __atomic_store_n(last, fresh, __ATOMIC_SEQ_CST);
    listener->pending_count++;
    return 0;
}

/* As unix_dgram_disconnected(): what came from elsewhere is gone, and a peer that was ours too learns of it. */
static void leave_peer(struct sock *sock, struct sock *old)
{
    if (unix_packet_purge(sock) && unix_peer(old) == sock) {
        __atomic_store_n(&old->error, ECONNRESET, __ATOMIC_SEQ_CST);
        waitq_wake(&old->queue, UINT32_MAX);
    }
    unix_sock_unref(old);
}

static int set_peer(struct sock *sock, const struct unix_name *to)
{
    struct sock *other = NULL;
    int status = to && sock->pass_cred ? unix_autobind(sock) : 0;
    if (status == 0 && to)
        status = unix_packet_target(sock, to, &other);
    if (status < 0)
        return status;
    lock_take(&g_unix_lock);
    struct sock *old = sock->peer;
    __atomic_store_n(&sock->peer, other, __ATOMIC_RELEASE);
    lock_drop(&g_unix_lock);
    if (old && old != other)
        leave_peer(sock, old);
    else
        unix_sock_unref(old);
    waitq_wake(&sock->queue, UINT32_MAX);
    return 0;
}

int unix_connect(struct file *file, const struct unix_name *to, const struct unix_cred *cred)
{
    struct sock *sock = unix_sock_of(file);
    if (sock->type == UNIX_DATAGRAMS)
        return set_peer(sock, to);
    if (!to)
        return -EINVAL;
    struct sock *fresh = unix_sock_new(sock->type);
    if (!fresh)
        return -ENOMEM;
    lock_take(&g_unix_lock);
    struct sock *listener = unix_find(to, sock->type);
    int status = enqueue(sock, listener, fresh, cred);
    if (status == 0)
        (void)unix_sock_ref(listener);
    lock_drop(&g_unix_lock);
    if (status < 0) {
        unix_sock_unref(fresh);
        return status;
    }
    waitq_wake(&listener->queue, UINT32_MAX);
    waitq_wake(&sock->queue, UINT32_MAX);
    unix_sock_unref(listener);
    return 0;
}

static bool acceptable(void *object)
{
    const struct sock *sock = object;
    return __atomic_load_n(&sock->pending, __ATOMIC_SEQ_CST) ||
           !__atomic_load_n(&sock->listening, __ATOMIC_SEQ_CST);
}

int unix_accept(struct file *file, bool nonblock, uint32_t flags, struct file **ret)
{
    struct sock *sock = unix_sock_of(file);
    if (sock->type == UNIX_DATAGRAMS)
        return -EOPNOTSUPP;
    for (;;) {
        lock_take(&g_unix_lock);
        bool listening = sock->listening;
        struct sock *got = sock->pending;
        if (got) {
            __atomic_store_n(&sock->pending, got->pending_next, __ATOMIC_SEQ_CST);
            got->pending_next = NULL;
            sock->pending_count--;
        }
        lock_drop(&g_unix_lock);
        if (got) {
            int status = unix_sock_file(got, flags, ret);
            if (status < 0)
                unix_sock_end(got);
            return status;
        }
        if (!listening)
            return -EINVAL;
        if (nonblock)
            return -EAGAIN;
        int status = anon_wait(&sock->queue, acceptable, sock);
        if (status < 0)
            return status;
    }
}
