/*
 * SIGSTRUCT: what the signer says of an enclave, and how it is checked (SDM volume 3D, "Enclave
 * Signature Structure", EINIT). Tier: hosted. All functions are thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/sgx.h"
#include "core/attr.h"
#include "signer/keys.h"
#include "util/err.h"

/* What goes into a SIGSTRUCT besides the key. */
struct sigstruct_params {
    uint32_t date; /* BCD: 0x20261122 */
    uint32_t sw_defined;
    uint32_t misc_select;
    uint32_t misc_mask;
    struct sgx_attributes attributes;
    struct sgx_attributes attributes_mask;
    uint8_t enclave_hash[SGX_HASH_SIZE];
    uint16_t isv_prod_id;
    uint16_t isv_svn;
};

/* The profile's values, all else zero: 64-bit, DEBUG as asked, EXINFO; the masks cover every bit of
 * FLAGS and MISCSELECT, because MRENCLAVE binds neither, and every bit of XFRM but AVX's and
 * AVX-512's. The caller sets date, hash and versions. */
void sigstruct_profile(struct sigstruct_params *ret, bool debug);

/* The day in SOURCE_DATE_EPOCH (seconds, decimal), or today's (UTC). -EINVAL for a value of that
 * variable that is no such number or lies outside the years 1970 to 9999. */
MUST_CHECK int sigstruct_date(uint32_t *ret_bcd, struct err *err);

/* Signs; the result passes sigstruct_check. The same input and key give the same bytes. */
MUST_CHECK int sigstruct_build(const struct sigstruct_params *params, const struct signing_key *key,
                               struct sgx_sigstruct *ret, struct err *err);

/* All that can be known without the enclave: fixed fields, reserved bytes, key, date, signature,
 * Q1 and Q2. -EBADMSG and the reason. */
MUST_CHECK int sigstruct_check(const struct sgx_sigstruct *s, struct err *err);
/* Beyond that: what the library OS relies on (see sigstruct_profile). -EBADMSG and the reason. */
MUST_CHECK int sigstruct_check_profile(const struct sgx_sigstruct *s, struct err *err);

/* Reads, then both checks. On failure *ret is untouched. */
MUST_CHECK int sigstruct_load(int dir_fd, const char *path, struct sgx_sigstruct *ret,
                              struct err *err);

/* MRSIGNER: SHA-256 of the modulus. */
void sigstruct_mrsigner(const struct sgx_sigstruct *s, uint8_t ret[static SGX_HASH_SIZE]);
