#include "signer/layout.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/measure.h"
#include "util/fs.h"

#define PAGE            LAYOUT_PAGE
#define ENCLAVE_DEFAULT (UINT64_C(64) << 30)
#define HEAP_MAX        (LAYOUT_ENCLAVE_MAX / 8)
#define PROGRAM_HEADERS 64u
#define SECTION_HEADERS 4096u
#define SYMBOLS_MAX     (1u << 20)
#define RUNS_PER_THREAD 5u
#define RUNS_BESIDE     (2u + 3u * PROGRAM_HEADERS)
#define FLAGS_R         (SGX_SECINFO_REG | SGX_SECINFO_R)
#define FLAGS_RW        (FLAGS_R | SGX_SECINFO_W)

static uint64_t page_up(uint64_t size)
{
    return (size + PAGE - 1) & ~(PAGE - 1);
}

uint64_t layout_enclave_size(uint64_t heap_size)
{
    if (heap_size > HEAP_MAX)
        return 0;
    uint64_t size = ENCLAVE_DEFAULT;
    while (size < LAYOUT_FILES_END + 2 * heap_size)
        size *= 2;
    return size;
}

void layout_free(struct layout *layout)
{
    if (!layout)
        return;
    for (size_t i = 0; i < layout->owned_count; i++)
        free(layout->owned[i]);
    free(layout->owned);
    free(layout->runs);
    free(layout);
}

void layout_free_p(struct layout **layout)
{
    int saved = errno;
    layout_free(*layout);
    errno = saved;
}

/* page_count zeroed, page-aligned pages that live as long as the layout; NULL: out of memory. */
static uint8_t *pages_new(struct layout *l, uint64_t page_count)
{
    void **owned = realloc(l->owned, (l->owned_count + 1) * sizeof(*owned));
    if (!owned)
        return NULL;
    l->owned = owned;
    void *pages = aligned_alloc(PAGE, page_count * PAGE);
    if (!pages)
        return NULL;
    memset(pages, 0, page_count * PAGE);
    l->owned[l->owned_count++] = pages;
    return pages;
}

static void run_add(struct layout *l, uint64_t offset, uint64_t page_count, uint64_t flags,
                    bool measured, const uint8_t *content)
{
    l->runs[l->run_count++] = (struct layout_run){
        .offset = offset,
        .page_count = page_count,
        .secinfo_flags = flags,
        .measured = measured,
        .content = content,
    };
}

/* The file's bytes, and copies of its headers: the file has no alignment. */
struct image {
    const uint8_t *bytes;
    uint64_t size;
    Elf64_Ehdr ehdr;
};

static int refuse(struct err *err, const char *reason)
{
    return err_set(err, -EBADMSG, "library OS image: %s", reason);
}

static int image_open(const struct layout_spec *spec, struct image *ret, struct err *err)
{
    struct image image = { .bytes = spec->image, .size = spec->image_size };
    if (image.size > LAYOUT_IMAGE_FILE_MAX)
        return refuse(err, "too large");
    if (image.size < sizeof(image.ehdr))
        return refuse(err, "too short for an ELF header");
    memcpy(&image.ehdr, image.bytes, sizeof(image.ehdr));

    const Elf64_Ehdr *h = &image.ehdr;
    if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0)
        return refuse(err, "not an ELF file");
    if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB ||
        h->e_ident[EI_VERSION] != EV_CURRENT || h->e_machine != EM_X86_64)
        return refuse(err, "not for x86-64");
    if (h->e_type != ET_EXEC)
        return refuse(err, "not linked to a fixed address (ET_EXEC)");
    if (h->e_phnum == 0 || h->e_phnum > PROGRAM_HEADERS || h->e_phentsize != sizeof(Elf64_Phdr) ||
        span_check(h->e_phoff, (uint64_t)h->e_phnum * sizeof(Elf64_Phdr), image.size) < 0)
        return refuse(err, "bad program headers");
    if (h->e_shnum > SECTION_HEADERS ||
        (h->e_shnum > 0 &&
         (h->e_shentsize != sizeof(Elf64_Shdr) ||
          span_check(h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr), image.size) < 0)))
        return refuse(err, "bad section headers");
    *ret = image;
    return 0;
}

static Elf64_Phdr program_header(const struct image *image, unsigned i)
{
    Elf64_Phdr p;
    memcpy(&p, image->bytes + image->ehdr.e_phoff + i * sizeof(p), sizeof(p));
    return p;
}

/* Symbol tables and relocations of a linked static program tell whether the linker left work. */
static int check_sections(const struct image *image, struct err *err)
{
    for (unsigned i = 0; i < image->ehdr.e_shnum; i++) {
        Elf64_Shdr s;
        memcpy(&s, image->bytes + image->ehdr.e_shoff + i * sizeof(s), sizeof(s));
        bool relocations = s.sh_type == SHT_REL || s.sh_type == SHT_RELA || s.sh_type == SHT_RELR;
        if (relocations && (s.sh_flags & SHF_ALLOC) && s.sh_size > 0)
            return refuse(err, "it has relocations");
        if (s.sh_type != SHT_SYMTAB && s.sh_type != SHT_DYNSYM)
            continue;
        if (s.sh_entsize != sizeof(Elf64_Sym) || s.sh_size / sizeof(Elf64_Sym) > SYMBOLS_MAX ||
            span_check(s.sh_offset, s.sh_size, image->size) < 0)
            return refuse(err, "bad symbol table");
        /* Symbol 0 is undefined by definition. */
        for (uint64_t at = sizeof(Elf64_Sym); at + sizeof(Elf64_Sym) <= s.sh_size;
             at += sizeof(Elf64_Sym)) {
            Elf64_Sym sym;
            memcpy(&sym, image->bytes + s.sh_offset + at, sizeof(sym));
            if (sym.st_shndx == SHN_UNDEF)
                return refuse(err, "it has an undefined symbol");
        }
    }
    return 0;
}

static int check_segment(const struct image *image, const Elf64_Phdr *p, uint64_t from,
                         struct err *err)
{
    if (p->p_filesz > p->p_memsz || span_check(p->p_offset, p->p_filesz, image->size) < 0)
        return refuse(err, "a segment's bytes are not in the file");
    if (p->p_vaddr < LAYOUT_IMAGE ||
        span_check(p->p_vaddr - LAYOUT_IMAGE, p->p_memsz, LAYOUT_IMAGE_END - LAYOUT_IMAGE) < 0)
        return refuse(err, "a segment lies outside the image's place");
    if (p->p_vaddr % PAGE)
        return refuse(err, "a segment does not start at a page");
    if (p->p_vaddr < from)
        return refuse(err, "segments overlap or are out of order");
    if (!(p->p_flags & PF_R) || (p->p_flags & ~(Elf64_Word)(PF_R | PF_W | PF_X)))
        return refuse(err, "a segment's permissions are none we know");
    if ((p->p_flags & PF_W) && (p->p_flags & PF_X))
        return refuse(err, "a segment is writable and executable");
    return 0;
}

static int add_segment(struct layout *l, const struct image *image, const Elf64_Phdr *p,
                       struct err *err)
{
    uint64_t flags = FLAGS_R;
    if (p->p_flags & PF_W)
        flags |= SGX_SECINFO_W;
    if (p->p_flags & PF_X)
        flags |= SGX_SECINFO_X;

    /* Whole pages from where they are, if the image is mapped; a copy of the last, which zeros fill
     * up; and the zeros after it, which need no memory here. */
    const uint8_t *bytes = image->bytes + p->p_offset;
    uint64_t direct = (uintptr_t)bytes % PAGE == 0 ? p->p_filesz / PAGE : 0;
    uint64_t file_pages = page_up(p->p_filesz) / PAGE;
    uint64_t all_pages = page_up(p->p_memsz) / PAGE;
    if (direct > 0)
        run_add(l, p->p_vaddr, direct, flags, true, bytes);
    if (file_pages > direct) {
        uint8_t *pages = pages_new(l, file_pages - direct);
        if (!pages)
            return err_set(err, -ENOMEM, "library OS image: out of memory");
        memcpy(pages, bytes + direct * PAGE, p->p_filesz - direct * PAGE);
        run_add(l, p->p_vaddr + direct * PAGE, file_pages - direct, flags, true, pages);
    }
    if (all_pages > file_pages)
        run_add(l, p->p_vaddr + file_pages * PAGE, all_pages - file_pages, flags, true, NULL);
    return 0;
}

static int add_image(struct layout *l, const struct image *image, struct err *err)
{
    int r = check_sections(image, err);
    if (r < 0)
        return r;
    bool entry_found = false;
    uint64_t end = LAYOUT_IMAGE;
    for (unsigned i = 0; i < image->ehdr.e_phnum; i++) {
        Elf64_Phdr p = program_header(image, i);
        switch (p.p_type) {
        case PT_INTERP: return refuse(err, "it wants an interpreter");
        case PT_DYNAMIC: return refuse(err, "it has a dynamic section");
        case PT_TLS: return refuse(err, "it has thread-local storage");
        case PT_GNU_STACK:
            if (p.p_flags & PF_X)
                return refuse(err, "it wants an executable stack");
            continue;
        case PT_LOAD: break;
        default: continue;
        }
        if (p.p_memsz == 0)
            continue;
        r = check_segment(image, &p, end, err);
        if (r == 0)
            r = add_segment(l, image, &p, err);
        if (r < 0)
            return r;
        if ((p.p_flags & PF_X) && image->ehdr.e_entry >= p.p_vaddr &&
            image->ehdr.e_entry - p.p_vaddr < p.p_filesz)
            entry_found = true;
        end = page_up(p.p_vaddr + p.p_memsz);
    }
    if (!entry_found)
        return refuse(err, "its entry point is not in executable bytes");
    l->entry = image->ehdr.e_entry;
    l->image_end = end;
    return 0;
}

/* pages: two zeroed ones. */
static void add_thread(struct layout *l, uint32_t index, uint8_t *pages)
{
    uint64_t area = LAYOUT_THREADS + index * LAYOUT_THREAD_STRIDE;
    uint8_t *tcs_page = pages, *block_page = pages + PAGE;
    struct sgx_tcs tcs = {
        .ossa = area + LAYOUT_THREAD_SSA,
        .nssa = PROFILE_NSSA,
        .oentry = l->entry,
        .ofs_base = area + LAYOUT_THREAD_BLOCK,
        .ogs_base = area + LAYOUT_THREAD_BLOCK,
        .fs_limit = UINT32_MAX,
        .gs_limit = UINT32_MAX,
    };
    memcpy(tcs_page, &tcs, sizeof(tcs));
    struct layout_thread_block block = {
        .self = area + LAYOUT_THREAD_BLOCK,
        .index = index,
    };
    memcpy(block_page, &block, sizeof(block));

    run_add(l, area + LAYOUT_THREAD_TCS, 1, SGX_SECINFO_TCS, true, tcs_page);
    run_add(l, area + LAYOUT_THREAD_SSA, PROFILE_SSA_SIZE / PAGE, FLAGS_RW, false, NULL);
    run_add(l, area + LAYOUT_THREAD_BLOCK, 1, FLAGS_RW, true, block_page);
    run_add(l, area + LAYOUT_THREAD_EXC_STACK, LAYOUT_THREAD_EXC_PAGES, FLAGS_RW, false, NULL);
    run_add(l, area + LAYOUT_THREAD_STACK, LAYOUT_THREAD_STACK_PAGES, FLAGS_RW, false, NULL);
}

_Static_assert(LAYOUT_THREAD_SSA + PROFILE_SSA_SIZE <= LAYOUT_THREAD_BLOCK, "room for the SSA");

static int check_spec(const struct layout_spec *spec, uint64_t enclave_size, struct err *err)
{
    if (spec->thread_count == 0 || spec->thread_count > LAYOUT_THREADS_MAX)
        return err_set(err, -EINVAL, "%u threads: an enclave has 1 to %d", spec->thread_count,
                       LAYOUT_THREADS_MAX);
    if (spec->manifest_size == 0 || spec->manifest_size > LAYOUT_MANIFEST_END - LAYOUT_MANIFEST)
        return err_set(err, -EINVAL, "a manifest of %zu bytes: an enclave takes 1 to %llu",
                       spec->manifest_size, LAYOUT_MANIFEST_END - LAYOUT_MANIFEST);
    if (spec->heap_size == 0 || spec->heap_size % PAGE)
        return err_set(err, -EINVAL, "a heap of %llu bytes: whole pages are wanted",
                       (unsigned long long)spec->heap_size);
    if (enclave_size < LAYOUT_ENCLAVE_MIN || enclave_size > LAYOUT_ENCLAVE_MAX ||
        (enclave_size & (enclave_size - 1)) || spec->heap_size > enclave_size / 2)
        return err_set(err, -EINVAL,
                       "an enclave of %llu bytes with a heap of %llu: a power of two from %llu to "
                       "%llu is wanted, at least twice the heap",
                       (unsigned long long)enclave_size, (unsigned long long)spec->heap_size,
                       LAYOUT_ENCLAVE_MIN, LAYOUT_ENCLAVE_MAX);
    return 0;
}

int layout_build(const struct layout_spec *spec, struct layout **ret, struct err *err)
{
    uint64_t enclave_size =
        spec->enclave_size ? spec->enclave_size : layout_enclave_size(spec->heap_size);
    int r = check_spec(spec, enclave_size, err);
    if (r < 0)
        return r;
    struct image image = { 0 };
    r = image_open(spec, &image, err);
    if (r < 0)
        return r;

    CLEANUP(layout_free_p) struct layout *l = calloc(1, sizeof(*l));
    if (l)
        l->runs =
            calloc(RUNS_BESIDE + (size_t)spec->thread_count * RUNS_PER_THREAD, sizeof(*l->runs));
    uint8_t *params_page = l && l->runs ? pages_new(l, 1) : NULL;
    if (!params_page)
        return err_set(err, -ENOMEM, "enclave layout: out of memory");
    l->enclave_size = enclave_size;
    l->thread_count = spec->thread_count;

    run_add(l, LAYOUT_PARAMS, 1, FLAGS_R, true, params_page);
    r = add_image(l, &image, err);
    if (r < 0)
        return r;
    struct layout_params params = {
        .magic = LAYOUT_PARAMS_MAGIC,
        .version = LAYOUT_PARAMS_VERSION,
        .thread_count = spec->thread_count,
        .enclave_size = enclave_size,
        .image_end = l->image_end,
        .manifest_size = spec->manifest_size,
        .heap_size = spec->heap_size,
    };
    memcpy(params_page, &params, sizeof(params));

    uint64_t manifest_pages = page_up(spec->manifest_size) / PAGE;
    uint8_t *manifest = pages_new(l, manifest_pages);
    if (!manifest)
        return err_set(err, -ENOMEM, "enclave layout: out of memory");
    memcpy(manifest, spec->manifest, spec->manifest_size);
    run_add(l, LAYOUT_MANIFEST, manifest_pages, FLAGS_R, true, manifest);

    uint8_t *threads = pages_new(l, 2 * spec->thread_count);
    if (!threads)
        return err_set(err, -ENOMEM, "thread areas: out of memory");
    for (uint32_t i = 0; i < spec->thread_count; i++)
        add_thread(l, i, threads + 2 * i * PAGE);
    *ret = TAKE_PTR(l);
    return 0;
}

int layout_measure(const struct layout *layout, uint8_t ret_mrenclave[static SGX_HASH_SIZE],
                   struct err *err)
{
    static const uint8_t zeros[SGX_PAGE_SIZE];
    struct measure m;
    int r = measure_begin(&m, layout->enclave_size, PROFILE_SSA_FRAME_SIZE);
    for (size_t i = 0; r == 0 && i < layout->run_count; i++) {
        const struct layout_run *run = &layout->runs[i];
        for (uint64_t page = 0; r == 0 && page < run->page_count; page++) {
            uint64_t offset = run->offset + page * PAGE;
            const uint8_t *content = run->content ? run->content + page * PAGE : zeros;
            r = run->measured ? measure_add_page(&m, offset, run->secinfo_flags, content)
                              : measure_add_unmeasured(&m, offset, run->secinfo_flags);
        }
    }
    if (r < 0)
        return err_set(err, r, "measuring the enclave: a page does not fit it");
    measure_end(&m, ret_mrenclave);
    return 0;
}

void layout_secs(const struct layout *layout, bool debug, uint64_t host_xfrm, struct sgx_secs *ret)
{
    *ret = (struct sgx_secs){
        .size = layout->enclave_size,
        .base = 0,
        .ssa_frame_size = PROFILE_SSA_FRAME_SIZE,
        .misc_select = PROFILE_MISC_SELECT,
        .attributes = { .flags = SGX_ATTR_MODE64BIT | (debug ? SGX_ATTR_DEBUG : 0),
                        .xfrm = SGX_XFRM_LEGACY | (host_xfrm & PROFILE_XFRM) },
    };
}
