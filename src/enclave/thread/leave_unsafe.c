/*
 * The last OCALL of a thread (arch/entry.S, thread_leave): nothing comes back. Tier: enclave.
 */
#include "thread/leave_unsafe.h"

#include "arch/thread.h"

/* arch/entry.S: EEXIT for good; the thread area may be started again from then on. */
NORETURN void thread_leave(void);

void thread_leave_host(void)
{
    struct ocall_block *block = current()->block;
    /* A whole word, as in border.c. */
    __atomic_store_n((uint64_t *)block + offsetof(struct ocall_block, nr) / 8,
                     OCALL_VERSION | (uint64_t)OCALL_THREAD_EXIT << 32, __ATOMIC_RELEASE);
    thread_leave();
}
