#include "mm/pages.h"

#include <asm/errno.h>

#include "abi/layout.h"
#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"

/* One byte a page, in leaves of one per 2 MiB of address space, made when the first page there comes. */
#define LEAF_PAGES 512

static uint8_t **g_leaves;
static uint64_t g_leaf_count;
static uint64_t g_accepted;

void pages_init(uint64_t enclave_size)
{
    g_leaf_count = enclave_size / (LEAF_PAGES * LAYOUT_PAGE);
    g_leaves = heap_alloc(g_leaf_count * sizeof(*g_leaves));
    if (!g_leaves)
        panic("no memory for the page states of %lu MiB", enclave_size >> 20);
}

uint8_t page_state(uint64_t address)
{
    uint64_t page = address / LAYOUT_PAGE;
    if (page / LEAF_PAGES >= g_leaf_count)
        return 0;
    uint8_t *leaf = __atomic_load_n(&g_leaves[page / LEAF_PAGES], __ATOMIC_ACQUIRE);
    return leaf ? __atomic_load_n(&leaf[page % LEAF_PAGES], __ATOMIC_RELAXED) : 0;
}

uint64_t pages_next(uint64_t address, uint64_t end)
{
    while (address < end && !page_state(address)) {
        uint64_t page = address / LAYOUT_PAGE;
        bool empty = page / LEAF_PAGES >= g_leaf_count ||
                     !__atomic_load_n(&g_leaves[page / LEAF_PAGES], __ATOMIC_ACQUIRE);
        address += (empty ? LEAF_PAGES - page % LEAF_PAGES : 1) * LAYOUT_PAGE;
    }
    return address < end ? address : end;
}

/* The state's place; NULL: no memory. address is below the end of ELRANGE. */
static uint8_t *state_at(uint64_t address)
{
    uint64_t page = address / LAYOUT_PAGE;
    ASSERT(page / LEAF_PAGES < g_leaf_count);
    uint8_t **slot = &g_leaves[page / LEAF_PAGES];
    if (!*slot) {
        uint8_t *leaf = heap_alloc(LEAF_PAGES);
        if (!leaf)
            return NULL;
        __atomic_store_n(slot, leaf, __ATOMIC_RELEASE);
    }
    return &(*slot)[page % LEAF_PAGES];
}

static void set_state(uint8_t *state, uint8_t value)
{
    __atomic_store_n(state, value, __ATOMIC_RELEASE);
}

static struct sgx_secinfo ALIGNED(64) secinfo(uint64_t flags)
{
    return (struct sgx_secinfo){ .flags = flags };
}

/* An SGX error here means that the host changed a page behind our back, or that our states are wrong:
 * there is nothing to go on with. */
static void accept_one(uint64_t flags, uint64_t address)
{
    struct sgx_secinfo ALIGNED(64) info = secinfo(flags);
    uint64_t error = enclu_eaccept(&info, address);
    if (error)
        panic("EACCEPT of %lx, flags %lx: SGX error %lu", address, flags, error);
}

static void extend_one(uint64_t perms, uint64_t address)
{
    struct sgx_secinfo ALIGNED(64) info = secinfo(SGX_SECINFO_REG | perms);
    enclu_emodpe(&info, address);
}

int pages_try_accept(uint64_t address, uint64_t count, uint64_t perms)
{
    struct sgx_secinfo ALIGNED(64) info =
        secinfo(SGX_SECINFO_REG | SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_PENDING);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = address + i * LAYOUT_PAGE;
        uint8_t *state = state_at(at);
        if (!state)
            return -ENOMEM;
        uint64_t error = enclu_eaccept(&info, at);
        if (error)
            panic("EACCEPT of %lx: SGX error %lu", at, error);
        if (perms & SGX_SECINFO_X)
            extend_one(perms, at);
        set_state(state, (uint8_t)(PAGE_ACCEPTED | perms));
    }
    g_accepted += count;
    return 0;
}

void pages_accept(uint64_t address, uint64_t count, uint64_t perms)
{
    if (pages_try_accept(address, count, perms) < 0)
        panic("no memory for page states");
}

int page_accept_copy(uint64_t address, const void *source, uint64_t perms)
{
    uint8_t *state = state_at(address);
    if (!state)
        return -ENOMEM;
    struct sgx_secinfo ALIGNED(64) info = secinfo(SGX_SECINFO_REG | perms);
    uint64_t error = enclu_eacceptcopy(&info, address, source);
    if (error)
        panic("EACCEPTCOPY of %lx: SGX error %lu", address, error);
    set_state(state, (uint8_t)(PAGE_ACCEPTED | perms));
    g_accepted++;
    return 0;
}

/* The host's half of a page operation, in as many calls as it takes. */
static void host_pages(enum ocall_nr nr, uint64_t address, uint64_t count, uint64_t what)
{
    while (count) {
        int64_t r = border_call3(nr, 0, address, count, what);
        uint64_t done = border_out(0);
        if (done > count || (r < 0 && r != -EAGAIN && r != -EINTR) || (r == 0 && done == 0))
            panic("the host's page operation %d at %lx failed: %ld", (int)nr, address, r);
        address += done * LAYOUT_PAGE;
        count -= done;
    }
}

static void restrict_run(uint64_t address, uint64_t count, uint64_t perms)
{
    host_pages(OCALL_RESTRICT, address, count, perms);
    for (uint64_t i = 0; i < count; i++)
        accept_one(SGX_SECINFO_REG | perms | SGX_SECINFO_PR, address + i * LAYOUT_PAGE);
}

void pages_set_perms(uint64_t address, uint64_t count, uint64_t perms)
{
    uint64_t run = 0; /* pages before i that wait for a restriction */
    for (uint64_t i = 0; i <= count; i++) {
        uint64_t at = address + i * LAYOUT_PAGE;
        uint8_t now = i < count ? page_state(at) : 0;
        if (now && (perms & ~now & PAGE_PERMS)) {
            extend_one((now & PAGE_PERMS) | perms, at);
            now = (uint8_t)(now | perms);
            set_state(state_at(at), now);
        }
        if (now && (now & PAGE_PERMS & ~perms)) {
            /* Nobody may believe in the old permissions from here on. */
            set_state(state_at(at), (uint8_t)(PAGE_ACCEPTED | perms));
            run++;
            continue;
        }
        if (run)
            restrict_run(at - run * LAYOUT_PAGE, run, perms);
        run = 0;
    }
}

void pages_trim(uint64_t address, uint64_t count)
{
    uint64_t run = 0;
    for (uint64_t i = 0; i <= count; i++) {
        uint64_t at = address + i * LAYOUT_PAGE;
        if (i < count && !g_leaves[at / LAYOUT_PAGE / LEAF_PAGES]) {
            /* Nothing in these 2 MiB. */
            uint64_t skip = LEAF_PAGES - at / LAYOUT_PAGE % LEAF_PAGES;
            if (run == 0) {
                i += (skip < count - i ? skip : count - i) - 1;
                continue;
            }
        }
        if (i < count && page_state(at)) {
            set_state(state_at(at), 0);
            run++;
            continue;
        }
        if (!run)
            continue;
        uint64_t first = at - run * LAYOUT_PAGE;
        host_pages(OCALL_MODIFY_TYPE, first, run, SGX_PT_TRIM);
        for (uint64_t k = 0; k < run; k++)
            accept_one(SGX_SECINFO_TRIM | SGX_SECINFO_MODIFIED, first + k * LAYOUT_PAGE);
        host_pages(OCALL_REMOVE, first, run, 0);
        g_accepted -= run;
        run = 0;
    }
}

uint8_t page_open(uint64_t page, uint64_t need)
{
    uint8_t state = page_state(page);
    if ((state & need) != need)
        pages_set_perms(page, 1, (state & PAGE_PERMS) | need);
    return state;
}

void page_close(uint64_t page, uint8_t state)
{
    if (page_state(page) != state)
        pages_set_perms(page, 1, state & PAGE_PERMS);
}

uint64_t pages_accepted(void)
{
    return g_accepted;
}
