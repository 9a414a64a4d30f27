/*
 * From execve(2)'s arguments to a program that may be started: limits, the file, `#!`, and the edge of the
 * manifest that admits it. As fs/exec.c and fs/binfmt_script.c of Linux 6.1 do it, errors and their order
 * included: PATH searches depend on them. Tier: enclave.
 */
#include <asm/errno.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "core/program_key.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/spawn.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/proc/proc.h"

#define STRING_MAX   131072u      /* MAX_ARG_STRLEN, with the NUL */
#define TOTAL_MIN    131072u      /* ARG_MAX */
#define TOTAL_MAX    (6ull << 20) /* three quarters of _STK_LIM */
#define COUNT_MAX    0x100000u
#define HEAD_SIZE    256u /* BINPRM_BUF_SIZE */
#define REWRITES_MAX 5u

static const char ELF[4] = "\177ELF";

/* --- arguments and environment ---------------------------------------------------------------- */

struct budget {
    uint64_t left;
    char *scratch; /* STRING_MAX bytes */
};

static int take(struct budget *budget, uint64_t size)
{
    if (size > budget->left)
        return -E2BIG;
    budget->left -= size;
    return 0;
}

static char *copy_of(const char *text, uint64_t size)
{
    char *copy = heap_alloc(size + 1);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

static void free_list(char **list, uint32_t count)
{
    for (uint32_t i = 0; list && i < count; i++)
        heap_free(list[i]);
    heap_free(list);
}

/* How many there are before the NULL. */
static int64_t count_list(uint64_t user)
{
    for (uint32_t count = 0; user && count < COUNT_MAX; count++) {
        uint64_t at;
        int r = GET_USER(&at, (const uint64_t *)(uintptr_t)user + count);
        if (r < 0)
            return r;
        if (!at)
            return count;
    }
    return user ? -E2BIG : 0;
}

static int copy_list(uint64_t user, uint32_t count, struct budget *budget, char **list)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t at;
        int r = GET_USER(&at, (const uint64_t *)(uintptr_t)user + i);
        if (r < 0)
            return r;
        if (!at) /* another thread cut it short meanwhile */
            return -EFAULT;
        int64_t size = strncpy_from_user(budget->scratch, (const char *)(uintptr_t)at, STRING_MAX);
        if (size < 0)
            return size == -ENAMETOOLONG ? -E2BIG : (int)size;
        r = take(budget, (uint64_t)size + 1);
        if (r < 0)
            return r;
        list[i] = copy_of(budget->scratch, (uint64_t)size);
        if (!list[i])
            return -ENOMEM;
    }
    return 0;
}

static int copy_lists(uint64_t user_argv, uint64_t user_envp, struct program *p)
{
    int64_t argc = count_list(user_argv);
    int64_t envc = argc < 0 ? argc : count_list(user_envp);
    if (envc < 0)
        return (int)envc;
    uint64_t total = process_node()->stack_size / 4;
    total = total < TOTAL_MIN ? TOTAL_MIN : total > TOTAL_MAX ? TOTAL_MAX : total;
    struct budget budget = { .left = total };
    int r = take(&budget, ((uint64_t)argc + (uint64_t)envc + 2) * sizeof(char *));
    if (r < 0)
        return r;
    /* Room for what `#!` puts in front; a program without arguments gets an empty one. */
    p->argv = heap_alloc(((uint64_t)argc + 2 * REWRITES_MAX + 2) * sizeof(char *));
    p->envp = heap_alloc(((uint64_t)envc + 1) * sizeof(char *));
    budget.scratch = heap_alloc(STRING_MAX);
    r = p->argv && p->envp && budget.scratch ? 0 : -ENOMEM;
    if (r == 0) {
        p->envc = (uint32_t)envc;
        r = copy_list(user_envp, p->envc, &budget, p->envp);
    }
    if (r == 0) {
        p->argc = (uint32_t)argc;
        r = copy_list(user_argv, p->argc, &budget, p->argv);
    }
    if (r == 0 && p->argc == 0) {
        p->argv[0] = copy_of("", 0);
        p->argc = 1;
        r = p->argv[0] ? 0 : -ENOMEM;
    }
    heap_free(budget.scratch);
    return r;
}

/* --- edges --------------------------------------------------------------------------------------- */

/* Where the manifest's sorted edge i stands to what is looked for. */
static int compare(uint32_t i, const char *executable, uint32_t kind, const uint8_t *key)
{
    const struct manifest_child *child = &g_manifest.children[i];
    uint64_t size = strlen(executable), have = child->executable.length;
    int r = memcmp(manifest_str_ptr(&g_manifest, child->executable), executable,
                   size < have ? size : have);
    if (r)
        return r;
    if (size != have)
        return have < size ? -1 : 1;
    if (child->kind != kind)
        return child->kind < kind ? -1 : 1;
    return memcmp(child->key, key, MANIFEST_HASH_SIZE);
}

static const uint8_t g_no_key[MANIFEST_HASH_SIZE];

/* The first edge that is not before this; child_count if there is none. */
static uint32_t lower_bound(const char *executable, uint32_t kind, const uint8_t *key)
{
    uint32_t low = 0, high = g_manifest.child_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare(middle, executable, kind, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct manifest_child *find_child(const char *executable, uint32_t kind,
                                               const uint8_t *key)
{
    uint32_t i = lower_bound(executable, kind, key);
    return i < g_manifest.child_count && compare(i, executable, kind, key) == 0
               ? &g_manifest.children[i]
               : NULL;
}

/* Is there an edge to this executable at all? Then it is an ELF program, and it is its own enclave's to look
 * into it. */
static bool is_program(const char *executable)
{
    uint32_t i = lower_bound(executable, 0, g_no_key);
    return i < g_manifest.child_count &&
           strcmp(manifest_str_ptr(&g_manifest, g_manifest.children[i].executable), executable) ==
               0;
}

/* --- files ------------------------------------------------------------------------------------- */

/* An open file named by its descriptor: what it was opened as. */
static int through_fd(struct place *place, char buf[static PATH_BUF])
{
    int fd = magic_fd(place);
    if (fd < 0)
        return 0;
    struct file *file = fd_get(fd);
    if (!file)
        return -ENOENT;
    struct place real;
    int r = place_of_file(file, buf, &real);
    file_unref(file);
    if (r < 0)
        return -EACCES;
    place_done(place);
    *place = real;
    return 0;
}

static bool starts_script(const char *head)
{
    return head[0] == '#' && head[1] == '!';
}

/* The checks of do_open_execat(), and the file's first bytes. */
static int read_head(struct place *place, char head[static HEAD_SIZE])
{
    struct kstat st;
    if (S_ISLNK(place->mode))
        return -ELOOP;
    if (!S_ISREG(place->mode))
        return -EACCES;
    int r = place_stat(place, &st);
    if (r < 0)
        return r;
    if (!may_access(&st, 1))
        return -EACCES;
    memset(head, 0, HEAD_SIZE);
    if (is_program(place->path)) {
        memcpy(head, ELF, sizeof(ELF));
        return 0;
    }
    struct file *file;
    r = place_open(place, O_RDONLY, &file);
    if (r < 0)
        return r;
    int64_t n =
        file->ops->pread_kernel ? file->ops->pread_kernel(file, head, HEAD_SIZE, 0) : -EACCES;
    file_unref(file);
    if (n < 0)
        return (int)n;
    /* What the host may change is not executed, not even as a script with its interpreter. */
    if (place->fs == &g_host_fs && (memcmp(head, ELF, sizeof(ELF)) == 0 || starts_script(head))) {
        audit_once(OCALL_AUDIT_EXEC, EACCES, place->path, place->path_size);
        return -EACCES;
    }
    return 0;
}

/* --- scripts ------------------------------------------------------------------------------------ */

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static char *next_word(char *at, char *last)
{
    for (; at <= last; at++)
        if (!blank(*at))
            return at;
    return NULL;
}

static char *next_end(char *at, char *last)
{
    for (; at <= last; at++)
        if (blank(*at) || !*at)
            return at;
    return NULL;
}

/* load_script(): the interpreter, and its one argument or NULL; head is changed. */
static int parse_script(char head[static HEAD_SIZE], char **ret_name, char **ret_arg)
{
    char *last = &head[HEAD_SIZE - 1], *end = memchr(head, '\n', HEAD_SIZE);
    if (!end) {
        end = next_word(head + 2, last);
        if (!end || !next_end(end, last)) /* empty, or the name is cut off */
            return -ENOEXEC;
        end = last;
    }
    while (blank(end[-1]))
        end--;
    char *name = next_word(head + 2, end);
    if (!name || name == end)
        return -ENOEXEC;
    char *arg = NULL, *sep = next_end(name, end);
    if (sep && *sep)
        arg = next_word(sep, end);
    *end = '\0';
    if (sep)
        *sep = '\0';
    *ret_name = name;
    *ret_arg = arg && *arg ? arg : NULL;
    return 0;
}

/* argv[0] becomes: interpreter, its argument, the script as it was named. */
static int rewrite(struct program *p, const char *name, const char *arg, const char *script)
{
    uint32_t count = arg ? 3 : 2;
    char *front[3] = { copy_of(name, strlen(name)) };
    if (arg)
        front[1] = copy_of(arg, strlen(arg));
    front[count - 1] = copy_of(script, strlen(script));
    for (uint32_t i = 0; i < count; i++) {
        if (!front[i]) {
            for (uint32_t k = 0; k < count; k++)
                heap_free(front[k]);
            return -ENOMEM;
        }
    }
    heap_free(p->argv[0]);
    memmove(p->argv + count, p->argv + 1, (p->argc - 1) * sizeof(char *));
    memcpy(p->argv, front, count * sizeof(char *));
    p->argc += count - 1;
    return 0;
}

/* Follows `#!` until a program comes; place leads to the first file, then to the program's. */
static int follow(struct program *p, struct place *place, char buf[static PATH_BUF])
{
    char head[HEAD_SIZE], name[HEAD_SIZE];
    const char *script = p->execfn;
    for (uint32_t rewrites = 0;; rewrites++) {
        int r = read_head(place, head);
        if (r < 0)
            return r;
        if (memcmp(head, ELF, sizeof(ELF)) == 0)
            return 0;
        if (!starts_script(head))
            return -ENOEXEC;
        if (rewrites >= REWRITES_MAX)
            return -ELOOP;
        char *interpreter, *arg;
        r = parse_script(head, &interpreter, &arg);
        if (r == 0)
            r = rewrite(p, interpreter, arg, script);
        if (r < 0)
            return r;
        memcpy(name, interpreter, strlen(interpreter) + 1);
        script = name;
        place_done(place);
        *place = (struct place){ .fs = NULL };
        r = place_at_kernel(AT_FDCWD, name, strlen(name), 0, buf, place);
        if (r == 0)
            r = through_fd(place, buf);
        if (r < 0)
            return r;
    }
}

static void key_of(struct program *p, struct program_key *ret)
{
    struct program_start start =
        program_start(p->executable, p->argc, (const char *const *)p->argv);
    const char *text = start.arg ? p->argv[start.arg] : "";
    uint64_t size = strlen(text);
    char buf[PATH_BUF];
    struct place place = { .fs = NULL };
    /* A script that is not there has no key of its own: the interpreter will say so. */
    if (start.kind == PROGRAM_SCRIPT &&
        place_at_kernel(AT_FDCWD, text, size, 0, buf, &place) == 0) {
        text = place.path;
        size = place.path_size;
    }
    /* Hashing uses vectors, and exec may fail: the program's stay. */
    struct cpu_state state;
    cpu_state_save(&state);
    program_key(start, text, size, ret);
    cpu_state_load(&state);
    place_done(&place);
}

static int find_edge(struct program *p)
{
    struct program_key key;
    key_of(p, &key);
    p->child = find_child(p->executable, (uint32_t)key.kind, key.hash);
    if (!p->child)
        p->child = find_child(p->executable, PROGRAM_ANY, g_no_key);
    if (p->child)
        return 0;
    audit(OCALL_AUDIT_EXEC, EACCES, (uint64_t)key.kind, p->executable, strlen(p->executable));
    return -EACCES;
}

/* ------------------------------------------------------------------------------------------------- */

/* What the program will be told it was started as. Relative to a descriptor: below /dev/fd. */
static int set_execfn(int dirfd, uint64_t user_path, struct program *p)
{
    char *path = heap_alloc(PATH_BUF + 32);
    if (!path)
        return -ENOMEM;
    p->execfn = path;
    int64_t size = strncpy_from_user(path, (const char *)(uintptr_t)user_path, PATH_BUF);
    if (size < 0)
        return (int)size;
    if (dirfd == AT_FDCWD || path[0] == '/')
        return 0;
    char front[32];
    int n = format(front, sizeof(front), size ? "/dev/fd/%d/" : "/dev/fd/%d", dirfd);
    memmove(path + n, path, (uint64_t)size + 1);
    memcpy(path, front, (uint64_t)n);
    return 0;
}

static int resolve(int dirfd, uint64_t user_path, uint32_t walk, struct program *p)
{
    char buf[PATH_BUF];
    struct place place = { .fs = NULL };
    int r = place_at(dirfd, (const char *)(uintptr_t)user_path, walk, buf, &place);
    if (r == 0)
        r = through_fd(&place, buf);
    if (r == 0)
        r = follow(p, &place, buf);
    if (r == 0) {
        p->executable = copy_of(place.path, place.path_size);
        r = p->executable ? 0 : -ENOMEM;
    }
    place_done(&place);
    return r;
}

int program_resolve(int dirfd, uint64_t user_path, uint32_t walk, uint64_t user_argv,
                    uint64_t user_envp, struct program *ret)
{
    struct program p = { .executable = NULL };
    int r = set_execfn(dirfd, user_path, &p);
    if (r == 0 && !p.execfn[0] && !(walk & WALK_EMPTY))
        r = -ENOENT;
    if (r == 0)
        r = copy_lists(user_argv, user_envp, &p);
    if (r == 0)
        r = resolve(dirfd, user_path, walk, &p);
    if (r == 0)
        r = find_edge(&p);
    if (r < 0)
        program_done(&p);
    else
        *ret = p;
    return r;
}

void program_done(struct program *program)
{
    free_list(program->argv, program->argc);
    free_list(program->envp, program->envc);
    heap_free(program->executable);
    heap_free((void *)(uintptr_t)program->execfn);
    *program = (struct program){ .executable = NULL };
}
