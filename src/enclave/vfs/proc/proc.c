#include "vfs/proc/proc.h"

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "ipc/pidfd.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/signal.h"
#include "sys/limits.h"
#include "sys/process.h"
#include "thread/threads.h"
#include "tree/stream.h"
#include "vfs/dev/dev.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/proc/text.h"
#include "vfs/tmpfs/tmpfs.h"

#define BLOB_MAX (16u << 20)

/* --- what boot says -------------------------------------------------------------------- */

struct blob {
    char *text;
    uint64_t size;
};

static struct blob g_cmdline, g_environ, g_auxv, g_exe;

static int keep(struct blob *blob, const void *text, uint64_t size)
{
    char *copy = heap_alloc(size + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, text, size);
    heap_free(blob->text);
    *blob = (struct blob){ copy, size };
    return 0;
}

int proc_set_cmdline(const char *text, uint64_t size)
{
    return keep(&g_cmdline, text, size);
}

int proc_set_environ(const char *text, uint64_t size)
{
    return keep(&g_environ, text, size);
}

int proc_set_auxv(const void *auxv, uint64_t size)
{
    return keep(&g_auxv, auxv, size);
}

int proc_set_exe(const char *path, uint64_t size)
{
    return keep(&g_exe, path, size);
}

static struct blob *const g_blobs[] = { &g_cmdline, &g_environ, &g_auxv, &g_exe };

void proc_send(struct tree_stream *s)
{
    for (unsigned i = 0; i < ARRAY_SIZE(g_blobs); i++)
        tree_put_string(s, g_blobs[i]->text, (uint32_t)g_blobs[i]->size);
}

int proc_receive(struct tree_stream *s)
{
    for (unsigned i = 0; i < ARRAY_SIZE(g_blobs); i++) {
        uint32_t size;
        char *text = tree_get_string(s, BLOB_MAX, &size);
        if (!text)
            return -EIO;
        heap_free(g_blobs[i]->text);
        *g_blobs[i] = (struct blob){ text, size };
    }
    return 0;
}

/* --- texts ----------------------------------------------------------------------------- */

void text_put(struct text *t, const void *bytes, uint64_t size)
{
    if (t->failed)
        return;
    if (t->size + size + 1 > t->room) {
        uint64_t room = (t->size + size + 1) * 2 + 256;
        char *more = heap_realloc(t->bytes, room);
        if (!more) {
            t->failed = true;
            return;
        }
        t->bytes = more;
        t->room = room;
    }
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    t->bytes[t->size] = '\0';
}

void text_add(struct text *t, const char *fmt, ...)
{
    char line[512];
    __builtin_va_list args;
    __builtin_va_start(args, fmt);
    int n = format_v(line, sizeof(line), fmt, args);
    __builtin_va_end(args);
    text_put(t, line, (uint64_t)n);
}

static void put_blob(struct text *t, const struct blob *blob)
{
    text_put(t, blob->text ? blob->text : "", blob->size);
}

static void text_cmdline(struct text *t, int n UNUSED)
{
    put_blob(t, &g_cmdline);
}

static void text_environ(struct text *t, int n UNUSED)
{
    put_blob(t, &g_environ);
}

static void text_auxv(struct text *t, int n UNUSED)
{
    put_blob(t, &g_auxv);
}

static void text_maps(struct text *t, int n UNUSED)
{
    char *maps;
    uint64_t size;
    if (mm_maps_text(&maps, &size) < 0) {
        t->failed = true;
        return;
    }
    text_put(t, maps, size);
    heap_free(maps);
}

static const char *base(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path ? path : "?";
}

static const char *comm(int tid)
{
    struct thread *thread = thread_by_tid(tid);
    /* The name it was started by: "python3", where /proc/self/exe says python3.11. */
    const char *started = manifest_str_ptr(&g_manifest, g_manifest.entries[0].execfn);
    return thread && thread->name[0] ? thread->name : base(started);
}

static void text_comm(struct text *t, int tid)
{
    char name[16];
    format(name, sizeof(name), "%s", comm(tid));
    text_add(t, "%s\n", name);
}

static void text_status(struct text *t, int tid)
{
    const struct manifest_node *node = process_node();
    uint64_t mapped, accepted, limit;
    mm_usage(&mapped, &accepted, &limit);
    char name[16];
    format(name, sizeof(name), "%s", comm(tid));
    text_add(t, "Name:\t%s\nUmask:\t0%d%d%d\nState:\tR (running)\n", name, umask_get() >> 6 & 7,
             umask_get() >> 3 & 7, umask_get() & 7);
    text_add(t, "Tgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\nTracerPid:\t0\n", process_pid(), tid,
             process_ppid());
    text_add(t, "Uid:\t%u\t%u\t%u\t%u\n", node->uid, node->uid, node->uid, node->uid);
    text_add(t, "Gid:\t%u\t%u\t%u\t%u\n", node->gid, node->gid, node->gid, node->gid);
    uint32_t groups[GROUPS_MAX], group_count = groups_get(groups, GROUPS_MAX);
    text_add(t, "FDSize:\t64\nGroups:\t");
    for (uint32_t i = 0; i < group_count; i++)
        text_add(t, "%u ", groups[i]);
    text_add(t, "\n");
    text_add(t, "VmPeak:\t%lu kB\nVmSize:\t%lu kB\nVmLck:\t0 kB\nVmPin:\t0 kB\n", mapped / 1024,
             mapped / 1024);
    text_add(t,
             "VmHWM:\t%lu kB\nVmRSS:\t%lu kB\nRssAnon:\t%lu kB\nRssFile:\t0 kB\nRssShmem:\t0 kB\n",
             accepted / 1024, accepted / 1024, accepted / 1024);
    text_add(t, "VmData:\t%lu kB\nVmStk:\t%lu kB\nVmSwap:\t0 kB\nThreads:\t%u\n", mapped / 1024,
             node->stack_size / 1024, threads_used());
    struct signal_sets sets;
    signal_sets_get(&sets);
    text_add(t,
             "SigQ:\t0/1024\nSigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\n"
             "SigIgn:\t%016lx\nSigCgt:\t%016lx\n",
             sets.thread_pending, sets.process_pending, sets.blocked, sets.ignored, sets.caught);
    text_add(t, "CapInh:\t0000000000000000\nCapEff:\t0000000000000000\n"
                "NoNewPrivs:\t1\nSeccomp:\t0\n");
    text_add(t,
             "Cpus_allowed_list:\t0-%u\nMems_allowed_list:\t0\nvoluntary_ctxt_switches:\t0\n"
             "nonvoluntary_ctxt_switches:\t0\n",
             node->cpu_count - 1);
}

/* The times are zero. */
void text_stat_line(struct text *t, const struct stat_line *line)
{
    text_add(t, "%d (%s) %c %d %d %d 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 %u 0 0 %lu %lu %lu",
             line->pid, line->comm, line->state, line->parent, line->pgid, line->sid, line->threads,
             line->size, line->pages, UINT64_MAX);
    for (int i = 0; i < 27; i++)
        text_add(t, " 0");
    text_add(t, "\n");
}

static void text_stat(struct text *t, int tid)
{
    uint64_t mapped, accepted, limit;
    mm_usage(&mapped, &accepted, &limit);
    char name[16];
    format(name, sizeof(name), "%s", comm(tid));
    text_stat_line(t, &(struct stat_line){ .pid = tid,
                                           .comm = name,
                                           .state = 'R',
                                           .parent = process_ppid(),
                                           .pgid = process_pgid(0),
                                           .sid = process_sid(0),
                                           .threads = threads_used(),
                                           .size = mapped,
                                           .pages = accepted / 4096 });
}

uint32_t proc_label(char *buf, uint32_t room)
{
    const struct blob comm_of = { (char *)(uintptr_t)comm(process_pid()),
                                  strlen(comm(process_pid())) };
    const struct blob *const parts[] = { &g_exe, &comm_of, &g_cmdline };
    uint32_t size = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        uint64_t n = parts[i]->size < room - size ? parts[i]->size : room - size;
        memcpy(buf + size, parts[i]->text, n);
        size += (uint32_t)n;
        if (i < 2 && size < room)
            buf[size++] = '\0';
    }
    return size;
}

static void text_statm(struct text *t, int tid UNUSED)
{
    uint64_t mapped, accepted, limit;
    mm_usage(&mapped, &accepted, &limit);
    text_add(t, "%lu %lu 0 0 0 %lu 0\n", mapped / 4096, accepted / 4096, mapped / 4096);
}

static void text_mounts(struct text *t, int n UNUSED)
{
    text_add(
        t, "enclave / ext4 rw,relatime 0 0\nproc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n"
           "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime 0 0\ntmpfs /dev tmpfs rw,nosuid 0 0\n"
           "tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0\n");
}

static void text_mountinfo(struct text *t, int n UNUSED)
{
    text_add(
        t,
        "1 0 0:1 / / rw,relatime - ext4 enclave rw\n2 1 0:2 / /proc rw,relatime - proc proc rw\n"
        "3 1 0:4 / /sys ro,relatime - sysfs sysfs ro\n4 1 0:3 / /dev rw,nosuid - tmpfs tmpfs rw\n"
        "5 4 0:5 / /dev/shm rw,nosuid,nodev - tmpfs tmpfs rw\n");
}

static void text_limits(struct text *t, int n UNUSED)
{
    const struct manifest_node *node = process_node();
    text_add(t, "%s",
             "Limit                     Soft Limit           Hard Limit           Units     \n");
    text_add(t, "Max stack size            %lu              unlimited            bytes     \n",
             node->stack_size);
    text_add(t, "Max processes             %u                 %u                 processes \n",
             node->thread_count, node->thread_count);
    text_add(t, "Max open files            %u                 %u                 files     \n",
             (unsigned)fd_limit(), node->fd_limit);
}

static void text_cgroup(struct text *t, int n UNUSED)
{
    text_add(t, "0::/\n");
}

static void text_zero(struct text *t, int n UNUSED)
{
    text_add(t, "0\n");
}

static void text_fdinfo(struct text *t, int fd)
{
    struct file *file = fd_get(fd);
    if (!file)
        return;
    uint32_t flags = file->flags | (fd_cloexec(fd) == 1 ? (uint32_t)O_CLOEXEC : 0);
    text_add(t, "pos:\t%lu\nflags:\t0", file->pos);
    for (int shift = 21; shift >= 0; shift -= 3)
        text_add(t, "%u", flags >> shift & 7);
    text_add(t, "\nmnt_id:\t1\nino:\t1\n");
    struct pidfd_target target;
    if (pidfd_target(file, &target)) {
        /* As Linux: it can be looked at until it has been waited for. */
        bool gone = process_kill_one(&target, &(struct signal_info){ .number = 0 }) < 0;
        text_add(t, "Pid:\t%d\nNSpid:\t%d\n", gone ? -1 : target.pid, gone ? -1 : target.pid);
    }
    file_unref(file);
}

static void text_cpuinfo(struct text *t, int n UNUSED)
{
    for (uint32_t i = 0; i < process_node()->cpu_count; i++)
        text_add(
            t,
            "processor\t: %u\nvendor_id\t: GenuineIntel\nmodel name\t: SGX enclave\n"
            "physical id\t: 0\ncore id\t\t: %u\ncpu cores\t: %u\nflags\t\t: fpu sse sse2 avx\n\n",
            i, i, process_node()->cpu_count);
}

static void text_meminfo(struct text *t, int n UNUSED)
{
    uint64_t mapped, accepted, limit;
    mm_usage(&mapped, &accepted, &limit);
    uint64_t left = limit > accepted ? limit - accepted : 0;
    text_add(t, "MemTotal:       %lu kB\nMemFree:        %lu kB\nMemAvailable:   %lu kB\n",
             limit / 1024, left / 1024, left / 1024);
    text_add(
        t, "Buffers:               0 kB\nCached:                0 kB\nSwapCached:            0 kB\n"
           "SwapTotal:             0 kB\nSwapFree:              0 kB\n"
           "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n");
}

static void text_cpustat(struct text *t, int n UNUSED)
{
    text_add(t, "cpu  0 0 0 0 0 0 0 0 0 0\n");
    for (uint32_t i = 0; i < process_node()->cpu_count; i++)
        text_add(t, "cpu%u 0 0 0 0 0 0 0 0 0 0\n", i);
    text_add(t, "intr 0\nctxt 0\nbtime %lu\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n",
             (uint64_t)((clock_realtime() - clock_monotonic()) / NS_PER_S));
}

static void text_filesystems(struct text *t, int n UNUSED)
{
    text_add(t, "nodev\tproc\nnodev\ttmpfs\nnodev\tsysfs\n\text4\n");
}

static void text_version(struct text *t, int n UNUSED)
{
    text_add(t, "Linux version 6.1.0 (sgxpy) #1 SMP\n");
}

static void text_uptime(struct text *t, int n UNUSED)
{
    uint64_t now = clock_monotonic() / 10000000;
    text_add(t, "%lu.%lu%lu 0.00\n", now / 100, now / 10 % 10, now % 10);
}

static void text_loadavg(struct text *t, int n UNUSED)
{
    text_add(t, "0.00 0.00 0.00 1/%u %d\n", threads_used(), process_pid());
}

static void text_cpus(struct text *t, int n UNUSED)
{
    if (process_node()->cpu_count > 1)
        text_add(t, "0-%u\n", process_node()->cpu_count - 1);
    else
        text_add(t, "0\n");
}

static void text_pid_max(struct text *t, int n UNUSED)
{
    text_add(t, "4194304\n");
}

static void text_ngroups(struct text *t, int n UNUSED)
{
    text_add(t, "65536\n");
}

static void text_osrelease(struct text *t, int n UNUSED)
{
    text_add(t, "6.1.0\n");
}

static void text_ostype(struct text *t, int n UNUSED)
{
    text_add(t, "Linux\n");
}

static void text_hostname(struct text *t, int n UNUSED)
{
    text_add(t, "%s\n", manifest_str_ptr(&g_manifest, process_node()->hostname));
}

static void text_somaxconn(struct text *t, int n UNUSED)
{
    text_add(t, "4096\n");
}

/* A random UUID, version 4 (RFC 4122). */
static void put_uuid(struct text *t, uint8_t id[16])
{
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
    for (int i = 0; i < 16; i++)
        text_add(t, "%s%x%x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i] >> 4,
                 id[i] & 15);
    text_add(t, "\n");
}

static void text_uuid(struct text *t, int n UNUSED)
{
    uint8_t id[16];
    cpu_random(id, sizeof(id));
    put_uuid(t, id);
}

/* The machine's is the host's word: one for this run. */
static void text_boot_id(struct text *t, int n UNUSED)
{
    static struct lock lock;
    static uint8_t id[16];
    LOCKED(&lock);
    if (!id[8])
        cpu_random(id, sizeof(id));
    put_uuid(t, id);
}

static void text_thp(struct text *t, int n UNUSED)
{
    text_add(t, "always madvise [never]\n");
}

/* --- the tree -------------------------------------------------------------------------- */

enum {
    LINK_NONE,
    LINK_EXE,
    LINK_CWD,
    LINK_ROOT,
    LINK_SELF,
    LINK_THREAD,
    LINK_MOUNTS,
    LINK_FD,
    LINK_FDS,
    LINK_OTHER_EXE,
};

struct entry {
    const char *path; /* '#': a number: tid, descriptor or CPU */
    uint32_t mode;
    void (*text)(struct text *t, int number);
    int link;
};

#define DIR    (S_IFDIR | 0555)
#define FILE_R (S_IFREG | 0444)
#define LINK   (S_IFLNK | 0777)

/* One process's or thread's files, below its directory. */
static const struct entry process_tree[] = {
    { "", DIR, NULL, 0 },
    { "/auxv", S_IFREG | 0400, text_auxv, 0 },
    { "/cgroup", FILE_R, text_cgroup, 0 },
    { "/cmdline", FILE_R, text_cmdline, 0 },
    { "/comm", FILE_R, text_comm, 0 },
    { "/cwd", LINK, NULL, LINK_CWD },
    { "/environ", S_IFREG | 0400, text_environ, 0 },
    { "/exe", LINK, NULL, LINK_EXE },
    { "/fd", S_IFDIR | 0500, NULL, 0 },
    { "/fd/#", LINK, NULL, LINK_FD },
    { "/fdinfo", S_IFDIR | 0500, NULL, 0 },
    { "/fdinfo/#", FILE_R, text_fdinfo, 0 },
    { "/limits", FILE_R, text_limits, 0 },
    { "/maps", FILE_R, text_maps, 0 },
    { "/mountinfo", FILE_R, text_mountinfo, 0 },
    { "/mounts", FILE_R, text_mounts, 0 },
    { "/oom_score", FILE_R, text_zero, 0 },
    { "/oom_score_adj", S_IFREG | 0644, text_zero, 0 },
    { "/root", LINK, NULL, LINK_ROOT },
    { "/stat", FILE_R, text_stat, 0 },
    { "/statm", FILE_R, text_statm, 0 },
    { "/status", FILE_R, text_status, 0 },
    { "/task", DIR, NULL, 0 },
};

static const struct entry other_tree[] = {
    { "", DIR, NULL, 0 },
    { "/cmdline", FILE_R, text_other_cmdline, 0 },
    { "/comm", FILE_R, text_other_comm, 0 },
    { "/exe", LINK, NULL, LINK_OTHER_EXE },
    { "/stat", FILE_R, text_other_stat, 0 },
    { "/status", FILE_R, text_other_status, 0 },
};

static const struct entry tree[] = {
    { "/proc", DIR, NULL, 0 },
    { "/proc/self", LINK, NULL, LINK_SELF },
    { "/proc/thread-self", LINK, NULL, LINK_THREAD },
    { "/proc/cpuinfo", FILE_R, text_cpuinfo, 0 },
    { "/proc/filesystems", FILE_R, text_filesystems, 0 },
    { "/proc/loadavg", FILE_R, text_loadavg, 0 },
    { "/proc/meminfo", FILE_R, text_meminfo, 0 },
    { "/proc/mounts", LINK, NULL, LINK_MOUNTS },
    { "/proc/stat", FILE_R, text_cpustat, 0 },
    { "/proc/sys", DIR, NULL, 0 },
    { "/proc/sys/kernel", DIR, NULL, 0 },
    { "/proc/sys/kernel/hostname", FILE_R, text_hostname, 0 },
    { "/proc/sys/kernel/ngroups_max", FILE_R, text_ngroups, 0 },
    { "/proc/sys/kernel/osrelease", FILE_R, text_osrelease, 0 },
    { "/proc/sys/kernel/ostype", FILE_R, text_ostype, 0 },
    { "/proc/sys/kernel/pid_max", FILE_R, text_pid_max, 0 },
    { "/proc/sys/kernel/random", DIR, NULL, 0 },
    { "/proc/sys/kernel/random/boot_id", FILE_R, text_boot_id, 0 },
    { "/proc/sys/kernel/random/uuid", FILE_R, text_uuid, 0 },
    { "/proc/sys/net", DIR, NULL, 0 },
    { "/proc/sys/net/core", DIR, NULL, 0 },
    { "/proc/sys/net/core/somaxconn", FILE_R, text_somaxconn, 0 },
    { "/proc/sys/vm", DIR, NULL, 0 },
    { "/proc/sys/vm/overcommit_memory", FILE_R, text_zero, 0 },
    { "/proc/uptime", FILE_R, text_uptime, 0 },
    { "/proc/version", FILE_R, text_version, 0 },
    { "/sys", DIR, NULL, 0 },
    { "/sys/devices", DIR, NULL, 0 },
    { "/sys/devices/system", DIR, NULL, 0 },
    { "/sys/devices/system/cpu", DIR, NULL, 0 },
    { "/sys/devices/system/cpu/cpu#", DIR, NULL, 0 },
    { "/sys/devices/system/cpu/online", FILE_R, text_cpus, 0 },
    { "/sys/devices/system/cpu/possible", FILE_R, text_cpus, 0 },
    { "/sys/devices/system/cpu/present", FILE_R, text_cpus, 0 },
    { "/sys/kernel", DIR, NULL, 0 },
    { "/sys/kernel/mm", DIR, NULL, 0 },
    { "/sys/kernel/mm/transparent_hugepage", DIR, NULL, 0 },
    { "/sys/kernel/mm/transparent_hugepage/enabled", FILE_R, text_thp, 0 },
};

/* Decimal without leading zeros; how many bytes, 0: none. */
static uint32_t number_at(const char *p, uint32_t size, int32_t *ret)
{
    uint32_t n = 0;
    int32_t value = 0;
    while (n < size && n < 9 && p[n] >= '0' && p[n] <= '9')
        value = value * 10 + (p[n++] - '0');
    if (n > 1 && p[0] == '0')
        return 0;
    if (n)
        *ret = value;
    return n;
}

static bool matches(const char *pattern, const char *path, uint32_t size, int32_t *number)
{
    uint32_t at = 0;
    for (; *pattern; pattern++) {
        if (*pattern == '#') {
            uint32_t n = number_at(path + at, size - at, number);
            if (!n)
                return false;
            at += n;
        } else if (at >= size || path[at++] != *pattern) {
            return false;
        }
    }
    return at == size;
}

/* "/proc/TID" or "/proc/PID/task/TID": how many bytes it takes, 0 if it is none. */
static uint32_t process_prefix(const char *path, uint32_t size, int32_t *ret_tid)
{
    if (size < 7 || memcmp(path, "/proc/", 6) != 0)
        return 0;
    uint32_t n = number_at(path + 6, size - 6, ret_tid);
    if (!n || (*ret_tid != process_pid() && !thread_by_tid(*ret_tid)))
        return 0;
    n += 6;
    if (size - n > 6 && memcmp(path + n, "/task/", 6) == 0) {
        uint32_t m = number_at(path + n + 6, size - n - 6, ret_tid);
        return m && thread_by_tid(*ret_tid) ? n + 6 + m : 0;
    }
    return n;
}

/* "/proc/PID" of another process of the tree: the same. */
static uint32_t other_prefix(const char *path, uint32_t size, int32_t *ret_pid)
{
    if (size < 7 || memcmp(path, "/proc/", 6) != 0)
        return 0;
    uint32_t n = number_at(path + 6, size - 6, ret_pid);
    return n && (size == n + 6 || path[n + 6] == '/') && *ret_pid != process_pid() &&
                   process_exists(*ret_pid)
               ? n + 6
               : 0;
}

struct part {
    const struct entry *entries;
    uint32_t count, head; /* bytes of the path that are a process's directory */
    bool own;             /* this process's */
};

static struct part part_of(const char *path, uint32_t size, int32_t *ret_number)
{
    uint32_t head = process_prefix(path, size, ret_number);
    if (head)
        return (struct part){ process_tree, ARRAY_SIZE(process_tree), head, true };
    head = other_prefix(path, size, ret_number);
    if (head)
        return (struct part){ other_tree, ARRAY_SIZE(other_tree), head, false };
    *ret_number = -1;
    return (struct part){ tree, ARRAY_SIZE(tree), 0, false };
}

static const struct entry *find_entry(const char *path, uint32_t size, int32_t *ret_number)
{
    int32_t number = -1;
    struct part part = part_of(path, size, &number);
    const struct entry *entries = part.entries;
    uint32_t head = part.head, count = part.count;
    for (uint32_t i = 0; i < count; i++) {
        int32_t inner = number;
        if (!matches(entries[i].path, path + head, size - head, &inner))
            continue;
        *ret_number = inner;
        if (entries[i].link == LINK_FD || entries[i].text == text_fdinfo)
            return fd_cloexec(inner) >= 0 ? &entries[i] : NULL;
        if (!head && inner >= (int32_t)process_node()->cpu_count)
            return NULL;
        return &entries[i];
    }
    return NULL;
}

bool builtin_path(const char *path, uint64_t size)
{
    if (size < 4 || path[0] != '/')
        return false;
    uint64_t n = path[1] == 'p' && size >= 5 && memcmp(path, "/proc", 5) == 0   ? 5
                 : memcmp(path, "/sys", 4) == 0 || memcmp(path, "/dev", 4) == 0 ? 4
                                                                                : 0;
    return n && (size == n || path[n] == '/');
}

int builtin_lookup(struct place *place)
{
    place->mode = 0;
    place->fs = NULL;
    place->record = MANIFEST_NONE;
    uint32_t absent = manifest_find(&g_manifest, place->path, place->path_size);
    place->quiet = absent != MANIFEST_NONE && g_manifest.files[absent].class == MANIFEST_ABSENT;
    if (place->path[1] == 'd')
        return dev_lookup(place);
    const struct entry *e = find_entry(place->path, place->path_size, &place->number);
    if (!e)
        return 0;
    place->fs = &g_proc_fs;
    place->object = (void *)(uintptr_t)e;
    place->mode = e->mode;
    return 0;
}

int magic_fd(const struct place *place)
{
    if (place->fs != &g_proc_fs || !place->object)
        return -1;
    return ((const struct entry *)place->object)->link == LINK_FD ? place->number : -1;
}

static uint64_t ino_of(const char *path, uint32_t size)
{
    uint64_t h = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < size; i++)
        h = (h ^ (uint8_t)path[i]) * 0x100000001b3ull;
    return (h >> 16 & 0xffffffffffull) | 1;
}

static int fs_stat(const struct place *place, struct kstat *ret)
{
    int64_t now = (int64_t)(clock_realtime() / NS_PER_S);
    *ret = (struct kstat){
        .dev = place->path[1] == 's' ? DEV_SYS : DEV_PROC,
        .ino = ino_of(place->path, place->path_size),
        .nlink = S_ISDIR(place->mode) ? 2 : 1,
        .mode = place->mode,
        .blksize = 1024,
        .atime_sec = now,
        .mtime_sec = now,
        .ctime_sec = now,
    };
    if (place->path[1] == 'p') {
        ret->uid = process_node()->uid;
        ret->gid = process_node()->gid;
    }
    if (S_ISLNK(place->mode) && magic_fd(place) >= 0)
        ret->size = 64;
    return 0;
}

static int fd_text(int fd, char *buf, uint64_t size)
{
    struct file *file = fd_get(fd);
    if (!file)
        return -ENOENT;
    int n;
    struct kstat st;
    struct pidfd_target target;
    if (file->path) {
        n = format(buf, size, "%s", file->path);
    } else if (pidfd_target(file, &target)) {
        n = format(buf, size, "anon_inode:[pidfd]");
    } else if (file->ops->fstat && file->ops->fstat(file, &st) == 0) {
        const char *kind = S_ISFIFO(st.mode) ? "pipe" : S_ISSOCK(st.mode) ? "socket" : NULL;
        if (kind)
            n = format(buf, size, "%s:[%lu]", kind, st.ino);
        else if (S_ISCHR(st.mode))
            n = format(buf, size, "/dev/tty");
        else if (!(st.mode & S_IFMT))
            n = format(buf, size, "anon_inode:%s", file->ops->name);
        else
            n = format(buf, size, "/%s:%lu (deleted)", file->ops->name, st.ino);
    } else {
        n = format(buf, size, "anon_inode:[%s]", file->ops->name);
    }
    file_unref(file);
    return n;
}

static int64_t fs_readlink(const struct place *place, char *buf, uint64_t size)
{
    const struct entry *e = place->object;
    char text[PATH_BUF];
    int n = 0;
    switch (e->link) {
    case LINK_SELF: n = format(text, sizeof(text), "%d", process_pid()); break;
    case LINK_THREAD:
        n = format(text, sizeof(text), "%d/task/%d", process_pid(), current()->tid);
        break;
    case LINK_MOUNTS: n = format(text, sizeof(text), "self/mounts"); break;
    case LINK_ROOT: n = format(text, sizeof(text), "/"); break;
    case LINK_EXE: n = format(text, sizeof(text), "%s", g_exe.text ? g_exe.text : "/"); break;
    case LINK_OTHER_EXE: n = other_exe(place->number, text, sizeof(text)); break;
    case LINK_FD: n = fd_text(place->number, text, sizeof(text)); break;
    case LINK_CWD: {
        struct file *cwd = cwd_get();
        struct place p;
        n = place_of_file(cwd, text, &p);
        file_unref(cwd);
        if (n == 0) {
            n = (int)p.path_size;
            place_done(&p);
        }
        break;
    }
    default: return -EINVAL;
    }
    if (n < 0)
        return n;
    uint64_t used = (uint64_t)n < size ? (uint64_t)n : size;
    memcpy(buf, text, used);
    return (int64_t)used;
}

static int fs_open(const struct place *place, uint32_t flags, struct file **ret)
{
    const struct entry *e = place->object;
    if ((flags & O_ACCMODE) != O_RDONLY && !(e->mode & 0222))
        return -EACCES;
    struct text t = { 0 };
    e->text(&t, place->number);
    if (t.failed) {
        heap_free(t.bytes);
        return -ENOMEM;
    }
    return text_open(t.bytes, t.size, place, flags, ret);
}

static void name_task(struct thread *thread, void *arg)
{
    struct text *t = arg;
    text_add(t, "%d", thread->tid);
    text_put(t, "", 1);
}

static int list_numbers(const struct place *dir, struct listing *listing)
{
    char name[16];
    int status = 0;
    uint32_t n = dir->path_size;
    bool info = n > 7 && memcmp(dir->path + n - 7, "/fdinfo", 7) == 0;
    if (info || (n > 3 && memcmp(dir->path + n - 3, "/fd", 3) == 0)) {
        for (int fd = fd_next(0); fd >= 0 && status == 0; fd = fd_next(fd + 1)) {
            int size = format(name, sizeof(name), "%d", fd);
            status = listing_append(listing, name, (uint32_t)size, (uint64_t)fd + 1,
                                    info ? MODE_DT(S_IFREG) : MODE_DT(S_IFLNK));
        }
        return status;
    }
    if (n > 5 && memcmp(dir->path + n - 5, "/task", 5) == 0) {
        struct text t = { 0 };
        threads_each(name_task, &t);
        for (uint64_t at = 0; at < t.size && status == 0; at += strlen(t.bytes + at) + 1)
            status = listing_append(listing, t.bytes + at, (uint32_t)strlen(t.bytes + at), 1,
                                    MODE_DT(S_IFDIR));
        heap_free(t.bytes);
    }
    return status;
}

/* Adds entries that lie right below dir. */
static int list_entries(const struct entry *entries, uint32_t count, const char *dir, uint32_t size,
                        struct listing *listing)
{
    for (uint32_t i = 0; i < count; i++) {
        const char *path = entries[i].path;
        uint32_t n = (uint32_t)strlen(path);
        if (n <= size + 1 || memcmp(path, dir, size) != 0 || path[size] != '/' ||
            strchr(path + size + 1, '/') || strcmp(path + size + 1, "#") == 0)
            continue;
        const char *name = path + size + 1;
        int status = 0;
        if (name[strlen(name) - 1] == '#') {
            for (uint32_t k = 0; k < process_node()->cpu_count && status == 0; k++) {
                char cpu[32];
                int used = format(cpu, sizeof(cpu), "cpu%u", k);
                status = listing_append(listing, cpu, (uint32_t)used, ino_of(cpu, (uint32_t)used),
                                        MODE_DT(entries[i].mode));
            }
        } else {
            status = listing_append(listing, name, (uint32_t)strlen(name), ino_of(path, n),
                                    MODE_DT(entries[i].mode));
        }
        if (status < 0)
            return status;
    }
    return 0;
}

static int list_processes(struct listing *listing)
{
    char name[16];
    int status = 0;
    for (int32_t pid = 0; status == 0 && (pid = process_next(pid)) > 0; pid++) {
        int n = format(name, sizeof(name), "%d", pid);
        status = listing_append(listing, name, (uint32_t)n, (uint64_t)pid, MODE_DT(S_IFDIR));
    }
    return status;
}

static int fs_list(const struct place *dir, struct listing *listing)
{
    int32_t tid = 0;
    struct part part = part_of(dir->path, dir->path_size, &tid);
    int status = list_entries(part.entries, part.count, dir->path + part.head,
                              dir->path_size - part.head, listing);
    if (status == 0 && part.own)
        status = list_numbers(dir, listing);
    if (status == 0 && dir->path_size == 5 && dir->path[1] == 'p')
        status = list_processes(listing);
    return status;
}

const struct fs g_proc_fs = {
    .name = "proc",
    .magic = 0x9fa0,
    .stat = fs_stat,
    .readlink = fs_readlink,
    .open = fs_open,
    .list = fs_list,
};
