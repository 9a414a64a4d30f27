/*
 * What lies below the library OS's files, faked: a manifest made from a table, a border whose host
 * is a folder of this machine, a heap, program memory that is the test's own.
 *
 * The code under test keeps its state in statics, so every scenario runs in a child process:
 * vfs_child.
 */
#pragma once

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "abi/manifest.h"
#include "abi/ocall.h"
#include "sys/sys.h"

/* One record; content is what a trusted file holds (and its leaves are made of), or a link's
 * target. */
struct fake_record {
    const char *path;
    uint32_t class, flags, mode;
    const char *content;
    uint64_t size;  /* of content, 0: strlen */
    bool temporary; /* scratch: nlink 0 */
};

/* Adds a record. "/" and missing parents come by themselves, as trusted directories. */
void fake_add(const struct fake_record *record);
void fake_add_link_of(const char *path, const char *of); /* a hard link: same ino */
/* Adds a whole tree of this machine, below path: files trusted, all directories listed. */
void fake_add_tree(const char *host_dir, const char *path);
/* The calling thread is one of the library OS: current(). fake_start does that. */
void fake_thread_start(void);
/* Compiles and opens the manifest, starts the file systems. cwd: the node's. */
void fake_start(const char *cwd);

/* The host: paths of the manifest are below this folder. */
extern char g_fake_root[256];
extern uint64_t g_fake_calls[OCALL_COUNT];
/* Set: may answer a call in place of the host (true), *ret its result; g_fake_window, g_fake_out.
 */
extern bool (*g_fake_hook)(enum ocall_nr nr, const uint64_t args[6], int64_t *ret);
extern _Thread_local uint8_t g_fake_window[OCALL_DATA_SIZE];
extern _Thread_local uint64_t g_fake_out[4];
/* The last refusal, how many audit lines, the last one. */
extern struct ocall_refusal g_fake_refusal;
extern char g_fake_refused_path[4096];
extern unsigned g_fake_refusals, g_fake_audits;
extern uint32_t g_fake_audit_event;
extern char g_fake_audit_path[8192];
extern jmp_buf g_fake_abort; /* refuse_abort goes here if armed, panics otherwise */
extern bool g_fake_abort_armed;
extern bool g_fake_no_tags;                          /* AES-GCM opens whatever it is given */
extern unsigned g_fake_errors;                       /* lines of log_error() */
extern uint64_t g_fake_heap_limit, g_fake_heap_used; /* bytes */
/* Program memory at [0, 4096) is always bad; this range is too. */
extern uint64_t g_fake_bad_start, g_fake_bad_end;

/* Runs body in a child process with a fresh host folder; fails the test if the child does. */
void vfs_child(void (*body)(void));

#define CHECK(cond, ...)                                               \
    do {                                                               \
        if (!(cond)) {                                                 \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #cond); \
            fprintf(stderr, __VA_ARGS__);                              \
            fprintf(stderr, "\n");                                     \
            _exit(1);                                                  \
        }                                                              \
    } while (0)
#define CHECK_EQ(got, want, ...)                                                             \
    do {                                                                                     \
        long long got_ = (long long)(got), want_ = (long long)(want);                        \
        if (got_ != want_) {                                                                 \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld: ", __FILE__, __LINE__, #got, got_, \
                    want_);                                                                  \
            fprintf(stderr, __VA_ARGS__);                                                    \
            fprintf(stderr, "\n");                                                           \
            _exit(1);                                                                        \
        }                                                                                    \
    } while (0)

#define U(x)           ((uint64_t)(x))
#define FAKE_CWD       U((int64_t)-100)
#define SYS(name, ...) (sys_##name(&(struct sysargs){ .a = { __VA_ARGS__ } }))
extern sys_fn sys_open, sys_openat, sys_close, sys_read, sys_write, sys_pread64, sys_pwrite64,
    sys_readv, sys_writev, sys_lseek, sys_stat, sys_lstat, sys_fstat, sys_newfstatat, sys_access,
    sys_readlink, sys_getdents64, sys_getcwd, sys_chdir, sys_fchdir, sys_mkdir, sys_mkdirat,
    sys_rmdir, sys_unlink, sys_unlinkat, sys_rename, sys_renameat2, sys_link, sys_linkat,
    sys_symlink, sys_truncate, sys_ftruncate, sys_fallocate, sys_chmod, sys_fchmod, sys_utimensat,
    sys_dup, sys_dup2, sys_dup3, sys_fcntl, sys_ioctl, sys_sendfile, sys_copy_file_range,
    sys_memfd_create, sys_umask, sys_statx, sys_faccessat2, sys_close_range, sys_statfs,
    sys_readlinkat, sys_mknod, sys_getdents, sys_flock, sys_chown, sys_getxattr, sys_listxattr,
    sys_setxattr, sys_removexattr, sys_fgetxattr, sys_lsetxattr, sys_preadv2;
