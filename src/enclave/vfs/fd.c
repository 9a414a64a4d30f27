/*
 * The descriptor table of a process. Grows up to RLIMIT_NOFILE. Tier: enclave.
 */
#include "vfs/fd.h"

#include "arch/string.h"
#include "mm/heap.h"
#include "process/process.h"
#include "vfs/linux.h"

struct slot {
    struct file *file;
    bool cloexec;
    bool reserved; /* without file */
};

struct fd_table {
    struct lock lock;
    struct slot *slots;
    int room;     /* slots there are */
    int free_min; /* no free slot below */
    int limit;
};

static struct fd_table *own(void)
{
    return process_current()->fds;
}

/* --- tables ------------------------------------------------------------------------------------ */

struct fd_table *fd_table_new(void)
{
    struct fd_table *table = heap_alloc(sizeof(*table));
    if (table)
        table->limit = (int)process_node()->fd_limit;
    return table;
}

struct fd_table *fd_table_copy(struct fd_table *from)
{
    struct fd_table *table = fd_table_new();
    if (!table)
        return NULL;
    LOCKED(&from->lock);
    if (from->room) {
        table->slots = heap_alloc((size_t)from->room * sizeof(*table->slots));
        if (!table->slots) {
            heap_free(table);
            return NULL;
        }
    }
    table->room = from->room;
    table->free_min = from->free_min;
    table->limit = from->limit;
    for (int fd = 0; fd < from->room; fd++) {
        table->slots[fd] = from->slots[fd];
        table->slots[fd].reserved = false;
        if (fd < table->free_min && from->slots[fd].reserved)
            table->free_min = fd;
        if (table->slots[fd].file)
            file_ref(table->slots[fd].file);
    }
    return table;
}

int fd_table_next(struct fd_table *table, int fd)
{
    LOCKED(&table->lock);
    for (; fd < table->room; fd++)
        if (fd >= 0 && table->slots[fd].file)
            return fd;
    return -1;
}

struct file *fd_table_get(struct fd_table *table, int fd, bool *ret_cloexec)
{
    LOCKED(&table->lock);
    if (fd < 0 || fd >= table->room || !table->slots[fd].file)
        return NULL;
    *ret_cloexec = table->slots[fd].cloexec;
    return file_ref(table->slots[fd].file);
}

/* Takes the file out of the table. */
static struct file *take(struct fd_table *table, int fd)
{
    LOCKED(&table->lock);
    if (fd < 0 || fd >= table->room)
        return NULL;
    struct file *file = table->slots[fd].file;
    if (!file)
        return NULL;
    table->slots[fd] = (struct slot){ .file = NULL };
    if (fd < table->free_min)
        table->free_min = fd;
    return file;
}

static void closed(struct file *file)
{
    if (!process_current()->vfork)
        fd_closed(file);
    file_unref(file);
}

void fd_table_clear(struct fd_table *table)
{
    for (int fd = 0; (fd = fd_table_next(table, fd)) >= 0; fd++)
        file_unref(take(table, fd));
}

void fd_table_free(struct fd_table *table)
{
    if (!table)
        return;
    fd_table_clear(table);
    heap_free(table->slots);
    heap_free(table);
}

void fd_table_close_on_exec(struct fd_table *table)
{
    for (int fd = fd_table_next(table, 0); fd >= 0; fd = fd_table_next(table, fd + 1)) {
        bool cloexec;
        struct file *file = fd_table_get(table, fd, &cloexec);
        file_unref(file);
        if (file && cloexec && (file = take(table, fd)))
            closed(file);
    }
}

/* --- the calling process's --------------------------------------------------------------------- */

int fd_limit(void)
{
    return own()->limit;
}

void fd_limit_set(int limit)
{
    int max = (int)process_node()->fd_limit;
    own()->limit = limit < max ? limit : max;
}

/* Locked: room for descriptor fd. */
static int grow(struct fd_table *table, int fd)
{
    if (fd < table->room)
        return 0;
    int room = table->room ? table->room : 64;
    while (room <= fd)
        room *= 2;
    struct slot *slots = heap_realloc(table->slots, (size_t)room * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    memset(slots + table->room, 0, (size_t)(room - table->room) * sizeof(*slots));
    table->slots = slots;
    table->room = room;
    return 0;
}

struct file *fd_get(int fd)
{
    struct fd_table *table = own();
    LOCKED(&table->lock);
    if (fd < 0 || fd >= table->room || !table->slots[fd].file)
        return NULL;
    return file_ref(table->slots[fd].file);
}

static int occupy(int min, struct slot slot)
{
    if (min < 0)
        return -EINVAL;
    struct fd_table *table = own();
    LOCKED(&table->lock);
    int fd = min > table->free_min ? min : table->free_min;
    while (fd < table->room && (table->slots[fd].file || table->slots[fd].reserved))
        fd++;
    if (fd >= table->limit)
        return -EMFILE;
    int status = grow(table, fd);
    if (status < 0)
        return status;
    table->slots[fd] = slot;
    if (min <= table->free_min)
        table->free_min = fd + 1;
    return fd;
}

int fd_install(struct file *file, int min, bool cloexec)
{
    return occupy(min, (struct slot){ .file = file, .cloexec = cloexec });
}

int fd_reserve(void)
{
    return occupy(0, (struct slot){ .reserved = true });
}

void fd_fill(int fd, struct file *file, bool cloexec)
{
    struct fd_table *table = own();
    LOCKED(&table->lock);
    table->slots[fd] = (struct slot){ .file = file, .cloexec = cloexec };
}

void fd_unreserve(int fd)
{
    struct fd_table *table = own();
    LOCKED(&table->lock);
    table->slots[fd].reserved = false;
    if (fd < table->free_min)
        table->free_min = fd;
}

int fd_close(int fd)
{
    struct file *file = take(own(), fd);
    if (!file)
        return -EBADF;
    closed(file);
    return 0;
}

int fd_replace(struct file *file, int fd, bool cloexec)
{
    struct fd_table *table = own();
    struct file *old;
    {
        LOCKED(&table->lock);
        if (fd < 0 || fd >= table->limit)
            return -EBADF;
        int status = grow(table, fd);
        if (status < 0)
            return status;
        if (table->slots[fd].reserved)
            return -EBUSY;
        old = table->slots[fd].file;
        table->slots[fd] = (struct slot){ .file = file, .cloexec = cloexec };
    }
    if (old)
        closed(old);
    return fd;
}

int fd_cloexec(int fd)
{
    struct fd_table *table = own();
    LOCKED(&table->lock);
    if (fd < 0 || fd >= table->room || !table->slots[fd].file)
        return -EBADF;
    return table->slots[fd].cloexec;
}

int fd_set_cloexec(int fd, bool on)
{
    struct fd_table *table = own();
    LOCKED(&table->lock);
    if (fd < 0 || fd >= table->room || !table->slots[fd].file)
        return -EBADF;
    table->slots[fd].cloexec = on;
    return 0;
}

int fd_next(int fd)
{
    return fd_table_next(own(), fd);
}
