/* OCALLs of a run's beginning and end, and what it tells people. */
#include "host/ocall.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "host/audit.h"
#include "host/log.h"
#include "host/quote.h"
#include "host/refuse.h"
#include "host/run.h"
#include "host/tree.h"
#include "util/dpkg.h"

#define CALIBRATION_MIN_NS 500000

uint64_t host_tsc_hz(const struct host *host)
{
    struct timespec now;
    if (host->child)
        return host->tree->region->tsc_hz;
    if (host->tsc_at_start == 0 || clock_gettime(CLOCK_MONOTONIC, &now) < 0)
        return 0;
    uint64_t ticks = __rdtsc() - host->tsc_at_start;
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec - host->ns_at_start;
    if (ns < CALIBRATION_MIN_NS)
        return 0;
    return (uint64_t)((unsigned __int128)ticks * 1000000000u / ns);
}

static bool put_strings(struct host_thread *t, const char *const *strings, size_t count, size_t *at)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(strings[i]) + 1;
        if (size > OCALL_DATA_SIZE - *at)
            return false;
        memcpy(t->data + *at, strings[i], size);
        *at += size;
    }
    return true;
}

int64_t ocall_boot(struct host_thread *t, const uint64_t args[6] UNUSED)
{
    struct host *host = t->host;
    size_t at = sizeof(struct ocall_boot);
    /* A child gets its arguments from its parent, over their channel. */
    const struct tree_child *child = host->child;
    if (!put_strings(t, host->args, host->arg_count, &at) ||
        !put_strings(t, host->env, host->env_count, &at))
        host_give_up(host, "arguments and environment take more than %u bytes",
                     OCALL_DATA_SIZE - (unsigned)sizeof(struct ocall_boot));
    const struct ocall_boot boot = {
        .arg_count = (uint32_t)host->arg_count,
        .env_count = (uint32_t)host->env_count,
        .strings_size = (uint32_t)(at - sizeof(boot)),
        .flags = (host->strace ? OCALL_BOOT_STRACE : 0u) | (host->stats ? OCALL_BOOT_STATS : 0u) |
                 (host->has_sha ? OCALL_BOOT_SHA : 0u) | (host->has_vaes ? OCALL_BOOT_VAES : 0u),
        .tsc_hz = host_tsc_hz(host),
        .tree_region = child ? (uint64_t)(uintptr_t)host->tree->region : 0,
        .spawn_slot = child ? child->spawn_slot : 0,
        .control_slot = child ? child->control_slot : 0,
    };
    memcpy(t->data, &boot, sizeof(boot));
    return 0;
}

int64_t ocall_exit(struct host_thread *t, const uint64_t args[6])
{
    if (t->host->child) /* as TREE_BYE: its own exit codes tell the root other things */
        host_finish(t->host, 0);
    host_finish(t->host, args[1] ? 128 + (int)(args[1] & 127) : (int)(args[0] & 255));
}

int64_t ocall_refuse(struct host_thread *t, const uint64_t args[6])
{
    struct ocall_refusal refusal;
    if (args[0] < sizeof(refusal) || args[0] > OCALL_DATA_SIZE)
        host_give_up(t->host, "the library OS refused a file without saying which");
    memcpy(&refusal, t->data, sizeof(refusal));
    const char *path = (const char *)t->data + sizeof(refusal);
    size_t path_size = refusal.path_size;
    if (path_size > args[0] - sizeof(refusal))
        path_size = args[0] - sizeof(refusal);

    char package[128], name[4096];
    snprintf(name, sizeof(name), "%.*s", (int)path_size, path);
    bool owned = dpkg_owner(name, package, sizeof(package)) == 0;
    char *text = refuse_text(&refusal, path, path_size, t->host->manifest, owned ? package : NULL,
                             t->host->options->bundle_given);
    if (text)
        log_raw(text, strlen(text));
    else
        log_line("refused: a file is not what was signed (and no memory is left to say which)");
    free(text);
    audit_refusal(t->host->audit, &refusal, path, path_size);
    if (refusal.action != OCALL_REFUSED_DENY)
        host_finish_tree(t->host, refuse_exit_code(&refusal));
    return 0;
}

int64_t ocall_panic(struct host_thread *t, const uint64_t args[6])
{
    size_t size = args[0] < 900 ? args[0] : 900;
    char *text = (char *)t->data;
    quote_scrub(text, size);
    host_give_up(t->host, "%.*s", (int)size, text);
}

int64_t ocall_log(struct host_thread *t, const uint64_t args[6])
{
    if (args[1] > OCALL_DATA_SIZE)
        return -EINVAL;
    char *text = (char *)t->data;
    size_t size = args[1];
    quote_scrub(text, size);
    switch (args[0]) {
    case OCALL_LOG_STRACE:
    case OCALL_LOG_STATS: log_raw(text, size); return 0;
    case OCALL_LOG_NOTE:
        if (t->host->quiet)
            return 0;
        break;
    case OCALL_LOG_ERROR: break;
    default: return -EINVAL;
    }
    while (size > 0 && text[size - 1] == '\n')
        size--;
    log_line("%.*s", (int)size, text);
    return 0;
}

int64_t ocall_audit(struct host_thread *t, const uint64_t args[6])
{
    struct ocall_audit event;
    if (args[0] < sizeof(event) || args[0] > OCALL_DATA_SIZE)
        return -EINVAL;
    memcpy(&event, t->data, sizeof(event));
    size_t path_size = event.path_size;
    if (path_size > args[0] - sizeof(event))
        return -EINVAL;
    const char *path = (const char *)t->data + sizeof(event);
    audit_event(t->host->audit, &event, path, path_size);
    if (event.event == OCALL_AUDIT_EXEC && !t->host->quiet && path_size <= PATH_MAX &&
        !atomic_exchange(&t->host->start_refused, true)) {
        char quoted[QUOTE_SIZE(PATH_MAX)];
        log_line("not started (EACCES): %s; the manifest does not have it, or not with this "
                 "script, command "
                 "text or options",
                 quote(path, path_size, quoted));
    }
    return 0;
}
