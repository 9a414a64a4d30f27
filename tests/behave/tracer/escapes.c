/*
 * What a tracer cannot follow is closed off or named. The output differs from the native one on
 * purpose where the program asks for it, so nothing of it is printed.
 *
 * note: io_uring_setup
 * note: ptrace
 * complete: no
 */
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    char params[120] = { 0 };
    syscall(425, 4, params); /* io_uring_setup */
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    syscall(0x40000000 + 2, "x32", 0); /* open */
    printf("done\n");
    return 0;
}
