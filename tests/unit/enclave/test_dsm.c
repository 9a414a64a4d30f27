/*
 * Shared memory between processes: the hub with a program of its own, and three processes, each with the program's
 * addresses to itself. mm/ and both sides of dsm are real; sockets play the channels.
 */
#include "mm/dsm.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "abi/layout.h"
#include "abi/manifest.h"
#include "arch/thread.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/pages.h"
#include "mm/shared.h"
#include "mm/uaccess.h"
#include "mm_fakes.h"
#include "process/process.h"
#include "thread/futex.h"
#include "thread/mutex.h"
#include "thread/threads.h"
#include "thread/timer.h"
#include "vfs/remote/remote.h"
#include "vfs/remote/serve.h"
#include "vfs/tmpfs/tmpfs.h"

#define PAGE       LAYOUT_PAGE
#define RW         (PROT_READ | PROT_WRITE)
#define CLIENTS    3
#define FILE_PAGES 20u
#define AT         0x30000000ull
#define AGAIN      0x31000000ull /* the file once more */
#define SINGLE     0x32000000ull
#define ROUNDS     400
#define TURNS      20u

/* What the processes tell the test; the host's memory, as it were. */
struct result {
    uint32_t added[CLIENTS + 1];
    uint32_t failed;
    uint32_t sum;
    uint32_t finished;
    uint32_t ready;
};
static struct result *g_result;
static bool g_root;

/* --- threads, waiting, timers --------------------------------------------------------------------- */

static __thread struct thread g_thread;

static void thread_here(void)
{
    g_thread.self = (uint64_t)&g_thread;
    (void)syscall(SYS_arch_prctl, ARCH_SET_GS, &g_thread);
}

uint64_t clock_monotonic(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static struct timer *g_timer;
void timer_arm(struct timer *timer, uint64_t deadline, uint64_t interval UNUSED)
{
    timer->deadline = deadline;
    g_timer = timer;
}
uint64_t timer_left(struct timer *timer, uint64_t *ret_interval)
{
    *ret_interval = 0;
    return g_timer == timer;
}
static void timers(void)
{
    struct timer *timer = g_timer;
    if (timer && clock_monotonic() >= timer->deadline) {
        g_timer = NULL;
        timer->fn(timer, 1);
    }
}

static __thread bool g_hub_thread;

/* What the hub's thread does between two looks at its tables is as slow as a busy machine makes it. */
void mutex_take(struct mutex *mutex)
{
    for (int i = 0; g_hub_thread && i < 20; i++)
        (void)sched_yield();
    while (__atomic_exchange_n(&mutex->word, 1, __ATOMIC_ACQUIRE))
        (void)sched_yield();
}
void mutex_drop(struct mutex *mutex)
{
    __atomic_store_n(&mutex->word, 0, __ATOMIC_RELEASE);
}

void waitq_add(struct waitq *queue, struct waiter *waiter)
{
    lock_take(&queue->lock);
    waiter->next = NULL;
    waiter->prev = queue->last;
    *(queue->last ? &queue->last->next : &queue->first) = waiter;
    queue->last = waiter;
    waiter->queue = queue;
    lock_drop(&queue->lock);
}
static void off(struct waitq *queue, struct waiter *waiter)
{
    *(waiter->prev ? &waiter->prev->next : &queue->first) = waiter->next;
    *(waiter->next ? &waiter->next->prev : &queue->last) = waiter->prev;
    waiter->queue = NULL;
}
void waitq_remove(struct waiter *waiter)
{
    struct waitq *queue = __atomic_load_n(&waiter->queue, __ATOMIC_ACQUIRE);
    if (!queue)
        return;
    lock_take(&queue->lock);
    if (waiter->queue)
        off(queue, waiter);
    lock_drop(&queue->lock);
}
uint32_t waitq_wake(struct waitq *queue, uint32_t max UNUSED)
{
    lock_take(&queue->lock);
    for (struct waiter *w = queue->first, *next; w; w = next) {
        next = w->next;
        if (w->notify) {
            w->notify(w);
            continue;
        }
        struct thread *thread = w->thread;
        off(queue, w);
        thread_unpark(thread);
    }
    lock_drop(&queue->lock);
    return 0;
}
void thread_unpark(struct thread *thread)
{
    __atomic_store_n(&thread->wake, 1, __ATOMIC_RELEASE);
}
static void look_for_events(int timeout_ms);
int thread_park(uint64_t deadline)
{
    while (!__atomic_exchange_n(&g_thread.wake, 0, __ATOMIC_ACQUIRE)) {
        if (clock_monotonic() >= deadline)
            return -ETIMEDOUT;
        if (g_root)
            (void)sched_yield();
        else
            look_for_events(1);
    }
    return 0;
}
void threads_each(void (*fn)(struct thread *thread, void *arg) UNUSED, void *arg UNUSED)
{
}
void thread_interrupt(struct thread *thread)
{
    thread_unpark(thread);
}
void futex_robust_exit(uint64_t list UNUSED, uint32_t tid UNUSED)
{
}
void futex_wake_range(uint64_t start UNUSED, uint64_t end UNUSED)
{
}

/* --- files: one scratch file at the hub; in the others a handle ------------------------------------- */

static uint8_t g_disk[1u << 20];
static uint64_t g_disk_size = FILE_PAGES * PAGE;

static int64_t disk_read(struct file *file UNUSED, void *buf, uint64_t size, uint64_t offset)
{
    if (offset >= g_disk_size)
        return 0;
    memcpy(buf, g_disk + offset, size);
    return (int64_t)size;
}
static int64_t disk_write(struct file *file UNUSED, const void *buf, uint64_t size, uint64_t offset)
{
    if (offset < g_disk_size)
        memcpy(g_disk + offset, buf, size);
    return (int64_t)size;
}
static int disk_stat(struct file *file UNUSED, struct kstat *ret)
{
    *ret = (struct kstat){ .size = (int64_t)g_disk_size };
    return 0;
}
static const struct file_ops g_disk_ops = {
    .name = "tmpfs", .pread_kernel = disk_read, .pwrite_kernel = disk_write, .fstat = disk_stat
};
static char g_disk_path[] = "/dev/shm/it";
static struct file g_disk_file = {
    .ops = &g_disk_ops, .refs = 1, .flags = O_RDWR, .path = g_disk_path
};

struct inode *tmpfs_inode_of(const struct file *file)
{
    return g_root && file->ops == &g_disk_ops ? (struct inode *)(void *)g_disk : NULL;
}
int tmpfs_anonymous(uint32_t mode UNUSED, uint32_t flags UNUSED, bool sealable UNUSED,
                    struct file **ret UNUSED)
{
    return -ENOSPC;
}
int tmpfs_get_seals(struct file *file UNUSED)
{
    return 0;
}
int32_t remote_handle(const struct file *file)
{
    return !g_root && file->ops == &g_disk_ops ? 1 : -1;
}
struct file *serve_file(struct peer *peer UNUSED, uint64_t handle)
{
    return handle == 1 ? file_ref(&g_disk_file) : NULL;
}
struct file *file_new(const struct file_ops *ops, uint32_t flags, void *object)
{
    struct file *file = calloc(1, sizeof(*file));
    *file = (struct file){ .ops = ops, .refs = 1, .flags = flags, .object = object };
    return file;
}
struct file *file_ref(struct file *file)
{
    __atomic_fetch_add(&file->refs, 1, __ATOMIC_RELAXED);
    return file;
}
void file_unref(struct file *file)
{
    if (!file || __atomic_sub_fetch(&file->refs, 1, __ATOMIC_ACQ_REL))
        return;
    if (file->ops->release)
        file->ops->release(file);
    free(file);
}
int file_set_path(struct file *file, const char *path UNUSED, uint32_t size UNUSED)
{
    file->path = g_disk_path;
    return 0;
}
int chunk_get(struct file *file UNUSED, uint64_t index UNUSED, struct chunk **ret UNUSED,
              const void **ret_data UNUSED, uint32_t *ret_size UNUSED)
{
    return -EIO;
}
void chunk_put(struct chunk *chunk UNUSED)
{
}

/* --- channels ------------------------------------------------------------------------------------- */

struct peer {
    int index;
    struct hub_event events[256];
    uint32_t count;
    struct lock lock;
};
static struct peer g_peers[CLIENTS];
static int g_control[CLIENTS][2], g_slow[CLIENTS][2],
    g_nudge[CLIENTS][2]; /* [0] the client's end */
static int g_me;         /* a client's index */

struct message {
    struct hub_request request;
    uint8_t data[HUB_DATA_MAX];
};
struct answer {
    struct hub_reply reply;
    uint8_t data[HUB_DATA_MAX];
};

bool hub_is_here(void)
{
    return g_root;
}
int32_t peer_pid(const struct peer *peer)
{
    return peer->index + 1000;
}
void hub_tell(int32_t pid, const struct hub_event *event)
{
    struct peer *peer = &g_peers[pid - 1000];
    lock_take(&peer->lock);
    if (peer->count == ARRAY_SIZE(peer->events))
        panic("events");
    peer->events[peer->count++] = *event;
    lock_drop(&peer->lock);
    if (write(g_nudge[peer->index][1], "", 1) != 1)
        panic("nudge");
}

static int64_t take_answer(int fd, struct hub_ask *ask)
{
    static struct answer a;
    ssize_t n = read(fd, &a, sizeof(a));
    if (n < (ssize_t)sizeof(a.reply))
        _exit(3); /* the hub is gone */
    memcpy(ask->out, a.reply.out, sizeof(ask->out));
    ask->reply_size = a.reply.size;
    if (ask->reply)
        memcpy(ask->reply, a.data, a.reply.size < ask->room ? a.reply.size : ask->room);
    return a.reply.ret;
}
static void put_ask(int fd, const struct hub_ask *ask)
{
    static struct message m;
    m.request = (struct hub_request){ .op = ask->op, .size = ask->size };
    memcpy(m.request.args, ask->args, sizeof(ask->args));
    if (ask->size)
        memcpy(m.data, ask->data, ask->size);
    if (write(fd, &m, sizeof(m.request) + ask->size) < 0)
        _exit(3);
}
int64_t hub_ask(struct hub_ask *ask)
{
    put_ask(g_control[g_me][0], ask);
    return take_answer(g_control[g_me][0], ask);
}
void hub_events_fetch(void)
{
    struct hub_event events[16];
    struct hub_ask ask = {
        .op = HUB_EVENTS, .args = { 16 }, .reply = events, .room = sizeof(events)
    };
    int64_t count = hub_ask(&ask);
    for (int64_t i = 0; i < count; i++)
        dsm_revoke(&events[i]);
}
static void look_for_events(int timeout_ms)
{
    struct pollfd fd = { .fd = g_nudge[g_me][0], .events = POLLIN };
    char c;
    if (poll(&fd, 1, timeout_ms) > 0 && read(fd.fd, &c, 1) == 1)
        hub_events_fetch();
    timers();
}
int64_t hub_ask_blocking(struct hub_ask *ask)
{
    put_ask(g_slow[g_me][0], ask);
    for (;;) {
        struct pollfd fds[2] = { { .fd = g_slow[g_me][0], .events = POLLIN },
                                 { .fd = g_nudge[g_me][0], .events = POLLIN } };
        (void)poll(fds, 2, 1);
        if (fds[0].revents)
            return take_answer(g_slow[g_me][0], ask);
        look_for_events(0);
    }
}

/* --- the hub's thread ----------------------------------------------------------------------------- */

static struct hub_job g_jobs[CLIENTS][2];
static struct message g_kept[CLIENTS][2];
static bool g_waiting[CLIENTS][2], g_gone[CLIENTS];

static void told(struct waiter *waiter)
{
    struct hub_job *job = (struct hub_job *)((uint8_t *)waiter - offsetof(struct hub_job, waiter));
    __atomic_store_n(&job->told, true, __ATOMIC_SEQ_CST);
}

static int64_t events(struct hub_job *job)
{
    struct peer *peer = job->peer;
    lock_take(&peer->lock);
    uint32_t n = peer->count < 16 ? peer->count : 16;
    memcpy(job->reply_data, peer->events, n * sizeof(peer->events[0]));
    memmove(peer->events, peer->events + n, (peer->count - n) * sizeof(peer->events[0]));
    peer->count -= n;
    lock_drop(&peer->lock);
    job->reply.size = n * (uint32_t)sizeof(peer->events[0]);
    return n;
}

static void run(int i, int way)
{
    static struct answer a;
    struct hub_job *job = &g_jobs[i][way];
    job->reply = (struct hub_reply){ 0 };
    job->reply_data = a.data;
    job->waiter.notify = told;
    job->peer = &g_peers[i];
    job->request = g_kept[i][way].request;
    job->data = g_kept[i][way].data;
    int64_t ret = job->request.op == HUB_EVENTS ? events(job) : hub_memory(job);
    g_waiting[i][way] = ret == HUB_LATER;
    if (ret == HUB_LATER)
        return;
    a.reply = job->reply;
    a.reply.ret = ret;
    if (write(way ? g_slow[i][1] : g_control[i][1], &a, sizeof(a.reply) + a.reply.size) < 0)
        panic("answer");
}

static void serve_client(int i)
{
    for (int way = 0; way < 2; way++) {
        int fd = way ? g_slow[i][1] : g_control[i][1];
        if (g_waiting[i][way]) {
            if (__atomic_exchange_n(&g_jobs[i][way].told, false, __ATOMIC_SEQ_CST)) {
                waitq_remove(&g_jobs[i][way].waiter);
                run(i, way);
            }
            continue;
        }
        ssize_t n = recv(fd, &g_kept[i][way], sizeof(g_kept[i][way]), MSG_DONTWAIT);
        if (n > 0) {
            run(i, way);
        } else if (n == 0) {
            g_gone[i] = true;
            waitq_remove(&g_jobs[i][1].waiter);
            hub_memory_drop(&g_peers[i]);
            return;
        }
    }
}

static void hub_main(void)
{
    g_hub_thread = true;
    for (bool any = true; any;) {
        any = !__atomic_load_n(&g_result->finished, __ATOMIC_ACQUIRE);
        for (int i = 0; i < CLIENTS; i++) {
            if (g_gone[i])
                continue;
            any = true;
            serve_client(i);
        }
        (void)sched_yield();
    }
}

/* --- programs ------------------------------------------------------------------------------------- */

static void fail_here(const char *what)
{
    (void)fprintf(stderr, "process %d: %s\n", g_root ? -1 : g_me, what);
    __atomic_fetch_add(&g_result->failed, 1, __ATOMIC_RELAXED);
}

/* As an instruction of the program does it: faults until the page is there, then in one go. */
static uint32_t add(uint64_t address, uint32_t n, uint32_t *ret_fault)
{
    for (;;) {
        lock_take(mm_lock());
        if (page_state(address & ~(PAGE - 1)) & 2) {
            uint32_t *word = (uint32_t *)address, old = *word;
            for (volatile int i = 0; i < 20; i++)
                ; /* not atomic: two holders would lose one */
            *word = old + n;
            lock_drop(mm_lock());
            if (address & PAGE) /* the next call; on other pages it is time that counts */
                g_thread.syscall_count++;
            return old + n;
        }
        lock_drop(mm_lock());
        enum mm_fault f = mm_fault(address, 2);
        if (f != MM_FAULT_DONE) {
            if (ret_fault)
                *ret_fault = f;
            else
                fail_here("fault");
            return 0;
        }
    }
}

int user_load32(const uint32_t *user, uint32_t *ret)
{
    *ret = add((uint64_t)user, 0, NULL);
    return 0;
}

static void map_file(uint64_t at)
{
    int64_t r = mm_map(at, FILE_PAGES * PAGE, RW, MAP_SHARED | MAP_FIXED, &g_disk_file, 0);
    if (r != (int64_t)at)
        fail_here("mmap");
}

static uint32_t play(unsigned seed)
{
    uint32_t added = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t page = (uint64_t)rand_r(&seed) % FILE_PAGES;
        uint64_t base = rand_r(&seed) % 4 ? AT : AGAIN;
        uint64_t word = (uint64_t)rand_r(&seed) % 3;
        (void)add(base + page * PAGE + word * 4, 1, NULL);
        added++;
        if (!g_root)
            look_for_events(0);
        if (rand_r(&seed) % 40 == 0) {
            /* Pages go home, and come again. */
            if (mm_unmap(base + 5 * PAGE, 10 * PAGE) < 0)
                fail_here("munmap");
            map_file(base);
        }
    }
    return added;
}

/* Each waits until the word says that it is its turn: all through futexes. */
static void take_turns(uint32_t me, uint32_t count)
{
    uint32_t *turn = (uint32_t *)(AT + 2 * PAGE + 512);
    struct dsm_word word;
    if (!dsm_word(turn, &word))
        fail_here("no distributed word");
    for (uint32_t round = 0; round < TURNS; round++) {
        for (;;) {
            uint32_t now;
            (void)!user_load32(turn, &now);
            if (now % count == me)
                break;
            int r = dsm_futex_wait(&word, turn, now, FUTEX_ANY, clock_monotonic() + 5000000000u);
            if (r == -ETIMEDOUT) {
                fail_here("a wake was lost");
                return;
            }
        }
        (void)add((uint64_t)turn, 1, NULL);
        (void)dsm_futex_wake(&word, UINT32_MAX, FUTEX_ANY);
    }
}

static void finish(void)
{
    if (mm_unmap(AT, FILE_PAGES * PAGE) < 0 || mm_unmap(AGAIN, FILE_PAGES * PAGE) < 0)
        fail_here("munmap at the end");
}

static NORETURN void client_main(int index)
{
    g_me = index;
    g_root = false;
    thread_here();
    mm_fakes_boot();
    map_file(AT);
    map_file(AGAIN);
    take_turns((uint32_t)index, CLIENTS);
    g_result->added[index] = play((unsigned)index + 17);
    /* One leaves properly by munmap, one by exit, one is killed with pages. */
    if (index == 0)
        finish();
    else
        dsm_exit();
    _exit(0);
}

static void *root_main(void *arg UNUSED)
{
    thread_here();
    map_file(AT); /* before anybody else has it: as ever */
    map_file(AGAIN);
    (void)add(AT, 1, NULL);
    __atomic_store_n(&g_result->ready, 1, __ATOMIC_RELEASE);
    g_result->added[CLIENTS] = 1 + play(99);
    while (__atomic_load_n(&g_result->finished, __ATOMIC_ACQUIRE) == 0) {
        bool all = true;
        for (int i = 0; i < CLIENTS; i++)
            all &= __atomic_load_n(&g_gone[i], __ATOMIC_ACQUIRE);
        if (all)
            break;
        (void)usleep(1000);
    }
    for (uint64_t page = 0; page < FILE_PAGES; page++)
        for (uint64_t word = 0; word < 3; word++)
            g_result->sum += add(AT + page * PAGE + word * 4, 0, NULL);
    finish();
    __atomic_store_n(&g_result->finished, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
}

static void test_no_store_is_lost(void **state UNUSED)
{
    g_result = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < CLIENTS; i++) {
        pair(g_control[i]);
        pair(g_slow[i]);
        pair(g_nudge[i]);
        g_peers[i].index = i;
    }
    pid_t clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = fork();
        if (clients[i] == 0) {
            for (int k = 0; k < CLIENTS; k++) {
                (void)close(g_control[k][1]);
                (void)close(g_slow[k][1]);
                (void)close(g_nudge[k][1]);
                if (k != i) {
                    (void)close(g_control[k][0]);
                    (void)close(g_slow[k][0]);
                    (void)close(g_nudge[k][0]);
                }
            }
            while (!__atomic_load_n(&g_result->ready, __ATOMIC_ACQUIRE))
                (void)usleep(1000);
            client_main(i);
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        (void)close(g_control[i][0]);
        (void)close(g_slow[i][0]);
    }
    g_root = true;
    thread_here();
    mm_fakes_boot();
    pthread_t root;
    assert_int_equal(pthread_create(&root, NULL, root_main, NULL), 0);
    hub_main();
    assert_int_equal(pthread_join(root, NULL), 0);
    for (int i = 0; i < CLIENTS; i++) {
        int status;
        assert_int_equal(waitpid(clients[i], &status, 0), clients[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(g_result->failed, 0);
    uint32_t added = 0;
    for (int i = 0; i <= CLIENTS; i++)
        added += g_result->added[i];
    assert_int_equal(added, ROUNDS * (CLIENTS + 1) + 1);
    assert_int_equal(g_result->sum, added);
    assert_int_equal(*(uint32_t *)(g_disk + 2 * PAGE + 512), TURNS * CLIENTS);
    assert_int_equal(dsm_serve_known(&g_disk_file), 0); /* nobody has it: gone */
}

/* Processes with code of their own; the hub runs from the test before. */
static void test_hostile(void **state UNUSED)
{
    static uint8_t ALIGNED(64) page[PAGE];
    struct file reader = g_disk_file, writer = g_disk_file;
    struct peer *a = &g_peers[0], *b = &g_peers[1];
    struct waiter waiter = { .notify = told };
    uint64_t key;
    bool zero;
    (void)signal(SIGPIPE, SIG_IGN);
    reader.flags = O_RDONLY;
    int64_t id = dsm_serve_open(a, &reader, &key);
    assert_true(id > 0);
    /* Who may read it does not write it, also not as its own child. */
    assert_int_equal(dsm_serve_attach(a, (uint32_t)id, key), 0);
    assert_int_equal(dsm_serve_attach(a, (uint32_t)id, key + 1), -EACCES);
    assert_int_equal(dsm_serve_get(a, (uint32_t)id, 5, 1, &waiter, page, &zero), 1);
    uint8_t before = g_disk[5 * PAGE];
    memset(page, before + 1, sizeof(page));
    assert_int_equal(dsm_serve_give(a, (uint32_t)id, 5, 1, DSM_CONTENT, page), 0);
    assert_int_equal(g_disk[5 * PAGE], before);
    /* A request that waits for a page of an object that everybody leaves. */
    assert_int_equal(dsm_serve_get(a, (uint32_t)id, 5, 1, &waiter, page, &zero), 1);
    assert_int_equal(dsm_serve_open(b, &writer, &key), id);
    struct hub_job job = { .waiter = { .notify = told } };
    assert_int_equal(dsm_serve_get(b, (uint32_t)id, 5, 1, &job.waiter, page, &zero), HUB_LATER);
    dsm_serve_detach(b, (uint32_t)id, UINT64_MAX);
    dsm_serve_detach(a, (uint32_t)id, UINT64_MAX);
    assert_int_equal(dsm_serve_known(&g_disk_file), 0);
    assert_true(job.told);
    assert_null(job.waiter.queue);
}

/* read and write of the file, while b may hold pages 3 and 4 of it. */
static const struct {
    const char *name;
    uint64_t first, count; /* which b holds */
    struct dsm_io io;
    bool later;
} recalls[] = {
    { "none held", 0, 0, { .offset = 3 * PAGE, .size = PAGE }, false },
    { "held", 3, 1, { .offset = 3 * PAGE, .size = PAGE }, true },
    { "its last byte", 3, 1, { .offset = 4 * PAGE - 1, .size = 1 }, true },
    { "up to it", 3, 1, { .offset = 2 * PAGE, .size = PAGE }, false },
    { "into it", 3, 1, { .offset = 2 * PAGE, .size = PAGE + 1 }, true },
    { "from behind it on", 3, 1, { .offset = 4 * PAGE, .size = PAGE }, false },
    { "the second", 3, 2, { .offset = 4 * PAGE, .size = UINT64_MAX }, true },
    { "all", 3, 2, { .offset = 0, .size = UINT64_MAX }, true },
    { "here", 3, 1, { .here = true, .offset = 3 * PAGE, .size = PAGE }, true },
    { "the end", 3, 1, { .append = true, .offset = 3 * PAGE, .size = PAGE }, false },
    { "far behind", 3, 1, { .offset = UINT64_MAX - 5, .size = UINT64_MAX }, false },
    { "nothing", 3, 1, { .offset = 3 * PAGE, .size = 0 }, false },
};

static void test_recall(void **state UNUSED)
{
    static uint8_t ALIGNED(64) page[2 * PAGE];
    struct file file = g_disk_file;
    struct peer *b = &g_peers[1];
    uint64_t key;
    bool zero;
    struct hub_job job = { .waiter = { .notify = told } };
    assert_int_equal(dsm_serve_recall(&file, &recalls[0].io, &job.waiter), 0); /* no object */
    int64_t id = dsm_serve_open(b, &file, &key);
    assert_true(id > 0);
    for (size_t i = 0; i < ARRAY_SIZE(recalls); i++) {
        const struct dsm_io *io = &recalls[i].io;
        struct waiter waiter = { .notify = told };
        uint64_t first = recalls[i].first, count = recalls[i].count;
        b->count = 0;
        if (count &&
            dsm_serve_get(b, (uint32_t)id, first, count, &waiter, page, &zero) != (int64_t)count)
            fail_msg("%s: not granted", recalls[i].name);
        job.told = false;
        int64_t got = dsm_serve_recall(&file, io, &job.waiter);
        if ((got == HUB_LATER) != recalls[i].later || (!recalls[i].later && got != id))
            fail_msg("%s: got %ld", recalls[i].name, got);
        if (recalls[i].later && (!b->count || b->events[0].kind != HUB_EVENT_REVOKE))
            fail_msg("%s: b was not told", recalls[i].name);
        memset(page, (int)i, sizeof(page));
        if (count)
            assert_int_equal(dsm_serve_give(b, (uint32_t)id, first, count, DSM_CONTENT, page), 0);
        if (recalls[i].later) {
            if (!job.told)
                fail_msg("%s: not told", recalls[i].name);
            assert_int_equal(dsm_serve_recall(&file, io, &job.waiter), id);
            assert_int_equal(g_disk[first * PAGE], (uint8_t)i);
        }
        /* Nobody gets a page until it is done. */
        struct hub_job other = { .waiter = { .notify = told } };
        assert_int_equal(dsm_serve_get(b, (uint32_t)id, 3, 1, &other.waiter, page, &zero),
                         HUB_LATER);
        dsm_serve_recalled((uint32_t)id, io);
        assert_true(other.told);
        assert_int_equal(dsm_serve_get(b, (uint32_t)id, 3, 1, &other.waiter, page, &zero), 1);
        assert_int_equal(dsm_serve_give(b, (uint32_t)id, 3, 1, DSM_NOTHING, NULL), 0);
        waitq_remove(&job.waiter);
    }
    dsm_serve_detach(b, (uint32_t)id, UINT64_MAX);
    assert_false(dsm_any_object());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_store_is_lost),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_recall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
