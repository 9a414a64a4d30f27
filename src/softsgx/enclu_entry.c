/*
 * EENTER, EEXIT, AEX, ERESUME (SDM volume 3D: "EENTER—Enters an Enclave", "EEXIT—Exits an Enclave",
 * "ERESUME—Re-Enters an Enclave", "Asynchronous Enclave Exit"), in the pseudo-code's order.
 * Tier: hosted, untrusted. soft_aex and soft_eexit_trap run in signal handlers.
 */
#include "softsgx/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

NORETURN void soft_bad_rsp(void);

/* ---- TCS table ------------------------------------------------------------------------------ */

static uint32_t tcs_slot(uint64_t address)
{
    return (uint32_t)(((address >> SGX_PAGE_SHIFT) * 0x9e3779b97f4a7c15ull) >> 40) % SOFT_TCS_MAX;
}

struct soft_tcs *tcs_find(const struct softsgx *s, uint64_t address)
{
    for (uint32_t i = 0, at = tcs_slot(address); i < SOFT_TCS_MAX; i++, at++) {
        struct soft_tcs *tcs = &s->tcs[at % SOFT_TCS_MAX];
        if (tcs->address == address)
            return tcs;
        if (!tcs->address)
            return NULL;
    }
    return NULL;
}

int tcs_insert(struct softsgx *s, uint64_t address, const struct sgx_tcs *content)
{
    struct soft_tcs *tcs = tcs_find(s, address);
    if (!tcs) {
        if (s->tcs_count >= SOFT_TCS_MAX / 2)
            return -ENOSPC;
        uint32_t at = tcs_slot(address);
        while (s->tcs[at % SOFT_TCS_MAX].address)
            at++;
        tcs = &s->tcs[at % SOFT_TCS_MAX];
        s->tcs_count++;
    }
    uint64_t ssa_size = content->nssa * s->frame_bytes, ssa_end;
    if (__builtin_add_overflow(content->ossa, ssa_size, &ssa_end))
        ssa_end = UINT64_MAX;
    if (s->ssa_high == 0 || content->ossa < s->ssa_low)
        s->ssa_low = content->ossa;
    if (ssa_end > s->ssa_high)
        s->ssa_high = ssa_end;
    memset(tcs, 0, sizeof(*tcs));
    tcs->flags = content->flags;
    tcs->ossa = content->ossa;
    tcs->oentry = content->oentry;
    tcs->ofs_base = content->ofs_base;
    tcs->ogs_base = content->ogs_base;
    tcs->nssa = content->nssa;
    atomic_store(&tcs->cssa, content->cssa);
    tcs->address = address;
    return 0;
}

void tcs_erase(struct softsgx *s, uint64_t address)
{
    /* The EPCM entry says that it is no TCS any more; the slot is used again if it becomes one. */
    struct soft_tcs *tcs = tcs_find(s, address);
    if (tcs)
        tcs->nssa = 0;
}

/* ---- EENTER, ERESUME ------------------------------------------------------------------------ */

/* "Check that the SSA pages exist and are usable": valid, PT_REG, R and W, not pending or modified.
 */
static int check_frame(struct softsgx *s, struct soft_tcs *tcs, uint32_t index)
{
    uint64_t seen = atomic_load(&s->narrowings) + 1;
    if (index < ARRAY_SIZE(tcs->ssa_seen) && tcs->ssa_seen[index] == seen)
        return 0;
    uint64_t frame = tcs->ossa + index * s->frame_bytes;
    if (frame < SOFT_ELRANGE_START || !in_elrange(s, frame, s->frame_bytes))
        return -EINVAL;

    sigset_t old;
    int code = 0;
    uint8_t filled = 0;
    soft_lock_host(s, &old);
    for (uint64_t page = frame; code == 0 && page < frame + s->frame_bytes; page += SGX_PAGE_SIZE) {
        uint8_t rw = SGX_SECINFO_R | SGX_SECINFO_W, now = epcm_effective(epcm_get(s, page));
        if ((now & rw) != rw)
            code = -EINVAL;
        else if (now != filled) /* a fill covers its neighbours with the same permissions */
            code = pages_fill(s, page);
        filled = now;
    }
    if (code == 0 && index < ARRAY_SIZE(tcs->ssa_seen))
        tcs->ssa_seen[index] = seen;
    soft_unlock_host(s, &old);
    return code;
}

/* What EENTER and ERESUME begin with. On success the caller holds the TCS. */
static int acquire(struct softsgx *s, struct soft_thread *t, uint64_t address,
                   struct soft_tcs **ret)
{
    if (!s->initialized || (address & ~SGX_PAGE_MASK) || !in_elrange(s, address, SGX_PAGE_SIZE))
        return -EINVAL;
    struct soft_tcs *tcs = t->last_tcs;
    if (!tcs || tcs->address != address)
        tcs = tcs_find(s, address);
    if (!tcs || epcm_get(s, address) != EPCM_TCS) /* valid PT_TCS, not pending, not modified */
        return -EINVAL;
    uint32_t inactive = 0;
    if (!atomic_compare_exchange_strong(&tcs->active, &inactive, 1))
        return -EINVAL;
    t->last_tcs = tcs;
    *ret = tcs;
    return 0;
}

static void aim(struct softsgx *s, struct soft_thread *t, struct soft_tcs *tcs,
                uint32_t frame_index)
{
    uint64_t frame = tcs->ossa + frame_index * s->frame_bytes;
    t->xsave = (void *)frame;
    t->gpr = (struct sgx_gprsgx *)(frame + s->gpr_at);
    t->tcs = tcs;
}

/* Control is back on the host's side: tells the caller how. */
static int came_back(struct soft_thread *t, struct soft_tcs *tcs, struct softsgx_run *run, int left)
{
    t->tcs = NULL;
    if (left == SOFT_LEFT_EEXIT) {
        run->exit = SOFTSGX_EEXIT;
        if (t->left_by_trap)
            t->stats.exits_trap++;
        else
            t->stats.exits_jump++;
    } else {
        run->exit = t->exit;
        run->vector = t->vector;
        run->error_code = t->error_code;
        run->address = t->address;
    }
    atomic_store_explicit(&tcs->active, 0, memory_order_release);
    return 0;
}

int softsgx_enter(struct softsgx *s, struct softsgx_run *run)
{
    struct soft_thread *t = soft_self();
    if (!t)
        return -EINVAL;
    if (!atomic_load_explicit(s->alive, memory_order_relaxed)) {
        run->exit = SOFTSGX_LOST;
        return 0;
    }
    struct soft_tcs *tcs;
    int code = acquire(s, t, run->tcs, &tcs);
    if (code < 0)
        return code;
    uint32_t cssa = atomic_load_explicit(&tcs->cssa, memory_order_relaxed);
    code = cssa < tcs->nssa ? check_frame(s, tcs, cssa) : -EINVAL;
    if (code < 0) {
        atomic_store_explicit(&tcs->active, 0, memory_order_release);
        return code;
    }
    aim(s, t, tcs, cssa);
    t->entry = tcs->oentry;
    t->enc_fs = tcs->ofs_base;
    t->enc_gs = tcs->ogs_base;
    t->cssa = cssa;
    t->tcs_address = run->tcs;
    t->rdi = run->rdi;
    t->rsi = run->rsi;
    t->rdx = run->rdx;
    t->r8 = run->r8;
    t->r9 = run->r9;
    t->left_by_trap = false;
    if (cssa == 0)
        atomic_store_explicit(&t->pending, 0, memory_order_relaxed);
    if (s->options.poison || s->options.single_step)
        poison_prepare(s, t);
    t->stats.enters++;

    int left = soft_enter_asm(t);
    if (left == SOFT_LEFT_FAULT) {
        t->tcs = NULL;
        atomic_store_explicit(&tcs->active, 0, memory_order_release);
        return -EINVAL;
    }
    return came_back(t, tcs, run, left);
}

/* The page that the last AEX was about is there now, most likely: put into the page tables here it does not
 * fault a second time. Only a cache is filled, whatever the frame says by now. */
static void refill(struct softsgx *s, struct soft_thread *t)
{
    if (t->exit != SOFTSGX_EXCEPTION || t->vector != SGX_VECTOR_PF)
        return;
    t->vector = 0;
    if (t->address < SOFT_ELRANGE_START || !in_elrange(s, t->address, 1) ||
        !epcm_effective(epcm_get(s, t->address)))
        return;
    sigset_t old;
    soft_lock_host(s, &old);
    if (epcm_effective(epcm_get(s, t->address)) && pages_fill(s, t->address) == 0)
        t->stats.faults_filled++;
    soft_unlock_host(s, &old);
}

static int resume(struct softsgx *s, struct softsgx_run *run)
{
    struct soft_thread *t = soft_self();
    if (!t)
        return -EINVAL;
    if (!atomic_load_explicit(s->alive, memory_order_relaxed)) {
        run->exit = SOFTSGX_LOST;
        return 0;
    }
    struct soft_tcs *tcs;
    int code = acquire(s, t, run->tcs, &tcs);
    if (code < 0)
        return code;
    uint32_t cssa = atomic_load_explicit(&tcs->cssa, memory_order_relaxed);
    code = cssa > 0 ? check_frame(s, tcs, cssa - 1) : -EINVAL;
    if (code < 0) {
        atomic_store_explicit(&tcs->active, 0, memory_order_release);
        return code;
    }
    aim(s, t, tcs, cssa - 1);
    t->left_by_trap = false;
    t->stats.resumes++;
    atomic_store_explicit(&tcs->cssa, cssa - 1, memory_order_relaxed);
    if (s->options.poison || s->options.single_step)
        poison_prepare(s, t);
    else
        refill(s, t);

    int left = soft_resume_asm(t);
    if (left == SOFT_LEFT_FAULT || left == SOFT_LEFT_CANCEL) {
        atomic_store_explicit(&tcs->cssa, cssa, memory_order_relaxed);
        t->tcs = NULL;
        if (left == SOFT_LEFT_FAULT) {
            atomic_store_explicit(&tcs->active, 0, memory_order_release);
            return -EINVAL;
        }
        /* As if ERESUME had been followed at once by the interrupt's AEX. */
        t->gpr->exit_info = 0;
        atomic_store_explicit(&t->pending, 0, memory_order_relaxed);
        atomic_store_explicit(&tcs->active, 0, memory_order_release);
        run->exit = SOFTSGX_INTERRUPT;
        return 0;
    }
    return came_back(t, tcs, run, left);
}

/* A host that enters once more than it has reason to: the exception stage finds its EXITINFO used.
 * 1: it left otherwise than by EEXIT, run says how. */
static int enter_again(struct softsgx *s, struct softsgx_run *run)
{
    struct softsgx_run again = *run;
    again.rdi = again.rsi = again.rdx = again.r8 = again.r9 = 0xbad0bad0bad0bad0;
    int code = softsgx_enter(s, &again);
    while (code == 0 && again.exit == SOFTSGX_INTERRUPT)
        code = resume(s, &again);
    if (code < 0 || again.exit == SOFTSGX_EEXIT)
        return code;
    *run = again;
    return 1;
}

int softsgx_resume(struct softsgx *s, struct softsgx_run *run)
{
    struct soft_thread *t = soft_self();
    const struct soft_tcs *tcs = t ? t->last_tcs : NULL;
    if (poisoned(s) && tcs && tcs->address == run->tcs && atomic_load(&tcs->cssa) == 1 &&
        tcs->nssa > 1 && soft_random(t) % 4 == 0) {
        int code = enter_again(s, run);
        if (code != 0)
            return code < 0 ? code : 0;
    }
    return resume(s, run);
}

void soft_bad_rsp(void)
{
    static const char text[] =
        "software SGX device: the enclave left with another RSP than it came "
        "with\n";
    fputs(text, stderr);
    abort();
}

/* ---- EEXIT ---------------------------------------------------------------------------------- */

void soft_eexit_trap(struct softsgx *s, struct soft_thread *t, ucontext_t *uc)
{
    (void)s;
    greg_t *r = uc->uc_mcontext.gregs;
    poison_stop(t, r);
    r[REG_RIP] = r[REG_RBX];
    r[REG_RCX] = (greg_t)soft_aex_landing; /* AEP */
    t->left_by_trap = true;
    t->ret_fs = t->host_fs;
    t->ret_gs = t->host_gs;
}

/* ---- AEX ------------------------------------------------------------------------------------ */

#define XSAVE_LEGACY_SIZE 512u
#define XSAVE_HEADER_SIZE 64u
#define XSAVE_SW_AT       464u /* the legacy area's last 48 bytes: software's, XSAVE leaves them */
#define XSAVE_BV_AT       512u
#define XSAVE_MXCSR_AT    24u
#define MXCSR_INIT        0x1f80u

/* "Save the XSAVE state": the signal frame holds it in the same standard format, as far as it is
 * not in its initial configuration. */
static void save_xsave(const struct softsgx *s, uint8_t *to, const uint8_t *from)
{
    uint64_t bv;
    memcpy(&bv, from + XSAVE_BV_AT, sizeof(bv));
    bv &= s->secs.attributes.xfrm;
    memcpy(to, from, XSAVE_SW_AT);
    memset(to + XSAVE_LEGACY_SIZE + 8, 0, 16); /* "clear bytes 8 to 23 of XSAVE_HEADER" */
    memcpy(to + XSAVE_BV_AT, &bv, sizeof(bv));
    for (uint64_t rest = bv & ~SGX_XFRM_LEGACY; rest; rest &= rest - 1) {
        int i = __builtin_ctzll(rest);
        memcpy(to + s->xcomp[i].offset, from + s->xcomp[i].offset, s->xcomp[i].size);
    }
}

/* Poison: XSAVE writes neither the software bytes nor the states that are in their initial
 * configuration. */
static void scramble_xsave(const struct softsgx *s, struct soft_thread *t, uint8_t *frame)
{
    memset(frame + XSAVE_SW_AT, (int)soft_random(t), XSAVE_LEGACY_SIZE - XSAVE_SW_AT);
    if (s->xsave_size > XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE)
        memset(frame + XSAVE_LEGACY_SIZE + XSAVE_HEADER_SIZE, (int)soft_random(t),
               s->xsave_size - XSAVE_LEGACY_SIZE - XSAVE_HEADER_SIZE);
}

/* After an AEX the extended state is the initial one. */
static void init_xsave(uint8_t *frame)
{
    memset(frame + XSAVE_BV_AT, 0, sizeof(uint64_t));
    uint32_t mxcsr = MXCSR_INIT;
    memcpy(frame + XSAVE_MXCSR_AT, &mxcsr, sizeof(mxcsr));
}

/* "Save all registers in the current SSA frame". */
static void save_frame(struct softsgx *s, struct soft_thread *t, const ucontext_t *uc,
                       const struct aex *aex)
{
    struct soft_tcs *tcs = t->tcs;
    uint32_t cssa = atomic_load_explicit(&tcs->cssa, memory_order_relaxed);
    uint8_t *frame = (uint8_t *)(tcs->ossa + cssa * s->frame_bytes);
    struct sgx_gprsgx *gpr = (struct sgx_gprsgx *)(frame + s->gpr_at);
    const greg_t *r = uc->uc_mcontext.gregs;

    if (poisoned(s))
        scramble_xsave(s, t, frame);
    save_xsave(s, frame, (const uint8_t *)uc->uc_mcontext.fpregs);
    gpr->rax = (uint64_t)r[REG_RAX];
    gpr->rcx = (uint64_t)r[REG_RCX];
    gpr->rdx = (uint64_t)r[REG_RDX];
    gpr->rbx = (uint64_t)r[REG_RBX];
    gpr->rsp = (uint64_t)r[REG_RSP];
    gpr->rbp = (uint64_t)r[REG_RBP];
    gpr->rsi = (uint64_t)r[REG_RSI];
    gpr->rdi = (uint64_t)r[REG_RDI];
    gpr->r8 = (uint64_t)r[REG_R8];
    gpr->r9 = (uint64_t)r[REG_R9];
    gpr->r10 = (uint64_t)r[REG_R10];
    gpr->r11 = (uint64_t)r[REG_R11];
    gpr->r12 = (uint64_t)r[REG_R12];
    gpr->r13 = (uint64_t)r[REG_R13];
    gpr->r14 = (uint64_t)r[REG_R14];
    gpr->r15 = (uint64_t)r[REG_R15];
    gpr->rflags = (uint64_t)r[REG_EFL] & ~(uint64_t)SOFT_RFLAGS_TF;
    gpr->rip = (uint64_t)r[REG_RIP];
    gpr->fs_base = t->int_fs;
    gpr->gs_base = t->int_gs;
    gpr->exit_info = aex->exit_info;
    if (aex->has_exinfo)
        memcpy(frame + s->exinfo_at, &aex->exinfo, sizeof(aex->exinfo));
    t->stats.aex++;
}

void soft_aex_resume(struct softsgx *s, struct soft_thread *t, const ucontext_t *uc,
                     const struct aex *aex)
{
    save_frame(s, t, uc, aex);
}

void soft_aex(struct softsgx *s, struct soft_thread *t, ucontext_t *uc, const struct aex *aex)
{
    struct soft_tcs *tcs = t->tcs;
    greg_t *r = uc->uc_mcontext.gregs;
    uint8_t *extended = (uint8_t *)uc->uc_mcontext.fpregs;

    poison_stop(t, r);
    save_frame(s, t, uc, aex);
    atomic_fetch_add_explicit(&tcs->cssa, 1, memory_order_relaxed);

    /* "Load the synthetic state". RSP is the one that EENTER found, as URSP says: the enclave may
     * have changed URSP, and then only its host would suffer. */
    init_xsave(extended);
    for (int i = REG_R8; i <= REG_RSP; i++)
        r[i] = 0;
    r[REG_RAX] = SGX_ERESUME;
    r[REG_RBX] = (greg_t)tcs->address;
    r[REG_RCX] = (greg_t)soft_aex_landing;
    r[REG_RSP] = (greg_t)t->host_rsp;
    r[REG_RIP] = (greg_t)soft_aex_landing;
    r[REG_EFL] &= ~(greg_t)(SOFT_RFLAGS_AC | SOFT_RFLAGS_DF | SOFT_RFLAGS_TF | 0x8d5);
    t->ret_fs = t->host_fs;
    t->ret_gs = t->host_gs;
}
