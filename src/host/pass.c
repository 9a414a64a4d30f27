/*
 * Open descriptors from one host process of a tree to another, while both run: what SCM_RIGHTS between two programs
 * needs for sockets of the network and the standard streams. Tier: hosted, untrusted.
 *
 * All go through the root's host process. There is one pair of sockets for the whole tree: everybody may send, the root
 * receives (its pass_in) when it is asked for something. A key, which the enclaves draw at random, says what belongs to what.
 *
 *   child  GIVE(handle, key)   ->  the root keeps the descriptor under the key
 *   root   TAKE(key)               it becomes a handle of the root
 *
 *   child  ASK(key)            ->  the root keeps one end of a new pair under the key; the child has the other
 *   root   GIVE(handle, key)   ->  goes out by that end, which is closed
 *   child  TAKE(key)               receives it
 *
 * In between the enclaves tell each other, over their channels; so what is taken has been sent. What a process leaves
 * with the root goes when that process ends (reaper.c), and counts as the root's sockets do (handle_room): a process
 * cannot take the descriptors that the root's trusted files need.
 */
#include "host/tree.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/handle.h"
#include "util/fs.h"

#define FULL_MS 2000 /* the root empties its queue at every request */

struct message {
    uint64_t key;
    uint32_t pid;
    uint32_t asks; /* the descriptor is an end to answer by */
};

union one_right {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

/* The root: what came in; another process: the ends that it waits at. */
struct kept {
    struct kept *next;
    struct message message;
    int fd;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept *g_kept;

/* With the lock. */
static int keep(const struct message *message, int fd)
{
    if (!handle_hold())
        return -EMFILE;
    struct kept *kept = malloc(sizeof(*kept));
    if (!kept) {
        handle_let_go();
        return -ENOMEM;
    }
    *kept = (struct kept){ .next = g_kept, .message = *message, .fd = fd };
    g_kept = kept;
    return 0;
}

/* The descriptor that was kept under this key; the caller's from then on. -EMFILE: there may have been no room for it. */
static int find(uint64_t key, bool asks)
{
    int fd = handle_room() ? -ENOENT : -EMFILE;
    pthread_mutex_lock(&g_lock);
    for (struct kept **at = &g_kept; *at; at = &(*at)->next) {
        struct kept *kept = *at;
        if (kept->message.key == key && !kept->message.asks == !asks) {
            fd = kept->fd;
            *at = kept->next;
            free(kept);
            handle_let_go();
            break;
        }
    }
    pthread_mutex_unlock(&g_lock);
    return fd;
}

/* --- one message with one descriptor --------------------------------------------------------- */

/* The root does not wait: nothing but this one message has gone there. */
static int send_one(int to, const struct message *message, int fd, bool waits)
{
    union one_right right = { 0 };
    struct iovec part = { (void *)(uintptr_t)message, sizeof(*message) };
    struct msghdr head = { .msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = right.bytes,
                           .msg_controllen = sizeof(right.bytes) };
    struct cmsghdr *c = CMSG_FIRSTHDR(&head);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(fd));
    for (;;) {
        if (sendmsg(to, &head, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        struct pollfd room = { .fd = to, .events = POLLOUT };
        if (errno != EINTR && (errno != EAGAIN || !waits || poll(&room, 1, FULL_MS) == 0))
            return errno == EAGAIN ? -ETOOMANYREFS : -errno;
    }
}

/* The descriptor; -EAGAIN: there is no message. */
static int receive_one(int from, struct message *ret)
{
    union one_right right;
    struct iovec part = { ret, sizeof(*ret) };
    struct msghdr head = { .msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = right.bytes,
                           .msg_controllen = sizeof(right.bytes) };
    ssize_t n = recvmsg(from, &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n <= 0)
        return n == 0 ? -EAGAIN : -errno;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&head);
    int fd = -EMFILE; /* it had no room here */
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(c), sizeof(fd));
    if (fd >= 0 && n != (ssize_t)sizeof(*ret)) {
        close(fd);
        fd = -EBADMSG;
    }
    return fd;
}

/* The root: all that was sent so far. Under the lock: whoever comes second finds what the first one received. */
static void empty_queue(const struct tree *tree)
{
    struct message message;
    int fd;
    pthread_mutex_lock(&g_lock);
    do {
        fd = receive_one(tree->pass_in, &message);
        if (fd >= 0 && keep(&message, fd) < 0)
            close(fd);
    } while (fd >= 0 || fd == -EINTR || fd == -EMFILE || fd == -EBADMSG);
    pthread_mutex_unlock(&g_lock);
}

/* --- what the OCALLs do ---------------------------------------------------------------------- */

int tree_pass_start(struct tree *tree)
{
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    tree->pass_out = sockets[0];
    tree->pass_in = sockets[1];
    return 0;
}

int tree_pass_give(struct tree *tree, int fd, uint64_t key)
{
    const struct message message = { .key = key, .pid = tree->pid };
    if (!tree->is_root)
        return send_one(tree->pass_out, &message, fd, true);
    empty_queue(tree);
    CLEANUP(close_p) int to = find(key, true);
    return to < 0 ? to : send_one(to, &message, fd, false);
}

int tree_pass_ask(struct tree *tree, uint64_t key)
{
    const struct message message = { .key = key, .pid = tree->pid, .asks = 1 };
    int sockets[2];
    if (tree->is_root)
        return -EPERM;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
        return -errno;
    int r = send_one(tree->pass_out, &message, sockets[1], true);
    close(sockets[1]);
    pthread_mutex_lock(&g_lock);
    if (r == 0)
        r = keep(&message, sockets[0]);
    pthread_mutex_unlock(&g_lock);
    if (r < 0)
        close(sockets[0]);
    return r;
}

int tree_pass_take(struct tree *tree, uint64_t key)
{
    struct message message;
    if (tree->is_root) {
        empty_queue(tree);
        return find(key, false);
    }
    CLEANUP(close_p) int from = find(key, true);
    if (from < 0)
        return from;
    int fd = receive_one(from, &message);
    return fd == -EAGAIN ? -ENOENT : fd;
}

void tree_pass_gone(struct tree *tree, uint32_t pid)
{
    struct kept *gone = NULL;
    empty_queue(tree);
    pthread_mutex_lock(&g_lock);
    for (struct kept **at = &g_kept; *at;) {
        struct kept *kept = *at;
        if (kept->message.pid != pid) {
            at = &kept->next;
            continue;
        }
        *at = kept->next;
        kept->next = gone;
        gone = kept;
    }
    pthread_mutex_unlock(&g_lock);
    while (gone) {
        struct kept *kept = gone;
        gone = kept->next;
        close(kept->fd);
        free(kept);
        handle_let_go();
    }
}
