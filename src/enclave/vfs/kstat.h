/* struct stat as x86-64 system calls give it (asm/stat.h), under a name no libc header has. */
#pragma once

#include <assert.h>
#include <stdint.h>

struct kstat {
    uint64_t dev, ino, nlink;
    uint32_t mode, uid, gid, pad;
    uint64_t rdev;
    int64_t size, blksize, blocks;
    int64_t atime_sec, atime_nsec, mtime_sec, mtime_nsec, ctime_sec, ctime_nsec;
    int64_t unused[3];
};

static_assert(sizeof(struct kstat) == 144, "struct stat of x86-64");

#define MAKEDEV(major, minor) ((uint64_t)(major) << 8 | (uint64_t)(minor)) /* both small */

/* st_dev. The manifest numbers its own from 1; these stay clear of them. */
#define DEV_TMPFS 0x10001u
#define DEV_PROC  0x10002u
#define DEV_DEV   0x10003u
#define DEV_SYS   0x10004u
#define DEV_ANON  0x10005u
#define DEV_PTS   0x10006u
#define DEV_HOST  0x20000u /* plus 16 bits of the host's */
