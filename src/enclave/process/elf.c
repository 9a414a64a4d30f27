/*
 * Starts an ELF program as Linux' binfmt_elf does: PIE and non-PIE, with and without interpreter. Both
 * files are trusted and measured, but the checks stand: the format is still untrusted input to us.
 */
#include <asm/errno.h>
#include <linux/auxvec.h>
#include <linux/elf.h>
#include <linux/mman.h>
#include <stdbool.h>

#include "arch/cpu.h"
#include "arch/string.h"
#include "border/border.h"
#include "mm/heap.h"
#include "mm/mm.h"
#include "mm/uaccess.h"
#include "process/boot.h"
#include "process/process.h"
#include "vfs/file.h"
#include "vfs/proc/proc.h"

#define PAGE      LAYOUT_PAGE
#define PHDRS_MAX 64
#define BRK_PIE   0x02000000ull
#define STACK_MIN (1ull << 20)
#define SIGSTACK  3632 /* AT_MINSIGSTKSZ: a frame with AVX-512 */
#define HWCAP2    2    /* HWCAP2_FSGSBASE */
#define HWCAP     0x178bfbff

struct image {
    struct file *file;
    const char *path;
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdrs[PHDRS_MAX];
    uint64_t bias, end;
};

static void read_exact(const struct image *image, void *buf, uint64_t size, uint64_t offset)
{
    uint8_t *to = buf;
    while (size) {
        struct chunk *chunk;
        const void *data;
        uint32_t have;
        int r = chunk_get(image->file, offset / MANIFEST_CHUNK_SIZE, &chunk, &data, &have);
        if (r < 0)
            panic("'%s' cannot be read: error %d", image->path, -r);
        uint64_t in = offset % MANIFEST_CHUNK_SIZE;
        if (in >= have)
            panic("'%s' is cut short", image->path);
        uint64_t n = have - in < size ? have - in : size;
        memcpy(to, (const uint8_t *)data + in, n);
        chunk_put(chunk);
        to += n;
        offset += n;
        size -= n;
    }
}

static void open_image(struct image *image, uint32_t record)
{
    image->path = manifest_path(&g_manifest, record);
    int r = vfs_open_kernel(image->path, g_manifest.files[record].path.length, &image->file);
    if (r < 0)
        panic("'%s' cannot be opened: error %d", image->path, -r);
    read_exact(image, &image->ehdr, sizeof(image->ehdr), 0);
    const Elf64_Ehdr *e = &image->ehdr;
    if (memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 || e->e_ident[EI_CLASS] != ELFCLASS64 ||
        e->e_machine != EM_X86_64 || (e->e_type != ET_EXEC && e->e_type != ET_DYN) ||
        e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phnum == 0 || e->e_phnum > PHDRS_MAX)
        panic("'%s' is no x86-64 ELF program", image->path);
    read_exact(image, image->phdrs, e->e_phnum * sizeof(Elf64_Phdr), e->e_phoff);
}

static int prot_of(uint32_t flags)
{
    return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
           (flags & PF_X ? PROT_EXEC : 0);
}

static void map_segment(const struct image *image, const Elf64_Phdr *p)
{
    uint64_t start = image->bias + p->p_vaddr, skew = start % PAGE;
    int prot = prot_of(p->p_flags);
    uint64_t file_end = start + p->p_filesz, end = start + p->p_memsz;
    if (p->p_filesz > p->p_memsz || p->p_offset % PAGE != skew)
        panic("'%s' has a broken segment", image->path);
    int64_t r = 0;
    if (p->p_filesz)
        r = mm_map(start - skew, p->p_filesz + skew, prot, MAP_PRIVATE | MAP_FIXED, image->file,
                   p->p_offset - skew);
    uint64_t file_pages_end = (file_end + PAGE - 1) & ~(PAGE - 1);
    if (r >= 0 && p->p_filesz == 0)
        file_pages_end = start - skew;
    if (r >= 0 && end > file_pages_end)
        r = mm_map(file_pages_end, end - file_pages_end, prot,
                   MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, NULL, 0);
    if (r < 0)
        panic("'%s' does not fit into the enclave: error %ld", image->path, -r);
    if (p->p_filesz && end > file_end && (p->p_flags & PF_W) && file_end % PAGE)
        if (clear_user((void *)file_end, file_pages_end - file_end) < 0)
            panic("'%s': its data cannot be cleared", image->path);
}

static void map_image(struct image *image)
{
    uint64_t low = UINT64_MAX, high = 0;
    for (unsigned i = 0; i < image->ehdr.e_phnum; i++) {
        const Elf64_Phdr *p = &image->phdrs[i];
        if (p->p_type != PT_LOAD)
            continue;
        uint64_t end;
        if (__builtin_add_overflow(p->p_vaddr, p->p_memsz, &end) || end > LAYOUT_FILES_END)
            panic("'%s' has a segment beyond its address space", image->path);
        low = p->p_vaddr < low ? p->p_vaddr : low;
        high = end > high ? end : high;
    }
    if (high == 0)
        panic("'%s' has nothing to load", image->path);
    low &= ~(PAGE - 1);
    if (image->ehdr.e_type == ET_DYN) {
        int64_t at = mm_map(0, high - low, PROT_NONE, MAP_PRIVATE, image->file, 0);
        if (at < 0)
            panic("no room for '%s'", image->path);
        image->bias = (uint64_t)at - low;
    }
    for (unsigned i = 0; i < image->ehdr.e_phnum; i++)
        if (image->phdrs[i].p_type == PT_LOAD)
            map_segment(image, &image->phdrs[i]);
    image->end = image->bias + high;
}

static uint64_t phdr_address(const struct image *image)
{
    for (unsigned i = 0; i < image->ehdr.e_phnum; i++) {
        const Elf64_Phdr *p = &image->phdrs[i];
        if (p->p_type == PT_LOAD && image->ehdr.e_phoff >= p->p_offset &&
            image->ehdr.e_phoff < p->p_offset + p->p_filesz)
            return image->bias + p->p_vaddr + (image->ehdr.e_phoff - p->p_offset);
    }
    return 0;
}

/* --- the stack --------------------------------------------------------------------------------- */

static void put_bytes(uint64_t *at, const void *bytes, uint64_t size)
{
    *at -= size;
    if (copy_to_user((void *)*at, bytes, size) < 0)
        panic("the program's stack cannot be written; --heap raises the limit");
}

static uint64_t put_string(uint64_t *at, const char *text)
{
    put_bytes(at, text, strlen(text) + 1);
    return *at;
}

static uint64_t build_stack(const struct boot_strings *strings, const struct image *program,
                            const struct image *interpreter, const char *execfn)
{
    const struct manifest_node *node = process_node();
    uint64_t size =
        node->stack_size < STACK_MIN ? STACK_MIN : (node->stack_size + PAGE - 1) & ~(PAGE - 1);
    int64_t base =
        mm_map(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, NULL, 0);
    if (base < 0)
        panic("no room for a stack of %lu KiB; --heap raises the limit", size >> 10);
    mm_mark_stack((uint64_t)base);
    uint64_t at = (uint64_t)base + size - 8;

    uint32_t words_max = 1 + strings->arg_count + 1 + strings->env_count + 1 + 2 * 24;
    uint64_t *words = heap_alloc(words_max * sizeof(uint64_t));
    if (!words)
        panic("no memory for the arguments");
    uint32_t n = 0;
    uint8_t random[16];
    cpu_random(random, sizeof(random));
    uint64_t execfn_at = put_string(&at, execfn);
    uint64_t platform_at = put_string(&at, "x86_64");
    put_bytes(&at, random, sizeof(random));
    uint64_t random_at = at;

    words[n++] = strings->arg_count;
    uint32_t first_env = 1 + strings->arg_count + 1;
    for (uint32_t i = strings->env_count; i--;)
        words[first_env + i] = put_string(&at, strings->env[i]);
    for (uint32_t i = strings->arg_count; i--;)
        words[1 + i] = put_string(&at, strings->args[i]);
    n = first_env + strings->env_count + 1;
    uint32_t auxv = n;
    const uint64_t pairs[][2] = {
        { AT_PHDR, phdr_address(program) },
        { AT_PHENT, sizeof(Elf64_Phdr) },
        { AT_PHNUM, program->ehdr.e_phnum },
        { AT_PAGESZ, PAGE },
        { AT_BASE, interpreter ? interpreter->bias : 0 },
        { AT_FLAGS, 0 },
        { AT_ENTRY, program->bias + program->ehdr.e_entry },
        { AT_UID, node->uid },
        { AT_EUID, node->uid },
        { AT_GID, node->gid },
        { AT_EGID, node->gid },
        { AT_HWCAP, HWCAP },
        { AT_HWCAP2, HWCAP2 },
        { AT_CLKTCK, 100 },
        { AT_SECURE, 0 },
        { AT_RANDOM, random_at },
        { AT_PLATFORM, platform_at },
        { AT_EXECFN, execfn_at },
        { AT_MINSIGSTKSZ, SIGSTACK },
        { AT_NULL, 0 },
    };
    for (unsigned i = 0; i < ARRAY_SIZE(pairs); i++) {
        words[n++] = pairs[i][0];
        words[n++] = pairs[i][1];
    }
    ASSERT(n <= words_max);
    if (proc_set_auxv(words + auxv, (n - auxv) * sizeof(uint64_t)) < 0)
        panic("no memory for /proc");
    at = (at - n * sizeof(uint64_t)) & ~15ull;
    if (copy_to_user((void *)at, words, n * sizeof(uint64_t)) < 0)
        panic("the program's stack cannot be written; --heap raises the limit");
    heap_free(words);
    return at;
}

void elf_start(const struct boot_strings *strings, struct regs *ret)
{
    const struct manifest_entry *entry = &g_manifest.entries[strings->entry];
    struct image *images = heap_alloc(2 * sizeof(*images));
    if (!images)
        panic("no memory to start the program");
    struct image *program = &images[0], *interpreter = NULL;
    open_image(program, entry->executable);
    map_image(program);
    if (proc_set_exe(program->path, strlen(program->path)) < 0)
        panic("no memory for /proc");
    bool low = program->end < LAYOUT_PARAMS;
    mm_set_brk(low ? (program->end + PAGE - 1) & ~(PAGE - 1) : BRK_PIE);
    if (entry->interpreter != MANIFEST_NONE) {
        interpreter = &images[1];
        open_image(interpreter, entry->interpreter);
        map_image(interpreter);
    }
    const struct image *first = interpreter ? interpreter : program;
    memset(ret, 0, sizeof(*ret));
    ret->rsp = build_stack(strings, program, interpreter, strings->execfn);
    ret->rip = first->bias + first->ehdr.e_entry;
    ret->rflags = 0x202;
    ret->orig_rax = UINT64_MAX;
    ret->full = 1;
    file_unref(program->file);
    if (interpreter)
        file_unref(interpreter->file);
    heap_free(images);
}
