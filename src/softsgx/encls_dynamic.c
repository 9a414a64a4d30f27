/*
 * The SGX2 page operations as the Linux driver offers them: EMODPR, EMODT, EREMOVE, each followed
 * by ETRACK and the IPIs that flush every logical processor out of the enclave (SDM volume 3D,
 * "EMODPR—Restrict the Permissions of an EPC Page", "EMODT—Change the Type of an EPC Page",
 * "EREMOVE—Remove a page from the EPC", "ETRACK—Activates EBLOCK Checks"; <asm/sgx.h> for the
 * errors). EAUG is in epcm.c: page_demand. Tier: hosted, untrusted.
 *
 * Here the flush is mprotect itself: when it returns no thread uses the old permissions, so
 * tracking is always complete and EACCEPT never finds SGX_NOT_TRACKED.
 */
#include "softsgx/state.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int check_range(const struct softsgx *s, uint64_t offset, uint64_t page_count)
{
    if (!s->initialized || (offset & ~SGX_PAGE_MASK) || page_count == 0 ||
        page_count > s->size >> SGX_PAGE_SHIFT || offset < SOFT_ELRANGE_START ||
        !in_elrange(s, offset, page_count << SGX_PAGE_SHIFT))
        return -EINVAL;
    return 0;
}

/* Changes one entry; waits while an EACCEPTCOPY holds it. */
static int change(struct softsgx *s, uint64_t address, uint64_t argument,
                  int (*op)(uint8_t old, uint64_t argument, uint8_t *ret))
{
    _Atomic uint8_t *entry = &s->epcm[address >> SGX_PAGE_SHIFT];
    for (;;) {
        uint8_t old = atomic_load(entry), new;
        if (old == EPCM_LOCKED)
            return -EAGAIN; /* SGX_EPC_PAGE_CONFLICT: the driver gives up after some tries, too */
        int code = op(old, argument, &new);
        if (code < 0)
            return code;
        if (atomic_compare_exchange_weak(entry, &old, new))
            return 0;
    }
}

/* The three ioctls: page by page until one fails. */
static int each(struct softsgx *s, uint64_t offset, uint64_t page_count, uint64_t argument,
                int (*op)(uint8_t old, uint64_t argument, uint8_t *ret), bool discard,
                uint64_t *ret_done)
{
    *ret_done = 0;
    int code = check_range(s, offset, page_count);
    if (code < 0)
        return code;
    sigset_t old;
    uint64_t done = 0;
    soft_lock_host(s, &old);
    while (done < page_count && code == 0) {
        uint64_t address = offset + (done << SGX_PAGE_SHIFT);
        code = change(s, address, argument, op);
        if (code == 0)
            done++;
    }
    if (done && discard) {
        /* They lost their permissions with EMODT. An absent page reads as zeros when it comes back (EAUG). */
        (void)syscall(SYS_madvise, offset, done << SGX_PAGE_SHIFT, MADV_DONTNEED);
    } else if (done) {
        int narrowed = pages_narrow(s, offset, done);
        if (narrowed < 0)
            code = narrowed;
    }
    soft_unlock_host(s, &old);
    *ret_done = done;
    return code;
}

/* EMODPR. "IF EPCM is PENDING or MODIFIED: SGX_PAGE_NOT_MODIFIABLE; not PT_REG: #PF". */
static int emodpr(uint8_t old, uint64_t permissions, uint8_t *ret)
{
    if ((old & EPCM_TYPE) == EPCM_ABSENT)
        return -EFAULT;
    if ((old & EPCM_TYPE) != EPCM_REG || (old & (EPCM_PENDING | EPCM_MODIFIED)))
        return -EINVAL;
    *ret = (uint8_t)((old & ~EPCM_RWX) | (old & (uint8_t)permissions & EPCM_RWX) | EPCM_PR);
    return 0;
}

int softsgx_restrict(struct softsgx *s, uint64_t offset, uint64_t page_count,
                     uint64_t secinfo_permissions, uint64_t *ret_done)
{
    *ret_done = 0;
    if ((secinfo_permissions & ~SGX_SECINFO_RWX) ||
        ((secinfo_permissions & SGX_SECINFO_W) && !(secinfo_permissions & SGX_SECINFO_R)))
        return -EINVAL;
    return each(s, offset, page_count, secinfo_permissions, emodpr, false, ret_done);
}

/* EMODT. "PT_REG becomes PT_TCS or PT_TRIM, PT_TCS becomes PT_TRIM; PENDING or MODIFIED:
 * SGX_PAGE_NOT_MODIFIABLE; EPCM.R, W, X := 0". */
static int emodt(uint8_t old, uint64_t type, uint8_t *ret)
{
    uint8_t is = old & EPCM_TYPE;
    if (is == EPCM_ABSENT)
        return -EFAULT;
    if (old & (EPCM_PENDING | EPCM_MODIFIED))
        return -EINVAL;
    if (!((is == EPCM_REG && (type == SGX_PT_TCS || type == SGX_PT_TRIM)) ||
          (is == EPCM_TCS && type == SGX_PT_TRIM)))
        return -EINVAL;
    *ret = (uint8_t)((type == SGX_PT_TCS ? EPCM_TCS : EPCM_TRIM) | EPCM_MODIFIED);
    return 0;
}

int softsgx_modify_type(struct softsgx *s, uint64_t offset, uint64_t page_count, uint64_t page_type,
                        uint64_t *ret_done)
{
    *ret_done = 0;
    if (page_type != SGX_PT_TCS && page_type != SGX_PT_TRIM)
        return -EINVAL;
    return each(s, offset, page_count, page_type, emodt, false, ret_done);
}

/* The driver removes what the enclave has accepted as trimmed, nothing else. */
static int eremove(uint8_t old, uint64_t argument UNUSED, uint8_t *ret)
{
    if ((old & EPCM_TYPE) == EPCM_ABSENT)
        return -EFAULT;
    if ((old & EPCM_TYPE) != EPCM_TRIM || (old & EPCM_MODIFIED))
        return -EPERM;
    *ret = EPCM_ABSENT;
    return 0;
}

int softsgx_remove(struct softsgx *s, uint64_t offset, uint64_t page_count, uint64_t *ret_done)
{
    return each(s, offset, page_count, 0, eremove, true, ret_done);
}
