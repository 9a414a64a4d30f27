#include "vfs_fakes.h"

#include <asm/prctl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>
#include <setjmp.h>
#include <stddef.h>

#include "arch/cpu.h"
#include "arch/crypto.h"
#include "border/border.h"
#include "core/manifest_view.h"
#include "core/sha256.h"
#include "ipc/fifo.h"
#include "ipc/pidfd.h"
#include "ipc/pipe.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/shared.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "process/stats.h"
#include "signal/signal.h"
#include "sys/process.h"
#include "thread/threads.h"
#include "thread/wait.h"
#include "tree/hub.h"
#include "tree/ptable.h"
#include "vfs/file.h"
#include "vfs/remote/remote.h"

/* --- program memory -------------------------------------------------------------------- */

uint64_t g_fake_bad_start, g_fake_bad_end;

bool user_range_ok(const void *user, uint64_t size)
{
    uint64_t at = (uint64_t)user;
    return at + size >= at && at + size < 1ull << 47;
}

static bool bad(const void *user, uint64_t size)
{
    uint64_t at = (uint64_t)user;
    return size && (at < 4096 || !user_range_ok(user, size) ||
                    (at < g_fake_bad_end && at + size > g_fake_bad_start));
}

int copy_from_user(void *dst, const void *user, uint64_t size)
{
    if (bad(user, size))
        return -EFAULT;
    if (size)
        memcpy(dst, user, size);
    return 0;
}

int copy_to_user(void *user, const void *src, uint64_t size)
{
    if (bad(user, size))
        return -EFAULT;
    if (size)
        memcpy(user, src, size);
    return 0;
}

int clear_user(void *user, uint64_t size)
{
    if (bad(user, size))
        return -EFAULT;
    if (size)
        memset(user, 0, size);
    return 0;
}

int64_t strncpy_from_user(char *dst, const char *user, uint64_t max)
{
    for (uint64_t i = 0; i < max; i++) {
        if (bad(user + i, 1))
            return -EFAULT;
        dst[i] = user[i];
        if (!user[i])
            return (int64_t)i;
    }
    return -ENAMETOOLONG;
}

int user_prefault(const void *user, uint64_t size, bool write UNUSED)
{
    return bad(user, size) ? -EFAULT : 0;
}

/* --- heap ------------------------------------------------------------------------------ */

uint64_t g_fake_heap_limit = UINT64_MAX, g_fake_heap_used;

struct head {
    size_t size;
    void *base;
};

void *heap_alloc(size_t size)
{
    size_t align = size >= 4096 ? 4096 : 16;
    if (g_fake_heap_used + size > g_fake_heap_limit)
        return NULL;
    char *base = NULL;
    if (posix_memalign((void **)&base, align, size + align + sizeof(struct head)) != 0)
        return NULL;
    size_t head = align == 16 ? sizeof(struct head) : align;
    memset(base, 0xaa, size + head);
    char *p = base + head;
    ((struct head *)p)[-1] = (struct head){ size, base };
    memset(p, 0, size);
    g_fake_heap_used += size;
    return p;
}

void heap_free(void *p)
{
    if (!p)
        return;
    struct head head = ((struct head *)p)[-1];
    g_fake_heap_used -= head.size;
    free(head.base);
}

void *heap_realloc(void *p, size_t size)
{
    void *more = heap_alloc(size);
    if (more && p) {
        size_t old = ((struct head *)p)[-1].size;
        memcpy(more, p, old < size ? old : size);
        heap_free(p);
    }
    return more;
}

uint64_t heap_region_size(void)
{
    return 16 << 20;
}

void *heap_pages(uint64_t count)
{
    char *p = heap_alloc(count * 4096);
    if (p)
        memset(p, 0x55, count * 4096);
    return p;
}

void heap_pages_free(void *pages, uint64_t count)
{
    if (((struct head *)pages)[-1].size != (count ? count * 4096 : 0))
        panic("pages given back with another count");
    heap_free(pages);
}

/* --- the rest of the library OS -------------------------------------------------------- */

void lock_take(struct lock *lock)
{
    while (__atomic_exchange_n(&lock->word, 1, __ATOMIC_ACQUIRE))
        ;
}

void lock_drop(struct lock *lock)
{
    __atomic_store_n(&lock->word, 0, __ATOMIC_RELEASE);
}

struct manifest_view g_manifest;
uint64_t g_stats_verified;

const struct manifest_node *process_node(void)
{
    return g_manifest.node;
}

bool process_ending(void)
{
    return false;
}

struct process g_process = { .pid = 42 };

struct process *process_current(void)
{
    return &g_process;
}

int32_t process_pid(void)
{
    return 42;
}

void signal_sets_get(struct signal_sets *ret)
{
    *ret = (struct signal_sets){ .blocked = 0 };
}

int32_t process_ppid(void)
{
    return 1;
}

int32_t process_pgid(int32_t pid UNUSED)
{
    return 42;
}

int32_t process_sid(int32_t pid UNUSED)
{
    return 42;
}

__attribute__((weak)) void ptable_tell(int32_t pid UNUSED, const struct signal_info *info UNUSED)
{
}

int32_t process_tty_pgrp(void)
{
    return 42;
}

int process_set_tty_pgrp(int32_t pgid UNUSED)
{
    return 0;
}

static struct thread g_thread = { .tid = 42 };

void fake_thread_start(void)
{
    syscall(SYS_arch_prctl, ARCH_SET_GS, &g_thread);
    g_thread.self = (uint64_t)&g_thread;
}

struct thread *thread_by_tid(int32_t tid)
{
    return tid == 42 ? &g_thread : NULL;
}

void threads_each(void (*fn)(struct thread *thread, void *arg), void *arg)
{
    fn(&g_thread, arg);
}

uint32_t threads_used(void)
{
    return 1;
}

bool signal_deliverable(const struct thread *thread UNUSED)
{
    return true;
}

void signal_send_thread(struct thread *thread UNUSED, const struct signal_info *info UNUSED)
{
}

int thread_park(uint64_t deadline UNUSED)
{
    return -EINTR;
}

int64_t mm_map(uint64_t address UNUSED, uint64_t size, int prot UNUSED, int flags UNUSED,
               struct file *file UNUSED, uint64_t offset UNUSED)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -ENOMEM : (int64_t)p;
}

int mm_unmap(uint64_t address, uint64_t size)
{
    return munmap((void *)address, size);
}

int mm_maps_text(char **ret, uint64_t *ret_size)
{
    *ret = heap_alloc(16);
    memcpy(*ret, "maps\n", 5);
    *ret_size = 5;
    return 0;
}

void mm_usage(uint64_t *ret_mapped, uint64_t *ret_accepted, uint64_t *ret_limit)
{
    *ret_mapped = 3 << 20;
    *ret_accepted = 1 << 20;
    *ret_limit = 256 << 20;
}

void cpu_random(void *buf, size_t size)
{
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)buf)[i] = (uint8_t)rand();
}

void island_leaf_pair(uint64_t index, const void *data, const void *next_data,
                      uint8_t ret[static 32], uint8_t ret_next[static 32])
{
    island_leaf(index, data, MANIFEST_CHUNK_SIZE, ret);
    island_leaf(index + 1, next_data, MANIFEST_CHUNK_SIZE, ret_next);
}

void island_leaf(uint64_t index, const void *data, uint32_t size, uint8_t ret[static 32])
{
    struct sha256 h;
    uint8_t zero = 0;
    sha256_init(&h);
    sha256_update(&h, &zero, 1);
    sha256_update(&h, &index, 8);
    sha256_update(&h, &size, 4);
    sha256_update(&h, data, size);
    sha256_final(&h, ret);
}

void island_gcm_init(struct aes_gcm *gcm, const uint8_t key[static AES_GCM_KEY_SIZE])
{
    aes_gcm_init(gcm, key);
}

void island_gcm_seal(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                     const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                     void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE])
{
    aes_gcm_seal(gcm, nonce, aad, aad_size, plain, size, cipher, tag);
}

bool g_fake_no_tags;

int island_gcm_open(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                    const void *aad, uint64_t aad_size, const void *cipher, uint64_t size,
                    const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain)
{
    if (!g_fake_no_tags)
        return aes_gcm_open(gcm, nonce, aad, aad_size, cipher, size, tag, plain);
    /* Counter mode: sealing what is sealed opens it. */
    uint8_t unused[AES_GCM_TAG_SIZE];
    aes_gcm_seal(gcm, nonce, aad, aad_size, cipher, size, plain, unused);
    return 0;
}

uint64_t clock_realtime(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic(void)
{
    return clock_realtime();
}

int format_v(char *buf, size_t size, const char *fmt, __builtin_va_list args)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int n = vsnprintf(buf, size, fmt, args);
#pragma GCC diagnostic pop
    return n < (int)size ? n : (int)size - 1;
}

int format(char *buf, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = format_v(buf, size, fmt, args);
    va_end(args);
    return n;
}

void log_note(const char *fmt UNUSED, ...)
{
}

unsigned g_fake_errors;

void log_error(const char *fmt UNUSED, ...)
{
    g_fake_errors++;
}

void panic(const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    format_v(line, sizeof(line), fmt, args);
    va_end(args);
    fprintf(stderr, "panic: %s\n", line);
    _exit(2);
}

struct ocall_refusal g_fake_refusal;
char g_fake_refused_path[4096];
unsigned g_fake_refusals, g_fake_audits;
uint32_t g_fake_audit_event;
char g_fake_audit_path[8192];
jmp_buf g_fake_abort;
bool g_fake_abort_armed;

void refuse(const struct ocall_refusal *refusal, const char *path, uint64_t path_size)
{
    g_fake_refusal = *refusal;
    memcpy(g_fake_refused_path, path, path_size);
    g_fake_refused_path[path_size] = '\0';
    g_fake_refusals++;
}

void refuse_abort(struct ocall_refusal *refusal, const char *path, uint64_t path_size)
{
    refuse(refusal, path, path_size);
    if (!g_fake_abort_armed)
        panic("refused: %s, kind %u", g_fake_refused_path, refusal->kind);
    g_fake_abort_armed = false;
    longjmp(g_fake_abort, 1);
}

void audit(enum ocall_audit_event event, int error UNUSED, uint64_t value UNUSED, const char *path,
           uint64_t path_size)
{
    g_fake_audits++;
    g_fake_audit_event = event;
    if (path_size)
        memcpy(g_fake_audit_path, path, path_size);
    g_fake_audit_path[path_size] = '\0';
}

/* --- the border ------------------------------------------------------------------------ */

char g_fake_root[256];
uint64_t g_fake_calls[OCALL_COUNT];
bool (*g_fake_hook)(enum ocall_nr nr, const uint64_t args[6], int64_t *ret);
_Thread_local uint8_t g_fake_window[OCALL_DATA_SIZE]; /* each thread has its own block */
_Thread_local uint64_t g_fake_out[4];

void border_put(uint64_t offset, const void *src, uint64_t size)
{
    if (offset + size > OCALL_DATA_SIZE)
        panic("border_put beyond the window");
    memcpy(g_fake_window + offset, src, size);
}

void border_get(void *dst, uint64_t offset, uint64_t size)
{
    if (offset + size > OCALL_DATA_SIZE)
        panic("border_get beyond the window");
    memcpy(dst, g_fake_window + offset, size);
}

int border_put_user(uint64_t offset, const void *user, uint64_t size)
{
    if (bad(user, size))
        return -EFAULT;
    if (size)
        border_put(offset, user, size);
    return 0;
}

int border_get_user(void *user, uint64_t offset, uint64_t size)
{
    if (bad(user, size))
        return -EFAULT;
    border_get(user, offset, size);
    return 0;
}

uint64_t border_out(unsigned i)
{
    return g_fake_out[i];
}

static char *host_path(uint64_t offset, uint64_t size, bool text)
{
    static _Thread_local char paths[2][8192];
    static _Thread_local int turn;
    char *p = paths[turn ^= 1];
    snprintf(p, sizeof(paths[0]), "%s%.*s", text ? "" : g_fake_root, (int)size,
             (const char *)g_fake_window + offset);
    return p;
}

static void put_stat(const struct stat *st)
{
    struct ocall_stat out = {
        .dev = st->st_dev,
        .ino = st->st_ino,
        .nlink = st->st_nlink,
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .rdev = st->st_rdev,
        .size = (uint64_t)st->st_size,
        .blksize = 4096,
        .blocks = (uint64_t)st->st_blocks,
        .atime_sec = st->st_atim.tv_sec,
        .mtime_sec = st->st_mtim.tv_sec,
        .ctime_sec = st->st_ctim.tv_sec,
        .atime_nsec = (uint32_t)st->st_atim.tv_nsec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .ctime_nsec = (uint32_t)st->st_ctim.tv_nsec,
    };
    memcpy(g_fake_window, &out, sizeof(out));
}

static int64_t getdents(int fd)
{
    static _Thread_local uint8_t raw[65536];
    long got = syscall(SYS_getdents64, fd, raw, sizeof(raw));
    uint64_t to = 0;
    for (long at = 0; at < got;) {
        const struct dirent *d = (const void *)(raw + at);
        size_t name = strlen(d->d_name), record = (sizeof(struct ocall_dirent) + name + 7) & ~7ull;
        struct ocall_dirent *out = (void *)(g_fake_window + to);
        *out = (struct ocall_dirent){ .ino = d->d_ino,
                                      .record_size = (uint16_t)record,
                                      .type = d->d_type,
                                      .name_size = (uint16_t)name };
        memcpy(out->name, d->d_name, name);
        to += record;
        at += d->d_reclen;
    }
    return got < 0 ? got : (int64_t)to;
}

static int64_t host_call(enum ocall_nr nr, const uint64_t a[6])
{
    struct stat st;
    struct timespec times[2];
    int64_t r;
    switch (nr) {
    case OCALL_OPEN: return open(host_path(0, a[0], false), (int)a[1], (mode_t)a[2]);
    case OCALL_CLOSE: return close((int)a[0]);
    case OCALL_READ: return read((int)a[0], g_fake_window, a[1]);
    case OCALL_WRITE: return write((int)a[0], g_fake_window, a[1]);
    case OCALL_PREAD: return pread((int)a[0], g_fake_window, a[1], (off_t)a[2]);
    case OCALL_PWRITE: return pwrite((int)a[0], g_fake_window, a[1], (off_t)a[2]);
    case OCALL_LSEEK:
        r = lseek((int)a[0], (off_t)a[1], (int)a[2]);
        g_fake_out[0] = (uint64_t)r;
        return r < 0 ? r : 0;
    case OCALL_FSTAT:
        r = fstat((int)a[0], &st);
        put_stat(&st);
        return r;
    case OCALL_STAT:
        r = fstatat(AT_FDCWD, host_path(0, a[0], false), &st, a[1] ? AT_SYMLINK_NOFOLLOW : 0);
        put_stat(&st);
        return r;
    case OCALL_READLINK: {
        char text[4096];
        r = readlink(host_path(0, a[0], false), text, sizeof(text));
        if (r > 0)
            memcpy(g_fake_window, text, (size_t)r);
        return r;
    }
    case OCALL_GETDENTS: return getdents((int)a[0]);
    case OCALL_FTRUNCATE: return ftruncate((int)a[0], (off_t)a[1]);
    case OCALL_FALLOCATE: return fallocate((int)a[0], (int)a[1], (off_t)a[2], (off_t)a[3]);
    case OCALL_FSYNC: return fsync((int)a[0]);
    case OCALL_FLOCK:
    case OCALL_FCNTL_LOCK: return 0;
    case OCALL_MKDIR: return mkdir(host_path(0, a[0], false), (mode_t)a[1]);
    case OCALL_UNLINK:
        return unlinkat(AT_FDCWD, host_path(0, a[0], false), a[1] ? AT_REMOVEDIR : 0);
    case OCALL_RENAME:
        return renameat2(AT_FDCWD, host_path(0, a[0], false), AT_FDCWD,
                         host_path(a[0], a[1], false), (unsigned)a[2]);
    case OCALL_LINK: return link(host_path(0, a[0], false), host_path(a[0], a[1], false));
    case OCALL_SYMLINK: return symlink(host_path(0, a[0], true), host_path(a[0], a[1], false));
    case OCALL_CHMOD: return chmod(host_path(0, a[0], false), (mode_t)a[1]);
    case OCALL_CHOWN:
        return fchownat(AT_FDCWD, host_path(0, a[0], false), (uid_t)a[1], (gid_t)a[2],
                        a[3] ? AT_SYMLINK_NOFOLLOW : 0);
    case OCALL_UTIMENS:
        times[0] = (struct timespec){ (time_t)a[1], (long)a[2] };
        times[1] = (struct timespec){ (time_t)a[3], (long)a[4] };
        return utimensat(AT_FDCWD, host_path(0, a[0], false), times,
                         a[5] ? AT_SYMLINK_NOFOLLOW : 0);
    case OCALL_IOCTL: return ioctl((int)a[0], a[1], g_fake_window);
    case OCALL_YIELD: return 0;
    case OCALL_SPILL_OPEN: return open("/tmp", O_TMPFILE | O_RDWR, 0600);
    default: panic("OCALL %u is not faked", nr);
    }
}

int64_t border_call(enum ocall_nr nr, uint64_t max, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3, uint64_t a4, uint64_t a5)
{
    const uint64_t args[6] = { a0, a1, a2, a3, a4, a5 };
    int64_t ret;
    g_fake_calls[nr]++;
    if (!g_fake_hook || !g_fake_hook(nr, args, &ret)) {
        ret = host_call(nr, args);
        if (ret < 0)
            ret = -errno;
    }
    if ((ret >= 0 && (uint64_t)ret > max) || ret < -4095)
        return -EIO;
    return ret;
}

/* --- scenarios ------------------------------------------------------------------------- */

void vfs_child(void (*body)(void))
{
    snprintf(g_fake_root, sizeof(g_fake_root), "/tmp/sgxpy-vfs-XXXXXX");
    assert_non_null(mkdtemp(g_fake_root));
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        umask(022);
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    char command[300];
    snprintf(command, sizeof(command), "rm -rf %s", g_fake_root);
    assert_int_equal(system(command), 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the scenario's process ended with status 0x%x", status);
}

/* --- shared mappings: none ------------------------------------------------------------- */

uint32_t g_shared_mappings;

void shared_flush(const struct file *file UNUSED)
{
}

void shared_refresh(const struct file *file UNUSED)
{
}

uint32_t g_dsm_objects;

int64_t dsm_serve_recall(struct file *file UNUSED, const struct dsm_io *io UNUSED,
                         struct waiter *waiter UNUSED)
{
    return 0;
}

void dsm_serve_recalled(uint32_t object UNUSED, const struct dsm_io *io UNUSED)
{
}

int64_t dsm_recall_here(struct file *file UNUSED, const struct dsm_io *io UNUSED)
{
    return 0;
}

/* --- the hub: this is the root; remote_world.c has its own ----------------------------- */

__attribute__((weak)) void hub_events_fetch(void)
{
}

__attribute__((weak)) int64_t hub_ask(struct hub_ask *ask UNUSED)
{
    return -ENOSYS;
}

__attribute__((weak)) int64_t hub_ask_blocking(struct hub_ask *ask UNUSED)
{
    return -ENOSYS;
}

__attribute__((weak)) bool pidfd_target(const struct file *file UNUSED,
                                        struct pidfd_target *ret UNUSED)
{
    return false;
}

/* FIFOs have names here, and cannot be opened. */
__attribute__((weak)) struct fifo *fifo_new(void)
{
    static uint64_t none;
    return (struct fifo *)(void *)&none;
}

__attribute__((weak)) void fifo_free(struct fifo *fifo UNUSED)
{
}

__attribute__((weak)) int fifo_open(struct fifo *fifo UNUSED, struct inode *inode UNUSED,
                                    uint32_t flags UNUSED, struct file **ret UNUSED)
{
    return -ENXIO;
}

__attribute__((weak)) int fifo_wait(struct file *file UNUSED)
{
    return 0;
}

/* sys/limits.h is not for hosted code. */
uint32_t groups_get(uint32_t *ret, uint32_t room);
__attribute__((weak)) uint32_t groups_get(uint32_t *ret, uint32_t room UNUSED)
{
    *ret = 0;
    return 1;
}

__attribute__((weak)) int process_view(int32_t pid UNUSED, struct ptable_view *ret UNUSED,
                                       char *ret_label UNUSED)
{
    return -ESRCH;
}

__attribute__((weak)) int32_t process_next(int32_t pid)
{
    return pid <= process_pid() ? process_pid() : 0;
}

__attribute__((weak)) bool process_exists(int32_t pid UNUSED)
{
    return false;
}

__attribute__((weak)) int pidfd_new(int32_t pid UNUSED, uint32_t flags UNUSED,
                                    struct file **ret UNUSED)
{
    return -ESRCH;
}

__attribute__((weak)) int process_kill_one(const struct pidfd_target *target UNUSED,
                                           const struct signal_info *info UNUSED)
{
    return -ESRCH;
}

__attribute__((weak)) bool hub_is_here(void)
{
    return true;
}

__attribute__((weak)) void stream_sigpipe(void)
{
}

__attribute__((weak)) void waitq_add(struct waitq *queue UNUSED, struct waiter *waiter UNUSED)
{
}

__attribute__((weak)) void waitq_remove(struct waiter *waiter UNUSED)
{
}

__attribute__((weak)) uint32_t waitq_wake(struct waitq *queue UNUSED, uint32_t max UNUSED)
{
    return 0;
}

__attribute__((weak)) int channel_send(struct channel *channel UNUSED, const void *data UNUSED,
                                       uint32_t size UNUSED)
{
    return -EPIPE;
}

__attribute__((weak)) int64_t channel_receive(struct channel *channel UNUSED, void *buf UNUSED,
                                              uint32_t room UNUSED, bool interruptible UNUSED)
{
    return -EPIPE;
}

__attribute__((weak)) int64_t remote_receive(struct file *file UNUSED, void *user UNUSED,
                                             uint64_t size UNUSED, uint32_t flags UNUSED,
                                             struct unix_message *message UNUSED)
{
    return -EIO;
}

__attribute__((weak)) int64_t remote_send(struct file *file UNUSED, const void *user UNUSED,
                                          uint64_t size UNUSED, uint32_t flags UNUSED,
                                          struct unix_message *message UNUSED)
{
    return -EIO;
}
