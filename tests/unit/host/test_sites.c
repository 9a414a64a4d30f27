/* The ENCLU sites of an image: a small ELF file made here, and what can be wrong with it. */
#include "unit.h"

#include <elf.h>
#include <errno.h>

#include "host/sites.h"

static struct image {
    Elf64_Ehdr head;
    char names[32];
    uint64_t sites[3];
    Elf64_Shdr sections[3];
} g_image;

static void fresh(void)
{
    g_image = (struct image){
        .head = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64 },
                  .e_shoff = offsetof(struct image, sections),
                  .e_shentsize = sizeof(Elf64_Shdr),
                  .e_shnum = 3,
                  .e_shstrndx = 1 },
        .names = "\0.enclu_sites",
        .sites = { 0x20001000, 0x20001100, 0x20002000 },
        .sections = { { .sh_type = SHT_NULL },
                      { .sh_type = SHT_STRTAB,
                        .sh_offset = offsetof(struct image, names),
                        .sh_size = 32 },
                      { .sh_type = SHT_PROGBITS,
                        .sh_name = 1,
                        .sh_offset = offsetof(struct image, sites),
                        .sh_size = 24 } },
    };
}

static void test_sites(void **state UNUSED)
{
    uint64_t got[SITES_MAX];
    size_t count = 99;
    fresh();
    assert_int_equal(sites_find(&g_image, sizeof(g_image), got, &count, NULL), 0);
    assert_int_equal(count, 3);
    assert_memory_equal(got, g_image.sites, 24);
    g_image.names[5] = 'x';
    assert_int_equal(sites_find(&g_image, sizeof(g_image), got, &count, NULL), 0);
    assert_int_equal(count, 0);

    static const struct {
        const char *name;
        size_t at; /* a 64-bit field that gets value */
        uint64_t value;
    } bad[] = {
        { "section table far away", offsetof(struct image, head.e_shoff), UINT64_MAX - 8 },
        { "section table past the end", offsetof(struct image, head.e_shoff),
          sizeof(struct image) - 8 },
        { "names past the end", offsetof(struct image, sections[1].sh_offset),
          sizeof(struct image) },
        { "sites past the end", offsetof(struct image, sections[2].sh_size), 1u << 20 },
        { "sites wrap", offsetof(struct image, sections[2].sh_offset), UINT64_MAX - 3 },
        { "odd size", offsetof(struct image, sections[2].sh_size), 23 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        fresh();
        memcpy((char *)&g_image + bad[i].at, &bad[i].value, 8);
        int r = sites_find(&g_image, sizeof(g_image), got, &count, NULL);
        if (r != -EBADMSG)
            fail_msg("%s: got %d", bad[i].name, r);
    }
    fresh();
    assert_int_equal(sites_find(&g_image, 10, got, &count, NULL), -EBADMSG);
    g_image.head.e_ident[0] = 0;
    assert_int_equal(sites_find(&g_image, sizeof(g_image), got, &count, NULL), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_sites) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
