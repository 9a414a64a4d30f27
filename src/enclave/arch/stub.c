/*
 * Lazy patching of system calls. The first trap at a `syscall` shows its site. The five bytes of a `mov $nr, %eax` before it
 * become a jump to a stub; the `syscall` stays, so a thread already past the mov, or a jump straight to it, still
 * traps. Between the two may stand a few instructions that set other registers (moves(), below): they stay as well,
 * for those who are past the mov, and the stub has copies of them. libc's syscall() has no mov $nr; its last
 * instruction before, mov 8(%rsp), %r9, has five bytes too.
 *
 * read() is number 0, and its sites are `xor %eax, %eax; syscall`: two bytes, room for a short jump. It
 * goes to a long one in the padding behind the function's return. That the padding is padding follows
 * from the bytes: the trap proves that an instruction starts at the syscall, and from there on they are
 * cmp, ja, ret, nop, which nothing reaches but a jump to the nop itself. What is left of the padding
 * is remembered for another read() nearby (libc's has two: with threads and without).
 *
 * Stub: what stood before the syscall; mov $site + 2, %ecx (as SYSCALL leaves it); jmp sys_entry. Stub pages stay RWX:
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
#define JUMP_SIZE  5

static struct lock g_stub_lock;
static uint64_t g_stub_next = LAYOUT_STUBS;
static uint64_t g_stub_end = LAYOUT_STUBS;

/* Room for one more stub of up to a page; 0 if there is none. */
static uint64_t stub_room(uint32_t size)
{
    uint64_t next = g_stub_next + (size + STUB_SIZE - 1) / STUB_SIZE * STUB_SIZE;
    if (next > g_stub_end) {
        if (g_stub_end == LAYOUT_STUBS_END)
            return 0;
        pages_accept(g_stub_end, 1, SGX_SECINFO_R | SGX_SECINFO_W | SGX_SECINFO_X);
        g_stub_end += SGX_PAGE_SIZE;
    }
    uint64_t stub = g_stub_next;
    g_stub_next = next;
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

/* A jump to be run at `from`. */
static void put_jump_from(uint8_t *at, uint64_t from, uint64_t to)
{
    at[0] = 0xe9;
    store_le32(at + 1, (uint32_t)(to - (from + 5)));
}

static void put_jump(uint8_t *at, uint64_t to)
{
    put_jump_from(at, (uint64_t)at, to);
}

/* mov $site + 2, %ecx; jmp sys_entry: the end of each stub. */
#define STUB_END 10u
static void put_end(uint8_t *at, uint64_t site)
{
    at[0] = 0xb9;
    store_le32(at + 1, (uint32_t)(site + 2));
    put_jump(at + 5, (uint64_t)sys_entry);
}

/* --- xor %eax, %eax; syscall ------------------------------------------------------------------- */

#define PADS_MAX 16

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
        { 10, { 0x66, 0x2e, 0x0f, 0x1f, 0x84 } },
        { 9, { 0x66, 0x0f, 0x1f, 0x84 } },
        { 8, { 0x0f, 0x1f, 0x84 } },
        { 7, { 0x0f, 0x1f, 0x80 } },
        { 6, { 0x66, 0x0f, 0x1f, 0x44 } },
        { 5, { 0x0f, 0x1f, 0x44 } },
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
    uint64_t word = xor&~7ull;
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
    uint64_t stub = pad ? stub_room(2 + STUB_END) : 0;
    if (stub) {
        memcpy((void *)stub, pattern, 2);
        put_end((uint8_t *)stub + 2, site);
        put_jump((uint8_t *)pad, stub);
        if (room >= 2 * JUMP_SIZE)
            remember_pad(pad + JUMP_SIZE);
        uint8_t bytes[8];
        memcpy(bytes, (const void *)word, 8);
        bytes[xor-word] = 0xeb;
        bytes[xor-word + 1] = (uint8_t)(pad - site);
        __atomic_store_n((uint64_t *)word, load_le64(bytes), __ATOMIC_RELEASE);
    }
    pages_patch_end(site);
}

/* --- mov $nr, %eax; ...; syscall ---------------------------------------------------------------- */

#define BETWEEN_MAX 14u /* bytes */

/* Length of the instruction at p if it is one that sets a register from another, a number or an address, reads and
 * writes no memory, and does the same elsewhere (*ret_relative: but for a displacement in its last four bytes, from
 * rip); 0: it is not. Intel SDM volume 2, appendix A. */
static uint32_t moves(const uint8_t *p, bool *ret_relative)
{
    uint32_t rex = (p[0] & 0xf0) == 0x40;
    bool wide = rex && (p[0] & 8);
    uint8_t op = p[rex], modrm = p[rex + 1];
    uint32_t mod = modrm >> 6, rm = modrm & 7;
    *ret_relative = false;
    switch (op) {
    case 0x31: /* xor r, r */
    case 0x33:
    case 0x89: /* mov r, r */
    case 0x8b: return mod == 3 ? rex + 2 : 0;
    case 0x80: /* and its kin, of a byte and a number */
    case 0x83: return mod == 3 ? rex + 3 : 0;
    case 0x8d: /* lea */
        *ret_relative = mod == 0 && rm == 5;
        return *ret_relative || (mod == 2 && rm != 4) ? rex + 6 : mod == 1 && rm != 4 ? rex + 3 : 0;
    default: return op > 0xb8 && op <= 0xbf && op != 0xbc && !wide ? rex + 5 : 0; /* mov $n, r */
    }
}

/* Do whole instructions of that kind lead from p to end? to: they are copied there, unless it is NULL. */
static bool between(const uint8_t *p, const uint8_t *end, uint8_t *to)
{
    while (p < end) {
        bool relative;
        uint32_t size = moves(p, &relative);
        if (!size || size > (uint64_t)(end - p))
            return false;
        if (to) {
            int64_t displacement = (int32_t)load_le32(p + size - 4) + (p - to);
            if (relative && displacement != (int32_t)displacement)
                return false;
            memcpy(to, p, size);
            if (relative)
                store_le32(to + size - 4, (uint32_t)displacement);
            to += size;
        }
        p += size;
    }
    return true;
}

/* Where the five bytes stand that may become a jump; 0: nowhere. The program runs the site, so the bytes before it can
 * be read, as far as its page goes. */
static uint64_t find_mov(uint64_t site, uint64_t nr)
{
    static const uint8_t last_argument[JUMP_SIZE] = { 0x4c, 0x8b, 0x4c, 0x24, 0x08 };
    if (memcmp((const void *)(site - JUMP_SIZE), last_argument, JUMP_SIZE) == 0)
        return site - JUMP_SIZE;
    uint64_t page = site & ~(uint64_t)(SGX_PAGE_SIZE - 1);
    for (uint64_t mov = site - JUMP_SIZE; mov > page && mov >= site - JUMP_SIZE - BETWEEN_MAX;
         mov--) {
        const uint8_t *code = (const uint8_t *)mov;
        if (code[0] == 0xb8 && load_le32(code + 1) == (uint32_t)nr && (code[-1] & 0xf0) != 0x40 &&
            between(code + JUMP_SIZE, (const uint8_t *)site, NULL))
            return mov;
    }
    return 0;
}

void stub_patch(uint64_t site, uint64_t nr)
{
    if (site < LAYOUT_APP_START + 8 || site + 8 > LAYOUT_FILES_END || nr > INT32_MAX)
        return;
    if (nr == 0) {
        patch_read(site);
        return;
    }
    /* All that is looked at lies in the site's page: a site at its beginning traps. */
    if (site % SGX_PAGE_SIZE <= JUMP_SIZE)
        return;
    /* Most sites that cannot be patched show it here, without two changes of the page's permissions at
     * each of their traps. */
    uint64_t mov = find_mov(site, nr);
    if (!mov)
        return;
    /* The eight bytes to store: they hold the five, and lie in one cache line and before the syscall's end. */
    uint64_t word = mov;
    while (word % CACHE_LINE > CACHE_LINE - 8)
        word--;
    if (word + 8 < mov + JUMP_SIZE || word / SGX_PAGE_SIZE != (word + 7) / SGX_PAGE_SIZE)
        return;

    LOCKED(&g_stub_lock);
    if (!pages_patch_begin(word))
        return;
    uint32_t size = (uint32_t)(site - mov);
    uint64_t stub = find_mov(site, nr) == mov ? stub_room(size + STUB_END) : 0;
    if (stub && between((const uint8_t *)mov + JUMP_SIZE, (const uint8_t *)site,
                        (uint8_t *)stub + JUMP_SIZE)) {
        memcpy((void *)stub, (const void *)mov, JUMP_SIZE);
        put_end((uint8_t *)stub + size, site);
        uint8_t bytes[8];
        memcpy(bytes, (const void *)word, 8);
        put_jump_from(bytes + (mov - word), mov, stub);
        __atomic_store_n((uint64_t *)word, load_le64(bytes), __ATOMIC_RELEASE);
    }
    pages_patch_end(word);
}
