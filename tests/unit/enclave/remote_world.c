#include "remote_world.h"

#include <errno.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <stdarg.h>
#include <stddef.h>

#include "process/process.h"
#include "vfs/remote/remote.h"
#include "vfs/share.h"

const uint8_t g_own[MANIFEST_HASH_SIZE] = "root", g_other[MANIFEST_HASH_SIZE] = "other";
struct peer g_a = { .pid = 200, .hello = true }, g_b = { .pid = 201, .parent = 200 };
struct peer *g_peer; /* who asks; NULL: the root's own program */
static struct fd_table *g_tables[3];
bool g_serving;
void (*g_meanwhile)(void);
bool g_interrupt;
void (*g_lies)(struct hub_ask *ask, int64_t *ret);
unsigned g_asked, g_told;

/* --- the hub ----------------------------------------------------------------------------------- */

bool hub_is_here(void)
{
    return g_serving || !g_peer;
}

void hub_wake(void)
{
}

struct hub g_hub;
unsigned g_cancelled;
void link_cancel(struct link *link)
{
    waitq_remove(&link->job.waiter);
    link->waiting = false;
    g_cancelled++;
}

void **peer_files(struct peer *peer)
{
    return &peer->files;
}

int32_t peer_pid(const struct peer *peer)
{
    return peer->pid;
}

int32_t hub_job_self(const struct hub_job *job)
{
    return job->peer->pid;
}

const uint8_t *peer_mrenclave(const struct peer *peer)
{
    return peer->mrenclave;
}

const uint8_t *attest_mrenclave(void)
{
    return g_own;
}

struct peer *peer_by_pid(int32_t pid)
{
    return pid == g_a.pid ? &g_a : pid == g_b.pid ? &g_b : NULL;
}

void hub_tell(int32_t pid UNUSED, const struct hub_event *event)
{
    CHECK_EQ(event->kind, HUB_EVENT_READY, "event");
    g_told++;
    remote_ready(event->a);
}

void remote_told(struct waiter *waiter)
{
    struct hub_job *job = (struct hub_job *)((uint8_t *)waiter - offsetof(struct hub_job, waiter));
    job->told = true;
}

static int64_t ask(struct hub_ask *ask, bool may_wait)
{
    static uint8_t reply[HUB_DATA_MAX];
    uint8_t *data = malloc(ask->size + 1);
    struct hub_job job = {
        .peer = g_peer, .request = { .op = ask->op, .size = ask->size }, .data = data, .first = true
    };
    int64_t ret;
    if (ask->size)
        memcpy(data, ask->data, ask->size);
    memcpy(job.request.args, ask->args, sizeof(ask->args));
    job.waiter.notify = remote_told;
    g_asked++;
    for (;;) {
        job.reply = (struct hub_reply){ 0 };
        job.reply_data = reply;
        g_serving = true;
        ret = hub_files(&job);
        hub_files_told();
        g_serving = false;
        CHECK(!current()->never_block && !current()->kernel_buffers, "flags stay set");
        if (ret != HUB_LATER)
            break;
        CHECK(may_wait, "operation %u waits on the control channel", ask->op - HUB_FILE_FIRST);
        if (!g_meanwhile) { /* a signal comes */
            waitq_remove(&job.waiter);
            ret = job.progress ? (int64_t)job.progress : -EINTR;
            break;
        }
        struct peer *self = g_peer;
        struct fd_table *fds = g_process.fds;
        g_meanwhile();
        g_peer = self;
        g_process.fds = fds;
        CHECK(job.told, "not told");
        job.told = false;
        if (g_interrupt) { /* and a signal, before it is looked at again */
            g_interrupt = false;
            waitq_remove(&job.waiter);
            ret = -EINTR;
            break;
        }
        job.first = false;
    }
    CHECK(!job.waiter.queue, "still on a queue");
    memcpy(ask->out, job.reply.out, sizeof(ask->out));
    ask->reply_size = job.reply.size < ask->room ? job.reply.size : ask->room;
    if (ask->reply)
        memcpy(ask->reply, reply, ask->reply_size);
    free(data);
    if (g_lies)
        g_lies(ask, &ret);
    return ret;
}

int64_t hub_ask(struct hub_ask *a)
{
    return ask(a, false);
}

int64_t hub_ask_blocking(struct hub_ask *a)
{
    return ask(a, true);
}

/* --- from one process to the next ---------------------------------------------------------------- */

static struct {
    uint8_t bytes[1 << 20];
    uint32_t sizes[64], count, taken, at, from;
} g_wire;

int channel_send(struct channel *channel UNUSED, const void *data, uint32_t size)
{
    memcpy(g_wire.bytes + g_wire.at, data, size);
    g_wire.at += size;
    g_wire.sizes[g_wire.count++] = size;
    return 0;
}

int64_t channel_receive(struct channel *channel UNUSED, void *buf, uint32_t room,
                        bool interruptible UNUSED)
{
    if (g_wire.taken == g_wire.count)
        return -EPIPE;
    uint32_t size = g_wire.sizes[g_wire.taken++];
    CHECK(size <= room, "message");
    memcpy(buf, g_wire.bytes + g_wire.from, size);
    g_wire.from += size;
    return size;
}

static struct lock g_mm_lock;
struct lock *mm_lock(void);
struct lock *mm_lock(void)
{
    return &g_mm_lock;
}

struct vma g_mapping;
uint32_t vma_count(void)
{
    return g_mapping.file ? 1 : 0;
}

const struct vma *vma_at(uint32_t index UNUSED)
{
    return &g_mapping;
}

void remote_as(int who)
{
    g_peer = who == 0 ? NULL : who == 1 ? &g_a : &g_b;
    g_process.fds = g_tables[who];
}

void remote_start_b(int who, bool all)
{
    struct share *share;
    struct tree_stream s;
    uint32_t count;
    g_b.parent = who == 0 ? 100 : g_a.pid;
    g_b.spawning = true;
    memset(&g_wire, 0, sizeof(g_wire));
    remote_as(who);
    CHECK_EQ(share_prepare(g_b.pid, g_process.fds, all, &share), 0, "prepare");
    (void)!share_handles(share, &count);
    CHECK_EQ(tree_stream_open(&s, NULL), 0, "stream");
    share_send(share, &s);
    CHECK_EQ(tree_stream_done(&s), 0, "sent");
    share_done(share, true);
    g_b.spawning = false;
    g_b.hello = true;
    remote_as(2);
    CHECK_EQ(tree_stream_open(&s, NULL), 0, "stream");
    share_receive(&s);
    CHECK_EQ(tree_stream_done(&s), 0, "received");
    share_received_done();
}

void remote_start(int who)
{
    fake_add(&(struct fake_record){ "/tmp", MANIFEST_SCRATCH, MANIFEST_SUBTREE, S_IFDIR | 01777,
                                    NULL, 0, false });
    fake_add(&(struct fake_record){ "/lib/a", MANIFEST_TRUSTED, 0, S_IFREG | 0644, "0123456789", 0,
                                    false });
    fake_start("/");
    memcpy(g_a.mrenclave, g_own, sizeof(g_own));
    memcpy(g_b.mrenclave, g_own, sizeof(g_own));
    g_tables[0] = g_process.fds;
    g_tables[1] = fd_table_new();
    g_tables[2] = fd_table_new();
    remote_as(who);
}

void remote_end_b(void)
{
    g_serving = true;
    hub_files_drop(&g_b);
    hub_files_told();
    g_serving = false;
}

char g_buf[300000], g_much[300000];
int32_t g_fds[2];

bool remote_is_shared(int fd)
{
    struct file *file = fd_get(fd);
    bool shared = remote_handle(file) >= 0;
    file_unref(file);
    return shared;
}
