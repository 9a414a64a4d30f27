/*
 * A stream of typed bytes over a channel: what a parent tells its child at spawn and fork (arguments,
 * descriptors, memory). The writer buffers and sends whole messages; the reader refills. Errors stick:
 * check once, at the end (tree_stream_done, or ->error). Both ends run the same library OS or one of the same signer and
 * cascade, so there is no versioning. The reader checks sizes all the same. Tier: enclave.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "tree/channel.h"

#define STREAM_MESSAGE 65536u /* bytes of a full one: whole pages */

struct tree_stream {
    struct channel *channel;
    uint8_t *buf; /* STREAM_MESSAGE bytes */
    uint32_t at, size;
    int error; /* 0 or the first -errno */
};

/* -ENOMEM. tree_stream_done frees, and for a writer sends what is left; then the error. */
MUST_CHECK int tree_stream_open(struct tree_stream *s, struct channel *channel);
MUST_CHECK int tree_stream_flush(struct tree_stream *s);
int tree_stream_done(struct tree_stream *s);

void tree_put_bytes(struct tree_stream *s, const void *data, uint64_t size);
void tree_put_u32(struct tree_stream *s, uint32_t value);
void tree_put_u64(struct tree_stream *s, uint64_t value);
/* Length, then bytes. NULL: as empty. */
void tree_put_string(struct tree_stream *s, const char *text, uint32_t size);

void tree_get_bytes(struct tree_stream *s, void *ret, uint64_t size);
uint32_t tree_get_u32(struct tree_stream *s);
uint64_t tree_get_u64(struct tree_stream *s);
/* Heap memory with a NUL; NULL after an error or if longer than max. */
MUST_CHECK char *tree_get_string(struct tree_stream *s, uint32_t max, uint32_t *ret_size);
