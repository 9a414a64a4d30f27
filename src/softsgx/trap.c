/*
 * Host signals: which of them are the enclave's exceptions, which the driver's page faults, which
 * the runtime's. Tier: hosted, untrusted; everything here runs in signal handlers but
 * install/restore.
 *
 * A handler's ucontext is made to look as if EENTER, ERESUME, EEXIT and the leaves of jump exits
 * were single instructions (entry.S has the race timeline) before anything else looks at it.
 */
#include "softsgx/state.h"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/audit.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define X86_DE 0
#define X86_DB 1
#define X86_BP 3
#define X86_UD 6
#define X86_GP 13
#define X86_PF 14
#define X86_MF 16
#define X86_AC 17
#define X86_XM 19

#define SYS_USER_DISPATCH_CODE 2 /* si_code of a Syscall User Dispatch SIGSYS */
#define PF_WRITE               2u
#define PF_FETCH               16u

static const int g_synchronous[] = { SIGSEGV, SIGILL, SIGBUS, SIGFPE, SIGTRAP, SIGSYS };

static bool within(uint64_t rip, const char *begin, const char *end)
{
    return rip >= (uint64_t)begin && rip < (uint64_t)end;
}

/* ---- exceptions ----------------------------------------------------------------------------- */

/* An AEX that the host sees as an exception. vector and codes are the hardware's; EXITINFO holds
 * what the architecture reports. */
static void exception(struct softsgx *s, struct soft_thread *t, ucontext_t *uc, uint32_t vector,
                      uint64_t error_code, uint64_t address)
{
    struct aex aex = { 0 };
    bool reported = vector == X86_DE || vector == X86_DB || vector == X86_UD || vector == X86_MF ||
                    vector == X86_AC || vector == X86_XM;
    if (vector == X86_PF || vector == X86_GP) {
        reported = s->secs.misc_select & SGX_MISC_EXINFO;
        aex.has_exinfo = reported;
        aex.exinfo.maddr = vector == X86_PF ? address : 0;
        aex.exinfo.errcd = (uint32_t)error_code;
    }
    if (reported)
        aex.exit_info = SGX_EXIT_INFO(SGX_EXIT_TYPE_HARDWARE, vector);
    t->exit = SOFTSGX_EXCEPTION;
    t->vector = vector;
    t->error_code = error_code;
    t->address = address;
    soft_aex(s, t, uc, &aex);
}

/* Poison: what a hostile host makes of a fault that only its page tables caused. The exception
 * stage is told of it (a host dies if that stage itself leaves by an AEX, so never there). */
static void benign_page_fault(struct softsgx *s, struct soft_thread *t, ucontext_t *uc,
                              uint32_t access, uint64_t address)
{
    struct aex aex = { .has_exinfo = s->secs.misc_select & SGX_MISC_EXINFO };
    aex.exinfo.maddr = address;
    aex.exinfo.errcd = SGX_PFEC_U | access;
    if (aex.has_exinfo)
        aex.exit_info = SGX_EXIT_INFO(SGX_EXIT_TYPE_HARDWARE, SGX_VECTOR_PF);
    if (atomic_load(&t->tcs->cssa) == 0 && t->tcs->nssa > 1 && soft_random(t) % 2)
        exception(s, t, uc, X86_PF, SGX_PFEC_U | access, address);
    else
        soft_aex_resume(s, t, uc, &aex);
}

static void page_fault(struct softsgx *s, struct soft_thread *t, ucontext_t *uc, uint64_t address,
                       uint32_t hardware_code)
{
    uint32_t access = hardware_code & (PF_WRITE | PF_FETCH);
    uint8_t need = access & PF_FETCH   ? SGX_SECINFO_X
                   : access & PF_WRITE ? SGX_SECINFO_W
                                       : SGX_SECINFO_R;
    if (address < SOFT_ELRANGE_START || !in_elrange(s, address, 1)) {
        /* Not the EPC's business: the page tables of ordinary memory. */
        exception(s, t, uc, X86_PF, (hardware_code & ~SGX_PFEC_SGX) | SGX_PFEC_U, address);
        return;
    }
    soft_lock(s);
    uint8_t entry = epcm_get(s, address);
    if (entry == EPCM_ABSENT)
        entry = page_demand(s, address); /* now pending: the access faults again, in the EPCM */
    bool allowed = (epcm_effective(entry) & need) || (entry == EPCM_LOCKED);
    int code = allowed && entry != EPCM_LOCKED ? pages_fill(s, address) : 0;
    soft_unlock(s);
    if (code < 0) {
        static const char text[] = "software SGX device: mprotect failed (out of mappings?)\n";
        (void)!write(2, text, sizeof(text) - 1);
        abort();
    }
    if (allowed) {
        t->stats.faults_filled++;
        if (poisoned(s))
            benign_page_fault(s, t, uc, access, address);
        return;
    }
    exception(s, t, uc, X86_PF, SGX_PFEC_P | SGX_PFEC_U | SGX_PFEC_SGX | access, address);
}

/* ---- ENCLU ---------------------------------------------------------------------------------- */

static void enclu(struct softsgx *s, struct soft_thread *t, ucontext_t *uc, uint64_t length)
{
    static leaf_fn *const leaves[] = {
        [SGX_EREPORT] = enclu_ereport,         [SGX_EGETKEY] = enclu_egetkey,
        [SGX_EACCEPT] = enclu_eaccept,         [SGX_EMODPE] = enclu_emodpe,
        [SGX_EACCEPTCOPY] = enclu_eacceptcopy,
    };
    greg_t *r = uc->uc_mcontext.gregs;
    uint32_t leaf = (uint32_t)r[REG_RAX];
    t->stats.enclu_traps++;
    if (leaf == SGX_EEXIT) {
        soft_eexit_trap(s, t, uc);
        return;
    }
    if (leaf >= ARRAY_SIZE(leaves) || !leaves[leaf]) {
        exception(s, t, uc, X86_GP, 0, 0);
        return;
    }
    struct leaf_regs regs = {
        .rax = (uint64_t)r[REG_RAX],
        .rbx = (uint64_t)r[REG_RBX],
        .rcx = (uint64_t)r[REG_RCX],
        .rdx = (uint64_t)r[REG_RDX],
    };
    uint64_t fault = 0;
    bool fault_write = false;
    switch (leaves[leaf](s, &regs, &fault, &fault_write)) {
    case LEAF_DONE:
        r[REG_RAX] = (greg_t)regs.rax;
        if (regs.sets_flags) {
            r[REG_EFL] &= ~(greg_t)0x8d5; /* CF PF AF ZF SF OF */
            r[REG_EFL] |= regs.zf ? 0x40 : 0;
        }
        r[REG_RIP] += (greg_t)length;
        break;
    case LEAF_RETRY: break;
    case LEAF_GP: exception(s, t, uc, X86_GP, 0, 0); break;
    case LEAF_PF: page_fault(s, t, uc, fault, fault_write ? PF_WRITE : 0); break;
    }
}

static bool code_is(struct softsgx *s, uint64_t rip, const void *bytes, size_t size)
{
    uint8_t code[4];
    /* Byte by byte: the instruction may straddle two pages. */
    for (size_t i = 0; i < size; i++)
        if (!in_elrange(s, rip + i, 1) || !epcm_effective(epcm_get(s, rip + i)) ||
            enclave_peek(s, rip + i, &code[i], 1) < 0 || code[i] != ((const uint8_t *)bytes)[i])
            return false;
    return true;
}

/* ---- a synchronous signal inside ------------------------------------------------------------ */

static void inside_fault(struct softsgx *s, struct soft_thread *t, int sig, const siginfo_t *info,
                         ucontext_t *uc, bool in_thunk)
{
    greg_t *r = uc->uc_mcontext.gregs;
    uint64_t rip = (uint64_t)r[REG_RIP];
    uint32_t trap = (uint32_t)r[REG_TRAPNO];

    if (in_thunk && trap == X86_BP) { /* not the common case: RIP is at the site again */
        enclu(s, t, uc, SOFT_SITE_SIZE);
        return;
    }

    if (sig == SIGSYS) {
        /* A `syscall` is #UD in an enclave, RIP at it. The CPU has already put RIP and RFLAGS into
         * rcx and r11: what they held is lost for good, and a program that makes system calls
         * expects that. So that nobody learns to rely on their being RIP and RFLAGS they are zero
         * here (and noise under poison). `int $0x80` keeps them, but the kernel has cut eax to 32
         * bits. */
        t->stats.syscall_traps++;
        r[REG_RIP] = (greg_t)(rip - 2);
        if (info->si_arch != AUDIT_ARCH_I386) {
            r[REG_RCX] = poisoned(s) ? (greg_t)soft_random(t) : 0;
            r[REG_R11] = poisoned(s) ? (greg_t)soft_random(t) : 0;
        }
        exception(s, t, uc, X86_UD, 0, 0);
        return;
    }
    switch (trap) {
    case X86_PF: page_fault(s, t, uc, (uint64_t)r[REG_CR2], (uint32_t)r[REG_ERR]); return;
    case X86_UD:
    case X86_GP:
        if (code_is(s, rip, "\x0f\x01\xd7", 3)) {
            enclu(s, t, uc, 3);
            return;
        }
        if (trap == X86_GP && t->cpuid_faults && code_is(s, rip, "\x0f\xa2", 2))
            trap = X86_UD;
        exception(s, t, uc, trap, 0, 0);
        return;
    case X86_BP:
        /* After an opt-out entry INT3 is #UD, and a fault (SDM "INT3 Instruction Behavior Inside an
         * Enclave"). */
        r[REG_RIP] = (greg_t)(rip - 1);
        exception(s, t, uc, X86_UD, 0, 0);
        return;
    case X86_DB:
        /* After an opt-out entry TF is ignored. */
        poison_stop(t, r);
        return;
    default: exception(s, t, uc, trap, 0, 0); return;
    }
}

/* ---- a synchronous signal outside ----------------------------------------------------------- */

/* CPUID faulting is on for the whole thread: the host's own CPUIDs are done here. */
static bool host_cpuid(struct soft_thread *t, ucontext_t *uc)
{
    greg_t *r = uc->uc_mcontext.gregs;
    const uint8_t *code = (const uint8_t *)r[REG_RIP];
    if (!t || !t->cpuid_faults || r[REG_TRAPNO] != X86_GP || code[0] != 0x0f || code[1] != 0xa2)
        return false;
    uint32_t a = (uint32_t)r[REG_RAX], c = (uint32_t)r[REG_RCX], b, d;
    (void)syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    (void)syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    r[REG_RAX] = a;
    r[REG_RBX] = b;
    r[REG_RCX] = c;
    r[REG_RDX] = d;
    r[REG_RIP] += 2;
    return true;
}

/* A fault of the host itself: whoever handled it before us does (usually nobody: it dies here). */
static void host_fault(struct softsgx *s, int sig)
{
    (void)sigaction(sig, &s->old_actions[sig], NULL);
}

static bool is_synchronous(int sig, const siginfo_t *info)
{
    if (info->si_code <= 0) /* sent by somebody */
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(g_synchronous); i++)
        if (g_synchronous[i] == sig)
            return true;
    return false;
}

/* ---- all signals ---------------------------------------------------------------------------- */

/* See "Race timeline" in entry.S. True: a synchronous fault means that the entry itself failed. */
static bool make_atomic(struct soft_thread *t, ucontext_t *uc)
{
    greg_t *r = uc->uc_mcontext.gregs;
    uint64_t rip = (uint64_t)r[REG_RIP];
    if (within(rip, soft_enter_begin, soft_enter_end)) {
        r[REG_RIP] = (greg_t)soft_enter_begin;
        r[REG_RSP] = (greg_t)t + T_STACK;
    } else if (within(rip, soft_resume_begin, soft_resume_end)) {
        r[REG_RIP] = (greg_t)soft_resume_begin;
        r[REG_RSP] = (greg_t)t->host_rsp;
        r[REG_RDI] = (greg_t)t;
    } else {
        return false;
    }
    r[REG_EFL] &= ~(greg_t)(SOFT_RFLAGS_AC | SOFT_RFLAGS_DF | SOFT_RFLAGS_TF);
    return true;
}

static void interrupt(struct softsgx *s, struct soft_thread *t, ucontext_t *uc)
{
    struct aex aex = { 0 };
    t->exit = SOFTSGX_INTERRUPT;
    t->vector = 0;
    t->error_code = 0;
    t->address = 0;
    soft_aex(s, t, uc, &aex);
}

void soft_signal(int sig, siginfo_t *info, void *context, struct soft_thread *t)
{
    struct softsgx *s = g_soft;
    ucontext_t *uc = context;
    greg_t *r = uc->uc_mcontext.gregs;
    int saved_errno = errno;
    bool synchronous = is_synchronous(sig, info);
    bool inside = false, in_thunk = false;

    bool stepped = false;
    if (t && t->stepping && sig == SIGTRAP && synchronous && r[REG_TRAPNO] == X86_DB) {
        if (!poison_step(s, t, r)) {
            t->ret_fs = t->int_fs;
            t->ret_gs = t->int_gs;
            return;
        }
        stepped = true;
        synchronous = false;
    } else if (t && sig == SIGTRAP && info->si_code == TRAP_TRACE) {
        /* TF was set when something else ended the step: nothing is left to do. */
        poison_stop(t, r);
        t->ret_fs = (uint64_t)r[REG_RIP] < s->size ? t->int_fs : t->host_fs;
        t->ret_gs = (uint64_t)r[REG_RIP] < s->size ? t->int_gs : t->host_gs;
        return;
    }
    if (t) {
        t->ret_fs = t->host_fs;
        t->ret_gs = t->host_gs;
        bool entering = make_atomic(t, uc);
        uint64_t rip = (uint64_t)r[REG_RIP];
        in_thunk = within(rip, soft_leaf_table, soft_leaf_end);
        if (in_thunk)
            thunk_make_atomic(r);
        else if (rip < s->size && site_around(s, rip))
            r[REG_RIP] = (greg_t)site_around(s, rip);
        inside = t->tcs && (uint64_t)r[REG_RIP] < s->size;
        if (entering && synchronous) {
            r[REG_RIP] = (greg_t)soft_not_entered;
            r[REG_RSP] = (greg_t)t->host_rsp;
            errno = saved_errno;
            return;
        }
    }
    if (inside) {
        t->ret_fs = t->int_fs;
        t->ret_gs = t->int_gs;
    }

    if (stepped) {
        struct aex aex = { 0 };
        if (inside && atomic_load(&t->tcs->cssa) == 0 && t->tcs->nssa > 1)
            interrupt(s, t, uc);
        else if (inside) /* the exception stage: all a host can do is resume it */
            soft_aex_resume(s, t, uc, &aex);
        else
            atomic_store_explicit(&t->pending, 1, memory_order_relaxed);
    } else if (synchronous && inside) {
        inside_fault(s, t, sig, info, uc, in_thunk);
    } else if (synchronous) {
        if (!host_cpuid(t, uc))
            host_fault(s, sig);
    } else if (s->callbacks[sig].fn) {
        bool wanted = s->callbacks[sig].fn(sig, info, inside, s->callbacks[sig].arg);
        if (wanted && inside) {
            interrupt(s, t, uc);
        } else if (inside && poisoned(s)) {
            struct aex aex = { 0 };
            soft_aex_resume(s, t, uc, &aex);
        } else if (wanted && t) {
            atomic_store_explicit(&t->pending, 1, memory_order_relaxed);
        }
    } else {
        /* Somebody sent us one of the synchronous ones: as without a handler. */
        host_fault(s, sig);
        (void)syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
    }
    errno = saved_errno;
}

/* ---- installing ----------------------------------------------------------------------------- */

static int install(struct softsgx *s, int sig, struct err *err)
{
    if (s->installed[sig])
        return 0;
    struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK };
    action.sa_sigaction = soft_signal_entry;
    /* Asynchronous ones wait until the handler has returned; a synchronous one in a handler is our
     * own bug, and with it unblocked the kernel still kills us where it happens. */
    sigfillset(&action.sa_mask);
    if (sigaction(sig, &action, &s->old_actions[sig]) < 0)
        return err_set(err, -errno, "installing the handler of signal %d", sig);
    s->installed[sig] = true;
    return 0;
}

int soft_trap_install(struct softsgx *s, struct err *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(g_synchronous); i++) {
        int code = install(s, g_synchronous[i], err);
        if (code < 0)
            return code;
    }
    return 0;
}

void soft_trap_restore(struct softsgx *s)
{
    for (int sig = 1; sig < NSIG; sig++)
        if (s->installed[sig])
            (void)sigaction(sig, &s->old_actions[sig], NULL);
}

int softsgx_on_signal(struct softsgx *s, int signal, softsgx_signal_fn *callback, void *arg,
                      struct err *err)
{
    if (signal < 1 || signal >= NSIG || !callback)
        return err_set(err, -EINVAL, "signal %d cannot be handled", signal);
    for (size_t i = 0; i < ARRAY_SIZE(g_synchronous); i++)
        if (g_synchronous[i] == signal)
            return err_set(err, -EINVAL, "signal %d is the device's own", signal);
    s->callbacks[signal].arg = arg;
    s->callbacks[signal].fn = callback;
    return install(s, signal, err);
}
