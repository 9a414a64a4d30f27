/* Channels and streams against a host that does what it likes with the region. */
#include "tree/channel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "abi/layout.h"
#include "arch/thread.h"
#include "border/border.h"
#include "core/bytes.h"
#include "core/hkdf.h"
#include "tree/stream.h"
#include "tree_fakes.h"

#define SLOT  1u
#define OTHER 2u

void panic(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    abort();
}

static uint8_t *g_region;
static const uint8_t g_secret[CHANNEL_SECRET_SIZE] = { 7, 1 };
static const uint8_t g_greetings[2][CHANNEL_GREETING_SIZE] = { { 1, 2, 3 }, { 4, 5, 6 } };
static struct channel g_client, g_server;

static void start(bool ping)
{
    for (uint32_t slot = 0; slot < TREE_FAKE_SLOTS; slot++)
        memset(tree_slot_of(g_region, slot), 0, TREE_SLOT_SIZE);
    channel_init(&g_client, SLOT, true, ping, g_secret);
    channel_init(&g_server, SLOT, false, ping, g_secret);
    g_tree_signal = g_tree_parked_badly = false;
    g_tree_lie = 0;
    g_tree_idle = NULL;
    g_tree_posts = g_tree_takens = g_tree_waits = 0;
    current()->work = 0;
}

static int setup(void **state)
{
    if (tree_setup(state) < 0)
        return -1;
    g_region = tree_region_new();
    return tree_region_set((uint64_t)g_region);
}

static void test_region(void **state UNUSED)
{
    uint64_t before = tree_region();
    static const struct {
        const char *name;
        uint64_t address;
    } bad[] = {
        { "zero", 0 },
        { "in ELRANGE", LAYOUT_ENCLAVE_MIN - 4096 },
        { "unaligned", LAYOUT_ENCLAVE_MIN + 8 },
        { "ends behind user space", (1ull << 47) - TREE_REGION_SIZE },
        { "wraps", UINT64_MAX - 4095 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (tree_region_set(bad[i].address) != -EINVAL)
            fail_msg("%s: taken", bad[i].name);
    assert_int_equal(tree_region(), before);
}

/* --- attacks
 * ---------------------------------------------------------------------------------------------- */

static struct tree_cell *sent(unsigned n)
{
    return tree_cell_of(g_region, SLOT, TREE_TO_SERVER, n);
}

static void cell_copy(struct tree_cell *to, const struct tree_cell *from)
{
    memcpy(to, from, 256);
}

static void flip_text(void)
{
    sent(0)->bytes[AES_GCM_TAG_SIZE] ^= 4;
}
static void flip_tag(void)
{
    sent(0)->bytes[3] ^= 1;
}
static void cut(void)
{
    sent(0)->size--;
}
static void lengthen(void)
{
    sent(0)->size++;
}
static void no_room_for_tag(void)
{
    sent(0)->size = AES_GCM_TAG_SIZE - 1;
}
static void huge(void)
{
    sent(0)->size = UINT32_MAX;
}
static void larger_than_room(void)
{
    sent(0)->size = AES_GCM_TAG_SIZE + 65;
}
static void replay(void)
{
    cell_copy(sent(1), sent(0));
}
static void reorder(void)
{
    uint8_t ALIGNED(16) first[256];
    memcpy(first, sent(0), sizeof(first));
    cell_copy(sent(0), sent(1));
    cell_copy(sent(1), (struct tree_cell *)(void *)first);
}
static void drop(void)
{
    cell_copy(sent(0), sent(1));
    cell_copy(sent(1), sent(2));
    tree_slot_of(g_region, SLOT)->way[TREE_TO_SERVER].posted--;
}
static void count_ahead(void)
{
    tree_slot_of(g_region, SLOT)->way[TREE_TO_SERVER].posted = 5;
}
static void other_slot(void)
{
    struct channel other;
    channel_init(&other, OTHER, true, false, g_secret);
    assert_int_equal(channel_send(&other, "one", 4), 0);
    cell_copy(sent(0), tree_cell_of(g_region, OTHER, TREE_TO_SERVER, 0));
}
static void other_session(void)
{
    static const uint8_t secret[CHANNEL_SECRET_SIZE] = { 7, 2 };
    struct channel before;
    channel_init(&before, OTHER, true, false, secret);
    before.slot = SLOT;
    assert_int_equal(channel_send(&before, "one", 4), 0);
    tree_slot_of(g_region, SLOT)->way[TREE_TO_SERVER].posted--;
}
static void reflect(void)
{
    assert_int_equal(channel_send(&g_server, "one", 4), 0);
    cell_copy(sent(0), tree_cell_of(g_region, SLOT, TREE_TO_CLIENT, 0));
}

static const struct {
    const char *name;
    void (*attack)(void);
    unsigned good; /* messages of three that arrive before the refusal */
} g_attacks[] = {
    { "none", NULL, 3 },
    { "flipped text", flip_text, 0 },
    { "flipped tag", flip_tag, 0 },
    { "cut", cut, 0 },
    { "lengthened", lengthen, 0 },
    { "too short for a tag", no_room_for_tag, 0 },
    { "size 2^32 - 1", huge, 0 },
    { "larger than the room", larger_than_room, 0 },
    { "replayed", replay, 1 },
    { "reordered", reorder, 0 },
    { "dropped", drop, 0 },
    { "counter ahead", count_ahead, 3 },
    { "of another slot", other_slot, 0 },
    { "of another session", other_session, 0 },
    { "reflected", reflect, 0 },
};

static void test_attacks(void **state UNUSED)
{
    static const char *const messages[] = { "one", "two", "six" };
    for (size_t i = 0; i < ARRAY_SIZE(g_attacks); i++) {
        start(false);
        for (size_t m = 0; m < 3; m++)
            assert_int_equal(channel_send(&g_client, messages[m], 4), 0);
        if (g_attacks[i].attack)
            g_attacks[i].attack();
        char text[64];
        for (unsigned m = 0; m < g_attacks[i].good; m++) {
            if (channel_receive(&g_server, text, sizeof(text), false) != 4 ||
                strcmp(text, messages[m]) != 0)
                fail_msg("%s: message %u did not arrive", g_attacks[i].name, m);
        }
        if (!g_attacks[i].attack) {
            assert_int_equal(channel_try_receive(&g_server, text, sizeof(text)), -EAGAIN);
            continue;
        }
        memset(text, 0x55, sizeof(text));
        if (channel_receive(&g_server, text, sizeof(text), false) != -EPIPE)
            fail_msg("%s: taken", g_attacks[i].name);
        if (memchr(text, 'o', sizeof(text)) || memchr(text, 't', sizeof(text)))
            fail_msg("%s: text was left behind", g_attacks[i].name);
        /* Broken for ever: also for what is right, and with its keys gone. */
        assert_int_equal(channel_send(&g_client, "more", 5), 0);
        assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), -EPIPE);
        assert_int_equal(channel_try_receive(&g_server, text, sizeof(text)), -EPIPE);
        assert_int_equal(channel_send(&g_server, "more", 5), -EPIPE);
        assert_int_equal(channel_call(&g_server, "more", 5, text, sizeof(text), true), -EPIPE);
        assert_true(bytes_zero_ct(&g_server.seal, sizeof(g_server.seal)));
        assert_true(bytes_zero_ct(&g_server.open, sizeof(g_server.open)));
    }
}

/*
 * What the receiver would have got without the check that refuses: the same cells, opened under the
 * sequence number, direction and slot for which they were sealed.
 */
static int open_as(struct tree_cell *cell, uint8_t direction, uint32_t slot, uint64_t sequence,
                   const struct aes_gcm *gcm, char *ret)
{
    struct {
        uint32_t direction, slot;
        uint64_t sequence;
    } bound = { direction, slot, sequence };
    uint8_t nonce[AES_GCM_NONCE_SIZE] = { (uint8_t)sequence };
    return aes_gcm_open(gcm, nonce, &bound, sizeof(bound), cell->bytes + AES_GCM_TAG_SIZE,
                        cell->size - AES_GCM_TAG_SIZE, cell->bytes, ret);
}

static void test_attacks_would_work(void **state UNUSED)
{
    static const struct {
        const char *name;
        void (*attack)(void);
        unsigned cell;     /* where the receiver looks */
        const char *text;  /* what it would have taken */
        uint64_t sequence; /* had it not insisted on its own count */
        uint32_t slot;     /* ... its own slot */
        uint8_t direction; /* ... its own direction */
    } cases[] = {
        { "replayed", replay, 1, "one", 0, SLOT, TREE_TO_SERVER },
        { "reordered", reorder, 0, "two", 1, SLOT, TREE_TO_SERVER },
        { "dropped", drop, 0, "two", 1, SLOT, TREE_TO_SERVER },
        { "of another slot", other_slot, 0, "one", 0, OTHER, TREE_TO_SERVER },
        { "reflected", reflect, 0, "one", 0, SLOT, TREE_TO_CLIENT },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[64] = "";
        start(false);
        assert_int_equal(channel_send(&g_client, "one", 4), 0);
        assert_int_equal(channel_send(&g_client, "two", 4), 0);
        assert_int_equal(channel_send(&g_client, "six", 4), 0);
        cases[i].attack();
        const struct aes_gcm *key =
            cases[i].direction == TREE_TO_SERVER ? &g_server.open : &g_server.seal;
        if (open_as(sent(cases[i].cell), cases[i].direction, cases[i].slot, cases[i].sequence, key,
                    text) != 0 ||
            strcmp(text, cases[i].text) != 0)
            fail_msg("%s: is no attack", cases[i].name);
    }
    /* Flips: without the tag, counter mode gives the text with just that bit changed. */
    start(false);
    assert_int_equal(channel_send(&g_client, "one", 4), 0);
    flip_text();
    uint8_t nonce[AES_GCM_NONCE_SIZE] = { 0 }, tag[AES_GCM_TAG_SIZE];
    char text[4];
    aes_gcm_seal(&g_server.open, nonce, NULL, 0, sent(0)->bytes + AES_GCM_TAG_SIZE, 4, text, tag);
    assert_string_equal(text, "kne");
}

/* Whatever the host writes where: what arrives is the next message, or nothing ever again. */
static void test_random_attacks(void **state UNUSED)
{
    unsigned seed = 11;
    for (unsigned round = 0; round < 4000; round++) {
        char text[64], want[16];
        start(false);
        if (round % 2) {
            channel_init_greeted(&g_client, SLOT, false, g_secret, g_greetings[0]);
            channel_init_greeted(&g_server, SLOT, false, g_secret, NULL);
        }
        for (unsigned m = 0; m < 5; m++) {
            snprintf(text, sizeof(text), "message %u", m);
            assert_int_equal(channel_send(&g_client, text, 10), 0);
        }
        for (int changes = rand_r(&seed) % 4; changes >= 0; changes--) {
            unsigned kind = (unsigned)rand_r(&seed) % 4, at = (unsigned)rand_r(&seed);
            uint8_t *counters = (uint8_t *)tree_slot_of(g_region, SLOT);
            uint8_t *from = (uint8_t *)sent((unsigned)rand_r(&seed) % TREE_CELLS);
            uint8_t *to = (uint8_t *)sent((unsigned)rand_r(&seed) % TREE_CELLS);
            if (kind == 0)
                counters[at % 8] = (uint8_t)rand_r(&seed);
            else if (kind == 1)
                to[at % 80] ^= (uint8_t)(1u << rand_r(&seed) % 8);
            else if (kind == 2)
                memcpy(to, from, 96);
            else
                memset(to + at % 80, rand_r(&seed), 8);
        }
        unsigned next = 0;
        int64_t r;
        while ((r = channel_try_receive(&g_server, text, sizeof(text))) >= 0) {
            snprintf(want, sizeof(want), "message %u", next++);
            if (r != 10 || strcmp(text, want) != 0)
                fail_msg("round %u: took '%.10s', wanted '%s'", round, text, want);
        }
        if (r != -EPIPE && r != -EAGAIN)
            fail_msg("round %u: %d", round, (int)r);
    }
}

/* Rooms and sizes as they are, without an attack: to the byte. */
static void test_sizes(void **state UNUSED)
{
    static uint8_t data[TREE_MESSAGE_MAX], got[TREE_MESSAGE_MAX + 1];
    static const uint32_t sizes[] = { 0, 1, 15, 16, 17, 100, 4096, TREE_MESSAGE_MAX };
    memset(data, 0x3c, sizeof(data));
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        start(false);
        memset(got, 0x55, sizeof(got));
        assert_int_equal(channel_send(&g_client, data, sizes[i]), 0);
        assert_int_equal(channel_receive(&g_server, got, sizes[i], false), sizes[i]);
        assert_memory_equal(got, data, sizes[i]);
        assert_int_equal(got[sizes[i]], 0x55);
        if (!sizes[i])
            continue;
        memset(got, 0x55, sizeof(got));
        assert_int_equal(channel_send(&g_client, data, sizes[i]), 0);
        assert_int_equal(channel_receive(&g_server, got, sizes[i] - 1, false), -EPIPE);
        assert_int_equal(got[0], 0x55);
    }
}

static void test_keys_differ(void **state UNUSED)
{
    start(false);
    assert_memory_equal(&g_client.seal, &g_server.open, sizeof(g_client.seal));
    assert_memory_equal(&g_client.open, &g_server.seal, sizeof(g_client.seal));
    assert_memory_not_equal(&g_client.open, &g_client.seal, sizeof(g_client.seal));
    channel_wipe(&g_client);
    assert_true(bytes_zero_ct(&g_client.seal, sizeof(g_client.seal)));
    assert_int_equal(channel_send(&g_client, "x", 1), -EPIPE);
}

/* --- greetings
 * ------------------------------------------------------------------------------------------- */

static void start_greeted(void)
{
    start(true);
    channel_init_greeted(&g_client, SLOT, true, g_secret, g_greetings[0]);
    channel_init_greeted(&g_server, SLOT, true, g_secret, NULL);
}

static void flip_greeting(void)
{
    sent(0)->bytes[AES_GCM_TAG_SIZE + CHANNEL_GREETING_SIZE - 1] ^= 1;
}
static void flip_greeted_text(void)
{
    sent(0)->bytes[AES_GCM_TAG_SIZE + CHANNEL_GREETING_SIZE] ^= 1;
}
static void no_greeting(void)
{
    sent(0)->size = CHANNEL_GREETING_SIZE - 1;
}
static void greeting_alone(void)
{
    sent(0)->size = CHANNEL_GREETING_SIZE;
}
static void no_tag(void)
{
    sent(0)->size = CHANNEL_GREETING_SIZE + AES_GCM_TAG_SIZE - 1;
}
static void greeted_huge(void)
{
    sent(0)->size = UINT32_MAX;
}
static void greeting_of_another(void)
{
    memcpy(sent(0)->bytes + AES_GCM_TAG_SIZE, g_greetings[1], CHANNEL_GREETING_SIZE);
}

static void test_greeting(void **state UNUSED)
{
    static char large[TREE_MESSAGE_MAX];
    char text[64];
    start_greeted();
    assert_true(bytes_zero_ct(&g_server.seal, sizeof(g_server.seal)));
    assert_int_equal(channel_try_receive(&g_server, text, sizeof(text)), -EAGAIN);
    assert_true(g_server.greets);
    for (unsigned n = 0; n < 3; n++) { /* only the first has one in front */
        assert_int_equal(channel_send(&g_client, "request", 8), 0);
        assert_int_equal(sent(0)->size,
                         AES_GCM_TAG_SIZE + (n == 0 ? CHANNEL_GREETING_SIZE : 0) + 8);
        assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), 8);
        assert_string_equal(text, "request");
        assert_false(g_server.greets || g_client.greets);
        assert_true(bytes_zero_ct(g_server.greeting, sizeof(g_server.greeting))); /* the secret */
        assert_int_equal(channel_send(&g_server, "answer", 7), 0);
        assert_int_equal(channel_receive(&g_client, text, sizeof(text), false), 7);
    }
    /* The largest message has room, too. */
    start_greeted();
    assert_int_equal(channel_send(&g_client, large, sizeof(large)), 0);
    assert_int_equal(channel_receive(&g_server, large, sizeof(large), false), sizeof(large));

    /* Two with one secret have no key in common, nor that of a channel without. */
    struct channel other, plain;
    start_greeted();
    channel_init_greeted(&other, SLOT, true, g_secret, g_greetings[1]);
    channel_init(&plain, SLOT, true, true, g_secret);
    assert_memory_not_equal(&g_client.seal, &other.seal, sizeof(other.seal));
    assert_memory_not_equal(&g_client.open, &other.open, sizeof(other.open));
    assert_memory_not_equal(&g_client.seal, &plain.seal, sizeof(plain.seal));
    /* The server goes on with the one whose first message it gets. */
    assert_int_equal(channel_send(&g_client, "one", 4), 0);
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), 4);
    assert_int_equal(channel_send(&other, "two", 4), 0);
    assert_int_equal(channel_try_receive(&g_server, text, sizeof(text)), -EPIPE);

    static const struct {
        const char *name;
        void (*how)(void);
    } attacks[] = {
        { "flipped greeting", flip_greeting },
        { "flipped text", flip_greeted_text },
        { "flipped tag", flip_tag },
        { "no greeting", no_greeting },
        { "greeting alone", greeting_alone },
        { "no room for the tag", no_tag },
        { "huge", greeted_huge },
        { "another's greeting", greeting_of_another },
        { "longer", lengthen },
        { "shorter", cut },
    };
    for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
        start_greeted();
        assert_int_equal(channel_send(&g_client, "request", 8), 0);
        attacks[i].how();
        if (channel_try_receive(&g_server, text, sizeof(text)) != -EPIPE || !g_server.broken ||
            !bytes_zero_ct(g_server.greeting, sizeof(g_server.greeting)))
            fail_msg("%s: taken", attacks[i].name);
    }
    /* Another secret. */
    static const uint8_t secret[CHANNEL_SECRET_SIZE] = { 7, 2 };
    start_greeted();
    channel_init_greeted(&g_client, SLOT, true, secret, g_greetings[0]);
    assert_int_equal(channel_send(&g_client, "request", 8), 0);
    assert_int_equal(channel_try_receive(&g_server, text, sizeof(text)), -EPIPE);
}

/* The region is never written with plain text, and no sequence number seals twice. */
static void test_nonces(void **state UNUSED)
{
    char text[64];
    start(true);
    for (unsigned n = 0; n < 20; n++) {
        assert_int_equal(channel_send(&g_client, "request", 8), 0);
        assert_int_equal(g_client.sent, n + 1);
        assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), 8);
        assert_int_equal(channel_send(&g_server, "answer", 7), 0);
        assert_int_equal(channel_receive(&g_client, text, sizeof(text), false), 7);
        struct tree_cell *cell = tree_cell_of(g_region, SLOT, TREE_TO_SERVER, 0);
        if (memmem(cell, 256, "request", 7))
            fail_msg("plain text in the region");
        /* The host says that it failed: the number is used up all the same. */
        uint8_t before[24];
        memcpy(before, cell->bytes, sizeof(before));
        g_tree_lie = -EIO;
        struct channel copy = g_client;
        assert_int_equal(channel_send(&copy, "request", 8), -EPIPE);
        assert_int_equal(copy.sent, n + 2);
        memcpy(cell->bytes, before, sizeof(before));
    }
}

/* --- waiting
 * ---------------------------------------------------------------------------------------------- */

static unsigned g_idle_count;

static void answer_after_two(void)
{
    char text[64];
    if (++g_idle_count < 3)
        return; /* the host returns for nothing */
    assert_int_equal(channel_try_receive(&g_server, text, sizeof(text)), 2);
    assert_int_equal(channel_send(&g_server, "answer", 7), 0);
}

static void test_call(void **state UNUSED)
{
    char text[64];
    start(true);
    g_idle_count = 0;
    g_tree_idle = answer_after_two;
    assert_int_equal(channel_call(&g_client, "q", 2, text, sizeof(text), true), 7);
    assert_string_equal(text, "answer");
    assert_false(g_tree_parked_badly);
    assert_int_equal(current()->parked, 0);
    assert_int_equal(g_tree_takens, 0);

    /* Signals that must wait: as if the host returned for nothing. */
    start(true);
    g_idle_count = 0;
    g_tree_idle = answer_after_two;
    g_tree_signal = true;
    current()->work = THREAD_WORK_SIGNAL;
    assert_int_equal(channel_call(&g_client, "q", 2, text, sizeof(text), false), 7);
    assert_string_equal(text, "answer");

    /* Signals that end the wait: the question is sent, and its answer comes later. */
    start(true);
    g_tree_signal = true;
    assert_int_equal(channel_call(&g_client, "q", 2, text, sizeof(text), true), -EINTR);
    assert_int_equal(g_tree_posts, 1);
    assert_int_equal(g_tree_waits, 0);
    assert_true(current()->work & THREAD_WORK_SIGNAL);
    assert_int_equal(channel_receive(&g_client, text, sizeof(text), true), -EINTR);
    g_idle_count = 2;
    answer_after_two();
    assert_int_equal(channel_receive(&g_client, text, sizeof(text), true), 7);
    assert_string_equal(text, "answer");
}

static void signal_comes(void)
{
    g_tree_signal = true;
}

static void test_interrupted_receive(void **state UNUSED)
{
    char text[64];
    start(false);
    g_tree_idle = signal_comes;
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), true), -EINTR);
    assert_int_equal(g_tree_waits, 1);
    /* What has come counts before the signal. */
    assert_int_equal(channel_send(&g_client, "one", 4), 0);
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), true), 4);
}

static void peer_dies(void)
{
    tree_slot_of(g_region, SLOT)->dead = 1;
}

static void peer_speaks_and_dies(void)
{
    assert_int_equal(channel_send(&g_client, "last", 5), 0);
    peer_dies();
}

static void test_death(void **state UNUSED)
{
    char text[64];
    start(false);
    g_tree_idle = peer_speaks_and_dies;
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), 5);
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), -EPIPE);
    start(false);
    assert_int_equal(channel_send(&g_client, "last", 5), 0);
    peer_dies();
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), 5);
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), -EPIPE);
    assert_true(g_server.broken);

    start(false);
    g_tree_idle = peer_dies;
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), -EPIPE);
    start(true);
    g_tree_idle = peer_dies;
    assert_int_equal(channel_call(&g_client, "q", 2, text, sizeof(text), true), -EPIPE);
    start(false);
    peer_dies();
    assert_int_equal(channel_send(&g_client, "one", 4), -EPIPE);
}

static void make_room(void)
{
    char text[64];
    if (++g_idle_count % 2)
        return;
    assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), 4);
}

static void test_room(void **state UNUSED)
{
    char text[64], want[16];
    start(false);
    g_idle_count = 0;
    g_tree_idle = make_room;
    for (unsigned n = 0; n < 40; n++) {
        snprintf(text, sizeof(text), "%03u", n);
        assert_int_equal(channel_send(&g_client, text, 4), 0);
    }
    assert_int_equal(g_idle_count, 2 * (40 - TREE_CELLS));
    for (unsigned n = 40 - TREE_CELLS; n < 40; n++) {
        snprintf(want, sizeof(want), "%03u", n);
        assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), 4);
        assert_string_equal(text, want);
    }
    /* 32-bit counters wrap beside the sequence numbers. */
    start(false);
    struct tree_slot *slot = tree_slot_of(g_region, SLOT);
    slot->way[TREE_TO_SERVER].posted = slot->way[TREE_TO_SERVER].taken = UINT32_MAX - 1;
    g_client.sent = g_server.received = UINT32_MAX - 1ull;
    for (unsigned n = 0; n < 5; n++) {
        assert_int_equal(channel_send(&g_client, "one", 4), 0);
        assert_int_equal(channel_receive(&g_server, text, sizeof(text), false), 4);
    }
}

/* --- streams
 * ---------------------------------------------------------------------------------------------- */

static struct tree_stream g_reader;
static uint8_t g_got[600000];
static uint64_t g_wanted;

/* The sender waits for room: the reader gets on. */
static void read_on(void)
{
    uint64_t n = g_wanted < 100000 ? g_wanted : 100000;
    static uint64_t at;
    if (g_wanted == sizeof(g_got))
        at = 0;
    tree_get_bytes(&g_reader, g_got + at, n);
    at += n;
    g_wanted -= n;
    if (!g_wanted)
        at = 0;
}

static void test_stream(void **state UNUSED)
{
    static uint8_t bytes[sizeof(g_got)];
    struct tree_stream writer;
    start(false);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 24);
    assert_int_equal(tree_stream_open(&writer, &g_client), 0);
    assert_int_equal(tree_stream_open(&g_reader, &g_server), 0);
    g_wanted = sizeof(bytes);
    g_tree_idle = read_on;
    tree_put_bytes(&writer, bytes, sizeof(bytes));
    tree_put_u32(&writer, 0x12345678);
    tree_put_u64(&writer, UINT64_MAX - 1);
    tree_put_string(&writer, "hello", 5);
    tree_put_string(&writer, NULL, 9);
    assert_int_equal(tree_stream_done(&writer), 0);
    while (g_wanted)
        read_on();
    assert_memory_equal(g_got, bytes, sizeof(bytes));
    g_tree_idle = NULL;
    assert_int_equal(tree_get_u32(&g_reader), 0x12345678);
    assert_int_equal(tree_get_u64(&g_reader), UINT64_MAX - 1);
    uint32_t size = 9;
    char *text = tree_get_string(&g_reader, 5, &size);
    assert_string_equal(text, "hello");
    assert_int_equal(size, 5);
    free(text);
    text = tree_get_string(&g_reader, 5, &size);
    assert_string_equal(text, "");
    assert_int_equal(size, 0);
    free(text);

    /* Turned round: the reader answers over the same channel. */
    tree_put_u32(&g_reader, 77);
    assert_int_equal(tree_stream_done(&g_reader), 0);
    assert_int_equal(tree_stream_open(&writer, &g_client), 0);
    assert_int_equal(tree_get_u32(&writer), 77);
    assert_int_equal(tree_stream_done(&writer), 0);
}

static void test_stream_errors(void **state UNUSED)
{
    struct tree_stream writer;
    uint32_t size = 42;
    start(false);
    assert_int_equal(tree_stream_open(&writer, &g_client), 0);
    assert_int_equal(tree_stream_open(&g_reader, &g_server), 0);
    tree_put_string(&writer, "too long", 8);
    assert_int_equal(tree_stream_flush(&writer), 0);
    assert_null(tree_get_string(&g_reader, 7, &size));
    assert_int_equal(size, 42);
    assert_int_equal(g_reader.error, -EBADMSG);
    /* Errors stick, and what is not there reads as zeros. */
    uint64_t value = 5;
    tree_get_bytes(&g_reader, &value, sizeof(value));
    assert_int_equal(value, 0);
    assert_int_equal(tree_stream_done(&g_reader), -EBADMSG);

    peer_dies();
    tree_put_u32(&writer, 1);
    assert_int_equal(tree_stream_done(&writer), -EPIPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region),
        cmocka_unit_test(test_attacks),
        cmocka_unit_test(test_attacks_would_work),
        cmocka_unit_test(test_random_attacks),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_keys_differ),
        cmocka_unit_test(test_greeting),
        cmocka_unit_test(test_nonces),
        cmocka_unit_test(test_call),
        cmocka_unit_test(test_interrupted_receive),
        cmocka_unit_test(test_death),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_errors),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
