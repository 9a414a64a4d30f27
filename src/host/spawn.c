/*
 * A further host process of a tree: vfork and exec of ourselves with the command line that child.c
 * reads. tree.h says whose child it is. Tier: hosted, untrusted.
 */
#include "host/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/log.h"
#include "host/run.h"
#include "signer/bundle.h"
#include "util/fs.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif
#define CHILD_STACK 16384

extern char **environ;

struct spawn {
    const struct tree *tree;
    struct tree_slot *spawn_slot, *control_slot; /* NULL: made in advance */
    const int32_t *handles;
    size_t handle_count;
    int log_fd;
    const char *program;
    char *const *argv;
    volatile int error; /* by the child, before its exec */
};

/* --- in the child, on our memory, every signal blocked --------------------------------------- */

static int keep(int fd)
{
    return fcntl(fd, F_SETFD, 0);
}

static int child_main(void *arg)
{
    struct spawn *s = arg;
    static const int from_terminal[] = { SIGINT, SIGQUIT, SIGHUP, SIGWINCH };
    const struct sigaction ignore = { .sa_handler = SIG_IGN };

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if ((uint32_t)getppid() != s->tree->region->root_pid)
        _exit(0); /* the root has died meanwhile */
    /* Before it can end: the reaper finds it in its slots. */
    uint32_t pid = (uint32_t)getpid();
    if (s->spawn_slot) {
        __atomic_store_n(&s->spawn_slot->server_pid, pid, __ATOMIC_SEQ_CST);
        __atomic_store_n(&s->control_slot->client_pid, pid, __ATOMIC_SEQ_CST);
    } else {
        __atomic_store_n(&s->tree->region->spare_pid, pid, __ATOMIC_SEQ_CST);
    }

    /* The other dispositions become the default by exec, as our handlers do, or stay ignored. */
    for (size_t i = 0; i < ARRAY_SIZE(from_terminal); i++)
        sigaction(from_terminal[i], &ignore, NULL);
    bool failed = syscall(SYS_close_range, 0u, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ||
                  keep(s->tree->fd) < 0 || keep(s->log_fd) < 0 || keep(s->tree->spare_out) < 0 ||
                  keep(s->tree->spare_in) < 0 || keep(s->tree->pass_out) < 0;
    for (size_t i = 0; i < s->handle_count; i++)
        failed |= keep(s->handles[i]) < 0;
    if (!failed) {
        sigset_t mask;
        sigemptyset(&mask);
        sigaddset(&mask, SIGURG);
        sigprocmask(SIG_SETMASK, &mask, NULL);
        execve(s->program, s->argv, environ);
    }
    s->error = errno;
    _exit(0);
}

/* --- in the parent --------------------------------------------------------------------------- */

static int clone_child(struct spawn *s, int flags)
{
    ALIGNED(64) uint8_t stack[CHILD_STACK];
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->error = 0;
    int pid = clone(child_main, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | flags, s);
    int r = pid < 0 ? -errno : -s->error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

/* The root's: one request at a time. */
static struct {
    pthread_mutex_t callers, lock;
    pthread_cond_t changed;
    struct spawn *request;
    bool done;
    int result;
} g_spawner = { .callers = PTHREAD_MUTEX_INITIALIZER,
                .lock = PTHREAD_MUTEX_INITIALIZER,
                .changed = PTHREAD_COND_INITIALIZER };

static void *spawner(void *arg UNUSED)
{
    pthread_mutex_lock(&g_spawner.lock);
    for (;;) {
        while (!g_spawner.request)
            pthread_cond_wait(&g_spawner.changed, &g_spawner.lock);
        g_spawner.result = clone_child(g_spawner.request, SIGCHLD);
        g_spawner.request = NULL;
        g_spawner.done = true;
        pthread_cond_broadcast(&g_spawner.changed);
        tree_reaper_tell();
    }
    return NULL;
}

int tree_spawner_start(struct tree *tree UNUSED)
{
    pthread_t id;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&id, NULL, spawner, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return -EAGAIN;
    pthread_detach(id);
    return 0;
}

static int ask_spawner(struct spawn *s)
{
    pthread_mutex_lock(&g_spawner.callers);
    pthread_mutex_lock(&g_spawner.lock);
    g_spawner.request = s;
    g_spawner.done = false;
    pthread_cond_broadcast(&g_spawner.changed);
    while (!g_spawner.done)
        pthread_cond_wait(&g_spawner.changed, &g_spawner.lock);
    int r = g_spawner.result;
    pthread_mutex_unlock(&g_spawner.lock);
    pthread_mutex_unlock(&g_spawner.callers);
    return r;
}

static int find_node(const char *bundle, const uint8_t mrenclave[static 32],
                     char ret[static BUNDLE_FOLDER_MAX])
{
    struct err err = { 0 };
    int fd = bundle ? open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd < 0)
        return -ENOENT;
    int r = bundle_find_node(fd, mrenclave, ret, &err);
    close(fd);
    if (r < 0 && r != -ENOENT)
        log_line("bundle '%s': %s", bundle, err.text);
    return r < 0 ? -ENOENT : 0;
}

/* Starts s->program for the node in folder, from s->handles on all is set. */
static int start(struct host *host, struct spawn *s, const char *folder, const char *more_flags,
                 uint32_t spawn_slot, uint32_t control_slot)
{
    const struct tree *tree = host->tree;
    const struct host_options *o = host->options;
    char numbers[128], flags[16];
    CLEANUP(free_p) char *list = malloc(s->handle_count * 12 + 2);
    if (!list)
        return -ENOMEM;
    CLEANUP(free_p) char *audit = calloc(1, (o->audit_path ? strlen(o->audit_path) : 0) + 64);
    if (!audit)
        return -ENOMEM;
    char *at = list;
    for (size_t i = 0; i < s->handle_count; i++)
        at += sprintf(at, "%s%d", i ? "," : "", s->handles[i]);
    if (s->handle_count == 0)
        strcpy(list, "-");

    snprintf(flags, sizeof(flags), "%s%s%s%s%s%s%s%s", o->poison ? "p" : "", o->quiet ? "q" : "",
             o->strace ? "s" : "", o->stats ? "t" : "", o->single_step ? "1" : "",
             o->spare_always ? "a" : "", o->bundle_given ? "b" : "", more_flags);
    if (o->audit_path)
        sprintf(audit, "%" PRIu64 ",%" PRIu32 ",%s", o->audit_size, o->audit_keep, o->audit_path);
    snprintf(numbers, sizeof(numbers), "%d,%d,%d,%d,%d,%u,%u,%d", tree->fd, log_fd(),
             tree->spare_out, tree->spare_in, tree->pass_out, spawn_slot, control_slot,
             (int)o->device);
    char *const argv[] = {
        (char[]){ "sgxpy" },
        (char[]){ TREE_CHILD_VERB },
        numbers,
        flags,
        list,
        (char *)o->image_path,
        (char *)o->bundle_path,
        (char *)folder,
        audit,
        (char *)(o->hostile ? o->hostile : ""),
        (char *)(o->child_program ? o->child_program : ""),
        NULL,
    };
    s->tree = tree;
    s->log_fd = log_fd();
    s->program = o->child_program ? o->child_program : "/proc/self/exe";
    s->argv = argv;
    return tree->is_root ? ask_spawner(s) : clone_child(s, CLONE_PARENT | SIGCHLD);
}

int tree_spawn(struct host *host, const uint8_t mrenclave[static 32], uint32_t spawn_slot,
               uint32_t control_slot, const int32_t *handles, size_t handle_count)
{
    struct tree *tree = host->tree;
    char folder[BUNDLE_FOLDER_MAX];
    int r = find_node(host->options->bundle_path, mrenclave, folder);
    if (r < 0)
        return r;
    uint32_t node = (uint32_t)strtoul(strchr(folder, '/') + 1, NULL, 10);
    if (!tree_spare_take(tree, node, spawn_slot, control_slot, handles, handle_count)) {
        struct spawn s = {
            .spawn_slot = tree_slot_at(tree, spawn_slot),
            .control_slot = tree_slot_at(tree, control_slot),
            .handles = handles,
            .handle_count = handle_count,
        };
        tree_slot_use(tree, spawn_slot, TREE_SLOT_SPAWN, tree->pid, 0);
        tree_slot_use(tree, control_slot, TREE_SLOT_CONTROL, 0, 0);
        r = start(host, &s, folder, "", spawn_slot, control_slot);
        if (r < 0) {
            log_line("starting a process of the tree: '%s': %s", s.program, strerror(-r));
            return r == -ENOMEM ? r : -EAGAIN;
        }
    }
    tree_spare_note(host, node);
    return 0;
}

int tree_spawn_spare(struct host *host, uint32_t node)
{
    char folder[BUNDLE_FOLDER_MAX];
    struct spawn s = { 0 };
    snprintf(folder, sizeof(folder), "nodes/%u", node);
    return start(host, &s, folder, "r", 0, 0);
}
