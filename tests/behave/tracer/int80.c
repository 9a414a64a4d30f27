/*
 * A 64-bit program that opens files by the 32-bit gate. If the kernel has none, it is killed, and
 * natively too.
 *
 * needs: i386
 * expect: read by-gate
 * expect: absent no-gate
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static long gate_open(char *low, const char *name)
{
    long r;
    strcpy(low, name);
    __asm__ volatile("int $0x80"
                     : "=a"(r)
                     : "a"(5), "b"(low), "c"(0), "d"(0)
                     : "memory", "r8", "r9", "r10", "r11");
    return r;
}

int main(void)
{
    char *low =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED)
        return 1;
    close(open("by-gate", O_WRONLY | O_CREAT, 0644));
    long there = gate_open(low, "by-gate");
    long absent = gate_open(low, "no-gate");
    printf("%d %ld\n", (int)there >= 0, (long)(int)absent);
    return 0;
}
