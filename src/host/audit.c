#include "host/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "host/log.h"
#include "host/quote.h"
#include "util/fs.h"

#define SEEN_MAX   65536 /* different absent paths that are told apart */
#define REOPEN_MAX 100   /* rotations by others while we come to lock the file */

struct seen {
    UT_hash_handle hh;
    char path[];
};

struct audit {
    int dir_fd; /* the folder of the file: a program's chdir is none of ours, but rotating takes names */
    char *path; /* as it was given, for messages; NULL: no file */
    char *name; /* in dir_fd */
    char *node;
    uint64_t rotate_size; /* 0: never */
    uint32_t keep;

    pthread_mutex_t lock; /* of all that follows */
    int fd;               /* -1: to be opened */
    off_t size;           /* of the file, while it is locked */
    uint64_t lost, lost_told;
    int lost_error;
    struct seen *seen;
    uint64_t absent_count;
};

/* --- the file ----------------------------------------------------------------------------------
 *
 * Several processes of a tree write the same file, and each may rotate it. So each line is written under flock(2), and
 * a lock counts only if the name still stands for the file that was locked. A crash between two renames leaves a number
 * out and no line.
 */

static int file_open(struct audit *audit)
{
    struct stat st;
    CLEANUP(close_p)
    int fd = openat(audit->dir_fd, audit->name,
                    O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    audit->fd = TAKE_FD(fd);
    return 0;
}

static void file_unlock(struct audit *audit)
{
    if (audit->fd >= 0)
        flock(audit->fd, LOCK_UN); /* not by closing: a child being made may hold it as well */
}

static int flock_whole(int fd)
{
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

/* The file that the name stands for now, locked; its size. Without locks (ENOLCK on some file systems) lines are still
 * whole, because each is one appending write. */
static int file_lock(struct audit *audit)
{
    for (int i = 0; i < REOPEN_MAX; i++) {
        struct stat here, there;
        int r = audit->fd < 0 ? file_open(audit) : 0;
        if (r < 0)
            return r;
        bool locked = flock_whole(audit->fd) == 0;
        if (fstat(audit->fd, &here) < 0)
            return -errno;
        audit->size = here.st_size;
        if (!locked)
            audit->rotate_size = 0;
        if (fstatat(audit->dir_fd, audit->name, &there, 0) == 0 && here.st_dev == there.st_dev &&
            here.st_ino == there.st_ino)
            return 0;
        file_unlock(audit);
        close_p(&audit->fd);
        audit->fd = -1;
    }
    return -EBUSY;
}

/* Names of the older ones: NAME.1 is the youngest. */
static int file_shift(const struct audit *audit)
{
    char from[NAME_MAX + 1], to[NAME_MAX + 1];
    if ((size_t)snprintf(to, sizeof(to), "%s.%u", audit->name, audit->keep) >= sizeof(to))
        return -ENAMETOOLONG;
    for (uint32_t i = audit->keep; i >= 1; i--) {
        snprintf(from, sizeof(from), i > 1 ? "%s.%u" : "%s", audit->name, i - 1);
        snprintf(to, sizeof(to), "%s.%u", audit->name, i);
        if (renameat(audit->dir_fd, from, audit->dir_fd, to) < 0 && (errno != ENOENT || i == 1))
            return -errno;
    }
    return 0;
}

/* With the lock; afterwards with the new file's. */
static int file_rotate(struct audit *audit)
{
    int r = file_shift(audit);
    if (r < 0) {
        log_line("audit file '%s' cannot be rotated: %s; it grows on", audit->path, strerror(-r));
        audit->rotate_size = 0;
        return 0;
    }
    file_unlock(audit);
    close_p(&audit->fd);
    audit->fd = -1;
    return file_lock(audit);
}

/* All of it, or nothing: a line that did not fit leaves no half. */
static int file_append(struct audit *audit, const char *text, size_t size)
{
    int r = write_full(audit->fd, text, size);
    if (r == 0)
        audit->size += (off_t)size;
    else if (ftruncate(audit->fd, audit->size) < 0) {
        /* The next line begins with a newline, then (file_mend). */
    }
    return r;
}

/* What somebody's death or a full disk tore gets its end. */
static int file_mend(struct audit *audit)
{
    char last = '\n';
    if (audit->size > 0 && pread(audit->fd, &last, 1, audit->size - 1) == 1 && last != '\n')
        return file_append(audit, "\n", 1);
    return 0;
}

/* 1: nothing was written, but the file was rotated: others may have been faster with the new one, so the line gets a
 * new time. */
static int file_put(struct audit *audit, const char *text, size_t size)
{
    if (audit->rotate_size && audit->size > 0 &&
        (uint64_t)audit->size + size > audit->rotate_size) {
        int r = file_rotate(audit);
        return r < 0 ? r : 1;
    }
    int r = file_mend(audit);
    return r < 0 ? r : file_append(audit, text, size);
}

static int split_path(const char *path, struct audit *audit, struct err *err)
{
    const char *slash = strrchr(path, '/');
    CLEANUP(free_p) char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    audit->path = strdup(path);
    audit->name = strdup(slash ? slash + 1 : path);
    if (!folder || !audit->path || !audit->name)
        return err_set(err, -ENOMEM, "out of memory");
    audit->dir_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = audit->dir_fd < 0 ? -errno : file_open(audit);
    if (r < 0)
        return err_set(err, r, "opening audit file '%s': %s", path,
                       r == -EINVAL ? "not a regular file" : strerror(-r));
    return 0;
}

int audit_new(const struct audit_options *options, struct audit **ret, struct err *err)
{
    struct audit *audit = calloc(1, sizeof(*audit));
    if (!audit)
        return err_set(err, -ENOMEM, "out of memory");
    audit->fd = audit->dir_fd = -1;
    audit->rotate_size = options->rotate_size;
    audit->keep = options->keep ? options->keep : 1;
    pthread_mutex_init(&audit->lock, NULL);
    audit->node = strdup(options->node);
    int r = audit->node ? 0 : err_set(err, -ENOMEM, "out of memory");
    if (r == 0 && options->path)
        r = split_path(options->path, audit, err);
    if (r < 0) {
        audit_free(audit);
        return r;
    }
    *ret = audit;
    return 0;
}

void audit_free(struct audit *audit)
{
    if (!audit)
        return;
    struct seen *entry, *next;
    HASH_ITER(hh, audit->seen, entry, next)
    {
        HASH_DEL(audit->seen, entry);
        free(entry);
    }
    close_p(&audit->fd);
    close_p(&audit->dir_fd);
    pthread_mutex_destroy(&audit->lock);
    free(audit->path);
    free(audit->name);
    free(audit->node);
    free(audit);
}

/* --- lines ----------------------------------------------------------------------------------- */

static void hex(const void *bytes, size_t size, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = ((const uint8_t *)bytes)[i];
        ret[2 * i] = digits[byte >> 4];
        ret[2 * i + 1] = digits[byte & 15];
    }
    ret[2 * size] = '\0';
}

static void put_text(json_t *line, const char *key, const char *text, size_t size)
{
    if (quote_is_utf8(text, size)) {
        json_object_set_new(line, key, json_stringn(text, size));
        return;
    }
    char *digits = malloc(2 * size + 1);
    char name[32];
    if (!digits)
        return;
    hex(text, size, digits);
    snprintf(name, sizeof(name), "%s_hex", key);
    json_object_set_new(line, name, json_string(digits));
    free(digits);
}

static void put_number(json_t *line, const char *key, uint64_t value)
{
    json_object_set_new(line, key, json_integer((json_int_t)value));
}

static json_t *line_new(const struct audit *audit, const char *event)
{
    struct timespec now;
    struct tm utc;
    char date[32], text[48];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, sizeof(text), "%s.%03ldZ", date, now.tv_nsec / 1000000);

    json_t *line = json_object();
    json_object_set_new(line, "time", json_string(text));
    put_text(line, "node", audit->node, strlen(audit->node));
    put_number(line, "host_pid", (uint64_t)getpid());
    json_object_set_new(line, "event", json_string(event));
    return line;
}

/* As file_put. Takes line. Only ASCII is written: no path can turn a terminal or an editor over. */
static int put_line(struct audit *audit, json_t *line)
{
    CLEANUP(free_p) char *text = json_dumps(line, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(line);
    if (!text)
        return -ENOMEM;
    size_t size = strlen(text);
    text[size] = '\n'; /* over the NUL: one write */
    return file_put(audit, text, size + 1);
}

/* What one event adds to its line. */
typedef void fill_fn(json_t *line, const void *arg);

static int put_event(struct audit *audit, const char *event, fill_fn *fill, const void *arg)
{
    int r;
    do {
        json_t *line = line_new(audit, event);
        fill(line, arg);
        r = put_line(audit, line);
    } while (r > 0);
    return r;
}

/* A full disk must not change what the program gets; it is said once, counted, and the count written as soon as there
 * is room. */
static void count_lost(struct audit *audit, int error)
{
    if (audit->lost++ == 0)
        log_line("audit file '%s': %s; lines are being lost", audit->path, strerror(-error));
    audit->lost_error = -error;
}

static void fill_lost(json_t *line, const void *arg)
{
    const struct audit *audit = arg;
    put_number(line, "count", audit->lost - audit->lost_told);
    put_number(line, "errno", (uint64_t)audit->lost_error);
}

static int put_lost(struct audit *audit)
{
    if (audit->lost == audit->lost_told)
        return 0;
    int r = put_event(audit, "lost", fill_lost, audit);
    if (r == 0)
        audit->lost_told = audit->lost;
    return r;
}

/* The time is taken with the lock held: lines stand in the order of their times. */
static void write_line(struct audit *audit, const char *event, fill_fn *fill, const void *arg)
{
    if (!audit->path)
        return;
    pthread_mutex_lock(&audit->lock);
    int r = file_lock(audit);
    if (r == 0)
        r = put_lost(audit);
    if (r == 0)
        r = put_event(audit, event, fill, arg);
    if (r < 0)
        count_lost(audit, r);
    file_unlock(audit);
    pthread_mutex_unlock(&audit->lock);
}

/* --- events ---------------------------------------------------------------------------------- */

static void count_absent(struct audit *audit, const char *path, size_t size)
{
    struct seen *entry;
    pthread_mutex_lock(&audit->lock);
    HASH_FIND(hh, audit->seen, path, size, entry);
    if (!entry && audit->absent_count < SEEN_MAX) {
        entry = malloc(sizeof(*entry) + size);
        if (entry) {
            memcpy(entry->path, path, size);
            HASH_ADD_KEYPTR(hh, audit->seen, entry->path, size, entry);
            audit->absent_count++;
        }
    }
    pthread_mutex_unlock(&audit->lock);
}

uint64_t audit_absent_count(struct audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    uint64_t count = audit->absent_count;
    pthread_mutex_unlock(&audit->lock);
    return count;
}

uint64_t audit_lost_count(struct audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    uint64_t count = audit->lost;
    pthread_mutex_unlock(&audit->lock);
    return count;
}

struct named_event {
    const struct ocall_audit *event;
    const char *path;
    size_t path_size;
};

static void fill_net(json_t *line, const struct named_event *e)
{
    static const char *const actions[] = { NULL, "listen", "connect" };
    static const char *const types[] = { "any", "tcp", "udp" };
    uint64_t action = e->event->value & 0xff, type = e->event->value >> 8;
    if (e->path_size) {
        put_text(line, "address", e->path, e->path_size);
        if (action < ARRAY_SIZE(actions) && actions[action])
            json_object_set_new(line, "action", json_string(actions[action]));
        if (type < ARRAY_SIZE(types))
            json_object_set_new(line, "type", json_string(types[type]));
        char *option = NULL;
        if (action && action < ARRAY_SIZE(actions) && type < ARRAY_SIZE(types) &&
            asprintf(&option, "--%s %.*s%s%s", actions[action], (int)e->path_size, e->path,
                     type ? "/" : "", type ? types[type] : "") >= 0) {
            put_text(line, "option", option, strlen(option));
            free(option);
        }
    } else {
        put_number(line, "value", e->event->value);
    }
}

static void fill_given(json_t *line, const struct named_event *e)
{
    static const char *const actions[] = { [OCALL_GIVEN_DROPPED] = "dropped",
                                           [OCALL_GIVEN_PUT_IN] = "put-in",
                                           [OCALL_GIVEN_FOLDER] = "traced-folder" };
    bool folder = e->event->value == OCALL_GIVEN_FOLDER;
    put_text(line, folder ? "path" : "variable", e->path, e->path_size);
    if (e->event->value < ARRAY_SIZE(actions) && actions[e->event->value])
        json_object_set_new(line, "action", json_string(actions[e->event->value]));
    char *option = NULL;
    if (asprintf(&option, "--insecure_given %.*s", folder ? 3 : (int)e->path_size,
                 folder ? "all" : e->path) >= 0) {
        put_text(line, "option", option, strlen(option));
        free(option);
    }
}

static void fill_event(json_t *line, const void *arg)
{
    const struct named_event *e = arg;
    put_number(line, "pid", e->event->pid);
    put_number(line, "tid", e->event->tid);
    if (e->event->event == OCALL_AUDIT_NET)
        fill_net(line, e);
    else if (e->event->event == OCALL_AUDIT_GIVEN)
        fill_given(line, e);
    else if (e->path_size)
        put_text(line, "path", e->path, e->path_size);
    if (e->event->error)
        put_number(line, "errno", e->event->error);
    if (e->event->event == OCALL_AUDIT_SYSCALL)
        put_number(line, "value", e->event->value);
}

void audit_event(struct audit *audit, const struct ocall_audit *event, const char *path,
                 size_t path_size)
{
    static const char *const names[] = {
        [OCALL_AUDIT_ABSENT] = "absent",   [OCALL_AUDIT_NOT_GRANTED] = "not-granted",
        [OCALL_AUDIT_EXEC] = "exec",       [OCALL_AUDIT_FORK] = "fork",
        [OCALL_AUDIT_LISTING] = "listing", [OCALL_AUDIT_SYSCALL] = "syscall",
        [OCALL_AUDIT_WRITE] = "write",     [OCALL_AUDIT_NET] = "net",
        [OCALL_AUDIT_CHILD] = "child",     [OCALL_AUDIT_GIVEN] = "given",
    };
    const struct named_event e = { event, path, path_size };
    if (event->event == OCALL_AUDIT_ABSENT)
        count_absent(audit, path, path_size);
    const char *name = event->event < ARRAY_SIZE(names) ? names[event->event] : NULL;
    write_line(audit, name ? name : "unknown", fill_event, &e);
}

struct named_refusal {
    const struct ocall_refusal *refusal;
    const char *path;
    size_t path_size;
};

static void fill_refusal(json_t *line, const void *arg)
{
    static const char *const kinds[] = {
        [OCALL_REFUSED_CONTENT] = "content", [OCALL_REFUSED_SHORT] = "short",
        [OCALL_REFUSED_LONG] = "long",       [OCALL_REFUSED_MISSING] = "missing",
        [OCALL_REFUSED_TYPE] = "type",
    };
    const struct named_refusal *named = arg;
    const struct ocall_refusal *refusal = named->refusal;
    const char *kind = refusal->kind < ARRAY_SIZE(kinds) ? kinds[refusal->kind] : NULL;
    put_text(line, "path", named->path, named->path_size);
    json_object_set_new(line, "kind", json_string(kind ? kind : "unknown"));
    json_object_set_new(line, "action",
                        json_string(refusal->action == OCALL_REFUSED_DENY ? "deny" : "abort"));
    put_number(line, "expected_size", refusal->expected_size);
    if (refusal->kind == OCALL_REFUSED_CONTENT) {
        char digits[65];
        put_number(line, "offset", refusal->offset);
        hex(refusal->expected, sizeof(refusal->expected), digits);
        json_object_set_new(line, "expected", json_string(digits));
        hex(refusal->actual, sizeof(refusal->actual), digits);
        json_object_set_new(line, "actual", json_string(digits));
    } else if (refusal->kind == OCALL_REFUSED_MISSING) {
        put_number(line, "errno", refusal->error);
    } else {
        put_number(line, "actual_size", refusal->actual_size);
    }
}

void audit_refusal(struct audit *audit, const struct ocall_refusal *refusal, const char *path,
                   size_t path_size)
{
    const struct named_refusal named = { refusal, path, path_size };
    write_line(audit, "refused", fill_refusal, &named);
}

struct counted_text {
    const char *text;
    size_t size;
};

static void fill_panic(json_t *line, const void *arg)
{
    const struct counted_text *t = arg;
    put_text(line, "text", t->text, t->size);
}

void audit_panic(struct audit *audit, const char *text, size_t size)
{
    const struct counted_text t = { text, size };
    write_line(audit, "panic", fill_panic, &t);
}

static void fill_exit(json_t *line, const void *arg)
{
    put_number(line, "status", (uint64_t) * (const int *)arg);
}

void audit_exit(struct audit *audit, int status)
{
    write_line(audit, "exit", fill_exit, &status);
}
