/*
 * Terminals that the hub holds (remote.h). Tier: enclave. The hub's thread.
 */
#include "arch/string.h"
#include "ipc/pty.h"
#include "tree/hub.h"
#include "vfs/linux.h"
#include "vfs/remote/serve.h"

static struct pty_caller caller_of(const struct hub_job *job, uint64_t flags)
{
    return (struct pty_caller){
        .pid = hub_job_self(job),
        .ignores_input = flags & TTY_IGNORES_INPUT,
        .ignores_output = flags & TTY_IGNORES_OUTPUT,
    };
}

/* A read with a time limit waits in its own process. */
static bool may_wait(const struct pty_mode *mode, uint64_t flags)
{
    return (flags & TTY_WAIT) && !mode->nonblock && (mode->by_line || mode->min);
}

static int64_t serve_take(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    struct pty_caller caller = caller_of(job, args[3]);
    uint32_t size = args[2] < PTY_CHUNK ? (uint32_t)args[2] : PTY_CHUNK;
    struct pty_mode mode;
    int64_t n;
    if ((file->flags & O_ACCMODE) == O_WRONLY)
        return -EBADF;
    do {
        n = pty_take(file, &caller, job->reply_data, size, &mode);
    } while (n == -EAGAIN && may_wait(&mode, args[3]) && serve_enqueue(job, file));
    if (n == -EAGAIN && may_wait(&mode, args[3]))
        return HUB_LATER;
    memcpy(&job->reply.out[0], &mode, sizeof(mode));
    if (n > 0)
        job->reply.size = (uint32_t)n;
    return n;
}

/* As a blocking write of any file: job->progress is what is done. */
static int64_t serve_give(struct hub_job *job, struct file *file)
{
    struct pty_caller caller = caller_of(job, job->request.args[3]);
    uint64_t size = job->request.size;
    if ((file->flags & O_ACCMODE) == O_RDONLY)
        return -EBADF;
    for (;;) {
        int64_t n =
            pty_give(file, &caller, job->data + job->progress, (uint32_t)(size - job->progress));
        if (n > 0)
            job->progress += (uint64_t)n;
        if (job->progress == size)
            return (int64_t)size;
        if (n < 0 || file->flags & O_NONBLOCK)
            return job->progress ? (int64_t)job->progress : n < 0 ? n : -EAGAIN;
        if (n == 0 && !serve_enqueue(job, file))
            return HUB_LATER;
    }
}

static int64_t serve_ioctl(struct hub_job *job, struct file *file)
{
    const uint64_t *args = job->request.args;
    struct pty_caller caller = caller_of(job, args[4]);
    uint32_t in, out;
    if (job->request.size != PTY_ARG || args[2] > UINT32_MAX ||
        !pty_ioctl_known((uint32_t)args[2], &in, &out))
        return -ENOTTY;
    memcpy(job->reply_data, job->data, PTY_ARG);
    int64_t ret = pty_ioctl(file, &caller, (uint32_t)args[2], args[3], job->reply_data);
    job->reply.size = PTY_ARG;
    return ret;
}

static int64_t serve_peer(struct hub_job *job, struct file *file)
{
    struct file *peer;
    int status = pty_open_peer(file, hub_job_self(job), (uint32_t)job->request.args[2], &peer);
    return status < 0 ? status : serve_reply(job, peer);
}

static int64_t serve_open(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    int32_t self = hub_job_self(job);
    uint32_t flags = (uint32_t)args[3];
    struct file *file;
    int status = args[1] == TTY_MASTER ? pty_open_master(flags, &file)
                 : args[1] == TTY_OWN  ? pty_open_own(self, flags, &file)
                 : args[2] < PTY_MAX   ? pty_open((uint32_t)args[2], self, flags, &file)
                                       : -ENOENT;
    return status < 0 ? status : serve_reply(job, file);
}

static int64_t serve_stat(struct hub_job *job)
{
    struct kstat st;
    uint64_t number = job->request.args[2];
    int status = number < PTY_MAX ? pty_stat((uint32_t)number, &st) : -ENOENT;
    if (status == 0) {
        memcpy(job->reply_data, &st, sizeof(st));
        job->reply.size = sizeof(st);
    }
    return status;
}

static int64_t serve_change(const struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    return args[2] < PTY_MAX ? pty_change((uint32_t)args[2], (uint32_t)(args[3] >> 32),
                                          (uint32_t)args[3], (uint32_t)args[4])
                             : -ENOENT;
}

int64_t serve_tty(struct hub_job *job)
{
    const uint64_t *args = job->request.args;
    if (!hub_job_self(job))
        return -ESRCH;
    switch (args[1]) {
    case TTY_MASTER:
    case TTY_NUMBER:
    case TTY_OWN: return serve_open(job);
    case TTY_STAT: return serve_stat(job);
    case TTY_CHANGE: return serve_change(job);
    case TTY_NEXT: return args[2] < PTY_MAX ? pty_next((uint32_t)args[2]) : -1;
    default: break;
    }
    struct file *file = serve_file(job->peer, args[0]);
    if (!file)
        return -EBADF;
    int64_t ret = -ENOTTY;
    if (pty_is(file)) {
        switch (args[1]) {
        case TTY_TAKE: ret = serve_take(job, file); break;
        case TTY_GIVE: ret = serve_give(job, file); break;
        case TTY_IOCTL: ret = serve_ioctl(job, file); break;
        case TTY_PEER: ret = serve_peer(job, file); break;
        default: ret = -EINVAL; break;
        }
    }
    file_unref(file);
    return ret;
}
