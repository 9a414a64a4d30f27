#include "host/host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/audit.h"
#include "host/log.h"
#include "host/ocall.h"
#include "host/tree.h"

static void print_stats(struct host *host)
{
    struct device_stats d = { 0 };
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    device_stats(host->device, &d);
    if (host->child)
        fprintf(out, "sgxpy: process %d of the tree, node %u:\n", getpid(), host->child->node);
    fprintf(out,
            "sgxpy: device: %llu enters, %llu resumes, %llu exits by jump, %llu by trap, %llu AEX, "
            "%llu faults filled, %llu ENCLU traps, %llu system-call traps\n",
            (unsigned long long)d.enters, (unsigned long long)d.resumes,
            (unsigned long long)d.exits_jump, (unsigned long long)d.exits_trap,
            (unsigned long long)d.aex, (unsigned long long)d.faults_filled,
            (unsigned long long)d.enclu_traps, (unsigned long long)d.syscall_traps);
    uint64_t all = 0;
    for (uint32_t nr = 0; nr < OCALL_COUNT; nr++) {
        uint64_t count = 0;
        for (uint32_t i = 0; i < host->thread_count; i++)
            count += host->threads[i].counts[nr];
        if (count)
            fprintf(out, "sgxpy: OCALL %-14s %12llu\n", ocall_name(nr), (unsigned long long)count);
        all += count;
    }
    fprintf(out, "sgxpy: OCALLs in all    %12llu\n", (unsigned long long)all);
    fclose(out);
    log_raw(text, size);
    free(text);
}

static void end_begin(struct host *host, int code)
{
    while (atomic_exchange(&host->finished, true))
        pause();
    host->last_code = code;
    uint64_t lost = audit_lost_count(host->audit);
    if (lost != 0)
        log_line("%llu line%s of the audit file could not be written", (unsigned long long)lost,
                 lost == 1 ? "" : "s");
    if (host->stats)
        print_stats(host);
}

/* A process that is not the tree's root: its enclave told the hub how the program ended. */
static NORETURN void end_child(struct host *host, int code)
{
    end_begin(host, code);
    __atomic_fetch_add(&host->tree->region->absent_count, audit_absent_count(host->audit),
                       __ATOMIC_RELAXED);
    _exit(code);
}

void host_finish_tree(struct host *host, int code)
{
    if (host->child)
        end_child(host, TREE_EXIT_STOPS + code);
    host_finish(host, code);
}

void host_finish(struct host *host, int code)
{
    if (host->child)
        end_child(host, code);
    end_begin(host, code);
    uint64_t absent = audit_absent_count(host->audit);
    if (host->tree)
        absent += __atomic_load_n(&host->tree->region->absent_count, __ATOMIC_RELAXED);
    if (code != 0 && absent != 0)
        log_line("%llu path%s not in the manifest; %s lists them for `sgxpy manifest --from-audit`",
                 (unsigned long long)absent, absent == 1 ? "" : "s",
                 host->audit_path ? host->audit_path : "--audit FILE");
    audit_exit(host->audit, code);
    _exit(code);
}

void host_give_up(struct host *host, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    log_line("%s", text);
    audit_panic(host->audit, text, strlen(text));
    host_finish(host, atomic_load(&host->started) ? HOST_EXIT_ABORTED : HOST_EXIT_NO_START);
}
