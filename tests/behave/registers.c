/* behave: cc -lm
 * A system call clobbers rax, rcx and r11 and nothing else: general, x87, vector and control registers,
 * the red zone, the direction flag. Each call site is used twice: trapped, then perhaps patched. */
#include <fenv.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct state {
    uint64_t general[12];
    uint8_t vector[16][16];
};

/* Puts known values into all registers and the red zone, does call nr, stores what is there then. */
long register_call(long nr, const struct state *before, struct state *after);
__asm__("    .text\n"
        "register_call:\n"
        "    push %rbx\n"
        "    push %rbp\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    sub $256, %rsp\n"
        "    mov %rdx, 248(%rsp)\n"
        "    mov %rsi, %r15\n"
        "    mov %rdi, %rax\n"
        "    movdqu 96(%r15), %xmm0\n"
        "    movdqu 112(%r15), %xmm1\n"
        "    movdqu 192(%r15), %xmm6\n"
        "    movdqu 208(%r15), %xmm7\n"
        "    movdqu 224(%r15), %xmm8\n"
        "    movdqu 336(%r15), %xmm15\n"
        "    mov 0(%r15), %rbx\n"
        "    mov 8(%r15), %rdx\n"
        "    mov 16(%r15), %rsi\n"
        "    mov 24(%r15), %rdi\n"
        "    mov 32(%r15), %rbp\n"
        "    mov 40(%r15), %r8\n"
        "    mov 48(%r15), %r9\n"
        "    mov 56(%r15), %r10\n"
        "    mov 64(%r15), %r12\n"
        "    mov 72(%r15), %r13\n"
        "    mov 80(%r15), %r14\n"
        "    mov %rdx, -8(%rsp)\n"
        "    mov %rdx, -128(%rsp)\n"
        "    syscall\n"
        "    mov 248(%rsp), %rcx\n"
        "    mov %rbx, 0(%rcx)\n"
        "    mov %rdx, 8(%rcx)\n"
        "    mov %rsi, 16(%rcx)\n"
        "    mov %rdi, 24(%rcx)\n"
        "    mov %rbp, 32(%rcx)\n"
        "    mov %r8, 40(%rcx)\n"
        "    mov %r9, 48(%rcx)\n"
        "    mov %r10, 56(%rcx)\n"
        "    mov %r12, 64(%rcx)\n"
        "    mov %r13, 72(%rcx)\n"
        "    mov %r14, 80(%rcx)\n"
        "    mov -8(%rsp), %r11\n"
        "    xor -128(%rsp), %r11\n"
        "    mov %r11, 88(%rcx)\n"
        "    movdqu %xmm0, 96(%rcx)\n"
        "    movdqu %xmm1, 112(%rcx)\n"
        "    movdqu %xmm6, 192(%rcx)\n"
        "    movdqu %xmm7, 208(%rcx)\n"
        "    movdqu %xmm8, 224(%rcx)\n"
        "    movdqu %xmm15, 336(%rcx)\n"
        "    add $256, %rsp\n"
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbp\n"
        "    pop %rbx\n"
        "    ret\n");

static uint64_t flags_after(void)
{
    uint64_t flags;
    __asm__ volatile("std\n\tmov $39, %%eax\n\tsyscall\n\tpushfq\n\tpop %0\n\tcld"
                     : "=r"(flags)
                     :
                     : "rax", "rcx", "r11", "memory");
    return flags;
}

static uint64_t rcx_is_next_instruction(void)
{
    uint64_t rcx, next;
    __asm__ volatile("mov $39, %%eax\n\tsyscall\n1:\tlea 1b(%%rip), %1"
                     : "=c"(rcx), "=r"(next)
                     :
                     : "rax", "r11", "memory");
    return rcx == next;
}

int main(void)
{
    static const struct {
        const char *name;
        long nr;
        uint64_t rdi, rsi, rdx;
    } cases[] = {
        { "getpid", SYS_getpid, 1, 2, 3 },
        { "write nothing", SYS_write, 1, 0, 0 },
        { "sched_yield", SYS_sched_yield, 5, 6, 7 },
        { "close bad", SYS_close, 9999, 6, 7 },
        { "no such call", 100000, 5, 6, 7 },
        { "bad pointer", SYS_clock_gettime, 1, 0x10, 7 },
    };
    fesetround(FE_UPWARD);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int round = 0; round < 3; round++) {
            struct state before, after;
            memset(&before, 0, sizeof(before));
            memset(&after, 0, sizeof(after));
            for (unsigned k = 0; k < 11; k++)
                before.general[k] = 0x1111111111111111ull * (k + 1);
            static const unsigned vectors[] = { 0, 1, 6, 7, 8, 15 };
            for (unsigned k = 0; k < 6; k++)
                memset(before.vector[vectors[k]], (int)(0x50 + k), 16);
            before.general[1] = cases[i].rdx;
            before.general[2] = cases[i].rsi;
            before.general[3] = cases[i].rdi;
            long r = register_call(cases[i].nr, &before, &after);
            if (cases[i].nr == SYS_getpid)
                r = r == getpid();
            printf("%s: %ld same %d\n", cases[i].name, r,
                   memcmp(&before, &after, sizeof(before)) == 0);
        }
    }
    printf("rounding %d\n", fegetround() == FE_UPWARD);
    for (int i = 0; i < 2; i++)
        printf("direction flag kept %d, rcx %d\n", (int)(flags_after() >> 10 & 1),
               (int)rcx_is_next_instruction());
    double third;
    volatile double one = 1, three = 3;
    third = one / three;
    printf("%a\n", third);
    return 0;
}
