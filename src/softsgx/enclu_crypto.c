/*
 * EREPORT and EGETKEY (SDM volume 3D, "EREPORT—Create a Cryptographic Report of the Enclave",
 * "EGETKEY—Retrieves a Cryptographic Key", "Key Derivation"), in the pseudo-code's order. The CPU's
 * fuses are a per-user secret: XDG data folder/sgxpy/softsgx.key, 32 bytes, 0600. Tier: hosted,
 * untrusted; the leaves run in signal handlers.
 */
#include "softsgx/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "core/aes_cmac.h"
#include "core/bytes.h"
#include "util/fs.h"

#define KEY_FILE "softsgx.key"

/* "TMP_KEYDEPENDENCIES": what a key is made of. Private to this device: the CPU's own layout and
 * keys are not public. */
struct PACKED key_dependencies {
    uint16_t key_name, isv_prod_id, isv_svn, config_svn, key_policy, cet_attributes;
    uint32_t misc_select, misc_mask;
    struct sgx_attributes attributes, attributes_mask;
    uint8_t mrenclave[SGX_HASH_SIZE], mrsigner[SGX_HASH_SIZE], key_id[SGX_KEYID_SIZE];
    uint8_t config_id[SGX_CONFIGID_SIZE], family_id[16], ext_prod_id[16];
    uint8_t cpu_svn[SGX_CPUSVN_SIZE];
    uint8_t seal_fuses[16], owner_epoch[16];
};

static const uint8_t g_cpu_svn[SGX_CPUSVN_SIZE] = { 1 };

/* ---- the per-user secret -------------------------------------------------------------------- */

static int key_folder(char *path, size_t size)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n = data && data[0] == '/'   ? snprintf(path, size, "%s/sgxpy", data)
            : home && home[0] == '/' ? snprintf(path, size, "%s/.local/share/sgxpy", home)
                                     : -1;
    return n < 0 || (size_t)n >= size ? -ENOENT : 0;
}

int soft_keys_load(struct softsgx *s, struct err *err)
{
    char folder[3072], path[4096];
    if (key_folder(folder, sizeof(folder)) < 0)
        return err_set(err, -ENOENT, "software SGX device: neither HOME nor XDG_DATA_HOME is set");
    (void)snprintf(path, sizeof(path), "%s/%s", folder, KEY_FILE);

    for (int tries = 0; tries < 2; tries++) {
        CLEANUP(free_p) char *content = NULL;
        size_t size = 0;
        int code = file_load(AT_FDCWD, path, sizeof(s->root_key), &content, &size, err);
        if (code == 0) {
            if (size != sizeof(s->root_key))
                return err_set(err, -EBADMSG, "'%s' holds %zu of %zu bytes", path, size,
                               sizeof(s->root_key));
            memcpy(s->root_key, content, sizeof(s->root_key));
            explicit_bzero(content, size);
            break;
        }
        if (code != -ENOENT || tries)
            return err_wrap(err, "software SGX device's key");
        uint8_t fresh[sizeof(s->root_key)];
        if (getrandom(fresh, sizeof(fresh), 0) != (ssize_t)sizeof(fresh))
            return err_set(err, -EIO, "software SGX device's key: no random bytes");
        code = dir_make(folder, 0700, err);
        if (code == 0)
            code = file_store(AT_FDCWD, path, fresh, sizeof(fresh), 0600, 1, err);
        explicit_bzero(fresh, sizeof(fresh));
        if (code < 0 && code != -EEXIST) /* another process may have been first */
            return err_wrap(err, "software SGX device's key");
    }
    /* CR_REPORT_KEYID: new at each power-up. */
    if (getrandom(s->report_key_id, sizeof(s->report_key_id), 0) !=
        (ssize_t)sizeof(s->report_key_id))
        return err_set(err, -EIO, "software SGX device: no random bytes");
    return 0;
}

static void derive(const struct softsgx *s, const struct key_dependencies *d,
                   uint8_t ret[static SGX_KEY_SIZE])
{
    aes_cmac(s->root_key, d, sizeof(*d), ret);
}

/* ---- EREPORT -------------------------------------------------------------------------------- */

/* The key that the enclave with this identity gets by EGETKEY(REPORT_KEY) for key_id. */
static void report_key(const struct softsgx *s, const uint8_t *mrenclave,
                       const struct sgx_attributes *attributes, uint32_t misc_select,
                       uint8_t cet_attributes, const uint8_t *config_id, uint16_t config_svn,
                       const uint8_t *key_id, uint8_t *ret)
{
    struct key_dependencies d = { .key_name = SGX_KEY_REPORT };
    d.attributes = *attributes;
    d.misc_select = misc_select;
    d.cet_attributes = cet_attributes;
    d.config_svn = config_svn;
    memcpy(d.config_id, config_id, sizeof(d.config_id));
    memcpy(d.mrenclave, mrenclave, sizeof(d.mrenclave));
    memcpy(d.key_id, key_id, sizeof(d.key_id));
    memcpy(d.cpu_svn, g_cpu_svn, sizeof(d.cpu_svn));
    memcpy(d.owner_epoch, s->root_key + SGX_KEY_SIZE, sizeof(d.owner_epoch));
    derive(s, &d, ret);
    bytes_wipe(&d, sizeof(d));
}

static enum leaf_result result_write(struct softsgx *s, uint64_t address, const void *data,
                                     size_t size, uint64_t *ret_fault, bool *ret_fault_write)
{
    if (enclave_write(s, address, data, size))
        return LEAF_DONE;
    *ret_fault = address;
    *ret_fault_write = true;
    return LEAF_PF;
}

enum leaf_result enclu_ereport(struct softsgx *s, struct leaf_regs *r, uint64_t *ret_fault,
                               bool *ret_fault_write)
{
    struct sgx_targetinfo target;
    struct sgx_report report = { 0 };
    enum leaf_result result;

    if ((r->rdx & (SGX_ALIGN_REPORT - 1)) || !in_elrange(s, r->rdx, sizeof(report)))
        return LEAF_GP;
    result = operand_read(s, r->rbx, SGX_ALIGN_TARGETINFO, &target, sizeof(target), ret_fault);
    if (result != LEAF_DONE)
        return result;
    result = operand_read(s, r->rcx, SGX_ALIGN_REPORTDATA, report.report_data,
                          sizeof(report.report_data), ret_fault);
    if (result != LEAF_DONE)
        return result;

    memcpy(report.cpu_svn, g_cpu_svn, sizeof(report.cpu_svn));
    report.misc_select = s->secs.misc_select;
    report.cet_attributes = s->secs.cet_attributes;
    memcpy(report.isv_ext_prod_id, s->isv_ext_prod_id, sizeof(report.isv_ext_prod_id));
    report.attributes = s->secs.attributes;
    memcpy(report.mrenclave, s->secs.mrenclave, sizeof(report.mrenclave));
    memcpy(report.mrsigner, s->secs.mrsigner, sizeof(report.mrsigner));
    memcpy(report.config_id, s->secs.config_id, sizeof(report.config_id));
    report.isv_prod_id = s->secs.isv_prod_id;
    report.isv_svn = s->secs.isv_svn;
    report.config_svn = s->secs.config_svn;
    memcpy(report.isv_family_id, s->isv_family_id, sizeof(report.isv_family_id));
    memcpy(report.key_id, s->report_key_id, sizeof(report.key_id));

    uint8_t key[SGX_KEY_SIZE];
    report_key(s, target.mrenclave, &target.attributes, target.misc_select, target.cet_attributes,
               target.config_id, target.config_svn, report.key_id, key);
    aes_cmac(key, &report, SGX_REPORT_MAC_COVERS, report.mac);
    bytes_wipe(key, sizeof(key));
    return result_write(s, r->rdx, &report, sizeof(report), ret_fault, ret_fault_write);
}

/* ---- EGETKEY -------------------------------------------------------------------------------- */

static enum leaf_result key_code(struct leaf_regs *r, uint64_t code)
{
    r->rax = code;
    r->zf = code != 0;
    r->sets_flags = true;
    return LEAF_DONE;
}

/* SEAL_KEY: "ATTRIBUTES and MISCSELECT masked; identity by KEYPOLICY". */
static void seal_dependencies(const struct softsgx *s, const struct sgx_keyrequest *q,
                              struct key_dependencies *d)
{
    uint64_t always = SGX_ATTR_INIT | SGX_ATTR_DEBUG; /* "REQUIRED_SEALING_MASK" */
    d->attributes_mask = q->attributes_mask;
    d->attributes.flags = s->secs.attributes.flags & (q->attributes_mask.flags | always);
    d->attributes.xfrm = s->secs.attributes.xfrm & q->attributes_mask.xfrm;
    d->misc_select = s->secs.misc_select & q->misc_mask;
    d->misc_mask = ~q->misc_mask;
    d->key_policy = q->key_policy;
    d->isv_svn = q->isv_svn;
    memcpy(d->key_id, q->key_id, sizeof(d->key_id));
    memcpy(d->cpu_svn, q->cpu_svn, sizeof(d->cpu_svn));
    if (q->key_policy & SGX_KEYPOLICY_MRENCLAVE)
        memcpy(d->mrenclave, s->secs.mrenclave, sizeof(d->mrenclave));
    if (q->key_policy & SGX_KEYPOLICY_MRSIGNER)
        memcpy(d->mrsigner, s->secs.mrsigner, sizeof(d->mrsigner));
    if (!(q->key_policy & SGX_KEYPOLICY_NOISVPRODID))
        d->isv_prod_id = s->secs.isv_prod_id;
    if (q->key_policy & SGX_KEYPOLICY_CONFIGID) {
        memcpy(d->config_id, s->secs.config_id, sizeof(d->config_id));
        d->config_svn = q->config_svn;
    }
    if (q->key_policy & SGX_KEYPOLICY_ISVFAMILYID)
        memcpy(d->family_id, s->isv_family_id, sizeof(d->family_id));
    if (q->key_policy & SGX_KEYPOLICY_ISVEXTPRODID)
        memcpy(d->ext_prod_id, s->isv_ext_prod_id, sizeof(d->ext_prod_id));
    memset(d->seal_fuses, 0x5e, sizeof(d->seal_fuses));
    memcpy(d->owner_epoch, s->root_key + SGX_KEY_SIZE, sizeof(d->owner_epoch));
}

enum leaf_result enclu_egetkey(struct softsgx *s, struct leaf_regs *r, uint64_t *ret_fault,
                               bool *ret_fault_write)
{
    struct sgx_keyrequest q;
    uint8_t key[SGX_KEY_SIZE];
    uint16_t kss_policies = SGX_KEYPOLICY_NOISVPRODID | SGX_KEYPOLICY_CONFIGID |
                            SGX_KEYPOLICY_ISVFAMILYID | SGX_KEYPOLICY_ISVEXTPRODID;

    if ((r->rcx & (SGX_ALIGN_KEY - 1)) || !in_elrange(s, r->rcx, sizeof(key)))
        return LEAF_GP;
    enum leaf_result result =
        operand_read(s, r->rbx, SGX_ALIGN_KEYREQUEST, &q, sizeof(q), ret_fault);
    if (result != LEAF_DONE)
        return result;
    bool reserved = q.reserved1[0] != 0;
    for (size_t i = 0; i < sizeof(q.reserved2); i++)
        reserved |= q.reserved2[i] != 0;
    if (reserved || (q.key_policy & SGX_KEYPOLICY_RESERVED))
        return LEAF_GP;
    if ((q.key_policy & kss_policies) && !(s->secs.attributes.flags & SGX_ATTR_KSS))
        return LEAF_GP;

    struct key_dependencies d = { .key_name = q.key_name };
    switch (q.key_name) {
    case SGX_KEY_SEAL:
        if (memcmp(q.cpu_svn, g_cpu_svn, sizeof(q.cpu_svn)) > 0)
            return key_code(r, SGX_INVALID_CPUSVN);
        if (q.isv_svn > s->secs.isv_svn)
            return key_code(r, SGX_INVALID_ISVSVN);
        seal_dependencies(s, &q, &d);
        derive(s, &d, key);
        break;
    case SGX_KEY_REPORT:
        report_key(s, s->secs.mrenclave, &s->secs.attributes, s->secs.misc_select,
                   s->secs.cet_attributes, s->secs.config_id, s->secs.config_svn, q.key_id, key);
        break;
    case SGX_KEY_EINITTOKEN:
        if (!(s->secs.attributes.flags & SGX_ATTR_EINITTOKENKEY))
            return key_code(r, SGX_INVALID_ATTRIBUTE);
        return key_code(r, SGX_INVALID_KEYNAME); /* no launch enclave runs here */
    case SGX_KEY_PROVISION:
    case SGX_KEY_PROVISION_SEAL:
        if (!(s->secs.attributes.flags & SGX_ATTR_PROVISIONKEY))
            return key_code(r, SGX_INVALID_ATTRIBUTE);
        return key_code(r, SGX_INVALID_KEYNAME); /* nothing can be provisioned to software */
    default: return key_code(r, SGX_INVALID_KEYNAME);
    }
    result = result_write(s, r->rcx, key, sizeof(key), ret_fault, ret_fault_write);
    bytes_wipe(key, sizeof(key));
    bytes_wipe(&d, sizeof(d));
    return result == LEAF_DONE ? key_code(r, SGX_SUCCESS) : result;
}
