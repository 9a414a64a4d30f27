/*
 * Jump exits. An ENCLU site of the library OS is 16 bytes; the device writes
 *
 *     49 bb imm64    movabs $entry, %r11      (soft_leaf_table, one entry a site)
 *     41 ff e3       jmp *%r11
 *
 * over it, in memory only: EADD has measured the site as it was. The thunks in entry.S do the
 * common cases of EEXIT, EACCEPT, EMODPE and EACCEPTCOPY; the rest raises #BP there and is emulated
 * as if the site itself had trapped. Tier: hosted, untrusted; all but softsgx_enclu_sites runs in
 * handlers.
 */
#include "softsgx/state.h"

#include <errno.h>
#include <string.h>

#define JUMP_SIZE 13

uint64_t g_soft_sites[SOFT_SITES_MAX];

static int site_check(struct softsgx *s, uint64_t address)
{
    uint8_t code[SOFT_SITE_SIZE];
    if (address < SOFT_ELRANGE_START || !in_elrange(s, address, sizeof(code)) ||
        !(epcm_effective(epcm_get(s, address)) & SGX_SECINFO_X) ||
        !(epcm_effective(epcm_get(s, address + sizeof(code) - 1)) & SGX_SECINFO_X) ||
        enclave_peek(s, address, code, sizeof(code)) < 0 || memcmp(code, "\x0f\x01\xd7", 3) != 0)
        return -EINVAL;
    return 0;
}

int softsgx_enclu_sites(struct softsgx *s, const uint64_t *addresses, size_t count, struct err *err)
{
    if (!s->initialized || s->site_count)
        return err_set(err, -EINVAL, "ENCLU sites are told once, after EINIT");
    if (count > SOFT_SITES_MAX)
        return err_set(err, -EINVAL, "%zu ENCLU sites, %d are possible", count, SOFT_SITES_MAX);
    for (size_t i = 0; i < count; i++)
        if (site_check(s, addresses[i]) < 0)
            return err_set(err, -EINVAL, "0x%llx is no ENCLU site",
                           (unsigned long long)addresses[i]);
    if (s->options.poison)
        return 0;

    int code = stage_open(s);
    if (code < 0)
        return err_set(err, code, "memory for EACCEPTCOPY");
    for (size_t i = 0; i < count; i++) {
        uint8_t jump[JUMP_SIZE] = { 0x49, 0xbb, [10] = 0x41, 0xff, 0xe3 };
        uint64_t entry = (uint64_t)soft_leaf_table + (i << SOFT_LEAF_SHIFT);
        memcpy(jump + 2, &entry, sizeof(entry));
        code = enclave_poke(s, addresses[i], jump, sizeof(jump));
        if (code < 0)
            return err_set(err, code, "rewriting the ENCLU site at 0x%llx",
                           (unsigned long long)addresses[i]);
        g_soft_sites[i] = addresses[i];
    }
    s->site_count = (uint32_t)count;
    g_soft_epcm = s->epcm;
    g_soft_size = s->size;
    return 0;
}

uint64_t site_around(const struct softsgx *s, uint64_t rip)
{
    for (uint32_t i = 0; i < s->site_count; i++)
        if (rip >= g_soft_sites[i] && rip - g_soft_sites[i] < SOFT_SITE_SIZE)
            return g_soft_sites[i];
    return 0;
}

/* ---- thunks are atomic ---------------------------------------------------------------------- */

static uint64_t at(const char *label)
{
    return (uint64_t)label;
}

static void done(greg_t *r, uint64_t next, bool returns_code)
{
    r[REG_RIP] = (greg_t)next;
    if (returns_code) {
        r[REG_RAX] = 0;
        r[REG_EFL] &= ~(greg_t)0x8d5;
    }
}

static void undone(greg_t *r, uint64_t table_offset, uint32_t leaf)
{
    r[REG_RIP] = (greg_t)g_soft_sites[table_offset >> SOFT_LEAF_SHIFT];
    if (leaf)
        r[REG_RAX] = leaf;
}

/* EACCEPTCOPY from where it may have the lock. */
static void copy_make_atomic(greg_t *r, uint64_t rip, uint64_t from_r11)
{
    bool zf = r[REG_EFL] & 0x40;
    bool happened = (rip == at(soft_copy_cas) && zf) ||
                    (rip >= at(soft_copy_count) && rip < at(soft_copy_refused));
    if (happened && rip <= at(soft_copy_count))
        g_soft_stage_count++;
    if (rip == at(soft_copy_locked) ? zf
                                    : rip < at(soft_copy_released) || rip == at(soft_copy_refused))
        atomic_store(&g_soft_lock, 0);
    if (happened)
        done(r, g_soft_sites[from_r11 >> SOFT_LEAF_SHIFT] + SOFT_SITE_SIZE, true);
    else
        undone(r, from_r11, SGX_EACCEPTCOPY);
}

void thunk_make_atomic(greg_t *r)
{
    uint64_t rip = (uint64_t)r[REG_RIP];
    uint64_t from_r11 = (uint64_t)r[REG_R11] - at(soft_leaf_table);
    bool zf = r[REG_EFL] & 0x40;

    if (rip >= at(soft_copy_locked) && rip < at(soft_copy_end))
        copy_make_atomic(r, rip, from_r11);
    else if (rip >= at(soft_accept_cas) && rip < at(soft_accept_end) &&
             (rip > at(soft_accept_cas) || zf))
        done(r, (uint64_t)r[REG_R8], true);
    else if (rip >= at(soft_modpe_cas) && rip < at(soft_modpe_end) &&
             (rip > at(soft_modpe_cas) || zf))
        done(r, (uint64_t)r[REG_R8], false);
    else if (rip >= at(soft_fast_copy))
        undone(r, from_r11, SGX_EACCEPTCOPY);
    else if (rip >= at(soft_fast_modpe))
        undone(r, from_r11, SGX_EMODPE);
    else if (rip >= at(soft_fast_accept))
        undone(r, from_r11, SGX_EACCEPT);
    else
        undone(r, from_r11, 0);
}
