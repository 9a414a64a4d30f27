/*
 * Admission by local attestation (attest.h). Tier: enclave. Sources: SDM vol. 3D, EREPORT, EGETKEY,
 * "REPORT" and "KEYREQUEST"; RFC 7748 (X25519), RFC 5869 (HKDF), SP 800-38B (CMAC: tickets).
 *
 * What is said, and what binds it
 *   M0  key of the child
 *   M1  key of the parent, edge, spawn number, REPORT(parent -> child)
 *   M2  REPORT(child -> parent), what the child confirms
 *   M3  what the parent confirms
 * Both REPORTs hold the SHA-256 of all that precedes them (keys, edge, cascade, number) and of the
 * role of who made them; and MACs that only the named target can check. The keys are drawn for this
 * spawn alone, so a REPORT of another spawn, or one's own come back, does not fit. Keys and
 * confirmations are HKDF(salt SHA-256(M0, M1, REPORT of M2), X25519(...), "SXPYTREE attest") so
 * they agree only if every byte arrived as it was sent.
 *
 * Nothing is used before its check: of M0 and M1 only keys and target identity enter computations,
 * and only such as fail later if they were wrong.
 */
#include "tree/attest.h"

#include <asm/errno.h>

#include "abi/sgx.h"
#include "arch/cpu.h"
#include "arch/crypto.h"
#include "arch/string.h"
#include "border/border.h"
#include "core/aes_cmac.h"
#include "core/bytes.h"
#include "core/sha256.h"
#include "core/x25519.h"
#include "process/process.h"

/* Tests switch single checks off, to show that each attack would succeed without its check. */
#ifndef ATTEST_CHECKS
#define ATTEST_CHECKS(check) true
#endif
enum check {
    CHECK_MAC,
    CHECK_MRENCLAVE,
    CHECK_MRSIGNER,
    CHECK_FLAGS,
    CHECK_XFRM,
    CHECK_MISC,
    CHECK_PRODUCT,
    CHECK_VERSION,
    CHECK_DATA,
    CHECK_ROLE,
    CHECK_EDGE,
    CHECK_CONFIRM,
    CHECK_POINT,
    CHECK_WORD,
};

enum role { ROLE_PARENT = 1, ROLE_CHILD = 2 };

#define TAG_SIZE     32
#define CONFIRM_SIZE 32

/* First in the hash, and the second half of REPORTDATA: no program gets a REPORT with it
 * (/dev/attestation takes REPORTDATA from programs, and must refuse this half). */
static const uint8_t g_tag[TAG_SIZE] = "SXPYTREE";

struct message0 {
    uint8_t key[X25519_SIZE];
};
struct message1 {
    uint8_t key[X25519_SIZE];
    struct attest_edge edge;
    struct sgx_report report;
};
struct message2 {
    struct sgx_report report;
    uint8_t confirm[CONFIRM_SIZE];
};
struct message3 {
    uint8_t confirm[CONFIRM_SIZE];
};
static_assert(sizeof(struct attest_edge) == 40, "no padding");
static_assert(sizeof(struct message1) == 32 + 40 + sizeof(struct sgx_report), "no padding");
static_assert(sizeof(struct message1) % 8 == 0 && sizeof(struct message2) % 8 == 0, "words");

/* What one side knows; wiped at the end. */
struct exchange {
    struct message0 m0;
    struct message1 m1;
    struct message2 m2;
    struct message3 m3;
    uint8_t scalar[X25519_SIZE], shared[X25519_SIZE];
    struct {
        uint8_t secret[CHANNEL_SECRET_SIZE];
        uint8_t by_child[CONFIRM_SIZE], by_parent[CONFIRM_SIZE];
    } keys;
};

static void exchange_wipe(struct exchange *e)
{
    bytes_wipe(e, sizeof(*e));
}

/* This enclave's REPORT for itself. */
static struct sgx_report g_self;

const uint8_t *attest_mrenclave(void)
{
    return g_self.mrenclave;
}

/* --- the CPU's part
 * ----------------------------------------------------------------------------------- */

/* REPORT for an enclave of that identity; signer and versions of the target do not enter its key.
 */
static void report_for(const uint8_t mrenclave[static SGX_HASH_SIZE],
                       const struct sgx_report *identity,
                       const uint8_t data[static SGX_REPORTDATA_SIZE], struct sgx_report *ret)
{
    struct sgx_targetinfo ALIGNED(512) target = {
        .attributes = identity->attributes,
        .cet_attributes = identity->cet_attributes,
        .config_svn = identity->config_svn,
        .misc_select = identity->misc_select,
    };
    struct {
        struct sgx_report report;
        uint8_t padding[512 - sizeof(struct sgx_report)];
    } ALIGNED(512) out;
    uint8_t ALIGNED(128) report_data[SGX_REPORTDATA_SIZE];

    memcpy(target.mrenclave, mrenclave, sizeof(target.mrenclave));
    memcpy(target.config_id, identity->config_id, sizeof(target.config_id));
    memcpy(report_data, data, sizeof(report_data));
    enclu_ereport(&target, report_data, &out.report);
    *ret = out.report;
}

/* What the CPU makes the MACs of REPORTs for this enclave with. ret: 16-byte aligned; the caller wipes it. */
static void report_key(const struct sgx_report *report, uint8_t ret[static SGX_KEY_SIZE])
{
    struct sgx_keyrequest ALIGNED(512) request = { .key_name = SGX_KEY_REPORT };
    memcpy(request.key_id, report->key_id, sizeof(request.key_id));
    if (enclu_egetkey(&request, ret))
        panic("EGETKEY gives no REPORT key");
}

/* Was it made on this CPU for this enclave? */
static bool mac_right(const struct sgx_report *report)
{
    uint8_t ALIGNED(16) key[SGX_KEY_SIZE];
    uint8_t mac[SGX_MAC_SIZE];

    report_key(report, key);
    island_cmac(key, report, SGX_REPORT_MAC_COVERS, mac);
    bytes_wipe(key, sizeof(key));
    bool right = bytes_equal_ct(mac, report->mac, sizeof(mac));
    bytes_wipe(mac, sizeof(mac));
    return right;
}

static bool xfrm_right(uint64_t xfrm)
{
    return (xfrm & SGX_XFRM_LEGACY) == SGX_XFRM_LEGACY && !(xfrm & ~PROFILE_XFRM);
}

void attest_self(void)
{
    const struct manifest_node *node = process_node();
    struct sgx_report nobody = { 0 };
    uint8_t data[SGX_REPORTDATA_SIZE] = { 0 };
    uint64_t flags = SGX_ATTR_INIT | SGX_ATTR_MODE64BIT;
    if (node->flags & MANIFEST_INSECURE_DEBUG)
        flags |= SGX_ATTR_DEBUG;

    report_for(nobody.mrenclave, &nobody, data, &g_self);
    if (memcmp(g_self.mrsigner, node->mrsigner, sizeof(g_self.mrsigner)) != 0)
        panic("this enclave was signed with another key than its manifest names");
    if (g_self.attributes.flags != flags)
        panic("this enclave runs with attributes %lx, its manifest asks for %lx",
              g_self.attributes.flags, flags);
    if (!xfrm_right(g_self.attributes.xfrm) || g_self.misc_select != PROFILE_MISC_SELECT)
        panic(
            "this enclave runs with XFRM %lx and MISCSELECT %x, which its library OS does not know",
            g_self.attributes.xfrm, g_self.misc_select);
}

/* --- what both sides do
 * --------------------------------------------------------------------------------- */

static void report_data(const struct exchange *e, enum role role,
                        uint8_t ret[static SGX_REPORTDATA_SIZE])
{
    struct {
        uint8_t tag[TAG_SIZE];
        uint64_t role;
        uint8_t child[X25519_SIZE], parent[X25519_SIZE];
        struct attest_edge edge;
        uint8_t cascade[MANIFEST_HASH_SIZE];
    } bound = { .role = ATTEST_CHECKS(CHECK_ROLE) ? role : 0, .edge = e->m1.edge };
    static_assert(sizeof(bound) == 32 + 8 + 64 + 40 + 32, "no padding");

    memcpy(bound.tag, g_tag, sizeof(bound.tag));
    memcpy(bound.child, e->m0.key, sizeof(bound.child));
    memcpy(bound.parent, e->m1.key, sizeof(bound.parent));
    memcpy(bound.cascade, process_node()->cascade_id, sizeof(bound.cascade));
    island_sha256(&bound, sizeof(bound), ret);
    memcpy(ret + SGX_HASH_SIZE, g_tag, sizeof(g_tag));
}

/* NULL, or why the REPORT of who claims that role is refused. mrenclave: NULL: any of the cascade.
 */
static const char *refusal(const struct exchange *e, enum role role,
                           const struct sgx_report *report, const uint8_t *mrenclave)
{
    uint8_t data[SGX_REPORTDATA_SIZE];
    report_data(e, role, data);

    if (ATTEST_CHECKS(CHECK_MAC) && !mac_right(report))
        return "its REPORT was not made for this enclave on this CPU";
    if (ATTEST_CHECKS(CHECK_MRENCLAVE) && mrenclave &&
        memcmp(report->mrenclave, mrenclave, sizeof(report->mrenclave)) != 0)
        return "it has another MRENCLAVE";
    if (ATTEST_CHECKS(CHECK_MRSIGNER) &&
        memcmp(report->mrsigner, process_node()->mrsigner, sizeof(report->mrsigner)) != 0)
        return "it has another signer";
    if (ATTEST_CHECKS(CHECK_FLAGS) && report->attributes.flags != g_self.attributes.flags)
        return (report->attributes.flags ^ g_self.attributes.flags) & SGX_ATTR_DEBUG
                   ? "one is a DEBUG enclave, the other is not"
                   : "it has other attributes";
    if (ATTEST_CHECKS(CHECK_XFRM) && !xfrm_right(report->attributes.xfrm))
        return "it has an XFRM outside the profile";
    if (ATTEST_CHECKS(CHECK_MISC) && (report->misc_select != g_self.misc_select ||
                                      report->cet_attributes != g_self.cet_attributes))
        return "it has another MISCSELECT";
    if (ATTEST_CHECKS(CHECK_PRODUCT) && report->isv_prod_id != g_self.isv_prod_id)
        return "it has another ISVPRODID";
    if (ATTEST_CHECKS(CHECK_VERSION) && report->isv_svn < g_self.isv_svn)
        return "its ISVSVN is too old";
    if (ATTEST_CHECKS(CHECK_DATA) && !bytes_equal_ct(report->report_data, data, sizeof(data)))
        return "its REPORT is of another start, another cascade or the other role";
    return NULL;
}

static void draw_key(struct exchange *e, uint8_t ret_public[static X25519_SIZE])
{
    cpu_random(e->scalar, sizeof(e->scalar));
    x25519_public(e->scalar, ret_public);
}

/* What both sides can compute from both keys. False if the peer's point is one of those that make
 * it zero whatever the scalar. */
static bool agree(struct exchange *e, const uint8_t peer[static X25519_SIZE])
{
    int r = x25519(e->scalar, peer, e->shared);
    bytes_wipe(e->scalar, sizeof(e->scalar));
    return r == 0 || !ATTEST_CHECKS(CHECK_POINT);
}

/* After M2's REPORT is known. */
static void derive(struct exchange *e)
{
    struct {
        struct message0 m0;
        struct message1 m1;
        struct sgx_report report;
    } transcript = { e->m0, e->m1, e->m2.report };
    static_assert(sizeof(transcript) ==
                      sizeof(struct message0) + sizeof(struct message1) + sizeof(struct sgx_report),
                  "no padding");
    static const char info[] = "SXPYTREE attest";
    uint8_t salt[SHA256_SIZE];

    island_sha256(&transcript, sizeof(transcript), salt);
    island_hkdf(salt, sizeof(salt), e->shared, sizeof(e->shared), info, sizeof(info) - 1, &e->keys,
                sizeof(e->keys));
    bytes_wipe(e->shared, sizeof(e->shared));
}

static bool confirmed(const uint8_t got[static CONFIRM_SIZE],
                      const uint8_t want[static CONFIRM_SIZE])
{
    return !ATTEST_CHECKS(CHECK_CONFIRM) || bytes_equal_ct(got, want, CONFIRM_SIZE);
}

/* --- the parent
 * ------------------------------------------------------------------------------------------ */

static void hex(const uint8_t *bytes, size_t size, char *ret)
{
    for (size_t i = 0; i < size; i++) {
        *ret++ = "0123456789abcdef"[bytes[i] >> 4];
        *ret++ = "0123456789abcdef"[bytes[i] & 15];
    }
    *ret = '\0';
}

/* The parent says to the people outside whom it did not admit. */
static int refused(const char *why, const struct exchange *e)
{
    char want[2 * SGX_HASH_SIZE + 1], got[2 * SGX_HASH_SIZE + 1];
    hex(e->m1.edge.mrenclave, SGX_HASH_SIZE, want);
    hex(e->m2.report.mrenclave, SGX_HASH_SIZE, got);
    log_error("a child was not admitted: %s; the manifest names MRENCLAVE %s, it said %s", why,
              want, got);
    audit(OCALL_AUDIT_CHILD, EACCES, e->m1.edge.spawn_number, want, sizeof(want) - 1);
    return -EACCES;
}

static int parent_side(struct exchange *e, const struct attest_edge *edge, struct channel *channel)
{
    uint8_t data[SGX_REPORTDATA_SIZE];
    draw_key(e, e->m1.key); /* first: while the child is being built */
    if (channel_receive_plain(channel, &e->m0, sizeof(e->m0)) < 0)
        return -EPIPE;
    e->m1.edge = *edge;
    report_data(e, ROLE_PARENT, data);
    /* The child is expected to have this enclave's attributes; otherwise it cannot read it, and
     * need not. */
    report_for(edge->mrenclave, &g_self, data, &e->m1.report);
    if (channel_send_plain(channel, &e->m1, sizeof(e->m1)) < 0)
        return -EPIPE;
    bool agreed =
        agree(e, e->m0.key); /* while the child does the same; used only if it is admitted */
    if (channel_receive_plain(channel, &e->m2, sizeof(e->m2)) < 0)
        return -EPIPE;

    const char *why = refusal(e, ROLE_CHILD, &e->m2.report, edge->mrenclave);
    if (why)
        return refused(why, e);
    if (!agreed)
        return refused("its public key is no key", e);
    derive(e);
    if (!confirmed(e->m2.confirm, e->keys.by_child))
        return refused("its messages were changed on the way", e);
    memcpy(e->m3.confirm, e->keys.by_parent, sizeof(e->m3.confirm));
    return channel_send_plain(channel, &e->m3, sizeof(e->m3));
}

int attest_child(uint32_t slot, const struct attest_edge *edge, struct channel *ret)
{
    CLEANUP(exchange_wipe) struct exchange e = { 0 };
    struct channel channel;
    channel_begin(&channel, slot, true, false);
    int r = parent_side(&e, edge, &channel);
    if (r < 0)
        return r;
    channel_keys(&channel, e.keys.secret);
    *ret = channel;
    channel_wipe(&channel);
    return 0;
}

/* --- the child
 * ------------------------------------------------------------------------------------------- */

/* NULL, or why there is no parent. */
static const char *child_side(struct exchange *e, struct channel *channel)
{
    uint8_t data[SGX_REPORTDATA_SIZE];
    draw_key(e, e->m0.key);
    if (channel_send_plain(channel, &e->m0, sizeof(e->m0)) < 0 ||
        channel_receive_plain(channel, &e->m1, sizeof(e->m1)) < 0)
        return "it is gone";
    const char *why = refusal(e, ROLE_PARENT, &e->m1.report, NULL);
    if (why)
        return why;
    if (ATTEST_CHECKS(CHECK_EDGE) &&
        memcmp(e->m1.edge.mrenclave, g_self.mrenclave, sizeof(g_self.mrenclave)) != 0)
        return "it starts another program";

    report_data(e, ROLE_CHILD, data);
    report_for(e->m1.report.mrenclave, &e->m1.report, data, &e->m2.report);
    if (!agree(e, e->m1.key))
        return "its public key is no key";
    derive(e);
    memcpy(e->m2.confirm, e->keys.by_child, sizeof(e->m2.confirm));
    if (channel_send_plain(channel, &e->m2, sizeof(e->m2)) < 0 ||
        channel_receive_plain(channel, &e->m3, sizeof(e->m3)) < 0)
        return "it is gone";
    return confirmed(e->m3.confirm, e->keys.by_parent) ? NULL
                                                       : "its messages were changed on the way";
}

void attest_parent(uint32_t slot, struct channel *ret, bool *ret_self)
{
    CLEANUP(exchange_wipe) struct exchange e = { 0 };
    channel_begin(ret, slot, false, false);
    const char *why = child_side(&e, ret);
    if (why)
        panic("this enclave starts only under its parent: %s", why);
    channel_keys(ret, e.keys.secret);
    *ret_self = memcmp(e.m1.report.mrenclave, g_self.mrenclave, sizeof(g_self.mrenclave)) == 0;
}

/* --- tickets
 * ----------------------------------------------------------------------------------------- */

/* REPORTDATA but for its last block, the word. */
static void ticket_data(uint32_t slot, int32_t pid, uint8_t ret[static SGX_REPORTDATA_SIZE])
{
    /* No other REPORT of this library OS ends so, nor begins with a hash of something that begins so. */
    static const uint8_t tag[SGX_REPORTDATA_SIZE - SGX_HASH_SIZE - ATTEST_WORD_SIZE] =
        "SXPYTREE ticket";
    struct {
        uint8_t tag[sizeof(tag)];
        uint8_t cascade[MANIFEST_HASH_SIZE];
        uint64_t slot, pid;
    } bound = { .slot = slot, .pid = (uint64_t)(int64_t)pid };
    static_assert(sizeof(bound) == 16 + 32 + 16, "no padding");

    memcpy(bound.tag, tag, sizeof(bound.tag));
    memcpy(bound.cascade, process_node()->cascade_id, sizeof(bound.cascade));
    island_sha256(&bound, sizeof(bound), ret);
    memcpy(ret + SGX_HASH_SIZE, tag, sizeof(tag));
    memset(ret + SGX_REPORTDATA_SIZE - ATTEST_WORD_SIZE, 0, ATTEST_WORD_SIZE);
}

static_assert(offsetof(struct sgx_report, report_data) + SGX_REPORTDATA_SIZE ==
                      SGX_REPORT_MAC_COVERS &&
                  ATTEST_WORD_SIZE == AES_BLOCK_SIZE,
              "the word is the MAC's last block");

static void ticket_secret(const struct attest_ticket *ticket,
                          const uint8_t word[static ATTEST_WORD_SIZE],
                          uint8_t ret[static CHANNEL_SECRET_SIZE])
{
    static const char info[] = "SXPYTREE ticket";
    struct {
        uint8_t secret[CHANNEL_SECRET_SIZE], word[ATTEST_WORD_SIZE];
    } both;
    uint8_t salt[SHA256_SIZE];

    memcpy(both.secret, ticket->secret, sizeof(both.secret));
    memcpy(both.word, word, sizeof(both.word));
    if (!ATTEST_CHECKS(CHECK_WORD))
        memset(both.word, 0, sizeof(both.word));
    island_sha256(&ticket->challenge, sizeof(ticket->challenge), salt);
    island_hkdf(salt, sizeof(salt), &both, sizeof(both), info, sizeof(info) - 1, ret,
                CHANNEL_SECRET_SIZE);
    bytes_wipe(&both, sizeof(both));
}

void attest_ticket_new(const uint8_t mrenclave[static MANIFEST_HASH_SIZE], uint32_t slot,
                       int32_t pid, struct attest_ticket *ret,
                       uint8_t ret_secret[static CHANNEL_SECRET_SIZE])
{
    uint8_t data[SGX_REPORTDATA_SIZE];
    uint8_t *word = data + SGX_REPORTDATA_SIZE - ATTEST_WORD_SIZE;
    ticket_data(slot, pid, data);
    cpu_random(word, ATTEST_WORD_SIZE);
    cpu_random(ret->secret, sizeof(ret->secret));
    report_for(mrenclave, &g_self, data, &ret->challenge);
    memset(ret->challenge.report_data, 0, sizeof(ret->challenge.report_data));
    ticket_secret(ret, word, ret_secret);
    bytes_wipe(data, sizeof(data));
}

void attest_ticket_use(const struct attest_ticket *ticket, uint32_t slot, int32_t pid,
                       uint8_t ret_secret[static CHANNEL_SECRET_SIZE])
{
    struct sgx_report report = ticket->challenge;
    uint8_t ALIGNED(16) key[SGX_KEY_SIZE];
    uint8_t word[ATTEST_WORD_SIZE];
    ticket_data(slot, pid, report.report_data);
    report_key(&report, key);
    island_cmac_last(key, &report, SGX_REPORT_MAC_COVERS - ATTEST_WORD_SIZE, report.mac, word);
    bytes_wipe(key, sizeof(key));
    ticket_secret(ticket, word, ret_secret);
    bytes_wipe(word, sizeof(word));
}
