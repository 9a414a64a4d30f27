/*
 * Admission: a parent and a child, each a process of its own with a CPU that signs REPORTs for
 * whatever identity the case gives it, and between them this process, the host, which carries the
 * messages from one region to the other and does to them what the case says.
 *
 * Each attack runs twice: refused, and then with the one check that refuses it switched off in the
 * victim, where it must succeed. An evil side is the same code with all its own checks off.
 */
#include "tree/attest.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bearssl_ec.h>
#include <cmocka.h>

#include "abi/sgx.h"
#include "arch/cpu.h"
#include "arch/crypto.h"
#include "attest_hook.h"
#include "border/border.h"
#include "core/aes_cmac.h"
#include "core/bytes.h"
#include "core/sha256.h"
#include "core/x25519.h"
#include "process/process.h"
#include "tree_fakes.h"

#define SLOT     1u
#define MESSAGES 4
#define ALL      UINT32_MAX

/* As in attest.c. */
enum {
    MAC = 1 << 0,
    MRENCLAVE = 1 << 1,
    MRSIGNER = 1 << 2,
    FLAGS = 1 << 3,
    XFRM = 1 << 4,
    MISC = 1 << 5,
    PRODUCT = 1 << 6,
    VERSION = 1 << 7,
    DATA = 1 << 8,
    ROLE = 1 << 9,
    EDGE = 1 << 10,
    CONFIRM = 1 << 11,
    POINT = 1 << 12,
    WORD = 1 << 13,
};
#define M0_SIZE   32u
#define M1_SIZE   (32u + 40u + 432u)
#define M2_SIZE   (432u + 32u)
#define M1_REPORT 72u

enum reports { REAL, REFLECTED, OLD };

/* One side: what it is, and how it plays. */
struct side {
    struct sgx_report is; /* what its CPU writes into REPORTs */
    uint8_t cascade;
    uint8_t cpu; /* another one: another root key */
    bool evil;   /* all its checks are off */
    bool zero_key;
    bool target_child; /* REPORTs are for the child, whatever the edge says */
    enum reports reports;
    uint32_t without; /* checks that are off */
};

struct outcome {
    int parent; /* of attest_child; 1: it never came to that */
    bool child; /* attest_parent came back */
    bool self, talked;
    unsigned audits, errors;
    char why[256];
    uint8_t sent[MESSAGES][1024];
    uint32_t sizes[MESSAGES];
};

uint32_t g_attest_checks = ALL;
static uint32_t g_attest_keep; /* on also in an evil side: what it computes, not what it checks */
static struct outcome *g_outcome; /* shared with the processes */
static struct outcome g_before;   /* an honest run */
static uint8_t *g_regions[2];     /* the parent's, the child's view */
static const struct side *g_side, *g_child_side;
static struct manifest_node g_node;
static jmp_buf g_boot;
static bool g_booting;

/* --- what the library OS asks for
 * -------------------------------------------------------------------- */

const struct manifest_node *process_node(void)
{
    return &g_node;
}

void panic(const char *format, ...)
{
    if (g_booting)
        longjmp(g_boot, 1);
    va_list args;
    va_start(args, format);
    vsnprintf(g_outcome->why, sizeof(g_outcome->why), format, args);
    va_end(args);
    _exit(1);
}

void log_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(g_outcome->why, sizeof(g_outcome->why), format, args);
    va_end(args);
    g_outcome->errors++;
}

void audit(enum ocall_audit_event event, int error, uint64_t value UNUSED, const char *path UNUSED,
           uint64_t path_size)
{
    g_outcome->audits += event == OCALL_AUDIT_CHILD && error == EACCES && path_size == 64;
}

void cpu_random(void *buf, size_t size)
{
    if (getentropy(buf, size) < 0)
        abort();
}

/* In the place of core's; a side with a key that is no key takes what comes of it. */
int x25519(const uint8_t scalar[static X25519_SIZE], const uint8_t point[static X25519_SIZE],
           uint8_t ret[static X25519_SIZE])
{
    uint8_t at[X25519_SIZE];
    memcpy(at, point, sizeof(at));
    if (g_side->zero_key)
        memset(at, 0, sizeof(at));
    else
        br_ec_c25519_m31.mul(at, sizeof(at), scalar, X25519_SIZE, BR_EC_curve25519);
    if (bytes_zero_ct(at, sizeof(at)))
        return -EINVAL;
    memcpy(ret, at, sizeof(at));
    return 0;
}

void x25519_public(const uint8_t scalar[static X25519_SIZE], uint8_t ret[static X25519_SIZE])
{
    static const uint8_t base[X25519_SIZE] = { 9 };
    if (x25519(scalar, base, ret) < 0)
        memset(ret, 0, X25519_SIZE);
}

/* --- the CPU
 * ----------------------------------------------------------------------------------------- */

static void report_key(uint8_t cpu, const uint8_t *mrenclave,
                       const struct sgx_attributes *attributes, uint32_t misc_select,
                       const uint8_t *key_id, uint8_t ret[static 32])
{
    struct sha256 hash;
    sha256_init(&hash);
    sha256_update(&hash, &cpu, 1);
    sha256_update(&hash, mrenclave, 32);
    sha256_update(&hash, attributes, sizeof(*attributes));
    sha256_update(&hash, &misc_select, sizeof(misc_select));
    sha256_update(&hash, key_id, SGX_KEYID_SIZE);
    sha256_final(&hash, ret);
}

static const uint8_t *cell_bytes(uint8_t *region, enum tree_direction way, unsigned n)
{
    return tree_cell_of(region, SLOT, way, n)->bytes;
}

void enclu_ereport(const struct sgx_targetinfo *target, const uint8_t *report_data,
                   struct sgx_report *ret)
{
    assert_int_equal((uintptr_t)target % SGX_ALIGN_TARGETINFO, 0);
    assert_int_equal((uintptr_t)report_data % SGX_ALIGN_REPORTDATA, 0);
    assert_int_equal((uintptr_t)ret % SGX_ALIGN_REPORT, 0);
    uint8_t key[32];
    const uint8_t *mrenclave =
        g_side->target_child ? g_child_side->is.mrenclave : target->mrenclave;
    *ret = g_side->is;
    memcpy(ret->report_data, report_data, sizeof(ret->report_data));
    memset(ret->key_id, 0x1d, sizeof(ret->key_id));
    report_key(g_side->cpu, mrenclave, &target->attributes, target->misc_select, ret->key_id, key);
    aes_cmac(key, ret, SGX_REPORT_MAC_COVERS, ret->mac);
    /* A host without an enclave has only REPORTs that others made. */
    if (g_side->reports == REFLECTED && !g_booting)
        memcpy(ret, cell_bytes(g_regions[1], TREE_TO_SERVER, 0) + M1_REPORT, sizeof(*ret));
    if (g_side->reports == OLD && !g_booting)
        memcpy(ret, g_side == g_child_side ? g_before.sent[2] : g_before.sent[1] + M1_REPORT,
               sizeof(*ret));
}

uint64_t enclu_egetkey(const struct sgx_keyrequest *request, uint8_t *ret_key)
{
    uint8_t key[32];
    assert_int_equal((uintptr_t)request % SGX_ALIGN_KEYREQUEST, 0);
    assert_int_equal((uintptr_t)ret_key % SGX_ALIGN_KEY, 0);
    if (request->key_name != SGX_KEY_REPORT)
        return SGX_INVALID_KEYNAME;
    report_key(g_side->cpu, g_side->is.mrenclave, &g_side->is.attributes, g_side->is.misc_select,
               request->key_id, key);
    memcpy(ret_key, key, SGX_KEY_SIZE);
    return 0;
}

/* --- the two processes
 * ---------------------------------------------------------------------------------- */

static void become(const struct side *side, uint8_t *region)
{
    g_side = side;
    /* The role is no check of others but what one says of oneself: also an evil side says it. */
    g_attest_checks = (side->evil ? ROLE | g_attest_keep : ALL) & ~side->without;
    g_node = (struct manifest_node){ .flags = side->is.attributes.flags & SGX_ATTR_DEBUG
                                                  ? MANIFEST_INSECURE_DEBUG
                                                  : 0 };
    memset(g_node.cascade_id, side->cascade, sizeof(g_node.cascade_id));
    memcpy(g_node.mrsigner, side->is.mrsigner, sizeof(g_node.mrsigner));
    if (tree_region_set((uint64_t)region) < 0)
        abort();
    g_booting = true;
    if (setjmp(g_boot) == 0)
        attest_self();
    else if (!side->evil)
        _exit(2);
    g_booting = false;
}

static void parent_main(const struct side *side, const struct attest_edge *edge)
{
    struct channel channel;
    char text[8] = "";
    become(side, g_regions[0]);
    g_outcome->parent = attest_child(SLOT, edge, &channel);
    if (g_outcome->parent == 0 && channel_send(&channel, "hello", 6) == 0 &&
        channel_receive(&channel, text, sizeof(text), false) == 6)
        g_outcome->talked = strcmp(text, "world") == 0;
    _exit(0);
}

static void child_main(const struct side *side)
{
    struct channel channel;
    char text[8] = "";
    become(side, g_regions[1]);
    attest_parent(SLOT, &channel, &g_outcome->self);
    g_outcome->child = true;
    if (channel_receive(&channel, text, sizeof(text), false) == 6 && strcmp(text, "hello") == 0)
        (void)!channel_send(&channel, "world", 6);
    _exit(0);
}

/* --- the host
 * ------------------------------------------------------------------------------------------- */

typedef void change(unsigned message, struct tree_cell *cell);
static change *g_change;

static uint32_t *posted(unsigned view, enum tree_direction way)
{
    return &tree_slot_of(g_regions[view], SLOT)->way[way].posted;
}

/* Carries what is new in one direction: from 0 parent to child, from 1 back. */
static void carry(unsigned from, unsigned done[static 2])
{
    enum tree_direction way = from == 0 ? TREE_TO_SERVER : TREE_TO_CLIENT;
    while (done[from] < __atomic_load_n(posted(from, way), __ATOMIC_SEQ_CST)) {
        unsigned n = done[from]++;
        unsigned message = 2 * n + (from == 0);
        struct tree_cell *in = tree_cell_of(g_regions[from], SLOT, way, n);
        struct tree_cell *out = tree_cell_of(g_regions[!from], SLOT, way, n);
        memcpy(out, in, 1024);
        if (message < MESSAGES) {
            g_outcome->sizes[message] = in->size;
            memcpy(g_outcome->sent[message], in->bytes, sizeof(g_outcome->sent[message]));
            if (g_change)
                g_change(message, out);
        }
        __atomic_fetch_add(posted(!from, way), 1, __ATOMIC_SEQ_CST);
    }
}

/* A recorded message instead of a process's. */
static void play(unsigned view, unsigned message)
{
    enum tree_direction way = message % 2 ? TREE_TO_SERVER : TREE_TO_CLIENT;
    struct tree_cell *cell = tree_cell_of(g_regions[view], SLOT, way, message / 2);
    cell->size = g_before.sizes[message];
    memcpy(cell->bytes, g_before.sent[message], 512);
    __atomic_fetch_add(posted(view, way), 1, __ATOMIC_SEQ_CST);
}

static void dead(unsigned view)
{
    __atomic_store_n(&tree_slot_of(g_regions[view], SLOT)->dead, 1, __ATOMIC_SEQ_CST);
}

/* parent or child NULL: the host plays that side with what it recorded of the honest run. */
static void run(const struct side *parent, const struct side *child, const struct attest_edge *edge,
                change *how)
{
    pid_t pids[2] = { 0, 0 };
    unsigned done[2] = { 0, 0 };
    for (unsigned view = 0; view < 2; view++)
        memset(tree_slot_of(g_regions[view], SLOT), 0, TREE_SLOT_HEAD + 4096);
    *g_outcome = (struct outcome){ .parent = 1 };
    g_change = how;
    g_child_side = child;
    if (parent && (pids[0] = fork()) == 0)
        parent_main(parent, edge);
    if (child && (pids[1] = fork()) == 0)
        child_main(child);
    if (!child) {
        play(0, 0);
        play(0, 2);
    }
    if (!parent) {
        play(1, 1);
        play(1, 3);
    }
    time_t start = time(NULL);
    bool left = false;
    while (pids[0] > 0 || pids[1] > 0) {
        /* Ends are looked for first: what a process has said before it died is carried. */
        bool ended[2];
        for (unsigned view = 0; view < 2; view++)
            ended[view] = pids[view] > 0 && waitpid(pids[view], NULL, WNOHANG) == pids[view];
        if (parent && child) {
            carry(0, done);
            carry(1, done);
        }
        /* A side that was let in talks to nobody then. */
        if (!left &&
            ((!child && *posted(0, TREE_TO_SERVER) > 2) || (!parent && g_outcome->child))) {
            dead(!child ? 0 : 1);
            left = true;
        }
        for (unsigned view = 0; view < 2; view++)
            if (ended[view]) {
                pids[view] = 0;
                dead(!view);
            }
        if (time(NULL) - start > 20) {
            for (unsigned view = 0; view < 2; view++)
                if (pids[view] > 0)
                    kill(pids[view], SIGKILL);
            fail_msg("a side hangs");
        }
        usleep(50);
    }
}

/* --- identities
 * ------------------------------------------------------------------------------------------ */

static struct side side_new(uint8_t mrenclave)
{
    struct side side = { .cascade = 0xca,
                         .is = { .misc_select = PROFILE_MISC_SELECT,
                                 .attributes = { SGX_ATTR_INIT | SGX_ATTR_MODE64BIT, PROFILE_XFRM },
                                 .isv_prod_id = 3,
                                 .isv_svn = 5 } };
    memset(side.is.mrenclave, mrenclave, sizeof(side.is.mrenclave));
    memset(side.is.mrsigner, 0x51, sizeof(side.is.mrsigner));
    return side;
}

#define PARENT 0xaa
#define CHILD  0xbb
static struct attest_edge edge_to(uint8_t mrenclave)
{
    struct attest_edge edge = { .spawn_number = 7 };
    memset(edge.mrenclave, mrenclave, sizeof(edge.mrenclave));
    return edge;
}

static void enclave_other(struct side *s)
{
    memset(s->is.mrenclave, 0xee, sizeof(s->is.mrenclave));
}
static void signer_other(struct side *s)
{
    memset(s->is.mrsigner, 0xee, sizeof(s->is.mrsigner));
}
static void cascade_other(struct side *s)
{
    s->cascade = 0xcb;
}
static void debug(struct side *s)
{
    s->is.attributes.flags |= SGX_ATTR_DEBUG;
}
static void provision(struct side *s)
{
    s->is.attributes.flags |= SGX_ATTR_PROVISIONKEY;
}
static void xfrm_more(struct side *s)
{
    s->is.attributes.xfrm |= SGX_XFRM_PKRU;
}
static void misc_other(struct side *s)
{
    s->is.misc_select |= SGX_MISC_CPINFO;
}
static void product_other(struct side *s)
{
    s->is.isv_prod_id++;
}
static void version_older(struct side *s)
{
    s->is.isv_svn--;
}
static void cpu_other(struct side *s)
{
    s->cpu = 1;
}
static void report_old(struct side *s)
{
    s->reports = OLD;
}
static void report_reflected(struct side *s)
{
    s->reports = REFLECTED;
}
static void key_zero(struct side *s)
{
    s->zero_key = true;
}

/* --- tests
 * ------------------------------------------------------------------------------------------------
 */

static int setup(void **state)
{
    if (tree_setup(state) < 0)
        return -1;
    g_outcome =
        mmap(NULL, sizeof(*g_outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_regions[0] = tree_region_new();
    g_regions[1] = tree_region_new();
    return g_outcome == MAP_FAILED ? -1 : 0;
}

static void test_honest(void **state UNUSED)
{
    struct side parent = side_new(PARENT), child = side_new(CHILD);
    struct attest_edge edge = edge_to(CHILD);
    run(&parent, &child, &edge, NULL);
    if (g_outcome->parent != 0 || !g_outcome->child || !g_outcome->talked)
        fail_msg("parent %d, child %d: %s", g_outcome->parent, g_outcome->child, g_outcome->why);
    assert_false(g_outcome->self);
    assert_int_equal(g_outcome->audits + g_outcome->errors, 0);
    assert_int_equal(g_outcome->sizes[0], M0_SIZE);
    assert_int_equal(g_outcome->sizes[1], M1_SIZE);
    assert_int_equal(g_outcome->sizes[2], M2_SIZE);
    g_before = *g_outcome;

    /* Fresh keys: not one message is the same again. */
    run(&parent, &child, &edge, NULL);
    assert_int_equal(g_outcome->parent, 0);
    for (unsigned m = 0; m < MESSAGES; m++)
        assert_memory_not_equal(g_outcome->sent[m], g_before.sent[m], g_before.sizes[m]);

    /* A program that starts itself. */
    struct side self = side_new(PARENT);
    edge = edge_to(PARENT);
    run(&parent, &self, &edge, NULL);
    assert_int_equal(g_outcome->parent, 0);
    assert_true(g_outcome->child && g_outcome->self && g_outcome->talked);
}

/* An evil child under a good parent. */
static void test_children(void **state UNUSED)
{
    static const struct {
        const char *name;
        void (*how)(struct side *);
        uint32_t without;
        bool self_edge;
    } cases[] = {
        { "wrong enclave", enclave_other, MRENCLAVE, false },
        { "other signer", signer_other, MRSIGNER, false },
        { "other cascade", cascade_other, DATA, false },
        { "debug child for a production parent", debug, FLAGS, false },
        { "child with the provisioning key", provision, FLAGS, false },
        { "XFRM outside the profile", xfrm_more, XFRM, false },
        { "other MISCSELECT", misc_other, MISC, false },
        { "other product", product_other, PRODUCT, false },
        { "older version", version_older, VERSION, false },
        { "REPORT of another machine", cpu_other, MAC, false },
        { "old REPORT", report_old, DATA, false },
        { "reflected REPORT", report_reflected, ROLE, true },
        { "key that is no key", key_zero, POINT, false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct side parent = side_new(PARENT), child = side_new(CHILD);
        struct attest_edge edge = edge_to(cases[i].self_edge ? PARENT : CHILD);
        child.evil = true;
        cases[i].how(&child);
        run(&parent, &child, &edge, NULL);
        if (g_outcome->parent != -EACCES || g_outcome->child || g_outcome->talked)
            fail_msg("%s: %d", cases[i].name, g_outcome->parent);
        if (g_outcome->errors != 1 || g_outcome->audits != 1)
            fail_msg("%s: %u lines, %u audit lines", cases[i].name, g_outcome->errors,
                     g_outcome->audits);
        parent.without = cases[i].without;
        run(&parent, &child, &edge, NULL);
        if (g_outcome->parent != 0 || !g_outcome->talked)
            fail_msg("%s: refused also without its check: %s", cases[i].name, g_outcome->why);
    }
    /* And a good child is what differs from each of them in nothing else. */
    struct side parent = side_new(PARENT), child = side_new(CHILD);
    struct attest_edge edge = edge_to(CHILD);
    child.evil = true;
    run(&parent, &child, &edge, NULL);
    assert_int_equal(g_outcome->parent, 0);
}

/* An evil parent of a good child. */
static void target_child(struct side *s)
{
    s->target_child = true;
}

static void test_parents(void **state UNUSED)
{
    static const struct {
        const char *name;
        void (*how)(struct side *);
        uint32_t without;
        uint8_t edge;
    } cases[] = {
        { "other signer", signer_other, MRSIGNER, CHILD },
        { "other cascade", cascade_other, DATA, CHILD },
        { "other product", product_other, PRODUCT, CHILD },
        { "older version", version_older, VERSION, CHILD },
        { "parent on another machine", cpu_other, MAC, CHILD },
        { "old REPORT", report_old, DATA, CHILD },
        { "edge of another program", target_child, EDGE, 0xee },
        { "debug parent of a production child", debug, FLAGS | MAC, CHILD },
        { "REPORT for another enclave", NULL, MAC | EDGE, 0xee },
        { "key that is no key", key_zero, POINT, CHILD },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct side parent = side_new(PARENT), child = side_new(CHILD);
        struct attest_edge edge = edge_to(cases[i].edge);
        parent.evil = true;
        if (cases[i].how)
            cases[i].how(&parent);
        run(&parent, &child, &edge, NULL);
        if (g_outcome->child || g_outcome->talked)
            fail_msg("%s: taken", cases[i].name);
        if (!strstr(g_outcome->why, "this enclave starts only under its parent: "))
            fail_msg("%s: '%s'", cases[i].name, g_outcome->why);
        child.without = cases[i].without;
        run(&parent, &child, &edge, NULL);
        if (!g_outcome->child || !g_outcome->talked)
            fail_msg("%s: refused also without its check: %s", cases[i].name, g_outcome->why);
    }
}

/* --- the messages
 * --------------------------------------------------------------------------------------- */

static unsigned g_message, g_at;
static void flip(unsigned message, struct tree_cell *cell)
{
    if (message == g_message)
        cell->bytes[g_at] ^= 0x10;
}
static void cut(unsigned message, struct tree_cell *cell)
{
    if (message == g_message)
        cell->size -= 8;
}
static void lengthen(unsigned message, struct tree_cell *cell)
{
    if (message == g_message)
        cell->size += 8;
}
static void old(unsigned message, struct tree_cell *cell)
{
    if (message == g_message)
        memcpy(cell->bytes, g_before.sent[message], 512);
}

/* Nobody ever talks, and whoever can still notice refuses: after M3 only the child can. without:
 * checks that are off on both sides. */
static void expect_refused(const char *name, change *how, uint32_t without)
{
    struct side parent = side_new(PARENT), child = side_new(CHILD);
    struct attest_edge edge = edge_to(CHILD);
    parent.without = child.without = without;
    run(&parent, &child, &edge, how);
    if (g_outcome->talked || g_outcome->child || (g_outcome->parent == 0 && g_message < 3))
        fail_msg("%s, message %u, byte %u: parent %d, child %d", name, g_message, g_at,
                 g_outcome->parent, g_outcome->child);
}

static void test_messages(void **state UNUSED)
{
    static const struct {
        const char *name;
        unsigned message, at;
        uint32_t without;
    } flips[] = {
        { "child's key", 0, 0 },
        { "child's key, end", 0, 30 },
        { "parent's key", 1, 5 },
        { "edge", 1, 32 },
        { "spawn number", 1, 64 },
        { "parent's REPORT: CPUSVN", 1, M1_REPORT },
        { "parent's REPORT: attributes", 1, M1_REPORT + 48 },
        { "parent's REPORT: MRENCLAVE", 1, M1_REPORT + 64 },
        { "parent's REPORT: reserved", 1, M1_REPORT + 100 },
        { "parent's REPORT: data", 1, M1_REPORT + 320 },
        { "parent's REPORT: key id", 1, M1_REPORT + 384 },
        { "parent's REPORT: MAC", 1, M1_REPORT + 416 },
        { "child's REPORT: MRENCLAVE", 2, 64 },
        { "child's REPORT: MRSIGNER", 2, 128 },
        { "child's REPORT: data", 2, 320 },
        { "child's REPORT: data, tag", 2, 352 },
        { "child's REPORT: MAC", 2, 416 },
        { "child's confirmation", 2, 432 },
        { "parent's confirmation", 3, 31 },
        /* REPORTs bind what precedes them also where nothing is confirmed, and the reverse. */
        { "child's key, REPORT alone", 0, 0, CONFIRM },
        { "parent's key, REPORT alone", 1, 5, CONFIRM },
        { "edge, REPORT alone", 1, 32, CONFIRM | EDGE },
        { "spawn number, REPORT alone", 1, 64, CONFIRM },
        { "spawn number, confirmation alone", 1, 64, DATA },
        { "parent's REPORT, confirmation alone", 1, M1_REPORT + 416, MAC },
        { "child's REPORT, confirmation alone", 2, 416, MAC },
    };
    for (size_t i = 0; i < ARRAY_SIZE(flips); i++) {
        g_message = flips[i].message;
        g_at = flips[i].at;
        expect_refused(flips[i].name, flip, flips[i].without);
    }
    /* And anywhere: every byte of every message counts. */
    static const unsigned sizes[MESSAGES] = { M0_SIZE, M1_SIZE, M2_SIZE, 32 };
    for (g_message = 0; g_message < MESSAGES; g_message++)
        for (g_at = g_message; g_at < sizes[g_message]; g_at += 11)
            expect_refused("any byte", flip, 0);
    g_at = 0;
    for (g_message = 0; g_message < MESSAGES; g_message++) {
        expect_refused("cut", cut, 0);
        expect_refused("lengthened", lengthen, 0);
        expect_refused("from another spawn", old, 0);
    }

    /* The victim without the checks would go on: the flip is what they see. */
    struct side parent = side_new(PARENT), child = side_new(CHILD);
    struct attest_edge edge = edge_to(CHILD);
    g_message = 2;
    g_at = 432;
    parent.without = CONFIRM;
    run(&parent, &child, &edge, flip);
    assert_int_equal(g_outcome->parent, 0);
    g_message = 3;
    parent.without = 0;
    child.without = CONFIRM;
    g_at = 0;
    run(&parent, &child, &edge, flip);
    assert_true(g_outcome->child);
}

/* The host has recorded a good start and plays one side of it again. */
static void test_same_again(void **state UNUSED)
{
    struct side parent = side_new(PARENT), child = side_new(CHILD);
    struct attest_edge edge = edge_to(CHILD);
    /* The same child for a second start. */
    run(&parent, NULL, &edge, NULL);
    assert_int_equal(g_outcome->parent, -EACCES);
    parent.without = DATA;
    run(&parent, NULL, &edge, NULL);
    assert_int_equal(g_outcome->parent, -EACCES);
    parent.without = DATA | CONFIRM;
    run(&parent, NULL, &edge, NULL);
    assert_int_equal(g_outcome->parent, 0);
    /* A second child for the same start. */
    run(NULL, &child, NULL, NULL);
    assert_false(g_outcome->child);
    child.without = DATA;
    run(NULL, &child, NULL, NULL);
    assert_false(g_outcome->child);
    child.without = DATA | CONFIRM;
    run(NULL, &child, NULL, NULL);
    assert_true(g_outcome->child);
}

/* A child that the host starts by itself. */
static void die_at_once(unsigned message, struct tree_cell *cell UNUSED)
{
    if (message == 0)
        dead(1);
}

static void test_alone(void **state UNUSED)
{
    struct side parent = side_new(PARENT), child = side_new(CHILD);
    struct attest_edge edge = edge_to(CHILD);
    run(&parent, &child, &edge, NULL);
    assert_int_equal(g_outcome->parent, 0);
    /* Its parent's process is gone before it has said anything. */
    parent.is.attributes.xfrm |= SGX_XFRM_PKRU; /* its own attest_self ends it */
    run(&parent, &child, &edge, die_at_once);
    assert_false(g_outcome->child);
    assert_int_equal(g_outcome->parent, 1);
    assert_non_null(
        strstr(g_outcome->why, "this enclave starts only under its parent: it is gone"));
}

/* Each enclave looks at itself first. */
static bool self_is_fine(void)
{
    g_booting = true;
    if (setjmp(g_boot) != 0) {
        g_booting = false;
        return false;
    }
    attest_self();
    g_booting = false;
    return true;
}

static void test_self(void **state UNUSED)
{
    static const struct {
        const char *name;
        void (*how)(struct side *);
        bool manifest_debug, fine;
    } cases[] = {
        { "as signed", NULL, false, true },
        { "DEBUG, production manifest", debug, false, false },
        { "DEBUG manifest", debug, true, true },
        { "DEBUG manifest, not DEBUG", NULL, true, false },
        { "provisioning key", provision, false, false },
        { "XFRM outside the profile", xfrm_more, false, false },
        { "other MISCSELECT", misc_other, false, false },
        { "other signer", signer_other, false, false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct side side = side_new(PARENT);
        g_node = (struct manifest_node){ .flags = cases[i].manifest_debug ? MANIFEST_INSECURE_DEBUG
                                                                          : 0 };
        memcpy(g_node.mrsigner, side.is.mrsigner, sizeof(g_node.mrsigner));
        if (cases[i].how)
            cases[i].how(&side);
        g_side = &side;
        bool fine = self_is_fine();
        if (fine != cases[i].fine)
            fail_msg("%s", cases[i].name);
    }
    uint8_t want[32];
    memset(want, PARENT, sizeof(want));
    assert_memory_equal(attest_mrenclave(), want, 32);
}

/* --- tickets
 * ---------------------------------------------------------------------------------------- */

#define HUB     0x88
#define CONTROL 2u
#define PID     107

static struct attest_ticket g_ticket, g_old_ticket;
static uint8_t g_ticket_secret[CHANNEL_SECRET_SIZE];

/* The hub gives a ticket for the child. */
static void ticket_make(uint32_t without, struct attest_ticket *ret, uint8_t *ret_secret)
{
    struct side hub = side_new(HUB);
    uint8_t mrenclave[32];
    hub.without = without;
    become(&hub, g_regions[0]);
    memset(mrenclave, CHILD, sizeof(mrenclave));
    attest_ticket_new(mrenclave, CONTROL, PID, ret, ret_secret);
}

/* Does who has this ticket speak with the hub? */
static bool ticket_works(const struct side *side, const struct attest_ticket *ticket, uint32_t slot,
                         int32_t pid)
{
    uint8_t secret[CHANNEL_SECRET_SIZE];
    become(side, g_regions[1]);
    attest_ticket_use(ticket, slot, pid, secret);
    return memcmp(secret, g_ticket_secret, sizeof(secret)) == 0;
}

static void is_parent(struct side *s)
{
    memset(s->is.mrenclave, PARENT, sizeof(s->is.mrenclave));
}
/* A fork of the root, or a root of another run: what it can EGETKEY checks REPORTs for the hub. */
static void is_hub(struct side *s)
{
    memset(s->is.mrenclave, HUB, sizeof(s->is.mrenclave));
}
static void ticket_old(struct attest_ticket *t)
{
    *t = g_old_ticket;
}
static void ticket_old_challenge(struct attest_ticket *t)
{
    t->challenge = g_old_ticket.challenge;
}
static void ticket_other_hub(struct attest_ticket *t)
{
    t->challenge.mrenclave[5] ^= 1;
}

static void test_tickets(void **state UNUSED)
{
    static const struct {
        const char *name;
        void (*who)(struct side *);
        void (*how)(struct attest_ticket *);
        uint32_t slot;
        int32_t pid;
        bool works, without; /* without: where the word does not count */
    } cases[] = {
        { "the child", NULL, NULL, CONTROL, PID, true, true },
        { "its parent plays it", is_parent, NULL, CONTROL, PID, false, true },
        { "an enclave of the hub's measurement plays it", is_hub, NULL, CONTROL, PID, false, true },
        { "another node plays it", enclave_other, NULL, CONTROL, PID, false, true },
        { "the child in a DEBUG enclave", debug, NULL, CONTROL, PID, false, true },
        { "with the provisioning key", provision, NULL, CONTROL, PID, false, true },
        { "with another XFRM", xfrm_more, NULL, CONTROL, PID, false, true },
        { "with another MISCSELECT", misc_other, NULL, CONTROL, PID, false, true },
        { "of another cascade", cascade_other, NULL, CONTROL, PID, false, true },
        { "on another machine", cpu_other, NULL, CONTROL, PID, false, true },
        { "ticket of another slot", NULL, NULL, CONTROL + 1, PID, false, true },
        { "ticket of another process", NULL, NULL, CONTROL, PID + 1, false, true },
        { "ticket of another start", NULL, ticket_old, CONTROL, PID, false, false },
        { "challenge of another start", NULL, ticket_old_challenge, CONTROL, PID, false, false },
        { "challenge in another hub's name", NULL, ticket_other_hub, CONTROL, PID, false, false },
    };
    for (int without = 0; without < 2; without++) {
        ticket_make(without ? WORD : 0, &g_old_ticket, g_ticket_secret);
        ticket_make(without ? WORD : 0, &g_ticket, g_ticket_secret);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            struct side side = side_new(CHILD);
            struct attest_ticket ticket = g_ticket;
            side.evil = true; /* its attest_self() would stop some of them */
            if (cases[i].who)
                cases[i].who(&side);
            if (cases[i].how)
                cases[i].how(&ticket);
            g_attest_keep = without ? 0 : WORD;
            if (ticket_works(&side, &ticket, cases[i].slot, cases[i].pid) !=
                (without ? cases[i].without : cases[i].works))
                fail_msg("%s%s", cases[i].name, without ? ", without the word" : "");
        }
    }
    g_attest_keep = 0;
}

/* What goes to the parent: not the word, and every byte of it counts. */
static void test_ticket_bytes(void **state UNUSED)
{
    struct side child = side_new(CHILD);
    uint8_t before[CHANNEL_SECRET_SIZE];
    ticket_make(0, &g_old_ticket, before);
    ticket_make(0, &g_ticket, g_ticket_secret);
    assert_memory_not_equal(before, g_ticket_secret, sizeof(before));
    assert_memory_not_equal(g_ticket.secret, g_old_ticket.secret, sizeof(before));
    assert_memory_not_equal(g_ticket.secret, g_ticket_secret, sizeof(before));
    assert_memory_not_equal(g_ticket.challenge.mac, g_old_ticket.challenge.mac, SGX_MAC_SIZE);
    for (size_t i = 0; i < SGX_REPORTDATA_SIZE; i++)
        assert_int_equal(g_ticket.challenge.report_data[i], 0);
    for (size_t i = 0; i < sizeof(g_ticket); i++) {
        struct attest_ticket ticket = g_ticket;
        ((uint8_t *)&ticket)[i] ^= 0x40;
        if (ticket_works(&child, &ticket, CONTROL, PID))
            fail_msg("byte %zu does not count", i);
    }
    /* Again with the same one, as the host may start that enclave twice: it is the greeting that keeps them apart. */
    assert_true(ticket_works(&child, &g_ticket, CONTROL, PID));
    assert_true(ticket_works(&child, &g_ticket, CONTROL, PID));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_honest),       cmocka_unit_test(test_children),
        cmocka_unit_test(test_parents),      cmocka_unit_test(test_messages),
        cmocka_unit_test(test_same_again),   cmocka_unit_test(test_alone),
        cmocka_unit_test(test_self),         cmocka_unit_test(test_tickets),
        cmocka_unit_test(test_ticket_bytes),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
