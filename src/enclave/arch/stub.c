/*
 * Lazy patching of system calls. The first trap at a `syscall` whose five bytes before are
 * `mov $nr, %eax` turns those five into a jump to a stub; the `syscall` stays at +5, so a thread already
 * past the mov, or a jump straight to it, still traps.
 *
 * read() is number 0, and its sites are `xor %eax, %eax; syscall`: two bytes, room for a short jump. It
 * goes to a long one in the padding behind the function's return. That the padding is padding follows
 * from the bytes: the trap proves that an instruction starts at the syscall, and from there on they are
 * cmp, ja, ret, nop, which nothing reaches but a jump to the nop itself. What is left of the padding
 * is remembered for another read() nearby (libc's has two: with threads and without).
 *
 * Stub: mov $nr, %eax; mov $site + 2, %ecx (as SYSCALL leaves it); jmp sys_entry. Stub pages stay RWX:
 * they hold nothing secret, and native code in this enclave could do without them anyway.
 */
#include <asm/errno.h>
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

uint64_t stubs_size(void)
{
    LOCKED(&g_stub_lock);
    return g_stub_next - LAYOUT_STUBS;
}

int stubs_adopt(uint64_t size)
{
    if (size > LAYOUT_STUBS_END - LAYOUT_STUBS || size % STUB_SIZE)
        return -EBADMSG;
    LOCKED(&g_stub_lock);
    if (g_stub_end != LAYOUT_STUBS)
        return -EBADMSG;
    uint64_t pages = (size + SGX_PAGE_SIZE - 1) / SGX_PAGE_SIZE;
    pages_accept(g_stub_end, pages, SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_X);
    g_stub_end += pages * SGX_PAGE_SIZE;
    g_stub_next += size;
    return 0;
}

static void put_jump(uint8_t *at, uint64_t to)
{
    at[0] = 0xe9;
    store_le32(at + 1, (uint32_t)(to - ((uint64_t)at + 5)));
}

/* --- xor %eax, %eax; syscall ------------------------------------------------------------------- */

#define PADS_MAX  16
#define JUMP_SIZE 5

/* Second halves of padding whose first half holds a jump of ours: room for one more; 0: none. */
static uint64_t g_pads[PADS_MAX];

static bool near(uint64_t from, uint64_t to)
{
    int64_t distance = (int64_t)(to - from);
    return distance >= -128 && distance <= 127;
}

/* Length of the nop at p, of at least a jump's size, as assemblers pad (Intel SDM volume 2B, NOP); 0. */
static uint32_t nop_size(const uint8_t *p)
{
    static const struct {
        uint8_t size, bytes[10];
    } nops[] = {
        { 10, { 0x66, 0x2e, 0x0f, 0x1f, 0x84 } }, { 9, { 0x66, 0x0f, 0x1f, 0x84 } },
        { 8, { 0x0f, 0x1f, 0x84 } },              { 7, { 0x0f, 0x1f, 0x80 } },
        { 6, { 0x66, 0x0f, 0x1f, 0x44 } },        { 5, { 0x0f, 0x1f, 0x44 } },
    };
    for (uint32_t i = 0; i < ARRAY_SIZE(nops); i++)
        if (memcmp(p, nops[i].bytes, nops[i].size) == 0)
            return nops[i].size;
    return 0;
}

/* The padding behind cmp $-4096, %rax; ja; ret, if that follows the syscall in its page; 0. */
static uint64_t find_pad(uint64_t site, uint32_t *ret_size)
{
    static const uint8_t cmp[6] = { 0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff };
    const uint8_t *p = (const uint8_t *)site + 2;
    if (memcmp(p, cmp, sizeof(cmp)) != 0)
        return 0;
    p += sizeof(cmp);
    if (p[0] == 0x77)
        p += 2;
    else if (p[0] == 0x0f && p[1] == 0x87)
        p += 6;
    else
        return 0;
    if (*p++ != 0xc3)
        return 0;
    *ret_size = nop_size(p);
    return *ret_size ? (uint64_t)p : 0;
}

static void remember_pad(uint64_t pad)
{
    static uint32_t next;
    g_pads[next++ % PADS_MAX] = pad;
}

/* A remembered one. The page may hold another file's code by now: our jump before it tells. */
static uint64_t take_pad(uint64_t site)
{
    for (uint32_t i = 0; i < PADS_MAX; i++) {
        uint64_t pad = g_pads[i];
        if (!pad || (pad - JUMP_SIZE) / SGX_PAGE_SIZE != site / SGX_PAGE_SIZE ||
            (pad + JUMP_SIZE - 1) / SGX_PAGE_SIZE != site / SGX_PAGE_SIZE || !near(site, pad))
            continue;
        const uint8_t *jump = (const uint8_t *)pad - JUMP_SIZE;
        uint64_t to = pad + (uint64_t)(int64_t)(int32_t)load_le32(jump + 1);
        g_pads[i] = 0;
        if (jump[0] == 0xe9 && to >= LAYOUT_STUBS && to < g_stub_next)
            return pad;
    }
    return 0;
}

static void patch_read(uint64_t site)
{
    static const uint8_t pattern[4] = { 0x31, 0xc0, 0x0f, 0x05 };
    uint64_t xor = site - 2;
    uint64_t word = xor & ~7ull;
    if (xor % 8 == 7 || memcmp((const void *)xor, pattern, sizeof(pattern)) != 0 ||
        (word ^ (site + 32)) / SGX_PAGE_SIZE)
        return;
    LOCKED(&g_stub_lock);
    if (!pages_patch_begin(site))
        return;
    uint32_t room = 0;
    uint64_t pad = find_pad(site, &room);
    if (!pad)
        pad = take_pad(site);
    uint64_t stub = pad ? stub_room() : 0;
    if (stub) {
        uint8_t *s = (uint8_t *)stub;
        memcpy(s, pattern, 2);
        s[2] = 0xb9;
        store_le32(s + 3, (uint32_t)(site + 2));
        put_jump(s + 7, (uint64_t)sys_entry);
        put_jump((uint8_t *)pad, stub);
        if (room >= 2 * JUMP_SIZE)
            remember_pad(pad + JUMP_SIZE);
        uint8_t bytes[8];
        memcpy(bytes, (const void *)word, 8);
        bytes[xor - word] = 0xeb;
        bytes[xor - word + 1] = (uint8_t)(pad - site);
        __atomic_store_n((uint64_t *)word, load_le64(bytes), __ATOMIC_RELEASE);
    }
    pages_patch_end(site);
}

void stub_patch(uint64_t site, uint64_t nr)
{
    if (site < LAYOUT_APP_START + 8 || site + 8 > LAYOUT_FILES_END || nr > INT32_MAX)
        return;
    if (nr == 0) {
        patch_read(site);
        return;
    }
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
