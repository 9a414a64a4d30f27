/*
 * Pseudo terminals (pty.h). Tier: enclave.
 *
 * A pair lives as long as an open file has one of its ends, and is in the table meanwhile. Its lock
 * guards the line discipline and the counts; who is to be signalled is told, and who waits is
 * woken, without it. Each end has a queue: whatever changes at one may make the other readable or
 * writable, so both are woken.
 *
 *   ends open        the program's end            the master's end
 *   both             as pty(7)                    as pty(7)
 *   master alone     can be opened                before the first: waits; afterwards reads are EIO
 * (EPOLLHUP) programs alone   hung up: reads 0, else EIO   gone: the name too
 */
#include "ipc/pty.h"

#include <asm/ioctls.h>
#include <asm/termios.h>
#include <linux/signal.h>
#include <linux/tty.h>

#include "arch/string.h"
#include "border/border.h"
#include "ipc/anon.h"
#include "ipc/ldisc.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/state.h"
#include "thread/clock.h"
#include "tree/ptable.h"
#include "vfs/dev/dev.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/node.h"

#define PTS_MAJOR   136u
#define TTY_GROUP   5u /* of new terminals, as devpts is mounted mostly */
#define INO_FIRST   3u
#define TENTH_NS    100000000ull
#define WRITE_CHUNK 1024u

struct pty {
    struct lock lock;
    struct ldisc ldisc;
    struct ptable_tty tty;
    struct waitq master_queue, queue;
    struct winsize window;
    uint32_t refs;     /* open files; under g_ptys.lock */
    uint32_t programs; /* open files of the program's end */
    bool master;       /* is open */
    bool locked;       /* TIOCSPTLCK */
    bool closed;       /* the last program has gone */
    bool exclusive;    /* TIOCEXCL */
    uint32_t mode, uid, gid;
    int64_t made_ns;
};

static struct {
    struct lock lock;
    bool full_logged;
    struct pty *of[PTY_MAX];
} g_ptys;

static const struct file_ops g_master_ops, g_program_ops, g_own_ops;

static struct pty *pty_of(const struct file *file)
{
    return file->object;
}

static bool is_master(const struct file *file)
{
    return file->ops == &g_master_ops;
}

bool pty_is(const struct file *file)
{
    return is_master(file) || file->ops == &g_program_ops || file->ops == &g_own_ops;
}

int32_t pty_number(const struct file *file)
{
    return pty_is(file) ? pty_of(file)->tty.number : -1;
}

static bool ignores(int number)
{
    return process_current()->actions->of[number].handler == HANDLER_IGNORE ||
           current()->signal.mask & SIGNAL_BIT(number);
}

struct pty_caller pty_caller(void)
{
    return (struct pty_caller){
        .pid = process_pid(),
        .ignores_input = ignores(SIGTTIN),
        .ignores_output = ignores(SIGTTOU),
    };
}

/* --- pairs ----------------------------------------------------------------------------------- */

/* A pair that can be opened, with a reference. */
static struct pty *find(uint32_t number)
{
    LOCKED(&g_ptys.lock);
    struct pty *pty = number < PTY_MAX ? g_ptys.of[number] : NULL;
    if (!pty || !__atomic_load_n(&pty->master, __ATOMIC_SEQ_CST))
        return NULL;
    pty->refs++;
    return pty;
}

static void drop(struct pty *pty)
{
    lock_take(&g_ptys.lock);
    bool last = --pty->refs == 0;
    if (last)
        g_ptys.of[pty->tty.number] = NULL;
    lock_drop(&g_ptys.lock);
    if (last) {
        ptable_tty_gone(&pty->tty);
        heap_free(pty);
    }
}

static int add(struct pty *pty)
{
    lock_take(&g_ptys.lock);
    uint32_t n = 0;
    while (n < PTY_MAX && g_ptys.of[n])
        n++;
    bool full = n == PTY_MAX, say = full && !g_ptys.full_logged;
    g_ptys.full_logged |= full;
    if (!full) {
        pty->tty.number = (int32_t)n;
        g_ptys.of[n] = pty;
    }
    lock_drop(&g_ptys.lock);
    if (say)
        log_error("%u pseudo terminals are open: there can be no more", PTY_MAX);
    return full ? -ENOSPC : 0;
}

int32_t pty_next(uint32_t number)
{
    LOCKED(&g_ptys.lock);
    for (; number < PTY_MAX; number++)
        if (g_ptys.of[number] && __atomic_load_n(&g_ptys.of[number]->master, __ATOMIC_SEQ_CST))
            return (int32_t)number;
    return -1;
}

#define OPEN_FLAGS (uint32_t)(O_ACCMODE | O_NONBLOCK | O_APPEND)

int pty_open_master(uint32_t flags, struct file **ret)
{
    struct pty *pty = heap_alloc(sizeof(*pty));
    if (!pty)
        return -ENOMEM;
    ldisc_init(&pty->ldisc);
    pty->refs = 1;
    pty->master = pty->locked = true;
    pty->mode = 0620;
    pty->uid = process_node()->uid;
    pty->gid = TTY_GROUP;
    pty->made_ns = (int64_t)clock_realtime();
    int status = add(pty);
    if (status < 0) {
        heap_free(pty);
        return status;
    }
    struct file *file = file_new(&g_master_ops, flags & OPEN_FLAGS, pty);
    if (!file) {
        drop(pty);
        return -ENOMEM;
    }
    *ret = file;
    return 0;
}

/* Takes the reference to pty over. */
static int open_end(struct pty *pty, const struct file_ops *ops, int32_t self, uint32_t flags,
                    struct file **ret)
{
    lock_take(&pty->lock);
    int status = pty->locked || !pty->master             ? -EIO
                 : pty->exclusive && process_node()->uid ? -EBUSY
                                                         : 0;
    if (status == 0) {
        pty->programs++;
        pty->closed = false;
    }
    lock_drop(&pty->lock);
    if (status < 0) {
        drop(pty);
        return status;
    }
    struct file *file = file_new(ops, flags & OPEN_FLAGS, pty);
    if (!file) {
        lock_take(&pty->lock);
        pty->programs--;
        lock_drop(&pty->lock);
        drop(pty);
        return -ENOMEM;
    }
    if (!(flags & O_NOCTTY) && (flags & O_ACCMODE) != O_WRONLY)
        ptable_tty_opened(self, &pty->tty);
    *ret = file;
    return 0;
}

int pty_open(uint32_t number, int32_t self, uint32_t flags, struct file **ret)
{
    struct pty *pty = find(number);
    return pty ? open_end(pty, &g_program_ops, self, flags, ret) : -ENOENT;
}

int pty_open_own(int32_t self, uint32_t flags, struct file **ret)
{
    int32_t number = ptable_tty_number(self);
    if (number < 0)
        return number == PTABLE_TTY_HOST ? -ENODEV : -ENXIO;
    struct pty *pty = find((uint32_t)number);
    return pty ? open_end(pty, &g_own_ops, self, flags | O_NOCTTY, ret) : -ENXIO;
}

int pty_open_peer(struct file *master, int32_t self, uint32_t flags, struct file **ret)
{
    if (!is_master(master))
        return -EIO;
    struct pty *pty = find((uint32_t)pty_number(master));
    return pty ? open_end(pty, &g_program_ops, self, flags, ret) : -EIO;
}

static void wake(struct pty *pty)
{
    waitq_wake(&pty->queue, UINT32_MAX);
    waitq_wake(&pty->master_queue, UINT32_MAX);
}

static void pty_release(struct file *file)
{
    struct pty *pty = pty_of(file);
    bool master = is_master(file);
    lock_take(&pty->lock);
    if (master)
        __atomic_store_n(&pty->master, false, __ATOMIC_SEQ_CST);
    else if (--pty->programs == 0)
        pty->closed = true;
    lock_drop(&pty->lock);
    if (master)
        ptable_tty_hangup(&pty->tty);
    wake(pty);
    drop(pty);
}

/* What was typed as a signal, then everybody who waits. */
static void settle(struct pty *pty, uint32_t signals)
{
    for (; signals; signals &= signals - 1)
        ptable_tty_signal(&pty->tty, __builtin_ctz(signals));
    wake(pty);
}

/* --- reading and writing --------------------------------------------------------------------- */

static int64_t take_output(struct pty *pty, void *buf, uint32_t size)
{
    int64_t n = ldisc_output(&pty->ldisc, buf, size);
    return n == -EAGAIN && pty->closed ? -EIO : n;
}

static int64_t take_input(struct pty *pty, void *buf, uint32_t size)
{
    return pty->master ? ldisc_read(&pty->ldisc, buf, size) : 0;
}

int64_t pty_take(struct file *file, const struct pty_caller *caller, void *buf, uint32_t size,
                 struct pty_mode *ret_mode)
{
    struct pty *pty = pty_of(file);
    const struct ldisc *l = &pty->ldisc;
    bool master = is_master(file);
    *ret_mode = (struct pty_mode){ .min = 1, .nonblock = file->flags & O_NONBLOCK };
    int64_t n = master || !pty->master
                    ? 0
                    : ptable_tty_check(caller->pid, &pty->tty, SIGTTIN, caller->ignores_input);
    if (n < 0)
        return n;
    lock_take(&pty->lock);
    if (!master) {
        ret_mode->by_line = ldisc_by_line(l);
        ret_mode->min = l->termios.c_cc[VMIN];
        ret_mode->time = l->termios.c_cc[VTIME];
    }
    n = master ? take_output(pty, buf, size) : take_input(pty, buf, size);
    uint32_t signals = ldisc_take_signals(&pty->ldisc);
    lock_drop(&pty->lock);
    if (n >= 0) /* also an end of file makes room */
        settle(pty, signals);
    return n;
}

int64_t pty_give(struct file *file, const struct pty_caller *caller, const void *buf, uint32_t size)
{
    struct pty *pty = pty_of(file);
    bool master = is_master(file);
    if (!master && pty->ldisc.termios.c_lflag & TOSTOP) {
        int status = ptable_tty_check(caller->pid, &pty->tty, SIGTTOU, caller->ignores_output);
        if (status < 0)
            return status;
    }
    lock_take(&pty->lock);
    int64_t n = master        ? (int64_t)ldisc_type(&pty->ldisc, buf, size)
                : pty->master ? (int64_t)ldisc_write(&pty->ldisc, buf, size)
                              : -EIO;
    uint32_t signals = ldisc_take_signals(&pty->ldisc);
    lock_drop(&pty->lock);
    if (n > 0)
        settle(pty, signals);
    return n;
}

static int64_t take_here(struct file *file, void *buf, uint32_t size, bool wait UNUSED,
                         struct pty_mode *ret_mode)
{
    struct pty_caller caller = pty_caller();
    return pty_take(file, &caller, buf, size, ret_mode);
}

struct reading {
    struct file *file;
    tty_take *take;
    bool started, timed;
    uint64_t deadline;    /* OCALL_NEVER: none is running */
    uint64_t least;       /* bytes */
    struct pty_mode mode; /* as of the first look */
};

/* VMIN and VTIME count from the start of the call. */
static void start(struct reading *r)
{
    const struct pty_mode *mode = &r->mode;
    r->started = true;
    r->least = mode->by_line ? 0 : mode->min ? mode->min : 1;
    r->timed = !mode->by_line && mode->min && mode->time;
    if (!mode->by_line && !mode->min)
        r->deadline = mode->time ? clock_monotonic() + mode->time * TENTH_NS : 0;
}

static int64_t look(struct reading *r, void *buf, uint64_t size)
{
    bool wait = r->deadline == OCALL_NEVER && !current()->never_block;
    struct pty_mode mode = { .min = 1 };
    int64_t n = r->take(r->file, buf, size < PTY_CHUNK ? (uint32_t)size : PTY_CHUNK, wait, &mode);
    if (!r->started) {
        r->mode = mode;
        start(r);
    }
    return n;
}

/* Something, or why there is nothing: 0 also when time is over. */
static int64_t look_patiently(struct reading *r, void *buf, uint64_t size)
{
    for (;;) {
        int64_t n = look(r, buf, size);
        if (n != -EAGAIN || !r->deadline)
            return n == -EAGAIN ? 0 : n;
        if (r->mode.nonblock || current()->never_block)
            return -EAGAIN;
        if (r->deadline != OCALL_NEVER && clock_monotonic() >= r->deadline)
            return 0;
        struct waiter waiter = { .thread = current() };
        int parked = 0;
        (void)r->file->ops->poll(r->file, &waiter);
        /* Fewer bytes than VMIN do not make it ready. */
        n = look(r, buf, size);
        if (n == -EAGAIN)
            parked = thread_park(r->deadline);
        waitq_remove(&waiter);
        if (n != -EAGAIN)
            return n;
        if (parked == -EINTR)
            return -ERESTARTSYS;
    }
}

int64_t tty_read(struct file *file, void *user, uint64_t size, tty_take *take)
{
    struct reading r = { .file = file, .take = take, .deadline = OCALL_NEVER };
    uint8_t buf[PTY_CHUNK];
    uint64_t done = 0;
    while (done < size) {
        int64_t n = look_patiently(&r, buf, size - done);
        if (n <= 0)
            return done ? (int64_t)done : n;
        if (copy_to_user((uint8_t *)user + done, buf, (uint64_t)n) < 0)
            return done ? (int64_t)done : -EFAULT;
        done += (uint64_t)n;
        if (done >= r.least)
            break;
        if (r.timed)
            r.deadline = clock_monotonic() + r.mode.time * TENTH_NS;
    }
    return (int64_t)done;
}

static int64_t pty_read(struct file *file, void *user, uint64_t size, uint64_t *pos UNUSED)
{
    return tty_read(file, user, size, take_here);
}

static int64_t write_some(struct file *file, const uint8_t *buf, uint32_t size)
{
    struct pty_caller caller = pty_caller();
    for (;;) {
        int64_t n = pty_give(file, &caller, buf, size);
        if (n)
            return n;
        if (file->flags & O_NONBLOCK || current()->never_block)
            return -EAGAIN;
        struct waiter waiter = { .thread = current() };
        int parked = 0;
        (void)file->ops->poll(file, &waiter);
        n = pty_give(file, &caller, buf, size);
        if (!n)
            parked = thread_park(OCALL_NEVER);
        waitq_remove(&waiter);
        if (n)
            return n;
        if (parked < 0)
            return -ERESTARTSYS;
    }
}

static int64_t pty_write(struct file *file, const void *user, uint64_t size, uint64_t *pos UNUSED)
{
    uint8_t buf[WRITE_CHUNK];
    uint64_t done = 0;
    while (done < size) {
        uint32_t want = size - done < sizeof(buf) ? (uint32_t)(size - done) : (uint32_t)sizeof(buf);
        int64_t n = copy_from_user(buf, (const uint8_t *)user + done, want);
        for (uint32_t at = 0; n >= 0 && at < want;) {
            n = write_some(file, buf + at, want - at);
            if (n > 0) {
                at += (uint32_t)n;
                done += (uint64_t)n;
            }
        }
        if (n < 0)
            return done ? (int64_t)done : n;
    }
    return (int64_t)done;
}

static uint32_t pty_poll(struct file *file, struct waiter *waiter)
{
    struct pty *pty = pty_of(file);
    const struct ldisc *l = &pty->ldisc;
    bool master = is_master(file), in, out, hup;
    if (waiter)
        waitq_add(master ? &pty->master_queue : &pty->queue, waiter);
    lock_take(&pty->lock);
    uint32_t more = master && l->packet && l->packet_status ? EPOLLPRI : 0;
    if (master) {
        in = ldisc_has_output(l);
        out = ldisc_takes_input(l);
        hup = pty->closed;
    } else {
        in = ldisc_readable(l);
        out = ldisc_writable(l);
        hup = false;
        if (!pty->master) {
            in = out = hup = true;
            more = EPOLLERR;
        }
    }
    lock_drop(&pty->lock);
    return more | (in ? EPOLLIN | EPOLLRDNORM : 0) | (out ? EPOLLOUT | EPOLLWRNORM : 0) |
           (hup ? EPOLLHUP : 0);
}

/* --- what they are --------------------------------------------------------------------------- */

static void stat_of(struct pty *pty, struct kstat *ret)
{
    *ret = (struct kstat){
        .dev = DEV_PTS,
        .ino = (uint64_t)pty->tty.number + INO_FIRST,
        .nlink = 1,
        .mode = S_IFCHR | pty->mode,
        .uid = pty->uid,
        .gid = pty->gid,
        .rdev = MAKEDEV(PTS_MAJOR, pty->tty.number),
        .blksize = 1024,
        .atime_sec = pty->made_ns / (int64_t)NS_PER_S,
        .mtime_sec = pty->made_ns / (int64_t)NS_PER_S,
        .ctime_sec = pty->made_ns / (int64_t)NS_PER_S,
    };
}

int pty_stat(uint32_t number, struct kstat *ret)
{
    struct pty *pty = find(number);
    if (!pty)
        return -ENOENT;
    stat_of(pty, ret);
    drop(pty);
    return 0;
}

int pty_change(uint32_t number, uint32_t mode, uint32_t uid, uint32_t gid)
{
    struct pty *pty = find(number);
    if (!pty)
        return -ENOENT;
    lock_take(&pty->lock);
    if (mode != UINT32_MAX)
        pty->mode = mode & 07777;
    if (uid != UINT32_MAX)
        pty->uid = uid;
    if (gid != UINT32_MAX)
        pty->gid = gid;
    lock_drop(&pty->lock);
    drop(pty);
    return 0;
}

static int program_fstat(struct file *file, struct kstat *ret)
{
    stat_of(pty_of(file), ret);
    return 0;
}

/* /dev/ptmx and /dev/tty. */
static int device_fstat(struct file *file, struct kstat *ret)
{
    dev_terminal_stat(is_master(file), ret);
    return 0;
}

/* --- ioctl ----------------------------------------------------------------------------------- */

#define TERMIOS_SIZE 36u /* struct termios: struct termios2 without the speeds */

/* Linux numbers that <asm/ioctls.h> builds from the size of a type. */
static const struct known {
    uint32_t request;
    uint8_t in, out;
} g_known[] = {
    { TCGETS, 0, TERMIOS_SIZE },
    { TCSETS, TERMIOS_SIZE, 0 },
    { TCSETSW, TERMIOS_SIZE, 0 },
    { TCSETSF, TERMIOS_SIZE, 0 },
    { (uint32_t)TCGETS2, 0, sizeof(struct termios2) },
    { (uint32_t)TCSETS2, sizeof(struct termios2), 0 },
    { (uint32_t)TCSETSW2, sizeof(struct termios2), 0 },
    { (uint32_t)TCSETSF2, sizeof(struct termios2), 0 },
    { TIOCGWINSZ, 0, sizeof(struct winsize) },
    { TIOCSWINSZ, sizeof(struct winsize), 0 },
    { TIOCGPGRP, 0, 4 },
    { TIOCSPGRP, 4, 0 },
    { TIOCGSID, 0, 4 },
    { TIOCSCTTY, 0, 0 },
    { TIOCNOTTY, 0, 0 },
    { TCFLSH, 0, 0 },
    { TCSBRK, 0, 0 },
    { TCSBRKP, 0, 0 },
    { TIOCSBRK, 0, 0 },
    { TIOCCBRK, 0, 0 },
    { TCXONC, 0, 0 },
    { FIONREAD, 0, 4 },
    { TIOCOUTQ, 0, 4 },
    { TIOCGETD, 0, 4 },
    { TIOCSETD, 4, 0 },
    { TIOCEXCL, 0, 0 },
    { TIOCNXCL, 0, 0 },
    { (uint32_t)TIOCGEXCL, 0, 4 },
    { (uint32_t)TIOCGDEV, 0, 4 },
    { (uint32_t)TIOCGPTN, 0, 4 },
    { (uint32_t)TIOCSPTLCK, 4, 0 },
    { (uint32_t)TIOCGPTLCK, 0, 4 },
    { TIOCPKT, 4, 0 },
    { (uint32_t)TIOCGPKT, 0, 4 },
    { (uint32_t)TIOCSIG, 0, 0 },
};

bool pty_ioctl_known(uint32_t request, uint32_t *ret_in, uint32_t *ret_out)
{
    for (uint32_t i = 0; i < ARRAY_SIZE(g_known); i++) {
        if (g_known[i].request != request)
            continue;
        *ret_in = g_known[i].in;
        *ret_out = g_known[i].out;
        return true;
    }
    return false;
}

static int put_number(uint8_t *data, int64_t value)
{
    int32_t number = (int32_t)value;
    if (value < 0)
        return (int)value;
    memcpy(data, &number, sizeof(number));
    return 0;
}

static int32_t number_in(const uint8_t *data)
{
    int32_t number;
    memcpy(&number, data, sizeof(number));
    return number;
}

static void set_termios(struct pty *pty, uint32_t request, const uint8_t *data)
{
    bool second = request == (uint32_t)TCSETS2 || request == (uint32_t)TCSETSW2 ||
                  request == (uint32_t)TCSETSF2;
    struct termios2 to = pty->ldisc.termios;
    memcpy(&to, data, second ? sizeof(to) : TERMIOS_SIZE);
    if (!second || (to.c_cflag & CBAUD) != BOTHER)
        to.c_ospeed = ldisc_speed(to.c_cflag & CBAUD);
    if (!second)
        to.c_ispeed = to.c_ospeed;
    if (request == TCSETSF || request == (uint32_t)TCSETSF2)
        ldisc_flush_input(&pty->ldisc);
    ldisc_set_termios(&pty->ldisc, &to);
}

static int flush(struct pty *pty, bool master, uint64_t what)
{
    bool in = what == TCIFLUSH || what == TCIOFLUSH, out = what == TCOFLUSH || what == TCIOFLUSH;
    if (!in && !out)
        return -EINVAL;
    if (master) {
        ldisc_master_flush(&pty->ldisc, in, out);
        return 0;
    }
    if (in)
        ldisc_flush_input(&pty->ldisc);
    if (out)
        ldisc_flush_output(&pty->ldisc);
    return 0;
}

/* Those of the master only. The lock is held. */
static int master_ioctl(struct pty *pty, uint32_t request, uint8_t *data)
{
    struct ldisc *l = &pty->ldisc;
    switch (request) {
    case (uint32_t)TIOCGPTN: return put_number(data, pty->tty.number);
    case (uint32_t)TIOCSPTLCK: pty->locked = number_in(data) != 0; return 0;
    case (uint32_t)TIOCGPTLCK: return put_number(data, pty->locked);
    case TIOCPKT:
        if (number_in(data) && !l->packet)
            l->packet_status = 0;
        l->packet = number_in(data) != 0;
        return 0;
    case (uint32_t)TIOCGPKT: return put_number(data, l->packet);
    default: return -ENOTTY;
    }
}

/* The lock is held. */
static int locked_ioctl(struct pty *pty, bool master, uint32_t request, uint64_t arg, uint8_t *data)
{
    struct ldisc *l = &pty->ldisc;
    switch (request) {
    case TCGETS:
    case (uint32_t)TCGETS2: memcpy(data, &l->termios, sizeof(l->termios)); return 0;
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case (uint32_t)TCSETS2:
    case (uint32_t)TCSETSW2:
    case (uint32_t)TCSETSF2: set_termios(pty, request, data); return 0;
    case TIOCGWINSZ: memcpy(data, &pty->window, sizeof(pty->window)); return 0;
    case TCFLSH: return flush(pty, master, arg);
    case TCSBRK:
    case TCSBRKP:
    case TIOCSBRK:
    case TIOCCBRK: return 0; /* there is no line to break, and what was written has arrived */
    case TCXONC: return arg > UINT32_MAX ? -EINVAL : ldisc_flow(l, (uint32_t)arg);
    case FIONREAD: return put_number(data, master ? ldisc_output_size(l) : ldisc_input_size(l));
    case TIOCOUTQ: return put_number(data, 0);
    case TIOCGETD: return put_number(data, N_TTY);
    case TIOCSETD: return number_in(data) == N_TTY ? 0 : -EINVAL;
    case TIOCEXCL: pty->exclusive = true; return 0;
    case TIOCNXCL: pty->exclusive = false; return 0;
    case (uint32_t)TIOCGEXCL: return put_number(data, pty->exclusive);
    case (uint32_t)TIOCGDEV: return put_number(data, (int64_t)MAKEDEV(PTS_MAJOR, pty->tty.number));
    default: return master ? master_ioctl(pty, request, data) : -ENOTTY;
    }
}

static int set_window(struct pty *pty, const uint8_t *data)
{
    lock_take(&pty->lock);
    bool same = memcmp(&pty->window, data, sizeof(pty->window)) == 0;
    memcpy(&pty->window, data, sizeof(pty->window));
    lock_drop(&pty->lock);
    if (!same)
        ptable_tty_signal(&pty->tty, SIGWINCH);
    return 0;
}

/* What is about sessions and groups; -ENOSYS: something else. */
static int64_t job_control(struct file *file, const struct pty_caller *caller, uint32_t request,
                           uint64_t arg, uint8_t *data)
{
    struct pty *pty = pty_of(file);
    bool master = is_master(file);
    switch (request) {
    case TIOCGPGRP: return put_number(data, ptable_tty_get(caller->pid, &pty->tty, false, master));
    case TIOCGSID: return put_number(data, ptable_tty_get(caller->pid, &pty->tty, true, master));
    case TIOCSPGRP: return ptable_tty_set_pgrp(caller->pid, &pty->tty, number_in(data));
    case TIOCNOTTY: return master ? -ENOTTY : ptable_tty_leave(caller->pid, &pty->tty);
    case TIOCSCTTY:
        return ptable_tty_set(caller->pid, &pty->tty, arg == 1 && process_node()->uid == 0);
    case TIOCSWINSZ: return set_window(pty, data);
    case (uint32_t)TIOCSIG:
        if (!master)
            return -ENOTTY;
        if (arg != SIGINT && arg != SIGQUIT && arg != SIGTSTP)
            return -EINVAL;
        ptable_tty_signal(&pty->tty, (int)arg);
        return 0;
    default: return -ENOSYS;
    }
}

/* Who is in the background may not do these. */
static bool changes(uint32_t request, bool master)
{
    switch (request) {
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case (uint32_t)TCSETS2:
    case (uint32_t)TCSETSW2:
    case (uint32_t)TCSETSF2:
    case TIOCSPGRP: return true;
    case TCFLSH:
    case TCSBRK:
    case TCSBRKP:
    case TIOCSBRK:
    case TIOCCBRK:
    case TCXONC:
    case TIOCSETD: return !master;
    default: return false;
    }
}

int64_t pty_ioctl(struct file *file, const struct pty_caller *caller, uint32_t request,
                  uint64_t arg, uint8_t data[static PTY_ARG])
{
    struct pty *pty = pty_of(file);
    bool master = is_master(file);
    if (!master && !__atomic_load_n(&pty->master, __ATOMIC_SEQ_CST))
        return request == TIOCSPGRP ? -ENOTTY : -EIO;
    if (changes(request, master)) {
        int status = ptable_tty_check(caller->pid, &pty->tty, SIGTTOU, caller->ignores_output);
        if (status < 0)
            return status == -EIO && request == TIOCSPGRP ? -ENOTTY : status;
    }
    int64_t ret = job_control(file, caller, request, arg, data);
    if (ret != -ENOSYS)
        return ret;
    lock_take(&pty->lock);
    ret = locked_ioctl(pty, master, request, arg, data);
    uint32_t signals = ldisc_take_signals(&pty->ldisc);
    lock_drop(&pty->lock);
    settle(pty, signals);
    return ret;
}

static int64_t run_here(struct file *file, uint32_t request, uint64_t arg,
                        uint8_t data[static PTY_ARG])
{
    struct pty_caller caller = pty_caller();
    return pty_ioctl(file, &caller, request, arg, data);
}

/* Of lines with wires: pseudo terminals have none on Linux either. */
static bool is_modem(uint32_t request)
{
    return (request >= TIOCMGET && request <= TIOCMSET) || request == TIOCGSERIAL ||
           request == TIOCSSERIAL || request == TIOCMIWAIT || request == TIOCGICOUNT;
}

int64_t tty_ioctl(struct file *file, uint64_t request, uint64_t arg, tty_run *run)
{
    uint8_t data[PTY_ARG] = { 0 };
    uint32_t in, out;
    if (request == F_GETPIPE_SZ || request == F_SETPIPE_SZ) /* fcntl's */
        return -EBADF;
    if (!pty_ioctl_known((uint32_t)request, &in, &out)) {
        static bool said;
        if (!is_modem((uint32_t)request) && !__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
            log_note("ioctl 0x%x of a pseudo terminal is not supported", (uint32_t)request);
        return -ENOTTY;
    }
    int status = in ? copy_from_user(data, (const void *)arg, in) : 0;
    if (status < 0)
        return status;
    int64_t ret = run(file, (uint32_t)request, arg, data);
    if (ret < 0 || !out)
        return ret;
    return copy_to_user((void *)arg, data, out);
}

int tty_install(struct file *file, uint32_t number, uint32_t flags)
{
    char path[24];
    int size = format(path, sizeof(path), "/dev/pts/%u", number);
    int status = file_set_path(file, path, (uint32_t)size);
    if (status == 0)
        status = fd_install(file, 0, flags & O_CLOEXEC);
    if (status < 0)
        file_unref(file);
    return status;
}

static int64_t pty_op_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    if ((uint32_t)request != TIOCGPTPEER_REQUEST)
        return tty_ioctl(file, request, arg, run_here);
    struct file *peer;
    int status = pty_open_peer(file, process_pid(), (uint32_t)arg, &peer);
    return status < 0 ? status : tty_install(peer, (uint32_t)pty_number(file), (uint32_t)arg);
}

#define OPS(NAME, FSTAT)                                                                           \
    {                                                                                              \
        .name = NAME, .read = pty_read, .write = pty_write, .fstat = FSTAT, .ioctl = pty_op_ioctl, \
        .poll = pty_poll, .release = pty_release, .travel = TRAVEL_HUB,                            \
    }

static const struct file_ops g_master_ops = OPS("ptmx", device_fstat);
static const struct file_ops g_program_ops = OPS("pts", program_fstat);
static const struct file_ops g_own_ops = OPS("tty", device_fstat);
