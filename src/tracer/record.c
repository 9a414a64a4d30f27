/*
 * The ptrace loop. The stops a task can be in, and what follows:
 *
 *   event STOP, SIGTRAP      a new child's first stop, or the end of a group stop: goes on. If its
 *                            parent has not told of it yet, it waits for that (adopt).
 *   event STOP, SIGSTOP...   group stop: PTRACE_LISTEN, so that job control works as ever
 *   event SECCOMP            a call that carries a dependency, before it runs
 *   SIGTRAP | 0x80           the result of such a call, if asked for by PTRACE_SYSCALL
 *   event FORK, VFORK, CLONE told by the parent; the child's first stop may come before or after
 *   event EXEC               by any thread; the thread has the process's number from here on, and
 *                            all other threads are dying
 *   event EXIT               memory is still there: sizes and mappings are looked at
 *   any other signal         is delivered, untouched
 *   exited, killed           of a leader: it comes last of its threads
 *
 * A parent killed before its event is reported leaves a waiting child: at each death, waiting
 * children are given the parent that /proc names.
 */
#include "tracer/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tracer/recorder.h"
#include "util/fs.h"

#define TICK_MS  100 /* how often the loop looks at the clock once there is something to look for */
#define WATCH_MS 500 /* the same while nothing is due */
/* Signals that follow faster are one: `timeout` sends to us and to our group. */
#define AGAIN_MS 500

static const unsigned long ptrace_options =
    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
    PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL;

/* For the signal handlers; a process runs one recorder at a time. */
static volatile pid_t g_forward_to;    /* the root program, 0 when it has ended */
static volatile sig_atomic_t g_signal; /* one that the loop is to send on */
static volatile sig_atomic_t g_asked;  /* the first SIGINT or SIGTERM to this process */
static volatile int64_t g_asked_at;    /* milliseconds */
static volatile sig_atomic_t g_asked_again;

/* ---- tasks and processes ---- */

static struct task *task_find(struct recorder *r, pid_t tid)
{
    struct task *t;
    HASH_FIND_INT(r->tasks, &tid, t);
    return t;
}

static struct task *task_add(struct recorder *r, pid_t tid, struct process *p)
{
    struct task *t = calloc(1, sizeof(*t));
    if (!t) {
        r->log.failed = r->log.failed ? r->log.failed : -ENOMEM;
        return NULL;
    }
    t->tid = tid;
    t->process = p;
    HASH_ADD_INT(r->tasks, tid, t);
    return t;
}

static void task_drop(struct recorder *r, struct task *t)
{
    HASH_DEL(r->tasks, t);
    pending_done(&t->pending);
    free(t);
}

static struct process *process_add(struct recorder *r, pid_t tgid)
{
    struct process *p = calloc(1, sizeof(*p));
    if (!p) {
        r->log.failed = r->log.failed ? r->log.failed : -ENOMEM;
        return NULL;
    }
    p->tgid = tgid;
    p->index = TRACE_NO_PROCESS;
    p->threads = p->thread_peak = 1;
    HASH_ADD_INT(r->processes, tgid, p);
    return p;
}

static void process_drop(struct recorder *r, struct process *p)
{
    for (struct task *t = r->tasks; t; t = t->hh.next) {
        if (t->process == p)
            t->process = NULL;
    }
    HASH_DEL(r->processes, p);
    free(p->cwd);
    free(p->root);
    free(p->done);
    free(p->sockets.slots);
    free(p);
}

/* ESRCH: it was killed in the meantime, and waitpid will say so. */
static void task_resume(const struct task *t, int signal_number)
{
    (void)ptrace(t->pending.call ? PTRACE_SYSCALL : PTRACE_CONT, t->tid, NULL,
                 (void *)(intptr_t)signal_number);
}

void record_skip_call(struct task *t, int error)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs) < 0)
        return;
    regs.orig_rax = (unsigned long long)-1;
    regs.rax = (unsigned long long)(long long)-error;
    (void)ptrace(PTRACE_SETREGS, t->tid, NULL, &regs);
}

bool record_stack(pid_t tid, uint64_t *ret_address, size_t *ret_word)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof(info), &info) <= 0)
        return false;
    *ret_address = info.stack_pointer;
    *ret_word = info.arch == AUDIT_ARCH_I386 ? 4 : 8;
    return true;
}

void record_clear_arg0(struct task *t, uint64_t mask)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs) < 0)
        return;
    if (t->pending.is_32)
        regs.rbx &= ~mask;
    else
        regs.rdi &= ~mask;
    (void)ptrace(PTRACE_SETREGS, t->tid, NULL, &regs);
}

/* ---- children ---- */

/* A new task and its parent's process are known: thread or process? */
static void task_born(struct recorder *r, struct task *t, struct process *parent,
                      enum trace_how how, uint64_t clone_flags)
{
    if (syscall(SYS_tgkill, parent->tgid, t->tid, 0) == 0) {
        t->process = parent;
        if (++parent->threads > parent->thread_peak)
            parent->thread_peak = parent->threads;
        return;
    }
    struct process *p = process_add(r, t->tid);
    if (!p)
        return;
    t->process = p;
    if (clone_flags & CLONE_FS)
        parent->own_cwd_unknown = true; /* chdir of either moves both */
    exec_forked(r, p, parent, how, clone_flags);
}

/* The flags of the call that a FORK, VFORK or CLONE event stands in; 0 for fork and vfork. The
 * numbers of clone differ by architecture, and neither is a forking call of the other. */
static uint64_t clone_flags_of(const struct task *t)
{
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs) < 0)
        return 0;
    switch (regs.orig_rax) {
    case 56: return regs.rdi;
    case 120: return regs.rbx;
    case 435: return t->clone_flags;
    default: return 0;
    }
}

/* The event alone does not tell: clone with SIGCHLD is FORK, whatever it shares. */
static void on_child(struct recorder *r, struct task *parent, unsigned event)
{
    uint64_t flags = clone_flags_of(parent);
    enum trace_how how = event == PTRACE_EVENT_VFORK ? TRACE_HOW_VFORK
                         : flags & CLONE_VM          ? TRACE_HOW_CLONE
                                                     : TRACE_HOW_FORK;
    unsigned long message;
    if (ptrace(PTRACE_GETEVENTMSG, parent->tid, NULL, &message) < 0)
        return;
    struct task *t = task_find(r, (pid_t)message);
    if (t && !t->waiting)
        return; /* adopted already */
    bool waiting = t != NULL;
    if (!t)
        t = task_add(r, (pid_t)message, NULL);
    if (!t || !parent->process)
        return;
    task_born(r, t, parent->process, how, flags);
    if (waiting) {
        t->waiting = false;
        r->waiting--;
        task_resume(t, 0);
    }
}

/* The parent that /proc names, for children whose parent died before it told of them. */
static void adopt_waiting(struct recorder *r)
{
    if (!r->waiting)
        return;
    for (struct task *t = r->tasks; t; t = t->hh.next) {
        if (!t->waiting)
            continue;
        size_t size;
        CLEANUP(free_p) char *text = tracee_file(t->tid, "status", &size);
        const char *tgid_at = text ? strstr(text, "\nTgid:\t") : NULL;
        const char *ppid_at = text ? strstr(text, "\nPPid:\t") : NULL;
        pid_t tgid = tgid_at ? atoi(tgid_at + 7) : 0;
        pid_t parent_pid = ppid_at ? atoi(ppid_at + 7) : 0;
        struct process *p = NULL;
        if (tgid && tgid != t->tid)
            HASH_FIND_INT(r->processes, &tgid, p);
        else
            HASH_FIND_INT(r->processes, &parent_pid, p);
        struct process *root = NULL;
        if (!p) {
            HASH_FIND_INT(r->processes, &r->root_pid, root);
            p = root;
            known_note(r, p, true, "the parent of process %d is not known", (int)t->tid);
        }
        if (p)
            task_born(r, t, p, TRACE_HOW_FORK, 0);
        t->waiting = false;
        r->waiting--;
        task_resume(t, 0);
    }
}

/* ---- stops ---- */

static bool is_call(const struct call *c, const struct __ptrace_syscall_info *info)
{
    int number = info->arch == AUDIT_ARCH_I386 ? c->number_32 : c->number_64;
    return number >= 0 && (uint64_t)number == info->seccomp.nr;
}

/* What the filter said it is. A filter of the program's own that stops too may have said it in our
 * filter's place: then the table is searched, and NULL is no call of ours. */
static const struct call *call_of(const struct __ptrace_syscall_info *info)
{
    size_t said = info->seccomp.ret_data;
    if (said < calls_count && (said >= calls_count - 2 || is_call(&calls[said], info)))
        return &calls[said];
    for (size_t i = 0; i < calls_count; i++) {
        if (is_call(&calls[i], info))
            return &calls[i];
    }
    return NULL;
}

static void on_seccomp(struct recorder *r, struct task *t)
{
    struct __ptrace_syscall_info info;
    struct pending *c = &t->pending;
    pending_done(c);
    if (!t->process || ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, (void *)sizeof(info), &info) <= 0 ||
        info.op != PTRACE_SYSCALL_INFO_SECCOMP)
        return;
    c->call = call_of(&info);
    if (!c->call)
        return;
    c->is_32 = info.arch == AUDIT_ARCH_I386;
    c->number = info.seccomp.nr;
    for (size_t i = 0; i < ARRAY_SIZE(c->args); i++)
        c->args[i] = info.seccomp.args[i];
    if (!handle_entry(r, t))
        pending_done(c);
}

static void on_result(struct recorder *r, struct task *t)
{
    struct __ptrace_syscall_info info;
    if (t->process && t->pending.call &&
        ptrace(PTRACE_GET_SYSCALL_INFO, t->tid, (void *)sizeof(info), &info) > 0 &&
        info.op == PTRACE_SYSCALL_INFO_EXIT)
        handle_result(r, t, info.exit.rval);
    pending_done(&t->pending);
}

/* The thread that called exec has taken the leader's number; the others are dying. */
static struct task *on_exec(struct recorder *r, struct task *t)
{
    unsigned long former = 0;
    if (ptrace(PTRACE_GETEVENTMSG, t->tid, NULL, &former) == 0 && (pid_t)former != t->tid) {
        struct task *caller = task_find(r, (pid_t)former);
        if (caller) {
            pending_done(&t->pending);
            t->pending = caller->pending;
            caller->pending = (struct pending){ .call = NULL };
            task_drop(r, caller);
        }
    }
    for (struct task *other = r->tasks; other; other = other->hh.next) {
        if (other != t && other->process == t->process)
            other->process = NULL;
    }
    exec_done(r, t);
    pending_done(&t->pending);
    if (t->tid == r->root_pid && !r->root_started) {
        r->root_started = true;
        log_publish(&r->log);
    }
    return t;
}

static void on_exit_event(struct recorder *r, const struct task *t)
{
    struct process *p = t->process;
    if (p && (p->threads <= 1 || t->tid == p->tgid))
        exec_sample(r, p, t->tid);
}

static bool is_stop_signal(int signal_number)
{
    return signal_number == SIGSTOP || signal_number == SIGTSTP || signal_number == SIGTTIN ||
           signal_number == SIGTTOU;
}

static void on_stop(struct recorder *r, pid_t tid, int status)
{
    int signal_number = WSTOPSIG(status);
    unsigned event = (unsigned)status >> 16;
    struct task *t = task_find(r, tid);
    if (!t) {
        t = task_add(r, tid, NULL);
        if (!t) {
            (void)ptrace(PTRACE_CONT, tid, NULL, NULL);
            return;
        }
        /* A first stop before the parent's event: the child waits. */
        t->waiting = event == PTRACE_EVENT_STOP;
        r->waiting += t->waiting;
        if (t->waiting)
            return;
    }
    switch (event) {
    case PTRACE_EVENT_SECCOMP: on_seccomp(r, t); break;
    case PTRACE_EVENT_FORK:
    case PTRACE_EVENT_VFORK:
    case PTRACE_EVENT_CLONE: on_child(r, t, event); break;
    case PTRACE_EVENT_EXEC:
        if (t->process)
            t = on_exec(r, t);
        break;
    case PTRACE_EVENT_EXIT: on_exit_event(r, t); break;
    case PTRACE_EVENT_STOP:
        if (t->waiting)
            return;
        if (is_stop_signal(signal_number)) {
            (void)ptrace(PTRACE_LISTEN, tid, NULL, NULL);
            return;
        }
        break;
    case 0:
        if (signal_number == (SIGTRAP | 0x80))
            on_result(r, t);
        else {
            task_resume(t, signal_number);
            return;
        }
        break;
    default: break;
    }
    task_resume(t, 0);
}

static void on_gone(struct recorder *r, pid_t tid, int status)
{
    struct task *t = task_find(r, tid);
    if (tid == r->root_pid) {
        r->root_status = status;
        g_forward_to = 0;
    }
    if (t) {
        struct process *p = t->process;
        /* Killed inside exec, perhaps after it was done: the event is never told. */
        if (p && t->pending.call && t->pending.call->op == CALL_EXEC && t->pending.existed)
            known_touch(r, p, t->pending.path, TRACE_EXECUTED);
        if (p && p->tgid == tid) {
            exec_ended(r, p, status);
            process_drop(r, p);
        } else if (p && p->threads > 1) {
            p->threads--;
        }
        r->waiting -= t->waiting;
        task_drop(r, t);
    }
    adopt_waiting(r);
}

/* ---- signals to this process ---- */

/* Whether pid is one of ours. For a signal handler: system calls only. */
static bool is_tracee(pid_t pid)
{
    char path[32], text[1024], want[32];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    snprintf(want, sizeof(want), "\nTracerPid:\t%d\n", (int)getpid());
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, want) != NULL;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void timer_start(unsigned first_ms, unsigned interval_ms)
{
    const struct itimerval t = {
        .it_value = { .tv_sec = first_ms / 1000, .tv_usec = first_ms % 1000 * 1000 },
        .it_interval = { .tv_sec = interval_ms / 1000, .tv_usec = interval_ms % 1000 * 1000 },
    };
    setitimer(ITIMER_REAL, &t, NULL);
}

static void note_asked(int signal_number)
{
    int64_t now = now_ms();
    if (!g_asked) {
        g_asked = signal_number;
        g_asked_at = now;
    } else if (now - g_asked_at >= AGAIN_MS) {
        g_asked_again = 1;
    }
}

/*
 * What is sent to this process is meant for the program. What was sent to the whole process group,
 * by the terminal (SI_KERNEL) or by the program itself (kill(0, ...)), it has got already. Where the loop has to do
 * something, the timer wakes it should it just be entering waitpid.
 */
static void forward_signal(int signal_number, siginfo_t *info, void *context UNUSED)
{
    int saved = errno;
    bool by_kernel = info->si_code == SI_KERNEL;
    bool is_request = signal_number == SIGINT || signal_number == SIGTERM;
    bool from_outside = info->si_code <= 0 && !is_tracee(info->si_pid);
    if (is_request && (by_kernel || from_outside)) {
        note_asked(signal_number);
        timer_start(TICK_MS, TICK_MS);
    }
    if (from_outside && signal_number != SIGINT && g_forward_to) {
        kill(g_forward_to, signal_number);
    } else if (from_outside) {
        g_signal = signal_number;
        timer_start(TICK_MS, TICK_MS);
    }
    errno = saved;
}

/* All that would end this process, but for faults of its own. */
static bool is_forwarded(int signal_number)
{
    switch (signal_number) {
    case SIGHUP:
    case SIGINT:
    case SIGQUIT:
    case SIGTERM:
    case SIGUSR1:
    case SIGUSR2:
    case SIGALRM:
    case SIGPIPE:
    case SIGIO:
    case SIGPWR:
    case SIGSTKFLT:
    case SIGXCPU:
    case SIGXFSZ:
    case SIGPROF:
    case SIGVTALRM: return true;
    default: return signal_number >= SIGRTMIN && signal_number <= SIGRTMAX;
    }
}

static void signals_take(struct sigaction saved[static NSIG])
{
    /* If it was ignored (and so it is for the program), no end would ever be told. */
    const struct sigaction plain = { .sa_handler = SIG_DFL };
    sigaction(SIGCHLD, &plain, &saved[SIGCHLD]);
    for (int n = 1; n < NSIG; n++) {
        struct sigaction action = { .sa_flags = SA_SIGINFO, .sa_sigaction = forward_signal };
        if (!is_forwarded(n) || sigaction(n, NULL, &saved[n]) < 0)
            continue;
        /* nohup: what is ignored stays so, for us as for the program. */
        if (saved[n].sa_handler != SIG_IGN || n == SIGALRM)
            sigaction(n, &action, NULL);
    }
}

static void signals_give_back(const struct sigaction saved[static NSIG])
{
    const struct itimerval off = { { 0, 0 }, { 0, 0 } };
    setitimer(ITIMER_REAL, &off, NULL);
    for (int n = 1; n < NSIG; n++) {
        if (is_forwarded(n) || n == SIGCHLD)
            sigaction(n, &saved[n], NULL);
    }
}

static void signal_all(struct recorder *r, int signal_number)
{
    for (struct process *p = r->processes; p; p = p->hh.next)
        kill(p->tgid, signal_number);
}

/* The first process, and those in the group that a terminal would send to. */
static void signal_group(struct recorder *r, int signal_number)
{
    pid_t group = getpgid(0);
    for (struct process *p = r->processes; p; p = p->hh.next) {
        if (p->tgid == r->root_pid || getpgid(p->tgid) == group)
            kill(p->tgid, signal_number);
    }
}

/* The end that was asked for, since when it has been waited for, and what was done about it. */
struct ending {
    struct tracer_end *end;
    int64_t start, asked_at, root_gone_at; /* milliseconds; 0: not yet */
    bool time_over, told_all;
};

static void end_begin(struct ending *e, int signal_number, int64_t now)
{
    e->end->asked = signal_number;
    e->asked_at = now;
}

static void kill_all(struct recorder *r, struct ending *e)
{
    e->end->killed = true;
    signal_all(r, SIGKILL);
}

/* It was asked to end: what is left is told again, and at last killed. */
static void end_insist(struct recorder *r, struct ending *e, int64_t now)
{
    const int64_t grace = TRACER_GRACE_SECONDS * 1000;
    if (!g_forward_to && !e->root_gone_at)
        e->root_gone_at = now;
    if (g_asked_again || (e->time_over && now - e->asked_at >= grace) ||
        (e->root_gone_at && now - e->root_gone_at >= grace)) {
        kill_all(r, e);
    } else if (e->root_gone_at && !e->told_all) {
        e->told_all = true;
        signal_all(r, SIGTERM);
    }
}

/* After waitpid was interrupted: by a signal to us, or by the timer. */
static void on_interrupt(struct recorder *r, const struct tracer_options *options, struct ending *e)
{
    int64_t now = now_ms();
    if (g_signal) {
        int signal_number = g_signal;
        g_signal = 0;
        if (g_forward_to)
            signal_group(r, signal_number);
        else
            signal_all(r, signal_number);
    }
    if (options->on_server && !e->end->told && !g_asked && r->serves &&
        now - e->start >= TRACER_SERVER_SECONDS * 1000) {
        e->end->told = true;
        options->on_server(options->arg);
    }
    if (!e->end->asked && options->milliseconds && now - e->start >= options->milliseconds) {
        known_note(r, NULL, false, "the time of %u milliseconds was over: the program was ended",
                   options->milliseconds);
        e->time_over = true;
        end_begin(e, SIGTERM, now);
        if (g_forward_to)
            kill(g_forward_to, SIGTERM);
    } else if (!e->end->asked && g_asked && r->serves) {
        end_begin(e, g_asked, now);
    } else if (e->end->asked) {
        end_insist(r, e, now);
    }
}

static void loop(struct recorder *r, const struct tracer_options *options, struct ending *e)
{
    for (;;) {
        int status;
        pid_t tid = waitpid(-1, &status, __WALL);
        if (tid < 0 && errno == EINTR) {
            on_interrupt(r, options, e);
            continue;
        }
        if (tid < 0)
            break;
        if (WIFSTOPPED(status))
            on_stop(r, tid, status);
        else if (WIFEXITED(status) || WIFSIGNALED(status))
            on_gone(r, tid, status);
    }
}

/* ---- start ---- */

/* The file to execute, as execvp finds it. */
static int find_program(const char *name, char *ret_path, size_t size, struct err *err)
{
    if (strchr(name, '/')) {
        if ((size_t)snprintf(ret_path, size, "%s", name) >= size)
            return err_set(err, -ENAMETOOLONG, "program '%s': name too long", name);
        if (access(ret_path, X_OK) < 0)
            return err_set(err, -errno, "program '%s': %s", name, strerror(errno));
        return 0;
    }
    const char *path = getenv("PATH");
    int error = -ENOENT;
    for (const char *p = path ? path : "/usr/local/bin:/usr/bin:/bin"; *name;) {
        size_t n = strcspn(p, ":");
        struct stat st;
        if ((size_t)snprintf(ret_path, size, "%.*s%s%s", (int)n, p, n ? "/" : "./", name) < size &&
            stat(ret_path, &st) == 0 && S_ISREG(st.st_mode)) {
            if (access(ret_path, X_OK) == 0)
                return 0;
            error = -EACCES;
        }
        if (!p[n])
            break;
        p += n + 1;
    }
    return err_set(err, error, "program '%s': %s", name,
                   error == -EACCES ? strerror(EACCES) : "not found in PATH");
}

/* In the child. The filter comes last: from then on a tracer must answer. */
static NORETURN void child_run(const struct tracer_options *options, const char *path,
                               char *const argv[], int go_fd, int error_fd,
                               const struct sock_fprog *filter)
{
    char byte;
    int error = EPIPE;
    if (read(go_fd, &byte, 1) != 1)
        _exit(127);
    if (options->stdout_to_stderr && dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        goto fail;
    /* Without rights the kernel wants a promise; with them, programs keep theirs. SPEC_ALLOW: a
     * filter is no reason to slow the program down with speculation barriers. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, filter) < 0 &&
        (errno != EACCES || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, filter) < 0))
        goto fail;
    execv(path, argv);
fail:
    error = errno;
    if (write(error_fd, &error, sizeof(error)) < 0)
        _exit(126);
    _exit(127);
}

/* Starts the program, attached and not yet running. Its pid, or a negative errno. */
static int start(struct recorder *r, const struct tracer_options *options, const char *path,
                 char *const argv[], int *ret_error_fd, struct err *err)
{
    struct sock_filter code[CALLS_FILTER_MAX];
    struct sock_fprog filter = { .len = (unsigned short)calls_filter(code), .filter = code };
    int go[2], failure[2];
    if (pipe2(go, O_CLOEXEC) < 0)
        return err_set(err, -errno, "making a pipe: %s", strerror(errno));
    CLEANUP(close_p) int go_read = go[0];
    CLEANUP(close_p) int go_write = go[1];
    if (pipe2(failure, O_CLOEXEC) < 0)
        return err_set(err, -errno, "making a pipe: %s", strerror(errno));
    CLEANUP(close_p) int failure_read = failure[0];
    CLEANUP(close_p) int failure_write = failure[1];

    pid_t pid = fork();
    if (pid < 0)
        return err_set(err, -errno, "starting '%s': %s", argv[0], strerror(errno));
    if (pid == 0) {
        close(go_write);
        child_run(options, path, argv, go_read, failure_write, &filter);
    }
    struct process *p = process_add(r, pid);
    struct task *t = p ? task_add(r, pid, p) : NULL;
    int e = t ? 0 : -ENOMEM;
    if (e == 0 && ptrace(PTRACE_SEIZE, pid, NULL, (void *)ptrace_options) < 0)
        e = -errno;
    if (e == 0 && write(go_write, "", 1) != 1)
        e = -errno;
    if (e < 0) {
        /* It waits for a byte that never comes and sees the pipe's end. */
        kill(pid, SIGKILL);
        waitpid(pid, NULL, __WALL);
        return err_set(err, e, "tracing '%s': %s", argv[0], strerror(-e));
    }
    r->root_pid = pid;
    *ret_error_fd = TAKE_FD(failure_read);
    return 0;
}

static void put_run(struct recorder *r, char *const argv[])
{
    struct utsname name;
    char cwd[PATH_MAX];
    if (uname(&name) < 0)
        name = (struct utsname){ .nodename = "", .release = "" };
    if (!getcwd(cwd, sizeof(cwd)))
        cwd[0] = '\0';
    size_t argc = 0;
    while (argv[argc])
        argc++;
    log_begin(&r->log, LOG_RUN);
    log_number(&r->log, (uint64_t)time(NULL));
    log_string(&r->log, name.nodename);
    log_string(&r->log, name.release);
    log_string(&r->log, cwd);
    log_number(&r->log, argc);
    for (size_t i = 0; i < argc; i++)
        log_string(&r->log, argv[i]);
    log_end(&r->log);
}

static void recorder_done(struct recorder *r)
{
    while (r->tasks)
        task_drop(r, r->tasks);
    while (r->processes)
        process_drop(r, r->processes);
    known_free(r);
    resolver_free(r->resolver);
}

/* The first tick is the first thing that can be due. */
static void watch_start(const struct tracer_options *options)
{
    const unsigned server_ms = TRACER_SERVER_SECONDS * 1000;
    unsigned limit = options->milliseconds;
    if (limit)
        timer_start(options->on_server && server_ms < limit ? server_ms : limit, TICK_MS);
    else if (options->on_server)
        timer_start(server_ms, WATCH_MS);
}

/* Starts and follows the program. The trace's file is the caller's to close. */
static int run(struct recorder *r, const struct tracer_options *options, const char *path,
               char *const argv[], struct tracer_end *end, struct err *err)
{
    CLEANUP(close_p) int error_fd = -1;
    int e = start(r, options, path, argv, &error_fd, err);
    if (e < 0)
        return e;
    struct sigaction saved[NSIG];
    struct ending ending = { .end = end, .start = now_ms() };
    g_forward_to = r->root_pid;
    g_signal = g_asked = g_asked_again = 0;
    signals_take(saved);
    watch_start(options);
    loop(r, options, &ending);
    signals_give_back(saved);
    g_forward_to = 0;
    end->serves = r->serves;
    /* It may have ended before the loop came to look. */
    if (!end->asked && g_asked && end->serves)
        end->asked = g_asked;
    if (!r->root_started) {
        int error = EIO;
        if (read(error_fd, &error, sizeof(error)) != sizeof(error))
            error = EIO;
        return err_set(err, -error, "starting '%s': %s", argv[0], strerror(error));
    }
    known_finish(r);
    return WIFSIGNALED(r->root_status) ? 128 + WTERMSIG(r->root_status)
                                       : WEXITSTATUS(r->root_status);
}

int tracer_run(const struct tracer_options *options, char *const argv[], struct tracer_end *ret_end,
               struct err *err)
{
    struct tracer_end end = { 0 };
    char path[PATH_MAX];
    int e = find_program(argv[0], path, sizeof(path), err);
    if (e < 0)
        return e;
    CLEANUP(free_p) struct recorder *r = calloc(1, sizeof(*r));
    if (!r || !(r->resolver = resolver_new()))
        return err_set(err, -ENOMEM, "tracing '%s': out of memory", argv[0]);
    e = log_open(&r->log, options->output, err);
    if (e < 0) {
        recorder_done(r);
        return e;
    }
    put_run(r, argv);
    int result = run(r, options, path, argv, &end, err);
    if (ret_end)
        *ret_end = end;
    e = log_close(&r->log);
    recorder_done(r);
    if (result >= 0 && e < 0)
        return err_set(err, e, "writing trace '%s': %s; it is not complete", options->output,
                       strerror(-e));
    return result;
}
