/*
 * Lazy patching of system calls. The first trap at a `syscall` whose five bytes before are
 * `mov $nr, %eax` turns those five into a jump to a stub; the `syscall` stays at +5, so a thread already
 * past the mov, or a jump straight to it, still traps. Nothing is disassembled or guessed.
 *
 * Stub: mov $nr, %eax; mov $site + 2, %ecx (as SYSCALL leaves it); jmp sys_entry. Stub pages stay RWX:
 * they hold nothing secret, and native code in this enclave could do without them anyway.
 */
#include <stdbool.h>

#include "abi/layout.h"
#include "abi/sgx.h"
#include "arch/cpu.h"
#include "arch/exception.h"
#include "arch/string.h"
#include "core/bytes.h"
#include "mm/pages.h"
#include "thread/lock.h"

#define STUB_SIZE  16
#define CACHE_LINE 64

static struct lock g_stub_lock;
static uint64_t g_stub_next = LAYOUT_STUBS;
static uint64_t g_stub_end = LAYOUT_STUBS;

/* Room for one more stub; 0 if there is none. */
static uint64_t stub_room(void)
{
    if (g_stub_next == g_stub_end) {
        if (g_stub_end == LAYOUT_STUBS_END)
            return 0;
        pages_accept(g_stub_end, 1, SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_X);
        g_stub_end += SGX_PAGE_SIZE;
    }
    uint64_t stub = g_stub_next;
    g_stub_next += STUB_SIZE;
    return stub;
}

static void put_jump(uint8_t *at, uint64_t to)
{
    at[0] = 0xe9;
    store_le32(at + 1, (uint32_t)(to - ((uint64_t)at + 5)));
}

void stub_patch(uint64_t site, uint64_t nr)
{
    if (site < LAYOUT_APP_START + 8 || site + 8 > LAYOUT_FILES_END || nr > INT32_MAX)
        return;
    /* The eight bytes to store: they hold the mov's five, and lie in one cache line. */
    uint64_t mov = site - 5;
    uint64_t word = mov;
    while (word % CACHE_LINE > CACHE_LINE - 8)
        word--;
    if (word + 8 < site)
        return;
    if ((mov - 1) / SGX_PAGE_SIZE != (word + 7) / SGX_PAGE_SIZE)
        return; /* a page border: leave it, it traps */

    /* Most sites that cannot be patched show it here, without two changes of the page's permissions at
     * each of their traps. The program runs them, so they can be read. */
    if (*(const uint8_t *)mov != 0xb8 || load_le32((const uint8_t *)mov + 1) != (uint32_t)nr)
        return;

    LOCKED(&g_stub_lock);
    if (!pages_patch_begin(word))
        return;
    uint8_t bytes[8];
    memcpy(bytes, (const void *)word, 8);
    uint8_t *code = bytes + (mov - word);
    uint8_t before = *(const uint8_t *)(mov - 1);
    bool rex = (before & 0xf0) == 0x40;
    uint64_t stub;
    if (code[0] == 0xb8 && load_le32(code + 1) == (uint32_t)nr && !rex && (stub = stub_room())) {
        uint8_t *s = (uint8_t *)stub;
        s[0] = 0xb8;
        store_le32(s + 1, (uint32_t)nr);
        s[5] = 0xb9;
        store_le32(s + 6, (uint32_t)(site + 2));
        put_jump(s + 10, (uint64_t)sys_entry);
        code[0] = 0xe9;
        store_le32(code + 1, (uint32_t)(stub - site));
        __atomic_store_n((uint64_t *)word, load_le64(bytes), __ATOMIC_RELEASE);
    }
    pages_patch_end(word);
}
