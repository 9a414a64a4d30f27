/*
 * The system call table, the way in from entry.S, --strace. A call whose sys_NAME exists nowhere in the
 * library OS is a NULL here (weak): ENOSYS, said once.
 */
#include <asm/errno.h>
#include <stdbool.h>

#include "arch/exception.h"
#include "arch/string.h"
#include "border/border.h"
#include "core/attr.h"
#include "mm/uaccess.h"
#include "process/process.h"
#include "signal/signal.h"
#include "sys/sys.h"

#define CALL(nr, call, fmt) extern sys_fn sys_##call __attribute__((weak));
#include "sys/calls.inc"
#undef CALL

#define CALL(nr, call, fmt) [nr] = { #call, sys_##call, fmt },
const struct sys_entry g_sys_table[] = {
#include "sys/calls.inc"
};
#undef CALL
const uint32_t g_sys_count = ARRAY_SIZE(g_sys_table);

#define SAID_WORDS 16 /* numbers up to 1023 */
static uint64_t g_said[SAID_WORDS];

static int64_t unimplemented(uint64_t nr)
{
    if (nr < SAID_WORDS * 64) {
        uint64_t bit = 1ull << (nr % 64);
        if (__atomic_fetch_or(&g_said[nr / 64], bit, __ATOMIC_RELAXED) & bit)
            return -ENOSYS;
    }
    const char *name = nr < g_sys_count && g_sys_table[nr].name ? g_sys_table[nr].name : "?";
    log_note("system call %lu (%s) is not implemented: ENOSYS", nr, name);
    audit(OCALL_AUDIT_SYSCALL, ENOSYS, nr, name, strlen(name));
    return -ENOSYS;
}

/* --- strace ------------------------------------------------------------------------------------ */

#define STRACE_MAX    512
#define STRACE_STRING 64

static int put_text(char *line, int used, uint64_t user)
{
    char text[STRACE_STRING + 1];
    int64_t n = strncpy_from_user(text, (const char *)user, STRACE_STRING);
    if (n == -EFAULT)
        return used + format(line + used, (size_t)(STRACE_MAX - used), "0x%lx", user);
    bool cut = n < 0;
    n = cut ? STRACE_STRING : n;
    line[used++] = '"';
    for (int64_t i = 0; i < n; i++)
        line[used++] = text[i] >= ' ' && text[i] < 127 && text[i] != '"' ? text[i] : '.';
    return used + format(line + used, (size_t)(STRACE_MAX - used), "\"%s", cut ? "..." : "");
}

static void strace(const struct sysargs *args, uint64_t nr, int64_t ret, bool before)
{
    const struct sys_entry *entry = nr < g_sys_count ? &g_sys_table[nr] : NULL;
    char line[STRACE_MAX + 1];
    int used = entry && entry->name
                   ? format(line, STRACE_MAX, "[%d] %s(", current()->tid, entry->name)
                   : format(line, STRACE_MAX, "[%d] call %lu(", current()->tid, nr);
    const char *fmt = entry && entry->format ? entry->format : "xxxxxx";
    for (int i = 0; i < 6 && fmt[i]; i++) {
        size_t left = (size_t)(STRACE_MAX - used);
        if (i)
            used += format(line + used, left, ", ");
        left = (size_t)(STRACE_MAX - used);
        switch (fmt[i]) {
        case 's': used = put_text(line, used, args->a[i]); break;
        case 'd':
        case 'f': used += format(line + used, left, "%d", (int)args->a[i]); break;
        case 'l': used += format(line + used, left, "%lu", args->a[i]); break;
        default: used += format(line + used, left, "0x%lx", args->a[i]); break;
        }
    }
    size_t left = (size_t)(STRACE_MAX - used);
    if (before)
        used += format(line + used, left, ") ...");
    else if (ret > 0xfffff)
        used += format(line + used, left, ") = 0x%lx", ret);
    else
        used += format(line + used, left, ") = %ld", ret);
    line[used++] = '\n';
    border_put(0, line, (uint64_t)used);
    (void)border_call2(OCALL_LOG, 0, OCALL_LOG_STRACE, (uint64_t)used);
}

/* Calls that do not come back, or come back elsewhere: shown before they are made. */
static bool leaves(uint64_t nr)
{
    return nr == 15 /* rt_sigreturn */ || nr == 60 /* exit */ || nr == 231 /* exit_group */;
}

/* ----------------------------------------------------------------------------------------------- */

void sys_dispatch(struct regs *regs)
{
    struct thread *thread = current();
    uint64_t nr = regs->orig_rax;
    struct sysargs args = {
        .a = { regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9 },
        .regs = regs,
    };
    thread->syscall_count++;
    if (thread->trapped) {
        uint64_t site = thread->trapped;
        thread->trapped = 0;
        stub_patch(site, nr);
    }
    if (__builtin_expect(g_strace, 0) && leaves(nr))
        strace(&args, nr, 0, true);
    sys_fn *fn = nr < g_sys_count ? g_sys_table[nr].fn : NULL;
    int64_t ret = fn ? fn(&args) : unimplemented(nr);
    if (__builtin_expect(g_strace, 0) && !leaves(nr))
        strace(&args, nr, ret, false);
    regs->rax = (uint64_t)ret;
    if (regs->full) /* rt_sigreturn */
        __atomic_or_fetch(&thread->work, THREAD_WORK_FULL, __ATOMIC_RELAXED);
    if (ret <= -ERESTARTSYS && ret >= -ERESTART_RESTARTBLOCK)
        __atomic_or_fetch(&thread->work, THREAD_WORK_SIGNAL, __ATOMIC_RELAXED);
}
