#include "tree_fakes.h"

#include <asm/prctl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/layout.h"
#include "arch/crypto.h"
#include "arch/thread.h"
#include "border/border.h"
#include "core/aes_cmac.h"
#include "core/hkdf.h"
#include "mm/heap.h"
#include "process/process.h"
#include "signal/signal.h"
#include "thread/timer.h"
#include "tree/channel.h"

bool g_tree_signal, g_tree_parked_badly;
int g_tree_lie;
void (*g_tree_idle)(void);
unsigned g_tree_posts, g_tree_takens, g_tree_waits;

static struct {
    ALIGNED(4096) uint8_t page[4096];
} g_thread;

/* --- the library OS's other parts
 * ------------------------------------------------------------------- */

bool process_ending(void)
{
    return false;
}

bool signal_deliverable(const struct thread *thread UNUSED)
{
    return g_tree_signal;
}

void signal_collect_host(void)
{
}

void signal_pass_on(void)
{
}

uint64_t timer_next(void)
{
    return OCALL_NEVER;
}

void *heap_alloc(size_t size)
{
    return calloc(1, size);
}

void heap_free(void *p)
{
    free(p);
}

/* --- islands
 * ------------------------------------------------------------------------------------------ */

void island_gcm_init(struct aes_gcm *gcm, const uint8_t key[static AES_GCM_KEY_SIZE])
{
    aes_gcm_init(gcm, key);
}

void island_gcm_seal_out(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                         const void *aad, uint64_t aad_size, const void *plain, uint64_t size,
                         void *cipher, uint8_t tag[static AES_GCM_TAG_SIZE])
{
    aes_gcm_seal_out(gcm, nonce, aad, aad_size, plain, size, cipher, tag);
}

int island_gcm_open_in(const struct aes_gcm *gcm, const uint8_t nonce[static AES_GCM_NONCE_SIZE],
                       const void *aad, uint64_t aad_size, const void *cipher, uint64_t size,
                       const uint8_t tag[static AES_GCM_TAG_SIZE], void *plain)
{
    return aes_gcm_open_in(gcm, nonce, aad, aad_size, cipher, size, tag, plain);
}

void island_sha256(const void *data, uint64_t size, uint8_t ret[static 32])
{
    sha256(data, size, ret);
}

void island_hkdf(const void *salt, uint64_t salt_size, const void *secret, uint64_t secret_size,
                 const void *info, uint64_t info_size, void *ret, uint64_t size)
{
    hkdf_sha256(salt, salt_size, secret, secret_size, info, info_size, ret, size);
}

void island_cmac(const uint8_t key[static 16], const void *data, uint64_t size,
                 uint8_t ret_mac[static 16])
{
    aes_cmac(key, data, size, ret_mac);
}

void island_cmac_last(const uint8_t key[static 16], const void *data, uint64_t size,
                      const uint8_t mac[static 16], uint8_t ret_last[static 16])
{
    aes_cmac_last(key, data, size, mac, ret_last);
}

/* --- the host
 * ----------------------------------------------------------------------------------------- */

static struct tree_slot *slot_here(uint64_t slot)
{
    return tree_slot_of((uint8_t *)(uintptr_t)tree_region(), (uint32_t)slot);
}

static uint32_t value(const uint32_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static int64_t wait_for(uint64_t slot, const uint32_t *word, uint64_t seen)
{
    g_tree_waits++;
    g_tree_parked_badly |= !current()->parked;
    while (value(word) == (uint32_t)seen) {
        if (value(&slot_here(slot)->dead))
            return value(word) == (uint32_t)seen ? -EPIPE : 0;
        if (g_tree_idle) {
            g_tree_idle();
            if (value(&slot_here(slot)->dead)) /* a host may say so whatever came before */
                return -EPIPE;
            return value(word) == (uint32_t)seen ? -EINTR : 0;
        }
        usleep(20);
    }
    return 0;
}

int64_t border_call(enum ocall_nr nr, uint64_t max UNUSED, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3 UNUSED, uint64_t a4 UNUSED, uint64_t a5 UNUSED)
{
    struct tree_slot *slot = slot_here(a0);
    struct tree_slot_direction *way = &slot->way[a1];
    if (g_tree_lie) {
        int lie = g_tree_lie;
        g_tree_lie = 0;
        return lie;
    }
    switch (nr) {
    case OCALL_TREE_POST:
        g_tree_posts++;
        __atomic_fetch_add(&way->posted, 1, __ATOMIC_SEQ_CST);
        return value(&slot->dead) ? -EPIPE : 0;
    case OCALL_TREE_TAKEN:
        g_tree_takens++;
        __atomic_fetch_add(&way->taken, 1, __ATOMIC_SEQ_CST);
        return value(&slot->dead) ? -EPIPE : 0;
    case OCALL_TREE_WAIT: return wait_for(a0, &way->posted, a2);
    case OCALL_TREE_ROOM: return wait_for(a0, &way->taken, a2);
    case OCALL_TREE_CALL:
        g_tree_posts++;
        __atomic_fetch_add(&way->posted, 1, __ATOMIC_SEQ_CST);
        return wait_for(a0, &slot->way[!a1].posted, a2);
    default: panic("OCALL %d", (int)nr);
    }
}

/* --- the tests' side
 * ------------------------------------------------------------------------------------ */

struct tree_slot *tree_slot_of(uint8_t *region, uint32_t slot)
{
    return (struct tree_slot *)(void *)(region + TREE_REGION_HEAD +
                                        (uint64_t)slot * TREE_SLOT_SIZE);
}

struct tree_cell *tree_cell_of(uint8_t *region, uint32_t slot, enum tree_direction way,
                               unsigned cell)
{
    return (struct tree_cell *)(void *)((uint8_t *)tree_slot_of(region, slot) + TREE_SLOT_HEAD +
                                        ((unsigned)way * TREE_CELLS + cell) * TREE_CELL_SIZE);
}

uint8_t *tree_region_new(void)
{
    void *region =
        mmap(NULL, TREE_FAKE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (region == MAP_FAILED)
        abort();
    return region;
}

int tree_setup(void **state UNUSED)
{
    struct layout_params *params = mmap((void *)LAYOUT_PARAMS, 4096, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (params != PARAMS)
        return -1;
    params->enclave_size = LAYOUT_ENCLAVE_MIN;
    struct thread *thread = (struct thread *)(void *)g_thread.page;
    thread->self = (uint64_t)thread;
    syscall(SYS_arch_prctl, ARCH_SET_GS, thread);
    return 0;
}
