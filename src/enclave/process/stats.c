#include "process/stats.h"

#include "abi/layout.h"
#include "arch/thread.h"
#include "border/border.h"
#include "mm/pages.h"
#include "process/process.h"

uint64_t g_stats_verified;

void stats_print(void)
{
    uint64_t calls = 0, traps = 0, faults = 0, ocalls = 0;
    for (uint32_t i = 0; i < PARAMS->thread_count; i++) {
        const struct thread *t = thread_at(i);
        calls += t->syscall_count;
        traps += t->trap_count;
        faults += t->fault_count;
        ocalls += t->ocall_count;
    }
    char text[512];
    int n = format(text, sizeof(text),
                   "system calls %lu, of these trapped %lu; OCALLs %lu; faults and interrupts %lu; "
                   "bytes verified %lu; pages accepted %lu\n",
                   calls, traps, ocalls, faults, g_stats_verified, pages_accepted());
    border_put(0, text, (uint64_t)n);
    (void)border_call2(OCALL_LOG, 0, OCALL_LOG_STATS, (uint64_t)n);
}
