/*
 * Files on their way that are opened again, or taken over from the host (carry.h). Tier: enclave.
 */
#include "vfs/remote/carry.h"

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "net/net.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/remote/position.h"
#include "vfs/remote/serve.h"
#include "vfs/share.h"

enum kind { KIND_PATH = 0, KIND_SOCKET, KIND_STREAM, KINDS };

/* KIND_PATH: the path follows, without NUL. */
struct wire {
    uint64_t pos;
    struct kstat st;
    uint32_t flags, kind;
    struct net_share net;
};

struct carried {
    struct wire wire;
    struct file *position; /* NULL: none */
    struct file *held;     /* the root's own, over the host's descriptor; NULL: KIND_PATH */
    char path[];
};

static void carried_release(struct file *file)
{
    struct carried *carried = file->object;
    file_unref(carried->position);
    file_unref(carried->held);
    heap_free(carried);
}

static const struct file_ops g_carried_ops = {
    .name = "carried",
    .release = carried_release,
    .travel = TRAVEL_HUB,
};

/* --- over the host ----------------------------------------------------------------------------- */

static enum kind kind_of(const struct file *file)
{
    if (net_is(file))
        return KIND_SOCKET;
    return file->ops == &g_host_stream_ops ? KIND_STREAM : KIND_PATH;
}

bool carry_on_host(const struct file *file)
{
    return kind_of(file) != KIND_PATH;
}

static void describe(struct file *file, struct wire *ret)
{
    *ret = (struct wire){ .flags = file->flags, .kind = kind_of(file) };
    if (ret->kind == KIND_SOCKET)
        net_share(file, &ret->net);
}

static int host_error(int64_t status)
{
    return status == -ENOMEM || status == -EMFILE || status == -ETOOMANYREFS ? (int)status : -EIO;
}

static uint64_t new_key(void)
{
    uint64_t key;
    cpu_random(&key, sizeof(key));
    return key;
}

static int give(struct file *file, uint64_t key)
{
    int64_t status = border_call2(OCALL_TREE_GIVE, 0, (uint64_t)file->ops->host_handle(file), key);
    return status < 0 ? host_error(status) : 0;
}

/* What was given under the key, as an open file by what wire says of it: the word of a process that owes us nothing. */
static int take(const struct wire *wire, uint64_t key, struct file **ret)
{
    const uint32_t known = O_ACCMODE | O_APPEND | O_NONBLOCK;
    int64_t handle = border_call1(OCALL_TREE_TAKE, INT32_MAX, key);
    if (handle < 0)
        return host_error(handle);
    if (wire->kind == KIND_SOCKET) {
        struct net_share net = wire->net;
        net.handle = (int32_t)handle;
        return net_arrive_stranger(&net, wire->flags & known, ret);
    }
    const struct host_share stream = { .handle = (int32_t)handle, .append = -1, .stream = true };
    int status = host_arrive(&stream, wire->flags & known, NULL, 0, ret);
    if (status < 0)
        border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
    return status;
}

/* --- who sends --- */

bool carry_can(const struct file *file)
{
    if (carry_on_host(file))
        return true;
    return file->path && (file->ops->travel == TRAVEL_PATH ||
                          (file->ops->travel == TRAVEL_HOST && file->ops == &g_host_file_ops));
}

static int adopt(uint64_t handle, uint64_t key, const struct wire *wire, uint32_t size,
                 int32_t *ret_handle)
{
    struct hub_ask ask = {
        .op = HUB_FILE_FIRST + REMOTE_ADOPT,
        .args = { ADOPT_CARRIED, handle, key },
        .data = wire,
        .size = size,
    };
    int64_t got = hub_ask(&ask);
    if (got < 0)
        return (int)got;
    *ret_handle = (int32_t)got;
    return 0;
}

static int pack_on_host(struct file *file, int32_t *ret_handle)
{
    struct wire wire;
    uint64_t key = new_key();
    describe(file, &wire);
    int status = give(file, key);
    return status < 0 ? status : adopt(UINT64_MAX, key, &wire, sizeof(wire), ret_handle);
}

int carry_pack(struct file *file, int32_t *ret_handle)
{
    if (carry_on_host(file))
        return pack_on_host(file, ret_handle);
    uint32_t size = (uint32_t)strlen(file->path);
    int status = file->ops->lseek && file->ops != &g_dir_ops ? position_share(file) : 0;
    struct wire *wire = status == 0 ? heap_alloc(sizeof(*wire) + size) : NULL;
    if (!wire)
        return status < 0 ? status : -ENOMEM;
    *wire = (struct wire){ .flags = file->flags, .pos = file->position ? 0 : file->pos };
    if (file->ops->fstat && file->ops->fstat(file, &wire->st) < 0)
        wire->st = (struct kstat){ .mode = 0 };
    memcpy(wire + 1, file->path, size);
    status = adopt(file->position ? (uint64_t)remote_handle(file->position) : UINT64_MAX, 0, wire,
                   (uint32_t)sizeof(*wire) + size, ret_handle);
    heap_free(wire);
    return status;
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

static int64_t ask_for(const struct remote_info *info, uint64_t key, struct reply *reply,
                       struct hub_ask *ask)
{
    *ask = (struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_UNPACK,
                             .args = { (uint64_t)info->handle, key },
                             .reply = reply,
                             .room = sizeof(*reply) - 1 };
    return hub_ask(ask);
}

static int unpack_on_host(const struct remote_info *info, struct reply *reply, struct file **ret)
{
    struct hub_ask ask;
    uint64_t key = new_key();
    int64_t asked = border_call1(OCALL_TREE_ASK, 0, key);
    if (asked < 0)
        return host_error(asked);
    int64_t status = ask_for(info, key, reply, &ask);
    if (status == -ENOENT && ask.reply_size == sizeof(reply->wire) && reply->wire.kind == info->dev)
        return take(&reply->wire, key, ret);
    int64_t handle = border_call1(OCALL_TREE_TAKE, INT32_MAX, key); /* the host forgets it */
    if (handle >= 0)
        border_call1(OCALL_CLOSE, 0, (uint64_t)handle);
    return status < 0 && status != -ENOENT ? (int)status : -EIO;
}

static int unpack_path(const struct remote_info *info, struct reply *reply, struct file **ret)
{
    struct hub_ask ask;
    int64_t position = ask_for(info, 0, reply, &ask);
    int status = position < 0 && position != -ENOENT ? (int)position : 0;
    if (status == 0 && ask.reply_size <= sizeof(reply->wire))
        status = -EIO;
    if (status == 0) {
        ((char *)reply)[ask.reply_size] = '\0';
        status = unpack(&reply->wire, reply->path, ret);
    }
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

int carry_unpack(const struct remote_info *info, struct file **ret)
{
    struct reply *reply = heap_alloc(sizeof(*reply));
    int status = !reply                   ? -ENOMEM
                 : info->dev == KIND_PATH ? unpack_path(info, reply, ret)
                                          : unpack_on_host(info, reply, ret);
    heap_free(reply);
    (void)!hub_ask(&(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_CLOSE,
                                      .args = { (uint64_t)info->handle } });
    return status;
}

/* --- the root --- */

bool carry_is(const struct file *file)
{
    return file->ops == &g_carried_ops;
}

uint32_t carry_kind(const struct file *file)
{
    const struct carried *carried = file->object;
    return carried->wire.kind;
}

int carry_unpack_here(const struct file *file, struct file **ret)
{
    const struct carried *carried = file->object;
    if (carried->held) {
        *ret = file_ref(carried->held);
        return 0;
    }
    int status = unpack(&carried->wire, carried->path, ret);
    if (status == 0 && carried->position)
        (*ret)->position = file_ref(carried->position);
    return status;
}

/* held is referenced by the caller. */
static int make(const struct wire *wire, const void *path, uint32_t path_size,
                struct file *position, struct file *held, struct file **ret)
{
    struct carried *carried = heap_alloc(sizeof(*carried) + path_size + 1);
    struct file *file = carried ? file_new(&g_carried_ops, 0, carried) : NULL;
    if (!file) {
        heap_free(carried);
        return -ENOMEM;
    }
    carried->wire = *wire;
    memcpy(carried->path, path, path_size);
    carried->position = position ? file_ref(position) : NULL;
    carried->held = held ? file_ref(held) : NULL;
    *ret = file;
    return 0;
}

int carry_hold(struct file *file, struct file **ret)
{
    struct wire wire;
    describe(file, &wire);
    return make(&wire, "", 0, NULL, file, ret);
}

int carry_new(const void *data, uint32_t size, uint64_t key, struct file *position,
              struct file **ret)
{
    struct wire wire;
    if (size < sizeof(wire) || (position && position->ops != &g_position_ops))
        return -EINVAL;
    memcpy(&wire, data, sizeof(wire));
    uint32_t length = size - (uint32_t)sizeof(wire);
    if (wire.kind >= KINDS || (wire.kind == KIND_PATH) != (length > 0) || length >= PATH_BUF)
        return -EINVAL;
    if (wire.kind == KIND_PATH)
        return make(&wire, (const uint8_t *)data + sizeof(wire), length, position, NULL, ret);
    struct file *held;
    int status = take(&wire, key, &held);
    if (status == 0) {
        status = carry_hold(held, ret);
        file_unref(held);
    }
    return status;
}

int64_t carry_serve(struct hub_job *job, struct file *file)
{
    if (!carry_is(file))
        return -EINVAL;
    const struct carried *carried = file->object;
    uint32_t length = (uint32_t)strlen(carried->path);
    int status = carried->held ? give(carried->held, job->request.args[1]) : 0;
    if (status < 0)
        return status;
    memcpy(job->reply_data, &carried->wire, sizeof(carried->wire));
    memcpy(job->reply_data + sizeof(carried->wire), carried->path, length);
    int64_t handle = carried->position ? serve_reply(job, file_ref(carried->position)) : -ENOENT;
    if (handle >= 0 || handle == -ENOENT)
        job->reply.size = (uint32_t)sizeof(carried->wire) + length;
    return handle;
}
