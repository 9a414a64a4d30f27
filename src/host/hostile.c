#include "host/hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "abi/layout.h"
#include "abi/tree.h"

#define BLOCKS_MAX LAYOUT_THREADS_MAX
#define REPLAY     4096u /* bytes of a cell that are kept */

struct hostile {
    struct hostile_options options;
    struct {
        uint64_t random; /* state, from seed and index */
        uint64_t calls;
        _Atomic(struct ocall_block *) block;
    } threads[BLOCKS_MAX];
    atomic_bool scribbling;
    _Atomic(struct tree_region *) region; /* NULL: no tree yet */
    uint8_t kept[REPLAY];                 /* of a cell, some time ago; racy, as all here */
    _Atomic uint8_t trusted[65536]; /* handles that the library OS opened for trusted content */
};

/* splitmix64 (Vigna): one word of state, every seed is fine. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

int hostile_parse(const char *text, struct hostile_options *ret)
{
    struct hostile_options o = { .rate = 16 };
    char *end;
    errno = 0;
    o.seed = strtoull(text, &end, 0);
    if (end == text || errno)
        return -EINVAL;
    while (*end == ',') {
        const char *word = end + 1;
        unsigned long value = 0;
        if (strncmp(word, "scribble", 8) == 0) {
            o.scribble = true;
            end += 1 + 8;
            continue;
        }
        if (strncmp(word, "spare", 5) == 0) {
            o.spare = true;
            end += 1 + 5;
            continue;
        }
        bool rate = strncmp(word, "rate=", 5) == 0;
        if (!rate && strncmp(word, "after=", 6) != 0)
            return -EINVAL;
        const char *digits = word + (rate ? 5 : 6);
        value = strtoul(digits, &end, 0);
        if (end == digits || value > UINT32_MAX || (rate && value == 0))
            return -EINVAL;
        *(rate ? &o.rate : &o.quiet_calls) = (uint32_t)value;
    }
    if (*end)
        return -EINVAL;
    *ret = o;
    return 0;
}

struct hostile *hostile_new(const struct hostile_options *options)
{
    struct hostile *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->options = *options;
    if (h->options.rate == 0)
        h->options.rate = 16;
    for (uint32_t i = 0; i < BLOCKS_MAX; i++)
        h->threads[i].random = options->seed * 0x2545f4914f6cdd1du + i;
    return h;
}

/* Values at which checks go wrong. */
static uint64_t nasty(uint64_t *random, const struct ocall_block *block)
{
    static const uint64_t values[] = {
        0,
        1,
        2,
        7,
        8,
        4095,
        4096,
        4097,
        65535,
        65536,
        65537,
        OCALL_DATA_SIZE - 1,
        OCALL_DATA_SIZE,
        OCALL_DATA_SIZE + 1,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        LAYOUT_IMAGE,
        LAYOUT_THREADS + LAYOUT_THREAD_BLOCK,
        INT64_MAX,
        UINT64_C(1) << 63,
        UINT64_MAX,
        (uint64_t)-4095,
        (uint64_t)-4096,
        (uint64_t)-4,
        (uint64_t)-11,
        (uint64_t)-512,
    };
    uint64_t r = next(random);
    switch (r % 4) {
    case 0: return next(random);
    case 1: return (uint64_t)block->ret + (r >> 8) % 3 - 1;
    case 2: return block->args[(r >> 8) % 3] + (r >> 16) % 3;
    default: return values[(r >> 8) % ARRAY_SIZE(values)];
    }
}

static void change_data(uint64_t *random, uint8_t *data, size_t near)
{
    uint64_t r = next(random);
    size_t at = (r >> 8) % near;
    switch (r % 4) {
    case 0: data[at] ^= (uint8_t)(1u << ((r >> 40) % 8)); break;
    case 1:
        for (size_t i = 0; i < 256; i++)
            data[i] = (uint8_t)next(random);
        break;
    case 2: {
        uint64_t value = next(random) % 2 ? next(random) : next(random) % 65536;
        memcpy(data + (at & ~(size_t)7), &value, sizeof(value));
        break;
    }
    default: memset(data, r & 256 ? 0xff : 0, 256); break;
    }
}

/* --- sockets --------------------------------------------------------------------------------- */

static bool is_net_call(const struct ocall_block *block)
{
    return (block->nr >= OCALL_NET_SOCKET && block->nr <= OCALL_NET_INTERFACES) ||
           block->nr == OCALL_EPOLL_WAIT;
}

/* Events that nobody waits for, twice, of items that have gone; and what is said to be many. */
static void epoll_lie(uint64_t *random, struct ocall_block *block, uint8_t *data)
{
    struct ocall_epoll_event *events = (struct ocall_epoll_event *)data;
    uint64_t r = next(random);
    uint32_t i = (uint32_t)(r >> 8) % 4;
    switch (r % 4) {
    case 0: events[i].token = (r >> 16) % 2 ? next(random) : next(random) % 8 | 1ull << 32; break;
    case 1: events[i].events = (uint32_t)next(random); break;
    case 2: events[i] = events[(i + 1) % 4]; break;
    default: block->ret = (int64_t)nasty(random, block); break;
    }
}

/* Sizes, families, flags and control messages beside the bytes. */
static void net_lie(uint64_t *random, struct ocall_block *block, uint8_t *data)
{
    struct ocall_net *net = (struct ocall_net *)(data + OCALL_NET_DATA);
    uint64_t r = next(random);
    /* Heads of many messages, interfaces: records in the window's beginning. */
    bool records = block->nr == OCALL_NET_RECV_MANY || block->nr == OCALL_NET_INTERFACES;
    if (records && r & 0x10000) {
        change_data(random, data, 2048);
        if (r & 0x20000)
            block->out[0] = nasty(random, block);
        return;
    }
    switch (r % 7) {
    case 0: net->address_size = (uint32_t)nasty(random, block); break;
    case 1: net->control_size = (uint32_t)nasty(random, block); break;
    case 2: net->flags = (uint32_t)next(random); break;
    case 3: change_data(random, net->address, 32); break;
    case 4:
        net->control_size = (uint32_t)(next(random) % (2 * OCALL_NET_CONTROL));
        change_data(random, net->control, 64);
        break;
    default: block->ret = (int64_t)nasty(random, block); break;
    }
}

/* --- process trees --------------------------------------------------------------------------- */

static struct tree_slot *slot_of(struct tree_region *region, uint32_t index)
{
    return (void *)((uint8_t *)region + TREE_REGION_HEAD + (uint64_t)index * TREE_SLOT_SIZE);
}

static struct tree_cell *cell_of(struct tree_slot *slot, uint32_t direction, uint32_t cell)
{
    return (void *)((uint8_t *)slot + TREE_SLOT_HEAD +
                    (size_t)(direction * TREE_CELLS + cell) * TREE_CELL_SIZE);
}

/* A slot with a process in it; false: there is none near a place at random. */
static bool any_slot(uint64_t *random, const struct tree_region *region, uint32_t *ret)
{
    uint32_t from = (uint32_t)(next(random) % 4 ? 0 : next(random) % TREE_SLOTS);
    for (uint32_t i = from; i < TREE_SLOTS; i++) {
        if (region->used[i / 64] >> i % 64 & 1 && next(random) % 2) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* Where the enclave gets the region's address, before any lie about it. */
static void learn_region(struct hostile *h, const struct ocall_block *block)
{
    uint64_t address = 0;
    if (block->nr == OCALL_TREE_OPEN && block->ret == 0)
        address = block->out[0];
    if (block->nr == OCALL_BOOT && block->ret == 0)
        address =
            ((const struct ocall_boot *)((const uint8_t *)block + OCALL_HEAD_SIZE))->tree_region;
    if (address)
        atomic_store(&h->region, (struct tree_region *)(uintptr_t)address);
}

static bool is_tree_call(const struct ocall_block *block)
{
    return block->nr >= OCALL_TREE_SPAWN && block->nr <= OCALL_TREE_FREE;
}

/* Lies that a good channel survives: it looks again. */
static void tree_fib(struct hostile *h, uint64_t *random, struct ocall_block *block)
{
    static const int64_t ends[] = { 0, -EINTR, -ETIMEDOUT, -EAGAIN };
    struct tree_region *region = atomic_load(&h->region);
    switch (next(random) % 3) {
    case 0:
        if (block->nr == OCALL_TREE_WAIT || block->nr == OCALL_TREE_ROOM ||
            block->nr == OCALL_TREE_SERVE)
            block->ret = ends[next(random) % ARRAY_SIZE(ends)];
        break;
    case 1: { /* late */
        const struct timespec pause = { .tv_nsec = (long)(next(random) % 2000000) };
        nanosleep(&pause, NULL);
        break;
    }
    default: /* questions that nobody asked */
        __atomic_fetch_or(&region->ready[next(random) % (TREE_SLOTS / 64)], next(random),
                          __ATOMIC_SEQ_CST);
        __atomic_store_n(&region->bell, 1, __ATOMIC_SEQ_CST);
        break;
    }
}

static void tree_lie(struct hostile *h, uint64_t *random, struct ocall_block *block)
{
    static const uint32_t sizes[] = {
        0,          1,         15, 16, 17, TREE_MESSAGE_MAX, TREE_MESSAGE_MAX + 1, TREE_CELL_SIZE,
        0x80000000, UINT32_MAX
    };
    struct tree_region *region = atomic_load(&h->region);
    uint32_t index = (uint32_t)block->args[0];
    if ((block->nr == OCALL_TREE_SERVE || index >= TREE_SLOTS) && !any_slot(random, region, &index))
        return;
    struct tree_slot *slot = slot_of(region, index);
    uint32_t direction = (uint32_t)(next(random) % 2);
    /* Questions and answers use cell 0 only. */
    uint32_t number = (uint32_t)(next(random) % 2 ? 0 : next(random) % TREE_CELLS);
    struct tree_cell *cell = cell_of(slot, direction, number);
    uint32_t size = cell->size < TREE_MESSAGE_MAX ? cell->size : TREE_MESSAGE_MAX;
    uint64_t r = next(random);
    switch (r % 9) {
    case 0: cell->bytes[(r >> 8) % (size + 1u)] ^= (uint8_t)(1u << (r >> 40) % 8); break;
    case 1:
        cell->size = (r >> 8) % 2 ? sizes[(r >> 9) % ARRAY_SIZE(sizes)]
                                  : size + (uint32_t)((r >> 9) % 3) - 1;
        break;
    case 2: { /* counters */
        uint32_t *counter =
            (r >> 8) % 2 ? &slot->way[direction].posted : &slot->way[direction].taken;
        __atomic_store_n(
            counter, (r >> 9) % 2 ? *counter + (uint32_t)((r >> 16) % 3) - 1 : (uint32_t)(r >> 32),
            __ATOMIC_SEQ_CST);
        break;
    }
    case 3: memcpy(h->kept, cell, sizeof(h->kept)); break;
    case 4: memcpy(cell, h->kept, sizeof(h->kept)); break;                  /* replayed */
    case 5: memcpy(cell, cell_of(slot, !direction, number), REPLAY); break; /* reflected */
    case 6:
        __atomic_fetch_add(&slot->way[direction].posted, 1, __ATOMIC_SEQ_CST);
        break; /* twice */
    case 7: __atomic_store_n(&slot->dead, 1, __ATOMIC_SEQ_CST); break;
    default: block->ret = (r >> 8) % 2 ? -EPIPE : (int64_t)nasty(random, block); break;
    }
}

static void scribble_region(struct hostile *h, uint64_t *random)
{
    struct tree_region *region = atomic_load(&h->region);
    uint32_t index;
    if (!region || h->options.spare || next(random) % 64 || !any_slot(random, region, &index))
        return;
    volatile uint8_t *bytes =
        next(random) % 4 ? (volatile uint8_t *)cell_of(slot_of(region, index), index % 2, 0)
                         : (volatile uint8_t *)slot_of(region, index);
    bytes[next(random) % 160] = (uint8_t)next(random);
}

static void *scribble(void *arg)
{
    struct hostile *h = arg;
    uint64_t random = h->options.seed ^ 0x5c12bb1e;
    for (;;) {
        for (uint32_t i = 0; i < BLOCKS_MAX; i++) {
            struct ocall_block *block = atomic_load(&h->threads[i].block);
            if (!block || next(&random) % 4)
                continue;
            volatile uint8_t *bytes = (volatile uint8_t *)block;
            /* ret, out, event and the head of the window; nr and args are the enclave's to write,
             * and what they become is served. */
            size_t at =
                next(&random) % 2
                    ? offsetof(struct ocall_block, ret) +
                          next(&random) % (sizeof(*block) - offsetof(struct ocall_block, ret))
                    : OCALL_HEAD_SIZE + next(&random) % 512;
            bytes[at] = (uint8_t)next(&random);
        }
        scribble_region(h, &random);
        const struct timespec pause = { .tv_nsec = 10000 * (long)(h->options.rate % 10000) };
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void start_scribbling(struct hostile *h)
{
    if (atomic_exchange(&h->scribbling, true))
        return;
    pthread_t id;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&id, NULL, scribble, h) == 0)
        pthread_detach(id);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The library OS opens trusted files without O_NOFOLLOW, others with it. */
static bool spared(struct hostile *h, const struct ocall_block *block)
{
    switch (block->nr) {
    case OCALL_OPEN:
        if (block->ret >= 0 && block->ret < (int64_t)ARRAY_SIZE(h->trusted))
            h->trusted[block->ret] = !(block->args[1] & O_NOFOLLOW);
        return !(block->args[1] & O_NOFOLLOW);
    case OCALL_CLOSE:
    case OCALL_FSTAT:
    case OCALL_LSEEK:
    case OCALL_PREAD: return block->args[0] < ARRAY_SIZE(h->trusted) && h->trusted[block->args[0]];
    case OCALL_BOOT:
    case OCALL_RESTRICT:
    case OCALL_MODIFY_TYPE:
    case OCALL_REMOVE:
    case OCALL_TREE_OPEN: return true;
    default: return false;
    }
}

void hostile_tamper(void *arg, uint32_t index, struct ocall_block *block)
{
    struct hostile *h = arg;
    if (index >= BLOCKS_MAX)
        return;
    learn_region(h, block);
    if (h->threads[index].calls++ < h->options.quiet_calls)
        return;
    atomic_store(&h->threads[index].block, block);
    if (h->options.scribble)
        start_scribbling(h);

    uint64_t *random = &h->threads[index].random;
    if (h->options.spare && spared(h, block))
        return;
    if (next(random) % h->options.rate)
        return;
    if (is_tree_call(block) && atomic_load(&h->region) && (h->options.spare || next(random) % 4)) {
        if (h->options.spare || next(random) % 2)
            tree_fib(h, random, block);
        else
            tree_lie(h, random, block);
        return;
    }
    uint8_t *data = (uint8_t *)block + OCALL_HEAD_SIZE;
    if (is_net_call(block) && next(random) % 2) {
        if (block->nr == OCALL_EPOLL_WAIT)
            epoll_lie(random, block, data);
        else
            net_lie(random, block, data);
        return;
    }
    switch (next(random) % 8) {
    case 0:
    case 1:
    case 2: block->ret = (int64_t)nasty(random, block); break;
    case 3: block->out[next(random) % 4] = nasty(random, block); break;
    case 4: change_data(random, data, 128); break;
    case 5: change_data(random, data, 65536); break;
    case 6:
        block->event = (uint32_t)next(random);
        if (next(random) % 8 == 0) /* most of them end the program */
            block->signals = next(random);
        block->args[next(random) % 6] = next(random);
        block->nr = (uint32_t)next(random);
        break;
    default:
        block->ret = (int64_t)nasty(random, block);
        block->out[0] = nasty(random, block);
        change_data(random, data, 256);
        break;
    }
}
