/* OCALLs of process trees: abi/tree.h and tree.h say how slots, waits and processes work. */
#include "host/ocall.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/handle.h"
#include "host/record.h"
#include "host/tree.h"
#include "util/fs.h"

static struct tree *tree_of(struct host_thread *t)
{
    return __atomic_load_n(&t->host->tree, __ATOMIC_ACQUIRE);
}

/* 0 if there is a tree that has this slot. */
static int check(struct host_thread *t, uint64_t slot, uint64_t direction)
{
    return tree_of(t) && slot < TREE_SLOTS && direction <= TREE_TO_CLIENT ? 0 : -EINVAL;
}

int64_t ocall_tree_open(struct host_thread *t, const uint64_t args[6] UNUSED)
{
    if (t->host->child)
        return -EPERM;
    int r = tree_open(t->host);
    if (r < 0)
        return r;
    t->block->out[0] = (uint64_t)(uintptr_t)tree_of(t)->region;
    return 0;
}

int64_t ocall_tree_spawn(struct host_thread *t, const uint64_t args[6])
{
    uint8_t mrenclave[32];
    if (check(t, args[0], 0) < 0 || check(t, args[1], 0) < 0 || args[0] == args[1] ||
        args[2] > TREE_HANDLES_MAX)
        return -EINVAL;
    memcpy(mrenclave, t->data, sizeof(mrenclave));
    size_t count = args[2];
    CLEANUP(free_p) int32_t *handles = malloc((count + 1) * sizeof(*handles));
    if (!handles)
        return -ENOMEM;
    memcpy(handles, t->data + sizeof(mrenclave), count * sizeof(*handles));
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool open = handles[i] >= 0 && handle_fd((uint64_t)handles[i]) >= 0;
        /* A standard stream that was closed from the start is closed in the new process, too. */
        if (!open && (handles[i] < 0 || handles[i] > 2))
            return -EBADF;
        if (open)
            handles[kept++] = handles[i];
    }
    return tree_spawn(t->host, mrenclave, (uint32_t)args[0], (uint32_t)args[1], handles, kept);
}

int64_t ocall_tree_post(struct host_thread *t, const uint64_t args[6])
{
    int r = check(t, args[0], args[1]);
    if (r < 0)
        return r;
    record_post(tree_of(t), (uint32_t)args[0], (uint32_t)args[1]);
    tree_post(tree_of(t), (uint32_t)args[0], (uint32_t)args[1]);
    return 0;
}

int64_t ocall_tree_taken(struct host_thread *t, const uint64_t args[6])
{
    int r = check(t, args[0], args[1]);
    if (r < 0)
        return r;
    tree_take(tree_of(t), (uint32_t)args[0], (uint32_t)args[1]);
    return 0;
}

static int64_t wait_for(struct host_thread *t, const uint64_t args[6], enum tree_count what)
{
    int r = check(t, args[0], args[1]);
    if (r < 0)
        return r;
    return tree_wait(t, (uint32_t)args[0], (uint32_t)args[1], what, (uint32_t)args[2], args[3]);
}

int64_t ocall_tree_wait(struct host_thread *t, const uint64_t args[6])
{
    return wait_for(t, args, TREE_POSTED);
}

int64_t ocall_tree_room(struct host_thread *t, const uint64_t args[6])
{
    return wait_for(t, args, TREE_TAKEN);
}

int64_t ocall_tree_call(struct host_thread *t, const uint64_t args[6])
{
    int r = check(t, args[0], args[1]);
    if (r < 0)
        return r;
    record_post(tree_of(t), (uint32_t)args[0], (uint32_t)args[1]);
    tree_post(tree_of(t), (uint32_t)args[0], (uint32_t)args[1]);
    return tree_wait(t, (uint32_t)args[0], (uint32_t)args[1] ^ 1, TREE_POSTED, (uint32_t)args[2],
                     OCALL_NEVER);
}

int64_t ocall_tree_serve(struct host_thread *t, const uint64_t args[6])
{
    if (!tree_of(t) || !tree_of(t)->is_root)
        return -EPERM;
    return tree_serve(t, args[0]);
}

static int64_t signal_client(struct host_thread *t, uint64_t slot, int signal)
{
    int r = check(t, slot, 0);
    return r < 0 ? r : tree_signal(tree_of(t), (uint32_t)slot, signal);
}

int64_t ocall_tree_nudge(struct host_thread *t, const uint64_t args[6])
{
    return signal_client(t, args[0], SIGURG);
}

int64_t ocall_tree_kill(struct host_thread *t, const uint64_t args[6])
{
    return signal_client(t, args[0], SIGKILL);
}

int64_t ocall_tree_free(struct host_thread *t, const uint64_t args[6])
{
    int r = check(t, args[0], 0);
    if (r < 0)
        return r;
    record_free((uint32_t)args[0]);
    tree_reaper_lock();
    tree_slot_free(tree_of(t), (uint32_t)args[0]);
    tree_reaper_unlock();
    return 0;
}

int64_t ocall_tree_give(struct host_thread *t, const uint64_t args[6])
{
    int fd = handle_fd(args[0]);
    if (!tree_of(t))
        return -EINVAL;
    return fd < 0 ? fd : tree_pass_give(tree_of(t), fd, args[1]);
}

int64_t ocall_tree_ask(struct host_thread *t, const uint64_t args[6])
{
    return tree_of(t) ? tree_pass_ask(tree_of(t), args[0]) : -EINVAL;
}

int64_t ocall_tree_take(struct host_thread *t, const uint64_t args[6])
{
    int fd = tree_of(t) ? tree_pass_take(tree_of(t), args[0]) : -EINVAL;
    return fd < 0 ? fd : handle_add(fd);
}

int64_t ocall_tree_bye(struct host_thread *t, const uint64_t args[6] UNUSED)
{
    if (!t->host->child)
        return -EPERM;
    host_finish(t->host, 0);
}
