/* The image runs where it was linked or not at all, since MRENCLAVE does not bind ELRANGE's base;
 * and a thread area is entered only in the states that wait for it. */
#include <asm/prctl.h>
#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/layout.h"
#include "arch/thread.h"

#define TARGET  0x123456780 /* where EEXIT must go */
#define LEFT    1000        /* EEXIT was executed, to there */
#define NO_GS   UINT64_MAX
#define EXIT_OK 77

static uint64_t g_block[LAYOUT_PAGE / 8];
static uint64_t g_state;

/* Without SGX, ENCLU is an invalid instruction as ud2 is. */
static void invalid(int number, siginfo_t *info, void *context)
{
    const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    (void)info;
    if (memcmp((void *)r[REG_RIP], "\x0f\x01\xd7", 3) == 0 && r[REG_RAX] == 4 &&
        r[REG_RBX] == TARGET && !r[REG_RCX] && !r[REG_RDX] && !r[REG_R10] &&
        g_block[THREAD_STATE / 8] == g_state)
        _exit(EXIT_OK);
    signal(number, SIG_DFL);
}

/* Enters the image's text at base + its address, with that CSSA and the thread block in that state;
 * NO_GS: the first look at the thread block is a fault. Returns the signal that came, or LEFT. */
static int enter(uint64_t base, uint64_t cssa, uint64_t state)
{
    int fd = open(getenv("LIBOS_IMAGE"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    Elf64_Ehdr e;
    Elf64_Phdr p;
    assert_int_equal(pread(fd, &e, sizeof(e), 0), sizeof(e));
    assert_int_equal(pread(fd, &p, sizeof(p), (off_t)e.e_phoff), sizeof(p));
    assert_true(p.p_type == PT_LOAD && (p.p_flags & PF_X) && p.p_vaddr == LAYOUT_IMAGE);
    void *text = mmap((void *)(base + p.p_vaddr), p.p_filesz, PROT_READ | PROT_EXEC,
                      MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, (off_t)p.p_offset);
    assert_ptr_equal(text, (void *)(base + p.p_vaddr));
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct sigaction act = { .sa_sigaction = invalid, .sa_flags = SA_SIGINFO };
        sigaction(SIGILL, &act, NULL);
        signal(SIGSEGV, SIG_DFL);
        g_block[THREAD_STATE / 8] = g_state = state;
        syscall(SYS_arch_prctl, ARCH_SET_GS, state == NO_GS ? NULL : g_block);
        __asm__ volatile("jmp *%0"
                         :
                         : "r"(base + e.e_entry), "a"(cssa), "c"((uint64_t)TARGET)
                         : "memory");
        __builtin_unreachable();
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    munmap(text, p.p_filesz);
    close(fd);
    if (WIFSIGNALED(status))
        return WTERMSIG(status);
    return WEXITSTATUS(status) == EXIT_OK ? LEFT : 0;
}

static void test_base(void **state)
{
    (void)state;
    for (uint64_t cssa = 0; cssa < 2; cssa++) {
        assert_int_equal(enter(0, cssa, NO_GS), SIGSEGV);
        assert_int_equal(enter(0x40000000, cssa, NO_GS), SIGILL);
        assert_int_equal(enter(0x100000000000, cssa, NO_GS), SIGILL);
    }
}

static void test_states(void **state)
{
    (void)state;
    assert_int_equal(enter(0, 0, THREAD_STATE_FILLED), LEFT);
    assert_int_equal(enter(0, 0, THREAD_STATE_RUNNING), LEFT);
    assert_int_equal(enter(0, 0, THREAD_STATE_DEAD), LEFT);
    /* The stacks are not there. */
    assert_int_equal(enter(0, 0, THREAD_STATE_NEW), SIGSEGV);
    assert_int_equal(enter(0, 0, THREAD_STATE_OCALL), SIGSEGV);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_base),
                                        cmocka_unit_test(test_states) };
    return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
