/*
 * How a parent admits a child, and a child its parent: local attestation (SDM EREPORT, EGETKEY) bound to an
 * X25519 exchange. docs/process-tree.md draws it. Tier: enclave.
 *
 *   child  -> parent  M0  child's public key
 *   parent -> child   M1  parent's public key, edge, spawn number, REPORT for the child over
 *                         SHA-256("SXPYTREE" tag 32 bytes, role parent, both keys, edge, cascade id, spawn
 *                         number)
 *   child  -> parent  M2  REPORT for the parent over the same with role child; key confirmation
 *   parent -> child   M3  key confirmation; from here on the channel's messages
 *
 * M0-M3 are plain messages in cells of the spawn slot; the channel's keys are
 * HKDF(X25519, SHA-256(transcript)). Fresh keys for each spawn; a parent's state admits one child once.
 *
 * What each checks of the other's REPORT (and each of itself at boot): MAC; MRENCLAVE (the parent of the
 * child: the edge's, or its own for a self edge); MRSIGNER = manifest's; cascade id (in REPORTDATA); all
 * attribute FLAGS equal to its own (DEBUG among them), XFRM within the profile, MISCSELECT, ISVPRODID,
 * ISVSVN >= own. A reflected report fails by role and keys, an old one by keys.
 */
#pragma once

#include <stdint.h>

#include "abi/manifest.h"
#include "core/attr.h"
#include "tree/channel.h"

struct attest_edge {
    uint8_t mrenclave[MANIFEST_HASH_SIZE]; /* whom the parent expects */
    uint64_t spawn_number;                 /* the parent's own count */
};

/* This enclave's REPORT of itself agrees with its manifest (signer, attributes of the profile). Panics
 * otherwise: at boot, before anything else of the tree. */
void attest_self(void);
/* This enclave's MRENCLAVE (MANIFEST_HASH_SIZE bytes), after attest_self(). */
const uint8_t *attest_mrenclave(void);
/* This enclave's MRENCLAVE, after attest_self(). */
const uint8_t *attest_mrenclave(void);
/* Parent's side over a spawn slot. 0: *ret is the channel. -EACCES: the other is not what the edge names
 * (one log_error line, one OCALL_AUDIT_CHILD line); -EPIPE: the child's host process died or spoke nonsense. */
MUST_CHECK int attest_child(uint32_t slot, const struct attest_edge *edge, struct channel *ret);
/* Child's side. Never returns otherwise than with a channel: an enclave without an attested parent
 * panics ("this enclave starts only under its parent"). *ret_self: the parent is this same enclave
 * (its MRENCLAVE is ours). */
void attest_parent(uint32_t slot, struct channel *ret, bool *ret_self);
