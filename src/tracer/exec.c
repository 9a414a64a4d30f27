/* How programs start: exec, shebang chains, PT_INTERP, forks; what a process had mapped. */
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/recorder.h"
#include "util/fs.h"

#define SHEBANG_DEPTH       5   /* as Linux: BINPRM depth */
#define SHEBANG_SIZE        256 /* BINPRM_BUF_SIZE */
#define HEAD_SIZE           2048
#define PROGRAM_HEADERS_MAX 512
#define STACK_SIZE          (128u << 10) /* read at most of a new stack; longer ones come from /proc */

/* ---- what a file's head says ---- */

/* The start of a file; most of what is asked for lies in it. */
struct head {
    int fd;
    size_t size;
    char data[HEAD_SIZE];
};

static void head_close(struct head *h)
{
    close_p(&h->fd);
}

static bool head_open(struct head *h, const char *path)
{
    h->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = h->fd < 0 ? -1 : pread_full(h->fd, h->data, sizeof(h->data), 0);
    h->size = n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* size bytes from offset on; false if the file has not that many. */
static bool head_read(const struct head *h, uint64_t offset, void *buf, size_t size)
{
    if (offset <= h->size && size <= h->size - offset) {
        memcpy(buf, h->data + offset, size);
        return true;
    }
    return offset <= INT64_MAX / 2 && pread_full(h->fd, buf, size, (off_t)offset) == (ssize_t)size;
}

/* The interpreter a script names, into buf; false if it is no script. */
static bool head_shebang(const struct head *h, char *buf, size_t size)
{
    char line[SHEBANG_SIZE + 1] = "";
    memcpy(line, h->data, h->size < SHEBANG_SIZE ? h->size : SHEBANG_SIZE);
    if (line[0] != '#' || line[1] != '!')
        return false;
    const char *p = line + 2 + strspn(line + 2, " \t");
    size_t length = strcspn(p, " \t\n");
    if (!length || length >= size)
        return false;
    memcpy(buf, p, length);
    buf[length] = '\0';
    return true;
}

/* PT_INTERP of an ELF file, into buf; false if it has none. */
static bool head_interpreter(const struct head *h, char *buf, size_t size)
{
    union {
        Elf64_Ehdr e64;
        Elf32_Ehdr e32;
        unsigned char ident[EI_NIDENT];
    } e = { .ident = { 0 } };
    memcpy(&e, h->data, h->size < sizeof(e) ? h->size : sizeof(e));
    if (memcmp(e.ident, ELFMAG, SELFMAG) != 0)
        return false;
    bool is_64 = e.ident[EI_CLASS] == ELFCLASS64;
    uint64_t at = is_64 ? e.e64.e_phoff : e.e32.e_phoff;
    size_t count = is_64 ? e.e64.e_phnum : e.e32.e_phnum;
    size_t step = is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if (count > PROGRAM_HEADERS_MAX || at > INT64_MAX / 2)
        return false;
    for (size_t i = 0; i < count; i++) {
        union {
            Elf64_Phdr p64;
            Elf32_Phdr p32;
        } ph;
        if (!head_read(h, at + i * step, &ph, step))
            return false;
        if ((is_64 ? ph.p64.p_type : ph.p32.p_type) != PT_INTERP)
            continue;
        uint64_t offset = is_64 ? ph.p64.p_offset : ph.p32.p_offset;
        uint64_t length = is_64 ? ph.p64.p_filesz : ph.p32.p_filesz;
        if (length < 2 || length > size || !head_read(h, offset, buf, (size_t)length))
            return false;
        buf[length - 1] = '\0';
        return true;
    }
    return false;
}

/* ---- before: the names ---- */

/* The name exec was given, made absolute but not resolved; false if there is none. */
static bool exec_name(struct task *t, char *ret_given, char *ret_absolute)
{
    const struct pending *c = &t->pending;
    const struct call *call = c->call;
    int dir_fd = call->dir_arg == CALL_NO_ARG ? AT_FDCWD : (int)c->args[call->dir_arg];
    if (tracee_string(t->tid, c->args[call->path_arg], ret_given, PATH_MAX) < 0)
        return false;
    if (ret_given[0] == '/') {
        strcpy(ret_absolute, ret_given);
        return true;
    }
    char base[PATH_MAX];
    bool own = !ret_given[0]; /* execveat of the descriptor itself */
    if (own && (dir_fd < 0 || call->flags_arg == CALL_NO_ARG))
        return false;
    int e = dir_fd == AT_FDCWD ? tracee_cwd(t->tid, base, sizeof(base))
                               : tracee_fd(t->tid, dir_fd, base, sizeof(base));
    if (e < 0)
        return false;
    snprintf(ret_absolute, 2 * PATH_MAX, "%s%s%s", base, own ? "" : "/", ret_given);
    return true;
}

bool exec_entry(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    char given[PATH_MAX];
    char name[2 * PATH_MAX];
    if (p->index != TRACE_NO_PROCESS && p->own_memory &&
        (p->how == TRACE_HOW_ROOT || p->how == TRACE_HOW_EXEC))
        exec_sample(r, p, t->tid);
    c->path = c->path_to = TRACE_NO_PATH;
    if (!exec_name(t, given, name))
        return true;
    c->text = strdup(given);
    c->exec_names = calloc(SHEBANG_DEPTH + 2, sizeof(*c->exec_names));
    for (size_t depth = 0; c->exec_names && depth <= SHEBANG_DEPTH; depth++) {
        if (strlen(name) >= PATH_MAX || !handle_resolve(r, t, AT_FDCWD, name, 0, &r->r1))
            break;
        c->exec_names[depth] = strdup(name);
        uint32_t path = known_path(r, p->tgid, &r->r1);
        if (depth == 0) {
            c->path = path;
            c->existed = r->r1.error == 0;
        } else if (r->r1.error == ENOENT || r->r1.error == ENOTDIR) {
            known_touch(r, p, path, TRACE_ABSENT);
        }
        char buf[RESOLVE_PATH_MAX + 32];
        CLEANUP(head_close) struct head head = { .fd = -1 };
        if (r->r1.error ||
            !head_open(&head, resolve_real_path(r->r1.path, p->tgid, buf, sizeof(buf))))
            break;
        if (head_shebang(&head, name, sizeof(name)))
            continue;
        c->path_to = path;
        if (head_interpreter(&head, name, PATH_MAX))
            c->interpreter = strdup(name);
        break;
    }
    return true;
}

void exec_result(struct recorder *r, struct task *t, int64_t result)
{
    const struct pending *c = &t->pending;
    if (result >= 0)
        return;
    uint32_t bits = c->existed ? TRACE_STAT : 0;
    if (result == -EACCES || result == -EPERM)
        bits |= TRACE_DENIED;
    else if (!c->existed)
        bits |= TRACE_ABSENT;
    else if (result == -ENOEXEC || result == -ENOENT || result == -ELOOP)
        bits |= TRACE_READ; /* it was its content, or the interpreter that it names */
    known_touch(r, t->process, c->path, bits);
}

/* ---- after: the program ---- */

struct started {
    char exe[PATH_MAX];
    uint32_t exe_path, elf_interpreter;
    uint32_t chain[SHEBANG_DEPTH + 3];
    size_t chain_count;
    const char *interpreter; /* PT_INTERP as it stands in the file; NULL if none */
};

static uint32_t path_of(struct recorder *r, struct task *t, const char *name, unsigned flags)
{
    if (!handle_resolve(r, t, AT_FDCWD, name, flags, &r->r1))
        return TRACE_NO_PATH;
    return known_path(r, t->process->tgid, &r->r1);
}

/* Run twice: once to give the paths their numbers, before the process record; once to record
 * what the new program did to them. */
static void chain_walk(struct recorder *r, struct task *t, struct started *s)
{
    const struct pending *c = &t->pending;
    struct process *p = t->process;
    s->chain_count = 0;
    for (char **name = c->exec_names; name && *name; name++) {
        uint32_t path = path_of(r, t, *name, 0);
        if (path == TRACE_NO_PATH || s->chain_count + 1 >= ARRAY_SIZE(s->chain))
            continue;
        s->chain[s->chain_count++] = path;
        known_touch(r, p, path, TRACE_READ | TRACE_EXECUTED);
    }
    s->exe_path = TRACE_NO_PATH;
    if (s->exe[0] == '/') {
        s->exe_path = known_name(r, p->tgid, s->exe);
        known_touch(r, p, s->exe_path, TRACE_READ | TRACE_EXECUTED | TRACE_MAPPED_EXEC);
    }
    /* binfmt_misc put an interpreter in between. */
    if (s->exe_path != TRACE_NO_PATH &&
        (!s->chain_count || s->chain[s->chain_count - 1] != s->exe_path))
        s->chain[s->chain_count++] = s->exe_path;
    s->elf_interpreter = TRACE_NO_PATH;
    if (s->interpreter) {
        s->elf_interpreter = path_of(r, t, s->interpreter, 0);
        known_touch(r, p, s->elf_interpreter, TRACE_READ | TRACE_MAPPED_EXEC);
    }
}

/* ---- arguments and environment ---- */

/* The strings of the new program's stack, one block each; both NULL if they cannot be had. Blocks
 * are NUL-terminated strings one after the other, as in /proc/PID/cmdline. */
struct strings {
    char *owned[2];
    const char *argv, *env;
    size_t argv_size, env_size;
};

static void strings_done(struct strings *s)
{
    free(s->owned[0]);
    free(s->owned[1]);
}

static uint64_t stack_word(const char *stack, size_t index, size_t word)
{
    uint64_t value = 0;
    memcpy(&value, stack + index * word, word);
    return value;
}

/*
 * Fresh from exec the stack is: argc, argv pointers, NULL, envp pointers, NULL, auxv..., and above,
 * the strings, back to back (System V ABI; fs/binfmt_elf.c). One read brings all of it, at a
 * fraction of what opening two files of /proc costs.
 */
static bool strings_on_stack(struct strings *s, char *stack, size_t size, uint64_t at, size_t word)
{
    size_t words = size / word;
    uint64_t argc = words ? stack_word(stack, 0, word) : 0;
    if (argc == 0 || words < 3 || argc > words - 3)
        return false;
    uint64_t argv_at = stack_word(stack, 1, word) - at;
    size_t i = (size_t)argc + 2;
    uint64_t env_at = stack_word(stack, i, word), last = 0;
    for (; i < words && stack_word(stack, i, word); i++)
        last = stack_word(stack, i, word) - at;
    if (i == words)
        return false;
    if (!env_at)
        last = stack_word(stack, (size_t)argc, word) - at; /* of the arguments, then */
    if (argv_at >= size || last >= size || last < argv_at)
        return false;
    const char *end = memchr(stack + last, '\0', size - last);
    env_at = env_at ? env_at - at : (uint64_t)(end ? end + 1 - stack : 0);
    if (!end || env_at < argv_at || env_at > (uint64_t)(end + 1 - stack))
        return false;
    s->argv = stack + argv_at;
    s->argv_size = (size_t)(env_at - argv_at);
    s->env = stack + env_at;
    s->env_size = (size_t)(end + 1 - stack) - (size_t)env_at;
    return true;
}

static void strings_read(struct strings *s, pid_t tid)
{
    *s = (struct strings){ .argv = NULL };
    uint64_t at;
    size_t word;
    char *stack = record_stack(tid, &at, &word) ? malloc(STACK_SIZE) : NULL;
    s->owned[0] = stack;
    size_t size = stack ? tracee_read(tid, at, stack, STACK_SIZE) : 0;
    if (stack && strings_on_stack(s, stack, size, at, word))
        return;
    free(stack);
    s->owned[0] = tracee_file(tid, "cmdline", &s->argv_size);
    s->owned[1] = tracee_file(tid, "environ", &s->env_size);
    s->argv = s->owned[0];
    s->env = s->owned[1];
}

static void put_block(struct log *log, const char *data, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += data[i] == '\0';
    if (size && data[size - 1] != '\0')
        count++;
    log_number(log, count);
    for (size_t at = 0; at < size; at += strlen(data + at) + 1)
        log_string(log, data + at);
}

static void put_process(struct recorder *r, const struct process *p, uint32_t parent,
                        uint64_t clone_flags)
{
    log_begin(&r->log, LOG_PROCESS);
    log_number(&r->log, (uint64_t)p->tgid);
    log_number(&r->log, p->start_time);
    log_number(&r->log, parent == TRACE_NO_PROCESS ? 0 : (uint64_t)parent + 1);
    log_number(&r->log, p->how);
    log_number(&r->log, clone_flags);
    log_number(&r->log, p->uid);
    log_number(&r->log, p->gid);
    log_number(&r->log, p->umask);
    log_string(&r->log, p->cwd ? p->cwd : "");
}

static void put_exit(struct recorder *r, const struct process *p, bool replaced, int status)
{
    log_begin(&r->log, LOG_EXIT);
    log_number(&r->log, p->index);
    log_number(&r->log, replaced);
    log_number(&r->log, (uint32_t)status);
    log_number(&r->log, p->vm_peak);
    log_number(&r->log, p->thread_peak);
    log_end(&r->log);
}

void exec_ended(struct recorder *r, const struct process *p, int status)
{
    if (p->index != TRACE_NO_PROCESS)
        put_exit(r, p, false, status);
}

/* Everything the old program's entry held starts anew. */
static void process_renew(struct process *p)
{
    if (p->done)
        memset(p->done, 0, p->done_room * sizeof(*p->done));
    free(p->sockets.slots);
    p->sockets = (struct seen){ 0 };
    p->vm_peak = 0;
    p->mapped = 0;
    p->threads = p->thread_peak = 1;
    p->own_memory = true;
}

/* PT_INTERP of what the process runs now; NULL if it has none. free() it. */
static char *exe_interpreter(pid_t tid)
{
    char name[64], text[PATH_MAX];
    snprintf(name, sizeof(name), "/proc/%d/exe", (int)tid);
    CLEANUP(head_close) struct head head = { .fd = -1 };
    bool found = head_open(&head, name) && head_interpreter(&head, text, sizeof(text));
    return found ? strdup(text) : NULL;
}

/* Files that the new program has open to read, as `wc < file` in a shell: that it reads them is not seen, no path
 * is named any more. What it may also write is no dependency by itself. */
static void inherited_files(struct recorder *r, struct task *t)
{
    char folder[64], name[PATH_MAX];
    snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)t->tid);
    CLEANUP(closedir_p) DIR *dir = opendir(folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct stat link, st;
        if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &link, AT_SYMLINK_NOFOLLOW) < 0 ||
            (link.st_mode & (S_IRUSR | S_IWUSR)) != S_IRUSR ||
            fstatat(dirfd(dir), e->d_name, &st, 0) < 0 || !S_ISREG(st.st_mode) || st.st_nlink == 0)
            continue;
        if (tracee_fd(t->tid, atoi(e->d_name), name, sizeof(name)) == 0 && name[0] == '/' &&
            strncmp(name, "/memfd:", 7) != 0 && strncmp(name, "/proc/", 6) != 0)
            known_touch(r, t->process, known_name(r, t->process->tgid, name), TRACE_READ);
    }
}

void exec_done(struct recorder *r, struct task *t)
{
    struct pending *c = &t->pending;
    struct process *p = t->process;
    uint32_t old = p->index;
    struct started s;

    if (old != TRACE_NO_PROCESS) {
        known_touch(r, p, c->path, TRACE_EXECUTED);
        put_exit(r, p, true, 0);
    }
    process_renew(p);
    p->how = old == TRACE_NO_PROCESS ? TRACE_HOW_ROOT : TRACE_HOW_EXEC;
    if (!p->start_time)
        p->start_time = tracee_start_time(t->tid);
    if (tracee_link(t->tid, "exe", s.exe, sizeof(s.exe)) < 0)
        s.exe[0] = '\0';
    /* Who it is comes from the parent, unless a call or a set-user-ID program changed it. */
    struct stat exe_stat;
    if (!p->identity_known || stat(s.exe, &exe_stat) < 0 ||
        (exe_stat.st_mode & (S_ISUID | S_ISGID)))
        tracee_status(p, t->tid);
    if (!p->cwd) {
        char buf[PATH_MAX];
        p->cwd = tracee_cwd(t->tid, buf, sizeof(buf)) == 0 ? strdup(buf) : NULL;
    }
    if (strncmp(s.exe, "/memfd:", 7) == 0) {
        known_note(r, p, true, "a program without a path was started: '%s'", s.exe);
        s.exe[0] = '\0';
    }

    p->index = TRACE_NO_PROCESS;
    /* The head that was read at entry is that of the program, but for binfmt_misc and memfd. */
    CLEANUP(free_p) char *other = NULL;
    s.interpreter = c->interpreter;
    if (c->path_to == TRACE_NO_PATH || strcmp(r->path_list[c->path_to]->path, s.exe) != 0)
        s.interpreter = other = exe_interpreter(t->tid);
    chain_walk(r, t, &s);
    CLEANUP(strings_done) struct strings strings;
    strings_read(&strings, t->tid);
    put_process(r, p, old, 0);
    log_string(&r->log, c->text ? c->text : "");
    log_string(&r->log, s.exe);
    log_number(&r->log, s.exe_path == TRACE_NO_PATH ? 0 : (uint64_t)s.exe_path + 1);
    log_number(&r->log, s.elf_interpreter == TRACE_NO_PATH ? 0 : (uint64_t)s.elf_interpreter + 1);
    log_number(&r->log, s.chain_count);
    for (size_t i = 0; i < s.chain_count; i++)
        log_number(&r->log, s.chain[i]);
    put_block(&r->log, strings.argv, strings.argv ? strings.argv_size : 0);
    put_block(&r->log, strings.env, strings.env ? strings.env_size : 0);
    log_end(&r->log);
    p->index = r->process_count++;
    chain_walk(r, t, &s);
    if (old != TRACE_NO_PROCESS) /* what the first program was given comes from outside */
        inherited_files(r, t);
    if (!strings.argv || !strings.env)
        known_note(r, p, true, "arguments or environment of process %d could not be read",
                   (int)p->tgid);
}

void exec_forked(struct recorder *r, struct process *child, const struct process *parent,
                 enum trace_how how, uint64_t clone_flags)
{
    child->how = how;
    child->uid = parent->uid;
    child->gid = parent->gid;
    child->umask = parent->umask;
    child->identity_known = parent->identity_known;
    child->own_cwd_unknown = parent->own_cwd_unknown;
    child->own_memory = how == TRACE_HOW_FORK; /* its parent's peak is not its own */
    child->cwd = parent->cwd ? strdup(parent->cwd) : NULL;
    child->root = parent->root ? strdup(parent->root) : NULL;
    child->start_time = tracee_start_time(child->tgid);
    child->threads = child->thread_peak = 1;
    child->index = TRACE_NO_PROCESS;
    if (parent->index == TRACE_NO_PROCESS)
        return;
    put_process(r, child, parent->index, clone_flags);
    log_end(&r->log);
    child->index = r->process_count++;
}

/* ---- mappings ---- */

/* Undoes the one escape of /proc/PID/maps: a newline is \012. */
static void unescape(char *path)
{
    char *to = path;
    for (const char *p = path; *p;) {
        if (strncmp(p, "\\012", 4) == 0) {
            *to++ = '\n';
            p += 4;
        } else {
            *to++ = *p++;
        }
    }
    *to = '\0';
}

void exec_mappings(struct recorder *r, struct process *p, pid_t tid, uint64_t address,
                   uint64_t size)
{
    if (p->index == TRACE_NO_PROCESS)
        return;
    size_t text_size;
    CLEANUP(free_p) char *text = tracee_file(tid, "maps", &text_size);
    char *save = NULL;
    for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save)) {
        char *end;
        uint64_t from = strtoull(line, &end, 16);
        uint64_t to = *end == '-' ? strtoull(end + 1, &end, 16) : 0;
        char *path = strchr(line, '/');
        if (!path || end[0] != ' ' || strlen(end) < 5)
            continue;
        if (size ? to <= address || from >= address + size : end[3] != 'x')
            continue;
        unescape(path);
        size_t n = strlen(path);
        if (n > 10 && strcmp(path + n - 10, " (deleted)") == 0)
            continue;
        known_touch(r, p, known_name(r, p->tgid, path), TRACE_MAPPED_EXEC);
    }
}

void exec_sample(struct recorder *r, struct process *p, pid_t tid)
{
    if (p->index == TRACE_NO_PROCESS || !p->own_memory)
        return;
    tracee_status(p, tid);
    /* Every mapping call was seen; this only finds what came by other ways. A set of mappings that
     * was right once is not compared again for the hundredth /bin/true. */
    if (seen_add(&r->mapped, p->mapped))
        exec_mappings(r, p, tid, 0, 0);
}
