/*
 * EACCEPT, EACCEPTCOPY, EMODPE (SDM volume 3D, "EACCEPT—Accept Changes to an EPC Page",
 * "EACCEPTCOPY—Initialize a Pending Page", "EMODPE—Extend an EPC Page Permissions"), in the
 * pseudo-code's order. Tier: hosted, untrusted; runs in signal handlers.
 */
#include "softsgx/state.h"

#include <errno.h>
#include <sched.h>

#define SECINFO_TYPE(flags) (((flags)&SGX_SECINFO_PT_MASK) >> SGX_SECINFO_PT_SHIFT)

enum leaf_result operand_read(struct softsgx *s, uint64_t address, uint64_t align, void *ret,
                              size_t size, uint64_t *ret_fault)
{
    if ((address & (align - 1)) || !in_elrange(s, address, size))
        return LEAF_GP;
    /* "VALID = 0 or R = 0 or PENDING or MODIFIED or not PT_REG: #PF" */
    if (address >= SOFT_ELRANGE_START && enclave_read(s, address, ret, size))
        return LEAF_DONE;
    *ret_fault = address;
    return LEAF_PF;
}

bool secinfo_reserved(const struct sgx_secinfo *secinfo)
{
    if (secinfo->flags & SGX_SECINFO_RESERVED)
        return true;
    for (size_t i = 0; i < sizeof(secinfo->reserved); i++)
        if (secinfo->reserved[i])
            return true;
    return false;
}

/* What EACCEPT and EMODPE check first: the SECINFO at RBX, read, and the page at RCX. */
static enum leaf_result secinfo_and_page(struct softsgx *s, const struct leaf_regs *r,
                                         struct sgx_secinfo *ret, uint64_t *ret_fault)
{
    enum leaf_result result =
        operand_read(s, r->rbx, SGX_ALIGN_SECINFO, ret, sizeof(*ret), ret_fault);
    if (result != LEAF_DONE)
        return result;
    if (secinfo_reserved(ret))
        return LEAF_GP;
    return (r->rcx & ~SGX_PAGE_MASK) || !in_elrange(s, r->rcx, SGX_PAGE_SIZE) ? LEAF_GP : LEAF_DONE;
}

static uint8_t epcm_type_of(uint64_t type)
{
    switch (type) {
    case SGX_PT_TCS: return EPCM_TCS;
    case SGX_PT_REG: return EPCM_REG;
    case SGX_PT_TRIM: return EPCM_TRIM;
    default: return EPCM_ABSENT;
    }
}

/* An EPCM entry that no EACCEPTCOPY holds, EAUGed if need be: a leaf that touches an absent page is
 * a page fault to the driver, which adds the page and restarts the leaf. */
static uint8_t settled(struct softsgx *s, uint64_t address)
{
    for (;;) {
        uint8_t entry = epcm_get(s, address);
        if (entry == EPCM_ABSENT)
            entry = page_demand(s, address);
        if (entry != EPCM_LOCKED)
            return entry;
        (void)sched_yield();
    }
}

static enum leaf_result leaf_code(struct leaf_regs *r, uint64_t code)
{
    r->rax = code;
    r->zf = code != 0;
    r->sets_flags = true;
    return LEAF_DONE;
}

/* "For TCS pages, perform additional checks" of EACCEPT; then the device's own copy is made. */
static enum leaf_result accept_tcs(struct softsgx *s, uint64_t address)
{
    struct sgx_tcs tcs;
    if (enclave_peek(s, address, &tcs, sizeof(tcs)) < 0)
        return LEAF_GP;
    for (size_t i = 0; i < sizeof(tcs.reserved); i++)
        if (tcs.reserved[i])
            return LEAF_GP;
    if (tcs.flags || ((tcs.ossa | tcs.ofs_base | tcs.ogs_base) & ~SGX_PAGE_MASK) ||
        tcs.cssa >= tcs.nssa || tcs.aep || tcs.stage)
        return LEAF_GP;
    soft_lock(s);
    int code = tcs_insert(s, address, &tcs);
    soft_unlock(s);
    return code < 0 ? LEAF_GP : LEAF_DONE;
}

enum leaf_result enclu_eaccept(struct softsgx *s, struct leaf_regs *r, uint64_t *ret_fault,
                               bool *ret_fault_write)
{
    struct sgx_secinfo secinfo;
    enum leaf_result result = secinfo_and_page(s, r, &secinfo, ret_fault);
    if (result != LEAF_DONE)
        return result;
    *ret_fault = r->rcx;
    *ret_fault_write = false;
    if (r->rcx < SOFT_ELRANGE_START)
        return LEAF_PF;

    uint64_t type = SECINFO_TYPE(secinfo.flags), flags = secinfo.flags;
    bool pending = flags & SGX_SECINFO_PENDING, modified = flags & SGX_SECINFO_MODIFIED;
    if (!((type == SGX_PT_REG && !modified) ||
          ((type == SGX_PT_TCS || type == SGX_PT_TRIM) && !pending && modified)))
        return LEAF_GP;

    _Atomic uint8_t *entry = &s->epcm[r->rcx >> SGX_PAGE_SHIFT];
    for (;;) {
        uint8_t old = settled(s, r->rcx);
        if ((old & EPCM_TYPE) == EPCM_ABSENT)
            return LEAF_PF;
        uint8_t compared = EPCM_RWX | EPCM_PENDING | EPCM_MODIFIED | EPCM_TYPE;
        uint8_t want =
            (uint8_t)((flags & (EPCM_RWX | EPCM_PENDING | EPCM_MODIFIED)) | epcm_type_of(type));
        if ((old & compared) != want)
            return leaf_code(r, SGX_PAGE_ATTRIBUTES_MISMATCH);
        if (type == SGX_PT_TCS) {
            result = accept_tcs(s, r->rcx);
            if (result != LEAF_DONE)
                return result;
        }
        if (atomic_compare_exchange_strong(
                entry, &old, (uint8_t)(old & ~(EPCM_PENDING | EPCM_MODIFIED | EPCM_PR))))
            return leaf_code(r, SGX_SUCCESS);
    }
}

enum leaf_result enclu_emodpe(struct softsgx *s, struct leaf_regs *r, uint64_t *ret_fault,
                              bool *ret_fault_write)
{
    struct sgx_secinfo secinfo;
    enum leaf_result result = secinfo_and_page(s, r, &secinfo, ret_fault);
    if (result != LEAF_DONE)
        return result;
    /* "Check SECINFO: W without R" */
    if (!(secinfo.flags & SGX_SECINFO_R) && (secinfo.flags & SGX_SECINFO_W))
        return LEAF_GP;
    *ret_fault = r->rcx;
    *ret_fault_write = false;
    if (r->rcx < SOFT_ELRANGE_START)
        return LEAF_PF;
    _Atomic uint8_t *entry = &s->epcm[r->rcx >> SGX_PAGE_SHIFT];
    for (;;) {
        uint8_t old = settled(s, r->rcx);
        /* "VALID = 0 or PENDING or MODIFIED or not PT_REG: #PF" */
        if ((old & EPCM_TYPE) != EPCM_REG || (old & (EPCM_PENDING | EPCM_MODIFIED)))
            return LEAF_PF;
        if (atomic_compare_exchange_strong(entry, &old,
                                           (uint8_t)(old | (secinfo.flags & EPCM_RWX))))
            return LEAF_DONE;
    }
}

enum leaf_result enclu_eacceptcopy(struct softsgx *s, struct leaf_regs *r, uint64_t *ret_fault,
                                   bool *ret_fault_write)
{
    uint8_t page[SGX_PAGE_SIZE];
    struct sgx_secinfo secinfo;
    enum leaf_result result;
    if (((r->rcx | r->rdx) & ~SGX_PAGE_MASK) || !in_elrange(s, r->rcx, SGX_PAGE_SIZE) ||
        !in_elrange(s, r->rdx, SGX_PAGE_SIZE))
        return LEAF_GP;
    result = operand_read(s, r->rbx, SGX_ALIGN_SECINFO, &secinfo, sizeof(secinfo), ret_fault);
    if (result != LEAF_DONE)
        return result;
    result = operand_read(s, r->rdx, SGX_PAGE_SIZE, page, sizeof(page), ret_fault);
    if (result != LEAF_DONE)
        return result;
    if (secinfo_reserved(&secinfo) || SECINFO_TYPE(secinfo.flags) != SGX_PT_REG)
        return LEAF_GP;
    /* "W without R; PENDING, MODIFIED or PR in SECINFO" */
    if ((!(secinfo.flags & SGX_SECINFO_R) && (secinfo.flags & SGX_SECINFO_W)) ||
        (secinfo.flags & (SGX_SECINFO_PENDING | SGX_SECINFO_MODIFIED | SGX_SECINFO_PR)))
        return LEAF_GP;
    *ret_fault = r->rcx;
    *ret_fault_write = true;
    if (r->rcx < SOFT_ELRANGE_START)
        return LEAF_PF;

    _Atomic uint8_t *entry = &s->epcm[r->rcx >> SGX_PAGE_SHIFT];
    for (;;) {
        uint8_t old = settled(s, r->rcx);
        if ((old & EPCM_TYPE) == EPCM_ABSENT)
            return LEAF_PF;
        /* "the destination is not pending, or is modified, or not PT_REG with R and W" */
        if (old != EPCM_AUGED)
            return leaf_code(r, SGX_PAGE_ATTRIBUTES_MISMATCH);
        if (!atomic_compare_exchange_strong(entry, &old, EPCM_LOCKED))
            continue;
        int code = enclave_poke(s, r->rcx, page, sizeof(page));
        if (code < 0) {
            atomic_store(entry, old);
            return LEAF_PF;
        }
        atomic_store(entry, (uint8_t)(EPCM_REG | (secinfo.flags & EPCM_RWX)));
        return leaf_code(r, SGX_SUCCESS);
    }
}
