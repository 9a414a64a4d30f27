/*
 * The device's state: SECS, TCS, threads, and who may touch them. Tier: hosted, untrusted; private
 * to src/softsgx.
 *
 * Locks: g_soft_lock guards EPCM changes that narrow, host page protections and the TCS table. It
 * is held with all signals blocked only (in a handler they are), so that a handler can take it.
 * EPCM bytes that widen (EACCEPT, EMODPE) change by compare-and-swap without it. The thunk of
 * EACCEPTCOPY takes it with signals open, if it is free: thunk_make_atomic() lets go. Invariant:
 * the host's page protection of a page is never wider than its EPCM entry, but while the lock is
 * held.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <ucontext.h>

#include "core/measure.h"
#include "softsgx/offsets.h"
#include "softsgx/softsgx.h"

#define SOFT_ELRANGE_MAX (1ull << 46)
#define SOFT_TCS_MAX     2048
/* The state components that this device's enclaves may have: "CPUID leaf 12H" */
#define SOFT_XFRM        (SGX_XFRM_LEGACY | SGX_XFRM_AVX | SGX_XFRM_AVX512 | SGX_XFRM_PKRU)

/* One byte of EPCM a page: the low six bits as in SECINFO.FLAGS (R W X PENDING MODIFIED PR), the
 * two upper ones the type. No entry can be EPCM_LOCKED by itself: PT_TRIM has no permissions. */
/* (The constants are in offsets.h, for entry.S.) */
_Static_assert(EPCM_RWX == SGX_SECINFO_RWX && EPCM_PENDING == SGX_SECINFO_PENDING &&
                   EPCM_MODIFIED == SGX_SECINFO_MODIFIED && EPCM_PR == SGX_SECINFO_PR,
               "EPCM bits are SECINFO's");
_Static_assert(EPCM_AUGED == (EPCM_REG | EPCM_PENDING | SGX_SECINFO_R | SGX_SECINFO_W), "EAUG");

/* What stands in a TCS page. Enclave software can never touch that page, so the device keeps this
 * copy as the truth. */
struct soft_tcs {
    uint64_t address; /* 0: free slot of the table */
    uint64_t flags, ossa, oentry, ofs_base, ogs_base, aep;
    uint32_t nssa;
    _Atomic uint32_t cssa;
    _Atomic uint32_t active; /* TCS.STATE: one logical processor holds it */
    uint64_t ssa_seen[8];    /* per frame: value of `narrowings` when it was found usable */
};

/* A host thread that enters. Stands at the start of its slot; see offsets.h. */
struct soft_thread {
    uint64_t host_fs, host_gs, host_rsp;
    uint64_t int_fs, int_gs; /* FS and GS base that the last signal found */
    uint64_t ret_fs, ret_gs; /* what they will be when its handler returns */
    uint64_t entry;          /* EENTER: linear address to go to, FS and GS base there */
    uint64_t enc_fs, enc_gs;
    uint64_t rdi, rsi, rdx, r8, r9; /* passed registers */
    uint64_t cssa, tcs_address;
    uint64_t return_address; /* what EENTER leaves in RCX */
    struct sgx_gprsgx *gpr;  /* of the frame that EENTER or ERESUME looks at */
    void *xsave;
    uint64_t xfrm;
    uint64_t iret[5];
    _Atomic uint32_t pending; /* an interrupt came outside the enclave */
    uint32_t poison;
    uint64_t flags; /* RFLAGS of a poisoned or stepped entry */
    uint64_t junk[8];
    /* not for entry.S: */
    struct soft_tcs *tcs; /* the one being executed on, or NULL */
    struct soft_tcs *last_tcs;
    enum softsgx_exit exit;
    uint32_t vector;
    uint64_t error_code, address;
    uint32_t steps_left; /* single step: the interrupt comes when this is 0 */
    uint32_t step_next;  /* and this many steps after the next entry */
    bool stepping;
    uint64_t step_rip; /* where the step began */
    uint32_t random;
    bool left_by_trap;
    bool in_handler;
    bool cpuid_faults;
    stack_t old_stack;
    struct softsgx_stats stats;
    uint32_t slot;
    char selector; /* of Syscall User Dispatch; always BLOCK */
};
#define SOFT_AT(field, at) _Static_assert(offsetof(struct soft_thread, field) == (at), #field)
SOFT_AT(host_fs, T_HOST_FS);
SOFT_AT(host_gs, T_HOST_GS);
SOFT_AT(host_rsp, T_HOST_RSP);
SOFT_AT(int_fs, T_INT_FS);
SOFT_AT(int_gs, T_INT_GS);
SOFT_AT(ret_fs, T_RET_FS);
SOFT_AT(ret_gs, T_RET_GS);
SOFT_AT(entry, T_ENTRY);
SOFT_AT(enc_fs, T_ENC_FS);
SOFT_AT(enc_gs, T_ENC_GS);
SOFT_AT(rdi, T_RDI);
SOFT_AT(rsi, T_RSI);
SOFT_AT(rdx, T_RDX);
SOFT_AT(r8, T_R8);
SOFT_AT(r9, T_R9);
SOFT_AT(cssa, T_CSSA);
SOFT_AT(tcs_address, T_TCS);
SOFT_AT(return_address, T_RETURN);
SOFT_AT(gpr, T_GPR);
SOFT_AT(xsave, T_XSAVE);
SOFT_AT(xfrm, T_XFRM);
SOFT_AT(iret, T_IRET);
SOFT_AT(pending, T_PENDING);
SOFT_AT(poison, T_POISON);
SOFT_AT(flags, T_FLAGS);
SOFT_AT(junk, T_JUNK);
_Static_assert(sizeof(struct soft_thread) <= 0xe00,
               "a thread's block and entry stack are one page");
#define SOFT_AT_GPR(field, at) _Static_assert(offsetof(struct sgx_gprsgx, field) == (at), #field)
SOFT_AT_GPR(rax, GPR_RAX);
SOFT_AT_GPR(rcx, GPR_RCX);
SOFT_AT_GPR(rdx, GPR_RDX);
SOFT_AT_GPR(rbx, GPR_RBX);
SOFT_AT_GPR(rsp, GPR_RSP);
SOFT_AT_GPR(rbp, GPR_RBP);
SOFT_AT_GPR(rsi, GPR_RSI);
SOFT_AT_GPR(rdi, GPR_RDI);
SOFT_AT_GPR(r8, GPR_R8);
SOFT_AT_GPR(r15, GPR_R15);
SOFT_AT_GPR(rflags, GPR_RFLAGS);
SOFT_AT_GPR(rip, GPR_RIP);
SOFT_AT_GPR(ursp, GPR_URSP);
SOFT_AT_GPR(urbp, GPR_URBP);
SOFT_AT_GPR(fs_base, GPR_FS_BASE);
SOFT_AT_GPR(gs_base, GPR_GS_BASE);

struct softsgx {
    struct softsgx_options options;
    struct sgx_secs secs;
    bool created, initialized;
    struct measure measure;
    uint8_t isv_family_id[16], isv_ext_prod_id[16]; /* of the SIGSTRUCT, with KSS */
    uint8_t root_key[32]; /* per user; report and seal keys derive from it */
    uint8_t report_key_id[SGX_KEYID_SIZE];
    uint64_t size;                           /* of ELRANGE; 0 before ECREATE */
    uint64_t gpr_at, exinfo_at, frame_bytes; /* in an SSA frame */
    uint64_t host_xcr0;
    struct {
        uint32_t offset, size;
    } xcomp[64];         /* CPUID leaf 0DH: standard XSAVE format */
    uint32_t xsave_size; /* for SECS.ATTRIBUTES.XFRM */

    _Atomic uint8_t *epcm;       /* size / 4096 bytes, lazily backed */
    _Atomic uint64_t narrowings; /* grows whenever a page that may be an SSA's loses permissions */
    uint64_t ssa_low, ssa_high;  /* all SSAs lie between; set before EENTER knows of the TCS */
    int mem_fd;                  /* /proc/self/mem, to write what the enclave cannot */
    int uffd;                    /* userfaultfd of ELRANGE, for the stage; -1: none */

    struct soft_tcs *tcs; /* SOFT_TCS_MAX entries, open addressing by page */
    uint32_t tcs_count;

    uint32_t site_count; /* of g_soft_sites */

    uint8_t *arena; /* SOFT_SLOT_COUNT slots, aligned to one */
    _Atomic uint8_t slot_used[SOFT_SLOT_COUNT];
    _Atomic uint32_t *alive;    /* wiped to 0 in a forked child */
    struct softsgx_stats stats; /* of threads that ended */

    struct {
        softsgx_signal_fn *fn;
        void *arg;
    } callbacks[NSIG];
    struct sigaction old_actions[NSIG];
    bool installed[NSIG];
};

/* The one device of this process; entry.S reads its arena. */
extern struct softsgx *g_soft;
extern uint64_t g_soft_arena, g_soft_arena_end;
/* For the thunks of jump exits: s->size, s->epcm, and the sites, in soft_leaf_table's order. */
extern uint64_t g_soft_size;
extern _Atomic uint8_t *g_soft_epcm;
extern uint64_t g_soft_sites[SOFT_SITES_MAX];

extern _Atomic uint32_t g_soft_lock;

/* stage.c: what EACCEPTCOPY's thunk took and the page tables do not have yet, at g_soft_stage;
 * where each page belongs. All with the lock held. */
extern uint8_t *g_soft_stage;
extern uint64_t g_soft_stage_to[SOFT_STAGE_PAGES];
extern volatile uint32_t g_soft_stage_count;
MUST_CHECK int stage_open(struct softsgx *s);
void stage_close(struct softsgx *s);
/* Puts it there. */
void stage_flush(struct softsgx *s);

/* thread.c: the calling thread's block, NULL before softsgx_thread_begin. Not for handlers. */
struct soft_thread *soft_self(void);

/* epcm.c ------------------------------------------------------------------------------------------
 */

static inline uint8_t epcm_get(const struct softsgx *s, uint64_t address)
{
    return atomic_load_explicit(&s->epcm[address >> SGX_PAGE_SHIFT], memory_order_acquire);
}
/* What enclave software may do with a page: a subset of EPCM_RWX. */
static inline uint8_t epcm_effective(uint8_t entry)
{
    if ((entry & EPCM_TYPE) != EPCM_REG || (entry & (EPCM_PENDING | EPCM_MODIFIED)) ||
        entry == EPCM_LOCKED)
        return 0;
    return entry & EPCM_RWX;
}
static inline bool in_elrange(const struct softsgx *s, uint64_t address, uint64_t size)
{
    return address < s->size && size <= s->size - address;
}

MUST_CHECK int elrange_reserve(struct softsgx *s, struct err *err);
void elrange_release(struct softsgx *s);

/* From code that signals may interrupt: blocks them first. */
void soft_lock_host(struct softsgx *s, sigset_t *ret_old);
void soft_unlock_host(struct softsgx *s, const sigset_t *old);
void soft_lock(struct softsgx *s);
void soft_unlock(struct softsgx *s);

/* All with the lock held: */
/* Makes the longest run around address whose effective permissions equal this page's what the EPCM
 * says, in the host's page tables. Negative errno of mprotect. */
MUST_CHECK int pages_fill(struct softsgx *s, uint64_t address);
/* After the EPCM lost permissions: takes them from the host's page tables too, eagerly. */
MUST_CHECK int pages_narrow(struct softsgx *s, uint64_t address, uint64_t page_count);
/* Reads or writes whatever the page tables say, where the kernel was built or started without
 * forced writes through /proc/self/mem: the pages are opened for a moment. */
MUST_CHECK int force_open(struct softsgx *s, bool write, uint64_t address, void *buffer,
                          size_t size);
/* The driver's page fault: EAUG of an absent page. The EPCM entry then. */
uint8_t page_demand(struct softsgx *s, uint64_t address);
/* Writable pages that will be written are made now, in one call: a fault each costs half as much
 * again. */
void pages_populate(uint64_t address, uint64_t page_count);
/* Copies between a buffer and enclave memory that one page holds; no lock needed. False: the EPCM
 * forbids it. */
bool enclave_read(struct softsgx *s, uint64_t address, void *ret, size_t size);
bool enclave_write(struct softsgx *s, uint64_t address, const void *data, size_t size);
/* Whatever the EPCM says: EACCEPTCOPY's pending page, SSA frames, jump exits. */
MUST_CHECK int enclave_poke(struct softsgx *s, uint64_t address, const void *data, size_t size);
MUST_CHECK int enclave_peek(struct softsgx *s, uint64_t address, void *ret, size_t size);

/* The ENCLU leaves --------------------------------------------------------------------------------
 */

/* The registers a leaf sees; it changes rax and flags. */
struct leaf_regs {
    uint64_t rax, rbx, rcx, rdx;
    bool zf; /* written by leaves that return an error code */
    bool sets_flags;
};
enum leaf_result { LEAF_DONE, LEAF_GP, LEAF_PF, LEAF_RETRY };
/* ret_fault: linear address of a #PF; *ret_fault_write: it was a write. Called in a signal handler,
 * no lock held. */
typedef enum leaf_result leaf_fn(struct softsgx *s, struct leaf_regs *r, uint64_t *ret_fault,
                                 bool *ret_fault_write);
leaf_fn enclu_eaccept, enclu_emodpe, enclu_eacceptcopy, enclu_ereport, enclu_egetkey;

/* Copies an operand, as the leaves' first lines do: alignment and ELRANGE are #GP, the rest #PF. */
enum leaf_result operand_read(struct softsgx *s, uint64_t address, uint64_t align, void *ret,
                              size_t size, uint64_t *ret_fault);
/* EACCEPT and EACCEPTCOPY's SECINFO has reserved bits set? */
bool secinfo_reserved(const struct sgx_secinfo *secinfo);

/* enclu_entry.c -----------------------------------------------------------------------------------
 */

struct soft_tcs *tcs_find(const struct softsgx *s, uint64_t address);
/* -ENOSPC if the table is full. Lock held, or before EINIT. */
MUST_CHECK int tcs_insert(struct softsgx *s, uint64_t address, const struct sgx_tcs *content);
void tcs_erase(struct softsgx *s, uint64_t address);

struct aex {
    uint32_t exit_info; /* SGX_EXIT_INFO() or 0 */
    bool has_exinfo;
    struct sgx_exinfo exinfo;
};
/* Saves the interrupted state to the SSA and lets the handler return to the host side of the entry.
 * exit and its details must be in t already. */
void soft_aex(struct softsgx *s, struct soft_thread *t, ucontext_t *uc, const struct aex *aex);
/* What an AEX and an ERESUME after it leave in the SSA, without leaving the enclave. */
void soft_aex_resume(struct softsgx *s, struct soft_thread *t, const ucontext_t *uc,
                     const struct aex *aex);
/* EEXIT, by trap. */
void soft_eexit_trap(struct softsgx *s, struct soft_thread *t, ucontext_t *uc);

/* crypto */
MUST_CHECK int soft_keys_load(struct softsgx *s, struct err *err);

/* trap.c ------------------------------------------------------------------------------------------
 */

MUST_CHECK int soft_trap_install(struct softsgx *s, struct err *err);
void soft_trap_restore(struct softsgx *s);
/* Called by entry.S. t is NULL on threads that never began. */
void soft_signal(int sig, siginfo_t *info, void *context, struct soft_thread *t);

/* sites.c -----------------------------------------------------------------------------------------
 */

/* Is rip inside a rewritten site? Its address, or 0. */
uint64_t site_around(const struct softsgx *s, uint64_t rip);
/* If the interrupted thread is in a thunk: makes its leaf atomic, that is, not begun (RIP at the
 * site, registers as there) or done (RIP behind the site). */
void thunk_make_atomic(greg_t *r);

/* poison.c ----------------------------------------------------------------------------------------
 */

uint32_t soft_random(struct soft_thread *t);
/* Before each EENTER and ERESUME: what this one does besides. */
void poison_prepare(struct softsgx *s, struct soft_thread *t);
/* A SIGTRAP of TF. False: the step is over and so far nothing happens. True: now comes the
 * interrupt. */
bool poison_step(struct softsgx *s, struct soft_thread *t, greg_t *r);
void poison_stop(struct soft_thread *t, greg_t *r);
static inline bool poisoned(const struct softsgx *s)
{
    return s->options.poison;
}

/* entry.S -----------------------------------------------------------------------------------------
 */

int soft_enter_asm(struct soft_thread *t);
int soft_resume_asm(struct soft_thread *t);
void soft_signal_entry(int sig, siginfo_t *info, void *context);
extern const char soft_enter_begin[], soft_enter_end[], soft_resume_begin[], soft_resume_end[],
    soft_exit_table[], soft_exit_begin[], soft_exit_end[], soft_aex_landing[], soft_not_entered[];
extern const char soft_leaf_table[], soft_leaf_body[], soft_leaf_trap[], soft_leaf_trapped[],
    soft_leaf_end[], soft_accept_cas[], soft_accept_end[], soft_modpe_cas[], soft_modpe_end[],
    soft_copy_locked[], soft_copy_cas[], soft_copy_count[], soft_copy_counted[],
    soft_copy_released[], soft_copy_refused[], soft_copy_unlocked[], soft_copy_end[],
    soft_fast_accept[], soft_fast_modpe[], soft_fast_copy[];
