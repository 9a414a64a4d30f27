/* The tree's process table (src/enclave/tree/ptable.c), over fakes of what it tells. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "border/border.h"
#include "core/attr.h"
#include "mm/heap.h"
#include "process/process.h"
#include "tree/ptable.h"

#define ROOT PTABLE_ROOT_PID

/* --- fakes ----------------------------------------------------------------------------------------- */

static struct manifest_node g_node = { .uid = 1000 };
static int g_locked, g_errors;
static bool g_no_memory;
static struct waitq *g_woken;

static struct {
    int32_t pid;
    struct signal_info info;
} g_told[64];
static unsigned g_told_count;

const struct manifest_node *process_node(void)
{
    return &g_node;
}

void lock_take(struct lock *lock)
{
    if (lock->word)
        abort();
    lock->word = 1;
    g_locked++;
}

void lock_drop(struct lock *lock)
{
    lock->word = 0;
    g_locked--;
}

void log_error(const char *format UNUSED, ...)
{
    g_errors++;
}

void *heap_alloc(size_t size)
{
    return g_no_memory ? NULL : calloc(1, size);
}

void *heap_realloc(void *p, size_t size)
{
    return g_no_memory ? NULL : realloc(p, size);
}

void heap_free(void *p)
{
    free(p);
}

uint32_t waitq_wake(struct waitq *queue, uint32_t max UNUSED)
{
    if (g_locked)
        abort();
    g_woken = queue;
    return 0;
}

void ptable_tell(int32_t pid, const struct signal_info *info)
{
    if (g_locked || g_told_count == ARRAY_SIZE(g_told))
        abort();
    g_told[g_told_count].pid = pid;
    g_told[g_told_count++].info = *info;
}

/* --- helpers --------------------------------------------------------------------------------------- */

static int32_t born(int32_t parent)
{
    int32_t pid = ptable_new(parent, SIGCHLD);
    assert_true(pid > ROOT);
    assert_true(ptable_unborn(pid, parent));
    assert_true(ptable_started(pid));
    assert_false(ptable_unborn(pid, parent));
    return pid;
}

/* What has no enclave yet goes with its parent, or is its parent's to end; nobody else's. */
static void test_unborn(void **state UNUSED)
{
    int32_t a = born(ROOT), b = ptable_new(a, SIGCHLD), c = ptable_new(a, SIGCHLD);
    assert_false(ptable_unborn(b, ROOT));
    ptable_exit(c, 0, 0, 0);
    assert_false(ptable_unborn(c, a)); /* it has ended: its pid is nobody's to start */
    ptable_exit(a, 0, 0, 0);
    assert_int_equal(ptable_getpgid(ROOT, b), -ESRCH);
    assert_int_equal(ptable_getpgid(ROOT, c), -ESRCH);
    assert_false(ptable_started(b));
}

static bool told(int32_t pid, int number)
{
    for (unsigned i = 0; i < g_told_count; i++)
        if (g_told[i].pid == pid && g_told[i].info.number == number)
            return true;
    return false;
}

static int waited(int32_t self, int idtype, int32_t id, int options)
{
    struct ptable_waited w = { .pid = -1, .status = -1 };
    int r = ptable_wait(self, idtype, id, options, &w);
    return r < 0 ? r : w.pid;
}

/* Ends and reaps all that is left, so that tests do not see each other's. */
static int clear(void **state UNUSED)
{
    for (int32_t pid = ROOT + 1; pid < PTABLE_PID_LIMIT; pid++)
        ptable_forget(pid);
    ptable_set_nowait(ROOT, false);
    ptable_init(UINT32_MAX);
    g_told_count = 0;
    g_errors = 0;
    g_no_memory = false;
    assert_int_equal(ptable_alive(), 1);
    return 0;
}

/* --- tests ------------------------------------------------------------------------------------------ */

static void test_life(void **state UNUSED)
{
    struct ptable_waited w;
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), -ECHILD);
    int32_t a = born(ROOT);
    assert_int_equal(ptable_getppid(a), ROOT);
    assert_int_equal(ptable_getppid(ROOT), 1);
    assert_int_equal(ptable_getpgid(a, 0), ROOT);
    assert_int_equal(ptable_getsid(a, 0), ROOT);
    assert_int_equal(ptable_alive(), 2);
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), -EAGAIN);
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED | WNOHANG), 0);

    g_woken = NULL;
    ptable_exit(a, 5 << 8, 11, 22);
    assert_ptr_equal(g_woken, ptable_queue(ROOT));
    assert_int_equal(ptable_alive(), 1);
    assert_int_equal(g_told_count, 1);
    assert_int_equal(g_told[0].pid, ROOT);
    const struct signal_info *info = &g_told[0].info;
    assert_int_equal(info->number, SIGCHLD);
    assert_int_equal(info->code, CLD_EXITED);
    assert_int_equal(info->pid, a);
    assert_int_equal(info->uid, 1000);
    assert_int_equal(info->value, 5);

    ptable_exit(a, 9, 0, 0); /* it has ended already */
    assert_int_equal(g_told_count, 1);
    assert_int_equal(ptable_wait(ROOT, P_ALL, 0, WEXITED | WNOWAIT, &w), 0);
    assert_int_equal(w.pid, a);
    assert_int_equal(ptable_wait(ROOT, P_PID, a, WEXITED, &w), 0);
    assert_int_equal(w.pid, a);
    assert_int_equal(w.status, 5 << 8);
    assert_int_equal(w.user_us, 11);
    assert_int_equal(w.system_us, 22);
    assert_int_equal(waited(ROOT, P_PID, a, WEXITED | WNOHANG), -ECHILD);
    assert_true(born(ROOT) != a);
}

static const struct {
    const char *name;
    int32_t status;
    int code;
    uint64_t value;
} ends[] = {
    { "exit 0", 0, CLD_EXITED, 0 },
    { "exit 255", 255 << 8, CLD_EXITED, 255 },
    { "SIGKILL", SIGKILL, CLD_KILLED, SIGKILL },
    { "SIGSEGV with core", SIGSEGV | 0x80, CLD_DUMPED, SIGSEGV },
};

static void test_child_info(void **state UNUSED)
{
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        g_told_count = 0;
        ptable_exit(born(ROOT), ends[i].status, 0, 0);
        if (g_told[0].info.code != ends[i].code || g_told[0].info.value != ends[i].value)
            fail_msg("%s: code %d", ends[i].name, g_told[0].info.code);
    }
}

/* Which children a wait means. a and b are in the root's group, c leads its own; b and c have ended, b's
 * grandchild too. */
static void test_wait_which(void **state UNUSED)
{
    int32_t a = born(ROOT), b = born(ROOT), c = born(ROOT), deep = born(a);
    assert_int_equal(ptable_setpgid(ROOT, c, 0), 0);
    ptable_exit(c, 0, 0, 0);
    ptable_exit(b, 0, 0, 0);
    ptable_exit(deep, 0, 0, 0);
    const struct {
        const char *name;
        int idtype;
        int32_t id;
        int options, want;
    } rows[] = {
        { "one that runs", P_PID, a, WEXITED, -EAGAIN },
        { "one that runs, no hang", P_PID, a, WEXITED | WNOHANG, 0 },
        { "not a child", P_PID, deep, WEXITED, -ECHILD },
        { "itself", P_PID, ROOT, WEXITED, -ECHILD },
        { "nobody", P_PID, 31000, WEXITED, -ECHILD },
        { "group", P_PGID, c, WEXITED | WNOWAIT, c },
        { "own group", P_PGID, ROOT, WEXITED | WNOWAIT, b },
        { "group of nobody", P_PGID, 31000, WEXITED, -ECHILD },
        { "stopped only", P_ALL, 0, WSTOPPED | WNOHANG, 0 },
        { "continued only", P_ALL, 0, WCONTINUED, -EAGAIN },
        { "clone children", P_ALL, 0, (int)(WEXITED | __WCLONE), -ECHILD },
        { "all sorts", P_ALL, 0, (int)(WEXITED | WNOWAIT | __WALL | __WCLONE), b },
        { "the first born", P_ALL, 0, WEXITED, b },
        { "the next", P_ALL, 0, WEXITED, c },
        { "none left that ended", P_ALL, 0, WEXITED | WNOHANG, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int got = waited(ROOT, rows[i].idtype, rows[i].id, rows[i].options);
        if (got != rows[i].want)
            fail_msg("%s: got %d, want %d", rows[i].name, got, rows[i].want);
    }
    assert_int_equal(waited(a, P_ALL, 0, WEXITED), deep);
}

/* Times go up with each wait, as RUSAGE_CHILDREN's do. */
static void test_times(void **state UNUSED)
{
    int32_t a = born(ROOT), deep = born(a), lost = born(a);
    ptable_exit(deep, 0, 100, 10);
    assert_int_equal(waited(a, P_ALL, 0, WEXITED), deep);
    ptable_exit(lost, 0, 5000, 5000); /* nobody waits for it */
    ptable_exit(a, 0, 3, 2);
    struct ptable_waited w;
    assert_int_equal(ptable_wait(ROOT, P_ALL, 0, WEXITED, &w), 0);
    assert_int_equal(w.user_us, 103);
    assert_int_equal(w.system_us, 12);
}

static void test_orphans(void **state UNUSED)
{
    int32_t a = born(ROOT), alive = born(a), zombie = born(a), asks = born(a), other = born(ROOT);
    assert_int_equal(ptable_pdeathsig(asks, SIGTERM), 0);
    assert_int_equal(ptable_pdeathsig(other, SIGTERM), 0);
    assert_int_equal(ptable_pdeathsig(asks, 65), -EINVAL);
    ptable_exit(zombie, 0, 0, 0);
    g_told_count = 0;
    ptable_exit(a, 0, 0, 0);
    assert_int_equal(g_told_count, 2);
    assert_true(told(ROOT, SIGCHLD));
    assert_true(told(asks, SIGTERM));
    assert_int_equal(ptable_getppid(alive), 1);
    assert_int_equal(ptable_getpgid(ROOT, zombie), -ESRCH);
    assert_int_equal(ptable_kill(ROOT, alive, &(struct signal_info){ .number = 0 }), 0);
    g_told_count = 0;
    ptable_exit(alive, 0, 0, 0); /* init takes it at once */
    assert_int_equal(g_told_count, 0);
    assert_int_equal(ptable_getpgid(ROOT, alive), -ESRCH);
    assert_int_equal(waited(ROOT, P_PID, alive, WEXITED), -ECHILD);
}

static unsigned told_code(int32_t pid, int code)
{
    unsigned count = 0;
    for (unsigned i = 0; i < g_told_count; i++)
        count +=
            g_told[i].pid == pid && g_told[i].info.number == SIGCHLD && g_told[i].info.code == code;
    return count;
}

static void test_stopped(void **state UNUSED)
{
    int32_t a = born(ROOT);
    struct ptable_waited w;
    struct signal_info cont = { .number = SIGCONT };
    assert_int_equal(ptable_stopped(a, SIGTSTP), 0);
    assert_int_equal(told_code(ROOT, CLD_STOPPED), 1);
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), -EAGAIN);
    assert_int_equal(waited(ROOT, P_ALL, 0, WCONTINUED), -EAGAIN);
    assert_int_equal(waited(ROOT, P_ALL, 0, WSTOPPED | WNOWAIT), a);
    assert_int_equal(ptable_wait(ROOT, P_ALL, 0, WSTOPPED, &w), 0);
    assert_int_equal(w.status, SIGTSTP << 8 | 0x7f);
    assert_int_equal(waited(ROOT, P_ALL, 0, WSTOPPED), -EAGAIN); /* told once */
    g_woken = NULL;
    assert_int_equal(ptable_kill(ROOT, a, &cont), 0);
    assert_ptr_equal(g_woken, ptable_queue(ROOT));
    ptable_continued(a); /* its own word changes nothing */
    assert_int_equal(told_code(ROOT, CLD_CONTINUED), 1);
    assert_int_equal(waited(ROOT, P_ALL, 0, WSTOPPED), -EAGAIN);
    assert_int_equal(ptable_wait(ROOT, P_ALL, 0, WCONTINUED, &w), 0);
    assert_int_equal(w.status, 0xffff);
    assert_int_equal(waited(ROOT, P_ALL, 0, WCONTINUED), -EAGAIN);
    /* What goes on is not said to be stopped any more; and an end is all there is to tell. */
    assert_int_equal(ptable_stopped(a, SIGSTOP), 0);
    ptable_continued(a);
    assert_int_equal(waited(ROOT, P_ALL, 0, WSTOPPED), -EAGAIN);
    assert_int_equal(ptable_stopped(a, SIGSTOP), 0);
    ptable_exit(a, SIGKILL, 0, 0);
    assert_int_equal(waited(ROOT, P_ALL, 0, WSTOPPED | WCONTINUED), -EAGAIN);
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED | WSTOPPED), a);
    assert_int_equal(ptable_stopped(a, SIGSTOP), -ESRCH);
}

/* A group that nobody can continue: job control does not stop it, and what is stopped hears of it. */
static void test_orphaned_group(void **state UNUSED)
{
    int32_t shell = born(ROOT);
    assert_int_equal(ptable_setsid(shell), shell);
    assert_int_equal(ptable_stopped(shell, SIGTSTP), -EPERM); /* its parent is in another session */
    assert_int_equal(ptable_stopped(shell, SIGSTOP), 0);
    ptable_continued(shell);
    int32_t job = born(shell), mate = born(job);
    assert_int_equal(ptable_setpgid(shell, job, job), 0);
    assert_int_equal(ptable_setpgid(job, mate, job), 0);
    assert_int_equal(ptable_stopped(job, SIGTTIN), 0);
    assert_int_equal(ptable_stopped(mate, SIGTTIN), 0);
    g_told_count = 0;
    ptable_exit(shell, 0, 0, 0);
    assert_true(told(job, SIGHUP) && told(job, SIGCONT) && told(mate, SIGHUP) &&
                told(mate, SIGCONT));
    assert_int_equal(ptable_stopped(mate, SIGTSTP), -EPERM);
}

static void test_nowait(void **state UNUSED)
{
    int32_t before = born(ROOT), a = born(ROOT), b = born(ROOT);
    ptable_exit(before, 0, 0, 0);
    ptable_set_nowait(ROOT, true);
    g_told_count = 0;
    g_woken = NULL;
    ptable_exit(a, 0, 0, 0);
    assert_true(told(ROOT, SIGCHLD)); /* SA_NOCLDWAIT with a handler */
    assert_ptr_equal(g_woken, ptable_queue(ROOT));
    assert_int_equal(waited(ROOT, P_PID, a, WEXITED), -ECHILD);
    assert_int_equal(waited(ROOT, P_PID, b, WEXITED), -EAGAIN);
    ptable_exit(b, 0, 0, 0);
    /* What had ended before stays. */
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), before);
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), -ECHILD);
}

/* Children that end without SIGCHLD are waited for by name only; SIGCHLD ignored is not about them. */
static void test_exit_signal(void **state UNUSED)
{
    assert_int_equal(ptable_new(ROOT, -1), -EINVAL);
    assert_int_equal(ptable_new(ROOT, 65), -EINVAL);
    int32_t quiet = ptable_new(ROOT, 0), other = ptable_new(ROOT, SIGUSR1),
            third = ptable_new(ROOT, 0);
    assert_true(quiet > 0 && other > 0 && ptable_started(quiet) && ptable_started(other) &&
                ptable_started(third));
    ptable_set_nowait(ROOT, true);
    g_told_count = 0;
    g_woken = NULL;
    ptable_exit(quiet, 5 << 8, 0, 0);
    assert_int_equal(g_told_count, 0);
    assert_ptr_equal(g_woken, ptable_queue(ROOT));
    ptable_exit(other, 0, 0, 0);
    assert_true(told(ROOT, SIGUSR1) && g_told_count == 1);
    ptable_set_nowait(ROOT, false);
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), -ECHILD);
    assert_int_equal(waited(ROOT, P_PID, quiet, WEXITED), -ECHILD);
    assert_int_equal(waited(ROOT, P_PID, quiet, (int)(WEXITED | __WCLONE)), quiet);
    assert_int_equal(waited(ROOT, P_ALL, 0, (int)(WEXITED | __WALL)), other);
    /* Another program is a child as any other. */
    ptable_execed(third);
    ptable_exit(third, 0, 0, 0);
    assert_true(told(ROOT, SIGCHLD));
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), third);
}

static void test_subreaper(void **state UNUSED)
{
    int32_t top = born(ROOT), between = born(top), middle = born(between), child = born(middle),
            dead = born(middle);
    assert_int_equal(ptable_get_subreaper(top), 0);
    assert_int_equal(ptable_set_subreaper(top, true), 0);
    assert_int_equal(ptable_get_subreaper(top), 1);
    assert_int_equal(ptable_get_subreaper(between), 0);
    ptable_exit(dead, 3 << 8, 0, 0);
    g_told_count = 0;
    ptable_exit(middle, 0, 0, 0);
    assert_int_equal(ptable_getppid(child), top);
    assert_int_equal(ptable_getppid(dead), top);
    assert_true(told(top, SIGCHLD)); /* of the one that had ended before */
    assert_int_equal(waited(top, P_PID, dead, WEXITED), dead);
    ptable_exit(child, 0, 0, 0);
    assert_int_equal(waited(top, P_ALL, 0, WEXITED), child);
    /* One that ignores its children's ends reaps what it gets; and when it has gone, it is init again. */
    int32_t late = born(between), zombie = born(between);
    ptable_set_nowait(top, true);
    ptable_exit(zombie, 0, 0, 0);
    ptable_exit(between, 0, 0, 0);
    assert_int_equal(ptable_getppid(late), top);
    assert_int_equal(ptable_born(zombie), 0);
    ptable_exit(top, 0, 0, 0);
    assert_int_equal(ptable_getppid(late), 1);
    assert_int_equal(ptable_set_subreaper(9999, true), -ESRCH);
    assert_int_equal(ptable_get_subreaper(9999), -ESRCH);
}

static void test_births(void **state UNUSED)
{
    int32_t a = born(ROOT), unborn = ptable_new(a, SIGCHLD);
    uint64_t born_a = ptable_born(a), born_unborn = ptable_born(unborn);
    assert_true(born_a && born_unborn && born_a != born_unborn && ptable_born(ROOT));
    assert_int_equal(ptable_born(9999), 0);
    assert_int_equal(ptable_life(a, born_a), PTABLE_ALIVE);
    assert_int_equal(ptable_life(a, born_a + 1), PTABLE_GONE); /* another one had this pid */
    assert_int_equal(ptable_life(unborn, born_unborn), PTABLE_ALIVE);
    ptable_exit(a, 0, 0, 0);
    assert_int_equal(ptable_life(a, born_a), PTABLE_ENDED);
    assert_int_equal(ptable_life(unborn, born_unborn), PTABLE_GONE); /* with its parent */
    assert_int_equal(waited(ROOT, P_PID, a, WEXITED), a);
    assert_int_equal(ptable_life(a, born_a), PTABLE_GONE);
}

static void test_view(void **state UNUSED)
{
    char label[PTABLE_LABEL_MAX];
    struct ptable_view view;
    int32_t a = born(ROOT), b = ptable_new(a, SIGCHLD);
    assert_int_equal(ptable_set_label(9999, "x", 2), -ESRCH);
    assert_int_equal(ptable_view(9999, &view, label, sizeof(label)), -ESRCH);
    assert_int_equal(ptable_view(a, &view, label, sizeof(label)), 0);
    assert_int_equal(view.label_size, 0);
    assert_int_equal(ptable_set_label(a, "/bin/a\0a\0a\0-x", 14), 0);
    assert_int_equal(ptable_view(b, &view, label, sizeof(label)),
                     0); /* not started: as its parent */
    assert_memory_equal(label, "/bin/a\0a\0a\0-x", 14);
    assert_int_equal(view.parent, a);
    assert_int_equal(view.state, 'S');
    /* A fork stays what it is when its parent becomes another program, and ends. */
    assert_true(ptable_started(b));
    assert_int_equal(ptable_set_label(a, "/bin/other", 11), 0);
    assert_int_equal(ptable_stopped(b, SIGSTOP), 0);
    ptable_exit(a, 0, 0, 0);
    assert_int_equal(ptable_view(b, &view, label, 6), 0);
    assert_int_equal(view.label_size, 6);
    assert_memory_equal(label, "/bin/a", 6);
    assert_int_equal(view.state, 'T');
    assert_int_equal(view.parent, 1);
    assert_int_equal(ptable_view(a, &view, label, sizeof(label)), 0);
    assert_int_equal(view.state, 'Z');
    /* More than there is room for. */
    static const char much[PTABLE_LABEL_MAX + 10];
    assert_int_equal(ptable_set_label(b, much, sizeof(much)), 0);
    assert_int_equal(ptable_view(b, &view, label, sizeof(label)), 0);
    assert_int_equal(view.label_size, PTABLE_LABEL_MAX);

    assert_int_equal(ptable_next(0), ROOT);
    assert_int_equal(ptable_next(ROOT + 1), a < b ? a : b);
    assert_int_equal(ptable_next((a < b ? b : a) + 1), 0);
}

static void test_forget(void **state UNUSED)
{
    int32_t a = born(ROOT);
    g_woken = NULL;
    ptable_forget(a);
    assert_ptr_equal(g_woken, ptable_queue(ROOT));
    assert_int_equal(g_told_count, 0);
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), -ECHILD);
    ptable_forget(ROOT);
    assert_int_equal(ptable_alive(), 1);
}

static void test_limit(void **state UNUSED)
{
    ptable_init(3);
    int32_t a = born(ROOT);
    (void)born(ROOT);
    assert_int_equal(ptable_new(ROOT, SIGCHLD), -EAGAIN);
    assert_int_equal(ptable_new(ROOT, SIGCHLD), -EAGAIN);
    assert_int_equal(g_errors, 1); /* said once */
    ptable_exit(a, 0, 0, 0);
    assert_int_equal(ptable_new(ROOT, SIGCHLD), -EAGAIN); /* a zombie counts */
    assert_int_equal(waited(ROOT, P_ALL, 0, WEXITED), a);
    (void)born(ROOT);
    ptable_init(UINT32_MAX);
    g_no_memory = true;
    assert_int_equal(ptable_new(ROOT, SIGCHLD), -ENOMEM);
    g_no_memory = false;
    assert_int_equal(ptable_new(a, SIGCHLD), -ESRCH);
}

static void test_pids(void **state UNUSED)
{
    int32_t leader = born(ROOT), member = born(ROOT);
    assert_int_equal(ptable_setpgid(ROOT, leader, 0), 0);
    assert_int_equal(ptable_setpgid(ROOT, member, leader), 0);
    ptable_forget(leader);
    int32_t last = 0;
    for (int i = 0; i < PTABLE_PID_LIMIT; i++) { /* once round */
        int32_t pid = born(ROOT);
        if (pid == leader || pid == member || pid == last || pid >= PTABLE_PID_LIMIT)
            fail_msg("pid %d again", pid);
        last = pid;
        ptable_forget(pid);
    }
}

static void test_kill(void **state UNUSED)
{
    int32_t a = born(ROOT), b = born(a), c = born(ROOT), dead = born(ROOT);
    assert_int_equal(ptable_setpgid(ROOT, a, 0), 0);
    assert_int_equal(ptable_setpgid(a, b, a), 0);
    ptable_exit(dead, 0, 0, 0);
    const struct {
        const char *name;
        int32_t self, pid;
        int number, want;
        int32_t told[5];
    } rows[] = {
        { "one", c, b, SIGTERM, 0, { b } },
        { "itself", c, c, SIGTERM, 0, { c } },
        { "only a look", ROOT, a, 0, 0, { 0 } },
        { "a zombie", ROOT, dead, SIGTERM, 0, { 0 } },
        { "nobody", ROOT, 31000, SIGTERM, -ESRCH, { 0 } },
        { "init", ROOT, 1, SIGTERM, -ESRCH, { 0 } },
        { "own group", ROOT, 0, SIGINT, 0, { ROOT, c } },
        { "own group of a child", b, 0, SIGINT, 0, { a, b } },
        { "group", c, -a, SIGHUP, 0, { a, b } },
        { "group of nobody", c, -b, SIGHUP, -ESRCH, { 0 } },
        { "everybody else", a, -1, SIGTERM, 0, { ROOT, b, c } },
        { "no number", ROOT, INT32_MIN, SIGTERM, -ESRCH, { 0 } },
        { "one, from outside", PTABLE_OUTSIDE, b, SIGTERM, 0, { b } },
        { "group, from outside", PTABLE_OUTSIDE, -a, SIGINT, 0, { a, b } },
        { "everybody, from outside", PTABLE_OUTSIDE, -1, SIGTERM, 0, { ROOT, a, b, c } },
        { "group of who is outside", PTABLE_OUTSIDE, 0, SIGTERM, -ESRCH, { 0 } },
        { "nobody, from outside", PTABLE_OUTSIDE, dead + 1, SIGTERM, -ESRCH, { 0 } },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_told_count = 0;
        struct signal_info info = { .number = rows[i].number,
                                    .code = SI_USER,
                                    .pid = rows[i].self };
        int got = ptable_kill(rows[i].self, rows[i].pid, &info);
        unsigned count = 0;
        while (rows[i].told[count]) {
            if (!told(rows[i].told[count], rows[i].number))
                fail_msg("%s: %d was not told", rows[i].name, rows[i].told[count]);
            count++;
        }
        if (got != rows[i].want || g_told_count != count)
            fail_msg("%s: got %d, %u told", rows[i].name, got, g_told_count);
    }
}

static void test_kill_many(void **state UNUSED)
{
    for (int i = 0; i < 50; i++)
        (void)born(ROOT);
    g_told_count = 0;
    struct signal_info info = { .number = SIGTERM };
    assert_int_equal(ptable_kill(ROOT, -1, &info), 0);
    assert_int_equal(g_told_count, 50);
    g_told_count = 0;
    g_no_memory = true;
    assert_int_equal(ptable_kill(ROOT, -1, &info), -ENOMEM);
    g_no_memory = false;
}

static void test_kill_alone(void **state UNUSED)
{
    assert_int_equal(ptable_kill(ROOT, -1, &(struct signal_info){ .number = SIGTERM }), -ESRCH);
}

static void test_groups(void **state UNUSED)
{
    int32_t a = born(ROOT), b = born(ROOT), deep = born(a), other = born(ROOT);
    assert_int_equal(ptable_setsid(other), other);
    assert_int_equal(ptable_getsid(ROOT, other), other);
    assert_int_equal(ptable_getpgid(ROOT, other), other);
    const struct {
        const char *name;
        int32_t self, pid, pgid;
        int want;
    } rows[] = {
        { "session leader", ROOT, 0, 0, -EPERM },
        { "negative", a, 0, -5, -EINVAL },
        { "nobody", ROOT, 31000, 0, -ESRCH },
        { "sibling", a, b, 0, -ESRCH },
        { "parent", a, ROOT, a, -ESRCH },
        { "grandchild", ROOT, deep, 0, -ESRCH },
        { "child of another session", ROOT, other, ROOT, -EPERM },
        { "no such group", ROOT, b, a, -EPERM },
        { "group of another session", a, 0, other, -EPERM },
        { "own", a, 0, 0, 0 },
        { "own again", a, a, a, 0 },
        { "child into it", ROOT, b, a, 0 },
        { "back", ROOT, b, ROOT, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int got = ptable_setpgid(rows[i].self, rows[i].pid, rows[i].pgid);
        if (got != rows[i].want)
            fail_msg("%s: got %d, want %d", rows[i].name, got, rows[i].want);
    }
    ptable_execed(b);
    assert_int_equal(ptable_setpgid(ROOT, b, 0), -EACCES);
    assert_int_equal(ptable_setpgid(b, 0, 0), 0);
    assert_int_equal(ptable_setsid(a), -EPERM); /* a group's leader */
    assert_int_equal(ptable_setsid(ROOT), -EPERM);
    assert_int_equal(ptable_setpgid(ROOT, a, ROOT), 0);
    assert_int_equal(ptable_setsid(a), a);
    assert_int_equal(ptable_getsid(deep, 0), ROOT);
    assert_int_equal(ptable_getsid(ROOT, 31000), -ESRCH);
    int32_t child = born(a);
    assert_int_equal(ptable_getsid(child, 0), a);
}

static void test_terminal(void **state UNUSED)
{
    int32_t a = born(ROOT), other = born(ROOT);
    assert_int_equal(ptable_tty_pgrp(), ROOT);
    assert_int_equal(ptable_setsid(other), other);
    assert_int_equal(ptable_set_tty_pgrp(ROOT, a), -ESRCH); /* no group */
    assert_int_equal(ptable_set_tty_pgrp(ROOT, -1), -EINVAL);
    assert_int_equal(ptable_setpgid(ROOT, a, 0), 0);
    assert_int_equal(ptable_set_tty_pgrp(ROOT, other), -EPERM);
    assert_int_equal(ptable_set_tty_pgrp(other, other), -ENOTTY);
    assert_int_equal(ptable_set_tty_pgrp(a, a), 0);
    assert_int_equal(ptable_tty_pgrp(), a);
    assert_int_equal(ptable_set_tty_pgrp(ROOT, ROOT), 0);
}

/* A session whose leader has a terminal, with one job in the foreground and one in the background. */
static struct {
    int32_t leader, fore, back, other;
    struct ptable_tty tty;
} g_session;

static int session(void **state)
{
    clear(state);
    int32_t leader = born(ROOT);
    assert_int_equal(ptable_setsid(leader), leader);
    g_session.tty = (struct ptable_tty){ .number = 3 };
    ptable_tty_opened(leader, &g_session.tty);
    assert_int_equal(ptable_tty_number(leader), 3);
    g_session.leader = leader;
    g_session.fore = born(leader);
    g_session.back = born(leader);
    g_session.other = born(ROOT);
    assert_int_equal(ptable_setpgid(leader, g_session.fore, 0), 0);
    assert_int_equal(ptable_setpgid(leader, g_session.back, 0), 0);
    assert_int_equal(ptable_tty_set_pgrp(leader, &g_session.tty, g_session.fore), 0);
    g_told_count = 0;
    return 0;
}

static int no_session(void **state UNUSED)
{
    ptable_tty_gone(&g_session.tty);
    return 0;
}

static void test_tty_taken(void **state UNUSED)
{
    struct ptable_tty other = { .number = 4 }, *tty = &g_session.tty;
    int32_t lonely = born(ROOT), child = born(g_session.leader);
    assert_int_equal(ptable_setsid(lonely), lonely);
    assert_int_equal(ptable_tty_number(ROOT), PTABLE_TTY_HOST);
    assert_int_equal(ptable_tty_number(child), 3); /* inherited */
    assert_int_equal(ptable_tty_number(lonely), PTABLE_TTY_NONE);
    assert_int_equal(ptable_tty_number(31000), PTABLE_TTY_NONE);
    /* Opening takes what is free, and only once, and only for a leader. */
    ptable_tty_opened(lonely, tty);
    assert_int_equal(ptable_tty_number(lonely), PTABLE_TTY_NONE);
    ptable_tty_opened(child, &other);
    ptable_tty_opened(g_session.leader, &other);
    assert_int_equal(other.sid, 0);
    const struct {
        const char *name;
        int32_t self;
        struct ptable_tty *tty;
        bool steal;
        int want;
    } rows[] = {
        { "its own", g_session.leader, tty, false, 0 },
        { "no leader", child, &other, false, -EPERM },
        { "has one", g_session.leader, &other, false, -EPERM },
        { "has the host's", ROOT, &other, false, -EPERM },
        { "another session's", lonely, tty, false, -EPERM },
        { "nobody", 31000, &other, false, -EPERM },
        { "stolen", lonely, tty, true, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int got = ptable_tty_set(rows[i].self, rows[i].tty, rows[i].steal);
        if (got != rows[i].want)
            fail_msg("%s: got %d, want %d", rows[i].name, got, rows[i].want);
    }
    assert_int_equal(ptable_tty_number(child), PTABLE_TTY_NONE);
    assert_int_equal(ptable_tty_get(lonely, tty, true, false), lonely);
    assert_int_equal(ptable_tty_get(lonely, tty, false, false), lonely);
    ptable_tty_gone(tty);
    assert_int_equal(ptable_tty_number(lonely), PTABLE_TTY_NONE);
    assert_int_equal(ptable_tty_get(ROOT, tty, true, true), -ENOTTY);
}

static void test_tty_groups(void **state UNUSED)
{
    struct ptable_tty *tty = &g_session.tty;
    const struct {
        const char *name;
        int32_t self, pgid;
        int want;
    } rows[] = {
        { "negative", g_session.leader, -1, -EINVAL },
        { "no group", g_session.leader, 31000, -ESRCH },
        { "another session's group", g_session.leader, ROOT, -EPERM },
        { "another session", ROOT, g_session.fore, -ENOTTY },
        { "a job", g_session.back, g_session.back, 0 },
        { "back", g_session.leader, g_session.fore, 0 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int got = ptable_tty_set_pgrp(rows[i].self, tty, rows[i].pgid);
        if (got != rows[i].want)
            fail_msg("%s: got %d, want %d", rows[i].name, got, rows[i].want);
    }
    assert_int_equal(ptable_tty_get(g_session.back, tty, false, false), g_session.fore);
    assert_int_equal(ptable_tty_get(ROOT, tty, false, false), -ENOTTY);
    assert_int_equal(ptable_tty_get(ROOT, tty, false, true), g_session.fore);
    ptable_tty_signal(tty, SIGINT);
    assert_true(told(g_session.fore, SIGINT) && g_told_count == 1);
    assert_int_equal(g_told[0].info.code, 0x80 /* SI_KERNEL */);
}

static void test_tty_background(void **state UNUSED)
{
    int32_t orphan = born(g_session.back);
    assert_int_equal(ptable_setpgid(g_session.back, orphan, 0), 0);
    const struct {
        const char *name;
        int32_t self;
        int signal;
        bool ignored;
        int want;
        int32_t told;
    } rows[] = {
        { "foreground", g_session.fore, SIGTTIN, false, 0, 0 },
        { "no session of its", ROOT, SIGTTIN, false, 0, 0 },
        { "reads", g_session.back, SIGTTIN, false, -512 /* ERESTARTSYS */, g_session.back },
        { "reads, ignoring", g_session.back, SIGTTIN, true, -EIO, 0 },
        { "writes", g_session.back, SIGTTOU, false, -512, g_session.back },
        { "writes, ignoring", g_session.back, SIGTTOU, true, 0, 0 },
        { "the leader", g_session.leader, SIGTTIN, false, -EIO, 0 }, /* nobody could let it go on */
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_told_count = 0;
        int got = ptable_tty_check(rows[i].self, &g_session.tty, rows[i].signal, rows[i].ignored);
        if (got != rows[i].want)
            fail_msg("%s: got %d, want %d", rows[i].name, got, rows[i].want);
        if (g_told_count != (rows[i].told != 0) ||
            (rows[i].told && !told(rows[i].told, rows[i].signal)))
            fail_msg("%s: %u signals", rows[i].name, g_told_count);
    }
    ptable_exit(g_session.back, 0, 0, 0);
    assert_int_equal(ptable_tty_check(orphan, &g_session.tty, SIGTTIN, false), -EIO);
}

/* The three ways to lose it, and who is told. */
static void test_tty_lost(void **state UNUSED)
{
    struct ptable_tty *tty = &g_session.tty;
    int32_t fore = g_session.fore, back = g_session.back, leader = g_session.leader;
    assert_int_equal(ptable_tty_leave(back, tty), 0); /* only for itself */
    assert_int_equal(ptable_tty_number(back), PTABLE_TTY_NONE);
    assert_int_equal(g_told_count, 0);
    assert_int_equal(ptable_tty_leave(back, tty), -ENOTTY);
    assert_int_equal(ptable_tty_leave(leader, tty), 0);
    assert_true(told(fore, SIGHUP) && told(fore, SIGCONT) && g_told_count == 2);
    assert_int_equal(ptable_tty_number(fore), PTABLE_TTY_NONE);
    assert_int_equal(tty->sid, 0);

    ptable_tty_opened(leader, tty);
    assert_int_equal(ptable_tty_set_pgrp(leader, tty, fore), 0);
    g_told_count = 0;
    ptable_tty_hangup(tty); /* the leader alone; then, when it ends, who was in the foreground */
    assert_true(told(leader, SIGHUP) && told(leader, SIGCONT) && g_told_count == 2);
    assert_int_equal(ptable_tty_number(leader), PTABLE_TTY_NONE);
    g_told_count = 0;
    ptable_exit(leader, 1, 0, 0);
    assert_true(told(fore, SIGHUP) && told(fore, SIGCONT) && !told(back, SIGHUP));
}

static void test_tty_leader_ends(void **state UNUSED)
{
    ptable_exit(g_session.leader, 0, 0, 0);
    assert_true(told(g_session.fore, SIGHUP) && !told(g_session.fore, SIGCONT));
    assert_false(told(g_session.back, SIGHUP));
    assert_int_equal(ptable_tty_number(g_session.fore), PTABLE_TTY_NONE);
    assert_int_equal(g_session.tty.sid, 0);
    assert_int_equal(g_session.tty.pgrp, 0);
}

int main(void)
{
#define S(name) cmocka_unit_test_setup_teardown(name, session, no_session)
#define T(name) cmocka_unit_test_setup(name, clear)
    const struct CMUnitTest tests[] = {
        T(test_unborn),     T(test_life),           T(test_child_info),  T(test_wait_which),
        T(test_times),      T(test_orphans),        T(test_exit_signal), T(test_subreaper),
        T(test_births),     T(test_view),           T(test_nowait),      T(test_forget),
        T(test_limit),      T(test_pids),           T(test_kill),        T(test_kill_many),
        T(test_kill_alone), T(test_groups),         T(test_terminal),    S(test_tty_taken),
        S(test_tty_groups), S(test_tty_background), S(test_tty_lost),    S(test_tty_leader_ends),
        T(test_stopped),    T(test_orphaned_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
