/*
 * The child's side of starting processes (spawn.h, wire.h): from an attested parent to the program's first,
 * or after fork next, instruction. What the parent says is believed, as it is of this tree and was
 * measured, but for what it could make this node run other code with: which node this is follows from the arguments,
 * and of these, variables and folder it takes what its own manifest has (process/given.h).
 */
#include <asm/errno.h>
#include <linux/fcntl.h>

#include "arch/cpu.h"
#include "arch/exception.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "core/program_key.h"
#include "mm/checkpoint.h"
#include "mm/heap.h"
#include "mm/uaccess.h"
#include "process/boot.h"
#include "process/given.h"
#include "process/spawn.h"
#include "process/wire.h"
#include "signal/state.h"
#include "tree/attest.h"
#include "tree/hub.h"
#include "vfs/fd.h"
#include "vfs/linux.h"
#include "vfs/node.h"
#include "vfs/proc/proc.h"
#include "vfs/share.h"

#define COUNT_MAX  (1u << 20)
#define STRING_MAX (1u << 20)

struct child {
    struct channel channel;
    struct tree_stream in;
    struct wire_head head;
    bool self; /* the parent is this same program */
};

static NORETURN void leave(void)
{
    for (;;)
        (void)!border_call0(OCALL_TREE_BYE, 0);
}

/* The program does not start: the parent is told why. */
static NORETURN void decline(struct child *c, int32_t error)
{
    (void)!channel_send(&c->channel, &error, sizeof(error));
    leave();
}

static int read_list(struct tree_stream *in, uint32_t *ret_count, char ***ret)
{
    uint32_t count = tree_get_u32(in);
    if (in->error || count > COUNT_MAX)
        return -EBADMSG;
    char **list = heap_alloc((count + 1ull) * sizeof(*list));
    if (!list)
        return -ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size;
        list[i] = tree_get_string(in, STRING_MAX, &size);
        if (!list[i])
            return in->error ? in->error : -ENOMEM;
    }
    *ret_count = count;
    *ret = list;
    return 0;
}

/* The entry point that these arguments mean; MANIFEST_NONE: this is another node's program. */
static uint32_t find_entry(const char *executable, const struct boot_strings *strings)
{
    struct program_start start =
        program_start(executable, strings->arg_count, (const char *const *)strings->args);
    const char *text = strings->args[start.arg];
    uint64_t size = start.arg ? strlen(text) : 0;
    char buf[PATH_BUF];
    struct place place = { .fs = NULL };
    if (start.kind == PROGRAM_SCRIPT &&
        place_at_kernel(AT_FDCWD, text, size, 0, buf, &place) == 0) {
        text = place.path;
        size = place.path_size;
    }
    struct program_key key;
    program_key(start, text, size, &key);
    place_done(&place);
    uint32_t any = MANIFEST_NONE;
    for (uint32_t i = 0; i < g_manifest.entry_count; i++) {
        const struct manifest_entry *entry = &g_manifest.entries[i];
        if (strcmp(manifest_path(&g_manifest, entry->executable), executable) != 0)
            continue;
        if (entry->kind == (uint32_t)key.kind &&
            memcmp(entry->key, key.hash, sizeof(key.hash)) == 0)
            return i;
        if (entry->kind == PROGRAM_ANY)
            any = i;
    }
    return any;
}

/* The signals that wait; of those without siginfo the number alone. */
static int read_pending(struct child *c)
{
    uint32_t count = tree_get_u32(&c->in);
    if (c->in.error || count > WIRE_INFOS_MAX)
        return -EBADMSG;
    uint64_t left = c->head.pending;
    for (uint32_t i = 0; i < count; i++) {
        struct signal_info info;
        tree_get_bytes(&c->in, &info, sizeof(info));
        if (c->in.error || info.number < 1 || info.number > SIGNAL_MAX)
            return -EBADMSG;
        left &= ~SIGNAL_BIT(info.number);
        signal_send_process(&info);
    }
    for (; left; left &= left - 1)
        signal_send_process(
            &(struct signal_info){ .number = __builtin_ctzll(left) + 1, .code = SI_USER });
    return 0;
}

static int read_head(struct child *c)
{
    struct wire_head *head = &c->head;
    tree_get_bytes(&c->in, head, sizeof(*head));
    uint32_t size;
    char *cwd = tree_get_string(&c->in, PATH_BUF, &size);
    if (!cwd)
        return c->in.error ? c->in.error : -ENOMEM;
    process_set_pid(head->pid);
    umask_set(head->umask);
    memcpy(current()->cpus_off, head->cpus_off, sizeof(head->cpus_off));
    current()->signal.mask = head->mask & ~SIGNAL_UNMASKABLE;
    for (int i = 1; i <= SIGNAL_MAX; i++)
        if (head->ignored & SIGNAL_BIT(i))
            g_process.actions->of[i].handler = HANDLER_IGNORE;
    hub_client_init(g_boot_tree.control_slot, head->pid, &head->ticket);
    /* Where the parent was, if this node knows such a place. */
    const struct manifest_str *traced = &process_node()->cwd;
    const char *instead = manifest_str_ptr(&g_manifest, *traced);
    int r = cwd_enter(cwd, size);
    if (r == 0 && head->kind == WIRE_EXEC && !c->self && !given_folder()) {
        if (cwd_enter(instead, traced->length) < 0 && cwd_enter("/", 1) < 0)
            return -EACCES; /* it stays in no other */
    } else if (r < 0) {
        log_note("the working directory '%s' is not in this program's manifest; it starts in '%s'",
                 cwd, cwd_enter(instead, traced->length) == 0 ? instead : "/");
    }
    heap_free(cwd);
    return head->kind == WIRE_EXEC ? read_pending(c) : 0;
}

/* Everything is there: the parent is told, and what the hub has for us is fetched. */
static void ready(struct child *c)
{
    share_received_done();
    /* Only now: descriptors above the limit are inherited too. */
    limits_inherit(&c->head.limits);
    fd_limit_set((int)c->head.fd_limit);
    int r = tree_stream_done(&c->in);
    if (r < 0)
        decline(c, r);
    int32_t fine = 0;
    if (channel_send(&c->channel, &fine, sizeof(fine)) < 0)
        leave();
    channel_wipe(&c->channel);
    hub_started();
}

static NORETURN void start_program(struct child *c)
{
    struct boot_strings strings = { 0 };
    uint32_t size;
    char *executable = tree_get_string(&c->in, PATH_BUF, &size);
    strings.execfn = tree_get_string(&c->in, PATH_BUF, &size);
    if (!executable || !strings.execfn)
        decline(c, c->in.error ? c->in.error : -ENOMEM);
    int r = read_list(&c->in, &strings.arg_count, &strings.args);
    if (r == 0)
        r = read_list(&c->in, &strings.env_count, &strings.env);
    if (r < 0)
        decline(c, r);
    strings.entry = find_entry(executable, &strings);
    if (strings.entry == MANIFEST_NONE) {
        log_error("'%s': the arguments are not those of this node; it does not start", executable);
        decline(c, -EACCES);
    }
    if (!c->self)
        r = given_start(executable, &strings);
    if (r < 0)
        decline(c, r);
    share_receive(&c->in);
    boot_tell_proc(&strings);
    ready(c);
    struct regs ALIGNED(16) regs;
    elf_start(&strings, &regs);
    full_restore(&regs);
}

static NORETURN void go_on(struct child *c)
{
    struct thread *thread = current();
    struct wire_fork fork;
    struct cpu_state ALIGNED(64) state;
    tree_get_bytes(&c->in, &fork, sizeof(fork));
    tree_get_bytes(&c->in, &state, sizeof(state));
    tree_get_bytes(&c->in, g_process.actions, sizeof(*g_process.actions));
    if (proc_receive(&c->in) < 0)
        decline(c, -ENOMEM);
    share_receive(&c->in);
    mm_checkpoint_receive(&c->in);
    if (c->in.error)
        decline(c, c->in.error);
    cpu_state_sanitize(&state);
    if (fork.tls)
        state.fs_base = fork.tls;
    thread->clear_child_tid = fork.child_cleartid;
    thread->signal.stack_base = fork.stack_base;
    thread->signal.stack_size = fork.stack_size;
    thread->signal.stack_flags = fork.stack_flags;
    memcpy(thread->name, fork.name, sizeof(thread->name));
    if (fork.child_settid)
        (void)!user_store32((uint32_t *)(uintptr_t)fork.child_settid, (uint32_t)thread->tid);
    ready(c);
    cpu_state_load(&state);
    struct regs ALIGNED(16) regs = fork.regs;
    full_restore(&regs);
}

void spawn_child_main(uint32_t spawn_slot, uint32_t control_slot UNUSED)
{
    struct child *c = heap_alloc(sizeof(*c));
    if (!c)
        panic("no memory to start a program");
    attest_parent(spawn_slot, &c->channel, &c->self);
    if (tree_stream_open(&c->in, &c->channel) < 0)
        panic("no memory to start a program");
    int r = read_head(c);
    if (r < 0)
        decline(c, r);
    if (c->head.kind == WIRE_EXEC)
        start_program(c);
    /* Memory comes from nobody but this same program. */
    if (c->head.kind != WIRE_FORK || !c->self)
        decline(c, -EACCES);
    go_on(c);
}
