/*
 * The descriptor table of the one process. Grows up to RLIMIT_NOFILE. Tier: enclave.
 */
#include "vfs/fd.h"

#include "arch/string.h"
#include "mm/heap.h"
#include "process/process.h"
#include "vfs/linux.h"

struct slot {
    struct file *file;
    bool cloexec;
};

static struct lock g_lock;
static struct slot *g_slots;
static int g_room;     /* slots there are */
static int g_free_min; /* no free slot below */
static int g_limit;

int fd_limit(void)
{
    if (!g_limit)
        g_limit = (int)process_node()->fd_limit;
    return g_limit;
}

void fd_limit_set(int limit)
{
    int max = (int)process_node()->fd_limit;
    g_limit = limit < max ? limit : max;
}

/* Locked: room for descriptor fd. */
static int grow(int fd)
{
    if (fd < g_room)
        return 0;
    int room = g_room ? g_room : 64;
    while (room <= fd)
        room *= 2;
    struct slot *slots = heap_realloc(g_slots, (size_t)room * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    g_slots = slots;
    g_room = room;
    return 0;
}

struct file *fd_get(int fd)
{
    LOCKED(&g_lock);
    if (fd < 0 || fd >= g_room || !g_slots[fd].file)
        return NULL;
    return file_ref(g_slots[fd].file);
}

int fd_install(struct file *file, int min, bool cloexec)
{
    if (min < 0)
        return -EINVAL;
    LOCKED(&g_lock);
    int fd = min > g_free_min ? min : g_free_min;
    while (fd < g_room && g_slots[fd].file)
        fd++;
    if (fd >= fd_limit())
        return -EMFILE;
    int status = grow(fd);
    if (status < 0)
        return status;
    g_slots[fd] = (struct slot){ file, cloexec };
    if (min <= g_free_min)
        g_free_min = fd + 1;
    return fd;
}

/* Takes the file out of the table. */
static struct file *take(int fd)
{
    LOCKED(&g_lock);
    if (fd < 0 || fd >= g_room)
        return NULL;
    struct file *file = g_slots[fd].file;
    g_slots[fd] = (struct slot){ NULL, false };
    if (file && fd < g_free_min)
        g_free_min = fd;
    return file;
}

int fd_close(int fd)
{
    struct file *file = take(fd);
    if (!file)
        return -EBADF;
    fd_closed(file);
    file_unref(file);
    return 0;
}

int fd_replace(struct file *file, int fd, bool cloexec)
{
    struct file *old;
    {
        LOCKED(&g_lock);
        if (fd < 0 || fd >= fd_limit())
            return -EBADF;
        int status = grow(fd);
        if (status < 0)
            return status;
        old = g_slots[fd].file;
        g_slots[fd] = (struct slot){ file, cloexec };
    }
    if (old)
        fd_closed(old);
    file_unref(old);
    return fd;
}

int fd_cloexec(int fd)
{
    LOCKED(&g_lock);
    if (fd < 0 || fd >= g_room || !g_slots[fd].file)
        return -EBADF;
    return g_slots[fd].cloexec;
}

int fd_set_cloexec(int fd, bool on)
{
    LOCKED(&g_lock);
    if (fd < 0 || fd >= g_room || !g_slots[fd].file)
        return -EBADF;
    g_slots[fd].cloexec = on;
    return 0;
}

int fd_next(int fd)
{
    LOCKED(&g_lock);
    for (; fd < g_room; fd++)
        if (fd >= 0 && g_slots[fd].file)
            return fd;
    return -1;
}
