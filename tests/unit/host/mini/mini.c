/* What the small enclave does: told by its one host argument. Freestanding. */
#include <stddef.h>
#include <stdint.h>

#include "abi/ocall.h"

void mini_main(struct ocall_block *given, uint64_t index);
void mini_leave(void);

static volatile struct ocall_block *block(void)
{
    volatile struct ocall_block *b;
    __asm__("mov %%gs:0x68, %0" : "=r"(b));
    return b;
}

static volatile char *data(void)
{
    return (volatile char *)block() + OCALL_HEAD_SIZE;
}

static uint64_t exceptions(void)
{
    uint64_t n;
    __asm__ volatile("mov %%gs:0x70, %0" : "=r"(n));
    return n;
}

static int64_t call(uint32_t nr, uint64_t a, uint64_t b, uint64_t c)
{
    volatile struct ocall_block *o = block();
    o->nr = nr;
    o->args[0] = a;
    o->args[1] = b;
    o->args[2] = c;
    mini_leave();
    return o->ret;
}

static void quit(uint64_t code)
{
    for (;;)
        call(OCALL_EXIT, code, 0, 0);
}

static uint64_t clock(void)
{
    call(OCALL_CLOCK, 1 /* CLOCK_MONOTONIC */, 0, 0);
    return block()->out[0];
}

static size_t put(size_t at, const char *text)
{
    while (*text)
        data()[at++] = *text++;
    return at;
}

static size_t put_number(size_t at, uint64_t n, unsigned width)
{
    char digits[24];
    unsigned count = 0;
    do {
        digits[count++] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    for (; width > count; width--)
        data()[at++] = ' ';
    while (count)
        data()[at++] = digits[--count];
    return at;
}

/* --- modes -------------------------------------------------------------------------------------
 */

#define ROUNDS 100000

static void bench_one(const char *name, uint32_t nr, uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t before = clock();
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (nr == OCALL_PARK)
            block()->event = 1;
        call(nr, a, b, c);
    }
    uint64_t ns = (clock() - before) / ROUNDS;
    size_t at = put(0, "OCALL ");
    at = put(at, name);
    while (at < 40)
        at = put(at, " ");
    at = put_number(at, ns, 6);
    at = put(at, " ns\n");
    call(OCALL_LOG, OCALL_LOG_STATS, at, 0);
}

static void bench(void)
{
    size_t n = put(0, "/usr/bin/python3.11");
    int64_t file = call(OCALL_OPEN, n, 0, 0);
    if (file < 0)
        quit(50);
    bench_one("unknown number (the way alone)", OCALL_COUNT, 0, 0, 0);
    bench_one("CLOCK monotonic", OCALL_CLOCK, 1, 0, 0);
    bench_one("PARK with the event set", OCALL_PARK, OCALL_NEVER, 0, 0);
    bench_one("UNPARK of a thread that runs", OCALL_UNPARK, 0, 0, 0);
    bench_one("YIELD", OCALL_YIELD, 0, 0, 0);
    bench_one("FSTAT", OCALL_FSTAT, (uint64_t)file, 0, 0);
    bench_one("PREAD of 8 bytes", OCALL_PREAD, (uint64_t)file, 8, 0);
    bench_one("PREAD of 64 KiB", OCALL_PREAD, (uint64_t)file, 65536, 0);
    quit(0);
}

static volatile uint64_t g_other;

void mini_main(struct ocall_block *given, uint64_t index)
{
    (void)given;
    if (index != 0) { /* a second thread: says that it lives, then ends */
        g_other++;
        call(OCALL_THREAD_EXIT, 0, 0, 0);
        quit(60);
    }
    if (call(OCALL_BOOT, 0, 0, 0) != 0)
        quit(61);
    char mode = data()[sizeof(struct ocall_boot)];
    switch (mode) {
    case 'e': quit(7); break;
    case 'b': bench(); break;
    case 'u': /* exceptions: each ud2 is one entry at CSSA 1 */
        for (int i = 0; i < 1000; i++)
            __asm__ volatile("ud2");
        quit(exceptions() >= 1000 ? 0 : 62); /* poison adds its own */
        break;
    case 'p': /* after an exception: the program ran */
        __asm__ volatile("ud2");
        call(OCALL_PANIC, put(0, "mini panic"), 0, 0);
        break;
    case 's': /* signals from outside while it computes */
        while (exceptions() < 100)
            ;
        quit(block()->signals & (1u << 9) ? 0 : 63); /* SIGUSR1 */
        break;
    case 'a': /* the alarm takes it out, again and again */
        for (uint64_t i = 1; i <= 50; i++) {
            uint64_t before = exceptions();
            call(OCALL_ALARM, clock() + (i % 2 ? 200000 : 0), 0, 0);
            /* Also if it came before the OCALL was over. */
            while (exceptions() == before)
                ;
        }
        quit(0);
        break;
    case 't': /* threads */
        for (uint64_t i = 1; i <= 3; i++) {
            if (call(OCALL_THREAD_START, i, 0, 0) != 0)
                quit(64);
            while (g_other < i)
                ;
        }
        quit(0);
        break;
    case 'l': /* loops until it is killed */
        for (;;)
            ;
    default: break;
    }
    quit(65);
}
