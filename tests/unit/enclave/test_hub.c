/*
 * The hub's thread (src/enclave/tree/hub.c, hub_ops.c, ptable.c) against processes with code of their own: what
 * they may say that the library OS never would, and when. Channels are fakes: a request is taken as it is, and
 * the answer kept.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#define _LINUX_SIGNAL_H /* libc's is here */
#include "../../../src/enclave/tree/hub.c"

#define ROOT PTABLE_ROOT_PID
#define SELF 0

/* --- channels ------------------------------------------------------------------------------------ */

static struct {
    struct in in;
    bool full, broken;
    struct out out;
    uint32_t answers;
} g_slots[64];
static uint8_t *g_region;
static uint64_t g_signals; /* that reached the root's program */

int64_t channel_try_receive(struct channel *channel, void *buf, uint32_t room)
{
    if (!g_slots[channel->slot].full)
        return -EAGAIN;
    g_slots[channel->slot].full = false;
    if (g_slots[channel->slot].broken)
        return -EPIPE;
    channel->received++;
    uint32_t size = (uint32_t)sizeof(struct hub_request) + g_slots[channel->slot].in.request.size;
    assert_true(size <= room);
    memcpy(buf, &g_slots[channel->slot].in, size);
    return size;
}

int channel_send(struct channel *channel, const void *data, uint32_t size)
{
    memcpy(&g_slots[channel->slot].out, data, size);
    g_slots[channel->slot].answers++;
    return 0;
}

void channel_init(struct channel *channel, uint32_t slot, bool client UNUSED, bool ping UNUSED,
                  const uint8_t secret[static CHANNEL_SECRET_SIZE] UNUSED)
{
    *channel = (struct channel){ .slot = slot };
}

/* The channel of a process that has to prove what it is: greets stays, as nobody takes the greeting here. */
void channel_init_greeted(struct channel *channel, uint32_t slot, bool ping UNUSED,
                          const uint8_t secret[static CHANNEL_SECRET_SIZE], const uint8_t *greeting)
{
    assert_null(greeting);
    *channel = (struct channel){ .slot = slot, .greets = true };
    memcpy(channel->greeting, secret, sizeof(channel->greeting));
}

static struct {
    uint8_t mrenclave[MANIFEST_HASH_SIZE];
    uint32_t slot;
    int32_t pid;
} g_ticket; /* the last one that was made */

void attest_ticket_new(const uint8_t mrenclave[static MANIFEST_HASH_SIZE], uint32_t slot,
                       int32_t pid, struct attest_ticket *ret,
                       uint8_t ret_secret[static CHANNEL_SECRET_SIZE])
{
    memcpy(g_ticket.mrenclave, mrenclave, sizeof(g_ticket.mrenclave));
    g_ticket.slot = slot;
    g_ticket.pid = pid;
    memset(ret, 0x71, sizeof(*ret));
    memset(ret_secret, 0x5e, CHANNEL_SECRET_SIZE);
}

void channel_wipe(struct channel *channel UNUSED)
{
}

uint64_t tree_region(void)
{
    return (uint64_t)(uintptr_t)g_region;
}

int tree_region_set(uint64_t address UNUSED)
{
    return 0;
}

/* --- the rest of the root -------------------------------------------------------------------------- */

static struct manifest_node g_node = { .uid = 1000, .process_limit = 8 };
const struct manifest_node *process_node(void)
{
    return &g_node;
}
bool process_is_root(void)
{
    return true;
}
bool process_ending(void)
{
    return false;
}
struct process g_process;
struct thread *current(void);
void fd_table_clear(struct fd_table *table UNUSED)
{
}
uint32_t proc_label(char *buf UNUSED, uint32_t room UNUSED)
{
    return 0;
}

bool vfork_signal(int32_t pid UNUSED, const struct signal_info *info UNUSED)
{
    return false;
}
void signal_send_process(const struct signal_info *info)
{
    assert_in_range(info->number, 1, 64); /* it is an index there */
    g_signals |= 1ull << (info->number - 1);
}
int64_t border_call(enum ocall_nr nr UNUSED, uint64_t max UNUSED, uint64_t a0 UNUSED,
                    uint64_t a1 UNUSED, uint64_t a2 UNUSED, uint64_t a3 UNUSED, uint64_t a4 UNUSED,
                    uint64_t a5 UNUSED)
{
    return 0;
}
uint64_t border_out(unsigned i UNUSED)
{
    return 0;
}
static uint32_t g_lines;
void log_error(const char *format UNUSED, ...)
{
    g_lines++;
}
void panic(const char *format UNUSED, ...)
{
    abort();
}
void cpu_random(void *buf, size_t size)
{
    memset(buf, 7, size);
}
/* The hub lives as long as the root: what a test leaves in its tables goes with the test. */
union block {
    struct {
        union block *next, *prev;
    };
    max_align_t align;
};
static union block g_blocks = { { &g_blocks, &g_blocks } };

static void link_in(union block *b)
{
    b->next = g_blocks.next;
    b->prev = &g_blocks;
    b->next->prev = b;
    g_blocks.next = b;
}
void heap_free(void *p)
{
    if (!p)
        return;
    union block *b = (union block *)p - 1;
    b->next->prev = b->prev;
    b->prev->next = b->next;
    free(b);
}
void *heap_alloc(size_t size)
{
    union block *b = calloc(1, sizeof(*b) + size);
    if (!b)
        abort();
    link_in(b);
    return b + 1;
}
void *heap_realloc(void *p, size_t size)
{
    if (!p)
        return heap_alloc(size);
    union block *b = (union block *)p - 1;
    b->next->prev = b->prev;
    b->prev->next = b->next;
    b = realloc(b, sizeof(*b) + size);
    if (!b)
        abort();
    link_in(b);
    return b + 1;
}
void lock_take(struct lock *lock UNUSED)
{
}
void lock_drop(struct lock *lock UNUSED)
{
}
void mutex_take(struct mutex *mutex UNUSED)
{
}
void mutex_drop(struct mutex *mutex UNUSED)
{
}
void thread_unpark(struct thread *thread UNUSED)
{
}
void thread_park_serve(void)
{
}
void thread_park_ended(void)
{
}
int thread_start_service(void (*service)(void) UNUSED, struct thread **ret UNUSED)
{
    return 0;
}
int64_t hub_files(struct hub_job *job UNUSED)
{
    return -EBADF;
}
int64_t hub_memory(struct hub_job *job UNUSED)
{
    return -EBADF;
}
void hub_files_told(void)
{
}
void hub_files_drop(struct peer *peer UNUSED)
{
}
void hub_memory_drop(struct peer *peer UNUSED)
{
}
bool hub_memory_has(int32_t pid UNUSED)
{
    return false;
}

/* Queues of jobs. */
void waitq_add(struct waitq *queue, struct waiter *waiter)
{
    waiter->prev = NULL;
    waiter->next = queue->first;
    if (queue->first)
        queue->first->prev = waiter;
    queue->first = waiter;
    waiter->queue = queue;
}
void waitq_remove(struct waiter *waiter)
{
    if (!waiter->queue)
        return;
    *(waiter->prev ? &waiter->prev->next : &waiter->queue->first) = waiter->next;
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    waiter->queue = NULL;
}
uint32_t waitq_wake(struct waitq *queue, uint32_t max UNUSED)
{
    for (struct waiter *w = queue->first, *next; w; w = next) {
        next = w->next;
        w->notify(w);
    }
    return 0;
}

/* --- helpers ---------------------------------------------------------------------------------------- */

static void round_of_hub(void)
{
    (void)look_at_ready();
    while (__atomic_exchange_n(&g_hub.told, false, __ATOMIC_SEQ_CST)) {
        run_told();
        end_doomed();
    }
}

static void post(uint32_t slot, struct hub_request request)
{
    memset(&g_slots[slot].in, 0, sizeof(g_slots[slot].in));
    g_slots[slot].in.request = request;
    g_slots[slot].full = true;
    ((struct tree_region *)g_region)->ready[slot / 64] |= 1ull << slot % 64;
}

#define LATER 12345
/* A request over a channel; LATER: it was not answered. */
static int64_t say(uint32_t slot, struct hub_request request)
{
    uint32_t before = g_slots[slot].answers;
    post(slot, request);
    round_of_hub();
    return g_slots[slot].answers == before ? LATER : g_slots[slot].out.reply.ret;
}

#define SAY(slot, ...) say((slot), (struct hub_request){ __VA_ARGS__ })

/* A process of the root's, running: its pid and control channel. */
static int32_t process(uint32_t *ret_slot)
{
    struct peer *peer;
    struct attest_ticket ticket;
    uint8_t mrenclave[MANIFEST_HASH_SIZE] = { 0 };
    int32_t pid = ptable_new(ROOT, SIGCHLD);
    assert_true(pid > 0);
    assert_int_equal(peer_new(ROOT, pid, mrenclave, &peer, &ticket), 0);
    *ret_slot = peer->control_slot;
    assert_int_equal(SAY(*ret_slot, .op = HUB_HELLO), 0);
    peer_spawned(peer, 0);
    return pid;
}

static int64_t spawn(uint32_t slot, int32_t pid, uint32_t *ret_control)
{
    int64_t r = SAY(slot, .op = HUB_SPAWN, .size = MANIFEST_HASH_SIZE, .args = { (uint64_t)pid });
    *ret_control = (uint32_t)g_slots[slot].out.reply.out[0];
    return r;
}

static int32_t status_of(int32_t pid)
{
    struct ptable_waited waited = { .pid = 0 };
    int r = ptable_wait(ROOT, P_PID, pid, WEXITED | WNOHANG, &waited);
    return r < 0 ? r : waited.pid == pid ? waited.status : -EAGAIN;
}

static int start(void **state UNUSED)
{
    memset(&g_hub, 0, sizeof(g_hub));
    memset(g_slots, 0, sizeof(g_slots));
    memset(g_region, 0, sizeof(struct tree_region));
    for (int32_t pid = ROOT + 1; pid < ROOT + 200; pid++)
        ptable_forget(pid);
    g_signals = 0;
    return 0;
}

static int finish(void **state UNUSED)
{
    for (int32_t pid = ROOT + 1; pid < ROOT + 200; pid++)
        ptable_forget(pid);
    while (g_blocks.next != &g_blocks)
        heap_free(g_blocks.next + 1);
    return 0;
}

/* --- tests ------------------------------------------------------------------------------------------- */

/* Only signals that there are, as kill and sigqueue may send them. */
static void test_signals(void **state UNUSED)
{
    uint32_t slot;
    (void)process(&slot);
    static const int64_t numbers[] = { -1, 65, 64000, INT32_MIN, INT64_MAX, 1ll << 32 | 9 };
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        assert_int_equal(SAY(slot, .op = HUB_KILL, .args = { ROOT, (uint64_t)numbers[i] }),
                         -EINVAL);
    assert_int_equal(SAY(slot, .op = HUB_KILL, .args = { ROOT, SIGCHLD, SI_KERNEL }), -EPERM);
    assert_int_equal(SAY(slot, .op = HUB_STOPPED, .args = { 0xff }), -EINVAL);
    assert_int_equal(SAY(slot, .op = HUB_STOPPED, .args = { 0 }), -EINVAL);
    assert_int_equal(g_signals, 0);
    assert_int_equal(SAY(slot, .op = HUB_KILL, .args = { ROOT, SIGTERM, 0 }), 0);
    assert_int_equal(g_signals, 1ull << (SIGTERM - 1));
}

/* Who has ended or is on its way is not started, forgotten or ended again. */
static void test_pids(void **state UNUSED)
{
    uint32_t slot, child, other;
    int32_t pid = process(&slot);
    int32_t unborn = (int32_t)SAY(slot, .op = HUB_NEW_PID);
    assert_true(unborn > pid);
    assert_int_equal(spawn(slot, unborn, &child), 0);
    assert_int_equal(spawn(slot, unborn, &other), -EINVAL);
    assert_int_equal(SAY(slot, .op = HUB_FORGET_PID, .args = { (uint64_t)unborn }), -ESRCH);
    assert_int_equal(SAY(slot, .op = HUB_CHILD_EXIT, .args = { (uint64_t)unborn, 0 }), -ESRCH);
    assert_int_equal(SAY(child, .op = HUB_HELLO), 0);
    assert_int_equal(SAY(slot, .op = HUB_SPAWN_DONE, .args = { (uint64_t)unborn, 0 }), 0);
    assert_int_equal(SAY(slot, .op = HUB_FORGET_PID, .args = { (uint64_t)unborn }), -ESRCH);
    assert_int_equal(SAY(slot, .op = HUB_CHILD_EXIT, .args = { (uint64_t)unborn, 0 }), -ESRCH);
    int32_t ended = (int32_t)SAY(slot, .op = HUB_NEW_PID);
    assert_int_equal(SAY(slot, .op = HUB_CHILD_EXIT, .args = { (uint64_t)ended, 0 }), 0);
    assert_int_equal(spawn(slot, ended, &other), -EINVAL);
    /* Nor what is others'. */
    int32_t stranger = process(&other);
    assert_int_equal(spawn(slot, stranger, &child), -EINVAL);
    assert_int_equal(spawn(slot, ROOT, &child), -EINVAL);
    assert_int_equal(SAY(slot, .op = HUB_SPAWN_DONE, .args = { (uint64_t)stranger, 0 }), -EINVAL);
    assert_int_equal(SAY(slot, .op = HUB_NEW_PID, .self = stranger), -ESRCH);
    assert_int_equal(SAY(slot, .op = HUB_WAIT, .self = ROOT), -ESRCH);
    assert_int_equal(status_of(stranger), -EAGAIN);
}

/* What a process says of others: which one by its birth, what its children tell, who reaps, what others see. */
static void test_others(void **state UNUSED)
{
    uint32_t slot, other;
    int32_t pid = process(&slot), stranger = process(&other);
    uint64_t birth = ptable_born(stranger);
    assert_int_equal(SAY(slot, .op = HUB_KILL, .args = { (uint64_t)stranger, 0, 0, 0, birth }), 0);
    assert_int_equal(SAY(slot, .op = HUB_KILL, .args = { (uint64_t)stranger, 0, 0, 0, birth + 1 }),
                     -ESRCH);
    assert_int_equal(SAY(slot, .op = HUB_NEW_PID, .args = { 65 }), -EINVAL);
    assert_int_equal(SAY(slot, .op = HUB_NEW_PID, .args = { (uint64_t)-1 }), -EINVAL);

    int32_t child = (int32_t)SAY(slot, .op = HUB_NEW_PID, .args = { SIGCHLD });
    uint64_t childs = ptable_born(child);
    uint64_t id = (uint64_t)child, options = WEXITED | WNOHANG;
    assert_int_equal(SAY(slot, .op = HUB_WAIT, .args = { P_PID, id, options, childs }), 0);
    assert_int_equal(SAY(slot, .op = HUB_CHILD_EXIT, .args = { id, 3 << 8 }), 0);
    assert_int_equal(SAY(slot, .op = HUB_WAIT, .args = { P_PID, id, options, childs + 1 }),
                     -ECHILD);
    assert_int_equal(SAY(slot, .op = HUB_WAIT, .args = { P_PID, id, options, childs }), child);

    assert_int_equal(SAY(slot, .op = HUB_SUBREAPER, .args = { 0 }), 0);
    assert_int_equal(SAY(slot, .op = HUB_SUBREAPER, .args = { 1, 1 }), 0);
    assert_int_equal(SAY(slot, .op = HUB_SUBREAPER, .args = { 0 }), 1);
    assert_int_equal(ptable_get_subreaper(stranger), 0);

    struct ptable_view view;
    assert_int_equal(SAY(slot, .op = HUB_VIEW, .args = { 30000 }), -ESRCH);
    assert_int_equal(ptable_set_label(pid, "/bin/x\0x\0x", 11), 0);
    assert_int_equal(SAY(other, .op = HUB_VIEW, .args = { (uint64_t)pid }), 0);
    assert_int_equal(g_slots[other].out.reply.size, sizeof(view) + 11);
    memcpy(&view, g_slots[other].out.data, sizeof(view));
    assert_int_equal(view.parent, ROOT);
    assert_memory_equal(g_slots[other].out.data + sizeof(view), "/bin/x\0x\0x", 11);
    assert_int_equal(SAY(other, .op = HUB_NEXT_PID, .args = { (uint64_t)pid }), pid);
}

/* Whoever starts it: a child has a ticket for the enclave that its parent named, and gets nothing before it used it. */
static void test_proof(void **state UNUSED)
{
    uint32_t slot, child;
    (void)process(&slot);
    for (int own = 0; own < 2; own++) { /* exec in place as well */
        int32_t pid =
            own ? peer_pid(g_hub.links[slot]->peer) : (int32_t)SAY(slot, .op = HUB_NEW_PID);
        post(slot, (struct hub_request){
                       .op = HUB_SPAWN, .size = MANIFEST_HASH_SIZE, .args = { (uint64_t)pid } });
        memset(g_slots[slot].in.data, 0xbb, MANIFEST_HASH_SIZE);
        round_of_hub();
        assert_int_equal(g_slots[slot].out.reply.ret, 0);
        child = (uint32_t)g_slots[slot].out.reply.out[0];

        struct attest_ticket want;
        memset(&want, 0x71, sizeof(want));
        assert_int_equal(g_slots[slot].out.reply.size, sizeof(want));
        assert_memory_equal(g_slots[slot].out.data, &want, sizeof(want));
        assert_int_equal(g_ticket.slot, child);
        assert_int_equal(g_ticket.pid, pid);
        assert_int_equal(g_ticket.mrenclave[31], 0xbb);
        assert_memory_equal(peer_mrenclave(g_hub.links[child]->peer), g_ticket.mrenclave,
                            MANIFEST_HASH_SIZE);
        /* The key's secret is not what went to the parent. */
        assert_true(g_hub.links[child]->channel.greets);
        assert_int_equal(g_hub.links[child]->channel.greeting[0], 0x5e);

        /* A parent that says that it runs, though it has not spoken: it does not, whoever it is. */
        assert_int_equal(SAY(slot, .op = HUB_SPAWN_DONE, .args = { (uint64_t)pid, 0, 1 }), -EPROTO);
        assert_null(peer_spawning(pid));
        assert_true(own ? peer_running(pid) == g_hub.links[slot]->peer : !peer_running(pid));
        assert_null(g_hub.links[child]);
        if (!own)
            assert_int_equal(SAY(slot, .op = HUB_FORGET_PID, .args = { (uint64_t)pid }), 0);
    }
    /* One that speaks, but not with the right key: as nonsense on a channel. */
    int32_t pid = (int32_t)SAY(slot, .op = HUB_NEW_PID);
    assert_int_equal(spawn(slot, pid, &child), 0);
    uint32_t lines = g_lines;
    g_slots[child].broken = true;
    assert_int_equal(SAY(child, .op = HUB_HELLO), LATER);
    assert_int_equal(g_lines, lines + 1);
    assert_true(peer_spawning(pid)->doomed);
    g_slots[child].broken = false;
    assert_int_equal(SAY(child, .op = HUB_HELLO), LATER);
    assert_false(peer_spawning(pid)->hello);
    assert_int_equal(SAY(slot, .op = HUB_SPAWN_DONE, .args = { (uint64_t)pid, (uint64_t)EAGAIN }),
                     0);
}

/* Nothing of the program runs before its parent has said that it started. */
static void test_started(void **state UNUSED)
{
    uint32_t slot, child;
    (void)process(&slot);
    for (int fails = 0; fails < 2; fails++) {
        int32_t pid = (int32_t)SAY(slot, .op = HUB_NEW_PID);
        assert_int_equal(spawn(slot, pid, &child), 0);
        assert_int_equal(SAY(child, .op = HUB_HELLO), 0);
        uint32_t answers = g_slots[child].answers;
        assert_int_equal(SAY(child, .op = HUB_EVENTS, .args = { 16, 1 }), LATER);
        assert_int_equal(
            SAY(slot, .op = HUB_SPAWN_DONE, .args = { (uint64_t)pid, (uint64_t)fails }), 0);
        round_of_hub();
        assert_int_equal(g_slots[child].answers, answers + !fails);
        if (fails) /* its parent is told, and gives the pid back */
            assert_int_equal(SAY(slot, .op = HUB_FORGET_PID, .args = { (uint64_t)pid }), 0);
    }
}

/* A process that ends, or is killed, while it starts others leaves nothing that is waited for. */
static void test_ends_while_starting(void **state UNUSED)
{
    for (int killed = 0; killed < 2; killed++) {
        uint32_t slot, child;
        int32_t pid = process(&slot);
        int32_t a = (int32_t)SAY(slot, .op = HUB_NEW_PID),
                b = (int32_t)SAY(slot, .op = HUB_NEW_PID);
        assert_int_equal(spawn(slot, a, &child), 0);
        assert_int_equal(SAY(child, .op = HUB_HELLO), 0);
        if (killed) {
            assert_int_equal(ptable_kill(ROOT, pid, &(struct signal_info){ .number = SIGKILL }), 0);
            round_of_hub();
        } else {
            assert_int_equal(SAY(slot, .op = HUB_EXIT, .args = { 3 << 8 }), LATER);
        }
        assert_false(peers_left());
        assert_int_equal(ptable_getpgid(ROOT, a), -ESRCH);
        assert_int_equal(ptable_getpgid(ROOT, b), -ESRCH);
        assert_int_equal(status_of(pid), killed ? SIGKILL : 3 << 8);
    }
}

/* A lost channel is an end by SIGKILL, also if the process never spoke. */
static void test_lost(void **state UNUSED)
{
    uint32_t slot;
    int32_t pid = process(&slot);
    ((volatile struct tree_slot *)(g_region + TREE_REGION_HEAD + (uint64_t)slot * TREE_SLOT_SIZE))
        ->dead = 1;
    ((struct tree_region *)g_region)->ready[0] |= 1ull << slot;
    round_of_hub();
    assert_int_equal(status_of(pid), SIGKILL);
    ((volatile struct tree_slot *)(g_region + TREE_REGION_HEAD + (uint64_t)slot * TREE_SLOT_SIZE))
        ->dead = 0;
}

/* The request that is taken back may be looked at after that. */
static void test_cancel(void **state UNUSED)
{
    uint32_t slot;
    (void)process(&slot);
    assert_true(SAY(slot, .op = HUB_NEW_PID) > 0);
    assert_int_equal(SAY(slot, .op = HUB_OPEN), 0);
    uint32_t thread = (uint32_t)g_slots[slot].out.reply.out[0];
    struct hub_request wait = { .op = HUB_WAIT, .args = { P_ALL, 0, WEXITED | __WALL } };
    uint64_t number = 0;
    assert_int_equal(say(thread, wait), LATER);
    assert_int_equal(SAY(slot, .op = HUB_CANCEL, .args = { thread, number++ }), 0);
    assert_int_equal(g_slots[thread].out.reply.ret, -EINTR);
    assert_int_equal(SAY(slot, .op = HUB_CANCEL, .args = { thread, number++ }), 0);
    assert_int_equal(say(thread, wait), -EINTR);
    /* One that was answered: nothing, and the next one waits. */
    assert_int_equal(say(thread, wait), LATER);
    assert_int_equal(SAY(slot, .op = HUB_CANCEL, .args = { thread, 1 }), 0);
    assert_int_equal(g_slots[thread].answers, 3);
    assert_int_equal(SAY(slot, .op = HUB_CANCEL, .args = { TREE_SLOTS, 0 }), -EINVAL);
}

int main(void)
{
    g_region = mmap(NULL, TREE_REGION_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_in = malloc(sizeof(*g_in));
    g_out = malloc(sizeof(*g_out));
    ptable_init(64);
#define T(name) cmocka_unit_test_setup_teardown(name, start, finish)
    const struct CMUnitTest tests[] = {
        T(test_signals), T(test_pids),    T(test_others),
        T(test_proof),   T(test_started), T(test_ends_while_starting),
        T(test_lost),    T(test_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
