/* Compiler attributes and tiny helpers used in every tier. Tier: core. */
#pragma once

#define MUST_CHECK   __attribute__((warn_unused_result))
#define UNUSED       __attribute__((unused))
#define NORETURN     __attribute__((noreturn))
#define PACKED       __attribute__((packed))
#define ALIGNED(n)   __attribute__((aligned(n)))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define CLEANUP(fn)  __attribute__((cleanup(fn)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Moves a pointer or descriptor out of its owner, so that the owner's cleanup does nothing. */
#define TAKE_PTR(p)                         \
    ({                                      \
        __typeof__(p) *take_from_ = &(p);   \
        __typeof__(p) taken_ = *take_from_; \
        *take_from_ = (void *)0;            \
        taken_;                             \
    })
#define TAKE_FD(fd)               \
    ({                            \
        int *take_from_ = &(fd);  \
        int taken_ = *take_from_; \
        *take_from_ = -1;         \
        taken_;                   \
    })
