#include "process/boot.h"

#include <asm/errno.h>
#include <asm/signal.h>
#include <stdbool.h>

#include "abi/layout.h"
#include "arch/cpu.h"
#include "arch/cpuid.h"
#include "arch/exception.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "core/aes_gcm.h"
#include "core/sha256.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/shared.h"
#include "process/process.h"
#include "process/spawn.h"
#include "process/stats.h"
#include "process/vfork.h"
#include "thread/threads.h"
#include "tree/attest.h"
#include "tree/links.h"
#include "vfs/file.h"
#include "vfs/proc/proc.h"

#define STRINGS_MAX (OCALL_DATA_SIZE - sizeof(struct ocall_boot))

struct manifest_view g_manifest;
bool g_strace, g_stats;
struct boot_tree g_boot_tree;
static uint32_t g_booted;
static uint32_t g_ending;

const struct manifest_node *process_node(void)
{
    return g_manifest.node;
}

bool process_is_root(void)
{
    return g_boot_tree.region == 0;
}

bool process_ending(void)
{
    return __atomic_load_n(&g_ending, __ATOMIC_RELAXED) != 0;
}

struct thread *thread_at(uint32_t index)
{
    return (struct thread *)(LAYOUT_THREADS + index * LAYOUT_THREAD_STRIDE + LAYOUT_THREAD_BLOCK);
}

/* The block must lie wholly outside ELRANGE, which starts at 0. */
static bool block_ok(const struct ocall_block *block)
{
    uint64_t at = (uint64_t)block;
    return at % LAYOUT_PAGE == 0 && at >= PARAMS->enclave_size &&
           at <= (1ull << 47) - LAYOUT_PAGE - OCALL_BLOCK_SIZE;
}

static NORETURN void dead(void)
{
    current()->state = THREAD_STATE_DEAD;
    for (;;)
        __asm__ volatile("ud2");
}

/* Splits the host's strings: count NUL-terminated ones. */
static int split(char *text, uint64_t size, uint32_t count, char **ret, uint64_t *at)
{
    for (uint32_t i = 0; i < count; i++) {
        char *end = *at < size ? memchr(text + *at, 0, size - *at) : NULL;
        if (!end)
            return -EINVAL;
        ret[i] = text + *at;
        *at = (uint64_t)(end - text) + 1;
    }
    return 0;
}

static bool env_matches(const char *assignment, const char *name)
{
    size_t n = strlen(name);
    return strncmp(assignment, name, n) == 0 && assignment[n] == '=';
}

static char *join_env(const char *name, const char *value)
{
    size_t n = strlen(name), m = strlen(value);
    char *text = heap_alloc(n + m + 2);
    if (text) {
        memcpy(text, name, n);
        text[n] = '=';
        memcpy(text + n + 1, value, m + 1);
    }
    return text;
}

/* Arguments and environment: the manifest's, and the host's only where the manifest lets it speak. */
static int combine(struct boot_strings *out, char **host_args, uint32_t host_arg_count,
                   char **host_env, uint32_t host_env_count)
{
    const struct manifest_view *m = &g_manifest;
    if (!(m->node->flags & MANIFEST_ARGS_HOST))
        host_arg_count = 0;
    out->args = heap_alloc((m->arg_count + (uint64_t)host_arg_count + 1) * sizeof(char *));
    out->env = heap_alloc((m->env_count + 1ull) * sizeof(char *));
    if (!out->args || !out->env)
        return -ENOMEM;
    for (uint32_t i = 0; i < m->arg_count; i++)
        out->args[out->arg_count++] = (char *)(uintptr_t)manifest_str_ptr(m, m->args[i]);
    for (uint32_t i = 0; i < host_arg_count; i++)
        out->args[out->arg_count++] = host_args[i];
    for (uint32_t i = 0; i < m->env_count; i++) {
        const char *name = manifest_str_ptr(m, m->env[i].name);
        char *text = NULL;
        if (m->env[i].policy == MANIFEST_ENV_PINNED) {
            text = join_env(name, manifest_str_ptr(m, m->env[i].value));
            if (!text)
                return -ENOMEM;
        } else {
            for (uint32_t k = 0; k < host_env_count && !text; k++)
                if (env_matches(host_env[k], name))
                    text = host_env[k];
        }
        if (text)
            out->env[out->env_count++] = text;
    }
    return 0;
}

int boot_strings_load(struct boot_strings *ret)
{
    if (border_call0(OCALL_BOOT, OCALL_DATA_SIZE) < 0)
        return -EIO;
    struct ocall_boot boot;
    border_get(&boot, 0, sizeof(boot));
    if (boot.strings_size > STRINGS_MAX || boot.arg_count > boot.strings_size ||
        boot.env_count > boot.strings_size)
        return -EINVAL;
    char *text = heap_alloc(boot.strings_size + 1ull);
    char **lists = heap_alloc((boot.arg_count + (uint64_t)boot.env_count + 1) * sizeof(char *));
    if (!text || !lists)
        return -ENOMEM;
    border_get(text, sizeof(boot), boot.strings_size);
    g_boot_tree = (struct boot_tree){ boot.tree_region, boot.spawn_slot, boot.control_slot };
    ret->execfn = manifest_str_ptr(&g_manifest, g_manifest.entries[0].execfn);
    uint64_t at = 0;
    int r = split(text, boot.strings_size, boot.arg_count, lists, &at);
    if (r == 0)
        r = split(text, boot.strings_size, boot.env_count, lists + boot.arg_count, &at);
    if (r < 0)
        return r;

    /* Speed only: a host that lies here makes the enclave slow, or stop at an invalid instruction. */
    sha256_use_ni((boot.flags & OCALL_BOOT_SHA) != 0);
    aes_gcm_use_wide((boot.flags & OCALL_BOOT_VAES) && (cpu_xfrm() & SGX_XFRM_AVX));
    g_stats = (boot.flags & OCALL_BOOT_STATS) != 0;
    g_strace =
        (boot.flags & OCALL_BOOT_STRACE) && (process_node()->flags & MANIFEST_INSECURE_DEBUG);
    return combine(ret, lists, boot.arg_count, lists + boot.arg_count, boot.env_count);
}

void boot_tell_proc(const struct boot_strings *strings)
{
    uint64_t sizes[2] = { 0, 0 };
    for (uint32_t i = 0; i < strings->arg_count; i++)
        sizes[0] += strlen(strings->args[i]) + 1;
    for (uint32_t i = 0; i < strings->env_count; i++)
        sizes[1] += strlen(strings->env[i]) + 1;
    char *text = heap_alloc(sizes[0] + sizes[1] + 1);
    if (!text)
        panic("no memory for the arguments");
    char *at = text;
    for (uint32_t i = 0; i < strings->arg_count; i++, at += strlen(at) + 1)
        memcpy(at, strings->args[i], strlen(strings->args[i]) + 1);
    for (uint32_t i = 0; i < strings->env_count; i++, at += strlen(at) + 1)
        memcpy(at, strings->env[i], strlen(strings->env[i]) + 1);
    if (proc_set_cmdline(text, sizes[0]) < 0 || proc_set_environ(text + sizes[0], sizes[1]) < 0)
        panic("no memory for /proc");
    heap_free(text);
    const char *slash = strrchr(strings->execfn, '/');
    format(current()->name, sizeof(current()->name), "%s", slash ? slash + 1 : strings->execfn);
}

static NORETURN void boot(void)
{
    const struct layout_params *params = PARAMS;
    if (params->magic != LAYOUT_PARAMS_MAGIC || params->version != LAYOUT_PARAMS_VERSION)
        panic("the params page is of another version");
    heap_init(params->enclave_size);
    const char *reason = "?";
    if (manifest_view_open((const void *)LAYOUT_MANIFEST, params->manifest_size, &g_manifest,
                           &reason) < 0)
        panic("the compiled manifest is broken: %s", reason);
    mm_init();
    threads_init();
    struct boot_strings strings = { 0 };
    int r = boot_strings_load(&strings);
    if (r < 0)
        panic("arguments or environment could not be taken over: error %d", -r);
    attest_self();
    if (g_boot_tree.region) {
        if (tree_region_set(g_boot_tree.region) < 0)
            panic("the memory that the tree's host processes share lies in a wrong place");
        vfs_init_empty();
        spawn_child_main(g_boot_tree.spawn_slot, g_boot_tree.control_slot);
    }
    if (!(process_node()->flags & MANIFEST_ROOT))
        panic("this node starts only under its parent: run the bundle, not a part of it");
    vfs_init();
    boot_tell_proc(&strings);
    /* full_restore uses the stack below the registers it restores. */
    struct regs ALIGNED(16) regs;
    elf_start(&strings, &regs);
    full_restore(&regs);
}

__attribute__((no_stack_protector)) void thread_first(struct ocall_block *block)
{
    struct thread *thread = current();
    if (!block_ok(block))
        dead();
    thread->block = block;
    if (block->magic != OCALL_MAGIC || block->version != OCALL_VERSION)
        dead();
    uint64_t canary;
    cpu_random(&canary, sizeof(canary));
    thread->canary = canary; /* no function with a canary is active */
    if (thread->index == 0 && !__atomic_exchange_n(&g_booted, 1, __ATOMIC_ACQ_REL))
        boot();
    if (!__atomic_exchange_n(&thread->start_wanted, false, __ATOMIC_ACQ_REL))
        dead();
    if (thread->service)
        thread->service();
    cpu_set_fs_base(thread->fs_base);
    cpu_set_fp_control(thread->start_fp);
    struct regs ALIGNED(16) regs = thread->start;
    full_restore(&regs);
}

static void stop(struct thread *thread, void *arg UNUSED)
{
    if (thread == current())
        return;
    __atomic_or_fetch(&thread->work, THREAD_WORK_EXIT, __ATOMIC_SEQ_CST);
    thread_interrupt(thread);
}

void process_leaves(void)
{
    if (shared_any())
        shared_flush(NULL);
    if (dsm_any())
        dsm_exit();
    vfork_end_all();
}

/* wait: status as wait4 gives it. */
static NORETURN void end(int32_t wait, bool replaced)
{
    if (__atomic_exchange_n(&g_ending, 1, __ATOMIC_ACQ_REL))
        for (;;) /* another thread is at it */
            thread_park_ended();
    if (!replaced)
        process_leaves();
    vfs_exit();
    if (g_stats)
        stats_print();
    if (!process_is_root()) {
        if (!replaced)
            hub_leave(wait);
        for (;;)
            (void)!border_call0(OCALL_TREE_BYE, 0);
    }
    if (g_hub.thread) {
        threads_each(stop, NULL);
        hub_end(wait, replaced);
    }
    for (;;)
        (void)!border_call2(OCALL_EXIT, 0, (uint64_t)(wait >> 8 & 0xff), (uint64_t)(wait & 0x7f));
}

void process_replaced(void)
{
    end(0, true);
}

void process_exit(int status)
{
    if (process_current()->vfork)
        vfork_end((status & 0xff) << 8);
    end((status & 0xff) << 8, false);
}

void process_killed(int signal)
{
    if (g_strace)
        log_note("[%d] killed by signal %d", process_pid(), signal);
    if (process_current()->vfork)
        vfork_end(signal);
    end(signal, false);
}
