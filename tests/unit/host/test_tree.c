/*
 * Process trees without enclaves: counters, waits and wakes between processes that share a region
 * by fork, what a death does, and the command line of a further process. Each case runs in
 * processes of its own with a time limit: a wake that is lost must fail the test, not hang it.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fake_device.h"
#include "host/audit.h"
#include "host/child.h"
#include "host/handle.h"
#include "host/tree.h"

#define ROUNDS 20000
#define EVENTS 2000

static struct host g_host;

static enum device_exit no_enclave(uint32_t index UNUSED, enum fake_way way UNUSED,
                                   struct ocall_block *block UNUSED)
{
    return DEVICE_LOST;
}

static struct host_thread *main_thread(void)
{
    return &g_host.threads[0];
}

/* A host with a tree and its main thread attached, in a process of its own. */
static void set_up(void)
{
    struct err err = { 0 };
    struct sigevent kill_me = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
    const struct itimerspec limit = { .it_value = { .tv_sec = 100 } };
    timer_t timer;
    g_host.device = fake_device_new(no_enclave);
    if (timer_create(CLOCK_MONOTONIC, &kill_me, &timer) < 0 ||
        timer_settime(timer, 0, &limit, NULL) < 0 ||
        audit_new(&(const struct audit_options){ .node = "node" }, &g_host.audit, &err) < 0 ||
        thread_pool_init(&g_host, 4, &err) < 0 || tree_make(&g_host) < 0 ||
        thread_attach(main_thread(), &err) < 0)
        _exit(97);
}

/* Another process of the tree. */
static pid_t other(int (*body)(void))
{
    pid_t pid = fork();
    if (pid)
        return pid;
    struct err err = { 0 };
    g_host.tree->pid = (uint32_t)getpid();
    g_host.tree->is_root = false;
    _exit(thread_attach(main_thread(), &err) < 0 ? 97 : body());
}

static int result_of(pid_t pid)
{
    int status;
    if (waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void run(const char *name, int (*body)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        set_up();
        _exit(body());
    }
    int got = result_of(pid);
    if (got != 0)
        fail_msg("%s: got %d", name, got);
}

#define CALL(nr, ...) SERVE(main_thread(), OCALL_TREE_##nr, __VA_ARGS__)

static struct tree_slot_direction *way(uint32_t slot, uint32_t direction)
{
    return &tree_slot_at(g_host.tree, slot)->way[direction];
}

static volatile uint32_t *cell(uint32_t slot, uint32_t direction, uint32_t seq)
{
    return (volatile uint32_t *)tree_cell_at(g_host.tree, slot, direction, seq)->bytes;
}

/* --- arguments ------------------------------------------------------------------------------- */

static int arguments(void)
{
    static const struct {
        const char *name;
        uint32_t nr;
        uint64_t args[6];
        int64_t want;
    } cases[] = {
        { "post: slot", OCALL_TREE_POST, { TREE_SLOTS, 0 }, -EINVAL },
        { "post: slot, high bits", OCALL_TREE_POST, { 1ull << 32, 0 }, -EINVAL },
        { "post: direction", OCALL_TREE_POST, { 0, 2 }, -EINVAL },
        { "post: direction, high bits", OCALL_TREE_POST, { 0, 1ull << 32 }, -EINVAL },
        { "taken: slot", OCALL_TREE_TAKEN, { UINT64_MAX, 0 }, -EINVAL },
        { "wait: slot", OCALL_TREE_WAIT, { TREE_SLOTS, 0, 0, 0 }, -EINVAL },
        { "wait: past", OCALL_TREE_WAIT, { 1, 0, 0, 0 }, -ETIMEDOUT },
        { "wait: past, too", OCALL_TREE_WAIT, { 1, 0, 0, 1 }, -ETIMEDOUT },
        { "wait: already", OCALL_TREE_WAIT, { 1, 0, 7, OCALL_NEVER }, 0 },
        { "room: past", OCALL_TREE_ROOM, { 1, 1, 0, 0 }, -ETIMEDOUT },
        { "room: already", OCALL_TREE_ROOM, { 1, 1, 7, OCALL_NEVER }, 0 },
        { "call: direction", OCALL_TREE_CALL, { 1, 2, 0 }, -EINVAL },
        { "spawn: same slots", OCALL_TREE_SPAWN, { 1, 1, 0 }, -EINVAL },
        { "spawn: slot", OCALL_TREE_SPAWN, { 1, TREE_SLOTS, 0 }, -EINVAL },
        { "spawn: handles", OCALL_TREE_SPAWN, { 1, 2, TREE_HANDLES_MAX + 1 }, -EINVAL },
        { "spawn: a handle", OCALL_TREE_SPAWN, { 1, 2, 1 }, -EBADF },
        { "nudge: nobody", OCALL_TREE_NUDGE, { 5 }, -ESRCH },
        { "kill: nobody", OCALL_TREE_KILL, { 5 }, -ESRCH },
        { "kill: slot", OCALL_TREE_KILL, { TREE_SLOTS }, -EINVAL },
        { "free: slot", OCALL_TREE_FREE, { TREE_SLOTS }, -EINVAL },
        { "serve: past", OCALL_TREE_SERVE, { 0 }, -ETIMEDOUT },
        { "bye: the root", OCALL_TREE_BYE, { 0 }, -EPERM },
    };
    int32_t handle = 700;
    memcpy(main_thread()->data + 32, &handle, sizeof(handle));
    int failed = 0;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t got = serve(main_thread(), cases[i].nr, cases[i].args);
        if (got != cases[i].want) {
            fprintf(stderr, "%s: got %lld, want %lld\n", cases[i].name, (long long)got,
                    (long long)cases[i].want);
            failed = 1;
        }
    }
    /* Whatever is in a slot, a process that is no child of ours is not touched. */
    tree_slot_use(g_host.tree, 5, TREE_SLOT_CONTROL, (uint32_t)getppid(), 0);
    if (CALL(KILL, 5) != -ESRCH || CALL(NUDGE, 5) != -ESRCH)
        return 2;
    struct tree *tree = g_host.tree;
    g_host.tree = NULL;
    if (CALL(POST, 0, 0) != -EINVAL || CALL(SERVE, 0) != -EPERM || CALL(SPAWN, 0, 1, 0) != -EINVAL)
        return 3;
    g_host.tree = tree;
    tree->is_root = false;
    if (CALL(SERVE, 0) != -EPERM || CALL(KILL, 5) != -EPERM)
        return 4;
    return failed;
}

static void test_arguments(void **state UNUSED)
{
    run("arguments", arguments);
}

/* --- messages -------------------------------------------------------------------------------- */

/* Asked and answered on a spawn slot: n, n + 1. */
static int answer(void)
{
    tree_slot_use(g_host.tree, 3, TREE_SLOT_SPAWN, (uint32_t)getppid(), g_host.tree->pid);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (CALL(WAIT, 3, TREE_TO_SERVER, i, OCALL_NEVER) != 0)
            return 1;
        *cell(3, TREE_TO_CLIENT, 0) = *cell(3, TREE_TO_SERVER, 0) + 1;
        if (CALL(POST, 3, TREE_TO_CLIENT) != 0)
            return 2;
    }
    return 0;
}

static int ask(void)
{
    tree_slot_use(g_host.tree, 3, TREE_SLOT_SPAWN, g_host.tree->pid, 1);
    pid_t pid = other(answer);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        *cell(3, TREE_TO_SERVER, 0) = i * 3;
        if (CALL(CALL, 3, TREE_TO_SERVER, i) != 0)
            return 3;
        if (*cell(3, TREE_TO_CLIENT, 0) != i * 3 + 1)
            return 4;
    }
    return result_of(pid);
}

static int ask_asleep(void)
{
    g_host.tree->spins = false;
    return ask();
}

/* A stream: the sender is never more than TREE_CELLS ahead. */
static int receive(void)
{
    for (uint32_t i = 0; i < ROUNDS; i++) {
        if (CALL(WAIT, 4, TREE_TO_CLIENT, i, OCALL_NEVER) != 0)
            return 5;
        if (*cell(4, TREE_TO_CLIENT, i) != i * 7)
            return 6;
        *cell(4, TREE_TO_CLIENT, i) = 0;
        if (CALL(TAKEN, 4, TREE_TO_CLIENT) != 0)
            return 7;
    }
    return 0;
}

static int stream(void)
{
    pid_t pid = other(receive);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        for (;;) {
            uint32_t taken = __atomic_load_n(&way(4, TREE_TO_CLIENT)->taken, __ATOMIC_SEQ_CST);
            if (i - taken < TREE_CELLS)
                break;
            if (CALL(ROOM, 4, TREE_TO_CLIENT, taken, OCALL_NEVER) != 0)
                return 8;
        }
        *cell(4, TREE_TO_CLIENT, i) = i * 7;
        if (CALL(POST, 4, TREE_TO_CLIENT) != 0)
            return 9;
    }
    return result_of(pid);
}

static int stream_asleep(void)
{
    g_host.tree->spins = false;
    return stream();
}

/* Three processes ask the hub, each on a slot of its own that nobody announced. */
#define CLIENTS 3
static uint32_t g_client;

static int client(void)
{
    for (uint32_t i = 0; i < ROUNDS / 2; i++) {
        *cell(g_client, TREE_TO_SERVER, 0) = i;
        if (CALL(CALL, g_client, TREE_TO_SERVER, i) != 0)
            return 10;
        if (*cell(g_client, TREE_TO_CLIENT, 0) != i + g_client)
            return 11;
    }
    return 0;
}

static int hub(void)
{
    struct tree_region *region = g_host.tree->region;
    pid_t pids[CLIENTS];
    uint32_t answered[CLIENTS] = { 0 };
    for (uint32_t c = 0; c < CLIENTS; c++) {
        g_client = 62 + c; /* in two words of ready[] */
        pids[c] = other(client);
    }
    for (uint32_t left = CLIENTS * (ROUNDS / 2); left > 0;) {
        if (CALL(SERVE, OCALL_NEVER) != 0)
            return 12;
        for (uint32_t c = 0; c < CLIENTS; c++) {
            uint32_t slot = 62 + c;
            uint64_t bit = 1ull << slot % 64;
            if (!(__atomic_fetch_and(&region->ready[slot / 64], ~bit, __ATOMIC_SEQ_CST) & bit))
                continue;
            if (way(slot, TREE_TO_SERVER)->posted == answered[c])
                continue;
            answered[c]++;
            left--;
            *cell(slot, TREE_TO_CLIENT, 0) = *cell(slot, TREE_TO_SERVER, 0) + slot;
            if (CALL(POST, slot, TREE_TO_CLIENT) != 0)
                return 13;
        }
    }
    int failed = 0;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        struct tree_slot *slot = tree_slot_at(g_host.tree, 62 + c);
        if (slot->kind != TREE_SLOT_THREAD || slot->client_pid != (uint32_t)pids[c])
            failed = 14;
        failed |= result_of(pids[c]);
    }
    return failed;
}

static int hub_asleep(void)
{
    g_host.tree->spins = false;
    return hub();
}

static void test_messages(void **state UNUSED)
{
    run("asked and answered", ask);
    run("asked and answered, asleep", ask_asleep);
    run("a stream", stream);
    run("a stream, asleep", stream_asleep);
    run("a hub", hub);
    run("a hub, asleep", hub_asleep);
}

/* --- deaths ---------------------------------------------------------------------------------- */

static int dies(void)
{
    tree_slot_use(g_host.tree, 70, TREE_SLOT_SPAWN, (uint32_t)getppid(), g_host.tree->pid);
    tree_slot_use(g_host.tree, 71, TREE_SLOT_CONTROL, g_host.tree->pid, 0);
    CALL(POST, 70, TREE_TO_CLIENT); /* the last word counts */
    return 0;
}

static void *waits(void *arg)
{
    int64_t *ret = arg;
    struct host_thread *t = &g_host.threads[1];
    struct err err = { 0 };
    if (thread_init(t, &g_host, 1) < 0 || thread_attach(t, &err) < 0)
        _exit(97);
    ret[0] = SERVE(t, OCALL_TREE_WAIT, 70, TREE_TO_CLIENT, 0, OCALL_NEVER);
    ret[1] = SERVE(t, OCALL_TREE_WAIT, 70, TREE_TO_CLIENT, 1, OCALL_NEVER);
    ret[2] = SERVE(t, OCALL_TREE_ROOM, 70, TREE_TO_SERVER, 0, OCALL_NEVER);
    return NULL;
}

static int death(void)
{
    for (int round = 0; round < 50; round++) {
        int64_t got[3] = { 1, 1, 1 };
        pthread_t waiter;
        if (pthread_create(&waiter, NULL, waits, got))
            return 20;
        pid_t pid = other(dies);
        if (result_of(pid) != 0)
            return 21;
        tree_mark_dead(g_host.tree, (uint32_t)pid);
        pthread_join(waiter, NULL);
        if (got[0] != 0 || got[1] != -EPIPE || got[2] != -EPIPE)
            return 22;
        /* The hub hears of its own slot, and of no other. */
        if (CALL(SERVE, OCALL_NEVER) != 0 || g_host.tree->region->ready[1] != 1ull << 7)
            return 23;
        if (!tree_slot_at(g_host.tree, 71)->dead || tree_slot_at(g_host.tree, 72)->dead)
            return 24;
        CALL(FREE, 70);
        CALL(FREE, 71);
        if (tree_slot_at(g_host.tree, 70)->dead || way(70, TREE_TO_CLIENT)->posted ||
            g_host.tree->region->used[1] || g_host.tree->region->ready[1])
            return 25;
    }
    return 0;
}

static void test_death(void **state UNUSED)
{
    run("a process dies", death);
}

/* --- events ---------------------------------------------------------------------------------- */

static _Atomic uint32_t g_round, g_woken;

/* One wake for each round, at whatever moment the other thread is in. */
static void *wakes(void *arg UNUSED)
{
    for (uint32_t i = 1; i <= EVENTS; i++) {
        while (atomic_load(&g_round) != i)
            sched_yield();
        if (i % 3 == 0) /* surely asleep, or about to be */
            while (atomic_load(&main_thread()->state) == THREAD_OUT)
                sched_yield();
        atomic_store(&g_woken, i);
        thread_wake(main_thread(), i % 2);
    }
    return NULL;
}

static int events_in(uint32_t nr)
{
    pthread_t waker;
    if (pthread_create(&waker, NULL, wakes, NULL))
        return 30;
    for (uint32_t i = 1; i <= EVENTS; i++) {
        atomic_store(&g_round, i);
        int64_t got;
        do { /* a bell that was rung late may end SERVE early */
            got = nr == OCALL_TREE_SERVE  ? CALL(SERVE, OCALL_NEVER)
                  : nr == OCALL_TREE_ROOM ? CALL(ROOM, 9, TREE_TO_CLIENT, 0, OCALL_NEVER)
                                          : CALL(WAIT, 9, TREE_TO_SERVER, 0, OCALL_NEVER);
        } while (nr == OCALL_TREE_SERVE && atomic_load(&g_woken) < i);
        if (got != (nr == OCALL_TREE_SERVE ? 0 : -EINTR))
            return 31;
    }
    pthread_join(waker, NULL);
    return 0;
}

static int events_wait(void)
{
    return events_in(OCALL_TREE_WAIT);
}

static int events_room(void)
{
    g_host.tree->spins = false;
    return events_in(OCALL_TREE_ROOM);
}

static int events_serve(void)
{
    return events_in(OCALL_TREE_SERVE);
}

static int events_serve_asleep(void)
{
    g_host.tree->spins = false;
    return events_in(OCALL_TREE_SERVE);
}

/* What was posted comes first, and the event is not lost. */
static int event_and_message(void)
{
    CALL(POST, 9, TREE_TO_CLIENT);
    thread_wake(main_thread(), false);
    if (CALL(WAIT, 9, TREE_TO_CLIENT, 0, OCALL_NEVER) != 0)
        return 32;
    if (CALL(WAIT, 9, TREE_TO_CLIENT, 1, OCALL_NEVER) != -EINTR)
        return 33;
    return CALL(WAIT, 9, TREE_TO_CLIENT, 1, 0) == -ETIMEDOUT ? 0 : 34;
}

static void test_events(void **state UNUSED)
{
    run("WAIT", events_wait);
    run("ROOM, asleep", events_room);
    run("SERVE", events_serve);
    run("SERVE, asleep", events_serve_asleep);
    run("an event and a message", event_and_message);
}

/* --- descriptors between processes ----------------------------------------------------------- */

static int g_pass_pipe[2], g_turn[2], g_turn_back[2]; /* a pipe to pass on; who is next */

static uint64_t pass_out(void)
{
    return (uint64_t)(int64_t)handle_add(dup(g_pass_pipe[1]));
}

static bool next(const int turn[2])
{
    return write(turn[1], "x", 1) == 1;
}

static bool my_turn(const int turn[2])
{
    char c;
    return read(turn[0], &c, 1) == 1;
}

/* Gives 5; asks for 9; leaves 11 and 12 behind. */
static int passing_child(void)
{
    uint64_t handle = pass_out();
    if (handle >= HANDLE_MAX || CALL(GIVE, HANDLE_MAX, 5) != -EBADF ||
        CALL(GIVE, 700, 5) != -EBADF || CALL(GIVE, handle, 5) != 0)
        return 40;
    if (CALL(TAKE, 5) != -ENOENT || CALL(ASK, 9) != 0 || !next(g_turn) || !my_turn(g_turn_back))
        return 41;
    int64_t got = CALL(TAKE, 9);
    if (got < 0 || CALL(TAKE, 9) != -ENOENT || CALL(GIVE, handle, 11) != 0 || CALL(ASK, 12) != 0 ||
        CALL(ASK, 13) != 0)
        return 42;
    if (CALL(TAKE, 13) != -ENOENT) /* nobody gave it; it is forgotten */
        return 43;
    return write((int)got, "child", 5) == 5 ? 0 : 44;
}

static int passing(void)
{
    char text[16];
    if (tree_pass_start(g_host.tree) < 0 || pipe(g_pass_pipe) || pipe(g_turn) || pipe(g_turn_back))
        return 45;
    pid_t pid = other(passing_child);
    if (!my_turn(g_turn) || CALL(TAKE, 6) != -ENOENT || CALL(ASK, 6) != -EPERM)
        return 46;
    uint64_t handle = (uint64_t)CALL(TAKE, 5);
    if (handle >= HANDLE_MAX || CALL(TAKE, 5) != -ENOENT || write((int)handle, "root", 4) != 4 ||
        read(g_pass_pipe[0], text, 16) != 4)
        return 47;
    if (CALL(GIVE, handle, 10) != -ENOENT || CALL(GIVE, handle, 9) != 0 ||
        CALL(GIVE, handle, 9) != -ENOENT || !next(g_turn_back))
        return 48;
    int r = result_of(pid);
    if (r != 0 || read(g_pass_pipe[0], text, 16) != 5)
        return r ? r : 49;
    tree_pass_gone(g_host.tree, (uint32_t)pid);
    if (CALL(TAKE, 11) != -ENOENT || CALL(GIVE, handle, 12) != -ENOENT)
        return 50;
    /* And nobody has it any more. */
    if (handle_close(handle) < 0 || close(g_pass_pipe[1]) < 0)
        return 51;
    return read(g_pass_pipe[0], text, 16) == 0 ? 0 : 52;
}

/* More than the queue holds, while nobody looks. */
static int passing_too_many(void)
{
    if (tree_pass_start(g_host.tree) < 0 || pipe(g_pass_pipe))
        return 53;
    g_host.tree->is_root = false;
    uint64_t handle = pass_out();
    int64_t r = 0;
    for (uint64_t key = 1; key < 100000 && r == 0; key++)
        r = CALL(GIVE, handle, key);
    g_host.tree->is_root = true;
    if (r != -ETOOMANYREFS || CALL(TAKE, 1) < 0)
        return 54;
    g_host.tree->is_root = false;
    return CALL(GIVE, handle, 1) == 0 ? 0 : 55;
}

/* A process that gives and gives takes no more of the root's descriptors than sockets may. */
static int passing_without_room(void)
{
    const struct rlimit few = { 64, 64 };
    if (tree_pass_start(g_host.tree) < 0 || pipe(g_pass_pipe) ||
        setrlimit(RLIMIT_NOFILE, &few) < 0 || handle_init() < 0)
        return 70;
    uint64_t handle = pass_out();
    for (uint64_t key = 1; key <= 200; key++) {
        g_host.tree->is_root = false;
        int64_t r = CALL(GIVE, handle, key);
        g_host.tree->is_root = true;
        if (r != 0 || CALL(TAKE, 1000) >= 0)
            return 71;
    }
    int one = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (one < 0 || close(one) < 0)
        return 72;
    if (CALL(TAKE, 200) != -EMFILE || CALL(TAKE, 1) < 0 || CALL(TAKE, 2) < 0)
        return 73;
    tree_pass_gone(g_host.tree, g_host.tree->pid);
    if (CALL(TAKE, 3) != -ENOENT)
        return 74;
    g_host.tree->is_root = false;
    int64_t r = CALL(GIVE, handle, 5);
    g_host.tree->is_root = true;
    return r == 0 && CALL(TAKE, 5) >= 0 ? 0 : 75;
}

/* Nobody reads, and close() would wait for a minute, longer than the test may last. */
static int closing_aside(void)
{
    const struct linger minute = { .l_onoff = 1, .l_linger = 60 };
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(at);
    static char much[1 << 16];
    int server = socket(AF_INET, SOCK_STREAM, 0), one = socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0 || one < 0 || listen(server, 1) < 0 ||
        getsockname(server, (struct sockaddr *)&at, &size) < 0)
        return 60;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(one, (struct sockaddr *)&at, size) < 0 ||
        setsockopt(one, SOL_SOCKET, SO_LINGER, &minute, sizeof(minute)) < 0)
        return 61;
    while (send(one, much, sizeof(much), MSG_DONTWAIT) > 0)
        ;
    uint64_t handle = (uint64_t)(int64_t)handle_add(one);
    if (SERVE(main_thread(), OCALL_CLOSE, handle, 1) != 0 ||
        SERVE(main_thread(), OCALL_CLOSE, handle, 1) != -EBADF)
        return 62;
    return close(server) < 0 ? 63 : 0;
}

static void test_passing(void **state UNUSED)
{
    run("closing one that lingers", closing_aside);
    run("descriptors", passing);
    run("too many descriptors", passing_too_many);
    run("no room for descriptors", passing_without_room);
}

/* --- the command line of a further process --------------------------------------------------- */

static void test_command_line(void **state UNUSED)
{
    static const struct {
        const char *numbers, *flags, *handles, *node;
        int want;
    } cases[] = {
        { "5,3,7,8,9,2,4095,2", "", "-", "nodes/0", 0 },
        { "5,3,7,8,9,2,3,2", "pqst1ab", "0,1,700", "nodes/4095", 0 },
        { "5,3,7,8,9,2,4096,2", "", "-", "nodes/0", -EINVAL },
        { "5,3,7,8,9,2,3,3", "", "-", "nodes/0", -EINVAL },
        { "5,3,7,8,9,2,3", "", "-", "nodes/0", -EINVAL },
        { "5,3,7,8,9,2,3,2,", "", "-", "nodes/0", -EINVAL },
        { "-5,3,7,8,9,2,3,2", "", "-", "nodes/0", -EINVAL },
        { "5,3,7,8,9,2,3,2", "x", "-", "nodes/0", -EINVAL },
        { "5,3,7,8,9,2,3,2", "", "", "nodes/0", -EINVAL },
        { "5,3,7,8,9,2,3,2", "", "1,", "nodes/0", -EINVAL },
        { "5,3,7,8,9,2,3,2", "", "1,99999999999", "nodes/0", -EINVAL },
        { "5,3,7,8,9,2,3,2", "", "-", "nodes/4096", -EINVAL },
        { "5,3,7,8,9,2,3,2", "", "-", "../x", -EINVAL },
        { "5,3,7,8,9,2,3,2", "", "-", "nodes/0/..", -EINVAL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *argv[] = { "sgxpy",
                         TREE_CHILD_VERB,
                         (char *)cases[i].numbers,
                         (char *)cases[i].flags,
                         (char *)cases[i].handles,
                         "image",
                         "bundle",
                         (char *)cases[i].node,
                         "",
                         "",
                         "",
                         NULL };
        struct tree_child child;
        struct host_options o;
        struct err err = { 0 };
        int got = tree_child_parse(ARRAY_SIZE(argv) - 1, argv, &child, &o, &err);
        if (got != cases[i].want)
            fail_msg("%s %s %s %s: got %d, want %d", cases[i].numbers, cases[i].flags,
                     cases[i].handles, cases[i].node, got, cases[i].want);
        if (i == 1) {
            assert_true(o.poison && o.quiet && o.strace && o.stats && o.single_step &&
                        o.spare_always && o.bundle_given);
            assert_int_equal(child.handle_count, 3);
            assert_int_equal(child.handles[2], 700);
            assert_int_equal(child.node, 4095);
            assert_string_equal(o.node_path, "bundle/nodes/4095");
            assert_null(o.audit_path);
        }
        free(child.handles);
        free((char *)o.node_path);
        assert_int_equal(tree_child_parse(ARRAY_SIZE(argv) - 2, argv, &child, &o, &err), -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments), cmocka_unit_test(test_messages),
        cmocka_unit_test(test_death),     cmocka_unit_test(test_events),
        cmocka_unit_test(test_passing),   cmocka_unit_test(test_command_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
