#include "host/signals.h"

#include <errno.h>
#include <string.h>

#include "host/thread.h"

/* SIGURG: tree.h; the library OS asks the hub then. */
static const struct {
    int signal;
    bool in_root, in_child;
} from_outside[] = {
    { SIGINT, true, false }, { SIGTERM, true, true },   { SIGHUP, true, false },
    { SIGALRM, true, true }, { SIGWINCH, true, false }, { SIGUSR1, true, true },
    { SIGUSR2, true, true }, { SIGCONT, true, false },  { SIGURG, false, true },
};

static bool on_outside(int signal, const siginfo_t *info UNUSED, bool in_enclave, void *arg)
{
    struct host_thread *t = arg;
    __atomic_fetch_or(&t->block->signals, UINT64_C(1) << (signal - 1), __ATOMIC_SEQ_CST);
    if (thread_self() != t) { /* not reached while every other thread blocks these */
        thread_wake(t, true);
        return false;
    }
    __atomic_store_n(&t->block->event, 1, __ATOMIC_SEQ_CST);
    atomic_fetch_or(&t->interrupt, THREAD_INTERRUPT_SIGNALS);
    return thread_settle(t, in_enclave);
}

int signals_install(struct host *host, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(from_outside); i++) {
        struct sigaction now;
        int signal = from_outside[i].signal;
        if (!(host->child ? from_outside[i].in_child : from_outside[i].in_root) ||
            (sigaction(signal, NULL, &now) == 0 && now.sa_handler == SIG_IGN))
            continue;
        int r = device_on_signal(host->device, signal, on_outside, &host->threads[0], err);
        if (r < 0)
            return err_wrap(err, "handling signal %d", signal);
    }
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    if (sigaction(SIGPIPE, &ignore, NULL) < 0)
        return err_set(err, -errno, "ignoring SIGPIPE: %s", strerror(errno));
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, thread_wake_signal());
    sigaddset(&ours, SIGURG);
    pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
    return 0;
}

void signals_block(sigset_t *ret_before)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(from_outside); i++)
        sigaddset(&set, from_outside[i].signal);
    pthread_sigmask(SIG_BLOCK, &set, ret_before);
}
