/*
 * OCALL_NET_INTERFACES: the links and addresses of this machine, asked of the kernel by rtnetlink(7), in records of a
 * fixed size: the enclave parses no netlink of the host's.
 */
#include "host/ocall.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/attr.h"
#include "util/fs.h"

#define ANSWER_SIZE 32768u /* no datagram of a dump is longer (netlink(7)) */

struct list {
    uint8_t *at;
    size_t count, max, size; /* records, of size bytes */
};

static void *list_add(struct list *list)
{
    return list->count < list->max ? memset(list->at + list->count++ * list->size, 0, list->size)
                                   : NULL;
}

static int ask(int fd, uint16_t type)
{
    struct {
        struct nlmsghdr head;
        struct rtgenmsg body;
    } request = {
        .head = { .nlmsg_len = sizeof(request),
                  .nlmsg_type = type,
                  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
        .body = { .rtgen_family = AF_UNSPEC },
    };
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    ssize_t n =
        sendto(fd, &request, sizeof(request), 0, (struct sockaddr *)&kernel, sizeof(kernel));
    return n < 0 ? -errno : 0;
}

static void copy(void *to, size_t room, const struct rtattr *from)
{
    size_t size = RTA_PAYLOAD(from);
    memcpy(to, RTA_DATA(from), size < room ? size : room);
}

/* RTA_NEXT() without its signs; the last one's padding may be missing. */
static const struct rtattr *next_attribute(const struct rtattr *a, size_t *left)
{
    size_t size = RTA_ALIGN((size_t)a->rta_len);
    *left -= size < *left ? size : *left;
    return (const void *)((const uint8_t *)a + size);
}

static void add_link(struct list *list, struct nlmsghdr *head)
{
    const struct ifinfomsg *info = NLMSG_DATA(head);
    if (head->nlmsg_type != RTM_NEWLINK || head->nlmsg_len < NLMSG_LENGTH(sizeof(*info)))
        return;
    struct ocall_net_link *link = list_add(list);
    if (!link)
        return;
    link->index = (uint32_t)info->ifi_index;
    link->flags = info->ifi_flags;
    link->type = info->ifi_type;
    size_t left = IFLA_PAYLOAD(head);
    for (const struct rtattr *a = IFLA_RTA(info); RTA_OK(a, left); a = next_attribute(a, &left)) {
        switch (a->rta_type) {
        case IFLA_IFNAME: copy(link->name, sizeof(link->name) - 1, a); break;
        case IFLA_MTU: copy(&link->mtu, sizeof(link->mtu), a); break;
        case IFLA_TXQLEN: copy(&link->queue, sizeof(link->queue), a); break;
        case IFLA_OPERSTATE: copy(&link->state, sizeof(link->state), a); break;
        case IFLA_BROADCAST: copy(link->broadcast, sizeof(link->broadcast), a); break;
        case IFLA_ADDRESS:
            copy(link->address, sizeof(link->address), a);
            link->address_size =
                (uint8_t)(RTA_PAYLOAD(a) < sizeof(link->address) ? RTA_PAYLOAD(a)
                                                                 : sizeof(link->address));
            break;
        default: break;
        }
    }
}

static void add_address(struct list *list, struct nlmsghdr *head)
{
    const struct ifaddrmsg *info = NLMSG_DATA(head);
    if (head->nlmsg_type != RTM_NEWADDR || head->nlmsg_len < NLMSG_LENGTH(sizeof(*info)) ||
        (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
        return;
    struct ocall_net_ifaddr *address = list_add(list);
    if (!address)
        return;
    address->index = info->ifa_index;
    address->flags = info->ifa_flags;
    address->family = info->ifa_family;
    address->prefix = info->ifa_prefixlen;
    address->scope = info->ifa_scope;
    address->preferred = address->valid = UINT32_MAX;
    size_t left = IFA_PAYLOAD(head);
    for (const struct rtattr *a = IFA_RTA(info); RTA_OK(a, left); a = next_attribute(a, &left)) {
        struct ifa_cacheinfo times = { .ifa_prefered = UINT32_MAX, .ifa_valid = UINT32_MAX };
        switch (a->rta_type) {
        case IFA_ADDRESS: copy(address->address, sizeof(address->address), a); break;
        case IFA_FLAGS: copy(&address->flags, sizeof(address->flags), a); break;
        case IFA_LOCAL:
            copy(address->local, sizeof(address->local), a);
            address->has |= OCALL_NET_LOCAL;
            break;
        case IFA_BROADCAST:
            copy(address->broadcast, sizeof(address->broadcast), a);
            address->has |= OCALL_NET_BROADCAST;
            break;
        case IFA_LABEL:
            copy(address->label, sizeof(address->label) - 1, a);
            address->has |= OCALL_NET_LABEL;
            break;
        case IFA_CACHEINFO:
            copy(&times, sizeof(times), a);
            address->preferred = times.ifa_prefered;
            address->valid = times.ifa_valid;
            break;
        default: break;
        }
    }
}

typedef void add_fn(struct list *list, struct nlmsghdr *head);

/* The answers to one request, to their end. */
static int collect(int fd, uint16_t type, add_fn *add, struct list *list)
{
    CLEANUP(free_p) uint8_t *answer = malloc(ANSWER_SIZE);
    int r = answer ? ask(fd, type) : -ENOMEM;
    while (r == 0) {
        ssize_t n = recv(fd, answer, ANSWER_SIZE, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        size_t left = (size_t)n;
        for (struct nlmsghdr *head = (struct nlmsghdr *)answer; NLMSG_OK(head, left);
             head = NLMSG_NEXT(head, left)) {
            if (head->nlmsg_type == NLMSG_DONE)
                return 0;
            if (head->nlmsg_type == NLMSG_ERROR)
                return ((struct nlmsgerr *)NLMSG_DATA(head))->error < 0
                           ? ((struct nlmsgerr *)NLMSG_DATA(head))->error
                           : -EIO;
            add(list, head);
        }
    }
    return r;
}

static int by_index(const void *a, const void *b)
{
    uint32_t x = ((const struct ocall_net_link *)a)->index,
             y = ((const struct ocall_net_link *)b)->index;
    return x < y ? -1 : x > y;
}

int64_t ocall_net_interfaces(struct host_thread *t, const uint64_t args[6])
{
    struct list links = { .at = t->data, .max = args[0], .size = sizeof(struct ocall_net_link) };
    struct list addresses = { .max = args[1], .size = sizeof(struct ocall_net_ifaddr) };
    if (links.max > OCALL_DATA_SIZE / 2 / links.size ||
        addresses.max > OCALL_DATA_SIZE / 2 / addresses.size)
        return -EINVAL;
    CLEANUP(close_p) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    int r = collect(fd, RTM_GETLINK, add_link, &links);
    if (r == 0) {
        qsort(links.at, links.count, links.size, by_index);
        addresses.at = links.at + links.count * links.size;
        r = collect(fd, RTM_GETADDR, add_address, &addresses);
    }
    if (r < 0)
        return r;
    t->block->out[0] = addresses.count;
    return (int64_t)links.count;
}
