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
#include "abi/sgx.h"
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
/* Parent's side over a spawn slot. 0: *ret is the channel. -EACCES: the other is not what the edge names
 * (one log_error line, one OCALL_AUDIT_CHILD line); -EPIPE: the child's host process died or spoke nonsense. */
MUST_CHECK int attest_child(uint32_t slot, const struct attest_edge *edge, struct channel *ret);
/* Child's side. Never returns otherwise than with a channel: an enclave without an attested parent
 * panics ("this enclave starts only under its parent"). *ret_self: the parent is this same enclave
 * (its MRENCLAVE is ours). */
void attest_parent(uint32_t slot, struct channel *ret, bool *ret_self);

/*
 * How the hub knows what a child is, though it speaks with it only through the parent, which may have been taken over:
 * the hub draws a word and executes EREPORT for the enclave that the parent named, with the word as the last 16 bytes
 * of REPORTDATA. The REPORT travels without REPORTDATA. Its MAC is a CMAC whose last block is the word, under a
 * key that EGETKEY gives to enclaves of that measurement and those attributes alone: they compute the word from the MAC
 * (aes_cmac_last), nobody else can. The secret of the control channel is made of the word and of `secret`, which the parent
 * knows: a channel that works has an enclave of that measurement at its other end, chosen by that parent.
 *
 * What else the MAC covers, so that another value makes another word: all of the hub's REPORT; the cascade, the slot and the
 * pid (in REPORTDATA, which both sides fill in by themselves).
 */
#define ATTEST_WORD_SIZE 16
struct attest_ticket {
    uint8_t secret[CHANNEL_SECRET_SIZE];
    struct sgx_report challenge; /* REPORTDATA left out: zeros */
};
static_assert(sizeof(struct attest_ticket) == 32 + sizeof(struct sgx_report), "no padding");

/* The hub's side: a fresh ticket for the process that is to be pid, an enclave of that measurement; what the control
 * channel's keys are made of. */
void attest_ticket_new(const uint8_t mrenclave[static MANIFEST_HASH_SIZE], uint32_t slot,
                       int32_t pid, struct attest_ticket *ret,
                       uint8_t ret_secret[static CHANNEL_SECRET_SIZE]);
/* The child's: the same secret, if the ticket came whole and is for this enclave, slot and pid; another one otherwise. */
void attest_ticket_use(const struct attest_ticket *ticket, uint32_t slot, int32_t pid,
                       uint8_t ret_secret[static CHANNEL_SECRET_SIZE]);
