/*
 * Pending signals, who gets them, and their delivery (docs/signals.md). Tier: enclave.
 *
 * g_signal.lock is taken before the threads' lock and a queue's, never after. Nothing is allocated,
 * freed, or told to the host while it is held.
 */
#include "signal/signal.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "process/process.h"
#include "process/vfork.h"
#include "signal/state.h"
#include "sys/process.h"
#include "thread/threads.h"
#include "thread/timer.h"
#include "tree/hub.h"

#define BITS(a, b, c, d, e, f) \
    (SIGNAL_BIT(a) | SIGNAL_BIT(b) | SIGNAL_BIT(c) | SIGNAL_BIT(d) | SIGNAL_BIT(e) | SIGNAL_BIT(f))
#define FAULTS BITS(SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS)
#define DEFAULT_IGNORED \
    (SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGURG) | SIGNAL_BIT(SIGWINCH) | SIGNAL_BIT(SIGCONT))
#define STOPS \
    (SIGNAL_BIT(SIGSTOP) | SIGNAL_BIT(SIGTSTP) | SIGNAL_BIT(SIGTTIN) | SIGNAL_BIT(SIGTTOU))
/* What the host may raise at all; the manifest may name fewer. */
#define HOST_ALLOWED                                                                   \
    (BITS(SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGWINCH, SIGUSR1) | SIGNAL_BIT(SIGUSR2) | \
     SIGNAL_BIT(SIGCONT))

#define SYS_RESTART_SYSCALL 219
#define SYSCALL_SIZE        2 /* 0f 05 */

struct signal_state g_signal = { .set = { .bits = &g_signal.pending } };

struct signal_actions *signal_actions_new(void)
{
    return heap_alloc(sizeof(struct signal_actions));
}

struct signal_actions *signal_actions_copy(const struct signal_actions *from)
{
    struct signal_actions *actions = signal_actions_new();
    if (actions) {
        LOCKED(&g_signal.lock);
        *actions = *from;
    }
    return actions;
}

void signal_actions_free(struct signal_actions *actions)
{
    heap_free(actions);
}

bool signal_default_ignored(int number)
{
    return SIGNAL_BIT(number) & DEFAULT_IGNORED;
}

/* --- pending sets; the lock is held ----------------------------------------------------------- */

/* A thread that plays a vfork child takes that child's signals. What belongs to the parent's thread lies
 * aside until then. */
static bool plays_child(const struct thread *thread)
{
    const struct process *process = __atomic_load_n(&thread->process, __ATOMIC_SEQ_CST);
    return process && process->vfork;
}

/* Of the thread as its own process has it; the lock is held. */
static struct thread_signal *parents(struct thread *thread)
{
    return plays_child(thread) ? &thread->process->vfork->signal : &thread->signal;
}

static bool is_ignored(const struct signal_actions *actions, int number)
{
    uint64_t handler = actions->of[number].handler;
    return handler == HANDLER_IGNORE ||
           (handler == HANDLER_DEFAULT && signal_default_ignored(number));
}

static void set_push(struct signal_set *set, struct signal_entry *entry)
{
    entry->next = NULL;
    *(set->first ? &set->last->next : &set->first) = entry;
    set->last = entry;
    g_signal.queued++;
}

/* Takes the first entry of that number off; NULL if there is none. *ret_more: there is another one.
 */
static struct signal_entry *set_pull(struct signal_set *set, int number, bool *ret_more)
{
    struct signal_entry *found = NULL, *before = NULL, *previous = NULL;
    bool more = false;
    for (struct signal_entry *e = set->first; e; previous = e, e = e->next) {
        if (e->info.number != number)
            continue;
        if (found) {
            more = true;
            break;
        }
        found = e;
        before = previous;
    }
    if (found) {
        *(before ? &before->next : &set->first) = found->next;
        if (set->last == found)
            set->last = before;
        g_signal.queued--;
    }
    *ret_more = more;
    return found;
}

/* Takes signal number off the set, whose bit is set. *ret_entry is to be freed. */
static void set_take(struct signal_set *set, int number, struct signal_info *ret,
                     struct signal_entry **ret_entry)
{
    bool more;
    struct signal_entry *entry = set_pull(set, number, &more);
    *ret = entry ? entry->info : (struct signal_info){ .number = number, .code = SI_USER };
    *ret_entry = entry;
    if (!more)
        __atomic_fetch_and(set->bits, ~SIGNAL_BIT(number), __ATOMIC_SEQ_CST);
}

static int lowest(uint64_t set)
{
    if (set & FAULTS)
        set &= FAULTS;
    return set ? __builtin_ctzll(set) + 1 : 0;
}

struct signal_entry *signal_flush(uint64_t set);

static struct signal_entry *flush_one(struct signal_set *set, uint64_t numbers,
                                      struct signal_entry *chain)
{
    uint64_t hit;
    while ((hit = *set->bits & numbers)) {
        struct signal_info info;
        struct signal_entry *entry;
        set_take(set, __builtin_ctzll(hit) + 1, &info, &entry);
        if (entry) {
            entry->next = chain;
            chain = entry;
        }
    }
    return chain;
}

struct flush {
    uint64_t numbers;
    struct signal_entry *chain;
};

static void flush_private(struct signal_private *private, struct flush *flush)
{
    if (!private)
        return;
    if (private->forced && SIGNAL_BIT(private->forced_info.number) & flush->numbers)
    private->forced = false;
    flush->chain = flush_one(&private->set, flush->numbers, flush->chain);
}

static void flush_thread(struct thread *thread, void *arg)
{
    flush_private(parents(thread)->private, arg);
}

/* Of the enclave's process, or of the child that the calling thread plays. */
static struct signal_entry *flush_of(bool childs, uint64_t numbers)
{
    struct flush flush = { .numbers = numbers };
    if (childs) {
        flush_private(signal_private(current()), &flush);
        return flush.chain;
    }
    flush.chain = flush_one(&g_signal.set, numbers, NULL);
    threads_each(flush_thread, &flush);
    return flush.chain;
}

struct signal_entry *signal_flush(uint64_t numbers)
{
    return flush_of(plays_child(current()), numbers);
}

void signal_entries_free(struct signal_entry *entries)
{
    while (entries) {
        struct signal_entry *next = entries->next;
        heap_free(entries);
        entries = next;
    }
}

/* --- who gets it ------------------------------------------------------------------------------ */

static uint64_t pending_for(const struct thread *thread)
{
    uint64_t own = __atomic_load_n(&thread->signal.pending, __ATOMIC_SEQ_CST);
    return plays_child(thread) ? own : own | __atomic_load_n(&g_signal.pending, __ATOMIC_SEQ_CST);
}

uint64_t signal_pending(const struct thread *thread)
{
    return pending_for(thread);
}

uint32_t signal_pending_infos(struct signal_info *ret, uint32_t room)
{
    uint32_t count = 0;
    LOCKED(&g_signal.lock);
    const struct signal_private *private = signal_private(current());
    for (const struct signal_entry *e = private->set.first; e && count < room; e = e->next)
        ret[count++] = e->info;
    if (!plays_child(current()))
        for (const struct signal_entry *e = g_signal.set.first; e && count < room; e = e->next)
            ret[count++] = e->info;
    return count;
}

void signal_sets_get(struct signal_sets *ret)
{
    LOCKED(&g_signal.lock);
    const struct thread *thread = current();
    *ret = (struct signal_sets){
        .thread_pending = thread->signal.pending,
        .process_pending = plays_child(thread) ? 0 : g_signal.pending,
        .blocked = thread->signal.mask,
    };
    const struct signal_actions *actions = process_current()->actions;
    for (int i = 1; i <= SIGNAL_MAX; i++) {
        uint64_t handler = actions->of[i].handler;
        *(handler == HANDLER_IGNORE ? &ret->ignored : &ret->caught) |=
            handler == HANDLER_DEFAULT ? 0 : SIGNAL_BIT(i);
    }
}

static uint64_t mask_of(const struct thread *thread)
{
    return __atomic_load_n(&thread->signal.mask, __ATOMIC_SEQ_CST);
}

static void set_work(struct thread *thread)
{
    __atomic_fetch_or(&thread->work, THREAD_WORK_SIGNAL, __ATOMIC_SEQ_CST);
}

void signal_update(struct thread *thread)
{
    if (pending_for(thread) & ~mask_of(thread))
        set_work(thread);
}

struct choice {
    uint64_t bit;
    struct thread *not_this;
    struct thread *thread;
};

/* The main thread comes first in threads_each; the first that does not block it is taken. */
static void choose(struct thread *thread, void *arg)
{
    struct choice *choice = arg;
    if (!choice->thread && thread != choice->not_this && !plays_child(thread) &&
        !(mask_of(thread) & choice->bit))
        choice->thread = thread;
}

static void wake_waiting(struct thread *thread, void *arg)
{
    const uint64_t *bit = arg;
    if (__atomic_load_n(&thread->signal.wait_set, __ATOMIC_SEQ_CST) & *bit)
        thread_unpark(thread);
}

/* The signal is in a set: tells the thread that shall take it. */
static void announce(struct thread *thread, int number)
{
    uint64_t bit = SIGNAL_BIT(number);
    struct choice choice = { .bit = bit, .thread = thread };
    if (!thread)
        threads_each(choose, &choice);
    if (choice.thread && !(mask_of(choice.thread) & bit)) {
        set_work(choice.thread);
        thread_interrupt(choice.thread);
    }
    if (thread)
        wake_waiting(thread, &bit);
    else
        threads_each(wake_waiting, &bit);
    waitq_wake(&g_signal.watchers, UINT32_MAX);
}

/* --- stopping ---------------------------------------------------------------------------------- */

/* What a signal does by being sent, whoever blocks or ignores it: SIGCONT and those that stop undo each other,
 * SIGCONT and SIGKILL let a stopped process go on. The lock is held. Returns the entries to free. */
static struct signal_entry *sent(bool childs, int number, bool *ret_resumed)
{
    uint64_t bit = SIGNAL_BIT(number);
    if (!childs && (number == SIGCONT || number == SIGKILL)) {
        g_signal.resumes++;
        *ret_resumed = g_signal.stopped;
        __atomic_store_n(&g_signal.stopped, false, __ATOMIC_SEQ_CST);
    }
    return number == SIGCONT ? flush_of(childs, STOPS)
           : bit & STOPS     ? flush_of(childs, SIGNAL_BIT(SIGCONT))
                             : NULL;
}

static void go_on(struct thread *thread, void *arg UNUSED)
{
    thread_unpark(thread);
}

static void go_stop(struct thread *thread, void *arg UNUSED)
{
    set_work(thread);
    thread_interrupt(thread);
}

static bool is_stopped(const struct thread *thread)
{
    return __atomic_load_n(&g_signal.stopped, __ATOMIC_SEQ_CST) && !plays_child(thread);
}

/* SIGCHLD for a child that was stopped or goes on is not for who has SA_NOCLDSTOP. */
static bool not_told(const struct signal_actions *actions, const struct signal_info *info)
{
    return info->number == SIGCHLD && (info->code == CLD_STOPPED || info->code == CLD_CONTINUED) &&
           actions->of[SIGCHLD].flags & SA_NOCLDSTOP;
}

int signal_queue(struct thread *thread, const struct signal_info *info)
{
    int number = info->number;
    uint64_t bit = SIGNAL_BIT(number);
    bool realtime = number >= SIGRTMIN;
    struct signal_entry *entry = heap_alloc(sizeof(*entry));
    int ret = 0;
    bool added = false, resumed = false;

    lock_take(&g_signal.lock);
    /* What a thread sends itself while it plays a child is the child's; what others and timers send, its
     * own. */
    bool childs = thread && thread == current() && plays_child(thread) && info->code != SI_TIMER;
    struct signal_entry *undone = sent(childs, number, &resumed);
    struct thread_signal *signal =
        childs ? &thread->signal : parents(thread ? thread : thread_at(0));
    struct signal_private *private = thread ? signal->private : NULL;
    struct signal_set *set = thread ? (private ? &private->set : NULL) : &g_signal.set;
    const struct signal_actions *actions = childs ? process_current()->actions : g_process.actions;
    if (!set || not_told(actions, info) || (is_ignored(actions, number) && !(signal->mask & bit))) {
        /* The thread has ended, or nobody wants it: gone. */
    } else if (!realtime && *set->bits & bit) {
        /* Already pending: gone. */
    } else {
        bool full = g_signal.queued >= SIGNAL_QUEUE_MAX;
        if (entry && (!full || !realtime)) {
            entry->info = *info;
            set_push(set, TAKE_PTR(entry));
        } else if (realtime && info->code != SI_USER) {
            ret = -EAGAIN;
        }
        if (ret == 0) {
            __atomic_fetch_or(set->bits, bit, __ATOMIC_SEQ_CST);
            added = true;
        }
    }
    lock_drop(&g_signal.lock);

    heap_free(entry);
    signal_entries_free(undone);
    if (resumed) {
        threads_each(go_on, NULL);
        process_continued();
    }
    if (added)
        announce(thread, number);
    return ret;
}

void signal_send_thread(struct thread *thread, const struct signal_info *info)
{
    (void)!signal_queue(thread, info);
}

void signal_send_process(const struct signal_info *info)
{
    (void)!signal_queue(NULL, info);
}

void signal_force(struct thread *thread, const struct signal_info *info)
{
    int number = info->number;
    uint64_t bit = SIGNAL_BIT(number);
    struct signal_private *private = signal_private(thread);

    lock_take(&g_signal.lock);
    struct signal_action *action = &process_current()->actions->of[number];
    if (thread->signal.mask & bit || action->handler == HANDLER_IGNORE) {
        *action = (struct signal_action){ .handler = HANDLER_DEFAULT };
        __atomic_fetch_and(&thread->signal.mask, ~bit, __ATOMIC_SEQ_CST);
    }
    private->forced = true;
    private->forced_info = *info;
    private->fault_vector = info->vector;
    private->fault_error = info->error_code;
    private->fault_address = info->address;
    __atomic_fetch_or(&thread->signal.pending, bit, __ATOMIC_SEQ_CST);
    lock_drop(&g_signal.lock);
    set_work(thread);
}

/* --- masks ------------------------------------------------------------------------------------ */

/* Somebody else may have to take what this thread blocks now. */
static void retarget(uint64_t blocked)
{
    uint64_t left = __atomic_load_n(&g_signal.pending, __ATOMIC_SEQ_CST) & blocked;
    for (; left; left &= left - 1) {
        struct choice choice = { .bit = left & -left, .not_this = current() };
        threads_each(choose, &choice);
        if (choice.thread) {
            set_work(choice.thread);
            thread_interrupt(choice.thread);
        }
    }
}

void signal_set_mask(uint64_t mask)
{
    struct thread *thread = current();
    mask &= ~SIGNAL_UNMASKABLE;
    uint64_t newly = mask & ~thread->signal.mask;
    __atomic_store_n(&thread->signal.mask, mask, __ATOMIC_SEQ_CST);
    if (newly)
        retarget(newly);
    signal_update(thread);
}

void signal_mask_swap(uint64_t mask)
{
    struct thread_signal *signal = &current()->signal;
    signal->saved_mask = signal->mask;
    signal->have_saved_mask = true;
    signal_set_mask(mask);
}

void signal_mask_restore(void)
{
    struct thread_signal *signal = &current()->signal;
    if (!signal->have_saved_mask)
        return;
    signal->have_saved_mask = false;
    signal_set_mask(signal->saved_mask);
}

/* --- threads ---------------------------------------------------------------------------------- */

int signal_thread_init(struct thread *thread, uint64_t mask)
{
    struct signal_private *private = heap_alloc(sizeof(*private));
    if (!private)
        return -ENOMEM;
    private->set.bits = &thread->signal.pending;
    thread->signal.mask = mask & ~SIGNAL_UNMASKABLE;
    thread->signal.private = private;
    return 0;
}

void signal_thread_free(struct thread *thread)
{
    lock_take(&g_signal.lock);
    struct signal_private *private = signal_private(thread);
    thread->signal.private = NULL;
    struct signal_entry *chain = flush_one(&private->set, UINT64_MAX, NULL);
    lock_drop(&g_signal.lock);
    signal_entries_free(chain);
    heap_free(private);
}

void signal_thread_done(void)
{
    signal_set_mask(UINT64_MAX); /* what was this thread's to take goes to others */
    signal_thread_free(current());
}

/* --- vfork ------------------------------------------------------------------------------------- */

void signal_vfork_begin(struct vfork *vfork)
{
    struct thread *thread = current();
    lock_take(&g_signal.lock);
    vfork->signal = thread->signal;
    signal_private(thread)->set.bits = &vfork->signal.pending;
    thread->signal.have_saved_mask = false;
    vfork->private->set.bits = &thread->signal.pending;
    thread->signal.private = TAKE_PTR(vfork->private);
    __atomic_store_n(&thread->signal.pending, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&thread->process, &vfork->child, __ATOMIC_SEQ_CST);
    lock_drop(&g_signal.lock);
    retarget(UINT64_MAX); /* others may take now what this thread was to */
}

void signal_vfork_end(struct vfork *vfork)
{
    struct thread *thread = current();
    lock_take(&g_signal.lock);
    struct signal_private *private = signal_private(thread);
    struct signal_entry *chain = flush_one(&private->set, UINT64_MAX, NULL);
    uint64_t mask = vfork->signal.mask, pending = vfork->signal.pending;
    vfork->signal.mask = thread->signal.mask;
    vfork->signal.pending = 0;
    thread->signal = vfork->signal;
    __atomic_store_n(&thread->signal.pending, pending, __ATOMIC_SEQ_CST);
    __atomic_store_n(&thread->signal.mask, mask, __ATOMIC_SEQ_CST);
    signal_private(thread)->set.bits = &thread->signal.pending;
    __atomic_store_n(&thread->process, vfork->parent, __ATOMIC_SEQ_CST);
    lock_drop(&g_signal.lock);
    signal_entries_free(chain);
    heap_free(private);
    set_work(thread); /* who came meanwhile, and what the host has */
}

struct childs_signal {
    int32_t pid;
    const struct signal_info *info;
    struct thread *thread;
};

static void find_child(struct thread *thread, void *arg)
{
    struct childs_signal *want = arg;
    const struct process *process = __atomic_load_n(&thread->process, __ATOMIC_SEQ_CST);
    if (process && process->vfork && process->pid == want->pid)
        want->thread = thread;
}

bool vfork_signal(int32_t pid, const struct signal_info *info)
{
    struct childs_signal want = { .pid = pid, .info = info };
    struct signal_entry *entry = heap_alloc(sizeof(*entry));
    bool added = false;
    lock_take(&g_signal.lock); /* threads begin and end playing under it */
    threads_each(find_child, &want);
    struct thread *thread = want.thread;
    if (thread) {
        uint64_t bit = SIGNAL_BIT(info->number);
        struct signal_private *private = signal_private(thread);
        if (!(is_ignored(thread->process->actions, info->number) && !(mask_of(thread) & bit)) &&
            !(private->set.bits[0] & bit)) {
            if (entry) {
                entry->info = *info;
                set_push(&private->set, TAKE_PTR(entry));
            }
            __atomic_fetch_or(private->set.bits, bit, __ATOMIC_SEQ_CST);
            added = true;
        }
    }
    lock_drop(&g_signal.lock);
    heap_free(entry);
    if (added) {
        set_work(thread);
        thread_interrupt(thread);
    }
    return thread != NULL;
}

void restart_set(restart_fn *fn, const uint64_t args[static RESTART_ARGS])
{
    struct signal_private *private = signal_private(current());
    private->restart = fn;
    memcpy(private->restart_args, args, sizeof(private->restart_args));
}

/* --- the host --------------------------------------------------------------------------------- */

void signal_collect_host(void)
{
    if (signal_host_any() || timer_due())
        set_work(current());
}

static void from_host(uint64_t came)
{
    for (; came; came &= came - 1) {
        int number = __builtin_ctzll(came) + 1;
        if (!hub_host_signal(number))
            signal_send_process(&(struct signal_info){ .number = number, .code = SI_KERNEL });
    }
}

void signal_pass_on(void)
{
    if (hub_is_here() && signal_host_any())
        from_host(signal_host_take() & HOST_ALLOWED & process_node()->async_signals);
}

/* Does what signal_collect_host() only noted. No locks are held. */
static void collect(void)
{
    if (hub_is_here())
        signal_pass_on();
    else if (signal_host_any() && signal_host_take() & SIGNAL_BIT(SIGURG))
        hub_events_fetch(); /* from elsewhere in the tree: the hub says what */
    if (timer_due())
        timer_run();
}

/* --- delivery --------------------------------------------------------------------------------- */

bool signal_deliverable(const struct thread *thread)
{
    if (thread != current())
        return pending_for(thread) & ~mask_of(thread);
    collect();
    if (!(pending_for(thread) & ~mask_of(thread)) && !is_stopped(thread))
        return false;
    /* Who asks is about to give up a call, and somebody must translate its ERESTART*, also if
     * another thread takes the signal. */
    set_work(current());
    return true;
}

int signal_take(struct thread *thread, uint64_t set, struct signal_info *ret)
{
    struct signal_private *private = signal_private(thread);
    struct signal_entry *entry = NULL;
    int number = 0;

    if (!private || !(pending_for(thread) & set))
        return 0;
    lock_take(&g_signal.lock);
    number = lowest(thread->signal.pending & set);
    if (number && private->forced && private->forced_info.number == number) {
        *ret = private->forced_info;
        private->forced = false;
        bool more = false;
        for (struct signal_entry *e = private->set.first; e && !more; e = e->next)
            more = e->info.number == number;
        if (!more)
            __atomic_fetch_and(&thread->signal.pending, ~SIGNAL_BIT(number), __ATOMIC_SEQ_CST);
    } else if (number) {
        set_take(&private->set, number, ret, &entry);
    } else if (!plays_child(thread) && (number = lowest(g_signal.pending & set))) {
        set_take(&g_signal.set, number, ret, &entry);
    }
    lock_drop(&g_signal.lock);
    heap_free(entry);
    return number;
}

static void restart_call(struct regs *regs, uint64_t number)
{
    regs->rax = number;
    regs->rip -= SYSCALL_SIZE;
}

/* Translates an internal result; handler: one is about to run, with these flags. */
static void finish_call(struct regs *regs, bool handler, uint64_t flags)
{
    if (regs->orig_rax == UINT64_MAX)
        return;
    switch (-(int64_t)regs->rax) {
    case ERESTARTSYS:
        if (handler && !(flags & SA_RESTART))
            regs->rax = (uint64_t)-EINTR;
        else
            restart_call(regs, regs->orig_rax);
        break;
    case ERESTARTNOINTR: restart_call(regs, regs->orig_rax); break;
    case ERESTARTNOHAND:
        if (handler)
            regs->rax = (uint64_t)-EINTR;
        else
            restart_call(regs, regs->orig_rax);
        break;
    case ERESTART_RESTARTBLOCK:
        if (handler)
            regs->rax = (uint64_t)-EINTR;
        else
            restart_call(regs, SYS_RESTART_SYSCALL);
        break;
    default: break;
    }
    regs->orig_rax = UINT64_MAX;
}

/* Runs the handler as soon as the thread is back in the program. */
static void enter_handler(struct regs *regs, const struct signal_info *info,
                          const struct signal_action *action)
{
    struct thread *thread = current();
    finish_call(regs, true, action->flags);

    uint64_t mask =
        thread->signal.have_saved_mask ? thread->signal.saved_mask : thread->signal.mask;
    if (!(action->flags & SA_RESTORER) || !signal_frame_push(regs, info, action, mask)) {
        if (info->number == SIGSEGV)
            process_killed(SIGSEGV);
        signal_force(thread, &(struct signal_info){ .number = SIGSEGV, .code = SI_KERNEL });
        return;
    }
    thread->signal.have_saved_mask = false;
    uint64_t blocked = thread->signal.mask | action->mask;
    if (!(action->flags & SA_NODEFER))
        blocked |= SIGNAL_BIT(info->number);
    signal_set_mask(blocked);
}

void signal_park_stopped(void)
{
    struct thread *thread = current();
    while (is_stopped(thread) && !process_ending() &&
           !(__atomic_load_n(&thread->work, __ATOMIC_SEQ_CST) & THREAD_WORK_EXIT)) {
        thread_park_once();
        collect();
    }
}

/* The default action of a signal that stops. resumes: as it was before the signal was taken. */
static void stop(int number, uint64_t resumes)
{
    if (plays_child(current())) {
        log_note("a child between vfork and exec is not stopped by signals");
        return;
    }
    lock_take(&g_signal.lock);
    bool late = g_signal.resumes != resumes || g_signal.stopped;
    if (!late)
        __atomic_store_n(&g_signal.stopped, true, __ATOMIC_SEQ_CST);
    lock_drop(&g_signal.lock);
    if (late)
        return;
    /* Said before anybody can be told to go on; the answer may be that nobody could tell it. */
    if (process_stopped(number) < 0) {
        __atomic_store_n(&g_signal.stopped, false, __ATOMIC_SEQ_CST);
        threads_each(go_on, NULL);
        return;
    }
    threads_each(go_stop, NULL);
}

/* Once the process goes on. */
static int take_next(struct thread *thread, struct signal_info *ret, uint64_t *ret_resumes)
{
    signal_park_stopped();
    *ret_resumes = __atomic_load_n(&g_signal.resumes, __ATOMIC_SEQ_CST);
    return signal_take(thread, ~mask_of(thread), ret);
}

void signal_deliver(struct regs *regs)
{
    struct thread *thread = current();
    struct signal_info info;
    uint64_t resumes;
    int number;

    __atomic_fetch_and(&thread->work, ~(uint64_t)THREAD_WORK_SIGNAL, __ATOMIC_SEQ_CST);
    collect();
    while ((number = take_next(thread, &info, &resumes))) {
        lock_take(&g_signal.lock);
        struct signal_action *own = &process_current()->actions->of[number], action = *own;
        if (action.handler > HANDLER_IGNORE && action.flags & SA_RESETHAND)
            own->handler = HANDLER_DEFAULT;
        lock_drop(&g_signal.lock);

        if (action.handler == HANDLER_IGNORE)
            continue;
        if (action.handler != HANDLER_DEFAULT)
            enter_handler(regs, &info, &action);
        else if (SIGNAL_BIT(number) & STOPS)
            stop(number, resumes);
        else if (!signal_default_ignored(number))
            process_killed(number);
    }
    finish_call(regs, false, 0);
    signal_mask_restore();
}
