/* How the process starts and ends. Tier: enclave. */
#pragma once

#include <stdint.h>

#include "abi/ocall.h"
#include "arch/regs.h"
#include "core/attr.h"

/* From entry.S: a TCS's first entry. */
NORETURN void thread_first(struct ocall_block *block);

/* What the program is started with: heap memory that stays. */
struct boot_strings {
    uint32_t arg_count, env_count;
    char **args, **env;
    const char *execfn; /* AT_EXECFN */
    uint32_t entry;     /* index in the manifest's entries */
};
MUST_CHECK int boot_strings_load(struct boot_strings *ret);
/* /proc/self/cmdline and environ. Panics without memory. */
void boot_tell_proc(const struct boot_strings *strings);
/* What the host said of the tree, copied in once: region 0, this is a root. */
struct boot_tree {
    uint64_t region;
    uint32_t spawn_slot, control_slot;
};
extern struct boot_tree g_boot_tree;

/* Maps the program and its interpreter, builds the stack; *ret holds the first instruction's registers.
 * Panics with a message where the measured files are not what they must be. */
void elf_start(const struct boot_strings *strings, struct regs *ret);
