/*
 * Asking the hub. What is answered at once goes over the process's control channel, one thread at a time;
 * what may take long over a channel of the thread's own, which it keeps and which goes back to a list of
 * spare ones when the thread ends. A lost hub ends the process: nothing here means anything without it.
 */
#include <asm/errno.h>
#include <linux/signal.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "arch/thread.h"
#include "border/border.h"
#include "core/bytes.h"
#include "mm/dsm.h"
#include "mm/heap.h"
#include "process/process.h"
#include "process/vfork.h"
#include "signal/signal.h"
#include "sys/process.h"
#include "thread/mutex.h"
#include "tree/hub.h"
#include "vfs/remote/remote.h"

struct hub_line {
    struct hub_line *next; /* spare */
    struct channel channel;
    uint32_t slot;
    struct {
        struct hub_request request;
        uint8_t data[HUB_DATA_MAX];
    } ALIGNED(16) out;
    struct {
        struct hub_reply reply;
        uint8_t data[HUB_DATA_MAX];
    } ALIGNED(16) in;
};

static struct {
    struct mutex mutex;
    struct hub_line *control;
    struct lock lock; /* spare */
    struct hub_line *spare;
} g_client;

static NORETURN void lost(void)
{
    log_error("the connection to the root of the process tree is lost: this process ends");
    for (;;)
        (void)!border_call0(OCALL_TREE_BYE, 0);
}

static uint32_t fill(struct hub_line *line, const struct hub_ask *ask)
{
    ASSERT(ask->size <= HUB_DATA_MAX);
    line->out.request =
        (struct hub_request){ .op = ask->op, .size = ask->size, .self = process_current()->pid };
    memcpy(line->out.request.args, ask->args, sizeof(ask->args));
    memcpy(line->out.data, ask->data, ask->size);
    return (uint32_t)sizeof(line->out.request) + ask->size;
}

static int64_t take(const struct hub_line *line, struct hub_ask *ask, int64_t size)
{
    const struct hub_reply *reply = &line->in.reply;
    if (size < (int64_t)sizeof(*reply) || reply->size != (uint64_t)size - sizeof(*reply))
        lost();
    memcpy(ask->out, reply->out, sizeof(ask->out));
    ask->reply_size = reply->size < ask->room ? reply->size : ask->room;
    if (ask->reply)
        memcpy(ask->reply, line->in.data, ask->reply_size);
    return reply->ret;
}

int64_t hub_ask(struct hub_ask *ask)
{
    struct hub_line *line = g_client.control;
    mutex_take(&g_client.mutex);
    uint32_t size = fill(line, ask);
    int64_t got =
        channel_call(&line->channel, &line->out, size, &line->in, sizeof(line->in), false);
    int64_t ret = take(line, ask, got);
    mutex_drop(&g_client.mutex);
    return ret;
}

static struct hub_line *line_new(uint32_t slot)
{
    struct hub_line *line = heap_alloc(sizeof(*line));
    if (line)
        line->slot = slot;
    return line;
}

/* The calling thread's own line; NULL: none to be had, *ret_error says why. */
static struct hub_line *own_line(int64_t *ret_error)
{
    struct thread *thread = current();
    if (thread->hub_line)
        return thread->hub_line;
    lock_take(&g_client.lock);
    struct hub_line *line = g_client.spare;
    if (line)
        g_client.spare = line->next;
    lock_drop(&g_client.lock);
    if (!line) {
        uint8_t secret[CHANNEL_SECRET_SIZE];
        struct hub_ask ask = { .op = HUB_OPEN, .reply = secret, .room = sizeof(secret) };
        *ret_error = hub_ask(&ask);
        if (*ret_error < 0)
            return NULL;
        if (ask.reply_size != sizeof(secret) || ask.out[0] >= TREE_SLOTS)
            lost();
        line = line_new((uint32_t)ask.out[0]);
        if (!line)
            lost(); /* the slot would stay half open */
        channel_init(&line->channel, line->slot, true, true, secret);
        bytes_wipe(secret, sizeof(secret));
    }
    thread->hub_line = line;
    return line;
}

void hub_thread_done(void)
{
    struct hub_line *line = current()->hub_line;
    if (!line)
        return;
    current()->hub_line = NULL;
    lock_take(&g_client.lock);
    line->next = g_client.spare;
    g_client.spare = line;
    lock_drop(&g_client.lock);
}

int64_t hub_ask_blocking(struct hub_ask *ask)
{
    int64_t error = -EIO;
    struct hub_line *line = own_line(&error);
    if (!line)
        return error;
    uint32_t size = fill(line, ask);
    int64_t got = channel_call(&line->channel, &line->out, size, &line->in, sizeof(line->in), true);
    if (got == -EINTR) {
        (void)!hub_ask(
            &(struct hub_ask){ .op = HUB_CANCEL, .args = { line->slot, line->channel.sent - 1 } });
        got = channel_receive(&line->channel, &line->in, sizeof(line->in), false);
    }
    return take(line, ask, got);
}

static void apply_signal(const struct hub_event *event)
{
    struct signal_info info = { .number = (int32_t)event->a,
                                .code = (int32_t)event->b,
                                .pid = (int32_t)event->c,
                                .uid = (int32_t)event->e,
                                .value = event->d };
    int32_t child = (int32_t)(event->e >> 32);
    if (!child)
        signal_send_process(&info);
    else if (!vfork_signal(child, &info)) /* it has an enclave of its own by now, or is gone */
        (void)!process_kill(child, &info);
}

static void apply(const struct hub_event *event)
{
    switch (event->kind) {
    case HUB_EVENT_SIGNAL: apply_signal(event); break;
    case HUB_EVENT_READY: remote_ready(event->a); break;
    case HUB_EVENT_REVOKE: dsm_revoke(event); break;
    default: break;
    }
}

static void fetch(bool started)
{
    if (!g_client.control)
        return;
    struct hub_event events[16];
    uint32_t count = ARRAY_SIZE(events);
    /* Fewer than there is room for: that were all. The first one after them is nudged for again. */
    while (count == ARRAY_SIZE(events)) {
        struct hub_ask ask = { .op = HUB_EVENTS,
                               .args = { ARRAY_SIZE(events), started },
                               .reply = events,
                               .room = sizeof(events) };
        if (hub_ask(&ask) <= 0)
            return;
        count = (uint32_t)(ask.reply_size / sizeof(events[0]));
        for (uint32_t i = 0; i < count; i++)
            apply(&events[i]);
    }
}

void hub_events_fetch(void)
{
    fetch(false);
}

void hub_started(void)
{
    fetch(true);
}

void hub_client_init(uint32_t control_slot, int32_t pid, struct attest_ticket *ticket)
{
    uint8_t secret[CHANNEL_SECRET_SIZE], greeting[CHANNEL_GREETING_SIZE];
    g_client.control = line_new(control_slot);
    if (!g_client.control)
        panic("no memory for the channel to the tree's root");
    attest_ticket_use(ticket, control_slot, pid, secret);
    cpu_random(greeting, sizeof(greeting));
    channel_init_greeted(&g_client.control->channel, control_slot, true, secret, greeting);
    bytes_wipe(secret, sizeof(secret));
    bytes_wipe(ticket, sizeof(*ticket));
    if (hub_ask(&(struct hub_ask){ .op = HUB_HELLO }) < 0)
        lost();
}

void hub_say_last(const struct hub_ask *ask)
{
    struct hub_line *line = g_client.control;
    mutex_take(&g_client.mutex);
    (void)!channel_send(&line->channel, &line->out, fill(line, ask));
}

void hub_leave(int32_t status)
{
    uint64_t user = 0, system = 0;
    if (border_call1(OCALL_RUSAGE, 0, 0) >= 0) {
        user = border_out(0);
        system = border_out(1);
    }
    hub_say_last(
        &(struct hub_ask){ .op = HUB_EXIT, .args = { (uint64_t)(int64_t)status, user, system } });
    for (;;)
        (void)!border_call0(OCALL_TREE_BYE, 0);
}
