/*
 * One end of a channel between two enclaves: messages sealed with AES-256-GCM over a slot of the shared
 * region (abi/tree.h). Each direction has its own key; the nonce is the message's sequence number, which
 * never repeats under a key: a channel is closed before it would wrap. So nothing can be replayed,
 * reordered, dropped, reflected or cut without being noticed: then the channel is broken for ever, and
 * what depends on it must treat its peer as killed. Tier: enclave.
 *
 * Not thread-safe: one thread at a time per channel.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "abi/tree.h"
#include "core/aes_gcm.h"
#include "core/attr.h"

#define CHANNEL_SECRET_SIZE   32
#define CHANNEL_GREETING_SIZE 32

struct channel {
    uint32_t slot;
    uint8_t out, in; /* enum tree_direction */
    bool broken;
    bool ping;               /* asked and answered only: cell 0 */
    uint64_t sent, received; /* sequence numbers: the next message's */
    bool greets;             /* the client's first message is still to come: keys depend on it */
    uint8_t greeting
        [CHANNEL_GREETING_SIZE]; /* until then: the client's greeting, the server's secret */
    struct aes_gcm seal, open;
};

/* Both directions' keys from one secret: HKDF-SHA-256 with the direction as info. client: which end this
 * is. The secret is wiped by the caller. */
void channel_init(struct channel *channel, uint32_t slot, bool client, bool ping,
                  const uint8_t secret[static CHANNEL_SECRET_SIZE]);
void channel_wipe(struct channel *channel);

/* The same where several enclaves may have been given the client's secret, by somebody who is not to be believed: each
 * draws a greeting of its own, which travels in the clear in front of its first message, and the keys are those of HKDF
 * (salt: greeting, secret). So no two of them ever seal under one key, and the server goes on with the one whose
 * first message it gets. greeting NULL: the server's end; it has no keys, and does not send, until then. */
void channel_init_greeted(struct channel *channel, uint32_t slot, bool ping,
                          const uint8_t secret[static CHANNEL_SECRET_SIZE],
                          const uint8_t *greeting);

/* The same in two steps, for attest.c: what is sent plain before there are keys uses the same cells, counters
 * and sequence numbers. Nothing in such a message is to be believed. size is a multiple of 8. */
void channel_begin(struct channel *channel, uint32_t slot, bool client, bool ping);
void channel_keys(struct channel *channel, const uint8_t secret[static CHANNEL_SECRET_SIZE]);
MUST_CHECK int channel_send_plain(struct channel *channel, const void *data, uint32_t size);
/* -EPIPE also if the message's size is not this one. */
MUST_CHECK int channel_receive_plain(struct channel *channel, void *buf, uint32_t size);

/* Seals into the next cell and posts it. Streams: waits for room. data: library OS memory, at most
 * TREE_MESSAGE_MAX. -EPIPE: broken, or the peer's process died. */
MUST_CHECK int channel_send(struct channel *channel, const void *data, uint32_t size);
/* Waits for the next message, opens it into buf; its size. -EPIPE as above (also for a message larger than
 * room); -EINTR only if interruptible: a signal waits (THREAD_WORK), nothing was consumed. */
MUST_CHECK int64_t channel_receive(struct channel *channel, void *buf, uint32_t room,
                                   bool interruptible);
/* Without waiting: -EAGAIN if nothing has come. */
MUST_CHECK int64_t channel_try_receive(struct channel *channel, void *buf, uint32_t room);
/* channel_send and channel_receive in one OCALL (OCALL_TREE_CALL). After -EINTR the message is sent: go
 * on with channel_receive. */
MUST_CHECK int64_t channel_call(struct channel *channel, const void *data, uint32_t size, void *buf,
                                uint32_t room, bool interruptible);

/* The region's address; 0 before tree_region_set(). Checked there: outside ELRANGE, all of it. */
uint64_t tree_region(void);
MUST_CHECK int tree_region_set(uint64_t address);
