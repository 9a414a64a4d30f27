/*
 * The word in which the host says that signals came (abi/ocall.h, ocall_block.signals of the main
 * thread): the only place of signal/ that touches memory outside the enclave. Tier: enclave.
 */
#include "arch/thread.h"
#include "signal/state.h"

static uint64_t *host_word(void)
{
    struct ocall_block *block = thread_at(0)->block;
    return block ? &block->signals : NULL;
}

bool signal_host_any(void)
{
    uint64_t *word = host_word();
    return word && __atomic_load_n(word, __ATOMIC_RELAXED);
}

uint64_t signal_host_take(void)
{
    uint64_t *word = host_word();
    return word ? __atomic_exchange_n(word, 0, __ATOMIC_ACQUIRE) : 0;
}
