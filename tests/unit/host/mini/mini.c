/* What the small enclave does: told by its one host argument. Freestanding. */
#include <stddef.h>
#include <stdint.h>

#include "abi/ocall.h"
#include "abi/tree.h"

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

/* --- modes ----------------------------------------------------------------------------------- */

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

/* --- a tree: the root is hub and parent, its children answer on their spawn slot ----------------
 *
 * Host arguments: mode, MRENCLAVE in hex, what the child does. Slot 2 n + 1 is child n's control
 * slot, 2 n its spawn slot.
 */

#define ASKS 20000

static uint8_t *g_region;
static uint8_t g_mrenclave[32];

static int64_t call4(uint32_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    block()->args[3] = d;
    return call(nr, a, b, c);
}

static volatile struct tree_slot *slot_at(uint32_t slot)
{
    return (void *)(g_region + TREE_REGION_HEAD + slot * (uint64_t)TREE_SLOT_SIZE);
}

static volatile uint8_t *cell(uint32_t slot, uint32_t direction)
{
    return (uint8_t *)slot_at(slot) + TREE_SLOT_HEAD +
           (uint64_t)direction * TREE_CELLS * TREE_CELL_SIZE;
}

static uint8_t digit(char c)
{
    return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void read_mrenclave(size_t at)
{
    for (size_t i = 0; i < 32; i++)
        g_mrenclave[i] = (uint8_t)(digit(data()[at + 2 * i]) << 4 | digit(data()[at + 2 * i + 1]));
}

static int64_t spawn(uint32_t n, int32_t handle)
{
    for (size_t i = 0; i < 32; i++)
        data()[i] = (char)g_mrenclave[i];
    for (size_t i = 0; i < 4; i++)
        data()[32 + i] = (char)((uint32_t)handle >> 8 * i);
    return call(OCALL_TREE_SPAWN, 2 * n, 2 * n + 1, handle >= 0);
}

/* A byte for child n, its answer; negative errno. */
static int64_t ask(uint32_t n, uint8_t what)
{
    volatile struct tree_slot *slot = slot_at(2 * n);
    uint32_t seen = slot->way[TREE_TO_CLIENT].posted;
    cell(2 * n, TREE_TO_SERVER)[0] = what;
    int64_t r = call(OCALL_TREE_CALL, 2 * n, TREE_TO_SERVER, seen);
    return r < 0 ? r : cell(2 * n, TREE_TO_CLIENT)[0];
}

/* A child: answers each byte with its successor, until told something else. */
static void child(uint32_t spawn_slot, uint32_t control_slot)
{
    volatile struct tree_slot *slot = slot_at(spawn_slot);
    for (uint32_t seen = 0;; seen++) {
        int64_t r;
        do {
            r = call4(OCALL_TREE_WAIT, spawn_slot, TREE_TO_SERVER, seen, OCALL_NEVER);
        } while (r == -4 && slot->way[TREE_TO_SERVER].posted == seen); /* EINTR */
        if (r != 0 && r != -4)
            quit(0);
        uint8_t what = cell(spawn_slot, TREE_TO_SERVER)[0];
        switch (what) {
        case 'b': call(OCALL_TREE_BYE, 0, 0, 0); break;
        case 'l':
            for (;;)
                ;
        case 'p': call(OCALL_PANIC, put(0, "child panic"), 0, 0); break;
        case 'r': { /* a refusal */
            struct ocall_refusal refusal = { .kind = OCALL_REFUSED_TYPE,
                                             .action = OCALL_REFUSED_ABORT };
            for (size_t i = 0; i < sizeof(refusal); i++)
                data()[i] = ((volatile char *)&refusal)[i];
            call(OCALL_REFUSE, sizeof(refusal), 0, 0);
            break;
        }
        case 'g': /* a grandchild: alive, answers, and ends */
            if (spawn(control_slot + 10, -1) != 0 || ask(control_slot + 10, 1) != 2)
                quit(0);
            if (ask(control_slot + 10, 'b') != -32) /* EPIPE */
                quit(0);
            break;
        case 'n': /* waits for a nudge, which is a signal bit and an entry at level 1 */
            while (!(block()->signals & (1u << 22)) || exceptions() == 0)
                ;
            break;
        case 'w': { /* writes to the inherited handle 'what' follows */
            uint8_t handle = cell(spawn_slot, TREE_TO_SERVER)[1];
            put(0, "x");
            r = call(OCALL_WRITE, handle, 1, 0);
            cell(spawn_slot, TREE_TO_CLIENT)[0] = r == 1 ? 1 : 0;
            call(OCALL_TREE_POST, spawn_slot, TREE_TO_CLIENT, 0);
            continue;
        }
        case 'h': /* a request to the hub over the control slot */
            cell(control_slot, TREE_TO_SERVER)[0] = 40;
            r = call(OCALL_TREE_CALL, control_slot, TREE_TO_SERVER,
                     slot_at(control_slot)->way[TREE_TO_CLIENT].posted);
            what = (uint8_t)(r < 0 ? 0 : cell(control_slot, TREE_TO_CLIENT)[0]);
            break;
        case 'H': /* many of them */
            for (uint32_t i = 0; i < ASKS; i++)
                call(OCALL_TREE_CALL, control_slot, TREE_TO_SERVER, i);
            break;
        default: break;
        }
        cell(spawn_slot, TREE_TO_CLIENT)[0] = (uint8_t)(what + 1);
        call(OCALL_TREE_POST, spawn_slot, TREE_TO_CLIENT, 0);
    }
}

/* Waits until that is the state of the process made in advance (host/spare.c). */
static void spare_is(volatile struct tree_region *region, uint32_t state)
{
    while (region->spare_state != state)
        call(OCALL_YIELD, 0, 0, 0);
}

static void print_time(const char *what, uint64_t ns)
{
    size_t at = put_number(put(0, what), ns, 0);
    call(OCALL_LOG, OCALL_LOG_STATS, put(at, "\n"), 0);
}

/* 50 processes one after the other, in slots from first on. */
static void time_starts(const char *what, uint32_t first, uint64_t pause_ns)
{
    uint64_t sums[3] = { 0 }, t[4];
    for (uint32_t i = first; i < first + 50; i++) {
        if (pause_ns)
            call(OCALL_PARK, clock() + pause_ns, 0, 0);
        t[0] = clock();
        if (spawn(i, -1) != 0)
            quit(86);
        t[1] = clock();
        if (ask(i, 1) != 2)
            quit(86);
        t[2] = clock();
        if (ask(i, 'b') != -32)
            quit(86);
        t[3] = clock();
        for (int k = 0; k < 3; k++)
            sums[k] += (t[k + 1] - t[k]) / 50;
    }
    call(OCALL_LOG, OCALL_LOG_STATS, put(put(put(0, "starts, "), what), ":\n"), 0);
    print_time("  OCALL_TREE_SPAWN, ns: ", sums[0]);
    print_time("  from there to the first answer, ns: ", sums[1]);
    print_time("  from BYE to dead, ns: ", sums[2]);
}

static void tree(char what)
{
    if (call(OCALL_TREE_OPEN, 0, 0, 0) != 0)
        quit(70);
    g_region = (uint8_t *)block()->out[0];
    /* Not a node of the bundle. */
    g_mrenclave[0] ^= 1;
    if (spawn(1, -1) != -2) /* ENOENT */
        quit(71);
    g_mrenclave[0] ^= 1;
    for (size_t i = 0; i < 32; i++)
        g_region[TREE_REGION_HEAD - 32 + i] = g_mrenclave[i];
    int64_t file = 1;
    if (spawn(1, 1) != 0 || ask(1, 7) != 8)
        quit(72);
    uint64_t before;
    switch (what) {
    case 'b': /* ends: dead, and the hub's slot is ready */
        if (ask(1, 'b') != -32)
            quit(73);
        while (!slot_at(3)->dead)
            call(OCALL_TREE_SERVE, OCALL_NEVER, 0, 0);
        if (!(((struct tree_region *)g_region)->ready[0] & 1u << 3))
            quit(74);
        if (call(OCALL_TREE_NUDGE, 3, 0, 0) != -3) /* ESRCH */
            quit(75);
        call(OCALL_TREE_FREE, 2, 0, 0);
        call(OCALL_TREE_FREE, 3, 0, 0);
        if (slot_at(3)->dead || slot_at(2)->way[0].posted)
            quit(76);
        /* And again, in the same slots. */
        if (spawn(1, -1) != 0 || ask(1, 7) != 8)
            quit(77);
        quit(0);
        break;
    case 'k': /* killed while it computes */
        cell(2, TREE_TO_SERVER)[0] = 'l';
        call(OCALL_TREE_POST, 2, TREE_TO_SERVER, 0);
        call(OCALL_TREE_KILL, 3, 0, 0);
        quit(call4(OCALL_TREE_WAIT, 2, TREE_TO_CLIENT, slot_at(2)->way[1].posted, OCALL_NEVER) ==
                     -32
                 ? 0
                 : 78);
        break;
    case 'p': quit(ask(1, 'p') == -32 ? 0 : 79); break;
    case 'r':
        ask(1, 'r');
        for (;;)
            call(OCALL_YIELD, 0, 0, 0);
    case 'g': quit(ask(1, 'g') == 'g' + 1 ? 0 : 80); break;
    case 'n':
        cell(2, TREE_TO_SERVER)[0] = 'n';
        call(OCALL_TREE_POST, 2, TREE_TO_SERVER, 0);
        call(OCALL_TREE_NUDGE, 3, 0, 0);
        quit(call4(OCALL_TREE_WAIT, 2, TREE_TO_CLIENT, 1, OCALL_NEVER) == 0 ? 0 : 81);
        break;
    case 'w':
        cell(2, TREE_TO_SERVER)[1] = (uint8_t)file;
        if (ask(1, 'w') != 1)
            quit(82);
        cell(2, TREE_TO_SERVER)[1] = 0; /* not inherited */
        quit(ask(1, 'w') == 0 ? 0 : 83);
        break;
    case 'h': /* it asks the hub, which is us */
        cell(2, TREE_TO_SERVER)[0] = 'h';
        call(OCALL_TREE_POST, 2, TREE_TO_SERVER, 0);
        while (slot_at(3)->way[TREE_TO_SERVER].posted == 0)
            call(OCALL_TREE_SERVE, OCALL_NEVER, 0, 0);
        cell(3, TREE_TO_CLIENT)[0] = (uint8_t)(cell(3, TREE_TO_SERVER)[0] + 1);
        call(OCALL_TREE_POST, 3, TREE_TO_CLIENT, 0);
        if (call4(OCALL_TREE_WAIT, 2, TREE_TO_CLIENT, 1, OCALL_NEVER) != 0)
            quit(84);
        quit(cell(2, TREE_TO_CLIENT)[0] == 42 ? 0 : 85);
        break;
    case 'o': { /* the time of a round trip, and of a start */
        before = clock();
        for (int i = 0; i < 20000; i++)
            ask(1, 1);
        print_time("round trip, ns: ", (clock() - before) / 20000);
        before = clock();
        cell(2, TREE_TO_SERVER)[0] = 'H';
        uint32_t asked = 0, seen = slot_at(2)->way[TREE_TO_CLIENT].posted;
        call(OCALL_TREE_POST, 2, TREE_TO_SERVER, 0);
        while (asked < ASKS) {
            call(OCALL_TREE_SERVE, OCALL_NEVER, 0, 0);
            if (slot_at(3)->way[TREE_TO_SERVER].posted != asked) {
                asked++;
                call(OCALL_TREE_POST, 3, TREE_TO_CLIENT, 0);
            }
        }
        print_time("round trip with the hub, ns: ", (clock() - before) / ASKS);
        if (call4(OCALL_TREE_WAIT, 2, TREE_TO_CLIENT, seen, OCALL_NEVER) != 0)
            quit(88);
        time_starts("at once", 2, 0);
        time_starts("each after 5 ms", 52, 5000000);
        quit(0);
        break;
    }
    case 's': { /* one made in advance: used, used by another process, killed unused */
        volatile struct tree_region *region = (volatile struct tree_region *)g_region;
        if (spawn(2, -1) != 0 || ask(2, 7) != 8)
            quit(90);
        spare_is(region, 3);
        uint32_t pid = region->spare_pid;
        if (spawn(3, 1) != 0 || slot_at(7)->client_pid != pid || ask(3, 7) != 8)
            quit(91);
        cell(6, TREE_TO_SERVER)[1] = (uint8_t)file;
        if (ask(3, 'w') != 1)
            quit(92);
        cell(6, TREE_TO_SERVER)[1] = 0; /* not inherited */
        if (ask(3, 'w') != 0 || ask(3, 'b') != -32)
            quit(93);
        spare_is(region, 3);
        pid = region->spare_pid;
        if (ask(2, 'g') != 'g' + 1 || slot_at(2 * (5 + 10) + 1)->client_pid != pid)
            quit(94);
        spare_is(region, 3);
        slot_at(60)->client_pid = region->spare_pid;
        if (call(OCALL_TREE_KILL, 60, 0, 0) != 0)
            quit(95);
        spare_is(region, 0);
        if (spawn(30, -1) != 0 || ask(30, 7) != 8)
            quit(96);
        spare_is(region, 3);
        quit(0);
        break;
    }
    case 'l': /* says that the child is there, then lives until it is killed */
        put(0, "!");
        call(OCALL_WRITE, 1, 1, 0);
        for (;;)
            call(OCALL_TREE_SERVE, OCALL_NEVER, 0, 0);
    default: quit(87);
    }
}

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
    const volatile struct ocall_boot *boot = (const volatile struct ocall_boot *)data();
    size_t at = sizeof(*boot);
    if (boot->tree_region) {
        g_region = (uint8_t *)boot->tree_region;
        uint32_t spawn_slot = boot->spawn_slot, control_slot = boot->control_slot;
        /* Its own measurement comes from whoever made the bundle. */
        for (size_t i = 0; i < 32; i++)
            g_mrenclave[i] = g_region[TREE_REGION_HEAD - 32 + i];
        child(spawn_slot, control_slot);
    }
    char mode = data()[at];
    if (mode == 'T') {
        read_mrenclave(at + 4);
        char what = data()[at + 2];
        tree(what);
    }
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
