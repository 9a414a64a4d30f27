#include "net/interfaces.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "net/net.h"
#include "net/socket.h"

/* --- what the host says -------------------------------------------------------------------------- */

/* The bits that net_device_flags has; the kernel's own ones do not show either. */
#define FLAGS_KNOWN 0x7ffffu

static bool name_ok(const char name[static OCALL_NET_NAME_SIZE])
{
    uint64_t size = strnlen(name, OCALL_NET_NAME_SIZE);
    if (!size || size == OCALL_NET_NAME_SIZE ||
        (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.'))))
        return false;
    for (uint64_t i = 0; i < size; i++)
        if (name[i] == '/' || name[i] == ':' || (uint8_t)name[i] <= ' ' || name[i] == 0x7f)
            return false;
    return true;
}

static void clear_behind(char name[static OCALL_NET_NAME_SIZE])
{
    uint64_t size = strnlen(name, OCALL_NET_NAME_SIZE);
    memset(name + size, 0, OCALL_NET_NAME_SIZE - size);
}

/* after: the links that are taken already. */
static bool take_link(const struct interfaces *taken, struct ocall_net_link *link)
{
    uint32_t last = taken->link_count ? taken->links[taken->link_count - 1].index : 0;
    if (link->index <= last || link->index > INT32_MAX || link->address_size > OCALL_NET_HARDWARE ||
        !name_ok(link->name))
        return false;
    clear_behind(link->name);
    link->flags &= FLAGS_KNOWN;
    memset(link->address + link->address_size, 0, OCALL_NET_HARDWARE - link->address_size);
    memset(link->broadcast + link->address_size, 0, OCALL_NET_HARDWARE - link->address_size);
    return !interfaces_by_name(taken, link->name);
}

static bool take_address(const struct interfaces *taken, struct ocall_net_ifaddr *address)
{
    bool ipv4 = address->family == AF_INET_FAMILY;
    if ((!ipv4 && address->family != AF_INET6_FAMILY) || address->prefix > (ipv4 ? 32 : 128) ||
        !interfaces_by_index(taken, address->index))
        return false;
    uint32_t size = ipv4 ? 4 : 16;
    memset(address->address + size, 0, 16 - size);
    memset(address->local + size, 0, 16 - size);
    memset(address->broadcast + size, 0, 16 - size);
    address->has &= OCALL_NET_LOCAL | OCALL_NET_BROADCAST | OCALL_NET_LABEL;
    if (strnlen(address->label, OCALL_NET_NAME_SIZE) == OCALL_NET_NAME_SIZE)
        address->has &= (uint8_t)~OCALL_NET_LABEL;
    if (!(address->has & OCALL_NET_LABEL))
        address->label[0] = '\0';
    clear_behind(address->label);
    return true;
}

/* What came: link_count and address_count as the host said, within what was asked for; sifted in place. */
static void sift(struct interfaces *list, uint32_t link_count, uint32_t address_count)
{
    for (uint32_t i = 0; i < link_count; i++) {
        struct ocall_net_link link = list->links[i];
        if (take_link(list, &link))
            list->links[list->link_count++] = link;
    }
    for (uint32_t i = 0; i < address_count; i++) {
        struct ocall_net_ifaddr address = list->addresses[i];
        if (take_address(list, &address))
            list->addresses[list->address_count++] = address;
    }
}

int interfaces_get(struct interfaces *ret)
{
    /* Before the OCALL, whose answer lies in the window until it is copied: the heap may make one. */
    struct interfaces list = { .links = heap_alloc(INTERFACES_MAX * sizeof(*list.links)),
                               .addresses =
                                   heap_alloc(INTERFACE_ADDRESSES_MAX * sizeof(*list.addresses)) };
    int64_t links = list.links && list.addresses ? 0 : -ENOMEM;
    if (links == 0)
        links = border_call2(OCALL_NET_INTERFACES, INTERFACES_MAX, INTERFACES_MAX,
                             INTERFACE_ADDRESSES_MAX);
    uint64_t addresses = links < 0 ? 0 : border_out(0);
    if (addresses > INTERFACE_ADDRESSES_MAX)
        links = -EIO;
    if (links < 0) {
        interfaces_done(&list);
        return links == -ENOMEM ? -ENOMEM : net_error(links);
    }
    uint64_t size = (uint64_t)links * sizeof(*list.links);
    border_get(list.links, 0, size);
    border_get(list.addresses, size, addresses * sizeof(*list.addresses));
    sift(&list, (uint32_t)links, (uint32_t)addresses);
    *ret = list;
    return 0;
}

void interfaces_done(struct interfaces *list)
{
    heap_free(list->links);
    heap_free(list->addresses);
}

const struct ocall_net_link *interfaces_by_index(const struct interfaces *list, uint32_t index)
{
    for (uint32_t i = 0; i < list->link_count; i++)
        if (list->links[i].index == index)
            return &list->links[i];
    return NULL;
}

const struct ocall_net_link *interfaces_by_name(const struct interfaces *list,
                                                const char name[static OCALL_NET_NAME_SIZE])
{
    for (uint32_t i = 0; i < list->link_count; i++)
        if (strncmp(list->links[i].name, name, OCALL_NET_NAME_SIZE) == 0)
            return &list->links[i];
    return NULL;
}

/* --- ioctl() ------------------------------------------------------------------------------------- */

/* linux/sockios.h */
#define REQUEST_FIRST  0x8910u
#define REQUEST_LAST   0x8957u
#define SIOCGIFNAME    0x8910u
#define SIOCGIFCONF    0x8912u
#define SIOCGIFFLAGS   0x8913u
#define SIOCGIFADDR    0x8915u
#define SIOCGIFDSTADDR 0x8917u
#define SIOCGIFBRDADDR 0x8919u
#define SIOCGIFNETMASK 0x891bu
#define SIOCGIFMETRIC  0x891du
#define SIOCGIFMTU     0x8921u
#define SIOCGIFHWADDR  0x8927u
#define SIOCGIFINDEX   0x8933u
#define SIOCGIFTXQLEN  0x8942u

struct kaddress { /* struct sockaddr */
    uint16_t family;
    uint8_t bytes[14];
};

struct kifreq { /* struct ifreq of x86-64 */
    char name[OCALL_NET_NAME_SIZE];
    union {
        struct kaddress address;
        int32_t number;
        int16_t flags;
        uint8_t room[24];
    };
};
static_assert(sizeof(struct kifreq) == 40, "ifreq");

struct kifconf { /* struct ifconf */
    int32_t size, pad;
    uint64_t requests;
};

bool interfaces_request(uint32_t request)
{
    return request >= REQUEST_FIRST && request <= REQUEST_LAST;
}

static struct kaddress ipv4(const uint8_t bytes[static 4])
{
    struct kaddress ret = { .family = AF_INET_FAMILY };
    memcpy(ret.bytes + 2, bytes, 4);
    return ret;
}

static const uint8_t *own_address(const struct ocall_net_ifaddr *a)
{
    return a->has & OCALL_NET_LOCAL ? a->local : a->address;
}

/* The addresses of IPv4, one after the other (netdevice(7)): as many as there is room for. */
static int64_t get_conf(const struct interfaces *list, uint64_t arg)
{
    struct kifconf conf;
    int64_t status = GET_USER(&conf, (const struct kifconf *)(uintptr_t)arg);
    int32_t at = 0;
    for (uint32_t i = 0; status == 0 && i < list->address_count; i++) {
        const struct ocall_net_ifaddr *a = &list->addresses[i];
        struct kifreq request = { .address = ipv4(own_address(a)) };
        if (a->family != AF_INET_FAMILY)
            continue;
        if (conf.requests && conf.size - at < (int32_t)sizeof(request))
            break;
        memcpy(request.name, a->label[0] ? a->label : interfaces_by_index(list, a->index)->name,
               sizeof(request.name));
        if (conf.requests)
            status = PUT_USER((struct kifreq *)(uintptr_t)(conf.requests + (uint64_t)at), &request);
        at += (int32_t)sizeof(request);
    }
    conf.size = at;
    return status < 0 ? status : PUT_USER((int32_t *)(uintptr_t)arg, &conf.size);
}

/* "eth0:1" is an address of eth0 with this label. */
static const struct ocall_net_ifaddr *find_address(const struct interfaces *list,
                                                   const struct ocall_net_link *link,
                                                   const char *label)
{
    bool alias = strnlen(label, OCALL_NET_NAME_SIZE) != strnlen(link->name, OCALL_NET_NAME_SIZE);
    for (uint32_t i = 0; i < list->address_count; i++) {
        const struct ocall_net_ifaddr *a = &list->addresses[i];
        if (a->index == link->index && a->family == AF_INET_FAMILY &&
            (!alias || strncmp(a->label, label, OCALL_NET_NAME_SIZE) == 0))
            return a;
    }
    return NULL;
}

static int get_address(const struct interfaces *list, const struct ocall_net_link *link,
                       uint32_t nr, struct kifreq *request)
{
    const struct ocall_net_ifaddr *a = find_address(list, link, request->name);
    uint8_t mask[4] = { 0 };
    if (!a)
        return -EADDRNOTAVAIL;
    for (uint32_t i = 0; i < a->prefix; i++)
        mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
    memset(request->room, 0, sizeof(request->room));
    request->address = ipv4(nr == SIOCGIFADDR      ? own_address(a)
                            : nr == SIOCGIFDSTADDR ? a->address
                            : nr == SIOCGIFBRDADDR ? a->broadcast
                                                   : mask);
    return 0;
}

static int answer(const struct interfaces *list, uint32_t nr, struct kifreq *request)
{
    char name[OCALL_NET_NAME_SIZE];
    memcpy(name, request->name, sizeof(name));
    name[sizeof(name) - 1] = '\0';
    for (uint32_t i = 0; name[i]; i++)
        if (name[i] == ':')
            memset(name + i, 0, sizeof(name) - i);
    const struct ocall_net_link *link = nr == SIOCGIFNAME
                                            ? interfaces_by_index(list, (uint32_t)request->number)
                                            : interfaces_by_name(list, name);
    if (!link)
        return -ENODEV;
    switch (nr) {
    case SIOCGIFNAME:
        memcpy(request->name, link->name, strnlen(link->name, sizeof(link->name) - 1) + 1);
        return 0;
    case SIOCGIFINDEX: request->number = (int32_t)link->index; return 0;
    case SIOCGIFFLAGS: request->flags = (int16_t)link->flags; return 0;
    case SIOCGIFMETRIC: request->number = 0; return 0;
    case SIOCGIFMTU: request->number = (int32_t)link->mtu; return 0;
    case SIOCGIFTXQLEN: request->number = (int32_t)link->queue; return 0;
    case SIOCGIFHWADDR:
        request->address = (struct kaddress){ .family = link->type };
        memcpy(request->address.bytes, link->address, sizeof(request->address.bytes));
        return 0;
    default: return get_address(list, link, nr, request);
    }
}

/* Of those that read, what is answered here. */
static bool reads(uint32_t request)
{
    switch (request) {
    case SIOCGIFNAME:
    case SIOCGIFCONF:
    case SIOCGIFFLAGS:
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFINDEX:
    case SIOCGIFTXQLEN: return true;
    default: return false;
    }
}

/* The SIOCSIF*, SIOCADDMULTI, SIOCDELMULTI...: the program has no such rights over the host. */
static bool changes(uint32_t request)
{
    static const uint16_t those[] = { 0x8911, 0x8914, 0x8916, 0x8918, 0x891a, 0x891c, 0x891e,
                                      0x8922, 0x8923, 0x8924, 0x8930, 0x8931, 0x8932, 0x8934,
                                      0x8936, 0x8937, 0x8943, 0x8953, 0x8955 };
    for (uint32_t i = 0; i < sizeof(those) / sizeof(those[0]); i++)
        if (those[i] == request)
            return true;
    return false;
}

int64_t interfaces_ioctl(uint32_t request, uint64_t arg)
{
    static bool said;
    struct interfaces list;
    struct kifreq copy;
    int64_t status = 0;
    if (!reads(request)) {
        if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
            log_note("ioctl 0x%x about interfaces is not supported", request);
        return changes(request) ? -EPERM : -ENOTTY;
    }
    if (request != SIOCGIFCONF)
        status = GET_USER(&copy, (const struct kifreq *)(uintptr_t)arg);
    if (status == 0)
        status = interfaces_get(&list);
    if (status < 0)
        return status;
    if (request == SIOCGIFCONF)
        status = get_conf(&list, arg);
    else
        status = answer(&list, request, &copy);
    interfaces_done(&list);
    if (status == 0 && request != SIOCGIFCONF)
        status = PUT_USER((struct kifreq *)(uintptr_t)arg, &copy);
    return status;
}
