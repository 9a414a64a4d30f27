/* Shared offsets (position.h). Tier: enclave. */
#include "vfs/remote/position.h"

#include "tree/hub.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/remote/remote.h"

/* Nothing can be done with it but what is below. */
const struct file_ops g_position_ops = { .name = "position", .travel = TRAVEL_HUB };

static int64_t ask(const struct file *position, enum remote_position what, uint64_t a, uint64_t b,
                   uint64_t c, uint64_t *ret_offset)
{
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_POSITION,
                           .args = { (uint64_t)remote_handle(position), what, a, b, c } };
    int64_t ret = hub_ask(&ask);
    if (ret_offset)
        *ret_offset = ask.out[0];
    return ret;
}

static bool is_here(const struct file *position)
{
    return position->ops == &g_position_ops;
}

uint64_t position_take(struct file *position, uint64_t size, uint64_t limit, uint64_t *ret_offset)
{
    if (is_here(position))
        return pos_take(position, &position->pos, size, limit, ret_offset);
    /* The hub may be a parent that was taken over: what it says lies within the limit all the same. */
    uint64_t offset;
    int64_t n = ask(position, POSITION_TAKE, size, limit, 0, &offset);
    *ret_offset = offset < limit ? offset : limit;
    return n < 0 || (uint64_t)n > size || (uint64_t)n > limit - *ret_offset ? 0 : (uint64_t)n;
}

void position_give_back(struct file *position, uint64_t unused)
{
    if (is_here(position))
        pos_give_back(position, &position->pos, unused);
    else
        (void)!ask(position, POSITION_GIVE_BACK, unused, 0, 0, NULL);
}

int64_t position_seek(struct file *position, int64_t offset, int whence, uint64_t size)
{
    if (is_here(position))
        return file_seek(position, offset, whence, size);
    return ask(position, POSITION_SEEK, (uint64_t)offset, (uint64_t)whence, size, NULL);
}

/* One that starts at 0. */
static int position_new(struct file **ret)
{
    if (hub_is_here()) {
        struct file *file = file_new(&g_position_ops, O_RDWR, NULL);
        if (!file)
            return -ENOMEM;
        *ret = file;
        return 0;
    }
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_POSITION,
                           .args = { UINT64_MAX, POSITION_NEW } };
    int64_t handle = hub_ask(&ask);
    if (handle < 0)
        return (int)handle;
    return remote_file(&(struct remote_info){ .handle = (int32_t)handle, .kind = REMOTE_OFFSET },
                       NULL, ret);
}

int position_share(struct file *file)
{
    if (__atomic_load_n(&file->position, __ATOMIC_ACQUIRE))
        return 0;
    struct file *fresh;
    int status = position_new(&fresh);
    if (status < 0)
        return status;
    /* Asking the hub ends soon, and who waits for this lock yields. */
    lock_take(&file->lock);
    if (!file->position) {
        int64_t at = position_seek(fresh, (int64_t)file->pos, SEEK_SET, 0);
        if (at < 0)
            status = (int)at;
        else
            __atomic_store_n(&file->position, TAKE_PTR(fresh), __ATOMIC_RELEASE);
    }
    lock_drop(&file->lock);
    file_unref(fresh);
    return status;
}
