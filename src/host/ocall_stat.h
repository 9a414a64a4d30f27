/* struct stat to struct ocall_stat. Internal to src/host. */
#pragma once

#include <string.h>
#include <sys/stat.h>

#include "abi/ocall.h"

static inline void ocall_stat_put(void *to, const struct stat *st)
{
    const struct ocall_stat out = {
        .dev = st->st_dev,
        .ino = st->st_ino,
        .nlink = st->st_nlink,
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = st->st_rdev,
        .size = (uint64_t)st->st_size,
        .blksize = (uint64_t)st->st_blksize,
        .blocks = (uint64_t)st->st_blocks,
        .atime_sec = st->st_atim.tv_sec,
        .mtime_sec = st->st_mtim.tv_sec,
        .ctime_sec = st->st_ctim.tv_sec,
        .atime_nsec = (uint32_t)st->st_atim.tv_nsec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
    };
    memcpy(to, &out, sizeof(out));
}
