/*
 * Channels between enclaves (channel.h). Tier: enclave.
 *
 * A message in its cell: size = AES_GCM_TAG_SIZE + n; the tag first, then n bytes of ciphertext, so
 * that both are 16-byte aligned. A greeting stands between them, and counts in size. Nonce: the sequence number. Associated data: direction, slot,
 * sequence number; n is authenticated as the ciphertext's length.
 *
 * All that is read of the region: the counters (when to look), a cell's size (bounded), its tag
 * (copied) and its ciphertext, each once. What they say is either what the peer sealed as this very
 * message, or ends the channel.
 *
 * The counters run modulo 2^32 beside the sequence numbers. A host that runs them ahead makes the
 * receiver open a cell that does not hold the message, or the sender overwrite one that was not
 * taken: both end the channel.
 */
#include "tree/channel.h"

#include <asm/errno.h>

#include "abi/layout.h"
#include "arch/crypto.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "core/bytes.h"
#include "process/process.h"
#include "signal/signal.h"
#include "thread/timer.h"

/* Far below what wraps the 32-bit counters' distance or GCM's limits. */
#define SEQUENCE_MAX (1ull << 48)

static uint64_t g_region;

uint64_t tree_region(void)
{
    return __atomic_load_n(&g_region, __ATOMIC_ACQUIRE);
}

int tree_region_set(uint64_t address)
{
    if (address % LAYOUT_PAGE || address < PARAMS->enclave_size ||
        address > (1ull << 47) - LAYOUT_PAGE - TREE_REGION_SIZE)
        return -EINVAL;
    __atomic_store_n(&g_region, address, __ATOMIC_RELEASE);
    return 0;
}

static uint64_t slot_at(uint32_t slot)
{
    ASSERT(slot < TREE_SLOTS && tree_region());
    return tree_region() + TREE_REGION_HEAD + (uint64_t)slot * TREE_SLOT_SIZE;
}

/* A direction's counters, which share a word. */
struct counters {
    uint32_t posted, taken;
};
static_assert(offsetof(struct tree_slot_direction, posted) == 0, "counters");
static_assert(offsetof(struct tree_slot_direction, taken) == 4, "counters");

static struct counters counters(uint32_t slot, uint8_t direction)
{
    uint64_t at = slot_at(slot) + offsetof(struct tree_slot, way) +
                  direction * sizeof(struct tree_slot_direction);
    uint64_t word = *(const volatile uint64_t *)at;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return (struct counters){ (uint32_t)word, (uint32_t)(word >> 32) };
}

static volatile uint64_t *cell_at(const struct channel *channel, uint8_t direction,
                                  uint64_t sequence)
{
    uint64_t cell = channel->ping ? 0 : sequence % TREE_CELLS;
    return (volatile uint64_t *)(slot_at(channel->slot) + TREE_SLOT_HEAD +
                                 (direction * TREE_CELLS + cell) * TREE_CELL_SIZE);
}

/* Words of a cell. */
enum { CELL_SIZE = 0, CELL_TAG = 2, CELL_TEXT = 4 };
static_assert(sizeof(struct tree_cell) == CELL_TAG * 8, "cell head");
static_assert(TREE_CELL_SIZE % 16 == 0 && TREE_SLOT_HEAD % 16 == 0 && TREE_REGION_HEAD % 16 == 0,
              "cells are aligned");
static_assert(CELL_TEXT * 8 + CHANNEL_GREETING_SIZE + TREE_MESSAGE_MAX <= TREE_CELL_SIZE,
              "room for a message");

struct bound {
    uint32_t direction, slot;
    uint64_t sequence;
};

static void nonce_of(uint64_t sequence, uint8_t ret[static AES_GCM_NONCE_SIZE])
{
    memset(ret, 0, AES_GCM_NONCE_SIZE);
    store_le64(ret, sequence);
}

/* The direction's key: HKDF(secret, "SXPYTREE channel" and the direction). */
static void direction_key(struct aes_gcm *gcm, const uint8_t secret[static CHANNEL_SECRET_SIZE],
                          uint8_t direction)
{
    uint8_t info[] = "SXPYTREE channel ?";
    info[sizeof(info) - 2] = (uint8_t)('0' + direction);
    uint8_t key[AES_GCM_KEY_SIZE];
    island_hkdf(NULL, 0, secret, CHANNEL_SECRET_SIZE, info, sizeof(info) - 1, key, sizeof(key));
    island_gcm_init(gcm, key);
    bytes_wipe(key, sizeof(key));
}

void channel_begin(struct channel *channel, uint32_t slot, bool client, bool ping)
{
    *channel = (struct channel){
        .slot = slot,
        .out = client ? TREE_TO_SERVER : TREE_TO_CLIENT,
        .in = client ? TREE_TO_CLIENT : TREE_TO_SERVER,
        .ping = ping,
    };
}

void channel_keys(struct channel *channel, const uint8_t secret[static CHANNEL_SECRET_SIZE])
{
    direction_key(&channel->seal, secret, channel->out);
    direction_key(&channel->open, secret, channel->in);
}

void channel_init(struct channel *channel, uint32_t slot, bool client, bool ping,
                  const uint8_t secret[static CHANNEL_SECRET_SIZE])
{
    channel_begin(channel, slot, client, ping);
    channel_keys(channel, secret);
}

void channel_wipe(struct channel *channel)
{
    bytes_wipe(channel, sizeof(*channel));
    channel->broken = true;
}

static void greeted_keys(struct channel *channel, const uint8_t secret[static CHANNEL_SECRET_SIZE],
                         const uint8_t greeting[static CHANNEL_GREETING_SIZE])
{
    static const char info[] = "SXPYTREE greeting";
    uint8_t own[CHANNEL_SECRET_SIZE];
    island_hkdf(greeting, CHANNEL_GREETING_SIZE, secret, CHANNEL_SECRET_SIZE, info,
                sizeof(info) - 1, own, sizeof(own));
    channel_keys(channel, own);
    bytes_wipe(own, sizeof(own));
}

void channel_init_greeted(struct channel *channel, uint32_t slot, bool ping,
                          const uint8_t secret[static CHANNEL_SECRET_SIZE], const uint8_t *greeting)
{
    static_assert(CHANNEL_GREETING_SIZE == CHANNEL_SECRET_SIZE, "one place for either");
    channel_begin(channel, slot, greeting != NULL, ping);
    channel->greets = true;
    memcpy(channel->greeting, greeting ? greeting : secret, sizeof(channel->greeting));
    if (greeting)
        greeted_keys(channel, secret, greeting);
}

/* The keys go at once: nothing is sealed or opened any more. */
static int64_t break_off(struct channel *channel)
{
    channel->broken = true;
    bytes_wipe(&channel->seal, sizeof(channel->seal));
    bytes_wipe(&channel->open, sizeof(channel->open));
    bytes_wipe(channel->greeting, sizeof(channel->greeting));
    return -EPIPE;
}

/*
 * One wait in the host, with the dance of thread/wait.c: no signal is lost between the look and the
 * sleep, and none is waited for in vain. 0: look again (also for nothing); -EPIPE; -EINTR only if
 * interruptible, without having asked the host. OCALL_TREE_CALL has posted after all but -EINTR.
 */
static int64_t wait_host(enum ocall_nr nr, uint32_t slot, uint64_t direction, uint32_t seen,
                         bool interruptible)
{
    struct thread *thread = current();
    if (interruptible) {
        /* Cleared before the look, so that what comes in after it sets it again. */
        __atomic_fetch_and(&thread->work, ~(uint64_t)THREAD_WORK_SIGNAL, __ATOMIC_SEQ_CST);
        if (signal_deliverable(thread) || process_ending() ||
            (__atomic_load_n(&thread->work, __ATOMIC_SEQ_CST) & THREAD_WORK_EXIT)) {
            __atomic_fetch_or(&thread->work, THREAD_WORK_SIGNAL, __ATOMIC_SEQ_CST);
            return -EINTR;
        }
    }
    int64_t r = 0;
    __atomic_store_n(&thread->parked, 1, __ATOMIC_SEQ_CST);
    if (!interruptible || !(__atomic_load_n(&thread->work, __ATOMIC_SEQ_CST) &
                            (THREAD_WORK_SIGNAL | THREAD_WORK_EXIT))) {
        /* A due timer ends a wait only where it is looked at afterwards (thread/wait.c). */
        uint64_t deadline = interruptible && thread->index == 0 ? timer_next() : OCALL_NEVER;
        r = nr == OCALL_TREE_CALL ? border_call3(nr, 0, slot, direction, seen)
                                  : border_call4(nr, 0, slot, direction, seen, deadline);
    } else if (nr == OCALL_TREE_CALL) {
        r = border_call2(OCALL_TREE_POST, 0, slot, direction);
    }
    __atomic_store_n(&thread->parked, 0, __ATOMIC_SEQ_CST);
    signal_collect_host();
    /* What else the host says here is a lie or none of our business. */
    return r == -EPIPE ? -EPIPE : 0;
}

static void seal(struct channel *channel, const void *data, uint32_t size)
{
    struct bound bound = { channel->out, channel->slot, channel->sent };
    volatile uint64_t *cell = cell_at(channel, channel->out, channel->sent);
    uint8_t nonce[AES_GCM_NONCE_SIZE];
    uint64_t tag[AES_GCM_TAG_SIZE / 8];

    volatile uint64_t *text = cell + CELL_TEXT;
    uint32_t front = 0;

    nonce_of(channel->sent, nonce);
    /* Counted first: whatever happens, this nonce is used up. */
    channel->sent++;
    if (channel->greets) {
        for (; front < CHANNEL_GREETING_SIZE; front += 8)
            *text++ = load_le64(channel->greeting + front);
        channel->greets = false;
    }
    island_gcm_seal_out(&channel->seal, nonce, &bound, sizeof(bound), data, size,
                        (void *)(uintptr_t)text, (uint8_t *)tag);
    cell[CELL_TAG] = tag[0];
    cell[CELL_TAG + 1] = tag[1];
    cell[CELL_SIZE + 1] = 0;
    cell[CELL_SIZE] = size + AES_GCM_TAG_SIZE + front;
}

/* May it send? -EPIPE if not; streams wait for a free cell. */
static int64_t ready_to_send(struct channel *channel, uint32_t size)
{
    ASSERT(size <= TREE_MESSAGE_MAX);
    ASSERT(!channel->greets || channel->out == TREE_TO_SERVER);
    if (channel->broken)
        return -EPIPE;
    if (channel->sent >= SEQUENCE_MAX)
        return break_off(channel);
    while (!channel->ping) {
        uint32_t taken = counters(channel->slot, channel->out).taken;
        if ((uint32_t)channel->sent - taken < TREE_CELLS)
            break;
        if (wait_host(OCALL_TREE_ROOM, channel->slot, channel->out, taken, false) < 0)
            return break_off(channel);
    }
    return 0;
}

static int post(struct channel *channel)
{
    if (border_call2(OCALL_TREE_POST, 0, channel->slot, channel->out) < 0)
        return (int)break_off(channel);
    return 0;
}

int channel_send(struct channel *channel, const void *data, uint32_t size)
{
    if (ready_to_send(channel, size) < 0)
        return -EPIPE;
    seal(channel, data, size);
    return post(channel);
}

int channel_send_plain(struct channel *channel, const void *data, uint32_t size)
{
    ASSERT(size % 8 == 0);
    if (ready_to_send(channel, size) < 0)
        return -EPIPE;
    volatile uint64_t *cell = cell_at(channel, channel->out, channel->sent++);
    for (uint32_t i = 0; i < size / 8; i++)
        cell[CELL_TAG + i] = load_le64((const uint8_t *)data + i * 8u);
    cell[CELL_SIZE + 1] = 0;
    cell[CELL_SIZE] = size;
    return post(channel);
}

static bool has_come(const struct channel *channel)
{
    return counters(channel->slot, channel->in).posted != (uint32_t)channel->received;
}

static void taken(struct channel *channel)
{
    channel->received++;
    /* Asked and answered: the answer says that the question was taken. A peer that is gone does not
     * want to know, but what it said before still counts. */
    if (!channel->ping)
        (void)border_call2(OCALL_TREE_TAKEN, 0, channel->slot, channel->in);
}

/* The server's first message: what stands in front of it makes the keys. */
static void be_greeted(struct channel *channel, const volatile uint64_t *text)
{
    uint8_t greeting[CHANNEL_GREETING_SIZE];
    for (uint32_t i = 0; i < sizeof(greeting) / 8; i++)
        store_le64(greeting + i * 8u, text[i]);
    greeted_keys(channel, channel->greeting, greeting);
    bytes_wipe(channel->greeting, sizeof(channel->greeting));
    channel->greets = false;
}

/* Opens the next message, which has come. */
static int64_t take(struct channel *channel, void *buf, uint32_t room)
{
    struct bound bound = { channel->in, channel->slot, channel->received };
    const volatile uint64_t *cell = cell_at(channel, channel->in, channel->received);
    uint8_t nonce[AES_GCM_NONCE_SIZE];
    uint32_t size = (uint32_t)cell[CELL_SIZE];
    uint64_t tag[AES_GCM_TAG_SIZE / 8] = { cell[CELL_TAG], cell[CELL_TAG + 1] };
    const volatile uint64_t *text = cell + CELL_TEXT;

    if (channel->greets && channel->in == TREE_TO_SERVER) {
        if (size < CHANNEL_GREETING_SIZE)
            return break_off(channel);
        be_greeted(channel, text);
        size -= CHANNEL_GREETING_SIZE;
        text += CHANNEL_GREETING_SIZE / 8;
    }
    if (size < AES_GCM_TAG_SIZE || size - AES_GCM_TAG_SIZE > TREE_MESSAGE_MAX ||
        size - AES_GCM_TAG_SIZE > room || channel->received >= SEQUENCE_MAX)
        return break_off(channel);
    size -= AES_GCM_TAG_SIZE;
    nonce_of(channel->received, nonce);
    if (island_gcm_open_in(&channel->open, nonce, &bound, sizeof(bound),
                           (const void *)(uintptr_t)text, size, (const uint8_t *)tag, buf) < 0)
        return break_off(channel);
    taken(channel);
    return size;
}

int64_t channel_try_receive(struct channel *channel, void *buf, uint32_t room)
{
    if (channel->broken)
        return -EPIPE;
    return has_come(channel) ? take(channel, buf, room) : -EAGAIN;
}

/* Until a message has come: 0; -EPIPE, broken then; -EINTR. */
static int await(struct channel *channel, bool interruptible)
{
    while (!has_come(channel)) {
        int64_t r = wait_host(OCALL_TREE_WAIT, channel->slot, channel->in,
                              (uint32_t)channel->received, interruptible);
        if (r == -EINTR)
            return -EINTR;
        /* What it said before it died still counts. */
        if (r < 0 && !has_come(channel))
            return (int)break_off(channel);
    }
    return 0;
}

int64_t channel_receive(struct channel *channel, void *buf, uint32_t room, bool interruptible)
{
    if (channel->broken)
        return -EPIPE;
    int r = await(channel, interruptible);
    return r < 0 ? r : take(channel, buf, room);
}

int channel_receive_plain(struct channel *channel, void *buf, uint32_t size)
{
    ASSERT(size % 8 == 0);
    if (channel->broken || await(channel, false) < 0)
        return -EPIPE;
    const volatile uint64_t *cell = cell_at(channel, channel->in, channel->received);
    if ((uint32_t)cell[CELL_SIZE] != size)
        return (int)break_off(channel);
    for (uint32_t i = 0; i < size / 8; i++)
        store_le64((uint8_t *)buf + i * 8u, cell[CELL_TAG + i]);
    taken(channel);
    return 0;
}

int64_t channel_call(struct channel *channel, const void *data, uint32_t size, void *buf,
                     uint32_t room, bool interruptible)
{
    if (ready_to_send(channel, size) < 0)
        return -EPIPE;
    seal(channel, data, size);
    int64_t r = wait_host(OCALL_TREE_CALL, channel->slot, channel->out, (uint32_t)channel->received,
                          interruptible);
    if (r == -EINTR) /* before the host was asked: it is sent all the same */
        return post(channel) < 0 ? -EPIPE : -EINTR;
    if (r < 0 && !has_come(channel))
        return break_off(channel);
    return channel_receive(channel, buf, room, interruptible);
}
