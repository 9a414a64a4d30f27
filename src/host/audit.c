#include "host/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "host/quote.h"
#include "util/fs.h"

#define SEEN_MAX 65536 /* different absent paths that are told apart */

struct seen {
    UT_hash_handle hh;
    char path[];
};

struct audit {
    int fd; /* -1: none */
    char *node;
    pthread_mutex_t lock; /* of seen and absent_count */
    struct seen *seen;
    uint64_t absent_count;
};

int audit_new(const char *path, const char *node, struct audit **ret, struct err *err)
{
    struct audit *audit = calloc(1, sizeof(*audit));
    if (!audit)
        return err_set(err, -ENOMEM, "out of memory");
    audit->fd = -1;
    pthread_mutex_init(&audit->lock, NULL);
    audit->node = strdup(node);
    if (!audit->node) {
        audit_free(audit);
        return err_set(err, -ENOMEM, "out of memory");
    }
    if (path) {
        struct stat st;
        audit->fd =
            open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
        int r = audit->fd < 0 ? -errno : 0;
        if (r == 0 && (fstat(audit->fd, &st) < 0 || !S_ISREG(st.st_mode)))
            r = -EINVAL;
        if (r < 0) {
            audit_free(audit);
            return err_set(err, r, "opening audit file '%s': %s", path,
                           r == -EINVAL ? "not a regular file" : strerror(-r));
        }
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
    if (audit->fd >= 0)
        close(audit->fd);
    pthread_mutex_destroy(&audit->lock);
    free(audit->node);
    free(audit);
}

/* --- lines -------------------------------------------------------------------------------------
 */

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

static void line_end(struct audit *audit, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    if (!text)
        return;
    size_t size = strlen(text);
    text[size] = '\n'; /* over the NUL: one write */
    if (write_full(audit->fd, text, size + 1) < 0) {
        /* A full disk must not change what the program gets. */
    }
    free(text);
}

/* --- events ------------------------------------------------------------------------------------
 */

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

void audit_event(struct audit *audit, const struct ocall_audit *event, const char *path,
                 size_t path_size)
{
    static const char *const names[] = {
        [OCALL_AUDIT_ABSENT] = "absent",   [OCALL_AUDIT_NOT_GRANTED] = "not-granted",
        [OCALL_AUDIT_EXEC] = "exec",       [OCALL_AUDIT_FORK] = "fork",
        [OCALL_AUDIT_LISTING] = "listing", [OCALL_AUDIT_SYSCALL] = "syscall",
        [OCALL_AUDIT_WRITE] = "write",     [OCALL_AUDIT_NET] = "net",
        [OCALL_AUDIT_CHILD] = "child",
    };
    if (event->event == OCALL_AUDIT_ABSENT)
        count_absent(audit, path, path_size);
    if (audit->fd < 0)
        return;
    const char *name = event->event < ARRAY_SIZE(names) ? names[event->event] : NULL;
    json_t *line = line_new(audit, name ? name : "unknown");
    put_number(line, "pid", event->pid);
    put_number(line, "tid", event->tid);
    if (path_size)
        put_text(line, "path", path, path_size);
    if (event->error)
        put_number(line, "errno", event->error);
    if (event->event == OCALL_AUDIT_SYSCALL)
        put_number(line, "value", event->value);
    line_end(audit, line);
}

void audit_refusal(struct audit *audit, const struct ocall_refusal *refusal, const char *path,
                   size_t path_size)
{
    static const char *const kinds[] = {
        [OCALL_REFUSED_CONTENT] = "content", [OCALL_REFUSED_SHORT] = "short",
        [OCALL_REFUSED_LONG] = "long",       [OCALL_REFUSED_MISSING] = "missing",
        [OCALL_REFUSED_TYPE] = "type",
    };
    if (audit->fd < 0)
        return;
    const char *kind = refusal->kind < ARRAY_SIZE(kinds) ? kinds[refusal->kind] : NULL;
    json_t *line = line_new(audit, "refused");
    put_text(line, "path", path, path_size);
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
    line_end(audit, line);
}

void audit_panic(struct audit *audit, const char *text, size_t size)
{
    if (audit->fd < 0)
        return;
    json_t *line = line_new(audit, "panic");
    put_text(line, "text", text, size);
    line_end(audit, line);
}

void audit_exit(struct audit *audit, int status)
{
    if (audit->fd < 0)
        return;
    json_t *line = line_new(audit, "exit");
    put_number(line, "status", (uint64_t)status);
    line_end(audit, line);
}
