/*
 * A host process made in advance. Most of what a start costs is the same each time: exec, the
 * library OS, EADD, EINIT. A node that was started twice in a row is likely to be started again; so
 * the root has one more host process made for it, up to the first EENTER, while the other CPU does
 * something else. TREE_SPAWN of that node then only has to hand over slots and descriptors. Tier:
 * hosted, untrusted.
 *
 * What the enclave sees is the same: it is entered by one program once, its parent attests it.
 *
 *   NONE -> WANTED       whoever started a node twice
 *   WANTED -> STARTED    the root's thread, which starts it
 *   STARTED -> READY     the spare one, before it waits on the socket
 *   READY -> TAKEN       whoever starts that node, from any process; then sends the message
 *   TAKEN -> WANTED      the spare one has the message (-> NONE on a busy machine)
 *   READY -> DROPPED     another node was started twice; the root's thread kills it
 *   any -> NONE          the reaper: it has ended
 *
 * One pair of sockets for the whole tree: everybody may send, the spare one receives. The state
 * makes sure that there is one message and one receiver at a time. Descriptors come by SCM_RIGHTS
 * (unix(7)): the same open files as by inheritance.
 */
#include "host/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/handle.h"
#include "host/run.h"
#include "util/fs.h"

#define HANDLES_MAX 250 /* SCM_MAX_FD is 253 */
#define OWN_FDS     128 /* the spare one's own descriptors lie from here on, handles below */

enum { NONE = 0, WANTED, STARTED, READY, TAKEN, DROPPED };

struct message {
    uint32_t pid;
    uint32_t spawn_slot, control_slot;
    uint32_t handle_count;
    int32_t handles[HANDLES_MAX];
};

union rights {
    char bytes[CMSG_SPACE(HANDLES_MAX * sizeof(int))];
    struct cmsghdr align;
};

static uint32_t state_of(const struct tree *tree)
{
    return __atomic_load_n(&tree->region->spare_state, __ATOMIC_SEQ_CST);
}

static bool become(struct tree *tree, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&tree->region->spare_state, &from, to, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* A message and the descriptors with it. */
static int receive(const struct tree *tree, int flags, struct message *ret,
                   int ret_fds[HANDLES_MAX], size_t *ret_count)
{
    union rights rights;
    struct iovec part = { ret, sizeof(*ret) };
    struct msghdr head = { .msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = rights.bytes,
                           .msg_controllen = sizeof(rights.bytes) };
    ssize_t n = recvmsg(tree->spare_in, &head, flags | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return -errno;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
    *ret_count = c ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    if (c)
        memcpy(ret_fds, CMSG_DATA(c), *ret_count * sizeof(int));
    return n == (ssize_t)sizeof(*ret) ? 0 : -EBADMSG;
}

/* --- the root's thread ----------------------------------------------------------------------- */

static void tell_root(struct tree *tree)
{
    __atomic_fetch_add(&tree->region->spare_turn, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &tree->region->spare_turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void *look_after(void *arg)
{
    struct host *host = arg;
    struct tree_region *region = host->tree->region;
    for (;;) {
        uint32_t turn = __atomic_load_n(&region->spare_turn, __ATOMIC_SEQ_CST);
        uint32_t state = state_of(host->tree);
        if (state == WANTED && become(host->tree, WANTED, STARTED)) {
            region->spare_pid = 0;
            if (tree_spawn_spare(host, region->spare_node) < 0)
                become(host->tree, STARTED, NONE);
            continue;
        }
        if (state == DROPPED) {
            tree_reaper_lock();
            if (state_of(host->tree) == DROPPED && region->spare_pid)
                kill((pid_t)region->spare_pid, SIGKILL);
            tree_reaper_unlock();
        }
        syscall(SYS_futex, &region->spare_turn, FUTEX_WAIT, turn, NULL, NULL, 0);
    }
    return NULL;
}

int tree_spare_start(struct host *host)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    host->tree->spare_out = sockets[0];
    host->tree->spare_in = sockets[1];
    pthread_t id;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&id, NULL, look_after, host);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return -EAGAIN;
    pthread_detach(id);
    return 0;
}

bool tree_spare_ended(struct tree *tree, uint32_t pid)
{
    struct tree_region *region = tree->region;
    uint32_t state = state_of(tree);
    if (region->spare_pid != pid || state == NONE)
        return false;
    if (state == TAKEN) {
        /* A message that it did not live to read. */
        struct message message;
        int fds[HANDLES_MAX];
        size_t count;
        if (receive(tree, MSG_DONTWAIT, &message, fds, &count) == 0)
            for (size_t i = 0; i < count; i++)
                close(fds[i]);
    }
    region->spare_pid = 0;
    __atomic_store_n(&region->spare_state, NONE, __ATOMIC_SEQ_CST);
    tell_root(tree);
    return state != TAKEN;
}

/* How many threads of the machine run or could run now, this one among them (proc(5), loadavg). The
 * averages beside that tell of the last minute, and of our own start. */
static unsigned running(void)
{
    char text[128];
    unsigned count = 0;
    int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    return sscanf(text, "%*s %*s %*s %u/", &count) == 1 ? count : UINT_MAX;
}

/* Only with a CPU to spare: on a busy machine it takes time from those who run. And a hostile
 * host's lies are to be the same in each run. */
static bool worthwhile(const struct host *host)
{
    if (host->options->hostile || host->tree->spare_out < 0)
        return false;
    if (host->options->spare_always)
        return true;
    return host->tree->cpu_count > 1 && running() <= (unsigned)host->tree->cpu_count;
}

/* --- whoever starts a process ---------------------------------------------------------------- */

bool tree_spare_take(struct tree *tree, uint32_t node, uint32_t spawn_slot, uint32_t control_slot,
                     const int32_t *handles, size_t handle_count)
{
    struct tree_region *region = tree->region;
    if (state_of(tree) != READY || region->spare_node != node || handle_count > HANDLES_MAX)
        return false;
    for (size_t i = 0; i < handle_count; i++)
        if (handles[i] >= OWN_FDS)
            return false;

    /* Its end may come at any moment: the reaper finds it in these slots, or has set NONE before.
     */
    uint32_t pid = region->spare_pid;
    tree_slot_use(tree, spawn_slot, TREE_SLOT_SPAWN, tree->pid, pid);
    tree_slot_use(tree, control_slot, TREE_SLOT_CONTROL, pid, 0);
    if (!become(tree, READY, TAKEN))
        return false;
    if (region->spare_pid != pid || region->spare_node != node) { /* another one meanwhile */
        become(tree, TAKEN, READY);
        return false;
    }

    struct message message = { .pid = pid,
                               .spawn_slot = spawn_slot,
                               .control_slot = control_slot,
                               .handle_count = (uint32_t)handle_count };
    union rights rights = { 0 };
    struct iovec part = { &message, sizeof(message) };
    struct msghdr head = { .msg_iov = &part, .msg_iovlen = 1 };
    for (size_t i = 0; i < handle_count; i++)
        message.handles[i] = handles[i];
    if (handle_count > 0) {
        head.msg_control = rights.bytes;
        head.msg_controllen = CMSG_SPACE(handle_count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&head);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(handle_count * sizeof(int));
        memcpy(CMSG_DATA(c), handles, handle_count * sizeof(int));
    }
    if (sendmsg(tree->spare_out, &head, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        become(tree, TAKEN, READY);
        return false;
    }
    return true;
}

void tree_spare_note(struct host *host, uint32_t node)
{
    struct tree *tree = host->tree;
    struct tree_region *region = tree->region;
    uint32_t last = __atomic_exchange_n(&region->last_node, node + 1, __ATOMIC_SEQ_CST);
    if (last != node + 1 || !worthwhile(host))
        return;
    if (state_of(tree) == NONE) {
        region->spare_node = node;
        if (become(tree, NONE, WANTED))
            tell_root(tree);
    } else if (region->spare_node != node && become(tree, READY, DROPPED)) {
        tell_root(tree);
    }
}

/* --- the spare one --------------------------------------------------------------------------- */

static int move_up(int *fd)
{
    int up = fcntl(*fd, F_DUPFD_CLOEXEC, OWN_FDS);
    if (up < 0)
        return -errno;
    close(*fd);
    *fd = up;
    return 0;
}

int tree_spare_prepare(struct tree_child *child)
{
    int r = move_up(&child->region_fd);
    if (r == 0)
        r = move_up(&child->log_fd);
    if (r == 0)
        r = move_up(&child->spare_out);
    if (r == 0)
        r = move_up(&child->spare_in);
    if (r == 0)
        r = move_up(&child->pass_out);
    /* Whatever is opened from here on finds these numbers taken. */
    for (int fd = r == 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1; r == 0 && fd < OWN_FDS;) {
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        r = fd < 0 ? -errno : 0;
    }
    return r;
}

int tree_spare_wait(struct host *host, struct err *err)
{
    struct tree *tree = host->tree;
    struct tree_child *child = host->child;
    struct message message;
    int fds[HANDLES_MAX];
    size_t count;
    if (!become(tree, STARTED, READY))
        return err_set(err, -EPIPE, "nobody wants it any more");
    for (;;) {
        int r = receive(tree, 0, &message, fds, &count);
        if (r < 0 && r != -EINTR)
            return err_set(err, r, "receiving a program's descriptors: %s", strerror(-r));
        if (r == 0 && message.pid == tree->pid)
            break;
        for (size_t i = 0; r == 0 && i < count; i++)
            close(fds[i]);
    }
    if (message.handle_count != count)
        return err_set(err, -EBADMSG, "receiving a program's descriptors: some are missing");
    child->spare = false;
    child->spawn_slot = tree->spawn_slot = message.spawn_slot;
    child->control_slot = tree->control_slot = message.control_slot;

    bool failed = false, wanted[OWN_FDS] = { [0] = true, [1] = true, [2] = true };
    for (size_t i = 0; i < count; i++) { /* those received have numbers above */
        failed |= message.handles[i] < 0 || message.handles[i] >= OWN_FDS ||
                  dup3(fds[i], message.handles[i], O_CLOEXEC) < 0;
        if (!failed)
            wanted[message.handles[i]] = true;
        close(fds[i]);
    }
    for (int fd = 0, end; fd < OWN_FDS; fd = end + 1) {
        for (end = fd; end < OWN_FDS && !wanted[end]; end++)
            ;
        if (end > fd && syscall(SYS_close_range, fd, end - 1, 0) < 0)
            return err_set(err, -errno, "closing what a program does not inherit");
    }
    /* Only now may the next one wait on the socket: it is made at once, for it will be needed. */
    tree->region->spare_pid = 0;
    __atomic_store_n(&tree->region->spare_state, worthwhile(host) ? WANTED : NONE,
                     __ATOMIC_SEQ_CST);
    tell_root(tree);
    if (failed || handle_init_inherited(message.handles, count) < 0)
        return err_set(err, -EBADF, "a program's descriptors");
    return 0;
}
