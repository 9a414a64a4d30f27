/* Synchronous faults reach the program's handlers with the right numbers, codes and addresses, also on
 * an alternate stack, and the interrupted registers come back. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf g_back;
static volatile siginfo_t g_info;
static char *g_page;
static char g_stack[65536];

static void jump_out(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    g_info.si_signo = info->si_signo;
    g_info.si_code = info->si_code;
    g_info.si_addr = info->si_addr;
    siglongjmp(g_back, 1);
}

static void make_writable(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    if (mprotect(g_page, 4096, PROT_READ | PROT_WRITE) < 0)
        _exit(9);
}

static int on_alternate_stack;
static void skip_instruction(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    char here;
    on_alternate_stack = &here >= g_stack && &here < g_stack + sizeof(g_stack);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; /* ud2 */
}

static void handle(int number, void (*fn)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = { .sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags };
    if (sigaction(number, &action, NULL) < 0)
        exit(8);
}

int main(void)
{
    handle(SIGSEGV, jump_out, 0);
    handle(SIGFPE, jump_out, 0);
    handle(SIGILL, jump_out, 0);
    handle(SIGTRAP, jump_out, 0);
    handle(SIGBUS, jump_out, 0);

    if (!sigsetjmp(g_back, 1))
        *(volatile int *)0x18 = 1;
    printf("null write: %d %d %p\n", g_info.si_signo, g_info.si_code, g_info.si_addr);

    g_page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!sigsetjmp(g_back, 1))
        g_page[5] = 1;
    printf("read-only write: %d %d %td\n", g_info.si_signo, g_info.si_code,
           (char *)g_info.si_addr - g_page);

    volatile int zero = 0;
    if (!sigsetjmp(g_back, 1))
        printf("%d\n", 1 / zero);
    printf("division: %d %d\n", g_info.si_signo, g_info.si_code);

    if (!sigsetjmp(g_back, 1))
        __asm__ volatile("ud2");
    printf("ud2: %d %d\n", g_info.si_signo, g_info.si_code);

    if (!sigsetjmp(g_back, 1))
        ((void (*)(void))g_page)();
    printf("execute data: %d %d %td\n", g_info.si_signo, g_info.si_code,
           (char *)g_info.si_addr - g_page);

    munmap(g_page + 4096, 4096);
    if (!sigsetjmp(g_back, 1))
        zero = g_page[4096 + 7];
    printf("unmapped read: %d %d %td\n", g_info.si_signo, g_info.si_code,
           (char *)g_info.si_addr - g_page);

    /* The handler repairs, the instruction runs again, registers are as they were. */
    handle(SIGSEGV, make_writable, 0);
    long sum = 0;
    for (long i = 0; i < 10; i++) {
        if (i == 5)
            g_page[i] = 77;
        sum += i;
    }
    printf("repaired: %d, sum %ld\n", g_page[5], sum);

    stack_t stack = { .ss_sp = g_stack, .ss_size = sizeof(g_stack) };
    if (sigaltstack(&stack, NULL) < 0)
        return 8;
    handle(SIGILL, skip_instruction, SA_ONSTACK);
    register double in_xmm __asm__("xmm7") = 2.5;
    __asm__ volatile("ud2" : "+x"(in_xmm));
    printf("skipped, alternate stack %d, xmm7 %.1f\n", on_alternate_stack, in_xmm);

    signal(SIGSEGV, SIG_DFL);
    fflush(stdout);
    *(volatile int *)0x18 = 1;
    return 0;
}
