/* AF_UNIX sockets of the host (local.h). Tier: enclave. Thread-safe. */
#include "net/local.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/pipe.h"
#include "net/address.h"
#include "net/net.h"
#include "net/socket.h"
#include "thread/clock.h"
#include "thread/wait.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"

#define HANDLE_MAX  0x7fffffff
#define RETRY_NS    2000000u
#define SIZE_MAX_IO 0x7ffff000u

bool net_is_local(const struct file *file)
{
    return net_is(file) && net_of(file)->family == AF_LOCAL_FAMILY;
}

uint32_t net_local_type(const struct file *file)
{
    return net_of(file)->type;
}

int net_local_become(struct file *file, uint32_t type)
{
    const struct net_socket kind = { .family = AF_LOCAL_FAMILY, .type = (uint8_t)type };
    int64_t handle = border_call3(OCALL_NET_SOCKET, HANDLE_MAX, AF_LOCAL_FAMILY, type, 0);
    return handle < 0 ? net_error(handle) : net_become((int)handle, &kind, file);
}

/* struct sockaddr_un of the place's path, with its NUL. */
static int address_of(const struct place *place, struct net_address *ret)
{
    const uint16_t family = AF_LOCAL_FAMILY;
    if (place->path_size >= ADDRESS_LOCAL - sizeof(family)) {
        log_note("'%s': an address of a socket has room for 107 bytes only", place->path);
        return -EINVAL;
    }
    *ret = (struct net_address){ .size = (uint32_t)sizeof(family) + place->path_size + 1 };
    memcpy(ret->bytes, &family, sizeof(family));
    memcpy(ret->bytes + sizeof(family), place->path, place->path_size);
    return 0;
}

int net_local_bind(struct file *file, const struct place *place, uint32_t mode)
{
    struct net_address address;
    int status = address_of(place, &address);
    if (status == 0)
        status = host_clear_stale(place);
    if (status == 0)
        status = net_bind_to(net_of(file), &address, mode);
    if (status < 0)
        return status;
    net_of(file)->bound = true;
    return host_made(place);
}

/* Where a queue is full Linux lets connect(2) wait; poll(2) does not tell when it has room. */
int net_local_connect(struct file *file, const struct place *place)
{
    struct net_address address;
    int status = address_of(place, &address);
    if (status == 0)
        status = net_connect_to(file, &address);
    while (status == -EAGAIN && !(net_get_flags(file) & O_NONBLOCK)) {
        status = thread_park(clock_monotonic() + RETRY_NS);
        if (status == -EINTR)
            return -ERESTARTSYS;
        status = net_connect_to(file, &address);
    }
    return status;
}

int64_t net_local_send(struct file *file, const struct place *place, const struct iovec *iov,
                       uint64_t count, uint32_t flags)
{
    struct net_extra extra = { .control_size = 0 };
    uint64_t size = 0;
    int status = place ? address_of(place, &extra.address) : 0;
    if (status < 0)
        return status;
    for (uint64_t i = 0; i < count; i++) {
        if (iov[i].iov_len > SIZE_MAX_IO - size)
            return -EMSGSIZE;
        size += iov[i].iov_len;
    }
    int64_t n = net_send(file, iov, count, size, flags, place ? &extra : NULL);
    if (n == -EPIPE && !(flags & MSG_NOSIGNAL_FLAG) && net_of(file)->type == NET_STREAM)
        stream_sigpipe();
    return n;
}
