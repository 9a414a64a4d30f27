#include "host/tree.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static long futex(uint32_t *word, int op, uint32_t value, const struct timespec *deadline)
{
    long r = syscall(SYS_futex, word, op, value, deadline, NULL, FUTEX_BITSET_MATCH_ANY);
    return r < 0 ? -errno : r;
}

static void futex_wake(uint32_t *word, int count)
{
    int saved = errno;
    futex(word, FUTEX_WAKE, (uint32_t)count, NULL);
    errno = saved;
}

static uint32_t load(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void bit_set(uint64_t *words, uint32_t bit)
{
    __atomic_fetch_or(&words[bit / 64], UINT64_C(1) << bit % 64, __ATOMIC_SEQ_CST);
}

static void bit_clear(uint64_t *words, uint32_t bit)
{
    __atomic_fetch_and(&words[bit / 64], ~(UINT64_C(1) << bit % 64), __ATOMIC_SEQ_CST);
}

/* --- the region ------------------------------------------------------------------------------ */

static int map(struct tree *tree)
{
    void *p = mmap(NULL, TREE_REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                   tree->fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    tree->region = p;
    return 0;
}

static struct tree *tree_new(void)
{
    struct tree *tree = calloc(1, sizeof(*tree));
    if (!tree)
        return NULL;
    cpu_set_t cpus;
    tree->fd = tree->spare_out = tree->spare_in = tree->pass_out = tree->pass_in = -1;
    tree->pid = (uint32_t)getpid();
    tree->cpu_count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    tree->spins = tree->cpu_count > 1;
    return tree;
}

static void tree_free(struct tree *tree)
{
    if (tree->fd >= 0)
        close(tree->fd);
    free(tree);
}

int tree_make(struct host *host)
{
    struct tree *tree = tree_new();
    if (!tree)
        return -ENOMEM;
    tree->is_root = true;
    tree->fd = memfd_create("sgxpy-tree", MFD_CLOEXEC);
    int r = tree->fd < 0 || ftruncate(tree->fd, TREE_REGION_SIZE) < 0 ? -errno : map(tree);
    if (r < 0) {
        tree_free(tree);
        return r;
    }
    struct tree_region *region = tree->region;
    region->version = TREE_VERSION;
    region->root_pid = tree->pid;
    region->announced[0] = 1;
    region->tsc_hz = host_tsc_hz(host);
    region->magic = TREE_MAGIC;
    __atomic_store_n(&host->tree, tree, __ATOMIC_RELEASE);
    return 0;
}

int tree_open(struct host *host)
{
    if (host->tree)
        return 0;
    /* Ignored children would vanish without telling how they ended. */
    struct sigaction as_usual = { .sa_handler = SIG_DFL };
    if (sigaction(SIGCHLD, &as_usual, NULL) < 0)
        return -errno;
    int r = tree_make(host);
    if (r == 0)
        r = tree_spawner_start(host->tree);
    if (r == 0)
        r = tree_reaper_start(host);
    if (r == 0)
        r = tree_spare_start(host);
    if (r == 0)
        r = tree_pass_start(host->tree);
    if (r < 0)
        host->tree = NULL;
    return r;
}

int tree_attach(struct host *host, const struct tree_child *child, struct err *err)
{
    struct tree *tree = tree_new();
    if (!tree)
        return err_set(err, -ENOMEM, "out of memory");
    struct stat st;
    tree->fd = child->region_fd;
    tree->spawn_slot = child->spawn_slot;
    tree->control_slot = child->control_slot;
    tree->spare_out = child->spare_out;
    tree->spare_in = child->spare_in;
    tree->pass_out = child->pass_out;
    int r = fstat(tree->fd, &st) < 0 ? -errno : 0;
    if (r == 0 && (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != TREE_REGION_SIZE))
        r = -EBADMSG;
    if (r == 0)
        r = map(tree);
    if (r == 0 && (tree->region->magic != TREE_MAGIC || tree->region->version != TREE_VERSION ||
                   tree->region->root_pid != (uint32_t)getppid()))
        r = -EBADMSG;
    if (r < 0) {
        tree_free(tree);
        return err_set(err, r, "the process tree's region: %s", strerror(-r));
    }
    host->tree = tree;
    return 0;
}

bool tree_announces(struct tree *tree, uint32_t node)
{
    uint64_t bit = UINT64_C(1) << node % 64;
    return node >= TREE_SLOTS ||
           !(__atomic_fetch_or(&tree->region->announced[node / 64], bit, __ATOMIC_SEQ_CST) & bit);
}

struct tree_slot *tree_slot_at(const struct tree *tree, uint64_t index)
{
    if (index >= TREE_SLOTS)
        return NULL;
    return (void *)((uint8_t *)tree->region + TREE_REGION_HEAD + index * TREE_SLOT_SIZE);
}

struct tree_cell *tree_cell_at(const struct tree *tree, uint32_t slot, uint32_t direction,
                               uint32_t cell)
{
    uint8_t *head = (uint8_t *)tree_slot_at(tree, slot);
    return (void *)(head + TREE_SLOT_HEAD +
                    (size_t)(direction * TREE_CELLS + cell % TREE_CELLS) * TREE_CELL_SIZE);
}

void tree_slot_use(struct tree *tree, uint32_t index, uint32_t kind, uint32_t client_pid,
                   uint32_t server_pid)
{
    struct tree_slot *slot = tree_slot_at(tree, index);
    slot->dead = 0;
    __atomic_store_n(&slot->client_pid, client_pid, __ATOMIC_SEQ_CST);
    __atomic_store_n(&slot->server_pid, server_pid, __ATOMIC_SEQ_CST);
    __atomic_store_n(&slot->kind, kind, __ATOMIC_SEQ_CST);
    bit_set(tree->region->used, index);
}

void tree_slot_free(struct tree *tree, uint32_t index)
{
    struct tree_slot *slot = tree_slot_at(tree, index);
    bit_clear(tree->region->used, index);
    bit_clear(tree->region->ready, index);
    __atomic_store_n(&slot->kind, TREE_SLOT_FREE, __ATOMIC_SEQ_CST);
    slot->client_pid = slot->server_pid = 0;
    slot->dead = 0;
    for (int i = 0; i < 2; i++)
        slot->way[i].posted = slot->way[i].taken = 0;
    if (index >= TREE_SLOTS_KEPT)
        madvise((uint8_t *)slot + TREE_SLOT_HEAD, TREE_SLOT_SIZE - TREE_SLOT_HEAD, MADV_REMOVE);
}

/* --- waking ---------------------------------------------------------------------------------- */

void tree_ring(struct tree *tree)
{
    struct tree_region *region = tree->region;
    /* Rung already: whoever did that wakes the hub. */
    if (__atomic_exchange_n(&region->bell, 1, __ATOMIC_SEQ_CST) == 0 && load(&region->hub_sleeps))
        futex_wake(&region->bell, 1);
}

static void turn(uint32_t *word, const uint32_t *sleepers)
{
    __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
    if (load(sleepers))
        futex_wake(word, INT_MAX);
}

static bool is_hub_slot(const struct tree_slot *slot)
{
    return slot->kind != TREE_SLOT_SPAWN;
}

void tree_post(struct tree *tree, uint32_t index, uint32_t direction)
{
    struct tree_slot *slot = tree_slot_at(tree, index);
    /* The first of a thread's own channel: only its client knows who that is. */
    if (direction == TREE_TO_SERVER && slot->kind == TREE_SLOT_FREE)
        tree_slot_use(tree, index, TREE_SLOT_THREAD, tree->pid, 0);

    struct tree_slot_direction *way = &slot->way[direction];
    __atomic_fetch_add(&way->posted, 1, __ATOMIC_RELEASE);
    if (direction == TREE_TO_SERVER && is_hub_slot(slot)) {
        bit_set(tree->region->ready, index);
        tree_ring(tree);
        return;
    }
    turn(&way->posted_turn, &way->posted_sleepers);
}

void tree_take(struct tree *tree, uint32_t index, uint32_t direction)
{
    struct tree_slot_direction *way = &tree_slot_at(tree, index)->way[direction];
    __atomic_fetch_add(&way->taken, 1, __ATOMIC_RELEASE);
    turn(&way->taken_turn, &way->taken_sleepers);
}

void tree_mark_dead(struct tree *tree, uint32_t pid)
{
    bool ring = false;
    for (uint32_t i = 0; i < TREE_SLOTS / 64; i++) {
        uint64_t bits = __atomic_load_n(&tree->region->used[i], __ATOMIC_SEQ_CST);
        for (; bits; bits &= bits - 1) {
            uint32_t index = i * 64 + (uint32_t)__builtin_ctzll(bits);
            struct tree_slot *slot = tree_slot_at(tree, index);
            if (load(&slot->client_pid) != pid && load(&slot->server_pid) != pid)
                continue;
            __atomic_store_n(&slot->dead, 1, __ATOMIC_SEQ_CST);
            if (load(&slot->client_pid) != pid && load(&slot->server_pid) != pid) {
                /* Freed in between: it may be somebody else's by now. */
                __atomic_store_n(&slot->dead, 0, __ATOMIC_SEQ_CST);
                continue;
            }
            for (int d = 0; d < 2; d++) {
                turn(&slot->way[d].posted_turn, &slot->way[d].posted_sleepers);
                turn(&slot->way[d].taken_turn, &slot->way[d].taken_sleepers);
            }
            if (is_hub_slot(slot)) {
                bit_set(tree->region->ready, index);
                ring = true;
            }
        }
    }
    if (ring)
        tree_ring(tree);
}

int tree_signal(struct tree *tree, uint32_t index, int signal)
{
    if (!tree->is_root)
        return -EPERM;
    struct tree_slot *slot = tree_slot_at(tree, index);
    tree_reaper_lock();
    pid_t pid = (pid_t)load(&slot->client_pid);
    siginfo_t info;
    int r = -ESRCH;
    /* A child of ours that nobody has reaped: so the number is still its. */
    if (pid > 0 && !load(&slot->dead) &&
        waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
        /* The main thread's: the others block it. */
        r = signal == SIGKILL ? kill(pid, signal) : (int)syscall(SYS_tgkill, pid, pid, signal);
        r = r < 0 ? -errno : 0;
    }
    tree_reaper_unlock();
    return r;
}

/* --- waiting --------------------------------------------------------------------------------- */

/*
 * Before it sleeps a thread looks for a while: an answer from a process on another CPU takes less
 * than falling asleep and being woken. First without leaving the CPU, then yielding it each time,
 * so that a peer that waits for this very CPU gets it. A yield that takes long went to somebody
 * else: on a busy machine a sleeper comes back sooner than who yields, so for some waits there are
 * no more yields.
 */
#define SPIN_PAUSES 200
#define SPIN_YIELDS 60
#define SPIN_LONG   60000 /* TSC ticks: some 20 us */
#define SPIN_QUIET  64    /* waits without yields, after a long one */

bool tree_spin(struct tree *tree, unsigned *step)
{
    unsigned n = (*step)++;
    if (!tree->spins || n >= SPIN_PAUSES + SPIN_YIELDS)
        return false;
    if (n < SPIN_PAUSES) {
        _mm_pause();
        return true;
    }
    /* Threads may lose each other's counts: it is a guess anyway. */
    uint32_t quiet = __atomic_load_n(&tree->quiet_waits, __ATOMIC_RELAXED);
    if (n == SPIN_PAUSES && quiet) {
        __atomic_store_n(&tree->quiet_waits, quiet - 1, __ATOMIC_RELAXED);
        *step = SPIN_PAUSES + SPIN_YIELDS;
        return false;
    }
    uint64_t before = __rdtsc();
    sched_yield();
    if (__rdtsc() - before > SPIN_LONG) {
        __atomic_store_n(&tree->quiet_waits, SPIN_QUIET, __ATOMIC_RELAXED);
        *step = SPIN_PAUSES + SPIN_YIELDS;
    }
    return true;
}

static struct timespec until(uint64_t ns)
{
    return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000u),
                              .tv_nsec = (long)(ns % 1000000000u) };
}

int tree_wait(struct host_thread *t, uint32_t index, uint32_t direction, enum tree_count what,
              uint32_t seen, uint64_t deadline_ns)
{
    struct tree *tree = t->host->tree;
    struct tree_slot *slot = tree_slot_at(tree, index);
    struct tree_slot_direction *way = &slot->way[direction];
    uint32_t *count = what == TREE_POSTED ? &way->posted : &way->taken;
    uint32_t *word = what == TREE_POSTED ? &way->posted_turn : &way->taken_turn;
    uint32_t *sleepers = what == TREE_POSTED ? &way->posted_sleepers : &way->taken_sleepers;
    const struct timespec deadline = until(deadline_ns);
    bool timed_out = false;
    unsigned step = 0;

    for (;;) {
        uint32_t now = load(word);
        bool dead = load(&slot->dead);
        /* What was posted before its sender died counts; and an event waits for the next wait. */
        if (load(count) != seen)
            return 0;
        if (dead)
            return -EPIPE;
        if (timed_out)
            return -ETIMEDOUT;
        if (thread_take_event(t))
            return -EINTR;
        if (deadline_ns != 0 && tree_spin(tree, &step))
            continue;
        if (!thread_block_begin(t))
            return -EINTR;
        __atomic_fetch_add(sleepers, 1, __ATOMIC_SEQ_CST);
        long r = futex(word, FUTEX_WAIT_BITSET, now, deadline_ns == OCALL_NEVER ? NULL : &deadline);
        __atomic_fetch_sub(sleepers, 1, __ATOMIC_SEQ_CST);
        thread_block_end(t);
        timed_out = r == -ETIMEDOUT;
    }
}

int tree_serve(struct host_thread *t, uint64_t deadline_ns)
{
    struct tree *tree = t->host->tree;
    struct tree_region *region = tree->region;
    const struct timespec deadline = until(deadline_ns);
    bool timed_out = false;
    unsigned step = 0;

    for (;;) {
        bool rung = load(&region->bell) && __atomic_exchange_n(&region->bell, 0, __ATOMIC_SEQ_CST);
        if (thread_take_event(t) || rung)
            return 0;
        if (timed_out)
            return -ETIMEDOUT;
        if (deadline_ns != 0 && tree_spin(tree, &step))
            continue;
        atomic_store(&t->state, THREAD_SERVING);
        __atomic_store_n(&region->hub_sleeps, 1, __ATOMIC_SEQ_CST);
        long r = 0;
        if (!__atomic_load_n(&t->block->event, __ATOMIC_SEQ_CST))
            r = futex(&region->bell, FUTEX_WAIT_BITSET, 0,
                      deadline_ns == OCALL_NEVER ? NULL : &deadline);
        __atomic_store_n(&region->hub_sleeps, 0, __ATOMIC_SEQ_CST);
        atomic_store_explicit(&t->state, THREAD_OUT, memory_order_release);
        timed_out = r == -ETIMEDOUT;
    }
}
