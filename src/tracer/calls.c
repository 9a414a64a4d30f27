#include "tracer/calls.h"

#include <assert.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <fcntl.h>

#include "tracer/trace.h"

#define NO CALL_NO_ARG

const struct call calls[] = {
    { "open", 2, 5, CALL_OPEN, NO, 0, 1, 0, 0 },
    { "creat", 85, 8, CALL_OPEN, NO, 0, NO, 0, CALL_CREAT },
    { "openat", 257, 295, CALL_OPEN, 0, 1, 2, 0, 0 },
    { "openat2", 437, 437, CALL_OPEN, 0, 1, NO, 0, CALL_OPENAT2 },
    { "stat", 4, 106, CALL_PROBE, NO, 0, NO, TRACE_STAT, 0 },
    { "stat64", -1, 195, CALL_PROBE, NO, 0, NO, TRACE_STAT, 0 },
    { "oldstat", -1, 18, CALL_PROBE, NO, 0, NO, TRACE_STAT, 0 },
    { "access", 21, 33, CALL_PROBE, NO, 0, NO, TRACE_STAT, 0 },
    { "statfs", 137, 99, CALL_PROBE, NO, 0, NO, TRACE_STAT, 0 },
    { "statfs64", -1, 268, CALL_PROBE, NO, 0, NO, TRACE_STAT, 0 },
    { "getxattr", 191, 229, CALL_PROBE, NO, 0, NO, TRACE_STAT, 0 },
    { "listxattr", 194, 232, CALL_PROBE, NO, 0, NO, TRACE_STAT, 0 },
    { "lstat", 6, 107, CALL_PROBE, NO, 0, NO, TRACE_STAT, CALL_NOFOLLOW },
    { "lstat64", -1, 196, CALL_PROBE, NO, 0, NO, TRACE_STAT, CALL_NOFOLLOW },
    { "oldlstat", -1, 84, CALL_PROBE, NO, 0, NO, TRACE_STAT, CALL_NOFOLLOW },
    { "lgetxattr", 192, 230, CALL_PROBE, NO, 0, NO, TRACE_STAT, CALL_NOFOLLOW },
    { "llistxattr", 195, 233, CALL_PROBE, NO, 0, NO, TRACE_STAT, CALL_NOFOLLOW },
    { "newfstatat", 262, -1, CALL_PROBE, 0, 1, 3, TRACE_STAT, 0 },
    { "fstatat64", -1, 300, CALL_PROBE, 0, 1, 3, TRACE_STAT, 0 },
    { "statx", 332, 383, CALL_PROBE, 0, 1, 2, TRACE_STAT, 0 },
    { "getxattrat", 464, 464, CALL_PROBE, 0, 1, 2, TRACE_STAT, 0 },
    { "listxattrat", 465, 465, CALL_PROBE, 0, 1, 2, TRACE_STAT, 0 },
    { "file_getattr", 468, 468, CALL_PROBE, 0, 1, 4, TRACE_STAT, 0 },
    { "name_to_handle_at", 303, 341, CALL_PROBE, 0, 1, NO, TRACE_STAT, CALL_NOFOLLOW },
    { "faccessat", 269, 307, CALL_PROBE, 0, 1, NO, TRACE_STAT, 0 },
    { "faccessat2", 439, 439, CALL_PROBE, 0, 1, 3, TRACE_STAT, 0 },
    { "inotify_add_watch", 254, 292, CALL_PROBE, NO, 1, NO, TRACE_STAT, 0 },
    { "readlink", 89, 85, CALL_PROBE, NO, 0, NO, TRACE_LINK, CALL_NOFOLLOW },
    { "readlinkat", 267, 305, CALL_PROBE, 0, 1, NO, TRACE_LINK, CALL_NOFOLLOW },
    { "chmod", 90, 15, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, 0 },
    { "chown", 92, 182, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, 0 },
    { "chown32", -1, 212, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, 0 },
    { "utime", 132, 30, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, 0 },
    { "utimes", 235, 271, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, 0 },
    { "setxattr", 188, 226, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, 0 },
    { "removexattr", 197, 235, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, 0 },
    { "lchown", 94, 16, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, CALL_NOFOLLOW },
    { "lchown32", -1, 198, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, CALL_NOFOLLOW },
    { "lsetxattr", 189, 227, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, CALL_NOFOLLOW },
    { "lremovexattr", 198, 236, CALL_CHANGE, NO, 0, NO, TRACE_CHANGED, CALL_NOFOLLOW },
    { "fchmodat", 268, 306, CALL_CHANGE, 0, 1, NO, TRACE_CHANGED, 0 },
    { "futimesat", 261, 299, CALL_CHANGE, 0, 1, NO, TRACE_CHANGED, 0 },
    { "fchmodat2", 452, 452, CALL_CHANGE, 0, 1, 3, TRACE_CHANGED, 0 },
    { "utimensat", 280, 320, CALL_CHANGE, 0, 1, 3, TRACE_CHANGED, 0 },
    { "utimensat_time64", -1, 412, CALL_CHANGE, 0, 1, 3, TRACE_CHANGED, 0 },
    { "fchownat", 260, 298, CALL_CHANGE, 0, 1, 4, TRACE_CHANGED, 0 },
    { "setxattrat", 463, 463, CALL_CHANGE, 0, 1, 2, TRACE_CHANGED, 0 },
    { "removexattrat", 466, 466, CALL_CHANGE, 0, 1, 2, TRACE_CHANGED, 0 },
    { "file_setattr", 469, 469, CALL_CHANGE, 0, 1, 4, TRACE_CHANGED, 0 },
    { "truncate", 76, 92, CALL_CHANGE, NO, 0, NO, TRACE_WRITTEN | TRACE_TRUNCATED, CALL_TRUNCATE },
    { "truncate64", -1, 193, CALL_CHANGE, NO, 0, NO, TRACE_WRITTEN | TRACE_TRUNCATED,
      CALL_TRUNCATE },
    { "mkdir", 83, 39, CALL_CHANGE, NO, 0, NO, TRACE_CREATED, CALL_NOFOLLOW },
    { "mknod", 133, 14, CALL_CHANGE, NO, 0, NO, TRACE_CREATED, CALL_NOFOLLOW },
    { "mkdirat", 258, 296, CALL_CHANGE, 0, 1, NO, TRACE_CREATED, CALL_NOFOLLOW },
    { "mknodat", 259, 297, CALL_CHANGE, 0, 1, NO, TRACE_CREATED, CALL_NOFOLLOW },
    { "symlink", 88, 83, CALL_SYMLINK, NO, 1, NO, TRACE_CREATED, CALL_NOFOLLOW },
    { "symlinkat", 266, 304, CALL_SYMLINK, 1, 2, NO, TRACE_CREATED, CALL_NOFOLLOW },
    { "unlink", 87, 10, CALL_CHANGE, NO, 0, NO, TRACE_REMOVED, CALL_NOFOLLOW },
    { "rmdir", 84, 40, CALL_CHANGE, NO, 0, NO, TRACE_REMOVED, CALL_NOFOLLOW },
    { "unlinkat", 263, 301, CALL_CHANGE, 0, 1, NO, TRACE_REMOVED, CALL_NOFOLLOW },
    { "rename", 82, 38, CALL_MOVE, NO, 0, NO, 0, CALL_NOFOLLOW },
    { "renameat", 264, 302, CALL_MOVE, 0, 1, NO, 0, CALL_NOFOLLOW },
    { "renameat2", 316, 353, CALL_MOVE, 0, 1, 4, 0, CALL_NOFOLLOW },
    { "link", 86, 9, CALL_LINK, NO, 0, NO, 0, CALL_NOFOLLOW },
    { "linkat", 265, 303, CALL_LINK, 0, 1, 4, 0, CALL_NOFOLLOW },
    { "chdir", 80, 12, CALL_CHDIR, NO, 0, NO, TRACE_OPENED, 0 },
    { "fchdir", 81, 133, CALL_FCHDIR, 0, NO, NO, 0, 0 },
    { "chroot", 161, 61, CALL_CHROOT, NO, 0, NO, TRACE_OPENED, 0 },
    { "getdents", 78, 141, CALL_GETDENTS, 0, NO, NO, 0, 0 },
    { "getdents64", 217, 220, CALL_GETDENTS, 0, NO, NO, 0, 0 },
    { "readdir", -1, 89, CALL_GETDENTS, 0, NO, NO, 0, 0 },
    { "execve", 59, 11, CALL_EXEC, NO, 0, NO, 0, 0 },
    { "execveat", 322, 358, CALL_EXEC, 0, 1, 4, 0, 0 },
    { "mmap", 9, -1, CALL_MMAP, 4, NO, NO, 0, 0 },
    { "mmap2", -1, 192, CALL_MMAP, 4, NO, NO, 0, 0 },
    { "mprotect", 10, 125, CALL_MPROTECT, NO, NO, NO, 0, 0 },
    { "pkey_mprotect", 329, 380, CALL_MPROTECT, NO, NO, NO, 0, 0 },
    { "bind", 49, 361, CALL_SOCKET, 0, 1, NO, TRACE_BOUND, 0 },
    { "connect", 42, 362, CALL_SOCKET, 0, 1, NO, TRACE_CONNECTED, 0 },
    { "listen", 50, 363, CALL_LISTEN, NO, NO, NO, 0, 0 },
    { "sendto", 44, -1, CALL_SEND, NO, NO, NO, 0, 0 },
    { "sendmsg", 46, -1, CALL_SEND, NO, NO, NO, 0, CALL_MESSAGE },
    { "sendmmsg", 307, -1, CALL_SEND, NO, NO, NO, 0, CALL_MESSAGE | CALL_MESSAGES },
    { "socketcall", -1, 102, CALL_SOCKETCALL, NO, 1, NO, 0, 0 },
    { "clone", 56, 120, CALL_CLONE, NO, NO, 0, 0, 0 },
    { "clone3", 435, 435, CALL_CLONE, NO, 0, NO, 0, CALL_CLONE3 },
    { "umask", 95, 60, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setuid", 105, 23, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setgid", 106, 46, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setreuid", 113, 70, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setregid", 114, 71, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setresuid", 117, 164, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setresgid", 119, 170, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setuid32", -1, 213, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setgid32", -1, 214, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setreuid32", -1, 203, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setregid32", -1, 204, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setresuid32", -1, 208, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "setresgid32", -1, 210, CALL_IDENTITY, NO, NO, NO, 0, 0 },
    { "unshare", 272, 310, CALL_NAMESPACE, NO, NO, 0, 0, 0 },
    { "setns", 308, 346, CALL_NAMESPACE, NO, NO, 1, 0, 0 },
    { "mount", 165, 21, CALL_MOUNT, NO, NO, NO, 0, 0 },
    { "umount", -1, 22, CALL_MOUNT, NO, NO, NO, 0, 0 },
    { "umount2", 166, 52, CALL_MOUNT, NO, NO, NO, 0, 0 },
    { "pivot_root", 155, 217, CALL_MOUNT, NO, NO, NO, 0, 0 },
    { "move_mount", 429, 429, CALL_MOUNT, NO, NO, NO, 0, 0 },
    { "open_tree", 428, 428, CALL_MOUNT, NO, NO, NO, 0, 0 },
    { "open_tree_attr", 467, 467, CALL_MOUNT, NO, NO, NO, 0, 0 },
    { "fsmount", 432, 432, CALL_MOUNT, NO, NO, NO, 0, 0 },
    { "ptrace", 101, 26, CALL_PTRACE, NO, NO, NO, 0, 0 },
    { "io_uring_setup", 425, 425, CALL_REFUSE, NO, NO, NO, 0, 0 },
    { "open_by_handle_at", 304, 342, CALL_ESCAPE, NO, NO, NO, 0, 0 },
    { "uselib", 134, 86, CALL_ESCAPE, NO, NO, NO, 0, 0 },
    { "pidfd_getfd", 438, 438, CALL_ESCAPE, NO, NO, NO, 0, 0 },
    { "old_mmap", -1, 90, CALL_MMAP, NO, 0, NO, 0, CALL_OLD_MMAP },
    { "a call newer than this program", -1, -1, CALL_UNKNOWN, NO, NO, NO, 0, 0 },
    { "an x32 call", -1, -1, CALL_X32, NO, NO, NO, 0, 0 },
};
const size_t calls_count = ARRAY_SIZE(calls);

#undef NO

/* ---- the filter: a binary search over the numbers, then the arguments where they decide ---- */

struct emitter {
    struct sock_filter *code;
    size_t count;
};

#define ARG_LOW(n) ((uint32_t)(offsetof(struct seccomp_data, args) + 8 * (n)))

static void emit(struct emitter *e, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    assert(e->count < CALLS_FILTER_MAX);
    e->code[e->count++] = (struct sock_filter){ .code = code, .jt = jt, .jf = jf, .k = k };
}

static void emit_allow(struct emitter *e)
{
    emit(e, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
}

static void emit_trace(struct emitter *e, size_t index)
{
    emit(e, BPF_RET | BPF_K, SECCOMP_RET_TRACE | (uint32_t)index, 0, 0);
}

static void emit_load(struct emitter *e, uint32_t offset)
{
    emit(e, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

/* Goes on only if (argument & mask) != 0; else the call is allowed. */
static void emit_need_bits(struct emitter *e, unsigned arg, uint32_t mask)
{
    emit_load(e, ARG_LOW(arg));
    emit(e, BPF_JMP | BPF_JSET | BPF_K, mask, 1, 0);
    emit_allow(e);
}

/* The accumulator no longer holds the number here. */
static void emit_call(struct emitter *e, size_t index)
{
    const struct call *c = &calls[index];
    switch (c->op) {
    case CALL_MMAP:
        if (c->flags & CALL_OLD_MMAP)
            break;
        emit_need_bits(e, 2, PROT_EXEC);
        emit_load(e, ARG_LOW(3));
        emit(e, BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1);
        emit_allow(e);
        break;
    case CALL_MPROTECT: emit_need_bits(e, 2, PROT_EXEC); break;
    case CALL_CLONE:
        /* clone3's flags lie in memory: it always stops. */
        if (!(c->flags & CALL_CLONE3))
            emit_need_bits(e, 0, CLONE_UNTRACED | CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID);
        break;
    case CALL_PROBE:
        /* fstat: the C library asks by newfstatat(fd, "", st, AT_EMPTY_PATH), a third of all
         * stops of a Python start. The filter cannot read the name; exactly this flag together
         * with a real name and a descriptor is not seen (record.h says so). */
        if (c->number_64 != 262)
            break;
        emit_load(e, ARG_LOW(3));
        emit(e, BPF_JMP | BPF_JEQ | BPF_K, AT_EMPTY_PATH, 0, 3);
        emit_load(e, ARG_LOW(0));
        emit(e, BPF_JMP | BPF_JSET | BPF_K, 0x80000000u, 1, 0);
        emit_allow(e);
        break;
    case CALL_SEND:
        /* Without an address it is a write. */
        if (!(c->flags & CALL_MESSAGE))
            emit_need_bits(e, 4, UINT32_MAX);
        break;
    case CALL_SOCKETCALL:
        /* 2 is bind, 3 is connect. */
        emit_load(e, ARG_LOW(0));
        emit(e, BPF_JMP | BPF_JEQ | BPF_K, 2, 2, 0);
        emit(e, BPF_JMP | BPF_JEQ | BPF_K, 3, 1, 0);
        emit_allow(e);
        break;
    default: break;
    }
    emit_trace(e, index);
}

struct numbered {
    uint32_t number;
    size_t index;
};

static int compare_numbers(const void *a, const void *b)
{
    const struct numbered *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static void emit_search(struct emitter *e, const struct numbered *list, size_t count)
{
    if (count == 1) {
        emit(e, BPF_JMP | BPF_JEQ | BPF_K, list->number, 1, 0);
        emit_allow(e);
        emit_call(e, list->index);
        return;
    }
    size_t half = count / 2;
    /* Conditional jumps reach 255 instructions only; JA reaches all. */
    emit(e, BPF_JMP | BPF_JGE | BPF_K, list[half].number, 0, 1);
    size_t jump = e->count;
    emit(e, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_search(e, list, half);
    e->code[jump].k = (uint32_t)(e->count - jump - 1);
    emit_search(e, list + half, count - half);
}

static void emit_arch(struct emitter *e, int is_32)
{
    struct numbered list[ARRAY_SIZE(calls)] = { 0 };
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
        int number = is_32 ? calls[i].number_32 : calls[i].number_64;
        if (number >= 0)
            list[count++] = (struct numbered){ .number = (uint32_t)number, .index = i };
    }
    qsort(list, count, sizeof(*list), compare_numbers);

    emit_load(e, offsetof(struct seccomp_data, nr));
    if (!is_32) {
        /* -1 is how a tracer skips a call; it has the x32 bit too. */
        emit(e, BPF_JMP | BPF_JEQ | BPF_K, UINT32_MAX, 0, 1);
        emit_allow(e);
        emit(e, BPF_JMP | BPF_JGE | BPF_K, CALLS_X32_BIT, 0, 1);
        emit_trace(e, ARRAY_SIZE(calls) - 1);
    }
    emit(e, BPF_JMP | BPF_JGT | BPF_K, is_32 ? CALLS_LAST_32 : CALLS_LAST_64, 0, 1);
    emit_trace(e, ARRAY_SIZE(calls) - 2);
    emit_search(e, list, count);
}

size_t calls_filter(struct sock_filter ret_filter[static CALLS_FILTER_MAX])
{
    struct emitter e = { .code = ret_filter };
    emit_load(&e, offsetof(struct seccomp_data, arch));
    emit(&e, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_I386, 0, 1);
    size_t jump = e.count;
    emit(&e, BPF_JMP | BPF_JA, 0, 0, 0);
    emit_arch(&e, 0);
    e.code[jump].k = (uint32_t)(e.count - jump - 1);
    emit_arch(&e, 1);
    return e.count;
}
