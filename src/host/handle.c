#include "host/handle.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_MOST 32u /* of a limit of 128 or more; of a smaller one a quarter */

static _Atomic uint8_t g_kind[HANDLE_MAX];
static _Atomic uint32_t g_count;     /* handles above 2, and what is held */
static uint32_t g_most = HANDLE_MAX; /* sockets that bring it above this are refused */

static void learn_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    uint32_t all = limit.rlim_cur < HANDLE_MAX ? (uint32_t)limit.rlim_cur : HANDLE_MAX;
    g_most = all - (all / 4 < KEPT_MOST ? all / 4 : KEPT_MOST);
}

bool handle_room(void)
{
    return atomic_load_explicit(&g_count, memory_order_relaxed) < g_most;
}

bool handle_hold(void)
{
    bool room = handle_room();
    if (room)
        atomic_fetch_add_explicit(&g_count, 1, memory_order_relaxed);
    return room;
}

void handle_let_go(void)
{
    atomic_fetch_sub_explicit(&g_count, 1, memory_order_relaxed);
}

int handle_init(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        rlim_t want = limit.rlim_max < HANDLE_MAX ? limit.rlim_max : HANDLE_MAX;
        if (limit.rlim_cur < want) {
            limit.rlim_cur = want;
            setrlimit(RLIMIT_NOFILE, &limit);
        }
    }
    learn_limit();
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            g_kind[fd] = HANDLE_UNKNOWN;
            continue;
        }
        g_kind[fd] = HANDLE_CLOSED;
        /* Lowest free number: all below fd are open by now. */
        if (open("/dev/null", O_RDWR | O_NOCTTY) != fd)
            return -EBADF;
    }
    return 0;
}

int handle_init_inherited(const int32_t *handles, size_t count)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR | O_NOCTTY) != fd)
            return -EBADF;
    learn_limit();
    g_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        if (handles[i] < 0 || handles[i] >= HANDLE_MAX || fcntl(handles[i], F_GETFD) < 0)
            return -EBADF;
        g_kind[handles[i]] = HANDLE_UNKNOWN;
    }
    return 0;
}

int handle_add(int fd)
{
    if (fd >= HANDLE_MAX) {
        close(fd);
        return -EMFILE;
    }
    atomic_store_explicit(&g_kind[fd], HANDLE_UNKNOWN, memory_order_relaxed);
    atomic_fetch_add_explicit(&g_count, 1, memory_order_relaxed);
    return fd;
}

int handle_fd(uint64_t handle)
{
    if (handle >= HANDLE_MAX ||
        atomic_load_explicit(&g_kind[handle], memory_order_relaxed) == HANDLE_CLOSED)
        return -EBADF;
    return (int)handle;
}

int handle_fd_kind(uint64_t handle, bool *ret_blocks)
{
    int fd = handle_fd(handle);
    if (fd < 0)
        return fd;
    uint8_t kind = atomic_load_explicit(&g_kind[fd], memory_order_relaxed);
    if (kind == HANDLE_UNKNOWN) {
        struct stat st;
        kind = HANDLE_BLOCKS;
        if (fstat(fd, &st) == 0 &&
            (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)))
            kind = HANDLE_PLAIN;
        uint8_t expected = HANDLE_UNKNOWN;
        atomic_compare_exchange_strong(&g_kind[fd], &expected, kind);
    }
    *ret_blocks = kind == HANDLE_BLOCKS;
    return fd;
}

int handle_close(uint64_t handle)
{
    int fd = handle_fd(handle);
    if (fd < 0)
        return fd;
    /* First, so that another thread's OCALL_OPEN that gets this number is not taken away. */
    if (atomic_exchange(&g_kind[fd], HANDLE_CLOSED) == HANDLE_CLOSED)
        return -EBADF;
    if (fd > 2) {
        atomic_fetch_sub_explicit(&g_count, 1, memory_order_relaxed);
        return close(fd) < 0 ? -errno : 0;
    }
    int null = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (null < 0)
        return -errno;
    int r = dup3(null, fd, 0) < 0 ? -errno : 0;
    close(null);
    return r;
}

static void *close_it(void *arg)
{
    close((int)(intptr_t)arg);
    return NULL;
}

int handle_close_aside(uint64_t handle)
{
    int fd = handle_fd(handle);
    struct linger linger;
    socklen_t size = sizeof(linger);
    if (fd <= 2 || getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) < 0 || !linger.l_onoff ||
        !linger.l_linger)
        return handle_close(handle);
    if (atomic_exchange(&g_kind[fd], HANDLE_CLOSED) == HANDLE_CLOSED)
        return -EBADF;
    atomic_fetch_sub_explicit(&g_count, 1, memory_order_relaxed);
    pthread_t id;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&id, NULL, close_it, (void *)(intptr_t)fd);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return close(fd) < 0 ? -errno : 0;
    pthread_detach(id);
    return 0;
}
