/*
 * sendmmsg(2), recvmmsg(2). Datagrams leave the enclave together, OCALL_NET_MESSAGES and BYTES_MAX at a time; messages of
 * streams, where one may be taken in part, one by one. Tier: enclave.
 *
 * As on Linux: what was done counts, an error after the first message of sendmmsg is not told, one of recvmmsg is by the
 * socket's next call; recvmmsg's timeout is looked at after each message that came, and does not end a wait.
 */
#include "net/net.h"

#include <asm/errno.h>
#include <linux/time_types.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "net/address.h"
#include "net/message.h"
#include "net/netlink.h"
#include "net/socket.h"
#include "signal/signal.h"
#include "thread/clock.h"

#define SEND_MAX     1024u /* UIO_MAXIOV */
#define BYTES_MAX    (256u << 10)
#define DATAGRAM_MAX 65536u /* and none is longer; several joined neither (UDP_GRO) */
#define CONTROL_SLACK \
    256u /* room at the host beyond the program's: what is cut is cut by control.c */
#define MSG_WAITFORONE_FLAG 0x10000u

struct kmmsghdr {
    struct kmsghdr head;
    uint32_t size, pad;
};
static_assert(sizeof(struct kmmsghdr) == 64, "mmsghdr");

static uint64_t user_at(const struct sysargs *args, uint32_t i)
{
    return args->a[1] + i * sizeof(struct kmmsghdr);
}

static int put_size(uint64_t user, int64_t n)
{
    uint32_t size = (uint32_t)n;
    return PUT_USER(&((struct kmmsghdr *)user_ptr(user))->size, &size);
}

/* Not those of AF_UNIX, which may be longer. */
static bool goes_together(const struct file *file)
{
    return net_is(file) && net_of(file)->type == NET_DATAGRAMS &&
           net_of(file)->family != AF_LOCAL_FAMILY;
}

/* --- a batch ------------------------------------------------------------------------------------- */

struct work {
    struct net_batch batch;
    struct net_extra extra; /* of the message in hand */
    struct message messages[OCALL_NET_MESSAGES];
    uint8_t bytes[BYTES_MAX];
};

#define WORK_PAGES ((sizeof(struct work) + 4095) / 4096)

/* Not zeroed: that would take longer than a few exits. */
static struct work *work_new(void)
{
    struct work *w = heap_pages(WORK_PAGES);
    if (w) {
        w->batch.count = w->batch.size = 0;
        w->batch.bytes = w->bytes;
    }
    return w;
}

/* The messages are done with; what batch says stays. */
static void work_clear(struct work *w)
{
    for (uint32_t i = 0; i < w->batch.count; i++)
        message_done(&w->messages[i]);
    w->batch.count = w->batch.size = 0;
}

static void work_free(struct work *w)
{
    work_clear(w);
    heap_pages_free(w, WORK_PAGES);
}

static uint32_t control_at(const struct net_part *part)
{
    return part->at + (uint32_t)sizeof(struct ocall_net_message);
}

static uint32_t data_at(const struct net_part *part)
{
    return control_at(part) + ((part->control_size + 7) & ~7u);
}

/* What follows at the end of size bytes that are to be filled in: the host sees it. */
static void clear_padding(uint8_t *bytes, uint64_t size)
{
    if (size % 8)
        memset(bytes + size, 0, 8 - size % 8);
}

/* A place for one more message of these sizes; false: in the next batch. The first one always has one. */
static bool add_part(struct work *w, uint64_t size, uint64_t control_size)
{
    struct net_batch *b = &w->batch;
    uint64_t whole = OCALL_NET_MESSAGE_SIZE(size, control_size);
    if (b->count == OCALL_NET_MESSAGES || whole > BYTES_MAX - b->size)
        return false;
    struct ocall_net_message head = { .size = (uint32_t)size,
                                      .control_size = (uint32_t)control_size };
    struct net_part *part = &b->parts[b->count];
    *part = (struct net_part){ b->size, (uint32_t)size, (uint32_t)control_size };
    memcpy(b->bytes + part->at, &head, sizeof(head));
    clear_padding(b->bytes + control_at(part), control_size);
    clear_padding(b->bytes + data_at(part), size);
    b->size += (uint32_t)whole;
    return true;
}

/* --- sending --------------------------------------------------------------------------------------- */

/* One more of the program's messages: 1; 0: in the next batch; or what is wrong with it. */
static int add_out(struct file *file, struct work *w, uint64_t user)
{
    struct net_batch *b = &w->batch;
    struct message *m = &w->messages[b->count];
    int status = message_out(file, user, m, &w->extra);
    if (status == 0 && m->size > DATAGRAM_MAX)
        status = -EMSGSIZE;
    bool fits = status == 0 && add_part(w, m->size, w->extra.control_size);
    if (fits) {
        const struct net_part *part = &b->parts[b->count];
        struct ocall_net_message *head = (struct ocall_net_message *)(b->bytes + part->at);
        head->address_size = w->extra.address.size;
        memcpy(head->address, w->extra.address.bytes, w->extra.address.size);
        memcpy(b->bytes + control_at(part), w->extra.control, part->control_size);
        uint64_t at = data_at(part);
        for (uint64_t i = 0; status == 0 && i < m->head.iov_count; at += m->iov[i++].iov_len)
            status = copy_from_user(b->bytes + at, m->iov[i].iov_base, m->iov[i].iov_len);
        if (status < 0)
            b->size = part->at;
    }
    if (!fits || status < 0) {
        message_done(m);
        return status;
    }
    b->count++;
    return 1;
}

static int64_t send_batch(struct file *file, struct work *w, const struct sysargs *args,
                          uint32_t done, uint32_t count)
{
    int status = 1;
    while (done + w->batch.count < count && w->batch.count < OCALL_NET_MESSAGES && status == 1)
        status = add_out(file, w, user_at(args, done + w->batch.count));
    if (!w->batch.count)
        return status;
    int64_t n = net_many(file, true, &w->batch, (uint32_t)args->a[3]);
    uint32_t told = 0;
    for (status = 0; told < n && status == 0; told += status == 0)
        status = put_size(user_at(args, done + told), w->batch.parts[told].size);
    return status == 0 ? n : told ? (int64_t)told : status;
}

int64_t net_sendmmsg(struct file *file, const struct sysargs *args)
{
    uint32_t count = (uint32_t)args->a[2] < SEND_MAX ? (uint32_t)args->a[2] : SEND_MAX, done = 0;
    bool together = goes_together(file) && count > 1;
    struct work *w = together ? work_new() : NULL;
    int64_t n = 1;
    while (done < count && n > 0) {
        uint32_t asked = 1;
        if (w) {
            n = send_batch(file, w, args, done, count);
            asked = w->batch.count;
            work_clear(w);
        } else {
            n = message_send(file, user_at(args, done), (uint32_t)args->a[3]);
            int status = n < 0 ? 0 : put_size(user_at(args, done), n);
            n = status < 0 ? status : n < 0 ? n : 1;
        }
        done += n > 0 ? (uint32_t)n : 0;
        if (n > 0 && n < asked)
            break;
    }
    if (w)
        work_free(w);
    return done ? (int64_t)done : n < 0 ? n : 0;
}

/* --- receiving ------------------------------------------------------------------------------------- */

static int add_in(struct work *w, uint64_t user)
{
    struct message *m = &w->messages[w->batch.count];
    int status = message_get(user, m);
    uint64_t control = m->head.control && m->head.control_size ? m->head.control_size : 0;
    if (control)
        control = control < OCALL_NET_CONTROL - CONTROL_SLACK ? control + CONTROL_SLACK
                                                              : OCALL_NET_CONTROL;
    if (status == 0 && add_part(w, m->size < DATAGRAM_MAX ? m->size : DATAGRAM_MAX, control)) {
        w->batch.count++;
        return 1;
    }
    message_done(m);
    return status;
}

/* What the host says came as the i-th, out of the window: head, control messages and bytes. False: it cannot be. */
static bool take_in(struct work *w, uint32_t i, bool truncates)
{
    const struct net_part *part = &w->batch.parts[i];
    struct ocall_net_message *head = (struct ocall_net_message *)(w->bytes + part->at);
    border_get(head, part->at, sizeof(*head));
    if (head->control_size > part->control_size ||
        (head->size > part->size && (!truncates || head->size > DATAGRAM_MAX)))
        return false;
    border_get(w->bytes + control_at(part), control_at(part), head->control_size);
    border_get(w->bytes + data_at(part), data_at(part),
               head->size < part->size ? head->size : part->size);
    return true;
}

/* To the program. */
static int give_in(struct work *w, uint32_t i, uint8_t family, uint64_t user)
{
    const struct net_part *part = &w->batch.parts[i];
    const struct ocall_net_message *head = (const struct ocall_net_message *)(w->bytes + part->at);
    struct message *m = &w->messages[i];
    struct net_extra *extra = &w->extra;
    uint64_t here = head->size < part->size ? head->size : part->size, at = 0;
    int status = 0;
    extra->flags = head->flags;
    if (!address_from_host(head->address, head->address_size, family, &extra->address))
        extra->address.size = 0;
    extra->control_size = head->control_size;
    memcpy(extra->control, w->bytes + control_at(part), head->control_size);
    for (uint64_t k = 0; status == 0 && k < m->head.iov_count && at < here; k++) {
        uint64_t size = m->iov[k].iov_len < here - at ? m->iov[k].iov_len : here - at;
        status = copy_to_user(m->iov[k].iov_base, w->bytes + data_at(part) + at, size);
        at += size;
    }
    if (status == 0)
        status = message_put(user, m, extra);
    return status < 0 ? status : put_size(user, head->size);
}

static int64_t receive_batch(struct file *file, struct work *w, const struct sysargs *args,
                             uint32_t done, uint32_t count, uint32_t flags)
{
    int status = 1;
    while (done + w->batch.count < count && w->batch.count < OCALL_NET_MESSAGES && status == 1)
        status = add_in(w, user_at(args, done + w->batch.count));
    if (!w->batch.count)
        return status;
    int64_t n = net_many(file, false, &w->batch, flags & ~MSG_WAITFORONE_FLAG);
    /* All of it before the program's memory is touched. */
    for (uint32_t i = 0; i < n; i++)
        if (!take_in(w, i, flags & MSG_TRUNC_FLAG))
            n = i ? (int64_t)i : -EIO;
    uint32_t told = 0;
    for (status = 0; told < n && status == 0; told += status == 0)
        status = give_in(w, told, net_of(file)->family, user_at(args, done + told));
    return status == 0 ? n : told ? (int64_t)told : status;
}

/* The time that is left, as Linux writes it back. */
static int put_left(uint64_t user, uint64_t deadline)
{
    uint64_t now = clock_monotonic(), left = deadline > now ? deadline - now : 0;
    struct __kernel_timespec ts = { (int64_t)(left / NSEC_PER_SEC),
                                    (int64_t)(left % NSEC_PER_SEC) };
    return PUT_USER((struct __kernel_timespec *)user_ptr(user), &ts);
}

static int64_t receive_all(struct file *file, struct work *w, const struct sysargs *args,
                           uint64_t deadline)
{
    uint32_t count = (uint32_t)args->a[2], done = 0, flags = (uint32_t)args->a[3];
    int64_t n = 1;
    while (done < count && n > 0) {
        /* A time that is over lets one in, no more. */
        bool late = deadline != OCALL_NEVER && clock_monotonic() >= deadline;
        if (late && done)
            break;
        uint32_t asked = 1;
        if (w) {
            n = receive_batch(file, w, args, done, late ? done + 1 : count, flags);
            asked = w->batch.count;
            work_clear(w);
        } else {
            n = message_receive(file, user_at(args, done), flags & ~MSG_WAITFORONE_FLAG);
            int status = n < 0 ? 0 : put_size(user_at(args, done), n);
            n = status < 0 ? status : n < 0 ? n : 1;
        }
        done += n > 0 ? (uint32_t)n : 0;
        if (flags & MSG_WAITFORONE_FLAG)
            flags |= MSG_DONTWAIT_FLAG;
        if (n > 0 && n < asked && flags & MSG_DONTWAIT_FLAG)
            break; /* there were no more */
    }
    if (done && n < 0 && n != -EAGAIN && n != -ERESTARTSYS && n != -EINTR && n != -EFAULT &&
        net_is(file))
        __atomic_store_n(&net_of(file)->late, (int)n, __ATOMIC_RELAXED);
    return done ? (int64_t)done : n < 0 ? n : 0;
}

int64_t net_recvmmsg(struct file *file, const struct sysargs *args)
{
    uint64_t deadline = OCALL_NEVER, ns;
    struct __kernel_timespec ts;
    bool together = goes_together(file) && (uint32_t)args->a[2] > 1 &&
                    !(args->a[3] & (MSG_OOB_FLAG | MSG_ERRQUEUE_FLAG));
    if (args->a[4]) {
        int status = GET_USER(&ts, (const struct __kernel_timespec *)user_ptr(args->a[4]));
        if (status < 0)
            return status;
        if (!timespec_valid(&ts, &ns))
            return -EINVAL;
        deadline = clock_deadline(CLOCK_MONOTONIC, ns, false);
    }
    struct work *w = together ? work_new() : NULL;
    int64_t n = receive_all(file, w, args, deadline);
    if (w)
        work_free(w);
    int status = n > 0 && args->a[4] ? put_left(args->a[4], deadline) : 0;
    return status < 0 ? status : n;
}
