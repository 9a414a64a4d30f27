/*
 * The end of a tree's host processes: a thread of the root's host process, whose children they all
 * are. Tier: hosted, untrusted.
 */
#include "host/tree.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "host/log.h"

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t g_count_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_more = PTHREAD_COND_INITIALIZER;
static uint64_t g_started;

void tree_reaper_lock(void)
{
    pthread_mutex_lock(&g_lock);
}

void tree_reaper_unlock(void)
{
    pthread_mutex_unlock(&g_lock);
}

void tree_reaper_tell(void)
{
    pthread_mutex_lock(&g_count_lock);
    g_started++;
    pthread_cond_signal(&g_more);
    pthread_mutex_unlock(&g_count_lock);
}

static uint64_t started(uint64_t other_than)
{
    pthread_mutex_lock(&g_count_lock);
    while (g_started == other_than)
        pthread_cond_wait(&g_more, &g_count_lock);
    uint64_t now = g_started;
    pthread_mutex_unlock(&g_count_lock);
    return now;
}

/* What this end means for the tree. */
static void judge(struct host *host, const siginfo_t *info)
{
    if (info->si_code == CLD_EXITED && info->si_status >= TREE_EXIT_STOPS &&
        info->si_status < TREE_EXIT_STOPS + 32)
        host_finish(host, info->si_status - TREE_EXIT_STOPS);
    if (info->si_code != CLD_EXITED && info->si_status != SIGKILL)
        log_line("host process %d of the tree: %s", info->si_pid, strsignal(info->si_status));
}

static void *reap(void *arg)
{
    struct host *host = arg;
    uint64_t seen = 0;
    for (;;) {
        siginfo_t info = { 0 };
        uint64_t before = seen;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) < 0) {
            /* None: one that others of the tree started has a living sister, so only a start by
             * this process can make one. */
            if (errno == ECHILD)
                seen = started(before);
            continue;
        }
        tree_reaper_lock();
        bool unasked = tree_spare_ended(host->tree, (uint32_t)info.si_pid);
        if (!unasked)
            judge(host, &info); /* before its parent learns of it and goes on */
        tree_pass_gone(host->tree, (uint32_t)info.si_pid);
        tree_mark_dead(host->tree, (uint32_t)info.si_pid);
        waitid(P_PID, (id_t)info.si_pid, &info, WEXITED);
        tree_reaper_unlock();
    }
    return NULL;
}

int tree_reaper_start(struct host *host)
{
    pthread_t id;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&id, NULL, reap, host);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return -EAGAIN;
    pthread_detach(id);
    return 0;
}
