#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tracer/recorder.h"

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2u
#endif

void pending_done(struct pending *p)
{
    free(p->text);
    free(p->interpreter);
    for (char **name = p->exec_names; name && *name; name++)
        free(*name);
    free(p->exec_names);
    *p = (struct pending){ .call = NULL };
}

/* ---- names to paths ---- */

struct link_arg {
    struct recorder *r;
    struct task *t;
};

static void on_link(void *arg, const struct resolved *link)
{
    struct link_arg *a = arg;
    struct process *p = a->t->process;
    known_touch(a->r, p, known_path(a->r, p->tgid, link), TRACE_LINK);
}

/* The folder a relative name starts from; NULL if there is none. buf: PATH_MAX. */
static const char *base_of(struct recorder *r, struct task *t, int dir_fd, char *buf)
{
    struct process *p = t->process;
    if (dir_fd != AT_FDCWD) {
        /* A deleted folder is no reason to know nothing: its old name says what was absent. */
        int e = tracee_fd(t->tid, dir_fd, buf, PATH_MAX);
        return (e == 0 || e == -ENOENT) && buf[0] == '/' ? buf : NULL;
    }
    if (p->cwd && !p->own_cwd_unknown)
        return p->cwd;
    int e = tracee_cwd(t->tid, buf, PATH_MAX);
    if (e < 0) {
        known_note(r, p, true, "the current folder of process %d cannot be named: %s", (int)p->tgid,
                   strerror(-e));
        return NULL;
    }
    if (!p->own_cwd_unknown)
        p->cwd = strdup(buf);
    return buf;
}

bool handle_resolve(struct recorder *r, struct task *t, int dir_fd, const char *name,
                    unsigned flags, struct resolved *ret)
{
    char buf[PATH_MAX];
    buf[0] = '\0';
    struct process *p = t->process;
    const char *base = name[0] == '/' ? "/" : base_of(r, t, dir_fd, buf);
    if (!base)
        return false;
    const struct resolve_start start = {
        .root = p->root ? p->root : "/", .base = base, .tgid = p->tgid, .tid = t->tid
    };
    struct link_arg arg = { .r = r, .t = t };
    resolver_walk(r->resolver, &start, name, flags, on_link, &arg, ret);
    if (ret->error == ENAMETOOLONG && strlen(base) + strlen(name) + 2 > PATH_MAX &&
        strlen(name) < PATH_MAX)
        known_note(r, p, true, "a path is longer than %d bytes", PATH_MAX - 1);
    return true;
}

/* Bits for a path that was only asked for. */
uint32_t handle_asked_bits(int error, uint32_t present)
{
    if (error == ENOENT || error == ENOTDIR)
        return TRACE_ABSENT;
    if (error == EACCES || error == EPERM)
        return TRACE_DENIED;
    return error ? 0 : present;
}

/* Reads the path argument and resolves it into *ret. An empty name with AT_EMPTY_PATH, and a null
 * one where that means the descriptor, name the descriptor's own file. */
static bool resolve_argument(struct recorder *r, struct task *t, unsigned dir_arg,
                             unsigned path_arg, unsigned flags, struct resolved *ret)
{
    const struct pending *c = &t->pending;
    int dir_fd = dir_arg == CALL_NO_ARG ? AT_FDCWD : (int)c->args[dir_arg];
    char name[PATH_MAX];
    name[0] = '\0';
    int e = c->args[path_arg] ? tracee_string(t->tid, c->args[path_arg], name, sizeof(name)) : 0;
    if (e == -EPERM)
        known_note(r, t->process, true, "the memory of process %d cannot be read",
                   (int)t->process->tgid);
    if (e < 0)
        return false; /* else EFAULT or ENAMETOOLONG, to the program as well */
    if (name[0])
        return handle_resolve(r, t, dir_fd, name, flags, ret);
    if (dir_arg == CALL_NO_ARG || dir_fd < 0)
        return false;
    /* The file was recorded when it was opened; metadata of descriptors is no dependency. */
    if (c->call->op == CALL_PROBE)
        return false;
    char path[PATH_MAX];
    if (tracee_fd(t->tid, dir_fd, path, sizeof(path)) < 0)
        return false;
    return handle_resolve(r, t, AT_FDCWD, path, RESOLVE_NOFOLLOW, ret);
}

static bool nofollow(const struct pending *c)
{
    const struct call *call = c->call;
    if (call->op == CALL_LINK)
        return call->flags_arg == CALL_NO_ARG || !(c->args[call->flags_arg] & AT_SYMLINK_FOLLOW);
    if (call->flags & CALL_NOFOLLOW)
        return true;
    return call->flags_arg != CALL_NO_ARG && (c->args[call->flags_arg] & AT_SYMLINK_NOFOLLOW);
}

/* ---- calls that only ask ---- */

static void probe(struct recorder *r, struct task *t)
{
    const struct call *call = t->pending.call;
    struct process *p = t->process;
    if (!resolve_argument(r, t, call->dir_arg, call->path_arg,
                          nofollow(&t->pending) ? RESOLVE_NOFOLLOW : 0, &r->r1))
        return;
    uint32_t path = known_path(r, p->tgid, &r->r1);
    uint32_t bits = handle_asked_bits(r->r1.error, call->bits);
    /* realpath(3) asks of every component whether it is a link. */
    if (bits == TRACE_LINK && path < r->path_count && !S_ISLNK(r->path_list[path]->before.mode))
        bits = TRACE_STAT;
    known_touch(r, p, path, bits);
}

/* ---- open ---- */

static uint32_t open_bits(const struct recorder *r, const struct pending *c)
{
    uint64_t flags = c->flags;
    if (flags & O_PATH)
        return TRACE_STAT;
    if ((flags & O_TMPFILE) == O_TMPFILE)
        return TRACE_OPENED;
    uint32_t mode = c->path < r->path_count ? r->path_list[c->path]->before.mode : 0;
    uint32_t bits = 0;
    struct stat st;
    /* Made by the run itself: what it is, only the file can tell. */
    if (!mode && c->existed && c->path < r->path_count &&
        lstat(r->path_list[c->path]->path, &st) == 0)
        mode = st.st_mode;
    if (c->existed && S_ISDIR(mode))
        return TRACE_OPENED;
    if (c->existed && !S_ISREG(mode) && mode)
        bits |= TRACE_OPENED;
    if ((flags & O_ACCMODE) != O_WRONLY)
        bits |= TRACE_READ;
    if ((flags & O_ACCMODE) != O_RDONLY)
        bits |= TRACE_WRITTEN;
    if ((flags & O_CREAT) && !c->existed)
        bits |= TRACE_CREATED;
    if ((flags & O_TRUNC) && c->existed)
        bits |= TRACE_TRUNCATED;
    return bits;
}

/* Whether the result of opening can only be what was found at entry; then it is recorded here and
 * spares a stop. So it is for plain reading as long as nobody else can interfere, or if the kernel
 * has found the same file under this path before. */
static bool open_foretold(struct recorder *r, struct task *t)
{
    const struct pending *c = &t->pending;
    const uint64_t telling = O_ACCMODE | O_CREAT | O_TRUNC | O_PATH | (O_TMPFILE & ~O_DIRECTORY);
    struct process *p = t->process;
    if ((c->flags & telling) || c->path == TRACE_NO_PATH || strncmp(r->r1.path, "/proc", 5) == 0)
        return false;
    const struct known_path *k = r->path_list[c->path];
    bool alone = HASH_COUNT(r->tasks) == 1;
    if (!c->existed) {
        if (!alone || (r->r1.error != ENOENT && r->r1.error != ENOTDIR))
            return false;
        known_touch(r, p, c->path, TRACE_ABSENT);
        return true;
    }
    bool readable = p->uid == 0 || (k->before.mode & S_IROTH);
    bool plain = S_ISREG(k->before.mode) || (S_ISDIR(k->before.mode));
    if (!readable || !plain || !(alone || k->opened))
        return false;
    known_touch(r, p, c->path, open_bits(r, c));
    return true;
}

static bool open_entry(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    const struct call *call = c->call;
    struct process *p = t->process;
    if (call->flags & CALL_CREAT) {
        c->flags = O_CREAT | O_WRONLY | O_TRUNC;
    } else if (call->flags & CALL_OPENAT2) {
        struct open_how how;
        if (tracee_read(t->tid, c->args[2], &how, sizeof(how)) != sizeof(how))
            return false;
        c->flags = how.flags;
        if (how.resolve & (RESOLVE_IN_ROOT | RESOLVE_BENEATH))
            known_note(r, p, true, "openat2 with RESOLVE_IN_ROOT or RESOLVE_BENEATH");
    } else {
        c->flags = c->args[call->flags_arg];
    }
    bool stay = (c->flags & O_NOFOLLOW) || (c->flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    if (!resolve_argument(r, t, call->dir_arg, call->path_arg, stay ? RESOLVE_NOFOLLOW : 0, &r->r1))
        return false;
    c->path = known_path(r, p->tgid, &r->r1);
    c->node = r->r1.node;
    c->existed = r->r1.error == 0;
    return !open_foretold(r, t);
}

static void open_result(struct recorder *r, struct task *t, int64_t result)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    if (result < 0) {
        known_touch(r, p, c->path,
                    handle_asked_bits((int)-result, 0) | (c->existed ? TRACE_STAT : 0));
        return;
    }
    uint32_t bits = open_bits(r, c);
    /* The kernel's own answer decides, should ours differ (a race, a namespace). */
    char name[PATH_MAX];
    struct known_path *k = c->path < r->path_count ? r->path_list[c->path] : NULL;
    if (k && strncmp(k->path, "/proc/", 6) != 0 && (c->flags & O_TMPFILE) != O_TMPFILE &&
        tracee_fd(t->tid, (int)result, name, sizeof(name)) == 0) {
        k->opened = strcmp(name, k->path) == 0;
        if (!k->opened && strncmp(name, "/proc/", 6) != 0)
            known_touch(r, p, known_name(r, p->tgid, name), bits);
    }
    known_touch(r, p, c->path, bits);
}

/* ---- calls that change what a path names ---- */

static bool change_entry(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    if (!resolve_argument(r, t, c->call->dir_arg, c->call->path_arg,
                          nofollow(c) ? RESOLVE_NOFOLLOW : 0, &r->r1))
        return false;
    c->path = known_path(r, t->process->tgid, &r->r1);
    c->node = r->r1.node;
    c->existed = r->r1.error == 0;
    return true;
}

static void change_result(struct recorder *r, struct task *t, int64_t result)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    if (result < 0) {
        known_touch(r, p, c->path,
                    handle_asked_bits((int)-result, 0) | (c->existed ? TRACE_STAT : 0));
        return;
    }
    uint32_t bits = c->call->bits;
    if ((c->call->flags & CALL_TRUNCATE) && c->args[1] != 0)
        bits &= ~(uint32_t)TRACE_TRUNCATED;
    known_touch(r, p, c->path, bits);
    if (bits & (TRACE_REMOVED | TRACE_CREATED))
        resolver_forget(r->resolver, c->node);
}

static bool move_entry(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    const struct call *call = c->call;
    bool at = call->dir_arg != CALL_NO_ARG;
    unsigned from_flags = nofollow(c) ? RESOLVE_NOFOLLOW : 0;
    if (!resolve_argument(r, t, call->dir_arg, call->path_arg, from_flags, &r->r1) ||
        !resolve_argument(r, t, at ? 2 : CALL_NO_ARG, at ? 3 : 1, RESOLVE_NOFOLLOW, &r->r2))
        return false;
    pid_t tgid = t->process->tgid;
    c->path = known_path(r, tgid, &r->r1);
    c->path_to = known_path(r, tgid, &r->r2);
    c->node = r->r1.node;
    c->node_to = r->r2.node;
    c->existed = r->r1.error == 0;
    c->existed_to = r->r2.error == 0;
    if (call->flags_arg != CALL_NO_ARG)
        c->flags = c->args[call->flags_arg];
    return true;
}

static void move_result(struct recorder *r, struct task *t, int64_t result)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    if (result < 0) {
        uint32_t denied = handle_asked_bits((int)-result, 0) & TRACE_DENIED;
        known_touch(r, p, c->path, (c->existed ? TRACE_STAT : TRACE_ABSENT) | denied);
        known_touch(r, p, c->path_to, (c->existed_to ? TRACE_STAT : TRACE_ABSENT) | denied);
        return;
    }
    enum trace_move_kind kind = TRACE_MOVE_LINK;
    if (c->call->op == CALL_LINK) {
        known_touch(r, p, c->path, TRACE_STAT);
        known_touch(r, p, c->path_to, TRACE_CREATED);
    } else {
        kind = (c->flags & RENAME_EXCHANGE) ? TRACE_MOVE_EXCHANGE : TRACE_MOVE_RENAME;
        uint32_t both = kind == TRACE_MOVE_EXCHANGE ? TRACE_RENAMED_FROM | TRACE_RENAMED_TO : 0;
        known_touch(r, p, c->path, both | TRACE_RENAMED_FROM);
        known_touch(r, p, c->path_to, both | TRACE_RENAMED_TO);
        resolver_forget(r->resolver, c->node);
    }
    resolver_forget(r->resolver, c->node_to);
    if (p->index == TRACE_NO_PROCESS || c->path == TRACE_NO_PATH || c->path_to == TRACE_NO_PATH)
        return;
    log_begin(&r->log, LOG_MOVE);
    log_number(&r->log, kind);
    log_number(&r->log, p->index);
    log_number(&r->log, c->path);
    log_number(&r->log, c->path_to);
    log_end(&r->log);
}

/* ---- the current folder and the root ---- */

static bool chdir_entry(struct recorder *r, struct task *t)
{
    if (!change_entry(r, t))
        return true; /* even so, cwd must be asked for again */
    t->pending.text = strdup(r->r1.path);
    return true;
}

static void chdir_result(struct recorder *r, struct task *t, int64_t result)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    if (c->text)
        change_result(r, t, result);
    if (result < 0)
        return;
    if (c->call->op == CALL_CHROOT) {
        known_note(r, p, false, "process %d called chroot", (int)p->tgid);
        free(p->root);
        p->root = TAKE_PTR(c->text);
        return;
    }
    free(p->cwd);
    /* /proc/self is a spelling of the trace, no folder of ours. */
    p->cwd = c->text && strncmp(c->text, "/proc/", 6) != 0 ? TAKE_PTR(c->text) : NULL;
}

static void fchdir_result(struct recorder *r, struct task *t, int64_t result)
{
    if (result < 0)
        return;
    struct process *p = t->process;
    free(p->cwd);
    p->cwd = NULL;
    char buf[PATH_MAX];
    buf[0] = '\0';
    const char *cwd = base_of(r, t, AT_FDCWD, buf);
    if (cwd)
        known_touch(r, p, known_name(r, p->tgid, cwd), TRACE_OPENED);
}

/* ---- listings ---- */

/* The trace itself is nothing the program depends on. */
static bool is_log(const struct recorder *r, DIR *dir, const struct dirent *entry)
{
    struct stat st;
    return entry->d_ino == r->log.ino &&
           fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           st.st_dev == r->log.dev && st.st_ino == r->log.ino;
}

static void put_names(struct recorder *r, uint32_t path, DIR *dir)
{
    struct known_path *k = r->path_list[path];
    size_t count = 0, used = 0, room = 4096;
    char *fresh = malloc(room); /* type byte, name, NUL */
    const struct dirent *entry;
    if (!fresh)
        return;
    while ((entry = readdir(dir))) {
        size_t size = strlen(entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            is_log(r, dir, entry) || !seen_add(&k->names, seen_hash(0, entry->d_name, size)))
            continue;
        if (size + 2 > room - used) {
            char *more = realloc(fresh, room *= 2);
            if (!more)
                break;
            fresh = more;
        }
        fresh[used] = (char)entry->d_type;
        memcpy(fresh + used + 1, entry->d_name, size + 1);
        used += size + 2;
        count++;
    }
    if (count) {
        log_begin(&r->log, LOG_LIST);
        log_number(&r->log, path);
        log_number(&r->log, count);
        for (size_t at = 0; at < used; at += strlen(fresh + at + 1) + 2) {
            log_number(&r->log, (uint8_t)fresh[at]);
            log_string(&r->log, fresh + at + 1);
        }
        log_end(&r->log);
    }
    free(fresh);
}

/* The recorder lists the folder itself, at the first call and when it has changed: what the program
 * is about to see costs one stop and no copying out of its memory. */
static void list(struct recorder *r, struct task *t)
{
    struct process *p = t->process;
    char name[PATH_MAX];
    int fd = (int)t->pending.args[0];
    if (p->index == TRACE_NO_PROCESS || tracee_fd(t->tid, fd, name, sizeof(name)) < 0 ||
        !handle_resolve(r, t, AT_FDCWD, name, RESOLVE_NOFOLLOW, &r->r1))
        return;
    uint32_t path = known_path(r, p->tgid, &r->r1);
    if (path == TRACE_NO_PATH)
        return;
    struct known_path *k = r->path_list[path];
    struct stat st;
    if (stat(name, &st) < 0 || !S_ISDIR(st.st_mode))
        return;
    known_touch(r, p, path, TRACE_LISTED);
    bool changes = strncmp(name, "/proc", 5) == 0 || strncmp(name, "/sys", 4) == 0;
    if (!changes && k->listed_sec == st.st_mtim.tv_sec && k->listed_nsec == st.st_mtim.tv_nsec)
        return;
    CLEANUP(closedir_p) DIR *dir = opendir(name);
    if (!dir) {
        known_note(r, p, true, "the folder '%s' could not be listed: %s", name, strerror(errno));
        return;
    }
    /* A folder that changed just now may change again within one tick of its time stamp. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    k->listed_sec = now.tv_sec - st.st_mtim.tv_sec > 1 ? st.st_mtim.tv_sec : INT64_MIN;
    k->listed_nsec = st.st_mtim.tv_nsec;
    put_names(r, path, dir);
}

/* ---- mappings ---- */

static void map_exec(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    int fd = (int)c->args[4];
    if (c->call->flags & CALL_OLD_MMAP) {
        uint32_t a[6];
        if (tracee_read(t->tid, c->args[0], a, sizeof(a)) != sizeof(a) || !(a[2] & 4))
            return;
        fd = (int)a[4];
    }
    char name[PATH_MAX];
    if (fd >= 0 && tracee_fd(t->tid, fd, name, sizeof(name)) == 0)
        known_touch(r, p, known_name(r, p->tgid, name), TRACE_MAPPED_EXEC);
}

/* ---- processes, namespaces, and what the recorder cannot see through ---- */

static void clone_entry(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    bool in_memory = c->call->flags & CALL_CLONE3;
    uint64_t flags = c->args[0];
    if (in_memory && tracee_read(t->tid, c->args[0], &flags, sizeof(flags)) != sizeof(flags))
        return;
    if (in_memory)
        t->clone_flags = flags;
    if (flags & CLONE_UNTRACED) {
        /* Nobody is to run out of sight; and every filtered call of such a child would fail. */
        known_note(r, p, false, "CLONE_UNTRACED was dropped");
        if (in_memory) {
            uint64_t fixed = flags & ~(uint64_t)CLONE_UNTRACED;
            if (!tracee_write(t->tid, c->args[0], &fixed, sizeof(fixed))) {
                known_note(r, p, true, "a child could not be followed (CLONE_UNTRACED)");
                record_skip_call(t, EPERM);
            }
        } else {
            record_clear_arg0(t, CLONE_UNTRACED);
        }
    }
    if (flags & CLONE_NEWNS)
        known_note(r, p, true, "a process got a mount namespace of its own");
}

static void namespace_entry(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    uint64_t flags = c->args[c->call->flags_arg];
    if (flags & CLONE_FS)
        p->own_cwd_unknown = true;
    bool any = c->call->flags_arg == 1 && flags == 0; /* setns to whatever the descriptor is */
    if ((flags & CLONE_NEWNS) || any) {
        p->own_cwd_unknown = true;
        known_note(r, p, true, "a process changed its mount namespace (%s)", c->call->name);
    }
}

static void named_result(struct recorder *r, struct task *t, int64_t result)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    switch (c->call->op) {
    case CALL_MOUNT:
        resolver_forget(r->resolver, NULL);
        if (result >= 0)
            known_note(r, p, true, "the program changed mounts (%s)", c->call->name);
        break;
    case CALL_UNKNOWN:
        if (result != -ENOSYS)
            known_note(r, p, true, "system call %llu is not known to this program",
                       (unsigned long long)c->number);
        break;
    default:
        if (result >= 0)
            known_note(r, p, true, "the program used %s, whose files are not seen", c->call->name);
        break;
    }
}

/* ---- the two stops ---- */

bool handle_entry(struct recorder *r, struct task *t)
{
    struct process *p = t->process;
    switch ((enum call_op)t->pending.call->op) {
    case CALL_OPEN: return open_entry(r, t);
    case CALL_PROBE: probe(r, t); return false;
    case CALL_CHANGE:
    case CALL_SYMLINK: return change_entry(r, t);
    case CALL_MOVE:
    case CALL_LINK: return move_entry(r, t);
    case CALL_CHDIR:
    case CALL_CHROOT: return chdir_entry(r, t);
    case CALL_FCHDIR: return true;
    case CALL_GETDENTS: list(r, t); return false;
    case CALL_EXEC: return exec_entry(r, t);
    case CALL_MMAP: map_exec(r, t); return false;
    case CALL_MPROTECT:
        exec_mappings(r, p, t->tid, t->pending.args[0], t->pending.args[1]);
        return false;
    case CALL_SOCKET:
    case CALL_SOCKETCALL: return socket_entry(r, t);
    case CALL_LISTEN: return socket_listen(r, t);
    case CALL_SEND: socket_send(r, t); return false;
    case CALL_CLONE: clone_entry(r, t); return false;
    case CALL_IDENTITY: p->identity_known = false; return false;
    case CALL_NAMESPACE: namespace_entry(r, t); return false;
    case CALL_MOUNT:
    case CALL_ESCAPE:
    case CALL_UNKNOWN: return true;
    case CALL_PTRACE:
        known_note(r, p, true, "the program itself uses ptrace, which fails while it is traced");
        return false;
    case CALL_REFUSE:
        known_note(r, p, false, "%s was made to fail with ENOSYS", t->pending.call->name);
        record_skip_call(t, ENOSYS);
        return false;
    case CALL_X32:
        known_note(r, p, false, "x32 calls were made to fail with ENOSYS");
        record_skip_call(t, ENOSYS);
        return false;
    }
    return false;
}

void handle_result(struct recorder *r, struct task *t, int64_t result)
{
    switch ((enum call_op)t->pending.call->op) {
    case CALL_OPEN: open_result(r, t, result); break;
    case CALL_CHANGE:
    case CALL_SYMLINK: change_result(r, t, result); break;
    case CALL_MOVE:
    case CALL_LINK: move_result(r, t, result); break;
    case CALL_CHDIR:
    case CALL_CHROOT: chdir_result(r, t, result); break;
    case CALL_FCHDIR: fchdir_result(r, t, result); break;
    case CALL_EXEC: exec_result(r, t, result); break;
    case CALL_SOCKET:
    case CALL_SOCKETCALL: socket_result(r, t, result); break;
    case CALL_LISTEN: socket_listened(r, t, result); break;
    case CALL_MOUNT:
    case CALL_ESCAPE:
    case CALL_UNKNOWN: named_result(r, t, result); break;
    default: break;
    }
}
