/* Which pages an enclave is made of, their order and their measurement. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>

#include "image.h"
#include "signer/layout.h"
#include "util/fs.h"

#define R  (SGX_SECINFO_REG | SGX_SECINFO_R)
#define RW (R | SGX_SECINFO_W)
#define RX (R | SGX_SECINFO_X)

static struct image_file g_image;
static uint8_t g_manifest[5000];

static struct layout_spec spec_new(void)
{
    image_init(&g_image);
    memset(g_manifest, 0x33, sizeof(g_manifest));
    return (struct layout_spec){
        .image = &g_image,
        .image_size = sizeof(g_image),
        .manifest = g_manifest,
        .manifest_size = sizeof(g_manifest),
        .thread_count = 2,
        .heap_size = 16 << 20,
    };
}

static struct layout *build(const struct layout_spec *spec)
{
    struct err err = { 0 };
    struct layout *l = NULL;
    if (layout_build(spec, &l, &err) < 0)
        fail_msg("%s", err.text);
    return l;
}

static void test_pages(void **state UNUSED)
{
    struct layout_spec spec = spec_new();
    struct layout *l = build(&spec);
    const uint64_t t0 = LAYOUT_THREADS, t1 = LAYOUT_THREADS + LAYOUT_THREAD_STRIDE;
    const struct {
        uint64_t offset, page_count, flags;
        bool measured, content;
    } want[] = {
        { LAYOUT_PARAMS, 1, R, true, true },
        { LAYOUT_IMAGE, IMAGE_TEXT_PAGES, RX, true, true },
        { LAYOUT_IMAGE + 0x2000, 1, R, true, true },
        { LAYOUT_IMAGE + 0x4000, 1, RW, true, true },
        { LAYOUT_IMAGE + 0x5000, IMAGE_BSS_PAGES, RW, true, false },
        { LAYOUT_MANIFEST, 2, R, true, true },
        { t0 + LAYOUT_THREAD_TCS, 1, SGX_SECINFO_TCS, true, true },
        { t0 + LAYOUT_THREAD_SSA, 8, RW, false, false },
        { t0 + LAYOUT_THREAD_BLOCK, 1, RW, true, true },
        { t0 + LAYOUT_THREAD_EXC_STACK, LAYOUT_THREAD_EXC_PAGES, RW, false, false },
        { t0 + LAYOUT_THREAD_STACK, LAYOUT_THREAD_STACK_PAGES, RW, false, false },
        { t1 + LAYOUT_THREAD_TCS, 1, SGX_SECINFO_TCS, true, true },
        { t1 + LAYOUT_THREAD_SSA, 8, RW, false, false },
        { t1 + LAYOUT_THREAD_BLOCK, 1, RW, true, true },
        { t1 + LAYOUT_THREAD_EXC_STACK, LAYOUT_THREAD_EXC_PAGES, RW, false, false },
        { t1 + LAYOUT_THREAD_STACK, LAYOUT_THREAD_STACK_PAGES, RW, false, false },
    };
    assert_int_equal(l->run_count, ARRAY_SIZE(want));
    for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
        const struct layout_run *run = &l->runs[i];
        if (run->offset != want[i].offset || run->page_count != want[i].page_count ||
            run->secinfo_flags != want[i].flags || run->measured != want[i].measured ||
            (run->content != NULL) != want[i].content)
            fail_msg("run %zu: %llx, %llu pages, flags %llx", i, (unsigned long long)run->offset,
                     (unsigned long long)run->page_count, (unsigned long long)run->secinfo_flags);
        assert_int_equal((uintptr_t)run->content % SGX_PAGE_SIZE, 0);
        if (i > 0)
            assert_true(run->offset >=
                        l->runs[i - 1].offset + l->runs[i - 1].page_count * LAYOUT_PAGE);
    }
    assert_int_equal(l->image_end, LAYOUT_IMAGE + 0x8000);
    layout_free(l);
}

static void test_content(void **state UNUSED)
{
    struct layout_spec spec = spec_new();
    struct layout *l = build(&spec);
    static const uint8_t zeros[2 * SGX_PAGE_SIZE];

    const struct layout_params *params = (const void *)l->runs[0].content;
    assert_true(params->magic == LAYOUT_PARAMS_MAGIC);
    assert_int_equal(params->version, LAYOUT_PARAMS_VERSION);
    assert_int_equal(params->thread_count, 2);
    assert_true(params->enclave_size == l->enclave_size);
    assert_int_equal(params->image_end, l->image_end);
    assert_int_equal(params->manifest_size, sizeof(g_manifest));
    assert_int_equal(params->heap_size, 16 << 20);
    assert_memory_equal(params + 1, zeros, SGX_PAGE_SIZE - sizeof(*params));

    const uint8_t *text = l->runs[1].content;
    assert_memory_equal(text, g_image.text, sizeof(g_image.text));
    assert_memory_equal(text + sizeof(g_image.text), zeros, 16);
    const uint8_t *data = l->runs[3].content;
    assert_memory_equal(data, g_image.data, sizeof(g_image.data));
    assert_memory_equal(data + IMAGE_DATA_BYTES, zeros, SGX_PAGE_SIZE - IMAGE_DATA_BYTES);
    const uint8_t *manifest = l->runs[5].content;
    assert_memory_equal(manifest, g_manifest, sizeof(g_manifest));
    assert_memory_equal(manifest + sizeof(g_manifest), zeros, 2 * 4096 - sizeof(g_manifest));

    for (unsigned i = 0; i < 2; i++) {
        uint64_t area = LAYOUT_THREADS + i * LAYOUT_THREAD_STRIDE;
        const struct sgx_tcs *tcs = (const void *)l->runs[6 + 5 * i].content;
        assert_int_equal(tcs->ossa, area + LAYOUT_THREAD_SSA);
        assert_int_equal(tcs->nssa, 2);
        assert_int_equal(tcs->cssa, 0);
        assert_true(tcs->flags == 0 && tcs->stage == 0 && tcs->aep == 0);
        assert_int_equal(tcs->oentry, LAYOUT_IMAGE + 0x10);
        assert_int_equal(tcs->ofs_base, area + LAYOUT_THREAD_BLOCK);
        assert_int_equal(tcs->ogs_base, area + LAYOUT_THREAD_BLOCK);
        assert_memory_equal(tcs->reserved, zeros, sizeof(tcs->reserved));
        const struct layout_thread_block *block = (const void *)l->runs[8 + 5 * i].content;
        assert_int_equal(block->self, area + LAYOUT_THREAD_BLOCK);
        assert_int_equal(block->index, i);
    }
    layout_free(l);
}

/* MRENCLAVE again, by other means: the SDM's records written out by hand into OpenSSL. */
static void hash_record(EVP_MD_CTX *ctx, const char tag[8], uint64_t a, uint64_t b)
{
    uint8_t record[64] = { 0 };
    memcpy(record, tag, 8);
    memcpy(record + 8, &a, 8);
    memcpy(record + 16, &b, 8);
    assert_true(EVP_DigestUpdate(ctx, record, sizeof(record)));
}

static void test_measure(void **state UNUSED)
{
    struct layout_spec spec = spec_new();
    struct layout *l = build(&spec);
    struct err err;
    uint8_t got[32], want[32];
    assert_int_equal(layout_measure(l, got, &err), 0);

    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_true(EVP_DigestInit(ctx, EVP_sha256()));
    uint8_t ecreate[64] = "ECREATE";
    ecreate[8] = 4;
    memcpy(ecreate + 12, &l->enclave_size, 8);
    assert_true(EVP_DigestUpdate(ctx, ecreate, sizeof(ecreate)));
    for (size_t i = 0; i < l->run_count; i++) {
        const struct layout_run *run = &l->runs[i];
        for (uint64_t at = 0; at < run->page_count * 4096; at += 4096) {
            static const uint8_t zeros[256];
            hash_record(ctx, "EADD\0\0\0", run->offset + at, run->secinfo_flags);
            for (uint64_t part = 0; run->measured && part < 4096; part += 256) {
                hash_record(ctx, "EEXTEND", run->offset + at + part, 0);
                assert_true(
                    EVP_DigestUpdate(ctx, run->content ? run->content + at + part : zeros, 256));
            }
        }
    }
    assert_true(EVP_DigestFinal(ctx, want, NULL));
    EVP_MD_CTX_free(ctx);
    assert_memory_equal(got, want, sizeof(got));
    layout_free(l);
}

/* A mapped image's whole pages are not copied; the enclave is the same. */
static void test_mapped_image(void **state UNUSED)
{
    struct layout_spec spec = spec_new();
    struct layout *copied = build(&spec);
    uint8_t want[32], got[32];
    struct err err;
    assert_int_equal(layout_measure(copied, want, &err), 0);

    /* Its text at a page, as in a file made for mapping; what follows the text is no zeros. */
    size_t pad = SGX_PAGE_SIZE - offsetof(struct image_file, text) % SGX_PAGE_SIZE;
    size_t room = (pad + sizeof(g_image) + SGX_PAGE_SIZE) & ~(size_t)(SGX_PAGE_SIZE - 1);
    uint8_t *pages = aligned_alloc(SGX_PAGE_SIZE, room);
    assert_non_null(pages);
    memset(pages, 0x77, room);
    uint8_t *text = pages + pad + offsetof(struct image_file, text);
    memcpy(pages + pad, &g_image, sizeof(g_image));
    spec.image = pages + pad;
    struct layout *mapped = build(&spec);
    assert_ptr_equal(mapped->runs[1].content, text);
    assert_int_equal(mapped->runs[1].page_count, IMAGE_TEXT_PAGES - 1);
    assert_true(mapped->runs[2].content < pages || mapped->runs[2].content >= pages + room);
    assert_int_equal(mapped->runs[2].offset, LAYOUT_IMAGE + (IMAGE_TEXT_PAGES - 1) * SGX_PAGE_SIZE);
    assert_int_equal(mapped->run_count, copied->run_count + 1);
    assert_int_equal(layout_measure(mapped, got, &err), 0);
    assert_memory_equal(got, want, sizeof(got));
    layout_free(mapped);
    layout_free(copied);
    free(pages);
}

/* Whole enclaves, measured by a script of its own that knows abi/layout.h only from reading it. */
static void test_vectors(void **state UNUSED)
{
    struct err err;
    char *image;
    size_t image_size;
    assert_int_equal(
        file_load(AT_FDCWD, TEST_DATA "/image.elf", 1 << 20, &image, &image_size, &err), 0);
    FILE *file = fopen(TEST_DATA "/vectors.txt", "re");
    assert_non_null(file);
    static char line[8192];
    unsigned threads = 0, manifest_size, count = 0;
    unsigned long long heap, size;
    uint8_t hash[SGX_HASH_SIZE];
    while (fgets(line, sizeof(line), file)) {
        char want[65];
        if (sscanf(line, "layout %u %llx %llx %u", &threads, &heap, &size, &manifest_size) == 4) {
            uint8_t *manifest = malloc(manifest_size);
            assert_non_null(manifest);
            for (unsigned i = 0; i < manifest_size; i++)
                manifest[i] = (uint8_t)(i % 251);
            struct layout_spec spec = {
                .image = image,
                .image_size = image_size,
                .manifest = manifest,
                .manifest_size = manifest_size,
                .thread_count = threads,
                .heap_size = heap,
                .enclave_size = size,
            };
            struct layout *l = build(&spec);
            assert_int_equal(layout_measure(l, hash, &err), 0);
            layout_free(l);
            free(manifest);
        } else if (threads > 0 && sscanf(line, "mrenclave %64s", want) == 1) {
            char got[65];
            for (size_t i = 0; i < sizeof(hash); i++)
                snprintf(got + 2 * i, 3, "%02x", hash[i]);
            if (strcmp(got, want) != 0)
                fail_msg("%u threads: got %s, want %s", threads, got, want);
            threads = 0;
            count++;
        }
    }
    fclose(file);
    free(image);
    assert_true(count >= 2);
}

/* Whatever can be chosen changes the measurement; the same input gives the same. */
static void test_measure_binds(void **state UNUSED)
{
    uint8_t hashes[9][SGX_HASH_SIZE];
    struct err err;
    for (int i = 0; i < 9; i++) {
        struct layout_spec spec = spec_new();
        switch (i) {
        case 0: break;
        case 1: g_manifest[4999] ^= 1; break;
        case 2: spec.manifest_size--; break; /* the tail's zeros are not the manifest's */
        case 3: spec.thread_count = 3; break;
        case 4: spec.heap_size += 4096; break;
        case 5: spec.enclave_size = LAYOUT_ENCLAVE_MIN; break;
        case 6: g_image.text[0] ^= 1; break;
        case 7: g_image.phdr[1].p_flags = PF_R | PF_X; break;
        case 8: g_image.ehdr.e_entry++; break;
        }
        struct layout *l = build(&spec);
        assert_int_equal(layout_measure(l, hashes[i], &err), 0);
        uint8_t again[SGX_HASH_SIZE];
        assert_int_equal(layout_measure(l, again, &err), 0);
        assert_memory_equal(again, hashes[i], sizeof(again));
        layout_free(l);
        for (int j = 0; j < i; j++)
            if (memcmp(hashes[i], hashes[j], SGX_HASH_SIZE) == 0)
                fail_msg("cases %d and %d measure the same", i, j);
    }
}

enum bend {
    NOT_ELF,
    SHORT,
    CLASS32,
    BIG_ENDIAN_,
    MACHINE,
    PIE,
    NO_PHDRS,
    PHOFF,
    PHENTSIZE,
    SHOFF,
    INTERP,
    DYNAMIC,
    TLS,
    EXEC_STACK,
    RELA,
    UNDEFINED,
    SYMTAB_OUTSIDE,
    SYM_ENTSIZE,
    WX,
    UNREADABLE,
    BELOW,
    ABOVE,
    WRAPS,
    UNALIGNED,
    OVERLAP,
    FILESZ,
    FILE_OUTSIDE,
    OFFSET_WRAPS,
    ENTRY_DATA,
    ENTRY_PADDING,
    BENDS
};

static const struct {
    const char *name;
    const char *says;
} bends[BENDS] = {
    [NOT_ELF] = { "no ELF", "not an ELF file" },
    [SHORT] = { "63 bytes", "too short" },
    [CLASS32] = { "32-bit", "not for x86-64" },
    [BIG_ENDIAN_] = { "big-endian", "not for x86-64" },
    [MACHINE] = { "other machine", "not for x86-64" },
    [PIE] = { "PIE", "fixed address" },
    [NO_PHDRS] = { "no program header", "program headers" },
    [PHOFF] = { "program headers past the end", "program headers" },
    [PHENTSIZE] = { "program header size", "program headers" },
    [SHOFF] = { "section headers past the end", "section headers" },
    [INTERP] = { "interpreter", "interpreter" },
    [DYNAMIC] = { "dynamic", "dynamic section" },
    [TLS] = { "TLS", "thread-local" },
    [EXEC_STACK] = { "executable stack", "executable stack" },
    [RELA] = { "relocations", "relocations" },
    [UNDEFINED] = { "undefined symbol", "undefined symbol" },
    [SYMTAB_OUTSIDE] = { "symbols past the end", "symbol table" },
    [SYM_ENTSIZE] = { "symbol size", "symbol table" },
    [WX] = { "W+X", "writable and executable" },
    [UNREADABLE] = { "no read permission", "permissions" },
    [BELOW] = { "below its place", "outside" },
    [ABOVE] = { "past its place", "outside" },
    [WRAPS] = { "address wraps", "outside" },
    [UNALIGNED] = { "unaligned", "start at a page" },
    [OVERLAP] = { "overlap", "overlap" },
    [FILESZ] = { "more in the file than in memory", "not in the file" },
    [FILE_OUTSIDE] = { "bytes past the file's end", "not in the file" },
    [OFFSET_WRAPS] = { "offset wraps", "not in the file" },
    [ENTRY_DATA] = { "entry in data", "entry point" },
    [ENTRY_PADDING] = { "entry past the text", "entry point" },
};

static void bend(struct image_file *f, struct layout_spec *spec, enum bend how)
{
    switch (how) {
    case NOT_ELF: f->ehdr.e_ident[0] = 0; break;
    case SHORT: spec->image_size = 63; break;
    case CLASS32: f->ehdr.e_ident[EI_CLASS] = ELFCLASS32; break;
    case BIG_ENDIAN_: f->ehdr.e_ident[EI_DATA] = ELFDATA2MSB; break;
    case MACHINE: f->ehdr.e_machine = EM_AARCH64; break;
    case PIE: f->ehdr.e_type = ET_DYN; break;
    case NO_PHDRS: f->ehdr.e_phnum = 0; break;
    case PHOFF: f->ehdr.e_phoff = sizeof(*f) - 4 * sizeof(Elf64_Phdr) + 1; break;
    case PHENTSIZE: f->ehdr.e_phentsize = 32; break;
    case SHOFF: f->ehdr.e_shoff = UINT64_MAX - 8; break;
    case INTERP: f->phdr[3].p_type = PT_INTERP; break;
    case DYNAMIC: f->phdr[3].p_type = PT_DYNAMIC; break;
    case TLS: f->phdr[3].p_type = PT_TLS; break;
    case EXEC_STACK: f->phdr[3].p_flags |= PF_X; break;
    case RELA: f->shdr[2].sh_size = 24; break;
    case UNDEFINED: f->sym[1].st_shndx = SHN_UNDEF; break;
    case SYMTAB_OUTSIDE: f->shdr[1].sh_offset = sizeof(*f); break;
    case SYM_ENTSIZE: f->shdr[1].sh_entsize = 0; break;
    case WX: f->phdr[0].p_flags |= PF_W; break;
    case UNREADABLE: f->phdr[0].p_flags = PF_X; break;
    case BELOW: f->phdr[0].p_vaddr = LAYOUT_IMAGE - 0x1000; break;
    case ABOVE: f->phdr[2].p_memsz = LAYOUT_IMAGE_END - f->phdr[2].p_vaddr + 1; break;
    case WRAPS: f->phdr[2].p_memsz = UINT64_MAX; break;
    case UNALIGNED: f->phdr[1].p_vaddr += 16; break;
    case OVERLAP: f->phdr[1].p_vaddr = LAYOUT_IMAGE + 0x1000; break;
    case FILESZ: f->phdr[1].p_filesz++; break;
    case FILE_OUTSIDE: f->phdr[2].p_filesz = f->phdr[2].p_memsz; break;
    case OFFSET_WRAPS: f->phdr[2].p_offset = UINT64_MAX - 1; break;
    case ENTRY_DATA: f->ehdr.e_entry = LAYOUT_IMAGE + 0x4000; break;
    case ENTRY_PADDING: f->ehdr.e_entry = LAYOUT_IMAGE + sizeof(f->text); break;
    case BENDS: break;
    }
}

static void test_image_refused(void **state UNUSED)
{
    for (int i = 0; i < BENDS; i++) {
        struct err err = { 0 };
        struct layout *l = NULL;
        struct layout_spec spec = spec_new();
        bend(&g_image, &spec, (enum bend)i);
        int got = layout_build(&spec, &l, &err);
        if (got != -EBADMSG || l || !strstr(err.text, bends[i].says))
            fail_msg("%s: got %d and '%s', want '%s'", bends[i].name, got, err.text, bends[i].says);
    }
}

static void test_spec_refused(void **state UNUSED)
{
    for (int i = 0; i < 12; i++) {
        struct err err = { 0 };
        struct layout *l = NULL;
        struct layout_spec spec = spec_new();
        switch (i) {
        case 0: spec.thread_count = 0; break;
        case 1: spec.thread_count = LAYOUT_THREADS_MAX + 1; break;
        case 2: spec.manifest_size = 0; break;
        case 3: spec.manifest_size = LAYOUT_MANIFEST_END - LAYOUT_MANIFEST + 1; break;
        case 4: spec.heap_size = 0; break;
        case 5: spec.heap_size = 4097; break;
        case 6: spec.heap_size = UINT64_MAX & ~0xfffull; break;
        case 7: spec.enclave_size = LAYOUT_ENCLAVE_MIN / 2; break;
        case 8: spec.enclave_size = LAYOUT_ENCLAVE_MAX * 2; break;
        case 9: spec.enclave_size = LAYOUT_ENCLAVE_MIN + 4096; break;
        case 10:
            spec.enclave_size = LAYOUT_ENCLAVE_MIN;
            spec.heap_size = LAYOUT_ENCLAVE_MIN / 2 + 4096;
            break;
        case 11: spec.heap_size = LAYOUT_ENCLAVE_MAX; break;
        }
        int got = layout_build(&spec, &l, &err);
        if (got != -EINVAL || l)
            fail_msg("case %d: got %d, '%s'", i, got, err.text);
    }
}

static void test_most_threads(void **state UNUSED)
{
    struct layout_spec spec = spec_new();
    spec.thread_count = LAYOUT_THREADS_MAX;
    struct layout *l = build(&spec);
    const struct layout_run *last = &l->runs[l->run_count - 1];
    assert_int_equal(last->offset + last->page_count * LAYOUT_PAGE, LAYOUT_THREADS_END);
    layout_free(l);
    layout_free(NULL);
}

static void test_enclave_size(void **state UNUSED)
{
    assert_true(layout_enclave_size(4096) == UINT64_C(64) << 30);
    assert_true(layout_enclave_size(UINT64_C(30) << 30) == UINT64_C(64) << 30);
    assert_true(layout_enclave_size(UINT64_C(31) << 30) == UINT64_C(128) << 30);
    assert_true(layout_enclave_size(UINT64_C(1) << 40) == UINT64_C(4) << 40);
    assert_true(layout_enclave_size(LAYOUT_ENCLAVE_MAX / 8) <= LAYOUT_ENCLAVE_MAX);
    assert_true(layout_enclave_size(LAYOUT_ENCLAVE_MAX / 8 + 1) == 0);
}

static void test_secs(void **state UNUSED)
{
    struct layout_spec spec = spec_new();
    struct layout *l = build(&spec);
    struct sgx_secs secs;
    layout_secs(l, false, 0x602e7, &secs);
    assert_true(secs.size == l->enclave_size && secs.base == 0);
    assert_int_equal(secs.ssa_frame_size, 4);
    assert_int_equal(secs.misc_select, SGX_MISC_EXINFO);
    assert_int_equal(secs.attributes.flags, SGX_ATTR_MODE64BIT);
    assert_int_equal(secs.attributes.xfrm, 0xe7);
    layout_secs(l, true, 0x3, &secs);
    assert_int_equal(secs.attributes.flags, SGX_ATTR_MODE64BIT | SGX_ATTR_DEBUG);
    assert_int_equal(secs.attributes.xfrm, 0x3);
    layout_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),         cmocka_unit_test(test_content),
        cmocka_unit_test(test_measure),       cmocka_unit_test(test_mapped_image),
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_measure_binds),
        cmocka_unit_test(test_image_refused), cmocka_unit_test(test_spec_refused),
        cmocka_unit_test(test_most_threads),  cmocka_unit_test(test_enclave_size),
        cmocka_unit_test(test_secs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
