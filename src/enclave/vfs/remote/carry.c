/*
 * Files on their way that are opened again (carry.h). Tier: enclave.
 */
#include "vfs/remote/carry.h"

#include "arch/string.h"
#include "mm/heap.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/remote/position.h"
#include "vfs/remote/serve.h"
#include "vfs/share.h"

/* The path follows, without NUL. */
struct wire {
    uint64_t pos;
    struct kstat st;
    uint32_t flags, reserved;
};

struct carried {
    struct wire wire;
    struct file *position; /* NULL: none */
    char path[];
};

static void carried_release(struct file *file)
{
    struct carried *carried = file->object;
    file_unref(carried->position);
    heap_free(carried);
}

static const struct file_ops g_carried_ops = {
    .name = "carried",
    .release = carried_release,
    .travel = TRAVEL_HUB,
};

/* --- who sends --- */

bool carry_can(const struct file *file)
{
    return file->path && (file->ops->travel == TRAVEL_PATH ||
                          (file->ops->travel == TRAVEL_HOST && file->ops == &g_host_file_ops));
}

int carry_pack(struct file *file, int32_t *ret_handle)
{
    uint32_t size = (uint32_t)strlen(file->path);
    int status = file->ops->lseek && file->ops != &g_dir_ops ? position_share(file) : 0;
    struct wire *wire = status == 0 ? heap_alloc(sizeof(*wire) + size) : NULL;
    if (!wire)
        return status < 0 ? status : -ENOMEM;
    wire->flags = file->flags;
    wire->pos = file->position ? 0 : file->pos;
    if (file->ops->fstat && file->ops->fstat(file, &wire->st) < 0)
        wire->st = (struct kstat){ .mode = 0 };
    memcpy(wire + 1, file->path, size);
    struct hub_ask ask = {
        .op = HUB_FILE_FIRST + REMOTE_ADOPT,
        .args = { ADOPT_CARRIED, file->position ? (uint64_t)remote_handle(file->position) : UINT64_MAX },
        .data = wire,
        .size = (uint32_t)sizeof(*wire) + size,
    };
    int64_t handle = hub_ask(&ask);
    heap_free(wire);
    if (handle < 0)
        return (int)handle;
    *ret_handle = (int32_t)handle;
    return 0;
}

/* --- who receives --- */

static int unpack(const struct wire *wire, const char *path, struct file **ret)
{
    struct file *file;
    /* What is opened is the sender's to say: nothing that waits, or changes more than this descriptor. */
    const uint32_t known = O_ACCMODE | O_APPEND | O_NONBLOCK | O_DIRECTORY | O_PATH | O_SYNC;
    uint32_t flags = wire->flags & known;
    int status = share_open(path, flags | O_NONBLOCK | O_NOCTTY, true, &wire->st, &file);
    if (status < 0)
        return status;
    file->flags = flags;
    file->pos = wire->pos;
    *ret = file;
    return 0;
}

struct reply {
    struct wire wire;
    char path[PATH_BUF];
};

int carry_unpack(const struct remote_info *info, struct file **ret)
{
    struct reply *reply = heap_alloc(sizeof(*reply));
    struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_UNPACK,
                           .args = { (uint64_t)info->handle },
                           .reply = reply,
                           .room = sizeof(*reply) - 1 };
    int64_t position = reply ? hub_ask(&ask) : -ENOMEM;
    (void)!hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_CLOSE, .args = { (uint64_t)info->handle } });
    int status = position < 0 && position != -ENOENT ? (int)position : 0;
    if (status == 0 && ask.reply_size <= sizeof(reply->wire))
        status = -EIO;
    if (status == 0) {
        ((char *)reply)[ask.reply_size] = '\0';
        status = unpack(&reply->wire, reply->path, ret);
    }
    heap_free(reply);
    if (position < 0)
        return status;
    struct remote_info of;
    remote_info_of(&ask, position, &of);
    struct file *offset = NULL;
    int second = remote_file(&of, NULL, &offset); /* takes the handle over in any case */
    if (status == 0 && second == 0) {
        (*ret)->position = offset;
        return 0;
    }
    file_unref(offset);
    if (status == 0)
        file_unref(*ret);
    return status < 0 ? status : second;
}

/* --- the root --- */

bool carry_is(const struct file *file)
{
    return file->ops == &g_carried_ops;
}

int carry_unpack_here(const struct file *file, struct file **ret)
{
    const struct carried *carried = file->object;
    int status = unpack(&carried->wire, carried->path, ret);
    if (status == 0 && carried->position)
        (*ret)->position = file_ref(carried->position);
    return status;
}

int carry_new(const void *data, uint32_t size, struct file *position, struct file **ret)
{
    if (size <= sizeof(struct wire) || size - sizeof(struct wire) >= PATH_BUF ||
        (position && position->ops != &g_position_ops))
        return -EINVAL;
    uint32_t length = size - (uint32_t)sizeof(struct wire);
    struct carried *carried = heap_alloc(sizeof(*carried) + length + 1);
    struct file *file = carried ? file_new(&g_carried_ops, 0, carried) : NULL;
    if (!file) {
        heap_free(carried);
        return -ENOMEM;
    }
    memcpy(&carried->wire, data, sizeof(carried->wire));
    memcpy(carried->path, (const uint8_t *)data + sizeof(carried->wire), length);
    carried->position = position ? file_ref(position) : NULL;
    *ret = file;
    return 0;
}

int64_t carry_serve(struct hub_job *job, struct file *file)
{
    if (!carry_is(file))
        return -EINVAL;
    const struct carried *carried = file->object;
    uint32_t length = (uint32_t)strlen(carried->path);
    memcpy(job->reply_data, &carried->wire, sizeof(carried->wire));
    memcpy(job->reply_data + sizeof(carried->wire), carried->path, length);
    int64_t handle = carried->position ? serve_reply(job, file_ref(carried->position)) : -ENOENT;
    if (handle >= 0 || handle == -ENOENT)
        job->reply.size = (uint32_t)sizeof(carried->wire) + length;
    return handle;
}
