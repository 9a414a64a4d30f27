/*
 * The seccomp filter, run by a small interpreter of classic BPF (linux/filter.h, networking/filter
 * in the kernel's documentation): every call lands where the table says, by number, architecture
 * and arguments; and the kernel takes it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracer/calls.h"

static struct sock_filter g_code[CALLS_FILTER_MAX];
static size_t g_count;

static uint32_t run_filter(const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (size_t pc = 0; pc < g_count; pc++) {
        const struct sock_filter *f = &g_code[pc];
        switch (f->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(f->k % 4 == 0 && f->k + 4 <= sizeof(*data));
            memcpy(&a, (const char *)data + f->k, sizeof(a));
            break;
        case BPF_RET | BPF_K: return f->k;
        case BPF_JMP | BPF_JA: pc += f->k; break;
        case BPF_JMP | BPF_JEQ | BPF_K: pc += a == f->k ? f->jt : f->jf; break;
        case BPF_JMP | BPF_JGT | BPF_K: pc += a > f->k ? f->jt : f->jf; break;
        case BPF_JMP | BPF_JGE | BPF_K: pc += a >= f->k ? f->jt : f->jf; break;
        case BPF_JMP | BPF_JSET | BPF_K: pc += a & f->k ? f->jt : f->jf; break;
        default: fail_msg("instruction %zu: unknown code %u", pc, f->code);
        }
    }
    fail_msg("ran past the end");
    return 0;
}

static uint32_t filter_call(uint32_t arch, int number, const uint64_t args[6])
{
    struct seccomp_data data = { .nr = number, .arch = arch };
    if (args)
        memcpy(data.args, args, sizeof(data.args));
    return run_filter(&data);
}

static const char *name_of(uint32_t action)
{
    if (action == SECCOMP_RET_ALLOW)
        return "-";
    assert_int_equal(action & SECCOMP_RET_ACTION_FULL, SECCOMP_RET_TRACE);
    assert_true((action & SECCOMP_RET_DATA) < calls_count);
    return calls[action & SECCOMP_RET_DATA].name;
}

static const uint32_t arches[2] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386 };

/* Arguments with which a call of that kind does stop. */
static const uint64_t *stopping_args(const struct call *c)
{
    static const uint64_t mmap_args[6] = { [2] = PROT_READ | PROT_EXEC, [3] = MAP_PRIVATE };
    static const uint64_t clone_args[6] = { CLONE_UNTRACED };
    static const uint64_t bind_args[6] = { 2 };
    static const uint64_t sendto_args[6] = { [4] = 0x7ffc00001000 };
    static const uint64_t none[6];
    switch (c->op) {
    case CALL_MMAP:
    case CALL_MPROTECT: return mmap_args;
    case CALL_CLONE: return clone_args;
    case CALL_SOCKETCALL: return bind_args;
    case CALL_SEND: return sendto_args;
    default: return none;
    }
}

static void test_every_number(void **state UNUSED)
{
    for (int is_32 = 0; is_32 < 2; is_32++) {
        for (int nr = 0; nr <= (is_32 ? CALLS_LAST_32 : CALLS_LAST_64); nr++) {
            const char *want = "-";
            const uint64_t *args = NULL;
            for (size_t i = 0; i < calls_count; i++) {
                if ((is_32 ? calls[i].number_32 : calls[i].number_64) == nr) {
                    want = calls[i].name;
                    args = stopping_args(&calls[i]);
                }
            }
            const char *got = name_of(filter_call(arches[is_32], nr, args));
            if (strcmp(got, want) != 0)
                fail_msg("%s %d: got %s, want %s", is_32 ? "i386" : "x86-64", nr, got, want);
        }
    }
}

static void test_numbers_stand_once(void **state UNUSED)
{
    for (size_t i = 0; i < calls_count; i++) {
        for (size_t k = i + 1; k < calls_count; k++) {
            if ((calls[i].number_64 >= 0 && calls[i].number_64 == calls[k].number_64) ||
                (calls[i].number_32 >= 0 && calls[i].number_32 == calls[k].number_32))
                fail_msg("%s and %s have the same number", calls[i].name, calls[k].name);
        }
    }
}

/* Against the compiler's headers, as far as those go. */
static void test_numbers_are_the_kernels(void **state UNUSED)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {
        { "open", SYS_open },
        { "openat", SYS_openat },
        { "openat2", SYS_openat2 },
        { "stat", SYS_stat },
        { "lstat", SYS_lstat },
        { "statx", SYS_statx },
        { "newfstatat", SYS_newfstatat },
        { "access", SYS_access },
        { "faccessat2", SYS_faccessat2 },
        { "execve", SYS_execve },
        { "execveat", SYS_execveat },
        { "readlink", SYS_readlink },
        { "mmap", SYS_mmap },
        { "readlinkat", SYS_readlinkat },
        { "bind", SYS_bind },
        { "getdents64", SYS_getdents64 },
        { "chdir", SYS_chdir },
        { "renameat2", SYS_renameat2 },
        { "unlinkat", SYS_unlinkat },
        { "mkdir", SYS_mkdir },
        { "clone3", SYS_clone3 },
        { "clone", SYS_clone },
        { "unshare", SYS_unshare },
        { "connect", SYS_connect },
        { "truncate", SYS_truncate },
        { "fchdir", SYS_fchdir },
        { "io_uring_setup", SYS_io_uring_setup },
        { "ptrace", SYS_ptrace },
        { "pkey_mprotect", SYS_pkey_mprotect },
        { "chroot", SYS_chroot },
        { "getxattr", SYS_getxattr },
        { "utimensat", SYS_utimensat },
        { "creat", SYS_creat },
        { "symlinkat", SYS_symlinkat },
        { "linkat", SYS_linkat },
        { "setns", SYS_setns },
        { "mknodat", SYS_mknodat },
        { "fchownat", SYS_fchownat },
        { "statfs", SYS_statfs },
        { "pivot_root", SYS_pivot_root },
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        int got = -1;
        for (size_t k = 0; k < calls_count; k++) {
            if (strcmp(calls[k].name, known[i].name) == 0)
                got = calls[k].number_64;
        }
        if (got != known[i].number)
            fail_msg("%s: got %d, want %d", known[i].name, got, known[i].number);
    }
}

static const struct {
    const char *label;
    int is_32, number;
    uint64_t args[6];
    const char *want;
} cases[] = {
    { "mmap, not executable", 0, 9, { [2] = PROT_READ, [3] = MAP_PRIVATE }, "-" },
    { "mmap, anonymous", 0, 9, { [2] = PROT_EXEC, [3] = MAP_ANONYMOUS }, "-" },
    { "mmap, executable", 0, 9, { [2] = PROT_EXEC, [3] = MAP_PRIVATE }, "mmap" },
    { "mmap2, executable", 1, 192, { [2] = PROT_EXEC, [3] = MAP_PRIVATE }, "mmap2" },
    { "old mmap", 1, 90, { 0 }, "old_mmap" },
    { "mprotect, read only", 0, 10, { [2] = PROT_READ }, "-" },
    { "mprotect, executable", 0, 10, { [2] = PROT_EXEC | PROT_READ }, "mprotect" },
    { "fork by clone", 0, 56, { 0x01200011 }, "-" },
    { "thread", 0, 56, { 0x003d0f00 }, "-" },
    { "clone, untraced", 0, 56, { CLONE_UNTRACED | 17 }, "clone" },
    { "clone, mount namespace", 0, 56, { CLONE_NEWNS | 17 }, "clone" },
    { "clone3", 0, 435, { 0 }, "clone3" },
    { "fstat", 0, 262, { 3, 0, 0, AT_EMPTY_PATH }, "-" },
    { "fstatat", 0, 262, { 3, 0, 0, 0 }, "newfstatat" },
    { "fstatat of the cwd", 0, 262, { (uint32_t)AT_FDCWD, 0, 0, AT_EMPTY_PATH }, "newfstatat" },
    { "fstatat of the cwd, wide",
      0,
      262,
      { (uint64_t)AT_FDCWD, 0, 0, AT_EMPTY_PATH },
      "newfstatat" },
    { "lstat by fstatat", 0, 262, { 3, 0, 0, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW }, "newfstatat" },
    { "sendto without an address", 0, 44, { 3, 0x1000, 5 }, "-" },
    { "sendto with one", 0, 44, { 3, 0x1000, 5, 0, 0x2000, 16 }, "sendto" },
    { "i386 socket", 1, 102, { 1 }, "-" },
    { "i386 bind", 1, 102, { 2 }, "socketcall" },
    { "i386 connect", 1, 102, { 3 }, "socketcall" },
    { "i386 listen", 1, 102, { 4 }, "-" },
    { "read", 0, 0, { 0 }, "-" },
    { "i386 open", 1, 5, { 0 }, "open" },
    { "x86-64 number 5 is fstat", 0, 5, { 0 }, "-" },
    { "newer", 0, CALLS_LAST_64 + 1, { 0 }, "a call newer than this program" },
    { "newer i386", 1, 100000, { 0 }, "a call newer than this program" },
    { "x32 open", 0, (int)CALLS_X32_BIT + 2, { 0 }, "an x32 call" },
    { "skipped", 0, -1, { 0 }, "-" },
};

static void test_arguments(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *got =
            name_of(filter_call(arches[cases[i].is_32], cases[i].number, cases[i].args));
        if (strcmp(got, cases[i].want) != 0)
            fail_msg("%s: got %s, want %s", cases[i].label, got, cases[i].want);
    }
}

/* Without a tracer, RET_TRACE is ENOSYS: that is how the kernel shows what it decided. */
static void test_kernel_takes_it(void **state UNUSED)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct sock_fprog program = { .len = (unsigned short)g_count, .filter = g_code };
        char byte = 0;
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
            syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
            _exit(1);
        if (syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY) != -1 || errno != ENOSYS)
            _exit(2);
        if (syscall(SYS_read, -1, &byte, 1) != -1 || errno != EBADF)
            _exit(3);
        if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
            _exit(4);
        if (mmap(NULL, 4096, PROT_EXEC, MAP_PRIVATE, 0, 0) != MAP_FAILED || errno != ENOSYS)
            _exit(5);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    g_count = calls_filter(g_code);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number),
        cmocka_unit_test(test_numbers_stand_once),
        cmocka_unit_test(test_numbers_are_the_kernels),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_kernel_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
