/*
 * A 32-bit program, without a C library: Debian's gcc can make it, and kernels with 32-bit support
 * run it. Names, arguments and environment come from a stack of 4-byte words.
 * cc: -m32 -static -nostdlib -fno-pic -no-pie -ffreestanding -fno-stack-protector
 *
 * needs: i386
 * expect: created written made
 * expect: absent nothing
 * expect: removed made
 * expect: renamed-from one
 * expect: renamed-to two
 * expect: created made-folder
 * exit: 7
 */
static long call(long number, long a, long b, long c)
{
    long r;
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return r;
}

static long at(const char *text)
{
    return (long)text;
}

void _start(void);
void _start(void)
{
    long fd = call(5, at("made"), 0101, 0644);      /* open, O_WRONLY | O_CREAT */
    call(4, 1, at(fd >= 0 ? "yes\n" : "no \n"), 4); /* write */
    call(33, at("nothing"), 0, 0);                  /* access */
    call(10, at("made"), 0, 0);                     /* unlink */
    call(8, at("one"), 0644, 0);                    /* creat */
    call(38, at("one"), at("two"), 0);              /* rename */
    call(296, -100, at("made-folder"), 0755);       /* mkdirat */
    call(252, 7, 0, 0);                             /* exit_group */
    for (;;)
        ;
}
