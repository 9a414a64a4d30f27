/* Fakes around the library OS's threads, signals and waiting (thr_fakes.h). */
#include "thr_fakes.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "abi/layout.h"
#include "abi/manifest.h"
#include "arch/cpu.h"
#include "border/border.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "process/spawn.h"
#include "process/vfork.h"
#include "thread/clock.h"
#include "thread/threads.h"
#include "tree/hub.h"
#include "tree/ptable.h"
#include "vfs/file.h"
#include "vfs/node.h"
#include "vfs/remote/carry.h"
#include "vfs/remote/remote.h"

#define FDS 256

static struct {
    ALIGNED(4096) uint8_t page[4096];
} g_areas[THR_AREAS];
static ALIGNED(4096) uint8_t g_blocks[THR_AREAS][OCALL_HEAD_SIZE + 65536];
struct manifest_node g_thr_node = {
    .flags = MANIFEST_EXEC_DENY,
    .cpu_count = 3,
    .fd_limit = FDS,
    .uid = 1000,
    .gid = 1000,
    .thread_count = THR_AREAS,
    .async_signals = UINT32_MAX,
};

uint64_t g_thr_parks, g_thr_interrupts, g_thr_clock_calls;
int64_t g_thr_clock_skew;
bool g_thr_park_returns_at_once, g_thr_clock_lies;
int64_t g_thr_poll_lie;
bool g_thr_epoll_twice;
int g_thr_epoll_refused;
int g_thr_audit_event;
char g_thr_audit_path[64];

/* --- process ---------------------------------------------------------------------------------- */

static __thread jmp_buf *g_death;
static __thread int g_death_value;

const struct manifest_node *process_node(void)
{
    return &g_thr_node;
}

bool process_ending(void)
{
    return false;
}

static NORETURN void die(int value)
{
    if (!g_death) {
        fprintf(stderr, "the process died unexpectedly: %d\n", value);
        abort();
    }
    g_death_value = value;
    longjmp(*g_death, 1);
}

void process_exit(int status)
{
    if (process_current()->vfork)
        vfork_end((status & 0xff) << 8);
    die(1000 + status);
}

void process_killed(int signal)
{
    if (process_current()->vfork)
        vfork_end(signal);
    die(signal);
}

int thr_dies(void (*fn)(void *), void *arg)
{
    jmp_buf here;
    g_death = &here;
    g_death_value = -1;
    if (setjmp(here) == 0)
        fn(arg);
    g_death = NULL;
    return g_death_value;
}

struct thread *thread_at(uint32_t index)
{
    return (struct thread *)(void *)g_areas[index].page;
}

/* --- border ----------------------------------------------------------------------------------- */

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    abort();
}

void log_error(const char *format UNUSED, ...)
{
}

void log_note(const char *format UNUSED, ...)
{
}

void audit(enum ocall_audit_event event, int error UNUSED, uint64_t value UNUSED, const char *path,
           uint64_t path_size)
{
    g_thr_audit_event = (int)event;
    memset(g_thr_audit_path, 0, sizeof(g_thr_audit_path));
    if (path && path_size < sizeof(g_thr_audit_path))
        memcpy(g_thr_audit_path, path, path_size);
}

static uint64_t now(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint32_t *event_of(uint64_t index)
{
    return &thread_at((uint32_t)index)->block->event;
}

static void set_event(uint64_t index)
{
    __atomic_store_n(event_of(index), 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, event_of(index), FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static struct timespec timespec_ns(uint64_t ns)
{
    return (struct timespec){ (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
}

static int64_t park(uint64_t index, uint64_t deadline)
{
    uint32_t *event = event_of(index);
    int64_t ret = 0;
    while (!__atomic_load_n(event, __ATOMIC_SEQ_CST)) {
        uint64_t at = now(CLOCK_MONOTONIC);
        if (deadline != OCALL_NEVER && at >= deadline) {
            ret = -ETIMEDOUT;
            break;
        }
        struct timespec left = timespec_ns(deadline - at);
        syscall(SYS_futex, event, FUTEX_WAIT, 0, deadline == OCALL_NEVER ? NULL : &left, NULL, 0);
        if (g_thr_park_returns_at_once)
            break;
    }
    __atomic_store_n(event, 0, __ATOMIC_SEQ_CST);
    return ret;
}

static uint8_t *window(void)
{
    return (uint8_t *)current()->block + OCALL_HEAD_SIZE;
}

/* Polls in slices, looking at the event between them. */
static int64_t poll_host(uint64_t index, uint64_t count, uint64_t deadline)
{
    struct ocall_pollfd *fds = (struct ocall_pollfd *)(void *)window();
    struct pollfd host[64];
    for (uint64_t i = 0; i < count; i++)
        host[i] = (struct pollfd){ .fd = fds[i].handle, .events = (short)fds[i].events };
    int ready;
    for (;;) {
        ready = poll(host, count, deadline == 0 ? 0 : 1);
        if (ready || __atomic_exchange_n(event_of(index), 0, __ATOMIC_SEQ_CST) ||
            (deadline != OCALL_NEVER && now(CLOCK_MONOTONIC) >= deadline))
            break;
    }
    for (uint64_t i = 0; i < count; i++)
        fds[i].revents = (uint16_t)host[i].revents;
    return ready;
}

/* The host's epoll, for real; a lie of g_thr_poll_lie as in OCALL_POLL. */
static int64_t change_epoll(int epoll, uint64_t count)
{
    const struct ocall_epoll_change *c = (void *)window();
    int64_t first = 0;
    for (uint64_t i = 0; i < count; i++, c++) {
        struct epoll_event event = { .events = c->events, .data.u64 = c->token };
        int op = c->op == OCALL_EPOLL_ADD      ? EPOLL_CTL_ADD
                 : c->op == OCALL_EPOLL_MODIFY ? EPOLL_CTL_MOD
                                               : EPOLL_CTL_DEL;
        if (epoll_ctl(epoll, op, c->handle, &event) < 0 && first == 0)
            first = -errno;
    }
    return first;
}

static int64_t wait_epoll(uint64_t index, int epoll, uint64_t max, uint64_t deadline)
{
    struct epoll_event events[64];
    struct ocall_epoll_event *out = (void *)window();
    int n;
    do {
        n = epoll_wait(epoll, events, max < 64 ? (int)max : 64, deadline == 0 ? 0 : 1);
    } while (n == 0 && deadline != 0 &&
             !__atomic_exchange_n(event_of(index), 0, __ATOMIC_SEQ_CST) &&
             (deadline == OCALL_NEVER || now(CLOCK_MONOTONIC) < deadline));
    int times = g_thr_epoll_twice && (uint64_t)n * 2 <= max ? 2 : 1;
    for (int i = 0; i < n * times; i++)
        out[i] =
            (struct ocall_epoll_event){ events[i / times].data.u64, events[i / times].events, 0 };
    return n * times;
}

static pthread_mutex_t g_alarm_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_alarm_changed;
static uint64_t g_alarm = OCALL_NEVER;

static void *alarm_main(void *arg UNUSED)
{
    pthread_mutex_lock(&g_alarm_lock);
    for (;;) {
        if (g_alarm == OCALL_NEVER) {
            pthread_cond_wait(&g_alarm_changed, &g_alarm_lock);
        } else if (now(CLOCK_MONOTONIC) >= g_alarm) {
            g_alarm = OCALL_NEVER;
            __atomic_fetch_or(&thread_at(0)->work, THREAD_WORK_SIGNAL, __ATOMIC_SEQ_CST);
            set_event(0);
        } else {
            struct timespec at = timespec_ns(g_alarm);
            pthread_cond_timedwait(&g_alarm_changed, &g_alarm_lock, &at);
        }
    }
    return NULL;
}

static void *thread_main(void *arg)
{
    struct thread *thread = arg;
    /* As the CPU: an area is entered only when whoever was there has left, and only if it was asked
     * for. */
    while (__atomic_load_n(&thread->state, __ATOMIC_ACQUIRE) != THREAD_STATE_NEW)
        sched_yield();
    syscall(SYS_arch_prctl, ARCH_SET_GS, thread);
    thread->self = PTR(thread);
    thread->block = (struct ocall_block *)(void *)g_blocks[thread->index];
    __atomic_store_n(&thread->state, THREAD_STATE_RUNNING, __ATOMIC_RELEASE);
    if (!__atomic_exchange_n(&thread->start_wanted, false, __ATOMIC_ACQ_REL))
        panic("entered without having been asked for");
    ((void (*)(void *))(uintptr_t)thread->start.rip)((void *)(uintptr_t)thread->start.rdi);
    thread_exit(0);
}

NORETURN void thread_leave(void);
void thread_leave(void)
{
    struct thread *thread = current();
    __atomic_store_n(&thread->state, THREAD_STATE_NEW, __ATOMIC_RELEASE);
    pthread_exit(NULL);
}

static int64_t start_thread(uint64_t index)
{
    pthread_t id;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int r = pthread_create(&id, &attr, thread_main, thread_at((uint32_t)index));
    pthread_attr_destroy(&attr);
    return r ? -EAGAIN : 0;
}

int64_t border_call(enum ocall_nr nr, uint64_t max, uint64_t a0, uint64_t a1, uint64_t a2 UNUSED,
                    uint64_t a3 UNUSED, uint64_t a4 UNUSED, uint64_t a5 UNUSED)
{
    struct thread *thread = current();
    switch (nr) {
    case OCALL_PARK:
        __atomic_fetch_add(&g_thr_parks, 1, __ATOMIC_RELAXED);
        return park(thread->index, a0);
    case OCALL_POLL:
        __atomic_fetch_add(&g_thr_parks, 1, __ATOMIC_RELAXED);
        if (g_thr_poll_lie) {
            memset(window(), 0xff, a0 * sizeof(struct ocall_pollfd));
            return g_thr_poll_lie;
        }
        return poll_host(thread->index, a0, a1);
    case OCALL_EPOLL_CREATE:
        if (g_thr_epoll_refused && g_thr_epoll_refused--)
            return -EMFILE;
        return epoll_create1(EPOLL_CLOEXEC);
    case OCALL_EPOLL_CHANGE: return change_epoll((int)a0, a1);
    case OCALL_EPOLL_WAIT:
        __atomic_fetch_add(&g_thr_parks, 1, __ATOMIC_RELAXED);
        if (g_thr_poll_lie) {
            memset(window(), 0xff, a1 * sizeof(struct ocall_epoll_event));
            return g_thr_poll_lie > 0 && (uint64_t)g_thr_poll_lie > max ? -EIO : g_thr_poll_lie;
        }
        return wait_epoll(thread->index, (int)a0, a1, a2);
    case OCALL_CLOSE: return close((int)a0) < 0 ? -errno : 0;
    case OCALL_DUP: return dup((int)a0);
    case OCALL_INTERRUPT:
        __atomic_fetch_add(&g_thr_interrupts, 1, __ATOMIC_RELAXED);
        set_event(a0);
        return 0;
    case OCALL_UNPARK: set_event(a0); return 0;
    case OCALL_YIELD: sched_yield(); return 0;
    case OCALL_ALARM:
        pthread_mutex_lock(&g_alarm_lock);
        g_alarm = a0;
        pthread_cond_signal(&g_alarm_changed);
        pthread_mutex_unlock(&g_alarm_lock);
        return 0;
    case OCALL_CLOCK:
        __atomic_fetch_add(&g_thr_clock_calls, 1, __ATOMIC_RELAXED);
        thread->block->out[0] = now((clockid_t)a0);
        if (a0 == CLOCK_MONOTONIC)
            thread->block->out[0] += (uint64_t)g_thr_clock_skew;
        if (g_thr_clock_lies) {
            static uint64_t state = 88172645463325252ull;
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            thread->block->out[0] = state % 3 == 0 ? state : state % 3 == 1 ? 0 : state >> 24;
        }
        return 0;
    case OCALL_RUSAGE:
        thread->block->out[0] = 1500000;
        thread->block->out[1] = 250000;
        thread->block->out[2] = 4321;
        return 0;
    case OCALL_THREAD_START: return start_thread(a0);
    default: panic("OCALL %d has no fake", nr);
    }
}

uint64_t border_out(unsigned i)
{
    return current()->block->out[i];
}

void border_put(uint64_t offset, const void *src, uint64_t size)
{
    memcpy(window() + offset, src, size);
}

void border_get(void *dst, uint64_t offset, uint64_t size)
{
    memcpy(dst, window() + offset, size);
}

/* --- memory ----------------------------------------------------------------------------------- */

bool user_range_ok(const void *user, uint64_t size)
{
    uint64_t at = PTR(user);
    return at >= THR_BAD_LIMIT && at < 1ull << 47 && size <= (1ull << 47) - at;
}

int copy_from_user(void *dst, const void *user, uint64_t size)
{
    if (size && !user_range_ok(user, size))
        return -EFAULT;
    if (size)
        memcpy(dst, user, size);
    return 0;
}

int copy_to_user(void *user, const void *src, uint64_t size)
{
    if (size && !user_range_ok(user, size))
        return -EFAULT;
    if (size)
        memcpy(user, src, size);
    return 0;
}

/* Every path is there: exec is refused for what it is. */
int place_at(int dirfd UNUSED, const char *user_path UNUSED, uint32_t flags UNUSED,
             char buf[static PATH_BUF] UNUSED, struct place *ret UNUSED)
{
    return 0;
}

void place_done(struct place *p UNUSED)
{
}

int64_t strncpy_from_user(char *dst, const char *user, uint64_t max)
{
    if (!user_range_ok(user, 1))
        return -EFAULT;
    size_t size = strnlen(user, max);
    if (size == max)
        return -ENAMETOOLONG;
    memcpy(dst, user, size + 1);
    return (int64_t)size;
}

int user_prefault(const void *user, uint64_t size, bool write UNUSED)
{
    return user_range_ok(user, size) ? 0 : -EFAULT;
}

int user_load32(const uint32_t *user, uint32_t *ret)
{
    if (!user_range_ok(user, 4))
        return -EFAULT;
    if (g_thr_distributes)
        g_dsm_mappings = 1;
    *ret = __atomic_load_n(user, __ATOMIC_SEQ_CST);
    return 0;
}

int user_store32(uint32_t *user, uint32_t value)
{
    if (!user_range_ok(user, 4))
        return -EFAULT;
    __atomic_store_n(user, value, __ATOMIC_SEQ_CST);
    return 0;
}

int user_cmpxchg32(uint32_t *user, uint32_t expected, uint32_t desired, uint32_t *ret_old)
{
    if (!user_range_ok(user, 4))
        return -EFAULT;
    __atomic_compare_exchange_n(user, &expected, desired, false, __ATOMIC_SEQ_CST,
                                __ATOMIC_SEQ_CST);
    *ret_old = expected;
    return 0;
}

void *heap_alloc(size_t size)
{
    return calloc(1, size);
}

void *heap_realloc(void *p, size_t size)
{
    return realloc(p, size);
}

void heap_free(void *p)
{
    free(p);
}

void *heap_pages(uint64_t count)
{
    return aligned_alloc(4096, count * 4096);
}

void heap_pages_free(void *pages, uint64_t count UNUSED)
{
    free(pages);
}

/* --- files ------------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    struct file *files[FDS];
} g_fds = { .lock = PTHREAD_MUTEX_INITIALIZER };

void epoll_forget(struct file *file);

struct file *file_new(const struct file_ops *ops, uint32_t flags, void *object)
{
    struct file *file = calloc(1, sizeof(*file));
    *file = (struct file){ .ops = ops, .refs = 1, .flags = flags, .object = object };
    return file;
}

struct file *file_ref(struct file *file)
{
    __atomic_fetch_add(&file->refs, 1, __ATOMIC_SEQ_CST);
    return file;
}

void file_unref(struct file *file)
{
    if (!file || __atomic_sub_fetch(&file->refs, 1, __ATOMIC_SEQ_CST))
        return;
    epoll_forget(file);
    if (file->ops->release)
        file->ops->release(file);
    free(file);
}

struct file *file_try_ref(struct file *file)
{
    return file_ref(file);
}

/* --- the hub: there is none ------------------------------------------------------------------- */

int64_t hub_ask(struct hub_ask *ask UNUSED)
{
    return -ENOSYS;
}

bool remote_is_socket(const struct file *file UNUSED)
{
    return false;
}

struct remote *remote_new(const struct remote_info *info UNUSED)
{
    return NULL;
}

int remote_push(const struct remote *remote UNUSED, const void *data UNUSED, uint64_t size UNUSED)
{
    return -EIO;
}

void remote_become(struct file *file UNUSED, struct remote *remote UNUSED)
{
}

void remote_drop(struct remote *remote UNUSED)
{
}

void remote_info_of(const struct hub_ask *ask UNUSED, int64_t handle UNUSED,
                    struct remote_info *ret UNUSED)
{
}

int64_t remote_push_rights(const struct remote *remote UNUSED, const void *data UNUSED,
                           uint32_t size UNUSED, const struct stream_rights *rights UNUSED,
                           const struct remote_pair *own UNUSED)
{
    return -EOPNOTSUPP;
}

const struct file_ops g_dir_ops;

/* Directories of these tests: the file's object. */
const struct place *dir_place(const struct file *file)
{
    return file->object;
}

bool carry_is(const struct file *file UNUSED)
{
    return false;
}

int carry_unpack_here(const struct file *carried UNUSED, struct file **ret UNUSED)
{
    return -ENOMEM;
}

int64_t remote_read(struct file *file UNUSED, void *user UNUSED, uint64_t size UNUSED,
                    uint64_t *pos UNUSED, uint32_t flags UNUSED)
{
    return -EIO;
}

int64_t remote_write(struct file *file UNUSED, const void *user UNUSED, uint64_t size UNUSED,
                     uint64_t *pos UNUSED, uint32_t flags UNUSED)
{
    return -EIO;
}

int64_t remote_receive(struct file *file UNUSED, void *user UNUSED, uint64_t size UNUSED,
                       uint32_t flags UNUSED, struct unix_message *message UNUSED)
{
    return -EIO;
}

int64_t remote_send(struct file *file UNUSED, const void *user UNUSED, uint64_t size UNUSED,
                    uint32_t flags UNUSED, struct unix_message *message UNUSED)
{
    return -EIO;
}

uint32_t remote_socket_type(const struct file *file UNUSED)
{
    return 1;
}

int remote_socket_new(uint32_t type UNUSED, uint32_t flags UNUSED, struct file **ret UNUSED)
{
    return -EIO;
}

int remote_bind(struct file *file UNUSED, const struct unix_name *name UNUSED,
                const char *path UNUSED, uint32_t mode UNUSED)
{
    return -EIO;
}

int remote_connect(struct file *file UNUSED, const struct unix_name *name UNUSED,
                   const char *path UNUSED)
{
    return -EIO;
}

int remote_listen(struct file *file UNUSED, uint32_t backlog UNUSED)
{
    return -EIO;
}

int remote_accept(struct file *file UNUSED, bool nonblock UNUSED, uint32_t flags UNUSED,
                  struct file **ret UNUSED)
{
    return -EIO;
}

int remote_name_of(struct file *file UNUSED, bool peer UNUSED, struct unix_name *ret UNUSED)
{
    return -EIO;
}

int remote_get_option(struct file *file UNUSED, int name UNUSED, int32_t ret[static 3] UNUSED)
{
    return -EIO;
}

int remote_set_option(struct file *file UNUSED, int name UNUSED, int32_t value UNUSED)
{
    return -EIO;
}

int remote_become_option(const struct remote *remote UNUSED, int name UNUSED, int32_t value UNUSED)
{
    return -EIO;
}

const struct fs g_tmpfs_fs, g_remote_fs, g_host_fs;

int place_at_kernel(int dirfd UNUSED, const char *path UNUSED, uint64_t size UNUSED,
                    uint32_t flags UNUSED, char buf[static PATH_BUF] UNUSED,
                    struct place *ret UNUSED)
{
    return -ENOENT;
}

int place_changeable(const struct place *place UNUSED)
{
    return -EROFS;
}

int place_stat(const struct place *place UNUSED, struct kstat *ret UNUSED)
{
    return -ENOENT;
}

uint32_t umask_get(void)
{
    return 022;
}

int remote_shutdown(struct file *file UNUSED, uint32_t how UNUSED)
{
    return -EIO;
}

int remote_shut(const struct remote *remote UNUSED, bool read UNUSED, bool write UNUSED)
{
    return -EIO;
}

struct file *fd_get(int fd)
{
    pthread_mutex_lock(&g_fds.lock);
    struct file *file = fd >= 0 && fd < FDS ? g_fds.files[fd] : NULL;
    if (file)
        file_ref(file);
    pthread_mutex_unlock(&g_fds.lock);
    return file;
}

int fd_install(struct file *file, int min, bool cloexec UNUSED)
{
    int ret = -EMFILE;
    pthread_mutex_lock(&g_fds.lock);
    for (int fd = min; fd < FDS && ret < 0; fd++) {
        if (!g_fds.files[fd]) {
            g_fds.files[fd] = file;
            ret = fd;
        }
    }
    pthread_mutex_unlock(&g_fds.lock);
    return ret;
}

int fd_close(int fd)
{
    pthread_mutex_lock(&g_fds.lock);
    struct file *file = fd >= 0 && fd < FDS ? g_fds.files[fd] : NULL;
    if (file)
        g_fds.files[fd] = NULL;
    pthread_mutex_unlock(&g_fds.lock);
    file_unref(file);
    return file ? 0 : -EBADF;
}

int thr_fd_count(void)
{
    int count = 0;
    for (int fd = 0; fd < FDS; fd++)
        count += g_fds.files[fd] != NULL;
    return count;
}

/* --- the tree ------------------------------------------------------------------------------------ */

bool hub_is_here(void)
{
    return true;
}

bool hub_host_signal(int number UNUSED)
{
    return false;
}

void hub_events_fetch(void)
{
}

void hub_thread_done(void)
{
}

void ptable_tell(int32_t pid, const struct signal_info *info)
{
    if (pid == PTABLE_ROOT_PID) {
        signal_send_process(info);
        return;
    }
    g_thr_spawns.told_pid = pid;
    g_thr_spawns.told = info->number;
}

int64_t hub_ask_blocking(struct hub_ask *ask UNUSED)
{
    return -ENOSYS;
}

/* --- processes ----------------------------------------------------------------------------------- */

struct thr_spawns g_thr_spawns;

int32_t spawn_pid(int exit_signal)
{
    g_thr_spawns.exit_signal = exit_signal;
    return g_thr_spawns.pid_error ? g_thr_spawns.pid_error : ++g_thr_spawns.last_pid + 200;
}

void spawn_pid_forget(int32_t pid)
{
    g_thr_spawns.forgot_pid = pid;
}

void spawn_pid_exit(int32_t pid, int32_t status)
{
    g_thr_spawns.ended_pid = pid;
    g_thr_spawns.status = status;
    g_thr_spawns.ended++;
}

struct limits;

void limits_get(struct limits *ret UNUSED)
{
}

int32_t remote_handle(const struct file *file UNUSED)
{
    return -1;
}

void remote_info(const struct file *file UNUSED, struct remote_info *ret UNUSED)
{
}

int remote_file(const struct remote_info *info UNUSED, const char *path UNUSED,
                struct file **ret UNUSED)
{
    return -ENOMEM;
}

int32_t spawn_fork(const struct regs *regs UNUSED, const struct fork_wish *wish)
{
    g_thr_spawns.fork_wish = *wish;
    return 300;
}

int program_resolve(int dirfd UNUSED, uint64_t user_path UNUSED, uint32_t walk UNUSED,
                    uint64_t user_argv UNUSED, uint64_t user_envp UNUSED, struct program *ret)
{
    *ret = (struct program){ .executable = NULL };
    return 0;
}

void program_done(struct program *program UNUSED)
{
}

int spawn_exec(struct process *process, const struct program *program UNUSED, bool replace)
{
    g_thr_spawns.exec_pid = process->pid;
    g_thr_spawns.exec_replaced = replace;
    return g_thr_spawns.exec_result;
}

void full_restore(struct regs *regs)
{
    g_thr_spawns.regs = *regs;
    longjmp(g_thr_spawns.back, 1);
}

void cpu_state_save(struct cpu_state *ret)
{
    memset(ret->xsave, 0x5a, sizeof(ret->xsave));
    ret->fs_base = cpu_fs_base();
}

void cpu_state_load(const struct cpu_state *state)
{
    g_thr_spawns.state_loads += state->xsave[100] == 0x5a && state->fs_base == cpu_fs_base();
}

/* Three tables that are not the fakes' one below: only that each is freed. */
static void *count_new(void)
{
    g_thr_spawns.copies++;
    return malloc(1);
}

static void count_free(void *p)
{
    g_thr_spawns.copies -= p != NULL;
    free(p);
}

struct fd_table *fd_table_copy(struct fd_table *from UNUSED)
{
    return count_new();
}

void fd_table_free(struct fd_table *table)
{
    count_free(table);
}

struct fs_state *fs_state_copy(struct fs_state *from UNUSED)
{
    return count_new();
}

void fs_state_free(struct fs_state *fs)
{
    count_free(fs);
}

/* --- the tests' side -------------------------------------------------------------------------- */

int thr_setup(void **state UNUSED)
{
    struct layout_params *params = mmap((void *)LAYOUT_PARAMS, 4096, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (params != PARAMS)
        return -1;
    params->thread_count = THR_AREAS;
    for (uint32_t i = 0; i < THR_AREAS; i++) {
        thread_at(i)->self = PTR(thread_at(i));
        thread_at(i)->index = i;
    }
    struct thread *main_thread = thread_at(0);
    main_thread->block = (struct ocall_block *)(void *)g_blocks[0];
    main_thread->state = THREAD_STATE_RUNNING;
    syscall(SYS_arch_prctl, ARCH_SET_GS, main_thread);
    threads_init();
    clock_init();

    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&g_alarm_changed, &attr);
    pthread_t id;
    return pthread_create(&id, NULL, alarm_main, NULL);
}

int64_t thr_call(sys_fn *fn, ...)
{
    struct regs regs = { .rsp = PTR(&regs) };
    struct sysargs args = { .regs = &regs };
    va_list list;
    va_start(list, fn);
    for (int i = 0; i < 6; i++)
        args.a[i] = va_arg(list, uint64_t);
    va_end(list);
    return fn(&args);
}

void thr_start(struct thr *thr, void (*fn)(void *), void *arg)
{
    int r = thread_new(&thr->thread);
    if (r < 0)
        panic("thread_new: %d", r);
    thr->tid = thr->thread->tid;
    thr->tid_word = (uint32_t)thr->tid;
    thr->thread->clear_child_tid = PTR(&thr->tid_word);
    thr->thread->start = (struct regs){ .rip = PTR(fn), .rdi = PTR(arg) };
    r = thread_start(thr->thread);
    if (r < 0)
        panic("thread_start: %d", r);
}

sys_fn sys_futex;

void thr_join(struct thr *thr)
{
    uint32_t tid;
    while ((tid = __atomic_load_n(&thr->tid_word, __ATOMIC_SEQ_CST)))
        CALL(sys_futex, PTR(&thr->tid_word), NUM(FUTEX_WAIT), NUM(tid));
}

void thr_sleep_ms(unsigned ms)
{
    usleep(ms * 1000);
}

void thr_wait_parked(const struct thread *thread)
{
    while (!__atomic_load_n(&thread->parked, __ATOMIC_SEQ_CST))
        usleep(200);
    usleep(1000);
}

void thr_host_signal(int number)
{
    __atomic_fetch_or(&thread_at(0)->block->signals, 1ull << (number - 1), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&thread_at(0)->work, THREAD_WORK_SIGNAL, __ATOMIC_SEQ_CST);
    set_event(0);
}

/* --- memory shared between processes: none here, but for g_thr_distributes ------------------------- */
uint32_t g_dsm_mappings;
bool g_thr_distributes;
const uint32_t *g_thr_distributed;

bool dsm_word(const uint32_t *user, struct dsm_word *ret UNUSED)
{
    return g_dsm_mappings != 0 && (!g_thr_distributed || user == g_thr_distributed);
}

int dsm_futex_wait(const struct dsm_word *word UNUSED, const uint32_t *user UNUSED,
                   uint32_t value UNUSED, uint32_t bitset UNUSED, uint64_t deadline UNUSED)
{
    return -ENOSYS;
}

uint32_t dsm_futex_wake(const struct dsm_word *word UNUSED, uint32_t max UNUSED,
                        uint32_t bitset UNUSED)
{
    return 0;
}
