#include "tracer/recorder.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* ---- sets of hashes ---- */

uint64_t seen_hash(uint64_t start, const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t h = start ^ 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    h ^= h >> 29;
    h *= 0x9e3779b97f4a7c15u;
    return h ? h : 1;
}

static bool seen_grow(struct seen *s)
{
    size_t room = s->room ? s->room * 2 : 64;
    uint64_t *slots = calloc(room, sizeof(*slots));
    if (!slots)
        return false;
    for (size_t i = 0; i < s->room; i++) {
        if (!s->slots[i])
            continue;
        size_t at = (size_t)s->slots[i] & (room - 1);
        while (slots[at])
            at = (at + 1) & (room - 1);
        slots[at] = s->slots[i];
    }
    free(s->slots);
    s->slots = slots;
    s->room = room;
    return true;
}

bool seen_add(struct seen *s, uint64_t hash)
{
    if (s->count * 2 >= s->room && !seen_grow(s) && s->count + 1 >= s->room)
        return true;
    size_t at = (size_t)hash & (s->room - 1);
    for (; s->slots[at]; at = (at + 1) & (s->room - 1)) {
        if (s->slots[at] == hash)
            return false;
    }
    s->slots[at] = hash;
    s->count++;
    return true;
}

/* ---- paths ---- */

static void put_stat(struct log *log, const struct trace_stat *st)
{
    log_number(log, st->mode);
    if (!st->mode)
        return;
    log_number(log, st->uid);
    log_number(log, st->gid);
    log_number(log, st->size);
    uint64_t sign = st->mtime_sec < 0 ? UINT64_MAX : 0;
    log_number(log, ((uint64_t)st->mtime_sec << 1) ^ sign);
    log_number(log, st->mtime_nsec);
    log_number(log, st->dev);
    log_number(log, st->ino);
    log_number(log, st->nlink);
    log_number(log, st->rdev);
}

static struct trace_stat from_stat(const struct stat *st)
{
    return (struct trace_stat){
        .mode = st->st_mode,
        .uid = st->st_uid,
        .gid = st->st_gid,
        .size = (uint64_t)st->st_size,
        .mtime_sec = st->st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .dev = st->st_dev,
        .ino = st->st_ino,
        .nlink = st->st_nlink,
        .rdev = st->st_rdev,
    };
}

static uint32_t path_add(struct recorder *r, pid_t tgid, const struct resolved *at)
{
    if (r->path_count == r->path_room) {
        size_t room = r->path_room ? r->path_room * 2 : 1024;
        struct known_path **list = reallocarray(r->path_list, room, sizeof(*list));
        if (!list)
            return TRACE_NO_PATH;
        r->path_list = list;
        r->path_room = room;
    }
    struct known_path *k = calloc(1, sizeof(*k));
    char *copy = malloc(at->size + 1);
    if (!k || !copy) {
        free(k);
        free(copy);
        return TRACE_NO_PATH;
    }
    memcpy(copy, at->path, at->size + 1);
    k->path = copy;

    char buf[RESOLVE_PATH_MAX + 32];
    const char *real = resolve_real_path(at->path, tgid, buf, sizeof(buf));
    struct stat st;
    if (!at->error && at->stat_known)
        k->before = from_stat(&at->st);
    else if (!at->error && lstat(real, &st) == 0)
        k->before = from_stat(&st);
    HASH_ADD_KEYPTR(hh, r->paths, k->path, at->size, k);
    uint32_t index = (uint32_t)r->path_count;
    k->index = index;
    r->path_list[r->path_count++] = k;

    log_begin(&r->log, LOG_PATH);
    log_bytes(&r->log, at->path, at->size);
    put_stat(&r->log, &k->before);
    log_end(&r->log);
    if (S_ISLNK(k->before.mode)) {
        char target[PATH_MAX];
        ssize_t n = readlink(real, target, sizeof(target));
        if (n >= 0) {
            log_begin(&r->log, LOG_TARGET);
            log_number(&r->log, index);
            log_bytes(&r->log, target, (size_t)n);
            log_end(&r->log);
        }
    }
    return index;
}

uint32_t known_path(struct recorder *r, pid_t tgid, const struct resolved *at)
{
    uint32_t tag = at->node ? resolve_node_tag(at->node) : 0;
    if (tag)
        return tag - 1;
    struct known_path *k;
    uint32_t index;
    HASH_FIND(hh, r->paths, at->path, at->size, k);
    index = k ? k->index : path_add(r, tgid, at);
    if (at->node && index != TRACE_NO_PATH)
        resolve_node_set_tag(at->node, index + 1);
    return index;
}

uint32_t known_name(struct recorder *r, pid_t tgid, const char *path)
{
    size_t size = strlen(path);
    struct known_path *k;
    HASH_FIND(hh, r->paths, path, size, k);
    if (k)
        return k->index;
    /* Walked like any other name, so that the tree of nodes knows it too. */
    struct resolved *at = malloc(sizeof(*at));
    if (!at)
        return TRACE_NO_PATH;
    const struct resolve_start start = { .root = "/", .base = "/", .tgid = tgid, .tid = tgid };
    resolver_walk(r->resolver, &start, path, RESOLVE_NOFOLLOW, NULL, NULL, at);
    uint32_t index = known_path(r, tgid, at);
    free(at);
    return index;
}

void known_touch(struct recorder *r, struct process *p, uint32_t path, uint32_t bits)
{
    if (p->index == TRACE_NO_PROCESS || path == TRACE_NO_PATH)
        return;
    if (path >= p->done_room) {
        size_t room = p->done_room ? p->done_room : 256;
        while (room <= path)
            room *= 2;
        uint32_t *done = reallocarray(p->done, room, sizeof(*done));
        if (!done) {
            r->log.failed = r->log.failed ? r->log.failed : -ENOMEM;
            return;
        }
        memset(done + p->done_room, 0, (room - p->done_room) * sizeof(*done));
        p->done = done;
        p->done_room = room;
    }
    uint32_t fresh = bits & ~p->done[path];
    if (!fresh)
        return;
    p->done[path] |= fresh;
    if (fresh & TRACE_MAPPED_EXEC)
        p->mapped += seen_hash(0, &path, sizeof(path));
    log_begin(&r->log, LOG_ACCESS);
    log_number(&r->log, p->index);
    log_number(&r->log, path);
    log_number(&r->log, fresh);
    log_end(&r->log);
}

void known_note(struct recorder *r, const struct process *p, bool incomplete, const char *format,
                ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!seen_add(&r->notes, seen_hash(0, text, strlen(text))))
        return;
    bool of_process = p && p->index != TRACE_NO_PROCESS;
    log_begin(&r->log, LOG_NOTE);
    log_number(&r->log, of_process ? (uint64_t)p->index + 1 : 0);
    log_number(&r->log, incomplete);
    log_string(&r->log, text);
    log_end(&r->log);
}

/* What the kernel writes anew at each look says nothing about the run. */
static bool is_volatile(const char *path)
{
    return strncmp(path, "/proc", 5) == 0 && (path[5] == '/' || !path[5]);
}

static bool same_stat(const struct trace_stat *a, const struct trace_stat *b)
{
    return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid && a->size == b->size &&
           a->mtime_sec == b->mtime_sec && a->mtime_nsec == b->mtime_nsec && a->dev == b->dev &&
           a->ino == b->ino && a->nlink == b->nlink;
}

void known_finish(struct recorder *r)
{
    for (size_t i = 0; i < r->path_count; i++) {
        const struct known_path *k = r->path_list[i];
        struct stat st;
        struct trace_stat now = { 0 };
        if (is_volatile(k->path))
            continue;
        if (lstat(k->path, &st) == 0)
            now = from_stat(&st);
        if (same_stat(&now, &k->before))
            continue;
        log_begin(&r->log, LOG_AFTER);
        log_number(&r->log, i);
        put_stat(&r->log, &now);
        log_end(&r->log);
        char target[PATH_MAX];
        ssize_t n = S_ISLNK(now.mode) ? readlink(k->path, target, sizeof(target)) : -1;
        if (n >= 0) {
            log_begin(&r->log, LOG_TARGET);
            log_number(&r->log, i);
            log_bytes(&r->log, target, (size_t)n);
            log_end(&r->log);
        }
    }
    log_begin(&r->log, LOG_END);
    log_number(&r->log, r->process_count);
    log_number(&r->log, r->path_count);
    log_end(&r->log);
}

void known_free(struct recorder *r)
{
    HASH_CLEAR(hh, r->paths);
    for (size_t i = 0; i < r->path_count; i++) {
        free(r->path_list[i]->path);
        free(r->path_list[i]->names.slots);
        free(r->path_list[i]);
    }
    free(r->path_list);
    free(r->notes.slots);
    free(r->mapped.slots);
}
