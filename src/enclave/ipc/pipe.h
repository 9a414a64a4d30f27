/*
 * Pipes inside the enclave. Tier: enclave. Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "core/attr.h"
#include "thread/mutex.h"
#include "vfs/file.h"

struct kstat;

#define PIPE_SIZE_DEFAULT 65536u
#define PIPE_SIZE_MAX     1048576u
#define PIPE_ATOMIC       4096u /* PIPE_BUF */

/* Open files on their way through a stream (SCM_RIGHTS), with the first byte that was sent with them. */
struct stream_rights {
    struct stream_rights *next;
    uint64_t at;   /* position of that byte */
    uint64_t size; /* bytes that came with it: a read that takes the files ends there */
    uint32_t count;
    struct file *files[]; /* referenced */
};

/* A stream of bytes in one direction: the pipe's own, and each half of a pair of stream sockets. Zero is one
 * without memory yet. */
struct stream {
    struct mutex mutex;                /* the ring's content; held across copies */
    uint8_t *ring;                     /* size bytes, a power of two; NULL until the first write */
    uint32_t size;                     /* 0: PIPE_SIZE_DEFAULT */
    uint64_t head, tail;               /* bytes ever read, written; atomic */
    uint32_t readers, writers;         /* open ends; atomic */
    struct waitq *readable, *writable; /* woken when that may have changed */
    struct stream_rights *rights;      /* oldest first; under mutex */
    bool moved;                        /* the hub has it now: file->ops do. Under mutex; atomic */
};
/* What a call on a stream that has moved answers: to be made again through file->ops. */
#define STREAM_MOVED (-4096)

uint32_t stream_used(const struct stream *stream);
uint32_t stream_room(const struct stream *stream);
/* As read(2) and write(2) of a pipe; -EPIPE without the signal. atomic: up to PIPE_ATOMIC bytes go
 * in one piece. peek: they stay. */
int64_t stream_read(struct stream *stream, void *user, uint64_t size, bool nonblock, bool peek);
int64_t stream_write(struct stream *stream, const void *user, uint64_t size, bool nonblock,
                     bool atomic);
/* The same with open files. A read ends before bytes that bring others, and behind those that brought what it takes;
 * *ret_rights: the caller's, or NULL; who takes none (ret_rights NULL) closes them. A write takes *rights over, and sets
 * it to NULL, with its first byte. */
int64_t stream_read_rights(struct stream *stream, void *user, uint64_t size, bool nonblock,
                           bool peek, struct stream_rights **ret_rights);
int64_t stream_write_rights(struct stream *stream, const void *user, uint64_t size, bool nonblock,
                            bool atomic, struct stream_rights **rights);
/* NULL: no memory. */
MUST_CHECK struct stream_rights *stream_rights_new(uint32_t count);
/* Closes the files and frees; NULL is fine. */
void stream_rights_drop(struct stream_rights *rights);
void stream_done(struct stream *stream);
/* F_GETPIPE_SZ, F_SETPIPE_SZ. -EINVAL, -EPERM, -EBUSY, -ENOMEM; STREAM_MOVED. */
uint32_t stream_size(const struct stream *stream);
int64_t stream_set_size(struct stream *stream, uint64_t size);
/* To the hub: what is in it to the handle, then it is empty and moved. The mutex is held; who waits on its queues
 * must be woken afterwards. own: as remote_push_rights(); NULL: no descriptors can be in it. */
struct remote;
struct remote_pair;
MUST_CHECK int stream_move(struct stream *stream, const struct remote *to,
                           const struct remote_pair *own);
/* Descriptors that are on their way in it, taken out: they have moved. The mutex is held; drop them without it. */
MUST_CHECK struct stream_rights *stream_rights_take(struct stream *stream);
void stream_rights_drop_all(struct stream_rights *list);
/* Before: the n-th file on its way that is this process's own still; NULL: none. Referenced. */
MUST_CHECK struct file *stream_rights_file(struct stream *stream, uint32_t n);
bool stream_moved(const struct stream *stream);
/* A pipe's two ends; flags: O_NONBLOCK. size 0: the default. */
MUST_CHECK int pipe_new(uint32_t size, uint32_t reader_flags, uint32_t writer_flags,
                        struct file **ret_reader, struct file **ret_writer);
/* SIGPIPE for the calling thread. */
void stream_sigpipe(void);
