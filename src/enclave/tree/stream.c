/*
 * Streams over channels (stream.h). Tier: enclave.
 *
 * The same object writes and reads, never both at once: while it writes, size is 0 and at is what
 * the buffer holds; while it reads, at of size bytes are used up. Turning round sends what was
 * written; turning round before everything was read is a protocol error. Bulk goes past the buffer.
 */
#include "tree/stream.h"

#include <asm/errno.h>

#include "arch/string.h"
#include "core/bytes.h"
#include "mm/heap.h"

int tree_stream_open(struct tree_stream *s, struct channel *channel)
{
    uint8_t *buf = heap_alloc(STREAM_MESSAGE);
    if (!buf)
        return -ENOMEM;
    *s = (struct tree_stream){ .channel = channel, .buf = buf };
    return 0;
}

static void fail(struct tree_stream *s, int64_t error)
{
    if (!s->error)
        s->error = (int)error;
}

int tree_stream_flush(struct tree_stream *s)
{
    if (!s->error && !s->size && s->at) {
        int r = channel_send(s->channel, s->buf, s->at);
        s->at = 0;
        if (r < 0)
            fail(s, r);
    }
    return s->error;
}

int tree_stream_done(struct tree_stream *s)
{
    int r = tree_stream_flush(s);
    if (s->buf) { /* it may hold secrets: channels' among them */
        bytes_wipe(s->buf, STREAM_MESSAGE);
        heap_free(s->buf);
        s->buf = NULL;
    }
    return r;
}

/* From reading to writing. */
static bool writing(struct tree_stream *s)
{
    if (s->size) {
        if (s->at != s->size)
            fail(s, -EBADMSG);
        s->at = s->size = 0;
    }
    return !s->error;
}

void tree_put_bytes(struct tree_stream *s, const void *data, uint64_t size)
{
    const uint8_t *from = data;
    while (size && writing(s)) {
        if (!s->at && size >= STREAM_MESSAGE) {
            int r = channel_send(s->channel, from, STREAM_MESSAGE);
            if (r < 0)
                fail(s, r);
            from += STREAM_MESSAGE;
            size -= STREAM_MESSAGE;
            continue;
        }
        uint64_t n = STREAM_MESSAGE - s->at;
        if (n > size)
            n = size;
        memcpy(s->buf + s->at, from, n);
        s->at += (uint32_t)n;
        from += n;
        size -= n;
        if (s->at == STREAM_MESSAGE && tree_stream_flush(s) < 0)
            return;
    }
}

void tree_put_u32(struct tree_stream *s, uint32_t value)
{
    tree_put_bytes(s, &value, sizeof(value));
}

void tree_put_u64(struct tree_stream *s, uint64_t value)
{
    tree_put_bytes(s, &value, sizeof(value));
}

void tree_put_string(struct tree_stream *s, const char *text, uint32_t size)
{
    if (!text)
        size = 0;
    tree_put_u32(s, size);
    tree_put_bytes(s, text, size);
}

/* The next message to `to`; its size. Empty messages do not occur. */
static uint32_t refill(struct tree_stream *s, void *to, uint32_t room)
{
    int64_t n = channel_receive(s->channel, to, room, false);
    if (n <= 0) {
        fail(s, n < 0 ? n : -EBADMSG);
        return 0;
    }
    return (uint32_t)n;
}

void tree_get_bytes(struct tree_stream *s, void *ret, uint64_t size)
{
    uint8_t *to = ret;
    if (!s->size && tree_stream_flush(s) < 0) /* what was written goes out first */
        goto failed;
    while (size) {
        if (s->error)
            goto failed;
        if (s->at == s->size) {
            s->at = s->size = 0;
            if (size >= STREAM_MESSAGE) {
                uint32_t n = refill(s, to, STREAM_MESSAGE);
                to += n;
                size -= n;
                continue;
            }
            s->size = refill(s, s->buf, STREAM_MESSAGE);
            continue;
        }
        uint64_t n = s->size - s->at;
        if (n > size)
            n = size;
        memcpy(to, s->buf + s->at, n);
        s->at += (uint32_t)n;
        to += n;
        size -= n;
    }
    return;

failed: /* what was not received reads as zeros */
    if (size)
        memset(to, 0, size);
}

uint32_t tree_get_u32(struct tree_stream *s)
{
    uint32_t value;
    tree_get_bytes(s, &value, sizeof(value));
    return value;
}

uint64_t tree_get_u64(struct tree_stream *s)
{
    uint64_t value;
    tree_get_bytes(s, &value, sizeof(value));
    return value;
}

char *tree_get_string(struct tree_stream *s, uint32_t max, uint32_t *ret_size)
{
    uint32_t size = tree_get_u32(s);
    if (!s->error && size > max)
        fail(s, -EBADMSG);
    if (s->error)
        return NULL;
    char *text = heap_alloc((uint64_t)size + 1);
    if (!text) {
        fail(s, -ENOMEM);
        return NULL;
    }
    tree_get_bytes(s, text, size);
    if (s->error) {
        heap_free(text);
        return NULL;
    }
    text[size] = '\0';
    if (ret_size)
        *ret_size = size;
    return text;
}
