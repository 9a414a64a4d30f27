#include "net/control.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/uaccess.h"
#include "sys/message.h"

#define SOL_SOCKET_LEVEL 1

enum direction { SEND = 1, RECEIVE = 2, BOTH = 3 };

/* No source routes are sent: they lead elsewhere than the address that rules.c looks at. */
/* No source routes go out: packets would go elsewhere than to the address that the rules saw. */
static const struct {
    uint8_t level, type;
    uint8_t use;          /* enum direction */
    uint16_t least, most; /* bytes of data */
} g_known[] = {
    { 1, 29, RECEIVE, 16, 16 },   /* SCM_TIMESTAMP */
    { 1, 35, RECEIVE, 16, 16 },   /* SCM_TIMESTAMPNS */
    { 1, 40, RECEIVE, 4, 4 },     /* SO_RXQ_OVFL */
    { 0, 1, BOTH, 1, 4 },         /* IP_TOS */
    { 0, 2, BOTH, 4, 4 },         /* IP_TTL */
    { 0, 6, RECEIVE, 0, 40 },     /* IP_RECVOPTS */
    { 0, 8, BOTH, 12, 12 },       /* IP_PKTINFO */
    { 0, 11, RECEIVE, 16, 64 },   /* IP_RECVERR */
    { 0, 20, RECEIVE, 16, 16 },   /* IP_ORIGDSTADDR */
    { 6, 36, RECEIVE, 4, 4 },     /* TCP_CM_INQ */
    { 17, 103, SEND, 2, 2 },      /* UDP_SEGMENT */
    { 17, 104, RECEIVE, 2, 4 },   /* UDP_GRO */
    { 41, 25, RECEIVE, 16, 64 },  /* IPV6_RECVERR */
    { 41, 50, BOTH, 20, 20 },     /* IPV6_PKTINFO */
    { 41, 52, BOTH, 4, 4 },       /* IPV6_HOPLIMIT */
    { 41, 54, BOTH, 8, 2048 },    /* IPV6_HOPOPTS */
    { 41, 55, SEND, 8, 2048 },    /* IPV6_RTHDRDSTOPTS */
    { 41, 57, RECEIVE, 8, 2048 }, /* IPV6_RTHDR */
    { 41, 59, BOTH, 8, 2048 },    /* IPV6_DSTOPTS */
    { 41, 61, RECEIVE, 32, 32 },  /* IPV6_PATHMTU */
    { 41, 62, SEND, 4, 4 },       /* IPV6_DONTFRAG */
    { 41, 67, BOTH, 4, 4 },       /* IPV6_TCLASS */
};

static bool known(const struct kcmsg *head, enum direction use)
{
    uint64_t data = head->size - sizeof(*head);
    for (uint32_t i = 0; i < sizeof(g_known) / sizeof(g_known[0]); i++)
        if (g_known[i].level == head->level && g_known[i].type == head->type)
            return g_known[i].use & use && data >= g_known[i].least && data <= g_known[i].most;
    return false;
}

/* The message at buf[*at]: false: there is no whole one. */
static bool next(const uint8_t *buf, uint64_t size, uint64_t *at, struct kcmsg *ret,
                 const uint8_t **ret_data)
{
    if (*at > size || size - *at < sizeof(*ret))
        return false;
    memcpy(ret, buf + *at, sizeof(*ret));
    if (ret->size < sizeof(*ret) || ret->size > size - *at)
        return false;
    *ret_data = buf + *at + sizeof(*ret);
    *at += CMSG_ALIGNED(ret->size);
    return true;
}

/* What belongs to AF_UNIX (descriptors, credentials) is taken without effect, as Linux does. */
static bool ignored(const struct kcmsg *head)
{
    return head->level == SOL_SOCKET_LEVEL && (head->type == 1 || head->type == 2);
}

int control_from_user(uint64_t user, uint64_t size, struct net_extra *extra)
{
    uint8_t buf[OCALL_NET_CONTROL];
    struct kcmsg head;
    const uint8_t *data;
    uint64_t at = 0, to = 0;
    extra->control_size = 0;
    if (!user || !size)
        return 0;
    if (size > sizeof(buf))
        return -ENOBUFS;
    int status = copy_from_user(buf, (const void *)(uintptr_t)user, size);
    if (status < 0)
        return status;
    while (at < size && size - at >= sizeof(head)) {
        if (!next(buf, size, &at, &head, &data))
            return -EINVAL;
        if (ignored(&head))
            continue;
        if (!known(&head, SEND)) {
            log_note("ancillary data of level %d, type %d, %lu bytes is not supported", head.level,
                     head.type, head.size - sizeof(head));
            return -EINVAL;
        }
        memset(extra->control + to, 0, CMSG_ALIGNED(head.size));
        memcpy(extra->control + to, &head, sizeof(head));
        memcpy(extra->control + to + sizeof(head), data, head.size - sizeof(head));
        to += CMSG_ALIGNED(head.size);
    }
    extra->control_size = (uint32_t)to;
    return 0;
}

/* As the kernel's put_cmsg(): what does not fit is cut, if its head fits. */
int control_to_user(const struct net_extra *extra, uint64_t user, uint64_t room, uint64_t *ret_size,
                    uint32_t *flags)
{
    uint64_t size =
        extra->control_size < OCALL_NET_CONTROL ? extra->control_size : OCALL_NET_CONTROL;
    uint64_t at = 0, used = 0;
    struct kcmsg head;
    const uint8_t *data;
    *ret_size = 0;
    while (next(extra->control, size, &at, &head, &data)) {
        if (!known(&head, RECEIVE) || room - used < sizeof(head)) {
            *flags |= MSG_CTRUNC_FLAG;
            continue;
        }
        if (head.size > room - used) {
            head.size = room - used;
            *flags |= MSG_CTRUNC_FLAG;
        }
        void *to = (void *)(uintptr_t)(user + used);
        int status = copy_to_user(to, &head, sizeof(head));
        if (status == 0)
            status = copy_to_user((uint8_t *)to + sizeof(head), data, head.size - sizeof(head));
        if (status < 0)
            return status;
        used += CMSG_ALIGNED(head.size) < room - used ? CMSG_ALIGNED(head.size) : room - used;
    }
    *ret_size = used;
    return 0;
}
