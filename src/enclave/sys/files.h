/* What the files of file system calls share. Tier: enclave. */
#pragma once

#include "core/attr.h"
#include "vfs/node.h"

static inline void put_file(struct file **file)
{
    file_unref(*file);
}
static inline void put_place(struct place *place)
{
    place_done(place);
}

/* `file`: a reference to what fd is, until the end of the scope; NULL if it is not open. */
#define FILE_AT(fd) CLEANUP(put_file) struct file *file = fd_get((int)(fd))
/* name: where a path of the program leads, until the end of the scope; name_status: how it went. */
#define PLACE_AT(name, dirfd, user_path, flags)            \
    char name##_buf[PATH_BUF];                             \
    CLEANUP(put_place) struct place name = { .fs = NULL }; \
    int name##_status =                                    \
        place_at((int)(dirfd), (const char *)(user_path), (flags), name##_buf, &name)

static inline uint32_t walk_flags(uint64_t at_flags)
{
    return (at_flags & 0x100 /* AT_SYMLINK_NOFOLLOW */ ? WALK_NOFOLLOW : 0) |
           (at_flags & 0x1000 /* AT_EMPTY_PATH */ ? WALK_EMPTY : 0);
}
