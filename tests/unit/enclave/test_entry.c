/* The image runs where it was linked or not at all: MRENCLAVE does not bind ELRANGE's base. */
#include <elf.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/layout.h"

/* Enters the image's text at base + its address, with that CSSA; GS is 0, so that the first look at
 * the thread block is a fault. Returns the signal that came. */
static int enter(uint64_t base, uint64_t cssa)
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
        signal(SIGILL, SIG_DFL);
        signal(SIGSEGV, SIG_DFL);
        __asm__ volatile("jmp *%0" : : "r"(base + e.e_entry), "a"(cssa) : "memory");
        __builtin_unreachable();
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    munmap(text, p.p_filesz);
    close(fd);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void test_base(void **state)
{
    (void)state;
    for (uint64_t cssa = 0; cssa < 2; cssa++) {
        assert_int_equal(enter(0, cssa), SIGSEGV);
        assert_int_equal(enter(0x40000000, cssa), SIGILL);
        assert_int_equal(enter(0x100000000000, cssa), SIGILL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_base) };
    return cmocka_run_group_tests_name("entry", tests, NULL, NULL);
}
