/* struct msghdr and struct cmsghdr as the system calls on sockets of x86-64 have them. Tier: enclave. */
#pragma once

#include <assert.h>
#include <stdint.h>

struct kmsghdr { /* struct user_msghdr */
    uint64_t name;
    int32_t name_size, pad;
    uint64_t iov, iov_count;
    uint64_t control, control_size;
    uint32_t flags, pad2;
};
static_assert(sizeof(struct kmsghdr) == 56, "msghdr");

struct kcmsg {     /* struct cmsghdr; its data follow */
    uint64_t size; /* with this head, without padding behind the data */
    int32_t level, type;
};
static_assert(sizeof(struct kcmsg) == 16, "cmsghdr");

#define CMSG_ALIGNED(size) (((size) + 7) & ~7ull)

/* An argument that is an address of the program. */
static inline void *user_ptr(uint64_t arg)
{
    return (void *)(uintptr_t)arg;
}
