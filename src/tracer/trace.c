#include "tracer/trace.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "tracer/log.h"
#include "tracer/resolve.h"
#include "util/fs.h"

/* What the reader keeps beside the model. The model comes first: a struct trace is the owner. */
struct loaded {
    struct trace t;
    char *data;        /* the file; strings point into it */
    uint32_t *by_path; /* path indexes, sorted by their bytes */
    size_t process_room, path_room, move_room, note_room;
};

struct raw_access {
    uint32_t process, path, bits;
    uint64_t order;
};

struct reader {
    const char *name; /* of the file */
    struct loaded *l;
    const uint8_t *at, *end; /* of the payload */
    size_t offset;           /* of the record in the file */
    struct raw_access *accesses;
    size_t access_count, access_room;
    uint64_t order;
    bool run_seen, end_seen;
    bool *changed; /* per path: the run changed it already */
    size_t changed_room;
    const char *wrong; /* why the payload is refused */
};

/* ---- fields ---- */

/* The first reason counts; what follows is only its consequence. */
static void refuse(struct reader *r, const char *why)
{
    if (!r->wrong)
        r->wrong = why;
}

static uint64_t take_number(struct reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end)
            break;
        uint8_t b = *r->at++;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    refuse(r, "broken number");
    r->at = r->end;
    return 0;
}

static uint64_t take_below(struct reader *r, uint64_t limit, const char *what)
{
    uint64_t v = take_number(r);
    if (v >= limit)
        refuse(r, what);
    return r->wrong ? 0 : v;
}

static uint32_t take_u32(struct reader *r, const char *what)
{
    return (uint32_t)take_below(r, (uint64_t)UINT32_MAX + 1, what);
}

static const char *take_bytes(struct reader *r, size_t *ret_size)
{
    uint64_t size = take_number(r);
    if (r->wrong || size >= (uint64_t)(r->end - r->at) || r->at[size] != 0) {
        refuse(r, "broken string");
        r->at = r->end;
        *ret_size = 0;
        return "";
    }
    const char *text = (const char *)r->at;
    r->at += size + 1;
    *ret_size = (size_t)size;
    return text;
}

static const char *take_string(struct reader *r)
{
    size_t size;
    const char *text = take_bytes(r, &size);
    if (strlen(text) != size) {
        refuse(r, "NUL in a string");
        return "";
    }
    return text;
}

static uint32_t take_process(struct reader *r)
{
    return (uint32_t)take_below(r, r->l->t.process_count, "unknown process");
}

static uint32_t take_path(struct reader *r)
{
    return (uint32_t)take_below(r, r->l->t.path_count, "unknown path");
}

/* Path + 1; 0 for none. */
static uint32_t take_path_or_none(struct reader *r)
{
    uint64_t v = take_below(r, (uint64_t)r->l->t.path_count + 1, "unknown path");
    return v ? (uint32_t)(v - 1) : TRACE_NO_PATH;
}

static struct trace_stat take_stat(struct reader *r)
{
    struct trace_stat st = { 0 };
    st.mode = take_u32(r, "mode out of range");
    if (!st.mode)
        return st;
    st.uid = take_u32(r, "uid out of range");
    st.gid = take_u32(r, "gid out of range");
    st.size = take_number(r);
    uint64_t zigzag = take_number(r);
    st.mtime_sec = (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
    st.mtime_nsec = (uint32_t)take_below(r, 1000000000u, "time out of range");
    st.dev = take_number(r);
    st.ino = take_number(r);
    st.nlink = take_number(r);
    st.rdev = take_number(r);
    return st;
}

/* A counted list of strings with a NULL at its end; every entry takes two bytes of payload. */
static char **take_strings(struct reader *r, size_t *ret_count)
{
    uint64_t n = take_below(r, (uint64_t)(r->end - r->at) / 2 + 1, "count too large");
    char **list = calloc((size_t)n + 1, sizeof(*list));
    if (!list) {
        refuse(r, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        list[i] = (char *)(uintptr_t)take_string(r);
    *ret_count = (size_t)n;
    return list;
}

/* Room for one more element at the end of a zeroed array; NULL and r->wrong without memory. */
static void *grow(struct reader *r, void **array, size_t count, size_t *room, size_t size)
{
    if (count == *room) {
        size_t n = *room ? *room * 2 : 64;
        void *p = reallocarray(*array, n, size);
        if (!p) {
            refuse(r, "out of memory");
            return NULL;
        }
        memset((char *)p + *room * size, 0, (n - *room) * size);
        *array = p;
        *room = n;
    }
    return (char *)*array + count * size;
}

/* ---- records ---- */

static void read_run(struct reader *r)
{
    struct trace *t = &r->l->t;
    if (r->run_seen) {
        refuse(r, "second run record");
        return;
    }
    r->run_seen = true;
    t->time = take_number(r);
    t->hostname = take_string(r);
    t->kernel = take_string(r);
    t->cwd = take_string(r);
    t->argv = take_strings(r, &t->argc);
}

static void read_program(struct reader *r, struct trace_process *p)
{
    p->exec_name = take_string(r);
    p->executable = take_string(r);
    p->executable_path = take_path_or_none(r);
    p->elf_interpreter = take_path_or_none(r);
    uint64_t n = take_below(r, (uint64_t)(r->end - r->at) + 1, "count too large");
    p->chain = calloc(n ? (size_t)n : 1, sizeof(*p->chain));
    if (!p->chain) {
        refuse(r, "out of memory");
        return;
    }
    p->chain_count = (size_t)n;
    for (size_t i = 0; i < n; i++)
        p->chain[i] = take_path(r);
    p->argv = take_strings(r, &p->argc);
    p->envp = take_strings(r, &p->env_count);
}

/* A fork runs its parent's program and shares its lists. */
static void inherit_program(struct trace_process *p, const struct trace_process *from)
{
    p->exec_name = from->exec_name;
    p->executable = from->executable;
    p->executable_path = from->executable_path;
    p->elf_interpreter = from->elf_interpreter;
    p->chain = from->chain;
    p->chain_count = from->chain_count;
    p->argv = from->argv;
    p->argc = from->argc;
    p->envp = from->envp;
    p->env_count = from->env_count;
}

static bool owns_program(const struct trace_process *p)
{
    return p->how == TRACE_HOW_ROOT || p->how == TRACE_HOW_EXEC;
}

static void read_process(struct reader *r)
{
    struct trace *t = &r->l->t;
    struct trace_process *p =
        grow(r, (void **)&t->processes, t->process_count, &r->l->process_room, sizeof(*p));
    if (!p)
        return;
    p->pid = take_u32(r, "pid out of range");
    p->start_time = take_number(r);
    uint64_t parent = take_below(r, t->process_count + 1, "unknown parent");
    p->parent = parent ? (uint32_t)(parent - 1) : TRACE_NO_PROCESS;
    p->how = (enum trace_how)take_below(r, TRACE_HOW_EXEC + 1, "unknown way of starting");
    p->clone_flags = take_number(r);
    p->uid = take_u32(r, "uid out of range");
    p->gid = take_u32(r, "gid out of range");
    p->umask = take_u32(r, "umask out of range");
    p->cwd = take_string(r);
    p->thread_peak = 1;
    if (!r->wrong && (p->how == TRACE_HOW_ROOT) != (t->process_count == 0))
        refuse(r, "root process not first");
    if (!r->wrong && (p->parent == TRACE_NO_PROCESS) != (p->how == TRACE_HOW_ROOT))
        refuse(r, "process without parent");
    /* Counted before it may be refused, so that trace_free sees its lists. */
    t->process_count++;
    if (r->wrong)
        return;
    if (owns_program(p))
        read_program(r, p);
    else
        inherit_program(p, &t->processes[p->parent]);
}

static void read_path(struct reader *r)
{
    struct trace *t = &r->l->t;
    struct trace_path *p = grow(r, (void **)&t->paths, t->path_count, &r->l->path_room, sizeof(*p));
    if (!p || !grow(r, (void **)&r->changed, t->path_count, &r->changed_room, sizeof(bool)))
        return;
    p->path = take_string(r);
    p->before = take_stat(r);
    if (!r->wrong && p->path[0] != '/')
        refuse(r, "path not absolute");
    t->path_count++;
}

static void read_access(struct reader *r)
{
    struct trace *t = &r->l->t;
    struct raw_access *a =
        grow(r, (void **)&r->accesses, r->access_count, &r->access_room, sizeof(*a));
    if (!a)
        return;
    a->process = take_process(r);
    a->path = take_path(r);
    a->bits = (uint32_t)take_below(r, TRACE_ALL_BITS + 1, "unknown access");
    a->order = ++r->order;
    if (r->wrong)
        return;
    r->access_count++;

    struct trace_path *p = &t->paths[a->path];
    p->bits |= a->bits;
    if ((a->bits & (TRACE_READ | TRACE_MAPPED_EXEC)) && p->before.mode &&
        !(a->bits & (TRACE_TRUNCATED | TRACE_CREATED)) && !r->changed[a->path])
        p->read_before_written = true;
    if (a->bits & (TRACE_WRITTEN | TRACE_CREATED | TRACE_TRUNCATED | TRACE_RENAMED_TO |
                   TRACE_RENAMED_FROM | TRACE_REMOVED))
        r->changed[a->path] = true;
}

static void read_list(struct reader *r)
{
    uint32_t path = take_path(r);
    uint64_t n = take_below(r, (uint64_t)(r->end - r->at) / 2 + 1, "count too large");
    if (r->wrong)
        return;
    struct trace_path *p = &r->l->t.paths[path];
    struct trace_name *names =
        reallocarray(p->names, p->name_count + (size_t)n + 1, sizeof(*names));
    if (!names) {
        refuse(r, "out of memory");
        return;
    }
    p->names = names;
    for (size_t i = 0; i < n && !r->wrong; i++) {
        uint8_t type = (uint8_t)take_below(r, 256, "unknown file type");
        const char *name = take_string(r);
        if (!r->wrong && (!*name || strchr(name, '/')))
            refuse(r, "name of a directory entry with '/'");
        if (!r->wrong)
            names[p->name_count++] = (struct trace_name){ .name = name, .type = type };
    }
}

static void read_move(struct reader *r)
{
    struct trace *t = &r->l->t;
    struct trace_move *m = grow(r, (void **)&t->moves, t->move_count, &r->l->move_room, sizeof(*m));
    if (!m)
        return;
    m->kind = (enum trace_move_kind)take_below(r, TRACE_MOVE_EXCHANGE + 1, "unknown move");
    m->process = take_process(r);
    m->from = take_path(r);
    m->to = take_path(r);
    m->order = ++r->order;
    if (!r->wrong)
        t->move_count++;
}

static void address_text(const void *address, size_t size, char *ret, size_t room)
{
    char host[INET6_ADDRSTRLEN] = "?";
    uint16_t family = AF_UNSPEC;
    if (size >= sizeof(family))
        memcpy(&family, address, sizeof(family));
    if (family == AF_INET && size >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof(in));
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
        snprintf(ret, room, "%s:%u", host, ntohs(in.sin_port));
    } else if (family == AF_INET6 && size >= offsetof(struct sockaddr_in6, sin6_scope_id)) {
        struct sockaddr_in6 in = { 0 };
        memcpy(&in, address, size < sizeof(in) ? size : sizeof(in));
        inet_ntop(AF_INET6, &in.sin6_addr, host, sizeof(host));
        snprintf(ret, room, "[%s]:%u", host, ntohs(in.sin6_port));
    } else if (family == AF_UNIX) {
        size_t n = size - sizeof(family);
        const char *path = (const char *)address + sizeof(family);
        bool abstract = n && !path[0];
        snprintf(ret, room, "unix:%s%.*s", abstract ? "@" : "",
                 (int)(abstract ? n - 1 : strnlen(path, n)), abstract ? path + 1 : path);
    } else {
        snprintf(ret, room, "address family %u", family);
    }
}

static void socket_text(struct trace_socket *s)
{
    address_text(s->address, s->address_size, s->text, sizeof(s->text));
    s->local_text[0] = '\0';
    if (s->local_size)
        address_text(s->local, s->local_size, s->local_text, sizeof(s->local_text));
}

static const void *take_address(struct reader *r, size_t *ret_size)
{
    const char *address = take_bytes(r, ret_size);
    if (!r->wrong && *ret_size > sizeof(struct sockaddr_storage))
        refuse(r, "socket address too long");
    return address;
}

/* LOG_SOCKET has a path, LOG_NET the socket's type and own address. */
static void read_any_socket(struct reader *r, bool net)
{
    struct trace_socket read = { .path = TRACE_NO_PATH };
    uint32_t process = take_process(r);
    read.bits = (uint32_t)take_below(r, TRACE_ALL_BITS + 1, "unknown access");
    if (net)
        read.type = take_u32(r, "socket type out of range");
    else
        read.path = take_path_or_none(r);
    read.address = take_address(r, &read.address_size);
    if (net && !r->wrong)
        read.local = take_address(r, &read.local_size);
    if (r->wrong)
        return;
    struct trace_process *p = &r->l->t.processes[process];
    struct trace_socket *s = reallocarray(p->sockets, p->socket_count + 1, sizeof(*s));
    if (!s) {
        refuse(r, "out of memory");
        return;
    }
    p->sockets = s;
    s += p->socket_count++;
    *s = read;
    socket_text(s);
}

static void read_socket(struct reader *r)
{
    read_any_socket(r, false);
}

static void read_net(struct reader *r)
{
    read_any_socket(r, true);
}

static void read_exit(struct reader *r)
{
    uint32_t process = take_process(r);
    bool replaced = take_below(r, 2, "unknown end");
    uint32_t status = take_u32(r, "status out of range");
    uint64_t vm_peak = take_number(r);
    uint32_t threads = take_u32(r, "thread count out of range");
    if (r->wrong)
        return;
    struct trace_process *p = &r->l->t.processes[process];
    p->ended = true;
    p->replaced = replaced;
    p->wait_status = (int)status;
    p->vm_peak = vm_peak;
    p->thread_peak = threads ? threads : 1;
}

static void read_note(struct reader *r)
{
    struct trace *t = &r->l->t;
    struct trace_note *n = grow(r, (void **)&t->notes, t->note_count, &r->l->note_room, sizeof(*n));
    if (!n)
        return;
    uint64_t process = take_below(r, t->process_count + 1, "unknown process");
    n->process = process ? (uint32_t)(process - 1) : TRACE_NO_PROCESS;
    n->incomplete = take_below(r, 2, "unknown note");
    n->text = take_string(r);
    if (r->wrong)
        return;
    if (n->incomplete && !t->incomplete)
        t->incomplete = n->text;
    t->note_count++;
}

static void read_target(struct reader *r)
{
    uint32_t path = take_path(r);
    const char *target = take_string(r);
    if (!r->wrong)
        r->l->t.paths[path].link_target = target;
}

static void read_after(struct reader *r)
{
    uint32_t path = take_path(r);
    struct trace_stat st = take_stat(r);
    if (r->wrong)
        return;
    r->l->t.paths[path].after = st;
    r->l->t.paths[path].after_known = true;
}

static void read_end(struct reader *r)
{
    struct trace *t = &r->l->t;
    if (take_number(r) != t->process_count || take_number(r) != t->path_count) {
        refuse(r, "counts at the end differ");
        return;
    }
    r->end_seen = true;
    for (size_t i = 0; i < t->path_count; i++) {
        if (!t->paths[i].after_known)
            t->paths[i].after = t->paths[i].before;
        t->paths[i].after_known = true;
    }
}

static void (*const readers[])(struct reader *) = {
    [LOG_RUN] = read_run,       [LOG_PROCESS] = read_process, [LOG_PATH] = read_path,
    [LOG_TARGET] = read_target, [LOG_ACCESS] = read_access,   [LOG_LIST] = read_list,
    [LOG_MOVE] = read_move,     [LOG_SOCKET] = read_socket,   [LOG_EXIT] = read_exit,
    [LOG_NOTE] = read_note,     [LOG_AFTER] = read_after,     [LOG_END] = read_end,
    [LOG_NET] = read_net,
};

static int read_record(struct reader *r, struct err *err)
{
    unsigned kind = *r->at++;
    if (kind >= ARRAY_SIZE(readers) || !readers[kind])
        refuse(r, "unknown record");
    else if (!r->run_seen && kind != LOG_RUN)
        refuse(r, "no run record at the start");
    else
        readers[kind](r);
    if (!r->wrong && r->at != r->end)
        refuse(r, "record too long");
    if (r->wrong)
        return err_set(err, strcmp(r->wrong, "out of memory") ? -EBADMSG : -ENOMEM,
                       "trace '%s': offset %zu: %s", r->name, r->offset, r->wrong);
    return 0;
}

/* ---- the whole ---- */

static int compare_raw(const void *a, const void *b)
{
    const struct raw_access *x = a, *y = b;
    if (x->process != y->process)
        return x->process < y->process ? -1 : 1;
    if (x->path != y->path)
        return x->path < y->path ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void merge_one(struct trace_access *a, const struct raw_access *raw)
{
    const uint32_t reads = TRACE_READ | TRACE_MAPPED_EXEC;
    const uint32_t writes = TRACE_WRITTEN | TRACE_CREATED | TRACE_TRUNCATED | TRACE_RENAMED_TO;
    a->path = raw->path;
    a->bits |= raw->bits;
    if (!a->first)
        a->first = raw->order;
    if (!a->first_read && (raw->bits & reads))
        a->first_read = raw->order;
    if (!a->first_write && (raw->bits & writes))
        a->first_write = raw->order;
}

static int merge_accesses(struct reader *r)
{
    struct trace *t = &r->l->t;
    if (r->access_count)
        qsort(r->accesses, r->access_count, sizeof(*r->accesses), compare_raw);
    for (size_t i = 0; i < r->access_count;) {
        struct trace_process *p = &t->processes[r->accesses[i].process];
        size_t end = i, distinct = 0;
        for (; end < r->access_count && r->accesses[end].process == r->accesses[i].process; end++)
            distinct += end == i || r->accesses[end].path != r->accesses[end - 1].path;
        p->accesses = calloc(distinct, sizeof(*p->accesses));
        if (!p->accesses)
            return -ENOMEM;
        for (size_t k = i; k < end; k++) {
            if (k > i && r->accesses[k].path != r->accesses[k - 1].path)
                p->access_count++;
            merge_one(&p->accesses[p->access_count], &r->accesses[k]);
        }
        p->access_count++;
        i = end;
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct trace_name *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void sort_names(struct trace_path *p)
{
    if (!p->name_count)
        return;
    qsort(p->names, p->name_count, sizeof(*p->names), compare_names);
    size_t kept = 1;
    for (size_t i = 1; i < p->name_count; i++) {
        if (strcmp(p->names[i].name, p->names[kept - 1].name) != 0)
            p->names[kept++] = p->names[i];
    }
    p->name_count = kept;
}

static int compare_paths(const void *a, const void *b, void *paths)
{
    const struct trace_path *p = paths;
    return strcmp(p[*(const uint32_t *)a].path, p[*(const uint32_t *)b].path);
}

static int index_paths(struct reader *r, struct err *err)
{
    struct trace *t = &r->l->t;
    uint32_t *index = calloc(t->path_count + 1, sizeof(*index));
    if (!index)
        return err_set(err, -ENOMEM, "trace '%s': out of memory", r->name);
    r->l->by_path = index;
    for (size_t i = 0; i < t->path_count; i++)
        index[i] = (uint32_t)i;
    qsort_r(index, t->path_count, sizeof(*index), compare_paths, t->paths);
    for (size_t i = 1; i < t->path_count; i++) {
        if (strcmp(t->paths[index[i]].path, t->paths[index[i - 1]].path) == 0)
            return err_set(err, -EBADMSG, "trace '%s': path '%s' stands twice", r->name,
                           t->paths[index[i]].path);
    }
    return 0;
}

/* Below a folder that the run made where nothing was: not there before either, even if it was first met there,
 * because it came along with a folder that was renamed. */
static bool came_along(const struct trace *t, const char *path)
{
    char folder[RESOLVE_PATH_MAX];
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t size = (size_t)(slash - path);
        if (size >= sizeof(folder))
            return false;
        memcpy(folder, path, size);
        folder[size] = '\0';
        uint32_t at = trace_path_find(t, folder);
        if (at == TRACE_NO_PATH)
            continue;
        const struct trace_path *above = &t->paths[at];
        if (!above->before.mode && (above->bits & (TRACE_CREATED | TRACE_RENAMED_TO)))
            return true;
    }
    return false;
}

static void forget_before(struct trace *t)
{
    for (size_t i = 0; i < t->path_count; i++) {
        struct trace_path *p = &t->paths[i];
        if (!p->before.mode || !came_along(t, p->path))
            continue;
        p->before = (struct trace_stat){ 0 };
        p->read_before_written = false;
    }
}

static int finish(struct reader *r, bool torn, struct err *err)
{
    struct trace *t = &r->l->t;
    if (!r->run_seen || !t->process_count)
        return err_set(err, -EBADMSG,
                       "trace '%s' holds no process: the recorder was stopped "
                       "before the program started",
                       r->name);
    if (merge_accesses(r) < 0)
        return err_set(err, -ENOMEM, "trace '%s': out of memory", r->name);
    for (size_t i = 0; i < t->path_count; i++)
        sort_names(&t->paths[i]);
    if (!r->end_seen && !t->incomplete)
        t->incomplete = torn ? "the last record is torn: the recorder died while writing it"
                             : "the recorder was stopped before the program ended";
    for (size_t i = 0; i < t->process_count && !t->incomplete; i++) {
        if (!t->processes[i].ended)
            t->incomplete = "a process had not ended when the trace did";
    }
    t->complete = !t->incomplete;
    int e = index_paths(r, err);
    if (e == 0)
        forget_before(t);
    return e;
}

/* The records from the head on. Stops at the end of file, at a zero size or at a torn record. */
static int read_records(struct reader *r, const uint8_t *data, size_t size, struct err *err)
{
    size_t at = LOG_HEAD_SIZE;
    bool torn = false;
    while (size - at >= 8 && !r->end_seen) {
        uint32_t length, sum;
        memcpy(&length, data + at, sizeof(length));
        memcpy(&sum, data + at + 4, sizeof(sum));
        if (length == 0)
            break;
        if (length > LOG_RECORD_MAX || length > size - at - 8 ||
            log_checksum(data + at + 8, length) != sum) {
            torn = true;
            break;
        }
        r->offset = at;
        r->at = data + at + 8;
        r->end = r->at + length;
        int e = read_record(r, err);
        if (e < 0)
            return e;
        at += 8 + length;
    }
    return finish(r, torn, err);
}

/* Takes data over, in any case. */
static int parse_owned(const char *name, char *data, size_t size, struct trace **ret,
                       struct err *err)
{
    CLEANUP(free_p) char *owned = data;
    uint32_t version;
    if (size < LOG_HEAD_SIZE || memcmp(data, LOG_MAGIC, sizeof(LOG_MAGIC)) != 0)
        return err_set(err, -EBADMSG, "'%s' is not a trace", name);
    memcpy(&version, data + sizeof(LOG_MAGIC), sizeof(version));
    if (version != TRACE_VERSION)
        return err_set(err, -EPROTO, "trace '%s' has format version %u; this program reads %u",
                       name, version, TRACE_VERSION);

    struct loaded *l = calloc(1, sizeof(*l));
    if (!l)
        return err_set(err, -ENOMEM, "trace '%s': out of memory", name);
    l->data = TAKE_PTR(owned);
    l->t.hostname = l->t.kernel = l->t.cwd = "";
    struct reader r = { .name = name, .l = l };
    int e = read_records(&r, (const uint8_t *)data, size, err);
    free(r.accesses);
    free(r.changed);
    if (e < 0) {
        trace_free(&l->t);
        return e;
    }
    *ret = &l->t;
    return 0;
}

int trace_parse(const char *name, const void *data, size_t size, struct trace **ret,
                struct err *err)
{
    char *copy = malloc(size + 1);
    if (!copy)
        return err_set(err, -ENOMEM, "trace '%s': out of memory", name);
    if (size)
        memcpy(copy, data, size);
    copy[size] = '\0';
    return parse_owned(name, copy, size, ret, err);
}

int trace_load(const char *path, struct trace **ret, struct err *err)
{
    char *data;
    size_t size;
    int e = file_load(AT_FDCWD, path, TRACE_FILE_MAX, &data, &size, err);
    if (e < 0)
        return err_wrap(err, "reading the trace");
    return parse_owned(path, data, size, ret, err);
}

void trace_free(struct trace *t)
{
    if (!t)
        return;
    struct loaded *l = (struct loaded *)t;
    for (size_t i = 0; i < t->process_count; i++) {
        struct trace_process *p = &t->processes[i];
        if (owns_program(p)) {
            free(p->chain);
            free(p->argv);
            free(p->envp);
        }
        free(p->accesses);
        free(p->sockets);
    }
    for (size_t i = 0; i < t->path_count; i++)
        free(t->paths[i].names);
    free(t->argv);
    free(t->processes);
    free(t->paths);
    free(t->moves);
    free(t->notes);
    free(l->by_path);
    free(l->data);
    free(l);
}

void trace_free_p(struct trace **t)
{
    int saved = errno;
    trace_free(*t);
    errno = saved;
}

/* ---- questions ---- */

const struct trace_access *trace_access_find(const struct trace_process *p, uint32_t path)
{
    size_t low = 0, high = p->access_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->accesses[mid].path == path)
            return &p->accesses[mid];
        if (p->accesses[mid].path < path)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

uint32_t trace_path_find(const struct trace *t, const char *path)
{
    const uint32_t *index = ((const struct loaded *)t)->by_path;
    size_t low = 0, high = t->path_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(t->paths[index[mid]].path, path);
        if (order == 0)
            return index[mid];
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return TRACE_NO_PATH;
}

const char *trace_getenv(const struct trace_process *p, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < p->env_count; i++) {
        if (strncmp(p->envp[i], name, n) == 0 && p->envp[i][n] == '=')
            return p->envp[i] + n + 1;
    }
    return NULL;
}
