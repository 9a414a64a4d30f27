/*
 * What is no file: arguments, environment, identity and limits. Internal to src/manifest.
 */
#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "core/given.h"
#include "core/manifest_view.h"
#include "core/program_key.h"
#include "manifest/net.h"
#include "manifest/table.h"
#include "manifest/tree.h"
#include "util/fs.h"

#define MIB            (1ull << 20)
#define HEAP_MIN       (256 * MIB)
#define STACK_SIZE     (8 * MIB)
#define THREADS_MIN    4u
#define SERVER_THREADS 64u       /* at least so many where there is a server with threads */
#define SERVER_HEAP    (4 * MIB) /* for each of them, beside its stack */
#define PROCESSES_MIN  64u
#define PROCESSES_MAX  1024u
#define FD_LIMIT       1024u
#define SIGNAL_BIT(n)  (1u << ((n)-1))

/* ---- arguments ---- */

int process_script(const struct trace_process *p)
{
    struct program_start s =
        program_start(p->executable, (uint32_t)p->argc, (const char *const *)p->argv);
    return s.kind == PROGRAM_SCRIPT ? (int)s.arg : s.kind == PROGRAM_PLAIN ? 0 : -1;
}

static int no_memory(struct err *err)
{
    return err_set(err, -ENOMEM, "building the manifest: out of memory");
}

static size_t pinned_count(const struct trace_process *p, bool args_host, int script)
{
    return !args_host ? p->argc : (size_t)script + 1;
}

static int copy_args(struct cascade_node *n, char *const *args, size_t count, struct err *err)
{
    n->args = calloc(count + 1, sizeof(*n->args));
    if (!n->args)
        return no_memory(err);
    for (; n->arg_count < count; n->arg_count++)
        if (!(n->args[n->arg_count] = strdup(args[n->arg_count])))
            return no_memory(err);
    return 0;
}

static int fill_args(struct cascade_node *n, const struct trace *const *traces, size_t trace_count,
                     const struct manifest_rules *rules, struct err *err)
{
    const struct trace_process *p = &traces[0]->processes[0];
    int script = process_script(p);
    if (rules->args_host && script < 0)
        return err_set(err, -EINVAL,
                       "--args host: '%s' runs a program from its arguments or standard input, so "
                       "the host could choose the program",
                       p->executable);
    if (rules->args_host)
        n->flags |= MANIFEST_ARGS_HOST;
    size_t count = pinned_count(p, rules->args_host, script);
    if (count > p->argc)
        count = p->argc;
    if (count == 0 || count > MANIFEST_ARGS_MAX)
        return err_set(err, -EINVAL, "'%s' was started with %zu arguments", p->executable, count);

    for (size_t i = 1; i < trace_count; i++) {
        const struct trace_process *q = &traces[i]->processes[0];
        bool same = strcmp(q->executable, p->executable) == 0 && q->argc >= count &&
                    (rules->args_host || q->argc == count);
        for (size_t k = 0; same && k < count; k++)
            same = strcmp(p->argv[k], q->argv[k]) == 0;
        if (!same)
            return err_set(err, -EINVAL,
                           "the traces are of different commands ('%s' and '%s', or other "
                           "arguments): only traces of one command merge%s",
                           p->executable, q->executable,
                           rules->args_host ? "" : " (--args host: whatever follows the script)");
    }

    return copy_args(n, p->argv, count, err);
}

/* ---- entry points and children ---- */

static int fill_entry(const struct tree_program *from, struct cascade_entry *to)
{
    const struct trace_process *p = from->process;
    if (!cascade_start_copy(&from->start, &to->start) ||
        !(to->execfn = strdup(p->exec_name && p->exec_name[0] ? p->exec_name : p->executable)))
        return -ENOMEM;
    if (p->elf_interpreter != TRACE_NO_PATH &&
        !(to->interpreter = strdup(from->trace->paths[p->elf_interpreter].path)))
        return -ENOMEM;
    return 0;
}

static int compare_children(const void *a, const void *b)
{
    const struct cascade_child *x = a, *y = b;
    return cascade_start_compare(&x->start, &y->start);
}

static int fill_children(struct cascade_node *n, const struct tree *tree, size_t node)
{
    CLEANUP(free_p) bool *started = calloc(tree->program_count, sizeof(*started));
    n->children = calloc(tree->program_count, sizeof(*n->children));
    if (!started || !n->children)
        return -ENOMEM;
    for (size_t i = 0; i < tree->edge_count; i++)
        if (tree->programs[tree->edges[i].from].node == node)
            started[tree->edges[i].to] = true;
    for (size_t i = 0; i < tree->program_count; i++) {
        if (!started[i])
            continue;
        struct cascade_child *c = &n->children[n->child_count++];
        c->node = (uint32_t)tree->programs[i].node;
        if (!cascade_start_copy(&tree->programs[i].start, &c->start))
            return -ENOMEM;
    }
    qsort(n->children, n->child_count, sizeof(*n->children), compare_children);
    return 0;
}

char *process_label(const struct tree *tree, size_t node)
{
    const struct tree_node *from = &tree->nodes[node];
    char *label = tree_label(&tree->programs[from->programs[0]].start), *longer = NULL;
    if (!label || from->program_count == 1)
        return label;
    if (asprintf(&longer, "%s and %zu more", label, from->program_count - 1) < 0)
        longer = NULL;
    free(label);
    return longer;
}

static int fill_programs(struct cascade_node *n, const struct tree *tree, size_t node)
{
    const struct tree_node *from = &tree->nodes[node];
    n->entries = calloc(from->program_count, sizeof(*n->entries));
    n->label = process_label(tree, node);
    if (!n->label || !n->entries)
        return -ENOMEM;
    for (; n->entry_count < from->program_count; n->entry_count++) {
        /* Counted before it may fail, so that it is freed. */
        struct cascade_entry *e = &n->entries[n->entry_count];
        if (fill_entry(&tree->programs[from->programs[n->entry_count]], e) < 0) {
            n->entry_count++;
            return -ENOMEM;
        }
    }
    return fill_children(n, tree, node);
}

/* ---- environment ---- */

static bool starts(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

bool process_secret(const char *name)
{
    static const char *const words[] = { "KEY", "TOKEN", "SECRET", "PASS" };
    char upper[256];
    size_t i = 0;
    for (; name[i] && i + 1 < sizeof(upper); i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    upper[i] = '\0';
    if (name[i])
        return true; /* too long to look through */
    for (i = 0; i < ARRAY_SIZE(words); i++)
        if (strstr(upper, words[i]))
            return true;
    return false;
}

static bool is_pinned(const char *name)
{
    static const char *const names[] = {
        "PATH", "HOME", "USER", "LANG", "TZ", "TERM", "LD_LIBRARY_PATH", "VIRTUAL_ENV"
    };
    if (process_secret(name))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    size_t size = strlen(name);
    static const char threads[] = "_NUM_THREADS";
    return starts(name, "LC_") || starts(name, "PYTHON") || starts(name, "NPY_") ||
           (size > strlen(threads) && strcmp(name + size - strlen(threads), threads) == 0);
}

/* Sets name's policy and value; replaces what stands there. */
static int set_variable(struct cascade_node *n, const char *name, size_t size, const char *value,
                        uint32_t policy, struct err *err)
{
    struct cascade_env *e = NULL;
    for (size_t i = 0; i < n->env_count && !e; i++)
        if (strncmp(n->env[i].name, name, size) == 0 && n->env[i].name[size] == '\0')
            e = &n->env[i];
    if (!e) {
        struct cascade_env *grown = realloc(n->env, (n->env_count + 1) * sizeof(*grown));
        if (!grown)
            return no_memory(err);
        n->env = grown;
        e = &grown[n->env_count];
        *e = (struct cascade_env){ .name = strndup(name, size) };
        if (!e->name)
            return no_memory(err);
        n->env_count++;
    }
    free(e->value);
    e->policy = policy;
    e->value = strdup(value);
    return e->value ? 0 : no_memory(err);
}

static int add_dropped(struct manifest_report *report, const char *name, size_t size)
{
    if (!report)
        return 0;
    char **grown = realloc(report->dropped, (report->dropped_count + 1) * sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    report->dropped = grown;
    if (!(grown[report->dropped_count] = strndup(name, size)))
        return -ENOMEM;
    report->dropped_count++;
    return 0;
}

static int compare_env(const void *a, const void *b)
{
    return strcmp(((const struct cascade_env *)a)->name, ((const struct cascade_env *)b)->name);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int apply_rule(struct cascade_node *n, const char *rule, struct err *err)
{
    size_t size = strcspn(rule, "=");
    if (size == 0)
        return err_set(err, -EINVAL, "--env '%s': a name is missing", rule);
    if (rule[size] == '=')
        return set_variable(n, rule, size, rule + size + 1, MANIFEST_ENV_PINNED, err);
    if (given_variable(rule, size) == GIVEN_CODE || starts(rule, "PYTHON"))
        return err_set(err, -EINVAL,
                       "--env '%s': the host's value could change what runs; pin it: "
                       "--env %s=VALUE",
                       rule, rule);
    return set_variable(n, rule, size, "", MANIFEST_ENV_HOST, err);
}

static bool ruled(const struct manifest_rules *rules, const char *name, size_t size)
{
    for (size_t i = 0; i < rules->env_count; i++)
        if (strcspn(rules->env[i], "=") == size && strncmp(rules->env[i], name, size) == 0)
            return true;
    return false;
}

static int fill_env(struct cascade_node *n, const struct trace_process *p,
                    const struct manifest_rules *rules, struct manifest_report *report,
                    struct err *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->env_count; i++) {
        size_t size = strcspn(p->envp[i], "=");
        CLEANUP(free_p) char *name = strndup(p->envp[i], size);
        if (!name)
            return no_memory(err);
        /* Of several, getenv() sees the first. */
        if (size == 0 || p->envp[i][size] != '=' || ruled(rules, name, size) ||
            trace_getenv(p, name) != p->envp[i] + size + 1)
            continue;
        if (is_pinned(name))
            r = set_variable(n, name, size, p->envp[i] + size + 1, MANIFEST_ENV_PINNED, err);
        else if (add_dropped(report, name, size) < 0)
            r = no_memory(err);
    }
    if (r == 0)
        r = set_variable(n, "PYTHONDONTWRITEBYTECODE", 23, "1", MANIFEST_ENV_PINNED, err);
    for (size_t i = 0; r == 0 && i < rules->env_count; i++)
        r = apply_rule(n, rules->env[i], err);
    if (n->env_count)
        qsort(n->env, n->env_count, sizeof(*n->env), compare_env);
    if (report && report->dropped_count)
        qsort(report->dropped, report->dropped_count, sizeof(char *), compare_strings);
    return r;
}

/* ---- limits ---- */

/* Powers of two up to 1 GiB, then steps of 512 MiB: a quarter more than the peak at least. */
static uint64_t propose_heap(uint64_t peak)
{
    uint64_t want = peak + peak / 4;
    uint64_t heap = HEAP_MIN;
    while (heap < want && heap < 1024 * MIB)
        heap *= 2;
    while (heap < want)
        heap += 512 * MIB;
    return heap;
}

static uint32_t propose_threads(uint32_t peak)
{
    uint32_t headroom = peak / 4 > 2 ? peak / 4 : 2;
    uint32_t count = peak + headroom;
    if (count < THREADS_MIN)
        return THREADS_MIN;
    return count < MANIFEST_THREADS_MAX ? count : MANIFEST_THREADS_MAX;
}

/* The peaks of a node's processes, and whether it starts any. */
struct peaks {
    uint64_t vm;
    uint32_t threads;
    size_t processes; /* of the whole tree, in the trace that had most */
    bool serves;      /* one has an internet address of its own */
};

static bool serves(const struct trace_process *p)
{
    for (size_t i = 0; i < p->socket_count; i++) {
        uint16_t family = 0;
        if (p->sockets[i].address_size >= sizeof(family))
            memcpy(&family, p->sockets[i].address, sizeof(family));
        if ((p->sockets[i].bits & TRACE_BOUND) && (family == AF_INET || family == AF_INET6))
            return true;
    }
    return false;
}

static struct peaks find_peaks(const struct tree *tree, size_t node,
                               const struct trace *const *traces)
{
    struct peaks peaks = { .threads = 1 };
    for (size_t i = 0; i < tree->trace_count; i++) {
        size_t processes = 0;
        for (size_t k = 0; k < traces[i]->process_count; k++) {
            const struct trace_process *p = &traces[i]->processes[k];
            processes += p->how != TRACE_HOW_EXEC;
            if (tree_node_of(tree, i, k) != node)
                continue;
            if (p->vm_peak > peaks.vm)
                peaks.vm = p->vm_peak;
            if (p->thread_peak > peaks.threads)
                peaks.threads = p->thread_peak;
            peaks.serves |= serves(p);
        }
        if (processes > peaks.processes)
            peaks.processes = processes;
    }
    return peaks;
}

static uint32_t propose_processes(size_t seen)
{
    size_t count = 4 * seen;
    return count < PROCESSES_MIN   ? PROCESSES_MIN
           : count > PROCESSES_MAX ? PROCESSES_MAX
                                   : (uint32_t)count;
}

static int fill_limits(struct cascade_node *n, const struct tree *tree, size_t node,
                       const struct trace *const *traces, const struct manifest_rules *rules,
                       struct err *err)
{
    struct peaks peaks = find_peaks(tree, node, traces);
    /* The user speaks of the program that was named, and of its workers. */
    bool asked = strcmp(n->entries[0].start.executable, tree->programs[0].start.executable) == 0;
    /* How many threads a server has is its clients' choice; the trace had a few of them. */
    if (peaks.serves && peaks.threads > 1 && peaks.threads < SERVER_THREADS) {
        peaks.vm += (SERVER_THREADS - peaks.threads) * (STACK_SIZE + SERVER_HEAP);
        peaks.threads = SERVER_THREADS;
    }
    n->heap_size =
        asked && rules->heap_size ? (rules->heap_size + 4095) & ~4095ull : propose_heap(peaks.vm);
    n->thread_count =
        asked && rules->thread_count ? rules->thread_count : propose_threads(peaks.threads);
    if (n->heap_size < 2 * STACK_SIZE || n->heap_size > MANIFEST_HEAP_MAX)
        return err_set(err, -EINVAL, "--heap: %llu MiB is out of range (16 MiB to %llu GiB)",
                       (unsigned long long)(n->heap_size / MIB),
                       (unsigned long long)MANIFEST_HEAP_MAX >> 30);
    if (n->thread_count > MANIFEST_THREADS_MAX)
        return err_set(err, -EINVAL, "--threads: %u is out of range (1 to %u)", n->thread_count,
                       MANIFEST_THREADS_MAX);
    if (rules->process_limit > MANIFEST_PROCESSES_MAX)
        return err_set(err, -EINVAL, "--processes: %u is out of range (1 to %u)",
                       rules->process_limit, MANIFEST_PROCESSES_MAX);
    n->stack_size = STACK_SIZE;
    n->fd_limit = FD_LIMIT;
    n->async_signals = SIGNAL_BIT(SIGHUP) | SIGNAL_BIT(SIGINT) | SIGNAL_BIT(SIGTERM) |
                       SIGNAL_BIT(SIGALRM) | SIGNAL_BIT(SIGWINCH);
    /* What the traced program could count: more threads than TCS would only fail. */
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    n->cpu_count = (uint32_t)(count < 1 ? 1 : count);
    if (n->cpu_count > n->thread_count)
        n->cpu_count = n->thread_count;
    if (node != 0 || rules->exec_deny)
        return 0;
    n->process_limit =
        rules->process_limit ? rules->process_limit : propose_processes(peaks.processes);
    /* The hub is a thread of the root (enclave/tree/hub.h), and no thread of the program. */
    if ((n->child_count > 0 || tree->nodes[0].forks) && n->thread_count < MANIFEST_THREADS_MAX)
        n->thread_count++;
    return 0;
}

/* ---- named sockets ---- */

static int add_socket(struct cascade_node *n, const struct trace_socket *s, struct err *err)
{
    char **grown = realloc(n->sockets, (n->socket_count + 1) * sizeof(*grown));
    if (!grown)
        return no_memory(err);
    n->sockets = grown;
    if (asprintf(&grown[n->socket_count], "%s %s", (s->bits & TRACE_BOUND) ? "bind" : "connect",
                 s->text) < 0)
        return no_memory(err);
    n->socket_count++;
    return 0;
}

/* Those that were there before the run: names that it makes up itself are others each time. */
static int fill_sockets(struct cascade_node *n, const struct tree *tree, size_t node,
                        const struct trace *const *traces, struct err *err)
{
    for (size_t i = 0; i < tree->trace_count; i++)
        for (size_t k = 0; k < traces[i]->process_count; k++) {
            const struct trace_process *p = &traces[i]->processes[k];
            if (tree_node_of(tree, i, k) != node)
                continue;
            for (size_t s = 0; s < p->socket_count; s++) {
                const struct trace_socket *socket = &p->sockets[s];
                if (socket->path == TRACE_NO_PATH ||
                    !trace_existed_before(&traces[i]->paths[socket->path]))
                    continue;
                int r = add_socket(n, socket, err);
                if (r < 0)
                    return r;
            }
        }
    if (n->socket_count == 0)
        return 0;
    qsort(n->sockets, n->socket_count, sizeof(char *), compare_strings);
    size_t kept = 1;
    for (size_t i = 1; i < n->socket_count; i++) {
        if (strcmp(n->sockets[i], n->sockets[kept - 1]) == 0)
            free(n->sockets[i]);
        else
            n->sockets[kept++] = n->sockets[i];
    }
    n->socket_count = kept;
    return 0;
}

int process_fill(struct cascade_node *n, const struct tree *tree, size_t node,
                 const struct trace *const *traces, const struct manifest_rules *rules,
                 struct manifest_report *report, struct err *err)
{
    const struct tree_program *first = &tree->programs[tree->nodes[node].programs[0]];
    const struct trace_process *p = first->process;
    n->flags = (node == 0 ? MANIFEST_ROOT : 0) | (rules->exec_deny ? MANIFEST_EXEC_DENY : 0) |
               (rules->debug ? MANIFEST_INSECURE_DEBUG : 0) |
               (tree->nodes[node].forks && !rules->exec_deny ? MANIFEST_FORKS : 0);
    n->uid = p->uid;
    n->gid = p->gid;
    n->umask = p->umask & 0777;
    n->cwd = strdup(p->cwd);
    n->hostname = strndup(traces[0]->hostname, 64);
    if (!n->cwd || !n->hostname)
        return no_memory(err);
    int r = fill_programs(n, tree, node);
    if (r < 0)
        return no_memory(err);
    /* A root's arguments are measured; a child is told its own by its parent. */
    r = node == 0 ? fill_args(n, traces, tree->trace_count, rules, err)
                  : copy_args(n, &n->entries[0].execfn, 1, err);
    if (r == 0 && node == 0)
        r = fill_env(n, p, rules, report, err);
    if (r == 0)
        r = fill_limits(n, tree, node, traces, rules, err);
    if (r == 0)
        r = fill_sockets(n, tree, node, traces, err);
    if (r == 0)
        r = net_fill(n, tree, node, traces, rules, report, err);
    return r;
}
