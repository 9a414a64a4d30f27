/*
 * Who and where the program is, and what it may use: measured identity and limits, never the host's.
 * getpid(2), getuid(2), uname(2), getrlimit(2), sysinfo(2), prctl(2), arch_prctl(2), getrandom(2), ...
 */
#include <asm/errno.h>
#include <asm/prctl.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sysinfo.h>
#include <linux/utsname.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "core/bytes.h"
#include "mm/mm.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "process/vfork.h"
#include "sys/limits.h"
#include "sys/process.h"
#include "sys/sys.h"
#include "thread/threads.h"
#include "vfs/fd.h"

sys_fn sys_getpid, sys_getuid, sys_geteuid, sys_getgid, sys_getegid, sys_getresuid, sys_getresgid,
    sys_setuid, sys_setgid, sys_setreuid, sys_setregid, sys_setresuid, sys_setresgid, sys_setfsuid,
    sys_setfsgid, sys_getgroups, sys_setgroups, sys_uname, sys_sethostname, sys_setdomainname,
    sys_getrlimit, sys_setrlimit, sys_prlimit64, sys_sysinfo, sys_prctl, sys_arch_prctl,
    sys_getrandom, sys_personality, sys_capget, sys_capset, sys_ptrace, sys_seccomp, sys_syslog;

static struct limits g_limits;

static struct limits *own_limits(void)
{
    const struct process *process = process_current();
    return process->vfork ? process->vfork->limits : &g_limits;
}

int64_t sys_getpid(const struct sysargs *args)
{
    (void)args;
    return process_pid();
}

int64_t sys_getuid(const struct sysargs *args)
{
    (void)args;
    return process_node()->uid;
}

int64_t sys_geteuid(const struct sysargs *args)
{
    return sys_getuid(args);
}

int64_t sys_getgid(const struct sysargs *args)
{
    (void)args;
    return process_node()->gid;
}

int64_t sys_getegid(const struct sysargs *args)
{
    return sys_getgid(args);
}

static int64_t put_three(const struct sysargs *args, uint32_t id)
{
    for (int i = 0; i < 3; i++) {
        int r = PUT_USER((uint32_t *)args->a[i], &id);
        if (r < 0)
            return r;
    }
    return 0;
}

int64_t sys_getresuid(const struct sysargs *args)
{
    return put_three(args, process_node()->uid);
}

int64_t sys_getresgid(const struct sysargs *args)
{
    return put_three(args, process_node()->gid);
}

/* Identity is measured: setting it to what it is works, anything else is EPERM. */
static int64_t set_ids(const struct sysargs *args, unsigned count, uint32_t id)
{
    for (unsigned i = 0; i < count; i++)
        if ((uint32_t)args->a[i] != id && (count == 1 || (uint32_t)args->a[i] != UINT32_MAX))
            return -EPERM;
    return 0;
}

int64_t sys_setuid(const struct sysargs *args)
{
    return set_ids(args, 1, process_node()->uid);
}

int64_t sys_setgid(const struct sysargs *args)
{
    return set_ids(args, 1, process_node()->gid);
}

int64_t sys_setreuid(const struct sysargs *args)
{
    return set_ids(args, 2, process_node()->uid);
}

int64_t sys_setregid(const struct sysargs *args)
{
    return set_ids(args, 2, process_node()->gid);
}

int64_t sys_setresuid(const struct sysargs *args)
{
    return set_ids(args, 3, process_node()->uid);
}

int64_t sys_setresgid(const struct sysargs *args)
{
    return set_ids(args, 3, process_node()->gid);
}

/* These return the old id whatever happens. */
int64_t sys_setfsuid(const struct sysargs *args)
{
    (void)args;
    return process_node()->uid;
}

int64_t sys_setfsgid(const struct sysargs *args)
{
    (void)args;
    return process_node()->gid;
}

int64_t sys_getgroups(const struct sysargs *args)
{
    int size = (int)args->a[0];
    uint32_t groups[GROUPS_MAX], count = groups_get(groups, GROUPS_MAX);
    if (size == 0)
        return count;
    if (size < 0 || (uint32_t)size < count)
        return -EINVAL;
    int r = copy_to_user((uint32_t *)args->a[1], groups, count * sizeof(*groups));
    return r < 0 ? r : (int64_t)count;
}

/* Root's only: what they allow it may anyway, and it cannot become anybody else. */
int64_t sys_setgroups(const struct sysargs *args)
{
    uint32_t groups[GROUPS_MAX], count = (uint32_t)args->a[0];
    if (process_node()->uid != 0)
        return -EPERM;
    if (count > GROUPS_MAX) {
        log_note("setgroups: more than %u groups are not supported", GROUPS_MAX);
        return -EINVAL;
    }
    int r = copy_from_user(groups, (const uint32_t *)args->a[1], count * sizeof(*groups));
    if (r < 0)
        return r;
    struct limits *own = own_limits();
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && own->groups[at - 1] > groups[i]; at--)
            own->groups[at] = own->groups[at - 1];
        own->groups[at] = groups[i];
    }
    own->group_count = count;
    own->groups_set = true;
    return 0;
}

int64_t sys_uname(const struct sysargs *args)
{
    struct new_utsname name = { 0 };
    struct manifest_str host = process_node()->hostname;
    uint32_t n = host.length < sizeof(name.nodename) - 1 ? host.length : sizeof(name.nodename) - 1;
    memcpy(name.sysname, "Linux", 6);
    memcpy(name.nodename, manifest_str_ptr(&g_manifest, host), n);
    memcpy(name.release, "6.1.0-sgxpy", 12);
    memcpy(name.version, "#1 SGXPy", 9);
    memcpy(name.machine, "x86_64", 7);
    memcpy(name.domainname, "(none)", 7);
    return PUT_USER((struct new_utsname *)args->a[0], &name);
}

int64_t sys_sethostname(const struct sysargs *args)
{
    (void)args;
    return -EPERM;
}

int64_t sys_setdomainname(const struct sysargs *args)
{
    (void)args;
    return -EPERM;
}

/* --- limits ------------------------------------------------------------------------------------ */

/* What the program set; nothing here enforces more than the descriptor table and mm do. */
static bool g_limits_ready;

static struct rlimit64 *limits(void)
{
    struct rlimit64 *of = g_limits.of;
    if (!g_limits_ready) {
        const struct manifest_node *node = process_node();
        for (unsigned i = 0; i < RLIM_NLIMITS; i++)
            of[i] = (struct rlimit64){ UINT64_MAX, UINT64_MAX };
        of[RLIMIT_STACK] = (struct rlimit64){ node->stack_size, UINT64_MAX };
        of[RLIMIT_NOFILE] = (struct rlimit64){ node->fd_limit, node->fd_limit };
        of[RLIMIT_CORE] = (struct rlimit64){ 0, 0 };
        of[RLIMIT_NPROC] = (struct rlimit64){ node->thread_count, node->thread_count };
        of[RLIMIT_NICE] = of[RLIMIT_RTPRIO] = (struct rlimit64){ 0, 0 };
        g_limits_ready = true;
    }
    return own_limits()->of;
}

static int set_limit(unsigned which, struct rlimit64 want)
{
    struct rlimit64 *now = &limits()[which];
    if (want.rlim_cur > want.rlim_max)
        return -EINVAL;
    if (want.rlim_max > now->rlim_max)
        return -EPERM;
    *now = want;
    own_limits()->set |= 1ull << which;
    if (which == RLIMIT_NOFILE)
        fd_limit_set(want.rlim_cur < INT32_MAX ? (int)want.rlim_cur : INT32_MAX);
    return 0;
}

void limits_get(struct limits *ret)
{
    (void)limits();
    *ret = *own_limits();
}

void limits_inherit(const struct limits *from)
{
    for (unsigned i = 0; i < RLIM_NLIMITS; i++)
        if (from->set >> i & 1) {
            limits()[i] = from->of[i];
            own_limits()->set |= 1ull << i;
        }
    /* What another process says. */
    if (!from->groups_set || from->group_count > GROUPS_MAX)
        return;
    struct limits *own = own_limits();
    own->groups_set = true;
    own->group_count = from->group_count;
    memcpy(own->groups, from->groups, sizeof(own->groups));
}

uint32_t groups_get(uint32_t *ret, uint32_t room)
{
    const struct limits *own = own_limits();
    uint32_t count = own->groups_set ? own->group_count : 1;
    if (own->groups_set)
        memcpy(ret, own->groups, (count < room ? count : room) * sizeof(*ret));
    else if (room)
        *ret = process_node()->gid;
    return count;
}

int64_t sys_getrlimit(const struct sysargs *args)
{
    if (args->a[0] >= RLIM_NLIMITS)
        return -EINVAL;
    return PUT_USER((struct rlimit64 *)args->a[1], &limits()[args->a[0]]);
}

int64_t sys_setrlimit(const struct sysargs *args)
{
    struct rlimit64 want;
    if (args->a[0] >= RLIM_NLIMITS)
        return -EINVAL;
    int r = GET_USER(&want, (const struct rlimit64 *)args->a[1]);
    return r < 0 ? r : set_limit((unsigned)args->a[0], want);
}

int64_t sys_prlimit64(const struct sysargs *args)
{
    int32_t pid = (int32_t)args->a[0];
    if (pid != 0 && pid != process_pid())
        return -ESRCH;
    if (args->a[1] >= RLIM_NLIMITS)
        return -EINVAL;
    unsigned which = (unsigned)args->a[1];
    struct rlimit64 old = limits()[which];
    if (args->a[2]) {
        struct rlimit64 want;
        int r = GET_USER(&want, (const struct rlimit64 *)args->a[2]);
        if (r == 0)
            r = set_limit(which, want);
        if (r < 0)
            return r;
    }
    return args->a[3] ? PUT_USER((struct rlimit64 *)args->a[3], &old) : 0;
}

int64_t sys_sysinfo(const struct sysargs *args)
{
    uint64_t mapped, accepted, limit;
    mm_usage(&mapped, &accepted, &limit);
    struct sysinfo info = {
        .uptime = (int64_t)(clock_monotonic() / 1000000000ull),
        .totalram = limit,
        .freeram = limit > accepted ? limit - accepted : 0,
        .procs = (uint16_t)threads_used(),
        .mem_unit = 1,
    };
    return PUT_USER((struct sysinfo *)args->a[0], &info);
}

/* --- prctl and friends -------------------------------------------------------------------------- */

static bool g_dumpable = true;

int64_t sys_prctl(const struct sysargs *args)
{
    struct thread *thread = current();
    switch ((int)args->a[0]) {
    case PR_SET_NAME: {
        char name[16] = { 0 };
        int64_t n = strncpy_from_user(name, (const char *)args->a[1], sizeof(name) - 1);
        if (n == -EFAULT)
            return n;
        memcpy(thread->name, name, sizeof(name) - 1);
        thread->name[15] = '\0';
        return 0;
    }
    case PR_GET_NAME: return copy_to_user((void *)args->a[1], thread->name, sizeof(thread->name));
    case PR_GET_DUMPABLE: return g_dumpable;
    case PR_SET_DUMPABLE:
        if (args->a[1] > 1)
            return -EINVAL;
        g_dumpable = args->a[1] != 0;
        return 0;
    case PR_SET_PDEATHSIG: return args->a[1] > 64 ? -EINVAL : process_pdeathsig((int)args->a[1]);
    case PR_SET_CHILD_SUBREAPER: return process_set_subreaper(args->a[1] != 0);
    case PR_GET_CHILD_SUBREAPER: {
        int on = process_get_subreaper();
        return on < 0 ? on : PUT_USER((int *)args->a[1], &on);
    }
    case PR_GET_PDEATHSIG: return PUT_USER((int *)args->a[1], &process_current()->pdeathsig);
    case PR_SET_NO_NEW_PRIVS: return args->a[1] == 1 ? 0 : -EINVAL;
    case PR_GET_NO_NEW_PRIVS: return 1;
    case PR_GET_SECCOMP: return 0;
    case PR_SET_TIMERSLACK:
    case PR_SET_VMA: return 0;
    case PR_GET_TIMERSLACK: return 50000;
    case PR_CAPBSET_READ: return args->a[1] <= CAP_LAST_CAP ? 0 : -EINVAL;
    default: return -EINVAL;
    }
}

int64_t sys_arch_prctl(const struct sysargs *args)
{
    switch ((int)args->a[0]) {
    case ARCH_SET_FS:
        if (args->a[1] >> 47)
            return -EPERM;
        cpu_set_fs_base(args->a[1]);
        return 0;
    case ARCH_GET_FS: {
        uint64_t base = cpu_fs_base();
        return PUT_USER((uint64_t *)args->a[1], &base);
    }
    case ARCH_GET_GS: { /* the program has none: GS is the library OS's */
        uint64_t base = 0;
        return PUT_USER((uint64_t *)args->a[1], &base);
    }
    default: return -EINVAL;
    }
}

#define GRND_KNOWN 7u

int64_t sys_getrandom(const struct sysargs *args)
{
    uint8_t buf[256];
    uint64_t size = args->a[1] > INT32_MAX ? INT32_MAX : args->a[1];
    if (args->a[2] & ~(uint64_t)GRND_KNOWN)
        return -EINVAL;
    for (uint64_t done = 0; done < size;) {
        uint64_t n = size - done < sizeof(buf) ? size - done : sizeof(buf);
        cpu_random(buf, n);
        int r = copy_to_user((uint8_t *)args->a[0] + done, buf, n);
        if (r < 0)
            return done ? (int64_t)done : r;
        done += n;
    }
    bytes_wipe(buf, sizeof(buf));
    return (int64_t)size;
}

int64_t sys_personality(const struct sysargs *args)
{
    return (uint32_t)args->a[0] == UINT32_MAX || args->a[0] == 0 ? 0 : -EINVAL;
}

/* No capabilities: the host's would be worth nothing in here. */
int64_t sys_capget(const struct sysargs *args)
{
    struct __user_cap_header_struct head;
    struct __user_cap_data_struct data[2] = { 0 };
    int r = GET_USER(&head, (const struct __user_cap_header_struct *)args->a[0]);
    if (r < 0)
        return r;
    if (head.version != _LINUX_CAPABILITY_VERSION_3 &&
        head.version != _LINUX_CAPABILITY_VERSION_2) {
        head.version = _LINUX_CAPABILITY_VERSION_3;
        r = PUT_USER((struct __user_cap_header_struct *)args->a[0], &head);
        return r < 0 ? r : args->a[1] ? -EINVAL : 0;
    }
    return args->a[1] ? copy_to_user((void *)args->a[1], data, sizeof(data)) : 0;
}

int64_t sys_capset(const struct sysargs *args)
{
    (void)args;
    return -EPERM;
}

int64_t sys_ptrace(const struct sysargs *args)
{
    (void)args;
    return -EPERM;
}

int64_t sys_seccomp(const struct sysargs *args)
{
    (void)args;
    return -EINVAL;
}

int64_t sys_syslog(const struct sysargs *args)
{
    (void)args;
    return -EPERM;
}
