/*
 * Open files on their way to another process (share.h). Tier: enclave.
 *
 * The stream: for each description what it is and how to get it; then the descriptors. Positions of files that are
 * opened again there, or come over the host's handle, move to the hub when the file has a descriptor.
 */
#include "vfs/share.h"

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anew.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/vma.h"
#include "net/net.h"
#include "net/netlink.h"
#include "process/process.h"
#include "tree/hub.h"
#include "vfs/dev/dev.h"
#include "vfs/fd.h"
#include "vfs/host/host.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/remote/give.h"
#include "vfs/remote/position.h"
#include "vfs/trusted/trusted.h"

#define ITEMS_MAX    131072u
#define NOTHING      UINT32_MAX
#define MAJOR_MEMORY 1 /* /dev/null and its like */

struct item {
    struct file *file;
    bool has_fd;
    uint8_t travel; /* enum file_travel */
    struct host_share host;
    struct net_share net;        /* TRAVEL_SOCKET */
    struct remote_info remote;   /* TRAVEL_HUB */
    struct remote_info position; /* handle -1: none */
};

struct share_fd {
    int32_t fd;
    uint32_t item, cloexec;
};

struct share {
    int32_t pid;
    bool all;
    struct item *items;
    struct share_fd *fds;
    int32_t *handles;
    uint32_t item_count, item_room, fd_count, fd_room, handle_count;
};

/* --- what goes ---------------------------------------------------------------------------------- */

static int room_for_one(void **array, uint32_t count, uint32_t *room, size_t size)
{
    if (count < *room)
        return 0;
    uint32_t want = *room ? *room * 2 : 16;
    void *more = want > ITEMS_MAX ? NULL : heap_realloc(*array, want * size);
    if (!more)
        return -ENOMEM;
    *array = more;
    *room = want;
    return 0;
}

static uint32_t find(const struct share *share, const struct file *file)
{
    for (uint32_t i = 0; i < share->item_count; i++)
        if (share->items[i].file == file)
            return i;
    return NOTHING;
}

/* Its index; takes over the reference. */
static int64_t add_file(struct share *share, struct file *file)
{
    uint32_t have = find(share, file);
    int status = 0;
    if (have == NOTHING)
        status = room_for_one((void **)&share->items, share->item_count, &share->item_room,
                              sizeof(*share->items));
    if (have != NOTHING || status < 0) {
        file_unref(file);
        return status < 0 ? status : (int64_t)have;
    }
    share->items[share->item_count] =
        (struct item){ .file = file, .remote.handle = -1, .position.handle = -1 };
    return share->item_count++;
}

static int add_descriptors(struct share *share, struct fd_table *table, bool all)
{
    for (int fd = fd_table_next(table, 0); fd >= 0; fd = fd_table_next(table, fd + 1)) {
        bool cloexec = false;
        struct file *file = fd_table_get(table, fd, &cloexec);
        if (!file || (cloexec && !all)) {
            file_unref(file);
            continue;
        }
        int64_t item = add_file(share, file);
        if (item < 0)
            return (int)item;
        share->items[item].has_fd = true;
        int status = room_for_one((void **)&share->fds, share->fd_count, &share->fd_room,
                                  sizeof(*share->fds));
        if (status < 0)
            return status;
        share->fds[share->fd_count++] = (struct share_fd){ fd, (uint32_t)item, cloexec };
    }
    return 0;
}

/* Files that only mappings hold: an unlinked one cannot be found by its path. */
static int add_mappings(struct share *share)
{
    int64_t status = 0;
    LOCKED(mm_lock());
    for (uint32_t i = 0; i < vma_count() && status >= 0; i++) {
        struct file *file = vma_at(i)->file;
        if (file && file->ops->travel != TRAVEL_PATH)
            status = add_file(share, file_ref(file));
    }
    return status < 0 ? (int)status : 0;
}

static void add_handle(struct share *share, int32_t handle)
{
    for (uint32_t i = 0; i < share->handle_count; i++)
        if (share->handles[i] == handle)
            return;
    if (handle >= 0)
        share->handles[share->handle_count++] = handle;
}

/* The offset of what is no stream. */
static int prepare_position(struct share *share, struct item *item)
{
    struct file *file = item->file;
    if (!item->has_fd || !file->ops->lseek || file->ops == &g_dir_ops ||
        file->ops == &g_host_stream_ops)
        return 0;
    int status = position_share(file);
    return status < 0 ? status : remote_give(share->pid, file->position, &item->position);
}

/* A trusted file may be one that another program's manifest does not name. Who inherits it may read it all the same:
 * the root reads, and verifies, for it. */
static uint8_t travel_of(const struct share *share, const struct file *file)
{
    if (file->ops == &g_trusted_file_ops && hub_is_here() && !share->all)
        return TRAVEL_HUB;
    return file->ops->travel;
}

static int prepare(struct share *share, struct item *item)
{
    struct file *file = item->file;
    int status;
    item->travel = travel_of(share, file);
    switch (item->travel) {
    case TRAVEL_HUB:
        if (!hub_is_here() && file->ops->move && (status = file->ops->move(file)) < 0)
            return status;
        return remote_give(share->pid, file, &item->remote);
    case TRAVEL_HOST:
        host_share(file, &item->host);
        add_handle(share, item->host.handle);
        add_handle(share, item->host.append);
        return prepare_position(share, item);
    case TRAVEL_SOCKET:
        net_share(file, &item->net);
        add_handle(share, item->net.handle);
        return 0;
    case TRAVEL_PATH: return file->path ? prepare_position(share, item) : 0;
    default: return 0;
    }
}

int share_prepare(int32_t pid, struct fd_table *table, bool all, struct share **ret)
{
    struct share *share = heap_alloc(sizeof(*share));
    if (!share)
        return -ENOMEM;
    share->pid = pid;
    share->all = all;
    int status = add_descriptors(share, table, all);
    if (status == 0 && all)
        status = add_mappings(share);
    if (status == 0 && share->item_count) {
        share->handles = heap_alloc(share->item_count * 2 * sizeof(*share->handles));
        if (!share->handles)
            status = -ENOMEM;
    }
    for (uint32_t i = 0; i < share->item_count && status == 0; i++)
        status = prepare(share, &share->items[i]);
    if (status < 0) {
        share_done(share, false);
        return status;
    }
    *ret = share;
    return 0;
}

const int32_t *share_handles(const struct share *share, uint32_t *ret_count)
{
    *ret_count = share->handle_count;
    return share->handles;
}

int32_t share_number(const struct share *share, const struct file *file)
{
    uint32_t i = find(share, file);
    return i == NOTHING ? -1 : (int32_t)i;
}

/* Handles at the hub go with a process that does not start. */
void share_done(struct share *share, bool sent UNUSED)
{
    if (!share)
        return;
    for (uint32_t i = 0; i < share->item_count; i++)
        file_unref(share->items[i].file);
    heap_free(share->items);
    heap_free(share->fds);
    heap_free(share->handles);
    heap_free(share);
}

/* --- sending ------------------------------------------------------------------------------------ */

static void send_info(const struct remote_info *info, struct tree_stream *s)
{
    tree_put_u32(s, (uint32_t)info->handle);
    tree_put_u32(s, info->kind);
    tree_put_u32(s, info->flags);
    tree_put_u64(s, info->dev);
    tree_put_u64(s, info->ino);
}

/* What the other process makes again. Members of an epoll instance that do not go there are left out. */
static void send_anew(const struct share *share, struct file *file, struct tree_stream *s)
{
    struct anew anew = { .kind = ANEW_NONE };
    struct anew_member *members = NULL;
    uint32_t count = 0;
    if (!signalfd_describe(file, &anew) && !timerfd_describe(file, &anew) &&
        !netlink_describe(file, &anew) && epoll_describe(file, &anew)) {
        count = epoll_members(file, NULL, 0);
        members = heap_alloc(count * sizeof(*members) + 1);
        uint32_t now = members ? epoll_members(file, members, count) : 0;
        count = now < count ? now : count;
    }
    tree_put_bytes(s, &anew, sizeof(anew));
    tree_put_u32(s, count);
    for (uint32_t i = 0; i < count; i++) {
        tree_put_u32(s, find(share, members[i].file));
        tree_put_u32(s, (uint32_t)members[i].fd);
        tree_put_u32(s, members[i].events);
        tree_put_u64(s, members[i].data);
    }
    heap_free(members);
}

static void send_item(const struct share *share, const struct item *item, struct tree_stream *s)
{
    struct file *file = item->file;
    struct kstat st = { .mode = 0 };
    tree_put_u32(s, item->travel);
    tree_put_u32(s, file->flags);
    tree_put_string(s, file->path, file->path ? (uint32_t)strlen(file->path) : 0);
    switch (item->travel) {
    case TRAVEL_HUB: send_info(&item->remote, s); break;
    case TRAVEL_HOST:
        tree_put_bytes(s, &item->host, sizeof(item->host));
        send_info(&item->position, s);
        break;
    case TRAVEL_SOCKET: tree_put_bytes(s, &item->net, sizeof(item->net)); break;
    case TRAVEL_PATH:
        if (file->ops->fstat && file->ops->fstat(file, &st) < 0)
            st = (struct kstat){ .mode = 0 };
        tree_put_bytes(s, &st, sizeof(st));
        tree_put_u64(s, file->position ? 0 : file->pos);
        send_info(&item->position, s);
        break;
    default: send_anew(share, file, s); break;
    }
}

void share_send(struct share *share, struct tree_stream *s)
{
    tree_put_u32(s, share->item_count);
    for (uint32_t i = 0; i < share->item_count; i++)
        send_item(share, &share->items[i], s);
    tree_put_u32(s, share->fd_count);
    for (uint32_t i = 0; i < share->fd_count; i++)
        tree_put_bytes(s, &share->fds[i], sizeof(share->fds[i]));
}

/* --- what cannot be had here ------------------------------------------------------------------- */

/* A file that this program's manifest does not grant, or that cannot be made again: it is there, and says what it
 * was, but nothing can be read. */
static int64_t denied_read(struct file *file, void *user UNUSED, uint64_t size UNUSED,
                           uint64_t *pos UNUSED)
{
    const char *path = file->path ? file->path : "";
    audit_once(OCALL_AUDIT_NOT_GRANTED, EACCES, path, strlen(path));
    return -EACCES;
}

static int denied_fstat(struct file *file, struct kstat *ret)
{
    *ret = *(const struct kstat *)file->object;
    return 0;
}

static void denied_release(struct file *file)
{
    heap_free(file->object);
}

static const struct file_ops g_denied_ops = {
    .name = "denied",
    .read = denied_read,
    .fstat = denied_fstat,
    .release = denied_release,
};

static int denied_file(uint32_t flags, const char *path, const struct kstat *st, struct file **ret)
{
    struct kstat *copy = heap_alloc(sizeof(*copy));
    struct file *file = copy ? file_new(&g_denied_ops, flags, copy) : NULL;
    if (!file) {
        heap_free(copy);
        return -ENOMEM;
    }
    *copy = *st;
    int status = path ? file_set_path(file, path, (uint32_t)strlen(path)) : 0;
    if (status < 0) {
        file_unref(file);
        return status;
    }
    *ret = file;
    return 0;
}

/* --- receiving ----------------------------------------------------------------------------------- */

struct watch {
    struct watch *next;
    struct file *epoll; /* one of those received */
    uint32_t number;
    struct anew_member member;
};

static struct {
    struct file **files;
    uint32_t count;
    struct watch *watches;
} g_received;

static void get_info(struct tree_stream *s, struct remote_info *ret)
{
    *ret = (struct remote_info){ .handle = (int32_t)tree_get_u32(s) };
    ret->kind = tree_get_u32(s);
    ret->flags = tree_get_u32(s);
    ret->dev = tree_get_u64(s);
    ret->ino = tree_get_u64(s);
}

static int set_position(struct file *file, const struct remote_info *info)
{
    return info->handle < 0 ? 0 : remote_file(info, NULL, &file->position);
}

/* May a process that is not this one's parent name it? Not what travels otherwise (scratch: the hub decides who has
 * it), and not what is another file in each process (/proc, terminals). */
static bool for_anyone(const struct place *place)
{
    struct kstat st;
    if (place->fs == &g_proc_fs || place->fs == &g_pts_fs)
        return false;
    if (S_ISCHR(place->mode))
        return place_stat(place, &st) == 0 && st.rdev >> 8 == MAJOR_MEMORY;
    return S_ISDIR(place->mode) || (place->fs != &g_tmpfs_fs && place->fs != &g_remote_fs);
}

static int open_again(const char *path, uint32_t flags, bool stranger, struct file **ret)
{
    char buf[PATH_BUF];
    struct place place;
    int status = place_at_kernel(AT_FDCWD, path, strlen(path), WALK_NOFOLLOW, buf, &place);
    if (status < 0)
        return status;
    status = stranger && !for_anyone(&place)
                 ? -EACCES
                 : place_open(&place, flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC), ret);
    place_done(&place);
    return status;
}

int share_open(const char *path, uint32_t flags, bool stranger, const struct kstat *st,
               struct file **ret)
{
    int status = path ? open_again(path, flags, stranger, ret) : -ENOENT;
    if (status < 0 && status != -ENOMEM)
        status = denied_file(flags, path, st, ret);
    if (status == 0)
        (*ret)->flags = flags;
    return status;
}

static int receive_path(struct tree_stream *s, uint32_t flags, const char *path, struct file **ret)
{
    struct kstat st;
    struct remote_info position;
    tree_get_bytes(s, &st, sizeof(st));
    uint64_t pos = tree_get_u64(s);
    get_info(s, &position);
    if (s->error)
        return s->error;
    int status = share_open(path, flags, false, &st, ret);
    if (status < 0)
        return status;
    (*ret)->pos = pos;
    return set_position(*ret, &position);
}

static int receive_host(struct tree_stream *s, uint32_t flags, const char *path, struct file **ret)
{
    struct host_share host;
    struct remote_info position;
    tree_get_bytes(s, &host, sizeof(host));
    get_info(s, &position);
    if (s->error)
        return s->error;
    int status = host_arrive(&host, flags, path, path ? (uint32_t)strlen(path) : 0, ret);
    return status < 0 ? status : set_position(*ret, &position);
}

static int receive_socket(struct tree_stream *s, uint32_t flags, struct file **ret)
{
    struct net_share net;
    tree_get_bytes(s, &net, sizeof(net));
    return s->error ? s->error : net_arrive(&net, flags, ret);
}

/* An epoll instance's members are watched once all files are there. */
static int get_members(struct tree_stream *s, uint32_t count, struct file *file)
{
    for (uint32_t i = 0; i < count; i++) {
        struct watch *watch = heap_alloc(sizeof(*watch));
        if (!watch)
            return -ENOMEM;
        watch->epoll = file;
        watch->number = tree_get_u32(s);
        watch->member.fd = (int32_t)tree_get_u32(s);
        watch->member.events = tree_get_u32(s);
        watch->member.data = tree_get_u64(s);
        watch->next = g_received.watches;
        g_received.watches = watch;
        if (s->error)
            return s->error;
    }
    return 0;
}

static int receive_anew(struct tree_stream *s, uint32_t flags, struct file **ret)
{
    struct anew anew;
    tree_get_bytes(s, &anew, sizeof(anew));
    uint32_t count = tree_get_u32(s);
    if (s->error)
        return s->error;
    int status;
    switch (anew.kind) {
    case ANEW_SIGNALFD: return signalfd_anew(&anew, flags & O_NONBLOCK, ret);
    case ANEW_TIMERFD: return timerfd_anew(&anew, flags & O_NONBLOCK, ret);
    case ANEW_NETLINK: return netlink_anew(&anew, flags & O_NONBLOCK, ret);
    case ANEW_EPOLL:
        status = epoll_anew(ret);
        return status < 0 ? status : get_members(s, count, *ret);
    default: return denied_file(flags, NULL, &(struct kstat){ .mode = 0600 }, ret);
    }
}

static int watch_all(void)
{
    int status = 0;
    while (g_received.watches) {
        struct watch *watch = g_received.watches;
        g_received.watches = watch->next;
        watch->member.file = share_file(watch->number);
        if (status == 0 && watch->member.file && watch->member.file->ops->poll)
            status = epoll_watch(watch->epoll, &watch->member);
        heap_free(watch);
    }
    return status;
}

static int receive_item(struct tree_stream *s, struct file **ret)
{
    uint32_t travel = tree_get_u32(s), flags = tree_get_u32(s), size = 0;
    char *text = tree_get_string(s, PATH_BUF, &size);
    const char *path = size ? text : NULL;
    struct remote_info info;
    int status = s->error;
    if (!text)
        return status ? status : -ENOMEM;
    switch (travel) {
    case TRAVEL_HUB:
        get_info(s, &info);
        status = s->error ? s->error : remote_file(&info, path, ret);
        break;
    case TRAVEL_HOST: status = receive_host(s, flags, path, ret); break;
    case TRAVEL_PATH: status = receive_path(s, flags, path, ret); break;
    case TRAVEL_ANEW: status = receive_anew(s, flags, ret); break;
    case TRAVEL_SOCKET: status = receive_socket(s, flags, ret); break;
    default: status = -EBADMSG; break;
    }
    heap_free(text);
    return status;
}

static int receive_files(struct tree_stream *s)
{
    uint32_t count = tree_get_u32(s);
    if (s->error || count > ITEMS_MAX)
        return s->error ? s->error : -EBADMSG;
    g_received.files = heap_alloc(count * sizeof(struct file *) + 1);
    if (!g_received.files)
        return -ENOMEM;
    for (; g_received.count < count; g_received.count++) {
        int status = receive_item(s, &g_received.files[g_received.count]);
        if (status < 0)
            return status;
    }
    return 0;
}

static int receive_fds(struct tree_stream *s)
{
    uint32_t count = tree_get_u32(s);
    for (uint32_t i = 0; i < count && !s->error; i++) {
        struct share_fd fd;
        tree_get_bytes(s, &fd, sizeof(fd));
        if (s->error || fd.item >= g_received.count)
            return s->error ? s->error : -EBADMSG;
        struct file *file = file_ref(g_received.files[fd.item]);
        int status = fd_replace(file, fd.fd, fd.cloexec);
        if (status < 0) {
            file_unref(file);
            return status;
        }
    }
    return s->error;
}

void share_receive(struct tree_stream *s)
{
    int status = receive_files(s);
    if (status == 0)
        status = watch_all();
    if (status == 0)
        status = receive_fds(s);
    if (status < 0 && !s->error)
        s->error = status;
}

struct file *share_file(uint32_t number)
{
    return number < g_received.count ? g_received.files[number] : NULL;
}

void share_received_done(void)
{
    for (uint32_t i = 0; i < g_received.count; i++)
        file_unref(g_received.files[i]);
    heap_free(g_received.files);
    g_received.files = NULL;
    g_received.count = 0;
}
