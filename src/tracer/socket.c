/*
 * Calls on sockets: what is bound, connected, listened at and sent to. A socket's type and its own address are
 * asked of a copy of the descriptor: they tell TCP from UDP, and a port that the program named from one that the
 * kernel chose.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "tracer/recorder.h"
#include "util/fs.h"

#define MESSAGES_MAX 1024u /* UIO_MAXIOV: sendmmsg takes no more */

static bool is_net(const void *address, size_t size)
{
    sa_family_t family;
    if (size < sizeof(family))
        return false;
    memcpy(&family, address, sizeof(family));
    return family == AF_INET || family == AF_INET6;
}

/* The port stands at the same place in both (ip(7), ipv6(7)). */
static uint16_t port_of(const void *address, size_t size)
{
    uint16_t port = 0;
    if (size >= sizeof(struct sockaddr_in))
        memcpy(&port, (const char *)address + offsetof(struct sockaddr_in, sin_port), sizeof(port));
    return ntohs(port);
}

static void look(struct task *t, int fd, struct socket_state *ret)
{
    *ret = (struct socket_state){ 0 };
    CLEANUP(close_p) int copy = tracee_take_fd(t->process->tgid, fd);
    int type;
    socklen_t type_size = sizeof(type), size = sizeof(ret->local);
    if (copy < 0 || getsockopt(copy, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0)
        return;
    ret->type = (uint32_t)type;
    if (getsockname(copy, (struct sockaddr *)ret->local, &size) == 0 &&
        size <= sizeof(ret->local) && is_net(ret->local, size))
        ret->size = size;
}

static uint64_t hash_local(uint64_t start, const struct socket_state *s)
{
    return seen_hash(start ^ ((uint64_t)s->type << 32), s->local, s->size);
}

/* A socket of IPv4 or IPv6. own: its address where that says something, else size 0. */
static void put_net(struct recorder *r, struct process *p, uint32_t bits, const void *address,
                    size_t size, const struct socket_state *own)
{
    if (p->index == TRACE_NO_PROCESS ||
        !seen_add(&p->sockets, seen_hash(hash_local(bits, own), address, size)))
        return;
    log_begin(&r->log, LOG_NET);
    log_number(&r->log, p->index);
    log_number(&r->log, bits);
    log_number(&r->log, own->type);
    log_bytes(&r->log, address, size);
    log_bytes(&r->log, own->local, own->size);
    log_end(&r->log);
}

/* The path of a named AF_UNIX address; false: it has none. */
static bool resolve_unix(struct recorder *r, struct task *t, const struct sockaddr_un *address,
                         size_t size)
{
    if (address->sun_family != AF_UNIX || size <= sizeof(sa_family_t) || !address->sun_path[0])
        return false;
    char name[sizeof(address->sun_path) + 1];
    size_t n = strnlen(address->sun_path, size - offsetof(struct sockaddr_un, sun_path));
    memcpy(name, address->sun_path, n);
    name[n] = '\0';
    return handle_resolve(r, t, AT_FDCWD, name, 0, &r->r1);
}

/* ---- bind, connect ---- */

bool socket_entry(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    if (c->call->op == CALL_SOCKETCALL) {
        uint32_t a[3];
        bool is_bind = c->args[0] == 2;
        if (tracee_read(t->tid, c->args[1], a, sizeof(a)) != sizeof(a))
            return false;
        c->flags = is_bind ? TRACE_BOUND : TRACE_CONNECTED;
        c->args[0] = a[0];
        c->args[1] = a[1];
        c->args[2] = a[2];
    } else {
        c->flags = c->call->bits;
    }
    struct sockaddr_un address = { 0 };
    size_t size = (uint32_t)c->args[2];
    if (size > sizeof(struct sockaddr_storage) || size < sizeof(sa_family_t))
        return false;
    if (size > sizeof(address))
        size = sizeof(address);
    if (tracee_read(t->tid, c->args[1], &address, size) != size)
        return false;
    c->path = TRACE_NO_PATH;
    if (is_net(&address, size)) {
        look(t, (int)c->args[0], &c->socket);
        return true;
    }
    if (resolve_unix(r, t, &address, size)) {
        c->path = known_path(r, t->process->tgid, &r->r1);
        c->node = r->r1.node;
        c->existed = r->r1.error == 0;
    }
    return true;
}

/* What makes a program a server to wait for (record.h). A datagram client binds port 0 too, so that alone does
 * not; multiprocessing's managers listen on Unix paths, but not in the first process. */
static void note_bound(struct recorder *r, struct process *p,
                       const struct sockaddr_storage *address, size_t size)
{
    if (is_net(address, size)) {
        p->bound = true;
        r->serves |= port_of(address, size) != 0;
    } else if (address->ss_family == AF_UNIX) {
        p->bound |= p->tgid == r->root_pid;
    }
}

static void net_result(struct recorder *r, struct task *t, const void *address, size_t size,
                       bool done)
{
    struct pending *c = &t->pending;
    struct socket_state own = c->socket;
    if (c->flags == TRACE_BOUND && done)
        look(t, (int)c->args[0], &own);
    else if (c->flags == TRACE_BOUND || own.type != SOCK_DGRAM || !port_of(own.local, own.size))
        own.size = 0; /* only of a datagram socket the address before connect says who it is */
    put_net(r, t->process, (uint32_t)c->flags, address, size, &own);
}

void socket_result(struct recorder *r, struct task *t, int64_t result)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    struct sockaddr_storage address;
    size_t size = (uint32_t)c->args[2];
    if (c->path != TRACE_NO_PATH) {
        uint32_t bits = handle_asked_bits(result < 0 ? (int)-result : 0, (uint32_t)c->flags);
        if (result == 0 && c->flags == TRACE_BOUND)
            bits |= TRACE_CREATED;
        if (!bits)
            bits = TRACE_STAT;
        known_touch(r, p, c->path, bits);
    }
    if (p->index == TRACE_NO_PROCESS || tracee_read(t->tid, c->args[1], &address, size) != size)
        return;
    if (result == 0 && c->flags == TRACE_BOUND)
        note_bound(r, p, &address, size);
    if (is_net(&address, size)) {
        net_result(r, t, &address, size, result == 0);
        return;
    }
    if (!seen_add(&p->sockets, seen_hash(c->flags, &address, size)))
        return;
    log_begin(&r->log, LOG_SOCKET);
    log_number(&r->log, p->index);
    log_number(&r->log, c->flags);
    log_number(&r->log, c->path == TRACE_NO_PATH ? 0 : (uint64_t)c->path + 1);
    log_bytes(&r->log, &address, size);
    log_end(&r->log);
}

/* ---- listen ---- */

bool socket_listen(struct recorder *r, struct task *t)
{
    struct socket_state *s = &t->pending.socket;
    r->serves |= t->process->bound;
    look(t, (int)t->pending.args[0], s);
    return s->size && port_of(s->local, s->size) == 0;
}

void socket_listened(struct recorder *r, struct task *t, int64_t result)
{
    const struct socket_state before = t->pending.socket;
    if (result != 0)
        return;
    r->serves = t->process->bound = true;
    look(t, (int)t->pending.args[0], &t->pending.socket);
    put_net(r, t->process, TRACE_BOUND, before.local, before.size, &t->pending.socket);
}

/* ---- datagrams ---- */

static void sent_to(struct recorder *r, struct task *t, uint64_t at, uint64_t size)
{
    struct sockaddr_storage address = { 0 };
    struct socket_state own;
    if (!at || size < sizeof(sa_family_t) || size > sizeof(address) ||
        tracee_read(t->tid, at, &address, (size_t)size) != size)
        return;
    if (is_net(&address, (size_t)size)) {
        look(t, (int)t->pending.args[0], &own);
        /* TCP connects with its first bytes (MSG_FASTOPEN); raw sockets are no matter of manifests. */
        if (own.type != SOCK_DGRAM && own.type != SOCK_STREAM)
            return;
        if (own.type != SOCK_DGRAM || !port_of(own.local, own.size))
            own.size = 0;
        put_net(r, t->process, TRACE_CONNECTED, &address, (size_t)size, &own);
        return;
    }
    struct sockaddr_un name = { 0 };
    memcpy(&name, &address, size < sizeof(name) ? (size_t)size : sizeof(name));
    if (resolve_unix(r, t, &name, (size_t)size))
        known_touch(r, t->process, known_path(r, t->process->tgid, &r->r1),
                    handle_asked_bits(r->r1.error, TRACE_CONNECTED));
}

void socket_send(struct recorder *r, struct task *t)
{
    const struct pending *c = &t->pending;
    if (!(c->call->flags & CALL_MESSAGE)) {
        sent_to(r, t, c->args[4], (uint32_t)c->args[5]);
        return;
    }
    bool many = c->call->flags & CALL_MESSAGES;
    uint64_t count = many ? (uint32_t)c->args[2] : 1;
    uint64_t step = many ? sizeof(struct mmsghdr) : sizeof(struct msghdr);
    for (uint64_t i = 0; i < count && i < MESSAGES_MAX; i++) {
        struct msghdr m;
        if (tracee_read(t->tid, c->args[1] + i * step, &m, sizeof(m)) != sizeof(m))
            return;
        sent_to(r, t, (uint64_t)(uintptr_t)m.msg_name, m.msg_namelen);
    }
}
