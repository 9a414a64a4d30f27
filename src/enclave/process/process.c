/*
 * The process of this enclave, and which process a thread plays (process.h). Tier: enclave.
 */
#include "process/process.h"

#include "arch/thread.h"
#include "tree/ptable.h"

struct process g_process = { .pid = PTABLE_ROOT_PID };

struct process *process_current(void)
{
    struct process *process = current()->process;
    return __builtin_expect(process != NULL, 0) ? process : &g_process;
}

int32_t process_pid(void)
{
    return process_current()->pid;
}

void process_set_pid(int32_t pid)
{
    g_process.pid = pid;
    thread_at(0)->tid = pid;
}
