/*
 * System calls as compilers write them: with other registers set between the number and the `syscall`, through libc's
 * syscall(), and jumped into. Each runs several times, as the first run may change what the next ones execute.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* site_NAME(rdi, rsi, rdx); all but the last leave through `syscall; ret`. */
long site_plain(long a, long b, long c);
long site_address(long a, long b, long c);
long site_numbers(long a, long b, long c);
long site_registers(long a, long b, long c);
long site_byte(long a, long b, long c);
long site_memory(long a, long b, long c);
long site_middle(long a, long b, long c);
long site_syscall(long a, long b, long c);
long on_stack(void *stack, long (*call)(long, ...));

__asm__(
    ".text\n"
    "site_plain: mov $9, %eax; mov $8, %eax\n syscall; ret\n"
    "site_address: push %rdi; lea text(%rip), %rcx; mov $1, %eax; lea text(%rip), %rsi; syscall; "
    "pop %rdi; ret\n"
    "site_numbers: mov $8, %eax; xor %esi, %esi; mov $1, %edx; syscall; ret\n"
    "site_registers: mov %rdi, %r8; mov $8, %eax; mov %r8, %rdi; mov %edx, %r9d; syscall; ret\n"
    "site_byte: mov $8, %eax; xor $1, %dl; add $-1, %rsi; syscall; ret\n"
    "site_memory: push %rsi; mov $8, %eax; mov (%rsp), %rsi; syscall; pop %rsi; ret\n"
    "site_middle: mov %rsi, %rax; xor %esi, %esi; mov $1, %edx; jmp middle\n"
    "  mov $8, %eax\n"
    "middle: mov %rdi, %r8\n"
    "site_syscall: syscall; ret\n"
    "on_stack: push %rbx; mov %rsp, %rbx; mov %rsi, %r11; mov %rdi, %rsp\n"
    "  mov $9, %edi; xor %esi, %esi; mov $8192, %edx; mov $1, %ecx; mov $0x22, %r8d; mov $-1, %r9\n"
    "  call *%r11; mov %rbx, %rsp; pop %rbx; ret\n"
    "text: .ascii \"text\\n\"\n");

static void *gettids(void *arg)
{
    long bad = 0;
    for (int i = 0; i < 2000; i++)
        bad += syscall(SYS_gettid) != gettid();
    return (void *)(bad + (long)arg);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    FILE *file = tmpfile();
    int fd = fileno(file);
    (void)!ftruncate(fd, 4096);
    for (int i = 0; i < 4; i++) {
        printf("%ld", site_plain(fd, 100 + i, SEEK_SET));
        printf(" %ld", site_numbers(fd, 77, SEEK_END));
        printf(" %ld", site_registers(fd, 200 + i, SEEK_SET));
        printf(" %ld", site_byte(fd, 301 + i, SEEK_CUR));
        printf(" %ld", site_memory(fd, 400 + i, SEEK_SET));
        printf(" %ld\n", site_middle(fd, SYS_lseek, 0));
        printf("%ld\n", site_address(1, 0, 5));
    }

    /* Six arguments, the last one on a page of the stack that was never touched. */
    char *stack = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 4; i++) {
        stack[4095] = 1;
        madvise(stack + 4096, 4096, MADV_DONTNEED);
        long at = on_stack(stack + 4096, (long (*)(long, ...))syscall);
        printf("mapped %d unmapped %d\n", at % 4096 == 0 && at != 0 && at != -1,
               munmap((void *)at, 8192));
    }
    errno = 0;
    printf("%ld %s\n", syscall(SYS_close, -1), strerror(errno));

    pthread_t threads[4];
    long bad = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, gettids, NULL);
    for (int i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        bad += (long)result;
    }
    printf("threads: %ld\n", bad);
    return 0;
}
