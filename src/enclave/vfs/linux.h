/*
 * Numbers of the Linux ABI that the file system code uses. Included by .c files only: hosted tests
 * bring libc's headers, which define the same structs. Tier: enclave.
 */
#pragma once

#include <asm/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#ifndef S_IFMT /* linux/stat.h leaves them out once some header has mentioned glibc */
#define S_IFMT      0170000
#define S_IFSOCK    0140000
#define S_IFLNK     0120000
#define S_IFREG     0100000
#define S_IFBLK     0060000
#define S_IFDIR     0040000
#define S_IFCHR     0020000
#define S_IFIFO     0010000
#define S_ISUID     0004000
#define S_ISGID     0002000
#define S_ISVTX     0001000
#define S_ISLNK(m)  (((m)&S_IFMT) == S_IFLNK)
#define S_ISREG(m)  (((m)&S_IFMT) == S_IFREG)
#define S_ISDIR(m)  (((m)&S_IFMT) == S_IFDIR)
#define S_ISCHR(m)  (((m)&S_IFMT) == S_IFCHR)
#define S_ISFIFO(m) (((m)&S_IFMT) == S_IFIFO)
#define S_ISSOCK(m) (((m)&S_IFMT) == S_IFSOCK)
#endif

#define SEEK_SET  0
#define SEEK_CUR  1
#define SEEK_END  2
#define SEEK_DATA 3
#define SEEK_HOLE 4

#define DT_UNKNOWN    0
#define DT_DIR_TYPE   4
/* DT_* are the type bits of st_mode. */
#define MODE_DT(mode) ((uint8_t)(((mode)&S_IFMT) >> 12))

#define NAME_MAX_SIZE 255u
#define SYMLINKS_MAX  40
#define UTIME_NOW     0x3fffffffu
#define UTIME_OMIT    0x3ffffffeu
#define NS_PER_S      1000000000ull
#define FILE_SIZE_MAX 0x7fffffffffffffffull
#ifndef EPOLLIN /* linux/eventpoll.h has all of them */
#define EPOLLIN  0x001u
#define EPOLLOUT 0x004u
#define EPOLLERR 0x008u
#define EPOLLHUP 0x010u
#endif
/* The most one read or write moves (MAX_RW_COUNT). */
#define IO_SIZE_MAX           0x7ffff000ull
#define RENAME_NOREPLACE_FLAG 1u
#define RENAME_EXCHANGE_FLAG  2u
