/* A library OS image made in memory, for tests: a small static ELF that each test bends. */
#pragma once

#include <elf.h>
#include <stdint.h>
#include <string.h>

#include "abi/layout.h"

#define IMAGE_TEXT_PAGES 2
#define IMAGE_DATA_BYTES 100
#define IMAGE_BSS_PAGES  3

struct image_file {
    Elf64_Ehdr ehdr;
    Elf64_Phdr phdr[4]; /* text RX, rodata R, data RW with .bss, PT_GNU_STACK */
    Elf64_Shdr shdr[3]; /* null, .symtab, .rela */
    Elf64_Sym sym[2];
    uint8_t text[IMAGE_TEXT_PAGES * 4096 - 16]; /* the last page is not full */
    uint8_t rodata[4096];
    uint8_t data[IMAGE_DATA_BYTES];
};

static inline void image_init(struct image_file *f)
{
    memset(f, 0, sizeof(*f));
    memset(f->text, 0xcc, sizeof(f->text));
    memset(f->rodata, 0x11, sizeof(f->rodata));
    memset(f->data, 0x22, sizeof(f->data));
    f->ehdr = (Elf64_Ehdr){
        .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_entry = LAYOUT_IMAGE + 0x10,
        .e_phoff = offsetof(struct image_file, phdr),
        .e_shoff = offsetof(struct image_file, shdr),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 4,
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = 3,
    };
    f->phdr[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
                               .p_flags = PF_R | PF_X,
                               .p_offset = offsetof(struct image_file, text),
                               .p_vaddr = LAYOUT_IMAGE,
                               .p_filesz = sizeof(f->text),
                               .p_memsz = sizeof(f->text) };
    f->phdr[1] = (Elf64_Phdr){ .p_type = PT_LOAD,
                               .p_flags = PF_R,
                               .p_offset = offsetof(struct image_file, rodata),
                               .p_vaddr = LAYOUT_IMAGE + 0x2000,
                               .p_filesz = sizeof(f->rodata),
                               .p_memsz = sizeof(f->rodata) };
    f->phdr[2] = (Elf64_Phdr){ .p_type = PT_LOAD,
                               .p_flags = PF_R | PF_W,
                               .p_offset = offsetof(struct image_file, data),
                               .p_vaddr = LAYOUT_IMAGE + 0x4000,
                               .p_filesz = sizeof(f->data),
                               .p_memsz = (1 + IMAGE_BSS_PAGES) * 4096 };
    f->phdr[3] = (Elf64_Phdr){ .p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W };
    f->shdr[1] = (Elf64_Shdr){ .sh_type = SHT_SYMTAB,
                               .sh_offset = offsetof(struct image_file, sym),
                               .sh_size = sizeof(f->sym),
                               .sh_entsize = sizeof(Elf64_Sym) };
    f->shdr[2] = (Elf64_Shdr){ .sh_type = SHT_RELA, .sh_flags = SHF_ALLOC };
    f->sym[1].st_shndx = 1;
}
