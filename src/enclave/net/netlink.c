#include "net/netlink.h"

#include <asm/errno.h>
#include <linux/eventpoll.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "net/interfaces.h"
#include "process/process.h"
#include "vfs/kstat.h"
#include "vfs/linux.h"

#define REQUEST_MAX 32768u /* bytes of a send */
#define DATAGRAM_MAX \
    3584u /* an answer's parts: what callers with a buffer of a page have room for */
#define QUEUED_MAX (2u << 20)

/* A datagram that waits to be received. */
struct answer {
    struct answer *next;
    uint32_t size;
    uint8_t bytes[];
};

struct netlink {
    struct net_socket socket; /* first: net_of() */
    uint32_t port;            /* nl_pid; 0: not bound */
    struct lock lock;         /* of what follows */
    struct answer *first, *last;
    uint64_t queued; /* bytes; atomic for readers without the lock */
    struct waitq queue;
};

struct kaddress { /* struct sockaddr_nl */
    uint16_t family, pad;
    uint32_t port, groups;
};
static_assert(sizeof(struct kaddress) == 12, "sockaddr_nl");

static const struct file_ops g_netlink_ops;

bool netlink_is(const struct file *file)
{
    return file->ops == &g_netlink_ops;
}

static struct netlink *netlink_of(const struct file *file)
{
    return file->object;
}

int netlink_new(uint32_t type, uint32_t protocol, uint32_t flags, struct file **ret)
{
    if (type != NET_RAW && type != NET_DATAGRAMS)
        return -ESOCKTNOSUPPORT;
    if (protocol != NETLINK_ROUTE) {
        log_note("netlink sockets of protocol %u are not supported", protocol);
        return -EPROTONOSUPPORT;
    }
    struct netlink *n = heap_alloc(sizeof(*n));
    struct file *file = n ? file_new(&g_netlink_ops, O_RDWR | (flags & O_NONBLOCK), n) : NULL;
    if (!file) {
        heap_free(n);
        return -ENOMEM;
    }
    n->socket = (struct net_socket){
        .handle = -1, .family = AF_NETLINK_FAMILY, .type = (uint8_t)type, .ino = anon_ino()
    };
    *ret = file;
    return 0;
}

bool netlink_describe(const struct file *file, struct anew *ret)
{
    if (!netlink_is(file))
        return false;
    ret->kind = ANEW_NETLINK;
    ret->clock = netlink_of(file)->socket.type;
    ret->set = __atomic_load_n(&netlink_of(file)->port, __ATOMIC_RELAXED);
    return true;
}

int netlink_anew(const struct anew *like, uint32_t flags, struct file **ret)
{
    int status = netlink_new((uint32_t)like->clock, NETLINK_ROUTE, flags, ret);
    if (status == 0)
        netlink_of(*ret)->port = (uint32_t)like->set;
    return status;
}

/* --- names ---------------------------------------------------------------------------------------- */

/* The kernel gives the first socket of a process its pid, and others numbers that no pid is. */
static void take_port(struct netlink *n, uint32_t wanted)
{
    static uint32_t given;
    uint32_t none = 0;
    if (!wanted) {
        uint32_t before = __atomic_fetch_add(&given, 1, __ATOMIC_RELAXED);
        wanted = before ? 0u - 4096u - before % 0x40000000u : (uint32_t)process_pid();
    }
    __atomic_compare_exchange_n(&n->port, &none, wanted, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static int get_address(uint64_t user, uint64_t size, struct kaddress *ret)
{
    if (size < sizeof(*ret))
        return -EINVAL;
    int status = GET_USER(ret, (const struct kaddress *)(uintptr_t)user);
    if (status < 0)
        return status;
    return ret->family == AF_NETLINK_FAMILY ? 0 : -EINVAL;
}

int netlink_bind(struct file *file, uint64_t user, uint64_t size)
{
    static bool said;
    struct netlink *n = netlink_of(file);
    struct kaddress address;
    int status = get_address(user, size, &address);
    if (status < 0)
        return status;
    if (address.groups) {
        if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
            log_note("netlink groups (0x%x), which tell of changes, are not supported",
                     address.groups);
        return -EPERM;
    }
    uint32_t port = __atomic_load_n(&n->port, __ATOMIC_RELAXED);
    if (port && address.port != port)
        return -EINVAL;
    take_port(n, address.port);
    return 0;
}

int netlink_destination(uint64_t user, uint64_t size, struct net_address *ret)
{
    struct kaddress address;
    int status = get_address(user, size, &address);
    if (status < 0)
        return status;
    ret->size = 0;
    return address.port || address.groups ? -EPERM
                                          : 0; /* as Linux answers who has no CAP_NET_ADMIN */
}

int netlink_connect(struct file *file, uint64_t user, uint64_t size)
{
    struct net_address none;
    int status = netlink_destination(user, size, &none);
    if (status == 0)
        take_port(netlink_of(file), 0);
    return status;
}

void netlink_name(const struct file *file, bool peer, struct net_address *ret)
{
    struct kaddress address = { .family = AF_NETLINK_FAMILY };
    if (!peer && file)
        address.port = __atomic_load_n(&netlink_of(file)->port, __ATOMIC_RELAXED);
    *ret = (struct net_address){ .size = sizeof(address) };
    memcpy(ret->bytes, &address, sizeof(address));
}

/* --- the answers ---------------------------------------------------------------------------------- */

/* Messages in the making: a chain of datagrams, which goes to the socket when it is whole. */
struct reply {
    const struct nlmsghdr *to;
    uint32_t port, flags; /* of each message */
    struct answer *first, *last;
    uint64_t queued;
    bool failed;           /* no memory */
    struct nlmsghdr *head; /* the message in the making; in last */
};

/* size bytes behind what the message has, aligned and zeroed; NULL: no memory (failed). The message has room. */
static void *reply_room(struct reply *r, uint32_t size)
{
    if (r->failed)
        return NULL;
    void *ret = r->last->bytes + r->last->size;
    r->last->size += NLMSG_ALIGN(size);
    r->head->nlmsg_len = (uint32_t)(r->last->bytes + r->last->size - (uint8_t *)r->head);
    return ret;
}

/* A message of at most most bytes in all begins; where its body is to be. */
static void *reply_begin(struct reply *r, uint16_t type, uint32_t most, uint32_t body)
{
    if (r->failed)
        return NULL;
    if (!r->last || r->last->size + most > DATAGRAM_MAX) {
        struct answer *next =
            heap_alloc(sizeof(*next) + (most > DATAGRAM_MAX ? most : DATAGRAM_MAX));
        if (!next) {
            r->failed = true;
            return NULL;
        }
        *(r->last ? &r->last->next : &r->first) = next;
        r->last = next;
    }
    r->head = (struct nlmsghdr *)(r->last->bytes + r->last->size);
    reply_room(r, sizeof(*r->head));
    *r->head = (struct nlmsghdr){ .nlmsg_len = sizeof(*r->head),
                                  .nlmsg_type = type,
                                  .nlmsg_flags = (uint16_t)r->flags,
                                  .nlmsg_seq = r->to->nlmsg_seq,
                                  .nlmsg_pid = r->port };
    return reply_room(r, body);
}

static void reply_attribute(struct reply *r, uint16_t type, const void *value, uint32_t size)
{
    struct rtattr *a = reply_room(r, (uint32_t)RTA_LENGTH(size));
    if (!a)
        return;
    a->rta_type = type;
    a->rta_len = (uint16_t)RTA_LENGTH(size);
    memcpy(RTA_DATA(a), value, size);
}

static void reply_text(struct reply *r, uint16_t type, const char name[static OCALL_NET_NAME_SIZE])
{
    reply_attribute(r, type, name, (uint32_t)strnlen(name, OCALL_NET_NAME_SIZE - 1) + 1);
}

#define MESSAGE_MOST 256u /* more than one link or address takes */

static void reply_link(struct reply *r, const struct ocall_net_link *link)
{
    struct ifinfomsg *info = reply_begin(r, RTM_NEWLINK, MESSAGE_MOST, sizeof(*info));
    if (!info)
        return;
    *info = (struct ifinfomsg){ .ifi_type = link->type,
                                .ifi_index = (int32_t)link->index,
                                .ifi_flags = link->flags };
    reply_text(r, IFLA_IFNAME, link->name);
    reply_attribute(r, IFLA_TXQLEN, &link->queue, sizeof(link->queue));
    reply_attribute(r, IFLA_OPERSTATE, &link->state, sizeof(link->state));
    reply_attribute(r, IFLA_MTU, &link->mtu, sizeof(link->mtu));
    if (link->address_size) {
        reply_attribute(r, IFLA_ADDRESS, link->address, link->address_size);
        reply_attribute(r, IFLA_BROADCAST, link->broadcast, link->address_size);
    }
}

static void reply_address(struct reply *r, const struct ocall_net_ifaddr *a)
{
    const struct ifa_cacheinfo times = { .ifa_prefered = a->preferred, .ifa_valid = a->valid };
    uint32_t size = a->family == AF_INET_FAMILY ? 4 : 16;
    struct ifaddrmsg *info = reply_begin(r, RTM_NEWADDR, MESSAGE_MOST, sizeof(*info));
    if (!info)
        return;
    *info = (struct ifaddrmsg){ .ifa_family = a->family,
                                .ifa_prefixlen = a->prefix,
                                .ifa_flags = (uint8_t)a->flags,
                                .ifa_scope = a->scope,
                                .ifa_index = a->index };
    reply_attribute(r, IFA_ADDRESS, a->address, size);
    if (a->has & OCALL_NET_LOCAL)
        reply_attribute(r, IFA_LOCAL, a->local, size);
    if (a->has & OCALL_NET_BROADCAST)
        reply_attribute(r, IFA_BROADCAST, a->broadcast, size);
    if (a->has & OCALL_NET_LABEL)
        reply_text(r, IFA_LABEL, a->label);
    reply_attribute(r, IFA_FLAGS, &a->flags, sizeof(a->flags));
    reply_attribute(r, IFA_CACHEINFO, &times, sizeof(times));
}

/* error 0: done as asked (NLM_F_ACK). */
static void reply_error(struct reply *r, int error)
{
    r->flags = 0;
    struct nlmsgerr *body = reply_begin(r, NLMSG_ERROR, MESSAGE_MOST, sizeof(*body));
    if (body)
        *body = (struct nlmsgerr){ .error = error, .msg = *r->to };
}

/* --- the requests --------------------------------------------------------------------------------- */

/* IFLA_IFNAME of a request of size bytes behind its body; false: it has none. */
static bool wanted_name(const uint8_t *at, uint32_t size, char ret[static OCALL_NET_NAME_SIZE])
{
    struct rtattr a;
    while (size >= sizeof(a)) {
        memcpy(&a, at, sizeof(a));
        if (a.rta_len < sizeof(a) || a.rta_len > size)
            return false;
        if (a.rta_type == IFLA_IFNAME) {
            uint32_t n = a.rta_len - (uint32_t)sizeof(a);
            memset(ret, 0, OCALL_NET_NAME_SIZE);
            memcpy(ret, at + sizeof(a), n < OCALL_NET_NAME_SIZE - 1 ? n : OCALL_NET_NAME_SIZE - 1);
            return true;
        }
        uint32_t step = RTA_ALIGN((uint32_t)a.rta_len);
        if (step >= size)
            return false;
        at += step;
        size -= step;
    }
    return false;
}

static int one_link(const struct interfaces *list, const uint8_t *body, uint32_t size,
                    struct reply *r)
{
    struct ifinfomsg info;
    char name[OCALL_NET_NAME_SIZE];
    const struct ocall_net_link *link = NULL;
    if (size < sizeof(info))
        return -EINVAL;
    memcpy(&info, body, sizeof(info));
    if (info.ifi_index > 0)
        link = interfaces_by_index(list, (uint32_t)info.ifi_index);
    else if (wanted_name(body + sizeof(info), size - (uint32_t)sizeof(info), name))
        link = interfaces_by_name(list, name);
    else
        return -EINVAL;
    if (!link)
        return -ENODEV;
    reply_link(r, link);
    return 0;
}

static void dump(const struct interfaces *list, uint16_t type, uint8_t family, struct reply *r)
{
    r->flags = NLM_F_MULTI;
    for (uint32_t i = 0; type == RTM_GETLINK && i < list->link_count; i++)
        reply_link(r, &list->links[i]);
    /* Those of IPv4 first, as the kernel does. */
    for (int round = 0; type == RTM_GETADDR && round < 2; round++) {
        uint8_t which = round ? AF_INET6_FAMILY : AF_INET_FAMILY;
        bool other = family == (round ? AF_INET_FAMILY : AF_INET6_FAMILY);
        for (uint32_t i = 0; !other && i < list->address_count; i++)
            if (list->addresses[i].family == which)
                reply_address(r, &list->addresses[i]);
    }
    int32_t *status = reply_begin(r, NLMSG_DONE, MESSAGE_MOST, sizeof(*status));
    if (status)
        *status = 0;
}

/* What the message asks: 0, or the error for its sender. A dump has said so itself (*ret_told). */
static int serve(const uint8_t *body, uint32_t size, struct reply *r, bool *ret_told)
{
    static bool said;
    uint16_t type = r->to->nlmsg_type;
    bool all = r->to->nlmsg_flags & NLM_F_DUMP;
    struct interfaces list;
    if (type < RTM_BASE || type > RTM_MAX)
        return -EOPNOTSUPP;
    if ((type & 3) != 2) /* not RTM_GET...: changes something */
        return -EPERM;
    if (size < 1)
        return -EINVAL;
    if ((type != RTM_GETLINK && type != RTM_GETADDR) || (type == RTM_GETADDR && !all)) {
        if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
            log_note("netlink request %u is not supported", type);
        return -EOPNOTSUPP;
    }
    int status = interfaces_get(&list);
    if (status < 0)
        return status;
    if (all)
        dump(&list, type, body[0], r);
    else
        status = one_link(&list, body, size, r);
    *ret_told = all;
    interfaces_done(&list);
    return status;
}

/* Gives the socket what was made; -ENOBUFS: there is no room, and nothing was. */
static int deliver(struct netlink *n, struct reply *r)
{
    uint64_t size = 0;
    for (struct answer *a = r->first; a; a = a->next)
        size += sizeof(*a) + a->size;
    lock_take(&n->lock);
    bool fits = !r->failed && size <= QUEUED_MAX - n->queued;
    if (fits && r->first) {
        *(n->last ? &n->last->next : &n->first) = r->first;
        n->last = r->last;
        __atomic_store_n(&n->queued, n->queued + size, __ATOMIC_SEQ_CST);
        r->first = NULL;
    }
    lock_drop(&n->lock);
    while (r->first) {
        struct answer *next = r->first->next;
        heap_free(r->first);
        r->first = next;
    }
    if (fits)
        waitq_wake(&n->queue, UINT32_MAX);
    return fits ? 0 : -ENOBUFS;
}

static int handle(struct netlink *n, const struct nlmsghdr *head, const uint8_t *body)
{
    struct reply r = { .to = head, .port = __atomic_load_n(&n->port, __ATOMIC_RELAXED) };
    bool told = false;
    if (!(head->nlmsg_flags & NLM_F_REQUEST) || head->nlmsg_type < NLMSG_MIN_TYPE)
        return 0;
    int status = serve(body, head->nlmsg_len - (uint32_t)sizeof(*head), &r, &told);
    if (status < 0 || (head->nlmsg_flags & NLM_F_ACK && !told))
        reply_error(&r, status);
    return deliver(n, &r);
}

int64_t netlink_send(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size)
{
    struct netlink *n = netlink_of(file);
    uint64_t at = 0;
    struct nlmsghdr head;
    if (size > REQUEST_MAX)
        return -EMSGSIZE;
    uint8_t *bytes = heap_alloc(size + 1);
    int status = bytes ? 0 : -ENOMEM;
    for (uint64_t i = 0; status == 0 && i < count && at < size; i++) {
        uint64_t part = iov[i].iov_len < size - at ? iov[i].iov_len : size - at;
        status = copy_from_user(bytes + at, iov[i].iov_base, part);
        at += part;
    }
    take_port(n, 0);
    for (at = 0; status == 0 && size - at >= sizeof(head);) {
        memcpy(&head, bytes + at, sizeof(head));
        if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > size - at)
            break;
        status = handle(n, &head, bytes + at + sizeof(head));
        uint64_t step = NLMSG_ALIGN((uint64_t)head.nlmsg_len);
        at += step < size - at ? step : size - at;
    }
    heap_free(bytes);
    return status < 0 ? status : (int64_t)size;
}

/* --- receiving ------------------------------------------------------------------------------------ */

static bool readable(void *object)
{
    return __atomic_load_n(&((struct netlink *)object)->queued, __ATOMIC_SEQ_CST) != 0;
}

/* The lock is held. */
static void unlink_first(struct netlink *n)
{
    struct answer *a = n->first;
    n->first = a->next;
    if (!n->first)
        n->last = NULL;
    __atomic_store_n(&n->queued, n->queued - sizeof(*a) - a->size, __ATOMIC_SEQ_CST);
}

/* A copy of the first datagram, or itself. */
static int take(struct file *file, uint32_t flags, struct answer **ret)
{
    struct netlink *n = netlink_of(file);
    for (;;) {
        lock_take(&n->lock);
        struct answer *a = n->first;
        if (a && flags & MSG_PEEK_FLAG) {
            struct answer *copy = heap_alloc(sizeof(*a) + a->size);
            if (copy)
                memcpy(copy, a, sizeof(*a) + a->size);
            lock_drop(&n->lock);
            *ret = copy;
            return copy ? 0 : -ENOMEM;
        }
        if (a)
            unlink_first(n);
        lock_drop(&n->lock);
        *ret = a;
        if (a)
            return 0;
        if (anon_nonblock(file) || flags & MSG_DONTWAIT_FLAG)
            return -EAGAIN;
        int status = anon_wait(&n->queue, readable, n);
        if (status < 0)
            return status;
    }
}

int64_t netlink_receive(struct file *file, const struct iovec *iov, uint64_t count, uint64_t size,
                        uint32_t flags, struct net_extra *extra)
{
    struct answer *a;
    int64_t status = flags & MSG_OOB_FLAG ? -EOPNOTSUPP : take(file, flags, &a);
    if (status < 0)
        return status;
    uint64_t here = a->size < size ? a->size : size, at = 0;
    for (uint64_t i = 0; status == 0 && i < count && at < here; i++) {
        uint64_t part = iov[i].iov_len < here - at ? iov[i].iov_len : here - at;
        status = copy_to_user(iov[i].iov_base, a->bytes + at, part);
        at += part;
    }
    if (extra) {
        netlink_name(NULL, true, &extra->address);
        extra->control_size = 0;
        extra->flags = here < a->size ? MSG_TRUNC_FLAG : 0;
    }
    int64_t ret = flags & MSG_TRUNC_FLAG ? a->size : (int64_t)here;
    heap_free(a);
    return status < 0 ? status : ret;
}

/* --- the file ------------------------------------------------------------------------------------- */

static int64_t netlink_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    struct iovec iov = { user, size };
    return netlink_receive(file, &iov, 1, size, 0, NULL);
}

static int64_t netlink_write(struct file *file, const void *user, uint64_t size,
                             uint64_t *pos UNUSED)
{
    struct iovec iov = { (void *)(uintptr_t)user, size };
    return netlink_send(file, &iov, 1, size);
}

static int64_t netlink_vector(struct file *file, const struct iovec *iov, uint64_t count,
                              uint64_t size, bool write)
{
    return write ? netlink_send(file, iov, count, size)
                 : netlink_receive(file, iov, count, size, 0, NULL);
}

static int netlink_fstat(struct file *file, struct kstat *ret)
{
    anon_stat(netlink_of(file)->socket.ino, S_IFSOCK | 0777, ret);
    return 0;
}

static uint32_t netlink_poll(struct file *file, struct waiter *waiter)
{
    struct netlink *n = netlink_of(file);
    if (waiter)
        waitq_add(&n->queue, waiter);
    return EPOLLOUT | EPOLLWRNORM | (readable(n) ? EPOLLIN | EPOLLRDNORM : 0u);
}

static void netlink_release(struct file *file)
{
    struct netlink *n = netlink_of(file);
    while (n->first) {
        struct answer *a = n->first;
        unlink_first(n);
        heap_free(a);
    }
    heap_free(n);
}

static const struct file_ops g_netlink_ops = {
    .name = "netlink",
    .read = netlink_read,
    .write = netlink_write,
    .vector = netlink_vector,
    .fstat = netlink_fstat,
    .poll = netlink_poll,
    .release = netlink_release,
    .travel = TRAVEL_ANEW,
};
