/*
 * Terminals of the hub, seen from another process (remote.h). Tier: enclave. Thread-safe.
 */
#include "arch/string.h"
#include "ipc/pty.h"
#include "mm/uaccess.h"
#include "signal/signal.h"
#include "tree/hub.h"
#include "vfs/linux.h"
#include "vfs/remote/remote.h"

#define CHUNK 2048u

static struct hub_ask request(const struct file *file, enum remote_tty what, uint64_t a, uint64_t b,
                              uint64_t c)
{
    return (struct hub_ask){ .op = HUB_FILE_FIRST + REMOTE_TTY,
                             .args = { (uint64_t)(int64_t)(file ? remote_handle(file) : -1), what,
                                       a, b, c } };
}

static uint64_t flags_of(bool wait)
{
    struct pty_caller caller = pty_caller();
    return (wait ? TTY_WAIT : 0u) | (caller.ignores_input ? TTY_IGNORES_INPUT : 0u) |
           (caller.ignores_output ? TTY_IGNORES_OUTPUT : 0u);
}

/* A background process has been sent SIGTTIN or SIGTTOU: it is there before the call returns. */
static int64_t result(int64_t ret)
{
    if (ret == -ERESTARTSYS)
        hub_events_fetch();
    return ret == -EINTR ? -ERESTARTSYS : ret;
}

/* --- opening, names -------------------------------------------------------------------------- */

static int open_handle(struct hub_ask *ask, struct file **ret)
{
    int64_t handle = hub_ask(ask);
    if (handle < 0)
        return (int)handle;
    struct remote_info info;
    remote_info_of(ask, handle, &info);
    return remote_file(&info, NULL, ret);
}

int remote_tty_open(enum remote_tty what, uint32_t number, uint32_t flags, struct file **ret)
{
    struct hub_ask ask = request(NULL, what, number, flags, 0);
    return open_handle(&ask, ret);
}

int remote_tty_stat(uint32_t number, struct kstat *ret)
{
    struct kstat st;
    struct hub_ask ask = request(NULL, TTY_STAT, number, 0, 0);
    ask.reply = &st;
    ask.room = sizeof(st);
    int64_t status = hub_ask(&ask);
    if (status == 0 && ask.reply_size != sizeof(st))
        return -EIO;
    if (status == 0)
        *ret = st;
    return (int)status;
}

int remote_tty_change(uint32_t number, uint32_t mode, uint32_t uid, uint32_t gid)
{
    struct hub_ask ask = request(NULL, TTY_CHANGE, number, uid | (uint64_t)mode << 32, gid);
    return (int)hub_ask(&ask);
}

int32_t remote_tty_next(uint32_t number)
{
    struct hub_ask ask = request(NULL, TTY_NEXT, number, 0, 0);
    int64_t next = hub_ask(&ask);
    /* It grows: who lists them comes to an end. */
    return next < (int64_t)number || next > INT32_MAX ? -1 : (int32_t)next;
}

/* --- reading and writing --------------------------------------------------------------------- */

static int64_t take(struct file *file, void *buf, uint32_t size, bool wait,
                    struct pty_mode *ret_mode)
{
    struct hub_ask ask = request(file, TTY_TAKE, size, flags_of(wait), 0);
    ask.reply = buf;
    ask.room = size;
    int64_t n = wait ? hub_ask_blocking(&ask) : hub_ask(&ask);
    static_assert(sizeof(*ret_mode) <= sizeof(ask.out[0]), "travels in one word");
    memcpy(ret_mode, &ask.out[0], sizeof(*ret_mode));
    if (n > 0 && n != (int64_t)ask.reply_size)
        return -EIO;
    return result(n);
}

int64_t remote_tty_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    return tty_read(file, user, size, take);
}

int64_t remote_tty_write(struct file *file, const void *user, uint64_t size, uint64_t *pos UNUSED)
{
    uint8_t buf[CHUNK];
    uint64_t done = 0;
    while (done < size) {
        uint32_t want = size - done < sizeof(buf) ? (uint32_t)(size - done) : (uint32_t)sizeof(buf);
        int64_t n = copy_from_user(buf, (const uint8_t *)user + done, want);
        if (n == 0) {
            struct hub_ask ask = request(file, TTY_GIVE, 0, flags_of(true), 0);
            ask.data = buf;
            ask.size = want;
            n = result(hub_ask_blocking(&ask));
        }
        if (n > (int64_t)want)
            n = -EIO;
        if (n <= 0)
            return done ? (int64_t)done : n;
        done += (uint64_t)n;
        if ((uint64_t)n < want)
            break;
    }
    return (int64_t)done;
}

static int64_t run(struct file *file, uint32_t number, uint64_t arg, uint8_t data[static PTY_ARG])
{
    struct hub_ask ask = request(file, TTY_IOCTL, number, arg, flags_of(false));
    uint8_t sent[PTY_ARG];
    memcpy(sent, data, sizeof(sent));
    ask.data = sent;
    ask.size = sizeof(sent);
    ask.reply = data;
    ask.room = PTY_ARG;
    return result(hub_ask(&ask));
}

int64_t remote_tty_ioctl(struct file *file, uint64_t number, uint64_t arg)
{
    if ((uint32_t)number != TIOCGPTPEER_REQUEST)
        return tty_ioctl(file, number, arg, run);
    struct hub_ask ask = request(file, TTY_PEER, arg, 0, 0);
    struct file *peer;
    int status = open_handle(&ask, &peer);
    return status < 0 ? status
                      : tty_install(peer, (uint32_t)remote_tty_number(file), (uint32_t)arg);
}
