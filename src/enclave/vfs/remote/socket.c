/*
 * Sockets of the hub, seen from another process (remote.h). Tier: enclave. Thread-safe.
 */
#include "arch/string.h"
#include "border/border.h"
#include "ipc/pipe.h"
#include "ipc/unix.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "signal/signal.h"
#include "tree/hub.h"
#include "vfs/linux.h"
#include "vfs/remote/carry.h"
#include "vfs/remote/remote.h"

static struct hub_ask request(const struct file *file, enum remote_socket what, uint64_t a,
                              uint64_t b, uint64_t c)
{
    return (struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_SOCKET,
                             .args = { (uint64_t)(int64_t)(file ? remote_handle(file) : -1), what,
                                       a, b, c } };
}

static int64_t simple(const struct file *file, enum remote_socket what, uint64_t a)
{
    struct hub_ask ask = request(file, what, a, 0, 0);
    return hub_ask(&ask);
}

static int64_t waiting(struct hub_ask *ask)
{
    int64_t ret = hub_ask_blocking(ask);
    return ret == -EINTR ? -ERESTARTSYS : ret;
}

/* --- bytes and descriptors ---------------------------------------------------------------------- */

static void close_handle(int32_t handle)
{
    (void)!hub_ask(
        &(struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_CLOSE, .args = { (uint64_t)handle } });
}

/* The handle of a file that is sent; *ret_made: it is to be closed afterwards. */
static int handle_of(struct file *file, const struct remote_pair *own, int32_t *ret, bool *ret_made)
{
    *ret_made = false;
    for (uint32_t i = 0; own && i < 2; i++) {
        if (own->files[i] == file) {
            *ret = remote_number(own->remotes[i]);
            return 0;
        }
    }
    if (carry_can(file)) {
        int status = carry_pack(file, ret);
        *ret_made = status == 0;
        return status;
    }
    *ret = remote_handle(file);
    if (*ret >= 0)
        return 0;
    log_note("sending a descriptor of kind '%s' (SCM_RIGHTS) to another process is not supported",
             file->ops->name);
    return -EOPNOTSUPP;
}

struct handles {
    uint32_t count;
    int32_t of[UNIX_RIGHTS_MAX];
    bool made[UNIX_RIGHTS_MAX];
};

static void handles_done(struct handles *handles)
{
    for (uint32_t i = 0; handles && i < handles->count; i++)
        if (handles->made[i])
            close_handle(handles->of[i]);
    heap_free(handles);
}

/* Free with handles_done(), also on failure. What is not the hub's yet has moved there. */
static int get_handles(const struct stream_rights *rights, const struct remote_pair *own,
                       struct handles **ret)
{
    struct handles *handles = heap_alloc(sizeof(*handles));
    *ret = handles;
    if (!handles)
        return -ENOMEM;
    for (; handles->count < rights->count; handles->count++) {
        uint32_t i = handles->count;
        int status = handle_of(rights->files[i], own, &handles->of[i], &handles->made[i]);
        if (status < 0)
            return status;
    }
    return 0;
}

/* What of it is only this process's goes to the hub. */
static int move_all(const struct stream_rights *rights)
{
    int status = 0;
    for (uint32_t i = 0; i < rights->count && status == 0; i++) {
        struct file *file = rights->files[i];
        if (file->ops->travel == TRAVEL_HUB && file->ops->move)
            status = file->ops->move(file);
    }
    return status;
}

/* data: SOCKET_SEND's, in buf from head on. */
static int64_t send_chunk(struct file *file, const void *user, uint64_t size, uint32_t flags,
                          struct unix_message *message, uint8_t *buf)
{
    const struct stream_rights *rights = message->rights;
    uint32_t count = rights ? rights->count : 0, at = 0;
    uint64_t to = 0;
    struct handles *handles = NULL;
    int64_t n = rights ? move_all(rights) : 0;
    if (n == 0 && rights)
        n = get_handles(rights, NULL, &handles);
    if (message->name.size) {
        uint32_t path = message->path ? (uint32_t)strlen(message->path) : 0;
        memcpy(buf, &message->name, sizeof(message->name));
        if (path)
            memcpy(buf + sizeof(message->name), message->path, path);
        to = path + 1;
        at = (uint32_t)sizeof(message->name) + path;
    }
    if (handles)
        memcpy(buf + at, handles->of, count * sizeof(uint32_t));
    at += count * (uint32_t)sizeof(uint32_t);
    if (n == 0)
        n = copy_from_user(buf + at, user, size);
    if (n == 0) {
        struct hub_ask ask = request(file, SOCKET_SEND, count, flags, to);
        ask.data = buf;
        ask.size = at + (uint32_t)size;
        n = waiting(&ask);
    }
    handles_done(handles);
    return n > (int64_t)size ? -EIO : n;
}

int64_t remote_push_rights(const struct remote *remote, const void *data, uint32_t size,
                           const struct stream_rights *rights, const struct remote_pair *own)
{
    uint32_t head = rights->count * (uint32_t)sizeof(uint32_t);
    struct handles *handles;
    int64_t n = get_handles(rights, own, &handles);
    uint8_t *buf = n == 0 ? heap_alloc(head + size) : NULL;
    if (n == 0 && !buf)
        n = -ENOMEM;
    if (n == 0) {
        memcpy(buf, handles->of, head);
        memcpy(buf + head, data, size);
        struct hub_ask ask = { .op = HUB_FILE_FIRST + REMOTE_SOCKET,
                               .args = { (uint64_t)(int64_t)remote_number(remote), SOCKET_SEND,
                                         rights->count, REMOTE_NONBLOCK },
                               .data = buf,
                               .size = head + size };
        n = hub_ask(&ask);
    }
    heap_free(buf);
    handles_done(handles);
    return n > (int64_t)size ? -EIO : n;
}

#define SEND_MOST \
    (HUB_DATA_MAX - UNIX_RIGHTS_MAX * sizeof(uint32_t) - sizeof(struct unix_name) - PATH_BUF)

int64_t remote_send(struct file *file, const void *user, uint64_t size, uint32_t flags,
                    struct unix_message *message)
{
    struct unix_message none = { .rights = NULL };
    bool stream = remote_socket_type(file) == UNIX_STREAM;
    message = message ? message : &none;
    if (stream && !message->rights)
        return remote_write(file, user, size, NULL, flags);
    if (!stream && size > SEND_MOST) {
        if (size <= 212960)
            log_note("a packet of %lu bytes of a process that is not the first: more than %lu are "
                     "not supported",
                     size, (uint64_t)SEND_MOST);
        return -EMSGSIZE;
    }
    uint64_t done = 0, pages = (HUB_DATA_MAX + 4095) / 4096;
    uint8_t *buf = heap_pages(pages);
    int64_t n;
    if (!buf)
        return -ENOMEM;
    do {
        uint64_t want = size - done < SEND_MOST ? size - done : SEND_MOST;
        n = send_chunk(file, (const uint8_t *)user + done, want, flags, message, buf);
        if (n < 0 || (!n && want))
            break;
        stream_rights_drop(TAKE_PTR(message->rights));
        done += (uint64_t)n;
        if ((uint64_t)n < want)
            break;
    } while (done < size);
    heap_pages_free(buf, pages);
    return done ? (int64_t)done : n;
}

static struct stream_rights *get_rights(const uint8_t *data, uint32_t count)
{
    struct stream_rights *rights = stream_rights_new(count);
    for (uint32_t i = 0; i < count; i++) {
        struct remote_info info;
        struct file *file;
        memcpy(&info, data + i * sizeof(info), sizeof(info));
        /* Without memory the handle is closed, and the descriptor lost, as on Linux. */
        if ((info.kind == REMOTE_CARRIED ? carry_unpack(&info, &file)
                                         : remote_file(&info, NULL, &file)) < 0)
            continue;
        if (rights)
            rights->files[rights->count++] = file;
        else
            file_unref(file);
    }
    return rights;
}

#define RECEIVE_MOST \
    (HUB_DATA_MAX - UNIX_RIGHTS_MAX * sizeof(struct remote_info) - sizeof(struct remote_packet))

/* The reply: struct remote_packet, its files, n bytes. */
static int get_packet(const struct hub_ask *ask, const uint8_t *buf, uint64_t n, uint64_t want,
                      struct unix_message *message, const uint8_t **ret_data)
{
    struct remote_packet packet;
    uint64_t count = ask->out[0];
    if (count > UNIX_RIGHTS_MAX || n > want ||
        sizeof(packet) + count * sizeof(struct remote_info) + n > ask->reply_size)
        return -EIO;
    memcpy(&packet, buf, sizeof(packet));
    if (packet.from.size > sizeof(packet.from.bytes))
        return -EIO;
    *ret_data = buf + sizeof(packet) + count * sizeof(struct remote_info);
    message->name = packet.from;
    message->cred = packet.cred;
    message->has_cred = packet.has_cred;
    message->whole = packet.whole;
    message->rights = count ? get_rights(buf + sizeof(packet), (uint32_t)count) : NULL;
    return 0;
}

int64_t remote_receive(struct file *file, void *user, uint64_t size, uint32_t flags,
                       struct unix_message *message)
{
    struct unix_message none;
    bool stream = remote_socket_type(file) == UNIX_STREAM;
    if (stream && !size)
        return 0;
    if (stream && !message)
        return remote_read(file, user, size, NULL, flags);
    uint64_t want = size < RECEIVE_MOST ? size : RECEIVE_MOST, pages = (HUB_DATA_MAX + 4095) / 4096;
    uint8_t *buf = heap_pages(pages);
    const uint8_t *data;
    if (!buf)
        return -ENOMEM;
    struct hub_ask ask = request(file, SOCKET_RECEIVE, size, flags, message ? UNIX_RIGHTS_MAX : 0);
    ask.reply = buf;
    ask.room = HUB_DATA_MAX;
    int64_t n = user_prefault(user, want, true);
    if (n == 0)
        n = waiting(&ask);
    message = message ? message : &none;
    message->rights = NULL;
    if (n > 0 || (n == 0 && ask.reply_size)) {
        int status = get_packet(&ask, buf, (uint64_t)n, want, message, &data);
        if (status == 0)
            status = copy_to_user(user, data, (uint64_t)n);
        n = status < 0 ? status : n;
    }
    heap_pages_free(buf, pages);
    return n;
}

/* --- names -------------------------------------------------------------------------------------- */

int remote_socket_new(uint32_t type, uint32_t flags, struct file **ret)
{
    struct hub_ask ask = request(NULL, SOCKET_NEW, flags, type, 0);
    int64_t handle = hub_ask(&ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    remote_info_of(&ask, handle, &info);
    return remote_file(&info, NULL, ret);
}

static int with_name(struct file *file, enum remote_socket what, const struct unix_name *name,
                     const char *path, uint32_t mode)
{
    uint32_t size = (uint32_t)strlen(path);
    uint8_t *data = heap_alloc(sizeof(*name) + size + 1);
    if (!data)
        return -ENOMEM;
    if (name)
        memcpy(data, name, sizeof(*name));
    memcpy(data + sizeof(*name), path, size);
    struct hub_ask ask = request(file, what, mode, 0, 0);
    ask.data = data;
    ask.size = (uint32_t)sizeof(*name) + size;
    int64_t status = hub_ask(&ask);
    heap_free(data);
    return (int)status;
}

int remote_bind(struct file *file, const struct unix_name *name, const char *path, uint32_t mode)
{
    return with_name(file, SOCKET_BIND, name, path, mode);
}

int remote_connect(struct file *file, const struct unix_name *name, const char *path)
{
    return with_name(file, SOCKET_CONNECT, name, path, 0);
}

int remote_listen(struct file *file, uint32_t backlog)
{
    return (int)simple(file, SOCKET_LISTEN, backlog);
}

int remote_accept(struct file *file, bool nonblock, uint32_t flags, struct file **ret)
{
    struct hub_ask ask = request(file, SOCKET_ACCEPT, flags, nonblock ? REMOTE_NONBLOCK : 0, 0);
    int64_t handle = waiting(&ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    remote_info_of(&ask, handle, &info);
    return remote_file(&info, NULL, ret);
}

int remote_name_of(struct file *file, bool peer, struct unix_name *ret)
{
    struct unix_name name;
    struct hub_ask ask = request(file, SOCKET_NAME, peer, 0, 0);
    ask.reply = &name;
    ask.room = sizeof(name);
    int64_t status = hub_ask(&ask);
    if (status == 0 && (ask.reply_size != sizeof(name) || name.size > sizeof(name.bytes)))
        return -EIO;
    if (status == 0)
        *ret = name;
    return (int)status;
}

int remote_get_option(struct file *file, int name, int32_t ret[static 3])
{
    int32_t words[3];
    struct hub_ask ask = request(file, SOCKET_GET_OPTION, (uint64_t)name, 0, 0);
    ask.reply = words;
    ask.room = sizeof(words);
    int64_t count = hub_ask(&ask);
    if (count < 0)
        return (int)count;
    if (count > 3 || ask.reply_size != (uint64_t)count * sizeof(words[0]))
        return -EIO;
    memcpy(ret, words, ask.reply_size);
    return (int)count;
}

int remote_set_option(struct file *file, int name, int32_t value)
{
    struct hub_ask ask =
        request(file, SOCKET_SET_OPTION, (uint64_t)name, (uint64_t)(int64_t)value, 0);
    return (int)hub_ask(&ask);
}

int remote_become_option(const struct remote *remote, int name, int32_t value)
{
    struct hub_ask ask =
        request(NULL, SOCKET_SET_OPTION, (uint64_t)name, (uint64_t)(int64_t)value, 0);
    ask.args[0] = (uint64_t)remote_number(remote);
    return (int)hub_ask(&ask);
}

int remote_shutdown(struct file *file, uint32_t how)
{
    return (int)simple(file, SOCKET_SHUTDOWN, how);
}

int remote_shut(const struct remote *remote, bool read, bool write)
{
    struct hub_ask ask = request(NULL, SOCKET_SHUTDOWN, UNIX_SHUT_READ, 0, 0);
    ask.args[0] = (uint64_t)remote_number(remote);
    int64_t ret = read ? hub_ask(&ask) : 0;
    ask.args[2] = UNIX_SHUT_WRITE;
    return (int)(ret == 0 && write ? hub_ask(&ask) : ret);
}
