#include "host/sites.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "core/bytes.h"

#define NAME ".enclu_sites"

static int broken(struct err *err, const char *what)
{
    return err_set(err, -EBADMSG, "library OS image: %s", what);
}

static int read_header(const uint8_t *image, size_t size, size_t index, Elf64_Ehdr *eh,
                       Elf64_Shdr *ret)
{
    uint64_t at;
    if (__builtin_add_overflow(eh->e_shoff, index * sizeof(*ret), &at) ||
        span_check(at, sizeof(*ret), size) < 0)
        return -EBADMSG;
    memcpy(ret, image + at, sizeof(*ret));
    if (ret->sh_type != SHT_NOBITS && span_check(ret->sh_offset, ret->sh_size, size) < 0)
        return -EBADMSG;
    return 0;
}

int sites_find(const void *image, size_t image_size, uint64_t ret[static SITES_MAX],
               size_t *ret_count, struct err *err)
{
    const uint8_t *bytes = image;
    Elf64_Ehdr eh;
    Elf64_Shdr names, section;
    if (image_size < sizeof(eh))
        return broken(err, "too short for an ELF file");
    memcpy(&eh, bytes, sizeof(eh));
    if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != ELFCLASS64)
        return broken(err, "no 64-bit ELF file");
    if (eh.e_shnum == 0) {
        *ret_count = 0;
        return 0;
    }
    if (eh.e_shentsize != sizeof(section) || eh.e_shstrndx >= eh.e_shnum ||
        read_header(bytes, image_size, eh.e_shstrndx, &eh, &names) < 0 ||
        names.sh_type != SHT_STRTAB)
        return broken(err, "section table leaves the file");

    for (size_t i = 0; i < eh.e_shnum; i++) {
        if (read_header(bytes, image_size, i, &eh, &section) < 0)
            return broken(err, "a section leaves the file");
        if (span_check(section.sh_name, sizeof(NAME), names.sh_size) < 0 ||
            memcmp(bytes + names.sh_offset + section.sh_name, NAME, sizeof(NAME)) != 0)
            continue;
        size_t count = section.sh_size / sizeof(uint64_t);
        if (section.sh_type != SHT_PROGBITS || section.sh_size % sizeof(uint64_t) ||
            count > SITES_MAX)
            return broken(err, "section '" NAME "' is no list of at most 64 addresses");
        memcpy(ret, bytes + section.sh_offset, section.sh_size);
        *ret_count = count;
        return 0;
    }
    *ret_count = 0;
    return 0;
}
